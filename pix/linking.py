"""Who a record is: the online path from what a source says to the person it belongs to.

    new record          search: whom do its keys find, and which of them is it?
    changed, alone      the person goes with it; search for others
    changed, with others   does it still hold to them (fracture)? do they still hold together?
                           then stay, and search only by the numbers it has gained

Thinking is in matching.py; here its questions are asked in order and its answers applied. People's
exclusions and inclusions come before every weight (docs/decisions/0010).

One file, because its steps are one story that is read from top to bottom.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chassis.mongo import Doc
from pix import joining, showing
from pix.blocking import Key
from pix.change import Change, person_number
from pix.claims import Claim
from pix.links import Link, Review
from pix.matching import (
    Comparison,
    Decision,
    Leave,
    Profile,
    Rival,
    Stay,
    compatible,
    decide,
    holds,
    score,
    valid,
)
from pix.profiles import Said, drawn, keys_of, opened
from pix.record import Record
from pix.traits import Traits

ANCHOR = "The verified NHS number and the birth date agree."


@dataclass(slots=True)
class Case:
    """One record that is being placed: what it says, where it was and with whom, and what people
    decided about it (persons)."""

    record: Record
    claim: Claim
    said: bytes
    before: bytes
    own: str = ""
    mates: list[Record] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    included: set[str] = field(default_factory=set)

    @property
    def elsewhere(self) -> set[str]:
        """The persons that people tied it to, other than its own."""
        return self.included - self.excluded - {self.own}

    @property
    def traits(self) -> Traits:
        """What is compared."""
        return opened(self.said)


async def place(change: Change, record: Record, patient: Mapping[str, Any]) -> None:
    """Settle the person of a record that says something new, and of everyone whom that moves."""
    await change.redraw()  # what earlier acts of this change made can be found
    case = await _case(change, record, patient)
    if case.own and case.said == case.before and not _other_anchor(case):
        return await _settle(change, case, case.own, None)
    change.traits[record.id] = case.said
    await change.read_portraits([case.own])
    if case.own and case.traits.sealed and not (case.before and opened(case.before).sealed):
        change.links.hide(case.own)
    if not case.mates:
        return await _search(change, case, case.own or change.begin(person_number()))
    if not await _ordered(change, case):
        verdict = _holds(change, case)
        if isinstance(verdict, Stay):
            await _stay(change, case, verdict)
        else:
            await _leave(change, case, verdict)
    return await part(change, case.own)


async def reconsider(change: Change, record: Record) -> None:
    """What people decided about records that were merged into this one counts for it from now on."""
    case = await _case(change, record, showing.opened(record.own))
    if case.mates and await _ordered(change, case):
        await part(change, case.own)
    elif case.elsewhere:
        await _search(change, case, case.own)


async def _ordered(change: Change, case: Case) -> bool:
    """Whether people's decisions alone say where a record belongs that has others with it: not here,
    or with somebody elsewhere too."""
    if case.own in case.excluded:
        await _leave(change, case, Leave(0, (), "A person said that they are two."))
        return True
    if not case.elsewhere:
        return False
    if case.own not in case.included:
        await _leave(change, case, Leave(0, (), "A person said whose record it is."))
        return True
    await _settle(change, case, case.own, None)
    apart = await _apart(change, {case.own, *case.elsewhere})
    one = {p for p in case.elsewhere if _pair(p, case.own) not in apart}
    if one:
        words = "A person tied it to both."
        await unite(change, {case.own, *one}, case.record, None, words)
    return True


# -- what is known before -----------------------------------------------------------------------------


async def _case(change: Change, record: Record, patient: Mapping[str, Any]) -> Case:
    claim = change.people.claim(record.primary, record.own, patient)
    said = change.people.says(record.own, patient)
    await change.read_identifiers({*record.holds, *(h.identifier.key for h in claim.held)})
    case = Case(record, claim, said, b"")
    if not record.person:
        return case
    await change.read_persons([record.person])
    await change.links.read([record.id])
    await change.read_portraits([record.person])
    case.own = record.person
    case.before = change.traits.get(record.id, b"")
    case.mates = [r for r in change.members(case.own) if r.id != record.id]
    mine = {record.id, *(r.id for r in change.tail(record))}
    case.excluded = await _persons(change, await change.links.edges("exclusions", mine), mine)
    case.included = await _persons(change, await change.links.edges("inclusions", mine), mine)
    return case


async def _persons(change: Change, edges: Sequence[Doc], mine: Collection[str]) -> set[str]:
    """The persons of the records at the other ends of these edges."""
    others = {side for e in edges for side in (e["a"], e["b"])} - set(mine)
    await change.read_records(others)
    return {
        r.person
        for o in others
        if (r := change.records.get(o)) is not None and r.state != "removed"
    }


def _other_anchor(case: Case) -> bool:
    anchor = f"{case.claim.anchor} {case.claim.born}" if case.claim.anchor else ""
    return anchor != case.record.anchor


# -- with others ------------------------------------------------------------------------------------


def _holds(change: Change, case: Case) -> Stay | Leave:
    people = change.people
    verdict = holds(
        case.traits,
        _profile(change, case.own, case.record.id),
        people.model,
        people.counted.current,
        today=change.now.date(),
    )
    if isinstance(verdict, Stay):
        return verdict
    if case.own in case.included:
        words = f"People tied it to this person. {verdict.reason}"
        change.links.ask(Review("kept", (case.record.id,), (case.own,), words))
        return Stay(verdict.weight)
    if case.own in _anchored(change, case) and not verdict.vetoes and not case.traits.sealed:
        return Stay(verdict.weight)  # what the NHS has verified outweighs the scoring, not a veto
    return verdict


def _profile(change: Change, person: str, without: str = "") -> Profile:
    portrait = change.finding.portraits.get(person)
    join = change.people.model.thresholds.join
    return portrait.profile(join, without) if portrait else Profile(person, ())


async def _stay(change: Change, case: Case, verdict: Stay) -> None:
    """It still belongs. Its weight is renewed; what it has gained may show that another person is the
    same one."""
    link = change.links.matches.get(case.record.id)
    if link is not None and link.source == "automatic" and link.weight is not None:
        version = change.people.model.version
        link = replace(link, weight=verdict.weight, model=version, at=change.now)
    await _settle(change, case, case.own, link)
    before = set(keys_of(case.before)) if case.before else set()
    gained = tuple(k for k in keys_of(case.said) if k.strong and k not in before)
    found = await _found(change, case, gained)
    if found:
        await _widen(change, case, found)


async def _widen(change: Change, case: Case, found: Sequence[Profile]) -> None:
    """The record stays, and its new numbers lead to other persons: one with them, or a question."""
    own = _profile(change, case.own, case.record.id)
    decision = await _decided(change, case, [own, *found])
    one = {decision.person, *decision.merged} if decision.kind == "bridge" else set()
    anchored = [p for p in found if p.person in _anchored(change, case)]
    free = [p for p in anchored if _vetoless(change, case, p) and _agree(change, case, own, p)]
    same = (one if case.own in one else {p.person for p in free}) - {case.own}
    apart = await _apart(change, {case.own, *same})
    united = {p for p in same if _pair(p, case.own) not in apart}
    if united:
        reason = decision.reason if case.own in one else ANCHOR
        await unite(change, {case.own, *united}, case.record, decision, reason)
    for rival in rivals(decision):
        if rival.person not in {case.own, *united, *case.excluded}:
            await ask(change, case.record.id, rival, "duplicate")


async def _leave(change: Change, case: Case, verdict: Leave) -> None:
    """It belongs to the others no longer: elsewhere, or by itself."""
    change.decide(
        "split",
        sorted({case.record.id, *(r.id for r in case.mates)}),
        reason=verdict.reason,
        evidence={
            "weight": verdict.weight,
            "vetoes": [v.id for v in verdict.vetoes],
            "model": change.people.model.version,
            "anchor": case.record.anchor,
        },
    )
    await _search(change, case, change.begin(person_number()))


async def part(change: Change, person: str) -> None:
    """Whether those who remain still hold together; who does not becomes a person of their own.

    What a record said may have been all that connected two halves (digest §4.6). The largest part
    keeps the person, and so do records that are in no portrait.
    """
    mates = change.members(person)
    if len(mates) < 2 or any(opened(change.says(r)).sealed for r in mates):
        return  # records of a sealed identity hold together by its number, each by itself
    people, now = change.people, _drawn(change, person, mates)
    frequencies, today = people.counted.current, change.now.date()
    parts = valid(now, people.model, frequencies, today=today)
    if len(parts) > 1:
        # what people tied to a record that was merged since is tied to its survivor
        stands = {i: change.records[i].root or i for i in change.everyone(person)}
        edges = await change.links.between("inclusions", stands, stands)
        tied = [(stands[e["a"]], stands[e["b"]]) for e in edges]
        parts = valid(now, people.model, frequencies, today=today, tied=tied)
    for group in parts[1:]:
        number = change.begin(person_number())
        change.decide(
            "split",
            sorted(r.id for r in mates),
            reason="What connected them is gone.",
            evidence={"apart": list(group), "model": people.model.version},
        )
        await change.move([change.records[r] for r in group], number)


def _drawn(change: Change, person: str, mates: Sequence[Record]) -> Profile:
    """The person as it is now, before anything is written."""
    said = [Said(r.id, change.says(r), None) for r in mates]
    return drawn(person, said).profile(change.people.model.thresholds.join)


# -- searching ----------------------------------------------------------------------------------------


async def _search(change: Change, case: Case, alone: str) -> None:
    """Whom the record's keys find, which of them it is, and what follows. `alone` is its person if
    it is nobody's."""
    if case.own:
        change.links.unask(case.record.id)
    found = await _found(change, case, keys_of(case.said))
    if case.mates:  # it has just left them, and people may ask whether it is theirs after all
        found.append(_profile(change, case.own, case.record.id))
    decision = await _decided(change, case, found)
    decision = _by_anchor(change, case, found, decision)
    if decision.kind in ("join", "bridge"):
        await _join(change, case, decision)
    else:
        await _settle(change, case, alone, _link(change, case, alone))
    await _bring(change, case, decision.parted)
    asked = rivals(decision) if decision.kind == "review" else decision.others
    for rival in asked:
        if rival.person != case.record.person:
            await ask(change, case.record.id, rival, "possible")


async def _found(change: Change, case: Case, keys: tuple[Key, ...]) -> list[Profile]:
    """The persons that these keys find, and those that the anchor names or people tied it to."""
    candidates = await change.finding.candidates(keys, besides={case.own})
    also = ({*_anchored(change, case), *case.included} - {case.own}) if keys else set()
    await change.read_portraits({*candidates.portraits, *also})
    return [_profile(change, p, case.record.id) for p in sorted({*candidates.portraits, *also})]


async def _decided(change: Change, case: Case, found: Sequence[Profile]) -> Decision:
    people = change.people
    words: dict[str, Any] = {
        "today": change.now.date(),
        "excluded": case.excluded,
        "included": case.included,
    }
    decision = decide(case.traits, found, people.model, people.counted.current, **words)
    if decision.kind != "bridge":
        return decision
    apart = await _apart(change, {decision.person, *decision.merged})
    if not apart:
        return decision
    return decide(case.traits, found, people.model, people.counted.current, apart=apart, **words)


async def _apart(change: Change, persons: Collection[str]) -> set[tuple[str, str]]:
    """The pairs of these persons that people said are two."""
    if len(persons) < 2:
        return set()
    await change.read_persons(persons)
    of = {r: p for p in persons for r in change.everyone(p)}
    edges = await change.links.edges("exclusions", of)
    return {
        _pair(of[e["a"]], of[e["b"]])
        for e in edges
        if e["a"] in of and e["b"] in of and of[e["a"]] != of[e["b"]]
    }


def _by_anchor(
    change: Change, case: Case, found: Sequence[Profile], decision: Decision
) -> Decision:
    """A verified NHS number and birth date are reason enough to join, unless a veto or people speak
    against it, or two persons claim them."""
    anchored = _anchored(change, case) - case.excluded
    if case.traits.sealed or case.included or len(anchored) != 1:
        return decision
    person = min(anchored)
    if person in (decision.person, *decision.merged) and decision.kind in ("join", "bridge"):
        return decision
    rival = next((_scored(change, case, p) for p in found if p.person == person), None)
    if rival is None or rival.vetoes:
        return decision
    others = tuple(r for r in rivals(decision) if r.person != person)
    return Decision("join", person, rival.weight, 0, rival.comparison, others, reason=ANCHOR)


def _anchored(change: Change, case: Case) -> set[str]:
    return set(joining.companions(case.record.id, case.claim, change.known))


def _scored(change: Change, case: Case, profile: Profile) -> Rival | None:
    people = change.people
    return score(case.traits, profile, people.model, people.counted.current, change.now.date())


def _vetoless(change: Change, case: Case, profile: Profile) -> bool:
    rival = _scored(change, case, profile)
    return rival is not None and not rival.vetoes


def _agree(change: Change, case: Case, one: Profile, other: Profile) -> bool:
    return compatible(one, other, change.now.date(), case.traits, change.people.model)


def rivals(decision: Decision) -> tuple[Rival, ...]:
    """Everyone a decision was between, the chosen one included."""
    seen = {r.person for r in decision.others}
    if decision.person and decision.person not in seen and decision.comparison is not None:
        comparison = decision.comparison
        best = Rival(decision.person, decision.weight, comparison, comparison.vetoes)
        return (best, *decision.others)
    return decision.others


# -- applying -----------------------------------------------------------------------------------------


async def _join(change: Change, case: Case, decision: Decision) -> None:
    """The record is this person; a bridge makes one of several first."""
    person = decision.person
    await change.read_persons([person, *decision.merged])
    if decision.merged:
        person = await unite(
            change, {person, *decision.merged}, case.record, decision, decision.reason
        )
    explanation = explain(change, case.record.id, person, decision.kind, decision)
    manual = person in case.included
    link = _link(change, case, person, decision, explanation)
    await _settle(change, case, person, link)
    joined = [r.id for r in change.members(person)]
    number = change.decide(
        "join",
        sorted({case.record.id, *joined}),
        reason=decision.reason or "What they say agrees.",
        evidence={
            "weight": None if manual else decision.weight,
            "margin": decision.margin,
            "model": change.people.model.version,
            "explanation": explanation,
            "anchor": case.record.anchor,
        },
    )
    change.match(replace(link, decision=number))


def _link(
    change: Change,
    case: Case,
    person: str,
    decision: Decision | None = None,
    explanation: str = "",
) -> Link:
    """The MATCH of a record; without a decision it is alone with its person."""
    if decision is None:
        return Link(case.record.id, person, "MATCH", change.now)
    before = change.links.matches.get(case.record.id)
    if person in case.included and before is not None:
        return replace(before, person=person)
    return Link(
        case.record.id, person, "MATCH", change.now, "automatic", decision.weight,
        change.people.model.version, explanation, reason=decision.reason,
    )  # fmt: skip


async def _settle(change: Change, case: Case, person: str, link: Link | None) -> None:
    """Settled with this link, or with the one it has."""
    link = link or change.links.matches.get(case.record.id) or _link(change, case, person)
    await change.settle(case.record, case.claim, person, replace(link, person=person))


async def _bring(change: Change, case: Case, parted: Sequence[str]) -> None:
    """Records that this one shows to have been taken for somebody else's come to its person, unless
    people tied them where they are or parted them from it."""
    await change.read_records(parted)
    moving = [
        r
        for p in parted
        if (r := change.records.get(p)) is not None
        and r.state == "active"
        and r.person != case.record.person
    ]
    if not moving:
        return
    left = sorted({r.person for r in moving})
    await change.read_persons([case.record.person, *left])
    ids = {r.id for r in moving}
    there = {i for p in left for i in change.everyone(p)} - ids
    tied = await change.links.between("inclusions", ids, there)
    apart = await change.links.between("exclusions", ids, change.everyone(case.record.person))
    if tied or apart:
        return
    change.decide(
        "moved",
        sorted({case.record.id, *ids, *there}),
        reason="A record with another number shows whose they are.",
        evidence={"record": case.record.id, "moved": sorted(ids)},
    )
    await change.read_portraits(left)
    await change.move(moving, case.record.person)


async def unite(
    change: Change,
    persons: Collection[str],
    record: Record,
    decision: Decision | None,
    reason: str,
) -> str:
    """Several persons are one: the one with most records stays, the others redirect to it."""
    await change.read_persons(persons)
    order = sorted(persons, key=lambda p: (-len(change.members(p)), p))
    stays, goes = order[0], order[1:]
    moved = {p: change.everyone(p) for p in goes}
    change.decide(
        "bridge",
        sorted({record.id, *(r for p in order for r in change.everyone(p))}),
        reason=reason or "A record shows that they are one.",
        evidence={
            "record": record.id,
            "weight": decision.weight if decision else None,
            "model": change.people.model.version,
            "moved": moved,
            "person": stays,
        },
    )
    for person in goes:
        await change.move(change.members(person), stays)
    change.lock(*order)
    return stays


async def ask(change: Change, record: str, rival: Rival, kind: str) -> None:
    """The record may be this person's: a possible link, why, and a question for people."""
    vetoes = {v.id for v in rival.vetoes}
    if vetoes:
        kind = "conflict" if "number_alone" in vetoes or "nhs" in vetoes else "vetoed"
    explanation = _explained(
        change, record, rival.person, "review", rival.comparison,
        [v.id for v in rival.vetoes], "",
    )  # fmt: skip
    words = "; ".join(v.words for v in rival.vetoes) or "It may be this person."
    change.links.possible(
        Link(
            record,
            rival.person,
            "POSSIBLE",
            change.now,
            "automatic",
            rival.weight,
            change.people.model.version,
            explanation,
            reason=words,
        )
    )
    change.links.ask(Review(kind, (record,), (rival.person,), words))


def explain(change: Change, record: str, person: str, kind: str, decision: Decision) -> str:
    """Keep why a record joined, and give the id under which it is kept; "" when nothing was compared."""
    if decision.comparison is None:
        return ""
    runner = decision.others[0].person if decision.others else ""
    vetoes = [v.id for v in decision.comparison.vetoes]
    return _explained(change, record, person, kind, decision.comparison, vetoes, runner)


def _explained(
    change: Change,
    record: str,
    person: str,
    kind: str,
    comparison: Comparison,
    vetoes: Sequence[str],
    runner_up: str,
) -> str:
    """Keep why, and give the id under which it is kept."""
    id_ = change.ids()
    change.links.explain(
        {
            "_id": id_,
            "record": record,
            "person": person,
            "kind": kind,
            "model": change.people.model.version,
            "frequencies": change.people.counted.current.version,
            "comparison": compared(comparison),
            "vetoes": list(vetoes),
            "runner_up": runner_up,
            "at": change.now,
        }
    )
    return id_


def compared(comparison: Comparison) -> Doc:
    """A comparison as it is kept: weight, prior, and a row for every field."""
    return {
        "weight": comparison.weight,
        "prior": comparison.prior,
        "fields": [
            [f.name, f.level, f.words, f.points, f.left, f.right, f.adjusted]
            for f in comparison.fields
        ],
        "vetoes": [[v.id, v.words, v.see] for v in comparison.vetoes],
    }


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
