"""The last step: as whom and for what somebody signs in, and the session that comes of it.

Roles come from the person's appointments of today, purposes from the pack (`role_purposes.csv`), with a
reason in words where the row asks for one. Nothing that a form posts back goes beyond them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from affinity.choices import Choice
from auth.authority import Authority
from auth.pages import Fault, browsing, page, see_other, stopped
from auth.people import trail
from auth.people.attempts import Attempt
from auth.people.continuing import Continuing
from auth.people.person import Appointment, Person
from auth.people.sessions import Session
from auth.people.sign_in import ACCOUNT, back, gone, targets, under_way
from standards.sign_in import LOGIN, LOGOUT

LEAST_REASON, LONGEST_REASON = 10, 500


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen: all of it is the person's, today."""

    appointment: Appointment
    choice: Choice
    reason: str


async def choose_role(request: Request, authority: Authority) -> Response:
    """Choose role and purpose at sign-in. `as` in the query is the role that was chosen."""
    found = await under_way(request, authority, "role")
    if isinstance(found, Response):
        return found
    attempt, person = found
    waiting = await authority.reception.waiting.get(attempt.continuing)
    if attempt.continuing and waiting is None:
        return gone(request)
    held = await _held(authority, person, attempt.upstream)
    answer = _chosen(request, authority, held, waiting, "/auth/sign-in/role")
    if isinstance(answer, Response):
        return answer
    if not await authority.reception.attempts.finish(browsing(request).visit):
        return gone(request)
    return await _signed_in(request, authority, person, attempt, answer)


async def another_role(request: Request, authority: Authority) -> Response:
    """Another role or purpose for somebody who is signed in: another session, the same proof."""
    session = browsing(request).session
    person = await authority.reception.people.get(session.person) if session else None
    if session is None or person is None or not person.active:
        return see_other("/auth/sign-in", secure=browsing(request).secure)
    held = await _held(authority, person, session.upstream)
    answer = _chosen(request, authority, held, None, "/auth/account/role")
    if isinstance(answer, Response):
        return answer
    words = f"Signed in for another role or purpose ({', '.join(session.amr)})."
    made, cookie = await _open(
        request, authority, person, answer,
        amr=session.amr, acr=session.acr, auth_time=session.auth_time, upstream=session.upstream,
    )  # fmt: skip
    await _told(request, authority, made, words)
    await authority.sessions.end(session.id)
    return _given(request, authority, cookie, "")


async def _held(authority: Authority, person: Person, upstream: str) -> tuple[Appointment, ...]:
    """What the person may act as: what they hold today, and where another provider says in which role
    they came from there, nothing else."""
    held = authority.reception.appointments(person, authority.clock())
    pairs = await authority.federation.journeys.pairs(upstream) if upstream else None
    if pairs is None:
        return held
    return tuple(a for a in held if (a.role, a.organisation) in pairs)


def _chosen(
    request: Request,
    authority: Authority,
    held: tuple[Appointment, ...],
    waiting: Continuing | None,
    where: str,
) -> Response | Chosen:
    """What was chosen, or the page that asks for it."""
    desk, at = authority.reception, browsing(request)
    if not held:
        return stopped(
            request, 403, "You have no role at present",
            "You are known here, but no role of yours is valid today. Ask the people who run the "
            "service for your organisation.",
        )  # fmt: skip
    given: Mapping[str, str] = at.form if request.method == "POST" else request.query_params
    errors: tuple[Fault, ...] = ()
    named = {code_of(a): a for a in held}
    appointment = held[0] if len(held) == 1 else named.get(given.get("as", ""))
    if appointment is None:
        if "next" in given:
            errors = (Fault("as", "Choose the role that you work in now."),)
        shown = [
            {
                "value": code,
                "text": desk.pack.roles[a.role],
                "at": desk.organisation(a.organisation),
            }
            for code, a in named.items()
        ]
        return page(
            request, "role.jinja", 400 if errors else 200,
            errors=errors, also_to=targets(waiting), roles=shown, where=where,
        )  # fmt: skip
    if request.method == "POST":
        read = read_choice(at.form, appointment, desk.choices(appointment.role))
        if isinstance(read, Chosen):
            return read
        errors = tuple(read)
    return _purpose_page(
        request, authority, appointment, waiting, where, errors, several=len(held) > 1
    )


def read_choice(
    given: Mapping[str, str], appointment: Appointment, choices: tuple[Choice, ...]
) -> Chosen | list[Fault]:
    """The purpose and reason of a form, or what is wrong with them. PURE."""
    choice = next((c for c in choices if c.purpose == given.get("purpose")), None)
    if choice is None:
        return [Fault(f"purpose-{choices[0].purpose}", "Choose what you need the records for.")]
    if not choice.reason:
        return Chosen(appointment, choice, "")
    reason = " ".join(given.get("reason", "").split())
    if len(reason) < LEAST_REASON:
        return [Fault("reason", f"Say why, in at least {LEAST_REASON} characters.")]
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        return [Fault("reason", f"Say why in at most {LONGEST_REASON} characters.")]
    return Chosen(appointment, choice, reason)


def code_of(appointment: Appointment) -> str:
    """How a form names an appointment."""
    return f"{appointment.role}@{appointment.organisation}"


def _purpose_page(
    request: Request,
    authority: Authority,
    appointment: Appointment,
    waiting: Continuing | None,
    where: str,
    errors: tuple[Fault, ...],
    *,
    several: bool,
) -> Response:
    desk, form = authority.reception, browsing(request).form
    choices = desk.choices(appointment.role)
    suggested = waiting.purpose if waiting else ""
    alone = choices[0].purpose if len(choices) == 1 else ""
    chosen = form.get("purpose") or suggested or alone
    shown = [
        {
            "value": c.purpose,
            "text": desk.pack.purposes[c.purpose],
            "reason": c.reason,
            "minutes": c.minutes,
        }
        for c in choices
    ]
    return page(
        request, "purpose.jinja", 400 if errors else 200, errors=errors, also_to=targets(waiting),
        reason=form.get("reason") or (waiting.reason if waiting else ""),
        role=desk.pack.roles[appointment.role], organisation=desk.organisation(appointment.organisation),
        reasoned=[desk.pack.purposes[c.purpose] for c in choices if c.reason],
        purposes=shown, chosen=chosen, named=code_of(appointment), where=where, several=several,
    )  # fmt: skip


async def _signed_in(
    request: Request, authority: Authority, person: Person, attempt: Attempt, chosen: Chosen
) -> Response:
    before = browsing(request).session
    now, old = int(attempt.at), before.auth_time if before else 0
    proved = {
        "amr": attempt.amr, "acr": attempt.strength, "auth_time": max(now, old + 1),
        "upstream": attempt.upstream,
    }  # fmt: skip
    made: tuple[Session, str] | None = None
    if before is not None and _same(before, person, chosen):
        made = await authority.sessions.renew(before.id, **proved)  # type: ignore[arg-type]
    if made is None:
        made = await _open(request, authority, person, chosen, **proved)  # type: ignore[arg-type]
        if before is not None:
            words = "Signed out: signed in anew in the same browser."
            await trail.record(request, authority, LOGOUT, words, session=before)
            await authority.sessions.end(before.id)
    session, cookie = made
    if attempt.upstream and await authority.federation.journeys.over(attempt.upstream):
        # The provider ended it between the proof and the choice of a role.
        await authority.sessions.end(session.id)
        return gone(request)
    await _told(request, authority, session, f"Signed in ({', '.join(attempt.amr)}).")
    return _given(request, authority, cookie, attempt.continuing)


async def _told(request: Request, authority: Authority, session: Session, words: str) -> None:
    """Record the sign-in; one that cannot be recorded has not happened."""
    try:
        await trail.record(request, authority, LOGIN, words, session=session)
    except BaseException:
        await authority.sessions.end(session.id)
        raise


async def _open(
    request: Request,
    authority: Authority,
    person: Person,
    chosen: Chosen,
    *,
    amr: tuple[str, ...],
    acr: str,
    auth_time: int,
    upstream: str = "",
) -> tuple[Session, str]:
    ends = [
        moment
        for moment in (
            chosen.appointment.over,
            authority.clock() + chosen.choice.minutes * 60 if chosen.choice.minutes else None,
        )
        if moment is not None
    ]
    agent = request.headers.get("user-agent", "")
    return await authority.sessions.open(
        person=person.id,
        name=person.name,
        organisation=chosen.appointment.organisation,
        role=chosen.appointment.role,
        purpose=chosen.choice.purpose,
        reason=chosen.reason,
        amr=amr,
        acr=acr,
        auth_time=auth_time,
        until=min(ends) if ends else None,
        browser="".join(c for c in agent if c.isprintable()),
        address=browsing(request).address,
        upstream=upstream,
    )


def _same(session: Session, person: Person, chosen: Chosen) -> bool:
    return (session.person, session.role, session.organisation, session.purpose, session.reason) == (
        person.id, chosen.appointment.role, chosen.appointment.organisation, chosen.choice.purpose,
        chosen.reason,
    )  # fmt: skip


def _given(request: Request, authority: Authority, cookie: str, continuing: str) -> Response:
    browsing(request).renew()
    answer = (
        back(authority, continuing)
        if continuing
        else see_other(ACCOUNT, secure=browsing(request).secure)
    )
    authority.sessions.give(answer, cookie)
    return answer
