"""A cluster to play with: `python -m tests.cluster`, as root. Ends with Ctrl-C, and takes everything away.

`python -m tests.cluster build` makes what a cluster is made of, and ends.
"""

from __future__ import annotations

import pathlib
import signal
import sys

from tests.cluster import images, node, programs


def main(words: list[str]) -> None:
    if words not in ([], ["build"]):
        sys.exit(__doc__)
    if reason := node.cannot_run():
        # To build for nothing is no failure: the suite skips itself where this is so.
        print(f"this machine cannot run a node: {reason}", file=sys.stderr)
        sys.exit(0 if words else 1)
    programs.build()
    name, archive = images.ours()
    if not words:
        _run(name, archive)


def _run(name: str, archive: pathlib.Path) -> None:
    with node.running() as ours:
        ours.add_image(archive)
        print(f"export KUBECONFIG={ours.kubeconfig} PATH={ours.programs}:$PATH  # the image is {name}", flush=True)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("taking it down", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
