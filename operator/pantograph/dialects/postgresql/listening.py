"""LISTEN: the session is told of every commit in which a trigger called `pg_notify`."""

from __future__ import annotations

import select

from pantograph.dialects.base import Listener, Session

CHECK_EVERY = 30.0
"""Seconds of silence after which the server is asked whether it is still there."""


class Notifications(Listener):
    """What comes on one channel. channel: quoted."""

    def __init__(self, session: Session, channel: str) -> None:
        self._session, self._silence = session, 0.0
        session.direct(f"listen {channel}")

    def wait(self, timeout: float) -> bool:
        connection = self._session.raw
        with self._session.using() as cursor:
            if not connection.notifies and not select.select([connection], [], [], timeout)[0]:
                self._silence += timeout
                if self._silence < CHECK_EVERY:
                    return False
                cursor.execute("select 1")
            self._silence = 0.0
            connection.poll()
            heard = bool(connection.notifies)
            connection.notifies.clear()
            return heard
