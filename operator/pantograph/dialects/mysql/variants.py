"""What MySQL and MariaDB say differently of one thing: everything in capture's SQL that is not the same on both.

Why the lease is a sequence on one and a ring of hours on the other: docs/decisions, mariadb-capture and mysql-capture.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from typing import ClassVar

from pantograph import errors
from pantograph.dialects.base import Session
from pantograph.dialects.mysql import connections

Name = Callable[[str], str]
"""One of our own tables, qualified and quoted, of its bare name."""


NOW = "unix_timestamp()"
"""When the writer's statement began, by its session's clock, which the application may have set: it costs nothing."""

REALLY_NOW = "unix_timestamp(sysdate())"
"""By the server's clock."""


class Loop(abc.ABC):
    """How a trigger goes through the rows of a SELECT of `k0, k1, …`."""

    @abc.abstractmethod
    def value(self, index: int) -> str:
        """SQL for a column of the row at hand."""

    @abc.abstractmethod
    def over(self, select: str, body: str) -> str:
        """A statement that runs `body` for each row."""


class Variant(abc.ABC):
    """One of the two."""

    oldest: ClassVar[tuple[int, ...]]
    """The oldest version that is supported."""

    exact: ClassVar[str]
    """The collation under which only equal texts are equal: `utf8mb4_bin` takes 'a' and 'a ' for one."""

    sql_mode: ClassVar[str] = ""
    """Beside the modes that are the same on both, each after a comma."""

    most_scale: ClassVar[int]
    """Digits of a decimal behind its point."""

    more_types: ClassVar[frozenset[str]] = frozenset()
    """Types that only this one has, and that stand for no logical type."""

    garbles_backticks: ClassVar[bool] = False
    """Does the catalog spoil a trigger's text where a name in it has a backtick?"""

    slow_replace: ClassVar[bool] = False
    """Does REPLACE move all that follows at each place it finds? A second for a text of some hundred kilobytes."""

    shows_triggers: ClassVar[bool] = True
    """Does the catalog show a table's triggers to everybody who may write it?"""

    writes: ClassVar[str]
    """The server's count of rows written, raised before a writer can commit them, and not by looking at it."""

    lease: ClassVar[str]
    """What the triggers read. A row that they read is locked by each of them until its transaction ends, whatever the
    isolation; a renewal that updates it would wait for every writer and hold up those behind it."""

    # -- the lease ---------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def lease_home(self, ours: Name) -> list[str]:
        """What makes it; idempotent."""

    def remembered(self, ours: Name) -> str:
        """A variable of the writer's session: until when it has seen the lease to be there, in seconds since the epoch.
        To read the lease for each row costs a trigger as much as all else that it does; and a lease ends later, never
        earlier than was seen."""
        return f"@pantograph_{hashlib.sha256(ours(self.lease).encode()).hexdigest()[:10]}"

    def leased(self, ours: Name, now: str = NOW) -> str:
        """A condition for triggers: the lease was seen, and has not ended."""
        return f"{now} < {self.remembered(ours)}"

    @abc.abstractmethod
    def look(self, ours: Name) -> str:
        """For triggers: the statement that reads the lease, and remembers it."""

    @abc.abstractmethod
    def renew(self, session: Session, ours: Name, seconds: int) -> None:
        """Let it end in `seconds` or later."""

    @abc.abstractmethod
    def unless(self, condition: str, sql: str) -> list[str]:
        """Statements that run DDL where the condition is not true."""

    # -- triggers ----------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def trigger(self, place: str, action: str) -> list[str]:
        """What makes a trigger of that name, also where there is one; a write may meet none of them."""

    @abc.abstractmethod
    def replaced(self, place: str, spare: str, action: str) -> list[str]:
        """The same, and each write meets one of them. spare: another name, for a while."""

    @abc.abstractmethod
    def widened(self, home: str, table: str, place: str, column: str) -> list[str]:
        """What adds a column, `name type`, to an event table where it is missing. home, table: bare names."""

    @abc.abstractmethod
    def loop(self, types: Sequence[str]) -> Loop:
        """types: of the columns k0, k1, …"""


class _ForLoop(Loop):
    def value(self, index: int) -> str:
        return f"r.k{index}"

    def over(self, select: str, body: str) -> str:
        return f"for r in ({select}) do {body}; end for"


class MariaDBVariant(Variant):
    """MariaDB, whose lease is a sequence."""

    oldest = (10, 5)
    exact = "utf8mb4_nopad_bin"
    most_scale = 38
    writes = "Handler_write"
    more_types = frozenset({"inet4", "inet6"})
    lease = "lease_until"
    slow_replace = True

    def lease_home(self, ours: Name) -> list[str]:
        # NOCACHE: what is stored is what was set. It is only read and set, never drawn from.
        return [
            f"create sequence if not exists {ours(self.lease)} start with 1 minvalue 1 "
            "maxvalue 9223372036854775806 increment by 1 nocache nocycle engine = InnoDB"
        ]

    def look(self, ours: Name) -> str:
        return f"set {self.remembered(ours)} = (select next_not_cached_value from {ours(self.lease)})"

    def renew(self, session: Session, ours: Name, seconds: int) -> None:
        # SETVAL takes a number and no expression.
        ((now,),) = session.rows("select unix_timestamp()")
        session.run(f"select setval({ours(self.lease)}, {int(now) + seconds - 1})")

    def unless(self, condition: str, sql: str) -> list[str]:
        return [f"begin not atomic if not {condition} then {sql}; end if; end"]

    def trigger(self, place: str, action: str) -> list[str]:
        return [f"create or replace trigger {place} {action}"]

    def replaced(self, place: str, spare: str, action: str) -> list[str]:
        return self.trigger(place, action)

    def widened(self, home: str, table: str, place: str, column: str) -> list[str]:
        return [f"alter table {place} add column if not exists {column}"]

    def loop(self, types: Sequence[str]) -> Loop:
        return _ForLoop()


HOURS = 16_384
"""Rows of the ring, so many hours: 22 months. A lease is shorter."""


class _Cursor(Loop):
    # Names that no column has: a variable hides a column of its name.
    def __init__(self, types: Sequence[str]) -> None:
        self._types = [type_.removesuffix(" null") for type_ in types]

    def value(self, index: int) -> str:
        return f"pantograph_k{index}"

    def over(self, select: str, body: str) -> str:
        names = [self.value(i) for i in range(len(self._types))]
        declared = " ".join(f"declare {n} {t};" for n, t in zip(names, self._types, strict=True))
        return (
            f"begin declare pantograph_done boolean default false; {declared} "
            f"declare pantograph_rows cursor for {select}; "
            "declare continue handler for not found set pantograph_done = true; open pantograph_rows; "
            f"pantograph_each: loop fetch pantograph_rows into {', '.join(names)}; "
            f"if pantograph_done then leave pantograph_each; end if; {body}; end loop; close pantograph_rows; end"
        )


class MySQLVariant(Variant):
    """MySQL, whose lease is a ring of hours: the row of an hour says that it is leased by holding its number. Triggers
    read the row of the hour that is; who renews writes that of an hour that is to come, which nobody reads yet. So a
    session looks once an hour."""

    oldest = (8, 0, 17)
    exact = "utf8mb4_0900_bin"
    # A fraction of a second is cut and not rounded, as everywhere else.
    sql_mode = ",TIME_TRUNCATE_FRACTIONAL"
    most_scale = 30
    writes = "Innodb_rows_inserted"  # a look at `Handler_write` raises that one
    shows_triggers = False
    garbles_backticks = True  # seen on 9.7: `a``b` is listed as `aa`bb`
    lease = "lease_hours"

    def lease_home(self, ours: Name) -> list[str]:
        return [
            f"create table if not exists {ours(self.lease)} (slot int unsigned not null primary key, "
            "hour int unsigned not null) engine = InnoDB",
            # Every row is there from the beginning: who looks for one that is not would lock the gap, and an insert
            # waits for that.
            f"insert ignore into {ours(self.lease)} with recursive d (n) as (select 0 union all select n + 1 from d "
            f"where n < 127) select h.n * 128 + d.n, 0 from d h cross join d where h.n * 128 + d.n < {HOURS}",
        ]

    def look(self, ours: Name) -> str:
        # By way of a variable: SYSDATE in a condition is asked for each row, and whoever reads all rows locks them all.
        return (
            f"begin declare pantograph_hour bigint default {REALLY_NOW} div 3600; set {self.remembered(ours)} = "
            f"(select (hour + 1) * 3600 from {ours(self.lease)} where slot = pantograph_hour mod {HOURS}); end"
        )

    def renew(self, session: Session, ours: Name, seconds: int) -> None:
        ((now,),) = session.rows("select unix_timestamp()")
        first = int(now) // 3600
        # An hour more than asked: the row of an hour is written before that hour begins.
        wanted = {hour % HOURS: hour for hour in range(first, (int(now) + seconds) // 3600 + 2)}
        if len(wanted) >= HOURS - 1:
            raise errors.SpecError("at most 680 days here", path="spec.retention.maxAge")
        slots = ", ".join(map(str, wanted))
        found = dict(session.rows(f"select slot, hour from {ours(self.lease)} where slot in ({slots})"))
        rows = ", ".join(f"({slot}, {hour})" for slot, hour in wanted.items() if found.get(slot, 0) < hour)
        if rows:
            session.run(
                f"insert into {ours(self.lease)} (slot, hour) values {rows} on duplicate key update hour = values(hour)"
            )

    def unless(self, condition: str, sql: str) -> list[str]:
        return [
            f"set @pantograph = if({condition}, 'do 0', {connections.text(sql)})",
            "prepare pantograph from @pantograph",
            "execute pantograph",
            "deallocate prepare pantograph",
        ]

    def trigger(self, place: str, action: str) -> list[str]:
        return [f"drop trigger if exists {place}", f"create trigger {place} {action}"]

    def replaced(self, place: str, spare: str, action: str) -> list[str]:
        # Both are there for a moment, and a change is noted twice, which is harmless.
        return [*self.trigger(spare, action), *self.trigger(place, action), f"drop trigger if exists {spare}"]

    def widened(self, home: str, table: str, place: str, column: str) -> list[str]:
        name = column.partition(" ")[0]
        found = (
            f"exists (select 1 from information_schema.columns where table_schema = {connections.text(home)} "
            f"and table_name = {connections.text(table)} and column_name = {connections.text(name)})"
        )
        return self.unless(found, f"alter table {place} add column {column}")

    def loop(self, types: Sequence[str]) -> Loop:
        return _Cursor(types)


MARIADB, MYSQL = MariaDBVariant(), MySQLVariant()
