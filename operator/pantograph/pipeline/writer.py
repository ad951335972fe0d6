"""Apply staged rows in an order that the destination's constraints allow.

Constraints are checked at once on most engines, and neither "deletes first" nor "upserts first" satisfies them all: a
child that moves away from a deleted parent forbids the first, a new row that takes over a deleted row's unique value
the second. So: upserts, parents first; then deletes, children first; and a table whose upsert collides on a unique
value deletes its absent rows first, or, where two rows swapped a value, deletes and inserts its keys. A row whose
parent is not there is parked and looked up again later (`keys`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Staged
from pantograph.model.mirrors import Mirror
from pantograph.model.tables import Reference
from pantograph.pipeline import cascades, keys, sharing, statements, steps
from pantograph.pipeline.cascades import staged_rows

TAKING = ("CASCADE", "SET NULL", "SET DEFAULT")
"""What a foreign key may do to the rows that point at a deleted one, beside refusing."""


@dataclass(frozen=True, slots=True)
class Job:
    """One table's part of a turn. truncated: the source's table was emptied in this window."""

    mirror: Mirror
    staged: Staged
    truncated: bool
    events: int


@dataclass
class Counts:
    """What was done to one table."""

    upserted: int = 0
    deleted: int = 0
    parked: int = 0


class MirrorRejected(errors.PantographError):
    """The destination refused one Reflection's rows; the others of the turn are not to blame."""

    def __init__(self, mirror: Mirror, error: errors.DatabaseError) -> None:
        super().__init__(str(error), reason=error.reason)
        self.mirror, self.error = mirror, error


def parents_first(mirrors: Sequence[Mirror]) -> list[Mirror]:
    """Tables that others point at come first; a cycle is entered at the table whose name sorts first."""
    waiting = sorted(mirrors, key=lambda m: (m.destination, m.name))
    done: set[tuple[str, str]] = set()
    ordered: list[Mirror] = []
    here = {mirror.destination for mirror in waiting}
    while waiting:
        for mirror in waiting:
            parents = {r.parent for r in mirror.references} & here - {mirror.destination}
            if parents <= done:
                break
        else:
            mirror = waiting[0]
        waiting.remove(mirror)
        ordered.append(mirror)
        if all(other.destination != mirror.destination for other in waiting):
            done.add(mirror.destination)
    return ordered


def apply(session: Session, target: Dialect, owner: str, jobs: Sequence[Job], *, only: str = "") -> dict[str, Counts]:
    """Write all jobs of a turn in the open transaction; what was done, by Reflection.

    only: "upsert" or "delete", for pages of a large window. Raises `MirrorRejected` for a table whose rows do not fit.
    """
    by_name = {job.mirror.name: job for job in jobs}
    ordered = [by_name[mirror.name] for mirror in parents_first([job.mirror for job in jobs])]
    counts = {job.mirror.name: Counts() for job in jobs}
    if not only and any(job.truncated for job in jobs):
        with session.step(steps.DELETE):
            for job in reversed(ordered):
                if job.truncated:
                    counts[job.mirror.name].deleted += empty(session, target, job.mirror)
    if only != "delete":
        with session.step(steps.UPSERT):
            for job in ordered:
                if job.staged.present == 0:
                    continue
                _upsert(session, target, owner, job, counts[job.mirror.name])
    if only != "upsert":
        with session.step(steps.DELETE):
            for job in reversed(ordered):
                if job.staged.absent == 0:
                    continue
                try:
                    if job.mirror.on_delete == "Delete" and not job.mirror.delete_statement:
                        counts[job.mirror.name].parked += cascades.note(session, target, job.mirror, job.staged)
                    counts[job.mirror.name].deleted += sharing.gone(session, target, job.mirror, job.staged)
                except errors.Rejected as error:
                    raise MirrorRejected(job.mirror, error) from error
    with session.step(steps.UPSERT):
        for job in ordered:
            target.unstage(session, job.mirror, job.staged)
    return counts


def empty(session: Session, target: Dialect, mirror: Mirror) -> int:
    """Delete all rows of a destination table that are this Reflection's: its source was truncated."""
    return sharing.all_gone(session, target, mirror)


def _upsert(session: Session, target: Dialect, owner: str, job: Job, counts: Counts) -> None:
    mirror = job.mirror
    put = _put(target, mirror)
    if mirror.missing_row == "Wait":
        sharing.park_missing(session, target, owner, mirror, job.staged)
    if not mirror.other_uniques and not mirror.references:
        # Nothing in the table can collide but what is wrong with the row itself.
        try:
            counts.upserted += put(session, mirror, job.staged)
        except errors.Rejected as error:
            raise MirrorRejected(mirror, error) from error
        return
    staged = job.staged
    attempts = ["as it is"]
    if mirror.missing_row == "Insert" and mirror.on_delete == "Delete" and not mirror.statement:
        attempts += ["absent rows first", "delete and insert"]
    parked = False
    session.run("savepoint before_upsert")
    while True:
        try:
            if attempts[0] == "absent rows first":
                counts.deleted += target.delete(session, mirror, staged)
            elif attempts[0] == "delete and insert":
                target.delete(session, mirror, staged, absent_only=False)
            counts.upserted += put(session, mirror, staged)
            return
        except errors.Rejected as error:
            session.run("rollback to savepoint before_upsert")
            if error.kind == "foreign key" and mirror.references and not parked:
                parked = True
                staged = _parked(session, target, owner, mirror, staged, counts)
                session.run("savepoint before_upsert")
                continue
            if error.kind != "unique" or len(attempts) == 1:
                raise MirrorRejected(mirror, error) from error
            attempts.pop(0)
            if any(r.on_delete in TAKING for r in mirror.referenced_by):
                # Such a delete would take or change other rows, which nothing would bring back.
                raise MirrorRejected(mirror, error) from error


def _put(target: Dialect, mirror: Mirror) -> Callable[[Session, Mirror, Staged], int]:
    if mirror.statement:
        return lambda session, mirror, staged: statements.run(
            session, target, mirror, staged, mirror.statement, present=True
        )
    return target.upsert if mirror.missing_row == "Insert" else target.update


def _parked(session: Session, target: Dialect, owner: str, mirror: Mirror, staged: Staged, counts: Counts) -> Staged:
    """Note the keys of staged rows whose parent is not there, and the stage without them."""
    lacking = " or ".join(f"({_lacks(target, mirror, reference, staged)})" for reference in mirror.references)
    picked = ", ".join(f"s.{target.quote(column.destination)}" for column in mirror.key)
    found = staged_rows(session, staged, f"select {picked} from {staged.source} where s.present = 1 and ({lacking})")
    decoders = [target.decode(column.destination_type) for column in mirror.key]
    found_keys = [
        tuple(d(v) if d is not None and v is not None else v for d, v in zip(decoders, row, strict=True))
        for row in found
    ]
    names = ", ".join(reference.name for reference in mirror.references)
    keys.note(session, target, owner, mirror.name, found_keys, "parent", f"no parent row ({names})")
    counts.parked += len(found_keys)
    return Staged(
        f"(select s.* from {staged.source} where not (s.present = 1 and ({lacking}))) as s", staged.rows, staged.literal
    )


def _lacks(target: Dialect, mirror: Mirror, reference: Reference, staged: Staged) -> str:
    """A condition on `s`: its columns of this foreign key are set, and no row has them."""
    written = {column.destination for column in mirror.columns}
    if not set(reference.columns) <= written:
        return "1 = 0"
    mine = [f"s.{target.quote(name)}" for name in reference.columns]
    theirs = [target.quote(name) for name in reference.parent_columns]
    given = " and ".join(f"{name} is not null" for name in mine)
    there = " and ".join(f"p.{t} = {m}" for t, m in zip(theirs, mine, strict=True))
    lacks = f"{given} and not exists (select 1 from {target.table(*reference.parent)} p where {there})"
    if reference.parent == mirror.destination:
        # A parent in the same stage will be there when the statement has ended.
        same = " and ".join(f"u.{t} = {m}" for t, m in zip(theirs, mine, strict=True))
        lacks += f" and not exists (select 1 from {_renamed(staged)} where u.present = 1 and {same})"
    return lacks


def _renamed(staged: Staged) -> str:
    """The stage under the alias `u`."""
    return f"(select s.* from {staged.source}) as u"
