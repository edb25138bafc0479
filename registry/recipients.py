"""PURE. Whom a submission is meant for: ihe-intendedRecipient (MHD 2:3.65.4.1.3).

Nothing is pushed from here: a recipient that takes part finds the submission and reads it. So the
effort asked of a Document Recipient is to say at once, as a warning, who cannot be reached that way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from affinity.pack import Pack
from registry.sent import Draft, own
from standards.lens import at, contained, extensions
from standards.mhd import INTENDED_RECIPIENT
from standards.outcome import UNRESOLVED, Issue

Json = Mapping[str, Any]
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"


def unreached(draft: Draft, pack: Pack) -> Iterator[Issue]:
    """A warning for each recipient who is neither an organisation of the community nor a Patient here.
    Whether a Patient of this server is known is judged with the other references."""
    for item in draft.of("SubmissionSet"):
        for n, extension in enumerate(extensions(item.resource, INTENDED_RECIPIENT)):
            said = extension.get("valueReference")
            if not isinstance(said, Mapping) or _takes_part(item.resource, said, pack):
                continue
            local = own(str(said.get("reference") or ""), draft.base)
            if local is None or local[0] != "Patient":
                words = (
                    "This recipient is no organisation that takes part here; the submission is kept, "
                    "and nobody is told of it."
                )
                place = (
                    f"{item.where}.extension.where(url='{INTENDED_RECIPIENT}')[{n}].valueReference"
                )
                yield Issue(UNRESOLVED, words, place, xds="UnknownRecipient").warn()


def _takes_part(resource: Json, said: Json, pack: Pack) -> bool:
    """Whether it names an organisation of the pack, by its ODS code."""
    held = contained(resource, said)
    named = [said.get("identifier") or {}, *(at(held, "identifier") if held else ())]
    return any(i.get("system") == ODS and i.get("value") in pack.organisations for i in named)
