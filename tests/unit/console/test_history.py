"""Samples, rates, and charts of them."""

import re
from xml.etree import ElementTree

import pytest

from pantograph import wording
from pantograph.console import charts
from pantograph.console.history import KEPT, Happenings, History, speeds
from pantograph.console.stores import Figures, Happened


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def taken(*figures, every=2.0):
    clock = Clock()
    history = History(clock)
    for one in figures:
        history.take({"a": one})
        clock.now += every
    return history


def test_a_rate_is_what_was_counted_of_late():
    history = taken(*(Figures(written=100 * n, deleted=10 * n) for n in range(30)))
    assert history.rates("a", Figures()).moved == pytest.approx(55.0)


def test_a_copy_has_a_pace_and_an_end():
    history = taken(*(Figures(copying=True, swept=1000 * n, estimated=20_000) for n in range(5)))
    rates = history.rates("a", Figures(copying=True, swept=4000, estimated=20_000))
    assert (rates.swept, rates.left) == (500.0, 32.0)


def test_a_counter_that_begins_anew_is_no_rate_below_nothing():
    assert taken(Figures(written=500), Figures(written=3)).rates("a", Figures()).moved == 0


def test_what_nobody_counts_has_no_rate():
    assert taken(Figures(), Figures()).rates("a", Figures()).moved is None
    assert History().rates("a", Figures()).moved is None


def test_a_rate_that_is_said_is_shown_and_charted_where_nobody_counts():
    clock = Clock()
    history = History(clock, by_looking=True)
    assert history.rates("a", Figures(rate=2.5)).moved == 2.5
    for number in range(6):
        history.looked({"a": Figures(rate=float(number))})
        clock.now += 2.0
    assert history.rates("a", Figures(rate=7.0)).moved == 7.0
    assert [rate for _, rate in speeds(history.of("a"))] == [3.0, 4.0, 5.0]
    assert history.rates("b", Figures()).moved is None


def test_a_lag_between_two_looks_is_not_missed():
    history = taken(*(Figures(lag=0.0, peaks=peaks) for peaks in ((5.0, 10), (6.0, 12), (6.0, 12))))
    assert [sample.lag for sample in history.of("a")] == [0.0, 0.5, 0.0]


def test_history_is_bounded_and_forgets_who_is_gone():
    history = taken(*(Figures(lag=1.0) for _ in range(KEPT + 10)))
    assert len(history.of("a")) == KEPT
    history.take({"b": Figures()})
    assert history.of("a") == []


def test_a_percent_is_full_only_when_it_is_done():
    assert Figures(copying=True, swept=200, estimated=100).percent == 99
    assert Figures(copying=True, swept=5).percent is None
    assert Figures(swept=5, estimated=10).percent is None


@pytest.mark.parametrize(("top", "scale"), [(0, 1), (0.03, 0.05), (1, 1), (1.1, 2), (7, 10), (1001, 2000)])
def test_a_scale_ends_at_a_round_number(top, scale):
    assert charts.nice(top) == pytest.approx(scale)


def drawn(points, title="Lag"):
    return str(charts.line(points, title=title, told=wording.span, least=0.1))


def test_a_chart_is_told_to_those_who_do_not_see_it():
    svg = ElementTree.fromstring(drawn([(0.0, 0.5), (10.0, 3.0), (20.0, 1.0)]))
    assert svg.get("aria-label") == "Lag: now 1.0 s, at most 3.0 s in 60 s"


def test_a_gap_is_drawn_as_a_gap():
    assert drawn([(0.0, 1.0), (1.0, 1.0), (2.0, None), (3.0, 1.0), (4.0, 1.0)]).count("<polyline") == 2


def test_a_long_history_is_drawn_with_few_points_and_no_peak_is_lost():
    points = [(float(n), 9.0 if n == 451 else 1.0) for n in range(900)]
    assert charts.thinned(points, 40)[-1] == (899.0, 1.0)
    assert len(charts.thinned(points, 40)) <= 40
    assert max(value for _, value in charts.thinned(points, 40)) == 9.0
    assert len(str(charts.spark(points, title="", least=1.0))) < 1000
    assert None in [value for _, value in charts.thinned([(0.0, None), *points], 40)]


def test_a_chart_brings_no_style_of_its_own():
    text = drawn([(0.0, 1.0), (1.0, 2.0)], title='<a href="x">')
    assert not re.search(r"style=|<a ", text)


def test_nothing_is_drawn_of_nothing():
    assert "nothing to draw" in drawn([])
    assert "nothing to draw" in drawn([(0.0, None), (1.0, None)])
    assert charts.spark([], title="", least=1.0) == ""


def test_speeds_come_out_of_samples():
    history = taken(*(Figures(written=n * 10) for n in range(8)))
    assert [speed for _, speed in speeds(history.of("a"))] == [5.0] * 5


def told(happenings):
    return [(one.about, one.detail, one.times) for one in happenings.latest()]


def test_what_comes_again_is_one_line_that_says_how_often_and_since_when():
    happenings = Happenings(10)
    happenings.note(Happened(1.0, "streaming began", about="a"))
    for at in range(2, 6):
        happenings.note(Happened(at, "failed", f"{at}00 rows are refused", "a", bad=True))
        happenings.note(Happened(at + 0.5, "failed", "nobody answers", "b", bad=True))
    assert told(happenings) == [("b", "nobody answers", 4), ("a", "500 rows are refused", 4), ("a", "", 1)]
    assert [one.since for one in happenings.latest()] == [2.5, 2.0, 0.0]
    # Something else in between begins a new one.
    happenings.note(Happened(7.0, "streaming began", about="b"))
    happenings.note(Happened(8.0, "failed", "nobody answers", "b", bad=True))
    assert told(happenings)[:3] == [("b", "nobody answers", 1), ("b", "", 1), ("b", "nobody answers", 4)]


def test_no_more_is_kept_of_what_happened_than_it_says():
    happenings = Happenings(3)
    for at in range(10):
        happenings.note(Happened(at, f"one {at}"))
    assert [one.what for one in happenings.latest()] == ["one 9", "one 8", "one 7"]
