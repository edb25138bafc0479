"""An explanation drawn: a table whose last column is a waterfall, as one inline SVG. PURE.

Read it from the top: where two people picked at random stand, then every line moving the sum to the
right (for) or to the left (against), then where it ends, beside the thresholds. Nothing is said by
colour alone: bars carry their sign and number, those against are hatched, thresholds are named and of
different strokes. Title and description, table roles and real text serve readers that do not see it;
black on white serves print.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from pix.explaining import Explained, Line, number, words

_WIDTH, _MARGIN, _LINE, _PAD = 1180, 20, 17, 9
_CHAR = 7.0  # the width of a letter at 13px, on average
_BARS = (830, 1160)


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    x: int
    chars: int


_COLUMNS = (
    _Column("What was compared", 20, 20),
    _Column("The record says", 180, 21),
    _Column("The other says", 380, 21),
    _Column("How it came out", 580, 24),
)
_POINTS = 815  # where the numbers end

_BITS = "Weights are in bits: one more bit doubles the odds that the two are one person."
_STYLE = (
    ".wf{font:13px Arial,Helvetica,sans-serif;fill:#0b0c0c}.wf .h{font-weight:bold}"
    ".wf .t{font-size:17px;font-weight:bold}.wf .q{font-style:italic;fill:#484d50}"
    ".wf .p{fill:#1d5a96;stroke:#0b2f52;stroke-width:1}"
    ".wf .n{fill:url(#against);stroke:#7d1a0e;stroke-width:1.5}"
    ".wf .s{fill:#505a5f;stroke:#0b0c0c}.wf .c{stroke:#505a5f;stroke-width:1}"
    ".wf .g{stroke:#b1b4b6;stroke-width:1}.wf .v{fill:none;stroke:#0b0c0c;stroke-width:2}"
    ".wf .j{stroke:#0b0c0c;stroke-width:2.5}.wf .r{stroke:#0b0c0c;stroke-width:1.5;stroke-dasharray:7 4}"
    ".wf .f{stroke:#0b0c0c;stroke-width:1.5;stroke-dasharray:2 3}"
)
_HATCH = (
    '<defs><pattern id="against" width="7" height="7" patternTransform="rotate(45)" '
    'patternUnits="userSpaceOnUse"><rect width="7" height="7" fill="#ffffff"/>'
    '<line x1="0" y1="0" x2="0" y2="7" stroke="#a8301d" stroke-width="4"/></pattern></defs>'
)


def drawn(told: Explained) -> bytes:
    """The picture of an explanation, in UTF-8."""
    title = f"Why {told.left} and {told.right} are, or are not, one person"
    y, parts = 34, []
    parts.append(_text(_MARGIN, y, title, "t"))
    y += 6
    for line in _wrapped(words(told), 150):
        y += _LINE + 1
        parts.append(_text(_MARGIN, y, line))
    y += 34
    table, bottom = _table(told, y)
    parts += table
    vetoes, bottom = _vetoes(told, bottom)
    parts += vetoes
    bottom += 26
    parts.append(_text(_MARGIN, bottom, f"Model {told.model}. {_BITS}", "q"))
    height = bottom + 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" class="wf" role="graphics-document document" xml:lang="en-GB" '
        'aria-labelledby="wf-title" aria-describedby="wf-desc" style="max-width:100%;height:auto">'
        f'<title id="wf-title">{_clean(title)}</title><desc id="wf-desc">{_clean(words(told))}</desc>'
        f"<style>{_STYLE}</style>{_HATCH}"
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    )
    return (head + "".join(parts) + "</svg>").encode()


# -- the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    cells: tuple[str, str, str, str]
    points: float
    start: float
    end: float
    bold: bool = False
    quiet: bool = False

    @property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(_wrapped(cell, column.chars, most=5))
            for cell, column in zip(self.cells, _COLUMNS, strict=True)
        )

    @property
    def height(self) -> int:
        return max(1, *(len(cell) for cell in self.lines)) * _LINE + 2 * _PAD


def _rows(told: Explained) -> list[_Row]:
    comparison = told.comparison
    if comparison is None:
        return []
    at = comparison.prior
    rows = [_Row(("Two people at random", "", "", "where every comparison starts"), at, 0, at)]
    for line in told.lines:
        rows.append(_Row(_cells(line), line.points, at, at + line.points, quiet=line.masked))
        at += line.points
    rows.append(_Row(("Together", "", "", "the sum of all lines"), at, 0, at, bold=True))
    return rows


def _cells(line: Line) -> tuple[str, str, str, str]:
    said = line.words
    if abs(line.adjusted) >= 0.05:
        kind = "rare" if line.adjusted > 0 else "common"
        said = f"{said} ({kind}: {number(line.adjusted)})"
    return line.name, line.left or "–", line.right or "–", said


class _Scale:
    """Bits to pixels; everything that is drawn lies inside."""

    def __init__(self, values: Iterable[float]) -> None:
        held = [0.0, *values]
        self.low, self.high = min(held), max(held)
        self.span = max(self.high - self.low, 1.0)

    def x(self, value: float) -> float:
        left, right = _BARS
        return round(left + (value - self.low) / self.span * (right - left), 1)


def _table(told: Explained, y: int) -> tuple[list[str], int]:
    rows = _rows(told)
    if not rows:
        return [], y
    limits = (("join", told.limits.join, "j"), ("ask people", told.limits.review, "r"),
              ("leave", told.limits.fracture, "f"))  # fmt: skip
    scale = _Scale([v for r in rows for v in (r.start, r.end)] + [v for _, v, _ in limits])
    parts = ['<g role="table" aria-label="What was compared, and what it adds or takes in bits">']
    parts.append('<g role="row">')
    parts += [_text(c.x, y, c.title, "h", 'role="columnheader"') for c in _COLUMNS]
    parts.append(_text(_POINTS, y, "Bits", "h", 'role="columnheader" text-anchor="end"'))
    parts.append("</g>")
    top = y + 12
    at = top
    before: float | None = None
    for row in rows:
        parts += _row(row, at, scale, before)
        before = row.end
        at += row.height
    parts.append("</g>")
    parts += _thresholds(limits, scale, top, at)
    return parts, at + 62


def _row(row: _Row, y: int, scale: _Scale, before: float | None) -> list[str]:
    weight = "h" if row.bold else ""
    parts = [
        f'<line class="g" x1="{_MARGIN}" x2="{_BARS[1]}" y1="{y}" y2="{y}"/>',
        '<g role="row">',
    ]
    for place, (column, cell) in enumerate(zip(_COLUMNS, row.lines, strict=True)):
        style = "q" if row.quiet and place in (1, 2) else weight
        parts.append(_cell(column.x, y + _PAD + 12, cell, style))
    parts.append(
        _text(_POINTS, y + _PAD + 12, number(row.points), weight, 'role="cell" text-anchor="end"')
    )
    parts.append("</g>")
    left, right = sorted((scale.x(row.start), scale.x(row.end)))
    middle, tall = y + row.height / 2, 16
    kind = "s" if row.bold or before is None else ("p" if row.points >= 0 else "n")
    if before is not None and not row.bold:
        x = scale.x(before)
        parts.append(f'<line class="c" x1="{x}" x2="{x}" y1="{y - 4}" y2="{middle}"/>')
    wide = max(right - left, 1.5)
    parts.append(
        f'<rect class="{kind}" x="{left}" y="{middle - tall / 2}" width="{wide:.1f}" height="{tall}"/>'
    )
    return parts


def _thresholds(
    limits: Sequence[tuple[str, float, str]], scale: _Scale, top: int, bottom: int
) -> list[str]:
    parts = []
    for place, (name, value, style) in enumerate(sorted(limits, key=lambda t: t[1])):
        x, y = scale.x(value), bottom + 16 * (place + 1)
        parts.append(f'<line class="{style}" x1="{x}" x2="{x}" y1="{top}" y2="{y - 11}"/>')
        parts.append(_text(x - 4, y, f"{name}: {number(value)}", "h", 'text-anchor="end"'))
    return parts


def _vetoes(told: Explained, y: int) -> tuple[list[str], int]:
    parts = []
    for veto in told.comparison.vetoes if told.comparison else ():
        y += 10
        said = _wrapped(f"✕ Veto: {veto.words}. No weight outvotes it.", 150)
        tall = len(said) * _LINE + 16
        parts.append(
            f'<rect class="v" x="{_MARGIN}" y="{y}" width="{_WIDTH - 2 * _MARGIN}" height="{tall}"/>'
        )
        parts += [_text(_MARGIN + 12, y + 21 + n * _LINE, line, "h") for n, line in enumerate(said)]
        y += tall
    return parts, y


# -- small steps --------------------------------------------------------------------------------------


def _cell(x: float, y: float, said: Sequence[str], style: str) -> str:
    spans = "".join(
        f'<tspan x="{x}" y="{y + n * _LINE}">{_clean(line)}</tspan>' for n, line in enumerate(said)
    )
    kind = f' class="{style}"' if style else ""
    return f'<text role="cell"{kind}>{spans}</text>'


def _text(x: float, y: float, said: str, style: str = "", more: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x}" y="{y}"{kind}{" " + more if more else ""}>{_clean(said)}</text>'


def _clean(said: str) -> str:
    return escape("".join(c if c.isprintable() else " " for c in said))


def _wrapped(said: str, chars: int, most: int = 0) -> list[str]:
    """The text in lines of at most so many letters; a word that is longer is broken, and what exceeds
    `most` lines is cut with an ellipsis."""
    made: list[str] = []
    line = ""
    for word in said.split():
        rest = word
        while len(rest) > chars:
            if line:
                made.append(line)
                line = ""
            made.append(rest[: chars - 1] + "-")
            rest = rest[chars - 1 :]
        if line and len(line) + 1 + len(rest) > chars:
            made.append(line)
            line = rest
        else:
            line = f"{line} {rest}" if line else rest
    if line or not made:
        made.append(line)
    if most and len(made) > most:
        made = [*made[: most - 1], made[most - 1][: chars - 1] + "…"]
    return made
