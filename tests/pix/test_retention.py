"""What is kept for a while and what for ever."""

from __future__ import annotations

from tests.pix.makers import Pix


async def kept(pix: Pix, name: str) -> set[int]:
    """After how many seconds documents of a collection go."""
    indexes = await getattr(pix.near.people, name).raw.index_information()
    return {i["expireAfterSeconds"] for i in indexes.values() if "expireAfterSeconds" in i}


async def test_events_are_kept_for_ninety_days_and_what_was_decided_for_ever(pix: Pix) -> None:
    assert await kept(pix, "events") == {90 * 24 * 3600}
    for name in ("records", "history", "links", "exclusions", "inclusions", "decisions"):
        assert await kept(pix, name) == set()
