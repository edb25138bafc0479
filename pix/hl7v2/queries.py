"""QBP and QCN: the other numbers of a person (ITI-9), and people by their demographics (ITI-21).

A response is MSH MSA [ERR] QAK QPD and what was found (PIX digest §7.5, §7.7). What the sender may not
be shown is as if nobody had it, exactly as over HTTP (pix/sight.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.call import Account
from chassis.mongo import Doc, Filter
from governance.identifiers import Sight
from pix import places
from pix.crossreference import CrossReference
from pix.hl7v2 import asking
from pix.hl7v2.acknowledge import Standing, acknowledgement, response
from pix.hl7v2.authorities import Place, authorities, numbers, stated
from pix.hl7v2.message import missing, restated
from pix.hl7v2.pointers import Pointers
from pix.hl7v2.stating import pid
from pix.hl7v2.visit import Done, Unfit, Visit, audited
from pix.identifiers import Domains, Identifier
from pix.people import People
from pix.showing import opened
from pix.sight import Sights
from standards.hl7v2 import (
    DATA_TYPE,
    ITI_9_AUDIT,
    ITI_21_AUDIT,
    SEQUENCE,
    TABLE_VALUE,
    UNKNOWN_KEY,
    Fault,
    Location,
)

# PID-5 of ITI-9: the first repetition says nothing, the second only that it says nothing (3.9.4.2.2.2).
NAMELESS = "~^^^^^^S"


@dataclass(frozen=True, slots=True)
class Queries:
    """The stories of queries over the People store. `most` is the largest page."""

    people: People
    domains: Domains
    crossing: CrossReference
    sights: Sights
    pointers: Pointers
    most: int = 1000

    async def answer(self, visit: Visit) -> Done:
        """The response to a query. Raises `Unfit` with everything that is wrong with it."""
        match visit.row.act:
            case "cross-reference":
                return await self.cross_reference(visit)
            case "find":
                return await self.find(visit)
            case _:
                return await self.cancel(visit)

    # -- ITI-9 --------------------------------------------------------------------------------------

    async def cross_reference(self, visit: Visit) -> Done:
        """The numbers of the person that QPD-3 names, in the domains of QPD-4 (none: in all).

        Checked in the order syntax, source domain, target domains, number, so that nobody probes
        numbers with a made-up target.
        """
        qpd = visit.message.first("QPD")
        faults = [*missing(qpd, 1, 2, 3), *_now(visit)]
        sources, more = numbers(Place(qpd, 1, 3), self.domains, strange="AE")
        wanted, strange = authorities(Place(qpd, 1, 4), self.domains)
        faults += more
        if len(qpd.field(3)) > 1:
            faults.append(Fault(SEQUENCE, "QPD-3 holds one number.", Location("QPD", 1, 3, 2)))
        faults += strange
        if faults or not sources:
            raise Unfit(faults or [_unknown()])
        source = sources[0].identifier
        sight = await self.sights.of(visit.caller)
        key = self.crossing.key(source)
        card = await self.crossing.cards.get(key) if sight.sees(source.system) else None
        found = card.found(key) if card else None
        if card is None or found is None:
            raise Unfit([_unknown()])
        told = [
            Identifier(t.system, t.value)
            for t in card.told
            if (not wanted or t.system in wanted)
            and (t.system, t.value) != source
            and sight.sees(t.system)
        ]
        if found.state == "subsumed":
            told = []
        standing: Standing = "OK" if told else "NF"
        cxs = "~".join(stated(i, self.domains) for i in sorted(told))
        segments = [f"PID|||{cxs}||{NAMELESS}"] if told else []
        account = Account(patients=[source, f"Patient/{found.record}"], query=_named(visit))
        events = audited(
            visit.house, ITI_9_AUDIT, visit.caller, account, now=visit.now, peer=visit.peer.address,
            control_id=visit.message.control_id, raw=visit.message.raw,
        )  # fmt: skip
        answer = response(visit.message, visit.row, (), standing, segments, visit.envelope)
        return Done(answer, "AA", tuple(events))

    # -- ITI-21 -------------------------------------------------------------------------------------

    async def find(self, visit: Visit) -> Done:
        """One page of the people that QPD-3 describes, with a pointer when there are more."""
        message = visit.message
        qpd, dsc = message.first("QPD"), message.first("DSC")
        sight = await self.sights.of(visit.caller)
        faults = [*missing(qpd, 1, 2, 3), *_now(visit)]
        filters, more = asking.asked(qpd, self.domains, sight.sees)
        wanted, strange = authorities(Place(qpd, 1, 8), self.domains)
        size, odd = self._size(visit)
        faults += [*more, *strange, *odd]
        if faults:
            raise Unfit(faults)
        tag, query = qpd.value(2), hashlib.sha256(restated(qpd).encode()).hexdigest()
        after = ""
        if dsc.value(1):
            found = await self.pointers.follow(dsc.value(1), visit.sender.name, tag, query)
            if found is None:
                words = (
                    "This pointer is not of this query, or has expired; ask again from the start."
                )
                raise Unfit([Fault(UNKNOWN_KEY, words, Location("DSC", 1, 1))])
            after = found
        rows = await self._page(filters, wanted, sight, after, size)
        segments = self._people(rows[:size], wanted, sight)
        if len(rows) > size:
            last = rows[size - 1]["_id"]
            pointer = await self.pointers.make(visit.sender.name, tag, query, last, visit.now)
            segments.append(f"DSC|{pointer}|I")
        account = Account(
            patients=[f"Patient/{row['_id']}" for row in rows[:size]], query=_named(visit)
        )
        events = audited(
            visit.house, ITI_21_AUDIT, visit.caller, account, now=visit.now, peer=visit.peer.address,
            control_id=message.control_id, raw=message.raw, many=True,
        )  # fmt: skip
        standing: Standing = "OK" if rows else "NF"
        answer = response(message, visit.row, (), standing, segments, visit.envelope)
        return Done(answer, "AA", tuple(events))

    async def _page(
        self,
        filters: Sequence[Filter],
        wanted: Sequence[str],
        sight: Sight,
        after: str,
        size: int,
    ) -> list[Doc]:
        where: list[Filter] = [*filters, {"state": "active"}]
        if sight.closed:
            where.append({"system": {"$nin": sorted(sight.closed)}})
        if wanted:
            seen = [s for s in wanted if sight.sees(s)]
            where.append(asking.within(seen) if seen else asking.NOTHING)
        if after:
            where.append({"_id": {"$gt": after}})
        return await self.people.records.many(
            {"$and": where}, {"b": 1, "system": 1, "secret": 1}, sort=[("_id", 1)], limit=size + 1
        )

    def _people(self, rows: Sequence[Doc], wanted: Sequence[str], sight: Sight) -> list[str]:
        def shown(system: str) -> bool:
            return (not wanted or system in wanted) and sight.sees(system)

        def seen(row: Doc) -> dict[str, object]:
            guarded = bool(row.get("secret"))
            return places.told(opened(bytes(row["b"])), sight, fed=row["system"], guarded=guarded)

        made = [pid(seen(row), self.domains, shown) for row in rows]
        return [segment for segment in made if segment]

    def _size(self, visit: Visit) -> tuple[int, list[Fault]]:
        """How many people a page holds: RCP-2, `n^RD`."""
        rcp = visit.message.first("RCP")
        said, unit = rcp.value(2), rcp.value(2, component=2).upper()
        if not said:
            return self.most, []
        where = Location("RCP", 1, 2)
        if not said.isdecimal() or not int(said[:9]) > 0:
            words = "RCP-2 is how many records a page may hold, as in 10^RD."
            return 1, [Fault(DATA_TYPE, words, where)]
        if unit not in ("", "RD"):
            return 1, [Fault(TABLE_VALUE, "RCP-2 counts records: n^RD.", where)]
        return min(int(said[:9]), self.most), []

    async def cancel(self, visit: Visit) -> Done:
        """QCN^J01: the pointers of a query are forgotten. One that is not known is as good as that."""
        qid = visit.message.first("QID")
        faults = list(missing(qid, 1, 1))
        if faults:
            raise Unfit(faults)
        await self.pointers.forget(visit.sender.name, qid.value(1))
        events = audited(
            visit.house, ITI_21_AUDIT, visit.caller, Account(query=_named(visit)), now=visit.now,
            peer=visit.peer.address, control_id=visit.message.control_id, raw=visit.message.raw,
        )  # fmt: skip
        return Done(acknowledgement(visit.message, (), visit.envelope), "AA", tuple(events))


def _unknown() -> Fault:
    return Fault(UNKNOWN_KEY, "Nobody is known by this number.", Location("QPD", 1, 3, 1, 1))


def _now(visit: Visit) -> list[Fault]:
    """Answers are given at once; a query that wants another way is refused."""
    said = visit.message.first("RCP").value(1).upper()
    if said in ("", "I"):
        return []
    words = "Queries are answered at once; RCP-1 is I."
    return [Fault(TABLE_VALUE, words, Location("RCP", 1, 1))]


def _named(visit: Visit) -> str:
    return f"{visit.message.type}^{visit.message.trigger}"
