"""A database with a captured table, an application that writes it, and our sessions, with the grants of the page.

MySQL's tests, beside these, are the same with databases of MySQL."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from pantograph import dialects
from pantograph.apply import execute
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.model import names
from pantograph.model.changes import Capture, Position, Window
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.reconcile.actions import Action


class World:
    """One database. Every session of ours runs in a step of its own; `app` is the application's connection."""

    def __init__(self, database, *, side="source"):
        self.database = database
        at = database.url(side)
        self.dialect = dialects.load(Address(database.dialect, **at))
        self.app = database.app()
        self.captures = {}
        self.readers = []
        self._open = contextlib.ExitStack()
        self.admin, self.side, self.reader, self.writer = (
            self.session(role) for role in (Role.ADMIN, Role.SIDE, Role.READER, Role.WRITER)
        )
        self.home()

    def home(self):
        for sql in self.dialect.home():
            self.admin.direct(sql)
        for table in base.SOURCE_TABLES:
            self.admin.direct(self.dialect.meta_table(table))
        self.lease(3600)

    def session(self, role):
        session = Session(self.dialect, role)
        self._open.callback(session.close)
        self._open.enter_context(session.step("test"))
        return session

    def close(self):
        for reader in self.readers:
            reader.close()
        self._open.close()

    def lease(self, seconds):
        self.lease_on(self.admin, seconds)

    def lease_on(self, session, seconds):
        until = f"cast({self.dialect.now()} as signed) + :s"
        session.run(f"replace into {self.dialect.ours('lease')} values (1, {until})", s=seconds)
        self.dialect.lease_renewed(session, seconds)

    def lose_lease(self):
        """Drop what the triggers read."""
        kind = "sequence" if self.dialect.name == "mariadb" else "table"
        self.admin.direct(f"drop {kind} {self.dialect.ours(self.dialect.variant.lease)}")

    def end_lease(self):
        """Let it have ended."""
        self.lose_lease()
        for sql in self.dialect.home():
            self.admin.direct(sql)
        self.forget_lease()  # on MySQL: an hour later
        if self.dialect.name == "mariadb":
            self.lease(1)
            time.sleep(2.1)

    def forget_lease(self):
        """The application's session has not seen one."""
        self.run(f"set {self.dialect.variant.remembered(self.dialect.ours)} = null")

    def run(self, *statements):
        with self.app.cursor() as cursor:
            for sql in statements:
                cursor.execute(self.spelled(sql))
            return cursor.fetchall()

    def spelled(self, sql):
        """A statement of MariaDB's as the engine at hand has it. Tables of numbers that it names are made as views."""
        if self.dialect.name == "mariadb":
            return sql
        for name, most in set(re.findall(r"\b(seq_1_to_(\d+))\b", sql)):
            self.app.cursor().execute(
                f"create or replace view {name} as with recursive d (n) as (select 0 union all select n + 1 from d "
                f"where n < 399) select a.n * 400 + b.n + 1 as seq from d a cross join d b "
                f"where a.n * 400 + b.n < {most}"
            )
        return sql.replace(" uuid", " varchar(36)").replace(" inet6", " varchar(45)")

    def explained(self, sql, **params):
        """Table, kind of access, possible keys and key of each step of a plan."""
        if self.dialect.name == "mariadb":
            return [row[2:6] for row in self.reader.rows(f"explain {sql}", **params)]
        return [row[2:3] + row[4:7] for row in self.reader.rows(f"explain format = traditional {sql}", **params)]

    def shape(self, table):
        return self.dialect.shape(self.admin, "", table)

    def capture(self, table, columns=None, key=None, version=1):
        shape = self.shape(table)
        key = tuple(key or shape.key)
        identity = names.capture_id("", table)
        event_table = self.dialect.event_table(identity, "", table)
        capture = Capture(identity, "", table, key, tuple(columns or key), event_table, version)
        self.execute(self.dialect.install(capture, shape))
        self.captures[table] = capture
        return capture

    def execute(self, statements):
        """As the product does it: DDL of ours waits for nobody, and comes again. The server's own threads (statistics,
        purge) lock a table for a moment now and then."""
        execute.run(self.admin, self.dialect, Action("", "a step of a test", tuple(statements)))

    def noted(self, capture):
        """Operation and captured columns of all events, in order."""
        columns = ", ".join(f"k{i}" for i in range(len(capture.columns)))
        return [
            tuple(row)
            for row in self.side.rows(f"select op, {columns} from {self.dialect.ours(capture.event_table)} order by id")
        ]

    def windows(self, **kwargs):
        from pantograph.dialects.mysql.windows import Reader

        self.readers.append(Reader(self.dialect, list(self.captures.values()), **kwargs))
        return self.readers[-1]

    def mirror(self, capture, destination, *, where="", target=None, columns=None, other_uniques=False):
        """A Reflection of the capture into `destination`, of this world or of `target`."""
        target = target or self
        source, there = self.shape(capture.table), target.shape(destination)
        picked = columns or [(c.name, c.name) for c in source.pick(capture.key)] + [
            (c.name, c.name) for c in source.columns if c.name not in capture.key
        ]
        mapped = tuple(
            Mapped(
                into,
                self.dialect.quote(name),
                source.column(name).type,
                source.column(name).native,
                there.column(into).type,
                there.column(into).native,
                there.column(into).nullable,
            )
            for name, into in picked
        )
        return Mirror(
            f"test/{destination}", "m1", "default", capture, ("", capture.table), ("", destination), mapped, where,
            other_uniques,
        )  # fmt: skip

    def changes(self, mirror, reader, window):
        """What a window holds for a mirror, in canonical values; on the reader's open snapshot."""
        keys, params = reader.keys(mirror.capture, window)
        decoders = [None, *(self.dialect.decode(column.source_type) for column in mirror.columns)]
        return [
            tuple(
                decode(value) if decode and value is not None else value
                for decode, value in zip(decoders, row, strict=True)
            )
            for row in self.reader.rows(self.dialect.changes(mirror, keys), **params)
        ]


@pytest.fixture
def world(my_db):
    made = World(my_db())
    yield made
    made.close()


@pytest.fixture
def process(my_db):
    """The same, with the PROCESS privilege; a global privilege is for connections that come after it."""
    database = my_db()
    database.grant("process")
    made = World(database)
    yield made
    made.close()


__all__ = ["Position", "Window", "World"]
