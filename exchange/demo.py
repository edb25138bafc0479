"""`throughline demo` and `throughline seed`: the synthetic city, in a fresh exchange or in a running one.

The demo registers two clients through the same doors an operator would use: `demo-feed`, which acts for
every agency and publishes the city, and `demo`, whose key is the reader's to try things with.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from affinity.pack import NHS_NUMBER, load
from auth.people.person import Appointment, Person, faults
from auth.people.reception import today
from chassis.settings import Settings
from exchange import clients, practitioners, serve, whereabouts
from exchange.city.feed import Fed, feed
from exchange.city.people import people
from exchange.city.records import records
from exchange.exits import Exit, Trouble
from exchange.token import Asked, token_of
from exchange.whereabouts import Whereabouts

SCOPE = "system/*.cruds"
FEED, READER = "demo-feed", "demo"
DEMO_HOURS = 168  # how long a one-time password of the demo works
MADE = "city.json"  # in the data folder: which city has been fed to it, whole


@dataclass(frozen=True, slots=True)
class City:
    """Which city: how many people, from which seed, and how many requests at a time feed it."""

    people: int = 500
    seed: int = 1
    parallel: int = 12


def demo(settings: Settings, city: City) -> Exit:
    """Serve the exchange with the city in it until SIGTERM or Ctrl-C.

    A city that is already there, whole, is not fed again. Raises `Trouble` as `serve` does, and when
    feeding fails.
    """
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    failed: list[str] = []

    def ready(at: Whereabouts) -> None:
        try:
            _prepare(settings, city, console)
            _sign_ins(settings, console)
            _welcome(settings, at, city, console, time.monotonic() - began)
        except Exception as fault:  # this runs in a thread: say it, and stop the server
            failed.append(str(fault) or type(fault).__name__)
            os.kill(os.getpid(), signal.SIGTERM)

    console.print("Starting MongoDB and the services …")
    ended = serve.serve(settings, ready=ready)
    if failed:
        raise Trouble(Exit.FAILED, f"The demo city could not be loaded: {failed[0]}")
    return ended


def seed(settings: Settings, city: City, client: str, key: Path, fhir: str) -> Exit:
    """Feed the city to a running exchange as a registered client. Raises `Trouble`."""
    base = fhir or _running(settings.data).fhir
    made = _feed(settings, city, base, client, key, Console(stderr=True, highlight=False))
    print(json.dumps({"people": made.people, "records": made.records, "documents": made.documents}))
    return Exit.OK


def _prepare(settings: Settings, city: City, console: Console) -> None:
    keys = settings.data / "demo"
    keys.mkdir(parents=True, exist_ok=True)
    for name in (FEED, READER):
        if not _key(settings, name).exists():
            clients.keygen(_key(settings, name), "ES384")
            public = str(_key(settings, name).with_suffix(".jwks.json"))
            clients.add(
                settings, name, public, SCOPE, organisation="TL-DEMO", role="R-SYS", purposes=()
            )
    wanted = {"people": city.people, "seed": city.seed}
    there = settings.data / MADE
    if there.exists() and json.loads(there.read_text()) == wanted:
        console.print(f"The city of {city.people} people is already there.")
        return
    base = _running(settings.data).fhir
    _feed(settings, city, base, FEED, _key(settings, FEED), console)
    there.write_text(json.dumps(wanted))


def staff() -> list[Person]:
    """The people who work in the demo city, in the roles that they have from the first of the year."""
    with (Path(__file__).parent / "city" / "practitioners.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    first = date(today(time.time()).year, 1, 1)
    return [
        Person(
            "", r["username"], r["given"], r["family"], r["prefix"], r["professional_id"],
            (Appointment(r["role"], r["organisation"], first),),
        )
        for r in rows
    ]  # fmt: skip


def _sign_ins(settings: Settings, console: Console) -> None:
    pack = load(settings.affinity)
    there = [p for p in staff() if not faults(p, pack)]  # another pack has other organisations
    if not there:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("Username", "One-time password"):
        table.add_column(column, no_wrap=True)
    for column in ("Name", "Role", "Organisation"):
        table.add_column(column, overflow="fold")
    for person, password in practitioners.ready(settings, there, DEMO_HOURS):
        held = person.appointments[0]
        table.add_row(
            person.username, password or "(their own)", person.name, pack.roles[held.role],
            pack.organisations[held.organisation].name,
        )  # fmt: skip
    console.print("\nPeople who can sign in; the password is changed at the first sign-in:\n")
    console.print(table)


def _feed(
    settings: Settings, city: City, base: str, client: str, key: Path, console: Console
) -> Fed:
    pack = load(settings.affinity)

    async def token() -> str:
        return await asyncio.to_thread(token_of, Asked(client, SCOPE), key, base, settings.data)

    columns: Sequence[str | BarColumn | TextColumn | MofNCompleteColumn | TimeElapsedColumn] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[also]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("People of the city", total=city.people, also="")

        def tell(fed: Fed) -> None:
            also = f"{fed.records} records, {fed.documents} documents"
            progress.update(bar, completed=fed.people, also=also)

        return asyncio.run(
            feed(
                base,
                token,
                pack,
                count=city.people,
                seed=city.seed,
                parallel=city.parallel,
                tell=tell,
            )
        )


def _welcome(
    settings: Settings, at: Whereabouts, city: City, console: Console, seconds: float
) -> None:
    name, number = _somebody(settings, city)
    key, data = _key(settings, READER), settings.data
    found = (
        f"DocumentReference?patient.identifier={NHS_NUMBER}%7C{number}&status=current&_sort=-date"
    )
    console.print(f"\n[bold]Throughline is running[/bold] (ready after {seconds:.0f} s).\n")
    console.print(
        f"  FHIR base   {at.fhir}\n  OAuth       {at.auth}\n  Sign in     {at.sign_in}\n"
        f"  Operations  {at.admin}/readyz"
    )
    console.print(f"  Data        {data}\n\nPaste this to see what exists about {name}:\n")
    # Plain print: a line that is to be pasted may not be wrapped.
    print(
        f"TOKEN=$(.venv/bin/throughline token --data {data} --client {READER} --key {key}"
        f' --scope "{SCOPE}")\n'
        f'curl -s -H "Authorization: Bearer $TOKEN" "{at.fhir}/{found}"\n',
        flush=True,
    )
    console.print("Ctrl-C ends it; the city stays in the data folder.")


def _somebody(settings: Settings, city: City) -> tuple[str, str]:
    """A person about whom several documents exist: the first child under six of the city."""
    pack = load(settings.affinity)
    crowd = list(people(min(city.people, 200), city.seed))
    small = [p for p in crowd if p.age < 6 and len(list(records(p, pack, city.seed))) > 1]
    person = (small or crowd)[0]
    return f"{person.given[0]} {person.family}", person.nhs_number


def _key(settings: Settings, name: str) -> Path:
    return settings.data / "demo" / f"{name}.jwk"


def _running(data: Path) -> Whereabouts:
    found = whereabouts.read(data)
    if found is None:
        raise Trouble(
            Exit.NOT_RUNNING, f"No exchange runs in {data}; start one, or name it with --fhir."
        )
    return found
