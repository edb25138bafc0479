"""What a tester states about the server under test: one TOML file. Reading it is PURE.

fhir = "http://localhost:8080/fhir"          the FHIR base, as an app would be told it
[apps.public]                                 one table per app: public, symmetric, asymmetric
client_id = "…"
redirect_uri = "http://127.0.0.1:4567/return"
secret = "…"                                  symmetric only
key = "asymmetric.jwk"                        asymmetric only: a private JWK beside this file
[backend]                                     a backend service
client_id = "…"; key = "backend.jwk"; scope = "system/DocumentReference.rs"
[sign_in]                                     how the pages are walked (conformance/visitor.py)
fields = { username = "…", password = "…" }
press = ["Sign in", "Continue", "Allow"]
    [scopes]                                      what the launches ask for, when it is not the usual
    standalone = "…"; ehr = "…"
    granular = ["patient/DocumentReference.rs?category=…", "…"]
    granular_with = "status=current"
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["public", "symmetric", "asymmetric"]
KINDS: tuple[Kind, ...] = ("public", "symmetric", "asymmetric")
STANDALONE = (
    "launch/patient openid fhirUser offline_access patient/Patient.rs patient/DocumentReference.rs"
)
EHR = "launch openid fhirUser online_access user/Patient.rs user/DocumentReference.rs"


class TargetError(ValueError):
    """The file does not say what the kit needs; the words say what is missing and where."""


@dataclass(frozen=True, slots=True)
class App:
    """A registered app. `key` is a private JWK, `origin` the web origin that a browser would send."""

    kind: Kind
    client_id: str
    redirect_uri: str
    secret: str = ""
    key: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    launch_uri: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """A registered backend service with its private JWK and a scope it may have."""

    client_id: str
    key: Mapping[str, Any]
    scope: str


@dataclass(frozen=True, slots=True)
class Walk:
    """How the sign-in and approval pages are walked: field values by name, buttons by their words."""

    fields: Mapping[str, str] = field(default_factory=dict)
    press: tuple[str, ...] = ("Sign in", "Continue", "Allow")


@dataclass(frozen=True, slots=True)
class Target:
    """The server under test and the parties registered with it."""

    fhir: str
    apps: Mapping[Kind, App] = field(default_factory=dict)
    backend: Backend | None = None
    walk: Walk = field(default_factory=Walk)
    standalone: str = STANDALONE
    ehr: str = EHR
    introspector: Backend | None = None
    granular: tuple[str, ...] = ()  # two or more scopes of one type, each with a query
    granular_with: str = ""  # what a search of that type needs beside the patient, as ITI-67 does

    @property
    def aud(self) -> str:
        """The audience an app states: the base as typed."""
        return self.fhir


def read(path: Path) -> Target:
    """The target that a TOML file states. Raises `TargetError`."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise TargetError(f"{path} cannot be read: {fault}") from fault
    return of(told, path.parent)


def of(told: Mapping[str, Any], folder: Path) -> Target:
    """The target of a table already read; key files lie below `folder`. Raises `TargetError`."""
    faults: list[str] = []
    fhir = str(told.get("fhir", "")).rstrip("/")
    if not fhir.startswith(("http://", "https://")):
        faults.append("fhir must be the http(s) address of a FHIR base.")
    apps: dict[Kind, App] = {}
    for kind, table in dict(told.get("apps", {})).items():
        if kind not in KINDS:
            faults.append(f"apps.{kind}: an app is one of {', '.join(KINDS)}.")
            continue
        apps[kind] = App(
            kind=kind,
            client_id=_text(table, "client_id", f"apps.{kind}", faults),
            redirect_uri=_text(table, "redirect_uri", f"apps.{kind}", faults),
            secret=_text(table, "secret", f"apps.{kind}", faults) if kind == "symmetric" else "",
            key=_key(table, f"apps.{kind}", folder, faults) if kind == "asymmetric" else {},
            origin=str(table.get("origin", "")),
            launch_uri=str(table.get("launch_uri", "")),
        )
    walk = dict(told.get("sign_in", {}))
    backend = _backend(told, "backend", folder, faults)
    introspector = _backend(told, "introspector", folder, faults) or backend
    scopes = dict(told.get("scopes", {}))
    if faults:
        raise TargetError("\n".join(faults))
    return Target(
        fhir=fhir,
        apps=apps,
        backend=backend,
        introspector=introspector,
        walk=Walk(
            {str(k): str(v) for k, v in dict(walk.get("fields", {})).items()},
            tuple(map(str, walk.get("press", Walk().press))),
        ),
        standalone=str(scopes.get("standalone", STANDALONE)),
        ehr=str(scopes.get("ehr", EHR)),
        granular=tuple(map(str, scopes.get("granular", ()))),
        granular_with=str(scopes.get("granular_with", "")),
    )


def _backend(told: Mapping[str, Any], name: str, folder: Path, faults: list[str]) -> Backend | None:
    if name not in told:
        return None
    table = told[name]
    return Backend(
        _text(table, "client_id", name, faults),
        _key(table, name, folder, faults),
        _text(table, "scope", name, faults),
    )


def _text(table: Mapping[str, Any], name: str, where: str, faults: list[str]) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value:
        faults.append(f"{where}.{name} is missing.")
        return ""
    return value


def _key(
    table: Mapping[str, Any], where: str, folder: Path, faults: list[str]
) -> Mapping[str, Any]:
    if isinstance(table.get("key"), dict):
        return dict(table["key"])
    name = _text(table, "key", where, faults)
    if not name:
        return {}
    try:
        made: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        faults.append(f"{where}.key: {name} is not a readable JWK ({fault}).")
        return {}
    return made
