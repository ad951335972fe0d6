"""A past that changed is noticed, and a future that did not is not mistaken for it. (Promise 9.)"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator

import pytest

from pantograph.reflector import process
from tests.routes.conftest import Pair
from tests.servers import MariaDB, MySQL, PostgreSQL
from tests.servers.postgresql import binaries
from tests.support import mirrors
from tests.support.comparison import wait_equal, wait_until

MakePair = Callable[[str, str], Pair]
ORDERS = ("id", "customer", "qty")
CREATE = "create table orders (id int primary key, customer varchar(40), qty int)"
ONE = "insert into orders values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)


def _begin(pair: Pair) -> mirrors.Mirror:
    pair.make(CREATE, ONE)
    mirror = pair.start("orders")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    _nonced(pair)
    return mirror


def _nonced(pair: Pair) -> None:
    """A nonce of this moment is in the checkpoint."""
    table = mirrors.ours(pair.destination, "checkpoints")
    sql = f"select state from {table} where name like 'stream/%'"

    def state() -> str:
        return str(pair.destination.execute(sql, role="superuser"))

    before = state()
    wait_until(lambda: state() != before, "a nonce")


def test_9_a_file_that_was_restored(make_pair: MakePair, tmp_path: pathlib.Path) -> None:
    """Ids are handed out again for other rows, below the position that had been read."""
    pair = make_pair("sqlite", "sqlite")
    _begin(pair)
    path = pathlib.Path(pair.source.url()["path"])
    with (
        contextlib.closing(sqlite3.connect(path)) as original,
        contextlib.closing(sqlite3.connect(tmp_path / "backup")) as backup,
    ):
        original.backup(backup)
    pair.make("insert into orders values (10, 'lost', 1), (11, 'lost', 1)", "update orders set qty = 7 where id = 1")
    pair.make("delete from orders where id = 2")
    pair.wait_equal(orders=ORDERS)
    pair.stop()
    pair.app.close()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup", path)
    pair.source.execute("pragma journal_mode = wal")
    pair.source.execute("insert into orders values (20, 'other', 1), (21, 'other', 1), (22, 'other', 1)")
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    assert any("SourceMoved" in text or "PositionLost" in text for text in mirror.messages)


def test_9_a_database_made_from_a_dump_is_not_the_one_it_was(make_pair: MakePair, postgresql: PostgreSQL) -> None:
    """Only inserts and updates differ, so the sweep that answers deletes nothing, and needs nobody's word."""
    pair = make_pair("postgresql", "sqlite")
    _begin(pair)
    pair.stop()
    environment = {**os.environ, "PGPASSWORD": postgresql.password}
    at = ["-h", postgresql.host, "-p", str(postgresql.port), "-U", postgresql.superuser]
    dump = subprocess.check_output([binaries() / "pg_dump", *at, pair.source.name], env=environment)
    pair.app.close()
    pair.source.close()
    name = pair.source.name
    superuser = postgresql.superuser_connect()
    with contextlib.closing(superuser), superuser.cursor() as cursor:
        cursor.execute(f'alter database "{name}" rename to "{name}_gone"')
        cursor.execute(f'create database "{name}" template template0')
        cursor.execute(f'drop database "{name}_gone" with (force)')
        for role in ("app", "source"):
            cursor.execute(f'grant all on database "{name}" to "{pair.source.roles[role][0]}"')  # type: ignore[attr-defined]
    restore = [binaries() / "psql", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", *at, name]
    subprocess.run(restore, input=dump, env=environment, check=True)
    pair.source.execute("insert into orders values (30, 'other', 1)")
    pair.source.execute("update orders set qty = 77 where id = 1")
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: mirror.seen().phase == "Streaming", "it goes on")
    assert any("PositionLost" in text for text in mirror.messages), mirror.messages


@pytest.fixture
def forgetful() -> Iterator[PostgreSQL]:
    """A server whose commits do not wait for the disk, and which writes late: killed, it forgets the last of them."""
    with PostgreSQL.start(options={"synchronous_commit": "off", "wal_writer_delay": "10000"}) as server:
        yield server


def test_9_a_server_that_forgot_its_last_commits(
    forgetful: PostgreSQL, sqlite_db: Callable[[], object], pg_db: Callable[..., object]
) -> None:
    """It hands ids and transaction numbers out again, under the same name, for other rows."""
    source, destination = forgetful.make_database("shop"), sqlite_db()
    pair = Pair(source, destination)  # type: ignore[arg-type]
    mirror = _begin(pair)
    # What a reflector writes at the source goes to the disk, and all before goes with it; after its nonce nothing comes
    # for a minute.
    groups = mirror.processes[0].groups
    wait_until(lambda: groups() and all(one.checkpoint.state.nonces for one in groups()), "its nonce")
    rows = 0
    written = False
    while rows < 30 or written:
        # Whole pages are written before they are asked for: go on until the last row is on none of those.
        (before,) = source.execute("select pg_current_wal_insert_lsn()")[0]
        pair.make(
            f"insert into orders values ({100 + rows}, 'lost', 1)", "update orders set qty = qty + 1 where id = 1"
        )
        rows += 1
        if rows >= 30:
            pair.wait_equal(orders=ORDERS)
            written = source.execute("select pg_current_wal_lsn() > %s::pg_lsn", params=[before])[0][0]
    forgetful.kill()
    forgetful._launch()
    left = source.execute("select count(*) from orders where customer = 'lost'")
    lost = rows - left[0][0]
    assert lost > 0, "the server forgot nothing, so nothing is tested"
    source.execute("insert into orders select g, 'other', 1 from generate_series(500, 520) g")
    wait_equal(source, destination, {"orders": ORDERS})  # type: ignore[arg-type]
    pair.stop()


@pytest.mark.parametrize("kind", [PostgreSQL, MariaDB, pytest.param(MySQL, marks=pytest.mark.night)])
def test_9_a_restart_is_not_a_rewind(
    request: pytest.FixtureRequest,
    kind: type[PostgreSQL | MariaDB],
    sqlite_db: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind is MySQL:
        request.getfixturevalue("mysql_server")  # skips where there is none
    with kind.start() as server:
        source, destination = server.make_database("shop"), sqlite_db()
        pair = Pair(source, destination)  # type: ignore[arg-type]
        mirror = _begin(pair)
        swept = mirror.seen().sweep_rows
        server.restart()
        for n in range(5):
            source.execute(f"insert into orders values ({10 + n}, 'after', 1)")
        wait_equal(source, destination, {"orders": ORDERS})  # type: ignore[arg-type]
        mirror.wait_phase("Streaming")
        assert mirror.seen().sweep_rows == swept
        assert not [text for text in mirror.messages if "PositionLost" in text or "SweepHeld" in text]
        pair.stop()
