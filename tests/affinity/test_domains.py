"""Identifier domains: every worked value of the register, every name of a domain, every placeholder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import affinity
from affinity.domains import Domain
from affinity.pack import NHS_NUMBER, PackError, load

HOME = Path(affinity.__file__).parent / "greater_manchester"
PACK = load(HOME)
BY_ID = {d.id: d for d in PACK.domains}
NS = f"{PACK.namespace}/Id/"


def valid(id_: str, value: str) -> bool:
    domain = BY_ID[id_]
    return domain.valid(domain.normal(value))


@pytest.mark.parametrize(
    ("id_", "value", "right"),
    [
        ("nhs", "9434765919", True), ("nhs", "9876543210", True), ("nhs", "9434765918", False),
        ("nhs", "9000000000", False), ("nhs", "9912003890", False), ("nhs", "9912003896", True),
        ("nhs", "943 476 5919", True), ("nhs", "943-476-5919", True), ("nhs", "94347659190", False),
        ("pnc", "02/73319Z", True), ("pnc", "79/163001B", True), ("pnc", "20030011985Z", False),
        ("pnc", "2001/0171310S", False), ("pnc", "2001/0171310W", True), ("pnc", "20030011985X", True),
        ("cro", "65656/91H", True), ("cro", "SF05/482703J", True), ("cro", "85227/65G", False),
        ("cro", "65656/91G", False), ("cro", "85227/65L", True), ("cro", "SF83/50058Z", True),
        ("cro", "SF83/50058B", False), ("cro", "sf83 / 050058 z", True),
        ("upn", "B801200005001", True), ("upn", "X352999918001", True), ("upn", "B35599992300A", True),
        ("upn", "A801200005001", False), ("upn", "H352200019001", False), ("upn", "P352200019001", True),
        ("upn", "b801 2000 05001", True), ("upn", "B80120000500I", False),
        ("uln", "9276308686", True), ("uln", "1000000000", True), ("uln", "9276308687", False),
        ("uln", "1234567890", False), ("uln", "0276308686", False),
        ("nino", "AB123456C", True), ("nino", "AA000000A", True), ("nino", "QQ123456C", False),
        ("nino", "GB123456A", False), ("nino", "AO123456A", False), ("nino", "DA123456A", False),
        ("nino", "AB123456E", False), ("nino", "ab 12 34 56 c", True), ("nino", "AB123456", True),
        ("nino", "12A34567", False),
        ("hcn", "3200000007", True), ("hcn", "4010232137", False),
        ("prison", "A1234BC", True), ("prison", "G9999ZZ", True), ("prison", "1234ABC", False),
        ("prison", "A12345C", False),
        ("crn", "X123456", True), ("crn", "D000001", True), ("crn", "XX12345", False), ("crn", "X12345", False),
        ("passport", "999000001", True), ("passport", "A123456", True), ("passport", "99900000", False),
        ("passport", "AB1234567", False),
        ("brp", "ZUX123456", True), ("brp", "RF1234567", True), ("brp", "Z1X123456", False),
        ("brp", "ZUA123456", False),
        ("scn", "1234567", True), ("scn", "004417", True), ("scn", "12", False), ("scn", "SC-12 34", False),
        ("vsid", "VS-GM-000123", True), ("vsid", "0004711", True), ("vsid", "VS 123", False), ("vsid", "V1", False),
        ("cabid", "CA-352-00917", True), ("cabid", "88120044", True), ("cabid", "C/1", False), ("cabid", "", False),
        ("solid", "SMI001/2", True), ("solid", "2024-0098", True), ("solid", "A", False), ("solid", "A#1", False),
        ("mrn", "H1234567", True), ("mrnat", "0012345", True), ("mrn", "AB", False),
        ("uprn", "999900000001", True), ("uprn", "77", True), ("uprn", "1234567890123", False), ("uprn", "10A", False),
        ("ptiurn", "06AA0000124", True), ("ptiurn", "06C10012325", True), ("ptiurn", "6AA0000124", False),
        ("ptiurn", "06AA000012X", False),
        ("ufn", "010324/001", True), ("ufn", "311223/014", True), ("ufn", "1/3/24-1", False), ("ufn", "010324-001", False),
    ],
)  # fmt: skip
def test_the_worked_values_of_the_register_come_out_as_worked(
    id_: str, value: str, right: bool
) -> None:
    assert valid(id_, value) is right


def test_every_row_of_the_register_is_whole() -> None:
    assert len(PACK.domains) >= 35
    for domain in PACK.domains:
        assert domain.name, domain.id
        assert domain.assigner, domain.id
        assert domain.hazard, domain.id
        assert domain.of == "logical" or domain.oid, domain.id
        assert domain.of == "logical" or domain.namespace, domain.id
        assert domain.check == "none" or domain.hold != "none", domain.id


@pytest.mark.parametrize(
    ("id_", "said", "stored"),
    [
        ("pnc", "02/73319Z", "2002/0073319Z"), ("pnc", "2002/0073319z", "2002/0073319Z"),
        ("pnc", "79/163001B", "1979/0163001B"), ("pnc", "79163001B", "1979/0163001B"),
        ("pnc", "20030011985X", "2003/0011985X"), ("pnc", "2002/73319Z", "2002/0073319Z"),
        ("pnc", "0273319Z", "2002/0073319Z"), ("pnc", "200273319Z", "2002/0073319Z"),
        ("pnc", "38/0000001A", "2038/0000001A"), ("pnc", "39/0000001A", "1939/0000001A"),
        ("pnc", "not a pnc", "NOTAPNC"),
        ("cro", "65656/91h", "065656/91H"), ("cro", "SF83/050058Z", "SF83/50058Z"),
        ("nino", " ab 12 34 56 c ", "AB123456C"), ("upn", "b801 2000 05001", "B801200005001"),
        ("uln", "92763 08686", "9276308686"), ("scn", " 004417 ", "004417"), ("mrn", "ab-1", "ab-1"),
    ],
)  # fmt: skip
def test_a_value_has_one_stored_form_however_it_was_written(
    id_: str, said: str, stored: str
) -> None:
    assert BY_ID[id_].normal(said) == stored
    assert BY_ID[id_].normal(stored) == stored


def test_what_is_compared_leaves_out_what_drifts() -> None:
    assert BY_ID["nino"].compared("AB123456C") == BY_ID["nino"].compared("AB123456D") == "AB123456"
    assert BY_ID["pnc"].compared("2002/0073319Z") == "02/0073319Z"
    assert BY_ID["nhs"].compared("9434765918") == ""
    assert BY_ID["nhs"].compared("9999999999") == ""
    assert BY_ID["upn"].temporary("B35599992300A")
    assert not BY_ID["upn"].temporary("B801200005001")


@pytest.mark.parametrize(
    ("id_", "value"),
    [
        *(("nhs", d * 10) for d in "0123456789"), *(("chi", d * 10) for d in "0123456789"),
        ("cro", "000000/00Z"), ("cro", "0/00Z"), *(("upn", f"UN{n}") for n in range(1, 8)),
        ("ufupn", "un3"), ("uln", "9999999999"), ("pnc", "00/0Z"), ("nino", "12A34567"),
        ("nino", "PP123456A"), ("scn", "000000"), ("mrn", "Unknown"), ("vsid", "N/K"), ("prison", "-"),
    ],
)  # fmt: skip
def test_placeholders_are_known_and_never_usable(id_: str, value: str) -> None:
    domain = BY_ID[id_]
    stored = domain.normal(value)
    assert domain.placeholder(stored)
    assert not domain.usable(stored)
    assert domain.compared(stored) == ""
    assert domain.fault(stored)


def test_a_published_number_that_fails_its_soft_check_is_doubted_and_kept() -> None:
    court = BY_ID["ccrn"]
    assert court.valid("19/0001/123456R")
    assert court.doubtful("19/0001/123456R")
    assert not court.fault("19/0001/123456R")
    right = next(c for c in "ZABCDEFGHJKLMNPQRTUVWXY" if not court.doubtful(f"19/0001/123456{c}"))
    assert not court.doubtful(f"19/0001/123456{right}")
    assert not BY_ID["asn"].doubtful("anything")


def test_test_numbers_count_only_where_the_pack_takes_them(tmp_path: Path) -> None:
    assert BY_ID["nhs"].usable("9434765919")
    assert not BY_ID["nhs"].fault("9434765919")
    assert BY_ID["nhs"].fault("9434765918")
    assert BY_ID["nino"].usable("QQ123456C")
    live = copied(tmp_path)
    text = (live / "pack.json").read_text()
    (live / "pack.json").write_text(
        text.replace('"test_numbers": "accept"', '"test_numbers": "refuse"')
    )
    by_id = {d.id: d for d in load(live).domains}
    assert not by_id["nhs"].usable("9434765919")
    assert "samples" in by_id["nhs"].fault("9434765919")
    assert not by_id["nino"].usable("QQ123456C")
    assert by_id["nhs"].usable("4010232137")


NAMED = [d for d in PACK.domains if d.of != "logical"]


@pytest.mark.parametrize("domain", NAMED, ids=lambda d: d.id)
def test_uri_oid_and_namespace_lead_to_each_other(domain: Domain) -> None:
    system = domain.system + "RM3-x.9" if domain.prefix else domain.system
    names = PACK.register.names(system)
    assert names is not None
    assert names.uri == system
    canonical = PACK.register.canonical
    assert canonical(system) == system
    assert canonical(f"urn:oid:{names.oid}") == system
    assert PACK.register.of_authority(namespace=names.namespace) == system
    assert PACK.register.of_authority(oid=names.oid) == system
    assert PACK.register.of_authority(names.namespace, names.oid) == system
    for other in domain.also:
        assert canonical(other) == system
    assert PACK.domain_of(system) is domain


def test_an_authority_whose_halves_disagree_is_nobodys() -> None:
    nhs = PACK.register.names(NHS_NUMBER)
    assert nhs is not None
    assert nhs.oid == "2.16.840.1.113883.2.1.4.1"
    assert PACK.register.of_authority("CHI", nhs.oid) == ""
    assert PACK.register.of_authority("NHS", "1.2.3") == ""
    assert PACK.register.of_authority("NOBODY") == ""
    assert PACK.register.of_authority() == ""


@given(st.text(max_size=60))
def test_any_text_is_led_to_a_domain_or_left_alone(text: str) -> None:
    canonical = PACK.register.canonical(text)
    assert PACK.register.canonical(canonical) == canonical
    assert PACK.register.of_authority(text, text) == ""
    PACK.domain_of(text)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,39}", fullmatch=True))
def test_every_member_of_a_family_has_an_oid_of_its_own(code: str) -> None:
    names = PACK.register.names(NS + "tenancy/" + code)
    assert names is not None
    assert PACK.register.canonical("urn:oid:" + names.oid) == names.uri


@given(st.sampled_from(PACK.domains), st.text(max_size=30))
def test_the_stored_form_of_a_stored_form_is_itself(domain: Domain, text: str) -> None:
    stored = domain.normal(text)
    assert domain.normal(stored) == stored
    if domain.usable(stored):
        assert not domain.placeholder(stored)


def copied(folder: Path) -> Path:
    shutil.copytree(HOME, folder / "pack")
    return folder / "pack"


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("identifier_domains.csv", "x,X,NS/Id/x,(,none,none,plain,A,n,p,person,B,yes,open,,,,never,h", "regular"),
        ("identifier_domains.csv", "x,X,NS/Id/x,opaque,none,none,plain,A,n,p,person,Q,yes,open,,,,never,h", "tier"),
        ("identifier_domains.csv", "x,X,NS/Id/x,opaque,mod7,none,plain,A,n,p,person,B,yes,open,,,,never,h", "check"),
        ("identifier_domains.csv", "x,X,NS/Id/x,opaque,none,none,plain,A,n,p,ghost,B,yes,open,,,,never,h", "of 'ghost'"),
        ("identifier_domains.csv", "x,X,NS/Id/x,opaque,none,none,odd,A,n,p,person,B,yes,open,,,,never,h", "form"),
        ("identifier_domains.csv", "x,X,NS/Id/x,opaque,none,none,plain,A,n,p,person,B,yes,open,,NHS,,never,h", "NHS"),
        ("identifier_domains.csv", "x,X,NS/Id/nino,opaque,none,none,plain,A,n,p,person,B,yes,open,,,,never,h", "both"),
        ("identifier_visibility.csv", "ghost,*,*,*,why", "domain 'ghost'"),
        ("identifier_visibility.csv", "nhs,R-NOBODY,*,*,why", "role 'R-NOBODY'"),
        ("identifier_visibility.csv", "nhs,*,P-FUN,*,why", "purpose 'P-FUN'"),
        ("identifier_placeholders.csv", "ghost,0,placeholder,why", "ghost"),
        ("identifier_placeholders.csv", "nhs,0,odd,why", "odd"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_says_which_and_why(
    tmp_path: Path, file: str, line: str, words: str
) -> None:
    folder = copied(tmp_path)
    with (folder / file).open("a") as lines:
        lines.write(line + "\n")
    with pytest.raises(PackError, match=words):
        load(folder)
