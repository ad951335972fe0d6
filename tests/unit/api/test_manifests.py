"""A set of files: what is in it finds each other, and all that is wrong with it is said, one line each."""

from __future__ import annotations

import base64
import io
import os
import pathlib
import textwrap

import pytest
import yaml

from pantograph import errors
from pantograph.api import manifests
from pantograph.api.manifests import Manifests
from pantograph.api.secrets import Credentials, TlsFiles

API = "apiVersion: pantograph.dev/v1alpha1\n"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {username: me, password: hunter2}\n"
SHOP = API + (
    "kind: Database\nmetadata: {name: shop}\n"
    "spec: {dialect: postgresql, host: shop-db, database: shop, credentials: {secretName: login}}\n"
)
WAREHOUSE = SHOP.replace("name: shop}", "name: warehouse}").replace("postgresql", "mariadb")
ORDERS = API + (
    "kind: SourceTable\nmetadata: {name: orders}\nspec: {databaseRef: {name: shop}, schema: public, table: orders}\n"
)
LIVE = API + (
    "kind: Reflection\nmetadata: {name: orders-to-warehouse}\n"
    "spec:\n  sourceTableRef: {name: orders}\n"
    "  destination: {databaseRef: {name: warehouse}, schema: sales, table: orders}\n"
)
GOOD = (SECRET, SHOP, WAREHOUSE, ORDERS, LIVE)


def together(*documents: str) -> str:
    return "---\n".join(textwrap.dedent(document) for document in documents)


def load(*documents: str) -> Manifests:
    return manifests.from_text(together(*documents), "shop.yaml")


def wrong(*documents: str) -> list[str]:
    with pytest.raises(errors.SpecErrors) as caught:
        load(*documents)
    text = str(caught.value)
    assert "hunter2" not in text
    assert len(caught.value.errors) == len(text.splitlines())
    return text.splitlines()


def test_what_is_in_the_files_finds_each_other() -> None:
    found = load(*GOOD)
    (reflection,) = found.reflections.values()
    source = found.source_of(reflection)
    assert source.qualified_table == "public.orders"
    assert found.database_of(source).name == "shop"
    assert found.source_database_of(reflection).name == "shop"
    assert found.destination_of(reflection).name == "warehouse"
    assert found.source_tables_of(found.database_of(source)) == (source,)
    assert found.reflections_of(source) == (reflection,)
    assert reflection.stream_id == ("warehouse", "default")
    assert str(found.origin(reflection).error("m", "spec")) == (
        "shop.yaml: document 5 (Reflection orders-to-warehouse): spec: m"
    )


def test_the_order_of_documents_does_not_matter() -> None:
    assert load(*reversed(GOOD)) == load(*reversed(GOOD))
    assert load(*reversed(GOOD)).databases == load(*GOOD).databases


def test_a_list_is_its_items() -> None:
    items = "".join(f"- {document.replace(chr(10), chr(10) + '  ').strip()}\n" for document in GOOD)
    found = load(f"apiVersion: v1\nkind: List\nmetadata: {{}}\nitems:\n{items}")
    assert found.reflections == load(*GOOD).reflections
    assert wrong(f"apiVersion: v1\nkind: List\nitems:\n{items.replace('table: orders', 'table: 5')}") == [
        "shop.yaml: document 1 (SourceTable orders): items[3].spec.table: found 5, expected a table name (string)",
        "shop.yaml: document 1 (Reflection orders-to-warehouse): items[4].spec.destination.table: found 5, expected a "
        "table name (string)",
    ]


def test_a_namespace_is_default_unless_named() -> None:
    assert load(*GOOD).databases.keys() == {("default", "shop"), ("default", "warehouse")}
    found = manifests.from_text(together(*GOOD), namespace="here")
    assert found.secrets.keys() == {("here", "login")}
    with_names = [document.replace("metadata: {", "metadata: {namespace: there, ") for document in GOOD]
    assert load(*with_names).source_tables.keys() == {("there", "orders")}


def test_what_is_written_is_read_as_the_same() -> None:
    found = load(*GOOD)
    text = manifests.to_yaml([*found.databases.values(), *found.source_tables.values(), *found.reflections.values()])
    again = load(SECRET, text)
    assert (again.databases, again.source_tables, again.reflections) == (
        found.databases,
        found.source_tables,
        found.reflections,
    )


def test_the_line_that_a_user_reads() -> None:
    assert wrong(*GOOD[:4], LIVE + "  columns: [{source: id}, {source: a}, {source: 5}]\n") == [
        "shop.yaml: document 5 (Reflection orders-to-warehouse): spec.columns[2].source: found 5, expected a column "
        "name (string)"
    ]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("5", "document 1: found a text, expected a manifest"),
        ("[a]", "document 1: found a list, expected a manifest"),
        ("a: 1", "document 1: kind: missing, expected Database, SourceTable, Reflection or Secret"),
        ("kind: 5", "document 1: kind: found something else, expected Database, SourceTable, Reflection or Secret"),
        (
            "kind: Reflecton",
            "document 1 (Reflecton): kind: found Reflecton, expected Database, SourceTable, Reflection or Secret "
            "(did you mean Reflection?)",
        ),
        (
            "kind: sourcetable\nmetadata: {name: x}",
            "document 1 (sourcetable x): kind: found sourcetable, expected Database, SourceTable, Reflection or Secret "
            "(did you mean SourceTable?)",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment",
            "document 1 (Deployment): kind: found Deployment, expected Database, SourceTable, Reflection or Secret",
        ),
        ("kind: Database", "document 1 (Database): apiVersion: missing, expected pantograph.dev/v1alpha1"),
        ("kind: Secret\napiVersion: [v1]", "document 1 (Secret): apiVersion: found something else, expected v1"),
        ("kind: Secret\napiVersion: v2", "document 1 (Secret): apiVersion: found v2, expected v1"),
        (
            "kind: Database\napiVersion: pantograph.dev/v1",
            "document 1 (Database): apiVersion: found pantograph.dev/v1, expected pantograph.dev/v1alpha1 "
            "(this Pantograph knows no other version)",
        ),
        ("kind: List\nitems: 5", "document 1 (List): items: found something else, expected a list"),
        ("kind: List\nitems: [5]", "document 1: items[0]: found a text, expected a manifest"),
        (API + "kind: Database", "document 1 (Database): metadata: missing, expected a mapping with name"),
        ("a: 1\na: 2", "document 1: line 2, column 1: the key a stands twice"),
        ("a: [", "line 1, column 5: expected the node content, but found '<stream end>'"),
    ],
)
def test_what_is_no_manifest_of_ours(document: str, said: str) -> None:
    found = wrong(document)
    assert found[0] == f"shop.yaml: {said}"


def test_what_an_api_server_fills_in_asks_for_no_more_than_was_asked_for():
    usual = "usernameKey: username, passwordKey: password, hostKey: host, portKey: port, databaseKey: database"
    found = manifests.from_text("---\n".join((SECRET, SHOP.replace("login}", f"login, {usual}}}"))))
    (shop,) = found.databases.values()
    assert shop.spec.credentials.port_key == "port"
    assert found.problems() == []
    assert found.credentials_of(shop).port is None


REFERENCES = [
    (
        (SECRET, SHOP, WAREHOUSE, ORDERS, LIVE.replace("{name: orders}", "{name: order}")),
        "document 5 (Reflection orders-to-warehouse): spec.sourceTableRef.name: there is no SourceTable order in "
        "namespace default (did you mean orders?)",
    ),
    (
        (SECRET, SHOP, ORDERS, LIVE),
        "document 4 (Reflection orders-to-warehouse): spec.destination.databaseRef.name: there is no Database "
        "warehouse in namespace default",
    ),
    (
        (SECRET, WAREHOUSE, ORDERS),
        "document 3 (SourceTable orders): spec.databaseRef.name: there is no Database shop in namespace default",
    ),
    (
        (SHOP,),
        "document 1 (Database shop): spec.credentials.secretName: there is no Secret login in namespace default",
    ),
    (
        (SECRET, SHOP, ORDERS.replace("{name: orders}", "{name: orders, namespace: x}")),
        "document 3 (SourceTable orders): spec.databaseRef.name: there is no Database shop in namespace x (there is "
        "one in namespace default; references stay within a namespace)",
    ),
    (
        (SECRET, SHOP.replace("database: shop", "database: shop, tls: {caSecretName: shop-ca}")),
        "document 2 (Database shop): spec.tls.caSecretName: there is no Secret shop-ca in namespace default",
    ),
    (
        (SECRET, SHOP.replace("database: shop", "database: shop, tls: {caSecretName: login}")),
        "document 2 (Database shop): spec.tls.caSecretName: no ca.crt in Secret login; there are password, username",
    ),
    (
        (SECRET, SHOP.replace("secretName: login", "secretName: login, passwordKey: pass")),
        "document 2 (Database shop): spec.credentials.passwordKey: no text pass in Secret login; there are password, "
        "username",
    ),
    (
        (SECRET, SHOP.replace("secretName: login", "secretName: login, portKey: door")),
        "document 2 (Database shop): spec.credentials.portKey: no text door in Secret login; there are password, "
        "username",
    ),
    (
        (SECRET.replace("{username", "{port: hunter2, username"), SHOP),
        "document 2 (Database shop): spec.credentials.portKey: port in Secret login is no port",
    ),
    (
        (SECRET, SHOP.replace("host: shop-db, ", "")),
        "document 2 (Database shop): spec.host: missing; give it here, or as host in Secret login (there are password, "
        "username)",
    ),
    (
        (SECRET, SHOP, SHOP),
        "document 3 (Database shop): there is another Database of this name in namespace default (shop.yaml: document "
        "2)",
    ),
    (
        (SECRET, SHOP, ORDERS, ORDERS.replace("{name: orders}", "{name: again}")),
        "document 4 (SourceTable again): spec.table: public.orders of Database shop is SourceTable orders already",
    ),
    (
        (SECRET, SHOP, ORDERS, LIVE.replace("warehouse}, schema: sales", "shop}, schema: public")),
        "document 4 (Reflection orders-to-warehouse): spec.destination.table: the table is its own source",
    ),
]


@pytest.mark.parametrize(("documents", "said"), REFERENCES, ids=[said.split(": ", 1)[1][:70] for _, said in REFERENCES])
def test_what_is_wrong_between_objects(documents: tuple[str, ...], said: str) -> None:
    assert wrong(*documents) == [f"shop.yaml: {said}"]


def test_a_reference_to_an_object_that_could_not_be_read_is_no_error_of_its_own() -> None:
    assert wrong(
        SECRET.replace("stringData", "stringdata"), SHOP.replace("postgresql", "oracle"), WAREHOUSE, ORDERS, LIVE
    ) == [
        "shop.yaml: document 1 (Secret login): stringdata: no such field (did you mean stringData?)",
        'shop.yaml: document 2 (Database shop): spec.dialect: found "oracle", expected one of postgresql, mysql, '
        "mariadb, mssql, sqlite, firebird",
    ]


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = wrong(
        "- a\n",
        SHOP.replace("postgresql", "5"),
        "kind: Nonsense\n",
        LIVE.replace("orders}", "nothing}").replace("schema: sales", "schema: 5"),
        ORDERS.replace("shop", "nowhere"),
    )
    assert [line.split(": ")[1][:12] for line in found] == [
        "document 1",
        "document 2 (",
        "document 3 (",
        "document 4 (",
        "document 5 (",
    ]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("dialect: sqlite", "spec.path: missing; a sqlite Database is a file and needs its path"),
        (
            "dialect: sqlite, path: a, host: b",
            "spec.host: a sqlite Database is a file: give path, and leave host out",
        ),
        (
            "dialect: postgresql, path: a",
            "spec.path: only sqlite and firebird Databases are files: give host, port and database in place of path",
        ),
        (
            "dialect: firebird, path: a, host: b",
            "spec.path: a firebird Database is either a file (path) or on a server (host, port and database), not both",
        ),
        (
            "dialect: mariadb, host: b",
            "spec.credentials: missing; a Database on a server needs credentials: {secretName: …}",
        ),
        (
            "dialect: mariadb, host: b, credentials: {secretName: login}, options: {password: hunter2}",
            "spec.options: a password does not belong into options: put it into the Secret that credentials.secretName "
            "names",
        ),
        (
            "dialect: mariadb, host: b, credentials: {secretName: login}, tls: {mode: disable, caSecretName: login}",
            "spec.tls.caSecretName: mode disable uses no certificate: leave caSecretName out, or choose another mode",
        ),
        *(
            (
                f"{where}, reflector: {{wakeUp: Notify}}",
                "spec.reflector.wakeUp: found Notify, but only PostgreSQL and a Firebird server tell who listens: "
                "say Poll",
            )
            for where in (
                "dialect: mysql, host: b, credentials: {secretName: login}",
                "dialect: mariadb, host: b, credentials: {secretName: login}",
                "dialect: mssql, host: b, credentials: {secretName: login}",
                "dialect: sqlite, path: a",
                "dialect: firebird, path: a",
            )
        ),
    ],
)
def test_what_a_dialect_needs(spec: str, said: str) -> None:
    found = wrong(SECRET, API + f"kind: Database\nmetadata: {{name: shop}}\nspec: {{{spec}}}\n")
    assert f"shop.yaml: document 2 (Database shop): {said}" in found


@pytest.mark.parametrize("name", ["a.b", "a" * 64])
def test_the_name_of_a_database_is_a_label(name: str) -> None:
    (line,) = wrong(SECRET, SHOP.replace("name: shop}", f"name: {name}}}"))
    assert ": metadata.name: a Database's name is a label of its reflector" in line


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("columns: [{}]", "spec.columns[0]: give exactly one of source, expression, value and system"),
        ("columns: [{source: a, value: b}]", "spec.columns[0]: give exactly one of"),
        ("columns: [{value: b}]", "spec.columns[0].destination: missing; only a column with a source can go without"),
        (
            "columns: [{source: a, type: b}]",
            "spec.columns[0].type: only a column with an expression or a value has a type",
        ),
        ("columns: [{source: a}, {source: b, destination: a}]", "spec.columns: two columns have the same destination"),
        ("columns: [{source: a}]\n  exclude: [b]", "spec.exclude: exclude is for when no columns are given"),
        ("exclude: [b, b]", "spec.exclude: a column is named twice"),
        ("key: [{}]", "spec.key[0]: give source, destination or both"),
        ("key: [{source: a}, {source: a, destination: b}]", "spec.key: two columns have the same source"),
        ("key: [{source: a}, {source: b, destination: a}]", "spec.key: two columns have the same destination"),
        (
            "key: [{source: a}]\n  columns: [{source: b}]",
            "spec.key: every column of the key must be the destination of one of columns",
        ),
        ("onDelete: Mark", "spec.softDelete: missing; onDelete Mark needs softDelete: {column: …}"),
        ("softDelete: {column: a}", "spec.softDelete: softDelete is for onDelete Mark"),
    ],
)
def test_rules_across_the_fields_of_a_reflection(spec: str, said: str) -> None:
    (line,) = wrong(*GOOD[:4], LIVE + f"  {spec}\n")
    assert line.startswith(f"shop.yaml: document 5 (Reflection orders-to-warehouse): {said}")


def test_a_database_says_whose_sql_it_runs() -> None:
    shop = SHOP.replace("database: shop,", "database: shop, allow: {expressions: false, statements: true},")
    sql = "  where: a > 1\n  columns: [{source: id}, {expression: 1 + 1, destination: a}]\n  statement: select 1\n"
    assert wrong(SECRET, shop, WAREHOUSE, ORDERS, LIVE + sql) == [
        f"shop.yaml: document 5 (Reflection orders-to-warehouse): {path}: Database {name} runs no {what} of others: "
        f"its spec.allow.{what} is false"
        for path, name, what in (
            ("spec.where", "shop", "expressions"),
            ("spec.columns[1].expression", "shop", "expressions"),
            ("spec.statement", "warehouse", "statements"),
        )
    ]


def test_key_columns_are_named_once() -> None:
    (line,) = wrong(SECRET, SHOP, ORDERS.replace("table: orders", "table: orders, keyColumns: [a, a]"))
    assert line.endswith("spec.keyColumns: a column is named twice")


@pytest.mark.parametrize(("text", "count"), [("'1500'", 1500), ("'0'", 0)])
def test_deletes_that_a_person_allows(text: str, count: int) -> None:
    annotated = LIVE.replace("warehouse}\n", f"warehouse, annotations: {{pantograph.dev/allow-deletes: {text}}}}}\n", 1)
    (reflection,) = load(*GOOD[:4], annotated).reflections.values()
    assert reflection.allowed_deletes == count


@pytest.mark.parametrize("text", ["all", "'-5'", "''", "'1_000'", "'٣'"])
def test_a_count_of_deletes_that_is_none(text: str) -> None:
    annotated = LIVE.replace("warehouse}\n", f"warehouse, annotations: {{pantograph.dev/allow-deletes: {text}}}}}\n", 1)
    (line,) = wrong(*GOOD[:4], annotated)
    assert 'metadata.annotations: expected a number of rows in quotes in pantograph.dev/allow-deletes: "1500"' in line


def test_without_the_annotation_nothing_is_allowed() -> None:
    (reflection,) = load(*GOOD).reflections.values()
    assert reflection.allowed_deletes == 0


# Secrets.


def secret(**values: str) -> str:
    data = "".join(f"  {key}: {base64.b64encode(value.encode()).decode()}\n" for key, value in values.items())
    return f"apiVersion: v1\nkind: Secret\ntype: Opaque\nimmutable: true\nmetadata: {{name: login}}\ndata:\n{data}"


def test_credentials_come_from_the_secret_where_the_spec_leaves_them_open() -> None:
    bare = API + "kind: Database\nmetadata: {name: shop}\nspec: {dialect: mariadb, credentials: {secretName: login}}\n"
    found = load(secret(username="me", password="hunter2\n", host="h", port="3307", database="d"), bare)
    login = found.credentials_of(found.databases["default", "shop"])
    assert (login.username, login.password, login.host, login.port, login.database) == ("me", "hunter2", "h", 3307, "d")


def test_the_spec_wins_over_the_secret() -> None:
    found = load(
        secret(user="me", pw="hunter2", host="h", port="3307", database="d"),
        SHOP.replace("{secretName: login", "{secretName: login, usernameKey: user, passwordKey: pw").replace(
            "host: shop-db", "host: shop-db, port: 5"
        ),
    )
    login = found.credentials_of(found.databases["default", "shop"])
    assert (login.username, login.host, login.port, login.database) == ("me", "shop-db", 5, "shop")


def test_a_file_needs_no_credentials() -> None:
    found = load(API + "kind: Database\nmetadata: {name: f}\nspec: {dialect: sqlite, path: shop.db}\n")
    database = found.databases["default", "f"]
    assert found.credentials_of(database) == Credentials()
    assert found.tls_of(database) == TlsFiles()


def test_certificates_come_from_secrets() -> None:
    keys = "{ca.crt: CA, tls.crt: CRT, tls.key: hunter2}"
    pem = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: pem}}\nstringData: {keys}\n"
    with_tls = SHOP.replace("database: shop", "database: shop, tls: {caSecretName: pem, clientSecretName: pem}")
    found = load(SECRET, pem, with_tls)
    tls = found.tls_of(found.databases["default", "shop"])
    assert (tls.authorities, tls.certificate, tls.private_key) == (b"CA", b"CRT", b"hunter2")
    assert "hunter2" not in repr(tls)


def test_string_data_wins_over_data() -> None:
    found = load(secret(username="me", password="other") + "stringData: {password: hunter2}\n", SHOP)
    assert found.credentials_of(found.databases["default", "shop"]).password == "hunter2"


def test_nothing_shows_a_secret() -> None:
    found = load(*GOOD)
    login = found.credentials_of(found.databases["default", "shop"])
    for shown in (repr(found), str(found), repr(login), str(login), repr(found.secrets), f"{login!r}"):
        assert "hunter2" not in shown
        assert base64.b64encode(b"hunter2").decode() not in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {password: hunter2!}", "data.password: expected base64"),
        ("data: {password: 5}", "data.password: expected base64"),
        ("data: {password: hunter2ä}", "data.password: expected base64"),
        ("stringData: {password: 5}", "stringData.password: expected a text in quotes"),
        ("stringData: {password: [hunter2]}", "stringData.password: expected a text in quotes"),
        ("data: hunter2", "data: found something else, expected a mapping"),
        ("stringdata: {password: hunter2}", "stringdata: no such field (did you mean stringData?)"),
        ("spec: hunter2", "spec: no such field"),
        ("metadata: {name: X_hunter}", "metadata.name: found"),
    ],
)
def test_a_wrong_secret_is_told_without_its_value(text: str, said: str) -> None:
    head = "" if "metadata" in text else "metadata: {name: login}\n"
    (line,) = wrong(f"apiVersion: v1\nkind: Secret\n{head}{text}\n")
    assert f": {said}" in line


def test_lookups_of_what_is_not_there_say_so() -> None:
    found = Manifests(load(SECRET, SHOP).databases)
    with pytest.raises(errors.SpecErrors, match="there is no Secret login in namespace default"):
        found.credentials_of(found.databases["default", "shop"])
    tables = load(SECRET, SHOP, ORDERS).source_tables
    with pytest.raises(
        errors.SpecError, match=r"SourceTable orders: spec\.databaseRef\.name: there is no Database shop"
    ):
        Manifests(source_tables=tables).database_of(tables["default", "orders"])


# Files.


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "b.yaml").write_text(SECRET)
    (tmp_path / "a.yml").write_text(SHOP)
    (tmp_path / "deep" / "er" / "w.yaml").write_text("\ufeff" + WAREHOUSE, encoding="utf-8")
    (tmp_path / "deep" / "t.json").write_text(
        '{"apiVersion": "pantograph.dev/v1alpha1", "kind": "SourceTable", "metadata": {"name": "orders"},'
        ' "spec": {"databaseRef": {"name": "shop"}, "table": "orders"}}'
    )
    (tmp_path / "README.md").write_text("# no manifest")
    (tmp_path / ".git" / "x.yaml").write_text("not: ours")
    (tmp_path / ".hidden.yaml").write_text("not: ours")
    return tmp_path


def test_folders_are_read_recursively_and_standard_input_by_its_dash(folder: pathlib.Path) -> None:
    found = manifests.load([folder, "-"], io.StringIO(LIVE))
    assert [len(objects) for objects in (found.databases, found.source_tables, found.reflections)] == [2, 1, 1]
    (reflection,) = found.reflections.values()
    assert found.origin(reflection).file == "standard input"
    assert found.origin(found.databases["default", "shop"]).file == str(folder / "a.yml")


def test_a_file_is_read_whatever_its_name(folder: pathlib.Path) -> None:
    (folder / "manifests.txt").write_text(SECRET)
    assert manifests.load([str(folder / "manifests.txt")]).secrets


def test_what_cannot_be_read_is_said_and_the_rest_read(folder: pathlib.Path) -> None:
    (folder / "latin.yaml").write_bytes(b"a: \xe4")
    (folder / "empty").mkdir()
    (folder / "broken.json").write_text("{")
    if os.geteuid() != 0:
        (folder / "b.yaml").chmod(0)
    found, wrong_ = manifests.read([folder, folder / "nowhere.yaml", folder / "empty", "-"])
    assert len(found.databases) == 2
    said = [str(error).removeprefix(f"{folder}/") for error in wrong_]
    assert "broken.json: line 1, column 2: Expecting property name enclosed in double quotes" in said
    assert "latin.yaml: cannot be read: it is not text in UTF-8" in said
    assert "nowhere.yaml: cannot be read: No such file or directory" in said
    assert "empty: no file in this folder ends in .yaml, .yml, .json" in said
    assert "-: there is no standard input to read" in said


def test_a_file_named_twice_is_read_once(folder: pathlib.Path) -> None:
    found = manifests.load([folder, folder / "a.yml", f"{folder}/./a.yml"])
    assert len(found.databases) == 2


def test_a_document_that_cannot_be_read_is_one_line_and_no_reference_to_it_another() -> None:
    broken = SHOP.replace("name: shop}", "name: shop]", 1)
    with pytest.raises(errors.SpecErrors) as caught:
        manifests.from_text(broken)
    assert len(caught.value.errors) == 1


@pytest.mark.parametrize("key", ["username", "password"])
def test_a_secret_with_a_zero_byte_is_told(key: str) -> None:
    documents = list(yaml.safe_load_all(SECRET + "---\n" + SHOP))
    documents[0]["stringData"][key] = "a\0b"
    with pytest.raises(errors.SpecErrors) as caught:
        manifests.from_text(yaml.safe_dump_all(documents))
    (line,) = [str(error) for error in caught.value.errors]
    assert f"spec.credentials.{key}Key: " in line
    assert line.endswith("has a zero byte")
