"""Every page, for everybody: at three widths, in light and dark, without JavaScript, and for who does not see it."""

import urllib.error
import urllib.request

import pytest
import yaml

from tests.command.conftest import reflection, source_table
from tests.console.conftest import WIDTHS, Site, make_shop, wait_for

pytestmark = pytest.mark.full
PAGES = (
    "", "databases/default/shop", "tables/default/orders", "reflections/default/orders",
    "reflections/default/orders/edit", "reflections/default/orders/delete", "new", "new?database=default/shop",
    "new?database=default/shop&table=customers", "databases/new", "databases/default/shop/edit",
    "tables/default/orders/edit", "databases/default/copy/delete", "nothing/here",
)  # fmt: skip


@pytest.fixture
def mirrored(sqlite_db, tmp_path, start):
    """The console over two Reflections, one of which fails, and a dead letter."""
    source, destination = sqlite_db("source"), sqlite_db("destination")
    make_shop(source)
    destination.execute("create table orders (id integer primary key, quantity integer check (quantity < 20))")
    destination.execute("create table customers (id integer primary key, name text)")
    destination.execute("insert into customers values (77, 'before us')")
    site = Site(
        tmp_path / "mirror",
        [
            *source.manifests(name="shop"),
            *destination.manifests("destination", name="copy"),
            source_table("orders"),
            source_table("customers"),
            reflection("orders", onError="DeadLetter", columns=[{"source": "id"}, {"source": "quantity"}]),
            reflection("customers"),
        ],
    )
    site.open(start)
    site.process.said("streaming began reflection=orders")
    site.process.said("failed reflection=customers")
    return site, source, destination


BOTH = (("light", "desk"), ("dark", "phone"))
OTHERS = [(scheme, width) for scheme in ("light", "dark") for width in WIDTHS if (scheme, width) not in BOTH]


@pytest.mark.parametrize(
    ("scheme", "width"), [*BOTH, *(pytest.param(*each, marks=pytest.mark.night) for each in OTHERS)]
)
def test_every_page_is_whole_for_everybody(mirrored, visitor, scheme, width):
    site, _, _ = mirrored
    wide, high = WIDTHS[width]
    me = visitor(site.url, color_scheme=scheme, viewport={"width": wide, "height": high}, reduced_motion="reduce")
    for page in PAGES:
        me.go(page)
        if page.endswith("edit"):
            for part in me.page.locator("summary").all():
                part.click()
        me.examine()
    (complaint,) = me.complaints
    assert "404" in complaint  # of the page that is not there
    me.complaints.clear()


def test_what_is_wrong_comes_first_and_dead_letters_are_told_by_reason(mirrored, visitor):
    site, _, _ = mirrored
    me = visitor(site.url)
    me.go()
    me.sees("1 of 2 needs you")
    first = me.page.locator("#reflections tbody tr").first
    assert "DestinationNotEmpty" in first.inner_text()
    me.go("reflections/default/orders")
    me.sees("dead")
    me.sees("select * from")
    assert me.page.locator("#letters tbody tr").count() == 1


def test_rows_that_were_set_aside_are_tried_again_when_the_table_was_mended(shop, visitor):
    site, _, destination = shop
    destination.execute("create table orders (id integer primary key, customer text, quantity integer, status text)")
    destination.execute(
        "create trigger refuses before insert on orders when new.id = 5 begin select raise(abort, 'no'); end"
    )
    made = reflection("orders", onError="DeadLetter")
    (site.folder / "orders.yaml").write_text(yaml.safe_dump_all([source_table("orders"), made]))
    me = visitor(site.url)
    wait_for(lambda: len(destination.execute("select * from orders")) == 19)
    me.go("reflections/default/orders")
    me.sees("a trigger refused the row")
    destination.execute("drop trigger refuses")
    me.click("Retry rows")
    me.sees("1 row is tried again now")
    wait_for(lambda: len(destination.execute("select * from orders")) == 20)
    me.page.locator("#letters").get_by_text("None.").wait_for()


def test_the_numbers_follow_without_loading_the_page(mirrored, visitor):
    site, source, _ = mirrored
    me = visitor(site.url)
    me.go("reflections/default/orders")
    link = me.page.get_by_role("link", name="Edit")
    link.focus()
    source.execute("update orders set quantity = quantity - 1 where id < 10")
    me.sees("28, 0")
    assert link.evaluate("(link) => link === document.activeElement"), "the focus was lost"


def test_a_console_that_has_gone_is_said(mirrored, visitor):
    site, _, _ = mirrored
    me = visitor(site.url)
    me.go()
    assert site.process.end() == 0
    me.page.get_by_text("Not live").wait_for()
    me.complaints = [one for one in me.complaints if "ERR_CONNECTION" not in one]


def test_everything_works_without_javascript(shop, visitor):
    site, _, destination = shop
    me = visitor(site.url, java_script_enabled=False)
    me.go()
    me.click("Make the first one", "link")
    me.page.get_by_role("radio", name="shop").check()
    me.click("Look at its tables")
    me.click("customers", "link")
    me.click("Another row")
    me.page.get_by_label("kind of row 3").select_option("text")
    me.page.get_by_label("content of row 3").fill("eu")
    me.page.get_by_label("name of row 3 there").fill("region")
    me.page.get_by_label("type of row 3 there").fill("varchar(9)")
    me.click("See what it does")
    me.sees("region")
    me.click("Make it")
    wait_for(lambda: destination.execute("select 1 from sqlite_master where name = 'customers'") != [])
    wait_for(lambda: len(destination.execute("select * from customers where region = 'eu'")) == 20)
    me.page.reload()
    me.sees("Streaming")


def test_it_can_all_be_done_with_the_keyboard(shop, visitor):
    site, _, _ = shop
    me = visitor(site.url)
    me.go("new?database=default/shop&table=orders")
    me.page.keyboard.press("Tab")
    assert me.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    me.page.get_by_label("Only rows where").focus()
    me.page.get_by_label("Name", exact=True).focus()
    me.page.keyboard.press("Enter")  # looks, and never does it
    me.sees("Nothing was changed yet")
    assert len(site.documents()) == 2


def test_a_manifest_of_somebody_keeps_its_remarks_when_a_field_is_changed(mirrored, visitor):
    site, _, _ = mirrored
    path = site.folder / "databases.yaml"
    text = path.read_text().replace(
        "  onError: DeadLetter\n", "  # Ask Maria before you change this.\n  onError: DeadLetter\n"
    )
    path.write_text(text)
    me = visitor(site.url)
    me.go("reflections/default/orders/edit")
    me.page.get_by_text("Key, stream, verification").click()
    me.page.get_by_label("Compare every").fill("12h")
    me.click("See what it does")
    me.click("Apply the change")
    me.sees("was changed in")
    changed = path.read_text()
    assert "# Ask Maria before you change this." in changed
    assert site.reflection("orders")["spec"]["verify"] == {"every": "12h", "repair": True}
    assert [line for line in text.splitlines() if line not in changed.splitlines()] == []


def test_what_somebody_changed_meanwhile_is_not_overwritten(mirrored, visitor):
    site, _, _ = mirrored
    me = visitor(site.url)
    me.go("reflections/default/orders/edit")
    path = site.folder / "databases.yaml"
    path.write_text(path.read_text().replace("  onError:", "  where: quantity > 1\n  onError:"))
    me.page.get_by_text("Key, stream, verification").click()
    me.page.get_by_label("Compare every").fill("12h")
    me.click("See what it does")
    me.sees("somebody changed it meanwhile")
    assert me.page.get_by_role("button", name="Apply the change").count() == 0


@pytest.mark.night
def test_rows_whose_deletion_waits_are_deleted_when_a_person_says_so(shop, visitor, start):
    site, _, destination = shop
    documents = [source_table("orders"), reflection("orders", destination={
        "databaseRef": {"name": "copy"}, "table": "orders", "existing": "Replace"
    })]  # fmt: skip
    destination.execute("create table orders (id integer primary key, customer text, quantity integer, status text)")
    with destination.connect("superuser") as connection:
        connection.executemany("insert into orders values (?, 'x', 1, 'x')", [(n,) for n in range(100, 1200)])
    (site.folder / "orders.yaml").write_text(yaml.safe_dump_all(documents))
    me = visitor(site.url)
    me.go("reflections/default/orders")
    me.sees("SweepHeld", timeout=40_000)
    me.sees("1,100 rows of the destination are not at the source")
    me.click("Delete these 1,100 rows")
    wait_for(lambda: len(destination.execute("select * from orders")) == 20)
    me.sees("Streaming")


def status(url, **headers):
    request = urllib.request.Request(url, headers=headers, data=b"" if headers.get("Origin") else None)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_page_of_another_site_can_do_nothing(mirrored):
    site, _, _ = mirrored
    before = (site.folder / "databases.yaml").read_text()
    pause = f"{site.url}reflections/default/orders/pause"
    own = site.url.rstrip("/")
    assert status(site.url, Host="evil.example") == 421
    assert status(pause, Origin="http://evil.example") == 403
    assert status(pause, Origin=own) == 403, "without the token of a page"
    assert status(pause) == 404, "by a link"
    assert (site.folder / "databases.yaml").read_text() == before
