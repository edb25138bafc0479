"""The registered clients: who they are, what proves it, and how far they may ask.

A client is never deleted and its id never given again, so that the audit trail keeps its meaning.
Ending it ends, within a second, every token it holds; changing what it may do, or what proves it,
ends the tokens that were issued before the change (`auth/revocations.py`).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from auth.kinds import Kind
from auth.registration import rules
from auth.registration.rules import Fault
from auth.revocations import Revocations
from chassis.mongo import Doc, Mongo

_NO_SECRET = bytes(32)
# What a token was issued under: a change of one of these ends the tokens from before it.
_UNDER = (
    "kind", "grants", "scope", "organisation", "role", "purposes", "organisations", "secret_digest",
    "jwks", "jwks_uri", "redirect_uris",
)  # fmt: skip
_LISTS = (
    "post_logout_redirect_uris",
    "grants",
    "purposes",
    "organisations",
    "redirect_uris",
    "launch_uris",
    "origins",
    "contacts",
)


@dataclass(frozen=True, slots=True)
class Client:
    """One registered client (SMART App Launch 2.2 registration; RFC 7591 §2).

    `kind` says what proves it: nothing (public), a secret of which only `secret_digest` is kept
    (symmetric), or a key (asymmetric): `jwks` holds its public keys, or `jwks_uri` says where they are
    published. `grants` are RFC 6749's names.

    `scope` is the ceiling of what it may ask for, blanks between the tokens; `purposes` (when any)
    are the only purposes of use it may state. A client that acts for itself (`client_credentials`) has
    an `organisation` and `role`, codes of the affinity pack that every token of it carries; an app of
    people may be limited to `organisations`, the only ones that its users may act for.

    `post_logout_redirect_uris` are where a browser may be sent after signing out (OpenID Connect
    RP-Initiated Logout 1.0 §3). `origins` are web origins beside those of the redirect URIs;
    `web_origins` has both. `owner` is the organisation that answers for the client. A client that
    registered itself did so by `invitation` and manages its record with a token of which
    `registration_digest` is kept (RFC 7592). `generation` counts the changes that ended tokens.
    """

    client_id: str
    name: str
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str = ""
    scope: str = ""
    organisation: str = ""
    role: str = ""
    purposes: tuple[str, ...] = ()
    kind: Kind = "asymmetric"
    grants: tuple[str, ...] = (rules.CREDENTIALS,)
    redirect_uris: tuple[str, ...] = ()
    launch_uris: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    secret_digest: bytes = field(default=b"", repr=False)
    publisher: str = ""
    logo_uri: str = ""
    policy_uri: str = ""
    contacts: tuple[str, ...] = ()
    owner: str = ""
    invitation: str = ""
    registration_digest: bytes = field(default=b"", repr=False)
    created: datetime | None = None
    changed: datetime | None = None
    revoked: datetime | None = None
    generation: int = 0

    @property
    def web_origins(self) -> frozenset[str]:
        """The origins whose pages may call us as this client: its own and those of its redirect URIs."""
        derived = (rules.origin_of(uri) for uri in self.redirect_uris)
        return frozenset(o for o in (*self.origins, *derived) if o)

    def allows(self, grant: str) -> bool:
        """May the client use this grant?"""
        return grant in self.grants

    def proves(self, secret: str) -> bool:
        """Is this the client's secret? Takes as long for a wrong one, and for a client without one."""
        return same_secret(self.secret_digest, secret)


def same_secret(digest: bytes, secret: str) -> bool:
    """Does the secret have this digest? In constant time; never for an empty digest."""
    shown = sha256(secret.encode("utf-8", "surrogatepass")).digest()
    return hmac.compare_digest(digest or _NO_SECRET, shown) and bool(digest)


def new_secret() -> tuple[str, bytes]:
    """A new secret (256 random bits in characters that need no encoding) and the digest to keep."""
    made = secrets.token_urlsafe(32)
    return made, sha256(made.encode()).digest()


class ClientInvalid(ValueError):  # noqa: N818  named for what is wrong with the registration
    """The registration cannot be accepted; the text says why, in words for its operator, and
    `faults` has each fault with its field."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(" ".join(fault.words for fault in faults))
        self.faults = faults


class ClientTaken(ClientInvalid):
    """The client id is or was in use."""


class ClientMoved(RuntimeError):  # noqa: N818  says what happened
    """The client was changed by someone else, ended, or is not there."""


Seal = Callable[[AsyncClientSession, Client | None, Client], Awaitable[None]]
"""What else belongs into the transaction: given the session, the client before and the client after."""


class Clients:
    """The store of clients, in `auth.clients`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._table = mongo.table("auth", "clients")
        self._revocations = Revocations(mongo)

    async def prepare(self) -> None:
        """Make the index that finds clients by the origin of their pages; kept when it exists."""
        await self._table.ensure(
            IndexModel([("web_origins", 1)], name="web_origins", sparse=True),
        )

    async def add(self, client: Client, seal: Seal | None = None) -> Client:
        """Register a client, and hand it back as it is kept. Raises `ClientInvalid` when the record
        is not usable and `ClientTaken` when the id is taken, also by a revoked client."""
        faults = rules.check(client)
        if faults:
            raise ClientInvalid(*faults)
        made = replace(client, created=client.created or _now())

        async def story(session: AsyncClientSession) -> None:
            await self._table.insert(_document(made), session)
            if seal is not None:
                await seal(session, None, made)

        try:
            if seal is None:
                await self._table.insert(_document(made))
            else:
                await self._mongo.transaction(story)
        except DuplicateKeyError:
            words = f"The client id {client.client_id} is taken; ids of revoked clients stay taken."
            raise ClientTaken(Fault("client_id", words)) from None
        return made

    async def all(self) -> list[Client]:
        """Every client, revoked ones included, by id."""
        return [_client(row) for row in await self._table.many({}, sort=[("_id", 1)])]

    async def get(self, client_id: str) -> Client | None:
        """The client of this id, or None."""
        row = await self._table.one({"_id": client_id})
        return _client(row) if row else None

    async def is_origin(self, origin: str) -> bool:
        """Is this the web origin of any client that is not revoked? (A preflight names no client.)"""
        where = {"web_origins": origin, "revoked": None}
        return await self._table.one(where, {"_id": 1}) is not None

    async def change(
        self, client_id: str, alter: Callable[[Client], Client], seal: Seal | None = None
    ) -> Client:
        """Change a client as `alter` says, in one transaction, and end the tokens it got under the
        registration before, when what they stand on has changed. Returns the client as it is now.

        `alter` may be asked more than once; what it raises passes through. Raises `ClientInvalid`,
        and `ClientMoved` when there is no such client or it is revoked.
        """

        async def story(session: AsyncClientSession) -> Client:
            row = await self._table.one({"_id": client_id, "revoked": None}, session=session)
            if row is None:
                raise ClientMoved(f"There is no client {client_id} that could be changed.")
            before = _client(row)
            after = replace(
                alter(before), client_id=client_id, created=before.created, revoked=None,
                generation=before.generation, changed=before.changed,
            )  # fmt: skip
            faults = rules.check(after)
            if faults:
                raise ClientInvalid(*faults)
            if after == before:
                return before
            ended = any(getattr(before, name) != getattr(after, name) for name in _UNDER)
            after = replace(after, changed=_now(), generation=before.generation + ended)
            if ended:
                await self._revocations.end_before(client_id, after.generation, session)
            await self._table.replace({"_id": client_id}, _document(after), session=session)
            if seal is not None:
                await seal(session, before, after)
            return after

        await self._revocations.prepare()  # collections are not made inside a transaction
        return await self._mongo.transaction(story)

    async def revoke(
        self,
        client_id: str,
        agree: Callable[[Client], None] | None = None,
        seal: Seal | None = None,
    ) -> bool:
        """End a client and all its tokens, in one transaction; False when there is none to end.
        What `agree` raises on seeing the client passes through, and it lives on."""

        async def story(session: AsyncClientSession) -> bool:
            where = {"_id": client_id, "revoked": None}
            row = await self._table.one(where, session=session)
            if row is None:
                return False
            before = _client(row)
            if agree is not None:
                agree(before)
            after = replace(before, revoked=_now())
            await self._table.update(where, {"$set": {"revoked": after.revoked}}, session=session)
            await self._revocations.end_client(client_id, session)
            if seal is not None:
                await seal(session, before, after)
            return True

        await self._revocations.prepare()  # collections are not made inside a transaction
        return await self._mongo.transaction(story)


def _now() -> datetime:
    """The time as MongoDB keeps it, in milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _document(client: Client) -> Doc:
    made: Doc = {f.name: getattr(client, f.name) for f in fields(client) if f.name != "client_id"}
    made |= {name: list(made[name]) for name in _LISTS}
    made["jwks"] = dict(client.jwks) if client.jwks else None
    return {"_id": client.client_id, **made, "web_origins": sorted(client.web_origins)}


def _client(row: Doc) -> Client:
    # Rows of earlier releases lack the fields that came with sign-in; the defaults are what they were.
    known = {f.name for f in fields(Client)} & row.keys()
    made: dict[str, Any] = {n: tuple(row[n]) if n in _LISTS else row[n] for n in known}
    return Client(client_id=row["_id"], **made)
