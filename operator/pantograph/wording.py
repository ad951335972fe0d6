"""Numbers, durations and names as a person would say them: the same in a terminal, on a page and in a message."""

from __future__ import annotations

DEFAULT_NAMESPACE = "default/"


def short(name: str) -> str:
    """`namespace/name` as a person would say it where there is one namespace: without `default/`."""
    return name.removeprefix(DEFAULT_NAMESPACE)


def count(number: float) -> str:
    """`1,234,567`."""
    return f"{number:,.0f}"


def span(seconds: float) -> str:
    """A duration with as many digits as matter: `3 ms`, `4.2 s`, `12 min`, `3 h`, `2 d`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            value = seconds / size
            return f"{value:.1f} {unit}" if unit == "s" and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
