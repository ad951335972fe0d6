"""The vocabulary of plans. Each action says in words and in SQL what it would do; `apply.execute` does it."""

from __future__ import annotations

from dataclasses import dataclass

from pantograph.dialects.base import Statement
from pantograph.model.changes import Capture


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do in one database. subject: the object that wants it. statements: run in order, one at a time."""

    subject: str
    summary: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class MakeHome(Action):
    """Make the place and the tables that are ours."""


@dataclass(frozen=True, slots=True)
class InstallCapture(Action):
    """Install or mend the capture of a table. mends: it was there and something was wrong with it."""

    capture: Capture
    mends: bool = False


@dataclass(frozen=True, slots=True)
class UpgradeCapture(Action):
    """Replace triggers of a capture that another version of Pantograph has made. Nothing was missed meanwhile."""


@dataclass(frozen=True, slots=True)
class RemoveCapture(Action):
    """Take a capture away."""

    capture: Capture


@dataclass(frozen=True, slots=True)
class CreateTable(Action):
    """Create a destination table."""


@dataclass(frozen=True, slots=True)
class AddColumns(Action):
    """Add columns that a destination table lacks."""


@dataclass(frozen=True, slots=True)
class WidenColumns(Action):
    """Give columns of a destination table a type that holds more."""


@dataclass(frozen=True, slots=True)
class LeaveHome(Action):
    """Drop the tables that are ours, and the place that was made for them."""
