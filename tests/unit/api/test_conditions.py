"""Conditions are what every Kubernetes tool takes them for; kstatus' own rules are the judge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pantograph.api import conditions
from pantograph.api.conditions import Condition
from tests.support.kstatus import kstatus

NOW = datetime(2026, 1, 1, 12, 0, 0, 999, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def verdict(generation: int, observed: int, found: tuple[Condition, ...]) -> str:
    return kstatus(generation, observed, {condition.type: condition.status for condition in found})


SAY: list[Callable[..., tuple[Condition, ...]]] = [conditions.ready, conditions.reconciling, conditions.stalled]


@pytest.mark.parametrize("before", SAY)
@pytest.mark.parametrize(
    ("say", "result", "types"),
    [
        (conditions.ready, "Current", {"Ready"}),
        (conditions.reconciling, "InProgress", {"Ready", "Reconciling"}),
        (conditions.stalled, "Failed", {"Ready", "Stalled"}),
    ],
)
def test_tools_that_wait_see_what_was_said_last(
    before: Callable[..., tuple[Condition, ...]],
    say: Callable[..., tuple[Condition, ...]],
    result: str,
    types: set[str],
) -> None:
    found = say(before((), "Before", generation=1, now=NOW), "Now", "why", generation=2, now=LATER)
    assert verdict(2, 2, found) == result
    assert {condition.type for condition in found} == types
    assert {(condition.reason, condition.message, condition.observed_generation) for condition in found} == {
        ("Now", "why", 2)
    }


def test_an_object_that_nobody_looked_at_is_in_progress() -> None:
    assert verdict(1, conditions.Status().observed_generation, ()) == "InProgress"


def test_the_time_moves_only_with_the_status() -> None:
    first = conditions.put((), "Connected", True, "Connected", generation=1, now=NOW)
    same = conditions.put(first, "Connected", True, "StillConnected", generation=2, now=LATER)
    other = conditions.put(same, "Connected", False, "Unreachable", generation=2, now=LATER)
    assert [found[0].last_transition_time for found in (first, same, other)] == [
        NOW.replace(microsecond=0),
        NOW.replace(microsecond=0),
        LATER.replace(microsecond=0),
    ]
    assert [found[0].reason for found in (first, same, other)] == ["Connected", "StillConnected", "Unreachable"]


def test_one_condition_of_a_type_and_the_others_stay() -> None:
    found: tuple[Condition, ...] = ()
    for status in (True, False, None, True):
        found = conditions.put(found, "Connected", status, "R", generation=1, now=NOW)
        found = conditions.put(found, "Ready", status, "R", generation=1, now=NOW)
    assert [condition.type for condition in found] == ["Connected", "Ready"]
    assert conditions.is_true(found, "Ready")
    assert not conditions.is_true(found, "Stalled")
    assert conditions.find(conditions.drop(found, "Ready"), "Ready") is None


def test_unknown_is_neither() -> None:
    (found,) = conditions.put((), "Ready", None, "R", generation=1, now=NOW)
    assert found.status == "Unknown"


def test_times_are_written_in_utc_to_the_second() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=2)))
    (found,) = conditions.put((), "Ready", True, "R", generation=1, now=there)
    assert found.model_dump(mode="json") == {
        "type": "Ready",
        "status": "True",
        "reason": "R",
        "message": "",
        "lastTransitionTime": "2026-01-01T12:00:00Z",
        "observedGeneration": 1,
    }
    assert Condition.model_validate_json(found.model_dump_json()) == found


def test_a_message_is_cut_to_what_the_api_server_takes() -> None:
    (found,) = conditions.put((), "Ready", True, "R", "x" * 100_000, generation=1, now=NOW)
    assert len(found.message) == conditions.MESSAGE_LENGTH
