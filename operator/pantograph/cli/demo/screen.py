"""The demo's screen: what is in both files, how far apart they are, and what just happened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pantograph.cli import terminal
from pantograph.cli.demo import shop
from pantograph.cli.demo.watching import Arrival, middle

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType

SHOWN = 8


@dataclass(frozen=True)
class View:
    """What is to be seen at one moment. rows: in the shop, in the copy. delays: commit to visible, of late."""

    seconds: float
    rows: tuple[dict[str, int], dict[str, int]]
    transactions: int
    rolled_back: int
    transactions_per_second: float
    events: int
    events_per_second: float
    delays: list[float]
    latest: list[Arrival]
    trouble: str = ""
    over: bool = False


def line(view: View) -> str:
    """The view as one line, for where there is no terminal."""
    here, there = (sum(rows.values()) for rows in view.rows)
    text = (
        f"{view.seconds:3.0f} s: {terminal.count(here)} rows in the shop, {terminal.count(there)} in the copy; "
        f"{view.transactions_per_second:.0f} transactions and {view.events_per_second:.0f} events a second"
    )
    if view.delays:
        text += f"; lag {terminal.span(middle(view.delays))}"
    return text + (f"; {view.trouble}" if view.trouble else "")


class Screen:
    """Draws views over each other."""

    def __init__(self, drawn: Console, folder: str) -> None:
        from rich.live import Live

        self._folder = folder
        self._live = Live(console=drawn, auto_refresh=False, transient=False)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, view: View) -> None:
        """Draw."""
        self._live.update(self._drawing(view), refresh=True)

    def _drawing(self, view: View) -> Group:
        from rich.console import Group
        from rich.text import Text

        title = Text.assemble(
            ("Pantograph demo", "bold"),
            f"   {self._folder}/shop.db → {self._folder}/copy.db   ",
            (f"{view.seconds:.0f} s", "dim"),
        )
        hint = "" if view.over else "Ctrl-C ends it"
        foot = Text(view.trouble, style="red") if view.trouble else Text(hint, style="dim")
        return Group(
            Text(""),
            title,
            Text(""),
            self._tables(view),
            Text(""),
            self._rates(view),
            Text(""),
            self._latest(view),
            foot,
        )

    def _tables(self, view: View) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("table", min_width=14)
        for head in ("in the shop", "in the copy"):
            table.add_column(head, justify="right", min_width=12)
        table.add_column("")
        here, there = view.rows
        for name in shop.TABLES:
            rows, copied = here.get(name, 0), there.get(name, 0)
            same = Text("=", style="green") if rows == copied else Text("≠ on its way", style="yellow")
            table.add_row(name, terminal.count(rows), terminal.count(copied), same)
        return table

    def _rates(self, view: View) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(style="dim", min_width=14)
        table.add_column()
        table.add_row(
            "the shop",
            f"{view.transactions_per_second:.0f} transactions a second, {terminal.count(view.transactions)} in all, "
            f"{terminal.count(view.rolled_back)} more rolled back",
        )
        table.add_row("capture", f"{view.events_per_second:.0f} events a second, {terminal.count(view.events)} in all")
        if view.delays:
            lag = Text.assemble(
                (terminal.span(middle(view.delays)), "bold green"),
                f" from commit to visible, {terminal.span(max(view.delays))} at most   ",
                (terminal.sparkline(view.delays, 24), "green"),
            )
        else:
            lag = Text("the first copy is being made", style="yellow")
        table.add_row("lag", lag)
        return table

    def _latest(self, view: View) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("latest changes", min_width=8)
        table.add_column("", min_width=44)
        table.add_column("")
        shown = view.latest[:SHOWN]
        for arrival in shown:
            at = time.strftime("%H:%M:%S", time.localtime(arrival.change.at))
            table.add_row(Text(at, style="dim"), arrival.change.text, _arrived(arrival))
        for _ in range(SHOWN - len(shown)):
            table.add_row("", "", "")  # so that the screen keeps its height
        return table


def _arrived(arrival: Arrival) -> RenderableType:
    from rich.text import Text

    if not arrival.change.arrived:
        return Text("never left the shop", style="dim")
    if arrival.after is None:
        return Text("overtaken by a later change", style="dim")
    return Text(f"in the copy after {terminal.span(arrival.after)}", style="green")
