"""ITI-119: who may this be? Candidates for a whole demographic record, scored, graded and ordered.

    question ─► traits ─► keys ─► candidate persons ─► scored as a feed would score them
             ─► the records that the caller may see ─► grades ─► Bundle

A person is scored, so all its records have one score and one grade; those that carry what the caller
knows come first. *Certain* is what the feed itself would join (`matching.decide`); a vetoed pair is
never more than possible. Sealed identities are never here (docs/decisions/0010 matching, 0013).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from chassis import search
from chassis.call import Answer, Call, dumps, instant
from chassis.mongo import Doc, Filter
from governance.identifiers import Sight
from pix import places, showing
from pix.blocking import keys
from pix.candidates import MOST, Candidates, Finding
from pix.identifiers import Domains, parts
from pix.likening import looks
from pix.matching import Decision, Member, Profile, Rival, decide, score, weigh
from pix.model import Frequencies, Model, Thresholds
from pix.people import People
from pix.profiles import Portrait
from pix.sight import Sights
from pix.traits import Traits, traits
from standards import bundle, pdqm, pdqm_match
from standards.outcome import INFORMATION, REQUIRED, Issue, Refused, outcome
from standards.pdqm_match import Grade, Question

CAP = 100  # records in one answer; who needs more has not said enough


@dataclass(frozen=True, slots=True)
class Hit:
    """One record of a candidate person: the person's weight and grade, and how well this record
    itself fits."""

    record: str
    person: str
    grade: Grade
    weight: float
    own: float

    @property
    def score(self) -> float:
        """The weight as a chance, from 0 to 1 (PDQm `search.score`)."""
        power: float = 2.0 ** max(-60.0, min(60.0, self.weight))
        return round(power / (1 + power), 6)


class Match:
    """The story of ITI-119 over the People store."""

    def __init__(self, people: People, domains: Domains, sights: Sights) -> None:
        self.people, self.domains, self.sights = people, domains, sights

    async def ask(self, call: Call) -> Answer:
        """The records that the Patient in the body may be, the likeliest first.

        Raises `Refused` (400) for a question that is not one (`pdqm_match.question`) and for a
        Patient in whom there is nothing to look by.
        """
        asked = pdqm_match.question(call.resource or {})
        if not _says_something(traits(asked.patient, self.domains)):
            words = (
                "Nothing here could tell a person from others; give a name, a birth date, an "
                "identifier, an address or a telecom."
            )
            raise Refused(Issue(REQUIRED, words, "Patient", xds=""), status=400)
        sight = await self.sights.of(call.caller)
        looked = traits(_without_hidden(asked.patient, self.domains, sight), self.domains)
        found = await Finding(self.people).candidates(keys(looked))
        near = self._near(call, looked, found.portraits.values())
        records = await self._records(call, near, sight)
        near = _placeless(near, records, sight)
        hits = self._hits(call, looked, near, records, whole=_whole(call, sight))
        answer = self._answer(call, asked, sight, hits, records, _remarks(looked, found))
        answer.body = await self.sights.cleared(answer.body, sight)
        return answer

    def _near(self, call: Call, looked: Traits, portraits: Iterable[Portrait]) -> list[Profile]:
        """The persons that come near enough to be told. A sealed identity may join by its own verified
        number, and is told to nobody, not even to who knows that number."""
        limit, today = self.people.model.thresholds, call.now.date()
        profiles = (p.profile(limit.join) for p in portraits if not p.seal)
        model, frequencies = self.people.model, self.people.counted.current
        return [p for p in profiles if rival(looked, p, model, frequencies, today) is not None]

    async def _records(
        self, call: Call, near: Sequence[Profile], sight: Sight
    ) -> Mapping[str, Doc]:
        """The records of these persons that the caller may know of."""
        ids = sorted(r for p in near for m in p.members for r in m.records)
        if not ids:
            return {}
        where: list[Filter] = [{"_id": {"$in": ids}, "state": "active"}]
        if sight.closed:
            where.append({"system": {"$nin": sorted(sight.closed)}})
        if call.permit.narrow:
            where.append(search.narrow(call.permit, pdqm.PARAMETERS))
        rows = await self.people.records.many(
            {"$and": where}, {"b": 1, "system": 1, "secret": 1},
            limit=len(ids), hint=[("_id", 1)],
        )  # fmt: skip
        return {row["_id"]: row for row in rows}

    def _hits(
        self,
        call: Call,
        looked: Traits,
        near: Sequence[Profile],
        records: Mapping[str, Doc],
        *,
        whole: bool,
    ) -> list[Hit]:
        seen = list(near) if whole else [kept for p in near if (kept := _within(p, records))]
        model, frequencies = self.people.model, self.people.counted.current
        return ranked(looked, seen, model, frequencies, call.now.date(), records.keys())

    def _answer(
        self,
        call: Call,
        asked: Question,
        sight: Sight,
        hits: Sequence[Hit],
        records: Mapping[str, Doc],
        remarks: list[Issue],
    ) -> Answer:
        wanted = [h for h in hits if h.grade == "certain"] if asked.only_certain else list(hits)
        limit = min(asked.count or CAP, CAP)
        shown = wanted[:limit]
        cut = len(wanted) > len(shown)
        if asked.count > CAP or (cut and not asked.count):
            remarks.append(_information(f"An answer holds at most {CAP} records."))
        call.account.patients += [f"Patient/{h.record}" for h in shown]
        entries = [
            pdqm_match.entry(
                f"{call.base}/Patient/{h.record}",
                showing.stripped(
                    bytes(records[h.record]["b"]),
                    call.base,
                    sight,
                    fed=records[h.record]["system"],
                    secret=bool(records[h.record].get("secret")),
                ),
                h.grade,
                h.score,
            )
            for h in shown
        ]
        if remarks:
            entries.append(bundle.entry("", dumps(outcome(remarks)), "outcome"))
        body = bundle.searchset_bytes(
            id_=call.ids(),
            updated=instant(call.now),
            total=None if cut else len(shown),
            links=(),
            entries=entries,
        )
        return Answer(200, body)


# -- grades -------------------------------------------------------------------------------------------


def ranked(
    looked: Traits,
    profiles: Sequence[Profile],
    model: Model,
    frequencies: Frequencies,
    today: date,
    records: Collection[str],
) -> list[Hit]:
    """The records of these persons that are in `records`, graded, the likeliest first. Equal ones
    are in the order of their ids, so that the same question has the same answer."""
    rivals = [
        (p, r) for p in profiles if (r := rival(looked, p, model, frequencies, today)) is not None
    ]
    decision = decide(looked, [p for p, _ in rivals], model, frequencies, today=today)
    limit = model.thresholds
    hits = [
        Hit(record, profile.person, graded(found, decision, limit), shown_weight(found, limit), own)
        for profile, found in rivals
        for member in profile.members
        for own in (weigh(looks(looked, member.traits), model, frequencies),)
        for record in member.records
        if record in records
    ]
    return sorted(hits, key=lambda h: (-h.weight, h.person, -h.own, h.record))


_NO_FLOOR = -60.0


def rival(
    looked: Traits, profile: Profile, model: Model, frequencies: Frequencies, today: date
) -> Rival | None:
    """A person that comes near enough to be told: near enough for a feed to ask about it, or a holder
    of a number that was asked for, however little else was said."""
    found = score(looked, profile, model, frequencies, today)
    if found is not None or not _shares_number(looked, profile):
        return found
    open_ = replace(model, thresholds=replace(model.thresholds, review=_NO_FLOOR))
    return score(looked, profile, open_, frequencies, today)


def _shares_number(looked: Traits, profile: Profile) -> bool:
    mine = {(n.domain, n.value) for n in looked.numbers}
    return bool(mine) and any(
        (n.domain, n.value) in mine for m in profile.members for n in m.traits.numbers
    )


def graded(rival: Rival, decision: Decision, limit: Thresholds) -> Grade:
    """The grade of a person: certain where a feed would join it, and only there (a record that shows
    two persons to be one is certain of neither until they are); never more than possible where a
    veto speaks against it (matching digest §4.6)."""
    if rival.vetoes:
        return "possible"
    if decision.kind == "join" and decision.person == rival.person:
        return "certain"
    return "probable" if rival.weight >= (limit.review + limit.join) / 2 else "possible"


def shown_weight(rival: Rival, limit: Thresholds) -> float:
    """The weight that is told. A veto says what no weight does, so a vetoed one stands at the end of
    the band in which people are asked."""
    return min(rival.weight, limit.review) if rival.vetoes else rival.weight


# -- small steps --------------------------------------------------------------------------------------


def _says_something(t: Traits) -> bool:
    return bool(t.names or t.born or t.numbers or t.addresses or t.phones or t.emails)


def _without_hidden(
    patient: Mapping[str, Any], domains: Domains, sight: Sight
) -> Mapping[str, Any]:
    """The question without numbers that the caller may not see, which therefore find nobody."""
    said = patient.get("identifier")
    if sight.everything or not said:
        return patient
    kept = [i for i in said if sight.sees(domains.system(parts(i)[0]))]
    return {**patient, "identifier": kept}


def _whole(call: Call, sight: Sight) -> bool:
    """Whether the caller may know of every record."""
    return not sight.closed and not call.permit.narrow


def _within(profile: Profile, records: Collection[str]) -> Profile | None:
    """A person as far as the caller may know of it: what other records say must not find it."""
    members = tuple(
        Member(kept, m.traits, m.firm)
        for m in profile.members
        if (kept := tuple(r for r in m.records if r in records))
    )
    return Profile(profile.person, members) if members else None


def _placeless(near: Sequence[Profile], records: Mapping[str, Doc], sight: Sight) -> list[Profile]:
    """The persons without where they live, where one of their records says that it is not to be told: a
    score that rose with the right postcode would tell it. What the caller's own records say, it knows."""
    if sight.everything:
        return list(near)
    secret = {id_ for id_, row in records.items() if row.get("secret")}
    owned = {id_ for id_, row in records.items() if sight.owns(row["system"])}

    def seen(member: Member) -> Member:
        if not owned.isdisjoint(member.records):
            return member
        return Member(member.records, places.placeless(member.traits), member.firm)

    return [
        Profile(p.person, tuple(map(seen, p.members)))
        if any(not secret.isdisjoint(m.records) for m in p.members)
        else p
        for p in near
    ]


def _remarks(looked: Traits, found: Candidates) -> list[Issue]:
    made = []
    if not keys(looked) and not looked.sealed:
        made.append(
            _information(
                "This is too little to look by; add a birth date, an identifier, an address or a "
                "telecom to the name."
            )
        )
    if found.left_out:
        made.append(
            _information(f"Only the {MOST} persons with most in common were compared; say more.")
        )
    return made


def _information(words: str) -> Issue:
    return Issue(INFORMATION, words, severity="information", xds="")
