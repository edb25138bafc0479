"""The choice of a patient, for an app that was opened on its own (SMART 2.2 `launch/patient`).

The search is pix's own, within the rights of the person at the browser; it is sent by POST, so that no
name or number is in a URL; every person shown is audited as ITI-78 audits them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from affinity.pack import NHS_NUMBER
from auth.authority import Authority
from auth.client import Client
from auth.pages import Fault, browsing, page
from auth.people.sessions import Session
from chassis.call import Account, Caller, instant
from governance.permit import Permit
from standards import balp, pdqm
from standards.rows import AuditPattern

_FIELDS = ("family", "given", "birthdate", "number")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def form(
    request: Request, client: Client, *, errors: Sequence[Fault] = (), **facts: Any
) -> Response:
    """The search form, with what was found when there was a search."""
    asked = {name: browsing(request).form.get(name, "") for name in _FIELDS}
    told = {"people": None, "more": False, **facts}
    return page(
        request, "patient.jinja", 400 if errors else 200, errors=errors, app=client, asked=asked,
        **told,
    )  # fmt: skip


async def found(
    request: Request, authority: Authority, client: Client, session: Session
) -> Response:
    """The search form with the people who were found."""
    at = browsing(request)
    asked, faults = search(at.form)
    if faults:
        return form(request, client, errors=faults)
    viewer = viewing(client, session, authority.settings.issuer)
    answer = await authority.patients.find(asked, viewer)
    people = [described(orjson.loads(body)) for body in answer.patients]
    await _tell(authority, viewer, asked, [p["id"] for p in people], at.address)
    return form(request, client, people=people, more=answer.more)


async def chosen(
    authority: Authority, client: Client, session: Session, patient: str
) -> dict[str, Any] | None:
    """The patient of this id in the words of the pages, if the person at the browser may see them."""
    if not _ID.fullmatch(patient):
        return None
    viewer = viewing(client, session, authority.settings.issuer)
    bodies = await authority.patients.patients([patient], viewer, Permit())
    return described(orjson.loads(bodies[0])) if bodies else None


def viewing(client: Client, session: Session, issuer: str) -> Caller:
    """The person at the browser, as a caller of pix."""
    return Caller(
        client_id=client.client_id,
        subject=session.person,
        issuer=issuer,
        organisation=session.organisation,
        role=session.role,
        purpose=session.purpose,
        reason=session.reason,
        name=session.name,
    )


def search(fields: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[Fault]]:
    """The parameters of ITI-78 that the form asks for, and what is wrong with the form. PURE."""
    asked: list[tuple[str, str]] = []
    faults: list[Fault] = []
    number = re.sub(r"[\s-]", "", fields.get("number", ""))
    if number:
        system = f"{NHS_NUMBER}|" if re.fullmatch(r"\d{10}", number) else ""
        if not re.fullmatch(r"[A-Za-z0-9./_]{1,64}", number):
            faults.append(Fault("number", "Enter a number of letters and digits."))
        asked.append(("identifier", system + number))
    for name in ("family", "given"):
        text = fields.get(name, "").strip()
        if text:
            asked.append((name, _escaped(text[:100])))
    born = fields.get("birthdate", "").strip()
    if born:
        when = _date(born)
        if when is None:
            faults.append(Fault("birthdate", "Enter a date of birth like 31 3 1980 or 1980-03-31."))
        else:
            asked.append(("birthdate", when))
    if not number and not fields.get("family", "").strip():
        faults.append(Fault("family", "Enter a family name or a number."))
    return asked, faults


def _escaped(text: str) -> str:
    return re.sub(r"([\\,|$])", r"\\\1", text)


def _date(text: str) -> str | None:
    parts = re.findall(r"\d+", text)
    if len(parts) != 3 or not re.fullmatch(r"[\d\s/.-]+", text):
        return None
    year, month, day = parts if len(parts[0]) == 4 else parts[::-1]
    try:
        return datetime(int(year), int(month), int(day), tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError:
        return None


def _told(birth_date: str) -> str:
    """A birth date as people write it, whole or as much of it as is known."""
    for form, words in (("%Y-%m-%d", "{0.day} {0:%B %Y}"), ("%Y-%m", "{0:%B %Y}")):
        try:
            return words.format(datetime.strptime(birth_date, form).replace(tzinfo=UTC))
        except ValueError:
            continue
    return birth_date


def described(patient: Mapping[str, Any]) -> dict[str, Any]:
    """A Patient in the words of the pages: id, name, birth date, NHS number, place. PURE."""
    names = patient.get("name") or [{}]
    name = next((n for n in names if n.get("use") == "official"), names[0])
    said = name.get("text") or " ".join([*name.get("given", ()), name.get("family", "")]).strip()
    numbers = [
        i["value"]
        for i in patient.get("identifier", ())
        if i.get("system") == NHS_NUMBER and isinstance(i.get("value"), str)
    ]
    places = patient.get("address") or [{}]
    place = ", ".join(p for p in (places[0].get("city"), places[0].get("postalCode")) if p)
    return {
        "id": patient["id"],
        "name": said or "No name recorded",
        "born": _told(str(patient.get("birthDate", ""))),
        "number": f"{numbers[0][:3]} {numbers[0][3:6]} {numbers[0][6:]}" if numbers else "",
        "place": place,
    }


async def _tell(
    authority: Authority,
    viewer: Caller,
    asked: Sequence[tuple[str, str]],
    shown: Sequence[str],
    address: str,
) -> None:
    pattern = pdqm.ITI_78.audit
    if not isinstance(pattern, AuditPattern):
        raise TypeError("ITI-78 is not audited")
    query = urlencode(asked)
    request = balp.Request(
        event_id=str(uuid.uuid4()),
        recorded=instant(datetime.now(UTC)),
        server=authority.settings.fhir_base,
        client_address=address,
        raw=f"GET /fhir/Patient?{query}".encode(),
    )
    touched = Account(patients=[f"Patient/{id_}" for id_ in shown], query=query)
    await authority.audit.record(*balp.events(pattern, viewer, touched, request, authority.words))
