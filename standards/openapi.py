"""The OpenAPI document, derived from the rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from standards.rows import Needs, Transaction

_FORM = "application/x-www-form-urlencoded"
_ANSWER = {
    "description": "A FHIR resource, or an OperationOutcome that says what is wrong and where."
}


_OTHER = {"description": "JSON or a page, as the specification says that is named here."}


def document(rows: Iterable[Transaction]) -> dict[str, Any]:
    """OpenAPI 3.1 for every row, as a JSON-able dict."""
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        prefix = "/fhir" if row.surface == "fhir" else ""
        for method, path in row.routes:
            where = re.sub(r"\{(\w+):\w+\}", r"{\1}", prefix + path.rstrip("/")) or "/"
            paths.setdefault(where, {})[method.lower()] = _operation(row, method, where)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Throughline", "version": "0.1.0", "license": {"name": "Apache-2.0"}},
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "smart": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "SMART Backend Services",
                }
            }
        },
    }


def _operation(row: Transaction, method: str, where: str) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", where)
    ]
    in_body = method == "POST" and row.interaction in ("search-type", "operation")
    if not in_body:
        parameters += [
            {
                "name": p.name,
                "in": "query",
                "schema": {"type": "string"},
                "description": p.words or p.expression,
            }
            for p in row.search
        ]
        parameters += [
            {"name": n, "in": "query", "schema": {"type": "string"}} for n in row.parameters
        ]
    said: dict[str, Any] = {
        "operationId": f"{row.code}-{row.interaction}-{method}{where}".replace("/", "-"),
        "summary": f"{row.code} {row.name}",
        "description": row.words or row.see,
        "tags": [row.service],
        "parameters": parameters,
        "responses": {"default": _ANSWER if row.surface == "fhir" else _OTHER},
    }
    if isinstance(row.scope, Needs):
        said["security"] = [{"smart": []}]
    if row.body != "none" and method in ("POST", "PUT", "PATCH"):
        said["requestBody"] = _body(*_media(row))
    elif row.interaction == "search-type" and method == "POST":
        said["requestBody"] = _body(_FORM)
    return said


def _media(row: Transaction) -> tuple[str, ...]:
    if row.body == "json":
        return ("application/json",)
    if row.body == "raw":  # OAuth's requests are forms; a deposit between services is its bytes
        return (_FORM,) if row.service == "auth" else ("application/octet-stream",)
    return ("application/fhir+json", "application/fhir+xml")


def _body(*media: str) -> dict[str, Any]:
    return {"content": {m: {"schema": {"type": "object"}} for m in media}}
