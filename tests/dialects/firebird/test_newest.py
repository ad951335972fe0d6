"""What came with Firebird 4, through the client library of Firebird 3."""

import pytest

from pantograph.model.types import Kind

pytestmark = pytest.mark.newest

LONG = "a table with as many characters as Firebird 4 allows it to have"


def test_what_a_type_holds_is_told_by_its_own_name(world):
    world.run(
        "create table news (id integer not null primary key, i int128, d numeric(38,4), f decfloat(16), g decfloat, "
        "t time with time zone, m timestamp with time zone, b varbinary(10))"
    )
    assert [(c.native, c.type.kind, c.type.precision, c.type.scale) for c in world.shape("news").columns[1:]] == [
        ("int128", Kind.DECIMAL, 39, 0), ("numeric(38,4)", Kind.DECIMAL, 38, 4),
        ("decfloat(16)", Kind.OTHER, 0, 0), ("decfloat(34)", Kind.OTHER, 0, 0),
        ("time with time zone", Kind.OTHER, 0, 0), ("timestamp with time zone", Kind.TIMESTAMP, 0, 0),
        ("varchar(10) character set OCTETS", Kind.BYTES, 0, 0),
    ]  # fmt: skip
    assert world.shape("news").column("m").type.zoned


@pytest.mark.parametrize("zone", ["-14:00", "+14:00", "America/New_York"])
def test_a_session_of_any_time_zone_is_captured_while_the_lease_lasts_and_no_longer(world, items, zone):
    """An hour's lease has not ended for who has another time of day, and the event is as old as it is."""
    world.run(f"set time zone '{zone}'", "insert into items values (1, 'a', 1)")
    assert [key for _, key in world.noted(items)] == [1]
    (age,) = world.side.row(
        f"select datediff(second from noted to cast('NOW' as timestamp)) from {world.dialect.ours(items.event_table)}"
    )
    assert abs(age) < 600
    world.dialect.lease_renewed(world.admin, -1)
    world.run("insert into items values (2, 'b', 1)")
    assert len(world.noted(items)) == 1


def test_a_name_of_63_characters_is_captured_and_looked_up(world):
    assert len(LONG) == 63
    world.run(f'create table "{LONG}" ("{LONG[::-1]}" integer not null primary key)')
    capture = world.capture(LONG)
    world.run(f'insert into "{LONG}" values (1)')
    assert capture.key == (LONG[::-1],)
    assert [key for _, key in world.noted(capture)] == [1]
    assert world.state(capture).healthy
    assert world.dialect.shape(world.admin, "", LONG + "x") is None


def test_a_captured_key_of_a_new_type_is_noted_as_it_is(world):
    world.run(
        "create table big (d numeric(38,4) not null, i int128 not null, m timestamp with time zone not null, "
        "primary key (d, i, m))"
    )
    capture = world.capture("big")
    world.run(
        "insert into big values (1234567890123456789012345678901234.5678, "
        "-170141183460469231731687303715884105728, timestamp '2020-01-02 03:04:05.6789 Europe/Berlin')"
    )
    ((_, d, i, m),) = world.noted(capture)
    decimals, moments = (world.dialect.decode(world.shape("big").column(name).type) for name in "dm")
    assert (decimals(d), decimals(i)) == (
        "1234567890123456789012345678901234.5678",
        "-170141183460469231731687303715884105728",
    )
    assert moments(m) == "2020-01-02 02:04:05.678900"


def test_values_of_new_types_are_the_same_where_many_rows_come_packed(world):
    world.run(
        "create table news (id integer not null primary key, d numeric(38,4), i int128, f decfloat(16), g decfloat, "
        "t time with time zone, m timestamp with time zone, p timestamp)",
        "insert into news values (1, -1234567890123456789012345678901234.5678, "
        "170141183460469231731687303715884105727, 1.5e-3, 12e300, time '23:59:59.9999 Europe/Berlin', "
        "timestamp '2020-01-02 03:04:05.6789 Europe/Berlin', timestamp '2020-01-02 03:04:05')",
        "insert into news (id) values (2)",
    )
    mirror = world.mirror(world.capture("news"), "news")
    sql = f"{world.dialect.chunk(mirror, after=False, upto=False)} order by 2"
    decoders = [None, *(world.dialect.decode(column.source_type) for column in mirror.columns)]

    def decoded(rows):
        return [
            [
                decode(value) if decode and value is not None else value
                for decode, value in zip(decoders, row, strict=True)
            ]
            for row in rows
        ]

    packed = [row for batch in world.reader.batches(sql, 1000, 1 << 20) for row in batch]
    plain = world.reader.rows(sql)
    assert packed != plain, "they came as text"
    assert decoded(packed) == decoded(plain)
    assert decoded(plain)[0][7:] == ["2020-01-02 02:04:05.678900", "2020-01-02 03:04:05"]
