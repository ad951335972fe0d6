"""Databases and SourceTables are made and changed by form, errors included."""

import stat

import pytest
import yaml

from tests.command.conftest import reflection, source_table
from tests.console.conftest import Site, make_shop, wait_for

pytestmark = pytest.mark.full


@pytest.fixture
def alone(sqlite_db, tmp_path, start):
    """The console over one Database alone."""
    copy = sqlite_db("copy")
    site = Site(tmp_path / "mirror", copy.manifests("destination", name="copy"))
    site.open(start)
    return site


def login(source):
    """User and password of a test database's account."""
    database, secret = source.manifests(name="shop")
    return database["spec"], secret["stringData"]


def test_a_database_is_made_with_its_secret_and_a_wrong_password_is_said_at_it(alone, pg_db, visitor):
    source = pg_db()
    make_shop(source)
    spec, account = login(source)
    me = visitor(alone.url)
    me.go()
    me.click("New Database", "link")
    me.page.get_by_label("Name", exact=True).fill("shop")
    me.page.get_by_label("Host", exact=True).fill(spec["host"])
    me.page.get_by_label("Port", exact=True).fill(str(spec["port"]))
    me.page.get_by_label("Name of the database").fill(spec["database"])
    me.page.get_by_label("User", exact=True).fill(account["username"])
    me.page.get_by_label("Password", exact=True).fill("d3Jvbmc")
    me.click("Make it")
    assert "password" in me.error_at("Secret").lower()
    assert "d3Jvbmc" not in me.page.content(), "a password came back"
    me.examine()
    assert [one["kind"] for one in alone.documents()] == ["Database"]

    me.page.get_by_label("Password", exact=True).fill(account["password"])
    me.click("See what it does")
    me.sees("It was opened: PostgreSQL")
    assert account["password"] not in me.page.content()
    assert [one["kind"] for one in alone.documents()] == ["Database"], "looking has changed something"
    me.page.get_by_label("Password", exact=True).fill(account["password"])
    me.click("Make it")
    me.sees("Database shop was written to")
    assert stat.S_IMODE((alone.folder / "shop.yaml").stat().st_mode) == 0o600
    assert account["password"] not in me.page.content()

    me.click("Mirror one of its tables", "link")
    me.click("public.orders", "link")
    me.click("See what it does")
    me.click("Make it")
    me.sees("Streaming", timeout=40_000)


def test_what_is_wrong_with_a_database_is_said_at_its_field(alone, visitor, closed_port):
    me = visitor(alone.url)
    said = (
        ({"Name": "No Name"}, "Name", "expected the name of an object"),
        ({"Name": "copy", "Engine": "sqlite", "File": "x.db"}, "Name", "there is a Database copy already"),
        ({"Name": "shop", "Host": "127.0.0.1"}, "Secret", "a Database on a server needs credentials"),
        ({"Name": "shop", "Port": "many"}, "Port", "expected"),
        ({"Name": "shop", "Engine": "sqlite", "File": "x.db", "Host": "h"}, "Host", "is a file"),
        ({"Name": "shop", "Host": "127.0.0.1", "User": "u"}, "Password", "one of them is missing"),
        ({"Name": "shop", "Host": "127.0.0.1", "Secret": "nothing"}, "Secret", "there is no Secret nothing"),
        (
            {"Name": "shop", "Host": "127.0.0.1", "Port": str(closed_port), "User": "u", "Password": "p"},
            "Host",
            str(closed_port),
        ),
    )
    for filled, label, words in said:
        me.go("databases/new")
        for field, value in filled.items():
            one = me.page.get_by_label(field, exact=True)
            one.select_option(value) if field == "Engine" else one.fill(value)
        me.click("See what it does")
        assert words in me.error_at(label)
        assert me.page.get_by_label("Name", exact=True).input_value() == filled["Name"]
    me.examine()
    assert [one["kind"] for one in alone.documents()] == ["Database"]


@pytest.fixture
def mirrored(sqlite_db, tmp_path, start):
    """The console over a Reflection, and manifests with remarks and with what no form shows."""
    source, destination = sqlite_db("source"), sqlite_db("destination")
    make_shop(source)
    site = Site(
        tmp_path / "mirror",
        [
            *source.manifests(name="shop"),
            *destination.manifests("destination", name="copy"),
            source_table("orders"),
            reflection("orders"),
        ],
    )
    path = site.folder / "databases.yaml"
    database, rest = path.read_text().split("---\n", 1)
    path.write_text(
        f"{database}  reflector:\n    # Ask Maria.\n    podAnnotations: {{team: shop}}\n    connections: 5\n---\n{rest}"
    )
    site.open(start)
    site.process.said("streaming began reflection=orders")
    return site, source, destination


def test_a_database_is_paused_and_changed_and_keeps_what_no_form_shows(mirrored, visitor):
    site, source, destination = mirrored
    me = visitor(site.url)
    me.go("databases/default/shop")
    me.click("Edit", "link")
    me.page.get_by_text("When it is read").click()
    assert me.page.get_by_label("Connections at most").input_value() == "5"
    me.page.get_by_label("Paused", exact=True).check()
    me.page.get_by_label("Hours for copying again").fill("25:00-1:00")
    me.click("See what it does")
    assert "22:00-06:00" in me.error_at("Hours for copying again")
    assert me.page.get_by_label("Hours for copying again").is_visible()
    me.page.get_by_label("Hours for copying again").fill("22:00-06:00")
    me.click("See what it does")
    me.sees("It was opened: SQLite")
    me.examine()
    me.click("Apply the change")
    me.sees("Database shop was changed in")
    text = (site.folder / "databases.yaml").read_text()
    assert "# Ask Maria." in text
    reflector = yaml.safe_load(text.split("---\n")[0])["spec"]["reflector"]
    assert reflector == {
        "podAnnotations": {"team": "shop"}, "connections": 5, "paused": True, "sweep": {"window": "22:00-06:00"}
    }  # fmt: skip
    me.go("reflections/default/orders")
    me.sees("Paused")
    source.execute("delete from orders where id = 1")
    me.go("databases/default/shop/edit")
    me.page.get_by_text("When it is read").click()
    me.page.get_by_label("Paused", exact=True).uncheck()
    me.click("See what it does")
    me.click("Apply the change")
    wait_for(lambda: len(destination.execute("select * from orders")) == 19)


def test_a_database_does_not_forbid_what_its_reflections_do(mirrored, visitor):
    site, _, _ = mirrored
    path = site.folder / "databases.yaml"
    path.write_text(path.read_text().replace("    table: orders\n", "    table: orders\n  where: id > 3\n"))
    me = visitor(site.url)
    me.go("databases/default/shop/edit")
    me.page.get_by_text("whose SQL it runs").click()
    me.page.get_by_label("Reflections may bring conditions and expressions").uncheck()
    me.click("See what it does")
    me.sees("Reflection orders")
    me.sees("runs no expressions of others")
    assert "expressions: false" not in path.read_text()


def test_how_long_changes_of_a_table_may_wait_is_changed(mirrored, visitor):
    site, _, _ = mirrored
    me = visitor(site.url)
    me.go("tables/default/orders")
    me.click("Edit", "link")
    me.page.get_by_label("Age at most").fill("soon")
    me.click("See what it does")
    assert "expected a duration" in me.error_at("Age at most")
    me.page.get_by_label("Age at most").fill("2d")
    me.page.get_by_label("When this object goes").select_option("Orphan")
    me.click("See what it does")
    me.examine()
    me.click("Apply the change")
    me.sees("SourceTable orders was changed in")
    (table,) = [one for one in site.documents() if one["kind"] == "SourceTable"]
    assert table["spec"] == {
        "databaseRef": {"name": "shop"}, "table": "orders", "retention": {"maxAge": "2d"}, "deletionPolicy": "Orphan"
    }  # fmt: skip


def test_a_table_or_database_that_somebody_changed_meanwhile_is_not_overwritten(mirrored, visitor):
    site, _, _ = mirrored
    me = visitor(site.url)
    me.go("databases/default/shop/edit")
    path = site.folder / "databases.yaml"
    path.write_text(path.read_text().replace("connections: 5", "connections: 4"))
    me.click("See what it does")
    me.sees("somebody changed it meanwhile")
    assert me.page.get_by_role("button", name="Apply the change").count() == 0


def test_what_something_names_is_not_deleted_and_what_nothing_names_goes_with_its_capture(mirrored, visitor):
    site, source, destination = mirrored
    me = visitor(site.url)
    me.go("databases/default/copy")
    me.click("Delete", "link")
    me.sees("Something still names it")
    assert me.page.get_by_role("button", name="Delete it").count() == 0
    me.examine()
    me.go("tables/default/orders/delete")
    me.sees("Reflection orders")
    me.go("reflections/default/orders/delete")
    me.page.get_by_label("SourceTable orders as well").uncheck()
    me.click("Delete it")
    me.sees("was deleted")
    me.go("tables/default/orders")
    me.click("Delete", "link")
    me.click("Delete it")
    me.sees("SourceTable orders was deleted")
    ours = "select name from sqlite_master where name like 'pantograph%'"
    wait_for(lambda: source.execute(ours) == [], what=lambda: f"{source.execute(ours)} to go")
    me.go("databases/default/copy/delete")
    me.click("Delete it")
    me.sees("Database copy was deleted")
    assert [one["metadata"]["name"] for one in site.documents()] == ["shop"]
    assert len(destination.execute("select * from orders")) == 20
