"""Review lists: which documents' time is over, and which are kept back. What `$retention-review` and
`$quarantine` answer."""

from __future__ import annotations

from datetime import date
from typing import Any

from affinity.pack import Pack
from chassis.call import Answer, Call, instant
from chassis.mongo import Doc
from repository.disposals import own
from repository.holds import Holds
from repository.neighbours import Registry, age
from repository.retention import Aged, Hold, due, holding
from repository.vault import Vault
from standards import records
from standards.outcome import INVALID, Issue, Refused

_PAGE, _MOST = 200, 1000


class Review:
    """The lists over the vault, the registry and the holds."""

    def __init__(self, vault: Vault, registry: Registry, holds: Holds, pack: Pack) -> None:
        self.vault, self.registry, self.holds, self.pack = vault, registry, holds, pack

    async def due(self, call: Call) -> Answer:
        """$retention-review: the documents, of `count` kept ones, whose time is over by `until`.

        Each with its class, the day, why, the holds on it and whether it is in a disposal. `next` is
        where the following call goes on; without it, everything has been looked at.
        """
        said = records.asked(records.REVIEW, call.resource or {})
        until = _day((said["until"] or [call.now.date().isoformat()])[0])
        count = _count(said["count"])
        where: Doc = {"state": "kept", "_id": {"$gt": (said["after"] or [""])[0]}} | own(
            call.caller
        )
        rows = await self.vault.deposits.many(where, sort=[("_id", 1)], limit=count)
        told = {a.binary: a for a in map(age, await self.registry.aged([r["_id"] for r in rows]))}
        holds = await self.holds.standing()
        every = bool((said["all"] or [False])[0])
        parts: list[tuple[str, Any]] = []
        for row in rows:
            aged = told.get(row["_id"])
            if aged is not None and (every or due(aged, self.pack).reached(until)):
                parts.append(("document", self._shown(aged, row, holds)))
                call.account.data.append(f"DocumentReference/{aged.document}")
        parts.append(("looked-at", len(rows)))
        if len(rows) == count:
            parts.append(("next", rows[-1]["_id"]))
        return Answer.fhir(records.parameters(parts))

    def _shown(self, aged: Aged, row: Doc, holds: list[Hold]) -> list[tuple[str, Any]]:
        over = due(aged, self.pack)
        cls = over.cls
        return [
            ("id", aged.document), ("subject", aged.subject), ("status", aged.status),
            ("class", cls.code if cls else ""), ("due", over.on.isoformat() if over.on else ""),
            ("why", over.why), ("action", cls.action if cls else "review"),
            *(("hold", hold.id) for hold in holding(aged, cls, holds)),
            ("disposal", row.get("disposal", "")),
            ("quarantine", (row.get("quarantine") or {}).get("why", "")),
        ]  # fmt: skip

    async def quarantine(self, call: Call) -> Answer:
        """$quarantine: the documents that are kept back, longest first."""
        said = records.asked(records.QUARANTINE, call.resource or {})
        where: Doc = {"quarantine.at": {"$exists": True}, "state": "kept"} | own(call.caller)
        rows = await self.vault.deposits.many(
            where, sort=[("quarantine.at", 1)], limit=_count(said["count"])
        )
        told = {a.binary: a for a in map(age, await self.registry.aged([r["_id"] for r in rows]))}
        parts: list[tuple[str, Any]] = []
        for row in rows:
            aged = told.get(row["_id"])
            if aged is None:
                continue
            call.account.data.append(f"DocumentReference/{aged.document}")
            shown = [
                ("id", aged.document), ("subject", aged.subject), ("contentType", row["type"]),
                ("size", row["size"]), ("why", row["quarantine"]["why"]),
                ("since", instant(row["quarantine"]["at"])), ("disposal", row.get("disposal", "")),
            ]  # fmt: skip
            parts.append(("document", shown))
        return Answer.fhir(records.parameters(parts))


def _day(said: str) -> date:
    try:
        return date.fromisoformat(said)
    except ValueError:
        raise Refused(Issue(INVALID, "until is a whole date, like 2030-12-31.", "until")) from None


def _count(said: list[int]) -> int:
    if said and not 1 <= said[0] <= _MOST:
        raise Refused(Issue(INVALID, f"count is a number from 1 to {_MOST}.", "count"))
    return said[0] if said else _PAGE
