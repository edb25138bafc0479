"""Bytes are of the type they are said to be, or the words say what they look like."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load
from standards.signatures import HEAD, TEXTS, TYPES, mismatch

REAL = {
    "application/pdf": b"%PDF-1.7\n1 0 obj",
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "image/png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "image/gif": b"GIF89a\x01\x00",
    "image/tiff": b"II*\x00\x08\x00\x00\x00",
    "application/dicom": bytes(128) + b"DICM\x02\x00",
    "audio/mpeg": b"ID3\x04\x00",
    "video/mp4": b"\x00\x00\x00\x18ftypmp42",
    "text/rtf": b"{\\rtf1\\ansi",
    "application/rtf": b"{\\rtf1",
    "application/zip": b"PK\x03\x04\x14\x00",
    "application/msword": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00",
    "multipart/related": b"MIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n boundary=x\r\n\r\n--x\r\n",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": b"PK\x03\x04",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": b"PK\x03\x04",
    "text/plain": "Grüße, Zoë".encode(),
    "text/csv": b"a,b\r\n1,2\r\n",
    "text/html": b"<!doctype html><p>x",
    "text/xml": b'<?xml version="1.0"?><x/>',
    "application/xml": b"\xef\xbb\xbf  <x/>",
    "application/fhir+xml": b'<Patient xmlns="http://hl7.org/fhir"/>',
    "application/hl7-v3+xml": b"<ClinicalDocument/>",
    "application/fhir+json": b'{"resourceType":"Bundle"}',
    "application/json": b" [1]",
    "image/svg+xml": b"<svg/>",
}


def test_every_type_that_is_known_and_every_type_of_the_pack_has_an_example() -> None:
    assert set(REAL) == {*TYPES, *TEXTS}
    of_the_pack = {kind.partition(";")[0] for kind in load("greater_manchester").mime_types}
    assert of_the_pack <= {*TYPES, *TEXTS}


@pytest.mark.parametrize("kind", REAL)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_what_it_is_said_to_be_passes(kind: str, whole: bool) -> None:
    assert mismatch(kind, REAL[kind], whole=whole) == ""
    assert mismatch(kind.upper() + '; charset="utf-8"', REAL[kind], whole=whole) == ""
    assert mismatch(kind, b"", whole=whole) == ""


ALIKE = {
    frozenset(pair)
    for group in (
        [k for k in REAL if "xml" in k or k == "text/html"],
        [k for k in REAL if "json" in k],
        [k for k in REAL if "zip" in k or "openxml" in k],
        [k for k in REAL if "rtf" in k],
    )
    for pair in ((a, b) for a in group for b in group)
}


@pytest.mark.parametrize("kind", REAL)
def test_every_other_type_is_refused_with_words(kind: str) -> None:
    for other, content in REAL.items():
        if (
            kind == other
            or frozenset((kind, other)) in ALIKE
            or (kind in ("text/plain", "text/csv") and other in TEXTS)
        ):
            continue
        if kind in ("text/plain", "text/csv") and other in (
            "multipart/related",
            "text/rtf",
            "application/rtf",
        ):
            continue  # these are text
        words = mismatch(kind, content, whole=True)
        assert kind in words, (kind, other)


@pytest.mark.parametrize(
    "program", [b"MZ\x90\x00" + bytes(60), b"\x7fELF\x02\x01\x01", b"\xcf\xfa\xed\xfe\x07\x00"]
)
@pytest.mark.parametrize("kind", [*REAL, "application/octet-stream"])
def test_a_program_is_refused_whatever_it_is_called(kind: str, program: bytes) -> None:
    assert mismatch(kind, program + os.urandom(200), whole=True)


@given(st.text(max_size=300), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
def test_any_text_in_any_character_set_is_text(text: str, charset: str) -> None:
    text = text.replace("\x00", "").lstrip("\ufeff")
    try:
        content = text.encode(charset)
    except UnicodeEncodeError:
        return
    if content[:16].startswith(
        (b"GIF8", b"%PDF", b"{\\rtf", b"PK", b"MZ", b"II", b"MM", b"\xff\xd8\xff")
    ):
        return
    assert mismatch(f"text/plain;charset={charset}", content, whole=True) == ""


@given(st.text(min_size=1, max_size=20, alphabet="aäß€𐍈"), st.integers(0, 3))
def test_a_character_that_the_first_bytes_cut_in_two_is_no_mistake(text: str, cut: int) -> None:
    content = (text * HEAD).encode()[: HEAD - cut]
    assert mismatch("text/plain;charset=utf-8", content, whole=False) == ""


def test_a_short_text_that_begins_like_a_program_is_text() -> None:
    assert mismatch("text/plain", b"MZ is how it begins", whole=True) == ""


@given(st.binary(max_size=HEAD), st.sampled_from(sorted({*TYPES, *TEXTS})))
def test_no_bytes_break_it(content: bytes, kind: str) -> None:
    assert isinstance(mismatch(kind, content, whole=len(content) < 100), str)
