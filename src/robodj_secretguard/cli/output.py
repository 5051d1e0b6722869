"""Findings and reports as text. Every line is ASCII and physically one line."""

from __future__ import annotations

import contextlib
import json
import os
import textwrap
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TextIO

from robodj_secretguard.report import JSON_SCHEMA
from robodj_secretguard.sealed import contain
from robodj_secretguard.sources import REVOKED_FILE, REVOKED_FINGERPRINTS, iso_utc
from robodj_secretguard.texts import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from robodj_secretguard.report import Report, RevocationStatus, SecretStatus

PASSED: Final = "Secret integrity check passed (key material redacted)."
"""The line that operators wait for before they release (policy section 7)."""


def findings_text(report: Report) -> str:
    """Return a report's findings as the lines that `guard()` writes."""
    return "\n".join(finding.line for finding in report.findings)


def tally(report: Report) -> str:
    """Say how many findings of each severity there are."""
    return f"{len(report.alerts)} alert(s), {len(report.warnings)} warning(s)"


def status_line(status: SecretStatus) -> str:
    """Return a secret's state, source and expiry as one line."""
    expiry = f"expires {iso_utc(status.expires_at)}" if status.expires_at else "no expiry marker"
    return f"{status.secret}: {status.state} (source: {status.source}; {expiry})"


def revocation_line(status: RevocationStatus | None) -> str:
    """Return whether a revocation list was found, and how many entries it has, as one line."""
    if status is None:
        return "revocation list: not looked for"
    if not status.sources:
        return "revocation list: none"
    where = " and ".join({"environment": REVOKED_FINGERPRINTS}.get(each, REVOKED_FILE) for each in status.sources)
    return f"revocation list: {where}, {count(status.entries, 'entry', 'entries')}"


def report_text(report: Report, *, passed: bool, model: str) -> str:
    """Return a report as text: its findings, a line for each secret, the model and mode, and the verdict last.

    Args:
        report: the report.
        passed: the gate's verdict.
        model: which model was used, as a line.
    """
    mode = "environment only" if report.require_env_only else "environment, then fallback files"
    failed = f"Secret integrity check FAILED: {tally(report)}. Do not release."
    lines = [
        *(finding.line for finding in report.findings),
        *(status_line(status) for status in report.secrets),
        model,
        f"mode: {mode}",
        revocation_line(report.revocation_list),
        PASSED if passed else failed,
    ]
    return "\n".join(lines)


def report_json(report: Report, *, passed: bool, model: dict[str, str]) -> str:
    """Return a report as one JSON document, whose `ok` is the gate's verdict.

    Args:
        report: the report.
        passed: the gate's verdict.
        model: which model was used, and what named it.
    """
    document: dict[str, Any] = {**report.as_dict(), "ok": passed, "model": model}
    return json.dumps(document, indent=2)


EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2


@dataclass(frozen=True)
class Answer:
    """What a command has to say.

    Attributes:
        status: the exit status.
        result: what goes to stdout.
        told: what goes to stderr.
        end: what follows the result.
        events: what was recorded, in the plain types of JSON; each goes to the log system, a fleet's shared record.
        then: what is to be done after that, with an answer of its own.
    """

    status: int
    result: str = field(default="", repr=False)
    told: str = ""
    end: str = "\n"
    events: Sequence[dict[str, Any]] = ()
    then: Callable[[], Answer] | None = None


def document(*, ok: bool, **fields: Any) -> str:
    """Return a result as one JSON document, with the version of its shape and its verdict first."""
    return json.dumps({"schema": JSON_SCHEMA, "ok": ok, **fields}, indent=2)


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
