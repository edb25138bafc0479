"""Counting by cells is counting pair by pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.identity import measures
from benchmarks.identity.measures import Outcome, Pairs

KEYS = [f"r{n}" for n in range(14)]
TRUTH = st.dictionaries(st.sampled_from(KEYS), st.sampled_from("ABCDE"), max_size=14)
CLUSTERS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from("vwxyz"), max_size=14)
SOME = st.sets(st.sampled_from(KEYS))


@dataclass(frozen=True)
class Row:
    key: str
    person: str
    group: str = "one"
    agency: str = "GP"
    slices: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Two:
    before: str
    after: str


def naive(
    truth: Mapping[str, str], clusters: Mapping[str, str], some: set[str] | None = None
) -> Pairs:
    true = made = both = 0
    for a, b in combinations(sorted(truth), 2):
        if some is not None and a not in some and b not in some:
            continue
        is_true = truth[a] == truth[b]
        is_made = a in clusters and b in clusters and clusters[a] == clusters[b]
        true, made, both = true + is_true, made + is_made, both + (is_true and is_made)
    return Pairs(true, made, both)


@given(TRUTH, CLUSTERS)
def test_pairs_are_those_counted_one_by_one(truth, clusters):
    assert measures.pairs(truth, clusters) == naive(truth, clusters)


@given(TRUTH, CLUSTERS, SOME)
def test_a_slice_holds_the_pairs_with_at_least_one_of_its_records(truth, clusters, some):
    assert measures.pairs_with(truth, clusters, some) == naive(truth, clusters, some)


@given(TRUTH)
def test_the_truth_itself_is_perfect(truth):
    found = measures.pairs(truth, truth)
    assert (found.precision, found.recall, found.f1) == (1.0, 1.0, 1.0)
    assert not measures.merged_people(truth, truth)


@given(TRUTH)
def test_leaving_everyone_alone_is_precise_and_finds_nothing(truth):
    found = measures.pairs(truth, {key: key for key in truth})
    assert found.precision == 1.0
    assert found.both == 0


@given(TRUTH, CLUSTERS)
def test_merged_people_are_those_with_a_stranger_beside_them(truth, clusters):
    naively = {
        truth[a]
        for a in truth
        for b in truth
        if a in clusters and clusters.get(b) == clusters[a] and truth[a] != truth[b]
    }
    assert measures.merged_people(truth, clusters) == naively


@given(TRUTH, CLUSTERS)
def test_two_identities_are_joined_when_records_of_both_meet(truth, clusters):
    two = [Two(a, b) for a, b in combinations("ABCDE", 2)]
    naively = sum(
        any(
            clusters.get(a, a) == clusters.get(b, b)
            for a in truth
            for b in truth
            if (truth[a], truth[b]) == (pair.before, pair.after)
        )
        for pair in two
    )
    assert measures.joined(truth, clusters, two) == naively


@given(st.dictionaries(st.sampled_from(KEYS), st.sets(st.sampled_from("abcdefg"), max_size=3)))
def test_components_are_what_walking_from_key_to_key_reaches(keys):
    members = sorted(keys)
    found = measures.components(members, keys)
    for start in members:
        reached, waiting = {start}, [start]
        while waiting:
            at = waiting.pop()
            near = {m for m in members if keys[m] & keys[at]} - reached
            reached |= near
            waiting += near
        assert {m for m in members if found[m] == found[start]} == reached


@given(TRUTH, st.dictionaries(st.sampled_from(KEYS), st.sets(st.sampled_from("abc"), max_size=2)))
def test_blocking_misses_the_true_pairs_that_share_no_key(truth, keys):
    found = measures.missed_by_blocking(truth, keys)
    naively = sum(
        truth[a] == truth[b] and bool(keys.get(a, set()) & keys.get(b, set()))
        for a, b in combinations(sorted(truth), 2)
    )
    assert found == Pairs(naive(truth, {}).true, 0, naively)


def test_twins_who_share_a_cluster_are_both_merged():
    birth = frozenset({"twin", "birth:1"})
    rows = [Row("a", "A", slices=birth), Row("b", "B", slices=birth), Row("c", "C")]
    assert measures.merged_siblings(rows, {"a": "x", "b": "x", "c": "x"}) == (2, 2)
    assert measures.merged_siblings(rows, {"a": "x", "b": "y", "c": "x"}) == (0, 2)


def test_a_report_names_the_worst_served():
    rows = [
        Row("a", "A"), Row("b", "A"), Row("c", "B", "two", "police"), Row("d", "B", "two", "police"),
        Row("e", "B", "two", "police"),
    ]  # fmt: skip
    outcome = Outcome({"a": "1", "b": "1", "c": "2", "d": "2", "e": "3"}, reviews={"e"})
    found = measures.report("test", rows, outcome)
    assert found.worst_group == ("two", 1 / 3)
    assert found.worst_agency == ("police", 1 / 3)
    assert (found.records, found.people, found.reviews) == (5, 2, 0.2)
    assert found.missed is None


def test_a_record_that_was_sent_twice_counts_once():
    rows = [Row("a", "A"), Row("a", "A"), Row("b", "A")]
    assert measures.report("test", rows, Outcome({"a": "1", "b": "1"})).all == Pairs(1, 1, 1)
