"""Keys that must be looked up again although no event says so.

A key is here because its parent's row is not there yet (`parent`), because a cascade took its row (`cascade`), because
the destination holds it and a sweep did not meet it at the source (`extra`), because a comparison found it to differ
(`verify`), because it holds a unique value that another row needs (`in the way`), or because the destination refuses
its row and the Reflection goes on without it (`dead`, a dead letter; see `deadletters`). Whatever the reason, it goes
through the lookup of an ordinary turn and leaves in the turn's transaction.

Three reasons only remember something, and are never due: `surplus` (extra by a comparison that has not ended yet),
`unrepairable` (it differed in the same way after its repair; the detail says in which columns) and `refused` (the row
for which a Reflection stopped; the detail says why).

This table, in the destination, is the only place where keys of failing rows are shown (promise 15).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pantograph.dialects.base import Dialect, Session
from pantograph.model.types import LogicalType

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Noted:
    """A key as it stands in the table. since: when it was first noted; attempts: how often again since then."""

    digest: str
    key: Key
    reason: str
    since: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many keys of a Reflection are noted for one reason, and when the next is due (`NEVER`: none will be)."""

    count: int
    next_try: float


def dump(key: Sequence[Any]) -> str:
    """Canonical values as JSON; bytes as {"hex": …}."""
    return json.dumps([{"hex": v.hex()} if isinstance(v, bytes | memoryview) else v for v in key])


def parse(text: str) -> Key:
    """The key of `dump`."""
    return tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in json.loads(text))


def decoded(dialect: Dialect, types: Iterable[LogicalType], rows: Iterable[Sequence[Any]]) -> list[Key]:
    """Keys in canonical values, from rows as the dialect's driver yields them for columns of these types."""
    decoders = [dialect.decode(type_) for type_ in types]
    return [
        tuple(d(v) if d is not None and v is not None else v for d, v in zip(decoders, row, strict=True))
        for row in rows
    ]


def digest_of(key: Sequence[Any]) -> str:
    """What a key is found by in the table."""
    return hashlib.sha256(dump(key).encode()).hexdigest()[:32]


BEHIND = frozenset(("parent", "cascade", "sweep", "verify", "in the way", "dead"))
"""Reasons for which the destination's row is not the source's: while one is noted there is no image."""

NEVER = 1e12
"""A `next_try` that does not come."""


PARENT_MISSING = "ParentMissing"
"""What the detail of a dead letter begins with whose only fault is that its parent is not there: it goes in with it."""

EVERYTHING = "everything"
"""The reason of a note that stands for all keys of a Reflection: it is to be copied again."""

_AT_ONCE = 500
"""Keys in one statement: a hundred thousand rows may wait for one parent."""


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
    wait: float = 0.0,
    at_most: float = 3600.0,
) -> int:
    """Write keys down, in the transaction that is open; one that is there already keeps its first time.

    again_at: when they are due (now, unless given; `NEVER`). wait: for one that was noted for this reason before, in so
    many seconds, twice as many each time it comes back, `at_most` in the end.
    """
    table, at = dialect.ours("keys"), time.time()
    by_digest = {digest_of(key): dump(key) for key in keys}
    digests = list(by_digest)
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        # Two statements that every engine has, in place of an upsert that each writes differently.
        known = _known(session, dialect, owner, name, some)
        by_due: dict[tuple[int, float], list[str]] = {}
        for digest, (before, attempts) in known.items():
            tries = attempts + 1
            next_try = at if again_at is None else again_at
            if wait and before in (reason, TRIED):
                next_try = max(next_try, at + min(at_most, wait * 2 ** min(attempts, 20)))
            by_due.setdefault((tries, next_try), []).append(digest)
        for (tries, next_try), listed in by_due.items():
            among, values = _among(listed)
            session.run(
                f"update {table} set attempts = :tries, next_try = :due, reason = :reason, detail = :detail, "
                f"last_at = :at where owner = :owner and name = :name and digest in ({among})",
                owner=owner, name=name, tries=tries, due=next_try, reason=reason, detail=detail, at=at, **values,
            )  # fmt: skip
        new = [digest for digest in some if digest not in known]
        portion = 50 if dialect.features.rows_of_values else 1
        for begin in range(0, len(new), portion):
            rows = [(digest, by_digest[digest]) for digest in new[begin : begin + portion]]
            _insert(session, table, owner, name, rows, reason, detail, at, at if again_at is None else again_at)
    return len(digests)


def _known(
    session: Session, dialect: Dialect, owner: str, name: str, digests: Sequence[str]
) -> dict[str, tuple[str, int]]:
    among, values = _among(digests)
    found = session.rows(
        f"select digest, reason, attempts from {dialect.ours('keys')} "
        f"where owner = :owner and name = :name and digest in ({among})",
        owner=owner, name=name, **values,
    )  # fmt: skip
    return {digest: (reason, int(attempts)) for digest, reason, attempts in found}


def _insert(
    session: Session, table: str, owner: str, name: str, keys: Sequence[tuple[str, str]], reason: str, detail: str,
    at: float, due: float,
) -> None:  # fmt: skip
    rows: list[str] = []
    values: dict[str, str] = {}
    for n, (digest, text) in enumerate(keys):
        rows.append(f"(:owner, :name, :d{n}, :k{n}, :reason, :detail, :at, :at, 0, :due)")
        values |= {f"d{n}": digest, f"k{n}": text}
    session.run(
        f"insert into {table} (owner, name, digest, key_values, reason, detail, since, last_at, attempts, next_try) "
        f"values {', '.join(rows)}",
        owner=owner, name=name, reason=reason, detail=detail, at=at, due=due, **values,
    )  # fmt: skip


def _among(digests: Sequence[str]) -> tuple[str, dict[str, str]]:
    return ", ".join(f":d{i}" for i in range(len(digests))), {f"d{i}": digest for i, digest in enumerate(digests)}


def due(session: Session, dialect: Dialect, owner: str, name: str, now: float, limit: int) -> list[Noted]:
    """Keys whose next try has come; those first whose time came first, so that each has its
    turn however many there are. Extras wait until the sweep releases them."""
    found = session.rows(
        f"select digest, key_values, reason, since, attempts from {dialect.ours('keys')} "
        "where owner = :owner and name = :name and next_try <= :now and reason <> 'extra' "
        f"order by next_try, digest {dialect.at_most(':limit')}",
        owner=owner, name=name, now=now, limit=limit,
    )  # fmt: skip
    return [
        Noted(digest, parse(key), reason, float(since), int(attempts)) for digest, key, reason, since, attempts in found
    ]


def waiting(session: Session, dialect: Dialect, owner: str) -> dict[str, dict[str, Waiting]]:
    """What is noted, by Reflection and reason: one question for all, and mostly the answer is nothing."""
    result: dict[str, dict[str, Waiting]] = {}
    for name, reason, count, next_try in session.rows(
        f"select name, reason, count(*), min(next_try) from {dialect.ours('keys')} where owner = :owner "
        "group by name, reason",
        owner=owner,
    ):
        result.setdefault(name, {})[reason] = Waiting(int(count), float(next_try))
    return result


def counts(session: Session, dialect: Dialect, owner: str) -> dict[str, dict[str, int]]:
    """How many keys are noted: by Reflection, then by reason."""
    found = waiting(session, dialect, owner)
    return {name: {reason: one.count for reason, one in by.items()} for name, by in found.items()}


def overdue(session: Session, dialect: Dialect, owner: str, name: str, before: float) -> tuple[int, str]:
    """How many keys have waited for their parent since before that time, and what is said of one of them."""
    count, detail = session.row(
        f"select count(*), max(detail) from {dialect.ours('keys')} "
        "where owner = :owner and name = :name and reason = 'parent' and since < :before",
        owner=owner, name=name, before=before,
    )  # fmt: skip
    return int(count), detail or ""


def bury(
    session: Session,
    dialect: Dialect,
    owner: str,
    name: str,
    before: float,
    detail: str,
    *,
    wait: float,
    at_most: float,
) -> int:
    """Make dead letters of keys that have waited for their parent since before that time; how many.

    Each is tried again in `wait` seconds, then in twice as many each time, `at_most` in the end: what it waits is what
    it has been overdue for, and needs no count of its own, for with every parent that comes it is tried as well.
    """
    waits = [wait]
    while waits[-1] < at_most:
        waits.append(min(at_most, waits[-1] * 2))
    at, count = time.time(), 0
    for next_wait in reversed(waits):
        count += session.run(
            f"update {dialect.ours('keys')} set reason = 'dead', detail = :detail, next_try = :due "
            "where owner = :owner and name = :name and reason = 'parent' and since < :before",
            owner=owner, name=name, detail=f"{PARENT_MISSING}: {detail}", due=at + next_wait,
            before=before - (next_wait if next_wait > wait else 0.0),
        )  # fmt: skip
    return count


def make_due(session: Session, dialect: Dialect, owner: str, name: str, reason: str, begins: str = "") -> int:
    """All keys noted for a reason (with a detail that begins so) are due now; how many were not."""
    only, values = (" and detail like :begins", {"begins": f"{begins}%"}) if begins else ("", {})
    return session.run(
        f"update {dialect.ours('keys')} set next_try = 0 "
        f"where owner = :owner and name = :name and reason = :reason and next_try <> 0{only}",
        owner=owner, name=name, reason=reason, **values,
    )  # fmt: skip


def noted_as(session: Session, dialect: Dialect, owner: str, name: str, reason: str, limit: int) -> list[Noted]:
    """Keys that are noted for a reason, due or not."""
    found = session.rows(
        f"select digest, key_values, reason, since, attempts from {dialect.ours('keys')} "
        "where owner = :owner and name = :name and reason = :reason "
        f"order by next_try, digest {dialect.at_most(':limit')}",
        owner=owner, name=name, reason=reason, limit=limit,
    )  # fmt: skip
    return [
        Noted(digest, parse(key), reason, float(since), int(attempts)) for digest, key, reason, since, attempts in found
    ]


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
        f"where owner = :owner and name = :name and reason = :reason order by digest {dialect.at_most(':limit')}",
        owner=owner, name=name, reason=reason, limit=limit,
    )  # fmt: skip
    return [(digest, detail or "") for digest, detail in found]


@dataclass(frozen=True, slots=True)
class Lot:
    """Keys of a Reflection that are noted for one reason, with one detail: how many, since when, tried how often."""

    reason: str
    detail: str
    count: int
    attempts: int
    since: float
    last: float
    next_try: float


def letters(session: Session, dialect: Dialect, owner: str, name: str, limit: int = 100) -> list[Lot]:
    """What is noted of a Reflection, by reason and detail, and not one key."""
    found = session.rows(
        f"select reason, detail, count(*), max(attempts), min(since), max(last_at), min(next_try) "
        f"from {dialect.ours('keys')} where owner = :owner and name = :name and reason <> :everything "
        f"group by reason, detail order by count(*) desc, reason, detail {dialect.at_most(':limit')}",
        owner=owner, name=name, everything=EVERYTHING, limit=limit,
    )  # fmt: skip
    return [
        Lot(reason, detail or "", int(count), int(attempts), float(since), float(last), float(next_try))
        for reason, detail, count, attempts, since, last, next_try in found
    ]


TRIED = "tried"
"""Of keys that the transaction at hand looks up: who is noted again keeps its first time, the others go."""


def attempt(session: Session, dialect: Dialect, owner: str, name: str, digests: Sequence[str]) -> None:
    """These keys are looked up in this transaction; before its commit they are noted again, or taken out (`TRIED`)."""
    for start in range(0, len(digests), _AT_ONCE):
        among, values = _among(digests[start : start + _AT_ONCE])
        session.run(
            f"update {dialect.ours('keys')} set reason = :tried "
            f"where owner = :owner and name = :name and digest in ({among})",
            owner=owner, name=name, tried=TRIED, **values,
        )  # fmt: skip


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
