"""PDQm 3.2.0: the rows of ITI-78, its search parameters, and what a Patient is found by. Pure."""

from __future__ import annotations

from standards import balp
from standards.rows import Needs, Operand, ParameterType, SearchParameter, Transaction

IG = "https://profiles.ihe.net/ITI/PDQm"
PATIENT_PROFILE = f"{IG}/StructureDefinition/IHE.PDQm.Patient"
SUPPLIER = f"{IG}/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplierMatch"
DOMAIN_UNKNOWN = "targetSystem not found"  # PDQm 2:3.78.4.1.3 case 4, word for word
GENDER = "http://hl7.org/fhir/administrative-gender"
_SEARCH_PARAMETER = "http://hl7.org/fhir/SearchParameter/"


def _p(
    name: str,
    type_: ParameterType,
    expression: str,
    words: str,
    *,
    definition: str = "",
    array: bool = True,
) -> SearchParameter:
    return SearchParameter(
        name=name,
        type=type_,
        resource="Patient",
        field=name.replace("-", "_"),
        expression=expression,
        see="PDQm 2:3.78.4.1.2",
        array=array,
        modifiers=("exact", "contains", "missing")
        if type_ == "string"
        else ("missing",)
        if type_ == "date"
        else ("missing", "not"),
        definition=_SEARCH_PARAMETER + (definition or f"individual-{name}"),
        words=words,
        # PDQm's CapabilityStatements list the modifier as a parameter of its own (digest §11, 15)
        listed_as=(f"{name}:exact",) if type_ == "string" else (),
    )


IDENTIFIER = _p(
    "identifier",
    "token",
    "Patient.identifier",
    "An identifier, or `system|` for the people that have one of this domain (only those are returned)",
    definition="Patient-identifier",
)
ACTIVE = _p(
    "active",
    "token",
    "Patient.active",
    "Whether the record is in use; `false` also finds records that were merged into another",
    definition="Patient-active",
    array=False,
)
FAMILY = _p("family", "string", "Patient.name.family", "Start of a family name")
GIVEN = _p("given", "string", "Patient.name.given", "Start of any given name")
TELECOM = _p("telecom", "token", "Patient.telecom", "A telephone number or e-mail address")
BIRTHDATE = _p(
    "birthdate", "date", "Patient.birthDate", "Date of birth; `1984` covers the year", array=False
)
ADDRESS = _p("address", "string", "Patient.address", "Start of any part of an address")
CITY = _p("address-city", "string", "Patient.address.city", "Start of a city")
COUNTRY = _p("address-country", "string", "Patient.address.country", "Start of a country")
POSTCODE = _p("address-postalcode", "string", "Patient.address.postalCode", "Start of a postcode")
STATE = _p("address-state", "string", "Patient.address.state", "Start of a state or county")
GENDER_ = _p("gender", "token", "Patient.gender", "Administrative gender", array=False)
MAIDEN_NAME = _p(
    "mothersMaidenName",
    "string",
    "Patient.extension('http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName').value",
    "Start of the mother's maiden name",
    definition="patient-extensions-Patient-mothersMaidenName",
)

PARAMETERS: tuple[SearchParameter, ...] = (
    IDENTIFIER, ACTIVE, FAMILY, GIVEN, TELECOM, BIRTHDATE, ADDRESS, CITY, COUNTRY, POSTCODE, STATE,
    GENDER_, MAIDEN_NAME,
)  # fmt: skip

# What few values share out among many people finds nobody by itself and has no index: gender, active,
# state and country narrow a search that one of these leads.
LEADING = tuple(p.name for p in PARAMETERS if p not in (ACTIVE, COUNTRY, STATE, GENDER_))

ITI_78 = Transaction(
    code="ITI-78",
    name="Mobile Patient Demographics Query",
    service="pix",
    interaction="search-type",
    resource="Patient",
    routes=(("GET", "/Patient"), ("POST", "/Patient/_search")),
    scope=Needs("s", "Patient", ("ITI-78",)),
    audit=balp.ITI_78,
    see="PDQm 2:3.78",
    search=PARAMETERS,
    profiles=(PATIENT_PROFILE,),
    words="Finds people by identifier and demographics.",
)
ITI_78_READ = Transaction(
    code="ITI-78",
    name="Mobile Patient Demographics Query: retrieve",
    service="pix",
    interaction="read",
    resource="Patient",
    routes=(("GET", "/Patient/{id}"),),
    scope=Needs("r", "Patient", ("ITI-78",)),
    audit=balp.ITI_78_READ,
    see="PDQm 2:3.78.4.3",
    profiles=(PATIENT_PROFILE,),
)
VREAD = Transaction(
    code="vread",
    name="Read one version of a Patient",
    service="pix",
    interaction="vread",
    resource="Patient",
    routes=(("GET", "/Patient/{id}/_history/{vid}"),),
    scope=Needs("r", "Patient"),
    audit=balp.rest("R", "vread", ("data", "patient")),
    see="FHIR R4 http.html#vread",
    profiles=(PATIENT_PROFILE,),
)
HISTORY = Transaction(
    code="history",
    name="Read the versions of a Patient",
    service="pix",
    interaction="history-instance",
    resource="Patient",
    routes=(("GET", "/Patient/{id}/_history"),),
    scope=Needs("r", "Patient"),
    audit=balp.rest("R", "history-instance", ("data", "patient")),
    see="FHIR R4 http.html#history",
    parameters=("_count",),
    profiles=(PATIENT_PROFILE,),
)
ITI_119 = Transaction(
    code="ITI-119",
    name="Patient Demographics Match",
    service="pix",
    interaction="operation",
    resource="Patient",
    routes=(("POST", "/Patient/$match"),),
    scope=Needs("s", "Patient", ("ITI-119",)),
    narrows=True,
    audit=balp.ITI_119,
    see="PDQm 2:3.119",
    body="parameters",
    takes=("Parameters", "Patient"),
    operation="match",
    operands=(
        Operand("resource", "in", 1, "1", "Patient", "Whom to look for"),
        Operand("onlyCertainMatches", "in", 0, "1", "boolean", "Only whom is sure to be the same"),
        Operand("count", "in", 0, "1", "integer", "How many candidates at most"),
        Operand("return", "out", 1, "1", "Bundle", "Candidates, the likeliest first"),
    ),
    definition=f"{IG}/OperationDefinition/PDQmMatch",
    profiles=(PATIENT_PROFILE,),
    invalid=400,
    max_body=64 * 1024,
    words="Says who a Patient may be: candidates with score and grade, the likeliest first.",
)

TRANSACTIONS: tuple[Transaction, ...] = (ITI_78, ITI_78_READ, ITI_119, VREAD, HISTORY)
