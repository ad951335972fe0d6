"""A Reflection whose source has other columns than when it was last copied: what it asks for now, and its destination's
columns, which follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pantograph import errors
from pantograph.apply import execute
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect
from pantograph.model.tables import TableShape
from pantograph.pipeline import mapping
from pantograph.pipeline.checkpoints import Checkpoint
from pantograph.reconcile import columns
from pantograph.reconcile.actions import WidenColumns
from pantograph.reconcile.reflections import Planned

if TYPE_CHECKING:
    from pantograph.apply.prepare import WantedCopy


def asked(
    copy: WantedCopy, source: TableShape, checkpoint: Checkpoint | None
) -> tuple[mapping.Asked, Mapping[str, str]]:
    """What it asks of the rows, and the columns that were copied last, with their types then.

    Raises `SchemaChanged` where one of them is gone or has another type and the manifest says Stop, until it is to be
    copied again (`resyncToken`). With Keep, columns that the manifest names and that are gone are left out.
    """
    remembered = checkpoint.state.columns if checkpoint else {}
    named = [item.source for item in copy.items if item.source] or list(remembered)
    if checkpoint and checkpoint.state.resync_token == copy.resync_token:
        columns.stop(source, remembered, named, dropped=copy.dropped, retyped=copy.retyped)
    gone = {name for name in remembered if copy.dropped == "Keep" and source.column(name) is None}
    items = tuple(item for item in copy.items if item.source not in gone)
    return dataclasses.replace(copy.asked, items=items), remembered


def copied(
    copy: WantedCopy, layout: mapping.Layout, source: TableShape, remembered: Mapping[str, str]
) -> dict[str, str]:
    """The columns that are copied now, with their types; and those that the manifest names and that are gone."""
    found = {c.name: c.native for c in source.pick([item.source for item in layout.items if item.source])}
    return found | {
        item.source: remembered[item.source]
        for item in copy.items
        if item.source in remembered and source.column(item.source) is None
    }


def widened(
    copy: WantedCopy,
    layout: mapping.Layout,
    remembered: Mapping[str, str],
    source: TableShape,
    planned: Planned,
    origin: Dialect,
    target: Dialect,
) -> Planned:
    """The plan, with columns of the destination widened that cannot hold what the source's hold now."""
    pairs = []
    for item in layout.items:
        here, there = source.column(item.source), planned.shape.column(item.destination)
        if item.source and here is not None and there is not None and not there.generated:
            pairs.append(columns.Pair(here, there, key=item.destination in layout.key))
    allowed = copy.create and copy.retyped == "Widen"
    more = columns.widen(copy.subject, pairs, remembered, source, planned.shape, origin, target, allowed=allowed)
    return Planned((*planned.actions, *more.actions), more.shape)


def widen(session: Session, target: Dialect, action: WidenColumns) -> None:
    """Widen columns. It is tried once, and waits for nobody. Raises `Contended`, or `SchemaChanged` with the ALTER."""
    try:
        execute.run(session, target, action, patience=0.0)
    except (errors.Contended, errors.Unreachable):
        raise
    except errors.DatabaseError as error:
        sql = "; ".join(statement.sql for statement in action.statements)
        raise errors.SchemaChanged(
            f"{action.summary} failed: {error}; when that is mended, run there: {sql}"
        ) from error
