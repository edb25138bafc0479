"""Where R4 (4.0.1) is not what fhir.resources' R4B metadata says, row by row.

`tools/generate_r4.py` reads these rows, so the written structures are R4. Each set was found by
comparing R4B's metadata with the R4 definitions as published, element by element and code by code,
and with the rows applied nothing but OPEN_BINDINGS is left of the difference. Every type this
product stores or answers with (Patient, DocumentReference, List, Bundle, AuditEvent, Consent ...)
is equal in both versions apart from the codes at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

# fhir.resources' names of the primitives -> FHIR's.
PRIMITIVES = {
    "Base64Binary": "base64Binary",
    "Boolean": "boolean",
    "Canonical": "canonical",
    "Code": "code",
    "Date": "date",
    "DateTime": "dateTime",
    "Decimal": "decimal",
    "Id": "id",
    "Instant": "instant",
    "Integer": "integer",
    "Markdown": "markdown",
    "Oid": "oid",
    "PositiveInt": "positiveInt",
    "String": "string",
    "Time": "time",
    "UnsignedInt": "unsignedInt",
    "Uri": "uri",
    "Url": "url",
    "Uuid": "uuid",
    "Xhtml": "xhtml",
}

# Types (with their parts) that R4B has and R4 has not.
ONLY_R4B = frozenset(
    {
        "AdministrableProductDefinition",
        "Citation",
        "ClinicalUseDefinition",
        "CodeableReference",
        "EvidenceCertainty",
        "EvidenceReport",
        "EvidenceStatistic",
        "EvidenceVariableCategory",
        "EvidenceVariableCharacteristicTimeFromStart",
        "EvidenceVariableDefinition",
        "Ingredient",
        "ManufacturedItemDefinition",
        "MedicinalProductDefinition",
        "NutritionProduct",
        "PackagedProductDefinition",
        "RatioRange",
        "RegulatedAuthorization",
        "SubscriptionStatus",
        "SubscriptionTopic",
        "SubstanceDefinition",
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """One element that both versions have and define differently: `r4` is its R4 definition."""

    type: str
    element: str
    r4: str
    why: str


# FHIR R4 datatypes.html#open: every type an open choice may take.
OPEN = (
    "base64Binary|boolean|canonical|code|date|dateTime|decimal|id|instant|integer|markdown|oid|"
    "positiveInt|string|time|unsignedInt|uri|url|uuid|Address|Age|Annotation|Attachment|"
    "CodeableConcept|Coding|ContactPoint|Count|Distance|Duration|HumanName|Identifier|Money|Period|"
    "Quantity|Range|Ratio|Reference|SampledData|Signature|Timing|ContactDetail|Contributor|"
    "DataRequirement|Expression|ParameterDefinition|RelatedArtifact|TriggerDefinition|UsageContext|"
    "Dosage|Meta"
)
_OPEN = "R4's open types have Meta, and neither CodeableReference nor RatioRange"
_CANONICAL = "R4B added canonical for medicinal products"
_MARKETING = "R4B made it optional"

CHANGES: tuple[Change, ...] = (
    Change("ActivityDefinition", "subject[x]", "subject[x]:CodeableConcept|Reference", _CANONICAL),
    Change("PlanDefinition", "subject[x]", "subject[x]:CodeableConcept|Reference", _CANONICAL),
    Change(
        "PlanDefinitionAction", "subject[x]", "subject[x]:CodeableConcept|Reference", _CANONICAL
    ),
    Change("ElementDefinition", "defaultValue[x]", f"defaultValue[x]:{OPEN}", _OPEN),
    Change("ElementDefinition", "fixed[x]", f"fixed[x]:{OPEN}", _OPEN),
    Change("ElementDefinition", "pattern[x]", f"pattern[x]:{OPEN}", _OPEN),
    Change("ElementDefinitionExample", "value[x]", f"value[x]!:{OPEN}", _OPEN),
    Change("Extension", "value[x]", f"value[x]:{OPEN}", _OPEN),
    Change("MarketingStatus", "country", "country!:CodeableConcept", _MARKETING),
    Change("MarketingStatus", "dateRange", "dateRange!:Period", _MARKETING),
)

# Required bindings. R4B's metadata takes its codes from the one-line summary of an element, which
# leaves out long lists, ends others in "+" or "etc.", and lists some that are only examples.
_COMPARATOR = "<,<=,>=,>"
_OBSERVATION = "registered,preliminary,final,amended,corrected,cancelled,entered-in-error,unknown"
_ENCOUNTER = (
    "planned,arrived,triaged,in-progress,onleave,finished,cancelled,entered-in-error,unknown"
)
_VERSIONS = (
    "0.01,0.05,0.06,0.11,0.0.80,0.0.81,0.0.82,0.4.0,0.5.0,1.0.0,1.0.1,1.0.2,1.1.0,1.4.0,1.6.0,"
    "1.8.0,3.0.0,3.0.1,3.3.0,3.5.0,4.0.0,4.0.1"
)
CODES: dict[tuple[str, str], str] = {
    ("ActivityDefinition", "kind"): (
        "Appointment,AppointmentResponse,CarePlan,Claim,CommunicationRequest,Contract,DeviceRequest,"
        "EnrollmentRequest,ImmunizationRecommendation,MedicationRequest,NutritionOrder,"
        "ServiceRequest,SupplyRequest,Task,VisionPrescription"
    ),
    ("AuditEvent", "action"): "C,R,U,D,E",
    ("AuditEvent", "outcome"): "0,4,8,12",
    ("AuditEventAgentNetwork", "type"): "1,2,3,4,5",
    ("CapabilityStatement", "fhirVersion"): _VERSIONS,
    ("CapabilityStatement", "format"): "",  # any media type
    ("CapabilityStatementRestResource", "type"): "@resources",
    ("CompartmentDefinitionResource", "code"): "@resources",
    ("Composition", "confidentiality"): "U,L,M,N,R,V",
    ("DataRequirement", "type"): "@types",
    ("DetectedIssue", "status"): _OBSERVATION,
    ("DeviceUdiCarrier", "entryType"): "barcode,rfid,manual,card,self-reported,unknown",
    ("DeviceUseStatement", "status"): "active,completed,entered-in-error,intended,stopped,on-hold",
    ("DiagnosticReport", "status"): (
        "registered,partial,preliminary,final,amended,corrected,appended,cancelled,"
        "entered-in-error,unknown"
    ),
    ("Encounter", "status"): _ENCOUNTER,
    ("EncounterStatusHistory", "status"): _ENCOUNTER,
    ("ExampleScenarioInstance", "resourceType"): "@resources",
    ("Expression", "language"): "",  # extensible
    ("GraphDefinition", "start"): "@resources",
    ("GraphDefinitionLinkTarget", "type"): "@resources",
    ("ImplementationGuide", "fhirVersion"): _VERSIONS,
    ("ImplementationGuideDefinitionResource", "fhirVersion"): _VERSIONS,
    ("ImplementationGuideGlobal", "type"): "@resources",
    ("MessageDefinitionFocus", "code"): "@resources",
    ("Observation", "status"): _OBSERVATION,
    ("OperationDefinition", "resource"): "@resources",
    ("OperationDefinitionParameter", "type"): "@types",
    ("OperationOutcomeIssue", "code"): (
        "invalid,structure,required,value,invariant,security,login,unknown,expired,forbidden,"
        "suppressed,processing,not-supported,duplicate,multiple-matches,not-found,deleted,too-long,"
        "code-invalid,extension,too-costly,business-rule,conflict,transient,lock-error,no-store,"
        "exception,timeout,incomplete,throttled,informational"
    ),
    ("ParameterDefinition", "type"): "@types",
    ("Quantity", "comparator"): _COMPARATOR,
    ("Questionnaire", "subjectType"): "@resources",
    ("QuestionnaireItem", "type"): (
        "group,display,question,boolean,decimal,integer,date,dateTime,time,string,text,url,choice,"
        "open-choice,attachment,reference,quantity"
    ),
    ("RiskAssessment", "status"): _OBSERVATION,
    ("SearchParameter", "base"): "@resources",
    ("SearchParameter", "target"): "@resources",
    ("StructureDefinition", "fhirVersion"): _VERSIONS,
    ("StructureMapGroupRuleTarget", "transform"): (
        "create,copy,truncate,escape,cast,append,translate,reference,dateOp,uuid,pointer,evaluate,"
        "cc,c,qty,id,cp"
    ),
    ("SupplyRequest", "status"): (
        "draft,active,suspended,cancelled,completed,entered-in-error,unknown"
    ),
    ("Task", "status"): (
        "draft,requested,received,accepted,rejected,ready,cancelled,in-progress,on-hold,failed,"
        "completed,entered-in-error"
    ),
    ("TestScriptSetupActionAssert", "resource"): "@defined",
    ("TestScriptSetupActionOperation", "resource"): "@defined",
    ("TimingRepeat", "when"): (
        "MORN,MORN.early,MORN.late,NOON,AFT,AFT.early,AFT.late,EVE,EVE.early,EVE.late,NIGHT,PHS,HS,"
        "WAKE,C,CM,CD,CV,AC,ACM,ACD,ACV,PC,PCM,PCD,PCV"
    ),
}

# Required in R4 and not checked here: their lists live outside FHIR or are very long.
OPEN_BINDINGS: dict[str, str] = {
    "media types": "BCP 13, for example Attachment.contentType",
    "languages": "BCP 47, for example Resource.language",
    "currencies": "ISO 4217, Money.currency",
    "units": "UCUM, for example SampledData and Timing",
    "licences": "SPDX, ImplementationGuide.license",
    "codings": "required bindings on Coding and CodeableConcept belong to the profile checks",
}
