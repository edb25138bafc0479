"""The acts of a feed without a transport: several in one transaction, and the events they leave."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pix import acts
from pix.acts import Outcome, committed
from pix.change import Acting, Actor, Change
from pix.events import moves
from pix.identifiers import Identifier
from standards.outcome import Refused
from tests.pix.makers import COUNCIL, TRUST, Pix, nhs_number, patient

Story = Callable[[Change], Awaitable[Any]]


def acting() -> Acting:
    actor = Actor("feeder", "352", "R-SYS", "message 1")
    return Acting(actor, datetime.now(UTC), lambda: str(uuid.uuid4()))


async def written(pix: Pix, *stories: Story) -> list[Any]:
    """All these acts in one transaction."""

    async def story(change: Change) -> list[Any]:
        done = [await one(change) for one in stories]
        await change.write()
        return done

    return await committed(pix.near.people, acting(), ["a test"], story)


def put(body: dict[str, Any]) -> Story:
    said = body["identifier"][0]
    return lambda change: acts.put(change, Identifier(said["system"], said["value"]), body)


async def events(pix: Pix, *ids: str) -> list[tuple[str, str, int]]:
    rows = await pix.near.people.events.many({"record": {"$in": list(ids)}}, sort=[("_id", 1)])
    return [(row["type"], row["record"], row["v"]) for row in rows]


async def test_several_acts_are_one_transaction(pix: Pix) -> None:
    other = {"identifier": {"system": COUNCIL, "value": "6000002"}}
    first, second, merged = await written(
        pix,
        put(patient(COUNCIL, "6000001")),
        put(patient(COUNCIL, "6000002")),
        lambda change: acts.merge(change, Identifier(COUNCIL, "6000001"), other),
    )
    assert [d.kind for d in (first, second, merged)] == ["created", "created", "merged"]
    gone, kept = first.record.id, second.record.id
    assert await events(pix, gone, kept) == [
        ("created", gone, 1), ("created", kept, 1), ("merged", gone, 1),
    ]  # fmt: skip
    read = (await pix.http.get(f"/Patient/{gone}")).json()
    assert read["active"] is False
    assert read["link"][0]["other"]["reference"] == f"Patient/{kept}"


async def test_a_refused_act_undoes_those_before_it(pix: Pix) -> None:
    other = {"identifier": {"system": COUNCIL, "value": "6099999"}}
    with pytest.raises(Refused):
        await written(
            pix,
            put(patient(COUNCIL, "6000011")),
            lambda change: acts.merge(change, Identifier(COUNCIL, "6000011"), other),
        )
    assert (await pix.ask(COUNCIL, "6000011")).status_code == 404


async def test_a_number_removed_and_fed_in_one_message_is_a_new_record(pix: Pix) -> None:
    (old,) = await written(pix, put(patient(COUNCIL, "6000021")))
    removed, again = await written(
        pix,
        lambda change: acts.remove(change, Identifier(COUNCIL, "6000021")),
        put(patient(COUNCIL, "6000021")),
    )
    assert (removed.kind, again.kind) == ("removed", "created")
    assert again.record.id != old.record.id
    assert (await pix.http.get(f"/Patient/{old.record.id}")).status_code == 410
    assert (await pix.http.get(f"/Patient/{again.record.id}")).status_code == 200


async def test_a_merge_without_a_body_keeps_what_the_source_said(pix: Pix) -> None:
    await written(pix, put(patient(COUNCIL, "6000031")), put(patient(COUNCIL, "6000032")))
    other = {"identifier": {"system": COUNCIL, "value": "6000032"}}
    both = await written(
        pix,
        lambda c: acts.merge(c, Identifier(COUNCIL, "6000031"), other),
        lambda c: acts.merge(c, Identifier(COUNCIL, "6000039"), other),  # never fed
    )
    assert [b.kind for b in both] == ["merged", "merged"]
    shown = (await pix.http.get(f"/Patient/{both[0].record.id}")).json()
    assert shown["name"] == patient(COUNCIL, "6000031")["name"]
    again = await written(pix, lambda c: acts.merge(c, Identifier(COUNCIL, "6000031"), other))
    assert again[0].kind == "unchanged"


async def test_joining_and_leaving_are_told_with_both_persons(pix: Pix) -> None:
    number = nhs_number(6041)
    (one,) = await written(pix, put(patient(COUNCIL, "6000041", nhs=number)))
    (two,) = await written(pix, put(patient(TRUST, "H6041", nhs=number)))
    assert await events(pix, one.record.id) == [("created", one.record.id, 1)]
    assert await events(pix, two.record.id) == [
        ("created", two.record.id, 1), ("joined", two.record.id, 1),
    ]  # fmt: skip
    born = "1931-12-01"
    (left,) = await written(
        pix, put(patient(TRUST, "H6041", nhs=number, born=born, gender="male", name=[STRANGER]))
    )
    rows = await pix.near.people.events.many({"record": two.record.id, "type": "left"})
    assert [(r["before"], r["person"]) for r in rows] == [(one.record.person, left.record.person)]
    assert one.record.person != left.record.person


STRANGER = {"family": "Okonkwo", "given": ["Ngozi"]}


async def test_an_unchanged_body_leaves_no_event(pix: Pix) -> None:
    body = patient(COUNCIL, "6000051")
    (made,) = await written(pix, put(body))
    (again,) = await written(pix, put(body))
    assert isinstance(again, Outcome)
    assert again.kind == "unchanged"
    assert len(await events(pix, made.record.id)) == 1


def test_who_stays_has_not_moved_and_who_moves_together_has_not_parted() -> None:
    was = {"a": "p", "b": "p", "c": "q", "d": "q"}
    now = {"a": "p", "b": "r", "c": "r", "d": "r", "e": "p", "f": "new"}
    found = {(m.type, m.record, m.before) for m in moves(was, now)}
    assert found == {
        ("left", "b", "p"), ("joined", "b", "p"), ("joined", "c", "q"), ("joined", "d", "q"),
        ("joined", "e", ""),
    }  # fmt: skip


async def test_two_records_of_one_person_in_one_message_are_one_person(pix: Pix) -> None:
    number = nhs_number(6061)
    bodies = [
        patient(COUNCIL, "6000061", nhs=number),
        patient(TRUST, "H6061", nhs=number),
        patient(TRUST, "H6062", nhs=number),
    ]
    made = await written(pix, *map(put, bodies))
    assert len({d.record.person for d in made}) == 1
    ids = [d.record.id for d in made]
    assert [kind for kind, _, _ in await events(pix, ids[0])] == ["created"]
    assert [kind for kind, _, _ in await events(pix, ids[2])] == ["created", "joined"]
    decisions = await pix.near.people.decisions.many({"type": "join", "records": ids[1]})
    assert sorted(len(d["after"][made[0].record.person]) for d in decisions) == [2, 3]
    (profile,) = await pix.near.people.profiles.many({"members.r": ids[0]})
    assert profile["n"] == 3
