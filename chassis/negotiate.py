"""What the caller wants back: Accept, `_format`, Prefer. Pure.

FHIR R4 http.html §Content Types: `_format` beats Accept; `application/fhir+json|xml`, the tolerated
`application/json`, `text/json`, `application/xml`, `text/xml`, and the short `json`/`xml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from standards.outcome import INVALID, MEDIA_TYPE, NOT_ACCEPTABLE, Issue, Refused

Format = Literal["json", "xml"]

MEDIA: dict[Format, str] = {
    "json": "application/fhir+json;charset=utf-8",
    "xml": "application/fhir+xml;charset=utf-8",
}
_KNOWN: dict[str, Format] = {
    "application/fhir+json": "json",
    "application/json": "json",
    "text/json": "json",
    "json": "json",
    "application/fhir+xml": "xml",
    "application/xml": "xml",
    "text/xml": "xml",
    "xml": "xml",
}
_FORMATS: tuple[Format, ...] = ("json", "xml")
_WILD = {"*/*": 0, "application/*": 1, "text/*": 1}
_VERSION = "4.0"  # of FHIR; its patches are the same version (FHIR R4 http.html#version-parameter)


@dataclass(frozen=True, slots=True)
class Prefer:
    """The Prefer header: how strictly parameters are read and what a write answers with."""

    strict: bool = True
    wants: str = ""


def wanted_format(accept: str, format_parameter: str | None) -> Format:
    """The format to answer in. Raises `Refused(NOT_ACCEPTABLE)` when none that is wanted can be made."""
    if format_parameter is not None:
        # An unescaped plus in a URL arrives as a blank; FHIR asks servers to cope.
        found = _known(
            format_parameter.replace("fhir json", "fhir+json").replace("fhir xml", "fhir+xml")
        )
        if found is None:
            raise Refused(
                Issue(
                    NOT_ACCEPTABLE,
                    f"_format={_short(format_parameter)} cannot be produced; use json or xml.",
                    "_format",
                )
            )
        return found
    if not accept or accept == "*/*":
        return "json"
    plain = _KNOWN.get(accept)
    found = plain or _weighed(accept)
    if found is None:
        raise Refused(
            Issue(
                NOT_ACCEPTABLE,
                "Nothing the Accept header names can be produced; "
                "ask for application/fhir+json or application/fhir+xml.",
            )
        )
    return found


def _weighed(accept: str) -> Format | None:
    """The format that an Accept header would rather have: of each the most specific range counts
    (RFC 9110 §12.5.1), so that `*/*` does not bring back what was excluded by name. Of two that are
    wanted alike the one that was named counts, then the one named first."""
    held: dict[Format, tuple[int, float, int]] = {}  # how specific, how wanted, how early
    for place, part in enumerate(accept.split(",")):
        name, quality = _quality(part)
        if _other_version(part):
            continue
        named = _KNOWN.get(name)
        rank = 2 if named else _WILD.get(name, -1)
        for one in (named,) if named else _FORMATS if rank >= 0 else ():
            held[one] = max(held.get(one, (-1, 0.0, 0)), (rank, quality, -place))
    wanted = [(q, rank, place, f == "json", f) for f, (rank, q, place) in held.items() if q > 0]
    return max(wanted)[-1] if wanted else None


def accepts_fhir(accept: str, format_parameter: str | None) -> bool:
    """Whether the caller named a FHIR format outright (so that a Binary is wanted as a resource)."""
    if format_parameter is not None:
        return _known(format_parameter) is not None
    return any(
        _quality(part)[0] in ("application/fhir+json", "application/fhir+xml")
        and not _other_version(part)
        for part in accept.split(",")
    )


def wanted_media(
    accept: str, format_parameter: str | None, offered: Sequence[tuple[str, str]]
) -> str:
    """The media type beside FHIR that the caller would rather have, of those `offered` as (`_format`,
    media type); "" for FHIR. Only what is named outright counts, never `*/*`."""
    if format_parameter is not None:
        asked = format_parameter.replace(" ", "+")  # an unescaped plus arrives as a blank
        return next((media for short, media in offered if asked in (short, media)), "")
    said = dict(_quality(part) for part in accept.split(","))
    fhir = max((q for name, q in said.items() if name in _KNOWN), default=0.0)
    return next((m for _, m in offered if said.get(m, 0.0) > fhir), "")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header lets an answer be packed (RFC 9110 §12.5.3)."""
    if "gzip" not in accept_encoding:
        return False
    said = dict(_quality(part) for part in accept_encoding.split(","))
    return said.get("gzip", said.get("x-gzip", 0.0)) > 0


def body_format(content_type: str) -> Format:
    """The format of a body. Raises `Refused(MEDIA_TYPE)` for anything but FHIR JSON and XML in UTF-8."""
    rest = content_type.partition(";")[2]
    found = _known(content_type)
    if found is None:
        said = _short(content_type) if content_type else "no Content-Type"
        raise Refused(
            Issue(
                MEDIA_TYPE,
                f"The body came with {said}; send application/fhir+json or application/fhir+xml.",
            )
        )
    for parameter in rest.split(";"):
        key, _, value = parameter.strip().partition("=")
        if key.lower() == "charset" and value.strip('"').lower() not in (
            "utf-8",
            "utf8",
            "us-ascii",
        ):
            raise Refused(
                Issue(MEDIA_TYPE, f"Charset {_short(value)} is not taken; FHIR bodies are UTF-8.")
            )
    return found


def names(tags: str, etag: str) -> bool:
    """Whether If-Match or If-None-Match names this entity tag, compared weakly: all of ours are weak
    (RFC 9110 §8.8.3.2), and `"3"` and `W/"3"` are one version."""
    if tags.strip() == "*":
        return True
    return _opaque(etag) in [_opaque(tag) for tag in tags.split(",")]


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/").strip('"')


def prefer(header: str) -> Prefer:
    """The Prefer header. Unknown preferences are ignored (RFC 7240); a wrong `handling` is not."""
    strict, wants = True, ""
    for part in header.replace(";", ",").split(","):
        key, _, value = part.strip().partition("=")
        if key.lower() == "handling":
            if value not in ("strict", "lenient"):
                raise Refused(
                    Issue(
                        INVALID,
                        f"Prefer: handling={_short(value)} is unknown; use strict or lenient.",
                    )
                )
            strict = value == "strict"
        elif key.lower() == "return" and value in ("minimal", "representation", "OperationOutcome"):
            wants = value
    return Prefer(strict, wants)


def _known(name: str) -> Format | None:
    if _other_version(name):
        return None
    return _KNOWN.get(name.partition(";")[0].strip().lower())


def _other_version(said: str) -> bool:
    """Whether a media type asks for another version of FHIR than this server speaks."""
    if "fhirversion" not in said.lower():
        return False
    for parameter in said.split(";")[1:]:
        key, _, value = parameter.strip().partition("=")
        version = value.strip().strip('"')
        if key.strip().lower() == "fhirversion":
            return version != _VERSION and not version.startswith(_VERSION + ".")
    return False


def _quality(part: str) -> tuple[str, float]:
    name, *parameters = part.split(";")
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.strip().partition("=")
        if key == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return name.strip().lower(), quality


def _short(text: str) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in text[:60])
    return f"“{shown}”"
