"""The command `pantograph`. What is heavy is imported by the command that needs it, when it is called."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point. Every failure is one line on standard error and a status that scripts can act on."""
    from pantograph.cli import commands

    sys.exit(commands.main(sys.argv[1:]))
