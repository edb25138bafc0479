"""Searchset Bundles, joined from the canonical bytes of their resources without parsing them, and the
URLs of links.

FHIR R4 bundle.html#searchset; MHD 2:3.66.4.2 and PDQm 2:3.78.4.1.3 make `total` and `fullUrl`
mandatory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Literal
from urllib.parse import quote

Mode = Literal["match", "include", "outcome"]
Link = tuple[str, str]

_TAILS: dict[Mode, bytes] = {
    "match": b',"search":{"mode":"match"}}',
    "include": b',"search":{"mode":"include"}}',
    "outcome": b',"search":{"mode":"outcome"}}',
}


# What may stand in a name or value of a query as it is (RFC 3986 §3.4), without &, = and what some read
# in another way (+ ; ' ( ) * ! @ ?). Tokens' | is not among it, and commas and colons stay readable.
_SAFE = "/:,$-._~"
_PLAIN = re.compile(r"[A-Za-z0-9/:,$\-._~]*").fullmatch


def asking(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The URL that asks this of `url`, as every link of an answer writes it: percent-encoded UTF-8
    (RFC 3986 §2.1, FHIR R4 http.html#search), and `url` alone where nothing is asked."""
    said = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)
    return f"{url}?{said}" if said else url


def _quoted(text: str) -> str:
    # Most of what is asked needs no escape, and finding that out is a tenth of escaping it.
    return text if _PLAIN(text) else quote(text, safe=_SAFE)


def entry(full_url: str, resource: bytes, mode: Mode = "match") -> bytes:
    """One entry of a searchset. An outcome has no place of its own and so may have no `full_url`."""
    opening = b'{"fullUrl":' + _text(full_url) + b',"resource":' if full_url else b'{"resource":'
    return opening + resource + _TAILS[mode]


def matches(base: str, rows: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """The entries of many matches, each (id, bytes), whose full URLs are `base` + "/" + id. `base` is
    the URL of the resource type; ids are FHIR ids, which need no escaping in JSON."""
    opening = b'{"fullUrl":' + _text(base)[:-1] + b"/"
    tail = _TAILS["match"]
    return [opening + id_.encode() + b'","resource":' + body + tail for id_, body in rows]


def searchset_bytes(
    *, id_: str, updated: str, total: int | None, links: Sequence[Link], entries: Sequence[bytes]
) -> bytes:
    """The whole Bundle. `updated` is a FHIR instant, `links` are (relation, url); an empty list is
    left out, because FHIR knows no empty arrays, and so is a `total` of None."""
    head = (
        f'{{"resourceType":"Bundle","id":"{id_}","meta":{{"lastUpdated":"{updated}"}},'
        f'"type":"searchset"'
    ).encode()
    if total is not None:
        head += b',"total":%d' % total
    parts = [head]
    if links:
        said = b",".join(
            b'{"relation":"' + relation.encode() + b'","url":' + _text(url) + b"}"
            for relation, url in links
        )
        parts.append(b',"link":[' + said + b"]")
    if entries:
        parts += [b',"entry":[', b",".join(entries), b"]"]
    parts.append(b"}")
    return b"".join(parts)


def _text(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()
