"""What was there when: the versions of one resource, and those of all of a person's (FHIR R4
http.html#history).

`_at` asks which versions stood at a time, so that *what was current in March* is one query:

    GET /DocumentReference/_history?patient=Patient/x&status=current&_at=2026-03

A version stands from its own `at` until that of the next one. A moment (`_at=2026-03-31T12:00:00Z`)
gives one version of each resource at most; a longer time every version that stood within it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import orjson

from chassis import search
from chassis.call import Answer, Call, instant
from chassis.cursor import LIFE, Place, cursor_key, seal, unseal
from chassis.mongo import Doc
from registry.documents import DATABASE, Documents, visible
from registry.neighbours import Asked, People
from registry.read import Read
from registry.shown import FIELD, Show
from standards import dates, subset
from standards.bundle import asking
from standards.dates import Span
from standards.index import reference
from standards.mhd import DOCUMENT_PARAMETERS, LIST_PARAMETERS
from standards.outcome import INVALID, REQUIRED_PARAMETER, Issue, Refused
from standards.search import CURSOR

MOST = 1000  # versions in one answer
_SHOWN = {"v": 1, "at": 1, "b": 1, "status": 1, "of": 1, FIELD: 1}
_LIGHT = {"v": 1, "at": 1, "status": 1, "of": 1}


@dataclass(frozen=True, slots=True)
class Version:
    """One version: of which resource, its number, from when it stood, and until when (None: it does)."""

    of: str
    number: int
    at: datetime
    until: datetime | None
    status: str

    @property
    def place(self) -> tuple[int, str, int]:
        """Where it stands in a history; the newest comes first."""
        return (int(self.at.timestamp() * 1000), self.of, self.number)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a history is asked for."""

    at: Span | None = None
    since: datetime | None = None
    status: frozenset[str] = frozenset()
    count: int = MOST

    def takes(self, version: Version) -> bool:
        """Whether this version belongs into the answer."""
        if self.status and version.status not in self.status:
            return False
        if self.since is not None and version.at < self.since:
            return False
        if self.at is None:
            return True
        return version.at < self.at.hi and (version.until is None or version.until > self.at.lo)


class Versions:
    """The stories of history over the store."""

    def __init__(self, store: Documents, people: People, read: Read) -> None:
        self.store, self.people, self.read = store, people, read

    async def of_one(self, call: Call) -> Answer:
        """All versions of one resource, newest first; the `_count` newest when that is given.

        Raises `Refused`: 404 when there is none within the permit, 400 for a parameter that is no date.
        """
        wanted = _wanted(call.query)
        now = await self.read.covered(call)
        earlier = await self._earlier(call, [now["_id"]])
        found = _ordered(wanted, _versions([now], earlier))
        link = f"{call.base}/{call.row.resource}/{now['_id']}/_history"
        return await self._page(call, wanted, found, link)

    async def of_person(self, call: Call) -> Answer:
        """The versions of all of a person's documents or lists that the token reaches.

        Raises `Refused` (400) when no patient is named, or for a parameter that is no date.
        """
        pairs = await self._resumed(call)
        wanted = _wanted(pairs)
        records = await self._records(call, pairs)
        kind = call.row.resource
        parameters = DOCUMENT_PARAMETERS if kind == "DocumentReference" else LIST_PARAMETERS
        where = [{"subject": {"$in": records}}, visible(call.caller)]
        if call.permit.narrow:
            where.append(search.narrow(call.permit, parameters))
        now = await self.store.current(kind).many(search.all_of(where), _LIGHT)
        ids = [row["_id"] for row in now]
        earlier = await self._earlier(call, ids)
        found = _ordered(wanted, _versions(now, earlier))
        call.account.data += sorted({f"{kind}/{v.of}" for v in found[: wanted.count]})
        link = asking(f"{call.base}/{kind}/_history", pairs)
        return await self._page(call, wanted, found, link, pairs)

    async def _earlier(self, call: Call, ids: Sequence[str]) -> list[Doc]:
        """The earlier versions of these. They are not indexed, so that a scope with a query does not
        reach them: what they said is not what was asked for."""
        kind = call.row.resource
        if call.permit.narrow and ids:
            parameters = DOCUMENT_PARAMETERS if kind == "DocumentReference" else LIST_PARAMETERS
            within = search.narrow(call.permit.unasked, parameters)
            where = search.all_of([{"_id": {"$in": list(ids)}}, within])
            ids = [row["_id"] for row in await self.store.current(kind).many(where, {"_id": 1})]
        return (
            await self.store.history(kind).many({"of": {"$in": list(ids)}}, _LIGHT) if ids else []
        )

    async def _records(self, call: Call, pairs: Sequence[tuple[str, str]]) -> list[str]:
        asked = [q for name, value in pairs if (q := _question(call.base, name, value))]
        if not asked:
            words = "Name the patient: patient=Patient/id or patient.identifier=system|value."
            raise Refused(Issue(REQUIRED_PARAMETER, words, "patient"))
        known = await self.people.who(asked, call.caller)
        found: set[str] | None = None
        for question in asked:
            who = known.get(question)
            records = {who.record, *who.same} if who is not None else set()
            found = records if found is None else found & records
            if who is not None:
                call.account.patients.append(f"Patient/{who.record}")
        return sorted(found or ())

    async def _resumed(self, call: Call) -> tuple[tuple[str, str], ...]:
        """The query, or the one that a cursor continues."""
        cursors = [v for k, v in call.query if k == CURSOR]
        if not cursors:
            return (*call.query, *(call.subset.pairs if call.subset is not None else ()))
        if len(call.query) > 1 or call.subset is not None:
            words = "A _cursor already carries its whole search; send it alone."
            raise Refused(Issue(INVALID, words, CURSOR))
        spot = await self._spot(call, cursors[0])
        said = [p for p in spot.pairs if p[0] in subset.NAMES]
        call.subset, _ = subset.wanted(call.row.resource, said, searching=False)
        return (*spot.pairs, (CURSOR, cursors[0]))

    async def _spot(self, call: Call, cursor: str) -> Place:
        key = await cursor_key(self.store.mongo, DATABASE)
        return unseal(
            key, _row(call), cursor,
            client=call.caller.owner, policy=call.permit.version, now=call.now,
        )  # fmt: skip

    async def _page(
        self, call: Call, wanted: Wanted, found: Sequence[Version], link: str,
        pairs: Sequence[tuple[str, str]] | None = None,
    ) -> Answer:  # fmt: skip
        """The history Bundle of one page; with `pairs`, the next one is a link away."""
        left: Sequence[Version] = found
        cursor = next((v for k, v in pairs or () if k == CURSOR), "")
        if cursor:
            after = tuple((await self._spot(call, cursor)).after)
            left = [v for v in found if v.place < after]
        page = list(islice(left, wanted.count))
        links = [("self", link)]
        if pairs is not None and len(left) > len(page):
            key = await cursor_key(self.store.mongo, DATABASE)
            spot = Place(
                tuple(p for p in pairs if p[0] != CURSOR), wanted.count, "", page[-1].place,
                call.caller.owner, call.permit.version, call.now, call.now + LIFE,
            )  # fmt: skip
            more = asking(link.partition("?")[0], [(CURSOR, seal(key, _row(call), spot))])
            links.append(("next", more))
        bodies = await self._bodies(call.row.resource, page, await self.read.shown.to(call))
        base = f"{call.base}/{call.row.resource}"
        return Answer(200, _bundle(base, page, bodies, len(found), links))

    async def _bodies(
        self, resource: str, page: Sequence[Version], show: Show
    ) -> Mapping[tuple[str, int], bytes]:
        """The bytes of these versions. The newest one may have become an earlier one meanwhile, so
        that it is looked for in both places."""
        current = await self.store.current(resource).many(
            {"_id": {"$in": [v.of for v in page if v.until is None]}}, _SHOWN
        )
        held = {(r["_id"], r["v"]): show(r) for r in current}
        lacking = [f"{v.of}/{v.number}" for v in page if (v.of, v.number) not in held]
        if lacking:
            earlier = await self.store.history(resource).many({"_id": {"$in": lacking}}, _SHOWN)
            held |= {(r["of"], r["v"]): show(r) for r in earlier}
        return held


# -- pure ---------------------------------------------------------------------------------------------


def _versions(now: Iterable[Doc], earlier: Iterable[Doc]) -> list[Version]:
    """Every version with the time it stood. What was both newest and earlier while it was read counts
    once."""
    of: dict[str, dict[int, Doc]] = defaultdict(dict)
    for row in now:
        of[row["_id"]][row["v"]] = row
    for row in earlier:
        of[row["of"]].setdefault(row["v"], row)
    made = []
    for id_, rows in of.items():
        numbers = sorted(rows)
        for number, following in zip(numbers, [*numbers[1:], None], strict=True):
            row = rows[number]
            until = rows[following]["at"] if following is not None else None
            made.append(Version(id_, number, row["at"], until, row["status"]))
    return made


def _ordered(wanted: Wanted, versions: Iterable[Version]) -> list[Version]:
    return sorted(filter(wanted.takes, versions), key=lambda v: v.place, reverse=True)


_ONCE = ("_at", "_since", "_count", "status")


def _wanted(pairs: Sequence[tuple[str, str]]) -> Wanted:
    said: dict[str, str] = {}
    for name, value in pairs:
        if name in said and name in _ONCE:
            raise Refused(Issue(INVALID, f"{name} is given more than once; give it once.", name))
        said[name] = value
    if said.get("_at", "x") == "" or said.get("_since", "x") == "":
        raise Refused(Issue(INVALID, "_at and _since take a date or an instant."))
    return Wanted(
        at=dates.parse(said["_at"], "_at") if "_at" in said else None,
        since=dates.parse(said["_since"], "_since").lo if "_since" in said else None,
        status=frozenset(c for c in said.get("status", "").split(",") if c),
        count=_count(said.get("_count")),
    )


def _count(said: str | None) -> int:
    if said is None:
        return MOST
    if not said.isascii() or not said.isdecimal() or not 1 <= int(said[:9]) <= MOST:
        words = f"_count is a number from 1 to {MOST}, given once."
        raise Refused(Issue(INVALID, words, "_count"))
    return int(said)


def _question(base: str, name: str, value: str) -> Asked | None:
    if name in ("patient.identifier", "patient:identifier"):
        system, bar, code = value.partition("|")
        if not (bar and system and code):
            words = "A patient's identifier is named as system|value."
            raise Refused(Issue(INVALID, words, name))
        return ("identifier", system, code)
    if name == "patient":
        return ("id", reference(value, base).removeprefix("Patient/"))
    return None


def _row(call: Call) -> str:
    return f"{call.row.resource} history"


def _bundle(
    base: str,
    page: Sequence[Version],
    bodies: Mapping[tuple[str, int], bytes],
    total: int,
    links: Sequence[tuple[str, str]],
) -> bytes:
    """The history Bundle, joined from stored bytes."""
    said = b",".join(orjson.dumps({"relation": relation, "url": url}) for relation, url in links)
    head = b'{"resourceType":"Bundle","type":"history","total":%d,"link":[%s]' % (total, said)
    entries = [
        _entry(base, v, bodies[(v.of, v.number)]) for v in page if (v.of, v.number) in bodies
    ]
    return head + (b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}")


def _entry(base: str, version: Version, body: bytes) -> bytes:
    made = version.number == 1
    kind = base.rpartition("/")[2]
    method, where = ("POST", kind) if made else ("PUT", f"{kind}/{version.of}")
    tail = (
        f',"request":{{"method":"{method}","url":"{where}"}},'
        f'"response":{{"status":"{"201 Created" if made else "200 OK"}",'
        f'"etag":"W/\\"{version.number}\\"","lastModified":"{instant(version.at)}"}}}}'
    )
    return f'{{"fullUrl":"{base}/{version.of}","resource":'.encode() + body + tail.encode()
