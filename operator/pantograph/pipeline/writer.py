"""Apply staged rows in an order that the destination's constraints allow.

Constraints are checked at once on most engines, and neither "deletes first" nor "upserts first" satisfies them all: a
child that moves away from a deleted parent forbids the first, a new row that takes over a deleted row's unique value
the second. So: upserts, parents first; then deletes, children first. Where that does not do, `fitting` finds the way
for the table that needs another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import deadletters, fitting, ordering, sharing, steps
from pantograph.pipeline.deadletters import MirrorRejected
from pantograph.pipeline.fitting import Counts, InTheWay, Job

__all__ = ["Counts", "InTheWay", "Job", "MirrorRejected", "apply", "commit", "empty", "parents_first"]

parents_first = ordering.parents_first


def apply(
    session: Session,
    target: Dialect,
    owner: str,
    jobs: Sequence[Job],
    *,
    only: str = "",
    careful: Collection[str] = (),
) -> dict[str, Counts]:
    """Write all jobs of a turn in the open transaction; what was done, by Reflection.

    only: "upsert" or "delete", for pages of a large window. careful: Reflections of which single rows are looked for
    that do not fit. Raises `MirrorRejected` for a table whose rows do not fit, and `InTheWay`.
    """
    by_name = {job.mirror.name: job for job in jobs}
    ordered = [by_name[mirror.name] for mirror in ordering.parents_first([job.mirror for job in jobs], target)]
    counts = {job.mirror.name: Counts() for job in jobs}
    working = fitting.Turn(session, target, owner, ordered, counts, careful)
    if not only and any(job.truncated for job in jobs):
        with session.step(steps.DELETE):
            for job in reversed(ordered):
                if job.truncated:
                    counts[job.mirror.name].deleted += empty(session, target, job.mirror)
    with session.step(steps.UPSERT):
        _check(working)
        if only != "delete":
            for job in ordered:
                fitting.refuse_staged(working, job)
                if job.staged.present != 0:
                    with deadletters.blamed(job.mirror):
                        fitting.upsert(working, job)
                working.written.add(job.mirror.name)
            fitting.finish(working)
    if only != "upsert":
        with session.step(steps.DELETE):
            late = [job for job in reversed(ordered) if job.staged.absent != 0 and not _deleted(working, job)]
            # What was in their way may be gone by now.
            for job in late:
                if not _deleted(working, job):
                    fitting.blame(working, job)
    with session.step(steps.UPSERT):
        if working.deferred and target.check_deferred:
            with _blaming(ordered):
                session.direct(target.check_deferred)
        done = f" where s.present = {int(only == 'upsert')}" if only else ""
        for job in ordered:
            if job.mirror.dead_letters:
                tally = counts[job.mirror.name]
                tally.settled += deadletters.settle(session, target, owner, job.mirror, job.staged, done, tally.noted)
            target.unstage(session, job.mirror, job.staged)
    return counts


def _deleted(working: fitting.Turn, job: Job) -> bool:
    with deadletters.blamed(job.mirror):
        return fitting.delete(working, job)


def _check(working: fitting.Turn) -> None:
    """When are foreign keys to be checked? At the commit where tables form a ring; else at once, so that an error says
    whose it is."""
    target, mirrors = working.target, [job.mirror for job in working.jobs]
    ring = any(target.defers(r) and r.parent != mirror.destination for mirror in mirrors for r in mirror.ring)
    # Where nothing can ask for the latter, a constraint may have been declared so that only the commit tells of it.
    unsaid = not target.check_at_once and any(m.references for m in mirrors if m.name in working.careful)
    if target.defer and (ring or unsaid):
        working.deferred = True
        working.session.direct(target.defer)
    elif target.check_at_once and any(r.deferrable for mirror in mirrors for r in mirror.references):
        working.session.direct(target.check_at_once)


class _blaming:  # noqa: N801 (a context manager that reads as a word)
    """A foreign key that is found broken only in the end is some table's with foreign keys."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, errors.Rejected):
            tied = [job.mirror for job in self._jobs if job.mirror.references or job.mirror.referenced_by]
            named = [m for m in tied if ".".join(filter(None, m.destination)) == error.table]
            if tied:
                raise MirrorRejected((named or tied)[0], error) from error


def commit(session: Session, jobs: Sequence[Job]) -> None:
    """Commit. Raises `MirrorRejected` for what is checked only now."""
    with session.step(steps.COMMIT), _blaming(jobs):
        session.commit()


def empty(session: Session, target: Dialect, mirror: Mirror) -> int:
    """Delete all rows of a destination table that are this Reflection's: its source was truncated."""
    return sharing.all_gone(session, target, mirror)
