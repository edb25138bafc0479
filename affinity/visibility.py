"""Who may be shown which identifier, as a community agreed it: one row opens one domain. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ANY = "*"
NONE = "-"  # the token says no role, no purpose, no organisation
MEMBER = "{member}"  # the code of a family's member: `{member}-CSC` is that council's service


@dataclass(frozen=True, slots=True)
class Opening:
    """A domain is open to callers that fit all three columns. An organisation fits by its code or by
    its kind in organisations.csv (trust, practice, council …)."""

    domain: str
    roles: tuple[str, ...]
    purposes: tuple[str, ...]
    organisations: tuple[str, ...]
    why: str


def read(
    rows: Iterable[Mapping[str, str]],
    *,
    domains: Iterable[str],
    roles: Iterable[str],
    purposes: Iterable[str],
) -> tuple[Opening, ...]:
    """The rows of `identifier_visibility.csv`. Raises `ValueError`, in words that name the row, for a
    domain, role or purpose that the pack does not have."""
    known = {"domain": set(domains), "role": {*roles, ANY, NONE}, "purpose": {*purposes, ANY, NONE}}
    made = []
    for number, row in enumerate(rows, start=2):
        opening = Opening(
            row["domain"],
            _parts(row["roles"]),
            _parts(row["purposes"]),
            _parts(row["organisations"]),
            row["why"],
        )
        said = {"domain": (opening.domain,), "role": opening.roles, "purpose": opening.purposes}
        for kind, codes in said.items():
            for strange in (code for code in codes if code not in known[kind]):
                raise ValueError(
                    f"identifier_visibility.csv line {number}: the pack has no {kind} {strange!r}"
                )
        made.append(opening)
    return tuple(made)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("|") if part)
