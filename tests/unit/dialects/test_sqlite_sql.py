"""What SQLite is sent, without a file."""

import pytest

from pantograph import dialects, errors
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.dialects.sqlite import capture, tables, values
from pantograph.model.changes import Capture
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import Kind, LogicalType, misfit

INTEGER = LogicalType(Kind.INTEGER, bits=64)
TEXT = LogicalType(Kind.TEXT)


@pytest.fixture
def dialect():
    return dialects.load(Address("sqlite", path="/nowhere/app.db"))


def _shape(*, uniques=()):
    columns = (Column("id", INTEGER, "INTEGER", nullable=False), Column('o"k', TEXT, "TEXT"))
    return TableShape("", "order", columns, ("id",), uniques)


def _capture(**changes):
    return Capture(
        **{
            "id": "abc",
            "schema": "",
            "table": "order",
            "key": ("id",),
            "columns": ("id",),
            "event_table": "ev",
            **changes,
        }
    )


def test_our_tables_stand_in_the_file_under_a_prefix():
    dialect = dialects.load(Address("sqlite", path="x", capture_schema='my "pg'))
    assert dialect.ours("control") == '"my ""pg_control"'
    assert (dialect.home(), dialect.leave_home()) == ([], [])


def test_event_ids_never_start_again_and_columns_take_anything(dialect):
    sql = dialect.install(_capture(), _shape())[1].sql
    assert sql.startswith(
        'create table if not exists "pantograph_ev" (id integer primary key autoincrement, op text not null, k0, k1,'
    )


def test_an_event_table_has_room_for_columns_to_come():
    assert [capture.room(_capture(columns=("c",) * n)) for n in (1, 8, 9)] == [8, 8, 16]


def test_capture_is_installed_in_one_transaction_which_waits_at_its_beginning(dialect):
    statements = dialect.install(_capture(), _shape())
    assert (statements[0].sql, statements[0].locks) == ("begin immediate", "order")
    assert statements[-1].sql == "commit"
    assert {s.locks for s in statements[1:]} == {""}


def test_a_trigger_obeys_the_lease_and_uses_nothing_that_old_libraries_lack(dialect):
    for statement in dialect.install(_capture(), _shape(uniques=(("u", ('o"k',)),))):
        if statement.sql.startswith("create trigger"):
            assert '(select until from "pantograph_lease" where id = 1) > ' in statement.sql
            assert "unixepoch" not in statement.sql


def test_only_a_table_with_further_unique_indexes_pays_for_evictions(dialect):
    def kinds(shape, **changes):
        return [kind for kind, _ in dialect._triggers(_capture(**changes), shape)]

    assert kinds(_shape()) == ["insert", "update", "rekey", "delete"]
    assert kinds(_shape(uniques=(("u", ('o"k',)),)))[4:] == ["evict_insert", "evict_update"]
    assert kinds(_shape(uniques=(("u", ("id", 'o"k')),))) == ["insert", "update", "rekey", "delete"]


def test_removing_names_every_trigger_there_can_be(dialect):
    removed = [s.sql for s in dialect.uninstall(_capture())]
    assert removed[-1] == 'drop table if exists "pantograph_ev"'
    assert len(removed) == len(capture.KINDS) + 1


def test_a_trigger_reads_the_same_however_sqlite_stores_it():
    stored = 'CREATE TRIGGER "x"\n after  insert on t begin select 1; end'
    assert capture.body(stored) == capture.body('create trigger "y" after insert on t begin select 1; end')


def test_writers_stage_before_they_lock_and_others_lock_at_once(dialect):
    assert dialect.begins(Role.WRITER) == ("begin",)
    assert dialect.begins(Role.SIDE) == dialect.begins(Role.ADMIN) == ("begin immediate",)


def test_meta_tables_are_made_once(dialect):
    sql = [dialect.meta_table(table) for table in base.SOURCE_TABLES]
    assert sql[1] == 'create table if not exists "pantograph_lease" ("id" integer, "until" integer, primary key ("id"))'
    assert all(each.startswith("create table if not exists") for each in sql)


def _mirror(*, folding):
    type_ = LogicalType(Kind.TEXT, folding=folding)
    columns = (
        Mapped("k", '"k"', type_, "TEXT", type_, "TEXT"),
        Mapped("v", "\"v\" || ':x'", TEXT, "TEXT", TEXT, "TEXT"),
    )
    return Mirror("a/b", "m", "s", _capture(key=("k",), columns=("k",)), ("", "t"), ("", "c"), columns, "v <> 'a:b'")


def test_keys_that_fold_are_found_by_their_index_and_then_byte_by_byte(dialect):
    assert "on r.j0 = e.k0 and r.j0 = e.k0 collate binary" in dialect.changes(_mirror(folding=True), "select 1 as k0")
    assert dialect.changes(_mirror(folding=False), "select 1 as k0").endswith("on r.j0 = e.k0")


def test_the_users_colons_are_no_parameters_of_ours(dialect):
    sql = dialect.changes(_mirror(folding=False), "select 1 as k0")
    assert r"v <> 'a\:b'" in sql
    assert r"'\:x'" in sql


DECLARED = {
    "": LogicalType(Kind.OTHER, native=""),
    "int": INTEGER,
    "UNSIGNED BIG INT": INTEGER,
    "tinyint(1)": INTEGER,
    "Decimal( 12 , 2 )": LogicalType(Kind.DECIMAL, precision=12, scale=2),
    "character varying(7)": LogicalType(Kind.TEXT, length=7),
    "VARCHAR(255)": LogicalType(Kind.TEXT, length=255),
    "timestamp with time zone": LogicalType(Kind.TIMESTAMP, zoned=True),
    "MYTEXTTYPE": TEXT,
    "LONGBLOB": LogicalType(Kind.BYTES),
    "GEOMETRY": LogicalType(Kind.OTHER, native="GEOMETRY"),
    "ANY": LogicalType(Kind.OTHER, native="ANY"),
}


@pytest.mark.parametrize("declared", DECLARED)
def test_a_declared_type_is_read_as_people_mean_it(declared):
    assert values.logical(declared) == DECLARED[declared]


def test_what_we_declare_leans_to_no_number_that_would_lose_a_digit():
    # https://sqlite.org/datatype3.html#determination_of_column_affinity
    def affinity(declared):
        name = declared.upper()
        if "INT" in name:
            return "INTEGER"
        if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
            return "TEXT"
        return "BLOB" if "BLOB" in name or not name else "NUMERIC"

    for type_ in (
        LogicalType(Kind.DECIMAL),
        LogicalType(Kind.DECIMAL, precision=16, scale=2),
        LogicalType(Kind.JSON),
        TEXT,
    ):
        assert affinity(values.native(type_)) == "TEXT"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_type_has_a_declaration_that_holds_it(kind, dialect):
    type_ = LogicalType(
        kind, bits=64 if kind in (Kind.INTEGER, Kind.FLOAT) else 0, native="ODD" if kind is Kind.OTHER else ""
    )
    assert misfit(type_, values.logical(dialect.native(type_))) is None


@pytest.mark.parametrize(
    ("sql", "collations"),
    [
        ("create table t (a text collate nocase, b text)", {"a": "NOCASE"}),
        (
            'create table t ("a b" text COLLATE "Rtrim" not null, [c,d] text default \'collate nocase\')',
            {"a b": "RTRIM"},
        ),
        ("create table t (a int check (a in (1, 2)) collate binary, b -- collate nocase\n)", {}),
        ("create table t (é text /* , x */ collate nocase)", {"é": "NOCASE"}),
    ],
)
def test_collations_are_read_from_the_statement(sql, collations):
    assert tables.declared_collations(sql) == collations


def test_a_table_of_ours_is_marked_each_time_anew(dialect):
    made = [dialect.create_table("", "t", _shape().columns, ("id",))[0].sql for _ in range(2)]
    marks = [tables.made(sql) for sql in made]
    assert all(marks)
    assert marks[0] != marks[1]
    assert tables.made("create table t (id integer)") == ""


def test_a_reading_that_is_no_date_is_refused():
    with pytest.raises(errors.Rejected):
        values.date("2026-1-1")
