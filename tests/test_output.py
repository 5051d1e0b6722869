"""The result of a command as text, as a table and as JSON, and how it is written to the streams."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import structlog
from command_line import Terminal, fingerprint_of
from conftest import NOW, V1, V2, good_keys, marker, posix_only, put

from robodj_secretguard import RuntimeSecrets, Severity, check
from robodj_secretguard.cli.output import (
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    WIDTH,
    Result,
    columns,
    finding_text,
    format_json,
    format_text,
    render,
    revocation_line,
    shows_colour,
    status_rows,
    tally,
    width_of,
    wrapped,
    write_result,
)
from robodj_secretguard.common.generator import ephemeral
from robodj_secretguard.secret.texts import RED, mark
from robodj_secretguard.startup.readings import ALWAYS, RevocationStatus
from robodj_secretguard.startup.report import REFUSED

USED = {"name": "a:B", "source": "option"}
DAY = timedelta(days=1)


@pytest.fixture
def xterm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a terminal that shows colour."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")


class Broken(io.StringIO):
    """A stream that cannot be written."""

    def write(self, _: str) -> int:
        raise OSError


def test_result_shows_no_text() -> None:
    """The representation of a result shows no text: it may be a key."""
    shown = repr(Result(7, ["a line"], dict, text="a text"))
    assert [text in shown for text in ("status=7", "a line", "dict", "a text")] == [True, False, False, False]


class TestRender:
    """`render`, `format_json` and `format_text`."""

    def test_line_of_the_model_names_it(self) -> None:
        """The line of the model names the model that was used."""
        result = Result(EXIT_CLEAN, [MODEL], lambda: {"kind": "report"}, [MODEL])
        text = render(result, "text", {"name": "a:B", "source": "pyproject.toml"}, None)
        assert (text.text, text.stderr) == (
            "model: a:B (pyproject.toml)",
            ["robodj-secretguard: model: a:B (pyproject.toml)"],
        )
        assert render(result, "text", USED, None).text == "model: a:B"
        assert json.loads(render(result, "json", USED, None).text)["model"] == USED
        assert render(replace(result, document=None), "json", USED, None).text == "model: a:B"

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
    def test_document_begins_with_its_head(
        self, result: Result, own: Mapping[str, Any], document: Mapping[str, Any]
    ) -> None:
        """A document begins with schema, kind, ok (for status 0) and model, unless it is bare. It is ASCII."""
        text = format_json(result, own, USED)
        assert (list(json.loads(text).items()), text.isascii()) == (list(document.items()), True)
        assert text.startswith('{\n  "')

    def test_table_is_above_the_lines(self) -> None:
        """The table is above the lines, with an empty line between. Either may be missing. The terminal wraps lines."""
        rows, line = [("a", "b"), ("cc", "d")], f"     robodj-secretguard revoke {'x' * 200}"
        assert format_text(Result(0, ["one", line], table=rows), USED, Terminal()) == f"a   b\ncc  d\n\none\n{line}"
        assert format_text(Result(0, table=rows), USED, None) == "a   b\ncc  d"

    def test_colour_of_a_finding_is_that_of_its_severity(self) -> None:
        """The severity of an alert is red, and that of a warning is yellow. A note has no colour."""
        report = check(environ=good_keys() | {V1: "", f"{V2}_EXPIRES_AT": marker(DAY)}, now=NOW)
        alert, warning = report.findings
        for finding, colour in ((alert, 31), (warning, 33)):
            label, rest = finding.text.split(":", 1)
            assert finding_text(finding) == f"\x1b[{colour}m{label}:\x1b[0m{rest}"
        note = warning._replace(severity=Severity.NOTE)
        assert finding_text(note) == note.text

    def test_colour_of_a_row_is_that_of_its_mark(self) -> None:
        """The mark of a row has colour, and the words are the same without it."""
        rows = [("", "SECRET"), ("ok", "a"), ("warn", "b"), ("due", "c"), ("FAIL", "d"), ("?", "e")]
        result = Result(0, table=rows)
        assert format_text(result, USED, None, "always").splitlines() == [
            "      SECRET",
            "\x1b[32mok\x1b[0m    a",
            "\x1b[33mwarn\x1b[0m  b",
            "\x1b[33mdue\x1b[0m   c",
            "\x1b[31mFAIL\x1b[0m  d",
            "?     e",
        ]
        assert format_text(result, USED, None, "never").splitlines() == columns(rows)

    def test_no_colour_is_left_in_plain_text(self) -> None:
        """Without colour, the marks of lines are removed, also on stderr. Only marks have colour."""
        line = mark("ALERT: one", RED)
        result = Result(1, [line, "ALERT: two"], stderr=[line])
        for color, shown in (("never", "ALERT: one"), ("always", "\x1b[31mALERT:\x1b[0m one")):
            rendered = render(result, "text", USED, Terminal(), color)
            assert (rendered.text, rendered.stderr) == (f"{shown}\nALERT: two", [shown])

    @pytest.mark.usefixtures("xterm")
    def test_text_before_a_command_is_for_stderr(self) -> None:
        """Before a command that follows, the text goes to stderr, and that stream decides its format."""
        result = Result(0, [mark("ALERT: one", RED)], then=lambda: Result(0))
        assert "\x1b" not in render(result, "text", USED, Terminal()).text
        with patch.object(sys, "stderr", Terminal()):
            assert "\x1b" in render(result, "text", USED, None).text

    @pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
    @pytest.mark.usefixtures("xterm")
    def test_colour_is_for_terminals_that_show_it(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """A terminal has no colour where NO_COLOR is set, where it is dumb, and on Windows. `--color` wins over all."""
        assert [shows_colour(Terminal()), shows_colour(io.StringIO())] == [True, False]
        assert not shows_colour(Terminal(), "never")
        monkeypatch.setenv(name, "dumb")
        assert not shows_colour(Terminal())
        monkeypatch.setenv(name, "")
        with patch.object(os, "name", "nt"):
            assert not shows_colour(Terminal())
            assert shows_colour(None, "always")

    @posix_only
    @pytest.mark.parametrize(("columns", "width"), [(200, 200), (80, 80), (50, 50), (3, 20), (0, 80)])
    def test_table_has_the_width_of_the_terminal(self, columns: int, width: int) -> None:
        """A table has the width of the terminal, and at least 20 columns. Any other stream has no width."""
        with patch("os.get_terminal_size", return_value=os.terminal_size((columns, 9))) as terminal_size:
            with patch.object(Terminal, "fileno", return_value=7):
                assert width_of(Terminal()) == width
            terminal_size.assert_called_once_with(7)
            assert width_of(Terminal()) == WIDTH  # the stream has no descriptor
        assert width_of(io.StringIO()) == width_of(None) == math.inf

    @pytest.mark.parametrize(
        ("environ", "text"),
        [
            ({}, "no alerts, no warnings"),
            ({V1: ""}, "1 alert"),
            ({V1: "", V2: "short", f"{V2}_EXPIRES_AT": marker(DAY)}, "2 alerts, 1 warning"),
            ({f"{V1}_EXPIRES_AT": marker(DAY), f"{V2}_EXPIRES_AT": marker(DAY)}, "2 warnings"),
        ],
        ids=range(4),
    )
    def test_findings_are_counted_by_severity(self, environ: dict[str, str], text: str) -> None:
        """Findings are counted by their severities, in words."""
        assert tally(check(environ=good_keys() | environ, now=NOW)) == text

    def test_temporary_key_has_no_expiry(self) -> None:
        """The marker of a temporary key is not shown: its time is that of a build or a test."""
        environ = ephemeral(RuntimeSecrets.secret_policies.values())
        assert [row[4:6] for row in status_rows(check(environ=environ))[1:]] == [("temporary", "-")] * 2

    def test_row_begins_with_the_worst_mark(self, tmp_path: Path) -> None:
        """A key is marked FAIL if it is unusable, warn if it has a warning, and due if its rotation is late.

        A row has the mark, name, state, source, expiry, days left and owner, below a header.
        """
        keys = good_keys() | {f"{V2}_EXPIRES_AT": marker(DAY * 2)}
        put(tmp_path / "secret_v2.key", keys.pop(V2))
        keys["ROBODJ_REVOKED_FINGERPRINTS"] = fingerprint_of(keys[V1])
        report = check(environ=keys, config_dir=tmp_path, now=NOW)
        owner = "Security Operations"
        assert status_rows(report, ["secret.key"]) == [
            ("", "SECRET", "STATE", "FROM", "EXPIRES", "LEFT", "OWNER"),
            ("FAIL", "secret.key", "not usable", "env", "no marker", "-", owner),
            ("warn", "secret_v2.key", "present", "file", "2026-12-03", "2d", owner),
        ]
        report = check(environ=good_keys() | {f"{V1}_EXPIRES_AT": marker(-DAY)}, config_dir=tmp_path / "none", now=NOW)
        assert [row[::5] for row in status_rows(report, ["secret_v2.key"])[1:]] == [("FAIL", "-1d"), ("due", "-")]
        assert status_rows(report._replace(secrets=())) == []

    @pytest.mark.parametrize(
        ("status", "line"),
        [
            (None, "not read"),
            (RevocationStatus((), ()), "none"),
            (RevocationStatus(("environment",), (("a", ALWAYS),)), "ROBODJ_REVOKED_FINGERPRINTS, 1 entry"),
            (
                RevocationStatus(("environment", "file:config/revoked.fingerprints"), (("a", ALWAYS), ("b", ALWAYS))),
                "ROBODJ_REVOKED_FINGERPRINTS and revoked.fingerprints in the config directory, 2 entries",
            ),
        ],
    )
    def test_revocation_line_names_the_sources(self, status: RevocationStatus | None, line: str) -> None:
        """The line names the sources of the list and the number of its entries."""
        assert revocation_line(status) == f"revocation list: {line}"

    def test_cells_of_a_column_are_aligned(self) -> None:
        """The cells of a column are aligned, and no line ends with blanks."""
        rows = [("#", "WHEN", "WHO"), ("10", "now", ""), ("1", "yesterday", "Ada")]
        assert columns(rows) == ["#   WHEN       WHO", "10  now", "1   yesterday  Ada"]
        with pytest.raises(ValueError, match="shorter"):
            columns([("#", "WHEN"), ("10",)])

    def test_columns_that_do_not_fit_go_to_a_second_line(self) -> None:
        """Columns that do not fit the width go to a second, aligned line of each row."""
        rows = [("#", "WHEN", "WHO", "WHY"), ("10", "yesterday", "Ada", "because"), ("1", "now", "Grace", "-")]
        assert columns(rows, 31) == columns(rows)
        assert columns(rows, 28) == [
            "#   WHEN       WHO\n    WHY",
            "10  yesterday  Ada\n    because",
            "1   now        Grace\n    -",
        ]
        assert columns(rows, 18)[1] == "10  yesterday\n    Ada    because"
        assert columns(rows, 2)[1] == "10\n    yesterday\n    Ada\n    because"

    def test_help_breaks_at_blanks(self) -> None:
        """Lines have at most 80 characters and break at blanks, not at hyphens. A longer word is left whole."""
        assert wrapped(f"  {'word ' * 14}well-known", "    ") == f"  {'word ' * 14}".rstrip() + "\n    well-known"
        assert wrapped(f"{'x' * 90} y", "  ") == f"{'x' * 90}\n  y"


class TestSay:
    """`write_result` and `emit_info`."""

    @staticmethod
    def status_and_stderr(result: Result, stdout: io.StringIO | None) -> tuple[int, str]:
        """Return the status, and the text on stderr."""
        with patch.object(sys, "stderr", io.StringIO()) as stderr:
            return write_result(result, stdout), stderr.getvalue()

    def test_text_goes_to_stdout_and_other_lines_to_stderr(self) -> None:
        """The text is on stdout, with its end. Other lines are on stderr, without empty ones."""
        stdout = io.StringIO()
        assert self.status_and_stderr(Result(1, text="a", end=".", stderr=["", "b", "c"]), stdout) == (1, "b\nc\n")
        assert stdout.getvalue() == "a."
        assert self.status_and_stderr(Result(0), stdout) == (0, "")

    @pytest.mark.parametrize("stdout", [None, Broken()])
    def test_lost_result_is_an_error(self, stdout: io.StringIO | None) -> None:
        """A result that cannot be written is an error. The findings of a refusal are then on stderr."""
        lost = "robodj-secretguard: the result could not be written\n"
        assert self.status_and_stderr(Result(1, text="a"), stdout) == (EXIT_USAGE, lost)
        assert self.status_and_stderr(Result(REFUSED, text="a", stderr=["b", "c"]), stdout) == (REFUSED, "a\nb\nc\n")

    def test_command_that_follows_owns_stdout(self) -> None:
        """Before a command that follows, nothing is written to stdout, and the status is the command's."""
        stdout = io.StringIO()
        then = Result(EXIT_CLEAN, text="a", stderr=["b"], then=lambda: Result(7, text="c"))
        assert (self.status_and_stderr(then, stdout), stdout.getvalue()) == ((7, "b\na\n"), "c\n")

    def test_event_goes_to_the_pipeline_only(self) -> None:
        """An event goes to the host's pipeline if there is one, and to no stream."""
        result = Result(0, events=[{"event": "rotated", "sequence": 7}])
        assert self.status_and_stderr(result, None) == (0, "")
        with structlog.testing.capture_logs() as events:
            structlog.configure()
            write_result(result, None)
        assert events == [{"event": "secret rotated", "sequence": 7, "log_level": "info"}]
