"""`throughline clients`: the register of apps and systems, through auth's own stores.

Over 400 lines because every command is a story of the same two stores; the flags are elsewhere
(`exchange/registering.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from joserfc.jwk import ECKey, RSAKey
from pymongo.asynchronous.client_session import AsyncClientSession
from rich.console import Console
from rich.table import Column, Table

from affinity.pack import PackError, load
from auth.clients import Client, ClientInvalid, ClientMoved, Clients, Seal, new_secret
from auth.kinds import Kind
from auth.registration import invitations, metadata, telling
from auth.registration.agreed import Agreed
from auth.registration.invitations import Invitations
from auth.registration.rules import CODE, CREDENTIALS, REFRESH
from chassis import outbox
from chassis.call import Caller, instant
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange import whereabouts
from exchange.database import check, database
from exchange.exits import Exit, Trouble
from exchange.rows import ROWS
from standards import balp, registration
from standards.rows import Transaction

T = TypeVar("T")

_FLAGS = {"purposes": "--purpose", "organisations": "--for-organisation"}


@dataclass(frozen=True, slots=True)
class Said:
    """What the command line says of a client; None: nothing was said, so that it stays as it is."""

    kind: Kind | None = None
    jwks: str | None = None
    scope: str | None = None
    title: str | None = None
    organisation: str | None = None
    role: str | None = None
    purposes: Sequence[str] | None = None
    organisations: Sequence[str] | None = None
    grants: Sequence[str] | None = None
    redirect_uris: Sequence[str] | None = None
    post_logout_redirect_uris: Sequence[str] | None = None
    launch_uris: Sequence[str] | None = None
    origins: Sequence[str] | None = None
    publisher: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    contacts: Sequence[str] | None = None
    owner: str | None = None


def add(
    settings: Settings,
    name: str,
    jwks: str,
    scope: str,
    *,
    organisation: str = "",
    role: str = "",
    purposes: Sequence[str] = (),
    more: Said = Said(),
) -> str:
    """Register a client. `jwks` is a file or an https URL, "" for a client without keys; `more` is
    what else is said of it. Returns its secret, "" when it has none. Raises `Trouble` saying what is
    wrong."""
    said = replace(
        more, jwks=jwks or None, scope=scope, organisation=organisation, role=role,
        purposes=purposes or more.purposes,
    )  # fmt: skip
    grants = (CODE, REFRESH) if more.redirect_uris or more.kind == "public" else (CREDENTIALS,)
    client, secret = _as_said(settings, Client(name, name, grants=grants), said)
    try:
        _act(settings, registration.ADD_CLIENT, lambda store, seal: store.add(client, seal))
    except ClientInvalid as fault:
        raise _refused(fault) from fault
    _say(f"{name} is registered.")
    return secret


def change(settings: Settings, name: str, said: Said) -> str:
    """Change a client. Its tokens from before end within a second when what they stand on changes.
    Returns its secret when it got one. Raises `Trouble`."""
    made: list[str] = []

    def alter(before: Client) -> Client:
        after, secret = _as_said(settings, before, said)
        made[:] = [secret]
        return after

    _changed(settings, name, alter)
    return "".join(made)


def secret(settings: Settings, name: str) -> str:
    """A new secret for a client; the old one ends. Raises `Trouble` when it cannot have one."""
    made, digest = new_secret()

    def alter(before: Client) -> Client:
        if before.kind != "symmetric":
            raise Trouble(Exit.REFUSED, f"{name} is {before.kind}: it has no secret.")
        return replace(before, secret_digest=digest)

    _changed(settings, name, alter)
    return made


def _changed(settings: Settings, name: str, alter: Callable[[Client], Client]) -> None:
    try:
        row = registration.CHANGE_CLIENT
        _act(settings, row, lambda store, seal: store.change(name, alter, seal))
    except ClientInvalid as fault:
        raise _refused(fault) from fault
    except ClientMoved as fault:
        words = f"There is no client {name} that could be changed; see `throughline clients list`."
        raise Trouble(Exit.REFUSED, words) from fault
    _say(f"{name} is changed.")


def _as_said(settings: Settings, client: Client, said: Said) -> tuple[Client, str]:
    """The client as the command line says, and its secret when it got a new one. Raises `Trouble` for
    codes that nobody agreed on."""
    try:
        pack = load(settings.affinity)
    except PackError as fault:
        raise Trouble(Exit.USAGE, f"--affinity: {fault}") from fault
    given: dict[str, Any] = {
        "name" if name == "title" else name: tuple(value) if isinstance(value, list) else value
        for name, value in asdict(said).items()
        if value is not None and name != "jwks"
    }
    given |= {name: () for name in given if given[name] == ("",)}  # --origin "" takes them away
    if said.jwks is not None:
        remote = said.jwks.startswith(("http://", "https://"))
        given["jwks"] = None if remote or not said.jwks else _public_keys(Path(said.jwks))
        given["jwks_uri"] = said.jwks if remote else ""
    made = replace(client, **given)
    faults = Agreed.of(pack, ROWS).faults(made)
    if faults:
        words = (fault.words.removeprefix(fault.field) for fault in faults)
        flags = [
            f"{_FLAGS.get(f.field, '--' + f.field)}{w}" for f, w in zip(faults, words, strict=True)
        ]
        raise Trouble(Exit.USAGE, "\n".join(flags))
    if made.organisation and made.organisation not in pack.organisations:
        _say(f"Mind: {made.organisation} is no organisation of the pack {pack.id}; check the code.")
    if made.kind != "symmetric":
        return replace(made, secret_digest=b""), ""
    if made.secret_digest:
        return made, ""
    shown, digest = new_secret()
    return replace(made, secret_digest=digest), shown


def _refused(fault: ClientInvalid) -> Trouble:
    return Trouble(Exit.REFUSED, "\n".join(one.words for one in fault.faults))


def describe(settings: Settings, name: str, console: Console, *, as_json: bool) -> None:
    """Print one client with all that is kept of it, secrets apart. Raises `Trouble` for an unknown one."""
    found = _with_clients(settings, lambda store: store.get(name))
    if found is None:
        raise Trouble(Exit.REFUSED, f"There is no client {name}; see `throughline clients list`.")
    said = metadata.written(found)
    if as_json:
        print(json.dumps(said, indent=1, ensure_ascii=False))
        return
    table = Table("Member", "Value", show_header=False)
    for member, value in said.items():
        many = [f"key {key.get('kid')}" for key in value["keys"]] if member == "jwks" else value
        table.add_row(member, "\n".join(many) if isinstance(many, list) else str(many))
    console.print(table)


def invite(settings: Settings, body: Mapping[str, Any]) -> str:
    """Make an invitation to register, as its JSON in the admin API says. Returns its token. Raises
    `Trouble` with everything that is wrong."""
    asked, faults = invitations.read(
        {name: value for name, value in body.items() if value},
        "the command line",
        datetime.now(UTC),
    )
    if faults:
        raise Trouble(Exit.REFUSED, "\n".join(fault.words for fault in faults))

    async def story(mongo: Mongo) -> str:
        store = Invitations(mongo)
        await store.prepare()
        made, token = await store.make(asked)
        told = {"label": made.label, "scope": made.limits.scope}
        await _tell(settings, mongo, None, registration.INVITE, made.id, told)
        _say(
            f"Invitation {made.id}: {made.uses} registration(s) until {made.until:%Y-%m-%d %H:%M}."
        )
        return token

    return with_mongo(settings, story)


def invited(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Print every invitation, the newest first."""
    found = [
        invitations.written(one)
        for one in with_mongo(settings, lambda mongo: Invitations(mongo).all())
    ]
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    table = Table(Column("Invitation", no_wrap=True), "For", "Scope", "Uses left", "Until", "Ended")
    for one in found:
        keys = ("id", "label", "scope", "uses", "until", "ended")
        table.add_row(*(str(one.get(key, "")) for key in keys))
    console.print(table if found else "No invitations yet: throughline clients invite --help")


def uninvite(settings: Settings, id_: str) -> None:
    """End an invitation. Raises `Trouble` when there is none to end."""

    async def story(mongo: Mongo) -> bool:
        ended = await Invitations(mongo).end(id_)
        if ended:
            await _tell(settings, mongo, None, registration.END_INVITATION, id_, {})
        return ended

    if not with_mongo(settings, story):
        raise Trouble(Exit.REFUSED, f"There is no invitation {id_} that could be ended.")
    _say(f"Invitation {id_} is ended.")


def show(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Print every client as a table, or as one JSON array."""
    found = _with_clients(settings, lambda store: store.all())
    if as_json:
        print(json.dumps([_row(client) for client in found], indent=1, ensure_ascii=False))
        return
    table = Table(
        Column("Client", no_wrap=True),
        "Kind",
        "Scope",
        "Organisation",
        "Role",
        "Purposes",
        "Since",
        "Revoked",
    )
    for client in found:
        row = _row(client)
        keys = ("client", "kind", "scope", "organisation", "role", "purposes", "since", "revoked")
        said = [row[key] or "" for key in keys]
        table.add_row(*(" ".join(v) if isinstance(v, list) else v for v in said))
    console.print(table if found else "No clients yet: throughline clients add --help")


def revoke(settings: Settings, name: str) -> None:
    """End a client. Raises `Trouble` when there is none of this name to end."""
    row = registration.END_CLIENT
    if not _act(settings, row, lambda store, seal: store.revoke(name, seal=seal)):
        raise Trouble(
            Exit.REFUSED,
            f"There is no client {name} that could be revoked; see `throughline clients list`.",
        )
    _say(f"{name} is revoked.")


def keygen(out: Path, alg: Literal["ES384", "RS384"]) -> None:
    """Write a new private JWK to `out` (for its owner only) and its public set beside it."""
    public = out.with_suffix(".jwks.json")
    for file in (out, public):
        if file.exists():
            raise Trouble(Exit.USAGE, f"{file} exists and is not overwritten; choose another name.")
    key: ECKey | RSAKey
    if alg == "ES384":
        key = ECKey.generate_key("P-384", {"use": "sig", "alg": alg})
    else:
        key = RSAKey.generate_key(3072, {"use": "sig", "alg": alg})
    kid = {"kid": key.thumbprint()}
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as private:
            json.dump(key.as_dict(private=True) | kid, private, indent=1)
        public.write_text(json.dumps({"keys": [key.as_dict(private=False) | kid]}, indent=1) + "\n")
    except OSError as fault:
        raise Trouble(
            Exit.USAGE, f"{fault.filename} cannot be written: {fault.strerror}."
        ) from fault
    _say(
        f"Private key: {out} (keep it). Public keys: {public} (give it to `throughline clients add`)."
    )


@contextmanager
def near_database(settings: Settings) -> Iterator[tuple[str, str]]:
    """The MongoDB of the exchange these settings mean, and the prefix of its databases.

    --mongodb if it is given; else of the exchange that runs in the data folder; else an embedded one,
    started for as long as this lasts.
    """
    running = whereabouts.read(settings.data)
    if settings.mongodb.get_secret_value():
        check(settings.mongodb.get_secret_value())
        yield settings.mongodb.get_secret_value(), settings.database_prefix
    elif running is not None:
        yield running.uri, running.database_prefix
    else:
        _say(f"No exchange runs in {settings.data}; its MongoDB is started for the moment.")
        with database(settings) as uri:
            yield uri, settings.database_prefix


def _act(settings: Settings, row: Transaction, story: Callable[[Clients, Seal], Awaitable[T]]) -> T:
    """Do something to a client and have it in the audit trail, in one transaction."""

    async def run(mongo: Mongo) -> T:
        async def seal(session: AsyncClientSession, before: Client | None, after: Client) -> None:
            told = telling.changes(before, after)
            await _tell(settings, mongo, session, row, after.client_id, told)

        store = Clients(mongo)
        await store.prepare()
        return await story(store, seal)

    return with_mongo(settings, run)


async def _tell(
    settings: Settings,
    mongo: Mongo,
    session: AsyncClientSession | None,
    row: Transaction,
    about: str,
    told: Mapping[str, str],
) -> None:
    # It lies in the outbox until an exchange runs, whose forwarder records it.
    issuer = settings.issuer
    request = balp.Request(str(uuid.uuid4()), instant(datetime.now(UTC)), issuer)
    who = Caller(client_id="throughline clients", issuer=issuer)
    made = telling.event(row, who, request, balp.Vocabulary(), about=about, told=told)
    await outbox.put(session, mongo, "auth", made)


def _with_clients(settings: Settings, story: Callable[[Clients], Awaitable[T]]) -> T:
    return with_mongo(settings, lambda mongo: story(Clients(mongo)))


def with_mongo(settings: Settings, story: Callable[[Mongo], Awaitable[T]]) -> T:
    """What the story gives, told over the MongoDB of the exchange these settings mean."""

    async def run(uri: str, prefix: str) -> T:
        mongo = Mongo(uri, pool=2, prefix=prefix)
        try:
            await outbox.prepare(mongo, "auth")
            return await story(mongo)
        finally:
            await mongo.close()

    with near_database(settings) as (uri, prefix):
        return asyncio.run(run(uri, prefix))


def _public_keys(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text())
    except OSError as fault:
        raise Trouble(Exit.USAGE, f"--jwks {file} cannot be read: {fault.strerror}.") from fault
    except ValueError as fault:
        raise Trouble(Exit.USAGE, f"--jwks {file} is not JSON; a JWK Set is expected.") from fault
    if isinstance(found, dict) and "kty" in found:
        return {"keys": [found]}
    if not isinstance(found, dict):
        raise Trouble(Exit.USAGE, f'--jwks {file} is no JWK Set: {{"keys": […]}} is expected.')
    return found


def _row(client: Client) -> dict[str, Any]:
    def moment(at: Any) -> str | None:
        return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None

    return {
        "client": client.client_id,
        "kind": client.kind,
        "scope": client.scope,
        "organisation": client.organisation,
        "role": client.role,
        "purposes": list(client.purposes),
        "keys": client.jwks_uri or [key.get("kid") for key in (client.jwks or {}).get("keys", [])],
        "since": moment(client.created),
        "revoked": moment(client.revoked),
    }


def _say(words: str) -> None:
    print(words, file=sys.stderr)
