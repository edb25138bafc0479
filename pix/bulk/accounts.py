"""What bulk work tells the audit: who ran it and on which file, and every patient it made. PURE.

A load and a linkage are one AuditEvent each, with their counts and the digest of the file; every record
that enters the register is told as ITI-104 tells it, for its source's word reached us all the same
(PIX digest §4.1).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis.call import Account, Caller, dumps, instant
from chassis.mongo import Doc
from pix.change import Actor
from standards import balp

_IMPORT = {"system": balp.DCM, "code": "110107", "display": "Import"}
_EXPORT = {"system": balp.DCM, "code": "110106", "display": "Export"}


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs the command: the name under which records are fed, the organisation they are fed for,
    and the exchange's public FHIR base."""

    client: str
    organisation: str
    server: str

    def actor(self, job: str) -> Actor:
        """As decisions keep it."""
        return Actor(self.client, self.organisation, "", job)


def fed(
    operator: Operator, record: str, system: str, value: str, job: str, now: datetime, *, new: bool
) -> Doc:
    """The outbox row of a record that entered or was revised (ITI-104)."""
    pattern = balp.ITI_104_CREATE if new else balp.ITI_104_UPDATE
    caller = Caller(client_id=operator.client, organisation=operator.organisation)
    account = Account(
        patients=[(system, value)], data=[f"Patient/{record}"], profile=pattern.profile
    )
    request = balp.Request(str(uuid.uuid4()), instant(now), operator.server, request_id=job[:64])
    return row(balp.event(pattern, caller, account, request), now)


def job(
    operator: Operator, kind: str, facts: Mapping[str, object], now: datetime, *, out: bool = False
) -> Doc:
    """The outbox row of a whole load, linkage or export; `facts` are its counts and digests."""
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(uuid.uuid4()),
        "type": _EXPORT if out else _IMPORT,
        "subtype": [{"system": balp.RESTFUL, "code": "batch", "display": f"people {kind}"}],
        "action": "R" if out else "C",
        "recorded": instant(now),
        "outcome": "0",
        "agent": [
            {
                "type": {"coding": [_coding("110153", "Source Role ID")]},
                "who": {"type": "Device", "identifier": {"value": operator.client}},
                "requestor": True,
            },
            {
                "type": {"coding": [_coding("110152", "Destination Role ID")]},
                "who": balp.observer(operator.server),
                "requestor": False,
                "network": {"address": operator.server, "type": "5"},
            },
        ],
        "source": {
            "observer": balp.observer(operator.server),
            "type": [{"system": balp.SOURCE_TYPE, "code": "4", "display": "Application Server"}],
        },
        "entity": [
            {
                "type": {"system": balp.ENTITY_TYPE, "code": "2", "display": "System Object"},
                "role": {"system": balp.OBJECT_ROLE, "code": "20", "display": "Job"},
                "name": f"people {kind}",
                "detail": [{"type": k, "valueString": str(v)} for k, v in facts.items()],
            }
        ],
    }
    return row(event, now)


def row(event: Mapping[str, Any], now: datetime) -> Doc:
    """An AuditEvent as the outbox holds it."""
    return {"_id": event["id"], "at": now, "b": dumps(event)}


def _coding(code: str, display: str) -> dict[str, str]:
    return {"system": balp.DCM, "code": code, "display": display}
