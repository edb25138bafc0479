"""ITI-105 Simplified Publish: one document, its bytes inside its DocumentReference."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.call import Answer, Call, dumps
from chassis.spool import by_token
from registry.shown import Shown
from registry.single import Sheet, Single, answered
from standards.lens import first
from standards.mhd_publish import DATA, RULES
from standards.mhd_rules import Level, against


@dataclass(frozen=True, slots=True)
class Simplified:
    """The story of ITI-105."""

    single: Single
    shown: Shown

    async def __call__(self, call: Call) -> Answer:
        """Publish the DocumentReference in the body (MHD 2:3.105.4.1).

        Answers 201 with the resource as it is stored, `url` in place of `data`; 200 for the same document
        again. Raises `Refused` with every issue: 422 for what breaks a rule, 409 for what is taken, 403
        when the token does not reach it.
        """
        document = call.resource or {}
        held = by_token(call.attachments).get(str(first(document, DATA)))
        sheet = Sheet(_bare(document), held, f"DocumentReference.{_DATA}")
        issues = against(RULES, document, Level.MINIMAL, "DocumentReference")
        made = await self.single.published(call, sheet, issues)
        answer = answered(call, made, await self.shown.to(call))
        if call.prefer == "OperationOutcome" and made.warnings:
            call.prefer, answer.body = "", dumps(made.warnings)
        return answer


_DATA = "content[0].attachment.data"


def _bare(document: dict[str, object]) -> dict[str, object]:
    """Without the id, which a create does not choose (FHIR R4 http.html#create), and without `data`,
    whose token is of this request alone."""
    made = {k: v for k, v in document.items() if k != "id"}
    contents = made.get("content")
    if isinstance(contents, list):
        made["content"] = [
            {**c, "attachment": {k: v for k, v in c["attachment"].items() if k != "data"}}
            for c in contents
        ]
    return made
