"""`people link --shadow MODEL`: what another model would make of the people who are here, and nothing else.

Every active record is put to the persons anew, as a linkage would, with the other model and its own count
of frequencies; what people decided holds. The report says who would part and who would join, by record
ids, and holds no value of any record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pix.bulk.clusters import Rules, clustered, frequencies
from pix.bulk.engine import workplace
from pix.bulk.link import Told, Wanted
from pix.bulk.pairs import paired
from pix.model import Model
from pix.people import People

LISTED = 200


@dataclass(slots=True)
class Shadow:
    """What would differ. `parting`: persons whose records would be several; `joining`: those who would be
    one with others; each with at most `LISTED` examples, the largest first."""

    model: str
    beside: str
    records: int = 0
    persons: int = 0
    would_be: int = 0
    unchanged: int = 0
    parting: int = 0
    joining: int = 0
    pairs_parted: int = 0
    pairs_joined: int = 0
    questions: int = 0
    parts: list[dict[str, Any]] = field(default_factory=list)
    joins: list[dict[str, Any]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As the report's JSON."""
        return asdict(self)


async def shadow(people: People, other: Model, wanted: Wanted, told: Told) -> Shadow:
    """Compare the persons that are with those that `other` would make."""
    ids: list[str] = []
    said: list[bytes] = []
    present: list[str] = []
    async for id_, person, traits in _records(people):
        ids.append(id_)
        present.append(person)
        said.append(traits)
    place = {id_: n for n, id_ in enumerate(ids)}
    with workplace(wanted.folder, wanted.memory, wanted.threads) as bench:
        found = paired(bench, said, other, other.people, told)
    sure = ((p.left, p.right) for p in found.pairs if p.plain >= other.thresholds.join)
    rules = Rules(
        other,
        frequencies(said, sure, other, "shadow"),
        wanted.now.date(),
        await _decided(people, "exclusions", place),
        await _decided(people, "inclusions", place),
    )
    made = [""] * len(ids)
    report = Shadow(other.version, people.model.version, len(ids))
    for group in clustered(said, [(p.left, p.right) for p in found.pairs], rules):
        report.questions += len(group.asked)
        for number, members in group.members.items():
            for member in members:
                made[member] = str(number)
    _compare(report, ids, present, made)
    return report


async def _records(people: People) -> AsyncIterator[tuple[str, str, bytes]]:
    """Every active record in the order in which it came."""
    cursor = people.records.raw.find(
        {"state": "active"}, {"own": 1, "person": 1}, sort=[("at", 1), ("_id", 1)]
    )
    async for row in cursor:
        yield row["_id"], row["person"], people.says(bytes(row["own"]))


async def _decided(people: People, name: str, place: Mapping[str, int]) -> dict[int, set[int]]:
    made: dict[int, set[int]] = defaultdict(set)
    for edge in await getattr(people, name).many({}, {"a": 1, "b": 1}, max_ms=600_000):
        if edge["a"] in place and edge["b"] in place:
            a, b = place[edge["a"]], place[edge["b"]]
            made[a].add(b)
            made[b].add(a)
    return dict(made)


def _compare(report: Shadow, ids: list[str], present: list[str], made: list[str]) -> None:
    """PURE. Persons are compared by the cells in which old and new ones meet."""
    old: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    new: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for id_, person, other in zip(ids, present, made, strict=True):
        old[person][other].append(id_)
        new[other][person].append(id_)
    report.persons, report.would_be = len(old), len(new)
    report.unchanged = sum(
        len(cells) == 1 and len(new[next(iter(cells))]) == 1 for cells in old.values()
    )
    parting = [(person, cells) for person, cells in old.items() if len(cells) > 1]
    joining = [cells for cells in new.values() if len(cells) > 1]
    report.parting, report.joining = len(parting), len(joining)
    report.pairs_parted = sum(_across(cells) for _, cells in parting)
    report.pairs_joined = sum(map(_across, joining))
    parting.sort(key=lambda row: (-_across(row[1]), row[0]))
    joining.sort(key=lambda cells: (-_across(cells), sorted(cells)))
    report.parts = [
        {"person": person, "parts": sorted(sorted(part) for part in cells.values())}
        for person, cells in parting[:LISTED]
    ]
    report.joins = [
        {"persons": {person: sorted(records) for person, records in sorted(cells.items())}}
        for cells in joining[:LISTED]
    ]


def _across(cells: Mapping[str, list[str]]) -> int:
    """How many pairs lie in different cells."""
    sizes = [len(part) for part in cells.values()]
    whole = sum(sizes)
    return (whole * whole - sum(n * n for n in sizes)) // 2
