"""What always holds, seen from the destination: nothing is lost, every state is an image, position and data together.

(DESIGN's promises 1, 3, 5, 6 and 16.) The crash at every seam is in test_crashes.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
from collections.abc import Callable

import pytest

from pantograph.pipeline.turn import Limits
from tests.routes.conftest import ENGINES, MANY_WRITERS, Pair
from tests.support import hands, histories, mirrors
from tests.support.clients import Client
from tests.support.comparison import wait_equal, wait_until

MakePair = Callable[[str, str], Pair]
ORDERS = ("id", "customer", "qty")
CREATE = "create table orders (id int primary key, customer varchar(40), qty int)"


@pytest.mark.parametrize("engine", MANY_WRITERS)
def test_1_nothing_is_lost_however_late_it_commits(make_pair: MakePair, engine: str) -> None:
    """Twelve transactions hand out their ids in one order and commit in the other, with a look between any two."""
    pair = make_pair(engine, engine)
    pair.make(CREATE)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    writers = [Client(pair.source) for _ in range(12)]
    for n, writer in enumerate(writers):
        writer.begin()
        writer.run("insert into orders values (?, 'late', 1)", n)
        if n % 3 == 0:
            # Somebody passes it by: its event has a higher id and is read first.
            pair.app.run("insert into orders values (?, 'early', 1)", 100 + n)
            pair.wait_equal(orders=ORDERS)
    for n, writer in reversed(list(enumerate(writers))):
        writer.run("insert into orders values (?, 'late again', 1)", 200 + n)
        writer.rollback() if n % 4 == 3 else writer.commit()
        if n % 2:
            pair.wait_equal(orders=ORDERS)
    pair.wait_equal(orders=ORDERS)
    assert len(pair.destination.execute("select id from orders", role="superuser")) == 4 + 2 * 9


@pytest.mark.parametrize("engine", ENGINES)
def test_3_every_committed_state_is_an_image_of_the_source(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, engine)
    histories.create(pair.app)
    pair.start(*histories.COLUMNS)
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
    with histories.Watcher(pair.destination) as watcher, histories.Bank(pair.source, pause=0.001) as bank:
        wait_until(lambda: bank.failures or (bank.committed > 600 and watcher.reads > 200), "enough of a history")
    pair.wait_equal(**histories.COLUMNS)
    assert watcher.torn == []


@pytest.mark.parametrize("engine", ENGINES)
def test_5_position_and_data_commit_together(make_pair: MakePair, engine: str) -> None:
    """One position never goes with two contents: both read in one snapshot, while the process dies again and again."""
    pair = make_pair(engine, engine)
    histories.create(pair.app)
    documents = mirrors.documents(pair.source, pair.destination, list(histories.COLUMNS))
    table = mirrors.ours(pair.destination, "checkpoints")
    contents: dict[tuple[str, int], set[tuple[int, int]]] = {}
    reader = Client(pair.destination, "superuser")

    def look() -> None:
        with reader.snapshot():
            ((count, total),) = reader.run("select count(*), coalesce(sum(id), 0) from ledger")
            found = reader.run(f"select {reader.q('position')}, version from {table} where name like 'stream/%'")
        for position, version in found:
            contents.setdefault((position, version), set()).add((int(count), int(total)))

    with mirrors.Runner(documents, NONCE_EVERY="0.5") as runner:
        runner.start()
        wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
        with histories.Bank(pair.source):
            for n in range(8):
                wanted = len(contents) + 15
                wait_until(lambda: look() or len(contents) >= wanted, "turns")  # noqa: B023
                runner.kill()
                look()
                runner.start(f"{'commit' if n % 2 else 'move checkpoint'}:{'before' if n % 4 < 2 else 'after'}:{n + 5}")
                runner.died(look)
                runner.start()
        wait_equal(pair.source, pair.destination, histories.COLUMNS)
    assert {key: found for key, found in contents.items() if len(found) > 1} == {}
    assert len(contents) > 50


@pytest.mark.parametrize("engine", ENGINES)
def test_6_of_two_reflectors_at_once_one_comes_too_late_and_says_so(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, engine)
    histories.create(pair.app)
    documents = mirrors.documents(pair.source, pair.destination, list(histories.COLUMNS))
    with mirrors.Runner(documents) as one, mirrors.Runner(documents) as other:
        one.start()
        wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
        other.start()
        wait_until(lambda: other.said().count("Streaming") == 2, "the other one in its stream")
        with histories.Watcher(pair.destination) as watcher, histories.Bank(pair.source, pause=0.005) as bank:
            wait_until(lambda: bank.failures or bank.committed > 500, "enough of a history")
        wait_equal(pair.source, pair.destination, histories.COLUMNS)
        one.stop()
        other.stop()
        said = one.said() + other.said()
    assert watcher.torn == [], said
    assert "StaleCheckpoint" in said
    assert "Bug" not in said


def test_6_a_reflection_that_another_reflector_takes_out_of_its_stream_comes_back(make_pair: MakePair) -> None:
    """Whoever had it in its stream sees so and brings it back, unless the other one was quicker."""
    pair = make_pair("postgresql", "postgresql")
    histories.create(pair.app)
    documents = mirrors.documents(pair.source, pair.destination, list(histories.COLUMNS))
    (wanted,) = mirrors.wanted(documents)
    with mirrors.Mirror(documents) as mirror:
        wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
        other = hands.Hand(wanted, Limits())
        for n in range(10):
            pair.app.run(f"insert into {histories.LEDGER} values (?, 1, 1, 1)", n)
            with contextlib.suppress(*hands.RETRIED):
                other.load()
                if other.joined:
                    other.part("default/t1")
                for _ in range(n % 3):
                    other.step("default/t1")
            wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream again")
        other.close()
        pair.app.run(f"insert into {histories.LEDGER} values (?, 1, 1, 1)", 100)
        wait_equal(pair.source, pair.destination, histories.COLUMNS)
        assert mirror.seen("t1").phase == "Streaming"
        assert not [said for said in mirror.messages if "Bug" in said]


@pytest.mark.full
def test_16_a_position_is_bounded_whatever_is_open(make_pair: MakePair) -> None:
    """Two transactions take ids in turn, so that the open ids are 12,000 ranges of one."""
    pair = make_pair("mariadb", "sqlite")
    pair.make(CREATE)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    held = Client(pair.source)
    held.begin()
    for n in range(12_000):
        held.run(f"insert into orders values ({n * 2}, 'held', 1)")
        pair.app.run(f"insert into orders values ({n * 2 + 1}, 'free', 1)")
    table = mirrors.ours(pair.destination, "checkpoints")
    sizes = pair.destination.execute(f"select length(position) from {table}")
    assert max(size for (size,) in sizes) <= 256 * 1024
    held.commit()
    pair.wait_equal(orders=ORDERS)
    sizes = pair.destination.execute(f"select length(position) from {table}")
    assert max(size for (size,) in sizes) <= 256 * 1024


@pytest.mark.full
@pytest.mark.parametrize("engines", [("sqlite", "sqlite"), ("mariadb", "postgresql")])
def test_16_memory_is_bounded_whatever_a_row_weighs(make_pair: MakePair, engines: tuple[str, str]) -> None:
    pair = make_pair(*engines)
    text = {"postgresql": "text", "mariadb": "longtext", "sqlite": "text"}[pair.source.dialect]
    pair.make(f"create table wide (id int primary key, body {text})")
    for n in range(250):
        pair.app.run("insert into wide values (?, ?)", n, chr(97 + n % 26) * 1_000_000)
    documents = mirrors.documents(pair.source, pair.destination, ["wide"])

    def length(database: object) -> list[tuple[int, int]]:
        return database.execute("select count(*), sum(length(body)) from wide", role="superuser")  # type: ignore[attr-defined, no-any-return]

    with mirrors.Runner(documents) as runner:
        runner.start()
        wait_until(lambda: length(pair.source) == length(pair.destination), "the first copy")
        pair.make("update wide set body = concat(body, 'x')" if pair.source.dialect != "sqlite"
                  else "update wide set body = body || 'x'")  # fmt: skip
        wait_until(lambda: length(pair.source) == length(pair.destination), "the update")
        status = pathlib.Path(f"/proc/{runner.pid}/status").read_text()
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(peak) < 300 * 1024, f"{int(peak) // 1024} MiB for 250 MB of rows"


def test_16_connections_are_few_however_many_tables(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "postgresql")
    tables = [f"t{n}" for n in range(60)]
    for table in tables:
        pair.make(f"create table {table} (id int primary key)", f"insert into {table} values (1)")
    most = [0]
    watch = pair.source.superuser()  # type: ignore[attr-defined]
    with watch.cursor() as cursor:

        def streaming() -> bool:
            cursor.execute(
                "select count(*) from pg_stat_activity where application_name = 'pantograph' and datname = %s",
                (pair.source.name,),
            )
            most[0] = max(most[0], cursor.fetchone()[0])
            return mirrors.in_step(pair.destination) == len(tables)

        pair.start(*tables)
        wait_until(streaming, "all in their stream")
        assert most[0] <= 6
        cursor.execute(
            "select count(*) from pg_stat_activity where application_name = 'pantograph' and datname = %s",
            (pair.source.name,),
        )
        assert cursor.fetchone()[0] <= 2
    positions = pair.destination.execute(
        f"select state from {mirrors.ours(pair.destination, 'checkpoints')}", role="superuser"
    )
    assert all(json.loads(state) for (state,) in positions)
