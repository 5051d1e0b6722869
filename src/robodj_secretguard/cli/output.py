"""The result of a command, written as text, as a table or as JSON. Every line is ASCII and physically one line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from robodj_secretguard.emit import configured_pipeline, silence_broken_streams, write_line
from robodj_secretguard.errors import UsageError
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.report import JSON_SCHEMA
from robodj_secretguard.sealed import contain
from robodj_secretguard.sources import REVOKED_FILE, REVOKED_FINGERPRINTS, iso_utc
from robodj_secretguard.texts import PROGRAM, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from robodj_secretguard.report import Report, SecretStatus
    from robodj_secretguard.sources import RevocationStatus

EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2

# In a result, this line stands for the model that was used.
MODEL: Final = "\0model"
# The line that operators wait for before they release (policy section 7).
PASSED: Final = "Secret integrity check passed (key material redacted)."
WIDTH: Final = 80
PROGRESS_SECONDS: Final = 0.2  # between two updates of the progress line

_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33}
_LABEL_WIDTH: Final = 15


@dataclass(frozen=True)
class Result:
    """What a command returns. This module renders it in the format that `--format` names, and writes it."""

    status: int
    lines: Sequence[str | tuple[str, str]] = field(default=(), repr=False)  # the text; a pair is a line and its colour
    document: Callable[[], Mapping[str, object]] | None = field(default=None, repr=False)  # makes JSON; may hold keys
    stderr: Sequence[str] = ()
    wraps: bool = False  # whether long lines are wrapped
    bare: bool = False  # whether the document is complete as it is; any other has its kind
    end: str = "\n"
    events: Sequence[Mapping[str, Any]] = ()  # what was recorded, for the log system
    then: Callable[[], Result] | None = None  # what runs afterwards; stdout is left to it
    text: str = field(default="", repr=False)  # what is written to stdout, once it is rendered


def fail(why: str) -> NoReturn:
    """Raise a usage error. It replaces the exception that is being handled, if any."""
    raise UsageError(why) from None


def rendered(result: Result, form: str, model: Mapping[str, str], stdout: TextIO | None) -> Result:
    """Return a result with the text or the JSON that is written."""
    make = result.document if form != "text" else None
    text = as_json(result, make(), model) if make else as_text(result, model, stdout)
    stderr = [f"{PROGRAM}: {_model_line(model)}" if line == MODEL else line for line in result.stderr]
    return replace(result, text=text, stderr=stderr)


def as_json(result: Result, document: Mapping[str, object], model: Mapping[str, str]) -> str:
    """Return a result's document as JSON. It begins with schema, kind, ok and model, unless it is bare."""
    if not result.bare:
        head = {"schema": JSON_SCHEMA, "kind": document["kind"], "ok": not result.status, "model": model}
        document = {**head, **document, "ok": head["ok"]}
    return json.dumps(document, indent=2)


def as_text(result: Result, model: Mapping[str, str], stdout: TextIO | None) -> str:
    """Return a result's lines as text, with colour where stdout shows it."""
    lines = []
    for line in result.lines:
        text, colour = (line, "") if isinstance(line, str) else line
        text = _model_line(model) if text == MODEL else text
        if result.wraps:
            text = wrapped(text, " " * (_LABEL_WIDTH if text.startswith(" ") else 2))
        lines.append(f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if colour and shows_colour(stdout) else text)
    return "\n".join(lines)


def _model_line(model: Mapping[str, str]) -> str:
    return f"model: {model['name']}" + (f" ({model['source']})" if model["source"] != "option" else "")


def say(result: Result, stdout: TextIO | None) -> int:
    """Send the events of a rendered result, write it, run what follows, and return the exit status."""
    for fields in result.events:
        emit_event(f"secret {fields['event']}", {name: value for name, value in fields.items() if name != "event"})
    # The text is in no local: it may be a new key, and an interrupt would show this frame.
    status, stderr = result.status, list(result.stderr)
    if result.then is not None:
        stderr.append(result.text)
    elif result.text and not write_line(stdout, result.text, end=result.end):
        if status == REFUSED:  # it stays refused, and its findings must be seen
            stderr.insert(0, result.text)
        else:
            status = EXIT_USAGE
            stderr.append(f"{PROGRAM}: the result could not be written")
    if any(stderr):
        write_line(getattr(sys, "stderr", None), "\n".join(filter(None, stderr)))
    silence_broken_streams()
    return status if result.then is None else say(result.then(), stdout)


def emit_event(event: str, fields: Mapping[str, Any]) -> None:
    """Write one event of the secret lifecycle as JSON to stderr, and send it to the host's pipeline if there is one."""
    # Plainly, whatever the pipeline does: a level filter cannot be told from delivery. And the record stands, so that
    # no trouble here matters.
    with contextlib.suppress(Exception):
        write_line(getattr(sys, "stderr", None), json.dumps({**fields, "event": event, "level": "info"}))
    with contextlib.suppress(BaseException):
        configured_pipeline().info(event, **fields)


def tally(report: Report) -> str:
    """Return how many findings of each severity there are."""
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


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def labelled(label: str, text: str) -> str:
    """Return a line with a label. Where lines are wrapped, the text stays in its column."""
    return f"  {label}".ljust(_LABEL_WIDTH) + text


def wrapped(text: str, indent: str) -> str:
    """Return text in lines of at most `WIDTH` characters, the second and later ones indented."""
    return "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False))


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal."""
    return stream is not None and contain(stream.isatty) is True


def shows_colour(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal that shows colour, unless `NO_COLOR` is set."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and os.name == "posix" and is_terminal(stream)


class Progress:
    """A line that shows the progress of a command, where the stream is a terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if is_terminal(stream) else None
        self._next = time.monotonic() + PROGRESS_SECONDS
        self._shown = False

    def show(self, text: str) -> None:
        """Show the progress, unless that was done just now."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            self._shown = True
            self._write(f"\r{text[: WIDTH - 1]:<{WIDTH - 1}}\r")

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write(f"{' ' * (WIDTH - 1)}\r")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):  # not more: an interrupt is one
                self._stream.write(text)
                self._stream.flush()


def divert_stdout() -> TextIO | None:
    """Redirect stdout to stderr, at exit and for child processes too, and return the old stdout."""
    silence_broken_streams()
    stdout = sys.stdout
    try:
        _open_nowhere_if_closed(2)  # first, or the copy below would take its number
        descriptor = os.dup(stdout.fileno())
        os.dup2(2, stdout.fileno())
    except (OSError, AttributeError):  # there is none, or one without a descriptor
        pass
    else:
        stdout = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open to the end
    sys.stdout = sys.stderr
    return stdout


def restore_stdout(stdout: TextIO | None) -> None:
    """Give the program that replaces this process the stdout that `divert_stdout` took away."""
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
