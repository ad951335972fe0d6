"""Durations, sizes and hours are read from what users write, and written the shortest way."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantograph.api import values


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("200ms", timedelta(milliseconds=200), "200ms"),
        ("1500ms", timedelta(seconds=1.5), "1s500ms"),
        ("90s", timedelta(seconds=90), "1m30s"),
        ("1h30m", timedelta(minutes=90), "1h30m"),
        ("7d", timedelta(days=7), "7d"),
        ("24h", timedelta(days=1), "1d"),
        ("0s", timedelta(0), "0s"),
    ],
)
def test_durations(text: str, value: timedelta, written: str) -> None:
    assert values.parse_duration(text) == value
    assert values.format_duration(value) == written


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5S", "1.5s", "5s\n", "5µs", "999999999d24h", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        values.parse_duration(text)


@given(st.integers(0, 10**12))
def test_a_duration_written_is_read_as_the_same(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert values.parse_duration(values.format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "value"), [("16Mi", 2**24), ("64k", 64_000), ("1Gi", 2**30), ("5", 5), (5, 5), ("2M", 2_000_000), ("0", 0)]
)
def test_sizes(text: str | int, value: int) -> None:
    assert values.parse_size(text) == value


@pytest.mark.parametrize("text", ["", "Mi", "1.5Mi", "16MB", "16 Mi", "-1", "1K"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        values.parse_size(text)


@given(st.integers(0, 2**40))
def test_a_size_written_is_read_as_the_same(value: int) -> None:
    assert values.parse_size(values.format_size(value)) == value


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        ("01:00-02:30", ["01:00", "02:29"], ["00:59", "02:30", "23:00"]),
        ("00:00-00:00", ["00:00", "12:00"], []),
    ],
)
def test_hours_of_a_day(hours: str, inside: list[str], outside: list[str]) -> None:
    window = values.Hours.parse(hours)
    assert str(window) == hours
    assert all(time.fromisoformat(moment) in window for moment in inside)
    assert not any(time.fromisoformat(moment) in window for moment in outside)
