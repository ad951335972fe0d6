"""A file: opened, checked, described, and told from another one; errors say what is wrong and show no row."""

import os
import shutil
import sqlite3

import pytest

from pantograph import dialects, errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role


def _session(path, role):
    return Session(dialects.load(Address("sqlite", path=str(path))), role, timeout=0.2)


@pytest.mark.parametrize("role", [Role.READER, Role.SIDE])
def test_a_source_that_is_not_there_is_not_made(tmp_path, role):
    with pytest.raises(errors.Unreachable, match="nowhere"):
        _session(tmp_path / "nowhere.db", role)
    assert not os.listdir(tmp_path)


def test_a_destination_that_is_not_there_is_made_in_wal_mode(tmp_path):
    session = _session(tmp_path / "new #1?.db", Role.WRITER)
    with session.step("test"):
        session.dialect.check(session, Role.WRITER)
        session.dialect.check(session, Role.SIDE)
        assert session.row("pragma journal_mode") == ("wal",)
    session.close()
    assert (tmp_path / "new #1?.db").exists()


def test_a_source_must_be_in_wal_mode(tmp_path):
    path = tmp_path / "old.db"
    raw = sqlite3.connect(path)
    raw.execute("create table t (id integer primary key)")
    raw.commit()
    raw.close()
    session = _session(path, Role.SIDE)
    with session.step("test"), pytest.raises(errors.Refused, match="PRAGMA journal_mode = WAL") as caught:
        session.dialect.check(session, Role.SIDE)
    assert caught.value.reason == "NotInWalMode"
    with session.step("test"):
        session.dialect.check(session, Role.WRITER)
    session.close()


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("x" * 5000)
    with pytest.raises(errors.Refused, match="no SQLite database"):
        _session(tmp_path / "text.db", Role.SIDE)


def test_a_reader_cannot_write(world):
    world.app.execute("create table t (id integer primary key)")
    with pytest.raises(errors.Refused):
        world.reader.run("insert into t values (1)")


def test_every_name_of_a_file_is_one_place_and_a_copy_is_another(world, tmp_path):
    place = world.dialect.server(world.side).place
    os.symlink(world.path, tmp_path / "link.db")
    linked = _session(tmp_path / "link.db", Role.SIDE)
    with linked.step("test"):
        assert linked.dialect.server(linked).place == place
    shutil.copy(world.path, tmp_path / "copy.db")
    copied = _session(tmp_path / "copy.db", Role.SIDE)
    with copied.step("test"):
        assert copied.dialect.server(copied).place != place
    linked.close()
    copied.close()


def test_who_is_in_the_way_is_somebody(world):
    world.app.execute("create table t (id integer primary key)")
    assert world.dialect.in_the_way(world.admin, "", "t") == ""
    world.app.execute("begin immediate")
    assert "another connection is writing" in world.dialect.in_the_way(world.admin, "", "t")
    world.app.execute("rollback")


def test_a_commit_where_nothing_is_open_is_right(world):
    world.side.commit()
    world.side.begin()
    world.side.commit()
    world.side.rollback()


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_a_shape_tells_keys_uniques_references_and_collations(world):
    world.app.executescript(
        """
        create table p (a int, b text, primary key (b, a)) without rowid;
        create table t (
          id integer primary key, -- collate nocase
          code varchar(5) not null unique collate nocase, /* , x text collate rtrim */
          b_text text default ('(,' || 'x collate nocase') collate [RTRIM], a int,
          both as (a + 1) stored,
          foreign key (b_text, a) references p on delete cascade on update set null,
          check (a <> 5), unique (a, code)
        )
        """
    )
    world.app.execute("create index plain on t (a)")
    world.app.execute("create unique index partial on t (b_text) where a > 5")
    shape = world.shape("T")
    assert (shape.schema, shape.name, shape.key, shape.label) == ("", "t", ("id",), "t")
    assert [c.name for c in shape.columns] == ["id", "code", "b_text", "a", "both"]
    assert {c.name: c.collation for c in shape.columns if c.collation} == {"code": "NOCASE", "b_text": "RTRIM"}
    assert shape.column("code").type.folding
    assert shape.column("code").type.length == 5
    assert (shape.column("id").identity, shape.column("both").generated) == (True, True)
    assert [c.name for c in shape.columns if not c.nullable] == ["id", "code"]
    assert {columns for _, columns in shape.uniques} == {("code",), ("a", "code")}
    (reference,) = shape.references
    assert (reference.columns, reference.parent, reference.parent_columns) == (("b_text", "a"), ("", "p"), ("b", "a"))
    assert (reference.on_delete, reference.on_update) == ("CASCADE", "SET NULL")
    parent = world.shape("p")
    assert parent.key == ("b", "a")
    assert parent.uniques == ()
    assert parent.referenced_by == (reference,)


def test_views_virtual_tables_and_ours_are_no_tables_of_the_user(world):
    world.app.executescript(
        "create table b (id integer primary key); create table a (id integer primary key autoincrement);"
        "create view v as select * from a; create virtual table words using fts5(text)"
    )
    world.capture("a")
    assert world.dialect.tables(world.side, "") == ["a", "b"]
    assert world.shape("v") is None
    assert world.shape("words") is None
    assert world.shape("nowhere") is None


def test_rows_are_estimated(world):
    world.app.execute("create table t (id integer primary key, x int)")
    world.app.execute("create index tx on t (x)")
    world.app.executemany("insert into t values (?, 1)", [(n,) for n in range(100)])
    assert world.dialect.estimated_rows(world.side, "", "t") == 100
    world.app.execute("analyze")
    world.app.execute("delete from t")
    assert world.dialect.estimated_rows(world.side, "", "t") == 100


# -- errors ------------------------------------------------------------------------------------------------------------


def test_no_error_shows_a_row(world):
    world.app.executescript(
        """
        create table p (id integer primary key);
        create table t (
          id integer primary key, u text unique, n text not null, c text check (c <> 'topsecret'),
          f int references p
        );
        create trigger grumble before insert on t when new.u = 'grumble'
          begin select raise(abort, 'no topsecret here'); end;
        create table s (n integer) strict;
        insert into t values (1, 'topsecret', 'x', 'y', null);
        """
        if sqlite3.sqlite_version_info >= (3, 37)
        else "select 1"
    )
    cases = [
        ("insert into t values (1, 'a', 'topsecret', 'y', null)", "unique", "t.id"),
        ("insert into t values (2, 'topsecret', 'x', 'y', null)", "unique", "t.u"),
        ("insert into t values (3, 'b', null, 'y', null)", "not null", "t.n"),
        ("insert into t values (3, 'b', 'x', 'topsecret', null)", "check", None),
        ("insert into t values (3, 'b', 'x', 'y', 77)", "foreign key", ""),
        ("insert into t values ('topsecret', 'b', 'x', 'y', null)", "type", ""),
        ("insert into s values ('topsecret')", "type", ""),
        ("insert into t values (4, 'grumble', 'x', 'y', null)", "other", ""),
    ]
    for sql, kind, constraint in cases:
        with pytest.raises(errors.Rejected) as caught:
            world.writer.run(sql)
        assert caught.value.kind == kind, sql
        assert caught.value.code.startswith("SQLITE_")
        assert constraint is None or caught.value.constraint == constraint
        if kind != "check":  # its text is the constraint's own
            assert "topsecret" not in str(caught.value)


def test_a_text_that_is_not_utf8_is_refused_and_not_shown(world):
    world.app.execute("create table t (v text)")
    world.app.execute("insert into t values (cast(x'ff746f70736563726574' as text))")
    with pytest.raises(errors.Rejected) as caught:
        world.reader.rows("select v from t")
    assert "topsecret" not in str(caught.value)


def test_what_is_missing_is_named(world):
    with pytest.raises(errors.DatabaseError, match="no such table: nowhere"):
        world.side.rows("select * from nowhere")


def test_a_lock_that_others_hold_is_contention(world):
    world.app.execute("create table t (id integer primary key)")
    world.app.execute("begin immediate")
    hasty = _session(world.path, Role.SIDE)
    with hasty.step("test"), pytest.raises(errors.Contended):
        hasty.begin()
    hasty.close()


def test_a_write_behind_a_read_that_has_gone_stale_is_contention(world):
    world.app.execute("create table t (id integer primary key)")
    world.writer.begin()
    world.writer.rows("select * from t")
    world.app.execute("insert into t values (1)")
    with pytest.raises(errors.Contended):
        world.writer.run("insert into t values (2)")
    world.writer.rollback()
