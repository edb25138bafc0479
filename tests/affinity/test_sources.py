"""Where documents may be kept outside: an address lies below an agreed one, or it does not."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import PackError, load
from affinity.sources import Source, read
from tests.archive import the_pack

BASE = "https://documents.trust.example/fhir/Binary/"
SOURCE = Source("R0A", BASE, "proxy", (ip_network("10.20.0.0/16"),))


@pytest.mark.parametrize(
    "url",
    [BASE + "7", BASE + "a/b?version=2", "https://documents.trust.example:443/fhir/Binary/7", "HTTPS://DOCUMENTS.trust.example/fhir/Binary/7",
     BASE + "a%20b"],
)  # fmt: skip
def test_what_lies_below_the_agreed_address_is_covered(url: str) -> None:
    assert SOURCE.covers(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://documents.trust.example/fhir/Binary/7", "https://documents.trust.example/fhir/Binary",
        "https://documents.trust.example/fhir/BinaryX/7", "https://documents.trust.example:8443/fhir/Binary/7",
        "https://documents.trust.example.evil.example/fhir/Binary/7", "https://evil.example/fhir/Binary/7",
        "https://documents.trust.example@evil.example/fhir/Binary/7", "https://u:p@documents.trust.example/fhir/Binary/7",
        BASE + "../Patient/1", BASE + "./7", BASE + "%2e%2e/Patient/1", BASE + "a%2F..%2Fb", BASE + "..\\Patient", BASE + "%5c..",
        BASE + "7#fragment", BASE + "7\n", BASE + "ä", BASE + "x" * 2100, "https://documents.trust.example:99999/fhir/Binary/7",
        "https://[::1/fhir/Binary/7", "file:///fhir/Binary/7", "//documents.trust.example/fhir/Binary/7", "",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_not(url: str) -> None:
    assert not SOURCE.covers(url)


@given(st.text(max_size=80))
def test_no_text_breaks_the_reading_of_a_url(text: str) -> None:
    SOURCE.covers(text)
    SOURCE.covers(BASE + text)
    SOURCE.allows(text)


def test_listed_networks_and_public_addresses_are_allowed_and_no_others() -> None:
    assert SOURCE.allows("10.20.3.4")
    assert SOURCE.allows("::ffff:10.20.3.4")
    assert SOURCE.allows("93.184.216.34")
    assert SOURCE.allows("2606:2800:220:1::1")
    assert not SOURCE.allows("10.21.3.4")
    assert not SOURCE.allows("127.0.0.1")


def a_row(**changes: str) -> dict[str, str]:
    return {
        "organisation": "R0A", "base": BASE, "mechanism": "proxy", "networks": "", "why": "",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"organisation": "XXX"}, "no organisation 'XXX'"), ({"base": "documents.trust.example/"}, "base is a URL"),
        ({"base": BASE.rstrip("/")}, "to its last /"), ({"base": BASE + "?a=b/"}, "base is a URL"),
        ({"mechanism": "carrier pigeon"}, "proxy or direct"), ({"networks": "10.0.0.1/8"}, "has host bits set"),
        ({"base": "http://documents.trust.example/"}, "https only"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_meant_is_named(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=r"line 2: .*" + words):
        read([a_row(**changes)], {"R0A"})


def test_the_inner_network_may_be_asked_without_tls() -> None:
    (source,) = read(
        [a_row(base="http://archive.inside/", networks="10.0.0.0/8|fd00::/8")], {"R0A"}
    )
    assert len(source.networks) == 2


def test_the_pack_knows_whose_documents_lie_at_an_address(tmp_path: Path) -> None:
    pack = load("greater_manchester")
    found = pack.source_of("https://documents.mft.example/fhir/Binary/1")
    assert found is not None
    assert (found.organisation, found.mechanism) == ("R0A", "proxy")
    assert pack.source_of("https://nobody.example/1") is None
    with pytest.raises(PackError, match=r"retrieval_sources\.csv line 2"):
        the_pack(tmp_path, "NOBODY,https://x.example/,proxy,,")
