"""Rows that another engine has written as lines already go into COPY as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pantograph.dialects.base import Session, Staged
from pantograph.dialects.postgresql import bulk


def take(session: Session, target: bulk.Target, lines: Iterable[bytes], *, direct: bool) -> Staged:
    """Into the stage, or straight into the table."""
    if direct:
        into = f"{target.table} ({', '.join(target.columns)})"
    else:
        bulk.prepare_stage(session, target)
        into = target.stage
    failures: list[BaseException] = []

    def watched() -> Iterator[bytes]:
        # psycopg2 makes an error of its own of what goes wrong in the reading, and tells it to the server.
        try:
            yield from lines
        except BaseException as error:
            failures.append(error)
            raise

    try:
        with session.using() as cursor:
            cursor.copy_expert(f"copy {into} from stdin", bulk._Feed(watched()), size=1 << 18)
            rows = int(cursor.rowcount)
    except BaseException:
        if failures:
            raise failures[0] from None
        raise
    return Staged(f"{target.stage} as s", rows)
