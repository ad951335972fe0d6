"""The fence: does a checkpoint still mean something in the source that is there now?

Once a minute and at every connect a nonce is written into the source, durably; the checkpoint notes it together with a
position that was taken *before* the nonce was committed. A source that still holds the nonce therefore holds everything
up to that position, whatever it lost behind it (a crash with `synchronous_commit = off`, a failover to a replica that
was behind). So going back to the newest nonce that both sides know, and reading again, loses nothing.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pantograph import errors
from pantograph.dialects.base import Dialect, Session
from pantograph.model.changes import FORMAT, Control, Position
from pantograph.pipeline.checkpoints import State

KEPT_NONCES = 10
ADOPTED = "(adopted)"
"""The name of the registration that an owner before us leaves behind."""


@dataclass(frozen=True, slots=True)
class InStep:
    """Go on from where the checkpoint stands."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Go back to `position`, read again, and verify behind it."""

    position: Position


@dataclass(frozen=True, slots=True)
class Lost:
    """The source cannot tell what happened since; `reason` is a sentence."""

    reason: str


Verdict = InStep | Moved | Lost


def judge(
    state: State,
    position: Position,
    control: Control | None,
    life: str,
    *,
    issued: bool,
    covered: Callable[[Position], bool],
) -> Verdict:
    """What the source's control row and the server's life say about a checkpoint at `position`.

    covered: has a position read everything that retention took?
    """
    if control is None:
        return Lost("the source holds no control row of ours")
    if not control.genuine:
        return Lost("the source was made from a logical copy of another database")
    if state.incarnation and state.incarnation != control.incarnation:
        return Lost("capture in the source has begun a new life since (its lease ended, or it was installed again)")
    if not covered(position):
        return Lost(_RETENTION)
    known = [back for nonce, back in state.nonces if nonce in control.nonces]
    there = not state.nonces or state.nonces[-1][0] in control.nonces
    # A checkpoint that has not moved for long (its destination was away) holds nonces that were followed by others;
    # the newest that it had registered is kept for it. A source that went back is one that has not come so far.
    followed = bool(known) and bool(control.nonces) and _number(state.nonces[-1][0]) < _number(control.nonces[-1])
    if state.life in ("", life) and issued and (there or followed):
        return InStep()
    if known:
        return Moved(Position(known[-1])) if covered(Position(known[-1])) else Lost(_RETENTION)
    if not state.nonces and issued:
        return InStep()
    return Lost(
        "the source holds none of the nonces that were written into it: it went back in time, or is another one"
    )


_RETENTION = "events that were not read yet went beyond retention"


def _number(nonce: str) -> int:
    """How many nonces were written before this one."""
    return int(nonce.partition("-")[0])


def found(session: Session, dialect: Dialect, owner: str, lease: float, *, adopt: bool) -> Control:
    """Make sure that the source has a control row and that it is ours; the row as it is then.

    Raises `CaptureOwned` when it is another owner's and `adopt` is not given. Adopting raises the epoch, so that
    whoever held it before stops.
    """
    table = dialect.ours("control")
    row = dialect.control(session)
    if row is None:
        session.run(
            f"insert into {table} (id, format, incarnation, owner, epoch, nonces, nonce_at, stamp) "
            f"values (1, :format, :incarnation, :owner, 1, '[]', 0, {dialect.stamp})",
            format=FORMAT, incarnation=str(uuid.uuid4()), owner=owner,
        )  # fmt: skip
        session.run(f"insert into {dialect.ours('lease')} (id, until) values (1, {_later(dialect)})", lease=int(lease))
        dialect.lease_renewed(session, int(lease))
    elif row.owner != owner and adopt:
        # Remembered until its checkpoints have been taken along, whatever happens in between.
        register(session, dialect, row.owner, ADOPTED, "", "")
        session.run(
            f"update {table} set owner = :owner, epoch = epoch + 1, incarnation = :incarnation, "
            f"stamp = {dialect.stamp} where id = 1",
            owner=owner,
            incarnation=row.incarnation if row.genuine else str(uuid.uuid4()),
        )
    elif row.owner != owner:
        raise errors.CaptureOwned(
            f"capture in {dialect.address.label} belongs to {row.owner!r}, not to {owner!r}; "
            "stop that one and adopt its capture (run --adopt; in a cluster the annotation "
            'pantograph.dev/adopt: "true" of the Database), or use another captureSchema'
        )
    if session.row(f"select 1 from {dialect.ours('lease')} where id = 1") is None:
        # Whoever made the control row died before this one. Its lease is over, so that capture begins a new life.
        session.run(f"insert into {dialect.ours('lease')} (id, until) values (1, 1)")
    after = dialect.control(session)
    assert after is not None
    return after


def check(control: Control | None, owner: str, epoch: int, incarnation: str) -> Control:
    """What every window asks of the control row in its own snapshot.

    Raises `CaptureOwned` when another has adopted it, `PositionLost` when it is another life.
    """
    if control is None:
        raise errors.PositionLost("the source holds no control row of ours any more")
    if control.owner != owner or control.epoch > epoch:
        raise errors.CaptureOwned(f"capture was adopted by {control.owner!r} (epoch {control.epoch}); this one stops")
    if control.incarnation != incarnation:
        raise errors.PositionLost("capture in the source has begun a new life")
    return control


def advance(
    session: Session, dialect: Dialect, owner: str, lease: float, registrations: Mapping[str, tuple[str, str, str]]
) -> tuple[str, Control]:
    """One durable transaction: a new nonce, the lease renewed, what is still needed registered.

    registrations: Reflection name to (capture id, oldest position it might go back to, newest nonce that its checkpoint
    holds). The last ten nonces are kept, and those that somebody has registered. Returns the nonce and the
    control row. An expired lease begins another incarnation: events were not noted while it was over.
    """
    control_table, lease_table = dialect.ours("control"), dialect.ours("lease")
    session.begin()
    dialect.write_durably(session)
    before = dialect.control(session)
    if before is None:
        raise errors.PositionLost("the source holds no control row of ours any more")
    if before.owner != owner:
        raise errors.CaptureOwned(f"capture was adopted by {before.owner!r}; this one stops")
    # This write makes the row genuine, so that it came out of a dump must be said by its incarnation from now on.
    goes_on = before.lease > 0 and before.genuine
    incarnation = before.incarnation if goes_on else str(uuid.uuid4())
    for name, (capture, position, held) in registrations.items():
        register(session, dialect, owner, name, capture, position, held)
    needed = {row[0] for row in session.rows(f"select nonce from {dialect.ours('registrations')}")}
    number = _number(before.nonces[-1]) + 1 if before.nonces else 1
    nonce = f"{number:010d}-{uuid.uuid4().hex[:12]}"
    recent = before.nonces[-(KEPT_NONCES - 1) :]
    # Those of an earlier life stand for positions that mean nothing now.
    kept = [one for one in before.nonces if one in recent or one in needed] if goes_on else []
    nonces = [*kept, nonce]
    session.run(
        f"update {control_table} set nonces = :nonces, nonce_at = {dialect.now()}, incarnation = :incarnation, "
        f"stamp = {dialect.stamp} where id = 1",
        nonces=json.dumps(nonces), incarnation=incarnation,
    )  # fmt: skip
    session.run(f"update {lease_table} set until = {_later(dialect)} where id = 1", lease=int(lease))
    dialect.lease_renewed(session, int(lease))
    after = dialect.control(session)
    session.commit()
    assert after is not None
    return nonce, after


def register(
    session: Session, dialect: Dialect, owner: str, name: str, capture: str, position: str, nonce: str = ""
) -> None:
    """Say in the source that a Reflection still needs every event beyond `position`, and its newest nonce."""
    # A reserved word on Firebird.
    table, position_ = dialect.ours("registrations"), dialect.quote("position")
    touched = session.run(
        f"update {table} set capture = :capture, {position_} = :position, nonce = :nonce, seen_at = :at "
        "where owner = :owner and name = :name",
        owner=owner, name=name, capture=capture, position=position, nonce=nonce, at=time.time(),
    )  # fmt: skip
    if not touched:
        session.run(
            f"insert into {table} (owner, name, capture, {position_}, nonce, seen_at) "
            "values (:owner, :name, :capture, :position, :nonce, :at)",
            owner=owner, name=name, capture=capture, position=position, nonce=nonce, at=time.time(),
        )  # fmt: skip


def adopt_registrations(session: Session, dialect: Dialect, owner: str) -> None:
    """Registrations of owners before us are ours now; those that we have under the same name stay as they are."""
    table = dialect.ours("registrations")
    session.run(
        f"update {table} set owner = :owner where owner <> :owner and name not in "
        f"(select known.name from (select name from {table} where owner = :owner) known)",
        owner=owner,
    )
    session.run(f"delete from {table} where owner <> :owner or name = :mark", owner=owner, mark=ADOPTED)


def unregister(session: Session, dialect: Dialect, owner: str, name: str) -> None:
    """A Reflection was deleted: nobody needs events for it any more."""
    session.run(
        f"delete from {dialect.ours('registrations')} where owner = :owner and name = :name", owner=owner, name=name
    )


def _later(dialect: Dialect) -> str:
    # The lease is whole seconds: triggers compare it on every statement, and integers compare fastest.
    return f"cast({dialect.now()} as {dialect.meta_integer}) + :lease"
