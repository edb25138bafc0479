"""MHD 4.2.4, Retrieve Document [ITI-68]: its row, and the doors that repository and registry keep for
one another because of it."""

from __future__ import annotations

from typing import Literal

from standards import balp
from standards.rows import Needs, Transaction, Unaudited

SERVICE_SCOPE = "throughline.internal"

RETRIEVE = Transaction(
    code="ITI-68",
    name="Retrieve Document",
    service="repository",
    interaction="read",
    resource="Binary",
    routes=(("GET", "/Binary/{id}"),),
    scope=Needs("r", "Binary", ("ITI-68",)),
    audit=balp.ITI_68,
    see="MHD 2:3.68",
    words="The bytes of a document as they were submitted, with their own media type; as a Binary "
    "resource when Accept or _format names FHIR. Takes Range and If-None-Match. The document inherits "
    "the rights of its DocumentReference, which the token must reach as well. Superseded documents "
    "stay retrievable.",
)


def _door(
    path: str,
    name: str,
    words: str,
    *,
    raw: bool = False,
    service: Literal["repository", "registry"] = "repository",
    audited: str = "part of the submission that the registry audits",
) -> Transaction:
    return Transaction(
        code="",
        name=name,
        service=service,
        interaction="internal",
        resource="",
        routes=(("POST", f"/internal/{service}/{path}"),),
        scope=Needs("", "", (SERVICE_SCOPE,)),
        audit=Unaudited(audited),
        see="design 4, together and apart",
        body="raw" if raw else "json",
        surface="internal",
        words=words,
    )


DEPOSIT = _door(
    "deposit", "deposit document", "Keep bytes until a document refers to them", raw=True
)
KEEP = _door("keep", "keep documents", "The documents that refer to these bytes are committed")
RELEASE = _door("release", "release documents", "No document will refer to these bytes")
ASSEMBLED = _door(
    "assembled",
    "What came of a delayed assembly",
    '{"id", "sha1", "size"} gives {"held": [sha1, size] or null}: what the document is held to from now '
    "on. SHA-1 in hex, at least one byte.",
    service="registry",
    audited="the registry audits the version that it makes",
)

TRANSACTIONS: tuple[Transaction, ...] = (RETRIEVE, DEPOSIT, KEEP, RELEASE, ASSEMBLED)
