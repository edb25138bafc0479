"""The certificate of destruction: what was destroyed, on what ground, by which two, and the proof. PURE.

It names no person and quotes no document: whoever holds the index can say what it was about, and whoever
holds a copy of a document can show by its digest that it is one of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any

from chassis.call import dumps, instant

_STYLE = (
    "body{font:12pt/1.4 sans-serif;margin:2cm;color:#111}h1{font-size:18pt}table{border-collapse:collapse;"
    "width:100%}th,td{border:1px solid #555;padding:4pt;text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}th{background:#eee}"
)


def certified(disposal: Mapping[str, Any], base: str) -> dict[str, Any]:
    """The certificate of a disposal that is done, as JSON, with the digest of its own canonical form."""
    made = {
        "certificate": disposal["_id"],
        "repository": base,
        "ground": disposal["ground"],
        "approved": _signed(disposal["approved"]),
        "confirmed": _signed(disposal["confirmed"]),
        "finished": instant(disposal["finished"]),
        "documents": [_document(d) for d in disposal["documents"]],
    }
    return made | {"sha256": sha256(dumps(made)).hexdigest()}


def genuine(certificate: Mapping[str, Any]) -> bool:
    """Whether a certificate is as it was made, by its own digest."""
    rest = {k: v for k, v in certificate.items() if k != "sha256"}
    return certificate.get("sha256") == sha256(dumps(rest)).hexdigest()


def _signed(by: Mapping[str, Any]) -> dict[str, str]:
    told = {k: str(by[k]) for k in ("subject", "client", "name", "role", "organisation") if by[k]}
    return told | {"at": instant(by["at"]), "reason": by["reason"]}


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    key = row.get("key") or {}
    told = {
        "document": f"DocumentReference/{row['document']}",
        "subject": row["subject"],
        "retentionClass": row["class"],
        "rule": row["why"],
        "due": row["due"],
        "contentType": row["type"],
        "size": row["size"],
        "sha256": row["digest"],
        "keyFingerprint": key.get("fingerprint", ""),
        "masterKey": key.get("master", ""),
        "outcome": row["outcome"],
    }
    return {k: v for k, v in told.items() if v != ""}


def printable(certificate: Mapping[str, Any]) -> str:
    """The certificate as a page to print: HTML without scripts, links or outside parts."""
    rows = "".join(_row(d) for d in certificate["documents"])
    return (
        '<!doctype html><html lang="en-GB"><head><meta charset="utf-8">'
        f"<title>Certificate of destruction</title><style>{_STYLE}</style></head><body>"
        "<h1>Certificate of destruction</h1>"
        f"{_facts(certificate)}<h2>Documents</h2><table><thead><tr><th scope='col'>Document</th>"
        "<th scope='col'>Kept as</th><th scope='col'>Content</th><th scope='col'>Outcome</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        f"<p>SHA-256 of this certificate in its JSON form: {escape(certificate['sha256'])}</p>"
        "</body></html>"
    )


def _facts(certificate: Mapping[str, Any]) -> str:
    facts: Sequence[tuple[str, str]] = (
        ("Certificate", certificate["certificate"]),
        ("Repository", certificate["repository"]),
        ("Ground", certificate["ground"]),
        ("Approved", _by(certificate["approved"])),
        ("Confirmed", _by(certificate["confirmed"])),
        ("Finished", certificate["finished"]),
    )
    told = "".join(f"<tr><th scope='row'>{n}</th><td>{escape(v)}</td></tr>" for n, v in facts)
    return f"<table>{told}</table>"


def _by(signed: Mapping[str, str]) -> str:
    name = signed.get("name") or signed["subject"]
    body = f" for {signed['organisation']}" if signed.get("organisation") else ""
    return f"{name}{body}, {signed['at']}: {signed['reason']}"


def _row(document: Mapping[str, Any]) -> str:
    kept = f"{document.get('retentionClass', '')} {document.get('rule', '')}"
    if document.get("due"):
        kept += f" Due {document['due']}."
    content = (
        f"{document['contentType']}, {document['size']} bytes, SHA-256 {document.get('sha256', '')}"
    )
    outcome = f"{document['outcome']} Key {document.get('keyFingerprint', '')}"
    cells = (document["document"], kept, content, outcome)
    return "<tr>" + "".join(f"<td>{escape(c.strip())}</td>" for c in cells) + "</tr>"
