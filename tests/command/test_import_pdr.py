"""A mirror that PDR kept goes on with Pantograph: `pantograph import-pdr`, then `run`."""

from __future__ import annotations

import sqlite3

from tests.support.pdr import Export


def test_a_plain_mirror_is_three_kinds_of_manifests_that_run(call, tmp_path):
    export = Export(tmp_path)
    shop, copy = tmp_path / "shop.db", tmp_path / "copy.db"
    export.database(1, "shop", 3, dbfile=str(shop))
    export.database(2, "copy", 3, dbfile=str(copy))
    export.table(4, 1, "orders")
    export.reflection(9, 4, 2, "orders")
    with sqlite3.connect(shop) as source, sqlite3.connect(copy) as there:
        source.execute("pragma journal_mode = wal")
        for database in (source, there):
            database.execute("create table orders (id integer primary key, customer text, qty integer, price integer)")
        source.execute("insert into orders values (1, 'Ada', 2, 30)")
        there.execute("insert into orders values (1, 'Ada', 1, 30), (7, 'gone, and PDR ignored it', 1, 1)")
    source.close(), there.close()
    ended = call("import-pdr", export.root)
    assert ended.returncode == 0, ended.stderr
    path = tmp_path / "pdr.yaml"
    path.write_text(ended.stdout)
    ran = call("run", "-f", path, "--once")
    assert ran.returncode == 0, ran.stderr
    with sqlite3.connect(copy) as there:
        rows = there.execute("select * from orders order by id").fetchall()
    there.close()
    # The row that the source does not have stays: PDR ignored deletes, and so does what was made of it.
    assert rows == [(1, "Ada", 2, 30), (7, "gone, and PDR ignored it", 1, 1)]
