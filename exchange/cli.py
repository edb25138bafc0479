"""The command line, `throughline`: every command, its flags and what it says. What it does is elsewhere.

Exit codes: exchange/exits.py. Answers go to standard output, everything else to standard error, so that
`TOKEN=$(throughline token …)` works.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from chassis.settings import Settings
from exchange import keeping
from exchange.exits import EXITS, Exit, Trouble
from exchange.options import EVERY, with_settings

app = typer.Typer(
    name="throughline",
    help="A longitudinal record and document registry for a place's public services.",
    epilog=EXITS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
clients = typer.Typer(
    help="Register, list and end the back-end systems that may call.", no_args_is_help=True
)
app.add_typer(clients, name="clients")
people = typer.Typer(help="Keep the register of people.", no_args_is_help=True)
app.add_typer(people, name="people")
app.add_typer(keeping.keys, name="keys")
app.add_typer(keeping.retention, name="retention")

NEAR = ("data", "mongodb", "database_prefix")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        app(args=arguments, prog_name="throughline")
    except Trouble as fault:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(fault), markup=False)
        sys.exit(fault.code)


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


@clients.command("add", epilog=EXITS)
@with_settings(*NEAR, "affinity")
def add(
    settings: Settings,
    name: Annotated[str, typer.Argument(help="The client's id")],
    jwks: Annotated[
        str, typer.Option(help="A file with the client's public keys (a JWK Set), or its https URL")
    ],
    scope: Annotated[str, typer.Option(help="The most it may ask for, e.g. 'system/*.rs'")],
    organisation: Annotated[str, typer.Option(help="The organisation it acts for (ODS code)")] = "",
    role: Annotated[str, typer.Option(help="The role it acts in, a code like R-SYS")] = "",
    purpose: Annotated[
        list[str] | None, typer.Option(help="A purpose it may state; may be given again")
    ] = None,
) -> None:
    """Register a client, so that it can get tokens."""
    from exchange import clients as stories

    stories.add(
        settings, name, jwks, scope, organisation=organisation, role=role, purposes=purpose or []
    )


@clients.command("list", epilog=EXITS)
@with_settings(*NEAR)
def list_(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON array")] = False,
) -> None:
    """List the clients, revoked ones included."""
    from exchange import clients as stories

    stories.show(settings, Console(), as_json=as_json)


@clients.command("revoke", epilog=EXITS)
@with_settings(*NEAR)
def revoke(
    settings: Settings, name: Annotated[str, typer.Argument(help="The client's id")]
) -> None:
    """End a client and, within a second, every token it holds."""
    from exchange import clients as stories

    stories.revoke(settings, name)


@clients.command("keygen", epilog=EXITS)
def keygen(
    out: Annotated[Path, typer.Argument(help="Where to write the private key, e.g. me.jwk")],
    alg: Annotated[
        Literal["ES384", "RS384"], typer.Option(help="The algorithm it will sign with")
    ] = "ES384",
) -> None:
    """Make a key pair: OUT for the client alone, OUT with .jwks.json for `clients add`."""
    from exchange import clients as stories

    stories.keygen(out, alg)


@people.command("rebuild", epilog=EXITS)
@with_settings(*NEAR, "affinity", "public_url")
def rebuild(settings: Settings) -> None:
    """Make everything that is derived about people anew, from what was said and decided.

    Identifiers, persons, profiles, postings and frequencies follow from records, links and the
    decisions of stewards. On a consistent store nothing changes. Nothing may be fed meanwhile.
    """
    from exchange import people as stories

    raise typer.Exit(stories.rebuild(settings, Console(stderr=True, highlight=False)))
