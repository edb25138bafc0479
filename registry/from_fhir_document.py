"""PURE. A FHIR document (a Bundle that begins with a Composition) as metadata.

FHIR R4 documents.html; MHD ITI-65 FHIR Documents says which element goes where. The same reading serves
JSON, XML and a Bundle that came as a resource.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from registry.reading import CONFIDENTIALITY, Reading, Related, bare, holds, logical
from standards.lens import at, contained
from standards.outcome import PROFILE, REQUIRED, UNPROCESSABLE, UNRESOLVED, Issue

Json = Mapping[str, Any]
_COMPOSITION = "Bundle.entry[0].resource"
_RESTFUL = re.compile(r"(https?://.+)/[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_IPS = ("http://loinc.org", "60591-5")


def read_document(bundle: Json) -> Reading:
    """What a structurally legal Bundle says of itself."""
    made = Reading("FHIRDOC")
    entries = bundle.get("entry") or [{}]
    composition = entries[0].get("resource") or {}
    if bundle.get("type") != "document" or composition.get("resourceType") != "Composition":
        words = "A FHIR document is a Bundle of type document whose first entry is a Composition."
        made.issues.append(Issue(PROFILE, words, "Bundle"))
        return made
    held = _Held(bundle, composition)
    _identified(made, bundle, composition)
    made.say("type", bare(composition.get("type")), f"{_COMPOSITION}.type")
    made.say("category", bare(composition.get("category")), f"{_COMPOSITION}.category")
    made.say("securityLabel", _labels(bundle, composition), f"{_COMPOSITION}.confidentiality")
    made.say("attachment.title", composition.get("title"), f"{_COMPOSITION}.title")
    made.say("attachment.creation", composition.get("date"), f"{_COMPOSITION}.date")
    language = composition.get("language") or bundle.get("language")
    made.say("attachment.language", language, f"{_COMPOSITION}.language")
    _people(made, composition, held)
    _context(made, composition, held)
    _relations(made, composition)
    if any((c.get("system"), c.get("code")) == _IPS for c in at(composition, "type.coding")):
        made.format = "IPS"
    return made


class _Held:
    """How references of a document resolve (bundle.html#references)."""

    def __init__(self, bundle: Json, composition: Json) -> None:
        entries = bundle.get("entry") or [{}]
        self._by_url = {e["fullUrl"]: e.get("resource") or {} for e in entries if e.get("fullUrl")}
        rest = _RESTFUL.fullmatch(str(entries[0].get("fullUrl") or ""))
        self._base, self._composition = rest[1] if rest else "", composition

    def __call__(self, reference: Any) -> Json | None:
        said = str((reference or {}).get("reference") or "")
        if said.startswith("#"):
            return contained(self._composition, said)
        return self._by_url.get(said) or self._by_url.get(f"{self._base}/{said}")


def _identified(made: Reading, bundle: Json, composition: Json) -> None:
    identifier = bundle.get("identifier") or {}
    if identifier.get("system") and identifier.get("value"):
        named = {"system": identifier["system"], "value": identifier["value"]}
        made.say("masterIdentifier", named, "Bundle.identifier")
    else:
        words = "A FHIR document has an identifier with system and value."
        made.issues.append(Issue(REQUIRED, words, "Bundle.identifier"))
    if composition.get("status") not in ("final", "amended"):
        words = f"A document that is {composition.get('status')} is not published; finish it first."
        made.issues.append(Issue(UNPROCESSABLE, words, f"{_COMPOSITION}.status"))


def _labels(bundle: Json, composition: Json) -> list[dict[str, Any]]:
    codings = [*at(bundle, "meta.security"), *at(composition, "meta.security")]
    code = composition.get("confidentiality")
    if code:
        codings.append({"system": CONFIDENTIALITY, "code": code})
    return [{"coding": [bare(c)]} for c in codings]


def _people(made: Reading, composition: Json, held: _Held) -> None:
    place = f"{_COMPOSITION}.subject"
    made.origin["subject"] = place
    subject = composition.get("subject") or {}
    patient = held(subject)
    if patient is not None and patient.get("resourceType") == "Patient":
        made.patient = patient
    elif patient is not None or "Patient/" not in str(subject.get("reference") or "Patient/"):
        made.issues.append(Issue(PROFILE, "The subject of a document here is a Patient.", place))
    elif subject.get("reference") or subject.get("identifier"):
        made.subject = {k: subject[k] for k in ("reference", "identifier") if k in subject}
    authors = [
        _who(made, author, held, f"author{n}")
        for n, author in enumerate(at(composition, "author"), start=1)
    ]
    made.say("author", [a for a in authors if a], f"{_COMPOSITION}.author")
    legal = next(
        (
            a["party"]
            for a in at(composition, "attester")
            if a.get("mode") == "legal" and a.get("party")
        ),
        None,
    )
    if legal is not None:
        made.say(
            "authenticator", _who(made, legal, held, "authenticator"), f"{_COMPOSITION}.attester"
        )
    custodian = composition.get("custodian")
    if custodian:
        made.say("custodian", _who(made, custodian, held, "custodian"), f"{_COMPOSITION}.custodian")


def _who(made: Reading, reference: Json, held: _Held, name: str) -> dict[str, Any]:
    """A person or organisation of the document, contained; by identifier and name where that is all."""
    found = held(reference)
    if not holds(found) or found is None:
        return logical(reference, found)
    said = made.hold(found, name)
    if found["resourceType"] == "PractitionerRole":
        role = made.contained[-1]
        for element in ("practitioner", "organization"):
            inner = held(found.get(element))
            if holds(inner) and inner is not None:
                role[element] = made.hold(inner, f"{name}-{element}")
            elif found.get(element):
                role[element] = logical(found[element])
    return said


def _context(made: Reading, composition: Json, held: _Held) -> None:
    events = at(composition, "event")
    codes = [bare(c) for event in events for c in at(event, "code")]
    made.say("context.event", codes, f"{_COMPOSITION}.event")
    period = next((e["period"] for e in events if e.get("period")), None)
    encounter = held(composition.get("encounter"))
    if encounter is not None:
        period = period or encounter.get("period")
        made.say(
            "context.practiceSetting",
            bare(encounter.get("serviceType")),
            f"{_COMPOSITION}.encounter",
        )
    made.say("context.period", bare(period), f"{_COMPOSITION}.event")


def _relations(made: Reading, composition: Json) -> None:
    for n, relation in enumerate(at(composition, "relatesTo")):
        where = f"{_COMPOSITION}.relatesTo[{n}]"
        target = relation.get("targetIdentifier") or at(relation, "targetReference.identifier")
        target = target[0] if isinstance(target, list) and target else target
        if target and target.get("system") and target.get("value"):
            code, system, value = relation.get("code"), target["system"], target["value"]
            made.related.append(Related(str(code), system, value, where))
        else:
            words = "Name the related document by its identifier, with system and value."
            made.issues.append(Issue(UNRESOLVED, words, where))
