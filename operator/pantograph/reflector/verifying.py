"""Compares Reflections with their sources while both are live, as often as `spec.verify.every` says.

One at a time in a process, with as much rest as work: lag comes first. When the next one is due is in the Reflection's
checkpoint, so that neither a restart nor many of them put it off; the first ones are spread over the whole interval.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pantograph import dialects, errors
from pantograph.apply.prepare import checkpoint_name
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import checkpoints, steps, verification
from pantograph.pipeline.checkpoints import Checkpoint, Verified
from pantograph.reflector.repairs import GENTLE, ONE_AT_A_TIME
from pantograph.reflector.streams import Source

LOOK_EVERY = 1.0
REST_AT_START = 60.0
"""What was due while nobody ran begins within this many seconds after a start, and not all at once."""
AGAIN_AFTER = 600.0
"""Seconds until a comparison is tried again that could not be made, unless it is due before."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`spec.verify`: seconds between comparisons; whether what differs is copied again; deletes that are allowed."""

    every: float
    repair: bool = True
    allowed_deletes: int = 0


def spread(name: str) -> float:
    """A number from 0 to 1 that is the same for a Reflection in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 0xFFFFFFFF


class Verifying(threading.Thread):
    """Looks which of a source's Reflections are due, and compares them."""

    def __init__(self, source: Source, asked: Mapping[str, Asked]) -> None:
        super().__init__(name=f"verifying of {source.name}", daemon=True)
        self.source, self.asked = source, asked
        self._due: dict[str, float] = {}

    def run(self) -> None:
        while self.asked and not self.source.stop.wait(LOOK_EVERY):
            for (label, checkpoint), group in list(self.source.groups.items()):
                if not checkpoint.startswith("stream/"):
                    continue  # who is apart is being copied, or about to catch up
                for mirror in list(group.mirrors):
                    if mirror.name in self.asked and not self.source.stop.is_set():
                        self._look(mirror, self.source.targets[label])

    def _look(self, mirror: Mirror, address: Address) -> None:
        try:
            if mirror.name not in self._due:
                self._due[mirror.name] = self._schedule(mirror, address)
            if time.time() >= self._due[mirror.name] and ONE_AT_A_TIME.acquire(blocking=False):
                try:
                    self._compare(mirror, address)
                finally:
                    ONE_AT_A_TIME.release()
        except Exception as error:  # whatever it is, the others go on, and this one is tried again
            why = error if isinstance(error, errors.PantographError) else errors.Bug(error)
            self.source.board.messages(f"{mirror.name}: comparing failed: {why}; trying again")
            self._due[mirror.name] = time.time() + min(self.asked[mirror.name].every, AGAIN_AFTER)

    def _schedule(self, mirror: Mirror, address: Address) -> float:
        """When the next one is due, as the checkpoint says; written there the first time."""
        now, asked, part = time.time(), self.asked[mirror.name], spread(mirror.name)
        session = Session(dialects.load(address), Role.WRITER)
        try:
            known = self._load(session, mirror)
            verified = known.state.verified if known else None
            if verified is None:
                verified = Verified(due=now + asked.every * (0.1 + 0.9 * part))
                self._write(session, known, verified)
        finally:
            session.close()
        self._show(mirror, verified)
        return max(min(verified.due, now + asked.every), now + min(REST_AT_START, asked.every) * part)

    def _compare(self, mirror: Mirror, address: Address) -> None:
        asked, board = self.asked[mirror.name], self.source.board
        reader = Session(self.source.dialect, Role.READER)
        writer = Session(dialects.load(address), Role.WRITER)
        try:
            result = verification.run(
                reader, writer, mirror, self.source.owner, repair=asked.repair, allowed_deletes=asked.allowed_deletes,
                pace=GENTLE, nudge=self.source.nudge, stop=self.source.stop,
            )  # fmt: skip
            if self.source.stop.is_set():
                return  # what has begun anew compares from the start
            if result.incomplete:
                self._due[mirror.name] = time.time() + min(asked.every, AGAIN_AFTER)
                board.messages(f"{mirror.name}: not compared ({result.incomplete}): {result.message}; trying again")
                return
            now = time.time()
            verified = Verified(now + asked.every, now, result.rows, result.differences, result.repaired)
            self._write(writer, self._load(writer, mirror), verified)
            self._due[mirror.name] = verified.due
        finally:
            reader.close()
            writer.close()
        self._show(mirror, verified)
        if result.differences:
            board.failed(mirror.name, "RowsDiffer")
        board.messages(f"{mirror.name}: {said(result)}")

    def _load(self, session: Session, mirror: Mirror) -> Checkpoint | None:
        name = checkpoint_name(mirror.name)
        with session.step(steps.LOAD_CHECKPOINTS):
            return checkpoints.load(session, session.dialect, self.source.owner, (name,)).get(name)

    def _write(self, session: Session, known: Checkpoint | None, verified: Verified) -> None:
        """Into the Reflection's own checkpoint, which nobody moves while it is in step."""
        if known is None or not known.state.in_step:
            return
        try:
            with session.step(steps.MOVE_CHECKPOINT):
                session.begin()
                state = dataclasses.replace(known.state, verified=verified)
                checkpoints.move(session, session.dialect, known, known.position, state)
                session.commit()
        except errors.StaleCheckpoint:
            session.rollback()  # it has just left its stream: the next look writes
        except BaseException:
            session.rollback()
            raise

    def _show(self, mirror: Mirror, verified: Verified) -> None:
        if verified.at:
            seen = self.source.board.of(mirror.name)
            seen.verified_at, seen.differing = verified.at, verified.differing


def said(result: verification.Result) -> str:
    """What a comparison found, for a person."""
    if not result.differences:
        return f"compared: {result.rows} rows are equal"
    text = f"RowsDiffer: compared {result.rows} rows, {result.differences} differed"
    if result.repaired or result.noted:
        text += f", {result.repaired} are repaired, {result.noted} about to be"
    if result.held:
        text += f"; {result.held} that the source has not are too many to delete without the annotation allow-deletes"
    if result.not_holding:
        text += (
            f"; RepairDoesNotHold in {', '.join(sorted(result.not_holding))}: something there changes what is written"
        )
    return text
