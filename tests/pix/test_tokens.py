"""Tokens for endpoints that want one: the operators' file, the authorisation server at the wire, and
what becomes of a message when there is no token. Both other sides are real HTTP servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey

from chassis.client_authentication import UnprovenError, proof_of
from chassis.destinations import allowed
from chassis.mongo import Mongo
from pix import tokens
from pix.endpoints import Sender
from pix.tokens import Credential, CredentialsInvalid, credential_of, given, load, read
from pix.wire import Received, Unsent, trusting
from tests.pix.makers import COUNCIL, Pix, patient, pix_service
from tests.pix.makers_login import CLIENT, Login, a_key, logging_in
from tests.pix.makers_pmir import Consumer, Got, consuming, eventually, subscription

MEDIA = "application/fhir+json"
LISTED = allowed("https://consumer.example https://login.example https://other.example")
ROW = {
    "endpoint": "https://consumer.example/fhir/",
    "token_endpoint": "https://login.example/token",
    "client_id": CLIENT,
    "key": "our.jwk",
}


# -- the file -----------------------------------------------------------------------------------------


def test_a_row_says_where_the_token_of_an_endpoint_comes_from(tmp_path: Path) -> None:
    a_key(tmp_path)
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps([ROW]))
    (one,) = load(str(file), LISTED)
    assert (one.method, one.client_id, one.folder) == ("private_key_jwt", CLIENT, tmp_path)
    assert one.proof().alg == "ES384"
    assert load("", LISTED) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"client_id": ""}, "client_id is missing"),
        ({"clientid": "x"}, "'clientid' is not a member"),
        ({"scope": 7}, "scope must be a string"),
        ({"endpoint": "https://elsewhere.example/"}, "endpoint is no place that --notify-allow"),
        ({"endpoint": "https://consumer.example/a/../b"}, "dots in its path"),
        ({"token_endpoint": "https://elsewhere.example/t"}, "token_endpoint is no place"),
        ({"token_endpoint": "http://login.example/token"}, "token_endpoint is no place"),
        ({"method": "none"}, "method is one of private_key_jwt"),
        ({"key_alg": "none"}, "key_alg is one of"),
        ({"key": ""}, "key names a file exactly"),
        ({"secret": "s"}, "secret names a file exactly"),
        ({"method": "client_secret_post"}, "secret names a file exactly"),
    ],
)
def test_everything_that_is_wrong_with_a_row_is_said(change: dict[str, Any], words: str) -> None:
    _, faults = read(json.dumps([{**ROW, **change}]), LISTED)
    assert any(words in fault for fault in faults), faults


def test_rows_are_all_told_of_at_once(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps([ROW, ROW, {"endpoint": "https://other.example/"}]))
    with pytest.raises(CredentialsInvalid) as fault:
        load(str(file), LISTED)
    assert "named twice" in str(fault.value)
    assert "https://other.example/: token_endpoint is missing" in str(fault.value)


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_a_file_that_is_no_list_of_rows_says_so(text: str) -> None:
    assert read(text, LISTED)[1]


@pytest.mark.parametrize(
    ("name", "held", "words"),
    [
        ("our.jwk", None, "cannot be read"),
        ("our.jwk", "{}", "neither a private JWK nor"),
        ("our.jwk", "", "neither a private JWK nor"),
        ("our.secret", "  \n", "is empty"),
    ],
)
def test_a_file_that_proves_nothing_is_told_at_the_start(
    tmp_path: Path, name: str, held: str | None, words: str
) -> None:
    if held is not None:
        (tmp_path / name).write_text(held)
    row = {**ROW, "key": name}
    if name == "our.secret":
        row = {**ROW, "key": "", "secret": name, "method": "client_secret_basic"}
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(CredentialsInvalid, match=words):
        load(str(file), LISTED)
    with pytest.raises(CredentialsInvalid, match="cannot be read"):
        load(str(tmp_path / "nowhere.json"), LISTED)


def test_a_public_key_and_a_key_of_another_kind_prove_nothing(tmp_path: Path) -> None:
    public = a_key(tmp_path)
    (tmp_path / "public.jwk").write_text(json.dumps(public.as_dict(private=False)))
    with pytest.raises(UnprovenError, match="no private EC key"):
        proof_of(tmp_path / "public.jwk", "private_key_jwt")
    for alg in ("RS384", "ES256"):
        with pytest.raises(UnprovenError, match=f"which {alg} needs"):
            proof_of(tmp_path / "our.jwk", "private_key_jwt", alg=alg)


def test_a_key_that_cannot_sign_or_is_too_short_is_told_at_the_start(tmp_path: Path) -> None:
    a_key(tmp_path)
    ours = json.loads((tmp_path / "our.jwk").read_text())
    (tmp_path / "enc.jwk").write_text(json.dumps({**ours, "use": "enc"}))
    with pytest.raises(UnprovenError, match="may not sign"):
        proof_of(tmp_path / "enc.jwk", "private_key_jwt")
    pem = rsa.generate_private_key(65537, 1024).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "short.pem").write_bytes(pem)
    told = pytest.raises(UnprovenError, match="shorter than 2048 bits")
    with pytest.warns(SecurityWarning), told:
        proof_of(tmp_path / "short.pem", "private_key_jwt")


def test_a_key_may_be_pem_and_never_shows_itself(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "our.pem").write_bytes(pem)
    proof = proof_of(tmp_path / "our.pem", "private_key_jwt", kid="k1")
    assert (proof.kid, proof.alg) == ("k1", "ES256")
    (tmp_path / "s").write_text("hush\n")
    secret = proof_of(tmp_path / "s", "client_secret_basic")
    assert secret.secret == "hush"
    assert "hush" not in repr(secret)
    assert "key" not in repr(proof)


# -- which endpoint ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "url", "covered"),
    [
        ("https://c.example", "https://c.example/fhir/$process-message", True),
        ("https://c.example/fhir", "https://C.example:443/fhir", True),
        ("https://c.example/fhir", "https://c.example/fhir/in?x=1", True),
        ("https://c.example/fhir/", "https://c.example/fhir/in", True),
        ("https://c.example/fhir", "https://c.example/fhirs", False),
        ("https://c.example/fhir/", "https://c.example/other", False),
        ("https://c.example/fhir/", "https://c.example/fhir/../other", False),
        ("https://c.example/fhir/", "https://c.example/fhir/%2e%2e/other", False),
        ("https://c.example/fhir/", "http://c.example/fhir/", False),
        ("https://c.example/fhir/", "https://c.example:8443/fhir/", False),
        ("https://c.example/fhir/", "https://evil.example/fhir/", False),
    ],
)
def test_a_token_is_shown_at_or_below_its_endpoint_only(
    row: str, url: str, *, covered: bool
) -> None:
    assert Credential(row, "https://l.example/token", CLIENT).covers(url) is covered


def test_the_nearest_row_counts() -> None:
    wide = Credential("https://c.example/", "https://l.example/token", "wide")
    near = Credential("https://c.example/fhir/", "https://l.example/token", "near")
    for rows in ((wide, near), (near, wide)):
        assert credential_of(rows, "https://c.example/fhir/in") is near
        assert credential_of(rows, "https://c.example/in") is wide
        assert credential_of(rows, "https://d.example/in") is None


# -- what the authorisation server says ---------------------------------------------------------------


def answered(status: int, said: Any, after: int = 0) -> Received:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return Received(status, "application/json", body, after)


@pytest.mark.parametrize(
    ("lives", "shown"),
    [(300, 270), ("300", 270), (40, 20), (0, 0), (-5, 0), (None, 30), ("soon", 30), (True, 30),
     (10**9, 86_370)],
)  # fmt: skip
def test_a_token_is_shown_until_shortly_before_its_end(lives: Any, shown: float) -> None:
    made = {"access_token": "t", "token_type": "bearer"}
    kept = given(answered(200, made | ({} if lives is None else {"expires_in": lives})), 1000.0)
    assert kept.until == 1000.0 + shown


@pytest.mark.parametrize(
    ("received", "words"),
    [
        (answered(400, {"error": "invalid_scope"}), r"answered 400 \(invalid_scope\)"),
        (answered(401, {"error": "<script>"}), r"answered 401\.$"),
        (answered(503, b"away", 9), "answered 503"),
        (answered(302, b""), "answered 302"),
        (answered(200, b"<html>"), "no bearer token"),
        (answered(200, [1]), "no bearer token"),
        (answered(200, {"access_token": "t", "token_type": "mac"}), "no bearer token"),
        (answered(200, {"access_token": "a\r\nb", "token_type": "Bearer"}), "cannot be shown"),
        (answered(200, {"access_token": "", "token_type": "Bearer"}), "cannot be shown"),
        (answered(200, {"access_token": 7, "token_type": "Bearer"}), "cannot be shown"),
    ],
)
def test_an_answer_without_a_token_says_why(received: Received, words: str) -> None:
    with pytest.raises(Unsent, match=words) as why:
        given(received, 0.0)
    assert why.value.after == received.after


# -- over the wire -----------------------------------------------------------------------------------


@dataclass
class Ends:
    """An endpoint that wants a token, its authorisation server, and a sender that knows of both."""

    there: Consumer
    login: Login
    folder: Path
    refused: set[str]

    def sender(self, deadline: float = 2.0, **row: str) -> Sender:
        """A sender with one row."""
        listed = allowed(f"{self.there.origin} {self.login.origin}")
        said = {
            "endpoint": self.there.origin,
            "token_endpoint": self.login.token_endpoint,
            "client_id": CLIENT,
            "scope": "system/*.c",
            "key": "our.jwk",
        }
        one = Credential(**(said | row), folder=self.folder)
        return Sender(listed, trusting(), credentials=[one], deadline=deadline)

    async def send(self, sender: Sender) -> int:
        """The status that one message is answered with."""
        return (await sender.send(f"{self.there.origin}/in", b"{}", MEDIA)).status

    @property
    def shown(self) -> list[str]:
        """What the endpoint was shown, in order."""
        return [got.headers.get("authorization", "") for got in self.there.got]


@pytest_asyncio.fixture
async def ends(tmp_path: Path) -> AsyncIterator[Ends]:
    key = a_key(tmp_path)
    async with logging_in(key=key) as login, consuming() as there:
        made = Ends(there, login, tmp_path, set())

        def door(got: Got) -> int:
            token = got.headers.get("authorization", "").removeprefix("Bearer ")
            return 200 if token in login.given and token not in made.refused else 401

        there.behave = door
        yield made


async def test_a_message_carries_a_token_that_our_key_was_given(ends: Ends) -> None:
    assert await ends.send(ends.sender()) == 200
    assert ends.shown == ["Bearer token-1"]
    (asked,) = ends.login.asked
    assert asked["grant_type"] == "client_credentials"
    assert asked["scope"] == "system/*.c"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_secret_proves_us_where_the_server_takes_no_key(ends: Ends, method: str) -> None:
    (ends.folder / "our.secret").write_text("h:u/s h\n")
    ends.login.key, ends.login.secret = None, "h:u/s h"
    sender = ends.sender(method=method, key="", secret="our.secret")
    assert await ends.send(sender) == 200
    assert ends.shown == ["Bearer token-1"]


async def test_an_endpoint_that_no_row_names_is_shown_no_token(ends: Ends) -> None:
    assert await ends.send(ends.sender(endpoint=f"{ends.there.origin}/elsewhere/")) == 401
    assert ends.shown == [""]
    assert ends.login.asked == []


async def test_a_token_is_kept_and_eight_who_send_at_once_ask_for_one(ends: Ends) -> None:
    sender = ends.sender()
    assert await asyncio.gather(*(ends.send(sender) for _ in range(8))) == [200] * 8
    assert await ends.send(sender) == 200
    assert ends.login.given == ["token-1"]


async def test_a_token_that_is_about_to_end_is_not_shown(ends: Ends) -> None:
    ends.login.lives = 0.2
    sender = ends.sender()
    await ends.send(sender)
    await asyncio.sleep(0.15)
    await ends.send(sender)
    assert ends.shown == ["Bearer token-1", "Bearer token-2"]


async def test_a_401_is_answered_with_one_new_token(ends: Ends) -> None:
    sender = ends.sender()
    await ends.send(sender)
    ends.refused.add("token-1")
    assert await ends.send(sender) == 200
    assert ends.shown == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_an_endpoint_that_takes_no_token_is_asked_twice_and_no_more(ends: Ends) -> None:
    ends.there.behave = lambda _: 401
    assert await ends.send(ends.sender()) == 401
    assert ends.shown == ["Bearer token-1", "Bearer token-2"]


async def test_those_who_are_refused_together_ask_for_one_new_token(ends: Ends) -> None:
    sender = ends.sender()
    await ends.send(sender)
    ends.refused.add("token-1")
    assert await asyncio.gather(*(ends.send(sender) for _ in range(6))) == [200] * 6
    assert ends.login.given == ["token-1", "token-2"]


async def test_a_key_that_was_renewed_is_used_without_a_restart(ends: Ends) -> None:
    sender = ends.sender()
    await ends.send(sender)
    ends.login.key = a_key(ends.folder)
    ends.refused.add("token-1")
    assert await ends.send(sender) == 200


Behaves = tuple[Callable[[], Any], str, int]


@pytest.mark.parametrize(
    "behaves",
    [
        (lambda: (400, "", {"error": "invalid_scope"}), r"answered 400 \(invalid_scope\)", 0),
        (lambda: (503, "Retry-After: 9\r\n", {}), "answered 503", 9),
        (lambda: (307, "Location: http://127.0.0.1:1/\r\n", {}), "answered 307", 0),
        (lambda: (200, "", b" " * 70_000), "no bearer token", 0),
        (lambda: "slow", "server of the endpoint did not answer within 0.5", 0),
    ],
)
async def test_without_a_token_nothing_is_sent_and_the_words_say_why(
    ends: Ends, behaves: Behaves
) -> None:
    behave, words, after = behaves
    ends.login.behave = behave
    with pytest.raises(Unsent, match=words) as why:
        await ends.send(ends.sender(deadline=0.5))
    assert why.value.after == after
    assert ends.there.got == []


async def test_a_strangers_key_is_given_no_token(ends: Ends) -> None:
    ends.login.behave = lambda: None
    stranger = ECKey.generate_key("P-384")
    (ends.folder / "our.jwk").write_text(json.dumps(stranger.as_dict(private=True)))
    with pytest.raises(Unsent, match="authorisation server of the endpoint"):
        await ends.send(ends.sender())
    assert ends.there.got == []


async def test_a_key_that_has_gone_is_told_and_not_what_it_is_called(ends: Ends) -> None:
    (ends.folder / "our.jwk").unlink()
    with pytest.raises(Unsent, match="credentials for the endpoint cannot be read") as why:
        await ends.send(ends.sender())
    assert "our.jwk" not in str(why.value)


async def test_a_token_endpoint_is_bound_to_the_list_and_to_public_addresses(ends: Ends) -> None:
    one = ends.sender().credentials[0]
    unlisted = Sender(allowed(ends.there.origin), trusting(), credentials=[one])
    with pytest.raises(Unsent, match="is not among the places allowed"):
        await ends.send(unlisted)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    named = f"http://login.example:{ends.login.port}"
    row = Credential(ends.there.origin, f"{named}/token", CLIENT, key="our.jwk", folder=ends.folder)
    private = allowed(
        f"http://127.0.0.2:1 {ends.there.origin.replace('127.0.0.1', 'c.example')} {named}"
    )
    tricked = Sender(private, trusting(), credentials=[row], resolve=resolve)
    until = tricked.wire.until()
    with pytest.raises(Unsent, match="leads to an address that is not allowed"):
        await tricked.tokens.get(row, until)
    assert ends.login.asked == []
    assert ends.there.got == []


# -- the service -------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def pix(mongo: Mongo, ends: Ends) -> AsyncIterator[Pix]:
    """A service that sends by itself."""
    for name in ("subscriptions", "notices", "leases"):
        await mongo.table("pix", name).delete({}, many=True)
    row = {
        "endpoint": ends.there.origin, "token_endpoint": ends.login.token_endpoint,
        "client_id": CLIENT, "key": "our.jwk",
    }  # fmt: skip
    file = ends.folder / "credentials.json"
    file.write_text(json.dumps([row]))
    listed = f"{ends.there.origin} {ends.login.origin}"
    async with pix_service(
        mongo, notify_allow=listed, notify_credentials=str(file), notify_at_once=2
    ) as made:
        yield made


async def test_a_subscriber_behind_a_login_is_told_once_its_server_gives_a_token(
    pix: Pix, ends: Ends, mongo: Mongo
) -> None:
    ends.login.behave = lambda: (400, "", {"error": "unauthorized_client"})
    body = subscription(f"{ends.there.origin}/in")
    id_ = (await pix.http.post("/Subscription", json=body)).json()["id"]
    await eventually(lambda: len(ends.login.asked) > 1)
    said = (await pix.http.get(f"/Subscription/{id_}")).json()
    assert said["status"] == "requested"
    assert ends.there.got == []
    ends.login.behave = lambda: None

    async def active() -> bool:
        return bool((await pix.http.get(f"/Subscription/{id_}")).json()["status"] == "active")

    await eventually(active, 20)
    await pix.feed(patient(COUNCIL, "3290001"))
    await eventually(lambda: [m for m, _ in ends.there.told] == ["POST"])
    assert set(ends.shown) == {"Bearer token-1"}
    assert any(tokens.SERVER in str(event) for event in pix.audited)
    stored = [str(row) for row in await mongo.table("pix", "subscriptions").many({})]
    assert not any("token-1" in row for row in stored)
