"""What the audit trail is told about tokens (BALP IHE.IUA.71, security digest 5.6 and 5.12). PURE.

IHE.IUA.71 allows one entity, so a granted request makes two events: the request, with its secrets
struck out, and the token that answered it, named by its `jti`. By that `jti` every later AuditEvent
of the token's use leads back to here.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from auth.authorize.grants import Grant
from auth.client import Client
from chassis.call import Account, Caller, instant
from standards import balp
from standards.rows import AuditPattern, Transaction

JTI = "urn:ietf:params:oauth:jti:"


@dataclass(slots=True)
class Visit:
    """One request at an OAuth endpoint, and what was learned about it on the way.

    `claimed` is the client that an assertion named before anything was proved; `jti` is the token
    that was issued, revoked or asked about; `words` say why, when the answer went against the asker.
    `person` is who the app acts for, where the grant says so; `dpop` is the proof of a key that tokens
    are to be bound to.
    """

    line: str
    address: str
    authorization: str
    now: datetime
    dpop: str = ""
    form: tuple[tuple[str, str], ...] = ()
    client: Client | None = None
    person: Grant | None = None
    claimed: str = ""
    purpose: str = ""
    jti: str = ""
    words: str = ""
    refused: bool = False
    worth_telling: bool = True
    granted: dict[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str:
        """A form parameter, "" when it is absent (RFC 6749 §3.2 treats an empty one as absent)."""
        return next((v for k, v in self.form if k == name), "")


def events(
    visit: Visit, pattern: AuditPattern, issuer: str, status: int, words: balp.Vocabulary
) -> Sequence[dict[str, Any]]:
    """The AuditEvents of one visit: the request, and the token when one was issued or revoked."""
    told = visit.words
    if visit.refused and visit.client is None and visit.claimed:
        told += f" The request named the client {visit.claimed}."
    outcome = balp.outcome_of(status)
    request = balp.Request(
        event_id=str(uuid.uuid4()),
        recorded=instant(visit.now),
        server=issuer,
        outcome="8" if visit.refused and outcome == "0" else outcome,
        words=told,
        client_address=visit.address,
        raw=balp.token_request(visit.line, visit.form),
    )
    first = balp.event(pattern, _caller(visit, issuer), Account(), request, words)
    if not visit.jti or visit.refused:
        return [first]
    return [first, _about_token(first, visit)]


def _caller(visit: Visit, issuer: str) -> Caller:
    if visit.client is None:
        return Caller()
    if visit.person is not None:
        return acting(visit.person, issuer)
    return Caller(
        client_id=visit.client.client_id,
        subject=visit.client.client_id,
        issuer=issuer,
        organisation=visit.client.organisation,
        role=visit.client.role,
        purpose=visit.purpose,
        name=visit.client.name,
    )


def acting(person: Grant, issuer: str) -> Caller:
    """A person who acts through an app, as the audit trail names them."""
    return Caller(
        client_id=person.client_id,
        subject=person.person,
        issuer=issuer,
        organisation=person.organisation,
        role=person.role,
        purpose=person.purpose,
        reason=person.reason,
        name=person.name,
    )


def deed(
    row: Transaction,
    who: Caller,
    issuer: str,
    words: balp.Vocabulary,
    *,
    now: datetime,
    address: str,
    said: str,
    patient: str = "",
    refused: bool = False,
) -> dict[str, Any]:
    """The AuditEvent of something that was decided on a page or through the API of launches: who did
    it, what in words, and whose record it is about."""
    if not isinstance(row.audit, AuditPattern):
        raise TypeError(f"{row.code} is not audited")
    method, path = row.routes[-1]
    request = balp.Request(
        event_id=str(uuid.uuid4()),
        recorded=instant(now),
        server=issuer,
        outcome="8" if refused else "0",
        words=said,
        client_address=address,
        raw=f"{method} {path}".encode(),
    )
    touched = Account(patients=[f"Patient/{patient}"] if patient else [])
    return balp.event(row.audit, who, touched, request, words)


def _about_token(first: dict[str, Any], visit: Visit) -> dict[str, Any]:
    made = {k: v for k, v in first.items() if k != "meta"}
    made["id"] = str(uuid.uuid4())
    entity: dict[str, Any] = {
        "what": {"identifier": {"system": balp.URI, "value": JTI + visit.jti}},
        "type": {"system": balp.ENTITY_TYPE, "code": "2", "display": "System Object"},
        "role": {"system": balp.OBJECT_ROLE, "code": "13", "display": "Security Resource"},
    }
    if visit.granted:
        entity["detail"] = [{"type": k, "valueString": v} for k, v in visit.granted.items() if v]
    made["entity"] = [entity]
    return made
