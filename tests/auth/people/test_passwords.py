"""What may be a password, and how one is kept."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import respx
from argon2 import extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.people import one_time, passwords
from auth.people.passwords import Passwords, common, faults
from standards.outcome import Refused

ABOUT = ("ann.example", "Ann", "Example", "Bolton NHS Foundation Trust")


@pytest.mark.parametrize(
    "password",
    ["purple kettle ninety moss", "correct horse battery staple", "Tr0ub4dor&3 und mehr", "пароль из четырёх слов",
     "x9$kQ2!mLp0z", "a" * 3 + "bq7 wandering moss" * 10, "midwife-R0A-hill-fog"],
)  # fmt: skip
def test_a_good_password_is_taken_whatever_its_characters(password: str) -> None:
    assert faults(password, ABOUT) == []


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("elevenchars", "at least 12"), ("x" * 257, "at most 256"),
        ("password1234", "common"), ("Passw0rd2024!!", "common"), ("liverpool2024!", "common"),
        ("passwordpassword", "common"), ("!!!!iloveyou!!!!", "common"),
        ("aaaaaaaaaaaa", "pattern"), ("abcabcabcabc", "pattern"), ("abcdefghijklmnop", "pattern"),
        ("987654321098", "pattern"), ("qwertyuiopasdfghjkl", "pattern"),
        ("ann.example.2024", "names"), ("BoltonBoltonNHS!", "names"), ("ExampleAnn-1234", "names"),
    ],
)  # fmt: skip
def test_a_password_that_others_would_try_is_not(password: str, words: str) -> None:
    assert words in " ".join(faults(password, ABOUT))


def test_sixty_four_characters_and_more_are_allowed() -> None:
    assert faults("moss and kettle, " * 4 + "and a drum in the rain", ABOUT) == []


@settings(deadline=None)  # the list of common passwords is read at the first of them
@given(st.text(min_size=0, max_size=300))
def test_any_text_is_judged_without_a_fault_of_ours(text: str) -> None:
    assert all(words.endswith(".") for words in faults(text, ABOUT))


def test_the_list_of_common_passwords_is_there_and_large() -> None:
    assert len(common()) > 40_000
    assert {"password", "qwerty", "123456789012"} & common()


async def test_a_hash_is_argon2id_with_the_cost_of_rfc_9106() -> None:
    async with httpx.AsyncClient() as http:
        made = Passwords(http)
        try:
            kept = await made.hash("purple kettle ninety moss")
            cost = extract_parameters(kept)
            assert kept.startswith("$argon2id$")
            assert (cost.time_cost, cost.memory_cost, cost.parallelism, cost.salt_len) == (
                3,
                65536,
                4,
                16,
            )
        finally:
            made.close()


async def test_an_older_cost_is_told_so_that_the_hash_is_replaced() -> None:
    async with httpx.AsyncClient() as http:
        old, new = Passwords(http, memory=19), Passwords(http, memory=20)
        try:
            kept = await old.hash("purple kettle ninety moss")
            assert await old.check(kept, "purple kettle ninety moss") == passwords.Checked(
                right=True
            )
            assert (await new.check(kept, "purple kettle ninety moss")).rehash
            assert not (await new.check(kept, "another")).right
            assert await new.check(None, "anything") == passwords.Checked(right=False)
        finally:
            old.close()
            new.close()


async def test_the_same_characters_from_another_keyboard_are_the_same_password() -> None:
    async with httpx.AsyncClient() as http:
        made = Passwords(http, memory=19)
        try:
            kept = await made.hash("caf\u00e9 au lait du matin")
            assert (await made.check(kept, "cafe\u0301 au lait du matin")).right
        finally:
            made.close()


async def test_more_than_can_wait_are_sent_away_and_the_loop_goes_on() -> None:
    async with httpx.AsyncClient() as http:
        made = Passwords(http, memory=19)
        try:
            many = [asyncio.create_task(made.hash(f"number {n}")) for n in range(70)]
            await asyncio.sleep(0)
            with pytest.raises(Refused):
                await made.hash("one too many")
            done = await asyncio.gather(*many, return_exceptions=True)
            assert sum(isinstance(d, Refused) for d in done) == 70 - 64
        finally:
            made.close()


@respx.mock
async def test_a_breach_service_is_told_five_digits_of_a_digest() -> None:
    # SHA-1 of "purple kettle ninety moss", computed outside.
    import hashlib

    digest = hashlib.sha1(b"purple kettle ninety moss").hexdigest().upper()
    route = respx.get(f"https://breaches.example/range/{digest[:5]}").respond(
        text=f"{'0' * 35}:4\r\n{digest[5:]}:12\r\n"
    )
    async with httpx.AsyncClient() as http:
        made = Passwords(http, memory=19, range_url="https://breaches.example/range/")
        assert await made.breached("purple kettle ninety moss")
        (call,) = route.calls
        assert digest[5:] not in str(call.request.url)
        assert call.request.headers["add-padding"] == "true"
        route.respond(text=f"{digest[5:]}:0\r\n")
        assert not await made.breached("purple kettle ninety moss")  # padding
        route.respond(500)
        assert not await made.breached("purple kettle ninety moss")
        route.mock(side_effect=httpx.ConnectTimeout("no"))
        assert not await made.breached("purple kettle ninety moss")
        made.close()


def test_one_time_passwords_and_recovery_codes_are_random_and_readable() -> None:
    made = {passwords.new_one_time() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(m) == 19 and not set("0o1il") & set(m) for m in made)
    codes = one_time.new_recovery_codes()
    assert len(set(codes)) == 10
    assert one_time.recovery_digest(codes[0]) == one_time.recovery_digest(
        codes[0].lower().replace("-", " ")
    )


@given(st.text(max_size=12))
def test_only_six_ascii_digits_are_a_code(text: str) -> None:
    found = one_time.step_of(b"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", text, 1_800_000_000)
    if found is not None:
        assert "".join(text.split()).isascii()
        assert len("".join(text.split())) == 6
