"""What the command line's exit codes mean; every command keeps to them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `throughline`."""

    OK = 0
    FAILED = 1  # something broke, or `doctor` found something broken
    USAGE = 2  # the command line or a setting is wrong
    NO_DATABASE = 3  # MongoDB cannot be started or reached
    PORT_TAKEN = 4  # a port cannot be listened on
    NOT_RUNNING = 5  # no exchange answers where one was expected
    REFUSED = 6  # the exchange answered, and said no


class Trouble(Exception):  # noqa: N818  not a bug of ours: something for the operator
    """Something the operator can put right: the message says what, `code` is the exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


EXITS = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no MongoDB, 4 port taken, 5 no exchange answers,"
    " 6 the exchange refused."
)
"""What every command says at its end."""
