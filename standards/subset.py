"""Parts of resources: `_summary` and `_elements` of every search, read and history. Pure.

FHIR R4 search.html#summary, search.html#elements. A part keeps the elements that every resource of its
type must have and those that change what the others mean, so that it is legal and cannot be
misunderstood, and the contained resources that what is kept refers to. It is marked SUBSETTED, so that
nobody takes it for the whole. Elements are those at the root of a resource; what is in them is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from standards.outcome import INVALID, Issue
from standards.r4.definition import definition

Json = Mapping[str, Any]
Pair = tuple[str, str]

NAMES = ("_summary", "_elements")
TAG = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
_ALWAYS = frozenset(("resourceType", "id", "meta", "implicitRules", "modifierExtension"))
_MOST = 100  # names in one `_elements`

# What the definitions mark as summary (Σ), beside what is always kept; see the page of each type.
SUMMARY: Mapping[str, frozenset[str]] = {
    kind: frozenset(said.split())
    for kind, said in {
        "DocumentReference": "masterIdentifier identifier status docStatus type category subject date "
        "author relatesTo description securityLabel content context",
        "List": "status mode title code subject date source",
        "Patient": "identifier active name telecom gender birthDate deceased address "
        "managingOrganization link",
        "AuditEvent": "type subtype action recorded outcome outcomeDesc purposeOfEvent",
        "Provenance": "target recorded",
        "Subscription": "status contact end reason criteria error channel",
        "OperationDefinition": "url version name title status kind experimental date publisher "
        "contact useContext jurisdiction affectsState code base resource system type instance",
        "SearchParameter": "url version name status experimental date publisher contact description "
        "useContext jurisdiction code base type",
    }.items()
}
# What changes the meaning of the rest (?!), and so never stays behind.
MODIFIERS: Mapping[str, frozenset[str]] = {
    "DocumentReference": frozenset(("status",)),
    "List": frozenset(("status", "mode")),
    "Patient": frozenset(("active", "deceased", "link")),
    "Subscription": frozenset(("status",)),
    "OperationDefinition": frozenset(("status",)),
    "SearchParameter": frozenset(("status",)),
}


@dataclass(frozen=True, slots=True)
class Subset:
    """The part that is wanted: a `summary` ("true", "text" or "data"), or `elements` of one type.

    `pairs` are the parameters that said so.
    """

    summary: str = ""
    kind: str = ""
    elements: frozenset[str] = frozenset()
    pairs: tuple[Pair, ...] = ()

    def of(self, answer: Json) -> Json:
        """An answer with the parts of its resources: those of a Bundle, or the resource that it is.
        An OperationOutcome stays whole, and so does what `_elements` of another type came along."""
        if answer.get("resourceType") != "Bundle":
            return self._part(answer)
        entries = [
            {**e, "resource": self._part(e["resource"])} if "resource" in e else e
            for e in answer.get("entry") or ()
        ]
        return {**answer, "entry": entries} if entries else answer

    def _part(self, resource: Json) -> Json:
        kind = str(resource.get("resourceType"))
        if kind == "OperationOutcome" or (self.elements and kind != self.kind):
            return resource
        made = {k: v for k, v in resource.items() if self._keeps(kind, k)}
        made.pop("contained", None)  # R4 has none that nothing refers to
        if held := _referred(resource.get("contained") or (), made):
            made["contained"] = held
        meta = made.get("meta") or {}
        tags = [t for t in meta.get("tag") or () if t.get("code") != TAG["code"]]
        made["meta"] = {**meta, "tag": [*tags, TAG]}
        return {k: made[k] for k in dict.fromkeys((*resource, "meta")) if k in made}

    def _keeps(self, kind: str, key: str) -> bool:
        """Whether this key of the JSON stays; `_birthDate` goes with birthDate."""
        element = _elements_of(kind).get(key.removeprefix("_"), key)
        if self.summary == "data":
            return element != "text"
        if element in _least(kind):
            return True
        if self.summary == "text":
            return element == "text"
        return element in (SUMMARY.get(kind, ()) if self.summary else self.elements)


def wanted(
    kind: str, pairs: Iterable[Pair], *, searching: bool
) -> tuple[Subset | None, list[Issue]]:
    """The part that these parameters ask for (None: the whole), and what is wrong with them.

    `kind` is the type that is searched or read; `searching` says that there is something to count.
    """
    issues: list[Issue] = []
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            issues.append(Issue(INVALID, f"{name} is given more than once; give it once.", name))
        elif not value:
            issues.append(Issue(INVALID, f"{name} has no value.", name))
        given[name] = value
    if issues:
        return None, issues
    summary, said = given.get("_summary", ""), given.get("_elements", "")
    offered = ("true", "text", "data", "false", *(("count",) if searching else ()))
    if summary and summary not in offered:
        words = f"_summary takes {', '.join(offered[:-1])} or {offered[-1]}."
        issues.append(Issue(INVALID, words, "_summary"))
    if summary in ("true", "text", "data") and said:
        words = "Ask for a _summary or for _elements, not for both."
        issues.append(Issue(INVALID, words, "_elements"))
    elements = _elements(kind, said, issues) if said else frozenset[str]()
    part = summary if summary in ("true", "text", "data") else ""
    if issues or not (part or elements):
        return None, issues
    return Subset(part, kind, elements, tuple(given.items())), issues


def _elements(kind: str, said: str, issues: list[Issue]) -> frozenset[str]:
    """The names that are asked for; what is none is an issue each."""
    names = [n.strip().removesuffix("[x]") for n in said.split(",")]
    known = frozenset(_elements_of(kind).values())
    if len(names) > _MOST:
        issues.append(Issue(INVALID, f"_elements takes at most {_MOST} names.", "_elements"))
        return frozenset()
    strange = [n for n in dict.fromkeys(names) if n not in known]
    issues += [Issue(INVALID, _unknown(kind, n, sorted(known)), "_elements") for n in strange]
    return frozenset(names)


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    shown = "".join(c for c in name[:40] if c.isprintable())
    near = get_close_matches(shown, known, 1, 0.5)
    if "." in name:
        help_ = "Name elements at the root of the resource."
    elif near:
        help_ = f'Did you mean "{near[0]}"?'
    else:
        help_ = "It has " + ", ".join(known) + "."
    return f'A {kind} has no element "{shown}". {help_}'


@cache
def _elements_of(kind: str) -> Mapping[str, str]:
    """Every element at the root of a type by its JSON name; a choice goes by its stem."""
    return {name: element.path for name, element in definition(kind).elements.items()}


@cache
def _least(kind: str) -> frozenset[str]:
    """What every part of a resource of this type has."""
    made = definition(kind)
    stems = {choice.stem for choice in made.choices if choice.required}
    return _ALWAYS | stems | frozenset(made.required) | MODIFIERS.get(kind, frozenset())


def _referred(contained: Sequence[Json], made: Json) -> list[Json]:
    """The contained resources that what is kept refers to, also by way of one another."""
    by_id = {str(c.get("id")): c for c in contained}
    if not by_id:
        return []
    wanted, open_ = set[str](), list(_locals(made))
    while open_:
        name = open_.pop()
        if name in by_id and name not in wanted:
            wanted.add(name)
            open_ += _locals(by_id[name])
    return [c for c in contained if str(c.get("id")) in wanted]


def _locals(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        said = value.get("reference")
        if isinstance(said, str) and said.startswith("#"):
            yield said[1:]
        for held in value.values():
            yield from _locals(held)
    elif isinstance(value, list):
        for held in value:
            yield from _locals(held)
