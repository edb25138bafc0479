"""Words for people: the nearest valid name, a list that stays readable, a name that stays short. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 40


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` was probably meant to be, or None when nothing is close.

    Case is ignored, so `Birthdate` finds `birthDate`. Words longer than any name are not compared.
    """
    if len(word) > LONGEST:
        return None
    by_fold = {choice.casefold(): choice for choice in choices}
    close = get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def shown(name: str) -> str:
    """`name` in quotes, printable and cut short, fit to stand in a diagnostic."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return f"'{text}'" if len(text) <= LONGEST else f"'{text[: LONGEST - 1]}…'"


def one_of(choices: Iterable[str], most: int = 12) -> str:
    """`a, b or c`; a longer list is cut after `most` and says how many there are."""
    names = list(choices)
    if len(names) > most:
        return f"{', '.join(names[:most])} … ({len(names)} in all)"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"
