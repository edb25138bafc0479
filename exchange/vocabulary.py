"""The code systems of a community's own codes, as AuditEvents and Practitioners name them. PURE."""

from __future__ import annotations

from affinity.pack import Pack
from standards.balp import Vocabulary


def vocabulary(pack: Pack) -> Vocabulary:
    """The code systems that role and purpose codes of this community belong to."""
    return Vocabulary(
        roles=f"{pack.namespace}/CodeSystem/role",
        purposes=f"{pack.namespace}/CodeSystem/purpose-of-use",
    )
