"""The OpenAPI document, derived from the rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from standards.rows import Needs, Transaction

_ANSWER = {
    "description": "A FHIR resource, or an OperationOutcome that says what is wrong and where."
}


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
    if method == "GET" or row.interaction != "search-type":
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
        "responses": {"default": _ANSWER},
    }
    if isinstance(row.scope, Needs):
        said["security"] = [{"smart": []}]
    if row.body != "none" and method in ("POST", "PUT", "PATCH"):
        media = "application/json" if row.body == "json" else "application/fhir+json"
        said["requestBody"] = {"content": {media: {"schema": {"type": "object"}}}}
    elif row.interaction == "search-type" and method == "POST":
        said["requestBody"] = {
            "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
        }
    return said
