"""Names and texts as T-SQL has them. Sessions set QUOTED_IDENTIFIER ON, so names stand in double quotes."""

from __future__ import annotations


def name(value: str) -> str:
    """A name, quoted."""
    doubled = value.replace('"', '""')
    return f'"{doubled}"'


def text(value: str) -> str:
    """A literal of nvarchar; nothing but the quote is special in one."""
    doubled = value.replace("'", "''")
    return f"N'{doubled}'"


def is_there(schema: str, table: str, kind: str = "U") -> str:
    """A condition: the schema holds an object of this name, a table ("U") or a trigger ("TR")."""
    return (
        f"exists (select 1 from sys.objects where schema_id = schema_id({text(schema)}) "
        f"and name = {text(table)} and type = '{kind}')"
    )
