"""Messages of ITI-93 as senders make them, and a consumer to send them to."""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from standards import fhir_xml, pmir, pmir_message
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


# -- the other side -----------------------------------------------------------------------------------


@dataclass
class Got:
    """One request that an endpoint got."""

    path: str
    headers: dict[str, str]
    body: bytes
    message: dict[str, Any]

    @property
    def header(self) -> dict[str, Any]:
        """The MessageHeader."""
        made: dict[str, Any] = self.message["entry"][0]["resource"]
        return made

    @property
    def told(self) -> list[tuple[str, str]]:
        """Method and id of every entry of the history, in order."""
        history = self.message["entry"][1]["resource"]
        return [
            (e["request"]["method"], e["fullUrl"].rpartition("/")[2])
            for e in history.get("entry", [])
        ]

    @property
    def patients(self) -> list[dict[str, Any]]:
        """The Patients of the history."""
        history = self.message["entry"][1]["resource"]
        return [e["resource"] for e in history.get("entry", []) if "resource" in e]


@dataclass
class Consumer:
    """A real HTTP server that stands in for a Patient Identity Consumer. `behave` decides per request:
    a status, a status with a header line, "slow", "close", "garbage", or "reply:CODE" for an ITI-93
    answer; it may be a coroutine."""

    behave: Callable[[Got], Any] = lambda _: 200
    got: list[Got] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def told(self) -> list[tuple[str, str]]:
        """Everything that it was told, test messages aside."""
        return [t for g in self.got for t in g.told]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            xml = "xml" in headers.get("content-type", "")
            made = fhir_xml.parse(body) if xml else json.loads(body)
            got = Got(line.split(" ")[1], headers, body, made)
            self.got.append(got)
            writer.write(await self._answer(got))
            await writer.drain()
        writer.close()

    async def _answer(self, got: Got) -> bytes:
        said = self.behave(got)
        if asyncio.iscoroutine(said):
            said = await said
        if said == "close":
            return b""
        if said == "slow":
            await asyncio.sleep(30)
            return b""
        if said == "garbage":
            return b"HTTP/1.1 nonsense\r\n\r\n"
        body, extra = b"", ""
        status = said
        if isinstance(said, tuple):
            status, extra = said
        elif isinstance(said, str) and said.startswith("reply:"):
            code: Any = said.removeprefix("reply:")
            status = 200 if code == "ok" else 422
            told = pmir_message.response(
                got.header["id"], code, id_="r1", base=SENDER, instant="2026-11-25T10:00:00.000Z"
            )
            body = json.dumps(told).encode()
        head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        return f"{head}Content-Type: application/fhir+json\r\n{extra}\r\n".encode() + body


@asynccontextmanager
async def consuming(
    behave: Callable[[Got], Any] = lambda _: 200, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Consumer]:
    """A consumer that listens on a free port of this machine."""
    made = Consumer(behave, tls=tls)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def subscription(endpoint: str, criteria: str = "Patient", **more: Any) -> dict[str, Any]:
    """A Subscription as a subscriber asks for it."""
    channel = {"type": "message", "endpoint": endpoint, "payload": "application/fhir+json"}
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "contact": [{"system": "email", "value": "feeds@consumer.example"}],
        "reason": "keeps the appointment book right",
        "criteria": criteria,
        "channel": {**channel, **more.pop("channel", {})},
        **more,
    }


async def eventually(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until something holds; fails when it never does."""
    for _ in range(int(seconds / 0.02)):
        held = true()
        if await held if asyncio.iscoroutine(held) else held:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came true")
