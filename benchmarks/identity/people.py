"""PURE. Households of a city and the people in them: how they live, are named and are related.

One call makes one household from the seed and its number alone, so a city of any size is made in
constant memory, and the same seed always makes the same city. Everything that makes people hard to tell
apart is made here (twins, fathers and sons of one name, hostels, pitches, adoption); what agencies write
down about them, rightly or wrongly, is in `recording.py`. Shares follow the domain digest §9.1, §9.2, §9.4.
Every identifier, address and phone is one that can never be live (§9.5).

Longer than most files because the kinds of household are one subject: each reads the same `_Home`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from random import Random
from typing import Any

from benchmarks.identity.names import Community, communities, gendered, sounded
from benchmarks.identity.naming import TODAY, Form, named
from benchmarks.identity.person import Address, Person
from exchange.city.people import COUNCILS, NEVER_ISSUED, STREETS, nhs_number

WINDOW = 2500  # households that share their hostels and pitches
HOSTELS, SITES = 3, 1  # of those in a window
_AREAS = {
    "350": ("BL", 0, 9), "351": ("BL", 8, 9), "352": ("M", 1, 24), "353": ("OL", 1, 9), "354": ("OL", 10, 16),
    "355": ("M", 27, 31), "356": ("SK", 1, 16), "357": ("SK", 14, 16), "358": ("WA", 14, 15), "359": ("WN", 1, 8),
}  # fmt: skip
_PERMUTED, _STEP = 449_987, 265_371  # a prime, and a step that spreads neighbours over all numbers


def households(seed: int) -> Iterator[tuple[Person, ...]]:
    """Households without end; person numbers count from 0."""
    first, number = 0, 0
    while True:
        made = _household(first, number, seed)
        yield made
        first, number = first + len(made), number + 1


def people(seed: int, count: int) -> Iterator[Person]:
    """The first `count` people."""
    for home in households(seed):
        for person in home:
            if person.number >= count:
                return
            yield person


def serial(number: int) -> int:
    """The place of a person among the NHS numbers: spread, with a free place behind each for a twin or
    for a second number."""
    block, place = divmod(number, _PERMUTED)
    spread = 2 * (place * _STEP % _PERMUTED)
    return spread if block == 0 else 1_000_000 + (block - 1) * 2 * _PERMUTED + spread


class _Home:
    """A household while it is made: its dice, its community, its addresses and who is in it so far."""

    def __init__(self, first: int, number: int, seed: int) -> None:
        self.dice = Random(f"{seed}/{number}")
        self.first, self.number, self.seed = first, number, seed
        every = communities()
        self.community = self.dice.choices(every, [c.weight for c in every])[0]
        self.council = self.dice.randrange(len(COUNCILS))
        self.people: list[Person] = []
        self.places = 0
        self.phones = 0

    @property
    def code(self) -> str:
        """The council's code."""
        return COUNCILS[self.council][1]

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return self.dice.random() < share

    def new_address(self, *, elsewhere: bool = False) -> Address:
        """A home of its own, in this council or in another."""
        council = self.dice.randrange(len(COUNCILS)) if elsewhere else self.council
        uprn = f"9999{(self.number * 8 + self.places) % 10**8:08d}"
        self.places += 1
        line = f"{self.dice.randrange(1, 180)} {_street(self.dice)}"
        if self.chance(0.22):
            line = f"Flat {self.dice.randrange(1, 40)}, {line}"
        return Address(line, *_town_and_postcode(self.dice, council), uprn)

    def shared_address(self, kind: str, many: int) -> Address:
        """One of the places that the households of this window share: a hostel, a refuge, a site."""
        window = self.number // WINDOW
        which = self.dice.randrange(many)
        dice = Random(f"{self.seed}/{kind}/{window}/{which}")
        council = dice.randrange(len(COUNCILS))
        town, postcode = _town_and_postcode(dice, council)
        name = {"hostel": "Hope House", "refuge": "Rowan House", "site": "Meadow Lane Site"}[kind]
        line = f"{name} {dice.randrange(1, 99)} {_street(dice)}"
        place = {"hostel": 0, "refuge": 1, "site": 2}[kind]
        uprn = f"99998{place}{(window * 10 + which) % 10**6:06d}"
        if kind == "site":
            line = f"{self.dice.choice(('Plot', 'Pitch'))} {self.dice.randrange(1, 25)}, {line}"
        elif kind == "hostel" and self.chance(0.5):
            line = f"Room {self.dice.randrange(1, 40)}, {line}"
        return Address(line, town, postcode, uprn, kind)

    def new_phone(self, *, landline: bool = False) -> str:
        """A number that nobody else has."""
        slot = self.first + self.phones  # no household has more phones than people
        self.phones += 1
        if landline and self.number < 1000:
            return f"0161 496 {self.number:04d}"
        spread = slot * 7919 % 99_991
        if slot < 99_991:
            return f"07700 9{spread:05d}"
        return f"06{(slot - 99_991) % 10**9:09d}"  # no UK number begins with 06


def _household(first: int, number: int, seed: int) -> tuple[Person, ...]:
    home = _Home(first, number, seed)
    kind = home.dice.choices(_KINDS, _SHARES)[0]
    if home.community.name == "Traveller" and kind not in ("homeless", "adoption"):
        kind = "family"
    _MAKERS[kind](home)
    _finish(home)
    return tuple(home.people)


# -- people -------------------------------------------------------------------------------------


def _person(
    home: _Home, sex: str, born: date, forms: tuple[Form, ...], weights: tuple[float, ...], *,
    address: Address, previous: tuple[Address, ...], story: str, phone: str = "", email: bool = False,
    community: Community | None = None, nhs: int | None = None, **more: Any,
) -> Person:  # fmt: skip
    community = community or home.community
    number = home.first + len(home.people)
    given, family = forms[0]
    local = f"{given[0]}.{family}".lower().replace(" ", "").replace("'", "")
    address_of_mail = (
        f"{local.encode('ascii', 'ignore').decode()}{number}@example.org" if email else ""
    )
    made = Person(
        number, community.name, community.group, community.ethnic, sex, born, forms, weights,
        nhs_number(serial(number) if nhs is None else nhs), home.code, address, previous, phone,
        address_of_mail, story, **more,
    )  # fmt: skip
    home.people.append(made)
    return made


def _born(dice: Random, youngest: float, oldest: float) -> date:
    days = dice.randrange(
        int(youngest * 365.25) + 1, max(int(oldest * 365.25), int(youngest * 365.25) + 30)
    )
    return TODAY - timedelta(days=days)


def _adult_born(home: _Home, youngest: float, oldest: float) -> date:
    """A birthday; where papers were lost on the way, 1 January is what a person was given (§9.4)."""
    born = _born(home.dice, youngest, oldest)
    share = _FIRST_OF_JANUARY.get(home.community.name, 0.0)
    return born.replace(month=1, day=1) if home.chance(share) else born


_FIRST_OF_JANUARY = {
    "Somali": 0.12, "Kurdish and Iranian": 0.08, "Arab": 0.05, "Bangladeshi": 0.03, "Pakistani": 0.02,
    "West African": 0.02, "Vietnamese": 0.02,
}  # fmt: skip
_SHARES_NO_SURNAME = ("Somali", "Arab", "Chinese", "Vietnamese")


def _surname(home: _Home, of: Community | None = None) -> str:
    community = of or home.community
    if community.name == "Somali":
        return community.men.pick(home.dice)
    return community.surnames.pick(home.dice)


# -- kinds of household -------------------------------------------------------------------------


def _single(home: _Home) -> None:
    sex = home.dice.choice(("male", "female"))
    _adult(home, sex, _adult_born(home, 18, 66), _surname(home), _story(home), home.new_address())


def _couple(home: _Home) -> None:
    older = home.chance(0.35)
    _parents(home, 60 if older else 20, 92 if older else 59, _story(home), home.new_address())


def _family(home: _Home) -> None:
    site = home.community.name == "Traveller"
    address = (
        home.shared_address("site", SITES) if site and home.chance(0.8) else home.new_address()
    )
    story = _story(home, children=True)
    father, mother = _parents(home, 21, 50, story, address)
    _children(home, father, mother, story, address)
    if home.chance(0.25 if home.community.group == "South Asian" else 0.04):
        _grandparents(home, father, address)


def _one_parent(home: _Home) -> None:
    address, story = home.new_address(), _story(home, children=True)
    if story == "victim" and home.chance(0.5):
        address = home.shared_address("refuge", 1)
    mother = _adult(home, "female", _adult_born(home, 19, 48), _surname(home), story, address)
    _children(home, None, mother, story, address)


def _older(home: _Home) -> None:
    _parents(home, 66, 95, "everyday", home.new_address(), widowed=0.5)


def _homeless(home: _Home) -> None:
    sex = home.dice.choice(("male", "male", "male", "male", "female"))
    kind = home.dice.random()
    if kind < 0.55:
        address = home.shared_address("hostel", HOSTELS)
    elif kind < 0.85:
        address = nowhere(home.dice)
    else:
        address = home.new_address()
    previous = tuple(
        home.dice.choice((
            lambda: home.shared_address("hostel", HOSTELS), lambda: nowhere(home.dice),
            lambda: home.new_address(elsewhere=True),
        ))()
        for _ in range(4)
    )  # fmt: skip
    born = _adult_born(home, 18, 68)
    _adult(
        home,
        sex,
        born,
        _surname(home),
        "homeless",
        address,
        previous=previous,
        phone=home.chance(0.55),
    )


def nowhere(dice: Random) -> Address:
    """No fixed abode, as systems write it (§1.4)."""
    postcode = dice.choice(("NF1 1NF", "ZZ99 3VZ", "ZZ99 3VZ", ""))
    return Address("No fixed abode", "Manchester", postcode, "", "none")


def _house_share(home: _Home) -> None:
    """Unrelated adults at one address, some with one phone."""
    address, every = home.new_address(), communities()
    shared = home.new_phone(landline=True) if home.chance(0.3) else ""
    for _ in range(home.dice.choice((3, 3, 4, 5))):
        of = home.dice.choices(every, [c.weight for c in every])[0]
        sex = home.dice.choice(("male", "female"))
        born = _born(home.dice, 18, 32)
        _adult(home, sex, born, _surname(home, of), "everyday", address, of=of, landline=shared)


def _adult(
    home: _Home, sex: str, born: date, surname: str, story: str, address: Address, *,
    previous: tuple[Address, ...] | None = None, phone: bool = True, landline: str = "",
    of: Community | None = None, given: str = "", father: str = "", slices: frozenset[str] = frozenset(),
    former: tuple[str, ...] = (),
) -> Person:  # fmt: skip
    community = of or home.community
    if previous is None:
        previous = tuple(
            home.new_address(elsewhere=home.chance(0.3)) for _ in range(home.dice.choice((1, 1, 2)))
        )
    family = gendered(surname, sex, community.name)
    age = TODAY.year - born.year
    if sex == "female" and 20 <= age <= 50 and not former and home.chance(0.12):
        former = (gendered(_surname(home, community), sex, community.name),)
    if former:
        slices |= {"name change"}
    forms, weights = named(home.dice, community, sex, born, family, father, given)
    number = landline or (home.new_phone() if phone else "")
    return _person(
        home, sex, born, forms, weights, address=address, previous=previous, story=story, phone=number,
        email=home.chance(0.6 if age < 75 else 0.2), community=community, former=former, slices=slices,
    )  # fmt: skip


def _parents(
    home: _Home, youngest: float, oldest: float, story: str, address: Address, widowed: float = 0.0
) -> tuple[Person, Person]:
    """A couple of a man and a woman; widowed: the share in which only she is left."""
    his, hers = _surname(home), _surname(home)
    previous = (home.new_address(elsewhere=home.chance(0.3)),)
    own = (home.new_address(elsewhere=home.chance(0.3)),)
    born = _adult_born(home, youngest, oldest)
    near = timedelta(days=home.dice.randrange(-1200, 2500))
    other = min(born + near, TODAY - timedelta(days=int(18.2 * 365.25)))
    landline = (
        home.new_phone(landline=True) if home.chance(0.25 if youngest >= 60 else 0.05) else ""
    )
    former: tuple[str, ...] = ()
    if home.community.name in _SHARES_NO_SURNAME or home.chance(0.35):
        surname = hers
    else:
        surname = his
        age = TODAY.year - other.year
        recent = 20 <= age <= 50 and home.chance(0.2)
        former = (gendered(hers, "female", home.community.name),) if recent else ()
        if 20 <= age <= 40 and home.chance(0.02):
            surname = f"{hers}-{his}"
    alone = home.chance(widowed)
    man = (
        None
        if alone
        else _adult(home, "male", born, his, story, address, previous=previous, landline=landline)
    )
    woman = _adult(
        home,
        "female",
        other,
        surname,
        story,
        address,
        previous=previous + own,
        landline=landline,
        former=former,
    )
    return man or woman, woman


def _children(
    home: _Home, father: Person | None, mother: Person, story: str, address: Address
) -> None:
    """The births of a family, twins and triplets among them (14 per 1,000 maternities; §9.4)."""
    large = (
        home.community.name in ("Traveller", "Somali", "Pakistani", "Bangladeshi")
        or story == "complex"
    )
    births = home.dice.choices(
        (1, 2, 3, 4, 5), (20, 25, 22, 20, 13) if large else (42, 40, 13, 4, 1)
    )[0]
    oldest = min(TODAY.year - mother.born.year - 18.5, 21)
    if story == "early":
        oldest = min(oldest, 6)
    at = home.dice.uniform(0.05, max(oldest, 0.3))
    surname = _family_name(home, father, mother)
    step = ""
    if father is None and home.chance(0.25):
        step = _surname(home)
    for _ in range(births):
        if at > oldest and at > 0.5:
            break
        born = TODAY - timedelta(days=int(at * 365.25) + 2)
        many = 1 + home.chance(0.0142) + home.chance(0.0002)
        _birth(home, many, born, surname, father, mother, story, address, step)
        at += home.dice.uniform(1.1, 4.5)


def _family_name(home: _Home, father: Person | None, mother: Person) -> str:
    """The surname that children are given: grandfather's own name where names are chains."""
    if home.community.name == "Somali":
        return father.forms[0][0][1] if father else home.community.men.pick(home.dice)
    if father is None:
        return _masculine(mother, home)
    if home.community.name not in _SHARES_NO_SURNAME and father.forms[0][1] != mother.forms[0][1]:
        if home.chance(0.08):
            return f"{_masculine(mother, home)}-{father.forms[0][1]}"
        if home.chance(0.2):
            return _masculine(mother, home)
    return father.forms[0][1]


def _masculine(mother: Person, home: _Home) -> str:
    if home.community.name in ("Polish", "Czech and Slovak"):
        return _surname(
            home
        )  # the mother's own form is feminine; what her father bore is another draw
    return mother.forms[0][1]


def _birth(
    home: _Home, many: int, born: date, surname: str, father: Person | None, mother: Person, story: str,
    address: Address, step: str,
) -> None:  # fmt: skip
    """One, two or three children of one day."""
    previous = mother.previous[:1] if born < TODAY - timedelta(days=700) else ()
    first = home.first + len(home.people)
    chosen: list[str] = []
    father_name = father.forms[0][0][0] if father else ""
    one_sex = home.chance(0.65)
    sex = home.dice.choice(("male", "female"))
    for place in range(many):
        if place and not one_sex:
            sex = home.dice.choice(("male", "female"))
        slices: set[str] = {"twin", f"birth:{first}"} if many > 1 else set()
        given = _twin_name(home, sex, chosen) if place else ""
        eldest = not any(p.sex == "male" and p.age < 22 for p in home.people[2:])
        if (
            father
            and not place
            and sex == "male"
            and eldest
            and home.chance(_NAMESAKES.get(home.community.name, 0.03))
        ):
            given = father_name
            slices.add("same name")
            at = home.people.index(father)
            home.people[at] = father = replace(father, slices=father.slices | {"same name"})
        forms, weights = named(
            home.dice,
            home.community,
            sex,
            born,
            gendered(surname, sex, home.community.name),
            father_name,
            given,
        )
        if "same name" in slices and father:
            forms, weights = (
                (father.forms, father.weights) if home.chance(0.6) else (forms, weights)
            )
        chosen.append(forms[0][0][0])
        grown = TODAY.year - born.year >= 16
        number = home.first + len(home.people)
        consecutive = serial(first) + 1 if place == 1 and home.chance(0.7) else serial(number)
        _person(
            home, sex, born, forms, weights, address=address, previous=previous, story=story,
            phone=home.new_phone() if grown else mother.phone, email=grown and home.chance(0.5),
            nhs=consecutive, step=step if home.chance(0.6) else "", slices=frozenset(slices),
        )  # fmt: skip


_NAMESAKES = {
    "Traveller": 0.4,
    "Irish": 0.15,
    "Romanian": 0.08,
    "Caribbean": 0.08,
    "British older": 0.06,
}


def _twin_name(home: _Home, sex: str, chosen: list[str]) -> str:
    """A twin's name: one in five is like the other's, three in ten begin with the same letter."""
    names = home.community.given(sex)
    other = chosen[0]
    kind = home.dice.random()
    begins = other[:3] if kind < 0.2 else other[:1] if kind < 0.4 else ""
    for _ in range(60):
        name = names.pick(home.dice)
        if name.startswith(begins) and name not in chosen:
            return name
    alike = sounded(other, home.dice)
    return alike if alike not in chosen else alike + "a"


def _grandparents(home: _Home, father: Person, address: Address) -> None:
    oldest = TODAY.year - father.born.year + 19
    surname, given, slices = father.forms[0][1], "", frozenset[str]()
    if home.community.name == "Somali":
        surname = home.community.men.pick(home.dice)
    elif home.chance(_NAMESAKES.get(home.community.name, 0.02)):
        given, slices = father.forms[0][0][0], frozenset({"same name"})
    if home.chance(0.6):
        born = _adult_born(home, oldest, oldest + 15)
        _adult(home, "male", born, surname, "everyday", address, given=given, slices=slices)
    if home.chance(0.8):
        _adult(home, "female", _adult_born(home, oldest, oldest + 12), surname, "everyday", address)


def _adoption(home: _Home) -> None:
    """A birth family, and the family that adopted its child: two identities that must stay two (§1.6 P1).

    Birth date and sex are the same; the NHS number, surname and address are new; the given name is kept
    or changed; one in ten keeps the UPN although it should not.
    """
    address, story = home.new_address(), "complex"
    mother = _adult(home, "female", _adult_born(home, 19, 42), _surname(home), story, address)
    oldest = min(12.0, TODAY.year - mother.born.year - 18.5)
    born = _born(home.dice, 0.6, max(oldest, 1))
    _birth(home, 1, born, _masculine(mother, home), None, mother, story, address, "")
    before = home.people[-1]
    council = home.council
    while home.council == council:
        home.council = home.dice.randrange(len(COUNCILS))
    every = communities()
    if home.chance(0.3):
        home.community = home.dice.choices(every, [c.weight for c in every])[0]
    new_home = home.new_address()
    father, adopter = _parents(home, 30, 50, "everyday", new_home)
    kept = before.forms[0][0][0] if home.chance(0.6) else ""
    surname = gendered(father.forms[0][1], before.sex, home.community.name)
    forms, weights = named(home.dice, home.community, before.sex, born, surname, "", kept)
    after = _person(
        home, before.sex, born, forms, weights, address=new_home, previous=(), story="early",
        phone=adopter.phone, sealed=before.number, after=True, label="ADOPTION",
        pupil=before.number if home.chance(0.1) else None, pupil_council=before.council, slices=frozenset({"sealed"}),
    )  # fmt: skip
    at = home.people.index(before)
    home.people[at] = replace(before, sealed=after.number, slices=before.slices | {"sealed"})


def _recognition(home: _Home) -> None:
    """Somebody with a new identity after gender recognition: a new NHS number, given name and sex."""
    address = home.new_address()
    before = _adult(
        home,
        home.dice.choice(("male", "female")),
        _adult_born(home, 20, 55),
        _surname(home),
        "everyday",
        address,
    )
    sex = "female" if before.sex == "male" else "male"
    forms, weights = named(home.dice, home.community, sex, before.born, before.forms[0][1])
    here = address if home.chance(0.6) else home.new_address()
    after = _person(
        home, sex, before.born, forms, weights, address=here, previous=(), story="everyday",
        phone=before.phone if home.chance(0.5) else home.new_phone(), email=home.chance(0.5),
        sealed=before.number, after=True, label="GRA", slices=frozenset({"sealed"}),
    )  # fmt: skip
    home.people[0] = replace(before, sealed=after.number, slices=before.slices | {"sealed"})


_MAKERS = {
    "single": _single, "couple": _couple, "family": _family, "one parent": _one_parent, "older": _older,
    "homeless": _homeless, "house share": _house_share, "adoption": _adoption, "recognition": _recognition,
}  # fmt: skip
_KINDS = tuple(_MAKERS)
_SHARES = (20.0, 20.0, 25.5, 11.0, 11.0, 4.0, 2.5, 0.95, 0.05)


def _story(home: _Home, *, children: bool = False) -> str:
    if children:
        return home.dice.choices(("everyday", "early", "complex", "victim"), (52, 28, 14, 6))[0]
    return home.dice.choices(("everyday", "complex", "victim"), (92, 5, 3))[0]


def _finish(home: _Home) -> None:
    """What can only be said of the whole household."""
    crowded = {"hostel": "hostel", "refuge": "hostel", "site": "site", "none": "no fixed abode"}
    for place, person in enumerate(home.people):
        kin = tuple(p.number for p in home.people if p.number != person.number)
        slices = person.slices
        if person.address.kind in crowded:
            slices |= {crowded[person.address.kind]}
        if person.age == 0:
            slices |= {"newborn"}
        home.people[place] = replace(person, spouse_or_kin=kin, slices=slices)


def _town_and_postcode(dice: Random, council: int) -> tuple[str, str]:
    _, code, _, towns = COUNCILS[council]
    area, low, high = _AREAS[code]
    # Streets differ in length: some postcodes have many homes, most have few.
    letters = (
        NEVER_ISSUED[min(int(dice.expovariate(0.7)), 5)]
        + NEVER_ISSUED[min(int(dice.expovariate(0.5)), 5)]
    )
    return dice.choice(towns), f"{area}{dice.randint(low, high)} {dice.randrange(1, 10)}{letters}"


def _street(dice: Random) -> str:
    return f"{dice.choice(STREETS)} {dice.choice(('Street', 'Road', 'Lane', 'Avenue', 'Close', 'Grove'))}"
