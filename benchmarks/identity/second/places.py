"""PURE. Homes. A house has one UPRN; the rooms of a hostel share one, and so do the pitches of a site."""

from __future__ import annotations

from random import Random

from benchmarks.identity.second.life import Home
from benchmarks.identity.second.rows import common_first, parted, table

LETTERS = "ABDEFGHIJKLMNOPQRSTUVWXYZ"
NOWHERE = (
    Home("none", ("No fixed abode",), "", "ZZ99 3VZ", "", "352"),
    Home("none", ("NFA",), "", "NF1 1NF", "", "352"),
    Home("none", ("Of no fixed address", "Piccadilly"), "Manchester", "", "", "352"),
    Home("none", ("sofa surfing",), "", "", "", "355"),
)


def house(dice: Random, council: str = "") -> Home:
    """A house or a flat of one household, near `council` when that is given."""
    town = _town(dice, council)
    street = _street(dice)
    number = dice.randint(1, 180)
    lines: tuple[str, ...] = (
        f"{number}{dice.choice('ABC') if dice.random() < 0.03 else ''} {street}",
    )
    kind = "house"
    if dice.random() < 0.2:
        kind, flat = "flat", dice.randint(1, 24)
        block = f"{dice.choice(parted(table('streets')[0]['first']))} {dice.choice(('House', 'Court', 'Point'))}"
        lines = dice.choice(
            (
                (f"Flat {flat}", f"{number} {street}"),
                (f"{flat}/{number} {street}",),
                (f"Flat {flat} {block}", street),
            )
        )
    landline = f"{town['landline']}{dice.randrange(1_000):03d}"
    return Home(
        kind,
        lines,
        town["town"],
        _postcode(dice, town["districts"]),
        _uprn(dice),
        town["council"],
        landline,
    )


def institution(kind: str, dice: Random, council: str = "") -> Home:
    """A place where many live who are not of one household: its rooms differ in `room`'s first line only."""
    town = _town(dice, council)
    first = dice.choice(parted(table("streets")[0]["first"]))
    called = {
        "hostel": f"{first} House Hostel",
        "care": f"{first} Lodge Care Home",
        "custody": f"HMP {first}",
        "hotel": f"{first} Hotel",
        "hall": f"{first} Hall",
        "site": f"{first} Lane Caravan Site",
        "refuge": "Address withheld",
    }[kind]
    lines = (called, f"{dice.randint(1, 200)} {_street(dice)}")
    return Home(
        kind, lines, town["town"], _postcode(dice, town["districts"]), _uprn(dice), town["council"]
    )


def room(place: Home, number: int) -> Home:
    """One room, pitch or bed of an institution; most records of custody and hostels have none."""
    words = {"site": "Plot", "hotel": "Room", "hall": "Room", "hostel": "Room"}.get(place.kind)
    if words is None:
        return place
    return Home(
        place.kind,
        (f"{words} {number}", *place.lines),
        place.town,
        place.postcode,
        place.uprn,
        place.council,
    )


def _town(dice: Random, council: str) -> dict[str, str]:
    towns = table("towns")
    if council and dice.random() < 0.8:
        towns = tuple(row for row in towns if row["council"] == council)
    return dict(towns[int(len(towns) * dice.random() ** 1.7)])


def _street(dice: Random) -> str:
    (row,) = table("streets")
    return f"{dice.choice(parted(row['first']))} {common_first(parted(row['second']), dice, 1.0)}"


def _postcode(dice: Random, districts: str) -> str:
    return f"{dice.choice(parted(districts))} {dice.randint(0, 9)}{dice.choice(LETTERS)}{dice.choice(LETTERS)}"


def _uprn(dice: Random) -> str:
    return f"9999{dice.randrange(10**8):08d}"
