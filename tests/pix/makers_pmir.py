"""Messages of ITI-93 as senders make them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from standards import pmir
from tests.pix.makers import Pix

SENDER = "https://source.example/fhir"


def entry(
    method: str, url: str, resource: Mapping[str, Any] | None = None, *, status: str = ""
) -> dict[str, Any]:
    """One entry of a history."""
    made: dict[str, Any] = {"fullUrl": f"urn:uuid:{uuid.uuid4()}"}
    if "/" in url:
        made["fullUrl"] = f"{SENDER}/{url}"
    if resource is not None:
        made["resource"] = dict(resource)
    made["request"] = {"method": method, "url": url}
    made["response"] = {"status": status or {"POST": "201", "PUT": "200"}.get(method, "202")}
    return made


def created(resource: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """A Patient that was created at the sender, which knows it as `name`."""
    return entry("POST", "Patient", {**resource, "id": name} if name else resource)


def updated(name: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    """A Patient that was updated at the sender."""
    return entry("PUT", f"Patient/{name}", {**resource, "id": name})


def deleted(name: str) -> dict[str, Any]:
    """A Patient that was deleted at the sender."""
    return entry("DELETE", f"Patient/{name}")


def message(
    *entries: Mapping[str, Any], id_: str = "", endpoint: str = SENDER, **header: Any
) -> dict[str, Any]:
    """A message with this history, as the profile wants it."""
    id_ = id_ or str(uuid.uuid4())
    history = f"urn:uuid:{uuid.uuid4()}"
    held: dict[str, Any] = {"resourceType": "Bundle", "type": "history"}
    if entries:
        held["entry"] = [dict(e) for e in entries]
    head = {
        "resourceType": "MessageHeader",
        "id": id_,
        "eventUri": pmir.FEED_EVENT,
        "destination": [{"endpoint": "http://exchange.test/fhir/$process-message"}],
        "source": {"endpoint": endpoint},
        "focus": [{"reference": history}],
        "definition": pmir.FEED,
        **header,
    }
    return {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [
            {"fullUrl": f"urn:uuid:{id_}", "resource": head},
            {"fullUrl": history, "resource": held},
        ],
    }


async def send(
    pix: Pix, body: Mapping[str, Any], path: str = "/$process-message"
) -> httpx.Response:
    """POST a message."""
    return await pix.http.post(path, json=dict(body))


async def tell(pix: Pix, *entries: Mapping[str, Any], **header: Any) -> httpx.Response:
    """POST a message with these entries that must be taken."""
    answer = await send(pix, message(*entries, **header))
    assert answer.status_code == 200, answer.text
    assert header_of(answer)["response"]["code"] == "ok"
    return answer


def header_of(answer: httpx.Response) -> dict[str, Any]:
    """The MessageHeader of an answer."""
    body = answer.json()
    assert body["resourceType"] == "Bundle", answer.text
    assert body["type"] == "message"
    assert len(body["entry"]) == 1
    made: dict[str, Any] = body["entry"][0]["resource"]
    return made


def details(answer: httpx.Response) -> Sequence[Mapping[str, Any]]:
    """The issues in the details of an answer."""
    contained = header_of(answer).get("contained") or [{"issue": []}]
    return list(contained[0]["issue"])


def statuses(answer: httpx.Response) -> dict[str, str]:
    """Status by FHIRPath, as the details say."""
    return {i["expression"][0]: i["details"]["text"] for i in details(answer) if "expression" in i}


def ids(answer: httpx.Response) -> list[str]:
    """The logical ids that an answer tells, in the order of the entries."""
    return [
        i["diagnostics"].split("/")[1] for i in details(answer) if i["severity"] == "information"
    ]
