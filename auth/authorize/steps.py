"""What a waiting request needs next. PURE.

    nobody signed in, or not freshly enough ──► SIGN_IN
    a patient must be in view and is not    ──► PICK
    not approved before                     ──► APPROVE
    otherwise                               ──► ISSUE

An app that asked with `prompt=none` is told instead what would have been needed (OpenID Connect Core
§3.1.2.6, security digest 1.21).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from auth.authorize.waiting import Waiting
from auth.people.sessions import Session


class Step(Enum):
    """The next page, or none."""

    SIGN_IN = "sign in"
    SIGN_IN_AGAIN = "sign in again"
    PICK = "choose a patient"
    APPROVE = "approve"
    ISSUE = "issue a code"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer that ends the request: RFC 6749's error, and words."""

    error: str
    words: str


class Limits(Protocol):
    """What an app is limited to; `auth.client.Client` has it."""

    @property
    def purposes(self) -> Sequence[str]:
        """The purposes of use it serves; none: all."""
        ...

    @property
    def organisations(self) -> Sequence[str]:
        """The organisations that its users may act for; none: all."""
        ...


_UNSEEN = {
    Step.SIGN_IN: Refusal("login_required", "Nobody is signed in."),
    Step.SIGN_IN_AGAIN: Refusal("login_required", "The sign-in is older than the app accepts."),
    Step.PICK: Refusal("interaction_required", "A patient has to be chosen."),
    Step.APPROVE: Refusal("consent_required", "The app has to be approved."),
}


def next_step(
    waiting: Waiting, session: Session | None, app: Limits, now: float, *, remembered: bool
) -> Step | Refusal:
    """The next step of this request, or the refusal that ends it. `remembered` says that the same was
    approved before and may be taken as approved."""
    step = _next(waiting, session, app, now, remembered=remembered)
    if "none" in waiting.asked.prompt and isinstance(step, Step):
        return _UNSEEN.get(step, step)
    return step


def _next(
    waiting: Waiting, session: Session | None, app: Limits, now: float, *, remembered: bool
) -> Step | Refusal:
    if session is None:
        return Step.SIGN_IN
    fresh = waiting.stale is not None and waiting.stale != (session.id, session.auth_time)
    if not fresh and _too_old(waiting, session, now):
        return Step.SIGN_IN_AGAIN
    launch = waiting.launch
    if launch is not None and launch.person != session.person:
        return Refusal("invalid_request", "The launch belongs to another user.")
    if launch is not None and launch.purpose not in ("", session.purpose):
        if not fresh:
            return Step.SIGN_IN_AGAIN  # once, so that the user can choose the launch's purpose
        return Refusal(
            "access_denied", "The user is signed in for another purpose than the launch's."
        )
    if app.purposes and session.purpose not in app.purposes:
        return Refusal("access_denied", "This app is not for the purpose that the user works for.")
    if app.organisations and session.organisation not in app.organisations:
        return Refusal("access_denied", "This app is not for the user's organisation.")
    if waiting.asked.wants_patient and "patient" not in waiting.context:
        return Step.PICK
    if remembered and "consent" not in waiting.asked.prompt:
        return Step.ISSUE
    return Step.APPROVE


def _too_old(waiting: Waiting, session: Session, now: float) -> bool:
    if waiting.asked.prompt & {"login", "select_account"}:
        return True
    age = waiting.asked.max_age
    return age is not None and (age == 0 or now - session.auth_time > age)
