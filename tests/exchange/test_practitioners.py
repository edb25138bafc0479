"""`throughline practitioners`: who may sign in, as an operator keeps them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affinity.pack import load
from auth.people.person import faults, username_key
from chassis.mongo import Mongo
from exchange import cli, demo
from exchange.exits import Exit
from tests.auth.authority import serving
from tests.auth.people.browsers import GOOD, Browser, Somebody, leads_to

Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], mongod_uri: str, database_prefix: str, tmp_path: Path
) -> Run:
    """Run `practitioners …` against this module's databases."""
    near = ("--mongodb", mongod_uri, "--database-prefix", database_prefix, "--data", tmp_path)

    def command(name: str, *arguments: object) -> Said:
        capsys.readouterr()
        hashing = ("--password-memory", 19) if name in ("add", "password") else ()
        code = 0
        try:
            cli.main([str(a) for a in ("practitioners", name, *arguments, *near, *hashing)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def somebody() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


def added(run: Run, name: str, *more: object) -> Said:
    return run("add", name, "--given", "Ann", "--family", "Example", "--role", "R-HV",
               "--organisation", "R0A", *more)  # fmt: skip


async def shown(mongo: Mongo, name: str) -> dict[str, Any]:
    row = await mongo.table("auth", "people").one({"key": username_key(name)})
    assert row is not None
    return row


def test_somebody_is_added_listed_and_deactivated(run: Run, tmp_path: Path) -> None:
    name = somebody()
    code, out, errors = added(
        run, name, "--professional-id", "NMC 1", "--prefix", "Dr", "--to", "2999-12-31"
    )
    assert (code, len(out.strip())) == (Exit.OK, 19), errors
    assert "72 hours" in errors
    assert not (tmp_path / "keys").exists()  # a command makes no master key
    listed = json.loads(run("list", "--json")[1])
    mine = next(p for p in listed if p["username"] == name)
    assert (mine["name"], mine["password"], mine["factors"], mine["active"]) == (
        "Dr Ann Example",
        "one-time",
        [],
        True,
    )
    assert mine["appointments"][0]["to"] == "2999-12-31"
    assert out.strip() not in run("list", "--json")[1]
    assert name in run("list")[1]
    assert run("deactivate", name)[0] == Exit.OK
    assert run("deactivate", name)[0] == Exit.REFUSED
    assert run("password", name)[0] == Exit.REFUSED
    assert added(run, name.upper())[0] == Exit.REFUSED  # names of people who left stay taken


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"--role": "R-XX"}, Exit.USAGE, "no role 'R-XX'"),
        ({"--role": "R-SYS"}, Exit.USAGE, "Nobody can sign in as R-SYS"),
        ({"--organisation": "Q99"}, Exit.USAGE, "no organisation 'Q99'"),
        ({"--from": "tomorrow"}, Exit.USAGE, "--from is a date like"),
        ({"--from": "2027-02-01", "--to": "2027-01-01"}, Exit.USAGE, "cannot end before it begins"),
        ({"--given": " "}, Exit.USAGE, "given name is missing"),
        ({"--family": "x" * 101}, Exit.USAGE, "at most 100"),
        ({"--hours": "0"}, Exit.USAGE, "equal to 1"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    run: Run, changes: dict[str, str], code: Exit, words: str
) -> None:
    given = {
        "--given": "Ann",
        "--family": "Example",
        "--role": "R-HV",
        "--organisation": "R0A",
    } | changes
    said = run("add", somebody(), *(part for pair in given.items() for part in pair))
    assert said[0] == code
    assert words in said[2]


@pytest.mark.parametrize("name", ["a", "has blank", "-x", "x" * 65, "semi;colon", "új"])
def test_a_username_is_simple(run: Run, name: str) -> None:
    code, _, errors = added(run, name) if not name.startswith("-") else run("add", "--", name)
    assert code == Exit.USAGE
    assert "username" in errors.lower() or "missing option" in errors.lower()


def test_nobody_of_that_name_is_said_so(run: Run) -> None:
    for command in (("password", "no-such"), ("deactivate", "no-such"),
                    ("role", "no-such", "--role", "R-HV", "--organisation", "R0A")):  # fmt: skip
        code, _, errors = run(*command)
        assert code == Exit.REFUSED
        assert "nobody called no-such" in errors


async def test_what_an_operator_does_is_told_to_the_audit_trail(run: Run, mongo: Mongo) -> None:
    import asyncio

    name = somebody()
    await asyncio.to_thread(added, run, name)
    await asyncio.to_thread(run, "password", name, "--forget-factors")
    await asyncio.to_thread(run, "deactivate", name)
    person = str((await shown(mongo, name))["_id"])
    rows = await mongo.table("auth", "audit_outbox").many({})
    told = [json.loads(r["b"]) for r in rows]
    words = sorted(e["outcomeDesc"] for e in told if person in str(e))
    assert words == [
        "Made inactive by an operator.",
        "New one-time password made by an operator. Second factors forgotten.",
        "Registered in a role: R-HV at R0A.",
    ]


def test_roles_are_given_and_ended(run: Run) -> None:
    name = somebody()
    added(run, name)
    assert run("role", name, "--role", "R-CSW", "--organisation", "350-CSC")[0] == Exit.OK
    assert (
        run(
            "role",
            name,
            "--role",
            "R-HV",
            "--organisation",
            "R0A",
            "--from",
            "2020-01-01",
            "--to",
            "2021-01-01",
        )[0]
        == Exit.OK
    )
    mine = next(p for p in json.loads(run("list", "--json")[1]) if p["username"] == name)
    assert {(a["role"], a["to"]) for a in mine["appointments"]} == {
        ("R-CSW", None),
        ("R-HV", "2021-01-01"),
    }


async def test_the_printed_password_signs_in_once_and_is_changed(
    run: Run, mongo: Mongo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import asyncio

    name = somebody()
    code, printed, _ = await asyncio.to_thread(added, run, name, "--hours", 1)
    assert code == Exit.OK
    async with serving(mongo, tmp_path_factory.mktemp("auth"), password_memory=19) as server:
        person = await server.authority.reception.people.by_username(name)
        assert person is not None
        who = Somebody(person, printed.split()[-1])
        browser = Browser(server)
        await browser.password(who)
        assert leads_to(browser.answer) == "/auth/sign-in/password"
        await browser.follow()
        await browser.send(new__password=GOOD, repeat=GOOD)
        await browser.follow()
        await browser.send("/auth/sign-in/role", purpose="P-CARE")
        assert leads_to(browser.answer) == "/auth/account"
        # A forgotten password: everything ends, also factors when that is asked for.
        from tests.auth.people.browsers import with_app

        await with_app(server.authority.reception.people, person)
        code, again, _ = await asyncio.to_thread(run, "password", name, "--forget-factors")
        assert code == Exit.OK
        assert leads_to(await browser.open("/auth/account")) == "/auth/sign-in"
        visitor = Browser(server)
        assert (await visitor.password(who, password=GOOD)).status_code == 400
        await visitor.password(who, password=again.split()[-1])  # the server may log meanwhile
        assert leads_to(visitor.answer) == "/auth/sign-in/password"


def test_the_people_of_the_demo_city_fit_its_pack() -> None:
    pack = load("greater_manchester")
    there = demo.staff()
    assert len(there) >= 10
    assert [(p.username, faults(p, pack)) for p in there if faults(p, pack)] == []
    assert len({p.username for p in there}) == len(there)
    assert all(p.on(demo.today(time.time())) for p in there)
    wanted = {"R-HV", "R-GP", "R-MW", "R-CSW", "R-HOO", "R-PPU", "R-VSW", "R-IGO"}
    assert wanted <= {a.role for p in there for a in p.appointments}
