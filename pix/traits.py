"""What of a record is compared with others: normalised, short, and kept beside it. PURE.

A record's traits are made once, when it is fed, and stored in the profile of its person, so that a
comparison reads no FHIR. Everything that cannot tell people apart (placeholders, pseudo-postcodes,
"baby", titles) has become absent here; absent is never disagreement (matching digest §4.2, §4.4).

Over 400 lines because every element of one Patient is read here, and nowhere else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from affinity.pack import Domain
from pix.claims import NO_DATES, STATUSES, VERIFICATION, VERIFIED
from pix.identifiers import Domains, parts
from pix.names import PARTICLES, folded, forenames, surnames
from pix.names import parts as words

# What of one record is compared at most; further values are kept in the record and not compared.
MOST_NAMES, MOST_ADDRESSES, MOST_CONTACTS, MOST_NUMBERS = 6, 6, 6, 16


class Name(msgspec.Struct, array_like=True, frozen=True):
    """One name of a record. `given` is "" when absent or a placeholder; `family` are the surname's
    parts in order, so that a double-barrelled name can meet either of its halves."""

    given: str = ""
    middle: tuple[str, ...] = ()
    family: tuple[str, ...] = ()


class Address(msgspec.Struct, array_like=True, frozen=True):
    """One address: UPRN, postcode without blanks, and a key of its first line; "" for what is absent."""

    uprn: str = ""
    postcode: str = ""
    line: str = ""


class Number(msgspec.Struct, array_like=True, frozen=True):
    """One identifier that may be compared across records: the pack's domain id (for numbers that only
    their issuer may compare: id/issuer), its compared form, and whether its issuer has verified it
    (an NHS number of status 01)."""

    domain: str
    value: str
    verified: bool = False


class Traits(msgspec.Struct, array_like=True, frozen=True):
    """Everything about one record that is compared. `names[0]` and `born[0]` are the ones in use, the
    others are aliases and former ones. Dates are ISO and may be partial (`1984`, `1984-03`). `order` is
    the place in a multiple birth, "?" when only that there was one is known."""

    names: tuple[Name, ...] = ()
    born: tuple[str, ...] = ()
    sex: str = ""
    addresses: tuple[Address, ...] = ()
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    newborn: bool = False
    sealed: str = ""
    order: str = ""

    @property
    def usable(self) -> bool:
        """Whether there is anything by which the record could be found again."""
        return bool(self.names or self.numbers or self.phones or self.emails)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Traits)


def packed(traits: Traits) -> bytes:
    """As they are kept in a profile."""
    return _ENCODER.encode(traits)


def unpacked(kept: bytes) -> Traits:
    """From a profile."""
    return _DECODER.decode(kept)


# Labels of the pack's sensitivity system under which an identity is no one's candidate (domain
# digest §1.6 P1–P3).
SEALS = ("ADOPTION", "GRA", "WITPROT")


def traits(patient: Mapping[str, Any], domains: Domains) -> Traits:
    """The traits of a Patient, whatever is in it: nothing here raises, what is no trait is absent.

    The domains say which numbers may be compared: national ones (tiers A and B) across records,
    local ones (tier C) within their issuer, those of cases, matters and places never.
    """
    named = list(_names(patient))
    uprns, numbers = _identifiers(patient, domains)
    return Traits(
        names=_first((n for n, _ in named if n.given or n.family), MOST_NAMES),
        born=_first(_births(patient), 2),
        sex=sex if (sex := str(patient.get("gender") or "")) in ("male", "female") else "",
        addresses=_first(_addresses(patient, uprns), MOST_ADDRESSES),
        phones=_first(_telecoms(patient, ("phone", "sms"), phone), MOST_CONTACTS),
        emails=_first(_telecoms(patient, ("email",), email), MOST_CONTACTS),
        numbers=_first(numbers, MOST_NUMBERS),
        newborn=any(newborn for _, newborn in named),
        sealed=_seal(patient),
        order=_order(patient),
    )


T = TypeVar("T")


def _first(found: Iterable[T], most: int) -> tuple[T, ...]:
    return tuple(dict.fromkeys(found))[:most]


def gathered(said: Sequence[Traits]) -> Traits:
    """What several records of one person say together: every value once, the earlier records' first.
    Where they disagree about the sex or the place in a birth, the commonest counts."""
    if len(said) == 1:
        return said[0]
    sexes = Counter(t.sex for t in said if t.sex)
    orders = Counter(t.order for t in said if t.order)
    return Traits(
        names=_first((n for t in said for n in t.names), 3 * MOST_NAMES),
        born=_first((b for t in said for b in t.born), MOST_NAMES),
        sex=max(sexes, key=lambda s: (sexes[s], s)) if sexes else "",
        addresses=_first((a for t in said for a in t.addresses), 3 * MOST_ADDRESSES),
        phones=_first((p for t in said for p in t.phones), 3 * MOST_CONTACTS),
        emails=_first((e for t in said for e in t.emails), 3 * MOST_CONTACTS),
        numbers=_first((n for t in said for n in t.numbers), 3 * MOST_NUMBERS),
        newborn=all(t.newborn for t in said),
        sealed=next((t.sealed for t in said if t.sealed), ""),
        order=max(orders, key=lambda o: (orders[o], o)) if orders else "",
    )


def _listed(holder: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    """The objects of an element that repeats, and of nothing else."""
    found = holder.get(key)
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict):
            yield one


# Names -------------------------------------------------------------------------------------------

# The name in use comes first; names that were once used still find their person.
_USES = {"usual": 0, "official": 1, "": 2, "temp": 3, "nickname": 4, "anonymous": 9}


def _names(patient: Mapping[str, Any]) -> Iterator[tuple[Name, bool]]:
    said = [n for n in _listed(patient, "name") if n.get("use") != "anonymous"]
    for name in sorted(said, key=lambda n: _USES.get(str(n.get("use") or ""), 5)):
        given = " ".join(str(g) for g in name.get("given") or () if g)
        family = str(name.get("family") or "")
        if not given and not family:
            given, family = _spoken(str(name.get("text") or ""))
        elif name.get("use") != "nickname" and (whole := _in_one_field(given, family)):
            # The last word may be no surname all the same, so what was written counts as well; but not
            # as a second given name, which would tell brothers apart.
            yield _name(*_spoken(whole))
            given = " ".join(forenames(given)[0][:1])
        made, newborn = _name(given, family)
        yield made, newborn
        if len(made.given) > 2 and not made.middle and not made.family:
            # Somebody of one name: half of all systems have it as the surname.
            yield Name(family=(made.given,)), newborn


def _spoken(text: str) -> tuple[str, str]:
    """Given and family of a name that is only a text: `SMITH, John` or `John Smith`."""
    before, comma, after = text.partition(",")
    if comma:
        return after, before
    found = words(text)
    last = (
        -max(1, len(words(text.rsplit(maxsplit=1)[-1]))) if text.split() else -1
    )  # a double-barrelled one
    return " ".join(found[:last]), " ".join(found[last:])


@lru_cache(1 << 15)
def _in_one_field(given: str, family: str) -> str:
    """A whole name that somebody typed into one of the two fields, the other left empty or filled with
    a placeholder (`John Smith` and `-`); "" where both say something, or one says a single word."""
    first, newborn = forenames(given)
    if newborn or bool(first) == bool(surnames(family)):
        return ""
    said = given if first else family
    return said if sum(bool(surnames(word)) for word in _apart(said)) > 1 else ""


def _apart(said: str) -> list[str]:
    """The words between blanks, but for particles and the Irish O: `Mary`, `Smith-Jones`."""
    return [w for w in said.split() if len(w) > 1 and folded(w) not in PARTICLES]


@lru_cache(1 << 15)
def _name(given: str, family: str) -> tuple[Name, bool]:
    first, newborn = forenames(given)
    return Name(first[0] if first else "", first[1:], surnames(family)), newborn


# Births ------------------------------------------------------------------------------------------

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


def _births(patient: Mapping[str, Any]) -> Iterator[str]:
    born = str(patient.get("birthDate") or "")[:10]
    if _DATE.fullmatch(born) and born not in NO_DATES and born[:4] not in ("0000", "9999"):
        yield born


# Addresses ---------------------------------------------------------------------------------------

_POSTCODE = re.compile(r"[A-Z]{1,2}\d[A-Z\d]?\d[A-Z]{2}")
_NO_PLACE = ("ZZ99", "NF1", "NFA", "XX")
_DIGIT_FOR = str.maketrans("OIL", "011")
_LETTER_FOR = str.maketrans("01", "OI")
# Words that many first lines share, so they do not say which dwelling it is.
_PLAIN = frozenset(
    "FLAT APARTMENT APT UNIT ROOM THE PLOT PITCH HOUSE C O CO CARE OF NO NUMBER".split()
)


# The letters that a postcode can begin with (Royal Mail's postcode areas).
_AREAS = frozenset(
    # ruff: noqa: SIM905 - words are read more easily as one string
    "B E G L M N S W AB AL BA BB BD BH BL BN BR BS BT CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL "
    "DN DT DY EC EH EN EX FK FY GL GU GY HA HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY LA LD LE "
    "LL LN LS LU ME MK ML NE NG NN NP NR NW OL OX PA PE PH PL PO PR RG RH RM SA SE SG SK SL SM SN SO "
    "SP SR SS ST SW SY TA TD TF TN TQ TR TS TW UB WA WC WD WF WN WR WS WV YO ZE".split()
)


@lru_cache(1 << 15)
def postcode(text: str) -> str:
    """A postcode without blanks, O and 0 put right by position; "" for pseudo-postcodes and for what
    is none (domain digest §1.4)."""
    bare = re.sub(r"[^A-Z0-9]", "", text[:16].upper())
    if bare.startswith(_NO_PLACE) or len(set(bare)) < 2:
        return ""
    unit = bare[-3:-2].translate(_DIGIT_FOR) + bare[-2:].translate(_LETTER_FOR)
    for area in (2, 1) if 5 <= len(bare) <= 7 else ():
        letters = bare[:area].translate(_LETTER_FOR)
        district = bare[area:-3]
        digits = district[:1].translate(_DIGIT_FOR) + re.sub("[OI]", _digit, district[1:])
        found = letters + digits + unit
        if letters in _AREAS and _POSTCODE.fullmatch(found):
            return found
    # Elsewhere in the world: kept as it is, as long as it says something.
    return bare if any(c.isdigit() for c in bare) and len(bare) > 3 else ""


@lru_cache(1 << 15)
def district(code: str) -> str:
    """The part of a postcode that names a district; "" for what is no British postcode."""
    return code[:-3] if _POSTCODE.fullmatch(code) else ""


def area(code: str) -> str:
    """The district of a British postcode, the first two characters of a foreign one."""
    return district(code) or code[:2]


def _digit(found: re.Match[str]) -> str:
    return found[0].translate(_DIGIT_FOR)


def _addresses(patient: Mapping[str, Any], uprns: tuple[str, ...]) -> Iterator[Address]:
    said = list(_listed(patient, "address"))
    order = sorted(said, key=lambda a: a.get("use") == "old")
    for place, address in enumerate(order):
        code = postcode(str(address.get("postalCode") or ""))
        homeless = not code and bool(address.get("postalCode"))
        uprn = _uprn(address) or (uprns[0] if uprns and place == 0 and not homeless else "")
        line = "" if not code else line_key(tuple(str(x) for x in address.get("line") or ()))
        if code or uprn:
            yield Address(uprn, code, line)
    if not order and uprns:
        yield Address(uprns[0])


@lru_cache(1 << 15)
def line_key(lines: tuple[str, ...]) -> str:
    """The numbers and the first telling word of an address: "Flat 3", "10 Mill Street" → 3-10-MILL."""
    found: list[str] = []
    for word in folded(" ".join(lines)).split():
        if word[0].isdigit():
            found.append(word.lstrip("0"))
        elif word not in _PLAIN and len(word) > 1:
            found.append(word)
            break
    return "-".join(found[:4])


def _uprn(address: Mapping[str, Any]) -> str:
    """The UPRN of an address, from UK Core's AddressKey or any extension that says it holds one."""
    for extension in _listed(address, "extension"):
        inner = list(_listed(extension, "extension"))
        said = str(extension.get("url") or "") + " ".join(
            str(c.get("code") or "")
            for part in inner
            for c in [part.get("valueCoding") or {}, *_coded(part.get("valueCodeableConcept"))]
        )
        if "uprn" not in said.lower():
            continue
        for part in (extension, *inner):
            for value in (
                part.get("valueString"),
                part.get("valueIdentifier"),
                part.get("valueCode"),
            ):
                found = uprn(str(value.get("value") if isinstance(value, dict) else value or ""))
                if found:
                    return found
    return ""


def _coded(concept: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(concept, dict):
        yield from _listed(concept, "coding")


def uprn(text: str) -> str:
    """A property number without leading zeros, "" when it is none."""
    bare = text.strip().lstrip("0")
    return bare if re.fullmatch(r"\d{1,12}", bare) else ""


# Telecom -----------------------------------------------------------------------------------------


def _telecoms(patient: Mapping[str, Any], systems: tuple[str, ...], form: Any) -> Iterator[str]:
    for telecom in _listed(patient, "telecom"):
        if telecom.get("system") in systems:
            value = form(str(telecom.get("value") or "")[:100])
            if value:
                yield value


def phone(text: str) -> str:
    """A telephone number in national form, "" when it is too short or one digit over and over."""
    digits = re.sub(r"\D", "", text.replace("(0)", "") if text.lstrip()[:1] in "+0(" else text)
    if text.strip().startswith("+44"):
        digits = "0" + digits[2:].lstrip("0")
    elif digits.startswith("0044"):
        digits = "0" + digits[4:].lstrip("0")
    elif digits.startswith("44") and len(digits) == 12:
        digits = "0" + digits[2:]
    elif len(digits) == 10 and digits[0] in "127":
        digits = "0" + digits
    return digits if 10 <= len(digits) <= 15 and len(set(digits[-9:])) > 1 else ""


_NOBODY = re.compile(
    r"(no|none|unknown|noreply|no-?reply|no-?email|test|na|n/a|info|admin|enquiries)@.*"
)


def email(text: str) -> str:
    """An e-mail address folded, without a +tag; "" when it is none or stands for none."""
    bare = text.strip().casefold()
    name, at, host = bare.partition("@")
    name = name.split("+")[0]
    if not at or not name or "." not in host or " " in bare or _NOBODY.fullmatch(f"{name}@{host}"):
        return ""
    return f"{name}@{host}"


# Numbers -----------------------------------------------------------------------------------------


def _identifiers(
    patient: Mapping[str, Any], domains: Domains
) -> tuple[tuple[str, ...], tuple[Number, ...]]:
    uprns: list[str] = []
    found: list[Number] = []
    for said in _listed(patient, "identifier"):
        system, value = parts(dict(said))
        identifier = domains.identifier(system, value)
        domain = domains.of(identifier.system)
        if domain is None:
            continue
        if domain.id == "uprn":
            uprns.extend(u for u in [uprn(identifier.value)] if u)
            continue
        number = _number(said, identifier.system, identifier.value, domain)
        if number is not None:
            found.append(number)
    # Verified ones first, so that the same number said twice counts as verified.
    best: dict[tuple[str, str], Number] = {}
    for number in sorted(found, key=lambda n: not n.verified):
        best.setdefault((number.domain, number.value), number)
    return tuple(uprns), tuple(best.values())


def _number(said: Mapping[str, Any], system: str, value: str, domain: Domain) -> Number | None:
    """An identifier as it is compared, None when its domain, its form or its use forbids that."""
    if not domain.of_person or domain.tier == "X" or domain.id in ("tlid", "uprn"):
        return None
    form = compared(domain, value)
    if not form:
        return None
    if domain.tier == "C":
        # The case number of an NHS organisation is told apart by who assigned it.
        issuer = system.rpartition("/")[2] if domain.prefix else _assigner(said)
        if domain.id == "mrn" and not issuer:
            return None
        return Number(f"{domain.id}/{issuer}", form)
    return Number(
        domain.id, form, domain.id == "nhs" and said.get("use") != "old" and _verified(said)
    )


def _assigner(said: Mapping[str, Any]) -> str:
    assigner = said.get("assigner")
    identifier = assigner.get("identifier") if isinstance(assigner, dict) else None
    return str(identifier.get("value") or "") if isinstance(identifier, dict) else ""


def _verified(said: Mapping[str, Any]) -> bool:
    return any(
        coding.get("code") == VERIFIED and coding.get("system") in STATUSES
        for extension in _listed(said, "extension")
        if extension.get("url") == VERIFICATION
        for coding in _coded(extension.get("valueCodeableConcept"))
    )


_NINO = re.compile(r"[A-Z]{2}\d{6}")
_PNC = re.compile(r"(\d{2}|\d{4})/?(\d{1,7})([A-Z])")
_CRO = re.compile(r"(\d{1,6})/(\d{2}[A-Z])")


def compared(domain: Domain, value: str) -> str:
    """The form in which a number is compared; "" when it is malformed, a placeholder or a reason, or a
    test number that the pack does not accept.

    NINO: the first eight, since the suffix drifts. PNC: year of four digits, serial of seven. A UPN
    whose last character is a letter is temporary and will be replaced: it may agree, but its
    difference says nothing, so it is kept under its own form (domain digest §1.2, §1.3).
    """
    listed = domain.listed(value)
    if listed is not None and not (listed.kind == "test" and domain.accepts_test):
        return ""
    bare = re.sub(r"[\s\-.]", "", value.upper())
    if domain.id == "nino":
        return bare[:8] if _NINO.fullmatch(bare[:8]) and len(bare) <= 9 else ""
    if domain.id == "pnc":
        found = _PNC.fullmatch(bare)
        return _pnc(*found.groups()) if found else ""
    if domain.id == "cro":
        found = _CRO.fullmatch(bare)
        return f"{found[1].zfill(6)}/{found[2]}" if found else bare
    if domain.check == "mod11" or domain.id in ("upn", "uln"):
        return bare if domain.valid(bare) and len(set(bare)) > 1 else ""
    if domain.tier == "C":
        return value.strip().upper()
    return bare if len(set(bare)) > 1 else ""


def _pnc(year: str, serial: str, letter: str) -> str:
    if len(year) == 2:
        year = ("20" if int(year) <= 38 else "19") + year
    return f"{year}/{serial.zfill(7)}{letter}"


def _order(patient: Mapping[str, Any]) -> str:
    place = patient.get("multipleBirthInteger")
    if isinstance(place, int) and 1 <= place <= 7:  # 8 and 9 say "does not apply" and "not known"
        return str(place)
    return "?" if patient.get("multipleBirthBoolean") is True else ""


def _seal(patient: Mapping[str, Any]) -> str:
    meta = patient.get("meta")
    for label in _listed(meta, "security") if isinstance(meta, dict) else ():
        if label.get("code") in SEALS and str(label.get("system") or "").endswith("/sensitivity"):
            return str(label["code"])
    return ""
