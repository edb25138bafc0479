"""`throughline retention`: review lists, disposals and certificates, through the exchange's public API."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from exchange import whereabouts
from exchange.exits import Exit, Trouble
from exchange.token import Asked, token_of

_COLUMNS = ("id", "class", "due", "action", "hold", "disposal", "quarantine", "why")


@dataclass(frozen=True, slots=True)
class Manager:
    """Who asks: a registered client with its key, and where the exchange is."""

    client: str
    key: Path
    fhir: str
    data: Path

    def ask(self, operation: str, scope: str, **said: object) -> dict[str, Any]:
        """The Parameters that an operation answers. Raises `Trouble` with the exchange's own words."""
        base = self.fhir or _near(self.data)
        token = token_of(Asked(self.client, scope), self.key, base, self.data)
        body = {"resourceType": "Parameters"} | ({"parameter": list(_given(said))} if said else {})
        try:
            answer = httpx.post(
                f"{base.rstrip('/')}/Binary/${operation}",
                json=body,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Accept": "application/fhir+json",
                    "Content-Type": "application/fhir+json",
                },
                timeout=300,
                trust_env=False,
            )
            made: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as fault:
            raise Trouble(
                Exit.NOT_RUNNING, f"No exchange answers at {base} ({type(fault).__name__})."
            ) from fault
        if answer.status_code >= 300:
            words = [str(i.get("diagnostics", "")) for i in made.get("issue", ())]
            raise Trouble(Exit.REFUSED, "\n".join(words) or f"HTTP {answer.status_code}")
        return made


def review(manager: Manager, console: Console, *, until: str, every: bool) -> None:
    """Print every document whose time is over by `until` (today when empty), page after page."""
    table, after = Table(*_COLUMNS), ""
    while True:
        said: dict[str, object] = {"count": 1000}
        said |= ({"until": until} if until else {}) | ({"all": True} if every else {})
        said |= {"after": after} if after else {}
        page = manager.ask("retention-review", "records-review", **said)
        for document in _values(page, "document"):
            told = [" ".join(map(str, _values({"parameter": document}, c))) for c in _COLUMNS]
            table.add_row(*told)
        after = next(iter(_values(page, "next")), "")
        if not after:
            break
    console.print(table)
    console.print(f"{table.row_count} documents.")


def approve(
    manager: Manager, documents: Sequence[str], *, reason: str, act: str, ground: str
) -> str:
    """Approve a disposal as the first of two; its id."""
    said: dict[str, object] = {"document": list(documents), "reason": reason}
    said |= ({"act": act} if act else {}) | ({"ground": ground} if ground else {})
    made = manager.ask("retention-approve", "records-approve", **said)
    return str(_values(made, "disposal")[0])


def destroy(manager: Manager, disposal: str, *, reason: str) -> str:
    """Confirm a destruction as the second of two; the state it is in."""
    made = manager.ask("retention-destroy", "records-destroy", disposal=disposal, reason=reason)
    return str(_values(made, "state")[0])


def certificate(manager: Manager, disposal: str, out: Path | None) -> str:
    """The certificate as JSON, or, into a file that ends in .html, as a page to print."""
    made = manager.ask("retention-certificate", "records-review", disposal=disposal)
    name = "printable" if out is not None and out.suffix == ".html" else "certificate"
    found = _values(made, name)
    if not found:
        raise Trouble(
            Exit.REFUSED,
            f"This disposal is {_values(made, 'state')[0]}; there is no certificate yet.",
        )
    text = base64.b64decode(found[0]["data"]).decode()
    if out is None:
        return text
    out.write_text(text)
    return f"Written to {out}."


_KINDS = {
    "until": "valueDate", "all": "valueBoolean", "count": "valueInteger", "act": "valueCode",
    "ground": "valueCode",
}  # fmt: skip


def _given(said: dict[str, object]) -> Iterator[dict[str, object]]:
    for name, value in said.items():
        for one in value if isinstance(value, list) else [value]:
            yield {"name": name, _KINDS.get(name, "valueString"): one}


def _values(parameters: dict[str, Any], name: str) -> list[Any]:
    return [
        next(v for k, v in p.items() if k != "name")
        for p in parameters.get("parameter", ())
        if p["name"] == name
    ]


def _near(data: Path) -> str:
    found = whereabouts.read(data)
    if found is None:
        raise Trouble(
            Exit.NOT_RUNNING, f"No exchange runs in {data}; start one, or name it with --fhir."
        )
    return found.fhir
