"""Registering clients: the administrators' door and dynamic registration, as rows. PURE.

The JSON is that of RFC 7591 and RFC 7592. Who registers a client may not thereby make an administrator:
what `SCOPE` and our own service scope reach is given by the command line only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from standards import balp
from standards.rows import AuditPattern, Needs, Public, Transaction

SCOPE = "clients-admin"
CLIENTS = "/auth/clients"
INVITATIONS = "/auth/invitations"
REGISTER = "/auth/register"

_SUBTYPE = (balp.DCM, "110137", "User Security Attributes Changed")
_INVITED = Public("the invitation (RFC 7591 §1.2 initial access token) is the proof")
_OWN_TOKEN = Public("the registration access token (RFC 7592 §1.2) is the proof")


def _audited(action: Literal["C", "R", "U", "D"]) -> AuditPattern:
    return AuditPattern(
        (balp.DCM, "110113", "Security Alert"), action, (_SUBTYPE,), "110150",
        "AuthzOauthService", None, (), see="security digest 5.12",
    )  # fmt: skip


def _row(code: str, name: str, method: str, path: str, action: Literal["C", "R", "U", "D"],
         words: str = "") -> Transaction:  # fmt: skip
    return Transaction(
        code=code, name=name, service="auth", interaction="internal", resource="",
        routes=((method, path),), scope=Needs("", "", (SCOPE,)), audit=_audited(action),
        see="RFC 7591 §2, §3.2", body="json" if method in ("POST", "PUT") else "none",
        surface="internal", words=words,
    )  # fmt: skip


LIST_CLIENTS = _row("clients-list", "List clients", "GET", CLIENTS, "R")
ADD_CLIENT = _row(
    "clients-add",
    "Register a client",
    "POST",
    CLIENTS,
    "C",
    "A secret is shown in this answer only.",
)
READ_CLIENT = _row("clients-read", "Read a client", "GET", CLIENTS + "/{id}", "R")
CHANGE_CLIENT = _row(
    "clients-change", "Change a client", "PUT", CLIENTS + "/{id}", "U",
    "If-Match is required. Tokens from before end within a second when what they stand on changes.",
)  # fmt: skip
END_CLIENT = _row(
    "clients-end", "End a client", "DELETE", CLIENTS + "/{id}", "D",
    "The client and, within a second, every token it holds. Its id stays taken.",
)  # fmt: skip
RENEW_SECRET = replace(
    _row("clients-secret", "New secret of a client", "POST", CLIENTS + "/{id}/secret", "U",
         "The old secret and the tokens it got end."),
    body="none",
)  # fmt: skip
LIST_INVITATIONS = _row("invitations-list", "List invitations", "GET", INVITATIONS, "R")
INVITE = _row(
    "invitations-add", "Invite to register", "POST", INVITATIONS, "C",
    "Makes an initial access token for dynamic registration, with its limits.",
)  # fmt: skip
END_INVITATION = _row("invitations-end", "End an invitation", "DELETE", INVITATIONS + "/{id}", "D")

REGISTER_CLIENT = replace(
    _row("register", "Register dynamically", "POST", REGISTER, "C"),
    scope=_INVITED, see="RFC 7591 §3",
)  # fmt: skip
READ_REGISTRATION = replace(
    _row("register-read", "Read one's registration", "GET", REGISTER + "/{id}", "R"),
    scope=_OWN_TOKEN, see="RFC 7592 §2.1",
)  # fmt: skip
CHANGE_REGISTRATION = replace(
    _row("register-change", "Change one's registration", "PUT", REGISTER + "/{id}", "U"),
    scope=_OWN_TOKEN, see="RFC 7592 §2.2",
)  # fmt: skip
END_REGISTRATION = replace(
    _row("register-end", "End one's registration", "DELETE", REGISTER + "/{id}", "D"),
    scope=_OWN_TOKEN, see="RFC 7592 §2.3",
)  # fmt: skip

TRANSACTIONS: tuple[Transaction, ...] = (
    LIST_CLIENTS, ADD_CLIENT, READ_CLIENT, CHANGE_CLIENT, END_CLIENT, RENEW_SECRET,
    LIST_INVITATIONS, INVITE, END_INVITATION,
    REGISTER_CLIENT, READ_REGISTRATION, CHANGE_REGISTRATION, END_REGISTRATION,
)  # fmt: skip
