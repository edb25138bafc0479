"""`throughline hl7v2`: say a message over MLLP, and look after those that could not be taken."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from affinity.pack import PackError, load
from affinity.partners import PartnersError
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange import whereabouts
from exchange.exits import Exit, Trouble
from exchange.nearby import with_mongo
from pix.hl7v2.message import Message, read
from pix.hl7v2.mllp import client_tls, line_of
from pix.hl7v2.opening import partners
from pix.hl7v2.parked import Held, Parked
from pix.hl7v2.queue import Queue, Waiting
from pix.hl7v2.speaking import Unanswered, speaking
from pix.hl7v2.visit import moment
from pix.identifiers import Domains

T = TypeVar("T")
_PATIENCE = 15.0  # seconds that a retry is waited for
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check(settings: Settings) -> None:
    """Raise `Trouble` when the HL7 v2 settings cannot work: before the workers start, where it can
    still be said plainly.

    Whoever can reach the port speaks for any sender without a certificate. So an address that others
    can reach needs TLS with certificates on both sides.
    """
    try:
        partners(settings, Domains(load(settings.affinity), settings.fhir_base))
    except (PackError, PartnersError) as fault:
        raise Trouble(Exit.USAGE, f"HL7 v2: {fault}") from fault
    if not settings.hl7v2_port:
        return
    secured = settings.hl7v2_certificate and settings.hl7v2_authority
    if settings.hl7v2_host not in LOOPBACK and not secured:
        raise Trouble(
            Exit.USAGE,
            f"--hl7v2-host {settings.hl7v2_host} can be reached from other machines, and MLLP knows no "
            "tokens: give --hl7v2-certificate, --hl7v2-key and --hl7v2-authority, or listen on 127.0.0.1.",
        )
    try:
        line_of(settings)
    except (OSError, ssl.SSLError) as fault:
        raise Trouble(
            Exit.USAGE,
            f"The HL7 v2 certificate, key or authority cannot be used: {fault.strerror or fault}.",
        ) from fault


def door(settings: Settings) -> str:
    """The address of the door as the ready line says it; "" when it is shut."""
    if not settings.hl7v2_port:
        return ""
    scheme = "mllps" if settings.hl7v2_certificate else "mllp"
    host = f"[{settings.hl7v2_host}]" if ":" in settings.hl7v2_host else settings.hl7v2_host
    return f"{scheme}://{host}:{settings.hl7v2_port}"


# -- saying messages ----------------------------------------------------------------------------------------


def send(settings: Settings, file: Path, host: str, port: int, *, tls: bool, quiet: bool) -> Exit:
    """Say every message of a file and print the answers; OK when all were accepted.

    A file holds messages one after the other, each beginning with MSH; `-` is standard input. Raises
    `Trouble` for a file without messages and when nobody answers.
    """
    messages = parts(_bytes(file))
    if not messages:
        raise Trouble(Exit.USAGE, f"{file} holds no message; each begins with MSH|.")
    host, port = host or settings.hl7v2_host, port or settings.hl7v2_port
    if not port:
        running = whereabouts.read(settings.data)
        said = running.hl7v2.rpartition(":")[2] if running else ""
        if not said:
            raise Trouble(
                Exit.NOT_RUNNING,
                f"No exchange with an open HL7 v2 door runs in {settings.data}; give --port, or serve with "
                "--hl7v2-port.",
            )
        port = int(said)
    try:
        context = client_tls(settings) if tls else None
        answers = asyncio.run(_said(messages, host, port, context))
    except Unanswered as fault:
        raise Trouble(Exit.NOT_RUNNING, f"{host}:{port}: {fault.why}.") from fault
    except (OSError, ssl.SSLError) as fault:
        raise Trouble(Exit.USAGE, f"TLS cannot be used: {fault.strerror or fault}.") from fault
    refused = 0
    for answer in answers:
        if not quiet:
            print(answer.decode("utf-8", "replace").replace("\r", "\n"))
        message, _ = read(answer)
        refused += not _accepted(message)
    print(f"{len(answers)} said, {len(answers) - refused} accepted.", file=sys.stderr)
    return Exit.REFUSED if refused else Exit.OK


def parts(raw: bytes) -> list[bytes]:
    """The messages in the bytes of a file, framed as on a line or not. PURE."""
    plain = raw.replace(b"\x0b", b"\r").replace(b"\x1c", b"\r")
    lines = [line for line in plain.replace(b"\n", b"\r").split(b"\r") if line.strip()]
    made: list[list[bytes]] = []
    for line in lines:
        if line.startswith(b"MSH"):
            made.append([])
        if made:
            made[-1].append(line)
    return [b"\r".join(message) + b"\r" for message in made]


def _bytes(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as fault:
        raise Trouble(Exit.USAGE, f"{file} cannot be read: {fault.strerror}.") from fault


async def _said(
    messages: list[bytes], host: str, port: int, tls: ssl.SSLContext | None
) -> list[bytes]:
    async with speaking(host, port, tls) as line:
        return [await line.say(message) for message in messages]


def _accepted(message: Message | None) -> bool:
    return message is not None and message.first("MSA").value(1) in ("AA", "CA")


# -- what could not be taken ---------------------------------------------------------------------------


def show(settings: Settings, console: Console, *, as_json: bool) -> None:
    """List parked messages and notices, without anything of what they say about people."""
    held, notices = with_mongo(settings, _all)
    if as_json:
        rows = [_message_row(h) for h in held] + [_notice_row(n) for n in notices]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not held and not notices:
        console.print("Nothing is parked.")
        return
    table = Table("Id", "Since", "From or to", "What", "Control id", "Tries", "Why")
    shown = ("id", "since", "partner", "what", "control", "tries")
    for row in (*map(_message_row, held), *map(_notice_row, notices)):
        table.add_row(*(str(row[name]) for name in shown), "\n".join(row["why"]))
    console.print(table)


def retry(settings: Settings, ids: list[str] | None) -> Exit:
    """Have parked messages and notices (None: all) tried again, and say what became of them.

    The door of the running exchange does it. OK when all were taken.
    """

    async def story(mongo: Mongo) -> tuple[int, list[Held], int]:
        parked, queue = Parked(mongo), Queue(mongo)
        asked = await parked.ask(ids) if ids is None or ids else 0
        notices = await queue.ask(ids, moment())
        end = time.monotonic() + _PATIENCE
        left = await parked.all()
        while any(h.state == "retry" for h in left) and time.monotonic() < end:
            await asyncio.sleep(0.2)
            left = await parked.all()
        return asked, [h for h in left if ids is None or h.id in ids], notices

    asked, left, notices = with_mongo(settings, story)
    if not asked and not notices:
        raise Trouble(
            Exit.REFUSED, "Nothing of that is parked; see `throughline hl7v2 parked list`."
        )
    waiting = [h for h in left if h.state == "retry"]
    refused = [h for h in left if h.state != "retry"]
    _say(f"{asked - len(left)} of {asked} messages were taken; {notices} notices go out again.")
    for one in refused:
        _say(f"{one.id}: {'; '.join(one.reasons)}")
    if waiting:
        _say(f"{len(waiting)} wait for an exchange with an open HL7 v2 door.")
    return Exit.FAILED if left else Exit.OK


def drop(settings: Settings, ids: list[str] | None) -> None:
    """Forget parked messages and notices (None: all). Raises `Trouble` when there are none of these."""

    async def story(mongo: Mongo) -> int:
        return await Parked(mongo).drop(ids) + await Queue(mongo).drop(ids)

    gone = with_mongo(settings, story)
    if not gone:
        raise Trouble(
            Exit.REFUSED, "Nothing of that is parked; see `throughline hl7v2 parked list`."
        )
    _say(f"{gone} dropped.")


async def _all(mongo: Mongo) -> tuple[list[Held], list[Waiting]]:
    return await Parked(mongo).all(), await Queue(mongo).parked()


def _message_row(held: Held) -> dict[str, Any]:
    return {
        "id": held.id,
        "since": held.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "partner": held.sender,
        "what": held.event,
        "control": held.control_id,
        "tries": held.attempts,
        "why": list(held.reasons),
    }


def _notice_row(notice: Waiting) -> dict[str, Any]:
    return {
        "id": notice.id,
        "since": notice.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "partner": notice.consumer,
        "what": "notice",
        "control": "",
        "tries": notice.attempts,
        "why": [notice.reason],
    }


def _say(words: str) -> None:
    print(words, file=sys.stderr)
