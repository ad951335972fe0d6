"""Reflections that would undo each other's work, found by what the servers say they are, before anything is changed."""

from __future__ import annotations

import os

import pytest

from tests.command.conftest import reflection, source_table, wait_for, write
from tests.servers import PostgreSQL

EXPECTED = "; expected a table that is not read for its own source"


def database(documents, name):
    return next(one for one in documents if one["kind"] == "Database" and one["metadata"]["name"] == name)


def both_names(here, tmp_path):
    """One database under two names, `shop` and `copy`."""
    shop, copy = here.manifests("both", name="shop"), here.manifests("both", name="copy")
    if here.dialect == "sqlite":
        (tmp_path / "elsewhere").mkdir()
        link = tmp_path / "elsewhere" / "link.db"
        os.symlink(database(copy, "copy")["spec"]["path"], link)
        database(copy, "copy")["spec"]["path"] = str(link)
    else:
        database(copy, "copy")["spec"]["host"] = "localhost"
    return [*shop, *copy]


def ours_in(here):
    queries = {
        "postgresql": "select count(*) from pg_trigger where not tgisinternal",
        "mariadb": f"select count(*) from information_schema.triggers where trigger_schema = '{here.name}'",
        "sqlite": "select count(*) from sqlite_master where name like 'pantograph%'",
    }
    return here.execute(queries[here.dialect], role="superuser")[0][0]


def refused(call, path, here):
    """The lines, the same from `plan` and from `run`; nothing was made."""
    told = []
    for command in (("plan",), ("run", "--once")):
        ended = call(*command, "-f", path)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        assert ended.stdout == ""
        told.append([line for line in ended.stderr.splitlines() if "manifests.yaml" in line])
    assert told[0] == told[1]
    assert ours_in(here) == 0
    return told[0]


@pytest.mark.parametrize("engine", ["pg_db", "my_db", "sqlite_db"])
def test_two_names_of_one_database(call, request, tmp_path, engine):
    here = request.getfixturevalue(engine)()
    for table in ("orders", "others", "mine"):
        here.execute(f"create table {table} (id integer primary key, name varchar(40))")

    documents = both_names(here, tmp_path)
    own = [*documents, source_table("orders"), reflection("orders")]
    (line,) = refused(call, write(tmp_path, own), here)
    where = f"manifests.yaml: document {len(own)} (Reflection orders): spec.destination.table: "
    assert where + "the table is its own source: " in line

    circle = [
        *documents,
        source_table("orders"),
        source_table("others"),
        reflection("orders", destination={"databaseRef": {"name": "copy"}, "table": "others"}),
        reflection("others", destination={"databaseRef": {"name": "shop"}, "table": "orders"}),
    ]
    (line,) = refused(call, write(tmp_path, circle), here)
    where = "(Reflection others): spec.destination.table: "
    assert where + "changes would go round for ever, with orders: from others" in line
    assert line.endswith(EXPECTED)

    twice = [
        *documents,
        source_table("orders"),
        source_table("others"),
        reflection("orders", destination={"databaseRef": {"name": "copy"}, "table": "mine"}),
        reflection("others", destination={"databaseRef": {"name": "shop"}, "table": "mine"}),
    ]
    (line,) = refused(call, write(tmp_path, twice), here)
    assert "(Reflection others): spec.destination.table: mine in " in line
    assert "Reflection orders inserts and deletes its rows" in line
    twice[-1]["spec"] |= {"missingRow": "Wait"}
    (line,) = refused(call, write(tmp_path, twice), here)
    assert "column name is written by Reflection orders" in line


def test_a_schema_of_mariadb_is_another_database_of_its_server(call, my_db, tmp_path):
    here, there = my_db(), my_db()
    here.execute("create table orders (id integer primary key, name varchar(40))")
    documents = [*here.manifests("both", name="shop"), *there.manifests("both", name="copy"), source_table("orders")]
    made = reflection("orders")
    made["spec"]["destination"]["schema"] = here.name
    (line,) = refused(call, write(tmp_path, [*documents, made]), here)
    assert "the table is its own source" in line


def test_a_database_that_cannot_be_reached_has_no_say(call, pg_db, tmp_path, closed_port):
    here = pg_db()
    here.execute("create table orders (id integer primary key)")
    documents = [*here.manifests(name="shop"), *here.manifests("destination", name="copy")]
    database(documents, "copy")["spec"]["port"] = closed_port
    ended = call("plan", "-f", write(tmp_path, [*documents, source_table("orders"), reflection("orders")]))
    assert ended.returncode == 4


def test_a_running_mirror_is_told_of_a_field_that_cannot_be_changed_and_of_a_circle(shop, start):
    running = start("run", "-f", shop.manifests)
    for name in ("orders", "customers"):
        running.said(f"streaming began reflection={name}")
    elsewhere = reflection("orders", destination={"databaseRef": {"name": "copy"}, "table": "elsewhere"})
    write(shop.folder, [*shop.documents[:-2], elsewhere, shop.documents[-1]])
    running.said("(Reflection orders): spec.destination.table: table cannot be changed; make another object instead")
    back = source_table("back", databaseRef={"name": "copy"}, table="orders")
    circle = reflection("back", destination={"databaseRef": {"name": "shop"}, "table": "orders"})
    write(shop.folder, [*shop.documents, back, circle])
    running.said("(Reflection orders): spec.destination.table: changes would go round for ever, with back")
    shop.source.execute("delete from orders where id = 1")
    wait_for(shop.equal)
    assert running.end() == 0


def test_a_server_made_of_the_files_of_another_is_another(call, tmp_path):
    """As a restored backup, or a clone of a machine: its identifiers are the same."""
    with PostgreSQL.start() as one, PostgreSQL.start() as other:
        source, copy = one.make_database("shop"), other.make_database("shop")
        for here in (source, copy):
            here.execute("create table orders (id integer primary key, name varchar(40))")
        identifier = "select system_identifier from pg_control_system()"
        assert source.execute(identifier, role="superuser") == copy.execute(identifier, role="superuser")
        documents = [*source.manifests("source", name="shop"), *copy.manifests("destination", name="copy")]
        path = write(tmp_path, [*documents, source_table("orders"), reflection("orders")])
        ended = call("run", "--once", "-f", path)
        assert ended.returncode == 0, ended.stderr
