"""Practitioner, PractitionerRole and Organization over HTTP: read, search, and what comes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate

from auth.directory import Directory
from chassis import search
from chassis.call import Answer, Call, Route
from chassis.mongo import Doc, Filter
from governance.permit import OWN, Denied, Permit
from standards import practitioners
from standards.outcome import NOT_FOUND, Issue, Refused
from standards.rows import Needs

_SHOWN = {"v": 1, "at": 1, "b": 1}


@dataclass(frozen=True, slots=True)
class Practitioners:
    """The stories over the directory."""

    directory: Directory

    async def read(self, call: Call) -> Answer:
        """The resource of this id. Raises `Refused` (404) when there is none within the permit; one's
        own Practitioner is within everybody's."""
        kind, id_ = call.row.resource, call.path["id"]
        call.account.data.append(f"{kind}/{id_}")
        table = await self.directory.table(kind)
        where = search.all_of([{"_id": id_}, _within(call, call.permit, kind)])
        found = await table.one(where, _SHOWN)
        if found is None:
            words = f"No {kind} has this id, or none that the token reaches."
            raise Refused(Issue(NOT_FOUND, words))
        moment = formatdate(found["at"].timestamp(), usegmt=True)
        headers = {"ETag": f'W/"{found["v"]}"', "Last-Modified": moment}
        return Answer(200, bytes(found["b"]), headers)

    async def find(self, call: Call) -> Answer:
        """One page of what matches, with what it brings along within the token's scopes."""
        kind = call.row.resource
        table = await self.directory.table(kind)
        await search.resume(call, table.mongo, "auth")
        brings = bool(call.search and call.search.include) and bool(call.row.inclusions)

        async def beside(rows: Sequence[Doc]) -> list[bytes]:
            return await self._beside(call, rows)

        return await search.searchset(
            call,
            table,
            include=beside if brings else None,
            default_sort="_id",
            fields=("b", "ix.practitioner", "ix.organization") if brings else ("b",),
        )

    async def _beside(self, call: Call, rows: Sequence[Doc]) -> list[bytes]:
        wanted: dict[str, set[str]] = {}
        for said in call.search.include if call.search else ():
            _, parameter, *target = said.split(":")
            for key in (k for row in rows for k in row["ix"].get(parameter, ())):
                kind, _, id_ = key.partition("/")
                if kind in practitioners.PARAMETERS and id_ and target in ([], [kind]):
                    wanted.setdefault(kind, set()).add(id_)
        found: list[bytes] = []
        for kind, ids in sorted(wanted.items()):
            permit = call.grant(Needs("s", kind))
            if isinstance(permit, Denied):
                continue
            where = search.all_of([{"_id": {"$in": sorted(ids)}}, _within(call, permit, kind)])
            table = await self.directory.table(kind)
            found += [bytes(r["b"]) for r in await table.many(where, {"b": 1}, sort=[("_id", 1)])]
        return found


def _within(call: Call, permit: Permit, kind: str) -> Filter:
    """What the permit reaches of a type, which is one's own record where a group says so."""
    if not permit.narrow:
        return {}
    ways: list[Filter] = [search.narrow(permit, practitioners.PARAMETERS[kind])]
    if OWN in permit.narrow and call.caller.person:
        ways.append({"_id": call.caller.person})
    return search.any_of(ways)


def routes(directory: Directory) -> tuple[Route, ...]:
    """Every row of the directory with its story."""
    story = Practitioners(directory)
    return tuple(
        Route(row, story.read if row.interaction == "read" else story.find)
        for row in practitioners.TRANSACTIONS
    )
