"""The affinity pack: numbers with worked checks, families of domains, and a pack that says what it lacks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import affinity
from affinity.pack import NHS_NUMBER, PackError, load

PACK = load("greater_manchester")


@pytest.mark.parametrize(
    ("value", "valid"),
    [("9434765919", True), ("9876543210", True), ("9434765918", False), ("9000000000", False)],
)
def test_an_nhs_number_has_its_check_digit(value: str, valid: bool) -> None:
    domain = PACK.domain_of(NHS_NUMBER)
    assert domain is not None
    assert domain.valid(value) is valid


@pytest.mark.parametrize("digit", "0123456789")
def test_a_repeated_digit_passes_the_check_and_is_a_placeholder_all_the_same(digit: str) -> None:
    domain = PACK.domain_of(NHS_NUMBER)
    assert domain is not None
    assert domain.valid(digit * 10)
    assert domain.placeholder(digit * 10)


def test_an_nhs_number_is_kept_as_ten_bare_digits() -> None:
    domain = PACK.domain_of(NHS_NUMBER)
    assert domain is not None
    assert domain.normal(" 943 476-5919 ") == "9434765919"


def test_each_council_has_its_own_social_care_domain() -> None:
    family = PACK.domain_of(f"{PACK.namespace}/Id/social-care-id/352")
    assert family is not None
    assert family.id == "scn"
    assert PACK.domain_of(f"{PACK.namespace}/Id/social-care-id/") is None
    assert PACK.domain_of(f"{PACK.namespace}/Id/never-heard-of/352") is None


def test_case_and_place_numbers_are_never_a_persons() -> None:
    by_id = {d.id: d for d in PACK.domains}
    assert not by_id["uprn"].of_person
    assert not by_id["hclic"].of_person
    assert not by_id["crime"].of_person
    assert by_id["nhs"].of_person
    assert by_id["upn"].of_person


def test_every_document_type_has_its_class_and_format_in_the_value_sets() -> None:
    classes = {code for _, code in PACK.value_set("category").codes}
    for kind in PACK.document_types.values():
        assert kind.category in classes, kind.code
        assert PACK.value_set("type").contains(
            f"{PACK.namespace}/CodeSystem/document-type", kind.code
        )
        for role in kind.authors:
            assert role in PACK.roles, (kind.code, role)


def test_another_region_is_another_folder(tmp_path: Path) -> None:
    home = Path(affinity.__file__).parent / "greater_manchester"
    shutil.copytree(home, tmp_path / "elsewhere")
    text = (tmp_path / "elsewhere" / "pack.json").read_text()
    (tmp_path / "elsewhere" / "pack.json").write_text(
        text.replace("throughline.example", "elsewhere.example")
    )
    other = load(tmp_path / "elsewhere")
    assert other.domain_of("https://elsewhere.example/fhir/Id/upn") is not None


def test_a_pack_that_is_not_there_or_not_whole_says_so(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="greater_manchester"):
        load("atlantis")
    home = Path(affinity.__file__).parent / "greater_manchester"
    shutil.copytree(home, tmp_path / "half")
    (tmp_path / "half" / "roles.csv").unlink()
    with pytest.raises(PackError, match=r"roles\.csv"):
        load(tmp_path / "half")
    shutil.copytree(home, tmp_path / "torn")
    with (tmp_path / "torn" / "purposes.csv").open("a") as lines:
        lines.write("P-X,too few\n")
    with pytest.raises(PackError, match=r"purposes\.csv line"):
        load(tmp_path / "torn")
