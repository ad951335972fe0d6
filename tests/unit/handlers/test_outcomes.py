"""What an object's status says of what came about; read as kstatus reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pantograph import errors
from pantograph.handlers import outcomes
from pantograph.handlers.known import Known
from pantograph.handlers.outcomes import Outcome, Reflector
from tests.unit.handlers.test_known import SHOP

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD = Reflector(wanted=True, available=True)


def replicating(status: str = "True", reason: str = "Replicating", generation: int = 1) -> list[dict[str, Any]]:
    told = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation}
    return [
        {"type": "Replicating", "status": status, "reason": reason, **told},
        {"type": "SnapshotComplete", "status": "True", "reason": "Complete", **told},
    ]


def of_reflection(outcome: Outcome, said: list[dict[str, Any]], pod: Reflector = POD) -> dict[str, tuple[str, str]]:
    known = Known()
    for body in SHOP:
        known.see({**body, "status": {"conditions": said}} if body["kind"] == "Reflection" else body)
    group = known.group(("ns", "shop"))
    (one,) = group.reflections
    told = outcomes.status(one, group, outcome, pod, NOW)["conditions"]
    return {each["type"]: (each["status"], each["reason"]) for each in told}


def prepared() -> Outcome:
    return Outcome(prepared={("ns", "copy")})


def kstatus(told: dict[str, tuple[str, str]]) -> str:
    """Its rules for conditions (cli-utils, pkg/kstatus/status/generic.go)."""
    if told.get("Reconciling", ("", ""))[0] == "True":
        return "InProgress"
    if told.get("Stalled", ("", ""))[0] == "True":
        return "Failed"
    return "Current" if told.get("Ready", ("True", ""))[0] == "True" else "InProgress"


def test_prepared_and_replicating_is_ready():
    told = of_reflection(prepared(), replicating())
    assert told["Ready"] == ("True", "Replicating")
    assert kstatus(told) == "Current"


def test_what_the_reflector_said_of_another_generation_does_not_count():
    assert kstatus(of_reflection(prepared(), replicating(generation=7))) == "InProgress"


def test_nothing_is_ready_whose_reflector_is_gone_whatever_it_said_last():
    told = of_reflection(prepared(), replicating(), Reflector(wanted=True, available=False, message="no pod"))
    assert told["Ready"] == ("False", "ReflectorNotAvailable")
    assert kstatus(told) == "InProgress"


@pytest.mark.parametrize(
    ("reason", "result"), [("Unreachable", "InProgress"), ("Snapshot", "InProgress"), ("SweepHeld", "Failed")]
)
def test_what_may_end_by_itself_is_in_progress_and_what_waits_for_a_person_has_failed(reason, result):
    assert kstatus(of_reflection(prepared(), replicating("False", reason))) == result


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (errors.Unreachable("away"), "InProgress"),
        (errors.DependencyNotReady("not there", reason="SecretNotFound"), "InProgress"),
        (errors.SpecError("wrong"), "Failed"),
        (errors.Refused("no grant"), "Failed"),
    ],
)
def test_so_it_is_with_what_the_operator_met(error, result):
    outcome = Outcome(failed={("Reflection", ("ns", "copy")): error})
    told = of_reflection(outcome, replicating())
    assert kstatus(told) == result
    assert told["Ready"] == ("False", error.reason)


def test_a_database_that_is_away_for_a_while_does_not_take_back_what_was_prepared():
    said = [
        *replicating(),
        {
            "type": "Prepared", "status": "True", "reason": "Prepared",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        },
    ]  # fmt: skip
    away = Outcome(failed={("Reflection", ("ns", "copy")): errors.Unreachable("away")})
    assert of_reflection(away, said)["Prepared"] == ("True", "Prepared")
    wrong = Outcome(failed={("Reflection", ("ns", "copy")): errors.SpecError("wrong")})
    assert of_reflection(wrong, said)["Prepared"] == ("False", "InvalidSpec")
