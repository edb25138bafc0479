"""The rules that stand beside the matcher, and the table that shows them."""

from __future__ import annotations

import io
from dataclasses import replace

import orjson
from rich.console import Console

from benchmarks.identity import baselines, measures, tables
from benchmarks.identity.__main__ import main
from benchmarks.identity.measures import Outcome
from benchmarks.identity.population import arrivals, records, sealed


def test_equal_number_and_birth_date_is_nearly_always_right_and_finds_less_than_half():
    crowd = arrivals(11, 6_000)
    found = measures.report("rule", crowd, baselines.nhs_and_birth_date(crowd), sealed(11, 6_000))
    assert found.all.precision > 0.999
    assert 0.3 < found.all.recall < 0.55
    assert found.no_nhs.recall == 0
    assert found.sealed_joined == 0


def test_two_nhs_numbers_twins_and_generations_are_vetoed():
    one = dict.fromkeys(("nhs", "upn", "nino", "pnc", "middle"), None) | {
        "given": "AMY", "family": "SMITH", "born": "2015-03-04",
    }  # fmt: skip
    assert not baselines.vetoed(one, one)
    assert not baselines.vetoed(one, one | {"given": "AMYE"})
    assert baselines.vetoed(one, one | {"given": "GEORGE"})
    assert baselines.vetoed(one, one | {"born": "1985-03-04"})
    assert baselines.vetoed(one | {"nhs": "1"}, one | {"nhs": "2"})
    assert not baselines.vetoed(one | {"upn": "1"}, one | {"upn": "1", "given": "GEORGE"})


def test_a_figure_below_the_bound_is_called_one():
    rows = list(records(2, 60))
    everybody = Outcome({r.key: "one" for r in rows}, reviews=None)
    report = measures.report("Throughline, everybody is one", rows, everybody)
    assert "Throughline, everybody is one: pairwise precision" in tables.refused([report])
    assert report.reviews is None
    alone = measures.report("alone", rows, Outcome({r.key: r.person for r in rows}))
    assert tables.refused([alone]) == []


def test_the_table_and_the_json_hold_every_measure():
    rows = list(records(2, 60))
    report = measures.report("truth", rows, Outcome({r.key: r.person for r in rows}))
    written = io.StringIO()
    console = Console(file=written, width=200)
    console.print(tables.comparison([report], "title"))
    console.print(tables.parts(report, "naming group", report.groups.items()))
    for target in tables.TARGETS:
        assert target.words in written.getvalue()
    told = orjson.loads(orjson.dumps(tables.as_json(report)))
    assert told["targets"]["pairwise precision"] == {"value": 1.0, "verdict": "reached"}
    assert told["pairs"]["group: White British"]["recall"] == 1.0


def test_the_command_writes_its_figures(tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert main(["--records", "400", "--baselines-only", "--seed", "5", "--out", str(out)]) == 0
    told = orjson.loads(out.read_bytes())
    assert told[0]["records"] == 400
    assert "NHS number + birth date" in capsys.readouterr().out


def test_the_matcher_in_memory_is_measured_by_the_same_command(tmp_path):
    out = tmp_path / "figures.json"
    main(["--records", "800", "--seed", "5", "--out", str(out)])
    told = orjson.loads(out.read_bytes())
    assert told[0]["method"] == "Throughline, memory"
    assert told[0]["pairs"]["all"]["recall"] > told[1]["pairs"]["all"]["recall"]


def test_a_record_that_is_revised_is_measured_once():
    rows = list(records(2, 40))
    again = [*rows, *(replace(r, patient=dict(r.patient)) for r in rows[:10])]
    outcome = Outcome({r.key: r.person for r in rows})
    assert measures.report("a", again, outcome).records == 40
