"""PURE. Valid numbers of every domain that is fed here, none of which was ever issued to anybody."""

from __future__ import annotations

from functools import lru_cache

PNC_LETTERS = "ZABCDEFGHJKLMNPQRTUVWXY"
UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"
STRIDE = 7_919


@lru_cache(maxsize=1)
def _pairs() -> tuple[tuple[str, str], ...]:
    valid = [n for serial in range(1, 400_000) if (n := _checked(f"999{serial:06d}"))]
    return tuple(zip(valid[::2], valid[1::2], strict=False))


def _checked(nine: str) -> str:
    """With its check digit; empty where that would be ten."""
    check = 11 - sum(int(d) * w for d, w in zip(nine, range(10, 1, -1), strict=True)) % 11
    return "" if check == 10 else f"{nine}{check % 11}"


def nhs(serial: int, second: bool = False) -> str:
    """The NHS number of the serial-th person, in the range for tests (999); `second` is the one issued next,
    which a second twin gets."""
    pairs = _pairs()
    return pairs[serial * STRIDE % len(pairs)][second]


def nino(serial: int) -> str:
    """A National Insurance number with the prefix that is never issued."""
    return f"QQ{serial * STRIDE % 1_000_000:06d}{'ABCD'[serial % 4]}"


def pnc(serial: int, year: int) -> str:
    """A Police National Computer id in its long form."""
    digits = f"{year % 100:02d}{serial * STRIDE % 10_000_000:07d}"
    return f"{year}/{digits[2:]}{PNC_LETTERS[int(digits) % 23]}"


def upn(serial: int, council: str, year: int) -> str:
    """A pupil's number of one of a thousand schools that do not exist."""
    body = f"{council}9{serial // 1_000 % 1_000:03d}{year % 100:02d}{serial % 1_000:03d}"
    return UPN_LETTERS[sum(int(d) * w for d, w in zip(body, range(2, 14), strict=True)) % 23] + body


def uln(serial: int) -> str:
    """A learner's number: weights ten to one leave ten over, modulo eleven."""
    nine = f"{100_000_000 + serial * STRIDE % 800_000_000}"
    over = sum(int(d) * w for d, w in zip(nine, range(10, 1, -1), strict=True)) % 11
    return uln(serial + 10_007) if over == 0 else f"{nine}{10 - over}"


def letters(serial: int) -> str:
    """Two letters of a prison number."""
    return chr(65 + serial % 26) + chr(65 + serial // 26 % 26)
