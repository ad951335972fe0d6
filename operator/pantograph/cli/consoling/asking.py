"""What the stores of the console have in common: what they ask the databases themselves.

Whoever asks has objects; where the databases are opened, with the Secrets that this takes, is for the store to say.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pantograph import dialects, errors
from pantograph.api import acting
from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Reflection
from pantograph.api.secrets import Secret
from pantograph.apply import claims, observe, sources
from pantograph.cli import generating, planning, retrying, standing, terminal, verify
from pantograph.console.stores import Change, Compared, Letters, Looked, Noted, Offer, Plan, Problem, Setting
from pantograph.database.addresses import address
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Role
from pantograph.pipeline import keys, steps

_FIELDS = {"DestinationNotEmpty": "spec.destination.existing", "KeyNotIndexed": "spec.key"}


class Asking(abc.ABC):
    """Tables, plans, noted rows and comparisons of the objects of a store."""

    file_elsewhere = ""
    """Why a database that is a file cannot be opened here; "" where it can."""

    def __init__(self, installation: str, compared: dict[str, Compared]) -> None:
        self._installation, self._compared = installation, compared

    @abc.abstractmethod
    def objects(self) -> Manifests:
        """All objects."""

    @abc.abstractmethod
    def opened(self, *databases: Database) -> Manifests:
        """The objects with the Secrets that open these Databases; it may be no others than theirs."""

    def told(self, what: str, reflection: str, **values: str) -> None:
        """Something was done, by this process and not by whoever moves rows."""

    def noted(self, reflection: Reflection) -> Noted:
        """From the table beside the checkpoints."""
        owner = standing.owner_of(self.objects().source_database_of(reflection), self._installation)
        name = f"{reflection.namespace}/{reflection.name}"
        database = self.objects().destination_of(reflection)
        objects = self.opened(database)
        if database.spec.path and not Path(database.spec.path).exists():
            return Noted((), "")
        with session_of(objects, database, Role.SIDE) as (dialect, session):
            if not observe.has_home(session, dialect, "keys"):
                return Noted((), "")
            with session.step(steps.INSPECT):
                found = keys.letters(session, dialect, owner, name)
        letters = [
            Letters(
                one.reason, one.detail, one.count, one.attempts, one.since, one.last,
                one.next_try if one.next_try < keys.NEVER else None,
            )
            for one in found
        ]  # fmt: skip
        quoted = name.replace("'", "''")
        return Noted(letters, f"select * from {dialect.ours('keys')} where name = '{quoted}'")

    def tables(self, database: Database) -> Sequence[Offer]:
        """The tables that our account there may see."""
        objects = self.opened(database)
        with session_of(objects, database, Role.SIDE) as (dialect, session), session.step(steps.INSPECT):
            default = dialect.default_schema
            there = [(s, table) for s in dialect.schemas(session) for table in dialect.tables(session, s)]
        taken = {(one.spec.schema_ or default, one.spec.table): one.name for one in objects.source_tables_of(database)}
        return [Offer(schema, table, taken.get((schema, table), "")) for schema, table in sorted(there)]

    def table(self, database: Database, schema: str, table: str) -> Looked:
        """A table's columns and key."""
        with session_of(self.opened(database), database, Role.SIDE) as (dialect, session):
            default = dialect.default_schema
            with session.step(steps.INSPECT):
                shape = dialect.shape(session, schema or default, table)
        if shape is None:
            raise errors.SpecError(f"there is no table {'.'.join(filter(None, (schema, table)))}", path="source")
        key_columns, why = generating.key_of(shape)
        taken = any(one.spec.table == table for one in self.objects().source_tables_of(database))
        if why and not taken:
            raise errors.SpecError(why, path="source")
        return Looked(shape, "" if shape.schema == default else shape.schema, key_columns)

    def plan(self, change: Change) -> Plan:
        """What `plan` would say, had the files the change already."""
        one = change.reflection
        if problems := self._problems(change, self._proposed(change, self.objects())):
            return Plan(problems=tuple(problems))
        name = f"{one.namespace}/{one.name}"
        try:
            whole = self._proposed(change, self.objects())
            source, destination = whole.source_database_of(one), whole.destination_of(one)
            proposed = self._proposed(change, self.opened(source, destination))
            wanted = sources.wanted(proposed, installation=self._installation)
            for conflict in claims.conflicts(wanted):
                if conflict.name == name:
                    problems.append(Problem(conflict.message, conflict.path))
            (mine,) = verify.only(wanted, [name])
        except errors.PantographError as error:
            return Plan(problems=(Problem(str(error), getattr(error, "path", "")),))
        plan = planning.of(mine)
        for subject, failure in plan.failures:
            problems.append(_problem(failure, subject, source.name, one))
        text = "\n".join(plan.lines).strip()
        return Plan(text, plan.changes, tuple(dict.fromkeys(problems)))

    def _proposed(self, change: Change, objects: Manifests) -> Manifests:
        tables = dict(objects.source_tables)
        if change.source_table is not None:
            tables[change.source_table.key] = change.source_table
        reflections = {**objects.reflections, change.reflection.key: change.reflection}
        return dataclasses.replace(objects, source_tables=tables, reflections=reflections, origins={})

    def _problems(self, change: Change, proposed: Manifests) -> list[Problem]:
        """What needs no database."""
        objects, one = self.objects(), change.reflection
        found: list[Problem] = []
        if change.before is None and one.key in objects.reflections:
            found.append(Problem(f"there is a Reflection {one.name} already", "metadata.name"))
        if change.source_table is not None and change.source_table.key in objects.source_tables:
            found.append(Problem(f"there is a SourceTable {change.source_table.name} already", "source"))
        wrong = [*proposed.problems(), *acting.unsupported(proposed), *proposed.changed_since(objects)]
        changed = {one.subject, *([change.source_table.subject] if change.source_table else [])}
        return found + [Problem(str(each.args[0]), each.path) for each in wrong if each.subject in changed]

    def tried(self, setting: Setting) -> Plan:
        """Open the Database as it is to be; of a SourceTable, what no database need be asked."""
        one = setting.wanted
        if not isinstance(one, Database):
            return Plan(problems=tuple(self._problems_of(setting, proposed(setting, self.objects()))))
        try:
            objects = proposed(setting, self.opened(one))
            if problems := self._problems_of(setting, objects):
                return Plan(problems=tuple(problems))
            if one.spec.path and (self.file_elsewhere or not Path(one.spec.path).exists()):
                return Plan(self.file_elsewhere or "The file is not there yet; the first run makes it.")
            with session_of(objects, one, Role.SIDE) as (dialect, session), session.step(steps.INSPECT):
                return Plan(f"It was opened: {dialect.server(session).version}.")
        except errors.PantographError as error:
            return Plan(problems=(Problem(str(error.args[0]), _field_of(error, one)),))

    def _problems_of(self, setting: Setting, wanted: Manifests) -> list[Problem]:
        """What would be wrong with the objects that is not wrong now."""
        objects, one = self.objects(), setting.wanted
        if setting.before is None and one.key in objects.databases:
            return [Problem(f"there is a Database {one.name} already", "metadata.name")]
        if setting.login is not None and (one.namespace, setting.login.secret) in objects.secrets:
            why = f"there is a Secret {setting.login.secret} already; name another, or leave user and password empty"
            return [Problem(why, "spec.credentials.secretName")]
        known = {(each.subject, each.path, each.args[0]) for each in objects.problems()}
        wrong = [*wanted.problems(), *acting.unsupported(wanted), *wanted.changed_since(objects)]
        return [
            Problem(str(each.args[0]), each.path) if each.subject == one.subject else Problem(str(each))
            for each in wrong
            if (each.subject, each.path, each.args[0]) not in known
        ]

    def compared(self, reflection: Reflection) -> Compared:
        """The comparison that somebody asked for here."""
        return self._compared.get(f"{reflection.namespace}/{reflection.name}", Compared())

    def _verify(self, reflection: Reflection) -> str:
        name = f"{reflection.namespace}/{reflection.name}"
        if self._compared.get(name, Compared()).state == "running":
            return "It is being compared already."
        wanted = verify.only(sources.wanted(self._both(reflection), installation=self._installation), [name])
        self._compared[name] = Compared("running", "It is being compared.", time.time())

        def compare() -> None:
            try:
                asked = verify.Asked((), installation=self._installation, rest=1.0)
                (answer,) = verify.compare(wanted, asked, verify.Silent())
            except Exception as error:  # whatever it is, the page must not say for ever that it goes on
                why = error if isinstance(error, errors.PantographError) else errors.Bug(error)
                self._compared[name] = Compared("failed", str(why), time.time())
                return
            text = "; ".join(verify.said(answer))
            incomplete = answer.result is None or answer.result.incomplete
            state: Literal["equal", "failed", "differs"] = "failed" if incomplete else "differs"
            state = "equal" if answer.status == 0 else state
            self._compared[name] = Compared(state, text, time.time())
            self.told("compared", name, result=answer.word)

        threading.Thread(target=compare, name=f"compare {name}", daemon=True).start()
        return "It is being compared; what comes out stands below."

    def _both(self, reflection: Reflection) -> Manifests:
        objects = self.objects()
        return self.opened(objects.source_database_of(reflection), objects.destination_of(reflection))

    def _retry(self, reflection: Reflection) -> str:
        rows = retrying.hasten(self._both(reflection), reflection, self._installation)
        some = "1 row is" if rows == 1 else f"{terminal.count(rows)} rows are"
        return f"{some} tried again now." if rows else "No row waits."


def secret_of(setting: Setting) -> dict[str, str]:
    """What a new Secret holds, by its keys."""
    one, login = setting.wanted, setting.login
    assert login is not None
    assert isinstance(one, Database)
    assert one.spec.credentials is not None
    return {one.spec.credentials.username_key: login.username, one.spec.credentials.password_key: login.password}


def proposed(setting: Setting, objects: Manifests) -> Manifests:
    """The objects as they would be."""
    one, secrets = setting.wanted, dict(objects.secrets)
    if setting.login is not None:
        values = {key: value.encode() for key, value in secret_of(setting).items()}
        secrets[one.namespace, setting.login.secret] = Secret(one.namespace, setting.login.secret, values)
    if isinstance(one, Database):
        databases = {**objects.databases, one.key: one}
        return dataclasses.replace(objects, databases=databases, secrets=secrets, origins={})
    tables = {**objects.source_tables, one.key: one}
    return dataclasses.replace(objects, source_tables=tables, origins={})


def _field_of(error: errors.PantographError, one: Database) -> str:
    """The field of a Database that is to blame for what happened when it was opened."""
    if isinstance(error, errors.SpecError):
        return error.path
    if isinstance(error, errors.ClusterError):
        return "spec.credentials.secretName"
    if isinstance(error, errors.Unreachable):
        return "spec.path" if one.spec.path else "spec.host"
    return "spec.credentials.secretName" if one.spec.credentials else "spec.path"


def _problem(failure: errors.PantographError, subject: str, source: str, one: Reflection) -> Problem:
    """A failure at the field of the form that is to blame."""
    if isinstance(failure, errors.SpecError):
        path = failure.path if subject.startswith("Reflection") else failure.path and "source"
        return Problem(str(failure.args[0]), path)
    if subject == f"Database {one.spec.destination.database_ref.name}" and source != subject.partition(" ")[2]:
        return Problem(str(failure), "spec.destination.databaseRef.name")
    if subject.startswith(("SourceTable", "Database")):
        return Problem(str(failure), "source")
    return Problem(str(failure), _FIELDS.get(failure.reason, ""))


@contextlib.contextmanager
def session_of(objects: Manifests, database: Database, role: Role) -> Iterator[tuple[Dialect, Session]]:
    session = Session(dialects.load(address(objects, database)), role, 5.0)
    try:
        yield session.dialect, session
    finally:
        session.close()
