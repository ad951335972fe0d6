"""An export of PDR as objects of ours, each with what changed on the way and why. Decides, and asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pantograph.api.base import Metadata, Reference, Resource
from pantograph.api.databases import Allow, Credentials, Database, DatabaseSpec
from pantograph.api.reflections import Column, Destination, KeyColumn, Reflection, ReflectionSpec
from pantograph.api.sourcetables import SourceTable, SourceTableSpec
from pantograph.cli.pdr import folder, statements
from pantograph.cli.pdr.folder import Export
from pantograph.cli.pdr.statements import NotUnderstoodError, Update
from pantograph.model import names

DIALECTS = ("postgresql", "mssql", "mariadb", "sqlite", "firebird")
"""Pantograph's name of the engine that PDR knows by this number."""
DEFAULT_SCHEMAS = {"postgresql": "public", "mssql": "dbo", "sqlite": "main"}
DESCRIPTION = "kubernetes.io/description"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PARAMETER = re.compile(r"(?<![:\w\\]):([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Translated:
    """One object. origin: its folder in the export."""

    origin: str
    body: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


def translate(export: Export, namespace: str) -> list[Translated]:
    """Secrets and Databases, SourceTables, Reflections: in the order of PDR's numbers."""
    world = _World(export, namespace)
    reflections = [_reflection(world, one) for _, one in sorted(export.reflections.items())]
    found: list[Translated] = []
    for _, database in sorted(export.databases.items()):
        found += _database(world, database)
    found += [_source_table(world, table) for _, table in sorted(export.source_tables.items())]
    return found + reflections


@dataclass
class _World:
    """The export with the names that its objects get. statements: Databases that run statements of Reflections."""

    export: Export
    namespace: str
    databases: dict[int, str] = field(default_factory=dict)
    tables: dict[int, str] = field(default_factory=dict)
    reflections: dict[int, str] = field(default_factory=dict)
    statements: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        export = self.export
        wanted = {pk: _label(one.handle) for pk, one in export.databases.items()}
        self.databases = _distinct(wanted, wanted)
        short = {pk: names.of_object(*self.place(one.meta.database, one.meta.table)) for pk, one in _sorted(export)}
        long = {pk: f"{self.databases[one.meta.database]}-{short[pk]}" for pk, one in _sorted(export)}
        self.tables = _distinct(short, long)
        wanted = {
            pk: f"{self.tables[one.meta.source_table]}-to-{self.databases[one.meta.destination_database]}"
            for pk, one in export.reflections.items()
        }
        self.reflections = _distinct(wanted, wanted)

    def dialect(self, database: int) -> str:
        return DIALECTS[self.export.databases[database].meta.source]

    def place(self, database: int, path: str) -> tuple[str, str]:
        """Schema ("" for the default one) and table of `schema.table` or `table`."""
        schema, _, table = path.rpartition(".")
        default = DEFAULT_SCHEMAS.get(self.dialect(database), self.export.databases[database].config.dbname)
        return ("" if schema in (default, "None") else schema), table

    def writers(self, one: folder.Reflection) -> list[int]:
        """The Reflections that write this one's table, by PDR's number."""
        here = one.meta.destination_database, self.place(one.meta.destination_database, one.meta.destination_table)
        return sorted(
            pk
            for pk, other in self.export.reflections.items()
            if (
                other.meta.destination_database,
                self.place(other.meta.destination_database, other.meta.destination_table),
            )
            == here
        )

    def metadata(self, name: str, description: str = "") -> Metadata:
        return Metadata(
            name=name,
            namespace=self.namespace,
            annotations={DESCRIPTION: description} if description.strip() else {},
        )


def _sorted(export: Export) -> list[tuple[int, folder.SourceTable]]:
    return sorted(export.source_tables.items())


def _label(handle: str) -> str:
    return handle if _LABEL.fullmatch(handle) and len(handle) <= names.LABEL else names.of_object("", handle)


def _distinct(short: Mapping[int, str], long: Mapping[int, str]) -> dict[int, str]:
    """Short names where nobody else has them, else long ones, else with PDR's number."""
    found: dict[int, str] = {}
    for pk in sorted(short):
        name = short[pk] if list(short.values()).count(short[pk]) == 1 else long[pk]
        taken = name in found.values() or list(long.values()).count(name) > 1
        found[pk] = f"{name}-{pk}" if taken else name
    return found


# -- Databases ---------------------------------------------------------------------------------------------------------


def _database(world: _World, one: folder.Database) -> Iterator[Translated]:
    config, pk = one.config, one.meta.pk
    name, dialect, origin = world.databases[pk], world.dialect(pk), f"databases/{one.handle}"
    remarks = [] if name == one.handle else [f"named {name}, for {one.handle} is no name that Kubernetes takes"]
    if pk in world.statements:
        remarks.append("allow.statements is true, because Reflections below bring statements that run here")
    allow = Allow(statements=pk in world.statements)
    metadata = world.metadata(name, one.meta.description)
    if config.dbfile:
        if not config.dbfile.startswith("/"):
            remarks.append(f"path {config.dbfile} is relative to where pantograph is called, as it was to PDR's folder")
        spec = DatabaseSpec.model_construct(dialect=dialect, path=config.dbfile, allow=allow)
        yield Translated(origin, _body(Database, metadata, spec), tuple(remarks))
        return
    if dialect == "mariadb":
        remarks.append("PDR does not tell MySQL from MariaDB; where it is MySQL, say dialect: mysql")
    unused = sorted(set(config.model_extra or {}))
    if unused:
        remarks.append(
            f"{', '.join(unused)} of config.json left out: PDR did not use {'it' if len(unused) == 1 else 'them'}"
        )
    remarks.append("needs fewer rights than PDR did; docs/reference/grants.md says which")
    secret = world.metadata(f"{name}-login").model_dump(mode="json", exclude_defaults=True)
    yield Translated(
        origin,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": secret,
            "stringData": {"username": config.user, "password": config.password},
        },
        ("the login, in plain text: keep it out of Git, or write the manifests with --no-secrets",),
    )
    spec = DatabaseSpec.model_construct(
        dialect=dialect,
        host=config.host or None,
        port=config.port,
        database=config.dbname or None,
        credentials=Credentials(secret_name=f"{name}-login"),
        allow=allow,
    )
    yield Translated(origin, _body(Database, metadata, spec), tuple(remarks))


def _body(kind: type[Resource], metadata: Metadata, spec: Any) -> Mapping[str, Any]:
    """The manifest, also of what breaks a rule: that is told when all is read again."""
    return kind.model_construct(metadata=metadata, spec=spec).manifest()


# -- SourceTables ------------------------------------------------------------------------------------------------------


def _source_table(world: _World, one: folder.SourceTable) -> Translated:
    schema, table = world.place(one.meta.database, one.meta.table)
    handle = world.export.databases[one.meta.database].handle
    remarks = [
        f"{handle}.{one.meta.table}: rows are told apart by the whole primary key, not by its first column alone"
    ]
    spec = SourceTableSpec.model_construct(
        database_ref=Reference(name=world.databases[one.meta.database]), schema_=schema or None, table=table
    )
    metadata = world.metadata(world.tables[one.pk], one.meta.description)
    return Translated(f"source_tables/{one.pk}", _body(SourceTable, metadata, spec), tuple(remarks))


# -- Reflections -------------------------------------------------------------------------------------------------------


def _reflection(world: _World, one: folder.Reflection) -> Translated:
    remarks: list[str] = []
    source_database = world.export.source_tables[one.meta.source_table].meta.database
    schema, table = world.place(one.meta.destination_database, one.meta.destination_table)
    asked = statements.Asked(
        one.statement,
        (schema, table),
        tuple(one.source.columns),
        tuple(one.destination.columns),
        world.dialect(source_database),
        world.dialect(one.meta.destination_database),
    )
    try:
        update = statements.understand(asked)
        _check_binding(one, update)
        said = _columns(one, update, remarks)
    except NotUnderstoodError as why:
        world.statements.add(one.meta.destination_database)
        said = _statement(one, str(why), remarks)
    others = [pk for pk in world.writers(one) if pk != one.pk]
    first = not others or one.pk < others[0]
    said |= _rows(one, [world.reflections[pk] for pk in others], first, remarks)
    if not one.meta.active:
        said["paused"] = True
        remarks.append("paused, because it was not active")
    existing = "Keep" if said.get("on_delete") == "Ignore" and first else ""
    if not existing and first:
        remarks.append(
            "the table holds what PDR wrote, and nothing is done until you say destination.existing: Replace (rows "
            "that the source does not have go; PDR left such rows behind) or Keep"
        )
    spec = ReflectionSpec.model_construct(
        source_table_ref=Reference(name=world.tables[one.meta.source_table]),
        destination=Destination.model_construct(
            database_ref=Reference(name=world.databases[one.meta.destination_database]),
            schema_=schema or None,
            table=table,
            existing=existing,
        ),
        **said,
    )
    metadata = world.metadata(world.reflections[one.pk], one.meta.description)
    return Translated(f"reflections/{one.pk}", _body(Reflection, metadata, spec), tuple(remarks))


def _check_binding(one: folder.Reflection, update: Update) -> None:
    """PDR made a missing row by `key_binding`, and then found it by the statement's WHERE."""
    bound = {destination: source for source, destination in list(one.destination.key_binding.items())[-1:]}
    if bound and not bound.items() <= update.key.items():
        destination, source = next(iter(bound.items()))
        raise NotUnderstoodError(f"it does not find rows by {destination} = :{source}, as key_binding has it")


def _columns(one: folder.Reflection, update: Update, remarks: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    plain = {column.source: column.name for column in update.columns if column.source is not None}
    same = len(plain) == len(update.columns) and all(here == there for here, there in plain.items())
    if same and plain.keys() == one.source.columns.keys():
        remarks.append("without columns it copies all of them, under their own names, also those that come later")
    else:
        said["columns"] = update.columns
        left_out = [name for name in one.source.columns if name not in plain]
        if left_out and not update.computed:
            remarks.append(f"not copied, as its statement did not: {', '.join(left_out)}")
    remarks.append("its statement became columns, written in bulk, rows and position in one transaction")
    if update.computed:
        remarks.append(
            f"{', '.join(update.computed)}: computed by the source now, in the source's SQL; compare it with "
            "reflection_statment.sql"
        )
    if any(column.system for column in update.columns):
        remarks.append("the clock it asked became system: appliedAt, in UTC")
    if list(update.key.values()) != [one.source.key]:
        said["key"] = tuple(_key_column(source, destination) for destination, source in update.key.items())
        remarks.append(
            f"rows are found by {', '.join(update.key)}: needs an index on {', '.join(update.key.values())} at the "
            "source and a unique key at the destination; PDR looked for deleted rows by the source's primary key, and "
            "took wrong ones"
        )
    return said


def _key_column(source: str, destination: str) -> KeyColumn:
    return KeyColumn(source=source) if source == destination else KeyColumn(source=source, destination=destination)


def _statement(one: folder.Reflection, why: str, remarks: list[str]) -> dict[str, Any]:
    """What stays a statement. Its parameters are the destination's columns here, and were the source's."""
    source_key, destination_key = next(
        iter(list(one.destination.key_binding.items())[-1:]), (one.source.key, one.destination.key or one.source.key)
    )
    text = one.statement.strip().rstrip("; \t\r\n")
    if source_key != destination_key:
        text = re.sub(rf"(?<![:\w\\]):{re.escape(source_key)}\b", f":{destination_key}", text)
    parameters = list(dict.fromkeys(_PARAMETER.findall(text)))
    columns = [statements.named(source_key, destination_key)]
    columns += [Column(source=name) for name in parameters if name != destination_key and name in one.source.columns]
    remarks.append(f"stays a statement, run row by row: {why}")
    remarks.append(
        "a statement takes the place of the insert as well: where it is an UPDATE, make it an upsert, for nothing "
        "inserts the missing row before it, as PDR did"
    )
    unknown = [name for name in parameters if name != destination_key and name not in one.source.columns]
    if unknown:
        remarks.append(f"no column of the source is {', '.join(f':{name}' for name in unknown)}")
    elsewhere = [column.name for column in columns if column.name not in one.destination.columns]
    if elsewhere:
        remarks.append(
            f"a parameter is a column of the destination here, for its type: {', '.join(elsewhere)} "
            f"{'is' if len(elsewhere) == 1 else 'are'} not there; rename the parameter and give columns a destination"
        )
    said: dict[str, Any] = {"columns": tuple(columns), "statement": text}
    if source_key != one.source.key:
        said["key"] = (_key_column(source_key, destination_key),)
    return said


def _rows(one: folder.Reflection, others: list[str], first: bool, remarks: list[str]) -> dict[str, Any]:
    """What happens to rows that are gone, and to rows that are not there yet."""
    said: dict[str, Any] = {}
    if one.meta.ignore_delete_events:
        said["on_delete"] = "Ignore"
        remarks.append("onDelete: Ignore, because PDR ignores deletes unless told otherwise; take it out to delete")
    if not others:
        return said
    if first:
        remarks.append(f"inserts the rows of the table that it shares with {', '.join(others)}")
        return said
    said["missing_row"] = "Wait"
    said.setdefault("on_delete", "SetNull")
    remarks.append(
        f"shares its table with {', '.join(others)}: one of them inserts its rows, the others wait for them and write "
        "other columns (in PDR whichever came first inserted); or tell their rows apart with a constant column in the "
        "key"
    )
    return said
