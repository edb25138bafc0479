"""Whom an entry of a message means, and the Patient as it can be fed.

A sender names its Patients by ids of its own (`Patient/17`, `urn:uuid:…`), by our logical ids, by
`Patient?identifier=`, or only by the identifiers in the Patient. A record here is fed under one
identifier; this module finds it, or mints one:

    1  the id is ours, or the sender has used it before (`message_names`, per client and endpoint)
    2  the URL is a search by identifier
    3  the Patient's identifiers: those of domains that the client feeds, local ones before national
    4  none at all: a number of the domain `minted` of the pack, with the sender's id as its value
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.call import Caller, dumps
from chassis.mongo import Doc, Table
from governance.identifiers import Sight
from pix import acts, claims, showing
from pix.identifiers import Domains, Identifier, parts, token
from pix.people import DATABASE, People
from pix.sources import Sources
from standards import pixm
from standards.lens import at, text
from standards.outcome import CODE_INVALID, FORBIDDEN, NOT_FOUND, PROFILE, REQUIRED, Issue, Refused
from standards.pmir_message import Entry, Json, Message, named

MINTED = "minted"  # the pack's domain for Patients that come without an identifier
_DROPPED = ("meta", "text", "contained")  # what a contained RelatedPerson must or may not carry


@dataclass(frozen=True, slots=True)
class Addressed:
    """An entry, the identifier its record is fed under, and the Patient as it is fed; `whole` is
    False for a merge that says nothing of the Patient but that it is replaced."""

    entry: Entry
    primary: Identifier
    patient: Mapping[str, Any]
    whole: bool = True

    def turns(self, people: People) -> set[str]:
        """The keys of everyone who might change the same person."""
        return acts.turns(people, self.primary, self.patient or None)

    def placed(self, issue: Issue) -> Issue:
        """An issue of the Patient or its identifier as one of this entry."""
        return _placed(self.entry, issue)


def _placed(entry: Entry, issue: Issue) -> Issue:
    if issue.where.startswith(entry.where):
        return issue
    head, _, rest = issue.where.partition(".")
    if head.startswith("Patient"):
        where = f"{entry.where}.resource" + (f".{rest}" if rest else "")
    else:
        where = f"{entry.where}.request.url"
    return replace(issue, where=where, xds="")


class NamesTable:
    """The ids that senders have used: `message_names`.

    `{_id: "client|endpoint|Patient/17", system, value}` leads to a record by what it is fed under;
    `{_id: "client|endpoint|RelatedPerson/3", b}` keeps a RelatedPerson until a Patient links to it.
    """

    def __init__(self, people: People) -> None:
        self.people = people
        self.table: Table = people.mongo.table(DATABASE, "message_names")

    async def prepare(self) -> None:
        """Make the collection; it is kept when it exists."""
        await self.people.mongo.create(DATABASE, self.table.name)

    async def primaries(
        self, stem: str, names: Iterable[str], sight: Sight
    ) -> dict[str, Identifier]:
        """What these names lead to: our logical ids first, then the sender's own. Ids of records of
        which the sender may not know are names like any other."""
        wanted = sorted(set(names))
        keys = [f"{stem}|Patient/{name}" for name in wanted]
        told = await self.table.many({"_id": {"$in": keys}})
        made = {r["_id"].rpartition("/")[2]: Identifier(r["system"], r["value"]) for r in told}
        ours = await self.people.records.many(
            {"_id": {"$in": wanted}, "state": {"$ne": "removed"}}, {"system": 1, "value": 1}
        )
        return made | {
            r["_id"]: Identifier(r["system"], r["value"])
            for r in ours
            if sight.tells_of(r["system"])
        }

    async def related(self, stem: str, names: Iterable[str]) -> dict[str, Json]:
        """The RelatedPersons that were sent before under these names."""
        keys = [f"{stem}|RelatedPerson/{name}" for name in sorted(set(names))]
        told = await self.table.many({"_id": {"$in": keys}, "b": {"$exists": True}})
        return {r["_id"].rpartition("/")[2]: showing.opened(bytes(r["b"])) for r in told}

    async def keep(
        self,
        session: AsyncClientSession,
        addressed: Sequence[Addressed],
        message: Message,
        client: str,
    ) -> None:
        """Remember how the sender named its Patients and RelatedPersons in this message."""
        stem = f"{client}|{message.endpoint}"
        rows: list[Doc] = [
            {
                "_id": f"{stem}|Patient/{name}",
                "system": one.primary.system,
                "value": one.primary.value,
            }
            for one in addressed
            if one.entry.method != "DELETE"
            for name in one.entry.names
        ]
        rows += [
            {"_id": f"{stem}|RelatedPerson/{name}", "b": dumps(person)}
            for name, person in message.related.items()
        ]
        changes = [ReplaceOne({"_id": row["_id"]}, row, upsert=True) for row in rows]
        if changes:
            await self.table.raw.bulk_write(changes, session=session)


class Addressing:
    """The entries of one message, addressed."""

    def __init__(
        self,
        domains: Domains,
        sources: Sources,
        names: NamesTable,
        caller: Caller,
        message: Message,
        sight: Sight,
    ) -> None:
        self.domains, self.sources, self.names = domains, sources, names
        self.caller, self.message, self.sight = caller, message, sight
        self.stem = f"{caller.client_id}|{message.endpoint}"
        self.known: dict[str, Identifier] = {}
        self.related: dict[str, Json] = {}

    async def all(self) -> tuple[list[Addressed], list[Issue]]:
        """Every entry that can be addressed, and all that is wrong with any."""
        entries = self.message.entries
        links = [link for e in entries for link in at(e.patient or {}, "link")]
        others = [_other(link) for link in links]
        self.known = await self.names.primaries(
            self.stem, [*(n for e in entries for n in e.names), *filter(None, others)], self.sight
        )
        self.related = {
            **await self.names.related(self.stem, filter(None, others)),
            **self.message.related,
        }
        whose = [named(text(person, "patient.reference")) for person in self.related.values()]
        self.known |= await self.names.primaries(self.stem, filter(None, whose), self.sight)
        found: list[tuple[Entry, Identifier]] = []
        issues: list[Issue] = []
        for entry in entries:
            try:
                primary = await self._primary(entry)
                found.append((entry, primary))
                self.known |= {n: primary for n in entry.names if n not in self.known}
            except Refused as refusal:
                issues += [_placed(entry, i) for i in refusal.issues]
        issues += _twice(found)
        made: list[Addressed] = []
        for entry, primary in found:
            one, wrong = self._fed(entry, primary)
            made.append(one)
            issues += [one.placed(issue) for issue in wrong]
        return made, issues

    # -- the identifier -------------------------------------------------------------------------

    async def _primary(self, entry: Entry) -> Identifier:
        found = next((self.known[n] for n in entry.names if n in self.known), None)
        if found is None and entry.criteria:
            found = self.domains.identifier(*token(entry.criteria, "identifier"))
            if not self.domains.known(found.system):
                words = "No domain of this exchange has this system."
                raise Refused(Issue(CODE_INVALID, words, "identifier"))
        if found is None and entry.patient is not None:
            found = await self._carried(entry.patient)
        if found is None and entry.method == "DELETE":
            words = "No Patient is known by this id; name it by our id or by its identifiers."
            raise Refused(Issue(NOT_FOUND, words, "identifier"))
        if found is None:
            return self._minted(entry)
        if not await self._feeds(found.system):
            words = (
                "Another source feeds this domain; ask the exchange to assign it to your client."
            )
            raise Refused(Issue(FORBIDDEN, words, "identifier"))
        return found

    async def _carried(self, patient: Json) -> Identifier | None:
        """The identifier of the Patient that its source feeds it under; None when it has none."""
        said = [
            self.domains.identifier(*parts(i))
            for i in at(patient, "identifier")
            if i.get("use") != "old" and i.get("value")
        ]
        if not said:
            return None
        usable = [i for i in said if not self.domains.unfeedable(i.system) and i.system]
        if not usable:
            words = (
                "None of these identifiers is of a domain under which people are fed here: "
                f"{', '.join(sorted({i.system or 'without system' for i in said}))}."
            )
            raise Refused(Issue(CODE_INVALID, words, "Patient.identifier"))
        ours = [i for i in usable if await self._feeds(i.system)]
        return min(ours or usable, key=lambda i: self.domains.answers(i.system))

    async def _feeds(self, system: str) -> bool:
        own = self._minting()
        return system == own or await self.sources.may_feed(self.caller, system)

    def _minting(self) -> str:
        """The domain that numbers of this sender are minted in; "" when the pack has none."""
        domain = next((d for d in self.domains.pack.domains if d.id == MINTED), None)
        whose = (self.caller.organisation or self.caller.client_id).partition("/")[0]
        return domain.system + re.sub(r"[^A-Za-z0-9.\-]", "-", whose) if domain else ""

    def _minted(self, entry: Entry) -> Identifier:
        system = self._minting()
        if not system:
            words = "At least one identifier is needed: the one that your system gave."
            raise Refused(Issue(REQUIRED, words, "Patient.identifier"))
        return Identifier(system, entry.names[0] if entry.names else str(uuid.uuid4()))

    # -- the Patient ----------------------------------------------------------------------------

    def _fed(self, entry: Entry, primary: Identifier) -> tuple[Addressed, list[Issue]]:
        """The Patient as it is fed, with what PMIR lets a sender leave out (base Patient only)."""
        if entry.method == "DELETE" or entry.patient is None:
            return Addressed(entry, primary, {}), []
        patient = {k: v for k, v in entry.patient.items() if k != "id"}
        warnings: list[Issue] = []
        said = [self.domains.identifier(*parts(i)) for i in at(patient, "identifier")]
        if primary.system == self._minting() and primary not in said:
            minted = {"system": primary.system, "value": primary.value}
            patient["identifier"] = [*at(patient, "identifier"), minted]
        if patient.get("link"):
            patient.setdefault("active", True)
            self._relink(patient)
        whole = bool(patient.get("name"))
        if not whole:
            unknown = {"url": pixm.DATA_ABSENT, "valueCode": "unknown"}
            patient["name"] = [{"extension": [unknown]}]
            words = "The Patient has no name; it is kept as unknown."
            if not entry.merges:
                warnings.append(Issue(PROFILE, words, "Patient.name", "warning"))
        one = Addressed(entry, primary, patient, whole)
        if entry.merges and not whole:
            return one, warnings
        return one, [*warnings, *claims.faults(patient, primary, self.domains)]

    def _relink(self, patient: dict[str, Any]) -> None:
        """Links in words that are understood here: a survivor by its identifier, a RelatedPerson
        inside the Patient."""
        links, contained = [], list(at(patient, "contained"))
        for link in at(patient, "link"):
            name = _other(link)
            person = self.related.get(name) if link.get("type") == "seealso" else None
            number = self._shown(name)
            if link.get("type") == "replaced-by" and number is not None:
                link = {**link, "other": _named(link.get("other") or {}, number)}  # noqa: PLW2901
            elif person is not None:
                inside = f"related-{len(contained) + 1}"
                contained.append({**self._inside(person), "id": inside})
                link = {**link, "other": {"reference": f"#{inside}"}}  # noqa: PLW2901
            links.append(link)
        patient["link"] = links
        if contained:
            patient["contained"] = contained

    def _inside(self, person: Json) -> dict[str, Any]:
        made = {k: v for k, v in person.items() if k not in _DROPPED}
        number = self._shown(named(text(person, "patient.reference")))
        if number is not None:
            made["patient"] = _named({"type": "Patient"}, number)
        return made

    def _shown(self, name: str) -> Identifier | None:
        """The number behind a name, where the sender may see it: the Patient that it is written into
        is the sender's to read."""
        number = self.known.get(name)
        if number is None:
            return None
        own = number.system == self._minting()
        return number if own or self.sight.sees(number.system) else None


def _other(link: Json) -> str:
    """The name in a link, in either form: a reference, or an identifier that is an id in disguise
    (connectathon messages: a bare `urn:uuid:` without system)."""
    found = named(text(link, "other.reference"))
    if not found and not text(link, "other.identifier.system"):
        found = named(text(link, "other.identifier.value"))
    return found


def _named(other: Json, identifier: Identifier) -> dict[str, Any]:
    kept = {k: v for k, v in other.items() if k in ("type", "display")}
    return {**kept, "identifier": {"system": identifier.system, "value": identifier.value}}


def _twice(found: Sequence[tuple[Entry, Identifier]]) -> list[Issue]:
    seen: set[Identifier] = set()
    made = []
    for entry, primary in found:
        if primary in seen:
            words = (
                "Another entry of this message is about the same Patient; each may be told of once."
            )
            made.append(Issue(PROFILE, words, entry.where, xds=""))
        seen.add(primary)
    return made
