"""Authlib's grants over asynchronous stores: the one file that knows of its server.

Authlib is synchronous throughout. A token request runs in a worker thread, and each store that a grant
asks is a coroutine that is handed back to the event loop, whose answer the thread waits for:

    event loop ──to_thread──► Authlib's grant ──coroutine──► event loop: the store ──► the grant goes on

The client has proved itself before (`auth.authority.authenticate`): Authlib's own methods refuse RS384
and ES384 and look at too little. What is Authlib's is the order of the checks, PKCE's comparison and the
errors; what must be atomic is one conditional update or one transaction of a store.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any, NoReturn, TypeVar

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeMixin,
    AuthorizationServer,
    ClientMixin,
    OAuth2Payload,
    OAuth2Request,
    TokenMixin,
    grants,
)
from authlib.oauth2.rfc6749.errors import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
)
from authlib.oauth2.rfc7636 import CodeChallenge
from pymongo.asynchronous.client_session import AsyncClientSession

from auth import binding
from auth.accounts import Visit
from auth.authority import Authority
from auth.authorize import id_token, refresh
from auth.authorize.codes import Code, CodeReplayed
from auth.authorize.grants import Grant, GrantEnded
from auth.authorize.refresh import RefreshToken, TokenReused
from auth.authorize.scope import negotiated
from auth.client import Client
from governance.scopes import outside
from standards import iua

T = TypeVar("T")
GRANTS = ("authorization_code", "refresh_token")
_PATIENCE = 30.0  # a store that does not answer must not keep a thread for ever
_DAY = 86_400


async def exchange(visit: Visit, client: Client, authority: Authority) -> dict[str, Any]:
    """The token response for a code or a refresh token of this client, which has proved itself. Raises
    `OAuth2Error` for every refusal of RFC 6749 §5.2; a replay or reuse has ended its family by then."""
    if visit.value("grant_type") == "authorization_code":
        for name in ("code", "redirect_uri", "code_verifier"):
            if not visit.value(name):
                raise InvalidRequestError(f"{name} is missing.")
    server = _Server(visit, client, authority, asyncio.get_running_loop())
    server.jkt = await binding.thumbprint(visit, authority)
    request = _Request(visit)
    try:
        answer: Any = await asyncio.to_thread(server.create_token_response, request)
    except OAuth2Error:
        if server.burned:
            # The code is spent and gave nothing (a wrong verifier or redirect URI): nothing ever will.
            await authority.grants.end(server.burned, "the code was not redeemed correctly")
        raise
    return dict(answer)


class _Payload(OAuth2Payload):
    def __init__(self, form: Mapping[str, str]) -> None:
        self._form = dict(form)

    @property
    def data(self) -> dict[str, str]:
        return self._form

    @property
    def datalist(self) -> dict[str, list[str]]:
        return {name: [value] for name, value in self._form.items()}


class _Request(OAuth2Request):
    def __init__(self, visit: Visit) -> None:
        # Authlib refuses plain http. Whether there is TLS before this server is not seen from here; the
        # settings decide on it, and this address is not used for anything else.
        super().__init__("POST", "https://localhost/auth/token", headers={})
        self.sent = dict(visit.form)
        self.payload = _Payload(self.sent)

    @property
    def form(self) -> dict[str, str]:
        return self.sent


class _Client(ClientMixin):
    """A client in the words that Authlib's grants ask in."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.client_id = client.client_id

    def check_grant_type(self, grant_type: str) -> bool:
        return self.client.allows(grant_type)


class _Server(AuthorizationServer):
    """One token request."""

    def __init__(
        self, visit: Visit, client: Client, authority: Authority, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__()
        self.visit, self.client, self.authority = visit, client, authority
        self.grant: Grant | None = None
        self.code: Code | None = None
        self.refreshed: RefreshToken | None = None
        self.burned = ""
        self.jkt = ""
        self._loop = loop
        self.register_grant(_CodeGrant, [_S256Only(required=True)])
        self.register_grant(_RefreshGrant)

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """The answer of a store, from the worker thread."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(_PATIENCE)

    @property
    def now(self) -> float:
        return self.authority.clock()

    # -- what Authlib asks of a framework --------------------------------------------------------

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        return request  # type: ignore[no-any-return]

    def authenticate_client(self, request: Any, methods: Any, endpoint: str = "token") -> _Client:  # noqa: ARG002
        request.auth_method = "none" if self.client.kind == "public" else "proved"
        return _Client(self.client)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def handle_response(self, status: int, body: Any, headers: Any) -> Any:  # noqa: ARG002
        return body

    def handle_error_response(self, request: Any, error: OAuth2Error) -> NoReturn:  # noqa: ARG002
        raise error

    def generate_token(
        self,
        grant_type: str,  # noqa: ARG002
        client: ClientMixin,  # noqa: ARG002
        user: Any = None,  # noqa: ARG002
        scope: str | None = None,
        expires_in: int | None = None,  # noqa: ARG002
        include_refresh_token: bool = True,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The part of the answer that is no secret. The secrets come with the transaction that keeps
        them, after Authlib's logger has seen this."""
        return {
            "token_type": "DPoP" if self.jkt else "Bearer",
            "expires_in": self.authority.settings.app_token_seconds,
            "scope": scope or "",
        }

    def save_token(self, token: dict[str, Any], request: Any) -> None:  # noqa: ARG002
        """Keep what is issued, in one transaction, and put it into the answer."""
        try:
            self.wait(self._issued(token))
        except TokenReused as reuse:
            self.wait(self.authority.grants.end(reuse.grant, "a refresh token was used twice"))
            raise InvalidGrantError("The refresh token was used before.") from None
        except GrantEnded:
            raise InvalidGrantError("The access that was granted has ended.") from None

    async def _issued(self, token: dict[str, Any]) -> None:
        grant, authority = self.grant, self.authority
        if grant is None:
            raise InvalidGrantError("There is no grant.")
        settings, now = authority.settings, self.now
        claims = _claims(self, grant, token["scope"], int(now))
        made: dict[str, str] = {}

        async def story(session: AsyncClientSession) -> None:
            await authority.grants.use(grant.id, now, session)
            if self.refreshed is not None:
                await authority.refresh_tokens.use(self.refreshed, now, session)
            made["access_token"] = await authority.tokens.issue(
                claims, grant=grant.id, session=grant.bound_to, person=grant.person,
                transaction=session,
            )  # fmt: skip
            if grant.lasting and self.client.allows("refresh_token"):
                made["refresh_token"] = refresh.new_token()
                until = min(grant.until, now + settings.refresh_idle_days * _DAY)
                await authority.refresh_tokens.add(
                    made["refresh_token"], grant=grant.id, client_id=grant.client_id, until=until,
                    jkt=self.jkt if self.client.kind == "public" else "", within=session,
                )  # fmt: skip

        await authority.mongo.transaction(story)
        token |= made | dict(grant.context)
        if self.code is not None and "openid" in grant.scope.split():
            said = id_token.claims(
                grant, issuer=settings.issuer, base=settings.fhir_base, nonce=self.code.nonce,
                now=int(now), seconds=settings.app_token_seconds,
            )  # fmt: skip
            token["id_token"] = id_token.signed(said, await authority.keys.signing())
        visit = self.visit
        visit.jti, visit.purpose, visit.person = claims["jti"], grant.purpose, grant
        visit.granted = {
            "scope": token["scope"], "reason": grant.reason, "grant": grant.id,
            "patient": str(grant.context.get("patient", "")),
        }  # fmt: skip


def _claims(server: _Server, grant: Grant, scope: str, now: int) -> dict[str, Any]:
    """The claim set of an app's access token: SMART, IUA and RFC 9068 at once (digest 9.1)."""
    authority = server.authority
    settings = authority.settings
    made = iua.claims(
        iua.Identity(grant.organisation, grant.role, grant.purpose, grant.reason, grant.name),
        issuer=settings.issuer,
        audience=settings.fhir_base,
        client_id=grant.client_id,
        subject=grant.person,
        patient=str(grant.context.get("patient", "")),
        scope=scope,
        jti=str(uuid.uuid4()),
        now=now,
        seconds=settings.app_token_seconds,
        words=authority.words,
        generation=server.client.generation,
    )
    made |= grant.context
    made["auth_time"] = grant.auth_time
    if server.jkt:
        made["cnf"] = {"jkt": server.jkt}
    if grant.acr:
        made["acr"] = grant.acr
    if {"openid", "fhirUser"} <= set(grant.scope.split()):
        made["fhirUser"] = id_token.fhir_user(settings.fhir_base, grant.person)
    return made


class _S256Only(CodeChallenge):
    """PKCE with S256 for everyone; Authlib takes `plain`, and takes it as the default."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012  Authlib's way to say it
    CODE_CHALLENGE_METHODS = {"S256": CodeChallenge.CODE_CHALLENGE_METHODS["S256"]}  # noqa: RUF012

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        if not grant.request.form.get("code_verifier"):
            raise InvalidRequestError("code_verifier is missing.")
        super().validate_code_verifier(grant, result)


class _RedeemedCode(AuthorizationCodeMixin):
    """A claimed code in the words that Authlib's grant asks in."""

    code_challenge_method = "S256"

    def __init__(self, code: Code, scope: str) -> None:
        self.code_challenge, self._uri, self._scope = code.challenge, code.redirect_uri, scope

    def get_redirect_uri(self) -> str:
        return self._uri

    def get_scope(self) -> str:
        return self._scope


class _CodeGrant(grants.AuthorizationCodeGrant):
    """authorization_code (RFC 6749 §4.1.3)."""

    server: _Server

    def query_authorization_code(self, code: str, client: ClientMixin) -> _RedeemedCode:  # noqa: ARG002
        server = self.server
        stores = server.authority
        try:
            found = server.wait(stores.codes.redeem(code, server.client.client_id, server.now))
        except CodeReplayed as replay:
            server.wait(stores.grants.end(replay.grant, "its code was used twice"))
            raise InvalidGrantError("The code was used before.") from None
        if found is None:
            raise InvalidGrantError("The code is not one of this client, or it is too old.")
        server.burned = found.grant
        server.code, server.grant = found, server.wait(stores.grants.get(found.grant))
        _check_alive(server)
        if server.grant is None:
            raise InvalidGrantError("The access that was granted has ended.")
        scope = negotiated(server.grant.scope.split(), server.client.scope.split())
        return _RedeemedCode(found, " ".join(scope))

    def delete_authorization_code(self, authorization_code: Any) -> None:  # noqa: ARG002
        """A spent code is kept, so that a replay is noticed."""
        self.server.burned = ""

    def authenticate_user(self, authorization_code: Any) -> Grant | None:  # noqa: ARG002
        return self.server.grant


class _HeldToken(TokenMixin):
    """A live refresh token in the words that Authlib's grant asks in."""

    def __init__(self, token: RefreshToken, scope: str) -> None:
        self._token, self._scope = token, scope

    def get_scope(self) -> str:
        return self._scope

    def check_client(self, client: ClientMixin) -> bool:  # noqa: ARG002
        return True  # it was found as one of this client's


class _RefreshGrant(grants.RefreshTokenGrant):
    """refresh_token (RFC 6749 §6), rotated at every use."""

    server: _Server
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> _HeldToken:
        server = self.server
        stores = server.authority
        found = server.wait(stores.refresh_tokens.get(refresh_token))
        if found is None or found.client_id != server.client.client_id:
            raise InvalidGrantError("The refresh token is not one of this client.")
        if found.used:
            server.wait(stores.grants.end(found.grant, "a refresh token was used twice"))
            raise InvalidGrantError("The refresh token was used before.")
        if found.until <= server.now:
            raise InvalidGrantError("The refresh token has expired.")
        if found.jkt and found.jkt != server.jkt:
            raise InvalidGrantError("The refresh token is bound to a key that was not proved.")
        server.refreshed, server.grant = found, server.wait(stores.grants.get(found.grant))
        _check_alive(server)
        if server.grant is None:
            raise InvalidGrantError("The access that was granted has ended.")
        # What the client may ask for may have become less since the approval.
        scope = negotiated(server.grant.scope.split(), server.client.scope.split())
        return _HeldToken(found, " ".join(scope))

    def _validate_token_scope(self, token: _HeldToken) -> None:
        asked = self.server.visit.value("scope").split()
        beyond = outside(asked, token.get_scope().split())
        if beyond:
            raise InvalidScopeError("The scope goes beyond what was granted.")

    def authenticate_user(self, refresh_token: Any) -> Grant | None:  # noqa: ARG002
        return self.server.grant

    def revoke_old_credential(self, refresh_token: Any) -> None:
        """It was used up in the transaction that made its successor."""


def _check_alive(server: _Server) -> None:
    """Access that hangs on a sign-in ends with it, also where the sign-in just ran out of time."""
    grant, authority = server.grant, server.authority
    if grant is None or grant.ended or grant.until <= server.now:
        raise InvalidGrantError("The access that was granted has ended.")
    if grant.bound_to and server.wait(authority.sessions.live(grant.bound_to)) is None:
        server.wait(authority.grants.end(grant.id, "the sign-in ended"))
        raise InvalidGrantError("The sign-in that this access belongs to has ended.")
    if not server.wait(_still_holds(grant, authority)):
        server.wait(authority.grants.end(grant.id, "its person holds the role no more"))
        raise InvalidGrantError(
            "The person does not hold the role any more that this was granted in."
        )


async def _still_holds(grant: Grant, authority: Authority) -> bool:
    """Is the person active, and do they still hold the role in which they gave the approval? Offline
    access outlives the sign-in, but not the job."""
    person = await authority.reception.people.get(grant.person)
    if person is None or not person.active:
        return False
    held = authority.reception.appointments(person, authority.clock())
    return any((a.role, a.organisation) == (grant.role, grant.organisation) for a in held)
