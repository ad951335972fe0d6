"""The whole life of a Reflection by clicks alone, whatever engines it is between."""

from __future__ import annotations

import re

import pytest

from tests.console.conftest import unmirrored, wait_for

pytestmark = pytest.mark.full

ROUTES = (
    ("sqlite", "sqlite"),
    pytest.param(("mariadb", "firebird"), marks=pytest.mark.night),
    pytest.param(("firebird", "mariadb"), marks=pytest.mark.night),
    pytest.param(("mysql", "postgresql"), marks=pytest.mark.night),
    pytest.param(("postgresql", "mysql"), marks=pytest.mark.night),
)
FIXTURES = {
    "sqlite": "sqlite_db", "postgresql": "pg_db", "mariadb": "my_db", "mysql": "mysql_db", "firebird": "fb_db"
}  # fmt: skip
TRIGGERS = {
    "sqlite": "select count(*) from sqlite_master where name like 'pantograph%'",
    "postgresql": "select count(*) from pg_trigger where not tgisinternal",
    "mariadb": "select count(*) from information_schema.triggers where trigger_schema = '{}'",
    "firebird": "select count(*) from rdb$triggers where rdb$system_flag = 0",
}
TRIGGERS["mysql"] = TRIGGERS["mariadb"]
TABLES = {
    "sqlite": "select count(*) from sqlite_master where name = 'orders'",
    "postgresql": "select count(*) from pg_tables where tablename = 'orders'",
    "mariadb": "select count(*) from information_schema.tables where table_schema = '{}' and table_name = 'orders'",
    "firebird": "select count(*) from rdb$relations where rdb$relation_name = 'ORDERS'",
}
TABLES["mysql"] = TABLES["mariadb"]
"""Names in lower case are upper case in Firebird's catalog; the pages show them as the catalog has them."""


@pytest.fixture(params=ROUTES, ids="-to-".join)
def between(request, tmp_path, start):
    """The console over two databases of which nothing is mirrored yet."""
    here, there = (request.getfixturevalue(FIXTURES[engine]) for engine in request.param)
    source, destination = (here("source"), there("copy")) if request.param[0] == "sqlite" else (here(), there())
    return unmirrored(tmp_path, source, destination, start), source, destination


def asked(database, queries):
    ((count,),) = database.execute(queries[database.dialect].format(database.name), role="superuser")
    return count


def rows(database):
    if not asked(database, TABLES):
        return None
    return [tuple(row) for row in database.execute("select * from orders order by 1", role="superuser")]


def named(text):
    """What is called so, be it in the capitals of Firebird's catalog or behind a schema."""
    return re.compile(rf"^(\w+\.)?{text}$", re.IGNORECASE)


def test_a_reflection_is_made_watched_changed_and_deleted_by_clicks_alone(between, visitor):
    site, source, destination = between
    me = visitor(site.url)
    me.go()
    me.sees("Nothing is mirrored yet")

    # Made: a Database, one of its tables, what of it.
    me.click("Make the first one", "link")
    me.page.get_by_role("radio", name="shop").check()
    me.click("Look at its tables")
    me.click(named("orders"), "link")
    me.page.get_by_label("Only rows where").fill("quantity <= 10")
    me.page.get_by_label("Table there").fill("orders")
    me.page.get_by_label(named("name of customer there")).fill("buyer")
    me.page.get_by_label(named("mirror status")).uncheck()
    me.click("See what it does")
    me.sees("What it does")
    me.sees(re.compile("create .*trigger", re.IGNORECASE))
    me.sees("destination: buyer")
    assert rows(destination) is None, "looking has changed something"
    me.click("Make it")

    # Watched: without loading the page again.
    me.sees("Streaming", timeout=40_000)
    wait_for(lambda: rows(destination) == [(n, f"c{n}", n) for n in range(1, 11)], what=lambda: f"{rows(destination)}")
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
    destination.execute("update orders set buyer = 'nobody' where id = 5", role="superuser")
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
    wait_for(lambda: asked(source, TRIGGERS) == 0, what=lambda: f"{asked(source, TRIGGERS)} triggers to go")
    assert len(rows(destination)) == 5
    assert [one["kind"] for one in site.documents() if one["kind"] != "Secret"] == ["Database", "Database"]


def test_rows_that_a_table_refuses_are_set_aside_shown_and_tried_again_by_clicks_alone(between, visitor):
    site, source, destination = between
    text = "varchar(40)"
    destination.execute(
        f"create table orders (id bigint not null primary key, customer {text}, quantity bigint, status {text}, "
        "constraint few check (quantity < 20))"
    )
    if destination.dialect == "postgresql":
        user = destination.roles["destination"][0]
        destination.execute(f'grant select, insert, update, delete on orders to "{user}"')
    me = visitor(site.url)
    me.go("new?database=default/shop")
    me.click(named("orders"), "link")
    me.page.get_by_label("Table there").fill("orders")
    me.page.get_by_text("When rows go, are missing").click()
    me.page.get_by_label("When a row is refused").select_option("DeadLetter")
    me.click("See what it does")
    me.click("Make it")
    me.sees("Streaming", timeout=40_000)
    wait_for(lambda: len(rows(destination)) == 19)
    letters = me.page.locator("#letters")
    letters.get_by_text("dead").wait_for()
    assert "c20" not in me.page.content(), "a value of a row is on the page"
    source.execute("update orders set quantity = 5 where id = 20")
    letters.get_by_text("None.").wait_for()
    wait_for(lambda: len(rows(destination)) == 20)
