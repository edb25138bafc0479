"""OperationDefinitions and SearchParameters, derived from the rows. PURE.

A CapabilityStatement names its operations and extra parameters by canonical URL; whoever follows one
here (`[base]/OperationDefinition/IHE.PIXm.pix`) reads what this server takes, in the words of its rows.
What HL7 defines itself is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from standards import stewardship
from standards.rows import Operand, Public, SearchParameter, Transaction, Unaudited

HL7 = "http://hl7.org/"
PROFILES = "https://profiles.ihe.net/"
TYPES = ("OperationDefinition", "SearchParameter")
Json = dict[str, Any]
_COMPARATORS = ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")


def _reading(kind: str) -> Transaction:
    return Transaction(
        code="definitions",
        name=f"Read {'an' if kind[0] == 'O' else 'a'} {kind}",
        service="chassis",
        interaction="read",
        resource=kind,
        routes=(("GET", f"/{kind}/{{id}}"),),
        scope=Public("what /metadata names may be read by whoever may read /metadata"),
        audit=Unaudited("says nothing about any person"),
        see="FHIR R4 capabilitystatement.html#rest",
        words=f"The {kind} of that id, whose canonical URL ends alike.",
    )


READ_OPERATION, READ_PARAMETER = map(_reading, TYPES)
TRANSACTIONS: tuple[Transaction, ...] = (READ_OPERATION, READ_PARAMETER)


def definitions(rows: Iterable[Transaction], date: str) -> Mapping[tuple[str, str], Json]:
    """Every definition by (type, id), as it was on a date."""
    every = [r for r in rows if r.surface == "fhir"]
    made: dict[tuple[str, str], Json] = {}
    served = {r.definition for r in every}
    for id_, own in stewardship.DEFINITIONS.items():  # the exchange's own operations say more
        if own["url"] in served:
            made[TYPES[0], id_] = dict(own)
    for row in every:
        if row.operation and not row.definition.startswith(HL7):
            operation = _operation(row, date)
            made.setdefault((TYPES[0], operation["id"]), operation)
    for parameter in (p for r in every for p in r.search):
        if not parameter.definition.startswith(PROFILES):
            continue
        found = _parameter(parameter, date)
        held = made.get((TYPES[1], found["id"]))
        if held is not None:  # one parameter of several types
            held["base"] += [b for b in found["base"] if b not in held["base"]]
            expressions = (held["expression"], found["expression"])
            held["expression"] = " | ".join(dict.fromkeys(expressions))
        else:
            made[TYPES[1], found["id"]] = found
    return made


def _named(kind: str, url: str, name: str, words: str, date: str) -> Json:
    return {
        "resourceType": kind,
        "id": url.rpartition("/")[2],
        "url": url,
        "name": "".join(c for c in name.title() if c.isalnum()),
        "status": "active",
        "date": date,
        "publisher": "Throughline, after IHE" if url.startswith(PROFILES) else "Throughline",
        "description": words or name,
    }


def _operation(row: Transaction, date: str) -> Json:
    first = row.routes[0][1]
    made = _named(TYPES[0], row.definition, row.name, row.words, date)
    made |= {
        "title": row.name,
        "kind": "operation",
        "affectsState": not _asks(row),
        "code": row.operation,
        "system": first.startswith("/$"),
        "type": not first.startswith("/$"),
        "instance": False,
    }
    if not first.startswith("/$"):
        made["resource"] = [row.resource]
    if row.operands:
        made["parameter"] = [_operand(o) for o in row.operands]
    return made


def _asks(row: Transaction) -> bool:
    """Whether an operation only reads: by what its scope allows, or by what its audit says it does."""
    letter = "" if isinstance(row.scope, Public) else row.scope.letter
    acts = "" if isinstance(row.audit, Unaudited) else row.audit.action
    return letter in ("r", "s") or (not letter and acts == "R")


def _operand(operand: Operand) -> Json:
    made = {
        "name": operand.name,
        "use": operand.use,
        "min": operand.least,
        "max": operand.most,
        "documentation": operand.words,
        "type": operand.type,
    }
    if operand.search:
        made["searchType"] = operand.search
    return made


def _parameter(parameter: SearchParameter, date: str) -> Json:
    made = _named(TYPES[1], parameter.definition, parameter.name, parameter.words, date)
    made |= {
        "name": parameter.name,
        "code": parameter.name,
        "base": [parameter.resource],
        "type": parameter.type,
        "expression": parameter.expression,
        "multipleOr": True,
        "multipleAnd": True,
    }
    if parameter.targets:
        made["target"] = list(parameter.targets)
    if parameter.type == "date":
        made["comparator"] = list(_COMPARATORS)
    if parameter.modifiers:
        made["modifier"] = list(parameter.modifiers)
    return made
