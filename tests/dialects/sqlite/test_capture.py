"""Every kind of write leaves the key of every row that it changed, and the application notices nothing."""

import contextlib
import sqlite3

import pytest

ODD_NAMES = ["plain", "or der%s", 'quo"te', "select", "apo'strophe", "n" * 63, "Ünïcode", "semi;colon", "at :b0"]


@pytest.fixture
def items(world):
    world.app.execute("create table items (id integer primary key, code text unique, qty int)")
    return world.capture("items")


def test_insert_update_and_delete_are_noted_with_the_key(world, items):
    world.app.execute("insert into items values (1, 'a', 5), (2, 'b', 6)")
    world.app.execute("update items set qty = 7 where id = 2")
    world.app.execute("delete from items where id = 1")
    assert world.noted(items) == [("I", 1), ("I", 2), ("U", 2), ("D", 1)]


def test_a_changed_key_is_two_keys(world, items):
    world.app.execute("insert into items values (1, 'a', 5)")
    world.app.execute("update items set id = 9")
    assert world.noted(items)[1:] in ([("D", 1), ("U", 9)], [("U", 9), ("D", 1)])


def test_a_key_changed_by_the_name_rowid_is_noted(world, items):
    world.app.execute("insert into items values (1, 'a', 5)")
    world.app.execute("update items set rowid = 9")
    assert world.keys(items) == {(1,), (9,)}


def test_delete_of_all_rows_is_noted_row_by_row(world, items):
    world.app.execute("insert into items values (1, 'a', 5), (2, 'b', 6)")
    world.app.execute("delete from items")
    assert {key for op, key in world.noted(items) if op == "D"} == {1, 2}


def test_what_is_rolled_back_is_not_noted(world, items):
    world.app.execute("begin")
    world.app.execute("insert into items values (1, 'a', 5)")
    world.app.execute("savepoint s")
    world.app.execute("insert into items values (2, 'b', 5)")
    world.app.execute("rollback to s")
    world.app.execute("insert into items values (3, 'c', 5)")
    world.app.execute("commit")
    world.app.execute("begin")
    world.app.execute("insert into items values (4, 'd', 5)")
    world.app.execute("rollback")
    assert world.noted(items) == [("I", 1), ("I", 3)]


def test_an_upsert_is_noted(world, items):
    for qty in (1, 2):
        world.app.execute(f"insert into items values (1, 'a', {qty}) on conflict (id) do update set qty = excluded.qty")
    world.app.execute("insert into items values (7, 'a', 3) on conflict (code) do update set qty = excluded.qty")
    assert world.app.execute("select * from items").fetchall() == [(1, "a", 3)]
    assert (1,) in world.keys(items)
    assert [op for op, _ in world.noted(items)].count("U") == 2


@pytest.mark.parametrize("recursive", ["off", "on"])
def test_replace_notes_the_row_that_it_throws_out_by_another_unique_index(world, items, recursive):
    world.app.execute(f"pragma recursive_triggers = {recursive}")
    world.app.execute("insert into items values (1, 'a', 5), (2, 'b', 6), (3, 'c', 6)")
    before = len(world.noted(items))
    world.app.execute("replace into items values (4, 'a', 9)")
    assert {(1,), (4,)} == {each[1:] for each in world.noted(items)[before:]}
    world.app.execute("insert or replace into items values (2, 'c', 9)")
    assert {(2,), (3,)} <= {each[1:] for each in world.noted(items)[before:]}
    assert world.app.execute("select id from items order by id").fetchall() == [(2,), (4,)]


@pytest.mark.parametrize("recursive", ["off", "on"])
def test_update_or_replace_notes_the_row_that_it_throws_out(world, items, recursive):
    world.app.execute(f"pragma recursive_triggers = {recursive}")
    world.app.execute("insert into items values (1, 'a', 5), (2, 'b', 6), (3, 'c', 6)")
    before = len(world.noted(items))
    world.app.execute("update or replace items set code = 'b' where id = 1")
    world.app.execute("update or replace items set rowid = 3 where id = 1")
    assert world.app.execute("select * from items").fetchall() == [(3, "b", 5)]
    assert {(1,), (2,), (3,)} == {each[1:] for each in world.noted(items)[before:]}


def test_replace_through_a_partial_or_a_folding_index_is_noted(world):
    world.app.execute("create table t (id integer primary key, a text, b text)")
    world.app.execute("create unique index ta on t (a) where b = 'x'")
    world.app.execute("create unique index tb on t (b collate nocase) where a is null")
    capture = world.capture("t")
    world.app.execute("insert into t values (1, 'a', 'x'), (2, null, 'y')")
    before = len(world.noted(capture))
    world.app.execute("replace into t values (3, 'a', 'x')")
    world.app.execute("replace into t values (4, null, 'Y')")
    assert world.app.execute("select id from t").fetchall() == [(3,), (4,)]
    assert {(1,), (2,), (3,), (4,)} == {each[1:] for each in world.noted(capture)[before:]}


def test_a_generated_column_that_is_a_key_or_unique_is_followed(world):
    world.app.execute("create table t (a int, k as (a * 10) stored unique, u as (a % 5) stored unique, n int)")
    capture = world.capture("t", key=("k",))
    world.app.execute("insert into t (a) values (1), (2)")
    world.app.execute("update t set a = 3 where a = 1")
    world.app.execute("update or replace t set a = 7 where a = 3")
    assert world.app.execute("select k from t").fetchall() == [(70,)]
    assert {key for op, key in world.noted(capture) if op == "D"} == {10, 20, 30}


def test_replace_of_a_row_whose_other_captured_column_changes_notes_the_old_value(world):
    world.app.execute("create table t (id integer primary key, email text)")
    capture = world.capture("t", columns=("id", "email"))
    world.app.execute("insert into t values (1, 'a')")
    world.app.execute("replace into t values (1, 'b')")
    assert {(1, "a"), (1, "b")} == world.keys(capture)


def test_replace_of_a_key_in_another_case_notes_both(world):
    world.app.execute("create table t (name text collate nocase primary key, n int)")
    capture = world.capture("t")
    world.app.execute("insert into t values ('a', 1)")
    world.app.execute("replace into t values ('A', 2)")
    assert world.keys(capture) == {("a",), ("A",)}


def test_a_key_changed_only_in_case_is_two_keys(world):
    world.app.execute("create table t (name text collate nocase primary key, n int)")
    capture = world.capture("t")
    world.app.execute("insert into t values ('a', 1)")
    world.app.execute("update t set name = 'A'")
    assert world.keys(capture) == {("a",), ("A",)}


def test_tables_without_rowid_and_composite_keys_are_captured(world):
    world.app.execute("create table t (a int, b text, c text unique, primary key (b, a)) without rowid")
    capture = world.capture("t")
    assert capture.key == ("b", "a")
    world.app.execute("insert into t values (1, 'x', 'c1'), (2, 'x', 'c2')")
    world.app.execute("update t set a = 3 where a = 2")
    world.app.execute("replace into t values (4, 'y', 'c1')")
    world.app.execute("delete from t where a = 3")
    assert {key[1:] for key in world.noted(capture) if key[0] == "D"} == {("x", 1), ("x", 2), ("x", 3)}
    assert world.keys(capture) == {("x", 1), ("x", 2), ("x", 3), ("y", 4)}


def test_a_cascade_fires_the_triggers_of_the_children(world):
    world.app.execute("create table p (id integer primary key)")
    world.app.execute(
        "create table c (id integer primary key, p int references p (id) on delete cascade on update cascade)"
    )
    capture = world.capture("c")
    world.app.execute("insert into p values (1), (2)")
    world.app.execute("insert into c values (10, 1), (20, 2)")
    world.app.execute("update p set id = 5 where id = 2")
    world.app.execute("delete from p where id = 1")
    assert world.noted(capture)[2:] == [("U", 20), ("D", 10)]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_of_tables_and_columns_are_only_characters(world, name):
    quote = world.dialect.quote
    world.app.execute(
        f"create table {quote(name)} ({quote(name)} integer primary key, {quote('u ' + name)} text unique)"
    )
    capture = world.capture(name)
    world.app.execute(f"insert into {quote(name)} values (1, 'a')")
    world.app.execute(f"replace into {quote(name)} values (2, 'a')")
    assert world.keys(capture) == {(1,), (2,)}
    state = world.dialect.capture_state(world.admin, capture, world.shape(name))
    assert state.healthy, state.problems
    assert world.dialect.tables(world.admin, "") == [name]


# -- the application ---------------------------------------------------------------------------------------------------


def test_the_row_id_the_row_count_and_returning_are_the_applications_own(world, items):
    cursor = world.app.execute("insert into items (code) values ('a'), ('b')")
    assert (cursor.lastrowid, cursor.rowcount) == (2, 2)
    assert world.app.execute("select last_insert_rowid(), changes()").fetchone() == (2, 2)
    assert world.app.execute("replace into items values (7, 'a', 1) returning id, code").fetchall() == [(7, "a")]
    assert world.app.execute("select last_insert_rowid(), changes()").fetchone() == (7, 1)
    world.app.execute("update items set id = id + 100")
    assert world.app.execute("select last_insert_rowid(), changes()").fetchone() == (7, 2)


def test_a_lease_that_has_run_out_ends_capture(world, items):
    world.lease(-1)
    world.app.execute("insert into items values (1, 'a', 5)")
    world.app.execute("replace into items values (2, 'a', 5)")
    world.app.execute("update items set id = 3")
    world.app.execute("delete from items")
    assert world.noted(items) == []
    world.lease(60)
    world.app.execute("insert into items values (1, 'a', 5)")
    assert world.noted(items) == [("I", 1)]


def test_a_renamed_column_or_table_goes_on_writing_and_is_noticed(world, items):
    shape = world.shape("items")
    before = world.dialect.fingerprints(world.side, [("", "items")])
    world.app.execute("alter table items rename column id to number")
    world.app.execute("insert into items values (1, 'a', 5)")
    assert world.noted(items) == [("I", 1)]
    assert not world.dialect.capture_state(world.admin, items, shape).healthy
    assert world.dialect.fingerprints(world.side, [("", "items")]) != before
    world.app.execute("alter table items rename to things")
    world.app.execute("insert into things values (2, 'b', 5)")
    assert world.dialect.fingerprints(world.side, [("", "items")]) == {}
    assert world.dialect.capture_state(world.admin, items, None).problems == ("the table items is gone",)


def test_sqlite_refuses_to_drop_a_captured_column(world, items):
    world.capture("items", columns=("id", "qty"))
    with pytest.raises(sqlite3.OperationalError, match="error in trigger"):
        world.app.execute("alter table items drop column qty")
    world.app.execute("insert into items values (1, 'a', 5)")


def test_a_table_made_anew_has_lost_its_triggers_and_is_noticed(world, items):
    before = world.dialect.fingerprints(world.side, [("", "items")])
    world.app.executescript(
        "begin; create table new (id integer primary key, code text unique, qty int);"
        "insert into new select * from items; drop table items; alter table new rename to items; commit"
    )
    state = world.dialect.capture_state(world.admin, items, world.shape("items"))
    assert "the trigger pantograph_" in state.problems[0]
    assert world.dialect.fingerprints(world.side, [("", "items")]) != before


def test_vacuum_is_no_other_table(world, items):
    world.app.execute("create table first (x)")
    world.app.execute("insert into items values (1, 'a', 5)")
    before = world.dialect.fingerprints(world.side, [("", "ITEMS"), ("", "nowhere")])
    world.app.execute("drop table first")
    world.app.execute("vacuum")
    assert set(before) == {("", "ITEMS")}
    assert world.dialect.fingerprints(world.side, [("", "ITEMS"), ("", "nowhere")]) == before


# -- installing --------------------------------------------------------------------------------------------------------


def test_installing_again_changes_nothing_and_removing_leaves_nothing(world, items):
    world.app.execute("insert into items values (1, 'a', 5)")
    world.capture("items")
    assert world.noted(items) == [("I", 1)]
    state = world.dialect.capture_state(world.admin, items, world.shape("items"))
    assert state.healthy, state.problems
    for _ in range(2):
        for statement in world.dialect.uninstall(items):
            world.admin.direct(statement.sql)
    names = [row[0] for row in world.app.execute("select name from sqlite_master where name like '%events%'")]
    assert names == []
    assert not world.dialect.capture_state(world.admin, items, world.shape("items")).installed


def test_no_write_slips_through_while_a_capture_is_installed_again(world, items):
    world.app.execute("pragma busy_timeout = 0")
    written = 0
    for statement in [*world.dialect.install(items, world.shape("items")), None]:
        with contextlib.suppress(sqlite3.OperationalError):  # locked, while the script is at work
            world.app.execute("insert into items (qty) values (1)")
            written += 1
        if statement:
            world.admin.direct(statement.sql)
    assert written >= 2
    assert len(world.noted(items)) == written


def test_captured_columns_can_grow_without_losing_events(world, items):
    world.app.execute("insert into items values (1, 'a', 5)")
    grown = world.capture("items", columns=("id", "code", "qty"), version=2)
    world.app.execute("update items set qty = 6")
    assert sorted(world.noted(grown)[1:]) == [("D", 1, "a", 5), ("U", 1, "a", 6)]
    assert world.dialect.capture_state(world.admin, grown, world.shape("items")).healthy
    assert not world.dialect.capture_state(world.admin, items, world.shape("items")).healthy


def test_a_new_unique_index_wants_another_trigger(world):
    world.app.execute("create table t (id integer primary key, a text)")
    capture = world.capture("t")
    world.app.execute("create unique index ta on t (a)")
    state = world.dialect.capture_state(world.admin, capture, world.shape("t"))
    assert len(state.problems) == 2
    world.capture("t")
    assert world.dialect.capture_state(world.admin, capture, world.shape("t")).healthy
    world.app.execute("drop index ta")
    state = world.dialect.capture_state(world.admin, capture, world.shape("t"))
    assert all("is not needed any more" in problem for problem in state.problems)
    assert len(state.problems) == 2


def test_a_trigger_that_somebody_changed_or_dropped_is_noticed(world, items):
    (name, sql) = world.app.execute(
        "select name, sql from sqlite_master where type = 'trigger' and name like '%delete'"
    ).fetchone()
    world.app.execute(f'drop trigger "{name}"')
    assert (
        f"the trigger {name} is missing"
        in world.dialect.capture_state(world.admin, items, world.shape("items")).problems
    )
    world.app.execute(sql.replace("'D'", "'I'"))
    assert (
        f"the trigger {name} is not the one that was planned"
        in world.dialect.capture_state(world.admin, items, world.shape("items")).problems
    )


def test_blind_spots_name_what_no_trigger_sees(world):
    world.app.execute("create table t (name text primary key, a text)")
    world.app.execute("create unique index low on t (lower(a))")
    spots = " | ".join(world.dialect.blind_spots(world.shape("t")))
    assert "index low" in spots
    assert "NULL" in spots
    world.app.execute("create table strict (name text primary key not null)")
    assert len(world.dialect.blind_spots(world.shape("strict"))) == 2
