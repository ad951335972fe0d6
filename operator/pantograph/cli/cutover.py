"""`pantograph cutover`: may the application move to the copy now? Looks, waits, compares, sets numbers; says why not.

Nothing here stops anybody from writing to the source: that is the application's part, and whether it has is what is
looked at first and last.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pantograph import dialects, errors
from pantograph.api.manifests import Manifests
from pantograph.apply import numbers, prepare, sources
from pantograph.apply.numbers import Numbered
from pantograph.apply.prepare import Captured, Report
from pantograph.apply.sources import Wanted
from pantograph.cli import files, running, standing, terminal
from pantograph.cli import verify as verifying
from pantograph.cli.outcomes import Status
from pantograph.database.sessions import Session
from pantograph.dialects.base import Role, WindowReader
from pantograph.model.changes import NOWHERE, Position
from pantograph.pipeline import steps

LOOK_EVERY = 1.0
COUNTED = 1_000_000
REMEMBERED = ("surplus", "unrepairable", "extra")
"""Noted keys that nobody waits for: a comparison or a sweep remembers them."""


@dataclass(frozen=True)
class Asked:
    """The call. quiet: seconds without a change. wait: seconds for the copy to catch up. leave_numbers: set none."""

    paths: Sequence[str]
    quiet: float = 5.0
    wait: float = 60.0
    leave_numbers: bool = False
    installation: str = sources.LOCAL
    namespace: str = "default"


def run(asked: Asked) -> Status:
    """Say that it is done, or why not."""
    try:
        return _steps(asked)
    except errors.DependencyNotReady as error:
        return Status.DONE if _said(iter([str(error)])) else Status.NOT_SO


def _steps(asked: Asked) -> Status:
    """One after the other; the first that does not come about ends it."""
    manifests = files.load_with_sources(asked.paths, asked.namespace)
    wanted = sources.wanted(manifests, installation=asked.installation)
    log = terminal.Log()
    with contextlib.ExitStack() as stack:
        watched = [stack.enter_context(_watching(one)) for one in wanted]
        log.event("looking whether the sources are quiet", seconds=asked.quiet)
        time.sleep(asked.quiet)
        if not _said(why for one in watched for why in one.disturbed()):
            return Status.NOT_SO
        if not _running(manifests, asked, log):
            return Status.NOT_SO
        log.event("waiting until all is applied")
        if not _said(_drained(manifests, asked)):
            return Status.NOT_SO
        log.event("comparing")
        if not _said(_differences(wanted, asked)):
            return Status.NOT_SO
        if not _said(why for one in watched for why in one.disturbed()):
            return Status.NOT_SO
        if not asked.leave_numbers:
            log.event("looking at the numbers of rows to come")
            if not _said(_numbers(wanted, log)):
                return Status.NOT_SO
    where = ", ".join(sorted({name for one in wanted for name in one.copies}))
    count = len(manifests.reflections)
    print(
        f"Done: {count} Reflection{'s are' if count != 1 else ' is'} equal to the source, where nothing has changed "
        f"meanwhile. Stop the mirror, and let the application write to {where}."
    )
    return Status.DONE


def _said(reasons: Iterator[str]) -> bool:
    """Say every reason; whether there was none."""
    found = list(reasons)
    for reason in found:
        terminal.complain(f"not yet: {reason}")
    return not found


# -- quiet? ------------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A source, from a moment on."""

    name: str
    session: Session
    side: Session
    reader: WindowReader
    captured: dict[str, Captured] = field(repr=False)
    since: Position = NOWHERE

    def look(self) -> Position:
        """How far it is now. The snapshot stays open until `end`."""
        with self.session.step(steps.OPEN_SNAPSHOT):
            return self.reader.open(self.session, [self.since])

    def disturbed(self) -> Iterator[str]:
        """What has been written since, and who is about to."""
        until = self.look()
        with self.session.step(steps.COUNT_EVENTS):
            captures = [one.capture.id for one in self.captured.values()]
            pending = self.reader.pending(self.session, dict.fromkeys(captures, self.since), until, COUNTED)
        self.session.rollback()
        for one in self.captured.values():
            events, _ = pending.get(one.capture.id, (None, 0.0))
            if events is not None and events.events:
                count = f"{terminal.count(events.events)} change{'s' if events.events > 1 else ''}"
                yield f"{one.shape.label} of {self.name} is still written to ({count} since it was first looked at)"
            with self.side.step(steps.INSPECT):
                blocker = self.side.dialect.in_the_way(self.side, one.shape.schema, one.shape.name)
            if blocker:
                yield f"{one.shape.label} of {self.name} may still be written to: {blocker}"
                return


@contextlib.contextmanager
def _watching(wanted: Wanted) -> Iterator[Watched]:
    dialect = dialects.load(wanted.address)
    with (
        contextlib.closing(Session(dialect, Role.READER)) as session,
        contextlib.closing(Session(dialect, Role.SIDE)) as side,
    ):
        report = Report()
        captured, control = prepare.source(
            session, dialect, wanted.owner, wanted.tables, report, lease=wanted.lease, act=False
        )
        for error in report.failed.values():
            raise error
        name = terminal.short(wanted.name)
        if control is None or report.actions:
            raise errors.DependencyNotReady(f"Database {name} is not captured yet; `pantograph run` begins")
        reader = dialect.reader([one.capture for one in captured.values()])
        watched = Watched(name, session, side, reader, captured)
        with contextlib.closing(reader):
            watched.since = watched.look()
            session.rollback()
            yield watched


# -- drained? ----------------------------------------------------------------------------------------------------------


def _running(manifests: Manifests, asked: Asked, log: terminal.Log) -> bool:
    """See to it that somebody moves what waits: a mirror that runs, or this process, once."""
    idle = [
        one
        for one in manifests.databases.values()
        if manifests.source_tables_of(one) and not standing.is_read(manifests, one)
    ]
    if not idle:
        return True
    log.event("nobody moves rows now; doing it here", source=", ".join(one.name for one in idle))
    once = running.Asked(
        asked.paths, once=True, wait=asked.wait, installation=asked.installation, namespace=asked.namespace
    )
    if running.run(once) is Status.DONE:
        return True
    terminal.complain("not yet: not all could be applied")
    return False


def _drained(manifests: Manifests, asked: Asked) -> Iterator[str]:
    deadline = time.monotonic() + asked.wait
    while reasons := list(_waiting(manifests, asked.installation)):
        if time.monotonic() >= deadline:
            yield from reasons
            return
        time.sleep(LOOK_EVERY)


def _waiting(manifests: Manifests, installation: str) -> Iterator[str]:
    """Why not all that was committed is in the copies."""
    seen = standing.look(manifests, installation)
    for one in manifests.reflections.values():
        name = f"{one.namespace}/{one.name}"
        verdict = seen.verdict(next(r for r in seen.resources if (r.KIND, r.key) == (one.KIND, one.key)))
        source = manifests.source_database_of(one)
        events = seen.looks[source.key].behind.get(name, (0, 0.0))[0]
        noted = seen.looks[one.destination_key].keys.get(standing.owner_of(source, installation), {}).get(name, {})
        waiting = sum(count for reason, count in noted.items() if reason not in REMEMBERED)
        if not verdict.ready:
            yield f"Reflection {terminal.short(name)}: {verdict.reason}: {verdict.message}".rstrip(": ")
        elif events:
            yield f"Reflection {terminal.short(name)}: {terminal.count(events)} changes are not applied"
        elif waiting:
            yield f"Reflection {terminal.short(name)}: {terminal.count(waiting)} rows wait or were set aside"


def _differences(wanted: Sequence[Wanted], asked: Asked) -> Iterator[str]:
    call = verifying.Asked(asked.paths, installation=asked.installation, namespace=asked.namespace)
    for answer in verifying.compare(wanted, call):
        if answer.status is not Status.DONE:
            why = str(answer.error) if answer.error is not None else answer.word
            yield f"Reflection {terminal.short(answer.name)}: {why}; see `pantograph verify`"


# -- numbers -----------------------------------------------------------------------------------------------------------

HEAD = ("TABLE", "COLUMN", "NUMBERED BY", "NEXT", "")


def _numbers(wanted: Sequence[Wanted], log: terminal.Log) -> Iterator[str]:
    """Set what must be set; what cannot be."""
    rows: list[tuple[str, ...]] = []
    reasons: list[str] = []
    for one in wanted:
        with contextlib.closing(Session(dialects.load(one.address), Role.SIDE)) as session:
            report = Report()
            captured, _ = prepare.source(
                session, session.dialect, one.owner, one.tables, report, lease=one.lease, act=False
            )
            tables = [(table.shape.schema, table.shape.name) for table in captured.values()]
            known = numbers.at_source(session, session.dialect, tables)
            for label, error in known.unread.items():
                log.event("numbers of the source could not be read; those of rows that are gone may come again",
                          table=label, message=str(error))  # fmt: skip
            for name, (address, copies) in one.copies.items():
                with contextlib.closing(Session(dialects.load(address), Role.ADMIN)) as target:
                    ready = prepare.copies(
                        target, target.dialect, session.dialect, one.owner, copies, captured, report, act=False
                    )
                    mirrors = [each.mirror for each in ready.values()]
                    there, unread = numbers.at_copy(target, target.dialect, session.dialect, mirrors, known)
                    reasons += [
                        f"{name}/{label}: {error}; see Sequences on the page Grants, or --leave-numbers"
                        for label, error in unread.items()
                    ]
                    for found in there:
                        row, reason = _number(target, name, found)
                        rows.append(row)
                        reasons += [reason] if reason else []
    if rows:
        print(terminal.table(HEAD, rows))
        print()
    yield from reasons


def _number(target: Session, name: str, found: Numbered) -> tuple[tuple[str, ...], str]:
    """A line of the table, and why it is not as it should be."""
    table = f"{name}/{'.'.join(filter(None, found.table))}"
    dialect, there = target.dialect, found.there
    head = (table, found.column.name, there.by if there else "nobody", str(found.next))
    if there is None:
        sql = dialect.numbered(*found.table, found.column, found.next)
        what = f"say `{sql}`" if sql else "make the table yourself, with a column that numbers itself"
        return (*head, "missing"), f"{table}: nobody numbers {found.column.name} there; {what}, or --leave-numbers"
    if not found.behind:
        return (*head, "is so already" if there.settable else "by itself"), ""
    try:
        numbers.go_on(target, dialect, found)
    except errors.DatabaseError as error:
        target.rollback()
        return (*head, "failed"), f"{table}: the numbers of {found.column.name} cannot be set: {error}"
    return (*head, "set"), ""
