"""Bring about what a source Database's Reflections need, as far as it is not there: observe, plan, execute, and again.

`run` and the operator do this before rows move and whenever something drifts; `plan` does it with `act=False`, which
only looks. A table or Reflection that cannot be prepared says why and keeps nobody else from being prepared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pantograph import errors
from pantograph.apply import changes, execute, expressions, observe
from pantograph.database.sessions import Session
from pantograph.dialects.base import SOURCE_TABLES, Dialect, MetaTable, Role, Statement
from pantograph.model.changes import Capture, Control
from pantograph.model.mirrors import Mirror
from pantograph.model.tables import TableShape
from pantograph.pipeline import checkpoints, fence, mapping, ordering, steps
from pantograph.reconcile import reflections, sourcetables
from pantograph.reconcile.actions import Action, InstallCapture, MakeHome, WidenColumns


@dataclass(frozen=True, slots=True)
class WantedTable:
    """A SourceTable, in plain values. subject: as messages name it. noted: columns beside the key by which its
    Reflections find rows. name: `namespace/name`, or "" where nobody asks."""

    subject: str
    schema: str
    table: str
    key_columns: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class WantedCopy:
    """A Reflection, in plain values. name: `namespace/name`; source: the WantedTable's subject."""

    name: str
    subject: str
    source: str
    schema: str
    table: str
    create: bool = True
    existing: str = ""
    accepts_cascades: bool = False
    stream: str = "default"
    where: str = ""
    items: tuple[mapping.Item, ...] = ()
    exclude: tuple[str, ...] = ()
    key: tuple[tuple[str, str], ...] = ()
    missing_row: str = "Insert"
    on_delete: str = "Delete"
    soft_delete: str = ""
    statement: str = ""
    delete_statement: str = ""
    database: str = ""
    add_columns: bool = True
    dropped: str = "Keep"
    retyped: str = "Widen"
    initial_snapshot: bool = True
    resync_token: str = ""
    on_position_lost: str = "Sweep"
    dead_letters: bool = False
    paused: bool = False
    allowed_deletes: int | None = None
    verify_every: float = 0.0
    verify_repairs: bool = True
    generation: int = 0

    @property
    def asked(self) -> mapping.Asked:
        """What it asks of the rows."""
        return mapping.Asked(
            self.name, self.stream, self.where, self.accepts_cascades, self.items, self.exclude, self.key,
            self.missing_row, self.on_delete, self.soft_delete, self.statement, self.delete_statement, self.database,
            self.dead_letters, self.existing == "Keep",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Captured:
    """A source table whose capture is in place. mended: it was not, or not whole, until now: what was written
    meanwhile is unknown."""

    capture: Capture
    shape: TableShape
    fingerprint: str
    mended: bool
    purged: str = ""
    indexes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """A Reflection that can move. table: identity of its destination table. empty: no row is there. columns: those of
    the source that it copies, with their types."""

    wanted: WantedCopy
    mirror: Mirror
    shaping: str
    table: str
    empty: bool
    estimated: int
    mended: bool
    purged: str
    checkpoint: checkpoints.Checkpoint | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Report:
    """What was planned (and done, when acting), and what failed, by subject."""

    actions: list[tuple[str, Action]] = field(default_factory=list)
    failed: dict[str, errors.PantographError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


Waiting = Callable[[str], None]


def home(
    session: Session,
    dialect: Dialect,
    tables: Sequence[MetaTable],
    subject: str,
    report: Report,
    *,
    act: bool,
    installs: bool = True,
) -> bool:
    """Make our tables in a database; whether they are there now. Nothing is sent where all of them are."""
    missing = [table for table in tables if not observe.has_home(session, dialect, table.name)]
    if not missing:
        return True
    if not installs:
        raise _for_the_operator(f"{subject}: our tables are not there")
    statements = [Statement(sql) for sql in dialect.home()]
    statements += [Statement(dialect.meta_table(table)) for table in missing]
    action = MakeHome(subject, f"make {', '.join(table.name for table in missing)}", tuple(statements))
    report.actions.append((dialect.address.label, action))
    if act:
        execute.run(session, dialect, action)
    return act


def _for_the_operator(what: str) -> errors.PantographError:
    return errors.DependencyNotReady(f"{what}; the operator is to see to that", reason="CaptureNotInstalled")


def source(
    session: Session,
    dialect: Dialect,
    owner: str,
    tables: Sequence[WantedTable],
    report: Report,
    *,
    lease: float,
    adopt: bool = False,
    act: bool = True,
    installs: bool = True,
    patience: float = 300.0,
    waiting: Waiting = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[dict[str, Captured], Control | None]:
    """Captures of a source Database's tables, by subject, and its control row.

    installs: whether what is missing is made here; else it is `CaptureNotInstalled`, for the operator to do.
    Raises `Refused` and `CaptureOwned` for the database as a whole; what is wrong with one table goes into the report.
    """
    with session.step(steps.INSPECT):
        dialect.check(session, Role.READER)
    there = home(
        session, dialect, SOURCE_TABLES, f"Database {dialect.address.label}", report, act=act, installs=installs
    )
    control: Control | None = None
    if there:
        with session.step(steps.PREPARE):
            control = fence.found(session, dialect, owner, lease, adopt=adopt) if act else dialect.control(session)
    recorded = observe.captures(session, dialect) if there else {}
    captured: dict[str, Captured] = {}
    for wanted in tables:
        try:
            one = _captured(
                session, dialect, wanted, recorded, report,
                act=act, installs=installs, patience=patience, waiting=waiting, sleep=sleep,
            )  # fmt: skip
        except errors.PantographError as error:
            if isinstance(error, errors.Unreachable):
                raise
            report.failed[wanted.subject] = error
            continue
        if one is not None:
            captured[wanted.subject] = one
    return captured, control


def _captured(
    session: Session,
    dialect: Dialect,
    wanted: WantedTable,
    recorded: Mapping[str, tuple[Capture, str, str]],
    report: Report,
    *,
    act: bool,
    installs: bool,
    patience: float,
    waiting: Waiting,
    sleep: Callable[[float], None],
) -> Captured | None:
    seen = observe.table(session, dialect, wanted.schema, wanted.table, dict(recorded))
    capture = sourcetables.wanted_capture(dialect, seen, wanted.key_columns, wanted.noted)
    assert seen.shape is not None
    mended = False
    for action in sourcetables.plan(wanted.subject, dialect, seen, capture):
        if not installs:
            raise _for_the_operator(action.summary)
        report.actions.append((dialect.address.label, action))
        if isinstance(action, InstallCapture):
            capture, mended = action.capture, mended or action.mends
        if act:
            execute.run(session, dialect, action, patience=patience, waiting=waiting, sleep=sleep)
    for spot in dialect.blind_spots(seen.shape):
        report.notes.append(f"{wanted.subject}: not captured: {spot}")
    with session.step(steps.INSPECT):
        key = (seen.shape.schema, seen.shape.name)
        fingerprint = dialect.fingerprints(session, [key]).get(key, "")
        indexes = tuple(dialect.indexes(session, *key)) if wanted.noted else ()
    purged = recorded[capture.id][1] if capture.id in recorded else ""
    return Captured(capture, seen.shape, fingerprint, mended, purged, indexes)


def copies(
    session: Session,
    target: Dialect,
    origin: Dialect,
    owner: str,
    wanted: Sequence[WantedCopy],
    captured: Mapping[str, Captured],
    report: Report,
    *,
    act: bool = True,
    previous: Sequence[str] = (),
    estimate: Callable[[Captured], int] = lambda _: 0,
    try_rows: Callable[[Mirror], None] = lambda _: None,
    ask: expressions.Ask = lambda *_: None,
    alter: Callable[[str], bool] = lambda _: True,
) -> dict[str, Ready]:
    """Reflections into one destination Database that can move, by name; what is wrong with one goes into the report.

    alter: of a Reflection's name, whether columns of its destination may be given another type now, which can take a
    while; otherwise it fails as `Widening`.
    """
    with session.step(steps.INSPECT):
        target.check(session, Role.WRITER)
    there = home(session, target, checkpoints.TABLES, f"Database {target.address.label}", report, act=act)
    if act:
        for before in previous:
            with session.step(steps.MOVE_CHECKPOINT):
                checkpoints.adopt(session, target, before, owner)
    with session.step(steps.LOAD_CHECKPOINTS):
        known = checkpoints.load(session, target, owner) if there else {}
    ready: dict[str, Ready] = {}
    shapes: dict[tuple[str, str], TableShape] = {}
    # Who makes a table comes before those that write into it.
    for copy in sorted(wanted, key=lambda one: one.missing_row != "Insert"):
        if copy.source not in captured:
            failure = report.failed.get(copy.source)
            report.failed[copy.name] = failure or errors.DependencyNotReady(f"{copy.source} is not there")
            continue
        try:
            one = _copy(
                session, target, origin, copy, captured[copy.source], known, report,
                act=act, estimate=estimate, try_rows=try_rows, ask=ask, alter=alter,
            )  # fmt: skip
        except errors.PantographError as error:
            if isinstance(error, errors.Unreachable):
                raise
            report.failed[copy.name] = error
            continue
        if one is not None:
            ready[copy.name] = one
    _refuse_rings(target, ready, report)
    for name, one in list(ready.items()):
        if one.mirror.referenced_by and act:
            start = observe.destination(session, target, *one.mirror.destination)
            shapes.update(observe.cascading(session, target, start))
            assert start.shape is not None
            cascades = mapping.cascades(start.shape, shapes, _writing(owner, ready, known))
            ready[name] = replace(one, mirror=replace(one.mirror, cascades=cascades))
    return ready


def _refuse_rings(target: Dialect, ready: dict[str, Ready], report: Report) -> None:
    """Which foreign keys form a ring, and which tables no order of writing would do for."""
    mirrors = [one.mirror for one in ready.values()]
    for name, why in ordering.unwritable(target, mirrors).items():
        report.failed[name] = errors.PantographError(why, reason="CyclicConstraints")
        del ready[name]
    for name, one in list(ready.items()):
        ring = ordering.in_a_ring(one.mirror, mirrors)
        if ring:
            ready[name] = replace(one, mirror=replace(one.mirror, ring=ring))


def _writing(
    owner: str, ready: Mapping[str, Ready], known: Mapping[str, checkpoints.Checkpoint]
) -> dict[tuple[str, str], list[mapping.Writing]]:
    del known
    writing: dict[tuple[str, str], list[mapping.Writing]] = {}
    for one in ready.values():
        key = tuple(column.destination for column in one.mirror.key)
        writing.setdefault(one.mirror.destination, []).append(mapping.Writing(owner, one.mirror.name, key))
    return writing


def checkpoint_name(reflection: str) -> str:
    """The name of a Reflection's own checkpoint."""
    return f"reflection/{reflection}"


def _copy(
    session: Session,
    target: Dialect,
    origin: Dialect,
    copy: WantedCopy,
    captured: Captured,
    known: Mapping[str, checkpoints.Checkpoint],
    report: Report,
    *,
    act: bool,
    estimate: Callable[[Captured], int],
    try_rows: Callable[[Mirror], None],
    ask: expressions.Ask,
    alter: Callable[[str], bool],
) -> Ready | None:
    if copy.where:
        ask(captured.shape, copy.where, "spec.where", True)
    for number, item in enumerate(copy.items):
        if item.expression:
            ask(captured.shape, item.expression, f"spec.columns[{number}].expression", False)
    seen = observe.destination(session, target, copy.schema, copy.table)
    checkpoint = known.get(checkpoint_name(copy.name))
    asked, remembered = changes.asked(copy, captured.shape, checkpoint)
    layout = mapping.layout(asked, captured.shape, captured.capture.key)
    mapping.check_index(layout, captured.shape, captured.capture.key, origin, captured.indexes)
    if seen.shape is None and copy.missing_row != "Insert":
        raise errors.DependencyNotReady(
            f"{seen.name} is not there yet; it is made by the Reflection that inserts its rows (missingRow: Insert)"
        )
    planned = reflections.plan(
        copy.subject,
        (*(item.destination for item in layout.items), *filter(None, [copy.soft_delete])),
        layout.key,
        seen,
        target,
        lambda: mapping.planned_columns(layout, captured.shape, origin, target, copy.soft_delete),
        create=copy.create,
        add=copy.add_columns,
    )
    if seen.shape is not None:
        planned = changes.widened(copy, layout, remembered, captured.shape, planned, origin, target)
    if not copy.add_columns:
        present = {column.name for column in planned.shape.columns}
        left_out = tuple(item.source for item in layout.items if item.destination not in present)
        asked = replace(asked, exclude=(*asked.exclude, *left_out))

    def worked_out(shape: TableShape) -> Mirror:
        return mapping.mirror(asked, captured.capture, captured.shape, shape, origin, target, captured.fingerprint)

    # All that can be wrong is found before anything is made.
    mirror = worked_out(planned.shape)
    if copy.missing_row == "Insert" and not copy.statement:
        reflections.check_required(planned.shape, {column.destination for column in mirror.columns})
    if copy.where:
        try_rows(mirror)
    empty = seen.shape is None or not observe.rows_there(session, target, mirror, seen.shape)
    ours = checkpoint is not None and (
        checkpoint.state.table == planned.shape.identity
        # An index that somebody added there is no reason to ask whose rows these are; that all are compared, it is.
        or (target.features.altered_is_another and tuple(checkpoint.state.destination) == mirror.destination)
    )
    if not (empty or ours or copy.existing or copy.missing_row != "Insert"):
        raise errors.PantographError(
            f"{planned.shape.label} in {target.address.label} is not empty, and its rows are not ours; say "
            "spec.destination.existing: Replace (they go, but for those that the source has too) or Keep",
            reason="DestinationNotEmpty",
        )
    shape = planned.shape
    for action in planned.actions:
        report.actions.append((target.address.label, action))
        if act and isinstance(action, WidenColumns):
            if not alter(copy.name):
                raise errors.DependencyNotReady(f"{action.summary}: about to begin", reason="Widening")
            changes.widen(session, target, action)
        elif act:
            execute.run(session, target, action)
    if planned.actions and act:
        again = observe.destination(session, target, copy.schema, copy.table).shape
        if again is None:
            raise errors.DatabaseError(f"{shape.label} was created and cannot be seen; is the grant on it missing?")
        shape = again
        mirror = worked_out(shape)
    return Ready(
        wanted=copy,
        mirror=mirror,
        shaping=mapping.shaping(mirror),
        table=shape.identity,
        empty=empty,
        estimated=estimate(captured),
        mended=captured.mended,
        purged=captured.purged,
        checkpoint=checkpoint,
        columns=changes.copied(copy, layout, captured.shape, remembered),
    )
