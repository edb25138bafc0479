"""The settings of outgoing messages: what is wrong with them is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.exits import Exit, Trouble
from exchange.options import settings_of


def test_a_list_of_endpoints_is_taken_as_it_is(tmp_path: Path) -> None:
    pem = tmp_path / "trust.pem"
    pem.write_text("")
    made = settings_of(
        {
            "notify_allow": "https://a.example https://*.b.example 10.0.0.0/8",
            "notify_trust": str(pem),
        }
    )
    assert made.notify_allow.startswith("https://a.example")


def test_by_default_no_endpoint_is_allowed() -> None:
    assert settings_of({}).notify_allow == ""


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"notify_allow": "a.example"}, "--notify-allow is not understood: a.example"),
        ({"notify_allow": "https://a.example/path"}, "no origin"),
        ({"notify_certificate": "nowhere.pem"}, "--notify-certificate names no file"),
        ({"notify_at_once": -1}, "--notify-at-once cannot be negative"),
        ({"notify_patience": 0}, "--notify-patience must be at least 1"),
    ],
)
def test_a_setting_that_cannot_be_is_named(flags: dict[str, object], words: str) -> None:
    with pytest.raises(Trouble) as trouble:
        settings_of(dict(flags))
    assert words in str(trouble.value)
    assert trouble.value.code is Exit.USAGE


def test_what_is_wrong_with_the_credentials_of_endpoints_is_said_at_the_start(
    tmp_path: Path,
) -> None:
    file = tmp_path / "credentials.json"
    file.write_text('[{"endpoint": "https://b.example/", "client_id": "x"}, {"scope": 7}]')
    with pytest.raises(Trouble) as trouble:
        settings_of({"notify_allow": "https://a.example", "notify_credentials": str(file)})
    words = str(trouble.value)
    assert words.startswith("--notify-credentials")
    assert "https://b.example/: token_endpoint is missing." in words
    assert "row 2: scope must be a string." in words
