"""The model file: readable, versioned, refused with every fault at once; and how it is estimated."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pix.likening import ASPECTS
from pix.model import VETOES, Frequencies, ModelError, load, read, tallied
from pix.training import counted, matched_pairs, random_pairs, trained
from pix.vetoes import RULES
from tests.pix.test_matching import somebody

SAID: dict[str, Any] = json.loads(files("pix").joinpath("models", "2026-11.json").read_text())


def test_the_shipped_model_is_whole():
    model = load()
    assert model.version == "2026-11"
    assert [len(p) for p in model.points] == [len(a.levels) for a in ASPECTS]


def test_agreeing_is_worth_more_than_differing():
    model = load()
    for aspect, points in zip(ASPECTS, model.points, strict=True):
        if aspect.levels[-1].id in ("different", "other", "far") and not aspect.levels[0].counted:
            assert points[0] > 0 > points[-1], aspect.id


def test_a_file_may_not_pass_for_a_model_that_comes_with_the_product(tmp_path: Path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(SAID))
    assert load(str(file)).version == "2026-11"
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**SAID, "thresholds": {**SAID["thresholds"], "join": 14}}))
    with pytest.raises(ModelError, match="give it a version of its own"):
        load(str(other))


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is no JSON"), ("[1]", "holds no model"), ("", "No model")]
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, text: str, words: str):
    file = tmp_path / "none.json"
    file.write_text(text)
    with pytest.raises(ModelError, match=words):
        load(str(file))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: m.pop("version"), "version is missing"),
        (lambda m: m["thresholds"].update(review=30), "review must lie below join"),
        (lambda m: m["thresholds"].update(fracture=30), "records would join and leave by turns"),
        (lambda m: m["thresholds"].pop("margin"), "numbers for margin"),
        (
            lambda m: m["levels"]["born"].pop("exact"),
            "levels.born.exact.m must lie between 0 and 1",
        ),
        (
            lambda m: m["levels"]["sex"]["same"].update(u=0),
            "levels.sex.same.u must lie between 0 and 1",
        ),
        (lambda m: m["levels"].update(shoes={}), "levels.shoes is nothing that is compared"),
        (lambda m: m["levels"]["sex"].update(maybe={}), "levels.sex.maybe is no level"),
        (lambda m: m.update(people=True), "people must be a number above 0"),
        (lambda m: m["typical"].pop("phone"), "typical.phone must be a number above 0"),
    ],
)
def test_a_faulty_model_is_refused(spoil: Callable[[dict[str, Any]], Any], words: str):
    said = copy.deepcopy(SAID)
    spoil(said)
    with pytest.raises(ModelError, match=words):
        read(said)


def test_every_veto_can_be_named_by_a_model():
    assert {rule.veto.id for rule in RULES} == set(VETOES)
    with pytest.raises(ModelError, match="do without nhs"):
        read({**SAID, "vetoes": ["sealed"]})
    with pytest.raises(ModelError, match="mood is none"):
        read({**SAID, "vetoes": [*VETOES, "mood"]})


def test_all_faults_are_told_at_once():
    with pytest.raises(ModelError) as told:
        read({"version": "x"})
    assert str(told.value).count("\n- ") >= 6


def test_an_unknown_model_says_which_are_known():
    with pytest.raises(ModelError, match="2026-11"):
        load("1999-01")


def test_a_person_counts_once_however_often_an_agency_repeats_them():
    one = somebody(phone="07700900123")
    assert tallied([one, one]) == tallied([one])
    assert {"given|OLIVER", "surname|OGDEN", "p|M11CK", "t|07700900123"} <= tallied([one])


def test_only_common_values_are_held():
    model = load()
    counts = {"given|OLIVER": 50, "given|QUINELLA": 1, "u|999900000001": 300, "u|999900000002": 2}
    own = Frequencies.counted("1", 1_000_000, counts, model)
    assert own.given == {"OLIVER": 5e-5}
    assert own.shared == {"u|999900000001": 300}


def test_a_small_store_leans_on_the_models_frequencies():
    model = load()
    common = max(model.frequencies.surname, key=lambda n: model.frequencies.surname[n])
    tiny = Frequencies("1", 10, {}, {"OGDEN": 1.0}).blended(model.frequencies)
    assert tiny.surname["OGDEN"] < 0.01
    assert tiny.surname[common] == pytest.approx(model.frequencies.surname[common], rel=0.01)
    assert tiny.people == model.people


def test_a_model_is_estimated_from_people_who_are_known():
    people = [
        [somebody("OLIVER", "OGDEN", f"19{i:02d}-05-06", address=None)] * 2 for i in range(20, 70)
    ]
    made = trained(people, SAID, version="test", dice=Random(1), randoms=2_000)
    assert read(made).version == "test"
    born = made["levels"]["born"]
    assert born["exact"]["m"] > 0.9 > 0.1 > born["exact"]["u"]
    assert made["common"]["surname"] == {"OGDEN": 1.0}


def test_pairs_are_drawn_within_and_between_people():
    people = [[somebody("A", "B")] * 3, [somebody("C", "D", "1990-01-02")] * 2]
    assert len(list(matched_pairs(people, Random(1)))) == 4
    within = counted(matched_pairs(people, Random(1)))
    between = counted(random_pairs(people, 50, Random(1)))
    assert within[0][0] == 4
    assert between[0][0] == 0
