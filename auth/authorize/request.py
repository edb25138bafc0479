"""An authorization request, checked (SMART App Launch 2.2; security digest 1.6, 1.21, 7.1). PURE.

Until client and redirect URI are known to belong together nothing is sent anywhere: the browser gets a
page (`Unanswerable`). From then on every mistake goes back to the app as an error (`Mistaken`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from auth.authorize.scope import OFFLINE, ONLINE, needs_patient, negotiated

_CHALLENGE = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( +[\x21\x23-\x5B\x5D-\x7E]+)*")
_PRINTABLE = re.compile(r"[\x20-\x7E]*")  # RFC 6749 Appendix A.5: what a state may consist of
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_LONGEST = {"state": 4096, "nonce": 1024, "scope": 4096, "launch": 512, "login_hint": 256}
_PARAMETERS = 64
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?(/[^\s#]*)?")


class App(Protocol):
    """What must be known of a client to judge its request; `auth.client.Client` has it."""

    @property
    def client_id(self) -> str:
        """Its id."""
        ...

    @property
    def redirect_uris(self) -> Sequence[str]:
        """Where its answers may go."""
        ...

    @property
    def scope(self) -> str:
        """The most it may ask for."""
        ...

    @property
    def grants(self) -> Sequence[str]:
        """The grants it may use."""
        ...


class Unanswerable(ValueError):  # noqa: N818  says what is the matter with the request
    """Nobody can be told but the person at the browser; the text says what is wrong."""


class Mistaken(Exception):  # noqa: N818  named for the request that it answers
    """A mistake that the app is told: RFC 6749 §4.1.2.1 and OpenID Connect §3.1.2.6."""

    def __init__(self, error: str, words: str, redirect_uri: str, state: str = "") -> None:
        super().__init__(error, words)
        self.error, self.words, self.redirect_uri, self.state = error, words, redirect_uri, state


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in which everything is right. `scope` is what may be granted of what was asked;
    `max_age` is None when the app did not say."""

    client_id: str
    redirect_uri: str
    state: str
    scope: tuple[str, ...]
    challenge: str
    nonce: str = ""
    launch: str = ""
    prompt: frozenset[str] = frozenset()
    max_age: int | None = None
    login_hint: str = ""

    @property
    def wants_patient(self) -> bool:
        """Must one patient be in view?"""
        return needs_patient(self.scope)


Pairs = Sequence[tuple[str, str]]


def parsed(encoded: bytes) -> Pairs:
    """The parameters of a query or a form, empty ones left out (RFC 6749 §3.1). Raises `Unanswerable`
    for what is no form at all."""
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=_PARAMETERS,
        )  # fmt: skip
    except ValueError:  # UnicodeDecodeError is one
        raise Unanswerable("The request's parameters cannot be read.") from None
    return [(name, value) for name, value in pairs if value]


def client_of(pairs: Pairs) -> str:
    """The one client that asks. Raises `Unanswerable`."""
    found = [value for name, value in pairs if name == "client_id"]
    if len(found) != 1:
        raise Unanswerable("The request does not say which app it comes from.")
    return found[0]


def check(pairs: Pairs, client: App, bases: Collection[str]) -> Asked:
    """The request of this client, if all is right with it. `bases` are the FHIR bases that are served.
    Raises `Unanswerable` or `Mistaken`."""
    redirect = _redirect(pairs, client)
    states = [value for name, value in pairs if name == "state"]
    state = states[0] if len(states) == 1 and _fits("state", states[0]) else ""

    def mistaken(error: str, words: str) -> Mistaken:
        return Mistaken(error, words, redirect, state)

    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise mistaken("invalid_request", "A parameter is given more than once.")
    given = dict(pairs)
    for name, longest in _LONGEST.items():
        if len(given.get(name, "")) > longest:
            raise mistaken("invalid_request", f"{name} is too long.")
    if "request" in given:
        raise mistaken("request_not_supported", "Request objects are not taken here.")
    if "request_uri" in given:
        raise mistaken("request_uri_not_supported", "request_uri is not taken here.")
    if "registration" in given:
        raise mistaken("registration_not_supported", "registration is not taken here.")
    kind = given.get("response_type")
    if kind is None:
        raise mistaken("invalid_request", "response_type is missing; it must be code.")
    if kind != "code":
        raise mistaken("unsupported_response_type", "response_type must be code.")
    if "authorization_code" not in client.grants:
        raise mistaken("unauthorized_client", "This app is not registered to sign people in.")
    if given.get("response_mode", "query") != "query":
        raise mistaken("invalid_request", "response_mode must be query.")
    if not state:
        raise mistaken("invalid_request", "state is missing, or it is not printable ASCII.")
    _check_target(given, bases, mistaken)
    _check_challenge(given, mistaken)
    prompt = _prompt(given.get("prompt", ""), mistaken)
    age = _age(given.get("max_age", ""), mistaken)
    return Asked(
        client_id=client.client_id,
        redirect_uri=redirect,
        state=state,
        scope=_scope(given, client, mistaken),
        challenge=given["code_challenge"],
        nonce=given.get("nonce", ""),
        launch=given.get("launch", ""),
        prompt=prompt,
        max_age=age,
        login_hint=given.get("login_hint", ""),
    )


class _Told(Protocol):
    def __call__(self, error: str, words: str) -> Mistaken: ...


def _redirect(pairs: Pairs, client: App) -> str:
    asked = [value for name, value in pairs if name == "redirect_uri"]
    if len(asked) != 1:
        raise Unanswerable("The request does not say, once, where its answer should go.")
    if not any(same_place(asked[0], registered) for registered in client.redirect_uris):
        raise Unanswerable(
            "The place where the answer should go is not one that this app registered."
        )
    return asked[0]


def same_place(asked: str, registered: str) -> bool:
    """Is this the registered redirect URI? Character by character; only the port of a loopback address
    may differ, because a native app takes the one that is free (RFC 8252 §7.3, RFC 9700 §2.1)."""
    if asked == registered:
        return True
    here, there = _LOOPBACK.fullmatch(asked), _LOOPBACK.fullmatch(registered)
    if here is None or there is None or here.groups() != there.groups():
        return False
    try:
        return urlsplit(asked).port != 0
    except ValueError:  # a port above 65535
        return False


def _check_target(given: dict[str, str], bases: Collection[str], mistaken: _Told) -> None:
    aud, resource = given.get("aud"), given.get("resource")
    if aud is None and resource is None:
        raise mistaken("invalid_request", "aud is missing; it is the FHIR base that the app wants.")
    # One slash at the end is forgiven: clients write the base as it was typed (digest 8.1).
    if aud is not None and aud.removesuffix("/") not in bases:
        raise mistaken("invalid_request", "aud is not the FHIR base of this server.")
    if resource is not None and resource.removesuffix("/") not in bases:
        raise mistaken("invalid_target", "resource is not the FHIR base of this server.")
    if aud and resource and aud.removesuffix("/") != resource.removesuffix("/"):
        raise mistaken("invalid_request", "aud and resource name different servers.")


def _check_challenge(given: dict[str, str], mistaken: _Told) -> None:
    if "code_challenge" not in given:
        raise mistaken("invalid_request", "code_challenge is missing: PKCE is needed.")
    if given.get("code_challenge_method") != "S256":
        raise mistaken("invalid_request", "code_challenge_method must be S256.")
    if not _CHALLENGE.fullmatch(given["code_challenge"]):
        raise mistaken("invalid_request", "code_challenge is not one of S256.")


def _prompt(said: str, mistaken: _Told) -> frozenset[str]:
    words = frozenset(said.split())
    if words - _PROMPTS:
        raise mistaken("invalid_request", "prompt is none, login, consent or select_account.")
    if "none" in words and len(words) > 1:
        raise mistaken("invalid_request", "prompt none goes with no other.")
    return words


def _age(said: str, mistaken: _Told) -> int | None:
    if not said:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= 9):
        raise mistaken("invalid_request", "max_age is a number of seconds.")
    return int(said)


def _scope(given: dict[str, str], client: App, mistaken: _Told) -> tuple[str, ...]:
    asked = given.get("scope", "").strip(" ")
    if not asked or not _SCOPE.fullmatch(asked):
        raise mistaken("invalid_scope", "scope is missing or cannot be read.")
    tokens = negotiated(asked.split(), client.scope.split())
    if "launch" in tokens and "launch" not in given:
        # client-js adds `launch` to standalone requests as well: without a handle it means nothing.
        tokens = tuple(t for t in tokens if t != "launch")
    if not any(t not in ("launch", OFFLINE, ONLINE) for t in tokens):
        raise mistaken("invalid_scope", "Nothing of the scope can be granted to this app.")
    if "launch" in given and "launch" not in tokens:
        raise mistaken("invalid_request", "launch was sent, but the scope launch was not.")
    return tokens


def _fits(name: str, value: str) -> bool:
    return len(value) <= _LONGEST[name] and bool(_PRINTABLE.fullmatch(value))


def answer_uri(redirect_uri: str, **parameters: str) -> str:
    """The redirect URI with these parameters added to its query; what it had stays as it is."""
    told = urlencode({k: v for k, v in parameters.items() if v})
    if "?" not in redirect_uri:
        return f"{redirect_uri}?{told}"
    return f"{redirect_uri}{'' if redirect_uri.endswith(('?', '&')) else '&'}{told}"
