"""An affinity pack: what a community has agreed, as CSV files and a loader.

A pack is a folder. `NS/` in its files stands for the pack's namespace, so that the whole community
moves by one line. Adding a row is a change to a CSV file and never to code.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from affinity import choices as choices_
from affinity import domains as domains_
from affinity import retention as retention_
from affinity import sources as sources_
from affinity import visibility
from affinity.choices import Choice
from affinity.domains import Domain, Register, Tier
from affinity.retention import RetentionClass
from affinity.sources import Source
from affinity.visibility import Opening

__all__ = ["NHS_NUMBER", "Domain", "Pack", "PackError", "Tier", "ValueSet", "load"]

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"


class PackError(Exception):
    """The pack cannot be loaded; the words say which file and line, and what to do."""


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
    document_types: Mapping[str, DocumentType]
    organisations: Mapping[str, Organisation]
    roles: Mapping[str, str]
    purposes: Mapping[str, str]
    mime_types: frozenset[str]
    value_sets: Mapping[str, ValueSet]
    register: Register
    openings: tuple[Opening, ...] = ()
    sources: tuple[Source, ...] = ()
    formats: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    foreign_types: Mapping[tuple[str, str], str] = field(default_factory=dict)
    retention: Mapping[str, RetentionClass] = field(default_factory=dict)
    hold_grounds: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The identifier domains, families included."""
        return self.register.domains

    def domain_of(self, system: str) -> Domain | None:
        """The domain that a canonical system names, directly or as a member of a family; None:
        unknown."""
        return self.register.domain_of(system)

    def source_of(self, url: str, organisation: str = "") -> Source | None:
        """The agreed place outside the exchange that a URL lies in; None when there is none. Where
        several organisations keep documents at one address, it is `organisation`'s, else the first."""
        found = [s for s in self.sources if s.covers(url)]
        own = [s for s in found if s.organisation == organisation]
        return next(iter(own or found), None)

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
    register = _register(folder, space, constants)
    roles = {r["code"]: r["display"] for r in _rows(folder, "roles", space)}
    purposes = {r["code"]: r["display"] for r in _rows(folder, "purposes", space)}
    types = {r["code"]: _document_type(r) for r in _rows(folder, "document_types", space)}
    organisations = {
        r["ods_or_code"]: Organisation(r["kind"], r["name"], r["ods_or_code"], r["status"])
        for r in _rows(folder, "organisations", space)
    }
    return Pack(
        id=constants["id"],
        title=constants["title"],
        namespace=space,
        language=constants["language"],
        document_types=types,
        organisations=organisations,
        roles=roles,
        purposes=purposes,
        mime_types=frozenset(constants["mime_types"]),
        value_sets={v.name: v for v in _value_sets(folder, space, constants)},
        register=register,
        openings=_openings(folder, space, register, roles, purposes),
        sources=_sources(folder, space, organisations),
        formats={r["local"]: (r["system"], r["code"]) for r in _rows(folder, "formats", space)},
        foreign_types=_foreign_types(folder, space, types),
        retention=_retention(folder, space, types.values()),
        hold_grounds={r["code"]: r["title"] for r in _rows(folder, "hold_grounds", space)},
        constants=constants,
        choices=_choices(folder, space, roles, purposes),
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


def _register(folder: Path, space: str, constants: Mapping[str, Any]) -> Register:
    try:
        return Register.of(
            domains_.read(
                _rows(folder, "identifier_domains", space),
                _rows(folder, "identifier_placeholders", space),
                arc=constants["identifier_arc"],
                accepts_test=constants.get("test_numbers", "refuse") == "accept",
            )
        )
    except ValueError as fault:
        raise PackError(f"{fault}.") from fault
    except KeyError as fault:
        raise PackError(f"The pack's identifier tables lack {fault}.") from fault


def _openings(
    folder: Path, space: str, register: Register, roles: Iterable[str], purposes: Iterable[str]
) -> tuple[Opening, ...]:
    ids = [d.id for d in register.domains]
    rows = _rows(folder, "identifier_visibility", space)
    try:
        return visibility.read(rows, domains=ids, roles=roles, purposes=purposes)
    except ValueError as fault:
        raise PackError(f"{fault}.") from fault
    except KeyError as fault:
        raise PackError(f"identifier_visibility.csv lacks the column {fault}.") from fault


def _choices(
    folder: Path, space: str, roles: Mapping[str, str], purposes: Mapping[str, str]
) -> Mapping[str, tuple[Choice, ...]]:
    try:
        rows = _rows(folder, "role_purposes", space)
        return choices_.read(rows, roles=roles, purposes=purposes)
    except ValueError as fault:
        raise PackError(f"{fault}.") from fault
    except KeyError as fault:
        raise PackError(f"role_purposes.csv lacks the column {fault}.") from fault


def _sources(folder: Path, space: str, organisations: Mapping[str, Any]) -> tuple[Source, ...]:
    try:
        return sources_.read(_rows(folder, "retrieval_sources", space), organisations)
    except ValueError as fault:
        raise PackError(f"{fault}.") from fault
    except KeyError as fault:
        raise PackError(f"retrieval_sources.csv lacks the column {fault}.") from fault


def _foreign_types(
    folder: Path, space: str, types: Mapping[str, Any]
) -> Mapping[tuple[str, str], str]:
    """Codes of others, and canonical URLs of questionnaires, that mean one of our document types."""
    made = {}
    for number, row in enumerate(_rows(folder, "foreign_types", space), start=2):
        if row["type"] not in types:
            raise PackError(
                f"foreign_types.csv line {number}: the pack has no document type {row['type']!r}."
            )
        made[row["system"], row["code"]] = row["type"]
    return made


def _retention(
    folder: Path, space: str, types: Iterable[DocumentType]
) -> Mapping[str, RetentionClass]:
    try:
        made = retention_.read(_rows(folder, "retention_classes", space))
    except ValueError as fault:
        raise PackError(f"{fault}.") from fault
    except KeyError as fault:
        raise PackError(f"retention_classes.csv lacks the column {fault}.") from fault
    for kind in types:
        if kind.retention not in made:
            raise PackError(
                f"document_types.csv: {kind.code} is kept as {kind.retention!r}, which is no class of"
                " retention_classes.csv."
            )
    return made


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
