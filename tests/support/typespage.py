"""The tables of docs/reference/types.md, made by what makes the destinations' tables; a test holds the two equal.
`python -m tests.support.typespage` writes them anew."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

from pantograph import dialects, errors
from pantograph.dialects.base import Address, Dialect
from pantograph.dialects.mysql import types as mysql_types
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import LogicalType
from pantograph.pipeline import mapping

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "reference" / "types.md"
BEGIN, END = "<!-- made by tests/support/typespage.py -->\n", "<!-- end -->\n"

NAMELESS = ("an enum", "no type")
NAMES = {
    "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB", "mssql": "SQL Server", "sqlite": "SQLite",
    "firebird": "Firebird",
}  # fmt: skip
FAMILY = (
    "tinyint", "tinyint unsigned", "smallint", "smallint unsigned", "mediumint", "mediumint unsigned", "int",
    "int unsigned", "bigint", "bigint unsigned", "tinyint(1)", "bit(1)", "bit(17)", "year", "decimal(12,2)",
    "decimal(65,30)", "float", "double", "char(5)", "varchar(40)", "varchar(1000)", "tinytext", "text", "mediumtext",
    "longtext", "enum('a','b')", "set('a','b')", "binary(16)", "varbinary(40)", "tinyblob", "blob", "mediumblob",
    "longblob", "date", "time", "time(4)", "time(6)", "datetime", "datetime(4)", "datetime(6)", "timestamp",
    "timestamp(6)", "json", "point",
)  # fmt: skip
SOURCES = {
    "postgresql": (
        "smallint", "integer", "bigint", "numeric(12,2)", "numeric(18,6)", "numeric(38,10)", "numeric(65,30)",
        "numeric(100,50)", "numeric", "real", "double precision", "boolean", "character(5)", "character varying(40)",
        "character varying(1000)", "text", "bytea", "date", "time(4) without time zone", "time without time zone",
        "time with time zone", "timestamp(4) without time zone", "timestamp without time zone",
        "timestamp(4) with time zone", "timestamp with time zone", "interval", "uuid", "json", "jsonb", "integer[]",
        "an enum", "inet",
    ),
    "mysql": FAMILY,
    "mariadb": (*FAMILY, "decimal(38,38)", "uuid", "inet6"),
    "sqlite": (
        "INTEGER", "BOOLEAN", "DECIMAL(12,2)", "DECIMAL_TEXT(18,6)", "DECIMAL_TEXT(38,10)", "DECIMAL", "REAL", "TEXT",
        "VARCHAR(40)", "BLOB", "VARBINARY(40)", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "UUID", "JSON_TEXT",
        "no type",
    ),
    "firebird": (
        "smallint", "integer", "bigint", "numeric(4,2)", "numeric(9,2)", "decimal(18,6)", "float", "double precision",
        "boolean", "char(5) character set UTF8", "varchar(40) character set UTF8", "varchar(1000) character set UTF8",
        "blob sub_type text", "varchar(40) character set OCTETS", "blob sub_type binary", "date", "time", "timestamp",
    ),
    "mssql": (
        "tinyint", "smallint", "int", "bigint", "bit", "decimal(12,2)", "decimal(38,10)", "money", "real", "float",
        "char(5)", "nvarchar(40)", "nvarchar(1000)", "nvarchar(max)", "binary(16)", "varbinary(40)", "varbinary(max)",
        "rowversion", "date", "time(4)", "time(7)", "smalldatetime", "datetime", "datetime2(4)", "datetime2(6)",
        "datetime2(7)", "datetimeoffset(4)", "datetimeoffset(6)", "datetimeoffset(7)",
        "uniqueidentifier", "xml", "hierarchyid", "geography",
    ),
}  # fmt: skip
"""What people write, or a word for what has no name of its own."""


def _dialect(name: str) -> Dialect:
    return dialects.load(Address(dialect=name))


def _logical(engine: str, native: str) -> LogicalType:
    if engine in ("mysql", "mariadb"):
        # A length of its own, where the catalog says it: of the longest word, of all words with their commas.
        words = re.findall(r"'(\w+)'", native)
        length = max(map(len, words)) if native.startswith("enum") else len(",".join(words))
        return mysql_types.logical(native, length if words else 0, json=native == "json" and engine == "mariadb")
    return _dialect(engine).logical({"no type": ""}.get(native, native))


def _there(engine: str, native: str, destination: str) -> tuple[str, str]:
    """The type of the column that is made there, or "", and why."""
    origin, target = _dialect(engine), _dialect(destination)
    column = Column("v", _logical(engine, native), native)
    shape = TableShape("", "t", (Column("id", origin.logical("bigint"), "bigint"), column), ("id",))
    plan = mapping.layout(mapping.Asked("page", "default"), shape, ("id",))
    try:
        made = mapping.planned_columns(plan, shape, origin, target)
    except errors.SpecError as error:
        return "", re.sub(r"^(spec\.\w+(\.\w+)?: )?column v of t( cannot be held by a table of \w+)?: ", "", str(error))
    return re.sub(r" (character set|collate) .*", "", made[1].native) if "OCTETS" not in made[1].native else made[
        1
    ].native, ""


def rendered() -> str:
    """All tables, one a source engine."""
    return "\n".join(line for engine in SOURCES for line in _section(engine))


def _section(engine: str) -> Iterator[str]:
    others = [name for name in NAMES if name != engine]
    yield f"### {NAMES[engine]}\n"
    yield f"| type | holds | {' | '.join(NAMES[name] for name in others)} |"
    yield f"|{' --- |' * (len(others) + 2)}"
    reasons: dict[tuple[str, str], list[str]] = {}
    for native in SOURCES[engine]:
        shown = native if native in NAMELESS else f"`{native}`"
        cells = []
        refusing: dict[str, list[str]] = {}
        for name in others:
            there, why = _there(engine, native, name)
            cells.append(f"`{there}`" if there else "refused")
            if why:
                refusing.setdefault(why, []).append(NAMES[name])
        for why, names in refusing.items():
            # By what is said once a value's own size is left out of it.
            general = re.sub(r"^(unsigned )?(decimal\([\d,]+\)|decimal)", "it", why)
            reasons.setdefault((general, ", ".join(names)), []).append(shown)
        yield f"| {shown} | {_logical(engine, native)} | {' | '.join(cells)} |"
    yield ""
    for (why, names), natives in reasons.items():
        yield f"- {', '.join(natives)} in {names}: {why}."
    yield ""


def main() -> None:
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + rendered() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
