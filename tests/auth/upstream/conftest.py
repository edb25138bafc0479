"""An authorization server whose people may sign in with three providers, and those providers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import respx
from joserfc.jwk import ECKey, RSAKey

from chassis.mongo import Mongo
from tests.auth.authority import Server, serving
from tests.auth.people.browsers import Browser
from tests.auth.upstream.elsewhere import Elsewhere, recorded

OURS = RSAKey.generate_key(2048, {"kid": "ours"})
SECRET = "a secret: with + and %"
KEYS = {
    "cis2": RSAKey.generate_key(2048, {"kid": "cis2-1", "use": "sig"}),
    "nhs_login": RSAKey.generate_key(2048, {"kid": "nhs-1", "use": "sig", "alg": "RS512"}),
    "council": ECKey.generate_key("P-256", {"kid": "council-1", "use": "sig", "alg": "ES256"}),
}
ALGORITHMS = {"cis2": "RS256", "nhs_login": "RS512", "council": "ES256"}


def rows() -> list[dict[str, Any]]:
    return [
        {
            "preset": "cis2", "id": "cis2", "client_id": "throughline.example", "key": "ours.jwk",
            "issuer": recorded("cis2", "openid-configuration")["issuer"].replace(":443", ""),
            "roles": {"R8001": "R-HV", "S8000:G8000:R8016": "R-MW"},
        },
        {
            "preset": "nhs_login", "id": "nhs_login", "client_id": "throughline", "key": "ours.pem",
            "issuer": "https://auth.sandpit.signin.nhs.uk/",
        },
        {
            "id": "council", "label": "the council", "client_id": "throughline",
            "issuer": recorded("council", "openid-configuration")["issuer"],
            "method": "client_secret_basic", "secret": "council.secret", "algorithms": ["ES256"],
            "acr_values": ["mfa"], "strong": ["mfa"], "admit": "mapped", "roles_claim": "groups",
            "roles": {"social-work": "R-CSW"}, "organisation_claim": "department", "userinfo": True,
            "organisations": {"LA": "352"},
        },
    ]  # fmt: skip


def written(folder: Path, *more: dict[str, Any]) -> Path:
    """The file of providers, with the files that it names."""
    (folder / "ours.jwk").write_text(json.dumps(OURS.as_dict(private=True)))
    (folder / "ours.pem").write_bytes(OURS.as_pem(private=True))
    (folder / "council.secret").write_text(SECRET + "\n")
    file = folder / "providers.json"
    file.write_text(json.dumps([*rows(), *more]))
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(mongo: Mongo, folder: Path) -> AsyncIterator[Server]:
    file = str(written(folder))
    async with serving(mongo, folder, password_memory=19, sign_in_providers=file) as made:
        yield made


@pytest.fixture
def browser(server: Server) -> Browser:
    return Browser(server)


@pytest.fixture
def wire(server: Server) -> Iterator[respx.MockRouter]:
    """Everything that would leave the machine, and nothing else passes."""
    for party in server.authority.federation.parties.values():
        # What one test made the provider say must not be remembered in the next.
        party._metadata, party._keys, party._keys_at = None, (), float("-inf")
        party._failed_at = float("-inf")
    with respx.mock(assert_all_called=False) as router:
        yield router


def there(wire: respx.MockRouter, name: str) -> Elsewhere:
    made = Elsewhere(name, ALGORITHMS[name], KEYS[name])
    made.serve(wire)
    return made


@pytest.fixture
def cis2(wire: respx.MockRouter) -> Elsewhere:
    return there(wire, "cis2")


@pytest.fixture
def nhs_login(wire: respx.MockRouter) -> Elsewhere:
    return there(wire, "nhs_login")


@pytest.fixture
def council(wire: respx.MockRouter) -> Elsewhere:
    return there(wire, "council")
