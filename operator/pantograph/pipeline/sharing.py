"""Several Reflections write one table, and what becomes of a row there when its source row is gone.

One inserts and deletes the rows of a table; others contribute columns to rows that are there, or write rows of their
own, told apart by a constant in the key. A contributor whose row is not there yet parks the key and looks again; who
deletes a row parks its key for every contributor that waits for rows, in the same transaction, so that the columns
come back with the row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Staged
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import checkpoints, keys, statements
from pantograph.pipeline.cascades import staged_rows

LOOK_AGAIN = 5.0
"""Seconds until a key is looked up again whose destination row was not there."""


def gone(session: Session, target: Dialect, mirror: Mirror, staged: Staged) -> int:
    """Do with the rows whose staged key is absent what `onDelete` says; how many rows changed."""
    if mirror.delete_statement:
        return statements.run(session, target, mirror, staged, mirror.delete_statement, present=False)
    if mirror.on_delete == "Delete":
        tell_contributors(session, target, mirror, staged)
        return target.delete(session, mirror, staged)
    if mirror.on_delete == "Ignore":
        return 0
    sets, unless = _marks(target, mirror)
    return target.change_absent(session, mirror, staged, sets, unless)


def all_gone(session: Session, target: Dialect, mirror: Mirror) -> int:
    """The same for all rows of the Reflection: its source was truncated. Contributors' keys are not parked one by one:
    one note has each of them copied again."""
    if mirror.delete_statement:
        return _each_gone(session, target, mirror)
    if mirror.on_delete == "Ignore":
        return 0
    table, own = target.table(*mirror.destination), target.own_rows(mirror)
    if mirror.on_delete == "Delete":
        for one in contributors(session, target, mirror):
            keys.note(session, target, one.owner, one.name, [()], keys.EVERYTHING)
        return session.direct(f"delete from {table}{f' where {own}' if own else ''}")
    sets, unless = _marks(target, mirror)
    where = f" and ({own})" if own else ""
    return session.direct(f"update {table} set {', '.join(f'{n} = {v}' for n, v in sets)} where not ({unless}){where}")


def _each_gone(session: Session, target: Dialect, mirror: Mirror) -> int:
    """`deleteStatement` for every row of the Reflection that the destination's table holds."""
    own = target.own_rows(mirror)
    names = ", ".join(target.quote(column.destination) for column in mirror.key)
    table = f"{target.table(*mirror.destination)}{f' where {own}' if own else ''}"
    everything = Staged(f"(select 0 as present, {names} from {table}) as s", 1)
    return statements.run(session, target, mirror, everything, mirror.delete_statement, present=False)


def _marks(target: Dialect, mirror: Mirror) -> tuple[list[tuple[str, str]], str]:
    """What is set in a row that is gone, and a condition on the destination's row for one where it is set already."""
    if mirror.on_delete == "SetNull":
        names = [target.quote(column.destination) for column in mirror.data]
        return [(name, "null") for name in names], " and ".join(f"{name} is null" for name in names) or "1 = 1"
    (mark,) = (column for column in mirror.data if column.destination == mirror.soft_delete)
    name = target.quote(mark.destination)
    sets = [(name, target.typed(target.clock, mark.destination_native))]
    sets += [(target.quote(c.destination), "'delete'") for c in mirror.data if c.system == "operation"]
    return sets, f"{name} is not null"


def park_missing(session: Session, target: Dialect, owner: str, mirror: Mirror, staged: Staged) -> int:
    """Note the staged keys of rows that are present at the source, and not at the destination; how many."""
    same = " and ".join(f"d.{target.quote(k.destination)} = s.{target.quote(k.destination)}" for k in mirror.key)
    picked = ", ".join(f"s.{target.quote(k.destination)}" for k in mirror.key)
    found = staged_rows(
        session,
        staged,
        f"select {picked} from {staged.source} where s.present = 1 and not exists "
        f"(select 1 from {target.table(*mirror.destination)} d where {same})",
    )
    waiting = keys.decoded(target, [column.destination_type for column in mirror.key], found)
    return keys.note(session, target, owner, mirror.name, waiting, "row", again_at=time.time() + LOOK_AGAIN)


@dataclass(frozen=True, slots=True)
class Contributor:
    """A Reflection that waits for rows of a table. key: the destination's columns that find them."""

    owner: str
    name: str
    key: tuple[str, ...]


def tell_contributors(
    session: Session, target: Dialect, mirror: Mirror, staged: Staged, *, come_back: bool = False
) -> None:
    """Before the rows whose staged key is absent are deleted: note their keys for those who contribute to them.

    come_back: all staged rows are deleted, and inserted again at once, which is nobody's wish but ours: then those who
    do not wait for rows are told as well.
    """
    columns = {column.destination: column for column in mirror.key}
    for one in contributors(session, target, mirror, all_of_them=come_back):
        if set(one.key) != set(columns):
            continue
        same = " and ".join(f"d.{target.quote(name)} = s.{target.quote(name)}" for name in columns)
        picked = ", ".join(f"d.{target.quote(name)}" for name in one.key)
        found = staged_rows(
            session,
            staged,
            f"select {picked} from {staged.source} join {target.table(*mirror.destination)} d on {same}"
            + ("" if come_back else " where s.present = 0"),
        )
        noted = keys.decoded(target, [columns[name].destination_type for name in one.key], found)
        keys.note(session, target, one.owner, one.name, noted, "row", again_at=time.time() + LOOK_AGAIN)


def contributors(
    session: Session, target: Dialect, mirror: Mirror, *, all_of_them: bool = False
) -> Iterator[Contributor]:
    """Who waits for rows of the mirror's table, as the destination knows: of any owner. all_of_them: whoever writes
    there beside it."""
    found = session.rows(
        f"select owner, name, state from {target.ours('checkpoints')} where name like 'reflection/%' "
        "and state like :waits",
        waits="%" if all_of_them else '%"waits":true%',
    )
    for owner, name, text in found:
        state = checkpoints.State.parse(text)
        reflection = str(name).removeprefix("reflection/")
        if tuple(state.destination) == mirror.destination and reflection != mirror.name:
            yield Contributor(owner, reflection, tuple(state.key))
