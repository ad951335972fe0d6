"""`/metrics` as it is served."""

import urllib.error
import urllib.request

import pytest
from prometheus_client import parser

from pantograph import errors, metrics
from pantograph.metrics import exposition

ONE = metrics.Metric("pantograph_b_total", "counter", "B.", of_object=False)


@pytest.fixture
def address(closed_port):
    with exposition.Server(lambda: exposition.text((ONE,), [(ONE, "", 1)]), closed_port, "127.0.0.1"):
        yield f"http://127.0.0.1:{closed_port}"


def test_the_page_is_served_with_what_the_process_tells_of_itself(address):
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert found["pantograph_b"].samples[0].value == 1
    assert "process_resident_memory_bytes" in found


def test_there_is_no_other_page(address):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/etc/passwd", timeout=10)


def test_a_port_that_is_taken_is_an_error_that_says_so(address, closed_port):
    with pytest.raises(errors.PantographError, match=rf"127\.0\.0\.1:{closed_port}.*--metrics-port"):
        exposition.Server(lambda: "", closed_port, "127.0.0.1").__enter__()
