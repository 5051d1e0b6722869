"""Writers of an operations log that are killed, cut short, many at once, or out of room; and what is in it after each.

A program: it forks its writers itself, looks at the log, and prints in the end what it has seen, as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard import files
from robodj_secretguard.errors import ChangedError, FileError
from robodj_secretguard.lifecycle.operations_log import HEAD_FILE, Log, find, load, opened, read
from robodj_secretguard.shapes import Event, draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from robodj_secretguard.shapes import Record

PATH: Final = "log.jsonl"
FILLER: Final = "filler"
TRIALS_PER_LOG: Final = 50
"""Each append reads the whole log."""
LONGEST: Final = 0.006
"""Seconds, in which a writer appends some records."""
WRITERS: Final = 8
PER_ROTATION: Final = 3
"""Records of each of two writers."""
files.LOCK_SECONDS = 120.0  # type: ignore[misc] # with a slow disk, one of many writers waits long
CHANCE: Final = Random()  # noqa: S311 - of when and where a writer is stopped, which is no secret


def append(operator: str) -> tuple[Record, ...]:
    """Append a record as the commands do."""
    with opened(PATH) as log:
        return log.append([draft(Event.ROTATED, operator=operator)])


def by_number(entries: Sequence[Record]) -> dict[int, str]:
    """Return the hashes of records by their numbers."""
    return {entry.sequence: entry.hash for entry in entries}


@dataclass
class Watched:
    """A log, and what has been acknowledged of it.

    Attributes:
        known: the hashes of the records, by their numbers.
        content: what was in it when it was last looked at.
    """

    known: dict[int, str] = field(default_factory=dict)
    content: bytes = b""

    def acknowledge(self, new: dict[int, str]) -> None:
        """Note what a writer was told."""
        assert not self.known.keys() & new.keys()
        self.known |= new

    def look(self) -> Log:
        """Make sure that all that was acknowledged is there and whole, and that nothing was changed."""
        with open(PATH, "rb") as file:
            content = file.read()
        log = load(PATH)
        assert content.startswith(self.content)
        assert log.damage == ()
        assert self.known.items() <= by_number(log.records).items()
        self.content = content
        return log

    def append(self) -> Log:
        """Append a record, and make sure that the log verifies, and that what was torn is closed off."""
        before = self.look()
        told = append("watcher")
        self.acknowledge(by_number(told))
        log = self.look()
        torn = before.torn is not None
        assert [entry.event for entry in told] == [Event.SEALED] * torn + [Event.ROTATED]
        assert (log.torn, len(log.sealed)) == (None, len(before.sealed) + torn)
        return log


def forked(write: Callable[[Callable[[], None]], None]) -> tuple[int, int]:
    """Fork a writer, and return its process, and the pipe on which it acknowledges what it has appended.

    Args:
        write: what it does, with a function that appends a record and acknowledges it.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    send = os.write

    def append_and_acknowledge() -> None:
        told = by_number(append(f"writer {os.getpid()}"))
        send(writer, "".join(f"{number} {its_hash}\n" for number, its_hash in told.items()).encode())

    write(append_and_acknowledge)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def ended(child: int, reader: int) -> dict[int, str]:
    """Wait until a writer was killed, and return what it has acknowledged."""
    with open(reader, encoding="ascii") as lines:
        known = {int(number): its_hash for number, its_hash in map(str.split, lines)}
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return known


def appends_for_ever(append_and_acknowledge: Callable[[], None]) -> None:
    """Append one record after the other."""
    while True:
        append_and_acknowledge()


def appends_and_is_cut(append_and_acknowledge: Callable[[], None]) -> None:
    """Append some records, then a part of one."""
    write = os.write

    def cut(descriptor: int, content: bytes) -> None:
        write(descriptor, content[: CHANCE.randint(0, len(content))])
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(CHANCE.randrange(3)):
        append_and_acknowledge()
    os.write = cut  # type: ignore[assignment]
    append_and_acknowledge()


def killed(trials: int) -> dict[str, int]:
    """Kill writers, one after the other: from outside at any moment, or within a write."""
    seen = dict.fromkeys(("trials", "acknowledged", "torn", "sealed"), 0)
    for _ in range(trials // TRIALS_PER_LOG):
        watched = Watched(by_number(append("watcher")))
        for _ in range(TRIALS_PER_LOG):
            from_outside = CHANCE.random() < 0.5
            child, reader = forked(appends_for_ever if from_outside else appends_and_is_cut)
            if from_outside:
                time.sleep(CHANCE.uniform(0, LONGEST))
                os.kill(child, signal.SIGKILL)
            new = ended(child, reader)
            watched.acknowledge(new)
            seen["trials"] += 1
            seen["acknowledged"] += len(new)
            seen["torn"] += watched.look().torn is not None
            if CHANCE.random() < 0.5:  # else the next writer closes off what this one has left, and may be cut at it
                watched.append()
        seen["sealed"] += len(watched.append().sealed)
        os.unlink(PATH)
        os.unlink(PATH + HEAD_FILE)
    return seen


def together(each: int) -> dict[str, Any]:
    """Let writers append at once, and read meanwhile."""
    watched = Watched(by_number(append("watcher")))
    waits, starts = os.pipe()

    def append_each(append_and_acknowledge: Callable[[], None]) -> None:
        os.close(starts)
        os.read(waits, 1)
        for _ in range(each):
            append_and_acknowledge()

    writers = [forked(append_each) for _ in range(WRITERS)]
    os.close(starts)
    for _ in range(WRITERS * each):
        found = load(PATH)
        assert (found.damage, found.sealed, found.torn) == ((), (), None)
    for child, reader in writers:
        watched.acknowledge(ended(child, reader))
    log = watched.look()
    counts = [sum(entry.operator == f"writer {child}" for entry in log.records) for child, _ in writers]
    return {"records": len(log.records), "acknowledged": len(watched.known), "of each": counts}


def copied_and_truncated() -> bytes:
    """Rotate the log as logrotate's copytruncate does, without its lock, and return the copy."""
    with open(PATH, "rb+", buffering=0) as file:
        copy = file.readall()
        time.sleep(CHANCE.choice((0, CHANCE.uniform(0, LONGEST))))
        file.truncate(0)
    return copy


def append_until_recorded(append_and_acknowledge: Callable[[], None]) -> None:
    """Append a record, and try again where the log was truncated meanwhile."""
    while True:
        try:
            append_and_acknowledge()
        except FileError as error:
            assert str(error) == files.reason(ChangedError())  # noqa: PT017 - this is no test
        else:
            return


def gaps(earlier: Sequence[bytes], live: Log) -> tuple[set[int], int]:
    """Return which records are reported as lost, by the files that do not end where the next one continues.

    Args:
        earlier: the copies, the first one first.
        live: the log itself.
    """
    lost: set[int] = set()
    found = 0
    logs = [log for log in map(read, earlier) if log.records] + [live]
    for before, after in itertools.pairwise(logs):
        assert after.continues is not None
        if find(before, after.continues.hash) is None:
            assert before.last is not None
            lost |= {*range(before.last.sequence + 1, after.continues.sequence + 1)}
            found += 1
    return lost, found


def truncated(rotations: int) -> dict[str, int]:
    """Let writers append while the log is copied and truncated, a rotation to each round."""
    known = by_number(append("watcher"))
    copies: list[bytes] = []
    for _ in range(rotations):

        def append_some(append_and_acknowledge: Callable[[], None]) -> None:
            for _ in range(PER_ROTATION):
                append_until_recorded(append_and_acknowledge)

        writers = [forked(append_some) for _ in range(2)]
        time.sleep(CHANCE.uniform(0, LONGEST * PER_ROTATION))
        copies.append(copied_and_truncated())
        for writer in writers:
            new = ended(*writer)
            assert not known.keys() & new.keys()
            known |= new
        known |= by_number(append("watcher"))
        assert load(PATH).defects == ()
    live = load(PATH)
    logs = [*map(read, copies), live]
    assert all(log.damage == () for log in logs)
    kept = {entry.hash for log in logs for entry in log.records}
    gone = {number for number, its_hash in known.items() if its_hash not in kept}
    reported, found = gaps(copies, live)
    seen = {"rotations": len(copies), "acknowledged": len(known), "lost": len(gone), "gaps": found}
    return seen | {"not reported": len(gone - reported)}


def full(refusals: int) -> dict[str, int]:
    """Append until the disk is full, which is small, and again when there is room."""
    watched = Watched(by_number(append("watcher")))
    with open(FILLER, "wb") as file:
        file.write(bytes(32 << 10))
    refused = 0
    while refused < refusals:
        try:
            watched.acknowledge(by_number(append("watcher")))
        except FileError:
            refused += 1
            watched.look()
    torn = watched.look().torn is not None
    os.unlink(FILLER)
    return {"acknowledged": len(watched.known), "torn": torn, "sealed": len(watched.append().sealed)}


if __name__ == "__main__":
    programs = {"killed": killed, "together": together, "truncated": truncated, "full": full}
    sys.stdout.write(json.dumps(programs[sys.argv[1]](int(sys.argv[2]))))
