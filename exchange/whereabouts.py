"""Where a running exchange can be found: `exchange.json` in its data folder.

`serve together` writes it when it is ready and removes it when it ends, so that `clients` and
`token` on the same machine need no addresses. It holds the MongoDB URI and is for the owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "exchange.json"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One running exchange: its process, its addresses and its MongoDB."""

    pid: int
    uri: str
    database_prefix: str
    fhir: str
    auth: str
    admin: str
    hl7v2: str = ""

    @property
    def sign_in(self) -> str:
        """The page where people sign in."""
        return f"{self.auth}/sign-in"

    def announcement(self) -> str:
        """The one line that `serve` prints when it is ready. Nothing in it leads nowhere: `viewer` is
        null until there is one, for whoever reads the line by its names."""
        said: dict[str, object] = {
            "ready": True,
            "fhir": self.fhir,
            "auth": self.auth,
            "sign_in": self.sign_in,
            "viewer": None,
        }
        if self.hl7v2:
            said["hl7v2"] = self.hl7v2
        return json.dumps(said | {"admin": self.admin})


def publish(data: Path, whereabouts: Whereabouts) -> Callable[[], None]:
    """Put the file there, whole or not at all, readable by its owner only; returns what removes it.

    The process keeps the file locked, and the kernel takes the lock away when it dies: that is how a
    file left behind is told from a live one, whatever process ids are used again.
    """
    data.mkdir(parents=True, exist_ok=True)
    draft = data / f".{FILE}.{os.getpid()}"
    held = os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    json.dump(asdict(whereabouts), held, indent=1)
    held.flush()
    draft.replace(data / FILE)

    def remove() -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(held.fileno()), (data / FILE).stat()):
                (data / FILE).unlink()
        held.close()

    return remove


def read(data: Path) -> Whereabouts | None:
    """The exchange that runs in this data folder, or None. A file left by a killed one is ignored."""
    try:
        with (data / FILE).open() as file:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None  # nobody holds it
            return Whereabouts(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
