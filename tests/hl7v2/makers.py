"""Messages, and a running pix service with its HL7 v2 door open on a real socket."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from affinity.pack import load
from chassis import onion
from chassis.call import Caller
from chassis.mongo import Mongo
from chassis.service import Rider
from chassis.settings import Settings
from exchange import ports
from pix.app import ROWS, open_service
from pix.hl7v2.message import Message, read
from pix.hl7v2.parked import Parked
from pix.hl7v2.speaking import speaking
from tests.running import ORIGIN, serving

ARC = "2.25.246518263911584.1"
MFT = "MRN-R0A"
MFT_OID = f"{ARC}.5.{int.from_bytes(b'R0A', 'big')}"
MFT_FULL = f"MRN-R0A&{MFT_OID}&ISO"
NCA = "MRN-RM3"
NHS = "NHS&2.16.840.1.113883.2.1.4.1&ISO"
COUNCIL = "SCN-352"
SYSTEM = "https://throughline.example/fhir/Id/local-patient-identifier/R0A"
FEEDER = Caller(client_id="feeder", scope="system/*.cruds", role="R-SYS")
_STEP = iter(range(1, 10_000_000))


def unique(prefix: str = "M") -> str:
    return f"{prefix}{next(_STEP):06d}"


def msh(
    event: str, *, sender: str = "PAS|R0A", id_: str = "", version: str = "2.3.1", mode: str = "P",
    charset: str = "UNICODE UTF-8",
) -> str:  # fmt: skip
    return f"MSH|^~\\&|{sender}|THROUGHLINE|EXCHANGE|20261125120000||{event}|{id_ or unique()}|{mode}|{version}||||||{charset}"


def pid(
    numbers: str, *, name: str = "Ashworth^Zoë^May", born: str = "19800203", sex: str = "F", maiden: str = "",
    address: str = "1 High Street^^Manchester^^M1 1AA^GBR^H", phone: str = "0161 496 0000^PRN^PH", pid19: str = "",
    unknown: str = "", flags: str = "",
) -> str:  # fmt: skip
    fields = [""] * 33
    fields[3], fields[5], fields[6], fields[7], fields[8] = numbers, name, maiden, born, sex
    fields[11], fields[13], fields[19], fields[31], fields[32] = (
        address,
        phone,
        pid19,
        unknown,
        flags,
    )
    return "|".join(["PID", *fields[1:]]).rstrip("|")


def adt(event: str, *segments: str, **header: Any) -> str:
    if event in ("A28", "A31", "A40", "A47", "A24", "A37"):
        header.setdefault("version", "2.5")
    return "\r".join([msh(f"ADT^{event}", **header), "EVN||20261125120000", *segments])


def a_person(numbers: str, event: str = "A01", **more: Any) -> str:
    header = {k: more.pop(k) for k in ("sender", "id_", "version", "mode") if k in more}
    return adt(event, pid(numbers, **more), "PV1||N", **header)


def a_merge(survivor: str, replaced: str, event: str = "A40", **header: Any) -> str:
    return adt(event, f"PID|||{survivor}||Ashworth^Zoë", f"MRG|{replaced}", **header)


def q23(
    number: str,
    targets: Sequence[str] = (),
    *,
    tag: str = "T1",
    sender: str = "PAS|R0A",
    **header: Any,
) -> str:
    wanted = "~".join(f"^^^{t}" for t in targets)
    qpd = f"QPD|IHE PIX Query|{tag}|{number}|{wanted}".rstrip("|")
    return "\r".join([msh("QBP^Q23^QBP_Q21", version="2.5", sender=sender, **header), qpd, "RCP|I"])


def q22(
    fields: Sequence[str], *, tag: str = "T1", domains: Sequence[str] = (), size: str = "", pointer: str = "",
    sender: str = "ENGINE|GMICB", **header: Any,
) -> str:  # fmt: skip
    wanted = "~".join(f"^^^{d}" for d in domains)
    qpd = f"QPD|IHE PDQ Query|{tag}|{'~'.join(fields)}|||||{wanted}".rstrip("|")
    parts = [
        msh("QBP^Q22^QBP_Q21", version="2.5", sender=sender, **header),
        qpd,
        f"RCP|I|{size}".rstrip("|"),
    ]
    if pointer:
        parts.append(f"DSC|{pointer}|I")
    return "\r".join(parts)


@dataclass
class Answer:
    """An answer as a test looks at it."""

    raw: bytes
    message: Message

    @property
    def ack(self) -> str:
        return self.message.first("MSA").value(1)

    @property
    def errors(self) -> list[tuple[str, str]]:
        """(location, code) of every ERR."""
        return [
            ("^".join(c[0] for c in e.field(2)[0]), e.value(3)) for e in self.message.all("ERR")
        ]

    @property
    def words(self) -> list[str]:
        return [e.value(8) for e in self.message.all("ERR")]

    @property
    def standing(self) -> str:
        return self.message.first("QAK").value(3 - 1)

    def numbers(self, at: int = 0) -> list[tuple[str, str]]:
        """(value, namespace) of PID-3."""
        pids = list(self.message.all("PID"))
        return [(cx[0][0], cx[3][0]) for cx in pids[at].field(3)] if pids else []


def answered(raw: bytes) -> Answer:
    message, faults = read(raw)
    assert message is not None, raw
    assert not faults, raw
    return Answer(raw, message)


@dataclass
class Hl7:
    """The running service: `say` speaks over MLLP; `http` speaks FHIR as the feeder."""

    port: int
    http: httpx.AsyncClient
    mongo: Mongo
    settings: Settings
    audited: list[Mapping[str, Any]] = field(default_factory=list)
    audit_fails: bool = False
    tls: ssl.SSLContext | None = None

    async def say(self, *messages: str | bytes) -> Answer:
        """The last answer to these messages, said on one line."""
        raw = b""
        async with speaking("127.0.0.1", self.port, self.tls, patience=60) as line:
            for message in messages:
                raw = await line.say(message if isinstance(message, bytes) else message.encode())
        return answered(raw)

    async def fed(self, *messages: str) -> None:
        """Say messages that must be accepted."""
        for message in messages:
            answer = await self.say(message)
            assert answer.ack == "AA", answer.raw

    async def patient(self, system: str, value: str) -> dict[str, Any]:
        """The one Patient with this identifier, over FHIR."""
        found = await self.http.get("/Patient", params={"identifier": f"{system}|{value}"})
        assert found.status_code == 200, found.text
        entries = [e["resource"] for e in found.json().get("entry", [])]
        active = [e for e in entries if e.get("active") is not False]
        assert len(active) == 1, found.text
        return dict(active[0])

    async def others(self, system: str, value: str) -> list[str]:
        """The values that `$ihe-pix` tells."""
        answer = await self.http.get(
            "/Patient/$ihe-pix", params={"sourceIdentifier": f"{system}|{value}"}
        )
        assert answer.status_code == 200, answer.text
        return sorted(
            p["valueIdentifier"]["value"]
            for p in answer.json().get("parameter", [])
            if p["name"] == "targetIdentifier"
        )

    @property
    def parked(self) -> Parked:
        return Parked(self.mongo)


@asynccontextmanager
async def hl7v2_service(
    mongo: Mongo, tls: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[Hl7]:
    """The pix service as in production, with its door open on a free port."""
    port = ports.pick("127.0.0.1")
    settings = Settings(public_url=ORIGIN, log_level="error", hl7v2_port=port, **changes)
    made: list[Hl7] = []

    class Told:
        def __init__(self) -> None:
            self.listeners: list[Any] = []

        async def caller(self, token: str) -> Caller:
            return FEEDER

        async def record(self, *events: Mapping[str, Any]) -> None:
            if made and made[0].audit_fails:
                from chassis.audit import AuditFailed

                raise AuditFailed
            if made:
                made[0].audited += events
            for listener in self.listeners:
                listener(events)

    told = Told()

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        async with open_service(settings, mongo, load(settings.affinity), audit=told) as service:
            yield (service,), Rider(settings, told, told)

    async with serving(onion.create(opening, ROWS)) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        headers = {"Authorization": "Bearer t", "Accept": "application/fhir+json"}
        async with httpx.AsyncClient(
            transport=transport, base_url=f"{ORIGIN}/fhir", headers=headers
        ) as http:
            made.append(Hl7(port, http, mongo, settings, tls=tls))
            yield made[0]


@dataclass
class Consumer:
    """A consumer at the other end of a line, stood in for at the wire: it notes what it is told and
    answers as a test says."""

    port: int = 0
    heard: list[Answer] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)  # the next acknowledgements; AA when empty
    server: asyncio.Server | None = None
    lines: int = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._line, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        self.server = None

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from pix.hl7v2.framing import Framing, framed

        self.lines += 1
        framing = Framing(100_000)
        try:
            while data := await reader.read(4096):
                for raw in framing.feed(data):
                    if self.server is None:
                        return
                    said = answered(raw)
                    ack = self.acks.pop(0) if self.acks else "AA"
                    if ack == "hang up":
                        return
                    self.heard.append(said)
                    control = said.message.control_id
                    error = "\rERR||PID^1^3|204^Unknown key^HL70357|E" if ack != "AA" else ""
                    writer.write(
                        framed(
                            f"MSH|^~\\&|C|C|T|E|2026||ACK^A31^ACK|1|P|2.5\rMSA|{ack}|{control}{error}".encode()
                        )
                    )
                    await writer.drain()
        finally:
            writer.close()

    async def until(self, count: int, patience: float = 20.0) -> list[Answer]:
        """What was heard, as soon as it is so much."""
        end = time.monotonic() + patience
        while len(self.heard) < count:
            if time.monotonic() > end:
                pytest.fail(f"heard {len(self.heard)} notices instead of {count}")
            await asyncio.sleep(0.05)
        return self.heard


def consumers_file(folder: Path, port: int, domains: str, name: str = "REGISTER") -> str:
    path = folder / f"consumers-{name}.csv"
    path.write_text(
        "name,host,port,application,facility,domains,tls\n"
        f"{name},127.0.0.1,{port},REG,GM,{domains},no\n"
    )
    return str(path)
