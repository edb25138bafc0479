"""ITI-20 and the internal door: AuditEvents of other systems and of our own other services."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from audit.events import Events
from chassis.audit import AuditWriter
from chassis.call import Answer, Call, dumps, instant
from standards.atna import check_record
from standards.outcome import CONFLICT, STRUCTURE, Issue, Refused, refuse_if


class Record:
    """The stories that keep events. Both return when the events are durable."""

    def __init__(self, events: Events, writer: AuditWriter) -> None:
        self._events = events
        self._writer = writer

    async def create(self, call: Call) -> Answer:
        """ITI-20: keep one AuditEvent. 201 with its place; 422 when it could never be found again.

        A sender that tries again must not make a second record: when the event has an id of the
        sender's, that id together with the content makes ours.
        """
        event = dict(call.resource or {})
        refuse_if(check_record(event))
        event_id = _id_of(event, call)
        call.account.data.append(f"AuditEvent/{event_id}")
        body = await self._events.read(event_id)
        if body is None:
            body = await self._keep(event, event_id, call)
        headers = {
            "Location": f"{call.base}/AuditEvent/{event_id}/_history/1",
            "ETag": 'W/"1"',
        }
        return Answer(201, b"" if call.prefer == "minimal" else body, headers)

    async def append(self, call: Call) -> Answer:
        """The internal door: keep a batch of our own services' events, each with its id."""
        batch = (call.resource or {}).get("events")
        if not isinstance(batch, list) or not all(_is_ours(event) for event in batch):
            raise Refused(Issue(STRUCTURE, "events is a list of AuditEvents with id and recorded."))
        await self._record(batch)
        return Answer.fhir({"recorded": len(batch)})

    async def _keep(self, event: dict[str, Any], event_id: str, call: Call) -> bytes:
        meta = {**event.get("meta", {}), "versionId": "1", "lastUpdated": instant(call.now)}
        try:
            await self._record([{**event, "id": event_id, "meta": meta}])
        except Refused as refusal:
            # The same event arrived twice at the same time and the other one was first.
            if not any(issue.kind is CONFLICT for issue in refusal.issues):
                raise
        kept = await self._events.read(event_id)
        if kept is None:
            raise LookupError("an acknowledged audit event is not there")
        return kept

    async def _record(self, batch: Sequence[dict[str, Any]]) -> None:
        await self._writer.record(*batch)


def _id_of(event: dict[str, Any], call: Call) -> str:
    theirs = event.get("id")
    if not theirs:
        return call.ids()
    told = hashlib.sha256(dumps(event)).hexdigest()
    return str(
        uuid.uuid5(uuid.NAMESPACE_URL, f"{call.caller.issuer}|{call.caller.client_id}|{told}")
    )


def _is_ours(event: object) -> bool:
    return (
        isinstance(event, dict)
        and event.get("resourceType") == "AuditEvent"
        and isinstance(event.get("id"), str)
        and isinstance(event.get("recorded"), str)
    )
