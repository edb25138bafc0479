"""The population is reproducible, legal, safe, and as varied as it says."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from itertools import islice

import orjson
import pytest

from affinity.pack import NHS_NUMBER, load
from benchmarks.identity.names import communities
from benchmarks.identity.people import people
from benchmarks.identity.person import Person
from benchmarks.identity.population import Record, arrivals, population, records, sealed
from pix import claims
from pix.identifiers import Domains
from standards import pixm
from standards.r4.check import check_structure

COUNT = 12_000
DOMAINS = Domains(load("greater_manchester"), "http://exchange.test/fhir")


@pytest.fixture(scope="module")
def crowd() -> Sequence[Record]:
    return arrivals(3, COUNT)


@pytest.fixture(scope="module")
def everybody() -> Sequence[Person]:
    return list(people(3, 20_000))


@pytest.fixture(scope="module")
def living(everybody: Sequence[Person]) -> Sequence[Person]:
    return everybody[:8_000]


def test_the_same_seed_makes_the_same_records_and_another_seed_others():
    one, again, other = (list(records(seed, 300)) for seed in (5, 5, 6))
    assert one == again
    assert [r.patient for r in one] != [r.patient for r in other]


def test_a_smaller_population_is_the_beginning_of_a_larger_one():
    assert list(records(5, 100)) == list(records(5, 300))[:100]
    assert list(people(5, 100)) == list(people(5, 300))[:100]


def test_every_record_is_one_that_the_exchange_would_take(crowd):
    for record in crowd:
        faults = [
            *check_structure(record.patient),
            *pixm.check(record.patient),
            *claims.check(record.patient, DOMAINS.identifier(record.system, record.value), DOMAINS),
        ]
        assert not faults, (faults, record.patient)


def test_no_two_records_are_fed_under_one_identifier(crowd):
    assert len({r.key for r in crowd}) == COUNT


def test_what_is_fed_says_nothing_of_the_truth(crowd):
    for record in crowd:
        assert record.person.encode() not in orjson.dumps(record.patient)
        assert record.person[1:].lstrip("0") != re.sub(r"\D", "", record.value).lstrip("0")


def test_every_number_address_and_phone_is_one_that_can_never_be_live(crowd):
    for record in crowd:
        for said in record.patient["identifier"]:
            if said["system"] == NHS_NUMBER:
                assert said["value"].startswith(("999", "949"))
            if said["system"].endswith("/nino"):
                assert said["value"].startswith("QQ")
        for address in record.patient.get("address", ()):
            unit = address.get("postalCode", "NF1 1NF").replace(" ", "")
            assert unit[:3] in ("NF1", "ZZ9") or set(unit[-2:]) <= set("CIKMOV"), unit
        for telecom in record.patient.get("telecom", ()):
            digits = telecom["value"].replace(" ", "").replace("+44", "0")
            fits = (
                telecom["value"].endswith("example.org") if telecom["system"] == "email" else None
            )
            assert fits if fits is not None else digits.startswith(("077009", "01614960", "06"))


def test_there_are_about_two_records_a_person_and_the_health_service_holds_most_numbers(crowd):
    held = Counter(r.person for r in crowd)
    assert 2.1 < COUNT / len(held) < 2.6
    assert 0.22 < sum("no NHS number" in r.slices for r in crowd) / COUNT < 0.32


def test_every_naming_group_is_there_at_about_its_share(living):
    shares = Counter(p.community for p in living)
    for community in communities():
        assert shares[community.name] / len(living) == pytest.approx(
            community.weight / 100, abs=0.04
        )
        assert shares[community.name]


def test_british_surnames_are_as_rare_as_published_counts_say():
    british = next(c for c in communities() if c.name == "British younger")
    assert british.surnames.share("Smith") == pytest.approx(0.012, abs=0.002)
    assert len(british.surnames.names) > 3000


def test_twins_share_birth_date_and_home_and_often_have_consecutive_numbers(living):
    births: dict[tuple[str, date], list[Person]] = defaultdict(list)
    for person in living:
        if "twin" in person.slices:
            births[person.address.uprn, person.born].append(person)
    assert len(births) > 10
    assert all(len(siblings) in (2, 3) for siblings in births.values())
    near = [abs(int(a.nhs[:9]) - int(b.nhs[:9])) == 1 for a, b, *_ in births.values()]
    assert 0.3 < sum(near) / len(near) <= 1


def test_fathers_and_sons_of_one_name_live_at_one_address(living):
    named = defaultdict(list)
    for person in living:
        if "same name" in person.slices and person.sex == "male":
            named[person.address.uprn].append(person)
    pairs = [v for v in named.values() if len(v) > 1]
    assert len(pairs) > 5
    for found in pairs:
        assert max(p.age for p in found) - min(p.age for p in found) > 14


def test_more_than_twenty_people_share_the_address_of_a_hostel(everybody):
    lived = Counter(p.address.uprn for p in everybody[:12_000] if p.address.kind == "hostel")
    assert lived.most_common(1)[0][1] > 20


def test_a_sealed_identity_has_the_birth_date_of_the_other_and_nothing_else_that_is_unique(
    everybody,
):
    everyone = {p.key: p for p in everybody}
    pairs = [p for p in sealed(3, 40_000) if p.after in everyone and p.before in everyone]
    assert len(pairs) > 40
    for pair in pairs:
        before, after = everyone[pair.before], everyone[pair.after]
        assert before.born == after.born
        assert before.nhs != after.nhs
        assert before.after is False
        assert after.after is True
        if pair.label == "ADOPTION":
            assert (before.sex, before.council) != (after.sex, after.council)
            assert before.sex == after.sex
            assert before.address != after.address


def test_about_190_identities_in_100_000_records_are_sealed():
    assert 150 < len(sealed(1, 50_000)) * 2 < 250


def test_half_of_the_records_behind_a_seal_say_so():
    after = [
        record for person, held in islice(population(3), 20_000) for record in held if person.after
    ]
    labelled = sum("meta" in r.patient for r in after)
    assert 0.35 < labelled / len(after) < 0.65


def test_a_record_that_is_sent_again_comes_after_its_first_arrival():
    sent = arrivals(4, 1_000, updates=0.2)
    assert len(sent) == 1_200
    assert len({r.key for r in sent[:1000]}) == 1000
    assert any(r != next(f for f in sent if f.key == r.key) for r in sent[1000:])


def test_agencies_leave_out_and_mistake_as_much_as_their_column_says():
    kept: dict[str, list[Record]] = defaultdict(list)
    for record in records(8, 30_000):
        kept[record.agency].append(record)
    outreach = kept["Rough-sleeping outreach"]
    assert sum("address" not in r.patient for r in outreach) / len(outreach) == pytest.approx(
        0.85, abs=0.07
    )
    assert not any(
        i["system"] == NHS_NUMBER for r in kept["Police"] for i in r.patient["identifier"]
    )
    practice = kept["GP/PDS"]
    assert all(any(i["system"] == NHS_NUMBER for i in r.patient["identifier"]) for r in practice)
    years = sum(
        len(r.patient.get("birthDate", "")) == 4
        or r.patient.get("birthDate", "").endswith("-01-01")
        for r in outreach
    )
    assert 0.3 < years / len(outreach) < 0.5
