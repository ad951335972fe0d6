"""Rows that another engine has written as lines already go into COPY as they are."""

from __future__ import annotations

from collections.abc import Iterable

from pantograph.dialects.base import Session, Staged
from pantograph.dialects.postgresql import bulk


def take(session: Session, target: bulk.Target, lines: Iterable[bytes], *, direct: bool) -> Staged:
    """Into the stage, or straight into the table."""
    if direct:
        into = f"{target.table} ({', '.join(target.columns)})"
    else:
        bulk.prepare_stage(session, target)
        into = target.stage
    rows = bulk.feed(session, f"copy {into} from stdin", lines)
    return Staged(f"{target.stage} as s", rows)
