"""One table of a database, entered as Pantograph enters a source: what it makes of a manifest's SQL."""

from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import HealthCheck, settings

from pantograph import dialects, errors
from pantograph.apply import expressions
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from tests.support.clients import FAMILY

COLUMNS = "id integer primary key, name varchar(40), made timestamp, flag boolean, price numeric(12,2)"


class Source:
    """One table in a database, entered as Pantograph does."""

    def __init__(self, database):
        self.database = database
        database.execute(f"create table orders ({COLUMNS})")
        given = {"tls_mode": "disable"} if database.dialect != "sqlite" else {}
        at = {
            name: value
            for name, value in database.url("source").items()
            if database.dialect != "sqlite" or name == "path"
        }
        self.dialect = dialects.load(Address(database.dialect, **given, **at))
        self.session = Session(self.dialect, Role.SIDE)
        with self.session.step("test"):
            self.shape = self.dialect.shape(self.session, self.dialect.default_schema, "orders")

    def check(self, text, *, condition=True):
        expressions.check(self.session, self.dialect, self.shape, text, "spec.where", condition=condition)

    def refused(self, text, *, condition=True):
        with pytest.raises(errors.SpecError) as caught:
            self.check(text, condition=condition)
        assert caught.value.path == "spec.where"
        line = str(caught.value)
        assert "\n" not in line
        return line


class Canary:
    """A table that nobody may touch, and how an engine tells which tables a statement reads."""

    def __init__(self, source: Source) -> None:
        self.source, self.database = source, source.database
        self.database.execute("create table canary (id integer primary key, name varchar(40))")
        self.database.execute("insert into canary values (1, 'alive')")
        if self.database.dialect == "postgresql":
            self.database.execute("grant select, delete on canary to public")
        if self.database.dialect in FAMILY:
            self.database.execute(f"grant all on `{self.database.name}`.* to `{self.user}`@'%'", role="superuser")

    @property
    def user(self) -> str:
        return str(self.database.url("source")["username"])

    def alive(self) -> bool:
        return self.database.execute("select id, name from canary") == [(1, "alive")]

    def tables(self, session: Session, sql: str) -> set[str]:
        """What a statement reads, by the engine itself."""
        if self.database.dialect == "sqlite":
            read = set()

            def authorize(action, table, *_):
                if action == sqlite3.SQLITE_READ:
                    read.add(table)
                return sqlite3.SQLITE_OK

            session.raw.set_authorizer(authorize)
            try:
                session.rows(f"explain {sql}")
            finally:
                session.raw.set_authorizer(None)
            return read
        if self.database.dialect in FAMILY:
            explain = "explain" if self.database.dialect == "mariadb" else "explain format = traditional"
            return {row[2] for row in session.rows(f"{explain} {sql}")} - {None}
        found: set[str] = set()

        def walk(node):
            if isinstance(node, dict):
                found.update([node["Relation Name"]] if "Relation Name" in node else [])
                node = list(node.values())
            for below in node if isinstance(node, list) else []:
                walk(below)

        (plan,) = session.row(f"explain (format json) {sql}")
        walk(json.loads(plan) if isinstance(plan, str) else plan)
        return found


def fuzzed(examples):
    """Many examples in one database, whose making would take longer than they do."""
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
    )
