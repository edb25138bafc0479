"""A client written as RFC 7591's JSON and read again, and what cannot be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.client import Client, new_secret
from auth.registration.metadata import etag, read, written
from tests.auth.authority import a_key
from tests.auth.registration.test_rules import APP, BACKEND, BOTH, CONFIDENTIAL

FULL = replace(
    CONFIDENTIAL, post_logout_redirect_uris=("https://app.example/bye",), launch_uris=("https://app.example/launch",), origins=("https://b.example",),
    publisher="Example Ltd", logo_uri="https://app.example/l.svg", contacts=("a@b.example",),
    policy_uri="https://app.example/p", owner="R0A", organisations=("R0A",), purposes=("P-CARE",),
)  # fmt: skip


@pytest.mark.parametrize("client", [APP, FULL, BACKEND, BOTH], ids=lambda c: c.client_id)
def test_what_was_written_reads_as_the_same_client(client: Client) -> None:
    again, faults = read(written(client), client)
    assert faults == []
    assert again == client


def test_no_secret_and_no_digest_is_written() -> None:
    secret, digest = new_secret()
    said = str(written(replace(FULL, secret_digest=digest, registration_digest=digest)))
    for hidden in (secret, digest.hex(), str(digest), "digest"):
        assert hidden not in said


def test_absent_members_take_the_defaults_of_rfc_7591() -> None:
    client, faults = read({"redirect_uris": ["https://app.example/back"]}, FULL)
    assert faults == []
    assert (client.kind, client.grants) == ("symmetric", ("authorization_code",))
    assert (client.name, client.scope, client.origins, client.purposes) == ("", "", (), ())
    assert client.secret_digest == FULL.secret_digest


def test_a_client_that_becomes_public_loses_its_secret() -> None:
    client, _ = read({"token_endpoint_auth_method": "none"}, FULL)
    assert (client.kind, client.secret_digest) == ("public", b"")


@pytest.mark.parametrize(
    ("said", "member"),
    [
        ({"client_name": 5}, "client_name"),
        ({"scope": ["a"]}, "scope"),
        ({"redirect_uris": "https://a.example"}, "redirect_uris"),
        ({"redirect_uris": [""]}, "redirect_uris"),
        ({"redirect_uris": [5]}, "redirect_uris"),
        ({"contacts": {"a": 1}}, "contacts"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": 1}, "token_endpoint_auth_method"),
        ({"response_types": ["token"]}, "response_types"),
        ({"response_types": []}, "response_types"),
        ({"grant_types": ["client_credentials"], "response_types": ["code"]}, "response_types"),
        ({"jwks": "none"}, "jwks"),
        ({"jwks": {"keys": {}}}, "jwks"),
        ({"favourite_colour": "blue"}, "favourite_colour"),
    ],
)
def test_a_member_of_the_wrong_shape_is_told(said: dict[str, Any], member: str) -> None:
    _, faults = read(said, APP)
    assert member in [fault.field for fault in faults]


def test_strange_members_are_ignored_where_rfc_7591_says_so() -> None:
    assert read({"favourite_colour": "blue"}, APP, strange=True)[1] == []


def test_of_a_key_only_what_makes_a_key_is_kept_and_a_private_part_is_not_hidden() -> None:
    jwk = a_key().as_dict(private=False)
    client, _ = read({"jwks": {"keys": [jwk | {"x5t": "abc", "n": 5, "deep": {"a": [1]}}]}}, APP)
    assert client.jwks == {"keys": [jwk]}
    private = a_key().as_dict(private=True)
    client, _ = read({"jwks": {"keys": [private]}}, APP)
    assert client.jwks is not None
    assert "d" in client.jwks["keys"][0]


def test_every_change_makes_another_etag() -> None:
    seen = {etag(APP)}
    for changes in ({"name": "x"}, {"scope": "openid"}, {"generation": 1}, {"owner": "x"}):
        seen.add(etag(replace(APP, **changes)))
    assert len(seen) == 5


@given(
    st.dictionaries(
        st.sampled_from(
            ["client_name", "scope", "redirect_uris", "jwks", "grant_types", "response_types",
             "token_endpoint_auth_method", "contacts", "x"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        ),
    )
)  # fmt: skip
def test_any_json_is_read_without_a_fall(said: dict[str, Any]) -> None:
    client, _ = read(said, APP)
    assert isinstance(client.redirect_uris, tuple)
    written(client)
