"""The patient compartment: what of each type belongs to a patient's record. Pure.

FHIR R4 CompartmentDefinition/patient lists every element that may name a Patient; SMART App Launch 2.2
leaves to the server what `patient/` scopes reach. Here it is the subject alone: that a patient wrote a
document about somebody else does not open that document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SEE = "FHIR R4 compartmentdefinition-patient.html; SMART App Launch 2.2 scopes-and-launch-context"


@dataclass(frozen=True, slots=True)
class Membership:
    """How a resource of one type belongs to a patient's record.

    `path` is where its stored row names the Patients, and `prefix` what stands before their ids there;
    `only` says that a row may name several, and counts when it names no other.
    """

    resource: str
    path: str
    prefix: str
    words: str
    only: bool = False
    see: str = SEE


_ROWS = (
    Membership("Patient", "_id", "", "The Patient, and those that are linked to it"),
    Membership("DocumentReference", "subject", "", "Whose subject the patient is"),
    Membership("List", "subject", "", "Whose subject the patient is"),
    Membership("Binary", "subject", "", "Whose DocumentReference has the patient as its subject"),
    Membership("Provenance", "subject", "", "When all that it names has the patient as its subject"),
    Membership("AuditEvent", "ix.patient", "Patient/", "That names the patient and no other", only=True),
)  # fmt: skip

PATIENT: Mapping[str, Membership] = {row.resource: row for row in _ROWS}
