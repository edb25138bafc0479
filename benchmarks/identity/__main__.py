"""`python -m benchmarks.identity`: how well the identity manager puts a city's records together.

    python -m benchmarks.identity                                100,000 records, the algorithm in memory
    python -m benchmarks.identity --seed 8 --seed 9              several seeds, a table each
    python -m benchmarks.identity --population second            people of another making than those tuned on
    python -m benchmarks.identity --over http                    an exchange of its own, through ITI-104 and ITI-83
    python -m benchmarks.identity --over http --fhir URL --client NAME --key FILE
    python -m benchmarks.identity --febrl                        the public sets FEBRL 1 to 4
    python -m benchmarks.identity --splink                       Splink on the same fields beside it

Beside it stands the rule of equal NHS number and birth date. Exits with 1 when a figure is one below
which nobody should ship.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.identity import baselines, febrl, feeding, measures, population, tables
from benchmarks.identity.measures import Linked, Outcome, Report
from benchmarks.identity.population import Record
from benchmarks.identity.second import population as second
from pix.identifiers import Domains

RESULTS = Path(__file__).parent.parent / "results" / "identity.json"
SCOPE = "system/*.cruds"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write JSON; 1 when something is below what may be shipped."""
    given = _parser().parse_args(arguments)
    console = Console(width=max(140, Console().width))
    if given.febrl:
        reports = [r for number in febrl.SETS for r in _febrl(number, given, console)]
    else:
        reports = [r for seed in given.seed or [7] for r in _population(seed, given, console)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(
        orjson.dumps(
            [tables.as_json(r) for r in reports], option=orjson.OPT_INDENT_2, default=sorted
        )
    )
    console.print(f"Written to {given.out}")
    below = (
        []
        if given.febrl
        else tables.refused(r for r in reports if r.method.startswith("Throughline"))
    )
    for words in below:
        console.print(f"[red]Not to be shipped[/] {words}")
    return int(bool(below))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.identity", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--records", type=int, default=100_000, help="how many records (100000)")
    parser.add_argument(
        "--seed", type=int, action="append", help="of the population; may be repeated (7)"
    )
    parser.add_argument(
        "--population",
        choices=("first", "second"),
        default="first",
        help="whose people: those that the matcher was tuned on, or others (first)",
    )
    parser.add_argument(
        "--updates", type=float, default=0.0, help="share of records that are sent again (0)"
    )
    parser.add_argument(
        "--over", choices=("memory", "http"), default="memory", help="what is measured"
    )
    parser.add_argument(
        "--model", default="", help="version or path of the model (the one that is shipped)"
    )
    parser.add_argument(
        "--fhir", default="", help="FHIR base of a running exchange, with --over http"
    )
    parser.add_argument(
        "--client", default="", help="a registered client with the role R-SYS, with --fhir"
    )
    parser.add_argument("--key", type=Path, help="its private key, with --fhir")
    parser.add_argument("--connections", type=int, default=16, help="with --over http (16)")
    parser.add_argument("--febrl", action="store_true", help="measure on FEBRL 1 to 4 instead")
    parser.add_argument(
        "--splink", action="store_true", help="also measure Splink on the same fields"
    )
    parser.add_argument(
        "--baselines-only", action="store_true", help="measure only what stands beside it"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes")
    return parser


def _population(seed: int, given: argparse.Namespace, console: Console) -> list[Report]:
    began = time.process_time()
    made = second if given.population == "second" else population
    records = made.arrivals(seed, given.records, updates=given.updates)
    two = made.sealed(seed, given.records)
    console.print(
        f"Seed {seed}: {len(records)} records made in {time.process_time() - began:.1f} s of CPU"
    )
    title = f"Identity, {given.population} population, {given.records} records, seed {seed}"
    reports = []
    if not given.baselines_only:
        method = f"Throughline, {given.over}"
        reports.append(measures.report(method, records, _linked(records, given, console), two))
    reports.append(
        measures.report(
            "NHS number + birth date", records, baselines.nhs_and_birth_date(records), two
        )
    )
    if given.splink:
        reports.append(
            measures.report("Splink, three vetoes", records, baselines.splink(records), two)
        )
    console.print(tables.comparison(reports, title))
    console.print(tables.parts(reports[0], "naming group", reports[0].groups.items()))
    console.print(tables.parts(reports[0], "agency", reports[0].agencies.items()))
    return reports


def _febrl(number: int, given: argparse.Namespace, console: Console) -> list[Report]:
    records = febrl.records(number)
    outcome = _in_memory(records, given, febrl.domains())
    found = [measures.report(f"Throughline, FEBRL {number}", records, outcome)]
    console.print(tables.comparison(found, f"FEBRL {number}, {len(records)} records"))
    return found


def _linked(records: Sequence[Record], given: argparse.Namespace, console: Console) -> Linked:
    if given.over == "memory":
        return _in_memory(records, given)
    return asyncio.run(_over_http(records, given, console))


def _in_memory(
    records: Sequence[Record], given: argparse.Namespace, domains: Domains | None = None
) -> Linked:
    """The pure algorithm over a store in memory."""
    from benchmarks.identity import memory
    from pix import model
    from pix.traits import traits

    chosen = model.load(given.model) if given.model else model.load()
    known = {r.key: traits(r.patient, domains) for r in records} if domains else None
    made: Linked = memory.run(records, chosen, known=known)
    return made


async def _over_http(
    records: Sequence[Record], given: argparse.Namespace, console: Console
) -> Outcome:
    """Through the public API: of a running exchange, or of one that is started for this."""
    if given.fhir:
        from exchange.token import Asked, token_of

        if not (given.client and given.key):
            raise SystemExit(
                "--fhir needs --client and --key: `throughline clients add` registers one."
            )

        async def token() -> str:
            return await asyncio.to_thread(
                token_of, Asked(given.client, SCOPE), given.key, given.fhir, given.key.parent
            )

        return (await _fed(given.fhir, token, records, given.connections, console))[0]
    from benchmarks import processes
    from benchmarks.__main__ import token_for

    environment = {"THROUGHLINE_TOKEN_SECONDS": "21600", "THROUGHLINE_LOG_LEVEL": "warning"}
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.exchange(Path(folder) / "data", environment) as running,
    ):
        bearer = await token_for(running)

        async def kept() -> str:
            return bearer

        outcome, fed = await _fed(running.fhir, kept, records, given.connections, console)
        reviewed = await feeding.reviewed(running.uri, fed)
        return replace(outcome, reviews=reviewed)


async def _fed(
    fhir: str,
    token: feeding.GetToken,
    records: Sequence[Record],
    connections: int,
    console: Console,
) -> tuple[Outcome, feeding.Fed]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = {
            "fed": progress.add_task("Feeding (ITI-104)", total=len(records)),
            "read back": progress.add_task(
                "Reading back (ITI-83)", total=len({r.key for r in records})
            ),
        }
        async with feeding.source(fhir, token, connections) as feeder:
            outcome, fed = await feeding.link(
                feeder, records, connections, lambda step, more: progress.advance(bars[step], more)
            )
    console.print(
        f"Fed {len(fed.ids)} in {fed.seconds:.0f} s ({len(records) / fed.seconds:.0f} records/s)"
    )
    for status, words in sorted(set(fed.refused))[:10]:
        console.print(f"[red]Refused with {status}:[/] {words}")
    return outcome, fed


if __name__ == "__main__":
    sys.exit(main())
