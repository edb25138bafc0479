"""Put the NHS.UK front end into auth/assets/nhsuk, without its fonts and without the NHS's marks.

    npm pack nhsuk-frontend@10.6.1 && python tools/vendor_frontend.py nhsuk-frontend-10.6.1.tgz

A maintainer's errand, done once per version; nobody else needs npm. Of the package come the compiled
style sheet, its script and the icons that the style sheet draws. Left out: Frutiger, which is a licensed
typeface that would be fetched from another host, and every picture with the NHS logo, which is a trade
mark used with permission. The version must be the one that nhsuk-frontend-jinja was made for
(tests/auth/people/test_assets.py).
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import tarfile
from pathlib import Path

VERSION = "10.6.1"
# As the npm registry publishes it: dist.integrity of that version.
INTEGRITY = "sha512-PZorqQZjZx/A26yJoskCL9z0ib6AtkAyF0o4K/RHr8zRrJyXrUOCnMbjy0VNXsGO4tfTNMwqlkwATKs4a0xayw=="
INTO = Path(__file__).resolve().parents[1] / "auth" / "assets" / "nhsuk"
_INSIDE = "package/dist/nhsuk"
_FACE = re.compile(r"@font-face\{[^}]*\}")
_ICON = re.compile(r"url\((?:\"|')?/assets/images/([\w-]+\.svg)(?:\"|')?\)")
_MAP = re.compile(r"(?m)(/\*# sourceMappingURL=\S+ \*/|//# sourceMappingURL=\S+)\s*\Z")


def main(package: Path) -> None:
    """Write the assets of this package file; ends with a message when it is another than expected."""
    packed = package.read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
    if found != INTEGRITY:
        sys.exit(f"{package} is not nhsuk-frontend {VERSION} as the npm registry publishes it.")
    with tarfile.open(package) as tar:
        css = _text(tar, f"nhsuk-frontend-{VERSION}.min.css")
        icons = sorted(set(_ICON.findall(css)))
        INTO.mkdir(parents=True, exist_ok=True)
        style = _MAP.sub("", _ICON.sub(r"url(\1)", _FACE.sub("", css)))
        (INTO / "nhsuk-frontend.css").write_text(style.rstrip() + "\n")
        script = _text(tar, f"nhsuk-frontend-{VERSION}.min.js")
        (INTO / "nhsuk-frontend.js").write_text(_MAP.sub("", script).rstrip() + "\n")
        for icon in icons:
            (INTO / icon).write_text(_text(tar, f"assets/images/{icon}"))
    if "https://" in style:
        sys.exit("The style sheet still fetches something from another host.")
    print(f"{INTO}: nhsuk-frontend {VERSION}, {len(icons)} icons")


def _text(tar: tarfile.TarFile, name: str) -> str:
    member = tar.extractfile(f"{_INSIDE}/{name}")
    if member is None:
        sys.exit(f"The package has no {name}.")
    return member.read().decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
