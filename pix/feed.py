"""ITI-104: a source tells of its people. Add, revise, resolve a duplicate, remove.

add        PUT Patient?identifier=A, unknown              201
revise     PUT Patient?identifier=A, known                200 (same content: no new version)
merge      PUT Patient?identifier=A, link replaced-by B   A is subsumed, B carries both numbers
remove     DELETE Patient?identifier=A                    204

Here is only what HTTP says: criteria, If-Match, permit, answers. What happens is told in acts.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chassis import outbox, search
from chassis.call import Account, Answer, Call
from chassis.negotiate import names
from pix import acts, claims, showing
from pix.acts import Outcome
from pix.change import Acting, Actor, Change
from pix.flights import Flights, Passenger
from pix.identifiers import Domains, Identifier, criterion
from pix.people import DATABASE, People
from pix.record import Record
from pix.sight import Sights
from pix.sources import Sources
from standards import balp, pdqm
from standards.outcome import (
    CODE_INVALID,
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    PRECONDITION,
    Issue,
    Refused,
    refuse_if,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Feed:
    """The stories of ITI-104 over the People store."""

    people: People
    sources: Sources
    domains: Domains
    sights: Sights
    flights: Flights

    async def put(self, call: Call) -> Answer:
        """Add, revise or merge the Patient in the body under the identifier of the request.

        Answers 201 or 200 with the Patient. Raises `Refused`: 400 for the criteria or the body's id,
        403 for a foreign domain, 409 for a subsumed record, 412 for a stale If-Match, 422 for a body
        that breaks the profile.
        """
        asked = self._asked(call)
        patient = call.resource or {}
        primary = await self._primary(call, asked)
        await self._authorise(call, primary)
        refuse_if(claims.faults(patient, primary, self.domains))

        async def act(change: Change) -> Outcome:
            record = await change.claimed(primary)
            _check_target(call, record, patient)
            await self._within_permit(call, record, change)
            return await acts.put(change, primary, patient)

        def landed(done: Outcome) -> Mapping[str, Any] | None:
            self._tell(call, done.record, "C" if done.new else "U")
            if done.kind == "unchanged":
                return None
            return call.seal(201 if done.new else 200)

        acting = _acting(call)
        if _alone(call, patient):

            async def story(change: Change) -> Outcome:
                done = await act(change)
                if done.kind != "unchanged":
                    await change.write()
                await self._within_permit(call, done.record, change)
                event = landed(done)
                await self._seal(change, [event] if event is not None else [])
                return done

            turns = acts.turns(self.people, primary, patient)
            done = await acts.committed(self.people, acting, turns, story)
        else:
            passenger = Passenger(primary, patient, acting, act, landed, self._seal)
            done = await self.flights.board(passenger)
        answer = self._answer(call, done.record, 201 if done.new else 200)
        answer.body = await self.sights.cleared(answer.body, await self.sights.of(call.caller))
        return answer

    async def delete(self, call: Call) -> Answer:
        """Remove the record fed under the identifier of the request, with what was merged into it.

        Answers 204, also when it was removed before. Raises `Refused`: 404 for an identifier that was
        never fed, 403 for a foreign domain, 412 for a stale If-Match.
        """
        primary = await self._primary(call, self._asked(call))
        await self._authorise(call, primary)

        async def story(change: Change) -> Answer:
            record = await change.claimed(primary)
            if record is not None:
                _check_match(call, record)
                await self._within_permit(call, record, change)
            done = await acts.remove(change, primary)
            if done is None:
                return Answer(204)
            await change.write()
            self._tell(call, done.record, "D")
            await self._seal(change, [call.seal(204)])
            return Answer(204)

        return await acts.committed(self.people, _acting(call), [primary.key], story)

    # -- before the transaction -----------------------------------------------------------------

    def _asked(self, call: Call) -> Identifier:
        system, value = criterion(call.query)
        asked = self.domains.identifier(system, value)
        call.account.patients.append((asked.system, asked.value))
        if not self.domains.known(asked.system):
            words = (
                "No domain of this exchange has this system; identifier_domains.csv of its affinity pack"
                " lists them (docs/identifier-domains.md)."
            )
            raise Refused(Issue(CODE_INVALID, words, "identifier", xds=""), status=400)
        return asked

    async def _primary(self, call: Call, asked: Identifier) -> Identifier:
        """The identifier that the record is fed under, when it was named by our logical id. One of
        which this caller may not know is as unknown as one that was never given."""
        if asked.system != self.domains.base:
            return asked
        logical = self.domains.logical(asked)
        found = await self.people.record(logical) if logical else None
        sight = await self.sights.of(call.caller)
        if found is None or found.state == "removed" or not sight.tells_of(found.system):
            raise Refused(Issue(NOT_FOUND, "No Patient has this logical id here.", "identifier"))
        return found.primary

    async def _authorise(self, call: Call, primary: Identifier) -> None:
        if not await self.sources.may_feed(call.caller, primary.system):
            words = (
                "Another source feeds this domain; ask the exchange to assign it to your client."
            )
            raise Refused(Issue(FORBIDDEN, words, "identifier"))

    # -- inside -----------------------------------------------------------------------------------

    async def _within_permit(self, call: Call, record: Record | None, change: Change) -> None:
        """A token that covers some Patients only may neither change one outside nor make one, nor merge
        one into another outside."""
        if record is None or not call.permit.narrow:
            return
        where = search.narrow(call.permit, pdqm.PARAMETERS)
        touched = sorted({record.id, record.into} - {""})
        inside = {"$and": [{"_id": {"$in": touched}}, where]}
        found = await self.people.records.many(inside, {"_id": 1}, session=change.session)
        if len(found) < len(touched):
            raise Refused(Issue(FORBIDDEN, "The token does not cover this Patient."))

    async def _seal(self, change: Change, events: Sequence[Mapping[str, Any]]) -> None:
        """The AuditEvents are part of the transaction."""
        await outbox.put_many(change.session, self.people.mongo, DATABASE, events)

    def _answer(self, call: Call, record: Record, status: int) -> Answer:
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


def _alone(call: Call, patient: Mapping[str, Any]) -> bool:
    """What asks more than the record that it feeds does not share a transaction."""
    conditional = "if-match" in call.headers or "if-none-match" in call.headers
    return conditional or bool(call.permit.narrow) or claims.survivor(patient) is not None


def _acting(call: Call) -> Acting:
    caller = call.caller
    actor = Actor(caller.client_id, caller.organisation, caller.role, call.request_id)
    return Acting(actor, call.now, call.ids)


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
    """PIXm does not speak of preconditions; one that is given is kept (RFC 9110 §13.1, FHIR R4
    http.html#concurrency): If-Match, and If-None-Match as "only if nobody is there yet"."""
    tag = f'W/"{record.v}"' if record is not None else ""
    wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
    if wanted is not None and (record is None or not names(wanted, tag)):
        words = "If-Match names another version; read the Patient again before you change it."
        raise Refused(Issue(PRECONDITION, words, "If-Match"))
    if unwanted is not None and record is not None and names(unwanted, tag):
        words = (
            "If-None-Match rules out what is here already; read the Patient before you change it."
        )
        raise Refused(Issue(PRECONDITION, words, "If-None-Match"))
