"""ITI-78: read a Patient and its versions, and search by identifier and demographics.

Records that were merged into another are left out of a search, unless it names an identifier, an id
or `active=false`: then the merged record is there with its survivor beside it (PIX digest D2, D3).
What the caller may not see of identifiers is neither shown nor found by (`pix/sight.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from chassis import search
from chassis.call import Answer, Call, dumps, instant
from chassis.mongo import Coalesced, Doc, Filter
from governance.identifiers import Sight
from governance.permit import Permit
from pix import master, showing
from pix.identifiers import Domains
from pix.people import DATABASE, People
from pix.sight import Sights
from standards import pdqm
from standards.index import token
from standards.outcome import GONE, INVALID, NOT_FOUND, NOT_SUPPORTED, TOO_COSTLY, Issue, Refused
from standards.search import Clause, Search, Token, Value

_READ = {"v": 1, "at": 1, "b": 1, "state": 1, "system": 1, "secret": 1}
BROAD = (
    10_000  # more hits than this are nobody's answer, and counting them costs every other caller
)

_SPREAD = 200  # records that may hold a value of which the caller did not say the domain


class Demographics:
    """The stories of ITI-78 over the People store."""

    def __init__(self, people: People, domains: Domains, sights: Sights) -> None:
        self.people, self.domains, self.sights = people, domains, sights
        self.by_id: Coalesced[str, Doc] = Coalesced(self._by_id)

    # -- search ---------------------------------------------------------------------------------

    async def search(self, call: Call) -> Answer:
        """The Patients that match, one page of them, with the exact total.

        A search by domain (`identifier=system|`) returns identifiers of these domains only. Raises
        `Refused`: 404 with a warning for an unknown domain (PDQm case 4), 403 `too-costly` for more
        than `BROAD` hits and, among more people than that, for what no index leads to, 400 for what
        cannot be searched.
        """
        await search.resume(call, self.people.mongo, DATABASE)
        asked = self._understood(call)
        systems = self._domains_asked(asked)
        sight = await self.sights.of(call.caller)
        where: Filter = _states(asked)
        if not sight.everything:
            where = search.all_of([where, _existing(sight)])
            call.search = asked = await self._seen(asked, sight)
        await self._not_too_broad(call, asked, where)

        def show(row: Doc) -> bytes:
            return showing.stripped(
                bytes(row["b"]), call.base, sight, systems or None,
                fed=row["system"], secret=bool(row.get("secret")),
            )  # fmt: skip

        async def beside(rows: Sequence[Doc]) -> list[bytes]:
            call.account.patients += [f"Patient/{row['_id']}" for row in rows]
            return [show(row) for row in await self._survivors(call, rows, sight)]

        answer = await search.searchset(
            call,
            self.people.records,
            where=where,
            include=beside,
            show=show,
            default_sort="_id",
            fields=("b", "state", "root", "system", "secret"),
        )
        answer.body = await self.sights.cleared(answer.body, sight)
        return answer

    def _understood(self, call: Call) -> Search:
        """The search with its identifiers in their stored form, so that both sides compare alike."""
        asked = call.search or Search()
        if asked.include or asked.revinclude:
            words = "A search on Patient takes no _include; survivors of merged records come by themselves."
            issue = Issue(NOT_SUPPORTED, words, "_include")
            if call.strict:
                raise Refused(issue)
            used = tuple(p for p in asked.used if p[0] not in ("_include", "_revinclude"))
            asked = replace(
                asked, include=(), revinclude=(), used=used, ignored=(*asked.ignored, issue.warn())
            )
        clauses = tuple(self._normal(c) if c.name == "identifier" else c for c in asked.clauses)
        call.search = replace(asked, clauses=clauses)
        return call.search

    def _normal(self, clause: Clause) -> Clause:
        values = tuple(
            token
            for value in clause.values
            for token in (self._tokens(value) if isinstance(value, Token) else (value,))
        )
        return replace(clause, values=values)

    def _tokens(self, said: Token) -> tuple[Token, ...]:
        if not said.system:
            bare = said.code.replace(" ", "").replace("-", "")
            spaced = said.system is None and bare != said.code and bare.isdecimal()
            return (said, Token(None, bare)) if spaced else (said,)
        if not said.code:
            return (Token(self.domains.system(said.system), ""),)
        return (Token(*self.domains.identifier(said.system, said.code)),)

    def _domains_asked(self, asked: Search) -> frozenset[str]:
        """The domains that the answer is limited to; none: all. Raises `Refused` (404, a warning) when
        any domain that is asked for is unknown, also one beside whole identifiers."""
        limiting: set[str] = set()
        named: set[str] = set()
        for clause in asked.of("identifier"):
            systems = {
                v.system for v in clause.values if isinstance(v, Token) and v.system and not v.code
            }
            named |= systems
            if _is_domains(clause):
                limiting |= systems
        if not all(map(self.domains.known, named)):
            words = pdqm.DOMAIN_UNKNOWN
            warning = Issue(NOT_FOUND, words, "identifier", "warning", text=words)
            raise Refused(warning, status=404)
        return frozenset(limiting)

    async def _not_too_broad(self, call: Call, asked: Search, where: Filter) -> None:
        if asked.after is not None or asked.has("_id"):
            return
        if not _led(call, asked) and await self.people.records.size() > BROAD:
            # whatever it finds, it looks at everybody for it
            words = (
                "Nobody is looked for by gender, active, country or state alone here; add a family "
                "name, a birth date, a postcode or an identifier."
            )
            raise Refused(Issue(TOO_COSTLY, words, xds=""))
        filters = search.matching(call, where=where)
        if await self.people.records.count(filters, limit=BROAD + 1) > BROAD:
            words = (
                f"More than {BROAD} people match; add a family name with a birth date, a postcode "
                "or an identifier."
            )
            raise Refused(Issue(TOO_COSTLY, words, xds=""))

    async def _seen(self, asked: Search, sight: Sight) -> Search:
        """The search without values of domains that the caller may not see: they are values that
        nobody has. A value without its system is looked up first, because it could be any domain's."""
        clauses = []
        for clause in asked.clauses:
            if clause.name != "identifier" or clause.modifier == "missing":
                clauses.append(clause)
                continue
            values: list[Value] = []
            for value in clause.values:
                if isinstance(value, Token) and value.system is None:
                    values += await self._anywhere(value.code, sight)
                elif not isinstance(value, Token) or sight.sees(value.system or ""):
                    values.append(value)
            clauses.append(replace(clause, values=tuple(values)))
        return replace(asked, clauses=tuple(clauses))

    async def _anywhere(self, code: str, sight: Sight) -> list[Token]:
        """The identifiers with this value that the caller may see."""
        bare = token(None, code)
        rows = await self.people.records.many(
            {"ix.identifier": bare}, {"ix.identifier": 1}, limit=_SPREAD + 1
        )
        if len(rows) > _SPREAD:
            words = f"More than {_SPREAD} records hold this value; say its system: system|value."
            raise Refused(Issue(TOO_COSTLY, words, "identifier", xds=""))
        ends = "|" + bare
        systems = {
            held.removesuffix(ends)
            for row in rows
            for held in row["ix"]["identifier"]
            if held.endswith(ends)
        }
        return [Token(system, code) for system in sorted(systems) if sight.sees(system)]

    async def _survivors(self, call: Call, rows: Sequence[Doc], sight: Sight) -> list[Doc]:
        here = {row["_id"] for row in rows}
        roots = {row["root"] for row in rows if row["state"] == "subsumed"} - here
        if not roots:
            return []
        where: Filter = {"_id": {"$in": sorted(roots)}, "state": "active", **_existing(sight)}
        if call.permit.narrow:
            where = {"$and": [where, search.narrow(call.permit, pdqm.PARAMETERS)]}
        fields = {"b": 1, "system": 1, "secret": 1}
        return await self.people.records.many(where, fields, sort=[("_id", 1)])

    # -- read -----------------------------------------------------------------------------------

    async def read(self, call: Call) -> Answer:
        """The Patient with this id, as it is now; a merged one is inactive and names its survivor.

        Raises `Refused`: 404 for an unknown one or one that the token does not cover, 410 for a
        removed one.
        """
        found = await self._current(call)
        return await self._answer(call, found)

    async def version(self, call: Call) -> Answer:
        """One version of a Patient. Raises `Refused`: 404 for an unknown one, and for an earlier one of
        what the token reaches by a query only (earlier versions are not indexed); 410 when this version
        is its removal."""
        found = await self._covered(call)
        if str(found["v"]) != call.path["vid"]:
            if call.permit.narrow:
                await self._covered(call, call.permit.unasked)
            earlier = await self.people.history.one(
                {"_id": f"{call.path['id']}/{call.path['vid']}"}, _READ
            )
            if earlier is None:
                raise Refused(Issue(NOT_FOUND, "This Patient has no such version."))
            secret = found.get("secret")
            found = {**(await self._unsealed(found, [earlier]))[0], "secret": secret}
        elif found["state"] == "removed":
            raise Refused(Issue(GONE, "This version is the removal of the Patient."))
        return await self._answer(call, found)

    async def history(self, call: Call) -> Answer:
        """The versions of a Patient, newest first; `_count` newest ones."""
        found = await self._covered(call)
        limit = _count(call)
        versions = [found]
        if limit != 1 and await self._reaches_earlier(call):
            earlier = await self.people.history.many(
                {"of": call.path["id"]}, _READ, sort=[("v", -1)], limit=limit - 1 if limit else 0
            )
            versions += await self._unsealed(found, earlier)
        sight = await self.sights.of(call.caller)
        secret = bool(found.get("secret"))  # now: what is withheld is so in what was shown before

        def show(v: Doc) -> bytes:
            b = bytes(v["b"])
            return b and showing.stripped(b, call.base, sight, fed=v["system"], secret=secret)

        # new dicts: what was read may be shared with other requests
        versions = [{**v, "b": show(v)} for v in versions]
        body = _history(call, versions, int(found["v"]))
        return Answer(200, await self.sights.cleared(body, sight))

    async def _answer(self, call: Call, found: Doc) -> Answer:
        sight = await self.sights.of(call.caller)
        body = showing.stripped(
            bytes(found["b"]), call.base, sight,
            fed=found["system"], secret=bool(found.get("secret")),
        )  # fmt: skip
        body = await self.sights.cleared(body, sight)
        tag, at = f'W/"{found["v"]}"', showing.http_date(found["at"])
        return Answer(200, body, {"ETag": tag, "Last-Modified": at})

    async def _current(self, call: Call) -> Doc:
        found = await self._covered(call)
        if found["state"] == "removed":
            raise Refused(Issue(GONE, "This Patient was removed by its source."))
        return found

    async def _reaches_earlier(self, call: Call) -> bool:
        within = search.narrow(call.permit.unasked, pdqm.PARAMETERS)
        where: Filter = {"$and": [{"_id": call.path["id"]}, within]}
        return not within or await self.people.records.one(where, {"_id": 1}) is not None

    async def _unsealed(self, current: Doc, earlier: Sequence[Doc]) -> list[Doc]:
        """Earlier versions without the links that a seal has ended: what was one person before an
        identity was sealed, on either side, is told to nobody any more (domain digest §1.6 P1-P3)."""
        opened = [v["b"] and showing.opened(bytes(v["b"])) for v in earlier]
        stands = set(showing.linked(showing.opened(bytes(current["b"]))) if current["b"] else ())
        parted = {id_ for p in opened if p for id_ in showing.linked(p)} - stands
        if not parted:
            return list(earlier)
        sealed = await self._sealed({current["_id"], *parted})
        hidden = frozenset(parted if current["_id"] in sealed else parted & sealed)
        made: list[Doc] = []
        for version, patient in zip(earlier, opened, strict=True):
            if patient and not hidden.isdisjoint(showing.linked(patient)):
                showing.unlink(patient, hidden)
                version = {**version, "b": dumps(patient)}  # noqa: PLW2901
            made.append(version)
        return made

    async def _sealed(self, ids: Collection[str]) -> set[str]:
        """Those of these records whose identity is sealed, or was when they were removed."""
        rows = await self.people.records.many({"_id": {"$in": sorted(ids)}}, {"own": 1})
        said = [(row["_id"], row["own"]) for row in rows if row["own"]]
        gone = sorted(set(ids) - {id_ for id_, _ in said})
        if gone:
            past = await self.people.history.many({"of": {"$in": gone}}, {"of": 1, "own": 1})
            said += [(row["of"], row["own"]) for row in past if row["own"]]
        return {id_ for id_, own in said if master.sealed(showing.opened(bytes(own)))}

    async def _covered(self, call: Call, permit: Permit | None = None) -> Doc:
        id_ = call.path["id"]
        permit = permit or call.permit
        for told in (call.account.data, call.account.patients):
            if f"Patient/{id_}" not in told:
                told.append(f"Patient/{id_}")
        if permit.narrow:
            where = search.narrow(permit, pdqm.PARAMETERS)
            found = await self.people.records.one({"$and": [{"_id": id_}, where]}, _READ)
        else:
            found = await self.by_id.get(id_)
        if found is None or not (await self.sights.of(call.caller)).tells_of(found["system"]):
            raise Refused(Issue(NOT_FOUND, "No Patient has this id."))
        return found

    async def _by_id(self, ids: Sequence[str]) -> Mapping[str, Doc]:
        rows = await self.people.records.many({"_id": {"$in": list(ids)}}, _READ)
        return {r["_id"]: r for r in rows}


def _is_domains(clause: Clause) -> bool:
    """Whether an identifier clause names domains only: `identifier=a|,b|`."""
    return not clause.modifier and all(
        isinstance(v, Token) and v.system and not v.code for v in clause.values
    )


def _led(call: Call, asked: Search) -> bool:
    """Whether an index leads to what is looked for: by the query, or by each way of the scope."""
    leading = (*pdqm.LEADING, "_lastUpdated")
    ways = [{name.partition(":")[0] for name, _ in group} for group in call.permit.narrow]
    return any(asked.has(name) for name in leading) or (
        bool(ways) and all(not way.isdisjoint(leading) for way in ways)
    )


def _states(asked: Search) -> Filter:
    """Merged records are found by whoever asks for them, and by nobody else (D2)."""
    by_name = any(not c.modifier and not _is_domains(c) for c in asked.of("identifier"))
    inactive = any(
        isinstance(v, Token) and v.code == "false" and not c.modifier
        for c in asked.of("active")
        for v in c.values
    )
    if by_name or inactive or asked.has("_id"):
        return {"state": {"$in": ["active", "subsumed"]}}
    return {"state": "active"}


def _existing(sight: Sight) -> Filter:
    """The records that the caller may know of at all."""
    return {"system": {"$nin": sorted(sight.closed)}} if sight.closed else {}


def _count(call: Call) -> int:
    said = [v for k, v in call.query if k == "_count"]
    if not said:
        return 0
    if len(said) > 1 or not said[0].isdecimal() or int(said[0]) < 1 or int(said[0]) > 10_000:
        raise Refused(Issue(INVALID, "_count is a number from 1 to 10000, given once.", "_count"))
    return int(said[0])


def _history(call: Call, versions: Sequence[Doc], total: int) -> bytes:
    """The history Bundle, joined from stored bytes."""
    url = f"{call.base}/Patient/{call.path['id']}"
    entries = [_entry(url, call.path["id"], version) for version in versions]
    head = (
        f'{{"resourceType":"Bundle","type":"history","total":{total},'
        f'"link":[{{"relation":"self","url":"{url}/_history"}}]'
    ).encode()
    return head + b',"entry":[' + b",".join(entries) + b"]}"


def _entry(url: str, id_: str, version: Doc) -> bytes:
    method, status = "PUT", "200 OK"
    if version["state"] == "removed":
        method, status = "DELETE", "204 No Content"
    elif version["v"] == 1:
        status = "201 Created"
    resource = b"" if method == "DELETE" else b',"resource":' + bytes(version["b"])
    rest = (
        f',"request":{{"method":"{method}","url":"Patient/{id_}"}},'
        f'"response":{{"status":"{status}","etag":"W/\\"{version["v"]}\\"",'
        f'"lastModified":"{instant(version["at"])}"}}}}'
    )
    return f'{{"fullUrl":"{url}"'.encode() + resource + rest.encode()
