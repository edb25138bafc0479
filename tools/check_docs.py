"""The documentation check: reference pages equal the rows, links lead somewhere, words stay clean.

python tools/check_docs.py           # says what is wrong and exits 1
python tools/check_docs.py --write   # rewrites the reference pages
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from chassis import settings, telemetry  # noqa: E402
from exchange.rows import ROWS  # noqa: E402
from standards.outcome import KINDS  # noqa: E402
from standards.rows import AuditPattern, Needs, Transaction  # noqa: E402

MADE = "<!-- Made from the rows by tools/check_docs.py; run `make docs` after changing a row. -->"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += [
        "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in row) + " |"
        for row in rows
    ]
    return "\n".join(lines)


def _scope(row: Transaction) -> str:
    if not isinstance(row.scope, Needs):
        return f"public: {row.scope.reason}"
    smart = [f"`system/{row.scope.resource}.{row.scope.letter}`"] if row.scope.letter else []
    return " or ".join(smart + [f"`{literal}`" for literal in row.scope.literals])


def _audit(row: Transaction) -> str:
    if not isinstance(row.audit, AuditPattern):
        return f"none: {row.audit.reason}"
    profile = row.audit.profile
    return f"{row.audit.action} {profile.rsplit('/', 1)[-1] if profile else row.audit.type[2]}"


def transactions() -> str:
    """docs/reference/transactions.md"""
    parts = ["# Transactions", "", MADE, "", "Every route of the product is one of these rows.", ""]
    parts.append(
        table(
            ("Code", "Name", "Service", "Routes", "Scope", "Audited as", "See"),
            (
                (
                    r.code,
                    r.name,
                    r.service,
                    "<br>".join(
                        f"`{m} {'/fhir' if r.surface == 'fhir' else ''}{p}`" for m, p in r.routes
                    ),
                    _scope(r),
                    _audit(r),
                    r.see,
                )
                for r in ROWS
            ),
        )
    )
    for row in ROWS:
        if row.search:
            parts += ["", f"## {row.code} {row.name}: search parameters", ""]
            parts.append(
                table(
                    ("Parameter", "Type", "Modifiers", "Searches", "See"),
                    (
                        (
                            f"`{p.name}`",
                            p.type,
                            " ".join(f"`:{m}`" for m in p.modifiers),
                            p.expression,
                            p.see,
                        )
                        for p in row.search
                    ),
                )
            )
    return "\n".join(parts) + "\n"


def errors() -> str:
    """docs/reference/errors.md"""
    head = (
        "What can go wrong, what it answers, and the XDS code where ITI TF-3 has one. MHD leaves the mapping"
        " between XDS codes and OperationOutcome open; this table is ours. `details.coding.system` is"
        " `urn:ihe:iti:tf3:4.2.4.1`. A rejected ITI-65 always answers 400, as its testers expect."
    )
    rows = (
        (k.name, str(k.http), f"`{k.code}`", k.xds or "", k.meaning, k.see) for k in KINDS.values()
    )
    return "\n".join(
        [
            "# Errors",
            "",
            MADE,
            "",
            head,
            "",
            table(("Kind", "HTTP", "issue.code", "XDS code", "Meaning", "See"), rows),
            "",
        ]
    )


def settings_page() -> str:
    """docs/reference/settings.md"""
    rows = (
        (
            f"`{s.flag}`",
            f"`{s.variable}`",
            f"`{s.default}`" if s.default else "",
            s.help + (" (secret)" if s.secret else ""),
        )
        for s in settings.rows()
    )
    head = "`throughline doctor` prints the effective ones, secrets masked."
    return "\n".join(
        [
            "# Settings",
            "",
            MADE,
            "",
            head,
            "",
            table(("Flag", "Variable", "Default", "Meaning"), rows),
            "",
        ]
    )


def events() -> str:
    """docs/reference/log-events.md"""
    rows = ((e.code, e.level, e.words, ", ".join(e.fields)) for e in telemetry.EVENTS)
    head = "A log line is one of these, as JSON on standard error, and can carry no other field."
    return "\n".join(
        [
            "# Log events",
            "",
            MADE,
            "",
            head,
            "",
            table(("Code", "Level", "Words", "Fields"), rows),
            "",
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "transactions": transactions,
    "errors": errors,
    "settings": settings_page,
    "log-events": events,
}


def check(write: bool) -> list[str]:
    """Everything that is wrong, in words; with `write`, the reference pages are made right first."""
    wrong = []
    for name, page in PAGES.items():
        path = ROOT / "docs" / "reference" / f"{name}.md"
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page())
        elif not path.is_file() or path.read_text() != page():
            wrong.append(f"{path.relative_to(ROOT)} differs from the rows; run `make docs`")
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for path in pages:
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in LINK.findall(text):
            if (
                "://" not in target
                and not target.startswith("mailto:")
                and not (path.parent / target).exists()
            ):
                wrong.append(f"{path.relative_to(ROOT)} links to {target}, which is not there")
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for path in decisions:
        if "How we would notice it broken" not in path.read_text():
            wrong.append(f"{path.relative_to(ROOT)} does not say how we would notice it broken")
    index = (
        (ROOT / "docs" / "house.md").read_text() if (ROOT / "docs" / "house.md").is_file() else ""
    )
    for package in sorted(p.parent.name for p in ROOT.glob("*/__init__.py")):
        if f"`{package}/`" not in index:
            wrong.append(f"docs/house.md does not say what {package}/ is for")
    return wrong


def main() -> int:
    """The command."""
    wrong = check("--write" in sys.argv[1:])
    for line in wrong:
        print(line)
    if not wrong:
        print(f"Documentation is in step with {len(ROWS)} rows.")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
