"""Keeping documents as records are kept: review lists, destruction by two persons, legal holds and
quarantine, as rows. Pure.

No specification fixes these operations. They are FHIR operations on Binary, because the repository is
what keeps and destroys; each has a scope of its own, so that reviewing, approving and destroying can be
given to different people. Bodies and answers are Parameters; `asked` reads them with every mistake at
once, `parameters` builds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from standards import balp
from standards.outcome import INVALID, REQUIRED, Issue, refuse_if
from standards.rows import AuditPattern, Needs, Operand, Transaction, Unaudited

DEFINITIONS = "https://throughline.example/fhir/OperationDefinition/"
SEE = "docs/decisions/0024-retention-and-destruction.md"
DESTROYED = "https://throughline.example/fhir/StructureDefinition/destroyed"
"""The extension of a tombstone: which disposal destroyed the document, when and on what ground."""


@dataclass(frozen=True, slots=True)
class Given:
    """One parameter of an operation: its value[x], how often it may be given, and what for."""

    name: str
    value: str
    least: int
    most: int | None
    words: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A row and what it takes."""

    row: Transaction
    takes: tuple[Given, ...]


_READ = replace(balp.rest("R", "read", ("data", "patient")), profile=None)
_CHANGE = replace(balp.rest("U", "update", ("data", "patient")), profile=None)
_DESTROY = replace(balp.rest("D", "delete", ("data", "patient")), profile=None)


def _operation(
    name: str, title: str, scope: str, audit: AuditPattern, words: str, *takes: Given
) -> Operation:
    row = Transaction(
        code=name,
        name=title,
        service="repository",
        interaction="operation",
        resource="Binary",
        routes=(("POST", f"/Binary/${name}"),),
        scope=Needs("", "Binary", (scope,)),
        audit=audit,
        see=SEE,
        body="parameters",
        operation=name,
        definition=DEFINITIONS + name,
        operands=(*map(_operand, takes), _GIVEN),
        words=words,
    )
    return Operation(row, takes)


def _operand(given: Given) -> Operand:
    kind = given.value.removeprefix("value")
    most = "*" if given.most is None else str(given.most)
    return Operand(given.name, "in", given.least, most, kind[0].lower() + kind[1:], given.words)


_GIVEN = Operand("return", "out", 1, "1", "Parameters", "what was found or done (docs/records.md)")
_REASON = Given("reason", "valueString", 1, 1, "why, in words; it goes on the certificate")
_DISPOSAL = Given("disposal", "valueString", 1, 1, "the id that $retention-approve gave")

REVIEW = _operation(
    "retention-review", "Review what is due for disposal", "records-review", _READ,
    "Lists documents with their retention class, the day their time is over, why, and what holds them. "
    "Looks at `count` kept documents a call; `next`, where it is given, continues as `after`.",
    Given("until", "valueDate", 0, 1, "due by this day; today when left out"),
    Given("all", "valueBoolean", 0, 1, "documents that are not due as well"),
    Given("count", "valueInteger", 0, 1, "how many kept documents to look at, 1 to 1000"),
    Given("after", "valueString", 0, 1, "where the call before stopped"),
)  # fmt: skip
APPROVE = _operation(
    "retention-approve", "Approve a disposal, as the first of two", "records-approve", _CHANGE,
    "Proposes to destroy documents, or to release them from quarantine. Nothing happens to them until "
    "somebody else confirms it with $retention-destroy or $quarantine-release.",
    Given("document", "valueString", 1, 200, "the id of a DocumentReference"),
    Given("act", "valueCode", 0, 1, "destroy (the default) or release"),
    Given("ground", "valueCode", 0, 1,
          "retention (the default: their time is over), erasure (the custodian's decision) or quarantine"),
    _REASON,
)  # fmt: skip
DESTROY = _operation(
    "retention-destroy", "Destroy documents, as the second of two", "records-destroy", _DESTROY,
    "Destroys the documents of an approved disposal: their keys and bytes go, their DocumentReferences "
    "stay as tombstones. Whoever approved it cannot confirm it.",
    _DISPOSAL, _REASON,
)  # fmt: skip
RELEASE = _operation(
    "quarantine-release", "Release documents from quarantine, as the second of two", "records-destroy",
    _CHANGE, "Makes the documents of an approved disposal retrievable again.", _DISPOSAL, _REASON,
)  # fmt: skip
WITHDRAW = _operation(
    "retention-withdraw", "Withdraw an approved disposal", "records-approve", _CHANGE,
    "Ends a disposal that nobody has confirmed; its documents stay as they are.", _DISPOSAL, _REASON,
)  # fmt: skip
CERTIFICATE = _operation(
    "retention-certificate", "Read a disposal and its certificate", "records-review", _READ,
    "What was approved and confirmed by whom, and, once it is done, the certificate of destruction as "
    "JSON and as a page to print.",
    _DISPOSAL,
)  # fmt: skip
HOLD = _operation(
    "legal-hold", "Place a legal hold", "records-hold", _CHANGE,
    "Forbids destroying documents, everything about a person, or a whole retention class, until the hold "
    "is ended.",
    Given("ground", "valueCode", 1, 1, "a code of hold_grounds.csv"),
    Given("document", "valueString", 0, 200, "the id of a DocumentReference"),
    Given("patient", "valueString", 0, 200, "Patient/id: everything about that person"),
    Given("class", "valueCode", 0, 200, "a retention class"),
    Given("reference", "valueString", 0, 1, "the matter's own number"),
    _REASON,
)  # fmt: skip
END_HOLD = _operation(
    "legal-hold-end", "End a legal hold", "records-hold", _CHANGE,
    "Ends one hold. Other holds on the same documents stay.",
    Given("hold", "valueString", 1, 1, "its id"), _REASON,
)  # fmt: skip
HOLDS = _operation(
    "legal-holds", "List legal holds", "records-review", _READ, "The holds that stand.",
    Given("ended", "valueBoolean", 0, 1, "those that have ended as well"),
)  # fmt: skip
QUARANTINE = _operation(
    "quarantine", "List what is in quarantine", "records-review", _READ,
    "Documents that are kept and not given out, with the reason, longest first.",
    Given("count", "valueInteger", 0, 1, "how many at most, 1 to 1000"),
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    REVIEW, APPROVE, DESTROY, RELEASE, WITHDRAW, CERTIFICATE, HOLD, END_HOLD, HOLDS, QUARANTINE,
)  # fmt: skip


def _door(service: str, path: str, name: str, words: str) -> Transaction:
    return Transaction(
        code=path,
        name=name,
        service=service,
        interaction="internal",
        resource="",
        routes=(("POST", f"/internal/{service}/{path}"),),
        scope=Needs("", "", ("throughline.internal",)),
        audit=Unaudited("part of an operation that the repository audits"),
        see=SEE,
        body="json",
        surface="internal",
        words=words,
    )


AGED = _door(
    "registry", "aged", "How old documents are, and what else there is about the same person",
    '{"binaries": [...], "documents": [...]} gives {"aged": [...]}.',
)  # fmt: skip
ENTOMB = _door(
    "registry", "entomb", "Make tombstones of documents that are being destroyed",
    '{"documents": [...], "disposal", "ground", "at"} gives {"entombed": number}; idempotent.',
)  # fmt: skip
HELD = _door(
    "repository", "held", "Which legal holds stand on a document, kept here or not",
    '{"document": id, "records": [Patient ids], "types": [[system, code]]} gives {"held": [ids of holds]}.',
)  # fmt: skip
LIVED = _door(
    "pix", "lived", "When people were born and when they died",
    '{"records": [...]} gives {"lived": {id: [birth date, date of death]}}, "" where it is not known.',
)  # fmt: skip

TRANSACTIONS: tuple[Transaction, ...] = (*(o.row for o in OPERATIONS), AGED, ENTOMB, HELD, LIVED)


def asked(operation: Operation, body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of a Parameters body by name. Raises `Refused` with every mistake."""
    known = {g.name: g for g in operation.takes}
    values: dict[str, list[Any]] = {name: [] for name in known}
    issues: list[Issue] = []
    for place, parameter in enumerate(body.get("parameter") or ()):
        where = f"Parameters.parameter[{place}]"
        row = known.get(str(parameter.get("name")))
        if row is None:
            words = f"${operation.row.operation} takes {', '.join(known)}; this is none of them."
            issues.append(Issue(INVALID, words, where))
            continue
        value = parameter.get(row.value)
        if value is None or (isinstance(value, str) and not value.strip()):
            issues.append(Issue(INVALID, f"Give {row.name} as {row.value}.", where))
        elif row.most is not None and len(values[row.name]) >= row.most:
            issues.append(Issue(INVALID, f"Give {row.name} at most {row.most} times.", where))
        else:
            values[row.name].append(value)
    missing = [g for g in operation.takes if len(values[g.name]) < g.least]
    said = {str(p.get("name")) for p in body.get("parameter") or ()}
    issues += [
        Issue(REQUIRED, f"Give {g.name}: {g.words}.", "Parameters.parameter")
        for g in missing
        if g.name not in said
    ]
    refuse_if(issues)
    return values


def parameters(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A Parameters resource. A string, number or boolean becomes the value of its kind, a dict with a
    resourceType a resource, a sequence of pairs the parts; None and "" are left out."""
    made = [_parameter(name, value) for name, value in pairs if value not in (None, "")]
    return {"resourceType": "Parameters"} | ({"parameter": made} if made else {})


def _parameter(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"name": name, "valueBoolean": value}
    if isinstance(value, int):
        return {"name": name, "valueInteger": value}
    if isinstance(value, Mapping):
        return {"name": name, "resource": dict(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"name": name, "part": [_parameter(n, v) for n, v in value if v not in (None, "")]}
    return {"name": name, "valueString": str(value)}
