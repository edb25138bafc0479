"""PURE. A QuestionnaireResponse as metadata: an assessment is a document by itself.

Its kind is that of its questionnaire: one of the community's own (`NS/Questionnaire/<type>`), or a
canonical URL that the community has mapped to a type (`foreign_types.csv`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.reading import Reading, bare, holds, logical
from standards.lens import at, contained
from standards.mhd import URI
from standards.outcome import PROFILE, UNPROCESSABLE, Issue

Json = Mapping[str, Any]
_ROOT = "QuestionnaireResponse"


def read_questionnaire(response: Json, namespace: str) -> Reading:
    """What a structurally legal QuestionnaireResponse says of itself."""
    made = Reading("QR")
    identifier = response.get("identifier") or {}
    if identifier.get("system") and identifier.get("value"):
        named = {"system": identifier["system"], "value": identifier["value"]}
        made.say("masterIdentifier", named, f"{_ROOT}.identifier")
    if response.get("status") not in ("completed", "amended"):
        words = f"Answers that are {response.get('status')} are not published; complete them first."
        made.issues.append(Issue(UNPROCESSABLE, words, f"{_ROOT}.status"))
    made.origin["type"] = f"{_ROOT}.questionnaire"
    canonical = str(response.get("questionnaire") or "").partition("|")[0]
    ours = f"{namespace}/Questionnaire/"
    if canonical.startswith(ours):
        coding = {"system": f"{namespace}/CodeSystem/document-type", "code": canonical[len(ours) :]}
        made.say("type", {"coding": [coding]}, f"{_ROOT}.questionnaire")
    elif canonical:
        coding = {"system": URI, "code": canonical}
        made.say("type", {"coding": [coding]}, f"{_ROOT}.questionnaire")
    security = [{"coding": [bare(c)]} for c in at(response, "meta.security")]
    made.say("securityLabel", security, f"{_ROOT}.meta.security")
    made.say("attachment.creation", response.get("authored"), f"{_ROOT}.authored")
    made.say("attachment.language", response.get("language"), f"{_ROOT}.language")
    authored = response.get("authored")
    if authored:
        made.say("context.period", {"start": authored, "end": authored}, f"{_ROOT}.authored")
    _subject(made, response)
    author = response.get("author") or response.get("source")
    if author:
        found = contained(response, author)
        if holds(found) and found is not None:
            made.say("author", [made.hold(found, "author")], f"{_ROOT}.author")
        else:
            made.say("author", [a for a in [logical(author, found)] if a], f"{_ROOT}.author")
    return made


def _subject(made: Reading, response: Json) -> None:
    place = made.origin["subject"] = f"{_ROOT}.subject"
    subject = response.get("subject") or {}
    held = contained(response, subject)
    said = str(subject.get("reference") or "")
    if held is not None and held.get("resourceType") == "Patient":
        made.patient = held
    elif held is not None or (said and "Patient/" not in said):
        made.issues.append(Issue(PROFILE, "The subject of a document here is a Patient.", place))
    elif said or subject.get("identifier"):
        made.subject = {k: subject[k] for k in ("reference", "identifier") if k in subject}
