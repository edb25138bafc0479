"""FHIR XML to JSON and back, and what a stranger's XML may not do."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standards.fhir_xml import FHIR, MOST_ISSUES, parse, render
from standards.outcome import STRUCTURE, Refused
from standards.r4.check import an_ordinary_document, check_structure
from standards.r4.definition import resource_types
from tests.standards.r4_resources import DIV, OURS, a_resource

SEEDS = st.integers(0, 2**32 - 1)


def told(xml: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        parse(xml.encode() if isinstance(xml, str) else xml)
    assert all(i.kind is STRUCTURE for i in refused.value.issues)
    return [(i.where, i.words) for i in refused.value.issues]


def patient(inside: str) -> str:
    return f'<Patient xmlns="{FHIR}">{inside}</Patient>'


# -- there and back -------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.sampled_from(OURS), st.booleans())
def test_what_is_written_is_read_back_equal(seed: int, kind: str, siblings: bool) -> None:
    resource = a_resource(Random(seed), kind, siblings=siblings)
    again = parse(render(resource))
    assert again == resource
    assert check_structure(again) == ()


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from(sorted(resource_types())))
def test_every_resource_type_of_r4_goes_there_and_back(seed: int, kind: str) -> None:
    resource = a_resource(Random(seed), kind)
    assert parse(render(resource)) == resource


@settings(max_examples=100, deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"])
        | st.sampled_from("\t\n\r"),
        min_size=1,
    )
)
def test_any_text_goes_there_and_back(text: str) -> None:
    resource = {"resourceType": "Patient", "name": [{"family": text}]}
    if check_structure(resource) == ():
        assert parse(render(resource)) == resource


@settings(max_examples=100, deadline=None)
@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6) | st.integers(-(10**12), 10**12)
)
def test_any_number_goes_there_and_back_with_its_digits(number: Decimal | int) -> None:
    resource = {"resourceType": "Parameters", "parameter": [{"name": "a", "valueDecimal": number}]}
    again = parse(render(resource))["parameter"][0]["valueDecimal"]
    assert str(again) == str(number)
    assert type(again) is type(number)


def test_the_ordinary_document_goes_there_and_back() -> None:
    assert parse(render(an_ordinary_document())) == an_ordinary_document()


def test_the_elements_are_written_in_the_order_of_the_specification() -> None:
    resource = {
        "resourceType": "Patient",
        "birthDate": "2020-01-02",
        "_birthDate": {
            "id": "b",
            "extension": [{"url": "http://example.org/t", "valueTime": "10:00:00"}],
        },
        "active": True,
        "contained": [{"resourceType": "Group", "id": "g", "actual": True, "type": "person"}],
        "text": {"status": "generated", "div": DIV},
        "multipleBirthInteger": 2,
        "name": [{"id": "n", "given": ["A", None], "_given": [None, {"id": "x"}]}],
        "id": "p",
    }
    assert render(resource).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?><Patient xmlns="http://hl7.org/fhir"><id value="p"/>'
        f'<text><status value="generated"/>{DIV}</text>'
        '<contained><Group><id value="g"/><type value="person"/><actual value="true"/></Group></contained>'
        '<active value="true"/><name id="n"><given value="A"/><given id="x"/></name>'
        '<birthDate id="b" value="2020-01-02"><extension url="http://example.org/t">'
        '<valueTime value="10:00:00"/></extension></birthDate><multipleBirthInteger value="2"/></Patient>'
    )
    assert parse(render(resource)) == resource


def test_twenty_megabytes_in_one_value_go_there_and_back() -> None:
    binary = {
        "resourceType": "Binary",
        "contentType": "application/pdf",
        "data": "QUJD" * 5_000_000,
    }
    assert parse(render(binary)) == binary


# -- the forms XML allows -------------------------------------------------------------------------


def test_prefixes_comments_instructions_and_schema_hints_are_read_over() -> None:
    xml = (
        '\ufeff<?xml version="1.0" encoding="UTF-8"?><?xml-stylesheet href="a.xsl"?><!-- hello -->'
        f'<f:Patient xmlns:f="{FHIR}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://hl7.org/fhir a.xsd">\n  <!-- <active value="false"/> -->'
        '<f:text><f:status value="generated"/><h:div xmlns:h="http://www.w3.org/1999/xhtml">a<h:br/></h:div></f:text>'
        '<f:active value="true"/><?php x?></f:Patient>'
    )
    resource = parse(xml.encode())
    assert resource["active"] is True
    assert check_structure(resource) == ()
    assert "fhir" not in resource["text"]["div"]


def test_elements_out_of_order_are_gathered() -> None:
    xml = patient(
        '<name><family value="a"/></name><active value="true"/><name><family value="b"/></name>'
    )
    assert [n["family"] for n in parse(xml.encode())["name"]] == ["a", "b"]


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "xml",
    [
        f'<!DOCTYPE Patient [<!ENTITY a "b">]><Patient xmlns="{FHIR}"/>',
        f'<?xml version="1.0"?><!-- <a> --><!DOCTYPE a SYSTEM "file:///etc/passwd"><a xmlns="{FHIR}"/>',
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>',
    ],
)
def test_a_doctype_is_refused_before_anything_is_expanded(xml: str) -> None:
    assert "DOCTYPE" in told(xml)[0][1]


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"   ",
        b"<",
        b"{}",
        b"<a>&b;</a>",
        b"<a>\x00</a>",
        b"<Patient></Bundle>",
        b"<a b='1' b='2'/>",
        b"<!-- no end",
    ],
)
def test_what_is_not_xml_is_refused(xml: bytes) -> None:
    assert "XML" in told(xml)[0][1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_only_utf_8_is_read(encoding: str) -> None:
    assert "UTF-8" in told(patient('<name><family value="\u00e9"/></name>').encode(encoding))[0][1]


def test_every_fault_of_form_is_told_with_its_line() -> None:
    xml = patient(
        '\n<nmae/>\n<active value="yes"/>text\n<birthDate/>\n<gender value="male" colour="1"/>'
        '\n<gender value="male"/>'
        '\n<contained/>\n<multipleBirthInteger value="1.0"/>\n<id value="a"><extension url="b"/></id>'
        '\n<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><script/></div></text>'
        '\n<contact xmlns="urn:other"/>'
    )
    found = told(xml)
    assert [where for where, _ in found] == [
        "Patient",
        "Patient.nmae",
        "Patient.active",
        "Patient.birthDate",
        "Patient.gender",
        "Patient.gender",
        "Patient.contained[0]",
        "Patient.multipleBirth",
        "Patient.id",
        "Patient.text.div",
        "Patient.contact",
    ]
    assert found[1][1].startswith("line 2: ")
    assert "did you mean 'name'?" in found[1][1]


@pytest.mark.parametrize(
    ("xml", "hint"),
    [
        ("<Patient/>", "namespace"),
        ('<Patient xmlns="http://hl7.org/fhir/"/>', "namespace"),
        (f'<Patiant xmlns="{FHIR}"/>', "did you mean Patient?"),
        (f'<HumanName xmlns="{FHIR}"/>', "no resource type"),
        (patient('<extension url="a"><url value="b"/></extension>'), "no element 'url'"),
        (patient('<name><id value="b"/></name>'), "no element 'id'"),
        (patient('<div xmlns="http://www.w3.org/1999/xhtml">x</div>'), "no element 'div'"),
        (patient("<name>text</name>"), "text inside"),
        (patient("<contained><Patient/><Group/></contained>"), "exactly one"),
    ],
)
def test_what_is_wrong_is_said(xml: str, hint: str) -> None:
    assert hint in told(xml)[0][1]


@pytest.mark.parametrize("levels", [100, 1000, 10_000])
def test_deep_nesting_is_one_refusal(levels: int) -> None:
    nested = '<extension url="a">' * levels + "</extension>" * levels
    assert len(told(patient(nested))) == 1


def test_thousands_of_faults_are_counted() -> None:
    found = told(patient("<x/>" * 5000))
    assert len(found) == MOST_ISSUES + 1
    assert found[-1][1].startswith("4950 more")


@pytest.mark.parametrize(
    ("resource", "hint"),
    [
        ({"resourceType": "Nothing"}, "only a resource"),
        ({"resourceType": "Patient", "x": 1}, "no element 'x'"),
        ({"resourceType": "Patient", "contained": [{"id": "a"}]}, "only a resource"),
        (
            {"resourceType": "Patient", "text": {"status": "generated", "div": "<script/>"}},
            "narrative",
        ),
    ],
)
def test_what_is_no_r4_is_not_written(resource: dict[str, Any], hint: str) -> None:
    with pytest.raises(Refused) as refused:
        render(resource)
    assert hint in refused.value.issues[0].words
