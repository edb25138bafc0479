"""For every constraint on the resources of an ITI-65: submissions that keep it and submissions that break
it, drawn by hypothesis from a valid one with one element changed."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from affinity.pack import load
from standards.mhd import (
    AUTHOR_ORG,
    DESIGNATION_TYPE,
    HOME_COMMUNITY,
    IDENTIFIER_TYPES,
    INTENDED_RECIPIENT,
    SOURCE_ID,
    URI,
)
from standards.mhd_rules import RULES, Level, Rule
from standards.mhd_values import EMPTY_SHA1
from tests.makers_mhd import a_bundle, a_document, a_folder, an_oid, concept

Bundle = dict[str, Any]
Resource = dict[str, Any]
Strategy = st.SearchStrategy[Any]
PACK = load("greater_manchester")
LEVELS = {
    Level.MINIMAL: "Minimal",
    Level.UNCONTAINED: "UnContained.Comprehensive",
    Level.COMPREHENSIVE: "Comprehensive",
}
MEMBER = "urn:uuid:5f0a7b0e-8888-4000-8000-000000000001"
LISTS = frozenset(
    ("modifierExtension", "extension", "identifier", "category", "author", "securityLabel", "content", "note", "entry", "relatesTo")
)  # fmt: skip


def valid(person: str, level: Level) -> Bundle:
    """A submission of one document in one new Folder, with nothing wrong at this level."""
    document = {**a_document(person), "_url": MEMBER}
    folder = a_folder(person, members=(MEMBER,))
    return a_bundle(document, folders=(folder,), level=LEVELS[level])


def place(rule: Rule) -> int:
    """The number of the entry that a rule is about."""
    return {"SubmissionSet": 0, "DocumentReference": 1, "Folder": 3}[rule.of]


# -- values that keep a rule, and values that break it ------------------------------------------------

word = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
oids = st.builds(an_oid)  # never one that another example has used: names are taken once
uuids = st.builds(lambda: f"urn:uuid:{uuid.uuid4()}")


def coded(name: str) -> Strategy:
    codes = st.sampled_from(sorted(PACK.value_set(name).codes))
    return codes.map(lambda c: concept(*c) if c[0] else {"coding": [{"code": c[1]}]})


def marked(kind: str, value: Strategy, system: str = URI) -> Strategy:
    """An identifier of one kind, in either style or both."""
    by_type = {"type": concept(IDENTIFIER_TYPES, kind)}
    by_use = {"use": "usual" if kind == "uniqueId" else "official"}
    style = st.sampled_from([by_type, by_use, by_type | by_use])
    return st.builds(lambda s, v: {**s, "system": system, "value": v}, style, value)


def lacking(whole: Strategy) -> Strategy:
    """The identifier without its system or without its value."""
    return st.builds(
        lambda i, n: {k: v for k, v in i.items() if k != n},
        whole,
        st.sampled_from(["system", "value"]),
    )


def extension(url: str, value: Strategy) -> Strategy:
    return value.map(lambda v: {"url": url, **v})


def literal(*types: str) -> Strategy:
    """The absolute URL of a resource of one of these types in a directory elsewhere."""
    return st.builds(
        lambda t, i: {"reference": f"https://directory.example/fhir/{t}/{i}"},
        st.sampled_from(types),
        word,
    )


texts = word.map(lambda w: {"text": w})
displays = word.map(lambda w: {"display": w})
foreign = st.one_of(word.map(lambda w: {"valueString": w}), st.just({"valueBoolean": True}))
reference = {"valueReference": {"reference": "#author"}}
a_place = literal("Location", "List")
unique_ids, entry_uuids = marked("uniqueId", oids), marked("entryUUID", uuids)
raw = st.binary(min_size=1, max_size=60)
HEX = base64.b64encode(b"da39a3ee5e6b4b0d3255bfef95601890afd80709").decode()
_C, _A = "context", "content.attachment"


def _subjects(person: str) -> Strategy:
    """Ways to name the patient."""
    return st.one_of(
        st.just({"reference": person}), word.map(lambda w: {"reference": person, "display": w}),
        st.just({"reference": person, "type": "Patient"}),
        st.just({"reference": f"http://exchange.test/fhir/{person}"}),
    )  # fmt: skip


# what may stand at a place; where nothing is given, what the valid submission has
GOOD: dict[tuple[str, str], Callable[[str], Strategy]] = {
    ("DocumentReference", f"extension({HOME_COMMUNITY})"): lambda _: extension(
        HOME_COMMUNITY, oids.map(lambda o: {"valueOid": o})),
    ("DocumentReference", "masterIdentifier"): lambda _: st.one_of(
        unique_ids, st.builds(lambda v: {"system": "urn:x", "value": v}, oids)),
    ("DocumentReference", "identifier(entryUUID)"): lambda _: entry_uuids,
    ("DocumentReference", "identifier(uniqueId)"): lambda _: unique_ids,
    ("DocumentReference", "status"): lambda _: st.sampled_from(["current", "superseded"]),
    ("DocumentReference", "type"): lambda _: coded("type"),
    ("DocumentReference", "category"): lambda _: coded("category"),
    ("DocumentReference", "subject"): _subjects,
    ("DocumentReference", "author"): lambda _: st.just({"reference": "#author"}),
    ("DocumentReference", "authenticator"): lambda _: st.just({"reference": "#author"}),
    ("DocumentReference", "securityLabel"): lambda _: coded("label"),
    ("DocumentReference", f"{_A}.language"): lambda _: st.sampled_from(
        ["en-GB", "cy", "zh-Hant-HK", "sl-rozaj", "en-x-plain", "ku-Arab"]),
    ("DocumentReference", f"{_A}.creation"): lambda _: st.dates().map(lambda d: d.isoformat()),
    ("DocumentReference", f"{_C}.facilityType"): lambda _: coded("facility"),
    ("DocumentReference", f"{_C}.practiceSetting"): lambda _: coded("setting"),
    ("DocumentReference", f"{_C}.sourcePatientInfo"): lambda _: st.just({"reference": "#source"}),
    ("DocumentReference", f"{_C}.period"): lambda _: st.lists(
        st.dates(), min_size=2, max_size=2).map(sorted).map(
        lambda d: {"start": d[0].isoformat(), "end": d[1].isoformat()}),
    ("SubmissionSet", f"extension({SOURCE_ID})"): lambda _: extension(
        SOURCE_ID, oids.map(lambda o: {"valueIdentifier": {"system": URI, "value": o}})),
    ("SubmissionSet", f"extension({DESIGNATION_TYPE})"): lambda _: extension(
        DESIGNATION_TYPE, coded("type").map(lambda c: {"valueCodeableConcept": c})),
    ("SubmissionSet", f"extension({INTENDED_RECIPIENT})"): lambda _: extension(
        INTENDED_RECIPIENT, literal("Practitioner", "Organization", "Device", "Group", "Location").map(
            lambda r: {"valueReference": r})),
    ("SubmissionSet", f"extension({HOME_COMMUNITY})"): lambda _: extension(
        HOME_COMMUNITY, oids.map(lambda o: {"valueOid": o})),
    ("SubmissionSet", "identifier(uniqueId)"): lambda _: unique_ids,
    ("SubmissionSet", "identifier(entryUUID)"): lambda _: entry_uuids,
    ("SubmissionSet", "subject"): _subjects,
    ("SubmissionSet", "date"): lambda _: st.dates().map(lambda d: d.isoformat()),
    ("SubmissionSet", "source"): lambda _: st.just({"reference": "#author"}),
    ("SubmissionSet", f"source.extension({AUTHOR_ORG})"): lambda _: extension(
        AUTHOR_ORG, literal("Organization").map(lambda r: {"valueReference": r})),
    ("SubmissionSet", "note"): lambda _: texts,
    ("Folder", f"extension({DESIGNATION_TYPE})"): lambda _: extension(
        DESIGNATION_TYPE, texts.map(lambda c: {"valueCodeableConcept": c})),
    ("Folder", f"extension({HOME_COMMUNITY})"): lambda _: extension(
        HOME_COMMUNITY, oids.map(lambda o: {"valueOid": o})),
    ("Folder", "identifier(uniqueId)"): lambda _: st.one_of(unique_ids, marked("uniqueId", oids, "urn:x")),
    ("Folder", "identifier(entryUUID)"): lambda _: entry_uuids,
    ("Folder", "title"): lambda _: word,
    ("Folder", "subject"): _subjects,
    ("Folder", "note"): lambda _: texts,
}  # fmt: skip

# what a check refuses, by its name
BAD: dict[str, Strategy] = {
    "is_oid_value": extension(HOME_COMMUNITY, st.one_of(foreign, st.just({"valueUri": "urn:oid:1.2"}))),
    "is_unique_id": st.one_of(lacking(unique_ids), entry_uuids),
    "is_whole": lacking(unique_ids),
    "is_uuid": st.one_of(marked("entryUUID", oids), marked("entryUUID", uuids, "urn:x")),
    "is_oid": st.one_of(marked("uniqueId", uuids), marked("uniqueId", oids, "urn:x")),
    "is_current_or_superseded": st.just("entered-in-error"),
    "is_not_empty": texts,
    "is_patient": st.one_of(
        displays, st.just({"reference": "#source"}), st.just({"reference": "Group/1"}),
        st.just({"type": "Device", "identifier": {"system": "urn:x", "value": "1"}}),
        st.just({"identifier": {"value": "1"}})),
    "is_contained": st.one_of(literal("Practitioner", "Patient"), displays),
    "is_lasting": st.one_of(displays, st.just({"identifier": {"value": "1"}})),
    "is_by_author": a_place,
    "is_by_authenticator": literal("Patient", "Device"),
    "is_by_source": literal("Organization", "RelatedPerson"),
    "is_language": st.sampled_from(["e", "English please", "en_GB", "en-", "123"]),
    "is_sha1": st.one_of(
        st.just(HEX), raw.filter(lambda b: len(b) != 20).map(lambda b: base64.b64encode(b).decode())),
    "is_source_patient": literal("Practitioner", "RelatedPerson"),
    "is_in_order": st.lists(st.dates(), min_size=2, max_size=2, unique=True).map(sorted).map(
        lambda d: {"start": d[1].isoformat(), "end": d[0].isoformat()}),
    "is_identifier": extension(SOURCE_ID, st.one_of(foreign, st.just({"valueIdentifier": {"value": "1"}}))),
    "is_concept": extension(DESIGNATION_TYPE, st.one_of(
        foreign, st.just({"valueCoding": {"system": "urn:x", "code": "1"}}))),
    "is_recipient": extension(INTENDED_RECIPIENT, st.one_of(
        foreign, a_place.filter(lambda r: "/List/" in r["reference"]).map(lambda r: {"valueReference": r}))),
    "is_organisation": extension(AUTHOR_ORG, st.one_of(
        foreign, literal("Practitioner").map(lambda r: {"valueReference": r}))),
    "is_current": st.sampled_from(["retired", "entered-in-error"]),
    "is_working": st.sampled_from(["snapshot", "changes"]),
}  # fmt: skip

# what may not stand there at all
FORBIDDEN: dict[str, Strategy] = {
    "modifierExtension": st.just({"url": "https://x.example/not", "valueBoolean": True}),
    "docStatus": st.sampled_from(["final", "preliminary", "amended"]),
    f"{_A}.data": raw.map(lambda b: base64.b64encode(b).decode()),
    "encounter": displays,
    "orderedBy": texts,
    "emptyReason": texts,
    "source": displays,
    "entry.flag": texts,
    "entry.deleted": st.booleans(),
    "entry.date": st.dates().map(lambda d: d.isoformat()),
    f"extension({SOURCE_ID})": extension(
        SOURCE_ID, st.just({"valueIdentifier": {"system": URI, "value": "urn:oid:1.2"}})),
    f"extension({INTENDED_RECIPIENT})": extension(
        INTENDED_RECIPIENT, literal("Organization").map(lambda r: {"valueReference": r})),
}  # fmt: skip


# -- one element changed --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One rule at one level, and one way to keep or to break it."""

    rule: Rule
    level: Level
    what: str
    accepted: bool
    draw: Callable[
        [str], Strategy
    ]  # by the person: values to put at the rule's path (None: as it is)

    def __str__(self) -> str:
        short = self.rule.name.replace("https://profiles.ihe.net/ITI/MHD/StructureDefinition/", "")
        return f"{self.level.name} {short} {self.what}"

    def bundles(self, person: str) -> Strategy:
        """Submissions with only this changed."""
        return self.draw(person).map(lambda values: changed(person, self, values))


def cases(level: Level) -> Iterator[Case]:
    """Every case of every rule at this level."""
    for rule in RULES:
        good = GOOD.get((rule.of, rule.path))
        yield Case(rule, level, "left out", not _needed(rule, level), _nothing)
        if rule.most == 0:
            yield Case(rule, level, "is there", False, _one(FORBIDDEN[rule.path]))
        elif good is not None:
            yield Case(rule, level, "is right", True, _some(good, 1))
            if rule.most is not None and _is_list(rule.path):
                yield Case(rule, level, "too many", False, _some(good, rule.most + 1))
        else:
            yield Case(rule, level, "as it is", True, lambda _: st.none())
        if rule.check is None or level not in rule.levels:
            continue
        if rule.check.__name__ == "is_assembled":
            yield Case(rule, level, "half delayed", False, _one(_half_delayed))
        else:
            yield Case(rule, level, "is wrong", False, _one(BAD[rule.check.__name__]))


def _needed(rule: Rule, level: Level) -> bool:
    """Whether some row, or base R4, needs what this row is about."""
    rows = [r for r in RULES if (r.of, r.path) == (rule.of, rule.path)]
    return rule.path in ("status", "mode") or any(r.least[level] for r in rows)


def _nothing(_: str) -> Strategy:
    return st.just([])


_half_delayed = st.sampled_from([{"size": 0}, {"hash": EMPTY_SHA1, "size": 7}])


def _one(strategy: Strategy) -> Callable[[str], Strategy]:
    return lambda _: strategy.map(lambda v: [v])


def _some(good: Callable[[str], Strategy], number: int) -> Callable[[str], Strategy]:
    return lambda person: st.lists(good(person), min_size=number, max_size=number)


def _is_list(path: str) -> bool:
    return path.partition("(")[0].rpartition(".")[2] in LISTS


def changed(person: str, case: Case, values: list[Any] | None) -> Bundle:
    """The valid submission with these values at the rule's path, and no others there."""
    bundle = valid(person, case.level)
    if values is None:
        return bundle
    resource = bundle["entry"][place(case.rule)]["resource"]
    put(resource, case.rule.path, deepcopy(values))
    if (
        case.rule.path == "subject" and not values
    ):  # a Folder and its members have one patient or none
        for entry in bundle["entry"]:
            entry["resource"].pop("subject", None)
    _prune(resource)
    return bundle


def put(resource: Resource, path: str, values: list[Any]) -> None:
    """Replace what stands at a rule's path. `content.attachment` alone is amended instead."""
    head, bracket, slice_ = path.partition("(")
    *way, last = head.split(".")
    holder: Any = resource
    for name in way:
        held = holder.setdefault(name, {})
        holder = held[0] if isinstance(held, list) else held
    if path == _A:
        holder[last].update(values[0] if values else {})
        return
    if bracket:
        kept = [h for h in holder.get(last, []) if not _in_slice(h, slice_[:-1])]
        values = kept + values
    if not values:
        holder.pop(last, None)
    elif last in LISTS:
        holder[last] = values
    else:
        holder[last] = values[0]


def _in_slice(held: Resource, slice_: str) -> bool:
    if "url" in held:
        return held["url"] == slice_
    codes = [c["code"] for c in held.get("type", {}).get("coding", ())]
    return (
        slice_ in codes or held.get("use") == {"uniqueId": "usual", "entryUUID": "official"}[slice_]
    )


def _prune(resource: Resource) -> None:
    """Leave out contained resources that nothing refers to any more; base R4 has none of those."""
    said = repr({k: v for k, v in resource.items() if k != "contained"})
    held = [c for c in resource.get("contained", ()) if f"'#{c['id']}'" in said]
    if held:
        resource["contained"] = held
    else:
        resource.pop("contained", None)
