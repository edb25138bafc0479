"""What single values of an ITI-65 must be, beyond base R4: the checks that the rows of
`standards/mhd_rules.py` name. Pure.

Each takes the resource and one value and says in words what is wrong with it, or "" when nothing is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from standards import dates
from standards.lens import contained
from standards.mhd import AUTHOR_ORG, IDENTIFIER_TYPES, URI

Json = Mapping[str, Any]
RECIPIENTS = (
    "Practitioner", "Organization", "Patient", "RelatedPerson", "Group", "Device", "Location",
)  # fmt: skip
_PEOPLE = ("Practitioner", "PractitionerRole")
_TYPED = re.compile(r"(?:^|/)(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[^/]+)?$")
_LANGUAGE = re.compile(
    r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})"  # language and extended languages
    r"(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"  # script, region
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"  # variants
    r"(?:-[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*"  # extensions
    r"(?:-[xX](?:-[A-Za-z0-9]{1,8})+)?"  # private use
)
EMPTY_SHA1 = "2jmj7l5rSw0yVb/vlWAYkK/YBwk="  # of no bytes: Delayed Document Assembly


def identifier_kind(identifier: Any) -> str:
    """ "uniqueId", "entryUUID" or "": by `type` (4.2.4), else by `use` (to 4.2.3; digest §0.2)."""
    if not isinstance(identifier, Mapping):
        return ""
    for coding in (identifier.get("type") or {}).get("coding") or ():
        if coding.get("system") == IDENTIFIER_TYPES:
            return str(coding.get("code") or "")
    return {"usual": "uniqueId", "official": "entryUUID"}.get(str(identifier.get("use")), "")


def is_whole(_: Json, identifier: Any) -> str:
    """An identifier with system and value."""
    missing = [p for p in ("system", "value") if not str(identifier.get(p) or "").strip()]
    return f"An identifier needs a {' and a '.join(missing)}." if missing else ""


def is_unique_id(_: Json, identifier: Any) -> str:
    """UniqueIdIdentifier: whole, and not marked as something else."""
    if identifier_kind(identifier) == "entryUUID":
        return "This is the place of the uniqueId, and the identifier is marked as an entryUUID."
    return is_whole({}, identifier)


def is_oid(_: Json, identifier: Any) -> str:
    """mhd-startswithoid."""
    if identifier.get("system") == URI and str(identifier.get("value")).startswith("urn:oid:"):
        return ""
    return f"A SubmissionSet's uniqueId has the system {URI} and a value that starts with urn:oid:."


def is_uuid(_: Json, identifier: Any) -> str:
    """mhd-startswithuuid."""
    if identifier.get("system") == URI and str(identifier.get("value")).startswith("urn:uuid:"):
        return ""
    return f"An entryUUID has the system {URI} and a value that starts with urn:uuid:."


def is_patient(_: Json, reference: Any) -> str:
    """A Reference to a Patient, literal or by identifier."""
    said = str(reference.get("reference") or "")
    named = reference.get("identifier") or {}
    if reference.get("type") not in (None, "Patient"):
        return "The subject must be a Patient."
    if not said and not (named.get("system") and named.get("value")):
        return "Name the Patient by reference, or by identifier with system and value."
    if said.startswith("#"):
        return "The subject may not be contained: it is shared by the whole submission."
    if said and "/" in said and not said.startswith("urn:") and "Patient/" not in said:
        return "The subject must be a Patient."
    return ""


def is_contained(_: Json, reference: Any) -> str:
    """A Reference to a contained resource; Comprehensive only. A source of an organisation alone
    carries just the authorOrg extension, since R4 has no literal for it."""
    said = str(reference.get("reference") or "")
    if said.startswith("#") or (not said and reference.get("extension")):
        return ""
    return "Under the Comprehensive profile this must be a contained resource (#id)."


def is_lasting(_: Json, reference: Any) -> str:
    """UnContained: a contained resource, the full URL of a lasting entry of a directory, or its number."""
    named = reference.get("identifier") or {}
    if reference.get("reference") or (named.get("system") and named.get("value")):
        return ""
    if any(str(e.get("url")) == AUTHOR_ORG for e in reference.get("extension") or ()):
        return ""
    return "Contain it, give the full URL of its lasting entry in a directory, or its identifier."


def is_source_patient(resource: Json, reference: Any) -> str:
    """sourcePatientInfo leads to a Patient; a contained one carries the source's identifier."""
    said = str(reference.get("reference") or "")
    if said.startswith("#"):
        held = contained(resource, reference) or {}
        if held.get("resourceType") != "Patient":
            return "sourcePatientInfo must be a Patient."
        if not held.get("identifier"):
            return "The contained Patient needs the identifier that the source knows it by."
    elif said and "Patient/" not in said and not said.startswith("urn:"):
        return "sourcePatientInfo must be a Patient."
    return ""


def is_current(_: Json, value: Any) -> str:
    """Pattern `current`."""
    return "" if value == "current" else "The status of a SubmissionSet is current."


def is_current_or_superseded(_: Json, value: Any) -> str:
    """ValueSet DocumentReferenceStats."""
    if value in ("current", "superseded"):
        return ""
    return "The status of a DocumentReference is current or superseded."


def is_working(_: Json, value: Any) -> str:
    """Pattern `working`."""
    return "" if value == "working" else "The mode of this List is working."


def is_sha1(_: Json, value: Any) -> str:
    """20 bytes in base64; to 4.2.3 examples carried the 40 hex characters in base64."""
    try:
        raw = base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return "The hash must be base64 of the 20 bytes of the SHA-1."
    if len(raw) == 20:
        return ""
    if len(raw) == 40 and all(c in b"0123456789abcdefABCDEF" for c in raw):
        return "The hash is base64 of 40 hex characters; it must be base64 of the 20 bytes of the SHA-1."
    return f"The hash is {len(raw)} bytes long; a SHA-1 has 20."


def is_in_order(_: Json, period: Any) -> str:
    """serviceStart ≤ serviceStop."""
    start, end = period.get("start"), period.get("end")
    if start and end and dates.parse(start).lo >= dates.parse(end).hi:
        return "The service ends before it starts."
    return ""


def is_assembled(_: Json, attachment: Any) -> str:
    """size 0 and the hash of no bytes belong together: Delayed Document Assembly."""
    size, hash_ = attachment.get("size"), attachment.get("hash")
    if (size == 0) != (hash_ == EMPTY_SHA1) and (size is not None and hash_ is not None):
        return f"A delayed document has size 0 and hash {EMPTY_SHA1}; any other has neither."
    if size == 0 and hash_ is None:
        return f"A delayed document has size 0 and hash {EMPTY_SHA1}."
    return ""


def is_identifier(_: Json, extension: Any) -> str:
    """An extension whose value is an Identifier with a value."""
    held = extension.get("valueIdentifier")
    if not isinstance(held, Mapping):
        return "This extension has a valueIdentifier."
    return is_whole({}, held)


def is_oid_value(_: Json, extension: Any) -> str:
    """An extension whose value is an oid: `urn:oid:1.2.3`."""
    held = extension.get("valueOid")
    if isinstance(held, str) and held.startswith("urn:oid:"):
        return ""
    return "This extension has a valueOid, which starts with urn:oid:."


def is_language(_: Json, value: Any) -> str:
    """A tag of BCP 47 (RFC 5646 §2.1), which TF-3 asks of languageCode."""
    if _LANGUAGE.fullmatch(str(value)):
        return ""
    return "The language is a tag of BCP 47, such as en-GB or cy."


def is_by_author(resource: Json, reference: Any) -> str:
    """DocumentReference.author: who or what may write."""
    return _of_type(
        resource, reference, (*_PEOPLE, "Organization", "Device", "Patient", "RelatedPerson")
    )


def is_by_authenticator(resource: Json, reference: Any) -> str:
    """DocumentReference.authenticator."""
    return _of_type(resource, reference, (*_PEOPLE, "Organization"))


def is_by_source(resource: Json, reference: Any) -> str:
    """List.source; an organisation goes into its extension ihe-authorOrg."""
    return _of_type(resource, reference, (*_PEOPLE, "Patient", "Device"))


def is_recipient(resource: Json, extension: Any) -> str:
    """ihe-intendedRecipient: a Reference to somebody or something that can receive."""
    held = extension.get("valueReference")
    if not isinstance(held, Mapping):
        return "This extension has a valueReference."
    return _of_type(resource, held, RECIPIENTS)


def is_organisation(resource: Json, extension: Any) -> str:
    """ihe-authorOrg: a Reference to an Organization."""
    held = extension.get("valueReference")
    if not isinstance(held, Mapping):
        return "This extension has a valueReference."
    return _of_type(resource, held, ("Organization",))


def _of_type(resource: Json, reference: Any, types: tuple[str, ...]) -> str:
    """Whether what a Reference says of its target's type is among these; "" also where it says nothing."""
    said = str(reference.get("reference") or "")
    if said.startswith("#"):
        held = contained(resource, reference)
        kind = str(held.get("resourceType")) if held else ""
    else:
        found = _TYPED.search(said)
        kind = str(reference.get("type") or (found["type"] if found else ""))
    if not kind or kind in types:
        return ""
    return f"This leads to a {kind[:40]}; it takes {', '.join(types[:-1])} or {types[-1]}."


def is_concept(_: Json, extension: Any) -> str:
    """An extension whose value is a CodeableConcept."""
    if isinstance(extension.get("valueCodeableConcept"), Mapping):
        return ""
    return "This extension has a valueCodeableConcept."


def is_not_empty(_: Json, concept: Any) -> str:
    """A CodeableConcept with at least one code, so that it can be found by it."""
    coded = any(c.get("code") for c in concept.get("coding") or ())
    return "" if coded else "Give at least one coding with a code."
