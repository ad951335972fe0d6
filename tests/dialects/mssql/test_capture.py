"""What the trigger notes, when it notes nothing, and that the application never feels it."""

from __future__ import annotations

import pytest

from pantograph.dialects import base, marks
from pantograph.dialects.mssql import capture
from pantograph.pipeline import checkpoints


def test_every_kind_of_write_is_noted(world, items):
    world.run(
        "insert into items values (1, 'a', 1), (2, 'b', 1)",
        "update items set qty = 2 where id = 1",
        "delete from items where id = 2",
        "insert into items select id + 10, name, qty from items",
    )
    assert sorted(world.noted(items)) == [(1,), (1,), (2,), (2,), (11,)]


def test_a_changed_key_is_two_keys(world, items):
    world.run("insert into items values (1, 'a', 1)", "update items set id = 5")
    assert world.noted(items)[0] == (1,)
    assert sorted(world.noted(items)[1:]) == [(1,), (5,)]


@pytest.mark.parametrize(("before", "after"), [("a", "a "), ("a", "A")])
def test_a_key_changed_only_in_case_or_in_blanks_is_two_keys(world, before, after):
    world.run("create table words (word nvarchar(10) not null primary key)")
    words = world.capture("words")
    world.run(f"insert into words values (N'{before}')", f"update words set word = N'{after}'")
    assert sorted(world.noted(words)[1:]) == sorted([(after,), (before,)])


def test_what_a_cascade_takes_is_noted(world, items):
    world.run("create table lines (id int not null primary key, item int references items (id) on delete cascade)")
    lines = world.capture("lines")
    world.run("insert into items values (1, 'a', 1)", "insert into lines values (7, 1)", "delete from items")
    assert world.noted(lines)[1:] == [(7,)]


def test_nothing_of_a_rollback_stays(world, items):
    world.run("begin transaction", "insert into items values (1, 'a', 1)", "rollback transaction")
    assert world.noted(items) == []


def test_the_session_of_the_application_is_left_as_it_was(world):
    world.run("create table numbered (id int identity(1000, 1) primary key, name nvarchar(20))")
    world.capture("numbered")
    world.run("set rowcount 1", "insert into numbered (name) values ('a')")
    assert [int(v) for v in world.run("select @@identity, scope_identity()")[0]] == [1000, 1000]
    cursor = world.app.cursor()
    cursor.execute("update numbered set name = 'b'")
    assert cursor.rowcount == 1
    world.run("set rowcount 0")


def test_past_the_lease_nothing_is_noted(world, items):
    world.lease(-5)
    world.run("insert into items values (1, 'a', 1)")
    world.lease(60)
    world.run("insert into items values (2, 'a', 1)")
    assert world.noted(items) == [(2,)]


def test_a_missing_a_disabled_and_a_foreign_trigger_are_problems(world, items):
    trigger = world.dialect._rendering(items).trigger
    assert world.state(items) == base.CaptureState(True)
    world.run(f"disable trigger {trigger} on dbo.items")
    assert world.state(items).problems == ("the trigger is disabled",)
    world.run(
        f"drop trigger {trigger}", f"create trigger {trigger} on dbo.items after insert as begin set nocount on end"
    )
    assert world.state(items).problems == ("the trigger is not the one that was planned",)
    world.run(f"drop trigger {trigger}")
    assert world.state(items).problems == ("the trigger is missing",)
    world.capture("items")
    assert world.state(items).healthy


def test_a_trigger_of_another_version_is_outdated_and_no_problem(world, items, monkeypatch):
    whole = capture.Rendering.definition

    def older(self, shape):
        plain = marks._MARK.sub("", whole(self, shape)).replace("set rowcount 0;", "set rowcount 0; /* older */")
        return marks.marked(plain, self.facts, "as begin ")

    with monkeypatch.context() as patched:
        patched.setattr(capture.Rendering, "definition", older)
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
    assert world.noted(grown) == [(1, None), (2, "b")]
    assert world.state(grown).healthy


@pytest.mark.parametrize(
    "name", ["100% of it", 'say "hello"', "order", "back`tick", "semi;colon: :x", "b[r]", "A" * 60]
)
def test_any_name(world, name):
    quoted = world.dialect.quote(name)
    world.run(f'create table {quoted} ({quoted} int not null primary key, "select" int)')
    one = world.capture(name)
    world.run(f"insert into {quoted} values (1, 1)")
    assert world.noted(one) == [(1,)]
    assert world.state(one).healthy


def test_removing_leaves_nothing(world, items):
    for table in checkpoints.TABLES:
        world.admin.direct(world.dialect.meta_table(table))
    for statement in world.dialect.uninstall(items):
        world.admin.direct(statement.sql)
    for table in (*base.SOURCE_TABLES, *checkpoints.TABLES):
        world.admin.direct(f"drop table {world.dialect.ours(table.name)}")
    for sql in world.dialect.leave_home():
        world.admin.direct(sql)
    left = "select name from sys.objects where schema_id = schema_id(N'pantograph') or name like 'pantograph%' "
    assert world.run(left + "union all select name from sys.schemas where name = 'pantograph'") == []
