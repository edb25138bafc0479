"""A client as JSON and back: the metadata of RFC 7591 §2, and the few members of our own. PURE.

Ours are `launch_uris`, `origins`, `publisher`, `owner`, `organisation`, `role`, `purposes` and
`organisations`; what they mean is said at `auth.clients.Client`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any, cast

import orjson

from auth.clients import Client
from auth.kinds import Kind
from auth.registration.rules import CODE, Fault

# How a client proves itself is one word in RFC 7591 and one in SMART.
METHODS: dict[str, Kind] = {
    "none": "public",
    "client_secret_basic": "symmetric",
    "private_key_jwt": "asymmetric",
}
_METHOD_OF = {kind: method for method, kind in METHODS.items()}
_MEMBER_OF = {
    "name": "client_name",
    "grants": "grant_types",
    "kind": "token_endpoint_auth_method",
    "secret_digest": "token_endpoint_auth_method",
}
_FIELD_OF = {"client_name": "name", "grant_types": "grants"}
_TEXTS = (
    "client_name", "scope", "jwks_uri", "logo_uri", "policy_uri", "publisher", "owner",
    "organisation", "role",
)  # fmt: skip
_LISTS = (
    "redirect_uris", "post_logout_redirect_uris", "grant_types", "contacts", "launch_uris",
    "origins", "purposes", "organisations",
)  # fmt: skip
_OTHERS = ("token_endpoint_auth_method", "response_types", "jwks")
# What an answer of ours says and a client sends back unchanged (RFC 7592 §2.2).
_TOLD = (
    "client_id", "client_id_issued_at", "client_secret_expires_at", "status", "client_secret",
)  # fmt: skip
_JWK = (
    "kty",
    "use",
    "key_ops",
    "alg",
    "kid",
    "n",
    "e",
    "crv",
    "x",
    "y",
    "d",
    "p",
    "q",
    "dp",
    "dq",
    "qi",
    "oth",
    "k",
)  # fmt: skip  the private ones stay, so that they are seen and refused


def member_of(field: str) -> str:
    """The member of the metadata that a field of `Client` is written as."""
    return _MEMBER_OF.get(field, field)


def written(client: Client) -> dict[str, Any]:
    """The metadata of a client. Members without a value are left out; no secret is among them."""
    made: dict[str, Any] = {
        "client_id": client.client_id,
        "client_name": client.name,
        "token_endpoint_auth_method": _METHOD_OF[client.kind],
        "grant_types": list(client.grants),
        "response_types": ["code"] if client.allows(CODE) else [],
        "status": "revoked" if client.revoked else "active",
    }
    if client.created is not None:
        made["client_id_issued_at"] = int(client.created.timestamp())
    if client.jwks:
        made["jwks"] = dict(client.jwks)
    if client.kind == "symmetric":
        made["client_secret_expires_at"] = 0
    for member in (*_TEXTS, *_LISTS):
        value = getattr(client, _FIELD_OF.get(member, member))
        if value:
            made[member] = list(value) if isinstance(value, tuple) else value
    return made


def etag(client: Client) -> str:
    """The entity tag of a client: another for every change, also one that ends tokens only."""
    changed = client.changed.timestamp() if isinstance(client.changed, datetime) else 0
    said = [written(client), client.generation, changed]
    digest = sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f'"{digest[:24]}"'


def read(
    body: Mapping[str, Any], client: Client, *, strange: bool = False
) -> tuple[Client, list[Fault]]:
    """The client with the metadata of `body` instead of its own, and everything that cannot be read.

    A member that is absent or null takes RFC 7591's default. Members that nobody knows are faults,
    unless `strange` says that they are ignored (RFC 7591 §2).
    """
    said = {name: value for name, value in body.items() if value is not None}
    faults = [
        Fault(name, f"{name} is not a member that is known here.")
        for name in said
        if not strange and name not in (*_TEXTS, *_LISTS, *_OTHERS, *_TOLD)
    ]
    texts = {name: _text(said, name, faults) for name in _TEXTS}
    lists = {name: _list(said, name, faults) for name in _LISTS}
    if "grant_types" not in said:
        lists["grant_types"] = (CODE,)
    method = _text(said, "token_endpoint_auth_method", faults) or "client_secret_basic"
    if method not in METHODS:
        words = f"token_endpoint_auth_method is one of {', '.join(METHODS)}."
        faults.append(Fault("token_endpoint_auth_method", words))
    _check_response_types(said, lists["grant_types"], faults)
    fields: dict[str, Any] = {_FIELD_OF.get(n, n): v for n, v in (texts | lists).items()}
    kind = METHODS.get(method, "public")
    made = replace(client, kind=kind, jwks=_jwks(said.get("jwks"), faults), **fields)
    if kind != "symmetric":
        made = replace(made, secret_digest=b"")
    return made, faults


def _text(said: Mapping[str, Any], name: str, faults: list[Fault]) -> str:
    value = said.get(name, "")
    if isinstance(value, str):
        return value
    faults.append(Fault(name, f"{name} is a string."))
    return ""


def _list(said: Mapping[str, Any], name: str, faults: list[Fault]) -> tuple[str, ...]:
    value = said.get(name, [])
    if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
        return tuple(cast("list[str]", value))
    faults.append(Fault(name, f"{name} is an array of strings."))
    return ()


def _check_response_types(
    said: Mapping[str, Any], grants: tuple[str, ...], faults: list[Fault]
) -> None:
    fits = ("code",) if CODE in grants else ()
    if "response_types" in said and _list(said, "response_types", faults) != fits:
        words = f"response_types must be {list(fits)} with these grant_types (RFC 7591 §2.1)."
        faults.append(Fault("response_types", words))


def _jwks(value: object, faults: list[Fault]) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        faults.append(Fault("jwks", 'jwks is a JWK Set: {"keys": […]}.'))
        return None
    return {"keys": [_jwk(one) for one in value["keys"]]}


def _jwk(value: object) -> object:
    # Only what a key is made of is kept: the rest of a foreign document has no business here.
    if not isinstance(value, dict):
        return {}
    return {name: value[name] for name in _JWK if name in value and _plain(value[name])}


def _plain(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(one, str) for one in value)
    )
