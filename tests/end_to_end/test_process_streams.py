"""No trouble with a standard stream changes how a process starts or ends."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest
from processes import (
    BAD,
    GOOD,
    GUARD,
    SERVICE,
    SETS,
    WARNING_START,
    assert_alert_lines,
    broken_pipe,
    full_device,
    host_env,
    run_on,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from conftest import Ran

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs sh, /dev/full and POSIX descriptors")

NUMBERS = {"stdout": 1, "stderr": 2}
DEVICES: dict[str, Callable[[], contextlib.AbstractContextManager[int]]] = {"full": full_device, "broken": broken_pipe}
PIPELINE = "import structlog\nstructlog.configure(processors=[structlog.processors.JSONRenderer()])\n"
"""A configured pipeline, which writes to whatever stdout is."""

WHICH = pytest.mark.parametrize(
    "which", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=["stdout", "stderr", "both"]
)
PIPELINES = pytest.mark.parametrize("pipeline", ["", PIPELINE], ids=["plain", "structlog"])


def run_in_trouble(
    trouble: str, which: Sequence[str], command: Sequence[str], keys: Mapping[str, str], cwd: Path
) -> Ran:
    """Run Python with streams that are `absent` from the start, `full` or `broken`."""
    with contextlib.ExitStack() as stack:
        ends = {}
        if trouble in DEVICES:
            end = stack.enter_context(DEVICES[trouble]())
            ends = dict.fromkeys(which, end)
        closed = [NUMBERS[name] for name in which] if trouble == "absent" else []
        return run_on(command, env=host_env(keys), cwd=cwd, ends=ends, closed=closed)


def write_app(cwd: Path, trouble: str, which: Sequence[str], pipeline: str, script: str) -> None:
    """Write a script, which closes its streams itself when that is the trouble."""
    closing = "".join(f"sys.{name}.close()\n" for name in which) if trouble == "closed" else ""
    (cwd / "app.py").write_text(f"import sys\n{pipeline}{closing}{script}", encoding="utf-8")


class TestGuard:
    """A script whose streams are in trouble."""

    @pytest.mark.parametrize(
        ("trouble", "options"),
        [("absent", ()), ("closed", ()), ("full", ()), ("full", ("-u",)), ("broken", ()), ("broken", ("-u",))],
        ids=["absent", "closed", "full", "full-unbuffered", "broken", "broken-unbuffered"],
    )
    @WHICH
    @PIPELINES
    def test_a_refusal_is_status_3(
        self, tmp_path: Path, trouble: str, which: tuple[str, ...], pipeline: str, options: tuple[str, ...]
    ) -> None:
        """A refusal is exactly status 3, and its lines are on whichever stream is left, and come first there."""
        write_app(tmp_path, trouble, which, pipeline, SERVICE)
        ran = run_in_trouble(trouble, which, [*options, "app.py"], BAD, tmp_path)
        assert ran.status == 3
        if which == ("stdout",):
            assert ran.out == ""
            assert_alert_lines(ran.err)
        elif which == ("stderr",):
            assert ran.err == ""
            assert_alert_lines("".join(ran.out.splitlines(keepends=True)[:2]))
        else:
            assert (ran.out, ran.err) == ("", "")

    @pytest.mark.parametrize("trouble", ["absent", "closed", "full", "broken"])
    @WHICH
    @pytest.mark.parametrize(
        ("pipeline", "keys"),
        [("", "good"), ("", "warned"), (PIPELINE, "warned")],
        ids=["good", "warned", "warned-structlog"],
    )
    def test_a_start_is_a_start(
        self, tmp_path: Path, trouble: str, which: tuple[str, ...], pipeline: str, keys: str
    ) -> None:
        """Good keys start a script that writes nothing itself, which then ends with status 0, warnings or not."""
        write_app(tmp_path, trouble, which, pipeline, f"{SERVICE}open('served', 'x').close()\n")
        ran = run_in_trouble(trouble, which, ["app.py"], SETS[keys], tmp_path)
        assert ran.status == 0
        assert (tmp_path / "served").exists()
        if keys == "warned" and which == ("stdout",) and not pipeline:
            assert ran.err.startswith(WARNING_START)

    @pytest.mark.parametrize(
        "broken",
        ["del sys.stdout", "sys.stdout = object()", "sys.stdout = sys.stderr = object()", "sys.stdout.flush = None"],
    )
    def test_what_is_no_stream_is_a_broken_one(self, tmp_path: Path, broken: str) -> None:
        """A host that deleted a stream, or put something else in its place, is refused like any other."""
        script = f"import sys\ntry:\n    {broken}\n    {GUARD}    guard()\nexcept Exception:\n    pass\n"
        ran = run_script(script, BAD, tmp_path)
        assert ran.status == 3
        if "stderr" not in broken:
            assert len(ran.alerts) >= 2


@PIPELINES
@pytest.mark.parametrize("closed", [(1,), (1, 2)], ids=["stdout", "both"])
def test_a_file_that_took_the_number_of_a_closed_stream_gets_no_line(
    tmp_path: Path, pipeline: str, closed: tuple[int, ...]
) -> None:
    """A file of the host's that was given the number of a standard stream never gets an ALERT."""
    opening = "".join(f"file{number} = open('host{number}.log', 'w')\n" for number in closed)
    numbers = "".join(f"assert file{number}.fileno() == {number}\n" for number in closed)
    (tmp_path / "app.py").write_text(f"{opening}{numbers}{pipeline}{SERVICE}", encoding="utf-8")
    ran = run_on(["app.py"], env=host_env(BAD), cwd=tmp_path, ends={}, closed=closed)
    assert ran.status == 3
    assert [(tmp_path / f"host{number}.log").read_text(encoding="utf-8") for number in closed] == [""] * len(closed)
    if closed == (1,):
        assert_alert_lines(ran.err)


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "C"],
)
@PIPELINES
def test_streams_that_take_ascii_alone(tmp_path: Path, locale: dict[str, str], pipeline: str) -> None:
    """Streams that encode ASCII alone get every line, also where the host's own names are not ASCII."""
    script = f"{pipeline}{GUARD}guard(config_dir='sch\\u00fcssel')\n"
    ran = run_script(script, BAD, tmp_path, **locale)
    assert ran.status == 3
    plain = ran.err if pipeline else ran.out
    assert plain.startswith("ALERT: setting: ")
    assert_alert_lines(plain.partition("\n")[2])


@pytest.mark.parametrize("trouble", ["absent", "full", "broken"])
class TestCommandLine:
    """The gate, when its streams are in trouble."""

    @WHICH
    @pytest.mark.parametrize(
        ("keys", "options"),
        [("good", ()), ("good", ("-u",)), ("bad", ())],
        ids=["good", "good-unbuffered", "bad"],
    )
    def test_a_result_that_cannot_be_written_is_status_2(
        self, tmp_path: Path, trouble: str, which: tuple[str, ...], keys: str, options: tuple[str, ...]
    ) -> None:
        """Without a stdout the status is 2, said on stderr where there is one; without a stderr nothing changes."""
        ran = run_in_trouble(trouble, which, [*options, "-m", "robodj_secretguard", "check"], SETS[keys], tmp_path)
        if "stdout" in which:
            assert (ran.status, ran.out) == (2, "")
            assert ran.err.count("\n") == (1 if "stderr" not in which else 0)
        else:
            assert ran.status == (0 if keys == "good" else 1)
            assert ran.out.splitlines()[-1].startswith("Secret integrity check ")

    @pytest.mark.parametrize("which", [("stderr",), ("stdout", "stderr")], ids=["stderr", "both"])
    def test_a_usage_error_is_status_2(self, tmp_path: Path, trouble: str, which: tuple[str, ...]) -> None:
        """A usage error is status 2 whether or not it can be said."""
        ran = run_in_trouble(trouble, which, ["-m", "robodj_secretguard", "chekc"], GOOD, tmp_path)
        assert (ran.status, ran.out) == (2, "")


@pytest.mark.parametrize("trouble", ["full", "broken"])
@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_that_cannot_be_written_is_status_2(tmp_path: Path, trouble: str, argument: str) -> None:
    """What --help and --version write is a result too."""
    ran = run_in_trouble(trouble, ["stdout"], ["-m", "robodj_secretguard", argument], GOOD, tmp_path)
    assert ran.status == 2


@pytest.mark.parametrize("trouble", ["full", "broken"])
def test_no_descriptor_left_is_a_refusal(tmp_path: Path, trouble: str) -> None:
    """Where nothing can be opened any more, not even in place of a broken stream, the status is still the guard's."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
    (tmp_path / "app.py").write_text(f"import robodj_secretguard.guard\n{limit}{SERVICE}", encoding="utf-8")
    ran = run_in_trouble(trouble, ["stdout"], ["app.py"], BAD, tmp_path)
    assert (ran.status, len(ran.alerts)) == (3, 2)


@pytest.mark.parametrize("trouble", ["full", "broken"])
def test_a_start_goes_on_after_a_broken_stream(tmp_path: Path, trouble: str) -> None:
    """What the service prints after a warning that could not be written is lost, and does not end it."""
    script = f"{SERVICE}print('served')\nopen('served', 'x').close()\n"
    (tmp_path / "app.py").write_text(script, encoding="utf-8")
    ran = run_in_trouble(trouble, ["stdout"], ["app.py"], SETS["warned"], tmp_path)
    assert (ran.status, (tmp_path / "served").exists()) == (0, True)
    assert ran.err.startswith(WARNING_START)
