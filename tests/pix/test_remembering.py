"""What `Domains` remembers of identifiers is what it would say anew (`pix/identifiers.py`)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load
from pix.identifiers import _LONG, Domains, Identifier

PACK = load("greater_manchester")
BASE = "https://exchange.example/fhir"
KNOWN = Domains(PACK, BASE)
_SYSTEMS = st.one_of(
    st.sampled_from([d.system + ("352" if d.prefix else "") for d in PACK.domains]),
    st.sampled_from([BASE, BASE + "/", "urn:oid:2.16.840.1.113883.2.1.4.1", "x:unknown", ""]),
)
_VALUES = st.one_of(
    st.text(max_size=20), st.from_regex(r"[0-9]{10}", fullmatch=True), st.just("9" * _LONG)
)


@given(_SYSTEMS, _VALUES)
def test_an_answer_is_the_same_the_first_time_and_ever_after(system: str, value: str) -> None:
    for asked in (KNOWN, KNOWN, Domains(PACK, BASE)):
        made = asked.identifier(system, value)
        domain = PACK.domain_of(asked.system(system))
        kept = domain.normal(value) if domain else value.strip()
        assert made == Identifier(asked.system(system), kept)
        assert asked.of(made.system) is domain
        assert asked.fault(made) == (domain.fault(kept) if domain else "")
        may = domain is not None and asked.answers(made.system) and domain.usable(kept)
        assert asked.usable(made) is may


def test_nothing_long_is_remembered() -> None:
    domains = Domains(PACK, BASE)
    made = domains.identifier("x:unknown", "v" * 100_000)
    domains.usable(made)
    domains.fault(made)
    for kept in (domains._forms, domains._uses, domains._faults):
        assert kept.cache_info().currsize == 0  # type: ignore[union-attr]
