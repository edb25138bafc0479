"""`$reviews`, `$review` and `$unseal`: the stewards' queue, and the second key to sealed identities.

Deciding a question is the act that answers it (`steward.py`), under the same rules: `same` links,
`different` unlinks, and signing a colleague's proposal does what was proposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from chassis import outbox
from chassis.call import Answer, Call
from chassis.mongo import Doc
from pix import acts, operations, pages
from pix.change import Change
from pix.inspection import Inspection, Kind, Steward, names
from pix.operations import Asked, Pair
from pix.people import DATABASE, People
from pix.plans import ACTS
from pix.reviews import KEYS, LEASE, REST, WEIGHTS, Proposal, Reviews
from pix.steward import Stewarding, acting, approval, signature
from standards import stewardship
from standards.operation import Operation
from standards.outcome import (
    INVALID,
    REQUIRED_PARAMETER,
    UNPROCESSABLE,
    Issue,
    Refused,
)

_RECORD: dict[str, Kind] = {"resourceId": "record"}


@dataclass(frozen=True, slots=True)
class Queue:
    """The stories of the queue over the People store."""

    people: People
    inspection: Inspection
    reviews: Reviews
    stewarding: Stewarding

    # -- looking ----------------------------------------------------------------------------------

    async def list(self, call: Call) -> Answer:
        """A page of open questions, the weightiest first, and how all of them stand. Raises `Refused`:
        400 for the question or its cursor, 403 for the role."""
        steward = await self.inspection.enter(call, "watch")
        mongo, operation = self.people.mongo, stewardship.REVIEWS
        page = await pages.page(call, operation, mongo)
        await self.reviews.ranked()
        where: Doc = {}
        if page.asked.text("type"):
            where["type"] = page.asked.text("type")
        if page.asked.flag("mine"):
            where |= {"lease.by": steward.by, "lease.until": {"$gt": call.now}}
        if page.asked.flag("overdue"):
            where["due"] = {"$lt": call.now}
        rows, last = await self.reviews.open(steward, where, page.count, page.after)
        made = await pages.links(call, operation, mongo, page, last)
        if not page.after:
            made += [("count", list(row.items())) for row in await self.reviews.counts(steward)]
        made += [self._item(row, steward) for row in rows]
        call.account.patients += dict.fromkeys(
            f"Patient/{r}" for row in rows for r in row["records"]
        )
        return Answer.fhir(operations.answer(operation, made))

    def _item(self, row: Doc, steward: Steward) -> Pair:
        lease, deferred = row.get("lease") or {}, row.get("deferred") or {}
        held = bool(lease) and lease["until"] > steward.now
        return ("item", [
            ("review", row["_id"]),
            ("type", row["type"]),
            ("priority", row.get("rank", 0.0)),
            ("question", WEIGHTS[row["type"]].words),
            ("reason", self._reason(row, steward)),
            *(("sourceResourceId", f"Patient/{r}") for r in row["records"]),
            *(("goldenResourceId", p) for p in row["persons"]),
            ("opened", row["at"]),
            ("due", row["due"]),
            ("overdue", row["due"] < steward.now),
            ("claimedBy", lease["by"] if held else None),
            ("claimedUntil", lease["until"] if held else None),
            ("deferredUntil", deferred.get("until")),
            ("act", (row.get("act") or {}).get("operation")),
            *map(approval, row.get("approvals") or ()),
        ])  # fmt: skip

    def _reason(self, row: Doc, steward: Steward) -> str:
        """Why it is asked; a number that the steward may not see is not told."""
        if row["type"] != "number":
            return str(row["reason"])
        _, domain, value = (*row["reason"].split("|", 2), "", "")[:3]
        family, _, member = domain.partition("/")
        found = next((d for d in self.people.domains.pack.domains if d.id == family), None)
        if found is None or not steward.sight.sees(found.system + member):
            return "The number may not be shown to you."
        return f"{found.name} {value}"

    # -- working ----------------------------------------------------------------------------------

    async def work(self, call: Call) -> Answer:
        """Claim, release, defer or decide one question.

        Raises `Refused`: 400 for what is asked, 403 for the role, 404 for no such question, 409 when it
        is decided or somebody else's, 422 for an answer that does not fit the question.
        """
        steward = await self.inspection.enter(call, "decide")
        asked = operations.read(
            stewardship.REVIEW, call.query, call.resource, strict=call.strict,
            also=lambda said: _faults(said, call.now),
        )  # fmt: skip
        if asked.text("action") == "decide" and asked.text("answer") in (
            "same",
            "different",
            "agree",
        ):
            return await self._decide(call, steward, asked)

        async def story(change: Change) -> Answer:
            row = await self.reviews.one(asked.text("review"), steward, change.session)
            number = await self._changed(change, row, steward, asked, call)
            now = await self.reviews.table.one({"_id": row["_id"]}, session=change.session)
            made: list[Pair] = [("outcome", "done"), ("decision", number)]
            if now is not None:
                made.append(self._item(now, steward))
            return await self._told(call, change, row, stewardship.REVIEW, made, asked)

        turns = [asked.text("review")]
        return await acts.committed(self.people, acting(call), turns, story)

    async def _changed(
        self, change: Change, row: Doc, steward: Steward, asked: Asked, call: Call
    ) -> str:
        """What was asked is done to the question; the number of a decision, where it is one."""
        session, id_ = change.session, row["_id"]
        match asked.text("action"):
            case "claim":
                lease = {"by": steward.by, "until": call.now + LEASE}
                await self.reviews.set(id_, session, lease=lease)
            case "release":
                await self.reviews.set(id_, session, lease=None)
            case "defer":
                rest = {"until": asked.moment("until"), "by": steward.by,
                        "reason": asked.text("reason"), "comment": asked.text("comment")}  # fmt: skip
                await self.reviews.set(id_, session, lease=None, deferred=rest)
            case _:
                kind = "refused" if asked.text("answer") == "refuse" else "noted"
                if (kind == "refused") != (row["type"] in ("approval", "unseal")):
                    words = "`refuse` is for what waits for a second steward, `noted` for all else."
                    raise Refused(Issue(UNPROCESSABLE, words, "answer", xds=""))
                return await self._noted(change, row, kind, asked)
        return ""

    async def _noted(self, change: Change, row: Doc, kind: str, asked: Asked) -> str:
        """A question that is closed without an act is in the log all the same."""
        number = change.ids()
        await self.people.decisions.insert(
            {
                "_id": number, "at": change.now, "type": kind, "records": row["records"],
                "persons": row["persons"], "before": {}, "after": {},
                "actor": change.actor.document(), "reason": asked.text("comment"),
                "code": asked.text("reason"), "model": self.people.model.version,
                "evidence": {"review": row["_id"], "type": row["type"], "act": row.get("act")},
            },
            change.session,
        )  # fmt: skip
        await self.reviews.close(change.session, number, change.now, row["_id"])
        return number

    async def _decide(self, call: Call, steward: Steward, asked: Asked) -> Answer:
        """The act that answers the question, done as if it had been asked for by itself."""
        row = await self.reviews.one(asked.text("review"), steward)
        answer = asked.text("answer")
        if (answer == "agree") != (row["type"] == "approval"):
            words = (
                "`agree` is for what a first steward proposed; `same` and `different` for all else."
            )
            if row["type"] == "unseal":
                words = "Agree by $unseal of the same record."
            raise Refused(Issue(UNPROCESSABLE, words, "answer", xds=""))
        if answer == "agree":
            operation, values = row["act"]["operation"], dict(row["act"]["values"])
        else:
            if len(row["records"]) != 1 or len(row["persons"]) != 1:
                words = (
                    "This question is not about one record and one person; decide it by the acts."
                )
                raise Refused(Issue(UNPROCESSABLE, words, "answer", xds=""))
            operation = "link" if answer == "same" else "unlink"
            values = {"resourceId": f"Patient/{row['records'][0]}",
                      "goldenResourceId": row["persons"][0], "review": row["_id"]}  # fmt: skip
        act = ACTS[operation]
        _fitting(act.operation, asked)
        said = Asked({
            **{k: (v,) for k, v in values.items()},
            **{k: asked.values[k] for k in ("reason", "comment")},
        })  # fmt: skip
        return await self.stewarding.perform(call, act, said, steward, stewardship.REVIEW)

    # -- the second key -----------------------------------------------------------------------------

    async def unseal(self, call: Call) -> Answer:
        """Ask to look at a sealed record; when a second guardian asks for the same, both may for an hour.

        Raises `Refused`: 400 for what is asked, 403 for the role, 404 for an unknown record, 409 for an
        old version, 422 for one that is not sealed.
        """
        steward = await self.inspection.enter(call, "guard")
        operation = stewardship.UNSEAL
        asked = operations.read(
            operation, call.query, call.resource, strict=call.strict,
            also=lambda said: names(said, _RECORD, call.base)[1],
        )  # fmt: skip
        (named,) = names(asked, _RECORD, call.base)[0]["resourceId"]

        async def story(change: Change) -> Answer:
            record = await change.known_as(named.id)
            holder = _holding(steward, named.id)
            record = self.inspection.judged(record, named, holder)
            if not self.inspection.sealed(record):
                words = "This identity is not sealed; look at it as at any other."
                raise Refused(Issue(UNPROCESSABLE, words, "resourceId", xds=""))
            proposal = Proposal(
                "unseal", "unseal", {"resourceId": f"Patient/{record.id}"}, {record.id: ""},
                (record.id,), (), "A guardian asks to look at this sealed identity.", True,
            )  # fmt: skip
            row, enough = await self.reviews.sign(
                change.session, proposal, signature(call, steward, asked)
            )
            until: datetime | None = None
            if enough:
                until = call.now + KEYS
                await self._granted(change, row, until, asked)
            made: list[Pair] = [
                ("outcome", "done" if enough else "waiting"),
                ("review", None if enough else row["_id"]),
                ("until", until),
                *map(approval, row["approvals"]),
            ]
            return await self._told(call, change, row, operation, made, asked)

        return await acts.committed(self.people, acting(call), [named.id], story)

    async def _granted(self, change: Change, row: Doc, until: datetime, asked: Asked) -> None:
        """Both keys are turned: the question becomes the grant, under a name of its own, so that the
        next look needs both keys again."""
        grant = {
            **row,
            "_id": change.ids(),
            "state": "granted",
            "until": until,
            "closed": change.now,
        }
        await self.reviews.table.insert(grant, change.session)
        await self.reviews.table.delete({"_id": row["_id"]}, session=change.session)
        await self.people.decisions.insert(
            {
                "_id": change.ids(), "at": change.now, "type": "unsealed", "records": row["records"],
                "persons": [], "before": {}, "after": {}, "actor": change.actor.document(),
                "reason": asked.text("comment"), "code": asked.text("reason"),
                "model": self.people.model.version, "approvals": row["approvals"],
                "evidence": {"until": until},
            },
            change.session,
        )  # fmt: skip

    async def _told(
        self, call: Call, change: Change, row: Doc, operation: Operation, made: Iterable[Pair],
        asked: Asked,
    ) -> Answer:  # fmt: skip
        """The answer, and its AuditEvent as part of the transaction."""
        account = call.account
        account.sealed = None
        account.patients = [f"Patient/{r}" for r in row["records"]]
        what = " ".join(filter(None, (asked.text("action"), asked.text("answer"))))
        account.query = (
            f"{operation.code} {what} {row['type']} {row['_id']}; reason {asked.text('reason')}: "
            f"{asked.text('comment')}"
        )
        await outbox.put(change.session, self.people.mongo, DATABASE, call.seal(200))
        return Answer.fhir(operations.answer(operation, made))


def _holding(steward: Steward, record: str) -> Steward:
    """The guardian as if they held both keys, so that a record that they ask for is found at all."""
    return Steward(
        steward.by, steward.role, steward.organisation, steward.sight, steward.keys | {record},
        steward.now,
    )  # fmt: skip


_NEEDS: Mapping[str, tuple[str, ...]] = {
    "defer": ("until", "reason", "comment"),
    "decide": ("answer", "reason", "comment"),
}


def _faults(asked: Asked, now: datetime) -> list[Issue]:
    action = asked.text("action")
    issues = [
        Issue(REQUIRED_PARAMETER, f"To {action} a question, say {name}.", name, xds="")
        for name in _NEEDS.get(action, ())
        if name not in asked.values
    ]
    until = asked.moment("until")
    if until is not None and action == "defer" and not now < until <= now + REST:
        words = f"A question can rest until a day in the future, {REST.days} days from now at most."
        issues.append(Issue(INVALID, words, "until", xds=""))
    return issues


def _fitting(operation: Operation, asked: Asked) -> None:
    """The reason must be one of the act's. Raises `Refused` (400)."""
    reason = operation.taken("reason")
    if reason is not None and asked.text("reason") not in reason.codes:
        words = f"{asked.text('reason')} is no reason to {operation.code}; {', '.join(reason.codes)} are."
        raise Refused(Issue(INVALID, words, "reason", xds=""))
