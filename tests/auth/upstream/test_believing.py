"""The pure part of believing a provider: vectors of trust, keys, roles, and any claims whatever."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from affinity.pack import load as load_pack
from auth.upstream import id_token
from auth.upstream.claims import identity, pairs
from auth.upstream.id_token import Head, Unbelievable, choose, half_hash, head, satisfies
from auth.upstream.providers import read
from tests.auth.authority import b64
from tests.auth.upstream.conftest import rows
from tests.auth.upstream.elsewhere import recorded

PACK = load_pack("greater_manchester")
(CIS2, NHS_LOGIN, COUNCIL), _ = read(json.dumps(rows()), PACK)
RSA, OTHER = (RSAKey.generate_key(2048, {"kid": kid}).as_dict(private=False) for kid in "ab")
SMALL = {"kty": "RSA", "kid": "a", "e": "AQAB", "n": b64(b"\xc1" * 128)}
EC = ECKey.generate_key("P-256", {"kid": "a"}).as_dict(private=False)
VTR = ("P9.Cp.Cd", "P9.Cp.Ck", "P9.Cm")


@pytest.mark.parametrize(
    ("vot", "enough"),
    [
        ("P9.Cp.Cd", True), ("P9.Cd.Cp", True), ("P9.Cm", True), ("P9.Cp.Ck.Cd", True),
        ("P5.Cp.Cd", False), ("P0.Cm", False), ("P9.Cp", False), ("P9", False), ("", False),
        ("Cp.Cd", False), ("P9.P9.Cm", False), ("P10.Cm", True), ("p9.Cm", False), (None, False),
        (["P9.Cm"], False),
    ],
)  # fmt: skip
def test_a_vector_of_trust_is_enough_when_all_of_one_wanted_is_there(
    vot: object, enough: bool
) -> None:
    assert satisfies(vot, VTR) is enough


@pytest.mark.parametrize(
    ("alg", "kid", "keys", "found"),
    [
        ("RS256", "a", [RSA], True),
        ("RS256", "", [RSA], True),
        ("RS256", "", [RSA, OTHER], False),
        ("RS256", "a", [RSA, OTHER], True),
        ("RS256", "a", [RSA, RSA], False),
        ("RS256", "c", [RSA, OTHER], False),
        ("RS256", "a", [EC], False),
        ("ES256", "a", [RSA], False),
        ("ES256", "a", [EC], True),
        ("ES384", "a", [EC], False),
        ("RS256", "a", [SMALL], False),
        ("RS256", "a", [RSA | {"use": "enc"}], False),
        ("RS256", "a", [RSA | {"alg": "RS512"}], False),
        ("RS256", "a", [{"kty": "RSA", "kid": "a"}], False),
        ("RS256", "a", [{"kty": "oct", "kid": "a", "k": "AAAA"}], False),
        ("RS256", "a", [], False),
    ],
)
def test_the_key_is_the_one_that_fits_kid_and_algorithm(
    alg: str, kid: str, keys: list[dict[str, Any]], found: bool
) -> None:
    assert (choose(Head("", alg, kid, ""), keys) is not None) is found


def test_at_hash_is_half_the_hash_of_the_signatures_size() -> None:
    # OpenID Connect Core 1.0 appendix A.3 and A.4.
    token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    assert half_hash(token, "RS256") == "77QmUPtjPfzWtF2AnpK9RQ"
    assert len(half_hash(token, "RS512")) == 43


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "jku", "crit", "x5c", "b64"]),
        st.text(max_size=6) | st.none() | st.integers() | st.just("RS256"),
    )
)
def test_only_an_agreed_algorithm_and_plain_header_is_read(said: dict[str, Any]) -> None:  # fmt: skip
    compact = f"{b64(json.dumps(said).encode())}.e30.AAAA"
    try:
        found = head(compact, ("RS256",))
    except Unbelievable:
        return
    assert found.alg == "RS256"
    assert not {"jku", "crit", "x5c", "b64"} & said.keys()


@given(st.text(max_size=200) | st.none() | st.integers() | st.binary())
def test_nonsense_is_no_token(said: object) -> None:
    with pytest.raises(Unbelievable):
        head(said, ("RS256",))


ANYTHING = st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("iss", "aud", "azp", "sub", "exp", "iat", "nbf", "nonce", "acr", "auth_time", "at_hash",
             "events", "jti", "sid"),
            ANYTHING,
        ),
    )
)  # fmt: skip
def test_claims_of_any_shape_are_refused_and_never_a_fall(changes: dict[str, Any]) -> None:
    now = time.time()
    good = {
        "iss": "https://i.example", "aud": CIS2.client_id, "sub": "1", "exp": now + 60, "iat": now,
        "nonce": "n", "acr": "AAL3_ANY", "auth_time": now,
    }  # fmt: skip

    def check(claims: dict[str, Any]) -> None:
        id_token.check_id_token(
            claims, CIS2, issuer="https://i.example", nonce="n", alg="RS256", access_token="t",
            max_age=900, now=now, skew=60,
        )  # fmt: skip

    check(good)
    told = good | changes
    try:
        check(told)
    except Unbelievable:
        pass
    else:
        for name in ("iss", "aud", "nonce", "acr"):
            assert told[name] in (good[name], [good[name]])
    with pytest.raises(Unbelievable):
        id_token.check_logout_token(told, CIS2, issuer="https://i.example", now=now, skew=60)


def of_cis2(**changes: Any) -> dict[str, Any]:
    return recorded("cis2", "userinfo") | changes


def test_the_selected_role_alone_counts() -> None:
    assert pairs(of_cis2(), CIS2, PACK) == (("R-HV", "R0A"),)
    assert pairs(of_cis2(selected_roleid="555012345678902"), CIS2, PACK) == (("R-MW", "RM3"),)


def test_without_a_selection_every_role_that_leads_somewhere_counts_once() -> None:
    told = of_cis2()
    del told["selected_roleid"]
    told["nhsid_nrbac_roles"] = [*told["nhsid_nrbac_roles"], *told["nhsid_nrbac_roles"], "R8001", 5]
    assert pairs(told, CIS2, PACK) == (("R-HV", "R0A"), ("R-MW", "RM3"))


def test_the_whole_code_outdoes_its_parts() -> None:
    both = replace(CIS2, roles={"R8001": "R-HV", "S8000:G8000:R8001": "R-SN"})
    assert pairs(of_cis2(), both, PACK) == (("R-SN", "R0A"),)


def test_what_is_not_signed_never_outdoes_what_is() -> None:
    proved = recorded("council", "id_token") | {"iss": "https://sso.council.example/realms/staff"}
    told = {
        "sub": proved["sub"],
        "groups": ["social-work"],
        "department": "LA",
        "family_name": "Evil",
    }
    made = identity(proved | {"groups": ["staff"]}, told, COUNCIL, PACK)
    assert made.pairs == ()
    assert made.family == "Example"


def test_two_subjects_have_two_usernames_also_across_issuers() -> None:
    proved = recorded("council", "id_token")
    one = identity(proved, {}, COUNCIL, PACK)
    two = identity(proved | {"sub": "other"}, {}, COUNCIL, PACK)
    three = identity(proved | {"iss": "https://other.example"}, {}, COUNCIL, PACK)
    names = {i.username("council") for i in (one, two, three)}
    assert len(names) == 3
    assert all(name.startswith("council.") for name in names)


@given(
    st.dictionaries(
        st.sampled_from(
            ["nhsid_nrbac_roles", "selected_roleid", "given_name", "family_name", "name"]
        ),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["role_code", "org_code", "person_roleid"]), inner, max_size=3
                )
            ),
        ),
    )
)
def test_userinfo_of_any_shape_is_read_or_refused(told: dict[str, Any]) -> None:
    try:
        made = identity({"iss": "https://i.example", "sub": "1"}, told | {"sub": "1"}, CIS2, PACK)
    except Unbelievable:
        return
    assert all(role in PACK.roles and where in PACK.organisations for role, where in made.pairs)
