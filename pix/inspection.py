"""What a steward may look at, and how what they name is found.

A name is `Patient/id` or `TL-…`, relative or under our own base, with `/_history/version` where the
steward guards against what changed since. A record's version is its resource's; a person's is a digest
of the versions of its records, so that it changes with whatever changes any of them.

What a steward may not know of does not exist: records of domains that are closed to them (decision
0012), and sealed identities for which they do not hold both keys (decision 0014).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.call import Call
from governance.identifiers import Sight
from governance.stewards import Duty, Stewards
from pix.operations import Asked
from pix.people import People
from pix.profiles import opened
from pix.record import Record
from pix.sight import Sights
from standards.outcome import (
    CONFLICT,
    FORBIDDEN,
    GONE,
    INVALID,
    NOT_FOUND,
    ErrorKind,
    Issue,
    Refused,
)
from standards.words import shown

Kind = Literal["record", "person"]
_NAME = re.compile(
    r"(?:Patient/)?(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)
_PERSON = re.compile(r"TL-[0-9A-HJKMNP-TV-Z]{12}")


@dataclass(frozen=True, slots=True)
class Named:
    """A record or a person as a request names it; `version` is "" where it is not guarded."""

    id: str
    version: str
    where: str


@dataclass(frozen=True, slots=True)
class Steward:
    """Who looks: under whose name it is kept, for which role and organisation, what they may be shown,
    and the sealed records that they hold both keys to."""

    by: str
    role: str
    organisation: str
    sight: Sight
    keys: frozenset[str]
    now: datetime

    def sees(self, record: Record, sealed: bool) -> bool:
        """Whether this steward may know of a record."""
        return self.sight.tells_of(record.system) and (not sealed or record.id in self.keys)


class Inspection:
    """The way from names to what they name, for stewards."""

    def __init__(self, people: People, sights: Sights, stewards: Stewards) -> None:
        self.people, self.sights, self.stewards = people, sights, stewards

    async def enter(self, call: Call, duty: Duty) -> Steward:
        """The steward who calls. Raises `Refused` (403) when their role does not have this duty."""
        caller = call.caller
        words = self.stewards.refusal(caller.role, duty)
        if words:
            raise Refused(Issue(FORBIDDEN, words))
        by = caller.subject or caller.client_id
        keys: frozenset[str] = frozenset()
        if self.stewards.may(caller.role, "guard"):
            keys = await self._keys(by, call.now)
        sight = await self.sights.of(caller)
        return Steward(by, caller.role, caller.organisation, sight, keys, call.now)

    async def _keys(self, by: str, now: datetime) -> frozenset[str]:
        where = {"type": "unseal", "state": "granted", "approvals.by": by, "until": {"$gt": now}}
        rows = await self.people.reviews.many(where, {"records": 1})
        return frozenset(r for row in rows for r in row["records"])

    def sealed(self, record: Record) -> bool:
        """Whether a record's identity is sealed."""
        return record.state != "removed" and bool(opened(self.people.says(record.own)).sealed)

    def sees(self, steward: Steward, record: Record) -> bool:
        """Whether a steward may know of a record."""
        return steward.sees(record, self.sealed(record))

    # -- finding ------------------------------------------------------------------------------------

    async def record(self, named: Named, steward: Steward) -> Record:
        """The record of this name, active or merged. Raises `Refused`: 404, 410, or 409 for another
        version than the named one."""
        return self.judged(await self.people.record(named.id), named, steward)

    def judged(self, record: Record | None, named: Named, steward: Steward) -> Record:
        """The record that was found under a name, if this steward may know of it."""
        if record is None or not self.sees(steward, record):
            raise Refused(_issue(NOT_FOUND, "No Patient has this logical id here.", named.where))
        if record.state == "removed":
            words = "This Patient was removed by its source; nothing can be decided about it."
            raise Refused(_issue(GONE, words, named.where))
        if named.version and named.version != str(record.v):
            raise Refused(_stale(named, str(record.v)))
        return record

    async def person(self, named: Named, steward: Steward) -> tuple[str, list[Record]]:
        """The number that a person's number leads to now, and all its records that this steward may know
        of. Raises `Refused`: 404, or 409 for another version than the named one."""
        number = await self.current(named.id)
        rows = await self.people.records.many({"person": number, "state": {"$ne": "removed"}})
        return number, self.gathered([Record.of(r) for r in rows], named, steward)

    def gathered(self, records: Sequence[Record], named: Named, steward: Steward) -> list[Record]:
        """The records of a person that were found under a name, if this steward may know of any."""
        known = [r for r in records if self.sees(steward, r)]
        if not known:
            raise Refused(_issue(NOT_FOUND, "Nobody has this person number.", named.where))
        if named.version and named.version != standing(records):
            raise Refused(_stale(named, standing(records)))
        return sorted(known, key=lambda r: r.id)

    async def current(self, number: str, session: AsyncClientSession | None = None) -> str:
        """Where a person's number leads through redirects; itself when nowhere."""
        seen: set[str] = set()
        while number not in seen:
            seen.add(number)
            card = await self.people.persons.one({"_id": number}, {"redirect": 1}, session)
            if card is None or not card["redirect"]:
                return number
            number = card["redirect"]
        return number

    async def standings(self, persons: Iterable[str]) -> Mapping[str, str]:
        """The version of each of these persons."""
        where = {"person": {"$in": sorted(set(persons))}, "state": {"$ne": "removed"}}
        rows = await self.people.records.many(where, {"person": 1, "v": 1})
        found: dict[str, list[tuple[str, int]]] = {}
        for row in rows:
            found.setdefault(row["person"], []).append((row["_id"], row["v"]))
        return {person: _digest(pairs) for person, pairs in found.items()}


def standing(records: Iterable[Record]) -> str:
    """The version of a person: what its records and their versions are, in short."""
    return _digest((r.id, r.v) for r in records)


def _digest(pairs: Iterable[tuple[str, int]]) -> str:
    said = "\n".join(f"{id_}:{v}" for id_, v in sorted(pairs))
    return sha256(said.encode()).hexdigest()[:12]


def versioned_record(record: Record) -> str:
    """How answers name a record."""
    return f"Patient/{record.id}/_history/{record.v}"


def versioned_person(number: str, version: str) -> str:
    """How answers name a person."""
    return f"{number}/_history/{version}" if version else number


# -- names ------------------------------------------------------------------------------------------


def named(text: str, where: str, kind: Kind, base: str) -> Named | Issue:
    """What a parameter names, or what is wrong with it."""
    short = text.strip().removeprefix(base + "/")
    if "://" in short or short.startswith("urn:"):
        words = (
            f"{shown(text)} is on another server; only records and persons of {base} can be named."
        )
        return _issue(INVALID, words, where)
    found = _NAME.fullmatch(short)
    person = bool(found and _PERSON.fullmatch(found["id"]))
    if found is None or person != (kind == "person"):
        form = "Patient/id" if kind == "record" else "TL-…, a person's number"
        return _issue(INVALID, f"{where} must be {form}.", where)
    return Named(found["id"], found["version"] or "", where)


def names(
    asked: Asked, kinds: Mapping[str, Kind], base: str
) -> tuple[dict[str, list[Named]], list[Issue]]:
    """Everything that a request names, by parameter, and everything that is wrong with it."""
    made: dict[str, list[Named]] = {}
    issues: list[Issue] = []
    for parameter, kind in kinds.items():
        for text in asked.texts(parameter):
            one = named(text, parameter, kind, base)
            if isinstance(one, Issue):
                issues.append(one)
            else:
                made.setdefault(parameter, []).append(one)
    return made, issues


def _stale(named: Named, now: str) -> Issue:
    words = f"{named.id} is at version {now} now; look at it again before you decide."
    return _issue(CONFLICT, words, named.where)


def _issue(kind: ErrorKind, words: str, where: str) -> Issue:
    return Issue(kind, words, where, xds="")
