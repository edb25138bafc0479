"""PURE. How a new person is named in each community, and the right ways of writing that name (§9.1, §9.2)."""

from __future__ import annotations

from datetime import date
from random import Random

from benchmarks.identity.names import Community, communities

TODAY = date(2026, 11, 1)  # the population's own day, so that a seed makes the same people for ever

Form = tuple[tuple[str, ...], str]  # given names, surname


def named(
    dice: Random,
    community: Community,
    sex: str,
    born: date,
    family: str,
    father: str = "",
    given: str = "",
) -> tuple[tuple[Form, ...], tuple[float, ...]]:
    """The right ways of writing a new person's name, with weights: the naming systems of §9.1–9.2.

    `father` is the father's own name where a name is built from it; `given` fixes the first name.
    """
    age = TODAY.year - born.year
    fashion = (
        communities()[0 if age >= 52 else 1] if community.group == "White British" else community
    )
    pick = fashion.given(sex).pick
    own = given or pick(dice)
    name = community.name
    if name == "Somali":
        father = father or community.men.pick(dice)
        return (
            (
                ((own, father), family),
                ((own,), father),
                ((own,), family),
                ((own, father, family), family),
            ),
            (0.62, 0.17, 0.17, 0.04),
        )
    if name == "Arab":
        father = father or community.men.pick(dice)
        bare = family.removeprefix("Al-").removeprefix("El-")
        return (
            (((own,), family), ((own, father), family), ((own,), father), ((own,), bare)),
            (0.5, 0.27, 0.15, 0.08),
        )
    if name in ("Pakistani", "Bangladeshi") and sex == "male" and dice.random() < 0.45:
        first = dice.choice(
            ("Mohammed", "Mohammed", "Mohammed", "Muhammad", "Abdul", "Syed", "Shah")
        )
        if own == first:
            own = pick(dice)
        return (((first, own), family), ((own,), family), ((first,), family)), (0.68, 0.25, 0.07)
    if (
        name in ("Pakistani", "Bangladeshi")
        and sex == "female"
        and (age >= 40 or dice.random() < 0.2)
    ):
        second = dice.choice(("Begum", "Bibi", "Khatun", "Sultana", "Akhtar"))
        if dice.random() < 0.6 and second != family:
            return (((own, second), family), ((own,), second), ((own,), family)), (0.4, 0.48, 0.12)
    if name == "Indian" and dice.random() < 0.3:
        second = "Kaur" if sex == "female" else "Singh"
        if second != family:
            return (((own, second), family), ((own,), second), ((own,), family)), (0.55, 0.3, 0.15)
    if name == "Vietnamese":
        second = "Thi" if sex == "female" else "Văn"
        return (((second, own), family), ((own, second), family), ((own,), family)), (
            0.6,
            0.15,
            0.25,
        )
    if name == "Chinese":
        forms: list[Form] = [((own,), family)]
        weights = [0.75]
        if " " in own:
            one, two = own.split(" ", 1)
            forms += [
                ((one + two.lower(),), family),
                ((one, two), family),
                ((f"{one}-{two}",), family),
            ]
            weights += [0.1, 0.1, 0.05]
        if dice.random() < 0.35:
            english = communities()[1].given(sex).pick(dice)
            forms += [((english, own), family), ((english,), family)]
            weights += [0.12, 0.12]
        return tuple(forms), tuple(weights)
    if name == "West African" and dice.random() < 0.5:
        second = pick(dice)
        return (((own, second), family), ((own,), family), ((second,), family)), (0.6, 0.25, 0.15)
    if dice.random() < 0.55:
        return (((own, pick(dice)), family), ((own,), family)), (0.7, 0.3)
    return (((own,), family),), (1.0,)
