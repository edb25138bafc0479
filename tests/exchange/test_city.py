"""The demo city: the same for the same seed, impossible numbers only, documents that are what they say."""

from __future__ import annotations

import base64
import hashlib

import orjson
import pytest
from stdnum.gb import nhs

from affinity.pack import load
from exchange.city import papers
from exchange.city.documents import papers_of
from exchange.city.people import people
from exchange.city.records import pnc, records, upn
from standards.r4.check import check_structure

PACK = load("greater_manchester")


def test_the_same_seed_makes_the_same_city_and_another_seed_another() -> None:
    assert list(people(60, 1)) == list(people(60, 1))
    assert list(people(60, 1)) != list(people(60, 2))


def test_a_larger_city_begins_with_the_smaller_one() -> None:
    assert list(people(30, 1)) == list(people(90, 1))[:30]


def test_nobody_has_a_number_or_postcode_that_could_be_real() -> None:
    crowd = list(people(2000))
    numbers = [p.nhs_number for p in crowd]
    assert len(set(numbers)) == len(numbers)
    for person in crowd:
        assert nhs.is_valid(person.nhs_number)
        assert person.nhs_number[0] in "89"
        assert person.phone.startswith("07700 9")
        assert person.address.postcode.startswith("ZZ99") or set(
            person.address.postcode[-2:]
        ) <= set("CIKMOV")


def test_pupil_and_police_numbers_have_their_check_letters() -> None:
    for person in people(50):
        assert upn(person)[1:4] == person.council
        assert pnc(person).startswith("1999/9")


def test_about_five_documents_a_person_in_real_formats() -> None:
    kinds, count = set(), 0
    for person in people(300):
        held = {r.agency: r for r in records(person, PACK)}
        for record in held.values():
            assert check_structure(record.patient) == ()
            assert PACK.domain_of(record.system) is not None
        for paper in papers_of(person, held, dict.fromkeys(held, "Patient/x"), PACK):
            count += 1
            assert check_structure(paper.bundle) == ()
            reference = paper.bundle["entry"][1]["resource"]["content"][0]["attachment"]
            data = base64.b64decode(paper.bundle["entry"][2]["resource"]["data"])
            assert len(data) == reference["size"]
            assert base64.b64encode(hashlib.sha1(data).digest()).decode() == reference["hash"]
            kinds.add(reference["contentType"])
            if reference["contentType"] == "application/fhir+json":
                assert check_structure(orjson.loads(data)) == ()
    assert kinds == {"application/pdf", "application/fhir+json", "text/plain"}
    assert 1200 < count < 1900


def test_a_pdf_is_a_pdf() -> None:
    made = papers.pdf("A title (with brackets)", ["One line", "O'Brien é"])
    assert made.startswith(b"%PDF-1.4")
    assert made.rstrip().endswith(b"%%EOF")
    start = int(made.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert made[start : start + 4] == b"xref"


@pytest.mark.parametrize("text", ["a", "ü", "x" * 1000])
def test_text_hashes_are_the_same_on_every_run(text: str) -> None:
    assert papers.hash_of(text) == papers.hash_of(text)
