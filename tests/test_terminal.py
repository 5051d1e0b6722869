"""Text for a terminal: columns and lines, and whether somebody looks."""

from __future__ import annotations

import io
from unittest.mock import patch

from command_line import Terminal

from robodj_secretguard.cli.output import PROGRESS_SECONDS, WIDTH, Progress, columns, is_terminal, shows_colour, wrapped


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


class TestProgress:
    """A line that is written over itself."""

    @staticmethod
    def shown(stream: io.StringIO, *steps: tuple[float, str]) -> str:
        """Return what is written when something is told at these times after the beginning."""
        with patch("robodj_secretguard.cli.output.time.monotonic") as monotonic:
            monotonic.return_value = 1000.0
            progress = Progress(stream)
            for after, text in steps:
                monotonic.return_value = 1000 + after
                progress.show(text)
            progress.clear()
        return stream.getvalue()

    @staticmethod
    def line(text: str) -> str:
        """Return a line that covers the one before."""
        return f"\r{text.ljust(WIDTH - 1)}\r"

    def test_how_often(self) -> None:
        """Not before anybody would ask, and then at most once in each interval."""
        second = PROGRESS_SECONDS
        steps = [(second / 2, "a"), (second, "b"), (second * 1.9, "c"), (second * 2.5, "d"), (second * 9, "e")]
        assert self.shown(Terminal(), *steps) == "".join(map(self.line, "bde")) + " " * (WIDTH - 1) + "\r"

    def test_nothing_was_shown(self) -> None:
        """Nothing is taken away: there may be something else in that line."""
        assert self.shown(Terminal(), (0, "a")) == ""

    def test_too_long(self) -> None:
        """It is cut: a line that wraps could not be written over."""
        assert self.shown(Terminal(), (1, "x" * 200)).startswith(self.line("x" * (WIDTH - 1)))

    def test_nobody_looks(self) -> None:
        """Nothing is written to what is no terminal."""
        assert self.shown(io.StringIO(), (1, "a")) == ""

    def test_no_stream(self) -> None:
        """There may be none, or one that is closed meanwhile: what is shown goes nowhere, and nothing is raised."""
        closed = Terminal()
        for stream in (None, closed):
            progress = Progress(stream)
            closed.close()
            with patch("robodj_secretguard.cli.output.time.monotonic", return_value=1e9):
                progress.show("a")
            progress.clear()
        assert closed.closed
