"""The command line as an operator uses it: every command, what it says, and its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from chassis.settings import rows
from exchange import cli, ports, whereabouts
from exchange.exits import Exit
from exchange.rows import ROWS
from tests.exchange.test_mongod import within

ROOT = Path(__file__).parents[2]
Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: (exit code, standard output, standard error)."""

    def command(*arguments: object) -> Said:
        capsys.readouterr()
        code = 0
        try:
            cli.main([str(a) for a in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


class Serving:
    """`throughline serve together` in a process of its own, as an operator starts it."""

    def __init__(self, data: Path, mongodb: str, prefix: str) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "exchange", "serve", "together", "--port", "0", "--data", str(data),
                "--mongodb", mongodb, "--database-prefix", prefix, "--workers", "2",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read() if self.process.stderr else ""
        self.ready: dict[str, Any] = json.loads(line)

    def end(self) -> Said:
        self.process.send_signal(signal.SIGTERM)
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, out, errors


@pytest.fixture(scope="module")
def serving(
    mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    made = Serving(tmp_path_factory.mktemp("serving"), mongod_uri, database_prefix)
    yield made
    if made.process.poll() is None:
        made.end()


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which no exchange runs."""
    return tmp_path_factory.mktemp("nowhere")


COMMANDS = (
    (), ("serve",), ("demo",), ("seed",), ("doctor",), ("token",), ("clients",), ("clients", "add"),
    ("clients", "list"), ("clients", "revoke"), ("clients", "keygen"),
    *(("keys", name) for name in ("new", "list", "rotate", "retire", "encrypt")),
    *(("retention", name) for name in ("review", "approve", "destroy", "certificate")),
    *(("practitioners", name) for name in ("add", "list", "role", "password", "deactivate")),
    ("audit", "verify"),
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_its_exit_codes(
    run: Run, command: tuple[str, ...]
) -> None:
    code, out, _ = run(*command, "--help")
    assert code == Exit.OK
    assert "Usage: throughline" in out
    assert "Exit codes: 0 done" in " ".join(out.split()) or command == ("clients",)


@pytest.mark.parametrize("command", [("serve",), ("people", "load"), ("clients", "add")])
def test_help_fits_a_terminal_of_80_columns_with_nothing_cut_short(
    command: tuple[str, ...],
) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "exchange", *command, "--help"],
        capture_output=True, text=True, cwd=ROOT, check=True, env=os.environ | {"COLUMNS": "80"},
    ).stdout  # fmt: skip
    assert not re.search(r"[\w-]…", told)
    assert max(len(line) for line in told.splitlines()) <= 80
    if command == ("people", "load"):  # a paragraph is broken by the terminal, not by its source
        assert "the same command goes on where it stood" in " ".join(told.split())
        assert not re.search(r"^ {1,3}\S.{0,30}$\n^ \S", told, re.MULTILINE)


def test_every_setting_is_a_flag_of_serve_and_its_variable_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "exchange", "serve", "--help"],
        capture_output=True, text=True, cwd=ROOT, check=True, env=os.environ | {"COLUMNS": "200"},
    ).stdout  # fmt: skip
    for row in rows():
        assert row.flag in told
        assert f"[{row.variable}]" in told
    for flag in (
        "--host", "--port", "--data", "--mongodb", "--public-url", "--workers", "--codes",
    ):  # fmt: skip
        assert flag in told
    for service in ("together", "pix", "registry", "repository", "auth", "audit"):
        assert service in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "No such command"),
        (("serve", "nowhere"), "together"),
        (("serve", "--colour", "red"), "No such option"),
        (("serve", "--port", "99999"), "from 0 to 65535"),
        (("serve", "--port", "http"), "integer"),
        (("serve", "--admin-port", "-1"), "from 0 to 65535"),
        (("serve", "--port", "8080", "--admin-port", "8080"), "must differ"),
        (("serve", "--workers", "0"), "at least 1"),
        (("serve", "--codes", "loose"), "lenient"),
        (("serve", "--public-url", "exchange.example"), "https://exchange.example"),
        (("serve", "--port", "0", "--mongodb", "mysql://x"), "mongodb://"),
        (("demo", "--people", "0"), "1"),
        (("seed", "--people", "3"), "--client"),
        (("token", "--client", "x", "--key", "absent.jwk", "--scope", "x"), "cannot be read"),
        (("clients", "add", "x"), "--scope"),
        (("clients", "keygen"), "OUT"),
    ],
)
def test_a_wrong_command_line_is_told_what_to_do(
    run: Run, nowhere: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = ("--data", nowhere) if arguments[0] in ("serve", "demo", "seed", "token") else ()
    code, out, errors = run(*arguments, *given)
    assert (code, out) == (Exit.USAGE, "")
    assert words.lower() in errors.lower()
    assert "Traceback" not in errors


def test_the_environment_is_checked_like_flags(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHLINE_WORKERS", "many")
    code, _, errors = run("doctor")
    assert code == Exit.USAGE
    assert "THROUGHLINE_WORKERS" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "pix"), "clients keygen"),
        (("serve", "auth", "--service-key", "absent.jwk"), "service-auth"),
        (("serve", "together", "--affinity", "atlantis"), "--affinity"),
        (("demo", "--affinity", "atlantis"), "--affinity"),
        (("serve", "--retrieval-credentials", "absent.json"), "--retrieval-credentials"),
        (("serve", "--matching-model", "1999-01"), "--matching-model: No model 1999-01"),
    ],
)
def test_what_every_worker_would_stumble_over_is_said_before_anything_starts(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, errors = run(*arguments, "--port", 0, "--data", tmp_path / "data")
    assert (code, out) == (Exit.USAGE, "")
    assert words in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "data").exists()


def test_serve_says_one_line_where_everything_is(serving: Serving) -> None:
    ready = serving.ready
    assert ready["ready"] is True
    assert set(ready) == {"ready", "fhir", "auth", "sign_in", "viewer", "admin"}
    assert ready["viewer"] is None
    statement = httpx.get(f"{ready['fhir']}/metadata").json()
    assert statement["resourceType"] == "CapabilityStatement"
    smart = httpx.get(f"{ready['fhir']}/.well-known/smart-configuration").json()
    assert smart["token_endpoint"] == f"{ready['auth']}/token"
    page = httpx.get(ready["sign_in"])
    assert page.status_code == 200
    assert "<form" in page.text


def test_the_admin_port_tells_operators_how_it_is(serving: Serving) -> None:
    admin = serving.ready["admin"]
    assert httpx.get(f"{admin}/livez").status_code == 200
    assert httpx.get(f"{admin}/readyz").json()["ready"] is True
    assert httpx.get(f"{serving.ready['fhir']}/Patient?family=x").status_code == 401

    def counted() -> bool:
        told = httpx.get(f"{admin}/metrics")
        assert told.headers["content-type"].startswith("text/plain")
        return bool(
            re.search(r'throughline_requests_total\{status="401",transaction="ITI-78"\} [1-9]', told.text)
        )  # fmt: skip

    assert within(20, counted)
    # Metrics and probes are not to be had at the public port.
    public = serving.ready["fhir"].removesuffix("/fhir")
    for path in ("/metrics", "/readyz", "/livez"):
        assert httpx.get(public + path).status_code == 404


def test_an_operator_can_vouch_for_the_audit_trail(
    run: Run, serving: Serving, mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    assert httpx.get(f"{serving.ready['fhir']}/Patient?family=x").status_code == 401  # is recorded
    where = ("--data", serving.data)
    code, out, errors = run("audit", "verify", *where)
    assert code == Exit.OK, errors
    assert re.search(r"sound: [1-9]\d* records in [1-9]\d* chains", out)
    # heads that a log kept elsewhere tells: a chain that is gone from the database
    log = tmp_path / "exchange.log"
    log.write_text(
        json.dumps({"code": "THL013", "chain": "gone", "seq": 3, "hash": "00" * 32}) + "\n"
    )
    code, out, _ = run("audit", "verify", *where, "--log", log)
    assert code == Exit.FAILED
    assert "gone" in out
    code, _, errors = run("audit", "verify", *where, "--log", tmp_path / "absent.log")
    assert code == Exit.USAGE
    assert "cannot be read" in errors
    client: MongoClient[dict[str, Any]] = MongoClient(mongod_uri)
    with client:
        events = client[f"{database_prefix}audit"]["events"]
        row = events.find_one(sort=[("_id", 1)])
        assert row is not None
        events.update_one({"_id": row["_id"]}, {"$set": {"b": bytes(row["b"]) + b" "}})
        try:
            code, out, _ = run("audit", "verify", *where)
        finally:
            events.update_one({"_id": row["_id"]}, {"$set": {"b": row["b"]}})
    assert code == Exit.FAILED
    assert "edited" in out


def test_a_database_that_has_gone_away_is_told_without_a_traceback(
    run: Run, tmp_path: Path
) -> None:
    dead = f"mongodb://127.0.0.1:{ports.pick()}/?serverSelectionTimeoutMS=300"
    forget = whereabouts.publish(
        tmp_path, whereabouts.Whereabouts(os.getpid(), dead, "", "http://x/fhir", "", "", "")
    )
    try:
        code, _, errors = run("clients", "list", "--data", tmp_path)
    finally:
        forget()
    assert code == Exit.NO_DATABASE
    assert "MongoDB does not answer" in errors
    assert "Traceback" not in errors


def registered(
    run: Run, serving: Serving, folder: Path, *more: str, scope: str
) -> tuple[str, Path]:
    """A client registered with the command line alone."""
    name, key = f"c-{uuid.uuid4().hex[:8]}", folder / f"{uuid.uuid4().hex}.jwk"
    code, _, errors = run("clients", "keygen", key)
    assert code == Exit.OK, errors
    assert key.stat().st_mode & 0o077 == 0
    code, _, errors = run(
        "clients", "add", name, "--jwks", key.with_suffix(".jwks.json"), "--scope", scope, *more,
        "--data", serving.data,
    )  # fmt: skip
    assert code == Exit.OK, errors
    return name, key


def test_a_client_is_registered_used_listed_and_revoked(
    run: Run, serving: Serving, tmp_path: Path
) -> None:
    fhir, data = serving.ready["fhir"], ("--data", serving.data)
    name, key = registered(
        run, serving, tmp_path, "--organisation", "R0A", "--role", "R-SYS", "--purpose", "P-CARE",
        scope="system/Patient.rs ITI-83",
    )  # fmt: skip
    asking = ("token", "--client", name, "--key", key)
    code, token, _ = run(*asking, "--scope", "system/Patient.s", *data)
    assert code == Exit.OK
    bearer = {"Authorization": f"Bearer {token.strip()}"}
    assert httpx.get(f"{fhir}/Patient?family=x", headers=bearer).status_code == 200
    assert httpx.get(f"{fhir}/AuditEvent?date=ge2026", headers=bearer).status_code == 403
    # The base may be named instead of the folder.
    said = run(
        *asking, "--scope", "ITI-83", "--purpose", "P-CARE", "--reason", "A visit", "--fhir", fhir
    )
    assert said[0] == Exit.OK

    listed = json.loads(run("clients", "list", "--json", *data)[1])
    mine = next(c for c in listed if c["client"] == name)
    assert (mine["organisation"], mine["role"], mine["revoked"]) == ("R0A", "R-SYS", None)
    assert name in run("clients", "list", *data)[1]

    assert run("clients", "revoke", name, *data)[0] == Exit.OK
    code, out, errors = run(*asking, "--scope", "system/Patient.s", *data)
    assert (code, out) == (Exit.REFUSED, "")
    assert "invalid_client" in errors

    def ended() -> bool:
        return httpx.get(f"{fhir}/Patient?family=x", headers=bearer).status_code == 401

    assert within(10, ended)  # that it takes a second is tests/auth
    assert run("clients", "revoke", name, *data)[0] == Exit.REFUSED


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--scope", "nonsense"), "--scope nonsense is not known here"),
        (("--scope", "ITI-76"), "Did you mean ITI-"),
        (("--scope", "system/Patient.sr"), "system/Patient.sr"),
        (("--scope", "system/*.rs", "--role", "R-XYZ"), "--role R-XYZ"),
        (("--scope", "system/*.rs", "--purpose", "P-CAER"), "Did you mean P-CARE"),
        (("--scope", "odd", "--role", "R-XYZ", "--purpose", "P-X"), "--purpose P-X"),
    ],
)
def test_a_registration_nobody_agreed_on_is_refused(
    run: Run, serving: Serving, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    key = tmp_path / "x.jwk"
    run("clients", "keygen", key)
    code, _, errors = run(
        "clients", "add", f"c-{uuid.uuid4().hex[:8]}", "--jwks", tmp_path / "x.jwks.json", *flags,
        "--data", serving.data,
    )  # fmt: skip
    assert code in (Exit.USAGE, Exit.REFUSED)
    assert words in errors
    if "odd" in flags:  # everything that is wrong, at once
        assert "--scope odd" in errors
        assert "--role R-XYZ" in errors


def test_an_app_is_registered_shown_changed_and_given_a_new_secret(
    run: Run, serving: Serving
) -> None:
    name, data = f"app-{uuid.uuid4().hex[:8]}", ("--data", serving.data)
    code, out, _ = run(
        "clients", "add", name, "--kind", "symmetric", "--title", "Ward list", "--scope",
        "launch openid fhirUser offline_access patient/*.rs", "--redirect-uri",
        "https://app.example/back", "--launch-uri", "https://app.example/launch", "--origin",
        "https://static.example", "--contact", "a@b.example", *data,
    )  # fmt: skip
    first = out.strip()
    assert code == Exit.OK
    assert len(first) >= 43
    shown = json.loads(run("clients", "show", name, "--json", *data)[1])
    assert shown["client_name"] == "Ward list"
    assert shown["grant_types"] == ["authorization_code", "refresh_token"]
    assert shown["redirect_uris"] == ["https://app.example/back"]
    code, out, _ = run(
        "clients", "change", name, "--scope", "openid", "--origin", "", "--title", "Wards", *data
    )
    assert (code, out) == (Exit.OK, "")
    shown = json.loads(run("clients", "show", name, "--json", *data)[1])
    assert (shown["scope"], shown["client_name"]) == ("openid", "Wards")
    assert "origins" not in shown
    code, out, _ = run("clients", "secret", name, *data)
    second = out.strip()
    assert code == Exit.OK
    assert second != first
    said = run("clients", "show", name, *data)[1] + run("clients", "list", "--json", *data)[1]
    assert first not in said
    assert second not in said
    assert "symmetric" in said


def test_what_an_operator_does_to_a_client_is_in_the_audit_trail(
    run: Run, serving: Serving, tmp_path: Path
) -> None:
    fhir, data = serving.ready["fhir"], ("--data", serving.data)
    name, key = registered(run, serving, tmp_path, scope="system/AuditEvent.rs")
    assert run("clients", "change", name, "--title", "Auditor", *data)[0] == Exit.OK
    _, token, _ = run(
        "token", "--client", name, "--key", key, "--scope", "system/AuditEvent.rs", *data
    )
    bearer = {"Authorization": f"Bearer {token.strip()}"}

    def told() -> bool:
        found = httpx.get(f"{fhir}/AuditEvent?date=ge2026-01-01&_count=200", headers=bearer).json()
        events = [entry["resource"] for entry in found.get("entry", ())]
        mine = [e for e in events if e["type"]["code"] == "110113" and name in json.dumps(e)]
        return {e["action"] for e in mine} >= {"C", "U"}

    assert within(20, told)


def test_an_account_elsewhere_is_linked_listed_and_unlinked(
    run: Run, serving: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "providers.json"
    row = {
        "id": "council",
        "issuer": "https://sso.council.invalid/",
        "client_id": "us",
        "method": "none",
    }
    file.write_text(json.dumps([row]))
    here = ("--data", serving.data, "--sign-in-providers", file)
    who = f"ann.{uuid.uuid4().hex[:8]}"
    code, _, errors = run(
        "practitioners", "add", who, "--given", "Ann", "--family", "Example", "--role", "R-HV",
        "--organisation", "R0A", "--data", serving.data,
    )  # fmt: skip
    assert code == Exit.OK, errors
    listed = json.loads(run("providers", "list", "--json", "--sign-in-providers", file)[1])
    assert listed == [
        {"id": "council", "label": "", "issuer": row["issuer"], "admit": "linked"}
    ]  # fmt: skip
    subject = uuid.uuid4().hex
    assert run("providers", "link", who, "council", subject, *here)[0] == Exit.OK
    code, _, errors = run("providers", "link", who, "council", subject, *here)
    assert (code, "linked to a person already" in errors) == (Exit.REFUSED, True)
    (found,) = json.loads(run("providers", "links", who, *here)[1])
    assert (found["subject"], found["issuer"]) == (subject, "https://sso.council.invalid")
    assert run("providers", "unlink", "council", subject, *here)[0] == Exit.OK
    assert run("providers", "unlink", "council", subject, *here)[0] == Exit.REFUSED
    assert json.loads(run("providers", "links", who, *here)[1]) == []
    assert run("providers", "link", "nobody", "council", "x", *here)[0] == Exit.REFUSED
    assert run("providers", "link", who, "other", "x", *here)[0] == Exit.USAGE
    code, out, _ = run("providers", "check", "--sign-in-providers", file)
    assert code == Exit.FAILED
    assert "council: The provider's discovery document cannot be reached." in out


def test_a_file_of_providers_that_cannot_be_used_is_told_whole(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "providers.json"
    file.write_text(json.dumps([{"id": "A", "issuer": "http://x.example", "client_id": "us"}]))
    code, _, errors = run("providers", "list", "--sign-in-providers", file)
    assert code == Exit.USAGE
    for words in ("small letters", "https", "key names a file", "--sign-in-providers"):
        assert words in errors


def test_a_client_that_cannot_be_is_refused_with_all_faults(run: Run, serving: Serving) -> None:
    data = ("--data", serving.data)
    code, out, errors = run(
        "clients", "add", "c d", "--kind", "public", "--scope", "system/*.rs", "--redirect-uri",
        "http://app.example", "--logo", "x", *data,
    )  # fmt: skip
    assert (code, out) == (Exit.REFUSED, "")
    for words in ("client id", "system/*.rs", "https", "logo_uri"):
        assert words in errors
    for command in ("show", "secret", "change"):
        code, _, errors = run("clients", command, "nobody", *data)
        assert code == Exit.REFUSED
        assert "nobody" in errors


def test_an_invitation_is_made_listed_and_ended(run: Run, serving: Serving) -> None:
    data = ("--data", serving.data)
    scope = "openid fhirUser patient/*.rs"
    code, out, _ = run("clients", "invite", "The hackathon", "--scope", scope, "--uses", "2", *data)
    token = out.strip()
    assert code == Exit.OK
    origin = serving.ready["fhir"].removesuffix("/fhir")
    said = {
        "client_name": "Ward list", "redirect_uris": ["https://app.example/back"],
        "token_endpoint_auth_method": "none", "scope": "openid",
    }  # fmt: skip
    bearer = {"Authorization": f"Bearer {token}"}
    made = httpx.post(f"{origin}/auth/register", json=said, headers=bearer)
    assert made.status_code == 201, made.text
    listed = json.loads(run("clients", "invitations", "--json", *data)[1])
    assert (listed[0]["label"], listed[0]["uses"]) == ("The hackathon", 1)
    assert token not in str(listed)
    assert listed[0]["id"] in run("clients", "invitations", *data)[1]
    assert run("clients", "uninvite", listed[0]["id"], *data)[0] == Exit.OK
    assert run("clients", "uninvite", listed[0]["id"], *data)[0] == Exit.REFUSED
    refused = httpx.post(f"{origin}/auth/register", json=said, headers=bearer)
    assert refused.status_code == 401
    code, _, errors = run(
        "clients", "invite", "", "--scope", "clients-admin", "--days", "900", *data
    )
    assert code == Exit.REFUSED
    for words in ("command line", "366 days", "for whom"):
        assert words in errors


def test_every_scope_that_a_row_takes_can_be_registered() -> None:
    from affinity.pack import load
    from auth.registration.agreed import Agreed
    from standards.rows import Needs

    known = Agreed.of(load("greater_manchester"), ROWS).literals
    for row in ROWS:
        if isinstance(row.scope, Needs):
            assert set(row.scope.literals) <= known


def test_a_private_key_is_never_overwritten_nor_registered(
    run: Run, serving: Serving, tmp_path: Path
) -> None:
    key = tmp_path / "mine.jwk"
    assert run("clients", "keygen", key, "--alg", "RS384")[0] == Exit.OK
    before = key.read_text()
    assert run("clients", "keygen", key)[0] == Exit.USAGE
    assert key.read_text() == before
    code, _, errors = run(
        "clients", "add", "leaky", "--jwks", key, "--scope", "system/*.rs", "--data", serving.data
    )
    assert code == Exit.REFUSED
    assert "private" in errors


def test_a_token_is_refused_in_the_servers_own_words(
    run: Run, serving: Serving, tmp_path: Path
) -> None:
    name, key = registered(run, serving, tmp_path, scope="system/Patient.rs")
    asking = ("token", "--client", name, "--key", key, "--data", serving.data)
    for scope, purpose, words in (
        ("system/Patient.c", "", "invalid_scope"),
        ("system/Patient.rs", "P-NOBODY", "not agreed here"),
    ):
        code, out, errors = run(*asking, "--scope", scope, "--purpose", purpose)
        assert (code, out) == (Exit.REFUSED, "")
        assert words in errors
    other = tmp_path / "other.jwk"
    run("clients", "keygen", other)
    code, _, errors = run(
        "token", "--client", name, "--key", other, "--scope", "system/Patient.rs", "--data", serving.data
    )  # fmt: skip
    assert code == Exit.REFUSED
    assert "invalid_client" in errors
    (tmp_path / "text.jwk").write_text("not a key")
    code, _, errors = run(
        "token", "--client", name, "--key", tmp_path / "text.jwk", "--scope", "x", "--data", serving.data
    )  # fmt: skip
    assert code == Exit.USAGE


@pytest.mark.parametrize("command", ["token", "seed"])
def test_where_nothing_runs_it_is_said_so(
    run: Run, nowhere: Path, tmp_path: Path, command: str
) -> None:
    key = tmp_path / "k.jwk"
    run("clients", "keygen", key)
    scope = ("--scope", "x") if command == "token" else ()
    code, out, errors = run(command, "--client", "x", "--key", key, *scope, "--data", nowhere)
    assert (code, out) == (Exit.NOT_RUNNING, "")
    assert "No exchange runs" in errors
    closed = f"http://127.0.0.1:{ports.pick()}/fhir"
    code, _, errors = run(command, "--client", "x", "--key", key, *scope, "--fhir", closed)
    assert code == Exit.NOT_RUNNING
    assert closed in errors


def test_without_a_database_it_is_said_so(run: Run) -> None:
    uri = f"mongodb://me:secret@127.0.0.1:{ports.pick()}/?replicaSet=x"
    code, _, errors = run("clients", "list", "--mongodb", uri)
    assert code == Exit.NO_DATABASE
    assert "does not answer" in errors
    assert "secret" not in errors


def test_a_database_that_does_not_let_the_exchange_in_is_said_so(run: Run, mongod_uri: str) -> None:
    uri = mongod_uri.replace("mongodb://", "mongodb://me:secret@")
    code, _, errors = run("clients", "list", "--mongodb", uri)
    assert code == Exit.NO_DATABASE
    assert "does not let the exchange in" in errors
    assert "user, the password" in errors
    assert "{" not in errors
    assert "secret" not in errors


def test_a_city_is_fed_to_a_running_exchange_and_again_without_harm(
    run: Run, serving: Serving, tmp_path: Path
) -> None:
    name, key = registered(
        run, serving, tmp_path, "--role", "R-SYS", scope="system/*.cruds"
    )  # fmt: skip
    feeding = ("seed", "--client", name, "--key", key, "--people", 4, "--parallel", 4)
    code, first, errors = run(*feeding, "--data", serving.data)
    assert code == Exit.OK, errors
    made = json.loads(first)
    assert made["people"] == 4
    assert made["records"] >= 4
    assert made["documents"] > 4
    token = run(
        "token", "--client", name, "--key", key, "--scope", "system/*.cruds", "--data", serving.data
    )[1].strip()  # fmt: skip
    bearer = {"Authorization": f"Bearer {token}"}
    asked = f"{serving.ready['fhir']}/Patient?birthdate=ge1900-01-01&_summary=count&identifier=https://fhir.nhs.uk/Id/nhs-number%7C"
    before = httpx.get(asked, headers=bearer).json()
    assert json.loads(run(*feeding, "--data", serving.data)[1]) == made
    assert httpx.get(asked, headers=bearer).json()["total"] == before["total"]


def test_the_whole_exchange_ends_cleanly_on_sigterm(mongod_uri: str, tmp_path: Path) -> None:
    serving = Serving(tmp_path, mongod_uri, f"t{uuid.uuid4().hex[:10]}_")
    began = time.monotonic()
    code, out, errors = serving.end()
    assert (code, out) == (Exit.OK, "")
    assert time.monotonic() - began < 25
    assert "Traceback" not in errors
    assert '"THL006"' in errors  # every service says that it closed


# -- doctor -----------------------------------------------------------------------------------------


def test_doctor_shows_every_effective_setting_and_masks_secrets(
    run: Run, nowhere: Path, monkeypatch: pytest.MonkeyPatch, mongod_uri: str
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setenv("THROUGHLINE_MONGODB", mongod_uri)
    monkeypatch.setenv("THROUGHLINE_FIND_LIMIT", "77")
    code, out, _ = run("doctor", "--data", nowhere, "--port", 0)
    assert code == Exit.OK, out
    for row in rows():
        assert row.flag in out
        assert row.secret is False or "(set)" in out or "(empty)" in out
    assert mongod_uri not in out
    assert "77" in out
    assert "THROUGHLINE_FIND_LIMIT" in out
    assert "not well" not in out
    assert not list(nowhere.glob("*"))  # it only looks


def test_doctor_says_what_is_broken_and_what_to_do(
    run: Run, nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    key = tmp_path / "keys" / "master.key"
    key.parent.mkdir()
    key.write_text("x")
    key.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        uri = f"mongodb://127.0.0.1:{ports.pick()}/"
        code, out, _ = run(
            "doctor", "--data", tmp_path, "--port", port, "--mongodb", uri, "--affinity", "atlantis"
        )
    assert code == Exit.FAILED
    assert out.count("not well") == 4
    for words in (f"{port} is taken", "chmod 600", "atlantis", "Check --mongodb"):
        assert words in out


def test_doctor_finds_the_exchange_that_runs(
    run: Run, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    code, out, _ = run("doctor", "--data", serving.data)
    assert code == Exit.OK
    assert serving.ready["fhir"] in out
