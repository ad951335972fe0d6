"""Do what a plan says. One function runs any action's statements; bookkeeping of captures follows in the same breath.

A statement that must lock a user's table never queues: first we look whether somebody is in the way, then the attempt
waits a tenth of a second at most (a second where the engine counts in seconds) and backs off, because everybody who
comes after a waiting DDL waits behind it (promise 7).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Statement
from pantograph.model.changes import Capture
from pantograph.pipeline import steps
from pantograph.reconcile.actions import Action, InstallCapture, RemoveCapture

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
QUICK_ATTEMPTS, QUICK_PAUSE = 20, 0.03
"""Where a lock is not waited for at all, the moment between two short transactions must be met."""

QUICK_LOOKS = 5
"""So often in succession is it asked who is in the way, for the same reason."""


def run(
    session: Session,
    dialect: Dialect,
    action: Action,
    *,
    patience: float = 300.0,
    waiting: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Execute one action. `waiting` is told in a sentence whom it waits for.

    Raises `Contended` when somebody was in the way for `patience` seconds, or what the database said.
    """
    if isinstance(action, InstallCapture) and action.mends:
        # Before anything else: whoever finds it whole must know that it was not, until `record` has the last word.
        with session.step(steps.PREPARE):
            session.run(
                f"update {dialect.ours('captures')} set version = :version, broken = 'being mended' where id = :id",
                version=action.capture.version,
                id=action.capture.id,
            )
    for statement in action.statements:
        _run(session, dialect, statement, action.summary, patience, waiting, sleep)
    if isinstance(action, InstallCapture):
        record(session, dialect, action.capture)
    elif isinstance(action, RemoveCapture):
        with session.step(steps.PREPARE):
            session.run(f"delete from {dialect.ours('captures')} where id = :id", id=action.capture.id)


def _run(
    session: Session,
    dialect: Dialect,
    statement: Statement,
    summary: str,
    patience: float,
    waiting: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:
    pause, waited = FIRST_WAIT, 0.0
    schema, _, table = statement.locks.rpartition(".")
    while True:
        blocker = _blocker(session, dialect, schema, table, sleep) if statement.locks else ""
        if not blocker:
            blocker = _attempt(session, dialect, statement, sleep)
            if not blocker:
                return
        if waited >= patience:
            raise errors.Contended(f"{summary}: gave up after {waited:.0f} s; in the way: {blocker}")
        waiting(f"{summary}: waiting, for a lock would make writers queue; in the way: {blocker}")
        sleep(pause)
        waited += pause
        pause = min(pause * 2, LONGEST_WAIT)


def _blocker(session: Session, dialect: Dialect, schema: str, table: str, sleep: Callable[[float], None]) -> str:
    """Who is in the way each time that we look, or ""."""
    for left in reversed(range(QUICK_LOOKS)):
        with session.step(steps.INSPECT):
            blocker = dialect.in_the_way(session, schema, table)
        if not blocker or not left:
            break
        sleep(QUICK_PAUSE)
    return blocker


def _attempt(session: Session, dialect: Dialect, statement: Statement, sleep: Callable[[float], None]) -> str:
    """Send a statement; who was in its way, or ""."""
    left = 1 if dialect.features.ddl_lock_wait else QUICK_ATTEMPTS
    while True:
        left -= 1
        try:
            with session.step(steps.PREPARE):
                session.direct(statement.sql)
            return ""
        except errors.Contended as error:
            session.rollback()
            if not left:
                return str(error)
            sleep(QUICK_PAUSE)


def record(session: Session, dialect: Dialect, capture: Capture) -> None:
    """Write down in the source which capture is installed there."""
    table = dialect.ours("captures")
    values = {
        "id": capture.id,
        "schema": capture.schema,
        "name": capture.table,
        "identity": capture.identity,
        "key": json.dumps(capture.key),
        "columns": json.dumps(capture.columns),
        "events": capture.event_table,
        "version": capture.version,
    }
    with session.step(steps.PREPARE):
        touched = session.run(
            f"update {table} set table_identity = :identity, key_columns = :key, captured_columns = :columns, "
            "event_table = :events, version = :version, broken = '' where id = :id",
            **{name: value for name, value in values.items() if name not in ("schema", "name")},
        )
        # A row that was equal already counts as untouched on MariaDB.
        if not touched and session.row(f"select 1 from {table} where id = :id", id=capture.id) is None:
            session.run(
                f"insert into {table} (id, table_schema, table_name, table_identity, key_columns, captured_columns, "
                "event_table, version, purged, broken) values "
                "(:id, :schema, :name, :identity, :key, :columns, :events, :version, '', '')",
                **values,
            )
