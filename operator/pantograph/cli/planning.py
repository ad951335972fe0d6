"""`pantograph plan`: what `run` would do to the databases, as SQL to read, and what it would copy. Only looks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pantograph import dialects, errors
from pantograph.apply import expressions, observe, prepare, sources
from pantograph.apply.prepare import Captured, Ready, Report, WantedCopy
from pantograph.apply.sources import Wanted
from pantograph.cli import files, outcomes, terminal
from pantograph.cli.outcomes import Status
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Dialect, Role
from pantograph.model import names
from pantograph.pipeline import steps
from pantograph.reconcile.actions import Action, InstallCapture
from pantograph.reflector.streams import why_sweep

_WHY = {
    "Snapshot": "first copy",
    "SpecChanged": "copied again, for its manifest or the columns of its table changed",
    "SchemaChanged": "copied again, for the source table was changed",
    "Resync": "copied again, for its resyncToken changed",
    "DestinationReplaced": "copied again, for the destination is another table",
    "CaptureDrift": "copied again, for capture was not whole",
}


class Plan:
    """What was found out, in the order in which `run` would do it. Written as SQL with comments."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changes = 0
        self.failures: list[tuple[str, errors.PantographError]] = []

    def say(self, line: str = "") -> None:
        """A line of comment."""
        self.lines.append(f"-- {line}" if line else "")

    def action(self, dialect: Dialect, action: Action) -> None:
        """An action, with its SQL and its locks."""
        self.changes += 1
        self.say()
        self.say(f"{action.subject}: {action.summary}")
        locks = dict.fromkeys(statement.locks for statement in action.statements if statement.locks)
        for table in locks:
            wait = dialect.features.ddl_lock_wait
            self.say(f"  locks {table} for a moment ({dialect.features.capture_lock});")
            waits = f"waits {terminal.span(wait)} at most, and not at all" if wait else "does not wait for it"
            self.say(f"  {waits} while somebody is in the way")
        self.lines += [f"{statement.sql.strip().rstrip(';')};" for statement in action.statements]

    def failed(self, subject: str, error: errors.PantographError) -> None:
        """What `run` could not do."""
        self.failures.append((subject, error))


def of(wanted: Wanted) -> Plan:
    """The plan of one source, or of a part of it: what belongs to no Reflection of it is not told."""
    plan = Plan()
    try:
        _source(plan, wanted, orphans=False)
    except errors.PantographError as error:
        plan.failed(f"Database {terminal.short(wanted.name)}", error)
    return plan


def run(paths: files.Given, *, installation: str, namespace: str, adopt: bool) -> Status:
    """Print the plan; whether there is anything to do."""
    manifests = files.load_with_sources(paths, namespace)
    plan = Plan()
    all_wanted = sources.wanted(manifests, installation=installation, adopt=adopt)
    files.refuse_conflicts(manifests, all_wanted)
    for wanted in all_wanted:
        try:
            _source(plan, wanted)
        except errors.PantographError as error:
            plan.failed(f"Database {terminal.short(wanted.name)}", error)
    if plan.lines:
        print("\n".join(plan.lines).strip())
        print()
    for subject, failure in plan.failures:
        terminal.complain(files.told(manifests, subject, failure))
    if plan.failures:
        return max((outcomes.status_of(failure) for _, failure in plan.failures), key=_gravity)
    things = "1 thing" if plan.changes == 1 else f"{plan.changes} things"
    print(f"-- {things} to do; nothing was changed" if plan.changes else "-- nothing to do")
    return Status.NOT_SO if plan.changes else Status.DONE


def _gravity(status: Status) -> int:
    return (Status.WRONG, Status.UNREACHABLE, Status.FAILED).index(status)


def _source(plan: Plan, wanted: Wanted, *, orphans: bool = True) -> None:
    dialect = dialects.load(wanted.address)
    session = Session(dialect, Role.SIDE)
    report = Report()
    try:
        with session.step(steps.INSPECT):
            missing = dialect.missing_at_source(session, [(table.schema, table.table) for table in wanted.tables])
            outlook = dialect.outlook(session)
        _grants(plan, terminal.short(wanted.name), wanted.address, missing)
        _outlook(plan, terminal.short(wanted.name), wanted.address, outlook)
        captured, control = prepare.source(
            session, dialect, wanted.owner, wanted.tables, report, lease=wanted.lease, act=False
        )
        plan.say(f"== {terminal.short(wanted.name)}: {wanted.address.label}, the source")
        if control is not None and control.owner != wanted.owner:
            if not wanted.adopt:
                raise errors.CaptureOwned(
                    f"capture belongs to {control.owner!r}, not to {wanted.owner!r}; stop that one and say --adopt, "
                    "or use another captureSchema"
                )
            plan.changes += 1
            plan.say(f"takes over the capture of {control.owner}, which stops")
        for _, action in report.actions:
            plan.action(dialect, action)
        if any(isinstance(action, InstallCapture) and not action.mends for _, action in report.actions):
            plan.say()
            plan.say(f"what capture costs the application: {dialect.features.capture_cost}")
        _blind_spots(plan, report.notes)
        if control is not None and orphans:
            _orphans(plan, session, dialect, wanted, captured)
        plan.say()
        for name, (address, copies) in wanted.copies.items():
            try:
                _destination(plan, wanted, session, dialect, captured, report, name, address, copies)
            except errors.PantographError as error:
                plan.failed(f"Database {name}", error)
    finally:
        session.close()
        for subject, failure in report.failed.items():
            # A Reflection whose table cannot be captured fails for the same reason: once is enough.
            if not any(failure is told for _, told in plan.failures):
                plan.failed(subject if " " in subject else f"Reflection {terminal.short(subject)}", failure)


def _grants(plan: Plan, name: str, address: Address, missing: Sequence[str]) -> None:
    """What an administrator would have to say first."""
    if not missing:
        return
    plan.say(f"== {name}: {address.label}: grants that are missing; run these as who may give them")
    for statement in missing:
        plan.say(f"  {statement};")
    plan.say()
    count = "a grant is" if len(missing) == 1 else f"{len(missing)} grants are"
    plan.failed(f"Database {name}", errors.Refused(f"{count} missing; the plan has the statements"))


def _outlook(plan: Plan, name: str, address: Address, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        plan.say(f"== {name}: {address.label}: {sentence}")


def _blind_spots(plan: Plan, notes: Sequence[str]) -> None:
    """What no trigger sees, each once: most of it is the same for every table of an engine."""
    tables: dict[str, list[str]] = {}
    for note in notes:
        subject, _, spot = note.partition(": ")
        tables.setdefault(spot, []).append(subject.removeprefix("SourceTable "))
    if tables:
        plan.say()
    for spot, subjects in tables.items():
        plan.say(f"{', '.join(subjects)}: {spot}")


def _orphans(plan: Plan, session: Session, dialect: Dialect, wanted: Wanted, captured: Mapping[str, Captured]) -> None:
    """Whoever is registered holds events back, and captures cost: those that no manifest names do so for nobody."""
    there = {names.capture_id(table.schema or dialect.default_schema, table.table) for table in wanted.tables}
    there |= {one.capture.id for one in captured.values()}
    for identity, (capture, _, _) in observe.captures(session, dialect).items():
        if identity not in there:
            table = ".".join(filter(None, (capture.schema, capture.table)))
            plan.say(f"{table} is captured, and no SourceTable names it: `pantograph remove --orphans` ends that")
    named = {copy.name for _, copies in wanted.copies.values() for copy in copies}
    for owner, name, _, _, _ in observe.registrations(session, dialect):
        if owner != wanted.owner or name not in named:
            hint = ": `pantograph remove --orphans` ends that" if owner == wanted.owner else ""
            plan.say(f"events wait for {terminal.short(name)} of {owner}, which no manifest names{hint}")


def _destination(
    plan: Plan,
    wanted: Wanted,
    session: Session,
    origin: Dialect,
    captured: dict[str, Captured],
    report: Report,
    name: str,
    address: Address,
    copies: Sequence[WantedCopy],
) -> None:
    def estimate(one: Captured) -> int:
        return observe.estimated(session, origin, one.shape.schema, one.shape.name)

    plan.say(f"== {name}: {address.label}, a destination")
    # It must know which tables cannot be captured: their Reflections fail for that reason.
    there = Report(failed=dict(report.failed))
    with looked_at(address) as (dialect, looking, made):
        if made:
            plan.changes += 1
            plan.say("the file is made, for it is not there yet")
        with looking.step(steps.INSPECT):
            missing = dialect.missing_at_destination(looking, [(copy.schema, copy.table) for copy in copies])
            outlook = dialect.outlook(looking)
        _grants(plan, name, address, missing)
        _outlook(plan, name, address, outlook)
        ready = prepare.copies(
            looking, dialect, origin, wanted.owner, copies, captured, there,
            act=False, estimate=estimate,
            try_rows=expressions.trying(session, origin), ask=expressions.asking(session, origin),
        )  # fmt: skip
        for _, action in there.actions:
            subject = action.subject.replace(dialect.address.label, address.label)
            plan.action(dialect, dataclasses.replace(action, subject=subject))
        held = {
            one.wanted.name: 0 if one.empty else observe.estimated(looking, dialect, *one.mirror.destination)
            for one in ready.values()
        }
    for subject, error in there.failed.items():
        report.failed.setdefault(subject, error)
    plan.say()
    for one in ready.values():
        _copying(plan, one, held[one.wanted.name])
        for reference in one.mirror.referenced_by:
            if reference.on_delete not in ("NO ACTION", "RESTRICT"):
                child = ".".join(filter(None, reference.table))
                plan.say(
                    f"Reflection {terminal.short(one.wanted.name)}: a row that it deletes takes or changes rows of "
                    f"{child} (foreign key {reference.name}, {reference.on_delete})"
                )


@contextlib.contextmanager
def looked_at(address: Address) -> Iterator[tuple[Dialect, Session, bool]]:
    """A session to look with. Opening a file that is not there would make it: an empty one stands in for it."""
    made = bool(address.path) and not os.path.exists(address.path)
    with contextlib.ExitStack() as stack:
        if made:
            if not os.path.isdir(os.path.dirname(os.path.abspath(address.path))):
                raise errors.Unreachable(f"the folder of {address.path} is not there")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pantograph-"))
            address = dataclasses.replace(address, path=str(Path(folder) / Path(address.path).name))
        dialect = dialects.load(address)
        session = Session(dialect, Role.ADMIN if made else Role.SIDE)
        stack.callback(session.close)
        yield dialect, session, made


def _copying(plan: Plan, ready: Ready, held: int) -> None:
    name = terminal.short(ready.wanted.name)
    reason = why_sweep(ready.checkpoint, ready) if ready.checkpoint else "Snapshot"
    if not reason and ready.checkpoint and ready.checkpoint.state.sweep is not None:
        reason = ready.checkpoint.state.sweep.reason
    if not reason:
        return
    plan.changes += 1
    if reason == "Snapshot" and not ready.wanted.initial_snapshot:
        plan.say(f"Reflection {name}: begins without a copy, as initialSnapshot says")
        return
    rows = f"about {terminal.count(ready.estimated)} rows" if ready.estimated else "its rows (nobody knows how many)"
    plan.say(f"Reflection {name}: {_WHY.get(reason, reason)}: {rows}")
    if held and ready.wanted.existing == "Keep":
        plan.say(f"  the destination holds about {terminal.count(held)} rows, which are kept")
    elif held:
        more = max(0, held - ready.estimated) if ready.estimated and not ready.wanted.where else 0
        about = f"about {terminal.count(more)} of them" if more else "those that the source has not"
        plan.say(
            f"  the destination holds about {terminal.count(held)} rows; {about} are to be deleted, and above 1,000"
        )
        plan.say("  and a fifth of all they wait for your consent (SweepHeld)")
