"""Runs the launcher with the small application: `python -m tests.exchange.launch ARGUMENT…`.

The settings come from THROUGHLINE_* variables; the arguments are handed to the application.
"""

from __future__ import annotations

import sys

from chassis.settings import Settings
from exchange.exits import Trouble
from exchange.serve import explain, serve

if __name__ == "__main__":
    try:
        sys.exit(serve(Settings(), target=("tests.exchange.small:create_app", *sys.argv[1:])))
    except Trouble as fault:
        sys.exit(explain(fault))
