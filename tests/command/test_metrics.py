"""`/metrics` while `run` runs: what is declared, and nothing of the rows."""

import re
import socket
import urllib.request

import pytest

from pantograph import metrics
from tests.command.conftest import wait_for


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def value(text, metric, **labels):
    wanted = {f'{label}="{said}"' for label, said in labels.items()}
    for line in text.splitlines():
        found = re.fullmatch(rf"{metric}\{{(.*)\}} (\S+)", line)
        if found and wanted <= set(found[1].split(",")):
            return float(found[2])
    return None


def test_a_scrape_has_what_is_declared_and_no_value_of_a_row(start, shop, port):
    running = start("run", "-f", shop.manifests, "--metrics-port", port)
    wait_for(shop.equal)
    shop.source.execute("update orders set customer = 'A. Secret', quantity = 4711")
    shop.source.execute("delete from orders where id = 5")
    wait_for(shop.equal)
    wait_for(lambda: value(scraped(port), "pantograph_reflection_lag_seconds", name="orders") == 0)
    text = scraped(port)
    assert value(text, "pantograph_reflection_rows_applied_total", name="orders", operation="upsert") >= 9
    assert value(text, "pantograph_reflection_rows_applied_total", name="orders", operation="delete") == 1
    assert value(text, "pantograph_reflection_events_read_total", name="orders") == 6
    assert value(text, "pantograph_snapshot_complete", name="customers") == 1
    assert value(text, "pantograph_reflection_image", name="orders") == 1
    assert value(text, "pantograph_reflection_last_success_timestamp_seconds", name="orders") > 1.7e9
    assert (
        value(text, "pantograph_reflection_info", name="orders", source_database="shop", destination_database="copy")
        == 1
    )
    assert "Secret" not in text
    assert "4711" not in text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE pantograph_")}
    declared = {metric.name for metric in metrics.REFLECTOR}
    assert told - declared <= {name.removesuffix("_total") + "_created" for name in declared}
    assert declared <= told
    assert running.end() == 0


def test_what_nobody_knows_is_absent(start, shop, port):
    shop.destination.execute("create table orders (id integer primary key, customer text, quantity integer)")
    shop.destination.execute("insert into orders values (1, 'mine', 1)")
    running = start("run", "-f", shop.manifests, "--metrics-port", port)
    running.said("failed reflection=orders")
    text = scraped(port)
    assert value(text, "pantograph_reflection_lag_seconds", name="orders") is None
    assert value(text, "pantograph_reflection_pending_events", name="orders") is None
    assert value(text, "pantograph_reflection_stalled", name="orders") == 1
    assert value(text, "pantograph_reflection_failures_total", name="orders", reason="DestinationNotEmpty") == 1
    assert " -1" not in text
    assert running.end() == 0


def test_without_a_port_nothing_listens(start, shop):
    running = start("run", "-f", shop.manifests)
    running.said("streaming began reflection=orders")
    assert "metrics" not in "".join(running.errors)
    assert running.end() == 0
