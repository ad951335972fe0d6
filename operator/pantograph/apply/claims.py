"""Which tables the Reflections of all Databases read and write, as the servers themselves tell: names of hosts and of
files say nothing, for several may lead to one database.

Looked at before anything is changed. A database that cannot be reached has no say.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

from pantograph import dialects, errors
from pantograph.apply.prepare import WantedCopy, WantedTable
from pantograph.apply.sources import Wanted
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Dialect, Role
from pantograph.model.tables import TableShape
from pantograph.pipeline import mapping, steps
from pantograph.reconcile import ownership
from pantograph.reconcile.ownership import Claim, Place

PATIENCE = 3.0
"""Seconds for a connection: who does not answer is waited for later, by those who need it."""


def conflicts(wanted: Sequence[Wanted]) -> list[ownership.Conflict]:
    """Reflections that would undo each other's work."""
    names = shared(wanted)
    return ownership.conflicts([claim for one in wanted for claim in of(one, names)[0]])


def shared(wanted: Iterable[Wanted]) -> frozenset[str]:
    """Names of tables that more than one Reflection writes, in whichever databases."""
    names = Counter(copy.table.casefold() for one in wanted for _, copies in one.copies.values() for copy in copies)
    return frozenset(name for name, count in names.items() if count > 1)


def of(wanted: Wanted, shared: Set[str]) -> tuple[list[Claim], bool]:
    """What the Reflections of one source claim, and whether all of its databases had a say."""
    try:
        return _of(wanted, shared)
    except errors.PantographError:  # one that broke off
        return [], False


def _of(wanted: Wanted, shared: Set[str]) -> tuple[list[Claim], bool]:
    tables = {table.subject: table for table in wanted.tables}
    found: list[Claim] = []
    complete = True
    with _looking(wanted.address) as source:
        if source is None:
            return [], False
        for address, copies in wanted.copies.values():
            with _looking(address) as destination:
                if destination is None:
                    complete = False
                    continue
                for copy in copies:
                    table = tables[copy.source]
                    claim = Claim(
                        name=copy.name,
                        source=source.place(table.schema, table.table),
                        destination=destination.place(copy.schema, copy.table),
                        source_label=_label(table.schema, table.table, wanted.address),
                        destination_label=_label(copy.schema, copy.table, address),
                        inserts=copy.missing_row == "Insert",
                    )
                    # What it writes there only matters where somebody else may write as well.
                    detailed = copy.table.casefold() in shared
                    found.append(_in_detail(claim, table, copy, source) if detailed else claim)
    return found, complete


def _in_detail(claim: Claim, table: WantedTable, copy: WantedCopy, source: _Place) -> Claim:
    with contextlib.suppress(errors.PantographError):  # what is wrong with a table or a column is told by the plan
        shape = source.shape(table.schema, table.table)
        if shape is not None:
            layout = mapping.layout(copy.asked, shape, table.key_columns or shape.key)
            key = frozenset(layout.key)
            return replace(
                claim,
                key=key,
                columns=frozenset(i.destination for i in layout.items) - key | set(filter(None, [copy.soft_delete])),
                constants={i.destination: str(i.value) for i in layout.items if i.destination in key and not i.source},
            )
    return claim


@dataclass(frozen=True, slots=True)
class _Place:
    """A database that answers. session: None for a file that is not there yet, and will be made."""

    dialect: Dialect
    session: Session | None = None
    server: str = ""

    def place(self, schema: str, table: str) -> Place:
        if self.session is None:
            return (self.server, "", table.casefold())
        with self.session.step(steps.INSPECT):
            return self.dialect.place(self.session, schema, table)

    def shape(self, schema: str, table: str) -> TableShape | None:
        if self.session is None:
            return None
        with self.session.step(steps.INSPECT):
            return self.dialect.shape(self.session, schema or self.dialect.default_schema, table)


@contextlib.contextmanager
def _looking(address: Address) -> Iterator[_Place | None]:
    dialect = dialects.load(address)
    if address.path and not os.path.exists(address.path):
        yield _Place(dialect, server=f"file {os.path.realpath(address.path)}")
        return
    try:
        session = Session(dialect, Role.SIDE, PATIENCE)
    except errors.PantographError:
        yield None
        return
    try:
        yield _Place(dialect, session)
    finally:
        session.close()


def _label(schema: str, table: str, address: Address) -> str:
    return f"{'.'.join(part for part in (schema, table) if part)} in {address.label}"
