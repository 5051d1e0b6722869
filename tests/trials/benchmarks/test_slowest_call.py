"""The slowest call: no input makes the guard slow (`nox -s benchmarks`)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import string
import time
import timeit
from typing import TYPE_CHECKING, Any

import pytest
from conftest import V1, V2, good_keys, process_environment

from robodj_secretguard import guard
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.running.redact import SecretRedactor
from robodj_secretguard.startup.readings import MAX_LIST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONGEST = 131_000
"""Linux limits a variable, name and value together, to 128 KiB."""
SECONDS = 1.0
"""The time limit of a call, on a slow machine."""

BLOCK = string.ascii_letters + "-_"
VALUES: dict[str, Callable[[int], str]] = {
    "random base64url": lambda length: secrets.token_urlsafe(length)[:length],
    "random hexadecimal": lambda length: secrets.token_hex(length)[:length],
    "one character": lambda length: "a" * length,
    "a block": lambda length: (BLOCK * length)[:length],
    "a block and one more": lambda length: (BLOCK * length)[: length - 1] + "0",
    "one character, then a block": lambda length: "a" * (length * 3 // 4) + (BLOCK * length)[: length // 4],
    "two blocks of one character": lambda length: ("a" * (length // 2 - 1) + "b") * 2 + BLOCK,
    "runs": lambda length: (string.ascii_lowercase * length)[:length],
    "blanks": lambda length: " " * length,
    "newlines": lambda length: "\n" * length,
    "quotes": lambda length: "\"'" * (length // 2),
    "padding": lambda length: "=" * length,
    "open brackets": lambda length: "<" * length,
    "open braces": lambda length: "${" * (length // 2),
    "open braces with text": lambda length: "${a" * (length // 3),
    "double braces": lambda length: "{{a" * (length // 3),
    "percent signs": lambda length: "%" * length,
    "nearly a placeholder": lambda length: "change_m" * (length // 8),
    "a marker with a long fraction": lambda length: "2027-01-01T00:00:00." + "9" * (length - 21) + "Z",
    "digits": lambda length: "2" * length,
    "not ASCII": lambda length: "\N{GREEK SMALL LETTER ALPHA}" * (length // 2),
    "bytes that are no text": lambda length: "\udcff" * length,
}
VARIABLES = (V1, V2, f"{V1}_EXPIRES_AT", "ROBODJ_PROTECTED_ENV", "ROBODJ_CONFIG_DIR")


def environs() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every environment, with its label."""
    for name, make in VALUES.items():
        for variable in VARIABLES:
            yield f"{name} in {variable}", good_keys() | {variable: make(LONGEST)}
        yield f"{name} in both", {V1: make(LONGEST), V2: make(LONGEST)}
    yield "ten thousand variables", good_keys() | {f"OTHER_{number}": "x" for number in range(10_000)}
    yield "ten thousand near misses", good_keys() | {f"{V1}_EXP{number}": "x" for number in range(10_000)}
    yield "long names", good_keys() | {f"{V1[:-1]}{'x' * 10_000}{number}": "x" for number in range(100)}


def measure(action: Callable[[], object]) -> float:
    """Return the seconds that a start or a refusal took."""
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        with contextlib.suppress(SystemExit):
            action()
        return time.perf_counter() - began


def make_sparse(file: Path) -> None:
    """Make a sparse file of 4 GiB."""
    with file.open("wb") as stream:
        stream.truncate(1 << 32)


FILES: dict[str, Callable[[Path], object]] = {
    "a FIFO": lambda file: os.mkfifo(file),  # noqa: PLW0108 - where there is none, only this test fails
    "an endless device": lambda file: file.symlink_to("/dev/zero"),
    "a terminal": lambda file: file.symlink_to("/dev/tty"),
    "a file of 4 GiB": make_sparse,
    "a directory": lambda file: file.symlink_to("."),
    "a link to itself": lambda file: file.symlink_to(file.name),
    "a file of lines": lambda file: file.write_bytes(b"a\n" * 2048),
    "a file of carriage returns": lambda file: file.write_bytes(b"\r" * 4096),
}


@pytest.mark.full
def test_the_slowest_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call takes a second, whatever the environment and the files hold."""
    file = tmp_path / "config" / "secret.key"
    file.parent.mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    with process_environment(good_keys()):
        measure(guard)  # the first call also imports modules
    took = {}
    for label, environ in environs():
        with process_environment(environ):
            took[label] = measure(guard)
    for label, prepare in FILES.items():
        prepare(file)
        with process_environment({V2: good_keys()[V2]}):
            took[label] = measure(guard)
        file.unlink()
    revoked = file.with_name("revoked.fingerprints")
    for label, line in (("a list of fingerprints", f"sgfp1:{'0' * 32}\n"), ("a list of nothing", "x\n")):
        revoked.write_bytes(line.encode() * (MAX_LIST_BYTES // len(line)))
        with process_environment(good_keys()):
            took[label] = measure(guard)
    for label, seconds in sorted(took.items(), key=lambda each: -each[1])[:10]:
        print(f"{seconds * 1000:8.2f} ms  {label}")
    assert max(took.values()) < SECONDS


@pytest.mark.full
@pytest.mark.parametrize("line", [b"\n", b"x\n", b'{"schema":1,"sequence":1,\n'])
def test_an_unreadable_log(line: bytes) -> None:
    """An unreadable operations log of 1 MiB is read in less than ten seconds."""
    content = line * ((1 << 20) // len(line))
    assert measure(lambda: OperationsLog("log").parse(content)) < SECONDS * 10


@pytest.mark.full
def test_the_cost_of_redacting() -> None:
    """The line of an ordinary event of ten fields takes less than ten microseconds."""
    with process_environment(good_keys()):
        redact = SecretRedactor(guard())
    event: dict[str, Any] = {f"field{number}": "an ordinary text" for number in range(7)}
    event |= {"event": "a request was answered, which takes a somewhat longer text", "status": 200, "duration": 0.25}
    line = json.dumps(event)
    times = timeit.repeat(lambda: redact(None, "info", line), number=10_000, repeat=5)
    print(f"{min(times) / 10_000 * 1e6:.1f} microseconds for an event of {len(event)} fields")
    assert min(times) / 10_000 < 10e-6
