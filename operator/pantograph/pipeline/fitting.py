"""One table's rows of a turn, made to fit what its constraints ask for.

Whatever the source committed fits, if its parts come in the right order. Rows go in as they are; where a unique value
is in the way, it is freed first (absent rows that nothing points at go, values are moved aside, or rows are deleted and
inserted); where a parent is missing, rows go in generation by generation, with NULL in place of what is yet to come, or
wait. What then is refused is the row's own fault: see `deadletters`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Staged
from pantograph.model.mirrors import Mirror
from pantograph.model.tables import Reference
from pantograph.pipeline import cascades, deadletters, keys, ordering, sharing, statements
from pantograph.pipeline.cascades import staged_rows
from pantograph.pipeline.deadletters import MirrorRejected, Refusal

TAKING = ("CASCADE", "SET NULL", "SET DEFAULT")
"""What a foreign key may do to the rows that point at a deleted one, beside refusing."""

LEVELS = 100
"""So many generations of one table go in in one turn; what is below waits for the next."""

PARENT_RETRY = 2.0
"""Seconds until a parked row is looked up again by itself; twice as many each time. A turn that writes the parent's
table does not wait for that."""
PARENT_RETRY_AT_MOST = 30.0


class InTheWay(errors.PantographError):
    """Rows that this turn did not look up hold unique values that its rows need: look these keys up as well."""

    reason = "InTheWay"

    def __init__(self, mirror: Mirror, found: Sequence[keys.Key]) -> None:
        super().__init__(
            f"{mirror.name}: {len(found)} rows of {_label(mirror.destination)} hold unique values that others need"
        )
        self.mirror, self.keys = mirror, tuple(found)


@dataclass(frozen=True, slots=True)
class Job:
    """One table's part of a turn. truncated: the source's table was emptied in this window. refused: rows that did not
    even get into the stage."""

    mirror: Mirror
    staged: Staged
    truncated: bool
    events: int
    refused: tuple[Refusal, ...] = ()


@dataclass
class Counts:
    """What was done to one table. refused: rows that became dead letters, by what they break; noted: digests of keys
    that were parked, or became dead letters; settled: dead letters that are none any more."""

    upserted: int = 0
    deleted: int = 0
    parked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    settled: int = 0
    noted: set[str] = field(default_factory=set)


@dataclass
class Turn:
    """What one table must know of the others. jobs: parents first. careful: Reflections that failed before, so that
    single rows are looked for. deferred: constraints that can be are checked at the commit."""

    session: Session
    target: Dialect
    owner: str
    jobs: Sequence[Job]
    counts: dict[str, Counts]
    careful: Collection[str] = ()
    deferred: bool = False
    # Whose rows are written; and rows that were written with NULL in place of a parent that is yet to come.
    written: set[str] = field(default_factory=set)
    unfinished: list[tuple[Job, Sequence[Reference]]] = field(default_factory=list)

    def is_careful(self, mirror: Mirror) -> bool:
        """Are single rows of it looked for?"""
        return mirror.name in self.careful

    def attempt(self, act: Callable[[], object]) -> errors.Rejected | None:
        """Do something behind a savepoint; what was refused, in which case nothing of it was done or counted."""
        before = {
            name: replace(counts, noted=set(counts.noted), refused=counts.refused.copy())
            for name, counts in self.counts.items()
        }
        error = deadletters.attempt(self.session, act)
        if error is not None:
            for name, counts in before.items():
                vars(self.counts[name]).update(vars(counts))
        return error


# -- upserts -----------------------------------------------------------------------------------------------------------


def upsert(turn: Turn, job: Job) -> None:
    """Write the present rows of one table. Raises `MirrorRejected` for what does not fit, `InTheWay`."""
    mirror = job.mirror
    if mirror.missing_row == "Wait":
        sharing.park_missing(turn.session, turn.target, turn.owner, mirror, job.staged)
    if not (mirror.other_uniques or mirror.references or turn.is_careful(mirror)):
        # Nothing in the table can collide but what is wrong with the row itself.
        try:
            _put(turn, job, job.staged)
        except errors.Rejected as error:
            raise MirrorRejected(mirror, error) from error
        return
    lacking, asked = NONE, False
    if turn.deferred and any(turn.target.defers(reference) for reference in mirror.references):
        # No error will tell until the commit, and then not of whom.
        lacking, asked = _wait_for_parents(turn, job, job.staged), True
    ways = _ways(turn, job)
    free: Callable[[], object] = _as_it_is
    while True:
        refused = turn.attempt(functools.partial(_put_after, turn, job, _without(job.staged, lacking), free))
        if refused is None:
            return
        if refused.kind == "foreign key" and mirror.references and not asked:
            lacking, asked = _wait_for_parents(turn, job, job.staged), True
        elif refused.kind == "unique" and ways:
            free = ways.pop(0)
        elif turn.is_careful(mirror):
            if mirror.references and not asked:
                lacking = _wait_for_parents(turn, job, job.staged)
            _one_by_one(turn, job, lacking)
            return
        else:
            raise MirrorRejected(mirror, _explained(mirror, refused)) from refused


NONE = "1 = 0"
"""A condition that no row meets."""


def _put_after(turn: Turn, job: Job, staged: Staged, free: Callable[[], object]) -> None:
    free()
    _put(turn, job, staged)


def _put(turn: Turn, job: Job, staged: Staged) -> None:
    mirror, target, session = job.mirror, turn.target, turn.session
    if mirror.statement:
        count = statements.run(session, target, mirror, staged, mirror.statement, present=True)
    elif mirror.missing_row == "Insert":
        count = target.upsert(session, mirror, staged)
    else:
        count = target.update(session, mirror, staged)
    turn.counts[mirror.name].upserted += count


def _as_it_is() -> None:
    """Nothing is in the way."""


def _ways(turn: Turn, job: Job) -> list[Callable[[], object]]:
    """What frees unique values, in the order in which it is tried."""
    mirror = job.mirror
    if not mirror.other_uniques or not _whole(mirror):
        return []
    ways: list[Callable[[], object]] = [lambda: clear(turn)]
    if (mirror.referenced_by or mirror.others) and _movable(mirror):
        ways.append(lambda: turn.target.blank(turn.session, mirror, job.staged, _movable(mirror)))
    if not any(reference.on_delete in TAKING for reference in mirror.referenced_by):
        ways.append(lambda: _delete_to_insert(turn, job))
    return ways


def _delete_to_insert(turn: Turn, job: Job) -> None:
    sharing.tell_contributors(turn.session, turn.target, job.mirror, job.staged, come_back=True)
    turn.target.delete(turn.session, job.mirror, job.staged, absent_only=False)


def _whole(mirror: Mirror) -> bool:
    """Does this Reflection insert and delete the rows that it writes, by our own statements?"""
    deletes = mirror.on_delete == "Delete" and not mirror.delete_statement
    return deletes and mirror.missing_row == "Insert" and not mirror.statement


def clear(turn: Turn) -> None:
    """Delete absent rows that nothing points at, children first: a new row may take over what was theirs."""
    for job in reversed(turn.jobs):
        if job.staged.absent != 0 and _whole(job.mirror):
            _delete_free(turn, job, job.staged)


def _movable(mirror: Mirror) -> tuple[str, ...]:
    """Columns that can be NULL while their unique value is in the way; () where one of the keys has none."""
    pointed_at = {name for reference in mirror.referenced_by for name in reference.parent_columns}
    free = {column.destination for column in mirror.data if column.nullable} - pointed_at
    found = [next((name for name in unique if name in free), "") for unique in mirror.uniques]
    return tuple(dict.fromkeys(found)) if all(found) else ()


def _held(target: Dialect, mirror: Mirror, staged: Staged, present: str = "") -> str:
    """A condition on the destination's table `d`: its row is in the stage."""
    same = " and ".join(f"s.{target.quote(k.destination)} = d.{target.quote(k.destination)}" for k in mirror.key)
    return f"exists (select 1 from {staged.source} where {same}{present})"


def _explained(mirror: Mirror, error: errors.Rejected) -> errors.Rejected:
    """What stands in the way of freeing a unique value is what a person can change."""
    taking = [r for r in mirror.referenced_by if r.on_delete in TAKING]
    if error.kind != "unique" or not taking or _movable(mirror):
        return error
    return errors.Rejected(
        f"{error}; rows of {_label(mirror.destination)} cannot be deleted and inserted again, for {taking[0].name} of "
        f"{_label(taking[0].table)} says ON DELETE {taking[0].on_delete}, and the unique value cannot be moved aside, "
        "for its column takes no NULL",
        kind=error.kind, code=error.code, constraint=error.constraint, table=error.table,
    )  # fmt: skip


# -- parents -----------------------------------------------------------------------------------------------------------


def _wait_for_parents(turn: Turn, job: Job, staged: Staged) -> str:
    """Park the rows whose parents are not there, or write them with NULL for now; the condition that says which.

    Rows that point at others of their own table go in generation by generation, for some engines ask row by row.
    """
    mirror, target = job.mirror, turn.target
    lacking = _lacking(turn, mirror)
    if any(reference.parent == mirror.destination for reference in mirror.references):
        left = -1
        for _ in range(LEVELS):
            before, left = left, _count(turn, staged, lacking)
            if left in (0, before):
                break
            if turn.attempt(functools.partial(_put, turn, job, _without(staged, lacking))) is not None:
                break  # whoever called meets it again
    if not _count(turn, staged, lacking):
        return NONE
    loose = [r for r in mirror.ring if ordering.loosened(mirror, r)]
    if loose:
        hopeless = _lacking(turn, mirror, [r for r in mirror.references if r not in loose])
        partly = _only(staged, f"({lacking}) and not ({hopeless})")
        nulled = _nulled(target, mirror, partly, loose)
        if turn.attempt(functools.partial(_put, turn, job, nulled)) is None:
            turn.unfinished.append((job, loose))
            _park(turn, mirror, _only(staged, hopeless))
            return lacking
    _park(turn, mirror, staged)
    return lacking


def finish(turn: Turn) -> None:
    """All tables are written: give the rows that had NULL for a parent what they point at. Who still has none waits."""
    for job, loose in turn.unfinished:
        emptied = _only(job.staged, _emptied(turn.target, job.mirror, loose))
        _park(turn, job.mirror, emptied)
        _put(turn, job, _without(emptied, _lacking(turn, job.mirror)))
    if turn.deferred:
        _take_back(turn)


def _take_back(turn: Turn) -> None:
    """Of rows whose constraints are deferred, some point at rows that did not come after all: they wait, too."""
    found = True
    while found:
        found = False
        for job in turn.jobs:
            mirror = job.mirror
            if not any(turn.target.defers(reference) for reference in mirror.references):
                continue
            there = _there(turn.target, mirror)
            orphans = _only(job.staged, f"({_lacking(turn, mirror)}) and {there}")
            if _count(turn, orphans, "1 = 1"):
                found = True
                _park(turn, mirror, orphans)
                turn.target.delete(turn.session, mirror, orphans, absent_only=False)


def _there(target: Dialect, mirror: Mirror) -> str:
    """A condition on `s`: the destination has a row of its key."""
    same = " and ".join(f"w.{target.quote(k.destination)} = s.{target.quote(k.destination)}" for k in mirror.key)
    return f"exists (select 1 from {target.table(*mirror.destination)} w where {same})"


def _emptied(target: Dialect, mirror: Mirror, references: Sequence[Reference]) -> str:
    """A condition on `s`: its row is in the destination's table, with NULL in place of a parent."""
    same = [f"w.{target.quote(k.destination)} = s.{target.quote(k.destination)}" for k in mirror.key]
    names = sorted({target.quote(name) for one in references for name in ordering.loosened(mirror, one)})
    empty = " or ".join(f"(w.{name} is null and s.{name} is not null)" for name in names)
    table = target.table(*mirror.destination)
    return f"exists (select 1 from {table} w where {' and '.join(same)} and ({empty}))"


def _nulled(target: Dialect, mirror: Mirror, staged: Staged, references: Sequence[Reference]) -> Staged:
    """The rows with NULL in the columns of these foreign keys that take it."""
    empty = {name for reference in references for name in ordering.loosened(mirror, reference)}
    picked = [
        f"{target.typed('null', column.destination_native)} as {target.quote(column.destination)}"
        if column.destination in empty
        else f"s.{target.quote(column.destination)}"
        for column in mirror.columns
    ]
    return Staged(f"(select s.present, {', '.join(picked)} from {staged.source}) as s", staged.rows, staged.literal)


def _without(staged: Staged, lacking: str) -> Staged:
    if lacking == NONE:
        return staged
    return Staged(
        f"(select s.* from {staged.source} where not (s.present = 1 and ({lacking}))) as s", staged.rows, staged.literal
    )


def _only(staged: Staged, condition: str) -> Staged:
    return Staged(
        f"(select s.* from {staged.source} where s.present = 1 and ({condition})) as s", staged.rows, staged.literal
    )


def _count(turn: Turn, staged: Staged, condition: str) -> int:
    ((count,),) = staged_rows(
        turn.session, staged, f"select count(*) from {staged.source} where s.present = 1 and ({condition})"
    )
    return int(str(count))


def _park(turn: Turn, mirror: Mirror, staged: Staged) -> None:
    """Note the keys of staged rows whose parent is not there, by the foreign key that says so."""
    counts = turn.counts[mirror.name]
    for reference in mirror.references:
        lacking = _only(staged, _lacking(turn, mirror, [reference]))
        found = [
            key
            for key in deadletters.keys_of(turn.session, turn.target, mirror, lacking)
            if keys.digest_of(key) not in counts.noted
        ]
        if found:
            detail = f"no row of {_label(reference.parent)} to point at ({reference.name})"
            keys.note(
                turn.session, turn.target, turn.owner, mirror.name, found, "parent", detail,
                wait=PARENT_RETRY, at_most=PARENT_RETRY_AT_MOST,
            )  # fmt: skip
            counts.parked += len(found)
            counts.noted |= {keys.digest_of(key) for key in found}


def _lacking(turn: Turn, mirror: Mirror, references: Sequence[Reference] | None = None) -> str:
    """A condition on `s`: a foreign key of its points at a row that is not there."""
    chosen = mirror.references if references is None else references
    return " or ".join(f"({_lacks(turn, mirror, reference)})" for reference in chosen) or NONE


def _lacks(turn: Turn, mirror: Mirror, reference: Reference) -> str:
    target = turn.target
    written = {column.destination for column in mirror.columns}
    if not set(reference.columns) <= written:
        return NONE
    mine = [f"s.{target.quote(name)}" for name in reference.columns]
    theirs = [target.quote(name) for name in reference.parent_columns]
    given = " and ".join(f"{name} is not null" for name in mine)
    there = " and ".join(f"p.{t} = {m}" for t, m in zip(theirs, mine, strict=True))
    lacks = f"{given} and not exists (select 1 from {target.table(*reference.parent)} p where {there})"
    if reference.parent == mirror.destination:
        # A row may be its own parent.
        itself = " and ".join(f"s.{t} = {m}" for t, m in zip(theirs, mine, strict=True))
        lacks += f" and not ({itself})"
    if turn.deferred and target.defers(reference):
        for job in turn.jobs:
            # Of a table that was written already, the table says what is there.
            if job.mirror.destination == reference.parent and job.mirror.name not in turn.written:
                same = " and ".join(f"u.{t} = {m}" for t, m in zip(theirs, mine, strict=True))
                lacks += f" and not exists (select 1 from {_renamed(job.staged)} where u.present = 1 and {same})"
    return lacks


def _renamed(staged: Staged) -> str:
    """The stage under the alias `u`."""
    return f"(select s.* from {staged.source}) as u"


# -- row by row --------------------------------------------------------------------------------------------------------


def _one_by_one(turn: Turn, job: Job, lacking: str) -> None:
    """Write all rows that can be; what becomes of the others is `deadletters`' to say."""
    mirror, session, target, staged = job.mirror, turn.session, turn.target, job.staged
    # Where nothing can be freed, the rows tell.
    turn.attempt(functools.partial(clear, turn))
    try:
        failed = deadletters.halved(
            session, target, mirror, staged, turn.attempt, lambda part: _put(turn, job, part), but=lacking
        )
    except deadletters.TooMany:
        raise _too_many(mirror) from None
    why = dict(failed)
    colliding = {number for number, error in failed if error.kind == "unique"}
    if colliding:
        refused = _collide(turn, job, sorted(colliding), why)
        failed = [(number, why[number]) for number, _ in failed if number not in colliding or number in refused]
    _refuse(turn, job, deadletters.refusals(session, target, mirror, staged, failed, 1))


def _too_many(mirror: Mirror) -> MirrorRejected:
    return MirrorRejected(
        mirror,
        errors.Rejected(
            f"more than {deadletters.MOST_REFUSED} rows of one window are refused by {_label(mirror.destination)}; "
            "that many are no dead letters: look at the constraints and triggers there, and at the columns here"
        ),
    )


def _collide(turn: Turn, job: Job, numbers: list[int], why: dict[int, errors.Rejected]) -> set[int]:
    """Write rows whose unique values are taken, as far as it is one of them that has it; who remains is refused."""
    mirror, target, staged = job.mirror, turn.target, job.staged

    def put(part: Staged, free: Callable[[], object] = _as_it_is) -> bool:
        return turn.attempt(functools.partial(_put_after, turn, job, part, free)) is None

    left, before = list(numbers), -1
    while left and len(left) != before:
        # One that has moved on may have freed what another needs.
        before = len(left)
        left = [n for n in left if not put(deadletters.among(target, mirror, staged, 1, [n]))]
    refused: set[int] = set()
    outside = {-1}
    while left and outside:
        part = deadletters.among(target, mirror, staged, 1, left)
        outside = {n for n in left if _held_by_others(turn, job, part, n)}
        left = [n for n in left if n not in outside]
        refused |= outside
    if not left:
        return refused
    part = deadletters.among(target, mirror, staged, 1, left)
    if any(put(part, free) for free in _ways(turn, replace(job, staged=part))[1:]):
        return refused
    why.update({n: _explained(mirror, why[n]) for n in left})
    return refused | set(left)


def _held_by_others(turn: Turn, job: Job, part: Staged, number: int) -> bool:
    """Does a row that is not in `part` hold a unique value of the row of this number?

    Raises `InTheWay` where that row was not looked up: it may have another value by now, or be gone.
    """
    target, mirror = turn.target, job.mirror
    one = deadletters.among(target, mirror, job.staged, 1, [number])
    picked = ", ".join(f"d.{target.quote(column.destination)}" for column in mirror.key)
    for unique in mirror.uniques:
        if not set(unique) <= {column.destination for column in mirror.columns}:
            continue
        same = " and ".join(f"d.{target.quote(name)} = o.{target.quote(name)}" for name in unique)
        others = (
            f"select {picked} from (select s.* from {one.source}) as o join {target.table(*mirror.destination)} d "
            f"on {same} where not {_held(target, mirror, part)}"
        )
        if not staged_rows(turn.session, one, others):
            continue
        if mirror.keeps or target.own_rows(mirror):
            return True  # it may well be a row that is not ours
        unknown = staged_rows(turn.session, one, f"{others} and not {_held(target, mirror, job.staged)}")
        if unknown:
            raise InTheWay(mirror, [deadletters.decoded(target, mirror, row) for row in unknown])
        return True
    return False


def _refuse(turn: Turn, job: Job, refused: Sequence[Refusal]) -> None:
    """Rows of this job are set aside, or the Reflection stops for them."""
    counts = turn.counts[job.mirror.name]
    new = [one for one in refused if keys.digest_of(one.key) not in counts.noted]
    counts.noted |= deadletters.note(turn.session, turn.target, turn.owner, job.mirror, new)
    counts.refused.update(one.error.kind for one in new)


def refuse_staged(turn: Turn, job: Job) -> None:
    """Rows that did not get into the stage."""
    if job.refused:
        _refuse(turn, job, job.refused)


# -- deletes -----------------------------------------------------------------------------------------------------------


def delete(turn: Turn, job: Job) -> bool:
    """Delete the absent rows of one table; False when rows of another table are still in the way.

    Raises `MirrorRejected`.
    """
    if not job.mirror.referenced_by and not turn.is_careful(job.mirror):
        try:
            _take(turn, job, job.staged)
        except errors.Rejected as error:
            raise MirrorRejected(job.mirror, error) from error
        return True
    taking = functools.partial(_take, turn, job, job.staged)
    refused = turn.attempt(taking)
    if refused is not None and _of_children(refused):
        # Engines that ask row by row, and RESTRICT, want the children of the same table to go first.
        loosen(turn)
        for _ in range(LEVELS if _whole(job.mirror) else 0):
            if not _delete_free(turn, job, job.staged):
                break
        refused = turn.attempt(taking)
    if refused is not None and _of_children(refused):
        return False
    if refused is not None:
        blame(turn, job, refused)
    return True


def _of_children(error: errors.Rejected) -> bool:
    """Is it that rows of ours point at the row?"""
    return error.kind == "foreign key" and error.reason != cascades.REASON


def blame(turn: Turn, job: Job, error: errors.Rejected | None = None) -> None:
    """Nothing else will help: which rows cannot be deleted?"""
    mirror, session = job.mirror, turn.session
    error = error or turn.attempt(functools.partial(_take, turn, job, job.staged))
    if error is None:
        return
    if not turn.is_careful(mirror):
        raise MirrorRejected(mirror, error) from error
    try:
        failed = deadletters.halved(
            session, turn.target, mirror, job.staged, turn.attempt, lambda part: _take(turn, job, part), present=0
        )
    except deadletters.TooMany:
        raise _too_many(mirror) from None
    _refuse(turn, job, deadletters.refusals(session, turn.target, mirror, job.staged, failed, 0))


def _take(turn: Turn, job: Job, staged: Staged) -> None:
    counts, parked = turn.counts[job.mirror.name], 0
    if job.mirror.on_delete == "Delete" and not job.mirror.delete_statement:
        parked = cascades.note(turn.session, turn.target, job.mirror, staged)
    counts.deleted += sharing.gone(turn.session, turn.target, job.mirror, staged)
    counts.parked += parked


def _delete_free(turn: Turn, job: Job, staged: Staged) -> int:
    """Delete those of the absent rows that nothing points at; how many."""
    mirror, target = job.mirror, turn.target
    free = []
    for reference in mirror.referenced_by:
        child = target.table(*reference.table)
        on = " and ".join(
            f"c.{target.quote(mine)} = p.{target.quote(theirs)}"
            for mine, theirs in zip(reference.columns, reference.parent_columns, strict=True)
        )
        if reference.table == mirror.destination:
            # A row that points at itself is in nobody's way.
            itself = " and ".join(
                f"c.{target.quote(k.destination)} = p.{target.quote(k.destination)}" for k in mirror.key
            )
            on += f" and not ({itself})"
        free.append(f"not exists (select 1 from {child} c where {on})")
    same = " and ".join(f"p.{target.quote(k.destination)} = s.{target.quote(k.destination)}" for k in mirror.key)
    part = staged
    if free:
        unbound = f"exists (select 1 from {target.table(*mirror.destination)} p where {same} and {' and '.join(free)})"
        part = Staged(
            f"(select s.* from {staged.source} where s.present = 1 or {unbound}) as s", staged.rows, staged.literal
        )
    deleted = 0

    def take() -> None:
        nonlocal deleted
        deleted = sharing.gone(turn.session, target, mirror, part)

    if deadletters.caught(turn.session, take, errors.Refused) is not None:
        return 0  # a table that points here is not for us to read
    turn.counts[mirror.name].deleted += deleted
    return deleted


def loosen(turn: Turn) -> None:
    """Absent rows of a ring of tables no longer point at each other, where their columns take NULL."""
    for job in turn.jobs:
        names = {name for reference in job.mirror.ring for name in ordering.loosened(job.mirror, reference)}
        if names and job.staged.absent != 0:
            turn.target.blank(turn.session, job.mirror, job.staged, sorted(names), absent_only=True)


def _label(table: tuple[str, str]) -> str:
    return ".".join(filter(None, table))
