"""ITI-93 in: a message tells what has happened to Patients at its sender, and all of it is done or none.

    create   POST    a record under the sender's identifier; one is minted for a Patient without any
    update   PUT     found by our logical id, the sender's own id, `Patient?identifier=`, or identifiers
    merge    PUT     with a replaced-by link: by reference or by identifier, to a Patient of this message too
    related  PUT     with a seealso link to a RelatedPerson, which is kept inside the Patient
    delete   DELETE
    unmerge  PUT     without the link: 405, for stewards only

The same message again (MessageHeader.id, source.endpoint and client) within 30 days gets its first
answer again. What the sender's ids mean here is worked out in addressing.py.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis import outbox, search
from chassis.call import Answer, Call, dumps, instant
from chassis.mongo import Doc, Table, unavailable
from governance.permit import Denied, Permit
from pix import acts
from pix.addressing import Addressed, Addressing, NamesTable
from pix.change import Acting, Actor, Change
from pix.claims import survivor
from pix.people import DATABASE, People
from pix.sight import Sights
from pix.sources import Sources
from standards import pdqm, pmir_message
from standards.outcome import (
    BUSY,
    CONFLICT,
    FORBIDDEN,
    INFORMATION,
    METHOD,
    UNPROCESSABLE,
    Issue,
    Refused,
    outcome,
)  # fmt: skip
from standards.pmir_message import Entry, Message
from standards.rows import Needs

KEPT = timedelta(days=30)
MOST = 500  # one transaction must stay well below MongoDB's limits of time and size
_STATUS = {
    "created": "201",
    "revised": "200",
    "merged": "200",
    "unchanged": "200",
    "removed": "204",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one entry."""

    entry: Entry
    kind: str
    record: str
    version: int = 0


class Messages:
    """The story of ITI-93 for its consumer."""

    def __init__(self, people: People, sources: Sources, sights: Sights) -> None:
        self.people, self.sources, self.domains = people, sources, people.domains
        self.sights = sights
        self.answered: Table = people.mongo.table(DATABASE, "messages")
        self.names = NamesTable(people)

    async def prepare(self) -> None:
        """Make the collections; what exists is kept."""
        await asyncio.gather(self.people.mongo.create(DATABASE, "messages"), self.names.prepare())
        seconds = int(KEPT.total_seconds())
        await self.answered.ensure(IndexModel([("at", 1)], expireAfterSeconds=seconds))

    async def take(self, call: Call) -> Answer:
        """Do what the message says and answer it with a message.

        200 with `ok`; 422 with `fatal-error` (403 when all that is wrong is who sends it) and in its
        details every issue of every entry, when nothing was done; 503 with `transient-error`. Raises
        `Refused` for a Bundle that is no message of this event and so cannot be answered with one.
        """
        bundle = call.resource or {}
        message, found = pmir_message.read(bundle)
        if message is None:
            raise Refused(found)
        call.account.data = [f"MessageHeader/{message.id}"]
        issues = [*found, *_too_many(message), *_may_delete(call, message)]
        try:
            if _errors(issues):
                raise Refused(issues)
            return await self._answered(call, message, _fingerprint(bundle), issues)
        except Refused as refusal:
            return _refused(call, message, refusal)
        except Exception as fault:
            if not unavailable(fault):
                raise
            words = "The database is changing over or cannot be reached; send the message again."
            return _refused(call, message, Refused(Issue(BUSY, words)))

    async def _answered(
        self, call: Call, message: Message, fingerprint: str, warnings: Sequence[Issue]
    ) -> Answer:
        key = _key(call, message)
        before = await self.answered.one({"_id": key})
        if before is not None:
            return _again(call, before, fingerprint)
        sight = await self.sights.of(call.caller)
        addressing = Addressing(self.domains, self.sources, self.names, call.caller, message, sight)
        addressed, issues = await addressing.all()
        if _errors(issues):
            raise Refused([*warnings, *issues])
        told = [*warnings, *issues]

        async def story(change: Change) -> Answer:
            already = await self.answered.one({"_id": key}, session=change.session)
            if already is not None:
                return _again(call, already, fingerprint)
            done = await self._done(call, change.session, addressed)
            answer = _ok(call, message, done, told)
            row: Doc = {
                "_id": key, "at": call.now, "said": fingerprint, "b": answer.body,
                "patients": call.account.patients,
            }  # fmt: skip
            await self.answered.insert(row, change.session)
            await self.names.keep(change.session, addressed, message, call.caller.client_id)
            call.account.sealed = None
            await outbox.put(change.session, self.people.mongo, DATABASE, call.seal(200))
            return answer

        turns = {turn for one in addressed for turn in one.turns(self.people)}
        return await acts.committed(self.people, _acting(call), turns, story)

    async def _done(
        self, call: Call, session: AsyncClientSession, addressed: Sequence[Addressed]
    ) -> list[Done]:
        """Every act in its turn, each a Change of its own in the one transaction, so that each sees
        what those before it have done; all their issues at once."""
        done: list[Done] = []
        issues: list[Issue] = []
        versions: dict[str, int] = {}
        for one in sorted(addressed, key=lambda a: a.entry.turn):
            change = Change(self.people, session, _acting(call))
            try:
                await self._within(call, change, one)
                made = await _act(change, one)
                await change.write()
                await self._within(call, change, one)
            except Refused as refusal:
                issues += [one.placed(issue) for issue in refusal.issues]
                continue
            versions |= {record.id: record.v for record in change.records.values()}
            done.append(
                Done(one.entry, made.kind if made else "removed", made.record.id if made else "")
            )
        if _errors(issues):
            raise Refused(issues)
        return [replace(d, version=versions.get(d.record, 0)) for d in done]

    async def _within(self, call: Call, change: Change, one: Addressed) -> None:
        """A token that covers some Patients only may neither change one outside nor make one."""
        permit = call.grant(_needs(one.entry))
        if not isinstance(permit, Permit) or not permit.narrow:
            return
        record = await change.claimed(one.primary)
        if record is None:
            return
        touched = sorted({record.id, record.into} - {""})  # of a merge both must be in reach
        within = search.narrow(permit, pdqm.PARAMETERS)
        inside = {"$and": [{"_id": {"$in": touched}}, within]}
        found = await self.people.records.many(inside, {"_id": 1}, session=change.session)
        if len(found) < len(touched):
            words = "The token does not cover this Patient."
            raise Refused(one.placed(Issue(FORBIDDEN, words, "Patient")))


async def _act(change: Change, one: Addressed) -> acts.Outcome | None:
    entry, patient = one.entry, one.patient
    if entry.method == "DELETE":
        return await acts.remove(change, one.primary)
    other = survivor(patient)
    if other is not None:
        # A merge that says nothing else leaves what the source said of the Patient before.
        return await acts.merge(change, one.primary, other, patient if one.whole else None)
    record = await change.claimed(one.primary)
    if record is not None and record.state == "subsumed" and entry.method == "PUT":
        words = (
            f"This Patient was merged into Patient/{record.root}; undoing a merge is not supported by "
            "this transaction (PMIR 2:3.93.4.1.3). Ask the stewards of the exchange."
        )
        raise Refused(Issue(METHOD, words, "Patient.link"))
    return await acts.revise(change, one.primary, patient)


# -- answers ------------------------------------------------------------------------------------------


def _ok(call: Call, message: Message, done: Sequence[Done], warnings: Sequence[Issue]) -> Answer:
    place = {id(entry): number for number, entry in enumerate(message.entries)}
    told: list[Issue] = []
    call.account.patients = []
    for one in sorted(done, key=lambda d: place[id(d.entry)]):
        where = f"Patient/{one.record}/_history/{one.version}" if one.record else "removed before"
        if one.record:
            call.account.patients.append(f"Patient/{one.record}")
        said = f"{one.entry.where}.response.status"
        told.append(_said(_STATUS[one.kind], where, said))
    return Answer.fhir(_message(call, message, "ok", [*told, *warnings]))


def _said(status: str, words: str, where: str) -> Issue:
    return Issue(INFORMATION, words, where, "information", text=status, xds="")


def _again(call: Call, before: Mapping[str, Any], fingerprint: str) -> Answer:
    if before["said"] != fingerprint:
        words = "Another message was sent with this MessageHeader.id; give every message an id of its own."
        raise Refused(Issue(CONFLICT, words, "Bundle.entry[0].resource.id", xds=""))
    call.account.patients = list(before["patients"])
    return Answer.fhir(bytes(before["b"]))


def _refused(call: Call, message: Message, refusal: Refused) -> Answer:
    busy = any(issue.kind is BUSY for issue in refusal.issues)
    told = [replace(i, text=i.text or str(i.kind.http), xds="") for i in refusal.issues]
    body = _message(call, message, "transient-error" if busy else "fatal-error", told)
    if busy:
        return Answer.fhir(body, 503, Retry_After="2")
    wrong = [i for i in refusal.issues if i.severity in ("error", "fatal")]
    return Answer.fhir(body, 403 if all(i.kind is FORBIDDEN for i in wrong) else 422)


def _message(
    call: Call, message: Message, code: pmir_message.Code, told: Sequence[Issue]
) -> dict[str, Any]:
    return pmir_message.response(
        message.id,
        code,
        id_=call.ids(),
        base=call.base,
        instant=instant(call.now),
        details=outcome(told) if told else None,
    )


# -- before the transaction -----------------------------------------------------------------------


def _needs(entry: Entry) -> Needs:
    return Needs("d" if entry.method == "DELETE" else "u", "Patient", ("ITI-93",))


def _too_many(message: Message) -> list[Issue]:
    if len(message.entries) <= MOST:
        return []
    words = f"A message may tell of {MOST} Patients; this one tells of {len(message.entries)}."
    return [Issue(UNPROCESSABLE, words, "Bundle.entry[1].resource.entry", xds="")]


def _may_delete(call: Call, message: Message) -> list[Issue]:
    made = []
    for entry in message.entries:
        denied = call.grant(_needs(entry))
        if isinstance(denied, Denied):
            made.append(Issue(FORBIDDEN, denied.words, f"{entry.where}.request.method", xds=""))
    return made


def _errors(issues: Sequence[Issue]) -> bool:
    return any(issue.severity in ("error", "fatal") for issue in issues)


def _key(call: Call, message: Message) -> str:
    said = "\n".join((call.caller.client_id, message.endpoint, message.id))
    return hashlib.sha256(said.encode()).hexdigest()


def _fingerprint(bundle: Mapping[str, Any]) -> str:
    """What is told, whatever the envelope: a repetition may have another timestamp."""
    entries = [dict(place.entry) for place in pmir_message.places(bundle)]
    return hashlib.sha256(dumps({"entry": entries})).hexdigest()


def _acting(call: Call) -> Acting:
    caller = call.caller
    actor = Actor(caller.client_id, caller.organisation, caller.role, call.request_id)
    return Acting(actor, call.now, call.ids)
