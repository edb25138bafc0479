"""PURE. Names of a community, with frequencies, and the ways in which they are written differently.

The head of each list is in `data/names.csv`, most frequent first; a tail of plausible rarer names is
composed from the syllables in `data/tails.csv`, because how rare a name is matters to the matcher. The
nth name has the weight 1/(n + offset)^exponent: for British surnames that gives Smith about 1.2 % and a
few thousand names below, as published surname counts do (domain digest §9.1).
"""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random

DATA = Path(__file__).parent / "data"
_SLIPS = {
    "a": "esq", "b": "vnd", "c": "xvk", "d": "sfb", "e": "rwa", "f": "dgv", "g": "fhj", "h": "gjn", "i": "uoy",
    "j": "hkg", "k": "jlc", "l": "kit", "m": "nj", "n": "mbh", "o": "ipu", "p": "ob", "q": "wa", "r": "et",
    "s": "adz", "t": "ryf", "u": "yio", "v": "cbf", "w": "qe", "x": "zc", "y": "tui", "z": "xs",
}  # fmt: skip
# Sounds that are spelt in more than one way; one of them is exchanged at a time.
_SOUNDS = (
    ("ph", "f"), ("ck", "k"), ("ee", "ea"), ("ie", "y"), ("ll", "l"), ("tt", "t"), ("ss", "s"), ("nn", "n"),
    ("mm", "m"), ("rr", "r"), ("oo", "u"), ("ou", "u"), ("ai", "ay"), ("ei", "ie"), ("sch", "sh"), ("gh", "g"),
    ("q", "k"), ("z", "s"), ("y", "i"), ("ew", "ue"), ("er", "ar"), ("en", "an"), ("or", "er"),
)  # fmt: skip
_NO_ACCENTS = str.maketrans("łŁđĐøØß", "lLdDoOs")


def table(name: str) -> list[dict[str, str]]:
    """The rows of one of the population's CSV files."""
    with (DATA / f"{name}.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@dataclass(frozen=True, slots=True)
class Names:
    """One list with its frequencies."""

    names: tuple[str, ...]
    cumulative: tuple[float, ...]

    def pick(self, dice: Random) -> str:
        """One name, as often as it occurs."""
        return dice.choices(self.names, cum_weights=self.cumulative)[0]

    def share(self, name: str) -> float:
        """How much of the community bears it."""
        place = self.names.index(name)
        before = self.cumulative[place - 1] if place else 0.0
        return (self.cumulative[place] - before) / self.cumulative[-1]


@dataclass(frozen=True, slots=True)
class Community:
    """One row of communities.csv: `group` is what accuracy is reported by, `ethnic` the NHS code."""

    name: str
    group: str
    weight: float
    ethnic: str
    women: Names
    men: Names
    surnames: Names

    def given(self, sex: str) -> Names:
        """The given names of one sex."""
        return self.women if sex == "female" else self.men


@lru_cache(maxsize=1)
def communities() -> tuple[Community, ...]:
    """All communities, with their names."""
    lists = {row["list"]: _names(row) for row in table("names")}
    return tuple(
        Community(
            row["community"], row["group"], float(row["weight"]), row["ethnic"],
            lists[row["women_like"]], lists[row["men_like"]], lists[row["surnames_like"]],
        )
        for row in table("communities")
    )  # fmt: skip


@lru_cache(maxsize=1)
def _tails() -> dict[str, dict[str, str]]:
    return {row["list"]: row for row in table("tails")}


def _names(row: dict[str, str]) -> Names:
    made: dict[str, None] = dict.fromkeys(row["names"].split(";"))
    tail = _tails().get(row["list"])
    if tail:
        starts, middles, ends = (tail[part].split(";") for part in ("starts", "middles", "ends"))
        whole = len(made) + int(tail["count"])
        composed = [s + m + e for s in starts for m in middles for e in ends]
        Random(row["list"]).shuffle(composed)  # the same tail for every seed of a population
        for name in composed:
            if len(made) >= whole:
                break
            if not re.search(r"-[a-z]", name):
                made.setdefault(_capitals(" ".join(name.split())))
    offset, exponent = float(row["offset"]), float(row["exponent"])
    weights = (1 / (rank + offset) ** exponent for rank in range(1, len(made) + 1))
    return Names(tuple(made), tuple(accumulate(weights)))


def _capitals(name: str) -> str:
    """`adeOlu` as `Adeolu`; capitals stay after a blank, a hyphen, an apostrophe, Mc and Mac."""
    return re.sub(r"(?<=[a-zà-ž])(?<!Mc)(?<!Mac)[A-Z]", lambda m: m[0].lower(), name)


@lru_cache(maxsize=1)
def _spellings() -> dict[str, dict[str, tuple[str, ...]]]:
    """kind -> name -> the other names of its class. Nicknames lead from the whole name only."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in table("spellings"):
        names = row["names"].split(";")
        of = found.setdefault(row["kind"], {})
        for name in names[:1] if row["kind"] == "nickname" else names:
            of[name] = (*of.get(name, ()), *(n for n in names if n != name))
    return found


def other_spelling(name: str, kind: str, dice: Random) -> str:
    """Another name of the same class (transliteration, phonetic, nickname), or the name itself."""
    others = _spellings()[kind].get(name)
    return dice.choice(others) if others else name


def street_name(dice: Random) -> str:
    """What somebody is called on the street."""
    return dice.choice(_street_names())


@lru_cache(maxsize=1)
def _street_names() -> tuple[str, ...]:
    """All street names."""
    return tuple(
        name
        for row in table("spellings")
        if row["kind"] == "street"
        for name in row["names"].split(";")
    )


def sounded(name: str, dice: Random) -> str:
    """A spelling that sounds alike: by the classes, else by exchanging one spelling of a sound."""
    for kind in ("phonetic", "transliteration"):
        other = other_spelling(name, kind, dice)
        if other != name:
            return other
    low = name.lower()
    fitting = [(a, b) for a, b in _SOUNDS if a in low[1:]]
    if not fitting:
        return mistyped(name, dice)
    old, new = dice.choice(fitting)
    at = low.index(old, 1)
    return name[:at] + new + name[at + len(old) :]


def mistyped(name: str, dice: Random) -> str:
    """One slip of a typist: two letters swapped, one left out, doubled, or its neighbour's."""
    if len(name) < 3:
        return name
    at = dice.randrange(1, len(name) - 1)
    kind = dice.random()
    if kind < 0.3:
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    if kind < 0.55:
        return name[:at] + name[at + 1 :]
    if kind < 0.7:
        return name[:at] + name[at] + name[at:]
    near = _SLIPS.get(name[at].lower(), "e")
    return name[:at] + dice.choice(near) + name[at + 1 :]


def plain(name: str) -> str:
    """Without diacritics, as most systems keep it."""
    name = name.translate(_NO_ACCENTS)
    if name.isascii():
        return name
    parts = unicodedata.normalize("NFKD", name)
    return "".join(c for c in parts if not unicodedata.combining(c))


def prefixed(name: str, dice: Random) -> str:
    """O'Brien, Obrien, O Brien; McDonald, Mac Donald, Mcdonald (domain digest §9.2)."""
    if name.startswith("O'"):
        return dice.choice(
            ("O" + name[2:], "O " + name[2:], "O’" + name[2:], "O" + name[2:].lower())
        )
    if name.startswith("Mc"):
        return dice.choice(
            ("Mac" + name[2:], "Mc " + name[2:], "Mac " + name[2:], "Mc" + name[2:].lower())
        )
    return dice.choice(
        (name.replace("-", " "), name.replace("-", ""), re.sub(r"^(Al|El)-", "", name))
    )


def is_prefixed(name: str) -> bool:
    """Whether a surname has an apostrophe or a particle that systems write differently."""
    return name.startswith(("O'", "Mc", "Mac", "Al-", "El-", "D'"))


def gendered(surname: str, sex: str, community: str) -> str:
    """The form of a Slavic surname that a woman bears: Kowalska, Nováková."""
    if sex != "female":
        return surname
    if community == "Polish":
        for masculine, feminine in (("ski", "ska"), ("cki", "cka"), ("dzki", "dzka")):
            if surname.endswith(masculine):
                return surname[: -len(masculine)] + feminine
        return surname
    if community == "Czech and Slovak":
        if surname.endswith(("ý", "y")):
            return surname[:-1] + "á"
        if surname.endswith(("ek", "ec")):
            return surname[:-2] + surname[-1] + "ová"
        return surname.rstrip("aá") + "ová"
    return surname
