"""When a group is looked at, and for what."""

from __future__ import annotations

import threading

from pantograph.handlers.queue import Queue

ONE, OTHER = ("default", "shop"), ("default", "warehouse")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_many_reasons_to_look_are_one_look():
    queue = Queue(Clock())
    for _ in range(50):
        queue.add(ONE)
    assert queue.take() == (ONE, True)
    queue.done(ONE)
    queue.add(OTHER)
    assert queue.take() == (OTHER, True)


def test_a_change_of_status_does_not_bring_the_next_whole_look_forward():
    clock = Clock()
    queue = Queue(clock)
    queue.add(ONE, 300.0)
    queue.add(ONE, whole=False)
    assert queue.take() == (ONE, False)
    queue.done(ONE)
    clock.now += 300.0
    assert queue.take() == (ONE, True)


def test_a_group_is_in_one_thread_at_a_time():
    queue = Queue(Clock())
    queue.add(ONE)
    assert queue.take() == (ONE, True)
    queue.add(ONE)
    queue.add(OTHER)
    assert queue.take() == (OTHER, True)
    queue.done(ONE)
    assert queue.take() == (ONE, True)


def test_closing_ends_those_who_wait():
    queue = Queue()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    queue.close()
    thread.join(10)
    assert taken == [None]
