"""What MHD 4.2.4 asks of a DocumentReference, SubmissionSet and Folder: one row per constraint. Pure.

A row says, for the three levels a Bundle may claim, how often an element must and may occur, and what
a value must be. `check` evaluates all rows on one resource and returns every breach with its FHIRPath.
Base R4 rules (required elements, bound codes, formats) are `standards/r4`'s and are not repeated.

The three levels, each including the one before (MHD digest §3.2–3.4):
    minimal ──► uncontained ──► comprehensive
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from standards import dates
from standards.lens import contained
from standards.mhd import (
    DESIGNATION_TYPE,
    IDENTIFIER_TYPES,
    INTENDED_RECIPIENT,
    SOURCE_ID,
    URI,
)
from standards.outcome import BYTES_DIFFER, PROFILE, REQUIRED, VALUE, ErrorKind, Issue

Json = Mapping[str, Any]
Kind = Literal["DocumentReference", "SubmissionSet", "Folder"]
Check = Callable[[Json, Any], str]  # (resource, value) → what is wrong with it, "" when nothing is
EMPTY_SHA1 = "2jmj7l5rSw0yVb/vlWAYkK/YBwk="  # of no bytes: Delayed Document Assembly


class Level(IntEnum):
    """How much metadata a Bundle promises, by the profile it claims."""

    MINIMAL = 0
    UNCONTAINED = 1
    COMPREHENSIVE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """One constraint. `least` holds the minimum for the three levels, `most` the maximum (None: any);
    `check` looks at each value. `path` is dotted from the resource; `extension(url)` is a slice and
    `identifier(kind)` the identifiers of that kind."""

    of: Kind
    path: str
    see: str
    least: tuple[int, int, int] = (0, 0, 0)
    most: int | None = None
    check: Check | None = None
    words: str = ""
    kind: ErrorKind = PROFILE

    @property
    def name(self) -> str:
        """How tests and docs refer to the row."""
        return f"{self.of}.{self.path}" + (f" {self.check.__name__}" if self.check else "")


def check(kind: Kind, resource: Json, level: Level, where: str) -> tuple[Issue, ...]:
    """Every rule of this kind and level that a structurally legal resource at `where` breaks."""
    return tuple(i for rule in _BY_KIND[kind] for i in _breaches(rule, resource, level, where))


def against(rules: Iterable[Rule], resource: Json, level: Level, where: str) -> tuple[Issue, ...]:
    """As `check`, for rules of another table (Simplified Publish has its own)."""
    return tuple(i for rule in rules for i in _breaches(rule, resource, level, where))


def _breaches(rule: Rule, resource: Json, level: Level, where: str) -> Iterator[Issue]:
    found = values(resource, rule.path)
    short = _plain(rule.path)
    if len(found) < rule.least[level]:
        words = rule.words or f"{rule.of} must have {short} here."
        yield Issue(REQUIRED, words, f"{where}.{_place(rule.path)}")
    if rule.most is not None:
        for place, _ in found[rule.most :]:
            words = (
                f"{rule.of} may not have {short} here; leave it out."
                if rule.most == 0
                else f"{rule.of} may have {rule.most} {short} only."
            )
            yield Issue(PROFILE, words, f"{where}.{place}")
    if rule.check is not None and (level >= Level.COMPREHENSIVE or rule.check is not is_contained):
        for place, value in found:
            wrong = rule.check(resource, value)
            if wrong:
                yield Issue(rule.kind, wrong, f"{where}.{place}")


def values(resource: Json, path: str) -> list[tuple[str, Any]]:
    """The values at a rule's path, each with its FHIRPath below the resource."""
    found: list[tuple[str, Any]] = [("", resource)]
    for step in _steps(path):
        name, _, slice_ = step.partition("(")
        below: list[tuple[str, Any]] = []
        for place, holder in found:
            held = holder.get(name) if isinstance(holder, Mapping) else None
            stem = f"{place}.{name}" if place else name
            if isinstance(held, list):
                below += [(f"{stem}[{n}]", v) for n, v in enumerate(held) if v is not None]
            elif held is not None:
                below.append((stem, held))
        if slice_:
            below = [(p, v) for p, v in below if _in_slice(name, slice_[:-1], v)]
        found = below
    return found


def _steps(path: str) -> list[str]:
    """The path's steps; the dots inside a slice's parentheses belong to its URL."""
    head, bracket, rest = path.partition("(")
    if not bracket:
        return path.split(".")
    inside, _, after = rest.partition(")")
    steps = head.split(".")
    steps[-1] += f"({inside})"
    return steps + ([s for s in after.split(".") if s])


def _in_slice(name: str, slice_: str, value: Any) -> bool:
    if name == "extension":
        return isinstance(value, Mapping) and value.get("url") == slice_
    return identifier_kind(value) == slice_


def _plain(path: str) -> str:
    head, bracket, rest = path.partition("(")
    if not bracket:
        return path
    inside, _, after = rest.partition(")")
    return f"{head} {inside.rpartition('/')[2]}{after}"


def _place(path: str) -> str:
    head, bracket, rest = path.partition("(")
    if not bracket:
        return path
    inside, _, after = rest.partition(")")
    return head + (f".where(url='{inside}'){after}" if head.endswith("extension") else after)


def identifier_kind(identifier: Any) -> str:
    """ "uniqueId", "entryUUID" or "": by `type` (4.2.4), else by `use` (to 4.2.3; digest §0.2)."""
    if not isinstance(identifier, Mapping):
        return ""
    for coding in (identifier.get("type") or {}).get("coding") or ():
        if coding.get("system") == IDENTIFIER_TYPES:
            return str(coding.get("code") or "")
    return {"usual": "uniqueId", "official": "entryUUID"}.get(str(identifier.get("use")), "")


# -- what a value must be ---------------------------------------------------------------------------


def is_whole(_: Json, identifier: Any) -> str:
    """An identifier with system and value."""
    missing = [p for p in ("system", "value") if not str(identifier.get(p) or "").strip()]
    return f"An identifier needs a {' and a '.join(missing)}." if missing else ""


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


def is_concept(_: Json, extension: Any) -> str:
    """An extension whose value is a CodeableConcept."""
    if isinstance(extension.get("valueCodeableConcept"), Mapping):
        return ""
    return "This extension has a valueCodeableConcept."


def is_reference(_: Json, extension: Any) -> str:
    """An extension whose value is a Reference."""
    return (
        ""
        if isinstance(extension.get("valueReference"), Mapping)
        else "This extension has a valueReference."
    )


def is_not_empty(_: Json, concept: Any) -> str:
    """A CodeableConcept with at least one code, so that it can be found by it."""
    coded = any(c.get("code") for c in concept.get("coding") or ())
    return "" if coded else "Give at least one coding with a code."


# -- the rows -----------------------------------------------------------------------------------------

ALWAYS, CLAIMED, NEVER = (1, 1, 1), (0, 1, 1), (0, 0, 0)
_D, _S, _F = "MHD 4.2.4 DocumentReference", "MHD 4.2.4 SubmissionSet", "MHD 4.2.4 Folder"


def _document(path: str, least: tuple[int, int, int] = NEVER, most: int | None = None,
              check: Check | None = None, words: str = "", kind: ErrorKind = PROFILE) -> Rule:  # fmt: skip
    return Rule("DocumentReference", path, _D, least, most, check, words, kind)


def _set(path: str, least: tuple[int, int, int] = NEVER, most: int | None = None,
         check: Check | None = None, words: str = "", kind: ErrorKind = PROFILE) -> Rule:  # fmt: skip
    return Rule("SubmissionSet", path, _S, least, most, check, words, kind)


def _folder(path: str, least: tuple[int, int, int] = NEVER, most: int | None = None,
            check: Check | None = None, words: str = "", kind: ErrorKind = PROFILE) -> Rule:  # fmt: skip
    return Rule("Folder", path, _F, least, most, check, words, kind)


_ATTACHMENT = "content.attachment"

RULES: tuple[Rule, ...] = (
    _document("modifierExtension", most=0),
    _document("masterIdentifier", ALWAYS, 1, is_whole,
              "A document needs its uniqueId as masterIdentifier."),
    _document("identifier(entryUUID)", most=1, check=is_uuid),
    _document("identifier(uniqueId)", most=1, check=is_whole),
    _document("status", check=is_current_or_superseded),
    _document("docStatus", most=0),
    _document("type", CLAIMED, check=is_not_empty),
    _document("category", CLAIMED, 1, is_not_empty),
    _document("subject", CLAIMED, check=is_patient),
    _document("author", check=is_contained),
    _document("authenticator", check=is_contained),
    _document("securityLabel", CLAIMED, check=is_not_empty),
    _document("content", ALWAYS, 1),
    _document(f"{_ATTACHMENT}.contentType", ALWAYS),
    _document(f"{_ATTACHMENT}.language", CLAIMED),
    _document(f"{_ATTACHMENT}.data", most=0),
    _document(f"{_ATTACHMENT}.url", ALWAYS, words="content.attachment.url must lead to the document."),
    _document(f"{_ATTACHMENT}.hash", check=is_sha1, kind=VALUE),
    _document(_ATTACHMENT, check=is_assembled, kind=BYTES_DIFFER),
    _document(f"{_ATTACHMENT}.creation", CLAIMED),
    _document("content.format", CLAIMED),
    _document("context", CLAIMED),
    _document("context.facilityType", CLAIMED, check=is_not_empty),
    _document("context.practiceSetting", CLAIMED, check=is_not_empty),
    _document("context.sourcePatientInfo", CLAIMED, check=is_contained),
    _document("context.sourcePatientInfo", check=is_source_patient),
    _document("context.period", check=is_in_order, kind=VALUE),
    _set("modifierExtension", most=0),
    _set(f"extension({SOURCE_ID})", ALWAYS, 1, is_identifier,
         "A SubmissionSet needs the extension ihe-sourceId: the system that submits."),
    _set(f"extension({DESIGNATION_TYPE})", CLAIMED, 1, is_concept,
         "A Comprehensive SubmissionSet needs the extension ihe-designationType: its content type."),
    _set(f"extension({INTENDED_RECIPIENT})", check=is_reference),
    # 0..1 in the profile, R for every sender in TF-3 Table 4.3.1-3, and testers reject its absence
    _set("identifier(uniqueId)", ALWAYS, 1, is_oid,
         "A SubmissionSet needs an identifier of type uniqueId (or use usual)."),
    _set("identifier(entryUUID)", most=1, check=is_uuid),
    _set("status", check=is_current),
    _set("mode", check=is_working),
    _set("subject", CLAIMED, check=is_patient),
    _set("encounter", most=0),
    _set("orderedBy", most=0),
    _set("emptyReason", most=0),
    _set("date", ALWAYS),
    _set("source", check=is_contained),
    _set("note", most=1),
    _set("entry.flag", most=0),
    _set("entry.deleted", most=0),
    _set("entry.date", most=0),
    _folder("modifierExtension", most=0),
    # the narrative of 2:3.65 wants Comprehensive Folders wherever the Bundle claims it (digest §0.3 row 3)
    _folder(f"extension({DESIGNATION_TYPE})", CLAIMED, check=is_concept),
    _folder(f"extension({SOURCE_ID})", most=0),
    _folder(f"extension({INTENDED_RECIPIENT})", most=0),
    _folder("identifier(uniqueId)", CLAIMED, 1, is_whole,
            "A Folder needs an identifier of type uniqueId (or use usual)."),
    _folder("identifier(entryUUID)", most=1, check=is_uuid),
    _folder("mode", check=is_working),
    _folder("title", CLAIMED),
    _folder("subject", CLAIMED, check=is_patient),
    _folder("source", most=0),
    _folder("encounter", most=0),
    _folder("orderedBy", most=0),
    _folder("emptyReason", most=0),
    _folder("note", most=1),
    _folder("entry.flag", most=0),
    _folder("entry.deleted", most=0),
    _folder("entry.date", most=0),
)  # fmt: skip

_BY_KIND: Mapping[Kind, tuple[Rule, ...]] = {
    kind: tuple(r for r in RULES if r.of == kind)
    for kind in ("DocumentReference", "SubmissionSet", "Folder")
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coded:
    """An element whose code must lie in a value set of the community (MHD digest §2.1 step 12)."""

    path: str
    value_set: str


CODED: tuple[Coded, ...] = (
    Coded("type", "type"),
    Coded("category", "category"),
    Coded("securityLabel", "label"),
    Coded("content.format", "format"),
    Coded("context.facilityType", "facility"),
    Coded("context.practiceSetting", "setting"),
)
