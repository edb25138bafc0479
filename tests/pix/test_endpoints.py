"""Where messages may be sent: the list, addresses, names that change, and real connections."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from chassis.destinations import Allowed, allowed
from pix.endpoints import Sender
from pix.wire import Unsent, trusting
from tests.pix.makers_pmir import consuming

MEDIA = "application/fhir+json"
LISTED = allowed(
    "https://a.example, https://b.example:8443 https://*.nhs.example http://127.0.0.1:9"
)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "https://a.example:443/fhir/$process-message?x=1",
        "https://A.EXAMPLE./x",
        "https://b.example:8443/",
        "https://trust.nhs.example/in",
        "https://deep.trust.nhs.example",
        "http://127.0.0.1:9/x",
    ],
)
def test_listed_endpoints_are_allowed(url: str) -> None:
    assert LISTED.fault(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "https://a.example:8443",
        "https://a.example.evil.example",
        "https://evil.example/a.example",
        "https://a.example@evil.example/",
        "https://a.example#@evil.example",
        "https://a.example\\@evil.example",
        "https://nhs.example",
        "https://evilnhs.example",
        "https://x.nhs.example:8443",
        "http://x.nhs.example",
        "https://127.0.0.1:9",
        "http://127.0.0.1:10",
        "http://127.1:9",
        "https://a.example:99999",
        "ftp://a.example",
        "file:///etc/passwd",
        "urn:uuid:1",
        "https://",
        "",
        "https://a.example /",
    ],
)
def test_everything_else_is_not(url: str) -> None:
    assert LISTED.fault(url)


def test_a_refusal_names_the_setting_and_nothing_that_it_lists() -> None:
    fault = LISTED.fault("https://elsewhere.example:8443/fhir/$process-message?secret=1")
    assert "put https://elsewhere.example:8443 into --notify-allow" in fault
    assert "secret" not in fault
    for listed in ("a.example", "b.example", "nhs.example", "127.0.0.1"):
        assert listed not in fault
    # what is put there is taken
    assert allowed("https://elsewhere.example:8443").fault("https://elsewhere.example:8443/x") == ""


def test_nothing_is_allowed_unless_something_is_listed() -> None:
    assert "no endpoint" in Allowed().fault("https://a.example")
    assert "--notify-allow" in Allowed().fault("https://a.example")
    assert allowed("") == Allowed()


@pytest.mark.parametrize(
    "item", ["a.example", "https://a.example/path", "https://*.example", "http://*.b.example", "10.0.0.1/8", "x://y"],
)  # fmt: skip
def test_an_item_that_is_not_understood_is_named(item: str) -> None:
    with pytest.raises(ValueError, match=item.replace("*", r"\*").split("/")[0]):
        allowed(f"https://fine.example {item}")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1", "::",
        "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "224.0.0.1", "ff02::1", "100.64.0.1", "fe80::1%eth0", "2001:0:7f00:1::",
    ],
)  # fmt: skip
def test_a_listed_name_may_not_lead_to_an_address_that_is_not_public(address: str) -> None:
    assert not LISTED.address("a.example", address)


def test_private_addresses_are_reached_only_where_they_are_listed() -> None:
    inside = allowed("https://a.example 10.20.0.0/16 http://[::1]:80 http://localhost:9")
    assert inside.address("a.example", "10.20.3.4")
    assert inside.address("a.example", "::ffff:10.20.3.4")
    assert not inside.address("a.example", "10.21.3.4")
    assert LISTED.address("127.0.0.1", "127.0.0.1")
    assert not LISTED.address("a.example", "127.0.0.1")
    assert inside.address("::1", "::1")
    assert inside.address("localhost", "127.0.0.1")
    assert not inside.address("a.example", "127.0.0.1")
    assert LISTED.address("a.example", "93.184.216.34")


@given(st.text(max_size=60))
def test_no_url_whatever_breaks_the_check(text: str) -> None:
    for url in (text, "https://" + text, "https://a.example" + text):
        fault = LISTED.fault(url)
        assert isinstance(fault, str)


@given(st.ip_addresses())
def test_what_is_not_public_is_never_reached_by_a_listed_name(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global:
        assert not LISTED.address("a.example", str(address))


# -- real connections ---------------------------------------------------------------------------------


def sender(listed: str, *addresses: str, deadline: float = 2.0) -> Sender:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    context = trusting()
    if addresses:
        return Sender(allowed(listed), context, deadline=deadline, resolve=resolve)
    return Sender(allowed(listed), context, deadline=deadline)


async def test_a_body_is_posted_and_the_answer_handed_back() -> None:
    async with consuming(lambda _: (202, "Retry-After: 7\r\n")) as there:
        url = f"{there.origin}/in/$process-message?a=b"
        received = await sender(there.origin).send(url, b'{"entry": []}', MEDIA)
    assert (received.status, received.after) == (202, 7)
    (got,) = there.got
    assert got.path == "/in/$process-message?a=b"
    assert got.body == b'{"entry": []}'
    assert got.headers["content-type"] == MEDIA
    assert got.headers["host"] == f"127.0.0.1:{there.port}"


async def test_a_name_goes_to_the_address_that_was_checked_and_keeps_its_name() -> None:
    async with consuming() as there:
        listed = f"http://consumer.example:{there.port} 127.0.0.0/8"
        url = f"http://consumer.example:{there.port}/x"
        await sender(listed, "127.0.0.1").send(url, b"{}", MEDIA)
    assert [g.headers["host"] for g in there.got] == [f"consumer.example:{there.port}"]


async def test_a_name_of_which_one_address_is_private_is_not_called() -> None:
    async with consuming() as there:
        listed = f"http://consumer.example:{there.port}"
        with pytest.raises(Unsent, match="address that is not allowed"):
            await sender(listed, "93.184.216.34", "127.0.0.1").send(listed, b"{}", MEDIA)
    assert there.got == []


async def test_a_name_that_changes_between_look_ups_is_looked_up_once() -> None:
    answers = iter((["127.0.0.2"], ["127.0.0.1"]))

    async def resolve(host: str, port: int) -> Sequence[str]:
        return next(answers)

    async with consuming() as there:
        listed = f"http://consumer.example:{there.port}"
        tricked = Sender(allowed(f"{listed} 127.0.0.2/32"), trusting(), deadline=2, resolve=resolve)
        with pytest.raises(Unsent):  # nobody listens at the address that was checked
            await tricked.send(listed, b"{}", MEDIA)
    assert there.got == []


async def test_a_name_that_does_not_resolve_says_so() -> None:
    with pytest.raises(Unsent, match="does not resolve"):
        await sender("https://nowhere.invalid").send("https://nowhere.invalid", b"{}", MEDIA)


@pytest.mark.parametrize(
    ("behave", "words"),
    [("close", "broke"), ("garbage", "broke"), ("slow", "did not answer within")],
)
async def test_endpoints_that_misbehave_are_told_apart(behave: str, words: str) -> None:
    async with consuming(lambda _: behave) as there:
        with pytest.raises(Unsent, match=words):
            await sender(there.origin, deadline=0.5).send(there.origin, b"{}", MEDIA)


async def test_nobody_at_home() -> None:
    with pytest.raises(Unsent, match="cannot be reached"):
        await sender("http://127.0.0.1:1").send("http://127.0.0.1:1/", b"{}", MEDIA)


async def test_a_redirect_is_handed_back_and_not_followed() -> None:
    async with consuming() as elsewhere:
        location = f"Location: {elsewhere.origin}/\r\n"
        async with consuming(lambda _: (307, location)) as there:
            listed = f"{there.origin} {elsewhere.origin}"
            received = await sender(listed).send(there.origin, b"{}", MEDIA)
    assert received.status == 307
    assert elsewhere.got == []


# -- TLS ----------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str, *, address: str = "") -> Path:
    """A self-signed certificate with its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if address:
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


async def test_tls_checks_the_name_and_shows_our_certificate(tmp_path: Path) -> None:
    theirs, ours = (
        certificate(tmp_path, "consumer.example"),
        certificate(tmp_path, "exchange.example"),
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(theirs)
    server.load_verify_locations(ours)
    server.verify_mode = ssl.CERT_REQUIRED

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with consuming(tls=server) as there:
        right = f"https://consumer.example:{there.port}"
        other = f"https://other.example:{there.port}"
        listed = allowed(f"{right} {other} 127.0.0.0/8")

        async def sent(url: str, trust: Path | None, mine: Path | None) -> int:
            made = Sender(listed, trusting(trust, mine), deadline=5, resolve=resolve)
            return (await made.send(url, b"{}", MEDIA)).status

        assert await sent(right, theirs, ours) == 200
        for url, trust, mine in ((other, theirs, ours), (right, None, ours), (right, theirs, None)):
            with pytest.raises(Unsent):
                await sent(url, trust, mine)
        assert len(there.got) == 1
