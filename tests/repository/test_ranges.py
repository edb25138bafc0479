"""Ranges and forms as values."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from repository.forms import file_name, in_base64, safe_type
from repository.ranges import Span, span, unchanged
from standards.outcome import Refused


def asked(size: int, **headers: str) -> Span | Refused:
    try:
        return span({k.replace("_", "-"): v for k, v in headers.items()}, size, '"x"')
    except Refused as refusal:
        return refusal


SIZES = st.integers(0, 1 << 40)


@given(SIZES, SIZES, st.none() | SIZES)
def test_a_range_is_answered_with_exactly_the_bytes_it_names(
    size: int, first: int, last: int | None
) -> None:
    header = f"bytes={first}-{'' if last is None else last}"
    part = asked(size, range=header)
    if isinstance(part, Refused):
        assert first >= size
        assert part.headers == {"Content-Range": f"bytes */{size}"}
    elif last is not None and last < first:
        assert not part.partial
    else:
        assert part.partial
        assert part.start == first
        assert part.stop == min(size, size if last is None else last + 1)
        assert part.content_range == f"bytes {part.start}-{part.stop - 1}/{size}"
        assert part.length > 0


@given(SIZES, SIZES)
def test_a_suffix_range_counts_from_the_end(size: int, tail: int) -> None:
    part = asked(size, range=f"bytes=-{tail}")
    if isinstance(part, Refused):
        assert tail == 0 or size == 0
    else:
        assert (part.stop, part.length) == (size, min(tail, size))


@given(st.text(max_size=30), st.integers(0, 100))
def test_no_range_header_is_a_fault(header: str, size: int) -> None:
    part = asked(size, range=header, if_range='"x"')
    if isinstance(part, Refused):
        assert part.status() == 416
    else:
        assert 0 <= part.start <= part.stop <= size


@given(st.text(max_size=40))
def test_no_if_none_match_header_is_a_fault(header: str) -> None:
    assert unchanged({"if-none-match": header}, '"abc"') in (True, False)


@given(st.lists(st.binary(max_size=50), max_size=6))
async def test_base64_of_pieces_is_the_base64_of_the_whole(pieces: list[bytes]) -> None:
    async def coming():  # type: ignore[no-untyped-def]
        for piece in pieces:
            yield piece

    made = b"".join([p async for p in in_base64(b"<", coming(), b">")])
    assert made == b"<" + base64.b64encode(b"".join(pieces)) + b">"


@given(st.text(max_size=80), st.text(max_size=40))
def test_no_document_id_or_media_type_can_break_out_of_a_header(document: str, kind: str) -> None:
    name, safe = file_name(document, kind), safe_type(kind)
    assert not set(name) & set('"\\/\r\n;')
    assert name.isascii()
    assert safe.isascii()
    assert safe.isprintable()
