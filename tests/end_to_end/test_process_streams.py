"""No trouble with a standard stream changes how a process starts or ends.

tests/test_emit.py has what is written where. Here are real descriptors, and interpreters that flush them as they end,
most of them forked from a warm one. The full run has every combination for the commands, and more new interpreters.
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
TROUBLES = {
    "absent": "os.close({number})\nsys.{name} = None\n",
    "closed": "sys.{name}.close()\n",
    "full": "os.dup2(os.open('/dev/full', os.O_WRONLY), {number})\n",
    "broken": "ends = os.pipe()\nos.dup2(ends[1], {number})\n_ = [os.close(each) for each in ends]\n",
}
"""What a script does that brings one of its streams into trouble."""
PIPELINE = "import structlog\nstructlog.configure(processors=[structlog.processors.JSONRenderer()])\n"
"""A configured pipeline, which writes to whatever stdout is."""
WHICH = pytest.mark.parametrize(
    "which", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=["stdout", "stderr", "both"]
)


def in_trouble(trouble: str, which: tuple[str, ...], script: str) -> str:
    """Write a script that brings its streams into trouble first."""
    numbers = {"stdout": 1, "stderr": 2}
    before = "".join(TROUBLES[trouble].format(name=name, number=numbers[name]) for name in which)
    return f"import os, sys\n{before}{script}"


@pytest.mark.parametrize("trouble", TROUBLES)
@WHICH
class TestGuard:
    """A script whose streams are in trouble."""

    @pytest.mark.parametrize("pipeline", ["", PIPELINE], ids=["plain", "structlog"])
    def test_a_refusal_is_status_3(self, tmp_path: Path, trouble: str, which: tuple[str, ...], pipeline: str) -> None:
        """A refusal is exactly status 3, and its lines are on whichever stream is left, and come first there."""
        ran = run_forked(in_trouble(trouble, which, f"{pipeline}{SERVICE}"), BAD, tmp_path)
        assert ran.status == 3
        if len(which) == 2:
            assert (ran.out, ran.err) == ("", "")
        else:
            in_it, left = (ran.out, ran.err) if which == ("stdout",) else (ran.err, ran.out)
            assert in_it == ""
            assert_alert_lines("".join(left.splitlines(keepends=True)[:BAD_LINES]))

    @pytest.mark.parametrize("keys", ["good", "warned"])
    def test_a_start_is_a_start(self, tmp_path: Path, trouble: str, which: tuple[str, ...], keys: str) -> None:
        """Good keys start a script, which then ends with status 0, warnings or not."""
        ran = run_forked(in_trouble(trouble, which, f"{SERVICE}open('served', 'x').close()\n"), SETS[keys], tmp_path)
        assert (ran.status, (tmp_path / "served").exists()) == (0, True)
        if (keys, which) == ("warned", ("stdout",)):
            assert ran.err.startswith(WARNING_START)


@pytest.mark.parametrize(
    "trouble", ["absent", "full", pytest.param("closed", marks=full), pytest.param("broken", marks=full)]
)
@WHICH
@pytest.mark.parametrize(("argument", "status"), [("check", 1), ("chekc", 2), ("--help", 0), ("--version", 0)])
def test_a_command(tmp_path: Path, trouble: str, which: tuple[str, ...], argument: str, status: int) -> None:
    """A result that cannot be written is status 2, said on stderr where there is one; nothing else changes a status."""
    script = f"from robodj_secretguard.cli import main\nsys.exit(main([{argument!r}]))\n"
    ran = run_forked(in_trouble(trouble, which, script), BAD, tmp_path)
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
    """A process that is started with streams in trouble refuses, on stderr if it is there; the gate has no result."""
    (tmp_path / "app.py").write_text(SERVICE, encoding="utf-8")
    ran = run(redirected(how, command), env=host_env(BAD), cwd=tmp_path, keys=SECRET, python=False)
    assert (ran.status, ran.out) == (3 if "app.py" in command else 2, "")
    if ran.status == 3 and "2>" not in how:
        assert_alert_lines(ran.err)


@pytest.mark.parametrize("closed", [("stdout",), ("stdout", "stderr")], ids=["stdout", "both"])
def test_a_file_that_took_the_number_of_a_closed_stream(tmp_path: Path, closed: tuple[str, ...]) -> None:
    """A file of the host's that was given the number of a standard stream never gets an ALERT."""
    opening = "".join(
        f"{name} = open('{name}', 'w')\nassert {name}.fileno() == {at}\n" for at, name in enumerate(closed, 1)
    )
    ran = run_forked(in_trouble("absent", closed, f"{opening}{PIPELINE}{SERVICE}"), BAD, tmp_path)
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
def test_streams_that_take_ascii_alone(tmp_path: Path, locale: dict[str, str], pipeline: str) -> None:
    """Streams that encode ASCII alone get every line, also where the host's own names are not ASCII."""
    ran = run_script(f"{pipeline}{GUARD}guard(config_dir='sch\\u00fcssel')\n", BAD, tmp_path, **locale)
    setting, _, *rest = (ran.err if pipeline else ran.out).splitlines(keepends=True)
    assert (ran.status, setting.startswith("ALERT: setting: "), rest[-1].startswith(LAST)) == (3, True, True)
    assert_alert_lines("".join(rest[:-1]), refused=False)


@pytest.mark.parametrize("trouble", ["full", "broken"])
def test_no_descriptor_left_is_a_refusal(tmp_path: Path, trouble: str) -> None:
    """Where nothing can be opened any more, not even in place of a broken stream, the status is still the guard's."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
    ran = run_forked(in_trouble(trouble, ("stdout",), f"{limit}{SERVICE}"), BAD, tmp_path)
    assert (ran.status, len(ran.alerts)) == (3, 2)


@pytest.mark.parametrize("trouble", ["full", "broken"])
def test_a_start_goes_on_after_a_broken_stream(tmp_path: Path, trouble: str) -> None:
    """What the service prints after a warning that could not be written is lost, and does not end it."""
    script = f"{SERVICE}print('served')\nopen('served', 'x').close()\n"
    ran = run_forked(in_trouble(trouble, ("stdout",), script), WARNED, tmp_path)
    assert (ran.status, (tmp_path / "served").exists()) == (0, True)
