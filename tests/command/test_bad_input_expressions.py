"""What the source itself has against an expression: asked at `plan` and `run`, before a row is read with it."""

from __future__ import annotations

import pytest

from pantograph import errors
from pantograph.api.expressions import Expression
from pantograph.database.sessions import Session
from pantograph.dialects.base import Role
from tests.command.conftest import reflection, source_table, write
from tests.support.source import Source

ENGINES = ("pg_db", "my_db", "sqlite_db")


@pytest.fixture
def place(request):
    made = []

    def of(fixture):
        made.append(Source(request.getfixturevalue(fixture)()))
        return made[-1]

    yield of
    for one in made:
        one.session.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_good_expressions_of_every_kind_are_taken(place, engine):
    source = place(engine)
    for text in (
        "name <> 'it''s' and id % 3 = 0", "coalesce(name, 'x') like '%a:b%'", "orders.id in (1, 2)", "price * id > 3",
        "case when id > 1 then 1 = 1 else 1 = 0 end", "cast(id as char(3)) = '1'", "length(name) between 1 and 3",
    ):  # fmt: skip
        source.check(text)
    source.check("upper(name)", condition=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_column_that_is_not_there_is_named_with_those_that_are(place, engine):
    source = place(engine)
    assert source.refused("nmae = 'x'") == "spec.where: no column nmae in orders (did you mean name?)".replace(
        "orders", source.shape.label
    )
    assert source.refused("nothing_like_it = 'x'").endswith("; there are id, name, made, flag, price")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_sql_is_refused(place, engine):
    source = place(engine)
    for text in ("name = = 'x'", "id +", "nosuchfunction(id)", "id in ()" if engine == "my_db" else "id in ("):
        assert source.refused(text).startswith("spec.where: ")


def test_postgresql_tells_which_functions_are_volatile(place):
    source = place("pg_db")
    source.database.execute("create function f_volatile(i int) returns int language sql as 'select i'")
    source.database.execute("create function f_stable(i int) returns int stable language sql as 'select i'")
    source.database.execute("create function f_settled(i int) returns int immutable language sql as 'select i'")
    source.database.execute("create function f_several(i int) returns setof int immutable language sql as 'select i'")
    source.database.execute("create function \"N.ow\"() returns int language sql as 'select 1'")
    for name in ("f_volatile", "f_stable", "f_settled", "f_several"):
        source.database.execute(f"grant execute on function {name}(int) to public")
    assert "f_volatile() is volatile" in source.refused("f_volatile(id) = 1")
    assert "public.f_volatile() is volatile" in source.refused("public.F_Volatile(id) = 1")
    assert "f_stable() is only stable" in source.refused("f_stable(id) = 1")
    assert "N.ow() is volatile" in source.refused('"N.ow"() = 1')
    assert "f_several() yields several rows" in source.refused("f_several(id)", condition=False)
    source.check("f_settled(id) = 1")
    assert "pg_current_xact_id() is only stable" in source.refused("pg_current_xact_id() is null")
    assert "generate_series() yields several rows" in source.refused("generate_series(1, id)", condition=False)
    assert "pg_notify() is volatile" in source.refused("pg_notify('a', 'b') is null")
    assert "mode() is an aggregate" in source.refused("mode() within group (order by id) = 1")
    assert "has_table_privilege() is only stable" in source.refused("has_table_privilege('orders', 'select')")
    for text in (
        "to_char(made, 'YYYY') = '2024'", "date_trunc('day', made) = made", "extract(year from made) = 2024",
        "made at time zone 'utc' < '2024-01-01'", "concat(name, id) = 'a1'", "substring(name from 1 for 2) = 'ab'",
        "name = 'today'", "(name = 'now') is true", "trim(both 'x' from name) = ''", "position('a' in name) > 0",
        "name ~ E'^\\\\d+$'", "age(made, made) = interval '1 day'", "greatest(id, 3) = any (array[1, 2])",
        "overlay(name placing 'a' from 2) = 'b'", "(id, name) = (1, 'a')", "name similar to 'a%'",
    ):  # fmt: skip
        source.check(text)
    assert "are the time at which they are read" in source.refused("made > 'yesterday'")
    assert "are the time at which they are read" in source.refused("cast('now' as timestamp) > '2020-01-01'")


def test_mariadb_tells_which_stored_functions_are_deterministic(place):
    source = place("my_db")
    for name, declared in (
        ("f_random", "not deterministic no sql"),
        ("f_reading", "deterministic reads sql data"),
        ("f_settled", "deterministic no sql"),
    ):
        source.database.execute(f"create function {name}(i int) returns int {declared} return i", role="superuser")
    user = source.database.url("source")["username"]
    source.database.execute(f"grant execute on `{source.database.name}`.* to `{user}`@'%'", role="superuser")
    source.session.close()
    source.session = Session(source.dialect, Role.SIDE)
    assert "f_random() is not declared deterministic" in source.refused("f_random(id) = 1")
    assert "f_reading() is declared to read or write tables" in source.refused(
        f"{source.database.name}.f_reading(id) = 1"
    )
    source.check("f_settled(id) = 1")
    for text in (
        "date_format(made, '%Y:%m') = '2024:01'", "made < '2024-01-01' + interval 1 day", "name regexp '^a[0-9]+$'",
        "timestampdiff(day, made, '2024-01-01') > 3", "json_value(name, '$.a') = 'b'", "name <=> null",
        "convert(name using utf8mb4) = 'a'", "if(flag, 1, 0) = 1", 'name = "today"',
    ):  # fmt: skip
        source.check(text)


def test_sqlite_tells_what_it_would_not_take_into_an_index(place):
    source = place("sqlite_db")
    assert (
        source.refused('name = "draft"')
        == "spec.where: no column draft in orders; there are id, name, made, flag, price"
    )
    assert "SQLite does not take it: no such function: nosuch" in source.refused("nosuch(id)")
    with pytest.raises(errors.SpecError, match="a function in it can change with no change of the row"):
        source.dialect.judge_expression(source.session, Expression("random() > id", "sqlite", "p"), source.shape)
    for text in (
        "strftime('%Y', made) = '2024'", "name glob 'a*'", "max(id, 3) > 1", "name = 'now' collate nocase",
        "json_extract(name, '$.a') = 1", "iif(flag, 1, 0)", "[name] is not null",
    ):  # fmt: skip
        source.check(text)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_expression_that_is_refused_changes_nothing(call, request, tmp_path, engine):
    here, there = request.getfixturevalue(engine)(), request.getfixturevalue("sqlite_db")()
    here.execute("create table orders (id integer primary key, name varchar(40))")
    here.execute("insert into orders values (1, 'a')")
    documents = [*here.manifests(name="shop"), *there.manifests("destination", name="copy"), source_table("orders")]
    for where in ("nmae = 'x'", "now() > name" if engine != "sqlite_db" else "random() > id", "name = = 'x'"):
        path = write(tmp_path, [*documents, reflection("orders", where=where)])
        planned = call("plan", "-f", path)
        assert planned.returncode == 2, planned.stderr
        (line,) = planned.stderr.splitlines()
        assert "spec.where: " in line
        ended = call("run", "-f", path, "--once")
        # What the manifest alone shows is refused before anything begins; the rest is one Reflection's failure.
        assert ended.returncode == (2 if where.startswith(("now", "random")) else 1), ended.stderr
        assert "spec.where: " in ended.stderr
        assert there.execute("select name from sqlite_master where name = 'orders'") == []
