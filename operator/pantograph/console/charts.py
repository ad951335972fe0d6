"""Charts as SVG: attributes only, for the pages allow no style of their own. Colours come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

Point = tuple[float, float | None]
"""A time in seconds and a value; None where nobody knows."""
SPARKS, POINTS = 40, 320
"""Points of a line at most: a page may hold hundreds of the small ones, and is sent every two seconds."""
WIDTH, HEIGHT = 640.0, 160.0
LEFT, BOTTOM, TOP = 68.0, 22.0, 10.0


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many points: of each stretch the highest, so that no peak goes, and nobody knows where nobody did."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    found: list[Point] = []
    for start in range(0, len(points), size):
        few = points[start : start + size]
        known = [value for _, value in few if value is not None]
        found.append((few[-1][0], max(known) if len(known) == len(few) else None))
    return found


def nice(top: float) -> float:
    """The next of 1, 2, 5, 10, … that is not below."""
    if top <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(top))
    return next(size * step for step in (1, 2, 5, 10) if size * step >= top * 0.999999)


def line(
    points: Sequence[Point], *, title: str, told: Callable[[float], str], least: float, span: float = 1800.0
) -> Markup:
    """A line over time with its area, three horizontal lines with their values, and how long ago it begins.

    told: a value for a person; least: the scale never ends below it, so that noise does not look like a mountain.
    """
    known = [value for _, value in points if value is not None]
    if len(points) < 2 or not known:
        return Markup('<p class="quiet">{}: there is nothing to draw yet.</p>').format(title)
    points = thinned(points, POINTS)
    end = points[-1][0]
    seconds = min(span, max(60.0, end - points[0][0]))
    top = nice(max(least, *known))

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - 8) * (1 - (end - at) / seconds)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="'
        f'{escape(f"{title}: now {_now(points, told)}, at most {told(max(known))} in {_ago(seconds)}")}">'
    ]
    for share in (0.0, 0.5, 1.0):
        at = y(top * share)
        parts.append(f'<line class="grid" x1="{LEFT:g}" y1="{at:.1f}" x2="{WIDTH - 8:g}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8:g}" y="{at + 4:.1f}" text-anchor="end">{escape(told(top * share))}</text>')
    for run in _runs(points, end - seconds):
        traced = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in run)
        ends = f"{x(run[-1][0]):.1f},{y(0):.1f} {x(run[0][0]):.1f},{y(0):.1f}"
        parts.append(f'<polygon class="area" points="{traced} {ends}"/><polyline class="line" points="{traced}"/>')
    parts.append(f'<text x="{LEFT:g}" y="{HEIGHT - 4:g}">{_ago(seconds)} ago</text>')
    parts.append(f'<text x="{WIDTH - 8:g}" y="{HEIGHT - 4:g}" text-anchor="end">now</text></svg>')
    return Markup("".join(parts))


def spark(points: Sequence[Point], *, title: str, least: float) -> Markup:
    """A line alone, small enough for a row of a table."""
    known = [value for _, value in points if value is not None]
    if len(points) < 2 or not known:
        return Markup("")
    points = thinned(points, SPARKS)
    top, first, last = max(least, *known), points[0][0], points[-1][0]
    parts = [f'<svg class="spark" viewBox="0 0 96 22" role="img" aria-label="{escape(title)}">']
    for run in _runs(points, first):
        traced = " ".join(
            f"{1 + 94 * (at - first) / max(1e-9, last - first):.1f},{20 - 18 * value / top:.1f}" for at, value in run
        )
        parts.append(f'<polyline class="line" points="{traced}"/>')
    return Markup("".join(parts) + "</svg>")


def _runs(points: Sequence[Point], since: float) -> list[list[tuple[float, float]]]:
    """The stretches in which the value is known."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is None or at < since:
            runs.append([])
        else:
            runs[-1].append((at, value))
    return [run for run in runs if len(run) > 1]


def _now(points: Sequence[Point], told: Callable[[float], str]) -> str:
    return "unknown" if points[-1][1] is None else told(points[-1][1])


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
