"""What came of a look at a group, and what an object's status says about it. No I/O here.

Operator and reflector write into the same status, each with conditions of its own: the operator's are in `OWN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pantograph import errors
from pantograph.api import conditions
from pantograph.api.conditions import Condition
from pantograph.api.databases import Database
from pantograph.api.manifests import Key
from pantograph.apply.prepare import Captured
from pantograph.handlers.known import Entry, Group
from pantograph.kube.objects import Object

OWN = frozenset(
    (
        conditions.READY,
        conditions.RECONCILING,
        conditions.STALLED,
        conditions.CONNECTED,
        conditions.REFLECTOR_AVAILABLE,
        conditions.CAPTURE_INSTALLED,
        conditions.PREPARED,
    )
)
PASSING = (errors.Unreachable, errors.Contended, errors.DependencyNotReady, errors.ClusterError, errors.CaptureDrift)
"""What may end by itself; all else waits for a person."""
MOVING = frozenset(
    (
        "Starting", "Waiting", "Snapshot", "Sweep", "Deferred", "Unreachable", "Contended", "DependencyNotReady",
        "CaptureNotInstalled", "CaptureDrift", "Replanning", "Widening", "StaleCheckpoint", "SourceMoved", "Stopped",
    )
)  # fmt: skip
"""Reasons of a Reflection that does not replicate and may come to it by itself."""

Id = tuple[str, Key]


@dataclass
class Outcome:
    """What came of a whole look. failed, waiting: by kind and key. captured: of SourceTables. prepared: Reflections."""

    failed: dict[Id, errors.PantographError] = field(default_factory=dict)
    captured: dict[Key, Captured] = field(default_factory=dict)
    blind_spots: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    prepared: set[Key] = field(default_factory=set)
    leaving: dict[Id, str] = field(default_factory=dict)
    gone: set[Id] = field(default_factory=set)
    server: str = ""
    connected: bool = False
    reflector: str = ""
    generations: dict[Id, int] = field(default_factory=dict)

    def fail(self, one: Entry, error: errors.PantographError) -> None:
        """Something about an object did not come about."""
        self.failed.setdefault((one.kind, one.key), error)

    def failure(self, one: Entry) -> errors.PantographError | None:
        """Why an object is not as it should be."""
        return self.failed.get((one.kind, one.key))

    @property
    def passing(self) -> bool:
        """Whether something failed that may do at the next attempt."""
        return any(isinstance(error, PASSING) for error in self.failed.values())


@dataclass(frozen=True)
class Reflector:
    """What is known of a group's reflector. wanted: whether there is to be one."""

    wanted: bool
    available: bool
    message: str = ""


def reflector(deployment: Object | None, *, wanted: bool, trouble: str = "") -> Reflector:
    """What a Deployment says of the reflector."""
    if deployment is None:
        return Reflector(wanted, False, trouble or "its Deployment is not there yet")
    status = deployment.get("status") or {}
    current = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))
    if current and int(status.get("availableReplicas") or 0) > 0:
        return Reflector(wanted, True)
    return Reflector(wanted, False, trouble or "no pod of its Deployment is ready")


def status(one: Entry, group: Group, outcome: Outcome, pod: Reflector, now: datetime) -> dict[str, Any]:
    """The operator's part of an object's status, as it is to be."""
    teller = _Teller(one, now)
    if one.deleting:
        why = outcome.leaving.get((one.kind, one.key), "what is ours is being taken away")
        teller.moves("Deleting", why)
        return teller.status({})
    if one.kind == "Database":
        return _database(one, group, outcome, pod, teller)
    if one.kind == "SourceTable":
        return _source_table(one, outcome, teller)
    return _reflection(one, group, outcome, pod, teller)


def _database(one: Entry, group: Group, outcome: Outcome, pod: Reflector, teller: _Teller) -> dict[str, Any]:
    failure = outcome.failure(one)
    if outcome.connected:
        teller.put(conditions.CONNECTED, True, "Connected", outcome.server)
    elif failure is not None:
        teller.put(conditions.CONNECTED, False, failure.reason, str(failure))
    if pod.wanted:
        if pod.available:
            teller.put(conditions.REFLECTOR_AVAILABLE, True, "Available")
        else:
            teller.put(conditions.REFLECTOR_AVAILABLE, False, "NotAvailable", pod.message)
    if failure is not None:
        teller.failed(failure)
    elif pod.wanted and not pod.available:
        teller.moves("ReflectorNotAvailable", pod.message)
    else:
        teller.ready("Connected")
    return teller.status(
        {
            "server": outcome.server[:256],
            "sourceTables": len([table for table in group.tables if not table.deleting]),
            "reflections": len([reflection for reflection in group.reflections if not reflection.deleting]),
        }
    )


def _source_table(one: Entry, outcome: Outcome, teller: _Teller) -> dict[str, Any]:
    failure, captured = outcome.failure(one), outcome.captured.get(one.key)
    if captured is not None:
        teller.put(conditions.CAPTURE_INSTALLED, True, "Installed")
    elif failure is not None and not isinstance(failure, PASSING):
        teller.put(conditions.CAPTURE_INSTALLED, False, failure.reason, str(failure))
    else:
        # The reflector goes on with what was installed: that a database is away for a while does not take it out.
        teller.keep(conditions.CAPTURE_INSTALLED, failure)
    if failure is not None:
        teller.failed(failure)
    else:
        teller.ready("CaptureInstalled")
    if captured is None:
        kept = (one.body.get("status") or {}).get("capture")
        return teller.status({"capture": kept} if kept else {})
    return teller.status(
        {
            "capture": {
                "version": captured.capture.version,
                "columns": list(captured.capture.columns),
                "blindSpots": [spot[:1024] for spot in outcome.blind_spots.get(one.key, ())],
            }
        }
    )


def _reflection(one: Entry, group: Group, outcome: Outcome, pod: Reflector, teller: _Teller) -> dict[str, Any]:
    failure = outcome.failure(one)
    if one.key in outcome.prepared:
        teller.put(conditions.PREPARED, True, "Prepared")
    elif failure is not None and not isinstance(failure, PASSING):
        teller.put(conditions.PREPARED, False, failure.reason, str(failure))
    else:
        teller.keep(conditions.PREPARED, failure)
    database = group.database.resource if group.database else None
    paused = isinstance(database, Database) and database.spec.reflector.paused
    says = conditions.find(conditions_of(one), conditions.REPLICATING)
    copied = conditions.find(conditions_of(one), conditions.SNAPSHOT_COMPLETE)
    if failure is not None:
        teller.failed(failure)
    elif paused or bool((one.body.get("spec") or {}).get("paused")):
        teller.put(conditions.READY, False, "Paused", "as the spec says; changes wait")
    elif pod.wanted and not pod.available:
        teller.moves("ReflectorNotAvailable", pod.message)
    elif says is None or says.observed_generation != one.generation:
        teller.moves("WaitingForReflector", "the reflector has not begun with this generation yet")
    elif says.status == "True" and copied is not None and copied.status == "True":
        teller.ready("Replicating")
    elif says.status == "True" or says.reason in MOVING:
        teller.moves(says.reason if says.status != "True" else "Snapshot", says.message)
    else:
        teller.stalled(says.reason, says.message)
    return teller.status({})


def conditions_of(one: Entry) -> tuple[Condition, ...]:
    """All conditions of an object, as it was last seen."""
    found: tuple[Condition, ...] = one.resource.status.conditions if one.resource else ()  # type: ignore[attr-defined]  # every kind has one
    return found


class _Teller:
    """Collects the operator's conditions of one object; those that do not change keep their time."""

    def __init__(self, one: Entry, now: datetime) -> None:
        self._one, self._now = one, now
        self._before = tuple(condition for condition in conditions_of(one) if condition.type in OWN)
        self._said: tuple[Condition, ...] = ()

    def put(self, type_: str, status: bool | None, reason: str, message: str = "") -> None:
        told = conditions.put(
            self._before, type_, status, reason, message, generation=self._one.generation, now=self._now
        )
        found = conditions.find(told, type_)
        assert found is not None
        self._said = (*conditions.drop(self._said, type_), found)

    def keep(self, type_: str, failure: errors.PantographError | None) -> None:
        """What was said of it stays, for this generation; for another nothing is known."""
        before = conditions.find(self._before, type_)
        if before is not None and before.observed_generation == self._one.generation:
            self._said = (*self._said, before)
        elif failure is not None:
            self.put(type_, False, failure.reason, str(failure))

    def ready(self, reason: str) -> None:
        self.put(conditions.READY, True, reason)

    def moves(self, reason: str, message: str = "") -> None:
        """Not there yet, and on its way."""
        self.put(conditions.READY, False, reason, message)
        self.put(conditions.RECONCILING, True, reason, message)

    def stalled(self, reason: str, message: str = "") -> None:
        """Waits for a person."""
        self.put(conditions.READY, False, reason, message)
        self.put(conditions.STALLED, True, reason, message)

    def failed(self, error: errors.PantographError) -> None:
        """As an error says."""
        (self.moves if isinstance(error, PASSING) else self.stalled)(error.reason, str(error))

    def status(self, beside: Mapping[str, Any]) -> dict[str, Any]:
        """All that the operator says."""
        return {
            "observedGeneration": self._one.generation,
            "conditions": [conditions.dumped(condition) for condition in self._said],
            **beside,
        }


def differs(wanted: Mapping[str, Any], one: Entry) -> bool:
    """Whether the operator's part of an object's status is another than it is to be."""
    there = one.body.get("status") or {}
    mine = [condition for condition in there.get("conditions") or () if condition["type"] in OWN]
    if _timeless(mine) != _timeless(wanted["conditions"]):
        return True
    return any(there.get(name) != value for name, value in wanted.items() if name != "conditions")


def _timeless(told: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(
        (one["type"], one["status"], one["reason"], one.get("message", ""), one.get("observedGeneration", 0))
        for one in told
    )


def transition(wanted: Mapping[str, Any], one: Entry) -> Mapping[str, Any] | None:
    """The Ready that is told as an Event: another status or another reason than before."""
    new = next((told for told in wanted["conditions"] if told["type"] == conditions.READY), None)
    old = conditions.find(conditions_of(one), conditions.READY)
    if new is None or (old is not None and (old.status, old.reason) == (new["status"], new["reason"])):
        return None
    return dict(new)
