"""FEBRL 1 to 4 as Patients: nothing lost, nothing made British, and a truth of known size."""

from __future__ import annotations

import pytest

from benchmarks.identity import febrl
from pix import claims
from standards import pixm
from standards.r4.check import check_structure

SIZES = {1: (1000, 500, 500), 2: (5000, 4000, 1934), 3: (5000, 2000, 6538), 4: (10000, 5000, 5000)}


@pytest.mark.parametrize("number", febrl.SETS)
def test_each_set_is_whole_and_has_the_published_true_pairs(number):
    records = febrl.records(number)
    held: dict[str, int] = {}
    for record in records:
        held[record.person] = held.get(record.person, 0) + 1
    pairs = sum(n * (n - 1) // 2 for n in held.values())
    assert (len(records), len(held), pairs) == SIZES[number]


def test_every_row_is_a_patient_that_the_exchange_would_take():
    domains = febrl.domains()
    for record in febrl.records(3):
        faults = [
            *check_structure(record.patient),
            *pixm.check(record.patient),
            *claims.check(record.patient, domains.identifier(record.system, record.value), domains),
        ]
        assert not faults, (faults, record.patient)


def test_a_birth_date_that_no_calendar_has_is_given_as_far_as_it_is_one():
    assert febrl._born("19081209") == "1908-12-09"
    assert febrl._born("19080231") == "1908-02"
    assert febrl._born("19081945") == "1908"
    assert febrl._born("1908") == ""


def test_there_is_no_fifth_set():
    with pytest.raises(ValueError, match="1, 2, 3 and 4"):
        febrl.records(5)
