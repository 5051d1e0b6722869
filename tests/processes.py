"""Processes for tests: their keys, their scripts, and three ways to start them.

`run_script` starts Python, which takes 0.3 s. `run_forked` forks a process that has imported the library; the child
ends like every interpreter. `run_copy` forks this process, which is fastest and has the mutants.
"""

from __future__ import annotations

import logging
import os
import re
import select
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest
from command_line import report_json
from conftest import TIMEOUT, V1, V2, Ran, clean_environment, good_keys, put, run, without_model
from detector import leaks

from robodj_secretguard import check


def _cut_short(keys: Mapping[str, str]) -> dict[str, str]:
    return {V1: keys[V1][:20], V2: keys[V2][:100]}


def _keys_unlike_all_output() -> dict[str, str]:
    """Make good keys that have no six characters in common with their fingerprints or the text of an ALERT."""
    while True:
        keys = good_keys()
        text = "".join(report_json(check(environ=each), passed=False, model={}) for each in (keys, _cut_short(keys)))
        if not leaks(text, tuple(keys.values())):
            return keys


GOOD = _keys_unlike_all_output()
"""Every process gets these keys, whole or cut short. It must not show six characters of them."""
BAD = _cut_short(GOOD)
"""Good keys that were cut short: one alert for each."""
WARNED = GOOD | {f"{V1}S": "1"}
"""Good keys and a misspelled variable: a warning, and the service starts."""
SETS = {"good": GOOD, "warned": WARNED, "bad": BAD, "none": {}}
"""The sets of keys by name. A test that takes the name as its parameter shows no key when it fails."""
SECRET = tuple(GOOD.values())

ALERT_STARTS = ("ALERT: secret.key: format: ", "ALERT: secret_v2.key: format: ")
"""The beginnings of the alerts for `BAD`, in order."""
WARNING_START = "WARNING: secret.key: near-miss: "
"""The beginning of the warning for `WARNED`."""

GUARD = "from robodj_secretguard import guard\n"
SERVICE = f"{GUARD}SECRETS = guard()\n"
SERVED = "print('served')\n"
START = f"{SERVICE}{SERVED}"

ENVIRONMENT = ("sh", "-c", "env -0 >started")
"""A command that writes the environment that it gets to a file."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def host_env(keys: Mapping[str, str], **more: str) -> dict[str, str]:
    """Return an environment with keys, and without variables that change what is tested."""
    return clean_environment() | dict(keys) | more


def config_files(cwd: Path, keys: Mapping[str, str]) -> None:
    """Write keys to the fallback files of a service."""
    config = cwd / "config"
    config.mkdir(mode=0o700)
    for variable, name in ((V1, "secret.key"), (V2, "secret_v2.key")):
        put(config / name, f"{keys[variable]}\n")


def run_script(script: str, keys: Mapping[str, str], cwd: Path, *, options: Sequence[str] = (), **more: str) -> Ran:
    """Run a script in a new interpreter, and assert that its output has no part of a key.

    Args:
        script: its text.
        keys: the keys in its environment.
        cwd: the directory for the script, and its working directory.
        options: the interpreter's options.
        more: further variables.
    """
    (cwd / "app.py").write_text(script, encoding="utf-8")
    return run([*options, "app.py"], env=host_env(keys, **more), cwd=cwd, keys=SECRET, fresh=True)


def run_forked(script: str, keys: Mapping[str, str], cwd: Path, **more: str) -> Ran:
    """Run a script like `run_script`, but in a fork of a process that has imported the library."""
    (cwd / "app.py").write_text(script, encoding="utf-8")
    return run(["app.py"], env=host_env(keys, **more), cwd=cwd, keys=SECRET)


def fork() -> int:
    """Fork this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest-xdist has a thread
        return os.fork()


class Killed:
    """A fork of this process that calls a function, and then kills itself with SIGKILL.

    Args:
        act: the function. It gets a stream for its output.
    """

    def __init__(self, act: Callable[[IO[bytes]], object]) -> None:
        self._reader, writer = os.pipe()
        self.process = fork()
        if not self.process:
            os.close(self._reader)
            try:
                act(open(writer, "wb", buffering=0))  # noqa: SIM115 - the process ends at once
                os.kill(os.getpid(), signal.SIGKILL)
            except BaseException:  # noqa: BLE001 - otherwise pytest would continue in two processes
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(writer)

    def said(self) -> str:
        """Wait for the end of the process, and return its output."""
        with open(self._reader, encoding="ascii") as pipe:
            output = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1]) == -signal.SIGKILL
        return output


def run_copy(script: str, keys: Mapping[str, str], cwd: Path, *, secret: Sequence[str] = SECRET, **more: str) -> Ran:
    """Run a script in a fork of this process, which ends without the interpreter's exit functions.

    Args:
        script: its text.
        keys: the keys in its environment.
        cwd: where it runs.
        secret: the keys that its output must not have. By chance, new keys may have six characters in common with them.
        more: further variables.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = fork()
        if not child:
            _run_and_exit(script, host_env(keys, **more), cwd, (out.fileno(), err.fileno()))
        status = ended(child)
        out.seek(0)
        err.seek(0)
        ran = Ran(status, *(each.read().decode("utf-8", "surrogateescape") for each in (out, err)))
    assert leaks(ran.out + ran.err, secret) == []
    return Ran(ran.status, ran.out, without_model(ran.err))


def started_with(cwd: Path) -> dict[str, str]:
    """Return the environment that `ENVIRONMENT` got; empty where it was not started."""
    path = cwd / "started"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return dict(each.split("=", 1) for each in text.split("\0") if each)


def ended(child: int) -> int:
    """Wait for a child, and return its status. Kill it after the time limit."""
    descriptor = os.pidfd_open(child) if sys.platform == "linux" else None
    if descriptor is not None:
        if not select.select([descriptor], [], [], TIMEOUT)[0]:
            os.kill(child, signal.SIGKILL)
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run_and_exit(script: str, environ: Mapping[str, str], cwd: Path, ends: Sequence[int]) -> NoReturn:
    status = 1
    try:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environ)
        for number, end in enumerate((os.open(os.devnull, os.O_RDONLY), *ends)):
            os.dup2(end, number)
        streams: Any = [open(number, "w" if number else "r", closefd=False) for number in range(3)]  # noqa: SIM115
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
        sys.path.insert(0, str(cwd))
        logging.root.handlers.clear()  # this and the next lines undo changes by pytest
        threading.excepthook = threading.__excepthook__
        warnings.simplefilter("ignore")
        try:
            exec(compile(script, "app.py", "exec", dont_inherit=True), {"__name__": "__main__"})  # noqa: S102
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else end.code is not None
        except BaseException:  # noqa: BLE001 - like an interpreter
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(status)


def assert_alert_lines(text: str, *, refused: bool = True) -> None:
    """Assert that a text is the findings of `BAD` and the last line of a refusal, in physical ASCII lines."""
    *lines, end = text.split("\n")
    starts = [start for alert in ALERT_STARTS for start in (alert, "  fix: ")]
    starts += ["ALERT: robodj-secretguard refused to start: 2 alerts (exit status "] if refused else []
    assert (len(lines), end) == (len(starts), "")
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)
        assert line.isascii()
        assert line.isprintable()


BAD_LINES = 2 * len(ALERT_STARTS) + 1
"""How many lines the refusal of `BAD` has."""


def assert_refused(ran: Ran) -> None:
    """Assert that a process refused `BAD`, and did nothing else."""
    assert (ran.status, ran.err) == (3, "")
    assert_alert_lines(ran.out)


def checks(ran: Ran) -> list[str]:
    """Return the check of each finding: the warnings on stderr, then the alerts on stdout."""
    return re.findall(r"^(?:ALERT|WARNING): (?:\S+\.key: |\w+_\w+: )?([a-z-]+): ", ran.err + ran.out, re.MULTILINE)


def redirected(how: str, command: Sequence[str]) -> list[str]:
    """Return a Python command whose streams the shell redirects, for example `>&-`."""
    return ["sh", "-c", f'exec "$@" {how}', "sh", sys.executable, *command]
