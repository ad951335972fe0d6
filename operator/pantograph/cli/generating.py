"""`pantograph generate`: SourceTables and Reflections for the tables of a real database, the same in every run.

Whether a table can be mirrored is asked of what `plan` and `run` ask, so that what comes out of here runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pantograph import dialects, errors
from pantograph.api import manifests as parsing
from pantograph.api.base import Metadata, Reference, Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Destination, Reflection, ReflectionSpec
from pantograph.api.sourcetables import SourceTable, SourceTableSpec
from pantograph.apply import prepare, sources
from pantograph.apply.prepare import Report
from pantograph.cli import files, planning, terminal
from pantograph.cli.outcomes import Status
from pantograph.database.addresses import address
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Role
from pantograph.model import names
from pantograph.model.tables import TableShape
from pantograph.pipeline import steps
from pantograph.reconcile import sourcetables

Place = tuple[str, str]
"""Schema and table, as the source has them."""


@dataclass(frozen=True)
class Asked:
    """The call. source: a Database's name, "" for the only one beside `to`. prefix: of the objects' names."""

    paths: Sequence[str]
    to: str
    source: str = ""
    tables: Sequence[str] = ("*",)
    exclude: Sequence[str] = ()
    to_schema: str = ""
    prefix: str = ""
    installation: str = sources.LOCAL
    namespace: str = "default"


@dataclass(frozen=True)
class Proposal:
    """A table, and the two objects that would mirror it."""

    place: Place
    table: SourceTable
    reflection: Reflection


def run(asked: Asked) -> Status:
    """Print the manifests; what was left out, and why, goes to standard error."""
    manifests = files.load(asked.paths, asked.namespace)
    source, destination = _ends(manifests, asked)
    left_out: dict[Place, str] = {}
    with _looking(manifests, source) as session:
        shapes = _shapes(session, _chosen(session, asked, source), left_out)
        ordered = _parents_first(shapes)
        proposals = list(_proposals(session.dialect, manifests, source, destination, asked, ordered, shapes, left_out))
    remarks = _tried(manifests, proposals, asked, left_out)
    kept = [one for one in proposals if one.place not in left_out]
    if kept:
        listed: list[Resource] = [resource for one in kept for resource in (one.table, one.reflection)]
        print(parsing.to_yaml(listed), end="")
    for remark in remarks:
        terminal.complain(remark)
    for place, why in sorted(left_out.items()):
        terminal.complain(f"left out {_label(place)}: {why}")
    terminal.complain(
        f"{_count(len(kept), 'table')} of {source.name} into {destination.name}"
        + (f", {len(left_out)} left out" if left_out else "")
    )
    return Status.DONE if kept or not left_out else Status.FAILED


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _label(place: Place) -> str:
    return ".".join(filter(None, place))


def _ends(manifests: Manifests, asked: Asked) -> tuple[Database, Database]:
    """Source and destination. Raises `SpecError` where the call does not say which."""
    there = {name: one for (namespace, name), one in manifests.databases.items() if namespace == asked.namespace}
    known = ", ".join(sorted(there)) or "none"
    for option, name in (("--to", asked.to), ("--from", asked.source)):
        if name and name not in there:
            raise errors.SpecError(f"there is no Database {name} in the files; there are: {known}", path=option)
    others = sorted(there.keys() - {asked.to})
    name = asked.source or (others[0] if len(others) == 1 else "")
    if not name:
        why = f"the files have several Databases ({known})" if others else f"the files have no Database but {asked.to}"
        raise errors.SpecError(f"{why}; name the one whose tables are to be mirrored", path="--from")
    return there[name], there[asked.to]


@contextlib.contextmanager
def _looking(manifests: Manifests, database: Database) -> Iterator[Session]:
    session = Session(dialects.load(address(manifests, database)), Role.SIDE)
    try:
        yield session
    finally:
        session.close()


# -- which tables ------------------------------------------------------------------------------------------------------


def _chosen(session: Session, asked: Asked, source: Database) -> list[Place]:
    """The tables that the patterns name, sorted. Raises `SpecError` for a pattern that names none."""
    dialect = session.dialect
    with session.step(steps.INSPECT):
        there = [(schema, table) for schema in dialect.schemas(session) for table in dialect.tables(session, schema)]
    if not there:
        raise errors.SpecError(f"{dialect.address.label} has no table that {_us(dialect)} may see", path="--tables")
    found: set[Place] = set()
    for pattern in asked.tables:
        matching = {place for place in there if _matches(dialect, place, pattern)}
        if not matching:
            schemas = sorted({schema for schema, _ in there})
            hint = f"; there are tables in {', '.join(schemas)}" if dialect.features.schemas else ""
            raise errors.SpecError(f"no table of Database {source.name} matches {pattern!r}{hint}", path="--tables")
        found |= matching
    return sorted(place for place in found if not any(_matches(dialect, place, pattern) for pattern in asked.exclude))


def _us(dialect: Dialect) -> str:
    return dialect.address.username or "we"


def _matches(dialect: Dialect, place: Place, pattern: str) -> bool:
    """A pattern with a dot is of `schema.table`; one without is of tables in the default schema."""
    schema, table = place
    if dialect.features.schemas:
        return fnmatchcase(f"{schema}.{table}", pattern if "." in pattern else f"{dialect.default_schema}.{pattern}")
    return fnmatchcase(table, pattern) or fnmatchcase(f"{dialect.address.database or 'main'}.{table}", pattern)


def _shapes(session: Session, places: Iterable[Place], left_out: dict[Place, str]) -> dict[Place, TableShape]:
    shapes = {}
    for place in places:
        with session.step(steps.INSPECT):
            shape = session.dialect.shape(session, *place)
        if shape is None:
            left_out[place] = "it was there a moment ago, and is not any more"
        else:
            shapes[place] = shape
    return shapes


def _parents_first(shapes: Mapping[Place, TableShape]) -> list[Place]:
    """In the order of foreign keys, by name where they leave a choice; a cycle is cut where it is entered by name."""
    known = {(shape.schema, shape.name): place for place, shape in shapes.items()}
    ordered: dict[Place, None] = {}
    for start in sorted(shapes):
        waiting = [(start, iter(_parents(shapes[start], known)))]
        entered = {start}
        while waiting:
            place, parents = waiting[-1]
            parent = next((one for one in parents if one not in ordered and one not in entered), None)
            if parent is not None:
                entered.add(parent)
                waiting.append((parent, iter(_parents(shapes[parent], known))))
            else:
                ordered.setdefault(place)
                waiting.pop()
    return list(ordered)


def _parents(shape: TableShape, known: Mapping[Place, Place]) -> list[Place]:
    return sorted({known[reference.parent] for reference in shape.references if reference.parent in known})


# -- what they would be ------------------------------------------------------------------------------------------------


def _proposals(
    dialect: Dialect,
    manifests: Manifests,
    source: Database,
    destination: Database,
    asked: Asked,
    ordered: Sequence[Place],
    shapes: Mapping[Place, TableShape],
    left_out: dict[Place, str],
) -> Iterator[Proposal]:
    target = dialects.load(address(manifests, destination))
    mirrored = {
        (table.spec.schema_ or dialect.default_schema, table.spec.table): table.name
        for table in manifests.source_tables_of(source)
    }
    taken = {name for _, name in (*manifests.source_tables, *manifests.reflections)}
    written: dict[Place, Place] = {}
    for place in ordered:
        if place in mirrored:
            left_out[place] = f"the files have it already, as SourceTable {mirrored[place]}"
            continue
        key, why = key_of(shapes[place])
        if why:
            left_out[place] = why
            continue
        there = _destination(dialect, target, place, asked)
        other = written.setdefault(there, place)
        if other != place:
            left_out[place] = f"it would share the table {_label(there)} with {_label(other)}; mirror it by itself"
            continue
        schema = "" if place[0] == dialect.default_schema else place[0]
        name = asked.prefix + names.of_object(schema, place[1])
        if name in taken:
            left_out[place] = f"the files have another object named {name}; say --prefix"
            continue
        taken.add(name)
        metadata = Metadata(name=name, namespace=source.namespace)
        yield Proposal(
            place,
            SourceTable(
                metadata=metadata,
                spec=SourceTableSpec(
                    database_ref=Reference(name=source.name),
                    schema_=place[0] or None,
                    table=place[1],
                    key_columns=key,
                ),
            ),
            Reflection(
                metadata=metadata,
                spec=ReflectionSpec(
                    source_table_ref=Reference(name=name),
                    destination=Destination(
                        database_ref=Reference(name=destination.name), schema_=there[0] or None, table=there[1]
                    ),
                ),
            ),
        )


def key_of(shape: TableShape) -> tuple[tuple[str, ...], str]:
    """keyColumns to say ("()" where the primary key is it), or why there are none and what would do."""
    if shape.key:
        return (), ""
    if whole := sourcetables.unique_and_not_null(shape):
        return whole[0], ""
    nullable = [columns for _, columns in shape.uniques if columns]
    if nullable:
        advice = f"({', '.join(nullable[0])}) is unique and would do, were it not null"
    else:
        advice = "give it a primary key"
    return (), f"nothing tells its rows apart: it has no primary key; {advice}"


def _destination(dialect: Dialect, target: Dialect, place: Place, asked: Asked) -> Place:
    """Where the copy goes: the same schema and table, as far as the engine there has schemas."""
    schema, table = place
    if target.features.schemas:
        return asked.to_schema or schema, table
    if asked.to_schema:
        raise errors.SpecError(f"{target.name} has no schemas", path="--to-schema")
    return "", table if schema in ("", dialect.default_schema) else f"{schema}_{table}"


# -- would it run? -----------------------------------------------------------------------------------------------------


def _tried(manifests: Manifests, proposals: Sequence[Proposal], asked: Asked, left_out: dict[Place, str]) -> list[str]:
    """Plan all of them, as `run` would; those that cannot be mirrored are left out. What a person should know."""
    proposed = dataclasses.replace(
        manifests,
        source_tables={one.table.key: one.table for one in proposals},
        reflections={one.reflection.key: one.reflection for one in proposals},
    )
    by_subject = {one.table.subject: one.place for one in proposals}
    by_name = {f"{one.reflection.namespace}/{one.reflection.name}": one.place for one in proposals}
    wrong = proposed.problems()
    if wrong:
        raise errors.SpecErrors(wrong)
    remarks = []
    for wanted in sources.wanted(proposed, installation=asked.installation):
        with contextlib.closing(Session(dialects.load(wanted.address), Role.SIDE)) as session:
            report = Report()
            captured, _ = prepare.source(
                session, session.dialect, wanted.owner, wanted.tables, report, lease=wanted.lease, act=False
            )
            for where, copies in wanted.copies.values():
                with planning.looked_at(where) as (dialect, looking, _):
                    prepare.copies(looking, dialect, session.dialect, wanted.owner, copies, captured, report, act=False)
        for subject, error in report.failed.items():
            place = by_subject.get(subject) or by_name[subject]
            if error.reason == "DestinationNotEmpty":
                remarks.append(f"{_label(place)}: {error}")
            else:
                left_out.setdefault(place, str(error))
    return remarks
