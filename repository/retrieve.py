"""ITI-68 Retrieve Document: GET and HEAD /Binary/{id}.

The id alone opens nothing: the registry is asked which document it belongs to, and whether the
token's scopes reach that document. What they do not reach, and what was never submitted, looks alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qsl

from chassis.call import Answer, Call
from chassis.caller import challenge
from governance.permit import Denied, Permit
from repository.forms import Form, file_name, form, in_base64, safe_type, wrapped
from repository.locator import Locator
from repository.neighbours import Citation, Registry
from repository.ranges import span, unchanged
from repository.vault import Held, Vault
from standards.mhd_retrieve import RETRIEVE
from standards.outcome import FORBIDDEN, GONE, NOT_FOUND, Issue, Refused
from standards.rows import Needs

_LITERALS = RETRIEVE.scope.literals if isinstance(RETRIEVE.scope, Needs) else ()
_MEDIA = {
    "json": "application/fhir+json;charset=utf-8",
    "xml": "application/fhir+xml;charset=utf-8",
}
# Another origin's markup must not run here, whatever a document contains.
_GUARDED = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}


def retrieve(
    vault: Vault, registry: Registry, locator: Locator
) -> Callable[[Call], Awaitable[Answer]]:
    """The story of ITI-68 over this vault; the locator fetches what is kept outside."""

    async def handle(call: Call) -> Answer:
        permit = _reach(call)
        binary_id = call.path["id"]
        held, citation = await asyncio.gather(
            _entry(call, vault, binary_id),
            registry.document_of(binary_id, permit, call.caller),
        )
        if citation is not None and citation.away is not None:
            _account(call, binary_id, citation)
            return await locator.retrieve(
                call, binary_id, citation, citation.away, asked=_format(call), guarded=_GUARDED
            )
        if held is None or citation is None:
            raise Refused(
                Issue(NOT_FOUND, "There is no such document, or none that this token reaches.")
            )
        _account(call, held.binary_id, citation)
        _refuse_what_is_not_given_out(held)
        made = form(call.headers.get("accept", ""), _format(call), held.content_type)
        if made == "raw":
            return await _bytes(call, vault, held, citation)
        return await _resource(call, vault, held, citation, made)

    return handle


def _entry(call: Call, vault: Vault, binary_id: str) -> Awaitable[Held | None]:
    """The entry, with its content where that will be wanted."""
    bare = call.method == "HEAD" or "if-none-match" in call.headers or "range" in call.headers
    return vault.find(binary_id) if bare else vault.opened_at(binary_id)


def _refuse_what_is_not_given_out(held: Held) -> None:
    """410 for a document that was destroyed, 403 for one in quarantine. Only who may see its
    DocumentReference comes so far."""
    if held.destroyed:
        words = "This document was destroyed; its DocumentReference says when and on what ground."
        raise Refused(Issue(GONE, words))
    if held.quarantine:
        words = "This document is in quarantine and is not given out; the repository's operators decide."
        raise Refused(Issue(FORBIDDEN, words))


def _reach(call: Call) -> Permit:
    """How far the token reaches into DocumentReference, whose rights the document inherits, and no
    farther than it reaches into Binary."""
    permit = call.grant(Needs("r", "DocumentReference", _LITERALS))
    if isinstance(permit, Denied):
        words = "A document inherits the rights of its DocumentReference. " + permit.words
        told = challenge("insufficient_scope", words, permit.scope)
        raise Refused(Issue(FORBIDDEN, words), headers=told)
    return permit.both(call.permit.unasked)


def _account(call: Call, binary_id: str, citation: Citation) -> None:
    call.account.data.append(f"Binary/{binary_id}")
    if citation.subject:
        call.account.patients.append(citation.subject)
    call.account.labels.extend(citation.labels)


def _format(call: Call) -> str | None:
    query = call.raw.partition(b"?")[2].decode("latin-1")
    return next((value for name, value in parse_qsl(query) if name == "_format"), None)


async def _bytes(call: Call, vault: Vault, held: Held, citation: Citation) -> Answer:
    etag = f'"{held.digest}"'
    name = file_name(citation.document, held.content_type)
    headers = {
        **_GUARDED,
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    if unchanged(call.headers, etag):
        return Answer(304, headers=headers)
    part = span(call.headers, held.size, etag)
    headers["Content-Type"] = safe_type(held.content_type)
    headers["Content-Length"] = str(part.length)
    if part.partial:
        headers["Content-Range"] = part.content_range
    return Answer(
        206 if part.partial else 200,
        headers=headers,
        media=held.content_type,
        stream=await _begun(call, vault, held, part.start, part.stop),
    )


async def _resource(call: Call, vault: Vault, held: Held, citation: Citation, made: Form) -> Answer:
    headers = {**_GUARDED, "ETag": 'W/"1"', "Accept-Ranges": "none"}
    if unchanged(call.headers, 'W/"1"'):
        return Answer(304, headers=headers)
    kind = safe_type(held.content_type)
    head, tail = wrapped(made, held.binary_id, citation.document, kind, held.at, held.size)
    headers["Content-Type"] = _MEDIA[made]
    headers["Content-Length"] = str(len(head) + -(-held.size // 3) * 4 + len(tail))
    pieces = await _begun(call, vault, held, 0, held.size)
    return Answer(200, headers=headers, media=_MEDIA[made], stream=in_base64(head, pieces, tail))


async def _begun(
    call: Call, vault: Vault, held: Held, start: int, stop: int
) -> AsyncIterator[bytes]:
    """The bytes; for HEAD none are fetched."""
    if call.method == "HEAD":
        return vault.read(held, start, stop)
    return await vault.begun(held, start, stop)
