"""The parts of the authorization server, and how it finds out which client is asking."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError

from auth import assertion as assertions
from auth.accounts import Visit
from auth.assertion import Replays
from auth.clients import Client, Clients
from auth.jwks import ClientKeys
from auth.keys import Keys
from auth.neighbours import Audit
from auth.opaque_tokens import OpaqueTokens
from auth.people.sessions import Sessions
from auth.revocations import Revocations
from chassis.caller import Verifier, printable
from chassis.mongo import Mongo
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
    verifier: Verifier
    audit: Audit
    words: balp.Vocabulary
    purposes: frozenset[str]  # the purposes of use that the community agreed on
    clock: Callable[[], float] = time.time

    @property
    def token_endpoint(self) -> str:
        """The public URL of the token endpoint."""
        return f"{self.settings.issuer}/token"


async def authenticate(visit: Visit, authority: Authority) -> Client:
    """The client that proved itself with an assertion, which is used up by that.

    Raises `InvalidClientError` (401), or `InvalidRequestError` when the request shows two methods.
    """
    compact = _only_assertion(visit)
    assertion = assertions.read(compact)
    visit.claimed = printable(assertion.client_id, 128)
    if visit.value("client_id") not in ("", assertion.client_id):
        assertions.refuse("client_id and the client assertion name different clients.")
    client = await authority.clients.get(assertion.client_id)
    if client is None or client.revoked is not None:
        assertions.refuse("The client is not registered here.")
    key = await authority.client_keys.find(client, assertion)
    jti, exp = assertions.verify(
        assertion,
        key,
        audiences=(authority.token_endpoint, authority.settings.issuer),
        now=authority.clock(),
        skew=authority.settings.clock_skew,
    )
    await authority.replays.use(client.client_id, jti, exp)
    visit.client = client
    return client


def _only_assertion(visit: Visit) -> str:
    compact, kind = visit.value("client_assertion"), visit.value("client_assertion_type")
    other = bool(visit.authorization or visit.value("client_secret"))
    if (compact or kind) and other:
        raise InvalidRequestError("More than one way of client authentication is used.")
    if not compact and not kind:
        raise InvalidClientError(
            description="The client must authenticate with private_key_jwt.", status_code=401
        )
    if not kind or not compact:
        raise InvalidRequestError("client_assertion and client_assertion_type belong together.")
    if kind != JWT_BEARER:
        assertions.refuse("client_assertion_type is not one this server takes.")
    return compact
