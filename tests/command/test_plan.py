"""`pantograph plan` says what `run` will do, and does nothing."""

import pathlib

import pytest

from tests.command.conftest import reflection, source_table, write


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
    assert "(SourceTable orders): spec.table: there is no table orders in " in planned.stderr


def test_a_plan_is_refused_by_the_capture_of_another(call, shop):
    assert call("run", "-f", shop.manifests, "--once", "--installation", "blue").returncode == 0
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 1
    assert "pantograph: Database shop: capture belongs to 'blue/default/shop'" in planned.stderr


def test_a_plan_says_what_capture_costs_and_locks_before_it_is_there(call, shop):
    planned = call("plan", "-f", shop.manifests)
    assert "what capture costs the application: a single write takes up to twice as long" in planned.stdout
    assert "locks orders for a moment (the file: other writers wait, readers do not);" in planned.stdout
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    assert "costs" not in call("plan", "-f", shop.manifests).stdout


def test_a_plan_says_what_the_destination_has_too_much(call, shop):
    shop.destination.execute("create table orders (id integer primary key, customer text, quantity integer)")
    for number in range(12):
        shop.destination.execute(f"insert into orders values ({number}, 'x', 0)")
    for one in shop.documents:
        if one["kind"] == "Reflection":
            one["spec"]["destination"]["existing"] = "Replace"
    write(shop.folder, shop.documents)
    planned = call("plan", "-f", shop.manifests)
    assert "the destination holds about 12 rows; about 7 of them are to be deleted" in planned.stdout


def test_what_no_manifest_names_is_said_and_can_be_taken_away(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    before = shop.rows("customers")[1]
    left = [one for one in shop.documents if one["metadata"]["name"] != "customers"]
    write(shop.folder, left)
    planned = call("plan", "-f", shop.manifests)
    assert planned.returncode == 0, planned.stdout
    assert (
        "customers is captured, and no SourceTable names it: `pantograph remove --orphans` ends that" in planned.stdout
    )
    assert (
        "events wait for customers of local/default/shop, which no manifest names: `pantograph remove" in planned.stdout
    )
    removed = call("remove", "--orphans", "-f", shop.manifests, "--yes")
    assert removed.returncode == 0, removed.stderr
    for words in (
        "remove capture of customers",
        "keep no events for Reflection customers",
        "forget how far Reflection customers was",
    ):
        assert words in removed.stdout
    again = call("plan", "-f", shop.manifests)
    assert "customers" not in again.stdout
    assert shop.source.execute(
        "select count(*) from sqlite_master where tbl_name = 'customers' and type = 'trigger'"
    ) == [(0,)]
    assert shop.rows("customers")[1] == before
    assert call("remove", "--orphans", "-f", shop.manifests).stdout == "Nothing is there that no manifest names.\n"
    # What is named goes on where it was.
    shop.source.execute("delete from orders where id = 1")
    ended = call("run", "-f", shop.manifests, "--once")
    assert "sweep began" not in ended.stderr
    assert len(shop.rows("orders")[1]) == 4


@pytest.mark.parametrize(
    ("engine", "revoke", "grants"),
    [
        (
            "pg_db",
            ["revoke trigger on orders from {role}"],
            ['grant trigger on table "public"."orders" to "{name}"'],
        ),
        (
            "pg_db",
            ["revoke create on database {database} from {role}", "revoke select on orders from {role}"],
            [
                'grant create on database "{database}" to "{name}"',
                'grant select on table "public"."orders" to "{name}"',
            ],
        ),
        (
            "my_db",
            ["revoke trigger on `{pattern}`.* from {role}"],
            ["grant trigger on `{database}`.`orders` to '{name}'@'%'"],
        ),
        (
            "my_db",
            [r"revoke all on `pantograph\_{pattern}`.* from {role}"],
            [r"grant all on `pantograph\_{pattern}`.* to '{name}'@'%'"],
        ),
        pytest.param(
            "mysql_db",
            ["revoke trigger, lock tables on `{pattern}`.* from {role}"],
            [
                "grant trigger on `{database}`.`orders` to '{name}'@'%'",
                "grant lock tables on `{pattern}`.* to '{name}'@'%'",
            ],
            marks=pytest.mark.night,
        ),
    ],
    ids=["trigger", "create-and-select", "mariadb-trigger", "mariadb-home", "mysql"],
)
def test_missing_grants_are_named_and_giving_them_is_enough(call, request, tmp_path, sqlite_db, engine, revoke, grants):
    here, there = request.getfixturevalue(engine)(), sqlite_db("copy")
    here.execute("create table orders (id integer primary key)")
    name = here.url("source")["username"]
    words = {
        "name": name,
        "role": f'"{name}"' if engine == "pg_db" else f"'{name}'@'%'",
        "database": here.name,
        "pattern": here.name.replace("_", r"\_"),
    }
    path = write(
        tmp_path,
        [
            *here.manifests(name="shop"),
            *there.manifests("destination", name="copy"),
            source_table("orders"),
            reflection("orders"),
        ],
    )
    assert "grants that are missing" not in call("plan", "-f", path).stdout
    for statement in revoke:
        here.execute(statement.format(**words), role="superuser")
    planned = call("plan", "-f", path)
    assert planned.returncode == 1, planned.stdout
    assert "missing; the plan has the statements" in planned.stderr
    said = [
        line.removeprefix("--   ").rstrip(";") for line in planned.stdout.splitlines() if line.startswith("--   grant")
    ]
    assert said == [one.format(**words) for one in grants]
    for statement in said:
        here.execute(statement, role="superuser")
    assert call("plan", "-f", path).returncode == 3
    assert call("run", "-f", path, "--once").returncode == 0


@pytest.mark.parametrize("engine", ["pg_db", "my_db"], ids=["postgresql", "mariadb"])
def test_missing_grants_at_a_destination_are_named_and_giving_them_is_enough(
    call, request, tmp_path, sqlite_db, engine
):
    here, there = sqlite_db("shop"), request.getfixturevalue(engine)()
    here.execute("create table orders (id integer primary key)")
    here.execute("create table items (id integer primary key)")
    there.execute("create table orders (id bigint primary key)")
    name, database = there.url("destination")["username"], there.name
    pattern = database.replace("_", r"\_")
    revoke = {
        "pg_db": [
            f'revoke temporary on database {database} from "{name}", public',
            f'revoke create on schema public from "{name}", public',
            f'revoke delete, update on orders from "{name}"',
        ],
        "my_db": [f"revoke create, alter, delete, create temporary tables on `{pattern}`.* from '{name}'@'%'"],
    }
    path = write(
        tmp_path,
        [
            *here.manifests(name="shop"),
            *there.manifests("destination", name="copy"),
            *(source_table(table) for table in ("orders", "items")),
            *(reflection(table) for table in ("orders", "items")),
        ],
    )
    assert "grants that are missing" not in call("plan", "-f", path).stdout
    for statement in revoke[engine]:
        there.execute(statement, role="superuser")
    planned = call("plan", "-f", path)
    said = [
        line.removeprefix("--   ").rstrip(";") for line in planned.stdout.splitlines() if line.startswith("--   grant")
    ]
    assert planned.returncode == 1, planned.stdout
    assert len(said) == 3, planned.stdout
    for statement in said:
        there.execute(statement, role="superuser")
    assert "grants that are missing" not in call("plan", "-f", path).stdout
    assert call("run", "-f", path, "--once").returncode == 0


@pytest.mark.parametrize("engine", ["pg_db", "my_db", "sqlite_db"], ids=["postgresql", "mariadb", "sqlite"])
def test_a_column_that_must_have_a_value_and_gets_none_is_named(call, request, tmp_path, sqlite_db, engine):
    here, there = sqlite_db("shop"), request.getfixturevalue(engine)("copy")
    here.execute("create table orders (id integer primary key, customer text not null, note text)")
    numbered = {"pg_db": "generated by default as identity", "my_db": "auto_increment unique", "sqlite_db": "default 3"}
    there.execute(
        "create table orders (id bigint not null primary key, customer varchar(40) not null, region varchar(9) "
        f"not null default 'eu', line bigint not null {numbered[engine]}, remark varchar(40))"
    )
    wanted = reflection("orders", columns=[{"source": "id"}])
    path = write(
        tmp_path,
        [*here.manifests(name="shop"), *there.manifests("destination", name="copy"), source_table("orders"), wanted],
    )
    planned = call("plan", "-f", path)
    assert planned.returncode == 2, planned.stdout + planned.stderr
    assert "spec.columns: " in planned.stderr
    assert (
        "orders needs a value in customer (not null, without a default), and this Reflection writes" in planned.stderr
    )
    there.execute("alter table orders alter column customer set default 'x'" if engine != "sqlite_db" else "select 1")
    if engine != "sqlite_db":
        assert call("plan", "-f", path).returncode == 3
