"""The result of a command, as text, as a table or as JSON. Every line is ASCII, and one physical line."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import textwrap
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.texts import PROGRAM, count
from robodj_secretguard.startup.emit import emit_info, silence_broken_streams, write_line
from robodj_secretguard.startup.guard import REFUSED
from robodj_secretguard.startup.readings import named_list
from robodj_secretguard.startup.report import JSON_SCHEMA
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from robodj_secretguard.startup.readings import RevocationStatus
    from robodj_secretguard.startup.report import Report

EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 75
"""EX_TEMPFAIL of sysexits.h: a supervisor should try again."""
EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127
"""Both are the statuses of a shell for the same."""

# In a result, this line is replaced by the name of the model.
MODEL: Final = "\0model"
# The line that operators wait for before they release (policy section 7).
PASSED: Final = "Secret integrity check passed (key material redacted)."
WIDTH: Final = 80
PROGRESS_SECONDS: Final = 0.2  # between two updates of the progress line

_DAY: Final = timedelta(days=1)
_SOURCES: Final = {"environment": "env"}  # in a table, where a file has no path
_NARROWEST: Final = 20
_GAP: Final = "  "  # between two columns
_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33}
_COLOURED: Final = re.compile(
    r"(?m)^(?P<red>FAIL(?= )|ALERT:|REFUSED:|[A-Z][a-z ]+ FAILED:)"
    r"|^(?P<yellow>(?:warn|due)(?= )|WARNING:|INCOMPLETE:)|\b(?:OVERDUE|INCOMPLETE)\b"
    r"|^(?P<green>ok(?= )|Secret [a-z ]+ passed.*)"
)


@dataclass(frozen=True)
class Result:
    """What a command returns. This module renders it in the format of `--format`, and writes it."""

    status: int
    lines: Sequence[str] = field(default=(), repr=False)  # the text
    document: Callable[[], Mapping[str, object]] | None = field(default=None, repr=False)  # makes JSON; may hold keys
    stderr: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()  # rows above the lines
    literal: bool = False  # whether lines are never coloured
    bare: bool = False  # whether the document gets no head with its kind
    end: str = "\n"
    events: Sequence[Mapping[str, Any]] = ()  # the new records, for the log system
    metrics: Callable[[], str] | None = None  # makes the text of `--format openmetrics`, which few commands offer
    then: Callable[[], Result] | None = None  # runs afterwards, and owns stdout
    text: str = field(default="", repr=False)  # the rendered text for stdout
    color: str = "auto"  # the value of `--color`
    model: Mapping[str, str] | None = None  # in place of the model of the command


def fail(why: str) -> NoReturn:
    """Raise a usage error, without the exception that is being handled."""
    raise UsageError(why) from None


def rendered(result: Result, form: str, model: Mapping[str, str], stdout: TextIO | None, color: str = "auto") -> Result:
    """Return a result with its text, its JSON or its metrics."""
    make = result.document if form != "text" else None
    stream = stdout if result.then is None else getattr(sys, "stderr", None)
    if form == "openmetrics" and result.metrics:
        text = result.metrics()
    else:
        text = as_json(result, make(), model) if make else as_text(result, model, stream, color)
    stderr = [f"{PROGRAM}: {_model_line(model)}" if line == MODEL else line for line in result.stderr]
    return replace(result, text=text, stderr=stderr, color=color)


def as_json(result: Result, document: Mapping[str, object], model: Mapping[str, str]) -> str:
    """Return the document of a result as JSON. Unless it is bare, it begins with schema, kind, ok and model."""
    if not result.bare:
        head = {"schema": JSON_SCHEMA, "kind": document["kind"], "ok": not result.status, "model": model}
        document = {**head, **document, "ok": head["ok"]}
    return json.dumps(document, indent=2)


def as_text(result: Result, model: Mapping[str, str], stream: TextIO | None, color: str = "auto") -> str:
    """Return the table and the lines of a result as text, for the width and the colours of a stream."""
    text = "\n".join(_model_line(model) if line == MODEL else line for line in result.lines)
    if result.literal:
        return text
    table = coloured(columns(result.table, width_of(stream)), stream, color)
    return "\n\n".join(filter(None, (table, coloured(text, stream, color))))


def coloured(text: str, stream: TextIO | None, color: str) -> str:
    """Return text with coloured marks and verdicts, if the stream shows colour."""
    if not shows_colour(stream, color):
        return text
    return _COLOURED.sub(lambda found: f"\x1b[{_COLOURS[found.lastgroup or 'yellow']}m{found[0]}\x1b[0m", text)


def _model_line(model: Mapping[str, str]) -> str:
    return f"model: {model['name']}" + (f" ({model['source']})" if model["source"] != "option" else "")


def say(result: Result, stdout: TextIO | None) -> int:
    """Send the events of a rendered result, write it, run what follows, and return the exit status."""
    for fields in result.events:
        emit_info(f"secret {fields['event']}", {name: value for name, value in fields.items() if name != "event"})
    # No local variable has the text, as it may be a new key, and an interrupt can show this frame.
    status, stream = result.status, getattr(sys, "stderr", None)
    stderr = [coloured(line, stream, result.color) for line in result.stderr]
    if result.then is not None:
        stderr.append(result.text)
    elif result.text and not write_line(stdout, result.text, end=result.end):
        if status in {REFUSED, EXIT_UNAVAILABLE}:  # the status stays, and the findings must be visible
            stderr.insert(0, result.text)
        else:
            status = EXIT_USAGE
            stderr.append(f"{PROGRAM}: the result could not be written")
    if any(stderr):
        write_line(stream, "\n".join(filter(None, stderr)))
    silence_broken_streams()
    return status if result.then is None else say(result.then(), stdout)


def tally(report: Report) -> str:
    """Return how many findings of each severity there are."""
    numbers = ((len(report.alerts), "alert"), (len(report.warnings), "warning"))
    return ", ".join(count(number, name) for number, name in numbers if number) or "no alerts, no warnings"


def failed_status(report: Report, status: int) -> int:
    """Return the exit status of a report that does not pass: `status`, or 75 where a manager did not answer."""
    is_unavailable = any(each.check is Check.UNAVAILABLE for each in report.alerts)
    return EXIT_UNAVAILABLE if is_unavailable else status


def status_rows(report: Report, late: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Return a header, and a row for each secret, marked FAIL (not usable), warn, due or ok.

    `late` has the secrets whose rotation is not up to date.
    """
    warned = {each.secret for each in report.warnings}
    rows = [
        (
            "FAIL" if not each.usable else "warn" if each.secret in warned else "due" if each.secret in late else "ok",
            each.secret,
            each.state,
            _SOURCES.get(each.source, each.source.partition(":")[0]),
            iso_utc(each.expires_at)[:10] if each.expires_at else "no marker",
            f"{-((report.checked_at - each.expires_at) // _DAY)}d" if each.expires_at else "-",
            each.owner,
        )
        for each in report.secrets
    ]
    return [("", "SECRET", "STATE", "FROM", "EXPIRES", "LEFT", "OWNER"), *rows] if rows else []


def revocation_line(status: RevocationStatus | None) -> str:
    """Return the sources of the revocation list and the number of its entries, as one line."""
    if status is None:
        return "revocation list: not read"
    if not status.sources:
        return "revocation list: none"
    where = " and ".join(map(named_list, status.sources))
    return f"revocation list: {where}, {count(status.entries, 'entry', 'entries')}"


def columns(rows: Sequence[Sequence[str]], width: float = math.inf) -> str:
    """Return rows as lines with aligned columns. Columns that do not fit move to a second line, indented."""
    return "\n".join(_aligned(rows, width))


def _aligned(rows: Sequence[Sequence[str]], width: float, indent: str | None = None) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    fitting = len(widths)
    while fitting > 1 and sum(widths[:fitting]) + len(_GAP) * (fitting - 1) > width:
        fitting -= 1
    lines = [_GAP.join(map(str.ljust, row[:fitting], widths[:fitting])).rstrip() for row in rows]
    if fitting == len(widths):
        return lines
    if indent is None:  # the same for every further line
        indent, width = " " * (widths[0] + len(_GAP)), width - widths[0] - len(_GAP)
    others = _aligned([row[fitting:] for row in rows], width, indent)
    return [f"{line}\n{indent}{other}" for line, other in zip(lines, others, strict=True)]


def wrapped(text: str, indent: str, width: int = WIDTH) -> str:
    """Return text in lines of at most `width` characters, with all lines but the first indented."""
    wrapper = textwrap.TextWrapper(width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    return wrapper.fill(text)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal."""
    try:
        return stream is not None and stream.isatty()
    except Exception:  # noqa: BLE001 - a host's stream may raise anything
        return False


def width_of(stream: TextIO | None) -> float:
    """Return the width of a terminal. Other streams have no limit."""
    if stream is None or not is_terminal(stream):
        return math.inf
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(_NARROWEST, columns) if columns else WIDTH


def shows_colour(stream: TextIO | None, color: str = "auto") -> bool:
    """Return whether to use colour: from `--color`, otherwise on a terminal, unless `NO_COLOR` is set."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return color == "always" or (color == "auto" and wanted and os.name == "posix" and is_terminal(stream))


class Progress:
    """A line with the progress of a command, if the stream is a terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if is_terminal(stream) else None
        self._width = int(min(width_of(stream), WIDTH)) - 1
        self._next = time.monotonic() + PROGRESS_SECONDS
        self._shown = False

    def show(self, text: str) -> None:
        """Show the progress, at most once in `PROGRESS_SECONDS`."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            self._shown = True
            self._write(f"\r{text[: self._width]:<{self._width}}\r")

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write(f"{' ' * self._width}\r")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):  # but not an interrupt
                self._stream.write(text)
                self._stream.flush()


def divert_stdout() -> TextIO | None:
    """Redirect stdout to stderr, at exit and for child processes too, and return the old stdout."""
    silence_broken_streams()
    stdout = sys.stdout
    try:
        _open_nowhere_if_closed(2)  # first, or the copy below takes its number
        descriptor = os.dup(stdout.fileno())
        os.dup2(2, stdout.fileno())
    except (OSError, AttributeError):  # no stdout, or one without a descriptor
        pass
    else:
        stdout = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open until the process ends
    sys.stdout = sys.stderr
    return stdout


def restore_stdout(stdout: TextIO | None) -> None:
    """Undo `divert_stdout`, for the program that replaces this process."""
    silence_broken_streams()
    if stdout is not None and stdout.fileno() != 1:
        os.dup2(stdout.fileno(), 1)


def _open_nowhere_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
