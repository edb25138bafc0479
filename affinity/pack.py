"""An affinity pack: what a community has agreed, as CSV files and a loader.

A pack is a folder. `NS/` in its files stands for the pack's namespace, so that the whole community
moves by one line. Adding a row is a change to a CSV file and never to code.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from stdnum.gb import nhs as _nhs

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
Tier = Literal["A", "B", "C", "X"]


class PackError(Exception):
    """The pack cannot be loaded; the words say which file and line, and what to do."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One identifier domain. `prefix` is set for a family such as `NS/Id/social-care-id/<LAcode>`:
    every system below it is a domain of its own with these properties."""

    id: str
    name: str
    system: str
    regex: str
    check: str
    assigner: str
    scope: str
    unique: str
    tier: Tier
    match_use: str
    prefix: bool = False

    @property
    def of_person(self) -> bool:
        """False for case, event, matter, document and place numbers, which never identify a person."""
        return not re.match(r"(EVENT|CASE|FILE|MATTER|PLACE|ORGANISATION|DOCUMENT)\b", self.unique)

    def normal(self, value: str) -> str:
        """The stored form of a value: no blanks at the ends, and NHS numbers as ten bare digits."""
        value = value.strip()
        if self.check == "mod11":
            return re.sub(r"[\s\-]", "", value)
        return value

    def valid(self, value: str) -> bool:
        """Whether a normalised value has the domain's syntax and check digit."""
        if self.regex != "opaque" and not re.fullmatch(self.regex, value):
            return False
        return _nhs.is_valid(value) if self.check == "mod11" else True

    def placeholder(self, value: str) -> bool:
        """Whether a value stands for "not known": kept as sent, never matched on. Every
        repeated-digit NHS number passes its own check digit, so they are listed here."""
        if self.check == "mod11":
            return len(set(value)) <= 1
        return self.id == "cro" and value.upper() == "000000/00Z"


@dataclass(frozen=True, slots=True)
class ValueSet:
    """The codes a metadata element may take in this community; displays are never checked."""

    name: str
    url: str
    title: str
    codes: Mapping[tuple[str, str], str]

    def contains(self, system: str | None, code: str | None) -> bool:
        """Whether (system, code) is a member."""
        return (system or "", code or "") in self.codes


@dataclass(frozen=True, slots=True)
class DocumentType:
    """One row of the document type register."""

    code: str
    display: str
    case: str
    access_class: str
    confidentiality: str
    labels: tuple[str, ...]
    retention: str
    category: str
    format: str
    authors: tuple[str, ...]
    subject: str


@dataclass(frozen=True, slots=True)
class Organisation:
    """A body that takes part."""

    kind: str
    name: str
    code: str
    status: str


@dataclass(frozen=True, slots=True)
class Pack:
    """Everything a community has agreed, loaded and cross-checked."""

    id: str
    title: str
    namespace: str
    language: str
    domains: tuple[Domain, ...]
    document_types: Mapping[str, DocumentType]
    organisations: Mapping[str, Organisation]
    roles: Mapping[str, str]
    purposes: Mapping[str, str]
    mime_types: frozenset[str]
    value_sets: Mapping[str, ValueSet]
    constants: Mapping[str, Any] = field(default_factory=dict)
    _by_system: Mapping[str, Domain] = field(default_factory=dict)

    def domain_of(self, system: str) -> Domain | None:
        """The domain that a system URI names, directly or as a member of a family; None: unknown."""
        found = self._by_system.get(system)
        if found is not None and not found.prefix:
            return found
        head, _, last = system.rpartition("/")
        family = self._by_system.get(head + "/")
        return family if family is not None and last else None

    def value_set(self, name: str) -> ValueSet:
        """A value set by metadata element: type, category, facility, setting, format, label, event,
        language."""
        return self.value_sets[name]


def load(name: str | Path) -> Pack:
    """The pack called `name` (a folder under affinity/) or at that path.

    Raises `PackError` when the pack is missing or not whole.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = Path(__file__).parent / str(name)
    if not (folder / "pack.json").is_file():
        known = sorted(p.parent.name for p in Path(__file__).parent.glob("*/pack.json"))
        raise PackError(
            f"No affinity pack at {name!s}. Known: {', '.join(known)}; or give a folder with a pack.json."
        )
    return _load(folder.resolve())


@lru_cache(maxsize=8)
def _load(folder: Path) -> Pack:
    constants = json.loads((folder / "pack.json").read_text())
    space = constants["namespace"]
    domains = tuple(_domains(folder, space))
    types = {r["code"]: _document_type(r) for r in _rows(folder, "document_types", space)}
    return Pack(
        id=constants["id"],
        title=constants["title"],
        namespace=space,
        language=constants["language"],
        domains=domains,
        document_types=types,
        organisations={
            r["ods_or_code"]: Organisation(r["kind"], r["name"], r["ods_or_code"], r["status"])
            for r in _rows(folder, "organisations", space)
        },
        roles={r["code"]: r["display"] for r in _rows(folder, "roles", space)},
        purposes={r["code"]: r["display"] for r in _rows(folder, "purposes", space)},
        mime_types=frozenset(constants["mime_types"]),
        value_sets={v.name: v for v in _value_sets(folder, space, constants)},
        constants=constants,
        _by_system={d.system: d for d in domains},
    )


def _rows(folder: Path, name: str, space: str) -> list[dict[str, str]]:
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise PackError(
            f"The pack lacks {path.name}; copy it from affinity/greater_manchester and edit it."
        )
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise PackError(
                f"{path.name} line {number}: the number of fields differs from the header's."
            )
    return [{k: _in(v, space) for k, v in row.items()} for row in rows]


def _in(value: str, space: str) -> str:
    return space + value[2:] if value.startswith("NS/") else value


def _domains(folder: Path, space: str) -> Iterable[Domain]:
    for row in _rows(folder, "identifier_domains", space):
        system, family = row["system"], False
        if (
            " + " in system
        ):  # "… + assigner ODS": the assigner tells values apart, the system is plain
            system = system.split(" + ")[0]
        if system.endswith(">"):
            system, family = system[: system.rindex("<")], True
        regex = "" if row["regex"].startswith("as ") else row["regex"]
        yield Domain(
            row["id"], row["name"], system, regex or "opaque", row["check"], row["assigner"],
            row["scope"], row["unique"], _tier(row["tier"]), row["match_use"], family,
        )  # fmt: skip


def _tier(text: str) -> Tier:
    if text not in ("A", "B", "C", "X"):
        raise PackError(f"identifier_domains.csv: tier {text!r} is none of A, B, C, X.")
    return text  # type: ignore[return-value]  # narrowed by the line above


def _document_type(row: Mapping[str, str]) -> DocumentType:
    def split(text: str) -> tuple[str, ...]:
        return tuple(t for t in text.split("|") if t)

    return DocumentType(
        row["code"], row["display"], row["case"], row["acl"], row["conf"], split(row["labels"]),
        row["ret"], row["classCode"], row["format"], split(row["authors"]), row["subject"],
    )  # fmt: skip


SNOMED = "http://snomed.info/sct"


def _value_sets(folder: Path, space: str, constants: Mapping[str, Any]) -> Iterable[ValueSet]:
    def made(name: str, title: str, codes: Mapping[tuple[str, str], str]) -> ValueSet:
        return ValueSet(name, f"{space}/ValueSet/{title.lower().replace(' ', '-')}", title, codes)

    def local(file: str, system: str, also: str = "") -> dict[tuple[str, str], str]:
        codes: dict[tuple[str, str], str] = {}
        for row in _rows(folder, file, space):
            codes[(system, row["code"])] = row["display"]
            if also and row[also]:
                codes[(SNOMED, row[also])] = row["display"]
        return codes

    yield made(
        "type",
        "Document type",
        local("document_types", f"{space}/CodeSystem/document-type", "snomed"),
    )
    yield made(
        "category",
        "Document class",
        local("categories", f"{space}/CodeSystem/document-class", "snomed_verified"),
    )
    yield made(
        "facility", "Facility type", local("facility_types", f"{space}/CodeSystem/facility-type")
    )
    yield made("setting", "Practice setting", local("practice_settings", SNOMED))
    yield made("event", "Event", local("events", f"{space}/CodeSystem/event"))
    formats = {(r["system"], r["code"]): r["use"] for r in _rows(folder, "formats", space)}
    yield made("format", "Format", formats)
    labels = {(r["system"], r["code"]): r["display"] for r in _rows(folder, "labels", space)}
    yield made("label", "Security label", labels)
    yield made("language", "Language", {("", code): code for code in constants["languages"]})
