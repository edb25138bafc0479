"""ITI-94: who wants to be told about which Patients, and how that stands.

    POST ──► requested ──(test message taken)──► active ──(given up)──► error
                 ▲                                 │                      │
                 └────────── PUT status=requested ─┴── PUT status=off ► off

The handshake and the messages are deliveries.py. A subscription is its client's own: others do not
know of it. What it may tell was decided when it was made; the token's end does not end it (PMIR
2:3.94.5), and where messages may go is the operators' list (endpoints.py), asked again at each sending.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis import outbox, search
from chassis.call import Answer, Call, dumps, instant
from chassis.destinations import Allowed
from chassis.mongo import Doc, Filter, Mongo, Table
from chassis.negotiate import names
from governance.permit import Denied
from pix import showing
from pix.identifiers import Domains, Identifier
from pix.people import DATABASE
from pix.sources import FEEDER
from standards import dates, index, pmir
from standards.outcome import (
    FORBIDDEN,
    GONE,
    INVALID,
    NOT_FOUND,
    PRECONDITION,
    UNPROCESSABLE,
    Issue,
    Refused,
    refuse_if,
)  # fmt: skip
from standards.rows import Needs

STATUSES = "http://hl7.org/fhir/subscription-status"
MOST = 100  # subscriptions of one client
_SERVERS = ("id", "meta", "status", "error")  # elements whose values are ours to say


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The subscriptions, and the stories of ITI-94 over them."""

    mongo: Mongo
    domains: Domains
    allowed: Allowed

    @property
    def table(self) -> Table:
        """One document per subscription; a deleted one stays and says so."""
        return self.mongo.table(DATABASE, "subscriptions")

    @property
    def notices(self) -> Table:
        """What is still to be told: one document per subscription and person (deliveries.py)."""
        return self.mongo.table(DATABASE, "notices")

    async def prepare(self) -> None:
        """Make the collections and their indexes; what exists is kept."""
        await self.mongo.create_all(DATABASE, ("subscriptions", "notices"))
        await self.table.ensure(
            *search.indexes(pmir.PARAMETERS),
            IndexModel([("client", 1), ("gone", 1)]),
            IndexModel([("waiting", 1), ("due", 1)]),
        )
        await self.notices.ensure(IndexModel([("sub", 1), ("at", 1)]))

    # -- the stories ----------------------------------------------------------------------------

    async def create(self, call: Call) -> Answer:
        """Take a subscription; the first message comes after a test message was taken.

        Answers 201. Raises `Refused`: 403 for a token that does not reach every Patient, 422 for what
        cannot be subscribed to and for an endpoint that is not allowed.
        """
        own = call.resource or {}
        refuse_if([*pmir.check_subscription(own), *self._faults(call, own)])
        if await self.table.count({"client": call.caller.client_id, "gone": False}) >= MOST:
            words = f"A client may have {MOST} subscriptions; delete one first."
            raise Refused(Issue(UNPROCESSABLE, words))
        fresh = self._document(call, own) | {
            "_id": call.ids(), "v": 1, "client": call.caller.client_id, "collects": False,
            "organisation": call.caller.organisation, "gone": False,
        }  # fmt: skip
        made = shown(fresh, "requested", call.now)

        async def story(session: AsyncClientSession) -> Answer:
            await self.table.insert(dict(made), session)
            return await self._answer(call, session, made, 201)

        return await self.mongo.transaction(story)

    async def read(self, call: Call) -> Answer:
        """The subscription as it stands. Raises `Refused`: 404 for one that is not the caller's, 410
        for a deleted one."""
        found = await self._mine(call)
        return _answer(call, found, 200)

    async def update(self, call: Call) -> Answer:
        """Switch a subscription off or on, or change what it asks for.

        `requested` always means a new test message. Messages not sent yet stay, unless it is switched
        off or is about other Patients now. Raises `Refused`: 400 for another id in the body, 404, 410,
        412 for a stale If-Match, 422 as for a new one.
        """
        own = call.resource or {}
        if own.get("id") != call.path["id"]:
            words = "The body's id must be the id in the URL."
            raise Refused(Issue(INVALID, words, "Subscription.id"))
        await self._mine(call)
        off = own.get("status") == "off"
        # Whoever only switches off need not argue about an endpoint that is no longer allowed.
        faults = [] if off else self._faults(call, own)
        refuse_if([*pmir.check_subscription(own, update=True), *faults])

        async def story(session: AsyncClientSession) -> Answer:
            stored = await self._mine(call, session)
            _check_match(call, stored)
            changed = {**stored, **self._document(call, own), "v": stored["v"] + 1}
            other = any(changed[k] != stored[k] for k in ("by", "value", "system"))
            if off or other:
                await self.notices.delete({"sub": stored["_id"]}, session=session, many=True)
            if off:
                changed |= {"waiting": False, "collects": False}
            made = shown(changed, "off" if off else "requested", call.now)
            await self.table.replace({"_id": made["_id"]}, dict(made), session=session)
            return await self._answer(call, session, made, 200)

        return await self.mongo.transaction(story)

    async def delete(self, call: Call) -> Answer:
        """End a subscription; what was not sent yet is not sent. Answers 204, also when it was ended
        before."""

        async def story(session: AsyncClientSession) -> Answer:
            stored = await self._mine(call, session, gone=True)
            if not stored["gone"]:
                await self.notices.delete({"sub": stored["_id"]}, session=session, many=True)
                ended = {"gone": True, "collects": False, "waiting": False, "holder": ""}
                made = shown({**stored, **ended, "v": stored["v"] + 1}, "off", call.now)
                await self.table.replace({"_id": made["_id"]}, dict(made), session=session)
            call.account.sealed = None
            await outbox.put(session, self.mongo, DATABASE, call.seal(204))
            return Answer(204)

        return await self.mongo.transaction(story)

    async def search(self, call: Call) -> Answer:
        """The caller's own subscriptions; the operators' client sees all."""
        where: Filter = {"gone": False, **_whose(call)}
        return await search.searchset(call, self.table, where=where, default_sort="_id")

    # -- small steps ----------------------------------------------------------------------------

    def _faults(self, call: Call, own: Mapping[str, Any]) -> list[Issue]:
        """What this exchange does not allow, beyond the profile."""
        made: list[Issue] = []
        permit = call.grant(Needs("r", "Patient", ("ITI-94",)))
        if isinstance(permit, Denied):
            raise Refused(Issue(FORBIDDEN, permit.words))
        if permit.narrow or call.permit.narrow:
            words = (
                "Messages would tell of Patients that the token does not cover; ask for a token that "
                "reaches all of them."
            )
            raise Refused(Issue(FORBIDDEN, words))
        endpoint = (own.get("channel") or {}).get("endpoint")
        fault = self.allowed.fault(endpoint) if endpoint else ""
        if fault:
            made.append(Issue(UNPROCESSABLE, fault, "Subscription.channel.endpoint", xds=""))
        end = own.get("end")
        if end and _moment(end) <= call.now:
            words = "This subscription has ended before it begins."
            made.append(Issue(UNPROCESSABLE, words, "Subscription.end", xds=""))
        return made

    def _document(self, call: Call, own: Mapping[str, Any]) -> Doc:
        """What follows from the words of the subscriber."""
        asked = pmir.criteria(own["criteria"]) or pmir.Criteria()
        if asked.by == "identifier":
            asked = self._normal(asked)
        channel = own["channel"]
        return {
            "own": dumps({k: v for k, v in own.items() if k not in _SERVERS}),
            "by": asked.by, "value": asked.value, "system": asked.system,
            "endpoint": channel["endpoint"], "payload": pmir.payload(channel["payload"]),
            "end": _moment(own["end"]) if own.get("end") else None,
            "waiting": True, "due": call.now, "failures": 0, "since": None, "error": "", "size": 0,
            "holder": "", "lease": call.now,  # whoever is sending to it now no longer speaks for it
        }  # fmt: skip

    def _normal(self, asked: pmir.Criteria) -> pmir.Criteria:
        """Both sides of the comparison in their stored form."""
        if not asked.system:
            return asked
        if not asked.value:
            return pmir.Criteria("identifier", "", self.domains.system(asked.system))
        found: Identifier = self.domains.identifier(asked.system, asked.value)
        return pmir.Criteria("identifier", found.value, found.system)

    async def _mine(
        self, call: Call, session: AsyncClientSession | None = None, *, gone: bool = False
    ) -> Doc:
        call.account.data = [f"Subscription/{call.path['id']}"]
        where: Filter = {"_id": call.path["id"], **_whose(call)}
        if call.permit.narrow:
            where = {"$and": [where, search.narrow(call.permit, pmir.PARAMETERS)]}
        found = await self.table.one(where, session=session)
        if found is None:
            raise Refused(Issue(NOT_FOUND, "You have no Subscription with this id."))
        if found["gone"] and not gone:
            raise Refused(Issue(GONE, "This Subscription was deleted."))
        return found

    async def _answer(
        self, call: Call, session: AsyncClientSession, made: Doc, status: int
    ) -> Answer:
        call.account.data = [f"Subscription/{made['_id']}"]
        call.account.sealed = None
        await outbox.put(session, self.mongo, DATABASE, call.seal(status))
        return _answer(call, made, status)


def shown(stored: Mapping[str, Any], status: str, at: datetime, error: str = "") -> Doc:
    """The document of a subscription with its resource as it is shown in this status."""
    own: dict[str, Any] = orjson.loads(stored["own"])
    resource: dict[str, Any] = {
        "resourceType": "Subscription",
        "id": stored["_id"],
        "meta": {
            "versionId": str(stored["v"]),
            "lastUpdated": instant(at),
            "profile": [pmir.SUBSCRIPTION_PROFILE],
        },
        "status": status,
        **{k: v for k, v in own.items() if k != "resourceType"},
    }
    if error:
        resource["error"] = error
    found = {
        pmir.STATUS.field: index.tokens(status, STATUSES),
        pmir.URL.field: index.uris(stored["endpoint"]),
    }
    return {
        **stored, "status": status, "error": error, "at": at, "b": dumps(resource), "ix": found,
    }  # fmt: skip


def _whose(call: Call) -> Doc:
    return {} if call.caller.role == FEEDER else {"client": call.caller.client_id}


def _answer(call: Call, stored: Mapping[str, Any], status: int) -> Answer:
    answer = Answer(status, bytes(stored["b"]), {"ETag": f'W/"{stored["v"]}"'})
    answer.headers["Last-Modified"] = showing.http_date(stored["at"])
    if status == 201:
        answer.headers["Location"] = f"{call.base}/Subscription/{stored['_id']}"
    return answer


def _check_match(call: Call, stored: Mapping[str, Any]) -> None:
    asked = call.headers.get("if-match")
    if asked is not None and not names(asked, f'W/"{stored["v"]}"'):
        words = "If-Match names another version; read the Subscription again before you change it."
        raise Refused(Issue(PRECONDITION, words, "If-Match"))


def _moment(said: str) -> datetime:
    span = dates.parse(said)
    return span.lo
