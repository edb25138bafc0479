"""The pages of one stored request: sign-in, choice of a patient, approval, and the code at the end.

Every step is worked out anew from the stored request and the session (`steps.py`); a form says only
which button was pressed and which places of the stored offer are ticked, so it can widen nothing. What
was decided is audited before the browser is sent on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from starlette.requests import Request
from starlette.responses import Response

from affinity.pack import Pack
from auth import accounts
from auth.authority import Authority
from auth.authorize import codes, picker
from auth.authorize.authorize import refused
from auth.authorize.grants import Grant
from auth.authorize.launches import LaunchUsed
from auth.authorize.request import Mistaken, answer_uri
from auth.authorize.scope import CONTEXT, Categories, categories, lasting, narrowed
from auth.authorize.steps import Refusal, Step, next_step
from auth.authorize.waiting import RequestAnswered, Waiting
from auth.client import Client
from auth.pages import Browsing, Fault, browsing, form_target, page, see_other, stopped
from auth.people.sessions import Session
from governance.scopes import outside
from standards import smart

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Turn:
    """One look at one waiting request: all that its pages and decisions are made of."""

    request: Request
    authority: Authority
    at: Browsing
    waiting: Waiting
    client: Client
    now: float

    @property
    def here(self) -> str:
        """The URL of the request's pages."""
        return f"{self.authority.settings.issuer}/authorize/{self.waiting.id}"

    def to(self, where: str) -> Response:
        """On to another place, by GET."""
        return see_other(where, secure=self.at.secure)


async def carry_on(request: Request, authority: Authority) -> Response:
    """The next page of a waiting request, or the answer that ends it."""
    now = authority.clock()
    waiting = await authority.requests.get(request.path_params["id"], now)
    client = await authority.clients.get(waiting.asked.client_id) if waiting else None
    if waiting is None or client is None or client.revoked is not None:
        return _over(request)
    at = browsing(request)
    if at.session is not None and waiting.session != at.session.id:
        await authority.requests.take_up(waiting.id, at.session)
        if request.method == "POST":  # its form was shown to somebody else
            return see_other(
                f"{authority.settings.issuer}/authorize/{waiting.id}", secure=at.secure
            )
        waiting = replace(waiting, session=at.session.id, patient={})
    turn = Turn(request, authority, at, waiting, client, now)
    grant = _offered(turn, at.session) if at.session else None
    remembered = grant is not None and await _remembered(turn, grant)
    step = next_step(waiting, at.session, client, now, remembered=remembered)
    try:
        if request.method == "POST" and grant is not None and at.session is not None:
            return await _sent(turn, at.session, grant, step)
        return await _shown(turn, grant, step)
    except RequestAnswered:
        return _over(request)


async def _shown(turn: Turn, grant: Grant | None, step: Step | Refusal) -> Response:
    if isinstance(step, Refusal):
        return await _refuse(turn, grant, step)
    if step is Step.SIGN_IN_AGAIN:
        await turn.authority.requests.ask_again(turn.waiting.id, turn.at.session)
    if grant is None or step in (Step.SIGN_IN, Step.SIGN_IN_AGAIN):
        issuer = turn.authority.settings.issuer
        return turn.to(f"{issuer}/sign-in?continue={turn.waiting.id}")
    if step is Step.PICK:
        return picker.form(turn.request, turn.client)
    if step is Step.APPROVE:
        return await _approval(turn, grant)
    return await _issue(turn, grant)


async def _sent(turn: Turn, session: Session, grant: Grant, step: Step | Refusal) -> Response:
    """What a form of these pages does."""
    form, waiting = turn.at.form, turn.waiting
    did = form.get("do", "")
    if did == "refuse":
        return await _refuse(turn, grant, Refusal("access_denied", "The user said no."))
    if did == "find" and step is Step.PICK:
        return await picker.found(turn.request, turn.authority, turn.client, session)
    if did == "choose" and step is Step.PICK:
        chosen = await picker.chosen(turn.authority, turn.client, session, form.get("patient", ""))
        if chosen is None:
            fault = Fault("", "You cannot choose this person. Search again.")
            return picker.form(turn.request, turn.client, errors=(fault,))
        await turn.authority.requests.choose(waiting.id, session, chosen)
        return turn.to(turn.here)
    if did == "approve" and step is Step.APPROVE:
        kept = narrowed(waiting.asked.scope, form, categories_of(turn.authority.pack))
        if not set(kept) - CONTEXT:
            fault = Fault("scopes", "Tick what the app may do, or choose “Do not allow”.")
            return await _approval(turn, grant, errors=(fault,))
        return await _issue(turn, replace(grant, scope=" ".join(kept), lasting=lasting(kept)))
    return turn.to(turn.here)


def _offered(turn: Turn, session: Session) -> Grant:
    """The grant that approving everything would make."""
    asked, launch = turn.waiting.asked, turn.waiting.launch
    return Grant(
        id=str(uuid.uuid4()),
        client_id=asked.client_id,
        person=session.person,
        name=session.name,
        session=session.id,
        scope=" ".join(asked.scope),
        until=session.until,
        context=turn.waiting.context,
        organisation=session.organisation,
        role=session.role,
        purpose=session.purpose,
        reason=(launch.reason if launch else "") or session.reason,
        auth_time=session.auth_time,
        amr=session.amr,
        acr=session.acr,
        lasting=lasting(asked.scope),
        made=turn.now,
        used=turn.now,
    )


async def _remembered(turn: Turn, grant: Grant) -> bool:
    """Was the same approved before? Never for public clients: anybody can say that they are one
    (RFC 9700, security digest 7.1 "client impersonation")."""
    if turn.client.kind == "public":
        return False
    before = await turn.authority.grants.approved(grant, turn.now)
    asked = turn.waiting.asked.scope
    return any(not outside(asked, one.scope.split()) for one in before)


async def _issue(turn: Turn, grant: Grant) -> Response:
    """The code, with the grant that it stands for; claims the request and the launch, all or nothing."""
    authority, waiting, asked = turn.authority, turn.waiting, turn.waiting.asked
    if grant.lasting == "offline":
        days = authority.settings.offline_days
        grant = replace(grant, until=turn.now + days * _DAY)
    code = codes.new_code()
    means = codes.Code(
        grant.id, asked.client_id, asked.redirect_uri, asked.challenge, asked.nonce,
        turn.now + smart.CODE_SECONDS,
    )  # fmt: skip

    async def story(within: AsyncClientSession) -> None:
        await authority.requests.answer(waiting.id, turn.now, within)
        if waiting.launch is not None:
            await authority.launches.use(waiting.launch.id, turn.now, within)
        await authority.grants.add(grant, within)
        await authority.codes.add(code, means, within)

    try:
        await authority.mongo.transaction(story)
    except LaunchUsed:
        return await _refuse(turn, grant, Refusal("invalid_request", "launch was used before."))
    told = f"Allowed the app {turn.client.client_id}: {grant.scope} (grant {grant.id})"
    await tell(turn, grant, told)
    issuer = authority.settings.issuer
    return turn.to(answer_uri(asked.redirect_uri, code=code, state=asked.state, iss=issuer))


async def _refuse(turn: Turn, grant: Grant | None, refusal: Refusal) -> Response:
    asked = turn.waiting.asked
    await turn.authority.requests.answer(turn.waiting.id, turn.now)
    if grant is not None:
        told = f"Did not allow the app {turn.client.client_id}: {refusal.error}. {refusal.words}"
        await tell(turn, grant, told, refused=True)
    wrong = Mistaken(refusal.error, refusal.words, asked.redirect_uri, asked.state)
    return refused(wrong, turn.authority.settings.issuer, secure=turn.at.secure)


async def tell(turn: Turn, grant: Grant, said: str, *, refused: bool = False) -> None:
    """Tell the audit trail; raises `Refused` (503) when it cannot be told."""
    authority = turn.authority
    event = accounts.deed(
        smart.APPROVE,
        accounts.acting(grant, authority.settings.issuer),
        authority.settings.issuer,
        authority.words,
        now=datetime.now(UTC),
        address=turn.at.address,
        said=said,
        patient=str(grant.context.get("patient", "")),
        refused=refused,
    )
    await authority.audit.record(event)


async def _approval(turn: Turn, grant: Grant, *, errors: Iterable[Fault] = ()) -> Response:
    authority, waiting, pack = turn.authority, turn.waiting, turn.authority.pack
    patient: Mapping[str, Any] = waiting.patient
    in_view = str(grant.context.get("patient", ""))
    if in_view and not patient and turn.at.session is not None:
        known = await picker.chosen(authority, turn.client, turn.at.session, in_view)
        patient = known or {"id": in_view, "name": "a person whose details you may not see"}
    organisation = pack.organisations.get(grant.organisation)
    return page(
        turn.request,
        "approve.jinja",
        400 if errors else 200,
        errors=tuple(errors),
        also_to=[target] if (target := form_target(waiting.asked.redirect_uri)) else [],
        app=turn.client,
        patient=patient,
        scopes=shown(waiting.asked.scope, categories_of(pack), authority.settings.offline_days),
        notes=[smart.plain(t, 0).title for t in waiting.asked.scope if t in CONTEXT],
        role=pack.roles.get(grant.role, grant.role),
        organisation=organisation.name if organisation else grant.organisation,
        purpose=pack.purposes.get(grant.purpose, grant.purpose),
        reason=grant.reason,
        ticked=turn.at.form if errors else None,
    )


def shown(offered: Iterable[str], table: Categories, days: int) -> list[dict[str, Any]]:
    """The offer as the approval page shows it: what can be unticked, in plain English, with the
    categories that it can be narrowed to. PURE."""
    made = []
    for place, token in enumerate(offered):
        if token in CONTEXT:
            continue
        words = smart.plain(token, days)
        parts = [
            {"place": f"{place}.{n}", "title": f"Only {label}"}
            for n, (_, label) in enumerate(categories(token, table))
        ]
        made.append(
            {"place": str(place), "title": words.title, "detail": words.detail, "parts": parts}
        )
    return made


def categories_of(pack: Pack) -> Categories:
    """What resource types can be narrowed to: SMART's examples, and the pack's classes of documents; a
    class that has a code in several systems is one choice. PURE."""
    made: dict[str, list[tuple[str, str]]] = {
        kind: [(f"{system}|{code}", words) for system, code, words in rows]
        for kind, rows in smart.CATEGORIES.items()
    }
    classes: dict[str, list[str]] = {}
    for (system, code), display in pack.value_set("category").codes.items():
        classes.setdefault(display, []).append(f"{system}|{code}")
    made["DocumentReference"] = [(",".join(values), display) for display, values in classes.items()]
    return made


def _over(request: Request) -> Response:
    return stopped(
        request, 404, "This request has ended",
        "It was answered already, or you took longer than ten minutes. Go back to the app and start "
        "again.",
    )  # fmt: skip
