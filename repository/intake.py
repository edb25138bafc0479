"""Intake: what is let into the vault. The bytes must be of the type they are said to be, and a scanner,
where there is one, looks at them before anybody can retrieve them.

    type and bytes differ ──► refused          found something ──► kept in quarantine
    scanner away ──► refused (503), or, by setting, kept in quarantine until it has been scanned
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Literal

from chassis import telemetry
from repository.contents import Content
from repository.holds import Holds
from repository.scanning import AwayError, Scanner
from repository.vault import Kept, Vault, held
from standards.outcome import BUSY, BYTES_DIFFER, Issue, Refused
from standards.signatures import HEAD, mismatch

UNSCANNED = "not scanned yet"
_BATCH = 50


class Intake:
    """The vault's door for documents. The registry deposits, keeps and releases here."""

    def __init__(
        self,
        vault: Vault,
        scan: Scanner | None = None,
        away: Literal["refuse", "hold"] = "refuse",
        holds: Holds | None = None,
    ) -> None:
        self.vault, self._scan, self._away, self._holds = vault, scan, away, holds

    async def held(
        self, document: str, records: Collection[str], types: Collection[tuple[str, str]]
    ) -> list[str]:
        """As `Holds.on`."""
        return await self._holds.on(document, records, types) if self._holds else []

    async def deposit(self, content_type: str, content: Content, owner: str = "") -> Kept:
        """As `Vault.deposit`. Raises `Refused`: `BYTES_DIFFER` when the bytes are not of that type,
        `BUSY` when the scanner is away and the setting says refuse."""
        words = mismatch(content_type, await _head(content), whole=content.size <= HEAD)
        if words:
            raise Refused(Issue(BYTES_DIFFER, words))
        quarantine = await self._looked_at(content)
        return await self.vault.deposit(content_type, content, owner, quarantine)

    async def keep(self, documents: Mapping[str, str]) -> None:
        """As `Vault.keep`."""
        await self.vault.keep(documents)

    async def release(self, binary_ids: Collection[str]) -> None:
        """As `Vault.release`."""
        await self.vault.release(binary_ids)

    async def catch_up(self) -> int:
        """Scan what was taken while the scanner was away: clean documents leave quarantine, others stay
        with what was found. How many were scanned; stops when the scanner is away again."""
        if self._scan is None:
            return 0
        done = 0
        where = {"quarantine.why": UNSCANNED, "quarantine.at": {"$exists": True}}
        where |= {"state": {"$in": ["kept", "pending"]}}
        for row in await self.vault.deposits.many(where, sort=[("quarantine.at", 1)], limit=_BATCH):
            try:
                verdict = await self._scan(self.vault.read(held(row)))
            except AwayError:
                return done
            change = {"$unset": {"quarantine": ""}} if verdict.clean else {
                "$set": {"quarantine": {"why": _found(verdict.found), "at": datetime.now(UTC)}}
            }  # fmt: skip
            await self.vault.deposits.update(
                {"_id": row["_id"], "quarantine.why": UNSCANNED}, change
            )
            done += 1
        return done

    async def _looked_at(self, content: Content) -> str:
        """Why this is to be kept in quarantine, "" when it is not."""
        if self._scan is None:
            return ""
        try:
            verdict = await self._scan(content.open())
        except AwayError as fault:
            telemetry.log(telemetry.NEIGHBOUR, neighbour="scanner", fault=type(fault).__name__)
            if self._away == "refuse":
                words = (
                    "The scanner that looks at every document does not answer; send it again later."
                )
                raise Refused(Issue(BUSY, words)) from None
            return UNSCANNED
        if verdict.clean:
            return ""
        telemetry.log(telemetry.QUARANTINED, service="repository")
        return _found(verdict.found)


def _found(name: str) -> str:
    return f"the scanner found {name}"


async def _head(content: Content) -> bytes:
    head = b""
    async for piece in content.open():
        head += piece[: HEAD - len(head)]
        if len(head) >= HEAD:
            break
    return head
