"""What `/metrics` shows: names, kinds, labels and the words that explain them. Values are put in at every scrape.

Base units; `_total` counts, `_info` tells in labels. A value that nobody knows is absent, never -1. No key, value, SQL
or text of an error is in a label. Every metric of an object carries `namespace` and `name`. The reference page
(docs/reference/metrics.md) is rendered from here, and a test holds them equal.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
OBJECT = ("namespace", "name")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. labels: beside those of every object; buckets: of a histogram, in seconds; of_object: is it about one
    object, which `namespace` and `name` tell?"""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    of_object: bool = True

    @property
    def all_labels(self) -> tuple[str, ...]:
        """All labels, in the order in which values are given."""
        return (*OBJECT, *self.labels) if self.of_object else self.labels


@dataclass
class Histogram:
    """Observations counted into buckets. counts: one more than there are bounds; total: of the values."""

    bounds: tuple[float, ...]
    total: float = 0.0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound, how many are at or below it), as Prometheus wants them."""
        return list(zip((*map(str, self.bounds), "+Inf"), itertools.accumulate(self.counts), strict=True))


# Commit to visible is milliseconds when all is well and hours when it is not; both ends must be told apart. Few bounds
# all the same: each is a series for every Reflection.
PROPAGATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0)
TURN_BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

BUILD_INFO = Metric(
    "pantograph_build_info", "gauge", "1; the labels say what runs.", ("version", "python"), of_object=False
)

# -- of a Reflection, by the reflector ---------------------------------------------------------------------------------

REFLECTION_INFO = Metric(
    "pantograph_reflection_info",
    "gauge",
    "1; the labels say from where to where.",
    (
        "source_database",
        "source_table",
        "destination_database",
        "destination_table",
        "source_dialect",
        "destination_dialect",
    ),
)
LAG = Metric(
    "pantograph_reflection_lag_seconds",
    "gauge",
    "Age, by the source's clock, of the oldest committed change that is not applied, 0 when there is none. Worked out "
    "at the scrape, so that it grows while a reflector is stuck. While the source cannot be asked, the time since it "
    "last was; absent before.",
)
PENDING = Metric(
    "pantograph_reflection_pending_events",
    "gauge",
    "Events that are not applied, counted up to 1,000,000 every 15 seconds; absent when they could not be counted.",
)
LAST_SUCCESS = Metric(
    "pantograph_reflection_last_success_timestamp_seconds",
    "gauge",
    "When the source was last read and nothing that it had committed was left to apply.",
)
PROPAGATION = Metric(
    "pantograph_reflection_propagation_seconds",
    "histogram",
    "From the commit of the oldest change of a turn to the turn's own commit at the destination.",
    buckets=PROPAGATION_BUCKETS,
)
EVENTS = Metric(
    "pantograph_reflection_events_read_total",
    "counter",
    "Events read and applied; of a window that goes in pages, its keys.",
)
COALESCED = Metric(
    "pantograph_reflection_events_coalesced_total",
    "counter",
    "Those of them that cost no row of their own, because the same turn had another event of the same key.",
)
ROWS = Metric(
    "pantograph_reflection_rows_applied_total",
    "counter",
    "Rows written at the destination; a row that was equal already is not counted.",
    ("operation",),
)
ROWS_FAILED = Metric(
    "pantograph_reflection_rows_failed_total",
    "counter",
    "Rows that the destination refused, each attempt: those that became dead letters, and those for which the "
    "Reflection stopped. By what they break: unique, foreign key, not null, check, type, length, other.",
    ("reason",),
)
TURNS = Metric(
    "pantograph_reflection_turns_total",
    "counter",
    "Turns by result: applied (something was written), empty, page (a part of a large window), contended (thrown away, "
    "for another was quicker), failed.",
    ("result",),
)
TURN_DURATION = Metric(
    "pantograph_reflection_turn_duration_seconds",
    "histogram",
    "What a turn that wrote something spent, by phase: read, write, commit.",
    ("phase",),
    TURN_BUCKETS,
)
FAILURES = Metric(
    "pantograph_reflection_failures_total",
    "counter",
    "Failures by kind, the CamelCase reason that status and log show too; each is tried again.",
    ("reason",),
)
CONFLICTS = Metric(
    "pantograph_reflection_checkpoint_conflicts_total",
    "counter",
    "Turns thrown away because another reflector had moved the checkpoint.",
)
PAUSED = Metric("pantograph_reflection_paused", "gauge", "1 while paused.")
STALLED = Metric(
    "pantograph_reflection_stalled", "gauge", "1 while it does not move until a person acts: failed or held."
)
IMAGE = Metric(
    "pantograph_reflection_image", "gauge", "1 while the destination shows the source as it was at one moment."
)
IMAGE_AT = Metric(
    "pantograph_reflection_image_timestamp_seconds", "gauge", "Of when the destination last was such an image."
)
PARKED = Metric(
    "pantograph_reflection_parked_rows", "gauge", "Rows that wait for a row they refer to, counted every 15 seconds."
)
DEAD_LETTERS = Metric(
    "pantograph_reflection_dead_letters",
    "gauge",
    "Rows set aside because the destination refuses them, counted every 15 seconds.",
)
HELD = Metric(
    "pantograph_reflection_held_deletes",
    "gauge",
    "Rows that a sweep would delete and does not until the annotation pantograph.dev/allow-deletes says so.",
)
COMPLETE = Metric("pantograph_snapshot_complete", "gauge", "1 once the first copy is there.")
PROGRESS = Metric(
    "pantograph_snapshot_progress_ratio",
    "gauge",
    "How much of the table the copy or sweep under way has read, by estimate, 0 to 1; absent when none is, and outside "
    "the hours in which it may go on (spec.reflector.sweep.window).",
)
SWEPT = Metric(
    "pantograph_snapshot_rows_total",
    "counter",
    "Rows read by copies and sweeps: those of the source, then those of the destination, some of which may have to go.",
)
ESTIMATED = Metric(
    "pantograph_snapshot_estimated_rows",
    "gauge",
    "Rows that the copy or sweep under way expects to read; absent when none is.",
)
SWEEP_BEGAN = Metric(
    "pantograph_snapshot_start_timestamp_seconds",
    "gauge",
    "When the last copy or sweep began, or was taken up again by this process; absent while it has seen none.",
)
SWEEP_ENDED = Metric(
    "pantograph_snapshot_end_timestamp_seconds",
    "gauge",
    "When it ended; absent while one is under way.",
)
VERIFIED_AT = Metric(
    "pantograph_verify_last_timestamp_seconds",
    "gauge",
    "When it was last compared with its source to the end, as spec.verify says; absent before.",
)
DIFFERING = Metric(
    "pantograph_verify_differing_rows",
    "gauge",
    "Rows that differed then, those that were repaired as well.",
)

# -- of a SourceTable, by the reflector --------------------------------------------------------------------------------

BACKLOG = Metric(
    "pantograph_capture_backlog_events",
    "gauge",
    "Events that are kept because a Reflection, also a paused one, might go back to them: counted up to 1,000,000 once "
    "a minute. Some minutes' worth is always there.",
)
BACKLOG_BYTES = Metric(
    "pantograph_capture_backlog_bytes",
    "gauge",
    "What the event table takes of the source's disk, where the engine tells (PostgreSQL, MariaDB, MySQL).",
)
OLDEST_EVENT = Metric(
    "pantograph_capture_oldest_event_timestamp_seconds",
    "gauge",
    "When the oldest of these events was written; absent when there is none.",
)
RETENTION_AGE = Metric(
    "pantograph_capture_retention_seconds",
    "gauge",
    "spec.retention.maxAge: what is older goes, and a Reflection that has not read it must sweep.",
)
RETENTION_ROWS = Metric("pantograph_capture_retention_events", "gauge", "spec.retention.maxRows.")
PURGED = Metric(
    "pantograph_capture_events_purged_total",
    "counter",
    "Events deleted, because all have read them or because retention took them.",
)
EXPIRED = Metric(
    "pantograph_capture_events_expired_total",
    "counter",
    "Those of them that retention took, whether all had read them or not.",
)
DRIFT = Metric(
    "pantograph_capture_drift",
    "gauge",
    "1 while capture is not in place as it was planned: changes of the table may go unnoticed. Looked at each "
    "minute, and at once when something fails; absent before the first look.",
)

# -- of a Database -----------------------------------------------------------------------------------------------------

OLDEST_TRANSACTION = Metric(
    "pantograph_source_oldest_transaction_seconds",
    "gauge",
    "For how long the oldest open transaction that may still bring events has been seen, every 15 seconds: what it "
    "commits comes late, and events behind it are kept. 0 when there is none; absent where the engine does not tell "
    "(SQLite).",
)
UP = Metric(
    "pantograph_database_up",
    "gauge",
    "1 when the last of the connections that are made every 15 seconds could be used; 0 when it could not, or has not "
    "answered for 45 seconds. Role: source or destination.",
    ("role",),
)
CONNECT_FAILURES = Metric(
    "pantograph_database_connect_failures_total",
    "counter",
    "How many of these connections failed, by kind (Unreachable, Refused, ...).",
    ("role", "reason"),
)

# -- by the operator ---------------------------------------------------------------------------------------------------

RESOURCE_CONDITION = Metric(
    "pantograph_resource_condition",
    "gauge",
    "1 for the status (True, False, Unknown) that a condition of an object has, 0 for the others.",
    ("kind", "type", "status"),
)
RECONCILES = Metric(
    "pantograph_reconcile_total",
    "counter",
    "Looks at an object, by what came of them: ok, waiting (it will be looked at again soon), error.",
    ("kind", "result"),
    of_object=False,
)
RECONCILE_DURATION = Metric(
    "pantograph_reconcile_duration_seconds",
    "histogram",
    "What a look at a Database and all that belongs to it took.",
    buckets=(0.05, 0.25, 1.0, 5.0, 20.0, 60.0),
    of_object=False,
)
LEADER = Metric("pantograph_operator_leader", "gauge", "1 while this operator holds the Lease.", of_object=False)
WATCHED_AT = Metric(
    "pantograph_watch_last_event_timestamp_seconds",
    "gauge",
    "When the API server last told of a change, by resource; absent before the first.",
    ("resource",),
    of_object=False,
)

OF_REFLECTIONS: tuple[Metric, ...] = (
    REFLECTION_INFO,
    LAG,
    PENDING,
    LAST_SUCCESS,
    PROPAGATION,
    EVENTS,
    COALESCED,
    ROWS,
    ROWS_FAILED,
    TURNS,
    TURN_DURATION,
    FAILURES,
    CONFLICTS,
    PAUSED,
    STALLED,
    IMAGE,
    IMAGE_AT,
    PARKED,
    DEAD_LETTERS,
    HELD,
    COMPLETE,
    PROGRESS,
    SWEPT,
    ESTIMATED,
    SWEEP_BEGAN,
    SWEEP_ENDED,
    VERIFIED_AT,
    DIFFERING,
)
OF_TABLES: tuple[Metric, ...] = (
    BACKLOG,
    BACKLOG_BYTES,
    OLDEST_EVENT,
    RETENTION_AGE,
    RETENTION_ROWS,
    PURGED,
    EXPIRED,
    DRIFT,
)
OF_DATABASES: tuple[Metric, ...] = (UP, CONNECT_FAILURES, OLDEST_TRANSACTION)
REFLECTOR: tuple[Metric, ...] = (BUILD_INFO, *OF_REFLECTIONS, *OF_TABLES, *OF_DATABASES)
"""What a reflector shows, and `pantograph run`."""
OPERATOR: tuple[Metric, ...] = (BUILD_INFO, LEADER, RESOURCE_CONDITION, RECONCILES, RECONCILE_DURATION, WATCHED_AT)
"""What the operator shows."""
ALL: tuple[Metric, ...] = (*REFLECTOR, *OPERATOR[1:])

PARTS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    ("Of a Reflection", OF_REFLECTIONS),
    ("Of a SourceTable", OF_TABLES),
    ("Of a Database", OF_DATABASES),
    ("Of the operator", OPERATOR[1:]),
    ("Of the process", (BUILD_INFO,)),
)


def reference() -> str:
    """The declarations as the reference page has them."""
    return "\n\n".join(f"## {title}\n\n{_table(listed)}" for title, listed in PARTS)


def _table(listed: Sequence[Metric]) -> str:
    lines = ["| metric | type | labels | what it says |", "| --- | --- | --- | --- |"]
    for metric in listed:
        labels = ", ".join(f"`{label}`" for label in metric.all_labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines)
