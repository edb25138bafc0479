"""Whom a provider speaks of, and what the person may be here because of it. PURE.

An identity is issuer and subject together, and nothing else: no e-mail address and no name ever leads
to a person (ASVS 5.0 6.8.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from affinity.pack import Pack
from auth.upstream.id_token import refuse
from auth.upstream.providers import Provider, plain_issuer

_AMR_MOST, _NAME = 8, 100


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in at a provider, and the (role, organisation) pairs of the pack that it leads to."""

    issuer: str
    subject: str
    given: str
    family: str
    amr: tuple[str, ...]
    session: str
    pairs: tuple[tuple[str, str], ...] = ()

    def username(self, provider: str) -> str:
        """The username of somebody who is kept here because a provider says who they are."""
        digest = sha256(f"{self.issuer} {self.subject}".encode()).hexdigest()
        return f"{provider}.{digest[:20]}"


def identity(
    id_token: Mapping[str, Any], userinfo: Mapping[str, Any], provider: Provider, pack: Pack
) -> Identity:
    """Who it is. Raises `Unbelievable` when the userinfo is about somebody else, or when a role was
    selected that is not among those told."""
    if userinfo and userinfo.get("sub") != id_token["sub"]:
        refuse("The userinfo is about somebody else (sub).")
    # What the signature does not cover may add to the id_token and never outdo it.
    told = {**userinfo, **id_token}
    given, family = _name(told.get("given_name")), _name(told.get("family_name"))
    if not family:
        given, _, family = _name(told.get("name")).rpartition(" ")
    amr = id_token.get("amr", [])
    methods = [m for m in amr if _word(m)][:_AMR_MOST] if isinstance(amr, list) else []
    session = id_token.get("sid", "")
    return Identity(
        issuer=plain_issuer(str(id_token["iss"])),
        subject=str(id_token["sub"]),
        given=given,
        family=family,
        amr=tuple(methods),
        session=session if isinstance(session, str) else "",
        pairs=pairs(told, provider, pack),
    )


def pairs(told: Mapping[str, Any], provider: Provider, pack: Pack) -> tuple[tuple[str, str], ...]:
    """The roles and organisations of the pack that the provider's roles lead to: of the selected one
    alone where somebody selected one (CIS2), else of all. Raises `Unbelievable`."""
    if not provider.roles:
        return ()
    roles = told.get(provider.roles_claim, [])
    listed = roles if isinstance(roles, list) else [roles]
    selected = told.get(provider.selected_claim) if provider.selected_claim else None
    if selected is not None:
        listed = [
            r for r in listed if isinstance(r, Mapping) and r.get("person_roleid") == selected
        ]
        if not listed:
            refuse("The role that was selected is not among the person's roles (selected_roleid).")
    own = told.get(provider.organisation_claim) if provider.organisation_claim else None
    made = (_pair(one, own, provider, pack) for one in listed)
    return tuple(dict.fromkeys(pair for pair in made if pair is not None))


def _pair(said: object, own: object, provider: Provider, pack: Pack) -> tuple[str, str] | None:
    if isinstance(said, Mapping):
        code, where = said.get("role_code", said.get("code")), said.get("org_code", own)
    else:
        code, where = said, own
    if not isinstance(code, str) or not isinstance(where, str):
        return None
    # S8000:G8000:R8000 is staff group, sub-group and job role: the most special word wins.
    role = next((provider.roles[part] for part in _parts(code) if part in provider.roles), None)
    organisation = provider.organisations.get(where, where)
    if role is None or organisation not in pack.organisations:
        return None
    return role, organisation


def _parts(code: str) -> Iterable[str]:
    yield code
    yield from reversed(code.split(":"))


def _name(value: object) -> str:
    text = " ".join(str(value).split()) if isinstance(value, str) else ""
    return "".join(c for c in text if c.isprintable())[:_NAME]


def _word(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isalnum() and len(value) <= 16
