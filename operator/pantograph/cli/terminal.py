"""What is printed, and where: results on standard output, all else on standard error.

No colour and no animation without a terminal, with NO_COLOR, or where TERM is `dumb`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from pantograph.wording import count as count
from pantograph.wording import short as short
from pantograph.wording import span as span

if TYPE_CHECKING:
    from rich.console import Console


def is_live(stream: TextIO) -> bool:
    """Can lines on this stream be drawn over?"""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def console(stream: TextIO) -> Console:
    """Rich, on this stream; it honours NO_COLOR by itself."""
    from rich.console import Console

    return Console(file=stream, highlight=False, soft_wrap=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns under their heads, as kubectl prints them; the last column is as long as it is."""
    lines = [tuple(head), *(tuple(cell or "-" for cell in row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The latest values as a row of small bars."""
    # One slow change must not flatten all others: the highest bar is what one in ten exceeds.
    top = sorted(values)[len(values) * 9 // 10] if values else 0.0
    if not top:
        return ""
    return "".join(SPARKS[min(len(SPARKS) - 1, int(value / top * len(SPARKS)))] for value in values[-width:])


def fields(values: dict[str, Any]) -> str:
    """`name=value …`; a value with blanks or quotes in quotes, as JSON has them."""
    return " ".join(f"{name}={_field(value)}" for name, value in values.items() if value not in (None, ""))


def _field(value: Any) -> str:
    if isinstance(value, float):
        value = f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    plain = text.isprintable() and not any(letter in ' "=' for letter in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


class Log:
    """Events in the past tense with fields, one a line, on standard error. Any thread may tell one."""

    def __init__(self, stream: TextIO | None = None, drawn: Console | None = None) -> None:
        self._stream = stream or sys.stderr
        self._console = drawn  # whoever draws there: lines must pass through it, or they are drawn over
        self.hears: list[Callable[[str, Mapping[str, Any]], None]] = []  # who else is told

    def event(self, what: str, **values: Any) -> None:
        """Something happened."""
        for hear in self.hears:
            hear(what, values)
        if self._console is None:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            # In one piece: print() would write the line's end by itself, behind another thread's line.
            self._stream.write(f"{at} {what} {fields(values)}".rstrip() + "\n")
            self._stream.flush()
            return
        from rich.text import Text

        line = Text(time.strftime("%H:%M:%S "), style="dim")
        line.append(what, style="red" if "failed" in what or "unreachable" in what else "")
        line.append(f"  {fields(values)}", style="dim")
        self._console.print(line)


def complain(message: str) -> None:
    """Say on standard error what is wrong; each line with the program's name, as every tool does."""
    for line in message.splitlines():
        print(f"pantograph: {line}", file=sys.stderr, flush=True)
