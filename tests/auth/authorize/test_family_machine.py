"""Codes, refreshes, replays and endings in any order: what must hold of every family of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.auth.authority import Server
from tests.auth.authorize.browser import App, Browser, a_browser, an_app
from tests.auth.authorize.test_code import introspected

T = TypeVar("T")
SCOPE = "openid user/*.rs offline_access"
ASKED = [None, "openid", "user/Patient.r", "user/*.rs offline_access", "user/*.cruds", "ITI-67"]


@dataclass
class Family:
    """A model of one approval: which code and refresh token are live, and what was ever given."""

    code: str
    redeemed: bool = False
    live: str = ""
    spent: list[str] = field(default_factory=list)
    access: list[str] = field(default_factory=list)
    dead: bool = False


def machine(
    server: Server, browser: Browser, app: App, run: Callable[[Coroutine[Any, Any, T]], T]
) -> type[RuleBasedStateMachine]:
    """The state machine over one running server."""

    class Machine(RuleBasedStateMachine):
        families: Bundle[Family] = Bundle("families")

        def __init__(self) -> None:
            super().__init__()
            self.known: list[Family] = []

        @rule(target=families)
        def approve(self) -> Family:
            made = Family(run(browser.code(app, SCOPE)))  # type: ignore[arg-type]
            self.known.append(made)
            return made

        @rule(family=families)
        def redeem(self, family: Family) -> None:
            answer: Any = run(browser.redeem(app, family.code))  # type: ignore[arg-type]
            if family.redeemed or family.dead:
                assert answer.json()["error"] == "invalid_grant"
                family.dead = True  # a replay ends what the first use gave
                return
            assert answer.status_code == 200, answer.text
            family.redeemed = True
            self._given(family, answer.json())

        @rule(family=families)
        def redeem_with_a_wrong_verifier(self, family: Family) -> None:
            answer: Any = run(browser.redeem(app, family.code, code_verifier="w" * 50))  # type: ignore[arg-type]
            assert answer.json()["error"] == "invalid_grant"
            family.dead = True

        @rule(family=families, scope=st.sampled_from(ASKED))
        def refresh(self, family: Family, scope: str | None) -> None:
            if not family.live:
                return
            answer: Any = run(browser.refresh(app, family.live, scope=scope))  # type: ignore[arg-type]
            if family.dead:
                assert answer.json()["error"] == "invalid_grant"
            elif scope in ("user/*.cruds", "ITI-67"):
                assert answer.json()["error"] == "invalid_scope"
            else:
                assert answer.status_code == 200, answer.text
                assert answer.json()["scope"] == (scope or SCOPE)
                family.spent.append(family.live)
                self._given(family, answer.json())

        @rule(family=families, which=st.integers(0, 9))
        def use_a_spent_one(self, family: Family, which: int) -> None:
            if family.spent:
                token = family.spent[which % len(family.spent)]
                answer: Any = run(browser.refresh(app, token))  # type: ignore[arg-type]
                assert answer.json()["error"] == "invalid_grant"
                family.dead = True

        @rule(family=consumes(families))
        def give_back(self, family: Family) -> None:
            if family.live:
                fields, _ = app.proof()
                data = {"token": family.live, **fields}
                answer: Any = run(server.http.post("/auth/revoke", data=data))  # type: ignore[arg-type]
                assert answer.status_code == 200
                family.dead = True

        @invariant()
        def a_dead_family_gives_nothing_and_a_live_one_has_one_successor(self) -> None:
            async def look() -> None:
                await server.authority.revocations.here.refresh()
                table = server.mongo.table("auth", "refresh_tokens")
                for family in self.known:
                    states = [(await introspected(server, t))["active"] for t in family.access]
                    assert all(state is not family.dead for state in states)
                for row in await server.mongo.table("auth", "grants").many({"ended": ""}):
                    live = await table.count({"grant": row["_id"], "used": 0.0})
                    assert live <= 1

            run(look())  # type: ignore[arg-type]

        def _given(self, family: Family, said: dict[str, Any]) -> None:
            family.live = said["refresh_token"]
            family.access.append(said["access_token"])

    return Machine


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(120)
async def test_a_family_has_one_successor_and_gives_nothing_once_it_is_dead(server: Server) -> None:
    browser = await a_browser(server.http, server.settings, server.mongo)
    app = await an_app(server.settings, server.mongo)
    loop = asyncio.get_running_loop()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    def explore() -> None:
        run_state_machine_as_test(
            machine(server, browser, app, run),
            settings=settings(
                max_examples=8, stateful_step_count=14, deadline=None,
                suppress_health_check=list(HealthCheck), database=None,
            ),
        )  # fmt: skip

    await asyncio.to_thread(explore)
