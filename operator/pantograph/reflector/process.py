"""Everything that moves rows out of one source Database: its workers, the poll, the nonces, the purge.

A supervisor prepares, starts the workers and waits. When something drifts, or the source's own connection breaks, it
stops them all, prepares again and starts again from the checkpoints: one way to begin, and it is always the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Mapping

from pantograph import dialects, errors
from pantograph.apply import expressions, observe, prepare
from pantograph.apply.prepare import Captured, Ready, Report, WantedCopy
from pantograph.apply.sources import Retention, Wanted
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role, WindowReader
from pantograph.model.changes import Capture, Position
from pantograph.pipeline import fence, steps
from pantograph.pipeline.turn import Group
from pantograph.reflector.listening import Listening, Rest
from pantograph.reflector.pacing import Pacing
from pantograph.reflector.repairs import Repairs
from pantograph.reflector.reporting import Board
from pantograph.reflector.streams import Apart, News, Source, Stream, Worker, moves_with_its_stream, why_sweep
from pantograph.reflector.verifying import Asked, Verifying

NONCE_EVERY = 60.0
DOUBT_EVERY = 1.0
"""Seconds between two looks at the tables for a Reflection that fails."""
FIRST_NONCE = 1.0
QUICKEST_POLL = 0.002
QUICK_FOR = 1.0
"""After a change the poll stays quick for this long; then it slows down to `pollInterval`."""
CHEAP_LOOKS = 5
"""Looks in one `pollInterval` where they cost little (0.2 s: 0.7 % of a core in place of 0.3 %)."""
PURGE_BATCH = 10_000
RETRY_FAILED_EVERY = 15.0
PATIENCE_AT_END = 15.0


class Process:
    """Runs one source Database until `stop` is set.

    installs: whether it also installs what capture lacks; in a cluster that is the operator's.
    """

    def __init__(self, wanted: Wanted, board: Board, stop: threading.Event, *, installs: bool = True) -> None:
        self.wanted, self.board, self.stop, self._installs = wanted, board, stop, installs
        self._halt = threading.Event()  # ends the workers of this round
        self._workers: list[Worker] = []
        self._lock = threading.RLock()
        self._source: Source | None = None
        self._streams: dict[tuple[str, str], Stream] = {}
        self._captured: dict[str, Captured] = {}
        self._previous: list[str] = []
        self._again = threading.Event()
        # Reflections whose destination's columns are to be widened; how it failed where it was tried.
        self._to_widen: set[str] = set()
        self._not_widened: dict[str, errors.PantographError] = {}
        self._changed = threading.Event()  # something else is wanted: what is tried now is not worth waiting for
        self._named: set[str] = set()
        self._kept: set[str] = set()
        self.fatal: errors.PantographError | None = None

    # -- the supervisor ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until stopped. Raises nothing: what fails is on the board, and tried again."""
        backoff = 0.0
        while not self.stop.is_set():
            began = time.monotonic()
            self._changed.clear()
            try:
                self._round()
                backoff = 0.0 if time.monotonic() - began > NONCE_EVERY else min(30.0, max(0.2, backoff * 2))
            except errors.PantographError as error:
                self._all_failed(error)
                if isinstance(error, errors.CaptureOwned):
                    self.fatal = error
                backoff = min(30.0, max(0.5, backoff * 2))
            except Exception as error:  # a bug: say so, and go on trying rather than fall silent
                self._all_failed(errors.Bug(error))
                backoff = min(30.0, max(1.0, backoff * 2))
            resumed = time.monotonic() + backoff
            while time.monotonic() < resumed and not (self.stop.wait(min(0.1, backoff)) or self._changed.is_set()):
                pass

    def _pause(self, seconds: float) -> None:
        """Sleep while somebody is in the way of our DDL, but no longer than anybody wants what it is for."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.stop.wait(min(0.1, seconds)) or self._changed.is_set():
                raise errors.Contended("somebody was in the way until this was not wanted any more")

    def change(self, wanted: Wanted) -> None:
        """Something else is wanted of the same source from now on. Called by another thread.

        All streams of the source begin again from their checkpoints, those that nothing changes for as well.
        """
        self.wanted = wanted
        self._changed.set()
        self._again.set()

    def _name_all(self) -> None:
        """Have those on the board that are wanted, and no others of ours."""
        copies = {copy.name: copy for copy in self._copies()}
        for name in self._named - copies.keys():
            self.board.drop(name)
        for name, copy in copies.items():
            seen = self.board.of(name)
            if name not in self._named or seen.generation != copy.generation:
                # What is on the board is of another spec; nobody works on that any more.
                self.board.phase(name, "Waiting")
                seen.generation = copy.generation
        self._named = set(copies)
        self.board.keep({table.name for table in self.wanted.tables if table.name}, self._kept)
        self._kept = {table.name for table in self.wanted.tables if table.name}

    def _all_failed(self, error: errors.PantographError) -> None:
        phase = "Unreachable" if isinstance(error, errors.Unreachable) else "Failed"
        for _, copies in self.wanted.copies.values():
            for copy in copies:
                self.board.failed(copy.name, error.reason)
                self.board.phase(copy.name, phase, error.reason, str(error))

    def _round(self) -> None:
        """Prepare, start, wait until something ends the round, stop."""
        self._halt = threading.Event()
        self._again = threading.Event()
        self._to_widen, self._not_widened = set(), {}
        self._name_all()
        dialect = dialects.load(self.wanted.address)
        report = Report()
        admin = Session(dialect, Role.ADMIN)
        try:
            self._captured, control = prepare.source(
                admin, dialect, self.wanted.owner, self.wanted.tables, report,
                lease=self.wanted.lease, adopt=self.wanted.adopt, installs=self._installs,
                waiting=self.board.messages, sleep=self._pause,
            )  # fmt: skip
            assert control is not None
            with admin.step(steps.INSPECT):
                server = dialect.server(admin)
            side = Session(dialect, Role.SIDE)
            source = self._source = Source(
                name=self.wanted.name,
                owner=self.wanted.owner,
                dialect=dialect,
                limits=self.wanted.limits,
                news=News(),
                board=self.board,
                stop=self._halt,
                side=side,
                side_lock=threading.RLock(),
                control=control,
                life=server.life,
                sweeps=threading.Semaphore(self.wanted.sweeps),
                captures={one.capture.id: one.capture for one in self._captured.values()},
                purged={one.capture.id: one.purged for one in self._captured.values()},
                replan=self._again,
                pacing=Pacing(self.wanted.sweep_hours, self.wanted.sweep_rate),
            )
            self._tell_drift(report.failed)
            self._previous = sorted({one[0] for one in observe.registrations(admin, dialect)} - {self.wanted.owner})
            failed = self._bring_up(admin, report, set())
            if self._previous and not failed:
                # The capture is ours, so whoever registered under another name was its owner before us.
                with admin.step(steps.PREPARE):
                    fence.adopt_registrations(admin, dialect, self.wanted.owner)
        except BaseException:
            self._end_round()
            raise
        finally:
            admin.close()
        try:
            poller = threading.Thread(target=self._poll, args=(source,), name="poll", daemon=True)
            poller.start()
            if source.dialect.address.notifies:
                Listening(source).start()
            Repairs(source).start()
            Verifying(source, self._to_verify()).start()
            self._until_loaded(source)
            self._housekeeping(source)
            self._wait(source, failed)
            self._register_late(source)
        finally:
            self._end_round()

    def _end_round(self) -> None:
        self._halt.set()
        if self._source is not None:
            self._source.news.publish()
            self._source.woken.set()
        for worker in self._workers:
            worker.halted.set()
        # All together: whoever hangs in a database is left behind, for it can do no harm (promise 6).
        deadline = time.monotonic() + PATIENCE_AT_END
        for worker in self._workers:
            if worker.ident is not None and worker is not threading.current_thread():
                worker.join(timeout=max(0.0, deadline - time.monotonic()))
        self._workers, self._streams = [], {}
        if self._source is not None:
            # Not under the poll's statement, which would end the process where the driver is the engine itself. Whoever
            # hangs in there keeps it.
            if self._source.side_lock.acquire(timeout=1.0):
                self._source.side.close()
                self._source.side_lock.release()
            self._source = None

    def _until_loaded(self, source: Source) -> None:
        """Wait until the streams know where they stand, a second at most.

        A nonce before that would be noted in no checkpoint. Of ten processes that end soon (`run --once`, by cron) each
        would push one of those that the checkpoints hold out of the source, and the eleventh find none of them there.
        """
        deadline = time.monotonic() + FIRST_NONCE
        while time.monotonic() < deadline and not (self.stop.is_set() or self._again.is_set()):
            if sum(name.startswith("stream/") for _, name in list(source.groups)) >= len(self._streams):
                return
            self._again.wait(0.01)

    def _wait(self, source: Source, failed: set[str]) -> None:
        nonce_at, doubt_at = time.monotonic() + NONCE_EVERY, 0.0
        soonest = time.monotonic() + FIRST_NONCE
        retry_at = time.monotonic() + RETRY_FAILED_EVERY
        tried: set[str] = set()
        while not (self.stop.is_set() or self._again.is_set()):
            self._again.wait(0.1)
            now = time.monotonic()
            if now >= soonest and self._has_news_for(source):
                self._housekeeping(source)
                soonest = now + FIRST_NONCE * 5
            if now >= nonce_at:
                self._housekeeping(source)
                self._look_for_drift(source)
                nonce_at = now + NONCE_EVERY
            if source.doubt.is_set() and now >= doubt_at:
                source.doubt.clear()
                self._look_for_drift(source)
                doubt_at = now + DOUBT_EVERY
            if failed and (now >= retry_at or self._to_widen - tried):
                tried = set(self._to_widen)
                failed = self._retry(source, failed)
                retry_at = now + RETRY_FAILED_EVERY

    def _register_late(self, source: Source) -> None:
        """Who began and ended within a second (`run --once`) is known to the source all the same; not to one that does
        not answer, for nobody waits for that when told to stop."""
        if self._has_news_for(source) and source.side_lock.acquire(timeout=1.0):
            try:
                with contextlib.suppress(errors.PantographError):
                    self._housekeeping(source)
            finally:
                source.side_lock.release()

    def _has_news_for(self, source: Source) -> bool:
        """Whether a checkpoint holds no nonce yet: it cannot tell a source that went back in time. Or the source does
        not know of a Reflection yet: it keeps what nobody needs, and nobody can say how much of it is needed."""
        groups = list(source.groups.values())
        return any(one.checkpoint.position and not one.checkpoint.state.nonces for one in groups) or any(
            mirror.name not in source.registered for one in groups for mirror in list(one.mirrors)
        )

    def _retry(self, source: Source, failed: set[str]) -> set[str]:
        """Reflections that could not be prepared may be able now; those of missing tables need a whole new round."""
        admin = Session(source.dialect, Role.ADMIN)
        try:
            report = Report()
            if any(copy.source not in self._captured for copy in self._copies() if copy.name in failed):
                before = set(self._captured)
                captured, _ = prepare.source(
                    admin, source.dialect, self.wanted.owner, self.wanted.tables, report,
                    lease=self.wanted.lease, installs=self._installs, sleep=self._pause,
                )  # fmt: skip
                self._tell_drift(report.failed)
                if set(captured) != before:
                    self._again.set()
                    return failed
            return self._bring_up(admin, report, set(self._running()))
        finally:
            admin.close()

    def _copies(self) -> list[WantedCopy]:
        return [copy for _, copies in self.wanted.copies.values() for copy in copies]

    def _to_verify(self) -> dict[str, Asked]:
        return {
            copy.name: Asked(copy.verify_every, copy.verify_repairs, copy.allowed_deletes or 0)
            for copy in self._copies()
            if copy.verify_every
        }

    def _running(self) -> list[str]:
        return [name for worker in self._workers if worker.is_alive() for name in worker.names()]

    def _bring_up(self, admin: Session, report: Report, running: set[str]) -> set[str]:
        """Prepare and start every Reflection that is not running; the names of those that could not be prepared."""
        source = self._source
        assert source is not None
        failed: set[str] = set()

        def estimate(one: Captured) -> int:
            return observe.estimated(admin, source.dialect, one.shape.schema, one.shape.name)

        for destination, (address, copies) in self.wanted.copies.items():
            waiting = [copy for copy in copies if copy.name not in running]
            if not waiting:
                continue
            try:
                target = dialects.load(address)
                session = Session(target, Role.ADMIN)
            except errors.PantographError as error:
                report.failed.update({copy.name: error for copy in waiting})
                continue
            try:
                ready = prepare.copies(
                    session, target, source.dialect, self.wanted.owner, waiting, self._captured, report,
                    previous=self._previous, estimate=estimate, try_rows=expressions.trying(admin, source.dialect),
                    ask=expressions.asking(admin, source.dialect), alter=self._to_widen.__contains__,
                )  # fmt: skip
            except errors.PantographError as error:
                report.failed.update({copy.name: error for copy in waiting})
                continue
            finally:
                session.close()
            self._start(source, destination, address, ready)
        for copy in self._copies():
            if copy.name in report.failed:
                why = self._widening(copy.name, report.failed[copy.name])
                failed.add(copy.name)
                self.board.failed(copy.name, why.reason)
                self.board.phase(copy.name, "Failed", why.reason, str(why))
        return failed

    def _widening(self, name: str, why: errors.PantographError) -> errors.PantographError:
        """Why a Reflection failed; where it was to widen columns, when that is tried next.

        Everybody else is started first, for an ALTER of a large table takes its time; and what failed is not tried
        again and again, for it may have locked the table all that while.
        """
        if why.reason == "Widening":
            if name in self._not_widened:
                return self._not_widened[name]
            self._to_widen.add(name)
        elif name in self._to_widen and not isinstance(why, errors.Contended):
            self._to_widen.discard(name)
            self._not_widened[name] = why
        return why

    # -- workers -----------------------------------------------------------------------------------------------------

    def _start(self, source: Source, destination: str, address: Address, ready: Mapping[str, Ready]) -> None:
        source.targets[address.label] = address
        by_stream: dict[str, dict[str, Ready]] = {}
        for one in ready.values():
            seen = self.board.of(one.wanted.name)
            seen.source = ".".join(filter(None, one.mirror.source))
            seen.destination = ".".join(filter(None, one.mirror.destination))
            seen.database = address.label
            seen.stream = one.wanted.stream
            seen.complete = bool(one.checkpoint and one.checkpoint.state.complete)
            by_stream.setdefault(one.wanted.stream, {})[one.wanted.name] = one
        for name, members in by_stream.items():
            stream = self._streams.get((destination, name))
            if stream is None:
                in_step = {n: r for n, r in members.items() if moves_with_its_stream(r)}
                stream = Stream(name, source, address, dialects.load, dict(in_step))
                stream.aside = self._aside_of(source, stream, address)
                self._streams[destination, name] = stream
                # Whoever is in step but has something to do by itself leaves before the first window.
                for one in in_step.values():
                    if one.wanted.paused or self.wanted.paused or (one.checkpoint and why_sweep(one.checkpoint, one)):
                        stream.leave(one.wanted.name)
                self._begin(stream)
            else:
                in_step = {}
            # Smallest tables first: most of the database is there soonest.
            for one in sorted(members.values(), key=lambda r: r.estimated):
                if one.wanted.name not in in_step:
                    stream.aside(one, "")

    def _begin(self, worker: Worker) -> None:
        with self._lock:
            self._workers = [w for w in self._workers if w.ident is None or w.is_alive()]
            self._workers.append(worker)
        worker.start()

    def _aside_of(self, source: Source, stream: Stream, address: Address) -> Callable[[Ready, str], None]:
        def aside(ready: Ready, why: str) -> None:
            if self._halt.is_set():
                return
            name = ready.wanted.name
            if ready.wanted.paused or self.wanted.paused:
                self.board.phase(name, "Paused")
                return
            if why:
                self.board.phase(name, "Failed", "Rejected", why)
            # What made it leave is answered by now, or will be asked again by the worker itself.
            self._begin(Apart(source, address, dialects.load, dataclasses.replace(ready), stream))

        return aside

    # -- the source's own work ---------------------------------------------------------------------------------------

    def _poll(self, source: Source) -> None:
        """Look whether anything may have been committed: often while there is traffic, seldom when there is none."""
        windows = source.dialect.reader(list(source.captures.values()))
        last, changed_at = "", time.monotonic()
        pause = QUICKEST_POLL
        longest = self.wanted.poll_interval / (CHEAP_LOOKS if source.dialect.features.cheap_look else 1)
        rest = Rest(source, longest)
        try:
            while not self._halt.is_set():
                with source.side_lock, source.side.step(steps.LOOK):
                    token = windows.token(source.side)
                now = time.monotonic()
                if token != last:
                    last, changed_at, pause = token, now, QUICKEST_POLL
                    source.news.publish()
                elif now - changed_at > QUICK_FOR:
                    pause = min(longest, pause * 1.3)
                if source.dialect.address.notifies:
                    pause = rest.pause(now - changed_at > QUICK_FOR and not windows.restless, pause)
                source.woken.wait(pause)
                source.woken.clear()  # before the look that answers it
        except Exception as error:
            if not self._halt.is_set():
                why = error if isinstance(error, errors.PantographError) else errors.Bug(error)
                self.board.messages(f"{self.wanted.name}: the poll ended ({why}); beginning again")
        finally:
            rest.end()
            windows.close()
            self._again.set()

    def _housekeeping(self, source: Source) -> None:
        """A nonce, the lease, registrations; then what nobody needs any more is deleted."""
        positions = {key: group.read for key, group in list(source.groups.items()) if group.read}
        registrations = self._floors(source)
        try:
            with source.side_lock, source.side.step(steps.WRITE_NONCE):
                nonce, control = fence.advance(
                    source.side, source.dialect, source.owner, self.wanted.lease, registrations
                )
        except (errors.Unreachable, errors.CaptureOwned, errors.PositionLost):
            raise
        except errors.PantographError as error:
            self._undo(source)
            self.board.messages(f"{self.wanted.name}: NonceNotWritten: {error}")
            return
        if control.incarnation != source.control.incarnation:
            self.board.messages(
                f"{self.wanted.name}: capture begins a new life, for its lease had ended or the source came out of a "
                "dump; what was written since is unknown"
            )
            self._again.set()
            return
        if source.control.nonces and source.control.nonces[-1] not in control.nonces[:-1]:
            self.board.messages(f"{self.wanted.name}: SourceMoved: the last nonce is not there any more")
            self._again.set()
        source.control = control
        source.registered = set(registrations)
        for worker in list(self._workers):
            worker.noted(nonce, positions)
        try:
            self._purge(source)
        except errors.Contended:
            self._undo(source)  # somebody writes there just now; next time

    def _undo(self, source: Source) -> None:
        """Roll the source's own session back, while no other thread is in it."""
        with source.side_lock:
            source.side.rollback()

    def _floors(self, source: Source) -> dict[str, tuple[str, str, str]]:
        """Of each Reflection, as its checkpoint in the destination knows them: the capture, the oldest position that it
        might go back to, and its newest nonce."""
        floors: dict[str, tuple[str, str, str]] = {}
        for group in list(source.groups.values()):
            state = group.checkpoint.state
            # "" for one that holds no nonce yet: its first copy has just begun, or what it has committed may not be on
            # the destination's disk, and it needs all that comes after a snapshot that we do not know.
            floor, newest = (state.nonces[0][1], state.nonces[-1][0]) if state.nonces else ("", "")
            for mirror in list(group.mirrors):
                floors[mirror.name] = (mirror.capture.id, floor, newest)
        return floors

    def _purge(self, source: Source) -> None:
        """Delete what everybody has read, and what retention does not keep."""
        with contextlib.closing(source.dialect.reader(list(source.captures.values()))) as windows:
            self._purge_with(windows, source)

    def _purge_with(self, windows: WindowReader, source: Source) -> None:
        table = source.dialect.ours("captures")
        with source.side_lock:
            registered = observe.registrations(source.side, source.dialect)
        by_capture: dict[str, list[Position]] = {}
        for _, _, identity, position, _ in registered:
            by_capture.setdefault(identity, []).append(Position(position))
        known = {name for owner, name, _, _, _ in registered if owner == self.wanted.owner}
        # Of a Reflection that has not registered yet nobody knows what it needs: then only retention takes events.
        unknown = {copy.source for copy in self._copies() if copy.name not in known}
        wanted = {one.capture.id: subject for subject, one in self._captured.items()}
        names = {table.subject: table.name for table in self.wanted.tables}
        deadline = time.monotonic() + 5.0
        for capture in list(source.captures.values()):
            kept = self.board.kept(names.get(wanted.get(capture.id, ""), ""))
            retention = self.wanted.retention.get(wanted.get(capture.id, ""), Retention())
            floors = [] if wanted.get(capture.id, "") in unknown else by_capture.get(capture.id, [])
            while floors and not self._halt.is_set() and time.monotonic() < deadline:
                with source.side_lock, source.side.step(steps.PURGE):
                    count = windows.purge(source.side, capture, floors, PURGE_BATCH)
                kept.purged += count
                if count < PURGE_BATCH or source.dialect.features.single_writer:
                    break
            with source.side_lock, source.side.step(steps.PURGE):
                # With its mark in one transaction, and told before the commit: no snapshot lacks an event unknowingly.
                source.side.begin()
                try:
                    taken, mark = windows.expire(
                        source.side, capture, retention.max_age, retention.max_rows, PURGE_BATCH
                    )
                    if taken and mark:
                        mark = max(mark, source.purged.get(capture.id) or mark, key=int)
                        source.side.run(f"update {table} set purged = :mark where id = :id", mark=mark, id=capture.id)
                        source.purged[capture.id] = mark
                    source.side.commit()
                except BaseException:
                    source.side.rollback()
                    raise
                kept.purged, kept.expired = kept.purged + taken, kept.expired + taken

    def _tell_drift(self, drifted: Collection[str]) -> None:
        """Have the board show which SourceTables' capture is not as it was planned; by subject."""
        for table in self.wanted.tables:
            if table.name:
                self.board.kept(table.name).drift = table.subject in drifted

    def _look_for_drift(self, source: Source) -> None:
        """Is every capture, and every table under it, as it was planned?"""
        drifted = {table.subject for table in self.wanted.tables} - set(self._captured)
        tables = [(one.shape.schema, one.shape.name) for one in self._captured.values()]
        with source.side_lock, source.side.step(steps.INSPECT):
            found = source.dialect.fingerprints(source.side, tables)
            for subject, one in self._captured.items():
                shape = one.shape if (one.shape.schema, one.shape.name) in found else None
                state = source.dialect.capture_state(source.side, one.capture, shape)
                same = found.get((one.shape.schema, one.shape.name)) == one.fingerprint
                if not state.healthy or not same:
                    self.board.messages(
                        f"{self.wanted.name}: CaptureDrift: {one.shape.label}: "
                        + ("; ".join(state.problems) or "the table has changed")
                    )
                    drifted.add(subject)
                    self._again.set()
        self._tell_drift(drifted)

    # -- for others --------------------------------------------------------------------------------------------------

    def look_now(self) -> None:
        """Have every stream take a turn, though nothing says that there is anything to do."""
        source = self._source
        if source is not None:
            source.news.publish()

    def names(self) -> set[str]:
        """The Reflections that may be moved now: what is not among them, nobody works on any more."""
        return set(self._named)

    def groups(self) -> list[Group]:
        """The groups that are moved now."""
        return list(self._source.groups.values()) if self._source else []

    def captures(self) -> dict[str, Capture]:
        """The captures that are in place, by their SourceTable's name."""
        return {t.name: self._captured[t.subject].capture for t in self.wanted.tables if t.subject in self._captured}
