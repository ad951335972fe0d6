"""A file with a captured table, an application that writes it, and our sessions."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.model import names
from pantograph.model.changes import Capture, Position, Window
from pantograph.model.mirrors import Mapped, Mirror


class World:
    """One file. Statements of ours run in a step of their own; `app` is the application's connection."""

    def __init__(self, database):
        self.database = database
        self.path = str(database.path)
        self.dialect = dialects.load(Address("sqlite", path=self.path))
        self.app = database.app()
        self.captures = {}
        self._open = contextlib.ExitStack()
        self.admin, self.side, self.reader, self.writer = (
            self.session(role) for role in (Role.ADMIN, Role.SIDE, Role.READER, Role.WRITER)
        )
        for table in base.SOURCE_TABLES:
            self.admin.direct(self.dialect.meta_table(table))
        self.lease(3600)

    def session(self, role):
        session = Session(self.dialect, role)
        self._open.callback(session.close)
        self._open.enter_context(session.step("test"))
        return session

    def close(self):
        self._open.close()

    def lease(self, seconds):
        until = f"cast({self.dialect.now()} as integer) + :s"
        self.admin.run(f"insert or replace into {self.dialect.ours('lease')} values (1, {until})", s=seconds)

    def shape(self, table):
        return self.dialect.shape(self.admin, "", table)

    def capture(self, table, columns=None, key=None, version=1):
        shape = self.shape(table)
        key = tuple(key or shape.key)
        identity = names.capture_id("", table)
        event_table = self.dialect.event_table(identity, "", table)
        capture = Capture(identity, "", table, key, tuple(columns or key), event_table, version)
        for statement in self.dialect.install(capture, shape):
            self.admin.direct(statement.sql)
        self.captures[table] = capture
        return capture

    def noted(self, capture):
        """Operation and captured columns of all events, in order."""
        columns = ", ".join(f"k{i}" for i in range(len(capture.columns)))
        events = self.dialect.ours(capture.event_table)
        return [
            tuple(row) for row in self.app.execute(f"select op, {columns} from {events} where op <> '' order by id")
        ]

    def keys(self, capture):
        """The distinct captured columns of all events."""
        return {row[1:] for row in self.noted(capture)}

    def windows(self):
        return self.dialect.reader(list(self.captures.values()))

    def mirror(self, capture, destination, *, where="", target=None, columns=None):
        """The mirror of a captured table in another table of the same names, in this file or another."""
        shape, copy = self.shape(capture.table), (target or self).shape(destination)
        picked = [*capture.key, *(c.name for c in shape.columns if c.name not in capture.key)]
        mapped = tuple(
            Mapped(
                name,
                self.dialect.quote(name),
                shape.column(name).type,
                shape.column(name).native,
                copy.column(name).type,
                copy.column(name).native,
            )
            for name in columns or picked
        )
        return Mirror("a/b", "m1", "s", capture, ("", capture.table), ("", destination), mapped, where)

    def changes(self, mirror, since="", until=None):
        """Rows of a window, decoded."""
        windows = self.windows()
        end = windows.open(self.reader, [])
        sql, params = windows.keys(mirror.capture, Window(Position(since), until or end))
        rows = self.reader.rows(self.dialect.changes(mirror, sql), **params)
        self.reader.commit()
        return self.decoded(mirror, rows)

    def decoded(self, mirror, rows):
        decoders = [self.dialect.decode(column.source_type) for column in mirror.columns]
        return [
            (row[0], *(d(v) if d and v is not None else v for d, v in zip(decoders, row[1:], strict=True)))
            for row in rows
        ]

    def write(self, mirror, rows, *, absent_first=False):
        """Upsert and delete as a turn does: how many of each."""
        writer, dialect = self.writer, self.dialect
        writer.begin()
        try:
            staged = dialect.stage(writer, mirror, [rows])
            done = (dialect.upsert(writer, mirror, staged), dialect.delete(writer, mirror, staged))
            dialect.unstage(writer, mirror, staged)
            writer.commit()
        except BaseException:
            writer.rollback()
            raise
        return done


@pytest.fixture
def make_world(sqlite_db):
    with contextlib.ExitStack() as stack:

        def make():
            world = World(sqlite_db())
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture
def world(make_world):
    return make_world()


@pytest.fixture
def library():
    """The version of the SQLite library that the tests run with."""
    return sqlite3.sqlite_version_info
