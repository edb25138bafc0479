"""The conformance kit itself: its target file, its wire, its walk through pages, its verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route
from typer.testing import CliRunner

from conformance import report
from conformance.check import Check, Group, Run, Skipped, Verdict, expect
from conformance.cli import app
from conformance.runner import run_suite
from conformance.smart.suite import SUITES
from conformance.target import Target, TargetError, Walk, of, read
from conformance.visitor import Lost, Walker
from conformance.wire import SECRETS, Wire, struck_form, struck_url

RETURN = "http://app.test/return"


# -- the target ------------------------------------------------------------------------------------
def test_everything_wrong_with_a_target_is_said_at_once() -> None:
    told = {"fhir": "ftp://x", "apps": {"public": {}, "odd": {}}, "backend": {"client_id": "b"}}
    with pytest.raises(TargetError) as fault:
        of(told, Path())
    words = str(fault.value)
    for part in (
        "fhir must be",
        "apps.public.client_id",
        "apps.odd",
        "backend.key",
        "backend.scope",
    ):
        assert part in words


def test_a_target_is_read_with_its_keys_beside_it(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-384", {"kid": "k1"}).as_dict(private=True)
    (tmp_path / "b.jwk").write_text(json.dumps(key))
    (tmp_path / "t.toml").write_text(
        'fhir = "http://localhost:8080/fhir/"\n'
        '[backend]\nclient_id = "b"\nkey = "b.jwk"\nscope = "system/*.rs"\n'
        '[sign_in]\nfields = { username = "u" }\n'
    )
    target = read(tmp_path / "t.toml")
    assert target.fhir == "http://localhost:8080/fhir"
    assert target.backend is not None
    assert target.backend.key["kid"] == "k1"
    assert target.introspector == target.backend
    assert target.walk.fields == {"username": "u"}


# -- the wire --------------------------------------------------------------------------------------
@given(st.sampled_from(sorted(SECRETS)), st.text(min_size=1))
def test_no_secret_of_a_form_or_a_url_reaches_the_report(name: str, value: str) -> None:
    body = str(httpx.QueryParams({"state": "seen", name: value}))
    assert struck_form(body) == f"state=seen&{name}=…"
    assert struck_url(f"http://x/?{body}").endswith(f"?state=seen&{name}=…")


async def test_no_token_of_an_answer_reaches_the_report() -> None:
    secret = "very-secret-token"

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"access_token": secret, "scope": "x"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        wire = Wire(http)
        await wire.form("http://x/token", {"code": secret})
    assert secret not in json.dumps(wire.heard)
    assert "scope" in json.dumps(wire.heard)


# -- the walk --------------------------------------------------------------------------------------
async def _sign_in(request: Request) -> HTMLResponse | RedirectResponse:
    if request.method == "GET":
        return HTMLResponse(
            "<title>Sign in</title><form method=post><input name=csrf type=hidden value=c1>"
            "<input name=username><input name=password type=password>"
            "<button>Sign in</button></form><form method=post><button>Cancel</button></form>"
        )
    form = parse_qsl((await request.body()).decode())
    if dict(form) != {"csrf": "c1", "username": "u", "password": "p"}:
        return HTMLResponse("<title>No</title>")
    return RedirectResponse("/allow", 303)


async def _allow(request: Request) -> HTMLResponse | RedirectResponse:
    if request.method == "GET":
        return HTMLResponse(
            "<form method=post><input type=checkbox name=scope value=a checked>"
            "<input type=checkbox name=scope value=b checked><input type=checkbox name=scope value=c>"
            "<input type=radio name=role value=r1><input type=radio name=role value=r2>"
            "<select name=why><option>care<option value=audit selected>Audit</select>"
            "<button name=answer value=no>Refuse</button><button name=answer value=yes>Allow</button></form>"
        )
    form = parse_qsl((await request.body()).decode())
    said = ",".join(f"{k}:{v}" for k, v in form)
    return RedirectResponse(f"{RETURN}?code=x&said={said}", 303)


PAGES = Starlette(
    routes=[
        Route("/authorize", lambda _: RedirectResponse("/sign-in", 303)),
        Route("/sign-in", _sign_in, methods=["GET", "POST"]),
        Route("/allow", _allow, methods=["GET", "POST"]),
        Route("/nowhere", lambda _: HTMLResponse("<title>Dead end</title>")),
    ]
)


def walker(**changes: Any) -> Walker:
    walk = Walk({"username": "u", "password": "p", "role": "r2"}, ("Sign in", "Allow"))
    return Walker(walk, transport=httpx.ASGITransport(PAGES), **changes)


async def test_pages_are_walked_back_to_the_app() -> None:
    back = await walker().visit("http://server.test/authorize", RETURN)
    assert back["code"] == "x"
    assert sorted(back["said"].split(",")) == [
        "answer:yes",
        "role:r2",
        "scope:a",
        "scope:b",
        "why:audit",
    ]


async def test_a_scope_can_be_left_out_on_the_way() -> None:
    back = await walker(leave_out=frozenset({"b"})).visit("http://server.test/authorize", RETURN)
    assert "scope:b" not in back["said"]


async def test_a_walk_that_leads_nowhere_says_where_it_ended() -> None:
    with pytest.raises(Lost, match=r"/nowhere.*200.*Dead end"):
        await walker().visit("http://server.test/nowhere", RETURN)


# -- verdicts --------------------------------------------------------------------------------------
async def _passes(_: Run) -> None:
    return


async def _warns(run: Run) -> None:
    run.warn(False, "should")


async def _fails(_: Run) -> None:
    expect(False, "must")


async def _skips(_: Run) -> None:
    raise Skipped("no app")


async def _breaks(_: Run) -> None:
    raise KeyError("kit")


async def _silent(_: Run) -> None:
    raise httpx.ConnectError("refused")


async def test_each_check_gets_its_verdict_and_the_run_goes_on() -> None:
    checks = [
        Check("passes", "", "", _passes),
        Check("warns", "", "", _warns),
        Check("fails", "", "", _fails),
        Check("may-fail", "", "", _fails, optional=True),
        Check("skips", "", "", _skips),
        Check("silent", "", "", _silent),
        Check("breaks", "", "", _breaks),
    ]
    async with httpx.AsyncClient() as http:
        run = Run(Target("http://x"), Wire(http), None)
        results = await run_suite(run, [Group("g", "G", tuple(checks))])
    verdicts = [r.verdict for r in results]
    assert verdicts == [
        Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.WARN, Verdict.SKIP, Verdict.FAIL, Verdict.FAULT,
    ]  # fmt: skip
    assert not report.passed(results)
    assert report.as_junit(results, "x").count(b"<testcase") == 7
    assert len(json.loads(report.as_json(results))) == 7


def test_every_check_has_a_name_of_its_own_within_its_group() -> None:
    for groups in SUITES.values():
        ids = [g.id for g in groups]
        assert len(ids) == len(set(ids))
        for group in groups:
            names = [c.id for c in group.checks]
            assert len(names) == len(set(names)), group.id


# -- the command line ------------------------------------------------------------------------------
def test_the_checks_can_be_listed() -> None:
    told = CliRunner().invoke(app, ["list"])
    assert told.exit_code == 0
    assert "a spent token ends its family" in told.output


def test_a_file_that_is_not_right_is_told_so(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["run", str(tmp_path / "none.toml")])
    assert (told.exit_code, "cannot be read" in told.output) == (2, True)
    told = CliRunner().invoke(app, ["run", str(tmp_path / "none.toml"), "--suite", "odd"])
    assert (told.exit_code, "no suite odd" in told.output) == (2, True)
