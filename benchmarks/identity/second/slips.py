"""PURE. How what was said comes to be written wrongly: by hand, by ear, by scanner, by an old system.

Every function takes what is right and dice, and gives what was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from random import Random
from unicodedata import combining, normalize

from benchmarks.identity.second.life import Name
from benchmarks.identity.second.rows import spellings

NEIGHBOURS: Mapping[str, str] = {
    "a": "qsz", "b": "vgn", "c": "xvd", "d": "sfe", "e": "wrd", "f": "dgr", "g": "fht", "h": "gjy", "i": "uok",
    "j": "hku", "k": "jli", "l": "ko", "m": "nj", "n": "bmh", "o": "ipl", "p": "ol", "q": "wa", "r": "etf",
    "s": "adw", "t": "ryg", "u": "yij", "v": "cbf", "w": "qes", "x": "zcs", "y": "tuh", "z": "xa",
}  # fmt: skip
SCANNED = (
    ("rn", "m"), ("m", "rn"), ("l", "i"), ("i", "l"), ("cl", "d"), ("vv", "w"), ("h", "b"), ("u", "v"), ("o", "0"),
    ("e", "c"), ("I", "l"), ("O", "0"), ("S", "5"), ("B", "8"),
)  # fmt: skip
HEARD = (
    ("ph", "f"), ("ck", "k"), ("ough", "off"), ("ie", "y"), ("ey", "y"), ("ee", "ea"), ("ai", "ay"), ("ou", "u"),
    ("wh", "w"), ("th", "t"), ("kh", "k"), ("dh", "d"), ("sz", "sh"), ("cz", "ch"), ("w", "v"),
    ("z", "s"), ("c", "k"), ("k", "c"), ("oo", "u"), ("u", "oo"), ("tt", "t"), ("ll", "l"), ("ss", "s"), ("n", "nn"),
    ("son", "sen"), ("x", "cks"), ("y", "i"), ("e", "a"), ("a", "e"), ("i", "ee"), ("q", "k"),
)  # fmt: skip
TITLES = ("Mr", "Mrs", "Miss", "Ms", "Dr", "Master")
NO_NAMES = ("UNKNOWN", "FNU", "NFN", "-", "Not Known", "X")
NO_SURNAMES = ("LNU", "NONE GIVEN", "-", ".", "Unknown", "NKN")


def plain(text: str) -> str:
    """Without marks over letters, as half of all systems store it."""
    swapped = text.translate(str.maketrans("łŁıŞşØøđĐ", "lLiSsOodD"))
    return "".join(c for c in normalize("NFKD", swapped) if not combining(c))


def typed(text: str, dice: Random) -> str:
    """One slip of the fingers."""
    if len(text) < 3:
        return text
    at = dice.randrange(1, len(text))
    kind = dice.randrange(5)
    if kind == 0 and at + 1 < len(text):
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + text[at] + text[at:]
    near = NEIGHBOURS.get(text[at].lower(), "e")
    if kind == 3:
        return text[:at] + dice.choice(near) + text[at + 1 :]
    return text[:at] + dice.choice(near) + text[at:]


def replaced(text: str, table: Sequence[tuple[str, str]], dice: Random) -> str:
    """One of the table's changes that applies here."""
    found = [(old, new) for old, new in table if re.search(old, text, re.IGNORECASE)]
    if not found:
        return text
    old, new = dice.choice(found)
    places = [m.start() for m in re.finditer(old, text, re.IGNORECASE)]
    at = dice.choice(places)
    put = new.capitalize() if text[at].isupper() else new
    return text[:at] + put + text[at + len(old) :]


def respelt(text: str, dice: Random) -> str:
    """Another accepted spelling; parts of a name vary by themselves."""
    others = spellings().get(text)
    if others:
        return dice.choice(others)
    parts = re.split(r"([ -])", text)
    known = [n for n, part in enumerate(parts) if part in spellings()]
    if not known:
        return text
    at = dice.choice(known)
    parts[at] = dice.choice(spellings()[parts[at]])
    return "".join(parts)


def joined_differently(text: str, family: bool, dice: Random) -> str:
    """Hyphens, spaces and apostrophes come and go; of two surnames one is left or they change places."""
    if "'" in text:
        return text.replace("'", dice.choice(("", " ", "’", "`")))
    if re.match(r"(Mc|Mac)[A-Z]", text):
        return re.sub(r"^(Mc|Mac)", dice.choice(("Mc ", "Mac", "Mac ", "Mc")), text)
    if re.match(r"(?i)(al|el|bin|ben|abu|abd|de|dela|le|van|st)[ -]", text):
        return re.sub(r"[ -]", dice.choice(("", " ", "-")), text, count=1)
    halves = re.split(r"[ -]", text)
    if len(halves) == 2:
        one, two = halves
        if family:
            return dice.choice(
                (f"{one} {two}", f"{one}-{two}", one, two, f"{two}-{one}", f"{one}{two}")
            )
        return dice.choice((f"{one} {two}", f"{one}-{two}", f"{one}{two}", one))
    return text


# ── whole names ──────────────────────────────────────────────────────────────────────────────────────
Written = dict[str, object]


def written(given: Sequence[str], family: str) -> Written:
    """A HumanName in its proper shape."""
    found: Written = {}
    if family:
        found["family"] = family
    if given:
        found["given"] = list(given)
    return found


def _swapped(name: Name, _dice: Random) -> Written:
    return (
        written((name.family,), " ".join(name.given))
        if name.family
        else written((), " ".join(name.given))
    )


def _text_only(name: Name, dice: Random) -> Written:
    first = " ".join(name.given)
    return {
        "text": dice.choice(
            (f"{first} {name.family}", f"{name.family.upper()}, {first}", f"{name.family} {first}")
        )
    }


def _all_given(name: Name, dice: Random) -> Written:
    return written((name.text,), dice.choice(("", *NO_SURNAMES)))


def _all_family(name: Name, _dice: Random) -> Written:
    return written((), name.text)


def _one_string(name: Name, _dice: Random) -> Written:
    return written((" ".join(name.given),), name.family)


def _titled(name: Name, dice: Random) -> Written:
    title = dice.choice(TITLES)
    return written((f"{title} {name.given[0]}", *name.given[1:]), name.family)


def _suffixed(name: Name, dice: Random) -> Written:
    return written(name.given, f"{name.family} {dice.choice(('Snr', 'Jnr', '(Senior)', 'Jr'))}")


def _initial(name: Name, dice: Random) -> Written:
    return written((name.given[0][0] + dice.choice(("", ".")),), name.family)


def _no_surname(name: Name, dice: Random) -> Written:
    return written(name.given[:1], dice.choice(("", *NO_SURNAMES)))


def _no_first_name(name: Name, dice: Random) -> Written:
    return written((dice.choice(NO_NAMES),), name.family or name.given[0])


def _two_last(name: Name, _dice: Random) -> Written:
    """A middle name slips into the surname."""
    return written(name.given[:1], " ".join((*name.given[1:], name.family)).strip())


def _last_but_one(name: Name, dice: Random) -> Written:
    """The second name is taken for the surname, as happens to whoever has three."""
    if len(name.given) < 2:
        return _swapped(name, dice)
    return written(name.given[:1], name.given[-1])


def _second_first(name: Name, _dice: Random) -> Written:
    return written((*name.given[1:], name.given[0]), name.family)


def _known_as(name: Name, dice: Random) -> Written:
    return written(
        (f"{name.given[0]} {dice.choice(('aka', 'known as', 'AKA'))} {name.given[-1]}",),
        name.family,
    )


def _cut(name: Name, dice: Random) -> Written:
    """An old system holds so many letters."""
    room = dice.choice((8, 10, 12))
    return written((name.given[0][:room],), name.family[:room])


def _shouted(name: Name, _dice: Random) -> Written:
    return written([g.upper() for g in name.given], name.family.upper())


SHAPES: Mapping[Callable[[Name, Random], Written], float] = {
    _swapped: 12, _text_only: 9, _all_given: 5, _all_family: 2, _one_string: 16, _titled: 6, _suffixed: 2,
    _initial: 8, _no_surname: 4, _no_first_name: 2, _two_last: 8, _last_but_one: 5, _second_first: 5, _known_as: 2,
    _cut: 4, _shouted: 12,
}  # fmt: skip


def misshapen(name: Name, dice: Random) -> Written:
    """A name in one of the shapes that nobody planned for."""
    shape: Callable[[Name, Random], Written] = dice.choices(list(SHAPES), list(SHAPES.values()))[0]
    return shape(name, dice)


def reordered(name: Name, form: str, dice: Random) -> Written:
    """Surname first, as it is said at home."""
    if form in ("patronymic", "arab") and dice.random() < 0.5:
        return _last_but_one(name, dice)
    return _swapped(name, dice)


def of_a_baby(mother: str, sex: str, twin: int, family: str, dice: Random) -> Written:
    """What a maternity ward writes before there is a name."""
    if twin and dice.random() < 0.7:
        return written(
            (
                dice.choice(
                    (f"Twin {twin}", f"Baby {twin}", f"Twin {'One' if twin == 1 else 'Two'}")
                ),
            ),
            family,
        )
    kind = "Boy" if sex == "male" else "Girl"
    first = mother.split(maxsplit=1)[0] if mother else ""
    return written(
        (dice.choice(("Baby", f"Baby {kind}", "Infant", f"Baby of {first}".strip())),), family
    )


# ── dates, sex, places ───────────────────────────────────────────────────────────────────────────────
def misdated(born: date, dice: Random) -> str:
    """A birthday with one thing wrong with it."""
    kind = dice.choices(
        ("swap", "digit", "day", "month", "year", "decade", "century", "january"),
        (22, 22, 14, 8, 14, 8, 3, 9),
    )[0]
    if kind == "swap" and born.day <= 12 and born.day != born.month:
        return f"{born.year}-{born.day:02d}-{born.month:02d}"
    if kind == "month":
        return _on(born.year, born.month % 12 + 1, born.day)
    if kind == "year":
        return _on(born.year + dice.choice((-1, 1)), born.month, born.day)
    if kind == "decade":
        return _on(born.year + dice.choice((-10, 10)), born.month, born.day)
    if kind == "century":
        return _on(born.year - 100, born.month, born.day)
    if kind == "january":
        return f"{born.year}-01-01"
    if kind == "digit":
        return _on(born.year, born.month, (born.day + dice.choice((-10, 10, 20)) - 1) % 28 + 1)
    return (born + timedelta(days=dice.choice((-1, 1)))).isoformat()


def _on(year: int, month: int, day: int) -> str:
    return f"{min(year, 2025)}-{month:02d}-{min(day, 28) if month == 2 else min(day, 30):02d}"


def vague(born: date, dice: Random) -> str:
    """Only a year, a year and month, the first of January, or somebody's guess."""
    kind = dice.choices(("year", "month", "january", "guess"), (35, 15, 30, 20))[0]
    if kind == "year":
        return str(born.year)
    if kind == "month":
        return f"{born.year}-{born.month:02d}"
    if kind == "january":
        return f"{born.year}-01-01"
    return str(min(2025, born.year + dice.choice((-5, -3, -2, -1, 1, 2, 4))))


def mispost(postcode: str, dice: Random) -> str:
    """A postcode as it is typed."""
    kind = dice.randrange(6)
    if kind == 0:
        return postcode.replace(" ", "")
    if kind == 1:
        return postcode.lower()
    if kind == 2:
        return postcode.replace("0", "O").replace("1", "I")
    if kind == 3:
        return postcode.split(" ", maxsplit=1)[0]
    if kind == 4 and len(postcode) > 4:
        return postcode[:-2] + postcode[-1] + postcode[-2]
    at = dice.choice([n for n, c in enumerate(postcode) if c.isalnum()] or [0])
    other = (
        dice.choice("0123456789")
        if postcode[at : at + 1].isdigit()
        else dice.choice("ABDEFGHJLNPQRSTUWXYZ")
    )
    return postcode[:at] + other + postcode[at + 1 :]


def misaddressed(lines: Sequence[str], dice: Random) -> list[str]:
    """Address lines as another office has them."""
    short = (
        ("Street", "St"),
        ("Road", "Rd"),
        ("Avenue", "Ave"),
        ("Lane", "Ln"),
        ("Close", "Cl"),
        ("Flat", "Apt"),
    )
    found = [
        re.sub(rf"\b{long}\b", cut, line) if dice.random() < 0.7 else line
        for line in lines
        for long, cut in [dice.choice(short)]
    ]
    return [", ".join(found)] if dice.random() < 0.4 else found


def dialled(phone: str, dice: Random) -> str:
    """The same number as people write it."""
    kind = dice.randrange(5)
    if kind == 0:
        return "+44" + phone[1:]
    if kind == 1:
        return f"{phone[:5]} {phone[5:8]} {phone[8:]}"
    if kind == 2:
        return f"+44 (0){phone[1:]}"
    if kind == 3:
        return f"{phone[:5]}-{phone[5:]}"
    return phone
