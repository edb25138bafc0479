"""ITI-119, Patient Demographics Match: what a question must be, and the shape of an answer. Pure.

PDQm 2:3.119; profiles IHE.PDQm.MatchParametersIn (closed slices), IHE.PDQm.MatchInputPatient and
IHE.PDQm.MatchParametersOut. A bare Patient is a question without options.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from standards.outcome import INVALID, NOT_SUPPORTED, PROFILE, REQUIRED, ErrorKind, Issue, Refused

Grade = Literal["certain", "probable", "possible", "certainly-not"]
MATCH_GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
_NAMES = ("resource", "onlyCertainMatches", "count")


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to look for, whether only certain matches are wanted, and how many at most (0: not said)."""

    patient: Mapping[str, Any]
    only_certain: bool = False
    count: int = 0


def question(body: Mapping[str, Any]) -> Question:
    """The question in a structurally legal Parameters or Patient.

    Raises `Refused` (400) with every issue: a parameter that there is not, one that is missing, given
    twice or of another type, a count below 1, `implicitRules`, and any `modifierExtension` at all,
    because it could turn the meaning of what it stands on.
    """
    issues = list(_modifiers(body, str(body.get("resourceType"))))
    bare = body.get("resourceType") == "Patient"
    patient: Mapping[str, Any] = body if bare else {}
    only_certain, count = False, 0
    if not bare:
        issues += _closed(body)
        for place, parameter in enumerate(body.get("parameter") or ()):
            where = f"Parameters.parameter[{place}]"
            match parameter.get("name"):
                case "resource":
                    patient = _patient(parameter, where, issues)
                case "onlyCertainMatches":
                    only_certain = bool(_typed(parameter, "valueBoolean", bool, where, issues))
                case "count":
                    count = _count(parameter, where, issues)
    if issues:
        raise Refused(issues, status=400)
    return Question(patient, only_certain, count)


def _modifiers(value: Any, where: str) -> Iterator[Issue]:
    """Every modifierExtension and implicitRules, wherever it stands: none is understood here."""
    if isinstance(value, Mapping):
        for name, held in value.items():
            place = f"{where}.{name}"
            if name == "modifierExtension" and held:
                words = "This modifierExtension is not understood here, so nothing can be answered."
                yield _issue(NOT_SUPPORTED, words, place)
            elif name == "implicitRules":
                yield _issue(PROFILE, "implicitRules is not allowed; leave it out.", place)
            elif name != "extension":
                yield from _modifiers(held, place)
    elif isinstance(value, list):
        for n, held in enumerate(value):
            yield from _modifiers(held, f"{where}[{n}]")


def _closed(body: Mapping[str, Any]) -> Iterator[Issue]:
    said = [str(p.get("name")) for p in body.get("parameter") or ()]
    if "resource" not in said:
        words = "Say whom to look for: a parameter named resource that holds a Patient."
        yield _issue(REQUIRED, words, "Parameters.parameter")
    for place, name in enumerate(said):
        where = f"Parameters.parameter[{place}]"
        if name not in _NAMES:
            words = f"ITI-119 takes {', '.join(_NAMES)}; this parameter is none of them."
            yield _issue(INVALID, words, where)
        elif name in said[:place]:
            yield _issue(INVALID, f"Give {name} once.", where)


def _patient(parameter: Mapping[str, Any], where: str, issues: list[Issue]) -> Mapping[str, Any]:
    resource = parameter.get("resource")
    others = [k for k in parameter if k == "part" or k.startswith("value")]
    if others or not isinstance(resource, Mapping) or resource.get("resourceType") != "Patient":
        words = "This parameter holds a Patient as its resource, and no value or part."
        issues.append(_issue(INVALID, words, where))
        return {}
    return resource


def _count(parameter: Mapping[str, Any], where: str, issues: list[Issue]) -> int:
    said = _typed(parameter, "valueInteger", int, where, issues)
    if said is not None and said < 1:
        issues.append(_issue(INVALID, "count is 1 or more; leave it out for no limit.", where))
    return int(said or 0)


def _typed(
    parameter: Mapping[str, Any], name: str, kind: type, where: str, issues: list[Issue]
) -> Any:
    said = parameter.get(name)
    others = [k for k in parameter if k not in ("name", name, "id", "extension")]
    fits = isinstance(said, kind) and (kind is bool or not isinstance(said, bool))
    if fits and not others:
        return said
    issues.append(_issue(INVALID, f"Give {parameter.get('name')} as {name}.", where))
    return None


def _issue(kind: ErrorKind, words: str, where: str) -> Issue:
    return Issue(kind, words, where, xds="")


def entry(full_url: str, resource: bytes, grade: Grade, score: float) -> bytes:
    """One Patient of the answer, with its grade and its score (MatchParametersOut)."""
    search = {
        "extension": [{"url": MATCH_GRADE, "valueCode": grade}],
        "mode": "match",
        "score": score,
    }
    opening = b'{"fullUrl":' + json.dumps(full_url).encode() + b',"resource":'
    return opening + resource + b',"search":' + json.dumps(search).encode() + b"}"
