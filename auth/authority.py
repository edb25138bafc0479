"""The parts of the authorization server, and how it finds out which client is asking."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError

from affinity.pack import Pack
from auth import assertion as assertions
from auth.accounts import Visit
from auth.assertion import Replays
from auth.authorize.codes import Codes
from auth.authorize.grants import Grants
from auth.authorize.launches import Launches
from auth.authorize.refresh import RefreshTokens
from auth.authorize.waiting import Requests
from auth.clients import Client, Clients, same_secret
from auth.jwks import ClientKeys
from auth.keys import Keys
from auth.kinds import Kind
from auth.neighbours import Audit, Patients
from auth.opaque_tokens import OpaqueTokens
from auth.people.reception import Reception
from auth.people.sessions import Sessions
from auth.revocations import Revocations
from auth.upstream.federation import Federation
from chassis.caller import Verifier, printable
from chassis.mongo import Mongo
from chassis.proof import Proofs
from chassis.settings import Settings
from standards import balp
from standards.iua import JWT_BEARER


@dataclass(frozen=True, slots=True)
class Authority:
    """The authorization server of one process, which is also what neighbours are handed (`near`).

    A neighbour uses `verifier`, or makes its own from `keys`, `revocations.here` and `tokens`.
    """

    settings: Settings
    mongo: Mongo
    clients: Clients
    client_keys: ClientKeys
    replays: Replays
    keys: Keys
    revocations: Revocations
    sessions: Sessions
    tokens: OpaqueTokens
    requests: Requests
    launches: Launches
    codes: Codes
    grants: Grants
    refresh_tokens: RefreshTokens
    proofs: Proofs
    patients: Patients
    pack: Pack
    reception: Reception
    federation: Federation
    verifier: Verifier
    audit: Audit
    words: balp.Vocabulary
    clock: Callable[[], float] = time.time

    @property
    def purposes(self) -> Collection[str]:
        """The purposes of use that the community agreed on."""
        return self.pack.purposes.keys()

    @property
    def token_endpoint(self) -> str:
        """The public URL of the token endpoint."""
        return f"{self.settings.issuer}/token"


async def authenticate(visit: Visit, authority: Authority, *, public: bool = False) -> Client:
    """The client that proved itself: with an assertion, which is used up by that, with its secret in
    HTTP Basic, or, where `public` clients may ask, by nothing but its id.

    Raises `InvalidClientError` (401), or `InvalidRequestError` when the request shows two methods.
    """
    basic = visit.authorization.partition(" ")[0].lower() == "basic"
    shown = bool(visit.value("client_assertion") or visit.value("client_assertion_type"))
    if shown + bool(visit.authorization) + bool(visit.value("client_secret")) > 1:
        raise InvalidRequestError("More than one way of client authentication is used.")
    if shown:
        client = await _by_assertion(visit, authority)
    elif basic:
        client = await _by_secret(visit, authority)
    elif public and visit.value("client_id") and not visit.value("client_secret"):
        client = await _by_name(visit, authority)
    else:
        raise InvalidClientError(
            description="The client must authenticate with private_key_jwt, or with "
            "client_secret_basic where it has a secret.",
            status_code=401,
        )
    visit.client = client
    return client


async def _by_assertion(visit: Visit, authority: Authority) -> Client:
    compact = _assertion(visit)
    assertion = assertions.read(compact)
    visit.claimed = printable(assertion.client_id, 128)
    if visit.value("client_id") not in ("", assertion.client_id):
        assertions.refuse("client_id and the client assertion name different clients.")
    client = await _registered(assertion.client_id, authority, "asymmetric")
    key = await authority.client_keys.find(client, assertion)
    jti, exp = assertions.verify(
        assertion,
        key,
        audiences=(authority.token_endpoint, authority.settings.issuer),
        now=authority.clock(),
        skew=authority.settings.clock_skew,
    )
    await authority.replays.use(client.client_id, jti, exp)
    return client


async def _by_secret(visit: Visit, authority: Authority) -> Client:
    """client_secret_basic. Ids and secrets here consist of characters that need no encoding, so it does
    not matter that clients disagree on whether to encode them (security digest 1.12)."""
    try:
        text = base64.b64decode(
            visit.authorization.partition(" ")[2].strip(), validate=True
        ).decode()
    except ValueError:
        assertions.refuse("The Authorization header cannot be read.")
    client_id, _, secret = text.partition(":")
    visit.claimed = printable(client_id, 128)
    if visit.value("client_id") not in ("", client_id):
        assertions.refuse("client_id and the Authorization header name different clients.")
    client = await authority.clients.get(client_id)
    usable = client is not None and client.revoked is None and client.kind == "symmetric"
    # One comparison and one answer, whether the client is unknown or the secret is wrong.
    digest = client.secret_digest if client is not None and usable else b""
    if not same_secret(digest, secret) or client is None:
        assertions.refuse("There is no such client with this secret.")
    return client


async def _by_name(visit: Visit, authority: Authority) -> Client:
    """A public client only says who it is; its code is bound to a verifier, its refresh token rotates."""
    visit.claimed = printable(visit.value("client_id"), 128)
    return await _registered(visit.value("client_id"), authority, "public")


async def _registered(client_id: str, authority: Authority, kind: Kind) -> Client:
    client = await authority.clients.get(client_id)
    if client is None or client.revoked is not None:
        assertions.refuse("The client is not registered here.")
    if client.kind != kind:
        assertions.refuse("The client is registered to prove itself in another way.")
    return client


def _assertion(visit: Visit) -> str:
    compact, kind = visit.value("client_assertion"), visit.value("client_assertion_type")
    if not kind or not compact:
        raise InvalidRequestError("client_assertion and client_assertion_type belong together.")
    if kind != JWT_BEARER:
        assertions.refuse("client_assertion_type is not one this server takes.")
    return compact
