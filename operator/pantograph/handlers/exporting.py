"""`/metrics` of the operator: what it has done, and the conditions of all objects, worked out at a scrape."""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pantograph
from pantograph import metrics
from pantograph.handlers import outcomes
from pantograph.handlers.known import Group, Known
from pantograph.handlers.outcomes import Outcome
from pantograph.metrics import Histogram, exposition


class Counts:
    """What is counted as it happens. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks: Counter[tuple[str, str]] = Counter()
        self._took = Histogram(metrics.RECONCILE_DURATION.buckets)
        self._watched: dict[str, float] = {}

    def looked(self, group: Group, outcome: Outcome, seconds: float) -> None:
        """A whole look at a group has ended."""
        with self._lock:
            self._took.observe(seconds)
            for one in group.members:
                failure = outcome.failure(one)
                passing = isinstance(failure, outcomes.PASSING) or (one.kind, one.key) in outcome.leaving
                self._looks[one.kind, "waiting" if passing else "error" if failure else "ok"] += 1

    def watched(self, resource: str) -> None:
        """The watch has told of a change."""
        self._watched[resource] = time.time()

    def page(self, known: Known, *, leads: bool) -> str:
        """The page, worked out now."""
        return exposition.text(metrics.OPERATOR, self._samples(known, leads))

    def _samples(self, known: Known, leads: bool) -> Iterator[exposition.Sample]:
        info = (pantograph.__version__, platform.python_version())
        yield metrics.BUILD_INFO, exposition.labelled(metrics.BUILD_INFO.all_labels, info), 1
        yield metrics.LEADER, "", int(leads)
        with self._lock:
            looks = sorted(self._looks.items())
            yield metrics.RECONCILE_DURATION, "", self._took
        for labels, count in looks:
            yield metrics.RECONCILES, exposition.labelled(metrics.RECONCILES.labels, labels), count
        for resource, at in sorted(self._watched.items()):
            yield metrics.WATCHED_AT, exposition.labelled(metrics.WATCHED_AT.labels, (resource,)), at
        if leads:  # whoever waits for the Lease has seen nothing
            yield from _conditions(known)


def _conditions(known: Known) -> Iterator[exposition.Sample]:
    for one in known.entries():
        for condition in outcomes.conditions_of(one):
            for status in ("True", "False", "Unknown"):
                labels = (*one.key, one.kind, condition.type, status)
                named = exposition.labelled(metrics.RESOURCE_CONDITION.all_labels, labels)
                yield metrics.RESOURCE_CONDITION, named, int(condition.status == status)
