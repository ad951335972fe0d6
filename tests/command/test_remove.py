"""`pantograph remove` leaves nothing of ours, and everything else."""

from tests.command.conftest import dump


def test_nothing_of_ours_is_left_and_every_row_stays(call, shop):
    before = dump(shop.source)
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    rows = shop.rows("orders"), shop.rows("customers")
    removed = call("remove", "-f", shop.manifests, "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "Database shop: nothing of Pantograph's is left." in removed.stdout
    # sqlite_sequence stays in a file for ever, once a table has asked for it; it is empty.
    assert [line for line in dump(shop.source) if "sqlite_sequence" not in line] == before
    assert "pantograph_" not in "\n".join(dump(shop.destination))
    assert (shop.rows("orders"), shop.rows("customers")) == rows


def test_where_nothing_is_there_is_nothing_to_remove(call, shop):
    before = shop.dumps()
    removed = call("remove", "-f", shop.manifests, "--yes")
    assert (removed.returncode, removed.stdout) == (0, "Nothing of Pantograph's is there.\n")
    assert shop.dumps() == before


def test_it_asks_and_a_script_must_say_yes_beforehand(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    before = shop.dumps()
    removed = call("remove", "-f", shop.manifests)
    assert removed.returncode == 2
    assert removed.stderr == "pantograph: nothing was removed: there is nobody to ask; say --yes\n"
    assert "remove capture of orders" in removed.stdout
    assert shop.dumps() == before


def test_what_another_installation_made_is_left_alone(call, shop):
    assert call("run", "-f", shop.manifests, "--once", "--installation", "blue").returncode == 0
    before = shop.dumps()
    removed = call("remove", "-f", shop.manifests, "--yes")
    assert removed.returncode == 1
    assert "belongs to 'blue/default/shop', not to 'local/default/shop'; it is left as it is" in removed.stderr
    assert shop.dumps() == before


def test_a_removal_that_was_cut_off_is_finished_by_the_next(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    shop.source.execute("drop table pantograph_registrations")
    shop.source.execute("drop table pantograph_lease")
    removed = call("remove", "-f", shop.manifests, "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "pantograph_" not in "\n".join(dump(shop.source))


def test_a_run_that_still_goes_on_is_not_mistaken_for_a_removal(call, start, shop):
    running = start("run", "-f", shop.manifests)
    running.said("streaming began reflection=orders")
    removed = call("remove", "-f", shop.manifests, "--yes")
    assert "stop a `pantograph run` that is still going first" in removed.stdout
    if removed.returncode == 0:  # it ended before the process noticed: then nothing may be there
        assert "pantograph_" not in "\n".join(dump(shop.source))
    else:
        assert "pantograph run` may still be going" in removed.stderr
    running.end()
    assert call("remove", "-f", shop.manifests, "--yes").returncode == 0
    assert "pantograph_" not in "\n".join(dump(shop.source))
