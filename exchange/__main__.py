"""`python -m exchange` is `throughline`."""

from __future__ import annotations

if __name__ == "__main__":
    from exchange.cli import main

    main()
