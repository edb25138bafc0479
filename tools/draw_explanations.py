"""Draw the pictures of docs/stewardship.md: `python -m tools.draw_explanations`.

The people are invented; the model is the one that is shipped, so draw again when it changes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from affinity.pack import load as load_pack
from pix import explaining
from pix.explaining import Explained
from pix.identifiers import Domains
from pix.matching import compare
from pix.model import load
from pix.traits import traits
from pix.waterfall import drawn

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
_HOME = {"line": ["14 Tenterfield Row"], "city": "Rochdale", "postalCode": "OL16 9ZZ"}
MIDWIFERY: Mapping[str, Any] = {
    "name": [{"family": "Akhtar", "given": ["Kalsoom", "Bibi"]}], "gender": "female",
    "birthDate": "1991-07-23", "address": [_HOME],
    "telecom": [{"system": "phone", "value": "07700 900461"}],
}  # fmt: skip
HOUSING: Mapping[str, Any] = {
    "name": [{"family": "Aktar", "given": ["Kulsum"]}], "gender": "female",
    "birthDate": "1991-07-23",
    "address": [{"line": ["Flat 3, 80 Bridge Street"], "city": "Bury", "postalCode": "BL9 9ZZ"}],
    "telecom": [{"system": "phone", "value": "+44 7700 900461"}],
}  # fmt: skip
_TWINS = {
    "birthDate": "2021-05-02", "gender": "female",
    "address": [{"line": ["5 Loom Terrace"], "city": "Bolton", "postalCode": "BL1 9ZZ"}],
    "telecom": [{"system": "phone", "value": "07700 900812"}],
}  # fmt: skip
ZOFIA: Mapping[str, Any] = {"name": [{"family": "Kowalska", "given": ["Zofia"]}], **_TWINS}
MAJA: Mapping[str, Any] = {"name": [{"family": "Kowalska", "given": ["Maja"]}], **_TWINS}


def explained(one: Mapping[str, Any], other: Mapping[str, Any], *, joined: bool) -> Explained:
    """Two invented people explained as `$explain` explains them."""
    domains, model = Domains(load_pack("greater_manchester"), "https://x.example/fhir"), load()
    at = datetime(2026, 11, 25, tzinfo=UTC)
    said = compare(
        traits(one, domains), traits(other, domains), model, model.frequencies, today=at.date()
    )
    return Explained(
        "Patient/8c1f", "TL-7QK2M9ZC4HXP",
        explaining.verdict(said, model.thresholds, one=joined, sealed=False, ties=()),
        "MATCH" if joined else "", "automatic" if joined else "", said,
        explaining.lines(said, lambda _: "whole"), (), model.thresholds, model.version, at, joined,
        at if joined else None,
    )  # fmt: skip


PICTURES = {
    "a-join.svg": explained(HOUSING, MIDWIFERY, joined=True),
    "a-refusal.svg": explained(MAJA, ZOFIA, joined=False),
}


def main() -> None:
    """Write the pictures, and what they say, for the page's author to read."""
    FOLDER.mkdir(exist_ok=True)
    for name, told in PICTURES.items():
        (FOLDER / name).write_bytes(drawn(told))
        sys.stdout.write(f"{name}: {explaining.words(told)}\n")


if __name__ == "__main__":
    main()
