"""The measures beside their targets, for people (rich) and for machines (JSON)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from benchmarks.identity.measures import Pairs, Report


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the accuracy table: what is measured, below what nobody ships, what is to be reached, and what the
    published method reached. `least`: the figure must be at least the target, else at most."""

    words: str
    of: Callable[[Report], float | None]
    refuse: float | None
    reach: float | None
    peer: float | None
    least: bool = True
    form: str = "{:.4f}"

    def verdict(self, report: Report) -> str:
        """ "reached", "short", "refuse", or "" where nothing was asked or measured."""
        value = self.of(report)
        if value is None or self.reach is None:
            return ""
        if self.refuse is not None and not self._meets(value, self.refuse):
            return "refuse"
        return "reached" if self._meets(value, self.reach) else "short"

    def _meets(self, value: float, bound: float) -> bool:
        return value >= bound if self.least else value <= bound


TARGETS: tuple[Target, ...] = (
    Target("pairwise precision", lambda r: r.all.precision, 0.995, 0.9995, 0.9961),
    Target("recall, automatic", lambda r: r.all.recall, 0.90, 0.965, 0.963),
    Target("recall, without records labelled as sealed", lambda r: r.unlabelled.recall, None, None, None),
    Target("pairwise F1", lambda r: r.all.f1, None, None, None),
    Target("people merged with somebody else, per 100,000", lambda r: r.merged_per_100k, 200, 60, 180, False, "{:.0f}"),
    Target("no NHS number: precision", lambda r: r.no_nhs.precision, None, 0.999, 0.996),
    Target("no NHS number: recall", lambda r: r.no_nhs.recall, None, 0.95, 0.939),
    Target("sealed identities joined", lambda r: r.sealed_joined, 0, 0, 2, False, "{:.0f}"),
    Target("twins merged per 100,000 twins", lambda r: r.twins_merged_per_100k, None, 2000, 9848, False, "{:.0f}"),
    Target("records sent to human review", lambda r: r.reviews, None, 0.02, None, False, "{:.2%}"),
    Target("true pairs missed by blocking", lambda r: r.missed, None, 0.01, None, False, "{:.2%}"),
    Target("recall of the worst-served group over best", lambda r: r.worst_group[1], None, 0.95, 0.86, True, "{:.3f}"),
    Target("recall of the worst-served agency over best", lambda r: r.worst_agency[1], None, None, None, True, "{:.3f}"),
    Target("candidates per record, mean", lambda r: r.candidates, None, None, None, False, "{:.2f}"),
    Target("candidates per record, most", lambda r: r.candidates_most or None, None, None, None, False, "{:.0f}"),
)  # fmt: skip
_COLOURS = {"reached": "green", "short": "yellow", "refuse": "red", "": "white"}


def comparison(reports: Sequence[Report], title: str) -> Table:
    """One column per method, and what was asked."""
    table = Table(title=title)
    table.add_column("Measure")
    for report in reports:
        table.add_column(report.method, justify="right")
    for name in ("refuse", "reach", "published Splink"):
        table.add_column(name, justify="right", style="dim")
    for target in TARGETS:
        cells = []
        for report in reports:
            value = target.of(report)
            text = "–" if value is None else target.form.format(value)
            cells.append(f"[{_COLOURS[target.verdict(report)]}]{text}[/]")
        asked = (target.refuse, target.reach, target.peer)
        bounds = ["" if v is None else target.form.format(v) for v in asked]
        table.add_row(target.words, *cells, *bounds)
    return table


def parts(report: Report, title: str, found: Iterable[tuple[str, Pairs]]) -> Table:
    """Precision and recall per naming group or agency, worst recall first."""
    table = Table(title=f"{report.method}: {title}")
    for name in (title, "true pairs", "precision", "recall"):
        table.add_column(name, justify="left" if name == title else "right")
    for name, pairs in sorted(found, key=lambda f: f[1].recall):
        table.add_row(name, str(pairs.true), f"{pairs.precision:.4f}", f"{pairs.recall:.4f}")
    return table


def as_json(report: Report) -> dict[str, Any]:
    """Everything, with the verdict per target."""
    rates = {
        name: {"true": p.true, "made": p.made, "precision": p.precision, "recall": p.recall, "f1": p.f1}
        for name, p in (("all", report.all), ("no_nhs", report.no_nhs), ("unlabelled", report.unlabelled), *_named(report))
    }  # fmt: skip
    whole = asdict(report)
    for name in ("all", "no_nhs", "unlabelled", "groups", "agencies"):
        del whole[name]
    verdicts = {t.words: {"value": t.of(report), "verdict": t.verdict(report)} for t in TARGETS}
    return whole | {"pairs": rates, "targets": verdicts}


def _named(report: Report) -> Iterable[tuple[str, Pairs]]:
    yield from ((f"group: {name}", pairs) for name, pairs in report.groups.items())
    yield from ((f"agency: {name}", pairs) for name, pairs in report.agencies.items())


def refused(reports: Iterable[Report]) -> list[str]:
    """The measures below which nobody ships, in words."""
    return [
        f"{report.method}: {target.words}"
        for report in reports
        for target in TARGETS
        if target.verdict(report) == "refuse"
    ]
