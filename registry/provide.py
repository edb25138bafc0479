"""ITI-65 Provide Document Bundle: take a submission, keep its bytes, then make it findable.

All or nothing. Bytes go first into the repository, where they wait under ids that nobody knows; one
MongoDB transaction then makes everything visible together with its AuditEvent. A crash in between
leaves bytes that the repository's sweep removes, and the same submission sent again succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pymongo.errors import PyMongoError

from affinity.pack import Pack
from chassis import search
from chassis.attachment import Attachment
from chassis.call import Answer, Call
from chassis.caller import challenge
from chassis.settings import Settings
from chassis.spool import by_token
from governance.permit import Denied, Permit
from registry.documents import SYSTEM, Check, Documents, MovedError, submitter
from registry.draft import drafted
from registry.elsewhere import located
from registry.neighbours import People, Vault
from registry.sent import Draft
from registry.standing import Known, persons, standing
from registry.submission import Making, Submission, registered
from standards.lens import text
from standards.mhd import DOCUMENT_PARAMETERS, ITI_65, LIST_PARAMETERS
from standards.outcome import BUSY, FORBIDDEN, Issue, Refused, refuse_if
from standards.rows import Needs

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Provide:
    """The story of ITI-65 over the store and its neighbours."""

    settings: Settings
    pack: Pack
    store: Documents
    people: People
    vault: Vault

    async def __call__(self, call: Call) -> Answer:
        """Register the submission in the body; answers 200 with a transaction-response."""
        return await self.submission(call, call.resource or {}, by_token(call.attachments))

    async def submission(
        self, call: Call, bundle: Mapping[str, Any], attachments: Mapping[str, Attachment]
    ) -> Answer:
        """Register a submission that has the form of ITI-65, whoever made the Bundle. `attachments`
        are its documents by the token that stands in their `Binary.data`.

        The call's token is asked for every entry's right, its account learns of patients and the
        SubmissionSet. Answers 200 with a transaction-response, one entry per entry of the Bundle.

        Raises `Refused`: 400 with every issue when the Bundle breaks the profile or does not fit what
        is registered, 403 when the scopes do not reach one of its entries, 503 when too many others
        change the same documents. A submission that is already here is answered as it was then.
        """
        draft = drafted(
            bundle,
            attachments,
            base=call.base,
            pack=self.pack,
            lenient=self.settings.codes == "lenient",
            ids=call.ids,
        )
        draft.issues += located(
            draft,
            self.pack,
            organisation=call.caller.organisation,
            system=call.caller.role == SYSTEM,
            ids=call.ids,
        )
        try:
            return await self._registered(call, draft)
        finally:
            for item in draft.documents:
                if item.content and item.binary and item.binary.slice == "FhirDocument":
                    item.content.close()

    async def _registered(self, call: Call, draft: Draft) -> Answer:
        permits = _permits(call, draft)
        refuse_if(draft.issues)
        people, known = await asyncio.gather(self.people.who(draft.asked), self.store.known(draft))
        whose, issues = persons(draft, people)
        call.account.patients += sorted({f"Patient/{w.record}" for w in whose.values()})
        earlier = _earlier(call, draft, known)
        if earlier is not None:
            return earlier
        refuse_if([*issues, *standing(draft, whose, known)])
        binaries = await self._deposited(draft, submitter(call.caller))
        making = Making(draft, whose, known, binaries, call.now, call.base, submitter(call.caller))
        try:
            made = await self._committed(call, making, permits)
        except Refused:
            await self.vault.release(list(binaries.values()))
            raise
        if isinstance(made, Answer):  # the same submission, sent twice at once: the other one won
            await self.vault.release(list(binaries.values()))
            return made
        with suppress(Refused, PyMongoError):  # the sweep asks what is referenced, and keeps it
            await self.vault.keep(_kept(made))
        return Answer(200, made.answer)

    async def _deposited(self, draft: Draft, owner: str) -> dict[int, str]:
        """The bytes of every Binary, waiting in the repository; their ids by entry number."""
        binaries: dict[int, str] = {}
        try:
            for item in draft.documents:
                if item.binary is not None and item.content is not None:
                    kind = text(item.resource, "content.attachment.contentType")
                    kept = await self.vault.deposit(kind, item.content, owner)
                    binaries[item.binary.number] = kept.binary_id
        except Refused:
            await self.vault.release(list(binaries.values()))
            raise
        return binaries

    async def _committed(
        self, call: Call, making: Making, permits: Mapping[str, Permit]
    ) -> Submission | Answer:
        """Commit; when another submission changed what this one rests on, look again and decide again."""
        for _ in range(_TRIES):
            made = registered(making)
            call.account.submission = f"List/{made.id}"
            call.account.sealed = None
            if call.row is not ITI_65:  # ITI-105 and ITI-106 are audited by the document they make
                call.account.data = [f"DocumentReference/{r['_id']}" for r in made.documents]
            try:
                await self.store.commit(made, call, self._checks(made, permits))
            except MovedError:
                call.account.sealed = None
                known = await self.store.known(making.draft)
                earlier = _earlier(call, making.draft, known)
                if earlier is not None:
                    return earlier
                refuse_if(standing(making.draft, making.whose, known))
                making = Making(
                    making.draft, making.whose, known, making.binaries, making.now, making.base,
                    making.submitter,
                )  # fmt: skip
                continue
            except Refused:
                call.account.sealed, call.account.submission = None, ""
                raise
            return made
        raise Refused(Issue(BUSY, "Others keep changing the same documents; send it again."))

    def _checks(self, made: Submission, permits: Mapping[str, Permit]) -> list[Check]:
        """A query-limited scope reaches only resources that it would find."""
        rows = (
            ("c", "DocumentReference", [r["_id"] for r in made.documents]),
            ("u", "DocumentReference", [c.before["_id"] for c in made.changed_documents]),
            ("c", "List", [r["_id"] for r in made.lists]),
            ("u", "List", [c.before["_id"] for c in made.changed_lists]),
        )
        checks = []
        for letter, resource, ids in rows:
            permit = permits.get(letter + resource)
            if permit is not None and permit.narrow and ids:
                parameters = (
                    DOCUMENT_PARAMETERS if resource == "DocumentReference" else LIST_PARAMETERS
                )
                within = search.narrow(permit, parameters)
                words = f"A {resource} of the submission lies outside the token's scope."
                refusal = _forbidden(words, letter, resource)
                checks.append(Check(self.store.current(resource), ids, within, refusal))
        return checks


def _permits(call: Call, draft: Draft) -> dict[str, Permit]:
    """What the token must reach: every kind of entry, and the update that replacing is."""
    whole = call.row is ITI_65  # of one document alone, the set and the Binary are made by us
    needed = {("c", "List")} if whole else set()
    if draft.documents:
        needed.add(("c", "DocumentReference"))
    if whole and (draft.parts.of("Binary") or draft.parts.of("FhirDocument")):
        needed.add(("c", "Binary"))
    if any(f.entry.method == "PUT" for f in draft.folders):
        needed.add(("u", "List"))
    if any(link.code == "replaces" for d in draft.documents for link in d.links):
        needed.add(("u", "DocumentReference"))
    literals = call.row.scope.literals if isinstance(call.row.scope, Needs) else ()
    made = {}
    for letter, resource in sorted(needed):
        permit = call.grant(Needs(letter, resource, literals))  # type: ignore[arg-type]
        if isinstance(permit, Denied):
            raise _forbidden(permit.words, letter, resource)
        made[letter + resource] = permit
    return made


def _forbidden(words: str, letter: str, resource: str) -> Refused:
    headers = challenge("insufficient_scope", words, f"system/{resource}.{letter}")
    return Refused(Issue(FORBIDDEN, words), headers=headers)


def _earlier(call: Call, draft: Draft, known: Known) -> Answer | None:
    """The answer that this very submission was given before, if it was."""
    row = known.registered.get(draft.submission.unique_id)
    if row is None or row["kind"] != "submission" or bytes(row["digest"]) != draft.digest:
        return None
    call.account.submission = f"List/{row['of']}"
    return Answer(200, bytes(row["answer"]))


def _kept(made: Submission) -> dict[str, str]:
    return {r["binary"]: r["_id"] for r in made.documents if "binary" in r}
