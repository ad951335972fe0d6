"""A source and a destination, each entered with exactly the grants of the reference page, and an application."""

from __future__ import annotations

import contextlib

import pytest

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.model import names
from pantograph.model.changes import Capture, Position, Window
from pantograph.model.mirrors import Mapped, Mirror


class Place:
    """One database. Statements of ours run in a step of their own; `app` is the application, which owns the tables."""

    def __init__(self, database, role):
        self.database = database
        self.dialect = dialects.load(Address("postgresql", tls_mode="disable", **database.url(role)))
        self.connection = database.app()
        self.captures = {}
        self._open = contextlib.ExitStack()
        self.admin, self.side, self.reader, self.writer = (
            self.session(each) for each in (Role.ADMIN, Role.SIDE, Role.READER, Role.WRITER)
        )

    def session(self, role):
        session = Session(self.dialect, role)
        self._open.callback(session.close)
        self._open.enter_context(session.step("test"))
        return session

    def close(self):
        self._open.close()

    def app(self, sql, params=None):
        """A statement of the application; its rows, if it has any."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def settle(self):
        """What `run` makes before the first capture."""
        for sql in self.dialect.home():
            self.admin.direct(sql)
        for table in base.SOURCE_TABLES:
            self.admin.direct(self.dialect.meta_table(table))
        self.lease(3600)

    def lease(self, seconds):
        until = f"cast({self.dialect.now()} as bigint) + :s"
        self.admin.run(
            f"insert into {self.dialect.ours('lease')} values (1, {until}) "
            "on conflict (id) do update set until = excluded.until",
            s=seconds,
        )

    def shape(self, table, schema="public"):
        return self.dialect.shape(self.admin, schema, table)

    def capture(self, table, columns=None, key=None, version=1, schema="public"):
        shape = self.shape(table, schema)
        key = tuple(key or shape.key)
        identity = names.capture_id(schema, table)
        event_table = self.dialect.event_table(identity, schema, table)
        capture = Capture(identity, schema, table, key, tuple(columns or key), event_table, version, shape.identity)
        self.admin.run(
            f"insert into {self.dialect.ours('captures')} (id, broken) values (:id, '') on conflict do nothing",
            id=identity,
        )
        for statement in self.dialect.install(capture, shape):
            self.admin.direct(statement.sql)
        self.captures[table] = capture
        return capture

    def noted(self, capture):
        """Operation and captured columns of all events, as often as they are there; sorted."""
        columns = ", ".join(f"k{i}" for i in range(len(capture.columns)))
        found = self.admin.rows(f"select op, {columns} from {self.dialect.ours(capture.event_table)}")
        return sorted(map(tuple, found), key=repr)

    def forget(self, capture):
        self.admin.direct(f"delete from {self.dialect.ours(capture.event_table)}")

    def broken(self, capture):
        return self.admin.row(f"select broken from {self.dialect.ours('captures')} where id = :id", id=capture.id)[0]

    def problems(self, capture):
        return self.dialect.capture_state(self.admin, capture, self.shape(capture.table, capture.schema)).problems

    def windows(self):
        return self.dialect.reader(list(self.captures.values()))

    @contextlib.contextmanager
    def window(self, capture, since="", windows=None):
        """An open snapshot: its position, and the SELECT of the window's keys with its parameters."""
        windows = windows or self.windows()
        until = windows.open(self.reader, [Position(since)])
        try:
            pending = windows.pending(self.reader, {capture.id: Position(since)}, until, 1_000_000)
            yield until, *windows.keys(capture, Window(Position(since), until)), pending
        finally:
            self.reader.run("rollback")

    def mirror(self, capture, target, destination=None, *, where="", id="m1"):
        """The mirror of a captured table in a table of another place that has the same columns."""
        shape = self.shape(capture.table, capture.schema)
        copy = target.shape(destination or capture.table)
        order = [*capture.key, *(c.name for c in shape.columns if c.name not in capture.key and not c.generated)]
        mapped = tuple(
            Mapped(
                name,
                self.dialect.quote(name),
                shape.column(name).type,
                shape.column(name).native,
                copy.column(name).type,
                copy.column(name).native,
            )
            for name in order
        )
        return Mirror("a/b", id, "s", capture, ("public", capture.table), ("public", copy.name), mapped, where)

    def write(self, mirror, rows):
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
def make_place(pg_db):
    with contextlib.ExitStack() as stack:

        def make(role="both", name=None, on=None):
            place = Place(pg_db(name, on), role)
            stack.callback(place.close)
            return place

        yield make


@pytest.fixture(scope="module")
def shared(postgresql):
    """A place for tests that leave nothing behind which another would trip over."""
    database = postgresql.make_database("shared")
    place = Place(database, "both")
    yield place
    place.close()
    database.drop()


@pytest.fixture
def source(make_place):
    place = make_place("source")
    place.settle()
    return place


@pytest.fixture
def target(make_place):
    return make_place("destination")
