"""The record locator: retrieves on a caller's behalf what another organisation keeps [ITI-68].

The caller has been let through by the registry, as for a document that is held here. The exchange then
asks the organisation with its own credentials (`outside.py`) and passes the bytes on while it verifies
them (`passage.py`). What goes wrong before anything was sent is a 502 that says so; the document stays
listed. What goes wrong later ends the answer in the middle, is logged, and is audited a second time.

    up to 1 MB       verified whole, then answered
    larger           passed on as it comes, the last piece only when all is right
    a range          asked for as a range; its place and the size of the whole are held to what is known
    made on demand   nothing to verify but the largest size
    still to be      its first retrieval says what hash and size are: the registry learns them before
    assembled        the last piece goes out, and whoever comes later is held to them
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from affinity.pack import Pack
from affinity.sources import Source
from chassis import telemetry
from chassis.call import Answer, Call
from chassis.outbox import Writer
from chassis.settings import Settings
from repository import credentials
from repository.forms import file_name, form, in_base64, safe_type, wrapped
from repository.neighbours import Citation, Elsewhere, Registry
from repository.outside import Fetched, Outside, Resolve, UnreachableError, resolve
from repository.passage import DiffersError, Promise, verified
from repository.ranges import Span, span, unchanged
from standards.outcome import BAD_GATEWAY, GONE, Issue, Refused

VERIFIED_FIRST = 1024 * 1024
_MEDIA = {
    "json": "application/fhir+json;charset=utf-8",
    "xml": "application/fhir+xml;charset=utf-8",
}


class Locator:
    """Retrieves documents that are kept outside. Close it when done."""

    def __init__(
        self,
        settings: Settings,
        pack: Pack,
        registry: Registry,
        audit: Writer,
        *,
        resolving: Resolve = resolve,
    ) -> None:
        self._pack, self._registry, self._audit = pack, registry, audit
        self._limit = settings.max_document
        self._outside = Outside(
            credentials.load(settings.retrieval_credentials, pack.organisations),
            silence=settings.retrieval_wait,
            seconds=settings.retrieval_seconds,
            resolving=resolving,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._outside.close()

    async def retrieve(
        self,
        call: Call,
        binary_id: str,
        citation: Citation,
        away: Elsewhere,
        *,
        asked: str | None,
        guarded: Mapping[str, str],
    ) -> Answer:
        """The document as bytes or as a Binary resource. `asked` is the _format parameter, `guarded` are
        headers that keep it harmless.

        Raises `Refused`: 502 when its organisation does not give it or gives something else, 410 when
        it took the pointer back, 406 and 416 as for documents that are held here.
        """
        if away.withdrawn:
            words = (
                f"The organisation {away.organisation}, which keeps this document, took it back."
            )
            raise Refused(Issue(GONE, words))
        said = urlsplit(away.url)
        call.account.holder = (away.organisation, f"{said.scheme}://{said.netloc}")
        made = form(call.headers.get("accept", ""), asked, away.media)
        etag = f'"sha1-{away.sha1}"' if away.sha1 else ""
        headers = dict(guarded)
        if etag:
            headers["ETag"] = etag
            if made != "raw":
                headers["ETag"] = etag = 'W/"1"'
            if unchanged(call.headers, etag):
                return Answer(304, headers=headers)
        if made == "raw":
            return await self._bytes(call, binary_id, citation, away, headers, etag)
        kind = safe_type(away.media)
        size = 1 if away.size is None else away.size  # only whether there is content
        head, tail = wrapped(made, binary_id, citation.document, kind, away.at, size)
        headers |= {"Accept-Ranges": "none", "Content-Type": _MEDIA[made]}
        if away.size is not None:
            headers["Content-Length"] = str(len(head) + -(-away.size // 3) * 4 + len(tail))
        if call.method == "HEAD":
            return Answer(200, headers=headers, media=_MEDIA[made])
        pieces = await self._whole(call, binary_id, away)
        return Answer(
            200, headers=headers, media=_MEDIA[made], stream=in_base64(head, pieces, tail)
        )

    async def _bytes(
        self,
        call: Call,
        binary_id: str,
        citation: Citation,
        away: Elsewhere,
        headers: dict[str, str],
        etag: str,
    ) -> Answer:
        name = file_name(citation.document, away.media)
        headers |= {
            "Content-Type": safe_type(away.media),
            "Content-Disposition": f'attachment; filename="{name}"',
            "Accept-Ranges": "bytes" if away.size is not None else "none",
        }
        part = None
        if away.size is not None:
            part = span(call.headers, away.size, etag)
            headers["Content-Length"] = str(part.length)
        if call.method == "HEAD":
            return Answer(200, headers=headers, media=away.media)
        if part is None or not part.partial:
            pieces = await self._whole(call, binary_id, away)
            return Answer(200, headers=headers, media=away.media, stream=pieces)
        fetched = await self._asked(away, {"Range": f"bytes={part.start}-{part.stop - 1}"})
        if fetched.status == 200:  # no ranges are offered there, and a whole answer is always legal
            headers["Content-Length"] = str(away.size)
            promise = Promise(away.size, away.sha1, self._limit)
            pieces = await self._begun(call, away, fetched, promise)
            return Answer(200, headers=headers, media=away.media, stream=pieces)
        if not _right(fetched, part):
            await _closed(fetched)
            raise _refused(away, "sends another part of the document, or one of another size")
        headers["Content-Range"] = part.content_range
        pieces = await self._begun(call, away, fetched, Promise(part.length, "", self._limit))
        return Answer(206, headers=headers, media=away.media, stream=pieces)

    async def _whole(self, call: Call, binary_id: str, away: Elsewhere) -> AsyncIterator[bytes]:
        fetched = await self._asked(away, {})
        if fetched.status != 200:
            await _closed(fetched)
            raise _refused(away, f"answers with {fetched.status}")
        settled = self._settling(binary_id) if away.delayed else None
        promise = Promise(away.size, away.sha1, self._limit, settled)
        return await self._begun(call, away, fetched, promise)

    def _settling(self, binary_id: str) -> Callable[[str, int], Awaitable[None]]:
        """How the registry learns what a delayed assembly came to."""

        async def settle(sha1: str, size: int) -> None:
            if not size:
                raise DiffersError("has not assembled it yet: it sends no bytes")
            held = await self._registry.assembled(binary_id, sha1, size)
            if held is None:
                raise DiffersError("no longer points to it")
            if held != (sha1, size):
                raise DiffersError("has just given somebody else other bytes for it")

        return settle

    async def _asked(self, away: Elsewhere, headers: dict[str, str]) -> Fetched:
        source = self._source(away)
        try:
            return await self._outside.get(
                source, away.url, {"Accept": f"{safe_type(away.media)}, */*;q=0.1", **headers}
            )
        except UnreachableError as fault:
            raise _refused(away, str(fault)) from fault

    def _source(self, away: Elsewhere) -> Source:
        """Where the document is kept, if the community still agrees to it."""
        found = self._pack.source_of(away.url, away.organisation)
        if found is None or found.organisation != away.organisation or found.mechanism != "proxy":
            raise _refused(away, "is no longer on the list of those that are asked for documents")
        return found

    async def _begun(
        self, call: Call, away: Elsewhere, fetched: Fetched, promise: Promise
    ) -> AsyncIterator[bytes]:
        """The bytes, the first of them fetched already, small documents whole: what is wrong so far is
        still an answer."""
        coming = verified(fetched.pieces, promise)
        first: list[bytes] = []
        enough = VERIFIED_FIRST if promise.size is None or promise.size <= VERIFIED_FIRST else 0
        try:
            async for piece in coming:
                first.append(piece)
                enough -= len(piece)
                if enough < 0:
                    break
        except (UnreachableError, DiffersError) as fault:
            await _closed(fetched)
            raise _refused(away, str(fault)) from fault
        except BaseException:
            await _closed(fetched)
            raise
        return self._passed_on(call, away, fetched, first, coming)

    async def _passed_on(
        self,
        call: Call,
        away: Elsewhere,
        fetched: Fetched,
        first: list[bytes],
        coming: AsyncIterator[bytes],
    ) -> AsyncIterator[bytes]:
        try:
            for piece in first:
                yield piece
            async for piece in coming:
                yield piece
        except (UnreachableError, DiffersError, Refused) as fault:
            telemetry.log(telemetry.SOURCE, source=away.organisation, fault=str(fault))
            if call.audit_event is not None:  # the first AuditEvent says that it was given
                await self._audit.record(call.audit_event(call.account, 502))
            raise
        finally:
            await _closed(fetched)


def _right(fetched: Fetched, part: Span) -> bool:
    return fetched.headers.get("content-range", "").strip() == part.content_range


async def _closed(fetched: Fetched) -> None:
    close = getattr(fetched.pieces, "aclose", None)
    if close is not None:
        await close()


def _refused(away: Elsewhere, words: str) -> Refused:
    telemetry.log(telemetry.SOURCE, source=away.organisation, fault=words)
    return Refused(
        Issue(
            BAD_GATEWAY,
            f"The organisation {away.organisation}, which keeps this document, {words}. The document stays "
            "listed; try again later, or ask that organisation.",
        )
    )
