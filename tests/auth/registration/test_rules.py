"""What a registration may say, field by field, and that all of it is told at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.client import Client, new_secret, origin_of
from auth.registration.rules import check, grant_for, redirect_uri, web_address
from tests.auth.authority import a_key, public

APP = Client(
    client_id="ward-list",
    name="Ward list",
    kind="public",
    grants=("authorization_code", "refresh_token"),
    redirect_uris=("https://app.example/back",),
    scope="launch launch/patient openid fhirUser offline_access patient/*.rs user/Patient.r ITI-67",
)
CONFIDENTIAL = replace(APP, kind="symmetric", secret_digest=new_secret()[1])
BACKEND = Client(client_id="lab", name="Lab", jwks=public(a_key()), scope="system/*.rs ITI-67")
BOTH = replace(
    BACKEND,
    grants=("client_credentials", "authorization_code"),
    redirect_uris=APP.redirect_uris,
    scope="system/*.rs patient/*.rs",
)


@pytest.mark.parametrize("client", [APP, CONFIDENTIAL, BACKEND, BOTH], ids=lambda c: c.kind)
def test_a_whole_registration_has_no_fault(client: Client) -> None:
    assert check(client) == []


@pytest.mark.parametrize(
    ("client", "changes", "field", "words"),
    [
        (APP, {"name": " "}, "name", "needs a name"),
        (APP, {"name": "x" * 201}, "name", "one line"),
        (APP, {"publisher": "two\nlines"}, "publisher", "one line"),
        (APP, {"owner": "turned\u202earound"}, "owner", "one line"),
        (APP, {"contacts": ("nobody",)}, "contacts", "no e-mail address"),
        (APP, {"contacts": ("a@b.example",) * 11}, "contacts", "At most 10"),
        (APP, {"logo_uri": "http://app.example/logo.svg"}, "logo_uri", "https"),
        (APP, {"policy_uri": "javascript:alert(1)"}, "policy_uri", "https"),
        (APP, {"kind": "secret"}, "kind", "public, symmetric, asymmetric"),
        (APP, {"grants": ()}, "grants", "needs a grant"),
        (APP, {"grants": ("password", "authorization_code", "refresh_token")}, "grants", "password"),
        (APP, {"grants": ("implicit", "authorization_code", "refresh_token")}, "grants", "implicit"),
        (BACKEND, {"grants": ("client_credentials", "refresh_token")}, "grants", "beside"),
        (APP, {"grants": (*APP.grants, "client_credentials")}, "grants", "asymmetric"),
        (CONFIDENTIAL, {"grants": (*APP.grants, "client_credentials")}, "grants", "asymmetric"),
        (APP, {"jwks": public(a_key())}, "jwks", "no public keys"),
        (CONFIDENTIAL, {"jwks_uri": "https://a.example/jwks"}, "jwks", "no public keys"),
        (APP, {"secret_digest": b"x"}, "secret_digest", "symmetric"),
        (CONFIDENTIAL, {"secret_digest": b""}, "secret_digest", "symmetric"),
        (BACKEND, {"jwks_uri": "https://a.example/jwks"}, "jwks", "either"),
        (APP, {"redirect_uris": ()}, "redirect_uris", "needs a redirect URI"),
        (APP, {"redirect_uris": APP.redirect_uris * 2}, "redirect_uris", "more than once"),
        (APP, {"redirect_uris": tuple(f"https://a.example/{n}" for n in range(21))},
         "redirect_uris", "At most 20"),
        (BACKEND, {"redirect_uris": APP.redirect_uris}, "redirect_uris", "authorization_code"),
        (BACKEND, {"launch_uris": ("https://a.example/launch",)}, "launch_uris", "authorization_code"),
        (APP, {"launch_uris": ("http://a.example/launch",)}, "launch_uris", "https"),
        (APP, {"launch_uris": ("com.example.app:/launch",)}, "launch_uris", "https"),
        (APP, {"post_logout_redirect_uris": ("http://a.example/",)}, "post_logout_redirect_uris", "https"),
        (APP, {"origins": ("https://a.example/",)}, "origins", "no origin"),
        (APP, {"origins": ("https://A.example",)}, "origins", "no origin"),
        (APP, {"origins": ("null",)}, "origins", "no origin"),
        (APP, {"origins": ("https://a.example:443",)}, "origins", "no origin"),
        (APP, {"scope": "patient/*.rs system/*.rs"}, "scope", "system/*.rs is of no use"),
        (BACKEND, {"scope": "user/*.rs"}, "scope", "authorization_code"),
        (BACKEND, {"scope": "openid"}, "scope", "authorization_code"),
        (BACKEND, {"scope": "launch/patient"}, "scope", "authorization_code"),
        (BOTH, {"scope": "offline_access"}, "scope", "refresh_token"),
        (APP, {"scope": "throughline.internal"}, "scope", "client_credentials"),
        (APP, {"scope": "clients-admin"}, "scope", "client_credentials"),
        (APP, {"scope": "launch/world"}, "scope", "no scope"),
        (APP, {"scope": 'say"hello'}, "scope", "no scope"),
        (APP, {"role": "R-GP"}, "role", "client_credentials"),
        (APP, {"organisation": "R0A"}, "organisation", "client_credentials"),
        (BACKEND, {"organisations": ("R0A",)}, "organisations", "authorization_code"),
        (APP, {"purposes": ("P-CARE", "P-CARE")}, "purposes", "more than once"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_field_and_in_words(
    client: Client, changes: dict[str, Any], field: str, words: str
) -> None:
    found = check(replace(client, **changes))
    assert [f for f in found if f.field == field and words in f.words], found


def test_all_faults_are_told_at_once() -> None:
    found = check(
        replace(
            APP, client_id="a b", name="", redirect_uris=("http://a.example", "https://*.b.example"),
            scope="system/*.rs nonsense/x", contacts=("x",), logo_uri="x", role="R-GP",
        )
    )  # fmt: skip
    assert [f.field for f in found] == [
        "client_id", "name", "contacts", "logo_uri", "redirect_uris", "redirect_uris", "scope",
        "scope", "role",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/back",
        "https://app.example:8443/back?tenant=1",
        "https://app.example",
        "http://localhost:3000/back",
        "http://127.0.0.1/back",
        "http://[::1]:5000/back",
        "com.example.app:/back",
        "com.example.app://back",
    ],
)
def test_a_redirect_uri_that_may_be_registered(uri: str) -> None:
    assert redirect_uri(uri, "public") == ""


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://app.example/back", "https"),
        ("http://localhost.evil.example/back", "https"),
        ("http://127.0.0.2/back", "https"),
        ("https://app.example/back#here", "fragment"),
        ("https://app.example/back#", "fragment"),
        ("https://user@app.example/back", "user"),
        ("https://app.example@evil.example/", "user"),
        ("https://*.app.example/back", "wildcards"),
        ("https://app.example/*", "wildcards"),
        ("https://app.example/a b", "wildcards"),
        ("https://app.example\\@evil.example", "wildcards"),
        ("https://app.example/\n", "wildcards"),
        ("https://аpp.example/", "wildcards"),
        ("https://app.example/x/../y", "climb"),
        ("https://app.example/" + "x" * 2000, "2000"),
        ("https://app.example/?code=1", "code"),
        ("https://app.example/?state=&iss=", "iss, state"),
        ("https:///back", "host"),
        ("https://app.example:0/", "host"),
        ("https://app.example:99999/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("/back", "scheme"),
        ("", "URI"),
        ("javascript:alert(1)", "scheme"),
        ("data:text/html,x", "scheme"),
        ("myapp:/back", "scheme"),
        ("urn:ietf:wg:oauth:2.0:oob", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("com.example.app:back", "slash"),
        ("com.example.app:/back#x", "fragment"),
        ("com.example.app:/back?code=x", "code"),
        ("COM.example.app:/back", "scheme"),
    ],
)
def test_a_redirect_uri_that_may_not_be_registered(uri: str, words: str) -> None:
    assert words in redirect_uri(uri, "public")


def test_an_app_that_can_keep_a_secret_has_no_scheme_of_its_own() -> None:
    assert "public client" in redirect_uri("com.example.app:/back", "symmetric")
    assert redirect_uri("http://127.0.0.1/back", "symmetric") == ""


@given(st.text(max_size=60))
def test_whatever_is_written_the_checks_answer_and_only_safe_schemes_pass(text: str) -> None:
    if redirect_uri(text, "public") == "":
        scheme = urlsplit(text).scheme
        assert scheme == "https" or "." in scheme or origin_of(text).startswith("http://")
    if web_address(text) == "":
        assert origin_of(text)
    grant_for(text)


@given(st.from_regex(r"https?://[a-z*@.\[\]:0-9]{1,20}(/[a-z.*#?]{0,8}){0,2}", fullmatch=True))
def test_a_web_address_that_passes_is_https_or_loopback_and_plain(url: str) -> None:
    if web_address(url) == "":
        parts = urlsplit(url)
        assert parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
        assert "*" not in url
        assert "#" not in url
        assert "@" not in parts.netloc
