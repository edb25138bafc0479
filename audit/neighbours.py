"""What the audit record repository asks of its neighbours, in its own words: whose records are whose.

*Near* is `pix.near.Neighbour`; *far* is the same question over HTTP (`registry.neighbours.FarPeople`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chassis.call import Caller

Asked = tuple[str, ...]
"""`("id", patient_id)` or `("identifier", system, value)`."""


class Who(Protocol):
    """A Patient record and its person."""

    @property
    def record(self) -> str:
        """Id of the record that was asked for."""
        ...

    @property
    def same(self) -> tuple[str, ...]:
        """Ids of all records of the person."""
        ...


class People(Protocol):
    """The identity cross-reference manager, as the audit trail sees it."""

    async def who(
        self, asked: Sequence[Asked], viewer: Caller | None = None
    ) -> Mapping[Asked, Who]:
        """Who each of these is, as far as this viewer may know; nobody is left out."""
        ...
