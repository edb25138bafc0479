"""An organisation outside: a real small HTTP server on a socket, with every vice a server can have."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import affinity
from affinity.pack import Pack, load

LETTER = b"A letter that another organisation keeps.\n"


@dataclass
class Request:
    """What was asked."""

    path: str
    headers: dict[str, str]


@dataclass
class Archive:
    """The server. `documents` are its bytes by path; `manners` how it treats a path."""

    port: int = 0
    documents: dict[str, bytes] = field(default_factory=dict)
    manners: dict[str, str] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    ranges: bool = True

    def url(self, path: str, *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.strip().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (h.partition(":") for h in rest)}
                request = Request(line.split(" ")[1], headers)
                self.asked.append(request)
                if not await self._answer(request, writer):
                    break
                await writer.drain()
        writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer as this path is answered; whether the connection goes on."""
        path = request.path.partition("?")[0]
        content, manner = self.documents.get(path, b""), self.manners.get(path, "")
        name, _, detail = manner.partition(" ")
        if name == "status":
            _head(writer, int(detail), {"Content-Length": "0"})
        elif name == "redirect":
            _head(writer, 302, {"Location": detail, "Content-Length": "0"})
        elif name == "silent":
            await asyncio.sleep(30)
        elif name == "pausing":
            _head(writer, 200, {"Content-Length": str(len(content))})
            writer.write(content[: len(content) // 2])
            await writer.drain()
            await asyncio.sleep(30)
        elif name == "trickling":
            _head(writer, 200, {"Content-Length": str(len(content))})
            for byte in content:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.2)
        elif name == "endless":
            _head(writer, 200, {"Connection": "close"})
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        elif name == "early":
            _head(writer, 200, {"Content-Length": str(len(content))})
            writer.write(content[:-1])
            await writer.drain()
            return False
        elif name == "hangup":
            return False
        elif name == "nonsense":
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            return False
        elif name == "packed":
            _head(writer, 200, {"Content-Length": str(len(content)), "Content-Encoding": "gzip"})
            writer.write(content)
        elif name == "wrongrange":
            _head(
                writer, 206, {"Content-Length": "3", "Content-Range": f"bytes 0-2/{len(content)}"}
            )
            writer.write(content[:3])
        elif path not in self.documents:
            _head(writer, 404, {"Content-Length": "0"})
        else:
            self._document(request, content, writer)
        return True

    def _document(self, request: Request, content: bytes, writer: asyncio.StreamWriter) -> None:
        asked = request.headers.get("range", "")
        if asked and self.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last) + 1]
            there = f"bytes {first}-{last}/{len(content)}"
            _head(writer, 206, {"Content-Length": str(len(part)), "Content-Range": there})
            writer.write(part)
            return
        _head(
            writer, 200, {"Content-Length": str(len(content)), "Content-Type": "application/x-far"}
        )
        writer.write(content)


def _head(writer: asyncio.StreamWriter, status: int, headers: dict[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} Said", *(f"{k}: {v}" for k, v in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())


@asynccontextmanager
async def archive(context: ssl.SSLContext | None = None) -> AsyncIterator[Archive]:
    made = Archive()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await made.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def a_pack(folder: Path, *rows: str) -> Path:
    """Greater Manchester with these retrieval sources: organisation,base,mechanism,networks,why."""
    made = folder / "pack"
    shutil.copytree(Path(affinity.__file__).parent / "greater_manchester", made, dirs_exist_ok=True)
    lines = ["organisation,base,mechanism,networks,why", *rows]
    (made / "retrieval_sources.csv").write_text("\n".join(lines) + "\n")
    return made


def the_pack(folder: Path, *rows: str) -> Pack:
    from affinity.pack import _load

    _load.cache_clear()
    return load(a_pack(folder, *rows))


# -- certificates ----------------------------------------------------------------------------------
@dataclass
class Authority:
    """A certificate authority of the test's own, and what it has issued, as files."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test authority")])
        made = self._builder(self.name, self.key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = self.folder / "authority.pem"
        self.file.write_bytes(
            made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )  # fmt: skip

    def issue(self, name: str, *hosts: str) -> tuple[str, str]:
        """Files of a certificate for these hosts and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key)
        if hosts:
            names = [
                x509.IPAddress(ipaddress.ip_address(h)) if h[0].isdigit() else x509.DNSName(h)
                for h in hosts
            ]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(
            made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(certificate), str(private)

    def server(self, *hosts: str, mutual: bool = False) -> ssl.SSLContext:
        """The context of a server for these hosts; `mutual` wants a client's certificate too."""
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(*self.issue("server", *hosts))
        if mutual:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(self.file)
        return made
