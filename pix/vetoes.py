"""Why no weight may join two records. PURE.

A veto is a row: a name, words for people, its clause, and a rule over what the aspects found. A
model may do without some of them, never without the seal and the NHS number (`pix/model.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from pix.likening import (
    BORN,
    HOUSEHOLD,
    MIDDLE,
    NAME,
    PLACE,
    PLACES,
    Look,
    given_agrees,
    personal_agrees,
)
from pix.model import Model
from pix.names import honoured, one_syllable, spelt_otherwise, syllabic
from pix.traits import Name, Number, Traits


@dataclass(frozen=True, slots=True)
class Veto:
    """A reason why no weight may join two records. `final`: not even for a person to decide."""

    id: str
    words: str
    see: str


@dataclass(frozen=True, slots=True)
class _Rule:
    veto: Veto
    holds: Callable[[Traits, Traits, Sequence[Look], date], bool]


EXACT = (BORN["exact"], BORN["exact_vague"])
SAME_GIVEN_IDS = ("both", "swapped", "family_near", "family_part", "family_moved")
_SURNAME_ONLY = (NAME["family_only"], NAME["family_only_near"])
_FULL_NAME = (NAME["both"], NAME["swapped"])
CALLED_OTHERWISE = (NAME["tokens_some"], NAME["other"])
_DIFFERS = (*CALLED_OTHERWISE, *_SURNAME_ONLY)
SAME_GIVEN = tuple(NAME[i] for i in SAME_GIVEN_IDS)
# The first name may be one and the same, and the child be called by the second.
_FIRST_NAME = tuple(
    NAME[i]
    for i in ("both", "given_near", "family_near", "family_part", "given_cross", "both_near")
)
_NEARLY = tuple(NAME[i] for i in ("given_near", "both_near", "given_cross", "family_moved"))
_GIVEN_ONLY = (NAME["given_only"], NAME["given_only_near"])


def level_of(found: Sequence[Look], aspect: str) -> int:
    """The level that one aspect found; -1 when either side says nothing."""
    return found[PLACE[aspect]].level


def _nhs_differs(a: Traits, b: Traits, found: Sequence[Look], today: date) -> bool:
    level = level_of(found, "nhs")
    if level == 2:
        # Twins have neighbouring numbers: a slip is believed only if all else is the same.
        return not (level_of(found, "name") == 0 and level_of(found, "born") in EXACT)
    if level != 3:
        return False
    # Of a child it is never believed: the twin is written down with the same first name.
    slip = _unverified(found[PLACE["nhs"]]) and _all_else(found) and _one_name(a, b)
    return not (slip and not _under_age(b.born[0], today))


def _unverified(look: Look) -> bool:
    """Whether one of two different numbers is only what somebody wrote down (domain digest §1.6 P9)."""
    return not all(isinstance(n, Number) and n.verified for n in (look.left, look.right))


def _one_name(a: Traits, b: Traits) -> bool:
    """Whether all of both sides' records say one given name: twins are often named alike."""
    return len({name.given for t in (a, b) for name in t.names if len(name.given) > 1}) == 1


def _all_else(found: Sequence[Look]) -> bool:
    """The very name, the day of birth and the home: nobody but the person has all of these."""
    home = level_of(found, "address") == 0 or level_of(found, "phone") == 0
    return found[0].level == 0 and level_of(found, "born") == BORN["exact"] and home


def _number_differs(_a: Traits, _b: Traits, found: Sequence[Look], _today: date) -> bool:
    differs = level_of(found, "upn") == 1 or level_of(found, "nino") == 1
    return differs and not _strong(found)


def _strong(found: Sequence[Look]) -> bool:
    """An agreeing NHS number, NINO, UPN, PNC or CRO."""
    return level_of(found, "nhs") in (0, 1) or any(
        level_of(found, number) == 0 for number in ("nino", "upn", "pnc", "cro")
    )


def _twins(a: Traits, b: Traits, found: Sequence[Look], today: date) -> bool:
    """Another given name, or a like one with another sex or another place in the birth."""
    if level_of(found, "born") not in EXACT or personal_agrees(found):
        return False
    if a.order.isdigit() and b.order.isdigit() and a.order != b.order:
        return True
    name = found[0]
    if name.level not in _DIFFERS:
        unlike = level_of(found, "sex") == 1 and name.level not in SAME_GIVEN
        # Of grown-ups such a likeness is a slip; children may have a twin of like name: the sounds
        # alone are alike, or another middle name (JOHN JOE, JOHN THOMAS) or a known multiple birth
        # says that there are two.
        another = level_of(found, "middle") == MIDDLE["different"] and name.level in _FIRST_NAME
        another = another or (name.level not in SAME_GIVEN and bool(a.order or b.order))
        alike = name.level == NAME["given_sound"] or another
        return unlike or (alike and _under_age(b.born[0], today))
    if _english_beside(a, b, found) and not _under_age(b.born[0], today):
        return False
    return _both_given(name) and (name.level in _SURNAME_ONLY or _one_home(found))


def _one_home(found: Sequence[Look]) -> bool:
    """Whether they are reached at one place: dwelling or postcode, telephone or e-mail."""
    return any(
        found[p].level == 0 or (p == PLACE["address"] and 0 <= found[p].level <= PLACES["postcode"])
        for p in HOUSEHOLD
    )


def _alike(a: Traits, b: Traits, found: Sequence[Look], today: date) -> bool:
    """A child of the birth date and home, whose given name is the other's spelt otherwise, a mere initial,
    or one that brothers share while the other has a second: as well a twin, until a number tells."""
    if level_of(found, "born") not in EXACT or not _under_age(b.born[0], today):
        return False
    if personal_agrees(found) or level_of(found, "middle") == MIDDLE["same"]:
        return False
    if not _one_home(found):
        return False
    name = found[0]
    if name.level == NAME["initial"]:
        return True
    if name.level == NAME["both"]:
        return _bare(a, b) or _bare(b, a)
    if name.level == NAME["swapped"]:
        return _otherwise(name.given) or _otherwise(name.family)
    return name.level in _NEARLY and _otherwise(name.given) and not _joined(name)


def _otherwise(pair: tuple[str, str] | None) -> bool:
    return pair is not None and spelt_otherwise(*pair)


def _joined(look: Look) -> bool:
    """Whether one writes in one word what the other writes in two: XIAO LING and XIAOLING."""
    names = [n for n in (look.left, look.right) if isinstance(n, Name)]
    together = {n.given + n.middle[0] for n in names if n.middle}
    return any(n.given in together for n in names)


def _bare(a: Traits, b: Traits) -> bool:
    """Whether `a` is never more than MOHAMMED or the like, and `b` always has a name after it."""
    short, long = ([n for n in t.names if n.given] for t in (a, b))
    return all(honoured(n.given) and not n.middle for n in short) and all(n.middle for n in long)


def _english_beside(a: Traits, b: Traits, found: Sequence[Look]) -> bool:
    """Whether a Chinese or Vietnamese name and a name of another kind may be one person's, who is called
    by the other among the English: one surname, sex, and home or telephone, and on neither side a
    second name of the other's kind. Twins are named alike: both so, or both so."""
    home = any(found[p].level == 0 for p in HOUSEHOLD)
    if found[0].level != NAME["family_only"] or level_of(found, "sex") != 0 or not home:
        return False
    if not all(one_syllable(n.family) for t in (a, b) for n in t.names if n.family):
        return False
    left, right = ({syllabic((n.given, *n.middle)) for n in t.names if n.given} for t in (a, b))
    return len(left) == len(right) == 1 and left != right


def _both_given(look: Look) -> bool:
    left, right = look.left, look.right
    return isinstance(left, Name) and isinstance(right, Name) and bool(left.given and right.given)


def _generations(_a: Traits, _b: Traits, found: Sequence[Look], _today: date) -> bool:
    if level_of(found, "born") != BORN["far"]:
        return False
    return not (_strong(found) and found[0].level in _FULL_NAME)


def _childs_surname(a: Traits, b: Traits, found: Sequence[Look], today: date) -> bool:
    if found[0].level not in _GIVEN_ONLY or level_of(found, "nhs") in (0, 1):
        return False
    # A UPN may be kept across an adoption, so it does not count here.
    return any(_under_age(born, today) for born in (*a.born[:1], *b.born[:1]))


def _under_age(born: str, today: date) -> bool:
    return f"{int(born[:4]) + 18:04d}{born[4:]}" > today.isoformat()


def _siblings(_a: Traits, _b: Traits, found: Sequence[Look], _today: date) -> bool:
    return level_of(found, "born") in (BORN["year"], BORN["near"]) and not personal_agrees(found)


def _surname_alone(_a: Traits, _b: Traits, found: Sequence[Look], _today: date) -> bool:
    alone = found[0].level in _SURNAME_ONLY or found[0].level == NAME["other"]
    born = level_of(found, "born")
    return alone and born >= 0 and born not in EXACT and not personal_agrees(found)


def _unnamed(_a: Traits, _b: Traits, found: Sequence[Look], _today: date) -> bool:
    if found[0].level != NAME["no_given"] or personal_agrees(found):
        return False
    near = any(found[p].level == 0 for p in HOUSEHOLD)
    return not (level_of(found, "born") in EXACT and near)


def _number_alone(a: Traits, b: Traits, found: Sequence[Look], _today: date) -> bool:
    if not personal_agrees(found) or given_agrees(found[0]):
        return False
    born = level_of(found, "born")
    if (a.newborn or b.newborn) and found[0].level == NAME["other"]:
        # It has no name yet, and the surname in its place is the mother's.
        sure = level_of(found, "nhs") in (0, 1) and level_of(found, "sex") != 1
        return not (sure and born in EXACT)
    if level_of(found, "sex") == 1 and found[0].level in _SURNAME_ONLY and _both_given(found[0]):
        return True  # of one surname, but another given name and sex: the twin's number
    if found[0].level in CALLED_OTHERWISE:
        # The whole name is another: only a verified number with the very birth date outweighs that.
        return not (level_of(found, "nhs") == 0 and born in EXACT)
    return born < 0 or born > BORN["one_part"]


def _sealed(a: Traits, b: Traits, _found: Sequence[Look], _today: date) -> bool:
    return bool(a.sealed or b.sealed)


SEALED = Veto("sealed", "A sealed identity is no one's candidate", "domain digest §1.6 P1–P3")
RULES = (
    _Rule(SEALED, _sealed),
    _Rule(Veto("nhs", "The NHS numbers differ", "matching digest §4.5, §6.5"), _nhs_differs),
    _Rule(Veto("number", "The pupil or National Insurance numbers differ", "matching digest §4.5"),
          _number_differs),
    _Rule(Veto("twin", "Born on one day, with one surname or address, but other given names: perhaps twins",
               "matching digest §4.5; domain digest §1.5"), _twins),
    _Rule(Veto("alike", "A child of a name spelt otherwise or not in full: a slip, or a twin of like name",
               "matching digest §4.5; domain digest §1.5"), _alike),
    _Rule(Veto("generations", "Born more than two years apart: perhaps parent and child",
               "matching digest §4.5"), _generations),
    _Rule(Veto("siblings", "The birth dates differ in more than a slip: perhaps brothers or sisters",
               "matching digest §4.4"), _siblings),
    _Rule(Veto("child", "A child of whom only the given name agrees", "matching digest §4.5"),
          _childs_surname),
    _Rule(Veto("surname", "The given name does not agree, nor does the birth date", "matching digest §4.5"),
          _surname_alone),
    _Rule(Veto("unnamed", "A child without a name yet needs a number, or birth date and home",
               "matching digest §4.4"), _unnamed),
    _Rule(Veto("number_alone", "A number agrees, but the name or the birth date speaks against it",
               "matching digest §4.5, §6.4"), _number_alone),
)  # fmt: skip
# Vetoes that leave nothing to ask, those that say no more than that it may be somebody else, and those
# that a record with both names explains.
PLAIN = frozenset({"sealed", "twin", "generations", "siblings", "surname"})
DOUBTS = frozenset({"alike"})
OF_NAMES = frozenset({"twin", "alike", "child", "surname", "unnamed"})


def vetoes(
    a: Traits, b: Traits, found: Sequence[Look], today: date, model: Model | None = None
) -> tuple[Veto, ...]:
    """Every reason against joining two records, whatever they weigh; those that the model has."""
    return tuple(
        [
            rule.veto
            for rule in RULES
            if (model is None or rule.veto.id in model.vetoes) and rule.holds(a, b, found, today)
        ]
    )
