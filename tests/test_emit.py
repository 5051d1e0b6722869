"""Findings on the standard streams and in the host's structlog pipeline, also when these fail."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import structlog
from conftest import NOW, raising
from detector import leaks
from processes import BAD, SECRET, SETS, WARNED, assert_alert_lines

from robodj_secretguard import Finding, Severity, check
from robodj_secretguard.startup.emit import configured_pipeline, emit, emit_info, silence_broken_streams, write_line

LIBRARY: Final = logging.getLogger("robodj_secretguard")
JSON: Any = (structlog.processors.add_log_level, structlog.processors.JSONRenderer())


def configured(log: io.StringIO, *first: Any, **more: Any) -> None:
    """Configure a pipeline that writes each event as a line of JSON."""
    options: Any = {"processors": [*first, *JSON], "logger_factory": structlog.PrintLoggerFactory(file=log)} | more
    structlog.configure(**options)


def stdlib(log: io.StringIO, *renderers: Any, level: str = "INFO") -> None:
    """Configure a pipeline that ends in a logger of the standard library."""
    LIBRARY.handlers[:], LIBRARY.propagate = [logging.StreamHandler(log)], False
    LIBRARY.setLevel(level)
    first = (structlog.stdlib.filter_by_level, structlog.stdlib.PositionalArgumentsFormatter())
    structlog.configure(
        processors=[*first, *(renderers or JSON)],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


# Each function configures a pipeline that writes to a file, or returns a logger for `emit`.
DELIVERING: dict[str, Callable[[io.StringIO], Any]] = {
    "json": configured,
    "stdlib": stdlib,
    "explicit": lambda log: structlog.wrap_logger(structlog.PrintLogger(file=log), processors=JSON),
    "explicit-bound": lambda log: (configured(log), structlog.get_logger().bind())[1],  # type: ignore[func-returns-value]
}
RAISING: dict[str, Callable[[io.StringIO], Any]] = {
    "exception": lambda log: configured(log, raising(RuntimeError("of the pipeline"))),
    "system-exit-0": lambda log: configured(log, raising(SystemExit(0))),
    "keyboard-interrupt": lambda log: configured(log, raising(KeyboardInterrupt())),
    "factory": lambda log: configured(log, logger_factory=raising(RuntimeError())),
    "closed-file": lambda log: (configured(log), log.close())[0],  # type: ignore[func-returns-value]
    "logging-logger": lambda _: logging.getLogger("host"),
    "no-logger": lambda _: object(),
}
TAKING: dict[str, Callable[[io.StringIO], Any]] = {
    "drop-event": lambda log: configured(log, raising(structlog.DropEvent())),
    "level-filter": lambda log: stdlib(log, level="ERROR"),
    "console": lambda log: configured(log, processors=[structlog.dev.ConsoleRenderer()]),
    "render-to-log-kwargs": lambda log: stdlib(log, structlog.stdlib.render_to_log_kwargs),
    "dict-tracebacks": lambda log: configured(
        log, structlog.processors.CallsiteParameterAdder(), structlog.processors.dict_tracebacks
    ),
}
EVERY = DELIVERING | RAISING | TAKING


class Sent(NamedTuple):
    """The result of `emit`: the findings, whether they were written, and the outputs."""

    findings: tuple[Finding, ...]
    taken: bool
    out: str
    err: str
    log: str

    @property
    def lines(self) -> list[str]:
        """The two lines of each finding."""
        return [line for each in self.findings for line in each.lines]

    @property
    def events(self) -> list[Any]:
        """The events of a pipeline that writes JSON."""
        return [json.loads(line) for line in self.log.splitlines()]


@pytest.fixture(autouse=True)
def _same_logger() -> Iterator[None]:
    before = LIBRARY.handlers[:], LIBRARY.propagate, LIBRARY.level
    yield
    LIBRARY.handlers[:], LIBRARY.propagate, LIBRARY.level = before


@pytest.fixture
def send(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Sent]:
    """A function that emits a report, and returns the result."""

    def send(keys: str, host: Callable[[io.StringIO], Any] = lambda _: None, **last: Any) -> Sent:
        log = io.StringIO()
        report = check(environ=(SETS | {"both": WARNED | BAD})[keys], config_dir=tmp_path, now=NOW)
        taken = emit(report, host(log), **last)
        text = "" if log.closed else log.getvalue()
        sent = Sent(report.findings, taken, *capsys.readouterr(), text)
        assert leaks(sent.out + sent.err + sent.log, SECRET) == []
        return sent

    return send


class TestPipelines:
    """The host has a pipeline."""

    @pytest.mark.parametrize("keys", ["good", "warned", "bad"])
    @pytest.mark.parametrize("host", EVERY)
    def test_lines(self, send: Callable[..., Sent], host: str, keys: str) -> None:
        """A refusal is always written to stderr. Warnings are written there only if the pipeline raises."""
        sent = send(keys, EVERY[host])
        expected = sent.lines if keys == "bad" or host in RAISING else []
        assert (sent.taken, sent.out, sent.err.splitlines()) == (True, "", expected)

    @pytest.mark.parametrize("keys", ["good", "warned", "both"])
    @pytest.mark.parametrize("host", DELIVERING)
    def test_events(self, send: Callable[..., Sent], host: str, keys: str) -> None:
        """Each finding is an event with its fields."""
        sent = send(keys, DELIVERING[host])
        names = ("check", "severity", "secret", "slot", "source", "remedy", "owner")
        levels = {"alert": "critical", "warning": "warning"}
        expected: list[dict[str, Any]] = [
            {"event": each.lines[0], "level": levels[each.severity]} | {name: getattr(each, name) for name in names}
            for each in sent.findings
        ]
        assert sent.events == expected

    @pytest.mark.parametrize(("more", "status"), [({"exit_status": 4}, 4), ({}, 0)], ids=["a start", "a refresh"])
    def test_a_refusal(self, send: Callable[..., Sent], more: dict[str, int], status: int) -> None:
        """The last line of a refusal is an event with the same fields as the others, and the exit status."""
        last = send("bad", configured, refusal="ALERT: refused", **more)
        fields = dict.fromkeys(("check", "secret", "slot", "source", "remedy", "owner"))
        fields |= {"event": "ALERT: refused", "severity": "alert", "level": "critical", "exit_status": status}
        assert (last.err.splitlines()[-1], last.events[-1]) == ("ALERT: refused", fields)

    def test_lines_come_first(self, send: Callable[..., Sent], capsys: pytest.CaptureFixture[str]) -> None:
        """The lines of a refusal are written to stderr before the first event, since the pipeline may block."""
        before: list[str] = []
        send("bad", lambda log: configured(log, lambda *given: before.append(capsys.readouterr().err) or given[2]))  # type: ignore[func-returns-value]
        assert_alert_lines("".join(before), refused=False)
        assert before[1] == ""

    def test_its_name(self) -> None:
        """The host's logger factory is called with the library's name."""
        structlog.configure(logger_factory=lambda *names: names)
        assert configured_pipeline().bind()._logger == ("robodj_secretguard",)  # noqa: SLF001 - not public

    def test_a_pipeline_that_emits(self, send: Callable[..., Sent], tmp_path: Path) -> None:
        """A report that a pipeline emits goes to stderr. Otherwise the recursion would be infinite."""
        report = check(environ=WARNED, config_dir=tmp_path, now=NOW)

        def processor(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
            assert emit(report)
            return event

        for _ in range(2):
            sent = send("warned", lambda log: configured(log, processor))
            assert (sent.taken, sent.out, sent.err.splitlines()) == (True, "", sent.lines)
            assert [event["level"] for event in sent.events] == ["warning"]

    def test_another_thread_emits(self, send: Callable[..., Sent], tmp_path: Path) -> None:
        """A report that another thread emits meanwhile goes to the pipeline."""
        report = check(environ=WARNED, config_dir=tmp_path, now=NOW)

        def processor(_logger: object, method: str, event: dict[str, Any]) -> dict[str, Any]:
            if method == "critical":
                thread = threading.Thread(target=emit, args=[report])
                thread.start()
                thread.join()
            return event

        sent = send("bad", lambda log: configured(log, processor))
        assert [event["level"] for event in sent.events] == ["warning", "critical"] * 2


class TestInfo:
    """`emit_info`: an event on which nothing depends."""

    @pytest.mark.parametrize("host", DELIVERING)
    def test_its_fields(self, host: str) -> None:
        """The event gets to the logger that is passed, otherwise to the host's pipeline, also from a new thread."""
        log = io.StringIO()
        with ThreadPoolExecutor(1) as new_thread:
            new_thread.submit(emit_info, "started", {"service": "api"}, DELIVERING[host](log))
        assert json.loads(log.getvalue()) == {"event": "started", "level": "info", "service": "api"}

    @pytest.mark.parametrize("host", [*RAISING, "drop-event", "level-filter"])
    def test_a_host_that_raises_or_drops(self, host: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Whatever a pipeline raises, nothing is raised and nothing is written elsewhere. The next event is sent."""
        for _ in range(2):
            emit_info("started", {}, EVERY[host](io.StringIO()))
        emit_info("started", {}, configured(log := io.StringIO()))  # type: ignore[func-returns-value]
        assert (log.getvalue().count("\n"), *capsys.readouterr()) == (1, "", "")

    def test_without_a_pipeline(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a pipeline nothing is written."""
        emit_info("started", {})
        assert (*capsys.readouterr(),) == ("", "")

    def test_a_pipeline_that_sends(self) -> None:
        """An event that a pipeline sends is dropped. Otherwise the recursion would be infinite."""

        def processor(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
            emit_info("another", {})
            return event

        configured(log := io.StringIO(), processor)
        emit_info("started", {})
        assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == ["started"]


ABSENT: dict[str, Any] = {
    "unconfigured": structlog,
    "not-importable": None,
    "unusable": types.SimpleNamespace(is_configured=lambda: False, wrap_logger=lambda *_, **__: None),
    "half-imported": types.ModuleType("structlog"),
    "without-loggers": types.SimpleNamespace(is_configured=lambda: False),
}
"""The values of `sys.modules["structlog"]` in a host without a pipeline."""


class TestWithoutAPipeline:
    """The host has none."""

    @pytest.mark.parametrize("keys", ["good", "warned", "bad"])
    @pytest.mark.parametrize("absent", [*ABSENT, "not-imported"])
    def test_lines(self, send: Callable[..., Sent], absent: str, keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Alerts go only to stdout, and warnings to stderr, if structlog is unconfigured, not imported or unusable."""
        monkeypatch.setitem(sys.modules, "structlog", ABSENT.get(absent))
        if absent not in ABSENT:
            del sys.modules["structlog"]
        sent = send(keys)
        lines = {each: [line for f in sent.findings if f.severity is each for line in f.lines] for each in Severity}
        assert (sent.taken, sent.out.splitlines()) == (True, lines[Severity.ALERT])
        assert sent.err.splitlines() == lines[Severity.WARNING]

    @pytest.mark.parametrize(("keys", "calls"), [("good", 0), ("warned", 1), ("bad", 1)])
    def test_they_go_through_structlog(
        self, send: Callable[..., Sent], keys: str, calls: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The library makes its own structlog logger to write the lines, and only if there are any."""
        made, wrap = [], structlog.wrap_logger

        def wrap_logger(*given: Any, **named: Any) -> Any:
            made.append(wrap(*given, **named))
            return made[-1]

        monkeypatch.setattr(structlog, "wrap_logger", wrap_logger)
        assert (send(keys).taken, len(made)) == (True, calls)


@pytest.mark.parametrize("keys", ["good", "warned", "bad"])
@pytest.mark.parametrize("configure", [lambda _: None, configured], ids=["unconfigured", "configured"])
def test_nothing_of_the_hosts_is_configured(
    send: Callable[..., Sent], keys: str, configure: Callable[[io.StringIO], Any]
) -> None:
    """The library never configures structlog or logging."""

    def state() -> list[object]:
        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        handlers = [(logger, [*getattr(logger, "handlers", ())]) for logger in loggers]
        hooks = [logging.lastResort, logging.raiseExceptions, sys.excepthook, sys.unraisablehook]
        return [structlog.is_configured(), {**structlog.get_config()}, handlers, logging.root.level, *hooks]

    configure(io.StringIO())
    before = state()
    send(keys)
    assert state() == before


def spoiled(**methods: Any) -> io.StringIO:
    """Return a stream with replaced methods."""
    return type("Spoiled", (io.StringIO,), methods)()  # type: ignore[no-any-return]


def closed() -> io.TextIOWrapper:
    """Return a stream that is closed."""
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    return stream


class Unbuffered(io.RawIOBase):
    """A stream that takes a few bytes at once; none for a full pipe that does not block."""

    def __init__(self, most: int) -> None:
        self.most, self.content = most, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        self.content += bytes(data[: self.most])
        return min(self.most, len(data)) or None


STREAMS: dict[str, Callable[[], Any]] = {
    "full": lambda: io.TextIOWrapper(Unbuffered(0), write_through=True),
    "closed": closed,
    "broken": lambda: spoiled(flush=raising(OSError())),
    "no-flush": lambda: spoiled(flush=None),
    "exiting": lambda: spoiled(write=raising(SystemExit(0)), flush=raising(SystemExit(0))),
    "no-stream": object,
    "none": lambda: None,
}
TROUBLE = pytest.mark.parametrize("trouble", [*STREAMS, "deleted"])
PIPELINES = pytest.mark.parametrize("pipeline", [lambda _: None, configured], ids=["plain", "structlog"])


def put(monkeypatch: pytest.MonkeyPatch, name: str, trouble: str) -> None:
    """Replace a stream of `sys` with a broken one."""
    if trouble == "deleted":
        monkeypatch.delattr(sys, name)
    else:
        monkeypatch.setattr(sys, name, STREAMS[trouble]())


class TestStreams:
    """Broken standard streams."""

    @TROUBLE
    @pytest.mark.parametrize("name", ["stdout", "stderr"])
    @PIPELINES
    def test_one_is(
        self, send: Callable[..., Sent], trouble: str, name: str, pipeline: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If one stream is broken, every line is written to the other one."""
        put(monkeypatch, name, trouble)
        sent = send("bad", pipeline)
        assert sent.taken is True
        assert_alert_lines(sent.err if name == "stdout" else sent.out, refused=False)

    def test_an_unbuffered_stream(self) -> None:
        """A stream that takes a part of a line at once gets the whole line."""
        stream = Unbuffered(3)
        assert write_line(io.TextIOWrapper(stream, write_through=True), "a line")  # type: ignore[type-var]
        assert stream.content == b"a line\n"

    @TROUBLE
    @PIPELINES
    def test_both_are(
        self, send: Callable[..., Sent], trouble: str, pipeline: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If both streams are broken, they are replaced with streams that the interpreter can flush."""
        for name in ("stdout", "stderr"):
            put(monkeypatch, name, trouble)
        sent = send("bad", pipeline)
        assert (sent.taken, len(sent.events)) == (False, 2 if pipeline is configured else 0)
        silence_broken_streams()
        for stream in (sys.stdout, sys.stderr):
            assert (stream is None) is (trouble == "none")
            if stream is not None:
                assert stream.write("text") == 4
                stream.flush()

    def test_a_sound_one_stays(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A working stream is not replaced, and nothing is written to it."""
        streams = sys.stdout, sys.stderr
        silence_broken_streams()
        assert ((sys.stdout, sys.stderr), *capsys.readouterr()) == (streams, "", "")

    def test_a_line(self) -> None:
        """A line is written with its end, and flushed. Without a stream the result is false."""
        written = io.BytesIO()
        stream = io.TextIOWrapper(written, newline="")
        assert (write_line(stream, "one"), write_line(stream, "two", end="")) == (True, True)
        assert (written.getvalue(), write_line(None, "three")) == (b"one\ntwo", False)
