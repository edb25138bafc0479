"""How far long work is, as a terminal shows it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


def progress(console: Console) -> Progress:
    """Bars that say what, how much of it, how fast, since when and for how long still."""
    return Progress(
        TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), _Rate("{task.speed}"),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console,
    )  # fmt: skip


class _Rate(TextColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """The speed in words that do not jump about."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")
