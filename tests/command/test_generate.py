"""`pantograph generate` writes manifests that run, the same ones in every run, and says what it left out."""

import pytest
import yaml

from tests.command.conftest import reflection, source_table, write

SHOP = [
    "create table basket (order_id integer not null references orders (id), line integer not null, "
    "product_id integer references products (id), primary key (order_id, line))",
    "create table customers (id integer primary key, name varchar(40))",
    "create table orders (id integer primary key, customer_id integer references customers (id), note varchar(40))",
    "create table products (id integer primary key, name varchar(40), parent_id integer references products (id))",
]


def databases(folder, source, destination):
    return write(folder, [*source.manifests(name="shop"), *destination.manifests("destination", name="copy")])


def generated(call, path, *arguments):
    made = call("generate", "-f", path, "--to", "copy", *arguments)
    assert made.returncode == 0, made.stderr
    return made, list(yaml.safe_load_all(made.stdout))


def names(documents, kind="SourceTable"):
    return [document["metadata"]["name"] for document in documents if document["kind"] == kind]


def make(database, statements):
    for statement in sorted(statements, key=lambda one: ("references" in one, one.startswith("create table basket"))):
        database.execute(statement)


@pytest.mark.parametrize(
    ("source", "destination"), [("pg_db", "my_db"), ("my_db", "sqlite_db"), ("sqlite_db", "pg_db"),
     pytest.param("mysql_db", "mysql_db", marks=pytest.mark.night)],
    ids=["postgresql", "mariadb", "sqlite", "mysql"],
)  # fmt: skip
def test_what_is_generated_mirrors_the_whole_database(call, request, tmp_path, source, destination):
    here, there = (request.getfixturevalue(one)() for one in (source, destination))
    make(here, SHOP)
    for number in (1, 2):
        here.execute(f"insert into customers values ({number}, 'name {number}')")
        here.execute(f"insert into products values ({number}, 'product', 1)")
        here.execute(f"insert into orders values ({number}, {number}, 'note')")
        here.execute(f"insert into basket values ({number}, 1, {number})")
    path = databases(tmp_path, here, there)
    made, documents = generated(call, path)
    assert names(documents) == ["customers", "orders", "products", "basket"]  # parents first
    assert made.stderr == "pantograph: 4 tables of shop into copy\n"
    (tmp_path / "tables.yaml").write_text(made.stdout)
    ended = call("run", "-f", path, "-f", tmp_path / "tables.yaml", "--once")
    assert ended.returncode == 0, ended.stderr
    for table in ("customers", "orders", "products", "basket"):
        assert len(there.execute(f"select * from {table}", role="superuser")) == 2
    # With the mirror there, and its tables at the destination, the same comes out.
    assert generated(call, path)[0].stdout == made.stdout
    nothing = call("generate", "-f", path, "-f", tmp_path / "tables.yaml", "--to", "copy")
    assert nothing.stdout == ""
    assert "left out" in nothing.stderr
    assert "the files have it already, as SourceTable orders" in nothing.stderr


def test_tables_are_chosen_by_patterns(call, tmp_path, pg_db):
    here, there = pg_db(), pg_db()
    for statement in (
        "create schema sales",
        "create table sales.orders (id int primary key)",
        "create table sales.order_items (id int primary key)",
        "create table sales.notes (id int primary key)",
        "create table orders (id int primary key)",
        "create table scratch (id int primary key)",
        f"grant usage on schema sales to {here.url()['username']}",
        f"grant select, trigger on all tables in schema sales to {here.url()['username']}",
    ):
        here.execute(statement, role="superuser")
    path = databases(tmp_path, here, there)
    assert names(generated(call, path)[1]) == ["orders", "scratch"]
    assert names(generated(call, path, "--tables", "sales.order*")[1]) == ["sales.order-items", "sales.orders"]
    everything = generated(call, path, "--tables", "*.*", "--exclude", "scratch", "--exclude", "*.notes")[1]
    assert names(everything) == ["orders", "sales.order-items", "sales.orders"]
    refused = call("generate", "-f", path, "--to", "copy", "--tables", "sale.*")
    assert refused.returncode == 2
    assert refused.stderr == (
        "pantograph: --tables: no table of Database shop matches 'sale.*'; there are tables in public, sales\n"
    )
    to_one = generated(call, path, "--tables", "sales.*", "--to-schema", "copy", "--prefix", "s-")[1]
    assert {one["spec"]["destination"]["schema"] for one in to_one if one["kind"] == "Reflection"} == {"copy"}
    assert names(to_one) == ["s-sales.notes", "s-sales.order-items", "s-sales.orders"]


def test_schemas_go_into_the_table_names_of_an_engine_without_schemas(call, tmp_path, pg_db, sqlite_db):
    here, there = pg_db(), sqlite_db()
    here.execute("create schema sales", role="superuser")
    here.execute("create table sales.orders (id int primary key)", role="superuser")
    here.execute("create table orders (id int primary key)")
    here.execute(f"grant usage on schema sales to {here.url()['username']}", role="superuser")
    here.execute(f"grant select, trigger on sales.orders to {here.url()['username']}", role="superuser")
    made, documents = generated(call, databases(tmp_path, here, there), "--tables", "*.*")
    tables = [one["spec"]["destination"]["table"] for one in documents if one["kind"] == "Reflection"]
    assert tables == ["orders", "sales_orders"]
    here.execute("create table sales_orders (id int primary key)")
    made, _ = generated(call, tmp_path / "manifests.yaml", "--tables", "*.*")
    assert "left out sales.orders: it would share the table sales_orders with public.sales_orders" in made.stderr


@pytest.mark.parametrize("engine", ["my_db", pytest.param("mysql_db", marks=pytest.mark.night)])
def test_tables_without_a_usable_key_are_left_out_and_it_is_said_what_would_do(
    call, request, tmp_path, sqlite_db, engine
):
    here, there = request.getfixturevalue(engine)(), sqlite_db()
    for statement in (
        "create table fine (id int primary key)",
        "create table tags (name varchar(20) not null unique)",
        "create table log (at datetime, line text)",
        "create table mails (address varchar(50) unique)",
        "create table prefixes (name varchar(200) not null, unique (name(10)))",
    ):
        here.execute(statement)
    made, documents = generated(call, databases(tmp_path, here, there))
    assert names(documents) == ["fine", "tags"]
    (tags,) = (one for one in documents if one["kind"] == "SourceTable" and one["metadata"]["name"] == "tags")
    assert tags["spec"]["keyColumns"] == ["name"]
    nothing = "nothing tells its rows apart: it has no primary key;"
    assert f"left out log: {nothing} give it a primary key" in made.stderr
    assert f"left out mails: {nothing} (address) is unique and would do, were it not null" in made.stderr
    assert f"left out prefixes: {nothing} give it a primary key" in made.stderr
    assert made.stderr.splitlines()[-1] == "pantograph: 2 tables of shop into copy, 3 left out"


def test_a_type_that_the_destination_cannot_hold_is_named(call, tmp_path, pg_db, my_db):
    here, there = pg_db(), my_db()
    here.execute("create table spots (id int primary key, at point)")
    here.execute("create table fine (id int primary key)")
    made, documents = generated(call, databases(tmp_path, here, there))
    assert names(documents) == ["fine"]
    assert "left out public.spots: " in made.stderr
    assert "column at" in made.stderr


def test_names_of_objects_are_valid_and_unique_whatever_the_tables_are_called(call, tmp_path, pg_db):
    here, there = pg_db(), pg_db()
    awkward = ["Orders", "orders", "order lines", "order_lines", "ünïcödé", '50%"', "x" * 63, "-", "a.b"]
    for table in awkward:
        quoted = table.replace('"', '""')
        here.execute(f'create table "{quoted}" (id int primary key)')
    path = databases(tmp_path, here, there)
    made, documents = generated(call, path)
    found = names(documents)
    assert len(set(found)) == len(awkward)
    assert {"orders", "order-lines"} <= set(found)
    (tmp_path / "tables.yaml").write_text(made.stdout)
    planned = call("plan", "-f", path, "-f", tmp_path / "tables.yaml")
    assert planned.returncode == 3, planned.stderr


def test_rows_that_are_there_already_are_named(call, tmp_path, sqlite_db):
    here, there = sqlite_db("a"), sqlite_db("b")
    for database in (here, there):
        database.execute("create table orders (id integer primary key)")
    there.execute("insert into orders values (1)")
    made, documents = generated(call, databases(tmp_path, here, there))
    assert names(documents) == ["orders"]
    assert "orders: orders in " in made.stderr
    assert "existing: Replace" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "warehouse"), "--to: there is no Database warehouse in the files; there are: copy, other, shop"),
        (("--to", "copy"), "--from: the files have several Databases (copy, other, shop); name the one"),
        (("--to", "copy", "--from", "shp"), "--from: there is no Database shp"),
        (("--to", "copy", "--from", "shop", "--to-schema", "x"), "--to-schema: sqlite has no schemas"),
    ],
)
def test_a_wrong_call_is_refused(call, tmp_path, sqlite_db, arguments, words):
    here, there, other = sqlite_db("a"), sqlite_db("b"), sqlite_db("c")
    here.execute("create table orders (id integer primary key)")
    path = write(
        tmp_path,
        [*here.manifests(name="shop"), *there.manifests(name="copy"), *other.manifests(name="other")],
    )
    refused = call("generate", "-f", path, *arguments)
    assert refused.returncode == 2
    assert words in refused.stderr


def test_a_name_that_the_files_have_is_not_used_again(call, tmp_path, sqlite_db):
    here, there = sqlite_db("a"), sqlite_db("b")
    here.execute("create table orders (id integer primary key)")
    here.execute("create table items (id integer primary key)")
    path = write(
        tmp_path,
        [
            *here.manifests(name="shop"), *there.manifests("destination", name="copy"),
            {**source_table("orders"), "metadata": {"name": "items"}, "spec": {**source_table("orders")["spec"]}},
            {**reflection("items"), "spec": {**reflection("items")["spec"]}},
        ],
    )  # fmt: skip
    made = call("generate", "-f", path, "--to", "copy")
    assert made.stdout == ""
    assert "left out items: the files have another object named items; say --prefix" in made.stderr
    assert "left out orders: the files have it already, as SourceTable items" in made.stderr
