"""Names of tables and columns that an engine does not take, or takes for another one: told before anything is made."""

from __future__ import annotations

from collections.abc import Iterator

from pantograph.api.databases import Database
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable

Named = tuple[str, str | None]
"""A field's path, and the name in it, if any."""
_BYTES = {"postgresql": 63}
"""PostgreSQL cuts longer names without a word, so that two of them may be one."""
_CHARACTERS = {"mysql": 64, "mariadb": 64, "mssql": 128, "firebird": 63}
_PREFIX = 40
"""Of the names that begin with it in the MySQL family: the rest of them needs room."""


def unfit(name: str, dialect: str, *, prefix: bool = False) -> str:
    """Why the engine does not take the name, as `found …, expected …`; "" when it does."""
    if dialect in _BYTES and len(name.encode()) > _BYTES[dialect]:
        return f"found a name of {len(name.encode())} bytes, expected at most {_BYTES[dialect]} in {dialect}"
    family = dialect in ("mysql", "mariadb")
    most = _PREFIX if prefix and family else _CHARACTERS.get(dialect)
    if most and len(name) > most:
        return f"found a name of {len(name)} characters, expected at most {most} in {dialect}"
    if family and name.endswith(" "):
        return f"found a name that ends in a blank, expected one that does not in {dialect}"
    if family and any(letter > "\uffff" for letter in name):
        return f"found a name with a character beyond U+FFFF, expected none in {dialect}"
    return ""


def of_database(database: Database) -> Iterator[tuple[str, str]]:
    """Path and message of the names in a Database that its engine does not take."""
    if why := unfit(database.spec.capture_schema, database.spec.dialect, prefix=True):
        yield "spec.captureSchema", why


def of_source_table(table: SourceTable, dialect: str) -> Iterator[tuple[str, str]]:
    """The same of a SourceTable."""
    keys = [(f"spec.keyColumns[{number}]", name) for number, name in enumerate(table.spec.key_columns)]
    yield from _told(dialect, ("spec.schema", table.spec.schema_), ("spec.table", table.spec.table), *keys)


def of_source(reflection: Reflection, dialect: str) -> Iterator[tuple[str, str]]:
    """The same of what a Reflection reads."""
    spec = reflection.spec
    columns: list[Named] = [(f"spec.columns[{number}].source", one.source) for number, one in enumerate(spec.columns)]
    keys: list[Named] = [(f"spec.key[{number}].source", one.source) for number, one in enumerate(spec.key)]
    yield from _told(dialect, *columns, *keys, *((f"spec.exclude[{n}]", name) for n, name in enumerate(spec.exclude)))


def of_destination(reflection: Reflection, dialect: str) -> Iterator[tuple[str, str]]:
    """The same of what a Reflection writes."""
    spec = reflection.spec
    there = spec.destination
    columns = [(f"spec.columns[{number}].destination", one.destination) for number, one in enumerate(spec.columns)]
    keys = [(f"spec.key[{number}].destination", one.destination) for number, one in enumerate(spec.key)]
    mark = spec.soft_delete.column if spec.soft_delete else None
    yield from _told(
        dialect,
        ("spec.destination.schema", there.schema_),
        ("spec.destination.table", there.table),
        *columns,
        *keys,
        ("spec.softDelete.column", mark),
    )


def _told(dialect: str, *named: Named) -> Iterator[tuple[str, str]]:
    for path, name in named:
        if name is not None and (why := unfit(name, dialect)):
            yield path, why
