"""A check as a row, what it may come to, and what one run of checks knows. Checks are black-box: HTTP only.

A check raises `Failed` with words for the tester, `Skipped` when there is nothing to look at, and calls
`run.warn` for what a server should but need not do. What one check finds out (the discovery document, a
token) it leaves in `run.known` for the next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from conformance.target import App, Target
from conformance.visitor import Visitor
from conformance.wire import Wire


class Verdict(StrEnum):
    """What a check came to. `FAULT` is a mistake of the kit's own, which is never a server's failure."""

    PASS = "pass"  # noqa: S105  not a password
    WARN = "warn"
    SKIP = "skip"
    FAIL = "fail"
    FAULT = "fault"


class Failed(Exception):  # noqa: N818  said about the server
    """The server did not do what the check asks; the words say what was seen and what was expected."""


class Skipped(Exception):  # noqa: N818
    """There is nothing to check: an earlier step gave nothing, or the tester stated no such client."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What one launch gave: the app it was for, its scopes, the token answer and its HTTP headers."""

    app: App
    asked: str
    answer: Mapping[str, Any]
    headers: Mapping[str, str]
    verifier: str = ""

    @property
    def token(self) -> str:
        """The access token."""
        return str(self.answer.get("access_token", ""))

    @property
    def granted(self) -> frozenset[str]:
        """The scope tokens that were granted."""
        return frozenset(str(self.answer.get("scope", "")).split())


@dataclass(slots=True)
class Known:
    """What the run has found out so far."""

    smart: Mapping[str, Any] | None = None
    openid: Mapping[str, Any] | None = None
    keys: Sequence[Mapping[str, Any]] = ()
    capability: Mapping[str, Any] | None = None
    launches: dict[str, Launched] = field(default_factory=dict)  # by the name of its group
    backend: Mapping[str, Any] | None = None

    def launch(self, group: str) -> Launched:
        """The launch of this group, or `Skipped` when it gave no token."""
        found = self.launches.get(group)
        if found is None:
            raise Skipped("the launch gave no token")
        return found

    def endpoint(self, name: str) -> str:
        """An endpoint that discovery names, or `Skipped`."""
        if self.smart is None or not isinstance(self.smart.get(name), str):
            raise Skipped(f"discovery names no {name}")
        return str(self.smart[name])


@dataclass(slots=True)
class Run:
    """One run: who is tested, by which wire, and what is known."""

    target: Target
    wire: Wire
    visitor: Visitor | None
    launcher: Callable[[App], Awaitable[str]] | None = None
    known: Known = field(default_factory=Known)
    warnings: list[str] = field(default_factory=list)

    def warn(self, condition: object, words: str) -> None:
        """Note words for the tester unless the condition holds."""
        if not condition:
            self.warnings.append(words)


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its id within its group, what it looks at, where that is asked for.

    `optional` checks that fail are warnings: the specification leaves the matter open, or the test
    kit that the check is modelled on counts it so.
    """

    id: str
    words: str
    see: str
    run: Callable[[Run], Awaitable[None]]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Checks that belong together and are run in their order."""

    id: str
    title: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one check came to, with its words and the wire's exchanges while it ran."""

    group: str
    check: str
    title: str
    see: str
    verdict: Verdict
    words: tuple[str, ...] = ()
    exchanges: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0


def expect(condition: object, words: str) -> None:
    """Raise `Failed` with these words unless the condition holds."""
    if not condition:
        raise Failed(words)
