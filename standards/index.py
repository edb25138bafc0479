"""The values a resource is found by, made when it is written.

Reads and searches never parse a resource: whoever writes it stores, under `ix.<field>`, what these
functions return, and `chassis/search.py` compares with equality, `$in` and ranges. Absent elements
give [] or None, which is what `:missing` looks for.

    tokens      ["current", "|current"]   ["A01", "urn:s|A01", "urn:s|"]
    strings     {"f": folded, "x": as written, "lo": first folded, "hi": last folded}
    moments     {"lo": datetime, "hi": datetime}
    references  ["Patient/1", "?urn:s|42"]            "?" marks the token of Reference.identifier
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from standards import dates

CONTACT_SYSTEMS = frozenset(("phone", "fax", "email", "pager", "url", "sms", "other"))
_UNMARKED = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe",
                           "ı": "i", "ħ": "h", "ŧ": "t"})  # fmt: skip
_APOSTROPHES = frozenset("'’‘`´ʼʹ")


def token(system: str | None, code: str) -> str:
    """The one stored and compared spelling of a token: bars and backslashes of the parts are
    escaped as in a FHIR search value, so that `a|b` as a code is never taken for system and code.
    `system` None: the bare code, whatever its system; "": a code without system."""
    if "|" in code or "\\" in code:
        code = _escaped(code)
    if system is None:
        return code
    if "|" in system or "\\" in system:
        system = _escaped(system)
    return f"{system}|{code}"


def tokens(values: Any, system: str = "") -> list[str]:
    """The tokens of one value or a list of them, in order and once each.

    Takes Coding, CodeableConcept, Identifier, ContactPoint, code or other string, and boolean.
    `system` is the system that a bare code implies (that of its required value set). A concept with
    words but no code gives "", which no search asks for, so that it is not `:missing`.
    """
    made: dict[str, None] = {}
    for value in values if isinstance(values, list | tuple) else (values,):
        for one in _tokens(value, system):
            made[one] = None
    return list(made)


def _tokens(value: Any, implied: str) -> Iterable[str]:
    if value is None:
        return ()
    if isinstance(value, bool):
        return _three(implied, "true" if value else "false")
    if isinstance(value, str):
        return _three(implied, value) if value else ()
    if not isinstance(value, Mapping):
        return ()
    if "coding" in value or ("text" in value and "value" not in value):
        made = [t for held in value.get("coding") or () for t in _tokens(held, "")]
        return made or ("",)
    system = value.get("system") or ""
    if "code" in value:
        return _three(system, str(value["code"]))
    if "value" in value:
        if system in CONTACT_SYSTEMS:
            said = contact(str(value["value"]))
            spaces = [s for s in (system, value.get("use")) if s]
            return [said, *(token(s, said) for s in spaces), *(token(s, "") for s in spaces)]
        return _three(system, str(value["value"]))
    return (token(system, ""),) if system else ("",)


def _three(system: str, code: str) -> tuple[str, ...]:
    if not system:
        return token(None, code), token("", code)
    return token(None, code), token(system, code), token(system, "")


def contact(value: str) -> str:
    """The compared form of a telephone number or e-mail address: e-mail in lower case; a number
    without punctuation and with its country, a leading single 0 meaning the United Kingdom."""
    value = value.strip()
    for scheme in ("tel:", "mailto:"):
        if value[: len(scheme)].lower() == scheme:
            value = value[len(scheme) :]
    digits = "".join(c for c in value if c not in " -.()/\u00a0")
    number = digits[1:] if digits.startswith("+") else digits
    if not (number.isascii() and number.isdigit()):
        return value.casefold()
    if digits.startswith("+"):
        return digits
    if digits.startswith("00"):
        return "+" + digits[2:]
    if digits.startswith("0") and len(digits) in (10, 11):
        return "+44" + digits[1:]
    return digits


def fold(text: str) -> str:
    """The compared form of a string: compatibility-decomposed, caseless, without marks; apostrophes
    vanish (O'Brien is OBrien), other punctuation and runs of space become one space."""
    if text.isascii():
        if text.isalnum():
            return text.lower()
        plain = text.lower()
    else:
        plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        plain = plain.translate(_UNMARKED)
    kept: list[str] = []
    for letter in plain:
        if letter.isalnum():
            kept.append(letter)
        elif letter in _APOSTROPHES:
            continue
        else:
            kind = unicodedata.category(letter)[0]
            if kind == "S":
                kept.append(letter)
            elif kind != "M":
                kept.append(" ")
    return " ".join("".join(kept).split())


def strings(
    texts: Iterable[str | None] | str | None, forms: Callable[[str], Iterable[str]] | None = None
) -> dict[str, Any] | None:
    """Strings as they are searched: `f` folded, `x` as written, `lo` and `hi` the first and last
    folded one (sorting takes the one that comes earliest in its direction, search.html#sort).
    `forms` are the other spellings that a folded one is found by too. None when there is no text."""
    given = (texts,) if isinstance(texts, str) else (texts or ())
    raw = list(dict.fromkeys(t for t in given if t))
    if not raw:
        return None
    folded = list(dict.fromkeys(map(fold, raw)))
    more = [form for one in folded for form in forms(one)] if forms else []
    return {
        "f": list(dict.fromkeys([*folded, *more])),
        "x": raw,
        "lo": min(folded),
        "hi": max(folded),
    }


# Of the United Kingdom, without its blank.
_POSTCODE = re.compile(r"[a-z]{1,2}\d[a-z\d]?\d[a-z]{2}")
_MOST_WORDS = 16  # of one line of an address; each is an entry of an index


def postcode(folded: str) -> Iterator[str]:
    """How a folded postcode is written too: without blanks and, where it is British, with its one."""
    bare = folded.replace(" ", "")
    yield bare
    if _POSTCODE.fullmatch(bare):
        yield f"{bare[:-3]} {bare[-3:]}"


def address(folded: str) -> Iterator[str]:
    """What a folded part of an address is found by too: what follows each of its words, so that
    `canal` and `canal street` find `12 canal street`; a British postcode as it is written too."""
    words = folded.split(" ")[:_MOST_WORDS]
    yield from (" ".join(words[place:]) for place in range(1, len(words)))
    if _POSTCODE.fullmatch(folded.replace(" ", "")):
        yield from postcode(folded)


def moments(value: Any) -> dict[str, datetime] | None:
    """A date, dateTime, instant, Period or aware datetime as {lo, hi}; of a list, the span from the
    first to the last. None when there is none. Raises `Refused` for what is not a date."""
    found = [
        s for v in (value if isinstance(value, list) else [value]) if (s := _span(v)) is not None
    ]
    if not found:
        return None
    return {"lo": min(s.lo for s in found), "hi": max(s.hi for s in found)}


def _span(value: Any) -> dates.Span | None:
    if isinstance(value, Mapping):
        return dates.period(value.get("start"), value.get("end"))
    if isinstance(value, datetime):
        lo = value.replace(microsecond=value.microsecond // 1000 * 1000)
        return dates.Span(lo, min(lo, dates.END - dates.TICK) + dates.TICK)
    return dates.parse(value) if isinstance(value, str) and value else None


def references(values: Any, base: str = "") -> list[str]:
    """The keys of one Reference or a list of them: its target (see `reference`) and, marked by "?",
    the tokens of its identifier. Contained (`#…`) references give nothing: they lead nowhere else."""
    made: dict[str, None] = {}
    for value in values if isinstance(values, list | tuple) else (values,):
        said = value.get("reference") if isinstance(value, Mapping) else value
        if isinstance(said, str) and said and not said.startswith("#"):
            made[reference(said, base)] = None
        identifier = value.get("identifier") if isinstance(value, Mapping) else None
        for one in _tokens(identifier, "") if identifier else ():
            made["?" + one] = None
    return list(made)


def reference(said: str, base: str = "") -> str:
    """The compared form of a reference: `Type/id` for one of this server, whether written relative
    or absolute under `base`; any other URL as it is; never a version."""
    if base and said.startswith(base) and said[len(base) : len(base) + 1] == "/":
        said = said[len(base) + 1 :]
    return said.split("/_history/", 1)[0]


def uris(values: Any) -> list[str]:
    """URIs as they are searched: as written, once each."""
    given = values if isinstance(values, list | tuple) else (values,)
    return list(dict.fromkeys(v for v in given if isinstance(v, str) and v))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
