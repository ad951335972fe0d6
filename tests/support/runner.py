"""Run manifests until SIGTERM, and die by SIGKILL where the environment says: `DIE_AT=step:before|after:n`.

Only for tests. It imports everything once and then forks a life for each line of its input, which is a JSON object:
manifests, output, and environment, in which `DIE_AT` is. It answers with the life's process id, and its status when it
has ended. `TRACE` names a file to which the name of each step is appended the first time that it is entered and
left. `NONCE_EVERY` (seconds) has the housekeeping come round sooner, `LIMITS` (rows,bytes,transaction rows) makes pages
small.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import signal
import sys
import threading

from pantograph.api import manifests as parsing
from pantograph.apply import sources
from pantograph.database import sessions
from pantograph.pipeline.turn import Limits
from pantograph.reflector import process, reporting, streams


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
    for one in ("postgresql", "mysql", "sqlite"):
        importlib.import_module(f"pantograph.dialects.{one}")
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.environ.update(order["environment"])
            os.dup2(os.open(order["output"], os.O_WRONLY | os.O_APPEND), 2)
            os.dup2(2, 1)
            os._exit(_life(order["manifests"]))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return 0


def _life(manifests: str) -> int:
    _hooks()
    process.NONCE_EVERY = float(os.environ.get("NONCE_EVERY", process.NONCE_EVERY))
    streams.LOOK_AT_KEYS = min(streams.LOOK_AT_KEYS, 2.0)
    loaded = parsing.load([manifests], None)
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
