"""What `throughline providers …` does: other providers that people sign in with, and who is who there."""

from __future__ import annotations

import asyncio
import json

import httpx
from rich.console import Console
from rich.table import Column, Table

from affinity.pack import PackError, load
from auth.upstream import providers as rows
from auth.upstream.identities import Identities, IdentityTaken, Link, now
from auth.upstream.party import Party, Silent
from auth.upstream.providers import Provider, ProvidersInvalid, plain_issuer
from chassis.client_authentication import Proof
from chassis.settings import Settings
from exchange import practitioners
from exchange.exits import Exit, Trouble
from standards.sign_in import FACTOR


def list_(settings: Settings, *, as_json: bool) -> None:
    """List the providers of the settings; says everything that is wrong with their file."""
    found = [provider for provider, _ in _loaded(settings).values()]
    if as_json:
        said = [{"id": p.id, "label": p.label, "issuer": p.issuer, "admit": p.admit} for p in found]
        print(json.dumps(said, indent=1, ensure_ascii=False))
        return
    table = Table(Column("Provider", no_wrap=True), "Label", "Issuer", "Lets in")
    for p in found:
        table.add_row(p.id, p.label, p.issuer, p.admit)
    Console().print(table if found else "No providers: see docs/upstream.md")


def check(settings: Settings) -> None:
    """Ask every provider for its discovery document, as signing in would."""

    async def ask(provider: Provider, proof: Proof) -> str:
        async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as http:
            try:
                await Party(provider, proof, http).metadata()
            except Silent as fault:
                return str(fault)
        return ""

    faults = []
    for provider, proof in _loaded(settings).values():
        fault = asyncio.run(ask(provider, proof))
        print(f"{provider.id}: {fault or 'answers'}")
        faults += [fault] if fault else []
    if faults:
        raise Trouble(Exit.FAILED, f"{len(faults)} of the providers cannot be used.")


def link(settings: Settings, username: str, provider: str, subject: str) -> None:
    """Let somebody sign in with their account at a provider."""
    issuer = _issuer(settings, provider)

    async def story(desk: practitioners.Desk) -> None:
        person = await practitioners.known(desk, username)
        made = Link(issuer, subject, person.id, provider, "the command line", now())
        try:
            await Identities(desk.mongo).link(made)
        except IdentityTaken as fault:
            raise Trouble(Exit.REFUSED, str(fault)) from fault
        await desk.tell(FACTOR, f"Linked to an account at the provider {provider}.", person)

    practitioners.with_desk(settings, story)
    practitioners.say(f"{username} may sign in with {provider}.")


def unlink(settings: Settings, provider: str, subject: str) -> None:
    """Take an identity away, and end what its person is signed in to."""
    issuer = _issuer(settings, provider)

    async def story(desk: practitioners.Desk) -> None:
        identities = Identities(desk.mongo)
        found = await identities.of(issuer, subject)
        if found is None or not await identities.unlink(issuer, subject):
            raise Trouble(Exit.REFUSED, "There is no such link; see `throughline providers links`.")
        person = await desk.people.get(found.person)
        if person is not None:
            words = f"No longer linked to an account at the provider {provider}."
            await desk.tell(FACTOR, words, person)
        await desk.sessions.end_all(found.person)

    practitioners.with_desk(settings, story)
    practitioners.say("The link is gone.")


def links(settings: Settings, username: str) -> None:
    """List the identities of somebody, as JSON."""

    async def story(desk: practitioners.Desk) -> list[Link]:
        person = await practitioners.known(desk, username)
        return await Identities(desk.mongo).of_person(person.id)

    found = practitioners.with_desk(settings, story)
    said = [
        {"provider": one.provider, "issuer": one.issuer, "subject": one.subject, "by": one.by,
         "since": one.at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        for one in found
    ]  # fmt: skip
    print(json.dumps(said, indent=1, ensure_ascii=False))


def _loaded(settings: Settings) -> dict[str, tuple[Provider, Proof]]:
    try:
        return rows.load(settings.sign_in_providers, load(settings.affinity))
    except PackError as fault:
        raise Trouble(Exit.USAGE, f"--affinity: {fault}") from fault
    except ProvidersInvalid as fault:
        raise Trouble(Exit.USAGE, f"--sign-in-providers {fault}") from fault


def _issuer(settings: Settings, provider: str) -> str:
    found = _loaded(settings)
    if provider not in found:
        known = ", ".join(found) or "none"
        raise Trouble(Exit.USAGE, f"There is no provider {provider}. There are: {known}.")
    return plain_issuer(found[provider][0].issuer)
