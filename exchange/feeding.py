"""`people load --over http`: the same file through the public FHIR API, as any source would feed it.

Lines are judged here first, so that refusals read alike and cost the exchange nothing; what is sound is
PUT by its identifier, several at a time. How far it has come is kept in a file beside the one that is
loaded, written after every block: killed at any point, the same command goes on there, and what is sent
again changes nothing (ITI-104 is idempotent).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import orjson
from rich.console import Console

from chassis.settings import Settings
from exchange import whereabouts
from exchange.exits import Exit, Trouble
from exchange.token import Asked, token_of
from pix.bulk.admission import Admitted, Desk, Rejected, rejects
from pix.bulk.files import FileFault, Line, Source, described, lines
from pix.bulk.mapping import mapping

if TYPE_CHECKING:
    from exchange.bulk import File

SCOPE = "system/Patient.cruds"
TOKEN_LIFE, BLOCK, TRIES = 200.0, 500, 6


@dataclass(frozen=True, slots=True)
class Way:
    """How the exchange is reached: the client, its private key, the FHIR base ("": of the exchange that
    runs in the data folder), and how many requests are under way at a time."""

    client: str
    key: Path | None
    fhir: str
    parallel: int


@dataclass(slots=True)
class _Place:
    """How far it has come; `rejects` is how long the rejects file was then."""

    digest: str
    after: int = 0
    line: int = 0
    fed: int = 0
    refused: int = 0
    rejects: int = 0


def load(settings: Settings, file: File, way: Way, console: Console) -> Exit:
    """Feed a file. Raises `Trouble`: USAGE for the file or the key, NOT_RUNNING when nobody answers."""
    if way.key is None:
        raise Trouble(Exit.USAGE, "--over http needs --client and --key of a registered client.")
    found = whereabouts.read(settings.data) if not way.fhir else None
    base = way.fhir or (found.fhir if found else "")
    if not base:
        words = (
            f"No exchange runs in {settings.data}; start one, or name its FHIR base with --fhir."
        )
        raise Trouble(Exit.NOT_RUNNING, words)
    try:
        source = described(file.path)
        heading = next(lines(source), None) if source.kind == "csv" else None
        columns = mapping(heading.text, file.mapping, file.domain) if heading else None
        desk = Desk(settings.affinity, base, file.domain, columns)
        made = asyncio.run(_Feed(settings, file, way, base, source, desk, console).run())
    except FileFault as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault
    except httpx.HTTPError as fault:
        words = f"The exchange at {base} does not answer any more ({type(fault).__name__})."
        raise Trouble(
            Exit.NOT_RUNNING, f"{words} The same command goes on where it stood."
        ) from fault
    console.print(f"{made.fed} records were fed, {made.refused} refused.")
    return Exit.OK


@dataclass(slots=True)
class _Feed:
    settings: Settings
    file: File
    way: Way
    base: str
    source: Source
    desk: Desk
    console: Console
    bearer: str = field(default="", init=False)
    until: float = field(default=0.0, init=False)

    async def run(self) -> _Place:
        from exchange.progress import progress

        place = self._begun()
        start = lines(self.source, place.after, place.line)
        if self.desk.columns is not None and not place.line:
            start = islice(start, 1, None)
        limits = httpx.Limits(max_connections=self.way.parallel)
        with progress(self.console) as bars:
            bar = bars.add_task("bytes", total=self.source.size)
            async with httpx.AsyncClient(base_url=self.base, limits=limits, timeout=60) as http:
                for block in _blocks(start):
                    refused = await self._block(http, block)
                    self._keep(place, block, refused)
                    bars.update(bar, completed=place.after, description=f"{place.line} lines")
        self._mark.unlink(missing_ok=True)
        return place

    async def _block(self, http: httpx.AsyncClient, block: Sequence[Line]) -> list[Rejected]:
        refused: list[Rejected] = []
        chains: dict[str, list[Admitted]] = {}
        for line in block:
            if not line.text.strip():
                continue
            found = self.desk.line(line)
            if isinstance(found, Admitted):
                # What one source says of one person goes in the order of the file.
                chains.setdefault(f"{found.system}|{found.value}", []).append(found)
            else:
                refused.append(Rejected(line.number, tuple((i.where, i.words) for i in found)))
        waiting = iter(list(chains.values()))

        async def worker() -> None:
            for chain in waiting:
                refused.extend([r for one in chain if (r := await self._fed(http, one))])

        async with asyncio.TaskGroup() as group:
            for _ in range(self.way.parallel):
                group.create_task(worker())
        return sorted(refused)

    async def _fed(self, http: httpx.AsyncClient, one: Admitted) -> Rejected | None:
        why = await self._put(http, one)
        return Rejected(one.number, why) if why else None

    async def _put(
        self, http: httpx.AsyncClient, one: Admitted
    ) -> tuple[tuple[str, str], ...] | None:
        """Feed one; why it was refused, None when it was not."""
        asked = {"identifier": f"{one.system}|{_escaped(one.value)}"}
        for attempt in range(TRIES):
            headers = {
                "Content-Type": "application/fhir+json", "Accept": "application/fhir+json",
                "Prefer": "return=minimal", "Authorization": f"Bearer {await self._token()}",
            }  # fmt: skip
            try:
                answer = await http.put("/Patient", params=asked, content=one.own, headers=headers)
            except httpx.TransportError:
                if attempt == TRIES - 1:
                    raise
            else:
                if answer.status_code == 401:
                    self.until = 0.0
                elif answer.status_code not in (429, 503):
                    return None if answer.status_code in (200, 201) else _why(answer)
                if attempt == TRIES - 1:
                    return _why(answer)
            await asyncio.sleep(0.1 * 2**attempt)
        return None

    async def _token(self) -> str:
        if time.monotonic() > self.until:
            self.until = time.monotonic() + TOKEN_LIFE
            asked, key = Asked(self.way.client, SCOPE), self.way.key or Path()
            self.bearer = await asyncio.to_thread(
                token_of, asked, key, self.base, self.settings.data
            )
        return self.bearer

    # -- the place ------------------------------------------------------------------------------

    @property
    def _mark(self) -> Path:
        return self.file.path.with_name(self.file.path.name + ".fed")

    @property
    def _rejects(self) -> Path:
        return self.file.rejects or self.file.path.with_suffix(".rejects.ndjson")

    def _begun(self) -> _Place:
        fresh = _Place(self.source.digest)
        try:
            said = json.loads(self._mark.read_text())
            place = _Place(**said) if said.get("digest") == fresh.digest else fresh
        except FileNotFoundError:
            place = fresh
        except (OSError, ValueError, TypeError, AttributeError) as fault:
            raise FileFault(
                f"{self._mark} cannot be read; remove it to feed the file from its beginning."
            ) from fault
        if self._rejects.exists():
            with self._rejects.open("r+b") as file:
                file.truncate(place.rejects)
        return place

    def _keep(self, place: _Place, block: Sequence[Line], refused: Sequence[Rejected]) -> None:
        place.after, place.line = block[-1].after, block[-1].number
        blank = sum(not line.text.strip() for line in block)
        place.fed += len(block) - blank - len(refused)
        place.refused += len(refused)
        try:
            if refused:
                with self._rejects.open("ab") as file:
                    file.write(rejects(refused))
                    os.fsync(file.fileno())
                    place.rejects = file.tell()
            part = self._mark.with_name(self._mark.name + ".part")
            part.write_text(json.dumps({n: getattr(place, n) for n in place.__dataclass_fields__}))
            part.replace(self._mark)
        except OSError as fault:
            raise FileFault(f"{fault.filename} cannot be written: {fault.strerror}.") from fault


def _blocks(start: Iterator[Line]) -> Iterator[list[Line]]:
    while block := list(islice(start, BLOCK)):
        yield block


def _escaped(value: str) -> str:
    """FHIR R4 search.html#escaping."""
    for letter in "\\|,$":
        value = value.replace(letter, "\\" + letter)
    return value


def _why(answer: httpx.Response) -> tuple[tuple[str, str], ...]:
    try:
        issues = orjson.loads(answer.content).get("issue", ())
    except ValueError:
        issues = ()
    said = tuple(
        (str((i.get("expression") or [""])[0]), str(i.get("diagnostics", ""))) for i in issues
    )
    return said or (("", f"The exchange answered with status {answer.status_code}."),)
