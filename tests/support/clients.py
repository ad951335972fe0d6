"""One connection as an application has it: raw driver, `?` parameters on every engine, explicit transactions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from tests.servers import TestDatabase

FAMILY = ("mysql", "mariadb")
EXACT = {
    "mysql": " collate utf8mb4_0900_bin",
    "mariadb": " collate utf8mb4_nopad_bin",
    "mssql": " collate Latin1_General_100_BIN2",
}
"""What a text column says there so that only equal texts are equal, as elsewhere."""
ANY_CHARACTER = {"mssql": "nvarchar"}
"""What `varchar` is called there that holds more than a code page."""

READ_ONLY = {
    "mysql": "start transaction with consistent snapshot, read only",
    "postgresql": "begin isolation level repeatable read read only",
    "mariadb": "start transaction with consistent snapshot, read only",
    "sqlite": "begin",
    "firebird": "begin read only",
    "mssql": "set transaction isolation level snapshot; begin transaction",
}
WRITE = {
    "postgresql": "begin",
    "mysql": "begin",
    "mariadb": "begin",
    "sqlite": "begin immediate",
    "firebird": "begin",
    "mssql": "set transaction isolation level read committed; begin transaction",
}


def quoted(dialect: str, name: str) -> str:
    """An identifier as this engine writes it."""
    if dialect == "firebird":
        # What is written in lower case is upper case in the catalog, as with names that are not quoted.
        name = name.upper() if re.fullmatch("[a-z][a-z0-9_]*", name) else name
    mark = "`" if dialect in FAMILY else '"'
    return mark + name.replace(mark, mark * 2) + mark


class Client:
    """A connection in autocommit; `?` stands for a parameter."""

    def __init__(self, database: TestDatabase, role: str = "app") -> None:
        self.database, self.dialect = database, database.dialect
        self.raw = database.connect(role)
        self._cursor = self.raw.cursor()

    def q(self, name: str) -> str:
        return quoted(self.dialect, name)

    def run(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Execute; the rows, when there are any. A `?` in a literal would be taken for a parameter."""
        if self.dialect in ("sqlite", "firebird", "mssql"):
            self._cursor.execute(sql, params)
        elif params:
            self._cursor.execute(sql.replace("%", "%%").replace("?", "%s"), params)
        else:
            self._cursor.execute(sql)
        return [tuple(row) for row in self._cursor.fetchall()] if self._cursor.description else []

    def value(self, sql: str, *params: Any) -> Any:
        found = self.run(sql, *params)
        return found[0][0] if found else None

    def begin(self) -> None:
        self.run(WRITE[self.dialect])

    def commit(self) -> None:
        self.run("commit")

    def rollback(self) -> None:
        self.run("rollback")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Committed at the end, rolled back by an exception."""
        self.begin()
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self.rollback()
            raise
        self.commit()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads in here see one moment."""
        self.run(READ_ONLY[self.dialect])
        try:
            yield
        finally:
            self.run("rollback")

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.raw.close()
