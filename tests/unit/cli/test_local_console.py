"""The store of `run --console`: files are what is wanted, and are changed with care."""

import pytest
import yaml

from pantograph import errors
from pantograph.api import reading
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.cli import terminal
from pantograph.cli.consoling import local
from pantograph.cli.consoling.local import LocalStore
from pantograph.cli.running import Running
from pantograph.console.stores import Change
from pantograph.reflector.reporting import Board

DATABASES = """\
# Where it is.
apiVersion: pantograph.dev/v1alpha1
kind: Database
metadata: {name: shop}
spec: {dialect: sqlite, path: shop.db}
---
apiVersion: pantograph.dev/v1alpha1
kind: Database
metadata: {name: copy}
spec: {dialect: sqlite, path: copy.db}
"""
TABLE = {"metadata": {"name": "orders"}, "spec": {"databaseRef": {"name": "shop"}, "table": "orders"}}
COPY = {
    "metadata": {"name": "orders"},
    "spec": {"sourceTableRef": {"name": "orders"}, "destination": {"databaseRef": {"name": "copy"}, "table": "orders"}},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "databases.yaml").write_text(DATABASES)
    return tmp_path


def store(*paths):
    log = terminal.Log()
    return LocalStore([str(path) for path in paths], "default", "local", Running([], Board()), log)


def new(name="orders"):
    copy = reading.parse(Reflection, {**COPY, "metadata": {"name": name}})
    return Change(copy, copy.manifest(), reading.parse(SourceTable, TABLE))


def written(path):
    return [(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(path.read_text()) if one]


def only(asked):
    (one,) = asked.objects().reflections.values()
    return one


def test_in_a_folder_it_gets_a_file_of_its_own(folder):
    store(folder).apply(new())
    assert written(folder / "orders.yaml") == [("SourceTable", "orders"), ("Reflection", "orders")]
    assert (folder / "databases.yaml").read_text() == DATABASES


def test_a_file_of_that_name_is_not_overwritten(folder):
    (folder / "orders.yaml").write_text("# mine\n")
    store(folder).apply(new())
    assert (folder / "orders.yaml").read_text() == "# mine\n"
    assert written(folder / "orders-2.yaml")[1] == ("Reflection", "orders")


def test_where_files_are_named_it_stands_at_the_end_of_one(folder):
    path = folder / "databases.yaml"
    store(path).apply(new())
    assert path.read_text().startswith(DATABASES)
    assert written(path)[2:] == [("SourceTable", "orders"), ("Reflection", "orders")]


def test_the_same_again_is_refused_at_its_name(folder):
    asked = store(folder)
    asked.apply(new())
    with pytest.raises(errors.SpecErrors) as refused:
        asked.apply(new())
    assert {one.path for one in refused.value.errors} == {"metadata.name", "source"}


def test_standard_input_is_not_changed(folder):
    asked = store(folder, "-")
    with pytest.raises(errors.PantographError, match="standard input"):
        asked.apply(new())
    assert not (folder / "orders.yaml").exists()


@pytest.mark.parametrize("act", ["pause", "resync", "allow"])
def test_what_is_done_is_said_in_its_file(folder, act):
    asked = store(folder)
    asked.apply(new())
    asked.act(only(asked), act, 7)
    one = only(asked)
    told = {"pause": one.spec.paused, "resync": one.spec.resync_token, "allow": one.allowed_deletes == 7}
    assert told[act]
    asked.act(one, "resume")
    assert not only(asked).spec.paused


@pytest.fixture
def ended(monkeypatch):
    """What is to be taken away from the databases when a Reflection is deleted; nothing is asked."""
    found = []
    monkeypatch.setattr(local._Ending, "run", lambda self: found.append((self.name, self.table, self.last)))
    return found


def test_a_deleted_one_goes_with_its_own_file_and_alone_out_of_another(folder, ended):
    asked = store(folder)
    asked.apply(new())
    asked.delete(only(asked), table=False)
    assert written(folder / "orders.yaml") == [("SourceTable", "orders")]
    asked.apply(Change(new("again").reflection, new("again").raw))
    asked.delete(only(asked), table=True)
    assert not (folder / "orders.yaml").exists()
    assert not (folder / "again.yaml").exists()
    assert (folder / "databases.yaml").read_text() == DATABASES
    assert [(name, bool(table), last) for name, table, last in ended] == [
        ("default/orders", False, False),
        ("default/again", True, True),
    ]


def test_a_table_that_is_deleted_alone_takes_its_capture_along_unless_it_is_to_stay(folder, ended):
    asked = store(folder)
    asked.apply(new())
    asked.delete(only(asked), table=False)
    (table,) = asked.objects().source_tables.values()
    ended.clear()
    asked.drop(table)
    assert [(name, bool(captured), last) for name, captured, last in ended] == [("", True, True)]
    assert not (folder / "orders.yaml").exists()
    stays = {**TABLE, "spec": {**TABLE["spec"], "deletionPolicy": "Orphan"}}
    copy = new().reflection
    asked.apply(Change(copy, copy.manifest(), reading.parse(SourceTable, stays)))
    asked.delete(only(asked), table=True)
    assert [(name, bool(captured), last) for name, captured, last in ended[1:]] == [("default/orders", False, False)]


def test_a_file_that_was_named_stays_when_nothing_is_left_in_it(folder, ended):
    copies = folder / "copies.yaml"
    store(folder).apply(new())
    (folder / "orders.yaml").rename(copies)
    asked = store(folder / "databases.yaml", copies)
    asked.delete(only(asked), table=True)
    assert written(copies) == []
    assert asked.wrong() == []


def test_what_the_files_said_before_holds_while_one_is_broken(folder):
    asked = store(folder)
    asked.apply(new())
    assert only(asked).name == "orders"
    (folder / "broken.yaml").write_text("kind: [\n")
    assert only(asked).name == "orders"
    assert "broken.yaml" in asked.wrong()[0]


def test_the_log_is_what_happened_but_for_what_it_says_all_the_time(folder):
    asked = store(folder)
    asked._log.event("rows were moved", reflection="orders", rows=5)
    asked._log.event("failed", reflection="orders", reason="Rejected", message="no")
    asked._log.event("noticed", message="default/orders: compared: 5 rows are equal")
    latest, failed = asked.happened()
    assert (failed.what, failed.about, failed.bad) == ("failed", "default/orders", True)
    assert (latest.about, latest.detail) == ("default/orders", "compared: 5 rows are equal")
