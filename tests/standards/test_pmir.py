"""The rules of ITI-93's messages: each can be broken, each says where, and reading breaks on nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.rows import ROWS
from standards import capability, pmir, pmir_message
from standards.r4.check import check_structure

Json = dict[str, Any]
PATIENT: Json = {"resourceType": "Patient", "active": True, "name": [{"text": "A"}]}
GONE: Json = {
    "resourceType": "Patient",
    "active": False,
    "link": [{"type": "replaced-by", "other": {"reference": "Patient/a"}}],
}


def a_message() -> Json:
    told = [
        pmir_message.Told("POST", "a", {**PATIENT, "id": "a"}),
        pmir_message.Told("PUT", "b", {**GONE, "id": "b"}),
        pmir_message.Told("DELETE", "c"),
    ]
    return pmir_message.message(
        told,
        id_="m1",
        base="https://x.example/fhir",
        destination="https://y.example",
        instant="2026-11-25T10:00:00.000Z",
    )


def header(message: Json) -> Json:
    made: Json = message["entry"][0]["resource"]
    return made


def entries(message: Json) -> list[Json]:
    made: list[Json] = message["entry"][1]["resource"]["entry"]
    return made


def without(of: Callable[[Json], Json], *names: str) -> Callable[[Json], None]:
    def broken(message: Json) -> None:
        for name in names:
            of(message).pop(name)

    return broken


def told(of: Callable[[Json], Json], **changes: Any) -> Callable[[Json], None]:
    def broken(message: Json) -> None:
        of(message).update(changes)

    return broken


def entry(number: int) -> Callable[[Json], Json]:
    return lambda m: entries(m)[number]


def patient(number: int) -> Callable[[Json], Json]:
    def of(message: Json) -> Json:
        made: Json = entries(message)[number]["resource"]
        return made

    return of


HISTORY = "Bundle.entry[1].resource"
BROKEN: tuple[tuple[str, Callable[[Json], Any], str, bool], ...] = (
    ("type", told(lambda m: m, type="collection"), "Bundle.type", False),
    ("no header", lambda m: m["entry"].pop(0), "Bundle.entry[0].resource", False),
    ("no history", lambda m: m["entry"].pop(1), "Bundle.entry[1].resource", False),
    ("more", lambda m: m["entry"].append({"resource": PATIENT}), "Bundle.entry[2]", True),
    ("fullUrl", without(lambda m: m["entry"][0], "fullUrl"), "Bundle.entry[0].fullUrl", True),
    ("event", told(header, eventUri="urn:x"), "Bundle.entry[0].resource.eventUri", False),
    ("answer", told(header, response={"identifier": "x", "code": "ok"}),
     "Bundle.entry[0].resource.response", False),
    ("destination", without(header, "destination"), "Bundle.entry[0].resource.destination", True),
    ("focus", told(header, focus=[{"reference": "urn:x"}]), "Bundle.entry[0].resource.focus", True),
    ("definition", without(header, "definition"), "Bundle.entry[0].resource.definition", True),
    ("history type", told(lambda m: m["entry"][1]["resource"], type="batch"), f"{HISTORY}.type", False),
    ("empty", without(lambda m: m["entry"][1]["resource"], "entry"), f"{HISTORY}.entry", True),
    ("other", lambda m: entries(m).append({"resource": {"resourceType": "Basic"}, "request":
     {"method": "POST", "url": "Basic"}}), f"{HISTORY}.entry[3]", True),
    ("method", told(lambda m: entries(m)[0]["request"], method="PATCH"),
     f"{HISTORY}.entry[0].request.method", False),
    ("no Patient", lambda m: entries(m)[0].update(request={"method": "PUT", "url": "Patient/a"}) or
     entries(m)[0].pop("resource"), f"{HISTORY}.entry[0].resource", False),
    ("no status", without(entry(0), "response"), f"{HISTORY}.entry[0].response.status", True),
    ("failed", told(entry(0), response={"status": "400"}), f"{HISTORY}.entry[0].response.status", False),
    ("twice", told(lambda m: entries(m)[2]["request"], url="Patient/b"), f"{HISTORY}.entry[2]", False),
    ("active", told(patient(1), active=True), f"{HISTORY}.entry[1].resource.active", False),
    ("merge by POST", told(lambda m: entries(m)[1]["request"], method="POST"),
     f"{HISTORY}.entry[1].request.method", True),
    ("two survivors", told(patient(1), link=GONE["link"] * 2), f"{HISTORY}.entry[1].resource.link[1]", False),
    ("another link", told(patient(1), link=[*GONE["link"], {"type": "refer", "other":
     {"reference": "Patient/d"}}]), f"{HISTORY}.entry[1].resource.link", True),
    ("no survivor", told(patient(1), link=[{"type": "replaced-by", "other": {"display": "x"}}]),
     f"{HISTORY}.entry[1].resource.link[0].other", False),
    ("related", told(patient(0), link=[{"type": "seealso", "other": {"reference": "RelatedPerson/1"}},
     {"type": "seealso", "other": {"reference": "Patient/2"}}]),
     f"{HISTORY}.entry[0].resource.link", True),
)  # fmt: skip


def test_our_own_message_breaks_no_rule() -> None:
    assert pmir_message.check(a_message()) == ()
    assert check_structure(a_message()) == ()


@pytest.mark.parametrize(
    ("name", "broken", "where", "tolerated"), BROKEN, ids=[b[0] for b in BROKEN]
)
def test_each_rule_says_where_it_is_broken_and_some_are_tolerated(
    name: str, broken: Callable[[Json], Any], where: str, *, tolerated: bool
) -> None:
    message = a_message()
    broken(message)
    strict = {i.where: i for i in pmir_message.check(message)}
    assert where in strict, f"{name}: {sorted(strict)}"
    assert strict[where].severity == "error"
    loose = [i for i in pmir_message.check(message, strict=False) if i.where == where]
    assert {i.severity for i in loose} == {"warning" if tolerated else "error"}


def test_a_header_without_an_id_is_known_by_its_url() -> None:
    message = a_message()
    del header(message)["id"]
    read, issues = pmir_message.read(message)
    assert read is not None
    assert read.id == "m1"
    message["entry"][0]["fullUrl"] = "nothing"
    assert pmir_message.read(message)[0] is None
    assert issues == ()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Patient/x", "x"),
        ("https://a.example/fhir/Patient/x/_history/2", "x"),
        ("urn:uuid:x", "x"),
        ("Patient?identifier=a/b", ""),
        ("Patient", ""),
        ("", ""),
        ("Patient/", ""),
        ("#x", ""),
    ],
)
def test_an_id_is_found_in_every_form_of_a_reference(said: str, expected: str) -> None:
    assert pmir_message.named(said) == expected


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    made = []
    for key, held in inside:
        made.append((*at, key))
        if isinstance(held, dict | list):
            made += _paths(held, (*at, key))
    return made


@given(st.data())
def test_reading_breaks_on_no_legal_bundle(data: st.DataObject) -> None:
    message = copy.deepcopy(a_message())
    for _ in range(data.draw(st.integers(1, 6))):
        paths = _paths(message)
        if not paths:
            break
        *stem, last = data.draw(st.sampled_from(paths))
        holder: Any = message
        for key in stem:
            holder = holder[key]
        if data.draw(st.booleans()):
            del holder[last]
        elif isinstance(holder[last], str):
            holder[last] = data.draw(st.text(max_size=12))
    if check_structure(message) == ():
        pmir_message.check(message)
        pmir_message.read(message)


def test_the_answer_has_one_entry_and_no_destination() -> None:
    details = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid"}],
    }
    made = pmir_message.response(
        "m1",
        "fatal-error",
        id_="r",
        base="https://x",
        instant="2026-11-25T10:00:00.000Z",
        details=details,
    )
    assert check_structure(json.loads(json.dumps(made))) == ()
    assert len(made["entry"]) == 1
    assert "destination" not in made["entry"][0]["resource"]
    assert pmir_message.reply(made, "m1") == "fatal-error"
    assert pmir_message.reply(made, "m2") is None


def test_what_messages_are_taken_and_sent_is_declared() -> None:
    statement = capability.statement(ROWS, base="http://x/fhir", auth="http://x/auth")
    assert check_structure(statement) == ()
    (messaging,) = statement["messaging"]
    assert {(m["mode"], m["definition"]) for m in messaging["supportedMessage"]} == {
        ("receiver", pmir.FEED), ("sender", pmir.FEED),
    }  # fmt: skip
    assert pmir.REGISTRY in statement["instantiates"]
    assert "Bundle" not in {r["type"] for r in statement["rest"][0]["resource"]}
