"""Why, and why not: as values, in words, and for callers who may not see all of it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load as load_pack
from pix import explaining
from pix.explaining import Explained, Line, Showing, Tie
from pix.identifiers import Domains
from pix.linking import compared
from pix.matching import Comparison, compare
from pix.model import load
from pix.traits import traits
from standards.r4.check import check_structure
from tests.pix.makers import (
    BASE,
    COUNCIL,
    NS,
    SALFORD,
    TRUST,
    Pix,
    diagnostics,
    identifier,
    nhs_number,
    patient,
)
from tests.pix.makers_steward import GUARD, JO, WATCH, WHY, ask, done, fed, get, person, read
from tests.pix.test_linking import told

MODEL = load()
DOMAINS = Domains(load_pack("greater_manchester"), BASE)
TODAY = date(2026, 11, 25)
ADELINA: dict[str, Any] = {
    "resourceType": "Patient",
    "name": [{"family": "Featherstonehaugh", "given": ["Adelina", "Rose"]}],
    "gender": "female", "birthDate": "1984-03-17",
    "address": [{"line": ["12 Weaver Row"], "postalCode": "M5 4ZZ"}],
    "telecom": [{"system": "phone", "value": "07700 900123"}],
    "identifier": [identifier("https://fhir.nhs.uk/Id/nhs-number", nhs_number(1))],
}  # fmt: skip
BEATRIX = {
    **ADELINA, "name": [{"family": "Featherstonehaugh", "given": ["Beatrix"]}],
    "identifier": [identifier("https://fhir.nhs.uk/Id/nhs-number", nhs_number(77))],
}  # fmt: skip
MOVED = {
    **ADELINA, "name": [{"family": "Featherstone-Khan", "given": ["Adelina"]}], "identifier": [],
    "address": [{"line": ["4 Other Street"], "postalCode": "OL1 1AA"}],
}  # fmt: skip


def laid(one: dict[str, Any], other: dict[str, Any]) -> Comparison:
    """Two Patients side by side."""
    return compare(
        traits(one, DOMAINS), traits(other, DOMAINS), MODEL, MODEL.frequencies, today=TODAY
    )


def whole(_: str) -> Showing:
    """A caller who may see everything."""
    return "whole"


def an_explanation(comparison: Comparison | None, **changes: Any) -> Explained:
    """An explanation of two records that are not linked."""
    said: dict[str, Any] = {
        "left": "Patient/1", "right": "TL-000000000001", "state": "", "source": "",
        "comparison": comparison, "ties": (), "limits": MODEL.thresholds, "model": MODEL.version,
        "at": datetime(2026, 11, 25, tzinfo=UTC), "kept": False,
        "lines": explaining.lines(comparison, whole) if comparison else (),
        "verdict": explaining.verdict(comparison, MODEL.thresholds, one=False, sealed=False, ties=()),
    }  # fmt: skip
    return Explained(**(said | changes))


# -- over HTTP ----------------------------------------------------------------------------------------


async def test_a_join_is_explained_as_it_was_decided_and_the_points_add_up(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "5000001", "anouk")
    two = await fed(pix, TRUST, "E5001", "anouk")
    answer = await done(pix, JO, "explain", resourceId=f"Patient/{two}")
    assert (answer["matchResult"], answer["linkSource"], answer["verdict"]) == (
        ["MATCH"], ["AUTO"], ["same"],
    )  # fmt: skip
    points = sum(f["points"][0] for f in answer["field"])
    assert abs(answer["prior"][0] + points - answer["score"][0]) < 0.01
    assert answer["score"][0] >= answer["joinThreshold"][0]
    assert answer["modelVersion"] == [MODEL.version]
    assert {f["name"][0] for f in answer["field"]} >= {"Name", "Birth date", "Telephone"}
    assert "one person: the scoring joined them" in answer["explanation"][0]
    assert "When it was decided" in answer["explanation"][0]
    target = await person(pix, one)
    named = await done(pix, JO, "explain", resourceId=f"Patient/{two}", goldenResourceId=target)
    assert named["score"] == answer["score"]


async def test_why_two_are_not_linked_is_explained_with_the_veto(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "5000011", "bahar", nhs=nhs_number(5011))
    two = await fed(pix, TRUST, "E5011", "bahar", nhs=nhs_number(5099))
    target = await person(pix, one)
    answer = await done(pix, JO, "explain", resourceId=f"Patient/{two}", goldenResourceId=target)
    assert answer["verdict"] == ["vetoed"]
    assert ["nhs"] in [v["code"] for v in answer["veto"]]
    assert "No weight can join them: the NHS numbers differ." in answer["explanation"][0]
    pair = await done(
        pix, JO, "explain", resourceId=f"Patient/{two}", otherResourceId=f"Patient/{one}"
    )
    assert abs(pair["score"][0] - answer["score"][0]) < 0.2
    assert pair["otherResourceId"] == [f"Patient/{one}"]
    await done(
        pix, JO, "not-duplicate", goldenResourceId=target, resourceId=await person(pix, two), **WHY
    )
    apart = await done(pix, JO, "explain", resourceId=f"Patient/{two}", goldenResourceId=target)
    assert (apart["verdict"], apart["matchResult"]) == (["apart"], ["NO_MATCH"])
    assert "jo decided that they are two people" in apart["explanation"][0]


async def test_strangers_and_the_first_of_a_person_are_explained_too(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "5000021", "chloe")
    two = await fed(pix, TRUST, "E5021", "dagmar of elsewhere", born="2001-02-03",
                    telecom=[{"system": "phone", "value": "0151 9000001"}])  # fmt: skip
    alone = await done(pix, JO, "explain", resourceId=f"Patient/{one}")
    assert alone["verdict"] == ["same"]
    assert "nothing to compare" in alone["explanation"][0]
    strangers = await done(
        pix, JO, "explain", resourceId=f"Patient/{one}", otherResourceId=f"Patient/{two}"
    )
    assert strangers["verdict"] == ["below"]
    assert "not joined" in strangers["explanation"][0]


async def test_numbers_that_a_steward_may_not_see_are_hidden_and_still_counted(pix: Pix) -> None:
    numbers = [identifier(NS + "pnc", "2001/1234567L"), identifier(NS + "nino", "AB123456C")]
    bodies = [
        patient(COUNCIL, "5000031", **told("enid")), patient(TRUST, "E5031", **told("enid"))
    ]  # fmt: skip
    for body in bodies:
        body["identifier"] = [*body["identifier"], *numbers]
    ids = [(await pix.feed(body)).json()["id"] for body in bodies]
    url = f"/Patient/$explain?resourceId=Patient/{ids[1]}"
    everything = read((await get(pix, WATCH, url)).json())
    assert "2001/1234567L" in str(everything).upper().replace("\\", "")
    for who in (JO, GUARD):
        answer = await get(pix, who, url)
        assert answer.status_code == 200
        for secret in ("1234567", "123456", "Police National Computer"):
            assert secret not in answer.text
        seen = read(answer.json())
        assert seen["score"] == everything["score"]
        assert sum(f["points"][0] for f in seen["field"]) == sum(
            f["points"][0] for f in everything["field"]
        )
        hidden = [f for f in seen["field"] if f["masked"] == [True]]
        assert {f["name"][0] for f in hidden} == {"Other evidence", "National Insurance number"}
        assert all(f["left"] == ["hidden from you"] for f in hidden)
        drawing = await get(pix, who, url + "&_format=svg")
        assert "1234567" not in drawing.text
        assert "Police" not in drawing.text


async def test_where_a_protected_person_lives_is_shown_to_nobody(pix: Pix) -> None:
    label = {"meta": {"security": [{"system": NS.removesuffix("Id/") + "CodeSystem/sensitivity",
                                    "code": "ADDRCONF"}]}}  # fmt: skip
    home = {"address": [{"line": ["9 Refuge Lane"], "postalCode": "M9 9ZZ"}]}
    one = await fed(pix, COUNCIL, "5000041", "frieda", **home)
    two = await fed(pix, TRUST, "E5041", "frieda", **home, **label)
    assert await person(pix, one) == await person(pix, two)
    for who in (JO, GUARD, WATCH):
        answer = await get(pix, who, f"/Patient/$explain?resourceId=Patient/{two}")
        assert "REFUGE" not in answer.text.upper()
        assert "M99ZZ" not in answer.text
        masked = [f["name"][0] for f in read(answer.json())["field"] if f["masked"] == [True]]
        assert set(masked) >= {"Address", "Telephone"}


async def test_it_is_drawn_for_whoever_asks_for_a_picture(pix: Pix) -> None:
    await fed(pix, COUNCIL, "5000051", "gudrun")
    two = await fed(pix, TRUST, "E5051", "gudrun")
    url = f"/Patient/$explain?resourceId=Patient/{two}"
    for answer in (
        await get(pix, JO, url + "&_format=svg"),
        await get(pix, JO, url + "&_format=image/svg%2Bxml"),
        await get(pix, JO, url, Accept="image/svg+xml"),
        await get(pix, JO, url, Accept="image/avif,image/svg+xml,*/*;q=0.8"),
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/svg+xml;charset=utf-8"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.text.startswith("<svg ")
    for accept in ("application/fhir+json", "*/*", "application/fhir+json, image/svg+xml;q=0.5"):
        answer = await get(pix, JO, url, Accept=accept)
        assert check_structure(answer.json()) == ()
    assert (await get(pix, JO, url, Accept="image/png")).status_code == 406
    assert (await get(pix, JO, url + "&_format=png")).status_code == 406
    refused = await get(pix, JO, "/Patient/$explain?resourceId=Patient/x&_format=svg")
    assert (refused.status_code, refused.json()["resourceType"]) == (404, "OperationOutcome")
    other = await get(pix, JO, "/Patient/$query-links?_format=svg")
    assert other.status_code == 406


async def test_questions_that_make_no_sense_are_refused(pix: Pix) -> None:
    one = await fed(pix, SALFORD, "5000061", "hedwig")
    mine = f"Patient/{one}"
    cases: list[tuple[dict[str, str], int, str]] = [
        ({"resourceId": mine, "otherResourceId": mine}, 400, "is itself"),
        ({"resourceId": mine, "otherResourceId": "Patient/x", "goldenResourceId": "TL-000000000000"},
         400, "not both"),
        ({"resourceId": mine, "otherResourceId": "Patient/x"}, 404, "No Patient"),
        ({"resourceId": mine, "goldenResourceId": "TL-000000000000"}, 404, "person number"),
        ({"resourceId": f"{mine}/_history/7"}, 409, "version"),
        ({"goldenResourceId": "TL-000000000000"}, 400, "needs resourceId"),
    ]  # fmt: skip
    for said, status, words in cases:
        answer = await ask(pix, JO, "explain", **said)
        assert answer.status_code == status, (said, answer.text)
        assert words in diagnostics(answer)[0]


# -- pure -------------------------------------------------------------------------------------------


def test_a_kept_comparison_opens_to_what_it_was() -> None:
    made = laid(ADELINA, BEATRIX)
    again = explaining.reopened(compared(made))
    assert again == made


def test_lines_for_come_before_lines_against_and_none_is_lost() -> None:
    made = laid(ADELINA, BEATRIX)
    lines = explaining.lines(made, whole)
    assert len(lines) == len(made.fields)
    signs = [line.points < 0 for line in lines]
    assert signs == sorted(signs)
    assert abs(made.prior + sum(line.points for line in lines) - made.weight) < 1e-9


def test_what_the_rules_say_follows_their_order_and_never_the_weight_alone() -> None:
    strong, vetoed, limits = laid(ADELINA, MOVED), laid(ADELINA, BEATRIX), MODEL.thresholds
    at = datetime(2026, 1, 2, tzinfo=UTC)
    apart, tied = Tie(True, "jo", at, "x"), Tie(False, "jo", at, "x")
    told_ = [
        (strong, {"sealed": True, "ties": [apart, tied], "one": True}, "sealed"),
        (strong, {"sealed": False, "ties": [tied, apart], "one": True}, "apart"),
        (vetoed, {"sealed": False, "ties": [tied], "one": True}, "tied"),
        (vetoed, {"sealed": False, "ties": [], "one": True}, "same"),
        (vetoed, {"sealed": False, "ties": [], "one": False}, "vetoed"),
        (strong, {"sealed": False, "ties": [], "one": False}, "join"),
        (None, {"sealed": False, "ties": [], "one": False}, "below"),
    ]
    for comparison, said, verdict in told_:
        assert explaining.verdict(comparison, limits, **said) == verdict  # type: ignore[arg-type]  # the rows above


@given(st.floats(-60, 60).filter(lambda w: abs(w) > 0.001))
def test_a_weight_is_said_as_odds_that_point_the_right_way(weight: float) -> None:
    words = explaining.chance(Comparison(weight, 0, (), ()))
    assert ("one person" in words) == (weight >= 0)


def test_odds_claim_no_precision_that_they_do_not_have() -> None:
    assert [explaining.rounded(o) for o in (1.4, 9.4, 97, 4321, 48_123_456)] == [
        "1", "9", "90", "4,000", "40,000,000",
    ]  # fmt: skip


def test_the_words_name_what_speaks_for_and_against_with_the_points() -> None:
    told_ = an_explanation(laid(ADELINA, BEATRIX))
    words = explaining.words(told_)
    for said in ("are not linked", "Today the evidence weighs", "For it:", "Against it:",
                 "NHS number different", "perhaps twins", "not joined"):  # fmt: skip
        assert said in words


def test_a_hidden_line_says_nothing_but_its_points() -> None:
    made = laid(ADELINA, BEATRIX)

    def little(aspect: str) -> Showing:
        return {"nhs": "nothing", "name": "level"}.get(aspect, "whole")  # type: ignore[return-value]  # literals

    lines = {line.name: line for line in explaining.lines(made, little)}
    other = lines["Other evidence"]
    assert other == Line("Other evidence", "hidden", "counted, and not shown to you", other.points, 0.0,
                         "hidden from you", "hidden from you", True)  # fmt: skip
    assert (lines["Name"].left, lines["Name"].masked) == ("hidden from you", True)
    assert lines["Birth date"].left == "1984-03-17"
