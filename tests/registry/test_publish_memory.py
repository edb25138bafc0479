"""50 MB by ITI-105 into the exchange, and 50 MB through it from elsewhere, in constant memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# In a process of its own, so that what is measured is these documents and nothing else.
_STORY = """
import asyncio, base64, hashlib, json, resource, sys
from pathlib import Path
from chassis.mongo import Mongo
from tests.archive import a_pack, archive
from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish
from tests.running import running

LINE = bytes(range(32, 128)) * 512
LINES = 1068
WHOLE = LINE * LINES
SHA1 = base64.b64encode(hashlib.sha1(WHOLE).digest()).decode()
SIZE = len(WHOLE)
del WHOLE

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

class Peak:
    value = 0
    def look(self):
        self.value = max(self.value, resident())

def asked(method, path, token, media):
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "state": {},
        "headers": [(b"authorization", token), (b"content-type", b"application/fhir+json"), (b"accept", media)],
        "server": ("exchange.test", 80), "client": ("127.0.0.1", 1),
    }

async def main():
    uri, prefix, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    mongo, peak = Mongo(uri, prefix=prefix), Peak()
    async with archive() as there:
        pack = a_pack(folder, f"R0A,{there.url('/kept/')},proxy,127.0.0.0/8,test")
        async with running(mongo, uri, prefix, folder, affinity=str(pack)) as exchange, exchange.as_client() as client:
            token = client.headers["authorization"].encode()
            person = await a_patient(client)
            document = a_document(person)
            document.pop("_content")
            document["content"][0]["attachment"] |= {"data": "@", "hash": SHA1, "size": SIZE}
            head, tail = (p.encode() for p in json.dumps(document).split("@"))
            text = base64.b64encode(LINE)
            def chunks():
                yield head
                for _ in range(LINES):
                    yield text
                yield tail
            left, answer = chunks(), []
            async def receive():
                peak.look()
                chunk = next(left, None)
                return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}
            async def send(message):
                peak.look()
                answer.append(message)
            before = resident()
            await exchange.app(asked("POST", "/fhir/DocumentReference", token, b"application/fhir+json"), receive, send)
            assert answer[0]["status"] == 201, answer
            print("in", (peak.value - before) // 1024)

            async def _document(request, content, writer):
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % SIZE)
                for _ in range(LINES):
                    writer.write(LINE)
                    await writer.drain()
            there.documents["/kept/1"] = b"."
            async def _answer(request, writer):
                await _document(request, b"", writer)
                return True
            there._answer = _answer
            pointer = a_bundle(a_document(person, _content=None))
            pointer["entry"][1]["resource"]["content"][0]["attachment"] |= {"url": there.url("/kept/1"), "hash": SHA1, "size": SIZE}
            made = (await client.get("/" + locations(await publish(client, pointer))[1])).json()
            path = made["content"][0]["attachment"]["url"].removeprefix("http://exchange.test")
            digest, status, peak.value = hashlib.sha1(), 0, 0
            async def passed(message):
                nonlocal status
                peak.look()
                status = message.get("status", status)
                digest.update(message.get("body", b""))
            async def nothing():
                return {"type": "http.request"}
            before = resident()
            await exchange.app(asked("GET", path, token, b"text/plain"), nothing, passed)
            assert status == 200 and base64.b64encode(digest.digest()).decode() == SHA1
            print("through", (peak.value - before) // 1024)
    await mongo.close()

asyncio.run(main())
"""


def test_fifty_megabytes_come_in_and_pass_through_within_thirty_of_memory(
    mongod_uri: str, database_prefix: str, mongo: object, tmp_path: Path
) -> None:
    root = str(Path(__file__).parents[2])
    said = subprocess.run(
        [sys.executable, "-c", _STORY, mongod_uri, database_prefix, str(tmp_path)],
        capture_output=True, text=True, timeout=150, check=False, cwd=root, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    figures = dict(line.split() for line in said.stdout.splitlines() if line[:2] in ("in", "th"))
    assert {name: int(kb) < 30_000 for name, kb in figures.items()} == {
        "in": True,
        "through": True,
    }, figures
