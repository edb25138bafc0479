"""Read-only lenses into FHIR JSON, and Bundles joined from bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards import lens
from standards.bundle import entry, matches, searchset_bytes

DOCUMENT: dict[str, Any] = {
    "resourceType": "DocumentReference",
    "contained": [{"resourceType": "Practitioner", "id": "a", "name": [{"family": "Ann"}]}],
    "author": [{"reference": "#a"}, {"reference": "#nobody"}, {"reference": "Device/1"}],
    "identifier": [{"system": "urn:s", "value": "1"}, {"system": "urn:t", "value": "2"}],
    "type": {"coding": [{"system": "urn:s", "code": "x"}, {"system": "urn:t", "code": "y"}]},
    "content": [{"attachment": {"url": "Binary/1"}}, {"attachment": {"url": "Binary/2"}}, {}],
    "extension": [
        {"url": "urn:e", "valueString": "one"},
        {"url": "urn:f", "valueBoolean": False},
        {"url": "urn:e", "extension": []},
    ],
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["a", "b", "extension", "url", "valueString", "contained", "id", "reference"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


def test_a_path_goes_through_every_member_of_every_list() -> None:
    assert lens.at(DOCUMENT, "content.attachment.url") == ["Binary/1", "Binary/2"]
    assert lens.first(DOCUMENT, "content.attachment.url") == "Binary/1"
    assert lens.text(DOCUMENT, "resourceType") == "DocumentReference"
    assert lens.at(DOCUMENT, "content.attachment.hash") == []
    assert lens.first(DOCUMENT, "subject.reference") is None
    assert lens.text(DOCUMENT, "type") == ""


def test_extensions_are_found_by_url_and_a_false_one_is_a_value() -> None:
    assert lens.extension_values(DOCUMENT, "urn:e") == ["one"]
    assert lens.extension_values(DOCUMENT, "urn:f") == [False]
    assert lens.extensions(DOCUMENT, "urn:none") == []


def test_identifiers_and_codings_are_found_by_system() -> None:
    assert lens.identifiers(DOCUMENT, "urn:t") == ["2"]
    assert lens.coding(DOCUMENT["type"], "urn:t") == {"system": "urn:t", "code": "y"}
    assert lens.coding(DOCUMENT["type"]) == {"system": "urn:s", "code": "x"}
    assert lens.coding(DOCUMENT["type"], "urn:none") is None


def test_a_contained_resource_is_reached_by_its_reference() -> None:
    (held,) = lens.resolved(DOCUMENT, "author")
    assert held["name"] == [{"family": "Ann"}]
    assert lens.contained(DOCUMENT, "#") is None
    assert lens.contained(DOCUMENT, "Device/1") is None


def test_every_reference_is_told_with_its_place() -> None:
    assert [path for path, _ in lens.references(DOCUMENT)] == [
        "author[0]",
        "author[1]",
        "author[2]",
    ]


@given(json_values, st.sampled_from(["a", "a.b", "extension.url", "contained.id"]))
def test_no_shape_of_json_breaks_a_lens(value: Any, path: str) -> None:
    assert isinstance(lens.at(value, path), list)
    lens.text(value, path)
    lens.extension_values(value, "urn:e")
    lens.contained(value, "#a")
    lens.identifiers(value, "urn:s", "a")
    lens.coding(value)
    list(lens.references(value))


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 10**9))
def test_a_bundle_of_joined_bytes_is_json_whatever_the_urls_hold(
    base: str, url: str, total: int
) -> None:
    try:
        (base + url).encode()
    except UnicodeEncodeError:
        return
    made = searchset_bytes(
        id_="b1",
        updated="2026-01-01T00:00:00.000Z",
        total=total,
        links=[("self", url), ("next", base)],
        entries=[
            *matches(base, [("t1", b'{"id":"t1"}')]),
            entry("", b"{}", "outcome"),
            entry(url, b"{}", "include"),
        ],
    )
    bundle = json.loads(made)
    assert bundle["total"] == total
    assert [x["url"] for x in bundle["link"]] == [url, base]
    assert [e["search"]["mode"] for e in bundle["entry"]] == ["match", "outcome", "include"]
    assert bundle["entry"][0]["fullUrl"] == f"{base}/t1"
    assert "fullUrl" not in bundle["entry"][1]


@pytest.mark.parametrize("name", ["link", "entry"])
def test_an_empty_bundle_has_no_empty_arrays(name: str) -> None:
    made = searchset_bytes(
        id_="b", updated="2026-01-01T00:00:00.000Z", total=0, links=[], entries=[]
    )
    assert name not in json.loads(made)
