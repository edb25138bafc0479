"""What the audit trail is told about clients and invitations (security digest 5.12). PURE.

Which members changed is told, and the scope as it is now; no secret, digest or key ever is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from auth.client import Client
from chassis.call import Account, Caller
from chassis.caller import printable
from standards import balp
from standards.rows import AuditPattern, Transaction

_UNTOLD = frozenset({"changed", "generation", "secret_digest", "registration_digest"})


def changes(before: Client | None, after: Client) -> dict[str, str]:
    """What is told of a client's registration or change."""
    changed = [
        f.name
        for f in fields(Client)
        if before is not None
        and f.name not in _UNTOLD
        and getattr(before, f.name) != getattr(after, f.name)
    ]
    if before is not None and before.secret_digest != after.secret_digest:
        changed.append("secret")
    return {"changed": " ".join(changed), "scope": after.scope}


def event(
    row: Transaction,
    caller: Caller,
    request: balp.Request,
    words: balp.Vocabulary,
    *,
    about: str,
    told: Mapping[str, str],
) -> dict[str, Any]:
    """The AuditEvent of an act on the client or invitation `about`."""
    if not isinstance(row.audit, AuditPattern):
        raise TypeError(f"{row.code} has no audit pattern")
    made = balp.event(row.audit, caller, Account(), request, words)
    detail = [{"type": k, "valueString": v} for k, v in told.items() if v]
    entity: dict[str, Any] = {
        "type": {"system": balp.ENTITY_TYPE, "code": "2", "display": "System Object"},
        "role": {"system": balp.OBJECT_ROLE, "code": "13", "display": "Security Resource"},
        "name": row.name,
    }
    if about:
        entity["what"] = {"identifier": {"value": printable(about, 200)}}
    return made | {"entity": [entity | ({"detail": detail} if detail else {})]}
