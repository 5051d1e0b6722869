"""What the end-to-end tests share: the environment, the keys and the scripts of the processes that they look at."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import report_json
from conftest import TIMEOUT, V1, V2, Ran, clean_environment, good_keys, run
from detector import leaks
from forks import Forks

from robodj_secretguard import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def _cut_short(keys: Mapping[str, str]) -> dict[str, str]:
    return {V1: keys[V1][:20], V2: keys[V2][:100]}


def _keys_unlike_all_output() -> dict[str, str]:
    """Make good keys of which no six characters stand by chance in a fingerprint of them, or in an ALERT's text."""
    while True:
        keys = good_keys()
        text = "".join(report_json(check(environ=each), passed=False, model={}) for each in (keys, _cut_short(keys)))
        if not leaks(text, tuple(keys.values())):
            return keys


GOOD = _keys_unlike_all_output()
"""Made once in a run: every process is given these, whole or cut short, and must not show six characters of them."""
BAD = _cut_short(GOOD)
"""Good keys that were pasted short: an alert each."""
WARNED = GOOD | {f"{V1}S": "1"}
"""Good keys, and a typo beside them: a warning, and a start."""
SETS = {"good": GOOD, "warned": WARNED, "bad": BAD, "none": {}}
"""All of them by name: a test that has the name as its parameter shows no key when it fails."""

ALERT_STARTS = ("ALERT: secret.key: format: ", "ALERT: secret_v2.key: format: ")
"""How the lines begin that `BAD` is refused with, in order."""
WARNING_START = "WARNING: secret.key: near-miss: "
"""How the line begins that `WARNED` starts with."""

GUARD = "from robodj_secretguard import guard\n"
SERVICE = f"{GUARD}SECRETS = guard()\n"
SERVED = "print('served')\n"


def host_env(keys: Mapping[str, str], **more: str) -> dict[str, str]:
    """Make a process's whole environment: this one's, less all that changes what is tested, with keys."""
    return clean_environment() | dict(keys) | more


def run_script(script: str, keys: Mapping[str, str], cwd: Path, *, options: Sequence[str] = (), **more: str) -> Ran:
    """Run a script to its end, given keys of which it must not show any part.

    Args:
        script: its text.
        keys: the keys in its environment.
        cwd: where it is written, and runs.
        options: the interpreter's options.
        more: further variables.
    """
    (cwd / "app.py").write_text(script, encoding="utf-8")
    return run([*options, "app.py"], env=host_env(keys, **more), cwd=cwd, keys=tuple(GOOD.values()))


def config_files(cwd: Path, keys: Mapping[str, str]) -> None:
    """Put keys into the fallback files of a service."""
    config = cwd / "config"
    config.mkdir(mode=0o700)
    for variable, name in ((V1, "secret.key"), (V2, "secret_v2.key")):
        (config / name).write_text(f"{keys[variable]}\n", encoding="utf-8")
        (config / name).chmod(0o600)


def assert_alert_lines(text: str) -> None:
    """Make sure that text is the ALERT lines for `BAD`, each a physical ASCII line, and nothing else."""
    *lines, last = text.split("\n")
    assert (len(lines), last) == (len(ALERT_STARTS), "")
    for line, start in zip(lines, ALERT_STARTS, strict=True):
        assert line.startswith(start)
        assert line.isascii()
        assert line.isprintable()


def checks(ran: Ran) -> list[str]:
    """Reduce the lines on stdout to which check fired, in order."""
    return re.findall(r"^(?:ALERT|WARNING): (?:\S+\.key: )?([a-z-]+): ", ran.out, re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A script of a table, and what it runs with.

    Attributes:
        script: its text.
        keys: the keys in its environment.
        files: the keys in its fallback files.
        more: further variables.
    """

    script: str
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    more: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def _forks() -> Forks:
    started = Forks(Path(__file__).with_name("script.py"), host_env({}))
    atexit.register(started.stop)
    return started


def table(cases: Mapping[str, Case]) -> Any:
    """Make a fixture of how the scripts of a table end, by name: each in a process, forked from one that has imported.

    Importing is most of what a process costs: a table takes little longer than a single script.
    """

    @pytest.fixture(scope="module")
    def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
        if not hasattr(os, "fork"):
            pytest.skip("there is no fork on this platform")
        return {name: _run_case(case, tmp_path_factory.mktemp("case")) for name, case in cases.items()}

    return ran


def _run_case(case: Case, cwd: Path) -> Ran:
    (cwd / "app.py").write_text(case.script, encoding="utf-8")
    if case.files:
        config_files(cwd, case.files)
    ran = _forks().run(cwd, host_env(case.keys, **case.more))
    assert leaks(ran.out + ran.err, tuple(GOOD.values())) == []
    return ran


def run_on(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, ends: Mapping[str, int], closed: Sequence[int] = ()
) -> Ran:
    """Run Python to its end with standard streams of our choice; what the others carry is returned.

    Args:
        command: arguments of Python.
        env: its whole environment.
        cwd: its working directory.
        ends: descriptors for `stdout` and `stderr`, where they are not to be read.
        closed: numbers of descriptors that it starts without (POSIX).
    """
    argv = [sys.executable, *command]
    if closed:
        argv = ["sh", "-c", 'exec "$@" ' + " ".join(f"{number}>&-" for number in closed), "sh", *argv]
    with subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        text=True,
        stdout=ends.get("stdout", subprocess.PIPE),
        stderr=ends.get("stderr", subprocess.PIPE),
    ) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    out, err = out or "", err or ""
    assert leaks(out + err, tuple(GOOD.values())) == []
    return Ran(process.returncode, out, err)


@contextlib.contextmanager
def broken_pipe() -> Iterator[int]:
    """Make a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@contextlib.contextmanager
def full_device() -> Iterator[int]:
    """Open the device that is always full."""
    with open("/dev/full", "wb", buffering=0) as stream:
        yield stream.fileno()
