"""How often a server process looks for garbage.

Python counts what it makes and looks for circles among all of it again and again; a feed makes some
twenty thousand objects that live until its flight has landed, and looking cost a fifth of its CPU.
Circles are few here (an exception and its frames, a cancelled task) and may wait: looks at the young are
70 times rarer, and what was there from the beginning is never looked at again.
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 50_000, 20, 50


def seldom() -> None:
    """Look rarely from now on, and never at what is here already. For a process of its own: what it has
    imported and set up stays until it ends."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
