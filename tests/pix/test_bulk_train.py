"""`people train`: Splink learns from the same levels, and what it writes is a model."""

from __future__ import annotations

import builtins
import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load as load_pack
from benchmarks.identity.population import records
from pix import model
from pix.bulk import engine, train
from pix.identifiers import Domains
from pix.profiles import kept
from pix.training import CHANCE, DOUBT
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
        if aspect != "local":  # which is never learnt from so few
            assert sum(new.m[aspect].values()) == pytest.approx(1, abs=0.05)
    rows = train.changed(made, model.load())
    assert {(r.aspect, r.level) for r in rows} == {(a, v) for a in new.m for v in new.m[a]}
    assert all(r.by == pytest.approx(r.bits - r.before) for r in rows)


def test_without_labels_em_finds_it_in_tight_blocks(known: tuple[list[bytes], list[str]]) -> None:
    made = trained(known[0], [])
    new = model.read(made)
    assert new.m["name"]["both"] > 0.5
    assert new.m["born"]["exact"] > 0.6
    assert new.m["sex"]["same"] > 0.9
    assert new.u["sex"]["same"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("labelled", [True, False])
def test_what_too_few_pairs_have_shown_is_kept_and_said(
    known: tuple[list[bytes], list[str]], labelled: bool
) -> None:
    """A small store: what a chance pair or two would have moved by ten bits stays where it was."""
    present, size = model.load(), 300
    made = trained(known[0][:size], known[1][:size] if labelled else [])
    rows = train.changed(made, present)
    kept = [r for r in rows if r.kept]
    assert {r.aspect for r in kept} >= {"name", "born"}
    learnt = [r for r in rows if "m" not in r.kept]
    assert {r.aspect for r in learnt} >= {"name", "born", "sex"}
    for row in rows:
        assert row.kept.get("m", 0) < train.FEW
        if set(row.kept) == {"m", "u"}:
            assert row.m <= present.m[row.aspect][row.level] * 1.02 + DOUBT[row.aspect]
            assert row.u <= present.u[row.aspect][row.level] * 1.02
        if row.aspect in ("name", "born"):
            assert abs(row.by) < 4, row
    assert model.read(made).version == "2099-01"


def test_pairs_of_one_person_are_no_chance_agreement() -> None:
    drawn = train.Seen({"same": 0.004, "other": 0.996}, 80_000)
    alike = train._strangers(drawn, {"same": 0.8, "other": 0.2}, 0.0045)
    assert alike.of("same") == pytest.approx(320 - 288)
    assert alike.few("same")  # 32 is what is left of 320 when 288 are taken off by reckoning
    assert not alike.few("other")
    assert train._whole(alike, {"same": 1e-5, "other": 1.0})["same"] == pytest.approx(1e-5)


def test_where_many_have_shown_all_nothing_is_said_to_be_kept() -> None:
    present = {"same": 0.9, "other": 0.1}
    many = train.Seen({"same": 0.7, "other": 0.3}, 1000)
    assert train._whole(many, present) == pytest.approx({"same": 0.7, "other": 0.3})
    assert not any(map(many.few, present))


@given(
    counts=st.lists(st.integers(0, 200), min_size=2, max_size=6),
    before=st.lists(st.floats(1e-9, 1), min_size=6, max_size=6),
)
def test_shares_are_whole_and_what_was_not_learnt_is_never_more_than_it_was(
    counts: list[int], before: list[float]
) -> None:
    total = sum(counts)
    levels = [f"l{n}" for n in range(len(counts))]
    shipped = {k: v / sum(before[: len(levels)]) for k, v in zip(levels, before, strict=False)}
    shares = {k: n / total if n else None for k, n in zip(levels, counts, strict=True)}
    seen = train.Seen(shares if total else dict.fromkeys(levels), total)
    made = train._whole(seen, shipped)
    assert sum(made.values()) == pytest.approx(1)
    few = [k for k in levels if seen.few(k)]
    assert {k for k, n in zip(levels, counts, strict=True) if n < train.FEW} == set(few)
    for level in few:
        assert made[level] <= shipped[level] * (1 + 1e-9)
    if len(few) == len(levels):
        assert made == shipped
    # where as many were seen as were expected, what was kept is as it was
    if total and sum(shipped[k] for k in few) <= 0.5 and len(few) < len(levels):
        for level in few:
            if shipped[level] * total <= train.FEW:
                assert made[level] == pytest.approx(shipped[level])


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
