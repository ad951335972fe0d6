"""`spec.reflector.wakeUp`: a change is planned, done, and taken away again with all the rest."""

import pytest

from tests.command.conftest import reflection, source_table, write

OURS = {
    "pg_db": "select count(*) from pg_namespace where nspname = 'pantograph'",
    "fb_db": "select count(*) from rdb$relations where rdb$relation_name starting with 'PANTOGRAPH'",
}
SAYS = {"pg_db": "pg_notify", "fb_db": "post_event"}


@pytest.mark.parametrize("engine", SAYS)
def test_a_change_is_planned_and_done_in_place_and_removal_leaves_nothing(call, request, sqlite_db, tmp_path, engine):
    source, destination = request.getfixturevalue(engine)(), sqlite_db()
    source.execute("create table orders (id integer not null primary key, n integer)")
    source.execute("insert into orders values (1, 1)")

    def manifests(wake_up):
        made = source.manifests(name="shop", reflector={"wakeUp": wake_up})
        made += destination.manifests("destination", name="copy")
        return write(tmp_path, [*made, source_table("orders"), reflection("orders")])

    assert call("run", "-f", manifests("Poll"), "--once").returncode == 0
    path = manifests("Notify")
    planned = call("plan", "-f", path)
    assert planned.returncode == 3, planned.stdout + planned.stderr
    assert "upgrade capture of" in planned.stdout
    assert SAYS[engine] in planned.stdout
    assert call("run", "-f", path, "--once").returncode == 0
    assert call("plan", "-f", path).returncode == 0
    removed = call("remove", "-f", path, "--yes")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert source.execute(OURS[engine], "superuser") == [(0,)]
