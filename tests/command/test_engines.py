"""The whole round on servers: plan, run, plan again, status, verify, remove, with the documented grants."""

import json

import pytest

from tests.command.conftest import reflection, source_table, wait_for, write

ROUTES = [
    ("pg_db", "my_db"),
    ("my_db", "pg_db"),
    ("pg_db", "pg_db"),
    ("pg_db", "sqlite_db"),
    ("pg_db", "ms_db"),
    ("ms_db", "pg_db"),
    pytest.param("mysql_db", "mysql_db", marks=pytest.mark.night),
]

OURS = {
    "postgresql": "select count(*) from pg_namespace where nspname = 'pantograph'",
    "mariadb": "select count(*) from information_schema.schemata where schema_name like 'pantograph\\_{}'",
    "sqlite": "select count(*) from sqlite_master where name like 'pantograph%'",
    "mssql": "select count(*) from sys.schemas where name = 'pantograph'",
}
OURS["mysql"] = OURS["mariadb"]
TRIGGERS = {
    "postgresql": "select count(*) from pg_trigger where not tgisinternal",
    "mariadb": "select count(*) from information_schema.triggers where trigger_schema = '{}'",
    "mssql": "select count(*) from sys.triggers",
}
TRIGGERS["mysql"] = TRIGGERS["mariadb"]


def count(database, queries):
    (row,) = database.execute(queries[database.dialect].format(database.name), role="superuser")
    return row[0]


@pytest.mark.parametrize(("source", "destination"), ROUTES, ids=lambda name: name.partition("_")[0])
def test_the_whole_round(call, start, request, tmp_path, source, destination):
    here, there = request.getfixturevalue(source)(), request.getfixturevalue(destination)()
    here.execute("create table orders (id integer primary key, customer varchar(40), quantity integer)")
    for number in range(20):
        here.execute(f"insert into orders values ({number}, 'c{number}', {number})")
    path = write(
        tmp_path,
        [
            *here.manifests(name="shop"),
            *there.manifests("destination", name="copy"),
            source_table("orders"),
            reflection("orders", where="quantity >= 5"),
        ],
    )
    planned = call("plan", "-f", path)
    assert planned.returncode == 3, planned.stderr
    assert (count(here, TRIGGERS), count(here, OURS), count(there, OURS)) == (0, 0, 0)

    running = start("run", "-f", path)
    running.said("streaming began reflection=orders")
    here.execute("update orders set quantity = 3 where id = 7")
    here.execute("update orders set quantity = 33 where id = 2")
    here.execute("delete from orders where id = 9")
    expected = [(2, 33), (5, 5), (6, 6), (8, 8), *((number, number) for number in range(10, 20))]

    def rows():
        return [tuple(row) for row in there.execute("select id, quantity from orders order by id", role="superuser")]

    wait_for(lambda: rows() == expected, what=rows)
    asked = call("status", "-f", path, "-o", "json")
    reasons = [item["status"]["conditions"][0]["reason"] for item in json.loads(asked.stdout)["items"]]
    assert asked.returncode == 0, reasons
    compared = call("verify", "-f", path)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert running.end() == 0

    planned = call("plan", "-f", path)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    removed = call("remove", "-f", path, "--yes")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert (count(here, TRIGGERS), count(here, OURS), count(there, OURS)) == (0, 0, 0)
    assert rows() == expected
