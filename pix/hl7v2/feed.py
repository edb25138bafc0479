"""ADT: a source tells of its people (ITI-8, ITI-30).

    A01 A04 A05 A08 A28 A31   added, or brought up to date; unknown ones are added
    A40                       MRG-1 is replaced by PID-3; no demographics are taken from it
    A47                       the number MRG-1 becomes PID-3

Each is one transaction: the acts (pix/acts.py), the AuditEvents in the outbox, and the answer in the
register of messages. PAM's corners (PIX digest §7.4): a replaced number that nobody is known by is no
error and changes nothing; a surviving one that nobody is known by makes A40 a change of number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chassis import outbox
from chassis.call import Account
from pix import acts, claims
from pix.change import Change
from pix.hl7v2.acknowledge import acknowledgement
from pix.hl7v2.authorities import Number, Place, numbers
from pix.hl7v2.demographics import Told, located, revised, told
from pix.hl7v2.taken import Taken, repeated
from pix.hl7v2.visit import Done, Unfit, Visit, audited
from pix.identifiers import Domains, Identifier
from pix.people import DATABASE, People
from pix.record import Record
from pix.showing import opened
from pix.sources import Sources
from standards import outcome
from standards.hl7v2 import (
    DATA_TYPE,
    DUPLICATE_KEY,
    FEED_AUDIT,
    REQUIRED,
    SEQUENCE,
    UNKNOWN_KEY,
    ErrorCode,
    Fault,
    Location,
)
from standards.outcome import Issue, Refused
from standards.r4.check import check_structure

Step = tuple[Literal["C", "U", "D"], Identifier, str]
"""What is audited: the action, the number, the record's id."""

# What a refusal of the acts is in table 0357.
_CODES: dict[outcome.ErrorKind, ErrorCode] = {
    outcome.CONFLICT: DUPLICATE_KEY,
    outcome.UNRESOLVED: UNKNOWN_KEY,
    outcome.NOT_FOUND: UNKNOWN_KEY,
    outcome.FORBIDDEN: UNKNOWN_KEY,
    outcome.CODE_INVALID: UNKNOWN_KEY,
    outcome.REQUIRED: REQUIRED,
}


@dataclass(frozen=True, slots=True)
class Feed:
    """The stories of ADT messages over the People store."""

    people: People
    sources: Sources
    domains: Domains
    taken: Taken

    async def person(self, visit: Visit) -> Done:
        """A01, A04, A05, A08, A28, A31: this is what the source knows of a person now.

        Raises `Unfit` with everything that is wrong, and `Refused(BUSY)` when others were faster.
        """
        sender = visit.sender
        said, faults = told(
            visit.message, self.domains, default=sender.domain, national=sender.national
        )
        chosen = await self._own(visit, said.numbers)
        key = chosen.identifier.key if chosen else ""
        if chosen is None and said.numbers:
            faults.append(_foreign(said.numbers[0]))
        if faults or chosen is None:
            raise Unfit(faults, key)
        primary = chosen.identifier

        async def story(change: Change) -> Done:
            before = await self._before(visit, change)
            if before is not None:
                return before
            record = await change.claimed(primary)
            known = record.own if record is not None and record.state == "active" else b""
            patient = revised(known, said, self.domains)
            issues = check_structure(patient) or claims.faults(patient, primary, self.domains)
            outcome.refuse_if(issues)
            done = await acts.revise(change, primary, patient)
            if done.kind != "unchanged":
                await change.write()
            action: Literal["C", "U"] = "C" if done.kind == "created" else "U"
            return await self._kept(visit, change, [(action, primary, done.record.id)])

        turns = acts.turns(self.people, primary, revised(b"", said, self.domains))
        try:
            return await acts.committed(self.people, visit.acting, turns, story)
        except Refused as refusal:
            raise _unfit(refusal, said, primary) from refusal

    async def pair(self, visit: Visit) -> Done:
        """A40, A47: the person known by MRG-1 is known by PID-3.

        Raises `Unfit` as `person` does: for numbers of two domains, for two equal ones, for one that
        was merged elsewhere before.
        """
        new, old = self._pair(visit)
        if await self._own(visit, [new]) is None:
            raise Unfit([_foreign(new)], new.identifier.key)
        renaming = visit.row.act == "rename"

        async def story(change: Change) -> Done:
            before = await self._before(visit, change)
            if before is not None:
                return before
            steps: list[Step] = []
            replaced = await change.claimed(old.identifier)
            survivor = await change.claimed(new.identifier)
            if replaced is not None:
                steps = [("D", old.identifier, replaced.id)]
                if survivor is None or renaming:
                    steps.append(await self._renamed(change, replaced, survivor, new.identifier))
                else:
                    steps.append(("U", new.identifier, survivor.id))
                done = await acts.merge(change, old.identifier, _other(new.identifier))
                if done.kind != "unchanged":
                    await change.write()
            return await self._kept(visit, change, steps, new.identifier)

        turns = {new.identifier.key, old.identifier.key}
        try:
            return await acts.committed(self.people, visit.acting, turns, story)
        except Refused as refusal:
            raise _unfit(refusal, None, new.identifier) from refusal

    # -- who is spoken of -------------------------------------------------------------------------

    async def _own(self, visit: Visit, said: Sequence[Number]) -> Number | None:
        """The number that the person is fed under: the first one of a domain that the sender is the
        source of, its own domain before others."""
        first = sorted(said, key=lambda n: n.identifier.system != visit.sender.domain)
        for number in first:
            system = number.identifier.system
            if self.domains.unfeedable(system):
                continue
            if await self.sources.may_feed(visit.caller, system):
                return number
        return None

    def _pair(self, visit: Visit) -> tuple[Number, Number]:
        """The surviving number of PID-3 and the replaced one of MRG-1, of one domain."""
        message, default = visit.message, visit.sender.domain
        pid, mrg = message.first("PID"), message.first("MRG")
        news, faults = numbers(Place(pid, 1, 3), self.domains, default=default)
        olds, more = numbers(Place(mrg, 1, 1), self.domains, default=default)
        faults += more
        for found, place, words in (
            (news, Location("PID", 1, 3), "PID-3 must hold the number that stays."),
            (olds, Location("MRG", 1, 1), "MRG-1 must hold the number that is replaced."),
        ):
            if not found and not faults:
                faults.append(Fault(REQUIRED, words, place))
        if len(olds) > 1:
            words = "MRG-1 holds one number; send one message for each pair."
            faults.append(Fault(SEQUENCE, words, Location("MRG", 1, 1, 2)))
        if faults:
            raise Unfit(faults)
        old = olds[0]
        new = next((n for n in news if n.identifier.system == old.identifier.system), None)
        if new is None:
            words = (
                "PID-3 holds no number of the assigning authority of MRG-1; only numbers of one "
                "authority can be merged."
            )
            raise Unfit([Fault(UNKNOWN_KEY, words, Location("MRG", 1, 1, 1, 4))])
        if new.identifier == old.identifier:
            words = "A number cannot replace itself."
            where = Location("MRG", 1, 1, 1, 1)
            raise Unfit([Fault(DUPLICATE_KEY, words, where)], new.identifier.key)
        return new, old

    # -- inside the transaction ---------------------------------------------------------------------

    async def _before(self, visit: Visit, change: Change) -> Done | None:
        """The answer that this very message had before, in this or another process."""
        earlier = await self.taken.earlier(visit, change.session)
        answer, fault = repeated(visit, earlier)
        if fault is not None:
            raise Unfit([fault])
        return Done(answer, earlier.said) if answer is not None and earlier is not None else None

    async def _renamed(
        self, change: Change, replaced: Record, survivor: Record | None, new: Identifier
    ) -> Step:
        """Make the record that bears the new number, from what is known under the old one."""
        if survivor is not None:
            if replaced.state == "subsumed" and replaced.into == survivor.id:
                return "U", new, survivor.id  # told again
            words = "Somebody is known by the new number already; merge the two with A40."
            raise Unfit([Fault(DUPLICATE_KEY, words, Location("PID", 1, 3, 1, 1))], new.key)
        if replaced.state == "subsumed":
            words = "The old number was merged into another before; nobody is known by it."
            raise Unfit([Fault(DUPLICATE_KEY, words, Location("MRG", 1, 1, 1, 1))], new.key)
        patient = opened(replaced.own)
        patient["identifier"] = [
            {**said, "value": new.value}
            if self.domains.identifier(said.get("system", ""), said.get("value", ""))
            == replaced.primary
            else said
            for said in patient.get("identifier") or ()
        ]
        outcome.refuse_if(claims.faults(patient, new, self.domains))
        done = await acts.revise(change, new, patient)
        return "C", new, done.record.id

    async def _kept(
        self,
        visit: Visit,
        change: Change,
        steps: Sequence[Step],
        spoken_of: Identifier | None = None,
    ) -> Done:
        """The answer, with the AuditEvents and the register's row in the same transaction."""
        answer = acknowledgement(visit.message, (), visit.envelope)
        events: list[dict[str, object]] = []
        told_of: list[tuple[Literal["C", "U", "D"], Identifier | None, str]] = [*steps]
        for action, identifier, record in told_of or [("U", spoken_of, "")]:
            account = Account(
                patients=[identifier] if identifier else [],
                data=[f"Patient/{record}"] if record else [],
            )
            pattern = FEED_AUDIT[visit.row.transaction, action]
            events += audited(
                visit.house, pattern, visit.caller, account, now=visit.now, peer=visit.peer.address,
                control_id=visit.message.control_id,
            )  # fmt: skip
        for event in events:
            await outbox.put(change.session, self.people.mongo, DATABASE, event)
        key = (spoken_of or steps[-1][1]).key if spoken_of or steps else ""
        done = Done(answer, "AA", tuple(events), key)
        await self.taken.keep(visit, done, change.session)
        return done


def _other(identifier: Identifier) -> dict[str, object]:
    return {"identifier": {"system": identifier.system, "value": identifier.value}}


def _foreign(number: Number) -> Fault:
    words = (
        "None of these numbers is of a domain that this sender is the source of. It may carry the "
        "numbers of others, beside one of its own."
    )
    return Fault(UNKNOWN_KEY, words, Location("PID", 1, 3, number.repetition, 4))


def _unfit(refusal: Refused, said: Told | None, primary: Identifier) -> Exception:
    """A refusal of the acts as faults of the message; one that only asks for patience stays."""
    if any(i.kind is outcome.BUSY for i in refusal.issues):
        return refusal
    faults = [_fault(issue, said) for issue in refusal.issues if issue.severity != "warning"]
    return Unfit(faults, primary.key)


def _fault(issue: Issue, said: Told | None) -> Fault:
    code = _CODES.get(issue.kind, DATA_TYPE)
    if said is None:
        return Fault(code, issue.words, Location("MRG", 1, 1, 1, 1))
    where = located(issue, said)
    if issue.kind is outcome.CONFLICT:
        where = Location("PID", 1, 3, 1, 1)
    return Fault(code, issue.words, where)
