"""The process that waits for events of a Firebird server, for `listening`: a line for each, until its input ends.

`python -m pantograph.dialects.firebird.posted`; the first line of its input is JSON with `dsn`, `user`, `password` and
`event`. It ends when the connection does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading

import fdb

CHECK_EVERY = 10.0
"""Seconds of silence after which the server is asked whether it is still there."""


def main() -> None:
    """Ends the process without closing anything: that is where the client library's threads get in each other's way."""
    with contextlib.suppress(Exception):
        asked = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_input, daemon=True).start()
        connection = fdb.connect(dsn=asked["dsn"], user=asked["user"], password=asked["password"], charset="UTF8")
        conduit = connection.event_conduit([asked["event"]])
        conduit.begin()
        while True:
            os.write(1, b"\n")  # the first one: it listens
            while not any((conduit.wait(CHECK_EVERY) or {}).values()):
                if conduit.closed:
                    os._exit(0)
                connection.begin()
                connection.cursor().execute("select 1 from rdb$database")
                connection.rollback()
            conduit.flush()
    os._exit(1)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
