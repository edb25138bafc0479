"""ITI-83: translate one identifier into the others of the same person.

One indexed look-up, shared by all requests that ask at the same moment, gives the person's card; the
answer is joined from bytes made when the records were written. Refusals and the order of checks: PIX
digest §1.2 (syntax, source domain, target domains, source identifier). Identifiers that the caller may
not be shown are as if nobody had them (`pix/sight.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chassis import search
from chassis.call import Answer, Call
from chassis.mongo import Coalesced
from chassis.negotiate import wanted_format
from governance.identifiers import Sight
from pix.cards import Card, Found, Told
from pix.identifiers import Domains, Identifier, token
from pix.people import People
from pix.sight import Sights
from standards import pdqm, pixm
from standards.lens import modifiers
from standards.outcome import (
    BUSY,
    CODE_INVALID,
    INVALID,
    NOT_FOUND,
    NOT_SUPPORTED,
    REQUIRED_PARAMETER,
    UNKNOWN_PARAMETER,
    Issue,
    Refused,
)  # fmt: skip

EMPTY = b'{"resourceType":"Parameters"}'
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_NAMES = ("sourceIdentifier", "targetSystem", "_format")


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: one identifier, and the domains to answer in (None: all)."""

    source: Identifier
    targets: frozenset[str] | None


class CrossReference:
    """The story of ITI-83 over the People store."""

    def __init__(self, people: People, domains: Domains, sights: Sights) -> None:
        self.people, self.domains, self.sights = people, domains, sights
        self.cards: Coalesced[str, Card] = Coalesced(people.cards)

    async def ask(self, call: Call) -> Answer:
        """The identifiers and Patients of the person that the source identifier names.

        Raises `Refused`: 400 for syntax and an unknown source domain, 403 for an unknown target
        domain, 404 for an unknown or removed identifier. A merged one is answered with nothing.
        """
        question = self._question(call)
        sight = await self.sights.of(call.caller)
        key = self.key(question.source)
        card = await self.cards.get(key) if key and sight.sees(question.source.system) else None
        found = card.found(key) if card else None
        if card is None or found is None:
            shown = sight.sees(question.source.system) and sight.tells_of(question.source.system)
            raise await self._unknown(key if shown else "")
        if not told_of(sight, card, found, by_id=question.source.system == self.domains.base):
            raise _refused(NOT_FOUND, pixm.SOURCE_UNKNOWN, 404)
        if found.state == "subsumed":
            return Answer(200, EMPTY)
        call.account.patients.append(f"Patient/{found.record}")
        told: Sequence[Told] = card.told
        if call.permit.narrow:
            told = await self._within_permit(call, card, found)
        if not sight.everything:
            told = _within_sight(sight, question, told)
        return Answer(200, self._parameters(call.base, question, found, told, sight))

    async def _unknown(self, key: str) -> Refused:
        """Nobody is known by this key; while a file of people is being loaded that may not be said of
        those in it, for whom their others have not been looked for yet (503)."""
        if key and await self.people.loaded.one({"_id": key}, {"_id": 1}):
            words = "This record was loaded and is not linked yet; ask again when that is done."
            return Refused(Issue(BUSY, words, "sourceIdentifier"), headers={"Retry-After": "60"})
        return _refused(NOT_FOUND, pixm.SOURCE_UNKNOWN, 404)

    def _question(self, call: Call) -> Question:
        said = [*call.query, *_of_body(call)]
        sources = [v for k, v in said if k == "sourceIdentifier"]
        if not sources:
            words = "Say whose identifiers you want: sourceIdentifier=system|value."
            raise Refused(Issue(REQUIRED_PARAMETER, words, "sourceIdentifier"))
        if len(sources) > 1:
            raise Refused(Issue(INVALID, "Give sourceIdentifier once.", "sourceIdentifier"))
        source = self.domains.identifier(*token(sources[0], "sourceIdentifier"))
        call.account.patients.append((source.system, source.value))
        targets = [t for k, v in said if k == "targetSystem" for t in _systems(v)]
        if not self.domains.known(source.system):
            raise _refused(CODE_INVALID, pixm.SOURCE_DOMAIN_UNKNOWN, 400)
        canonical = frozenset(map(self.domains.system, targets))
        if not all(map(self.domains.known, canonical)):
            raise _refused(CODE_INVALID, pixm.TARGET_DOMAIN_UNKNOWN, 403)
        return Question(source, canonical if targets else None)

    def key(self, source: Identifier) -> str:
        """What the card is found by; "" for our base without a Patient."""
        if source.system != self.domains.base:
            return source.key
        logical = self.domains.logical(source)
        return f"Patient/{logical}" if logical else ""

    def _parameters(
        self, base: str, question: Question, found: Found, told: Sequence[Told], sight: Sight
    ) -> bytes:
        targets, source, servers = question.targets, question.source, self.domains.servers
        wanted = told if targets is None else [t for t in told if t.system in targets]
        others = [t for t in wanted if (t.system, t.value) != source and sight.sees(t.system)]
        identifiers = [t.told for t in others if t.system not in servers]
        elsewhere = [t.told for t in others if t.system in servers]
        here: Iterable[Told] = wanted
        if targets is not None:  # a server's base asks for its own ids, and only ours for ours
            here = told if base in targets else [t for t in wanted if t.system not in servers]
        patients = sorted(t.record for t in here if t.record and t.record != found.hidden)
        prefix = f'{{"name":"targetId","valueReference":{{"reference":"{base}/Patient/'.encode()
        here_ids = (prefix + p.encode() + b'"}}' for p in patients)
        parameters = [*identifiers, *here_ids, *elsewhere]
        if not parameters:
            return EMPTY
        return b'{"resourceType":"Parameters","parameter":[' + b",".join(parameters) + b"]}"

    async def _within_permit(self, call: Call, card: Card, found: Found) -> tuple[Told, ...]:
        """Only what records tell that the token covers; as if it did not exist, when it covers none."""
        where = search.narrow(call.permit, pdqm.PARAMETERS)
        inside = {"$and": [{"person": card.person, "state": "active"}, where]}
        covered = {r["_id"] for r in await self.people.records.many(inside, {"_id": 1})}
        if found.record not in covered:
            raise _refused(NOT_FOUND, pixm.SOURCE_UNKNOWN, 404)
        return tuple(t for t in card.told if t.by in covered)


def told_of(sight: Sight, card: Card, found: Found, *, by_id: bool) -> bool:
    """Whether the caller may know of whom was found: of the record, when it was named by its id; of
    any record of the person, when it was named by a number that the caller may see."""
    if sight.everything:
        return True
    return any(sight.tells_of(m.system) for m in card.members if not by_id or m.id == found.record)


def _within_sight(sight: Sight, question: Question, told: Iterable[Told]) -> tuple[Told, ...]:
    """Only what the caller may learn of. That somebody has a record at a hospital may be known to
    those who may not see its number; that somebody has one at the police may not. Asked for hidden
    domains by name, the answer is as if nobody had such numbers."""
    targets = question.targets or ()
    return tuple(
        t for t in told
        if sight.tells_of(t.system) and (t.system not in targets or sight.sees(t.system))
    )  # fmt: skip


def _systems(said: str) -> list[str]:
    """The domains that one `targetSystem` names: itself, or its pieces where a client joined several
    by commas and every piece is a URI (FHIR gives the comma no meaning here)."""
    pieces = [p.strip() for p in said.split(",")]
    if len(pieces) > 1 and all(_URI.fullmatch(p) for p in pieces):
        return pieces
    if not said.strip():
        words = "targetSystem is empty; name a domain or leave it out."
        raise Refused(Issue(INVALID, words, "targetSystem"))
    return [said]


def _of_body(call: Call) -> list[tuple[str, str]]:
    """The parameters of a POSTed Parameters resource (profile IHE.PIXm.Query.Parameters.In)."""
    if call.resource is None:
        return []
    changed = [
        Issue(NOT_SUPPORTED, "This could change the meaning of the question; leave it out.", where)
        for where in modifiers(call.resource, "Parameters")
    ]
    if changed:
        raise Refused(changed, status=400)
    made: list[tuple[str, str]] = []
    for place, parameter in enumerate(call.resource.get("parameter") or ()):
        name, where = str(parameter.get("name")), f"Parameters.parameter[{place}]"
        if name not in _NAMES:
            if call.strict:
                words = f"ITI-83 takes {', '.join(_NAMES)}; this parameter is none of them."
                raise Refused(Issue(UNKNOWN_PARAMETER, words, where))
            continue
        value = _value(parameter, where)
        if name == "_format":
            call.format = wanted_format(call.headers.get("accept", ""), value)
        else:
            made.append((name, value))
    return made


def _value(parameter: Mapping[str, Any], where: str) -> str:
    for form in ("valueString", "valueUri", "valueCode"):
        if isinstance(parameter.get(form), str):
            return str(parameter[form])
    identifier = parameter.get("valueIdentifier")
    if identifier:
        halves = (str(identifier.get(half) or "") for half in ("system", "value"))
        return "|".join(re.sub(r"([\\|,$])", r"\\\1", half) for half in halves)
    raise Refused(Issue(INVALID, "Give the value as valueString.", where))


def _refused(kind: Any, words: str, status: int) -> Refused:
    return Refused(Issue(kind, words, text=words, xds=""), status=status)
