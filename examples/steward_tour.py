"""A steward's first hour: `steward_tour.py BASE`, with three tokens in the environment.

    FEED_TOKEN     a client that feeds (role R-SYS, scope system/Patient.cruds)
    STEWARD_TOKEN  a steward (role R-ADM, scope throughline.steward)
    SECOND_TOKEN   another one

docs/stewardship.md has the commands that register the two desks and get the tokens.

It only speaks HTTP and uses nothing of this project; copy it into whatever language you work in. The
people are invented.
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

SPACE = "https://throughline.example/fhir/Id"
COUNCIL, TRUST = f"{SPACE}/social-care-id/353", f"{SPACE}/local-patient-identifier/RM3"


async def tour(
    feed: httpx.AsyncClient, steward: httpx.AsyncClient, second: httpx.AsyncClient
) -> AsyncIterator[str]:
    """Every step, in words, as it happens."""
    # %% Two agencies know her by two names, and nothing but the birth date connects them.
    run = str(uuid.uuid4().int)[:7]
    council = await put(feed, COUNCIL, run, "Begum", "Shirin", "1988-04-19")
    trust = await put(feed, TRUST, f"T{run}", "Rahman", "Nadia", "1988-04-19")
    yield f"The council knows Patient/{council}, the hospital Patient/{trust}."

    # %% Whose are they? The answer names person and record with their versions.
    links = await asked(steward, "query-links", resourceId=f"Patient/{council}")
    person = links["link"][0]["goldenResourceId"][0].partition("/")[0]
    why = await asked(steward, "explain", resourceId=f"Patient/{trust}", goldenResourceId=person)
    yield f"Why they are not one: {why['explanation'][0]}"

    # %% She brings her passport and marriage certificate. One steward may link, with a reason.
    linked = await asked(
        steward, "link", resourceId=f"Patient/{trust}", goldenResourceId=person,
        reason="name-changed", comment="Passport and marriage certificate seen at the desk.",
    )  # fmt: skip
    together = datetime.now(UTC).isoformat()
    yield f"Linked by decision {linked['decision'][0]}."
    answer = await feed.get("/Patient/$ihe-pix", params={"sourceIdentifier": f"{COUNCIL}|{run}"})
    known = [p["valueIdentifier"]["value"] for p in answer.json()["parameter"]
             if p["name"] == "targetIdentifier"]  # fmt: skip
    yield f"Whoever asks with the council's number is told {', '.join(known)}."

    # %% It was the wrong certificate. Parting two agencies' records needs a second steward.
    wrong = {"resourceId": f"Patient/{trust}", "goldenResourceId": person,
             "reason": "wrong-decision", "comment": "The certificate was her sister's."}  # fmt: skip
    waiting = await asked(steward, "unlink", **wrong)
    yield f"{waiting['outcome'][0]}: {waiting['why'][0]}"
    queue = await asked(second, "reviews", type="approval")
    item = next(i for i in queue["item"] if i["review"] == waiting["review"])
    yield f"The colleague sees it in the queue: {item['reason'][0]}"
    parted = await asked(
        second, "review", action="decide", answer="agree", review=item["review"][0],
        reason="source-confirmed", comment="Rang the hospital; two women.",
    )  # fmt: skip
    yield f"Parted by decision {parted['decision'][0]}; they will not come together by themselves."

    # %% What was known, and when.
    then = await asked(steward, "link-history", goldenResourceId=person, at=together)
    yield f"At {together} it had {len(then['person'][0]['sourceResourceId'])} records."
    history = await asked(steward, "link-history", resourceId=f"Patient/{trust}")
    for row in history["revision"]:
        yield f"{row['revisionTimestamp'][0]} {row['type'][0]}: {row.get('reason', [''])[0]}"

    # %% The same explanation as a picture, for the file.
    query = {"resourceId": f"Patient/{trust}", "goldenResourceId": person, "_format": "svg"}
    picture = await steward.get("/Patient/$explain", params=query)
    picture.raise_for_status()
    yield f"The picture has {len(picture.content)} bytes of {picture.headers['content-type']}."


async def put(
    feed: httpx.AsyncClient, system: str, value: str, family: str, given: str, born: str
) -> str:
    """Feed one person; the logical id of the record."""
    body = {
        "resourceType": "Patient", "identifier": [{"system": system, "value": value}],
        "name": [{"family": family, "given": [given]}], "birthDate": born,
    }  # fmt: skip
    answer = await feed.put("/Patient", params={"identifier": f"{system}|{value}"}, json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


async def asked(client: httpx.AsyncClient, operation: str, **said: str) -> dict[str, Any]:
    """POST an operation and read its answer: the values of every parameter, by name."""
    forms = {"at": "valueDateTime"}
    body = {"resourceType": "Parameters", "parameter": [
        {"name": name, forms.get(name, "valueString"): value} for name, value in said.items()
    ]}  # fmt: skip
    answer = await client.post(f"/Patient/${operation}", json=body)
    if answer.status_code >= 400:
        raise SystemExit("; ".join(i["diagnostics"] for i in answer.json()["issue"]))
    return read(answer.json().get("parameter", []))


def read(parameters: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters as a dict of lists."""
    made: dict[str, Any] = {}
    for parameter in parameters:
        value = next((v for k, v in parameter.items() if k.startswith("value")), None)
        made.setdefault(parameter["name"], []).append(
            read(parameter["part"]) if "part" in parameter else value
        )
    return made


async def main(base: str) -> None:
    """The tour against a running exchange."""

    def client(token: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {os.environ[token]}",
                   "Accept": "application/fhir+json"}  # fmt: skip
        return httpx.AsyncClient(base_url=base, headers=headers)

    async with (
        client("FEED_TOKEN") as feed, client("STEWARD_TOKEN") as one, client("SECOND_TOKEN") as two,
    ):  # fmt: skip
        async for line in tour(feed, one, two):
            sys.stdout.write(line + "\n")


if __name__ == "__main__":
    missing = [n for n in ("FEED_TOKEN", "STEWARD_TOKEN", "SECOND_TOKEN") if n not in os.environ]
    if len(sys.argv) != 2 or missing:
        raise SystemExit(f"{__doc__}\nMissing: {', '.join(missing) or 'BASE'}")
    asyncio.run(main(sys.argv[1]))
