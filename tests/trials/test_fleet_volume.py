"""How much `fleet` reads from events, in how much memory. With `pytest -s -m full`, this prints the rates."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conftest import clean_environment
from fleets import NAME, OLD, event

from robodj_secretguard.fleet.evidence import MOST_PROCESSES
from robodj_secretguard.startup.inputs import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

if sys.platform != "linux":
    pytest.skip("/proc has the memory of a process", allow_module_level=True)

MOST_MEBIBYTES = 100
MILLION = 1_000_000
INSTANCES = 1000
pytestmark = pytest.mark.full
# Not ru_maxrss, which is at least that of the process that started this one.
PROGRAM = """
import re, resource, sys
from robodj_secretguard.cli.app import main
status = main(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
peak = re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1]
print(peak, usage.ru_utime + usage.ru_stime, file=open("measured", "w"))
sys.exit(status)
"""


class Measured(NamedTuple):
    """What a run printed and needed."""

    document: dict[str, Any]
    mebibytes: float
    seconds: float
    """Of processor time."""


def run(directory: Path, chunks: Iterable[bytes]) -> Measured:
    """Pipe chunks to `fleet`, and measure the process."""
    names = json.dumps([f"web-{number}" for number in range(INSTANCES)])
    (directory / "roster").write_text(f"[api]\ninstances = {names}\n", encoding="ascii")
    words = ("fleet", "--roster", "roster", "--events", "-", "--secret", NAME, "--format", "json")
    command = [sys.executable, "-c", PROGRAM, *words, "--require", "none-on", OLD]
    env = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE")}
    output = directory / "output"
    with output.open("wb") as out:
        process = subprocess.Popen(command, cwd=directory, env=env, stdin=subprocess.PIPE, stdout=out)
        assert process.stdin
        with process.stdin as pipe:
            for chunk in chunks:
                pipe.write(chunk)
        assert process.wait() == 1
    kibibytes, seconds = (directory / "measured").read_text(encoding="ascii").split()
    return Measured(json.loads(output.read_bytes()), int(kibibytes) / 1024, float(seconds))


def lines(numbers: Iterable[int]) -> Iterator[bytes]:
    """Yield an event of each instance, of now."""
    now = iso_utc(datetime.now(UTC))
    line = json.dumps(event() | {"instance": "web-NUMBER", "reported_at": now, "started_at": now}) + "\n"
    before, after = line.encode().split(b"NUMBER")
    yield from (b"%b%d%b" % (before, number, after) for number in numbers)


def shown(name: str, number: int, ran: Measured, idle: Measured) -> None:
    """Print the rate, and assert that the memory was bounded."""
    rate = number / (ran.seconds - idle.seconds)
    print(f"{name}: {rate:,.0f} a second of processor time, {ran.mebibytes:.0f} MiB")  # noqa: T201 - with -s
    assert ran.mebibytes < MOST_MEBIBYTES


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """A run that reads one event."""
    return run(tmp_path_factory.mktemp("idle"), lines([1]))


def faults_of(ran: Measured) -> Any:
    """Return why nothing is proven about the service."""
    (verdict,) = ran.document["verdicts"]
    return verdict["not_ready"].get("api", "")


def test_million_events_are_read_in_bounded_memory(tmp_path: Path, idle: Measured) -> None:
    """A million events of a thousand instances are read in bounded memory."""
    many = b"".join(lines(range(INSTANCES)))
    ran = run(tmp_path, repeat(many, MILLION // INSTANCES))
    assert (faults_of(ran), ran.document["services"][0]["proven"]) == ("", INSTANCES)
    assert len(ran.document["verdicts"][0]["not_ready"]) == INSTANCES
    shown("events", MILLION, ran, idle)


def test_million_processes_are_read_in_bounded_memory(tmp_path: Path, idle: Measured) -> None:
    """A million events of a million processes are read in bounded memory, and nothing is proven."""
    ran = run(tmp_path, lines(range(MILLION)))
    assert f"there are more than {MOST_PROCESSES} processes" in faults_of(ran)
    shown("events of many processes", MILLION, ran, idle)


def test_long_line_is_a_fault(tmp_path: Path, idle: Measured) -> None:
    """A line of 1 GiB is a fault, in bounded memory, and the line after it is read."""
    ran = run(tmp_path, [*repeat(b"secret_event" * 10_000, (1 << 30) // 120_000), b"\n", *lines([1])])
    assert faults_of(ran).endswith("could not be read as an event, first stdin, line 1")
    assert ran.document["services"][0]["runs_on"].values()
    shown("MiB of a line", 1024, ran, idle)


def test_million_lines_without_events_are_one_fault(tmp_path: Path, idle: Measured) -> None:
    """A million lines of other programs are one fault, in bounded memory."""
    other = b'{"log": "GET / HTTP/1.1 200", "stream": "stdout", "time": "2026-12-01T12:00:00Z"}\n' * 1000
    ran = run(tmp_path, [*repeat(other, MILLION // 1000), *lines([1])])
    assert faults_of(ran) == f"unknown: {MILLION} lines could not be read as an event, first stdin, line 1"
    shown("lines without events", MILLION, ran, idle)
