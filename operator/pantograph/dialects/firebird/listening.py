"""POST_EVENT: the server tells of every commit in which a trigger posted our event.

It tells so on a second connection, which the client library opens to a port that the server names (`RemoteAuxPort`; any
free one unless set). When such a connection ends, the library's threads get in each other's way, and now and then the
whole process dies of it (seen with 3.0.11, by SIGSEGV and by SIGABRT; through fdb's conduits and by the library's own
calls). So a process of its own waits for the events, and when that one dies it is a connection that was lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys

from pantograph import errors
from pantograph.dialects.base import Listener, Session

BEGINS_WITHIN = 60.0
"""Seconds until it listens at the latest: the library waits long for a port that a firewall closes."""


class Events(Listener):
    """What is posted under one name."""

    def __init__(self, session: Session, where: str, username: str, password: str, event: str) -> None:
        session.raw.close()  # the other process has a connection of its own
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pantograph.dialects.firebird.posted"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        asked = {"dsn": where, "user": username, "password": password, "event": event}
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{json.dumps(asked)}\n".encode())
            self._process.stdin.flush()
            if not self.wait(BEGINS_WITHIN):
                raise errors.Unreachable("the port on which the server tells of events does not answer (RemoteAuxPort)")
        except BaseException:
            self.close()
            raise

    def wait(self, timeout: float) -> bool:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return False
        if not os.read(self._process.stdout.fileno(), 65536):
            raise errors.Unreachable("the connection on which the server tells of events has ended")
        return True

    def close(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()
