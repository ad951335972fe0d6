"""What a command's exit status says; the same everywhere, so that a script needs to know it once."""

from __future__ import annotations

import enum

from pantograph import errors


class Status(enum.IntEnum):
    """Exit statuses."""

    DONE = 0
    FAILED = 1
    WRONG = 2  # a manifest, or the call itself
    NOT_SO = 3  # answered, and the answer is not the good one: changes to make, not Ready, differences
    UNREACHABLE = 4
    INTERRUPTED = 130


def status_of(error: errors.PantographError) -> Status:
    """The status that a failure ends a command with."""
    if isinstance(error, errors.SpecError | errors.SpecErrors):
        return Status.WRONG
    if isinstance(error, errors.Unreachable):
        return Status.UNREACHABLE
    return Status.FAILED
