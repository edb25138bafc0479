"""ITI-104: a source tells of its people. Add, revise, resolve a duplicate, remove.

add        PUT Patient?identifier=A, unknown              201
revise     PUT Patient?identifier=A, known                200 (same content: no new version)
merge      PUT Patient?identifier=A, link replaced-by B   A is subsumed, B carries both numbers
remove     DELETE Patient?identifier=A                    204
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from chassis import outbox, search
from chassis.call import Account, Answer, Call
from pix import claims, showing
from pix.change import Change
from pix.identifiers import Domains, Identifier, criterion, parts
from pix.people import DATABASE, People, Record
from pix.sources import Sources
from pix.turns import Turns
from standards import balp, pdqm, pixm
from standards.outcome import (
    BUSY,
    CODE_INVALID,
    CONFLICT,
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    PRECONDITION,
    UNPROCESSABLE,
    UNRESOLVED,
    Issue,
    Refused,
    refuse_if,
)  # fmt: skip

_TRIES = 12
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Feed:
    """The stories of ITI-104 over the People store."""

    people: People
    sources: Sources
    domains: Domains
    turns: Turns = field(default_factory=Turns)

    async def put(self, call: Call) -> Answer:
        """Add, revise or merge the Patient in the body under the identifier of the request.

        Answers 201 or 200 with the Patient. Raises `Refused`: 400 for the criteria or the body's id,
        403 for a foreign domain, 409 for a subsumed record, 412 for a stale If-Match, 422 for a body
        that breaks the profile.
        """
        asked = self._asked(call)
        patient = call.resource or {}
        primary = await self._primary(asked)
        await self._authorise(call, primary)
        refuse_if([*pixm.check(patient), *claims.check(patient, primary, self.domains)])
        own = showing.canonical(patient)

        async def story(session: AsyncClientSession) -> Answer:
            return await self._put(call, primary, own, session)

        claim = claims.claim(patient, primary, self.domains)
        async with self.turns.of({primary.key, claim.anchor or primary.key}):
            return await self._again(story)

    async def delete(self, call: Call) -> Answer:
        """Remove the record fed under the identifier of the request, with what was merged into it.

        Answers 204, also when it was removed before. Raises `Refused`: 404 for an identifier that was
        never fed, 403 for a foreign domain, 412 for a stale If-Match.
        """
        primary = await self._primary(self._asked(call))
        await self._authorise(call, primary)

        async def story(session: AsyncClientSession) -> Answer:
            return await self._delete(call, primary, session)

        async with self.turns.of([primary.key]):
            return await self._again(story)

    # -- before the transaction -----------------------------------------------------------------

    def _asked(self, call: Call) -> Identifier:
        system, value = criterion(call.query)
        asked = self.domains.identifier(system, value)
        call.account.patients.append((asked.system, asked.value))
        if not self.domains.known(asked.system):
            words = "No domain of this exchange has this system; GET /fhir/metadata and the pack list them."
            raise Refused(Issue(CODE_INVALID, words, "identifier", xds=""), status=400)
        return asked

    async def _primary(self, asked: Identifier) -> Identifier:
        """The identifier that the record is fed under, when it was named by our logical id."""
        if asked.system != self.domains.base:
            return asked
        logical = self.domains.logical(asked)
        found = await self.people.record(logical) if logical else None
        if found is None or found.state == "removed":
            raise Refused(Issue(NOT_FOUND, "No Patient has this logical id here.", "identifier"))
        return found.primary

    async def _authorise(self, call: Call, primary: Identifier) -> None:
        if not await self.sources.may_feed(call.caller, primary.system):
            words = (
                "Another source feeds this domain; ask the exchange to assign it to your client."
            )
            raise Refused(Issue(FORBIDDEN, words, "identifier"))

    async def _again(self, story: Callable[[AsyncClientSession], Awaitable[Answer]]) -> Answer:
        """Run in a transaction; a lost race for a new identifier is run again as what it then is."""
        for attempt in range(_TRIES):
            try:
                return await self.people.mongo.transaction(story, tries=24)
            except DuplicateKeyError:
                await asyncio.sleep(0.002 * attempt)
        words = "Too many changes to the same record at once; send the request again."
        raise Refused(Issue(BUSY, words))

    # -- inside -----------------------------------------------------------------------------------

    async def _put(
        self, call: Call, primary: Identifier, own: bytes, session: AsyncClientSession
    ) -> Answer:
        patient = call.resource or {}
        change = self._change(call, session)
        record = await change.claimed(primary)
        _check_target(call, record, patient)
        other = claims.survivor(patient)
        await self._within_permit(call, record, session)
        if record is not None and other is None and record.state == "subsumed":
            raise Refused(_subsumed(record))
        if record is not None and record.own == own:
            return self._answer(call, record, "U", 200)
        if record is None:
            record = self._new(call, primary)
            change.add(record)
        record.own, record.client = own, call.caller.client_id
        record.organisation = call.caller.organisation
        if other is not None:
            touched = await self._merge(call, change, record, other)
        else:
            touched = await self._revise(call, change, record, patient)
        await change.write(touched)
        await self._within_permit(call, record, session)
        new = record.v == 1
        answer = self._answer(call, record, "C" if new else "U", 201 if new else 200)
        await outbox.put(session, self.people.mongo, DATABASE, call.seal(answer.status))
        return answer

    async def _revise(
        self, call: Call, change: Change, record: Record, patient: Mapping[str, Any]
    ) -> list[Record]:
        was, anchor = record.person, record.anchor
        claim = claims.claim(patient, record.primary, self.domains)
        await change.hold(record, claim, _person_id())
        joined = [r.id for r in change.members(record.person)]
        if was and was != record.person:
            kind = "join" if len(joined) > 1 else "split"
        else:
            kind = "join" if len(joined) > 1 and record.anchor != anchor else ""
        if kind:
            reason = (
                "verified NHS number and birth date agree"
                if kind == "join"
                else "they no longer agree"
            )
            evidence = {"anchor": record.anchor or anchor}
            change.decide(
                kind, call.ids(), sorted({record.id, *joined}), reason=reason, evidence=evidence
            )
        return [record]

    async def _merge(
        self, call: Call, change: Change, record: Record, other: Mapping[str, Any]
    ) -> list[Record]:
        survivor = await self._survivor(change, other)
        _check_merge(record, survivor, await self._named_root(change, record))
        if record.state == "subsumed":
            return [record]  # told again in other words: the merge itself stands
        await change.read_persons([record.person, survivor.person])
        emptied = record.person
        await change.retire(record, "subsumed")
        record.into = survivor.id
        for absorbed in [*change.tail(record), record]:
            absorbed.root, absorbed.person = survivor.id, survivor.person
        gained = [record.primary, *record.absorbed]
        survivor.absorbed += [i for i in gained if i not in survivor.absorbed]
        if emptied:
            change.moved(emptied, survivor.person)
        change.decide(
            "merge",
            call.ids(),
            [record.id, survivor.id],
            reason="the source resolved a duplicate",
            evidence={"subsumed": record.primary.key, "survivor": survivor.primary.key},
        )
        return [record, survivor]

    async def _survivor(self, change: Change, other: Mapping[str, Any]) -> Record:
        """The record that a merge names: by identifier as PIXm does, else by reference as PMIR does."""
        domains = self.domains
        named = domains.identifier(*parts(other.get("identifier") or {}))
        if named.system and named.value:
            logical = domains.logical(named)
            found = await change.read({"_id": logical} if logical else {"claim": named.key})
        else:
            reference = str(other.get("reference") or "").removeprefix(domains.base + "/")
            found = await change.read({"_id": reference.removeprefix("Patient/")})
        if not found or found[0].state == "removed":
            words = "The survivor is not known here; feed it first."
            raise Refused(Issue(UNRESOLVED, words, "Patient.link[0].other", xds=""))
        return found[0]

    async def _named_root(self, change: Change, record: Record) -> Record | None:
        if not record.root:
            return None
        found = await change.read({"_id": record.root})
        return found[0] if found else None

    async def _delete(self, call: Call, primary: Identifier, session: AsyncClientSession) -> Answer:
        change = self._change(call, session)
        record = await change.claimed(primary)
        if record is None:
            if await self.people.removed(primary, session):
                return Answer(204)
            raise Refused(Issue(NOT_FOUND, "Nobody is known under this identifier.", "identifier"))
        _check_match(call, record)
        await self._within_permit(call, record, session)
        await change.read_persons([record.person])
        if record.state == "subsumed":
            touched = await self._forget(change, record)
        else:
            touched = [*change.tail(record), record]
            for one in touched:
                await change.retire(one, "removed")
        change.decide(
            "remove",
            call.ids(),
            [r.id for r in touched],
            reason="the source removed it",
            evidence={"identifier": primary.key},
        )
        await change.write(touched)
        self._tell(call, record, "D")
        await outbox.put(session, self.people.mongo, DATABASE, call.seal(204))
        return Answer(204)

    async def _forget(self, change: Change, record: Record) -> list[Record]:
        """Remove a subsumed record alone: its survivor no longer carries its number, and what had
        been merged into it now leads to that survivor."""
        survivor = change.records[record.root]
        survivor.absorbed = [i for i in survivor.absorbed if i != record.primary]
        children = [r for r in change.records.values() if r.into == record.id]
        for child in children:
            child.into = record.into
        await change.retire(record, "removed")
        return [record, survivor, *children]

    # -- small steps ------------------------------------------------------------------------------

    def _change(self, call: Call, session: AsyncClientSession) -> Change:
        actor = {
            "client": call.caller.client_id,
            "organisation": call.caller.organisation,
            "request": call.request_id,
        }
        return Change(self.people, session, call.now, actor)

    def _new(self, call: Call, primary: Identifier) -> Record:
        return Record(
            id=call.ids(),
            system=primary.system,
            value=primary.value,
            own=b"",
            client=call.caller.client_id,
            organisation=call.caller.organisation,
        )

    async def _within_permit(
        self, call: Call, record: Record | None, session: AsyncClientSession
    ) -> None:
        """A token that covers some Patients only may neither change one outside nor make one."""
        if record is None or not call.permit.narrow:
            return
        where = search.narrow(call.permit, pdqm.PARAMETERS)
        inside = {"$and": [{"_id": record.id}, where]}
        if await self.people.records.one(inside, {"_id": 1}, session) is None:
            raise Refused(Issue(FORBIDDEN, "The token does not cover this Patient."))

    def _answer(self, call: Call, record: Record, action: str, status: int) -> Answer:
        self._tell(call, record, action)
        where = f"{call.base}/Patient/{record.id}/_history/{record.v}"
        answer = Answer(status, record.b, {"ETag": f'W/"{record.v}"'})
        answer.headers["Location" if status == 201 else "Content-Location"] = where
        if record.at is not None:
            answer.headers["Last-Modified"] = showing.http_date(record.at)
        return answer

    def _tell(self, call: Call, record: Record, action: str) -> None:
        """What the AuditEvent says; a transaction that ran again says it anew."""
        account: Account = call.account
        account.sealed = None
        account.patients = [(record.system, record.value)]
        account.data = [f"Patient/{record.id}"]
        row = {"C": balp.ITI_104_CREATE, "U": balp.ITI_104_UPDATE, "D": balp.ITI_104_DELETE}[action]
        account.action, account.profile = row.action, row.profile


def _check_target(call: Call, record: Record | None, patient: Mapping[str, Any]) -> None:
    """The outcomes of a conditional update that are refusals (FHIR R4 http.html#cond-update)."""
    given = patient.get("id")
    if given is not None and (record is None or record.id != given):
        words = (
            "Leave out id: this server gives logical ids."
            if record is None
            else "The body's id is not the id of the Patient that the identifier names."
        )
        raise Refused(Issue(INVALID, words, "Patient.id"))
    _check_match(call, record)


def _check_match(call: Call, record: Record | None) -> None:
    asked = call.headers.get("if-match")
    if asked is None:
        return
    version = asked.strip().removeprefix("W/").strip('"')
    if record is None or (version != "*" and version != str(record.v)):
        words = "If-Match names another version; read the Patient again before you change it."
        raise Refused(Issue(PRECONDITION, words, "If-Match"))


def _check_merge(record: Record, survivor: Record, root: Record | None) -> None:
    where = "Patient.link[0].other"
    if survivor.id == record.id:
        raise Refused(Issue(UNPROCESSABLE, "A record cannot replace itself.", where))
    if survivor.system != record.system:
        words = "Only records of one domain can be merged; other links are found by matching."
        raise Refused(Issue(UNPROCESSABLE, words, where))
    if record.state == "subsumed" and survivor.id not in (record.into, root.id if root else ""):
        raise Refused(_subsumed(record))
    if survivor.state == "subsumed" and survivor.id != record.into:
        words = "The survivor was itself merged into another record; name that one."
        raise Refused(Issue(CONFLICT, words, where))


def _subsumed(record: Record) -> Issue:
    return Issue(
        CONFLICT,
        f"This record was merged into Patient/{record.root}; revise that one. "
        "Undoing a merge is a matter of stewardship.",
        "identifier",
    )


def _person_id() -> str:
    """A new enterprise person number (domain digest §1.1, `tlid`)."""
    return "TL-" + "".join(secrets.choice(_CROCKFORD) for _ in range(12))
