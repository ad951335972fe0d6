"""Rows that the destination refuses: which of a window's rows they are, and what becomes of them.

A turn that fails is tried once more with care: what does not fit is halved until single rows are left. Under
`onError: DeadLetter` their keys are noted with the reason and the rest of the window is committed; under `Stop` the
Reflection stands apart and says how many there are, and their keys are where only the destination's own users see them.

A dead letter is tried again on its key's next event, when the Reflection is swept or begins anew, and at ever longer
intervals. A row that succeeds leaves the table, and so does one that is gone from the source.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Staged
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import keys
from pantograph.pipeline.cascades import staged_rows

FIRST_RETRY, SLOWEST_RETRY = 60.0, 3600.0
"""Seconds until a dead letter is tried again by itself: at first, and twice as many each time, up to these."""

MOST_REFUSED = 1000
"""Of one window. Where more rows are refused it is no row that is wrong but the table or the mapping, and a person has
to see it: then the Reflection stops, whatever `onError` says."""

NUMBER = "pantograph_r"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that was refused. key: as the destination has it."""

    key: keys.Key
    error: errors.Rejected


class MirrorRejected(errors.PantographError):
    """The destination refused one Reflection's rows; the others of the turn are not to blame.

    refused: which they are, where somebody looked.
    """

    def __init__(self, mirror: Mirror, error: errors.DatabaseError, refused: Sequence[Refusal] = ()) -> None:
        super().__init__(_told(mirror, error, refused), reason=error.reason)
        self.mirror, self.error, self.refused = mirror, error, tuple(refused)


@contextlib.contextmanager
def blamed(mirror: Mirror) -> Iterator[None]:
    """What a database says in here is this Reflection's fault, not its neighbours' (promise 13)."""
    try:
        yield
    except (errors.Unreachable, errors.Contended):
        raise
    except errors.DatabaseError as error:
        raise MirrorRejected(mirror, error) from error


def _told(mirror: Mirror, error: errors.DatabaseError, refused: Sequence[Refusal]) -> str:
    if not refused:
        return str(error)
    some = "1 row is" if len(refused) == 1 else f"{len(refused)} rows are"
    return (
        f"{some} refused: {error}; the key is in the table keys beside the checkpoints (name '{mirror.name}', reason "
        "'refused'); change the row, or the table there, or go on without it (spec.onError: DeadLetter)"
    )


class TooMany(Exception):
    """More than `MOST_REFUSED` rows of a window."""


def numbered(target: Dialect, mirror: Mirror, staged: Staged, present: int, chosen: str, count: int) -> Staged:
    """Those staged rows, present ones or absent ones, of which a condition on `s` holds; `s.pantograph_r` is a row's
    number in the order of the key. The numbers are of the whole stage, so they stay what they are."""
    order = ", ".join(f"s.{target.quote(column.destination)}" for column in mirror.key)
    inner = (
        f"select s.*, row_number() over (order by {order}) as {NUMBER} from {staged.source} where s.present = {present}"
    )
    return Staged(f"(select s.* from ({inner}) as s where {chosen}) as s", count, staged.literal)


def among(target: Dialect, mirror: Mirror, staged: Staged, present: int, numbers: Sequence[int]) -> Staged:
    """The rows of these numbers."""
    listed = ", ".join(map(str, numbers)) or "0"
    return numbered(target, mirror, staged, present, f"s.{NUMBER} in ({listed})", len(numbers))


def how_many(session: Session, staged: Staged, present: int) -> int:
    """The present, or absent, rows of a stage."""
    ((count,),) = staged_rows(session, staged, f"select count(*) from {staged.source} where s.present = {present}")
    return int(str(count))


Attempt = Callable[[Callable[[], object]], errors.Rejected | None]


def halved(
    session: Session,
    target: Dialect,
    mirror: Mirror,
    staged: Staged,
    attempting: Attempt,
    act: Callable[[Staged], None],
    *,
    present: int = 1,
    but: str = "1 = 0",
) -> list[tuple[int, errors.Rejected]]:
    """Do `act` with all rows that can be done, a half at a time; the numbers of the rows that cannot, and why.

    but: a condition on `s`, rows that are left out. Raises `TooMany`.
    """
    failed: list[tuple[int, errors.Rejected]] = []
    ranges = [(1, how_many(session, staged, present))]
    while ranges:
        low, high = ranges.pop()
        if low > high:
            continue
        chosen = f"s.{NUMBER} between {low} and {high} and not ({but})"
        part = numbered(target, mirror, staged, present, chosen, high - low + 1)
        error = attempting(functools.partial(act, part))
        if error is None:
            continue
        if low == high:
            failed.append((low, error))
            if len(failed) > MOST_REFUSED:
                raise TooMany
            continue
        middle = (low + high) // 2
        # The lower half is done first.
        ranges += [(middle + 1, high), (low, middle)]
    return failed


_savepoints = itertools.count(1)


Caught = TypeVar("Caught", bound=errors.DatabaseError)


def attempt(session: Session, act: Callable[[], object]) -> errors.Rejected | None:
    """Do something behind a savepoint; what was refused, in which case nothing of it was done."""
    return caught(session, act, errors.Rejected)


def caught(session: Session, act: Callable[[], object], kind: type[Caught]) -> Caught | None:
    """The same for another kind of error."""
    # Each with a name of its own: of two that have the same, not every engine keeps both.
    name = f"attempt_{next(_savepoints)}"
    dialect = session.dialect
    session.direct(dialect.savepoint(name))
    try:
        act()
    except kind as error:
        session.direct(dialect.back_to_savepoint(name))
        _release(session, name)
        return error
    _release(session, name)
    return None


def _release(session: Session, name: str) -> None:
    if statement := session.dialect.release_savepoint(name):
        session.direct(statement)


def keys_of(session: Session, target: Dialect, mirror: Mirror, staged: Staged, where: str = "") -> list[keys.Key]:
    """The keys of staged rows, in canonical values."""
    picked = ", ".join(f"s.{target.quote(column.destination)}" for column in mirror.key)
    found = staged_rows(session, staged, f"select {picked} from {staged.source}{where}")
    return keys.decoded(target, [column.destination_type for column in mirror.key], found)


def decoded(target: Dialect, mirror: Mirror, row: Sequence[object]) -> keys.Key:
    """A key as the destination's driver yields it, in canonical values."""
    (key,) = keys.decoded(target, [column.destination_type for column in mirror.key], [row])
    return key


def refusals(
    session: Session,
    target: Dialect,
    mirror: Mirror,
    staged: Staged,
    failed: Sequence[tuple[int, errors.Rejected]],
    present: int,
) -> list[Refusal]:
    """The rows of these numbers, by their keys."""
    result = []
    for number, error in failed:
        one = among(target, mirror, staged, present, [number])
        result += [Refusal(key, error) for key in keys_of(session, target, mirror, one)]
    return result


def note(session: Session, target: Dialect, owner: str, mirror: Mirror, refused: Sequence[Refusal]) -> set[str]:
    """Make dead letters of rows that were refused; their digests. Raises `MirrorRejected` where the Reflection is to
    stop for them."""
    if not mirror.dead_letters and refused:
        raise MirrorRejected(mirror, refused[0].error, refused)
    by_reason: dict[str, list[keys.Key]] = {}
    for one in refused:
        by_reason.setdefault(str(one.error), []).append(one.key)
    again_at = time.time() + FIRST_RETRY
    for reason, listed in by_reason.items():
        keys.note(
            session, target, owner, mirror.name, listed, "dead", reason,
            again_at=again_at, wait=FIRST_RETRY, at_most=SLOWEST_RETRY,
        )  # fmt: skip
    return {keys.digest_of(one.key) for one in refused}


def settle(
    session: Session, target: Dialect, owner: str, mirror: Mirror, staged: Staged, where: str, but: set[str]
) -> int:
    """Take out the dead letters whose rows this turn has written or deleted; how many.

    where: which rows of the stage those are; but: keys that were noted just now.
    """
    letters = {one.digest for one in keys.noted_as(session, target, owner, mirror.name, "dead", 1_000_000)} - but
    if not letters:
        return 0
    done = [
        digest
        for key in keys_of(session, target, mirror, staged, where)
        if (digest := keys.digest_of(key)) in letters
    ]  # fmt: skip
    keys.settle(session, target, owner, mirror.name, done)
    return len(done)


def remember(session: Session, target: Dialect, owner: str, error: MirrorRejected) -> None:
    """Write down, in a transaction of its own, for which rows a Reflection stops."""
    by_reason: dict[str, list[keys.Key]] = {}
    for one in error.refused:
        by_reason.setdefault(str(one.error), []).append(one.key)
    keys.release(session, target, owner, error.mirror.name, "refused", to=None)
    for reason, listed in by_reason.items():
        keys.note(session, target, owner, error.mirror.name, listed, "refused", reason, again_at=keys.NEVER)
