"""A practitioner: the row, and what follows from it on a given day. PURE."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from affinity.pack import Pack

_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,63}")
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Appointment:
    """One role in one organisation (codes of the affinity pack), from one day and, when it says so,
    to another; both days count."""

    role: str
    organisation: str
    starts: date
    ends: date | None = None

    def on(self, day: date) -> bool:
        """Is it held on this day?"""
        return self.starts <= day and (self.ends is None or day <= self.ends)

    @property
    def over(self) -> float | None:
        """The moment (epoch seconds) at which it is over; None when no end is known."""
        if self.ends is None:
            return None
        return datetime.combine(self.ends, time(0), UTC).timestamp() + 86_400


@dataclass(frozen=True, slots=True)
class Password:
    """What is kept of a password: its hash. One that somebody else made (`once`) opens nothing but the
    page that replaces it, until `until` (epoch seconds)."""

    hash: str
    set: float
    once: bool = False
    until: float | None = None

    def usable(self, now: float) -> bool:
        """May it still be used?"""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential: its id (base64url), public key and counter, and what its owner calls it."""

    id: str
    key: bytes
    count: int
    name: str
    made: float
    used: float | None
    transports: tuple[str, ...] = ()
    synced: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signs in. `id` is the subject of tokens and the id of the Practitioner resource;
    `professional_id` is a registration (NMC, GMC, collar number …) as the register writes it."""

    id: str
    username: str
    given: str
    family: str
    prefix: str = ""
    professional_id: str = ""
    appointments: tuple[Appointment, ...] = ()
    active: bool = True
    password: Password | None = None
    coded: bool = False  # signs in with time-based codes
    recovery: int = 0  # recovery codes that are left
    passkeys: tuple[Passkey, ...] = ()
    handle: bytes = b""  # what authenticators know the person by; says nothing about them
    created: float = 0.0
    changed: float = 0.0

    @property
    def name(self) -> str:
        """As pages and tokens show it."""
        return " ".join(part for part in (self.prefix, self.given, self.family) if part)

    @property
    def second_factor(self) -> bool:
        """Is there something beside the password?"""
        return self.coded or bool(self.passkeys)

    def on(self, day: date) -> tuple[Appointment, ...]:
        """The appointments that are held on this day."""
        return tuple(a for a in self.appointments if a.on(day))


def username_key(username: str) -> str:
    """What makes two usernames the same: neither case nor width of letters, nor blanks around them."""
    return unicodedata.normalize("NFKC", username).strip().casefold()


def faults(person: Person, pack: Pack) -> list[str]:
    """Everything that is wrong with a new or changed person, each in a sentence."""
    found: list[str] = []
    if not _USERNAME.fullmatch(username_key(person.username)):
        found.append(
            "A username is 2 to 64 letters, digits, dots, dashes, underscores, plus or at signs, and "
            "begins with a letter or a digit."
        )
    for words, name in (("given name", person.given), ("family name", person.family)):
        if not name.strip():
            found.append(f"The {words} is missing.")
    for name in (person.given, person.family, person.prefix, person.professional_id):
        if len(name) > _LONGEST_NAME or not name.isprintable():
            found.append("Names and numbers are one line of at most 100 characters.")
            break
    for appointment in person.appointments:
        found += appointment_faults(appointment, pack)
    return found


def appointment_faults(appointment: Appointment, pack: Pack) -> list[str]:
    """Everything that is wrong with an appointment."""
    found = []
    if appointment.role not in pack.roles:
        found.append(f"There is no role {appointment.role!r}. {_known(pack.roles)}")
    elif appointment.role not in pack.choices:
        found.append(f"Nobody can sign in as {appointment.role} ({pack.roles[appointment.role]}).")
    if appointment.organisation not in pack.organisations:
        found.append(
            f"There is no organisation {appointment.organisation!r} in the pack {pack.id}; its codes "
            "are in organisations.csv."
        )
    if appointment.ends is not None and appointment.ends < appointment.starts:
        found.append("A role cannot end before it begins.")
    return found


def needs_second_factor(
    held: Iterable[Appointment], everyone: bool, roles: Collection[str]
) -> bool:
    """Must somebody with these appointments have more than a password?"""
    return everyone or any(appointment.role in roles for appointment in held)


def _known(codes: Iterable[str]) -> str:
    return f"There are {', '.join(sorted(codes))}."
