"""A sweep reads a table again in key order: snapshot, resync, spec edits, source DDL and repair are all this.

The Reflection is apart from its stream while it sweeps, and each step is a turn of its own at one snapshot C: the
events since its position, and the next chunk of rows, both as C shows them, in one transaction that moves position and
cursor together. So a chunk is never written when the position is past the snapshot it was read at, and a restart goes
on from the cursor.

A row of the destination that the source lacks is never deleted because a sweep did not meet it: after the copy the
destination's keys are looked up at the source, those that are absent are counted, and only within the limit (or with a
person's word) do they go through the lookup of an ordinary turn.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pantograph import errors
from pantograph.dialects.base import verbatim
from pantograph.model.changes import Window
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import keys, steps, turn, writer
from pantograph.pipeline.checkpoints import State, Sweep
from pantograph.pipeline.turn import Group, Outcome, Route, Written

DELETE_LIMIT_ROWS = 1000
DELETE_LIMIT_SHARE = 0.2
"""Above both, a sweep deletes nothing until a person says how many may go (promise 10)."""


QUICK_CHUNK, SLOW_CHUNK, LARGEST_STRIDE = 2.0, 10.0, 32
"""A chunk is `batchRows` times the stride. A snapshot of ours stays open for seconds, never for minutes."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What a new sweep is to do: why, and whether the table was found empty."""

    reason: str
    virgin: bool
    estimated: int
    shaping: str
    table: str
    resync_token: str
    keep: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)


def begin(route: Route, group: Group, how: Begun) -> None:
    """Write down that a sweep begins. The position stays: events since then are applied beside the chunks."""

    def change(state: State) -> State:
        sweep = Sweep(
            "copy", how.reason, virgin=how.virgin, keep=how.keep, estimated=how.estimated, began_at=route.clock()
        )
        return dataclasses.replace(
            state,
            sweep=sweep,
            page=None,
            # Positions of another life say nothing of what may be deleted in this one.
            nonces=[] if how.reason == "PositionLost" else state.nonces,
            in_step=False,
            complete=state.complete and how.reason != "Snapshot",
            shaping=how.shaping,
            fingerprint=group.mirrors[0].fingerprint,
            columns=dict(how.columns),
            table=how.table,
            resync_token=how.resync_token,
            incarnation=route.incarnation,
            life=route.life,
            destination=list(group.mirrors[0].destination),
            key=[column.destination for column in group.mirrors[0].key],
            waits=group.mirrors[0].missing_row == "Wait",
        )

    turn.touch(route, group, change)


def step(route: Route, group: Group, due: list[keys.Noted], allowed: int | None) -> Outcome:
    """The sweep's next step. `allowed`: how many deletes a person has allowed for this Reflection, or None."""
    sweep = group.checkpoint.state.sweep
    assert sweep is not None
    if sweep.phase == "copy":
        return _chunk(route, group, sweep)
    if sweep.phase == "extras":
        return _extras(route, group, sweep)
    return _held(route, group, sweep, due, allowed)


def _chunk(route: Route, group: Group, sweep: Sweep) -> Outcome:
    (mirror,) = group.mirrors
    source, target = route.source, route.target
    began = time.perf_counter()
    with turn.snapshot(route, [group.read]) as (until, _):
        turn.check_retention(route, group, group.read, until)
        after = keys.parse(sweep.cursor) if sweep.cursor else ()
        events, oldest = 0, 0.0
        truncated = False
        if group.read:
            with route.reader.step(steps.COUNT_EVENTS):
                found = route.windows.pending(
                    route.reader, {mirror.capture.id: group.read}, until, route.limits.transaction_rows + 1
                ).get(mirror.capture.id)
            if found:
                events, truncated, oldest = found[0].events, found[0].truncated, found[1]
        bound = _bind(route, mirror, after, "a")
        with route.reader.step(steps.READ_ROWS):
            size = route.limits.rows * group.stride
            size = min(size, route.limits.chunk_rows or size)
            end = route.reader.row(source.chunk_end(mirror, after=bool(after)), skip=size - 1, **bound)
        upto = _decoded(route, mirror, end) if end is not None else ()
        with route.writer.step(steps.BEGIN):
            route.writer.begin()
        session = route.writer
        try:
            jobs: list[writer.Job] = []
            with route.reader.step(steps.STAGE_ROWS), session.step(steps.STAGE_ROWS):
                if events:
                    # Rows beyond the cursor are not there yet on a first copy, so that chunks can be plain inserts;
                    # otherwise they are written early, which the chunk that comes to them repeats without harm.
                    limited = sweep.virgin
                    sql, params = route.windows.keys(mirror.capture, Window(group.read, until), columns=mirror.lookup)
                    if limited and not after:
                        jobs = []
                    else:
                        if limited:
                            params = {**params, **_bind(route, mirror, after, "b")}
                        changes = source.changes(mirror, sql, upto=limited)
                        jobs = [_job(route, mirror, changes, params, events)]
            state = dataclasses.replace(
                group.checkpoint.state,
                sweep=_next(sweep, upto, 0),
                image=False,
                image_reason=f"sweeping ({sweep.reason})",
            )
            # The checkpoint is moved first: its lock is what decides between two reflectors, before rows are written.
            with session.step(steps.MOVE_CHECKPOINT):
                moved = turn.move(route, group.checkpoint, until, state)
            if truncated:
                with session.step(steps.DELETE):
                    writer.empty(session, target, mirror)
            written = writer.apply(session, target, route.owner, jobs, careful=route.careful) if jobs else {}
            with route.reader.step(steps.STAGE_ROWS), session.step(steps.STAGE_ROWS):
                sql = source.chunk(mirror, after=bool(after), upto=bool(upto))
                params = {**bound, **_bind(route, mirror, upto, "b")}
                chunk = _job(route, mirror, sql, params, 0, direct=sweep.virgin)
            turn.check_shapes(route, [mirror])
            with route.reader.step(steps.CLOSE_SNAPSHOT):
                route.reader.commit()
            if not sweep.virgin:
                counts = writer.apply(
                    session, target, route.owner, [chunk], only="upsert", careful=route.careful
                )[mirror.name]  # fmt: skip
            else:
                counts = writer.Counts(upserted=chunk.staged.rows)
            writer.commit(session, [chunk])
        except errors.Rejected as error:
            session.rollback()
            if not sweep.virgin:
                raise writer.MirrorRejected(mirror, error) from error
            # Somebody else wrote into the table, or a parent is missing: go on with upserts, which can cope.
            turn.touch(route, group, lambda s: dataclasses.replace(s, sweep=dataclasses.replace(sweep, virgin=False)))
            return Outcome("page", more=True)
        except BaseException:
            session.rollback()
            raise
    route.careful.discard(mirror.name)
    # The count of rows is known only now; the next move writes it.
    moved.state = dataclasses.replace(state, sweep=_next(sweep, upto, chunk.staged.rows))
    group.checkpoint, group.read = moved, until
    if not upto:
        if sweep.virgin or sweep.keep:
            finish(route, group)
        else:
            turn.touch(route, group, lambda s: dataclasses.replace(s, sweep=_phase(s.sweep, "extras")))
    # Larger steps while they are quick: a chunk costs a commit, and repeats as a whole after a crash.
    seconds = time.perf_counter() - began
    if seconds < QUICK_CHUNK and group.stride < LARGEST_STRIDE:
        group.stride *= 2
    elif seconds > SLOW_CHUNK and group.stride > 1:
        group.stride //= 2
    applied = written.get(mirror.name, writer.Counts())
    return Outcome(
        "page",
        {
            mirror.name: Written(
                counts.upserted + applied.upserted,
                applied.deleted,
                events,
                counts.parked + applied.parked,
                counts.refused + applied.refused,
            )
        },
        {"read": seconds},
        oldest,
        until,
        more=True,
        swept=chunk.staged.rows,
    )


def _job(
    route: Route, mirror: Mirror, sql: str, params: dict[str, Any], events: int, *, direct: bool = False
) -> writer.Job:
    """Rows of a SELECT in a stage; where the last attempt failed, those that fit there. direct: in the table itself."""
    if direct or mirror.name not in route.careful:
        return writer.Job(mirror, turn.stage(route, mirror, sql, params, direct=direct), False, events)
    staged, refused = turn.stage_what_fits(route, mirror, sql, params)
    return writer.Job(mirror, staged, False, events, refused)


def _next(sweep: Sweep, upto: keys.Key, count: int) -> Sweep:
    return dataclasses.replace(sweep, cursor=keys.dump(upto) if upto else sweep.cursor, rows=sweep.rows + count)


def _phase(sweep: Sweep | None, phase: str, **changes: Any) -> Sweep:
    assert sweep is not None
    return dataclasses.replace(sweep, phase=phase, cursor="", **changes)


def _bind(route: Route, mirror: Mirror, key: keys.Key, letter: str) -> dict[str, Any]:
    encoders = [route.source.encode(column.source_type) for column in mirror.walked]
    return {f"{letter}{i}": encoders[i](v) if encoders[i] else v for i, v in enumerate(key)}  # type: ignore[misc]


def _decoded(route: Route, mirror: Mirror, row: tuple[Any, ...]) -> keys.Key:
    (key,) = keys.decoded(route.source, [column.source_type for column in mirror.walked], [row])
    return key


def _extras(route: Route, group: Group, sweep: Sweep) -> Outcome:
    """Look the destination's next keys up at the source, and note those that are absent there."""
    (mirror,) = group.mirrors
    session, target = route.writer, route.target
    names = [target.quote(column.destination) for column in mirror.key]
    after = keys.parse(sweep.cursor) if sweep.cursor else ()
    encoders = [target.encode(column.destination_type) for column in mirror.key]
    bound = {f"a{i}": e(v) if e is not None else v for i, (e, v) in enumerate(zip(encoders, after, strict=False))}
    values = [target.typed(f":a{i}", column.destination_native) for i, column in enumerate(mirror.key)]
    conditions = [target.beyond(names, values)] if after else []
    own = target.own_rows(mirror)
    conditions += [verbatim(own)] if own else []
    where = f" where {' and '.join(conditions)}" if conditions else ""
    limit = route.source.most_given_keys
    with session.step(steps.INSPECT):
        found = session.rows(
            f"select {', '.join(names)} from {target.table(*mirror.destination)}{where} "
            f"order by {', '.join(names)} {target.at_most(':limit')}",
            limit=limit, **bound,
        )  # fmt: skip
    held = keys.decoded(target, [column.destination_type for column in mirror.key], found)
    if not held:
        return _decide(route, group, sweep)
    with turn.snapshot(route, [group.read]), route.reader.step(steps.READ_ROWS):
        sql, params = route.source.given_keys(route.reader, mirror, held)
        absent = [
            row[1 : 1 + len(names)]
            for batch in turn.rows(route, mirror, route.source.changes(mirror, sql), params)
            for row in batch
            if not row[0]
        ]
    sweep = dataclasses.replace(
        sweep, cursor=keys.dump(held[-1]), owned=sweep.owned + len(held), extras=sweep.extras + len(absent)
    )
    try:
        with session.step(steps.BEGIN):
            session.begin()
        with session.step(steps.MOVE_CHECKPOINT):
            state = dataclasses.replace(group.checkpoint.state, sweep=sweep)
            moved = turn.move(route, group.checkpoint, group.read, state)
        with session.step(steps.NOTE_KEYS):
            keys.note(session, target, route.owner, mirror.name, absent, "extra")
        with session.step(steps.COMMIT):
            session.commit()
    except BaseException:
        session.rollback()
        raise
    group.checkpoint = moved
    return Outcome("page", more=True, swept=len(held))


def _decide(route: Route, group: Group, sweep: Sweep) -> Outcome:
    """All of the destination's keys have been looked up: are there too many to delete without a person's word?"""
    (mirror,) = group.mirrors
    too_many = sweep.extras > DELETE_LIMIT_ROWS and sweep.extras > DELETE_LIMIT_SHARE * sweep.owned
    emptied = sweep.rows == 0 and sweep.extras > 0
    if sweep.extras and (too_many or emptied or sweep.reason == "PositionLost"):
        turn.touch(route, group, lambda s: dataclasses.replace(s, sweep=_phase(sweep, "held")))
        return Outcome("page", more=False)
    _release(route, mirror, to="sweep")
    finish(route, group)
    return Outcome("page", more=True)


def _held(route: Route, group: Group, sweep: Sweep, due: list[keys.Noted], allowed: int | None) -> Outcome:
    """Wait for the annotation; events go on being applied."""
    (mirror,) = group.mirrors
    if allowed is not None and allowed >= sweep.extras:
        _release(route, mirror, to="sweep")
        finish(route, group)
        return Outcome("page", more=True)
    return turn.take(route, group, due={mirror.name: due} if due else None)


def _release(route: Route, mirror: Mirror, *, to: str | None) -> None:
    session = route.writer
    try:
        with session.step(steps.BEGIN):
            session.begin()
        with session.step(steps.NOTE_KEYS):
            keys.release(session, route.target, route.owner, mirror.name, "extra", to=to)
        with session.step(steps.COMMIT):
            session.commit()
    except BaseException:
        session.rollback()
        raise


def finish(route: Route, group: Group) -> None:
    """The sweep is done; the Reflection may join its stream."""
    torn = route.source.no_image(route.reader)
    turn.touch(
        route,
        group,
        lambda s: turn.imaged(dataclasses.replace(s, sweep=None, complete=True), route.clock(), torn=torn),
    )
