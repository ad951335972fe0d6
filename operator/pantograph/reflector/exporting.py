"""`/metrics` of a reflector: what the board knows at the moment of a scrape."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from types import TracebackType

import pantograph
from pantograph import errors, metrics
from pantograph.apply.prepare import WantedCopy
from pantograph.apply.sources import Retention, Wanted
from pantograph.dialects.base import Address
from pantograph.metrics import Histogram, Metric, exposition
from pantograph.reflector.counting import Counting
from pantograph.reflector.process import Process
from pantograph.reflector.reporting import Board, Kept, Link, Seen

Sample = tuple[Metric, float | Histogram | None, tuple[str, ...]]
"""A metric, its value, which may be unknown, and the labels beside `namespace` and `name`."""


def page(board: Board, processes: Sequence[Process]) -> str:
    """The page, worked out now."""
    return exposition.text(metrics.REFLECTOR, _all(board, [process.wanted for process in list(processes)]))


def _all(board: Board, wanted: Sequence[Wanted]) -> Iterator[exposition.Sample]:
    info = (pantograph.__version__, platform.python_version())
    yield metrics.BUILD_INFO, exposition.labelled(metrics.BUILD_INFO.all_labels, info), 1
    places = {
        (one.name, table.subject): ".".join(filter(None, (table.schema, table.table)))
        for one in wanted
        for table in one.tables
    }
    about = {
        copy.name: _about(one, places[one.name, copy.source], destination, address, copy)
        for one in wanted
        for destination, (address, copies) in one.copies.items()
        for copy in copies
    }
    retention = {table.name: one.retention.get(table.subject, Retention()) for one in wanted for table in one.tables}
    for seen in board.all():
        samples = _of_reflection(seen, board.lag(seen), about.get(seen.name, ("",) * 6))
        yield from _labelled(seen.name, samples)
    for kept in board.tables():
        yield from _labelled(kept.name, _of_table(kept, retention.get(kept.name)))
    for link in board.links():
        yield from _labelled(link.name, _of_database(link, board))


def _labelled(name: str, samples: Iterator[Sample]) -> Iterator[exposition.Sample]:
    """Those that are known, with the labels of the object. These are rendered once: there are many samples."""
    labels = exposition.labelled(metrics.OBJECT, name.split("/", 1))
    for metric, value, more in samples:
        if value is not None:
            yield metric, f"{labels},{exposition.labelled(metric.labels, more)}" if more else labels, value


def _of_reflection(seen: Seen, lag: float | None, about: tuple[str, ...]) -> Iterator[Sample]:
    yield metrics.REFLECTION_INFO, 1, about
    yield metrics.LAG, lag, ()
    yield metrics.PENDING, seen.pending, ()
    yield metrics.LAST_SUCCESS, seen.last_success or None, ()
    yield metrics.PROPAGATION, seen.propagation, ()
    yield metrics.EVENTS, seen.events, ()
    yield metrics.COALESCED, seen.coalesced, ()
    yield metrics.ROWS, seen.upserted, ("upsert",)
    yield metrics.ROWS, seen.deleted, ("delete",)
    for kind in errors.Rejected.KINDS:
        yield metrics.ROWS_FAILED, seen.refused[kind], (kind,)
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
    yield metrics.SWEPT, seen.swept, ()
    yield metrics.SWEEP_BEGAN, seen.sweep_began or None, ()
    yield metrics.SWEEP_ENDED, seen.sweep_ended or None, ()
    if seen.phase in ("Snapshot", "Sweep", "Held") and seen.sweep_estimated:
        yield metrics.PROGRESS, min(1.0, seen.sweep_rows / seen.sweep_estimated), ()
        yield metrics.ESTIMATED, seen.sweep_estimated, ()


def _of_table(kept: Kept, retention: Retention | None) -> Iterator[Sample]:
    yield metrics.BACKLOG, kept.backlog, ()
    yield metrics.BACKLOG_BYTES, kept.size, ()
    yield metrics.OLDEST_EVENT, kept.oldest_at, ()
    if retention is not None:
        yield metrics.RETENTION_AGE, retention.max_age, ()
        yield metrics.RETENTION_ROWS, retention.max_rows, ()
    yield metrics.PURGED, kept.purged, ()
    yield metrics.EXPIRED, kept.expired, ()
    yield metrics.DRIFT, None if kept.drift is None else int(kept.drift), ()


def _of_database(link: Link, board: Board) -> Iterator[Sample]:
    up = board.up(link)
    yield metrics.UP, None if up is None else int(up), (link.role,)
    for reason, count in list(link.failures.items()):
        yield metrics.CONNECT_FAILURES, count, (link.role, reason)
    yield metrics.OLDEST_TRANSACTION, board.oldest_transaction(link), ()


def _about(wanted: Wanted, source: str, destination: str, address: Address, copy: WantedCopy) -> tuple[str, ...]:
    return (
        wanted.name.partition("/")[2],
        source,
        destination,
        ".".join(filter(None, (copy.schema, copy.table))),
        wanted.address.dialect,
        address.dialect,
    )


class Exporter:
    """Serves `/metrics` while entered."""

    def __init__(self, board: Board, processes: Sequence[Process], port: int, address: str) -> None:
        self._counting = Counting(board, processes)
        self._server = exposition.Server(lambda: page(board, processes), port, address)

    def __enter__(self) -> Exporter:
        self._server.__enter__()
        self._counting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counting.stop.set()
        self._server.__exit__(kind, value, trace)
