"""PDR's reflection statement, an UPDATE of the destination with the source's columns as parameters, as columns and key.

What is not such an UPDATE is not understood, with the reason, and stays a statement: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

from pantograph import errors
from pantograph.api import expressions
from pantograph.api.reflections import Column

PARSERS = {
    "postgresql": "postgres", "mariadb": "mysql", "mysql": "mysql", "sqlite": "sqlite", "mssql": "tsql", "firebird": "",
}  # fmt: skip
Node = Any
"""A node of a parsed statement: what the class of all of them is called depends on sqlglot's version."""
_CLOCKS = ("now", "getdate", "getutcdate", "sysdatetime", "sysutcdatetime", "utc_timestamp")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


class NotUnderstoodError(Exception):
    """Why the statement cannot be columns and a key, as a clause."""


@dataclass(frozen=True)
class Asked:
    """A statement and what it is about. table: schema ("" where none is given) and name of the destination.

    source_columns, destination_columns: as the export has them, in their letters. dialects: Pantograph's names.
    """

    statement: str
    table: tuple[str, str]
    source_columns: tuple[str, ...]
    destination_columns: tuple[str, ...]
    source_dialect: str
    destination_dialect: str


@dataclass(frozen=True)
class Update:
    """What the statement does. key: source column by destination column. computed: columns that hold an expression."""

    columns: tuple[Column, ...]
    key: Mapping[str, str]

    @property
    def computed(self) -> tuple[str, ...]:
        """Destination columns whose expression moved from the destination's SQL to the source's."""
        return tuple(column.name for column in self.columns if column.expression is not None)


def understand(asked: Asked) -> Update:
    """The statement as columns and key. Raises `NotUnderstoodError`."""
    update = _parsed(asked)
    _refuse_more(update)
    _check_table(update, asked)
    key = _key(update, asked)
    columns = [_column(assignment, asked) for assignment in update.expressions]
    by_name = {column.name: column for column in columns}
    if len(by_name) < len(columns):
        raise NotUnderstoodError("it sets a column twice")
    for destination, source in key.items():
        found = by_name.get(destination)
        if found is not None and found.source != source:
            raise NotUnderstoodError(f"it sets {destination} to something else than it finds the row by")
    missing = [named(source, destination) for destination, source in key.items() if destination not in by_name]
    return Update((*missing, *columns), key)


def _parsed(asked: Asked) -> exp.Update:
    # PDR's template puts names in double quotes for every engine, also where those are texts.
    for parser in dict.fromkeys((PARSERS[asked.destination_dialect], "postgres")):
        try:
            found = [one for one in sqlglot.parse(asked.statement, read=parser) if one is not None]
        except (sqlglot.errors.SqlglotError, RecursionError):
            continue
        if len(found) > 1:
            raise NotUnderstoodError(f"it is {len(found)} statements")
        if found and isinstance(found[0], exp.Update) and _names_columns(found[0]):
            return found[0]
    raise NotUnderstoodError("it is no UPDATE that could be read")


def _names_columns(update: exp.Update) -> bool:
    return all(isinstance(one, exp.EQ) and isinstance(one.left, exp.Column) for one in update.expressions)


def _refuse_more(update: exp.Update) -> None:
    known = {"this", "expressions", "where"}
    more = sorted(name for name, value in update.args.items() if value and name not in known)
    if more:
        raise NotUnderstoodError(f"it has more than SET and WHERE ({', '.join(name.rstrip('_') for name in more)})")
    if update.find(exp.Select):
        raise NotUnderstoodError("it has a subquery")


def _check_table(update: exp.Update, asked: Asked) -> None:
    table = update.this
    schema, name = asked.table
    if not isinstance(table, exp.Table) or table.name.casefold() != name.casefold():
        raise NotUnderstoodError(f"it does not update {name}")
    if table.db and schema and table.db.casefold() != schema.casefold():
        raise NotUnderstoodError(f"it updates {table.db}.{table.name}, and not {schema}.{name}")


def _key(update: exp.Update, asked: Asked) -> dict[str, str]:
    where = update.args.get("where")
    if where is None:
        raise NotUnderstoodError("it has no WHERE, and so updates every row")
    found: dict[str, str] = {}
    waiting = [where.this]
    while waiting:
        condition = waiting.pop(0)
        if isinstance(condition, exp.Paren):
            waiting.insert(0, condition.this)
        elif isinstance(condition, exp.And):
            waiting = [condition.left, condition.right, *waiting]
        else:
            destination, source = _pair(condition, asked)
            found[destination] = source
    return found


def _pair(condition: Node, asked: Asked) -> tuple[str, str]:
    if isinstance(condition, exp.EQ):
        sides = [condition.left, condition.right]
        for column, value in (sides, sides[::-1]):
            if isinstance(column, exp.Column) and (name := _parameter(value)):
                return _destination(column, asked), _source(name, asked)
    raise NotUnderstoodError("its WHERE is more than columns that equal parameters")


def _column(assignment: Node, asked: Asked) -> Column:
    destination, value = _destination(assignment.left, asked), assignment.right
    while isinstance(value, exp.Paren):
        value = value.this
    if name := _parameter(value):
        return named(_source(name, asked), destination)
    if isinstance(value, exp.CurrentTimestamp) or (isinstance(value, exp.Anonymous) and value.name.lower() in _CLOCKS):
        return Column(system="appliedAt", destination=destination)
    if isinstance(value, exp.Literal) and (value.is_string or value.is_int):
        return Column(value=value.this if value.is_string else int(value.this), destination=destination)
    if isinstance(value, exp.Neg) and value.this.is_int:
        return Column(value=-int(value.this.this), destination=destination)
    return Column(expression=_expression(value, destination, asked), destination=destination)


def _expression(value: Node, destination: str, asked: Asked) -> str:
    """What the destination computed from parameters, as the source computes it from its columns."""
    if value.find(exp.Column):
        raise NotUnderstoodError(f"what it sets {destination} to reads columns of the destination")

    def named(node: Node) -> Node:
        name = _parameter(node)
        if not name:
            return node
        source = _source(name, asked)
        return exp.column(exp.to_identifier(source, quoted=not _PLAIN.fullmatch(source)))

    try:
        text = value.transform(named).sql(
            dialect=PARSERS[asked.source_dialect], unsupported_level=sqlglot.ErrorLevel.RAISE
        )
        return expressions.judge(text, asked.source_dialect, destination).sql
    except sqlglot.errors.SqlglotError:
        raise NotUnderstoodError(f"what it sets {destination} to cannot be said in the source's SQL") from None
    except errors.SpecError as error:
        raise NotUnderstoodError(f"what it sets {destination} to cannot be computed by the source: {error}") from None


def _parameter(node: Node) -> str:
    """The name of a parameter (`:name`); "" for anything else."""
    return str(node.name) if isinstance(node, exp.Placeholder) else ""


def named(source: str, destination: str) -> Column:
    """A column of the source under its name at the destination."""
    return Column(source=source) if source == destination else Column(source=source, destination=destination)


def _source(name: str, asked: Asked) -> str:
    if name not in asked.source_columns:
        raise NotUnderstoodError(f"its parameter :{name} is no column of the source")
    return name


def _destination(column: Node, asked: Asked) -> str:
    """The column in the letters of the export, which are those of the database."""
    folded = {name.casefold(): name for name in asked.destination_columns}
    name = str(column.name)
    return name if name in asked.destination_columns else folded.get(name.casefold(), name)
