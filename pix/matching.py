"""Whether a record is somebody we know. PURE.

`compare` lays two records side by side and says, in bits, how much speaks for one person; `decide`
puts a record to the persons that its keys found: join one, bridge two that it shows to be one, ask
a person, or begin a new one. `holds` asks the same of a record that changed, against its own person.

Deciding has an order that weights never change: sealed identities are no one's candidates; people's
exclusions beat their inclusions; both beat vetoes; vetoes beat weights (decision 0010).
Over 400 lines: deciding, scoring, explaining and holding are one argument; its vetoes are in
`pix/vetoes.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from itertools import combinations
from math import log2
from typing import Literal

from pix.blocking import REJOINED
from pix.likening import (
    ASPECTS,
    HOUSEHOLD,
    NAME,
    Look,
    given_agrees,
    looks,
    personal_agrees,
)
from pix.model import Frequencies, Model, Thresholds
from pix.traits import Address, Name, Number, Traits, gathered
from pix.vetoes import (
    DOUBTS,
    EXACT,
    OF_NAMES,
    PLAIN,
    SAME_GIVEN,
    SAME_GIVEN_IDS,
    SEALED,
    Veto,
    level_of,
    vetoes,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One distinct set of traits in a profile and the records that say it. `firm` when it holds to
    its person by at least the join threshold."""

    records: tuple[str, ...]
    traits: Traits
    firm: bool = True


@dataclass(frozen=True)
class Profile:
    """What is scored: a person, not a record."""

    person: str
    members: tuple[Member, ...]

    @cached_property
    def traits(self) -> Traits:
        """All that the person's records say together, those that hold to it firmly. A record is laid
        beside all of it at once: the name may agree with one record, the address with another."""
        firm = [m.traits for m in self.members if m.firm]
        return gathered(firm or [m.traits for m in self.members])


@dataclass(frozen=True, slots=True)
class Field:
    """One line of an explanation: what was compared, how it came out, for how many bits, and what
    stood on either side. `adjusted` is the part that the frequency of the value made."""

    name: str
    level: str
    words: str
    points: float
    left: str
    right: str
    adjusted: float = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two records side by side. The weight is the prior plus the points of all fields."""

    weight: float
    prior: float
    fields: tuple[Field, ...]
    vetoes: tuple[Veto, ...]

    @property
    def probability(self) -> float:
        """The weight as the chance of one person, from 0 to 1: 2^w / (1 + 2^w)."""
        power: float = 2.0 ** max(-60.0, min(60.0, self.weight))
        return power / (1 + power)


@dataclass(frozen=True, slots=True)
class Rival:
    """A person that a record was put to. `vetoes` include those of the person's other records."""

    person: str
    weight: float
    comparison: Comparison
    vetoes: tuple[Veto, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a record. `person` is whom it joins, or for a review the likeliest; "" for new.
    `merged` are the persons that a bridge makes one with `person`. `others` are further persons
    that it might be: each becomes a possible link and a question. `parted` are records that this one
    shows to be in the wrong person: they leave it and go where this record goes, unless people
    tied them there. `reason` says why, in words."""

    kind: Literal["join", "bridge", "review", "new"]
    person: str
    weight: float
    margin: float
    comparison: Comparison | None
    others: tuple[Rival, ...] = ()
    merged: tuple[str, ...] = ()
    reason: str = ""
    parted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stay:
    """A record that changed still belongs to its person."""

    weight: float


@dataclass(frozen=True, slots=True)
class Leave:
    """A record that changed no longer belongs to its person, and why."""

    weight: float
    vetoes: tuple[Veto, ...]
    reason: str


# Deciding ----------------------------------------------------------------------------------------


def decide(
    record: Traits,
    profiles: Iterable[Profile],
    model: Model,
    frequencies: Frequencies,
    *,
    today: date,
    excluded: Collection[str] = (),
    included: Collection[str] = (),
    apart: Collection[tuple[str, str]] = (),
) -> Decision:
    """What becomes of a record whose keys found these persons.

    `excluded` and `included` are persons that people said it is not, or is; `apart` are pairs of
    persons (the smaller first) between whom there is an exclusion. The order of `profiles` does
    not matter: equal weights fall to the lower person id.
    """
    known = [p for p in profiles if p.person not in excluded]
    chosen = sorted(set(included) - set(excluded))
    if chosen:
        return _included(record, chosen, known, model, frequencies, today, apart)
    hidden = sorted(p.person for p in known if rejoins(record, p))
    if hidden:
        return _sealed_join(hidden, record.sealed)
    if record.sealed:
        return _new("The identity is sealed: it is no one's candidate.")
    limit = model.thresholds
    rivals = [r for p in known if (r := score(record, p, model, frequencies, today)) is not None]
    rivals.sort(key=lambda r: (-r.weight, r.person))
    free = [r for r in rivals if not r.vetoes]
    by_person = {p.person: p for p in known}
    parted = tuple(
        sorted(
            one
            for r in rivals
            if any(v.id in ("nhs", "number") for v in r.vetoes)
            for one in misplaced(record, by_person[r.person], model, frequencies, today)
        )
    )
    if parted and (
        not free
        or free[0].weight < limit.join
        or _at_odds(parted, by_person, free[0].person, today, model)
    ):
        return replace(
            _new("It shows that records of another were taken for this person's."), parted=parted
        )
    if not free or free[0].weight < limit.join:
        return _asked(rivals, limit)
    best = free[0]
    # Who fits somebody else as well, whom this record is not, is not made one with this one's person.
    against = [by_person[r.person] for r in rivals if r.vetoes]
    sure = [
        r
        for r in free[1:]
        if not any(
            _edge(
                by_person[r.person].traits, p.traits, model, frequencies, today, limit.join, DOUBTS
            )
            for p in against
        )
    ]
    merged = _bridged(record, best, sure, by_person, model, today=today, apart=apart)
    left = tuple(r for r in free[1:] if r.person not in merged)
    margin = best.weight - left[0].weight if left else best.weight
    if margin < limit.margin and not (left and _better_named(best, left[0])):
        return Decision(
            "review", best.person, best.weight, margin, best.comparison, (best, *left),
            reason="Two persons fit nearly alike, and nothing shows that they are one.",
        )  # fmt: skip
    if merged:
        return Decision(
            "bridge", best.person, best.weight, margin, best.comparison, left, merged,
            "It shows that these persons are one.", parted,
        )  # fmt: skip
    return Decision("join", best.person, best.weight, margin, best.comparison, left, parted=parted)


def _better_named(best: Rival, runner: Rival) -> bool:
    """Whether the best has the very given name and the runner-up only one like it: twins are often
    named alike, and then the spelling tells them apart."""
    return _named(best) in SAME_GIVEN_IDS and _named(runner) not in SAME_GIVEN_IDS


def _named(rival: Rival) -> str:
    fields = rival.comparison.fields
    return fields[0].level if fields and fields[0].name == ASPECTS[0].title else ""


def misplaced(
    record: Traits, profile: Profile, model: Model, frequencies: Frequencies, today: date
) -> tuple[str, ...]:
    """The records of a person that belong to this one, whose NHS or pupil number is another: a twin of
    like name was taken for the person before anybody's number was known. They fit the record in the
    very given name, and nothing but a likeness of names holds them where they are."""
    own: list[Member] = []
    rest: list[Member] = []
    for member in profile.members:
        seen = looks(record, member.traits)
        fits = (
            seen[0].level in SAME_GIVEN
            and level_of(seen, "sex") != 1
            and weigh(seen, model, frequencies) >= model.thresholds.join
        )
        free = fits and not vetoes(record, member.traits, seen, today, model)
        (own if free else rest).append(member)
    if not own or not rest:
        return ()
    others = gathered([m.traits for m in rest])
    there = looks(record, others)
    if level_of(there, "nhs") not in (2, 3) and level_of(there, "upn") != 1:
        return ()
    for member in own:
        seen = looks(member.traits, others)
        if seen[0].level in SAME_GIVEN or personal_agrees(seen):
            return ()
        # A name alone takes nobody out of a home for another one.
        if _one_household(seen) and not _one_household(looks(record, member.traits)):
            return ()
    return tuple(sorted(r for m in own for r in m.records))


def _at_odds(
    parted: Sequence[str],
    profiles: Mapping[str, Profile],
    person: str,
    today: date,
    model: Model,
) -> bool:
    """Whether records that follow this one could not be the person that it would join."""
    theirs = profiles[person].traits
    moving = (
        m.traits
        for p in profiles.values()
        for m in p.members
        if not set(parted).isdisjoint(m.records)
    )
    return any(vetoes(t, theirs, looks(t, theirs), today, model) for t in moving)


def _one_household(found: Sequence[Look]) -> bool:
    """Whether dwelling, telephone or e-mail are the same."""
    return any(found[p].level == 0 for p in HOUSEHOLD)


def _sealed_join(hidden: Sequence[str], seal: str) -> Decision:
    """A sealed identity's own record: it joins where it alone belongs, and no comparison is kept that
    somebody could read."""
    if len(hidden) > 1:
        return _new(f"More than one sealed identity has this number ({seal or 'unlabelled'}).")
    return Decision("join", hidden[0], 0, 0, None, reason="The NHS number of a sealed identity.")


def _new(reason: str, rivals: Sequence[Rival] = ()) -> Decision:
    best = rivals[0] if rivals else None
    return Decision(
        "new", "", best.weight if best else 0, 0, best.comparison if best else None, reason=reason
    )


def _asked(rivals: Sequence[Rival], limit: Thresholds) -> Decision:
    """Nobody can be joined: a question where someone comes near, or would join but for a veto that
    leaves room for doubt; else a new person."""
    asked = tuple(
        r for r in rivals if (r.weight >= limit.join if r.vetoes else True) and _doubtful(r)
    )
    if not asked:
        return _new("Nobody comes near enough.", rivals)
    best = asked[0]
    margin = best.weight - asked[1].weight if len(asked) > 1 else best.weight
    why = (
        "; ".join(v.words for v in best.vetoes) or "It may be this person, but that is not certain."
    )
    return Decision("review", best.person, best.weight, margin, best.comparison, asked, reason=why)


def _doubtful(rival: Rival) -> bool:
    """Whether a veto leaves anything to ask: some say plainly that these are two people."""
    return all(v.id not in PLAIN for v in rival.vetoes)


def _included(
    record: Traits,
    chosen: Sequence[str],
    known: Sequence[Profile],
    model: Model,
    frequencies: Frequencies,
    today: date,
    apart: Collection[tuple[str, str]],
) -> Decision:
    """People said whose it is: several of them become one, unless people also said that they are not."""
    first = chosen[0]
    merged = tuple(p for p in chosen[1:] if _pair(first, p) not in apart)
    mine = next((p for p in known if p.person == first), None)
    rival = score(record, mine, model, frequencies, today) if mine else None
    return Decision(
        "bridge" if merged else "join", first, rival.weight if rival else 0, 0,
        rival.comparison if rival else None, merged=merged, reason="A person decided this.",
    )  # fmt: skip


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def _bridged(
    record: Traits,
    best: Rival,
    others: Sequence[Rival],
    profiles: Mapping[str, Profile],
    model: Model,
    *,
    today: date,
    apart: Collection[tuple[str, str]],
) -> tuple[str, ...]:
    """The persons that become one with the best, when the record shows that they are: it fits all of
    them well beyond joining, and nothing between them speaks against it that it does not explain."""
    limit = model.thresholds.bridge
    if best.weight < limit:
        return ()
    merged: list[str] = []
    for rival in others:
        together = [best.person, *merged]
        if rival.weight < limit or any(_pair(p, rival.person) in apart for p in together):
            continue
        if all(
            compatible(profiles[p], profiles[rival.person], today, record, model) for p in together
        ):
            merged.append(rival.person)
    return tuple(merged)


def compatible(
    one: Profile,
    other: Profile,
    today: date,
    record: Traits | None = None,
    model: Model | None = None,
) -> bool:
    """Whether two persons could be one: their NHS numbers are not disjoint, and their records
    together raise no veto but one that `record` explains: who is called by the second name here and
    by the first there, who had another surname, is told by a record that has both."""
    left, right = one.traits, other.traits
    if left.sealed or right.sealed:
        return False
    seen = looks(left, right)
    if level_of(seen, "nhs") > 1:
        return False
    against = vetoes(left, right, seen, today, model)
    if not against:
        return True
    if record is None or any(v.id not in OF_NAMES for v in against):
        return False
    return all(
        given_agrees(found[0]) or personal_agrees(found)
        for found in (looks(record, left), looks(record, right))
    )


# Scoring -----------------------------------------------------------------------------------------


def score(
    record: Traits, profile: Profile, model: Model, frequencies: Frequencies, today: date
) -> Rival | None:
    """A record against a person: its weight with all that the person's records say together, and
    every veto. None when it does not even come near enough to be asked about, or is sealed."""
    if record.sealed or profile.traits.sealed:
        return None
    seen = looks(record, profile.traits)
    weight = weigh(seen, model, frequencies)
    if weight < model.thresholds.review:
        return None
    against = vetoes(record, profile.traits, seen, today, model)
    return Rival(profile.person, weight, explain(seen, against, model, frequencies), against)


def rejoins(record: Traits, profile: Profile) -> bool:
    """Whether a record belongs to a sealed identity, or a sealed record to this person: only by an
    equal NHS number with birth date and given name, for an adopted child goes on being
    treated under the new number; a protected witness's records are never joined (digest §1.6)."""
    seals = {record.sealed, profile.traits.sealed} - {""}
    if not seals or not seals.issubset(REJOINED):
        return False
    seen = looks(record, profile.traits)
    return (
        level_of(seen, "nhs") in (0, 1)
        and level_of(seen, "born") in EXACT
        and (given_agrees(seen[0]) or seen[0].level in (-1, NAME["no_given"]))
    )


def weigh(found: Sequence[Look], model: Model, frequencies: Frequencies) -> float:
    """The weight of what the aspects found, in bits, the prior included."""
    points = [_points(place, look, model, frequencies) for place, look in enumerate(found)]
    return model.prior(frequencies) + sum(points) - _excess(found, points, model)


def _points(place: int, look: Look, model: Model, frequencies: Frequencies) -> float:
    if look.level < 0:
        return 0.0
    points = model.points[place][look.level]
    if place == 0 or ASPECTS[place].levels[look.level].counted:
        return points + _adjustment(place, look, model, frequencies)
    return points


def _adjustment(place: int, look: Look, model: Model, frequencies: Frequencies) -> float:
    """What the frequency of the agreeing value adds or takes: "Mohammed Khan" says less than a rare
    name, a hostel less than a house (digest §4.4)."""
    level = ASPECTS[place].levels[look.level]
    if level.counted:
        people = max(frequencies.people, model.people)
        typical = model.typical[level.counted]
        # Where a model says that nobody shares such a value, the neighbours do not count.
        key = _shared_key(level.counted, look)
        sharing = frequencies.shared.get(key, typical) if typical >= 1 else typical
        return log2(people / max(sharing, typical))
    if place:
        return 0.0
    given, family = frequencies.given, frequencies.surname
    if look.level != NAME["both"]:
        # Parts have changed places: a surname that stands among the given names is no rarity.
        given = family = _either(given, family, look)
    bits = 0.0
    if level.given and look.given:
        common = max(given.get(look.given[0], 0), given.get(look.given[1], 0))
        bits += level.given * log2(model.mean["given"] / max(common, model.floor))
    if level.family and look.family:
        common = max(family.get(look.family[0], 0), family.get(look.family[1], 0))
        bits += level.family * log2(model.mean["surname"] / max(common, model.floor))
    return bits


def _either(
    given: Mapping[str, float], family: Mapping[str, float], look: Look
) -> dict[str, float]:
    return {
        part: max(given.get(part, 0), family.get(part, 0))
        for part in (*(look.given or ()), *(look.family or ()))
    }


def _shared_key(kind: str, look: Look) -> str:
    """The key under which the people who share a value are counted."""
    value = look.left
    if isinstance(value, Address):
        return f"u|{value.uprn}" if kind == "dwelling" and value.uprn else f"p|{value.postcode}"
    return f"t|{value}" if kind == "phone" else f"e|{value}"


def _excess(found: Sequence[Look], points: Sequence[float], model: Model) -> float:
    """What address and telecom give beyond their cap: they say who lives together, so when neither
    given name nor personal number agrees they say little about who it is (digest §4.4)."""
    given = max(0.0, sum(points[p] for p in HOUSEHOLD))
    limit = model.thresholds
    if given <= limit.strangers:
        return 0.0
    known = given_agrees(found[0]) or personal_agrees(found)
    return max(0.0, given - (limit.household if known else limit.strangers))


def compare(
    a: Traits, b: Traits, model: Model, frequencies: Frequencies, *, today: date
) -> Comparison:
    """Two records side by side, with every field's points and every veto; symmetric but for which
    side is left."""
    found = looks(a, b)
    return explain(found, vetoes(a, b, found, today, model), model, frequencies)


def explain(
    found: Sequence[Look], against: tuple[Veto, ...], model: Model, frequencies: Frequencies
) -> Comparison:
    """What the aspects found, as a steward reads it."""
    fields: list[Field] = []
    points = [_points(place, look, model, frequencies) for place, look in enumerate(found)]
    for place, look in enumerate(found):
        if look.level < 0:
            continue
        aspect = ASPECTS[place]
        level = aspect.levels[look.level]
        counts = place == 0 or bool(level.counted)
        adjusted = _adjustment(place, look, model, frequencies) if counts else 0.0
        fields.append(
            Field(
                aspect.title,
                level.id,
                level.words,
                points[place],
                shown(look.left),
                shown(look.right),
                adjusted,
            )
        )
    excess = _excess(found, points, model)
    if excess:
        words = "people of one household share address and telephone, so these count only so far"
        fields.append(Field("Household", "cap", words, -excess, "", ""))
    prior = model.prior(frequencies)
    return Comparison(prior + sum(points) - excess, prior, tuple(fields), against)


def shown(value: object) -> str:
    """A compared value as a steward reads it."""
    if isinstance(value, Name):
        return " ".join((value.given, *value.middle, " ".join(value.family))).strip()
    if isinstance(value, Address):
        return " ".join(v for v in (value.line, value.postcode, value.uprn) if v)
    if isinstance(value, Number):
        return value.value + (" (verified)" if value.verified else "")
    if isinstance(value, tuple):
        return " ".join(str(v) for v in value)
    return "" if value is None else str(value)


# Holding -----------------------------------------------------------------------------------------


def holds(
    record: Traits,
    rest: Profile,
    model: Model,
    frequencies: Frequencies,
    *,
    today: date,
    included: bool = False,
    excluded: bool = False,
) -> Stay | Leave:
    """Whether a record that changed still belongs to the rest of its person (fracture, digest §4.6).

    Leaving needs more than joining lacked: the weight below `fracture`, or a veto. `included` and
    `excluded` say that people tied it to one of the rest, or parted it from one.
    """
    if excluded:
        return Leave(0, (), "A person said that they are two.")
    if included or not rest.members:
        return Stay(0)
    if record.sealed or rest.traits.sealed:
        return Stay(0) if rejoins(record, rest) else Leave(0, (SEALED,), SEALED.words)
    seen = looks(record, rest.traits)
    weight = weigh(seen, model, frequencies)
    against = vetoes(record, rest.traits, seen, today, model)
    if against:
        return Leave(weight, against, "; ".join(v.words for v in against))
    if weight < model.thresholds.fracture:
        return Leave(weight, (), "Too little agrees with the other records of this person.")
    return Stay(weight)


def valid(
    profile: Profile,
    model: Model,
    frequencies: Frequencies,
    *,
    today: date,
    tied: Collection[tuple[str, str]] = (),
    parted: Collection[tuple[str, str]] = (),
) -> tuple[tuple[str, ...], ...]:
    """The groups of records into which a person falls: one when it is whole.

    Members hold together that reach `fracture` without a veto, and records that people `tied`;
    a pair that they `parted` gives no edge. What then stands apart comes back when it holds to all
    that another group says together. Each group is sorted, the largest comes first.
    """
    members = profile.members
    of = {record: i for i, member in enumerate(members) for record in member.records}
    forbidden = {frozenset((of[a], of[b])) for a, b in parted if a in of and b in of}
    wanted = {frozenset((of[a], of[b])) for a, b in tied if a in of and b in of} - forbidden
    groups: list[list[int]] = [[i] for i in range(len(members))]
    for pair in sorted(wanted, key=sorted):
        groups = _united(groups, *sorted(pair)) if len(pair) == 2 else groups
    changed = True
    while changed:
        changed = False
        for one, other in combinations(groups, 2):
            if any(frozenset((i, j)) in forbidden for i in one for j in other):
                continue
            left, right = (gathered([members[i].traits for i in group]) for group in (one, other))
            if _edge(left, right, model, frequencies, today, model.thresholds.fracture):
                groups, changed = _united(groups, one[0], other[0]), True
                break
    found = (tuple(sorted(r for i in group for r in members[i].records)) for group in groups)
    return tuple(sorted(found, key=lambda g: (-len(g), g)))


def _united(groups: list[list[int]], one: int, other: int) -> list[list[int]]:
    joined = sorted({i for g in groups if one in g or other in g for i in g})
    return [joined, *(g for g in groups if one not in g and other not in g)]


def _edge(
    a: Traits,
    b: Traits,
    model: Model,
    frequencies: Frequencies,
    today: date,
    least: float,
    but: frozenset[str] = frozenset(),
) -> bool:
    """Whether two hold together by at least so much, and no veto stands between them `but` these."""
    seen = looks(a, b)
    if weigh(seen, model, frequencies) < least:
        return False
    return all(v.id in but for v in vetoes(a, b, seen, today, model))
