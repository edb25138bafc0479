"""One HL7 v2 message, read. PURE.

The `hl7` library parts a message into segments and fields; what lies inside a field is parted here,
because the library's containers change their depth with what they hold, and its unescaping gives one
letter per byte (`\\XC3A9\\` is é in UTF-8). A reader asks `segment.value(3, 0, 4, 2)` and never meets a
container: what is absent is "". Reading never raises for anything that was sent: `read` hands back a
message, or the fault that says why it cannot be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import hl7  # type: ignore[import-untyped]  # it ships no types

from standards import hl7v2
from standards.hl7v2 import DATA_TYPE, REQUIRED, SEQUENCE, TABLE_VALUE, Fault, Location

STANDARD: Final = "|^~\\&"
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
# Control characters that no text of a person holds; line breaks come by \.br\ only.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_MOST_SEGMENTS = 500


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The five characters of MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


Field = tuple[tuple[tuple[str, ...], ...], ...]
"""Repetitions of components of subcomponents, unescaped."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: its name, and its fields in reading form (`fields[3]` is field 3)."""

    name: str
    fields: tuple[Field, ...]

    def field(self, number: int) -> Field:
        """All repetitions of a field; () when it is absent or empty."""
        found = self.fields[number] if number < len(self.fields) else ()
        return found if any(any(any(c) for c in r) for r in found) else ()

    def value(
        self, number: int, repetition: int = 0, component: int = 1, subcomponent: int = 1
    ) -> str:
        """One value, "" when it is absent. Components and subcomponents count from 1."""
        field = self.fields[number] if number < len(self.fields) else ()
        return part(field[repetition], component, subcomponent) if repetition < len(field) else ""

    def nulls(self, number: int) -> bool:
        """Whether the field says that what was known is no longer so (`""`)."""
        return self.field(number) == (((hl7v2.NULL,),),)


def part(repetition: Sequence[Sequence[str]], component: int, subcomponent: int = 1) -> str:
    """One value of a repetition, "" when it is absent; the null value counts as absent."""
    if component > len(repetition) or subcomponent > len(repetition[component - 1]):
        return ""
    found = repetition[component - 1][subcomponent - 1].strip()
    return "" if found == hl7v2.NULL else found


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its bytes as they came and its segments."""

    raw: bytes
    segments: tuple[Segment, ...]

    @property
    def msh(self) -> Segment:
        """The header; it is always there."""
        return self.segments[0]

    def all(self, name: str) -> Iterator[Segment]:
        """Every segment of a name, in order."""
        return (s for s in self.segments if s.name == name)

    def first(self, name: str) -> Segment:
        """The first segment of a name, an empty one when there is none."""
        return next(self.all(name), Segment(name, ()))

    @property
    def type(self) -> str:
        """MSH-9.1."""
        return self.msh.value(9)

    @property
    def trigger(self) -> str:
        """MSH-9.2."""
        return self.msh.value(9, component=2)

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.msh.value(10)

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self.msh.value(12)

    @property
    def sender(self) -> tuple[str, str]:
        """Sending application and facility (MSH-3, MSH-4), by their namespace or universal id."""
        return tuple(self.msh.value(n) or self.msh.value(n, component=2) for n in (3, 4))  # type: ignore[return-value]  # two of them

    @property
    def receiver(self) -> tuple[str, str]:
        """Receiving application and facility (MSH-5, MSH-6)."""
        return tuple(self.msh.value(n) or self.msh.value(n, component=2) for n in (5, 6))  # type: ignore[return-value]  # two of them


def read(raw: bytes) -> tuple[Message | None, tuple[Fault, ...]]:
    """The message of these bytes, with what is wrong about the way it is written.

    None, with one fault, when there is no header to answer to. With a header there is always a message,
    so that the answer can name its control id, whatever else is wrong.
    """
    text, faults = _text(raw)
    text = _breaks(text)
    if not text.startswith("MSH"):
        words = "A message begins with an MSH segment; this one does not."
        return None, (Fault(SEQUENCE, words, Location("MSH"), "AR"),)
    delimiters = _delimiters(text)
    if delimiters is None:
        words = "MSH-1 and MSH-2 must be five different characters; send MSH|^~\\&."
        return None, (Fault(DATA_TYPE, words, Location("MSH", 1, 2), "AR"),)
    codec = hl7v2.CHARSETS.get(_charset(text, delimiters), "utf-8")
    try:
        parted = hl7.parse(text)
        lines = [[str(field) for field in segment] for segment in parted]
    except (hl7.HL7Exception, ValueError, IndexError, AssertionError):
        # The library gives up on some broken headers; the answer still has to name the message.
        lines = [line.split(delimiters.field) for line in text.split("\r")]
        lines[0] = [lines[0][0], delimiters.field, *lines[0][1:]]
    segments, more = _segments(lines, delimiters, codec)
    return Message(raw, segments), (*faults, *more)


def _segments(
    lines: Sequence[Sequence[str]], delimiters: Delimiters, codec: str
) -> tuple[tuple[Segment, ...], tuple[Fault, ...]]:
    made: list[Segment] = []
    faults: list[Fault] = []
    if len(lines) > _MOST_SEGMENTS:
        words = f"A message may have {_MOST_SEGMENTS} segments; this one has {len(lines)}."
        faults.append(Fault(SEQUENCE, words, Location("MSH"), "AR"))
    for line in lines[:_MOST_SEGMENTS]:
        if not line or line == [""]:
            continue
        name = line[0].strip()
        if not _NAME.fullmatch(name):
            words = "A segment begins with a name of three letters and digits."
            faults.append(Fault(SEQUENCE, words, Location(made[-1].name if made else "MSH")))
            continue
        sequence = sum(s.name == name for s in made) + 1
        if name == "MSH" and made:
            faults.append(Fault(SEQUENCE, "A message has one MSH segment.", Location("MSH", 2)))
            continue
        fields = tuple(_field(text, delimiters, codec) for text in line)
        if name == "MSH":
            verbatim: Field = (((delimiters.field,),),)
            fields = (fields[0], verbatim, (((line[2] if len(line) > 2 else "",),),), *fields[3:])
        faults += _controls(name, sequence, fields)
        made.append(Segment(name, fields))
    return tuple(made), tuple(faults)


def _controls(name: str, sequence: int, fields: Sequence[Field]) -> Iterator[Fault]:
    for number, field in enumerate(fields):
        if any(_CONTROL.search(s) for r in field for c in r for s in c):
            words = "This field holds control characters; a line break is written \\.br\\."
            yield Fault(DATA_TYPE, words, Location(name, sequence, number))


def _field(text: str, delimiters: Delimiters, codec: str) -> Field:
    if not text:
        return ()
    return tuple(
        tuple(
            tuple(unescaped(s, delimiters, codec) for s in component.split(delimiters.subcomponent))
            for component in repetition.split(delimiters.component)
        )
        for repetition in text.split(delimiters.repetition)
    )


# -- bytes to text --------------------------------------------------------------------------------------


def _text(raw: bytes) -> tuple[str, tuple[Fault, ...]]:
    """The text of a message in the character set that MSH-18 names.

    Without a name it is UTF-8 where the bytes are that, and ISO 8859-1 where they are not: no text in
    8859-1 of more than a letter or two is legal UTF-8 by accident.
    """
    rough = _breaks(raw.decode("iso-8859-1"))
    delimiters = _delimiters(rough) if rough.startswith("MSH") else None
    named = _charset(rough, delimiters) if delimiters else ""
    where = Location("MSH", 1, 18)
    if named and named not in hl7v2.CHARSETS:
        words = f"MSH-18 may be one of {', '.join(hl7v2.CHARSETS)}."
        return rough, (Fault(TABLE_VALUE, words, where),)
    try:
        if named:
            return raw.decode(hl7v2.CHARSETS[named]), ()
        return raw.decode("utf-8"), ()
    except UnicodeDecodeError:
        if not named:
            return raw.decode("iso-8859-1"), ()
        words = f"The message holds bytes that are not {named}; MSH-18 must say what was sent."
        return rough, (Fault(DATA_TYPE, words, where),)


def _breaks(text: str) -> str:
    """Segments part at carriage returns; line feeds, which many files hold, are taken for them."""
    return text.replace("\r\n", "\r").replace("\n", "\r").strip("\r\x00 \t")


def _delimiters(text: str) -> Delimiters | None:
    """The delimiters that the header declares; None when they are not five different signs."""
    if len(text) < 8:
        return None
    said = text[3:8]
    if len(set(said)) < 5 or any(c.isalnum() or c.isspace() or not c.isprintable() for c in said):
        return None
    if text[8:9] not in ("", said[0], "\r") and text[8] != "#":  # 2.7 adds a truncation sign
        return None
    return Delimiters(said[0], said[1], said[2], said[3], said[4])


def _charset(text: str, delimiters: Delimiters) -> str:
    fields = text.partition("\r")[0].split(delimiters.field)
    said = fields[17] if len(fields) > 17 else ""
    return said.split(delimiters.repetition)[0].strip().upper()


# -- escapes (HL7 2.5 §2.7) ------------------------------------------------------------------------------


def unescaped(text: str, delimiters: Delimiters = Delimiters(), codec: str = "utf-8") -> str:
    """Text without its escape sequences. Highlighting is dropped, a line break is a space, and a
    sequence that means nothing stays as it was sent."""
    mark = delimiters.escape
    if mark not in text:
        return text
    made: list[str] = []
    pieces = text.split(mark)
    place = 1
    made.append(pieces[0])
    while place < len(pieces):
        if place + 1 == len(pieces):  # no closing mark: the sign is itself
            made.append(mark + pieces[place])
            break
        meant = _meant(pieces[place], delimiters, codec)
        if meant is None:
            made.append(mark + pieces[place])
            place += 1
            continue
        made += (meant, pieces[place + 1])
        place += 2
    return "".join(made)


def _meant(said: str, delimiters: Delimiters, codec: str) -> str | None:
    plain = {
        "F": delimiters.field, "S": delimiters.component, "R": delimiters.repetition,
        "E": delimiters.escape, "T": delimiters.subcomponent, "H": "", "N": "", ".br": " ", ".sp": " ",
    }  # fmt: skip
    if said in plain:
        return plain[said]
    if re.fullmatch(r"X([0-9A-Fa-f]{2})+", said):
        try:
            return bytes.fromhex(said[1:]).decode(codec)
        except UnicodeDecodeError:
            return None
    return None


def escaped(text: str) -> str:
    """Text as it stands in a field between the standard delimiters; a line break becomes `\\.br\\`."""
    letters = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
    made = "".join(letters.get(c, c) for c in text)
    return _CONTROL.sub(
        "", made.replace("\r\n", "\n").replace("\n", "\\.br\\").replace("\r", "\\.br\\")
    )


# -- out -------------------------------------------------------------------------------------------------


def restated(segment: Segment) -> str:
    """A segment as it would be written with the standard delimiters: what an answer echoes."""
    fields = [
        "~".join(
            "^".join("&".join(escaped(s) for s in component) for component in repetition)
            for repetition in field
        )
        for field in segment.fields[1:]
    ]
    return "|".join([segment.name, *fields]).rstrip("|")


def missing(segment: Segment, sequence: int, *numbers: int) -> Iterator[Fault]:
    """A fault for each of these fields that is absent."""
    for number in numbers:
        if not segment.field(number) or segment.nulls(number):
            words = f"{segment.name}-{number} is required."
            yield Fault(REQUIRED, words, Location(segment.name, sequence, number))
