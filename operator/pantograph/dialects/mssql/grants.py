"""Which grants are missing, as the statements that would give them. docs/reference/grants.md is the page."""

from __future__ import annotations

from collections.abc import Sequence

from pantograph.dialects.base import Session
from pantograph.dialects.mssql.literals import name

HOME = """
select user_name(), case when schema_id(:home) is null then 0 else 1 end,
  coalesce(has_perms_by_name(:quoted, 'SCHEMA', 'CONTROL'), 0),
  coalesce(has_perms_by_name(db_name(), 'DATABASE', 'CREATE TABLE'), 0),
  coalesce(has_perms_by_name(db_name(), 'DATABASE', 'CREATE SCHEMA'), 0),
  case when user_name() = N'dbo' then 1 else coalesce(has_perms_by_name('dbo', 'USER', 'IMPERSONATE'), 0) end"""
HELD = "select case when object_id(:table) is not null then has_perms_by_name(:table, 'OBJECT', :permission) end"
# The schema dbo is dbo's, and nobody can give it away; not all that speaks the protocol says so.
OWNERS = """
select case when t.principal_id is null and s.name = N'dbo' then N'dbo'
    else user_name(coalesce(t.principal_id, s.principal_id)) end,
  (select user_name(h.principal_id) from sys.schemas h where h.name = :home)
from sys.tables t join sys.schemas s on s.schema_id = t.schema_id where s.name = :schema and t.name = :table"""


def _home(session: Session, home: str) -> tuple[str, list[str]]:
    user, there, control, tables, schemas, impersonate = session.row(HOME, home=home, quoted=name(home))
    user = name(user)
    missing = []
    if there and not control:
        missing.append(f"grant control on schema::{name(home)} to {user}")
    elif not there and not (schemas and impersonate):
        missing.append(f"create schema {name(home)} authorization dbo")
        missing.append(f"grant control on schema::{name(home)} to {user}")
    if not tables:
        missing.append(f"grant create table to {user}")
    return user, missing


def _lacking(session: Session, schema: str, table: str, permissions: Sequence[str]) -> list[str]:
    """What is lacking on a table; nothing where there is no such table, of which the server says NULL."""
    quoted = f"{name(schema)}.{name(table)}"
    return [one for one in permissions if session.row(HELD, table=quoted, permission=one)[0] == 0]


def at_source(session: Session, home: str, tables: Sequence[tuple[str, str]]) -> list[str]:
    """For capture, and to read the rows; and that the trigger's writes ask nobody for a grant."""
    user, missing = _home(session, home)
    for schema, table in tables:
        if lacking := _lacking(session, schema, table, ("SELECT", "ALTER")):
            listed = ", ".join(lacking).lower()
            missing.append(f"grant {listed} on {name(schema)}.{name(table)} to {user}")
        owners = session.row(OWNERS, home=home, schema=schema, table=table)
        if owners is not None and owners[1] is not None and owners[0] != owners[1]:
            # Else the application's writes would fail for want of a grant on our tables.
            missing.append(f"alter authorization on schema::{name(home)} to {name(owners[0])}")
    return list(dict.fromkeys(missing))


def at_destination(session: Session, home: str, tables: Sequence[tuple[str, str]]) -> list[str]:
    """To write."""
    user, missing = _home(session, home)
    for schema, table in tables:
        if lacking := _lacking(session, schema, table, ("SELECT", "INSERT", "UPDATE", "DELETE")):
            listed = ", ".join(lacking).lower()
            missing.append(f"grant {listed} on {name(schema)}.{name(table)} to {user}")
    return list(dict.fromkeys(missing))
