"""The result of a command as text, as a table and as JSON, and the streams that it is written to."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import structlog
from command_line import Terminal
from conftest import V2, good_keys

from robodj_secretguard import check
from robodj_secretguard.cli.output import (
    EXIT_ALERTS,
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    PROGRESS_SECONDS,
    WIDTH,
    Progress,
    Result,
    as_json,
    as_text,
    columns,
    divert_stdout,
    emit_event,
    is_terminal,
    labelled,
    rendered,
    restore_stdout,
    revocation_line,
    say,
    shows_colour,
    status_line,
    tally,
    wrapped,
)
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.sources import RevocationStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

USED = {"name": "a:B", "source": "option"}


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def write(self, _: str) -> int:
        raise OSError


def test_result() -> None:
    """A status is one of three. No text of a result is in its representation: it may be a key."""
    assert (EXIT_CLEAN, EXIT_ALERTS, EXIT_USAGE) == (0, 1, 2)
    shown = repr(Result(7, ["a line"], dict, text="a text"))
    assert [text in shown for text in ("status=7", "a line", "dict", "a text")] == [True, False, False, False]


class TestRender:
    """`rendered`, `as_json` and `as_text`."""

    def test_model(self) -> None:
        """The line of the model stands for the model that was used."""
        result = Result(EXIT_CLEAN, [MODEL], lambda: {"kind": "report"}, [MODEL])
        text = rendered(result, "text", {"name": "a:B", "source": "pyproject.toml"}, None)
        assert (text.text, text.stderr) == (
            "model: a:B (pyproject.toml)",
            ["robodj-secretguard: model: a:B (pyproject.toml)"],
        )
        assert rendered(result, "text", USED, None).text == "model: a:B"
        assert json.loads(rendered(result, "json", USED, None).text)["model"] == USED
        assert rendered(replace(result, document=None), "json", USED, None).text == "model: a:B"

    @pytest.mark.parametrize(
        ("result", "own", "document"),
        [
            (Result(0), {"a": 1, "kind": "b"}, {"schema": 1, "kind": "b", "ok": True, "model": USED, "a": 1}),
            (
                Result(1),
                {"kind": "b", "a": "\xe9"},
                {"schema": 1, "kind": "b", "ok": False, "model": USED, "a": "\xe9"},
            ),
            (Result(1), {"kind": "b", "ok": True}, {"schema": 1, "kind": "b", "ok": False, "model": USED}),
            (Result(0, bare=True), {"a": 1}, {"a": 1}),
        ],
    )
    def test_json(self, result: Result, own: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        """A document begins with schema, kind, ok (for status 0) and model, unless it is bare. It is ASCII."""
        text = as_json(result, own, USED)
        assert (list(json.loads(text).items()), text.isascii()) == (list(document.items()), True)
        assert text.startswith('{\n  "')

    def test_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A terminal shows colour. Long lines are wrapped on request, under the text that has a label."""
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        result = Result(0, ["plain", ("bad", "red"), ("so so", "yellow"), ("good", "green")])
        assert as_text(result, USED, io.StringIO()) == "plain\nbad\nso so\ngood"
        coloured = "plain\n\x1b[31mbad\x1b[0m\n\x1b[33mso so\x1b[0m\n\x1b[32mgood\x1b[0m"
        assert as_text(result, USED, Terminal()) == coloured
        words = ["x" * 40] * 2
        long = [" ".join(words), labelled("owner", " ".join(words))]
        assert long[1] == f"  owner{' ' * 8}{words[0]} {words[0]}"
        assert as_text(Result(0, long), USED, None) == "\n".join(long)
        assert as_text(Result(0, long, wraps=True), USED, None).splitlines() == [
            *(words[0], f"  {words[0]}", f"  owner{' ' * 8}{words[0]}", f"{' ' * 15}{words[0]}")
        ]

    @pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
    def test_colour(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """A terminal shows no colour where NO_COLOR is set, where it is dumb, and on Windows."""
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "")
        assert shows_colour(Terminal())
        monkeypatch.setenv(name, "dumb")
        assert not shows_colour(Terminal())
        monkeypatch.setenv(name, "")
        with patch.object(os, "name", "nt"):
            assert not shows_colour(Terminal())

    def test_terminal(self) -> None:
        """A stream that is missing, closed or a file is not a terminal."""
        closed = io.StringIO()
        closed.close()
        streams = (None, io.StringIO(), closed, Terminal())
        assert [is_terminal(stream) for stream in streams] == [False, False, False, True]

    def test_lines(self) -> None:
        """A report is reduced to a tally and a line for each secret, and the revocation list to a line."""
        report = check(environ=good_keys() | {f"{V2}_EXPIRES_AT": "2099-01-05T00:00:00Z"})
        assert tally(report) == "0 alert(s), 1 warning(s)"
        assert [*map(status_line, report.secrets)] == [
            "secret.key: present (source: environment; no expiry marker)",
            "secret_v2.key: present (source: environment; expires 2099-01-05T00:00:00Z)",
        ]

    @pytest.mark.parametrize(
        ("status", "line"),
        [
            (None, "not looked for"),
            (RevocationStatus((), frozenset()), "none"),
            (RevocationStatus(("environment",), frozenset("a")), "ROBODJ_REVOKED_FINGERPRINTS, 1 entry"),
            (
                RevocationStatus(("environment", "file:x"), frozenset("ab")),
                "ROBODJ_REVOKED_FINGERPRINTS and config/revoked.fingerprints, 2 entries",
            ),
        ],
    )
    def test_revocation_line(self, status: RevocationStatus | None, line: str) -> None:
        """The line says where the list is, and how many entries it has."""
        assert revocation_line(status) == f"revocation list: {line}"

    def test_columns(self) -> None:
        """The cells of a column are aligned, and no line ends with blanks."""
        assert columns([("#", "WHEN", "WHO"), ("10", "now", ""), ("1", "yesterday", "Ada")]) == (
            "#   WHEN       WHO\n10  now\n1   yesterday  Ada"
        )
        with pytest.raises(ValueError, match="shorter"):
            columns([("#", "WHEN"), ("10",)])

    def test_wrapped(self) -> None:
        """Lines have at most 80 characters and break at blanks, not at hyphens. A longer word is cut."""
        assert wrapped(f"  {'word ' * 14}well-known", "    ") == f"  {'word ' * 14}".rstrip() + "\n    well-known"
        assert wrapped("x" * 90, "  ") == f"{'x' * 80}\n  {'x' * 10}"


class TestSay:
    """`say` and `emit_event`."""

    @staticmethod
    def said(result: Result, stdout: io.StringIO | None) -> tuple[int, str]:
        """Return the status, and what is on stderr."""
        with patch.object(sys, "stderr", io.StringIO()) as stderr:
            return say(result, stdout), stderr.getvalue()

    def test_written(self) -> None:
        """The text is on stdout, with its end; other lines are on stderr, without empty ones."""
        stdout = io.StringIO()
        assert self.said(Result(1, text="a", end=".", stderr=["", "b", "c"]), stdout) == (1, "b\nc\n")
        assert stdout.getvalue() == "a."
        assert self.said(Result(0), stdout) == (0, "")

    @pytest.mark.parametrize("stdout", [None, Broken()])
    def test_lost(self, stdout: io.StringIO | None) -> None:
        """A result that cannot be written is an error. The findings of a refusal are then on stderr."""
        lost = "robodj-secretguard: the result could not be written\n"
        assert self.said(Result(1, text="a"), stdout) == (EXIT_USAGE, lost)
        assert self.said(Result(REFUSED, text="a", stderr=["b", "c"]), stdout) == (REFUSED, "a\nb\nc\n")

    def test_then(self) -> None:
        """Where a command follows, stdout is left to it, and the status is the command's."""
        stdout = io.StringIO()
        then = Result(EXIT_CLEAN, text="a", stderr=["b"], then=lambda: Result(7, text="c"))
        assert (self.said(then, stdout), stdout.getvalue()) == ((7, "b\na\n"), "c\n")

    def test_event(self) -> None:
        """An event is a line of JSON on stderr, and goes to the host's pipeline if there is one."""
        result = Result(0, events=[{"event": "rotated", "sequence": 7}])
        line = {"sequence": 7, "event": "secret rotated", "level": "info"}
        assert json.loads(self.said(result, None)[1]) == line
        with structlog.testing.capture_logs() as events:
            structlog.configure()
            assert json.loads(self.said(result, None)[1]) == line
        assert events == [{"event": "secret rotated", "sequence": 7, "log_level": "info"}]

    def test_broken(self) -> None:
        """A stderr or a pipeline that fails does no harm."""

        def interrupt(*_: object) -> dict[str, Any]:
            raise KeyboardInterrupt

        structlog.configure(processors=[interrupt])
        with patch.object(sys, "stderr", Broken()):
            emit_event("secret rotated", {"key": object()})


class TestProgress:
    """A line that is overwritten."""

    @staticmethod
    def shown(stream: io.StringIO, *steps: tuple[float, str]) -> str:
        """Return what is written where these texts come at these times after the beginning."""
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

    def test_interval(self) -> None:
        """The line is shown after an interval, then at most once in each interval, and cleared at the end."""
        second = PROGRESS_SECONDS
        steps = [(second / 2, "a"), (second, "b"), (second * 1.9, "c"), (second * 2.5, "d"), (second * 9, "e")]
        assert self.shown(Terminal(), *steps) == "".join(map(self.line, "bde")) + " " * (WIDTH - 1) + "\r"

    def test_nothing(self) -> None:
        """Nothing is written where nothing was shown, and to a stream that is not a terminal."""
        assert (self.shown(Terminal(), (0, "a")), self.shown(io.StringIO(), (1, "a"))) == ("", "")

    def test_long(self) -> None:
        """A line that is too long is cut: one that wraps could not be overwritten."""
        assert self.shown(Terminal(), (1, "x" * 200)).startswith(self.line("x" * (WIDTH - 1)))

    def test_no_stream(self) -> None:
        """A stream that is missing, or closed meanwhile, does no harm."""
        closed = Terminal()
        for stream in (None, closed):
            progress = Progress(stream)
            closed.close()
            with patch("robodj_secretguard.cli.output.time.monotonic", return_value=1e9):
                progress.show("a")
            progress.clear()
        assert closed.closed


@contextlib.contextmanager
def streams(directory: Path, *closed: int) -> Iterator[tuple[Path, Path]]:
    """Have files as stdout and stderr, less some standard descriptors that are closed."""
    saved = [os.dup(number) for number in range(3)]
    paths = directory / "out", directory / "err"
    try:
        with open(paths[0], "w", encoding="utf-8") as out, open(paths[1], "wb") as err:
            os.dup2(err.fileno(), 2)
            for number in closed:
                os.close(number)
            with patch.object(sys, "stdout", out), patch.object(sys, "stderr", io.StringIO()):
                yield paths
    finally:
        for number, descriptor in enumerate(saved):
            os.dup2(descriptor, number)
            os.close(descriptor)


@pytest.mark.skipif(os.name != "posix", reason="descriptors are inherited on POSIX")
class TestDivert:
    """`divert_stdout` and `restore_stdout`."""

    def test_diverted(self, tmp_path: Path) -> None:
        """What is printed later is on stderr, also by a child process. The old stdout takes the result."""
        with streams(tmp_path) as (out, err):
            first = sys.stdout
            stdout = divert_stdout()
            assert stdout is not None
            assert sys.stdout is sys.stderr
            os.write(first.fileno(), b"noise")
            stdout.write("result")
            stdout.flush()
            assert (out.read_text(), err.read_text()) == ("result", "noise")
            restore_stdout(stdout)
            os.write(1, b"!")
            assert out.read_text() == "result!"
            os.close(stdout.fileno())

    @pytest.mark.parametrize("closed", [[2], [0, 2]])
    def test_closed_stderr(self, tmp_path: Path, closed: list[int]) -> None:
        """Where stderr is closed, what is printed is lost, and no descriptor is left open."""
        with streams(tmp_path, *closed) as (out, _):
            stdout = divert_stdout()
            assert stdout is not None
            os.write(2, b"noise")
            assert os.path.samestat(os.fstat(2), os.stat(os.devnull))
            assert (out.read_text(), stdout.fileno() == 0) == ("", 0 in closed)  # the first that is free
            restore_stdout(stdout)
            assert os.path.samestat(os.fstat(1), out.stat())
            os.close(stdout.fileno())

    @pytest.mark.parametrize("stdout", [None, io.StringIO()])
    def test_no_descriptor(self, tmp_path: Path, stdout: io.StringIO | None) -> None:
        """A stdout that is missing, or has no descriptor, takes the result as it is."""
        with streams(tmp_path), patch.object(sys, "stdout", stdout):
            assert divert_stdout() is stdout
            assert sys.stdout is sys.stderr
            restore_stdout(None)
