"""`pantograph status`: how everything stands, as the databases themselves say, whichever process moves the rows.

Whether somebody moves them is told by the nonce, which a reflector writes every minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pantograph import dialects, errors
from pantograph.api import conditions
from pantograph.api.base import API_VERSION, Model, Resource
from pantograph.api.conditions import Condition
from pantograph.api.databases import Database, DatabaseStatus
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Reflection, ReflectionStatus, SnapshotStatus
from pantograph.api.sourcetables import CaptureStatus, SourceTable, SourceTableStatus
from pantograph.apply import observe, sources
from pantograph.apply.prepare import checkpoint_name
from pantograph.cli import files, terminal
from pantograph.cli.outcomes import Status
from pantograph.database.addresses import address
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Role
from pantograph.model.changes import Capture, Control, Position
from pantograph.pipeline import checkpoints, keys, steps
from pantograph.pipeline.checkpoints import Checkpoint
from pantograph.reconcile.observed import TableSeen
from pantograph.reflector.pacing import OUTSIDE_WINDOW, Pacing

if TYPE_CHECKING:
    from pantograph.kube.objects import Cluster

COUNTED = 1_000_000
"""Pending events are counted up to here."""
SILENCE = 150.0
"""Two nonces and a half: nobody is moving rows who has not written one for so long."""
AT_ONCE = 8
ON_ITS_WAY = ("NotThereYet", "NotStarted", "NotInstalled", "Snapshot", "Sweep", OUTSIDE_WINDOW)
"""Reasons of what is not Ready and needs nobody."""
WATCH_EVERY = 2.0
T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """Ready or not, and why."""

    ready: bool
    reason: str
    message: str = ""
    waits: bool = False
    """An operator or a reflector says that it goes on by itself."""

    @property
    def on_its_way(self) -> bool:
        """Not Ready, and in need of nobody."""
        return self.waits or self.reason in ON_ITS_WAY


@dataclass
class Look:
    """What one database says. Of a source: control, captures, tables; of a destination: checkpoints and noted keys."""

    version: str = ""
    error: errors.PantographError | None = None
    control: Control | None = None
    heartbeat: float | None = None
    captures: Mapping[str, tuple[Capture, str, str]] = field(default_factory=dict)
    tables: dict[str, TableSeen] = field(default_factory=dict)
    spots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, Checkpoint]] = field(default_factory=dict)
    keys: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    # By Reflection: events that it has not applied, and the age of the oldest; where it was read up to; events that it
    # has applied since the look before, where there was one.
    behind: dict[str, tuple[int, float]] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    # By Reflection that never began, or whose table is not as it was copied last: why it cannot, or None when it can.
    changed: dict[str, errors.PantographError | None] = field(default_factory=dict)


def run(paths: files.Given, *, installation: str, namespace: str, output: str, watch: bool) -> Status:
    """Print how everything stands; whether all of it is Ready."""
    if output not in WRITERS:
        raise errors.SpecError(f"found {output}, expected one of: {', '.join(WRITERS)}", path="--output")
    see = OfCluster(paths) if isinstance(paths, files.InCluster) else OfFiles(paths, namespace, installation)
    if watch and output in ("table", "wide") and terminal.is_live(sys.stdout):
        from pantograph.cli import watching

        return watching.run(see)
    return _print(see, output, watch)


class See(Protocol):
    """Looks at everything. place: at what, for people; counts: what a rate of a look is of, `events` or `rows`."""

    place: str
    counts: str

    def __call__(self, before: Standing | None) -> Standing:
        """A look; before: the look before it, to tell what was applied since."""


def _print(see: See, output: str, watch: bool) -> Status:
    while True:
        standing = see(None)
        print(WRITERS[output](standing), flush=True)
        if not watch:
            return Status.DONE if all(standing.verdict(one).ready for one in standing.resources) else Status.NOT_SO
        time.sleep(WATCH_EVERY)


@dataclass
class Standing:
    """All objects with their status, and what could not be put into one. databases: by namespace and name."""

    manifests: Manifests
    resources: list[Resource]
    looks: dict[tuple[str, str], Look]

    def verdict(self, resource: Resource) -> Verdict:
        """Its Ready."""
        told: Sequence[Condition] = resource.status.conditions  # type: ignore[attr-defined]  # every kind has one
        found = conditions.find(told, conditions.READY)
        if found is None:
            return Verdict(False, "NotSeenYet", "no operator has looked at it yet")
        waits = conditions.is_true(told, conditions.RECONCILING) and not conditions.is_true(told, conditions.STALLED)
        return Verdict(found.status == "True", found.reason, found.message, waits)


def now() -> datetime:
    """The time that conditions carry."""
    return datetime.now(UTC)


def look(manifests: Manifests, installation: str, before: Standing | None = None) -> Standing:
    """Ask every database, several at once. before: the look before this one, to tell what was applied since."""
    ordered = sorted(manifests.databases.values(), key=lambda one: one.key)
    with ThreadPoolExecutor(min(AT_ONCE, len(ordered)) or 1) as pool:
        looks = dict(
            zip(
                (one.key for one in ordered),
                pool.map(lambda one: _ask(manifests, one, installation), ordered),
                strict=True,
            )
        )
        sources = [one for one in ordered if manifests.source_tables_of(one)]
        list(pool.map(lambda one: _ask_how_far(manifests, one, looks, installation, before), sources))
        list(pool.map(lambda one: _ask_what_changed(manifests, one, looks, installation), sources))
    judge = Judge(manifests, looks, installation, now())
    resources: list[Resource] = [judge.database(one) for one in ordered]
    resources += [judge.table(one) for _, one in sorted(manifests.source_tables.items())]
    resources += [judge.reflection(one) for _, one in sorted(manifests.reflections.items())]
    return Standing(manifests, resources, looks)


class OfFiles:
    """Looks at what files say by asking the databases; follows the files, as `run` does. Raises `SpecErrors`, at once
    where something is wrong with them."""

    counts = "events"

    def __init__(self, paths: Sequence[str], namespace: str, installation: str) -> None:
        self.place = ", ".join(paths)
        self._paths, self._namespace, self._installation = paths, namespace, installation
        self._marks = files.marks(paths)
        self._manifests = files.load_with_sources(paths, namespace)

    def __call__(self, before: Standing | None = None) -> Standing:
        if "-" not in self._paths and (marks := files.marks(self._paths)) != self._marks:
            self._manifests = files.load_with_sources(self._paths, self._namespace)
            self._marks = marks
        return look(self._manifests, self._installation, before)


class OfCluster:
    """Looks at the objects of a cluster, as their status says. Raises `SpecErrors` where there are none, and where no
    cluster is known."""

    counts = "rows"

    def __init__(self, given: files.InCluster) -> None:
        from pantograph.cli import incluster  # the client of a cluster, which takes its time

        self.place = f"cluster, {given.place}"
        self._given = given
        self._connect, self._with_status = incluster.connect, incluster.with_status
        self._cluster: Cluster | None = self._connect(given)

    def __call__(self, before: Standing | None = None) -> Standing:
        try:
            self._cluster = self._cluster or self._connect(self._given)
            manifests, resources = self._with_status(self._cluster, self._given)
        except errors.ClusterError:
            self._cluster = None  # the kubeconfig may be another one by then: a token that has run out, for one
            raise
        if not resources:
            why = f"there is no Database, SourceTable or Reflection in {self._given.place}"
            raise errors.SpecErrors([errors.SpecError(why)])
        return Standing(manifests, resources, {key: Look() for key in manifests.databases})


# -- asking ------------------------------------------------------------------------------------------------------------


def owner_of(database: Database, installation: str) -> str:
    """Whose a source's capture is, when it is ours."""
    return f"{installation}/{database.namespace}/{database.name}"


def is_read(manifests: Manifests, database: Database) -> bool:
    """Does somebody move rows out of this source now?"""
    with _session(manifests, database) as (dialect, session):
        if not observe.has_home(session, dialect, "control"):
            return False
        beat = observe.heartbeat(session, dialect)
    return beat is not None and beat <= SILENCE


@contextlib.contextmanager
def _session(manifests: Manifests, database: Database, role: Role = Role.SIDE) -> Iterator[tuple[Dialect, Session]]:
    dialect = dialects.load(address(manifests, database))
    session = Session(dialect, role)
    try:
        yield dialect, session
    finally:
        session.close()


def _ask(manifests: Manifests, database: Database, installation: str) -> Look:
    found = Look()
    path = database.spec.path
    if path and not os.path.exists(path) and not manifests.source_tables_of(database):
        return found  # a destination that the first run will make
    try:
        with _session(manifests, database) as (dialect, session):
            with session.step(steps.INSPECT):
                found.version = dialect.server(session).version
            _ask_as_source(found, session, dialect, manifests.source_tables_of(database))
            _ask_as_destination(found, session, dialect, manifests, database, installation)
    except errors.PantographError as error:
        found.error = error
    return found


def _ask_as_source(found: Look, session: Session, dialect: Dialect, tables: Sequence[SourceTable]) -> None:
    if not tables:
        return
    if observe.has_home(session, dialect, "control") and observe.has_home(session, dialect, "lease"):
        with session.step(steps.READ_CONTROL):
            found.control = dialect.control(session)
        found.heartbeat = observe.heartbeat(session, dialect)
    if observe.has_home(session, dialect, "captures"):
        found.captures = observe.captures(session, dialect)
    for table in tables:
        seen = observe.table(session, dialect, table.spec.schema_ or "", table.spec.table, dict(found.captures))
        found.tables[table.name] = seen
        if seen.shape is not None:
            found.spots[table.name] = dialect.blind_spots(seen.shape)
    there = {name: (one.schema, one.name) for name, one in found.tables.items() if one.shape is not None}
    with session.step(steps.INSPECT):
        fingerprints = dialect.fingerprints(session, list(there.values()))
    found.fingerprints = {name: fingerprints[place] for name, place in there.items() if place in fingerprints}


def _ask_as_destination(
    found: Look, session: Session, dialect: Dialect, manifests: Manifests, database: Database, installation: str
) -> None:
    for reflection in manifests.reflections.values():
        if reflection.destination_key != database.key:
            continue
        owner = owner_of(manifests.source_database_of(reflection), installation)
        if owner not in found.checkpoints:
            there = observe.has_home(session, dialect, "checkpoints") and observe.has_home(session, dialect, "keys")
            with session.step(steps.LOAD_CHECKPOINTS):
                found.checkpoints[owner] = checkpoints.load(session, dialect, owner) if there else {}
                found.keys[owner] = keys.counts(session, dialect, owner) if there else {}
        wanted = reflection.spec.destination
        schema = wanted.schema_ or dialect.default_schema
        found.rows[_full(reflection)] = observe.estimated(session, dialect, schema, wanted.table)


def _ask_how_far(
    manifests: Manifests,
    database: Database,
    looks: Mapping[tuple[str, str], Look],
    installation: str,
    before: Standing | None,
) -> None:
    """Count the events of a source that its Reflections have not applied, in one snapshot."""
    found = looks[database.key]
    if found.error is not None or found.control is None:
        return
    # One statement for each position: those that move together share it.
    by_position: dict[Position, dict[str, list[str]]] = {}
    earlier = before.looks[database.key].positions if before and database.key in before.looks else {}
    for table in manifests.source_tables_of(database):
        capture = found.tables[table.name].capture
        for reflection in manifests.reflections_of(table):
            position = _position(looks, reflection, owner_of(database, installation))
            if capture is not None and position:
                found.positions[_full(reflection)] = position
                for one in {position, earlier.get(_full(reflection), position)}:
                    by_position.setdefault(one, {}).setdefault(capture.id, []).append(_full(reflection))
    if not by_position:
        return
    captures = {seen.capture.id: seen.capture for seen in found.tables.values() if seen.capture}
    try:
        with _session(manifests, database, Role.READER) as (dialect, session):
            reader = dialect.reader(list(captures.values()))
            with session.step(steps.OPEN_SNAPSHOT):
                until = reader.open(session, list(by_position))
            with session.step(steps.COUNT_EVENTS):
                for position, wanted in by_position.items():
                    pending = reader.pending(session, dict.fromkeys(wanted, position), until, COUNTED)
                    for identity, reflections in wanted.items():
                        events, age = pending.get(identity, (None, 0.0))
                        for name in reflections:
                            if found.positions[name] == position:
                                found.behind[name] = (events.events if events else 0, age)
                            if earlier.get(name) == position:
                                found.moved[name] = events.events if events else 0
            session.rollback()
    except errors.PantographError as error:
        found.error = error
    for name, count in found.moved.items():
        found.moved[name] = max(0, count - found.behind.get(name, (0, 0.0))[0])


def _ask_what_changed(
    manifests: Manifests, database: Database, looks: Mapping[tuple[str, str], Look], installation: str
) -> None:
    """Of Reflections that never began, and of those whose source table is not as it was copied last: can they?

    Asked as `plan` asks it.
    """
    found, owner = looks[database.key], owner_of(database, installation)

    def is_new(one: Reflection, table: SourceTable) -> bool:
        there = looks[one.destination_key]
        known = there.checkpoints.get(owner, {}).get(checkpoint_name(_full(one)))
        if known is None:
            return found.error is None and there.error is None
        seen = known.state.fingerprint
        return bool(seen) and seen != found.fingerprints.get(table.name, seen)

    changed = [
        _full(one)
        for table in manifests.source_tables_of(database)
        for one in manifests.reflections_of(table)
        if is_new(one, table)
    ]
    if not changed:
        return
    from pantograph.cli import planning, verify  # most looks find nothing new, and `status` is to answer at once

    try:
        wanted = verify.only(sources.wanted(manifests, installation=installation), changed)
        failures = {subject: error for one in wanted for subject, error in planning.of(one).failures}
    except errors.PantographError as error:
        found.error = error
        return
    found.changed = {name: failures.get(f"Reflection {terminal.short(name)}") for name in changed}


def _position(looks: Mapping[tuple[str, str], Look], reflection: Reflection, owner: str) -> Position:
    known = looks[reflection.destination_key].checkpoints.get(owner, {})
    own = known.get(checkpoint_name(_full(reflection)))
    if own is None:
        return Position("")
    if not own.state.in_step:
        return own.position
    spec = reflection.spec
    stream = known.get(f"stream/{spec.destination.database_ref.name}/{spec.stream}")
    return stream.position if stream else Position("")


def _full(reflection: Reflection) -> str:
    return f"{reflection.namespace}/{reflection.name}"


# -- judging -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Turns what was seen into what an object's status says."""

    manifests: Manifests
    looks: Mapping[tuple[str, str], Look]
    installation: str
    now: datetime

    def database(self, database: Database) -> Database:
        """A Database with its status."""
        seen = self.looks[database.key]
        if seen.error is not None:
            verdict = Verdict(False, seen.error.reason, str(seen.error))
        elif not seen.version:
            verdict = Verdict(False, "NotThereYet", "the file is made by the first run")
        else:
            verdict = self._source(database, seen) or Verdict(True, "Connected")
        tables = self.manifests.source_tables_of(database)
        status = DatabaseStatus(
            server=seen.version,
            source_tables=len(tables),
            reflections=sum(len(self.manifests.reflections_of(table)) for table in tables),
            conditions=self._conditions(verdict),
        )
        return database.model_copy(update={"status": status})

    def table(self, table: SourceTable) -> SourceTable:
        """A SourceTable with its status."""
        database = self.manifests.database_of(table)
        seen = self.looks[database.key]
        here = seen.tables.get(table.name)
        if seen.error is not None:
            verdict = Verdict(False, seen.error.reason, str(seen.error))
        elif here is None or here.shape is None:
            verdict = Verdict(False, "TableMissing", f"there is no table {table.qualified_table}")
        elif here.capture is None:
            verdict = Verdict(False, "NotInstalled", "capture is not installed; `pantograph run` installs it")
        elif here.broken or not here.state.healthy:
            why = here.broken or "; ".join(here.state.problems) or "the triggers are gone"
            verdict = Verdict(False, "CaptureBroken", why)
        elif seen.control is not None and seen.control.lease <= 0:
            verdict = Verdict(
                False, "LeaseEnded", "nobody has read it for longer than retention.maxAge: nothing is noted"
            )
        else:
            verdict = self._source(database, seen, silent=False) or Verdict(True, "CaptureInstalled")
        capture = here.capture if here else None
        behind = [seen.behind.get(_full(one)) for one in self.manifests.reflections_of(table)]
        known = [events for events, _ in filter(None, behind)]
        status = SourceTableStatus(
            capture=CaptureStatus(
                version=capture.version if capture else 0,
                columns=capture.columns if capture else (),
                blind_spots=seen.spots.get(table.name, ()),
            ),
            pending_events=max(known) if known else None,
            conditions=self._conditions(verdict),
        )
        return table.model_copy(update={"status": status})

    def reflection(self, reflection: Reflection) -> Reflection:
        """A Reflection with its status."""
        table = self.manifests.source_of(reflection)
        database = self.manifests.database_of(table)
        owner = owner_of(database, self.installation)
        here, there = self.looks[database.key], self.looks[reflection.destination_key]
        checkpoint = there.checkpoints.get(owner, {}).get(checkpoint_name(_full(reflection)))
        stream = there.checkpoints.get(owner, {}).get(
            f"stream/{reflection.spec.destination.database_ref.name}/{reflection.spec.stream}"
        )
        state = checkpoint.state if checkpoint else None
        image = stream.state if stream and state and state.in_step else state
        verdict = self._replicating(reflection, table, database, checkpoint)
        noted = there.keys.get(owner, {}).get(_full(reflection), {})
        verified = state.verified if state and state.verified and state.verified.at else None
        lag = here.behind.get(_full(reflection))
        rows = there.rows.get(_full(reflection))
        status = ReflectionStatus(
            lag_seconds=round(lag[1], 3) if lag and state and state.complete else None,
            rows=rows if checkpoint else None,
            snapshot=_snapshot(checkpoint),
            image=image.image if image and state and state.complete else None,
            image_reason=image.image_reason if image else "",
            image_at=datetime.fromtimestamp(image.image_at, UTC) if image and image.image_at else None,
            parked=noted.get("parent", 0) if checkpoint else None,
            dead_letters=noted.get("dead", 0) if checkpoint else None,
            verified_at=datetime.fromtimestamp(verified.at, UTC) if verified else None,
            differing=verified.differing if verified else None,
            held_deletes=state.sweep.extras if state and state.sweep and state.sweep.phase == "held" else None,
            conditions=self._conditions(verdict),
        )
        return reflection.model_copy(update={"status": status})

    def _source(self, database: Database, seen: Look, *, silent: bool = True) -> Verdict | None:
        """What is wrong with a source as a whole."""
        if not self.manifests.source_tables_of(database) or seen.control is None:
            return None
        owner = owner_of(database, self.installation)
        if seen.control.owner != owner:
            return Verdict(False, "CaptureOwned", f"capture belongs to {seen.control.owner!r}, not to {owner!r}")
        if silent and (seen.heartbeat is None or seen.heartbeat > SILENCE):
            ago = f"has moved rows for {terminal.span(seen.heartbeat)}" if seen.heartbeat else "moves rows"
            return Verdict(False, "NotRunning", f"nobody {ago}; `pantograph run` goes on where it stopped")
        return None

    def _replicating(
        self, reflection: Reflection, table: SourceTable, database: Database, checkpoint: Checkpoint | None
    ) -> Verdict:
        here, there = self.looks[database.key], self.looks[reflection.destination_key]
        for seen, where in ((here, "source"), (there, "destination")):
            if seen.error is not None:
                return Verdict(False, f"{where.title()}{seen.error.reason}", str(seen.error))
        if reflection.spec.paused or database.spec.reflector.paused:
            return Verdict(False, "Paused", "as its manifest says; changes wait")
        name = _full(reflection)
        failure = here.changed.get(name)
        if checkpoint is None:
            if failure is not None:
                return Verdict(False, failure.reason, str(failure))
            return Verdict(False, "NotStarted", "nothing is copied yet; `pantograph run` begins")
        if (wrong := self._source(database, here)) is not None:
            return wrong
        capture = here.tables.get(table.name)
        if capture is None or capture.capture is None or not capture.state.healthy:
            return Verdict(False, "CaptureBroken", f"see SourceTable {table.name}")
        if failure is not None:
            return Verdict(False, failure.reason, str(failure))
        sweep = checkpoint.state.sweep
        if sweep is not None and sweep.phase == "held":
            return Verdict(
                False,
                "SweepHeld",
                f"{terminal.count(sweep.extras)} rows are not at the source; allow their deletion with the annotation "
                f'pantograph.dev/allow-deletes: "{sweep.extras}"',
            )
        reason = sweep.reason if sweep is not None else "SchemaChanged" if name in here.changed else ""
        pacing = Pacing(database.spec.reflector.sweep.window)
        if reason and not pacing.allows(reason):
            return Verdict(False, OUTSIDE_WINDOW, pacing.deferred(reason))
        if reason:
            return Verdict(False, "Snapshot" if reason == "Snapshot" else "Sweep", reason)
        if not checkpoint.state.complete:
            return Verdict(False, "Snapshot")
        return Verdict(True, "Replicating")

    def _conditions(self, verdict: Verdict) -> tuple[Condition, ...]:
        return conditions.put(
            (), conditions.READY, verdict.ready, verdict.reason, verdict.message, generation=0, now=self.now
        )


def _snapshot(checkpoint: Checkpoint | None) -> SnapshotStatus:
    if checkpoint is None:
        return SnapshotStatus(percent=0)
    sweep = checkpoint.state.sweep
    if sweep is None:
        return SnapshotStatus(percent=100 if checkpoint.state.complete else 0)
    # An estimate may be too low; 100 is for what is done.
    percent = min(99, sweep.rows * 100 // sweep.estimated) if sweep.estimated else None
    return SnapshotStatus(rows=sweep.rows, percent=percent)


# -- writing -----------------------------------------------------------------------------------------------------------


def _table(standing: Standing, *, wide: bool) -> str:
    parts = [
        _rows(standing, Database, _DATABASE, wide),
        _rows(standing, SourceTable, _SOURCE_TABLE, wide),
        _rows(standing, Reflection, _REFLECTION, wide),
    ]
    return "\n\n".join(part for part in parts if part)


Column = tuple[str, bool, Callable[[Standing, Any], str]]
"""Head, whether it is only for `wide`, and how it is told."""


def _address(manifests: Manifests, one: Database) -> str:
    try:
        return address(manifests, one).label
    except errors.SpecErrors:  # it is in a Secret that was not read
        return "/".join(filter(None, (one.spec.host, one.spec.database)))


def _source(manifests: Manifests, one: Reflection) -> str:
    table = manifests.source_tables.get(one.source_key)
    return table.qualified_table if table else one.spec.source_table_ref.name


def _ready(standing: Standing, one: Resource) -> str:
    return str(standing.verdict(one).ready)


def _reason(standing: Standing, one: Resource) -> str:
    return standing.verdict(one).reason


def _message(standing: Standing, one: Resource) -> str:
    return standing.verdict(one).message


_LAST: tuple[Column, ...] = (("READY", False, _ready), ("REASON", False, _reason), ("MESSAGE", True, _message))

_DATABASE: tuple[Column, ...] = (
    ("DATABASE", False, lambda _, one: terminal.short(f"{one.namespace}/{one.name}")),
    ("DIALECT", False, lambda _, one: one.spec.dialect),
    ("ADDRESS", True, lambda s, one: _address(s.manifests, one)),
    ("SERVER", True, lambda _, one: one.status.server),
    ("READ", False, lambda s, one: _ago(s.looks[one.key].heartbeat)),
    *_LAST,
)
_SOURCE_TABLE: tuple[Column, ...] = (
    ("SOURCETABLE", False, lambda _, one: terminal.short(f"{one.namespace}/{one.name}")),
    ("TABLE", False, lambda _, one: one.qualified_table),
    ("PENDING", False, lambda _, one: _number(one.status.pending_events)),
    *_LAST,
)
_REFLECTION: tuple[Column, ...] = (
    ("REFLECTION", False, lambda _, one: terminal.short(f"{one.namespace}/{one.name}")),
    ("SOURCE", False, lambda s, one: _source(s.manifests, one)),
    ("DESTINATION", False, lambda _, one: f"{one.spec.destination.database_ref.name}/{one.qualified_table}"),
    ("LAG", False, lambda _, one: "" if one.status.lag_seconds is None else terminal.span(one.status.lag_seconds)),
    ("ROWS", False, lambda _, one: _number(one.status.rows)),
    ("SNAPSHOT", False, lambda _, one: _percent(one.status.snapshot)),
    ("IMAGE", True, lambda _, one: "" if one.status.image is None else str(one.status.image)),
    ("PARKED", True, lambda _, one: _number(one.status.parked)),
    ("DEAD LETTERS", True, lambda _, one: _number(one.status.dead_letters)),
    *_LAST,
)


def _rows(standing: Standing, kind: type[Resource], columns: Sequence[Column], wide: bool) -> str:
    shown = [column for column in columns if wide or not column[1]]
    rows = [[tell(standing, one) for _, _, tell in shown] for one in standing.resources if isinstance(one, kind)]
    return terminal.table([head for head, _, _ in shown], rows) if rows else ""


def _ago(seconds: float | None) -> str:
    return "" if seconds is None else f"{terminal.span(seconds)} ago"


def _number(number: int | None) -> str:
    return "" if number is None else terminal.count(number)


def _percent(snapshot: SnapshotStatus) -> str:
    return f"{terminal.count(snapshot.rows)} rows" if snapshot.percent is None else f"{snapshot.percent} %"


def _tree(standing: Standing) -> dict[str, Any]:
    """As kubectl prints a list of objects: the manifests with their status. No Secret is among them."""
    return {"apiVersion": "v1", "kind": "List", "items": [_item(one) for one in standing.resources]}


def _item(one: Resource) -> dict[str, Any]:
    status: Model = one.status  # type: ignore[attr-defined]  # every kind has one
    told = status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"observed_generation"})
    metadata = {"name": one.name, "namespace": one.namespace}
    return {
        "apiVersion": API_VERSION,
        "kind": one.KIND,
        "metadata": metadata,
        "spec": one.manifest()["spec"],
        "status": told,
    }


def _json(standing: Standing) -> str:
    return json.dumps(_tree(standing), indent=2, ensure_ascii=False)


def _yaml(standing: Standing) -> str:
    import yaml

    return yaml.safe_dump(_tree(standing), sort_keys=False, allow_unicode=True, width=120).rstrip()


WRITERS: Mapping[str, Callable[[Standing], str]] = {
    "table": lambda standing: _table(standing, wide=False),
    "wide": lambda standing: _table(standing, wide=True),
    "json": _json,
    "yaml": _yaml,
}
