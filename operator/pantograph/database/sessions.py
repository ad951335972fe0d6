"""A session: one driver connection, used by one thread at a time, that sends statements only inside named steps.

Steps are the seams where a crash may happen. Tests kill the process at each of them; a statement outside one is a
mistake and raises `RuntimeError` before it is sent, so that no seam goes untested.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from pantograph import errors
from pantograph.dialects import base, parameters

Hook = Callable[[str, str], None]
"""Called with (step, "before" or "after"); for tests and traces."""

_hooks: list[Hook] = []


def add_hook(hook: Hook) -> Callable[[], None]:
    """Have `hook` called around every step of every session; returns what removes it again."""
    _hooks.append(hook)
    return lambda: _hooks.remove(hook)


_FIRST_FETCH = 16


def _width(row: Sequence[Any]) -> int:
    """About how many bytes a fetched row takes."""
    return 64 + sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)


def _ahead(batches: Generator[list[Any], None, None]) -> Generator[list[Any], None, None]:
    """The same; each is fetched, by another thread, while the one before is worked on."""
    with contextlib.closing(batches), concurrent.futures.ThreadPoolExecutor(1, "pantograph-fetch") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


class Session:
    """One connection to one database. Not for use by two threads at once."""

    def __init__(self, dialect: base.Dialect, role: base.Role, timeout: float = 10.0) -> None:
        self.dialect = dialect
        self.role = role
        self._step = ""
        with self._ours(f"connecting to {dialect.address.label}"):
            self.raw: Any = dialect.connect(role, timeout)
        self._cursor: Any = self.raw.cursor()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A named step. Steps do not nest: the innermost name would hide the seam between two statements."""
        outer, self._step = self._step, name
        for hook in _hooks:
            hook(name, "before")
        try:
            yield
        finally:
            self._step = outer
        for hook in _hooks:
            hook(name, "after")

    # -- statements --------------------------------------------------------------------------------------------------

    def run(self, sql: str, /, **params: Any) -> int:
        text, bound = self._bind(sql, params)
        return self.direct(text, bound)

    def direct(self, sql: str, params: Any = None) -> int:
        with self.using() as cursor:
            cursor.execute(sql) if params is None else cursor.execute(sql, params)
            return int(cursor.rowcount)

    def rows(self, sql: str, /, **params: Any) -> list[Any]:
        text, bound = self._bind(sql, params)
        with self.using() as cursor:
            cursor.execute(text, bound)
            return list(cursor.fetchall())

    def row(self, sql: str, /, **params: Any) -> Any:
        found = self.rows(sql, **params)
        return found[0] if found else None

    def batches(self, sql: str, rows: int, size: int, /, **params: Any) -> Generator[list[Any], None, None]:
        batches = self._batches(sql, rows, size, params)
        return _ahead(batches) if self.dialect.features.fetches_wait else batches

    def _batches(self, sql: str, rows: int, size: int, params: dict[str, Any]) -> Generator[list[Any], None, None]:
        text, bound = self._bind(sql, params)
        self._inside_a_step()
        with self._ours(self._doing()):
            cursor = self.dialect.streaming_cursor(self.raw)
        try:
            with self._ours(self._doing()):
                cursor.execute(text, bound)
            # Begin with a few: until some are here nobody knows how wide they are.
            count = min(rows, _FIRST_FETCH)
            while True:
                with self._ours(self._doing()):
                    found = cursor.fetchmany(count)
                if not found:
                    return
                widest = max(map(_width, found[:: max(1, len(found) // 8)]))
                count = max(1, min(rows, count * 16, size // widest))
                yield list(found)
        finally:
            with contextlib.suppress(Exception):
                cursor.close()

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        with self.using() as cursor:
            cursor.executemany(sql, rows)
            return int(cursor.rowcount)

    @contextlib.contextmanager
    def using(self) -> Iterator[Any]:
        self._inside_a_step()
        with self._ours(self._doing()):
            yield self._cursor

    # -- transactions ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction that writes."""
        for statement in self.dialect.begins(self.role):
            self.direct(statement)

    def commit(self) -> None:
        """Commit; also right where nothing is open."""
        self._inside_a_step()
        if self.dialect.in_transaction(self.raw):
            self.direct("commit")

    def rollback(self) -> None:
        """Roll back, in peace: what is broken already is only closed. Needs no step, for it is how one is left."""
        try:
            self.dialect.roll_back(self.raw)
        except Exception:
            self.close()

    def close(self) -> None:
        """Close the connection; never raises."""
        with contextlib.suppress(Exception):
            self.raw.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _bind(self, sql: str, params: dict[str, Any]) -> tuple[str, Any]:
        text, order = parameters.bound(self.dialect.style, sql)
        if order is None:
            return text, params
        return text, tuple(params[name] for name in order)

    def _inside_a_step(self) -> None:
        if not self._step:
            raise RuntimeError("a statement was about to be sent outside a named step")

    def _doing(self) -> str:
        return f"{self._step} on {self.dialect.address.label}"

    @contextlib.contextmanager
    def _ours(self, doing: str) -> Iterator[None]:
        try:
            yield
        except errors.PantographError:
            raise
        except Exception as error:
            ours = self.dialect.translate(error)
            if ours is None:
                raise
            ours.args = (f"{doing}: {ours.args[0]}",)
            raise ours from error
