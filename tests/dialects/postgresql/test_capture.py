"""Every write is noted, whichever way it is made, and capture never breaks the application."""

import psycopg2
import pytest

from pantograph.model.changes import Capture

ODD_NAMES = [
    "order",
    'say "hi"',
    "it's 100%s of %(x)s",
    "a :b c",
    "back\\slash",
    "Größe",
    "n" * 63,
]


def orders(place, columns="id int primary key, note text"):
    place.app(f"create table orders ({columns})")
    return place.capture("orders")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_only_characters(source, name):
    quoted = source.dialect.quote(name)
    source.app(f"create table {quoted} ({quoted} int primary key)".replace("%", "%%"), ())
    capture = source.capture(name)
    source.app(f"insert into {quoted} values (1), (2)".replace("%", "%%"), ())
    source.app(f"update {quoted} set {quoted} = 3 where {quoted} = 1".replace("%", "%%"), ())
    source.app(f"delete from {quoted} where {quoted} = 2".replace("%", "%%"), ())
    assert source.noted(capture) == [("D", 2), ("I", 1), ("I", 2), ("U", 1), ("U", 3)]
    assert source.problems(capture) == ()
    for statement in source.dialect.uninstall(capture):
        source.admin.direct(statement.sql)
    assert not source.dialect.capture_state(source.admin, capture, source.shape(name)).installed


def test_rows_are_noted_by_statement_and_in_bulk(source):
    capture = orders(source)
    source.app("insert into orders select g, 'x' from generate_series(1, 1000) g")
    assert source.noted(capture) == sorted([("I", n) for n in range(1, 1001)], key=repr)
    source.forget(capture)
    source.app("update orders set note = 'y' where id <= 3")
    source.app("delete from orders where id = 5")
    source.app("update orders set note = 'z' where false")
    assert source.noted(capture) == [("D", 5), ("U", 1), ("U", 2), ("U", 3)]


def test_copy_merge_and_upserts_are_noted(source):
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    source.app("insert into orders values (1, 'b'), (2, 'b') on conflict (id) do update set note = excluded.note")
    assert source.noted(capture) == [("I", 1), ("I", 2), ("U", 1)]
    source.forget(capture)
    if source.connection.server_version >= 150000:
        source.app(
            "merge into orders o using (values (1), (2), (9)) v(id) on o.id = v.id "
            "when matched and v.id = 1 then delete when matched then update set note = 'm' "
            "when not matched then insert values (v.id, 'm')"
        )
        assert source.noted(capture) == [("D", 1), ("I", 9), ("U", 2)]
    source.forget(capture)
    import io

    with source.connection.cursor() as cursor:
        cursor.copy_expert("copy orders from stdin", io.StringIO("20\tx\n21\ty\n"))
    assert source.noted(capture) == [("I", 20), ("I", 21)]


@pytest.mark.parametrize(("key", "events"), [("bigint", 200_001), ("text", 400_002)])
def test_a_large_statement_notes_each_key_once_where_the_keys_are_short(source, key, events):
    source.app(f"create table orders (id {key} primary key, note text)")
    capture = source.capture("orders")
    source.app("insert into orders select g, 'x' from generate_series(1, 200001) g")
    source.forget(capture)
    source.app("update orders set note = 'y'")
    counts = source.side.row(f"select count(*), count(distinct k0) from {source.dialect.ours(capture.event_table)}")
    assert counts == (events, 200_001)


def test_a_changed_key_is_two_keys(source):
    capture = orders(source)
    source.app("insert into orders values (1, 'a'), (2, 'b')")
    source.forget(capture)
    source.app("update orders set id = 10 where id = 1")
    assert source.noted(capture) == [("U", 1), ("U", 10)]
    source.forget(capture)
    # A swap, whose sets of old and new keys are equal.
    source.app("alter table orders drop constraint orders_pkey")
    source.app("update orders set id = 12 - id")
    assert {row[1] for row in source.noted(capture)} == {2, 10}


def test_a_key_changed_by_a_trigger_of_the_users_is_seen(source):
    capture = orders(source)
    source.app("create function f() returns trigger language plpgsql as 'begin new.id = new.id + 100; return new; end'")
    source.app("insert into orders values (1, 'a')")
    source.app("create trigger t before update on orders for each row execute function f()")
    source.forget(capture)
    source.app("update orders set note = 'b'")
    assert source.noted(capture) == [("U", 1), ("U", 101)]


@pytest.mark.parametrize(
    ("columns", "before", "after"),
    [
        ("a int, b text, primary key (a, b)", "(1, 'x')", "(1, 'X')"),
        ("a varchar(5) primary key", "('x')", "('X')"),
        ("a char(5) primary key", "('x')", "('y')"),
        ("a numeric(10,2) primary key", "(1.10)", "(1.20)"),
        ("a uuid primary key", "('00000000-0000-0000-0000-00000000000a')", "('00000000-0000-0000-0000-00000000000b')"),
        ("a timestamptz(3) primary key", "('2024-01-01 00:00:00.123+00')", "('infinity')"),
        ("a date, b bytea, primary key (b, a)", "('2024-01-01', '\\x00')", "('2024-01-01', '\\xff')"),
        ("a jsonb primary key", """('{"a": 1}')""", """('{"a": 2}')"""),
        ("a int[] primary key", "('{1}')", "('{2}')"),
        ("a boolean primary key", "(true)", "(false)"),
        ("a real primary key", "(1.1)", "(1.2)"),
        ("a interval primary key", "('1 day')", "('2 days')"),
        ("a inet primary key", "('10.0.0.1')", "('10.0.0.2')"),
    ],
)
def test_keys_of_every_type(source, columns, before, after):
    source.app(f"create table t ({columns})")
    capture = source.capture("t")
    source.app(f"insert into t values {before}")
    source.app("update t set a = a")
    assert len(source.noted(capture)) == 2
    names = ", ".join(capture.columns)
    source.app(f"create table there as select * from t where false; insert into there values {after}")
    source.app(
        f"update t set ({names}) = (select {names} from there limit 1)"
        if "," in names
        else f"update t set {names} = (select {names} from there)"
    )
    assert len(source.noted(capture)) == 4
    assert source.problems(capture) == ()


def test_types_of_the_users_own(source):
    source.app("create type mood as enum ('sad', 'ok'); create domain code as varchar(9) check (value <> '')")
    source.app("create table t (m mood, c code, primary key (m, c))")
    capture = source.capture("t")
    source.app("insert into t values ('sad', 'x'); update t set m = 'ok'; delete from t")
    assert source.noted(capture) == [("D", "ok", "x"), ("I", "sad", "x"), ("U", "ok", "x"), ("U", "sad", "x")]


def test_a_nondeterministic_key_that_changes_only_in_case_is_two_keys(source):
    source.app("create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    source.app("create table t (a text collate folded primary key)")
    capture = source.capture("t")
    assert source.shape("t").column("a").type.folding
    source.app("insert into t values ('abc')")
    source.forget(capture)
    source.app("update t set a = 'ABC'")
    assert source.noted(capture) == [("U", "ABC"), ("U", "abc")]


def test_columns_beside_the_key_are_captured_and_may_be_null(source):
    source.app("create table t (id int primary key, other text, j json)")
    capture = source.capture("t", columns=("id", "other", "j"))
    source.app("insert into t values (1, null, null)")
    source.app("update t set other = 'x' where id = 1")
    source.app("""update t set j = '{"a":1}' where id = 1""")
    assert [row[1:] for row in source.noted(capture)] == [
        (1, None, None),
        (1, "x", None),
        (1, "x", '{"a":1}'),
        (1, None, None),
        (1, "x", None),
    ] or len(source.noted(capture)) == 5


def test_what_is_rolled_back_was_never_there(source):
    capture = orders(source)
    source.app("begin; insert into orders values (1, 'a'); rollback")
    source.app(
        "begin; savepoint s; insert into orders values (2, 'a'); rollback to s; insert into orders values (3, 'a')"
    )
    source.app("savepoint s2; insert into orders values (4, 'a'); release s2; commit")
    assert source.noted(capture) == [("I", 3), ("I", 4)]
    found = source.admin.rows(f"select count(distinct xid) from {source.dialect.ours(capture.event_table)}")
    assert found == [(1,)]  # savepoints included: windows go by the transaction


def test_cascades_are_noted(source):
    source.app("create table parent (id int primary key)")
    source.app("create table child (id int primary key, p int references parent on delete cascade on update cascade)")
    parent, child = source.capture("parent"), source.capture("child")
    source.app("insert into parent values (1); insert into child values (10, 1), (11, 1)")
    source.forget(parent)
    source.forget(child)
    source.app("update parent set id = 2")
    assert source.noted(child) == [("U", 10), ("U", 11)]
    source.forget(child)
    source.app("delete from parent")
    assert source.noted(child) == [("D", 10), ("D", 11)]


def test_truncate_is_an_event(source):
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    source.forget(capture)
    source.app("truncate orders")
    assert source.noted(capture) == [("T", None)]


# Partitions and children.

PARTITIONED = """
create table m (id int, region text, v int, primary key (id, region)) partition by list (region);
create table m_eu partition of m for values in ('eu') partition by range (id);
create table m_eu_low (region text, id int, v int, primary key (id, region));
alter table m_eu attach partition m_eu_low for values from (minvalue) to (100);
create table m_eu_high partition of m_eu for values from (100) to (maxvalue);
create table m_us partition of m for values in ('us');
"""


@pytest.mark.parametrize("way", ["m", "m_eu", "m_eu_low"])
def test_a_partitioned_table_is_captured_whichever_way_it_is_written(source, way):
    source.app(PARTITIONED)
    capture = source.capture("m")
    assert source.shape("m").partitioned
    source.app(f"insert into {way} (id, region, v) values (1, 'eu', 0), (2, 'eu', 0)")
    source.app(f"update {way} set v = 1 where id = 1")
    source.app(f"delete from {way} where id = 2")
    assert source.noted(capture) == [("D", 2, "eu"), ("I", 1, "eu"), ("I", 2, "eu"), ("U", 1, "eu")]


def test_a_row_that_moves_between_partitions_is_two_keys(source):
    source.app(PARTITIONED)
    capture = source.capture("m")
    source.app("insert into m values (1, 'eu', 0), (2, 'eu', 0)")
    source.forget(capture)
    source.app("update m set region = 'us' where id = 1")
    source.app("update m_eu set id = 200 where id = 2")
    assert {row[1:] for row in source.noted(capture)} == {(1, "eu"), (1, "us"), (2, "eu"), (200, "eu")}


def test_truncate_of_a_leaf_is_an_event(source):
    source.app(PARTITIONED)
    capture = source.capture("m")
    source.app("truncate m_us")
    assert ("T", None, None) in source.noted(capture)


def test_a_new_partition_is_noticed_and_mended(source):
    source.app(PARTITIONED)
    capture = source.capture("m")
    source.app("create table m_as partition of m for values in ('as')")
    assert len(source.problems(capture)) == 4
    assert all("is missing on public.m_as" in problem for problem in source.problems(capture))
    source.capture("m")
    assert source.problems(capture) == ()
    source.app("insert into m_as values (1, 'as', 0)")
    assert source.noted(capture) == [("I", 1, "as")]


def test_inherited_tables_are_captured(source):
    source.app(
        "create table base (id int primary key, v int); create table extra (w int, primary key (id)) inherits (base)"
    )
    capture = source.capture("base")
    source.app("insert into base values (1, 0); insert into extra values (2, 0, 0)")
    source.app("update base set v = 1")
    source.app("update base set id = 3 where id = 2")
    assert {(op, key) for op, key in source.noted(capture)} == {
        ("I", 1), ("I", 2), ("U", 1), ("U", 2), ("U", 3),
    }  # fmt: skip


# The application's session.


def test_a_writer_needs_no_right_on_anything_of_ours(source):
    capture = orders(source)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        source.app(f"select * from {source.dialect.ours(capture.event_table)}")
    source.app("insert into orders values (1, 'a'); update orders set id = 2; delete from orders; truncate orders")
    assert len(source.noted(capture)) == 5


def test_lastval_is_left_alone(source):
    source.app("create table numbered (id serial primary key)")
    source.capture("numbered")
    source.app("insert into numbered default values")
    source.app("insert into numbered default values")
    assert source.app("select lastval(), currval('numbered_id_seq')") == [(2, 2)]


def test_a_hostile_search_path_changes_nothing(source):
    capture = orders(source)
    source.app("create schema evil")
    source.app(
        "create function evil.nothing(anyelement, anyelement) returns boolean language sql as 'select false'; "
        "create function evil.nothing(int8, float8) returns boolean language sql as 'select false'; "
        "create operator evil.> (leftarg = int8, rightarg = float8, function = evil.nothing); "
        "create operator evil.= (leftarg = anyelement, rightarg = anyelement, function = evil.nothing); "
        "create function evil.setval(regclass, int8) returns int8 language sql as 'select 1/0'; "
        "create function evil.pg_current_xact_id() returns int8 language sql as 'select 1/0'; "
        "create function evil.statement_timestamp() returns timestamptz language sql as 'select null::timestamptz'; "
        "create type evil.text as enum ('x'); create type evil.int8 as enum ('x');"
    )
    fresh = source.database.app()
    with fresh.cursor() as cursor:
        cursor.execute("set search_path = evil, pg_catalog, public")
        cursor.execute("insert into public.orders values (1, 'a')")
        cursor.execute("delete from public.orders")
    assert source.noted(capture) == [("D", 1), ("I", 1)]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_writers_of_every_isolation_are_noted(source, isolation):
    capture = orders(source)
    source.app(
        f"begin isolation level {isolation}; insert into orders values (1, 'a'); update orders set id = 2; commit"
    )
    assert source.noted(capture) == [("I", 1), ("U", 1), ("U", 2)]


def test_serializable_writers_of_different_rows_do_not_fail_because_of_capture(source):
    orders(source)
    source.app("insert into orders select g, 'x' from generate_series(1, 10) g")
    first, second = source.database.app(), source.database.app()
    for n, connection in enumerate((first, second), start=1):
        connection.cursor().execute("begin isolation level serializable")
        connection.cursor().execute(f"insert into orders values ({100 + n}, 'x')")
    source.lease(7200)
    for connection in (first, second):
        connection.cursor().execute("commit")


# What may happen to the table.


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_renamed_column_lets_the_write_pass_and_is_said(source, isolation):
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    other = source.database.app().cursor()
    other.execute("insert into orders values (2, 'a')")
    other.execute(f"begin isolation level {isolation}")
    other.execute("select 1")
    source.app("alter table orders rename id to number")
    source.app("insert into orders values (3, 'a')")
    assert source.broken(capture).startswith("seen ")
    other.execute("insert into orders values (4, 'a')")
    other.execute("update orders set number = 5 where number = 4")
    other.execute("delete from orders where number = 5")
    other.execute("commit")
    assert source.noted(capture) == [("I", 1), ("I", 2)]
    # Named as it was, it goes on as it did.
    source.app("alter table orders rename number to id")
    other.execute("insert into orders values (6, 'a')")
    assert source.noted(capture) == [("I", 1), ("I", 2), ("I", 6)]


def test_a_broken_capture_makes_no_writer_wait_for_another(source):
    capture = orders(source)
    source.app("alter table orders rename id to number")
    first, second = source.database.app().cursor(), source.database.app().cursor()
    second.execute("set lock_timeout = '2s'")
    first.execute("begin; insert into orders values (1, 'a')")
    second.execute("begin isolation level repeatable read; insert into orders values (2, 'a')")
    first.execute("commit")
    second.execute("insert into orders values (3, 'a'); commit")
    assert source.broken(capture)


def test_a_widened_column_goes_on_and_another_type_lets_the_write_pass(source):
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    source.app("alter table orders alter id type bigint")
    source.app("insert into orders values (5000000000, 'a')")
    assert source.noted(capture) == [("I", 1), ("I", 5000000000)]
    assert source.problems(capture) == ()
    assert not source.broken(capture)
    source.app("alter table orders alter id type text")
    source.app("insert into orders values ('x', 'a'); update orders set id = 'y' where id = 'x'")
    assert len(source.noted(capture)) == 2
    assert source.broken(capture)


def test_a_captured_column_may_be_dropped(source):
    capture = orders(source)
    source.app("alter table orders drop id")
    source.app("insert into orders values ('a')")
    assert source.noted(capture) == []
    assert source.broken(capture)
    assert source.problems(capture) == ("the captured column 'id' is gone",)


def test_an_event_table_that_is_gone_lets_the_write_pass(source):
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    source.admin.direct(f"drop table {source.dialect.ours(capture.event_table)}")
    source.app("insert into orders values (2, 'a')")
    assert source.broken(capture)
    assert "the event table is gone" in source.problems(capture)
    source.capture("orders")
    assert source.problems(capture) == ()
    source.app("insert into orders values (3, 'a')")
    assert source.noted(capture) == [("I", 3)]


def test_a_renamed_table_is_still_captured_under_its_identity(source):
    capture = orders(source)
    source.app("alter table orders rename to bills")
    source.app("insert into bills values (1, 'a')")
    assert source.noted(capture) == [("I", 1)]


def test_everything_of_ours_dropped_at_once_lets_writes_pass(source):
    orders(source)
    source.admin.direct("drop schema pantograph cascade")
    source.app("insert into orders values (1, 'a')")


# The lease.


def test_past_its_lease_a_trigger_notes_nothing(source):
    capture = orders(source)
    source.lease(-10)
    source.app("insert into orders values (1, 'a')")
    assert source.noted(capture) == []
    source.lease(60)
    source.app("insert into orders values (2, 'a')")
    assert source.noted(capture) == [("I", 2)]


def test_a_capture_that_is_installed_before_its_lease_is_written_obeys_it_later(source):
    source.admin.direct(f"delete from {source.dialect.ours('lease')}")
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    assert source.noted(capture) == []
    source.lease(60)
    source.app("insert into orders values (2, 'a')")
    assert source.noted(capture) == [("I", 2)]


# Installing, seeing and removing.


def test_installing_again_changes_nothing_and_locks_nobody_out(source):
    capture = orders(source)
    writer = source.database.app().cursor()
    writer.execute("begin; insert into orders values (1, 'a')")
    source.capture("orders")  # would wait for the writer if it made a trigger
    writer.execute("commit")
    assert source.problems(capture) == ()


def test_captured_columns_grow_in_place(source):
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    grown = source.capture("orders", columns=("id", "note"), version=2)
    assert source.problems(grown) == ()
    source.app("update orders set note = 'b'")
    assert source.noted(grown) == [("I", 1, None), ("U", 1, "a"), ("U", 1, "b")]
    versions = source.admin.rows(f"select distinct version from {source.dialect.ours(capture.event_table)}")
    assert sorted(versions) == [(1,), (2,)]


def test_a_disabled_dropped_or_foreign_trigger_is_a_problem(source):
    capture = orders(source)
    name = f"pantograph_{capture.id}"
    source.app(f"alter table orders disable trigger {name}_i")
    assert source.problems(capture) == (f"trigger {name}_i is disabled on public.orders",)
    source.app(f"drop trigger {name}_i on orders")
    assert source.problems(capture) == (f"trigger {name}_i is missing on public.orders",)
    source.app("create function f() returns trigger language plpgsql as 'begin return null; end'")
    source.app(f"create trigger {name}_i after insert on orders execute function f()")
    assert source.problems(capture) == (f"trigger {name}_i on public.orders is not what it should be",)
    source.capture("orders")
    assert source.problems(capture) == ()


def test_removing_takes_everything(source):
    capture = orders(source)
    source.app("insert into orders values (1, 'a')")
    for _ in range(2):  # also when it is gone already
        for statement in source.dialect.uninstall(capture):
            source.admin.direct(statement.sql)
    names = ", ".join(source.dialect.ours(n) for n in ("control", "lease", "captures", "registrations"))
    source.admin.direct(f"drop table {names}")
    for _ in range(2):
        for sql in source.dialect.leave_home():
            source.admin.direct(sql)
    assert source.app("select count(*) from pg_namespace where nspname = 'pantograph'") == [(0,)]
    assert source.app("select count(*) from pg_trigger where not tgisinternal") == [(0,)]
    source.app("insert into orders values (2, 'a')")


def test_a_home_in_use_stays(source):
    orders(source)
    for sql in source.dialect.leave_home():
        source.admin.direct(sql)
    source.app("insert into orders values (1, 'a')")
    assert source.app("select count(*) from pg_namespace where nspname = 'pantograph'") == [(1,)]


def test_removing_works_when_the_table_is_gone(source):
    capture = orders(source)
    source.app("drop table orders")
    for statement in source.dialect.uninstall(capture):
        source.admin.direct(statement.sql)
    assert not source.dialect.capture_state(source.admin, capture, None).installed


def test_a_capture_that_never_was_is_not_installed(source):
    source.app("create table orders (id int primary key)")
    capture = Capture("x" * 10, "public", "orders", ("id",), ("id",), "events_none")
    assert not source.dialect.capture_state(source.admin, capture, source.shape("orders")).installed
