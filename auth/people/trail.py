"""What the audit trail is told of people signing in: each success, failure, lockout, change of what
proves a person, and sign-out.

The words are ours and fixed; what somebody typed is never part of them, because a password lands in the
field of the username every day. A name that nobody has is told by the beginning of its digest, so that
repeated tries can be seen as one story.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime

from starlette.requests import Request

from auth.authority import Authority
from auth.pages import browsing
from auth.people.person import Person, username_key
from auth.people.sessions import Session
from chassis.call import Account, Caller, instant
from standards import balp
from standards.rows import AuditPattern


async def record(
    request: Request,
    authority: Authority,
    pattern: AuditPattern,
    words: str,
    *,
    person: Person | None = None,
    session: Session | None = None,
    app: str = "",
    refused: bool = False,
) -> None:
    """Return when it is durable. Raises `Refused` (503) when it cannot be, and then it must not happen."""
    issuer = authority.settings.issuer
    caller = Caller(
        client_id=app,
        subject=session.person if session else person.id if person else "",
        issuer=issuer,
        name=session.name if session else person.name if person else "",
        organisation=session.organisation if session else "",
        role=session.role if session else "",
        purpose=session.purpose if session else "",
    )
    said = balp.Request(
        event_id=str(uuid.uuid4()),
        recorded=instant(datetime.fromtimestamp(authority.clock(), UTC)),
        server=issuer,
        outcome="8" if refused else "0",
        words=words,
        client_address=browsing(request).address,
    )
    await authority.audit.record(balp.event(pattern, caller, Account(), said, authority.words))


def unknown(username: str) -> str:
    """How a name that nobody has is told."""
    digest = hashlib.sha256(username_key(username).encode("utf-8", "surrogatepass")).hexdigest()
    return f"No active person has the username (SHA-256 {digest[:12]})."
