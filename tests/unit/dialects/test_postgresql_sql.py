"""What PostgreSQL is sent, without a server."""

import random
import re

import pytest

from pantograph import dialects, errors
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role, Staged
from pantograph.dialects.postgresql import bulk, connections, types, windows
from pantograph.dialects.postgresql import capture as postgresql_capture
from pantograph.dialects.postgresql.windows import Snapshot
from pantograph.model.changes import Capture, Position, Window
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import ACCENTS, CASE, Kind, LogicalType

INTEGER = LogicalType(Kind.INTEGER, bits=32)
TEXT = LogicalType(Kind.TEXT)


@pytest.fixture
def dialect():
    return dialects.load(Address("postgresql", host="nowhere", database="shop", capture_schema='my "pg'))


@pytest.fixture
def capture():
    return Capture("abc", "public", "order", ("id",), ("id",), "events_order_x", 3)


@pytest.fixture
def shape():
    columns = (Column("id", INTEGER, "integer", nullable=False), Column('o"k', TEXT, "text"))
    return TableShape("public", "order", columns, ("id",), identity="4711")


@pytest.fixture
def mirror(capture):
    columns = (
        Mapped("id", '"id"', INTEGER, "integer", INTEGER, "integer"),
        Mapped("n", '"o""k"', TEXT, "text", TEXT, "text"),
    )
    return Mirror("a/b", "m1", "s", capture, ("public", "order"), ("sales", "order"), columns)


def test_names_are_always_quoted_and_percent_signs_stay(dialect):
    assert dialect.table("public", 'a%b"c') == '"public"."a%b""c"'
    assert dialect.ours("control") == '"my ""pg"."control"'


def test_our_tables_are_made_once(dialect):
    sql = dialect.meta_table(base.SOURCE_TABLES[1])
    assert sql == 'create table if not exists "my ""pg"."lease" ("id" bigint, "until" bigint, primary key ("id"))'


def test_only_what_touches_a_table_that_others_write_says_that_it_locks_it(dialect, capture, shape):
    locks = [statement.locks for statement in dialect.install(capture, shape)]
    assert set(locks) == {"", "public.order"}
    assert locks[-1] == "public.order"
    assert [s.locks for s in dialect.uninstall(capture)] == ["public.order", 'my "pg.events_order_x']


def test_a_trigger_names_the_schema_of_all_it_uses(dialect, capture, shape):
    for body in [*dialect._rendering(capture).bodies(shape).values(), postgresql_capture._FITS]:
        code = re.sub(r"'[^']*'", "''", body)
        code = re.sub(r"operator\(pg_catalog\.[-<>=]+\)", " ", code)
        # Left are assignments of plpgsql and of UPDATE, which are no operators.
        assert not re.search(r"[<>=]", code.replace(":=", "").replace("set broken =", ""))
        called = set(re.findall(r"(\S*?\w)\(", code))
        keywords = {"array", "exists", "in", "insert", "names", "name", "e", "n", "source"}
        assert {name for name in called - keywords if not name.lstrip("(").startswith("pg_catalog.")} == set()


def test_an_events_version_is_its_captures(dialect, capture, shape):
    for body in dialect._rendering(capture).bodies(shape).values():
        assert "pg_catalog.statement_timestamp(), 3, '" in body


def test_a_captured_column_is_of_its_familys_widest_type():
    assert types.event_type("smallint") == "bigint"
    assert types.event_type("character varying(20)") == "text"
    assert types.event_type("character(3)") == "bpchar"
    assert types.event_type("numeric(10,2)") == "numeric"
    assert types.event_type("timestamp(3) with time zone") == "timestamp with time zone"
    assert types.event_type("numeric(10,2)[]") == "numeric[]"
    assert types.event_type("real") == "double precision"
    assert types.event_type('public."my type"') == 'public."my type"'


# Positions.


def test_a_snapshot_knows_who_had_ended():
    snapshot = Snapshot.parse("10:20:12,15")
    assert [xid for xid in range(8, 24) if not snapshot.ended(xid)] == [12, 15, 20, 21, 22, 23]
    assert snapshot.running_below(18) == [12, 15]
    assert snapshot.running_below(22) == [12, 15, 20, 21]
    assert Snapshot.parse("10:10:").running == frozenset()


def test_windows_of_any_two_snapshots_are_what_one_sees_and_the_other_did_not():
    rng = random.Random(1)
    for _ in range(300):
        running_then = {xid for xid in range(10, 30) if rng.random() < 0.3}
        high_then, high_now = sorted(rng.sample(range(12, 40), 2))
        running_now = {xid for xid in running_then if rng.random() < 0.4 and xid < high_then}
        running_now |= {xid for xid in range(high_then, high_now) if rng.random() < 0.3}
        running_then = {xid for xid in running_then if xid < high_then}
        texts = []
        for running, high in ((running_then, high_then), (running_now, high_now)):
            texts.append(f"{min(running, default=high)}:{high}:{','.join(map(str, sorted(running)))}")
        then, now = map(Snapshot.parse, texts)
        late, low, high, _ = windows._bounds(Window(*map(Position, texts)))
        named = {int(xid) for xid in late.strip("{}").split(",") if xid}
        found = {xid for xid in range(45) if (xid in named or int(low) <= xid < int(high)) and now.ended(xid)}
        assert found == {xid for xid in range(45) if now.ended(xid) and not then.ended(xid)}


def test_a_place_and_back():
    assert windows._ctid(windows._place("(4294967294,65535)")) == "'(4294967294,65535)'"
    assert (1 << 15) * windows._FILE + windows._place("(4294967294,65535)") > 0
    assert 32767 * windows._FILE + windows._place("(4294967294,65535)") < 1 << 63


def test_retention_is_covered_only_by_who_has_seen_everything_up_to_its_mark(dialect, capture):
    reader = dialect.reader([capture])
    assert reader.covers(Position("20:30:"), "19", capture)
    assert not reader.covers(Position("19:30:19"), "19", capture)
    assert reader.covers(Position("19:30:19"), "18", capture)


def test_a_window_without_late_transactions_is_one_range(dialect, capture):
    sql, params = dialect.reader([capture]).keys(capture, Window(Position("5:5:"), Position("9:9:")))
    assert params == {}
    assert "any" not in sql
    sql, _ = dialect.reader([capture]).keys(capture, Window(Position("3:5:3"), Position("9:9:")))
    assert "xid = any ('{3}') or (xid >= '5' and xid < '9')" in sql


# Writing.


def test_values_are_quoted_and_only_the_first_row_says_its_types(mirror, dialect):
    target = bulk.Target(mirror, dialect.quote)
    sql = bulk.literal_rows(target, [(1, 1, "it's"), (0, 2, None)])
    assert sql == (
        "(values (cast('1' as integer), cast('1' as integer), cast('it''s' as text)), ('0', '2', null)) "
        'as s (present, "id", "n")'
    )


def test_an_upsert_leaves_equal_rows_alone_and_goes_in_the_keys_order(mirror, dialect):
    class Recorder:
        def direct(self, sql):
            self.sql = sql
            return 0

    recorder = Recorder()
    bulk.upsert(recorder, bulk.Target(mirror, dialect.quote), Staged('pg_temp."stage" as s', 9))
    assert recorder.sql == (
        'insert into "sales"."order" as d ("id", "n") overriding system value '
        'select "id", "n" from pg_temp."stage" as s where present = 1 order by "id" '
        'on conflict ("id") do update set "n" = excluded."n" '
        'where (d."n") is distinct from (excluded."n")'
    )


def test_text_for_copy_is_escaped():
    render = bulk._renderer(Mapped("x", "", TEXT, "", TEXT, ""))
    assert list(render(["a\tb\nc\\d\re", None, "\\N", ""])) == ["a\\tb\\nc\\\\d\\re", "\\N", "\\\\N", ""]
    raw = bulk._renderer(Mapped("x", "", LogicalType(Kind.BYTES), "", LogicalType(Kind.BYTES), ""))
    assert list(raw([b"\x00\xff", None])) == ["\\\\x00ff", "\\N"]


def test_a_feed_gives_no_more_than_it_is_asked_for():
    feed = bulk._Feed(iter([b"abcdef", b"g"]))
    assert [feed.read(4) for _ in range(4)] == [b"abcd", b"ef", b"g", b""]


def test_only_the_same_types_travel_in_binary():
    def same(source, destination):
        return bulk._same(Mapped("x", "", TEXT, source, TEXT, destination))

    assert same("numeric(6,2)", "numeric(6,2)")
    assert not same("numeric(6,2)", "numeric(6,3)")
    assert not same("integer", "bigint")
    assert not same("public.mood", "public.mood")
    assert not same("timestamp without time zone", "timestamp with time zone")


# Types.


def test_native_types_and_their_modifiers():
    logical = types.logical
    assert logical("numeric(2,-3)") == LogicalType(Kind.DECIMAL, precision=5, scale=0)
    assert logical("numeric(3,5)") == LogicalType(Kind.DECIMAL, precision=5, scale=5)
    assert logical("timestamp(3) with time zone") == LogicalType(Kind.TIMESTAMP, fraction=3, zoned=True)
    assert logical("timestamp(0) without time zone") == LogicalType(Kind.TIMESTAMP, fraction=0)
    assert logical("character(3)") == LogicalType(Kind.TEXT, length=3, folding=True, apart=frozenset({CASE, ACCENTS}))
    assert logical("integer[]").kind is Kind.OTHER
    assert logical("public.mood") == LogicalType(Kind.OTHER, native="public.mood")
    assert logical("public.citext").folding


def test_floats_have_no_portable_text(dialect):
    with pytest.raises(NotImplementedError):
        dialect.canonical("x", LogicalType(Kind.FLOAT, bits=64), LogicalType(Kind.FLOAT, bits=64))


# Connections.


def test_options_are_libpqs_own(dialect):
    address = Address("postgresql", host="127.0.0.1", port=1, options={"sslrootcert": "/etc/x"})
    with pytest.raises(errors.SpecError, match=r"spec\.options\.sslrootcert"):
        connections.connect(address, Role.ADMIN, 1)


def test_a_certificate_given_as_text_is_a_file_only_while_connecting():
    import pathlib
    import stat

    with connections._as_file("-----BEGIN CERTIFICATE-----\nx") as path:
        assert pathlib.Path(path).read_text() == "-----BEGIN CERTIFICATE-----\nx"
        assert stat.S_IMODE(pathlib.Path(path).stat().st_mode) == 0o600
    assert not pathlib.Path(path).exists()
    with connections._as_file("/etc/ca.pem") as path:
        assert path == "/etc/ca.pem"
