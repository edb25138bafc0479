"""Stewards' acts over FHIR: `$link`, `$unlink`, `$not-duplicate`, `$merge`, `$unmerge`.

    read the question ─► who may ─► (in one transaction:) find and guard versions ─► plan
        already so        nothing changes
        two must agree    the first signature waits in the queue, the second one goes on
        else              the act (stewarding.py), its evidence and reason, AuditEvent

What an act would do is planned in `plans.py` and done in `stewarding.py`; here is who may, what is kept
of it, and what is answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from chassis import outbox
from chassis.call import Answer, Call
from chassis.mongo import Doc
from governance.stewards import forbidden, two_must_agree
from pix import acts, explaining, operations
from pix.change import Acting, Actor, Change
from pix.explain import SOURCES, STATES
from pix.inspection import (
    Inspection,
    Steward,
    names,
    standing,
    versioned_person,
    versioned_record,
)
from pix.linking import compared
from pix.links import Link
from pix.operations import Asked, Pair
from pix.people import DATABASE, People
from pix.plans import Act, Desk, Plan
from pix.profiles import opened
from pix.record import Record
from pix.reviews import Proposal, Reviews
from standards.operation import Operation
from standards.outcome import (
    FORBIDDEN,
    INVALID,
    UNPROCESSABLE,
    Issue,
    Refused,
)


class Stewarding:
    """The stories of the acts over the People store."""

    def __init__(self, people: People, inspection: Inspection, reviews: Reviews) -> None:
        self.people, self.inspection, self.reviews = people, inspection, reviews

    def story(self, act: Act) -> Callable[[Call], Awaitable[Answer]]:
        """The handler of an act's operation."""

        async def handle(call: Call) -> Answer:
            steward = await self.inspection.enter(call, "decide")
            asked = operations.read(
                act.operation, call.query, call.resource, strict=call.strict,
                also=lambda said: _faults(act, said, call.base),
            )  # fmt: skip
            return await self.perform(call, act, asked, steward, act.operation)

        return handle

    async def perform(
        self, call: Call, act: Act, asked: Asked, steward: Steward, answering: Operation
    ) -> Answer:
        """Do what is asked, or keep the first signature; answer as `answering` promises.

        Raises `Refused`: 403 for what a role may not, 404 and 410 for whom there is not, 409 for an old
        version, another's claim or a contradiction, 422 for what nobody may do.
        """
        found, _ = names(asked, act.kinds, call.base)

        async def story(change: Change) -> Answer:
            desk = Desk(change, steward, self.inspection)
            plan = await act.plan(desk, found, asked)
            words = forbidden(plan.matter)
            if words:
                raise Refused(Issue(UNPROCESSABLE, words, xds=""))
            review = asked.text("review")
            if review:
                await self._same_question(change, steward, review, plan)
            made = await self._made(call, desk, act, plan, asked)
            number = next((v for k, v in made if k == "decision"), "")
            if review and number:
                await self.reviews.close(change.session, number, call.now, review)
            return await self._answer(call, desk, plan, asked, made, answering)

        turns = sorted({n.id for ns in found.values() for n in ns}) or [asked.text("decision")]
        return await acts.committed(self.people, acting(call), turns, story)

    # -- steps ------------------------------------------------------------------------------------

    async def _same_question(
        self, change: Change, steward: Steward, review: str, plan: Plan
    ) -> None:
        row = await self.reviews.one(review, steward, change.session)
        if not set(row["records"]) & set(plan.records) and not (
            set(row["persons"]) & set(plan.persons)
        ):
            words = "This question of the queue is about other records and persons."
            raise Refused(Issue(INVALID, words, "review", xds=""))

    async def _made(self, call: Call, desk: Desk, act: Act, plan: Plan, asked: Asked) -> list[Pair]:
        change = desk.change
        if plan.already:
            return [("outcome", "already"), ("decision", plan.already)]
        why = two_must_agree(plan.matter)
        approvals: Sequence[Mapping[str, Any]] = [signature(call, desk.steward, asked)]
        if why:
            if plan.matter.sealed and not self.inspection.stewards.may(desk.steward.role, "guard"):
                raise Refused(Issue(FORBIDDEN, why))
            row, enough = await self.reviews.sign(
                change.session, self._proposal(act, plan, why), approvals[0]
            )
            approvals = row["approvals"]
            if not enough:
                waiting: list[Pair] = [("outcome", "waiting"), ("review", row["_id"]), ("why", why)]
                return [*waiting, *map(approval, approvals)]
        evidence = self._evidence(desk, plan)
        number = await plan.run(asked.text("comment"))
        decision = next(d for d in change.decisions if d["_id"] == number)
        decision |= {
            "code": asked.text("reason"),
            "model": self.people.model.version,
            "approvals": [dict(a) for a in approvals],
        }
        decision["evidence"] = {**decision["evidence"], "snapshot": evidence}
        await change.write()
        named = [row["_id"]] if why else []
        await self.reviews.close(change.session, number, call.now, *named)
        signed = map(approval, approvals) if why else ()
        return [("outcome", "done"), ("decision", number), *signed]

    def _proposal(self, act: Act, plan: Plan, why: str) -> Proposal:
        about = [r for side in plan.sides for r in side]
        versions = {r.id: str(r.v) for r in about}
        one, other = plan.matter.agencies
        return Proposal(
            "approval", act.operation.code, plan.values, versions, plan.records, plan.persons,
            f"{plan.words} {why}", plan.matter.sealed, len(one | other),
        )  # fmt: skip

    def _evidence(self, desk: Desk, plan: Plan) -> Doc:
        """How alike the closest records of both sides were when it was decided."""
        people, change = self.people, desk.change
        one, other = plan.sides
        best: Doc | None = None
        for record in one:
            found = explaining.closest(
                opened(change.says(record)), ((r.id, opened(change.says(r))) for r in other),
                people.model, people.counted.current, change.now.date(),
            )  # fmt: skip
            if found and (best is None or found[1].weight > best["weight"]):
                best = {"left": record.id, "right": found[0], **compared(found[1])}
        return {"frequencies": people.counted.current.version, **(best or {})}

    async def _answer(
        self,
        call: Call,
        desk: Desk,
        plan: Plan,
        asked: Asked,
        made: list[Pair],
        answering: Operation,
    ) -> Answer:
        change = desk.change
        where = {"record": {"$in": sorted(plan.shown)}}
        links = await self.people.links.many(where, sort=[("_id", 1)], session=change.session)
        await change.read_persons(link["person"] for link in links)
        numbers = sorted({change.records[r].person for r in plan.shown if r in change.records})
        everyone = {p: [change.records[r] for r in change.everyone(p)] for p in
                    {*numbers, *(link["person"] for link in links)}}  # fmt: skip
        made = [
            *made,
            *(("goldenResourceId", versioned_person(p, standing(everyone[p]))) for p in numbers),
            *(
                link_pair(
                    Link.of(row), change.records[row["record"]], standing(everyone[row["person"]])
                )
                for row in links
                if row["record"] in change.records
            ),
        ]
        self._account(call, plan, asked, dict(made[:3]))
        event = call.seal(200)
        await outbox.put(change.session, self.people.mongo, DATABASE, event)
        return Answer.fhir(operations.answer(answering, made))

    def _account(self, call: Call, plan: Plan, asked: Asked, made: Mapping[str, Any]) -> None:
        """What the AuditEvent says: who it is about, what was decided, and why."""
        call.account.sealed = None
        call.account.patients = [f"Patient/{r}" for r in plan.shown]
        number = made.get("decision") or made.get("review") or ""
        call.account.query = (
            f"{plan.words} {made['outcome']} {number}; reason {asked.text('reason')}: "
            f"{asked.text('comment')}; model {self.people.model.version}"
        )


def _faults(act: Act, asked: Asked, base: str) -> list[Issue]:
    found, issues = names(asked, act.kinds, base)
    return [*issues, *act.faults(found, asked)]


# -- what is kept and answered ------------------------------------------------------------------------


def acting(call: Call) -> Acting:
    """Who acts, for the log of decisions."""
    caller = call.caller
    actor = Actor(
        caller.client_id, caller.organisation, caller.role, call.request_id, caller.subject
    )
    return Acting(actor, call.now, call.ids)


def signature(call: Call, steward: Steward, asked: Asked) -> dict[str, Any]:
    """One steward's agreement, as it is kept."""
    return {
        "by": steward.by, "role": steward.role, "organisation": steward.organisation, "at": call.now,
        "reason": asked.text("reason"), "comment": asked.text("comment"),
    }  # fmt: skip


def approval(kept: Mapping[str, Any]) -> Pair:
    """One steward's agreement, as it is told."""
    return ("approval", [("by", kept["by"]), ("at", kept["at"])])


def link_pair(link: Link, record: Record, version: str) -> Pair:
    """One link, as it is told; `version` is the person's."""
    return ("link", [
        ("goldenResourceId", versioned_person(link.person, version)),
        ("sourceResourceId", versioned_record(record)),
        ("matchResult", STATES[link.state]),
        ("linkSource", SOURCES[link.source]),
        ("score", link.weight),
        ("modelVersion", link.model),
        ("linkUpdated", link.at),
        ("decision", link.decision),
        ("decidedBy", link.by),
        ("reason", link.reason),
    ])  # fmt: skip
