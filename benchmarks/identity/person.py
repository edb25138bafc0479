"""PURE. One true person of the population, and where people live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from benchmarks.identity.naming import TODAY, Form
from exchange.city.people import TRUSTS


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody lives. `kind`: home, hostel, refuge, site (a pitch), none (no fixed abode)."""

    line: str
    town: str
    postcode: str
    uprn: str
    kind: str = "home"


@dataclass(frozen=True, slots=True)
class Person:
    """One true person. `forms` are the ways of writing the name that are all right (the first one most
    official) with their weights; `former` surnames and `step` (a stepfather's) are used by some."""

    number: int
    community: str
    group: str
    ethnic: str
    sex: str
    born: date
    forms: tuple[Form, ...]
    weights: tuple[float, ...]
    nhs: str
    council: str
    address: Address
    previous: tuple[Address, ...]
    phone: str
    email: str
    story: str  # everyday, early, complex, homeless, victim
    former: tuple[str, ...] = ()
    step: str = ""
    slices: frozenset[str] = frozenset()
    sealed: int | None = None  # the person number of the identity on the other side of the seal
    after: bool = False  # on the newer side of the seal
    label: str = ""  # of the pack: ADOPTION, GRA
    pupil: int | None = None  # whose UPN is still used, when not the person's own …
    pupil_council: str = ""  # … and the council that gave it
    spouse_or_kin: tuple[int, ...] = ()

    @property
    def age(self) -> int:
        """Whole years on the city's day."""
        before = (TODAY.month, TODAY.day) < (self.born.month, self.born.day)
        return TODAY.year - self.born.year - before

    @property
    def key(self) -> str:
        """What the truth calls this person."""
        return f"P{self.number:08d}"

    @property
    def trust(self) -> str:
        """The trust its council's residents mostly use."""
        return TRUSTS[self.council]
