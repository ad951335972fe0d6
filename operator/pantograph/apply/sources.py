"""What is wanted of each source Database, in plain values, from manifests; a cluster's objects say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import KeyColumn, Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.api.values import Hours
from pantograph.apply.prepare import WantedCopy, WantedTable
from pantograph.database.addresses import address
from pantograph.dialects.base import Address
from pantograph.pipeline.mapping import Item
from pantograph.pipeline.turn import Limits

LOCAL = "local"
"""The installation that `run -f` is."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long events of a table may wait for somebody who does not move."""

    max_age: float = 7 * 86400.0
    max_rows: int = 100_000_000


@dataclass(frozen=True)
class Wanted:
    """A source Database and all that is copied from it. name: `namespace/name`; owner: installation/namespace/name.

    copies: for each destination Database's name, its address and the Reflections that go there.
    """

    name: str
    owner: str
    address: Address
    tables: tuple[WantedTable, ...]
    copies: Mapping[str, tuple[Address, tuple[WantedCopy, ...]]]
    retention: Mapping[str, Retention] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    poll_interval: float = 0.2
    sweeps: int = 2
    sweep_hours: Hours | None = None
    sweep_rate: int = 0
    paused: bool = False
    adopt: bool = False

    @property
    def lease(self) -> float:
        """Seconds that capture goes on without us: as long as the longest retention."""
        return max((r.max_age for r in self.retention.values()), default=Retention().max_age)


def wanted(manifests: Manifests, *, installation: str = LOCAL, adopt: bool = False) -> list[Wanted]:
    """What each source Database of the manifests is to do."""
    result = []
    for _, database in sorted(manifests.databases.items()):
        tables = manifests.source_tables_of(database)
        if tables:
            result.append(_source(manifests, database, tables, installation, adopt=adopt))
    return result


def _source(
    manifests: Manifests, database: Database, tables: tuple[SourceTable, ...], installation: str, *, adopt: bool
) -> Wanted:
    spec = database.spec.reflector
    copies: dict[str, tuple[Database, list[WantedCopy]]] = {}
    for table in tables:
        for reflection in manifests.reflections_of(table):
            destination = manifests.destination_of(reflection)
            copies.setdefault(destination.name, (destination, []))[1].append(_copy(database, table, reflection))
    return Wanted(
        name=f"{database.namespace}/{database.name}",
        owner=f"{installation}/{database.namespace}/{database.name}",
        address=address(manifests, database),
        tables=tuple(
            WantedTable(
                table.subject,
                table.spec.schema_ or "",
                table.spec.table,
                tuple(table.spec.key_columns),
                _noted(manifests, table),
                f"{table.namespace}/{table.name}",
            )
            for table in tables
        ),
        copies={
            name: (address(manifests, destination), tuple(listed)) for name, (destination, listed) in copies.items()
        },
        retention=_retention(tables),
        limits=Limits(
            spec.batch_rows, spec.batch_bytes, spec.max_transaction_rows, chunk_rows=spec.sweep.max_rows_per_second
        ),
        poll_interval=spec.poll_interval.total_seconds(),
        sweeps=spec.sweep.parallel,
        sweep_hours=spec.sweep.window,
        sweep_rate=spec.sweep.max_rows_per_second,
        paused=spec.paused,
        adopt=adopt,
    )


def _retention(tables: tuple[SourceTable, ...]) -> Mapping[str, Retention]:
    return {
        table.subject: Retention(table.spec.retention.max_age.total_seconds(), table.spec.retention.max_rows)
        for table in tables
    }


def _noted(manifests: Manifests, table: SourceTable) -> tuple[str, ...]:
    """The source columns by which Reflections of a table find rows, in a fixed order."""
    reflections = manifests.reflections_of(table)
    return tuple(sorted({_source_of(one, key) for one in reflections for key in one.spec.key} - {""}))


def _source_of(reflection: Reflection, key: KeyColumn) -> str:
    """The source column of a part of the key; "" for one that holds a constant."""
    if key.source is not None:
        return key.source
    columns = {column.name: column for column in reflection.spec.columns}
    return (columns[key.name].source or "") if key.name in columns else key.name


def _copy(database: Database, table: SourceTable, reflection: Reflection) -> WantedCopy:
    spec = reflection.spec
    return WantedCopy(
        name=f"{reflection.namespace}/{reflection.name}",
        subject=reflection.subject,
        source=table.subject,
        schema=spec.destination.schema_ or "",
        table=spec.destination.table,
        create=spec.destination.create_table,
        existing=spec.destination.existing,
        accepts_cascades=spec.destination.cascade == "Accept",
        stream=f"{spec.destination.database_ref.name}/{spec.stream}",
        where=spec.where,
        items=tuple(
            Item(c.name, c.source or "", c.expression or "", c.value, c.system or "", c.type or "")
            for c in spec.columns
        ),
        exclude=tuple(spec.exclude),
        key=tuple((_source_of(reflection, key), key.name) for key in spec.key),
        missing_row=spec.missing_row,
        on_delete=spec.on_delete,
        soft_delete=spec.soft_delete.column if spec.soft_delete else "",
        statement=spec.statement,
        delete_statement=spec.delete_statement,
        database=database.name,
        add_columns=spec.schema_change.added == "Add",
        dropped=spec.schema_change.dropped,
        retyped=spec.schema_change.retyped,
        initial_snapshot=spec.initial_snapshot,
        resync_token=spec.resync_token,
        on_position_lost=spec.on_position_lost,
        dead_letters=spec.on_error == "DeadLetter",
        paused=spec.paused,
        allowed_deletes=reflection.allowed_deletes or None,
        verify_every=spec.verify.every.total_seconds() if spec.verify else 0.0,
        verify_repairs=spec.verify.repair if spec.verify else True,
        generation=reflection.metadata.generation,
    )
