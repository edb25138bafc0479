"""Searches against a real MongoDB: what is found, in what order, page by page, and for whom."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.call import Account, Call, Caller, dumps, instant
from chassis.cursor import LIFE, _keys, cursor_key
from chassis.mongo import Doc, Mongo, Table
from chassis.pages import FEW
from chassis.search import NOTHING, indexes, matching, narrow, searchset
from governance.permit import Permit
from standards import dates
from standards.index import fold, moments, references, strings, tokens, uris
from standards.outcome import NOT_FOUND, Issue, Refused
from standards.rows import Needs, SearchParameter, Transaction, Unaudited
from standards.search import COMMON, escaped, parse

BASE = "https://exchange.example/fhir"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def slow(examples: int) -> settings:
    """Many examples, each with a few round trips to the database."""
    return settings(
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def _row(name: str, type_: Any, *modifiers: Any, targets: tuple[str, ...] = ()) -> SearchParameter:
    return SearchParameter(name, type_, "Thing", name, "", "", modifiers=modifiers, targets=targets)


ROWS = (
    _row("code", "token", "missing", "not"),
    _row("name", "string", "exact", "contains", "missing"),
    _row("date", "date", "missing"),
    _row("subject", "reference", "identifier", "missing", targets=("Patient", "Group")),
    _row("site", "uri"),
)
FIND = Transaction(
    code="TEST-1", name="Find things", service="searching", interaction="search-type", resource="Thing",
    routes=(("GET", "/Thing"),), scope=Needs("s", "Thing"), audit=Unaudited("a test"), see="", search=ROWS,
)  # fmt: skip

# -- things, and how a search matches them by the words of the specification -----------------------

CODES = ["a", "b", "a|b", r"a\b", "$where", "c,d"]
SYSTEMS = ["", "urn:s", "urn:s|t"]
NAMES = ["Ann", "Anna", "ánn", "O'Brien", "obrien", "Smith-Jones", "smith", "z", "Zoë", "a.b", "--"]
DATES = [
    "2019", "2020", "2020-02", "2020-02-29", "2020-03-01", "2020-02-29T23:59:59.999Z", "2021", "9999",
    "2020-02-29T23:30:00-01:00", "0001",
]  # fmt: skip
REFERENCES = [
    "Patient/1",
    "Patient/2",
    "Group/1",
    f"{BASE}/Patient/2/_history/4",
    "https://else/Patient/1",
]


def a_thing(rng: random.Random, id_: str) -> dict[str, Any]:
    """A resource of a made-up type, with elements missing, single and repeated."""

    def some(pool: Sequence[Any], most: int = 2) -> list[Any]:
        return [rng.choice(pool) for _ in range(rng.randint(0, most))]

    when: Any = rng.choice([None, rng.choice(DATES), rng.choice(DATES)])
    if when and rng.random() < 0.4:
        when = {"start": when} if rng.random() < 0.5 else {"end": when}
    return {
        "resourceType": "Thing",
        "id": id_,
        "code": [
            {"code": c} | ({"system": s} if s else {})
            for c, s in zip(some(CODES), [rng.choice(SYSTEMS) for _ in range(2)], strict=False)
        ],
        "name": some(NAMES),
        "date": when,
        "subject": [{"reference": r} for r in some(REFERENCES)]
        + [{"identifier": {"system": "urn:s", "value": v}} for v in some(CODES, 1)],
        "site": some(["urn:x", "urn:X", "urn:x/y"]),
        "at": NOW + timedelta(days=rng.randint(-400, 0)),
    }


def stored(thing: Mapping[str, Any]) -> Doc:
    shown = {k: v for k, v in thing.items() if k != "at" and v}
    return {
        "_id": thing["id"],
        "v": 1,
        "at": thing["at"],
        "b": dumps(shown),
        "ix": {
            "code": tokens(thing["code"]),
            "name": strings(thing["name"]),
            "date": moments(thing["date"]),
            "subject": references(thing["subject"], BASE),
            "site": uris(thing["site"]),
        },
    }


def span_of(thing: Mapping[str, Any], name: str) -> dates.Span | None:
    if name == "_lastUpdated":
        return dates.Span(thing["at"], thing["at"] + dates.TICK)
    held = thing["date"]
    if isinstance(held, Mapping):
        return dates.period(held.get("start"), held.get("end"))
    return dates.parse(held) if held else None


def date_holds(prefix: str, asked: dates.Span, held: dates.Span) -> bool:
    above = dates.Span(asked.hi, dates.END)
    below = dates.Span(dates.BEGIN, asked.lo)
    higher = above.overlaps(held) and held.hi > asked.hi
    lower = below.overlaps(held)
    return {
        "eq": asked.contains(held),
        "ne": not asked.contains(held),
        "gt": higher,
        "lt": lower,
        "ge": higher or asked.contains(held),
        "le": lower or asked.contains(held),
        "sa": held.lo >= asked.hi,
        "eb": held.hi <= asked.lo,
    }[prefix]


def parts(written: str) -> tuple[str | None, str]:
    """System and code of a value that holds no escapes of its own: tests write (system, code)."""
    system, bar, code = written.partition("§")
    return (system, code) if bar else (None, written)


def token_holds(written: str, codings: list[Mapping[str, Any]], key: str = "code") -> bool:
    system, code = parts(written)
    return any(
        (system is None or c.get("system", "") == system) and code in ("", c[key])
        for c in codings
        if system != "" or code
    )


def holds(thing: Mapping[str, Any], name: str, values: Sequence[str]) -> bool:
    """Does one clause hold for a thing? Written from search.html, knowing nothing of indexes."""
    name, _, modifier = name.partition(":")
    if modifier == "missing":
        if name == "name":
            return (not thing["name"]) == (values[0] == "true")
        return (not thing[name]) == (values[0] == "true")
    if name == "_id":
        return thing["id"] in values
    if name in ("date", "_lastUpdated"):
        held = span_of(thing, name)
        return held is not None and any(date_holds(v[:2], dates.parse(v[2:]), held) for v in values)
    if name == "code":
        found = any(token_holds(v, thing["code"]) for v in values)
        return not found if modifier == "not" else found
    if name == "name":
        test = {
            "": lambda n, v: fold(n).startswith(fold(v)),
            "contains": lambda n, v: fold(v) in fold(n),
            "exact": lambda n, v: n == v,
        }[modifier]
        return any(test(n, v) for n in thing["name"] for v in values)
    if name == "site":
        return any(v in thing["site"] for v in values)
    if modifier == "identifier":
        said = [r["identifier"] for r in thing["subject"] if "identifier" in r]
        return any(token_holds(v, said, "value") for v in values)
    targets = {
        r["reference"].removeprefix(BASE + "/").split("/_history")[0]
        for r in thing["subject"]
        if "reference" in r
    }
    for value in values:
        plain = value.removeprefix(BASE + "/").split("/_history")[0]
        if plain in targets or (
            "/" not in plain and targets & {f"Patient/{plain}", f"Group/{plain}"}
        ):
            return True
    return False


def sorted_ids(things: Sequence[Mapping[str, Any]], sort: str) -> list[str]:
    """Sorted by the words of the specification: absent last, ties by id in the last direction."""
    keys = sort.split(",")
    if not any(k.lstrip("-") == "_id" for k in keys):
        keys.append("-_id" if keys[-1].startswith("-") else "_id")
    ids = list(things)
    for key in reversed(keys):
        name, down = key.lstrip("-"), key.startswith("-")
        have = [t for t in ids if _sorts_as(t, name, down) is not None]
        lack = [t for t in ids if _sorts_as(t, name, down) is None]
        # stable from the least key on; without `reverse`, which would turn ties around
        ranks = sorted({_sorts_as(t, name, down) for t in have}, reverse=down)
        have.sort(key=lambda t: ranks.index(_sorts_as(t, name, down)))
        ids = have + lack
    return [t["id"] for t in ids]


def _sorts_as(thing: Mapping[str, Any], name: str, down: bool) -> Any:
    match name:
        case "_id":
            return thing["id"]
        case "_lastUpdated":
            return thing["at"]
        case "date":
            span = span_of(thing, "date")
            return span.lo if span else None
    folded = [fold(n).encode() for n in thing["name"]]
    return (max(folded) if down else min(folded)) if folded else None


# -- asking ---------------------------------------------------------------------------------------


def a_call(
    pairs: Sequence[tuple[str, str]],
    *,
    client: str = "ann",
    permit: Permit | None = None,
    strict: bool = True,
    now: datetime = NOW,
) -> Call:
    made = Call(
        row=FIND, method="GET", path={}, query=tuple(pairs), headers={}, base=BASE,
        caller=Caller(client_id=client), permit=permit or Permit(), now=now, request_id="r",
        account=Account(), strict=strict,
    )  # fmt: skip
    made.search = parse(
        pairs, ROWS, resource="Thing", strict=strict, max_count=100, base=BASE, now=now
    )
    return made


def link(bundle: Mapping[str, Any], relation: str) -> str | None:
    return next((x["url"] for x in bundle["link"] if x["relation"] == relation), None)


def ids(bundle: Mapping[str, Any]) -> list[str]:
    return [e["resource"]["id"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]


def pairs_of(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


async def ask(table: Table, *pairs: tuple[str, str], **how: Any) -> dict[str, Any]:
    at_call = {k: how.pop(k) for k in ("client", "permit", "strict", "now") if k in how}
    answer = await searchset(a_call(pairs, **at_call), table, **how)
    made: dict[str, Any] = orjson.loads(answer.body)
    return made


async def every_page(table: Table, *pairs: tuple[str, str], **how: Any) -> tuple[list[str], int]:
    bundle = await ask(table, *pairs, **how)
    found, total = ids(bundle), bundle["total"]
    while (url := link(bundle, "next")) is not None:
        bundle = await ask(table, *pairs_of(url), **how)
        assert bundle["total"] == total
        assert ids(bundle), "a next link leads to something"
        found += ids(bundle)
    return found, total


THINGS = [a_thing(random.Random(n), f"t{n:03d}") for n in range(90)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def things(mongo: Mongo) -> AsyncIterator[Table]:
    table = await mongo.create("searching", "things")
    await table.ensure(*indexes((*COMMON, *ROWS)))
    await table.insert_many([stored(t) for t in THINGS])
    yield table


def written(value: str) -> str:
    """A test value as it goes into a URL: (system § code) becomes system|code, all escaped."""
    return "|".join(escaped(p) for p in value.split("§"))


TOKENS = st.one_of(
    st.sampled_from(CODES),
    st.tuples(st.sampled_from(SYSTEMS), st.sampled_from(CODES)).map("§".join),
    st.sampled_from(SYSTEMS[1:]).map(lambda s: s + "§"),
)
PREFIXED = st.tuples(
    st.sampled_from(["eq", "ne", "lt", "gt", "le", "ge", "sa", "eb"]), st.sampled_from(DATES)
).map("".join)
TEXTS = st.sampled_from(
    [n for n in NAMES if fold(n)] + ["AN", "Ń", "o", "es", "th j", ".", "ő"]
).filter(fold)


def one(
    names: Sequence[str], values: st.SearchStrategy[str]
) -> st.SearchStrategy[tuple[str, list[str]]]:
    return st.tuples(st.sampled_from(list(names)), st.lists(values, min_size=1, max_size=3))


CLAUSES = st.one_of(
    one(["code", "code:not"], TOKENS),
    one(["name", "name:contains", "name:exact"], TEXTS),
    one(["date"], PREFIXED),
    one(["_lastUpdated"], PREFIXED),
    one(["subject"], st.sampled_from([*REFERENCES, "1", "2"])),
    one(["subject:identifier"], TOKENS),
    one(["site"], st.sampled_from(["urn:x", "urn:X", "urn"])),
    one(["_id"], st.sampled_from(["t001", "t002", "nobody"])),
    st.tuples(
        st.sampled_from(["code:missing", "name:missing", "date:missing", "subject:missing"]),
        st.sampled_from([["true"], ["false"]]),
    ),
)
SORTS = st.lists(
    st.sampled_from(["date", "name", "_lastUpdated", "_id"]), min_size=1, max_size=3, unique=True
).flatmap(lambda names: st.tuples(*(st.sampled_from([n, "-" + n]) for n in names)).map(",".join))


# -- what is found --------------------------------------------------------------------------------


@slow(150)
@given(clauses=st.lists(CLAUSES, min_size=0, max_size=3), sort=SORTS, size=st.integers(4, 100))
async def test_a_search_finds_what_the_specification_says_in_the_order_asked_for(
    things: Table, clauses: list[tuple[str, list[str]]], sort: str, size: int
) -> None:
    expected = [t for t in THINGS if all(holds(t, name, values) for name, values in clauses)]
    pairs = [(name, ",".join(map(written, values))) for name, values in clauses]
    found, total = await every_page(things, *pairs, ("_sort", sort), ("_count", str(size)))
    assert found == sorted_ids(expected, sort)
    assert total == len(expected)
    counted = await ask(things, *pairs, ("_count", "0"))
    assert counted["total"] == total
    assert "entry" not in counted


@pytest.mark.parametrize(
    "value", ["$where", '{"$ne":null}', '{"$gt":""}', "a.*", "^", "[object Object]"]
)
@pytest.mark.parametrize(
    "name", ["code", "name", "name:contains", "name:exact", "site", "_id", "subject:identifier"]
)
async def test_an_operator_in_a_value_is_only_a_value(things: Table, name: str, value: str) -> None:
    if not fold(value) and name in ("name", "name:contains"):
        with pytest.raises(Refused):
            await ask(things, (name, value))
        return
    expected = [t["id"] for t in THINGS if holds(t, name, [value])]
    assert sorted((await every_page(things, (name, written(value))))[0]) == expected


async def test_an_approximate_date_overlaps_what_lies_around_it(things: Table) -> None:
    asked = dates.parse("2020")
    found, _ = await every_page(things, ("date", "ap2020"))
    near = {t["id"] for t in THINGS if (s := span_of(t, "date")) and s.overlaps(asked)}
    assert near <= set(found)
    held = {t["id"]: span_of(t, "date") for t in THINGS}
    wide = dates.Span(datetime(2019, 5, 1, tzinfo=UTC), datetime(2021, 9, 1, tzinfo=UTC))
    assert all(span is not None and span.overlaps(wide) for i in found for span in [held[i]])


# -- the Bundle -----------------------------------------------------------------------------------


async def test_a_bundle_has_all_that_the_profiles_make_mandatory(things: Table) -> None:
    bundle = await ask(things, ("code", "a"), ("_count", "2"))
    assert bundle["type"] == "searchset"
    assert bundle["total"] == len([t for t in THINGS if holds(t, "code", ["a"])])
    assert bundle["meta"]["lastUpdated"] == instant(NOW)
    assert len(bundle["entry"]) == 2
    for held in bundle["entry"]:
        assert held["fullUrl"] == f"{BASE}/Thing/{held['resource']['id']}"
        assert held["search"] == {"mode": "match"}


async def test_an_empty_result_has_a_total_of_none_and_no_entries(things: Table) -> None:
    bundle = await ask(things, ("code", "nobody has this"))
    assert bundle["total"] == 0
    assert "entry" not in bundle
    assert link(bundle, "next") is None


async def test_the_self_link_is_the_search_that_was_done(things: Table) -> None:
    pairs = [("code", r"urn:s|a\|b"), ("name:contains", "é & +"), ("_count", "3")]
    url = link(await ask(things, *pairs), "self")
    assert url is not None
    assert pairs_of(url) == pairs
    assert "|" not in url


async def test_what_was_ignored_is_told_and_not_in_the_self_link(things: Table) -> None:
    bundle = await ask(
        things,
        ("code", "a"),
        ("colour", "red"),
        ("_include", "Thing:subject"),
        ("_count", "1"),
        strict=False,
    )
    assert link(bundle, "self") == f"{BASE}/Thing?code=a&_count=1"
    last = bundle["entry"][-1]
    assert last["search"]["mode"] == "outcome"
    assert [i["severity"] for i in last["resource"]["issue"]] == ["warning", "warning"]
    assert "colour" in last["resource"]["issue"][0]["diagnostics"]


async def test_an_include_is_refused_where_none_is_offered(things: Table) -> None:
    with pytest.raises(Refused) as refusal:
        await ask(things, ("_include", "Thing:subject"))
    assert refusal.value.status() == 400


async def test_included_resources_follow_the_matches_and_are_not_counted(things: Table) -> None:
    async def include(rows: Sequence[Doc]) -> list[bytes]:
        assert len(rows) == 1
        return [b'{"resourceType":"Patient","id":"1"}']

    bundle = await ask(things, ("_id", "t001"), ("_include", "Thing:subject"), include=include)
    assert bundle["total"] == 1
    assert bundle["entry"][1]["fullUrl"] == f"{BASE}/Patient/1"
    assert bundle["entry"][1]["search"]["mode"] == "include"
    assert "_include=Thing:subject" in (link(bundle, "self") or "")


async def test_a_story_may_show_documents_its_own_way_and_add_warnings(things: Table) -> None:
    bundle = await ask(
        things, ("_id", "t001"),
        show=lambda row: dumps({"resourceType": "Thing", "id": row["_id"], "version": row["v"]}),
        fields=("v",), issues=[Issue(NOT_FOUND, "targetSystem not found").warn()],
    )  # fmt: skip
    assert bundle["entry"][0]["resource"] == {"resourceType": "Thing", "id": "t001", "version": 1}
    assert bundle["entry"][1]["resource"]["issue"][0]["diagnostics"] == "targetSystem not found"


async def test_a_story_may_replace_the_filter_of_a_parameter(things: Table) -> None:
    swap = {"subject": {"_id": {"$in": ["t001", "t002"]}}}
    assert (await every_page(things, ("subject", "77"), replace=swap))[1] == 2
    assert (await every_page(things, ("subject", "77"), ("_id", "t001"), replace=swap))[1] == 1
    assert (await every_page(things, replace=swap))[1] == len(THINGS)
    assert (await every_page(things, where={"_id": {"$gte": "t050"}}))[1] == 40


# -- narrowing ------------------------------------------------------------------------------------


async def test_a_permit_narrows_the_entries_and_the_total(things: Table) -> None:
    groups = (frozenset({("code", "a")}), frozenset({("code", "b"), ("name:missing", "false")}))
    permit = Permit(("x",), groups)
    expected = [
        t
        for t in THINGS
        if holds(t, "code", ["a"])
        or (holds(t, "code", ["b"]) and holds(t, "name:missing", ["false"]))
    ]
    found, total = await every_page(things, ("_sort", "_id"), ("_count", "5"), permit=permit)
    assert found == [t["id"] for t in expected]
    assert total == len(expected)
    counted = await ask(things, ("_summary", "count"), permit=permit)
    assert counted["total"] == len(expected)


def test_a_restriction_that_is_not_understood_grants_nothing() -> None:
    assert narrow(Permit(), ROWS) == {}
    assert narrow(Permit(("x",), (frozenset({("colour", "red")}),)), ROWS) == NOTHING
    assert narrow(Permit(("x",), (frozenset({("_count", "1")}),)), ROWS) == NOTHING
    understood = Permit(("x",), (frozenset({("colour", "red")}), frozenset({("code", "a")})))
    assert narrow(understood, ROWS) == {"ix.code": "a"}


# -- paging ---------------------------------------------------------------------------------------


@slow(30)
@given(
    seed=st.integers(0, 10**9),
    sort=SORTS,
    size=st.integers(1, 7),
    steps=st.lists(st.sampled_from(["insert", "delete", "both", "none"]), max_size=25),
)
async def test_paging_never_skips_or_repeats_what_stays_while_others_come_and_go(
    mongo: Mongo, seed: int, sort: str, size: int, steps: list[str]
) -> None:
    rng = random.Random(seed)
    table = mongo.table("searching", f"paged{rng.getrandbits(60):x}")
    held = {t["id"]: t for t in (a_thing(rng, f"p{rng.getrandbits(40):x}") for _ in range(20))}
    await table.insert_many([stored(t) for t in held.values()])
    stayed, seen, known = set(held), [], dict(held)
    bundle = await ask(table, ("_sort", sort), ("_count", str(size)))
    moves = iter(steps)
    while True:
        assert bundle["total"] == len(held)
        seen += ids(bundle)
        url = link(bundle, "next")
        if url is None:
            break
        move = next(moves, "none")
        if move in ("insert", "both"):
            new = a_thing(rng, f"p{rng.getrandbits(40):x}")
            held[new["id"]] = known[new["id"]] = new
            await table.insert(stored(new))
        if move in ("delete", "both") and held:
            gone = rng.choice(sorted(held))
            del held[gone]
            stayed.discard(gone)
            await table.delete({"_id": gone})
        bundle = await ask(table, *pairs_of(url))
    await table.raw.drop()
    assert len(seen) == len(set(seen)), "nothing is given twice"
    assert stayed <= set(seen), "nothing that stays is left out"
    assert seen == sorted_ids([known[i] for i in seen], sort), "the order holds over all pages"


async def test_a_large_total_is_counted_once_and_again_when_the_permit_changes(
    mongo: Mongo,
) -> None:
    table = mongo.table("searching", "counted")
    rng = random.Random(7)
    first = a_thing(rng, "t") | {"date": "2020", "at": NOW}
    row = stored(first)
    codes = [tokens([{"code": "ab"[n % 2]}]) for n in range(FEW + 10)]
    rows = [{**row, "_id": f"t{n:05}", "ix": row["ix"] | {"code": c}} for n, c in enumerate(codes)]
    await table.insert_many(rows)
    page = await ask(table, ("_sort", "-date"), ("_count", "3"))
    assert page["total"] == FEW + 10
    await table.delete({"_id": "t00500"})
    url = link(page, "next") or ""
    later = await ask(table, *pairs_of(url))
    assert later["total"] == FEW + 10, "later pages carry what the first counted"
    urls = [e["fullUrl"].rpartition("/")[2] for e in later["entry"]]
    assert urls == [f"t{FEW + 10 - n:05}" for n in (4, 5, 6)]
    permit = Permit(("x",), (frozenset({("code", "a")}),))
    narrowed = await ask(table, *pairs_of(url), permit=permit)
    assert narrowed["total"] == (FEW + 10) // 2 - 1, "but never for whom it was not counted"
    again = await ask(table, *pairs_of(link(later, "first") or ""))
    assert again["total"] == FEW + 9, "and who starts again has it counted anew"
    await table.raw.drop()


async def test_later_pages_lead_back_to_the_first(things: Table) -> None:
    first = await ask(things, ("code", "a"), ("_count", "3"))
    second = await ask(things, *pairs_of(link(first, "next") or ""))
    again = await ask(things, *pairs_of(link(second, "first") or ""))
    assert ids(again) == ids(first)
    assert link(first, "first") is None
    third = await ask(things, *pairs_of(link(again, "next") or ""))
    assert ids(third) == ids(second)


async def test_a_link_tells_nobody_what_was_searched_for(things: Table) -> None:
    url = link(
        await ask(things, ("name:missing", "false"), ("code:not", "9990000018"), ("_count", "1")),
        "next",
    )
    assert url is not None
    assert "9990000018" not in url
    assert [k for k, _ in pairs_of(url)] == ["_cursor"]


async def _refusal(things: Table, cursor: str, **how: Any) -> str:
    with pytest.raises(Refused) as refusal:
        await ask(things, ("_cursor", cursor), **how)
    assert refusal.value.status() == 400
    assert refusal.value.issues[0].where == "_cursor"
    return refusal.value.issues[0].words


async def test_a_cursor_is_only_good_for_its_caller_its_hour_and_its_policy(things: Table) -> None:
    first = await ask(things, ("_count", "3"))
    ((_, cursor),) = pairs_of(link(first, "next") or "")
    assert "another caller" in await _refusal(things, cursor, client="bob")
    assert "expired" in await _refusal(things, cursor, now=NOW + LIFE)
    assert "rules changed" in await _refusal(things, cursor, permit=Permit(version="0"))


@given(place=st.integers(0, 10_000), change=st.characters(codec="utf-8"))
@slow(40)
async def test_a_changed_cursor_is_refused(things: Table, place: int, change: str) -> None:
    first = await ask(things, ("_count", "3"))
    ((_, cursor),) = pairs_of(link(first, "next") or "")
    place %= len(cursor) - 1  # the last letter may hold bits that mean nothing
    if change == cursor[place]:
        return
    assert "not made by this server" in await _refusal(
        things, cursor[:place] + change + cursor[place + 1 :]
    )


@given(text=st.text("abc-_=\x7fé", min_size=1, max_size=80))
@slow(40)
async def test_an_invented_cursor_is_refused(things: Table, text: str) -> None:
    assert "not made by this server" in await _refusal(things, text)


async def test_a_cursor_of_one_transaction_is_not_good_for_another(things: Table) -> None:
    first = await ask(things, ("_count", "3"))
    call = a_call(pairs_of(link(first, "next") or ""))
    call.row = replace(FIND, code="TEST-2")
    with pytest.raises(Refused):
        await searchset(call, things)


async def test_a_long_search_pages_too(things: Table) -> None:
    many = ",".join(f"code-number-{n}" for n in range(150))
    bundle = await ask(things, ("code:not", many), ("_count", "40"))
    assert len(ids(await ask(things, *pairs_of(link(bundle, "next") or "")))) == 40


async def test_processes_that_start_together_share_one_key(mongo: Mongo, mongod_uri: str) -> None:
    others = [Mongo(mongod_uri, prefix=mongo.prefix, pool=2) for _ in range(4)]
    try:
        keys = await asyncio.gather(*(cursor_key(m, "keyring") for m in others))
        assert len(set(keys)) == 1
        assert len(keys[0]) == 32
        assert _keys[others[0]]["keyring"] == keys[0]
    finally:
        for other in others:
            await other.close()


# -- the database's side --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pairs",
    [
        [("code", "a")],
        [("code", "urn:s|a,b")],
        [("name", "an")],
        [("name:exact", "Ann")],
        [("date", "2020-02")],
        [("date", "ge2020-02-29"), ("date", "le2020-03")],
        [("subject", "1")],
        [("_lastUpdated", "gt2025-06")],
        [("_id", "t001,t002")],
    ],
)
async def test_a_search_by_an_indexed_parameter_scans_no_collection(
    things: Table, pairs: list[tuple[str, str]]
) -> None:
    plan = await things.raw.database.command(
        "explain",
        {"find": things.name, "filter": matching(a_call(pairs))},
        verbosity="queryPlanner",
    )
    assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])


async def test_a_page_larger_than_one_reply_of_the_database_is_whole(mongo: Mongo) -> None:
    table = mongo.table("searching", "large")
    for n in range(18):
        body = dumps({"resourceType": "Thing", "id": f"l{n:02d}", "text": "x" * 1_000_000})
        await table.insert({"_id": f"l{n:02d}", "at": NOW, "b": body})
    bundle = await ask(table, ("_sort", "_id"), ("_count", "17"))
    assert ids(bundle) == [f"l{n:02d}" for n in range(17)]
    assert bundle["total"] == 18
    assert ids(await ask(table, *pairs_of(link(bundle, "next") or ""))) == ["l17"]


@asynccontextmanager
async def a_line_to(uri: str) -> AsyncIterator[tuple[str, set[asyncio.StreamWriter]]]:
    """A relay before the database, whose open connections can be cut."""
    host, port = urlsplit(uri).netloc.split(",")[0].rsplit("@")[-1].split(":")
    ends: set[asyncio.StreamWriter] = set()

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
        except ConnectionError:
            pass
        finally:
            sink.close()

    async def joined(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        inner_source, inner_sink = await asyncio.open_connection(host, int(port))
        ends.update((sink, inner_sink))
        await asyncio.gather(carry(source, inner_sink), carry(inner_source, sink))

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    try:
        yield (
            f"mongodb://127.0.0.1:{server.sockets[0].getsockname()[1]}/?directConnection=true",
            ends,
        )
    finally:
        server.close()
        for end in ends:
            end.close()


async def test_a_search_outlives_the_loss_of_its_connection(
    things: Table, mongo: Mongo, mongod_uri: str
) -> None:
    async with a_line_to(mongod_uri) as (uri, ends):
        other = Mongo(uri, prefix=mongo.prefix, pool=2)
        try:
            table = other.table("searching", "things")
            before = await ask(table, ("code", "a"))
            for end in list(ends):
                end.transport.abort()
            after = await ask(table, ("code", "a"))
            assert ids(after) == ids(before)
        finally:
            await other.close()


def test_an_index_may_be_led_by_the_subject_and_made_for_few() -> None:
    made = [i.document for i in indexes(ROWS, lead=("subject", "status"), only=("date", "code"))]
    assert [list(i["key"]) for i in made] == [
        ["subject", "status", "ix.code", "_id"],
        ["subject", "status", "ix.date.lo", "_id"],
    ]
    assert len({i["name"] for i in made}) == 2
