"""The levels of likening.py as SQL conditions, row beside row, and what they are put together to. PURE.

The conditions use the columns of columns.py with `_l` and `_r`, and only what Spark and DuckDB both
understand: `arrays_overlap`, `array_intersect`, `size`, `substr`, `length`. DuckDB is taught the first
and third as macros (`MACROS`). So the Splink settings made here are one JSON for both engines.

A record with several names is compared name by name online; here its given names and surnames are sets.
So a condition may hold where the Python predicate, for want of one name that has both, says a weaker
level: SQL proposes, never overlooks, and what it proposes is compared again by matching.py
(tests/pix/test_bulk_levels.py).
"""

# ruff: noqa: S608 - statements are put together from our own rows, never from what records say

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Any

from pix.likening import ASPECTS, HOUSEHOLD, NAME, PERSONAL, PLACE, Look, given_agrees
from pix.model import Model

MACROS = (
    "CREATE OR REPLACE MACRO arrays_overlap(a, b) AS list_has_any(a, b)",
    "CREATE OR REPLACE MACRO size(a) AS len(a)",
)


def _meet(left: str, right: str = "", *, both: bool = True) -> str:
    """The lists have something in common; of two different columns either way round."""
    if not right:
        return f"arrays_overlap({left}_l, {left}_r)"
    made = f"arrays_overlap({left}_l, {right}_r)"
    return f"({made} OR arrays_overlap({left}_r, {right}_l))" if both else made


def _and(*parts: str) -> str:
    return " AND ".join(parts)


def _or(*parts: str) -> str:
    return "(" + " OR ".join(parts) + ")"


def _not(part: str) -> str:
    return f"NOT ({part})"


# -- names ------------------------------------------------------------------------------------------

_G_SAME, _G_NEAR = _meet("given"), _meet("given_near", "given")
_G_CROSS, _G_INITIAL = _meet("cross_near", "given_long"), _meet("initials", "letters")
_G_SOUND = _meet("given_sound", "given", both=False)
_F_SAME = _meet("family_whole")
_F_NEAR = _or(_meet("family_sorted"), _meet("family_one_near", "family_one", both=False))
_F_PART = _or(_meet("family_near", "family", both=False), _meet("family"))
_F_ANY = _or(_F_SAME, _F_NEAR, _F_PART)
_F_MOVED = _meet("family_near", "others_of_name")
_F_SOUND = _meet("family_sound", "family", both=False)
_G_MISSING, _F_MISSING = "(no_given_l + no_given_r > 0)", "(no_family_l + no_family_r > 0)"
# Each given name is like a part of the other's surname; one of the two may only sound like it.
_HERE_NEAR, _THERE_NEAR = (
    "arrays_overlap(family_near_l, given_long_r)", "arrays_overlap(family_near_r, given_long_l)",
)  # fmt: skip
_HERE, _THERE = (
    _or(_HERE_NEAR, "arrays_overlap(family_sound_l, given_long_r)"),
    _or(_THERE_NEAR, "arrays_overlap(family_sound_r, given_long_l)"),
)
_SWAPPED = _and(_HERE, _THERE, _or(_HERE_NEAR, _THERE_NEAR))
_SETTLED = _or(
    _and(_G_NEAR, _F_SAME), _and(_G_SAME, _or(_F_NEAR, _F_PART)),
    _and(_G_NEAR, _F_MOVED, _not(_F_ANY)),
)  # fmt: skip
_SHARED = (
    "least(size(array_intersect(tokens_l, tokens_near_r)),"
    " size(array_intersect(tokens_r, tokens_near_l)))"
)
_TOKENS = _and(
    f"{_SHARED} >= 2", f"{_SHARED} >= least(least_tokens_l, least_tokens_r)",
    _or("arrays_overlap(swap_near_l, tokens_r)", "arrays_overlap(swap_near_r, tokens_l)"),
)  # fmt: skip
_NAMES = {
    "both": _and(_G_SAME, _F_SAME),
    "swapped": _and(_SWAPPED, _not(_SETTLED)),
    "given_near": _and(_G_NEAR, _F_SAME),
    "family_near": _and(_G_SAME, _F_NEAR),
    "family_part": _and(_G_SAME, _F_PART),
    "family_moved": _and(_G_NEAR, _F_MOVED, _not(_F_ANY)),
    "given_cross": _and(_G_CROSS, _F_ANY, _not(_G_NEAR)),
    "both_near": _and(_G_NEAR, _F_ANY),
    "given_sound": _and(_G_SOUND, _F_ANY),
    "family_sound": _and(_G_NEAR, _F_SOUND, _not(_F_MOVED)),
    "initial": _and(_G_INITIAL, _F_ANY),
    "no_given": _and(_G_MISSING, _F_ANY),
    "no_family": _and(_G_NEAR, _F_MISSING),
    "tokens": _TOKENS,
    "given_only": _G_SAME,
    "given_only_near": _or(
        _G_NEAR, _G_CROSS,
        _and(_or(_G_SOUND, _G_INITIAL), _or(_F_MOVED, _F_SOUND, _F_MISSING)),
    ),
    "tokens_some": f"{_SHARED} >= 2",
    "family_only": _F_SAME,
    "family_only_near": _or(
        _F_NEAR, _F_PART, _and(_or(_F_MOVED, _F_SOUND), _not(_G_MISSING))
    ),
}  # fmt: skip

# -- births -----------------------------------------------------------------------------------------


def _part(first: int, length: int, side: str) -> str:
    return f"substr(born_{side}, {first}, {length})"


def _same_part(first: int, length: int) -> str:
    return f"{_part(first, length, 'l')} = {_part(first, length, 'r')}"


def _differing(column: str, first: int, last: int) -> str:
    """In how many places two texts differ."""
    terms = (
        f"CASE WHEN substr({column}_l, {n}, 1) <> substr({column}_r, {n}, 1) THEN 1 ELSE 0 END"
        for n in range(first, last + 1)
    )
    return "(" + " + ".join(terms) + ")"


def _slip(column: str, first: int, last: int, letters: str) -> str:
    """One place differs, or two are exchanged: two differ and the letters are the same."""
    count = _differing(column, first, last)
    return _or(f"{count} = 1", _and(f"{count} = 2", f"{letters}_l = {letters}_r"))


_WHOLE = "length(born_l) = 10 AND length(born_r) = 10"
_YEAR, _MONTH, _DAY, _MD = _same_part(1, 4), _same_part(6, 2), _same_part(9, 2), _same_part(6, 5)
_APART = "abs(CAST(substr(born_l, 1, 4) AS INT) - CAST(substr(born_r, 1, 4) AS INT))"
_NEW_YEAR = _or(*(f"substr(born_{side}, 6, 5) = '01-01'" for side in "lr"))
_SHORT = _or(*(f"length(born_{side}) < 10" for side in "lr"))
_YEAR_ALONE = _or(*(f"length(born_{side}) = 4" for side in "lr"), _MONTH)
_BORN = {
    "exact": _and("born_l = born_r", _WHOLE, "substr(born_l, 6, 5) <> '01-01'"),
    "exact_vague": _and("born_l = born_r", _WHOLE),
    "swapped": _and(
        _WHOLE, _YEAR, f"{_part(6, 2, 'l')} = {_part(9, 2, 'r')}",
        f"{_part(9, 2, 'l')} = {_part(6, 2, 'r')}",
    ),
    "year_vague": _and(_YEAR, _or(_and(_WHOLE, _NEW_YEAR), _and(_SHORT, _YEAR_ALONE))),
    "slip": _and(
        _WHOLE,
        _or(
            _and(_YEAR, _slip("born", 6, 10, "md_sorted")),
            _and(_MD, _or(_slip("born", 1, 4, "year_sorted"), f"{_APART} = 100")),
        ),
    ),
    "one_part": _and(
        _WHOLE, _or(_and(_YEAR, _or(_MONTH, _DAY)), _and(_MD, f"{_APART} <= 2"))
    ),
    "year": _YEAR,
    "near": f"{_APART} < 3",
}  # fmt: skip

# -- the rest ---------------------------------------------------------------------------------------


def _empty(column: str) -> str:
    return _or(f"size({column}_l) = 0", f"size({column}_r) = 0")


@dataclass(frozen=True, slots=True)
class Compared:
    """An aspect in SQL: the columns it looks at, when it says nothing, and a condition for every level but
    the last, which is what is left."""

    id: str
    columns: tuple[str, ...]
    absent: str
    levels: dict[str, str]


def _same(id_: str, column: str, absent: str = "") -> Compared:
    return Compared(id_, (column,), absent or _empty(column), {"same": _meet(column)})


COMPARED: tuple[Compared, ...] = (
    Compared("name", ("given", "family"), "nameless_l + nameless_r > 0", _NAMES),
    Compared("born", ("born",), "born_l = '' OR born_r = ''", _BORN),
    Compared("nhs", ("nhs",), _empty("nhs"), {
        "verified": _meet("nhs_verified"),
        "same": _meet("nhs"),
        "slip": _and(
            "length(nhs_first_l) = length(nhs_first_r)", _slip("nhs_first", 1, 10, "nhs_sorted")
        ),
    }),
    _same("upn", "upn", _and(_not(_meet("upn")), _empty("upn_fixed"))),
    _same("nino", "nino"),
    _same("pnc", "pnc"),
    _same("cro", "cro"),
    Compared("others", ("others",), _not(_meet("others_domains")), {
        "same": _meet("others"), "slip": _meet("others_slips"),
    }),
    Compared("local", ("local",), _not(_meet("local")), {}),
    Compared("middle", ("middle",), _or(
        "size(middle_letters_l) = 0", "size(middle_letters_r) = 0"), {
        "same": _meet("middle"),
        "initial": _meet("middle_initials", "middle_letters"),
        "near": _meet("middle_near", "middle", both=False),
    }),
    Compared("sex", ("sex",), "sex_l = '' OR sex_r = ''", {"same": "sex_l = sex_r"}),
    Compared(
        "address", ("postcodes",),
        _and(_not(_meet("uprns")), _empty("postcodes")), {
            "dwelling": _or(_meet("uprns"), _meet("bare_homes", "homes")),
            "near": _and(
                _or(_meet("line_words", "line_begins"), _meet("line_slips")), _meet("post_slips")
            ),
            "postcode": _or(_meet("postcodes"), _meet("bare_streets", "streets")),
            "outcode": _meet("outcodes"),
        },
    ),
    _same("phone", "phones"),
    _same("email", "emails"),
)  # fmt: skip


def case(compared: Compared) -> str:
    """The level of an aspect as an expression: its place among the aspect's levels, -1 for nothing."""
    rows = ASPECTS[PLACE[compared.id]].levels
    places = {level.id: place for place, level in enumerate(rows)}
    arms = [f"WHEN {compared.absent} THEN -1"]
    arms += [f"WHEN {sql} THEN {places[id_]}" for id_, sql in compared.levels.items()]
    return f"CASE {' '.join(arms)} ELSE {len(rows) - 1} END"


# -- Splink settings ----------------------------------------------------------------------------------


def settings(model: Model, *, keys: str = "keys") -> dict[str, Any]:
    """The model as Splink's settings: the same JSON for DuckDB and for Spark.

    Blocking is by our own keys (a list, which Splink explodes). What Splink cannot say, the frequency of
    names and the cap on what a household shares, is added afterwards (`scored`).
    """
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "unique_id",
        "probability_two_random_records_match": 1 / model.people,
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": False,
        "blocking_rules_to_generate_predictions": [
            {"blocking_rule": f"l.{keys} = r.{keys}", "arrays_to_explode": [keys]}
        ],
        "comparisons": [_comparison(c, model) for c in COMPARED],
    }


def _comparison(compared: Compared, model: Model) -> dict[str, Any]:
    aspect = ASPECTS[PLACE[compared.id]]
    words = {level.id: level.words for level in aspect.levels}
    m, u = model.m[aspect.id], model.u[aspect.id]
    levels: list[dict[str, Any]] = [
        {
            "sql_condition": compared.absent,
            "label_for_charts": "nothing said",
            "is_null_level": True,
        }
    ]
    for place, level in enumerate(aspect.levels):
        last = place == len(aspect.levels) - 1
        levels.append(
            {
                "sql_condition": "ELSE" if last else compared.levels[level.id],
                "label_for_charts": words[level.id],
                "m_probability": m[level.id],
                "u_probability": u[level.id],
            }
        )
    if len(aspect.levels) == 1:
        # Splink wants two levels at least; this one's condition is not that of saying nothing, so the
        # second is never reached.
        levels[1]["sql_condition"] = f"NOT ({compared.absent})"
        levels.append(
            {
                "sql_condition": "ELSE", "label_for_charts": "never", "m_probability": 0.5,
                "u_probability": 0.5,
            }
        )  # fmt: skip
    return {
        "output_column_name": aspect.id,
        "comparison_description": aspect.title,
        "comparison_levels": levels,
    }


# -- weights ------------------------------------------------------------------------------------------


def scored(model: Model, people: int, source: str) -> str:
    """SQL that weighs pairs of `source`, which has the level of every aspect as `gamma_…`.

    `plain` is the weight with names and homes of ordinary frequency, `most` what it can be at most,
    whatever their frequency: no pair that the online path would ask about has `most` below the review
    threshold.
    """
    household = [ASPECTS[p].id for p in HOUSEHOLD]
    rest = [a.id for a in ASPECTS if a.id not in household]
    own = " + ".join(_points(id_, model, people) for id_ in rest)
    name = _rare(model)
    shared = " + ".join(_points(id_, model, people) for id_ in household)
    low = [n for n in NAME.values() if given_agrees(Look(n))]
    known = " OR ".join(
        [f"gamma_name IN ({', '.join(map(str, low))})", "gamma_nhs IN (0, 1)"]
        + [f"gamma_{ASPECTS[p].id} = 0" for p in PERSONAL if ASPECTS[p].id != "nhs"]
    )
    limit = model.thresholds
    prior = log2(max(people, model.people))
    cap = f"CASE WHEN {known} THEN {limit.household} ELSE {limit.strangers} END"
    home = f"CASE WHEN shared <= {limit.strangers} THEN shared ELSE least(shared, {cap}) END"
    return (
        f"SELECT *, CAST(own + {home} - {prior!r} AS DOUBLE) AS plain,"
        f" CAST(own + rare + {home} - {prior!r} AS DOUBLE) AS most "
        f"FROM (SELECT *, {own} AS own, {name} AS rare, {shared} AS shared FROM {source})"
    )


def _points(id_: str, model: Model, people: int) -> str:
    aspect = ASPECTS[PLACE[id_]]
    arms = []
    for place, level in enumerate(aspect.levels):
        points = model.points[PLACE[id_]][place]
        if level.counted:
            points += log2(max(people, model.people) / model.typical[level.counted])
        arms.append(f"WHEN {place} THEN {points!r}")
    return f"CASE gamma_{id_} {' '.join(arms)} ELSE 0.0 END"


def _rare(model: Model) -> str:
    """The most that the rarity of the agreeing names can add."""
    given = log2(model.mean["given"] / model.floor)
    family = log2(model.mean["surname"] / model.floor)
    arms = [
        f"WHEN {place} THEN {level.given * given + level.family * family!r}"
        for place, level in enumerate(ASPECTS[0].levels)
        if level.given or level.family
    ]
    return f"CASE gamma_name {' '.join(arms)} ELSE 0.0 END"
