"""`pause`, `resume`, `resync`, `retry`, and a running mirror that follows its files."""

import pytest
import yaml

from tests.command.conftest import reflection, source_table, wait_for, write

STREAMING = "streaming began reflection=orders"


@pytest.fixture
def running(start, shop):
    process = start("run", "-f", shop.manifests)
    process.said(STREAMING)
    process.said("streaming began reflection=customers")
    return process


def test_a_paused_reflection_waits_and_goes_on(call, shop, running):
    before = shop.manifests.read_text()
    assert call("pause", "orders", "-f", shop.manifests).stdout == f"Reflection orders paused ({shop.manifests})\n"
    running.said("paused reflection=orders")
    shop.source.execute("insert into orders values (6, 'c6', 6)")
    shop.source.execute("insert into customers values (6, 'name 6')")
    wait_for(lambda: len(shop.rows("customers")[1]) == 6)
    assert len(shop.rows("orders")[1]) == 5
    assert call("resume", "orders", "-f", shop.manifests).returncode == 0
    assert shop.manifests.read_text() == before
    wait_for(shop.equal)
    assert running.end() == 0


def test_pausing_what_is_paused_changes_nothing(call, shop):
    assert call("pause", "orders", "-f", shop.manifests).returncode == 0
    text = shop.manifests.read_text()
    again = call("pause", "orders", "-f", shop.manifests)
    assert (again.returncode, again.stdout) == (0, "Reflection orders is paused already\n")
    assert shop.manifests.read_text() == text
    assert call("resume", "customers", "-f", shop.manifests).stdout == "Reflection customers is not paused\n"


def test_a_resync_mends_what_was_changed_at_the_destination(call, shop, running):
    shop.destination.execute("update orders set customer = 'somebody' where id = 3")
    assert call("resync", "orders", "-f", shop.manifests).returncode == 0
    running.said("sweep began reflection=orders reason=Resync")
    wait_for(shop.equal)


def test_two_resyncs_in_one_second_are_two(call, shop):
    tokens = set()
    for _ in range(2):
        assert call("resync", "orders", "-f", shop.manifests).returncode == 0
        (orders,) = (
            one
            for one in yaml.safe_load_all(shop.manifests.read_text())
            if (one["kind"], one["metadata"]["name"]) == ("Reflection", "orders")
        )
        tokens.add(orders["spec"]["resyncToken"])
    assert len(tokens) == 2


def test_a_name_that_is_not_there_is_refused_with_those_that_are(call, shop):
    refused = call("pause", "order", "-f", shop.manifests)
    assert refused.returncode == 2
    assert refused.stderr == "pantograph: there is no Reflection order in the manifests; there are: customers, orders\n"


def test_standard_input_cannot_be_changed(call, shop):
    refused = call("pause", "orders", "-f", "-", stdin=shop.manifests.read_text())
    assert refused.returncode == 2
    assert refused.stderr == "pantograph: --file: standard input cannot be changed; name the file\n"


def test_a_template_cannot_be_changed(call, shop):
    text = shop.manifests.read_text()
    shop.manifests.write_text(f"# {{{{ .Release.Name }}}}\n{text}")
    refused = call("pause", "orders", "-f", shop.manifests)
    assert refused.returncode == 2
    assert "(Reflection orders): spec.paused: cannot be changed in place: it looks like a template" in refused.stderr


def test_a_running_mirror_takes_up_new_manifests_and_lets_go_of_deleted_ones(shop, running):
    shop.source.execute("create table items (id integer primary key, name text)")
    shop.source.execute("insert into items values (1, 'one')")
    kept = [one for one in shop.documents if one["kind"] != "Reflection" or one["metadata"]["name"] != "customers"]
    write(shop.folder, [*kept, source_table("items"), reflection("items")])
    running.said("streaming began reflection=items")
    shop.source.execute("insert into items values (2, 'two')")
    shop.source.execute("insert into customers values (7, 'nobody copies this')")
    wait_for(lambda: shop.rows("items")[1] == [(1, "one"), (2, "two")])
    assert len(shop.rows("customers")[1]) == 5
    assert running.end() == 0


def test_a_wrong_edit_is_said_and_the_mirror_goes_on_as_before(shop, running):
    write(shop.folder, [*shop.documents, reflection("items")])
    running.said("manifests were wrong; going on as before")
    running.said("there is no SourceTable items")
    shop.source.execute("delete from orders where id = 1")
    wait_for(shop.equal)
    write(shop.folder, [one for one in shop.documents if one["kind"] == "Database"])
    running.said("there is no SourceTable in")
    shop.source.execute("delete from orders where id = 2")
    wait_for(shop.equal)
    assert running.end() == 0


def test_a_retry_says_what_it_found_and_that_nobody_is_there_to_do_it(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    nothing = call("retry", "orders", "-f", shop.manifests)
    assert (nothing.returncode, nothing.stdout) == (0, "Reflection orders: no row waits\n")
    shop.destination.execute(
        "insert into pantograph_keys (owner, name, digest, key_values, reason, detail, since, attempts, next_try) "
        "values "
        "('local/default/shop', 'default/orders', 'x', '[3]', 'parent', '', 0, 5, 999999999999), "
        "('local/default/shop', 'default/orders', 'y', '[4]', 'surplus', '', 0, 5, 1e12)"
    )
    shop.source.execute("update pantograph_control set nonce_at = nonce_at - 1000")
    tried = call("retry", "orders", "-f", shop.manifests)
    assert tried.stdout == "Reflection orders: 1 row tried again now\n"
    assert tried.stderr == "pantograph: nobody moves rows of Database shop now; `pantograph run` will try them\n"
    assert shop.destination.execute("select digest from pantograph_keys where next_try = 0") == [("x",)]


def test_a_retry_brings_a_dead_letter_whose_reason_is_gone(call, start, tmp_path, sqlite_db, pg_db):
    here, there = sqlite_db("shop"), pg_db()
    here.execute("create table orders (id integer primary key, quantity integer)")
    there.execute("create table orders (id bigint primary key, quantity bigint constraint few check (quantity < 10))")
    path = write(
        tmp_path,
        [
            *here.manifests(name="shop"),
            *there.manifests("destination", name="copy"),
            source_table("orders"),
            reflection("orders", onError="DeadLetter"),
        ],
    )
    running = start("run", "-f", path)
    running.said(STREAMING)
    here.execute("insert into orders values (1, 5), (2, 50)")
    wait_for(lambda: there.execute("select id from orders order by id") == [(1,)])
    wait_for(lambda: "1 row tried again" in call("retry", "orders", "-f", path).stdout)
    assert there.execute("select id from orders order by id") == [(1,)]
    there.execute("alter table orders drop constraint few")
    # By itself it would be tried again in a minute or two.
    assert call("retry", "orders", "-f", path).returncode == 0
    wait_for(lambda: there.execute("select id from orders order by id") == [(1,), (2,)], 20.0)
    assert running.end() == 0
