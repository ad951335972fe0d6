"""Look at a database and say what is there, as values that plans take."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import CaptureState, Dialect, verbatim
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.mirrors import Mirror
from pantograph.model.tables import TableShape
from pantograph.pipeline import steps
from pantograph.reconcile.observed import DestinationSeen, TableSeen


def has_home(session: Session, dialect: Dialect, table: str) -> bool:
    """Is this table of ours there?"""
    try:
        with session.step(steps.INSPECT):
            session.rows(f"select 1 from {dialect.ours(table)} where 1 = 0")
    except errors.Refused:
        raise
    except errors.DatabaseError as error:
        if isinstance(error, errors.Unreachable):
            raise
        session.rollback()
        return False
    return True


def captures(session: Session, dialect: Dialect) -> dict[str, tuple[Capture, str, str]]:
    """Recorded captures by id, each with what retention took from it and how it broke."""
    with session.step(steps.INSPECT):
        found = session.rows(
            "select id, table_schema, table_name, table_identity, key_columns, captured_columns, event_table, version, "
            f"purged, broken from {dialect.ours('captures')}"
        )
    return {
        row[0]: (
            Capture(
                id=row[0], schema=row[1], table=row[2], identity=row[3], key=tuple(json.loads(row[4])),
                columns=tuple(json.loads(row[5])), event_table=row[6], version=int(row[7]),
            ),
            row[8] or "",
            row[9] or "",
        )
        for row in found
    }  # fmt: skip


def table(
    session: Session, dialect: Dialect, schema: str, name: str, recorded: dict[str, tuple[Capture, str, str]]
) -> TableSeen:
    """A source table and its capture."""
    schema = schema or dialect.default_schema
    with session.step(steps.INSPECT):
        shape = dialect.shape(session, schema, name)
        capture, _, broken = recorded.get(names.capture_id(schema, name), (None, "", ""))
        state = dialect.capture_state(session, capture, shape) if capture else CaptureState(False)
        left = dialect.leftovers(session, capture, shape) if capture and shape and not state.healthy else []
    return TableSeen(schema, name, shape, capture, state, broken, leftovers=tuple(left))


def destination(session: Session, dialect: Dialect, schema: str, name: str) -> DestinationSeen:
    """A destination table."""
    schema = schema or dialect.default_schema
    with session.step(steps.INSPECT):
        return DestinationSeen(schema, name, dialect.shape(session, schema, name))


def cascading(session: Session, dialect: Dialect, start: DestinationSeen) -> dict[tuple[str, str], TableShape]:
    """All tables that a delete from `start` can touch by foreign keys, with their shapes."""
    found: dict[tuple[str, str], TableShape] = {}
    waiting = [start.shape] if start.shape else []
    while waiting:
        shape = waiting.pop()
        for reference in shape.referenced_by:
            if reference.table in found or reference.on_delete not in ("CASCADE", "SET NULL", "SET DEFAULT"):
                continue
            with session.step(steps.INSPECT):
                child = dialect.shape(session, *reference.table)
            if child is not None:
                found[reference.table] = child
                waiting.append(child)
    return found


def rows_there(session: Session, dialect: Dialect, mirror: Mirror, shape: TableShape) -> bool:
    """Does the destination's table, as it is now, hold any row that is, or would be, the Reflection's?"""
    # A column by which rows are told apart and which is not there yet tells none apart.
    needed = [column.destination for column in (mirror.columns if mirror.on_delete == "SetNull" else mirror.key)]
    told_apart = all(shape.column(name) for name in filter(None, [*needed, mirror.soft_delete]))
    own = dialect.own_rows(mirror) if told_apart else ""
    where = f" where {verbatim(own)}" if own else ""
    with session.step(steps.INSPECT):
        return (
            session.row(
                f"select 1 from {dialect.table(*mirror.destination)}{where} {dialect.at_most(1, ordered=False)}"
            )
            is not None
        )


def registrations(session: Session, dialect: Dialect) -> list[tuple[str, str, str, str, float]]:
    """(owner, Reflection, capture id, position, seen at) of everybody who needs events of this source."""
    with session.step(steps.INSPECT):
        found = session.rows(
            f"select owner, name, capture, {dialect.quote('position')}, seen_at "
            f"from {dialect.ours('registrations')} order by owner, name"
        )
    return [(row[0], row[1], row[2], row[3], float(row[4])) for row in found]


def heartbeat(session: Session, dialect: Dialect) -> float | None:
    """Seconds, by the source's clock, since a reflector last wrote its nonce; None when none ever has."""
    with session.step(steps.INSPECT):
        found = session.row(f"select {dialect.now()} - nonce_at, nonce_at from {dialect.ours('control')} where id = 1")
    return max(0.0, float(found[0])) if found and float(found[1] or 0) else None


def estimated(session: Session, dialect: Dialect, schema: str, name: str) -> int:
    """About how many rows; 0 where nobody knows."""
    with contextlib.suppress(errors.DatabaseError), session.step(steps.INSPECT):
        return dialect.estimated_rows(session, schema, name)
    return 0


def tables(session: Session, dialect: Dialect, schemas: Sequence[str]) -> list[tuple[str, str]]:
    """The user's tables in some schemas."""
    with session.step(steps.INSPECT):
        return [(schema, name) for schema in schemas for name in dialect.tables(session, schema)]
