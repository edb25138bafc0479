"""What people decide about persons holds, and can be undone exactly."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from pix import stewarding
from pix.acts import committed
from pix.change import Acting, Actor, Change
from standards.outcome import CONFLICT, Refused
from tests.pix.makers import (
    COUNCIL,
    HOSPITAL,
    SALFORD,
    TRUST,
    Pix,
    name_of,
    nhs_number,
    patient,
    replaced,
)
from tests.pix.test_linking import told, who

STEWARD = Actor("viewer", "QOP", "R-DS", "request 1", "steward 7")


async def decided(pix: Pix, act: Callable[[Change], Awaitable[Any]]) -> Any:
    """A steward's act, committed."""

    async def story(change: Change) -> Any:
        done = await act(change)
        await change.write()
        return done

    acting = Acting(STEWARD, datetime.now(UTC), lambda: str(uuid.uuid4()))
    return await committed(pix.near.people, acting, ["a steward"], story)


async def fed(pix: Pix, system: str, value: str, seed: str, **more: Any) -> str:
    """The logical id of a record that says the person `seed`."""
    answer = await pix.feed(patient(system, value, **(told(seed) | more)))
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


async def person(pix: Pix, record: str) -> str:
    asked = ("id", record)
    return (await pix.near.who([asked]))[asked].person


async def state(pix: Pix, *records: str) -> dict[str, Any]:
    """Everything that an undone act must leave as it was: what is shown, who is who, whose numbers
    are, what is scored, by what it is linked."""
    people = pix.near.people
    rows = await people.records.many({"_id": {"$in": list(records)}})
    persons = sorted({r["person"] for r in rows})
    shown = {}
    for row in rows:
        body = orjson.loads(bytes(row["b"]))
        del body["meta"]
        kept = ("state", "person", "into", "root", "absorbed", "links", "holds", "anchor", "own")
        shown[row["_id"]] = (body, {k: row[k] for k in kept}, row["ix"])
    cards = await people.persons.many({"_id": {"$in": persons}}, {"at": 0}, sort=[("_id", 1)])
    known = await people.identifiers.many({"person": {"$in": persons}}, sort=[("_id", 1)])
    links = await people.links.many({"_id": {"$in": list(records)}}, sort=[("_id", 1)])
    profiles = await people.profiles.many({"_id": {"$in": persons}}, sort=[("_id", 1)])
    postings = await people.postings.many({"p": {"$in": persons}}, sort=[("_id", 1)])
    for row in postings:
        row["p"].sort()
    return {
        "shown": shown, "cards": cards, "known": known, "links": links, "profiles": profiles,
        "postings": postings,
    }  # fmt: skip


async def test_a_link_by_people_outlives_what_the_record_says(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "9000001", "malik")
    two = await fed(pix, TRUST, "H9001", "noor of another name")
    target = await person(pix, one)
    await decided(pix, lambda c: stewarding.link(c, two, target, "seen with passport"))
    assert await person(pix, two) == target
    assert await pix.others(COUNCIL, "9000001") == [(TRUST, "H9001")]
    (link,) = await pix.near.people.links.many({"record": two, "state": "MATCH"})
    assert (link["source"], link["by"], link["reason"]) == (
        "manual", "steward 7", "seen with passport",
    )  # fmt: skip
    # SanteDB 8: verified survives divergence
    await fed(pix, TRUST, "H9001", "somebody entirely else")
    assert await person(pix, two) == target
    (review,) = await pix.near.people.reviews.many({"records": two, "type": "kept"})
    assert review["persons"] == [target]


async def test_an_unlinked_record_stays_away_though_it_says_the_same(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "9000011", "olga")
    two = await fed(pix, TRUST, "H9011", "olga")
    target = await person(pix, one)
    assert await person(pix, two) == target
    await decided(pix, lambda c: stewarding.unlink(c, two, target, "her cousin"))
    own = await person(pix, two)
    assert own != target
    await fed(pix, TRUST, "H9011", "olga", gender="other")
    assert await person(pix, two) == own
    (refused,) = await pix.near.people.links.many({"record": two, "state": "NO_MATCH"})
    assert refused["person"] == target
    # a third record of the same words fits both and is asked about, not bridged
    three = await fed(pix, HOSPITAL, "R9011", "olga")
    assert await person(pix, three) not in (target, own)
    # until people say otherwise
    await decided(pix, lambda c: stewarding.link(c, two, target, "it was her after all"))
    assert await person(pix, two) == target
    pair = " ".join(sorted((one, two)))
    assert await pix.near.people.exclusions.one({"_id": pair}) is None
    assert await pix.near.people.inclusions.one({"_id": pair}) is not None


async def test_two_persons_that_are_two_are_not_bridged(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "9000021", "petra", nhs=nhs_number(9021))
    two = await fed(pix, TRUST, "H9021", "petra", nhs=nhs_number(9022))
    first, second = await person(pix, one), await person(pix, two)
    assert first != second
    await decided(pix, lambda c: stewarding.not_duplicate(c, first, second, "twins"))
    await fed(pix, TRUST, "H9021", "petra")
    assert await person(pix, two) == second
    edges = await pix.near.people.exclusions.many({"by": "steward 7", "reason": "twins"})
    assert [e["_id"] for e in edges] == [" ".join(sorted((one, two)))]
    with pytest.raises(Refused) as refusal:
        await decided(pix, lambda c: stewarding.merge_persons(c, first, second, "the same"))
    assert one in refusal.value.issues[0].words or two in refusal.value.issues[0].words


async def test_merged_persons_are_one_and_unmerged_are_as_before(pix: Pix) -> None:
    a = [await fed(pix, COUNCIL, "9000031", "quentin"), await fed(pix, TRUST, "H9031", "quentin")]
    b = [await fed(pix, SALFORD, "9000032", "rosa"), await fed(pix, HOSPITAL, "R9032", "rosa")]
    source, target = await person(pix, a[0]), await person(pix, b[0])
    before = await state(pix, *a, *b)
    done = await decided(pix, lambda c: stewarding.merge_persons(c, source, target, "one"))
    assert {await person(pix, r) for r in (*a, *b)} == {target}
    card = await pix.near.people.persons.one({"_id": source})
    assert card is not None
    assert (card["state"], card["redirect"]) == ("redirected", target)
    assert len(await pix.others(COUNCIL, "9000031")) == 3
    assert await stewarding.latest_merge(pix.near.people, person=source) == done
    await decided(pix, lambda c: stewarding.unmerge(c, done, "not one"))
    assert await state(pix, *a, *b) == before
    # and stays so, whatever comes
    await fed(pix, TRUST, "H9031", "quentin", gender="other")
    assert await person(pix, a[1]) == source
    with pytest.raises(Refused):
        await decided(pix, lambda c: stewarding.unmerge(c, done, "again"))


async def test_the_records_that_a_steward_moved_are_linked_by_people_and_stay(pix: Pix) -> None:
    a = [await fed(pix, COUNCIL, "9000101", "gustav"), await fed(pix, TRUST, "H9101", "gustav")]
    kept = await fed(pix, SALFORD, "9000102", "helga")
    source, target = await person(pix, a[0]), await person(pix, kept)
    assert await person(pix, a[1]) == source
    done = await decided(pix, lambda c: stewarding.merge_persons(c, source, target, "one"))
    links = await pix.near.people.links.many({"record": {"$in": a}, "state": "MATCH"})
    assert len(links) == 2
    for link in links:
        assert (link["source"], link["person"], link["decision"], link["by"], link["reason"]) == (
            "manual", target, done, "steward 7", "one",
        )  # fmt: skip
        assert link["weight"] is None
    (untouched,) = await pix.near.people.links.many({"record": kept, "state": "MATCH"})
    assert untouched["source"] == "automatic"
    # whatever any of them says from now on
    for system, value, record in ((COUNCIL, "9000101", a[0]), (TRUST, "H9101", a[1])):
        await fed(pix, system, value, f"somebody else {value}", born="1931-05-06")
        assert await person(pix, record) == target


async def test_a_merge_is_undone_though_its_person_was_merged_on_since(pix: Pix) -> None:
    a = [await fed(pix, COUNCIL, "9000111", "ines"), await fed(pix, TRUST, "H9111", "ines")]
    kept = await fed(pix, SALFORD, "9000112", "jorge")
    source, target = await person(pix, a[0]), await person(pix, kept)
    links = {"record": {"$in": a}, "state": "MATCH"}
    before = await pix.near.people.links.many(links, {"person": 0}, sort=[("_id", 1)])
    done = await decided(pix, lambda c: stewarding.merge_persons(c, source, target, "one"))
    last = await fed(pix, HOSPITAL, "R9113", "katya")
    third = await person(pix, last)
    await decided(pix, lambda c: stewarding.merge_persons(c, target, third, "one too"))
    await decided(pix, lambda c: stewarding.unmerge(c, done, "not one"))
    now = {await person(pix, record) for record in a}
    assert len(now) == 1
    assert third not in now
    assert await person(pix, kept) == third
    after = await pix.near.people.links.many(links, {"person": 0}, sort=[("_id", 1)])
    assert after == before
    # the later merge no longer ties whom it moved with the others
    edges = await pix.near.people.inclusions.many({"a": {"$in": a}})
    edges += await pix.near.people.inclusions.many({"b": {"$in": a}})
    assert edges == []


async def test_an_undone_merge_does_not_hold_together_what_has_parted_since(pix: Pix) -> None:
    a = [await fed(pix, COUNCIL, "9000121", "lidia"), await fed(pix, TRUST, "H9121", "lidia")]
    kept = await fed(pix, SALFORD, "9000122", "marek")
    source, target = await person(pix, a[0]), await person(pix, kept)
    done = await decided(pix, lambda c: stewarding.merge_persons(c, source, target, "one"))
    await fed(pix, TRUST, "H9121", "nobody of these", born="1931-05-06")
    assert await person(pix, a[1]) == target
    await decided(pix, lambda c: stewarding.unmerge(c, done, "not one"))
    persons = [await person(pix, record) for record in (*a, kept)]
    assert len(set(persons)) == 3
    assert source in persons
    assert persons[2] == target


async def test_a_sources_merge_is_undone_exactly_and_not_made_again(pix: Pix) -> None:
    friend = await fed(pix, TRUST, "H9041", "selim")
    gone = await fed(pix, COUNCIL, "9000041", "selim", nhs=nhs_number(9041))
    deeper = await fed(pix, COUNCIL, "9000042", "selim of old")
    kept = await fed(pix, COUNCIL, "9000043", "tamara")
    other = {"identifier": {"system": COUNCIL, "value": "9000041"}}
    old = patient(COUNCIL, "9000042", **told("selim of old"))
    assert (await pix.feed(replaced(old, other))).status_code == 200
    before = await state(pix, friend, gone, deeper, kept)
    other = {"identifier": {"system": COUNCIL, "value": "9000043"}}
    body = patient(COUNCIL, "9000041", **told("selim"), nhs=nhs_number(9041))
    assert (await pix.feed(replaced(body, other))).status_code == 200
    assert await person(pix, gone) == await person(pix, kept)
    done = await stewarding.latest_merge(pix.near.people, record=gone)
    await decided(pix, lambda c: stewarding.unmerge(c, done, "two people"))
    after = await state(pix, friend, gone, deeper, kept)
    assert after == before
    assert (await pix.feed(replaced(body, other))).status_code == 409
    assert (await pix.feed({**body, "gender": "other"})).status_code == 200


async def test_a_bridge_that_was_wrong_is_taken_back(pix: Pix) -> None:
    old = told("ursula", born="1961-10-11")
    new = told("ursula by another name", born="1961-10-11")
    one = (await pix.feed(patient(COUNCIL, "9000051", **old))).json()["id"]
    two = (await pix.feed(patient(TRUST, "H9051", **new))).json()["id"]
    persons = {await person(pix, one), await person(pix, two)}
    both = patient(SALFORD, "9000052", **old)
    both["name"] = [*old["name"], *new["name"]]
    both["telecom"] = [*old["telecom"], *new["telecom"]]
    await pix.feed(both)
    stays = await person(pix, one)
    (gone,) = persons - {stays}
    done = await stewarding.latest_merge(pix.near.people, person=gone)
    await decided(pix, lambda c: stewarding.unmerge(c, done, "mother and daughter"))
    assert {await person(pix, one), await person(pix, two)} == persons
    await pix.feed({**both, "gender": "other"})
    assert {await person(pix, one), await person(pix, two)} == persons


async def test_what_changed_since_cannot_be_unmerged(pix: Pix) -> None:
    await fed(pix, COUNCIL, "9000061", "viktor")
    await fed(pix, COUNCIL, "9000062", "wanda")
    other = {"identifier": {"system": COUNCIL, "value": "9000062"}}
    gone = patient(COUNCIL, "9000061", **told("viktor"))
    record = (await pix.feed(replaced(gone, other))).json()["id"]
    done = await stewarding.latest_merge(pix.near.people, record=record)
    await pix.remove(COUNCIL, "9000061")
    with pytest.raises(Refused) as refusal:
        await decided(pix, lambda c: stewarding.unmerge(c, done, "two people"))
    assert refusal.value.issues[0].kind is CONFLICT
    with pytest.raises(Refused):
        await decided(pix, lambda c: stewarding.unmerge(c, "no such decision", "x"))


async def test_impossible_decisions_are_refused_in_words(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "9000071", "xenia")
    mine = (await who(pix, COUNCIL, "9000071")).person
    acts: list[Callable[[Change], Awaitable[Any]]] = [
        lambda c: stewarding.link(c, "nobody", mine, "x"),
        lambda c: stewarding.link(c, one, "TL-000000000000", "x"),
        lambda c: stewarding.link(c, one, mine, "x"),
        lambda c: stewarding.unlink(c, one, mine, "x"),
        lambda c: stewarding.not_duplicate(c, mine, mine, "x"),
        lambda c: stewarding.merge_persons(c, mine, mine, "x"),
    ]
    for act in acts:
        with pytest.raises(Refused) as refusal:
            await decided(pix, act)
        assert refusal.value.issues[0].words
    assert (await pix.feed(patient(COUNCIL, "9000071", **told("xenia")))).headers["etag"] == 'W/"1"'


async def test_stewards_and_names_meet_in_the_log(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "9000081", "yusuf")
    two = await fed(pix, TRUST, "H9081", "yusuf", name=[name_of("zofia")], born="1999-09-09")
    target = await person(pix, one)
    number = await decided(pix, lambda c: stewarding.link(c, two, target, "neighbours say so"))
    row = await pix.near.people.decisions.one({"_id": number})
    assert row is not None
    assert (row["type"], row["actor"]["subject"], row["reason"]) == (
        "link", "steward 7", "neighbours say so",
    )  # fmt: skip
    assert row["after"][target] == sorted([one, two])


async def test_what_people_tied_stays_tied_when_one_of_the_two_is_merged(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "9000091", "amira")
    two = await fed(pix, TRUST, "H9091", "boris")
    target = await person(pix, one)
    await decided(pix, lambda c: stewarding.link(c, two, target, "seen"))
    kept = await fed(pix, COUNCIL, "9000092", "chiara")
    other = {"identifier": {"system": COUNCIL, "value": "9000092"}}
    await pix.feed(replaced(patient(COUNCIL, "9000091", **told("amira")), other))
    assert await person(pix, two) == await person(pix, kept)
    await fed(pix, TRUST, "H9091", "dagmar entirely else")
    assert await person(pix, two) == await person(pix, kept)
