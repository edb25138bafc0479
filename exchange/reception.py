"""The commands of who may sign in: `throughline practitioners …`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from chassis.settings import Settings
from exchange.exits import EXITS
from exchange.options import with_settings

if TYPE_CHECKING:
    from auth.people.person import Appointment

NEAR = ("data", "mongodb", "database_prefix", "affinity", "public_url")
HASHING = (*NEAR, "password_memory")

practitioners = typer.Typer(
    help="Register the people who sign in, their roles and one-time passwords.",
    no_args_is_help=True,
)

Username = Annotated[str, typer.Argument(help="The username, in any case")]
Organisation = Annotated[str, typer.Option(help="Where, a code of the pack's organisations.csv")]
RoleCode = Annotated[str, typer.Option(help="As what, a code of the pack's roles.csv, like R-HV")]
From = Annotated[str, typer.Option("--from", help="The first day, like 2027-03-31 [today]")]
To = Annotated[str, typer.Option("--to", help="The last day [no end]")]
Hours = Annotated[int, typer.Option(min=1, max=720, help="How long the one-time password works")]


@practitioners.command("add", epilog=EXITS)
@with_settings(*HASHING)
def add(
    settings: Settings,
    *,
    username: Username,
    given: Annotated[str, typer.Option(help="Given name")],
    family: Annotated[str, typer.Option(help="Family name")],
    role: RoleCode,
    organisation: Organisation,
    prefix: Annotated[str, typer.Option(help="Dr, Sister, PC …")] = "",
    professional_id: Annotated[
        str, typer.Option(help="A registration: NMC, GMC, SWE, collar …")
    ] = "",
    starts: From = "",
    ends: To = "",
    hours: Hours = 72,
) -> None:
    """Register a person in a role and print the one-time password that they sign in with first.

    They choose their own password then. Further roles: `throughline practitioners role`.
    """
    from auth.people.person import Person
    from exchange import practitioners as stories

    appointment = _appointment(role, organisation, starts, ends)
    made = stories.add(
        settings,
        Person(
            "",
            username.strip(),
            given.strip(),
            family.strip(),
            prefix,
            professional_id,
            (appointment,),
        ),
        hours,
    )
    stories.say(f"{username} may sign in. One-time password, for {hours} hours:")
    print(made)


@practitioners.command("list", epilog=EXITS)
@with_settings(*NEAR)
def list_(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON array")] = False,
) -> None:
    """List everyone who may or might sign in."""
    from exchange import practitioners as stories

    stories.show(settings, Console(), as_json=as_json)


@practitioners.command("role", epilog=EXITS)
@with_settings(*NEAR)
def role_(
    settings: Settings,
    *,
    username: Username,
    role: RoleCode,
    organisation: Organisation,
    starts: From = "",
    ends: To = "",
) -> None:
    """Give somebody another role, or end or move one that they hold (--to).

    A role that is over ends the sign-ins that are in it.
    """
    from exchange import practitioners as stories

    stories.role(settings, username, _appointment(role, organisation, starts, ends))


@practitioners.command("password", epilog=EXITS)
@with_settings(*HASHING)
def password(
    settings: Settings,
    *,
    username: Username,
    hours: Hours = 72,
    forget: Annotated[
        bool,
        typer.Option("--forget-factors", help="Also forget their app, recovery codes and passkeys"),
    ] = False,
) -> None:
    """Print a new one-time password for somebody; their present one and their sign-ins end."""
    from exchange import practitioners as stories

    made = stories.password(settings, username, hours, forget=forget)
    stories.say(f"One-time password of {username}, for {hours} hours:")
    print(made)


@practitioners.command("deactivate", epilog=EXITS)
@with_settings(*NEAR)
def deactivate(settings: Settings, username: Username) -> None:
    """End a person: they cannot sign in, and what they are signed in to or have allowed ends."""
    from exchange import practitioners as stories

    stories.deactivate(settings, username)


def _appointment(role: str, organisation: str, starts: str, ends: str) -> Appointment:
    from auth.people.person import Appointment
    from auth.people.reception import today
    from exchange.practitioners import day

    first = day(starts, "--from", None) or today(time.time())
    return Appointment(role, organisation, first, day(ends, "--to", None))
