"""People, roles and organisations as FHIR resources, from the store of people and the affinity pack.

    people (auth.people) ──► Practitioner, PractitionerRole      auth.practitioners, auth.practitioner_roles
    pack (organisations.csv) ──► Organization                    auth.organisations

The three collections are derived and hold `{_id, v, at, b, ix}` as searches want them. Before every
answer the store of people is asked for what has changed, so that a change shows at once in every
process. Nothing of how a person signs in is read here, so that nothing of it can be told.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from pymongo import IndexModel
from pymongo.errors import BulkWriteError, DuplicateKeyError

from affinity.pack import Organisation, Pack
from chassis.call import dumps, instant
from chassis.filters import indexes
from chassis.mongo import Doc, Mongo, Table
from standards.balp import Vocabulary
from standards.practitioners import PARAMETERS, indexed

_TABLES = {
    "Practitioner": "practitioners",
    "PractitionerRole": "practitioner_roles",
    "Organization": "organisations",
}
# All that is ever read of a person. `changed` is some process's clock, so the last minutes are read again.
_FIELDS = {
    "given": 1, "family": 1, "prefix": 1, "professional_id": 1, "appointments": 1, "active": 1, "changed": 1,
}  # fmt: skip
_OVERLAP = 120.0
_PACK_TIME = datetime(2026, 1, 1, tzinfo=UTC)  # when a pack was agreed is not said anywhere


class Directory:
    """The collections of the directory."""

    def __init__(self, mongo: Mongo, pack: Pack, words: Vocabulary, base: str) -> None:
        self.mongo, self.pack, self.words, self.base = mongo, pack, words, base
        self._people = mongo.table("auth", "people")
        self._tables = {kind: mongo.table("auth", name) for kind, name in _TABLES.items()}
        self._seen = 0.0

    async def prepare(self) -> None:
        """Indexes, and the organisations of the pack."""
        await asyncio.gather(
            self._people.ensure(IndexModel([("changed", 1)], name="changed")),
            *(t.ensure(*indexes(PARAMETERS[kind])) for kind, t in self._tables.items()),
        )
        made = [
            self._row(organization(o, self.words), _PACK_TIME, 0)
            for o in self.pack.organisations.values()
        ]
        table = self._tables["Organization"]
        held = {row["_id"]: bytes(row["b"]) for row in await table.many({}, {"b": 1})}
        if not held:
            with suppress(
                BulkWriteError
            ):  # another process makes them as well; what is missing follows
                await table.insert_many(made, ordered=False)
                held = {row["_id"]: row["b"] for row in made}
        for row in made:
            if held.get(row["_id"]) != row["b"]:
                await self._keep(table, row)
        await table.delete({"_id": {"$nin": [row["_id"] for row in made]}}, many=True)

    async def table(self, kind: str) -> Table:
        """The resources of one type, as they are now."""
        if kind != "Organization":
            await self._follow()
        return self._tables[kind]

    async def _follow(self) -> None:
        where = {"changed": {"$gt": self._seen - _OVERLAP}}
        rows = await self._people.many(where, _FIELDS)
        if not rows:
            return
        versions = {str(row["_id"]): _version(row) for row in rows}
        held = await self._tables["Practitioner"].many({"_id": {"$in": list(versions)}}, {"v": 1})
        known = {row["_id"]: row["v"] for row in held}
        for row in rows:
            if known.get(row["_id"], -1) < versions[row["_id"]]:
                await self._shown(row)
        self._seen = min(max(row["changed"] for row in rows), time.time())

    async def _shown(self, row: Doc) -> None:
        """The resources of one person. The Practitioner comes last: it says that all are there."""
        at = datetime.fromtimestamp(row["changed"], UTC)
        for role in roles(row, self.pack, self.words):
            made = self._row(role, at, _version(row))
            await self._keep(self._tables["PractitionerRole"], made)
        made = self._row(practitioner(row), at, _version(row))
        await self._keep(self._tables["Practitioner"], made)

    async def _keep(self, table: Table, row: Doc) -> None:
        with suppress(DuplicateKeyError):  # another process has shown a newer one
            await table.replace({"_id": row["_id"], "v": {"$lte": row["v"]}}, row, upsert=True)

    def _row(self, resource: dict[str, Any], at: datetime, v: int) -> Doc:
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        resource["meta"] = {"versionId": str(v), "lastUpdated": instant(at)}
        return {
            "_id": resource["id"], "v": v, "at": at, "b": dumps(resource), "ix": indexed(resource, self.base),
        }  # fmt: skip


# -- resources. PURE -----------------------------------------------------------------------------------


def practitioner(row: Mapping[str, Any]) -> dict[str, Any]:
    """The Practitioner of a person."""
    names = [row["prefix"], row["given"], row["family"]]
    name = {
        "text": " ".join(part for part in names if part),
        "family": row["family"],
        "given": [row["given"]],
        "prefix": [row["prefix"]],
    }
    made: dict[str, Any] = {
        "resourceType": "Practitioner",
        "id": row["_id"],
        "active": bool(row["active"]),
        "name": [{k: v for k, v in name.items() if v not in ("", [""])}],
    }
    if row.get("professional_id"):
        made["identifier"] = [{"value": row["professional_id"]}]
    return made


def roles(row: Mapping[str, Any], pack: Pack, words: Vocabulary) -> list[dict[str, Any]]:
    """A PractitionerRole for each role that a person has or had."""
    return [_role(row, one, pack, words) for one in row["appointments"]]


def _role(
    row: Mapping[str, Any], held: Mapping[str, Any], pack: Pack, words: Vocabulary
) -> dict[str, Any]:
    code = {
        "system": words.roles,
        "code": held["role"],
        "display": pack.roles.get(held["role"], ""),
    }
    where = pack.organisations.get(held["organisation"])
    period = {"start": _day(held["starts"]), "end": _day(held["ends"])}
    organisation = {
        "reference": f"Organization/{organization_id(held['organisation'])}" if where else "",
        "identifier": {"system": words.organisations, "value": held["organisation"]},
        "display": where.name if where else "",
    }
    return {
        "resourceType": "PractitionerRole",
        "id": role_id(str(row["_id"]), held["role"], held["organisation"]),
        "active": bool(row["active"]),
        "period": {k: v for k, v in period.items() if v},
        "practitioner": {
            "reference": f"Practitioner/{row['_id']}",
            "display": practitioner(row)["name"][0]["text"],
        },
        "organization": {k: v for k, v in organisation.items() if v},
        "code": [{"coding": [{k: v for k, v in code.items() if v}]}],
    }


def organization(one: Organisation, words: Vocabulary) -> dict[str, Any]:
    """The Organization of a row of the pack."""
    return {
        "resourceType": "Organization",
        "id": organization_id(one.code),
        "active": True,
        "identifier": [{"system": words.organisations, "value": one.code}],
        "type": [{"coding": [{"code": re.sub(r"\s+", "-", one.kind)}], "text": one.kind}],
        "name": one.name,
    }


def organization_id(code: str) -> str:
    """The id of an organisation's resource: its code, in the letters that an id may have."""
    return re.sub(r"[^A-Za-z0-9.\-]", "-", code)[:64]


def role_id(person: str, role: str, organisation: str) -> str:
    """The id of a role's resource, which stays the same when its dates change."""
    return sha256("\0".join((person, role, organisation)).encode()).hexdigest()[:32]


def _version(row: Mapping[str, Any]) -> int:
    return int(row["changed"] * 1_000_000)


def _day(moment: datetime | date | None) -> str:
    return moment.strftime("%Y-%m-%d") if moment is not None else ""
