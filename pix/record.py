"""A source record: a Patient as its source says it, and everything that is kept about it. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chassis.mongo import Doc
from pix.identifiers import Identifier


@dataclass(slots=True)
class Record:
    """One source record and everything that is kept about it."""

    id: str
    system: str
    value: str
    own: bytes
    client: str
    organisation: str
    person: str = ""
    v: int = 0
    at: datetime | None = None
    said: datetime | None = None  # when its source last said something else of the person
    state: str = "active"
    into: str = ""
    root: str = ""
    absorbed: list[Identifier] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    anchor: str = ""
    b: bytes = b""
    ix: Doc = field(default_factory=dict)
    secret: bool = False  # a record of the person says that where they live is not told (places.py)

    @property
    def primary(self) -> Identifier:
        """The identifier it is fed under."""
        return Identifier(self.system, self.value)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Record:
        """From its document."""
        return cls(
            id=document["_id"],
            system=document["system"],
            value=document["value"],
            own=bytes(document["own"]),
            client=document["client"],
            organisation=document["organisation"],
            person=document["person"],
            v=document["v"],
            at=document["at"],
            said=document.get("said") or document["at"],
            state=document["state"],
            into=document["into"],
            root=document["root"],
            absorbed=[Identifier(*a) for a in document["absorbed"]],
            links=list(document["links"]),
            holds=list(document["holds"]),
            anchor=document["anchor"],
            b=bytes(document["b"]),
            ix=document["ix"],
            secret=bool(document.get("secret")),
        )

    def document(self) -> Doc:
        """As its document. Only a record that still is one holds its claim, so that an identifier can
        be fed anew after its removal."""
        made: Doc = {
            "_id": self.id,
            "v": self.v,
            "at": self.at,
            "said": self.said,
            "b": self.b,
            "ix": self.ix,
            "system": self.system,
            "value": self.value,
            "state": self.state,
            "person": self.person,
            "into": self.into,
            "root": self.root,
            "absorbed": [list(a) for a in self.absorbed],
            "links": self.links,
            "holds": self.holds,
            "anchor": self.anchor,
            "own": self.own,
            "client": self.client,
            "organisation": self.organisation,
        }
        if self.secret:
            made["secret"] = True
        made["was" if self.state == "removed" else "claim"] = self.primary.key
        return made
