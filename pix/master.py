"""The master record of a person: what all of its sources together say, as one Patient. PURE.

Survivorship, element by element: the word of a record with a verified NHS number comes before
others, then the word that was said last. Numbers are united; a number that is disputed between
persons is nobody's (joining.py) and so is not here. Left out are

* everything from a record with a sealing label (adoption, gender recognition, witness protection);
* addresses and telephone numbers of a person of whom any source says that they are confidential;
* numbers of tier X, of places and cases, and of domains that serve one purpose only (justice,
  education, immigration): a master is broadcast, and such a number tells what it was given for;
* elements beyond demographics: photographs, contacts, narrative, extensions of the Patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from chassis.call import dumps, instant
from pix import places
from pix.identifiers import Domains, Identifier
from pix.traits import SEALS
from standards import pdqm, pixm, pmir
from standards.lens import at, text

ENTERPRISE = "tlid"
# Each row is one thing that is said of a person: all of its elements come from the same record.
ELEMENTS: tuple[tuple[str, ...], ...] = (
    ("name",),
    ("telecom",),
    ("gender",),
    ("birthDate", "_birthDate"),
    ("deceasedDateTime", "deceasedBoolean", "_deceasedDateTime"),
    ("address",),
    ("maritalStatus",),
    ("multipleBirthBoolean", "multipleBirthInteger"),
    ("communication",),
    ("managingOrganization",),
)
_BROADCAST = ("yes", "same issuer only")  # domain digest §1.1, match_use


@dataclass(frozen=True, slots=True)
class Word:
    """What one active record says: its Patient as its source made it, when that was said, whether its
    NHS number is verified, the organisation that fed it, and whether any record of the person, also one
    that may not contribute, says that where they live is not to be told."""

    record: str
    patient: Mapping[str, Any]
    said: datetime
    verified: bool
    organisation: str = ""
    secret: bool = False


class Number(NamedTuple):
    """One number that is the person's, the record that answers for it, and whether it was merged
    away."""

    identifier: Identifier
    by: str
    old: bool = False


@dataclass(frozen=True, slots=True)
class Master:
    """The master record: its Patient, and what subscriptions find it by. `digest` changes with what
    it says and not with when it was said."""

    person: str
    patient: Mapping[str, Any]
    digest: str
    records: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    organisations: tuple[str, ...] = ()


def sealed(patient: Mapping[str, Any]) -> bool:
    """Whether a record may not be told of to anyone but its own source."""
    return bool(frozenset(SEALS) & _labels(patient))


def broadcast(system: str, domains: Domains) -> bool:
    """Whether numbers of this domain may be in a master record."""
    domain = domains.of(system)
    return (
        domain is not None
        and domain.of_person
        and domain.tier != "X"
        and domain.match_use in _BROADCAST
    )


def master(
    person: str, words: Iterable[Word], numbers: Iterable[Number], domains: Domains
) -> Master | None:
    """The master record of a person, None when nothing may be told of them."""
    open_words = [w for w in words if not sealed(w.patient)]
    if not open_words:
        return None
    ranked = sorted(open_words, key=lambda w: (not w.verified, -w.said.timestamp(), w.record))
    contributing = {w.record for w in ranked}
    shown = sorted(
        {n for n in numbers if n.by in contributing and broadcast(n.identifier.system, domains)}
    )
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": person,
        "identifier": [
            *_own_number(person, domains),
            *({**({"use": "old"} if n.old else {}), **n.identifier._asdict()} for n in shown),
        ],
        "active": True,
        **_surviving(ranked),
    }
    return _made(
        person,
        patient,
        pdqm.PATIENT_PROFILE,
        max(w.said for w in ranked),
        records=tuple(sorted(contributing)),
        identifiers=tuple(Identifier(i["system"], i["value"]) for i in patient["identifier"]),
        organisations=tuple(sorted({o for w in ranked for o in _organisations(w)})),
    )


def merged(person: str, into: str, when: datetime, domains: Domains) -> Master:
    """The master record of a person whose records all went to another (IHE.PMIR.Patient.Merge)."""
    patient = {
        "resourceType": "Patient",
        "id": person,
        "identifier": _own_number(person, domains),
        "active": False,
        "name": [{"extension": [{"url": pixm.DATA_ABSENT, "valueCode": "unknown"}]}],
        "link": [{"other": {"reference": f"Patient/{into}"}, "type": "replaced-by"}],
    }
    numbers = tuple(Identifier(i["system"], i["value"]) for i in _own_number(person, domains))
    return _made(person, patient, pmir.MERGE_PROFILE, when, identifiers=numbers)


def matches(criteria: pmir.Criteria, known: Mapping[str, Any]) -> bool:
    """Whether a subscription is about a person; `known` holds `person`, `records`, `identifiers` and
    `organisations` of a master as they are stored."""
    match criteria.by:
        case "":
            return True
        case "_id":
            return criteria.value == known["person"] or criteria.value in known["records"]
        case "organization":
            said = criteria.value.removeprefix("Organization/")
            return said in known["organisations"] or criteria.value in known["organisations"]
        case _:
            return any(
                (criteria.system is None or criteria.system == system)
                and (not criteria.value or criteria.value == value)
                for system, value in known["identifiers"]
            )


# -- steps ----------------------------------------------------------------------------------------


def _made(
    person: str, patient: dict[str, Any], profile: str, when: datetime, **found: Any
) -> Master:
    digest = hashlib.sha256(orjson.dumps(orjson.loads(dumps(patient)))).hexdigest()
    meta = {"lastUpdated": instant(when), "profile": [profile]}
    ordered = {"resourceType": "Patient", "id": person, "meta": meta}
    return Master(person, {**ordered, **patient}, digest, **found)


def _own_number(person: str, domains: Domains) -> list[dict[str, str]]:
    """The number that this exchange gave: a master is published under our own authority, never as if
    a source had asserted it (PIX digest §0)."""
    domain = next((d for d in domains.pack.domains if d.id == ENTERPRISE), None)
    return [{"use": "official", "system": domain.system, "value": person}] if domain else []


def _surviving(ranked: Sequence[Word]) -> dict[str, Any]:
    confidential = any(w.secret or places.secret(w.patient) for w in ranked)
    made: dict[str, Any] = {}
    for group in ELEMENTS:
        if confidential and group[0] in ("address", "telecom"):
            continue
        word = next((w for w in _tellers(group, ranked) if _says(w, group)), None)
        if word is not None:
            made |= {name: word.patient[name] for name in group if name in word.patient}
    if "name" not in made:
        made["name"] = [{"extension": [{"url": pixm.DATA_ABSENT, "valueCode": "unknown"}]}]
    return made


def _tellers(group: tuple[str, ...], ranked: Sequence[Word]) -> Sequence[Word]:
    """A death that anybody knows of comes before the silence or the denial of others: not to know it
    is the graver error."""
    if group[0] != "deceasedDateTime":
        return ranked
    return sorted(ranked, key=lambda w: not (w.patient.get("deceasedDateTime") or _dead(w)))


def _dead(word: Word) -> bool:
    return word.patient.get("deceasedBoolean") is True


def _says(word: Word, group: tuple[str, ...]) -> bool:
    if group[0] == "name":
        return any(
            n.get("family") or n.get("given") or n.get("text") for n in at(word.patient, "name")
        )
    if group[0] == "managingOrganization":
        # a reference into the record itself leads nowhere from a master
        return bool(at(word.patient, "managingOrganization")) and not text(
            word.patient, "managingOrganization.reference"
        ).startswith("#")
    return any(name in word.patient for name in group)


def _organisations(word: Word) -> Iterable[str]:
    """What `organization=X` finds: the managing organisation by reference, id or identifier, and the
    organisation that fed the record."""
    reference = text(word.patient, "managingOrganization.reference")
    value = text(word.patient, "managingOrganization.identifier.value")
    return {reference, reference.rpartition("/")[2], value, word.organisation} - {""}


def _labels(patient: Mapping[str, Any]) -> set[str]:
    return {text(label, "code") for label in at(patient, "meta.security")}
