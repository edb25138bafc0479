"""The form of an OAuth request: read strictly, because what two readers read differently is a hole.

Only POST, only `application/x-www-form-urlencoded`, UTF-8, no parameter twice, none in the URL
(RFC 6749 §3.2). Everything else is `invalid_request`.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from starlette.requests import Request

from chassis.spool import read_plain
from standards.outcome import Refused

FORM = "application/x-www-form-urlencoded"
_LARGEST = 64 * 1024
_PARAMETERS = 64


async def read_form(request: Request) -> tuple[tuple[str, str], ...]:
    """The parameters in order, empty ones left out. Raises `InvalidRequestError`."""
    return parse_form(await read_body(request))


async def read_body(request: Request) -> bytes:
    """The form as it was sent. Raises `InvalidRequestError` for what is none, or has parameters in the
    URL as well."""
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != FORM or charset not in ("", "utf-8"):
        raise InvalidRequestError(f"Send the parameters as {FORM}.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequestError("The body must not be compressed.")
    if request.scope.get("query_string"):
        raise InvalidRequestError("Parameters belong into the body, not into the URL.")
    try:
        return await read_plain(request.receive, _LARGEST)
    except Refused as refusal:
        raise InvalidRequestError(refusal.issues[0].words) from None


def parse_form(body: bytes) -> tuple[tuple[str, str], ...]:
    """The parameters of a form body. Raises `InvalidRequestError`. PURE."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_PARAMETERS,
        )
    except ValueError:  # UnicodeDecodeError is one
        raise InvalidRequestError("The body is not a form in percent-encoded UTF-8.") from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise InvalidRequestError("A parameter is given more than once.")
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise InvalidRequestError("A parameter holds a NUL character.")
    return tuple((name, value) for name, value in pairs if value)
