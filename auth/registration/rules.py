"""What a registration may say: every field of a client, checked, with all faults at once. PURE.

Redirect URIs follow RFC 9700 §2.1 and §4.1 (compared as exact strings, so nothing in them may be a
pattern) and RFC 8252 §7 and §8.4 (loopback and private-use schemes for apps that are installed).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args
from urllib.parse import parse_qsl, urlsplit

from auth.kinds import Kind
from auth.public_keys import LOOPBACK, check_jwks, fetchable
from governance import scopes
from standards import iua, registration

if TYPE_CHECKING:
    from auth.clients import Client

CODE, REFRESH, CREDENTIALS = "authorization_code", "refresh_token", "client_credentials"
GRANTS = (CODE, REFRESH, CREDENTIALS)
KINDS: tuple[str, ...] = get_args(Kind)
# What a person at the browser makes possible; a client without one can do nothing with them.
LAUNCHES = frozenset({"launch", "launch/patient", "launch/encounter"})
LASTING = frozenset({"offline_access", "online_access"})
SIGN_IN = frozenset({"openid", "fhirUser", "profile"})
OF_PEOPLE = LAUNCHES | LASTING | SIGN_IN

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()+,;=%]+")  # RFC 3986 §2, without the asterisk
_REVERSE_DOMAIN = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)+")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_EMAIL = re.compile(r"[^@\s<>]{1,64}@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+")
_ANSWERED = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})
_LONGEST, _LINE, _MOST, _CONTACTS = 2000, 200, 20, 10


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a registration: the field of `Client`, and words for a person."""

    field: str
    words: str


def check(client: Client) -> list[Fault]:
    """Everything that is wrong with a registration."""
    return [
        *_names(client),
        *_grants(client),
        *_proof(client),
        *_addresses(client),
        *_scope(client),
        *_limits(client),
    ]


def _names(client: Client) -> Iterator[Fault]:
    if not _ID.fullmatch(client.client_id):
        # Characters that need no encoding anywhere, because clients differ in how they encode ids.
        yield Fault(
            "client_id",
            "A client id is 1 to 128 letters, digits, dots, dashes, underscores or tildes.",
        )
    if not client.name.strip():
        yield Fault("name", "The client needs a name that people will recognise.")
    for field in ("name", "publisher", "owner"):
        text = getattr(client, field)
        # isprintable also keeps out characters that turn the direction of writing around.
        if len(text) > _LINE or not text.isprintable():
            yield Fault(field, f"The {field} is one line of at most {_LINE} characters.")
    if len(client.contacts) > _CONTACTS:
        yield Fault("contacts", f"At most {_CONTACTS} contacts are kept.")
    for contact in client.contacts:
        if not _EMAIL.fullmatch(contact):
            yield Fault("contacts", f"{_shown(contact)} is no e-mail address.")
    for field in ("logo_uri", "policy_uri"):
        said = getattr(client, field)
        fault = web_address(said) if said else ""
        if fault:
            yield Fault(field, f"The {field} {_shown(said)} {fault}.")


def _grants(client: Client) -> Iterator[Fault]:
    if client.kind not in KINDS:
        yield Fault("kind", f"A client is one of {', '.join(KINDS)}.")
    if not client.grants:
        yield Fault("grants", f"The client needs a grant, one of {', '.join(GRANTS)}.")
    for grant in client.grants:
        if grant not in GRANTS:
            yield Fault("grants", f"{_shown(grant)} is no grant; there are {', '.join(GRANTS)}.")
    if CREDENTIALS in client.grants and client.kind != "asymmetric":
        # SMART Backend Services: nothing less than a key proves a client that nobody watches.
        yield Fault("grants", "Only an asymmetric client may use client_credentials.")
    if REFRESH in client.grants and CODE not in client.grants:
        yield Fault("grants", "refresh_token needs authorization_code beside it.")


def _proof(client: Client) -> Iterator[Fault]:
    keyed = bool(client.jwks) + bool(client.jwks_uri)
    if client.kind == "asymmetric" and keyed != 1:
        yield Fault(
            "jwks", "Give the client's public keys either as a JWK Set or as the URL of one."
        )
    if client.kind in ("public", "symmetric") and keyed:
        yield Fault("jwks", f"A {client.kind} client has no public keys; make it asymmetric.")
    if client.jwks:
        yield from (Fault("jwks", words) for words in check_jwks(client.jwks))
    if client.jwks_uri and not fetchable(client.jwks_uri):
        yield Fault("jwks_uri", "The JWK Set's URL must be https (http only for this machine).")
    if (client.kind == "symmetric") != bool(client.secret_digest):
        yield Fault("secret_digest", "A symmetric client, and no other, has a secret made here.")


def _addresses(client: Client) -> Iterator[Fault]:
    interactive = CODE in client.grants
    if interactive and not client.redirect_uris:
        yield Fault("redirect_uris", "A client that people sign in to needs a redirect URI.")
    for field in ("redirect_uris", "post_logout_redirect_uris", "launch_uris", "origins"):
        said: Sequence[str] = getattr(client, field)
        if said and not interactive:
            yield Fault(field, f"Without the grant {CODE} a client has no {field}.")
        if len(said) > _MOST:
            yield Fault(field, f"At most {_MOST} {field} are kept.")
        yield from (
            Fault(field, f"{_shown(one)} is given more than once.") for one in _repeated(said)
        )
    for one in client.redirect_uris:
        fault = redirect_uri(one, client.kind)
        if fault:
            yield Fault("redirect_uris", f"The redirect URI {_shown(one)} {fault}.")
    for one in client.post_logout_redirect_uris:
        fault = redirect_uri(one, client.kind)
        if fault:
            yield Fault("post_logout_redirect_uris", f"The URI {_shown(one)} {fault}.")
    for one in client.launch_uris:
        fault = web_address(one)
        if fault:
            yield Fault("launch_uris", f"The launch URI {_shown(one)} {fault}.")
    for one in client.origins:
        if web_address(one) or origin_of(one) != one:
            words = "is no origin; write it like https://app.example, without a path"
            yield Fault("origins", f"{_shown(one)} {words}.")


def _scope(client: Client) -> Iterator[Fault]:
    tokens = client.scope.split()
    if not tokens:
        yield Fault("scope", "The client needs a scope: the most it may ask for.")
    for token in tokens:
        needed = grant_for(token)
        if needed is None:
            words = "is no scope; write it like system/Patient.rs or ITI-67"
            yield Fault("scope", f"{_shown(token)} {words}.")
        elif needed and needed not in client.grants:
            yield Fault("scope", f"The scope {token} is of no use without the grant {needed}.")


def _limits(client: Client) -> Iterator[Fault]:
    for field in ("role", "organisation"):
        if getattr(client, field) and CREDENTIALS not in client.grants:
            # A person's app acts in the person's role; one of its own would be lent to everyone.
            yield Fault(field, f"Only a client with {CREDENTIALS} acts in a {field} of its own.")
    if client.organisations and CODE not in client.grants:
        yield Fault("organisations", f"Only a client with {CODE} is limited to organisations.")
    for field in ("purposes", "organisations"):
        yield from (
            Fault(field, f"{_shown(one)} is given more than once.")
            for one in _repeated(getattr(client, field))
        )


def grant_for(token: str) -> str | None:
    """The grant without which a scope is of no use: people's scopes need people, a system's a system.
    "" when any will do, None when this is no scope."""
    if not _SCOPE_TOKEN.fullmatch(token):
        return None
    clinical = scopes.parse(token)
    if clinical is not None:
        return CREDENTIALS if clinical.level == "system" else CODE
    if token in LASTING:
        return REFRESH
    if token in LAUNCHES | SIGN_IN:
        return CODE
    if token in (iua.INTERNAL, registration.SCOPE):
        return CREDENTIALS
    return None if "/" in token else ""


def redirect_uri(uri: str, kind: str) -> str:
    """What is wrong with a redirect URI, as the end of a sentence; "" when nothing is."""
    if not _URI.fullmatch(uri) or len(uri) > _LONGEST:
        return f"must be a URI of at most {_LONGEST} characters, without wildcards"
    scheme = uri.partition(":")[0]
    if scheme in ("http", "https"):
        return web_address(uri) or _reserved(urlsplit(uri).query)
    if not _REVERSE_DOMAIN.fullmatch(scheme):
        return (
            "must be https, http on a loopback address, or for an installed app a scheme that is "
            "a domain of its maker written backwards, like com.example.app:/signed-in"
        )
    if kind != "public":
        return "has a scheme of installed apps, which keep no secret: register a public client"
    if "#" in uri or "@" in uri:
        return "must have no fragment and no user in it"
    if not uri.removeprefix(scheme + ":").startswith("/"):
        return "needs a slash after the scheme, like com.example.app:/signed-in"
    return _reserved(urlsplit(uri).query)


def web_address(url: str) -> str:
    """What is wrong with a web address that browsers are sent to; "" when nothing is."""
    if not _URI.fullmatch(url) or len(url) > _LONGEST:
        return f"must be a URL of at most {_LONGEST} characters, without wildcards"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "cannot be read as a URL"
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        return "must be https (http only for a loopback address)"
    if not _HOST.fullmatch(host) or port == 0:
        return "names no host"
    if "@" in parts.netloc:
        return "must have no user in it"
    if "#" in url:
        return "must have no fragment"
    if any(part in (".", "..") for part in parts.path.split("/")):
        return "must not climb with . or .. in its path"
    return ""


def origin_of(url: str) -> str:
    """The web origin of a URL as browsers write it; "" for schemes that have none."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host:
        return ""
    shown = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != usual else "")


def _reserved(query: str) -> str:
    names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    taken = sorted(names & _ANSWERED)
    return f"must not have {', '.join(taken)} in its query; the answer has" if taken else ""


def _repeated(said: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [one for one in said if one in seen or seen.add(one)]  # type: ignore[func-returns-value]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")
