"""QBP over a real line: cross-references (ITI-9), demographics (ITI-21), pages and cancelling."""

from __future__ import annotations

import pytest

from tests.hl7v2.makers import (
    MFT,
    MFT_FULL,
    NCA,
    NHS,
    Hl7,
    a_merge,
    a_person,
    msh,
    q22,
    q23,
    unique,
)
from tests.pix.makers import TRUST, nhs_number, patient


def alone(key: str, **more: str) -> dict[str, str]:
    """What is said of a person like nobody else."""
    born = f"19{sum(map(ord, key)) % 90 + 10}0517"
    return {"name": f"{key}^{key[::-1]}", "born": born, "address": "", "phone": ""} | more


async def two_records(hl7: Hl7, serial: int, **more: str) -> tuple[str, str, str]:
    """One person known to two trusts by a verified NHS number."""
    nhs, one, two = nhs_number(serial), unique("Q"), unique("Q")
    who = alone(f"Same{one}", flags="NSTS01", **more)
    await hl7.fed(
        a_person(f"{one}^^^{MFT}~{nhs}^^^{NHS}^NH", **who),
        a_person(f"{two}^^^{NCA}~{nhs}^^^{NHS}^NH", sender="PAS|RM3", **who),
    )
    return one, two, nhs


async def test_the_other_numbers_of_a_person_are_told_with_all_three_parts_of_their_authority(
    hl7: Hl7,
) -> None:
    one, two, nhs = await two_records(hl7, 81001)
    answer = await hl7.say(q23(f"{one}^^^{MFT}", tag="TAG7", sender="ENGINE|GMICB"))
    message = answer.message
    assert [message.msh.value(9, component=n) for n in (1, 2, 3)] == ["RSP", "K23", "RSP_K23"]
    assert [s.name for s in message.segments] == ["MSH", "MSA", "QAK", "QPD", "PID"]
    assert (answer.ack, answer.standing, message.first("QAK").value(1)) == ("AA", "OK", "TAG7")
    assert sorted(answer.numbers()) == sorted([(nhs, "NHS"), (two, "MRN-RM3")])
    for cx in message.first("PID").field(3):
        assert all(cx[3])
        assert len(cx[3]) == 3
        assert cx[3][2] == "ISO"
    raw = answer.raw.decode().split("\r")
    assert next(s for s in raw if s.startswith("QPD")) == f"QPD|IHE PIX Query|TAG7|{one}^^^{MFT}"
    fields = next(s for s in raw if s.startswith("PID")).split("|")
    assert fields[5] == "~^^^^^^S"
    assert [f for n, f in enumerate(fields) if n not in (0, 3, 5) and f] == []


async def test_only_wanted_domains_are_told_and_none_is_no_error(hl7: Hl7) -> None:
    one, two, _ = await two_records(hl7, 81011)
    wanted = await hl7.say(q23(f"{one}^^^{MFT}", [NCA], sender="ENGINE|GMICB"))
    assert wanted.numbers() == [(two, "MRN-RM3")]
    nothing = await hl7.say(q23(f"{one}^^^{MFT}", ["MRN-RMC"], sender="ENGINE|GMICB"))
    assert (nothing.ack, nothing.standing, nothing.errors, nothing.numbers()) == (
        "AA",
        "NF",
        [],
        [],
    )


@pytest.mark.parametrize(
    ("number", "targets", "errors"),
    [
        ("NOBODY1^^^MRN-R0A", [], [("QPD^1^3^1^1", "204")]),
        ("1^^^NOWHERE", [], [("QPD^1^3^1^4", "204")]),
        ("1^^^&1.2.3&ISO", [], [("QPD^1^3^1^4", "204")]),
        ("1", [], [("QPD^1^3^1^4", "101")]),
        ("", [], [("QPD^1^3", "101")]),
        ("1^^^MRN-R0A~2^^^MRN-R0A", [], [("QPD^1^3^2", "100")]),
        (
            "NOBODY1^^^MRN-R0A",
            ["MRN-RM3", "NOWHERE", "NOWHERE2"],
            [("QPD^1^4^2", "204"), ("QPD^1^4^3", "204")],
        ),
    ],
)
async def test_a_cross_reference_that_cannot_be_answered_says_where(
    hl7: Hl7, number: str, targets: list[str], errors: list[tuple[str, str]]
) -> None:
    answer = await hl7.say(q23(number, targets, sender="ENGINE|GMICB"))
    assert (answer.ack, answer.standing, answer.errors) == ("AE", "AE", errors)
    assert answer.message.msh.value(9, component=2) == "K23"


async def test_several_numbers_of_one_domain_stand_together(hl7: Hl7) -> None:
    nhs, one, two, other = nhs_number(81021), unique("Q"), unique("Q"), unique("Q")
    for number, sender, domain in (
        (one, "PAS|R0A", MFT),
        (two, "PAS|R0A", MFT),
        (other, "PAS|RM3", NCA),
    ):
        await hl7.fed(
            a_person(
                f"{number}^^^{domain}~{nhs}^^^{NHS}",
                sender=sender,
                **alone("Several", flags="NSTS01"),
            )
        )
    answer = await hl7.say(q23(f"{other}^^^{NCA}", [MFT, NHS], sender="ENGINE|GMICB"))
    spaces = [space for _, space in answer.numbers()]
    assert len(spaces) == 3
    assert spaces in (["MRN-R0A", "MRN-R0A", "NHS"], ["NHS", "MRN-R0A", "MRN-R0A"])


async def test_a_query_without_a_tag_or_for_a_later_answer_is_refused(hl7: Hl7) -> None:
    answer = await hl7.say(q23(f"1^^^{MFT}", tag="").replace("RCP|I", "RCP|D"))
    assert answer.errors == [("QPD^1^2", "101"), ("RCP^1^1", "103")]


async def test_a_query_in_an_unsupported_version_or_by_one_who_may_not_is_refused(hl7: Hl7) -> None:
    old = await hl7.say(q23(f"1^^^{MFT}").replace("|P|2.5|", "|P|2.3.1|"))
    assert (old.ack, old.standing, old.errors) == ("AR", "AR", [("MSH^1^12", "203")])
    stranger = await hl7.say(q23(f"1^^^{MFT}", sender="NOBODY|X"))
    assert (stranger.ack, stranger.errors) == ("AR", [("MSH^1^3", "103")])
    assert not list(stranger.message.all("PID"))


async def test_what_a_sender_may_not_see_is_as_if_nobody_had_it(hl7: Hl7) -> None:
    number = unique("Q")
    await hl7.fed(a_person(f"{number}^^^{MFT}~02/73319Z^^^PNC", **alone("Hidden")))
    by_engine = await hl7.say(q23(f"{number}^^^{MFT}", sender="ENGINE|GMICB"))
    assert by_engine.numbers() == [("2002/0073319Z", "PNC")]
    by_council = await hl7.say(q23(f"{number}^^^{MFT}", ["PNC"], sender="LIQUIDLOGIC|352"))
    assert by_council.numbers() == []
    hidden = await hl7.say(q23("2002/0073319Z^^^PNC", sender="LIQUIDLOGIC|352"))
    unknown = await hl7.say(q23("2001/0000001X^^^PNC", sender="LIQUIDLOGIC|352"))
    assert hidden.errors == unknown.errors == [("QPD^1^3^1^1", "204")]


async def test_a_query_is_audited_with_its_very_words(hl7: Hl7) -> None:
    import base64

    one, _, _ = await two_records(hl7, 81031)
    hl7.audited.clear()
    said = q23(f"{one}^^^{MFT}")
    await hl7.say(said)
    (event,) = hl7.audited
    assert event["type"]["code"] == "110112"
    assert event["subtype"][0]["code"] == "ITI-9"
    queries = [e["query"] for e in event["entity"] if "query" in e]
    assert base64.b64decode(queries[0]).decode() == said


# -- demographics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        ["@PID.5.1^Zzyzx"],
        ["@PID.5.1.1^zzyzx"],
        ["@PID.5.1^Zzy*"],
        ["@PID.5.2^Ottilie", "@PID.5.1^ZZYZX"],
        ["@PID.7^19770605", "@PID.5.1^Zzyzx"],
        ["@PID.7.1^197706", "@PID.5.1^Zzyzx"],
        ["@PID.7.1^1977", "@PID.8^F", "@PID.5.1^Zzyzx"],
        ["@PID.11.5^M9 9ZZ"],
        ["@PID.11.3^Manch*", "@PID.11.1.1^77 Quince*"],
        ["@PID.13.1^+44 161 496 0999"],
        ["@PID.6.1^Querida*"],
        ["@PID.3.1^PDQ1", "@PID.3.4.1^MRN-R0A"],
        ["@PID.3.1^PDQ1", f"@PID.3.4.2^{MFT_FULL.split('&')[1]}", "@PID.3.4.3^ISO"],
        ["@PID.18.1^PDQ1", "@PID.18.4.1^MRN-R0A"],
    ],
)
async def test_a_person_is_found_by_every_field(hl7: Hl7, fields: list[str]) -> None:
    await hl7.say(
        a_person(
            f"PDQ1^^^{MFT}", id_="PDQ-ONE", name="Zzyzx^Ottilie", born="19770605", maiden="Querida-Lopez",
            address="77 Quince Row^^Manchester^^M9 9ZZ^GBR^H", phone="0161 496 0999^PRN^PH",
        )
    )  # fmt: skip
    answer = await hl7.say(q22(fields))
    assert (answer.ack, answer.standing) == ("AA", "OK"), answer.raw
    assert [answer.message.msh.value(9, component=n) for n in (1, 2, 3)] == [
        "RSP",
        "K22",
        "RSP_K21",
    ]
    pids = list(answer.message.all("PID"))
    assert len(pids) == 1
    pid = pids[0]
    assert (pid.value(3), pid.value(3, component=4)) == ("PDQ1", "MRN-R0A")
    assert (pid.value(5), pid.value(5, component=2)) == ("Zzyzx", "Ottilie")
    assert (pid.value(7), pid.value(8), pid.value(11, component=5)) == ("19770605", "F", "M9 9ZZ")
    assert (pid.value(13), pid.value(6)) == ("0161 496 0999", "Querida-Lopez")


async def test_nobody_is_no_error_and_an_exact_value_is_no_beginning(hl7: Hl7) -> None:
    await hl7.fed(a_person(f"{unique('Q')}^^^{MFT}", name="Beginning^Ann"))
    for fields in (
        ["@PID.5.1^Begin"],
        ["@PID.5.1^Nobodyatall"],
        ["@PID.3.1^999888777", "@PID.3.4.1^MRN-R0A"],
    ):
        answer = await hl7.say(q22(fields))
        assert (answer.ack, answer.standing, answer.errors) == ("AA", "NF", [])


@pytest.mark.parametrize(
    ("fields", "domains", "errors"),
    [
        (["@PID.99^1"], [], [("QPD^1^3^1^1", "103")]),
        (["PID.5.1^Bell"], [], [("QPD^1^3^1^1", "103")]),
        (["@PID.5.1"], [], [("QPD^1^3^1^2", "101")]),
        (["@PID.5.1^Bell", "@PID.3.1^4"], [], [("QPD^1^3^2^2", "101")]),
        (["@PID.3.1^4", "@PID.3.4.1^NOWHERE"], [], [("QPD^1^3^2^2", "204")]),
        (["@PID.7^last year"], [], [("QPD^1^3^1^2", "102")]),
        (["@PID.8^Q"], [], [("QPD^1^3^1^2", "103")]),
        (
            ["@PID.5.1^Bell"],
            ["NOWHERE", "MRN-R0A", "&1.2.3&ISO"],
            [("QPD^1^8^1", "204"), ("QPD^1^8^3", "204")],
        ),
        ([], [], [("QPD^1^3", "101")]),
    ],
)
async def test_a_demographics_query_that_cannot_be_answered_says_where(
    hl7: Hl7, fields: list[str], domains: list[str], errors: list[tuple[str, str]]
) -> None:
    answer = await hl7.say(q22(fields, domains=domains))
    assert (answer.ack, answer.standing, answer.errors) == ("AE", "AE", errors)


async def test_only_wanted_domains_are_returned_and_people_without_one_are_left_out(
    hl7: Hl7,
) -> None:
    family = "Wanted" + unique("W")
    await two_records(hl7, 82001, name=f"{family}^Ann")
    await hl7.fed(a_person(f"{unique('Q')}^^^{MFT}", name=f"{family}^Bea", born="19900101"))
    everyone = await hl7.say(q22([f"@PID.5.1^{family}"]))
    assert len(list(everyone.message.all("PID"))) == 3
    some = await hl7.say(q22([f"@PID.5.1^{family}"], domains=[NCA]))
    assert [some.numbers(n)[0][1] for n in range(len(list(some.message.all("PID"))))] == ["MRN-RM3"]
    assert len(some.numbers()) == 1


async def test_find_candidates_of_openhie_is_accepted(hl7: Hl7) -> None:
    number = unique("Q")
    await hl7.fed(a_person(f"{number}^^^{MFT}", name="Openhie^Ann"))
    said = q22(["@PID.5.1^Openhie"]).replace("IHE PDQ Query", "Q22^Find Candidates^HL7")
    answer = await hl7.say(said)
    assert answer.numbers() == [(number, "MRN-R0A")]


async def test_pages_follow_one_another_without_gap_or_repetition(hl7: Hl7) -> None:
    family = "Paged" + unique("W")
    fed = [unique("Q") for _ in range(7)]
    for number in fed:
        await hl7.fed(a_person(f"{number}^^^{MFT}", name=f"{family}^Ann"))
    seen: list[str] = []
    pointer, pages = "", 0
    while True:
        answer = await hl7.say(
            q22([f"@PID.5.1^{family}"], tag="PAGES", size="3^RD", pointer=pointer)
        )
        assert (answer.ack, answer.standing) == ("AA", "OK")
        seen += [p.value(3) for p in answer.message.all("PID")]
        pages += 1
        pointer = answer.message.first("DSC").value(1)
        if not pointer:
            break
        assert answer.message.first("DSC").value(2) == "I"
        assert answer.message.segments[-1].name == "DSC"
    assert pages == 3
    assert sorted(seen) == sorted(fed)


async def test_a_pointer_serves_only_its_own_query_and_ends_when_the_query_is_cancelled(
    hl7: Hl7,
) -> None:
    family = "Cancel" + unique("W")
    for _ in range(3):
        await hl7.fed(a_person(f"{unique('Q')}^^^{MFT}", name=f"{family}^Ann"))
    first = await hl7.say(q22([f"@PID.5.1^{family}"], tag="C1", size="1^RD"))
    pointer = first.message.first("DSC").value(1)
    lost = [("DSC^1^1", "204")]
    other = await hl7.say(q22(["@PID.5.1^Other"], tag="C1", size="1^RD", pointer=pointer))
    assert (other.ack, other.errors) == ("AE", lost)
    foreign = await hl7.say(
        q22([f"@PID.5.1^{family}"], tag="C1", size="1^RD", pointer=pointer, sender="PORTAL|GMICB")
    )
    assert foreign.errors == lost
    again = await hl7.say(q22([f"@PID.5.1^{family}"], tag="C1", size="1^RD", pointer=pointer))
    assert again.standing == "OK"
    cancel = await hl7.say(
        "\r".join(
            [msh("QCN^J01^QCN_J01", version="2.5", sender="ENGINE|GMICB"), "QID|C1|IHE PDQ Query"]
        )
    )
    assert (cancel.ack, cancel.message.msh.value(9, component=2)) == ("AA", "J01")
    gone = await hl7.say(q22([f"@PID.5.1^{family}"], tag="C1", size="1^RD", pointer=pointer))
    assert gone.errors == lost


@pytest.mark.parametrize(("size", "error"), [("0^RD", "102"), ("x^RD", "102"), ("5^CH", "103")])
async def test_a_page_size_that_is_none_is_refused(hl7: Hl7, size: str, error: str) -> None:
    answer = await hl7.say(q22(["@PID.5.1^Bell"], size=size))
    assert answer.errors == [("RCP^1^2", error)]


async def test_a_merged_person_is_found_by_its_old_number_as_the_survivor(hl7: Hl7) -> None:
    stays, goes = unique("Q"), unique("Q")
    await hl7.fed(
        a_person(f"{stays}^^^{MFT}"),
        a_person(f"{goes}^^^{MFT}"),
        a_merge(f"{stays}^^^{MFT}", f"{goes}^^^{MFT}"),
    )
    answer = await hl7.say(q22([f"@PID.3.1^{goes}", "@PID.3.4.1^MRN-R0A"]))
    assert answer.numbers() == [(stays, "MRN-R0A")]
    assert (await hl7.say(q23(f"{stays}^^^{MFT}", sender="ENGINE|GMICB"))).ack == "AA"


async def test_every_person_that_is_shown_is_audited(hl7: Hl7) -> None:
    family = "Audited" + unique("W")
    for _ in range(3):
        await hl7.fed(a_person(f"{unique('Q')}^^^{MFT}", name=f"{family}^Ann"))
    hl7.audited.clear()
    await hl7.say(q22([f"@PID.5.1^{family}"]))
    patients = {
        e["what"]["reference"]
        for event in hl7.audited
        for e in event["entity"]
        if "reference" in e.get("what", {})
    }
    assert len(patients) == 3
    assert {e["subtype"][0]["code"] for e in hl7.audited} == {"ITI-21"}


async def test_the_names_of_an_answer_keep_their_letters_and_delimiters(hl7: Hl7) -> None:
    number = unique("Q")
    await hl7.fed(a_person(f"{number}^^^{MFT}", name="Żółć \\T\\ Söhne^Ann\\S\\e"))
    answer = await hl7.say(q22([f"@PID.3.1^{number}", "@PID.3.4.1^MRN-R0A"]))
    assert answer.message.msh.value(18) == "UNICODE UTF-8"
    assert (answer.message.first("PID").value(5), answer.message.first("PID").value(5, component=2)) == (
        "Żółć & Söhne", "Ann^e",
    )  # fmt: skip


async def test_a_query_does_not_tell_where_a_protected_person_lives(hl7: Hl7) -> None:
    nhs, mine, other = nhs_number(81900), unique("Q"), unique("Q")
    body = patient(TRUST, other, nhs=nhs, meta={"security": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"},
    ]}, name=[{"family": "Wetherby", "given": ["Odile"]}])  # fmt: skip
    fed = await hl7.http.put(
        "/Patient", params={"identifier": f"{TRUST}|{other}"}, json=body
    )  # one trust protects her, the other says where she lives
    assert fed.status_code == 201, fed.text
    await hl7.fed(
        a_person(
            f"{mine}^^^{MFT}~{nhs}^^^{NHS}^NH", name="Wetherby^Odile", born="19800203", flags="NSTS01",
            address="1 Refuge Lane^^Manchester^^M9 8QQ^GBR^H", phone="0161 496 0777^PRN^PH",
        )
    )  # fmt: skip
    told = ("Refuge", "M9 8QQ", "0777")
    for sender, tells in (("PORTAL|GMICB", False), ("PAS|R0A", True), ("ENGINE|GMICB", True)):
        answer = await hl7.say(q22(["@PID.5.1^Wetherby"], sender=sender))
        assert len(list(answer.message.all("PID"))) >= 1, answer.raw
        for word in told:
            assert (word in answer.raw.decode()) is tells, (sender, word)
        none = await hl7.say(q22(["@PID.11.5^M9 8QQ"], sender=sender))
        assert none.standing == "NF"
