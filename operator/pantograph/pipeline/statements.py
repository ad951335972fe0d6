"""`statement` and `deleteStatement`: the user's SQL at the destination, once for each changed row, in place of ours.

Its parameters are the destination's columns. It runs in the transaction that moves the checkpoint, so that it takes
part in it; but a row is passed again whenever it is copied again (a sweep, a window read again after the source moved),
so the statement must mean the same twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Staged
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.pipeline.cascades import staged_rows

PAGE = 5_000
"""Rows that are held in memory at once."""

# Outside of literals a `::` is a cast, and `\\:` a colon.
_PARAMETER = re.compile(r"(?<![:\w\\]):([A-Za-z_]\w*)")


def parameters(statement: str) -> set[str]:
    """The names behind a colon."""
    return set(_PARAMETER.findall(statement))


def check(statement: str, columns: Sequence[Mapped], path: str) -> None:
    """Raises `SpecError` for a parameter that no column fills."""
    names = {column.destination for column in columns}
    unknown = sorted(parameters(statement) - names)
    if unknown:
        raise errors.SpecError(
            f"no column fills the parameter :{unknown[0]}; there are {', '.join(f':{name}' for name in sorted(names))}",
            path=path,
        )


def run(session: Session, target: Dialect, mirror: Mirror, staged: Staged, statement: str, *, present: bool) -> int:
    """Run it for each staged row that is present (or absent), in the order of the key; how many rows."""
    columns = mirror.columns if present else mirror.key
    wanted = parameters(statement)
    names = [column.destination for column in columns]
    count = 0
    for row in _rows(session, target, mirror, staged, columns, present):
        session.run(statement, **{name: value for name, value in zip(names, row, strict=True) if name in wanted})
        count += 1
    return count


def _rows(
    session: Session, target: Dialect, mirror: Mirror, staged: Staged, columns: Sequence[Mapped], present: bool
) -> Iterator[tuple[Any, ...]]:
    picked = ", ".join(f"s.{target.quote(column.destination)}" for column in columns)
    keys = [f"s.{target.quote(column.destination)}" for column in mirror.key]
    base = f"select {picked} from {staged.source} where s.present = {int(present)}"
    if staged.literal:
        yield from staged_rows(session, staged, f"{base} order by {', '.join(keys)}")
        return
    values = [target.typed(f":a{i}", column.destination_native) for i, column in enumerate(mirror.key)]
    after: tuple[Any, ...] = ()
    while True:
        beyond = f" and {target.beyond(keys, values)}" if after else ""
        bound = {f"a{i}": value for i, value in enumerate(after)}
        page = session.rows(f"{base}{beyond} order by {', '.join(keys)} {target.at_most(PAGE)}", **bound)
        yield from page
        if len(page) < PAGE:
            return
        after = tuple(page[-1][: len(keys)])
