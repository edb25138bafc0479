"""`people load`: files of every kind, refusals that say why, and interruptions at any point."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from affinity.pack import load as load_pack
from chassis.mongo import Mongo
from chassis.settings import Settings
from pix.app import prepared
from pix.bulk import load as loading
from pix.bulk.accounts import Operator
from pix.bulk.files import FileFault, described, lines
from pix.bulk.load import Wanted, load
from pix.bulk.loads import Load, Loads
from pix.people import People
from tests.pix.makers import (
    BASE,
    COUNCIL,
    NHS,
    SALFORD,
    TRUST,
    identifier,
    nhs_number,
    patient,
    replaced,
)
from tests.running import ORIGIN

OPERATOR = Operator("loader", "TL-DEMO", BASE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(mongo: Mongo) -> AsyncIterator[People]:
    settings = Settings(public_url=ORIGIN, log_level="error")
    yield await prepared(settings, mongo, load_pack(settings.affinity))


@pytest_asyncio.fixture(autouse=True)
async def empty(people: People) -> None:
    for table in (people.loads, people.loaded, people.records):
        await table.delete({}, many=True)


def written(file: Path, bodies: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(b) + "\n" for b in bodies))
    return file


def wanted(file: Path, **more: Any) -> Wanted:
    rejects = more.pop("rejects", file.with_suffix(".rejects.ndjson"))
    more.setdefault("processes", 1)
    return Wanted(described(file), "greater_manchester", BASE, OPERATOR, rejects, **more)


async def loaded(people: People, file: Path, **more: Any) -> Load:
    return await load(people, wanted(file, **more), lambda _: None)


def told(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_file_of_patients_waits_to_be_linked(people: People, tmp_path: Path) -> None:
    bodies = [patient(COUNCIL, str(9_100_000 + n)) for n in range(25)]
    made = await loaded(people, written(tmp_path / "people.ndjson", bodies), block=10)
    assert made.state == "loaded"
    assert made.counts == {
        "staged": 25,
        "repeated": 0,
        "revised": 0,
        "unchanged": 0,
        "refused": 0,
        "blank": 0,
    }
    assert await people.loaded.count({}) == 25
    assert not (tmp_path / "people.rejects.ndjson").exists()
    events = await people.mongo.table("pix", "audit_outbox").many({})
    said = json.loads(events[-1]["b"])
    detail = {d["type"]: d["valueString"] for d in said["entity"][0]["detail"]}
    assert detail["sha256"] == made.digest
    assert detail["staged"] == "25"
    again = await loaded(people, tmp_path / "people.ndjson")
    assert again.counts == made.counts


async def test_a_refused_line_says_where_and_why_and_nothing_of_the_person(
    people: People, tmp_path: Path
) -> None:
    wrong = patient(COUNCIL, "9110001", nhs="9990000001") | {"gender": "sometimes", "colour": "red"}
    digit = patient(COUNCIL, "9110002", nhs="9990000001")
    bodies = [wrong, patient(COUNCIL, "9110003"), digit, {"resourceType": "Observation"}]
    file = written(tmp_path / "people.ndjson", bodies)
    file.write_text(
        file.read_text() + '\n{"resourceType": "Patient", "active": true, "active": false}\n{"half'
    )
    made = await loaded(people, file)
    assert made.counts["staged"] == 1
    assert made.counts["refused"] == 5
    assert made.counts["blank"] == 1
    rejects = told(tmp_path / "people.rejects.ndjson")
    assert [r["line"] for r in rejects] == [1, 3, 4, 6, 7]
    assert {i["where"] for i in rejects[0]["issues"]} == {"Patient.gender", "Patient.colour"}
    assert rejects[1]["issues"][0]["where"] == "Patient.identifier[1].value"
    assert "twice" in rejects[3]["issues"][0]["why"]
    assert "cut off" in rejects[4]["issues"][0]["why"]
    assert "9990000001" not in (tmp_path / "people.rejects.ndjson").read_text()


async def test_the_same_number_again_is_what_its_source_says_now(
    people: People, tmp_path: Path
) -> None:
    first, other = patient(COUNCIL, "9120001"), patient(COUNCIL, "9120001", born="1981-01-02")
    file = written(tmp_path / "p.ndjson", [first, first, other, patient(TRUST, "H912")])
    made = await loaded(people, file, block=2)
    assert made.counts["staged"] == 2
    assert made.counts["repeated"] == 1
    assert made.counts["revised"] == 1
    row = await people.loaded.one({"_id": f"{COUNCIL}|9120001"})
    assert row is not None
    assert b"1981-01-02" in bytes(row["o"])


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_load_that_was_killed_goes_on_where_it_stood(
    people: People, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [patient(COUNCIL, str(9_130_000 + n)) for n in range(40)]
    for n in range(0, 40, 7):
        bodies[n]["gender"] = "sometimes"
    file = written(tmp_path / "p.ndjson", bodies)
    taken = 0
    whole = Loads.take

    async def dying(self: Loads, load: Load, admitted: Any) -> None:
        nonlocal taken
        taken += 1
        if taken > after:
            raise KeyboardInterrupt
        await whole(self, load, admitted)

    monkeypatch.setattr(Loads, "take", dying)
    with pytest.raises(KeyboardInterrupt):
        await loaded(people, file, block=10)
    assert await Loads(people).unfinished()
    monkeypatch.setattr(Loads, "take", whole)
    made = await loaded(people, file, block=10)
    assert made.counts["staged"] + made.counts["refused"] == 40
    assert made.counts["refused"] == 6
    assert await people.loaded.count({}) == 34
    assert [r["line"] for r in told(tmp_path / "p.rejects.ndjson")] == [
        n + 1 for n in range(0, 40, 7)
    ]


async def test_a_domain_for_the_file_says_whose_the_lines_are(
    people: People, tmp_path: Path
) -> None:
    mixed = patient(COUNCIL, "9140001")
    mixed["identifier"].insert(0, identifier(SALFORD, "9140002"))
    file = written(tmp_path / "p.ndjson", [mixed, patient(TRUST, "H914")])
    made = await loaded(people, file, domain=COUNCIL)
    assert (made.counts["staged"], made.counts["refused"]) == (1, 1)
    assert await people.loaded.one({"_id": f"{COUNCIL}|9140001"}) is not None
    (refused,) = told(tmp_path / "p.rejects.ndjson")
    assert "--domain" in refused["issues"][0]["why"]


async def test_a_merge_waits_until_those_it_names_are_there(people: People, tmp_path: Path) -> None:
    merged = replaced(
        patient(COUNCIL, "9150001"), {"identifier": {"system": COUNCIL, "value": "9150002"}}
    )
    made = await loaded(people, written(tmp_path / "p.ndjson", [merged]))
    assert made.counts["staged"] == 1
    assert await Loads(people).waiting(merges=True) == 1
    assert await Loads(people).waiting(merges=False) == 0


async def test_csv_is_read_by_its_headings_or_by_a_mapping(people: People, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(
        "\ufeffRef,Surname,First,DoB,Sex,NHS,Notes\r\n"
        "9160001,O’Neill,Siân Mary,03/02/1980,F,,\r\n"
        "9160002,Smith,John,31/02/1980,X,,\r\n"
        "9160003,Smith\r\n".encode()
    )
    mapping = tmp_path / "mapping.json"
    columns = {
        "Ref": "value",
        "Surname": "family",
        "First": "given",
        "DoB": "born",
        "Sex": "gender",
        "NHS": "nhs",
        "Notes": "",
    }
    mapping.write_text(
        json.dumps(
            {"columns": columns, "dates": "%d/%m/%Y", "genders": {"F": "female", "M": "male"}}
        )
    )
    made = await loaded(people, file, domain=COUNCIL, mapping=mapping)
    assert (made.counts["staged"], made.counts["refused"]) == (1, 2)
    row = await people.loaded.one({"_id": f"{COUNCIL}|9160001"})
    assert row is not None
    said = json.loads(bytes(row["o"]))
    assert (said["birthDate"], said["gender"]) == ("1980-02-03", "female")
    assert said["name"] == [{"family": "O’Neill", "given": ["Siân Mary"]}]
    first, second = told(tmp_path / "p.rejects.ndjson")
    assert [i["where"] for i in first["issues"]] == ["Patient.birthDate", "Patient.gender"]
    assert "2 columns and the heading 7" in second["issues"][0]["why"]


async def test_a_date_in_another_form_is_told_which_forms_are_read(
    people: People, tmp_path: Path
) -> None:
    file, mapping = tmp_path / "p.csv", tmp_path / "mapping.json"
    born = ("28/02/1980", "1980-02-31", "1980-2-3", "19800228", "1980-02-28T10:00:00Z")
    lines = [f"{9_165_000 + n},Smith,{b}\n" for n, b in enumerate((*born, "1980-02", "1980", ""))]
    file.write_text("value,family,born\n" + "".join(lines))
    made = await loaded(people, file, domain=COUNCIL)
    assert (made.counts["staged"], made.counts["refused"]) == (3, 5)
    for line in told(tmp_path / "p.rejects.ndjson"):
        (issue,) = line["issues"]
        assert issue["where"] == "Patient.birthDate"
        for words in ("1980-02-28", "1980-02 or 1980", "`dates`", "--mapping", "%d/%m/%Y"):
            assert words in issue["why"]
    file.write_text("value,family,born\n9165101,Smith,1980-02-28\n")  # as FHIR writes it
    mapping.write_text('{"dates": "%d/%m/%Y"}')
    made = await loaded(people, file, domain=COUNCIL, mapping=mapping)
    (line,) = told(tmp_path / "p.rejects.ndjson")
    (issue,) = line["issues"]
    for words in ("28/02/1980", "%d/%m/%Y", "`dates`"):
        assert words in issue["why"]


@pytest.mark.parametrize("form", ["dd/mm/yyyy", "%d/%m", "%Y", "%d/%m/%Q", "%"])
async def test_a_form_of_dates_that_says_no_day_is_refused_at_once(
    people: People, tmp_path: Path, form: str
) -> None:
    file, mapping = tmp_path / "p.csv", tmp_path / "mapping.json"
    file.write_text("value,family,born\n9166001,Smith,28/02/1980\n")
    mapping.write_text(json.dumps({"dates": form}))
    with pytest.raises(FileFault) as fault:
        await loaded(people, file, domain=COUNCIL, mapping=mapping)
    assert "day, month and year" in str(fault.value)
    assert await people.loads.count({}) == 0


async def test_columns_that_cannot_be_read_are_all_named(people: People, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("number,family,famly,born,born\n1,a,b,c,d\n")
    with pytest.raises(FileFault) as fault:
        await loaded(people, file)
    for words in (
        "'number' is not mapped",
        "'famly' is not mapped",
        "two columns say 'born'",
        "`value`",
        "`system`",
    ):
        assert words in str(fault.value)


async def test_a_packed_file_reads_like_a_plain_one(people: People, tmp_path: Path) -> None:
    bodies = [patient(COUNCIL, str(9_170_000 + n)) for n in range(12)]
    plain = written(tmp_path / "a.ndjson", bodies)
    packed = tmp_path / "b.ndjson.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    made = await loaded(people, packed, block=5)
    assert made.counts["staged"] == 12
    source = described(packed)
    every = list(lines(source))
    assert list(lines(source, every[4].after, 5)) == every[5:]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.ndjson", b"", "empty"),
        ("people.txt", b"x", ".ndjson"),
        ("cut.ndjson.gz", gzip.compress(b"{}\n" * 5000, mtime=0)[:-20], "damaged or cut off"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_so(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFault, match=words):
        described(tmp_path / name)
    with pytest.raises(FileFault, match="no file"):
        described(tmp_path / "absent.ndjson")


async def test_a_rejects_file_that_cannot_be_written_stops_the_load_before_it_begins(
    people: People, tmp_path: Path
) -> None:
    file = written(tmp_path / "p.ndjson", [patient(COUNCIL, "9180001")])
    with pytest.raises(FileFault, match="cannot be written"):
        await loaded(people, file, rejects=tmp_path / "no" / "such" / "folder.ndjson")
    assert await people.loaded.count({}) == 0


async def test_a_full_disk_stops_the_load_and_loses_nothing(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [patient(COUNCIL, str(9_190_000 + n)) for n in range(20)]
    bodies[15]["gender"] = "sometimes"
    file = written(tmp_path / "p.ndjson", bodies)
    full = OSError(28, "No space left on device")

    def no_room(_: int) -> None:
        raise full

    with monkeypatch.context() as patched:
        patched.setattr(loading.os, "fsync", no_room)
        with pytest.raises(FileFault, match="No space left"):
            await loaded(people, file, block=10)
    made = await loaded(people, file, block=10)
    assert (made.counts["staged"], made.counts["refused"]) == (19, 1)
    assert [r["line"] for r in told(tmp_path / "p.rejects.ndjson")] == [16]


async def test_lines_are_judged_in_several_processes_alike(people: People, tmp_path: Path) -> None:
    bodies = [patient(COUNCIL, str(9_200_000 + n), nhs=nhs_number(9200 + n)) for n in range(30)]
    bodies[7]["identifier"][1] = identifier(NHS, "9990000001", status="01")
    made = await loaded(people, written(tmp_path / "p.ndjson", bodies), processes=2, block=8)
    assert (made.counts["staged"], made.counts["refused"]) == (29, 1)
    assert (made.line, made.after) == (30, made.size)


async def test_a_line_that_is_too_long_is_refused_and_the_next_one_read(
    people: People, tmp_path: Path
) -> None:
    file = tmp_path / "p.ndjson"
    long = json.dumps(patient(COUNCIL, "9210001", text="x" * (1 << 21)))
    file.write_text(long + "\n" + json.dumps(patient(COUNCIL, "9210002")) + "\n")
    made = await loaded(people, file)
    assert (made.counts["staged"], made.counts["refused"]) == (1, 1)
    assert made.after == made.size
