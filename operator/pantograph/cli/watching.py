"""`pantograph status --watch`: a screen to leave open. What is wrong first, then what is on its way, then who lags.

It looks in a thread of its own, so that the screen goes on, and says how old what it shows is, while a database or the
API server does not answer.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pantograph import errors
from pantograph.api.databases import Database
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.cli import standing, terminal
from pantograph.cli.outcomes import Status
from pantograph.cli.standing import Standing

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

DRAW_EVERY = 0.5
KEPT = 24
"""Lags of each Reflection that are drawn."""
OLD = 6.0
"""Seconds after which it is said how old what is shown is."""
BAR = 10


@dataclass(frozen=True)
class Line:
    """One Reflection. rate: applied a second, of events where the databases are asked and of rows in a cluster;
    copied: rows of a copy a second; None where nobody knows yet. waits: it is not ready, and goes on by itself."""

    name: str
    source: str
    destination: str
    ready: bool
    waits: bool
    reason: str
    message: str
    lag: float | None
    lags: Sequence[float]
    rate: float | None
    pending: int | None
    rows: int | None
    copying: bool
    percent: int | None
    swept: int
    copied: float | None
    dead_letters: int
    parked: int

    @property
    def order(self) -> tuple[int, float, str]:
        """Wrong first, then on its way, then the furthest behind; what is paused last."""
        rank = 2
        if not self.ready:
            rank = 3 if self.reason == "Paused" else 1 if self.waits else 0
        elif self.dead_letters:
            rank = 1
        return rank, -(self.lag or 0.0), self.name


@dataclass(frozen=True)
class View:
    """What is to be seen at one moment. troubles: of Databases and SourceTables; age: seconds since it was so;
    counted: what the rates are of."""

    place: str
    lines: Sequence[Line]
    troubles: Sequence[tuple[str, str, str]]
    age: float
    failure: str = ""
    counted: str = "events"


@dataclass
class Watched:
    """What was seen, look by look: turns it into lines with rates and lags of late."""

    lags: dict[str, deque[float]] = field(default_factory=dict)
    swept: dict[str, int] = field(default_factory=dict)

    def lines(self, seen: Standing, seconds: float | None) -> list[Line]:
        """The lines of a look. seconds: since the look before, None for the first."""
        found = []
        for one in seen.resources:
            if isinstance(one, Reflection):
                found.append(self._line(seen, one, seconds))
        for name in self.lags.keys() - {line.name for line in found}:
            del self.lags[name]
        return sorted(found, key=lambda line: line.order)

    def _line(self, seen: Standing, one: Reflection, seconds: float | None) -> Line:
        name, verdict, status = f"{one.namespace}/{one.name}", seen.verdict(one), one.status
        lags = self.lags.setdefault(name, deque(maxlen=KEPT))
        if status.lag_seconds is not None:
            lags.append(status.lag_seconds)
        # In a cluster a Reflection may be there before what it names.
        table = seen.manifests.source_tables.get(one.source_key)
        look = seen.looks.get(table.database_key, standing.Look()) if table else standing.Look()
        moved = look.moved.get(name)
        copying = verdict.reason in ("Snapshot", "Sweep")
        before = self.swept.get(name)
        self.swept[name] = status.snapshot.rows if copying else 0
        copied = None
        if copying and seconds and before is not None and status.snapshot.rows >= before:
            copied = (status.snapshot.rows - before) / seconds
        return Line(
            name=name,
            source=f"{table.spec.database_ref.name}/{table.qualified_table}" if table else one.source_key[1],
            destination=f"{one.spec.destination.database_ref.name}/{one.qualified_table}",
            ready=verdict.ready,
            waits=verdict.on_its_way,
            reason=verdict.reason,
            message=verdict.message,
            lag=status.lag_seconds,
            lags=tuple(lags),
            rate=moved / seconds if moved is not None and seconds else status.rows_per_second,
            pending=_pending(seen, look, table, name),
            rows=status.rows,
            copying=copying,
            percent=status.snapshot.percent,
            swept=status.snapshot.rows,
            copied=copied,
            dead_letters=status.dead_letters or 0,
            parked=status.parked or 0,
        )


def _pending(seen: Standing, look: standing.Look, table: SourceTable | None, name: str) -> int | None:
    """Events that a Reflection has not applied: of several that read one table, a cluster's status does not tell."""
    if name in look.behind:
        return look.behind[name][0]
    return table.status.pending_events if table and len(seen.manifests.reflections_of(table)) == 1 else None


def troubles(seen: Standing) -> list[tuple[str, str, str]]:
    """Subject, reason and message of every Database and SourceTable that is not Ready, and that is not about to be."""
    found = []
    for one in seen.resources:
        verdict = seen.verdict(one)
        if isinstance(one, Database | SourceTable) and not verdict.ready and not verdict.on_its_way:
            found.append((one.subject, verdict.reason, verdict.message))
    return found


class _Looking(threading.Thread):
    """Looks, again and again; `latest` is the last look and when it was begun and ended (monotonic)."""

    def __init__(self, see: standing.See) -> None:
        super().__init__(name="looking", daemon=True)
        self._see = see
        self.latest: tuple[Standing, float] | None = None
        self.failure: errors.PantographError | None = None

    def run(self) -> None:
        before: Standing | None = None
        while True:
            began = time.monotonic()
            try:
                before = self._see(before)
                self.latest = (before, began)
                self.failure = None
            except Exception as error:  # the screen says it, and the next look may be better
                self.failure = error if isinstance(error, errors.PantographError) else errors.Bug(error)
            time.sleep(max(0.2, standing.WATCH_EVERY - (time.monotonic() - began)))


def run(see: standing.See) -> Status:
    """Show it until Ctrl-C; never returns."""
    from rich.live import Live
    from rich.text import Text

    looking, watched = _Looking(see), Watched()
    looking.start()
    console = terminal.console(sys.stdout)
    lines: list[Line] = []
    wrong: list[tuple[str, str, str]] = []
    drawn_of = 0.0
    with Live(Text("asking…", style="dim"), console=console, screen=True, auto_refresh=False) as live:
        while True:
            if looking.latest is not None and looking.latest[1] != drawn_of:
                seen, began = looking.latest
                lines = watched.lines(seen, began - drawn_of if drawn_of else None)
                wrong, drawn_of = troubles(seen), began
            if drawn_of or looking.failure:
                age = time.monotonic() - drawn_of if drawn_of else 0.0
                view = View(see.place, lines, wrong, age, str(looking.failure or ""), see.counts)
                live.update(drawing(view, console.width, console.height), refresh=True)
            time.sleep(DRAW_EVERY)


# -- drawing -----------------------------------------------------------------------------------------------------------


def drawing(view: View, width: int, height: int) -> Group:
    """The screen, no higher than `height`."""
    from rich.console import Group
    from rich.text import Text

    head: list[RenderableType] = [_title(view, width), Text(""), _summary(view)]
    wrong = _wrong(view, width, max(2, height // 4))
    head += [Text(""), *wrong, Text("")] if wrong else [Text("")]
    room = max(1, height - len(head) - 2)
    shown = view.lines if len(view.lines) <= room else view.lines[: max(1, room - 1)]
    parts: list[RenderableType] = [*head, _table(shown, width)]
    if left := view.lines[len(shown) :]:
        parts.append(Text(f"… and {len(left)} more: {_states(left)}", style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _wrong(view: View, width: int, room: int) -> list[RenderableType]:
    """What is wrong, in words: one or two lines each, and `room` in all."""
    from rich.text import Text

    told = list(view.troubles)
    told += [(terminal.short(one.name), one.reason, one.message) for one in view.lines if one.order[0] == 0]
    found: list[RenderableType] = []
    most = 2 if room > 3 else 1
    for number, (subject, reason, message) in enumerate(told):
        text = Text.assemble((f"▲ {subject}: {reason}", "bold red"), (f"  {message}" if message else "", "red"))
        lines = text.wrap(terminal.console(sys.stdout), width)
        if len(lines) > most:
            lines[most - 1].truncate(width - 2)
            lines[most - 1].append(" …")
        if len(found) + min(most, len(lines)) > room - (number < len(told) - 1):
            found.append(Text(f"▲ and {len(told) - number} more", style="bold red"))
            break
        found += lines[:most]
    return found


def _title(view: View, width: int) -> RenderableType:
    from rich.text import Text

    right = time.strftime("%H:%M:%S")
    if view.age > OLD:
        right = f"as it was {terminal.span(view.age)} ago  {right}"
    title = Text.assemble(("Pantograph", "bold"), (f"  {view.place}", "dim"), overflow="ellipsis", no_wrap=True)
    title.truncate(max(10, width - len(right) - 2), overflow="ellipsis", pad=True)
    title.append(f"  {right}", style="yellow" if view.age > OLD else "dim")
    return title


def _summary(view: View) -> RenderableType:
    from rich.text import Text

    if view.failure:
        return Text(f"▲ {view.failure}", style="bold red")
    if not view.lines:
        return Text("nothing is mirrored yet", style="dim")
    wrong = sum(line.order[0] == 0 for line in view.lines)
    ready = sum(line.ready for line in view.lines)
    if wrong:
        text = Text(f"{wrong} of {len(view.lines)} need{'s' * (wrong == 1)} you", style="bold red")
    elif ready == len(view.lines):
        text = Text(f"all {ready} in step" if ready > 1 else "in step", style="bold green")
    else:
        text = Text(f"{ready} of {len(view.lines)} in step", style="bold")
    lags = [line.lag for line in view.lines if line.lag is not None and line.reason != "Paused"]
    rates = [line.rate for line in view.lines if line.rate is not None]
    if lags:
        text.append(f"   lag {terminal.span(max(lags))} at most", style="not bold default")
    if rates:
        text.append(f"   {_rate(sum(rates))} {view.counted}", style="not bold default")
    letters = sum(line.dead_letters for line in view.lines)
    if letters:
        text.append(f"   {terminal.count(letters)} row{'s' * (letters != 1)} set aside", style="yellow")
    return text


def _states(lines: Sequence[Line]) -> str:
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.reason] = counts.get(line.reason, 0) + 1
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda pair: -pair[1]))


def _table(lines: Sequence[Line], width: int) -> Table:
    """A line each."""
    from rich.table import Table
    from rich.text import Text

    wide, narrow = width >= 110, width < 72
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True, pad_edge=False)
    table.add_column("REFLECTION", ratio=3, no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column("TO", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("STATE", ratio=5, no_wrap=True, overflow="ellipsis")
    table.add_column("LAG", justify="right", no_wrap=True, min_width=6)
    if wide:
        table.add_column("OF LATE", no_wrap=True, width=KEPT // 2)
    if not narrow:
        table.add_column("RATE", justify="right", no_wrap=True, min_width=7)
        table.add_column("WAITING", justify="right", no_wrap=True, min_width=7)
    if wide:
        table.add_column("ROWS", justify="right", no_wrap=True, min_width=7)
    for line in lines:
        cells: list[RenderableType] = [Text(terminal.short(line.name), style="bold" if line.order[0] == 0 else "")]
        cells += [Text(line.destination, style="dim")] if wide else []
        cells += [_state(line), "" if line.lag is None else terminal.span(line.lag)]
        cells += [Text(terminal.sparkline(line.lags, KEPT // 2), style="cyan")] if wide else []
        if not narrow:
            cells += [
                _rate(line.copied if line.copying else line.rate),
                "" if line.pending is None else terminal.count(line.pending),
            ]
        cells += ["" if line.rows is None else terminal.count(line.rows)] if wide else []
        table.add_row(*cells)
    return table


def _state(line: Line) -> Text:
    from rich.text import Text

    rank = line.order[0]
    if line.copying:
        return _copy(line)
    noted = [f"{terminal.count(line.dead_letters)} set aside"] if line.dead_letters else []
    noted += [f"{terminal.count(line.parked)} wait for parents"] if line.parked else []
    if line.ready:
        text = Text("● ", style="green")
        return text.append(", ".join([line.reason, *noted]), style="yellow" if line.dead_letters else "")
    if line.reason == "Paused":
        return Text("■ Paused", style="dim")
    return Text(f"▲ {line.reason}", style="bold red") if rank == 0 else Text(f"◐ {line.reason}", style="yellow")


def _copy(line: Line) -> Text:
    from rich.text import Text

    text = Text("◐ ", style="yellow")
    if line.percent is not None:
        full = BAR * line.percent // 100
        text.append("━" * full, style="cyan").append("━" * (BAR - full), style="bright_black")
        text.append(f" {line.percent} %", style="not dim")
    return text.append(f" {terminal.count(line.swept)} rows")


def _rate(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}/s" if 0 < value < 10 else f"{value:,.0f}/s"
