"""The README's tour, in a shell, and the tour of publishing, with fhirpy, do what they say, against a demo
that runs like a reader's."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A demo with a small city; its FHIR base and data folder."""
    data = tmp_path_factory.mktemp("demo") / "demo-city"
    command = [
        sys.executable,
        "-m",
        "exchange",
        "demo",
        "--people",
        "40",
        "--port",
        "0",
        "--data",
        str(data),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("TOKEN="), process.stderr.read() if process.stderr else ""
        asked = process.stdout.readline()
        found = re.search(r'"(http://[^"]+/fhir)/', asked)
        assert found
        yield found[1], data
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def blocks() -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)


@pytest.mark.timeout(180)
def test_every_block_of_the_tour_works_as_printed(demo: tuple[str, Path], tmp_path: Path) -> None:
    base, data = demo
    script = "set -eu\n" + "\necho ----\n".join(blocks())
    script = script.replace("http://127.0.0.1:8080/fhir", base).replace("data/demo-city", str(data))
    script = script.replace("submission.json", str(tmp_path / "submission.json"))
    ours = {
        ".venv/bin/throughline": f"{sys.executable} -m exchange",
        ".venv/bin/python": sys.executable,
    }
    script = re.sub(r"\.venv/bin/(?:throughline|python)\b", lambda found: ours[found[0]], script)
    assert shutil.which("curl"), "the tour uses curl; install it"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, who, what, read, published, mistaken, looked = done.stdout.split("----\n")
    assert "targetIdentifier" in who or '"Parameters"' in who
    assert '"total"' in what
    assert "contentType" in what
    assert "HTTP/1.1 200" in read
    assert "etag" in read.lower()
    assert json.loads(published)["type"] == "transaction-response"
    assert "status" in mistaken
    assert "sise" in mistaken
    assert "family" in mistaken
    assert '"total"' in looked


@pytest.mark.timeout(180)
def test_the_publishing_tour_runs_and_tells_who_replaced_what(demo: tuple[str, Path]) -> None:
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
