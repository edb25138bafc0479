"""How two records agree, aspect by aspect: which level of each comparison holds. PURE.

One function per aspect looks at two `Traits` and says the level (an index into the aspect's rows,
-1 when either says nothing: absence is never disagreement) and the two values that were laid side
by side. All are symmetric. The values of all records of a person may be laid beside one record: the
best agreement counts, so former names, addresses and birth dates are full alternatives.

Over 400 lines because the rows of levels stand beside the functions that find them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from rapidfuzz.distance import OSA

from pix.names import Likeness, likeness, surname_likeness
from pix.traits import Address, Name, Number, Traits, district

_OTHER, _SOUND, _NEAR, _SAME = Likeness
# Further ways in which a part of a name may agree.
_MISSING, _INITIAL, _CROSS, _PART, _MOVED = -1, 5, 6, 7, 8


class Look(NamedTuple):
    """What one aspect found: the level, and what stood there on either side. `given` and `family`
    hold the parts of the names that agreed, so that common ones can count for less."""

    level: int
    left: object = None
    right: object = None
    given: tuple[str, str] | None = None
    family: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One way in which two values may agree or differ. `agrees` is how many bits of surprise the
    frequency of the agreeing values adds: a share of the whole for given name and surname."""

    id: str
    words: str
    given: float = 0
    family: float = 0
    counted: str = ""


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing that is compared, its levels from the strongest to the weakest, and how."""

    id: str
    title: str
    look: Callable[[Traits, Traits], Look]
    levels: tuple[Level, ...]
    see: str


NOTHING = Look(-1)


# Names -------------------------------------------------------------------------------------------

_NAME_LEVELS = (
    Level("both", "given name and surname are the same", 1, 1),
    Level("swapped", "given name and surname are the same, the other way round", 1, 1),
    Level("given_near", "same surname; the given name is a variant, nickname or slip", 1, 1),
    Level("family_near", "same given name; the surname is a variant or slip", 1, 1),
    Level("family_part", "same given name; the surnames share a part", 1, 1),
    Level("family_moved", "same given name; one's surname stands among the other's names", 1, 1),
    Level("given_cross", "the surname agrees; one is called by the other's second name", 1, 1),
    Level("both_near", "given name and surname are variants or slips", 1, 1),
    Level("given_sound", "the surname agrees; the given names sound alike", 0.5, 1),
    Level("family_sound", "the given name agrees; the surnames sound alike", 1, 0.5),
    Level("initial", "the surname agrees; one has only an initial, which fits", 0, 1),
    Level("no_given", "the surname agrees; a given name is missing", 0, 1),
    Level("no_family", "the given name agrees; a surname is missing", 1, 0),
    Level("tokens", "all parts of the shorter name stand in the other, in other places", 0.5, 0.5),
    Level("given_only", "only the given name agrees", 1, 0),
    Level("given_only_near", "only the given name is like the other's", 1, 0),
    Level("tokens_some", "some parts of the names agree, and each has others of its own", 0, 0.5),
    Level("family_only", "only the surname agrees", 0, 1),
    Level("family_only_near", "only the surname is like the other's", 0, 0.5),
    Level("other", "the names differ"),
)
NAME = {level.id: place for place, level in enumerate(_NAME_LEVELS)}
_GIVEN_AGREES = frozenset(
    NAME[i] for i in (
        "both", "swapped", "given_near", "family_near", "family_part", "family_moved", "given_cross",
        "both_near", "given_sound", "family_sound", "no_family", "given_only", "given_only_near", "tokens",
    )
)  # fmt: skip


@lru_cache(1 << 16)
def names_alike(x: Name, y: Name) -> Look:
    """The level of two names; the parts that agree go with it."""
    given, g = _given(x, y)
    family, f = _family(x, y)
    if given == _SAME and family == _SAME:
        return Look(0, x, y, g, f)
    level = _level(given, family)
    if level >= NAME["given_cross"]:
        swapped = _swapped(x, y)
        if swapped is not None:
            return swapped
        if level >= NAME["initial"] and (given == _OTHER or family in (_OTHER, _SOUND)):
            shared = _shared(x, y)
            if len(shared) >= 2:
                # Brothers share their fathers' names, and a double surname is one name: only when
                # the shorter name is wholly in the other is it the same person's.
                whole = len(shared) == min(len(_tokens(x)), len(_tokens(y)))
                other = NAME["tokens" if whole and _called(x, y) else "tokens_some"]
                if level > other:
                    return Look(other, x, y, shared[0], shared[1])
    return Look(level, x, y, g, f)


_FIRM = (_SAME, _NEAR)
_FAMILY = (_SAME, _NEAR, _PART)


def _level(given: int, family: int) -> int:
    found = _TABLE.get((given, family))
    return NAME["other"] if found is None else found


def _table() -> dict[tuple[int, int], int]:
    made: dict[tuple[int, int], str] = {}
    for family in _FAMILY:
        made[(_CROSS, family)] = "given_cross"
        made[(_SOUND, family)] = "given_sound"
        made[(_INITIAL, family)] = "initial"
        made[(_MISSING, family)] = "no_given"
        made[(_OTHER, family)] = "family_only" if family == _SAME else "family_only_near"
        made[(_NEAR, family)] = "given_near" if family == _SAME else "both_near"
    made[(_SAME, _SAME)], made[(_SAME, _NEAR)], made[(_SAME, _PART)] = (
        "both", "family_near", "family_part",
    )  # fmt: skip
    for given in _FIRM:
        made[(given, _MOVED)] = "family_moved"
        made[(given, _SOUND)] = "family_sound"
        made[(given, _MISSING)] = "no_family"
    made[(_SAME, _OTHER)], made[(_NEAR, _OTHER)] = "given_only", "given_only_near"
    for family in (_MOVED, _SOUND, _MISSING, _OTHER):
        made[(_CROSS, family)] = "given_only_near"
        made[(_SOUND, family)] = made[(_INITIAL, family)] = "given_only_near"
        made[(_OTHER, family)] = "other"
        made[(_MISSING, family)] = "other"
    made[(_SOUND, _OTHER)] = made[(_INITIAL, _OTHER)] = "other"
    for family in (_MOVED, _SOUND):
        made[(_OTHER, family)] = "family_only_near"
    return {key: NAME[name] for key, name in made.items()}


_TABLE = _table()


def _given(x: Name, y: Name) -> tuple[int, tuple[str, str] | None]:
    a, b = x.given, y.given
    if not a or not b:
        return _MISSING, None
    alike = likeness(a, b)
    if alike >= _NEAR:
        return alike, (a, b)
    if len(a) == 1 or len(b) == 1:
        return (_INITIAL, None) if a[0] == b[0] else (_OTHER, None)
    # XIAO LING and XIAOLING, ABDUL RAHMAN and ABDULRAHMAN.
    if (x.middle and likeness(a + x.middle[0], b) >= _NEAR) or (
        y.middle and likeness(a, b + y.middle[0]) >= _NEAR
    ):
        return _NEAR, (a, b)
    for middle in called(x):
        if likeness(middle, b) >= _NEAR:
            return _CROSS, (middle, b)
    for middle in called(y):
        if likeness(a, middle) >= _NEAR:
            return _CROSS, (a, middle)
    return (_SOUND, (a, b)) if alike == _SOUND else (_OTHER, None)


def called(name: Name) -> tuple[str, ...]:
    """What somebody may be called by instead of the first name: any other, or two of them in one word
    (DANIEL ZI KEUNG, called ZIKEUNG)."""
    joined = (a + b for a, b in pairwise(name.middle) if len(a) > 1 and len(b) > 1)
    return (*(m for m in name.middle if len(m) > 1), *joined)


def _family(x: Name, y: Name) -> tuple[int, tuple[str, str] | None]:
    left, right = x.family, y.family
    if not left or not right:
        return _MISSING, None
    if left == right:
        return _SAME, (min(left), min(right))
    if len(left) > 1 or len(right) > 1:
        if "".join(left) == "".join(right):
            return _SAME, (min(left), min(right))
        shared = set(left).intersection(right)
        if shared:
            part = min(shared)
            return (_NEAR if len(shared) == len({*left, *right}) else _PART), (part, part)
    best, pair = _closest(left, right)
    if best >= _NEAR:
        return (_PART if len(left) + len(right) > 2 else _NEAR), pair
    for there, here in (
        (_closest(left, (y.given, *y.middle)), _MOVED),
        (_closest((x.given, *x.middle), right), _MOVED),
    ):
        if there[0] >= _NEAR:
            return here, there[1]
    return best, pair


def _closest(
    left: tuple[str, ...], right: tuple[str, ...]
) -> tuple[Likeness, tuple[str, str] | None]:
    """The two parts that are most alike, and how much."""
    best, pair = _OTHER, None
    for a in left:
        for b in right:
            if len(a) == 1 or len(b) == 1:
                continue
            alike = surname_likeness(a, b)
            if alike > best or (alike == best and pair and sorted((a, b)) < sorted(pair)):
                best, pair = alike, (a, b)
    return best, pair


def _swapped(x: Name, y: Name) -> Look | None:
    if not (x.given and y.given and x.family and y.family):
        return None
    first = _closest((x.given,), y.family)
    second = _closest(x.family, (y.given,))
    if min(first[0], second[0]) < _NEAR:
        return None
    return Look(NAME["swapped"], x, y, first[1], second[1])


def _shared(x: Name, y: Name) -> list[tuple[str, str]]:
    """The parts that stand in both names, wherever they stand."""
    left, right = _tokens(x), _tokens(y)
    found: list[tuple[str, str]] = []
    for a in left:
        for b in right:
            if likeness(a, b) >= _NEAR:
                found.append((a, b))
                right.remove(b)
                break
    return sorted(found, key=sorted)  # whichever side comes first


def _called(x: Name, y: Name) -> bool:
    """Whether one's given name stands anywhere in the other's."""
    return any(
        len(one.given) > 1 and any(likeness(one.given, t) >= _NEAR for t in _tokens(other))
        for one, other in ((x, y), (y, x))
    )


def _tokens(name: Name) -> list[str]:
    return [t for t in (name.given, *name.middle, *name.family) if len(t) > 1]


def _name(a: Traits, b: Traits) -> Look:
    # Once both sides have a given name somewhere, a name without one says nothing more: else the
    # unnamed baby's record would speak for its named twin.
    both = any(n.given for n in a.names) and any(n.given for n in b.names)
    best = NOTHING
    for x in a.names:
        if both and not x.given:
            continue
        for y in b.names:
            if both and not y.given:
                continue
            found = names_alike(x, y)
            if best.level < 0 or found.level < best.level:
                best = found
                if not found.level:
                    return found
    return best


def given_agrees(look: Look) -> bool:
    """Whether the names found are at least alike in the given name."""
    return look.level in _GIVEN_AGREES


_MIDDLE_LEVELS = (
    Level("same", "one is the same"),
    Level("initial", "an initial fits"),
    Level("near", "similar"),
    Level("different", "different"),
)
MIDDLE = {level.id: place for place, level in enumerate(_MIDDLE_LEVELS)}


def _middle(a: Traits, b: Traits) -> Look:
    best = NOTHING
    for x in a.names:
        if not x.middle:
            continue
        for y in b.names:
            if not y.middle:
                continue
            level = _middles(x.middle, y.middle)
            if best.level < 0 or level < best.level:
                best = Look(level, x.middle, y.middle)
    return best


@lru_cache(1 << 15)
def _middles(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    level = 3
    for a in left:
        for b in right:
            if len(a) == 1 or len(b) == 1:
                found = 1 if a[0] == b[0] else 3
            else:
                found = {_SAME: 0, _NEAR: 2, _SOUND: 2}.get(likeness(a, b), 3)
            level = min(level, found)
    return level


# Births ------------------------------------------------------------------------------------------

_BORN_LEVELS = (
    Level("exact", "born on the same day"),
    Level("exact_vague", "both say 1 January, which is often said for an unknown day"),
    Level("swapped", "the same date with day and month exchanged"),
    Level("year_vague", "the same year; one says no more than that"),
    Level("slip", "the same date but for one digit or the century"),
    Level("one_part", "day, month and year agree in two"),
    Level("year", "only the year agrees"),
    Level("near", "less than three years apart"),
    Level("far", "three or more years apart"),
)
BORN = {level.id: place for place, level in enumerate(_BORN_LEVELS)}


@lru_cache(1 << 16)
def births_alike(x: str, y: str) -> int:
    """The level of two ISO dates, which may be partial."""
    if x == y and len(x) == 10:
        return BORN["exact_vague"] if x[5:] == "01-01" else BORN["exact"]
    year, other = x[:4], y[:4]
    if len(x) < 10 or len(y) < 10:
        same_month = len(x) == 4 or len(y) == 4 or x[5:7] == y[5:7]
        if year == other:
            return BORN["year_vague"] if same_month else BORN["year"]
        return _years(year, other)
    if year == other:
        if x[5:7] == y[8:] and x[8:] == y[5:7]:
            return BORN["swapped"]
        if x[5:] == "01-01" or y[5:] == "01-01":
            return BORN["year_vague"]
        if _slip(x[5:], y[5:]):
            return BORN["slip"]
        return BORN["one_part"] if x[5:7] == y[5:7] or x[8:] == y[8:] else BORN["year"]
    if x[5:] == y[5:]:
        if _slip(year, other) or abs(int(year) - int(other)) == 100:
            return BORN["slip"]
        return BORN["one_part"] if abs(int(year) - int(other)) <= 2 else _years(year, other)
    return _years(year, other)


def _slip(x: str, y: str) -> bool:
    """One digit, or two neighbours exchanged."""
    differ = [i for i, (a, b) in enumerate(zip(x, y, strict=True)) if a != b]
    if len(differ) == 1:
        return True
    return len(differ) == 2 and x[differ[0]] == y[differ[1]] and x[differ[1]] == y[differ[0]]


def _years(year: str, other: str) -> int:
    return BORN["near"] if abs(int(year) - int(other)) < 3 else BORN["far"]


def _born(a: Traits, b: Traits) -> Look:
    best = NOTHING
    for x in a.born:
        for y in b.born:
            level = births_alike(x, y)
            if best.level < 0 or level < best.level:
                best = Look(level, x, y)
    return best


# Sex, address, telecom ---------------------------------------------------------------------------


_PLACE_LEVELS = (
    Level("dwelling", "the same dwelling", counted="dwelling"),
    Level("near", "the same dwelling but for a slip in postcode or street", counted="dwelling"),
    Level("postcode", "the same postcode, if its letters are put in order", counted="postcode"),
    Level("outcode", "the same postcode district"),
    Level("different", "other addresses"),
)
PLACES = {level.id: place for place, level in enumerate(_PLACE_LEVELS)}


def _sex(a: Traits, b: Traits) -> Look:
    if not a.sex or not b.sex:
        return NOTHING
    return Look(0 if a.sex == b.sex else 1, a.sex, b.sex)


def _address(a: Traits, b: Traits) -> Look:
    best = NOTHING
    for x in a.addresses:
        for y in b.addresses:
            if x.uprn and x.uprn == y.uprn:
                return Look(0, x, y)
            if not x.postcode or not y.postcode:
                continue
            level = _places(x, y)
            if best.level < 0 or level < best.level:
                best = Look(level, x, y)
                if level == 0:
                    return best
    return best


def _places(x: Address, y: Address) -> int:
    """The level of two addresses with postcodes."""
    one_home = not (x.uprn and y.uprn)
    if x.postcode == y.postcode:
        if not (one_home and x.line and y.line):
            return PLACES["postcode"]
        if x.line == y.line:
            return PLACES["dwelling"]
        return PLACES["near" if lines_alike(x.line, y.line) else "postcode"]
    slipped = one_home and len(x.postcode) == len(y.postcode) and _slip(x.postcode, y.postcode)
    if slipped and lines_alike(x.line, y.line):
        return PLACES["near"]
    if slipped and street(x.line) == street(y.line) != "" and _exchanged(x.postcode, y.postcode):
        return PLACES["postcode"]
    area = district(x.postcode)
    return PLACES["outcode" if area and area == district(y.postcode) else "different"]


@lru_cache(1 << 15)
def lines_alike(x: str, y: str) -> bool:
    """Whether two line keys (3-10-MILL) are one but for a slip: the same numbers, of which there is at
    least one, and words of which one begins the other (a blank was lost) or that differ by one letter."""
    numbers, _, word = x.rpartition("-")
    others, _, other = y.rpartition("-")
    if not numbers or numbers != others or min(len(word), len(other)) < 4:
        return False
    return word.startswith(other) or other.startswith(word) or OSA.distance(word, other) <= 1


def _exchanged(code: str, other: str) -> bool:
    """Whether two postcodes a slip apart have the same letters: two changed places."""
    return sorted(code) == sorted(other)


def street(line: str) -> str:
    """The word of a line key (3-10-MILL) that names the street; "" when it is too short to say much."""
    word = line.rpartition("-")[2]
    return word if len(word) > 3 and not word[0].isdigit() else ""


def _either(left: tuple[str, ...], right: tuple[str, ...]) -> Look:
    if not left or not right:
        return NOTHING
    for value in left:
        if value in right:
            return Look(0, value, value)
    return Look(1, left[0], right[0])


def _phone(a: Traits, b: Traits) -> Look:
    return _either(a.phones, b.phones)


def _email(a: Traits, b: Traits) -> Look:
    return _either(a.emails, b.emails)


# Numbers -----------------------------------------------------------------------------------------

_NAMED = ("nhs", "upn", "nino", "pnc", "cro")


def _nhs(a: Traits, b: Traits) -> Look:
    left = [n for n in a.numbers if n.domain == "nhs"]
    right = [n for n in b.numbers if n.domain == "nhs"]
    best = NOTHING
    for x in left:
        for y in right:
            if x.value == y.value:
                level = 0 if x.verified and y.verified else 1
            else:
                level = 2 if _slip(x.value, y.value) else 3
            surer = level == best.level and x.verified and y.verified
            if best.level < 0 or level < best.level or surer:
                best = Look(level, x, y)
    return best


def _number(domain: str) -> Callable[[Traits, Traits], Look]:
    def look(a: Traits, b: Traits) -> Look:
        left = [n for n in a.numbers if n.domain == domain]
        if not left:
            return NOTHING
        return _numbers(left, [n for n in b.numbers if n.domain == domain])

    return look


def _numbers(left: list[Number], right: list[Number]) -> Look:
    best = NOTHING
    for x in left:
        for y in right:
            if x.value == y.value:
                return Look(0, x, y)
            # A temporary UPN ends in a letter and gives way to another: no disagreement.
            if x.domain != "upn" or (x.value[-1].isdigit() and y.value[-1].isdigit()):
                best = Look(1, x, y)
    return best


def _others(a: Traits, b: Traits) -> Look:
    """National numbers without an aspect of their own."""
    best = NOTHING
    for x in a.numbers:
        if x.domain in _NAMED or "/" in x.domain:
            continue
        for y in b.numbers:
            if x.domain == y.domain:
                if x.value == y.value:
                    return Look(0, x, y)
                slip = len(x.value) == len(y.value) and _slip(x.value, y.value)
                if best.level < 0 or slip:
                    best = Look(1 if slip else 2, x, y)
    return best


def _local(a: Traits, b: Traits) -> Look:
    """Numbers that count only within their issuer; another number of his says nothing, since one
    person is often registered twice there (domain digest §1.1)."""
    for x in a.numbers:
        if "/" in x.domain and x in b.numbers:
            return Look(0, x, x)
    return NOTHING


_SAME_OR_NOT = (Level("same", "the same"), Level("different", "different"))
ASPECTS: tuple[Aspect, ...] = (
    Aspect("name", "Name", _name, _NAME_LEVELS, "matching digest §4.4; domain digest §9.2"),
    Aspect("born", "Birth date", _born, _BORN_LEVELS, "matching digest §4.4; domain digest §1.4"),
    Aspect("nhs", "NHS number", _nhs, (
        Level("verified", "the same, verified on both sides"),
        Level("same", "the same, not verified on both sides"),
        Level("slip", "different by one slip of the pen"),
        Level("different", "different"),
    ), "domain digest §1.5, §1.6 P9"),
    Aspect("upn", "Unique pupil number", _number("upn"), _SAME_OR_NOT, "domain digest §1.3"),
    Aspect("nino", "National Insurance number", _number("nino"), _SAME_OR_NOT, "domain digest §1.2 (f)"),
    Aspect("pnc", "Police National Computer id", _number("pnc"), _SAME_OR_NOT, "domain digest §1.2 (b)"),
    Aspect("cro", "Criminal Records Office number", _number("cro"), _SAME_OR_NOT, "domain digest §1.2 (b)"),
    Aspect("others", "Other national number", _others, (
        Level("same", "the same"), Level("slip", "different by one slip of the pen"),
        Level("different", "different"),
    ), "domain digest §1.1"),
    Aspect("local", "Number of one issuer", _local, (Level("same", "the same at the same issuer"),),
           "domain digest §1.5"),
    Aspect("middle", "Middle name", _middle, _MIDDLE_LEVELS, "matching digest §4.4"),
    Aspect("sex", "Sex", _sex, _SAME_OR_NOT, "domain digest §1.4"),
    Aspect("address", "Address", _address, _PLACE_LEVELS, "matching digest §4.4"),
    Aspect("phone", "Telephone", _phone, (
        Level("same", "the same", counted="phone"), Level("different", "different"),
    ), "matching digest §4.4"),
    Aspect("email", "E-mail", _email, (
        Level("same", "the same", counted="email"), Level("different", "different"),
    ), "matching digest §4.4"),
)  # fmt: skip
PLACE = {aspect.id: place for place, aspect in enumerate(ASPECTS)}
# What people share because they live together, and what belongs to one person alone.
HOUSEHOLD = tuple(PLACE[i] for i in ("address", "phone", "email"))
PERSONAL = tuple(PLACE[i] for i in ("nhs", "upn", "nino", "pnc", "cro", "others", "local"))
_LOOKS = tuple(aspect.look for aspect in ASPECTS)


def looks(a: Traits, b: Traits) -> tuple[Look, ...]:
    """What every aspect finds."""
    return tuple([look(a, b) for look in _LOOKS])


def levels(a: Traits, b: Traits) -> tuple[int, ...]:
    """The level of every aspect, in the order of `ASPECTS`, -1 where either side says nothing: what
    a trainer counts."""
    return tuple([look(a, b).level for look in _LOOKS])


def personal_agrees(found: Iterable[Look]) -> bool:
    """Whether a number that belongs to one person alone agrees."""
    seen = tuple(found)
    return any(seen[p].level == 0 or (p == PLACE["nhs"] and seen[p].level == 1) for p in PERSONAL)
