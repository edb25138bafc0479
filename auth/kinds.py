"""The kinds of clients (SMART App Launch 2.2 §2.0.6): none can keep a secret, a secret, or keys. PURE.

By itself so that the command line can offer them without the stores behind them.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["public", "symmetric", "asymmetric"]
