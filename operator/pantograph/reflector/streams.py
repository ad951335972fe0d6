"""Workers: one thread for each stream, and one for each Reflection that is apart from its stream.

A lane is a worker's two connections and its reader of windows. A worker that fails backs off and begins again from its
checkpoint; nobody else notices (promise 13).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from pantograph import errors
from pantograph.apply.prepare import Ready, checkpoint_name
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Dialect, Role
from pantograph.model.changes import Capture, Control, Position
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import checkpoints, deadletters, fence, keys, steps, sweep, turn, writer
from pantograph.pipeline.checkpoints import Checkpoint, State
from pantograph.pipeline.turn import Group, Limits, Route
from pantograph.reflector.pacing import OUTSIDE_WINDOW, Pacing
from pantograph.reflector.reporting import Board

LONGEST_BACKOFF = 60.0
HELD_PAUSE = 5.0
UNRESOLVED_AFTER = 60.0
ROWS_REPLACED = "RowsReplaced"
"""Why a Reflection is copied again whose rows another one inserts, and has deleted all at once."""
BEGIN_ANEW = ("SpecChanged", "SchemaChanged", "Resync", "PositionLost", "DestinationReplaced", ROWS_REPLACED)
"""Reasons for which a sweep that is under way begins again."""
KEEPS_UP = ("SpecChanged", "SchemaChanged", "Resync")
"""Reasons of sweeps before which every event had been applied: while their chunks are copied, every event still is."""
TURN_EVERY = 1.0
"""Seconds after which a stream takes a turn although nobody has told it of anything."""
LOOK_AT_KEYS = 5.0
"""Noted keys are looked up after each turn that wrote, and at least this often."""
AT_ONCE = 200
"""Noted keys in one turn."""
PARENT_PATIENCE = 600.0
"""A row waits so many seconds for its parent while the parent's Reflection is in step; then it is `ParentMissing`."""


class News:
    """Says when something may have been committed at the source. `wait` returns the newest generation."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.generation = 0

    def publish(self) -> None:
        """There is something new."""
        with self._condition:
            self.generation += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> int:
        """Until a generation other than `seen` is there, or `timeout` seconds have passed."""
        with self._condition:
            self._condition.wait_for(lambda: self.generation != seen, timeout)
            return self.generation


@dataclasses.dataclass
class Source:
    """What all workers of a source Database share."""

    name: str
    owner: str
    dialect: Dialect
    limits: Limits
    news: News
    board: Board
    stop: threading.Event
    side: Session
    side_lock: threading.RLock
    control: Control
    life: str
    sweeps: threading.Semaphore
    captures: dict[str, Capture]
    # Groups by checkpoint (destination, name), for the positions that go with a nonce.
    groups: dict[tuple[str, str], Group] = dataclasses.field(default_factory=dict)
    replan: threading.Event = dataclasses.field(default_factory=threading.Event)
    # Something failed that a table which is not as it was planned any more would explain.
    doubt: threading.Event = dataclasses.field(default_factory=threading.Event)
    # The poll looks now, and does not wait until it would.
    woken: threading.Event = dataclasses.field(default_factory=threading.Event)
    # Reflections of which the source knows that they need its events.
    registered: set[str] = dataclasses.field(default_factory=set)
    # Destinations by label; groups that a comparison has cleared of suspicion; how often keys were noted by others.
    targets: dict[str, Address] = dataclasses.field(default_factory=dict)
    cleared: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    nudges: int = 0
    pacing: Pacing = dataclasses.field(default_factory=Pacing)
    # Since when (monotonic) the Reflections of all tables that a Reflection's rows point at have been in step.
    parents_since: dict[str, float] = dataclasses.field(default_factory=dict)
    # By capture: the dialect's mark of what retention has taken, as soon as any snapshot might miss it.
    purged: dict[str, str] = dataclasses.field(default_factory=dict)

    def nudge(self) -> None:
        """Keys were noted by somebody else: streams look at them now."""
        self.nudges += 1
        self.news.publish()


class Worker(threading.Thread):
    """A thread that keeps doing `work` until told to stop, with a lane that is opened again when it breaks."""

    def __init__(self, name: str, source: Source, target: Address, make: Callable[[Address], Dialect]) -> None:
        super().__init__(name=name, daemon=True)
        self.source, self.target, self._make = source, target, make
        self.halted = threading.Event()
        self.inbox: list[tuple[str, dict[tuple[str, str], Position]]] = []
        self._inbox_lock = threading.Lock()
        self._route: Route | None = None
        self._sessions: list[Session] = []
        # Reflections whose last turn failed; and those whose dead letters were made due.
        self._careful: set[str] = set()
        self._retried: set[str] = set()
        # Whose rows that wait were looked up since the lane was opened: what came meanwhile, nobody told of.
        self._asked: set[str] = set()

    # -- life --------------------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Should the thread end?"""
        return self.halted.is_set() or self.source.stop.is_set()

    def _told_to_stop(self) -> bool:
        return self.stopping

    def names(self) -> list[str]:
        """The Reflections that it speaks for."""
        raise NotImplementedError

    def work(self) -> None:
        """Until something breaks or it is told to stop. `self.route` is open."""
        raise NotImplementedError

    @property
    def route(self) -> Route:
        """The open route."""
        assert self._route is not None
        return self._route

    def run(self) -> None:
        backoff = 0.0
        while not self.stopping:
            began = time.monotonic()
            try:
                with self.permit():
                    if not self._told_to_stop():
                        self.open()
                        self.work()
                backoff = self.pause
            except (errors.StaleCheckpoint, errors.Contended) as error:
                # Somebody else moved on, or was quicker: read again from where the checkpoint is now.
                self._failed(error, "Contended")
                backoff = min(1.0, backoff + 0.05)
            except errors.CaptureDrift as error:
                self._failed(error, "Replanning")
                self.source.replan.set()
                backoff = 0.5
            except (errors.CaptureOwned, errors.PositionLost) as error:
                # The source as a whole is another's, or in another life: whoever planned for it must look again.
                self._failed(error, "Replanning")
                self.source.replan.set()
                return
            except errors.PantographError as error:
                self._failed(error, "Failed" if not isinstance(error, errors.Unreachable) else "Unreachable")
                backoff = min(LONGEST_BACKOFF, max(0.5, backoff * 2))
            except Exception as error:  # a bug: say so, and go on trying rather than fall silent
                self._failed(errors.Bug(error), "Failed")
                backoff = min(LONGEST_BACKOFF, max(1.0, backoff * 2))
            finally:
                self.close()
            if time.monotonic() - began > LONGEST_BACKOFF:
                backoff = min(backoff, 1.0)
            # Chance spreads the attempts of many workers when a database comes back.
            self.halted.wait(backoff * random.uniform(0.5, 1.0))

    pause = 0.0
    """Seconds until `work` is begun again after it has ended by itself."""

    @contextlib.contextmanager
    def permit(self) -> Iterator[None]:
        """What must be held while the lane is open; waits for it."""
        yield

    def _failed(self, error: errors.PantographError, phase: str) -> None:
        if phase == "Failed":
            self.source.doubt.set()
        if isinstance(error, writer.MirrorRejected):
            self.source.board.refused(error.mirror.name, Counter(one.error.kind for one in error.refused))
        for name in self.names():
            self.source.board.failed(name, error.reason)
            self.source.board.ended(name, "contended" if phase == "Contended" else "failed")
            if phase != "Contended":
                self.source.board.phase(name, phase, error.reason, str(error))

    def open(self) -> None:
        """Connect both ends."""
        source = self.source
        self._asked.clear()
        target = self._make(self.target)
        reader = Session(source.dialect, Role.READER)
        self._sessions = [reader]
        writer_session = Session(target, Role.WRITER)
        self._sessions.append(writer_session)
        self._route = Route(
            owner=source.owner,
            epoch=source.control.epoch,
            incarnation=source.control.incarnation,
            life=source.life,
            source=source.dialect,
            target=target,
            reader=reader,
            writer=writer_session,
            side=source.side,
            side_lock=source.side_lock,
            windows=source.dialect.reader(self.captures()),
            limits=source.limits,
            careful=self._careful,
            purged=source.purged,
        )

    def captures(self) -> list[Capture]:
        """The captures whose windows are read."""
        return list(self.source.captures.values())

    def close(self) -> None:
        """Disconnect."""
        if self._route is not None:
            self._route.windows.close()
        for session in self._sessions:
            session.close()
        self._sessions, self._route = [], None

    # -- shared by both kinds ----------------------------------------------------------------------------------------

    def noted(self, nonce: str, positions: dict[tuple[str, str], Position]) -> None:
        """A nonce was committed; the positions were taken before. Called by another thread."""
        with self._inbox_lock:
            self.inbox.append((nonce, positions))

    def take_in_nonces(self, group: Group) -> None:
        """Write the nonces that came in since into the group's checkpoint."""
        with self._inbox_lock:
            came, self.inbox = self.inbox, []
        key = self.group_key(group)
        cleared = key in self.source.cleared
        stored = self.route.windows.stored
        pairs = [(nonce, str(stored(positions[key], brief=True))) for nonce, positions in came if positions.get(key)]
        if not (pairs or cleared) or group.checkpoint.version == 0:
            return

        def change(state: State) -> State:
            return dataclasses.replace(
                state,
                suspect=state.suspect and not cleared,
                nonces=[*state.nonces, *pairs][-fence.KEPT_NONCES :],
                incarnation=self.route.incarnation,
                life=self.route.life,
            )

        turn.touch(self.route, group, change)
        self.source.cleared.discard(key)

    def group_key(self, group: Group) -> tuple[str, str]:
        """Under which the source knows the group."""
        return self.target.label, group.checkpoint.name

    def load(self) -> dict[str, Checkpoint]:
        """This owner's checkpoints in the destination."""
        with self.route.writer.step(steps.LOAD_CHECKPOINTS):
            return checkpoints.load(self.route.writer, self.route.target, self.source.owner)

    def judge(self, group: Group) -> bool:
        """Ask the fence about a group, and go back to an older position where it says so; False when it is lost."""
        route, state = self.route, group.checkpoint.state
        if not group.checkpoint.position:
            return True
        with self.source.side_lock, self.source.side.step(steps.READ_CONTROL):
            control = route.source.control(self.source.side)
            issued = route.windows.issued(self.source.side, group.checkpoint.position)

        def covered(position: Position) -> bool:
            marks = self.source.purged
            return all(route.windows.covers(position, marks.get(m.capture.id, ""), m.capture) for m in group.mirrors)

        position = group.checkpoint.position
        verdict = fence.judge(state, position, control, route.life, issued=issued, covered=covered)
        if isinstance(verdict, fence.InStep):
            return True
        if isinstance(verdict, fence.Lost):
            for mirror in group.mirrors:
                self.source.board.failed(mirror.name, "PositionLost")
                self.source.board.messages(f"{mirror.name}: PositionLost: {verdict.reason}")
            return False
        for mirror in group.mirrors:
            self.source.board.failed(mirror.name, "SourceMoved")
            self.source.board.messages(
                f"{mirror.name}: SourceMoved: the server is not as it was; reading again from the newest nonce it holds"
            )
        group.read = verdict.position
        there = control.nonces if control is not None else ()
        turn.touch(
            route,
            group,
            lambda s: dataclasses.replace(
                s,
                life=route.life,
                # Those that it lost stand for positions of a past that did not happen.
                nonces=[pair for pair in s.nonces if pair[0] in there],
                page=None,
                suspect=True,
                image=False,
                image_reason="the source moved",
            ),
            position=verdict.position,
        )
        return True

    def due(self, group: Group, mirrors: Iterable[Mirror]) -> dict[str, list[keys.Noted]]:
        """Noted keys whose time has come."""
        route, now = self.route, time.time()
        session, target, owner = route.writer, route.target, route.owner
        result: dict[str, list[keys.Noted]] = {}
        group.set_aside = 0
        with session.step(steps.NOTE_KEYS):
            waiting = keys.waiting(session, target, owner)
            for mirror in mirrors:
                noted = waiting.get(mirror.name, {})
                if "dead" in noted and mirror.name not in self._retried:
                    # Tried again whenever its Reflection begins anew, for its manifest may be another one now.
                    keys.make_due(session, target, owner, mirror.name, "dead")
                    noted["dead"] = keys.Waiting(noted["dead"].count, 0.0)
                self._retried.add(mirror.name)
                if "parent" in noted and mirror.name not in self._asked:
                    keys.make_due(session, target, owner, mirror.name, "parent")
                    noted["parent"] = keys.Waiting(noted["parent"].count, 0.0)
                self._asked.add(mirror.name)
                group.set_aside += sum(one.count for reason, one in noted.items() if reason in keys.BEHIND)
                limit = min(route.source.most_given_keys, AT_ONCE)
                if any(one.next_try <= now for reason, one in noted.items() if reason != "extra"):
                    found = keys.due(session, target, owner, mirror.name, now, limit)
                    if any(one.reason == keys.EVERYTHING for one in found):
                        self.copy_again(mirror.name)
                    result[mirror.name] = [one for one in found if one.reason != keys.EVERYTHING]
                if mirror.ring and "parent" in noted:
                    # They wait for each other, and are written in one turn or never.
                    among = keys.noted_as(session, target, owner, mirror.name, "parent", limit)
                    known = {one.digest for one in result.get(mirror.name, ())}
                    result[mirror.name] = [*result.get(mirror.name, ()), *(n for n in among if n.digest not in known)]
        return {name: found for name, found in result.items() if found}

    def copy_again(self, name: str) -> None:
        """A note says that all of a Reflection's rows went with those of another."""

    def mind_the_patience(self, mirrors: Iterable[Mirror], tried: dict[str, list[keys.Noted]]) -> None:
        """Of keys that were just looked up: do they wait for parents that are not late but missing? Raises
        `MirrorRejected` where their Reflection is to stop for it."""
        for mirror in mirrors:
            noted = tried.get(mirror.name, ())
            if any(one.reason in ("parent", "dead") for one in noted):
                with self.route.writer.step(steps.NOTE_KEYS):
                    self._mind_the_patience(mirror, [one.digest for one in noted if one.reason == "dead"])

    def _mind_the_patience(self, mirror: Mirror, dead: Sequence[str]) -> None:
        route, since = self.route, self.source.parents_since
        parents = {".".join(filter(None, reference.parent)) for reference in mirror.references}
        late = [
            seen.name
            for seen in self.source.board.all()
            if seen.name != mirror.name
            and seen.database == self.target.label
            and seen.destination in parents
            and seen.phase != "Streaming"
        ]
        if late:
            since.pop(mirror.name, None)
            return
        if time.monotonic() - since.setdefault(mirror.name, time.monotonic()) < PARENT_PATIENCE:
            return
        before = time.time() - PARENT_PATIENCE
        count, detail = keys.overdue(route.writer, route.target, route.owner, mirror.name, before)
        if not count:
            return
        if mirror.dead_letters:
            # Those that were dead letters already, and came back for nothing, are no news.
            found = keys.reasons(route.writer, route.target, route.owner, mirror.name, dead).values()
            keys.bury(
                route.writer, route.target, route.owner, mirror.name, before, detail,
                wait=deadletters.FIRST_RETRY, at_most=deadletters.SLOWEST_RETRY,
            )  # fmt: skip
            self.told(mirror.name, count - sum(reason == "parent" for reason, _ in found))
            return
        some = "1 row has" if count == 1 else f"{count} rows have"
        raise writer.MirrorRejected(
            mirror,
            errors.Rejected(
                f"{some} waited for {PARENT_PATIENCE / 60:.0f} minutes: {detail}; bring the row there, or go on "
                "without those that point at it (spec.onError: DeadLetter)",
                kind="foreign key",
                reason=keys.PARENT_MISSING,
            ),
        )

    def told(self, name: str, dead: int) -> None:
        """Rows became dead letters: say so, and count it."""
        if dead > 0:
            self.source.board.failed(name, "DeadLetter")
            some = "1 row was" if dead == 1 else f"{dead} rows were"
            self.source.board.messages(
                f"{name}: DeadLetter: {some} set aside; why, and which, is in the table keys beside the checkpoints "
                f"(name '{name}', reason 'dead')"
            )

    def look_up(self, error: writer.InTheWay) -> None:
        """Rows of the destination are in the way of others: the next turn looks them up as well."""
        session, target, owner = self.route.writer, self.route.target, self.route.owner
        self._noting(
            lambda: keys.note(session, target, owner, error.mirror.name, error.keys, "in the way", again_at=0.0)
        )

    def _noting(self, act: Callable[[], object]) -> None:
        """Write keys down in a transaction of its own."""
        session = self.route.writer
        try:
            with session.step(steps.BEGIN):
                session.begin()
            with session.step(steps.NOTE_KEYS):
                act()
            with session.step(steps.COMMIT):
                session.commit()
        except BaseException:
            session.rollback()
            raise


class Apart(Worker):
    """Moves one Reflection by itself: its sweep, or the way back to its stream after a pause or a failure."""

    def __init__(
        self,
        source: Source,
        target: Address,
        make: Callable[[Address], Dialect],
        ready: Ready,
        stream: Stream,
    ) -> None:
        super().__init__(f"apart {ready.wanted.name}", source, target, make)
        self.ready, self._stream = ready, stream
        self.group: Group | None = None

    def names(self) -> list[str]:
        return [self.ready.wanted.name]

    def work(self) -> None:
        ready, board, name = self.ready, self.source.board, self.ready.wanted.name
        known = self.load()
        checkpoint = known.get(checkpoint_name(name)) or Checkpoint(self.source.owner, checkpoint_name(name))
        group = self.group = Group(checkpoint, [ready.mirror])
        reason = why_sweep(checkpoint, ready) or self._replaced(name)
        if checkpoint.state.in_step:
            if not reason and in_step_as_wanted(checkpoint.state, ready):
                # Another reflector brought it there, or our own attempt came about although it was answered by nothing.
                self._stream.take_back(ready)
                self.halted.set()
                return
            # It left its stream without having been written down: it stands where the stream stands.
            left = checkpoint.state.stream or stream_name(ready)
            stream = known.get(left) or Checkpoint(self.source.owner, left)
            group.read = stream.position
            turn.touch_apart(self.route, group, stream)
        self.source.groups[self.group_key(group)] = group
        try:
            if not self.judge(group):
                if ready.wanted.on_position_lost == "Stop":
                    raise errors.PantographError(
                        f"{name} stops, as onPositionLost says; change its resyncToken to copy everything again",
                        reason="PositionLost",
                    )
                reason, group.read = "PositionLost", Position("")
            if reason and (
                checkpoint.state.sweep is None
                or reason
                in ("SpecChanged", "SchemaChanged", "Resync", "PositionLost", "DestinationReplaced", ROWS_REPLACED)
            ):
                self._begin(group, reason)
                if reason == ROWS_REPLACED:
                    self._settle_replaced(name)
            if not self._go(group):
                return
            board.phase(name, "Streaming")
        finally:
            self.source.groups.pop(self.group_key(group), None)
        if not self.stopping:
            # What was mended has been swept by now.
            self._stream.admit(group, dataclasses.replace(ready, mended=False))
        self.halted.set()

    @contextlib.contextmanager
    def permit(self) -> Iterator[None]:
        """One of the source's few: a hundred new Reflections must not open two hundred connections."""
        while not (self._parents_are_there() and self.source.sweeps.acquire(timeout=0.2)):
            if self.stopping:
                yield
                return
        try:
            yield
        finally:
            self.source.sweeps.release()

    def _parents_are_there(self) -> bool:
        """A first copy waits for those of the tables that its rows point at, or all of them would be parked."""
        mirror, known = self.ready.mirror, self.ready.checkpoint
        if known is not None and known.version:
            return True
        firm = {r.parent for r in mirror.references if r not in mirror.ring}
        parents = {".".join(filter(None, parent)) for parent in firm}
        late = [
            seen.name
            for seen in self.source.board.all()
            if seen.database == self.target.label
            and seen.destination in parents
            and not seen.complete
            and seen.phase in ("Waiting", "Snapshot", "Sweep")
        ]
        if late:
            message = f"its rows point at those of {', '.join(sorted(late))}, whose first copy is not there yet"
            self.source.board.phase(mirror.name, "Waiting", "ParentsFirst", message)
            self.halted.wait(0.1)
        return not late

    def _replaced(self, name: str) -> str:
        """Did all rows go with those of the Reflection that inserts them?"""
        session, target = self.route.writer, self.route.target
        with session.step(steps.NOTE_KEYS):
            noted = keys.waiting(session, target, self.source.owner).get(name, {})
        return ROWS_REPLACED if keys.EVERYTHING in noted else ""

    def _settle_replaced(self, name: str) -> None:
        session = self.route.writer
        with session.step(steps.NOTE_KEYS):
            session.begin()
            keys.release(session, self.route.target, self.source.owner, name, keys.EVERYTHING, to=None)
        with session.step(steps.COMMIT):
            session.commit()

    def _begin(self, group: Group, reason: str) -> None:
        ready = self.ready
        if reason == "Snapshot" and not ready.wanted.initial_snapshot:
            with turn.snapshot(self.route, [group.read]) as (until, _):
                pass
            group.read = until
            turn.touch(self.route, group, lambda s: begun(s, self.route, ready))
            return
        if reason == "PositionLost":
            group.read = Position("")
        mirror = ready.mirror
        plain = not mirror.references and mirror.missing_row == "Insert" and not mirror.statement
        virgin = ready.empty and reason in ("Snapshot", "DestinationReplaced") and plain
        sweep.begin(
            self.route,
            group,
            sweep.Begun(
                reason, virgin, ready.estimated, ready.shaping, ready.table, ready.wanted.resync_token,
                columns=ready.columns, keep=ready.wanted.existing == "Keep" or ready.mirror.on_delete == "Ignore",
            ),
        )  # fmt: skip

    def _go(self, group: Group) -> bool:
        """Sweep, if there is one to do, until the Reflection could join its stream; False when it must wait."""
        board, name = self.source.board, self.ready.wanted.name
        self.pause = 0.0
        seen = board.of(name)
        if group.checkpoint.state.sweep is not None and (seen.sweep_ended or not seen.sweep_began):
            seen.sweep_began, seen.sweep_ended = time.time(), 0.0
        while not self.stopping and group.checkpoint.state.sweep is not None:
            state = group.checkpoint.state.sweep
            if state.phase != "held" and not self.source.pacing.allows(state.reason):
                self._wait_for_hours(group, state.reason)
                return False
            phase = {"copy": "Snapshot" if state.reason == "Snapshot" else "Sweep", "held": "Held"}
            message = (
                f"{state.extras} rows of {state.owned} are not at the source; allow their deletion with the "
                f'annotation pantograph.dev/allow-deletes: "{state.extras}"'
            )
            if state.phase == "held":
                board.phase(name, "Held", "SweepHeld", message)
                seen.held = state.extras
            else:
                board.phase(name, phase.get(state.phase, "Sweep"), state.reason)
            due = self.due(group, group.mirrors).get(name, []) if state.phase == "held" else []
            if state.phase != "held" and self._wait_for_pace():
                return False
            stepping = functools.partial(sweep.step, self.route, group, due, self.ready.wanted.allowed_deletes)
            outcome = self._tried(group, stepping)
            if outcome is None:
                continue
            self._tell(outcome)
            after = group.sweep
            self._pay(state, after)
            board.swept(name, outcome.swept, state.rows if after is None else after.rows, state.estimated)
            self.take_in_nonces(group)
            if outcome.oldest:
                board.behind([name], outcome.oldest)
            applied = state.phase == "copy" and state.reason in KEEPS_UP
            board.turned([name], outcome, reached=outcome.kind == "empty" or not outcome.more or applied)
            if group.sweep is not None and group.sweep.phase == "held" and not outcome.more:
                # Only a person can end this: let others have the permit, and come back for the events.
                self.pause = HELD_PAUSE
                return False
        seen.complete = group.checkpoint.state.complete
        seen.held = 0
        if seen.sweep_began and not seen.sweep_ended and group.checkpoint.state.sweep is None:
            seen.sweep_ended = time.time()
        # What failed in its stream must first succeed alone, or it would fail its neighbours again.
        more = True
        while more and not self.stopping:
            due_now = self.due(group, group.mirrors)
            taken = self._tried(group, functools.partial(turn.take, self.route, group, due=due_now))
            if taken is not None:
                self._tell(taken)
                board.turned([name], taken, reached=not taken.more)
                self.mind_the_patience(group.mirrors, due_now)
            more = taken is None or taken.more
        self._forget_refused()
        return True

    def _wait_for_hours(self, group: Group, reason: str) -> None:
        """Outside the hours in which sweeps may run: go on applying events, and come back."""
        name = self.ready.wanted.name
        self.source.board.phase(name, "Deferred", OUTSIDE_WINDOW, self.source.pacing.deferred(reason))
        if not group.read:
            # Where it had got to is lost: what comes from now on is applied, and the sweep reads all the rest.
            with turn.snapshot(self.route, [group.read]) as (until, _):
                pass
            group.read = until
            turn.touch(self.route, group, lambda state: state)
        more = True
        while more and not self.stopping:
            due = self.due(group, group.mirrors)
            outcome = self._tried(group, functools.partial(turn.take, self.route, group, due=due))
            self.take_in_nonces(group)
            if outcome is not None:
                self._tell(outcome)
                self.source.board.turned([name], outcome, reached=reason in KEEPS_UP and not outcome.more)
            more = outcome is None or outcome.more
        self.pause = HELD_PAUSE

    def _wait_for_pace(self) -> bool:
        """Until the rows that sweeps have read are paid for; whether it was told to stop."""
        while not self.stopping and (owed := self.source.pacing.owed()):
            self.halted.wait(min(0.2, owed))
        return self.stopping

    def _pay(self, before: checkpoints.Sweep, after: checkpoints.Sweep | None) -> None:
        if after is not None:
            self.source.pacing.take(after.rows - before.rows + after.owned - before.owned)

    def _tried(self, group: Group, act: Callable[[], turn.Outcome]) -> turn.Outcome | None:
        """Do a step; None when it is to be done again, with more care, or with more keys looked up."""
        name = self.ready.wanted.name
        try:
            return act()
        except writer.InTheWay as error:
            self.look_up(error)
            if group.sweep is not None:
                self._tried(group, lambda: turn.take(self.route, group, due=self.due(group, group.mirrors)))
            return None
        except writer.MirrorRejected as error:
            if name in self._careful:
                self._noting(functools.partial(
                    deadletters.remember, self.route.writer, self.route.target, self.route.owner, error
                ))  # fmt: skip
                raise
            self._careful.add(name)
            return None

    def _tell(self, outcome: turn.Outcome) -> None:
        for name, written in outcome.written.items():
            self.told(name, written.dead)

    def _forget_refused(self) -> None:
        """It goes on: no row is refused any more."""
        session, target, name = self.route.writer, self.route.target, self.ready.wanted.name
        self._noting(lambda: keys.release(session, target, self.route.owner, name, "refused", to=None))


def stream_name(ready: Ready) -> str:
    """The name of the checkpoint of a Reflection's stream."""
    return f"stream/{ready.wanted.stream}"


def moves_with_its_stream(ready: Ready) -> bool:
    """Is it in step with the very stream that it is wanted in?"""
    return ready.checkpoint is not None and in_step_as_wanted(ready.checkpoint.state, ready)


def in_step_as_wanted(state: State, ready: Ready) -> bool:
    """Does a Reflection's own checkpoint say that it moves with the stream that it is wanted in?"""
    return state.in_step and state.stream in ("", stream_name(ready))


def begun(state: State, route: Route, ready: Ready) -> State:
    """The state of a Reflection that begins without a copy: what changes from now on is moved."""
    return dataclasses.replace(
        state,
        complete=True,
        sweep=None,
        in_step=False,
        shaping=ready.shaping,
        fingerprint=ready.mirror.fingerprint,
        columns=dict(ready.columns),
        table=ready.table,
        resync_token=ready.wanted.resync_token,
        incarnation=route.incarnation,
        life=route.life,
        destination=list(ready.mirror.destination),
        key=[column.destination for column in ready.mirror.key],
        waits=ready.mirror.missing_row == "Wait",
    )


def why_sweep(checkpoint: Checkpoint, ready: Ready) -> str:
    """Why the Reflection must be copied (again), or "" when it can go on."""
    state = checkpoint.state
    if checkpoint.version == 0:
        return "Snapshot"
    if state.table != ready.table:
        return "DestinationReplaced"
    if state.shaping != ready.shaping:
        return "SpecChanged"
    if state.fingerprint != ready.mirror.fingerprint:
        return "SchemaChanged"
    if state.resync_token != ready.wanted.resync_token:
        return "Resync"
    if ready.mended:
        return "CaptureDrift"
    if not state.complete and state.sweep is None:
        return "Snapshot"
    return ""


class Stream(Worker):
    """Moves all Reflections of a stream together, one window at a time."""

    def __init__(
        self, name: str, source: Source, target: Address, make: Callable[[Address], Dialect], members: dict[str, Ready]
    ) -> None:
        super().__init__(f"stream {name}", source, target, make)
        self.stream = name
        self._told_unresolved = 0.0
        self.members = members
        self._arrived: list[tuple[Group, Ready]] = []
        self._leaving: set[str] = set()
        self._found: list[Ready] = []
        self._lock = threading.Lock()
        self.aside: Callable[[Ready, str], None] = lambda _ready, _why: None
        self._look_at_keys = 0.0

    def names(self) -> list[str]:
        return sorted(self.members)

    # Called by other threads.

    def admit(self, group: Group, ready: Ready) -> None:
        """A Reflection has caught up by itself and joins with the next window."""
        with self._lock:
            self._arrived.append((group, ready))
        self.source.news.publish()

    def take_back(self, ready: Ready) -> None:
        """A Reflection is in step by what the destination says: the stream reads again who is, with it among them."""
        with self._lock:
            self._found.append(ready)
        self.source.news.publish()

    def copy_again(self, name: str) -> None:
        with self._lock:
            self._leaving.add(name)

    def leave(self, name: str) -> None:
        """A Reflection is paused, deleted or to be planned again: it leaves before the next window."""
        with self._lock:
            self._leaving.add(name)
        self.source.news.publish()

    def work(self) -> None:
        self._take_in_found()
        known = self.load()
        name = f"stream/{self.stream}"
        checkpoint = known.get(name) or Checkpoint(self.source.owner, name)
        self._let_go_apart(known)
        mirrors = [ready.mirror for ready in self.members.values()]
        group = Group(checkpoint, mirrors)
        self.source.groups[self.group_key(group)] = group
        self._part_absent(group, known)
        if not self.judge(group):
            for ready in list(self.members.values()):
                self._part(group, ready, "")
            group.read = Position("")
        self._look_at_keys, nudges = 0.0, self.source.nudges
        self._let_go(group)
        for ready in self.members.values():
            self.source.board.phase(ready.wanted.name, "Streaming")
        while not self.stopping:
            if self._found:
                return
            self._let_go(group)
            generation = self.source.news.generation
            joiners = self._joiners(group)
            due: dict[str, list[keys.Noted]] = {}
            if time.monotonic() >= self._look_at_keys or nudges != self.source.nudges:
                nudges = self.source.nudges
                due = self.due(group, group.mirrors)
                self._look_at_keys = time.monotonic() + (1.0 if group.set_aside else LOOK_AT_KEYS)
                self._tell_unresolved()
            outcome = self._turn(group, joiners, due)
            self.take_in_nonces(group)
            if outcome is None:
                continue
            # Of one that has just joined, keys may have been noted while nobody looked.
            if joiners or any(written.parked for written in outcome.written.values()):
                self._look_at_keys = 0.0
            if outcome.kind == "applied" and (group.set_aside or joiners):
                self._parents_came(outcome, {ready.wanted.name for _, ready in joiners})
            try:
                self.mind_the_patience(list(group.mirrors), due)
            except writer.MirrorRejected as error:
                self._set_aside(group, error)
            if not outcome.more:
                self.source.news.wait(generation, TURN_EVERY)

    def _tell_unresolved(self) -> None:
        """Events of which the engine does not say whether they will come hold purging back: a person should know."""
        count, seconds = self.route.windows.unresolved()
        if seconds > UNRESOLVED_AFTER and time.monotonic() - self._told_unresolved > UNRESOLVED_AFTER:
            self._told_unresolved = time.monotonic()
            self.source.board.messages(
                f"stream {self.stream}: OpenIdsUnresolved: for {seconds:.0f} s nobody can tell whether {count} events "
                "will come or were rolled back; a long transaction is open, or the PROCESS grant is missing"
            )

    def _parents_came(self, outcome: turn.Outcome, joined: set[str]) -> None:
        """Did the turn write a table that others of the stream point at, or did one join it, which has written by
        itself? Their parked rows may go in now, and those dead letters that only lack a parent."""
        written = joined | {name for name, counts in outcome.written.items() if counts.upserted}
        parents = {self.members[name].mirror.destination for name in written if name in self.members}
        session, target, owner = self.route.writer, self.route.target, self.route.owner
        for ready in self.members.values():
            name = ready.wanted.name
            if any(reference.parent in parents for reference in ready.mirror.references):
                with session.step(steps.NOTE_KEYS):
                    came = keys.make_due(session, target, owner, name, "parent")
                    if ready.mirror.dead_letters:
                        came += keys.make_due(session, target, owner, name, "dead", keys.PARENT_MISSING)
                if came:
                    self._look_at_keys = 0.0

    def _joiners(self, group: Group) -> list[tuple[Group, Ready]]:
        with self._lock:
            arrived, self._arrived = self._arrived, []
        if arrived and not group.mirrors:
            # The first one brings the stream its position, and what proves it.
            first = arrived[0][0]
            group.read = first.read
            state = dataclasses.replace(
                group.checkpoint.state,
                nonces=first.checkpoint.state.nonces,
                suspect=first.checkpoint.state.suspect,
                page=None,
            )
            group.checkpoint = dataclasses.replace(group.checkpoint, state=state)
        return arrived

    def _turn(
        self, group: Group, joiners: list[tuple[Group, Ready]], due: dict[str, list[keys.Noted]]
    ) -> turn.Outcome | None:
        board, names = self.source.board, self.names()
        if not group.mirrors and not joiners:
            return turn.Outcome("empty")
        try:
            outcome = turn.take(self.route, group, [joiner for joiner, _ in joiners], due)
        except writer.InTheWay as error:
            self._arrived.extend(joiners)
            self.look_up(error)
            self._look_at_keys = 0.0
            return None
        except writer.MirrorRejected as error:
            if error.mirror.dead_letters and error.mirror.name not in self._careful:
                # Once more, so as to find out which rows are to blame.
                self._careful.add(error.mirror.name)
                self._look_at_keys = 0.0
                self._arrived.extend(joiners)
                return None
            self._careful.discard(error.mirror.name)
            for joiner, ready in joiners:
                if ready.wanted.name == error.mirror.name:
                    self.aside(ready, str(error))
                else:
                    self._arrived.append((joiner, ready))
            self._set_aside(group, error)
            return None
        except BaseException:
            self._arrived.extend(joiners)
            raise
        if any(not joiner.checkpoint.state.in_step for joiner, _ in joiners):
            # Too much for one transaction with them in it, or a page, be it the last one of its window, was in the way:
            # the stream goes on, and they catch up by themselves again.
            for _joiner, ready in joiners:
                self.aside(ready, "")
            return None
        if outcome.kind == "empty" and not outcome.more:
            turn.say_image(self.route, group)
        for name, written in outcome.written.items():
            self.told(name, written.dead)
        for _joiner, ready in joiners:
            self.members[ready.wanted.name] = ready
            group.mirrors.append(ready.mirror)
            board.phase(ready.wanted.name, "Streaming")
        names = self.names()
        if outcome.oldest:
            board.behind(names, outcome.oldest)
        board.turned(names, outcome, reached=not outcome.more)
        state = group.checkpoint.state
        for name in names:
            seen = board.of(name)
            seen.image, seen.image_reason, seen.image_at = state.image, state.image_reason, state.image_at
            seen.complete = True
        return outcome

    def _take_in_found(self) -> None:
        with self._lock:
            found, self._found = self._found, []
        self.members |= {ready.wanted.name: ready for ready in found}

    def _let_go_apart(self, known: dict[str, Checkpoint]) -> None:
        """Members that another reflector has taken out of the stream have a position of their own, which may lie behind
        the stream's: read from there, what lies between the two would be left out."""
        for name, ready in list(self.members.items()):
            own = known.get(checkpoint_name(name))
            if own is None or not in_step_as_wanted(own.state, ready):
                del self.members[name]
                self.aside(ready, "")

    def _part_absent(self, group: Group, known: dict[str, Checkpoint]) -> None:
        """Write down where those stand that are in step and not here: the stream goes on without them."""
        here = {checkpoint_name(name) for name in self.members}
        for own in known.values():
            if own.state.in_step and own.state.stream == group.checkpoint.name and own.name not in here:
                group.checkpoint = turn.touch_apart(self.route, Group(own, [], read=group.read), group.checkpoint)
        # Whether their last attempt to join came about is unknown: they look at their own checkpoints.
        with self._lock:
            arrived, self._arrived = self._arrived, []
        for _, ready in arrived:
            self.aside(ready, "")

    def _set_aside(self, group: Group, error: writer.MirrorRejected) -> None:
        """One Reflection's rows do not fit: it leaves, and its neighbours go on."""
        name = error.mirror.name
        self.source.doubt.set()
        self.source.board.failed(name, error.reason)
        self.source.board.ended(name, "failed")
        self.source.board.refused(name, Counter(one.error.kind for one in error.refused))
        ready = self.members.get(name)
        if ready is not None:
            self._part(group, ready, str(error))

    def _let_go(self, group: Group) -> None:
        with self._lock:
            leaving, self._leaving = self._leaving, set()
        for name in leaving:
            ready = self.members.get(name)
            if ready is not None:
                self._part(group, ready, "")

    def _part(self, group: Group, ready: Ready, why: str) -> None:
        """Write down where a Reflection stands by itself from now on, and go on without it."""
        name = ready.wanted.name
        own = self.load().get(checkpoint_name(name)) or Checkpoint(self.source.owner, checkpoint_name(name))
        alone = Group(own, [ready.mirror], read=group.read)
        group.checkpoint = turn.touch_apart(self.route, alone, group.checkpoint)
        group.mirrors = [mirror for mirror in group.mirrors if mirror.name != name]
        del self.members[name]
        self.aside(ready, why)
