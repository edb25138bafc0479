"""Every rule of ITI-65 has a bundle that breaks it: 400, the place named, nothing stored."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load
from registry.draft import drafted
from tests.makers_mhd import a_bundle, a_document, a_patient, publish
from tests.registry.breaches import BREACHES, Breach
from tests.running import Exchange

TABLES = ("documents", "lists", "registered", "documents_history", "lists_history")


async def stored(exchange: Exchange) -> list[int]:
    return [await exchange.mongo.table("registry", t).count({}) for t in TABLES]


def named(breach: Breach) -> str:
    return breach.name


@pytest.mark.parametrize("breach", BREACHES, ids=named)
async def test_a_comprehensive_bundle_that_breaks_a_rule_is_refused_whole(
    exchange: Exchange, source: httpx.AsyncClient, person: str, breach: Breach
) -> None:
    bundle = a_bundle(a_document(person))
    breach.change(bundle)
    before = await stored(exchange)
    answer = await publish(source, bundle)
    assert answer.status_code == 400, answer.text
    said = answer.json()
    assert said["resourceType"] == "OperationOutcome"
    places = [p for issue in said["issue"] for p in issue.get("expression", ())]
    assert any(breach.where in place for place in places), said
    assert all(issue["diagnostics"] for issue in said["issue"])
    assert await stored(exchange) == before


@pytest.mark.parametrize("breach", BREACHES, ids=named)
async def test_a_minimal_bundle_may_leave_out_what_only_the_others_promise(
    source: httpx.AsyncClient, person: str, breach: Breach
) -> None:
    bundle = a_bundle(a_document(person), level="Minimal")
    breach.change(bundle)
    answer = await publish(source, bundle)
    assert answer.status_code == (400 if breach.minimal else 200), answer.text


async def test_two_subjects_in_one_submission_are_refused(
    exchange: Exchange, source: httpx.AsyncClient, person: str
) -> None:
    other = await a_patient(source)
    before = await stored(exchange)
    answer = await publish(source, a_bundle(a_document(person), a_document(other)))
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == "XDSPatientIdDoesNotMatch"
    assert await stored(exchange) == before


async def test_all_faults_are_named_at_once(source: httpx.AsyncClient, person: str) -> None:
    bundle = a_bundle(a_document(person, type=None, docStatus="final", securityLabel=None))
    answer = await publish(source, bundle)
    places = {i["expression"][0].rpartition(".")[2] for i in answer.json()["issue"]}
    assert places == {"type", "docStatus", "securityLabel"}


@given(chosen=st.lists(st.sampled_from(BREACHES), min_size=1, max_size=3, unique_by=named))
def test_breaches_together_never_break_the_reader(chosen: list[Breach]) -> None:
    """However a bundle is broken, reading it gives findings and no fault."""
    bundle = a_bundle(a_document("Patient/1"))
    for breach in chosen:
        try:
            breach.change(bundle)
        except (KeyError, IndexError, AttributeError, TypeError):
            return  # this breach needs what an earlier one took away
    made = drafted(
        bundle, {}, base="http://exchange.test/fhir", pack=load("greater_manchester"), lenient=False,
        ids=lambda: "new",
    )  # fmt: skip
    assert made.issues
