"""FHIR search: query pairs into clauses, every mistake at once. Pure.

FHIR R4 search.html. Repeating a parameter means AND, a comma means OR. A clause holds values that
are typed by their parameter, so nothing a caller writes is ever more than a value: `$where` and
`{"$ne": 1}` are the text of a code that nobody has.

Strict (this server's default) refuses what it does not know; lenient (`Prefer: handling=lenient`)
leaves it out, and `Search.used` and `Search.ignored` say so. A value that makes no sense is refused
either way.

The file is longer than most because the grammar is one thing: split, it would be read together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal, cast

from standards import dates, subset
from standards.index import contact, fold, reference
from standards.outcome import INVALID, NOT_SUPPORTED, UNKNOWN_PARAMETER, Issue, Refused
from standards.rows import Inclusion, SearchParameter
from standards.subset import Subset

Prefix = Literal["eq", "ne", "lt", "gt", "le", "ge", "sa", "eb", "ap"]
Pair = tuple[str, str]

PREFIXES = frozenset(("eq", "ne", "lt", "gt", "le", "ge", "sa", "eb", "ap"))
LONGEST = 4096  # characters of one parameter's value
MOST = 200  # comma-separated values of one parameter
WIDEST = 32_768  # characters of all values together
DEFAULT_COUNT = 50
MOST_SORT_KEYS = 4
CURSOR = "_cursor"

_SEE = "FHIR R4 search.html"
_ID = SearchParameter(
    "_id", "token", "Resource", "_id", "Resource.id", f"{_SEE}#id", array=False,
    definition="http://hl7.org/fhir/SearchParameter/Resource-id", words="The id of the resource",
)  # fmt: skip
_LAST_UPDATED = SearchParameter(
    "_lastUpdated", "date", "Resource", "at", "Resource.meta.lastUpdated", f"{_SEE}#lastUpdated",
    array=False, definition="http://hl7.org/fhir/SearchParameter/Resource-lastUpdated",
    words="When the resource last changed",
)  # fmt: skip
COMMON: tuple[SearchParameter, ...] = (_ID, _LAST_UPDATED)

RESULT_PARAMETERS = (
    "_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude", CURSOR, "_format",
)  # fmt: skip
# FHIR R4 search.html#errors leaves it to servers, and to what clients prefer: a parameter that is passed
# over finds more than was asked for, so here a client has to say that it wants that.
_LEAVE_OUT = ' To have it left out, send the header "Prefer: handling=lenient".'
_ONCE = frozenset(("_count", "_sort", "_total", "_summary", "_elements", CURSOR))
_CONTACTS = frozenset(("telecom", "phone", "email"))


@dataclass(frozen=True, slots=True)
class Token:
    """`system|code`. `system` None: whatever the system; "": no system. `code` "": any code."""

    system: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference may be: its compared forms (several when a bare id fits several types)."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class When:
    """A date with its prefix. For `ap` the span is already widened."""

    prefix: Prefix
    span: dates.Span


Value = Token | Target | When | str | bool


@dataclass(frozen=True, slots=True)
class Clause:
    """One parameter of the query: any of its values may hold; all clauses must.

    Values are `Token` (token, and reference with `identifier`), `Target` (reference), `When` (date),
    `str` (string, uri, composite, special) or one `bool` (modifier `missing`).
    """

    parameter: SearchParameter
    modifier: str
    values: tuple[Value, ...]

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.name


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of the order: a parameter and its direction."""

    parameter: SearchParameter
    descending: bool

    @property
    def said(self) -> str:
        """As `_sort` writes it."""
        return ("-" if self.descending else "") + self.parameter.name


@dataclass(frozen=True, slots=True)
class Search:
    """A query that was understood.

    `used` are the pairs that took effect, for the self link; `ignored` are warnings about the rest
    (lenient only). `cursor` continues an earlier search and stands alone; once it has been opened,
    the other fields are those of that search and `after` is where its last page ended (() for its
    beginning). `total` is how many matched when that was counted, under a filter with the digest
    `counted`; None when it is still to be counted.
    """

    clauses: tuple[Clause, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT_COUNT
    only_count: bool = False
    include: tuple[str, ...] = ()
    revinclude: tuple[str, ...] = ()
    used: tuple[Pair, ...] = ()
    ignored: tuple[Issue, ...] = ()
    cursor: str = ""
    after: tuple[Any, ...] | None = None
    asked: datetime | None = None  # when its first page was asked for
    total: int | None = None
    counted: bytes = b""
    subset: Subset | None = None  # the part of each resource that is shown

    def of(self, name: str) -> tuple[Clause, ...]:
        """The clauses of one parameter, in the order they were given."""
        return tuple(c for c in self.clauses if c.parameter.name == name)

    def has(self, name: str) -> bool:
        """Whether some clause limits this parameter (`:missing` and `:not` do not count)."""
        return any(
            c.parameter.name == name and c.modifier not in ("missing", "not") for c in self.clauses
        )


def parse(
    pairs: Iterable[Pair],
    parameters: Sequence[SearchParameter],
    *,
    resource: str,
    strict: bool = True,
    max_count: int = 1000,
    default_count: int = DEFAULT_COUNT,
    sortable: Iterable[str] | None = None,
    base: str = "",
    now: datetime | None = None,
    inclusions: Sequence[Inclusion] = (),
) -> Search:
    """Understand the decoded query pairs of a search on `resource`, whose rows are `parameters`
    (`COMMON` is always added).

    `sortable` limits what `_sort` takes (default: every string and date, `_id`, `_lastUpdated`);
    `base` makes absolute references of this server relative; `now` is what `ap` approximates from;
    `inclusions` are what the search may bring along (none: any that its parameters could lead to).
    Raises `Refused` with every issue, each `where` its parameter's name.
    """
    reading = _Reading(_named(parameters), resource, strict, max_count, sortable, base, now)
    reading.inclusions = inclusions
    reading.count = min(default_count, max_count)
    for name, value in pairs:
        reading.take(name, value)
    return reading.done()


def named(parameters: Sequence[SearchParameter]) -> Mapping[str, SearchParameter]:
    """The rows by name, `COMMON` included."""
    return _named(parameters)


_TABLES: dict[int, tuple[Sequence[SearchParameter], dict[str, SearchParameter]]] = {}


def _named(parameters: Sequence[SearchParameter]) -> dict[str, SearchParameter]:
    """By identity, because hashing the rows would cost more than the search."""
    held = _TABLES.get(id(parameters))
    if held is not None and held[0] is parameters:
        return held[1]
    table = {p.name: p for p in (*COMMON, *parameters)}
    if isinstance(parameters, tuple) and len(_TABLES) < 256:
        _TABLES[id(parameters)] = (parameters, table)
    return table


class _Reading:
    """The state of one parse."""

    def __init__(
        self,
        rows: dict[str, SearchParameter],
        resource: str,
        strict: bool,
        max_count: int,
        sortable: Iterable[str] | None,
        base: str,
        now: datetime | None,
    ) -> None:
        self.rows, self.resource, self.strict = rows, resource, strict
        self.max_count, self.sortable, self.base, self.now = max_count, sortable, base, now
        self.clauses: list[Clause] = []
        self.sort: tuple[SortKey, ...] = ()
        self.count = 0
        self.only_count = False
        self.inclusions: Sequence[Inclusion] = ()
        self.parts: list[Pair] = []
        self.include: list[str] = []
        self.revinclude: list[str] = []
        self.used: list[Pair] = []
        self.issues: list[Issue] = []
        self.ignored: list[Issue] = []
        self.cursor = ""
        self.seen: set[str] = set()
        self.width = 0

    def done(self) -> Search:
        part = self.subset() if self.parts else None
        if self.width > WIDEST:
            self.wrong(
                "", f"The query is longer than {WIDEST:,} characters; ask for less at a time."
            )
        if self.cursor and len(self.seen) > 1:
            self.wrong(CURSOR, "A _cursor already carries its whole search; send it alone.")
        if self.issues:
            raise Refused(self.issues)
        return Search(
            tuple(self.clauses), self.sort, self.count, self.only_count, tuple(self.include),
            tuple(self.revinclude), tuple(self.used), tuple(self.ignored), self.cursor, subset=part,
        )  # fmt: skip

    def take(self, key: str, value: str) -> None:
        self.width += len(key) + len(value)
        if key == "_format":
            return None
        special = _RESULT.get(key)
        if special is not None:
            if key in _ONCE and key in self.seen:
                return self.wrong(key, f"{key} is given more than once; give it once.")
            self.seen.add(key)
            if not value:
                return self.wrong(key, f"{key} has no value.")
            if len(value) > (LONGEST if key != CURSOR else WIDEST):
                return self.wrong(key, f"The value of {key} is too long.")
            return special(self, value)
        self.seen.add(key)
        row, modifier = self.row(key)
        if row is None:
            return None
        if len(value) > LONGEST:
            return self.wrong(
                row.name, f"A value of {row.name} is longer than {LONGEST:,} characters."
            )
        if not value:
            return self.wrong(row.name, f"{row.name} has no value.")
        if not value.isprintable() and not _storable(value):
            return self.wrong(row.name, f"A value of {row.name} contains NUL or broken characters.")
        values = self.values(row, modifier, value)
        if values:
            kept = "" if modifier in row.targets else modifier
            self.clauses.append(Clause(row, kept, values))
            self.used.append((key, value))
        return None

    # -- names ----------------------------------------------------------------------------------

    def row(self, key: str) -> tuple[SearchParameter | None, str]:
        """The row and modifier that a key names; reports what is wrong with it."""
        row = self.rows.get(key)
        if row is not None:
            return row, ""
        name, _, modifier = key.partition(":")
        if "." in modifier:  # author:Practitioner.given, the chain with its type said
            kind, _, rest = modifier.partition(".")
            parent = self.rows.get(name)
            if parent is None or not parent.targets or kind in parent.targets:
                chained, _, modifier = rest.partition(":")
                name = f"{name}.{chained}"
        row = self.rows.get(name)
        if row is None and name.endswith(".identifier") and not modifier:
            parent = self.rows.get(name.removesuffix(".identifier"))
            if parent is not None and "identifier" in parent.modifiers:
                # the chained spelling of :identifier, which clients send
                return parent, "identifier"
        if row is None:
            self.unknown(key, name)
            return None, ""
        if modifier in row.modifiers or (modifier and modifier in row.targets):
            return row, modifier
        if not modifier:
            if not key.endswith(":"):
                return row, ""
            self.unsupported(row.name, f'"{_shown(key)}" has a colon and no modifier after it.')
            return None, ""
        offered = ", ".join(f":{m}" for m in (*row.modifiers, *row.targets)) or "none"
        self.unsupported(
            row.name,
            f'"{row.name}" does not take the modifier ":{_shown(modifier)}"; it takes {offered}.',
        )
        return None, ""

    def unknown(self, key: str, name: str) -> None:
        known = [*self.rows, *RESULT_PARAMETERS]
        near = get_close_matches(name[:64], known, 1, 0.5) or get_close_matches(
            name[:64].lower(), [k.lower() for k in known], 1, 0.5
        )
        if near:
            match = next(k for k in known if k.lower() == near[0].lower())
            help_ = f'Did you mean "{match}"?'
        else:
            help_ = "It takes " + ", ".join(sorted(self.rows)) + "."
        words = f'There is no search parameter "{_shown(key)}" for {self.resource}. {help_}'
        if self.strict:
            words += _LEAVE_OUT
        self.skip(Issue(UNKNOWN_PARAMETER, words, _shown(key)))

    # -- values ---------------------------------------------------------------------------------

    def values(self, row: SearchParameter, modifier: str, text: str) -> tuple[Value, ...]:
        """The values of one clause; () when something is wrong, which is then reported."""
        if modifier == "missing":
            if text in ("true", "false"):
                return (text == "true",)
            self.wrong(row.name, f"{row.name}:missing takes true or false.")
            return ()
        parts = _split(text, ",")
        if len(parts) > MOST:
            self.wrong(
                row.name,
                f"{row.name} has {len(parts)} values; at most {MOST} can be asked at once.",
            )
            return ()
        if "" in parts:
            self.wrong(row.name, f"{row.name} has an empty value between commas.")
            return ()
        made: list[Value] = []
        for part in parts:
            value = self.value(row, modifier, part)
            if value is None:
                return ()
            made.append(value)
        return tuple(made)

    def value(self, row: SearchParameter, modifier: str, part: str) -> Value | None:
        kind = row.type
        if kind == "token" or modifier == "identifier":
            return self.token(row, part)
        if kind == "date":
            return self.when(row, part)
        if kind == "reference":
            return self.target(row, modifier, unescaped(part))
        text = unescaped(part)
        if kind == "string" and modifier != "exact" and not fold(text):
            self.wrong(row.name, f"A value of {row.name} has no letter or digit to look for.")
            return None
        return text

    def token(self, row: SearchParameter, part: str) -> Token | None:
        if "|" in part:
            pieces = _split(part, "|", 1)
            if len(pieces) == 1:
                made = Token(None, unescaped(part))
            else:
                made = Token(unescaped(pieces[0]), unescaped(pieces[1]))
        else:
            made = Token(None, unescaped(part))
        if not made.system and not made.code:
            self.wrong(
                row.name, f'A value of {row.name} is only "|"; write code, system|code or system|.'
            )
            return None
        if row is _ID and made.system is not None:
            self.wrong("_id", "_id takes ids, which have no system.")
            return None
        if row.name in _CONTACTS and made.code:
            return Token(made.system, contact(made.code))
        return made

    def when(self, row: SearchParameter, part: str) -> When | None:
        prefix, text = "eq", part
        if part[:1].isalpha():
            prefix, text = part[:2], part[2:]
            if prefix not in PREFIXES:
                self.wrong(
                    row.name,
                    f'"{_shown(prefix)}" is no prefix of a date; there are eq ne lt gt le ge sa eb ap.',
                )
                return None
        fault = dates.problem(text)
        if fault is not None:
            self.wrong(row.name, fault)
            return None
        span = dates.parse(text)
        if prefix == "ap":
            span = _widened(span, self.now or datetime.now(UTC))
        return When(cast(Prefix, prefix), span)

    def target(self, row: SearchParameter, modifier: str, said: str) -> Target | None:
        if "://" in said or said.startswith("urn:"):
            said = reference(said, self.base)
            if modifier in row.targets and "/" in said and "://" not in said:
                return self._typed(row, modifier, said)
            return Target((said,))
        if "/" in said:
            return self._typed(row, modifier, reference(said))
        if modifier in row.targets:
            return Target((f"{modifier}/{said}",))
        if not row.targets:
            self.wrong(row.name, f"A value of {row.name} needs its type: Type/{_shown(said)}.")
            return None
        return Target(tuple(f"{t}/{said}" for t in row.targets))

    def _typed(self, row: SearchParameter, modifier: str, said: str) -> Target | None:
        kind, _, id_ = said.partition("/")
        allowed = (modifier,) if modifier in row.targets else row.targets
        if not id_ or "/" in id_ or (allowed and kind not in allowed):
            types = " or ".join(allowed) or "Type"
            self.wrong(
                row.name,
                f'"{_shown(said)}" is no reference that {row.name} can hold; write {types}/id.',
            )
            return None
        return Target((said,))

    # -- result parameters ----------------------------------------------------------------------

    def _count(self, value: str) -> None:
        if not (value.isascii() and value.isdigit()):
            return self.wrong("_count", "_count takes a whole number, 0 or more.")
        digits = value.lstrip("0")[:10]  # a longer number is as good as this one
        asked = int(digits or "0")
        self.count = min(asked, self.max_count)
        if asked == 0:
            self.only_count = True
        self.used.append(("_count", str(self.count)))
        return None

    def _sort(self, value: str) -> None:
        keys: list[SortKey] = []
        sound = True
        for said in value.split(","):
            name = said.removeprefix("-")
            row = self.rows.get(name)
            if row is None:
                near = get_close_matches(name[:64], list(self.rows), 1, 0.5)
                help_ = f' Did you mean "{near[0]}"?' if near else ""
                self.wrong(
                    "_sort", f'Nothing is called "{_shown(name)}" that could be sorted by.{help_}'
                )
                sound = False
            elif not self._sorts(row):
                self.unsupported(
                    "_sort", f'Sorting by "{name}" is not offered; sort by {self._orders()}.'
                )
                sound = False
            elif any(k.parameter is row for k in keys):
                self.wrong("_sort", f'_sort names "{name}" twice.')
                sound = False
            else:
                keys.append(SortKey(row, said.startswith("-")))
        if len(keys) > MOST_SORT_KEYS:
            self.wrong("_sort", f"_sort takes at most {MOST_SORT_KEYS} names.")
        elif sound:
            self.sort = tuple(keys)
            self.used.append(("_sort", value))

    def _sorts(self, row: SearchParameter) -> bool:
        if row is _ID or row is _LAST_UPDATED:
            return True
        if row.type not in ("string", "date"):
            return False
        return self.sortable is None or row.name in self.sortable

    def _orders(self) -> str:
        return ", ".join(sorted(n for n, r in self.rows.items() if self._sorts(r)))

    def _total(self, value: str) -> None:
        if value not in ("none", "estimate", "accurate"):
            self.wrong("_total", "_total takes none, estimate or accurate.")
        else:  # the profiles make Bundle.total mandatory, so it is always there and always exact
            self.used.append(("_total", value))

    def _subset(self, name: str, value: str) -> None:
        """`_summary` and `_elements` are weighed together, when all is read."""
        self.parts.append((name, value))

    def subset(self) -> Subset | None:
        """The part of each resource that is wanted."""
        part, issues = subset.wanted(self.resource, self.parts, searching=True)
        self.issues += issues
        if ("_summary", "count") in self.parts:
            self.only_count = True
        if part is not None and part.summary == "text" and (self.include or self.revinclude):
            words = (
                "_summary=text shows narratives alone; send no _include and _revinclude with it."
            )
            self.wrong("_summary", words)
        self.used += self.parts
        return part

    def _included(self, name: str, value: str) -> bool:
        source, _, rest = value.partition(":")
        path, _, target = rest.partition(":")
        if not source or not path:
            self.wrong(name, f"{name} takes Type:parameter or Type:parameter:Target.")
            return False
        if self.inclusions:
            offered = [i for i in self.inclusions if i.by == name]
            here = [i for i in offered if i.said == f"{source}:{path}"]
            if not any(not target or target in i.targets for i in here):
                many = ", ".join(i.said for i in offered) or "none"
                words = f"{name}={_shown(value)} is not offered; offered are: {many}."
                self.unsupported(name, words)
                return False
        elif name == "_include":
            row = self.rows.get(path)
            if source != self.resource or row is None or row.type != "reference":
                self.unsupported(name, f'"{_shown(value)}" leads from {self.resource} to nothing.')
                return False
            if target and row.targets and target not in row.targets:
                self.unsupported(name, f'{path} never leads to "{_shown(target)}".')
                return False
        self.used.append((name, value))
        return True

    def _include(self, value: str) -> None:
        if self._included("_include", value):
            self.include.append(value)

    def _revinclude(self, value: str) -> None:
        if self._included("_revinclude", value):
            self.revinclude.append(value)

    def _cursor(self, value: str) -> None:
        self.cursor = value

    # -- findings -------------------------------------------------------------------------------

    def wrong(self, where: str, words: str) -> None:
        self.issues.append(Issue(INVALID, words, where))

    def unsupported(self, where: str, words: str) -> None:
        self.skip(Issue(NOT_SUPPORTED, words, where))

    def skip(self, issue: Issue) -> None:
        """An error when strict; left out and told of when lenient."""
        if self.strict:
            self.issues.append(issue)
        else:
            self.ignored.append(issue.warn())


_RESULT: dict[str, Callable[[_Reading, str], None]] = {
    "_count": _Reading._count,
    "_sort": _Reading._sort,
    "_total": _Reading._total,
    "_summary": lambda reading, value: reading._subset("_summary", value),
    "_elements": lambda reading, value: reading._subset("_elements", value),
    "_include": _Reading._include,
    "_revinclude": _Reading._revinclude,
    CURSOR: _Reading._cursor,
}


def _widened(span: dates.Span, now: datetime) -> dates.Span:
    """`ap`: a tenth of the distance from now on either side, as FHIR recommends."""
    try:
        gap = abs(now - span.lo) / 10
        gap -= gap % dates.TICK
        return dates.Span(span.lo - gap, min(span.hi + gap, dates.END))
    except OverflowError:
        return dates.Span(dates.BEGIN, dates.END)


def _split(text: str, at: str, times: int = -1) -> list[str]:
    """Split at unescaped separators; escapes stay in the parts."""
    if "\\" not in text:
        return text.split(at, times)
    parts: list[str] = []
    start = place = 0
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        if text[place] == at:
            parts.append(text[start:place])
            start = place + 1
            if len(parts) == times:
                break
        place += 1
    parts.append(text[start:])
    return parts


def unescaped(text: str) -> str:
    r"""The text that `\,` `\|` `\$` `\\` stand for; any other backslash is itself."""
    if "\\" not in text:
        return text
    made: list[str] = []
    place = 0
    while place < len(text):
        if text[place] == "\\" and text[place + 1 : place + 2] in (",", "|", "$", "\\"):
            place += 1
        made.append(text[place])
        place += 1
    return "".join(made)


def escaped(text: str) -> str:
    r"""The spelling of a text as one search value: `,` `|` `$` and `\` get a backslash."""
    for mark in ("\\", ",", "|", "$"):
        text = text.replace(mark, "\\" + mark)
    return text


def _storable(text: str) -> bool:
    """No NUL, and no half of a surrogate pair, which no stored text can hold."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def _shown(text: str) -> str:
    """A caller's text, fit to be repeated in a message."""
    return "".join(c for c in text[:64] if c.isprintable())
