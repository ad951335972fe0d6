"""Reading windows. SQLite has one writer at a time, so the ids of an event table are in the order of commits.

A position is JSON: capture id to the highest event id seen. What a snapshot sees of an event table is all up to its
highest id, so a window is a range of ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pantograph import errors
from pantograph.dialects.base import Session, WindowReader
from pantograph.dialects.sqlite import connections
from pantograph.model.changes import NOWHERE, Capture, Pending, Position, Window

_TABLES_AT_ONCE = 100
"""Tables in one statement; SQLite joins 500 SELECTs at most."""


def parse(position: Position) -> dict[str, int]:
    """The ids of a position; none of "" (nothing has been read)."""
    return {str(name): int(value) for name, value in json.loads(position or "{}").items()}


class Reader(WindowReader):
    """`WindowReader` for SQLite. It remembers nothing."""

    def token(self, side: Session) -> str:
        # `data_version` changes with every commit of another connection, and with none of our own (nonces, purges),
        # which bring nothing to read. It is only told within one connection, hence the connection's own number.
        (version,) = side.row("pragma data_version")
        return f"{side.raw.serial}.{version}"

    def open(self, session: Session, floors: Sequence[Position]) -> Position:
        # BEGIN reads nothing: the snapshot is what the first SELECT sees, and this is the one.
        session.run("begin")
        ends = self._ends(session)
        for floor in floors:
            behind = [name for name, value in parse(floor).items() if value > ends.get(name, value)]
            if behind:
                # Its window would be empty, for ever: somebody has emptied the table, or put an older file in place.
                raise errors.PositionLost(f"the event table of capture {behind[0]} ends before what was read from it")
        return Position(json.dumps(ends, separators=(",", ":")))

    def _ends(self, session: Session) -> dict[str, int]:
        # max(id) and not sqlite_sequence: a person may have emptied that one, and `purge` keeps the highest id for it.
        result: dict[str, int] = {}
        for captures in _parts(list(self.captures.values())):
            found = session.row("select " + ", ".join(f"(select max(id) from {self._events(c)})" for c in captures))
            result |= {capture.id: int(value or 0) for capture, value in zip(captures, found, strict=True)}
        return result

    def _events(self, capture: Capture) -> str:
        return self.dialect.ours(capture.event_table)

    def pending(
        self, session: Session, since: Mapping[str, Position], until: Position, limit: int
    ) -> dict[str, tuple[Pending, float]]:
        ends = parse(until)
        begins = {name: parse(position).get(name, 0) for name, position in since.items()}
        moved = [self.captures[name] for name, begin in begins.items() if begin < ends.get(name, 0)]
        result = {}
        for captures in _parts(moved):
            selects = [
                f"select {n}, count(*), (julianday('now') - min(at)) * 86400.0 "
                f"from (select at from {self._events(capture)} "
                f"where id > :s{n} and id <= :u{n} and op <> '' limit :limit)"
                for n, capture in enumerate(captures)
            ]
            params: dict[str, Any] = {"limit": limit}
            for n, capture in enumerate(captures):
                params |= {f"s{n}": begins[capture.id], f"u{n}": ends[capture.id]}
            for n, count, age in session.rows(" union all ".join(selects), **params):
                if count:
                    result[captures[n].id] = (Pending(int(count)), max(0.0, float(age)))
        return result

    def keys(
        self,
        capture: Capture,
        window: Window,
        *,
        columns: Sequence[int] = (),
        after: int | None = None,
        limit: int | None = None,
    ) -> tuple[str, dict[str, Any]]:
        taken = self.picked(capture, columns)
        names = ", ".join(name for _, name in taken)
        picked = ", ".join(f"{column} as {name}" for column, name in taken)
        # NULL in a key is SQLite's own liberty (`blind_spots`): there is no row to find by it.
        given = " and ".join(f"{name} is not null" for _, name in taken)
        since, until = _range(capture, window)
        params: dict[str, Any] = {"w_since": max(since, after or 0), "w_until": until}
        source = f"{self._events(capture)} where id > :w_since and id <= :w_until and op <> ''"
        if limit is None:
            return f"select distinct {names} from (select {picked} from {source}) where {given}", params
        page = f"(select {picked} from {source} order by id limit :w_limit)"
        return f"select distinct {names} from {page} where {given}", {**params, "w_limit": limit}

    def page_end(self, session: Session, capture: Capture, window: Window, after: int, limit: int) -> int | None:
        since, until = _range(capture, window)
        (end,) = session.row(
            f"select max(id) from (select id from {self._events(capture)} "
            "where id > :since and id <= :until and op <> '' order by id limit :limit)",
            since=max(since, after),
            until=until,
            limit=limit,
        )
        return None if end is None else int(end)

    def covers(self, position: Position, mark: str, capture: Capture, until: Position = NOWHERE) -> bool:
        return not mark or parse(position).get(capture.id, 0) >= int(mark)

    def issued(self, session: Session, position: Position) -> bool:
        for name, value in parse(position).items():
            capture = self.captures.get(name)
            if capture is None:
                continue
            first = session.row(f"select id, op from {self._events(capture)} order by id limit 1")
            (last,) = session.row(f"select max(id) from {self._events(capture)}")
            # The first event says where this table's life begins (`capture.first_event`).
            begins = int(first[0]) if first is not None and first[1] == "" else 0
            if not begins <= value <= int(last or 0):
                return False
        return True

    def purge(self, session: Session, capture: Capture, floors: Sequence[Position], limit: int) -> int:
        if not floors:
            # Nobody is known to need them, which may be because somebody has only just come. Retention takes them.
            return 0
        read = min(parse(floor).get(capture.id, 0) for floor in floors)
        with connections.waiting(session, 0):
            return self._delete(session, capture, "id <= :read", limit, read=read)[0]

    def expire(self, session: Session, capture: Capture, max_age: float, max_rows: int, limit: int) -> tuple[int, str]:
        events = self._events(capture)
        condition = "(at < julianday('now') - :days or id <= (select max(id) from " + events + ") - :rows)"
        with connections.waiting(session, 0):
            taken, last = self._delete(session, capture, condition, limit, days=max_age / 86400.0, rows=max_rows)
        return taken, str(last) if taken else ""

    def _delete(self, session: Session, capture: Capture, condition: str, limit: int, **params: Any) -> tuple[int, int]:
        """Delete the first events while they meet the condition: how many, and the last one's id.

        The very last event stays: AUTOINCREMENT goes on behind it even where `sqlite_sequence` was emptied.
        """
        events = self._events(capture)
        (last,) = session.row(
            f"select max(id) from (select id, at from {events} where op <> '' order by id limit :limit) "
            f"where {condition} and id < (select max(id) from {events})",
            limit=limit,
            **params,
        )
        if last is None:
            return 0, 0
        return session.run(f"delete from {events} where id <= :last and op <> ''", last=last), int(last)


def _range(capture: Capture, window: Window) -> tuple[int, int]:
    return parse(window.since).get(capture.id, 0), parse(window.until).get(capture.id, 0)


def _parts(captures: Sequence[Capture]) -> Iterator[Sequence[Capture]]:
    for start in range(0, len(captures), _TABLES_AT_ONCE):
        yield captures[start : start + _TABLES_AT_ONCE]
