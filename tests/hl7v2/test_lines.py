"""MLLP over real sockets: portions, pipelines, garbage, TLS, order, and the end of a line."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.mongo import Mongo
from pix.hl7v2.framing import END, START, Framing, NotFramed, TooLong, framed
from pix.hl7v2.speaking import Unanswered, speaking
from tests.hl7v2.makers import MFT, NCA, SYSTEM, Hl7, a_person, answered, hl7v2_service, q23, unique


async def raw_line(hl7: Hl7) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", hl7.port)


async def heard(reader: asyncio.StreamReader) -> bytes:
    said = await asyncio.wait_for(reader.readuntil(END), 20)
    assert said[:1] == START
    return said[1:-2]


async def test_a_message_may_come_in_any_portions(hl7: Hl7) -> None:
    reader, writer = await raw_line(hl7)
    for byte in framed(a_person(f"{unique('L')}^^^{MFT}").encode()):
        writer.write(bytes([byte]))
        await writer.drain()
    assert answered(await heard(reader)).ack == "AA"
    writer.close()


async def test_several_messages_in_one_portion_are_answered_in_their_order(hl7: Hl7) -> None:
    ids = [unique("C") for _ in range(5)]
    number = unique("L")
    reader, writer = await raw_line(hl7)
    said = [a_person(f"{number}^^^{MFT}", "A08", id_=i, name=f"N{n}^X") for n, i in enumerate(ids)]
    writer.write(b"\r\n".join(framed(s.encode()) for s in said))
    answers = [answered(await heard(reader)) for _ in ids]
    assert [a.message.first("MSA").value(2) for a in answers] == ids
    assert (await hl7.patient(SYSTEM, number))["name"][0]["family"] == "N4"
    writer.close()


async def test_segments_may_end_in_line_feeds(hl7: Hl7) -> None:
    for end in ("\n", "\r\n"):
        number = unique("L")
        assert (await hl7.say(a_person(f"{number}^^^{MFT}").replace("\r", end) + end)).ack == "AA"
        await hl7.patient(SYSTEM, number)


async def test_bytes_outside_a_frame_end_the_line_and_nothing_else(hl7: Hl7) -> None:
    reader, writer = await raw_line(hl7)
    writer.write(framed(a_person(f"{unique('L')}^^^{MFT}").encode()) + b"GET / HTTP/1.1\r\n\r\n")
    assert answered(await heard(reader)).ack == "AA"
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()
    assert (await hl7.say(a_person(f"{unique('L')}^^^{MFT}"))).ack == "AA"


async def test_a_peer_that_goes_away_in_the_middle_leaves_nothing_behind(hl7: Hl7) -> None:
    number = unique("L")
    _, writer = await raw_line(hl7)
    writer.write(framed(a_person(f"{number}^^^{MFT}").encode())[:-2])
    await writer.drain()
    writer.transport.abort()
    await asyncio.sleep(0.2)
    answer = await hl7.say(q23(f"{number}^^^{MFT}"))
    assert answer.errors == [("QPD^1^3^1^1", "204")]


async def test_a_peer_that_does_not_wait_for_its_answer_gets_it_by_sending_again(hl7: Hl7) -> None:
    number = unique("L")
    message = a_person(f"{number}^^^{MFT}")
    _, writer = await raw_line(hl7)
    writer.write(framed(message.encode()))
    await writer.drain()
    writer.transport.abort()
    assert (await hl7.say(message)).ack == "AA"
    assert (await hl7.patient(SYSTEM, number))["meta"]["versionId"] == "1"


async def test_a_line_stays_open_for_many_messages(hl7: Hl7) -> None:
    async with speaking("127.0.0.1", hl7.port) as line:
        for _ in range(20):
            assert answered(await line.say(a_person(f"{unique('L')}^^^{MFT}").encode())).ack == "AA"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r",
        b"MSH",
        b"MSH|^~\\&",
        b"PID|||1",
        b"\x00\xff\xfe",
        b"MSH|||||",
        b"MSH|^~\\&|PAS|R0A\rPID",
        b"MSHMSHMSH",
    ],
)
async def test_what_is_no_message_is_rejected_and_the_line_goes_on(hl7: Hl7, body: bytes) -> None:
    async with speaking("127.0.0.1", hl7.port) as line:
        assert answered(await line.say(body)).ack in ("AR", "AE")
        assert answered(await line.say(a_person(f"{unique('L')}^^^{MFT}").encode())).ack == "AA"


async def test_the_messages_of_one_sender_are_taken_in_order_and_senders_do_not_wait_for_each_other(
    hl7: Hl7,
) -> None:
    mine, theirs = unique("L"), unique("L")

    async def burst(sender: str, number: str, domain: str, given: str, born: str) -> None:
        reader, writer = await raw_line(hl7)
        who = {"sender": sender, "born": born, "address": "", "phone": ""}
        for n in range(15):
            said = a_person(f"{number}^^^{domain}", "A08", name=f"N{n}^{given}", **who)
            writer.write(framed(said.encode()))
        for _ in range(15):
            assert answered(await heard(reader)).ack == "AA"
        writer.close()

    await asyncio.gather(
        burst("PAS|R0A", mine, MFT, "Quentin", "19310101"),
        burst("PAS|RM3", theirs, NCA, "Bettina", "20010902"),
    )
    found = await hl7.patient(SYSTEM, mine)
    assert (found["name"][0]["family"], found["meta"]["versionId"]) == ("N14", "15")


async def test_one_message_sent_on_many_lines_at_once_is_done_once(hl7: Hl7) -> None:
    number = unique("L")
    message = a_person(f"{number}^^^{MFT}")
    answers = await asyncio.gather(*(hl7.say(message) for _ in range(16)))
    assert len({a.raw for a in answers}) == 1
    assert (await hl7.patient(SYSTEM, number))["meta"]["versionId"] == "1"
    assert len([e for e in hl7.audited if e["action"] == "C"]) == 1


async def test_a_message_that_is_too_long_is_refused_by_name_and_the_line_ended(
    mongo: Mongo,
) -> None:
    async with hl7v2_service(mongo, hl7v2_max_message=2000, hl7v2_lines=2) as hl7:
        reader, writer = await raw_line(hl7)
        writer.write(framed(a_person(f"1^^^{MFT}", id_="LONG1", name="x" * 5000).encode()))
        answer = answered(await heard(reader))
        assert (answer.ack, answer.errors) == ("AR", [("MSH^1", "207")])
        assert answer.message.first("MSA").value(2) == "LONG1"
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
        # More lines than are allowed are ended at once; the others go on.
        first, second = await raw_line(hl7), await raw_line(hl7)
        await asyncio.sleep(0.1)
        third, _ = await raw_line(hl7)
        assert await asyncio.wait_for(third.read(), 20) == b""
        first[1].write(framed(a_person(f"{unique('L')}^^^{MFT}").encode()))
        assert answered(await heard(first[0])).ack == "AA"
        for _, open_ in (first, second):
            open_.close()


async def test_the_door_answers_what_is_in_work_before_it_closes(mongo: Mongo) -> None:
    number = unique("L")
    async with hl7v2_service(mongo) as hl7:
        reader, writer = await raw_line(hl7)
        idle, other = await raw_line(hl7)
        writer.write(framed(a_person(f"{number}^^^{MFT}").encode()))
        await writer.drain()
        await asyncio.sleep(0.005)
    said = await asyncio.wait_for(reader.read(), 20)
    assert await asyncio.wait_for(idle.read(), 20) == b""
    async with hl7v2_service(mongo) as hl7:
        again = await hl7.say(q23(f"{number}^^^{MFT}"))
        # Whole and acknowledged, or not begun: never one without the other.
        assert (again.ack == "AA") == bool(said)
    writer.close()
    other.close()


async def test_a_second_process_waits_for_the_door_and_takes_it_over(mongo: Mongo) -> None:
    from pix.hl7v2.admission import Peer
    from pix.hl7v2.mllp import Line, Listener, listening

    class Echo:
        def __init__(self, name: bytes) -> None:
            self.name = name

        async def answer(self, raw: bytes, peer: Peer) -> bytes:
            return self.name

        async def refuse_length(self, began: bytes, limit: int, peer: Peer) -> bytes:
            return self.name

    from exchange import ports

    line = Line("127.0.0.1", ports.pick("127.0.0.1"))
    async with listening(line, Echo(b"one")) as one:
        second: Listener
        async with listening(line, Echo(b"two")) as second:
            assert (one.open_, second.open_) == (True, False)
            async with speaking("127.0.0.1", line.port) as speaker:
                assert await speaker.say(b"who?") == b"one"
            await one.close()
            for _ in range(60):
                if second.open_:
                    break
                await asyncio.sleep(0.1)
            async with speaking("127.0.0.1", line.port) as speaker:
                assert await speaker.say(b"who?") == b"two"


# -- TLS -----------------------------------------------------------------------------------------------


def certificates(folder: Path) -> dict[str, Path]:
    """An authority, a server, two senders, and a stranger who signed himself."""

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    run(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=Test authority",
        "-addext",
        "keyUsage=critical,keyCertSign",
    )
    for name in ("localhost", "pas-r0a", "pas-rm3"):
        run(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        (folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-extfile",
            f"{name}.ext",
        )
    run(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "stranger.key",
        "-out",
        "stranger.pem",
        "-days",
        "2",
        "-subj",
        "/CN=pas-r0a",
    )
    return {p.name: p for p in folder.iterdir()}


def client(files: dict[str, Path], name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files["ca.pem"])
    if name:
        context.load_cert_chain(files[f"{name}.pem"], files[f"{name}.key"])
    return context


async def test_over_tls_a_sender_is_known_by_its_certificate(mongo: Mongo, tmp_path: Path) -> None:
    files = certificates(tmp_path)
    senders = tmp_path / "senders.csv"
    senders.write_text(
        "application,facility,client,organisation,role,purpose,transactions,domain,national,certificate\n"
        "PAS,R0A,pas-r0a,R0A,,,ITI-8 ITI-9,NS/Id/local-patient-identifier/R0A,,pas-r0a\n"
        "PAS,RM3,pas-rm3,RM3,,,ITI-8,NS/Id/local-patient-identifier/RM3,,\n"
    )
    changes = {
        "hl7v2_certificate": str(files["localhost.pem"]), "hl7v2_key": str(files["localhost.key"]),
        "hl7v2_authority": str(files["ca.pem"]), "hl7v2_senders": str(senders),
    }  # fmt: skip
    async with hl7v2_service(mongo, client(files, "pas-r0a"), **changes) as hl7:
        assert (await hl7.say(a_person(f"{unique('L')}^^^{MFT}"))).ack == "AA"
        hl7.tls = client(files, "pas-rm3")
        false = await hl7.say(a_person(f"{unique('L')}^^^{MFT}"))
        assert (false.ack, false.errors) == ("AR", [("MSH^1^3", "103")])
        assert (await hl7.say(a_person(f"{unique('L')}^^^{NCA}", sender="PAS|RM3"))).ack == "AA"
        for stranger in (None, "stranger"):
            hl7.tls = client(files, stranger)
            with pytest.raises((Unanswered, ssl.SSLError)):
                await hl7.say(a_person(f"{unique('L')}^^^{MFT}"))
        hl7.tls = None
        with pytest.raises(Unanswered):
            await hl7.say(a_person(f"{unique('L')}^^^{MFT}"))


# -- anything at all ---------------------------------------------------------------------------------------


@given(
    st.lists(
        st.binary(max_size=40).filter(lambda b: END not in b and not b.endswith(b"\x1c")),
        max_size=6,
    ),
    st.data(),
)
def test_framing_gives_back_what_was_framed_however_it_is_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    line = b"".join(framed(m) for m in messages)
    framing = Framing(1000)
    got: list[bytes] = []
    while line:
        cut = data.draw(st.integers(1, len(line)))
        got += framing.feed(line[:cut])
        line = line[cut:]
    assert got == messages
    assert not framing.inside


@given(st.binary(max_size=200))
def test_framing_never_fails_but_by_its_own_refusals(line: bytes) -> None:
    framing = Framing(50)
    try:
        for message in framing.feed(line):
            assert len(message) <= 50
    except (NotFramed, TooLong):
        pass


async def test_arbitrary_bytes_get_a_refusal_and_never_a_fault(hl7: Hl7) -> None:
    from tests.hl7v2.test_message import mutations

    async with speaking("127.0.0.1", hl7.port, patience=60) as line:
        for body in mutations(400):
            answer = answered(await line.say(body))
            assert answer.ack in ("AA", "AE", "AR")
            for error in answer.message.all("ERR"):
                assert "failed" not in error.value(8), (body, answer.raw)
