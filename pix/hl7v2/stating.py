"""A Patient of FHIR as the PID segment of an answer. PURE."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pix.hl7v2.authorities import stated, told_type
from pix.hl7v2.message import escaped
from pix.identifiers import Domains, parts
from standards import hl7v2, pixm

Json = Any


def pid(patient: Mapping[str, Json], domains: Domains, shown: Callable[[str], bool]) -> str:
    """A Patient as a PID segment with the numbers of the domains that are `shown`; "" when none is
    left (ITI TF-2a 3.21.4.2.3)."""
    cxs = []
    for said in patient.get("identifier") or ():
        identifier = domains.identifier(*parts(said))
        if said.get("use") != "old" and shown(identifier.system):
            cxs.append(stated(identifier, domains, told_type(said)))
    if not cxs:
        return ""
    fields = [""] * 31
    fields[3] = "~".join(cxs)
    fields[5] = _rep(patient.get("name"), _xpn)
    fields[6] = next(
        (
            escaped(str(e.get("valueString", "")))
            for e in patient.get("extension") or ()
            if e.get("url") == pixm.MAIDEN_NAME
        ),
        "",
    )
    fields[7] = str(patient.get("birthDate") or "").replace("-", "")
    fields[8] = _SEXES.get(str(patient.get("gender") or ""), "")
    fields[11] = _rep(patient.get("address"), _xad)
    fields[13] = _rep([t for t in patient.get("telecom") or () if t.get("use") != "work"], _xtn)
    fields[14] = _rep([t for t in patient.get("telecom") or () if t.get("use") == "work"], _xtn)
    fields[29] = re.sub(r"\D", "", str(patient.get("deceasedDateTime") or "")[:10])
    if fields[29] or patient.get("deceasedBoolean") is True:
        fields[30] = "Y"
    return "|".join(["PID", *fields[1:]]).rstrip("|")


_SEXES = {"male": "M", "female": "F", "other": "O", "unknown": "U"}
_NAME_TYPES = {use: code for code, use in reversed(list(hl7v2.NAME_USE.items()))}
_ADDRESS_TYPES = {use: code for code, use in reversed(list(hl7v2.ADDRESS_USE.items()))}


def _rep(values: Sequence[Json] | None, write: Callable[[Mapping[str, Json]], str]) -> str:
    return "~".join(made for made in map(write, values or ()) if made)


def _xpn(name: Mapping[str, Json]) -> str:
    given = [str(g) for g in name.get("given") or ()]
    family = str(name.get("family") or "") or ("" if given else str(name.get("text") or ""))
    components = [
        family, given[0] if given else "", " ".join(given[1:]), _joined(name, "suffix"),
        _joined(name, "prefix"), "", _NAME_TYPES.get(str(name.get("use")), "L"),
    ]  # fmt: skip
    return "^".join(map(escaped, components)) if family or given else ""


def _joined(of: Mapping[str, Json], element: str) -> str:
    return " ".join(str(v) for v in of.get(element) or ())


def _xad(address: Mapping[str, Json]) -> str:
    lines = [str(line) for line in address.get("line") or ()]
    if not lines and address.get("text"):
        lines = [str(address["text"])]
    components = [
        lines[0] if lines else "", ", ".join(lines[1:]), *(
            str(address.get(e) or "") for e in ("city", "state", "postalCode", "country")
        ), _ADDRESS_TYPES.get(str(address.get("use")), ""), "", str(address.get("district") or ""),
    ]  # fmt: skip
    return "^".join(map(escaped, components)).rstrip("^")


def _xtn(telecom: Mapping[str, Json]) -> str:
    value = escaped(str(telecom.get("value") or ""))
    if not value:
        return ""
    if telecom.get("system") == "email":
        return f"^NET^Internet^{value}"
    kind = {"fax": "FX", "pager": "BP"}.get(str(telecom.get("system")), "PH")
    if telecom.get("use") == "mobile":
        kind = "CP"
    return f"{value}^{'WPN' if telecom.get('use') == 'work' else 'PRN'}^{kind}"
