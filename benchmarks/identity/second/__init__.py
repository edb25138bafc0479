"""A second city, conceived without looking at the first: what a stranger might feed the identity manager.

The matcher is trained and tuned on the population of `benchmarks/identity/population.py`. Whoever only
measures on the data that one tuned on measures oneself, so this package has its own people, its own names,
its own offices and its own ideas of how those garble what they write. `population.arrivals` gives the same
kind of rows; `python -m benchmarks.identity --population second` measures on them.

    rows.py         the tables under data/, read once
    life.py         a life as it was: names and homes over time, numbers, what became of it
    traditions.py   how each tradition names a child, a wife, a widow
    places.py       homes: houses, flats, hostels, halls, care homes, sites, none
    kin.py          how a household fills: couples, weddings, children, twins
    households.py   who lives with whom
    numbers.py      valid test numbers of every domain
    slips.py        how texts, dates, postcodes and phones come to be written wrongly
    offices.py      who holds records, and the Patient each would feed
    population.py   all of it, in the order in which it arrives
"""
