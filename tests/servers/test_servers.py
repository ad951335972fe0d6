"""The servers, and the grants page as the servers read it."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import psycopg2
import psycopg2.errors
import pymysql
import pytest

from tests.servers import Firebird, MariaDB, MySQL, PostgreSQL, base, debian, grants, processes

ROOT = pathlib.Path(__file__).parents[2]
AWKWARD = '50% of "it" isn\'t `select`; é'


def run(connection, *statements):
    with contextlib.closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


CAPTURE_POSTGRESQL = (
    "create schema pantograph",
    "create table pantograph.events (id bigserial primary key, k int)",
    "create function pantograph.capture() returns trigger language plpgsql security definer"
    " set search_path = pg_catalog"
    " as $$ begin insert into pantograph.events (k) select id from changed; return null; end $$",
    "revoke all on function pantograph.capture() from public",
    "create trigger pantograph after insert on orders referencing new table as changed"
    " for each statement execute function pantograph.capture()",
)


def test_postgresql_captures_with_the_source_grants_alone_and_takes_it_away_again(pg_db):
    shop = pg_db()
    app, source = shop.app(), shop.connect("source")
    run(app, "create table orders (id int primary key)")
    run(source, *CAPTURE_POSTGRESQL)
    run(app, "insert into orders values (1), (2)")
    assert run(source, "select k from pantograph.events order by id") == [(1,), (2,)]
    # No ownership of the table is needed to take the triggers away: they go with our function.
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(source, "drop trigger pantograph on orders")
    run(source, "drop function pantograph.capture() cascade", "drop schema pantograph cascade")
    assert run(shop.superuser(), "select tgname from pg_trigger where not tgisinternal") == []
    run(app, "insert into orders values (3)")


@pytest.mark.parametrize(
    "statement",
    [
        "select * from pantograph.events",
        "insert into pantograph.events (k) values (1)",
        "create table pantograph.mine (id int)",
        "drop function pantograph.capture() cascade",
        "drop schema pantograph cascade",
    ],
)
def test_on_postgresql_the_application_has_no_right_on_our_schema(pg_db, statement):
    shop = pg_db()
    run(shop.app(), "create table orders (id int primary key)")
    run(shop.connect("source"), *CAPTURE_POSTGRESQL)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(shop.app(), statement)


@pytest.mark.parametrize(
    "statement", ["insert into orders values (1)", "create table mine (id int)", "create temporary table t (id int)"]
)
def test_on_postgresql_the_source_role_writes_nothing_of_the_application(pg_db, statement):
    shop = pg_db()
    run(shop.app(), "create table orders (id int primary key)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(shop.connect("source"), statement)


def test_postgresql_merges_with_the_destination_grants_alone(pg_db):
    warehouse = pg_db()
    run(warehouse.app(), "create table orders (id int primary key, qty int)")
    destination = warehouse.connect("destination")
    run(
        destination,
        "create schema pantograph",
        "create table pantograph.checkpoints (id int primary key)",
        "create table public.items (id int primary key)",
        "alter table items add qty int",
        "create temporary table staged (like orders)",
        "insert into staged values (1, 2)",
        "insert into orders select * from staged on conflict (id) do update set qty = excluded.qty",
        "delete from orders where id = 1",
        "select * from orders for update",
    )
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(destination, "alter table orders add note text")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(destination, "truncate orders")


def test_postgresql_sets_sequences_with_the_optional_block(pg_db):
    shop = pg_db()
    run(shop.app(), "create table orders (id serial primary key)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(shop.connect("destination"), "select setval('orders_id_seq', 7)")
    shop.grant("sequences", "destination")
    assert run(shop.connect("destination"), "select setval('orders_id_seq', 7)") == [(7,)]


def test_postgresql_shows_others_queries_with_the_optional_block(pg_db):
    shop = pg_db()
    app, source = shop.app(), shop.connect("source")
    others = f"select query from pg_stat_activity where pid = {app.info.backend_pid}"
    assert run(source, others) == [("<insufficient privilege>",)]
    shop.grant("activity")
    assert run(shop.connect("source"), others) != [("<insufficient privilege>",)]


def _mariadb_capture(shop):
    return (
        f"create database {shop.ours}",
        f"create table {shop.ours}.events (id bigint auto_increment primary key, k int) engine = innodb",
        f"create trigger {shop.name}.pantograph after insert on {shop.name}.orders for each row"
        f" insert into {shop.ours}.events (k) values (new.id)",
    )


def test_mariadb_captures_with_the_source_grants_alone_and_takes_it_away_again(my_db):
    shop = my_db("web_shop")
    app, source = shop.app(), shop.connect("source")
    run(app, "create table orders (id int primary key) engine = innodb")
    run(source, *_mariadb_capture(shop))
    run(app, "insert into orders values (1), (2)")
    assert run(source, f"select k from {shop.ours}.events order by id") == [(1,), (2,)]
    run(source, "drop trigger pantograph", f"drop database {shop.ours}")
    run(app, "insert into orders values (3)")


@pytest.mark.parametrize("statement", ["select * from {}.events", "insert into {}.events (k) values (1)"])
def test_on_mariadb_the_application_has_no_right_on_our_database(my_db, statement):
    shop = my_db()
    run(shop.app(), "create table orders (id int primary key) engine = innodb")
    run(shop.connect("source"), *_mariadb_capture(shop))
    with pytest.raises(pymysql.err.OperationalError, match="command denied"):
        run(shop.app(), statement.format(shop.ours))


def test_a_mariadb_grant_is_for_one_database_and_not_for_those_with_a_similar_name(my_db):
    shop = my_db("web_shop")
    for near in ("pantographXweb_shop", "pantograph_webXshop"):
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            run(shop.connect("source"), f"create database {near}")


def test_mariadb_with_a_binary_log_lets_triggers_come_and_go_only_when_it_trusts():
    with MariaDB.start(options={"log-bin": "binlog"}) as server:
        shop = server.make_database("shop")
        app, source = shop.app(), shop.connect("source")
        run(app, "create table orders (id int primary key) engine = innodb")
        database, table, trigger = _mariadb_capture(shop)
        run(source, database, table)
        with pytest.raises(pymysql.err.OperationalError, match="1419"):
            run(source, trigger)
        run(shop.superuser(), "set global log_bin_trust_function_creators = 1")
        run(source, trigger)
        run(shop.superuser(), "set global log_bin_trust_function_creators = 0")
        with pytest.raises(pymysql.err.OperationalError, match="1419"):
            run(source, "drop trigger pantograph")
        run(app, "insert into orders values (1)")  # what is installed goes on
        shop.close()


def test_mariadb_merges_with_the_destination_grants_alone(my_db):
    warehouse = my_db()
    run(warehouse.app(), "create table orders (id int primary key, qty int) engine = innodb")
    destination = warehouse.connect("destination")
    run(
        destination,
        f"create database {warehouse.ours}",
        f"create table {warehouse.ours}.checkpoints (id int primary key) engine = innodb",
        "create table items (id int primary key, o int, foreign key (o) references orders (id)) engine = innodb",
        "alter table items add qty int",
        "create index items_qty on items (qty)",
        "create temporary table staged like orders",
        "insert into staged values (1, 2)",
        "insert into orders select * from staged on duplicate key update qty = values(qty)",
        "delete from orders where id = 1",
    )
    for refused in ("truncate table orders", "drop table items"):
        with pytest.raises(pymysql.err.OperationalError, match="command denied"):
            run(destination, refused)


def test_mariadb_lists_open_transactions_with_the_optional_block(my_db):
    shop = my_db()
    listing = "select trx_id from information_schema.innodb_trx"
    with pytest.raises(pymysql.err.OperationalError, match="PROCESS"):
        run(shop.connect("source"), listing)
    shop.grant("process")
    run(shop.connect("source"), listing)


def test_every_block_of_the_page_has_an_engine_that_runs_it():
    assert {tag.split()[0] for tag in grants.blocks()} == {"postgresql", "mysql", "mariadb", "firebird"}


@pytest.mark.parametrize("maker", ["pg_db", "my_db", "sqlite_db"])
def test_a_database_of_any_name_opens_for_every_role(request, maker):
    database = request.getfixturevalue(maker)(AWKWARD)
    for role in ("app", *base.SIDES, "superuser"):
        assert run(database.connect(role), "select 1") == [(1,)]
        kinds = [manifest["kind"] for manifest in database.manifests(role)]
        assert kinds == (["Database"] if database.dialect == "sqlite" else ["Database", "Secret"])


@pytest.mark.parametrize("kind", [PostgreSQL, MariaDB])
def test_what_was_committed_outlives_a_killed_server(kind):
    with kind.start() as server:
        shop = server.make_database("shop")
        run(shop.app(), "create table orders (id int primary key)", "insert into orders values (1)")
        server.kill()
        with pytest.raises((psycopg2.OperationalError, pymysql.err.OperationalError)):
            shop.app()
        server.restart()
        assert run(shop.app(), "select id from orders") == [(1,)]
        shop.close()


@pytest.mark.parametrize("kind", [PostgreSQL, MariaDB, MySQL, Firebird])
def test_what_is_made_for_a_server_is_found_by_the_next_run(kind):
    """Its key says what it is, and not where this run has put the server's files."""
    try:
        version = kind()._version()
    except debian.Unavailable as error:
        pytest.skip(str(error))
    assert str(processes.run_folder()) not in version


def test_files_of_servers_that_no_run_uses_are_not_kept_for_ever(tmp_path):
    for name, days in (("old", 6), ("young", 1), ("used", 6)):
        (tmp_path / "servers" / name).mkdir(parents=True)
        os.utime(tmp_path / "servers" / name, (0, time.time() - days * 86400))
    processes.copy_used(tmp_path / "servers" / "used", tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "servers").iterdir()) == ["used", "young"]
    assert (tmp_path / "copy").is_dir()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_without_the_mark_is_refused(request, kind):
    server = request.getfixturevalue(kind)
    with contextlib.closing(server.superuser_connect()) as superuser:
        run(superuser, f"drop database {base.MARK}")
        try:
            with pytest.raises(base.NotDisposable):
                server.make_database("shop")
        finally:
            run(superuser, f"create database {base.MARK}")


def test_servers_end_with_the_run_that_started_them_even_when_that_is_killed():
    script = """
        import time
        from tests.servers import MariaDB, PostgreSQL
        servers = [PostgreSQL.start(), MariaDB.start()]
        print(*(server.pid for server in servers), flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as run:
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 2
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.05)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
