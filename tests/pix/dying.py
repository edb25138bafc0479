"""A pix process that dies: `python -m tests.pix.dying URI PREFIX`, one line of JSON for each death.

Each line says the place at which to die (the n-th that is reached) and the Patient to feed. A child is
forked that feeds it and kills itself there with SIGKILL, as a power cut would; what became of it comes
back as one line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from chassis.mongo import Mongo
from tests.pix.makers import pix_service


async def feed(uri: str, prefix: str, at: int, body: dict[str, Any]) -> int:
    """Feed the Patient and die at the n-th place; the status when there are fewer."""
    mongo = Mongo(uri, prefix=prefix)
    async with pix_service(mongo) as pix:
        left = at

        def die(_place: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        pix.near.people.between = die
        status = (await pix.feed(body)).status_code
    await mongo.close()
    return status


def main() -> None:
    uri, prefix = sys.argv[1:]
    for line in sys.stdin:
        said = json.loads(line)
        child = os.fork()
        if not child:
            status = asyncio.run(feed(uri, prefix, said["at"], said["body"]))
            os._exit(0 if status in (200, 201) else 1)
        _, end = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(end) and os.WTERMSIG(end) == signal.SIGKILL
        told = {"killed": killed, "code": os.waitstatus_to_exitcode(end)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
