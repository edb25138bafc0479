"""One way to break each rule of ITI-65: a name, what to do to a valid Comprehensive bundle, and a part
of the FHIRPath that the answer must name."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from standards.mhd_rules import EMPTY_SHA1
from tests.makers_mhd import MHD, a_patch, concept, entry, unique

Bundle = dict[str, Any]
SET, DOCUMENT = "Bundle.entry[0].resource", "Bundle.entry[1].resource"
ATTACHMENT = f"{DOCUMENT}.content[0].attachment"


@dataclass(frozen=True)
class Breach:
    name: str
    change: Callable[[Bundle], object]
    where: str
    minimal: bool = True  # whether a Minimal bundle may not do so either


def the_set(bundle: Bundle) -> Bundle:
    return bundle["entry"][0]["resource"]


def the_document(bundle: Bundle) -> Bundle:
    return bundle["entry"][1]["resource"]


def attachment(bundle: Bundle) -> Bundle:
    return the_document(bundle)["content"][0]["attachment"]


def _without(holder: Callable[[Bundle], Bundle], *names: str) -> Callable[[Bundle], object]:
    def change(bundle: Bundle) -> None:
        for name in names:
            holder(bundle).pop(name)

    return change


def _with(holder: Callable[[Bundle], Bundle], **elements: Any) -> Callable[[Bundle], object]:
    return lambda bundle: holder(bundle).update(elements)


def _context(bundle: Bundle) -> Bundle:
    return the_document(bundle)["context"]


def _content(bundle: Bundle) -> Bundle:
    return the_document(bundle)["content"][0]


def _extension(url: str) -> Callable[[Bundle], object]:
    def change(bundle: Bundle) -> None:
        held = the_set(bundle)
        held["extension"] = [e for e in held["extension"] if not e["url"].endswith(url)]

    return change


def _add(*entries: Bundle) -> Callable[[Bundle], object]:
    return lambda bundle: bundle["entry"].extend(entries)


def _second_document(bundle: Bundle) -> None:
    """Another DocumentReference over the same Binary."""
    again = the_document(bundle) | {"masterIdentifier": unique()}
    bundle["entry"].append(
        entry("POST", "DocumentReference", again, "urn:uuid:5f0a7b0e-0000-4000-8000-000000000001")
    )
    the_set(bundle)["entry"].append(
        {"item": {"reference": "urn:uuid:5f0a7b0e-0000-4000-8000-000000000001"}}
    )


def _same_names(bundle: Bundle) -> None:
    the_set(bundle)["identifier"] = [dict(the_document(bundle)["masterIdentifier"])]


def _patient_entries(bundle: Bundle) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "1"}]}
    bundle["entry"] += [entry("POST", "Patient", patient), entry("POST", "Patient", dict(patient))]


SOURCE_UUID = {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2", "use": "official"}
_D, _S, _A, _C = the_document, the_set, attachment, _context

BREACHES: tuple[Breach, ...] = (
    # the Bundle
    Breach("no profile", lambda b: b.pop("meta"), "Bundle.meta.profile"),
    Breach(
        "foreign profile",
        lambda b: b["meta"].update(profile=["https://x.example/p"]),
        "Bundle.meta.profile",
    ),
    Breach("a batch", lambda b: b.update(type="batch"), "Bundle.type"),
    Breach("no SubmissionSet", lambda b: b["entry"].pop(0), "Bundle.entry"),
    Breach(
        "two SubmissionSets",
        lambda b: b["entry"].append(
            dict(b["entry"][0], fullUrl="urn:uuid:5f0a7b0e-0000-4000-8000-000000000002")
        ),
        "Bundle.entry[3]",
    ),
    Breach("nothing submitted", lambda b: b["entry"].__delitem__(slice(1, None)), "Bundle.entry"),
    Breach(
        "a foreign resource",
        _add(entry("POST", "Basic", {"resourceType": "Basic", "code": {"text": "x"}})),
        "Bundle.entry[3]",
    ),
    Breach(
        "a document Bundle",
        _add(entry("POST", "Bundle", {"resourceType": "Bundle", "type": "document"})),
        "Bundle.entry[3]",
    ),
    Breach(
        "a List of no kind",
        lambda b: _S(b).update(code=concept(f"{MHD}/CodeSystem/MHDlistTypes", "other")),
        "Bundle.entry[0].resource.code",
    ),
    Breach(
        "a DELETE",
        lambda b: b["entry"][1]["request"].update(method="DELETE"),
        "Bundle.entry[1].request",
    ),
    Breach(
        "a PUT of a document",
        lambda b: b["entry"][1]["request"].update(method="PUT", url="DocumentReference/1"),
        "Bundle.entry[1].request",
    ),
    Breach(
        "a wrong URL",
        lambda b: b["entry"][2]["request"].update(url="DocumentReference"),
        "Bundle.entry[2].request",
    ),
    Breach(
        "one fullUrl twice",
        lambda b: b["entry"][2].update(fullUrl=b["entry"][0]["fullUrl"]),
        "Bundle.entry[2].fullUrl",
    ),
    Breach("two Patients", _patient_entries, "Bundle.entry[4].resource"),
    Breach(
        "a PATCH without a replaces",
        _add(a_patch("DocumentReference/nothing")),
        "Bundle.entry[3].request.url",
    ),
    Breach(
        "another PATCH",
        _add(
            entry(
                "PATCH",
                "DocumentReference/x",
                {
                    "resourceType": "Parameters",
                    "parameter": [
                        {
                            "name": "operation",
                            "part": [{"name": "path", "valueString": "DocumentReference.type"}],
                        }
                    ],
                },
            )
        ),
        "Bundle.entry[3].resource.parameter",
    ),
    # the DocumentReference
    Breach(
        "modifierExtension",
        _with(_D, modifierExtension=[{"url": "urn:x", "valueBoolean": True}]),
        f"{DOCUMENT}.modifierExtension",
    ),
    Breach("no uniqueId", _without(_D, "masterIdentifier"), f"{DOCUMENT}.masterIdentifier"),
    Breach(
        "a uniqueId without system",
        lambda b: _D(b)["masterIdentifier"].pop("system"),
        f"{DOCUMENT}.masterIdentifier",
    ),
    Breach(
        "two entryUUIDs",
        _with(
            _D,
            identifier=[
                {**SOURCE_UUID, "value": "urn:uuid:5f0a7b0e-0000-4000-8000-000000000003"},
                {**SOURCE_UUID, "value": "urn:uuid:5f0a7b0e-0000-4000-8000-000000000004"},
            ],
        ),
        f"{DOCUMENT}.identifier[1]",
    ),
    Breach(
        "an entryUUID that is none",
        _with(_D, identifier=[SOURCE_UUID]),
        f"{DOCUMENT}.identifier[0]",
    ),
    Breach("entered in error", _with(_D, status="entered-in-error"), f"{DOCUMENT}.status"),
    Breach("docStatus", _with(_D, docStatus="final"), f"{DOCUMENT}.docStatus"),
    Breach("no type", _without(_D, "type"), f"{DOCUMENT}.type", minimal=False),
    Breach("no category", _without(_D, "category"), f"{DOCUMENT}.category", minimal=False),
    Breach(
        "two categories",
        lambda b: _D(b)["category"].append(_D(b)["category"][0]),
        f"{DOCUMENT}.category[1]",
    ),
    Breach("no subject", _without(_D, "subject"), f"{DOCUMENT}.subject", minimal=False),
    Breach("no label", _without(_D, "securityLabel"), f"{DOCUMENT}.securityLabel", minimal=False),
    Breach(
        "two contents",
        lambda b: _D(b)["content"].append(_D(b)["content"][0]),
        f"{DOCUMENT}.content[1]",
    ),
    Breach("no media type", _without(_A, "contentType"), f"{ATTACHMENT[:-13]}", minimal=True),
    Breach(
        "a media type nobody shares",
        _with(_A, contentType="application/x-msdownload"),
        f"{ATTACHMENT}.contentType",
    ),
    Breach("no language", _without(_A, "language"), "language", minimal=False),
    Breach(
        "data beside the Binary",
        _with(_A, data=base64.b64encode(b"x").decode()),
        f"{ATTACHMENT}.data",
    ),
    Breach("no url", _without(_A, "url"), "attachment.url"),
    Breach(
        "a url to nothing",
        _with(_A, url="urn:uuid:5f0a7b0e-0000-4000-8000-000000000005"),
        f"{ATTACHMENT}.url",
    ),
    Breach(
        "a url to what is here",
        _with(_A, url="http://exchange.test/fhir/Binary/1"),
        f"{ATTACHMENT}.url",
    ),
    Breach("a url that is a script", _with(_A, url="javascript:alert(1)"), f"{ATTACHMENT}.url"),
    Breach(
        "a url to the SubmissionSet",
        lambda b: _A(b).update(url=b["entry"][0]["fullUrl"]),
        f"{ATTACHMENT}.url",
    ),
    Breach("the hash of other bytes", _with(_A, hash=EMPTY_SHA1[:-2] + "A="), f"{ATTACHMENT}.hash"),
    Breach(
        "a hash in hex",
        lambda b: _A(b).update(
            hash=base64.b64encode(base64.b64decode(_A(b)["hash"]).hex().encode()).decode()
        ),
        f"{ATTACHMENT}.hash",
    ),
    Breach("a short hash", _with(_A, hash="AAAA"), f"{ATTACHMENT}.hash"),
    Breach("size off by one", lambda b: _A(b).update(size=_A(b)["size"] + 1), f"{ATTACHMENT}.size"),
    Breach("a delayed document with bytes", _with(_A, size=0), f"{ATTACHMENT}"),
    Breach(
        "a Binary of another media type",
        lambda b: b["entry"][2]["resource"].update(contentType="text/csv"),
        f"{ATTACHMENT}.contentType",
    ),
    Breach(
        "bytes that are not of their media type",
        lambda b: (
            _A(b).update(contentType="application/pdf"),
            b["entry"][2]["resource"].update(contentType="application/pdf"),
        ),
        f"{ATTACHMENT}.contentType",
    ),
    Breach(
        "a Binary without data",
        lambda b: b["entry"][2]["resource"].pop("data"),
        "Bundle.entry[2].resource.data",
    ),
    Breach(
        "a Binary that is not base64",
        lambda b: b["entry"][2]["resource"].update(data="%%%"),
        "Bundle.entry[2].resource.data",
    ),
    Breach(
        "a Binary of no document",
        _add(
            entry(
                "POST",
                "Binary",
                {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="},
                "urn:uuid:5f0a7b0e-0000-4000-8000-000000000006",
            )
        ),
        "Bundle.entry[3].resource",
    ),
    Breach(
        "a Binary twice", _second_document, "Bundle.entry[3].resource.content[0].attachment.url"
    ),
    Breach("no creation time", _without(_A, "creation"), "creation", minimal=False),
    Breach("no format", lambda b: _content(b).pop("format"), "format", minimal=False),
    Breach(
        "no context",
        lambda b: (_D(b).pop("context"), _D(b)["contained"].pop()),
        f"{DOCUMENT}.context",
        minimal=False,
    ),
    Breach(
        "no facility type",
        _without(_C, "facilityType"),
        f"{DOCUMENT}.context.facilityType",
        minimal=False,
    ),
    Breach(
        "no practice setting",
        _without(_C, "practiceSetting"),
        f"{DOCUMENT}.context.practiceSetting",
        minimal=False,
    ),
    Breach(
        "no source patient",
        lambda b: (_C(b).pop("sourcePatientInfo"), _D(b)["contained"].pop()),
        f"{DOCUMENT}.context.sourcePatientInfo",
        minimal=False,
    ),
    Breach(
        "a source patient without identifier",
        lambda b: (
            _D(b)["contained"][1].update(identifier=[], name=[{"text": "x"}])
            or _D(b)["contained"][1].pop("identifier")
        ),
        f"{DOCUMENT}.context.sourcePatientInfo",
    ),
    Breach(
        "a source patient who is a practitioner",
        lambda b: _C(b)["sourcePatientInfo"].update(reference="#author"),
        f"{DOCUMENT}",
    ),
    Breach(
        "an author elsewhere",
        lambda b: (
            _D(b).update(author=[{"reference": "https://x.example/Practitioner/1"}]),
            _D(b)["contained"].pop(0),
        ),
        f"{DOCUMENT}.author[0]",
        minimal=False,
    ),
    Breach(
        "an author nowhere",
        lambda b: (
            _D(b).update(author=[{"reference": "Practitioner/1"}]),
            _D(b)["contained"].pop(0),
        ),
        f"{DOCUMENT}.author[0]",
    ),
    Breach(
        "a reference to no entry",
        lambda b: _D(b).update(
            custodian={"reference": "urn:uuid:5f0a7b0e-0000-4000-8000-000000000007"}
        ),
        f"{DOCUMENT}.custodian",
    ),
    Breach(
        "a service that ends before it starts",
        lambda b: _C(b)["period"].update(start="2026-03-05"),
        f"{DOCUMENT}.context.period",
    ),
    Breach(
        "related to itself",
        lambda b: _D(b).update(
            relatesTo=[{"code": "appends", "target": {"reference": b["entry"][1]["fullUrl"]}}]
        ),
        f"{DOCUMENT}.relatesTo[0]",
    ),
    Breach(
        "related to the SubmissionSet",
        lambda b: _D(b).update(
            relatesTo=[{"code": "appends", "target": {"reference": b["entry"][0]["fullUrl"]}}]
        ),
        f"{DOCUMENT}.relatesTo[0]",
    ),
    Breach(
        "related to nothing",
        _with(
            _D,
            relatesTo=[{"code": "appends", "target": {"reference": "DocumentReference/nothing"}}],
        ),
        f"{DOCUMENT}.relatesTo[0]",
    ),
    Breach("a type nobody agreed on", _with(_D, type=concept("urn:x", "1")), f"{DOCUMENT}.type"),
    Breach(
        "a category nobody agreed on",
        _with(_D, category=[concept("urn:x", "1")]),
        f"{DOCUMENT}.category[0]",
    ),
    Breach(
        "a label nobody agreed on",
        _with(_D, securityLabel=[concept("urn:x", "1")]),
        f"{DOCUMENT}.securityLabel[0]",
    ),
    Breach(
        "a format nobody agreed on",
        lambda b: _content(b)["format"].update(code="x"),
        f"{DOCUMENT}.content[0].format",
    ),
    Breach(
        "a facility nobody agreed on",
        lambda b: _C(b).update(facilityType=concept("urn:x", "1")),
        f"{DOCUMENT}.context.facilityType",
    ),
    Breach(
        "a setting nobody agreed on",
        lambda b: _C(b).update(practiceSetting=concept("urn:x", "1")),
        f"{DOCUMENT}.context.practiceSetting",
    ),
    # who it is about
    Breach(
        "an unknown patient",
        lambda b: (
            _D(b).update(subject={"reference": "Patient/nobody"}),
            _S(b).update(subject={"reference": "Patient/nobody"}),
        ),
        f"{DOCUMENT}.subject",
    ),
    Breach(
        "a patient of another server",
        _with(_D, subject={"reference": "https://x.example/fhir/Patient/1"}),
        f"{DOCUMENT}.subject",
    ),
    Breach(
        "an unknown identifier",
        _with(
            _D,
            subject={
                "identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9999999999"}
            },
        ),
        f"{DOCUMENT}.subject",
    ),
    Breach(
        "a subject that is a group",
        _with(_D, subject={"reference": "Group/1"}),
        f"{DOCUMENT}.subject",
    ),
    Breach(
        "a SubmissionSet of nobody known",
        _with(_S, subject={"reference": "Patient/nobody"}),
        f"{SET}.subject",
    ),
    # the SubmissionSet
    Breach("no sourceId", _extension("ihe-sourceId"), f"{SET}.extension"),
    Breach(
        "a sourceId of another type",
        lambda b: _S(b)["extension"].__setitem__(
            0, {"url": f"{MHD}/StructureDefinition/ihe-sourceId", "valueString": "x"}
        ),
        f"{SET}.extension[0]",
    ),
    Breach("no content type", _extension("ihe-designationType"), f"{SET}.extension", minimal=False),
    Breach("no uniqueId of the set", _without(_S, "identifier"), f"{SET}.identifier"),
    Breach(
        "a uniqueId of the set that is no OID",
        lambda b: _S(b)["identifier"][0].update(
            value="urn:uuid:5f0a7b0e-0000-4000-8000-000000000008"
        ),
        f"{SET}.identifier[0]",
    ),
    Breach("one uniqueId twice in the message", _same_names, "identifier"),
    Breach("a retired set", _with(_S, status="retired"), f"{SET}.status"),
    Breach("a set that is no working list", _with(_S, mode="snapshot"), f"{SET}.mode"),
    Breach("no patient of the set", _without(_S, "subject"), f"{SET}.subject", minimal=False),
    Breach("no submission time", _without(_S, "date"), f"{SET}.date"),
    Breach("an encounter", _with(_S, encounter={"display": "x"}), f"{SET}.encounter"),
    Breach("orderedBy", _with(_S, orderedBy={"text": "x"}), f"{SET}.orderedBy"),
    Breach("an empty reason", _with(_S, emptyReason={"text": "x"}), f"{SET}.emptyReason"),
    Breach(
        "an author of the set elsewhere",
        lambda b: (
            _S(b).pop("contained"),
            _S(b).update(source={"reference": "https://x.example/Practitioner/1"}),
        ),
        f"{SET}.source",
        minimal=False,
    ),
    Breach(
        "an entry with a flag",
        lambda b: _S(b)["entry"][0].update(flag={"text": "x"}),
        f"{SET}.entry[0].flag",
    ),
    Breach(
        "an entry with a date",
        lambda b: _S(b)["entry"][0].update(date="2026-01-01"),
        f"{SET}.entry[0].date",
    ),
    Breach(
        "an entry that leads nowhere",
        lambda b: _S(b)["entry"].append(
            {"item": {"reference": "urn:uuid:5f0a7b0e-0000-4000-8000-000000000009"}}
        ),
        f"{SET}.entry[1].item",
    ),
    Breach(
        "an entry not registered here",
        lambda b: _S(b)["entry"].append({"item": {"reference": "DocumentReference/nothing"}}),
        f"{SET}.entry[1].item",
    ),
    Breach(
        "an entry that is itself",
        lambda b: _S(b)["entry"].append({"item": {"reference": b["entry"][0]["fullUrl"]}}),
        f"{SET}.entry[1].item",
    ),
    Breach(
        "an entry twice", lambda b: _S(b)["entry"].append(_S(b)["entry"][0]), f"{SET}.entry[1].item"
    ),
    Breach("a document that is not listed", lambda b: _S(b).pop("entry"), DOCUMENT),
)
