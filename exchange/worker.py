"""What happens first in each server process."""

from __future__ import annotations

import importlib
from typing import Any

from exchange.guard import die_with_parent


def load(target: str, parent: int, *arguments: str) -> Any:
    """Tie this process's life to the launcher's, then make the application.

    `target` is `module:factory`; the factory is called with `arguments`. A worker that outlived its
    launcher would keep the port and serve without anybody to stop it.
    """
    die_with_parent(parent)
    module, _, factory = target.partition(":")
    return getattr(importlib.import_module(module), factory)(*arguments)
