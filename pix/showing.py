"""How a source record is shown as a Patient, and what it is found by. PURE.

`own` is the record as its source made it, canonical and without what a server adds; `shown` is the
resource that reads and searches serve. Between them lie: the logical id and the version, identifiers
in their stored form, numbers of records that were merged into this one (`use: old`), links to the
other records of the same person, and the removal of sealed numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import msgspec
import orjson

from chassis.call import dumps, instant
from governance.identifiers import Sight
from pix import places
from pix.identifiers import Domains, Identifier, parts
from standards import index, pdqm, pixm

_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def canonical(patient: Mapping[str, Any]) -> bytes:
    """The record as its source made it: without id, version and time, members in one order, so that
    the same content is the same bytes however it was sent."""
    if "id" not in patient and "meta" not in patient:
        return orjson.dumps(dict(patient), default=_number, option=orjson.OPT_SORT_KEYS)
    own = {k: v for k, v in patient.items() if k not in ("id", "meta")}
    meta = {
        k: v
        for k, v in (patient.get("meta") or {}).items()
        if k not in ("versionId", "lastUpdated")
    }
    if meta:
        own["meta"] = meta
    return orjson.dumps(own, default=_number, option=orjson.OPT_SORT_KEYS)


def _number(value: object) -> object:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} is not JSON")


def opened(resource: bytes) -> dict[str, Any]:
    """Canonical bytes as a dict; decimals keep their written digits."""
    return _DECODER.decode(resource)


def shown(
    own: bytes,
    *,
    id_: str,
    version: int,
    at: datetime,
    domains: Domains,
    links: Sequence[str] = (),
    absorbed: Iterable[Identifier] = (),
    into: str = "",
) -> dict[str, Any]:
    """The Patient as it is shown. `links` are the other records of the person, `absorbed` the numbers
    of records merged into this one, `into` the record that this one was merged into."""
    patient = opened(own)
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "id": id_,
        "meta": {
            **patient.pop("meta", {}),
            "versionId": str(version),
            "lastUpdated": instant(at),
        },
        **{k: v for k, v in patient.items() if k != "resourceType"},
    }
    made["identifier"] = _identifiers(patient, domains, absorbed) or [_minted(domains.base, id_)]
    link = _links(patient, into, links)
    if link:
        made["link"] = link
        made.setdefault("active", True)  # iti-pdqm-linkstatus
    return made


def _identifiers(
    patient: Mapping[str, Any], domains: Domains, absorbed: Iterable[Identifier]
) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    seen: set[Identifier] = set()
    for said in patient.get("identifier") or ():
        identifier = domains.identifier(*parts(said))
        # UK Core allows an identifier without system or value, PDQm does not (PIX digest §8.3).
        if identifier.system and identifier.value and not domains.sealed(identifier.system):
            seen.add(identifier)
            made.append({**said, "system": identifier.system, "value": identifier.value})
    made += [
        {"use": "old", "system": old.system, "value": old.value}
        for old in absorbed
        if old not in seen
    ]
    return made


def _minted(base: str, id_: str) -> dict[str, Any]:
    """An identifier for whom none may be shown: PDQm wants one of everybody (PIX digest §2.2)."""
    return {"system": "urn:ietf:rfc:3986", "value": f"{base}/Patient/{id_}"}


def _links(patient: Mapping[str, Any], into: str, links: Sequence[str]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for said in patient.get("link") or ():
        if said.get("type") == "replaced-by" and into:
            # The source named the survivor in its own words; readers follow the logical id.
            other = {**said.get("other", {}), "reference": f"Patient/{into}"}
            made.append({**said, "other": other})
        else:
            made.append(said)
    named = {(link.get("other") or {}).get("reference") for link in made}
    made += [
        {"other": {"reference": f"Patient/{other}"}, "type": "seealso"}
        for other in links
        if f"Patient/{other}" not in named
    ]
    return made


def http_date(at: datetime) -> str:
    """A time as HTTP headers write it; MongoDB gives back UTC under a name of its own."""
    return format_datetime(at.astimezone(UTC), usegmt=True)


def stripped(
    resource: bytes,
    base: str,
    sight: Sight,
    systems: frozenset[str] | None = None,
    *,
    fed: str,
    secret: bool,
) -> bytes:
    """A shown Patient with the identifiers that the caller may see and, when `systems` is given, of
    these domains only (PDQm 2:3.78.4.1.2.4); without where they live when that is not to be told to
    others than the source of the domain that the record is `fed` under: it says so itself, or another
    record of the person does (`secret`). Bytes that need no change are given back as they are."""
    if sight.everything and systems is None:
        return resource
    patient = places.told(opened(resource), sight, fed=fed, guarded=secret)
    kept = [
        i for i in patient.get("identifier") or ()
        if sight.sees(str(i.get("system"))) and (systems is None or i.get("system") in systems)
    ]  # fmt: skip
    patient["identifier"] = kept or [_minted(base, patient["id"])]
    if "link" in patient:
        links = [seen for link in patient["link"] if (seen := _seen(link, sight))]
        patient["link"] = links
        if not links:
            del patient["link"]
    return dumps(patient)


def _seen(link: Mapping[str, Any], sight: Sight) -> Mapping[str, Any] | None:
    """A link without an identifier that the caller may not see; None when nothing else is in it."""
    named = link["other"].get("identifier")
    if not named or sight.sees(str(named.get("system"))):
        return link
    other = {k: v for k, v in link["other"].items() if k != "identifier"}
    return {**link, "other": other} if "reference" in other else None


def linked(patient: Mapping[str, Any]) -> list[str]:
    """The logical ids of ours that a Patient links to."""
    references = [str((k.get("other") or {}).get("reference")) for k in patient.get("link") or ()]
    return [r.removeprefix("Patient/") for r in references if r.startswith("Patient/")]


def unlink(patient: dict[str, Any], hidden: frozenset[str]) -> None:
    """Take the links to these records out of a Patient."""
    if "link" not in patient:
        return
    patient["link"] = [k for k in patient["link"] if not hidden.intersection(linked({"link": [k]}))]
    if not patient["link"]:
        del patient["link"]


def indexed(patient: Mapping[str, Any], *, secret: bool) -> dict[str, Any]:
    """The index values of a shown Patient, one per row of `standards.pdqm.PARAMETERS`. By a place that
    is not to be told (`secret`: another record of the person says so) nobody is found."""
    names = patient.get("name") or ()

    def of_names(part: str) -> list[str]:
        return [t for n in names for t in _texts(n.get(part))]

    def of_addresses(part: str) -> list[str]:
        return [t for a in addresses for t in _texts(a.get(part))]

    told = {} if secret or places.secret(patient) else patient
    addresses = told.get("address") or ()
    parts_ = ("text", "line", "city", "district", "state", "postalCode", "country")
    made: dict[str, Any] = {
        pdqm.IDENTIFIER.field: index.tokens(patient.get("identifier")),
        pdqm.TELECOM.field: index.tokens(told.get("telecom")),
        pdqm.FAMILY.field: index.strings(of_names("family")),
        pdqm.GIVEN.field: index.strings(of_names("given")),
        pdqm.ADDRESS.field: index.strings(
            [t for p in parts_ for t in of_addresses(p)], index.address
        ),
        pdqm.CITY.field: index.strings(of_addresses("city")),
        pdqm.COUNTRY.field: index.strings(of_addresses("country")),
        pdqm.POSTCODE.field: index.strings(of_addresses("postalCode"), index.postcode),
        pdqm.STATE.field: index.strings(of_addresses("state")),
        pdqm.MAIDEN_NAME.field: index.strings(
            [
                e["valueString"]
                for e in patient.get("extension") or ()
                if e.get("url") == pixm.MAIDEN_NAME and e.get("valueString")
            ]
        ),
    }
    if patient.get("birthDate"):
        made[pdqm.BIRTHDATE.field] = index.moments(patient["birthDate"])
    if patient.get("gender"):
        made[pdqm.GENDER_.field] = index.tokens(patient["gender"], pdqm.GENDER)
    if "active" in patient:
        made[pdqm.ACTIVE.field] = index.tokens(patient["active"])
    return {k: v for k, v in made.items() if v}


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
