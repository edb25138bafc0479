"""Names of people: folded for comparison, split into parts, and told apart. PURE.

General rules come first (folding, a phonetic skeleton that survives transliteration, edit distance);
the lists in `pix/data/` hold only what no rule can know: nicknames, titles, placeholders. What is
displayed is never touched; only what is compared (domain digest §1.4, §9.2; matching digest §4.2).
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from importlib.resources import files

from rapidfuzz.distance import OSA, JaroWinkler

# What a name may cost: longer texts and further parts are not compared (names of 10,000 characters).
LONGEST, MOST_PARTS, LONGEST_PART = 240, 8, 40
_CACHE = 1 << 16

# Letters that decomposition leaves alone.
_LETTERS = str.maketrans(
    {
        "Ł": "L", "Ø": "O", "Æ": "AE", "Œ": "OE", "Đ": "D", "Ð": "D", "Þ": "TH", "Ħ": "H", "Ŧ": "T",
        "ı": "I", "İ": "I", "Ə": "A", "ẞ": "SS", "Ŋ": "NG", "Ɓ": "B", "Ɗ": "D", "Ƙ": "K", "Ơ": "O",
        "Ư": "U",
    }
)  # fmt: skip
# Marks that belong inside a name: apostrophes, ayn, hamza, the right-to-left marks, zero-width joiners.
_INSIDE = re.compile("['`´’‘ʼʻʿʾ′＇\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_BETWEEN = re.compile(r"[\W_]+")
# The one-letter Irish O and the Scottish Mc and Mac are written apart, with an apostrophe, or joined.
_PREFIXES = ("MC", "MAC", "O")


class Likeness(IntEnum):
    """How alike two parts of a name are, from nothing in common to the same."""

    OTHER = 0
    SOUND = 1  # sounds alike, or spelt nearly alike
    NEAR = 2  # one slip of the pen, a variant spelling or a nickname
    SAME = 3


def _words(name: str) -> Iterable[tuple[str, str]]:
    with files("pix").joinpath("data", name).open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            first, second = row.values()
            yield first, second


def _listed(kind: str, by: str | None = None) -> frozenset[str]:
    return frozenset(w for k, words in _words("words.csv") if k == kind for w in words.split(by))


def _groups() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for group, names in _words("nicknames.csv"):
        for name in names.split():
            found.setdefault(name, set()).add(group)
    return {name: frozenset(groups) for name, groups in found.items()}


TITLES = _listed("title")
NEWBORN, NEWBORN_WITH = _listed("newborn"), _listed("newborn_with")
UNKNOWN = _listed("unknown")
PHRASES = re.compile(r"\b(" + "|".join(sorted(_listed("phrase", ";"), reverse=True)) + r")\b")
PARTICLES = _listed("particle")
GENERIC = _listed("generic")
# Words among given names that are nobody's own: son of, daughter of, and the Vietnamese THI and VAN.
MARKERS = _listed("marker")
# First names that many sons of one family bear before the name that each is called by.
HONOURED = _listed("honoured")
GROUPS = _groups()
_NONE: frozenset[str] = frozenset()


@lru_cache(_CACHE)
def folded(text: str) -> str:
    """A name as it is compared: capitals, no accents, no apostrophes, one blank between words.

    Scripts other than Latin keep their letters; what they cannot have (combining marks, direction
    marks) goes. Texts beyond `LONGEST` characters are cut, so that no name can be a burden.
    """
    text = text[:LONGEST].upper().translate(_LETTERS)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = _INSIDE.sub("", text.upper().translate(_LETTERS))
    return _BETWEEN.sub(" ", text).strip()


# Digits inside a word are letters that a scanner or a hurried eye took for them: J0HN, 5MITH.
_MIXED = re.compile(r"[A-Z]*(?:[A-Z][0158]|[0158][A-Z])[A-Z0158]*")
_FOR_DIGIT = str.maketrans("0158", "OISB")


def _lettered(found: re.Match[str]) -> str:
    return found[0].translate(_FOR_DIGIT)


@lru_cache(_CACHE)
def parts(text: str) -> tuple[str, ...]:
    """The words of a name, without titles and placeholders; Mc, Mac and O' joined to what follows."""
    words = PHRASES.sub(" ", _MIXED.sub(_lettered, folded(text))).split()
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] in _PREFIXES and len(word) > 2:
            kept[-1] += word
        elif word not in UNKNOWN:
            kept.append(word[:LONGEST_PART])
    bare = [w for w in kept if w not in TITLES]
    return tuple((bare or [])[:MOST_PARTS])


@lru_cache(_CACHE)
def forenames(text: str) -> tuple[tuple[str, ...], bool]:
    """Given names in order, and whether they stand for a child not yet named ("Baby", "Twin one")."""
    words = folded(text).split()
    if any(word in NEWBORN for word in words):
        rest = [w for w in words if w not in NEWBORN and w not in NEWBORN_WITH]
        # "Baby of Sarah": the name that is left is the mother's.
        return (
            ((), True) if not rest or "OF" in words or words[0] in NEWBORN else (parts(text), False)
        )
    found = parts(text)
    return tuple(w for w in found if w not in MARKERS) or found, False


@lru_cache(_CACHE)
def surnames(text: str) -> tuple[str, ...]:
    """The parts of a surname, particles left out where something else remains (AL-HASSAN, DE SOUZA)."""
    words = parts(text)
    bare = tuple(w for w in words if w not in PARTICLES)
    return bare or words


_SOUNDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (r"(?<=A)X(?=[AMD])|(?<=[A-Z]{3}A)C$", "H"),  # Somali: AXMED, JAAMAC
        (r"^C(?=(AA|U[MS]|I[SL]|AB[DS]|AL[I]$))", ""),  # Somali: CABDI, CUMAR, CISMAAN, CALI
        (r"^MAC(?=[B-DF-HJ-NP-TV-Z])", "MC"),
        (r"^X", "S"),
        (r"^(KN|GN|PN)", "N"),
        (r"^WR", "R"),
        (r"^CZ|TSCH|TCH|CI(?=[AOU])", "C"),
        (r"SCH|SZ|SH|SJ|Ş", "S"),
        (r"PH", "F"),
        (r"[CKGQ]H(?=[^AEIOU]|$)", "K"),
        (r"^CH(?=R)|KH|QU|CK|Q", "K"),
        (r"GH", "G"),
        (r"CH", "J"),
        (r"C(?=[EIY])", "S"),
        (r"C(?!$)", "K"),
        (r"DZ|DJ|DG(?=E)|ZH|RZ", "J"),
        (r"TH", "T"),
        (r"DH", "D"),
        (r"X", "KS"),
        (r"(?<=[AEIOU])[WY](?![AEIOU])", ""),
        (r"(?<=[^AEIOU])Y", "I"),
        (r"W|V", "F"),
        (r"Z", "S"),
        (r"(?<=.)H", ""),
    )
)
_GENDERED = re.compile(r"(?<=[A-Z]{3})(SKA|CKA|OVA|EVA|INA|AYA|ENE|AITE|YTE|IENE)$")
_ENDINGS = {"SKA": "SKI", "CKA": "CKI", "OVA": "", "EVA": "", "INA": "IN", "AYA": "I"}


@lru_cache(_CACHE)
def sound(word: str) -> str:
    """A skeleton of consonants that spellings of one name share: MUHAMMAD, MOHAMED, MOHD → MD.

    Coarse on purpose, so it proposes and never decides alone: `likeness` also asks for letters.
    """
    if not word.isascii():
        return word
    for pattern, into in _SOUNDS:
        word = pattern.sub(into, word)
    first = "A" if word[:1] in "AEIOUY" and word else ""
    bones = first + re.sub(r"[AEIOUY]", "", word[1:] if first else word)
    return re.sub(r"(.)\1+", r"\1", bones)


@lru_cache(_CACHE)
def masculine(surname: str) -> str:
    """A Slavic surname without its gender: KOWALSKA → KOWALSKI, NOVAKOVA → NOVAK."""
    found = _GENDERED.search(surname)
    if not found:
        return surname[:-2] if surname.endswith(("OV", "EV")) and len(surname) > 5 else surname
    return surname[: found.start()] + _ENDINGS.get(found[0], "")


# One syllable as Mandarin, Cantonese, Hokkien and Vietnamese are written in Latin letters.
_SYLLABLE = re.compile(
    "(ZH|CH|SH|TS|TZ|NG|KW|GW|TH|PH|NH|KH|TR|GI|QU|DZ|SZ|HS|[BPMFDTNLGKHJQXRZCSYWV])?"
    "(IANG|UANG|UONG|IONG|EUNG|UYEN|UYNH|UYET|OANG|OANH|ANG|ENG|ING|ONG|UNG|EUK|EUN|IAN|IAO|IEN|IEU|UAI"
    "|UAN|UOI|UOC|OAN|OAI|ANH|INH|ACH|ICH|YEN|YUN|AI|AO|AU|AK|AM|AN|AP|AT|AW|AY|EE|EI|EK|EN|EO|ER|ET|EU"
    "|IA|IE|IK|IM|IN|IP|IT|IU|OE|OI|OK|OM|ON|OO|OP|OT|OU|UA|UE|UI|UK|UM|UN|UO|UP|UT|UY|A|E|I|O|U|Y)|NG"
)
_SYLLABLES = re.compile(f"(?:{_SYLLABLE.pattern}){{1,3}}")


@lru_cache(_CACHE)
def syllabic(words: tuple[str, ...]) -> bool:
    """Whether all these words of a given name are such syllables, or a few of them in one word (WAI MAN,
    XIAOYAN), and none is a name of those in the lists (DAN): it is not the name that somebody of
    that surname has beside it for the English."""
    return bool(words) and all(_SYLLABLES.fullmatch(w) and w not in GROUPS for w in words)


def one_syllable(surname: tuple[str, ...]) -> bool:
    """Whether a surname is a single one of these syllables: CHAN, NGUYEN, LEE."""
    return len(surname) == 1 and bool(_SYLLABLE.fullmatch(surname[0]))


@lru_cache(_CACHE)
def likeness(left: str, right: str) -> Likeness:
    """How alike two given names are; symmetric."""
    if left == right:
        return Likeness.SAME
    if left > right:
        return likeness(right, left)
    if one_name(left, right):
        return Likeness.NEAR
    return _spelling(left, right)


@lru_cache(_CACHE)
def one_name(left: str, right: str) -> bool:
    """Whether two given names are one, or forms of one that the lists know (TOM, MUHAMMAD)."""
    groups = GROUPS.get(left, _NONE)
    return left == right or not groups.isdisjoint(GROUPS.get(right, _NONE))


def honoured(given: str) -> bool:
    """Whether a first name, however it is spelt, is one that brothers share (MOHAMMED, SHAH)."""
    return any(one_name(given, name) for name in HONOURED)


_VOWELS = re.compile("[AEIOUY]+")
# What nobody is called, but a key that was held too long: KKEVIN, EMMMA, SHAANNON.
_STUTTER = re.compile(r"^(.)\1|(.)\2\2|AA|UU")


@lru_cache(_CACHE)
def spelt_otherwise(left: str, right: str) -> bool:
    """Whether two given names sound alike, syllable by syllable, and are not one: ELLIS and ELIS, WALID
    and WALYD. Parents give twins such names; a key that was missed or held leaves another trace."""
    return (
        not one_name(left, right)
        and sound(left) == sound(right)
        and len(_VOWELS.findall(left)) == len(_VOWELS.findall(right))
        and not (_STUTTER.search(left) or _STUTTER.search(right))
    )


@lru_cache(_CACHE)
def surname_likeness(left: str, right: str) -> Likeness:
    """How alike two parts of a surname are; symmetric."""
    if left == right:
        return Likeness.SAME
    if left > right:
        return surname_likeness(right, left)
    if len(left) > 4 and len(right) > 4 and masculine(left) == masculine(right):
        return Likeness.NEAR
    if min(len(left), len(right)) == 3 and _lost_vowel(left, right):
        return Likeness.NEAR
    return _spelling(left, right)


def _lost_vowel(left: str, right: str) -> bool:
    """Whether a short surname is another without a letter inside that is not sounded: DINH and DNH."""
    return (
        (left[0], left[-1]) == (right[0], right[-1])
        and OSA.distance(left, right) == 1
        and sound(left) == sound(right)
    )


def _respelt(word: str) -> str:
    """Without what spellings of one sound differ in: doubled letters, and E, I and Y; O and U."""
    word = word.replace("Y", "I").replace("EE", "I").replace("OO", "U").replace("OU", "U")
    return re.sub(r"(.)\1+", r"\1", word)


def _looks(word: str) -> str:
    """Without what a scanner or a quick eye takes for something else: RN for M, VV for W, L for I."""
    return word.replace("RN", "M").replace("VV", "W").replace("L", "I")


def _spelling(left: str, right: str) -> Likeness:
    short, long = min(len(left), len(right)), max(len(left), len(right))
    if short < 3:
        return Likeness.OTHER
    for prefix in ("AL", "EL", "UL"):
        if left.removeprefix(prefix) == right.removeprefix(prefix) and short > 3:
            return Likeness.NEAR
    if long == 3 and left[0] == right[0] and left[1:] == right[:0:-1]:
        return Likeness.NEAR  # MEI and MIE
    if _looks(left) == _looks(right):
        return Likeness.NEAR  # MIA and MLA, THOMAS and THORNAS
    slips = OSA.distance(left, right, score_cutoff=2)
    close = JaroWinkler.similarity(left, right)
    alike = sound(left) == sound(right)
    if slips == 1 and (short > 4 or (short > 3 and (alike or left[0] == right[0]))):
        return Likeness.NEAR
    if alike and short > 3 and (close >= 0.8 or slips <= 1):
        return Likeness.NEAR
    if alike and close >= 0.6 and len(sound(left)) > 2:
        return Likeness.NEAR
    if alike and left[0] == right[0] and close >= 0.75 and _respelt(left) == _respelt(right):
        return Likeness.NEAR
    if (alike and close >= 0.7) or close >= 0.88 or (slips <= 2 and long > 7):
        return Likeness.SOUND
    return Likeness.OTHER
