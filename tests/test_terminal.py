"""Text for a terminal: columns and lines, and whether somebody looks."""

from __future__ import annotations

import io

from command_line import Terminal

from robodj_secretguard.commands.terminal import columns, is_terminal, shows_colour, wrapped


def test_columns() -> None:
    """The cells of each column stand under each other, and no line ends with blanks."""
    assert columns([("#", "WHEN", "WHO"), ("10", "now", ""), ("1", "yesterday", "Ada")]) == (
        "#   WHEN       WHO\n10  now\n1   yesterday  Ada"
    )


def test_wrapped() -> None:
    """Lines of at most 80 characters, broken at blanks and not at hyphens; a word that is longer is cut."""
    assert wrapped(f"  {'word ' * 15}well-known", "    ") == f"  {'word ' * 15}".rstrip() + "\n    well-known"
    assert wrapped("x" * 90, "  ") == f"{'x' * 80}\n  {'x' * 10}"


def test_who_looks() -> None:
    """Nobody at a stream that is not there, is no terminal, or cannot say."""
    closed = io.StringIO()
    closed.close()
    assert [is_terminal(stream) for stream in (None, io.StringIO(), closed, Terminal())] == [False, False, False, True]
    assert not shows_colour(None)
