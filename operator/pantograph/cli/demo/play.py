"""Makes the shop and the manifests, mirrors while the writer writes, and says at the end what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import shlex
import sys
import time
from collections import deque
from pathlib import Path

from pantograph import errors
from pantograph.apply import sources
from pantograph.cli import files, terminal
from pantograph.cli.demo import shop
from pantograph.cli.demo.screen import Screen, View, line
from pantograph.cli.demo.watching import COUNT_EVERY, Watcher, middle
from pantograph.cli.outcomes import Status
from pantograph.cli.running import Running, Stopping
from pantograph.reflector.reporting import Board

MANIFESTS = "manifests.yaml"
DRAW_EVERY = 0.125
LINE_EVERY = 2.0
SETTLE = 10.0
"""Seconds that the copy may take to catch up once the writer has stopped."""


def run(folder: Path, seconds: float | None) -> Status:
    """Show it, for so many seconds or until told to stop."""
    chance = random.Random()
    manifests_text, again = _prepare(folder, chance)
    wanted = sources.wanted(files.load([str(folder / MANIFESTS)]))
    board = Board()
    running = Running(wanted, board)
    writer = shop.Writer(folder / "shop.db", chance)
    watcher = Watcher(folder / "shop.db", folder / "copy.db", writer)
    live = terminal.is_live(sys.stdout)
    if not live:
        print(
            f"{'Going on with' if again else 'Made'} {folder}/shop.db, and mirroring it into {folder}/copy.db",
            flush=True,
        )
    began = time.monotonic()
    with Stopping() as stopping, contextlib.ExitStack() as stack:
        screen = stack.enter_context(Screen(terminal.console(sys.stdout), str(folder))) if live else None
        views = Views(board, writer, watcher, began)
        running.start()
        writer.start()
        watcher.start()
        view, line_at = views.take(), began + LINE_EVERY
        while not stopping.asked and (seconds is None or time.monotonic() - began < seconds):
            time.sleep(DRAW_EVERY)
            view = views.take()
            if screen:
                screen.show(view)
            elif time.monotonic() >= line_at:
                print(line(view), flush=True)
                line_at += LINE_EVERY
        lasted = time.monotonic() - began
        writer.stop.set()
        writer.join()
        _settle(running)
        if screen:
            # The shop has stopped by now: what it did a second is what it did before.
            screen.show(dataclasses.replace(view, rows=watcher.rows, latest=watcher.latest(), over=True))
        watcher.stop.set()
        watcher.join()
        running.end()
    events = sum(seen.events for seen in board.all())
    changed = (folder / MANIFESTS).read_text(encoding="utf-8") != manifests_text
    return _conclude(folder, writer, watcher, lasted, events, changed, _troubles(board, writer))


class Views:
    """Takes views, and knows the rates between them."""

    def __init__(self, board: Board, writer: shop.Writer, watcher: Watcher, began: float) -> None:
        self._board, self._writer, self._watcher, self._began = board, writer, watcher, began
        self._past: deque[tuple[float, int, int]] = deque([(began, 0, 0)])

    def take(self) -> View:
        """What is to be seen now."""
        now = time.monotonic()
        events = sum(seen.events for seen in self._board.all())
        made = self._writer.committed
        self._past.append((now, made, events))
        while len(self._past) > 2 and self._past[0][0] < now - 3.0:
            self._past.popleft()
        since, made_before, events_before = self._past[0]
        elapsed = max(0.001, now - since)
        return View(
            seconds=now - self._began,
            rows=self._watcher.rows,
            transactions=made,
            rolled_back=self._writer.rolled_back,
            transactions_per_second=(made - made_before) / elapsed,
            events=events,
            events_per_second=(events - events_before) / elapsed,
            delays=self._watcher.recent(),
            latest=self._watcher.latest(),
            trouble="; ".join(_troubles(self._board, self._writer)),
        )


def _troubles(board: Board, writer: shop.Writer) -> list[str]:
    found = [
        f"{terminal.short(seen.name)}: {seen.reason}: {seen.message}"
        for seen in board.all()
        if seen.phase in ("Failed", "Unreachable", "Held")
    ]
    return found + ([f"the shop's writer ended: {writer.failure}"] if writer.failure else [])


def _prepare(folder: Path, chance: random.Random) -> tuple[str, bool]:
    """Make what is missing; the manifests as the demo writes them, and whether the folder is of an earlier demo."""
    text = manifests(folder)
    again = (folder / MANIFESTS).exists() and (folder / "shop.db").exists()
    try:
        if folder.exists() and any(folder.iterdir()) and not again:
            raise errors.PantographError(f"{folder} is not empty and not of an earlier demo; name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        if not again:
            shop.make(folder / "shop.db", chance)
            (folder / MANIFESTS).write_text(text, encoding="utf-8")
        with contextlib.closing(shop.open_file(folder / "copy.db")) as connection:
            connection.execute("pragma journal_mode = wal")
    except OSError as error:
        raise errors.PantographError(f"{folder}: {error.strerror}") from error
    return text, again


def manifests(folder: Path) -> str:
    """The manifests of the demo, for people to read and change."""
    here = folder.resolve()
    parts = [
        "# What the demo mirrors, and where to. Change it, and run the demo again.\n"
        "# The shop. A database on a server has host, port, database and credentials in place of a path.\n"
        + _database("shop", here / "shop.db"),
        "# Its live copy.\n" + _database("copy", here / "copy.db"),
    ]
    replace = "existing: Replace   # rows that were there before us go, but for those that the shop has too"
    where = "# where: \"status = 'shipped'\"   # only these rows; others leave the copy"
    for table in shop.TABLES:
        name = table.replace("_", "-")
        parts.append(
            "apiVersion: pantograph.dev/v1alpha1\nkind: SourceTable\n"
            f"metadata: {{name: {name}}}\nspec:\n  databaseRef: {{name: shop}}\n  table: {table}\n"
        )
        parts.append(
            "apiVersion: pantograph.dev/v1alpha1\nkind: Reflection\n"
            f"metadata: {{name: {name}}}\nspec:\n  sourceTableRef: {{name: {name}}}\n  destination:\n"
            f"    databaseRef: {{name: copy}}\n    table: {table}\n    {replace}\n"
            + (f"  {where}\n" if table == "orders" else "")
        )
    return "---\n".join(parts)


def _database(name: str, path: Path) -> str:
    return (
        "apiVersion: pantograph.dev/v1alpha1\nkind: Database\n"
        f"metadata: {{name: {name}}}\nspec:\n  dialect: sqlite\n  path: {json.dumps(str(path), ensure_ascii=False)}\n"
    )


def _settle(running: Running) -> None:
    """Let the copy catch up with what was committed."""
    names = [seen.name for seen in running.board.all()]
    marks = {name: running.board.of(name).caught_up for name in names}
    deadline = time.monotonic() + SETTLE
    # The first turn that ends from now on may have begun before the last commit; the second did not.
    while time.monotonic() < deadline and any(running.board.of(name).caught_up < marks[name] + 2 for name in names):
        time.sleep(0.02)
    time.sleep(COUNT_EVERY * 1.2)  # for the watcher to count once more


def _conclude(
    folder: Path, writer: shop.Writer, watcher: Watcher, lasted: float, events: int, changed: bool, troubles: list[str]
) -> Status:
    """Say what was done, whether it is right, and what to try next."""
    status = Status.DONE
    print()
    print(
        f"In {lasted:.0f} s the shop committed {terminal.count(writer.committed)} transactions and rolled "
        f"{terminal.count(writer.rolled_back)} more back; capture noted {terminal.count(events)} changed rows."
    )
    if changed:
        print("The manifests are not as the demo wrote them, so the two files were not compared.")
    else:
        compared = list(shop.differences(folder / "shop.db", folder / "copy.db"))
        apart = [f"{table} ({terminal.count(count)})" for table, _, count in compared if count]
        rows = sum(count for _, count, _ in compared)
        if apart:
            print(f"Compared row by row, the two files DIFFER: {', '.join(apart)}.")
            status = Status.FAILED
        else:
            print(
                f"Compared row by row, shop and copy are equal: {terminal.count(rows)} rows in {len(compared)} tables."
            )
    if watcher.delays:
        print(
            f"From commit to visible in the copy: {terminal.span(middle(watcher.delays))} (median), "
            f"{terminal.span(max(watcher.delays))} at most."
        )
    for trouble in troubles:
        terminal.complain(trouble)
        status = Status.FAILED
    print()
    print(f"In {folder}: shop.db, copy.db, and {MANIFESTS}, which says what is mirrored where. Try next:")
    there = shlex.quote(str(folder))
    steps = (
        ("pantograph demo" if str(folder) == DEFAULT_FOLDER else f"pantograph demo {there}", "go on where it stopped"),
        (f"pantograph status -f {there}", "what is mirrored, and how far it is"),
        (f"pantograph run -f {there}", "mirror without the shop's writer; write to shop.db as you like"),
        (f"pantograph verify -f {there}", "are both files equal? also while they change"),
        ("pantograph explain reflection", f"what else {MANIFESTS} may say; `run` follows it while you edit"),
        (f"pantograph remove -f {there}", "take capture out of shop.db again; the rows of the copy stay"),
    )
    width = max(len(call) for call, _ in steps)
    for call, what in steps:
        print(f"  {call.ljust(width)}   {what}")
    return status


DEFAULT_FOLDER = "pantograph-demo"
