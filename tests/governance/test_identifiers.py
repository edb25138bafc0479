"""Who may be shown which identifier: the pack's table, read by a pure rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import NHS_NUMBER, load
from affinity.visibility import Opening
from governance.identifiers import Viewer, opens, sight

PACK = load("greater_manchester")
NS = f"{PACK.namespace}/Id/"
SYSTEM = {
    "nhs": NHS_NUMBER, "pnc": NS + "pnc", "cro": NS + "cro", "nino": NS + "nino", "upn": NS + "upn",
    "uln": NS + "uln", "scn": NS + "social-care-id/352", "trust": NS + "local-patient-identifier/RM3",
    "vsid": NS + "victim-support-id", "passport": NS + "uk-passport", "former": NS + "upn-former",
    "ucn": NS + "laa-ucn", "uprn": NS + "uprn", "tlid": NS + "enterprise-person", "hocid": NS + "home-office-ref",
}  # fmt: skip


def sees(viewer: Viewer, id_: str) -> bool:
    return sight(viewer, PACK.register, PACK.openings).sees(SYSTEM[id_])


@pytest.mark.parametrize(
    ("role", "purpose", "organisation", "seen", "hidden"),
    [
        ("R-GP", "P-CARE", "P99000", "nhs uprn", "pnc cro nino upn scn vsid passport"),
        ("R-TCH", "P-EYRS", "URN999000", "upn uln uprn", "nhs pnc nino scn vsid trust"),
        ("R-TCH", "P-LEP", "URN999000", "uprn", "upn"),
        ("R-POL", "P-LEP", "GMP", "pnc cro", "nhs upn vsid scn nino"),
        ("R-HOO", "P-HOME", "352-HOU", "uprn", "nhs pnc cro nino scn upn vsid"),
        ("R-MASH", "P-SAFE-C", "", "nhs pnc cro scn", "upn vsid nino"),
        ("R-MASH", "P-ADMIN", "", "", "nhs pnc scn"),
        ("R-CSW", "P-SAFE-C", "352-CSC", "nhs scn", "pnc upn vsid"),
        ("R-CSW", "P-SAFE-C", "355-CSC", "nhs", "scn"),
        ("R-IDVA", "P-VICT", "VCS-04", "vsid", "pnc nhs upn"),
        ("R-CIT", "P-SUBJ", "", "nhs", "pnc scn vsid"),
        ("", "", "", "nhs trust uprn", "pnc cro upn uln nino scn vsid passport tlid"),
        ("", "", "RM3", "nhs trust", "pnc scn"),
        ("", "", "352", "nhs scn", "pnc vsid trust"),
        ("", "", "352/E08000003", "scn", "pnc"),
        ("", "", "VCS-01", "uprn", "nhs trust pnc"),
        ("R-SYS", "", "", "nhs pnc cro nino upn uln scn trust vsid passport uprn tlid", ""),
    ],
)  # fmt: skip
def test_a_caller_sees_what_its_role_purpose_and_organisation_open(
    role: str, purpose: str, organisation: str, seen: str, hidden: str
) -> None:
    kind = next((o.kind for o in PACK.organisations.values() if o.code == organisation), "")
    viewer = Viewer(role, purpose, organisation, kind)
    assert [i for i in seen.split() if not sees(viewer, i)] == []
    assert [i for i in hidden.split() if sees(viewer, i)] == []


def test_a_source_sees_what_it_feeds() -> None:
    assert sees(Viewer(feeds=frozenset((SYSTEM["vsid"],))), "vsid")
    assert not sees(Viewer(feeds=frozenset((SYSTEM["ucn"],))), "ucn")


@given(
    st.sampled_from(["", *PACK.roles]), st.sampled_from(["", *PACK.purposes]),
    st.sampled_from(["", *PACK.organisations]),
)  # fmt: skip
def test_sealed_numbers_are_shown_to_nobody(role: str, purpose: str, organisation: str) -> None:
    viewer = Viewer(role, purpose, organisation)
    for id_ in ("former", "ucn", "hocid"):
        assert not sees(viewer, id_)


@given(
    st.sampled_from([r for r in PACK.roles if r not in ("R-POL", "R-PPU", "R-PRO", "R-YJW", "R-MASH", "R-SYS")]),
    st.sampled_from(["", *PACK.purposes]), st.sampled_from(["", *PACK.organisations]),
)  # fmt: skip
def test_outside_justice_nobody_learns_that_someone_has_a_police_number(
    role: str, purpose: str, organisation: str
) -> None:
    made = sight(Viewer(role, purpose, organisation), PACK.register, PACK.openings)
    assert not made.everything
    for id_ in ("pnc", "cro"):
        assert not made.sees(SYSTEM[id_])
        assert not made.tells_of(SYSTEM[id_])
    assert made.tells_of(SYSTEM["trust"])


def test_what_is_no_domain_of_the_exchange_is_not_hidden() -> None:
    made = sight(Viewer("R-TCH"), PACK.register, PACK.openings)
    assert made.sees("urn:ietf:rfc:3986")
    assert made.sees("http://exchange.test/fhir")


def test_all_three_columns_must_fit() -> None:
    row = Opening("scn", ("R-CSW",), ("P-CARE", "-"), ("{member}-CSC",), "")
    assert opens(row, Viewer("R-CSW", "", "352-CSC"), "352")
    assert not opens(row, Viewer("R-CSW", "", "352-CSC"), "355")
    assert not opens(row, Viewer("R-CSW", "P-LEP", "352-CSC"), "352")
    assert not opens(row, Viewer("", "", "352-CSC"), "352")
    assert not opens(row, Viewer("R-CSW", "", ""), "352")
