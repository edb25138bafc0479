"""How the exchange signs in to each organisation that keeps documents outside: a JSON file of the operator.

    {"R0A": {"bearer_file": "/run/secrets/r0a"},
     "RM3": {"certificate": "/etc/tls/us.pem", "key": "/etc/tls/us.key", "authorities": "/etc/tls/rm3.pem"}}

An organisation that the file does not name is asked without credentials. The secrets themselves stay
in files of their own; a bearer token is read for each request, so that it can be renewed.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

_KEYS = ("bearer_file", "certificate", "key", "authorities")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is shown to one organisation: a bearer token, a client certificate, both or nothing.
    `authorities` replace the system's certificate authorities for it."""

    bearer_file: str = ""
    certificate: str = ""
    key: str = ""
    authorities: str = ""

    def headers(self) -> dict[str, str]:
        """The Authorization header, if a token is shown. Raises `OSError` when it cannot be read."""
        if not self.bearer_file:
            return {}
        return {"Authorization": f"Bearer {Path(self.bearer_file).read_text().strip()}"}

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, the host's certificate checked, our own shown when there is one."""
        made = ssl.create_default_context(cafile=self.authorities or None)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate:
            made.load_cert_chain(self.certificate, self.key or None)
        return made


def load(path: str, organisations: Container[str]) -> Mapping[str, Credentials]:
    """The credentials by organisation; none when no file is set.

    Raises `ValueError`, in words that say what to mend, for a file that cannot be read, an organisation
    that the pack does not have, a key that is none, and a secret's file that is not there.
    """
    if not path:
        return {}
    try:
        said = json.loads(Path(path).read_text())
    except (OSError, ValueError) as fault:
        raise ValueError(
            f"The retrieval credentials cannot be read from {path}: {fault}"
        ) from fault
    if not isinstance(said, dict) or not all(isinstance(v, dict) for v in said.values()):
        raise ValueError(f"{path} maps organisation codes to objects.")
    return {code: _one(path, code, held, organisations) for code, held in said.items()}


def _one(
    path: str, code: str, held: Mapping[str, object], organisations: Container[str]
) -> Credentials:
    if code not in organisations:
        raise ValueError(f"{path}: the pack has no organisation {code!r}.")
    for name, file in held.items():
        if name not in _KEYS or not isinstance(file, str):
            raise ValueError(f"{path}: {code} may have {', '.join(_KEYS)}, each a file name.")
        if not Path(file).is_file():
            raise ValueError(f"{path}: {name} of {code} is no file.")
    made = Credentials(**{k: str(v) for k, v in held.items()})
    if made.key and not made.certificate:
        raise ValueError(f"{path}: {code} has a key without a certificate.")
    made.context()  # what OpenSSL cannot load is told now and not at the first retrieval
    return made
