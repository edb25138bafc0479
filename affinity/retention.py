"""How long documents are kept, as a community agreed it: one row per retention class. PURE.

`since` and `least_since` name the day a period begins:

    birth     the subject's birth           death   the subject's death
    end       the end of the service that the document is about, else the day it was made
    last      the latest such end among all documents of that person in the same class
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Clock = Literal["birth", "death", "end", "last"]
CLOCKS: tuple[Clock, ...] = ("birth", "death", "end", "last")
AGED_17 = "aged-17-at-end"


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """Keep for `years` from `since`, and at least `least_years` from `least_since` where that ends
    later. `longer_years` take the place of `years` when `longer_when` holds: the person has documents
    of that other class, or was 17 at the end. `action` is what may follow: `destroy`, or `review` where
    somebody must first decide whether it is kept on."""

    code: str
    title: str
    years: int
    since: Clock
    least_years: int
    least_since: Clock | None
    longer_when: str
    longer_years: int
    action: str
    rule: str
    mark: str


def read(rows: Iterable[Mapping[str, str]]) -> dict[str, RetentionClass]:
    """The rows of `retention_classes.csv` by code. Raises `ValueError`, in words that name the row."""
    made: dict[str, RetentionClass] = {}
    for number, row in enumerate(rows, start=2):
        place = f"retention_classes.csv line {number}"
        least, longer = row["least_years"], row["longer_years"]
        for name in ("years", "least_years", "longer_years"):
            if row[name] and not row[name].isdecimal():
                raise ValueError(f"{place}: {name} is a number of years, not {row[name]!r}")
        if not row["years"]:
            raise ValueError(f"{place}: say for how many years")
        if row["action"] not in ("destroy", "review"):
            raise ValueError(f"{place}: action is destroy or review, not {row['action']!r}")
        if bool(longer) != bool(row["longer_when"]):
            raise ValueError(f"{place}: longer_when and longer_years go together")
        since = _clock(row["since"], place)
        least_since = _clock(row["least_since"], place) if least else None
        made[row["code"]] = RetentionClass(
            row["code"], row["title"], int(row["years"]), since, int(least or 0), least_since,
            row["longer_when"], int(longer or 0), row["action"], row["rule"], row["mark"],
        )  # fmt: skip
    for one in made.values():
        if one.longer_when and one.longer_when != AGED_17 and one.longer_when not in made:
            raise ValueError(
                f"retention_classes.csv: {one.code} is longer when there is {one.longer_when}, which is"
                f" no class; name one, or {AGED_17}"
            )
    return made


def _clock(said: str, place: str) -> Clock:
    for clock in CLOCKS:
        if said == clock:
            return clock
    raise ValueError(f"{place}: a period begins at {', '.join(CLOCKS)}, not {said!r}")
