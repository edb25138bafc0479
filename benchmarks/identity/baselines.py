"""Other ways of linking the same records, to compare with.

`nhs_and_birth_date`: what the exchange did before it could match, equal NHS number and equal birth date.
`splink`: Splink's own levels on the same fields, trained by EM on the records themselves, pairs at or
above a probability that none of three pair vetoes forbids taken for clusters.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rapidfuzz.distance import JaroWinkler

from affinity.pack import NHS_NUMBER
from benchmarks.identity.measures import Outcome, components
from benchmarks.identity.names import plain
from benchmarks.identity.recording import Record

_NO_DATES = ("", "1900-01-01", "1970-01-01")


def nhs_and_birth_date(records: Iterable[Record]) -> Outcome:
    """PURE. Records are one person when NHS number and whole birth date are equal, and never otherwise."""
    started = time.process_time()
    clusters: dict[str, str] = {}
    for record in records:
        born, nhs = str(record.patient.get("birthDate", "")), number(record.patient, NHS_NUMBER)
        said = nhs and born not in _NO_DATES and len(born) == 10
        clusters[record.key] = f"{nhs}/{born}" if said else record.key
    keys = {key: [cluster] for key, cluster in clusters.items()}
    return Outcome(clusters, keys=keys, seconds=time.process_time() - started)


def number(patient: Mapping[str, Any], ending: str) -> str:
    """The first identifier whose system ends so, or ""."""
    for said in patient.get("identifier") or ():
        if str(said.get("system", "")).endswith(ending):
            return str(said.get("value") or "")
    return ""


def flat(record: Record) -> dict[str, Any]:
    """PURE. One record as the columns that Splink compares."""
    patient = record.patient
    name = (patient.get("name") or [{}])[0]
    given = [plain(g).upper() for g in name.get("given") or ()]
    address = (patient.get("address") or [{}])[0]
    postcode = str(address.get("postalCode") or "").replace(" ", "").upper()
    born = str(patient.get("birthDate") or "")
    telecom = {t["system"]: t["value"] for t in patient.get("telecom") or ()}
    return {
        "unique_id": record.key,
        "given": given[0] if given else None,
        "middle": given[1] if len(given) > 1 else None,
        "family": plain(str(name.get("family") or "")).upper() or None,
        "born": born if born not in _NO_DATES and len(born) == 10 else None,
        "postcode": None if postcode.startswith(("ZZ99", "NF1")) else postcode or None,
        "sex": patient.get("gender") if patient.get("gender") in ("male", "female") else None,
        "phone": telecom.get("phone", "").replace(" ", "").replace("+44", "0") or None,
        "email": telecom.get("email", "").lower() or None,
        "nhs": number(patient, NHS_NUMBER) or None,
        "upn": number(patient, "/Id/upn") or None,
        "nino": number(patient, "/Id/nino")[:8] or None,
        "pnc": number(patient, "/Id/pnc")[-9:] or None,
    }


def splink(records: Sequence[Record], probability: float = 0.99) -> Outcome:
    """Link with Splink on DuckDB. Raises ImportError without the extra `linkage`."""
    import pandas  # type: ignore[import-untyped]
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on
    from splink.internals.blocking_rule_creator import BlockingRuleCreator

    started = time.process_time()
    frame = pandas.DataFrame([flat(r) for r in records])
    rules: list[BlockingRuleCreator | dict[str, Any]] = [
        block_on("nhs"), block_on("upn"), block_on("nino"), block_on("pnc"), block_on("phone"),
        block_on("born", "postcode"), block_on("born", "substr(given, 1, 3)"),
        block_on("born", "substr(family, 1, 3)"), block_on("given", "family", "substr(postcode, 1, 4)"),
    ]  # fmt: skip
    settings = SettingsCreator(
        link_type="dedupe_only",
        blocking_rules_to_generate_predictions=rules,
        comparisons=[
            cl.NameComparison("given"),
            cl.NameComparison("family"),
            cl.ExactMatch("middle"),
            cl.DateOfBirthComparison("born", input_is_string=True),
            cl.PostcodeComparison("postcode"),
            *(cl.ExactMatch(f) for f in ("sex", "phone", "email", "nhs", "upn", "nino", "pnc")),
        ],
    )
    linker = Linker(DuckDBAPI().register(frame), settings, log_level=None)
    training = linker.training
    training.estimate_probability_two_random_records_match(
        [block_on("nhs"), block_on("given", "family", "born")], recall=0.7
    )
    training.estimate_u_using_random_sampling(max_pairs=2_000_000, seed=1)
    training.estimate_parameters_using_expectation_maximisation(block_on("born", "postcode"))
    training.estimate_parameters_using_expectation_maximisation(block_on("given", "family"))
    made = linker.inference.predict(threshold_match_probability=probability)
    found = made.as_pandas_dataframe()  # type: ignore[no-untyped-call]
    found = found[["unique_id_l", "unique_id_r"]]
    rows = {row["unique_id"]: row for row in frame.where(frame.notna(), None).to_dict("records")}
    links: dict[str, list[str]] = {}
    for place, (a, b) in enumerate(found.itertuples(index=False)):
        if not vetoed(rows[a], rows[b]):
            links.setdefault(a, []).append(str(place))
            links.setdefault(b, []).append(str(place))
    clusters = components([r.key for r in records], links)
    return Outcome(clusters, seconds=time.process_time() - started)


def vetoed(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """PURE. The three pair vetoes: two NHS numbers; twins; parent and child. A shared personal number
    lifts the last two."""
    if a["nhs"] and b["nhs"] and a["nhs"] != b["nhs"]:
        return True
    if any(a[n] and a[n] == b[n] for n in ("nhs", "upn", "nino", "pnc")):
        return False
    unlike = a["given"] and b["given"] and _unlike(a, b)
    if a["born"] and a["born"] == b["born"]:
        return bool(unlike)
    years = abs(int(a["born"][:4]) - int(b["born"][:4])) if a["born"] and b["born"] else 0
    return bool(unlike) or years > 2


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    mine, theirs = ([p for p in (x["given"], x["middle"]) if p] for x in (a, b))
    alike = any(
        (one[0] == other[0] and (len(one) == 1 or len(other) == 1))
        or JaroWinkler.similarity(one, other) >= 0.8
        for one in mine
        for other in theirs
    )
    swapped = a["given"] == b["family"] or b["given"] == a["family"]
    return not alike and not swapped
