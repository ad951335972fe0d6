"""Keys that must be looked up again although no event says so.

A key is here because its parent's row is not there yet (`parent`), because a cascade took its row (`cascade`), because
the destination holds it and a sweep did not meet it at the source (`extra`), or because a comparison found it to differ
(`verify`). Whatever the reason, it goes through the lookup of an ordinary turn and leaves in the turn's transaction.

Two reasons only remember something for the next comparison, and are never due: `surplus` (extra by a comparison that
has not ended yet) and `unrepairable` (it differed in the same way after its repair; the detail says in which columns).
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


def digest_of(key: Sequence[Any]) -> str:
    """What a key is found by in the table."""
    return hashlib.sha256(dump(key).encode()).hexdigest()[:32]


NEVER = 1e12
"""A `next_try` that does not come."""


def note(
    session: Session,
    dialect: Dialect,
    owner: str,
    name: str,
    keys: Iterable[Sequence[Any]],
    reason: str,
    detail: str = "",
    *,
    again_at: float | None = None,
) -> int:
    """Write keys down, in the transaction that is open; one that is there already keeps its first time.

    again_at: when they are due (now, unless given; `NEVER`).
    """
    table = dialect.ours("keys")
    count = 0
    for key in keys:
        text = dump(key)
        digest = digest_of(key)
        at = time.time()
        due_at = at if again_at is None else again_at
        # Two statements that every engine has, in place of an upsert that each writes differently.
        touched = session.run(
            f"update {table} set attempts = attempts + 1, next_try = :due, reason = :reason, detail = :detail "
            "where owner = :owner and name = :name and digest = :digest",
            owner=owner, name=name, digest=digest, due=due_at, reason=reason, detail=detail,
        )  # fmt: skip
        if not touched:
            session.run(
                f"insert into {table} (owner, name, digest, key_values, reason, detail, since, attempts, next_try) "
                "values (:owner, :name, :digest, :key, :reason, :detail, :at, 0, :due)",
                owner=owner, name=name, digest=digest, key=text, reason=reason, detail=detail, at=at, due=due_at,
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


def waiting(session: Session, dialect: Dialect, owner: str, now: float) -> set[str]:
    """The Reflections that have keys which are due: one question for all, and mostly the answer is none."""
    found = session.rows(
        f"select distinct name from {dialect.ours('keys')} "
        "where owner = :owner and next_try <= :now and reason <> 'extra'",
        owner=owner, now=now,
    )  # fmt: skip
    return {row[0] for row in found}


def counts(session: Session, dialect: Dialect, owner: str) -> dict[str, dict[str, int]]:
    """How many keys are noted: by Reflection, then by reason."""
    result: dict[str, dict[str, int]] = {}
    for name, reason, count in session.rows(
        f"select name, reason, count(*) from {dialect.ours('keys')} where owner = :owner group by name, reason",
        owner=owner,
    ):
        result.setdefault(name, {})[reason] = int(count)
    return result


def reasons(
    session: Session, dialect: Dialect, owner: str, name: str, digests: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Reason and detail of those of the keys that are noted, by digest."""
    if not digests:
        return {}
    listed = ", ".join(f":d{i}" for i in range(len(digests)))
    found = session.rows(
        f"select digest, reason, detail from {dialect.ours('keys')} "
        f"where owner = :owner and name = :name and digest in ({listed})",
        owner=owner, name=name, **{f"d{i}": digest for i, digest in enumerate(digests)},
    )  # fmt: skip
    return {digest: (reason, detail or "") for digest, reason, detail in found}


def noted_for(
    session: Session, dialect: Dialect, owner: str, name: str, reason: str, limit: int
) -> list[tuple[str, str]]:
    """Digest and detail of keys that are noted for a reason."""
    found = session.rows(
        f"select digest, detail from {dialect.ours('keys')} "
        "where owner = :owner and name = :name and reason = :reason order by digest limit :limit",
        owner=owner, name=name, reason=reason, limit=limit,
    )  # fmt: skip
    return [(digest, detail or "") for digest, detail in found]


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


def hasten(session: Session, dialect: Dialect, owner: str, name: str) -> int:
    """Make all keys due now that are tried again at some time; how many there are."""
    table = dialect.ours("keys")
    which = "where owner = :owner and name = :name and reason <> 'extra' and next_try < :never"
    found = session.row(f"select count(*) from {table} {which}", owner=owner, name=name, never=NEVER)
    if found[0]:
        session.run(f"update {table} set next_try = 0 {which}", owner=owner, name=name, never=NEVER)
    return int(found[0])
