"""SQLite behind the same interface: the server is a folder, a database is a file in it, everybody may do everything."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from typing import Any

from tests.servers import processes
from tests.servers.base import TestDatabase


class SQLiteDatabase(TestDatabase):
    """A file in WAL mode."""

    dialect = "sqlite"
    schema = "main"

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.path, self.name = path, path.stem
        self.execute("pragma journal_mode = wal")

    def _connect(self, role: str) -> Any:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=30, check_same_thread=False)
        connection.execute("pragma foreign_keys = on")
        return connection

    def url(self, role: str = "source") -> dict[str, Any]:
        return {"path": str(self.path)}

    def manifests(self, role: str = "source", *, name: str | None = None, **spec: Any) -> list[dict[str, Any]]:
        """The `Database` alone: a file asks for no password."""
        name = name or self.name.replace("_", "-").lower()
        return [
            {
                "apiVersion": "pantograph.dev/v1alpha1",
                "kind": "Database",
                "metadata": {"name": name},
                "spec": {"dialect": self.dialect, "path": str(self.path), **spec},
            }
        ]

    def _drop(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).unlink()


class SQLite:
    """A folder for databases."""

    kind = "sqlite"

    def __init__(self, folder: pathlib.Path | None = None) -> None:
        self.folder = folder or processes.folder(self.kind, None)

    def make_database(self, name: str) -> SQLiteDatabase:
        """A fresh file of this name."""
        return SQLiteDatabase(self.folder / f"{name}.db")
