"""The page as Prometheus reads it."""

import pytest
from prometheus_client import parser

from pantograph import metrics
from pantograph.metrics import exposition

GAUGE = metrics.Metric("pantograph_a", "gauge", "A.", ("table",))
COUNTER = metrics.Metric("pantograph_b_total", "counter", "B.", of_object=False)
HISTOGRAM = metrics.Metric("pantograph_c_seconds", "histogram", "C.", buckets=(0.1, 2.5))


def families(text):
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def test_a_page_is_read_back_as_it_was_meant_whatever_a_label_holds():
    nasty = 'a "b" \\ c\nd'
    histogram = metrics.Histogram(HISTOGRAM.buckets)
    for value in (0.05, 0.1, 1.0, 99.0):
        histogram.observe(value)
    labels = exposition.labelled(metrics.OBJECT, ("default", "orders"))
    page = exposition.text(
        (GAUGE, COUNTER, HISTOGRAM),
        [
            (GAUGE, exposition.labelled(GAUGE.all_labels, ("n", "o", nasty)), 1.5),
            (COUNTER, "", 7),
            (HISTOGRAM, labels, histogram),
        ],
    )
    found = families(page)
    (sample,) = found["pantograph_a"].samples
    assert (sample.labels["table"], sample.value) == (nasty, 1.5)
    assert found["pantograph_b"].type == "counter"
    assert [s.value for s in found["pantograph_b"].samples] == [7]
    samples = {(s.name, s.labels.get("le")): s.value for s in found["pantograph_c_seconds"].samples}
    assert samples["pantograph_c_seconds_bucket", "0.1"] == 2
    assert samples["pantograph_c_seconds_bucket", "2.5"] == 3
    assert samples["pantograph_c_seconds_bucket", "+Inf"] == samples["pantograph_c_seconds_count", None] == 4
    assert samples["pantograph_c_seconds_sum", None] == pytest.approx(100.15)
    assert all(s.labels["name"] == "orders" for s in found["pantograph_c_seconds"].samples)


def test_a_metric_without_a_sample_is_told_of_all_the_same():
    assert families(exposition.text((GAUGE,), []))["pantograph_a"].documentation == "A."
