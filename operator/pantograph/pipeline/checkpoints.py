"""Checkpoints: how far a stream, or a Reflection that is apart from its stream, has got. They live in the destination.

A checkpoint moves in the transaction that writes the rows. It moves by compare-and-set on its version, so of two
reflectors that read the same position one finds that it came too late (`StaleCheckpoint`) and rolls back.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pantograph import errors
from pantograph.dialects.base import Dialect, MetaTable, Session
from pantograph.model.changes import FORMAT, NOWHERE, Position, refuse_newer

TABLES: tuple[MetaTable, ...] = (
    # state is the JSON of `State`. name is `stream/<name>` or `reflection/<namespace>/<name>`.
    MetaTable(
        "checkpoints",
        (
            ("owner", "name"),
            ("name", "name"),
            ("version", "bigint"),
            ("epoch", "bigint"),
            ("position", "text"),
            ("state", "text"),
            ("moved_at", "real"),
        ),
        ("owner", "name"),
    ),
    # Keys of Reflections that must be looked up again although no event says so, and dead letters. digest is of
    # key_values, which is the JSON of the canonical values. since and last_at: when first and last noted.
    MetaTable(
        "keys",
        (
            ("owner", "name"),
            ("name", "name"),
            ("digest", "name"),
            ("key_values", "text"),
            ("reason", "name"),
            ("detail", "text"),
            ("since", "real"),
            ("last_at", "real"),
            ("attempts", "bigint"),
            ("next_try", "real"),
        ),
        ("owner", "name", "digest"),
    ),
)


@dataclass
class Page:
    """Where a window above `maxTransactionRows` stands: the target is fixed, the cursor is (phase, mirror, event)."""

    target: str
    phase: str  # "truncate" | "upsert" | "delete"
    mirror: str
    after: int = 0


@dataclass
class Sweep:
    """Where a sweep stands. cursor: canonical key values as JSON can hold them (`keys.dump`); "" at the start.

    virgin: the table was empty when this sweep began, so chunks may be plain inserts. keep: rows that the source lacks
    stay (`existing: Keep`).
    """

    phase: str  # "copy" | "extras" | "held"
    reason: str = "Snapshot"
    cursor: str = ""
    rows: int = 0
    estimated: int = 0
    virgin: bool = False
    keep: bool = False
    owned: int = 0
    extras: int = 0
    began_at: float = 0.0


@dataclass
class Verified:
    """When a comparison is due, and what the last one found: when, of how many rows, how many differed, how many of
    these were repaired. Times are seconds since the epoch."""

    due: float
    at: float = 0.0
    rows: int = 0
    differing: int = 0
    repaired: int = 0


@dataclass
class State:
    """What a checkpoint knows beside its position.

    nonces: (nonce, position) pairs, oldest first, each position taken before its nonce was committed. life: of the
    source's server. suspect: the source moved, and what it lost has not been looked for yet. table: identity of the
    destination table. shaping: a hash of all that decides what a row looks like; another one means a sweep.
    fingerprint: of the source table then; another one means a sweep, for DDL may have changed values with no event.
    in_step: a Reflection that moves with its stream has no position of its own. stream: the name of that stream's
    checkpoint. columns: the source's columns that were copied, with their types then. destination, key: the table and
    the columns that find a row. waits: for rows that others insert.
    """

    incarnation: str = ""
    life: str = ""
    nonces: list[tuple[str, str]] = field(default_factory=list)
    image: bool = True
    image_at: float = 0.0
    image_reason: str = ""
    suspect: bool = False
    page: Page | None = None
    sweep: Sweep | None = None
    verified: Verified | None = None
    in_step: bool = False
    stream: str = ""
    complete: bool = False
    table: str = ""
    shaping: str = ""
    fingerprint: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    resync_token: str = ""
    destination: list[str] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    waits: bool = False

    def dump(self) -> str:
        """JSON with its format, without what has its default value: 200 checkpoints stay small."""
        default = State()
        values = {name: value for name, value in dataclasses.asdict(self).items() if value != getattr(default, name)}
        return json.dumps({"format": FORMAT, **values}, separators=(",", ":"))

    @staticmethod
    def parse(text: str) -> State:
        """The state of `dump`; fields that we do not know, of a newer version in the same format, are left out.

        Raises `NewerVersion`. A state that says no format is of the first one.
        """
        values: dict[str, Any] = json.loads(text or "{}")
        refuse_newer(values.get("format", 1), "a checkpoint")
        known = {f.name for f in dataclasses.fields(State)}
        values = {name: value for name, value in values.items() if name in known}
        values["nonces"] = [tuple(pair) for pair in values.get("nonces", [])]
        for name, kind in (("page", Page), ("sweep", Sweep), ("verified", Verified)):
            if values.get(name):
                fields = {f.name for f in dataclasses.fields(kind)}
                values[name] = kind(**{k: v for k, v in values[name].items() if k in fields})
        return State(**values)


@dataclass
class Checkpoint:
    """One row. version 0: it is not in the destination yet."""

    owner: str
    name: str
    version: int = 0
    epoch: int = 0
    position: Position = NOWHERE
    state: State = field(default_factory=State)


def load(session: Session, dialect: Dialect, owner: str, names: Sequence[str] = ()) -> dict[str, Checkpoint]:
    """All checkpoints of an owner, or those of some names, by name; as one moment shows them."""
    among = f" and name in ({', '.join(f':n{i}' for i in range(len(names)))})" if names else ""
    found = session.rows(
        f"select name, version, epoch, {dialect.quote('position')}, state from {dialect.ours('checkpoints')} "
        f"where owner = :owner{among}",
        owner=owner,
        **{f"n{i}": name for i, name in enumerate(names)},
    )
    return {
        name: Checkpoint(owner, name, int(version), int(epoch), Position(position), State.parse(state))
        for name, version, epoch, position, state in found
    }


def move(session: Session, dialect: Dialect, checkpoint: Checkpoint, position: Position, state: State) -> Checkpoint:
    """Write a checkpoint by compare-and-set; the one that is there then. Takes its row's lock until the commit.

    Raises `StaleCheckpoint` when another reflector moved it, or holds a higher epoch.
    """
    moved = dataclasses.replace(checkpoint, version=checkpoint.version + 1, position=position, state=state)
    values = {
        "owner": moved.owner,
        "name": moved.name,
        "version": moved.version,
        "epoch": moved.epoch,
        "position": position,
        "state": state.dump(),
        "at": time.time(),
    }
    # A reserved word on Firebird.
    table, position_ = dialect.ours("checkpoints"), dialect.quote("position")
    if checkpoint.version == 0:
        try:
            session.run(
                f"insert into {table} (owner, name, version, epoch, {position_}, state, moved_at) "
                "values (:owner, :name, :version, :epoch, :position, :state, :at)",
                **values,
            )
        except errors.Rejected as error:
            if error.kind != "unique":
                raise
            raise errors.StaleCheckpoint(f"another reflector made the checkpoint {moved.name} first") from error
        return moved
    touched = session.run(
        f"update {table} set version = :version, epoch = :epoch, {position_} = :position, state = :state, "
        "moved_at = :at where owner = :owner and name = :name and version = :before and epoch <= :epoch",
        before=checkpoint.version,
        **values,
    )
    if touched != 1:
        raise errors.StaleCheckpoint(f"another reflector moved the checkpoint {moved.name}; reading again from there")
    return moved


def adopt(session: Session, dialect: Dialect, before: str, owner: str) -> None:
    """Take over what another owner's checkpoints and noted keys say, so that nothing is copied again.

    Where this owner has a checkpoint of the same name, that one stays: it knows more.
    """
    for table, key in (("checkpoints", "name"), ("keys", "digest")):
        ours = dialect.ours(table)
        # The list in a subquery of its own: MariaDB refuses to update a table that it reads beside.
        session.run(
            f"update {ours} set owner = :owner where owner = :before and {key} not in "
            f"(select known.{key} from (select {key} from {ours} where owner = :owner) known)",
            owner=owner, before=before,
        )  # fmt: skip


def forget(session: Session, dialect: Dialect, owner: str, name: str) -> None:
    """Delete a checkpoint and the keys noted under its name."""
    session.run(
        f"delete from {dialect.ours('checkpoints')} where owner = :owner and name = :name", owner=owner, name=name
    )
    session.run(f"delete from {dialect.ours('keys')} where owner = :owner and name = :name", owner=owner, name=name)
