"""The pages of people, path by path.

/auth/sign-in            sign_in.py         /auth/account             account.py
/auth/sign-in/second     sign_in.py         /auth/account/password    account.py
/auth/sign-in/password   first_password.py  /auth/account/app         account.py, enrolment.py
/auth/sign-in/app        enrolment.py       /auth/account/passkey     account.py, passkey_pages.py
/auth/sign-in/role       roles.py           /auth/account/role        roles.py
/auth/sign-in/passkey    passkey_pages.py   /auth/account/sessions    account.py
/auth/sign-out           sign_out.py        /auth/assets              auth/pages/shelf.py
"""

from __future__ import annotations

from starlette.routing import Route

from auth.authority import Authority
from auth.pages import door, shelf
from auth.people import account, enrolment, first_password, passkey_pages, roles, sign_in, sign_out
from auth.people.account import own

_POST = ("POST",)


def people_routes(authority: Authority) -> tuple[Route, ...]:
    """Every route of signing in, of one's account, and of what pages are dressed with."""
    return (
        door("/auth/sign-in", sign_in.sign_in, authority),
        door("/auth/sign-in/second", sign_in.second, authority),
        door("/auth/sign-in/password", first_password.first_password, authority),
        door("/auth/sign-in/app", enrolment.enrol_at_sign_in, authority),
        door("/auth/sign-in/role", roles.choose_role, authority),
        door("/auth/sign-in/passkey/options", passkey_pages.options, authority, methods=_POST),
        door("/auth/sign-in/passkey", passkey_pages.sign_in_with_passkey, authority, methods=_POST),
        door("/auth/sign-in/second/passkey", passkey_pages.second_with_passkey, authority, methods=_POST),
        door("/auth/account", own(account.account), authority, methods=("GET",)),
        door("/auth/account/password", own(account.change_password), authority),
        door("/auth/account/app", own(account.app, recent=True), authority),
        door("/auth/account/app/remove", own(account.stop_app, recent=True), authority, methods=_POST),
        door("/auth/account/recovery", own(account.recovery, recent=True), authority, methods=_POST),
        door(
            "/auth/account/passkey/options", own(account.passkey_options, recent=True), authority,
            methods=_POST,
        ),
        door("/auth/account/passkey", own(account.add_passkey, recent=True), authority, methods=_POST),
        door(
            "/auth/account/passkey/remove", own(account.remove_passkey, recent=True), authority,
            methods=_POST,
        ),
        door("/auth/account/role", roles.another_role, authority),
        door("/auth/account/sessions", own(account.end_sessions), authority, methods=_POST),
        door("/auth/sign-out", sign_out.sign_out, authority, csrf=False),
        shelf.ROUTE,
    )  # fmt: skip
