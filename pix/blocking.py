"""The keys under which a record's person is posted, and by which it looks for others. PURE.

Each key is narrow by itself (a number, a birth date with a part of a name, a part of a name at a
place), so that what a record reaches does not grow with the city: never a name alone, never a birth
date alone, never a postcode alone (matching digest §4.3, §5). All parts of a name share one kind of
key, so a name whose parts changed places is still found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pix.names import sound
from pix.traits import Name, Traits, area, district

# How many keys one record has at most, and how many persons one key holds before it splits.
MOST_KEYS, FULL, QUARANTINE = 16, 200, 10
# Seals under which the new identity goes on being treated, so that its own records belong together.
REJOINED = ("ADOPTION", "GRA")


class Key(NamedTuple):
    """One key. `strong`: a number, which more than `QUARANTINE` persons cannot share by right.
    `finer`: the keys that take over once `text` is full. `spare`: its persons count only where
    no other key found anyone, for it is the widest (matching digest §5)."""

    text: str
    strong: bool = False
    finer: tuple[str, ...] = ()
    spare: bool = False


def keys(traits: Traits) -> tuple[Key, ...]:
    """The keys of a record, the most telling first, at most `MOST_KEYS`.

    A sealed identity is no one's candidate (domain digest §1.6 P1–P3): it has no key but its own
    NHS number, by which the records of that identity find each other and nobody else finds
    them; a protected witness has none.
    """
    if traits.sealed:
        return tuple(
            Key(f"n|nhs|{n.value}", strong=True)
            for n in traits.numbers
            if n.domain == "nhs" and traits.sealed in REJOINED
        )
    found: dict[str, Key] = {}
    for key in _all(traits):
        found.setdefault(key.text, key)
    return tuple(found.values())[:MOST_KEYS]


def _all(t: Traits) -> Iterator[Key]:
    for number in t.numbers:
        yield Key(f"n|{number.domain}|{number.value}", strong=True)
    for born in t.born:
        yield from _by_birth(t, born)
    initials = _initials(t)
    for phone in t.phones[:3]:
        yield Key(f"t|{phone}", finer=tuple(f"t|{phone}|{i}" for i in initials))
    for email in t.emails[:2]:
        yield Key(f"m|{email}", finer=tuple(f"m|{email}|{i}" for i in initials))
    yield from _by_place(t)
    yield from _by_year(t)


def _by_birth(t: Traits, born: str) -> Iterator[Key]:
    """Birth date with a part of a name, and with a postcode."""
    if len(born) < 10:
        return
    for address in t.addresses[:2]:
        if address.postcode:
            text = f"dp|{born}|{_ordered(address.postcode)}"
            yield Key(text, finer=_finer(text, t, _initials(t)))
    vague = born.endswith("-01-01")
    for name in t.names[:4]:
        parts = _parts(name)
        for part in parts:
            others = sorted({o[0] for o in parts if o != part})
            text = f"dn|{born}|{part}"
            if vague and others:
                # Many have this birthday by convention: say a second name's letter at once.
                for other in others:
                    yield Key(f"{text}|{other}", finer=_finer(f"{text}|{other}", t, _areas(t)))
            else:
                yield Key(text, finer=_finer(text, t, others))


def _by_place(t: Traits) -> Iterator[Key]:
    """A given name with a place, for birth dates that were written wrongly."""
    year = t.born[0][:4] if t.born else ""
    for name in t.names[:2]:
        for address in t.addresses[:2]:
            for part in (name.given, *name.family[:1]) if address.postcode else ():
                # The surname at a postcode brings the household along, so it waits until nothing
                # else found anyone; it is there because names change places.
                text = f"gp|{sound(part)[:3]}|{_ordered(address.postcode)}"
                finer = (f"{text}|{year}",) if year else ()
                if len(part) > 1:
                    yield Key(text, finer=finer, spare=part != name.given)
            if name.given and address.uprn:
                text = f"gu|{sound(name.given)[:3]}|{address.uprn}"
                yield Key(text, finer=(f"{text}|{year}",) if year else ())
            if name.given and name.family and address.postcode:
                first, last = sorted((sound(name.given), sound(name.family[-1])))
                text = f"no|{first}|{last}|{area(address.postcode)}"
                yield Key(text, finer=(f"{text}|{year}",) if year else ())


def _by_year(t: Traits) -> Iterator[Key]:
    """Birth year with the beginnings of two names, for those of whom little else is known."""
    for name in t.names[:2]:
        if t.born and name.given and name.family:
            first, last = sorted((sound(name.given), sound(name.family[-1])))
            if len(t.born[0]) == 10 and not t.born[0].endswith("-01-01"):
                # Day and month with both names: for a year that was written wrongly.
                text = f"dm|{t.born[0][5:]}|{first}|{last}"
                yield Key(text, finer=_finer(text, t, _areas(t)))
    for name in t.names[:1]:
        if t.born and name.given and name.family:
            first, last = sorted((sound(name.given), sound(name.family[-1])))
            text = f"y|{t.born[0][:4]}|{first[:2]}|{last[:3]}"
            # Who has no full birth date has no better key than this.
            spare = len(t.born[0]) == 10 and not t.born[0].endswith("-01-01")
            yield Key(text, finer=_finer(text, t, _areas(t)), spare=spare)


def _ordered(postcode: str) -> str:
    """A postcode's letters in their order, so that two that were exchanged hide nobody."""
    return "".join(sorted(postcode))


def _parts(name: Name) -> list[str]:
    said = [name.given, *name.family, *name.middle[:2]]
    if name.middle and len(name.given) < 6 and len(name.middle[0]) < 6:
        said.append(name.given + name.middle[0])  # XIAO LING is often written XIAOLING
    return list(dict.fromkeys(sound(part) for part in said if len(part) > 1))[:5]


def _initials(t: Traits) -> list[str]:
    return sorted({n.given[0] for n in t.names if n.given})[:2]


def _areas(t: Traits) -> list[str]:
    return sorted({district(a.postcode) or a.postcode for a in t.addresses if a.postcode})[:2]


def _finer(text: str, t: Traits, by: list[str]) -> tuple[str, ...]:
    """A key with the sex and one more letter; who has no sex on record is found under either."""
    sexes = (t.sex[0],) if t.sex else ("f", "m")
    return tuple(f"{text}|{sex}|{b}" for sex in sexes for b in by[:3])
