"""Settings as command-line flags, made from the same rows as everything else about them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr, ValidationError
from rich.columns import Columns
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from chassis.address import networks
from chassis.settings import Settings, rows
from exchange.exits import Exit, Trouble

EVERY = tuple(row.name for row in rows())
_HINTS = get_type_hints(Settings)
_AT_LEAST_ONE = (
    "workers", "pool", "max_body", "max_document", "token_seconds", "find_limit", "retrieval_wait",
    "session_idle_seconds", "session_seconds",
    "app_token_seconds", "offline_days", "refresh_idle_days",
    "retrieval_seconds", "notify_patience", "hl7v2_max_message", "hl7v2_lines", "hl7v2_parallel",
)  # fmt: skip


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of these settings; the command gets them as one argument, `settings`.

    A flag wins over its THROUGHLINE_* variable, and that over the default.
    """
    chosen = [row for row in rows() if row.name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            flags = {row.name: given.pop(row.name) for row in chosen}
            made = settings_of({name: v for name, v in flags.items() if v is not None})
            command(settings=made, **given)

        kept = inspect.signature(command)
        annotations = dict(get_type_hints(command, include_extras=True))
        own = [
            p.replace(annotation=annotations[p.name])
            for p in kept.parameters.values()
            if p.name != "settings"
        ]
        for row in chosen:
            kind = str if _HINTS[row.name] is SecretStr else _HINTS[row.name]
            option = typer.Option(
                None, row.flag, help=f"{row.help} [{row.variable}]", show_default=row.default or False,
                rich_help_panel="Settings",
            )  # fmt: skip
            own.append(
                inspect.Parameter(
                    row.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None
                )
            )
            annotations[row.name] = kind | None
        run.__doc__ = flowing(command.__doc__ or "")
        run.__signature__ = kept.replace(parameters=own)  # type: ignore[attr-defined]
        run.__annotations__ = {n: h for n, h in annotations.items() if n != "settings"}
        return run

    return decorate


def flowing(text: str) -> str:
    """PURE: paragraphs as one line each, for a terminal of any width to break where it ends."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


class Whole(Table):
    """A table that breaks a long word and never leaves out its end: a flag must be there to be typed."""

    def add_row(self, *cells: RenderableType | None, **how: Any) -> None:
        """Add a row and let every word of it be broken."""
        super().add_row(*cells, **how)
        for column in self.columns:
            column.overflow = "fold"
        for cell in cells:
            if isinstance(
                cell, Columns
            ):  # Typer lays help, variable and default beside one another
                for part in cell.renderables:
                    if isinstance(part, Text):
                        part.overflow = "fold"


def settings_of(flags: dict[str, Any]) -> Settings:
    """The settings of these flags and of the environment; `Trouble` naming each value that is wrong."""
    try:
        made = Settings(**flags)
    except ValidationError as fault:
        words = [
            f"{_named(str(error['loc'][0]), flags)}: {error['msg']} (it is {error['input']!r})."
            if not _secret(str(error["loc"][0]))
            else f"{_named(str(error['loc'][0]), flags)}: {error['msg']}."
            for error in fault.errors()
        ]
        raise Trouble(Exit.USAGE, "\n".join(words)) from fault
    faults = list(_faults(made))
    if faults:
        raise Trouble(
            Exit.USAGE, "\n".join(f"{_named(name, flags)} {words}" for name, words in faults)
        )
    return made


def _faults(settings: Settings) -> list[tuple[str, str]]:
    """PURE: what the types alone do not say."""
    found = [
        (name, f"is a port, from 0 to 65535 (it is {port}).")
        for name, port in (
            ("port", settings.port),
            ("admin_port", settings.admin_port),
            ("hl7v2_port", settings.hl7v2_port),
        )
        if not 0 <= port <= 65_535
    ]
    if settings.port and settings.port == settings.admin_port:
        found.append(("admin_port", "must differ from --port."))
    if settings.hl7v2_port and settings.hl7v2_port in (settings.port, settings.admin_port):
        found.append(("hl7v2_port", "must differ from --port and --admin-port."))
    if bool(settings.hl7v2_certificate) != bool(settings.hl7v2_key.get_secret_value()):
        found.append(("hl7v2_certificate", "and --hl7v2-key belong together; give both."))
    if not settings.hl7v2_processing or set(settings.hl7v2_processing) - set("PTD"):
        found.append(("hl7v2_processing", "may hold P, T and D."))
    found += [
        (name, f"must be at least 1 (it is {getattr(settings, name)}).")
        for name in _AT_LEAST_ONE
        if getattr(settings, name) < 1
    ]
    if settings.password_memory < 19:
        found.append(("password_memory", f"is at least 19 MiB (it is {settings.password_memory})."))
    try:
        networks(settings.trusted_proxies)
    except ValueError as fault:
        found.append(("trusted_proxies", f"is not understood: {fault}."))
    found += _notify_faults(settings)
    found += _provider_faults(settings)
    for name in (
        "public_url",
        "pix_url",
        "registry_url",
        "repository_url",
        "auth_url",
        "audit_url",
    ):
        given = getattr(settings, name)
        if given and not _is_origin(given):
            found.append((name, f"is an origin like https://exchange.example (it is {given!r})."))
    return found


def _notify_faults(settings: Settings) -> list[tuple[str, str]]:
    found = []
    if settings.notify_at_once < 0:
        found.append(("notify_at_once", f"cannot be negative (it is {settings.notify_at_once})."))
    for name in ("notify_allow", "keys_allow"):
        if not getattr(settings, name):
            continue
        from chassis.destinations import allowed  # HTTP itself, that most commands do not need

        try:
            allowed(getattr(settings, name))
        except ValueError as fault:
            found.append((name, f"is not understood: {fault}."))
    for name in ("notify_trust", "notify_certificate"):
        path = getattr(settings, name)
        if path and not Path(path).is_file():
            found.append((name, f"names no file (it is {path!r})."))
    if settings.notify_credentials and not found:
        # Read only where there are some: most commands have nothing to do with keys and tokens.
        from pix.tokens import CredentialsInvalid, load

        try:
            load(settings.notify_credentials, allowed(settings.notify_allow))
        except CredentialsInvalid as fault:
            found.append(("notify_credentials", str(fault)))
    return found


def _provider_faults(settings: Settings) -> list[tuple[str, str]]:
    if not settings.sign_in_providers:
        return []
    # Read only where there are providers: most commands have nothing to do with keys and tokens.
    from affinity.pack import PackError, load
    from auth.upstream.providers import ProvidersInvalid
    from auth.upstream.providers import load as providers

    try:
        providers(settings.sign_in_providers, load(settings.affinity))
    except PackError:
        return []  # said for itself
    except ProvidersInvalid as fault:
        return [("sign_in_providers", str(fault))]
    return []


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment or parts.username or parts.path.strip("/"))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bare


def _named(name: str, flags: dict[str, Any]) -> str:
    row = next((row for row in rows() if row.name == name), None)
    if row is None:
        return name
    return row.flag if name in flags else row.variable


def _secret(name: str) -> bool:
    return any(row.secret for row in rows() if row.name == name)
