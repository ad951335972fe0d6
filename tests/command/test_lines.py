"""What goes wrong is told in one line that says where, what and what to do, and never in a traceback."""

import pytest
import yaml

from tests.command.conftest import reflection, source_table, write


def complaints(ended):
    """The lines of complaint; nothing else of a failure may look like Python's own."""
    assert "Traceback" not in ended.stderr + ended.stdout
    return [line.removeprefix("pantograph: ") for line in ended.stderr.splitlines() if line.startswith("pantograph: ")]


def databases(pg_db, **changed):
    """Manifests of two databases on PostgreSQL, with `orders` in the first."""
    source, destination = pg_db(), pg_db()
    source.execute("create table orders (id integer primary key, quantity integer)")
    return source, [
        *source.manifests(name="shop", **changed),
        *destination.manifests("destination", name="copy"),
        source_table("orders"),
        reflection("orders"),
    ]


# Manifests.


@pytest.mark.parametrize("command", ["run", "plan", "status", "verify", "remove"])
def test_an_unknown_field_is_named_with_its_place_and_the_nearest_one(call, shop, command):
    shop.documents[2]["spec"]["tabel"] = "orders"
    ended = call(command, "-f", write(shop.folder, shop.documents))
    assert ended.returncode == 2
    (line,) = complaints(ended)
    assert line.startswith(f"{shop.manifests}: document 3 (SourceTable orders): spec.tabel: ")
    assert "table" in line.partition("spec.tabel")[2]


def test_everything_that_is_wrong_is_told_at_once(call, shop):
    shop.documents[2]["spec"]["databaseRef"]["name"] = "shp"
    shop.documents[4]["spec"]["destination"]["table"] = 7
    ended = call("run", "-f", write(shop.folder, shop.documents))
    assert ended.returncode == 2
    lines = complaints(ended)
    assert len(lines) == 2
    assert any("spec.databaseRef.name: there is no Database shp" in line for line in lines)
    assert any("spec.destination.table" in line for line in lines)


def test_a_file_that_is_not_there(call):
    ended = call("run", "-f", "nowhere.yaml")
    assert (ended.returncode, complaints(ended)) == (2, ["nowhere.yaml: cannot be read: No such file or directory"])


def test_manifests_without_a_source_table(call, shop):
    ended = call("run", "-f", write(shop.folder, shop.documents[:2]))
    assert ended.returncode == 2
    assert complaints(ended) == [f"there is no SourceTable in {shop.manifests}, so there is nothing to mirror"]


@pytest.mark.parametrize("command", ["run", "plan", "status"])
def test_the_path_of_a_source_is_mistyped(call, shop, command):
    shop.documents[0]["spec"]["path"] = "shopp.db"
    ended = call(command, "-f", write(shop.folder, shop.documents))
    assert ended.returncode == 2
    (line,) = complaints(ended)
    assert "(Database shop): spec.path: there is no file shopp.db (looked for in " in line
    assert not (shop.folder / "shopp.db").exists()


# The call.


def test_no_command_and_a_mistyped_one(call):
    assert "Usage: pantograph" in call().stdout + call().stderr
    ended = call("rnu")
    assert ended.returncode == 2
    assert "No such command 'rnu'" in ended.stderr


def test_a_command_without_its_manifests(call):
    ended = call("run")
    assert ended.returncode == 2
    assert "--file" in ended.stderr


def test_the_port_of_the_metrics_is_taken(call, shop):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = call("run", "-f", shop.manifests, "--metrics-port", port)
    assert ended.returncode == 1
    assert complaints(ended) == [
        f"/metrics cannot listen on 127.0.0.1:{port}: Address already in use; choose another --metrics-port"
    ]


# Databases.


def test_a_table_without_a_key(call, shop):
    shop.source.execute("drop table orders")
    shop.source.execute("create table orders (id integer, quantity integer)")
    ended = call("run", "-f", shop.manifests, "--once")
    assert ended.returncode == 1
    (line,) = complaints(ended)
    assert line.startswith("orders: ")
    assert "key" in line


def test_a_condition_that_the_source_does_not_understand(call, shop):
    ended = call(
        "run", "-f", write(shop.folder, [*shop.documents[:-1], reflection("customers", where="nmae = 'x'")]), "--once"
    )
    assert ended.returncode == 1
    (line,) = complaints(ended)
    assert line.startswith("customers: ")
    assert "nmae" in line


def test_a_wrong_password(call, pg_db, tmp_path):
    _, documents = databases(pg_db)
    documents[1]["stringData"]["password"] = "quite wrong"
    for command in (("run", "--once"), ("plan",)):
        ended = call(*command, "-f", write(tmp_path, documents))
        assert ended.returncode == 1
        (line,) = complaints(ended)
        assert "password" in line
        assert "127.0.0.1" in line
        assert "quite wrong" not in ended.stderr + ended.stdout


def test_a_closed_port(call, pg_db, tmp_path, closed_port):
    _, documents = databases(pg_db)
    documents[0]["spec"]["port"] = closed_port
    for command in (("run", "--once", "--wait", "1"), ("plan",)):
        ended = call(*command, "-f", write(tmp_path, documents))
        assert ended.returncode == 4, ended.stderr
        (line,) = complaints(ended)
        assert f"127.0.0.1:{closed_port}" in line


def test_a_database_that_is_not_there(call, pg_db, tmp_path):
    _, documents = databases(pg_db)
    documents[0]["spec"]["database"] = "shpo"
    ended = call("plan", "-f", write(tmp_path, documents))
    assert ended.returncode in (1, 4)
    (line,) = complaints(ended)
    assert "shpo" in line


def test_a_grant_that_is_missing(call, pg_db, tmp_path):
    source, documents = databases(pg_db)
    role = documents[1]["stringData"]["username"]
    source.execute(f'revoke trigger on orders from "{role}"', role="superuser")
    ended = call("run", "--once", "-f", write(tmp_path, documents))
    assert ended.returncode == 1
    (line,) = complaints(ended)
    assert "permission denied" in line
    assert "orders" in line


def test_no_secret_is_in_any_answer(call, pg_db, tmp_path):
    _, documents = databases(pg_db)
    path = write(tmp_path, documents)
    said = ""
    for command in (
        ("plan",),
        ("run", "--once"),
        ("status", "-o", "wide"),
        ("status", "-o", "yaml"),
        ("remove", "--yes"),
    ):
        ended = call(*command, "-f", path)
        said += ended.stdout + ended.stderr
    passwords = [
        one["stringData"]["password"] for one in yaml.safe_load_all(path.read_text()) if one["kind"] == "Secret"
    ]
    assert len(passwords) == 2
    assert [word for word in passwords if word in said] == []
