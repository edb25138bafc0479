"""What of a record is compared with others: normalised, short, and kept beside it. PURE.

A record's traits are made once, when it is fed, and stored in the profile of its person, so that a
comparison reads no FHIR. Everything that cannot tell people apart (placeholders, pseudo-postcodes,
"baby", titles) has become absent here; absent is never disagreement (matching digest §4.2, §4.4).
"""

from __future__ import annotations

import msgspec


class Name(msgspec.Struct, array_like=True, frozen=True):
    """One name of a record. `given` is "" when absent or a placeholder; `family` are the surname's
    parts in order, so that a double-barrelled name can meet either of its halves."""

    given: str = ""
    middle: tuple[str, ...] = ()
    family: tuple[str, ...] = ()


class Address(msgspec.Struct, array_like=True, frozen=True):
    """One address: UPRN, postcode without blanks, and a key of its first line; "" for what is absent."""

    uprn: str = ""
    postcode: str = ""
    line: str = ""


class Number(msgspec.Struct, array_like=True, frozen=True):
    """One identifier that may be compared across records: the pack's domain id, its compared form, and
    whether its issuer has verified it (an NHS number of status 01)."""

    domain: str
    value: str
    verified: bool = False


class Traits(msgspec.Struct, array_like=True, frozen=True):
    """Everything about one record that is compared. `names[0]` and `born[0]` are the ones in use, the
    others are aliases and former ones. Dates are ISO and may be partial (`1984`, `1984-03`)."""

    names: tuple[Name, ...] = ()
    born: tuple[str, ...] = ()
    sex: str = ""
    addresses: tuple[Address, ...] = ()
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    newborn: bool = False
    sealed: str = ""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Traits)


def packed(traits: Traits) -> bytes:
    """As they are kept in a profile."""
    return _ENCODER.encode(traits)


def unpacked(kept: bytes) -> Traits:
    """From a profile."""
    return _DECODER.decode(kept)
