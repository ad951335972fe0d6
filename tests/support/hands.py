"""A reflector that is moved by hand: no threads, no clock, one step when it is told to.

It does what the process does with the pipeline's own functions, so that a test can say which step comes next, and where
the process dies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterable
from typing import Any

from pantograph import dialects, errors
from pantograph.apply import prepare
from pantograph.apply.prepare import Ready, checkpoint_name
from pantograph.apply.sources import Wanted
from pantograph.database import sessions
from pantograph.database.sessions import Session
from pantograph.dialects.base import Role
from pantograph.model.changes import Position
from pantograph.pipeline import checkpoints, keys, steps, sweep, turn
from pantograph.pipeline.checkpoints import Checkpoint
from pantograph.pipeline.turn import Group, Limits, Route
from pantograph.reflector import streams

RETRIED = (errors.StaleCheckpoint, errors.Contended)


class Died(BaseException):
    """Where the process would have been killed."""


@contextlib.contextmanager
def dying(after: int) -> Any:
    """Whatever happens in here dies at the seam of this number."""
    left = [after]

    def hook(step: str, when: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Died

    remove = sessions.add_hook(hook)
    try:
        yield
    finally:
        remove()


class Hand:
    """One life of a reflector of one source Database and one destination."""

    def __init__(self, wanted: Wanted, limits: Limits, *, looks_at_keys: bool = False) -> None:
        self.wanted, self._looks_at_keys = wanted, looks_at_keys
        self._replaced: set[str] = set()
        source = dialects.load(wanted.address)
        ((address, copies),) = wanted.copies.values()
        target = dialects.load(address)
        report = prepare.Report()
        admin, there = Session(source, Role.ADMIN), Session(target, Role.ADMIN)
        try:
            captured, control = prepare.source(
                admin, source, wanted.owner, wanted.tables, report, lease=wanted.lease, patience=0.0
            )
            assert control is not None
            with admin.step(steps.INSPECT):
                life = source.server(admin).life
            self.ready: dict[str, Ready] = prepare.copies(there, target, source, wanted.owner, copies, captured, report)
        finally:
            admin.close()
            there.close()
        assert not report.failed, report.failed
        captures = [one.capture for one in captured.values()]
        self.route = Route(
            owner=wanted.owner, epoch=control.epoch, incarnation=control.incarnation, life=life, source=source,
            target=target, reader=Session(source, Role.READER), writer=Session(target, Role.WRITER),
            side=Session(source, Role.SIDE), side_lock=threading.RLock(), windows=source.reader(captures),
            limits=limits,
        )  # fmt: skip
        self.load()

    def load(self) -> None:
        """Begin from what the checkpoints say."""
        route = self.route
        with route.writer.step(steps.LOAD_CHECKPOINTS):
            known = checkpoints.load(route.writer, route.target, route.owner)
        any_ready = next(iter(self.ready.values()))
        name = streams.stream_name(any_ready)
        self.stream = Group(known.get(name) or Checkpoint(route.owner, name), [])
        self.apart: dict[str, Group] = {}
        for reflection, ready in self.ready.items():
            checkpoint = known.get(checkpoint_name(reflection))
            if checkpoint is not None and checkpoint.state.in_step and not streams.why_sweep(checkpoint, ready):
                self.stream.mirrors.append(ready.mirror)
                continue
            checkpoint = checkpoint or Checkpoint(route.owner, checkpoint_name(reflection))
            group = self.apart[reflection] = Group(checkpoint, [ready.mirror])
            if checkpoint.state.in_step:
                group.read = self.stream.read
                self.stream.checkpoint = turn.touch_apart(route, group, self.stream.checkpoint)

    def close(self) -> None:
        for session in (self.route.reader, self.route.writer, self.route.side):
            session.close()

    @property
    def joined(self) -> bool:
        return not self.apart

    def step(self, reflection: str) -> None:
        """The next step of this Reflection: of its sweep, of its way to the stream, or of the stream it is in."""
        if reflection in self._replaced and self.stream.checkpoint.state.page is None:
            self._copy_again(reflection)
            return
        group = self.apart.get(reflection)
        if group is None:
            self._turn([])
            return
        ready = self.ready[reflection]
        reason = streams.why_sweep(group.checkpoint, ready)
        if reason and group.sweep is None:
            plain = not ready.mirror.references and ready.mirror.missing_row == "Insert"
            virgin = ready.empty and reason == "Snapshot" and plain
            keep = ready.mirror.on_delete == "Ignore"
            begun = sweep.Begun(reason, virgin, 0, ready.shaping, ready.table, ready.wanted.resync_token, keep=keep)
            sweep.begin(self.route, group, begun)
        elif group.sweep is not None:
            sweep.step(self.route, group, self._due([reflection]).get(reflection, []), ready.wanted.allowed_deletes)
        else:
            self._turn([(reflection, group)])

    def _due(self, names: Iterable[str]) -> dict[str, list[keys.Noted]]:
        if not self._looks_at_keys:
            return {}
        session, target, owner = self.route.writer, self.route.target, self.route.owner
        with session.step(steps.NOTE_KEYS):
            found = {
                name: keys.due(session, target, owner, name, time.time(), self.route.source.most_given_keys)
                for name in names
            }
        self._replaced |= {name for name, noted in found.items() if any(n.reason == keys.EVERYTHING for n in noted)}
        found = {name: [one for one in noted if one.reason != keys.EVERYTHING] for name, noted in found.items()}
        return {name: noted for name, noted in found.items() if noted}

    def _copy_again(self, reflection: str) -> None:
        """All of its rows went with those of another: it leaves its stream, if it is there, and is swept."""
        route, ready = self.route, self.ready[reflection]
        group = self.apart.get(reflection) or self.part(reflection)
        begun = sweep.Begun(
            streams.ROWS_REPLACED, False, 0, ready.shaping, ready.table, ready.wanted.resync_token,
            keep=ready.mirror.on_delete == "Ignore",
        )  # fmt: skip
        sweep.begin(route, group, begun)
        with route.writer.step(steps.NOTE_KEYS):
            route.writer.begin()
            keys.release(route.writer, route.target, route.owner, reflection, keys.EVERYTHING, to=None)
        with route.writer.step(steps.COMMIT):
            route.writer.commit()
        self._replaced.discard(reflection)

    def part(self, reflection: str) -> Group:
        """It leaves its stream."""
        route, mirror = self.route, self.ready[reflection].mirror
        with route.writer.step(steps.LOAD_CHECKPOINTS):
            known = checkpoints.load(route.writer, route.target, route.owner)
        group = self.apart[reflection] = Group(known[checkpoint_name(reflection)], [mirror], read=self.stream.read)
        self.stream.checkpoint = turn.touch_apart(route, group, self.stream.checkpoint)
        self.stream.mirrors = [each for each in self.stream.mirrors if each.name != mirror.name]
        return group

    def idle(self) -> bool:
        """A turn of each stream that is in step, keys included: did it change nothing?"""
        if not self.joined or self._replaced or self.stream.checkpoint.state.page is not None:
            for reflection in self.ready:
                self.step(reflection)
            return False
        outcome = turn.take(self.route, self.stream, due=self._due(mirror.name for mirror in self.stream.mirrors))
        return outcome.kind == "empty" or (
            outcome.kind == "applied" and not any(w.upserted or w.deleted for w in outcome.written.values())
        )

    def _turn(self, joiners: list[tuple[str, Group]]) -> None:
        if not self.stream.mirrors and joiners:
            first = joiners[0][1]
            self.stream.read = first.read
            state = dataclasses.replace(self.stream.checkpoint.state, nonces=first.checkpoint.state.nonces, page=None)
            self.stream.checkpoint = dataclasses.replace(self.stream.checkpoint, state=state)
        due = self._due(mirror.name for mirror in self.stream.mirrors)
        turn.take(self.route, self.stream, [group for _, group in joiners], due)
        for reflection, group in joiners:
            if group.checkpoint.state.in_step:
                self.stream.mirrors.append(self.ready[reflection].mirror)
                del self.apart[reflection]

    def settle(self, most: int = 400) -> None:
        """Until all are in their stream and nothing is left to read. The source must be quiet."""
        for _ in range(most):
            for reflection in self.ready:
                self.step(reflection)
            if self.joined:
                for _ in range(most):
                    if self.stream.checkpoint.state.page is None and turn.take(self.route, self.stream).kind == "empty":
                        return
                    if self.stream.checkpoint.state.page is not None:
                        turn.take(self.route, self.stream)
        raise AssertionError("it does not settle")

    def position(self) -> Position:
        return self.stream.read
