"""How long a scrape of `/metrics` takes, and how much it is.

    python -m benchmarks.scrape [--reflections 500] [--scrapes 20] [--most 200]

A board with that many Reflections, all of which have moved rows, each of a table of its own, served over HTTP. Prints
the series, the bytes and each scrape's milliseconds, and exits with 1 when their median is above `--most`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import urllib.request

from pantograph.metrics import exposition
from pantograph.pipeline.turn import Outcome, Written
from pantograph.reflector import exporting
from pantograph.reflector.reporting import Board
from tests.servers.processes import free_port


def board_of(reflections: int) -> Board:
    """As after a day: every counter has counted, every histogram has observed."""
    board = Board()
    for number in range(reflections):
        name = f"default/orders-{number}-to-warehouse"
        for kind in ("applied", "empty", "page"):
            outcome = Outcome(
                kind, {name: Written(3, 1, 5, 0, {}, 1)}, dict.fromkeys(("read", "write", "commit"), 0.01)
            )
            outcome.oldest = 0.05
            board.turned([name], outcome, reached=True)
        seen = board.of(name)
        seen.pending, seen.waiting_rows, seen.dead_letters, seen.differing = 0, 0, 0, 0
        seen.image, seen.image_at, seen.verified_at, seen.sweep_began, seen.sweep_ended = True, 1.0, 1.0, 1.0, 2.0
        kept = board.kept(f"default/orders-{number}")
        kept.backlog, kept.size, kept.oldest_at, kept.drift = 5, 8192, 1.0, False
    return board


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reflections", type=int, default=500)
    parser.add_argument("--scrapes", type=int, default=20)
    parser.add_argument("--most", type=float, default=200.0)
    arguments = parser.parse_args()
    board, port = board_of(arguments.reflections), free_port()
    spent, worked = [], []
    with exposition.Server(lambda: exporting.page(board, []), port, "127.0.0.1"):
        for _ in range(arguments.scrapes):
            began, busy = time.perf_counter(), time.process_time()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                page = answer.read()
            spent.append((time.perf_counter() - began) * 1000)
            worked.append((time.process_time() - busy) * 1000)
    series = sum(1 for line in page.splitlines() if not line.startswith(b"#"))
    print(f"{arguments.reflections} Reflections: {series:,} series, {len(page) / (1 << 20):.1f} MiB")
    print("ms a scrape:", " ".join(f"{one:.0f}" for one in spent))
    median = statistics.median(spent)
    print(f"median {median:.0f} ms, worst {max(spent):.0f} ms, at most {arguments.most:.0f} ms", end="; ")
    print(f"of CPU, the reader's included, {statistics.median(worked):.0f} ms")
    sys.exit(1 if median > arguments.most else 0)


if __name__ == "__main__":
    main()
