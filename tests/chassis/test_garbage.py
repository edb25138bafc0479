"""A server process looks for garbage seldom, and what was there before not at all."""

from __future__ import annotations

import subprocess
import sys


def test_looks_are_rare_and_what_is_there_already_is_left_alone() -> None:
    asked = (
        "import gc; from chassis.garbage import seldom; seldom();"
        "print(gc.isenabled(), gc.get_threshold()[0] > 10_000, gc.get_freeze_count() > 1_000)"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == ["True", "True", "True"]
