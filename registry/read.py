"""Read a DocumentReference or List, or one of its versions (FHIR R4 http.html)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate

from chassis import search
from chassis.call import Answer, Call
from chassis.mongo import Coalesced, Doc
from governance.permit import Permit
from registry.documents import Documents, submitter, visible
from registry.shown import FIELD, Show, Shown
from standards.mhd import DOCUMENT_PARAMETERS, LIST_PARAMETERS
from standards.outcome import NOT_FOUND, Issue, Refused

_FIELDS = {"v": 1, "at": 1, "b": 1, "status": 1, "subject": 1, "seen": 1, FIELD: 1}


class Read:
    """The stories of read and vread over the store."""

    def __init__(self, store: Documents, shown: Shown) -> None:
        self.store, self.shown = store, shown
        self._documents: Coalesced[str, Doc] = Coalesced(self._by_id("DocumentReference"))
        self._lists: Coalesced[str, Doc] = Coalesced(self._by_id("List"))

    async def now(self, call: Call) -> Answer:
        """The resource as it is now. Raises `Refused` (404) when there is none within the permit."""
        found = await self.covered(call)
        return _answer(found, await self.shown.to(call))

    async def provenance(self, call: Call) -> Answer:
        """A Provenance. Raises `Refused` (404) when there is none, or when it names something that the
        caller may not see."""
        id_ = call.path["id"]
        call.account.data.append(f"Provenance/{id_}")
        found = await self.store.proofs({"_id": id_}, call.permit, visible(call.caller), 1)
        if not found:
            words = "No Provenance has this id, or none that the token reaches."
            raise Refused(Issue(NOT_FOUND, words))
        return Answer(200, found[0], {"ETag": 'W/"1"'})

    async def version(self, call: Call) -> Answer:
        """One version. Raises `Refused` (404) for an unknown one, and for an earlier one of what the
        token reaches by a query only: earlier versions are not indexed."""
        found = await self.covered(call)
        if str(found["v"]) != call.path["vid"]:
            if call.permit.narrow:
                await self.covered(call, call.permit.unasked)
            history = self.store.history(call.row.resource)
            earlier = await history.one({"_id": f"{call.path['id']}/{call.path['vid']}"}, _FIELDS)
            if earlier is None:
                raise Refused(Issue(NOT_FOUND, f"This {call.row.resource} has no such version."))
            found = earlier
        return _answer(found, await self.shown.to(call))

    async def covered(self, call: Call, permit: Permit | None = None) -> Doc:
        """The newest row, if the token reaches it; what it does not reach looks like what is not.
        `permit` is another than that of the call."""
        kind, id_ = call.row.resource, call.path["id"]
        permit = permit or call.permit
        if f"{kind}/{id_}" not in call.account.data:
            call.account.data.append(f"{kind}/{id_}")
        seen = visible(call.caller)
        if permit.narrow:
            parameters = DOCUMENT_PARAMETERS if kind == "DocumentReference" else LIST_PARAMETERS
            where = search.all_of([{"_id": id_}, seen, search.narrow(permit, parameters)])
            found = await self.store.current(kind).one(where, _FIELDS)
        else:
            found = await (self._documents if kind == "DocumentReference" else self._lists).get(id_)
            if found is not None and seen and found["seen"] not in ("", submitter(call.caller)):
                found = None
        if found is None:
            raise Refused(
                Issue(NOT_FOUND, f"No {kind} has this id, or none that the token reaches.")
            )
        if found["subject"] and f"Patient/{found['subject']}" not in call.account.patients:
            call.account.patients.append(f"Patient/{found['subject']}")
        return found

    def _by_id(self, resource: str) -> Callable[[Sequence[str]], Awaitable[Mapping[str, Doc]]]:
        async def fetch(ids: Sequence[str]) -> Mapping[str, Doc]:
            rows = await self.store.current(resource).many({"_id": {"$in": list(ids)}}, _FIELDS)
            return {r["_id"]: r for r in rows}

        return fetch


def _answer(row: Doc, show: Show) -> Answer:
    """The ETag is of the version and not of the view: answers are stored nowhere (decision 0012)."""
    headers = {
        "ETag": f'W/"{row["v"]}"',
        "Last-Modified": formatdate(row["at"].timestamp(), usegmt=True),
    }
    return Answer(200, show(row), headers)
