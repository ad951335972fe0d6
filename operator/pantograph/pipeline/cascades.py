"""A delete at the destination must take nothing that stays gone (promise 11).

A foreign key with CASCADE, SET NULL or SET DEFAULT lets a delete take or change rows of other tables, for which no
event will come. Before such a delete the rows that it will touch are read, through all levels, and their keys are
noted, so that a later turn looks them up. Rows of tables that no Reflection writes are the user's: the delete is
refused unless the manifest accepts it.
"""

from __future__ import annotations

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Staged
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import keys

REASON = "CascadesIntoForeignRows"


def note(session: Session, target: Dialect, mirror: Mirror, staged: Staged) -> int:
    """Note the keys of all rows that deleting the staged absent keys will take or change; how many."""
    touching = [child for child in mirror.cascades if child.path]
    count = 0
    for child in touching:
        joins = ""
        parent = "d"
        for level, reference in enumerate(child.path):
            alias = f"c{level}"
            on = " and ".join(
                f"{alias}.{target.quote(c)} = {parent}.{target.quote(p)}"
                for c, p in zip(reference.columns, reference.parent_columns, strict=True)
            )
            joins += f" join {target.table(*reference.table)} {alias} on {on}"
            parent = alias
        same = " and ".join(f"d.{target.quote(k.destination)} = s.{target.quote(k.destination)}" for k in mirror.key)
        start = f"from {staged.source} join {target.table(*mirror.destination)} d on {same}{joins} where s.present = 0"
        if not child.owner:
            found = staged_rows(session, staged, f"select 1 {start} {target.at_most(1, ordered=False)}")
            if found and not mirror.accepts_cascades:
                label = ".".join(filter(None, child.path[-1].table))
                raise errors.Rejected(
                    f"a delete in {'.'.join(filter(None, mirror.destination))} would take or change rows of {label}, "
                    f"which no Reflection writes (foreign key {child.path[-1].name}); "
                    "set spec.destination.cascade: Accept to let it",
                    kind="foreign key",
                    constraint=child.path[-1].name,
                    reason=REASON,
                )
            continue
        picked = ", ".join(f"{parent}.{target.quote(name)}" for name in child.key)
        found = staged_rows(session, staged, f"select distinct {picked} {start}")
        noted = keys.decoded(target, child.key_types, found)
        count += keys.note(session, target, child.owner, child.name, noted, "cascade")
    return count


def staged_rows(session: Session, staged: Staged, sql: str) -> list[tuple[object, ...]]:
    """Query a stage; one that holds its values in the text goes to the driver as it is."""
    if not staged.literal:
        return session.rows(sql)
    with session.using() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
