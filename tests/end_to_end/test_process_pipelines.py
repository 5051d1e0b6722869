"""Whatever a host's structlog pipeline is and does, the outcome and the lines are the same."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from detector import leaks
from processes import BAD, GOOD, GUARD, SETS, WARNED, WARNING_START, assert_alert_lines, run_script

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Ran

EVENTS = """
import logging, sys
import structlog
LOG = open("events.log", "w")
JSON = [structlog.processors.add_log_level, structlog.processors.JSONRenderer()]
def configure(*first, **more):
    ours = {"processors": [*first, *JSON], "logger_factory": structlog.PrintLoggerFactory(file=LOG)}
    structlog.configure(**ours | more)
def raising(error):
    def processor(logger, method, event):
        raise error
    return processor
LOGGER = None
"""
"""What the hosts below begin with: their pipelines write to a file, so that stdout and stderr are the guard's alone."""
STDLIB = """
logging.basicConfig(stream=LOG, level=logging.INFO, format="%(message)s")
configure(logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.PositionalArgumentsFormatter(), *JSON])
"""
DELIVERING = {
    "json": "configure()",
    "stdlib": STDLIB,
    "explicit": "LOGGER = structlog.wrap_logger(structlog.PrintLogger(file=LOG), processors=JSON)",
    "explicit-bound": "configure()\nLOGGER = structlog.get_logger().bind()",
}
"""Pipelines that write each event as a line of JSON."""
DROPPING = {
    "drop-event": "configure(raising(structlog.DropEvent))",
    "level-filter": f"{STDLIB}logging.disable()",
}
RAISING = {
    "exception": "configure(raising(RuntimeError('of the pipeline')))",
    "system-exit-0": "configure(raising(SystemExit(0)))",
    "keyboard-interrupt": "configure(raising(KeyboardInterrupt()))",
    "factory": "configure(logger_factory=lambda *_: 1 / 0)",
    "closed-file": "configure()\nLOG.close()",
    "logging-logger": "LOGGER = logging.getLogger('host')",
    "no-logger": "LOGGER = object()",
}
RENDERING = {
    "console": "configure(processors=[structlog.dev.ConsoleRenderer()])",
    "render-to-log-kwargs": STDLIB.replace("*JSON", "structlog.stdlib.render_to_log_kwargs"),
    "dict-tracebacks": "configure(structlog.processors.CallsiteParameterAdder(), structlog.processors.dict_tracebacks)",
}
EVERY = DELIVERING | DROPPING | RAISING | RENDERING
ABSENT = {
    "unconfigured": "import structlog",
    "not-imported": "",
    "not-importable": "import sys\nsys.modules['structlog'] = None",
    "unusable": "import structlog\nstructlog.wrap_logger = lambda *_, **__: None",
    "half-imported": "import sys, types\nsys.modules['structlog'] = types.ModuleType('structlog')",
    "broken": "import sys, types\nsys.modules['structlog'] = types.SimpleNamespace(is_configured=lambda: False)",
}
CALL = f"{GUARD}guard(logger=LOGGER)\n"


def start(host: str, keys: Mapping[str, str], cwd: Path) -> tuple[Ran, str]:
    """Start a service with a pipeline, and return what its pipeline wrote too."""
    ran = run_script(f"{EVENTS}{host}\n{CALL}", keys, cwd)
    log = (cwd / "events.log").read_text(encoding="utf-8")
    assert leaks(log, tuple(GOOD.values())) == []
    return ran, log


def events(log: str) -> list[dict[str, Any]]:
    """Read the events that a pipeline of `DELIVERING` wrote."""
    return [json.loads(line) for line in log.splitlines()]


class TestPipelines:
    """Hosts that have a pipeline."""

    @pytest.mark.parametrize("host", EVERY.values(), ids=EVERY)
    def test_refused(self, tmp_path: Path, host: str) -> None:
        """A refusal writes the plain lines to stderr and ends with 3, whatever the pipeline does."""
        ran, _ = start(host, BAD, tmp_path)
        assert (ran.status, ran.out) == (3, "")
        assert_alert_lines(ran.err)

    @pytest.mark.parametrize("host", EVERY.values(), ids=EVERY)
    def test_started(self, tmp_path: Path, host: str) -> None:
        """Good keys start the service, whatever the pipeline does, and nothing is on stdout or stderr."""
        ran, _ = start(host, GOOD, tmp_path)
        assert (ran.status, ran.out, ran.err) == (0, "", "")

    @pytest.mark.parametrize("host", (DELIVERING | DROPPING).values(), ids=DELIVERING | DROPPING)
    def test_warnings_are_the_pipelines(self, tmp_path: Path, host: str) -> None:
        """Warnings alone go to the pipeline, whose host may drop them."""
        ran, log = start(host, WARNED, tmp_path)
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        levels = ["warning", "info"] if host in DELIVERING.values() else []
        assert [event["level"] for event in events(log)] == levels

    @pytest.mark.parametrize("host", RAISING.values(), ids=RAISING)
    def test_warnings_that_the_pipeline_fails_on_are_on_stderr(self, tmp_path: Path, host: str) -> None:
        """A pipeline that raises does not take the warnings with it."""
        ran, _ = start(host, WARNED, tmp_path)
        assert (ran.status, ran.out) == (0, "")
        assert ran.err.startswith(WARNING_START)
        assert ran.err.count("\n") == 1


@pytest.mark.parametrize("host", DELIVERING.values(), ids=DELIVERING)
class TestEvents:
    """What a pipeline is given."""

    def test_of_a_refusal(self, tmp_path: Path, host: str) -> None:
        """Each finding is one event: the plain line as its text, its key-values, `critical` or `warning`."""
        ran, log = start(host, WARNED | BAD, tmp_path)
        sent = events(log)
        assert [event["event"] for event in sent] == ran.err.splitlines()
        shown = [(event["level"], event["severity"], event["secret"], event["check"]) for event in sent]
        assert shown == [
            ("critical", "alert", "secret.key", "format"),
            ("warning", "warning", "secret.key", "near-miss"),
            ("critical", "alert", "secret_v2.key", "format"),
        ]
        keys = {"event", "level", "check", "severity", "secret", "source", "remedy", "owner"}
        assert [set(event) for event in sent] == [keys] * 3
        for event in sent:
            assert event["event"].endswith(f" {event['remedy']} ({event['source']}; {event['owner']})")

    def test_of_a_start(self, tmp_path: Path, host: str) -> None:
        """A start is one `info` event with each secret's state and fingerprint."""
        _, log = start(host, GOOD, tmp_path)
        (event,) = events(log)
        assert (set(event), event["level"]) == ({"event", "level", "secrets"}, "info")
        assert [(each["secret"], each["state"]) for each in event["secrets"]] == [
            ("secret.key", "present"),
            ("secret_v2.key", "present"),
        ]
        assert all(re.fullmatch("sgfp1:[0-9a-f]{32}", each["fingerprint"]) for each in event["secrets"])


@pytest.mark.parametrize("host", ABSENT.values(), ids=ABSENT)
class TestWithoutAPipeline:
    """Hosts that have none: structlog is not configured, not imported, or not to be had."""

    def test_refused(self, tmp_path: Path, host: str) -> None:
        """The plain lines are on stdout, alone."""
        ran = run_script(f"{host}\n{GUARD}guard()\n", BAD, tmp_path)
        assert (ran.status, ran.err) == (3, "")
        assert_alert_lines(ran.out)

    def test_warned(self, tmp_path: Path, host: str) -> None:
        """A warning is one plain line on stdout."""
        ran = run_script(f"{host}\n{GUARD}guard()\n", WARNED, tmp_path)
        assert (ran.status, ran.err) == (0, "")
        assert (ran.out.startswith(WARNING_START), ran.out.count("\n")) == (True, 1)


@pytest.mark.parametrize("keys", ["good", "warned", "bad"])
@pytest.mark.parametrize("configure", ["", "structlog.configure(processors=[])\n"], ids=["unconfigured", "configured"])
def test_nothing_of_the_hosts_is_configured(tmp_path: Path, keys: str, configure: str) -> None:
    """Neither structlog nor logging is configured by the guard, whatever it has to say."""
    script = f"""
import logging, structlog, sys
{configure}{GUARD}
def state():
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return (
        structlog.is_configured(), {{**structlog.get_config()}}, logging.root.level, logging.raiseExceptions,
        [(logger, [*getattr(logger, "handlers", ())]) for logger in loggers], logging.getLoggerClass(),
        logging.lastResort, sys.excepthook, sys.unraisablehook,
    )
before = state()
try:
    guard()
except SystemExit:
    pass
raise SystemExit(0 if state() == before else 9)
"""
    assert run_script(script, SETS[keys], tmp_path).status == 0


@pytest.mark.parametrize(("keys", "through"), [("good", 0), ("warned", 1), ("bad", 1)])
def test_plain_lines_go_through_structlog(tmp_path: Path, keys: str, through: int) -> None:
    """Without a pipeline a structlog logger of the guard's own writes the lines, made only when there are any."""
    script = f"""
import structlog
wrap = structlog.wrap_logger
def wrap_logger(*arguments, **named):
    print("wrapped")
    return wrap(*arguments, **named)
structlog.wrap_logger = wrap_logger
{GUARD}guard()
"""
    ran = run_script(script, SETS[keys], tmp_path)
    assert ran.out.splitlines()[:1] == ["wrapped"] * through
    assert ran.out.count("wrapped") == through
