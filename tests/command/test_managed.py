"""What a managed MySQL or MariaDB does not let us do is named by `plan`, before anything is there."""

import pytest

from tests.command.conftest import reflection, source_table, write
from tests.servers import MariaDB, MySQL

KINDS = {"mariadb": MariaDB, "mysql": MySQL}


@pytest.fixture(params=["mariadb", pytest.param("mysql", marks=pytest.mark.night)])
def managed(request, tmp_path, sqlite_db):
    """A database on a server with a binary log, a superuser's way to say something there, and the manifests."""
    if request.param == "mysql":
        request.getfixturevalue("mysql_server")  # skips where there is none
    with KINDS[request.param].start(options={"log-bin": "binlog"}) as server:
        here, there = server.make_database("shop"), sqlite_db("copy")
        here.execute("create table orders (id integer primary key)")
        ends = [*here.manifests(name="shop"), *there.manifests("destination", name="copy")]
        path = write(tmp_path, [*ends, source_table("orders"), reflection("orders")])

        def said(sql):
            return here.execute(sql.format(role=f"'{here.url('source')['username']}'@'%'"), role="superuser")

        yield here, said, path
        here.close()


def nothing_is_there(said):
    return said("show triggers from shop") == [] and said("show databases like 'pantograph\\_shop'") == []


def test_the_right_to_make_triggers_beside_a_binary_log(call, managed):
    here, said, path = managed
    assert "SUPER" not in "".join(map(str, said("show grants for {role}")))
    planned = call("plan", "-f", path)
    assert planned.returncode == 1, planned.stdout
    assert "set global log_bin_trust_function_creators = 1;" in planned.stdout
    assert call("run", "-f", path, "--once").returncode == 1
    assert said("show triggers from shop") == []
    said("set global log_bin_trust_function_creators = 1")
    planned = call("plan", "-f", path)
    assert planned.returncode == 3, planned.stdout
    assert "log_bin_trust" not in planned.stdout
    assert call("run", "-f", path, "--once").returncode == 0
    assert here.execute("show triggers from shop", role="superuser") != []


def test_a_password_that_expires_and_one_that_has(call, managed):
    _, said, path = managed
    said("set global log_bin_trust_function_creators = 1")
    assert "the password of" not in call("plan", "-f", path).stdout
    said("alter user {role} password expire interval 90 day")
    planned = call("plan", "-f", path)
    assert planned.returncode == 3
    assert "_source@% expires 90 days after it was set" in planned.stdout
    assert "password expire never" in planned.stdout
    said("alter user {role} password expire never")
    assert "the password of" not in call("plan", "-f", path).stdout
    said("alter user root@'%' password expire never")
    said("alter user {role} password expire default")
    said("set global default_password_lifetime = 30")
    assert "expires 30 days after" in call("plan", "-f", path).stdout
    said("alter user {role} password expire")
    planned = call("plan", "-f", path)
    assert planned.returncode == 1
    assert "the password has expired" in planned.stderr
    assert nothing_is_there(said)


def test_a_server_that_is_read_only(call, managed):
    _, said, path = managed
    said("set global log_bin_trust_function_creators = 1")
    said("set global read_only = 1")
    planned = call("plan", "-f", path)
    assert planned.returncode == 1
    assert "the server is read_only" in planned.stderr
    assert nothing_is_there(said)
