"""The whole life of a Reflection by clicks alone."""

import pytest

from tests.console.conftest import wait_for

pytestmark = pytest.mark.full


def rows(database, table="orders"):
    there = database.execute(f"select 1 from sqlite_master where name = '{table}'")
    return database.execute(f"select * from {table} order by 1") if there else None


def test_a_reflection_is_made_watched_changed_and_deleted_by_clicks_alone(shop, visitor):
    site, source, destination = shop
    me = visitor(site.url)
    me.go()
    me.sees("Nothing is mirrored yet")

    # Made: a Database, one of its tables, what of it.
    me.click("Make the first one", "link")
    me.page.get_by_role("radio", name="shop").check()
    me.click("Look at its tables")
    me.click("orders", "link")
    me.page.get_by_label("Only rows where").fill("quantity <= 10")
    me.page.get_by_label("name of customer there").fill("buyer")
    me.page.get_by_label("mirror status").uncheck()
    me.click("See what it does")
    me.sees("What it does")
    me.sees("create trigger")
    me.sees("destination: buyer")
    assert rows(destination) is None, "looking has changed something"
    me.click("Make it")

    # Watched: without loading the page again.
    me.sees("Streaming")
    wait_for(lambda: rows(destination) == [(n, f"c{n}", n) for n in range(1, 11)])
    source.execute("update orders set quantity = 3 where id = 20")
    wait_for(lambda: (20, "c20", 3) in rows(destination))
    assert "lag" in me.page.locator("#charts").inner_text().lower()

    # Compared.
    me.click("Verify")
    me.sees("all are equal")

    # Paused: what changes waits. Resumed.
    me.click("Pause")
    me.sees("Paused")
    source.execute("delete from orders where id = 1")
    me.page.reload()
    me.click("Resume")
    me.sees("Streaming")
    wait_for(lambda: rows(destination)[0][0] == 2)

    # Resynced.
    destination.execute("update orders set buyer = 'nobody' where id = 5")
    me.click("Resync")
    wait_for(lambda: (5, "c5", 5) in rows(destination))

    # Changed.
    me.click("Edit", "link")
    me.page.get_by_label("Only rows where").fill("quantity <= 5")
    me.click("See what it does")
    me.sees("copied again")
    me.click("Apply the change")
    wait_for(lambda: [row[0] for row in rows(destination)] == [2, 3, 4, 5, 20])
    me.sees("Streaming")

    # Deleted, with its capture: nothing of ours is left in the source, and the rows stay.
    me.click("Delete", "link")
    me.click("Delete it")
    me.sees("The rows that it copied stay")
    ours = "select name from sqlite_master where name like 'pantograph%'"
    wait_for(lambda: source.execute(ours) == [], what=lambda: f"{source.execute(ours)} to go")
    assert len(rows(destination)) == 5
    assert [one["kind"] for one in site.documents()] == ["Database", "Database"]
