"""Every transaction row of the product, in the order a reader meets them."""

from __future__ import annotations

from standards import atna, capability, iua, mhd, mhd_retrieve, pdqm, pixm, pmir, records
from standards.rows import Transaction

ROWS: tuple[Transaction, ...] = (
    *mhd.TRANSACTIONS,
    *mhd_retrieve.TRANSACTIONS,
    *records.TRANSACTIONS,
    *pixm.TRANSACTIONS,
    *pdqm.TRANSACTIONS,
    *pmir.TRANSACTIONS,
    *atna.TRANSACTIONS,
    *iua.TRANSACTIONS,
    capability.METADATA,
)
