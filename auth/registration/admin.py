"""The admin API of clients and invitations, for holders of the scope `clients-admin`.

GET, POST /auth/clients          GET, PUT, DELETE /auth/clients/{id}        POST /auth/clients/{id}/secret
GET, POST /auth/invitations      DELETE /auth/invitations/{id}

It cannot make administrators: a client that has, or is to have, one of the scopes that are never lent is
touched by the command line only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from pymongo.asynchronous.client_session import AsyncClientSession
from starlette.routing import BaseRoute

from auth.authority import Authority
from auth.client import Client, new_secret
from auth.clients import ClientInvalid, ClientMoved, ClientTaken
from auth.jwks import may_publish
from auth.registration import invitations, rules
from auth.registration.agreed import Agreed
from auth.registration.door import (
    Declined,
    Errand,
    Reply,
    as_administrator,
    json_route,
    unusable,
)
from auth.registration.invitations import NEVER_LENT, Invitations
from auth.registration.metadata import etag, read, written
from auth.registration.rules import Fault
from chassis.destinations import Allowed
from standards import registration as rows


@dataclass(frozen=True, slots=True)
class Admin:
    """The stories of the admin API."""

    authority: Authority
    invitations: Invitations
    agreed: Agreed
    places: Allowed

    def routes(self) -> tuple[BaseRoute, ...]:
        """The routes of every path."""
        doors = (
            (rows.CLIENTS, ((rows.LIST_CLIENTS, self.listed), (rows.ADD_CLIENT, self.add))),
            (
                rows.CLIENTS + "/{id}",
                (
                    (rows.READ_CLIENT, self.read),
                    (rows.CHANGE_CLIENT, self.change),
                    (rows.END_CLIENT, self.end),
                ),
            ),
            (rows.CLIENTS + "/{id}/secret", ((rows.RENEW_SECRET, self.renew),)),
            (rows.INVITATIONS, ((rows.LIST_INVITATIONS, self.invited), (rows.INVITE, self.invite))),
            (rows.INVITATIONS + "/{id}", ((rows.END_INVITATION, self.end_invitation),)),
        )
        return tuple(
            json_route(path, stories, as_administrator, self.authority) for path, stories in doors
        )

    async def listed(self, _: Errand) -> Reply:
        """Every client, ended ones included."""
        found = await self.authority.clients.all()
        return Reply(200, {"clients": [_shown(client) for client in found]})

    async def add(self, errand: Errand) -> Reply:
        """A new client; its secret, when it has one, is in this answer only."""
        asked = errand.body.get("client_id", "")
        errand.about = asked if isinstance(asked, str) else ""
        client, faults = read(errand.body, Client(errand.about, ""))
        secret = ""
        if client.kind == "symmetric":
            secret, digest = new_secret()
            client = replace(client, secret_digest=digest)
        self._accept(client, faults)
        try:
            made = await self.authority.clients.add(client, errand.seal)
        except ClientTaken as fault:
            raise Declined(409, "invalid_client_metadata", *fault.faults) from None
        where = f"{self.authority.settings.origin}{rows.CLIENTS}/{quote(made.client_id)}"
        return _reply(made, 201, secret, {"Location": where})

    async def read(self, errand: Errand) -> Reply:
        """One client, also one that has ended."""
        return _reply(await self._there(errand))

    async def change(self, errand: Errand) -> Reply:
        """The client with the members of the body instead of its own."""
        if not errand.if_match:
            words = "Send If-Match with the ETag that the change starts from."
            raise Declined(428, "invalid_request", Fault("", words))
        secrets: list[str] = []

        def alter(before: Client) -> Client:
            _check_version(errand, before)
            _check_lent(before)
            if errand.body.get("client_id", before.client_id) != before.client_id:
                words = "The client_id of a client never changes."
                raise unusable([Fault("client_id", words)])
            after, faults = read(errand.body, before)
            secrets.clear()
            if after.kind == "symmetric" and not after.secret_digest:
                secret, digest = new_secret()
                secrets.append(secret)
                after = replace(after, secret_digest=digest)
            self._accept(after, faults)
            return after

        changed = await self._altered(errand, alter)
        return _reply(changed, 200, "".join(secrets))

    async def renew(self, errand: Errand) -> Reply:
        """A new secret; the old one, and the tokens it got, end."""
        secret, digest = new_secret()

        def alter(before: Client) -> Client:
            if errand.if_match:
                _check_version(errand, before)
            _check_lent(before)
            if before.kind != "symmetric":
                words = f"A {before.kind} client has no secret."
                raise Declined(409, "invalid_request", Fault("", words))
            return replace(before, secret_digest=digest)

        return _reply(await self._altered(errand, alter), 200, secret)

    async def end(self, errand: Errand) -> Reply:
        """The client is over; its tokens are within a second."""

        def agree(client: Client) -> None:
            if errand.if_match:
                _check_version(errand, client)
            _check_lent(client)

        if not await self.authority.clients.revoke(errand.id, agree, errand.seal):
            await self._there(errand)  # 404 when there never was one; ending twice changes nothing
        return Reply(204)

    async def invited(self, _: Errand) -> Reply:
        """Every invitation, without their tokens."""
        found = await self.invitations.all()
        return Reply(200, {"invitations": [invitations.written(one) for one in found]})

    async def invite(self, errand: Errand) -> Reply:
        """A new invitation; its token is in this answer only."""
        asked, faults = invitations.read(errand.body, errand.caller.subject, errand.now)
        faults += self.agreed.faults(_like(asked.limits))
        if faults:
            raise Declined(400, "invalid_request", *faults)

        async def story(session: AsyncClientSession) -> tuple[invitations.Invitation, str]:
            made, token = await self.invitations.make(asked, session)
            errand.about, errand.told = made.id, {"label": made.label, "scope": made.limits.scope}
            await errand.put(session)
            return made, token

        made, token = await self.authority.mongo.transaction(story)
        return Reply(201, invitations.written(made) | {"initial_access_token": token})

    async def end_invitation(self, errand: Errand) -> Reply:
        """Nothing more is registered by it."""

        async def story(session: AsyncClientSession) -> bool:
            ended = await self.invitations.end(errand.id, session)
            if ended:
                await errand.put(session)
            return ended

        ended = await self.authority.mongo.transaction(story)
        if not ended and await self.invitations.get(errand.id) is None:
            raise Declined(404, "not_found", Fault("", "There is no such invitation."))
        return Reply(204)

    def _accept(self, client: Client, faults: Sequence[Fault]) -> None:
        """Raises `Declined` with everything that is wrong with the client."""
        found = [*faults, *rules.check(client), *self.agreed.faults(client)]
        found += publishing_faults(client, self.places)
        found += [
            Fault("scope", f"{token} is given to clients by the command line only.")
            for token in client.scope.split()
            if token in NEVER_LENT
        ]
        if found:
            raise unusable(list(dict.fromkeys(found)))

    async def _there(self, errand: Errand) -> Client:
        found = await self.authority.clients.get(errand.id)
        if found is None:
            raise Declined(404, "not_found", Fault("", "There is no client of this id."))
        return found

    async def _altered(self, errand: Errand, alter: Callable[[Client], Client]) -> Client:
        try:
            return await self.authority.clients.change(errand.id, alter, errand.seal)
        except ClientInvalid as fault:
            raise unusable(fault.faults) from None
        except ClientMoved:
            await self._there(errand)
            words = "The client has ended; register another."
            raise Declined(410, "not_found", Fault("", words)) from None


def publishing_faults(client: Client, places: Allowed) -> list[Fault]:
    """Whether keys could ever be fetched from where the client publishes them. PURE."""
    if not client.jwks_uri or may_publish(client.jwks_uri, places):
        return []
    words = "The operators of this exchange have not allowed keys to be published there."
    return [Fault("jwks_uri", words)]


def _like(limits: invitations.Limits) -> Client:
    return Client(
        "x", "x", scope=limits.scope, role=limits.role, purposes=limits.purposes,
        organisations=limits.organisations,
    )  # fmt: skip


def _check_version(errand: Errand, client: Client) -> None:
    given = [one.strip() for one in errand.if_match.split(",")]
    if "*" not in given and etag(client) not in given:
        words = "The client was changed since; read it again."
        raise Declined(412, "invalid_request", Fault("", words))


def _check_lent(client: Client) -> None:
    if set(NEVER_LENT) & set(client.scope.split()):
        words = "This client is changed and ended by the command line only."
        raise Declined(403, "access_denied", Fault("", words))


def _shown(client: Client) -> dict[str, Any]:
    return written(client) | {"etag": etag(client)}


def _reply(
    client: Client, status: int = 200, secret: str = "", headers: dict[str, str] | None = None
) -> Reply:
    body = written(client) | ({"client_secret": secret} if secret else {})
    return Reply(status, body, {"ETag": etag(client)} | (headers or {}))
