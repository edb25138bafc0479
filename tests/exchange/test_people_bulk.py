"""`throughline people load, link, train, export`, as an operator runs them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from affinity.pack import load as load_pack
from benchmarks.identity.population import records
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange.cli import main
from pix.app import prepared
from pix.people import People
from tests.pix.makers import COUNCIL, TRUST, patient, pix_service
from tests.pix.test_linking import told
from tests.running import ORIGIN

pytest.importorskip("splink")


@pytest.fixture
def run(mongod_uri: str, database_prefix: str) -> Any:
    environment = {
        **os.environ,
        "THROUGHLINE_MONGODB": mongod_uri,
        "THROUGHLINE_DATABASE_PREFIX": database_prefix,
        "THROUGHLINE_PUBLIC_URL": ORIGIN,
    }

    def said(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """The command line in this process: what it prints and the code it ends with."""
        out, errors = io.StringIO(), io.StringIO()
        code: str | int | None = 0
        with patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(errors):
            try:
                main(["people", *words])
            except SystemExit as ended:
                code = ended.code
        return subprocess.CompletedProcess(words, int(code or 0), out.getvalue(), errors.getvalue())

    async def people(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(said, words)

    people.environment = environment  # type: ignore[attr-defined]
    return people


async def store(mongo: Mongo) -> People:
    settings = Settings(public_url=ORIGIN, log_level="error")
    people = await prepared(settings, mongo, load_pack(settings.affinity))
    for name in await mongo.client.list_database_names():
        if name.startswith(mongo.prefix):
            for table in await mongo.client[name].list_collection_names():
                await mongo.client[name][table].delete_many({})
    return people


def written(file: Path, bodies: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(b) + "\n" for b in bodies))
    return file


async def test_a_file_becomes_persons_and_persons_become_a_file(
    mongo: Mongo, run: Any, tmp_path: Path
) -> None:
    people = await store(mongo)
    sealed = {
        "security": [
            {"system": "https://throughline.example/fhir/CodeSystem/sensitivity", "code": "WITPROT"}
        ]
    }
    bodies = [
        patient(COUNCIL, "9400001", **told("gwen")),
        patient(TRUST, "H9401", **told("gwen")),
        patient(TRUST, "H9402", **told("sealed"), meta=sealed),
        patient(COUNCIL, "9400003") | {"gender": "sometimes"},
    ]
    file = written(tmp_path / "people.ndjson", bodies)
    loaded = await run("load", str(file), "--processes", "1")
    assert loaded.returncode == 0, loaded.stderr
    assert "wait to be linked" in loaded.stderr
    assert "people.rejects.ndjson" in loaded.stderr
    again = await run("load", str(file), "--processes", "1")
    assert again.returncode == 0, again.stderr
    assert "wait to be linked" in again.stderr
    assert "Now run `throughline people link`" in again.stderr
    linked = await run("link")
    assert linked.returncode == 0, linked.stderr
    assert "records entered" in linked.stderr
    # what is linked is not said to wait, nor asked to be linked
    finished = await run("load", str(file), "--processes", "1")
    assert finished.returncode == 0, finished.stderr
    assert "wait to be linked" not in finished.stderr
    assert "people link" not in finished.stderr
    assert "is linked: nothing waits" in finished.stderr
    assert "people.rejects.ndjson" in finished.stderr
    out = tmp_path / "out.ndjson"
    exported = await run("export", str(out))
    assert exported.returncode == 0, exported.stderr
    assert "1 sealed ones left out" in exported.stderr
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert {(r["system"], r["value"]) for r in line["records"]} == {
        (COUNCIL, "9400001"),
        (TRUST, "H9401"),
    }
    for secret in (told("gwen")["name"][0]["family"], "0161", "H9402"):
        assert secret not in out.read_text()
    table = await run("export", "--format", "csv", "--least", "2", "--domain", TRUST)
    assert table.stdout.splitlines()[0].startswith("person,record,system,value")
    assert len(table.stdout.splitlines()) == 3
    assert (await run("export", "--least", "3")).stdout == ""
    # the audit has the load, the linkage, the exports and each Patient, and the outbox is empty
    events = await mongo.table("audit", "events").many({})
    said = [json.loads(bytes(e["b"])) for e in events]
    kinds = [
        s["display"]
        for e in said
        for s in e.get("subtype", ())
        if s["display"].startswith("people ")
    ]
    assert kinds.count("people load") == 1
    assert kinds.count("people link") == 1
    assert kinds.count("people export") == 3
    feeds = [e for e in said if any(s["code"] == "ITI-104" for s in e.get("subtype", ()))]
    assert len(feeds) == 3
    assert await people.mongo.table("pix", "audit_outbox").count({}) == 0


async def test_a_load_killed_with_sigkill_goes_on_and_takes_nothing_twice(
    mongo: Mongo, run: Any, tmp_path: Path
) -> None:
    people = await store(mongo)
    bodies = [patient(COUNCIL, str(9_410_000 + n)) for n in range(9000)]
    file = written(tmp_path / "people.ndjson", bodies)
    command = [sys.executable, "-m", "exchange", "people", "load", str(file), "--processes", "1"]
    process = subprocess.Popen(command, env=run.environment, stderr=subprocess.DEVNULL)
    while not await people.loaded.count({}, limit=1):
        assert process.poll() is None
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (load,) = await people.loads.many({})
    if load["state"] == "loading":
        refused = await run("link")
        assert refused.returncode == 6
        assert "interrupted" in refused.stderr
    again = await run("load", str(file), "--processes", "1")
    assert again.returncode == 0, again.stderr
    assert await people.loaded.count({}) == 9000
    (load,) = await people.loads.many({})
    assert load["counts"]["staged"] == 9000
    assert load["counts"]["repeated"] == 0


async def test_a_model_is_trained_from_a_file_and_tried_in_the_shadow(
    mongo: Mongo, run: Any, tmp_path: Path
) -> None:
    people = await store(mongo)
    city = list(records(37, 600))
    file = written(tmp_path / "city.ndjson", [{**r.patient} for r in city])
    labels = tmp_path / "labels.csv"
    labels.write_text("".join(f'"{r.system}|{r.value}",{r.person}\n' for r in city))
    out, splink = tmp_path / "2099-02.json", tmp_path / "splink.json"
    trained = await run(
        "train", "2099-02", "--file", str(file), "--labels", str(labels), "--out", str(out),
        "--pairs", "100000", "--splink", str(splink),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "with labels" in trained.stderr
    assert "too few pairs to learn from" in " ".join(trained.stderr.split())
    assert "keep what 2026-11 has" in " ".join(trained.stderr.split())
    assert json.loads(out.read_text())["kept"]["name"]
    assert json.loads(out.read_text())["version"] == "2099-02"
    assert json.loads(splink.read_text())["comparisons"]
    again = await run("train", "2099-02", "--file", str(file), "--out", str(out))
    assert again.returncode == 2
    assert "never overwritten" in again.stderr
    async with pix_service(mongo) as pix:
        await pix.feed(patient(COUNCIL, "9420001", **told("hugo")))
        await pix.feed(patient(TRUST, "H9421", **told("hugo")))
        await pix.feed(patient(TRUST, "H9422", **told("ines-maria")))
    before = await people.links.many({})
    hard = json.loads(out.read_text())
    hard["version"], hard["thresholds"]["join"], hard["thresholds"]["bridge"] = "hard", 300, 310
    (tmp_path / "hard.json").write_text(json.dumps(hard))
    report = tmp_path / "shadow.json"
    shadow = await run("link", "--shadow", str(tmp_path / "hard.json"), "--report", str(report))
    assert shadow.returncode == 0, shadow.stderr
    assert "Nothing was changed" in shadow.stderr
    said = json.loads(report.read_text())
    assert (said["records"], said["persons"], said["would_be"]) == (3, 2, 3)
    assert (said["parting"], said["pairs_parted"], said["joining"]) == (1, 1, 0)
    assert len(said["parts"][0]["parts"]) == 2
    assert await people.links.many({}) == before
    # put to use: from then on records are matched by it and decisions name it; what was linked stays
    async with pix_service(mongo, matching_model=str(tmp_path / "hard.json")) as pix:
        await pix.feed(patient(COUNCIL, "9420002", **told("nora")))
        await pix.feed(patient(TRUST, "H9423", **told("nora")))
        links = await people.links.many({})
    nora = [link for link in links if link not in before and link["state"] == "MATCH"]
    assert len({link["person"] for link in nora}) == 2
    asked = await people.explanations.many({"record": {"$in": [link["record"] for link in nora]}})
    assert {row["model"] for row in asked} == {"hard"}
    assert [link for link in links if link in before] == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("load", "absent.ndjson"), 2, "no file"),
        (("load", __file__), 2, ".ndjson"),
        (("link", "--shadow", "1999-01"), 2, "No model 1999-01"),
        (("train", "2099-03"), 1, "fewer than 100"),
        (("train", "2026-11"), 2, "a version of its own"),
        (("link", "--matching-model", "absent.json"), 2, "--matching-model: No model absent.json"),
        (("rebuild", "--matching-model", "absent.json"), 2, "--matching-model: No model"),
        (("load", "absent.ndjson", "--domain", "urn:nowhere"), 2, "no identifier domain"),
        (("load", "absent.ndjson", "--over", "http"), 2, "--key"),
        (("export", "--domain", "social-care"), 2, "Name its system as the records do"),
        (("export", "--least", "5", "--most", "2"), 2, "--most 2 is less than --least 5"),
    ],
)
async def test_what_cannot_be_done_is_said_with_what_to_do(
    mongo: Mongo, run: Any, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    await store(mongo)
    ended = await run(*words, *(("--out", str(tmp_path / "m.json")) if words[0] == "train" else ()))
    assert ended.returncode == code, ended.stderr
    assert said in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
