"""Free ports, chosen where the kernel does not hand them out to others.

A port of the ephemeral range can be taken by any outgoing connection while its server restarts; a
client that keeps knocking at a closed loopback port of that range even connects to itself, now and
then. So free ports are picked below the range.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from pathlib import Path

LOWEST = 15_000
# The machine's own dice: two processes that were seeded alike would pick the same ports.
_DICE = random.SystemRandom()


def free(host: str, port: int) -> bool:
    """Whether a server could listen on host and port now.

    Raises `OSError` when the address is not one of this machine's or the port needs privileges.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as fault:
            if fault.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def pick(host: str = "127.0.0.1", *, avoid: frozenset[int] = frozenset()) -> int:
    """A free port on host, none of `avoid`."""
    highest = _ephemeral_from() - 1
    for _ in range(200):
        port = _DICE.randint(LOWEST, highest)
        if port not in avoid and free(host, port):
            return port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])


def _ephemeral_from() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if first > LOWEST + 1_000:
            return first
    return 32_768
