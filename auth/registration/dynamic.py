"""Dynamic registration: a client registers itself by an invitation (RFC 7591) and then reads, changes and
ends its own record with a token of its own (RFC 7592).

It stays within the limits of its invitation, also when it changes later. What it may not say about
itself (id, role, organisation) comes from here or from the invitation.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from starlette.routing import BaseRoute

from auth.authority import Authority
from auth.client import Client, new_secret, same_secret
from auth.clients import ClientMoved
from auth.jwks import may_publish
from auth.registration import rules
from auth.registration.agreed import Agreed
from auth.registration.door import Declined, Errand, Reply, json_route, unusable
from auth.registration.invitations import Invitation, Invitations, Limits, digest, within
from auth.registration.metadata import etag, read, written
from auth.registration.rules import Fault
from chassis.caller import challenge
from chassis.destinations import Allowed
from standards import registration as rows

# RFC 7592 §2.2: these belong to the server and must not be in an update.
_OURS = (
    "registration_access_token", "registration_client_uri", "client_secret_expires_at",
    "client_id_issued_at",
)  # fmt: skip
_NOT_THEIRS = ("role", "organisation", "owner")


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The stories of RFC 7591 and RFC 7592."""

    authority: Authority
    invitations: Invitations
    agreed: Agreed
    places: Allowed

    def routes(self) -> tuple[BaseRoute, ...]:
        """The registration endpoint and the client configuration endpoint."""
        own = (
            (rows.READ_REGISTRATION, self.read),
            (rows.CHANGE_REGISTRATION, self.change),
            (rows.END_REGISTRATION, self.end),
        )
        one = ((rows.REGISTER_CLIENT, self.register),)
        return (
            json_route(rows.REGISTER, one, self._invited, self.authority),
            json_route(rows.REGISTER + "/{id}", own, self._own, self.authority),
        )

    async def register(self, errand: Errand) -> Reply:
        """A new client. The invitation is used up only when the client comes to be."""
        invitation = await self._invitation(errand)
        token = "tr_" + secrets.token_urlsafe(32)
        asked = Client(
            f"app-{secrets.token_hex(12)}", "", invitation=invitation.id,
            registration_digest=digest(token),
        )  # fmt: skip
        client, secret = self._accepted(errand, asked, invitation.limits)

        async def seal(session: AsyncClientSession, before: Client | None, after: Client) -> None:
            if not await self.invitations.use(invitation.id, session):
                raise _uninvited()
            errand.told["invitation"] = invitation.id
            await errand.seal(session, before, after)

        made = await self.authority.clients.add(client, seal)
        return self._reply(made, 201, secret, {"registration_access_token": token})

    async def read(self, errand: Errand) -> Reply:
        """The client's own record."""
        return self._reply(await self._client(errand), 200)

    async def change(self, errand: Errand) -> Reply:
        """The record with the members of the body instead of its own (all of them, RFC 7592 §2.2)."""
        invitation = await self.invitations.get((await self._client(errand)).invitation)
        if invitation is None:
            raise _unknown()
        shown: list[str] = []

        def alter(before: Client) -> Client:
            if errand.if_match and errand.if_match != etag(before):
                words = "The registration was changed since; read it again."
                raise Declined(412, "invalid_request", Fault("", words))
            faults = [
                Fault(n, f"{n} is not the client's to say.") for n in _OURS if n in errand.body
            ]
            if errand.body.get("client_id") != before.client_id:
                faults.append(Fault("client_id", "client_id must be that of the client."))
            given = errand.body.get("client_secret")
            if given is not None and not before.proves(str(given)):
                faults.append(Fault("client_secret", "client_secret is not that of the client."))
            after, secret = self._accepted(errand, before, invitation.limits, faults)
            shown[:] = [secret] if secret else []
            return after

        try:
            changed = await self.authority.clients.change(errand.id, alter, errand.seal)
        except ClientMoved:
            raise _unknown() from None
        return self._reply(changed, 200, "".join(shown))

    async def end(self, errand: Errand) -> Reply:
        """The client is over, and this token with it."""
        await self.authority.clients.revoke(errand.id, seal=errand.seal)
        return Reply(204)

    async def _invited(self, errand: Errand) -> None:
        invitation = await self._invitation(errand)
        errand.told["invitation"] = invitation.id

    async def _invitation(self, errand: Errand) -> Invitation:
        found = await self.invitations.of(errand.bearer) if errand.bearer else None
        if found is None:
            raise _uninvited()
        return found

    async def _own(self, errand: Errand) -> None:
        await self._client(errand)

    async def _client(self, errand: Errand) -> Client:
        found = await self.authority.clients.get(errand.id)
        kept = found.registration_digest if found is not None else b""
        proved = same_secret(kept, errand.bearer)
        if found is None or not proved or found.revoked is not None:
            raise _unknown()
        return found

    def _accepted(
        self, errand: Errand, asked: Client, limits: Limits, faults: list[Fault] | None = None
    ) -> tuple[Client, str]:
        """The client that comes of the body, and its secret when it got a new one. Raises `Declined`
        with everything that is wrong."""
        body = {k: v for k, v in errand.body.items() if k not in _NOT_THEIRS}
        client, unread = read(body, asked, strange=True)
        secret = ""
        if client.kind == "symmetric" and not client.secret_digest:
            secret, made = new_secret()
            client = replace(client, secret_digest=made)
        client, beyond = within(client, limits)
        found = [*(faults or ()), *unread, *beyond, *rules.check(client)]
        found += self.agreed.faults(client)
        if client.jwks_uri and not may_publish(client.jwks_uri, self.places):
            words = "The operators of this exchange have not allowed keys to be published there."
            found.append(Fault("jwks_uri", words))
        if found:
            raise unusable(list(dict.fromkeys(found)))
        return client, secret

    def _reply(
        self, client: Client, status: int, secret: str = "", more: dict[str, Any] | None = None
    ) -> Reply:
        uri = f"{self.authority.settings.origin}{rows.REGISTER}/{client.client_id}"
        body = written(client) | {"registration_client_uri": uri} | (more or {})
        if secret:
            body["client_secret"] = secret
        return Reply(status, body, {"ETag": etag(client)})


def _uninvited() -> Declined:
    words = "The initial access token is not valid, is used up or has ended."
    return Declined(
        401, "invalid_token", Fault("", words), headers=challenge("invalid_token", words)
    )


def _unknown() -> Declined:
    words = "The registration access token is not that of such a client."
    return Declined(
        401, "invalid_token", Fault("", words), headers=challenge("invalid_token", words)
    )
