"""Keys that must be looked up again although no event says so.

A key is here because its parent's row is not there yet (`parent`), because a cascade took its row (`cascade`), because
the destination holds it and a sweep did not meet it at the source (`extra`), or because a comparison found it to differ
(`verify`). Whatever the reason, it goes through the lookup of an ordinary turn and leaves in the turn's transaction.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pantograph.dialects.base import Dialect, Session

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Noted:
    """A key as it stands in the table."""

    digest: str
    key: Key
    reason: str
    since: float
    attempts: int


def dump(key: Sequence[Any]) -> str:
    """Canonical values as JSON; bytes as {"hex": …}."""
    return json.dumps([{"hex": v.hex()} if isinstance(v, bytes | memoryview) else v for v in key])


def parse(text: str) -> Key:
    """The key of `dump`."""
    return tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in json.loads(text))


def note(
    session: Session,
    dialect: Dialect,
    owner: str,
    name: str,
    keys: Iterable[Sequence[Any]],
    reason: str,
    detail: str = "",
) -> int:
    """Write keys down, in the transaction that is open; one that is there already keeps its first time."""
    table = dialect.ours("keys")
    count = 0
    for key in keys:
        text = dump(key)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        at = time.time()
        # Two statements that every engine has, in place of an upsert that each writes differently.
        touched = session.run(
            f"update {table} set attempts = attempts + 1, next_try = :at, reason = :reason, detail = :detail "
            "where owner = :owner and name = :name and digest = :digest",
            owner=owner, name=name, digest=digest, at=at, reason=reason, detail=detail,
        )  # fmt: skip
        if not touched:
            session.run(
                f"insert into {table} (owner, name, digest, key_values, reason, detail, since, attempts, next_try) "
                "values (:owner, :name, :digest, :key, :reason, :detail, :at, 0, :at)",
                owner=owner, name=name, digest=digest, key=text, reason=reason, detail=detail, at=at,
            )  # fmt: skip
        count += 1
    return count


def due(session: Session, dialect: Dialect, owner: str, name: str, now: float, limit: int) -> list[Noted]:
    """Keys whose next try has come; those that wait longest first. Extras wait until the sweep releases them."""
    found = session.rows(
        f"select digest, key_values, reason, since, attempts from {dialect.ours('keys')} "
        "where owner = :owner and name = :name and next_try <= :now and reason <> 'extra' "
        "order by since, digest limit :limit",
        owner=owner, name=name, now=now, limit=limit,
    )  # fmt: skip
    return [
        Noted(digest, parse(key), reason, float(since), int(attempts)) for digest, key, reason, since, attempts in found
    ]


def counts(session: Session, dialect: Dialect, owner: str) -> dict[str, dict[str, int]]:
    """How many keys are noted: by Reflection, then by reason."""
    result: dict[str, dict[str, int]] = {}
    for name, reason, count in session.rows(
        f"select name, reason, count(*) from {dialect.ours('keys')} where owner = :owner group by name, reason",
        owner=owner,
    ):
        result.setdefault(name, {})[reason] = int(count)
    return result


def settle(session: Session, dialect: Dialect, owner: str, name: str, digests: Sequence[str]) -> None:
    """Take keys out that this turn has dealt with."""
    for digest in digests:
        session.run(
            f"delete from {dialect.ours('keys')} where owner = :owner and name = :name and digest = :digest",
            owner=owner, name=name, digest=digest,
        )  # fmt: skip


def release(session: Session, dialect: Dialect, owner: str, name: str, reason: str, *, to: str | None) -> None:
    """Turn all keys noted for one reason into due ones of another, or drop them (`to=None`)."""
    table = dialect.ours("keys")
    where = "where owner = :owner and name = :name and reason = :reason"
    if to is None:
        session.run(f"delete from {table} {where}", owner=owner, name=name, reason=reason)
    else:
        session.run(
            f"update {table} set reason = :to, next_try = 0 {where}", owner=owner, name=name, reason=reason, to=to
        )
