"""A faulty standard stream does not change how a process starts or ends.

tests/test_emit.py has the rules of what is written where. These tests use real descriptors, and interpreters that
flush them as they end. Most are forked from a warm process. The full run has every combination, and more new ones.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from conftest import run
from processes import (
    BAD,
    BAD_LINES,
    GUARD,
    SECRET,
    SERVICE,
    SETS,
    WARNED,
    WARNING_START,
    assert_alert_lines,
    host_env,
    needs_fork,
    redirected,
    run_forked,
    run_script,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [needs_fork, pytest.mark.skipif(sys.platform != "linux", reason="needs sh and /dev/full")]
full = pytest.mark.full

LAST = "ALERT: robodj-secretguard refused to start: 3 alerts "
FAULTS = {
    "absent": "os.close({number})\nsys.{name} = None\n",
    "closed": "sys.{name}.close()\n",
    "full": "os.dup2(os.open('/dev/full', os.O_WRONLY), {number})\n",
    "broken": "ends = os.pipe()\nos.dup2(ends[1], {number})\n_ = [os.close(each) for each in ends]\n",
}
"""The code that makes a stream faulty."""
PIPELINE = "import structlog\nstructlog.configure(processors=[structlog.processors.JSONRenderer()])\n"
"""A configured pipeline, which writes to the current stdout."""
WHICH = pytest.mark.parametrize(
    "which", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=["stdout", "stderr", "both"]
)


def with_faults(fault: str, which: tuple[str, ...], script: str) -> str:
    """Return the source of a script that breaks its streams first."""
    numbers = {"stdout": 1, "stderr": 2}
    before = "".join(FAULTS[fault].format(name=name, number=numbers[name]) for name in which)
    return f"import os, sys\n{before}{script}"


@pytest.mark.parametrize("fault", FAULTS)
@WHICH
class TestGuard:
    """A script with faulty streams calls the guard."""

    @pytest.mark.parametrize("pipeline", ["", PIPELINE], ids=["plain", "structlog"])
    def test_a_refusal_is_status_3(self, tmp_path: Path, fault: str, which: tuple[str, ...], pipeline: str) -> None:
        """A refusal is always status 3. Its lines come first on a stream that still works."""
        ran = run_forked(with_faults(fault, which, f"{pipeline}{SERVICE}"), BAD, tmp_path)
        assert ran.status == 3
        if len(which) == 2:
            assert (ran.out, ran.err) == ("", "")
        else:
            in_it, left = (ran.out, ran.err) if which == ("stdout",) else (ran.err, ran.out)
            assert in_it == ""
            assert_alert_lines("".join(left.splitlines(keepends=True)[:BAD_LINES]))

    @pytest.mark.parametrize("keys", ["good", "warned"])
    def test_good_keys_start(self, tmp_path: Path, fault: str, which: tuple[str, ...], keys: str) -> None:
        """Good keys start a script, which ends with status 0, with or without warnings."""
        ran = run_forked(with_faults(fault, which, f"{SERVICE}open('served', 'x').close()\n"), SETS[keys], tmp_path)
        assert (ran.status, (tmp_path / "served").exists()) == (0, True)
        if (keys, which) == ("warned", ("stdout",)):
            assert ran.err.startswith(WARNING_START)


@pytest.mark.parametrize(
    "fault", ["absent", "full", pytest.param("closed", marks=full), pytest.param("broken", marks=full)]
)
@WHICH
@pytest.mark.parametrize(("argument", "status"), [("check", 1), ("chekc", 2), ("--help", 0), ("--version", 0)])
def test_a_command(tmp_path: Path, fault: str, which: tuple[str, ...], argument: str, status: int) -> None:
    """A result that cannot be written is status 2, with a message on stderr where possible. No other status changes."""
    script = f"from robodj_secretguard.cli import main\nsys.exit(main([{argument!r}]))\n"
    ran = run_forked(with_faults(fault, which, script), BAD, tmp_path)
    assert ran.status == (2 if "stdout" in which else status)
    assert ran.err.count("\n") == ("stderr" not in which and ran.status == 2)
    assert (ran.out == "") is (ran.status == 2)


@pytest.mark.parametrize(
    ("how", "command"),
    [
        (">&-", ["app.py"]),
        ("> /dev/full", ["-u", "app.py"]),
        (">&-", ["-m", "robodj_secretguard", "check"]),
        pytest.param("> /dev/full", ["app.py"], marks=full),
        pytest.param(">&- 2>&-", ["-u", "app.py"], marks=full),
        pytest.param("> /dev/full", ["-u", "-m", "robodj_secretguard", "check"], marks=full),
    ],
)
def test_from_the_start(tmp_path: Path, how: str, command: list[str]) -> None:
    """A process that starts with faulty streams refuses, on stderr if possible. The gate prints no result."""
    (tmp_path / "app.py").write_text(SERVICE, encoding="utf-8")
    ran = run(redirected(how, command), env=host_env(BAD), cwd=tmp_path, keys=SECRET, python=False)
    assert (ran.status, ran.out) == (3 if "app.py" in command else 2, "")
    if ran.status == 3 and "2>" not in how:
        assert_alert_lines(ran.err)


@pytest.mark.parametrize("closed", [("stdout",), ("stdout", "stderr")], ids=["stdout", "both"])
def test_a_file_that_took_the_number_of_a_closed_stream(tmp_path: Path, closed: tuple[str, ...]) -> None:
    """A file of the host that has the number of a standard stream never receives an ALERT."""
    opening = "".join(
        f"{name} = open('{name}', 'w')\nassert {name}.fileno() == {at}\n" for at, name in enumerate(closed, 1)
    )
    ran = run_forked(with_faults("absent", closed, f"{opening}{PIPELINE}{SERVICE}"), BAD, tmp_path)
    assert (ran.status, len(ran.alerts)) == (3, 2 if closed == ("stdout",) else 0)
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in closed] == [""] * len(closed)


@pytest.mark.parametrize(
    ("locale", "pipeline"),
    [
        ({"PYTHONIOENCODING": "ascii"}, PIPELINE),
        ({"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, ""),
    ],
    ids=["ascii", "C"],
)
def test_streams_that_only_encode_ascii(tmp_path: Path, locale: dict[str, str], pipeline: str) -> None:
    """Streams that can only encode ASCII get every line, also where the host's names are not ASCII."""
    ran = run_script(f"{pipeline}{GUARD}guard(config_dir='sch\\u00fcssel')\n", BAD, tmp_path, **locale)
    setting, _, *rest = (ran.err if pipeline else ran.out).splitlines(keepends=True)
    assert (ran.status, setting.startswith("ALERT: setting: "), rest[-1].startswith(LAST)) == (3, True, True)
    assert_alert_lines("".join(rest[:-1]), refused=False)


@pytest.mark.parametrize("fault", ["full", "broken"])
def test_no_descriptor_left_is_a_refusal(tmp_path: Path, fault: str) -> None:
    """Where no file can be opened, not even to replace a broken stream, the status is still the guard's."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
    ran = run_forked(with_faults(fault, ("stdout",), f"{limit}{SERVICE}"), BAD, tmp_path)
    assert (ran.status, len(ran.alerts)) == (3, 2)


@pytest.mark.parametrize("fault", ["full", "broken"])
def test_a_start_goes_on_after_a_broken_stream(tmp_path: Path, fault: str) -> None:
    """Output of the service after a warning that could not be written is lost, and does not end the service."""
    script = f"{SERVICE}print('served', file=sys.stderr)\nopen('served', 'x').close()\n"
    ran = run_forked(with_faults(fault, ("stderr",), script), WARNED, tmp_path)
    assert (ran.status, (tmp_path / "served").exists()) == (0, True)
