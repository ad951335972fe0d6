"""Run manifests until SIGTERM, and die by SIGKILL where the environment says: `DIE_AT=step:before|after:n`.

Only for tests. `TRACE` names a file to which the name of each step is appended the first time that it is entered and
left. `NONCE_EVERY` (seconds) has the housekeeping come round sooner, `LIMITS` (rows,bytes,transaction rows) makes pages
small.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading

from pantograph.api import manifests as parsing
from pantograph.database import sessions
from pantograph.pipeline.turn import Limits
from pantograph.reflector import process, reporting, sources, streams


def _hooks() -> None:
    step, when, n = (os.environ.get("DIE_AT") or "::0").rsplit(":", 2)
    left = [int(n)]
    lock = threading.Lock()
    seen: set[tuple[str, str]] = set()
    trace = os.open(os.environ["TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT) if "TRACE" in os.environ else -1

    def hook(name: str, moment: str) -> None:
        with lock:
            if trace >= 0 and (name, moment) not in seen:
                seen.add((name, moment))
                os.write(trace, f"{name}:{moment}\n".encode())
            if (name, moment) == (step, when):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    sessions.add_hook(hook)


def main() -> int:
    _hooks()
    process.NONCE_EVERY = float(os.environ.get("NONCE_EVERY", process.NONCE_EVERY))
    streams.LOOK_AT_KEYS = min(streams.LOOK_AT_KEYS, 2.0)
    loaded = parsing.load(sys.argv[1:], None)
    board = reporting.Board()
    board.messages = lambda text: print(text, flush=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    running = []
    for one in sources.wanted(loaded):
        if "LIMITS" in os.environ:
            rows, size, transaction = map(int, os.environ["LIMITS"].split(","))
            one = dataclasses.replace(one, limits=Limits(rows, size, transaction))
        running.append(threading.Thread(target=process.Process(one, board, stop).run))
    for thread in running:
        thread.start()
    for thread in running:
        while thread.is_alive():
            thread.join(0.2)
    for seen in board.all():
        print(f"{seen.name}: {seen.phase} failures={seen.failures} turns={seen.turns}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
