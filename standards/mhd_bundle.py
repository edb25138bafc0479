"""The Bundle of an ITI-65 and the closed list of what may lie in it (MHD 4.2.4, digest §2.1, §3.5). Pure.

`read` sorts the entries into the slices of the profile and says, all at once, what fits none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from standards.lens import at, first, text
from standards.mhd import COMPREHENSIVE_BUNDLE, LIST_TYPES, MINIMAL_BUNDLE, UNCONTAINED_BUNDLE
from standards.mhd_rules import Level
from standards.outcome import NOT_SUPPORTED, PROFILE, REQUIRED, VALUE, Issue

Slice = Literal[
    "SubmissionSet", "DocumentReference", "Patch", "Binary", "FhirDocument", "Folder", "Patient"
]
LEVELS: Mapping[str, Level] = {
    MINIMAL_BUNDLE: Level.MINIMAL,
    UNCONTAINED_BUNDLE: Level.UNCONTAINED,
    COMPREHENSIVE_BUNDLE: Level.COMPREHENSIVE,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its number, its slice, and what it carries. `target` is the id in a PATCH or PUT
    URL, or the whole URL of a Patient entry; `seen` is the version in the ifMatch of a Folder."""

    number: int
    slice: Slice
    full_url: str
    method: str
    target: str
    resource: Mapping[str, Any]
    seen: int | None = None

    @property
    def where(self) -> str:
        """FHIRPath of the resource."""
        return f"Bundle.entry[{self.number}].resource"


@dataclass(frozen=True, slots=True)
class Parts:
    """A Bundle, sorted. `issues` are what the Bundle itself breaks."""

    level: Level
    entries: tuple[Entry, ...]
    issues: tuple[Issue, ...]
    by_url: Mapping[str, Entry] = field(default_factory=dict)

    def of(self, slice_: Slice) -> tuple[Entry, ...]:
        """The entries of one slice, in order."""
        return tuple(e for e in self.entries if e.slice == slice_)


@dataclass(frozen=True, slots=True)
class _Row:
    """One slice: resource type, List code, and the method and URL its entries must have; `said` is how
    the URL is told to people."""

    slice: Slice
    resource: str
    method: str
    url: str
    code: str = ""
    said: str = ""


_ID = r"[A-Za-z0-9\-.]{1,64}"
_WHICH = rf"(Patient/{_ID}|Patient\?.+)"
SLICES: tuple[_Row, ...] = (
    _Row("SubmissionSet", "List", "POST", "List", "submissionset"),
    _Row("DocumentReference", "DocumentReference", "POST", "DocumentReference"),
    _Row("Patch", "Parameters", "PATCH", f"DocumentReference/({_ID})", said="DocumentReference/id"),
    _Row("Binary", "Binary", "POST", "Binary"),
    _Row("FhirDocument", "Bundle", "POST", "Bundle"),
    _Row("Folder", "List", "POST", "List", "folder"),
    _Row("Folder", "List", "PUT", f"List/({_ID})", "folder", "List/id"),
    _Row("Patient", "Patient", "POST", "(Patient)", said="Patient"),
    _Row("Patient", "Patient", "PUT", _WHICH, said="Patient/id"),
    _Row("Patient", "", "GET", _WHICH, said="Patient/id"),
)


def read(bundle: Mapping[str, Any]) -> Parts:
    """Sort a structurally legal Bundle into the slices of ITI-65."""
    issues: list[Issue] = [*_type(bundle)]
    level, wrong = _level(bundle)
    issues += wrong
    entries: list[Entry] = []
    for number, raw in enumerate(bundle.get("entry") or ()):
        found = _entry(number, raw)
        seen, wrong = _conditions(number, raw)
        issues += wrong
        if isinstance(found, Entry):
            entries.append(replace(found, seen=seen) if seen is not None else found)
        else:
            issues.append(found)
    by_url: dict[str, Entry] = {}
    for entry in entries:
        if entry.full_url and entry.full_url in by_url:
            words = f"Entry {by_url[entry.full_url].number} has the same fullUrl."
            issues.append(Issue(VALUE, words, f"Bundle.entry[{entry.number}].fullUrl"))
        elif entry.full_url:
            by_url[entry.full_url] = entry
    parts = Parts(level, tuple(entries), (), by_url)
    issues += _counts(parts)
    for entry in parts.of("Patch"):
        issues += _patch(entry)
    for entry in parts.of("FhirDocument"):
        issues += _fhir_document(entry)
    return Parts(level, parts.entries, tuple(issues), by_url)


def _type(bundle: Mapping[str, Any]) -> Iterator[Issue]:
    if bundle.get("type") != "transaction":
        yield Issue(VALUE, "The type of the Bundle must be transaction.", "Bundle.type")


def _level(bundle: Mapping[str, Any]) -> tuple[Level, list[Issue]]:
    """The most demanding profile that the Bundle claims."""
    claimed = at(bundle, "meta.profile")
    known = [LEVELS[p.split("|")[0]] for p in claimed if p.split("|")[0] in LEVELS]
    if known:
        return max(known), []
    kind = VALUE if claimed else REQUIRED
    words = f"The Bundle must claim one of the profiles {', '.join(LEVELS)} in meta.profile."
    return Level.MINIMAL, [Issue(kind, words, "Bundle.meta.profile")]


def _entry(number: int, raw: Mapping[str, Any]) -> Entry | Issue:
    resource = raw.get("resource") or {}
    method, url = text(raw, "request.method"), text(raw, "request.url")
    kind, where = str(resource.get("resourceType", "")), f"Bundle.entry[{number}]"
    code = _list_code(resource) if kind == "List" else ""
    near = [r for r in SLICES if r.resource == kind and (not r.code or r.code == code)]
    for row in near:
        found = re.fullmatch(row.url, url)
        if found and re.fullmatch(row.method, method):
            target = found[1] if found.groups() else ""
            return Entry(number, row.slice, text(raw, "fullUrl"), method, target, resource)
    if near:
        takes = " or ".join(f"{r.method} {r.said or r.url}" for r in near)
        words = (
            f"{method or 'No method'} {url} is not taken for a {near[0].slice}; it takes {takes}."
        )
        return Issue(PROFILE, words, f"{where}.request")
    if kind == "List":
        words = f"The code of a List must be submissionset or folder of {LIST_TYPES}."
        return Issue(VALUE, words, f"{where}.resource.code")
    words = (
        f"A submission holds no {kind or 'entry without a resource'}; it holds a SubmissionSet, "
        "DocumentReferences, Binaries, FHIR documents, Folders, PATCH Parameters and at most one Patient."
    )
    return Issue(PROFILE, words, f"{where}.resource" if kind else where)


_CONDITIONS = ("ifNoneExist", "ifMatch", "ifNoneMatch", "ifModifiedSince")
_VERSION = re.compile(r'(?:W/)?"([1-9][0-9]{0,8})"')


def _conditions(number: int, raw: Mapping[str, Any]) -> tuple[int | None, list[Issue]]:
    """A condition that is not kept may not be passed over. The one that is kept: the PUT of a Folder may
    say by ifMatch which version it saw, which it must to take a member away."""
    issues, seen = [], None
    folder = text(raw, "request.method") == "PUT" and first(raw, "resource.resourceType") == "List"
    for name in _CONDITIONS:
        said = first(raw, f"request.{name}")
        if said is None:
            continue
        place = f"Bundle.entry[{number}].request.{name}"
        if name == "ifMatch" and folder:
            found = _VERSION.fullmatch(str(said))
            if found is None:
                issues.append(Issue(VALUE, 'ifMatch is the ETag of a version, as W/"3".', place))
            else:
                seen = int(found[1])
            continue
        words = f"{name} is not taken here; only the PUT of a Folder has a condition, ifMatch."
        issues.append(Issue(NOT_SUPPORTED, words, place))
    return seen, issues


def _fhir_document(entry: Entry) -> Iterator[Issue]:
    """R4 documents.html: a Bundle of type document that begins with its Composition (bdl-9, -10, -11)."""
    held, where = entry.resource, entry.where
    if held.get("type") != "document":
        words = "A Bundle inside a submission is a FHIR document: its type is document."
        yield Issue(VALUE, words, f"{where}.type", xds="FHIRDocumentNotSupported")
        return
    if not (text(held, "identifier.system") and text(held, "identifier.value")):
        words = "A FHIR document has an identifier with system and value (bdl-9)."
        yield Issue(REQUIRED, words, f"{where}.identifier")
    if not held.get("timestamp"):
        words = "A FHIR document has the time it was put together (bdl-10)."
        yield Issue(REQUIRED, words, f"{where}.timestamp")
    entries = held.get("entry") or [{}]
    if text(entries[0], "resource.resourceType") != "Composition":
        words = "The first entry of a FHIR document is its Composition (bdl-11)."
        yield Issue(PROFILE, words, f"{where}.entry[0].resource")


def _list_code(resource: Mapping[str, Any]) -> str:
    codes = [
        str(c.get("code")) for c in at(resource, "code.coding") if c.get("system") == LIST_TYPES
    ]
    return codes[0] if len(set(codes)) == 1 else ""


def _counts(parts: Parts) -> Iterator[Issue]:
    sets = parts.of("SubmissionSet")
    if not sets:
        words = "A submission needs one List with the code submissionset."
        yield Issue(REQUIRED, words, "Bundle.entry")
    for extra in sets[1:]:
        yield Issue(PROFILE, "A submission has one SubmissionSet only.", extra.where)
    for extra in parts.of("Patient")[1:]:
        yield Issue(PROFILE, "A submission has one Patient at most.", extra.where)
    if not parts.of("DocumentReference") and not parts.of("Folder"):
        words = "A submission needs at least one DocumentReference or Folder."
        yield Issue(REQUIRED, words, "Bundle.entry")


def _patch(entry: Entry) -> Iterator[Issue]:
    """Exactly: operation(path=DocumentReference.status, type=replace, value=superseded)."""
    given = entry.resource.get("parameter") or []
    want = {
        "path": ("valueString", "DocumentReference.status"),
        "type": ("valueCode", "replace"),
        "value": ("valueCode", "superseded"),
    }
    parts = given[0].get("part") or [] if len(given) == 1 else []
    said = {p.get("name"): p for p in parts}
    if (
        len(given) == 1
        and given[0].get("name") == "operation"
        and set(given[0]) <= {"name", "part"}
        and len(parts) == 3
        and set(said) == set(want)
        and all(set(said[n]) == {"name", e} and said[n][e] == v for n, (e, v) in want.items())
    ):
        return
    words = (
        "The only PATCH taken is one operation with path DocumentReference.status, type replace and "
        "value superseded (IHE.MHD.Patch.Parameters)."
    )
    yield Issue(PROFILE, words, f"{entry.where}.parameter")
