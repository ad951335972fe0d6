"""The dashboard, with a Prometheus that scrapes a reflector at work: every query says something."""

from __future__ import annotations

import json
import pathlib
import re
import threading

import pytest
import yaml

from pantograph import metrics
from pantograph.handlers.exporting import Counts
from pantograph.handlers.known import Known
from pantograph.handlers.outcomes import Outcome
from pantograph.metrics import exposition
from tests.command.conftest import Process, reflection, source_table, write
from tests.monitoring.prometheus import ROOT, RULES, Prometheus, scraping
from tests.servers.processes import free_port
from tests.support.clients import Client
from tests.support.comparison import wait_until

BOARD = json.loads((ROOT / "charts" / "pantograph" / "files" / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def queries():
    """Title and expression of every query, with the variables as they are at first."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in BOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def filled(expression):
    return re.sub(r"\$(namespace|name)\b", ".*", expression).replace("$__rate_interval", "30s")


def test_a_query_asks_for_metrics_that_are_declared_and_records_that_are_made():
    records = {rule.get("record") for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    declared = {metric.name for metric in metrics.ALL}
    for title, expression in queries():
        used = set(re.findall(r"\bpantograph_[a-z_]+", expression))
        assert {re.sub("_(bucket|sum|count)$", "", name) for name in used} <= declared, title
        assert set(re.findall(r"pantograph:\w+:\w+", expression)) <= records, title


def test_every_metric_is_on_the_dashboard():
    shown = " ".join(expression for _, expression in queries())
    assert [metric.name for metric in metrics.ALL if metric.name not in shown] == []


def test_panels_have_a_title_words_and_a_place_of_their_own():
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"].endswith(".")
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def operators_page():
    """The operator's own page, of what it has seen of one Reflection; there is no cluster here."""
    known, counts = Known(), Counts()
    never = {"type": "Ready", "status": "False", "reason": "NotStarted", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    body = reflection("orders") | {"status": {"conditions": [{**never, "message": ""}]}}
    body["metadata"] = {"name": "orders", "namespace": "default", "resourceVersion": "1", "generation": 1}
    known.see(body)
    counts.looked(known.group(("default", "")), Outcome(), 0.1)
    counts.watched("reflections")
    return lambda: counts.page(known, leads=True)


class Busy:
    """A source that is written all the time, and manifests of everything that a dashboard could show."""

    def __init__(self, folder: pathlib.Path, source, destination):
        self.app = Client(source)
        for table in ("stock", "checked", "paused", "large", "lost"):
            self.app.run(f"create table {table} (id int primary key, qty int)")
        self.app.run("insert into large select i, i from generate_series(1, 20000) i")
        self.app.run("analyze large")
        destination.execute("create table checked (id int primary key, qty int check (qty < 5))")
        away = {
            "apiVersion": "pantograph.dev/v1alpha1",
            "kind": "Database",
            "metadata": {"name": "away"},
            "spec": {
                "dialect": "postgresql",
                "host": "127.0.0.1",
                "port": free_port(),
                "database": "away",
                "credentials": {"secretName": "away"},
            },
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "away"},
            "stringData": {"username": "u", "password": "p"},
        }
        documents = [
            *source.manifests(name="shop", reflector={"sweep": {"maxRowsPerSecond": 100}}),
            *destination.manifests("destination", name="copy"),
            secret,
            away,
            *(source_table(name) for name in ("stock", "checked", "paused", "large", "lost")),
            # Of a Reflection of this name the first comparison comes soon.
            reflection("stock", verify={"every": "1m"}),
            reflection("checked", onError="DeadLetter"),
            reflection("paused", paused=True),
            reflection("large"),
            reflection("lost", destination={"databaseRef": {"name": "away"}, "table": "lost"}),
        ]
        self.manifests = write(folder, documents)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)
        self.app.close()

    def _write(self):
        number = 0
        while not self._stop.wait(0.1):
            number += 1
            with self.app.transaction():
                for table in ("stock", "checked"):
                    self.app.run(f"insert into {table} values (?, ?)", number, number % 7)
                    self.app.run(f"update {table} set qty = qty where id = ?", number)


@pytest.mark.full
def test_every_query_of_the_dashboard_says_something_of_a_reflector_at_work(start, tmp_path, pg_db, sqlite_db):
    ports = free_port(), free_port()
    with (
        Busy(tmp_path, pg_db(), sqlite_db("copy")) as busy,
        exposition.Server(operators_page(), ports[1], "127.0.0.1"),
        Prometheus(tmp_path, scraping([f"127.0.0.1:{port}" for port in ports])) as prometheus,
    ):
        running: Process = start("run", "-f", busy.manifests, "--metrics-port", ports[0])
        silent = dict.fromkeys(queries())

        def all_said():
            for title, expression in list(silent):
                if prometheus.query(filled(expression)):
                    del silent[title, expression]
            assert not silent, list(silent)
            return True

        wait_until(all_said, "an answer to every query", 90.0)
        assert running.end() == 0
