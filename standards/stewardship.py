"""Stewardship: what people may decide about who is who, as rows. PURE.

Names follow HAPI MDM where the meaning is the same (PIX digest §5.3): `resourceId` is a source record
(a Patient), `goldenResourceId` a person (`TL-…`; there is no golden Patient, decision 0007),
`matchResult` and `linkSource` the state of a link and who made it. Who may call them, and when two must
agree, is decision 0014.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from standards import balp, capability
from standards.operation import MANY, Operation, Parameter, definition
from standards.rows import AuditPattern, Needs, Transaction

SCOPE = "throughline.steward"
SVG = "image/svg+xml"
_EVENTS = "https://throughline.example/fhir/CodeSystem/stewardship"
_DATE = "2026-11-25"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a steward decides so."""

    code: str
    words: str
    acts: tuple[str, ...]


_JOIN, _PART = ("link", "merge"), ("unlink", "not-duplicate", "unmerge")
_BOTH = (*_JOIN, *_PART, "reviews")
REASONS: dict[str, Reason] = {
    row.code: row
    for row in (
        Reason("document-seen", "An identity document or certificate was seen.", _BOTH),
        Reason("source-confirmed", "The agency that holds the record confirmed it.", _BOTH),
        Reason("person-confirmed", "The person, or who speaks for them, confirmed it.", _BOTH),
        Reason("records-compared", "The records were compared and leave no doubt.", _BOTH),
        Reason("twins", "They are twins or other children of one birth.", _PART),
        Reason("relatives", "They are relatives of like name: parent and child, cousins.", _PART),
        Reason("same-name", "They are strangers of one name.", _PART),
        Reason("number-misused", "A number of one was written down for the other.", _PART),
        Reason("entered-twice", "One agency entered the person twice.", _JOIN),
        Reason("name-changed", "The person changed their name.", _JOIN),
        Reason("wrong-decision", "An earlier decision was wrong.", _BOTH),
        Reason("more-evidence", "More must be known before this can be decided.", ("reviews",)),
        Reason("not-needed", "The question needs no answer any more.", ("reviews",)),
        Reason("court-order", "A court or tribunal ordered it.", (*_PART, "unseal")),
        Reason("protection", "It protects somebody: adoption, gender recognition, witness "
               "protection.", ("unlink", "not-duplicate", "unseal")),
        Reason("rights-request", "The person asked for it (access, rectification).", (*_BOTH, "unseal")),
        Reason("safeguarding", "Somebody is in danger and it must be known.", ("unseal",)),
        Reason("audit", "An incident or the access of others is looked into.", ("unseal",)),
    )
}  # fmt: skip


# -- parameters -----------------------------------------------------------------------------------


def _p(
    name: str, type_: str, words: str, *, least: int = 0, most: int = 1,
    codes: tuple[str, ...] = (), parts: tuple[Parameter, ...] = (), longest: int = 200,
) -> Parameter:  # fmt: skip
    return Parameter(name, type_, least, most, words, codes, parts, longest)  # type: ignore[arg-type]  # a literal in every row below


STATES = ("MATCH", "POSSIBLE_MATCH", "NO_MATCH")
SOURCES = ("AUTO", "MANUAL")
OUTCOMES = ("done", "already", "waiting")
_VERSION = "`/_history/n` behind it guards against what changed since it was read."
_RECORD = _p("resourceId", "string", f"The record: Patient/id. {_VERSION}", least=1)
_PERSON = _p("goldenResourceId", "string", f"The person: TL-…. {_VERSION}", least=1)
_COMMENT = _p(
    "comment", "string", "Why, in words that another steward understands years from now.",
    least=1, longest=2000,
)  # fmt: skip
_REVIEW = _p("review", "id", "The question of the queue that this answers.")
_COUNT = _p("_count", "integer", "How many at most, 1 to 200; 50 when left out.")
_CURSOR = _p(
    "_cursor", "string", "Where the next page begins; only as `next` gave it.", longest=4000
)


def _reason(act: str) -> Parameter:
    codes = tuple(r.code for r in REASONS.values() if act in r.acts)
    return _p("reason", "code", "Why, as a code that can be counted.", least=1, codes=codes)


def _why(act: str) -> tuple[Parameter, ...]:
    return (_reason(act), _COMMENT, _REVIEW)


_APPROVAL = _p(
    "approval", "part", "Who agreed, where two must.", most=MANY,
    parts=(_p("by", "string", "The steward.", least=1), _p("at", "instant", "When.", least=1)),
)  # fmt: skip
_LINK = _p(
    "link", "part", "One record and one person, and what is held of the two.", most=MANY,
    parts=(
        _p("goldenResourceId", "string", "The person, with the version it has now.", least=1),
        _p("sourceResourceId", "string", "The record, with its version.", least=1),
        _p("matchResult", "code", "What is held of them.", least=1, codes=STATES),
        _p("linkSource", "code", "Who made the link: the scoring, or people.", least=1, codes=SOURCES),
        _p("score", "decimal", "The weight in bits; none where nothing was compared."),
        _p("modelVersion", "string", "The matching model that scored it."),
        _p("linkUpdated", "instant", "When it became so.", least=1),
        _p("decision", "id", "The decision that made it."),
        _p("decidedBy", "string", "The steward who decided it."),
        _p("reason", "string", "Why, in words.", longest=4000),
    ),
)  # fmt: skip
_DONE = (
    _p("outcome", "code", "`already` when it was so before; `waiting` when a second steward must "
       "agree.", least=1, codes=OUTCOMES),
    _p("decision", "id", "The number under which the decision is kept."),
    _p("review", "id", "The question that waits for the second steward."),
    _p("why", "string", "Why a second steward must agree.", longest=1000),
    _APPROVAL,
    _p("goldenResourceId", "string", "The persons concerned, as they are now.", most=MANY),
    _LINK,
)  # fmt: skip
_PAGE = (
    _p("self", "uri", "This page.", least=1, longest=6000),
    _p("next", "uri", "The next page, when there is one.", longest=6000),
)

LINK = Operation(
    "link", "This record is this person's", True,
    "Moves a record to a person and keeps it there whatever is fed or scored afterwards.",
    (_RECORD, _PERSON, *_why("link")), _DONE, "PIX digest §5.2, §5.3 ($mdm-create-link)",
)  # fmt: skip
UNLINK = Operation(
    "unlink", "This record is not this person's", True,
    "Takes a record out of a person, or answers that a possible record is not the person's; it never "
    "comes (back) by itself. Two must agree where it parts records of different agencies.",
    (_RECORD, _PERSON, *_why("unlink")), _DONE, "PIX digest §5.2, §5.3 ($mdm-update-link NO_MATCH)",
)  # fmt: skip
NOT_DUPLICATE = Operation(
    "not-duplicate", "These two persons are two", True,
    "None of their records will ever be one person by itself.",
    (
        _PERSON,
        _p("resourceId", "string", f"The other person: TL-…. {_VERSION}", least=1),
        *_why("not-duplicate"),
    ), _DONE, "PIX digest §5.3 ($mdm-not-duplicate)",
)  # fmt: skip
MERGE = Operation(
    "merge", "These two persons are one", True,
    "All records of one person go to the other, whose number stays; the emptied number redirects.",
    (
        _p("fromGoldenResourceId", "string", f"The person that ends. {_VERSION}", least=1),
        _p("toGoldenResourceId", "string", f"The person that stays. {_VERSION}", least=1),
        *_why("merge"),
    ), _DONE, "PIX digest §5.3 ($mdm-merge-golden-resources)",
)  # fmt: skip
UNMERGE = Operation(
    "unmerge", "That merge was wrong", True,
    "Undoes a merge of persons, a bridge, or a merge that a source made: everything is as before it, "
    "and stays so. Name the decision, or the record or person that ended by it.",
    (
        _p("decision", "id", "The merge, by its number."),
        _p("resourceId", "string", "Or the record that was merged into another."),
        _p("goldenResourceId", "string", "Or the person whose records went to another."),
        *_why("unmerge"),
    ), _DONE, "PIX digest §5.2 rule 4, §5.10",
)  # fmt: skip
QUERY_LINKS = Operation(
    "query-links", "Links between records and persons", False,
    "The links of a record, of a person, or in a state; page by page, in a stable order.",
    (
        _p("resourceId", "string", "Only of this record."),
        _p("goldenResourceId", "string", "Only of this person."),
        _p("matchResult", "code", "Only in this state.", codes=STATES),
        _p("linkSource", "code", "Only made by the scoring, or by people.", codes=SOURCES),
        _COUNT,
        _CURSOR,
    ), (*_PAGE, _LINK), "PIX digest §5.3 ($mdm-query-links)",
)  # fmt: skip
_SET = (
    _p("goldenResourceId", "string", "A person.", least=1),
    _p("sourceResourceId", "string", "Its records.", most=MANY),
)
LINK_HISTORY = Operation(
    "link-history", "What was decided, and who was who", False,
    "Every decision about records or persons, newest first; with `at`, the persons as they were then.",
    (
        _p("resourceId", "string", "A record.", most=MANY),
        _p("goldenResourceId", "string", "A person.", most=MANY),
        _p("at", "dateTime", "Who was who at this moment."),
        _COUNT,
        _CURSOR,
    ),
    (
        *_PAGE,
        _p("at", "instant", "The moment that `person` is about."),
        _p("person", "part", "A person as it was then.", most=MANY, parts=_SET),
        _p("revision", "part", "One decision.", most=MANY, parts=(
            _p("decision", "id", "Its number.", least=1),
            _p("revisionTimestamp", "instant", "When.", least=1),
            _p("type", "code", "What was decided.", least=1),
            _p("linkSource", "code", "By the scoring, a source, or people.", least=1,
               codes=("AUTO", "SOURCE", "MANUAL")),
            _p("decidedBy", "string", "By whom: the steward, or the client that fed."),
            _p("role", "string", "In which role."),
            _p("organisation", "string", "For which organisation."),
            _p("reasonCode", "code", "Why, as a code."),
            _p("reason", "string", "Why, in words.", longest=4000),
            _p("score", "decimal", "The weight that it rested on, in bits."),
            _p("modelVersion", "string", "The matching model of then."),
            _p("undoes", "id", "The decision that it undid."),
            _APPROVAL,
            _p("before", "part", "A person before it.", most=MANY, parts=_SET),
            _p("after", "part", "A person after it.", most=MANY, parts=_SET),
        )),
    ), "PIX digest §5.3 ($mdm-link-history), §5.10",
)  # fmt: skip
VERDICTS = ("join", "same", "review", "vetoed", "apart", "tied", "sealed", "below")
EXPLAIN = Operation(
    "explain", "Why, or why not", False,
    "What speaks for and against a record and a person (or two records) being one: every field with "
    "both values and its points. With the record alone: why it is where it is. Also drawn, as "
    f"{SVG} (`_format=svg`).",
    (
        _RECORD,
        _p("goldenResourceId", "string", "The person to put it to."),
        _p("otherResourceId", "string", "Or the other record to lay beside it."),
    ),
    (
        _p("resourceId", "string", "The record.", least=1),
        _p("goldenResourceId", "string", "The person it was put to."),
        _p("otherResourceId", "string", "The record on the other side."),
        _p("matchResult", "code", "What is held of them now.", codes=STATES),
        _p("linkSource", "code", "By whom.", codes=SOURCES),
        _p("verdict", "code", "What the rules say of it today.", least=1, codes=VERDICTS),
        _p("explanation", "string", "All of it in plain words.", least=1, longest=8000),
        _p("asOf", "instant", "When it was scored: then, or now.", least=1),
        _p("modelVersion", "string", "The matching model.", least=1),
        _p("score", "decimal", "The total in bits."),
        _p("probability", "decimal", "The total as a chance."),
        _p("prior", "decimal", "What the total starts from: two people at random."),
        _p("joinThreshold", "decimal", "From here on they are joined."),
        _p("reviewThreshold", "decimal", "From here on people are asked."),
        _p("fractureThreshold", "decimal", "Below this a record leaves."),
        _p("field", "part", "One thing that was compared.", most=MANY, parts=(
            _p("name", "string", "What.", least=1),
            _p("level", "code", "How it came out.", least=1),
            _p("words", "string", "The same in words.", least=1),
            _p("points", "decimal", "What it adds or takes, in bits.", least=1),
            _p("frequencyAdjustment", "decimal", "How much of that is because the value is rare or "
               "common."),
            _p("left", "string", "The record's value.", longest=2000),
            _p("right", "string", "The other's value.", longest=2000),
            _p("masked", "boolean", "The values may not be shown to you."),
        )),
        _p("veto", "part", "A reason that no weight outvotes.", most=MANY, parts=(
            _p("code", "code", "Which.", least=1),
            _p("words", "string", "In words.", least=1),
            _p("see", "string", "Where the rule comes from."),
        )),
    ), "PIX digest §5.10; matching digest §4.4–4.6",
)  # fmt: skip
ACTIONS = ("claim", "release", "defer", "decide")
ANSWERS = ("same", "different", "agree", "refuse", "noted")
TYPES = ("conflict", "vetoed", "duplicate", "possible", "number", "kept", "approval", "unseal")
_ITEM = _p("item", "part", "One question.", most=MANY, parts=(
    _p("review", "id", "Its number.", least=1),
    _p("type", "code", "Its kind.", least=1, codes=TYPES),
    _p("priority", "decimal", "Impact × uncertainty, 0 to 10; the greater comes first.", least=1),
    _p("question", "string", "What is asked.", least=1),
    _p("reason", "string", "Why it is asked.", longest=4000),
    _p("sourceResourceId", "string", "The records it is about.", most=MANY),
    _p("goldenResourceId", "string", "The persons it is about.", most=MANY),
    _p("opened", "instant", "Since when.", least=1),
    _p("due", "instant", "Until when.", least=1),
    _p("overdue", "boolean", "Past its deadline."),
    _p("claimedBy", "string", "Who works on it."),
    _p("claimedUntil", "instant", "Until when it is theirs."),
    _p("deferredUntil", "instant", "Until when it rests."),
    _p("act", "code", "What a first steward proposed."),
    _APPROVAL,
))  # fmt: skip
_COUNTS = _p("count", "part", "How many questions of a kind, and how they stand.", most=MANY, parts=(
    _p("type", "code", "The kind.", least=1, codes=TYPES),
    _p("open", "integer", "Open.", least=1),
    _p("claimed", "integer", "Of these, claimed by somebody.", least=1),
    _p("deferred", "integer", "Of these, deferred.", least=1),
    _p("overdue", "integer", "Of these, past their deadline.", least=1),
    _p("oldest", "instant", "Since when the oldest is open."),
    _p("inTime", "integer", "Decided in time in the last 30 days.", least=1),
    _p("late", "integer", "Decided late in the last 30 days.", least=1),
))  # fmt: skip
REVIEWS = Operation(
    "reviews", "The queue of questions", False,
    "The open questions, the weightiest first, with counts against their deadlines.",
    (
        _p("type", "code", "Only this kind.", codes=TYPES),
        _p("mine", "boolean", "Only what you have claimed."),
        _p("overdue", "boolean", "Only what is past its deadline."),
        _COUNT,
        _CURSOR,
    ), (*_PAGE, _COUNTS, _ITEM), "PIX digest §5.10",
)  # fmt: skip
REVIEW = Operation(
    "review", "One question of the queue", True,
    "`claim` it for half an hour, `release` it, `defer` it, or `decide` it: `same` and `different` link "
    "or part what it is about, `agree` and `refuse` give or withhold the second signature, `noted` "
    "closes what needs nothing.",
    (
        _p("action", "code", "What to do.", least=1, codes=ACTIONS),
        _p("review", "id", "The question.", least=1),
        _p("answer", "code", "The decision.", codes=ANSWERS),
        _p("until", "dateTime", "Until when it is deferred."),
        _p("reason", "code", "Why, as a code; for `defer` and `decide`.", codes=tuple(
            r.code for r in REASONS.values() if {"reviews", *_JOIN, *_PART} & set(r.acts))),
        _p("comment", "string", "Why, in words; for `defer` and `decide`.", longest=2000),
    ), (*_DONE, replace(_ITEM, most=1)), "PIX digest §5.10",
)  # fmt: skip
UNSEAL = Operation(
    "unseal", "The second key to a sealed identity", True,
    "Two guardians who both ask for the same sealed record may look at it for an hour. Nothing about it "
    "changes.",
    (_RECORD, _reason("unseal"), _COMMENT),
    (
        _p("outcome", "code", "`waiting` for the second key, or `done`.", least=1, codes=OUTCOMES),
        _p("review", "id", "The question that waits for the second guardian."),
        _p("until", "instant", "Until when both may look."),
        _APPROVAL,
    ), "domain digest §1.6 P1–P3",
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    LINK, UNLINK, NOT_DUPLICATE, MERGE, UNMERGE, QUERY_LINKS, LINK_HISTORY, EXPLAIN, REVIEWS, REVIEW,
    UNSEAL,
)  # fmt: skip


# -- transactions -----------------------------------------------------------------------------------


def _audited(operation: Operation) -> AuditPattern:
    """Who decided or looked, about whom, and the whole question (with its reason) as the query."""
    return AuditPattern(
        balp.REST, "U" if operation.writes else "E",
        ((balp.RESTFUL, "operation", "operation"), (_EVENTS, operation.code, operation.title)),
        "110153", "110152", None, ("query", "patient"), see="domain digest §1.6 P10; security digest §5.12",
    )  # fmt: skip


def _row(operation: Operation) -> Transaction:
    path = f"/Patient/${operation.code}"
    return Transaction(
        code=operation.code,
        name=operation.title,
        service="pix",
        interaction="operation",
        resource="Patient",
        routes=(("POST", path),) if operation.writes else (("GET", path), ("POST", path)),
        scope=Needs("", "", (SCOPE,)),
        audit=_audited(operation),
        see=operation.see,
        body="parameters",
        parameters=tuple(p.name for p in operation.takes),
        operation=operation.code,
        definition=operation.canonical,
        media=(("svg", SVG),) if operation is EXPLAIN else (),
        max_body=64 * 1024,
        words=operation.words,
    )


ROWS: dict[str, Transaction] = {o.code: _row(o) for o in OPERATIONS}
TRANSACTIONS: tuple[Transaction, ...] = tuple(ROWS.values())

DEFINITIONS = {
    o.id: definition(o, version=capability.VERSION, date=_DATE) for o in OPERATIONS
}  # fmt: skip
