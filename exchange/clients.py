"""`throughline clients`: the register of back-end systems, through auth's own store."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from joserfc.jwk import ECKey, RSAKey
from rich.console import Console
from rich.table import Table

from affinity.pack import PackError, load
from auth.clients import Client, ClientInvalid, Clients
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange import whereabouts
from exchange.database import check, database
from exchange.exits import Exit, Trouble
from exchange.rows import ROWS
from standards.rows import Needs

T = TypeVar("T")

# Scopes that are a transaction's own name: a misspelt one would register, and then reach nothing.
LITERALS = frozenset(
    literal for row in ROWS if isinstance(row.scope, Needs) for literal in row.scope.literals
)


def add(
    settings: Settings,
    name: str,
    jwks: str,
    scope: str,
    *,
    organisation: str = "",
    role: str = "",
    purposes: Sequence[str] = (),
) -> None:
    """Register a client. `jwks` is a file or an https URL. Raises `Trouble` saying what is wrong."""
    try:
        pack = load(settings.affinity)
    except PackError as fault:
        raise Trouble(Exit.USAGE, f"--affinity: {fault}") from fault
    faults = [
        *_unknown("--role", [role] if role else [], pack.roles),
        *_unknown("--purpose", purposes, pack.purposes),
        *_unknown("--scope", [t for t in scope.split() if "/" not in t], LITERALS),
    ]
    if faults:
        raise Trouble(Exit.USAGE, "\n".join(faults))
    if organisation and organisation not in pack.organisations:
        _say(f"Mind: {organisation} is no organisation of the pack {pack.id}; check the code.")
    remote = jwks.startswith(("http://", "https://"))
    client = Client(
        client_id=name,
        name=name,
        jwks=None if remote else _public_keys(Path(jwks)),
        jwks_uri=jwks if remote else "",
        scope=scope,
        organisation=organisation,
        role=role,
        purposes=tuple(purposes),
    )
    try:
        _with_clients(settings, lambda store: store.add(client))
    except ClientInvalid as fault:
        raise Trouble(Exit.REFUSED, str(fault)) from fault
    _say(f"{name} is registered.")


def show(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Print every client as a table, or as one JSON array."""
    found = _with_clients(settings, lambda store: store.all())
    if as_json:
        print(json.dumps([_row(client) for client in found], indent=1, ensure_ascii=False))
        return
    table = Table("Client", "Scope", "Organisation", "Role", "Purposes", "Since", "Revoked")
    for client in found:
        row = _row(client)
        keys = ("client", "scope", "organisation", "role", "purposes", "since", "revoked")
        said = [row[key] or "" for key in keys]
        table.add_row(*(" ".join(v) if isinstance(v, list) else v for v in said))
    console.print(table if found else "No clients yet: throughline clients add --help")


def revoke(settings: Settings, name: str) -> None:
    """End a client. Raises `Trouble` when there is none of this name to end."""
    if not _with_clients(settings, lambda store: store.revoke(name)):
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


def _with_clients(settings: Settings, story: Callable[[Clients], Awaitable[T]]) -> T:
    async def run(uri: str, prefix: str) -> T:
        mongo = Mongo(uri, pool=2, prefix=prefix)
        try:
            return await story(Clients(mongo))
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


def _unknown(flag: str, codes: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """PURE: a sentence for each code that nobody agreed on."""
    for code in codes:
        if code not in known:
            near = difflib.get_close_matches(code, known, 1, 0.6)
            hint = f" Did you mean {near[0]}?" if near else ""
            yield f"{flag} {code} is not known here.{hint} There are {', '.join(sorted(known))}."


def _row(client: Client) -> dict[str, Any]:
    def moment(at: Any) -> str | None:
        return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None

    return {
        "client": client.client_id,
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
