"""Feeds that arrive together share a transaction.

A transaction costs some fifteen round trips, whether it feeds one record or thirty-two; so while one
flight is in the air, the next gathers. Nobody waits for a delay that was added, only for the flight
before. What cannot fly with others, or turns out not to, goes alone: one refusal, one race that is lost
or one fault that nobody foresaw does not concern the others.

    waiting ─► one Change: read for all ─► act by act, in order of arrival ─► write once ─► answers
                                    └─ refused, or anything failed ─► each by itself

Two flights may be in the air; the second takes off beside the first only when it is half full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from chassis import telemetry
from pix import acts
from pix.acts import Outcome
from pix.change import Acting, Change
from pix.identifiers import Identifier
from pix.people import People
from standards.outcome import Refused

MOST, IN_THE_AIR, _TRIES = 32, 2, 3
# A flight beside another takes off when so many wait: each flight costs its round trips, so two half
# empty ones cost twice what a full one does.
_FULL_ENOUGH = MOST // 2


@dataclass(slots=True)
class Passenger:
    """One Patient that is fed: what it is, who feeds it, what is done, and what is done when all of the
    flight is written (the AuditEvent, in the same transaction)."""

    primary: Identifier
    patient: Mapping[str, Any]
    acting: Acting
    act: Callable[[Change], Awaitable[Outcome]]
    landed: Callable[[Outcome], Mapping[str, Any] | None]
    seal: Callable[[Change, Sequence[Mapping[str, Any]]], Awaitable[None]]
    arrived: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Flights:
    """The feeds of one process."""

    def __init__(self, people: People) -> None:
        self.people = people
        self._waiting: list[Passenger] = []
        self._flying = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def board(self, passenger: Passenger) -> Outcome:
        """Feed it with whoever else is waiting. Raises what its act raises."""
        self._waiting.append(passenger)
        if self._may_fly(besides=self._flying):
            self._flying += 1
            task = asyncio.create_task(self._fly())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(passenger.arrived)

    def _may_fly(self, besides: int) -> bool:
        """Whether those who wait may take off now, with so many flights in the air."""
        if not besides:
            return bool(self._waiting)
        return besides < IN_THE_AIR and len(self._waiting) >= _FULL_ENOUGH

    async def _fly(self) -> None:
        try:
            await self._one_after_the_other()
        finally:  # in the same breath as the last look at who waits: whoever comes next takes off
            self._flying -= 1

    async def _one_after_the_other(self) -> None:
        while self._may_fly(besides=self._flying - 1):
            aboard = self._next()
            try:
                done = await self._together(aboard)
            except (Refused, PyMongoError):
                await asyncio.gather(*map(self._alone, aboard))
            except Exception as fault:
                # whose fault it is shows when each goes alone; one that only sharing has shows here
                telemetry.log(
                    telemetry.FLIGHT, feeds=len(aboard), fault=type(fault).__name__,
                    at=telemetry.place(fault.__traceback__),
                )  # fmt: skip
                await asyncio.gather(*map(self._alone, aboard))
            else:
                for passenger, outcome in zip(aboard, done, strict=True):
                    _arrived(passenger, outcome)

    def _next(self) -> list[Passenger]:
        """Those who have waited longest; two who speak of one record fly one after the other."""
        aboard: dict[Identifier, Passenger] = {}
        left: list[Passenger] = []
        for passenger in self._waiting:
            if passenger.primary in aboard or len(aboard) >= MOST:
                left.append(passenger)
            else:
                aboard[passenger.primary] = passenger
        self._waiting = left
        return list(aboard.values())

    async def _together(self, aboard: Sequence[Passenger]) -> list[Outcome]:
        keys = {k for p in aboard for k in acts.turns(self.people, p.primary, p.patient)}

        async def attempt(session: AsyncClientSession) -> list[Outcome]:
            return await self._attempt(aboard, session)

        async with self.people.turns.of(keys):
            return await self.people.mongo.transaction(attempt, tries=_TRIES)

    async def _attempt(
        self, aboard: Sequence[Passenger], session: AsyncClientSession
    ) -> list[Outcome]:
        change = Change(self.people, session, aboard[0].acting)
        await change.prefetch([(p.primary, p.patient) for p in aboard])
        done = []
        for passenger in aboard:
            change.act_as(passenger.acting)
            done.append(await passenger.act(change))
        if any(d.kind != "unchanged" for d in done):
            await change.write()
        sealed = [p.landed(d) for p, d in zip(aboard, done, strict=True)]
        await aboard[0].seal(change, [event for event in sealed if event is not None])
        return done

    async def _alone(self, passenger: Passenger) -> None:
        async def story(change: Change) -> Outcome:
            done = await passenger.act(change)
            if done.kind != "unchanged":
                await change.write()
            event = passenger.landed(done)
            await passenger.seal(change, [event] if event is not None else [])
            return done

        try:
            turns = acts.turns(self.people, passenger.primary, passenger.patient)
            done = await acts.committed(self.people, passenger.acting, turns, story)
        except Exception as fault:
            if not passenger.arrived.done():
                passenger.arrived.set_exception(fault)
        else:
            _arrived(passenger, done)


def _arrived(passenger: Passenger, done: Outcome) -> None:
    if not passenger.arrived.done():
        passenger.arrived.set_result(done)
