"""What the dialect says about a server and its tables, and what its errors say."""

import contextlib
import hashlib
import itertools
import re
import time

import psycopg2
import pytest

from pantograph import errors
from pantograph.dialects.base import Role
from pantograph.dialects.postgresql import PostgreSQL
from pantograph.dialects.postgresql.inspection import _names
from pantograph.model.types import Kind, LogicalType

# Sessions.


@pytest.mark.parametrize("role", list(Role))
def test_a_session_is_as_we_set_it_whatever_the_defaults(source, role):
    database, user = source.dialect.address.database, source.dialect.address.username
    for name, value in {
        "timezone": "Asia/Tokyo",
        "datestyle": "German",
        "intervalstyle": "iso_8601",
        "bytea_output": "escape",
        "extra_float_digits": "-5",
        "row_security": "on",
        "default_transaction_isolation": "serializable",
    }.items():
        source.database.execute(f"""alter role "{user}" in database "{database}" set {name} = '{value}'""", "superuser")
    session = source.session(role)
    row = session.row(
        "select timestamptz '2024-01-01 00:00:00+00', interval '1 day', '\\x5c41'::bytea, 0.1::float8, "
        "current_setting('row_security'), current_setting('statement_timeout') <> '0', "
        "current_setting('lock_timeout') <> '0'"
    )
    assert row == ("2024-01-01 00:00:00", "1 day", b"\\A", 0.1, "off", True, True)
    session.begin()
    assert session.row("show transaction_isolation") == ("read committed",)
    session.commit()


def test_ddl_waits_a_tenth_of_a_second_for_a_lock(source):
    assert source.admin.row("show lock_timeout") == ("100ms",)


def test_only_the_writer_commits_without_waiting_for_the_disk(source):
    assert source.writer.row("show synchronous_commit") == ("off",)
    assert source.side.row("show synchronous_commit") == ("on",)
    source.writer.begin()
    source.dialect.write_durably(source.writer)
    assert source.writer.row("show synchronous_commit") == ("on",)
    source.writer.commit()
    assert source.writer.row("show synchronous_commit") == ("off",)


def test_an_option_that_libpq_does_not_know_is_refused_by_name(source):
    import dataclasses

    for options in ({"no_such": "1"}, {"options": "-c row_security=on"}):
        dialect = PostgreSQL(dataclasses.replace(source.dialect.address, options=options))
        with pytest.raises(errors.SpecError, match=next(iter(options))):
            dialect.connect(Role.ADMIN, 2)


def test_rows_are_fetched_in_batches_inside_and_outside_a_transaction(source):
    sql = "select g from generate_series(1, 1000) g"
    assert sum(len(batch) for batch in source.reader.batches(sql, 100, 1 << 20)) == 1000
    source.reader.run("begin")
    assert sum(len(batch) for batch in source.reader.batches(sql, 100, 1 << 20)) == 1000
    source.reader.run("rollback")


def test_a_batch_is_worked_on_while_the_next_one_is_fetched(source):
    sql = "select g, clock_timestamp() from generate_series(1, 3000) g"
    source.reader.run("begin")
    with contextlib.closing(source.reader.batches(sql, 1000, 1 << 20)) as batches:
        came = []
        for batch in batches:
            time.sleep(0.2)
            came.append((batch, source.side.row("select clock_timestamp()")[0]))
    source.reader.run("rollback")
    assert [row[0] for batch, _ in came for row in batch] == list(range(1, 3001))
    for (_, done), (batch, _) in itertools.pairwise(came):
        assert batch[-1][1] < done, "it was there before its turn came"


def test_who_stops_reading_or_meets_an_error_has_the_session_back(source):
    source.reader.run("begin")
    for batch in source.reader.batches("select g from generate_series(1, 100000) g", 100, 1 << 20):
        assert batch
        break
    assert source.reader.row("select 1") == (1,)
    with pytest.raises(errors.DatabaseError):
        for _ in source.reader.batches("select 1 / (900 - g) from generate_series(1, 1000) g", 100, 1 << 20):
            pass
    source.reader.run("rollback")
    assert source.reader.row("select 1") == (1,)


# Identity.


def test_a_database_has_one_place_and_its_neighbour_another(make_place):
    one, other = make_place("source"), make_place("source")
    assert one.dialect.server(one.side) == one.dialect.server(one.reader)
    mine, its = one.dialect.server(one.side), other.dialect.server(other.side)
    assert mine.place != its.place
    assert mine.life == its.life
    assert mine.version.startswith("PostgreSQL ")


def test_the_control_row_is_known_by_the_transaction_that_wrote_it(source):
    control, dialect = source.dialect.ours("control"), source.dialect
    source.admin.direct(
        f"insert into {control} (id, format, incarnation, owner, epoch, nonces, nonce_at, stamp) "
        f"values (1, 1, 'i', 'o', 3, '[\"n\"]', 0, {dialect.stamp})"
    )
    found = dialect.control(source.side)
    assert (found.incarnation, found.owner, found.epoch, found.nonces, found.genuine) == ("i", "o", 3, ("n",), True)
    assert 3500 < found.lease <= 3601
    for statement in ("vacuum freeze", "vacuum full"):
        source.admin.direct(f"{statement} {control}")
        assert dialect.control(source.side).genuine
    source.admin.direct(f"update {control} set nonces = '[]', stamp = {dialect.stamp}")
    assert dialect.control(source.side).genuine
    # As a restored dump would have it.
    source.admin.direct(f"create table {dialect.ours('kept')} as select * from {control}")
    source.admin.direct(f"truncate {control}")
    source.admin.direct(f"insert into {control} select * from {dialect.ours('kept')}")
    assert not dialect.control(source.side).genuine


@pytest.mark.parametrize("role", [Role.READER, Role.WRITER])
def test_a_server_that_will_do_is_accepted(shared, role):
    shared.dialect.check(shared.reader if role is Role.READER else shared.writer, role)


def test_a_read_only_endpoint_is_refused(source):
    database = source.dialect.address.database
    source.database.execute(f'alter database "{database}" set default_transaction_read_only = on', "superuser")
    with pytest.raises(errors.Refused) as caught:
        source.dialect.check(source.session(Role.WRITER), Role.WRITER)
    assert caught.value.reason == "ReadOnly"


def test_a_pooler_that_lends_one_backend_to_two_sessions_is_refused(source, monkeypatch):
    class Lent:
        def cursor(self):
            return source.reader.raw.cursor()

        def close(self):
            source.reader.raw.cursor().execute("rollback")

    monkeypatch.setattr(source.dialect, "connect", lambda role, timeout: Lent())
    with pytest.raises(errors.Refused) as caught:
        source.dialect.check(source.reader, Role.READER)
    assert caught.value.reason == "TransactionPooler"


# Tables.


def test_a_shape_says_all_that_a_plan_needs(source):
    source.app(
        "create table parent (id int primary key);"
        "create type mood as enum ('a'); create domain code as varchar(7) not null;"
        "create table t (x int, b text, a int, m mood, ms mood[], c code, n numeric(8,2), z timestamptz(3) not null, "
        "  g int generated always as (a * 2) stored, i int generated by default as identity, "
        '  col text collate "C", "it, is {""odd""}" int, primary key (b, a), '
        "  unique (x, n), p int references parent on delete cascade deferrable);"
        "alter table t drop column x;"
        "create unique index partial on t (a) where a > 5; create unique index on t (lower(b));"
        'create unique index incl on t (i) include (n); create unique index odd on t ("it, is {""odd""}");'
        "create table child (id int primary key, b text, a int, foreign key (b, a) references t on delete set null)"
    )
    shape = source.shape("t")
    assert shape.key == ("b", "a")
    assert [column.name for column in shape.columns] == [
        "b", "a", "m", "ms", "c", "n", "z", "g", "i", "col", 'it, is {"odd"}', "p",
    ]  # fmt: skip
    assert shape.column("m").native == '"public"."mood"'.replace('"', "")
    assert shape.column("ms").native == "public.mood[]"
    assert shape.column("m").type.kind is Kind.OTHER
    assert shape.column("c").type == LogicalType(Kind.TEXT, length=7)
    assert shape.column("n").native == "numeric(8,2)"
    assert shape.column("z").type == LogicalType(Kind.TIMESTAMP, fraction=3, zoned=True)
    assert not shape.column("z").nullable
    assert shape.column("g").generated
    assert shape.column("i").identity
    assert not shape.column("i").generated
    assert shape.column("col").collation == 'pg_catalog."C"'
    assert shape.uniques == (("incl", ("i",)), ("odd", ('it, is {"odd"}',)))
    (leaving,), (arriving,) = shape.references, shape.referenced_by
    assert (leaving.parent, leaving.columns, leaving.on_delete, leaving.deferrable) == (
        ("public", "parent"), ("p",), "CASCADE", True,
    )  # fmt: skip
    assert (arriving.table, arriving.columns, arriving.parent_columns, arriving.on_delete) == (
        ("public", "child"), ("b", "a"), ("b", "a"), "SET NULL",
    )  # fmt: skip
    assert not shape.partitioned
    assert source.shape("nothing") is None
    assert source.dialect.shape(source.admin, "", "t") == shape


def test_name_arrays_are_read():
    assert _names("{}") == ()
    assert _names('{a,"b,c","d\\"e","f\\\\g",NULL}') == ("a", "b,c", 'd"e', "f\\g", "NULL")


def test_tables_are_the_users_own(source):
    source.app(
        "create table b (id int primary key); create table a (id int); create view v as select 1; "
        "create table p (id int) partition by list (id); create table p1 partition of p for values in (1)"
    )
    source.capture("b")
    assert source.dialect.tables(source.admin, "") == ["a", "b", "p"]
    assert source.dialect.tables(source.admin, "pantograph") == []


@pytest.mark.parametrize(
    "change",
    [
        "alter table t rename note to other",
        "alter table t alter note type varchar(50)",
        "alter table t alter v type bigint",
        "alter table t add w int",
        "alter table t drop note",
        'alter table t alter note type text collate "C"',
        "alter table t alter v set not null",
        "drop table t; create table t (id int primary key, note text, v int)",
        "create table u (like t including all); alter table t rename to old; alter table u rename to t",
        "vacuum full t",
    ],
)
def test_a_fingerprint_changes_with_the_table(source, change):
    source.app("create table t (id int primary key, note text, v int); create table same (id int)")
    tables = [("public", "t"), ("public", "same"), ("public", "missing"), ("public", "it's % :x")]
    before = source.dialect.fingerprints(source.side, tables)
    assert set(before) == {("public", "t"), ("public", "same")}
    source.app("insert into t values (1, 'x', 1); analyze t")
    assert source.dialect.fingerprints(source.side, tables) == before
    source.app(change)
    after = source.dialect.fingerprints(source.side, tables)
    assert after["public", "t"] != before["public", "t"]
    assert after["public", "same"] == before["public", "same"]
    assert source.dialect.fingerprints(source.side, []) == {}


def test_rows_are_estimated(source):
    source.app("create table t (id int primary key); create table e (id int)")
    source.app("insert into t select generate_series(1, 10000)")
    assert source.dialect.estimated_rows(source.side, "", "t") > 1000
    source.app("analyze t")
    assert source.dialect.estimated_rows(source.side, "", "t") == 10000
    assert source.dialect.estimated_rows(source.side, "", "e") == 0
    assert source.dialect.estimated_rows(source.side, "", "missing") == 0


def test_who_is_in_the_way_is_named_and_a_reader_or_a_quick_writer_is_not(source):
    source.app("create table t (id int primary key)")
    assert source.dialect.in_the_way(source.admin, "", "t") == ""
    other = source.database.app().cursor()
    other.execute("begin; select * from t")
    assert source.dialect.in_the_way(source.admin, "", "t") == ""
    other.execute("insert into t values (1)")
    pid = other.connection.info.backend_pid
    assert re.fullmatch(rf"session {pid} of \S+, in a transaction.*", source.dialect.in_the_way(source.admin, "", "t"))
    other.execute("rollback")
    assert source.dialect.in_the_way(source.admin, "", "t") == ""


# Text for checksums.


UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


def scalar(place, sql):
    return place.admin.row(f"select {sql}")[0]


@pytest.mark.parametrize(
    ("value", "type_", "precision", "expected"),
    [
        ("true", LogicalType(Kind.BOOLEAN), None, "1"),
        ("false", LogicalType(Kind.BOOLEAN), None, "0"),
        ("-12::int2", LogicalType(Kind.INTEGER, bits=16), None, "-12"),
        ("12.500::numeric", LogicalType(Kind.DECIMAL), None, "12.5"),
        ("100::numeric", LogicalType(Kind.DECIMAL), None, "100"),
        ("0.000::numeric", LogicalType(Kind.DECIMAL), None, "0"),
        ("1.2345::numeric", LogicalType(Kind.DECIMAL), LogicalType(Kind.DECIMAL, precision=9, scale=2), "1.23"),
        ("1e20::numeric", LogicalType(Kind.DECIMAL), None, "100000000000000000000"),
        ("'Ü'::text", LogicalType(Kind.TEXT), None, "Ü"),
        ("'\\xAB01'::bytea", LogicalType(Kind.BYTES), None, hashlib.sha256(b"\xab\x01").hexdigest()),
        ("date '2024-02-29'", LogicalType(Kind.DATE), None, "2024-02-29"),
        ("time '01:02:03.4'", LogicalType(Kind.TIME), None, "01:02:03.400000"),
        ("timestamp '2024-01-01 01:02:03'", LogicalType(Kind.TIMESTAMP), None, "2024-01-01 01:02:03.000000"),
        (
            "timestamptz '2024-01-01 01:02:03.45678+02'",
            LogicalType(Kind.TIMESTAMP, zoned=True),
            LogicalType(Kind.TIMESTAMP, fraction=3),
            "2023-12-31 23:02:03.456000",
        ),
        ("timestamptz 'infinity'", LogicalType(Kind.TIMESTAMP, zoned=True), None, "infinity"),
        (
            "timestamptz '2024-01-01 01:02:03.5+02'",
            LogicalType(Kind.TIMESTAMP, zoned=True),
            LogicalType(Kind.TEXT),
            "2023-12-31 23:02:03.5",
        ),
        (f"uuid '{UUID.upper()}'", LogicalType(Kind.UUID), None, UUID),
    ],
)  # fmt: skip
def test_values_are_rendered_as_every_engine_renders_them(shared, value, type_, precision, expected):
    assert scalar(shared, shared.dialect.canonical(value, type_, precision or type_)) == expected
    nothing = f"nullif({value}, {value})"
    assert scalar(shared, shared.dialect.canonical(nothing, type_, precision or type_)) is None


def test_a_hash_is_of_the_texts_and_their_borders(shared):
    def expected(*texts):
        joined = "".join("-" if text is None else f"{len(text)}:{text}" for text in texts)
        return int(hashlib.sha256(joined.encode()).hexdigest()[:15], 16)

    for texts in (("a", None), ("", "a"), ("Größe", "1"), (None,)):
        sql = [f"'{text}'::text" if text is not None else "null::text" for text in texts]
        assert scalar(shared, shared.dialect.hashed(sql)) == expected(*texts)


# Types there and back.


@pytest.mark.parametrize(
    "native",
    [
        "boolean", "smallint", "integer", "bigint", "numeric", "numeric(10,2)", "real", "double precision", "text",
        "character varying(20)", "bytea", "date", "time without time zone", "time(3) without time zone",
        "timestamp without time zone", "timestamp(0) without time zone", "timestamp(3) with time zone",
        "timestamp with time zone", "uuid", "json", "jsonb", "interval", "inet", "integer[]", "numeric(20,0)",
    ],
)  # fmt: skip
def test_a_type_comes_back_as_it_was(shared, native):
    shared.app(f"drop table if exists typed; create table typed (v {native})")
    column = shared.shape("typed").column("v")
    assert column.native == native
    assert shared.dialect.native(column.type) == native


def test_types_of_other_engines_find_one_that_holds_them(shared):
    native = shared.dialect.native
    assert native(LogicalType(Kind.INTEGER, bits=8)) == "smallint"
    assert native(LogicalType(Kind.INTEGER, bits=16, unsigned=True)) == "integer"
    assert native(LogicalType(Kind.INTEGER, bits=32, unsigned=True)) == "bigint"
    assert native(LogicalType(Kind.INTEGER, bits=64, unsigned=True)) == "numeric(20)"
    assert native(LogicalType(Kind.TEXT, length=50)) == "character varying(50)"
    assert native(LogicalType(Kind.BYTES, length=16)) == "bytea"


# Errors.


SECRET = "tell nobody"


@pytest.mark.parametrize(
    ("sql", "kind", "constraint"),
    [
        (f"insert into t (id, v) values (1, '{SECRET}'), (1, '{SECRET}')", "unique", "t_pkey"),
        (f"insert into t (id, v) values (null, '{SECRET}')", "not null", ""),
        (f"insert into t (id, v, n) values (2, '{SECRET}', -1)", "check", "positive"),
        ("insert into t (id, p) values (2, 77)", "foreign key", "t_p_fkey"),
        (f"insert into t (id, short) values (2, '{SECRET}')", "length", ""),
        (f"insert into t (id) select '{SECRET}'::text::int", "type", ""),
        ("insert into t (id) values (5000000000)", "type", ""),
        (f"select '{SECRET}'::text::date", "type", ""),
        (f"select '{SECRET}'::text::json", "type", ""),
    ],
)
def test_a_refused_row_is_told_by_kind_and_constraint_and_never_by_value(shared, sql, kind, constraint):
    shared.app(
        "create table if not exists p (id int primary key); create table if not exists t (id int primary key, v text, "
        "n int constraint positive check (n > 0), p int references p, short varchar(3)); grant all on t, p to public"
    )
    with pytest.raises(errors.Rejected) as caught:
        shared.writer.direct(sql)
    assert caught.value.kind == kind
    assert caught.value.constraint == constraint
    assert SECRET not in str(caught.value)
    assert "77" not in str(caught.value)


def test_a_missing_grant_names_the_table(source):
    source.app("create table private (id int primary key)")
    source.app(f'revoke all on private from "{source.dialect.address.username}"')
    with pytest.raises(errors.Refused, match="private"):
        source.reader.rows("select * from private")


def test_a_lock_that_is_not_free_is_contended(source):
    source.app("create table t (id int primary key)")
    other = source.database.app().cursor()
    other.execute("begin; lock table t")
    with pytest.raises(errors.Contended):
        source.admin.rows("select * from t")


def test_a_statement_beyond_its_time_is_told(source):
    source.side.run("set statement_timeout = '50ms'")
    with pytest.raises(errors.DatabaseError) as caught:
        source.side.rows("select pg_sleep(5)")
    assert caught.value.reason == "TimedOut"


def test_a_broken_connection_is_unreachable(source):
    pid = source.side.row("select pg_backend_pid()")[0]
    source.database.execute(f"select pg_terminate_backend({pid})", "superuser")
    for _ in range(2):
        with pytest.raises(errors.Unreachable):
            source.side.rows("select 1")


def test_wrong_credentials_are_refused_and_a_dead_port_is_unreachable(source):
    import dataclasses

    from pantograph.database.sessions import Session

    address = source.dialect.address
    for change, expected in (
        ({"password": "wrong"}, errors.Refused),
        ({"database": "no such"}, errors.Refused),
        ({"port": 1}, errors.Unreachable),
        ({"tls_mode": "require"}, errors.Unreachable),
    ):
        with pytest.raises(expected) as caught:
            Session(PostgreSQL(dataclasses.replace(address, **change)), Role.ADMIN, 2)
        assert "wrong" not in str(caught.value)
        assert address.password not in str(caught.value)


def test_errors_of_others_are_not_ours(source):
    assert source.dialect.translate(ValueError("x")) is None
    assert isinstance(source.dialect.translate(psycopg2.Error()), errors.DatabaseError)


def test_blind_spots_are_sentences(source):
    source.app("create table t (id int primary key); create table p (id int) partition by list (id)")
    for table in ("t", "p"):
        assert all(spot.endswith(".") for spot in source.dialect.blind_spots(source.shape(table)))
    assert len(source.dialect.blind_spots(source.shape("p"))) > len(source.dialect.blind_spots(source.shape("t")))
