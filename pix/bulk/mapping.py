"""CSV to Patient: which column says what. PURE.

A mapping is a JSON file; without one, a file's headings are the names below.

    {"columns": {"Surname": "family", "First names": "given", "DoB": "born"},
     "dates": "%d/%m/%Y", "genders": {"M": "male", "F": "female"}}

`dates` is how birth dates are written, in the letters of strptime: day, month and year. Without it they
are FHIR's: 1980-02-28, and 1980-02 or 1980 where no more is known.

`value` is the number by which the source knows the person, in the domain of the column `system` or of
`--domain`. Columns that are mapped to "" are left out; every other must be mapped, so that nothing is
lost by a misspelt heading.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from affinity.pack import NHS_NUMBER
from pix.bulk.files import FileFault
from pix.claims import STATUSES, VERIFICATION
from standards.dates import problem
from standards.outcome import STRUCTURE, VALUE, Issue

TARGETS: Mapping[str, str] = {
    "system": "the identifier domain that feeds this line",
    "value": "the number by which that source knows the person",
    "nhs": "NHS number",
    "nhs_status": "its verification status, 01 for verified",
    "identifier": "another number, written system|value",
    "family": "surname",
    "given": "first name",
    "middle": "middle names",
    "former_family": "an earlier surname",
    "born": "birth date",
    "gender": "male, female, other or unknown",
    "line": "a line of the address",
    "city": "town",
    "postcode": "postcode",
    "uprn": "unique property reference number",
    "phone": "telephone",
    "email": "e-mail",
}
ISO = "%Y-%m-%d"
_FHIR = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?", re.ASCII)
_A_DAY = date(1980, 2, 28)
_REPEATS = frozenset({"identifier", "line", "phone", "email"})
_UPRN = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AddressKey"
_UPRN_TYPE = "https://fhir.hl7.org.uk/CodeSystem/UKCore-AddressKeyType"


@dataclass(frozen=True, slots=True)
class Columns:
    """What each column says: the targets in the order of the columns ("" for one that is left out), the
    form of dates, and the words for gender."""

    targets: tuple[str, ...]
    headings: tuple[str, ...]
    dates: str = ISO
    genders: Mapping[str, str] = field(default_factory=dict)


def mapping(header: bytes, file: Path | None, domain: str) -> Columns:
    """From the first line of a CSV file and the mapping file, if there is one. Raises `FileFault` that
    lists everything that is wrong."""
    said = _said(file)
    try:
        headings = next(csv.reader([header.decode("utf-8")]))
    except (UnicodeDecodeError, StopIteration, csv.Error):
        raise FileFault("The first line is no heading of a CSV file in UTF-8.") from None
    columns: Mapping[str, str] = said.get("columns") or {}
    headings = [h.strip() for h in headings]
    targets = [columns.get(h, h if h in TARGETS else "?") for h in headings]
    faults = [
        f'column {h!r} is not mapped: name what it says in --mapping, or "" to leave it out'
        for h, t in zip(headings, targets, strict=True)
        if t == "?"
    ]
    faults += [
        f"{t!r} is nothing that a column can say" for t in targets if t not in {*TARGETS, "", "?"}
    ]
    faults += [
        f"the mapping names {c!r}, and there is no such column"
        for c in columns
        if c not in headings
    ]
    faults += [
        f"two columns say {t!r}"
        for t in sorted({t for t in targets if t and t != "?"} - _REPEATS)
        if targets.count(t) > 1
    ]
    if "value" not in targets:
        faults.append("no column says `value`, the number by which the source knows the person")
    if "system" not in targets and not domain:
        faults.append("no column says `system`; name the source's domain with --domain")
    dates = said.get("dates", ISO)
    if not _says_a_day(dates):
        faults.append(
            f"`dates` is {dates!r}, which does not say day, month and year; write it like %d/%m/%Y"
        )
    if faults:
        known = ", ".join(TARGETS)
        raise FileFault(
            "The columns cannot be read:\n- " + "\n- ".join(faults) + f"\nColumns say: {known}."
        )
    return Columns(tuple(targets), tuple(headings), dates, said.get("genders") or {})


def _says_a_day(form: str) -> bool:
    """Whether dates that are written so can be read again."""
    try:
        return datetime.strptime(_A_DAY.strftime(form), form).date() == _A_DAY  # noqa: DTZ007
    except ValueError:
        return False


def _said(file: Path | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise FileFault(f"--mapping {file} cannot be read: {fault.strerror}.") from fault
    except ValueError as fault:
        raise FileFault(f"--mapping {file} is not JSON: {fault}.") from fault
    known = {"columns": dict, "dates": str, "genders": dict}
    if not isinstance(said, dict) or any(
        k not in known or not isinstance(v, known[k]) for k, v in said.items()
    ):
        raise FileFault(
            f'--mapping {file} must be one object: {{"columns": {{…}}, "dates": "…", "genders": {{…}}}}.'
        )
    return said


def patient(text: bytes, columns: Columns, domain: str) -> tuple[dict[str, Any], tuple[Issue, ...]]:
    """One line as a Patient, and everything in it that cannot be read."""
    try:
        cells = next(csv.reader([text.decode("utf-8")], strict=True), [])
    except UnicodeDecodeError as fault:
        words = f"The line is not UTF-8: byte {fault.start} cannot be read."
        return {}, (Issue(STRUCTURE, words),)
    except csv.Error as fault:
        return {}, (Issue(STRUCTURE, f"The line is no CSV: {fault}."),)
    if len(cells) != len(columns.targets):
        words = f"The line has {len(cells)} columns and the heading {len(columns.targets)}."
        return {}, (Issue(STRUCTURE, words),)
    said: dict[str, list[str]] = {}
    for target, cell in zip(columns.targets, cells, strict=True):
        if target and cell.strip():
            said.setdefault(target, []).append(cell.strip())
    faults: list[Issue] = []
    born = _born(said, columns, faults)
    gender = _gender(said, columns, faults)
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": list(_identifiers(said, domain, faults)),
        "name": _names(said),
        "telecom": [
            {"system": system, "value": v}
            for system in ("phone", "email")
            for v in said.get(system, ())
        ],
        "gender": gender,
        "birthDate": born,
        "address": _address(said),
    }
    return {k: v for k, v in made.items() if v}, tuple(faults)


def _one(said: Mapping[str, Sequence[str]], target: str) -> str:
    return next(iter(said.get(target, ())), "")


def _born(said: Mapping[str, Sequence[str]], columns: Columns, faults: list[Issue]) -> str:
    born = _one(said, "born")
    if not born:
        return ""
    if columns.dates == ISO:
        if _FHIR.fullmatch(born) and problem(born) is None:
            return born
        words = (
            "Birth dates are read as 1980-02-28 (1980-02 or 1980 where no more is known), and this is no"
            " such date. If the file writes them in another way, name it as `dates` in the --mapping:"
            ' "dates": "%d/%m/%Y" reads 28/02/1980.'
        )
    else:
        try:
            return datetime.strptime(born, columns.dates).date().isoformat()  # noqa: DTZ007
        except ValueError:
            words = (
                f"Birth dates are read as {_A_DAY:{columns.dates}} ({columns.dates}, the `dates` of the"
                " --mapping), and this is no such date."
            )
    faults.append(Issue(VALUE, words, "Patient.birthDate"))
    return ""


def _gender(said: Mapping[str, Sequence[str]], columns: Columns, faults: list[Issue]) -> str:
    gender = _one(said, "gender")
    if columns.genders and gender:
        found = columns.genders.get(gender)
        if found is None:
            words = "The gender is none of the mapping's words for it."
            faults.append(Issue(VALUE, words, "Patient.gender"))
        return found or ""
    return gender


def _identifiers(
    said: Mapping[str, Sequence[str]], domain: str, faults: list[Issue]
) -> Iterator[dict[str, Any]]:
    yield {"system": _one(said, "system") or domain, "value": _one(said, "value")}
    if nhs := _one(said, "nhs"):
        made: dict[str, Any] = {"system": NHS_NUMBER, "value": nhs}
        if status := _one(said, "nhs_status"):
            concept = {"coding": [{"system": STATUSES[0], "code": status}]}
            made["extension"] = [{"url": VERIFICATION, "valueCodeableConcept": concept}]
        yield made
    for more in said.get("identifier", ()):
        system, bar, value = more.partition("|")
        if not bar:
            faults.append(Issue(VALUE, "Write it system|value.", "Patient.identifier"))
            continue
        yield {"system": system, "value": value}


def _names(said: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    given = [*said.get("given", ()), *(w for m in said.get("middle", ()) for w in m.split())]
    name = {"family": _one(said, "family"), "given": given}
    made = [{k: v for k, v in name.items() if v}]
    if former := _one(said, "former_family"):
        made.append(
            {k: v for k, v in {"use": "old", "family": former, "given": given}.items() if v}
        )
    return [n for n in made if n]


def _address(said: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    made: dict[str, Any] = {
        "line": list(said.get("line", ())),
        "city": _one(said, "city"),
        "postalCode": _one(said, "postcode"),
    }
    if uprn := _one(said, "uprn"):
        key = {"coding": [{"system": _UPRN_TYPE, "code": "UPRN"}]}
        made["extension"] = [
            {
                "url": _UPRN,
                "extension": [
                    {"url": "type", "valueCodeableConcept": key},
                    {"url": "value", "valueString": uprn},
                ],
            }
        ]
    found = {k: v for k, v in made.items() if v}
    return [found] if found else []
