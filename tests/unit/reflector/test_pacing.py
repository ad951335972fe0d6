"""When sweeps may run, and how fast."""

from __future__ import annotations

import datetime

import pytest

from pantograph.api.values import Hours
from pantograph.reflector import pacing
from pantograph.reflector.pacing import Pacing


@pytest.mark.parametrize(("hour", "open_"), [(21, False), (22, True), (3, True), (6, False)])
def test_sweeps_run_within_the_hours_and_first_copies_at_any_time(
    monkeypatch: pytest.MonkeyPatch, hour: int, open_: bool
) -> None:
    monkeypatch.setattr(pacing, "now", lambda: datetime.time(hour))
    paced = Pacing(Hours.parse("22:00-06:00"))
    assert paced.allows("SpecChanged") is open_
    assert paced.allows("Snapshot")
    assert paced.allows("DestinationReplaced")
    assert Pacing().allows("SpecChanged")


def test_rows_are_paid_for_by_all_sweeps_together_and_rest_is_no_credit() -> None:
    clock = [100.0]
    paced = Pacing(rate=50, clock=lambda: clock[0])
    assert paced.owed() == 0
    paced.take(50)
    paced.take(25)
    assert paced.owed() == 1.5
    clock[0] += 1.5
    assert paced.owed() == 0
    clock[0] += 1000
    paced.take(50)
    assert paced.owed() == 1.0


def test_without_a_rate_nothing_is_owed() -> None:
    paced = Pacing()
    paced.take(1_000_000)
    assert paced.owed() == 0
