"""What MHD 4.2.4 asks of a DocumentReference, SubmissionSet and Folder: one row per constraint. Pure.

A row says, for the three levels a Bundle may claim, how often an element must and may occur, and what
a value must be. `check` evaluates all rows on one resource and returns every breach with its FHIRPath.
Base R4 rules (required elements, bound codes, formats) are `standards/r4`'s and are not repeated.

The three levels, each including the one before (MHD digest §3.2–3.4):
    minimal ──► uncontained ──► comprehensive
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Literal

from standards.mhd import (
    AUTHOR_ORG,
    DESIGNATION_TYPE,
    HOME_COMMUNITY,
    INTENDED_RECIPIENT,
    SOURCE_ID,
)
from standards.mhd_values import (
    EMPTY_SHA1,
    identifier_kind,
    is_assembled,
    is_by_authenticator,
    is_by_author,
    is_by_source,
    is_concept,
    is_contained,
    is_current,
    is_current_or_superseded,
    is_identifier,
    is_in_order,
    is_language,
    is_lasting,
    is_not_empty,
    is_oid,
    is_oid_value,
    is_organisation,
    is_patient,
    is_recipient,
    is_sha1,
    is_source_patient,
    is_unique_id,
    is_uuid,
    is_whole,
    is_working,
)
from standards.outcome import BYTES_DIFFER, PROFILE, REQUIRED, VALUE, ErrorKind, Issue

__all__ = ["CODED", "EMPTY_SHA1", "RULES", "Level", "Rule", "check", "identifier_kind", "values"]

Json = Mapping[str, Any]
Kind = Literal["DocumentReference", "SubmissionSet", "Folder"]
Check = Callable[[Json, Any], str]  # (resource, value) → what is wrong with it, "" when nothing is


class Level(IntEnum):
    """How much metadata a Bundle promises, by the profile it claims."""

    MINIMAL = 0
    UNCONTAINED = 1
    COMPREHENSIVE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """One constraint. `least` holds the minimum for the three levels, `most` the maximum (None: any);
    `check` looks at each value, at these `levels`. `path` is dotted from the resource;
    `extension(url)` is a slice and `identifier(kind)` the identifiers of that kind."""

    of: Kind
    path: str
    see: str
    least: tuple[int, int, int] = (0, 0, 0)
    most: int | None = None
    check: Check | None = None
    words: str = ""
    kind: ErrorKind = PROFILE
    levels: tuple[Level, ...] = tuple(Level)

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
    if len(found) < rule.least[level]:
        words = rule.words or f"{rule.of} must have {_plain(rule.path)} here."
        yield Issue(REQUIRED, words, f"{where}.{_place(rule.path)}")
    if rule.most is not None:
        for place, _ in found[rule.most :]:
            short = _plain(rule.path)
            words = (
                f"{rule.of} may not have {short} here; leave it out."
                if rule.most == 0
                else f"{rule.of} may have {rule.most} {short} only."
            )
            yield Issue(PROFILE, words, f"{where}.{place}")
    if rule.check is not None and level in rule.levels:
        for place, value in found:
            wrong = rule.check(resource, value)
            if wrong:
                yield Issue(rule.kind, wrong, f"{where}.{place}")


def values(resource: Json, path: str) -> list[tuple[str, Any]]:
    """The values at a rule's path, each with its FHIRPath below the resource."""
    found: list[tuple[str, Any]] = [("", resource)]
    for name, slice_ in _steps(path):
        below: list[tuple[str, Any]] = []
        for place, holder in found:
            held = holder.get(name) if isinstance(holder, Mapping) else None
            stem = f"{place}.{name}" if place else name
            if isinstance(held, list):
                below += [(f"{stem}[{n}]", v) for n, v in enumerate(held) if v is not None]
            elif held is not None:
                below.append((stem, held))
        if slice_:
            below = [(p, v) for p, v in below if _in_slice(name, slice_, v)]
        if not below:
            return []
        found = below
    return found


@cache
def _steps(path: str) -> tuple[tuple[str, str], ...]:
    """The path's steps, each with its slice; the dots inside a slice's parentheses belong to its URL."""
    head, _, rest = path.partition("(")
    inside, _, after = rest.partition(")")
    *names, last = head.split(".")
    made = [(name, "") for name in names] + [(last, inside)]
    return tuple(made + [(name, "") for name in after.split(".") if name])


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


# -- the rows -----------------------------------------------------------------------------------------

ALWAYS, CLAIMED, NEVER = (1, 1, 1), (0, 1, 1), (0, 0, 0)
_D, _S, _F = "MHD 4.2.4 DocumentReference", "MHD 4.2.4 SubmissionSet", "MHD 4.2.4 Folder"


def _document(path: str, least: tuple[int, int, int] = NEVER, most: int | None = None,
              check: Check | None = None, words: str = "", kind: ErrorKind = PROFILE,
              levels: tuple[Level, ...] = tuple(Level)) -> Rule:  # fmt: skip
    return Rule("DocumentReference", path, _D, least, most, check, words, kind, levels)


def _set(path: str, least: tuple[int, int, int] = NEVER, most: int | None = None,
         check: Check | None = None, words: str = "", kind: ErrorKind = PROFILE,
         levels: tuple[Level, ...] = tuple(Level)) -> Rule:  # fmt: skip
    return Rule("SubmissionSet", path, _S, least, most, check, words, kind, levels)


def _folder(path: str, least: tuple[int, int, int] = NEVER, most: int | None = None,
            check: Check | None = None, words: str = "", kind: ErrorKind = PROFILE) -> Rule:  # fmt: skip
    return Rule("Folder", path, _F, least, most, check, words, kind)


_ATTACHMENT = "content.attachment"

RULES: tuple[Rule, ...] = (
    _document("modifierExtension", most=0),
    _document(f"extension({HOME_COMMUNITY})", most=1, check=is_oid_value),
    _document("masterIdentifier", ALWAYS, 1, is_unique_id,
              "A document needs its uniqueId as masterIdentifier."),
    _document("identifier(entryUUID)", most=1, check=is_uuid),
    _document("identifier(uniqueId)", most=1, check=is_whole),
    _document("status", check=is_current_or_superseded),
    _document("docStatus", most=0),
    _document("type", CLAIMED, check=is_not_empty),
    _document("category", CLAIMED, 1, is_not_empty),
    _document("subject", CLAIMED, check=is_patient),
    _document("author", check=is_contained, levels=(Level.COMPREHENSIVE,)),
    _document("author", check=is_lasting, levels=(Level.UNCONTAINED,)),
    _document("author", check=is_by_author),
    _document("authenticator", check=is_contained, levels=(Level.COMPREHENSIVE,)),
    _document("authenticator", check=is_lasting, levels=(Level.UNCONTAINED,)),
    _document("authenticator", check=is_by_authenticator),
    _document("securityLabel", CLAIMED, check=is_not_empty),
    _document("content", ALWAYS, 1),
    _document(f"{_ATTACHMENT}.contentType", ALWAYS),
    _document(f"{_ATTACHMENT}.language", CLAIMED, check=is_language, kind=VALUE),
    _document(f"{_ATTACHMENT}.data", most=0),
    _document(f"{_ATTACHMENT}.url", ALWAYS, words="content.attachment.url must lead to the document."),
    _document(f"{_ATTACHMENT}.hash", check=is_sha1, kind=VALUE),
    _document(_ATTACHMENT, check=is_assembled, kind=BYTES_DIFFER),
    _document(f"{_ATTACHMENT}.creation", CLAIMED),
    _document("content.format", CLAIMED),
    _document("context", CLAIMED),
    _document("context.facilityType", CLAIMED, check=is_not_empty),
    _document("context.practiceSetting", CLAIMED, check=is_not_empty),
    _document("context.sourcePatientInfo", CLAIMED, check=is_contained, levels=(Level.COMPREHENSIVE,)),
    _document("context.sourcePatientInfo", check=is_lasting, levels=(Level.UNCONTAINED,)),
    _document("context.sourcePatientInfo", check=is_source_patient),
    _document("context.period", check=is_in_order, kind=VALUE),
    _set("modifierExtension", most=0),
    _set(f"extension({SOURCE_ID})", ALWAYS, 1, is_identifier,
         "A SubmissionSet needs the extension ihe-sourceId: the system that submits."),
    _set(f"extension({DESIGNATION_TYPE})", CLAIMED, 1, is_concept,
         "A Comprehensive SubmissionSet needs the extension ihe-designationType: its content type."),
    _set(f"extension({INTENDED_RECIPIENT})", check=is_recipient),
    _set(f"extension({HOME_COMMUNITY})", most=1, check=is_oid_value),
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
    _set("source", check=is_contained, levels=(Level.COMPREHENSIVE,)),
    _set("source", check=is_lasting, levels=(Level.UNCONTAINED,)),
    _set("source", check=is_by_source),
    _set(f"source.extension({AUTHOR_ORG})", most=1, check=is_organisation),
    _set("note", most=1),
    _set("entry.flag", most=0),
    _set("entry.deleted", most=0),
    _set("entry.date", most=0),
    _folder("modifierExtension", most=0),
    # the narrative of 2:3.65 wants Comprehensive Folders wherever the Bundle claims it (digest §0.3 row 3)
    _folder(f"extension({DESIGNATION_TYPE})", CLAIMED, check=is_concept),
    _folder(f"extension({HOME_COMMUNITY})", most=1, check=is_oid_value),
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
