"""Every constraint on a DocumentReference, SubmissionSet and Folder has submissions that keep it and
submissions that break it: each is drawn by hypothesis, one element changed at a time."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from standards.mhd import PROFILES
from standards.mhd_rules import RULES, Level, Rule, check
from standards.outcome import KINDS
from standards.r4.check import check_structure
from tests.makers_mhd import publish
from tests.registry.mutations import Case, cases, place, valid
from tests.registry.test_refused import stored
from tests.running import Exchange

CASES = {level: list(cases(level)) for level in Level}
EVERY = [case for level in Level for case in CASES[level]]
# over HTTP: everything at the highest level, and below it only what differs from it
_ABOVE = {(c.rule, c.what, c.accepted) for c in CASES[Level.COMPREHENSIVE]}
SENT = CASES[Level.COMPREHENSIVE] + [
    c for c in EVERY if c.level < Level.COMPREHENSIVE and (c.rule, c.what, c.accepted) not in _ABOVE
]
OF = {rule: [c for c in EVERY if c.rule is rule] for rule in RULES}
FIRST = settings(database=None, phases=[Phase.generate])


def short(rule: Rule) -> str:
    return rule.name.replace(PROFILES, "")


def head(rule: Rule) -> str:
    """The first element of a rule's path."""
    return rule.path.partition("(")[0].split(".")[0]


def findings(case: Case, bundle: dict) -> list[str]:
    """Where the one changed resource breaks a rule, or is no R4 at all."""
    number = place(case.rule)
    where = f"Bundle.entry[{number}].resource"
    resource = bundle["entry"][number]["resource"]
    broken = check_structure(resource)
    return [i.where for i in broken] or [
        i.where for i in check(case.rule.of, resource, case.level, where)
    ]


def test_every_rule_has_an_accepted_and_a_rejected_case() -> None:
    for rule in RULES:
        assert {c.accepted for c in OF[rule]} == {True, False}, rule.name


@pytest.mark.parametrize("level", Level)
def test_the_submission_that_is_changed_breaks_nothing(level: Level) -> None:
    bundle = valid("Patient/1", level)
    assert [findings(case, bundle) for case in CASES[level]] == [[]] * len(CASES[level])


@pytest.mark.parametrize("rule", RULES, ids=short)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_rule_is_kept_by_what_keeps_it_and_broken_by_what_breaks_it(
    rule: Rule, data: st.DataObject
) -> None:
    case = data.draw(st.sampled_from(OF[rule]))
    bundle = data.draw(case.bundles("Patient/1"))
    found = findings(case, bundle)
    if case.accepted:
        assert found == []
    else:
        assert any(f".{head(rule)}" in f".{w}" for w in found), found


@pytest.mark.parametrize("case", SENT, ids=str)
async def test_what_breaks_a_rule_is_refused_and_what_keeps_it_is_stored(
    exchange: Exchange, source: httpx.AsyncClient, person: str, case: Case
) -> None:
    bundle = find(case.bundles(person), lambda _: True, settings=FIRST)
    before = await stored(exchange)
    answer = await publish(source, bundle)
    if case.accepted:
        assert answer.status_code == 200, answer.text
        return
    assert answer.status_code == 400, answer.text
    issues = answer.json()["issue"]
    places = [p for i in issues for p in i["expression"]]
    assert any(
        p.startswith(f"Bundle.entry[{place(case.rule)}].resource.{head(case.rule)}") for p in places
    ), issues
    for issue in issues:
        codes = {c["code"] for c in issue.get("details", {}).get("coding", ())}
        assert codes <= {k.xds for k in KINDS.values() if k.xds}
        assert codes or issue["code"] == "structure"  # what is no FHIR has no word in XDS
    assert await stored(exchange) == before
