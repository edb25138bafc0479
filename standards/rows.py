"""The shapes of the facts: a transaction, a search parameter, an audit pattern.

Routes, scope guards, audit events, Mongo indexes, the CapabilityStatement, metrics labels and the
reference docs are all derived from rows of these types (docs/house.md shows how).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ParameterType = Literal["token", "reference", "string", "date", "uri", "composite", "special"]
Interaction = Literal[
    "read", "vread", "history-instance", "history-type", "search-type", "create", "update", "patch", "delete",
    "operation", "transaction", "capabilities", "internal",
]  # fmt: skip
Body = Literal["none", "resource", "bundle", "parameters", "json", "raw"]
Coded = Callable[[str], tuple[str, str, str]]
"""(system, code, display) for the name of an error kind."""
Modifier = Literal["exact", "contains", "missing", "not", "identifier"]


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One search parameter of one resource type.

    `field` is its place in the index subdocument (`ix.<field>`); `array` says whether that place holds
    a list, because a compound Mongo index may hold at most one. `chain_of` marks `author.given` and
    its like: the parameter that is chained through. `listed_as` are further names under which a
    profile's CapabilityStatement lists it (PDQm: `family:exact`).
    """

    name: str
    type: ParameterType
    resource: str
    field: str
    expression: str
    see: str
    array: bool = True
    modifiers: tuple[Modifier, ...] = ()
    targets: tuple[str, ...] = ()
    chain_of: str | None = None
    definition: str = ""
    words: str = ""
    listed_as: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What a search may bring along with its matches.

    `_include` leads from a match of type `source` by `parameter` to a resource of one of `targets`;
    `_revinclude` brings the resources of type `source` whose `parameter` leads to a match.
    """

    by: Literal["_include", "_revinclude"]
    source: str
    parameter: str
    targets: tuple[str, ...]
    see: str
    words: str

    @property
    def said(self) -> str:
        """As the parameter writes it, without a target."""
        return f"{self.source}:{self.parameter}"


@dataclass(frozen=True, slots=True)
class Operand:
    """One parameter of an operation: what it is called, which way it goes, how often, of what type."""

    name: str
    use: Literal["in", "out"]
    least: int
    most: str
    type: str
    words: str
    search: str = ""  # how a string is read, when it has the grammar of a search parameter


@dataclass(frozen=True, slots=True)
class AuditPattern:
    """How a transaction is audited: the fixed parts of its AuditEvent.

    `type` and `subtypes` are (system, code, display); `client_role` and `server_role` are DCM codes.
    `profile` is claimed only on success, because BALP fixes outcome 0 (MHD digest §0.3 row 8).
    """

    type: tuple[str, str, str]
    action: Literal["C", "R", "U", "D", "E"]
    subtypes: tuple[tuple[str, str, str], ...]
    client_role: str
    server_role: str
    profile: str | None
    entities: tuple[
        Literal["query", "data", "patient", "submission", "token", "audit-log", "message"], ...
    ]
    data_role: str = "4"
    see: str = "BALP 1.1.4"


@dataclass(frozen=True, slots=True)
class Unaudited:
    """Why a row needs no AuditEvent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Public:
    """Why a row needs no token."""

    reason: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a token must carry: a SMART v2 letter on a resource type, or one of the literal scopes
    (IUA's transaction names, or our own service scope). With one of `own` it reaches what is the
    caller's own, and that is the story's to know."""

    letter: Literal["c", "r", "u", "d", "s", ""]
    resource: str
    literals: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction: everything about it that is not code.

    `routes` are (method, path) with the path below the FHIR base (`surface="fhir"`) or below the
    origin (`surface="internal"`, what far neighbours call). `invalid` is the one status for every
    refused body where testers expect one. `takes` are the types a body may be, where it is not only
    the one that `body` implies. `media` are further answers that can be asked for beside FHIR, as
    (`_format`, media type). `documents` are the paths of the base64 values that are taken off the
    body while it streams; a `bundle` has those of its Binaries. `door` is the path below `/fhir` of
    another FHIR base, with a CapabilityStatement of its own (`/nrl/producer`); `routes` begin with it.
    `coded` gives the coding that the outcomes of that door carry for an error kind, instead of its XDS
    code. `narrows` says whether its story keeps within a permit that reaches part of a type only; None:
    every story does, except those of operations.
    """

    code: str
    name: str
    service: str
    interaction: Interaction
    resource: str
    routes: tuple[tuple[str, str], ...]
    scope: Needs | Public
    audit: AuditPattern | Unaudited
    see: str
    body: Body = "none"
    takes: tuple[str, ...] = ()
    media: tuple[tuple[str, str], ...] = ()
    search: tuple[SearchParameter, ...] = ()
    inclusions: tuple[Inclusion, ...] = ()
    parameters: tuple[
        str, ...
    ] = ()  # names an operation or conditional interaction takes in its query
    operation: str = ""
    operands: tuple[Operand, ...] = ()
    definition: str = ""
    profiles: tuple[str, ...] = ()
    invalid: int | None = None
    surface: Literal["fhir", "internal"] = "fhir"
    door: str = ""
    coded: Coded | None = None
    documents: tuple[str, ...] = ()
    max_body: int = 16 * 1024 * 1024
    words: str = ""
    narrows: bool | None = None

    @property
    def partly(self) -> bool:
        """Whether a token will do that reaches a part of the type only."""
        return self.interaction != "operation" if self.narrows is None else self.narrows
