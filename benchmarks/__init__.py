"""Measurements against a running exchange and, in the same run, the ceilings of the machine."""
