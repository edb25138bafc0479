"""Whom a record joins, and why not (issue 3, points 3 and 4; matching digest §4, §6)."""

from __future__ import annotations

from datetime import date

from pix.matching import Decision, Member, Profile, compare, decide
from pix.model import load
from pix.traits import Address, Name, Number, Traits

TODAY = date(2026, 11, 25)
MODEL = load()
HOME = Address("999900000001", "M11CK", "10-MILL")
ELSEWHERE = Address("999900000099", "OL42CV", "3-DALE")


def somebody(
    given: str = "OLIVER",
    family: str = "OGDEN",
    born: str = "1984-05-06",
    *,
    middle: tuple[str, ...] = (),
    sex: str = "male",
    address: Address | None = HOME,
    phone: str = "",
    nhs: str = "",
    verified: bool = True,
    numbers: tuple[Number, ...] = (),
    sealed: str = "",
) -> Traits:
    return Traits(
        names=(Name(given, middle, tuple(family.split())),) if given or family else (),
        born=(born,) if born else (),
        sex=sex,
        addresses=(address,) if address else (),
        phones=(phone,) if phone else (),
        numbers=(*((Number("nhs", nhs, verified),) if nhs else ()), *numbers),
        newborn=not given,
        sealed=sealed,
    )


def person(name: str, *members: Traits, firm: bool = True) -> Profile:
    return Profile(name, tuple(Member((f"{name}-{i}",), m, firm) for i, m in enumerate(members)))


def decided(record: Traits, *profiles: Profile, **people: object) -> Decision:
    return decide(record, profiles, MODEL, MODEL.frequencies, today=TODAY, **people)  # type: ignore[arg-type]


def test_a_record_that_agrees_in_name_birth_date_and_home_joins():
    found = decided(somebody(), person("A", somebody(nhs="9990000018")))
    assert (found.kind, found.person) == ("join", "A")


def test_a_stranger_is_a_new_person():
    found = decided(somebody("PRIYA", "PATEL", "1991-02-03", sex="female"), person("A", somebody()))
    assert found.kind == "new"


def test_a_twin_does_not_join():
    found = decided(somebody("HARRY"), person("A", somebody("OLIVER")))
    assert found.kind != "join"


def test_a_sealed_identity_is_no_ones_candidate():
    open_, sealed = somebody(), somebody(sealed="ADOPTION")
    assert decided(sealed, person("A", open_)).kind == "new"
    assert decided(open_, person("A", sealed)).kind == "new"


def test_an_adopted_childs_own_records_find_each_other_by_the_new_verified_number():
    new = somebody(nhs="9990000018", sealed="ADOPTION")
    assert decided(new, person("A", somebody(nhs="9990000018"))).person == "A"
    unverified = somebody(nhs="9990000018", verified=False, sealed="ADOPTION")
    assert decided(unverified, person("A", new)).kind == "new"
    before = somebody("OLIVER", "ENTWISTLE", nhs="9990000026")
    assert decided(before, person("A", new)).kind == "new"


def test_a_protected_witness_is_never_joined():
    hidden = somebody(nhs="9990000018", sealed="WITPROT")
    assert decided(hidden, person("A", somebody(nhs="9990000018"))).kind == "new"
    assert decided(hidden, person("A", hidden)).kind == "new"


def test_what_people_decided_beats_any_weight():
    same = somebody(nhs="9990000018")
    assert decided(same, person("A", same), excluded={"A"}).kind == "new"
    stranger = somebody("PRIYA", "PATEL", "1991-02-03", sex="female")
    assert decided(stranger, person("A", same), included={"A"}).person == "A"
    assert decided(stranger, person("A", same), included={"A"}, excluded={"A"}).kind == "new"


def test_an_explanation_adds_up():
    found = compare(
        somebody(phone="07700900123"), somebody(), MODEL, MODEL.frequencies, today=TODAY
    )
    assert abs(found.prior + sum(f.points for f in found.fields) - found.weight) < 1e-9
