"""Where a request comes from is believed of trusted proxies only."""

from __future__ import annotations

import pytest

from chassis.address import client_address, networks

TRUSTED = networks("10.0.0.0/8, 192.0.2.7, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["1.2.3.4"], "203.0.113.5"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["9.9.9.9, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        ("10.0.0.1", ["9.9.9.9", "1.2.3.4, 192.0.2.7"], "1.2.3.4"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", ["1.2.3.4, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("", ["1.2.3.4"], ""),
    ],
)
def test_the_address_is_the_last_one_that_no_trusted_proxy_has(
    peer: str, forwarded: list[str], found: str
) -> None:
    assert client_address(peer, forwarded, TRUSTED) == found


def test_nobody_is_trusted_unless_it_is_said() -> None:
    assert client_address("127.0.0.1", ["1.2.3.4"], networks("")) == "127.0.0.1"
    with pytest.raises(ValueError, match="proxy"):
        networks("proxy.example")
