"""When `run --once` is over, and how."""

import pytest

from pantograph.cli.outcomes import Status
from pantograph.cli.running import Once
from pantograph.reflector.reporting import Seen


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def streaming(name, caught_up=0):
    return Seen(name, phase="Streaming", complete=True, caught_up=caught_up)


def test_a_turn_that_may_have_begun_before_the_mark_is_not_enough(clock):
    once = Once(60.0, clock)
    assert once.look([streaming("a", 7)]) is None
    assert once.look([streaming("a", 8)]) is None
    assert once.look([streaming("a", 9)]) == {"a": Status.DONE}


def test_all_must_be_there_at_one_time(clock):
    once = Once(60.0, clock)
    once.look([streaming("a"), Seen("b", phase="Snapshot")])
    assert once.look([streaming("a", 5), Seen("b", phase="Snapshot")]) is None
    once.look([streaming("a", 5), streaming("b", 5)])
    assert once.look([streaming("a", 5), streaming("b", 7)]) == {"a": Status.DONE, "b": Status.DONE}


def test_a_stream_that_was_left_is_marked_anew(clock):
    once = Once(60.0, clock)
    once.look([streaming("a", 5)])
    once.look([Seen("a", phase="Sweep", complete=True, caught_up=6)])
    assert once.look([streaming("a", 7)]) is None
    assert once.look([streaming("a", 9)]) == {"a": Status.DONE}


@pytest.mark.parametrize("phase", ["Failed", "Held"])
def test_a_failure_counts_when_it_stays(clock, phase):
    once = Once(60.0, clock)
    assert once.look([Seen("a", phase=phase)]) is None
    clock.now += 1
    assert once.look([Seen("a", phase=phase)]) is None
    clock.now += 2
    assert once.look([Seen("a", phase=phase)]) == {"a": Status.FAILED}


def test_a_failure_that_passes_does_not_count(clock):
    once = Once(60.0, clock)
    once.look([Seen("a", phase="Failed")])
    clock.now += 10
    once.look([streaming("a")])
    once.look([Seen("a", phase="Failed", caught_up=1)])
    assert once.look([Seen("a", phase="Failed", caught_up=1)]) is None


@pytest.mark.parametrize("phase", ["Unreachable", "Failed"])
def test_an_unreachable_database_is_waited_for(clock, phase):
    once = Once(60.0, clock)
    seen = Seen("a", phase=phase, reason="Unreachable")
    assert once.look([seen]) is None
    clock.now += 59
    assert once.look([seen]) is None
    clock.now += 2
    assert once.look([seen]) == {"a": Status.UNREACHABLE}


def test_nobody_waits_for_one_that_is_paused(clock):
    assert Once(60.0, clock).look([Seen("a", phase="Paused")]) == {"a": Status.DONE}


def test_one_that_has_not_begun_is_waited_for(clock):
    assert Once(60.0, clock).look([Seen("a")]) is None
    assert Once(60.0, clock).look([]) is None
