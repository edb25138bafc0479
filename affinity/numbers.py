"""How identifiers are written and checked: forms and check algorithms as rows. PURE.

A domain of the pack names one form (how a value is stored and compared) and one check (what its check
character must be). A new algorithm is a row here; a new domain that uses a known one is a CSV row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from stdnum.gb import nhs as _nhs
from stdnum.gb import upn as _upn

# No I, O or S: they look like 1, 0 and 5. Index 0 is Z.
_POLICE = "ZABCDEFGHJKLMNPQRTUVWXY"
# Two-digit years of police numbers: 39 to 99 are of the last century. The rule must not move with
# the calendar, or a stored number would change its form on New Year's Eve.
_PIVOT = 39


@dataclass(frozen=True, slots=True)
class Form:
    """How values of a domain are stored (`normal`), what of the stored form is compared between
    records (`compared`), and which of them are only for the time being (`temporary`)."""

    name: str
    normal: Callable[[str], str]
    see: str
    compared: Callable[[str], str] = lambda value: value
    temporary: Callable[[str], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a stored value has its right check character. `words` finish a refusal."""

    name: str
    holds: Callable[[str], bool]
    words: str
    see: str


# -- forms ----------------------------------------------------------------------------------------


def _compact(value: str) -> str:
    return (value if value.isalnum() else re.sub(r"\s", "", value)).upper()


def _digits(value: str) -> str:
    return value if value.isalnum() else re.sub(r"[\s\-]", "", value)


def _pnc(value: str) -> str:
    """`YYYY/NNNNNNND` of the long and short spellings, with or without the stroke; else compact.

    Without a stroke `20030011985Z` could be split in two ways: ten digits or more begin with a whole
    year; fewer do so only where the check letter says it.
    """
    value = _compact(value)
    if found := re.fullmatch(r"(\d{4}|\d{2})/(\d{1,7})([A-Z])", value):
        return _pnc_of(*found.groups())
    found = re.fullmatch(r"(\d{3,11})([A-Z])", value)
    if not found:
        return value
    digits, letter = found.groups()
    short = _pnc_of(digits[:2], digits[2:], letter) if len(digits) <= 9 else ""
    long = _pnc_of(digits[:4], digits[4:], letter) if digits[:2] in ("19", "20") else ""
    whole = long if len(digits) > 4 else ""
    return next((v for v in (short, whole) if v and _mod23_z(v)), short or whole or value)


def _pnc_of(year: str, serial: str, letter: str) -> str:
    if len(year) == 2:
        year = ("19" if int(year) >= _PIVOT else "20") + year
    return f"{year}/{serial.zfill(7)}{letter}"


def _cro(value: str) -> str:
    """`NNNNNN/YYD` padded, or `SFYY/ND` without padding; else compact."""
    value = _compact(value)
    if found := re.fullmatch(r"(\d{1,6})/(\d{2}[A-Z])", value):
        return f"{found[1].zfill(6)}/{found[2]}"
    if found := re.fullmatch(r"(SF\d{2})/(\d{1,6})([A-Z])", value):
        return f"{found[1]}/{found[2].lstrip('0') or '0'}{found[3]}"
    return value


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("plain", str.strip, "a local number is its issuer's: only the ends are trimmed"),
        Form("compact", _compact, "no blanks, capital letters"),
        Form("digits", _digits, "no blanks, no hyphens (domain register 1.2 a)"),
        Form("pnc", _pnc, "domain register 1.2 b", lambda v: v[2:] if v[4:5] == "/" else v),
        Form("cro", _cro, "domain register 1.2 b"),
        Form("nino", _compact, "unique without its suffix", lambda v: v[:8]),
        Form("upn", _compact, "domain register 1.2 d", temporary=lambda v: v[-1:].isalpha()),
    )
}


# -- checks ---------------------------------------------------------------------------------------

_TEN = re.compile(r"[0-9]{10}")


def _nhs_number(value: str) -> bool:
    """The rule of python-stdnum, which is asked about all but ten plain digits: those are weighed
    here, for nearly every record has one. (The codes of digits may stand for the digits: 48 times the
    sum of the weights is a multiple of 11.)"""
    if not _TEN.fullmatch(value):
        return bool(_nhs.is_valid(value))
    a, b, c, d, e, f, g, h, i, j = value.encode("ascii")
    return (10 * a + 9 * b + 8 * c + 7 * d + 6 * e + 5 * f + 4 * g + 3 * h + 2 * i + j) % 11 == 0


def _mod23_z(value: str) -> bool:
    """PNC, CRO, search file CRO and court references: all digits, the year first, mod 23."""
    if found := re.fullmatch(r"\d{2}(\d{2})/(\d{7})([A-Z])", value):  # PNC
        digits = found[1] + found[2]
    elif found := re.fullmatch(r"(\d{1,6})/(\d{2})([A-Z])", value):  # CRO: the serial is padded
        digits = found[2] + found[1].zfill(6)
    elif found := re.fullmatch(r"SF(\d{2})/(\d{1,6})([A-Z])", value):  # and here it is not
        digits = found[1] + found[2]
    elif found := re.fullmatch(r"(\d{2})/(\d{4}/\d{6})([A-Z])", value):  # court case reference
        digits = found[1] + found[2].replace("/", "")
    else:
        return False
    return _POLICE[int(digits) % 23] == found[3]


def _mod23_a(value: str) -> bool:
    """A UPN. The library's own verdict also refuses local authorities newer than its list."""
    if not re.fullmatch(r"[A-HJ-NP-RT-Z]\d{11}[0-9A-HJ-NP-RT-Z]", value):
        return False
    return str(_upn.calc_check_digit(value[1:])) == value[0]


def _uln(value: str) -> bool:
    if not re.fullmatch(r"[1-9]\d{9}", value):
        return False
    return sum(int(d) * w for d, w in zip(value, range(10, 0, -1), strict=True)) % 11 == 10


_NINO = re.compile(
    r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]?", re.ASCII
)

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("none", lambda _: True, "", "domain register 1.2 g: form and scope only"),
        Check("mod11", _nhs_number, "with a right check digit", "domain register 1.2 a"),
        Check("mod23-Z", _mod23_z, "with a right check letter", "domain register 1.2 b, c"),
        Check("mod23-A", _mod23_a, "with a right check letter", "domain register 1.2 d"),
        Check("uln-mod11", _uln, "with a right check digit", "domain register 1.2 e"),
        Check(
            "nino", lambda v: bool(_NINO.fullmatch(v)), "with a prefix that is issued",
            "domain register 1.2 f",
        ),
    )
}  # fmt: skip
