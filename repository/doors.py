"""The doors the repository keeps for a registry in another process: deposit, keep, release, held.

A deposit's bytes come as the raw body; what is claimed of them comes in headers. Far callers get the
same refusals as near ones, as OperationOutcomes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from hashlib import sha1, sha256
from pathlib import Path
from urllib.parse import unquote

from chassis.attachment import Attachment, Spool
from chassis.call import Answer, Call, Handler, dumps
from repository.intake import Intake
from standards.outcome import BYTES_DIFFER, STRUCTURE, Issue, Refused
from standards.records import HELD

TYPE, SIZE, SHA1, SHA256 = (
    "x-document-type", "x-document-size", "x-document-sha1", "x-document-sha256",
)  # fmt: skip
OWNER = "x-document-owner"  # percent-encoded; "" when the registry says none


def deposit(intake: Intake, folder: Path) -> Handler:
    """POST /internal/repository/deposit: {"id", "size", "sha1", "sha256"} (hashes in hex).

    The bytes pass through a spool, because storing may have to start again when a sweep is at work.
    """

    async def handle(call: Call) -> Answer:
        claimed = _claims(call.headers)
        content = await _spooled(call.content, folder)
        try:
            if (str(content.size), content.sha1.hex(), content.sha256.hex()) != claimed:
                words = "The document's bytes are not the ones that were announced."
                raise Refused(Issue(BYTES_DIFFER, words))
            owner = unquote(call.headers.get(OWNER, ""))
            kept = await intake.deposit(call.headers[TYPE], content, owner)
        finally:
            content.close()
        return _said(
            {
                "id": kept.binary_id,
                "size": kept.size,
                "sha1": kept.sha1.hex(),
                "sha256": kept.sha256.hex(),
            }
        )

    return handle


def keep(intake: Intake) -> Handler:
    """POST /internal/repository/keep: {"documents": {binary id: DocumentReference id}}."""

    async def handle(call: Call) -> Answer:
        documents = (call.resource or {}).get("documents")
        if not isinstance(documents, dict) or not all(
            isinstance(d, str) for d in documents.values()
        ):
            raise Refused(Issue(STRUCTURE, "documents must map binary ids to document ids."))
        await intake.keep(documents)
        return _said({"kept": len(documents)})

    return handle


def release(intake: Intake) -> Handler:
    """POST /internal/repository/release: {"ids": [binary id]}."""

    async def handle(call: Call) -> Answer:
        ids = (call.resource or {}).get("ids")
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise Refused(Issue(STRUCTURE, "ids must be a list of binary ids."))
        await intake.release(ids)
        return _said({"released": len(ids)})

    return handle


def held(intake: Intake) -> Handler:
    """POST /internal/repository/held: {"document", "records": [id], "types": [[system, code]]}."""

    async def handle(call: Call) -> Answer:
        said = call.resource or {}
        try:
            document = str(said["document"])
            records = [str(r) for r in said["records"]]
            types = [(str(system), str(code)) for system, code in said["types"]]
        except (KeyError, TypeError, ValueError):
            raise Refused(Issue(STRUCTURE, HELD.words)) from None
        return _said({"held": await intake.held(document, records, types)})

    return handle


def _claims(headers: Mapping[str, str]) -> tuple[str, str, str]:
    missing = [name for name in (TYPE, SIZE, SHA1, SHA256) if not headers.get(name)]
    if missing:
        raise Refused(Issue(STRUCTURE, f"A deposit needs the header {missing[0]}."))
    return headers[SIZE], headers[SHA1].lower(), headers[SHA256].lower()


async def _spooled(pieces: AsyncIterator[bytes] | None, folder: Path) -> Attachment:
    made = Spool(folder).attachment("")
    first, second = sha1(usedforsecurity=False), sha256()
    try:
        if pieces is not None:
            async for piece in pieces:
                first.update(piece)
                second.update(piece)
                made.write(piece)
    except BaseException:
        made.close()
        raise
    made.sha1, made.sha256 = first.digest(), second.digest()
    return made


def _said(answer: Mapping[str, object]) -> Answer:
    return Answer(200, dumps(answer), media="application/json")
