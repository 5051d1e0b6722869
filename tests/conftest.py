"""Helpers that all tests share: keys made at run time, processes, and a search for leaked keys."""

from __future__ import annotations

import contextlib
import functools
import gc
import glob
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from unittest.mock import patch

import pytest
import structlog
from detector import leaks
from hypothesis import settings
from jsonschema import Draft202012Validator

from robodj_secretguard import Report, check
from robodj_secretguard.cli.rotate import CI_VARIABLES
from robodj_secretguard.errors import ManagerError

# Without a deadline: test_slowest_call.py measures how long a call takes.
settings.register_profile("ours", deadline=None, max_examples=200)
settings.load_profile("ours")

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
V1, V2 = "ROBODJ_SECRET_KEY", "ROBODJ_SECRET_V2_KEY"
KEY_VARIABLES = tuple(f"{name}{slot}" for name in (V1, V2) for slot in ("", "_NEXT", "_PREVIOUS"))
posix_only = pytest.mark.skipif(os.name != "posix", reason="modes, owners, links, FIFOs and terminals are POSIX's")
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
TIMEOUT = 60
PG_CTL = shutil.which("pg_ctl") or max(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"), default="")
"""The program that starts PostgreSQL; empty where it is not installed."""
CHANGES_STREAMS = {"PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS", "PYTHONDEVMODE"}
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE"}
"""With it, each process compiles the library."""
CHANGES_PYTEST = {"PYTEST_ADDOPTS"}
CHANGES_GENERATE = {*CI_VARIABLES}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without the garbage collector, which would look at every test again and again: it halves the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def put(path: Path, content: str | bytes = "text", mode: int = 0o600) -> Path:
    """Write a file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def marker(ahead: timedelta, *, now: datetime = NOW) -> str:
    """Return an expiry marker that is so far ahead of the time."""
    return (now + ahead).isoformat().replace("+00:00", "Z")


def good_keys() -> dict[str, str]:
    """Make a new key of each kind with its approved generator."""
    return {V1: secrets.token_urlsafe(32), V2: secrets.token_hex(64)}


class Failure(NamedTuple):
    """What an error of a manager says."""

    what: str
    fix: str
    is_temporary: bool = False


NO_FAILURE = Failure("", "")


def failure_of(action: Callable[[], object]) -> Failure:
    """Return what the error of a manager says that an action raises."""
    try:
        action()
    except ManagerError as error:
        return Failure(error.message, error.remedy, error.is_temporary)
    return NO_FAILURE


def found(report: Report) -> list[tuple[str, str | None]]:
    """Return the check and the secret of each finding."""
    return [(str(finding.check), finding.secret) for finding in report.findings]


def listed(report: Report) -> tuple[tuple[str, ...], int]:
    """Return the sources of the revocation list, and how many entries it has."""
    assert report.revocation_list is not None
    return report.revocation_list.sources, len(report.revocation_list.begins)


@dataclass(frozen=True)
class Checker:
    """`check` at a fixed time, on the test's config directory."""

    config: Path

    def __call__(self, environ: Mapping[str, str], *, require_env_only: bool = False, now: datetime = NOW) -> Report:
        return check(environ=environ, config_dir=self.config, require_env_only=require_env_only, now=now)

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """Write a fallback file."""
        return put(self.config / name, content, mode)


@pytest.fixture
def checker(tmp_path: Path) -> Checker:
    """`check` at a fixed time, with an empty config directory."""
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    return Checker(config)


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    """A machine with good keys, of which nothing is recorded, and an empty config directory."""
    from command_line import machine_at  # noqa: PLC0415 - it imports this module

    return machine_at(tmp_path)


def raising(error: BaseException) -> Any:
    """Return a function that raises an error, with any arguments."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def clean_environment() -> dict[str, str]:
    """Return the environment without variables that the guard reads, or that change Python, pytest or `generate`."""
    changes = CHANGES_STREAMS | CHANGES_PYTEST | CHANGES_GENERATE | NO_BYTECODE
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("ROBODJ_") and name not in changes
    }


@pytest.fixture
def clean_env() -> dict[str, str]:
    """The environment of a process, to which a test adds keys."""
    return clean_environment()


@contextlib.contextmanager
def as_user(number: int) -> Iterator[None]:
    """Act as another user, which only root can. Anybody else stays."""
    before = os.geteuid()
    os.seteuid(before or number)
    try:
        yield
    finally:
        os.seteuid(before)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask of this process."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def process_environment(environ: Mapping[str, str]) -> contextlib.AbstractContextManager[object]:
    """Replace the environment of this process."""
    return patch.dict(os.environ, environ, clear=True)


@dataclass(frozen=True)
class Ran:
    """The status and the output of a process that has ended."""

    status: int
    out: str
    err: str

    @property
    def alerts(self) -> list[str]:
        """The first line of each alert on stdout and stderr, without the last line of a refusal."""
        lines = (self.out + self.err).splitlines()
        return [line for line in lines if re.match(r"ALERT: (?!robodj-secretguard )", line)]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout, which must be valid, and `ok` only if the exit status is 0."""
        document = document_of(self.out)
        assert document.get("ok", True) == (self.status == 0)
        return document


def document_of(text: str | bytes) -> dict[str, Any]:
    """Validate a command's JSON document with the schema of its kind, and return it."""
    document: dict[str, Any] = json.loads(text)
    schema_of(document.get("kind", "keys")).validate(document)
    return document


@functools.cache
def schema_of(kind: str) -> Draft202012Validator:
    """Return the schema of a kind of document. It permits no field that it does not describe."""
    from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415 - slow to import, and few tests need it

    def closed(part: Any) -> Any:
        if isinstance(part, list):
            return [closed(each) for each in part]
        if not isinstance(part, dict):
            return part
        room = {"additionalProperties": False} if isinstance(part.get("properties"), dict) else {}
        return room | {name: closed(each) for name, each in part.items()}

    text = (Path(__file__).parent.parent / "docs" / "schemas" / f"{kind}.json").read_text(encoding="utf-8")
    return Draft202012Validator(closed(json.loads(text)), format_checker=FormatChecker(["date-time"]))


def without_model(text: str) -> str:
    """Remove the line that names the model. test_options.py tests that line."""
    return re.sub(r"(?m)(?:^|(?<=\r))(?:robodj-secretguard: )?model: .*\r?\n?", "", text)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    keys: Sequence[str] = (),
    python: bool = True,
    fresh: bool = False,
    timeout: float = TIMEOUT,
) -> Ran:
    """Run a process to its end, and assert that its output has no part of a key.

    Args:
        command: arguments of Python, or the whole command.
        env: its whole environment.
        cwd: its working directory.
        keys: the keys that its output must not have.
        python: whether `command` is run by this Python.
        fresh: whether it needs an interpreter of its own. Otherwise it is a fork of one that has done the imports.
        timeout: the time limit, in seconds.
    """
    from forks import HUNG, can_fork, run_python  # noqa: PLC0415 - it imports `Ran`

    if python and not fresh and can_fork(command, env):
        ended = run_python(command, env, cwd, timeout)
        assert ended.status != HUNG
        assert leaks(ended.out + ended.err, keys) == []
        return Ran(ended.status, ended.out, without_model(ended.err))
    argv = [sys.executable, *command] if python else list(command)
    done = subprocess.run(argv, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    assert leaks(done.stdout + done.stderr, keys) == []
    return Ran(done.returncode, done.stdout, without_model(done.stderr))


def free_port() -> int:
    """Find a free port of the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(autouse=True)
def _traced_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let coverage see the threads that are no `Thread`. End those that read keys, and wait for the rest."""
    started: list[threading.Thread] = []

    def start(function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        if function.__name__ not in {"_end_process", "_repeat"}:
            started.append(thread)

    monkeypatch.setattr("_thread.start_new_thread", start)
    yield
    if module := sys.modules.get("robodj_secretguard.running.store"):
        module.forget_stores()
    if module := sys.modules.get("robodj_secretguard.running.refresh"):
        for store in [refresh.store for refresh in module._refreshing]:  # noqa: SLF001 - of this library
            store.reader = None  # nothing else has it: its thread ends, and no fork sees its keys
        module._refreshing.clear()  # noqa: SLF001
        module._hooked.clear()  # noqa: SLF001
    for thread in started:  # a reader may still start a writer
        thread.join(2)


@pytest.fixture(autouse=True)
def _no_structlog_configuration() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def database() -> Iterator[Any]:
    """A PostgreSQL server."""
    postgres = pytest.importorskip("postgres", exc_type=ImportError)
    if not PG_CTL:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running_server() as server:
        yield server


@pytest.fixture
def delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A directory of secrets, and the service that follows it."""
    postgres = pytest.importorskip("postgres", exc_type=ImportError)
    return postgres.Delivery(tmp_path / "keys", monkeypatch)
