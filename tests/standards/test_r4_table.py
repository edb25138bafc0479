"""The generated table of R4: current, whole, R4 and not R4B, and cheap to start with."""

from __future__ import annotations

import json
import subprocess
import sys

from standards.r4.accept import plainly_right
from standards.r4.check import an_ordinary_document, measure
from standards.r4.definition import all_types, definition, resource_types
from standards.r4.differences import CHANGES, CODES, ONLY_R4B
from standards.r4.structures import TYPES


def test_the_checked_in_structures_are_what_the_generator_writes() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate_r4.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_is_r4_and_not_r4b() -> None:
    assert len(resource_types()) == 146
    assert not ONLY_R4B & set(TYPES)
    assert {
        "MedicinalProduct",
        "EffectEvidenceSynthesis",
        "SubstanceSpecification",
    } <= resource_types()
    assert "valueMeta" in definition("Extension").elements
    assert "valueRatioRange" not in definition("Extension").elements
    for change in CHANGES:
        stem = change.element.removesuffix("[x]")
        assert any(e.path == stem for e in definition(change.type).elements.values()), change


def test_every_type_named_in_the_table_is_in_it() -> None:
    for name in TYPES:
        for element in definition(name).elements.values():
            assert element.primitive or element.type in TYPES, (name, element)


def test_required_codes_are_whole_lists() -> None:
    for name in TYPES:
        for element in definition(name).elements.values():
            assert not {"+", "etc.", "..."} & set(element.codes), (name, element.name)
    assert ("Encounter", "status") in CODES
    assert "entered-in-error" in definition("Encounter").elements["status"].codes
    assert {"Patient", "string", "Any"} <= all_types()


def test_starting_up_does_not_read_all_of_r4() -> None:
    code = (
        "import lxml.etree, msgspec, time; t = time.process_time(); import standards.r4.check;"
        "print(time.process_time() - t)"
    )
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(times) < 0.1


def test_the_ordinary_document_is_three_kilobytes_and_measured_on_the_fast_path() -> None:
    document = an_ordinary_document()
    assert 2500 < len(json.dumps(document)) < 3500
    assert plainly_right(document)
    taken = measure(200)
    assert taken["accept"] < taken["refuse"]
