"""What only newer servers have, from one to the next. Expected values are those of the servers' own clients."""

from __future__ import annotations

import pytest

from tests.routes.test_constraints import MakePair
from tests.support.clients import Client
from tests.support.comparison import wait_until

pytestmark = pytest.mark.newest

FIREBIRD = "id integer not null primary key, i int128, d numeric(38,4), m timestamp with time zone"
VALUES = (
    "1, 170141183460469231731687303715884105727, 1234567890123456789012345678901234.5678, "
    "timestamp '2020-01-02 03:04:05.6789 Europe/Berlin'",
    "2, -170141183460469231731687303715884105728, -0.0001, timestamp '0001-01-03 00:00:00 +00:00'",
    "3, null, null, null",
)
READ = [
    ("170141183460469231731687303715884105727", "1234567890123456789012345678901234.5678", "2020-01-02 02:04:05.6789"),
    ("-170141183460469231731687303715884105728", "-0.0001", "0001-01-03 00:00:00"),
    (None, None, None),
]


def _read(client: Client, *columns: str) -> list[tuple[str | None, ...]]:
    """Each column as the server itself writes it."""
    texts = {"postgresql": "cast({} as text)", "firebird": "cast({} as varchar(80))", "mariadb": "cast({} as char)"}
    listed = ", ".join(texts[client.dialect].format(column) for column in columns)
    return [
        tuple(None if value is None else value.strip() for value in row)
        for row in client.run(f"select {listed} from news order by id")
    ]


def _moments(client: Client) -> tuple[str, ...]:
    at = {"postgresql": "cast(m at time zone 'UTC' as timestamp)", "firebird": "m at time zone 'UTC'"}[client.dialect]
    return tuple(
        None if moment is None else moment.removesuffix(" UTC").rstrip("0").rstrip(".") if "." in moment else moment
        for (moment,) in _read(client, at)
    )


def test_the_types_of_firebird_4_arrive_at_postgresql_and_come_back(make_pair: MakePair) -> None:
    there = make_pair("firebird", "postgresql")
    there.make(f"create table news ({FIREBIRD})", *(f"insert into news values ({row})" for row in VALUES[:2]))
    there.start("news")
    there.make(f"insert into news values ({VALUES[2]})")
    end = Client(there.destination, "superuser")
    wait_until(lambda: there.destination.execute("select count(*) from news", role="superuser") == [(3,)], "all there")
    assert _read(end, "i", "d") == [(i, d) for i, d, _ in READ]
    assert [m.ljust(19, "0") if m else m for m in _moments(end)] == [m for _, _, m in READ]
    there.stop()

    back = make_pair("postgresql", "firebird")
    back.make(
        "create table news (id int primary key, i numeric(39), d numeric(38,4), m timestamptz(4))",
        "insert into news values (1, 170141183460469231731687303715884105727, "
        "1234567890123456789012345678901234.5678, '2020-01-02 03:04:05.6789 Europe/Berlin')",
        "insert into news values (3, null, null, null)",
    )
    back.destination.execute(f"create table news ({FIREBIRD})")
    back.start("news")
    back.make(
        "insert into news values (2, -170141183460469231731687303715884105728, -0.0001, '0001-01-03 00:00:00+00')"
    )
    wait_until(lambda: back.destination.execute("select count(*) from news") == [(3,)], "all there")
    end = Client(back.destination)
    assert _read(end, "i", "d") == [(i, d) for i, d, _ in READ]
    assert [m.removesuffix(".") if m else m for m in _moments(end)] == [m for _, _, m in READ]
    back.make("update news set d = 7.5, m = '2021-06-01 00:00:00+00' where id = 1", "delete from news where id = 2")
    wait_until(lambda: _read(end, "d") == [("7.5000",), (None,)], "what changed")


def test_all_types_of_firebird_4_arrive_at_firebird_4(make_pair: MakePair) -> None:
    pair = make_pair("firebird", "firebird")
    columns = f"{FIREBIRD}, f decfloat(16), g decfloat(34), t time with time zone, b varbinary(8)"
    for database in (pair.source, pair.destination):
        database.execute(f"create table news ({columns})")
    pair.make(
        f"insert into news values ({VALUES[0]}, 1.5, 1e6000, time '23:59:59.9999 America/New_York', x'00ff00')",
        f"insert into news values ({VALUES[1]}, -1e-300, 0.000, time '00:00 +14:00', x'')",
    )
    pair.start("news")
    pair.make(f"insert into news values ({VALUES[2]}, null, null, null, null)")
    wait_until(lambda: pair.destination.execute("select count(*) from news") == [(3,)], "all there")
    shown = ("i", "d", "m at time zone 'UTC'", "f", "g", "t", "octet_length(b)")
    assert _read(Client(pair.destination), *shown) == _read(pair.app, *shown)
    assert _read(Client(pair.destination), "g", "t")[0] == ("1E+6000", "23:59:59.9999 America/New_York")


@pytest.mark.parametrize("type_", ["decfloat", "time with time zone"])
def test_a_type_of_firebird_4_that_no_other_engine_has_is_refused_by_the_columns_name(
    make_pair: MakePair, type_: str
) -> None:
    pair = make_pair("firebird", "postgresql")
    pair.make(f"create table news (id integer not null primary key, odd {type_})")
    mirror = pair.start("news")
    seen = mirror.wait_phase("Failed")
    assert "odd" in seen.message


def test_what_came_with_postgresql_18_is_mirrored(make_pair: MakePair) -> None:
    """Virtual columns are the default of generated ones; NOT NULL has a name; a foreign key need not be enforced."""
    pair = make_pair("postgresql", "postgresql")
    made = (
        "create table news (id uuid constraint no_blank_id not null default uuidv7() primary key, n int, "
        "twice int generated always as (n * 2), kept int generated always as (n * 3) stored, "
        "nr int generated by default as identity, up uuid references news on delete cascade not enforced)"
    )
    pair.make(made, "insert into news (n) select g from generate_series(1, 10) g")
    pair.destination.execute(made)
    pair.start("news")
    pair.wait_equal(news=("id", "n", "twice", "kept", "nr", "up"))
    pair.make(
        "merge into news t using (values (3, 30), (99, 990)) s (n, m) on t.n = s.n when matched then update set "
        "n = s.m when not matched then insert (n) values (s.m) returning merge_action(), old.n, new.n",
        "insert into news (n, up) values (77, gen_random_uuid())",  # a parent that is not there
        "alter table news alter column n set not null",
        "delete from news where n = 5",
    )
    pair.wait_equal(news=("id", "n", "twice", "kept", "nr", "up"))


def test_a_foreign_key_of_postgresql_18_that_is_not_enforced_takes_nobodys_rows(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "postgresql")
    pair.make("create table news (id int primary key)", "insert into news values (1), (2)")
    pair.destination.execute("create table news (id int primary key)")
    pair.destination.execute(
        "create table theirs (id int primary key, of int references news on delete cascade not enforced)"
    )
    pair.destination.execute("insert into theirs values (1, 1), (2, 9)")
    pair.start("news")
    pair.make("delete from news where id = 1")
    wait_until(lambda: pair.destination.execute("select id from news") == [(2,)], "the delete")
    assert pair.destination.execute("select id from theirs order by id") == [(1,), (2,)]


def test_a_virtual_column_of_postgresql_18_is_copied_as_a_value(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "mariadb")
    pair.make(
        "create table news (id int primary key, n int, twice int generated always as (n * 2) virtual)",
        "insert into news (id, n) values (1, 10)",
    )
    pair.start("news")
    pair.make("update news set n = 11", "insert into news (id, n) values (2, 20)")
    pair.wait_equal(news=("id", "n", "twice"))


def test_a_table_in_the_default_collation_of_mariadb_11_is_mirrored_both_ways(make_pair: MakePair) -> None:
    for engines in (("mariadb", "postgresql"), ("postgresql", "mariadb"), ("mariadb", "mariadb")):
        pair = make_pair(*engines)
        pair.make("create table news (id varchar(40) primary key, t text)", "insert into news values ('ä', 'ß')")
        pair.start("news")
        pair.make("insert into news values ('b', '🐘'), ('z', 'Z')", "update news set id = 'y' where id = 'z'")
        pair.wait_equal(news=("id", "t"))
        pair.stop()
