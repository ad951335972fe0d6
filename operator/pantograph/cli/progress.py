"""What `run` shows while it runs: bars on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pantograph.cli import terminal
from pantograph.reflector.reporting import Board, Seen

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY = 10.0
COPYING = ("Snapshot", "Sweep")


class Progress:
    """Shows a board. `update` is called often, from one thread."""

    def __init__(
        self, board: Board, log: terminal.Log, drawn: Console | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board, self._log, self._clock = board, log, clock
        self._bars = Bars(drawn) if drawn is not None else None
        self._line_at = clock() + LINE_EVERY
        self._before: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Progress:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def update(self) -> None:
        """Look at the board, and show what has changed."""
        if self._bars:
            seen = self._board.all()
            self._bars.show(seen, [lag for one in seen if (lag := self._board.lag(one)) is not None])
        elif self._clock() >= self._line_at:
            self._line_at = self._clock() + LINE_EVERY
            self._lines(self._board.all())

    def _lines(self, board: list[Seen]) -> None:
        for seen in board:
            name = terminal.short(seen.name)
            written, swept = seen.upserted + seen.deleted, seen.sweep_rows
            rows, copied = self._before.get(seen.name, (0, 0))
            self._before[seen.name] = (written, swept)
            if seen.phase in COPYING:
                rate = max(0, swept - copied) / LINE_EVERY
                left = (seen.sweep_estimated - swept) / rate if rate else None
                self._log.event(
                    "rows were copied", reflection=name, rows=swept, of_about=seen.sweep_estimated or None,
                    rows_per_second=round(rate), seconds_left=round(left) if left and left > 0 else None,
                )  # fmt: skip
            elif seen.phase == "Streaming" and written != rows:
                self._log.event(
                    "rows were moved", reflection=name, rows=written - rows, lag_seconds=self._board.lag(seen)
                )


class Bars:
    """A bar for every Reflection that is copied, and one line for those that stream."""

    def __init__(self, drawn: Console) -> None:
        from rich import progress
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        self._rich = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.percentage:>3.0f} %"),
            progress.TextColumn("{task.fields[rows]}"),
            progress.TextColumn("{task.fields[rate]}", style="dim"),
            progress.TimeRemainingColumn(compact=True),
            console=drawn,
            auto_refresh=False,
        )
        self._line = Text("")
        self._live = Live(Group(self._rich, self._line), console=drawn, refresh_per_second=8, transient=True)
        self._tasks: dict[str, Any] = {}

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self) -> None:
        """Take away what was drawn."""
        self._live.stop()

    def show(self, board: list[Seen], lags: list[float]) -> None:
        """Draw anew."""
        for name in self._tasks.keys() - {seen.name for seen in board}:
            self._rich.remove_task(self._tasks.pop(name))
        for seen in board:
            copying = seen.phase in COPYING
            if copying and seen.name not in self._tasks:
                self._tasks[seen.name] = self._rich.add_task(terminal.short(seen.name), rows="", rate="")
            if not copying and seen.name in self._tasks:
                self._rich.remove_task(self._tasks.pop(seen.name))
            if copying:
                self._bar(self._tasks[seen.name], seen)
        streaming = sum(seen.phase == "Streaming" for seen in board)
        text = f"{streaming} of {len(board)} streaming"
        if lags and streaming:
            text += f", lag {terminal.span(max(lags))}"
        written = sum(seen.upserted + seen.deleted for seen in board)
        self._line.plain = f"{text}, {terminal.count(written)} rows written; Ctrl-C stops"

    def _bar(self, task: Any, seen: Seen) -> None:
        # An estimate may be too low; a bar that is full while rows come would say that it is done.
        total = max(seen.sweep_estimated, seen.sweep_rows + 1) if seen.sweep_estimated else None
        speed = next(one.speed for one in self._rich.tasks if one.id == task)
        self._rich.update(
            task,
            completed=seen.sweep_rows,
            total=total,
            rows=f"{terminal.count(seen.sweep_rows)} rows",
            rate=f"{terminal.count(speed)}/s" if speed else "",
        )
