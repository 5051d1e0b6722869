"""Text for a terminal: columns, and colour where it is one."""

from __future__ import annotations

import contextlib
import os
import textwrap
import time
from typing import TYPE_CHECKING, Final, TextIO

from robodj_secretguard.sealed import contain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH: Final = 80

PROGRESS_SECONDS: Final = 0.2
"""How often what goes on is shown."""

_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33}


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as lines, with the cells of each column under each other."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def wrapped(text: str, indent: str) -> str:
    """Return text in lines of at most `WIDTH` characters, the second and later ones indented."""
    return "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False))


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at a stream."""
    return stream is not None and contain(stream.isatty) is True


def shows_colour(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that shows colour, and nobody has asked it not to (`NO_COLOR`)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and os.name == "posix" and is_terminal(stream)


def coloured(text: str, colour: str) -> str:
    """Return text in a colour of terminals."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


class Progress:
    """A line that says how far something is, where somebody looks at it.

    Args:
        stream: where it is shown, if it is a terminal.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if is_terminal(stream) else None
        self._next = time.monotonic() + PROGRESS_SECONDS
        self._shown = False

    def show(self, text: str) -> None:
        """Show how far it is, unless that was done just now."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            self._shown = True
            self._write(f"\r{text[: WIDTH - 1]:<{WIDTH - 1}}\r")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write(f"{' ' * (WIDTH - 1)}\r")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):  # not more: an interrupt is one
                self._stream.write(text)
                self._stream.flush()
