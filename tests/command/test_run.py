"""`pantograph run` ends as its page says, and mirrors until then."""

import signal
import subprocess
import sys

import pytest

from tests.command.conftest import environment, reflection, source_table, wait_for, write


def test_once_copies_everything_and_ends(call, shop):
    ended = call("run", "-f", shop.manifests, "--once")
    assert ended.returncode == 0, ended.stderr
    assert shop.equal()
    assert [line.split() for line in ended.stdout.splitlines()] == [
        ["REFLECTION", "RESULT", "ROWS", "WRITTEN", "ROWS", "DELETED"],
        ["customers", "caught", "up", "5", "0"],
        ["orders", "caught", "up", "5", "0"],
    ]


def test_once_again_brings_what_was_committed_meanwhile(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    shop.source.execute("update orders set quantity = 100 where id = 1")
    shop.source.execute("delete from orders where id = 2")
    shop.source.execute("update orders set id = 50 where id = 3")
    shop.source.execute("insert into customers values (6, 'new')")
    ended = call("run", "-f", shop.manifests, "--once")
    assert ended.returncode == 0, ended.stderr
    assert shop.equal()


def test_a_folder_and_standard_input_are_as_good_as_a_file(call, shop):
    (shop.folder / "below").mkdir()
    shop.manifests.rename(shop.folder / "below" / "all.yml")
    assert call("run", "-f", shop.folder, "--once").returncode == 0
    text = (shop.folder / "below" / "all.yml").read_text()
    assert call("run", "-f", "-", "--once", stdin=text).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_change_arrives_while_it_runs_and_a_signal_ends_it(start, shop, number):
    running = start("run", "-f", shop.manifests)
    wait_for(shop.equal)
    shop.source.execute("update orders set customer = 'somebody else'")
    shop.source.execute("delete from customers where id < 3")
    wait_for(shop.equal)
    assert running.end(number, timeout=10) == 0
    assert running.process.stdout.read() == ""  # results only; what happens is on standard error
    assert "streaming began reflection=orders" in "".join(running.errors)


def test_once_names_what_failed_and_copies_the_others(call, shop):
    shop.destination.execute("create table orders (id integer primary key, customer text, quantity integer)")
    shop.destination.execute("insert into orders values (1, 'mine', 1)")
    ended = call("run", "-f", shop.manifests, "--once")
    assert ended.returncode == 1
    assert ["orders", "failed"] in [line.split()[:2] for line in ended.stdout.splitlines()]
    assert "pantograph: orders: DestinationNotEmpty: " in ended.stderr
    assert "existing: Replace" in ended.stderr
    assert shop.rows("customers")[1] == shop.rows("customers")[0]
    assert shop.rows("orders")[1] == [(1, "mine", 1)]


def test_once_says_which_copy_waits_for_a_person(call, shop):
    shop.source.execute("delete from customers")
    for number in range(3000):
        shop.source.execute(f"insert into customers values ({number}, 'x')")
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    documents = [*shop.documents[:-1], reflection("customers", where="id < 10")]
    ended = call("run", "-f", write(shop.folder, documents), "--once")
    assert ended.returncode == 1
    assert "pantograph: customers: SweepHeld: 2990 rows of 3000 are not at the source" in ended.stderr
    assert len(shop.rows("customers")[1]) == 3000


def test_once_gives_up_on_a_database_that_cannot_be_reached(call, shop, closed_port):
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "copy"},
            "stringData": {"username": "u", "password": "do not print me"},
        },
        {
            "apiVersion": "pantograph.dev/v1alpha1",
            "kind": "Database",
            "metadata": {"name": "copy"},
            "spec": {
                "dialect": "postgresql",
                "host": "127.0.0.1",
                "port": closed_port,
                "database": "copy",
                "credentials": {"secretName": "copy"},
            },
        },
        shop.documents[0],
        source_table("orders"),
        reflection("orders"),
    ]
    ended = call("run", "-f", write(shop.folder, documents), "--once", "--wait", "1")
    assert ended.returncode == 4
    assert f"127.0.0.1:{closed_port}" in ended.stderr
    assert "do not print me" not in ended.stderr + ended.stdout


def test_another_installation_is_refused_until_it_is_adopted(call, shop):
    assert call("run", "-f", shop.manifests, "--once", "--installation", "blue").returncode == 0
    ended = call("run", "-f", shop.manifests, "--once", "--installation", "green")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("pantograph: capture in ")
    assert "'blue/default/shop'" in ended.stderr
    shop.source.execute("insert into orders values (77, 'after', 7)")
    adopted = call("run", "-f", shop.manifests, "--once", "--installation", "green", "--adopt")
    assert adopted.returncode == 0, adopted.stderr
    assert shop.equal()


def test_a_reflection_that_is_paused_moves_nothing_and_keeps_nobody_waiting(call, shop):
    documents = [*shop.documents[:-1], reflection("customers", paused=True)]
    ended = call("run", "-f", write(shop.folder, documents), "--once")
    assert ended.returncode == 0, ended.stderr
    assert ["customers", "paused"] in [line.split()[:2] for line in ended.stdout.splitlines()]
    assert shop.rows("customers")[1] == []


def test_a_second_interrupt_does_not_wait():
    code = (
        "import time\nfrom pantograph.cli import running\nwith running.Stopping():\n print('ready', flush=True)\n"
        + (" while True: time.sleep(0.1)\n")
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # signals of one kind that wait are one
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
