"""`pantograph verify`: are the copies equal to their sources? Asked of the databases, whether `run` goes on or not."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pantograph import dialects, errors
from pantograph.apply import observe, prepare, sources
from pantograph.apply.prepare import Ready, Report, WantedCopy
from pantograph.apply.sources import Wanted
from pantograph.cli import files, terminal
from pantograph.cli.outcomes import Status, status_of
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.pipeline import keys, verification
from pantograph.pipeline.verification import Result

LINE_EVERY = 10.0


@dataclass(frozen=True)
class Asked:
    """The call. names: Reflections, all of them when empty. output: "table" or "json"."""

    paths: files.Given
    names: Sequence[str] = ()
    repair: bool = False
    show_keys: bool = False
    output: str = "table"
    rest: float = 0.0
    installation: str = sources.LOCAL
    namespace: str = "default"


@dataclass(frozen=True)
class Answer:
    """One Reflection's result, or why there is none."""

    name: str
    result: Result | None = None
    error: errors.PantographError | None = None

    @property
    def status(self) -> Status:
        """What the command would end with, were there no other."""
        if self.error is not None:
            return status_of(self.error)
        return Status.DONE if self.result is not None and self.result.equal else Status.NOT_SO

    @property
    def word(self) -> str:
        """The result in a word or two."""
        if self.error is not None or self.result is None:
            return self.error.reason if self.error is not None else "-"
        found = self.result
        if found.incomplete:
            return found.incomplete
        if found.not_holding:
            return "RepairDoesNotHold"
        if found.equal:
            return "repaired" if found.repaired else "equal"
        return "differs"


def verify(asked: Asked) -> Status:
    """Compare all Reflections that are asked for, one after the other, and print what was found."""
    manifests = files.load_with_sources(asked.paths, asked.namespace)
    wanted = _asked_for(sources.wanted(manifests, installation=asked.installation), asked)
    answers = compare(wanted, asked)
    print(_as_json(answers) if asked.output == "json" else _as_table(answers))
    for answer in answers:
        if answer.error is not None:
            terminal.complain(f"{terminal.short(answer.name)}: {answer.error}")
    worst = {answer.status for answer in answers}
    order = (Status.UNREACHABLE, Status.WRONG, Status.FAILED, Status.NOT_SO)
    return next((status for status in order if status in worst), Status.DONE)


def compare(wanted: Sequence[Wanted], asked: Asked, progress: _Progress | None = None) -> list[Answer]:
    """Compare all Reflections of these sources; how far it is goes to standard error."""
    progress = progress or _Progress()
    answers = [answer for one in wanted for answer in _source(one, asked, progress)]
    progress.done()
    return answers


def _asked_for(wanted: Sequence[Wanted], asked: Asked) -> list[Wanted]:
    """Only the Reflections that the call names. Raises `SpecError` for a name that there is not."""
    return only(wanted, [name if "/" in name else f"{asked.namespace}/{name}" for name in asked.names])


def only(wanted: Sequence[Wanted], names: Sequence[str]) -> list[Wanted]:
    """What is wanted of these Reflections (`namespace/name`), of all for none. Raises `SpecError` for a name that there
    is not."""
    named = set(names)
    there = {copy.name for one in wanted for _, copies in one.copies.values() for copy in copies}
    unknown = sorted(named - there)
    if unknown:
        known = ", ".join(sorted(map(terminal.short, there))) or "none"
        raise errors.SpecError(
            f"there is no Reflection {terminal.short(unknown[0])} in the manifests; there are: {known}"
        )
    if not named:
        return list(wanted)
    chosen = []
    for one in wanted:
        copies = {
            destination: (address, tuple(copy for copy in listed if copy.name in named))
            for destination, (address, listed) in one.copies.items()
        }
        copies = {destination: found for destination, found in copies.items() if found[1]}
        if copies:
            sources_of = {copy.source for _, listed in copies.values() for copy in listed}
            tables = tuple(table for table in one.tables if table.subject in sources_of)
            chosen.append(dataclasses.replace(one, copies=copies, tables=tables))
    return chosen


def _source(wanted: Wanted, asked: Asked, progress: _Progress) -> Iterator[Answer]:
    copies = [copy for _, listed in wanted.copies.values() for copy in listed]
    try:
        with contextlib.closing(Session(dialects.load(wanted.address), Role.READER)) as reader:
            report = Report()
            captured, _ = prepare.source(
                reader, reader.dialect, wanted.owner, wanted.tables, report, lease=wanted.lease, act=False
            )
            for address, listed in wanted.copies.values():
                yield from _destination(wanted, reader, address, listed, captured, report, asked, progress)
    except errors.PantographError as error:
        yield from (Answer(copy.name, error=error) for copy in copies)


def _destination(
    wanted: Wanted,
    reader: Session,
    address: Address,
    copies: Sequence[WantedCopy],
    captured: dict[str, prepare.Captured],
    report: Report,
    asked: Asked,
    progress: _Progress,
) -> Iterator[Answer]:
    def estimate(one: prepare.Captured) -> int:
        return observe.estimated(reader, reader.dialect, one.shape.schema, one.shape.name)

    answers: dict[str, Answer] = {}
    try:
        role = Role.WRITER if asked.repair else Role.READER
        with contextlib.closing(Session(dialects.load(address), role)) as target:
            ready = prepare.copies(
                target, target.dialect, reader.dialect, wanted.owner, copies, captured, report,
                act=False, estimate=estimate,
            )  # fmt: skip
            for copy in copies:
                if copy.name in ready:
                    answers[copy.name] = _reflection(reader, target, wanted.owner, ready[copy.name], asked, progress)
                else:
                    answers[copy.name] = Answer(copy.name, error=report.failed.get(copy.name))
                if isinstance(answers[copy.name].error, errors.Unreachable):
                    break
    except errors.PantographError as error:
        report.failed.update({copy.name: error for copy in copies if copy.name not in answers})
    for copy in copies:
        lost = errors.Unreachable("the connection broke before it was its turn")
        yield answers.get(copy.name) or Answer(copy.name, error=report.failed.get(copy.name, lost))


def _reflection(
    reader: Session, target: Session, owner: str, ready: Ready, asked: Asked, progress: _Progress
) -> Answer:
    name = ready.wanted.name
    if ready.checkpoint is None:
        return Answer(name, Result(name, incomplete="NotStarted", message="nothing has been copied yet"))
    try:
        return Answer(
            name,
            verification.run(
                reader,
                target,
                ready.mirror,
                owner,
                repair=asked.repair,
                keep_keys=asked.show_keys,
                allowed_deletes=ready.wanted.allowed_deletes or 0,
                pace=verification.Pace(rest=asked.rest),
                progress=progress.of(name, ready.estimated),
            ),
        )
    except errors.PantographError as error:
        return Answer(name, error=error)


# -- what is printed ---------------------------------------------------------------------------------------------------


class _Progress:
    """How far a comparison is, on standard error: drawn over on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._live, self._clock = terminal.is_live(sys.stderr), clock
        self._shown = self._clock()
        self._log = terminal.Log()
        self._drawn = False

    def of(self, name: str, estimated: int) -> Callable[[int], None]:
        """What a comparison of this Reflection calls."""
        began = self._clock()

        def show(rows: int) -> None:
            now = self._clock()
            if now - self._shown < (0.1 if self._live else LINE_EVERY):
                return
            self._shown = now
            rate = rows / max(0.001, now - began)
            # An estimate may be too low.
            left = max(0, estimated - rows) / rate if estimated > rows and rate else None
            if not self._live:
                self._log.event(
                    "rows were compared", reflection=terminal.short(name), rows=rows, of_about=estimated or None,
                    rows_per_second=round(rate), seconds_left=round(left) if left is not None else None,
                )  # fmt: skip
                return
            share = f"{min(99, 100 * rows // estimated)} %  " if estimated else ""
            text = f"{terminal.short(name)}  {share}{terminal.count(rows)} rows  {terminal.count(rate)}/s"
            text += f"  {terminal.span(left)} left" if left is not None else ""
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
            self._drawn = True

        return show

    def done(self) -> None:
        """Take away what was drawn."""
        if self._drawn:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


class Silent(_Progress):
    """Nobody is shown how far it is."""

    def of(self, name: str, estimated: int) -> Callable[[int], None]:
        """Nothing happens."""
        return lambda _: None


def said(answer: Answer) -> list[str]:
    """What was found, in sentences."""
    if answer.result is None:
        return [str(answer.error or answer.word)]
    found = answer.result
    kinds = [f"{terminal.count(count)} {kind}" for kind, count in found.differing.items() if count]
    rows = f"{terminal.count(found.rows)} rows were compared in {terminal.span(found.seconds)}"
    return [f"{rows}: {', '.join(kinds) or 'all are equal'}", *_remarks(found)]


HEAD = ("REFLECTION", "RESULT", "ROWS", "MISSING", "EXTRA", "DIFFERENT", "IN FLIGHT", "REPAIRED", "TOOK")


def _as_table(answers: Sequence[Answer]) -> str:
    rows, remarks = [], []
    for answer in answers:
        name, found = terminal.short(answer.name), answer.result
        if found is None:
            rows.append((name, answer.word, *[""] * 7))
            continue
        counts = [found.differing.get(kind, 0) for kind in ("missing", "extra", "different")]
        numbers = (found.rows, *counts, found.in_flight, found.repaired)
        rows.append((name, answer.word, *map(terminal.count, numbers), terminal.span(found.seconds)))
        remarks += [f"{name}: {text}" for text in _remarks(found)]
        remarks += [f"{name}: {d.kind} {keys.dump(d.key)} {', '.join(d.columns)}".rstrip() for d in found.found]
    return "\n".join([terminal.table(HEAD, rows), *([""] if remarks else []), *remarks])


def _remarks(found: Result) -> Iterator[str]:
    """Sentences that the table has no column for."""
    if found.incomplete:
        yield f"not all was compared: {found.message}"
    if found.columns:
        yield f"differs in {_counted(found.columns)}"
    if found.parked:
        yield f"{terminal.count(found.parked)} rows wait for the row that they point at"
    if found.noted:
        yield f"{terminal.count(found.noted)} keys are written down for repair; nobody has looked them up yet"
    if found.held:
        yield (
            f"{terminal.count(found.held)} rows of the destination are not at the source; allow their deletion with "
            f'the annotation pantograph.dev/allow-deletes: "{found.held}"'
        )
    if found.not_holding:
        yield f"the repair does not hold in {_counted(found.not_holding)}: something at the destination changes it"


def _counted(columns: Any) -> str:
    return ", ".join(f"{column} ({terminal.count(count)})" for column, count in sorted(columns.items()))


def _as_json(answers: Sequence[Answer]) -> str:
    listed = []
    for answer in answers:
        entry: dict[str, Any] = {"reflection": answer.name, "result": answer.word}
        if answer.error is not None:
            entry["message"] = str(answer.error)
        if (found := answer.result) is not None:
            entry |= {
                "rows": found.rows,
                "ranges": found.ranges,
                "missing": found.differing.get("missing", 0),
                "extra": found.differing.get("extra", 0),
                "different": found.differing.get("different", 0),
                "columns": dict(found.columns),
                "inFlight": found.in_flight,
                "parked": found.parked,
                "repaired": found.repaired,
                "noted": found.noted,
                "held": found.held,
                "notHolding": dict(found.not_holding),
                "comparedByValue": list(found.by_value),
                "seconds": round(found.seconds, 3),
            }
            if found.incomplete:
                entry["message"] = found.message
            if found.found:
                entry["keys"] = [
                    {"key": json.loads(keys.dump(d.key)), "kind": d.kind, "columns": list(d.columns)}
                    for d in found.found
                ]
        listed.append(entry)
    return json.dumps(listed, indent=2, ensure_ascii=False)
