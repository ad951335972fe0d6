"""What foreign keys carry on fires no trigger of the child; its keys are noted all the same, and nobody waits."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import statistics
import threading
import time

import pymysql
import pytest

from pantograph.apply import execute
from pantograph.dialects.base import CaptureState
from pantograph.reconcile import sourcetables
from pantograph.reconcile.observed import TableSeen

ISOLATION = ["read uncommitted", "read committed", "repeatable read", "serializable"]


class Family:
    """Captured tables, whose events are compared with what became of their rows."""

    def __init__(self, world, *tables):
        self.world = world
        self.captures = {table: world.capture(table) for table in tables}
        shapes = {table: [column.name for column in world.shape(table).columns] for table in tables}
        self.places = {
            table: [shapes[table].index(name) for name in capture.key] for table, capture in self.captures.items()
        }

    def rows(self):
        quote = self.world.dialect.quote
        return {
            table: {tuple(row) for row in self.world.run(f"select * from {quote(table)}")} for table in self.captures
        }

    def keys(self, table, rows):
        return {tuple(row[i] for i in self.places[table]) for row in rows}

    def noted(self, table):
        return {tuple(key) for _, *key in self.world.noted(self.captures[table])}

    def forget(self):
        for capture in self.captures.values():
            self.world.admin.direct(f"delete from {self.world.dialect.ours(capture.event_table)}")

    def change(self, *statements):
        """Run them; every row that is not as it was must have its key noted, and no other. Those keys, by table."""
        self.forget()
        before = self.rows()
        self.world.run(*statements)
        after = self.rows()
        noted = {table: self.noted(table) for table in self.captures}
        assert noted == {table: self.keys(table, before[table] ^ after[table]) for table in self.captures}
        return noted

    def healthy(self):
        return {
            table: self.world.dialect.capture_state(self.world.admin, capture, self.world.shape(table)).problems
            for table, capture in self.captures.items()
        } == dict.fromkeys(self.captures, ())


def family(world, action="on delete cascade on update cascade"):
    """Four levels, three of everything below everything."""
    names = ["a", "b", "c", "d"]
    world.run("create table a (id int primary key, n int)", "insert into a values (1, 0), (2, 0), (3, 0)")
    for up, name in itertools.pairwise(names):
        world.run(
            f"create table {name} (id int primary key, up int, n int, foreign key (up) references {up} (id) {action})",
            f"insert into {name} select p.id * 10 + s.seq, p.id, 0 from {up} p join seq_1_to_3 s",
        )


def triggers(world):
    return sorted(
        (row[0], row[1], row[2])
        for row in world.run(
            "select trigger_name, event_object_table, event_manipulation from information_schema.triggers "
            f"where trigger_schema = '{world.database.name}'"
        )
    )


# -- what is noted -----------------------------------------------------------------------------------------------------


def test_a_family_of_four_levels_that_is_deleted_is_noted_at_every_level(world):
    family(world)
    noted = Family(world, "b", "c", "d").change("delete from a where id = 1")
    assert [len(noted[table]) for table in "bcd"] == [3, 9, 27]


def test_a_table_far_below_is_noted_where_nothing_between_is_captured(world):
    family(world)
    down = Family(world, "d")
    assert len(down.change("delete from a where id = 1")["d"]) == 27
    assert len(down.change("delete from b where id = 21")["d"]) == 9
    assert len(down.change("delete from c where up = 22")["d"]) == 9
    assert down.change("update a set n = 1", "update b set n = 1", "insert into a values (9, 9)")["d"] == set()
    assert len(down.change("delete from a")["d"]) == 3 * 27 - 27 - 9 - 9


def test_a_key_of_a_parent_that_is_changed_is_noted_below(world):
    family(world)
    noted = Family(world, "b", "c", "d").change("update a set id = 7 where id = 1")
    assert noted == {"b": {(11,), (12,), (13,)}, "c": set(), "d": set()}


def test_a_key_that_goes_down_through_the_keys_of_children_is_noted_as_it_was_and_as_it_is(world):
    world.run(
        "create table shops (id int primary key)",
        "create table orders (shop int, no int, primary key (shop, no), "
        "foreign key (shop) references shops (id) on delete cascade on update cascade)",
        "create table items (shop int, no int, line int, n int, primary key (line, shop, no), key (shop, no), "
        "foreign key (shop, no) references orders (shop, no) on delete cascade on update cascade)",
        "insert into shops values (1), (2)",
        "insert into orders values (1, 1), (1, 2), (2, 1)",
        "insert into items select shop, no, seq, 0 from orders join seq_1_to_2",
    )
    down = Family(world, "orders", "items")
    noted = down.change("update shops set id = 5 where id = 1")
    assert noted["orders"] == {(1, 1), (1, 2), (5, 1), (5, 2)}
    assert len(noted["items"]) == 8
    assert len(down.change("update orders set no = 9 where shop = 5 and no = 1")["items"]) == 4
    assert len(down.change("delete from shops where id = 5")["items"]) == 4


def test_references_that_are_set_to_null_are_noted(world):
    family(world, "on delete set null on update set null")
    down = Family(world, "b", "c", "d")
    assert down.change("delete from a where id = 1") == {"b": {(11,), (12,), (13,)}, "c": set(), "d": set()}
    assert len(down.change("update b set id = 99 where id = 21")["c"]) == 3


def test_what_is_set_to_null_goes_on_as_an_update(world):
    world.run(
        "create table a (id int primary key)",
        "create table b (id int primary key, x int unique, "
        "foreign key (x) references a (id) on delete set null on update cascade)",
        "create table c (id int primary key, x int, foreign key (x) references b (x) on update cascade)",
        "insert into a values (1), (2), (3)", "insert into b values (11, 1), (12, 2), (13, 3)",
        "insert into c values (111, 1), (112, 1), (121, 2), (131, 3)",
    )  # fmt: skip
    down = Family(world, "b", "c")
    assert down.change("update a set id = 5 where id = 2") == {"b": {(12,)}, "c": {(121,)}}
    assert down.change("delete from a where id = 1") == {"b": {(11,)}, "c": {(111,), (112,)}}


def test_a_captured_column_that_a_cascade_changes_is_noted_as_it_was_and_as_it_is(world):
    world.run(
        "create table a (id int primary key)",
        "create table b (id int primary key, x int, y int, foreign key (x) references a (id) on update cascade, "
        "foreign key (y) references a (id) on delete set null)",
        "insert into a values (1), (2)", "insert into b values (11, 1, null), (12, null, 2)",
    )  # fmt: skip
    capture = world.capture("b", columns=["id", "y", "x"])
    world.run("update a set id = 5 where id = 1", "delete from a where id = 2")
    assert world.noted(capture) == [("U", 11, None, 1), ("U", 11, None, 5), ("U", 12, 2, None), ("U", 12, None, None)]


def test_a_table_that_points_at_itself_is_followed_to_the_end(world):
    world.run(
        "create table roots (id int primary key)",
        "create table nodes (id int primary key, up int, root int, "
        "foreign key (up) references nodes (id) on delete cascade, "
        "foreign key (root) references roots (id) on delete cascade)",
        "create table leaves (id int primary key, node int, "
        "foreign key (node) references nodes (id) on delete cascade)",
        "insert into roots values (1), (2)",
        "insert into nodes values (1, null, 1), (2, 1, null), (3, 2, null), (4, 3, null), (5, 3, null), (9, null, 2)",
        "insert into nodes values (7, 7, null)",
        "insert into leaves select id * 10 + seq, id from nodes join seq_1_to_2",
    )
    down = Family(world, "nodes", "leaves")
    noted = down.change("delete from nodes where id = 3")
    assert (len(noted["nodes"]), len(noted["leaves"])) == (3, 6)
    assert down.change("delete from nodes where id = 7")["leaves"] == {(71,), (72,)}
    noted = down.change("delete from roots where id = 1")
    assert (len(noted["nodes"]), len(noted["leaves"])) == (2, 4)
    assert down.change("delete from nodes where id = 9")["nodes"] == {(9,)}


def test_a_table_that_points_at_itself_twice_and_is_set_to_null(world):
    world.run(
        "create table people (id int primary key, boss int, part_of int, "
        "foreign key (boss) references people (id) on delete set null, "
        "foreign key (part_of) references people (id) on delete cascade)",
        "insert into people values (1, null, null), (2, 1, null), (3, 2, 1), (4, 3, 3), (5, 4, null), (6, 1, 3)",
    )
    assert Family(world, "people").change("delete from people where id = 1")["people"] == {(i,) for i in range(1, 7)}


def test_several_ways_to_the_same_child_are_all_followed(world):
    world.run(
        "create table a (id int primary key)",
        "create table b (id int primary key, a int, foreign key (a) references a (id) on delete cascade)",
        "create table c (id int primary key, a int, foreign key (a) references a (id) on delete set null)",
        "create table d (id int primary key, a int, b int, c int, c2 int, "
        "foreign key (a) references a (id) on delete set null, foreign key (b) references b (id) on delete cascade, "
        "foreign key (c) references c (id) on delete cascade, foreign key (c2) references c (id) on delete cascade)",
        "insert into a values (1), (2)", "insert into b values (11, 1), (12, 2)",
        "insert into c values (21, 1), (22, 2)",
        "insert into d values (1, 1, null, null, null), (2, null, 11, null, null), (3, null, null, 21, null), "
        "(4, null, null, null, 21), (5, 1, 11, 22, 21), (6, 2, 12, 22, null)",
    )  # fmt: skip
    down = Family(world, "b", "c", "d")
    assert down.change("delete from a where id = 1")["d"] == {(1,), (2,), (5,)}
    assert down.change("delete from c where id = 21")["d"] == {(3,), (4,)}


def test_any_name_and_any_type_of_key(world):
    quote = world.dialect.quote
    up, down, column, key = "or%der `s` 'of' {x}", "t" * 64, "ke`y {0} :x %s", "select"
    u, d, c, k = (quote(each) for each in (up, down, column, key))
    world.run(
        f"create table {u} ({c} varchar(20) collate utf8mb4_general_ci, {k} datetime(3), primary key ({c}, {k}))",
        f"create table {d} ({k} enum('x', 'y'), b varbinary(5), {c} varchar(20) collate utf8mb4_general_ci, "
        f"t datetime(3), primary key ({k}, b, {c}), "
        f"constraint up foreign key ({c}, t) references {u} ({c}, {k}) on delete cascade on update cascade)",
        f"insert into {u} values ('a', '2026-01-01 00:00:00.123'), ('b', '2026-01-01')",
        f"insert into {d} values ('x', x'00ff', 'A', '2026-01-01 00:00:00.123'), ('y', '', 'b', '2026-01-01')",
    )
    one = Family(world, down)
    assert one.healthy()
    assert one.change(f"update {u} set {c} = 'é' where {c} = 'a'")[down] == {
        ("x", b"\x00\xff", "A"), ("x", b"\x00\xff", "é"),
    }  # fmt: skip
    assert one.change(f"delete from {u}")[down] == {("x", b"\x00\xff", "é"), ("y", b"", "b")}
    world.admin.rollback()
    world.execute(
        [
            *world.dialect.leftovers(world.admin, one.captures[down], None),
            *world.dialect.uninstall(one.captures[down]),
        ]
    )
    assert triggers(world) == []


def test_whatever_deletes_or_changes_the_parent_is_noted(world, tmp_path):
    world.run(
        "create table a (id int primary key, x int unique)",
        "create table b (id int primary key, x int, foreign key (x) references a (x) "
        "on delete set null on update cascade)",
        "insert into a select seq, seq from seq_1_to_9", "insert into b select 10 * x + seq, x from a join seq_1_to_2",
    )  # fmt: skip
    down = Family(world, "b")
    assert len(down.change("replace into a values (1, 100)")["b"]) == 2
    assert len(down.change("replace into a select id, 200 from a where id = 2")["b"]) == 2
    assert len(down.change("insert into a values (3, 0) on duplicate key update x = 300")["b"]) == 2
    file = tmp_path / "rows"
    file.write_text("4\t400\n")
    assert len(down.change(f"load data local infile '{file}' replace into table a")["b"]) == 2
    assert len(down.change("delete a, b from a join b on b.x = a.x where a.id = 5")["b"]) == 2
    assert len(down.change("update a join b on b.x = a.x set a.x = 600 where a.id = 6")["b"]) == 2
    assert len(down.change("delete from a where id in (7, 8)")["b"]) == 4


def test_one_parent_of_several_captures_and_a_parent_that_is_captured_itself(world):
    world.run(
        "create table a (id int primary key)",
        *(
            f"create table {n} (id int primary key, a int, foreign key (a) references a (id) on delete cascade)"
            for n in "bc"
        ),
        "insert into a values (1), (2)", "insert into b values (1, 1), (2, 2)", "insert into c values (1, 1), (2, 2)",
    )  # fmt: skip
    everything = Family(world, "a", "b", "c")
    assert everything.change("delete from a where id = 1") == {table: {(1,)} for table in "abc"}
    assert everything.healthy()


def _random_family(world, draw):
    """Tables that point at earlier ones and at themselves, by keys and by unique columns that are themselves set."""
    world.run("set foreign_key_checks = 1")
    for n in range(6):
        clauses = []
        for column in ("p", "q", "x"):
            up = draw.choice([n, *range(n), *range(n)] if column != "x" else [*range(n), None])
            if up is None or (up == n and draw.random() < 0.5):
                continue
            to = draw.choice(["id", "x"])
            if column == "x" and to == "id" and draw.random() < 0.5:
                to = "x"
            delete, update = (draw.choice(["cascade"] * 4 + ["set null"] * 3 + ["restrict"]) for _ in range(2))
            if up == n:
                update = "restrict"  # the engine refuses the rest
            clauses.append(f"foreign key ({column}) references t{up} ({to}) on delete {delete} on update {update}")
        parts = ["id int primary key", "x int unique", "p int", "q int", *clauses]
        world.run(f"create table t{n} ({', '.join(parts)})", "set foreign_key_checks = 0")
        rows = [
            f"({i}, {i}, {', '.join(str(draw.choice(['null', draw.randrange(12)])) for _ in 'pq')})" for i in range(12)
        ]
        world.run(f"insert into t{n} values {', '.join(rows)}", "set foreign_key_checks = 1")


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_family_no_change_goes_unnoted(world, seed):
    draw = random.Random(seed)
    _random_family(world, draw)
    captured = draw.sample(range(6), 4)
    down = Family(world, *(f"t{n}" for n in captured))
    changed = 0
    for step in range(25):
        down.forget()
        before = down.rows()
        table, row = draw.choice(["t0", f"t{draw.randrange(6)}"]), draw.randrange(12)
        where = draw.choice([f"id = {row}", f"x = {row}", f"id in ({row}, {(row + 3) % 12})"])
        sql = draw.choice([
            f"delete from {table} where {where}", f"delete from {table} where {where}",
            f"update {table} set id = {100 + step} where id = {row}",
            f"update {table} set x = {100 + step} where id = {row}", f"update {table} set x = null where id = {row}",
            f"replace into {table} values ({row}, {200 + step}, null, null)",
        ])  # fmt: skip
        with contextlib.suppress(pymysql.err.IntegrityError):
            world.run(sql)
        after = down.rows()
        for name in down.captures:
            missed = down.keys(name, before[name] ^ after[name]) - down.noted(name)
            changed += len(before[name] ^ after[name])
            assert not missed, (sql, name, missed)
    assert changed > 10
    assert down.healthy()


# -- what the reading sees, and what it locks --------------------------------------------------------------------------


def _session(world, isolation, *, refuses=False):
    """refuses: what MariaDB 11.6 and later do by themselves, and earlier ones when asked, in a transaction that reads
    repeatably: an error for who would change a row that his snapshot does not show."""
    connection = world.database.app()
    cursor = connection.cursor()
    cursor.execute(f"set session transaction isolation level {isolation}")
    cursor.execute("set innodb_lock_wait_timeout = 1")
    cursor.execute("show variables like 'innodb_snapshot_isolation'")
    if cursor.fetchall():
        cursor.execute(f"set innodb_snapshot_isolation = {'on' if refuses else 'off'}")
    elif refuses:
        return None
    return cursor


CARRIED_ON = ["delete from a where id = 1", "update a set id = 5 where id = 1", "replace into a select 1, 5"]


@pytest.mark.parametrize("isolation", ISOLATION)
@pytest.mark.parametrize("change", CARRIED_ON)
def test_a_child_that_came_after_the_transactions_snapshot_is_noted(world, isolation, change):
    """The cascade takes it, whatever the transaction sees."""
    family(world)
    down = Family(world, "b")
    app = _session(world, isolation)
    app.execute("begin")
    app.execute("select count(*) from a where id = 3")
    app.execute("select count(*) from b where id = 31")
    world.run("insert into b values (19, 1, 0)")
    down.forget()
    app.execute(change)
    app.execute("commit")
    assert down.noted("b") == {(11,), (12,), (13,), (19,)}


@pytest.mark.parametrize("change", CARRIED_ON)
def test_a_change_that_the_server_refuses_for_its_snapshot_is_refused_captured_or_not(world, change):
    """And in the same way, so that whoever tries such transactions again needs to know nothing of capture."""
    family(world)
    app = _session(world, "repeatable read", refuses=True)
    if app is None:
        return  # this server refuses nothing
    said = []
    for captured in (False, True):
        if captured:
            Family(world, "b")
        app.execute("begin")
        app.execute("select count(*) from a where id = 3")
        app.execute("select count(*) from b where id = 31")
        world.run(f"insert into b values ({18 + captured}, 1, 0)")
        with pytest.raises(pymysql.err.OperationalError) as refused:
            app.execute(change)
        app.execute("rollback")
        said.append(refused.value.args[0])
    assert said == [1020, 1020]


def _tried(cursor, sql):
    cursor.execute("begin")
    try:
        cursor.execute(sql)
    except pymysql.err.OperationalError as error:
        return f"error {error.args[0]}"
    finally:
        cursor.execute("rollback")
    return "passes"


OTHERS = [
    "insert into b values (1, 2, 0)",
    "insert into b values (99, 2, 0)",
    "insert into b values (25, 2, 0)",
    "insert into b values (98, 3, 0)",
    "update b set n = 1 where up = 2",
    "update b set up = 3 where id = 21",
    "delete from b where id = 31",
    "delete from a where id = 3",
    "insert into a values (9, 9)",
    "insert into c values (999, 31, 0)",
    "insert into c values (998, 21, 0)",
    "update c set n = 1 where up = 21",
    "delete from c where up = 33",
]


@pytest.mark.parametrize("isolation", ISOLATION)
@pytest.mark.parametrize("change", ["delete from a where id = 1", "update a set id = 5 where id = 1"])
def test_whoever_passes_without_capture_passes_with_it(world, isolation, change):
    """The tables are small: a scan of one would lock all of it."""
    family(world)
    holder, writer = _session(world, isolation), _session(world, "repeatable read")

    def all_of_them():
        holder.execute("begin")
        holder.execute(change)
        found = {sql: _tried(writer, sql) for sql in OTHERS}
        holder.execute("rollback")
        return found

    without = all_of_them()
    Family(world, "b", "c")
    assert all_of_them() == without
    assert set(without.values()) <= {"passes", "error 1205"}
    assert without["insert into b values (98, 3, 0)"] == "passes"


@contextlib.contextmanager
def _stopped_before_the_cascade(world, change):
    """`change` has noted what it will take, and has not taken it yet; it goes on after the block."""
    world.run(
        "create table gate (id int primary key, n int)", "insert into gate values (1, 0)",
        *(f"create trigger stop_{event} before {event} on a for each row update gate set n = n + 1"
          for event in ("delete", "update")),
    )  # fmt: skip
    holder, changer = _session(world, "read committed"), _session(world, "read committed")
    holder.execute("begin")
    holder.execute("select * from gate for update")
    changer.execute("set innodb_lock_wait_timeout = 30")
    thread = threading.Thread(target=changer.execute, args=(change,))
    thread.start()
    long = "time_ms > 300" if world.dialect.name == "mariadb" else "time > 0"
    waiting = f"select 1 from information_schema.processlist where info = %s and {long}"
    root = world.database.superuser().cursor()
    deadline = time.monotonic() + 20
    while not root.execute(waiting, ("update gate set n = n + 1",)) and not root.execute(waiting, (change,)):
        assert time.monotonic() < deadline, "it does not wait"
    yield
    assert thread.is_alive()
    holder.execute("rollback")
    thread.join()


@pytest.mark.parametrize("change", ["delete from a where id = 1", "update a set id = 5 where id = 1"])
def test_nobody_puts_a_row_below_one_that_is_about_to_change(world, change):
    """READ COMMITTED locks no gaps: it would be taken along, and nobody had noted it."""
    world.run(
        "create table a (id int primary key)",
        "create table b (a int, n int, primary key (a, n), "
        "foreign key (a) references a (id) on delete cascade on update cascade)",
        "create table c (a int, n int, m int, primary key (a, n, m), "
        "foreign key (a, n) references b (a, n) on delete cascade on update cascade)",
        "insert into a values (1), (2)", "insert into b values (1, 1), (2, 2)", "insert into c values (1, 1, 1)",
    )  # fmt: skip
    down = Family(world, "b", "c")
    writer = _session(world, "read committed")
    with _stopped_before_the_cascade(world, change):
        assert _tried(writer, "insert into b values (1, 9)") == "error 1205"
        assert _tried(writer, "insert into c values (1, 1, 9)") == "error 1205"
        assert _tried(writer, "insert into c values (2, 2, 9)") == "passes"
    assert (1, 1, 1) in down.noted("c")


@pytest.mark.parametrize("isolation", ISOLATION)
def test_the_children_of_another_parent_are_free_where_reading_the_table_whole_would_be_cheaper(world, isolation):
    world.run(
        "create table a (id int primary key)",
        "create table b (id int primary key, up int, n int, s varchar(50), "
        "foreign key (up) references a (id) on delete cascade)",
        "insert into a values (1), (2)", "insert into b select seq, 1, 0, 'x' from seq_1_to_60",
        "insert into b values (100, 2, 0, 'x')", "analyze table b",
    )  # fmt: skip
    capture = world.capture("b", columns=["id", "n"])
    holder, writer = _session(world, isolation), _session(world, "repeatable read")
    holder.execute("begin")
    holder.execute("delete from a where id = 1")
    assert _tried(writer, "update b set n = 1 where id = 100") == "passes"
    holder.execute("commit")
    assert len(world.noted(capture)) == 60


def test_a_writer_of_another_parent_passes_while_a_delete_is_in_the_midst_of_its_work(world):
    """An INSERT … SELECT would keep the lock of the event ids to the end of the statement."""
    family(world)
    down = Family(world, "b")
    holder, deleter, writer = (_session(world, "read committed") for _ in range(3))
    looking = world.database.superuser().cursor()
    looking.execute("set session transaction isolation level read uncommitted")
    begun = f"select 1 from {world.dialect.ours(down.captures['b'].event_table)} where k0 = 13"
    holder.execute("begin")
    holder.execute("select * from a where id = 2 for update")
    deleter.execute("set innodb_lock_wait_timeout = 30")
    thread = threading.Thread(target=deleter.execute, args=("delete from a where id in (1, 2) order by id",))
    thread.start()
    deadline = time.monotonic() + 20
    while not looking.execute(begun):
        assert time.monotonic() < deadline, "the delete has not begun"
    assert _tried(writer, "insert into b values (98, 3, 0)") == "passes"
    assert _tried(writer, "update b set n = 1 where up = 3") == "passes"
    assert thread.is_alive()
    holder.execute("rollback")
    thread.join()
    assert down.noted("b") == {(11,), (12,), (13,), (21,), (22,), (23,)}


# -- the application notices nothing -----------------------------------------------------------------------------------


def test_the_applications_session_is_as_it_was(world):
    family(world)
    world.run("create table auto (id int auto_increment primary key)", "insert into auto values (40), (null)")
    Family(world, "b", "c", "d")
    with world.app.cursor() as cursor:
        cursor.execute("insert into auto values (null)")
        last = cursor.lastrowid
        cursor.execute("delete from a where id in (1, 2)")
        assert cursor.rowcount == 2
        cursor.execute("select row_count(), @@warning_count, last_insert_id()")
        assert cursor.fetchone()[1:] == (0, last)
        cursor.execute("update a set id = 8")
        assert cursor.rowcount == 1
        cursor.execute("select row_count()")
        assert cursor.fetchone() == (1,)
        cursor.execute("show warnings")
        assert cursor.fetchall() == ()


def test_past_the_lease_nothing_is_noted(world):
    family(world)
    down = Family(world, "b")
    world.end_lease()
    world.run("delete from a where id = 1", "update a set id = 7 where id = 2")
    assert down.noted("b") == set()
    world.lease(100)
    world.run("delete from a where id = 3")
    assert down.noted("b") == {(31,), (32,), (33,)}


BROKEN = {
    "the event table": lambda world, b: world.admin.direct(f"drop table {world.dialect.ours(b.event_table)}"),
    "the lease": lambda world, b: world.lose_lease(),
    "the index": lambda world, b: world.run("alter table b drop index up, add index other (up, n)"),
    "a column": lambda world, b: world.run("alter table b rename column id to number"),
    "the trouble table too": lambda world, b: [
        world.admin.direct(f"drop table {world.dialect.ours(name)}") for name in ("trouble", b.event_table)
    ],
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_trigger_that_cannot_do_its_work_lets_the_write_pass_and_is_noticed(world, what):
    family(world)
    down = Family(world, "b")
    BROKEN[what](world, down.captures["b"])
    with world.app.cursor() as cursor:
        cursor.execute("delete from a where id = 1")
        assert cursor.rowcount == 1
        cursor.execute("update a set id = 7 where id = 2")
        assert cursor.rowcount == 1
        cursor.execute("show warnings")
        assert cursor.fetchall() == ()
        cursor.execute("select count(*) from b where up in (1, 2)")
        assert cursor.fetchone() == (0,)
    if what != "the trouble table too":
        assert world.side.rows(f"select capture from {world.dialect.ours('trouble')}") != []
        assert not down.healthy()


def test_the_writer_needs_no_grant_on_the_child_nor_on_ours(world):
    family(world)
    down = Family(world, "b")
    root = world.database.superuser().cursor()
    root.execute("drop user if exists clerk@'%'")
    root.execute("create user clerk@'%' identified by 'clerk'")
    try:
        root.execute(f"grant select, delete on `{world.database.name}`.a to clerk@'%'")
        at = world.database.url("app")
        clerk = pymysql.connect(
            host=at["host"], port=at["port"], user="clerk", password="clerk", database=at["database"], autocommit=True
        )
        with contextlib.closing(clerk):
            clerk.cursor().execute("delete from a where id = 1")
    finally:
        root.execute("drop user clerk@'%'")
    assert down.noted("b") == {(11,), (12,), (13,)}


# -- installed, checked, mended, removed -------------------------------------------------------------------------------


def _mend(world, capture):
    """Observe and plan as `apply` does, and carry it out; the statements."""
    shape = world.shape(capture.table)
    state = world.dialect.capture_state(world.admin, capture, shape)
    left = tuple(world.dialect.leftovers(world.admin, capture, shape))
    seen = TableSeen("", capture.table, shape, capture, state, leftovers=left)
    found = sourcetables.plan("test", world.dialect, seen, dataclasses.replace(capture))
    for action in found:
        execute.run(world.admin, world.dialect, action)
    return [statement for action in found for statement in action.statements]


def _problems(world, capture):
    return world.dialect.capture_state(world.admin, capture, world.shape(capture.table)).problems


def test_statements_say_which_table_they_lock_and_only_needed_triggers_are_made(world):
    family(world, "on delete cascade")
    capture = world.capture("c")
    statements = world.dialect.install(capture, world.shape("c"))
    on = {statement.locks: statement.sql for statement in statements if "before delete" in statement.sql}
    assert set(on) == {"a", "b"}
    assert not any("before update" in statement.sql for statement in statements)
    assert [(table, event) for name, table, event in triggers(world) if name.startswith("pantograph_b")] == [
        ("a", "DELETE"), ("b", "DELETE"),
    ]  # fmt: skip


def test_a_table_without_such_a_foreign_key_has_its_three_triggers(world):
    world.run(
        "create table a (id int primary key)",
        "create table b (id int primary key, a int, foreign key (a) references a (id))",
    )
    world.capture("b")
    assert len(triggers(world)) == 3


def test_a_missing_a_foreign_and_a_useless_trigger_are_problems_and_are_mended(world):
    family(world)
    capture = world.capture("b")
    (gone,) = [name for name, table, event in triggers(world) if (table, event) == ("a", "DELETE")]
    (other,) = [name for name, table, event in triggers(world) if (table, event) == ("a", "UPDATE")]
    world.run(
        f"drop trigger {gone}",
        f"drop trigger {other}",
        f"create trigger {other} before update on a for each row begin end",
    )
    assert _problems(world, capture) == (
        "the trigger for delete on a, from which a foreign key cascades, is missing",
        "the trigger for update on a is not the one that was planned",
    )
    _mend(world, capture)
    mended = dataclasses.replace(capture, version=2)
    assert _problems(world, mended) == ()
    world.run("alter table b drop foreign key b_ibfk_1")
    assert len(_problems(world, mended)) == 2
    assert all("of no use" in problem for problem in _problems(world, mended))
    _mend(world, mended)
    assert [table for _, table, _ in triggers(world)] == ["b", "b", "b"]


def test_a_foreign_key_that_is_added_far_above_is_noticed(world):
    family(world)
    world.run("alter table b drop foreign key b_ibfk_1")
    capture = world.capture("d")
    shape = world.shape("d")
    assert world.dialect.capture_state(world.admin, capture, shape).healthy
    world.run("alter table b add foreign key (up) references a (id) on delete cascade")
    # The shape is the one that was seen before: the table itself has not changed.
    assert world.dialect.capture_state(world.admin, capture, shape).problems == (
        "the trigger for delete on a, from which a foreign key cascades, is missing",
    )
    _mend(world, capture)
    assert _problems(world, dataclasses.replace(capture, version=2)) == ()


def test_a_trigger_of_the_application_that_changes_the_key_after_us_is_noticed_and_put_before_us(world):
    world.run(
        "create table a (id int primary key)",
        "create table b (id int primary key, a int, foreign key (a) references a (id) on update cascade)",
        "insert into a values (1)", "insert into b values (11, 1)",
    )  # fmt: skip
    capture = world.capture("b", columns=["id", "a"])
    world.run("create trigger later before update on a for each row set new.id = new.id + 1")
    assert _problems(world, capture) == ("a trigger before update on a fires after ours",)
    _mend(world, capture)
    assert _problems(world, dataclasses.replace(capture, version=2)) == ()
    world.run("update a set id = 4")
    assert world.noted(capture) == [("U", 11, 1), ("U", 11, 5)]


def test_removing_takes_the_triggers_off_all_tables(world):
    family(world)
    captures = [world.capture(table) for table in "bd"]
    assert {table for _, table, _ in triggers(world)} == set("abcd")
    for capture in captures:
        left = world.dialect.leftovers(world.admin, capture, None)
        assert {statement.locks for statement in left} == set("abc"[: 1 if capture.table == "b" else 3])
        world.execute([*left, *world.dialect.uninstall(capture)])
        assert world.dialect.capture_state(world.admin, capture, None) == CaptureState(False)
    assert triggers(world) == []


def test_where_a_row_may_slip_in_unseen_is_said(world):
    world.run(
        "create table a (id int, x int unique, primary key (id, x))",
        "create table b (id int primary key, a int, x int, n int, foreign key (a, x) references a (id, x) "
        "on delete cascade)",
        "create table c (id int primary key, x int, constraint loose foreign key (x) references a (x) "
        "on delete cascade)",
        "create table d (id int primary key, up int, foreign key (up) references d (id) on delete cascade)",
    )  # fmt: skip
    slips = {
        table: [spot for spot in world.dialect.blind_spots(world.shape(table)) if "READ COMMITTED" in spot]
        for table in "bcd"
    }
    assert slips["b"] == []
    assert "loose does not point at a primary key" in slips["c"][0]
    assert "d points at itself" in slips["d"][0]


@pytest.fixture
def audit(world):
    """Another database of the application, on which we have no right."""
    name = f"{world.database.name}_audit"
    root = world.database.superuser().cursor()
    root.execute(f"create database {name}")
    root.execute(f"grant all on {name}.* to '{world.database.url('app')['username']}'@'%'")
    yield name, root
    root.execute("set foreign_key_checks = 0")
    root.execute(f"drop database {name}")


def test_a_parent_that_we_may_not_watch_is_named_with_the_grant_that_would_do(world, audit):
    name, root = audit
    app = world.database.app()
    for sql in (
        f"create table {name}.a (id int primary key)", f"insert into {name}.a values (1), (2)",
        f"create table {name}.m (id int primary key, a int, "
        f"foreign key (a) references {name}.a (id) on delete cascade)",
        f"insert into {name}.m values (1, 1), (2, 2)",
        f"create table b (id int primary key, m int, foreign key (m) references {name}.m (id) on delete cascade)",
        "insert into b values (1, 1), (2, 2)",
    ):  # fmt: skip
        app.cursor().execute(sql)
    down = Family(world, "b")
    assert down.healthy()
    account = f"'{world.database.url('source')['username']}'@'%'"
    for table in ("m", "a"):
        spots = [each for each in world.dialect.blind_spots(world.shape("b")) if ": grant" in each]
        (spot,) = [each for each in spots if f"{name}.{table} to b" in each]
        granted = spot.rpartition(": ")[2].split("; ")
        assert granted[0] == f"grant select, trigger on `{name}`.`{table}` to {account}"
        for sql in granted:
            root.execute(sql)
        (problem,) = _problems(world, down.captures["b"])
        assert problem == f"the trigger for delete on {name}.{table}, from which a foreign key cascades, is missing"
        _mend(world, down.captures["b"])
        down.captures["b"] = dataclasses.replace(down.captures["b"], version=down.captures["b"].version + 1)
    assert not [each for each in world.dialect.blind_spots(world.shape("b")) if ": grant" in each]
    assert down.change(f"delete from {name}.a where id = 1")["b"] == {(1,)}
    left = world.dialect.leftovers(world.admin, down.captures["b"], None)
    assert {statement.locks for statement in left} == {f"{name}.a", f"{name}.m"}
    world.execute(left)
    root.execute(f"select * from information_schema.triggers where trigger_schema = '{name}'")
    assert root.fetchall() == ()


def test_a_circle_of_tables_is_said(world):
    world.run(
        "create table a (id int primary key, b int)",
        "create table b (id int primary key, a int, foreign key (a) references a (id) on delete cascade)",
        "alter table a add foreign key (b) references b (id) on delete cascade",
        "insert into a values (1, null)", "insert into b values (1, 1)", "insert into a values (2, 1)",
    )  # fmt: skip
    spots = world.dialect.blind_spots(world.shape("b"))
    assert any("in a circle" in spot for spot in spots)
    assert Family(world, "a", "b").change("delete from a where id = 1") == {"a": {(1,), (2,)}, "b": {(1,)}}


# -- the price ---------------------------------------------------------------------------------------------------------


@pytest.mark.night
def test_what_it_costs_to_delete_a_parent_of_many(world):
    """Printed, and held within a wide bound: ratios on a shared machine."""
    world.run("create table a (id int primary key)")
    for table in ("free", "noted"):
        world.run(
            f"create table {table} (id int primary key, a int, s varchar(100), "
            f"constraint {table} foreign key (a) references a (id) on delete cascade)"
        )
    taken = {"free": [], "noted": []}
    captured = False
    for table in ("free", "noted"):
        if table == "noted" and not captured:
            world.capture("noted")
        for n in range(7):
            world.run(
                f"insert into a values ({n})",
                f"insert into {table} select seq, {n}, repeat('x', 80) from seq_1_to_10000",
            )
            began = time.perf_counter()
            world.run(f"delete from a where id = {n}")
            taken[table].append(time.perf_counter() - began)
    free, noted = (statistics.median(taken[table]) for table in ("free", "noted"))
    print(f"a parent of 10,000: {free * 1000:.0f} ms, with capture {noted * 1000:.0f} ms: {noted / free:.1f}")
    assert noted / free < 25
