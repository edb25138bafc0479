"""The NRL-shaped door: publish, update, withdraw, read and find pointers.

A pointer is a document of the registry like any other: the same collection, the same commit with its
AuditEvent in the outbox, the same history, and found at `/fhir/DocumentReference` as well. What the
door adds is the shape, the outcomes, and that a producer acts for its own organisation only.

(Past 400 lines, because the producer's and the consumer's verbs share who may, what is shown and how one
is counted as moved; apart they would be two halves of one class.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

from affinity.pack import Pack
from chassis import search
from chassis.body import parse_json
from chassis.call import Answer, Call, Handler, Route, dumps
from chassis.caller import challenge
from chassis.mongo import Doc, Filter
from chassis.settings import Settings
from governance.permit import Denied, Permit
from registry import pointer as pointers
from registry.documents import DATABASE, Check, Documents, MovedError, visible
from registry.elsewhere import Whereabouts
from registry.neighbours import Asked, People, Vault, Who
from registry.pointer import Making, Pointer
from registry.shown import FIELD, Shown
from registry.standing import Known
from registry.submission import Submission
from standards import capability, nrl
from standards.index import reference
from standards.lens import at
from standards.mhd import DOCUMENT_PARAMETERS
from standards.nrl import NHS_NUMBER_SYSTEM, ODS, PRODUCER
from standards.nrl_rules import Agreed, checked, own_id
from standards.outcome import (
    BUSY,
    CONFLICT,
    CREDENTIALS,
    DUPLICATE,
    FORBIDDEN,
    IDENTIFIER_SYSTEM,
    IDENTIFIER_VALUE,
    NHS_NUMBER,
    NOT_FOUND,
    REQUIRED_PARAMETER,
    UNKNOWN_PATIENT,
    Issue,
    Refused,
    refuse_if,
)
from standards.rows import Needs
from standards.search import Clause, Search, Target, Token

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Pointers:
    """The stories of the NRL door over the registry's store and its neighbours."""

    settings: Settings
    pack: Pack
    store: Documents
    people: People
    vault: Vault
    shown: Shown

    # -- the producer -----------------------------------------------------------------------------

    async def create(self, call: Call) -> Answer:
        """Publish a pointer under a new id; 201 RESOURCE_CREATED, or RESOURCE_SUPERSEDED when it
        replaces others, in one transaction.

        Raises `Refused`: 400 with every issue of the body, 403 when the token has no organisation or
        does not reach the pointer, 409 for a masterIdentifier that is taken, 422 for a person who is
        not known here.
        """
        organisation = _organisation(call)
        sent = pointers.read(call.resource or {}, f"{organisation}-{call.ids()}", organisation)
        there = self._whereabouts(call, organisation)
        return await self._publish(call, sent, checked(sent.resource, self._agreed(there)), there)

    async def upsert(self, call: Call) -> Answer:
        """As `create`, under the id in the body; a current pointer of that id is updated (200)."""
        organisation = _organisation(call)
        resource = call.resource or {}
        sent = pointers.read(resource, str(resource.get("id") or ""), organisation)
        there = self._whereabouts(call, organisation)
        wrong = [*own_id(sent.id, organisation), *checked(sent.resource, self._agreed(there))]
        held = await self.store.documents.one({"_id": sent.id}) if sent.id else None
        if held is None:
            return await self._publish(call, sent, wrong, there)
        refuse_if([*wrong, *replace(there, held=None).of(sent.resource)[1]])
        if held.get("pointer") != organisation or held["status"] != "current":
            words = "This id was used before; a new pointer needs a new one."
            raise Refused(Issue(DUPLICATE, words, "id"), status=409)
        return await self._update(call, sent, _granted(call, "u"), there)

    async def update(self, call: Call) -> Answer:
        """Change what may change in a pointer; 200 RESOURCE_UPDATED.

        Raises `Refused`: 400 with every issue, 403 for another organisation's pointer, 404 when there
        is no current one.
        """
        organisation = _own(call)
        sent = pointers.read(call.resource or {}, call.path["id"], organisation)
        there = self._whereabouts(call, organisation)
        wrong = checked(sent.resource, self._agreed(there))
        wrong += replace(there, held=None).of(sent.resource)[1]
        if sent.resource.get("id") != sent.id:
            words = "The id of the body must be the id in the path."
            wrong.append(Issue(IDENTIFIER_VALUE, words, "id"))
        refuse_if(wrong)
        return await self._update(call, sent, call.permit, there)

    async def withdraw(self, call: Call) -> Answer:
        """Take a pointer back; 200 RESOURCE_DELETED. It becomes entered-in-error and stays in the
        history.

        Raises `Refused`: 403 for another organisation's pointer, 404 when there is no current one, 409
        while a legal hold stands on it.
        """
        organisation = _own(call)
        for _ in range(_TRIES):
            held = await self._current(call, organisation)
            await self._refuse_held(held)
            made = pointers.withdrawn(held, call.now, call.base)
            if await self._committed(call, made, _reach(self.store, call, call.permit, made)):
                return Answer.fhir(nrl.said("RESOURCE_DELETED"))
        raise _busy()

    async def _refuse_held(self, held: Doc) -> None:
        """A legal hold keeps a pointer where those look who the hold is for. It is the repository's, so a
        hold that is placed at this very moment may come too late; nothing is lost then, because a
        withdrawal destroys nothing."""
        known = await self.people.who([("id", held["subject"])])
        records = {held["subject"], *(r for who in known.values() for r in who.same)}
        resource = parse_json(bytes(held["b"]))
        types = [(str(c.get("system")), str(c.get("code"))) for c in at(resource, "type.coding")]
        holds = await self.vault.held(held["_id"], records, types)
        refuse_if(
            Issue(CONFLICT, f"The legal hold {hold} stands on this pointer until it is ended.")
            for hold in holds
        )

    async def _publish(
        self, call: Call, sent: Pointer, wrong: Sequence[Issue], there: Whereabouts
    ) -> Answer:
        places, misplaced = there.of(sent.resource)
        sent = replace(sent, places=tuple(places))
        permits = [call.permit, _granted(call, "u")] if sent.replaces else [call.permit]
        for _ in range(_TRIES):
            who, known = await asyncio.gather(self._who(call, sent), self._known(sent))
            _refuse([*wrong, *misplaced, *pointers.standing(sent, who, known)])
            if who is None:
                raise RuntimeError("a pointer of nobody passed its rules")
            making = Making(who, known, call.ids(), call.now, call.base)
            made = pointers.published(sent, making)
            checks = [c for p in permits for c in _reach(self.store, call, p, made)]
            if await self._committed(call, made, checks):
                code = "RESOURCE_SUPERSEDED" if sent.replaces else "RESOURCE_CREATED"
                return _made(call, sent.id, code)
        raise _busy()

    async def _update(
        self, call: Call, sent: Pointer, permit: Permit, there: Whereabouts
    ) -> Answer:
        for _ in range(_TRIES):
            held = await self._current(call, sent.custodian, sent.id)
            places, misplaced = replace(there, held=held.get("away") or ()).of(sent.resource)
            placed = replace(sent, places=tuple(places))
            made, wrong = pointers.updated(placed, held, call.now, call.base)
            refuse_if([*misplaced, *wrong])
            if await self._committed(call, made, _reach(self.store, call, permit, made)):
                return Answer.fhir(nrl.said("RESOURCE_UPDATED"))
        raise _busy()

    async def _current(self, call: Call, organisation: str, id_: str = "") -> Doc:
        """The caller's own pointer as it is now, if the token reaches it."""
        id_ = id_ or call.path["id"]
        where = [{"_id": id_, "pointer": organisation, "status": "current"}]
        within = search.narrow(call.permit, DOCUMENT_PARAMETERS)
        held = await self.store.documents.one(search.all_of([*where, within]))
        if held is None:
            raise _nothing()
        _accounted(call, held)
        return held

    async def _who(self, call: Call, sent: Pointer) -> Who | None:
        if not sent.number:
            return None
        asked: Asked = ("identifier", NHS_NUMBER_SYSTEM, sent.number)
        who = (await self.people.who([asked])).get(asked)
        call.account.patients = [f"Patient/{who.survivor or who.record}"] if who else []
        return who

    async def _known(self, sent: Pointer) -> Known:
        names = [sent.unique_id] if sent.unique_id else []
        return await self.store.standing([id_ for _, id_ in sent.related], names)

    async def _committed(self, call: Call, made: Submission, checks: Sequence[Check]) -> bool:
        """Commit; False when what it rests on has changed meanwhile and must be looked at again."""
        ids = [r["_id"] for r in made.documents] + [c.after["_id"] for c in made.changed_documents]
        call.account.data = [f"DocumentReference/{id_}" for id_ in ids]
        call.account.sealed = None
        try:
            await self.store.commit(made, call, checks)
        except MovedError:
            call.account.sealed = None
            return False
        except Refused:
            call.account.sealed = None
            raise
        return True

    def _whereabouts(self, call: Call, organisation: str) -> Whereabouts:
        return Whereabouts(organisation, self.pack, call.base, call.ids)

    def _agreed(self, there: Whereabouts) -> Agreed:
        strict = self.settings.codes != "lenient"
        settings, labels = self.pack.value_set("setting"), self.pack.value_set("label")
        return Agreed(
            there.organisation,
            setting=lambda s, c: settings.contains(s, c) or not strict,
            label=lambda s, c: labels.contains(s, c) or not strict,
            number=self._number_fault,
            listed=there.listed,
        )

    def _number_fault(self, number: str) -> str:
        domain = self.pack.domain_of(NHS_NUMBER_SYSTEM)
        if domain is None or domain.usable(number):
            return ""
        return "This is no NHS number: ten digits, written together, with their check digit."

    # -- read and find ----------------------------------------------------------------------------

    async def read(self, call: Call) -> Answer:
        """A current pointer, at the producer's door only one's own. Raises `Refused`: 404, and 403 for
        another organisation's at the producer's door."""
        own = _own(call) if call.row.door == PRODUCER else ""
        call.account.data.append(f"DocumentReference/{call.path['id']}")
        parts = [
            {"_id": call.path["id"]},
            _shown(own),
            visible(call.caller),
            search.narrow(call.permit, DOCUMENT_PARAMETERS),
        ]
        row = await self.store.documents.one(search.all_of(parts))
        if row is None:
            raise _nothing()
        _accounted(call, row)
        moment = formatdate(row["at"].timestamp(), usegmt=True)
        show = await self.shown.to(call)
        return Answer(200, show(row), {"ETag": f'W/"{row["v"]}"', "Last-Modified": moment})

    async def find(self, call: Call) -> Answer:
        """One page of current pointers, newest first, with their exact number.

        Raises `Refused` (400) when it names neither a person nor a pointer, or an NHS number that is
        none.
        """
        own = _organisation(call) if call.row.door == PRODUCER else ""
        await search.resume(call, self.store.mongo, DATABASE)
        asked = call.search or Search()
        refuse_if(self._asked(asked))
        replace: dict[str, Filter] = {}
        if whose := asked.of("subject"):
            replace["subject"] = {"subject": {"$in": await self._records(call, whose)}}
        return await search.searchset(
            call,
            self.store.documents,
            where=search.all_of([_shown(own), visible(call.caller)]),
            replace=replace,
            show=await self.shown.to(call),
            fields=("b", FIELD),
            few=bool(whose),
        )

    def _asked(self, asked: Search) -> list[Issue]:
        issues = []
        if not (asked.has("subject") or asked.has("_id") or asked.has("identifier")):
            words = f"Name the person: subject:identifier={NHS_NUMBER_SYSTEM}|…"
            issues.append(Issue(REQUIRED_PARAMETER, words, "subject:identifier"))
        for name, system in (("subject", NHS_NUMBER_SYSTEM), ("custodian", ODS)):
            for value in (v for c in asked.of(name) for v in c.values if isinstance(v, Token)):
                where = f"{name}:identifier"
                if value.system != system:
                    words = f"Write it as {where}={system}|…"
                    issues.append(Issue(IDENTIFIER_SYSTEM, words, where))
                elif name == "subject" and (wrong := self._number_fault(value.code)):
                    issues.append(Issue(NHS_NUMBER, wrong, where))
        return issues

    async def _records(self, call: Call, clauses: Sequence[Clause]) -> list[str]:
        """The records of the people that all of these clauses name."""
        each = [[_question(call.base, v) for v in clause.values] for clause in clauses]
        people = await self.people.who([q for questions in each for q in questions], call.caller)
        found: set[str] | None = None
        for questions in each:
            records: set[str] = set()
            for question in questions:
                who = people.get(question)
                if who is not None:
                    call.account.patients.append(f"Patient/{who.record}")
                    records |= {who.record, *who.same}
                elif question[0] == "identifier":
                    call.account.patients.append((question[1], question[2]))
            found = records if found is None else found & records
        return sorted(found or ())


def metadata(settings: Settings, door: str) -> Handler:
    """The story of a door's CapabilityStatement."""
    made: Mapping[str, Any] = capability.statement(
        nrl.TRANSACTIONS, base=settings.fhir_base, auth=settings.issuer, door=door
    )
    body = dumps(made)

    async def handle(call: Call) -> Answer:  # noqa: ARG001  the statement is the same for everyone
        return Answer(200, body, {"Cache-Control": "public, max-age=60"})

    return handle


# -- who may ----------------------------------------------------------------------------------------


def _organisation(call: Call) -> str:
    """The caller's organisation, for which alone it publishes."""
    if not call.caller.organisation:
        words = (
            "Your client belongs to no organisation, and a producer acts for one; have its operators "
            "register the client with its ODS code."
        )
        raise Refused(Issue(CREDENTIALS, words))
    return call.caller.organisation


def _own(call: Call) -> str:
    """The caller's organisation, if the pointer in the path is by its id that organisation's."""
    organisation = _organisation(call)
    if not call.path["id"].startswith(organisation + "-"):
        raise Refused(Issue(CREDENTIALS, "By its id this pointer belongs to another organisation."))
    return organisation


def _granted(call: Call, letter: str) -> Permit:
    permit = call.grant(Needs(letter, "DocumentReference"))  # type: ignore[arg-type]
    if isinstance(permit, Denied):
        raise _forbidden(permit.words, letter)
    return permit


def _reach(store: Documents, call: Call, permit: Permit, made: Submission) -> list[Check]:
    """A query-limited scope reaches only pointers that it would find."""
    if not permit.narrow:
        return []
    ids = [r["_id"] for r in made.documents] + [c.after["_id"] for c in made.changed_documents]
    within = search.narrow(permit, DOCUMENT_PARAMETERS)
    letter = call.row.scope.letter if isinstance(call.row.scope, Needs) else ""
    words = "The pointer lies outside the token's scope."
    return [Check(store.documents, ids, within, _forbidden(words, letter))]


def _forbidden(words: str, letter: str) -> Refused:
    headers = challenge("insufficient_scope", words, f"system/DocumentReference.{letter}")
    return Refused(Issue(FORBIDDEN, words), headers=headers)


# -- small ------------------------------------------------------------------------------------------


def _shown(organisation: str) -> Filter:
    """Current pointers; of one organisation when it is named."""
    return {"status": "current", "pointer": organisation or {"$gt": ""}}


def _refuse(issues: Sequence[Issue]) -> None:
    """Refuse with all of them. The first kind that matters decides: a pointer that is wrong in itself
    is 400; one that only repeats a masterIdentifier 409; one only of an unknown person 422."""
    kinds = {i.kind for i in issues}
    if kinds <= {DUPLICATE}:
        status: int | None = 409
    elif kinds <= {UNKNOWN_PATIENT}:
        status = 422
    else:
        status = None
    if issues:
        raise Refused(issues, status=status)


def _question(base: str, value: object) -> Asked:
    if isinstance(value, Token):
        return ("identifier", value.system or "", value.code)
    said = reference(value.keys[0], base) if isinstance(value, Target) else str(value)
    return ("id", said.removeprefix("Patient/"))


def _accounted(call: Call, row: Doc) -> None:
    call.account.patients = [f"Patient/{row['subject']}"]
    call.account.data = [f"DocumentReference/{row['_id']}"]


def _made(call: Call, id_: str, code: str) -> Answer:
    location = f"{call.base}{PRODUCER}/DocumentReference/{id_}"
    return Answer.fhir(nrl.said(code), 201, Location=location, ETag='W/"1"')


def _nothing() -> Refused:
    return Refused(Issue(NOT_FOUND, "There is no current pointer with this id, or none for you."))


def _busy() -> Refused:
    return Refused(Issue(BUSY, "Others keep changing the same pointer; send it again."))


def routes(
    settings: Settings, pack: Pack, store: Documents, people: People, vault: Vault, shown: Shown
) -> tuple[Route, ...]:
    """Every row of the door with its story."""
    story = Pointers(settings, pack, store, people, vault, shown)
    return (
        Route(nrl.CREATE, story.create),
        Route(nrl.UPSERT, story.upsert),
        Route(nrl.UPDATE, story.update),
        Route(nrl.DELETE, story.withdraw),
        Route(nrl.PRODUCER_READ, story.read),
        Route(nrl.PRODUCER_SEARCH, story.find),
        Route(nrl.CONSUMER_READ, story.read),
        Route(nrl.CONSUMER_SEARCH, story.find),
        *(Route(row, metadata(settings, row.door)) for row in nrl.METADATA),
    )
