"""The tour of pointers does what it says, with fhirpy, against a demo that runs like a reader's and whose
community lists an address of the demo's organisation."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive import a_pack
from tests.docs.test_tour import ROOT, demo  # noqa: F401  the fixture

PLAN = b"%PDF-1.7 Ada's plan, kept by her trust\n"


@pytest.fixture(scope="module")
def kept() -> Iterator[str]:
    """The address of a plan that an organisation keeps."""

    class Keeper(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(PLAN)))
            self.end_headers()
            self.wfile.write(PLAN)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keeper)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/plans/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", autouse=True)
def listed(kept: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The demo's community lists that address, for one organisation that its client may act for."""
    pack = a_pack(tmp_path_factory.mktemp("pack"), f"TL-DEMO,{kept},proxy,127.0.0.0/8,the tour")
    before = os.environ.get("THROUGHLINE_AFFINITY")
    os.environ["THROUGHLINE_AFFINITY"] = str(pack)
    yield
    if before is None:
        del os.environ["THROUGHLINE_AFFINITY"]
    else:
        os.environ["THROUGHLINE_AFFINITY"] = before


def toured(demo: tuple[str, Path], **environment: str) -> dict[str, list[str]]:  # noqa: F811
    base, data = demo
    asked = [
        sys.executable, "-m", "exchange", "token", "--data", str(data), "--client", "demo",
        "--key", str(data / "demo" / "demo.jwk"), "--scope", "system/*.cruds",
    ]  # fmt: skip
    token = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "pointers_tour.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "FHIR": base, "TOKEN": token.strip(), **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        said.setdefault(kind, []).append(rest.strip())
    return said


@pytest.mark.timeout(240)
def test_the_tour_of_pointers_fetches_what_is_listed(
    listed: None,
    kept: str,
    demo: tuple[str, Path],  # noqa: F811
) -> None:
    said = toured(demo, ELSEWHERE=f"{kept}1.pdf")
    assert said["published"] == ["RESOURCE_CREATED"]
    assert "'mechanism': 'proxy'" in said["fetched"][0]
    assert said["address"][0].startswith("of the exchange")
    assert said["retrieved"] == [PLAN.decode().strip()]
    assert said["replaced"] == ["RESOURCE_SUPERSEDED"]
    assert said["now"][0].endswith("superseded")
    assert said["updated"] == ["RESOURCE_UPDATED"]
    assert said["withdrawn"] == ["RESOURCE_DELETED"]
    assert said["left"] == ["0"]
    assert said["version"] == ["3 entered-in-error", "2 current", "1 current"]
    # Again, with an address that is on no list: it is kept as it was sent.
    said = toured(demo)
    assert said["address"] == ["as sent https://provider.example/plans/1.pdf"]
    assert "retrieved" not in said
