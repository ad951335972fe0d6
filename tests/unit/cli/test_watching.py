"""The screen of `status --watch`: what is wrong first, within the height that there is."""

import io

import pytest
from rich.console import Console

from pantograph.api import reading
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.cli import watching
from pantograph.cli.standing import Standing
from pantograph.cli.watching import Line, View, Watched


def line(name, **changed):
    fields = {
        "source": "shop/orders", "destination": "copy/orders", "ready": True, "waits": False, "reason": "Replicating",
        "message": "", "lag": 0.0, "lags": (0.0, 0.0), "rate": 12.0, "pending": 0, "rows": 100, "copying": False,
        "percent": 100, "swept": 0, "copied": None, "dead_letters": 0, "parked": 0,
    }  # fmt: skip
    return Line(name=f"default/{name}", **{**fields, **changed})


def shown(lines, width=120, height=30, **view):
    lines = sorted(lines, key=lambda one: one.order)
    drawn = watching.drawing(
        View("mirror/", lines, view.pop("troubles", ()), view.pop("age", 0.1), **view), width, height
    )
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(drawn)
    return console.file.getvalue()


FAILED = line("broken", ready=False, reason="DestinationRejected", message="orders takes no more rows")
SWEEPING = {"ready": False, "waits": True, "reason": "Snapshot", "copying": True, "lag": None}
COPYING = line("copying", percent=25, swept=2500, copied=500.0, **SWEEPING)
PAUSED = line("paused", ready=False, reason="Paused")
LATE = line("late", lag=90.0, lags=(1.0, 50.0, 90.0), pending=1234)


def order(text):
    names = ("broken", "copying", "late", "fine", "paused")
    text = text[text.index("REFLECTION") :]
    return sorted((name for name in names if name in text), key=text.index)


def test_what_is_wrong_comes_first_then_copies_then_the_furthest_behind_and_the_paused_last():
    text = shown([line("fine"), PAUSED, LATE, COPYING, FAILED])
    assert order(text) == ["broken", "copying", "late", "fine", "paused"]
    assert "1 of 5 needs you" in text
    assert "orders takes no more rows" in text


def test_a_copy_has_a_bar_its_rows_and_its_pace():
    text = shown([COPYING])
    assert "━━━━━━━━━━ 25 % 2,500 rows" in text
    assert "500/s" in text


def test_all_in_step_is_one_word():
    assert "all 2 in step" in shown([line("a"), line("b")])


def test_where_nothing_is_mirrored_nothing_is_in_step():
    text = shown([])
    assert "nothing is mirrored yet" in text
    assert "in step" not in text


def test_rows_that_were_set_aside_are_told():
    text = shown([line("a", dead_letters=3)])
    assert "3 rows set aside" in text
    assert "Replicating, 3 set aside" in text


def test_a_database_that_is_away_is_told_above_all():
    text = shown([FAILED], troubles=[("Database shop", "Unreachable", "nobody answers at shop:5432")])
    assert text.index("Database shop: Unreachable") < text.index("broken")


@pytest.mark.parametrize("height", [10, 12, 24, 50])
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_two_hundred_reflections_fit_on_any_screen(width, height):
    failed = [line(f"broken-{n}", ready=False, reason="Failed", message="no " * 60) for n in range(2)]
    text = shown([*(line(f"r{n}") for n in range(198)), *failed], width, height)
    assert len(text.splitlines()) <= height
    assert "more: " in text
    assert "broken-0" in text


def test_what_is_shown_says_how_old_it_is_when_a_database_does_not_answer():
    assert "as it was 30 s ago" in shown([line("a")], age=30.0)
    assert "as it was" not in shown([line("a")], age=2.0)


def in_cluster(kind, name, spec, reason, *more, **status):
    """An object of a cluster. more: types of conditions that are true as well."""
    told = [
        ("Ready", "True" if reason in ("Replicating", "CaptureInstalled") else "False"),
        *((m, "True") for m in more),
    ]
    status["conditions"] = [
        {"type": type_, "status": truth, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for type_, truth in told
    ]
    body = {"apiVersion": "pantograph.dev/v1alpha1", "kind": kind.KIND, "metadata": {"name": name}, "spec": spec}
    return reading.parse(kind, body | {"status": status}, tolerant=True)


def of_cluster(rows):
    """A look at a cluster: a copy that is at so many rows, one that streams, one whose SourceTable is not there yet."""
    table = in_cluster(
        SourceTable, "orders", {"databaseRef": {"name": "shop"}, "table": "orders"}, "CaptureInstalled", pendingEvents=7
    )

    def of(name, source, reason, *more, **status):
        spec = {"sourceTableRef": {"name": source}, "destination": {"databaseRef": {"name": "copy"}, "table": name}}
        return in_cluster(Reflection, name, spec, reason, *more, **status)

    listed = [
        of("copied", "events", "Snapshot", "Reconciling", snapshot={"rows": rows, "percent": 25}),
        of("streams", "orders", "Replicating", lagSeconds=2.0, rowsPerSecond=12.0, rows=100),
        of("refused", "nothing", "Rejected", "Stalled"),
    ]
    manifests = Manifests({}, {table.key: table}, {one.key: one for one in listed})
    return Standing(manifests, [table, *listed], {})


def test_of_a_cluster_it_shows_what_its_objects_say():
    watched = Watched()
    watched.lines(of_cluster(1000), None)
    refused, copied, streams = watched.lines(of_cluster(2000), 2.0)
    assert (refused.name, refused.waits, copied.waits) == ("default/refused", False, True)
    assert (copied.copying, copied.percent, copied.swept, copied.copied) == (True, 25, 2000, 500.0)
    assert (streams.rate, streams.lags, streams.pending) == (12.0, (2.0, 2.0), 7)
    assert refused.source == "nothing"
    text = shown([refused, copied, streams], counted="rows")
    assert "1 of 3 needs you" in text
    assert "12/s rows" in text
    assert order(text.replace("refused", "broken").replace("copied", "copying").replace("streams", "fine")) == [
        "broken", "copying", "fine"
    ]  # fmt: skip
