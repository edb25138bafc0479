"""The registered backend clients: who they are, which keys prove it, and how far they may ask.

A client is never deleted and its id never given again, so that the audit trail keeps its meaning;
revoking it ends it and, within a second, every token it holds (`auth/revocations.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import urlsafe_b64decode
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from auth.revocations import Revocations
from chassis.mongo import Doc, Mongo
from governance import scopes

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class Client:
    """One registered client. `jwks` holds its public keys, or `jwks_uri` says where they are published.

    `scope` is the ceiling of what it may ask for, blanks between the tokens; `purposes` (when any)
    are the only purposes of use it may state; `organisation` and `role` are codes of the affinity
    pack that every token of the client carries.
    """

    client_id: str
    name: str
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str = ""
    scope: str = ""
    organisation: str = ""
    role: str = ""
    purposes: tuple[str, ...] = ()
    created: datetime | None = None
    revoked: datetime | None = None


class ClientInvalid(ValueError):  # noqa: N818  named for what is wrong with the registration
    """The registration cannot be accepted; the text says why, in words for its operator."""


class ClientTaken(ClientInvalid):
    """The client id is or was in use."""


class Clients:
    """The store of clients, in `auth.clients`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._table = mongo.table("auth", "clients")
        self._revocations = Revocations(mongo)

    async def add(self, client: Client) -> None:
        """Register a client. Raises `ClientInvalid` when the record is not usable and `ClientTaken`
        when the id is taken, also by a revoked client."""
        faults = check(client)
        if faults:
            raise ClientInvalid(" ".join(faults))
        made = replace(client, created=client.created or datetime.now(UTC))
        try:
            await self._table.insert(_document(made))
        except DuplicateKeyError:
            raise ClientTaken(
                f"The client id {client.client_id} is taken; ids of revoked clients stay taken."
            ) from None

    async def all(self) -> list[Client]:
        """Every client, revoked ones included, by id."""
        return [_client(row) for row in await self._table.many({}, sort=[("_id", 1)])]

    async def get(self, client_id: str) -> Client | None:
        """The client of this id, or None."""
        row = await self._table.one({"_id": client_id})
        return _client(row) if row else None

    async def revoke(self, client_id: str) -> bool:
        """End a client and all its tokens, in one transaction; False when there is none to end."""

        async def story(session: AsyncClientSession) -> bool:
            now = datetime.now(UTC)
            ended = await self._table.update(
                {"_id": client_id, "revoked": None}, {"$set": {"revoked": now}}, session=session
            )
            if ended:
                await self._revocations.end_client(client_id, session)
            return bool(ended)

        await self._revocations.prepare()  # collections are not made inside a transaction
        return await self._mongo.transaction(story)


def check(client: Client) -> list[str]:
    """Everything that is wrong with a registration, each in a sentence. Pure."""
    faults: list[str] = []
    if not _ID.fullmatch(client.client_id):
        # Characters that need no encoding anywhere, because clients differ in how they encode ids.
        faults.append(
            "A client id is 1 to 128 letters, digits, dots, dashes, underscores or tildes."
        )
    if bool(client.jwks) == bool(client.jwks_uri):
        faults.append("Give the client's public keys either as a JWK Set or as the URL of one.")
    if client.jwks:
        faults += check_jwks(client.jwks)
    if client.jwks_uri and not fetchable(client.jwks_uri):
        faults.append("The JWK Set's URL must be https (http only for this machine).")
    tokens = client.scope.split()
    if not tokens:
        faults.append("The client needs a scope: the most it may ask for.")
    for token in tokens:
        if not _SCOPE_TOKEN.fullmatch(token) or ("/" in token and scopes.parse(token) is None):
            faults.append(f"{token!r} is no scope; write it like system/Patient.rs or ITI-67.")
    return faults


def check_jwks(jwks: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a client's JWK Set (SMART "client-confidential-asymmetric"). Pure."""
    keys = jwks.get("keys")
    if not isinstance(keys, Sequence) or isinstance(keys, str) or not keys:
        return ["The JWK Set has no keys."]
    faults: list[str] = []
    usable = 0
    for place, jwk in enumerate(keys, 1):
        if not isinstance(jwk, Mapping):
            faults.append(f"Key {place} of the JWK Set is no JSON object.")
        elif _PRIVATE & jwk.keys():
            faults.append(f"Key {place} of the JWK Set is private; send the public part only.")
        elif not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
            faults.append(f"Key {place} of the JWK Set has no kid.")
        elif algorithm(jwk) and public_key(jwk) is not None:
            usable += 1
    if not usable and not faults:
        faults.append(
            "The JWK Set has no RSA key of 2048 bits or more and no P-384 key to sign with."
        )
    return faults


def algorithm(jwk: Mapping[str, Any]) -> str:
    """The assertion algorithm a key serves: RS384, ES384, or "" for neither."""
    fits = {"RSA": "RS384", "EC": "ES384"}.get(str(jwk.get("kty")), "")
    if fits == "ES384" and jwk.get("crv") != "P-384":
        return ""
    return fits if jwk.get("use", "sig") == "sig" and jwk.get("alg", fits) == fits else ""


def public_key(jwk: Mapping[str, Any]) -> RSAKey | ECKey | None:
    """The key a public JWK spells, or None when it spells none that may sign an assertion."""
    try:
        if jwk.get("kty") == "EC":
            return ECKey.import_key({n: jwk[n] for n in ("kty", "crv", "x", "y")})
        # Above 8,192 bits a key only serves to keep this server busy.
        if not 2048 <= _bits(jwk["n"]) <= 8192 or _bits(jwk["e"]) > 32:
            return None
        return RSAKey.import_key({n: jwk[n] for n in ("kty", "n", "e")})
    except (JoseError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _bits(number: str) -> int:
    return int.from_bytes(urlsafe_b64decode(number.encode("ascii"))).bit_length()


def fetchable(url: str) -> bool:
    """May this server ever fetch a JWK Set from here? https, or http on the machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.username or parts.password or parts.fragment:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")
    )


def _document(client: Client) -> Doc:
    return {
        "_id": client.client_id,
        "name": client.name,
        "jwks": dict(client.jwks) if client.jwks else None,
        "jwks_uri": client.jwks_uri,
        "scope": client.scope,
        "organisation": client.organisation,
        "role": client.role,
        "purposes": list(client.purposes),
        "created": client.created,
        "revoked": client.revoked,
    }


def _client(row: Doc) -> Client:
    return Client(
        client_id=row["_id"],
        name=row["name"],
        jwks=row["jwks"],
        jwks_uri=row["jwks_uri"],
        scope=row["scope"],
        organisation=row["organisation"],
        role=row["role"],
        purposes=tuple(row["purposes"]),
        created=row["created"],
        revoked=row["revoked"],
    )
