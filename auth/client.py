"""A registered client: who it is, what proves it, and how far it may ask. PURE but for the secret that is
drawn."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["public", "symmetric", "asymmetric"]
KINDS = ("public", "symmetric", "asymmetric")
CODE, REFRESH, CREDENTIALS = "authorization_code", "refresh_token", "client_credentials"
GRANTS = (CODE, REFRESH, CREDENTIALS)
_NO_SECRET = bytes(32)


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
    grants: tuple[str, ...] = (CREDENTIALS,)
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
        derived = (origin_of(uri) for uri in self.redirect_uris)
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
