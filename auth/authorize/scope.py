"""What of a scope may be granted to an app, and what a person may leave of it. PURE.

An app is given less than it asks for where it asks for more than it may have, and is told so (SMART
App Launch 2.2 "Scopes", security digest 1.9): tokens that cannot be granted are left out, clinical ones
lose letters, a wildcard becomes the types that are allowed. The spelling of the app (v1 or v2) is kept
where it still says the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from governance.scopes import granted, parse

OFFLINE, ONLINE = "offline_access", "online_access"
CONTEXT = frozenset({"launch", "launch/patient", "launch/encounter"})
IDENTITY = frozenset({"openid", "fhirUser", "profile"})
_V1 = ("read", "write", "*")
_OF_PEOPLE = ("patient", "user")

Categories = Mapping[str, Sequence[tuple[str, str]]]
"""For a resource type, the categories that it can be narrowed to: `system|code`, percent-encoded for a
scope's query part, and words for a person."""


def negotiated(asked: Iterable[str], ceiling: Sequence[str]) -> tuple[str, ...]:
    """The tokens to offer of those that were asked for, under the client's ceiling, each once."""
    offered = dict.fromkeys(granted((t for t in asked if _for_apps(t)), ceiling))
    if OFFLINE in offered:
        offered.pop(ONLINE, None)  # the longer life includes the shorter
    return tuple(offered)


def _for_apps(token: str) -> bool:
    scope = parse(token)
    if scope is None:  # what has a slash and cannot be understood is no word of ours
        return "/" not in token.removeprefix("launch/")
    return scope.level in _OF_PEOPLE


def needs_patient(tokens: Iterable[str]) -> bool:
    """Do these scopes need one patient in view (SMART: any `patient/` scope, or `launch/patient`)?"""
    return any(t == "launch/patient" or t.startswith("patient/") for t in tokens)


def lasting(tokens: Iterable[str]) -> str:
    """For how long: "offline", "online" (as long as the sign-in), or "" (one access token)."""
    held = set(tokens)
    return "offline" if OFFLINE in held else "online" if ONLINE in held else ""


def narrowed(offered: Sequence[str], kept: Iterable[str], table: Categories) -> tuple[str, ...]:
    """What a person left of an offer. `kept` are places in it: "3" for the whole of the fourth token,
    "3.1" for its second category. Whatever else is in it counts for nothing, so that nothing can be
    added. Context scopes stay: they only say what is in view."""
    made: list[str] = []
    said = set(kept)
    for place, token in enumerate(offered):
        parts = categories(token, table)
        chosen = [part for n, (part, _) in enumerate(parts) if f"{place}.{n}" in said]
        if token in CONTEXT or str(place) in said:
            made.append(token)
        else:
            made += chosen
    if "fhirUser" in made and "openid" not in made:
        made.remove("fhirUser")  # there is no id_token to say it in
    return tuple(dict.fromkeys(made))


def categories(token: str, table: Categories) -> tuple[tuple[str, str], ...]:
    """The narrower tokens that a person may choose in place of this one, with their words. Only a
    whole type in v2 spelling can be narrowed: v1 has no query part."""
    scope = parse(token)
    if scope is None or scope.query or _is_v1(token):
        return ()
    return tuple(
        (f"{token}?category={code}", words) for code, words in table.get(scope.resource, ())
    )


def _is_v1(token: str) -> bool:
    return token.partition("?")[0].rpartition(".")[2] in _V1
