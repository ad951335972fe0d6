"""What MariaDB and MySQL are sent, and how its positions count, without a server."""

import dataclasses
import random

import pymysql
import pymysql.cursors
import pytest

from pantograph import dialects, errors
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.dialects.mysql import capture as mysql_capture
from pantograph.dialects.mysql import connections, inspection, positions, types, variants
from pantograph.dialects.mysql.positions import Seen
from pantograph.model.changes import Capture, Position
from pantograph.model.tables import Closed, Column, Reference, TableShape
from pantograph.model.types import Kind, LogicalType

BIN = "character set utf8mb4 collate utf8mb4_bin"


@pytest.fixture
def dialect():
    return dialects.load(Address("mariadb", host="nowhere", database="sh`op"))


@pytest.fixture
def mysql():
    return dialects.load(Address("mysql", host="nowhere", database="sh`op"))


@pytest.fixture
def shape():
    columns = (
        Column("order", types.logical("int(11)"), "int(11)", nullable=False),
        Column("na`me", types.logical(f"varchar(20) {BIN}", 20), f"varchar(20) {BIN}"),
    )
    return TableShape("", "sel%ect", columns, ("order",), identity="InnoDB:1")


@pytest.fixture
def capture():
    return Capture("abc", "", "sel%ect", ("order",), ("order", "na`me"), "events_select_x", 3)


# -- positions ---------------------------------------------------------------------------------------------------------


def ids(ranges):
    return {n for low, high in ranges for n in range(low, high + 1)}


def some(random_, top=60):
    return positions.merged((low, low + random_.randrange(4)) for low in random_.sample(range(1, top), 8))


def test_ranges_are_sets():
    random_ = random.Random(1)
    for _ in range(500):
        one, other = some(random_), some(random_)
        assert ids(positions.merged(one + other)) == ids(one) | ids(other)
        assert ids(positions.without(one, other)) == ids(one) - ids(other)
        assert ids(positions.common(one, other)) == ids(one) & ids(other)
        assert positions.count(one) == len(ids(one))
        few = positions.fewer(one, 3)
        assert len(few) <= 3
        assert ids(one) <= ids(few)


def test_a_window_is_what_the_later_position_has_read_and_the_earlier_has_not():
    random_ = random.Random(2)
    for _ in range(500):
        high = random_.randrange(20, 60)
        since = Seen(high, tuple(positions.common(some(random_), [(1, high)])))
        until = Seen(high + random_.randrange(20), tuple(some(random_)))

        def read(seen):
            return set(range(1, seen.high + 1)) - ids(seen.open)

        assert ids(positions.between(since, until)) == read(until) - read(since)
        assert ids(positions.all_read([since, until])) == read(since) & read(until)


def test_a_position_reads_as_it_was_written():
    seen = {"a": Seen(10, ((3, 4), (7, 7))), "b": Seen()}
    assert positions.parse(positions.render(seen)) == seen
    assert positions.parse(Position("")) == {}


def test_a_stored_position_is_bounded_and_takes_nothing_open_for_read():
    random_ = random.Random(3)
    many = positions.merged((n, n + random_.randrange(2)) for n in random_.sample(range(5, 10**7), 80_000))
    seen = {"a": Seen(10**7 + 9, tuple(many)), "b": Seen(100, ((7, 8),)), "c": Seen(5)}
    exact = positions.render(seen)
    for most in (positions.MOST_BYTES, positions.BRIEF_BYTES):
        stored = positions.stored(exact, most)
        assert len(stored) <= most
        told = positions.parse(stored)
        for capture, each in seen.items():
            assert told[capture].high == each.high
            assert not positions.without(each.open, told[capture].open)
    few = positions.render({"a": Seen(9, ((1, 2), (4, 4)))})
    assert positions.stored(few) == few


def test_a_position_of_many_captures_is_stored_although_nothing_can_be_left_out():
    many = positions.render({f"capture{n}": Seen(10**18) for n in range(500)})
    assert positions.parse(positions.stored(many, positions.BRIEF_BYTES)) == positions.parse(many)


def test_fifty_thousand_ids_that_were_rolled_back_are_stored_exactly():
    random_ = random.Random(4)
    holes = tuple((n, n) for n in sorted(random_.sample(range(1, 1_250_000), 50_000)))
    position = positions.render({"a": Seen(1_250_000, holes)})
    stored = positions.stored(position)
    assert len(stored) <= positions.MOST_BYTES
    assert positions.parse(stored) == positions.parse(position)


# -- rendering ---------------------------------------------------------------------------------------------------------


def test_names_are_quoted_and_our_database_is_our_own(dialect):
    assert dialect.ours("control") == "`pantograph_sh``op`.`control`"
    assert dialect.table("", "a`b") == "`a``b`"


def test_triggers_insert_values_and_read_no_table(dialect, capture, shape):
    statements = dialect.install(capture, shape)
    triggers = [each for each in statements if each.locks]
    assert len(triggers) == 3
    for trigger in triggers:
        assert trigger.sql.startswith("create or replace trigger `sh``op`.`pantograph_")
        assert trigger.locks == "sel%ect"
        assert "values ('" in trigger.sql
        assert " = (select next_not_cached_value from `pantograph_sh``op`.`lease_until`); end if; " in trigger.sql
        assert "`lease`" not in trigger.sql
    update = next(each.sql for each in triggers if "after update" in each.sql)
    assert "old.`order` <=> new.`order` and cast(old.`na``me` as binary) <=> cast(new.`na``me` as binary)" in update
    assert "old.`order`, old.`na``me`" in update


def test_mysql_reads_a_lease_that_no_renewal_touches_meanwhile(mysql, capture, shape):
    """A row that a trigger reads is locked until its transaction ends: renewing writes rows of hours to come."""
    triggers = [each.sql for each in mysql.install(capture, shape) if each.sql.startswith("create trigger")]
    assert len(triggers) == 3
    for sql in triggers:
        assert "`lease_hours` where slot = pantograph_hour mod 16384); end; end if; " in sql
        assert "`lease`" not in sql


def test_mysql_replaces_a_trigger_while_another_one_notes(mysql, capture, shape):
    """It has no CREATE OR REPLACE: at no moment is there none."""
    made = [each.sql for each in mysql.install(capture, shape) if each.sql.startswith("create trigger")]
    there = {sql.split(" after ")[0] for sql in made}
    before = set(there)
    for statement in mysql.upgrade(capture, shape):
        place = statement.sql.split(" after ")[0].replace("drop trigger if exists", "create trigger")
        there = there | {place} if statement.sql.startswith("create") else there - {place}
        assert len(there) >= 3
    assert there == before


def test_event_columns_are_the_widest_of_their_family(capture, shape, dialect):
    (create, *_) = dialect.install(capture, shape)
    assert "k0 bigint, k1 varchar(768) character set utf8mb4 collate utf8mb4_nopad_bin" in create.sql


def test_another_engine_is_refused(shape):
    with pytest.raises(errors.Refused, match="Aria"):
        mysql_capture.refuse_engine(dataclasses.replace(shape, identity="Aria:1"))


def test_blind_spots_of_a_table(shape):
    assert any("PARTITION" in spot for spot in mysql_capture.blind_spots(dataclasses.replace(shape, partitioned=True)))
    assert len(mysql_capture.blind_spots(shape)) == 3


def _below(shape, *upstream, closed=()):
    return dataclasses.replace(shape, upstream=upstream, closed=closed)


UP = Reference(
    "up", ("", "sel%ect"), ("order",), ("", "pa`rents"), ("id",), on_delete="SET NULL", on_update="CASCADE", index="u`p"
)
ABOVE = Reference("above", ("", "pa`rents"), ("a",), ("far", "a"), ("id",), on_delete="CASCADE", index="above")


def test_a_cascade_is_noted_before_it_happens_row_by_row_and_by_the_index(dialect, capture, shape):
    statements = {each.locks: each.sql for each in dialect.install(capture, _below(shape, UP, ABOVE)) if each.locks}
    assert set(statements) == {"sel%ect", "pa`rents", "far.a"}
    far = statements["far.a"]
    assert far.startswith("create or replace trigger `far`.`pantograph_bd_")
    assert " before delete on `far`.`a` for each row begin declare exit handler for " in far
    assert (
        "for r in (select t2.`order` as k0, t2.`na``me` as k1 from `sh``op`.`pa``rents` t1 force index (`above`) "
        "straight_join `sh``op`.`sel%ect` t2 force index (`u``p`) "
        "where t1.`a` = old.`id` and t2.`order` = t1.`id` for update) do insert into "
    ) in far
    assert "declare exit handler for 1442 begin if exists (select 1 from " in far
    assert "where s0.`a` = old.`id` lock in share mode) then for r in (select s2.`order` as k0" in far
    assert "values ('U', 3, utc_timestamp(6), connection_id(), r.k0, r.k1), " in far
    assert "connection_id(), null, r.k1); end for" in far
    update = next(each.sql for each in dialect.install(capture, _below(shape, UP)) if "before update" in each.sql)
    assert "if not (cast(old.`id` as binary) <=> cast(new.`id` as binary)) then if ifnull(@pantograph_" in update
    assert update.count("cast(new.`id` as binary)") == 3
    assert "connection_id(), new.`id`, r.k1); end for" in update


def test_a_table_that_may_not_be_watched_has_no_trigger_and_is_said(dialect, capture, shape):
    shut = Closed(("far", "a"), readable=True, grant="grant trigger on `far`.`a` to 'us'@'%'")
    watched = _below(shape, UP, ABOVE, closed=(shut,))
    assert {each.locks for each in dialect.install(capture, watched)} == {"", "sel%ect", "pa`rents"}
    (spot,) = [each for each in dialect.blind_spots(watched) if shut.grant in each]
    assert "from far.a to sel%ect (delete)" in spot


def test_what_lies_between_and_may_not_be_read_is_not_read(dialect, capture, shape):
    shut = Closed(("", "pa`rents"), readable=False, grant="grant select on x")
    watched = _below(shape, UP, ABOVE, closed=(shut,))
    assert {each.locks for each in dialect.install(capture, watched)} == {"", "sel%ect"}
    (spot,) = [each for each in dialect.blind_spots(watched) if shut.grant in each]
    assert "from pa`rents to" in spot


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [("web_shop", "web_shop", True), ("webXshop", "web_shop", True), ("webXshop", r"web\_shop", False),
     ("web_shop", r"web\_shop", True), ("web_shop", "web%", True), ("a.b", "a.b", True), ("axb", "a.b", False),
     ("50%", r"50\%", True), ("501", r"50\%", False)],
)  # fmt: skip
def test_a_database_in_a_grant_is_a_pattern(name, pattern, fits):
    assert inspection._like(name, pattern) is fits


def test_a_comparison_of_keys_is_spelled_out(dialect):
    assert dialect.beyond(["a"], ["1"]) == "a > 1"
    assert dialect.beyond(["a", "b"], ["1", "2"]) == "(a >= 1 and ((a > 1) or (a = 1 and b > 2)))"
    assert dialect.not_beyond(["a", "b"], ["1", "2"]) == "(a <= 1 and ((a < 1) or (a = 1 and b <= 2)))"


@pytest.mark.parametrize(
    ("native", "length", "kind", "length_"),
    [
        ("tinyint(1)", 0, Kind.BOOLEAN, 0),
        ("bit(1)", 0, Kind.BOOLEAN, 0),
        ("tinyint(4)", 0, Kind.INTEGER, 0),
        ("bit(9)", 0, Kind.INTEGER, 0),
        ("bigint(20) unsigned", 0, Kind.INTEGER, 0),
        ("year(4)", 0, Kind.INTEGER, 0),
        ("decimal(12,2)", 0, Kind.DECIMAL, 0),
        ("double", 0, Kind.FLOAT, 0),
        (f"varchar(20) {BIN}", 20, Kind.TEXT, 20),
        (f"enum('a','unsigned') {BIN}", 8, Kind.TEXT, 8),
        (f"longtext {BIN}", 4294967295, Kind.TEXT, 0),
        ("varbinary(3)", 3, Kind.BYTES, 3),
        ("datetime(3)", 0, Kind.TIMESTAMP, 0),
        ("geometry", 0, Kind.OTHER, 0),
    ],
)
def test_native_types(native, length, kind, length_):
    found = types.logical(native, length)
    assert (found.kind, found.length) == (kind, length_)


@pytest.mark.parametrize("exact", [variants.MARIADB.exact, variants.MYSQL.exact])
def test_every_text_but_one_without_padding_folds(exact):
    assert types.logical(f"varchar(20) {BIN}", 20).folding
    assert not types.logical(f"varchar(20) character set utf8mb4 collate {exact}", 20).folding


def test_the_narrowest_type_that_holds_all():
    assert types.native(LogicalType(Kind.INTEGER, bits=16, unsigned=True), variants.MYSQL) == "smallint unsigned"
    assert types.native(LogicalType(Kind.TEXT, length=40), variants.MYSQL).startswith("varchar(40) ")
    assert types.native(LogicalType(Kind.TEXT, length=1000), variants.MYSQL).startswith("text ")
    assert types.native(LogicalType(Kind.TEXT), variants.MYSQL).startswith("longtext ")
    assert types.native(LogicalType(Kind.TEXT), variants.MYSQL, key=True).startswith("varchar(255) ")
    assert types.native(LogicalType(Kind.TIMESTAMP, fraction=3, zoned=True), variants.MYSQL) == "datetime(3)"
    assert types.native(LogicalType(Kind.DECIMAL, precision=65, scale=30), variants.MYSQL) == "decimal(65,30)"


def test_only_mariadb_has_decimals_of_more_than_30_places():
    tiny = LogicalType(Kind.DECIMAL, precision=40, scale=38)
    assert types.native(tiny, variants.MARIADB) == "decimal(40,38)"
    with pytest.raises(errors.SpecError):
        types.native(tiny, variants.MYSQL)


@pytest.mark.parametrize(
    ("type_", "key"),
    [
        (LogicalType(Kind.DECIMAL), False),
        (LogicalType(Kind.DECIMAL, precision=66), False),
        (LogicalType(Kind.INTERVAL), False),
        (LogicalType(Kind.OTHER, native="tsvector"), False),
        (LogicalType(Kind.TEXT, length=769), True),
        (LogicalType(Kind.BYTES, length=3073), True),
    ],
)
def test_what_no_type_holds_is_refused(type_, key):
    with pytest.raises(errors.SpecError):
        types.native(type_, variants.MYSQL, key=key)


def test_our_tables(dialect):
    sql = dialect.meta_table(base.SOURCE_TABLES[1])
    assert sql == (
        "create table if not exists `pantograph_sh``op`.`lease` (`id` bigint not null, `until` bigint, "
        "primary key (`id`)) engine = InnoDB"
    )


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text", "kind", "constraint", "column"),
    [
        (1062, "Duplicate entry 'secret' for key 'by_code'", "unique", "by_code", ""),
        (1062, "Duplicate entry 'se' for key 'cret' for key 'shop.by_code'", "unique", "by_code", ""),
        (1452, "Cannot add or update a child row: a foreign key constraint fails (`shop`.`lines`, CONSTRAINT `up` "
         "FOREIGN KEY (`o`) REFERENCES `orders` (`id`))", "foreign key", "up", ""),
        (1451, "Cannot delete or update a parent row: a foreign key constraint fails (`shop`.`lines`, CONSTRAINT `up` "
         "FOREIGN KEY (`o`) REFERENCES `orders` (`id`))", "foreign key", "up", ""),
        (1048, "Column 'v' cannot be null", "not null", "", "v"),
        (1364, "Field 'v' doesn't have a default value", "not null", "", "v"),
        (4025, "CONSTRAINT `t.v` failed for `shop`.`t`", "check", "v", ""),
        (1406, "Data too long for column 'v' at row 7", "length", "", "v"),
        (1366, "Incorrect integer value: 'secret' for column `shop`.`t`.`v` at row 1", "type", "", "v"),
        (1292, "Incorrect datetime value: 'secret column' for column `shop`.`t`.`v` at row 1", "type", "", "v"),
        (1292, "Truncated incorrect DOUBLE value: 'secret'", "type", "", ""),
    ],
)  # fmt: skip
def test_a_rejection_names_what_but_no_value(number, text, kind, constraint, column):
    error = connections.translate(pymysql.err.IntegrityError(number, text))
    assert isinstance(error, errors.Rejected)
    assert (error.kind, error.constraint, error.code) == (kind, constraint, str(number))
    assert "secret" not in str(error)
    assert "cret" not in str(error)
    assert str(error).endswith(f"column {column} (error {number})") or not column


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1205, errors.Contended), (1213, errors.Contended), (1412, errors.Contended), (1969, errors.Contended),
        (1142, errors.Refused), (1045, errors.Refused), (1419, errors.Refused), (1227, errors.Refused),
        (2003, errors.Unreachable), (2006, errors.Unreachable), (2013, errors.Unreachable), (1927, errors.Unreachable),
        (1146, errors.DatabaseError), (1064, errors.DatabaseError),
    ],
)  # fmt: skip
def test_numbers_are_answered_by_what_helps(number, expected):
    error = connections.translate(pymysql.err.OperationalError(number, "near 'secret'"))
    assert type(error) is expected
    assert "secret" not in str(error)


def test_other_errors_are_not_ours():
    assert connections.translate(ValueError("x")) is None
    assert isinstance(connections.translate(TimeoutError()), errors.Unreachable)
    assert isinstance(connections.translate(pymysql.err.InterfaceError(0, "")), errors.Unreachable)


def test_tls_modes():
    assert connections._tls(Address("mariadb", tls_mode="disable")) == {"ssl_disabled": True}
    assert connections._tls(Address("mariadb")) == {}
    context = connections._tls(Address("mariadb", tls_mode="verify-ca"))["ssl"]
    assert (context.check_hostname, context.verify_mode.name) == (False, "CERT_REQUIRED")
    assert connections._tls(Address("mariadb", tls_mode="verify-full"))["ssl"].check_hostname
    assert connections._tls(Address("mariadb", tls_mode="require"))["ssl"].verify_mode.name == "CERT_NONE"
    with pytest.raises(errors.SpecError):
        connections._tls(Address("mariadb", tls_mode="maybe"))


def test_an_unknown_option_is_refused_before_connecting():
    address = Address("mariadb", options={"colour": "red"})
    with pytest.raises(errors.SpecError, match="colour"):
        connections.connect(address, Role.READER, 1, "", "max_statement_time = {seconds}", 0, pymysql.cursors.Cursor)
