"""What no other test would notice if it were taken out of the program: see tests/breaks."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pantograph import dialects
from pantograph.database import sessions
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.pipeline import fence, steps, sweep
from pantograph.pipeline.turn import Limits
from pantograph.reflector import process
from tests.conftest import MakeDatabase
from tests.routes.conftest import ENGINES, Pair
from tests.support import comparison, mirrors
from tests.support.clients import Client
from tests.support.comparison import rows, wait_until

MakePair = Callable[[str, str], Pair]
ORDERS = ("id", "customer", "qty")
CREATE = "create table orders (id int primary key, customer varchar(40), qty int)"
ONE = "insert into orders values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)"


@contextlib.contextmanager
def _at(step: str, when: str, action: Callable[[], object]) -> Iterator[None]:
    """Do something each time that any session comes to a seam; never from within itself."""
    busy = threading.local()

    def hook(name: str, moment: str) -> None:
        if (name, moment) == (step, when) and not getattr(busy, "now", False):
            busy.now = True
            try:
                action()
            finally:
                busy.now = False

    remove = sessions.add_hook(hook)
    try:
        yield
    finally:
        remove()


def _fill(pair: Pair, count: int) -> None:
    pair.make(CREATE)
    values = ", ".join(f"({n}, 'c {n}', {n})" for n in range(count))
    pair.make(f"insert into orders values {values}")


def _in_step(pair: Pair, count: int = 1) -> None:
    wait_until(lambda: mirrors.in_step(pair.destination) == count, "in their stream")


def _without_triggers(pair: Pair, *statements: str) -> None:
    """Change the source (SQLite) in a way that nobody notes."""
    for (name,) in pair.source.execute("select name from sqlite_master where type = 'trigger'"):
        pair.make(f"drop trigger {pair.app.q(name)}")
    pair.make(*statements)


def _stream(pair: Pair) -> tuple[str, list[tuple[str, str]]]:
    """The stream's position and its nonces, as the destination has them."""
    ((position, state),) = pair.destination.execute(
        f"select position, state from {mirrors.ours(pair.destination, 'checkpoints')} where name like 'stream/%'",
        role="superuser",
    )
    return position, [tuple(each) for each in json.loads(state).get("nonces", [])]


def _nonces(pair: Pair) -> list[tuple[str, ...]]:
    """Those that the source holds."""
    return pair.source.execute(f"select nonces from {mirrors.ours(pair.source, 'control')}", role="superuser")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_copy_misses_no_change_that_is_made_beside_it(make_pair: MakePair, engine: str) -> None:
    """While each chunk's snapshot is open, rows change that it has passed, that are in it, and that are to come."""
    pair = make_pair(engine, engine)
    _fill(pair, 400)
    pair.changes = {"limits": Limits(10, 1 << 20, 500_000)}
    app, chunks = Client(pair.source), [0]

    def change() -> None:
        chunks[0] += 1
        n = chunks[0]
        with app.transaction():
            app.run("update orders set qty = ? where id in (?, ?)", 1000 + n, n, 399 - n)
            app.run("delete from orders where id in (?, ?)", 100 + n, 250 + n)
            for key in (1000 + n, -n):
                app.run("insert into orders values (?, 'new', 1)", key)

    with _at(steps.READ_ROWS, "after", change):
        pair.start("orders")
        _in_step(pair)
    assert chunks[0] > 3
    pair.wait_equal(orders=ORDERS)


@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
def test_what_is_committed_while_a_window_opens_is_in_the_next(make_pair: MakePair, engine: str) -> None:
    """A row is committed after the snapshot began and before the later looks of the same window."""
    from pantograph.dialects.mysql import windows

    pair = make_pair(engine, "sqlite")
    _fill(pair, 3)
    app, number = Client(pair.source), [100]
    original = windows.Witness.raw
    opened = threading.local()

    def raw(witness: windows.Witness) -> object:
        if getattr(opened, "window", False) and number[0] < 140:
            number[0] += 1
            app.run("insert into orders values (?, 'between', 1)", number[0])
        return original(witness)

    direct = Session.direct

    def noting(session: Session, sql: str, params: object = None) -> int:
        done = direct(session, sql, params)
        opened.window = "consistent snapshot" in sql
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "direct", noting)
        patch.setattr(windows.Witness, "raw", raw)
        pair.start("orders")
        wait_until(lambda: number[0] == 140, "rows in between")
        pair.wait_equal(orders=ORDERS)


def test_a_key_that_came_back_is_not_deleted_with_those_that_did_not(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "DELETE_LIMIT_ROWS", 2)
    pair = make_pair("sqlite", "sqlite")
    _fill(pair, 10)
    pair.start("orders")
    _in_step(pair)
    pair.stop()
    _without_triggers(pair, "delete from orders where id >= 4")
    assert pair.start().wait_reason("SweepHeld").held == 6
    pair.make("insert into orders values (7, 'back', 77)")
    wait_until(lambda: (7, "back", 77) in rows(pair.destination, "orders", ORDERS), "the one that came back")
    pair.stop()
    pair.start({"table": "orders", "annotations": {"pantograph.dev/allow-deletes": "6"}})
    pair.wait_equal(orders=ORDERS)


def test_after_another_life_not_even_one_row_goes_without_a_person(make_pair: MakePair) -> None:
    pair = make_pair("sqlite", "sqlite")
    _fill(pair, 10)
    pair.start("orders")
    _in_step(pair)
    pair.stop()
    pair.make(f"update {mirrors.ours(pair.source, 'lease')} set until = 1", "delete from orders where id = 4")
    assert pair.start().wait_reason("SweepHeld").held == 1
    assert len(rows(pair.destination, "orders", ORDERS)) == 10


def _granted(pair: Pair, tables: str) -> None:
    """What the grants page says for a table that somebody made before us."""
    if pair.destination.dialect == "postgresql":
        user = pair.destination.roles["destination"][0]  # type: ignore[attr-defined]
        pair.destination.execute(f'grant select, insert, update, delete on {tables} to "{user}"')


FAMILY = {"parents": ("id", "name"), "children": ("id", "parent")}


def _family(pair: Pair) -> None:
    """Tied at the destination only, where a parent that has children cannot go."""
    pair.make("create table parents (id int primary key, name varchar(20))")
    pair.make("create table children (id int primary key, parent int)")
    pair.make("insert into parents values (1, 'p'), (2, 'q')", "insert into children values (10, 1), (20, 2)")
    natives = {"mysql": "longtext", "mariadb": "longtext", "firebird": "blob sub_type text character set utf8"}
    text = natives.get(pair.destination.dialect, "text")
    pair.destination.execute(f"create table parents (id bigint primary key, name {text})")
    tie = "foreign key (parent) references parents (id)"
    pair.destination.execute(f"create table children (id bigint primary key, parent bigint, {tie})")
    _granted(pair, "parents, children")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_child_that_leaves_a_parent_that_goes_is_one_window(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _family(pair)
    mirror = pair.start(*FAMILY)
    _in_step(pair, 2)
    before = [dict(mirror.seen(name).failures) for name in ("t0", "t1")]
    with pair.app.transaction():
        pair.make("insert into parents values (3, 'r')", "update children set parent = 3 where id = 10")
        pair.make("delete from parents where id = 1")
    pair.wait_equal(**FAMILY)
    assert [mirror.seen(name).failures for name in ("t0", "t1")] == before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_child_without_its_parent_waits_for_it(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _family(pair)
    mirror = pair.start(*FAMILY)
    _in_step(pair, 2)
    before = [dict(mirror.seen(name).failures) for name in ("t0", "t1")]
    pair.make("insert into children values (30, 3), (40, 2)")
    wait_until(lambda: (40, 2) in rows(pair.destination, "children", FAMILY["children"]), "the one that has a parent")
    pair.make("insert into parents values (3, 'late')")
    pair.wait_equal(**FAMILY)
    assert [mirror.seen(name).failures for name in ("t0", "t1")] == before


@pytest.mark.parametrize("source", ENGINES)
def test_rows_that_wait_and_are_changed_meanwhile_are_written_once(make_pair: MakePair, source: str) -> None:
    pair = make_pair(source, "postgresql")
    _family(pair)
    pair.start(*FAMILY)
    _in_step(pair, 2)
    pair.make("insert into children values (30, 3), (31, 3), (32, 3)")
    waiting = f"select count(*) from {mirrors.ours(pair.destination, 'keys')}"
    wait_until(lambda: pair.destination.execute(waiting, role="superuser")[0][0] == 3, "three that wait")
    pair.stop()
    pair.make("insert into parents values (3, 'late'), (4, 'late')", "update children set parent = 4 where id >= 30")
    mirror = pair.start(*FAMILY)
    pair.wait_equal(**FAMILY)
    assert [mirror.seen(name).failures for name in ("t0", "t1")] == [{}, {}]


@pytest.mark.parametrize("engine", ENGINES)
def test_two_rows_may_swap_a_value_that_is_unique(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _fill(pair, 4)
    text = "varchar(80)" if engine in ("mysql", "mariadb", "firebird") else "text"
    pair.destination.execute(f"create table orders (id bigint primary key, customer {text} unique, qty bigint)")
    _granted(pair, "orders")
    mirror = pair.start("orders")
    _in_step(pair)
    before = dict(mirror.seen().failures)
    with pair.app.transaction():
        pair.make(
            "update orders set customer = 'x' where id = 1",
            "update orders set customer = 'c 1' where id = 2",
            "update orders set customer = 'c 2' where id = 1",
        )
    pair.wait_equal(orders=ORDERS)
    with pair.app.transaction():
        pair.make("delete from orders where id = 3", "insert into orders values (0 - 3, 'c 3', 3)")
    pair.wait_equal(orders=ORDERS)
    assert mirror.seen().failures == before


def test_who_was_adopted_stops_at_its_next_window(make_pair: MakePair) -> None:
    pair = make_pair("sqlite", "sqlite")
    _fill(pair, 4)
    before = pair.start("orders")
    _in_step(pair)
    wait_until(lambda: _stream(pair)[1], "a nonce; the next one is a minute away")
    with mirrors.Mirror(pair.documents, adopt=True, owner="another/default/from") as other:
        other.wait_phase("Streaming")
        pair.make("insert into orders values (8, 'new', 1)")
        wait_until(lambda: "CaptureOwned" in before.seen().failures, "the one before stops")
        # It looked before it wrote; whoever writes first finds that its checkpoint is not there any more.
        assert "StaleCheckpoint" not in before.seen().failures
        pair.make("insert into orders values (9, 'new', 1)")
        pair.wait_equal(orders=ORDERS)


def test_a_source_that_went_back_is_noticed_whatever_was_written_since(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older copy of the file is put back, and written until its events are as many as they were."""
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    pair = make_pair("sqlite", "sqlite")
    _fill(pair, 5)
    pair.start("orders")
    _in_step(pair)
    wait_until(lambda: len(_stream(pair)[1]) >= 2, "nonces")
    pair.stop()
    pair.app.run("pragma wal_checkpoint(truncate)")
    path = pair.source.path  # type: ignore[attr-defined]
    older, (_, nonces) = path.read_bytes(), _stream(pair)
    pair.start()
    pair.make("insert into orders values (50, 'lost', 1)", "update orders set qty = 0 where id = 1")
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: len(set(_stream(pair)[1]) - set(nonces)) >= 2, "nonces that the older copy does not have")
    pair.stop()
    pair.app.run("pragma wal_checkpoint(truncate)")
    pair.app.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(older)
    pair.app = Client(pair.source)
    for n in range(60, 70):
        pair.app.run("insert into orders values (?, 'after', 1)", n)
    mirror = pair.start()
    mirror.wait_said("SourceMoved")
    pair.wait_equal(orders=ORDERS)


def test_a_nonce_stands_for_nothing_that_came_after_it(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is committed, and copied, as soon as a nonce is committed: the nonce's position knows nothing of it."""
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    pair = make_pair("sqlite", "sqlite")
    _fill(pair, 3)
    app, number = Client(pair.source), [100]
    (events, control) = ("", mirrors.ours(pair.source, "control"))
    ends: dict[str, int] = {}

    def write() -> None:
        nonlocal events
        if len(ends) < 6:
            events = events or str(app.value(f"select event_table from {mirrors.ours(pair.source, 'captures')}"))
            table = app.q(mirrors.ours(pair.source, events))
            nonce = json.loads(app.value(f"select nonces from {control}"))[-1]
            ends[nonce] = int(app.value(f"select max(id) from {table}"))
            number[0] += 1
            app.run("insert into orders values (?, 'after the nonce', 1)", number[0])
            with contextlib.suppress(AssertionError):
                wait_until(lambda: (number[0],) in rows(pair.destination, "orders", ("id",)), "copied", 2.5)

    with _at(steps.WRITE_NONCE, "after", write):
        pair.start("orders")
        wait_until(lambda: len(ends) == 6, "nonces")
        wait_until(lambda: {nonce for nonce, _ in _stream(pair)[1]} >= {list(ends)[-1]}, "the last one is noted")
    noted = [(nonce, max(json.loads(position).values())) for nonce, position in _stream(pair)[1] if nonce in ends]
    assert len(noted) >= 3
    assert [(nonce, end, ends[nonce]) for nonce, end in noted if end > ends[nonce]] == []


def _only(documents: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Without the Reflections that are not named."""
    return [d for d in documents if d["kind"] != "Reflection" or d["metadata"]["name"] in names]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_event_is_purged_that_one_still_needs_who_is_not_here(
    make_pair: MakePair, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies of one table. While the older one is left out, the newer one begins, behind what the older needs."""
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    monkeypatch.setattr(fence, "KEPT_NONCES", 1000)
    pair = make_pair(engine, "sqlite")
    _fill(pair, 5)
    older = {"table": None, "of": "t0", "reflection": "older", "to": "copy", "stream": "other"}
    whole = mirrors.documents(pair.source, pair.destination, ["orders", older])
    pair.documents = _only(whole, "older")
    pair.start()
    _in_step(pair)
    wait_until(lambda: _stream(pair)[1], "a nonce")
    wait_until(lambda: _registered(pair) == 1, "registered")
    pair.stop()
    pair.make("insert into orders values (9, 'needed', 9)", "delete from orders where id = 3")
    pair.documents = _only(whole, "t0")
    pair.start()
    _in_step(pair, 2)
    wait_until(lambda: _registered(pair) == 2, "both registered")
    for _ in range(3):
        before = _nonces(pair)
        wait_until(lambda: _nonces(pair) != before, "a nonce, and a purge after it")  # noqa: B023
    pair.stop()
    pair.documents = whole
    pair.start()
    wanted = rows(pair.source, "orders", ORDERS)
    wait_until(lambda: rows(pair.destination, "copy", ORDERS) == wanted, "the older one is equal")


def _registered(pair: Pair) -> int:
    table, position = mirrors.ours(pair.source, "registrations"), pair.app.q("position")
    return len(pair.source.execute(f"select 1 from {table} where {position} <> ''", role="superuser"))


def test_who_was_away_for_long_goes_on_from_where_it_stood(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its events are there: nothing was lost, so that nothing has to be copied again, or asked of a person."""
    monkeypatch.setattr(process, "NONCE_EVERY", 0.1)
    pair = make_pair("sqlite", "sqlite")
    _fill(pair, 5)
    away = {"table": None, "of": "t0", "reflection": "away", "to": "copy", "stream": "other"}
    pair.start("orders", away)
    _in_step(pair, 2)
    states = f"select state from {mirrors.ours(pair.destination, 'checkpoints')} where name = 'stream/to/other'"
    wait_until(lambda: json.loads(pair.destination.execute(states)[0][0]).get("nonces"), "a nonce that it notes")
    pair.stop()
    whole = pair.documents
    pair.documents = _only(whole, "t0")
    pair.start()
    pair.make("insert into orders values (9, 'needed', 9)", "delete from orders where id = 3")
    for _ in range(fence.KEPT_NONCES + 2):
        before = _nonces(pair)
        wait_until(lambda: _nonces(pair) != before, "a nonce")  # noqa: B023
    pair.stop()
    pair.documents = whole
    mirror = pair.start()
    mirror.wait_phase("Streaming", name="away", patience=5)
    wait_until(lambda: rows(pair.destination, "copy", ORDERS) == rows(pair.source, "orders", ORDERS), "equal", 5)
    assert mirror.seen("away").failures == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_column_that_is_another_one_is_noticed_by_the_next_window(make_pair: MakePair, engine: str) -> None:
    """Its rows are not written as what the plan took them for: it is planned again first."""
    pair = make_pair(engine, "sqlite")
    _fill(pair, 5)
    mirror = pair.start("orders")
    _in_step(pair)
    if engine == "firebird":
        pair.make("alter table orders drop qty", "alter table orders add qty int default 7 not null")
    else:
        pair.make("alter table orders drop column qty", "alter table orders add column qty int default 7")
    pair.make("update orders set customer = 'x' where id = 1")
    wait_until(lambda: (1, "x", 7) in rows(pair.destination, "orders", ORDERS), "the row")
    assert "CaptureDrift" in mirror.seen().failures


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_values_that_ddl_changes_arrive(make_pair: MakePair, engine: str) -> None:
    """No trigger sees them, and the table has another fingerprint: it is swept."""
    pair = make_pair(engine, "sqlite")
    _fill(pair, 5)
    pair.start("orders")
    _in_step(pair)
    pair.make("alter table orders drop column qty", "alter table orders add column qty int default 7")
    pair.make("update orders set customer = 'x' where id = 1")
    comparison.wait_equal(pair.source, pair.destination, {"orders": ORDERS}, patience=6)


@pytest.mark.parametrize("engine", ["postgresql"])
def test_many_rows_that_are_equal_are_left_alone(make_pair: MakePair, engine: str) -> None:
    """So many that they are merged."""
    pair = make_pair("sqlite", engine)
    _fill(pair, 3000)
    pair.start("orders")
    _in_step(pair)
    versions = "select count(*), min(xmin::text), max(xmin::text) from orders where id > 0"
    before = pair.destination.execute(versions, role="superuser")
    pair.make("update orders set qty = qty + case when id = 0 then 1 else 0 end")
    pair.wait_equal(orders=ORDERS)
    assert pair.destination.execute(versions, role="superuser") == before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_value_that_is_there_twice_is_not_told(make_pair: MakePair, engine: str) -> None:
    """The drivers quote it, each in words of its own."""
    pair = make_pair("sqlite", engine)
    _fill(pair, 3)
    text = "varchar(80)" if engine in ("mysql", "mariadb", "firebird") else "text"
    columns = f"id bigint primary key, customer {text} unique, qty bigint"
    pair.destination.execute(f"create table orders ({columns})")
    _granted(pair, "orders")
    mirror = pair.start("orders")
    _in_step(pair)
    pair.make("update orders set customer = 'Zaphod4711' where id < 2")
    wait_until(lambda: mirror.seen().failures.get("Rejected"), "it says so")
    wait_until(lambda: mirror.seen().phase == "Failed", "it says so")
    assert "Zaphod4711" not in " ".join((*mirror.messages, mirror.seen().message))


def test_a_statement_outside_a_step_is_not_sent(sqlite_db: MakeDatabase) -> None:
    database = sqlite_db()
    session = Session(dialects.load(Address("sqlite", path=database.url()["path"])), Role.WRITER)
    try:
        for send in (lambda: session.run("create table t (id int)"), lambda: session.rows("select 1"), session.commit):
            with pytest.raises(RuntimeError, match="outside a named step"):
                send()
        with session.step("here"):
            session.run("create table t (id int)")
        with pytest.raises(RuntimeError):
            session.many("insert into t values (?)", [(1,)])
        with pytest.raises(RuntimeError):
            list(session.batches("select 1", 1, 1))
    finally:
        session.close()
    assert database.execute("select count(*) from t") == [(0,)]
