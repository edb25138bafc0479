"""The providers that people may sign in with: a JSON file of rows, checked whole, with two presets. PURE
but for `load`, which reads the files that the rows name.

`cis2` is NHS CIS2 Authentication (staff), `nhs_login` is NHS login (citizens); both are filled in from
their published guidance (security digest 7.3 and 7.4) and every member of a row outdoes its preset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from affinity.pack import Pack
from chassis import client_authentication
from chassis.client_authentication import ALGORITHMS, Proof, UnprovenError, proof_of

METHODS = (*client_authentication.METHODS, "none")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ID = re.compile(r"[a-z][a-z0-9_-]{0,31}")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Smartcards, security keys and Windows Hello; roles of the national RBAC database.
    "cis2": {
        "label": "NHS CIS2",
        "issuer": "https://am.nhsidentity.spineservices.nhs.uk/openam/oauth2/realms/root"
                  "/realms/NHSIdentity/realms/Healthcare",
        "scope": "openid profile nhsperson nationalrbacaccess associatedorgs selectedrole",
        "algorithms": ["RS256"],
        "method": "private_key_jwt",
        "acr_values": ["AAL2_OR_AAL3_ANY"],
        "accepted": ["AAL3_ANY", "AAL2_OR_AAL3_ANY", "AAL2_ANY"],
        "strong": ["AAL3_ANY", "AAL2_OR_AAL3_ANY", "AAL2_ANY"],
        "max_age": 900,
        "userinfo": True,
        "roles_claim": "nhsid_nrbac_roles",
        "selected_claim": "selected_roleid",
    },
    # Citizens. No PKCE, no max_age, no acr; vectors of trust instead.
    "nhs_login": {
        "label": "NHS login",
        "issuer": "https://auth.login.nhs.uk",
        "scope": "openid profile",
        "algorithms": ["RS512"],
        "method": "private_key_jwt",
        "key_alg": "RS512",
        "vtr": ["P9.Cp.Cd", "P9.Cp.Ck", "P9.Cm"],
        "strong": ["P9.Cp.Cd", "P9.Cp.Ck", "P9.Cm"],
        "prompt": "login",
        "pkce": False,
        "userinfo": True,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    `method` is how we prove ourselves at its token endpoint: with the key of `key` (a JWK or PEM file)
    or the secret of `secret` (a file). `algorithms` are the only ones its tokens may be signed with.
    `acr_values` and `vtr` are what is asked for; the answer's `acr` must be one of `accepted` and its
    `vot` satisfy a vector of `vtr`. What is in `strong` counts as two factors here.

    `roles` leads from its role codes to those of the pack, `organisations` from its codes where they
    are not the pack's own; `roles_claim`, `selected_claim` and `organisation_claim` say where they
    stand. Without `roles` people choose among what they hold here. `admit` is `linked` (only who was
    linked before) or `mapped` (also who is new and has a role that maps).
    """

    id: str
    issuer: str
    client_id: str
    label: str = ""
    scope: str = "openid profile"
    algorithms: tuple[str, ...] = ("RS256",)
    method: str = "private_key_jwt"
    key: str = ""
    key_id: str = ""
    key_alg: str = "RS256"
    secret: str = ""
    acr_values: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    vtr: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()
    max_age: int = 0
    prompt: str = ""
    pkce: bool = True
    userinfo: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    organisations: Mapping[str, str] = field(default_factory=dict)
    roles_claim: str = ""
    selected_claim: str = ""
    organisation_claim: str = ""
    admit: str = "linked"


class ProvidersInvalid(ValueError):  # noqa: N818  says what is the matter
    """The file of providers cannot be used; the text says everything that is wrong with it."""


def load(file: str, pack: Pack) -> dict[str, tuple[Provider, Proof]]:
    """The providers of the file and what proves us to them, by id; none for an empty name. Raises
    `ProvidersInvalid`."""
    if not file:
        return {}
    path = Path(file)
    try:
        text = path.read_text()
    except OSError as fault:
        raise ProvidersInvalid(f"{file} cannot be read: {fault.strerror}.") from None
    providers, faults = read(text, pack)
    made: dict[str, tuple[Provider, Proof]] = {}
    for provider in providers:
        proof, fault_ = _proof(provider, path.parent)
        if fault_:
            faults.append(f"{provider.id}: {fault_}")
        made[provider.id] = provider, proof
    if faults:
        raise ProvidersInvalid(f"{file}:\n" + "\n".join(faults))
    return made


def read(text: str, pack: Pack) -> tuple[list[Provider], list[str]]:
    """The rows of the file's text, and everything that is wrong with them. PURE."""
    try:
        rows = json.loads(text)
    except ValueError as fault:
        return [], [f"The file is not JSON: {fault}."]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return [], ["The file is a JSON array of objects, one for each provider."]
    found: list[Provider] = []
    faults: list[str] = []
    for place, row in enumerate(rows, 1):
        name = str(row.get("id") or f"provider {place}")
        made, wrong = _row(row)
        if made is not None:
            wrong += _check(made, pack)
            if made.id in {other.id for other in found}:
                wrong.append("its id is given twice.")
            found.append(made)
        faults += [f"{name}: {words}" for words in wrong]
    return found, faults


def _row(row: Mapping[str, Any]) -> tuple[Provider | None, list[str]]:
    preset = row.get("preset", "")
    if preset and preset not in PRESETS:
        return None, [f"there is no preset {preset!r}; there are {', '.join(PRESETS)}."]
    said = {**PRESETS.get(preset, {}), **{k: v for k, v in row.items() if k != "preset"}}
    wrong = []
    given: dict[str, Any] = {}
    known = {f.name: str(f.type) for f in fields(Provider)}
    for name, value in said.items():
        if name not in known:
            wrong.append(f"{name!r} is not a member that is known here.")
        elif not _fits(value, known[name]):
            wrong.append(f"{name} must be {_SHAPES[known[name]]}.")
        else:
            given[name] = tuple(value) if isinstance(value, list) else value
    wrong += [f"{name} is missing." for name in ("id", "issuer", "client_id") if not said.get(name)]
    return (None, wrong) if wrong else (Provider(**given), wrong)


_SHAPES = {
    "str": "a string",
    "int": "a whole number",
    "bool": "true or false",
    "tuple[str, ...]": "an array of strings",
    "Mapping[str, str]": "an object of strings",
}


def _fits(value: object, shape: str) -> bool:
    if shape == "str":
        return isinstance(value, str)
    if shape == "bool":
        return isinstance(value, bool)
    if shape == "int":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    strings: Iterable[object]
    if shape.startswith("tuple"):
        strings = value if isinstance(value, list) else (None,)
    else:
        strings = value.values() if isinstance(value, dict) else (None,)
    return all(isinstance(one, str) for one in strings)


def _check(made: Provider, pack: Pack) -> list[str]:
    rules = (
        (_ID.fullmatch(made.id), "an id is up to 32 small letters, digits, dashes and underscores."),
        (safe(made.issuer), "the issuer must be https (http only for this machine), without a query."),
        ("openid" in made.scope.split(), "the scope must have openid."),
        # Never none, and never a shared secret: whoever knows the secret could sign for anybody.
        (made.algorithms and set(made.algorithms) <= set(ALGORITHMS),
         f"algorithms are some of {', '.join(ALGORITHMS)}."),
        (made.method in METHODS, f"method is one of {', '.join(METHODS)}."),
        (made.key_alg in ALGORITHMS, f"key_alg is one of {', '.join(ALGORITHMS)}."),
        ((made.method == "private_key_jwt") == bool(made.key),
         "key names a file exactly when method is private_key_jwt."),
        (made.method.startswith("client_secret") == bool(made.secret),
         "secret names a file exactly when method has client_secret."),
        (made.method != "none" or made.pkce, "without a secret or a key PKCE is needed."),
        (made.admit in ("linked", "mapped"), "admit is linked or mapped."),
        (made.admit != "mapped" or (made.roles and made.roles_claim),
         "admit mapped needs roles and roles_claim."),
        (not made.roles or made.roles_claim,
         "roles need roles_claim, which says where the provider tells them."),
    )  # fmt: skip
    roles = dict.fromkeys(r for r in made.roles.values() if r not in pack.choices)
    codes = dict.fromkeys(o for o in made.organisations.values() if o not in pack.organisations)
    return [
        *(words for right, words in rules if not right),
        *(f"nobody signs in as {role!r} in the pack {pack.id}." for role in roles),
        *(f"there is no organisation {code!r} in the pack {pack.id}." for code in codes),
    ]


def safe(url: str, *, query: bool = False) -> bool:
    """May this server, or the browser of a person, be sent there by a provider's word? PURE."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = host and "@" not in parts.netloc and not parts.fragment and url.isprintable()
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    return bool(plain) and secure and (query or not parts.query) and " " not in url


def plain_issuer(issuer: str) -> str:
    """An issuer as identities are kept under it: a trailing slash and the default port are left out,
    because NHS login is written with and without the one and CIS2 with and without the other. PURE."""
    if not safe(issuer):
        return ""
    parts = urlsplit(issuer)
    usual = {"https": 443, "http": 80}[parts.scheme]
    shown = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{(parts.hostname or '').lower()}{shown}{parts.path.rstrip('/')}"


def _proof(provider: Provider, folder: Path) -> tuple[Proof, str]:
    name = provider.key or provider.secret
    if not name:
        return Proof(), ""
    try:
        made = proof_of(folder / name, provider.method, kid=provider.key_id, alg=provider.key_alg)
    except UnprovenError as fault:
        return Proof(), str(fault)
    return made, ""
