"""What may happen to a source record: the acts of a feed, whichever door it came through.

    put      revise, or merge when the Patient says that another replaces it
    revise   add or change what is fed under an identifier
    merge    one record of a domain replaces another, at the word of their source
    remove   nobody is fed under this identifier any more

Each works on one `Change`, so that a message with several acts is one transaction. They know no
transport: ITI-104 (feed.py), PMIR messages and HL7 v2 all tell the same story with them:

    await committed(people, acting, turns(people, primary, patient), story)

where `story` gets a `Change`, does its acts, and calls `change.write()` once at the end. Whether the
actor may feed the domain (sources.py) and whether the body is sound (`faults`) is asked before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from chassis.mongo import Doc
from pix import claims, linking, showing
from pix.change import Acting, Change
from pix.identifiers import Identifier, parts
from pix.people import People
from pix.profiles import keys_of
from pix.record import Record
from standards.outcome import (
    BUSY,
    CONFLICT,
    NOT_FOUND,
    UNPROCESSABLE,
    UNRESOLVED,
    Issue,
    Refused,
)  # fmt: skip

T = TypeVar("T")
Kind = Literal["created", "revised", "merged", "removed", "unchanged"]
_TRIES = 12
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act did, and to which record; `new` when nobody was fed under its identifier before. Its
    version and bytes are right once the change is written."""

    kind: Kind
    record: Record
    new: bool = False


async def committed(
    people: People,
    acting: Acting,
    turns: Iterable[str],
    story: Callable[[Change], Awaitable[T]],
) -> T:
    """Run `story` over a fresh Change in one transaction, again from the start when it lost a race.

    `turns` are the keys whose writers wait for each other within this process (`turns` below).
    Raises what the story raises; `Refused(BUSY)` when others were faster every time.
    """

    async def attempt(session: AsyncClientSession) -> T:
        return await story(Change(people, session, acting))

    async with people.turns.of(turns):
        for number in range(_TRIES):
            try:
                return await people.mongo.transaction(attempt, tries=24)
            except DuplicateKeyError:  # the other writer made it: now it is there
                await asyncio.sleep(0.002 * number)
    words = "Too many changes to the same record at once; send the request again."
    raise Refused(Issue(BUSY, words))


def turns(people: People, primary: Identifier, patient: Mapping[str, Any] | None) -> set[str]:
    """The keys of everyone who is likely to change the same documents as this act: the identifier, the
    anchor, and the blocking keys of what the Patient says."""
    if not patient:
        return {primary.key}
    own = showing.canonical(patient)
    claim, said = people.claim(primary, own, patient), people.says(own, patient)
    return {primary.key, claim.anchor or primary.key, *(k.text for k in keys_of(said))}


# -- the acts -----------------------------------------------------------------------------------------


async def put(change: Change, primary: Identifier, patient: Mapping[str, Any]) -> Outcome:
    """Revise, or merge when the Patient is replaced by another."""
    other = claims.survivor(patient)
    if other is None:
        return await revise(change, primary, patient)
    return await merge(change, primary, other, patient)


async def revise(change: Change, primary: Identifier, patient: Mapping[str, Any]) -> Outcome:
    """This is now what the source says of the person it knows by `primary`.

    The same content again changes nothing. Raises `Refused`: 409 for a record that was merged.
    """
    record = await change.claimed(primary)
    if record is not None and record.state == "subsumed":
        raise Refused(_subsumed(record))
    own = showing.canonical(patient)
    if record is not None and record.own == own:
        return Outcome("unchanged", record)
    if record is not None:
        before = showing.opened(record.own)
        clash = claims.other_issuer(before, patient, primary, change.domains)
        if clash is not None:
            raise Refused(clash)
    record, kind = _said(change, primary, record, own)
    await linking.place(change, record, patient)
    change.tell(kind, record)
    change.done()
    return Outcome(kind, record, new=kind == "created")


async def merge(
    change: Change,
    primary: Identifier,
    other: Mapping[str, Any],
    patient: Mapping[str, Any] | None = None,
) -> Outcome:
    """The record of `primary` is replaced by the one that `other` (`Patient.link.other`) names.

    `patient` is what the source says of the replaced one; without it, what it said before stands. The
    same merge again changes nothing. Raises `Refused`: 422 for an unknown survivor, itself, or another
    domain; 409 for a merge that contradicts an earlier one.
    """
    record = await change.claimed(primary)
    own = showing.canonical(patient or _replaced(record, primary, other))
    if record is not None and record.own == own:
        return Outcome("unchanged", record)
    survivor = await _survivor(change, primary, other)
    root = await _named_root(change, record)
    _check_merge(primary, record, survivor, root)
    await _not_undone(change, record, survivor)
    before = change.before.get(record.id) if record else None
    linked = await _link_of(change, record)
    record, kind = _said(change, primary, record, own)
    if record.state == "subsumed":
        change.tell("revised", record)  # told again in other words: the merge itself stands
        change.done()
        return Outcome("revised", record)
    stood, held = survivor.person, await _link_of(change, survivor)
    await change.subsume(record, survivor)
    await linking.reconsider(change, survivor)
    change.decide(
        "merge",
        [record.id, survivor.id],
        reason="the source resolved a duplicate",
        evidence={
            "subsumed": primary.key,
            "survivor": survivor.primary.key,
            # what unmerge needs: which version stood before, in which person, by which link
            "record": record.id,
            "into": survivor.id,
            "version": before["v"] if before else 0,
            "person": before["person"] if before else "",
            "link": linked,
            "stood": stood,
            "went": survivor.person,
            "held": held,
        },
    )
    change.tell("merged", record)
    change.done()
    return Outcome("merged", record, new=kind == "created")


async def remove(change: Change, primary: Identifier) -> Outcome | None:
    """Nobody is fed under `primary` any more; what was merged into the record goes with it.

    None when it was removed before. Raises `Refused`: 404 when nobody was ever fed under it.
    """
    record = await change.claimed(primary)
    if record is None:
        if await change.was_removed(primary):
            return None
        raise Refused(Issue(NOT_FOUND, "Nobody is known under this identifier.", "identifier"))
    await change.read_persons([record.person])
    if record.state == "subsumed":
        gone = [await _forget(change, record)]
    else:
        gone = [*change.tail(record), record]
        for one in gone:
            await change.retire(one, "removed")
    change.decide(
        "remove",
        [r.id for r in gone],
        reason="the source removed it",
        evidence={"identifier": primary.key},
    )
    for one in gone:
        change.tell("removed", one)
    change.done()
    return Outcome("removed", record)


# -- their steps --------------------------------------------------------------------------------------


def _said(
    change: Change, primary: Identifier, record: Record | None, own: bytes
) -> tuple[Record, Kind]:
    """The record with its source's new words, made when it is new."""
    kind: Kind = "revised" if record else "created"
    if record is None:
        record = Record(
            id=change.ids(),
            system=primary.system,
            value=primary.value,
            own=own,
            client=change.actor.client,
            organisation=change.actor.organisation,
        )
        change.add(record)
    record.own, record.client, record.said = own, change.actor.client, change.now
    record.organisation = change.actor.organisation
    change.touch(record)
    return record, kind


async def _not_undone(change: Change, record: Record | None, survivor: Record) -> None:
    """What people have undone is not done again by the source's repeating itself."""
    if record is None or record.state == "subsumed":
        return
    where = {
        "type": "unmerge", "evidence.record": record.id, "evidence.survivor": survivor.id,
    }  # fmt: skip
    if await change.people.decisions.one(where, {"_id": 1}, change.session):
        words = "A steward has undone this merge; talk to the exchange before it is made again."
        raise Refused(Issue(CONFLICT, words, "Patient.link[0].other"))


async def _link_of(change: Change, record: Record | None) -> Doc | None:
    if record is None:
        return None
    await change.links.read([record.id])
    link = change.links.matches.get(record.id)
    return link.document() if link else None


def _replaced(
    record: Record | None, primary: Identifier, other: Mapping[str, Any]
) -> dict[str, Any]:
    """What a source says that merges without a body: as before, replaced by `other`."""
    said: dict[str, Any] = (
        showing.opened(record.own)
        if record
        else {
            "resourceType": "Patient",
            "identifier": [{"system": primary.system, "value": primary.value}],
            "name": [{"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}],
        }
    )
    kept = [k for k in said.get("link") or () if k.get("type") != "replaced-by"]
    link = [{"other": dict(other), "type": "replaced-by"}, *kept]
    return {**said, "active": False, "link": link}


async def _survivor(change: Change, primary: Identifier, other: Mapping[str, Any]) -> Record:
    """The record that a merge names: by identifier as PIXm does, else by reference as PMIR does.

    What other domains hold is not told to this one's source: their numbers are refused unread, and
    their records are as unknown as those that nobody has. Otherwise a merge would be a way to ask
    whether the police know a number.
    """
    domains, where = change.domains, "Patient.link[0].other"
    named = domains.identifier(*parts(other.get("identifier") or {}))
    found: Record | None
    if named.system and named.value:
        logical = domains.logical(named)
        if logical is None and named.system != primary.system:
            words = "Only records of one domain can be merged; other links are found by matching."
            raise Refused(Issue(UNPROCESSABLE, words, where))
        found = await (change.known_as(logical) if logical else change.claimed(named))
    else:
        reference = str(other.get("reference") or "").removeprefix(domains.base + "/")
        found = await change.known_as(reference.removeprefix("Patient/"))
    if found is None or found.state == "removed" or found.system != primary.system:
        words = "The survivor is not known in this domain; feed it there first."
        raise Refused(Issue(UNRESOLVED, words, where, xds=""))
    return found


async def _named_root(change: Change, record: Record | None) -> Record | None:
    return await change.known_as(record.root) if record and record.root else None


def _check_merge(
    primary: Identifier, record: Record | None, survivor: Record, root: Record | None
) -> None:
    where = "Patient.link[0].other"
    if survivor.primary == primary:
        raise Refused(Issue(UNPROCESSABLE, "A record cannot replace itself.", where))
    if record is not None and record.state == "subsumed":
        if survivor.id not in (record.into, root.id if root else ""):
            raise Refused(_subsumed(record))
        if survivor.state == "subsumed" and survivor.id != record.into:
            raise Refused(_merged_survivor(where))
    elif survivor.state == "subsumed":
        raise Refused(_merged_survivor(where))


def _merged_survivor(where: str) -> Issue:
    words = "The survivor was itself merged into another record; name that one."
    return Issue(CONFLICT, words, where)


async def _forget(change: Change, record: Record) -> Record:
    """Remove a subsumed record alone: its survivor no longer carries its number, and what had been
    merged into it now leads to that survivor."""
    survivor = change.records[record.root]
    survivor.absorbed = [i for i in survivor.absorbed if i != record.primary]
    change.touch(survivor)
    for child in [r for r in change.records.values() if r.into == record.id]:
        child.into = record.into
        change.touch(child)
    await change.retire(record, "removed")
    return record


def _subsumed(record: Record) -> Issue:
    return Issue(
        CONFLICT,
        f"This record was merged into Patient/{record.root}; revise that one. "
        "Undoing a merge is a matter of stewardship.",
        "identifier",
    )
