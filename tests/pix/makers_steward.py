"""Stewards, and how they ask: Parameters in, Parameters out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from chassis.call import Caller
from pix.near import Who
from tests.pix.makers import FEEDER, Pix, patient
from tests.pix.test_linking import told

SCOPE = "throughline.steward"
JO = Caller(client_id="desk", subject="jo", scope=SCOPE, role="R-ADM", organisation="QOP")
KIM = Caller(client_id="desk", subject="kim", scope=SCOPE, role="R-ADM", organisation="352")
GUARD = Caller(client_id="desk", subject="guard", scope=SCOPE, role="R-IGO", organisation="QOP")
OTHER_GUARD = Caller(client_id="desk", subject="guard 2", scope=SCOPE, role="R-IGO")
WATCH = Caller(client_id="job", scope=SCOPE, role="R-SYS")
WHY = {"reason": "records-compared", "comment": "Both passports were seen."}
_BOOLEANS, _INTEGERS, _DATES = ("mine", "overdue"), ("_count",), ("at", "until")


def parameters(**said: Any) -> dict[str, Any]:
    """A Parameters resource; a list gives a parameter several times."""
    made = []
    for name, value in said.items():
        form = "valueString"
        if name in _BOOLEANS:
            form = "valueBoolean"
        elif name in _INTEGERS:
            form = "valueInteger"
        elif name in _DATES:
            form = "valueDateTime"
        made += [{"name": name, form: v} for v in (value if isinstance(value, list) else [value])]
    return {"resourceType": "Parameters", "parameter": made}


async def ask(pix: Pix, who: Caller, operation: str, **said: Any) -> httpx.Response:
    """POST an operation as this steward."""
    pix.caller = who
    try:
        return await pix.http.post(f"/Patient/${operation}", json=parameters(**said))
    finally:
        pix.caller = FEEDER


async def get(pix: Pix, who: Caller, url: str, **headers: str) -> httpx.Response:
    """GET below the FHIR base, or at a whole URL, as this steward."""
    pix.caller = who
    try:
        told_ = {k.replace("_", "-"): v for k, v in headers.items()}
        return await pix.http.get(url, headers=told_)
    finally:
        pix.caller = FEEDER


async def done(pix: Pix, who: Caller, operation: str, **said: Any) -> dict[str, Any]:
    """The answer of an operation that is not refused, read."""
    answer = await ask(pix, who, operation, **said)
    assert answer.status_code == 200, answer.text
    return read(answer.json())


def read(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A Parameters resource as a dict: every name holds the list of its values; parts likewise."""
    assert resource["resourceType"] in ("Parameters",), resource
    return _read(resource.get("parameter") or ())


def _read(said: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for parameter in said:
        value = next((v for k, v in parameter.items() if k.startswith("value")), None)
        if "part" in parameter:
            value = _read(parameter["part"])
        made.setdefault(parameter["name"], []).append(value)
    return made


async def fed(pix: Pix, system: str, value: str, seed: str, **more: Any) -> str:
    """The logical id of a record that says the person `seed`."""
    pix.caller = FEEDER
    answer = await pix.feed(patient(system, value, **(told(seed) | more)))
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


async def who_is(pix: Pix, record: str) -> Who:
    """What neighbours are told of a record."""
    asked = ("id", record)
    return (await pix.near.who([asked]))[asked]


async def person(pix: Pix, record: str) -> str:
    """The person of a record."""
    return (await who_is(pix, record)).person
