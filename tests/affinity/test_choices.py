"""What a role may be signed in for is a table of the pack."""

from __future__ import annotations

import pytest

from affinity import choices
from affinity.pack import load

ROLES, PURPOSES = ("R-HV", "R-GP"), ("P-CARE", "P-BTG")


def test_every_role_of_the_pack_but_the_systems_has_a_purpose() -> None:
    pack = load("greater_manchester")
    assert set(pack.roles) - set(pack.choices) == {"R-SYS"}
    for role, found in pack.choices.items():
        assert len({c.purpose for c in found}) == len(found), role


def test_break_glass_asks_for_a_reason_and_ends_within_the_hour() -> None:
    pack = load("greater_manchester")
    found = [c for mine in pack.choices.values() for c in mine if c.purpose == "P-BTG"]
    assert found
    assert all(c.reason and c.minutes == 60 for c in found)
    assert "P-BTG" not in {c.purpose for c in pack.choices["R-HV"]}
    # Subject access and fraud are nobody's purpose here.
    assert "P-FRAUD" not in {c.purpose for mine in pack.choices.values() for c in mine}


def row(**changes: str) -> dict[str, str]:
    return {"role": "R-HV", "purpose": "P-CARE", "reason": "no", "minutes": ""} | changes


def test_rows_keep_their_order() -> None:
    made = choices.read(
        [row(), row(purpose="P-BTG", reason="yes", minutes="60")], roles=ROLES, purposes=PURPOSES
    )
    assert made == {
        "R-HV": (choices.Choice("P-CARE", False, None), choices.Choice("P-BTG", True, 60))
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": "R-X"}, "line 2: the pack has no role 'R-X'"), ({"purpose": "P-X"}, "no purpose 'P-X'"),
        ({"reason": "maybe"}, "reason is yes or no"), ({"minutes": "1h"}, "minutes is a number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choices.read([row(**changes)], roles=ROLES, purposes=PURPOSES)
