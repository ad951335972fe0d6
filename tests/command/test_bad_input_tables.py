"""What is wrong between a manifest and the tables it names: one line from `plan` and `run`, and nothing is made."""

from __future__ import annotations

import pytest

from tests.command.conftest import reflection, source_table, write

each_engine = pytest.mark.parametrize("engine", ["pg_db", "my_db", "sqlite_db"])
GIVE = "give it a primary key, or a unique key on columns that are not null, and name that as keyColumns"


def planned(call, path):
    ended = call("plan", "-f", path)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


@each_engine
def test_a_table_without_a_key_says_which_columns_would_do(call, request, tmp_path, engine):
    here, there = request.getfixturevalue(engine)(), request.getfixturevalue("sqlite_db")()
    many = "code varchar(9) not null, region varchar(9) not null, number int not null, note varchar(9)"
    for table, definition in (
        ("none", "note varchar(9)"),
        ("several", f"{many}, unique (code), unique (region, number), unique (note)"),
        ("nullable", "note varchar(9), unique (note)"),
    ):
        here.execute(f"create table {table} ({definition})")
    documents = [*here.manifests(name="shop"), *there.manifests("destination", name="copy")]

    def told(table, **spec):
        path = write(tmp_path, [*documents, source_table(table, **spec), reflection(table)])
        where = f"pantograph: {path}: document {len(documents) + 1} (SourceTable {table}): spec.keyColumns: "
        line = planned(call, path)
        assert line.startswith(where)
        if table == "none":
            ended = call("run", "-f", path, "--once")
            assert ended.returncode == 1
            assert line.removeprefix(where) in ended.stderr
        return line.removeprefix(where).replace("public.", "")

    would_do = "keyColumns: [code] or keyColumns: [region, number] would do"
    assert told("several") == f"several has no primary key; {would_do}"
    assert told("several", keyColumns=["number"]) == f"(number) is not unique in several; {would_do}"
    assert told("several", keyColumns=["nmuber"]) == "no column nmuber in several; there are code, region, number, note"
    note = "column note of several may be null; make it NOT NULL, or "
    assert told("several", keyColumns=["note"]) == note + would_do
    assert told("none") == f"none has no primary key; {GIVE}"
    assert told("nullable") == (
        "nullable has no primary key; (note) is unique, but note may be null: make it NOT NULL, and say "
        "keyColumns: [note]"
    )
    assert there.execute("select name from sqlite_master where name in ('none', 'several', 'nullable')") == []


def test_a_type_that_the_destination_cannot_hold_is_told_by_column(call, pg_db, my_db, tmp_path):
    here, there = pg_db(), my_db()
    here.execute("create table orders (id integer primary key, span int4range, total numeric(12, 2))")
    there.execute("create table orders (id integer primary key, span varchar(40), total integer)")
    documents = [*here.manifests(name="shop"), *there.manifests("destination", name="copy")]
    for made, said in (
        (reflection("orders"), "column span of public.orders cannot be held by orders: "),
        (reflection("orders", exclude=["span"]), "column total of public.orders cannot be held by orders: "),
    ):
        path = write(tmp_path, [*documents, source_table("orders"), made])
        line = planned(call, path)
        where = f"pantograph: {path}: document {len(documents) + 2} (Reflection orders): spec.destination.table: "
        assert line.startswith(where + said), line
    elsewhere = reflection("orders", destination={"databaseRef": {"name": "copy"}, "table": "elsewhere"})
    line = planned(call, write(tmp_path, [*documents, source_table("orders"), elsewhere]))
    assert "column span of public.orders cannot be held by " in line
    assert there.execute("show tables like 'elsewhere'") == []
