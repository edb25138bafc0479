"""The pure parts: tokens, claims, whose an identifier is, where a record belongs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load
from pix import claims, showing
from pix.cards import Card, Member, Told
from pix.identifiers import Domains, Identifier, token
from pix.joining import Holder, Known
from standards import pixm
from standards.outcome import Refused
from tests.pix.makers import BASE, COUNCIL, NHS, NS, identifier, nhs_number, patient

DOMAINS = Domains(load("greater_manchester"), BASE)
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    str.strip
)


@given(value=PLAIN)
def test_a_token_survives_escaping(value: str) -> None:
    escaped = "".join("\\" + c if c in "\\|,$" else c for c in value)
    assert token(f"{COUNCIL}|{escaped}", "x") == (COUNCIL, value.strip())


@given(text=st.text(max_size=20))
def test_any_token_is_read_or_refused(text: str) -> None:
    try:
        system, value = token(text, "x")
    except Refused:
        return
    assert system
    assert value


@pytest.mark.parametrize(
    ("status", "born", "anchored"),
    [
        ("01", "1980-02-03", True), ("02", "1980-02-03", False), ("", "1980-02-03", False),
        ("01", "", False), ("01", "1900-01-01", False), ("01", "1980", True),
    ],
)  # fmt: skip
def test_only_a_verified_number_with_a_birth_date_is_an_anchor(
    status: str, born: str, anchored: bool
) -> None:
    body = patient(COUNCIL, "1", nhs=nhs_number(1), status=status, born=born)
    claim = claims.claim(body, Identifier(COUNCIL, "1"), DOMAINS)
    assert bool(claim.anchor) is anchored


def test_two_verified_numbers_anchor_nothing_and_an_old_one_does_not_count() -> None:
    body = patient(COUNCIL, "1", nhs=nhs_number(1))
    second = identifier(NHS, nhs_number(2), status="01")
    primary = Identifier(COUNCIL, "1")
    both = {**body, "identifier": [*body["identifier"], second]}
    old = {**body, "identifier": [*body["identifier"], {**second, "use": "old"}]}
    assert not claims.claim(both, primary, DOMAINS).anchor
    assert claims.claim(old, primary, DOMAINS).anchor == f"{NHS}|{nhs_number(1)}"


def test_an_identifier_belongs_to_whoever_has_the_better_claim() -> None:
    known = Known("s|1", "s", "1")
    known.hold(Holder("r1", "p1", "carried", "", b"1"))
    assert known.owner() == "p1"
    known.hold(Holder("r2", "p2", "carried", "", b"2"))
    assert known.owner() is None
    known.hold(Holder("r3", "p3", "verified", "1980", b"3"))
    assert known.owner() == "p3"
    known.hold(Holder("r4", "p4", "verified", "1981", b"4"))
    assert known.owner() is None
    known.hold(Holder("r5", "p5", "primary", "", b"5"))
    assert known.owner() == "p5"
    assert Known.of(known.document()) == known


@given(st.permutations(["resourceType", "identifier", "name", "gender", "birthDate"]))
def test_the_same_content_in_any_order_is_the_same_bytes(order: list[str]) -> None:
    body = patient(COUNCIL, "1")
    sent = {**{k: body[k] for k in order}, "meta": {"versionId": "7"}}
    assert showing.canonical(sent) == showing.canonical(body)


def test_a_card_is_found_by_everything_on_it() -> None:
    told = (Told("s", "1", "r1", "r1", b"x"), Told("t", "2", "", "r1", b"y"))
    members = (Member("r1", "s|1", "active", ""), Member("r2", "s|0", "subsumed", "r1"))
    card = Card("p", told, members)
    again = Card.of(card.document())
    assert again == card
    for key in card.asked():
        assert card.found(key) is not None
    merged = card.found("s|0")
    assert merged is not None
    assert (merged.record, merged.state, merged.survivor) == ("r2", "subsumed", "r1")
    assert card.found("s|3") is None


def test_a_whole_patient_passes_and_every_fault_is_told_at_once() -> None:
    assert pixm.check(patient(COUNCIL, "1", nhs=nhs_number(1))) == ()
    bad = {"resourceType": "Patient", "implicitRules": "x", "link": [{"type": "replaced-by"}]}
    places = {i.where for i in pixm.check(bad)}
    assert places == {
        "Patient.implicitRules", "Patient.identifier", "Patient.name", "Patient.active",
        "Patient.link[0].other",
    }  # fmt: skip


def test_the_authority_of_a_family_is_its_organisation() -> None:
    assert DOMAINS.assigner(NS + "social-care-id/352") == "Manchester"
    assert DOMAINS.assigner(NS + "social-care-id/999") == ""
    assert DOMAINS.known(BASE)
    assert not DOMAINS.known(NS + "nothing")
