"""Every transaction row of the product, in the order a reader meets them."""

from __future__ import annotations

from standards import (
    atna,
    capability,
    definitions,
    iua,
    mhd,
    mhd_publish,
    mhd_retrieve,
    nrl,
    pdqm,
    pixm,
    pmir,
    practitioners,
    records,
    registration,
    smart,
    stewardship,
)
from standards.rows import Transaction

ROWS: tuple[Transaction, ...] = (
    *mhd.TRANSACTIONS,
    *mhd_publish.TRANSACTIONS,
    *mhd_retrieve.TRANSACTIONS,
    *nrl.TRANSACTIONS,
    *records.TRANSACTIONS,
    *pixm.TRANSACTIONS,
    *pdqm.TRANSACTIONS,
    *pmir.TRANSACTIONS,
    *stewardship.TRANSACTIONS,
    *practitioners.TRANSACTIONS,
    *atna.TRANSACTIONS,
    *iua.TRANSACTIONS,
    *smart.TRANSACTIONS,
    *registration.TRANSACTIONS,
    capability.METADATA,
    *definitions.TRANSACTIONS,
)
