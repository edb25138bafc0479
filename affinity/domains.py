"""Identifier domains: one row for each, with all its names, its form, and how it may be used. PURE.

A domain is said as a URI, as an OID (`urn:oid:…`), as an HL7 v2 namespace, or by a further URI that
some systems write; `Register` leads every name to the canonical URI and back (OpenHIE CR-02; PIX
digest §1.4). A family (`NS/Id/social-care-id/<LAcode>`) is a row whose members are domains of their
own: its OID and namespace carry the member's code too, so that no list of members is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from affinity.numbers import CHECKS, FORMS

Tier = Literal["A", "B", "C", "X"]
Of = Literal[
    "person", "logical", "case", "event", "matter", "file", "document", "place", "organisation"
]
Hold = Literal["hard", "soft", "none"]
Kind = Literal["placeholder", "test", "absent"]
Existence = Literal["open", "closed"]
Reuse = Literal["never", "superseded", "duplicated", "reissued", "recycled", "renewed"]

OID = "urn:oid:"
EVERY = "*"  # a placeholder of every domain
_MEMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,39}")
_LOGICAL = r"Patient/[A-Za-z0-9\-.]{1,64}"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Values of a domain that are kept and never matched on: `placeholder` stands for "not known",
    `absent` is a reason written in the number's place, `test` is never issued to a person."""

    domain: str
    pattern: re.Pattern[str]
    kind: Kind
    why: str


class Names(NamedTuple):
    """The names of one domain: URI, OID (dotted, "" for none) and HL7 v2 namespace."""

    uri: str
    oid: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Domain:
    """One identifier domain. `prefix` is set for a family such as `NS/Id/social-care-id/<LAcode>`:
    every system below it is a domain of its own with these properties.

    `of` says what a number names; `logical` is the domain of another FHIR server's own ids, written
    `Patient/id`. `hold` says what a wrong check character means: refused, doubted, or nothing.
    `existence` is closed where already to know that somebody has such a number tells too much
    (police contact, victimisation); it is asked of domains, not of families.
    """

    id: str
    name: str
    system: str
    regex: str
    check: str
    assigner: str
    scope: str
    unique: str
    tier: Tier
    match_use: str
    prefix: bool = False
    of: Of = "person"
    hold: Hold = "none"
    form: str = "plain"
    existence: Existence = "open"
    oid: str = ""
    namespace: str = ""
    also: tuple[str, ...] = ()
    reuse: Reuse = "duplicated"
    hazard: str = ""
    placeholders: tuple[Placeholder, ...] = ()
    accepts_test: bool = True

    @property
    def of_person(self) -> bool:
        """False for case, event, matter, document and place numbers, which never identify a person."""
        return self.of in ("person", "logical")

    def normal(self, value: str) -> str:
        """The stored form of a value: what is stored and what is asked are both brought to it."""
        return FORMS[self.form].normal(value)

    def compared(self, value: str) -> str:
        """What of a stored value is compared between records; "" when it must not be compared."""
        return FORMS[self.form].compared(value) if self.usable(value) else ""

    def temporary(self, value: str) -> bool:
        """Whether a stored value is for the time being only (a UPN that ends in a letter), so that
        another one in its place is no contradiction."""
        return FORMS[self.form].temporary(value)

    def shaped(self, value: str) -> bool:
        """Whether a stored value has the domain's syntax."""
        return self.regex == "opaque" or _shape(self.regex).fullmatch(value) is not None

    def valid(self, value: str) -> bool:
        """Whether a stored value has the domain's syntax and, where it must, its check character."""
        if not self.shaped(value):
            return False
        return self.hold != "hard" or CHECKS[self.check].holds(value)

    def doubtful(self, value: str) -> bool:
        """Whether a check that only warns fails (domain digest §1.2 c). Of an opaque number nobody
        knows which characters it covers."""
        if self.hold != "soft" or self.regex == "opaque":
            return False
        return self.shaped(value) and not CHECKS[self.check].holds(value)

    def listed(self, value: str) -> Placeholder | None:
        """The row of the placeholder list that a stored value is on; None for a real one."""
        for row in self.placeholders:
            if row.pattern.fullmatch(value):
                return row
        return None

    def placeholder(self, value: str) -> bool:
        """Whether a value stands for "not known": kept as sent, never matched on. Every
        repeated-digit NHS number passes its own check digit, so they are listed."""
        found = self.listed(value)
        return found is not None and found.kind != "test"

    def usable(self, value: str) -> bool:
        """Whether a stored value may say who somebody is. Test numbers may where the pack accepts
        them, even those that are chosen because they can never be valid (QQ123456C)."""
        return self._usable(value, self.listed(value))

    def _usable(self, value: str, found: Placeholder | None) -> bool:
        if found is None:
            return self.valid(value)
        return found.kind == "test" and self.accepts_test and (
            self.valid(value) or self.check == "nino"
        )  # fmt: skip

    def fault(self, value: str) -> str:
        """Why a stored value cannot be the number people are known by, in words; "" when it can.
        Only numbers with a check are held to their form: local numbers are their issuer's."""
        found = self.listed(value)
        if found is not None and (found.kind != "test" or not self.accepts_test):
            return f"This {self.name} says nothing about who it is: {found.why}."
        if self.of == "logical":
            return "" if self.shaped(value) else f"Write an id of {self.name} as Patient/id."
        if self.hold != "hard" or self._usable(value, found):
            return ""
        return f"This is no {self.name}: its form is {self.regex} {CHECKS[self.check].words}."


@dataclass(frozen=True, slots=True)
class Register:
    """All domains of a pack, found by any of their names."""

    domains: tuple[Domain, ...]
    by_name: Mapping[str, Domain]
    servers: frozenset[str]

    @classmethod
    def of(cls, domains: Iterable[Domain]) -> Register:
        """Indexed by every name. Raises `ValueError` when two domains share one."""
        all_ = tuple(domains)
        index: dict[str, Domain] = {}
        for domain in all_:
            for name in _names(domain):
                other = index.setdefault(name, domain)
                if other is not domain:
                    raise ValueError(f"{name} names both {other.id} and {domain.id}")
        servers = frozenset(d.system for d in all_ if d.of == "logical")
        return cls(all_, index, servers)

    def domain_of(self, system: str) -> Domain | None:
        """The domain behind a canonical system, directly or as a member of a family."""
        found = self.by_name.get(system)
        if found is not None and not found.prefix and found.system == system:
            return found
        head, _, last = system.rpartition("/")
        family = self.by_name.get(head + "/")
        if family is None or not family.prefix or not _MEMBER.fullmatch(last):
            return None
        return family if family.system == head + "/" else None

    def canonical(self, said: str) -> str:
        """The canonical system for a URI or `urn:oid:` that was said; what nobody knows stays."""
        found = self.by_name.get(said)
        if found is not None:
            return said if found.prefix else found.system
        if said.startswith(OID):
            return self._of_oid(said) or said
        head, _, last = said.rpartition("/")
        family = self.by_name.get(head + "/")
        if family is not None and family.prefix and last:
            return family.system + last
        stroke = said.rstrip("/")
        return stroke if stroke != said and stroke in self.servers else said

    def of_authority(self, namespace: str = "", oid: str = "") -> str:
        """The canonical system of an HL7 v2 assigning authority (HD: namespace, universal id); ""
        when nobody knows it, or when its two halves name different domains."""
        by_oid = self.canonical(OID + oid) if oid else ""
        if oid and self.domain_of(by_oid) is None:
            return ""
        by_namespace = self._of_namespace(namespace) if namespace else ""
        if namespace and oid:
            return by_oid if by_namespace == by_oid else ""
        return by_oid or by_namespace

    def names(self, system: str) -> Names | None:
        """The names of a canonical system for the other standards; None when it is unknown."""
        domain = self.domain_of(system)
        if domain is None:
            return None
        if not domain.prefix:
            return Names(system, domain.oid, domain.namespace)
        member = system.removeprefix(domain.system)
        arc = int.from_bytes(member.encode("ascii"), "big")
        oid = f"{domain.oid}.{arc}" if domain.oid else ""
        return Names(system, oid, domain.namespace + member if domain.namespace else "")

    def _of_oid(self, urn: str) -> str:
        """The member of a family by its OID: the last arc is the member's code as a number."""
        head, _, last = urn.rpartition(".")
        family = self.by_name.get(head)
        if family is None or not family.prefix or not last.isdecimal() or len(last) > 100:
            return ""
        arc = int(last)
        code = arc.to_bytes((arc.bit_length() + 7) // 8, "big").decode("ascii", "replace")
        return family.system + code if _MEMBER.fullmatch(code) else ""

    def _of_namespace(self, namespace: str) -> str:
        for domain in self.domains:
            if domain.namespace and namespace == domain.namespace and not domain.prefix:
                return domain.system
        fits = [
            d for d in self.domains
            if d.prefix and d.namespace and namespace.startswith(d.namespace)
            and _MEMBER.fullmatch(namespace.removeprefix(d.namespace))
        ]  # fmt: skip
        best = max(fits, key=lambda d: len(d.namespace), default=None)
        return best.system + namespace.removeprefix(best.namespace) if best else ""


def _names(domain: Domain) -> Iterable[str]:
    yield domain.system
    yield from domain.also
    if domain.oid:
        yield OID + domain.oid
    if domain.namespace:  # never a URI, so it cannot be said in its place
        yield f" {domain.namespace}"
    if domain.of == "logical":
        yield domain.system + "/"


def read(rows: Iterable[Mapping[str, str]], listed: Iterable[Mapping[str, str]], *, arc: str,
         accepts_test: bool) -> tuple[Domain, ...]:  # fmt: skip
    """The domains of `identifier_domains.csv` and `identifier_placeholders.csv`.

    `ARC.` in the OID column stands for the pack's own arc. Raises `ValueError` in words that name
    the row for a tier, form, check, hold, kind or regular expression that does not exist.
    """
    placeholders = [_placeholder(row) for row in listed]
    made = tuple(_domain(row, placeholders, arc, accepts_test) for row in rows)
    known = {d.id for d in made} | {EVERY}
    for strange in (p for p in placeholders if p.domain not in known):
        raise ValueError(f"identifier_placeholders.csv: there is no domain {strange.domain!r}")
    return made


def _domain(
    row: Mapping[str, str], placeholders: Iterable[Placeholder], arc: str, accepts_test: bool
) -> Domain:
    def one_of(name: str, allowed: Iterable[str]) -> str:
        if row[name] not in allowed:
            raise ValueError(
                f"identifier_domains.csv, {row['id']}: {name} {row[name]!r} is none of "
                f"{', '.join(allowed)}"
            )
        return row[name]

    system, family = row["system"], row["system"].endswith(">")
    if family:
        system = system[: system.rindex("<")]
    of = one_of("of", Of.__args__)  # type: ignore[attr-defined]
    if of == "logical":
        system = system.rstrip("/")
    oid = arc + row["oid"][3:] if row["oid"].startswith("ARC.") else row["oid"]
    regex = _LOGICAL if of == "logical" else row["regex"]
    if regex != "opaque":
        _pattern(regex, f"identifier_domains.csv, {row['id']}")
    return Domain(
        row["id"], row["name"], system, regex, one_of("check", CHECKS), row["assigner"],
        row["scope"], row["unique"], one_of("tier", ("A", "B", "C", "X")),  # type: ignore[arg-type]
        row["match_use"], family, of,  # type: ignore[arg-type]
        one_of("hold", ("hard", "soft", "none")),  # type: ignore[arg-type]
        one_of("form", FORMS), one_of("existence", ("open", "closed")), oid,  # type: ignore[arg-type]
        row["namespace"], tuple(a for a in row["also"].split("|") if a),
        one_of("reuse", Reuse.__args__), row["hazard"],  # type: ignore[attr-defined,arg-type]
        tuple(p for p in placeholders if p.domain in (row["id"], EVERY)), accepts_test,
    )  # fmt: skip


def _placeholder(row: Mapping[str, str]) -> Placeholder:
    kind = row["kind"]
    if kind not in ("placeholder", "test", "absent"):
        raise ValueError(
            f"identifier_placeholders.csv: kind {kind!r} is none of placeholder, test, absent"
        )
    pattern = _pattern(row["pattern"], f"identifier_placeholders.csv, {row['domain']}")
    return Placeholder(row["domain"], pattern, kind, row["why"])  # type: ignore[arg-type]


@cache
def _shape(regex: str) -> re.Pattern[str]:
    return re.compile(regex, re.ASCII)


def _pattern(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.ASCII | re.IGNORECASE)
    except re.error as fault:
        raise ValueError(f"{where}: {text!r} is no regular expression ({fault})") from fault
