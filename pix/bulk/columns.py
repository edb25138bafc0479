"""Traits as columns, for comparing in SQL what likening.py compares in Python. PURE.

Every column is text or a list of texts, and every way of agreeing comes down to "is the same" or "have
something in common" (levels.py), which every SQL engine can do fast. What is *alike* without being the
same (nicknames, slips of the pen, sounds) is worked out here once per pair of words, by the very
functions that the online path uses, and laid down as further lists: a record whose given name is MOHAMED
has MOHAMMED in `given_near` when the other records have a MOHAMMED.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pix.likening import called, street
from pix.names import GROUPS, Likeness, likeness, surname_likeness
from pix.traits import Address, Name, Traits, district

# Every column and whether it holds one text or a list of them.
ONE = ("born", "md_sorted", "year_sorted", "nhs_first", "nhs_sorted", "sex")
MANY = (
    "given", "given_near", "given_long", "given_sound", "initials", "letters", "cross_near",
    "family_whole", "family_sorted", "family_one", "family_one_near", "family", "family_near",
    "family_sound", "others_of_name", "swap_near", "tokens", "tokens_near", "middle", "middle_initials",
    "middle_letters", "middle_near", "nhs", "nhs_verified", "upn", "upn_fixed", "nino", "pnc", "cro",
    "others", "others_domains", "others_slips", "local", "uprns", "homes", "bare_homes", "postcodes",
    "post_slips", "line_words", "line_begins", "line_slips", "streets", "bare_streets", "outcodes",
    "phones", "emails",
)  # fmt: skip
# Small numbers: 1 where there is no name, no given name, or a name without surname; and how many words
# the shortest name has.
FLAGS = ("nameless", "no_given", "no_family", "least_tokens")
Row = dict[str, object]


@dataclass(slots=True)
class Alike:
    """Which words are alike, among those that were asked about: as given names (`near`, `sound`) and as
    parts of a surname (`family_near`, `family_sound`). The same word is near itself."""

    near: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    sound: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    family_near: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    family_sound: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def ask(self, pairs: Iterable[tuple[str, str]]) -> Alike:
        """Work it out for these pairs of words."""
        for a, b in pairs:
            self._note(likeness(a, b), a, b, self.near, self.sound)
            self._note(surname_likeness(a, b), a, b, self.family_near, self.family_sound)
        return self

    @staticmethod
    def _note(
        found: Likeness, a: str, b: str, near: dict[str, set[str]], sound: dict[str, set[str]]
    ) -> None:
        if found is Likeness.OTHER:
            return
        kept = near if found >= Likeness.NEAR else sound
        kept[a].add(b)
        kept[b].add(a)


_NICKNAMES: dict[str, list[str]] = defaultdict(list)
for _name, _groups in GROUPS.items():
    for _group in _groups:
        _NICKNAMES[_group].append(_name)


def words(traits: Traits) -> list[str]:
    """Every word of a record's names that can be alike another."""
    found = (w for n in traits.names for w in (n.given, *n.middle, *n.family) if len(w) > 1)
    second = (w for n in traits.names for w in called(n))
    return list(dict.fromkeys((*found, *_joined(traits.names), *second)))


def plain(traits: Traits) -> Row:
    """The columns that need no other record."""
    names, numbers = traits.names, traits.numbers
    given = _once(n.given for n in names if n.given)
    middle = _once(m for n in names for m in n.middle)
    family = _once(f for n in names for f in n.family)
    born = traits.born[0] if traits.born else ""
    by: dict[str, list[str]] = defaultdict(list)
    for number in numbers:
        by[number.domain].append(number.value)
    national = [n for n in numbers if "/" not in n.domain and n.domain not in _NAMED]
    homes = [(f"{a.postcode}|{a.line}", a.uprn) for a in traits.addresses if a.line and a.postcode]
    postcodes = _once(a.postcode for a in traits.addresses if a.postcode)
    # Line keys are numbers and a word (3-10-MILL); `likening.lines_alike` says when two are one home.
    keyed = (a.line.rpartition("-") for a in traits.addresses if a.line and a.postcode)
    lines = list(dict.fromkeys((n, word) for n, _, word in keyed if n and len(word) > 3))
    streets = [(s, a.uprn) for a in traits.addresses if a.postcode for s in _streets(a)]
    return {
        "born": born,
        "md_sorted": "".join(sorted(born[5:])) if len(born) == 10 else "",
        "year_sorted": "".join(sorted(born[:4])),
        "nhs_first": by["nhs"][0] if by["nhs"] else "",
        "nhs_sorted": "".join(sorted(by["nhs"][0])) if by["nhs"] else "",
        "sex": traits.sex,
        "given": given,
        "given_long": [g for g in given if len(g) > 1],
        "initials": [g for g in given if len(g) == 1],
        "letters": _once(g[0] for g in given),
        "family_whole": _once("".join(n.family) for n in names if n.family),
        "family_sorted": _once(" ".join(sorted(set(n.family))) for n in names if len(n.family) > 1),
        "family_one": _once(
            n.family[0] for n in names if len(n.family) == 1 and len(n.family[0]) > 1
        ),
        "family": _once(f for f in family if len(f) > 1),
        "others_of_name": _once(w for w in (*given, *middle) if len(w) > 1),
        "tokens": _tokens(traits),
        "middle": [m for m in middle if len(m) > 1],
        "middle_initials": [m for m in middle if len(m) == 1],
        "middle_letters": _once(m[0] for m in middle),
        "nhs": by["nhs"],
        "nhs_verified": [n.value for n in numbers if n.domain == "nhs" and n.verified],
        "upn": by["upn"],
        "upn_fixed": [v for v in by["upn"] if v[-1].isdigit()],
        "nino": by["nino"],
        "pnc": by["pnc"],
        "cro": by["cro"],
        "others": [f"{n.domain}|{n.value}" for n in national],
        "others_domains": _once(n.domain for n in national),
        "others_slips": _once(s for n in national for s in _slips(n.domain, n.value)),
        "local": [f"{n.domain}|{n.value}" for n in numbers if "/" in n.domain],
        "uprns": _once(a.uprn for a in traits.addresses if a.uprn),
        "homes": _once(h for h, _ in homes),
        "bare_homes": _once(h for h, uprn in homes if not uprn),
        "postcodes": postcodes,
        "post_slips": _once(s for p in postcodes for s in _slips("", p)),
        "line_words": _once(f"{n}-{w}" for n, w in lines),
        "line_begins": _once(f"{n}-{w[:end]}" for n, w in lines for end in range(4, len(w) + 1)),
        "line_slips": _once(
            f"{n}-{w[:i]}{w[i + 1 :]}" for n, w in lines for i in range(len(w) + 1)
        ),
        "streets": _once(s for s, _ in streets),
        "bare_streets": _once(s for s, uprn in streets if not uprn),
        "outcodes": _once(d for p in postcodes if (d := district(p))),
        "phones": list(traits.phones),
        "emails": list(traits.emails),
        "nameless": int(not names),
        "no_given": int(not given),
        "no_family": int(any(not n.family for n in names)),
        "least_tokens": min((_length(n) for n in names), default=0),
    }


def near(traits: Traits, alike: Alike) -> Row:
    """The columns that hold what is alike."""
    names = traits.names
    given = [n.given for n in names if n.given]
    crossing = [m for n in names if len(n.given) > 1 for m in called(n)]
    parts = [f for n in names for f in n.family if len(f) > 1]
    ones = [n.family[0] for n in names if len(n.family) == 1 and len(n.family[0]) > 1]
    middle = [m for n in names for m in n.middle if len(m) > 1]
    return {
        "given_near": _near((*given, *_joined(names)), alike),
        "swap_near": _near(given, alike),
        "given_sound": _once(s for g in given for s in alike.sound.get(g, ())),
        "cross_near": _near(crossing, alike),
        "family_one_near": _family_near(ones, alike),
        "family_near": _family_near(parts, alike),
        "family_sound": _once(s for p in parts for s in alike.family_sound.get(p, ())),
        "tokens_near": _near(_tokens(traits), alike),
        "middle_near": _once(
            (*_near(middle, alike), *(s for m in middle for s in alike.sound.get(m, ())))
        ),
    }


def row(traits: Traits, alike: Alike) -> Row:
    """Every column of one record."""
    return plain(traits) | near(traits, alike)


def table(traits: Sequence[Traits]) -> Iterator[Row]:
    """Every column of a few records among themselves: all words are laid beside all others."""
    said = sorted({w for t in traits for w in words(t)})
    alike = Alike().ask((a, b) for i, a in enumerate(said) for b in said[i + 1 :])
    return (row(t, alike) for t in traits)


_MOST_SLIPS = 24  # letters of a number; what is longer is no number that people write down
_NAMED = frozenset({"nhs", "upn", "nino", "pnc", "cro"})


def _once(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))


def _near(found: Iterable[str], alike: Alike) -> list[str]:
    made: dict[str, None] = {}
    for word in found:
        made[word] = None
        made.update(dict.fromkeys(alike.near.get(word, ())))
        for group in GROUPS.get(word, ()):
            made.update(dict.fromkeys(_NICKNAMES[group]))
    return list(made)


def _family_near(found: Iterable[str], alike: Alike) -> list[str]:
    return _once(w for p in found for w in (p, *alike.family_near.get(p, ())))


def _slips(domain: str, value: str) -> Iterator[str]:
    """What a number shares with every number that is one slip of the pen away from it: itself with one
    place open, or with two places open whose letters are exchanged."""
    value = value[:_MOST_SLIPS]
    for i, letter in enumerate(value):
        open_ = f"{domain}|{len(value)}|{value[:i]}_"
        yield open_ + value[i + 1 :]
        for j in range(i + 1, len(value)):
            if value[j] != letter:
                both = "".join(sorted((letter, value[j])))
                yield f"{open_}{value[i + 1 : j]}_{value[j + 1 :]}|{both}"


def _streets(address: Address) -> Iterator[str]:
    """A street with its postcode, two letters of it open: the same for a postcode in which these two
    were exchanged."""
    if name := street(address.line):
        for slip in _slips("", address.postcode):
            if slip.count("|") == 3:
                yield f"{name}{slip}"


def _length(name: Name) -> int:
    return sum(len(w) > 1 for w in (name.given, *name.middle, *name.family))


def _tokens(traits: Traits) -> list[str]:
    return _once(w for n in traits.names for w in (n.given, *n.middle, *n.family) if len(w) > 1)


def _joined(names: Sequence[Name]) -> Iterator[str]:
    """XIAO LING is XIAOLING."""
    return (n.given + n.middle[0] for n in names if n.given and n.middle)
