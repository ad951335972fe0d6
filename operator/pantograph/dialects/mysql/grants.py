"""Which grants are missing, as the statements that would give them. docs/reference/grants.md is the page.

Read from `information_schema`, which tells each account its own. A role that is on may give more than stands there:
then nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pantograph import errors
from pantograph.dialects.base import Session

Quote = Callable[[str], str]
_HOME = ("select", "insert", "update", "delete", "create", "drop")


class _Held:
    """What the account of a session holds."""

    def __init__(self, session: Session, quote: Quote) -> None:
        self._session, self._quote = session, quote
        user, _, host = str(session.row("select current_user()")[0]).rpartition("@")
        # As the views spell it: nothing in the name is escaped.
        self._grantee = f"'{user}'@'{host}'"
        self._user = "'{}'@'{}'".format(user.replace("'", "''"), host.replace("'", "''"))
        self.unknown = session.row("select current_role()")[0] not in (None, "NONE")
        self._everywhere = self._found("user_privileges where grantee = :grantee")

    def _found(self, view: str, **params: str) -> set[str]:
        sql = f"select privilege_type from information_schema.{view}"
        return {str(row[0]).lower() for row in self._session.rows(sql, grantee=self._grantee, **params)}

    def globally(self, privilege: str) -> bool:
        """Does the account hold it on everything?"""
        return privilege in self._everywhere

    def lacking(self, database: str, table: str, privileges: Sequence[str]) -> list[str]:
        """Those of the privileges that the account does not hold there. table "": on the database."""
        held = self._everywhere | self._found(
            "schema_privileges where grantee = :grantee and :database like table_schema", database=database
        )
        if table:
            held |= self._found(
                "table_privileges where grantee = :grantee and table_schema = :database and table_name = :table",
                database=database, table=table,
            )  # fmt: skip
        return [one for one in privileges if one not in held]

    def grant(self, what: Sequence[str] | str, database: str, table: str = "") -> str:
        """The statement that would give it."""
        listed = what if isinstance(what, str) else ", ".join(what)
        pattern = database.replace("_", r"\_").replace("%", r"\%")
        place = f"{self._quote(database)}.{self._quote(table)}" if table else f"{self._quote(pattern)}.*"
        return f"grant {listed} on {place} to {self._user}"


def _home(held: _Held, home: str) -> list[str]:
    return [held.grant("all", home)] if held.lacking(home, "", _HOME) else []


def sees_triggers(session: Session, database: str, table: str, quote: Quote) -> bool:
    """Is it certain that MySQL shows us the triggers of a table?"""
    held = _Held(session, quote)
    return not held.unknown and not held.lacking(database, table, ("trigger",))


def at_source(
    session: Session, home: str, tables: Sequence[tuple[str, str]], quote: Quote, on_database: Sequence[str]
) -> list[str]:
    """For capture, and to read the rows. on_database: what is needed there for all of a database, beside the rest."""
    held = _Held(session, quote)
    if held.unknown:
        return []
    missing = _home(held, home)
    for database, table in tables:
        if lacking := held.lacking(database, table, ("select", "trigger")):
            missing.append(held.grant(lacking, database, table))
    for database in dict.fromkeys(database for database, _ in tables):
        if lacking := held.lacking(database, "", [one.lower() for one in on_database]):
            missing.append(held.grant(lacking, database))
    logged, trusted = session.row("select @@global.log_bin, @@global.log_bin_trust_function_creators")
    if int(logged) and not int(trusted) and not held.globally("super"):
        missing.append("set global log_bin_trust_function_creators = 1")
    return missing


def at_destination(
    session: Session, home: str, tables: Sequence[tuple[str, str]], there: Sequence[tuple[str, str]], quote: Quote
) -> list[str]:
    """To write, and to make what is missing. there: those of the tables that are there already."""
    held = _Held(session, quote)
    if held.unknown:
        return []
    missing = _home(held, home)
    for database in dict.fromkeys(database for database, _ in tables):
        make = ("create", "alter", "index", "references") if set(tables) - set(there) else ()
        if lacking := held.lacking(database, "", (*make, "create temporary tables")):
            missing.append(held.grant(lacking, database))
    for database, table in tables:
        if lacking := held.lacking(database, table, ("select", "insert", "update", "delete")):
            missing.append(held.grant(lacking, database, table if (database, table) in there else ""))
    return list(dict.fromkeys(missing))


_LIFETIME = re.compile(r" PASSWORD EXPIRE INTERVAL (\d+) DAY\b")


def outlook(session: Session, user: str) -> list[str]:
    """Does the password of this account, ours, end by itself?"""
    try:
        # Shown to everybody of oneself.
        (created,) = session.row("show create user current_user()")
        (usual,) = session.row("select @@global.default_password_lifetime")
    except errors.DatabaseError:
        return []
    own = _LIFETIME.search(str(created))
    days = int(own[1]) if own else 0 if " PASSWORD EXPIRE NEVER" in str(created) else int(usual)
    if not days:
        return []
    name, _, host = user.rpartition("@")
    return [
        f"the password of {user} expires {days} days after it was set, and nothing is copied from then on: "
        f"change it and its Secret before, or alter user '{name}'@'{host}' password expire never"
    ]
