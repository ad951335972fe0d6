"""Who is at the other end, what its tables are, and what its errors mean."""

from __future__ import annotations

import json
import subprocess

import fdb
import pytest

from pantograph import dialects, errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.dialects.firebird import connections
from pantograph.model.tables import Reference
from pantograph.model.types import Kind
from pantograph.pipeline import fence


def test_the_shape_of_a_table(world):
    world.run(
        "create table parents (id integer not null primary key)",
        'create table orders (nr bigint not null, "Mixed Case" varchar(20) character set utf8 not null, '
        "total numeric(12,2), doubled computed by (total * 2), note blob sub_type text, raw blob, flag boolean, "
        "parent integer references parents on delete cascade, code char(3) character set octets, "
        'constraint uq unique ("Mixed Case"), primary key ("Mixed Case", nr))',
    )
    shape = world.shape("orders")
    assert shape.key == ("Mixed Case", "nr")
    assert ("UQ", ("Mixed Case",)) in shape.uniques
    assert [(c.name, c.type.kind) for c in shape.columns] == [
        ("nr", Kind.INTEGER), ("Mixed Case", Kind.TEXT), ("total", Kind.DECIMAL), ("doubled", Kind.DECIMAL),
        ("note", Kind.TEXT), ("raw", Kind.BYTES), ("flag", Kind.BOOLEAN), ("parent", Kind.INTEGER),
        ("code", Kind.BYTES),
    ]  # fmt: skip
    assert [c.name for c in shape.columns if c.generated] == ["doubled"]
    assert [c.name for c in shape.columns if not c.nullable] == ["nr", "Mixed Case"]
    (reference,) = shape.references
    assert (reference.table, reference.parent, reference.on_delete) == (("", "orders"), ("", "parents"), "CASCADE")
    assert isinstance(world.shape("parents").referenced_by[0], Reference)
    assert world.shape("ORDERS") is None, 'that would be the table "orders" of quoted lower-case letters'
    assert sorted(world.dialect.tables(world.admin, "")) == ["orders", "parents"]


def test_fingerprints_change_with_the_table(world):
    world.run("create table items (id integer not null primary key, name varchar(20))")

    def mark():
        return world.dialect.fingerprints(world.side, [("", "items")])[("", "items")]

    marks = [mark()]
    for ddl in (
        "alter table items add qty integer",
        "alter table items alter column name type varchar(30)",
        "alter table items alter column qty to amount",
        "alter table items drop amount",
    ):
        world.run(ddl)
        marks.append(mark())
    world.run("drop table items")
    world.run("create table items (id integer not null primary key, name varchar(30))")
    assert len({*marks, mark()}) == len(marks) + 1
    assert world.dialect.fingerprints(world.side, [("", "absent")]) == {}


def test_a_database_that_came_out_of_a_backup_is_not_genuine(world):
    """gbak gives every row and every transaction another number."""
    fence.found(world.admin, world.dialect, "us", 3600, adopt=False)
    world.side.begin()
    world.side.rollback()
    fence.advance(world.side, world.dialect, "us", 3600, {})
    assert world.dialect.control(world.side).genuine
    here = world.dialect.server(world.side)
    database, server = world.database, world.database.server
    backup, copy = database.path.with_suffix(".fbk"), database.path.with_name("copy.fdb")
    at = ["-user", server.superuser, "-password", server.password, "-se", f"{server.host}/{server.port}:service_mgr"]
    subprocess.run(["gbak", "-b", *at, str(database.path), str(backup)], check=True, timeout=60)
    subprocess.run(["gbak", "-c", *at, str(backup), str(copy)], check=True, timeout=60)
    restored = dialects.load(Address("firebird", **{**database.url("both"), "database": str(copy)}))
    session = Session(restored, Role.SIDE)
    with session.step("test"):
        control = restored.control(session)
        there = restored.server(session)
    session.close()
    assert not control.genuine
    assert (there.life, there.place) != (here.life, here.place)
    assert json.loads(json.dumps(control.nonces)) == list(world.dialect.control(world.side).nonces)


@pytest.mark.parametrize(
    ("statement", "error", "kind"),
    [
        ("insert into items values (1, 'Zaphod', 1)", errors.Rejected, "unique"),
        ("insert into items values (2, null, 1)", errors.Rejected, "not null"),
        ("insert into items values (2, 'Zaphod4711Zaphod4711', 1)", errors.Rejected, "length"),
        ("insert into items values (2, 'Zaphod', 200)", errors.Rejected, "check"),
        ("insert into items values (2, 'Zaphod', cast('Zaphod' as integer))", errors.Rejected, "type"),
        ("insert into items values (2, 'Zaphod', 99999999999)", errors.Rejected, "type"),
        ("insert into lines values (1, 4711)", errors.Rejected, "foreign key"),
        ("insert into absent values ('Zaphod')", errors.DatabaseError, ""),
        ("selct 'Zaphod'", errors.DatabaseError, ""),
    ],
)
def test_an_error_is_ours_and_quotes_no_value(world, statement, error, kind):
    world.run(
        "create table items (id integer not null primary key, name varchar(10) not null, "
        "qty integer check (qty < 100))",
        "create table lines (id integer not null primary key, item integer references items)",
        "insert into items values (1, 'a', 1)",
    )
    app = Session(dialects.load(Address("firebird", **world.database.url("app"))), Role.WRITER)
    with app.step("writing"), pytest.raises(error) as raised:
        app.direct(statement)
    app.close()
    assert getattr(raised.value, "kind", "") == kind
    assert "Zaphod" not in str(raised.value)
    assert "4711" not in str(raised.value)


def test_wrong_passwords_missing_rights_and_nobody_at_home_are_told_apart(world):
    at = world.database.url("source")
    with pytest.raises(errors.Refused):
        Session(dialects.load(Address("firebird", **{**at, "password": "wrong"})), Role.SIDE)
    with pytest.raises(errors.Unreachable):
        Session(dialects.load(Address("firebird", **{**at, "port": 1})), Role.SIDE)
    world.run("create table items (id integer not null primary key)")
    world.database.execute("revoke all on all from " + at["username"], role="superuser")
    session = Session(dialects.load(Address("firebird", **at)), Role.SIDE)
    with session.step("reading"), pytest.raises(errors.Refused):
        session.rows("select * from items")
    session.close()


def test_a_statement_is_dropped_by_whom_it_failed_and_not_when_its_error_is_forgotten(world, items):
    """Which is in any thread; while the connection is closed the client library does not survive that."""
    world.run("insert into items values (1, 'a', 1)")
    (ours,) = world.writer.row("select current_connection from rdb$database")
    kept = []
    for sql in (
        "insert into items values (1, 'b', 1)",
        "select nothing from items",
        "select 1 / (qty - qty) from items",
        "execute block as begin exception nowhere; end",
    ):
        with pytest.raises(errors.DatabaseError) as raised:
            world.writer.rows(sql)
        kept.append(raised.value)
    left = f"select mon$sql_text from mon$statements where mon$attachment_id = {ours}"
    assert world.database.execute(left, role="superuser") == []
    assert len(kept) == 4


def test_rows_that_nobody_fetched_are_let_go_before_the_connection_is_closed(world, items):
    world.run("insert into items values (1, 'a', 1)", "insert into items values (2, 'b', 1)")
    session = Session(world.dialect, Role.READER)
    with session.step("test"):
        session.begin()
        rows = session.batches("select id from items", 1, 1 << 20)
        assert len(next(rows)) == 1
        assert len(session.raw.statements) == 1
        session.close()
    assert not session.raw.statements


def test_an_update_that_meets_another_is_contention(world):
    world.run("create table items (id integer not null primary key, qty integer)", "insert into items values (1, 1)")
    other = world.database.app()
    world.run("begin", "update items set qty = 2", on=other)
    world.side.begin()
    with pytest.raises(errors.Contended):
        world.side.run("update items set qty = 3")
    world.side.rollback()


@pytest.fixture
def meddled(world, monkeypatch):
    """Between the first look at a row and the look at its BLOB, the application changes the row."""
    world.run("create table notes (id integer not null primary key, said blob sub_type text)")
    world.run("insert into notes values (1, 'as it was')")
    opened, api = [], fdb.fbcore.api
    original = api.isc_open_blob2

    def open_later(*arguments):
        if not opened:
            opened.append(True)
            world.run(*(f"update notes set said = 'change {n}'" for n in range(3)), "select id from notes")
        return original(*arguments)

    monkeypatch.setattr(api, "isc_open_blob2", open_later)


@pytest.mark.usefixtures("meddled")
def test_a_row_whose_blob_is_replaced_while_it_is_read_is_read_again(world):
    assert world.side.rows("select id, said from notes") == [(1, "change 2")]


def test_where_it_cannot_be_read_again_by_itself_it_is_contention():
    said = "Cursor.read_output_blob/isc_open_blob2:\n- SQLCODE: -901\n- BLOB not found"
    error = fdb.DatabaseError(said, -901, 335544382)
    assert isinstance(connections.translate(error), errors.Contended)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (335545214, "- SQLCODE: -833\n- Invalid time zone region: BC"),
        (335544569, "- SQLCODE: -303\n- Dynamic SQL Error\n- SQL error code = -303\n- unknown ISC error 335545214"),
    ],
)
def test_what_firebird_4_takes_for_a_time_zone_that_is_none_is_a_value_that_is_refused(number, said):
    error = connections.translate(fdb.DatabaseError(f"Cursor.fetchone:\n{said}", -303, number))
    assert isinstance(error, errors.Rejected)
    assert "BC" not in str(error)


def test_numbers_come_from_identities_and_from_sequences_that_a_trigger_draws_from(world):
    world.run(
        "create table notes (id bigint generated by default as identity primary key, said varchar(20))",
        "create table items (id integer not null primary key, name varchar(20), qty integer)",
        "create sequence item_numbers",
        "create trigger number_items for items before insert as begin "
        "if (new.id is null) then new.id = next value for item_numbers; if (new.qty is null) then new.qty = 0; end",
        "create table plain (id integer not null primary key)",
        *(f"insert into {table} ({column}) values ('x')" for table, column in (("notes", "said"), ("items", "name"))),
    )
    assert world.dialect.numberings(world.side, "", "plain") == []
    with pytest.raises(errors.Refused, match="permission denied for sequence item_numbers"):
        world.dialect.numberings(world.side, "", "items")
    world.database.grant_sequences("both")
    ours = world.session(Role.SIDE)  # rights are looked up once a connection
    for table in ("notes", "items"):
        (found,) = world.dialect.numberings(ours, "", table)
        assert (found.column, found.next, found.step, found.settable) == ("id", 2, 1, True)
        for statement in world.dialect.number_from("", table, found, 50):
            ours.direct(statement.sql)
        (found,) = world.dialect.numberings(ours, "", table)
        assert found.next == 50
    world.run("insert into items (name) values ('y')", "insert into notes (said) values ('y')")
    assert [row[0] for row in world.run("select id from items union all select id from notes order by 1")] == [
        1, 1, 50, 50,
    ]  # fmt: skip
