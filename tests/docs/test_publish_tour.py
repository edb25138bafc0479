"""The tour of publishing does what it says, with fhirpy, against a demo that runs like a reader's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_tour import ROOT, demo  # noqa: F401  the fixture


@pytest.mark.timeout(180)
def test_the_publishing_tour_runs_and_tells_who_replaced_what(demo: tuple[str, Path]) -> None:  # noqa: F811
    base, data = demo
    asked = [
        sys.executable, "-m", "exchange", "token", "--data", str(data), "--client", "demo",
        "--key", str(data / "demo" / "demo.jwk"), "--scope", "system/*.cruds",
    ]  # fmt: skip
    token = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for _ in range(2):  # and again
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "publish_tour.py")],
            capture_output=True,
            text=True,
            env={**os.environ, "FHIR": base, "TOKEN": token.strip()},
            check=False,
        )
        assert done.returncode == 0, done.stderr
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        said.setdefault(kind, []).append(rest.strip())
    (first,) = said["published"]
    old, second = re.fullmatch(r"(\S+) by (\S+)", said["replaced"][0]).groups()  # type: ignore[union-attr]
    addendum = said["appended"][0].split()[0]
    members = said["it"][0].removeprefix("holds").strip().split(", ")
    assert old == first
    assert members[:2] == [second, addendum]
    third = members[2]
    current = {line.split()[0] for line in said["current"]}
    assert third in current
    assert not {first, second, addendum} & current
    versions = said["version"]
    assert any(v.split()[1:] == [third, "current", "replaces", second] for v in versions)
    assert any(v.split()[1:] == [second, "superseded"] for v in versions)
    assert any(v.split()[1:] == [addendum, "superseded"] for v in versions)
    then = {line.split()[0] for line in said["then"]}
    assert second in then
    assert not {first, third, addendum} & then
