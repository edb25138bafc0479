"""What pages are dressed with: the version that the templates are made for, and nothing from elsewhere."""

from __future__ import annotations

import re
from importlib.metadata import metadata, version
from pathlib import Path

import httpx
from starlette.applications import Starlette

from auth.pages import shelf

NHSUK = Path(shelf.__file__).resolve().parents[1] / "assets" / "nhsuk"


def test_the_front_end_is_the_version_that_the_templates_are_made_for() -> None:
    readme = metadata("nhsuk-frontend-jinja").get_payload()
    row = rf"\|\s*([\d.]+)\s*\|\s*{re.escape(version('nhsuk-frontend-jinja'))}\s*\|"
    found = re.search(row, str(readme))
    assert found, "the table of versions in the description of nhsuk-frontend-jinja has changed"
    css = (NHSUK / "nhsuk-frontend.css").read_text()
    assert f'--nhsuk-frontend-version:"{found[1]}"' in css
    assert f'version="{found[1]}"' in (NHSUK / "nhsuk-frontend.js").read_text()
    assert found[1] in (NHSUK / "NOTICE.md").read_text()


def test_nothing_is_fetched_from_another_host_and_no_mark_of_the_nhs_is_there() -> None:
    _, known = shelf.assets()
    for name, asset in known.items():
        text = asset.content.decode()
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//", text), name
        assert "@font-face" not in text, name
        assert "sourceMappingURL" not in text, name
    css = known["nhsuk/nhsuk-frontend.css"].content.decode()
    for icon in re.findall(r"url\(([\w-]+\.svg)\)", css):
        assert f"nhsuk/{icon}" in known
    layout = Path(shelf.__file__).parent / "templates" / "layout.jinja"
    assert "nhsuk-header__logo" not in layout.read_text()
    assert (NHSUK / "LICENSE").read_text().startswith("MIT License")


async def test_a_file_may_be_kept_for_ever_under_its_digest_only() -> None:
    app = Starlette(routes=[shelf.ROUTE])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        here = await http.get(shelf.asset("pages.js"))
        assert here.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert here.headers["content-type"] == "text/javascript; charset=utf-8"
        assert here.headers["x-content-type-options"] == "nosniff"
        assert here.headers["content-encoding"] == "gzip"
        plain = await http.get(shelf.asset("pages.js"), headers={"accept-encoding": "identity"})
        assert plain.text == here.text
        assert "content-encoding" not in plain.headers
        older = await http.get("/auth/assets/0123456789abcdef/pages.js")
        assert (older.status_code, older.headers["cache-control"]) == (200, "no-cache")
        for path in ("nhsuk/NOTICE.md", "../pages/layout.py", "%2e%2e/pages/layout.py", "none.css"):
            assert (await http.get(f"/auth/assets/x/{path}")).status_code == 404
