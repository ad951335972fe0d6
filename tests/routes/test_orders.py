"""Two workers and an application: every order of reading and writing, of chunks and of windows.

Each worker is a reflector of its own on the same checkpoints (the other one is an old process that does not know that
it was replaced). An action has two halves, which meet the others in any order: it opens a snapshot of the source and
reads, and it writes what it read. The checkpoint's compare-and-set is between them.
"""

from __future__ import annotations

import itertools
import pathlib
import threading
from collections.abc import Iterator

import pytest

from pantograph import errors
from pantograph.database import sessions
from pantograph.pipeline import steps, turn
from pantograph.pipeline.turn import Limits
from tests.servers import SQLite, TestDatabase
from tests.support import comparison, hands, mirrors
from tests.support.clients import Client

TINY = Limits(rows=1, size=1 << 20, transaction_rows=500)
COLUMNS = {"orders": ("id", "v")}


class Half(threading.Thread):
    """An action in a thread of its own, which stops between its halves until it is told to go on."""

    here = threading.local()

    def __init__(self, hand: hands.Hand) -> None:
        super().__init__(daemon=True)
        self._hand, self._go, self._at = hand, threading.Semaphore(0), threading.Semaphore(0)
        self.failed: BaseException | None = None
        self._stopped = False

    def run(self) -> None:
        Half.here.half = self
        try:
            self._hand.step("default/t0")
        except hands.RETRIED:
            self._hand.load()  # what it read is thrown away: it begins again from where the other one got to
        except BaseException as error:
            self.failed = error
        self._at.release()

    @staticmethod
    def hook(step: str, when: str) -> None:
        half: Half | None = getattr(Half.here, "half", None)
        if half is not None and not half._stopped and (step, when) == (steps.MOVE_CHECKPOINT, "before"):
            half._stopped = True
            half._at.release()
            half._go.acquire()

    def read(self) -> None:
        self.start()
        self._at.acquire()

    def write(self) -> None:
        if self.is_alive() or self._stopped:
            self._go.release()
            if self._stopped:
                self._at.acquire()
        self.join(30)
        assert not self.is_alive(), "it hangs"
        if self.failed is not None:
            raise self.failed


@pytest.fixture(autouse=True)
def _halves() -> Iterator[None]:
    remove = sessions.add_hook(Half.hook)
    yield
    remove()


CHANGES = (
    ("update orders set v = 100 where id = 1", "delete from orders where id = 2", "insert into orders values (9, 9)"),
    (
        "update orders set v = 200 where id = 1",
        "update orders set id = 2 where id = 3",
        "delete from orders where id = 9",
    ),
)
"""The first chunk's rows are changed, taken away, and put back under another's key."""


def _orders(a: int, b: int, changes: int) -> list[tuple[str, ...]]:
    """All orders of so many actions of A and of B, two halves each, and of changes."""
    found, length = set(), 2 * a + 2 * b + changes
    for places in itertools.combinations(range(length), 2 * a):
        rest = [n for n in range(length) if n not in places]
        for chosen in itertools.combinations(rest, changes):
            found.add(tuple("A" if n in places else "W" if n in chosen else "B" for n in range(length)))
    return sorted(found)


def _world(folder: pathlib.Path, number: int) -> tuple[TestDatabase, TestDatabase, hands.Hand, hands.Hand]:
    files = SQLite(folder)
    source, destination = files.make_database(f"source{number}"), files.make_database(f"destination{number}")
    client = Client(source)
    client.run("create table orders (id int primary key, v int)")
    with client.transaction():
        for n in range(1, 5):
            client.run("insert into orders values (?, ?)", n, n)
    (wanted,) = mirrors.wanted(mirrors.documents(source, destination, ["orders"]))
    return source, destination, hands.Hand(wanted, TINY), hands.Hand(wanted, TINY)


def _run(order: tuple[str, ...], folder: pathlib.Path, number: int, before: int) -> str:
    """What differs in the end, when the halves come in this order; `before`: steps that were made already."""
    source, destination, a, b = _world(folder, number)
    app, changes = Client(source), iter(CHANGES)
    for _ in range(before):
        a.step("default/t0")
    for hand in (a, b):
        hand.load()
        for group in hand.apart.values():
            group.stride = 1
    waiting: dict[str, Half] = {}
    for letter in order:
        if letter == "W":
            with app.transaction():
                for sql in next(changes):
                    app.run(sql)
        elif letter in waiting:
            waiting.pop(letter).write()
        else:
            waiting[letter] = Half(a if letter == "A" else b)
            waiting[letter].read()
    a.load()
    a.settle()
    said = comparison.difference(source, destination, "orders", COLUMNS["orders"])
    for hand in (a, b):
        hand.close()
    source.drop()
    destination.drop()
    return said


@pytest.mark.full
@pytest.mark.parametrize("before", [1, 2], ids=["from the first chunk", "from the second chunk"])
def test_every_order_of_two_workers_and_two_changes(tmp_path: pathlib.Path, before: int) -> None:
    orders = _orders(2, 1, 2)
    assert len(orders) == 420
    wrong = {"".join(order): said for n, order in enumerate(orders) if (said := _run(order, tmp_path, n, before))}
    assert wrong == {}


def test_of_two_that_read_the_same_position_one_comes_too_late(tmp_path: pathlib.Path) -> None:
    source, destination, a, b = _world(tmp_path, 0)
    for hand in (a, b):
        hand.load()
    a.step("default/t0")
    with pytest.raises(errors.StaleCheckpoint):
        b.step("default/t0")
    b.load()
    b.settle()
    assert comparison.difference(source, destination, "orders", COLUMNS["orders"]) == ""
    for hand in (a, b):
        hand.close()


def test_what_was_read_for_a_stream_comes_too_late_when_another_took_the_reflection_out_of_it(
    tmp_path: pathlib.Path,
) -> None:
    """Or it would lie over what is newer, and the Reflection's own position is past the event that says so."""
    source, destination, a, b = _world(tmp_path, 0)
    a.settle()
    b.load()
    app = Client(source)
    app.run("update orders set v = 100 where id = 1")
    half = Half(a)
    half.read()
    app.run("update orders set v = 200 where id = 1")
    group = b.part("default/t0")
    turn.take(b.route, group)
    half.write()
    for hand in (a, b):
        hand.load()
        assert hand.apart, "it is in its stream"
    b.settle()
    assert comparison.difference(source, destination, "orders", COLUMNS["orders"]) == ""
    for hand in (a, b):
        hand.close()
