"""`throughline clients …`: the commands and their flags. What they do is in `exchange/clients.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from auth.kinds import Kind
from chassis.settings import Settings
from exchange.exits import EXITS
from exchange.options import with_settings

clients = typer.Typer(
    help="Register, change, list and end the apps and systems that may call.", no_args_is_help=True
)
NEAR = ("data", "mongodb", "database_prefix", "public_url")

# One flag is one sentence, wherever it stands.
_Name = Annotated[str, typer.Argument(help="The client's id")]
_KindFlag = typer.Option(
    help="What proves it: nothing (public, for apps), a secret (symmetric) or keys (asymmetric)"
)
_Many = list[str] | None
_Keys = Annotated[
    str | None,
    typer.Option(help="A file with the client's public keys (a JWK Set), or its https URL"),
]
_Title = Annotated[str | None, typer.Option(help="The name that people see")]
_Organisation = Annotated[
    str | None, typer.Option(help="The organisation a system acts for (ODS code)")
]
_Role = Annotated[str | None, typer.Option(help="The role a system acts in, a code like R-SYS")]
_Purpose = Annotated[_Many, typer.Option(help="A purpose it may state; may be given again")]
_For = Annotated[
    _Many, typer.Option("--for-organisation", help="Only users acting for these may use an app")
]
_Grant = Annotated[
    _Many,
    typer.Option(
        help="authorization_code, refresh_token or client_credentials; by default as the kind needs"
    ),
]
_Redirect = Annotated[
    _Many, typer.Option("--redirect-uri", help="Where people are sent back to; compared exactly")
]
_SignOut = Annotated[
    _Many, typer.Option("--sign-out-uri", help="Where people are sent back to after signing out")
]
_Launch = Annotated[_Many, typer.Option("--launch-uri", help="Where a record system opens the app")]
_Origin = Annotated[
    _Many, typer.Option(help="A web origin of its pages, beside those of its redirect URIs")
]
_Publisher = Annotated[str | None, typer.Option(help="Who makes the app, as people see it")]
_Logo = Annotated[str | None, typer.Option(help="https URL of its logo")]
_Policy = Annotated[str | None, typer.Option(help="https URL of its privacy policy")]
_Contact = Annotated[_Many, typer.Option(help="E-mail address of somebody who answers for it")]
_Owner = Annotated[str | None, typer.Option(help="The organisation that answers for it")]
_AsJson = Annotated[bool, typer.Option("--json", help="As JSON")]


@clients.command("add", epilog=EXITS)
@with_settings(*NEAR, "affinity")
def add(
    settings: Settings,
    name: _Name,
    *,
    scope: Annotated[str, typer.Option(help="The most it may ask for, e.g. 'system/*.rs'")],
    jwks: _Keys = None,
    kind: Annotated[Kind, _KindFlag] = "asymmetric",
    title: _Title = None,
    organisation: _Organisation = None,
    role: _Role = None,
    purpose: _Purpose = None,
    for_organisation: _For = None,
    grant: _Grant = None,
    redirect_uri: _Redirect = None,
    sign_out_uri: _SignOut = None,
    launch_uri: _Launch = None,
    origin: _Origin = None,
    publisher: _Publisher = None,
    logo: _Logo = None,
    policy: _Policy = None,
    contact: _Contact = None,
    owner: _Owner = None,
) -> None:
    """Register a client, so that it can get tokens. A secret is printed, this once."""
    from exchange import clients as stories

    more = stories.Said(
        kind=kind, title=title, organisations=for_organisation, grants=grant,
        redirect_uris=redirect_uri, post_logout_redirect_uris=sign_out_uri,
        launch_uris=launch_uri, origins=origin, publisher=publisher,
        logo_uri=logo, policy_uri=policy, contacts=contact, owner=owner,
    )  # fmt: skip
    secret = stories.add(
        settings, name, jwks or "", scope, organisation=organisation or "", role=role or "",
        purposes=purpose or [], more=more,
    )  # fmt: skip
    if secret:
        print(secret)


@clients.command("change", epilog=EXITS)
@with_settings(*NEAR, "affinity")
def change(
    settings: Settings,
    name: _Name,
    *,
    scope: Annotated[str | None, typer.Option(help="The most it may ask for")] = None,
    jwks: _Keys = None,
    kind: Annotated[Kind | None, _KindFlag] = None,
    title: _Title = None,
    organisation: _Organisation = None,
    role: _Role = None,
    purpose: _Purpose = None,
    for_organisation: _For = None,
    grant: _Grant = None,
    redirect_uri: _Redirect = None,
    sign_out_uri: _SignOut = None,
    launch_uri: _Launch = None,
    origin: _Origin = None,
    publisher: _Publisher = None,
    logo: _Logo = None,
    policy: _Policy = None,
    contact: _Contact = None,
    owner: _Owner = None,
) -> None:
    """Change what is said of a client; "" takes a value away. What it may do less ends within a second."""
    from exchange import clients as stories

    said = stories.Said(
        kind=kind, jwks=jwks, scope=scope, title=title,
        organisation=organisation, role=role, purposes=purpose, organisations=for_organisation,
        grants=grant, redirect_uris=redirect_uri, post_logout_redirect_uris=sign_out_uri,
        launch_uris=launch_uri, origins=origin,
        publisher=publisher, logo_uri=logo, policy_uri=policy, contacts=contact, owner=owner,
    )  # fmt: skip
    secret = stories.change(settings, name, said)
    if secret:
        print(secret)


@clients.command("secret", epilog=EXITS)
@with_settings(*NEAR)
def secret(settings: Settings, name: _Name) -> None:
    """Give a client a new secret and print it, this once; the old one ends within a second."""
    from exchange import clients as stories

    print(stories.secret(settings, name))


@clients.command("show", epilog=EXITS)
@with_settings(*NEAR)
def show(settings: Settings, name: _Name, as_json: _AsJson = False) -> None:
    """Show one client with all that is kept of it, secrets apart."""
    from exchange import clients as stories

    stories.describe(settings, name, Console(), as_json=as_json)


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
def revoke(settings: Settings, name: _Name) -> None:
    """End a client and, within a second, every token it holds."""
    from exchange import clients as stories

    stories.revoke(settings, name)


@clients.command("invite", epilog=EXITS)
@with_settings(*NEAR)
def invite(
    settings: Settings,
    label: Annotated[str, typer.Argument(help="For whom it is, in words")],
    *,
    scope: Annotated[str, typer.Option(help="The most that may be registered for")],
    uses: Annotated[int, typer.Option(help="How many may register")] = 1,
    days: Annotated[int, typer.Option(help="How long")] = 7,
    kind: Annotated[_Many, typer.Option(help="public, symmetric or asymmetric; any")] = None,
    grant: Annotated[_Many, typer.Option(help="A grant that may be asked for; any")] = None,
    place: Annotated[
        _Many, typer.Option(help="An origin or scheme (com.example.app:) of its URIs; any")
    ] = None,
    purpose: Annotated[_Many, typer.Option(help="A purpose it may state; any")] = None,
    for_organisation: _For = None,
    organisation: _Organisation = None,
    role: _Role = None,
    owner: _Owner = None,
) -> None:
    """Let somebody register clients themselves (RFC 7591): prints the initial access token, this once."""
    from exchange import clients as stories

    body = {
        "label": label, "scope": scope, "uses": uses, "days": days, "kinds": kind,
        "grants": grant, "places": place, "purposes": purpose, "organisations": for_organisation,
        "organisation": organisation, "role": role, "owner": owner,
    }  # fmt: skip
    print(stories.invite(settings, body))


@clients.command("invitations", epilog=EXITS)
@with_settings(*NEAR)
def invitations(settings: Settings, as_json: _AsJson = False) -> None:
    """List the invitations to register, the newest first."""
    from exchange import clients as stories

    stories.invited(settings, Console(), as_json=as_json)


@clients.command("uninvite", epilog=EXITS)
@with_settings(*NEAR)
def uninvite(
    settings: Settings, id_: Annotated[str, typer.Argument(metavar="ID", help="The invitation")]
) -> None:
    """End an invitation. What was registered by it lives on."""
    from exchange import clients as stories

    stories.uninvite(settings, id_)


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
