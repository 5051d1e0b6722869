"""The result of a command, as text, as a table or as JSON. Every line is ASCII, and one physical line."""

from __future__ import annotations

import json
import math
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO, TypeAlias

from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.texts import GREEN, PROGRAM, PYPROJECT, RED, YELLOW, count, mark, paint, unpaint
from robodj_secretguard.startup.emit import emit_info, silence_broken_streams, write_line

if TYPE_CHECKING:
    from robodj_secretguard.startup.readings import RevocationStatus
    from robodj_secretguard.startup.report import Finding, Report, SecretStatus

Stream: TypeAlias = "TextIO | None"
"""A standard stream, which may be closed."""
NamedModel: TypeAlias = Mapping[str, str]
"""The name of the model of a command, and what names it."""
Rows: TypeAlias = Sequence[tuple[str, ...]]
"""The rows of a table, the header first."""
EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 75
"""EX_TEMPFAIL of sysexits.h: a supervisor should try again."""

# In a result, this line is replaced by the name of the model.
MODEL: Final = "\0model"
# The line that operators wait for before they release (policy section 7).
PASSED: Final = "Secret integrity check passed (key material redacted)."
WIDTH: Final = 80

_NO_MODEL: Final = "model: none is named, so this is about RoboDJ's two secrets (init or --model names others)"
_NARROWEST: Final = 20
_GAP: Final = "  "  # between two columns
_COLOUR_OF_LABEL: Final = {"FAIL": RED, "warn": YELLOW, "due": YELLOW, "ok": GREEN}


@dataclass(frozen=True)
class Result:
    """What a command returns. This module renders it in the format of `--format`, and writes it."""

    status: int
    lines: Sequence[str] = field(default=(), repr=False)  # the text
    document: Callable[[], Mapping[str, object]] | None = field(default=None, repr=False)  # makes JSON; may hold keys
    stderr: Sequence[str] = ()
    table: Rows = ()  # rows above the lines
    bare: bool = False  # whether the document gets no head with its kind
    end: str = "\n"
    events: Sequence[Mapping[str, Any]] = ()  # the new records, for the log system
    metrics: Callable[[], str] | None = None  # makes the text of `--format openmetrics`, which few commands offer
    then: Callable[[], Result] | None = None  # runs afterwards, and owns stdout
    text: str = field(default="", repr=False)  # the rendered text for stdout
    model: NamedModel | None = None  # in place of the model of the command


def fail(why: str) -> NoReturn:
    """Raise a usage error, without the exception that is being handled."""
    raise UsageError(why) from None


def fail_unknown(what: str, word: str, choices: Iterable[str], others: Iterable[str] = ()) -> NoReturn:
    """Raise a usage error about an unknown word, with the nearest known word and the choices."""
    import difflib  # noqa: PLC0415 - only where something is wrong

    names = [*choices]
    letters = _letters(word)
    known = {_letters(name): name for name in (*names, *others)}
    near = difflib.get_close_matches(letters, known, n=1)
    near = near or [name for name in known if letters and name.startswith(letters)]
    suggestion = f"; did you mean {known[near[0]]}?" if len(near) == 1 else ""
    fail(f"{what}{suggestion} (choose from {', '.join(names)})")


def _letters(word: str) -> str:
    return word.strip("-").replace("_", "-").lower()


def render(result: Result, form: str, model: NamedModel, stdout: Stream, color: str = "auto") -> Result:
    """Return a result with its text, its JSON or its metrics, and with its lines for stderr."""
    stderr = getattr(sys, "stderr", None)
    if form == "openmetrics" and result.metrics:
        text = result.metrics()
    elif form != "text" and result.document:
        text = format_json(result, result.document(), model)
    else:
        text = format_text(result, model, stdout if result.then is None else stderr, color)
    lines = [
        f"{PROGRAM}: {line}" if line.startswith("model: ") else line for line in _with_model_line(result.stderr, model)
    ]
    if model["source"] == PYPROJECT:  # a command in the project needs no option
        from robodj_secretguard.startup.model_option import without_model  # noqa: PLC0415 - few results have a command

        text = without_model(text, model["name"])
        lines = [without_model(line, model["name"]) for line in lines]
    return replace(result, text=text, stderr=[_for_stream(line, stderr, color) for line in lines])


def format_json(result: Result, document: Mapping[str, object], model: NamedModel) -> str:
    """Return the document of a result as JSON. Unless it is bare, it begins with schema, kind, ok and model."""
    if not result.bare:
        from robodj_secretguard.startup.report import JSON_SCHEMA  # noqa: PLC0415 - it imports pydantic

        head = {"schema": JSON_SCHEMA, "kind": document["kind"], "ok": not result.status, "model": model}
        document = {**head, **document, "ok": head["ok"]}
    return json.dumps(document, indent=2)


def format_text(result: Result, model: NamedModel, stream: Stream, color: str = "auto") -> str:
    """Return the table and the lines of a result as text, for the width and the colours of a stream."""
    rows = columns(result.table, width_of(stream)) if result.table else []
    for index, (label, *_) in enumerate(result.table):
        if label in _COLOUR_OF_LABEL:
            rows[index] = paint(label, _COLOUR_OF_LABEL[label]) + rows[index].removeprefix(label)
    lines = _with_model_line(result.lines, model)
    heading = [lines.pop(0)] if lines[:1] == [_NO_MODEL] else []
    parts = ("\n".join(rows), "\n".join(lines))
    return _for_stream("\n".join([*heading, "\n\n".join(filter(None, parts))]), stream, color)


def _for_stream(text: str, stream: Stream, color: str) -> str:
    return text if shows_colour(stream, color) else unpaint(text)


def finding_text(finding: Finding) -> str:
    """Return the two lines of a finding, with the colour of its severity."""
    colour = {"alert": RED, "warning": YELLOW}.get(finding.severity)
    return mark(finding.text, colour) if colour else finding.text


def _with_model_line(lines: Sequence[str], model: NamedModel) -> list[str]:
    """Return lines with that of the model. Where none is named, it comes first: the rest is not about this project."""
    if MODEL not in lines:
        return [*lines]
    if model["source"] == "default":
        return [_NO_MODEL, *[line for line in lines if line != MODEL]]
    named_by = f" ({PYPROJECT})" if model["source"] == PYPROJECT else ""
    return [f"model: {model['name']}{named_by}" if line == MODEL else line for line in lines]


def write_result(result: Result, stdout: Stream) -> int:
    """Send the events of a rendered result, write it, run what follows, and return the exit status."""
    for fields in result.events:
        emit_info(f"secret {fields['event']}", {name: value for name, value in fields.items() if name != "event"})
    # No local variable has the text, as it may be a new key, and an interrupt can show this frame.
    status = result.status
    stderr = [*result.stderr]
    if stderr[:1] == [f"{PROGRAM}: {_NO_MODEL}"]:
        write_line(getattr(sys, "stderr", None), stderr.pop(0))
    if result.then is not None:
        stderr.append(result.text)
    elif result.text and not write_line(stdout, result.text, end=result.end):
        from robodj_secretguard.startup.report import REFUSED  # noqa: PLC0415 - it imports pydantic

        if status in {REFUSED, EXIT_UNAVAILABLE}:  # the status stays, and the findings must be visible
            stderr.insert(0, result.text)
        else:
            status = EXIT_USAGE
            stderr.append(f"{PROGRAM}: the result could not be written")
    if any(stderr):
        write_line(getattr(sys, "stderr", None), "\n".join(filter(None, stderr)))
    silence_broken_streams()
    return status if result.then is None else write_result(result.then(), stdout)


def tally(report: Report) -> str:
    """Return how many findings of each severity there are."""
    numbers = ((len(report.alerts), "alert"), (len(report.warnings), "warning"))
    return ", ".join(count(number, name) for number, name in numbers if number) or "no alerts, no warnings"


def failed_status(report: Report, status: int) -> int:
    """Return the exit status of a report that does not pass: `status`, or 75 where a manager did not answer."""
    return EXIT_UNAVAILABLE if "unavailable" in [finding.check for finding in report.alerts] else status


def failed_result(report: Report, *stderr: str) -> Result:
    """Return the result of a command that could not read its sources."""
    lines = [*map(finding_text, report.findings), MODEL]
    return Result(failed_status(report, EXIT_ALERTS), lines, report.as_dict, stderr)


def status_rows(report: Report, late: Sequence[str] = ()) -> Rows:
    """Return a header, and a row for each secret, marked FAIL (not usable), warn, due, ok, or off (optional, not set).

    `late` has the secrets whose rotation is not up to date.
    """
    refused = {finding.secret for finding in report.alerts}
    absent = {status.secret for status in report.secrets if status.state == "missing" and not status.required}
    labels = (
        dict.fromkeys(late, "due")
        | dict.fromkeys([finding.secret for finding in report.warnings], "warn")
        | dict.fromkeys([status.secret for status in report.secrets if not status.usable], "FAIL")
        | dict.fromkeys(absent - refused, "off")
    )
    has_owners = any(status.owner for status in report.secrets)
    is_temporary = any(finding.check == "ephemeral" for finding in report.findings)
    rows = [
        (
            labels.get(status.secret, "ok"),
            status.secret,
            _state_in_words(status),
            "env" if status.source == "environment" else status.source.partition(":")[0],
            *(("temporary", "-") if is_temporary else _expiry_in_words(status.expires_at, report.checked_at)),
            *([status.owner or "-"] if has_owners else []),
        )
        for status in report.secrets
    ]
    header = ("", "SECRET", "STATE", "FROM", "EXPIRES", "LEFT", *(["OWNER"] if has_owners else []))
    return [header, *rows] if rows else []


def _state_in_words(status: SecretStatus) -> str:
    """Return the state. A key that is revoked, for example, is present and not usable."""
    return "not usable" if status.state == "present" and not status.usable else status.state


def _expiry_in_words(expires_at: datetime | None, now: datetime) -> tuple[str, str]:
    """Return the date of an expiry, and the days until then."""
    if expires_at is None:
        return "no marker", "-"
    return expires_at.date().isoformat(), f"{-((now - expires_at) // timedelta(days=1))}d"


def revocation_line(status: RevocationStatus | None) -> str:
    """Return the sources of the revocation list and the number of its entries, as one line."""
    if status is None:
        return "revocation list: not read"
    if not status.sources:
        return "revocation list: none"
    from robodj_secretguard.startup.list_rules import named_list  # noqa: PLC0415 - it imports pydantic
    from robodj_secretguard.startup.readings import REVOKED_FILE  # noqa: PLC0415

    names = " and ".join(map(named_list, status.sources))
    where = names.replace(REVOKED_FILE, "revoked.fingerprints in the config directory")  # which may be a package's
    return f"revocation list: {where}, {count(len(status.begins), 'entry', 'entries')}"


def columns(rows: Rows, width: float = math.inf, indent: str | None = None) -> list[str]:
    """Return rows as lines with aligned columns. Columns that do not fit move to a second line, indented."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    fitting = len(widths)
    while fitting > 1 and sum(widths[:fitting]) + len(_GAP) * (fitting - 1) > width:
        fitting -= 1
    lines = [_GAP.join(map(str.ljust, row[:fitting], widths[:fitting])).rstrip() for row in rows]
    if fitting == len(widths):
        return lines
    if indent is None:  # the same for every further line
        indent = " " * (widths[0] + len(_GAP))
        width = width - widths[0] - len(_GAP)
    others = columns([row[fitting:] for row in rows], width, indent)
    return [f"{line}\n{indent}{other}" for line, other in zip(lines, others, strict=True)]


def wrapped(text: str, indent: str, width: int = WIDTH) -> str:
    """Return text in lines of a width, with all lines but the first indented."""
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def is_terminal(stream: Stream) -> bool:
    """Return whether a stream is a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def width_of(stream: Stream, otherwise: float = math.inf) -> float:
    """Return the width of a terminal. Other streams have no limit, or another width."""
    if stream is None or not is_terminal(stream):
        return otherwise
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(_NARROWEST, columns) if columns else WIDTH


def shows_colour(stream: Stream, color: str = "auto") -> bool:
    """Return whether to use colour: from `--color`, otherwise on a terminal, unless `NO_COLOR` is set."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return color == "always" or (color == "auto" and wanted and os.name == "posix" and is_terminal(stream))


def divert_stdout() -> Stream:
    """Redirect stdout to stderr, at exit and for child processes too, and return the old stdout."""
    silence_broken_streams()
    stdout = sys.stdout
    try:
        _open_stderr_if_closed()  # first, or the copy below takes its number
        descriptor = os.dup(stdout.fileno())
        os.dup2(2, stdout.fileno())
    except (OSError, AttributeError):  # no stdout, or one without a descriptor
        pass
    else:
        stdout = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open until the process ends
    sys.stdout = sys.stderr
    return stdout


def restore_stdout(stdout: Stream) -> None:
    """Undo `divert_stdout`, for the program that replaces this process."""
    silence_broken_streams()
    if stdout is not None and stdout.fileno() != 1:
        os.dup2(stdout.fileno(), 1)


def _open_stderr_if_closed() -> None:
    try:
        os.fstat(2)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a lower number, of a closed stdin, stays open
