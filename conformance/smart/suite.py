"""The SMART App Launch 2.2 suite: its groups in the order in which what they find out is needed.

Modelled on what the Inferno SMART App Launch kit 1.0.0 and the ONC (g)(10) kit look at, with what they
leave out: replay, reuse, mix-up and the confusions of JWTs. No code or text of theirs is used.
"""

from __future__ import annotations

from conformance.check import Group
from conformance.smart import (
    backend,
    discovery,
    granular,
    introspection,
    launch,
    openid,
    refresh,
    refusals,
)

SMART: tuple[Group, ...] = (
    discovery.GROUP,
    backend.GROUP,
    launch.group("public"),
    openid.group("standalone-public"),
    refresh.group("standalone-public"),
    launch.group("symmetric"),
    openid.group("standalone-symmetric"),
    introspection.group("standalone-symmetric"),
    refresh.group("standalone-symmetric"),
    launch.group("asymmetric", by_post=True),
    openid.group("standalone-asymmetric-post"),
    refresh.group("standalone-asymmetric-post"),
    launch.group("public", ehr=True),
    openid.group("ehr-public"),
    introspection.group("ehr-public"),
    launch.group("symmetric", ehr=True),
    refresh.group("ehr-symmetric"),
    granular.GROUP,
    refusals.GROUP,
)
BACKEND: tuple[Group, ...] = (discovery.GROUP, backend.GROUP)
SUITES = {"smart": SMART, "backend": BACKEND}
