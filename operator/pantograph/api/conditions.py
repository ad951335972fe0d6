"""Conditions: what the operator and the reflector say about an object, in the form every Kubernetes tool reads.

`Ready` is always there. `Reconciling` and `Stalled` are there only while true, because kstatus takes them for "in
progress" and "failed" by their mere presence. Each of operator and reflector writes conditions of its own; these
functions take and return the conditions of one writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from pantograph.api.base import Model
from pantograph.api.values import Text, Whole

READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"
CONNECTED: Final = "Connected"
REFLECTOR_AVAILABLE: Final = "ReflectorAvailable"
CAPTURE_INSTALLED: Final = "CaptureInstalled"
SNAPSHOT_COMPLETE: Final = "SnapshotComplete"
REPLICATING: Final = "Replicating"
PREPARED: Final = "Prepared"
"""Of a Reflection, by the operator: the reflector may move it, as its spec of that generation says."""

Truth = Literal["True", "False", "Unknown"]
MESSAGE_LENGTH = 32768
REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"


class Condition(Model):
    """One statement about an object."""

    type: Annotated[
        str, Text("the type of a condition", 316, pattern=r"^([-a-z0-9.]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    ]
    """What it is about: `Ready`."""
    status: Truth
    """Whether it is so."""
    reason: Annotated[str, Text("a reason", 1024, pattern=REASON)]
    """Why, in one word that stays the same: `SourceUnreachable`."""
    message: Annotated[str, Text("a text", MESSAGE_LENGTH, least=0)] = ""
    """Why, in a sentence, and what to do."""
    last_transition_time: datetime
    """Since when `status` is what it is."""
    observed_generation: Annotated[int, Whole(0, 2**53)] = 0
    """The generation of the object that this was said about."""


class Status(Model):
    """What every status has."""

    observed_generation: Annotated[int, Whole(-1, 2**53)] = -1
    """The generation of the object that this status is about; -1 before it was looked at."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32)] = ()
    """What holds and what does not; one of each type."""


def dumped(condition: Condition) -> dict[str, Any]:
    """A condition as the API server takes it: its time in whole seconds."""
    told = condition.model_dump(mode="json", by_alias=True)
    told["lastTransitionTime"] = condition.last_transition_time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return told


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of that type, if it is there."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Sequence[Condition], type_: str) -> bool:
    """Whether the condition is there and true."""
    condition = find(conditions, type_)
    return condition is not None and condition.status == "True"


def put(
    conditions: Sequence[Condition],
    type_: str,
    status: bool | None,  # True, False or unknown is what a condition says
    reason: str,
    message: str = "",
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions with one said anew. Its time moves only when its status does, so that "since when" stays true."""
    truth: Truth = "Unknown" if status is None else "True" if status else "False"
    before = find(conditions, type_)
    since = before.last_transition_time if before and before.status == truth else now.astimezone(UTC)
    new = Condition(
        type=type_,
        status=truth,
        reason=reason,
        message=message[:MESSAGE_LENGTH],
        last_transition_time=since.replace(microsecond=0),
        observed_generation=generation,
    )
    if before is None:
        return (*conditions, new)
    return tuple(new if condition.type == type_ else condition for condition in conditions)


def drop(conditions: Sequence[Condition], *types: str) -> tuple[Condition, ...]:
    """The conditions without those of these types."""
    return tuple(condition for condition in conditions if condition.type not in types)


def ready(
    conditions: Sequence[Condition], reason: str, message: str = "", *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """It works as its spec says: Ready, and neither Reconciling nor Stalled. Lag does not change that."""
    kept = drop(conditions, RECONCILING, STALLED)
    return put(kept, READY, True, reason, message, generation=generation, now=now)


def reconciling(
    conditions: Sequence[Condition], reason: str, message: str = "", *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """It is not there yet and moves: a snapshot runs, something it needs is waited for."""
    kept = put(drop(conditions, STALLED), READY, False, reason, message, generation=generation, now=now)
    return put(kept, RECONCILING, True, reason, message, generation=generation, now=now)


def stalled(
    conditions: Sequence[Condition], reason: str, message: str = "", *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """It does not move until a person acts. Whoever waits for it (Flux, `kubectl wait`) is told at once."""
    kept = put(drop(conditions, RECONCILING), READY, False, reason, message, generation=generation, now=now)
    return put(kept, STALLED, True, reason, message, generation=generation, now=now)
