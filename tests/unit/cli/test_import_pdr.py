"""`pantograph import-pdr` turns what PDR's `export` command wrote into manifests that run, and says what it changed."""

from __future__ import annotations

import pytest
import yaml

from pantograph.cli import commands
from pantograph.cli.pdr import statements
from pantograph.cli.pdr.statements import NotUnderstoodError
from tests.support.pdr import INTEGER, TEXT, Export


@pytest.fixture
def export(tmp_path):
    return Export(tmp_path)


@pytest.fixture
def call(capsys):
    def called(folder, *arguments, status=0):
        returned = commands.main(["import-pdr", str(folder), *arguments])
        ended = capsys.readouterr()
        assert returned == status, ended.err
        assert "hunter2" not in ended.err
        return ended

    return called


def imported(call, export, *arguments, status=0):
    return call(export.root, *arguments, status=status)


def specs(ended, kind):
    found = [one for one in yaml.safe_load_all(ended.out) if one["kind"] == kind]
    return {one["metadata"]["name"]: one.get("spec", one.get("stringData")) for one in found}


def remarks(ended, origin):
    return [line for line in ended.err.splitlines() if line.startswith(f"pantograph: {origin}: ")]


def test_servers_become_databases_with_their_login_in_a_secret(call, export):
    export.server(1, "Shop_DB", dbname="shop")
    export.server(2, "crm", 2, port="3306", charset="utf8")
    export.server(3, "erp", 1)
    ended = imported(call, export)
    secrets, databases = specs(ended, "Secret"), specs(ended, "Database")
    assert [one["dialect"] for one in databases.values()] == ["postgresql", "mariadb", "mssql"]
    name = next(iter(databases))
    assert name.startswith("shop-db-")
    assert remarks(ended, "databases/Shop_DB")[1].endswith("for Shop_DB is no name that Kubernetes takes")
    assert databases[name] == {
        "dialect": "postgresql", "host": "db.local", "port": 5432, "database": "shop",
        "credentials": {"secretName": f"{name}-login"},
    }  # fmt: skip
    assert secrets[f"{name}-login"] == {"username": "pdr", "password": "hunter2"}
    assert databases["crm"]["port"] == 3306
    assert any("charset of config.json left out" in line for line in remarks(ended, "databases/crm"))
    assert any("where it is MySQL" in line for line in remarks(ended, "databases/crm"))
    without = imported(call, export, "--no-secrets", "-n", "mirror")
    assert "hunter2" not in without.out
    assert {one["metadata"]["namespace"] for one in yaml.safe_load_all(without.out)} == {"mirror"}


def test_every_remark_stands_above_its_object_too(call, export):
    export.server(1, "shop")
    export.table(4, 1, "public.orders")
    export.reflection(9, 4, 1, "copy.orders", active=False)
    ended = imported(call, export)
    told = [line.split(": ", 2)[2] for line in remarks(ended, "reflections/9")]
    above = ended.out.partition("# PDR: reflections/9\n")[2].partition("apiVersion")[0]
    assert len(told) == above.count("# - ") > 2
    assert " ".join(told).split() == above.replace("# - ", "").replace("#", "").split()


def test_deletes_are_ignored_where_pdr_ignored_them_and_a_person_decides_about_rows_that_are_there(call, export):
    export.server(1, "shop")
    export.table(4, 1, "public.orders")
    export.reflection(1, 4, 1, "copy.ignoring")
    export.reflection(2, 4, 1, "copy.deleting", ignore_delete_events=False)
    export.reflection(3, 4, 1, "copy.resting", active=False)
    ended = imported(call, export)
    ignoring, deleting, resting = specs(ended, "Reflection").values()
    assert (ignoring["onDelete"], ignoring["destination"]["existing"]) == ("Ignore", "Keep")
    assert "onDelete" not in deleting
    assert "existing" not in deleting["destination"]
    assert any("until you say destination.existing" in line for line in remarks(ended, "reflections/2"))
    assert resting["paused"] is True
    assert "columns" not in ignoring  # all of them
    assert ignoring["destination"] == {
        "databaseRef": {"name": "shop"}, "schema": "copy", "table": "ignoring", "existing": "Keep"
    }  # fmt: skip


def test_default_schemas_are_left_out_and_names_stay_apart(call, export):
    export.server(1, "shop")
    export.server(2, "crm", 2)
    export.table(4, 1, "public.orders")
    export.table(5, 2, "crm.orders")
    export.table(6, 1, "sales.order_lines")
    export.reflection(1, 4, 2, "crm.copy")
    export.reflection(2, 4, 2, "crm.another")
    ended = imported(call, export)
    tables = specs(ended, "SourceTable")
    assert list(tables) == ["shop-orders", "crm-orders", "sales.order-lines"]
    assert [one.get("schema") for one in tables.values()] == [None, None, "sales"]
    assert list(specs(ended, "Reflection")) == ["shop-orders-to-crm-1", "shop-orders-to-crm-2"]


def test_a_statement_of_another_shape_becomes_columns(call, export):
    export.server(1, "shop")
    export.table(4, 1, "public.orders")
    export.reflection(
        1, 4, 1, "copy.sales",
        "UPDATE copy.sales SET buyer = :customer, total = :qty * :price, region = 'eu', synced = now() "
        "WHERE number = :id",
        there={"number": INTEGER, "buyer": TEXT, "total": INTEGER, "region": TEXT, "synced": "sql.sqltypes.DATETIME"},
        key_binding={"id": "number"},
    )  # fmt: skip
    ended = imported(call, export)
    (spec,) = specs(ended, "Reflection").values()
    assert spec["columns"] == [
        {"source": "id", "destination": "number"},
        {"source": "customer", "destination": "buyer"},
        {"expression": "qty * price", "destination": "total"},
        {"value": "eu", "destination": "region"},
        {"system": "appliedAt", "destination": "synced"},
    ]
    assert "key" not in spec
    assert any("total: computed by the source now" in line for line in remarks(ended, "reflections/1"))


def test_a_key_binding_to_another_column_becomes_a_key(call, export):
    export.server(1, "shop")
    export.table(4, 1, "public.orders")
    export.reflection(
        1, 4, 1, "copy.last_order", "UPDATE copy.last_order SET qty = :qty WHERE name = :customer",
        there={"name": TEXT, "qty": INTEGER}, key_binding={"customer": "name"},
    )  # fmt: skip
    ended = imported(call, export)
    (spec,) = specs(ended, "Reflection").values()
    assert spec["key"] == [{"source": "customer", "destination": "name"}]
    assert {"source": "customer", "destination": "name"} in spec["columns"]
    assert any("needs an index on customer at the source" in line for line in remarks(ended, "reflections/1"))


def test_what_cannot_be_columns_stays_a_statement_and_says_why(call, export):
    export.server(1, "shop")
    export.server(2, "copy")
    export.table(4, 1, "public.orders")
    export.reflection(
        1, 4, 2, "sums", "UPDATE sums SET total = total + :qty WHERE number = :id;",
        there={"number": INTEGER, "total": INTEGER}, key_binding={"id": "number"},
    )  # fmt: skip
    ended = imported(call, export)
    (spec,) = specs(ended, "Reflection").values()
    assert spec["statement"] == "UPDATE sums SET total = total + :qty WHERE number = :number"
    assert spec["columns"] == [{"source": "id", "destination": "number"}, {"source": "qty"}]
    assert specs(ended, "Database")["copy"]["allow"] == {"statements": True}
    assert "allow" not in specs(ended, "Database")["shop"]
    told = "\n".join(remarks(ended, "reflections/1"))
    assert "stays a statement, run row by row: what it sets total to reads columns of the destination" in told
    assert "make it an upsert" in told
    assert "qty is not there; rename the parameter" in told


def test_of_several_reflections_in_one_table_one_inserts_and_the_others_wait(call, export):
    export.server(1, "shop")
    export.table(4, 1, "public.orders")
    export.table(5, 1, "public.points")
    export.reflection(2, 4, 1, "copy.people", ignore_delete_events=False)
    export.reflection(
        3, 5, 1, "copy.people", columns={"id": INTEGER, "points": INTEGER}, ignore_delete_events=False
    )  # fmt: skip
    ended = imported(call, export)
    first, second = specs(ended, "Reflection").values()
    assert "missingRow" not in first
    assert (second["missingRow"], second["onDelete"]) == ("Wait", "SetNull")
    assert any("shares its table with orders-to-shop" in line for line in remarks(ended, "reflections/3"))


def test_what_cannot_run_yet_is_said(call, export):
    export.server(1, "erp", 1)
    export.database(2, "nowhere", 0, dbname="shop", user="me", password="hunter2", host="")
    ended = imported(call, export)
    assert any("cannot run as it is: spec.host: missing" in line for line in remarks(ended, "databases/nowhere"))


def test_the_same_export_gives_the_same_manifests(call, export):
    export.server(2, "b")
    export.server(1, "a")
    export.table(10, 1, "public.orders")
    export.table(9, 2, "public.orders")
    assert imported(call, export).out == call(export.root.parent).out


@pytest.mark.parametrize(
    ("place", "content", "said"),
    [
        ("databases/shop/config.json", "{", "databases/shop/config.json: Invalid JSON"),
        (
            "databases/shop/meta.json",
            '{"source": 7, "pk": 1}',
            "databases/shop/meta.json: source: Input should be less",
        ),
        ("source_tables/4/meta.json", '{"database": 9, "table": "t"}', "meta.json: database: there is no 9 in this"),
        ("reflections/1/meta.json", "{}", "reflections/1/meta.json: destination_table: Field required"),
    ],
)
def test_what_is_wrong_with_an_export_is_said_with_its_file(call, export, place, content, said):
    export.server(1, "shop")
    export.table(4, 1, "public.orders")
    export.reflection(1, 4, 1, "copy.orders")
    (export.root / place).write_text(content)
    ended = imported(call, export, status=2)
    assert said in ended.err
    assert ended.out == ""


def test_a_folder_that_is_no_export_is_refused(call, tmp_path):
    ended = call(tmp_path, status=2)
    assert "expected the folder that PDR's export wrote" in ended.err


# Statements, without the command.


def understood(statement, source="postgresql", destination="postgresql"):
    asked = statements.Asked(
        statement, ("", "sales"), ("id", "a", "Name"), ("id", "a", "Name", "total"), source, destination
    )
    return statements.understand(asked)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("update sales set a = :a", "it has no WHERE"),
        ("update other set a = :a where id = :id", "it does not update sales"),
        ("update sales set a = :a where id > :id", "its WHERE is more than columns that equal parameters"),
        ("update sales set a = :a where id = :id or id = :a", "its WHERE is more"),
        ("update sales set a = :b where id = :id", "its parameter :b is no column of the source"),
        ("update sales set a = (select 1) where id = :id", "it has a subquery"),
        ("update sales set a = :a from t where id = :id", "it has more than SET and WHERE (from)"),
        ("update sales set a = :a where id = :id; delete from sales", "it is 2 statements"),
        ("update sales set a = random() where id = :id", "what it sets a to cannot be computed by the source"),
        ("update sales set id = :a where id = :id", "it sets id to something else than it finds the row by"),
        ("insert into sales (id) values (:id)", "it is no UPDATE"),
        ("select book(:id)", "it is no UPDATE"),
        ("nonsense (", "it is no UPDATE"),
    ],
)
def test_a_statement_that_does_more_than_columns_can_is_not_understood(statement, why):
    with pytest.raises(NotUnderstoodError) as caught:
        understood(statement)
    assert why in str(caught.value)


def test_an_expression_moves_from_the_destination_s_sql_to_the_source_s():
    statement = "update sales set total = concat(:a, :Name) where id = :id"
    (_, total) = understood(statement, "sqlite", "mariadb").columns
    assert total.expression == 'a || "Name"'


def test_names_in_double_quotes_are_names_where_they_stand_for_columns():
    assert understood('update "sales" set "a" = :a where "id" = :id', "postgresql", "mariadb").key == {"id": "id"}
