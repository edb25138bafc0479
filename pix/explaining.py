"""Why two are one person, or why not, as values and in plain words. PURE.

The lines come from a `Comparison` (matching.py), made now or kept when it was decided. A caller sees
every line that counts, so that the sum is always right; what they may not see of a value is hidden, and
of a number whose very existence may not be known, its name too (decision 0012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal

from pix.likening import ASPECTS
from pix.matching import Comparison, Field, compare
from pix.model import Frequencies, Model, Thresholds
from pix.traits import Traits
from pix.vetoes import Veto

Verdict = Literal["join", "same", "review", "vetoed", "apart", "tied", "sealed", "below"]
Showing = Literal["whole", "level", "nothing"]
HIDDEN = "hidden from you"
_ASPECT = {aspect.title: aspect.id for aspect in ASPECTS}
_PLACES = ("address", "phone", "email")


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was compared, as this caller may see it."""

    name: str
    level: str
    words: str
    points: float
    adjusted: float
    left: str
    right: str
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Tie:
    """What people decided about the two: apart or together, when, by whom, and why."""

    apart: bool
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Explained:
    """All that is told of a record and a person, or of two records."""

    left: str
    right: str
    verdict: Verdict
    state: str  # MATCH, POSSIBLE, NO_MATCH or ""
    source: str  # automatic, manual or ""
    comparison: Comparison | None
    lines: tuple[Line, ...]
    ties: tuple[Tie, ...]
    limits: Thresholds
    model: str
    at: datetime
    kept: bool  # as it was kept when it was decided, rather than worked out now
    since: datetime | None = None


def closest(
    traits: Traits,
    others: Iterable[tuple[str, Traits]],
    model: Model,
    frequencies: Frequencies,
    today: date,
) -> tuple[str, Comparison] | None:
    """The one of these records that is most like this one, and how they compare."""
    best: tuple[str, Comparison] | None = None
    for id_, other in others:
        found = compare(traits, other, model, frequencies, today=today)
        if best is None or (found.weight, best[0]) > (best[1].weight, id_):
            best = id_, found
    return best


def reopened(kept: Mapping[str, Any]) -> Comparison:
    """A comparison as it was kept (`linking.compared`)."""
    return Comparison(
        kept["weight"],
        kept["prior"],
        tuple(Field(*f) for f in kept["fields"]),
        tuple(Veto(*v) for v in kept["vetoes"]),
    )


def lines(comparison: Comparison, showing: Callable[[str], Showing]) -> tuple[Line, ...]:
    """The lines of a comparison; `showing` says of an aspect how much of it may be seen. What
    speaks for comes first, then what speaks against, each with the greatest first."""
    made = [_line(field, showing) for field in comparison.fields]
    return tuple(sorted(made, key=lambda line: (line.points < 0, -abs(line.points), line.name)))


def _line(field: Field, showing: Callable[[str], Showing]) -> Line:
    said = Line(
        field.name, field.level, field.words, field.points, field.adjusted, field.left, field.right
    )
    match showing(_ASPECT.get(field.name, field.name)):
        case "whole":
            return said
        case "level":
            return replace(said, left=HIDDEN, right=HIDDEN, masked=True)
        case _:
            return replace(
                said, name="Other evidence", level="hidden", left=HIDDEN, right=HIDDEN, masked=True,
                words="counted, and not shown to you",
            )  # fmt: skip


def vetoes_shown(comparison: Comparison, showing: Callable[[str], Showing]) -> tuple[Veto, ...]:
    """The vetoes; one that rests on what may not be known is told without saying what."""
    quiet = any(showing(_ASPECT.get(f.name, "")) == "nothing" for f in comparison.fields)
    return tuple(
        replace(v, words="A number speaks against it") if quiet and v.id == "number" else v
        for v in comparison.vetoes
    )


def is_place(aspect: str) -> bool:
    """Whether an aspect says where somebody can be found."""
    return aspect in _PLACES


def verdict(
    comparison: Comparison | None,
    limits: Thresholds,
    *,
    one: bool,
    sealed: bool,
    ties: Sequence[Tie],
) -> Verdict:
    """What the rules say, in the order that weights never change (decision 0010): sealed, apart, tied,
    vetoed, weight. `one` when they are one person now."""
    if sealed:
        return "sealed"
    if any(t.apart for t in ties):
        return "apart"
    if ties:
        return "tied"
    if one:
        return "same"
    if comparison is None:
        return "below"
    if comparison.vetoes:
        return "vetoed" if comparison.weight >= limits.review else "below"
    if comparison.weight >= limits.join:
        return "join"
    return "review" if comparison.weight >= limits.review else "below"


# -- in words ---------------------------------------------------------------------------------------


def words(told: Explained) -> str:
    """All of it as a few sentences that a steward can read out."""
    if told.comparison is None and told.verdict == "same":
        return f"{told.left} is all that {told.right} is; there is nothing to compare it with."
    return " ".join((_standing(told), *_decided(told), *_weighed(told), *_against(told), _so(told)))


def _standing(told: Explained) -> str:
    who = f"{told.left} and {told.right}"
    match told.state:
        case "MATCH":
            how = "people decided it" if told.source == "manual" else "the scoring joined them"
            when = f" on {day(told.since)}" if told.since else ""
            return f"{who} are one person: {how}{when}."
        case "POSSIBLE":
            return f"{who} may be one person; a steward is asked."
        case "NO_MATCH":
            return f"{who} are two people: a steward decided it."
    return f"{who} are not linked."


def _decided(told: Explained) -> Iterable[str]:
    for tie in told.ties:
        how = "two people" if tie.apart else "one person"
        yield f"On {day(tie.at)} {tie.by} decided that they are {how}: {_ended(tie.reason)}"


def _weighed(told: Explained) -> Iterable[str]:
    comparison = told.comparison
    if comparison is None:
        yield "Nothing of the two could be compared."
        return
    when, weighs, starts, adds = (
        (f"When it was decided, on {day(told.at)},", "weighed", "started", "added or took")
        if told.kept
        else ("Today", "weighs", "starts", "adds or takes")
    )
    yield (
        f"{when} the evidence {weighs} {number(comparison.weight)} bits, {chance(comparison)}: it {starts} "
        f"from {number(comparison.prior)} for two people picked at random, and every line {adds}."
    )
    speaking = [line for line in told.lines if line.points > 0.05]
    if speaking:
        yield f"For it: {_list(speaking)}."
    opposing = [line for line in told.lines if line.points < -0.05]
    if opposing:
        yield f"Against it: {_list(opposing)}."
    for line in told.lines:
        if abs(line.adjusted) >= 1 and not line.masked:
            rare = "rare, which adds" if line.adjusted > 0 else "common, which takes away"
            yield f"The shared {_small(line.name)} is {rare} {abs(line.adjusted):.1f}."


def _against(told: Explained) -> Iterable[str]:
    for veto in told.comparison.vetoes if told.comparison else ():
        yield f"No weight can join them: {_ended(veto.words[:1].lower() + veto.words[1:])}"


def _so(told: Explained) -> str:
    limits = told.limits
    rule = (
        f"From {number(limits.join)} on records are joined, from {number(limits.review)} on people are "
        f"asked; a record leaves below {number(limits.fracture)}."
    )
    match told.verdict:
        case "sealed":
            return "A sealed identity is no one's candidate, whatever it weighs."
        case "apart" | "tied":
            return "What people decided outranks every weight, until people decide otherwise."
        case "vetoed":
            return f"So they are not joined, whatever they weigh. {rule}"
        case "join":
            return f"So they fit; they are joined unless somebody else fits nearly as well. {rule}"
        case "review":
            return f"So it is not certain enough to join, and people are asked. {rule}"
        case "below":
            return f"So they are not joined. {rule}"
    return rule


def _list(some: Sequence[Line]) -> str:
    return "; ".join(f"{_small(line.name)} {line.words} ({number(line.points)})" for line in some)


def _small(name: str) -> str:
    """A name inside a sentence; `NHS number` keeps its capitals."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def _ended(text: str) -> str:
    return text if text.rstrip().endswith((".", "!", "?")) else f"{text.rstrip()}."


def number(value: float) -> str:
    """A weight as it is written: one decimal, with its sign and a true minus."""
    shown = f"{abs(value):.1f}"
    return f"−{shown}" if value < 0 and shown != "0.0" else f"+{shown}"


def chance(comparison: Comparison) -> str:
    """The weight as a chance, as people say it."""
    likely = comparison.probability
    if likely >= 0.5:
        odds = likely / max(1 - likely, 1e-12)
        return f"about {rounded(odds)} to 1 that they are one person"
    odds = (1 - likely) / max(likely, 1e-12)
    return f"about {rounded(odds)} to 1 that they are two"


def rounded(odds: float) -> str:
    """Odds with one leading digit, as precision they do not have would mislead."""
    if odds < 10:
        return str(round(odds))
    magnitude = 10 ** (len(str(int(odds))) - 1)
    return f"{int(odds) // magnitude * magnitude:,}"


def day(moment: datetime | None) -> str:
    """A date as people write it."""
    return f"{moment.day} {moment:%B %Y}" if moment else ""
