"""What a person may sign in for: the purposes that go with a role, as a community agreed it. PURE."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """A purpose that a role may be used for: whether a reason has to be told, and for how many minutes
    at most somebody may be signed in for it (None: as long as for any other)."""

    purpose: str
    reason: bool
    minutes: int | None


def read(
    rows: Iterable[Mapping[str, str]], *, roles: Collection[str], purposes: Collection[str]
) -> Mapping[str, tuple[Choice, ...]]:
    """The rows of `role_purposes.csv` by role, in their order. Raises `ValueError`, in words that name
    the row, for a code that the pack does not have or a value that is none."""
    made: dict[str, tuple[Choice, ...]] = {}
    for number, row in enumerate(rows, start=2):
        line, role, purpose = f"role_purposes.csv line {number}", row["role"], row["purpose"]
        if role not in roles:
            raise ValueError(f"{line}: the pack has no role {role!r}")
        if purpose not in purposes:
            raise ValueError(f"{line}: the pack has no purpose {purpose!r}")
        if row["reason"] not in ("yes", "no"):
            raise ValueError(f"{line}: reason is yes or no, not {row['reason']!r}")
        if row["minutes"] and not row["minutes"].isdecimal():
            raise ValueError(f"{line}: minutes is a number or empty, not {row['minutes']!r}")
        minutes = int(row["minutes"]) if row["minutes"] else None
        made[role] = (*made.get(role, ()), Choice(purpose, row["reason"] == "yes", minutes))
    return made
