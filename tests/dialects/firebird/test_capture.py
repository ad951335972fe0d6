"""What the trigger notes, when it notes nothing, and that the application never feels it."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from pantograph.dialects import base, marks
from pantograph.dialects.firebird import capture
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.pipeline import checkpoints


def test_every_kind_of_write_is_noted(world, items):
    world.run(
        "insert into items values (1, 'a', 1)",
        "update items set qty = 2 where id = 1",
        "update or insert into items values (2, 'b', 1) matching (id)",
        "merge into items i using (select 2 as id from rdb$database) s on i.id = s.id when matched then delete",
        "delete from items where id = 1",
    )
    assert world.noted(items) == [("U", 1), ("U", 1), ("U", 2), ("D", 2), ("D", 1)]


def test_a_changed_key_is_two_keys(world, items):
    world.run("insert into items values (1, 'a', 1)", "update items set id = 5")
    assert world.noted(items)[1:] == [("U", 5), ("U", 1)]


@pytest.mark.parametrize(("before", "after"), [("a", "a "), ("a", "A")])
def test_a_key_changed_only_in_case_or_in_blanks_is_two_keys(world, before, after):
    world.run(
        "create table words (word varchar(10) character set utf8 not null collate unicode_ci, primary key (word))"
    )
    words = world.capture("words")
    world.run(f"insert into words values ('{before}')", f"update words set word = '{after}'")
    assert world.noted(words)[1:] == [("U", after), ("U", before)]


def test_what_a_cascade_takes_is_noted(world, items):
    world.run("create table lines (id integer not null primary key, item integer references items on delete cascade)")
    lines = world.capture("lines")
    world.run("insert into items values (1, 'a', 1)", "insert into lines values (7, 1)", "delete from items")
    assert world.noted(lines)[1:] == [("D", 7)]


def test_nothing_of_a_rollback_stays(world, items):
    world.run("begin", "insert into items values (1, 'a', 1)", "rollback")
    assert world.noted(items) == []


def test_the_writer_needs_no_grant_on_our_tables(world, items):
    events = world.dialect.ours(items.event_table)
    with pytest.raises(Exception, match="no permission"):
        world.run(f"select * from {events}")
    world.run("insert into items values (1, 'a', 1)")
    assert world.noted(items) == [("U", 1)]


def test_past_the_lease_nothing_is_noted_and_a_long_transaction_sees_it_renewed(world, items):
    snapshot = world.database.app()
    world.dialect.lease_renewed(world.admin, -5)
    cursor = snapshot.cursor()
    cursor.execute("begin")
    cursor.execute("insert into items values (1, 'a', 1)")
    world.dialect.lease_renewed(world.admin, 60)
    cursor.execute("insert into items values (2, 'a', 1)")
    cursor.execute("commit")
    assert world.noted(items) == [("U", 2)]


def test_a_trigger_that_cannot_do_its_work_lets_the_write_pass_and_is_noticed(world, items):
    wide = world.capture("items", columns=("id", "name"), version=2)
    world.run("alter table items alter column name type varchar(2000)")
    for n in (1, 2):
        world.run(f"insert into items values ({n}, rpad('', 1000, 'x'), 1)")
    assert world.run("select id from items") == [(1,), (2,)]
    assert world.noted(wide) == []
    assert any("could not note a change" in problem for problem in world.state(wide).problems)
    world.capture("items", columns=("id", "name"), version=3)
    assert world.state(wide).problems[-1:] != ()


def test_a_captured_column_cannot_be_renamed_or_dropped_under_the_trigger_and_others_can(world, items):
    for ddl in ("alter table items alter column id to number", "alter table items drop id"):
        with pytest.raises(Exception, match=r"PANTOGRAPH_T|dependencies"):
            world.run(ddl)
    world.run("alter table items alter column name to label", "alter table items drop qty")
    world.run("insert into items values (1, 'a')")
    assert world.noted(items) == [("U", 1)]


def test_a_missing_an_inactive_and_a_foreign_trigger_are_problems(world, items):
    trigger = world.dialect._rendering(items).trigger
    assert world.state(items).healthy
    world.run(f"alter trigger {trigger} inactive")
    assert world.state(items).problems == ("the trigger is inactive",)
    world.run(f"create or alter trigger {trigger} for items active after insert or update or delete as begin end")
    assert world.state(items).problems == ("the trigger is not the one that was planned",)
    world.run(f"drop trigger {trigger}")
    assert world.state(items).problems == ("the trigger is missing",)
    world.capture("items")
    assert world.state(items).healthy


def test_a_trigger_of_another_version_is_outdated_and_no_problem(world, items, monkeypatch):
    whole = capture.Rendering.body
    other = "/* by another version */ if (gen_id("

    def older(self, shape, **kind):
        return marks.marked(
            marks._MARK.sub("", whole(self, shape, **kind)).replace("if (gen_id(", other), self.facts, "as begin "
        )

    with monkeypatch.context() as patched:
        patched.setattr(capture.Rendering, "body", older)
        world.capture("items")
    state = world.state(items)
    assert (state.problems, len(state.outdated)) == ((), 1)
    for statement in world.dialect.upgrade(items, world.shape("items")):
        world.admin.direct(statement.sql)
    assert world.state(items) == base.CaptureState(True)


def test_captured_columns_grow(world, items):
    world.run("insert into items values (1, 'a', 1)")
    grown = world.capture("items", columns=("id", "name"), version=2)
    world.run("insert into items values (2, 'b', 1)")
    assert world.noted(grown) == [("U", 1, None), ("U", 2, "b")]
    assert world.state(grown).healthy


def test_a_transaction_that_began_before_the_trigger_is_in_the_way_until_it_ends(world):
    """A statement that was prepared before the trigger goes on without it, until its connection prepares another."""
    world.run("create table items (id integer not null primary key)")
    raw = world.app.raw
    world.run("begin")
    cursor = raw.cursor()
    old = cursor.prep("insert into items values (?)")
    cursor.execute(old, (1,))
    items = world.capture("items")
    cursor.execute(old, (2,))
    assert world.noted(items) == [], "the server has changed: a new trigger is seen at once"
    assert "transaction" in world.dialect.in_the_way(world.admin, "", "items")
    raw.commit()
    assert world.dialect.in_the_way(world.admin, "", "items") == ""
    raw.cursor().execute("insert into items values (3)")
    cursor.execute(old, (4,))
    raw.commit()
    assert world.noted(items) == [("U", 3), ("U", 4)]


@pytest.mark.parametrize("name", ["100% of it", 'say "hello"', "order", "back`tick", "semi;colon: :x", "A" * 31])
def test_any_name(world, name):
    quoted = world.dialect.quote(name)
    world.run(f'create table {quoted} ({quoted} integer not null primary key, "select" integer)')
    capture = world.capture(name)
    world.run(f"insert into {quoted} values (1, 1)")
    assert world.noted(capture) == [("U", 1)]
    assert world.state(capture).healthy


def test_who_writes_between_two_steps_of_an_installation_or_a_removal_succeeds(world):
    world.run("create table fresh (id integer not null primary key, v integer)")
    shape, identity = world.shape("fresh"), names.capture_id("", "fresh")
    event_table = world.dialect.event_table(identity, "", "fresh")
    fresh = Capture(identity, "", "fresh", ("id",), ("id",), event_table, 1)
    written = itertools.count()
    for statement in [*world.dialect.install(fresh, shape), *world.dialect.uninstall(fresh)]:
        world.admin.direct(statement.sql)
        # Another session has yet to read the rights; one that knows them would go on with what it knows.
        with contextlib.closing(world.database.app()) as another:
            another.cursor().execute(f"insert into fresh values ({next(written)}, 1)")
    assert world.run("select count(*) from fresh") == [(next(written),)]


def test_removing_leaves_nothing(world, items):
    for table in checkpoints.TABLES:
        world.admin.direct(world.dialect.meta_table(table))
    mine = world.mirror(items, "items")
    world.writer.begin()
    world.dialect.stage(world.writer, mine, [[(1, 1, "a", 1)]])
    world.writer.rollback()
    for statement in world.dialect.uninstall(items):
        world.admin.direct(statement.sql)
    for name in ("registrations", "captures", "lease", "control", "keys", "checkpoints"):
        world.admin.direct(f"drop table {world.dialect.ours(name)}")
    for sql in world.dialect.leave_home():
        world.admin.direct(sql)
    left = world.database.execute(
        "select trim(rdb$relation_name) from rdb$relations where rdb$relation_name starting with 'PANTOGRAPH' "
        "union all "
        "select trim(rdb$trigger_name) from rdb$triggers where rdb$trigger_name starting with 'PANTOGRAPH' union all "
        "select trim(rdb$generator_name) from rdb$generators where rdb$generator_name starting with 'PANTOGRAPH'",
        role="superuser",
    )
    assert left == []


def test_a_key_of_as_many_columns_as_an_index_has_is_captured(world):
    """Its trigger's text is within what a literal may hold, twice."""
    columns = [f"a column whose name is long {n:03}" for n in range(16)]
    listed = ", ".join(f'"{name}" varchar(30) character set utf8 not null' for name in columns)
    key = ", ".join(f'"{name}"' for name in columns)
    world.run(f"create table wide ({listed}, primary key ({key}))")
    capture = world.capture("wide")
    world.run(f"insert into wide values ({', '.join(['1'] * 16)})")
    assert world.state(capture).healthy
    assert len(world.noted(capture)) == 1
