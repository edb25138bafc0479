"""The commands of other providers that people sign in with: `throughline providers …`."""

from __future__ import annotations

from typing import Annotated

import typer

from chassis.settings import Settings
from exchange.exits import EXITS
from exchange.options import with_settings

NEAR = ("data", "mongodb", "database_prefix", "affinity", "public_url", "sign_in_providers")

providers = typer.Typer(
    help="Other providers that people may sign in with (NHS CIS2, NHS login, any OpenID provider).",
    no_args_is_help=True,
)
Username = Annotated[str, typer.Argument(help="The username of the practitioner here")]
ProviderId = Annotated[str, typer.Argument(metavar="PROVIDER", help="The provider's id")]
Subject = Annotated[str, typer.Argument(help="The person's subject there (sub)")]


@providers.command("list", epilog=EXITS)
@with_settings("affinity", "sign_in_providers")
def list_(
    settings: Settings, as_json: Annotated[bool, typer.Option("--json", help="As JSON")] = False
) -> None:
    """List the providers of the settings; says everything that is wrong with their file."""
    from exchange import federation

    federation.list_(settings, as_json=as_json)


@providers.command("check", epilog=EXITS)
@with_settings("affinity", "sign_in_providers")
def check(settings: Settings) -> None:
    """Ask every provider for its discovery document, as signing in would."""
    from exchange import federation

    federation.check(settings)


@providers.command("link", epilog=EXITS)
@with_settings(*NEAR)
def link(settings: Settings, username: Username, provider: ProviderId, subject: Subject) -> None:
    """Let somebody sign in with their account at a provider."""
    from exchange import federation

    federation.link(settings, username, provider, subject)


@providers.command("unlink", epilog=EXITS)
@with_settings(*NEAR)
def unlink(settings: Settings, provider: ProviderId, subject: Subject) -> None:
    """Take an identity away, and end what its person is signed in to."""
    from exchange import federation

    federation.unlink(settings, provider, subject)


@providers.command("links", epilog=EXITS)
@with_settings(*NEAR)
def links(settings: Settings, username: Username) -> None:
    """List the identities of somebody, as JSON."""
    from exchange import federation

    federation.links(settings, username)
