"""A database with captured tables, an application that writes them, and our sessions, with the grants of the page."""

from __future__ import annotations

import contextlib

import pytest

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.dialects.firebird.windows import Reader
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.mirrors import Mapped, Mirror


class World:
    """One database. Every session of ours runs in a step of its own; `app` is the application's connection."""

    def __init__(self, database, side="both"):
        self.database = database
        self.dialect = dialects.load(Address("firebird", **database.url(side)))
        self.app = database.app()
        self.captures = {}
        self._open = contextlib.ExitStack()
        self.admin, self.side, self.reader, self.writer = (
            self.session(role) for role in (Role.ADMIN, Role.SIDE, Role.READER, Role.WRITER)
        )
        for sql in self.dialect.home():
            self.admin.direct(sql)
        for table in base.SOURCE_TABLES:
            self.admin.direct(self.dialect.meta_table(table))
        self.dialect.lease_renewed(self.admin, 3600)

    def session(self, role):
        session = Session(self.dialect, role)
        self._open.callback(session.close)
        self._open.enter_context(session.step("test"))
        return session

    def close(self):
        self._open.close()

    def run(self, *statements, on=None):
        cursor = (on or self.app).cursor()
        for sql in statements:
            cursor.execute(sql)
        return cursor.fetchall()

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

    def state(self, capture):
        return self.dialect.capture_state(self.admin, capture, self.shape(capture.table))

    def noted(self, capture):
        """Operation and captured columns of all events, in order."""
        columns = ", ".join(f"k{i}" for i in range(len(capture.columns)))
        return [
            tuple(row)
            for row in self.side.rows(f"select op, {columns} from {self.dialect.ours(capture.event_table)} order by id")
        ]

    def windows(self):
        return Reader(self.dialect, list(self.captures.values()))

    def mirror(self, capture, destination, **more):
        """A Reflection of the capture into `destination`, of this database, by columns of the same names."""
        source, there = self.shape(capture.table), self.shape(destination)
        mapped = tuple(
            Mapped(c.name, self.dialect.quote(c.name), c.type, c.native, t.type, t.native, t.nullable)
            for c in [*source.pick(capture.key), *(c for c in source.columns if c.name not in capture.key)]
            for t in [there.column(c.name)]
        )
        return Mirror(
            f"test/{destination}", "m1", "default", capture, ("", capture.table), ("", destination), mapped, **more
        )


@pytest.fixture
def world(fb_db):
    made = World(fb_db())
    yield made
    made.close()


@pytest.fixture
def items(world):
    world.run("create table items (id integer not null primary key, name varchar(20), qty integer)")
    return world.capture("items")
