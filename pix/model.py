"""The matching model: how much every way of agreeing or differing is worth. PURE.

A model is one JSON file under `pix/models/`, versioned and readable by a person: for every level of
every aspect, how often it is seen between two records of one person (m) and between records of two
people (u); the thresholds; how common names are. Points are log2(m/u) bits (Fellegi and Sunter);
names add or lose bits by their own frequency, addresses and telephones by how many people share them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from math import log2
from pathlib import Path
from typing import Any

from pix.likening import ASPECTS
from pix.traits import Traits

LATEST = "2026-11"


# The vetoes that a model may name; one that names none has all. A set of people without households
# or children may do without some, never without the seal and the NHS number.
VETOES = (
    "sealed", "nhs", "number", "twin", "alike", "generations", "siblings", "child", "surname",
    "unnamed", "number_alone",
)  # fmt: skip
NEEDED = ("sealed", "nhs")


class ModelError(Exception):
    """A model file cannot be used; the words list everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Frequencies:
    """How common the values of one population are, counted over people and never over records (what
    chatty agencies repeat would look common). `given` and `surname` are shares; the others are how
    many people share a value. Only values above the floor are held; `version` goes with decisions."""

    version: str
    people: int
    given: Mapping[str, float] = field(default_factory=dict)
    surname: Mapping[str, float] = field(default_factory=dict)
    shared: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def counted(
        cls, version: str, people: int, counts: Mapping[str, int], model: Model
    ) -> Frequencies:
        """From how many people have each of the values that `tallied` names. What is no commoner than
        the model takes for granted is left out, so that this stays small whatever the population."""
        held: dict[str, dict[str, float]] = {"given": {}, "surname": {}}
        shared: dict[str, int] = {}
        for key, n in counts.items():
            kind, _, value = key.partition("|")
            if kind in held:
                if n / max(people, 1) > model.floor:
                    held[kind][value] = n / people
            elif n > max(1, model.typical[KINDS[kind]]):  # what one alone has is shared by nobody
                shared[key] = n
        return cls(version, people, held["given"], held["surname"], shared)

    def blended(self, model: Frequencies) -> Frequencies:
        """These, steadied by the model's while the population is small: a store of ten people must
        not hold every name for common."""
        weight = self.people / (self.people + model.people / 4)

        def mixed(own: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, float]:
            return {
                value: weight * own.get(value, 0) + (1 - weight) * theirs.get(value, 0)
                for value in {*own, *theirs}
            }

        return Frequencies(
            self.version,
            max(self.people, model.people),
            mixed(self.given, model.given),
            mixed(self.surname, model.surname),
            self.shared,
        )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """In bits. `join`: from here a record joins. `review`: from here a person looks. `fracture`: below
    it a record leaves. `margin`: by so much the best must lead. `bridge`: two persons become one
    from here. `household`, `strangers`: what address and telecom may give at most, in all and when
    neither given name nor personal number agrees."""

    join: float
    review: float
    fracture: float
    margin: float
    bridge: float
    household: float
    strangers: float


@dataclass(frozen=True, slots=True)
class Model:
    """Everything a comparison needs. `points[aspect][level]` are log2(m/u), precomputed; for levels
    that count who shares a value they are log2(m) alone."""

    version: str
    people: int
    thresholds: Thresholds
    floor: float
    mean: Mapping[str, float]
    typical: Mapping[str, float]
    m: Mapping[str, Mapping[str, float]]
    u: Mapping[str, Mapping[str, float]]
    frequencies: Frequencies
    vetoes: frozenset[str]
    points: tuple[tuple[float, ...], ...] = ()

    def prior(self, frequencies: Frequencies) -> float:
        """Bits against any two records being one person before anything is compared."""
        return -log2(max(frequencies.people, self.people))


# The first letter of a shared value's key, and which of the model's typical counts it goes by.
KINDS = {"u": "dwelling", "p": "postcode", "t": "phone", "e": "email"}


def tallied(members: Iterable[Traits]) -> frozenset[str]:
    """What one person counts for in the frequencies, all records of that person together: a chatty
    agency makes no name common (matching digest §6.15)."""
    found: set[str] = set()
    for t in members:
        for name in t.names:
            found.update(f"given|{part}" for part in (name.given, *name.middle) if len(part) > 1)
            found.update(f"surname|{part}" for part in name.family)
        for address in t.addresses:
            found.update(f"u|{a}" for a in (address.uprn,) if a)
            found.update(f"p|{a}" for a in (address.postcode,) if a)
        found.update(f"t|{phone}" for phone in t.phones)
        found.update(f"e|{email}" for email in t.emails)
    return frozenset(found)


@lru_cache(4)
def load(version: str = LATEST) -> Model:
    """A model that is shipped, by version, or any other by path. Raises `ModelError`.

    Every decision names the version that it was made by, so no file may call itself by the version of
    a shipped model and say something else.
    """
    path = Path(version)
    if path.suffix == ".json":
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    else:
        text = _shipped(version)
    if not text:
        raise ModelError(
            f"No model {version}. Known: {', '.join(shipped())}; or give the path of a file."
        )
    try:
        said = json.loads(text)
    except ValueError as fault:
        raise ModelError(f"{version} is no JSON: {fault}.") from fault
    if not isinstance(said, dict):
        raise ModelError(f"{version} holds no model: it must be one JSON object.")
    model = read(said)
    if model.version in shipped() and said != json.loads(_shipped(model.version)):
        raise ModelError(
            f"{version} calls itself {model.version}, which comes with the product and says something"
            " else: give it a version of its own."
        )
    return model


def shipped() -> tuple[str, ...]:
    """The versions that come with the product, the oldest first."""
    folder = files("pix").joinpath("models")
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".json")))


def _shipped(version: str) -> str:
    file = files("pix").joinpath("models", f"{version}.json")
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def read(said: Mapping[str, Any]) -> Model:
    """A model from its JSON. Raises `ModelError` with every fault at once."""
    faults = list(_faults(said))
    if faults:
        raise ModelError("The model cannot be used:\n" + "\n".join(f"- {f}" for f in faults))
    m = {a: {k: row["m"] for k, row in rows.items()} for a, rows in said["levels"].items()}
    u = {a: {k: row["u"] for k, row in rows.items()} for a, rows in said["levels"].items()}
    return Model(
        version=said["version"],
        people=said["people"],
        thresholds=Thresholds(**said["thresholds"]),
        floor=said["floor"],
        mean=said["mean"],
        typical=said["typical"],
        m=m,
        u=u,
        frequencies=Frequencies(
            said["version"], said["people"], said["common"]["given"], said["common"]["surname"]
        ),
        vetoes=frozenset(said.get("vetoes", VETOES)),
        points=tuple(
            tuple(
                log2(m[a.id][v.id]) if v.counted else log2(m[a.id][v.id] / u[a.id][v.id])
                for v in a.levels
            )
            for a in ASPECTS
        ),
    )


_NUMBERS = ("people", "floor")
_MEANS = ("given", "surname")


def _faults(said: Mapping[str, Any]) -> Iterator[str]:
    for key in ("version", *_NUMBERS, "thresholds", "mean", "typical", "levels", "common"):
        if key not in said:
            yield f"{key} is missing."
    for key in _NUMBERS:
        if key in said and not _positive(said[key]):
            yield f"{key} must be a number above 0."
    yield from _thresholds(said.get("thresholds", {}))
    named = said.get("vetoes", VETOES)
    for extra in sorted(set(named) - set(VETOES)):
        yield f"vetoes: {extra} is none; known are {', '.join(VETOES)}."
    for missing in sorted(set(NEEDED) - set(named)):
        yield f"vetoes: no model may do without {missing}."
    counted = sorted({v.counted for a in ASPECTS for v in a.levels if v.counted})
    for group, keys in (("mean", _MEANS), ("typical", counted)):
        for key in keys:
            if group in said and not _positive(said[group].get(key)):
                yield f"{group}.{key} must be a number above 0."
    for key in _MEANS:
        if "common" in said and not isinstance(said["common"].get(key), dict):
            yield f"common.{key} must hold names and their shares."
    if "levels" in said:
        yield from _levels(said["levels"])


def _thresholds(said: Mapping[str, Any]) -> Iterator[str]:
    names = tuple(Thresholds.__dataclass_fields__)
    missing = [n for n in names if not isinstance(said.get(n), int | float)]
    if missing:
        yield f"thresholds must have numbers for {', '.join(missing)}."
        return
    for extra in sorted(set(said) - set(names)):
        yield f"thresholds.{extra} is none: known are {', '.join(names)}."
    if not said["review"] < said["join"]:
        yield "thresholds.review must lie below join."
    if not said["fracture"] < said["join"]:
        yield "thresholds.fracture must lie below join, or records would join and leave by turns."


def _levels(said: Mapping[str, Any]) -> Iterator[str]:
    for aspect in ASPECTS:
        rows = said.get(aspect.id)
        if not isinstance(rows, dict):
            yield f"levels.{aspect.id} is missing."
            continue
        for level in aspect.levels:
            row = rows.get(level.id, {})
            for part in ("m", "u"):
                if not _positive(row.get(part)) or row[part] > 1:
                    yield f"levels.{aspect.id}.{level.id}.{part} must lie between 0 and 1."
        for extra in sorted(set(rows) - {v.id for v in aspect.levels}):
            yield f"levels.{aspect.id}.{extra} is no level."
    for extra in sorted(set(said) - {a.id for a in ASPECTS}):
        yield f"levels.{extra} is nothing that is compared."


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
