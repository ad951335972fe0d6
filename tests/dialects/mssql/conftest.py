"""A database with captured tables, an application that writes them, and our sessions, on a server that is named.

There is no SQL Server that a test could start, so it is given: see tests/servers/mssql.py. Every test empties the very
database that is named.
"""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.dialects.mssql import connections, literals
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.mirrors import Mapped, Mirror
from tests.servers import mssql
from tests.support import comparison


@pytest.fixture(scope="session")
def address():
    at = mssql.named()
    if at is None:
        pytest.skip(mssql.UNNAMED)
    return Address("mssql", **dataclasses.asdict(at))


def empty(session):
    """Take every table and our schema out of the database."""
    for (name,) in session.rows(
        "select '\"' + s.name + '\".\"' + t.name + '\" drop constraint \"' + f.name + '\"' from sys.foreign_keys f "
        "join sys.tables t on t.object_id = f.parent_object_id join sys.schemas s on s.schema_id = t.schema_id"
    ):
        session.direct(f"alter table {name}")
    for schema, name in session.rows(
        "select s.name, t.name from sys.tables t join sys.schemas s on s.schema_id = t.schema_id "
        "where t.is_ms_shipped = 0 and s.name in ('dbo', 'pantograph')"
    ):
        session.direct(f"drop table {literals.name(schema)}.{literals.name(name)}")
    session.direct("if schema_id(N'pantograph') is not null execute (N'drop schema pantograph')")


class World:
    """One database. Every session of ours runs in a step of its own; `app` is the application's connection."""

    def __init__(self, address):
        self.address = address
        self.dialect = dialects.load(address)
        self.captures = {}
        self._open = contextlib.ExitStack()
        self.admin = self.session(Role.ADMIN)
        empty(self.admin)
        self.side, self.reader, self.writer = (self.session(role) for role in (Role.SIDE, Role.READER, Role.WRITER))
        self.app = self.application()
        for sql in self.dialect.home():
            self.admin.direct(sql)
        for table in base.SOURCE_TABLES:
            self.admin.direct(self.dialect.meta_table(table))
        self.lease(3600)

    def lease(self, seconds):
        lease = self.dialect.ours("lease")
        self.admin.run(f"delete from {lease}")
        self.admin.run(
            f"insert into {lease} (id, until) values (1, cast({self.dialect.now()} as bigint) + :s)", s=seconds
        )

    def application(self):
        connection = connections.connect(self.address, Role.WRITER, 10.0)
        self._open.callback(connection.close)
        return connection

    def session(self, role):
        session = Session(self.dialect, role)
        self._open.callback(session.close)
        self._open.enter_context(session.step("test"))
        return session

    def close(self):
        for session in (self.reader, self.writer):
            session.rollback()
        self._open.close()

    def run(self, *statements, on=None):
        cursor = (on or self.app).cursor()
        for sql in statements:
            cursor.execute(sql)
        found = cursor.fetchall() if cursor.description else []
        cursor.close()
        return found

    def shape(self, table):
        return self.dialect.shape(self.admin, "", table)

    def capture(self, table, columns=None, key=None, version=1):
        shape = self.shape(table)
        key = tuple(key or shape.key)
        identity = names.capture_id("dbo", table)
        event_table = self.dialect.event_table(identity, "dbo", table)
        capture = Capture(identity, "dbo", table, key, tuple(columns or key), event_table, version)
        for statement in self.dialect.install(capture, shape):
            self.admin.direct(statement.sql)
        self.captures[table] = capture
        return capture

    def state(self, capture):
        return self.dialect.capture_state(self.admin, capture, self.shape(capture.table))

    def noted(self, capture):
        """The captured columns of all events, in order; texts as texts."""
        shape = self.shape(capture.table)
        picked = ", ".join(
            f"cast(k{i} as nvarchar(4000))" if column.type.kind == "text" else f"k{i}"
            for i, column in enumerate(shape.pick(capture.columns))
        )
        events = self.dialect.ours(capture.event_table)
        return [tuple(row) for row in self.side.rows(f"select {picked} from {events} order by rv")]

    def windows(self):
        return self.dialect.reader(list(self.captures.values()))

    def bound_passes(self):
        """Wait until no transaction holds a rowversion. That of another database does not, but not on every server."""
        newest = self.run("select convert(bigint, @@dbts)")[0][0]
        bound = "select convert(bigint, min_active_rowversion())"
        comparison.wait_until(lambda: self.run(bound)[0][0] > newest, "the bound passes what was written")

    def mirror(self, capture, destination, **more):
        """A Reflection of the capture into `destination`, of this database, by columns of the same names."""
        source, there = self.shape(capture.table), self.shape(destination)
        mapped = tuple(
            Mapped(c.name, self.dialect.quote(c.name), c.type, c.native, t.type, t.native, t.nullable)
            for c in [*source.pick(capture.key), *(c for c in source.columns if c.name not in capture.key)]
            for t in [there.column(c.name)]
        )
        return Mirror(
            f"test/{destination}",
            "m1",
            "default",
            capture,
            ("dbo", capture.table),
            ("dbo", destination),
            mapped,
            **more,
        )


@pytest.fixture
def world(address):
    made = World(address)
    yield made
    made.close()


@pytest.fixture
def items(world):
    world.run("create table items (id int not null primary key, name nvarchar(20), qty int)")
    return world.capture("items")
