"""What a consumer is told when the numbers of a person change (ITI-10), and whether it is. PURE.

A notice says how things are now: all numbers of the person in the consumer's domains of interest. So
notices of one person may fall together, and one that is said late says the newest. A person with a single
number is not cross-referenced with anything; it is told only where more was told before, or where the
person was parted from another: a split is two notices (ITI TF-2a 3.10.4.1).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

from affinity.partners import EVERY, Consumer
from pix.cards import Told
from pix.hl7v2.acknowledge import written
from pix.hl7v2.authorities import stated
from pix.hl7v2.message import escaped
from pix.hl7v2.visit import House
from pix.identifiers import Domains, Identifier
from standards import hl7v2

# After these a single number is worth telling: the person was more before.
PARTING = frozenset({"left", "removed", "merged"})


def interesting(told: Iterable[Told], consumer: Consumer, domains: Domains) -> list[Identifier]:
    """The numbers of a person's card that a consumer is told, in one order."""
    return sorted(
        Identifier(t.system, t.value)
        for t in told
        if not domains.sealed(t.system)
        and (EVERY in consumer.domains or t.system in consumer.domains)
    )


def digest(numbers: Sequence[Identifier]) -> str:
    """What a consumer knows of a person, as a word to compare."""
    return hashlib.sha256("\n".join(n.key for n in numbers).encode()).hexdigest()[:32]


def worth_telling(numbers: Sequence[Identifier], last: str | None, parted: bool) -> bool:
    """Whether the consumer must be told: what it was told last is another thing, and there is
    something to tell."""
    if not numbers or digest(numbers) == last:
        return False
    return len(numbers) > 1 or parted or last is not None


def control_id(consumer: str, person: str, numbers: Sequence[Identifier], count: int) -> str:
    """MSH-10 of a notice: the same when it is said again, so that the consumer can tell (20 letters)."""
    seed = f"{consumer}\n{person}\n{count}\n{digest(numbers)}".encode()
    return base64.b32encode(hashlib.sha256(seed).digest()).decode()[:20]


def notice(
    numbers: Sequence[Identifier],
    consumer: Consumer,
    house: House,
    domains: Domains,
    *,
    when: str,
    control: str,
) -> bytes:
    """ADT^A31^ADT_A05 with all numbers, PID-5 a single blank, and PV1-2 N."""
    header = [
        "MSH", "^~\\&", escaped(house.application), escaped(house.facility),
        escaped(consumer.application), escaped(consumer.facility), when, "", "^".join(hl7v2.NOTICE),
        control, "P", "2.5", "", "", "", "", hl7v2.COUNTRY,
    ]  # fmt: skip
    cxs = "~".join(stated(n, domains) for n in numbers)
    return written(["|".join(header), f"EVN||{when}", f"PID|||{cxs}|| ", "PV1||N"])
