"""What is checked of an authorization request, row by row (security digest 1.6, 1.21, 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.authorize.request import (
    Asked,
    Mistaken,
    Unanswerable,
    answer_uri,
    check,
    client_of,
    parsed,
    same_place,
)

BASE = "https://exchange.example/fhir"
REDIRECT = "https://app.example/callback"


@dataclass(frozen=True)
class App:
    client_id: str = "app"
    redirect_uris: tuple[str, ...] = (REDIRECT, "https://app.example/other?x=1")
    scope: str = "openid fhirUser launch launch/patient offline_access patient/*.rs user/*.rs"
    grants: tuple[str, ...] = ("authorization_code",)


GOOD = {
    "response_type": "code", "client_id": "app", "redirect_uri": REDIRECT, "state": "s",
    "scope": "openid patient/*.rs", "aud": BASE, "code_challenge": "c" * 43,
    "code_challenge_method": "S256",
}  # fmt: skip


def asked(app: App | None = None, /, **changes: str | None) -> Asked:
    said: Mapping[str, str | None] = {**GOOD, **changes}
    pairs = parsed(urlencode([(k, v) for k, v in said.items() if v is not None]).encode())
    return check(pairs, app or App(), (BASE,))


def test_a_good_request_is_understood() -> None:
    made = asked(nonce="n", max_age="60", login_hint="ada", prompt="login consent")
    assert made.scope == ("openid", "patient/*.rs")
    assert made.wants_patient
    assert (made.nonce, made.max_age, made.login_hint) == ("n", 60, "ada")
    assert made.prompt == {"login", "consent"}


@pytest.mark.parametrize("aud", [BASE, BASE + "/"])
def test_a_slash_after_the_base_is_forgiven(aud: str) -> None:
    assert asked(aud=aud)
    assert asked(aud=None, resource=aud)
    assert asked(resource=aud)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"state": ""}, "invalid_request"),
        ({"state": "a\nb"}, "invalid_request"),
        ({"state": "x" * 5000}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://inferno.healthit.gov/invalid_aud"}, "invalid_request"),
        ({"aud": BASE + "//"}, "invalid_request"),
        ({"aud": BASE.upper()}, "invalid_request"),
        ({"resource": "https://else.example/fhir"}, "invalid_target"),
        ({"aud": None, "resource": "https://else.example/fhir"}, "invalid_target"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "c" * 42}, "invalid_request"),
        ({"code_challenge": "c" * 129}, "invalid_request"),
        ({"code_challenge": "c" * 42 + "="}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "patient/*.dus"}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "offline_access"}, "invalid_scope"),
        ({"scope": "openid\x00"}, "invalid_scope"),
        ({"scope": 'openid "x"'}, "invalid_scope"),
        ({"launch": "handle"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "dance"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://app.example/r"}, "request_uri_not_supported"),
    ],
)
def test_every_mistake_goes_back_to_the_app(changes: dict[str, str | None], error: str) -> None:
    with pytest.raises(Mistaken) as wrong:
        asked(**changes)
    assert wrong.value.error == error
    assert wrong.value.redirect_uri == REDIRECT
    assert all(" " <= c <= "~" and c not in '"\\' for c in wrong.value.words)


@pytest.mark.parametrize(
    "redirect",
    [
        None,
        "",
        REDIRECT + "/",
        REDIRECT + "?x=1",
        REDIRECT + "#x",
        REDIRECT + "/../callback",
        REDIRECT.replace("https:", "http:"),
        REDIRECT.replace("app.example", "APP.example"),
        REDIRECT.replace("callback", "Callback"),
        REDIRECT.replace("app.example", "app.example:443"),
        REDIRECT.replace("app.example", "app.example.evil.example"),
        REDIRECT.replace("app.example", "app.example@evil.example"),
        "https://evil.example/callback",
        "javascript:alert(1)",
        "https://app.example/other",
        "https://app.example/%63allback",
    ],
)
def test_an_answer_goes_to_a_registered_place_or_nowhere(redirect: str | None) -> None:
    with pytest.raises(Unanswerable):
        asked(redirect_uri=redirect)


@pytest.mark.parametrize(
    ("asked_for", "registered", "same"),
    [
        ("http://127.0.0.1:53412/cb", "http://127.0.0.1/cb", True),
        ("http://127.0.0.1:53412/cb", "http://127.0.0.1:9/cb", True),
        ("http://[::1]:53412/cb", "http://[::1]/cb", True),
        ("http://127.0.0.1:53412/cb/", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:53412/cb?x=1", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:0/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:99999/cb", "http://127.0.0.1/cb", False),
        ("http://localhost:53412/cb", "http://localhost/cb", False),
        ("https://127.0.0.1:53412/cb", "https://127.0.0.1/cb", False),
        ("http://127.0.0.1:80@evil.example/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.2:80/cb", "http://127.0.0.1/cb", False),
        ("org.example.app:/cb", "org.example.app:/cb", True),
    ],
)
def test_only_the_port_of_a_loopback_address_may_differ(
    asked_for: str, registered: str, same: bool
) -> None:
    assert same_place(asked_for, registered) is same


@pytest.mark.parametrize("name", [n for n in GOOD if n not in ("client_id", "redirect_uri")])
def test_a_repeated_parameter_is_refused(name: str) -> None:
    pairs = parsed(urlencode([*GOOD.items(), (name, GOOD[name])]).encode())
    with pytest.raises(Mistaken) as wrong:
        check(pairs, App(), (BASE,))
    assert wrong.value.error == "invalid_request"
    assert wrong.value.state == ("" if name == "state" else "s")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_or_redirect_is_never_redirected(name: str) -> None:
    pairs = parsed(urlencode([*GOOD.items(), (name, GOOD[name])]).encode())
    with pytest.raises(Unanswerable):
        check(pairs, App(client_id=client_of(pairs)), (BASE,))


def test_an_app_without_the_grant_is_told_so() -> None:
    with pytest.raises(Mistaken) as wrong:
        asked(App(grants=("client_credentials",)))
    assert wrong.value.error == "unauthorized_client"


def test_client_js_may_ask_for_launch_without_a_handle() -> None:
    assert asked(scope="launch openid launch/patient").scope == ("openid", "launch/patient")


@pytest.mark.parametrize("encoded", [b"\xff", b"a=%ff", b"&".join([b"a=1"] * 65)])
def test_what_is_no_query_is_refused(encoded: bytes) -> None:
    with pytest.raises(Unanswerable):
        parsed(encoded)


@given(st.text(min_size=1), st.sampled_from([REDIRECT, REDIRECT + "?a=b", REDIRECT + "?"]))
def test_the_answer_adds_to_the_redirect_uri_and_changes_nothing(state: str, uri: str) -> None:
    made = answer_uri(uri, code="c", state=state, iss="https://i.example")
    assert made.startswith(uri)
    told = parse_qsl(urlsplit(made).query, errors="surrogatepass", keep_blank_values=True)
    assert told[-3:] == [("code", "c"), ("state", state), ("iss", "https://i.example")]
    assert "\n" not in made
    assert "#" not in made
