"""Identifiers and the domains they belong to. PURE.

A domain is known when the affinity pack lists it, or when it is this server's own FHIR base (PIXm
2:3.83.4.1.2: logical ids are written `serverBase|Patient/id`). Both sides of every comparison are
normalised here: what is stored and what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from affinity.domains import Names
from affinity.pack import Domain, Pack
from standards.outcome import INVALID, REQUIRED_PARAMETER, Issue, Refused

_ENTERPRISE = "tlid"  # the Identity Manager's own number: never fed, never asked for
_LOGICAL = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})")
# One request asks the same of its identifiers a dozen times over; so many answers are remembered, of
# identifiers that are no longer than any real one.
_REMEMBERED, _LONG = 1 << 12, 200


class Identifier(NamedTuple):
    """A business identifier in its stored form."""

    system: str
    value: str

    @property
    def key(self) -> str:
        """The one string that stands for it; a system never holds a bar, so the first one parts."""
        return f"{self.system}|{self.value}"

    @classmethod
    def of(cls, key: str) -> Identifier:
        """The identifier that a key stands for."""
        system, _, value = key.partition("|")
        return cls(system, value)


@dataclass(frozen=True, slots=True)
class Domains:
    """The domains of one exchange: those of its pack, and its own FHIR base. What was asked is remembered,
    for one request asks the same again and again; who asks once of each identifier of a whole file has
    nothing to remember (`remembers`)."""

    pack: Pack
    base: str
    remembers: bool = True
    _domains: Callable[[str], Domain | None] = field(init=False, repr=False, compare=False)
    _systems: Callable[[str], tuple[str, Domain | None]] = field(
        init=False, repr=False, compare=False
    )
    _forms: Callable[[str, str], Identifier] = field(init=False, repr=False, compare=False)
    _uses: Callable[[Identifier], bool] = field(init=False, repr=False, compare=False)
    _faults: Callable[[Identifier], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, act, of_systems in (
            ("_domains", self.pack.domain_of, True),
            ("_systems", self._system, True),
            ("_forms", self._form, False),
            ("_uses", self._usable, False),
            ("_faults", self._fault, False),
        ):
            kept = self.remembers or of_systems  # there are few systems
            object.__setattr__(self, name, lru_cache(_REMEMBERED)(act) if kept else act)

    def system(self, said: str) -> str:
        """The canonical name of a domain, whichever of its names was said."""
        said = said.strip()
        if said.rstrip("/") == self.base:
            return self.base
        return self.pack.register.canonical(said)

    @property
    def servers(self) -> frozenset[str]:
        """The FHIR bases of feeding servers, whose own ids are domains (PIXm 2:3.83.4.1.2)."""
        return self.pack.register.servers

    def names(self, system: str) -> Names | None:
        """URI, OID and HL7 v2 namespace of a canonical system (OpenHIE CR-02); None: unknown."""
        return self.pack.register.names(system)

    def of_authority(self, namespace: str = "", oid: str = "") -> str:
        """The canonical system of an HL7 v2 assigning authority; "" when unknown."""
        return self.pack.register.of_authority(namespace, oid)

    def known(self, system: str) -> bool:
        """Whether a canonical system is a domain of this exchange."""
        return system == self.base or self.of(system) is not None

    def of(self, system: str) -> Domain | None:
        """The pack's domain behind a canonical system; None for our base and for strangers."""
        return (self._domains if len(system) < _LONG else self.pack.domain_of)(system)

    def identifier(self, system: str, value: str) -> Identifier:
        """The stored form of an identifier."""
        known = len(system) + len(value) < _LONG
        return (self._forms if known else self._form)(system, value)

    def _system(self, said: str) -> tuple[str, Domain | None]:
        system = self.system(said)
        return system, self.pack.domain_of(system)

    def _form(self, system: str, value: str) -> Identifier:
        system, domain = (self._systems if len(system) < _LONG else self._system)(system)
        return Identifier(system, domain.normal(value) if domain else value.strip())

    def logical(self, identifier: Identifier) -> str | None:
        """The logical id, when the identifier is `our base|Patient/id`."""
        if identifier.system != self.base:
            return None
        found = _LOGICAL.fullmatch(identifier.value)
        return found[1] if found else None

    def answers(self, system: str) -> bool:
        """Whether numbers of this domain may stand for a person when another system carries them.

        Local keys (tier C) count only from their own source, sealed ones (tier X) never, and numbers
        of cases, documents and places never name a person (domain digest §1.1; OpenHIE CR-04).
        """
        domain = self.of(system)
        if domain is None or not domain.of_person:
            return False
        return domain.tier in ("A", "B") or domain.of == "logical"

    def sealed(self, system: str) -> bool:
        """Whether numbers of this domain are kept but never shown (tier X)."""
        domain = self.of(system)
        return domain is not None and domain.tier == "X"

    def unfeedable(self, system: str) -> str:
        """Why a source may not name its people by this domain; "" when it may."""
        domain = self.of(system)
        if domain is None:
            return "this server's own logical ids are not a source's to give"
        if domain.id == _ENTERPRISE:
            return "only the Identity Manager gives these numbers"
        if domain.tier == "X":
            return f"{domain.name} is sealed and cannot be the number people are known by"
        if not domain.of_person:
            return f"{domain.name} names a {domain.of} and no person"
        return ""

    def usable(self, identifier: Identifier) -> bool:
        """Whether this very number may stand for a person when another system carries it: neither
        a placeholder nor out of form."""
        return (self._uses if _short(identifier) else self._usable)(identifier)

    def _usable(self, identifier: Identifier) -> bool:
        domain = self.of(identifier.system)
        return (
            domain is not None
            and self.answers(identifier.system)
            and domain.usable(identifier.value)
        )

    def fault(self, identifier: Identifier) -> str:
        """Why this cannot be the number people are known by, in words; "" when it can.

        Only numbers with a check are held to their form: local numbers are their issuer's.
        """
        return (self._faults if _short(identifier) else self._fault)(identifier)

    def _fault(self, identifier: Identifier) -> str:
        domain = self.of(identifier.system)
        return domain.fault(identifier.value) if domain is not None else ""

    def doubt(self, identifier: Identifier) -> str:
        """What looks wrong and may yet be right, in words; "" for nothing."""
        domain = self.of(identifier.system)
        if domain is None or not domain.doubtful(identifier.value):
            return ""
        return f"The check letter of this {domain.name} is not the one that was expected."

    def placeholder(self, identifier: Identifier) -> bool:
        """Whether this stands for "not known"."""
        domain = self.of(identifier.system)
        return domain is not None and domain.placeholder(identifier.value)

    def assigner(self, system: str) -> str:
        """The name of the authority behind a system where the pack knows it, else ""."""
        domain = self.of(system)
        if domain is None:
            return ""
        if not domain.prefix:
            return domain.assigner if domain.scope == "national" else ""
        code = system.rpartition("/")[2]
        return next(
            (o.name for o in self.pack.organisations.values() if code in o.code.split("/")), ""
        )


def _short(identifier: Identifier) -> bool:
    return len(identifier.system) + len(identifier.value) < _LONG


def token(text: str, where: str) -> tuple[str, str]:
    """System and value of `system|value`, unescaped (FHIR R4 search.html#escaping).

    Raises `Refused(INVALID)` for a missing bar, an empty half, or a list.
    """
    parts = [""]
    commas = 0
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            after = next(letters, "")
            parts[-1] += after if after in ("|", ",", "$", "\\") else letter + after
        elif letter == "|" and len(parts) == 1:
            parts.append("")
        else:
            commas += letter == ","
            parts[-1] += letter
    if commas:
        raise _invalid(
            f"{where} takes one identifier; a comma inside a value is written \\,", where
        )
    if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
        raise _invalid(
            f"{where} must be system|value with both halves; the bar may be sent as %7C.", where
        )
    return parts[0].strip(), parts[1].strip()


def criterion(query: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """The identifier that a conditional write names (FHIR R4 http.html#cond-update).

    Raises `Refused` (400) when it is missing, repeated or not `system|value`.
    """
    said = [value for name, value in query if name == "identifier"]
    if not said:
        raise Refused(
            Issue(
                REQUIRED_PARAMETER,
                "Say whom you mean: Patient?identifier=system|value.",
                "identifier",
            )
        )
    if len(said) > 1:
        raise _invalid("Give identifier once.", "identifier")
    return token(said[0], "identifier")


def parts(identifier: dict[str, Any]) -> tuple[str, str]:
    """System and value of a FHIR Identifier, "" for what it lacks."""
    return str(identifier.get("system") or ""), str(identifier.get("value") or "")


def _invalid(words: str, where: str) -> Refused:
    return Refused(Issue(INVALID, words, where))
