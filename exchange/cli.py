"""The command line, `throughline`: every command, its flags and what it says. What it does is elsewhere.

Exit codes: exchange/exits.py. Answers go to standard output, everything else to standard error, so that
`TOKEN=$(throughline token …)` works. Over 400 lines because every command's flags stand here, and nowhere
else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import typer
import typer.rich_utils
from pymongo.errors import ConnectionFailure
from rich.console import Console

from chassis.settings import Settings
from conformance.cli import app as conformance
from exchange import federating, keeping, reception, registering
from exchange.exits import EXITS, Exit, Trouble
from exchange.options import EVERY, Whole, with_settings
from exchange.trail import trail

app = typer.Typer(
    name="throughline",
    help="A longitudinal record and document registry for a place's public services.",
    epilog=EXITS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(registering.clients, name="clients")
people = typer.Typer(help="Keep the register of people.", no_args_is_help=True)
app.add_typer(people, name="people")
app.add_typer(conformance, name="conformance")
app.add_typer(reception.practitioners, name="practitioners")
app.add_typer(federating.providers, name="providers")
app.add_typer(keeping.keys, name="keys")
app.add_typer(keeping.retention, name="retention")
app.add_typer(trail, name="audit")

lines = typer.Typer(
    help="HL7 v2: say messages, and look after those that could not be taken.", no_args_is_help=True
)
app.add_typer(lines, name="hl7v2")
parked = typer.Typer(
    help="Messages that could not be taken, and notices that were refused.", no_args_is_help=True
)
lines.add_typer(parked, name="parked")

# Typer's own table cuts flags short on a narrow terminal.
typer.rich_utils.Table = Whole  # type: ignore[attr-defined]

NEAR = ("data", "mongodb", "database_prefix")
STORE = (*NEAR, "affinity", "public_url", "matching_model")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        _built()(args=arguments, prog_name="throughline")
    except Trouble as fault:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(fault), markup=False)
        sys.exit(fault.code)
    except ConnectionFailure:  # whoever asked whether it is there was told so, and then it was not
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            "MongoDB does not answer. Is it, or this machine, too busy, or gone? `throughline doctor` looks;"
            " every command may be run again.",
            markup=False,
        )
        sys.exit(Exit.NO_DATABASE)


# Every command with its flags, built once a process.
_built: Callable[[], Callable[..., object]] = cache(lambda: typer.main.get_command(app))


@app.command(epilog=EXITS)
@with_settings(*EVERY)
def serve(
    settings: Settings,
    service: Annotated[
        Literal["together", "pix", "registry", "repository", "auth", "audit"],
        typer.Argument(help="The whole exchange in one process tree, or one of its services"),
    ] = "together",
) -> None:
    """Run the exchange until SIGTERM or Ctrl-C.

    Prints one line of JSON when it is ready. Without --mongodb a MongoDB of its own is started in the
    data folder.
    """
    from exchange import serve as launcher

    raise typer.Exit(launcher.serve(settings, service))


@app.command(epilog=EXITS)
@with_settings(*EVERY)
def demo(
    settings: Settings,
    people: Annotated[int, typer.Option(min=1, help="How many people the city has")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed makes the same city")] = 1,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Requests at a time")] = 12,
) -> None:
    """Run the exchange with a synthetic city in it, and print how to look around."""
    from exchange import demo as stories

    raise typer.Exit(stories.demo(settings, stories.City(people, seed, parallel)))


@app.command(epilog=EXITS)
@with_settings("data", "affinity")
def seed(
    settings: Settings,
    client: Annotated[str, typer.Option(help="A registered client with scope system/*.cruds")],
    key: Annotated[Path, typer.Option(help="The file with its private JWK")],
    people: Annotated[int, typer.Option(min=1, help="How many people")] = 500,
    city: Annotated[int, typer.Option("--seed", help="The same seed makes the same city")] = 1,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Requests at a time")] = 12,
    fhir: Annotated[
        str, typer.Option(help="The FHIR base; by default of the exchange that runs in --data")
    ] = "",
) -> None:
    """Feed the synthetic city to a running exchange through its public FHIR API."""
    from exchange import demo as stories

    raise typer.Exit(
        stories.seed(settings, stories.City(people, city, parallel), client, key, fhir)
    )


@app.command(epilog=EXITS)
@with_settings(*EVERY)
def doctor(settings: Settings) -> None:
    """Show the effective settings and check everything the exchange needs on this machine."""
    from exchange.doctor import show

    raise typer.Exit(Exit.OK if show(settings, Console()) else Exit.FAILED)


@app.command(epilog=EXITS)
@with_settings("data")
def token(
    settings: Settings,
    client: Annotated[str, typer.Option(help="The client's id")],
    key: Annotated[
        Path, typer.Option(help="The file with the client's private JWK (or a JWK Set)")
    ],
    scope: Annotated[str, typer.Option(help="What to ask for, e.g. 'system/DocumentReference.rs'")],
    purpose: Annotated[str, typer.Option(help="Purpose of use, a code like P-CARE")] = "",
    reason: Annotated[str, typer.Option(help="Why, in words; goes into the audit trail")] = "",
    fhir: Annotated[
        str, typer.Option(help="The FHIR base; by default of the exchange that runs in --data")
    ] = "",
) -> None:
    """Get an access token through the real token endpoint and print it."""
    from exchange.token import Asked, token_of

    asked = Asked(client, scope, purpose, reason)
    print(token_of(asked, key, fhir, settings.data))


LINE = ("data", "hl7v2_host", "hl7v2_port", "hl7v2_certificate", "hl7v2_key", "hl7v2_authority")


@lines.command("send", epilog=EXITS)
@with_settings(*LINE)
def send(
    settings: Settings,
    file: Annotated[Path, typer.Argument(help="A file of messages; - for standard input")],
    host: Annotated[str, typer.Option(help="By default that of the settings")] = "",
    port: Annotated[
        int, typer.Option(help="By default of the settings, or of the exchange in --data")
    ] = 0,
    tls: Annotated[bool, typer.Option("--tls", help="Speak over TLS")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Count the answers only")] = False,
) -> None:
    """Say every message of a file over MLLP and print the answers."""
    from exchange import hl7v2 as stories

    raise typer.Exit(stories.send(settings, file, host, port, tls=tls, quiet=quiet))


@parked.command("list", epilog=EXITS)
@with_settings(*NEAR)
def parked_list(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON array")] = False,
) -> None:
    """List what is parked, and why."""
    from exchange import hl7v2 as stories

    stories.show(settings, Console(), as_json=as_json)


Which = Annotated[list[str] | None, typer.Argument(help="Ids as `parked list` shows them")]
All = Annotated[bool, typer.Option("--all", help="Everything that is parked")]


@parked.command("retry", epilog=EXITS)
@with_settings(*NEAR)
def parked_retry(settings: Settings, ids: Which = None, every: All = False) -> None:
    """Have parked messages tried again by the running exchange."""
    from exchange import hl7v2 as stories

    raise typer.Exit(stories.retry(settings, _chosen(ids, every)))


@parked.command("drop", epilog=EXITS)
@with_settings(*NEAR)
def parked_drop(settings: Settings, ids: Which = None, every: All = False) -> None:
    """Forget parked messages for good."""
    from exchange import hl7v2 as stories

    stories.drop(settings, _chosen(ids, every))


def _chosen(ids: list[str] | None, every: bool) -> list[str] | None:
    """The ids that were given; None stands for all."""
    if bool(ids) == every:
        raise Trouble(Exit.USAGE, "Name the ids that you mean, or --all.")
    return None if every else ids


@people.command("rebuild", epilog=EXITS)
@with_settings(*STORE)
def rebuild(settings: Settings) -> None:
    """Make everything that is derived about people anew, from what was said and decided.

    Identifiers, persons, profiles, postings and frequencies follow from records, links and the
    decisions of stewards. On a consistent store nothing changes. Nothing may be fed meanwhile.
    """
    from exchange import people as stories

    raise typer.Exit(stories.rebuild(settings, Console(stderr=True, highlight=False)))


OPERATOR = "people-load"
Folder = Annotated[
    Path | None, typer.Option(help="A folder on a disk with room, for what memory cannot hold")
]
Memory = Annotated[str, typer.Option(help="How much memory DuckDB may take, like 4GB")]
Threads = Annotated[int, typer.Option(min=0, help="How many threads; 0 for all")]


@people.command("load", epilog=EXITS)
@with_settings(*STORE)
def load(
    settings: Settings,
    *,
    file: Annotated[Path, typer.Argument(help="FILE.ndjson or FILE.csv; may be packed (.gz)")],
    domain: Annotated[
        str, typer.Option(help="The identifier domain of the source, when lines do not say it")
    ] = "",
    mapping: Annotated[
        Path | None, typer.Option(help="For CSV: a JSON file that says what each column says")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Where refused lines are told of [FILE.rejects.ndjson]")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many processes judge lines")] = 2,
    client: Annotated[str, typer.Option(help="Under whose name the records are fed")] = OPERATOR,
    organisation: Annotated[str, typer.Option(help="For which organisation")] = "",
    over: Annotated[
        Literal["store", "http"],
        typer.Option(help="Into the store, or through the public FHIR API"),
    ] = "store",
    key: Annotated[
        Path | None, typer.Option(help="With --over http: the client's private JWK")
    ] = None,
    fhir: Annotated[str, typer.Option(help="With --over http: the FHIR base of the exchange")] = "",
    parallel: Annotated[
        int, typer.Option(min=1, max=256, help="With --over http: requests at a time")
    ] = 12,
) -> None:
    """Load a file of people: FHIR Patients one a line, or a CSV table.

    Every line is held to what a feed (ITI-104) is held to. Killed at any point, the same command goes on
    where it stood. Who they are is found by `people link`; until then nobody is told of them. With
    --over http each record is fed at once, and linked by the exchange itself.
    """
    from exchange import bulk as stories

    said = stories.File(file, domain, mapping, rejects, processes)
    console = Console(stderr=True, highlight=False)
    if over == "http":
        from exchange import feeding

        way = feeding.Way(client, key, fhir, parallel)
        raise typer.Exit(feeding.load(settings, said, way, console))
    raise typer.Exit(stories.load(settings, said, (client, organisation), console))


@people.command("link", epilog=EXITS)
@with_settings(*STORE)
def link(
    settings: Settings,
    *,
    shadow: Annotated[
        str, typer.Option(help="Change nothing; say what this model (version or file) would change")
    ] = "",
    report: Annotated[Path, typer.Option(help="With --shadow: where the report goes")] = Path(
        "shadow.json"
    ),
    client: Annotated[str, typer.Option(help="Under whose name it is done")] = "people-link",
    organisation: Annotated[str, typer.Option(help="For which organisation")] = "",
    folder: Folder = None,
    memory: Memory = "",
    threads: Threads = 0,
) -> None:
    """Find whose the loaded records are, for all of them together.

    Links are made as the exchange makes them online, each with its weight and why. Killed at any point,
    the same command does the rest. Needs the extra `linkage`.
    """
    from exchange import bulk as stories

    room, console = (
        stories.Room(folder, memory, threads),
        Console(stderr=True, highlight=False),
    )
    if shadow:
        raise typer.Exit(stories.shadow(settings, shadow, report, room, console))
    raise typer.Exit(stories.link(settings, room, (client, organisation), console))


@people.command("train", epilog=EXITS)
@with_settings(*STORE)
def train(
    settings: Settings,
    *,
    version: Annotated[str, typer.Argument(help="The new model's version, like 2027-01")],
    out: Annotated[Path | None, typer.Option(help="The new model's file [VERSION.json]")] = None,
    base: Annotated[
        str,
        typer.Option(
            help="The model whose thresholds are kept (version or file); by default the one in use"
        ),
    ] = "",
    file: Annotated[
        Path | None, typer.Option(help="Learn from this NDJSON of Patients instead of the store")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of `system|value,person`: who is known to be one")
    ] = None,
    em: Annotated[
        bool,
        typer.Option("--em", help="Use no labels, not even verified numbers and stewards' ties"),
    ] = False,
    records: Annotated[
        int, typer.Option(min=100, help="Learn from so many records at most")
    ] = 100_000,
    pairs: Annotated[
        int, typer.Option(min=10_000, help="Random pairs for chance agreement")
    ] = 2_000_000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pairs")] = 1,
    splink: Annotated[
        Path | None, typer.Option(help="Also write the Splink settings, for DuckDB and Spark alike")
    ] = None,
    folder: Folder = None,
    memory: Memory = "",
    threads: Threads = 0,
) -> None:
    """Estimate a matching model with Splink and write it, with what it changes.

    Labels are verified NHS numbers and stewards' ties unless a file says better ones. The model in use
    stays in use. Needs the extra `linkage`.
    """
    from exchange import bulk as stories

    wanted = stories.Training(
        version, out or Path(f"{version}.json"), base, file, labels, em, records, pairs, seed,
        splink,
    )  # fmt: skip
    room = stories.Room(folder, memory, threads)
    raise typer.Exit(stories.train(settings, wanted, room, Console(stderr=True, highlight=False)))


@people.command("export", epilog=EXITS)
@with_settings(*STORE)
def export(
    settings: Settings,
    out: Annotated[
        Path | None, typer.Argument(help="The file; standard output without one")
    ] = None,
    form: Annotated[
        Literal["", "ndjson", "csv"],
        typer.Option("--format", help="By default what the file's name says"),
    ] = "",
    least: Annotated[int, typer.Option(min=1, help="Persons with at least so many records")] = 1,
    most: Annotated[int, typer.Option(min=0, help="Persons with at most so many; 0 for any")] = 0,
    domain: Annotated[
        list[str] | None, typer.Option(help="Persons with a record of this domain; may be repeated")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Persons that changed since then", formats=["%Y-%m-%d"])
    ] = None,
) -> None:
    """Write who is whom: persons, their records and how sure the links are.

    No names, no addresses, no further numbers; sealed identities are left out.
    """
    from exchange import bulk as stories
    from pix.bulk.export import Filter

    kind = form or ("csv" if out is not None and out.suffix == ".csv" else "ndjson")
    moment = since.replace(tzinfo=UTC) if since else None
    chosen = Filter(least, most, tuple(domain or ()), moment)
    raise typer.Exit(
        stories.export(settings, out, chosen, kind, Console(stderr=True, highlight=False))
    )
