"""Invitations to register: the initial access tokens of RFC 7591 §1.2, with what they may be used for.

An invitation is used up by registrations and ends on a date. What was registered by it stays within its
limits for good, also when the registration is changed later (RFC 7592), so no row is ever deleted. Of
the token only a digest is kept.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from auth.client import CREDENTIALS, GRANTS, KINDS, Client, origin_of
from auth.registration import rules
from auth.registration.rules import Fault
from chassis.mongo import Doc, Mongo
from governance.scopes import outside
from standards import iua, registration

NEVER_LENT = (registration.SCOPE, iua.INTERNAL)
MOST_USES, MOST_DAYS = 1000, 366
_SCHEME = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)+:")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client that registers itself may be. `places` are the web origins and private-use schemes
    (`com.example.app:`) that its URIs must lie in; none: anywhere. `purposes`, `organisation`, `role`
    and `owner` it gets; `organisations` are the most its users may act for."""

    scope: str
    kinds: tuple[str, ...] = KINDS
    grants: tuple[str, ...] = GRANTS
    places: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    organisation: str = ""
    role: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Invitation:
    """One invitation. `uses` are those that are left."""

    id: str
    label: str
    limits: Limits
    uses: int
    until: datetime
    made_by: str
    created: datetime
    ended: datetime | None = None
    digest: bytes = field(default=b"", repr=False)

    def usable(self, now: datetime) -> bool:
        """Can something be registered by it?"""
        return self.ended is None and self.uses > 0 and now < self.until


def check(invitation: Invitation, now: datetime) -> list[Fault]:
    """Everything that is wrong with an invitation. PURE."""
    limits = invitation.limits
    faults: list[Fault] = []
    if not invitation.label.strip() or not invitation.label.isprintable():
        faults.append(Fault("label", "Say in one line for whom the invitation is."))
    if not 1 <= invitation.uses <= MOST_USES:
        faults.append(Fault("uses", f"An invitation serves 1 to {MOST_USES} registrations."))
    if not now < invitation.until <= now + timedelta(days=MOST_DAYS):
        faults.append(Fault("until", f"An invitation lasts at most {MOST_DAYS} days."))
    tokens = limits.scope.split()
    if not tokens:
        faults.append(Fault("scope", "The invitation needs a scope: the most it may lead to."))
    for token in tokens:
        if token in NEVER_LENT:
            words = f"{token} is given to clients by the command line only."
            faults.append(Fault("scope", words))
        elif rules.grant_for(token) is None:
            faults.append(Fault("scope", f"{token!r} is no scope."))
    for name, known in (("kinds", KINDS), ("grants", GRANTS)):
        said = getattr(limits, name)
        if not said or set(said) - set(known):
            faults.append(Fault(name, f"{name} are some of {', '.join(known)}."))
    for place in limits.places:
        if not _SCHEME.fullmatch(place) and (rules.web_address(place) or origin_of(place) != place):
            words = (
                "is neither an origin like https://app.example nor a scheme like com.example.app:"
            )
            faults.append(Fault("places", f"{place!r} {words}."))
    return faults


def within(client: Client, limits: Limits) -> tuple[Client, list[Fault]]:
    """The client with what the limits give it, and everything in which it goes beyond them. PURE.

    A client that asks for no scope gets as much of the limits' as its grants can use.
    """
    usable = [t for t in limits.scope.split() if (rules.grant_for(t) or "") in ("", *client.grants)]
    machine = CREDENTIALS in client.grants
    given = replace(
        client,
        scope=client.scope or " ".join(usable),
        purposes=client.purposes or limits.purposes,
        organisations=() if machine else client.organisations or limits.organisations,
        organisation=limits.organisation if machine else "",
        role=limits.role if machine else "",
        owner=limits.owner or client.owner,
    )
    return given, [*_beyond(given, limits)]


def _beyond(client: Client, limits: Limits) -> Iterator[Fault]:
    if client.kind not in limits.kinds:
        yield Fault("kind", f"The invitation is not for {client.kind} clients.")
    for grant in client.grants:
        if grant in GRANTS and grant not in limits.grants:
            yield Fault("grants", f"The invitation does not reach to the grant {grant}.")
    for token in outside(client.scope.split(), limits.scope.split()):
        yield Fault("scope", f"The invitation does not reach to the scope {token[:120]!r}.")
    for name in ("purposes", "organisations"):
        allowed = getattr(limits, name)
        for code in getattr(client, name):
            if allowed and code not in allowed:
                yield Fault(name, f"The invitation does not reach to {code[:60]!r}.")
    for name in ("redirect_uris", "post_logout_redirect_uris", "launch_uris", "origins"):
        for uri in getattr(client, name):
            if limits.places and not _lies_in(uri, limits.places):
                words = f"lies outside of {', '.join(limits.places)}"
                yield Fault(name, f"{uri[:120]!r} {words}.")


def _lies_in(uri: str, places: tuple[str, ...]) -> bool:
    origin = origin_of(uri) or uri.partition(":")[0] + ":"
    return origin in places


class Invitations:
    """The store of invitations, in `auth.invitations`."""

    def __init__(
        self, mongo: Mongo, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._table = mongo.table("auth", "invitations")
        self._clock = clock

    async def prepare(self) -> None:
        """Make the index that finds an invitation by its token; kept when it exists."""
        await self._table.ensure(IndexModel([("digest", 1)], name="digest", unique=True))

    async def make(
        self, invitation: Invitation, session: AsyncClientSession | None = None
    ) -> tuple[Invitation, str]:
        """Keep an invitation; its token is told here and never again. The caller has checked it."""
        token = "ti_" + secrets.token_urlsafe(32)
        made = replace(invitation, id=secrets.token_hex(8), digest=digest(token))
        await self._table.insert(_document(made), session)
        return made, token

    async def all(self) -> list[Invitation]:
        """Every invitation, the newest first."""
        return [_invitation(r) for r in await self._table.many({}, sort=[("created", -1)])]

    async def get(self, id_: str) -> Invitation | None:
        """The invitation of this id, also when it has ended."""
        row = await self._table.one({"_id": id_})
        return _invitation(row) if row else None

    async def of(self, token: str) -> Invitation | None:
        """The invitation of this token, if something can be registered by it."""
        row = await self._table.one({"digest": digest(token)})
        found = _invitation(row) if row else None
        return found if found and found.usable(self._clock()) else None

    async def use(self, id_: str, session: AsyncClientSession) -> bool:
        """Use the invitation once, as part of a registration; False when another was faster."""
        where = {"_id": id_, "uses": {"$gt": 0}, "ended": None, "until": {"$gt": self._clock()}}
        return bool(await self._table.update(where, {"$inc": {"uses": -1}}, session=session))

    async def end(self, id_: str, session: AsyncClientSession | None = None) -> bool:
        """End an invitation; False when there is none that could end. What it led to lives on."""
        where, change = {"_id": id_, "ended": None}, {"$set": {"ended": self._clock()}}
        return bool(await self._table.update(where, change, session=session))


def digest(token: str) -> bytes:
    """What is kept of a token of 256 random bits."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def written(invitation: Invitation) -> dict[str, Any]:
    """An invitation as JSON, without its token. PURE."""
    limits = {
        k: list(v) if isinstance(v, tuple) else v for k, v in asdict(invitation.limits).items()
    }
    return {
        "id": invitation.id,
        "label": invitation.label,
        **{name: value for name, value in limits.items() if value},
        "uses": invitation.uses,
        "until": _instant(invitation.until),
        "made_by": invitation.made_by,
        "created": _instant(invitation.created),
        **({"ended": _instant(invitation.ended)} if invitation.ended else {}),
    }


def read(body: Mapping[str, Any], made_by: str, now: datetime) -> tuple[Invitation, list[Fault]]:
    """The invitation that JSON asks for, and everything that cannot be read. PURE."""
    faults: list[Fault] = []
    known = {f.name: f for f in fields(Limits)}
    given: dict[str, Any] = {"scope": ""}
    for name, value in body.items():
        if name in ("label", "uses", "days"):
            continue
        if name not in known:
            faults.append(Fault(name, f"{name} is not a member that is known here."))
        elif known[name].type == "str":
            if isinstance(value, str):
                given[name] = value
            else:
                faults.append(Fault(name, f"{name} is a string."))
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            given[name] = tuple(value)
        else:
            faults.append(Fault(name, f"{name} is an array of strings."))
    label, uses, days = body.get("label", ""), body.get("uses", 1), body.get("days", 7)
    if not isinstance(label, str):
        faults.append(Fault("label", "label is a string."))
        label = "?"
    for name, number in (("uses", uses), ("days", days)):
        if type(number) is not int or not 1 <= number <= 10_000:
            faults.append(Fault(name, f"{name} is a whole number, at least 1."))
            uses, days = 1, 1
    until = now + timedelta(days=days)
    made = Invitation("", label, Limits(**given), uses, until, made_by, now)
    return made, faults + check(made, now)


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(made: Invitation) -> Doc:
    row = {f.name: getattr(made, f.name) for f in fields(made) if f.name not in ("id", "limits")}
    limits = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(made.limits).items()}
    return {"_id": made.id, "limits": limits, **row}


def _invitation(row: Doc) -> Invitation:
    said: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in row["limits"].items()
    }
    rest = {k: v for k, v in row.items() if k not in ("_id", "limits")}
    return Invitation(id=row["_id"], limits=Limits(**said), **rest)
