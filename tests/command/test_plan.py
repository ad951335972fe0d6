"""`pantograph plan` says what `run` will do, and does nothing."""

import pathlib


def test_a_plan_changes_nothing_and_says_that_there_is_something_to_do(call, shop):
    before = shop.dumps()
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 3, planned.stderr
    assert shop.dumps() == before
    for words in ("create trigger", "locks orders", "first copy: about 5 rows", "create table", "nothing was changed"):
        assert words in planned.stdout


def test_a_plan_makes_no_file(call, shop):
    path = pathlib.Path(shop.destination.path)
    shop.destination.drop()
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 3, planned.stderr
    assert not path.exists()
    assert "the file is made" in planned.stdout
    assert "/pantograph-" not in planned.stdout  # the file that stood in for it


def test_after_a_run_there_is_nothing_to_do(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    before = shop.dumps()
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 0, planned.stdout
    assert planned.stdout.splitlines()[-1] == "-- nothing to do"
    assert shop.dumps() == before


def test_a_plan_is_sql_that_can_be_run_as_it_stands(call, shop):
    planned = call("plan", "-f", shop.manifests).stdout
    source = planned.partition("-- == copy")[0]
    shop.source.superuser().executescript(source)
    assert shop.source.execute("select count(*) from sqlite_master where type = 'trigger'") != [(0,)]


def test_a_plan_mends_what_somebody_dropped(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    (trigger,) = shop.source.execute(
        "select name from sqlite_master where type = 'trigger' and tbl_name = 'orders' and name like '%_insert'"
    )[0]
    shop.source.execute(f'drop trigger "{trigger}"')
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 3
    assert "mend capture of orders" in planned.stdout


def test_a_plan_names_what_cannot_be_done(call, shop):
    shop.source.execute("drop table orders")
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 2
    assert "pantograph: SourceTable orders: spec.table: there is no table orders in " in planned.stderr


def test_a_plan_is_refused_by_the_capture_of_another(call, shop):
    assert call("run", "-f", shop.manifests, "--once", "--installation", "blue").returncode == 0
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 1
    assert "pantograph: Database shop: capture belongs to 'blue/default/shop'" in planned.stderr
