"""The readers of ITI-106 alone: what they make of each form, and that nothing that is sent breaks them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.from_cda import moment, parsed, read_cda
from registry.from_fhir_document import read_document
from registry.from_pdf import dated, read_pdf
from registry.from_questionnaire import read_questionnaire
from registry.pdf import Pdf, PdfError, Ref
from registry.reading import Reading
from tests.makers_documents import a_cda, a_fhir_document, a_pdf, a_response, an_xmp
from tests.makers_mhd import NHS, NS

PATIENT = f"{NHS}|9990000018"


def read(content: bytes) -> Reading:
    return read_pdf(parts(content), len(content), NS)


def parts(content: bytes) -> Callable[[int, int], bytes]:
    return lambda at, size: content[at : at + size]


# -- PDF -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("packed", [False, True], ids=["1.4", "1.5"])
@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"(A plain title)", "A plain title"), (b"(nested (and) \\( escaped \\\\)", "nested (and) ( escaped \\"),
        (b"(\\101\\7z\\n\\\r\nline)", "A z line"), (b"<FEFF00C9007400E9>", "Été"), (b"<4f6b4>", "Ok@"),
        (b"(\xef\xbb\xbfZo\xc3\xab)", "Zoë"), (b"(\x84quoted\x8d)", "—quoted“"), (b"()", None), (b"/NoString", None), (b"null", None),
        (b"(\xff\xfeA\x00)", "A"),
    ],
)  # fmt: skip
def test_a_title_in_every_way_of_writing_a_string(
    packed: bool, written: bytes, said: str | None
) -> None:
    made = read(a_pdf(info={"Title": written, "Author": b"(Dr Nobody)"}, packed=packed))
    assert made.attachment.get("title") == said
    assert made.contained[0]["name"] == [{"text": "Dr Nobody"}]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("D:20260303091500Z", "2026-03-03T09:15:00Z"), ("D:20260303091500+01'00'", "2026-03-03T09:15:00+01:00"),
        ("D:20260303091500-05'30", "2026-03-03T09:15:00-05:30"), ("D:20260303091500", "2026-03-03"), ("D:202603", "2026-03"), ("2026", "2026"),
        ("D:20260303091500Z00'00'", "2026-03-03T09:15:00Z"), ("yesterday", None), ("", None),
    ],
)  # fmt: skip
def test_a_pdf_date_is_a_fhir_datetime_as_far_as_it_goes(written: str, said: str | None) -> None:
    assert dated(written) == said


def test_what_the_xmp_says_goes_before_the_information_dictionary() -> None:
    content = a_pdf(
        an_xmp(patient=[PATIENT, "urn:x|7"], type="GN-OPLET"),
        info={"Title": b"(Other)"},
        root=b"/Lang(en-GB)",
    )
    made = read(content)
    assert made.attachment["title"] == "Letter about nobody"
    assert made.attachment["language"] == "cy"
    assert made.patient is not None
    assert [i["value"] for i in made.patient["identifier"]] == ["9990000018", "7"]
    assert read(a_pdf(root=b"/Lang(en-GB)")).attachment["language"] == "en-GB"


def test_an_incremental_update_wins_over_what_it_updates() -> None:
    first = a_pdf(info={"Title": b"(Old)"})
    at = len(first)
    update = b"4 0 obj\n<</Title(New)>>\nendobj\n"
    table = b"xref\n4 1\n%010d 00000 n \ntrailer\n<</Size 5/Root 1 0 R/Info 4 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n"
    start = int(first.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    content = first + update + table % (at, start, at + len(update))
    assert read(content).attachment["title"] == "New"


def test_a_large_file_is_read_in_small_parts() -> None:
    asked: list[int] = []
    small = a_pdf(an_xmp(patient=PATIENT, type="GN-OPLET"))
    hole = 200 * 1024 * 1024  # between the header and the tail nothing is ever asked for

    def part(at: int, size: int) -> bytes:
        asked.append(size)
        return small[at : at + size] if at < hole else b""

    assert read_pdf(part, len(small), NS).patient is not None
    assert max(asked) <= 64 * 1024
    assert sum(asked) < 1024 * 1024


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no PDF header"), (b"%PDF-1.4", "where its objects are"), (b"%PDF-1.4\nstartxref\n3\n%%EOF", "damaged"),
        (a_pdf(trailer=b"/Encrypt<</Filter/Standard>>"), "encrypted"),
        (a_pdf(info={"Title": b"4 0 R"}), ""), (a_pdf(an_xmp()).replace(b"/Type/Metadata", b"/Filter/LZW   "), "LZW"),
        (a_pdf(root=b"/Metadata 9 0 R"), ""), (a_pdf(info={"Title": b"[" * 200}), "too deeply"),
        (a_pdf(an_xmp()).replace(b"/Length", b"/Lenght"), "without a length"),
        (a_pdf(root=b"/Lang 1 0 R"), ""),
    ],
)  # fmt: skip
def test_a_file_that_is_damaged_or_closed_is_an_issue_that_says_so(
    content: bytes, words: str
) -> None:
    issues = read(content).issues
    assert bool(issues) == bool(words)
    assert all(words in i.words for i in issues)


def test_references_in_a_circle_end() -> None:
    content = a_pdf(info={"Title": b"(x)"}).replace(b"<</Title (x)>>", b"4 0 R         ")
    with pytest.raises(PdfError, match="circle"):
        Pdf(parts(content), len(content))
    assert Ref(4) == Ref(4)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), packed=st.booleans(), times=st.integers(1, 20))
def test_no_damage_to_a_pdf_is_more_than_an_issue(seed: int, packed: bool, times: int) -> None:
    dice = random.Random(seed)
    content = bytearray(a_pdf(an_xmp(patient=PATIENT), info={"Title": b"(x)"}, packed=packed))
    for _ in range(times):
        at = dice.randrange(len(content))
        what = dice.randrange(3)
        if what == 0:
            content[at] = dice.randrange(256)
        elif what == 1:
            del content[at : at + dice.randrange(1, 30)]
        else:
            content[at:at] = dice.choice(
                [b"<<", b"[", b"(", b"9 0 R ", b"999999999999 ", b"stream\n", b"%", b">>"]
            )
    read(bytes(content))


# -- CDA -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("20260303091500+0000", "2026-03-03T09:15:00+00:00"), ("202603030915-0530", "2026-03-03T09:15:00-05:30"),
        ("20260303091500.123+0100", "2026-03-03T09:15:00.123+01:00"), ("20260303091500", "2026-03-03"), ("202603", "2026-03"), ("2026", "2026"),
        ("26", None), ("2026-03-03", None), ("", None),
    ],
)  # fmt: skip
def test_a_point_in_time_is_a_fhir_datetime_as_far_as_it_goes(
    written: str, said: str | None
) -> None:
    assert moment(written) == said


def test_scanned_paper_has_the_format_of_its_wrapper() -> None:
    scan = '<templateId root="1.3.6.1.4.1.19376.1.2.20"/>'
    root = parsed(a_cda("9990000018", extra=scan))
    assert not isinstance(root, str)
    assert read_cda(root, lambda system: system).format == "SCANPDF"


def test_a_device_may_be_the_author() -> None:
    content = a_cda("9990000018").replace(
        "<assignedPerson><name><given>Zoë</given><family>Öztürk</family></name></assignedPerson>".encode(),
        b"<assignedAuthoringDevice><softwareName>Analyser</softwareName></assignedAuthoringDevice>",
    )
    root = parsed(content)
    assert not isinstance(root, str)
    made = read_cda(root, lambda system: system)
    assert made.contained[0]["deviceName"] == [{"name": "Analyser", "type": "user-friendly-name"}]


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b'<?xml version="1.0"?><!-- x --><!doctype a><a/>', b"<a>&b;</a>",
        b'<a xmlns:x="urn:x"><x:b></a>', b"", b"\xff\xfe<\x00a\x00/\x00>\x00", b"\x00\x00\x00<",
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>',
    ],
)  # fmt: skip
def test_xml_that_wants_more_than_to_be_read_is_not(content: bytes) -> None:
    assert isinstance(parsed(content), str)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), times=st.integers(1, 12))
def test_no_cda_breaks_the_reader(seed: int, times: int) -> None:
    dice = random.Random(seed)
    content = a_cda(
        "9990000018",
        relation='<relatedDocument typeCode="APND"><parentDocument><id root="1.2"/></parentDocument></relatedDocument>',
    )
    words = content.split(b"<")
    for _ in range(times):
        words[dice.randrange(1, len(words))] = dice.choice(
            [*words[1:], b'id root="&#1;"/>', b"name/>", b'x a="']
        )
    root = parsed(b"<".join(words))
    if not isinstance(root, str):
        read_cda(root, lambda system: system)


# -- FHIR ------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(
        ["type", "subject", "author", "custodian", "event", "relatesTo", "encounter", "attester"]
    ),
    drop=st.integers(0, 4),
)
def test_a_document_may_leave_out_anything(name: str, drop: int) -> None:
    bundle = a_fhir_document("9990000018", **{name: None})
    del bundle["entry"][drop:]
    read_document(bundle)
    read_document({"resourceType": "Bundle"})


def test_contained_people_of_answers_come_along() -> None:
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"system": NHS, "value": "9990000018"}],
    }
    nurse = {
        "resourceType": "Practitioner",
        "id": "n",
        "name": [{"family": "Marsh"}],
        "text": {"div": "x"},
    }
    said: dict[str, Any] = a_response(
        {"reference": "#p"}, contained=[patient, nurse], author={"reference": "#n"}
    )
    made = read_questionnaire(said, NS)
    assert made.patient == patient
    assert made.contained == [
        {"resourceType": "Practitioner", "id": "author", "name": [{"family": "Marsh"}]}
    ]
