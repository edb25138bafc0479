"""The other ends of HL7 v2 lines: who may send what, and who is told of changes, as CSV files.

    hl7v2_senders.csv    application, facility, client, organisation, role, purpose, transactions,
                         domain, national, certificate
    hl7v2_consumers.csv  name, host, port, application, facility, domains, tls

They lie in the affinity pack or where the settings say. MLLP knows no tokens: a sender is known by
MSH-3 and MSH-4 of its messages and, over TLS, by its certificate.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from affinity.pack import Pack

SENDERS, CONSUMERS = "hl7v2_senders.csv", "hl7v2_consumers.csv"
EVERY = "*"


class PartnersError(ValueError):
    """A table of partners cannot be used; the words say which file and line, and what to do."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One system that may speak to the HL7 v2 door.

    `client`, `organisation`, `role` and `purpose` are what a token says of a registered client: they
    decide whose domains it may feed and which numbers it is shown. `transactions` are the IHE
    transactions it may use. `domain` is the authority of its numbers when a message names none,
    `national` that of PID-19 (none: PID-19 is not read).
    `certificate` is the common name or the SHA-256 fingerprint of its client certificate; empty: any
    certificate of the trusted authority.
    """

    application: str
    facility: str
    client: str
    organisation: str
    role: str
    transactions: tuple[str, ...]
    domain: str = ""
    national: str = ""
    certificate: str = ""
    purpose: str = ""

    @property
    def name(self) -> str:
        """What it is known by, for turns and for the register of messages."""
        return f"{self.application}|{self.facility}"


@dataclass(frozen=True, slots=True)
class Consumer:
    """One system that is told when the numbers of a person change (ITI-10): where it listens, and the
    domains it is interested in ("*": all that are shown)."""

    name: str
    host: str
    port: int
    application: str
    facility: str
    domains: tuple[str, ...]
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Partners:
    """Every partner of one exchange."""

    senders: tuple[Sender, ...] = ()
    consumers: tuple[Consumer, ...] = ()

    def sender(self, application: str, facility: str) -> Sender | None:
        """The sender with these names; None for a stranger."""
        return next(
            (s for s in self.senders if (s.application, s.facility) == (application, facility)),
            None,
        )


def load(
    pack: Pack,
    affinity: str,
    *,
    transactions: Sequence[str],
    senders: str = "",
    consumers: str = "",
) -> Partners:
    """The partners in these files, or in those of the pack called `affinity` (none there: no partners).

    `transactions` are the names that may be granted. Raises `PartnersError` with everything that is
    wrong in a file.
    """
    folder = Path(affinity)
    if not folder.is_dir():
        folder = Path(__file__).parent / affinity
    faults: list[str] = []
    told = [
        _sender(row, pack, where, transactions, faults)
        for where, row in _rows(senders, folder / SENDERS, _SENDER)
    ]
    asking = [
        _consumer(row, pack, where, faults)
        for where, row in _rows(consumers, folder / CONSUMERS, _CONSUMER)
    ]
    names = [s.name for s in told] + [c.name for c in asking]
    faults += [f"{name} is listed twice." for name in {n for n in names if names.count(n) > 1}]
    if faults:
        raise PartnersError("\n".join(faults))
    return Partners(tuple(told), tuple(asking))


_SENDER = (
    "application", "facility", "client", "organisation", "role", "purpose", "transactions", "domain",
    "national", "certificate",
)  # fmt: skip
_CONSUMER = ("name", "host", "port", "application", "facility", "domains", "tls")


def _rows(
    given: str, fallback: Path, columns: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    path = Path(given) if given else fallback
    if not path.is_file():
        if given:
            raise PartnersError(f"{given} is not a file; its columns are {','.join(columns)}.")
        return
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        absent = [c for c in columns if c not in (reader.fieldnames or ())]
        if absent:
            raise PartnersError(f"{path.name} lacks the columns {', '.join(absent)}.")
        for number, row in enumerate(reader, start=2):
            if None in row or None in row.values():
                raise PartnersError(
                    f"{path.name} line {number}: the number of fields differs from the header's."
                )
            yield f"{path.name} line {number}", {k: v.strip() for k, v in row.items()}


def _sender(
    row: Mapping[str, str], pack: Pack, where: str, transactions: Sequence[str], faults: list[str]
) -> Sender:
    faults += _empty(row, where, ("application", "facility", "client"))
    if row["role"] and row["role"] not in pack.roles:
        faults.append(f"{where}: the pack has no role {row['role']}.")
    if row["purpose"] and row["purpose"] not in pack.purposes:
        faults.append(f"{where}: the pack has no purpose {row['purpose']}.")
    granted = tuple(row["transactions"].split())
    strange = [t for t in granted if t not in transactions]
    if strange or not granted:
        said = " ".join(strange) or "nothing"
        faults.append(f"{where}: transactions holds {said}; it may be {' '.join(transactions)}.")
    domain = _domain(row["domain"], pack, f"{where}: domain", faults)
    national = _domain(row["national"], pack, f"{where}: national", faults)
    return Sender(
        row["application"], row["facility"], row["client"], row["organisation"], row["role"], granted,
        domain, national, row["certificate"], row["purpose"],
    )  # fmt: skip


def _consumer(row: Mapping[str, str], pack: Pack, where: str, faults: list[str]) -> Consumer:
    faults += _empty(row, where, ("name", "host", "application", "facility", "domains"))
    if not row["port"].isdecimal() or not 0 < int(row["port"]) < 65_536:
        faults.append(f"{where}: port is a number from 1 to 65535 (it is {row['port']!r}).")
    if row["tls"] not in ("yes", "no"):
        faults.append(f"{where}: tls is yes or no (it is {row['tls']!r}).")
    said = row["domains"].split()
    domains = (
        (EVERY,)
        if said == [EVERY]
        else tuple(_domain(s, pack, f"{where}: domains", faults) for s in said)
    )
    port = int(row["port"]) if row["port"].isdecimal() else 0
    return Consumer(
        row["name"], row["host"], port, row["application"], row["facility"], domains,
        row["tls"] == "yes",
    )  # fmt: skip


def _empty(row: Mapping[str, str], where: str, names: Sequence[str]) -> list[str]:
    return [f"{where}: {name} is empty." for name in names if not row[name]]


def _domain(said: str, pack: Pack, where: str, faults: list[str]) -> str:
    if not said:
        return ""
    system = pack.namespace + said[2:] if said.startswith("NS/") else said
    if pack.domain_of(system) is None:
        faults.append(f"{where}: {said} is no identifier domain of the pack.")
    return system
