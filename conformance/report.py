"""What a tester gets: a table on the terminal, JSON with every exchange, JUnit XML for a build server."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from lxml import etree
from rich.console import Console
from rich.markup import escape

from conformance.check import Result, Verdict

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.SKIP: "dim",
    Verdict.FAIL: "bold red",
    Verdict.FAULT: "bold magenta",
}


def line(result: Result) -> str:
    """One result as a line of rich markup."""
    colour = _COLOURS[result.verdict]
    told = f"[{colour}]{result.verdict.value:<5}[/] {escape(result.group)}/{escape(result.check)}: "
    told += escape(result.title)
    return told + "".join(f"\n      {escape(words)}" for words in result.words)


def summary(results: Sequence[Result], console: Console) -> None:
    """How many came to what."""
    counts = Counter(r.verdict for r in results)
    said = ", ".join(f"{counts[v]} {v.value}" for v in Verdict if counts[v])
    console.print(f"{len(results)} checks: {said}.")


def passed(results: Sequence[Result]) -> bool:
    """Nothing failed and the kit made no mistake."""
    return not any(r.verdict in (Verdict.FAIL, Verdict.FAULT) for r in results)


def as_json(results: Sequence[Result]) -> str:
    """Every result with its exchanges; secrets were struck out on the wire."""
    return json.dumps([asdict(r) for r in results], indent=1, ensure_ascii=False)


def as_junit(results: Sequence[Result], name: str) -> bytes:
    """JUnit XML: a test case a check."""
    suite = etree.Element(
        "testsuite",
        name=name,
        tests=str(len(results)),
        failures=str(sum(r.verdict is Verdict.FAIL for r in results)),
        errors=str(sum(r.verdict is Verdict.FAULT for r in results)),
        skipped=str(sum(r.verdict is Verdict.SKIP for r in results)),
    )
    for result in results:
        case = etree.SubElement(
            suite, "testcase", classname=result.group, name=f"{result.check}: {result.title}",
            time=f"{result.seconds:.3f}",
        )  # fmt: skip
        kind = {Verdict.FAIL: "failure", Verdict.FAULT: "error", Verdict.SKIP: "skipped"}
        if result.verdict in kind:
            told = etree.SubElement(case, kind[result.verdict], message="; ".join(result.words))
            told.text = result.see
    return bytes(etree.tostring(suite, xml_declaration=True, encoding="UTF-8", pretty_print=True))
