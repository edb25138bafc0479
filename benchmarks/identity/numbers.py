"""PURE. Numbers that agencies give: right in form and check digit, and never anybody's (digest §1.2, §9.5).

Each is made from the person's number, so it is unique without keeping a list: UPN, PNC, CRO, NINO and
CRN up to a million people, the others beyond.
"""

from __future__ import annotations

from random import Random
from typing import Any
from zlib import crc32

from affinity.pack import NHS_NUMBER
from benchmarks.identity.people import serial
from benchmarks.identity.person import Person
from exchange.city.people import nhs_number

VERIFICATION = (
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus"
)
STATUSES = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland"
_Z = "ZABCDEFGHJKLMNPQRTUVWXY"
_A = "ABCDEFGHJKLMNPQRTUVWXYZ"


def own(form: str, person: Person, copy: int) -> str:
    """The agency's own number of a person; `copy` 1 is that of a duplicate it holds."""
    if form == "upn":
        return upn(person, temporary=copy > 0)
    if form == "pnc":
        return pnc(person, copy)
    if form == "crn":
        return f"{'XY'[copy]}{person.number * 7919 % 999_983:06d}"
    # Spread, so that no agency's number says anything about another's or about the truth.
    place = person.number + 5_000_000 * copy
    return form.format(n=(place * 4_567_891 + crc32(form.encode())) % 9_999_991)


def nhs_identifier(number: str, status: str) -> dict[str, Any]:
    """The NHS number with its verification status, as UK Core writes it."""
    concept = {"coding": [{"system": STATUSES, "code": status}]}
    return {
        "extension": [{"url": VERIFICATION, "valueCodeableConcept": concept}],
        "use": "official",
        "system": NHS_NUMBER,
        "value": number,
    }


def another_nhs(person: Person, dice: Random) -> str:
    """A number that is somebody else's: mostly of the same household, else a stranger's."""
    if person.spouse_or_kin and dice.random() < 0.6:
        other = dice.choice(person.spouse_or_kin)
    else:
        other = max(0, person.number + dice.choice((-1, 1)) * dice.randrange(10, 3000))
    if other == person.sealed:  # the seal is tested by what people do, not by a number that leaks
        other = max(0, person.number - 11)
    return nhs_number(serial(other))


def upn(person: Person, *, temporary: bool = False) -> str:
    """Unique pupil number of a school that does not exist; temporary ones end in a letter."""
    number = person.number if person.pupil is None else person.pupil
    year = (person.born.year + 4) % 100
    council = person.council if person.pupil is None else person.pupil_council
    body = f"{council}{9000 + number // 1000 % 1000}{year:02d}{number % 1000:03d}"
    if temporary:
        body = body[:-1] + _A[int(body[-1])]
    total = sum(
        (int(c) if c.isdigit() else _A.index(c)) * w
        for c, w in zip(body, range(2, 14), strict=True)
    )
    return _A[total % 23] + body


def pnc(person: Person, copy: int = 0, *, short: bool = False) -> str:
    """Police national computer id from serials never reached; some systems write it short."""
    year = 1999 + (person.number + copy * 7) % 20
    number = 9_000_000 + (person.number + copy * 500_000) % 1_000_000
    letter = _Z[int(f"{year % 100:02d}{number:07d}") % 23]
    return f"{year % 100:02d}/{number}{letter}" if short else f"{year}/{number:07d}{letter}"


def cro(person: Person) -> str:
    """Criminal records office number, of the standard form."""
    number, year = 900_000 + person.number % 100_000, 70 + person.number // 100_000 % 30
    return f"{number}/{year}{_Z[int(f'{year}{number:06d}') % 23]}"


def nino(person: Person) -> str:
    """National Insurance number with the prefix QQ, which is never issued."""
    spread = person.number * 7919 % 1_000_000
    return f"QQ{spread:06d}{'ABCD'[person.number % 4]}"


def prison(person: Person) -> str:
    """Prison number."""
    first, last = divmod(person.number, 10_000)
    return f"Z{last:04d}{chr(65 + first // 26 % 26)}{chr(65 + first % 26)}"


def uln(person: Person) -> str:
    """Unique learner number of the range 999…, with a right check digit."""
    at = person.number
    while True:
        body = f"{999_000_000 + at}"
        check = (10 - sum(int(d) * w for d, w in zip(body, range(10, 1, -1), strict=True))) % 11
        if check != 10:
            return f"{body}{check}"
        at -= 50_000_000
