"""The online path: who joins whom, who is asked about, who leaves, and what is kept of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from pix.near import Who
from pix.profiles import Portrait
from tests.pix.makers import (
    COUNCIL,
    HOSPITAL,
    NS,
    SALFORD,
    TRUST,
    Pix,
    identifier,
    identifiers,
    name_of,
    nhs_number,
    patient,
    pix_service,
)

SENSITIVITY = "https://throughline.example/fhir/CodeSystem/sensitivity"


def told(seed: str, **more: Any) -> dict[str, Any]:
    """What records of one person say alike: a rare name, a birth date and a telephone."""
    digits = f"{sum(map(ord, seed)) * 7919 % 10**6:06d}"
    return {
        "name": [name_of(seed)],
        "born": f"19{30 + len(seed) * 7 % 60}-0{len(seed) % 9 + 1}-1{len(seed) % 9}",
        "telecom": [{"system": "phone", "value": f"0161 4{digits}"}],
        **more,
    }


async def who(pix: Pix, system: str, value: str) -> Who:
    asked = ("identifier", system, value)
    return (await pix.near.who([asked]))[asked]


async def links(pix: Pix, record: str, state: str) -> list[dict[str, Any]]:
    return await pix.near.people.links.many({"record": record, "state": state})


async def test_records_without_a_number_join_on_what_they_say(pix: Pix) -> None:
    one = (await pix.feed(patient(COUNCIL, "8000001", **told("anna")))).json()["id"]
    two = (await pix.feed(patient(TRUST, "H8001", **told("anna")))).json()["id"]
    assert await pix.others(COUNCIL, "8000001") == [(TRUST, "H8001")]
    (link,) = await links(pix, two, "MATCH")
    assert (link["source"], link["model"]) == ("automatic", pix.near.people.model.version)
    assert link["weight"] > pix.near.people.model.thresholds.join
    why = await pix.near.people.explanations.one({"_id": link["explanation"]})
    assert why is not None
    assert why["comparison"]["weight"] == link["weight"]
    assert {f[0] for f in why["comparison"]["fields"]} >= {"Name", "Birth date"}
    (first,) = await links(pix, one, "MATCH")
    assert (first["person"], first["weight"]) == (link["person"], None)


async def test_who_fits_two_persons_alike_is_asked_about_and_never_told(pix: Pix) -> None:
    for number, value in ((nhs_number(8101), "8000011"), (nhs_number(8102), "8000012")):
        body = patient(COUNCIL, value, **told("bruno"), nhs=number)
        await pix.feed(body)
    persons = {(await who(pix, COUNCIL, v)).person for v in ("8000011", "8000012")}
    assert len(persons) == 2
    third = (await pix.feed(patient(TRUST, "H8011", **told("bruno")))).json()["id"]
    assert {link["person"] for link in await links(pix, third, "POSSIBLE")} == persons
    assert await pix.others(TRUST, "H8011") == []
    reviews = await pix.near.people.reviews.many({"records": third, "state": "open"})
    assert {p for r in reviews for p in r["persons"]} == persons
    assert all(r["due"] > r["at"] for r in reviews)
    read = (await pix.http.get(f"/Patient/{third}")).json()
    assert "link" not in read
    # SanteDB 5: what was only possible becomes certain, and nothing is asked any more
    await pix.feed(patient(TRUST, "H8011", **told("bruno"), nhs=nhs_number(8102)))
    assert (COUNCIL, "8000012") in await pix.others(TRUST, "H8011")
    assert await links(pix, third, "POSSIBLE") == []
    assert await pix.near.people.reviews.many({"records": third, "state": "open"}) == []


async def test_a_lone_record_keeps_its_person_whatever_it_says(pix: Pix) -> None:
    await pix.feed(patient(COUNCIL, "8000021", **told("carla")))
    before = await who(pix, COUNCIL, "8000021")
    await pix.feed(patient(COUNCIL, "8000021", **told("somebody else")))
    assert (await who(pix, COUNCIL, "8000021")).person == before.person
    # and is found under what it says now, no longer under what it said
    await pix.feed(patient(TRUST, "H8021", **told("carla")))
    await pix.feed(patient(HOSPITAL, "R8021", **told("somebody else")))
    assert (await who(pix, TRUST, "H8021")).person != before.person
    assert (await who(pix, HOSPITAL, "R8021")).person == before.person


async def test_a_record_that_says_another_person_leaves_and_joins_that_one(pix: Pix) -> None:
    await pix.feed(patient(COUNCIL, "8000031", **told("dora")))
    await pix.feed(patient(TRUST, "H8031", **told("dora")))
    await pix.feed(patient(COUNCIL, "8000032", **told("edwin the other")))
    await pix.feed(patient(TRUST, "H8031", **told("edwin the other")))
    assert await pix.others(TRUST, "H8031") == [(COUNCIL, "8000032")]
    assert await pix.others(COUNCIL, "8000031") == []


async def test_a_number_that_two_persons_turn_out_to_share_makes_them_one(pix: Pix) -> None:
    number = nhs_number(8041)
    old, new = told("fatima"), told("fatima", name=[name_of("fatima married")])
    new["telecom"] = [{"system": "phone", "value": "0161 4999041"}]
    await pix.feed(patient(COUNCIL, "8000041", **old, nhs=number))
    made = (await pix.feed(patient(TRUST, "H8041", **new))).json()["id"]
    assert await pix.others(COUNCIL, "8000041", TRUST) == []
    first, before = await who(pix, COUNCIL, "8000041"), await who(pix, TRUST, "H8041")
    both = patient(SALFORD, "8000042", **old, nhs=number)
    both["name"] = [*old["name"], *new["name"]]
    both["telecom"] = [*old["telecom"], *new["telecom"]]
    await pix.feed(both)
    one = await who(pix, SALFORD, "8000042")
    assert (await who(pix, COUNCIL, "8000041")).person == one.person
    assert (await who(pix, TRUST, "H8041")).person == one.person
    assert made in one.same
    for gone in {before.person, first.person} - {one.person}:
        card = await pix.near.people.persons.one({"_id": gone})
        assert card is not None
        assert (card["state"], card["redirect"]) == ("redirected", one.person)


async def test_what_only_one_record_connected_parts_when_it_changes(pix: Pix) -> None:
    old = told("gloria", born="1951-11-12")
    new = told("gloria by another name", born="1951-11-12")
    await pix.feed(patient(COUNCIL, "8000051", **old))
    await pix.feed(patient(TRUST, "H8051", **new))
    assert await pix.others(COUNCIL, "8000051") == []
    both = patient(SALFORD, "8000052", **old)
    both["name"] = [*old["name"], *new["name"]]
    both["telecom"] = [*old["telecom"], *new["telecom"]]
    await pix.feed(both)
    assert len(await pix.others(COUNCIL, "8000051")) == 2
    await pix.feed(patient(SALFORD, "8000052", **old))
    assert await pix.others(COUNCIL, "8000051") == [(SALFORD, "8000052")]
    assert await pix.others(TRUST, "H8051") == []


def sealed(code: str) -> dict[str, Any]:
    return {"security": [{"system": SENSITIVITY, "code": code}]}


async def test_a_protected_witness_joins_nobody_and_is_nobodys_candidate(pix: Pix) -> None:
    number = nhs_number(8061)
    hidden = patient(COUNCIL, "8000061", **told("hana"), nhs=number, meta=sealed("WITPROT"))
    made = (await pix.feed(hidden)).json()["id"]
    await pix.feed(patient(TRUST, "H8061", **told("hana"), nhs=number))
    again = (await pix.feed(patient(TRUST, "H8062", **told("hana"), nhs=number))).json()["id"]
    assert (TRUST, "H8061") not in await pix.others(COUNCIL, "8000061")
    assert (await who(pix, TRUST, "H8061")).person == (await who(pix, TRUST, "H8062")).person
    person = (await who(pix, COUNCIL, "8000061")).person
    people = pix.near.people
    assert await people.postings.one({"p": person}) is None
    assert await people.links.many({"person": person, "state": {"$ne": "MATCH"}}) == []
    assert await people.explanations.one({"person": person}) is None
    # a record that is sealed later leaves those it was with
    await pix.feed(patient(TRUST, "H8062", **told("hana"), nhs=number, meta=sealed("WITPROT")))
    assert (await who(pix, TRUST, "H8062")).same == (again,)
    assert made not in (await who(pix, TRUST, "H8061")).same


async def test_a_seal_ends_what_earlier_versions_told(pix: Pix) -> None:
    number = nhs_number(8065)
    body = patient(COUNCIL, "8000065", **told("hedy"), nhs=number)
    after = patient(TRUST, "H8065", **told("hedy"), nhs=number)
    kept = (await pix.feed(body)).json()["id"]
    hidden = (await pix.feed(after)).json()["id"]
    assert hidden in (await pix.http.get(f"/Patient/{kept}/_history/2")).text
    await pix.feed({**after, "meta": sealed("WITPROT")})
    for one, other in ((kept, hidden), (hidden, kept)):
        for path in ("", "/_history", "/_history/1", "/_history/2"):
            answer = await pix.http.get(f"/Patient/{one}{path}")
            assert answer.status_code == 200
            assert other not in answer.text, (path, answer.text)
    await pix.remove(TRUST, "H8065")
    assert hidden not in (await pix.http.get(f"/Patient/{kept}/_history")).text


async def test_an_adopted_childs_new_identity_is_found_by_its_number_alone(pix: Pix) -> None:
    number = nhs_number(8071)
    before = patient(COUNCIL, "8000063", **told("iris"), nhs=nhs_number(8072))
    after = told("iris of new parents") | {"born": told("iris")["born"]}
    await pix.feed(before)
    await pix.feed(patient(SALFORD, "8000064", **after, nhs=number, meta=sealed("ADOPTION")))
    await pix.feed(patient(TRUST, "H8064", **after, nhs=number))
    await pix.feed(patient(HOSPITAL, "R8064", **after))
    assert await pix.others(COUNCIL, "8000063", COUNCIL, SALFORD, TRUST, HOSPITAL) == []
    one = await who(pix, SALFORD, "8000064")
    assert (await who(pix, TRUST, "H8064")).person == one.person
    assert (await who(pix, HOSPITAL, "R8064")).person != one.person
    people = pix.near.people
    posted = await people.postings.many({"p": one.person})
    assert [row["_id"] for row in posted] == [f"n|nhs|{number}"]
    assert await people.explanations.one({"person": one.person}) is None
    # what was asked about somebody is asked no more once the identity is sealed
    assert await people.links.many({"person": one.person, "state": "POSSIBLE"}) == []


async def test_the_same_body_again_does_no_work(pix: Pix) -> None:
    body = patient(COUNCIL, "8000071", **told("ines"))
    await pix.feed(body)
    people = pix.near.people
    counts = [
        await t.count({})
        for t in (people.postings, people.explanations, people.events, people.decisions)
    ]
    await pix.feed(body)
    assert counts == [
        await t.count({})
        for t in (people.postings, people.explanations, people.events, people.decisions)
    ]


async def test_a_full_key_hands_over_to_its_finer_ones(pix: Pix) -> None:
    """A hostel's telephone: more people than a key may hold, all still found through it."""
    phone = [{"system": "phone", "value": "0161 4960077"}]

    def guest(n: int) -> dict[str, Any]:
        born = f"{1940 + n % 50}-{n % 12 + 1:02d}-{n % 28 + 1:02d}"
        gender = ("female", "male")[n % 2]
        return patient(
            COUNCIL,
            f"81{n:05d}",
            name=[name_of(f"guest {n}")],
            born=born,
            telecom=phone,
            gender=gender,
        )

    for start in range(0, 210, 30):
        await asyncio.gather(*(pix.feed(guest(n)) for n in range(start, start + 30)))
    postings = pix.near.people.postings
    full = await postings.one({"_id": "t|01614960077"})
    assert full == {"_id": "t|01614960077", "n": 0, "p": [], "full": True}
    finer = await postings.many({"_id": {"$regex": r"^t\|01614960077\|"}})
    assert sum(len(row["p"]) for row in finer) >= 210
    assert max(len(row["p"]) for row in finer) <= 200


async def test_a_number_that_too_many_carry_is_set_aside_and_asked_about(pix: Pix) -> None:
    for n in range(12):
        body = patient(COUNCIL, f"82{n:05d}", born=f"{1940 + 3 * n}-0{n % 9 + 1}-1{n % 9}")
        body["identifier"].append(identifier(NS + "nino", "QQ654321C"))
        await pix.feed(body)
    posting = await pix.near.people.postings.one({"_id": "n|nino|QQ654321"})
    assert posting is not None
    assert (posting["full"], posting["p"]) == (True, [])
    (review,) = await pix.near.people.reviews.many({"type": "number"})
    assert review["reason"] == "n|nino|QQ654321"


async def test_postings_and_portraits_are_what_the_records_say(pix: Pix) -> None:
    people = pix.near.people
    portraits = [Portrait.of(row) for row in await people.profiles.many({})]
    postings = {row["_id"]: row for row in await people.postings.many({})}
    for portrait in portraits:
        for key in portrait.posted():
            posting = postings[key.text]
            assert posting["full"] or portrait.person in posting["p"]
    known = {p.person for p in portraits}
    assert {p for row in postings.values() for p in row["p"]} <= known


async def test_thirty_two_records_of_one_new_person_make_one_person(pix: Pix) -> None:
    bodies = [patient(HOSPITAL, f"R83{n:02d}", **told("jamila")) for n in range(32)]
    answers = await asyncio.gather(*map(pix.feed, bodies))
    assert {a.status_code for a in answers} == {201}
    everyone = [("identifier", HOSPITAL, f"R83{n:02d}") for n in range(32)]
    assert len({w.person for w in (await pix.near.who(everyone)).values()}) == 1
    assert len(identifiers((await pix.ask(HOSPITAL, "R8300")).json())) == 31


async def test_writers_in_two_processes_make_one_person_of_what_they_say(pix: Pix) -> None:
    async with pix_service(pix.mongo) as other:  # its own turns, as another process has
        bodies = [patient(HOSPITAL, f"R84{n:02d}", **told("kamala")) for n in range(32)]
        answers = await asyncio.gather(
            *((pix, other)[n % 2].feed(body) for n, body in enumerate(bodies))
        )
    assert {a.status_code for a in answers} == {201}
    everyone = [("identifier", HOSPITAL, f"R84{n:02d}") for n in range(32)]
    assert len({w.person for w in (await pix.near.who(everyone)).values()}) == 1


async def test_names_are_counted_over_people_and_taken_up(pix: Pix) -> None:
    counted = pix.near.people.counted
    for n in range(3):  # one person, three records: counted once
        await pix.feed(patient((COUNCIL, SALFORD, TRUST)[n], f"85{n:05d}", **told("leila")))
    for n in range(6):  # and others of her second name: one alone is not kept
        await pix.feed(patient(COUNCIL, f"86{n:05d}", **told(f"another {n}")))
    now = datetime.now(UTC)
    assert await counted.due(now + timedelta(days=2))
    version = await counted.count(now)
    assert counted.current.version == version
    assert not await counted.due(now)
    rows = await counted.table.many({"_id": {"$regex": r"\|given\|MAY$"}})
    assert [row["n"] for row in rows] == [await pix.near.people.profiles.count({"f": "given|MAY"})]
    assert counted.current.given["MAY"] > pix.near.people.model.frequencies.given.get("MAY", 0)
