"""What /metadata names by a canonical URL can be read here at the path it ends in, by anybody."""

from __future__ import annotations

from lxml import etree

from tests.running import Exchange

IHE = "https://profiles.ihe.net/"
HL7 = "http://hl7.org/fhir/"
OURS = "https://throughline.example/fhir/OperationDefinition/"


async def test_every_definition_that_the_statement_names_is_read_at_its_canonical_path(
    exchange: Exchange,
) -> None:
    statement = (await exchange.http.get("/fhir/metadata")).json()
    resources = statement["rest"][0]["resource"]
    assert {"OperationDefinition", "SearchParameter"} <= {r["type"] for r in resources}
    named = {
        one["definition"]
        for resource in resources
        for one in (*resource.get("operation", ()), *resource.get("searchParam", ()))
        if not one.get("definition", HL7).startswith(HL7)
    }
    assert len([n for n in named if n.startswith(IHE)]) >= 6
    assert f"{OURS}retention-review" in named
    for canonical in named:
        path = "/".join(canonical.split("/")[-2:])
        answer = await exchange.http.get(f"/fhir/{path}")
        assert answer.status_code == 200, canonical
        assert answer.json()["url"] == canonical
        xml = await exchange.http.get(f"/fhir/{path}", params={"_format": "xml"})
        assert etree.fromstring(xml.content).tag == f"{{http://hl7.org/fhir}}{path.split('/')[0]}"


async def test_an_unknown_definition_is_a_404_that_says_which_there_are(exchange: Exchange) -> None:
    answer = await exchange.http.get("/fhir/SearchParameter/shoe-size")
    assert answer.status_code == 404
    assert "List-SourceId" in answer.json()["issue"][0]["diagnostics"]


async def test_the_operations_on_records_say_what_they_take(exchange: Exchange) -> None:
    review = (await exchange.http.get("/fhir/OperationDefinition/retention-review")).json()
    assert (review["code"], review["resource"]) == ("retention-review", ["Binary"])
    assert review["affectsState"] is False
    assert [p["name"] for p in review["parameter"] if p["use"] == "in"] == [
        "until", "all", "count", "after",
    ]  # fmt: skip
    destroy = (await exchange.http.get("/fhir/OperationDefinition/retention-destroy")).json()
    assert destroy["affectsState"] is True
    by = {p["name"]: (p["min"], p["max"], p["type"]) for p in destroy["parameter"]}
    assert by["disposal"] == (1, "1", "string")
