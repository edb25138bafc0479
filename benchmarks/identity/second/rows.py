"""PURE. The tables under `data/`, read once: names, spellings, streets, households and offices are rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random

DATA = Path(__file__).parent / "data"


@cache
def table(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of `data/<name>.csv`, keyed by its first line."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))


def parted(text: str) -> tuple[str, ...]:
    """A cell with several values."""
    return tuple(text.split(";"))


@cache
def _weights(count: int, slope: float) -> tuple[float, ...]:
    return tuple(accumulate((rank + 3) ** -slope for rank in range(count)))


def common_first(of: Sequence[str], dice: Random, slope: float = 0.8) -> str:
    """One of a list whose commonest come first."""
    return dice.choices(of, cum_weights=_weights(len(of), slope))[0]


@cache
def spellings() -> Mapping[str, tuple[str, ...]]:
    """A name to the other ways in which it is written, in either direction."""
    found: dict[str, list[str]] = {}
    for row in table("spellings"):
        forms = tuple(dict.fromkeys(parted(row["forms"])))
        for form in forms:
            others = found.setdefault(form, [])
            others += [other for other in forms if other != form and other not in others]
    return {name: tuple(others) for name, others in found.items()}


@cache
def short_names() -> Mapping[str, tuple[str, ...]]:
    """A given name to what its bearer is called."""
    return {row["name"]: parted(row["called"]) for row in table("short_names")}
