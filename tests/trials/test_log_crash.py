"""Many writers of one log, killed or without disk space: every acknowledged record is there and whole."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, TYPE_CHECKING, Final

import pytest
from command_line import machine_at, name_model
from conftest import clean_environment
from mounts import run_with_mounts
from processes import Killed, needs_fork

from robodj_secretguard.common import files
from robodj_secretguard.errors import ChangedError, FileError
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from robodj_secretguard.lifecycle.records import Record

pytestmark = needs_fork

PATH: Final = "log.jsonl"
LONGEST: Final = 0.006
"""The longest delay, in seconds, in which a writer appends some records."""
TRIALS_PER_LOG: Final = 50
"""A limit, since each append reads the whole log."""
RECORD: Final = (
    *("rotate", "record", "--environment", "prod", "--operator", "Ada"),
    *("--attest", "startup", "--attest", "functions"),
)
NAMES: Final = ["secret.key", "secret_v2.key"]
FILLER: Final = "filler"
SMALL_DISK: Final = 'mount -t tmpfs -o size=64k tmpfs "$0"'
RANDOM: Final = Random()  # noqa: S311 - random delays and cuts are not secret


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "LOCK_SECONDS", 120.0)  # on a slow disk, one of many writers waits long


def append(operator: str) -> tuple[Record, ...]:
    """Append a record as the commands do."""
    with OperationsLog(PATH).locked() as log:
        return log.append([draft("rotated", operator=operator)])


def read(content: bytes) -> OperationsLog:
    """Parse the content of a log."""
    log = OperationsLog(PATH)
    log.parse(content)
    return log


def by_number(entries: Sequence[Record]) -> dict[int, str]:
    """Return the hashes of records, by number."""
    return {entry.sequence: entry.hash for entry in entries}


@dataclass
class Watched:
    """A log, the hashes of its acknowledged records by number, and its last known content."""

    known: dict[int, str] = field(default_factory=lambda: by_number(append("watcher")))
    content: bytes = b""

    def acknowledge(self, new: dict[int, str]) -> int:
        """Add the acknowledged records of a writer, and return their number."""
        assert not self.known.keys() & new.keys()
        self.known |= new
        return len(new)

    def verify(self) -> OperationsLog:
        """Make sure that every acknowledged record is there and whole, and that earlier content is unchanged."""
        content, log = Path(PATH).read_bytes(), OperationsLog(PATH).read()
        assert content.startswith(self.content)
        assert log.damage == ()
        assert self.known.items() <= by_number(log.records).items()
        self.content = content[: len(content) - log.torn]
        return log

    def append(self) -> OperationsLog:
        """Append a record, and make sure that the log verifies and that a torn record was replaced."""
        before = self.verify()
        appended = append("watcher")
        self.acknowledge(by_number(appended))
        log = self.verify()
        assert (log.torn, log.records) == (0, (*before.records, *appended))
        return log


class Writer(Killed):
    """A process that appends records, and acknowledges each."""

    def __init__(self, write: Callable[[Callable[[], None]], None]) -> None:
        send = os.write

        def act(pipe: IO[bytes]) -> None:
            def append_and_acknowledge() -> None:
                appended = by_number(append(f"writer {os.getpid()}"))
                send(pipe.fileno(), "".join(f"{number} {digest}\n" for number, digest in appended.items()).encode())

            write(append_and_acknowledge)

        super().__init__(act)

    def acknowledged(self) -> dict[int, str]:
        """Wait until the process was killed, and return the records that it acknowledged."""
        return {int(number): digest for number, digest in map(str.split, self.said().splitlines())}


def append_forever(append_and_acknowledge: Callable[[], None]) -> None:
    """Append records until the process is killed."""
    while True:
        append_and_acknowledge()


def append_a_part(append_and_acknowledge: Callable[[], None]) -> None:
    """Append some records, then a part of one."""
    write = os.write

    def cut(descriptor: int, content: bytes) -> None:
        write(descriptor, content[: RANDOM.randint(0, len(content))])
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(RANDOM.randrange(3)):
        append_and_acknowledge()
    os.write = cut  # type: ignore[assignment]
    append_and_acknowledge()


@pytest.mark.parametrize("logs", [1, pytest.param(20, marks=pytest.mark.full)])
def test_writers_that_are_killed(logs: int) -> None:
    """A writer may be killed at any moment, also within a write: the torn record is replaced."""
    acknowledged = torn = 0
    for _ in range(logs):
        watched = Watched()
        for _ in range(TRIALS_PER_LOG):
            from_outside = RANDOM.random() < 0.5
            writer = Writer(append_forever if from_outside else append_a_part)
            if from_outside:
                time.sleep(RANDOM.uniform(0, LONGEST))
                os.kill(writer.process, signal.SIGKILL)
            acknowledged += watched.acknowledge(writer.acknowledged())
            torn += watched.verify().torn > 0
            # Otherwise the next writer replaces this torn record, and may be killed while it does.
            if RANDOM.random() < 0.5:
                watched.append()
        watched.append()
        for path in Path.cwd().glob(f"{PATH}*"):
            path.unlink()
    assert acknowledged > (400 if logs == 20 else 5)
    assert torn > 5 * logs


@pytest.mark.parametrize("each", [5, pytest.param(25, marks=pytest.mark.full)])
def test_several_writers_at_once(each: int) -> None:
    """Several writers all finish, no record is lost or torn, and the log verifies for every reader meanwhile."""
    watched, (waits, starts) = Watched(), os.pipe()

    def append_each(append_and_acknowledge: Callable[[], None]) -> None:
        os.close(starts)
        os.read(waits, 1)
        for _ in range(each):
            append_and_acknowledge()

    writers = [Writer(append_each) for _ in range(8)]
    os.close(starts)
    os.close(waits)
    for _ in range(8 * each):
        found = OperationsLog(PATH).read()
        assert (found.damage, found.torn) == ((), 0)
    for writer in writers:
        assert watched.acknowledge(writer.acknowledged()) == each
    operators = [entry.operator for entry in watched.verify().records]
    assert [operators.count(f"writer {writer.process}") for writer in writers] == [each] * 8
    assert len(operators) == 8 * each + 1


def append_three(append_and_acknowledge: Callable[[], None]) -> None:
    """Append three records, and try again where the log was truncated meanwhile."""
    remaining = 3
    while remaining:
        try:
            append_and_acknowledge()
        except FileError as error:
            assert str(error) == files.reason(ChangedError())  # noqa: PT017 - of a writer
        else:
            remaining -= 1


def gaps(earlier: Sequence[bytes], live: OperationsLog) -> set[int]:
    """Return the numbers of the records that are reported as lost, by the gaps between the files.

    Args:
        earlier: the copies, in order.
        live: the log itself.
    """
    lost: set[int] = set()
    logs = [log for log in map(read, earlier) if log.records] + [live]
    for before, after in itertools.pairwise(logs):
        assert after.continues is not None
        assert before.last is not None
        if before.verify(after.continues["hash"])["expected_sequence"] is None:
            lost |= {*range(before.last.sequence + 1, after.continues["sequence"] + 1)}
    return lost


@pytest.mark.parametrize("rotations", [15, pytest.param(200, marks=pytest.mark.full)])
def test_a_log_that_is_truncated_meanwhile(rotations: int) -> None:
    """After copytruncate, which takes no lock, every acknowledged record is in a file or is reported as lost."""
    known, copies = by_number(append("watcher")), list[bytes]()
    for _ in range(rotations):
        writers = [Writer(append_three) for _ in range(2)]
        time.sleep(RANDOM.uniform(0, 3 * LONGEST))
        with open(PATH, "rb+", buffering=0) as file:
            copies.append(file.readall())
            time.sleep(RANDOM.choice((0, RANDOM.uniform(0, LONGEST))))
            file.truncate(0)
        for new in (*(writer.acknowledged() for writer in writers), by_number(append("watcher"))):
            assert not known.keys() & new.keys()
            known |= new
        assert OperationsLog(PATH).read().defects == ()
    logs = [*map(read, copies), OperationsLog(PATH).read()]
    assert all(log.damage == () for log in logs)
    kept = {entry.hash for log in logs for entry in log.records}
    assert {number for number, digest in known.items() if digest not in kept} <= gaps(copies, logs[-1])
    assert len(known) > rotations * 7


def test_no_room_for_a_rotation(tmp_path: Path) -> None:
    """Where a write is cut, `rotate record` reports that in one line, and a second run records the rest.

    It reports that nothing was recorded only where the log has no record.
    """
    machine = machine_at(tmp_path)
    machine.call(*RECORD)
    written = machine.log.read_bytes()
    first, last = written.index(b"\n"), len(written)
    import resource  # noqa: PLC0415 - a module of POSIX

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 1, first // 2, first - 1, first, first + 1, first + 2, last // 2, last - 2, last - 1):
        for path in machine.log.parent.iterdir():
            path.unlink()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            ran = machine.call(*RECORD)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        cut = OperationsLog(str(machine.log)).read()
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert ran.err.startswith("robodj-secretguard: ")
        assert ("nothing was recorded" in ran.err) is (cut.records == ())
        assert machine.call(*RECORD).status == 0 or cut.records
        assert sorted(str(each.secret) for each in machine.records if each.event == "rotated") == NAMES
        assert machine.call("log", "verify").status == 0


def fill() -> dict[str, int]:
    """Append until the small disk is full, and again when there is space."""
    watched, refused = Watched(), 0
    Path(FILLER).write_bytes(bytes(32 << 10))
    while refused < 3:
        try:
            watched.acknowledge(by_number(append("watcher")))
        except FileError:
            refused += 1
            watched.verify()
    os.unlink(FILLER)
    return {"acknowledged": len(watched.known), "left": watched.append().torn}


def test_a_full_disk(tmp_path: Path) -> None:
    """Records that were acknowledged before the disk was full are whole, and the next record follows them."""
    clean = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE")}
    env = clean | {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = "import json, test_log_crash; print(json.dumps(test_log_crash.fill()))"
    ran = run_with_mounts([SMALL_DISK], [sys.executable, "-c", program], env=env, cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    outcome = json.loads(ran.out)
    assert outcome["acknowledged"] > 50
    assert outcome["left"] == 0
