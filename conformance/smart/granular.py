"""Scopes with a query: only what they match comes back, by search and by read (security digest 1.9, 2.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.check import Check, Group, Launched, Run, Skipped, expect
from conformance.smart.launch import launched

_SEE = "SMART App Launch 2.2, Finer-grained resource constraints"
_PAGES = 50


async def found(run: Run, launch: Launched, query: str) -> dict[str, Mapping[str, Any]]:
    """Every match of a search by its id, all pages."""
    url, matches = f"{run.target.fhir}/{query}", {}
    for _ in range(_PAGES):
        answer = await run.wire.get(
            url, Authorization=f"Bearer {launch.token}", Accept="application/fhir+json"
        )
        expect(answer.status_code == 200, f"{query} answers {answer.status_code}.")
        bundle = answer.json()
        for entry in bundle.get("entry", ()):
            if entry.get("search", {}).get("mode", "match") == "match":
                matches[entry["resource"]["id"]] = entry["resource"]
        url = next((k["url"] for k in bundle.get("link", ()) if k["relation"] == "next"), "")
        if not url:
            break
    return matches


async def narrowed(run: Run) -> None:
    """With each scope alone, and with all together, a search gives what its query matches and no more;
    what it does not give cannot be read either."""
    scopes = run.target.granular
    if not scopes:
        raise Skipped("no granular scopes are stated")
    app = run.target.apps.get("public") or next(iter(run.target.apps.values()), None)
    if app is None:
        raise Skipped("no app is stated")
    kind = scopes[0].partition("/")[2].partition(".")[0]
    whole = await launched(run, app, scope=f"launch/patient openid fhirUser patient/{kind}.rs")
    patient = whole.answer.get("patient")
    search = f"{kind}?patient={patient}"
    if run.target.granular_with:
        search += f"&{run.target.granular_with}"
    everything = await found(run, whole, search)
    expect(everything, f"the patient has no {kind} to tell apart.")
    for asked in (*((s,) for s in scopes), scopes):
        narrow = await launched(
            run, app, scope=" ".join(("launch/patient", "openid", "fhirUser", *asked))
        )
        expect(narrow.answer.get("patient") == patient, "the second launch has another patient.")
        lacking = set(asked) - narrow.granted
        expect(not lacking, f"not granted: {' '.join(sorted(lacking))}.")
        wanted: set[str] = set()
        for scope in asked:
            query = scope.partition("?")[2]
            wanted |= set(await found(run, whole, f"{search}&{query}"))
        seen = set(await found(run, narrow, search))
        expect(
            not seen - wanted,
            f"{' '.join(asked)} showed {len(seen - wanted)} that it does not match.",
        )
        expect(not wanted - seen, f"{' '.join(asked)} hid {len(wanted - seen)} that it matches.")
        for ids, there in (
            (sorted(wanted)[:1], True),
            (sorted(set(everything) - wanted)[:1], False),
        ):
            for id_ in ids:
                answer = await run.wire.get(
                    f"{run.target.fhir}/{kind}/{id_}",
                    Authorization=f"Bearer {narrow.token}",
                    Accept="application/fhir+json",
                )
                expect(
                    (answer.status_code == 200) is there,
                    f"reading a {'' if there else 'non-'}match answers {answer.status_code}.",
                )


GROUP = Group(
    "granular",
    "Scopes with a query",
    (
        Check(
            "narrowed", "a search gives what the query matches, and reading agrees", _SEE, narrowed
        ),
    ),
)
