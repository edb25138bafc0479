"""PURE. What ITI-66 asks of Folders and of SubmissionSets (MHD 2:3.66.4.1.3)."""

from __future__ import annotations

from dataclasses import replace

from standards.search import Search, Token

# Folders have neither a source nor a sourceId (digest §3.4).
OF_SETS = frozenset(("source", "source.given", "source.family", "sourceId"))


def asked(search: Search) -> Search:
    """The search as it is done: where only Folders are asked for, parameters that only SubmissionSets
    have are dropped without a word, and the self link shows that."""
    codes = [c for c in search.of("code") if not c.modifier]
    named = {v.code for c in codes for v in c.values if isinstance(v, Token)}
    if named != {"folder"}:
        return search
    return replace(
        search,
        clauses=tuple(c for c in search.clauses if c.parameter.name not in OF_SETS),
        used=tuple(p for p in search.used if p[0].partition(":")[0] not in OF_SETS),
    )
