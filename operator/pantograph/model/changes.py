"""Positions, windows and what a read of a window yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NewType

from pantograph import errors

Position = NewType("Position", str)
"""How far has been read; opaque to all but the dialect that made it. At most 256 KiB of text."""

NOWHERE = Position("")
"""Nothing has been read yet."""

FORMAT = 1
"""Of what we keep in a source (its control row says it) and in a checkpoint (its state does). Whoever raises it still
reads the one before."""

Row = tuple[Any, ...]
"""`(present, *columns)`: a destination-shaped row in canonical values; `present` is 1, or 0 for a key that is gone."""


def refuse_newer(found: int, what: str) -> None:
    """Raise `NewerVersion` unless we know the format that was found, of what `what` names."""
    if found > FORMAT:
        raise errors.NewerVersion(
            f"{what} is of format {found}, which a newer version of Pantograph made; this one knows {FORMAT}, and "
            "leaves it alone: use that version"
        )


@dataclass(frozen=True, slots=True)
class Window:
    """Everything that `until` covers and `since` does not."""

    since: Position
    until: Position


@dataclass(frozen=True, slots=True)
class Pending:
    """What a window holds for one capture. `events` is exact up to the limit asked for.

    truncated: a TRUNCATE is among them, also where that one is beyond the limit; the destination's rows go first then.
    """

    events: int
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Capture:
    """One table's capture as it is installed.

    id: `names.capture_id`. key: the SourceTable's key columns. columns: all captured columns, the key first; the event
    table stores them as k0, k1, … in this order. event_table: its bare name, in the place where our tables live.
    version grows whenever columns change.
    """

    id: str
    schema: str
    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    event_table: str
    version: int = 1
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """The control row of a source, as one snapshot shows it.

    incarnation: of the capture's life; another one means that positions mean nothing. nonces: the last ten, oldest
    first. epoch: of the owner. lease: seconds left (by the source's clock) before the triggers note nothing.
    genuine: False where the row was restored from a logical copy.
    """

    incarnation: str
    owner: str
    epoch: int
    nonces: tuple[str, ...]
    lease: float
    genuine: bool = True
