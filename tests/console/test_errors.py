"""What is wrong stands in one line at the field that it is about, and nothing is done."""

import pytest

from tests.console.conftest import Site, make_shop, wait_for

pytestmark = pytest.mark.full


@pytest.fixture
def form(shop, visitor):
    """Somebody before the empty form for `orders`."""
    site, _, _ = shop
    me = visitor(site.url)
    me.go("new?database=default/shop&table=orders")
    return me


def test_a_wrong_password_is_said_at_the_database(pg_db, sqlite_db, tmp_path, start, visitor):
    source = pg_db()
    documents = [*source.manifests(name="shop"), *sqlite_db("copy").manifests("destination", name="copy")]
    (secret,) = (one for one in documents if one["kind"] == "Secret")
    part = "stringData" if "stringData" in secret else "data"
    secret[part]["password"] = "d3Jvbmc="
    site = Site(tmp_path / "mirror", documents)
    site.open(start)
    me = visitor(site.url)
    me.go("new")
    me.page.get_by_role("radio", name="shop").check()
    me.click("Look at its tables")
    card = me.page.locator("label.card", has_text="shop")
    assert "password" in card.locator(".error").inner_text().lower()
    assert "d3Jvbmc" not in me.page.content()
    me.examine()


def test_a_table_without_a_key_is_said_at_the_table(shop, visitor):
    site, _, _ = shop
    me = visitor(site.url)
    me.go("new?database=default/shop")
    me.click("log", "link")
    said = me.page.locator("li.card", has_text="log").locator(".error").inner_text()
    assert said == "nothing tells its rows apart: it has no primary key; give it a primary key"
    me.examine()


WRONG = (
    ("Only rows where", "quantity >", "syntax error"),
    ("Only rows where", "amount > 3", "no column amount in orders"),
    ("Only rows where", "quantity > (select 1)", "expected"),
    ("Name", "No Name", "expected the name of an object"),
    ("Compare every", "often", "expected a duration"),
    ("Table there", "", "expected a table name"),
)


def test_what_is_wrong_in_the_form_is_said_at_its_field(form, shop):
    site, _, destination = shop
    for label, value, words in WRONG:
        form.go("new?database=default/shop&table=orders")
        field = form.page.get_by_label(label, exact=True)
        if not field.is_visible():
            form.page.get_by_text("Key, stream, verification").click()
        field.evaluate("(field) => field.removeAttribute('required')")
        field.fill(value)
        form.click("See what it does")
        assert words in form.error_at(label)
        assert form.page.get_by_label(label, exact=True).is_visible()
        assert form.page.get_by_label(label, exact=True).input_value() == value, "what was written is gone"
        form.examine()
    assert [one["kind"] for one in site.documents()] == ["Database", "Database"]
    assert destination.execute("select * from sqlite_master") == []


def test_an_expression_that_the_source_does_not_take_is_said_in_its_row(form):
    form.page.get_by_label("content of row 5").fill("quantity * nothing")
    form.page.get_by_label("name of row 5 there").fill("total")
    form.click("See what it does")
    assert "no column nothing in orders" in form.error_at("content of quantity * nothing")


def test_rows_that_are_there_already_are_asked_about(form, shop):
    _, _, destination = shop
    destination.execute("create table orders (id integer primary key, customer text, quantity integer, status text)")
    destination.execute("insert into orders values (99, 'somebody', 1, 'open')")
    form.click("See what it does")
    assert "is not empty" in form.error_at("Rows that are there already")
    form.page.get_by_label("Rows that are there already").select_option("Replace")
    form.click("See what it does")
    form.click("Make it")
    form.sees("Streaming")
    wait_for(lambda: len(destination.execute("select * from orders")) == 20)


def test_a_database_that_is_not_there_is_said_at_the_destination(pg_db, tmp_path, start, visitor, closed_port):
    source = pg_db()
    make_shop(source)
    away = source.manifests("destination", name="copy", port=closed_port)
    site = Site(tmp_path / "mirror", [*source.manifests(name="shop"), *away])
    site.open(start)
    me = visitor(site.url)
    me.go("new?database=default/shop&schema=public&table=orders")
    me.page.get_by_label("Only rows where").fill("quantity > 3")
    me.click("See what it does")
    assert str(closed_port) in me.error_at("Destination Database")


def test_a_file_that_somebody_broke_is_said_and_the_pages_go_on(shop, visitor):
    site, _, _ = shop
    (site.folder / "more.yaml").write_text("kind: Reflection\nspec: [\n")
    me = visitor(site.url)
    me.go()
    me.sees("The manifests are wrong")
    me.sees("more.yaml")
    assert me.page.get_by_role("link", name="copy").is_visible()
    me.examine()
