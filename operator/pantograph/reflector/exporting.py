"""`/metrics`: what the board knows at the moment of a scrape, and what only the databases know, counted beside it."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import HTTPServer
from types import TracebackType

import prometheus_client
from prometheus_client import core, registry

import pantograph
from pantograph import dialects, errors, metrics
from pantograph.apply.prepare import WantedCopy
from pantograph.apply.sources import Wanted
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.metrics import Metric
from pantograph.model.changes import Position
from pantograph.pipeline import keys, steps
from pantograph.pipeline.turn import Group
from pantograph.reflector.process import Process
from pantograph.reflector.reporting import Board, Seen

COUNT_EVERY = 15.0
COUNTED = 1_000_000

Family = core.GaugeMetricFamily | core.CounterMetricFamily | core.HistogramMetricFamily


class Collector(registry.Collector):
    """Tells Prometheus what a board knows now."""

    def __init__(self, board: Board, processes: Sequence[Process]) -> None:
        self._board, self._processes = board, processes

    def collect(self) -> Iterator[core.Metric]:
        """All families."""
        info = core.GaugeMetricFamily(
            metrics.BUILD_INFO.name, metrics.BUILD_INFO.help, labels=metrics.labels_of(metrics.BUILD_INFO)
        )
        info.add_metric([pantograph.__version__, platform.python_version()], 1)
        yield info
        families = {metric.name: _family(metric) for metric in metrics.OF_REFLECTIONS}
        about = {
            copy.name: _about(wanted, destination, address, copy)
            for wanted in [process.wanted for process in list(self._processes)]
            for destination, (address, copies) in wanted.copies.items()
            for copy in copies
        }
        for seen in self._board.all():
            _add(families, metrics.REFLECTION_INFO, seen, 1, *about.get(seen.name, ("",) * 6))
            for metric, value, labels in _samples(seen, self._board.lag(seen)):
                if value is not None:
                    _add(families, metric, seen, value, *labels)
        yield from families.values()

    def describe(self) -> Iterator[core.Metric]:
        """Nothing: what is collected is described by being collected."""
        return iter(())


Sample = tuple[Metric, float | metrics.Histogram | None, tuple[str, ...]]


def _samples(seen: Seen, lag: float | None) -> Iterator[Sample]:
    yield metrics.LAG, lag, ()
    yield metrics.PENDING, seen.pending, ()
    yield metrics.LAST_SUCCESS, seen.last_success or None, ()
    yield metrics.PROPAGATION, seen.propagation, ()
    yield metrics.EVENTS, seen.events, ()
    yield metrics.ROWS, seen.upserted, ("upsert",)
    yield metrics.ROWS, seen.deleted, ("delete",)
    for result, count in list(seen.turns.items()):
        yield metrics.TURNS, count, (result,)
    for phase, spent in list(seen.turn_seconds.items()):
        yield metrics.TURN_DURATION, spent, (phase,)
    for reason, count in list(seen.failures.items()):
        yield metrics.FAILURES, count, (reason,)
    yield metrics.CONFLICTS, seen.failures.get(errors.StaleCheckpoint.reason, 0), ()
    yield metrics.PAUSED, int(seen.phase == "Paused"), ()
    yield metrics.STALLED, int(seen.phase in ("Failed", "Held")), ()
    yield metrics.IMAGE, None if seen.image is None else int(seen.image), ()
    yield metrics.IMAGE_AT, seen.image_at or None, ()
    yield metrics.PARKED, seen.waiting_rows, ()
    yield metrics.DEAD_LETTERS, seen.dead_letters, ()
    yield metrics.HELD, seen.held, ()
    yield metrics.VERIFIED_AT, seen.verified_at or None, ()
    yield metrics.DIFFERING, seen.differing, ()
    yield metrics.COMPLETE, int(seen.complete), ()
    yield metrics.SWEPT, seen.sweep_rows, ()
    if seen.phase in ("Snapshot", "Sweep", "Held") and seen.sweep_estimated:
        yield metrics.PROGRESS, min(1.0, seen.sweep_rows / seen.sweep_estimated), ()
        yield metrics.ESTIMATED, seen.sweep_estimated, ()


def _about(wanted: Wanted, destination: str, address: Address, copy: WantedCopy) -> tuple[str, ...]:
    source = next(table for table in wanted.tables if table.subject == copy.source)
    return (
        wanted.name.partition("/")[2],
        ".".join(filter(None, (source.schema, source.table))),
        destination,
        ".".join(filter(None, (copy.schema, copy.table))),
        wanted.address.dialect,
        address.dialect,
    )


def _family(metric: Metric) -> Family:
    labels = metrics.labels_of(metric)
    if metric.kind == "counter":
        return core.CounterMetricFamily(metric.name, metric.help, labels=labels)
    if metric.kind == "histogram":
        return core.HistogramMetricFamily(metric.name, metric.help, labels=labels)
    return core.GaugeMetricFamily(metric.name, metric.help, labels=labels)


def _add(
    families: Mapping[str, Family], metric: Metric, seen: Seen, value: float | metrics.Histogram, *labels: str
) -> None:
    family, values = families[metric.name], [*seen.name.split("/", 1), *labels]
    if isinstance(value, metrics.Histogram):
        assert isinstance(family, core.HistogramMetricFamily)
        family.add_metric(values, value.cumulative(), value.total)
    else:
        assert not isinstance(family, core.HistogramMetricFamily)
        family.add_metric(values, value)


class Counting(threading.Thread):
    """Asks the databases what the workers cannot know: how much waits, also while they are stuck.

    On connections of its own, opened for each look and closed after it, and in a thread of its own: a database that
    does not answer must not keep a scrape waiting, which would hide exactly what it should tell.
    """

    def __init__(self, board: Board, processes: Sequence[Process]) -> None:
        super().__init__(name="counting", daemon=True)
        self._board, self._processes = board, processes
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(COUNT_EVERY):
            for process in list(self._processes):
                self.count(process)

    def count(self, process: Process) -> None:
        """Look at one source and its destinations."""
        groups = process.groups()
        names = [mirror.name for group in groups for mirror in list(group.mirrors)]
        try:
            found = _pending(process, groups)
        except errors.PantographError:
            found = {}  # the workers say what is wrong; here it is only unknown
        for name in names:
            events, age = found.get(name, (None, 0.0))
            self._board.of(name).pending = events
            # A turn that ended since has applied them: its own word is newer.
            if events and (self._board.lag(self._board.of(name)) or 0) > 0:
                self._board.behind([name], age)
        for address, copies in process.wanted.copies.values():
            try:
                waiting = _waiting(process, address)
            except errors.PantographError:
                waiting = None
            for copy in copies:
                seen = self._board.of(copy.name)
                noted = {} if waiting is None else waiting.get(copy.name, {})
                seen.waiting_rows = None if waiting is None else noted.get("parent", 0)
                seen.dead_letters = None if waiting is None else noted.get("dead", 0)


def _pending(process: Process, groups: Sequence[Group]) -> dict[str, tuple[int, float]]:
    """By Reflection: events that are not applied, and the age of the oldest."""
    by_position: dict[Position, list[tuple[str, str]]] = {}
    for group in groups:
        if group.read:
            by_position.setdefault(group.read, []).extend((m.name, m.capture.id) for m in list(group.mirrors))
    captures = {mirror.capture.id: mirror.capture for group in groups for mirror in list(group.mirrors)}
    if not by_position:
        return {}
    dialect = dialects.load(process.wanted.address)
    session = Session(dialect, Role.READER)
    found: dict[str, tuple[int, float]] = {}
    try:
        reader = dialect.reader(list(captures.values()))
        with session.step(steps.OPEN_SNAPSHOT):
            until = reader.open(session, list(by_position))
        with session.step(steps.COUNT_EVENTS):
            for position, members in by_position.items():
                since = {capture: position for _, capture in members}
                pending = reader.pending(session, since, until, COUNTED)
                for name, capture in members:
                    count, age = pending.get(capture, (None, 0.0))
                    found[name] = (count.events if count else 0, age)
        session.rollback()
    finally:
        session.close()
    return found


def _waiting(process: Process, address: Address) -> dict[str, dict[str, int]]:
    dialect = dialects.load(address)
    session = Session(dialect, Role.SIDE)
    try:
        with session.step(steps.INSPECT):
            return keys.counts(session, dialect, process.wanted.owner)
    finally:
        session.close()


class Exporter:
    """Serves `/metrics` while entered."""

    def __init__(self, board: Board, processes: Sequence[Process], port: int, address: str) -> None:
        self._counting = Counting(board, processes)
        self._registry = prometheus_client.CollectorRegistry()
        self._registry.register(Collector(board, processes))
        prometheus_client.ProcessCollector(registry=self._registry)
        prometheus_client.GCCollector(registry=self._registry)
        self._port, self._address = port, address
        self._server: HTTPServer | None = None

    def __enter__(self) -> Exporter:
        try:
            self._server, _ = prometheus_client.start_http_server(self._port, self._address, self._registry)
        except OSError as error:
            raise errors.PantographError(
                f"/metrics cannot listen on {self._address}:{self._port}: {error.strerror}; "
                "choose another --metrics-port"
            ) from error
        self._counting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counting.stop.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
