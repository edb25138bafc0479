"""The examples of docs/publishing.md are taken as they are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.makers_mhd import NHS, a_patient
from tests.running import Exchange

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "publishing.md").read_text()


def printed(name: str) -> Any:
    (block,) = re.findall(rf"```json {name}\n(.*?)```", PAGE, re.DOTALL)
    return json.loads(block)


async def test_every_example_is_taken_as_it_is_printed(exchange: Exchange) -> None:
    async with exchange.as_client() as client:
        person = await a_patient(client, identifier=[{"system": NHS, "value": "9990000018"}])
        headers = {"Content-Type": "application/fhir+json"}
        simplified = await client.post(
            "/DocumentReference", json=printed("simplified"), headers=headers
        )
        assert simplified.status_code == 201, simplified.text
        assert simplified.json()["subject"]["reference"] == person
        generated = await client.post(
            "/DocumentReference/$generate-metadata", json=printed("generated"), headers=headers
        )
        assert generated.status_code == 200, generated.text
        (parameter,) = generated.json()["parameter"]
        made = await client.get("/" + parameter["valueReference"]["reference"])
        assert made.json()["type"]["coding"][0]["code"] == "EY-HLE"
