"""A provider at the other end of the wire: it answers in the bytes of `recorded/`, signed by its own key,
and is spoilt on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from lxml import html

from auth.upstream.id_token import half_hash
from tests.auth.authority import ORIGIN, b64, sign
from tests.auth.people.browsers import Browser

RECORDED = Path(__file__).parent / "recorded"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def recorded(name: str, file: str) -> dict[str, Any]:
    return dict(json.loads((RECORDED / name / f"{file}.json").read_text()))


@dataclass
class Elsewhere:
    """One provider. `spoil` are claims put over those recorded (None takes one away); `header`, `key`
    and the others change how it answers."""

    name: str
    alg: str
    key: RSAKey | ECKey
    subject: str = field(default_factory=lambda: str(secrets.randbelow(10**12)).zfill(12))
    spoil: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    sign_with: Any = None
    published: list[Any] | None = None
    forms: list[dict[str, str]] = field(default_factory=list)
    heads: list[Mapping[str, str]] = field(default_factory=list)
    challenge: str = ""
    nonce: str = ""
    access: str = ""

    @property
    def discovery(self) -> dict[str, Any]:
        return over(recorded(self.name, "openid-configuration"), self.metadata)

    @property
    def issuer(self) -> str:
        return str(recorded(self.name, "openid-configuration")["issuer"])

    def jwks(self) -> dict[str, Any]:
        keys = self.published if self.published is not None else [self.key]
        return {"keys": [k if isinstance(k, dict) else k.as_dict(private=False) for k in keys]}

    def serve(self, router: Any) -> None:
        """Answer at the places that the recorded discovery document names."""
        said = recorded(self.name, "openid-configuration")
        where = self.issuer.replace(":443/", "/") + "/.well-known/openid-configuration"
        router.get(where).mock(side_effect=lambda _: httpx.Response(200, json=self.discovery))
        router.get(said["jwks_uri"]).mock(
            side_effect=lambda _: httpx.Response(200, json=self.jwks())
        )
        router.post(said["token_endpoint"]).mock(side_effect=self._token)
        router.get(said["userinfo_endpoint"]).mock(side_effect=self._userinfo)

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        self.forms.append(form)
        self.heads.append(dict(request.headers))
        if self.challenge:
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.challenge
        self.access = secrets.token_urlsafe(24)
        said = recorded(self.name, "token") | {
            "access_token": self.access,
            "id_token": self.id_token(),
        }
        return httpx.Response(200, json=over(said, self.token))

    def _userinfo(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {self.access}"
        said = recorded(self.name, "userinfo") | {"sub": self.subject}
        return httpx.Response(200, json=over(said, self.userinfo))

    def id_token(self) -> str:
        said = {k: self._filled(v) for k, v in recorded(self.name, "id_token").items()}
        said["sub"] = self.subject
        return self.signed(over(said, self.spoil), self.header)

    def signed(self, claims: Mapping[str, Any], header: Mapping[str, Any]) -> str:
        head = over({"alg": self.alg, "kid": self.key.kid, "typ": "JWT"}, header)
        return sign(head, dict(claims), self.sign_with or self.key)

    def logout_token(self, **changes: Any) -> str:
        now = int(time.time())
        said = {
            "iss": self.issuer, "aud": recorded(self.name, "id_token")["aud"], "iat": now,
            "exp": now + 120, "jti": secrets.token_hex(8), "events": {LOGOUT_EVENT: {}},
            "sub": self.subject,
        }  # fmt: skip
        return self.signed(over(said, changes), self.header | {"typ": "logout+jwt"})

    def _filled(self, value: Any) -> Any:
        if value == "@nonce":
            return self.nonce
        if value == "@at_hash":
            return half_hash(self.access, self.alg)
        found = re.fullmatch(r"@now([+-]\d+)?", value) if isinstance(value, str) else None
        return int(time.time()) + int(found[1] or 0) if found else value


def over(said: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**said, **changes}.items() if v is not None}


async def go(browser: Browser, there: Elsewhere, continuing: str = "") -> dict[str, str]:
    """Press the button; what our server asks of the provider."""
    query = f"?continue={continuing}" if continuing else ""
    answer = await browser.open(f"/auth/upstream/{there.name}/start{query}")
    assert answer.status_code == 200, browser.text
    answer = await browser.send()
    assert answer.status_code == 200, browser.text
    (where,) = html.fromstring(answer.content).xpath("//main//a/@href")
    assert (
        f"url={where}"
        in html.fromstring(answer.content).xpath("//meta[@http-equiv='refresh']/@content")[0]
    )
    parts = urlsplit(where)
    assert where.startswith(there.discovery["authorization_endpoint"] + "?")
    asked = dict(parse_qsl(parts.query))
    there.nonce, there.challenge = asked["nonce"], asked.get("code_challenge", "")
    return asked


async def back(
    browser: Browser, there: Elsewhere, asked: Mapping[str, str], **changes: str | None
) -> httpx.Response:
    """Come back as the provider would send the browser."""
    said: dict[str, Any] = {"code": secrets.token_urlsafe(16), "state": asked["state"]}
    if there.discovery.get("authorization_response_iss_parameter_supported"):
        said["iss"] = there.issuer
    url = httpx.URL(asked["redirect_uri"], params=over(said, changes))
    return await browser.open(str(url).removeprefix(ORIGIN))


def assertion_of(form: Mapping[str, str], key: RSAKey, alg: str) -> tuple[Any, dict[str, Any]]:
    """Header and claims of our proof, verified with the public part of our key."""
    made = jws.deserialize_compact(form["client_assertion"].encode(), key, algorithms=[alg])
    return made.headers(), dict(json.loads(made.payload))


def forged(there: Elsewhere) -> dict[str, Callable[[], None]]:
    """The ways in which an id_token may be spoilt, by what is wrong with it."""

    def claim(**changes: Any) -> Callable[[], None]:
        return lambda: there.spoil.update(changes)

    def header(**changes: Any) -> Callable[[], None]:
        return lambda: there.header.update(changes)

    def other_key() -> None:
        same = {"kid": there.key.kid}
        there.sign_with = (
            ECKey.generate_key("P-256", same)
            if there.alg == "ES256"
            else RSAKey.generate_key(2048, same)
        )

    def other_alg() -> None:
        there.header["alg"] = "PS256"
        there.sign_with = RSAKey.generate_key(2048, {"kid": there.key.kid})
        there.published = [there.sign_with]

    def hmac_with_public_key() -> None:
        there.header["alg"] = "HS256"
        there.sign_with = OctKey.import_key(json.dumps(there.jwks()["keys"][0]).encode())

    now = int(time.time())
    return {
        "iss": claim(iss="https://elsewhere.example"),
        "iss with a path": claim(iss=there.issuer + "/x"),
        "no iss": claim(iss=None),
        "aud": claim(aud="somebody-else"),
        "aud of several": claim(aud=[recorded(there.name, "id_token")["aud"], "somebody-else"]),
        "no aud": claim(aud=None),
        "azp": claim(azp="somebody-else"),
        "nonce": claim(nonce=secrets.token_urlsafe(32)),
        "no nonce": claim(nonce=None),
        "expired": claim(exp=now - 120),
        "no exp": claim(exp=None),
        "exp no number": claim(exp="tomorrow"),
        "iat of tomorrow": claim(iat=now + 3600),
        "iat of an hour ago": claim(iat=now - 3600),
        "no iat": claim(iat=None),
        "nbf of tomorrow": claim(nbf=now + 3600),
        "at_hash": claim(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
        "no sub": claim(sub=None),
        "sub no string": claim(sub=5),
        "sub too long": claim(sub="x" * 256),
        "alg none": header(alg="none"),
        "alg that is not agreed": other_alg,
        "HS256 with the public key": hmac_with_public_key,
        "kid of nobody": header(kid="of-nobody"),
        "jku": header(jku="https://evil.example/jwks"),
        "jwk": header(jwk=there.jwks()["keys"][0]),
        "typ of an access token": header(typ="at+jwt"),
        "typ of a logout token": header(typ="logout+jwt"),
        "other key": other_key,
        "payload changed": lambda: there.token.update(id_token=f"{b64(b'{}')}.{b64(b'{}')}.AAAA"),
        "no id_token": lambda: there.token.update(id_token=None),
        "userinfo of somebody else": lambda: there.userinfo.update(sub="somebody-else"),
    }
