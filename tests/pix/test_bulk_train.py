"""`people train`: Splink learns from the same levels, and what it writes is a model."""

from __future__ import annotations

import builtins
import json
from importlib.resources import files
from typing import Any

import pytest

from affinity.pack import load as load_pack
from benchmarks.identity.population import records
from pix import model
from pix.bulk import engine, train
from pix.identifiers import Domains
from pix.profiles import kept
from pix.training import CHANCE
from pix.traits import traits
from tests.pix.makers import BASE

pytest.importorskip("splink")


@pytest.fixture(scope="module")
def known() -> tuple[list[bytes], list[str]]:
    domains = Domains(load_pack("greater_manchester"), BASE)
    city = list(records(19, 1000))
    return [kept(traits(r.patient, domains)) for r in city], [r.person for r in city]


def shown() -> dict[str, Any]:
    text = files("pix").joinpath("models", f"{model.LATEST}.json").read_text("utf-8")
    made: dict[str, Any] = json.loads(text)
    return made


def trained(said: list[bytes], labels: list[str]) -> dict[str, Any]:
    wanted = train.Wanted("2099-01", pairs=100_000)
    return train.train(said, labels, model.load(), shown(), wanted, lambda *_: None)


def test_labels_teach_what_records_of_one_person_say(known: tuple[list[bytes], list[str]]) -> None:
    said, labels = known
    made = trained(said, labels)
    new = model.read(json.loads(train.written(made)))
    assert new.version == "2099-01"
    assert new.thresholds == model.load().thresholds
    assert new.people == len(set(labels))
    assert new.m["name"]["both"] > 0.6
    assert new.m["born"]["exact"] > 0.8
    assert new.u["name"]["both"] < 0.01
    assert new.u["nhs"]["verified"] == CHANCE["nhs", "verified"]
    for aspect in new.m:
        assert sum(new.m[aspect].values()) == pytest.approx(1, abs=0.05)
    rows = train.changed(new, model.load())
    assert {(r.aspect, r.level) for r in rows} == {(a, v) for a in new.m for v in new.m[a]}
    assert all(r.by == pytest.approx(r.bits - r.before) for r in rows)


def test_without_labels_em_finds_it_in_tight_blocks(known: tuple[list[bytes], list[str]]) -> None:
    made = trained(known[0], [])
    new = model.read(made)
    assert new.m["name"]["both"] > 0.5
    assert new.m["born"]["exact"] > 0.6
    assert new.m["sex"]["same"] > 0.9
    assert new.u["sex"]["same"] == pytest.approx(0.5, abs=0.1)


def test_too_few_records_teach_nothing(known: tuple[list[bytes], list[str]]) -> None:
    with pytest.raises(train.CannotTrain, match="100"):
        trained(known[0][:50], [])


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def missing(name: str, *more: Any) -> Any:
        if name.startswith("splink"):
            raise ImportError(name)
        return whole(name, *more)

    monkeypatch.setattr(engine.importlib, "import_module", missing)
    with pytest.raises(engine.Missing, match=r"throughline\[linkage\]"):
        engine.needed("splink")
