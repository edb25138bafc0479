"""Make the list of common passwords that comes with the product.

    npm pack @zxcvbn-ts/language-common@4.1.3
    python tools/vendor_passwords.py zxcvbn-ts-language-common-4.1.3.tgz

The package (MIT) carries the passwords that were most frequent in published breaches, most frequent
first. They are lower-cased and packed, one a line; its licence is put beside them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sys
import tarfile
from pathlib import Path

INTEGRITY = "sha512-g2bg4skmlJG9aJqC/nWziZzgYpSe/f3rKeGobrkdFiOrfZVFqqzUgC6BUQWuX54Sua9j0Jxxt+1bf4f/Mal1Kg=="
INTO = Path(__file__).resolve().parents[1] / "auth" / "people" / "common"


def main(package: Path) -> None:
    """Write the list; ends with a message when the package is another than expected."""
    packed = package.read_bytes()
    if "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode() != INTEGRITY:
        sys.exit(f"{package} is not @zxcvbn-ts/language-common 4.1.3 as the npm registry has it.")
    with tarfile.open(package) as tar:
        words = json.loads(_read(tar, "package/src/passwords.json"))
        licence = _read(tar, "package/LICENSE.txt")
    INTO.mkdir(parents=True, exist_ok=True)
    listed = "\n".join(dict.fromkeys(word.lower() for word in words)) + "\n"
    (INTO / "passwords.txt.gz").write_bytes(gzip.compress(listed.encode(), 9, mtime=0))
    (INTO / "LICENSE").write_bytes(licence)
    print(f"{len(listed.splitlines())} passwords")


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    if member is None:
        sys.exit(f"The package has no {name}.")
    return member.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
