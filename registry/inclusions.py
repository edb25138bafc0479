"""What a find brings along: `_include` and `_revinclude` of ITI-66 and ITI-67.

Where a match leads to is told by its index values, so nothing is parsed. What comes along is read as
if it had been searched for: within the caller's scopes for its type, and as far as the caller may see
it. What is not, is left out without a word, because a word would say that it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chassis import search
from chassis.call import Call
from chassis.mongo import Doc, Filter
from governance.permit import Denied, Permit
from registry.documents import Documents, visible
from registry.neighbours import People
from registry.shown import FIELD, Show
from standards import mhd, pdqm
from standards.mhd import DOCUMENT_PARAMETERS, LIST_PARAMETERS
from standards.outcome import FORBIDDEN, TOO_COSTLY, Issue
from standards.rows import Needs

FIELDS = ("b", FIELD, "subject", "moved", "rel", "ix.author", "ix.related", "ix.item")
MOST = 1_000  # resources of one type that one page brings along
_RELATIONS = ("replaces", "transforms", "appends", "signs")
_NEEDS = {
    "Patient": pdqm.ITI_78.scope,
    "DocumentReference": mhd.ITI_67.scope,
    "List": mhd.ITI_66.scope,
    "Provenance": mhd.READ_PROVENANCE.scope,
}


@dataclass(slots=True)
class Wanted:
    """What the matches of one page lead to: ids of each type, and filters of what leads to them."""

    ids: dict[str, set[str]] = field(default_factory=dict)
    pointing: dict[str, list[Filter]] = field(default_factory=dict)

    @property
    def types(self) -> list[str]:
        """The types that something is wanted of, people first."""
        return [t for t in _NEEDS if self.ids.get(t) or self.pointing.get(t)]


@dataclass(frozen=True, slots=True)
class Inclusions:
    """The reading of what comes along."""

    store: Documents
    people: People
    show: Show

    async def beside(self, call: Call, rows: Sequence[Doc], told: list[Issue]) -> list[bytes]:
        """The resources that these matches bring along, people first, each once and none that is a
        match itself. Adds to `told` that a type lies outside the token's scopes or that there is more
        than is given."""
        asked = wanted(call, rows)
        kind = call.row.resource
        asked.ids.get(kind, set()).difference_update(row["_id"] for row in rows)
        found: list[bytes] = []
        for type_ in asked.types:
            permit = _permit(call, type_)
            if isinstance(permit, Denied):
                words = f"No {type_} is included: {permit.words}"
                told.append(Issue(FORBIDDEN, words, "_include", "information"))
            elif type_ == "Provenance":
                where = search.any_of(asked.pointing[type_])
                found += await self.store.proofs(where, permit, visible(call.caller), MOST)
            elif type_ == "Patient":
                found += await self._patients(call, asked.ids[type_], permit)
            else:
                here = {row["_id"] for row in rows} if type_ == kind else set[str]()
                found += await self._registered(call, type_, asked, permit, here, told)
        return found

    async def _patients(self, call: Call, ids: set[str], permit: Permit) -> list[bytes]:
        found = await self.people.patients(sorted(ids), call.caller, permit)
        call.account.patients += [f"Patient/{id_}" for id_ in sorted(ids)] if found else []
        return found

    async def _registered(
        self,
        call: Call,
        type_: str,
        asked: Wanted,
        permit: Permit,
        here: set[str],
        told: list[Issue],
    ) -> list[bytes]:
        parameters = DOCUMENT_PARAMETERS if type_ == "DocumentReference" else LIST_PARAMETERS
        ways: list[Filter] = list(asked.pointing.get(type_, ()))
        if ids := asked.ids.get(type_):
            ways.append({"_id": {"$in": sorted(ids)}})
        parts = [search.any_of(ways), visible(call.caller), search.narrow(permit, parameters)]
        fields = {"b": 1, FIELD: 1, "subject": 1}
        limit = MOST + len(here) + 1
        found = await self.store.current(type_).many(search.all_of(parts), fields, limit=limit)
        found = sorted((r for r in found if r["_id"] not in here), key=lambda r: str(r["_id"]))
        if len(found) > MOST:
            words = f"More than {MOST} {type_}s come along; ask for fewer matches at a time."
            told.append(Issue(TOO_COSTLY, words, "_include", "warning", xds=""))
        found = found[:MOST]
        call.account.patients += [f"Patient/{r['subject']}" for r in found if r["subject"]]
        return [self.show(r) for r in found]


def _permit(call: Call, type_: str) -> Permit | Denied:
    needs = _NEEDS[type_]
    return call.grant(needs) if isinstance(needs, Needs) else Permit()


def wanted(call: Call, rows: Sequence[Doc]) -> Wanted:
    """What the `_include` and `_revinclude` of a search want, given its matches. PURE."""
    made = Wanted()
    kind = call.row.resource
    if call.search is None:
        return made
    for said in call.search.include:
        _, parameter, target = _parts(said)
        for row in rows:
            for type_, id_ in _leads(row, parameter):
                if type_ in _targets(call, "_include", parameter) and target in ("", type_):
                    made.ids.setdefault(type_, set()).add(id_)
    ids = [str(row["_id"]) for row in rows]
    for said in call.search.revinclude:
        source, parameter, _ = _parts(said)
        made.pointing.setdefault(source, []).append(_pointing(parameter, kind, ids))
    return made


def _parts(said: str) -> tuple[str, str, str]:
    source, _, rest = said.partition(":")
    parameter, _, target = rest.partition(":")
    return source, parameter, target


def _targets(call: Call, by: str, parameter: str) -> Iterable[str]:
    return next(
        (i.targets for i in call.row.inclusions if i.by == by and i.parameter == parameter), ()
    )


def _leads(row: Doc, parameter: str) -> Iterator[tuple[str, str]]:
    """(type, id) of everything of this server that a match leads to by one parameter."""
    if parameter == "patient":
        if row["subject"]:
            yield "Patient", (row.get("moved") or {}).get("to") or row["subject"]
    elif parameter == "relatesto":
        for relation in row.get("rel", ()):
            yield "DocumentReference", relation.partition("|")[2]
    else:
        held: Mapping[str, Sequence[str]] = row.get("ix") or {}
        for said in held.get(parameter, ()):
            type_, _, id_ = said.partition("/")
            if type_ in _NEEDS and id_ and not said.startswith("?"):
                yield type_, id_


def _pointing(parameter: str, kind: str, ids: Sequence[str]) -> Filter:
    """The filter of what leads to these matches by one parameter; each has an index."""
    if parameter == "target":
        return {"target": {"$in": [f"{kind}/{id_}" for id_ in ids]}}
    if parameter == "relatesto":
        return {"rel": {"$in": [f"{code}|{id_}" for id_ in ids for code in _RELATIONS]}}
    path = "ix.item" if parameter == "item" else "ix.beside"
    return {path: {"$in": [f"{kind}/{id_}" for id_ in ids]}}
