"""The commands of a records system: `throughline keys …` and `throughline retention …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from chassis.settings import Settings
from exchange.exits import EXITS
from exchange.options import with_settings

KEYS = (
    "data", "mongodb", "database_prefix", "master_keys", "master_key", "kms_url", "kms_key", "kms_token",
)  # fmt: skip

keys = typer.Typer(
    help="Keep the master keys that documents are sealed under.", no_args_is_help=True
)
retention = typer.Typer(
    help="Review, destroy and certify documents whose time is over; it takes two clients.",
    no_args_is_help=True,
)

Client = Annotated[str, typer.Option(help="A registered client with the records-… scopes")]
Key = Annotated[Path, typer.Option(help="The file with its private JWK")]
Fhir = Annotated[
    str, typer.Option(help="The FHIR base; by default of the exchange that runs in --data")
]
Reason = Annotated[str, typer.Option(help="Why, in words; it goes on the certificate")]


@keys.command("new", epilog=EXITS)
@with_settings(*KEYS)
def new(settings: Settings) -> None:
    """Make a key ring with one master key, readable by its owner only."""
    from exchange import keyring

    keyring.new(settings, Console())


@keys.command("list", epilog=EXITS)
@with_settings(*KEYS)
def list_(settings: Settings) -> None:
    """Show how many contents are wrapped under which master key."""
    from exchange import keyring

    keyring.show(settings, Console())


@keys.command("rotate", epilog=EXITS)
@with_settings(*KEYS)
def rotate(
    settings: Settings,
    only_wrap: Annotated[
        bool, typer.Option("--only-wrap", help="Add no key: wrap under the one that is current")
    ] = False,
) -> None:
    """Add a master key and wrap every data key under it, while the repository goes on.

    Run it again when it was interrupted. With keys in the environment or in a key management service,
    change the current key there first; here everything is then wrapped anew.
    """
    from exchange import keyring

    keyring.rotate(settings, Console(), only_wrap=only_wrap)


@keys.command("retire", epilog=EXITS)
@with_settings(*KEYS)
def retire(settings: Settings, name: Annotated[str, typer.Argument(help="Its id")]) -> None:
    """Take an old master key out of the ring, once nothing is wrapped under it."""
    from exchange import keyring

    keyring.retire(settings, name, Console())


@keys.command("encrypt", epilog=EXITS)
@with_settings(*KEYS)
def encrypt(settings: Settings) -> None:
    """Seal the documents that were stored before documents were sealed."""
    from exchange import keyring

    raise typer.Exit(keyring.encrypt(settings, Console()))


@retention.command("review", epilog=EXITS)
@with_settings("data")
def review(
    settings: Settings,
    client: Client,
    key: Key,
    until: Annotated[
        str, typer.Option(help="Due by this day, like 2030-12-31; by default today")
    ] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Documents that are not due as well")
    ] = False,
    fhir: Fhir = "",
) -> None:
    """List the documents whose time is over, why, and what holds them."""
    from exchange import retention as stories

    manager = stories.Manager(client, key, fhir, settings.data)
    stories.review(manager, Console(), until=until, every=every)


@retention.command("approve", epilog=EXITS)
@with_settings("data")
def approve(
    settings: Settings,
    documents: Annotated[list[str], typer.Argument(help="Ids of DocumentReferences")],
    *,
    client: Client,
    key: Key,
    reason: Reason,
    act: Annotated[
        Literal["destroy", "release"], typer.Option(help="What is to be done")
    ] = "destroy",
    ground: Annotated[
        str, typer.Option(help="retention, erasure or quarantine; retention by default")
    ] = "",
    fhir: Fhir = "",
) -> None:
    """Approve a disposal, as the first of two. Prints its id."""
    from exchange import retention as stories

    manager = stories.Manager(client, key, fhir, settings.data)
    print(stories.approve(manager, documents, reason=reason, act=act, ground=ground))


@retention.command("destroy", epilog=EXITS)
@with_settings("data")
def destroy(
    settings: Settings,
    disposal: Annotated[str, typer.Argument(help="The id that approve printed")],
    client: Client,
    key: Key,
    reason: Reason,
    fhir: Fhir = "",
) -> None:
    """Destroy the documents of a disposal, as the second of two. It cannot be undone."""
    from exchange import retention as stories

    print(
        stories.destroy(stories.Manager(client, key, fhir, settings.data), disposal, reason=reason)
    )


@retention.command("certificate", epilog=EXITS)
@with_settings("data")
def certificate(
    settings: Settings,
    disposal: Annotated[str, typer.Argument(help="The id that approve printed")],
    client: Client,
    key: Key,
    out: Annotated[
        Path | None, typer.Option(help="A file; one that ends in .html gets the page to print")
    ] = None,
    fhir: Fhir = "",
) -> None:
    """Print the certificate of destruction as JSON, or write it to a file."""
    from exchange import retention as stories

    print(stories.certificate(stories.Manager(client, key, fhir, settings.data), disposal, out))
