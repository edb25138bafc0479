"""The file of providers: what it may say, and that everything wrong with it is told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from affinity.pack import load as load_pack
from auth.upstream.identities import Identities, IdentityTaken, Link, now
from auth.upstream.providers import PRESETS, ProvidersInvalid, load, plain_issuer, read
from chassis.mongo import Mongo
from tests.auth.upstream.conftest import rows, written

PACK = load_pack("greater_manchester")
GOOD: dict[str, Any] = {
    "id": "council", "issuer": "https://sso.council.example/realms/staff", "client_id": "us",
    "method": "none",
}  # fmt: skip


def faults(*said: dict[str, Any]) -> str:
    return "\n".join(read(json.dumps(list(said)), PACK)[1])


def test_a_whole_file_is_read_with_its_presets(tmp_path: Path) -> None:
    found = load(str(written(tmp_path)), PACK)
    assert list(found) == ["cis2", "nhs_login", "council"]
    cis2, proof = found["cis2"]
    assert (cis2.label, cis2.algorithms, cis2.max_age) == ("NHS CIS2", ("RS256",), 900)
    assert proof.kid == "ours"
    nhs, pem = found["nhs_login"]
    assert (nhs.algorithms, nhs.key_alg, nhs.pkce) == (("RS512",), "RS512", False)
    assert pem.kid
    for shown in (repr(found), str(found)):
        assert "a secret" not in shown
        assert '"d"' not in shown
    assert load("", PACK) == {}


def test_a_row_outdoes_its_preset() -> None:
    row = rows()[0] | {"label": "Smartcard", "max_age": 60, "algorithms": ["RS512"]}
    ((made,), wrong) = read(json.dumps([row]), PACK)
    assert wrong == []
    assert (made.label, made.max_age, made.algorithms) == ("Smartcard", 60, ("RS512",))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_needs_only_what_onboarding_gives(preset: str) -> None:
    row = {"preset": preset, "id": preset, "client_id": "us", "key": "us.pem"}
    assert faults(row) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "Council"}, "small letters"),
        ({"id": None}, "id is missing"),
        ({"client_id": ""}, "client_id is missing"),
        ({"issuer": "http://sso.council.example"}, "https"),
        ({"issuer": "https://sso.council.example?x=1"}, "query"),
        ({"issuer": "https://user@sso.council.example"}, "https"),
        ({"scope": "profile"}, "openid"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"method": "client_secret_jwt"}, "method is one of"),
        ({"method": "private_key_jwt"}, "key names a file"),
        ({"method": "client_secret_basic"}, "secret names a file"),
        ({"secret": "x"}, "secret names a file"),
        ({"pkce": False}, "PKCE"),
        ({"admit": "everyone"}, "linked or mapped"),
        ({"admit": "mapped"}, "needs roles"),
        ({"roles": {"x": "R-GP"}}, "roles_claim"),
        ({"roles": {"x": "R-NONE"}, "roles_claim": "groups"}, "R-NONE"),
        ({"roles": {"x": "R-SYS"}, "roles_claim": "groups"}, "R-SYS"),
        ({"organisations": {"x": "NOWHERE"}}, "NOWHERE"),
        ({"preset": "cis3"}, "no preset"),
        ({"colour": "blue"}, "colour"),
        ({"max_age": "900"}, "whole number"),
        ({"max_age": -1}, "whole number"),
        ({"pkce": "yes"}, "true or false"),
        ({"scope": 5}, "a string"),
        ({"acr_values": "AAL3"}, "array of strings"),
        ({"roles": ["R-GP"]}, "object of strings"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_in_words(changes: dict[str, Any], words: str) -> None:
    assert words in faults(GOOD | changes)


def test_everything_wrong_is_told_at_once() -> None:
    said = faults(
        GOOD | {"scope": "x", "algorithms": ["none"], "admit": "x"}, GOOD, GOOD | {"colour": 1}
    )
    for words in ("openid", "algorithms", "linked or mapped", "given twice", "colour"):
        assert words in said


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[", '[{"id": "x"}, 5]'])
def test_a_file_that_is_no_array_of_objects_is_told(text: str) -> None:
    assert read(text, PACK)[1]


@pytest.mark.parametrize(
    ("name", "content", "alg", "words"),
    [
        ("none.jwk", None, "RS256", "cannot be read"),
        ("x.jwk", b"nonsense", "RS256", "neither"),
        ("x.jwk", b"{}", "RS256", "neither"),
        ("x.jwk", json.dumps(RSAKey.generate_key(2048).as_dict(private=False)).encode(), "RS256",
         "no private"),
        ("x.jwk", json.dumps(ECKey.generate_key("P-384").as_dict(private=True)).encode(), "RS256",
         "no private RSA"),
        ("x.pem", RSAKey.generate_key(2048).as_pem(private=True), "ES384", "no private EC"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_prove_us_is_told_and_not_shown(
    tmp_path: Path, name: str, content: bytes | None, alg: str, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    row = GOOD | {"method": "private_key_jwt", "key": name, "key_alg": alg}
    file = tmp_path / "providers.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(ProvidersInvalid, match=words) as fault:
        load(str(file), PACK)
    if content:
        assert content.decode()[30:60] not in str(fault.value) or len(content) < 40
    with pytest.raises(ProvidersInvalid, match="cannot be read"):
        load(str(tmp_path / "missing.json"), PACK)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example", "https://a.example/", True),
        ("https://a.example:443/x", "https://a.example/x/", True),
        ("https://A.example/x", "https://a.example/x", True),
        ("https://a.example/x", "https://a.example/X", False),
        ("https://a.example:444", "https://a.example", False),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example.evil.example", False),
    ],
)
def test_one_issuer_may_be_written_in_two_ways(one: str, other: str, same: bool) -> None:
    assert (plain_issuer(one) != "" and plain_issuer(one) == plain_issuer(other)) is same


async def test_an_identity_belongs_to_one_person(mongo: Mongo) -> None:
    identities = Identities(mongo)
    made = Link("https://a.example", "1", "ann", "council", "me", now())
    await identities.link(made)
    for person in ("ann", "ben"):
        with pytest.raises(IdentityTaken):
            await identities.link(Link("https://a.example", "1", person, "x", "me", now()))
    await identities.link(Link("https://a.example", "11", "ben", "council", "me", now()))
    await identities.link(Link("https://b.example", "1", "ben", "council", "me", now()))
    found = await identities.of("https://a.example", "1")
    assert found is not None
    assert found.person == "ann"
    assert await identities.of("https://a.example/", "1") is None
    assert {link.subject for link in await identities.of_person("ben")} == {"11", "1"}
    assert await identities.unlink("https://a.example", "1")
    assert not await identities.unlink("https://a.example", "1")
    assert await identities.of("https://a.example", "1") is None
