"""Signing in with another provider: there, back, and on to the choice of role and purpose.

Nobody is signed in by a link alone: a button of ours begins the journey, and the choice of role and
purpose, which always follows, ends it (ASVS 5.0 7.6.2).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.pages import browsing, page, stopped
from auth.people import person as rules
from auth.people import trail
from auth.people.people import UsernameTaken
from auth.people.person import Appointment, Person
from auth.people.reception import today
from auth.people.sign_in import gone, prove
from auth.upstream import claims as reading
from auth.upstream import id_token
from auth.upstream.claims import Identity
from auth.upstream.id_token import Unbelievable
from auth.upstream.identities import IdentityTaken, Link, now
from auth.upstream.journeys import Journey
from auth.upstream.party import Party, Silent
from standards.sign_in import LOGIN

_TYPES = ("", "jwt")
_ERRORS: Mapping[str, tuple[int, str, str]] = {
    "access_denied": (
        403,
        "You did not sign in",
        "You, or the service that you chose, stopped the sign-in. Try again, or sign in another way.",
    ),
    "temporarily_unavailable": (
        503,
        "Try again later",
        "The service that you chose is not available at present. Wait a while, or sign in another way.",
    ),
    "server_error": (
        502,
        "Try again later",
        "The service that you chose has a fault. Wait a while, or sign in another way.",
    ),
}
_ERROR = (
    400,
    "You are not signed in",
    "The service that you chose did not sign you in. Try again, or sign in another way.",
)


class Unwelcome(Exception):  # noqa: N818  that somebody is not let in is ordinary
    """The person proved who they are and is not let in: title and words of the page."""

    def __init__(self, title: str, words: str, told: str) -> None:
        super().__init__(told)
        self.title, self.words, self.told = title, words, told


async def start(request: Request, authority: Authority) -> Response:
    """The page with the button, and with the button pressed the way to the provider."""
    at, party = browsing(request), _party(request, authority)
    if party is None:
        return _unknown(request)
    given = at.form if request.method == "POST" else request.query_params
    continuing, waiting = given.get("continue", ""), None
    if continuing:
        waiting = await authority.reception.waiting.get(continuing)
        if waiting is None:
            return gone(request)
    provider = party.provider
    if request.method != "POST":
        return page(
            request, "upstream.jinja", label=provider.label or provider.id, waiting=continuing
        )
    journey = Journey(
        provider=provider.id,
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        continuing=continuing,
        fresh=waiting is not None and waiting.stale is not None,
        began=authority.clock(),
    )
    try:
        await party.metadata()
        state = await authority.federation.journeys.begin(at.visit, journey)
        where = await party.authorization(
            redirect_uri=_return_uri(authority, provider.id), state=state, nonce=journey.nonce,
            verifier=journey.verifier, fresh=journey.fresh,
        )  # fmt: skip
    except Silent as fault:
        return await _silent(request, authority, party, fault)
    # Not a redirect: browsers hold the form-action of our page against every hop that would follow.
    return page(request, "onward.jinja", where=where, label=provider.label or provider.id)


async def come_back(request: Request, authority: Authority) -> Response:
    """The provider's answer: believed, or refused with a page that says what to do."""
    party = _party(request, authority)
    if party is None:
        return _unknown(request)
    names = [name for name, _ in request.query_params.multi_items()]
    said = dict(request.query_params) if len(set(names)) == len(names) else {}
    journeys = authority.federation.journeys
    journey = await journeys.take(browsing(request).visit, party.provider.id, said.get("state", ""))
    if journey is None:
        await _told(
            request, authority, party, "The answer is for no sign-in of this browser (state)."
        )
        return stopped(
            request, 400, "Sign in again",
            "This sign-in took longer than ten minutes, or was finished or begun in another browser. "
            "Go back to where you came from, or open the sign-in page, and start again.",
        )  # fmt: skip
    try:
        identity, proved = await _believed(authority, party, journey, said)
        person = await _admitted(authority, party, identity)
    except Unwelcome as refusal:
        await _told(request, authority, party, refusal.told)
        return stopped(request, 403, refusal.title, refusal.words)
    except Unbelievable as refusal:
        await _told(request, authority, party, str(refusal))
        return stopped(
            request, 400, "You are not signed in",
            "The answer of the service that you chose could not be verified. Go back and try again; if "
            "it happens again, tell the people who run this service.",
        )  # fmt: skip
    except Silent as fault:
        return await _silent(request, authority, party, fault)
    except _Refused as refusal:
        await _told(request, authority, party, "The provider answered with an error.")
        return stopped(request, *_ERRORS.get(refusal.code, _ERROR))
    arrival = await journeys.arrive(
        identity, party.provider.id, person.id, bool(party.provider.roles)
    )
    strong = id_token.is_strong(proved, party.provider)
    acr = str(proved.get("vot" if party.provider.vtr else "acr", "")) if strong else ""
    # What the provider says of its ways counts here only where its row says that it is strong.
    amr = (
        ("fed", "mfa", *(m for m in identity.amr if m not in ("fed", "mfa")))
        if strong
        else ("fed",)
    )
    at = proved.get("auth_time")
    return await prove(
        request, authority, person, *amr, continuing=journey.continuing, acr=acr, upstream=arrival,
        at=float(at) if isinstance(at, int | float) else None,
    )  # fmt: skip


class _Refused(Exception):  # noqa: N818  that a provider says no is ordinary
    """The provider answered with an error of RFC 6749 §4.1.2.1."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def _believed(
    authority: Authority, party: Party, journey: Journey, said: Mapping[str, str]
) -> tuple[Identity, Mapping[str, Any]]:
    """Who signed in there, and the claims of the id_token. Raises `Unbelievable`, `Silent`."""
    provider, metadata = party.provider, await party.metadata()
    # RFC 9207: which provider is speaking. Without it another one could slip its code in (mix-up).
    if (metadata.says_issuer or "iss" in said) and not hmac.compare_digest(
        said.get("iss", "").encode(), metadata.issuer.encode()
    ):
        id_token.refuse("The answer is of another provider (iss).")
    if "error" in said:
        raise _Refused(said["error"])
    code = said.get("code", "")
    if not 1 <= len(code) <= 4096:
        id_token.refuse("The answer has no code.")
    tokens = await party.tokens(
        code=code, redirect_uri=_return_uri(authority, provider.id), verifier=journey.verifier
    )
    proved, head = await party.believed(tokens.get("id_token"))
    if head.typ not in _TYPES:
        id_token.refuse("The token is no id_token (typ).")
    at = authority.clock()
    max_age: float | None = provider.max_age or None
    if journey.fresh and (provider.max_age or "auth_time" in proved):
        max_age = at - journey.began
    id_token.check_id_token(
        proved, provider, issuer=metadata.issuer, nonce=journey.nonce, alg=head.alg,
        access_token=tokens["access_token"], max_age=max_age, now=at,
        skew=authority.settings.clock_skew,
    )  # fmt: skip
    told = await party.userinfo(tokens["access_token"])
    return reading.identity(proved, told, provider, authority.reception.pack), proved


async def _admitted(authority: Authority, party: Party, identity: Identity) -> Person:
    """The person that the identity leads to. Raises `Unwelcome`."""
    provider, desk = party.provider, authority.reception
    if provider.roles and not identity.pairs:
        raise Unwelcome(
            "You have no role here",
            "The service that you chose knows you, but none of your roles there has rights here. Choose "
            "another role there, or ask the people who run this service.",
            "None of the provider's roles leads to a role here.",
        )
    link = await authority.federation.identities.of(identity.issuer, identity.subject)
    if link is None and provider.admit == "mapped":
        return await _made(authority, party, identity)
    person = await desk.people.get(link.person) if link else None
    if link is None or person is None or not person.active:
        raise Unwelcome(
            "You are not known here",
            "The service that you chose knows you, but you are not registered here. Ask the people who "
            f"run this service to link your account. Your number there is {identity.subject}.",
            "The identity is linked to no active person.",
        )
    if link.made_here and provider.roles:
        await _synchronise(authority, person, identity.pairs)
        person = await desk.people.get(person.id) or person
    return person


async def _made(authority: Authority, party: Party, identity: Identity) -> Person:
    """Somebody new, admitted because the provider's row says so and the roles map."""
    desk, day = authority.reception, today(authority.clock())
    drafted = Person(
        id="",
        username=identity.username(party.provider.id),
        given=identity.given,
        family=identity.family,
        appointments=tuple(Appointment(role, where, day) for role, where in identity.pairs),
    )
    if rules.faults(drafted, desk.pack):
        raise Unwelcome(
            "You cannot be registered",
            "The service that you chose does not tell your name, so you cannot be registered here. Ask "
            "the people who run this service.",
            "The provider does not tell what a person needs to be registered.",
        )
    try:
        person = await desk.people.add(drafted)
    except UsernameTaken:  # another process was faster, or the link was not made the last time
        found = await desk.people.by_username(drafted.username)
        if found is None or not found.active:
            raise Unwelcome(
                "You are not known here",
                "Your account here was ended. Ask the people who run this service.",
                "The person that the identity belonged to is not active.",
            ) from None
        person = found
    link = Link(
        identity.issuer, identity.subject, person.id, party.provider.id, "first sign-in", now(),
        made_here=True,
    )  # fmt: skip
    try:
        await authority.federation.identities.link(link)
    except IdentityTaken:
        known = await authority.federation.identities.of(identity.issuer, identity.subject)
        if known is None or known.person != person.id:
            raise Unwelcome(
                "You are not known here",
                "Your account here belongs to somebody else. Ask the people who run this service.",
                "The identity is linked to another person.",
            ) from None
    return person


async def _synchronise(
    authority: Authority, person: Person, pairs: tuple[tuple[str, str], ...]
) -> None:
    """Give and end the roles of somebody who holds them by the provider's word alone."""
    day = today(authority.clock())
    held = {(a.role, a.organisation): a for a in person.on(day)}
    for role, where in pairs:
        if (role, where) not in held:
            await authority.reception.people.appoint(person.id, Appointment(role, where, day))
    for pair, appointment in held.items():
        if pair not in pairs:
            ended = replace(appointment, ends=day - timedelta(days=1))
            await authority.reception.people.appoint(person.id, ended)


def _party(request: Request, authority: Authority) -> Party | None:
    return authority.federation.party(str(request.path_params["provider"]))


def _return_uri(authority: Authority, provider: str) -> str:
    # One for each provider, so that an answer can only be taken for what it is (RFC 9700 §4.4.2.2).
    return f"{authority.settings.issuer}/upstream/{provider}/return"


async def _silent(request: Request, authority: Authority, party: Party, fault: Silent) -> Response:
    await _told(request, authority, party, str(fault))
    return stopped(
        request, 502, "Try again later",
        "The service that you chose does not answer as it should. Wait a while, or sign in another way.",
    )  # fmt: skip


async def _told(request: Request, authority: Authority, party: Party, words: str) -> None:
    told = f"Sign-in with the provider {party.provider.id} failed: {words}"
    await trail.record(request, authority, LOGIN, told, refused=True)


def _unknown(request: Request) -> Response:
    return stopped(
        request, 404, "There is no such way to sign in",
        "Open the sign-in page; it lists every way there is.",
    )  # fmt: skip
