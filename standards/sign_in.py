"""How signing in is audited: user authentication of DICOM's audit vocabulary (security digest 5.12).

BALP has no profile for it. The codes are those of DCM's Audit Event ID and Audit Event Type Code. Pure.
"""

from __future__ import annotations

from standards.balp import DCM, Coding
from standards.rows import AuditPattern

_AUTHENTICATION: Coding = (DCM, "110114", "User Authentication")
_SEE = "DICOM PS3.15 A.5.3.11; security digest 5.12"


def _pattern(code: str, display: str) -> AuditPattern:
    return AuditPattern(
        _AUTHENTICATION, "E", ((DCM, code, display),), "110150", "AuthzOauthService", None, (),
        see=_SEE,
    )  # fmt: skip


LOGIN = _pattern("110122", "Login")
LOGOUT = _pattern("110123", "Logout")
FACTOR = _pattern("110137", "User Security Attributes Changed")
ROLES = AuditPattern(
    (DCM, "110113", "Security Alert"), "E", ((DCM, "110136", "Security Roles Changed"),), "110150",
    "AuthzOauthService", None, (), see=_SEE,
)  # fmt: skip
