"""The hash chain: whatever is done to a chain after it was written shows."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from audit.chain import Head, Link, seal, seed, walk

START = seed({"_id": "c", "before": []})


def chained(bodies: list[bytes], chain: str = "c") -> list[Link]:
    made: list[Link] = []
    last = START
    for seq, body in enumerate(bodies):
        last = seal(last, chain, seq, f"e{seq}", body)
        made.append(Link(chain, seq, f"e{seq}", body, last))
    return made


bodies = st.lists(st.binary(max_size=20), min_size=3, max_size=12)


def kinds(records: list[Link], heads: list[Head] | None = None) -> list[str]:
    return [b.kind for b in walk("c", START, records, heads or [])]


@given(bodies)
def test_an_untouched_chain_is_sound(content: list[bytes]) -> None:
    records = chained(content)
    assert kinds(records, [Head("c", r.seq, r.hash) for r in records]) == []


@given(bodies, st.data())
def test_an_edit_is_named_at_its_place_and_once(content: list[bytes], data: st.DataObject) -> None:
    records = chained(content)
    place = data.draw(st.integers(0, len(records) - 1))
    records[place] = replace(records[place], body=records[place].body + b"!")
    assert [(b.seq, b.kind) for b in walk("c", START, records)] == [(place, "edited")]


@given(bodies, st.data())
def test_an_edit_with_a_new_hash_shows_at_the_next_record(
    content: list[bytes], data: st.DataObject
) -> None:
    records = chained(content)
    place = data.draw(st.integers(0, len(records) - 2))
    before = records[place - 1].hash if place else START
    forged = seal(before, "c", place, records[place].event_id, b"forged")
    if forged == records[place].hash:
        return
    records[place] = replace(records[place], body=b"forged", hash=forged)
    assert [(b.seq, b.kind) for b in walk("c", START, records)] == [(place + 1, "edited")]


@given(bodies, st.data())
def test_a_removal_shows(content: list[bytes], data: st.DataObject) -> None:
    records = chained(content)
    place = data.draw(st.integers(0, len(records) - 2))
    del records[place]
    found = list(walk("c", START, records))
    assert [(b.seq, b.kind) for b in found] == [(place, "removed")]


@given(bodies, st.data())
def test_a_removal_that_closes_the_gap_shows(content: list[bytes], data: st.DataObject) -> None:
    records = chained(content)
    place = data.draw(st.integers(0, len(records) - 2))
    kept = records[:place] + [replace(r, seq=r.seq - 1) for r in records[place + 1 :]]
    assert "edited" in kinds(kept)


@given(bodies, st.data())
def test_two_swapped_records_show(content: list[bytes], data: st.DataObject) -> None:
    records = chained(content)
    one = data.draw(st.integers(0, len(records) - 2))
    a, b = records[one], records[one + 1]
    records[one], records[one + 1] = replace(b, seq=a.seq), replace(a, seq=b.seq)
    assert "edited" in kinds(records)


@given(bodies, st.data())
def test_an_insertion_shows(content: list[bytes], data: st.DataObject) -> None:
    records = chained(content)
    place = data.draw(st.integers(0, len(records) - 1))
    before = records[place - 1].hash if place else START
    slipped = Link("c", place, "x", b"x", seal(before, "c", place, "x", b"x"))
    moved = [replace(r, seq=r.seq + 1) for r in records[place:]]
    assert "edited" in kinds([*records[:place], slipped, *moved])


@given(bodies)
def test_two_records_at_one_place_show(content: list[bytes]) -> None:
    records = chained(content)
    assert kinds([*records[:2], records[1], *records[2:]]) == ["inserted"]


@given(bodies, st.data())
def test_a_missing_end_shows_when_it_was_noted_elsewhere(
    content: list[bytes], data: st.DataObject
) -> None:
    records = chained(content)
    noted = [Head("c", records[-1].seq, records[-1].hash)]
    kept = records[: data.draw(st.integers(1, len(records) - 1))]
    assert kinds(kept) == []
    assert kinds(kept, noted) == ["truncated"]


@given(bodies)
def test_a_whole_new_chain_shows_when_a_head_was_noted_elsewhere(content: list[bytes]) -> None:
    records = chained(content)
    noted = [Head("c", records[1].seq, records[1].hash)]
    rewritten = chained([body + b"!" for body in content])
    assert kinds(rewritten) == []
    assert kinds(rewritten, noted) == ["edited"]


def test_a_record_after_the_closing_one_shows() -> None:
    records = chained([b"a", b"b", b"c"])
    records[1] = replace(records[1], last=True)
    assert kinds(records) == ["inserted"]


def test_an_announced_chain_without_records_shows() -> None:
    assert kinds([]) == ["removed"]


def test_another_announcement_does_not_fit_the_chain() -> None:
    records = chained([b"a", b"b"])
    assert [b.kind for b in walk("c", seed({"_id": "c", "before": ["x"]}), records)] == ["edited"]
