"""docs/hl7v2.md says what the rows say, and its messages are answered as it says."""

from __future__ import annotations

import re
from pathlib import Path

from affinity import partners
from chassis.settings import rows
from standards import hl7v2
from tests.hl7v2.makers import Hl7

PAGE = (Path(__file__).parents[2] / "docs" / "hl7v2.md").read_text()


async def test_every_sample_message_is_answered_as_the_page_says(hl7: Hl7) -> None:
    samples = re.findall(r"```hl7 (A[AER])\n(.*?)```", PAGE, re.S)
    assert len(samples) >= 7
    for expected, sample in samples:
        answer = await hl7.say(sample.strip().replace("\n", "\r"))
        assert answer.ack == expected, answer.raw
        if "Q23" in sample:
            assert answer.numbers() == [("9990999090", "NHS")]
        if "Q22" in sample:
            assert answer.numbers() == [("DOC100", "MRN-R0A")]


def test_every_event_error_field_setting_and_column_is_on_the_page() -> None:
    for row in hl7v2.MESSAGES:
        assert row.trigger in PAGE
        assert row.transaction in PAGE
    for error in hl7v2.ERRORS:
        assert f"| {error.code} | {error.words} |" in PAGE
    for path in hl7v2.QUERY_FIELDS:
        assert re.search(rf"[ .]{re.escape(path)}[ ,;]", PAGE), path
    for setting in rows():
        if setting.name.startswith("hl7v2_"):
            assert f"`{setting.flag}`" in PAGE, setting.flag
    for column in (*partners._SENDER, *partners._CONSUMER):
        assert f"`{column}`" in PAGE, column
