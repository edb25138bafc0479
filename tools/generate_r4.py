"""Write `standards/r4/structures.py` from fhir.resources' R4B metadata and our rows of differences.

    python tools/generate_r4.py            write the file
    python tools/generate_r4.py --check    say whether the checked-in file is what this would write

Run it when fhir.resources is upgraded or a row of `standards/r4/differences.py` changes; the test
`test_the_checked_in_structures_are_what_the_generator_writes` fails until you have. The notation of
one type is described at the top of the written file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from standards.r4 import differences, withdrawn

TARGET = Path(__file__).resolve().parent.parent / "standards" / "r4" / "structures.py"
ROOTS = frozenset({"Element", "Resource"})
NOT_FHIR = frozenset({"FHIRPrimitiveExtension", "FHIRResourceModel"})

HEAD = '''"""Every R4 (4.0.1) resource and datatype, one line each.

Written by tools/generate_r4.py: do not edit. A line is the type's base, then its own elements in
the order of the specification, each `name` + cardinality + `:` + type: nothing is 0..1, `!` 1..1,
`*` 0..*, `+` 1..*. A choice is `value[x]:string|Quantity`. Codes of a required binding follow the
type: `code=male,female`; `code=@resources` stands for all resource types, `code=@types` for all
types, `code=@defined` for all but the wildcards Any and Type.
"""

TYPES: dict[str, str] = {
'''


def main() -> int:
    """Write the file, or with --check compare it; the exit status says whether all is well."""
    text = render()
    if "--check" in sys.argv[1:]:
        same = TARGET.exists() and TARGET.read_text() == text
        print(
            "structures.py is current"
            if same
            else "structures.py is stale: run tools/generate_r4.py"
        )
        return 0 if same else 1
    TARGET.write_text(text)
    print(f"{TARGET.name}: {text.count(chr(10)) - HEAD.count(chr(10)) - 1} types")
    return 0


def render() -> str:
    """The whole text of structures.py."""
    lines = read_r4b()
    for name in [n for n in lines if _owner(n, differences.ONLY_R4B)]:
        del lines[name]
    for change in differences.CHANGES:
        lines[change.type] = _changed(lines[change.type], change)
    lines.update(withdrawn.TYPES)
    for (kind, element), codes in differences.CODES.items():
        lines[kind] = _recoded(lines[kind], kind, element, codes)
    rows = "".join(f"    {_quoted(n)}: {_quoted(lines[n])},\n" for n in sorted(lines))
    return HEAD + rows + "}\n"


def read_r4b() -> dict[str, str]:
    """Each R4B class of fhir.resources in the notation of structures.py."""
    package = importlib.import_module("fhir.resources.R4B")
    found: dict[str, Any] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"fhir.resources.R4B.{module_info.name}")
        for name, item in vars(module).items():
            own = isinstance(item, type) and item.__module__ == module.__name__
            if own and hasattr(item, "elements_sequence") and name not in NOT_FHIR:
                found[name] = item
    return {name: _line(item) for name, item in found.items()}


def _line(model: Any) -> str:
    name = model.__name__
    base = "" if name in ROOTS else model.__bases__[0].__name__
    inherited = set() if not base else set(model.__bases__[0].elements_sequence())
    return " ".join([base or "-", *_elements(model, inherited)])


def _elements(model: Any, inherited: set[str]) -> Iterator[str]:
    annotations: dict[str, str] = {}
    for ancestor in reversed(model.__mro__):
        annotations |= inspect.get_annotations(ancestor)
    fields = model.get_alias_mapping()
    choices: dict[str, list[str]] = {}
    marks: dict[str, str] = {}
    for element in model.elements_sequence():
        if element in inherited:
            continue
        field = fields[element]
        info = model.model_fields[field]
        extra = info.json_schema_extra or {}
        written = str(annotations[field])
        kind = _type(written)
        many = "List[" in written
        if element == "id" and model.__name__ == "Resource":
            kind = "id"
        if codes := extra.get("enum_values"):
            kind += "=" + ",".join(codes)
        if stem := extra.get("one_of_many"):
            choices.setdefault(f"{stem}[x]", []).append(kind)
            marks[f"{stem}[x]"] = "!" if extra["one_of_many_required"] else ""
            continue
        needed = info.is_required() or extra.get("element_required", False)
        choices[element] = [kind]
        marks[element] = ("+" if needed else "*") if many else ("!" if needed else "")
    for element, kinds in choices.items():
        yield f"{element}{marks[element]}:{'|'.join(kinds)}"


def _type(annotation: str) -> str:
    """`typing.List[fhirtypes.DateTimeType | None] | None` is `dateTime`."""
    named = re.search(r"fhirtypes\.(\w+)Type\b", annotation)
    name = (
        named.group(1) if named else "Boolean" if re.search(r"\bbool\b", annotation) else annotation
    )
    return differences.PRIMITIVES.get(name, name)


def _owner(name: str, owners: frozenset[str]) -> bool:
    """Is this type one of these, or a part of one of them? (`CitationSummary` is part of Citation.)"""
    return any(name == o or re.fullmatch(f"{o}[A-Z]\\w*", name) for o in owners)


def _changed(line: str, change: differences.Change) -> str:
    parts = line.split(" ")
    for at, part in enumerate(parts):
        if re.fullmatch(rf"{re.escape(change.element)}[!*+]?:\S+", part) and part != change.r4:
            parts[at] = change.r4
            return " ".join(parts)
    raise SystemExit(f"{change.type}.{change.element} no longer differs: the row is out of date")


def _recoded(line: str, kind: str, element: str, codes: str) -> str:
    parts = line.split(" ")
    for at, part in enumerate(parts):
        if re.fullmatch(rf"{re.escape(element)}[!*+]?:code(=\S*)?", part):
            parts[at] = part.split("=", 1)[0] + (f"={codes}" if codes else "")
            return " ".join(parts)
    raise SystemExit(f"{kind}.{element} is not a code here: the row is out of date")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    raise SystemExit(main())
