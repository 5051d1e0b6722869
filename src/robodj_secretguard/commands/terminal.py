"""Text for a terminal: columns, and colour where it is one."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Final, TextIO

from robodj_secretguard.sealed import contain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH: Final = 80

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
