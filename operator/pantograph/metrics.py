"""What `/metrics` shows: names, kinds, labels and the words that explain them. Values are put in at every scrape.

Base units; `_total` counts, `_info` tells in labels. A value that nobody knows is absent, never -1. No key, value, SQL
or text of an error is in a label. Every metric of an object carries `namespace` and `name`.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
OBJECT = ("namespace", "name")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. labels: beside those of every object; buckets: of a histogram, in seconds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass
class Histogram:
    """Observations counted into buckets; `counts` has one more entry than there are bounds."""

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
        found, count = [], 0
        for bound, number in zip((*map(str, self.bounds), "+Inf"), list(self.counts), strict=True):
            count += number
            found.append((bound, count))
        return found


# Commit to visible is milliseconds when all is well and hours when it is not; both ends must be told apart.
PROPAGATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
TURN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

BUILD_INFO = Metric("pantograph_build_info", "gauge", "1; the labels say what runs.", ("version", "python"))
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
    "Age of the oldest committed change that is not applied, 0 when there is none. Worked out at the scrape, so that "
    "it grows while a reflector is stuck. While the source cannot be asked, the time since it last was; absent before.",
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
EVENTS = Metric("pantograph_reflection_events_read_total", "counter", "Events read and applied.")
ROWS = Metric(
    "pantograph_reflection_rows_applied_total",
    "counter",
    "Rows written at the destination; a row that was equal already is not counted.",
    ("operation",),
)
TURNS = Metric(
    "pantograph_reflection_turns_total",
    "counter",
    "Turns by result: applied (something was written), empty, page (a part of a large window).",
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
    "How much of the table the copy or sweep under way has read, by estimate, 0 to 1; absent when none is.",
)
SWEPT = Metric(
    "pantograph_snapshot_rows_total", "counter", "Rows read by the copy or sweep; begins again with every sweep."
)
ESTIMATED = Metric("pantograph_snapshot_estimated_rows", "gauge", "Rows that the copy or sweep expects to read.")
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

OF_REFLECTIONS: tuple[Metric, ...] = (
    REFLECTION_INFO,
    LAG,
    PENDING,
    LAST_SUCCESS,
    PROPAGATION,
    EVENTS,
    ROWS,
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
    VERIFIED_AT,
    DIFFERING,
)
ALL: tuple[Metric, ...] = (BUILD_INFO, *OF_REFLECTIONS)


def labels_of(metric: Metric) -> tuple[str, ...]:
    """All labels of a metric, in the order in which values are given."""
    return metric.labels if metric is BUILD_INFO else (*OBJECT, *metric.labels)


def table(listed: Sequence[Metric] = ALL) -> str:
    """The declarations as the reference page has them (docs/reference/metrics.md)."""
    lines = ["| metric | type | labels | what it says |", "| --- | --- | --- | --- |"]
    for metric in listed:
        labels = ", ".join(f"`{label}`" for label in labels_of(metric))
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines)
