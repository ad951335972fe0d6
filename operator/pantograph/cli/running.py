"""`pantograph run`: everything in one process, until it is told to stop or, with `--once`, until all is there."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from pantograph import errors
from pantograph.api.manifests import Manifests
from pantograph.apply import sources
from pantograph.apply.sources import Wanted
from pantograph.cli import files, terminal
from pantograph.cli.outcomes import Status
from pantograph.cli.progress import Progress
from pantograph.dialects import parameters
from pantograph.reflector.process import Process
from pantograph.reflector.reporting import Board, Seen

LOOK_EVERY = 0.1
REREAD_EVERY = 0.5
DRAIN = 10.0
"""Seconds that workers get to finish their turn; what is cut off then is repeated at the next start, nothing else."""


@dataclass(frozen=True)
class Asked:
    """The call. wait: with `once`, seconds that a database may be unreachable. metrics_port: 0 for none. console:
    where the pages listen, "" for nowhere."""

    paths: Sequence[str]
    once: bool = False
    wait: float = 60.0
    metrics_port: int = 0
    metrics_address: str = "127.0.0.1"
    console: str = ""
    adopt: bool = False
    installation: str = sources.LOCAL
    namespace: str = "default"


class Telling(Board):
    """A board that tells what happens as events in the past tense."""

    def __init__(self, log: terminal.Log) -> None:
        super().__init__()
        self._log = log
        self._began: dict[str, tuple[str, float]] = {}
        self.messages = lambda text: log.event("noticed", message=text)

    def changed(self, seen: Seen) -> None:
        """Tell a new phase."""
        name = terminal.short(seen.name)
        what, began = self._began.get(seen.name, ("", 0.0))
        if seen.phase in ("Snapshot", "Sweep"):
            if not what:
                what = "snapshot" if seen.phase == "Snapshot" else "sweep"
                self._began[seen.name] = (what, time.monotonic())
                why = seen.reason if what == "sweep" else ""
                self._log.event(f"{what} began", reflection=name, reason=why, to=seen.destination)
            return
        if seen.phase == "Streaming":
            if what and seen.complete:
                del self._began[seen.name]
                seconds = round(time.monotonic() - began, 3)
                self._log.event(f"{what} ended", reflection=name, rows=seen.upserted, seconds=seconds)
            self._log.event("streaming began", reflection=name)
        elif seen.phase != "Waiting":
            what = "Unreachable" if seen.reason == "Unreachable" else seen.phase
            self._log.event(_EVENTS.get(what, what), reflection=name, reason=seen.reason, message=seen.message)


_EVENTS = {
    "Held": "sweep was held",
    "Deferred": "sweep was deferred",
    "Paused": "paused",
    "Failed": "failed",
    "Unreachable": "database was unreachable",
    "Replanning": "planning began again",
}


@dataclass
class Once:
    """Decides when `--once` is over. Reflections are looked at together, so that "all" means "at one time"."""

    wait: float
    clock: Callable[[], float] = time.monotonic
    marks: dict[str, int] = field(default_factory=dict)
    since: dict[str, tuple[str, float]] = field(default_factory=dict)

    # A worker that backs off may succeed at its second attempt: a failure counts when it stays this long.
    STAYS = 2.0
    REPLANNING_STAYS = 60.0

    def look(self, board: Sequence[Seen]) -> dict[str, Status] | None:
        """How each Reflection ended, or None when it is not over."""
        verdicts = {seen.name: self._verdict(seen) for seen in board}
        if not verdicts or None in verdicts.values():
            return None
        return {name: verdict for name, verdict in verdicts.items() if verdict is not None}

    def _verdict(self, seen: Seen) -> Status | None:
        if seen.phase == "Paused":
            return Status.DONE
        if seen.phase == "Streaming" and seen.complete:
            self.since.pop(seen.name, None)
            mark = self.marks.setdefault(seen.name, seen.caught_up)
            # The first turn that ends after the mark may have begun before it; the second did not.
            return Status.DONE if seen.caught_up >= mark + 2 else None
        self.marks.pop(seen.name, None)
        trouble = "Unreachable" if seen.reason == "Unreachable" else seen.phase
        stays = {
            "Unreachable": self.wait,
            "Deferred": self.STAYS,
            "Failed": self.STAYS,
            "Held": self.STAYS,
            "Replanning": self.REPLANNING_STAYS,
        }.get(trouble)
        if stays is None:
            self.since.pop(seen.name, None)
            return None
        known, since = self.since.get(seen.name, ("", 0.0))
        if known != trouble:
            self.since[seen.name] = (trouble, self.clock())
            return None
        if self.clock() - since < stays:
            return None
        return Status.UNREACHABLE if trouble == "Unreachable" else Status.FAILED


class Stopping:
    """SIGINT and SIGTERM ask to stop; a second SIGINT does not wait.

    The handler only notes it: an Event that is set inside a signal handler may wait for a lock that the interrupted
    code holds.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # the cursor that a progress bar hid
            os._exit(Status.INTERRUPTED)
        self.asked = True


class Running:
    """The processes of all source Databases, each in a thread."""

    def __init__(self, wanted: Sequence[Wanted], board: Board) -> None:
        self.board = board
        self.processes = [Process(one, board, threading.Event()) for one in wanted]
        self._threads = {process.wanted.name: self._thread(process) for process in self.processes}

    @staticmethod
    def _thread(process: Process) -> threading.Thread:
        return threading.Thread(target=process.run, name=process.wanted.name, daemon=True)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads.values():
            thread.start()

    def end(self, patience: float = DRAIN) -> bool:
        """Stop, and wait for turns to end; whether all have."""
        return self._end(self.processes, patience)

    def change(self, wanted: Sequence[Wanted]) -> bool:
        """Do what is wanted now; whether that is anything else. A source that nothing changes for is not disturbed."""
        there = {process.wanted.name: process for process in self.processes}
        named = {one.name: one for one in wanted}
        gone = [process for name, process in there.items() if name not in named]
        changed = [one for name, one in named.items() if name in there and there[name].wanted != one]
        new = [Process(one, self.board, threading.Event()) for name, one in named.items() if name not in there]
        self._end(gone, DRAIN)
        for process in gone:
            self.processes.remove(process)
            for _, copies in process.wanted.copies.values():
                for copy in copies:
                    self.board.drop(copy.name)
        for one in changed:
            there[one.name].change(one)
        for process in new:
            self.processes.append(process)
            thread = self._threads[process.wanted.name] = self._thread(process)
            thread.start()
        return bool(gone or changed or new)

    def _end(self, processes: Sequence[Process], patience: float) -> bool:
        for process in processes:
            process.stop.set()
        deadline = time.monotonic() + patience
        threads = [self._threads[process.wanted.name] for process in processes]
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def refused(self) -> errors.PantographError | None:
        """Why none of the sources can be read by us, when that is so."""
        fatal = [process.fatal for process in self.processes]
        return fatal[0] if fatal and all(fatal) else None


def run(asked: Asked) -> Status:
    """Run until told to stop, or until all is there."""
    manifests = _load(asked)
    wanted = sources.wanted(manifests, installation=asked.installation, adopt=asked.adopt)
    files.refuse_conflicts(manifests, wanted)
    parameters.prepare_for_threads()
    live = terminal.is_live(sys.stderr)
    drawn = terminal.console(sys.stderr) if live else None
    log = terminal.Log(drawn=drawn)
    board = Telling(log)
    running = Running(wanted, board)
    names = _names(wanted)
    for name in names:
        board.of(name)
    with contextlib.ExitStack() as stack:
        stopping = stack.enter_context(Stopping())
        if asked.metrics_port:
            from pantograph.reflector.exporting import Exporter

            stack.enter_context(Exporter(board, running.processes, asked.metrics_port, asked.metrics_address))
            log.event("metrics were opened", url=f"http://{asked.metrics_address}:{asked.metrics_port}/metrics")
        if asked.console:
            from pantograph.cli.consoling.local import LocalStore
            from pantograph.console.serving import Console, place_here

            store = LocalStore(asked.paths, asked.namespace, asked.installation, running, log)
            host, port = place_here(asked.console)
            console = stack.enter_context(Console(lambda *_: store, host, port, figures=store.figures))
            log.event("the console was opened", url=console.url)
        progress = stack.enter_context(Progress(board, log, drawn))
        log.event("started", sources=len(wanted), reflections=len(names), installation=asked.installation)
        running.start()
        ended = _watch(asked, manifests, running, stopping, progress, log)
        whole = running.end()
        progress.update()
    log.event("stopped", complete=None if whole else "no; what was cut off is repeated at the next start")
    if isinstance(ended, errors.PantographError):
        raise ended
    if ended is not None:
        return _report(board, ended)
    return Status.DONE


def _load(asked: Asked) -> Manifests:
    """The manifests. With a console there may be no SourceTable yet: that is where the first one is made."""
    if asked.console:
        return files.load_with_sources(asked.paths, asked.namespace, none_yet=True)
    return files.load_with_sources(asked.paths, asked.namespace)


def _names(wanted: Sequence[Wanted]) -> list[str]:
    return [copy.name for one in wanted for _, copies in one.copies.values() for copy in copies]


class Rereading:
    """Looks now and then whether the files of manifests have changed. Standard input is read once."""

    def __init__(
        self, asked: Asked, manifests: Manifests, log: terminal.Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._asked, self._manifests, self._log, self._clock = asked, manifests, log, clock
        self._marks = None if "-" in asked.paths else files.marks(asked.paths)
        self._read = self._marks
        self._look_at = clock() + REREAD_EVERY

    def look(self) -> list[Wanted] | None:
        """What is wanted now, when the files are not what they were and nothing is wrong with them."""
        if self._marks is None or self._clock() < self._look_at:
            return None
        self._look_at = self._clock() + REREAD_EVERY
        before, self._marks = self._marks, files.marks(self._asked.paths)
        # Whoever writes several files, or one slowly, is given the time between two looks.
        if self._marks != before or self._marks == self._read:
            return None
        self._read = self._marks
        try:
            manifests = _load(self._asked)
            if changed := manifests.changed_since(self._manifests):
                raise errors.SpecErrors(changed)
            wanted = sources.wanted(manifests, installation=self._asked.installation, adopt=self._asked.adopt)
            files.refuse_conflicts(manifests, wanted)
            self._manifests = manifests
            return wanted
        except errors.PantographError as error:
            for line in str(error).splitlines():
                self._log.event("manifests were wrong; going on as before", message=line)
            return None


def _watch(
    asked: Asked, manifests: Manifests, running: Running, stopping: Stopping, progress: Progress, log: terminal.Log
) -> dict[str, Status] | errors.PantographError | None:
    """Until it is over: how each Reflection ended, or an error that ends all, or None when told to stop."""
    once = Once(asked.wait) if asked.once else None
    rereading = Rereading(asked, manifests, log)
    while not stopping.asked:
        time.sleep(LOOK_EVERY)
        progress.update()
        refused = running.refused()
        if refused is not None:
            return refused
        if once is not None:
            if (ended := once.look(running.board.all())) is not None:
                return ended
            for process in running.processes:
                process.look_now()
        elif (wanted := rereading.look()) is not None and running.change(wanted):
            log.event("manifests were read again", sources=len(wanted), reflections=len(_names(wanted)))
    return None


def _report(board: Board, ended: dict[str, Status]) -> Status:
    """Print what `--once` came to."""
    rows, worst = [], Status.DONE
    for seen in board.all():
        status = ended.get(seen.name, Status.DONE)
        result = {Status.DONE: "caught up", Status.FAILED: "failed", Status.UNREACHABLE: "unreachable"}[status]
        if seen.phase == "Paused":
            result = "paused"
        rows.append((terminal.short(seen.name), result, terminal.count(seen.upserted), terminal.count(seen.deleted)))
        if status is not Status.DONE:
            terminal.complain(f"{terminal.short(seen.name)}: {seen.reason}: {seen.message or 'see the log above'}")
            worst = Status.FAILED if Status.FAILED in (status, worst) else status
    print(terminal.table(("REFLECTION", "RESULT", "ROWS WRITTEN", "ROWS DELETED"), rows))
    return worst
