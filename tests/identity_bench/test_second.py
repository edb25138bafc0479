"""The second population: the same for a seed, legal to feed, full of traps, and put together well."""

from __future__ import annotations

from collections import defaultdict

import pytest

from affinity.pack import NHS_NUMBER, load
from benchmarks.identity import measures, memory
from benchmarks.identity.recording import Record
from benchmarks.identity.second import population
from benchmarks.identity.second.traditions import traditions
from pix import claims, model
from pix.identifiers import Domains
from standards import pixm
from standards.r4.check import check_structure

SEED, COUNT = 5, 3_000


@pytest.fixture(scope="module")
def city() -> list[Record]:
    return list(population.arrivals(SEED, COUNT))


def test_a_seed_makes_the_same_records_in_the_same_order(city: list[Record]) -> None:
    population._city.cache_clear()
    assert list(population.arrivals(SEED, COUNT)) == city
    assert list(population.arrivals(SEED + 1, COUNT)) != city


def test_every_record_is_legal_and_fed_under_a_number_of_its_own(city: list[Record]) -> None:
    domains = Domains(load("greater_manchester"), "https://exchange.example/fhir")
    for record in city:
        faults = [
            *check_structure(record.patient),
            *pixm.check(record.patient),
            *claims.check(record.patient, domains.identifier(record.system, record.value), domains),
        ]
        assert not faults, (faults, record.patient)
    assert len({r.key for r in city}) == len(city)


def test_numbers_and_telephones_belong_to_nobody(city: list[Record]) -> None:
    for record in city:
        for number in record.patient["identifier"]:
            assert number["system"] != NHS_NUMBER or number["value"].startswith("999")
        for telecom in record.patient.get("telecom", ()):
            digits = "".join(c for c in telecom["value"] if c.isdigit())
            assert telecom["system"] == "email" or digits[-10:-3] in DRAMA, telecom


TRAPS = (
    "twin;birth;sealed;labelled;no NHS number;step child;site;custody;father and son;looked_after;"
    "undated;vague date;baby"
)
# Ofcom's ranges for drama, without the leading nought and the last three digits.
DRAMA = {
    "7700900", "1134960", "1144960", "1154960", "1164960", "1174960", "1184960", "1214960", "1314960",
    "1414960", "1514960", "1614960", "1632960", "1914980", "2079460", "2920180", "2896496",
}  # fmt: skip


def test_one_person_has_one_number_of_a_kind(city: list[Record]) -> None:
    held: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in city:
        for number in record.patient["identifier"]:
            if number["system"].endswith(("/upn", "/nino", "/uln")):
                held[record.person, number["system"]].add(number["value"])
    assert all(len(values) == 1 for values in held.values())


def test_the_traps_are_there(city: list[Record]) -> None:
    seen = {name.partition(":")[0] for r in city for name in r.slices}
    assert set(TRAPS.split(";")) <= seen
    assert len({r.group for r in city}) > 20
    assert {r.group for r in city} <= {t.group for t in traditions().values()}


def test_an_adopted_child_is_two_identities_that_share_no_number() -> None:
    records = population.arrivals(SEED, COUNT)
    pairs = population.sealed(SEED, COUNT)
    assert pairs
    for pair in pairs:
        before, after = (
            {i["value"] for r in records if r.person == person for i in r.patient["identifier"]}
            for person in (pair.before, pair.after)
        )
        assert before
        assert after
        assert not before & after


def test_strangers_data_are_put_together_well(city: list[Record]) -> None:
    outcome = memory.run(city, model.load())
    found = measures.report("Throughline", city, outcome, population.sealed(SEED, COUNT))
    assert found.all.precision >= 0.999
    assert found.all.recall >= 0.95
    assert found.merged_per_100k <= 200
    assert found.sealed_joined == 0
    assert (found.reviews or 0) <= 0.02
    assert (found.missed or 0) <= 0.015
