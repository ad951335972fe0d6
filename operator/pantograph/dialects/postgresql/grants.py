"""Which grants are missing, as the statements that would give them. docs/reference/grants.md is the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pantograph.dialects.base import Session

_HOME = """
select current_user, current_database(), to_regnamespace(:home) is not null,
  case when to_regnamespace(:home) is null then has_database_privilege(current_database(), 'create')
    else has_schema_privilege(to_regnamespace(:home), 'create')
      and has_schema_privilege(to_regnamespace(:home), 'usage') end,
  has_database_privilege(current_database(), 'temporary')"""
_SCHEMA = """
select to_regnamespace(:schema) is not null, has_schema_privilege(to_regnamespace(:schema), 'usage'),
  has_schema_privilege(to_regnamespace(:schema), 'create'), has_database_privilege(current_database(), 'create')"""
_TABLE = """
select has_table_privilege(c.oid, :privilege) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = :schema and c.relname = :table and c.relkind in ('r', 'p')"""

Quote = Callable[[str], str]


def _home(session: Session, home: str, quote: Quote) -> tuple[str, str, bool, list[str]]:
    user, database, there, allowed, temporary = session.row(_HOME, home=quote(home))
    user = quote(user)
    missing = []
    if not allowed and there:
        missing.append(f"grant usage, create on schema {quote(home)} to {user}")
    elif not allowed:
        missing.append(f"grant create on database {quote(database)} to {user}")
    return user, quote(database), bool(temporary), missing


def _tables(
    session: Session,
    user: str,
    tables: Sequence[tuple[str, str]],
    privileges: Sequence[str],
    quote: Quote,
    *,
    make: bool,
) -> list[str]:
    missing: list[str] = []
    for schema in dict.fromkeys(schema for schema, _ in tables):
        there, usage, create, may_make = session.row(_SCHEMA, schema=quote(schema))
        names = [name for each, name in tables if each == schema]
        lacking = {name: _lacking(session, schema, name, privileges) for name in names}
        wanted = ["usage"] if there and not usage else []
        if make and there and not create and any(found is None for found in lacking.values()):
            wanted.append("create")
        if wanted:
            missing.append(f"grant {', '.join(wanted)} on schema {quote(schema)} to {user}")
        if make and not there and not may_make:
            missing.append(f"create schema {quote(schema)} authorization {user}")
        for name, found in lacking.items():
            if found:
                missing.append(f"grant {', '.join(found)} on table {quote(schema)}.{quote(name)} to {user}")
    return missing


def _lacking(session: Session, schema: str, table: str, privileges: Sequence[str]) -> list[str] | None:
    """What is lacking on a table; None where there is no such table."""
    found = [session.row(_TABLE, schema=schema, table=table, privilege=one) for one in privileges]
    if found[0] is None:
        return None
    return [privilege for privilege, row in zip(privileges, found, strict=True) if not row[0]]


def at_source(session: Session, home: str, tables: Sequence[tuple[str, str]], quote: Quote) -> list[str]:
    """For capture, and to read the rows."""
    user, _, _, missing = _home(session, home, quote)
    return missing + _tables(session, user, tables, ("select", "trigger"), quote, make=False)


def at_destination(session: Session, home: str, tables: Sequence[tuple[str, str]], quote: Quote) -> list[str]:
    """To write, and to make what is missing."""
    user, database, temporary, missing = _home(session, home, quote)
    if not temporary:
        missing.append(f"grant temporary on database {database} to {user}")
    return missing + _tables(session, user, tables, ("select", "insert", "update", "delete"), quote, make=True)
