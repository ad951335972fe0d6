"""Behind a source that moved: compare, and have looked up again what lost transactions left at the destination.

Going back to a nonce reads again everything that the source still has. What it lost (a crash with
`synchronous_commit = off`, a failover to a replica that was behind) may have been copied before, and no event says that
it is gone: only a comparison finds it. Its need is in the checkpoint (`suspect`), so that it outlives this process.
"""

from __future__ import annotations

import threading

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.pipeline import verification
from pantograph.pipeline.turn import Group
from pantograph.reflector.streams import Source

LOOK_EVERY = 1.0
GENTLE = verification.Pace(rest=1.0)
"""As much rest as work: the stream's lag comes first."""
ONE_AT_A_TIME = threading.Lock()
"""Held by whoever compares: one in a process, whatever the number of its sources."""


class Repairs(threading.Thread):
    """Looks for suspect groups, and compares them one at a time."""

    def __init__(self, source: Source) -> None:
        super().__init__(name=f"repairs of {source.name}", daemon=True)
        self.source = source

    def run(self) -> None:
        while not self.source.stop.wait(LOOK_EVERY):
            for key, group in list(self.source.groups.items()):
                if group.checkpoint.state.suspect and group.checkpoint.state.sweep is None:
                    try:
                        with ONE_AT_A_TIME:
                            settled = self._compare(group, self.source.targets[key[0]])
                        if settled:
                            self.source.cleared.add(key)
                    except Exception as error:  # whatever it is, the need to compare stays
                        self.source.board.messages(f"{group.checkpoint.name}: comparing failed: {error}; trying again")
                        self.source.stop.wait(30.0)

    def _compare(self, group: Group, address: Address) -> bool:
        """Compare all of a group's Reflections; whether nothing is left to look at."""
        done = True
        reader = Session(self.source.dialect, Role.READER)
        writer = Session(dialects.load(address), Role.WRITER)
        try:
            for mirror in list(group.mirrors):
                result = verification.run(
                    reader, writer, mirror, self.source.owner,
                    repair=True, pace=GENTLE, nudge=self.source.nudge, stop=self.source.stop,
                )  # fmt: skip
                ended = f" ({result.incomplete}: {result.message})" if result.incomplete else ""
                self.source.board.messages(
                    f"{mirror.name}: compared after the source moved: {result.rows} rows, "
                    f"{result.differences} differed, {result.repaired} repaired{ended}"
                )
                done = done and result.settled
        finally:
            reader.close()
            writer.close()
        return done
