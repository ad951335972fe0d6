"""What was seen of the world, as plans take it."""

from __future__ import annotations

from dataclasses import dataclass

from pantograph.dialects.base import CaptureState, Statement
from pantograph.model.changes import Capture
from pantograph.model.tables import TableShape

NOTHING = CaptureState(installed=False)


@dataclass(frozen=True, slots=True)
class HomeSeen:
    """Which of our tables a database holds."""

    tables: frozenset[str]


@dataclass(frozen=True, slots=True)
class TableSeen:
    """A source table: its shape, None when it is not there, and the capture that is recorded for it, if any.

    leftovers: what takes away that of it which stands on other tables and is of no use any more.
    """

    schema: str
    name: str
    shape: TableShape | None
    capture: Capture | None = None
    state: CaptureState = NOTHING
    broken: str = ""
    in_the_way: str = ""
    leftovers: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class DestinationSeen:
    """A destination table: its shape, None when it is not there."""

    schema: str
    name: str
    shape: TableShape | None
