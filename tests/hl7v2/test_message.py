"""Reading and writing messages: values, escapes, and whatever bytes may come. No database."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load
from affinity.partners import Partners
from pix.hl7v2.acknowledge import Envelope, acknowledgement, verdict
from pix.hl7v2.admission import Peer, admitted
from pix.hl7v2.authorities import Place, assigned, authority, numbers
from pix.hl7v2.demographics import Told, revised, told
from pix.hl7v2.message import Message, escaped, read, restated, unescaped
from pix.hl7v2.stating import pid as stated_pid
from pix.identifiers import Domains
from standards import hl7v2
from standards.r4.check import check_structure
from tests.hl7v2.makers import MFT, NHS, a_merge, a_person, q22, q23

DOMAINS = Domains(load("greater_manchester"), "http://exchange.test/fhir")
ENVELOPE = Envelope("T", "E", datetime(2026, 11, 25, tzinfo=UTC), "1")
WHOLE = a_person(
    f"7^^^{MFT}~9990000069^^^{NHS}",
    maiden="Kaya",
    flags="NSTS01",
    name="Ash^Zoë^May^III^Ms^MD^L~Bo^^^^^^N",
)


def parsed(text: str | bytes) -> Message:
    message, faults = read(text if isinstance(text, bytes) else text.encode())
    assert message is not None
    assert not faults
    return message


def mutations(count: int) -> Iterator[bytes]:
    """Real messages with bytes changed, dropped, doubled and swapped, and some that are only noise."""
    chance = random.Random(20261125)
    whole = [
        WHOLE, a_merge(f"1^^^{MFT}", f"2^^^{MFT}"), q23(f"1^^^{MFT}", ["MRN-RM3"]),
        q22(["@PID.5.1^Bell", "@PID.7^1984"], size="3^RD", sender="PAS|R0A"),
    ]  # fmt: skip
    for n in range(count):
        body = bytearray(chance.choice(whole).replace("|M0", f"|F{n}X").encode())
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(body))
            match chance.randrange(5):
                case 0:
                    body[at] = chance.randrange(256)
                case 1:
                    del body[at : at + chance.randint(1, 30)]
                case 2:
                    body[at:at] = body[at : at + chance.randint(1, 40)]
                case 3:
                    body[at:at] = chance.choice(
                        [
                            b"|",
                            b"^",
                            b"~",
                            b"\\",
                            b"&",
                            b"\r",
                            b'""',
                            b"\x00",
                            b"\\X0B\\",
                            "é".encode("latin-1"),
                        ]
                    )
                case _:
                    body = body[:at] or bytearray(b"M")
            body = body or bytearray(b"x")
        yield bytes(body).replace(b"\x1c\r", b"\x1c ")


@pytest.mark.parametrize("body", list(mutations(300)))
def test_a_damaged_message_is_read_or_refused_and_always_answered(body: bytes) -> None:
    walk_through(body)


@given(
    st.binary(max_size=300)
    | st.binary(max_size=200).map(lambda b: b"MSH|^~\\&|" + b)
    | st.text(max_size=200).map(
        lambda t: ("MSH|^~\\&|PAS|R0A|||2026||ADT^A01|1|P|2.5\rPID|" + t).encode(
            "utf-8", "surrogatepass"
        )
    )
)
def test_whatever_bytes_come_reading_judging_and_answering_never_fail(body: bytes) -> None:
    walk_through(body)


def walk_through(body: bytes) -> None:
    message, faults = read(body)
    answer, damage = read(acknowledgement(message, faults, ENVELOPE))
    assert answer is not None
    assert not damage
    assert answer.first("MSA").value(1) == verdict(faults)
    if message is None:
        assert verdict(faults) == "AR"
        return
    admitted(message, Partners(), Peer("1.2.3.4"), "P")
    said, wrong = told(message, DOMAINS, default="https://throughline.example/fhir/Id/nino")
    if not wrong:
        patient = revised(b"", said, DOMAINS)
        check_structure(patient)
        out = stated_pid(patient, DOMAINS, lambda system: True)
        again, odd = read(b"MSH|^~\\&|||||||||||\r" + out.encode())
        assert again is not None
        assert not odd
    for segment in message.segments[1:]:
        restated(segment)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
def test_escaping_and_reading_give_the_text_back(text: str) -> None:
    assert unescaped(escaped(text)) == text
    line = f"MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5||||||UNICODE UTF-8\rPID|||||{escaped(text)}^x"
    assert parsed(line).first("PID").value(5) == text.strip() or text.strip() in ("", '""')


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("a\\T\\b", "a&b"), ("\\F\\\\S\\\\R\\\\E\\\\T\\", "|^~\\&"), ("\\X41\\", "A"), ("\\XC3A9\\", "é"),
        ("\\XC3\\", "\\XC3\\"), ("a\\.br\\b", "a b"), ("\\H\\bold\\N\\", "bold"), ("a\\b", "a\\b"), ("\\Zz\\", "\\Zz\\"),
        ("trailing\\", "trailing\\"), ("\\E\\T\\E\\", "\\T\\"),
    ],
)  # fmt: skip
def test_every_escape_sequence_means_what_hl7_says(sent: str, meant: str) -> None:
    assert unescaped(sent) == meant


def test_a_patient_goes_out_as_it_came_in() -> None:
    said, wrong = told(parsed(WHOLE), DOMAINS)
    assert not wrong
    patient = revised(b"", said, DOMAINS)
    assert not check_structure(patient)
    line = stated_pid(patient, DOMAINS, lambda system: True)
    back, wrong = told(
        parsed("MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5||||||UNICODE UTF-8\r" + line), DOMAINS
    )
    assert not wrong
    known = {k: v for k, v in back.elements.items() if k != "alias"}
    assert {k: v for k, v in said.elements.items() if k in known and k != "name"} == {
        k: v for k, v in known.items() if k != "name"
    }
    assert [n.identifier for n in back.numbers] == [n.identifier for n in said.numbers]


def test_a_revision_keeps_what_another_door_said_and_replaces_numbers_by_domain() -> None:
    from pix.showing import canonical

    before = canonical(
        {
            "resourceType": "Patient", "active": True, "photo": [{"url": "x"}],
            "identifier": [
                {"system": "https://throughline.example/fhir/Id/nino", "value": "AB123456C"},
                {"system": "https://throughline.example/fhir/Id/local-patient-identifier/R0A", "value": "6"},
            ],
            "name": [{"family": "Old"}], "deceasedBoolean": False,
        }
    )  # fmt: skip
    said, _ = told(parsed(WHOLE), DOMAINS)
    made = revised(before, said, DOMAINS)
    assert (made["active"], made["photo"], made["deceasedBoolean"]) == (True, [{"url": "x"}], False)
    assert [i["value"] for i in made["identifier"]] == ["7", "9990000069", "AB123456C"]


def test_a_revision_is_the_same_when_it_is_made_twice() -> None:
    from pix.showing import canonical

    said, _ = told(parsed(WHOLE), DOMAINS)
    once = revised(b"", said, DOMAINS)
    assert revised(canonical(once), said, DOMAINS) == once
    assert isinstance(said, Told)


def test_default_dates_and_addresses_that_are_said_to_be_unknown_are_not_taken() -> None:
    said, wrong = told(parsed(a_person(f"7^^^{MFT}", born="19000101", flags="UD~UA")), DOMAINS)
    assert not wrong
    assert "birthDate" not in said.elements
    assert "address" not in said.elements


@pytest.mark.parametrize(
    "system",
    [d.system for d in DOMAINS.pack.domains if not d.prefix]
    + ["https://throughline.example/fhir/Id/social-care-id/352"],
)
def test_every_domain_is_written_with_all_three_parts_and_read_back(system: str) -> None:
    written = assigned(system, DOMAINS)
    parts = written.split("&")
    assert len(parts) == 3
    assert all(parts[1:])
    line = f"MSH|^~\\&|A|B\rPID|||1^^^{written}"
    assert authority(parsed(line).first("PID").field(3)[0], DOMAINS) == system


def test_an_empty_repetition_is_no_number_and_a_lone_authority_is_half_a_one() -> None:
    pid = parsed(f"MSH|^~\\&|A|B\rPID|||~5^^^{MFT}~^^^{MFT}").first("PID")
    found, faults = numbers(Place(pid, 1, 3), DOMAINS)
    assert [(n.identifier.value, n.repetition) for n in found] == [("5", 2)]
    assert [(str(f.where), f.error.code) for f in faults] == [("PID^1^3^3^1", "101")]


def test_every_message_row_is_whole_and_no_two_are_one() -> None:
    seen = set()
    for row in hl7v2.MESSAGES:
        assert row.see
        assert row.words
        assert row.segments[0] == "MSH"
        assert row.audit.see
        for version in row.versions:
            assert (row.type, row.trigger, version) not in seen
            seen.add((row.type, row.trigger, version))
    assert len({e.code for e in hl7v2.ERRORS}) == len(hl7v2.ERRORS) == 12
    assert not set(hl7v2.NOT_CLAIMED) & {m.trigger for m in hl7v2.MESSAGES}
