"""Every field of a Reflection is read and changed on the page, as a browser shows it and sends it, and no other is."""

import copy

import pytest
import yaml

from pantograph.api.reflections import Reflection
from tests.command.conftest import source_table
from tests.console.conftest import Site
from tests.unit.api import everything

pytestmark = pytest.mark.full

EXPRESSION = "case\n  when quantity > 5 then 'many'\n  else 'few'\nend"
ROWS = [
    {"source": "id"},
    {"source": "quantity", "destination": "how many"},
    {"expression": EXPRESSION, "destination": "much", "type": "varchar(9)"},
    {"value": ' of "two"\nlines ', "destination": "region"},
    {"value": 9223372036854775807, "destination": "five"},
    {"system": "appliedAt", "destination": "synced"},
    {"source": "customer", "destination": "customer"},
]
FIXED = (
    "spec.sourceTableRef.name", "spec.destination.databaseRef.name", "spec.destination.schema", "spec.destination.table"
)  # fmt: skip


def leaves():
    """The path of every field that holds no other fields; of an item of a list, that of the first."""
    paths = [str(field) for field in everything.fields(Reflection)]
    return [path for path in paths if not any(other.startswith((f"{path}.", f"{path}[")) for other in paths)]


def whole():
    """A Reflection with every field away from its default, but for `exclude`, which excludes `columns`."""
    body = everything.manifest(Reflection)
    del body["spec"]["exclude"]
    body["metadata"] |= {"name": "whole", "labels": {"team": "shop"}}
    body["spec"] |= {
        "sourceTableRef": {"name": "orders"}, "columns": ROWS, "key": [{"source": "id", "destination": "id"}],
        "where": "quantity > 1\n  and status <> 'draft'", "softDelete": {"column": "gone"},
        "statement": "insert into sales.orders (id)\nvalues (:id)", "deleteStatement": "select :id",
    }  # fmt: skip
    body["spec"]["destination"] |= {"databaseRef": {"name": "copy"}, "existing": "Keep"}
    return body


def but_one():
    """One that leaves columns out."""
    body = whole()
    del body["spec"]["columns"], body["spec"]["key"]
    body["metadata"]["name"] = body["spec"]["destination"]["table"] = "most"
    body["spec"] |= {"exclude": ["status"], "statement": "", "deleteStatement": ""}
    return body


@pytest.fixture
def site(pg_db, tmp_path, start):
    """The console over both."""
    source, destination = pg_db(), pg_db()
    source.execute(
        "create table orders (id integer primary key, customer varchar(40), quantity integer, status varchar(9))"
    )
    one = Site(
        tmp_path / "mirror",
        [
            *source.manifests(name="shop"),
            *destination.manifests("destination", name="copy", allow={"statements": True}),
            source_table("orders", schema="public"),
            whole(),
            but_one(),
        ],
    )
    one.open(start)
    return one


class Editing:
    """Somebody before the form of a Reflection, with all of it open."""

    def __init__(self, me, body):
        self.me, self.body = me, body
        self.open()

    def open(self):
        self.me.go(f"reflections/default/{self.body['metadata']['name']}/edit")
        self.me.page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")

    def at(self, name):
        return self.me.page.locator(f'[id="{name}"]')

    def value(self, name):
        """What the field shows."""
        field = self.at(name)
        return field.is_checked() if field.get_attribute("type") == "checkbox" else field.input_value()

    def manifest(self):
        """What would be written."""
        self.me.click("See what it does")
        assert self.at("yaml").count() == 1, self.me.page.locator("main").inner_text()[:2000]
        return yaml.safe_load(self.at("yaml").inner_text())


def in_place(body, path):
    """The mapping that a field is in, and its name there."""
    *steps, last = path.split(".")
    for step in steps:
        name, _, number = step.partition("[")
        body = body.setdefault(name, {}) if not number else body[name][int(number[:-1])]
    return body, last


def plainly(editing, path):
    """Change the field with this path; what it says then."""
    field = editing.at(path)
    was = editing.value(path)
    if isinstance(was, bool):
        field.click()
        return not was
    if field.evaluate("(field) => field.tagName") == "SELECT":
        others = field.locator("option").evaluate_all("(all) => all.map((one) => one.value)")
        new = next(one for one in others if one not in ("", was))
        field.select_option(new)
        return new
    new = {"spec.verify.every": "6h", "spec.where": "id > 1\nor id < 5"}.get(path, "other")
    field.fill(new)
    return new


def put(number, letter, name, value):
    """Fill a field of a row of the columns or of the key, and what that makes of the manifest."""

    def change(editing, body):
        editing.at(f"{letter}{number}.{name}").fill(str(value))
        here = body["spec"]["columns" if letter == "c" else "key"][number]
        old = ROWS[number] if letter == "c" else here
        field = {"to": "destination", "what": next(iter(old))}.get(name, name)
        here[field] = value

    return change


def tick(editing, body):
    editing.me.page.get_by_label("mirror status", exact=True).check()
    body["spec"]["columns"].append({"source": "status"})


def untick(editing, body):
    editing.me.page.get_by_label("mirror quantity", exact=True).uncheck()
    body["spec"]["exclude"] = ["quantity", "status"]


def not_marked(editing, body):
    editing.at("spec.onDelete").select_option("Ignore")
    editing.at("spec.softDelete.column").fill("")
    body["spec"]["onDelete"] = "Ignore"
    del body["spec"]["softDelete"]


OTHERWISE = {
    "spec.columns[0].source": tick,
    "spec.columns[0].expression": put(2, "c", "what", "case when id > 1\nthen 'a' end"),
    "spec.columns[0].value": put(4, "c", "what", 6),
    "spec.columns[0].system": put(5, "c", "what", "operation"),
    "spec.columns[0].destination": put(1, "c", "to", "number"),
    "spec.columns[0].type": put(2, "c", "type", "varchar(10)"),
    "spec.key[0].source": put(0, "k", "source", "customer"),
    "spec.key[0].destination": put(0, "k", "to", "customer"),
    "spec.onDelete": not_marked,
    "spec.exclude[0]": untick,
}
"""Fields that are part of a row, or go with another."""


def test_what_nobody_touched_stays_as_it_is_whatever_is_in_it(site, visitor):
    me = visitor(site.url)
    for body in (whole(), but_one()):
        editing = Editing(me, body)
        assert editing.manifest() == body


def test_every_field_is_read_and_changed_and_no_other_changes_with_it(site, visitor):
    me = visitor(site.url)
    for path in leaves():
        body = but_one() if path == "spec.exclude[0]" else whole()
        editing = Editing(me, body)
        wanted = copy.deepcopy(body)
        if path in FIXED:
            here, last = in_place(wanted, path)
            assert here[last] in me.page.locator("main").inner_text(), path
            continue
        if path in OTHERWISE:
            OTHERWISE[path](editing, wanted)
        else:
            here, last = in_place(wanted, path)
            assert editing.value(path) == here[last], path
            here[last] = plainly(editing, path)
        assert editing.manifest() == wanted, path
