"""What waiting records say that is compared: their traits, made when they are linked. PURE.

A load keeps what the source said and no traits, so whoever links after an update of the software compares
by what it knows now. Work is handed to other processes in blocks of records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from affinity.pack import Pack
from pix import showing
from pix.bulk.crew import Crew
from pix.identifiers import Domains
from pix.traits import packed, traits

_DOMAINS: list[Domains] = []
_ENCODER, _BLOCKS = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(tuple[bytes, ...])


def settle(pack: Pack, base: str) -> None:
    """Learn the domains of the community, in a process of its own unless there is only one."""
    _DOMAINS[:] = [Domains(pack, base)]


def of(own: bytes, domains: Domains) -> bytes:
    """The packed traits of one canonical Patient."""
    return packed(traits(showing.opened(own), domains))


def said(block: bytes) -> bytes:
    """The packed traits of a packed block of canonical Patients, by this process's domains."""
    (domains,) = _DOMAINS
    return _ENCODER.encode([of(own, domains) for own in _BLOCKS.decode(block)])


def asked(crew: Crew, blocks: Iterable[Iterable[bytes]]) -> Iterator[tuple[bytes, ...]]:
    """The packed traits of each block of canonical Patients, in their order."""
    return map(_BLOCKS.decode, crew(_ENCODER.encode(list(block)) for block in blocks))
