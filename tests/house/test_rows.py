"""The house keeps its own rules: everything comes from a row, and every row is whole."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from chassis import telemetry
from exchange.rows import ROWS
from standards import capability, openapi
from standards.outcome import KINDS, Issue, outcome
from standards.rows import AuditPattern, Needs, Public, Transaction, Unaudited
from tests.running import Exchange

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "standards", "affinity", "governance", "chassis", "pix", "registry", "repository", "auth", "audit", "exchange",
)  # fmt: skip


def sources() -> list[Path]:
    return [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.code}-{r.interaction}-{r.resource}")
def test_every_row_has_a_scope_or_a_reason_and_an_audit_pattern_or_a_reason(
    row: Transaction,
) -> None:
    assert isinstance(row.scope, Needs) or (isinstance(row.scope, Public) and row.scope.reason)
    assert isinstance(row.audit, AuditPattern) or (
        isinstance(row.audit, Unaudited) and row.audit.reason
    )
    assert row.see


@pytest.mark.parametrize(
    "row",
    [r for r in ROWS if r.definition.startswith("https://profiles.ihe.net/")],
    ids=lambda r: r.code,
)
def test_an_operation_that_ihe_defines_says_its_parameters(row: Transaction) -> None:
    if row.interaction == "operation":
        assert {o.use for o in row.operands} == {"in", "out"}, row.code


def test_no_two_rows_claim_the_same_route() -> None:
    claimed = [(m, re.sub(r"\{\w+\}", "{}", p), r.surface) for r in ROWS for m, p in r.routes]
    assert len(claimed) == len(set(claimed))


def doored(door: str) -> set[tuple[str, str]]:
    """What the CapabilityStatement of another FHIR base shows."""
    made = capability.statement(ROWS, base="http://x/fhir", auth="http://x/auth", door=door)
    kinds = made["rest"][0]["resource"]
    shown = {(r["type"], i["code"]) for r in kinds for i in r["interaction"]}
    return shown | {(r["type"], p["name"]) for r in kinds for p in r.get("searchParam", ())}


def test_every_fhir_row_appears_in_the_capability_statement_and_every_row_in_openapi() -> None:
    statement = capability.statement(ROWS, base="http://x/fhir", auth="http://x/auth")
    rest = statement["rest"][0]
    shown = {(r["type"], i["code"]) for r in rest["resource"] for i in r["interaction"]}
    operations = {o["definition"] for r in rest["resource"] for o in r.get("operation", ())}
    operations |= {o["definition"] for o in rest["operation"]}
    doors = {r.door: doored(r.door) for r in ROWS if r.door}
    parameters = {
        (r["type"], p["name"]) for r in rest["resource"] for p in r.get("searchParam", ())
    }
    for row in ROWS:
        if row.surface != "fhir" or row.interaction in ("capabilities", "transaction", "internal"):
            continue
        if row.door:
            assert {
                (row.resource, row.interaction),
                *((row.resource, p.name) for p in row.search),
            } <= (doors[row.door])
            continue
        if row.interaction == "operation":
            assert row.definition in operations
        elif row.resource:
            assert (row.resource, row.interaction) in shown
        for parameter in row.search:
            assert (row.resource, parameter.name) in parameters
    paths = openapi.document(ROWS)["paths"]
    assert sum(len(methods) for methods in paths.values()) == sum(len(r.routes) for r in ROWS)


def test_every_served_route_comes_from_a_row_or_is_declared_plain(exchange: Exchange) -> None:
    from chassis.service import Endpoint

    app = exchange.app.app
    plain = {
        "/openapi.json", "/auth/token", "/auth/jwks", "/auth/introspect", "/auth/revoke", "/auth/revocations",
        "/fhir/.well-known/smart-configuration", "/.well-known/oauth-authorization-server/auth",
        "/auth/assets/{digest}/{name:path}", "/auth/authorize", "/auth/authorize/{id}", "/auth/launches",
        "/auth/apps", "/auth/.well-known/openid-configuration", "/.well-known/openid-configuration/auth",
        "/auth/clients", "/auth/clients/{id}", "/auth/clients/{id}/secret", "/auth/invitations",
        "/auth/invitations/{id}", "/auth/register", "/auth/register/{id}",
        # Pages of people (auth/people/routes.py): each is behind a door of auth/pages, with CSRF.
        "/auth/sign-in", "/auth/sign-in/second", "/auth/sign-in/second/passkey", "/auth/sign-in/password",
        "/auth/sign-in/app", "/auth/sign-in/role", "/auth/sign-in/passkey", "/auth/sign-in/passkey/options",
        "/auth/account", "/auth/account/password", "/auth/account/app", "/auth/account/app/remove",
        "/auth/account/recovery", "/auth/account/passkey", "/auth/account/passkey/options",
        "/auth/account/passkey/remove", "/auth/account/role", "/auth/account/sessions", "/auth/sign-out",
        # The way to other providers and back, and what they call (auth/upstream/routes.py).
        "/auth/upstream/{provider}/start", "/auth/upstream/{provider}/return",
        "/auth/upstream/{provider}/logout", "/auth/upstream/{provider}/keys",
    }  # fmt: skip
    for route in app.router.routes:
        if isinstance(route.app if hasattr(route, "app") else None, Endpoint):
            assert route.app.row in ROWS
        else:
            assert route.path in plain, f"{route.path} has no row"


def test_every_error_kind_makes_a_legal_outcome() -> None:
    from standards.r4.check import check_structure

    for kind in KINDS.values():
        made = outcome([Issue(kind, "words", "Patient.name[0]")])
        assert check_structure(made) == (), kind.name


def test_a_log_event_refuses_fields_it_does_not_declare() -> None:
    with pytest.raises(ValueError, match="THL001"):
        telemetry.log(telemetry.REQUEST, name="somebody")


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_prints_logs_or_swallows_behind_the_catalogue(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not any(a.name == "logging" for a in node.names) or path.name == "telemetry.py"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            pytest.fail(f"{path.name}:{node.lineno} catches everything without a name")


def test_no_file_is_named_after_a_layer() -> None:
    forbidden = {"utils", "helpers", "common", "manager", "models", "services"}
    assert not [p for p in sources() if p.stem in forbidden]


def test_nothing_in_the_project_names_a_path_of_one_machine() -> None:
    suspicious = re.compile(r"/(?:work/main|home/\w+|root|Users/\w+)/")
    for path in [
        *ROOT.rglob("*.py"),
        *ROOT.rglob("*.md"),
        *ROOT.rglob("*.toml"),
        *ROOT.rglob("*.yml"),
    ]:
        if ".venv" in path.parts or path == Path(__file__):
            continue
        assert not suspicious.search(path.read_text()), path


def test_every_package_has_declared_its_place_in_the_house() -> None:
    import tomllib

    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ][0]["layers"]
    placed = {name.strip() for layer in layers for name in layer.split("|")}
    there = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert there == placed


def test_openapi_says_what_a_body_is_and_where_a_parameter_goes() -> None:
    paths = openapi.document(ROWS)["paths"]
    form = ["application/x-www-form-urlencoded"]
    fhir = ["application/fhir+json", "application/fhir+xml"]
    for path, expected in (
        ("/auth/token", form), ("/auth/introspect", form), ("/fhir/Patient/_search", form),
        ("/fhir/Patient/$ihe-pix", fhir), ("/fhir", fhir), ("/auth/clients", ["application/json"]),
    ):  # fmt: skip
        assert list(paths[path]["post"]["requestBody"]["content"]) == expected, path
    asked = paths["/fhir/Patient/$ihe-pix"]
    assert [p["in"] for p in asked["get"]["parameters"]] == ["query", "query"]
    assert asked["post"]["parameters"] == []  # they are in the Parameters
    assert [p["name"] for p in paths["/fhir/Patient"]["put"]["parameters"]] == ["identifier"]
