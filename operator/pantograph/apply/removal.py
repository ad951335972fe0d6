"""Take away all that is ours from a database: captures, our tables, the place where they were. The user's rows stay.

First what a trigger needs is taken from under no trigger: captures go one by one, then the tables that they read. The
control row goes last, so that a removal that was cut off still knows whose it was, and can be begun again.
"""

from __future__ import annotations

from collections.abc import Collection

from pantograph import errors
from pantograph.apply import observe
from pantograph.database.sessions import Session
from pantograph.dialects.base import SOURCE_TABLES, Dialect, Statement
from pantograph.pipeline import steps
from pantograph.reconcile.actions import Action, LeaveHome, RemoveCapture

_ORDER = ("registrations", "captures", "lease", "control")
assert set(_ORDER) == {table.name for table in SOURCE_TABLES}
AT_SOURCE, AT_DESTINATION = _ORDER, ("keys", "checkpoints")
OURS = (*AT_SOURCE, *AT_DESTINATION)


def captures(session: Session, dialect: Dialect, owner: str) -> list[Action]:
    """What takes every capture out of a source. Raises `CaptureOwned` when they are another owner's."""
    if observe.has_home(session, dialect, "control"):
        with session.step(steps.INSPECT):
            found = session.row(f"select owner from {dialect.ours('control')} where id = 1")
        if found is not None and found[0] != owner:
            raise errors.CaptureOwned(
                f"capture in {dialect.address.label} belongs to {found[0]!r}, not to {owner!r}; it is left as it is"
            )
    if not observe.has_home(session, dialect, "captures"):
        return []
    actions: list[Action] = []
    for capture, _, _ in observe.captures(session, dialect).values():
        label = ".".join(filter(None, (capture.schema, capture.table)))
        with session.step(steps.INSPECT):
            statements = (*dialect.leftovers(session, capture, None), *dialect.uninstall(capture))
        actions.append(RemoveCapture(label, f"remove capture of {label}", statements, capture))
    return actions


def checkpoints_of(session: Session, dialect: Dialect, owners: Collection[str]) -> tuple[int, int]:
    """How many checkpoints and noted keys of these owners a destination holds."""
    counts = []
    for table in ("checkpoints", "keys"):
        count = 0
        if observe.has_home(session, dialect, table):
            with session.step(steps.INSPECT):
                found = session.rows(f"select owner, count(*) from {dialect.ours(table)} group by owner")
            count = sum(int(number) for owner, number in found if owner in owners)
        counts.append(count)
    return counts[0], counts[1]


def forget(session: Session, dialect: Dialect, owners: Collection[str]) -> None:
    """Delete all checkpoints and noted keys of these owners."""
    for table in ("checkpoints", "keys"):
        if observe.has_home(session, dialect, table):
            with session.step(steps.PREPARE):
                for owner in owners:
                    session.run(f"delete from {dialect.ours(table)} where owner = :owner", owner=owner)


def orphans_at_source(
    session: Session, dialect: Dialect, owner: str, tables: Collection[str], reflections: Collection[str]
) -> tuple[list[Action], list[str]]:
    """What takes away captures of tables (by id) that are not among these, and the Reflections that are registered and
    not among these. Nothing where the captures are another owner's."""
    if not observe.has_home(session, dialect, "registrations"):
        return [], []
    actions = [
        one
        for one in captures(session, dialect, owner)
        if isinstance(one, RemoveCapture) and one.capture.id not in tables
    ]
    registered = {name for who, name, *_ in observe.registrations(session, dialect) if who == owner}
    return list[Action](actions), sorted(registered - set(reflections))


def unregister(session: Session, dialect: Dialect, owner: str, names: Collection[str]) -> None:
    """Have no event wait for these Reflections any more."""
    with session.step(steps.PREPARE):
        for name in names:
            session.run(
                f"delete from {dialect.ours('registrations')} where owner = :owner and name = :name",
                owner=owner, name=name,
            )  # fmt: skip


def orphans_at_destination(
    session: Session, dialect: Dialect, owners: Collection[str], reflections: Collection[str]
) -> list[tuple[str, str]]:
    """Owner and name of Reflections that have a checkpoint here and are not among these."""
    if not observe.has_home(session, dialect, "checkpoints"):
        return []
    with session.step(steps.INSPECT):
        found = session.rows(
            f"select owner, name from {dialect.ours('checkpoints')} where name like 'reflection/%' order by owner, name"
        )
    named = ((owner, name.removeprefix("reflection/")) for owner, name in found if owner in owners)
    return [(owner, name) for owner, name in named if name not in reflections]


def forget_one(session: Session, dialect: Dialect, owner: str, name: str) -> None:
    """Delete a Reflection's checkpoint and its noted keys."""
    with session.step(steps.PREPARE):
        for table, called in (("keys", name), ("checkpoints", f"reflection/{name}")):
            if observe.has_home(session, dialect, table):
                session.run(
                    f"delete from {dialect.ours(table)} where owner = :owner and name = :name", owner=owner, name=called
                )


def owners_of(session: Session, dialect: Dialect, reflection: str) -> list[str]:
    """Who has a checkpoint of a Reflection (`namespace/name`) here."""
    if not observe.has_home(session, dialect, "checkpoints"):
        return []
    with session.step(steps.INSPECT):
        found = session.rows(
            f"select owner from {dialect.ours('checkpoints')} where name = :name", name=f"reflection/{reflection}"
        )
    return sorted(row[0] for row in found)


def forget_streams(session: Session, dialect: Dialect, owner: str, destination: str) -> None:
    """Delete the checkpoints of an owner's streams into a Database, by its name: nothing moves in them any more."""
    if observe.has_home(session, dialect, "checkpoints"):
        table, start = dialect.ours("checkpoints"), f"stream/{destination}/"
        with session.step(steps.PREPARE):
            names = session.rows(f"select name from {table} where owner = :owner", owner=owner)
            for name in [row[0] for row in names if row[0].startswith(start)]:
                session.run(f"delete from {table} where owner = :owner and name = :name", owner=owner, name=name)


def unregister_capture(session: Session, dialect: Dialect, identity: str) -> None:
    """Have nobody registered for a capture that is gone."""
    if observe.has_home(session, dialect, "registrations"):
        with session.step(steps.PREPARE):
            session.run(f"delete from {dialect.ours('registrations')} where capture = :capture", capture=identity)


def home(session: Session, dialect: Dialect, owners: Collection[str], only: Collection[str] = OURS) -> list[Action]:
    """What drops our tables (or `only` some), as far as nobody else needs them; nothing where somebody does, or none
    are there."""
    there = [name for name in OURS if observe.has_home(session, dialect, name)]
    if not there:
        return []
    kept = _kept(session, dialect, there, owners)
    dropped = [name for name in there if name not in kept and name in only]
    statements = [Statement(f"drop table {dialect.ours(name)}") for name in dropped]
    if len(dropped) == len(there):
        statements += [Statement(sql) for sql in dialect.leave_home()]
    if not statements:
        return []
    return [LeaveHome(dialect.address.label, f"drop our tables ({', '.join(dropped)})", tuple(statements))]


def _kept(session: Session, dialect: Dialect, there: Collection[str], owners: Collection[str]) -> set[str]:
    """Tables that another owner still needs."""
    kept: set[str] = set()
    with session.step(steps.INSPECT):
        for name in ("checkpoints", "keys"):
            if name in there:
                found = {row[0] for row in session.rows(f"select distinct owner from {dialect.ours(name)}")}
                if found - set(owners):
                    kept |= {"checkpoints", "keys"}
        if "control" in there:
            row = session.row(f"select owner from {dialect.ours('control')} where id = 1")
            if row is not None and row[0] not in owners:
                kept |= set(_ORDER)
    return kept


def left(session: Session, dialect: Dialect, owners: Collection[str], removed: Collection[Action]) -> list[str]:
    """What is still there, after a removal, of what is ours; looked for by name, not by what was recorded."""
    found = []
    for action in removed:
        if isinstance(action, RemoveCapture):
            capture = action.capture
            with session.step(steps.INSPECT):
                shape = dialect.shape(session, capture.schema, capture.table)
                state = dialect.capture_state(session, capture, shape)
            if state.installed or state.problems or observe.has_home(session, dialect, capture.event_table):
                found.append(f"capture of {action.subject}")
    there = [name for name in OURS if observe.has_home(session, dialect, name)]
    kept = _kept(session, dialect, there, owners)
    return found + [f"the table {dialect.ours(name)}" for name in there if name not in kept]
