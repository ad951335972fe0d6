"""What PDR's `export` command writes: databases/HANDLE/, source_tables/NUMBER/ and reflections/NUMBER/, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import BeforeValidator, ConfigDict

from pantograph import errors

EXPORTED = "exported_pdr_data"
"""The folder that PDR makes where its command is called."""

T = TypeVar("T", bound="_File")
Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]


class _File(pydantic.BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DatabaseMeta(_File):
    """databases/HANDLE/meta.json. source: which engine, by its number in PDR."""

    pk: int
    source: int = pydantic.Field(ge=0, le=4)
    description: str = ""


class Config(_File):
    """databases/HANDLE/config.json: of a server, or of a file (`dbfile`)."""

    model_config = ConfigDict(extra="allow")

    host: Text = ""
    port: int | None = None
    dbname: Text = ""
    user: Text = ""
    password: Text = pydantic.Field(default="", repr=False)
    dbfile: Text = ""


class SourceTableMeta(_File):
    """source_tables/NUMBER/meta.json. database: its pk."""

    database: int
    table: str
    description: str = ""


class ReflectionMeta(_File):
    """reflections/NUMBER/meta.json. source_table and destination_database: their pks."""

    source_table: int
    destination_database: int
    destination_table: str
    description: str = ""
    active: bool = True
    ignore_delete_events: bool = True


class Fields(_File):
    """source_fields.json and destination_fields.json. key: PDR knows keys of one column only."""

    columns: dict[str, Any] = pydantic.Field(default_factory=dict)
    key: str = ""
    key_binding: dict[str, str] = pydantic.Field(default_factory=dict)


@dataclass(frozen=True)
class Database:
    """One database; `handle` is its name."""

    handle: str
    meta: DatabaseMeta
    config: Config


@dataclass(frozen=True)
class SourceTable:
    """One table that is watched."""

    pk: int
    meta: SourceTableMeta


@dataclass(frozen=True)
class Reflection:
    """One table that is written. statement: SQL of the destination with the source's columns as parameters."""

    pk: int
    meta: ReflectionMeta
    source: Fields
    destination: Fields
    statement: str


@dataclass(frozen=True)
class Export:
    """All that was exported, by pk."""

    databases: dict[int, Database] = field(default_factory=dict)
    source_tables: dict[int, SourceTable] = field(default_factory=dict)
    reflections: dict[int, Reflection] = field(default_factory=dict)


def read(path: Path) -> Export:
    """The export in this folder, or in `exported_pdr_data` below it. Raises `SpecErrors` with all that is wrong."""
    root = path / EXPORTED if (path / EXPORTED).is_dir() else path
    if not (root / "databases").is_dir():
        raise errors.SpecErrors(
            [errors.SpecError("found no databases/ in it, expected the folder that PDR's export wrote", file=str(path))]
        )
    reading = _Reading()
    found = Export()
    for one in _folders(root / "databases"):
        meta, config = reading.json(one / "meta.json", DatabaseMeta), reading.json(one / "config.json", Config)
        if meta and config:
            found.databases[meta.pk] = Database(one.name, meta, config)
    for one in _folders(root / "source_tables"):
        pk, table = reading.number(one), reading.json(one / "meta.json", SourceTableMeta)
        if table:
            reading.known(one / "meta.json", "database", table.database, found.databases)
            found.source_tables[pk] = SourceTable(pk, table)
    for one in _folders(root / "reflections"):
        pk, reflection = reading.number(one), reading.json(one / "meta.json", ReflectionMeta)
        source = reading.json(one / "source_fields.json", Fields)
        destination = reading.json(one / "destination_fields.json", Fields)
        statement = reading.text(one / "reflection_statment.sql")
        if reflection and source and destination and statement is not None:
            reading.known(one / "meta.json", "source_table", reflection.source_table, found.source_tables)
            reading.known(one / "meta.json", "destination_database", reflection.destination_database, found.databases)
            found.reflections[pk] = Reflection(pk, reflection, source, destination, statement)
    if reading.wrong:
        raise errors.SpecErrors(reading.wrong)
    return found


def _folders(path: Path) -> list[Path]:
    """In the order of their numbers, so that two calls give one text."""
    found = [one for one in path.iterdir() if one.is_dir()] if path.is_dir() else []
    return sorted(found, key=lambda one: (int(one.name) if one.name.isdigit() else 0, one.name))


class _Reading:
    """Notes what is wrong and goes on, so that all of it is said at once. Quotes nothing: there are passwords."""

    def __init__(self) -> None:
        self.wrong: list[errors.SpecError] = []

    def text(self, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self.wrong.append(errors.SpecError(f"cannot be read: {why}", file=str(path)))
            return None

    def json(self, path: Path, model: type[T]) -> T | None:
        text = self.text(path)
        if text is None:
            return None
        try:
            return model.model_validate_json(text)
        except pydantic.ValidationError as error:
            for one in error.errors(include_url=False, include_input=False, include_context=False):
                where = ".".join(map(str, one["loc"]))
                self.wrong.append(errors.SpecError(one["msg"], file=str(path), path=where))
            return None

    def number(self, path: Path) -> int:
        if path.name.isascii() and path.name.isdigit():
            return int(path.name)
        self.wrong.append(errors.SpecError("found a folder whose name is no number, expected PDR's", file=str(path)))
        return 0

    def known(self, path: Path, field_: str, pk: int, there: dict[int, Any]) -> None:
        if pk not in there:
            self.wrong.append(errors.SpecError(f"there is no {pk} in this export", file=str(path), path=field_))
