"""The operations log: append-only lines of JSON, each with the hash of the one before (policy section 3)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.findings import iso_utc
from robodj_secretguard.lifecycle.files import BusyError, locked, open_unlinked, sync_directory
from robodj_secretguard.lifecycle.records import Event, Record, draft, hash_of, parse
from robodj_secretguard.rules.expiry import EARLIEST_CLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import TypeIs

MAX_LOG_BYTES: Final = 64 << 20


class LogError(Exception):
    """The log cannot be used. Its text shows nothing of a path or of the content."""


class NoLogError(LogError):
    """There is none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in the log.

    Attributes:
        record: the record.
        hash: its own hash, which the next record repeats.
        line: the number of its line, from 1; 0 where it was appended just now.
    """

    record: Record
    hash: str
    line: int

    def as_dict(self) -> dict[str, Any]:
        """Return the record in the plain types of JSON, with its own hash."""
        return {**self.record.as_dict(), "hash": self.hash}


@dataclass(frozen=True, slots=True)
class Log:
    """What was found in a log.

    Attributes:
        entries: every record that can be read, in its order.
        damage: what shows that a record was changed or taken away.
        sealed: the lines that a cut write had left, and a later record closed off.
        torn: what a cut write has left at the end, and nothing closed off yet.
        unended: whether the last line has no end.
    """

    entries: tuple[Entry, ...] = ()
    damage: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    torn: bytes | None = None
    unended: bool = False

    @property
    def defects(self) -> tuple[str, ...]:
        """All that is wrong with it."""
        torn = "the last line is torn: a write was cut, or the end was; the next record closes it off"
        return (*self.damage, torn) if self.torn is not None else self.damage

    @property
    def last(self) -> Entry | None:
        """The last record."""
        return self.entries[-1] if self.entries else None


def holds(log: Log, expected: str) -> bool:
    """Whether a record that was seen elsewhere is still in the log, with all before it.

    Args:
        log: the log.
        expected: the record's hash.
    """
    last: Entry | None = None
    for entry in log.entries:
        if not _follows(entry.record, last):
            return False
        if entry.hash == expected:
            return True
        last = entry
    return False


def read(content: bytes) -> Log:
    """Read a log and verify its chain.

    Args:
        content: the whole file.
    """
    entries: list[Entry] = []
    damage: list[str] = []
    sealed: list[str] = []
    unreadable: list[bytes] = []
    lines = content.split(b"\n")
    unended = bool(lines[-1])
    for number, line in enumerate(lines if unended else lines[:-1], start=1):
        record = parse(line)
        last = entries[-1] if entries else None
        closes_off = hash_of(b"\n".join(unreadable)) if unreadable else None
        if record is None:
            unreadable.append(line)
            continue
        what = _lines(number - len(unreadable), number - 1)
        if record.sealed != closes_off:
            damage.append(f"{what} cannot be read" if unreadable else f"line {number}: what it closed off is gone")
        elif unreadable:
            sealed.append(f"{what}: a write was cut here; record {record.sequence} closed it off")
        if not _follows(record, last):
            before = f"line {last.line}" if last else "the beginning"
            damage.append(f"line {number} does not follow {before}: one was changed, or one between was taken away")
        elif last is not None and record.recorded_at < last.record.recorded_at:
            damage.append(f"line {number} is of an earlier time than line {last.line}")
        unreadable.clear()
        entries.append(Entry(record, hash_of(line), number))
    if not all(_may_begin_a_seal(line, entries[-1] if entries else None) for line in unreadable[1:]):
        damage.append(f"{_lines(number - len(unreadable) + 1, number)} cannot be read")
        unreadable.clear()
    torn = b"\n".join(unreadable) if unreadable else None
    return Log(tuple(entries), tuple(damage), tuple(sealed), torn, unended)


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _next(last: Entry | None) -> tuple[int, str | None]:
    """Return the sequence number, and the hash of the record before it, that the next record has."""
    return (last.record.sequence + 1, last.hash) if last else (1, None)


def _may_begin_a_seal(line: bytes, last: Entry | None) -> bool:
    """Whether a line that cannot be read may be what a cut write has left after another: a seal was being written."""
    begins = b'{"schema":1,"sequence":%d,' % _next(last)[0]
    return line.startswith(begins) or begins.startswith(line) or not line.strip(b"\0")


def _follows(record: Record | None, last: Entry | None) -> TypeIs[Record]:
    return record is not None and (record.sequence, record.previous) == _next(last)


class OpenLog:
    """A log that no other process appends to meanwhile.

    Args:
        descriptor: the open and locked file.
        log: what is in it.
    """

    def __init__(self, descriptor: int, log: Log) -> None:
        self._descriptor = descriptor
        self.log = log

    def append(self, records: Sequence[Record]) -> tuple[Entry, ...]:
        """Append records, and return when they are on the disk.

        What a cut write has left at the end is closed off first, by a record of its own: nothing is joined to it.

        Args:
            records: what happened, as `draft` makes them.

        Returns:
            All records that were appended.

        Raises:
            LogError: the clock went back, or there is no room. What was in the log is as it was.
        """
        log = self.log
        now = datetime.now(UTC).replace(microsecond=0)
        not_before = log.last.record.recorded_at if log.last else EARLIEST_CLOCK
        if now < not_before:
            msg = (
                f"the clock says {iso_utc(now)}, and it cannot be before {iso_utc(not_before)}: set it, or if a record"
                " has a wrong time, keep the log under another name, for --known"
            )
            raise LogError(msg)
        if log.torn is not None:
            records = [draft(Event.SEALED, sealed=hash_of(log.torn)), *records]
        entries = list(log.entries)
        lines = [b""] if log.unended else []
        for record in records:
            sequence, previous = _next(entries[-1] if entries else None)
            chained = replace(record, sequence=sequence, recorded_at=now, previous=previous)
            line = chained.line()
            lines.append(line)
            entries.append(Entry(chained, hash_of(line), 0))
        content = b"\n".join([*lines, b""])
        size = os.fstat(self._descriptor).st_size
        if size + len(content) > MAX_LOG_BYTES:
            msg = "it is full: keep it under another name, for --known; the next record begins a new one"
            raise LogError(msg)
        written = False
        try:
            if os.write(self._descriptor, content) != len(content):
                msg = "there is no room for the record"
                raise LogError(msg)
            os.fsync(self._descriptor)
            written = True
        finally:
            if not written:  # where this fails too, the next record closes it off
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, size)
        self.log = replace(log, entries=tuple(entries), torn=None, unended=False)
        return tuple(entries[len(log.entries) :])


def load(path: str) -> Log:
    """Read a log as it is now.

    Args:
        path: where it is.

    Raises:
        LogError: there is none, or it cannot be read.
    """
    with _errors_in_our_words():
        descriptor = open_unlinked(path, os.O_RDONLY)
        try:
            return read(_content(descriptor))
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def opened(path: str) -> Iterator[OpenLog]:
    """Open a log to append to, or begin one, and keep every other process from doing so.

    Args:
        path: where it is.

    Raises:
        LogError: it cannot be opened, read or written, it is damaged, or another process does not let go of it.
    """
    with _errors_in_our_words("its directory is not there"):
        descriptor = open_unlinked(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            with locked(descriptor):
                if not _is_at(descriptor, path):
                    msg = "it was moved away just now: try again"
                    raise LogError(msg)
                content = _content(descriptor)
                if not content:
                    sync_directory(os.path.dirname(path))  # it may be new
                log = read(content)
                if log.damage:
                    msg = (
                        f"it does not verify ({log.damage[0]}): keep it under another name, as evidence and for"
                        " --known; the next record begins a new one"
                    )
                    raise LogError(msg)
                yield OpenLog(descriptor, log)
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _content(descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        msg = "it is not a regular file"
        raise LogError(msg)
    if os.name == "posix" and status.st_mode & stat.S_IWOTH:
        msg = "it is writable by others, who may have changed it: chmod 600"
        raise LogError(msg)
    content = b""
    os.lseek(descriptor, 0, os.SEEK_SET)  # on Windows, the lock has moved it
    while len(content) <= MAX_LOG_BYTES and (chunk := os.read(descriptor, MAX_LOG_BYTES + 1 - len(content))):
        content += chunk
    if len(content) > MAX_LOG_BYTES:
        msg = f"it is larger than {MAX_LOG_BYTES} bytes"
        raise LogError(msg)
    return content


@contextlib.contextmanager
def _errors_in_our_words(not_found: str = "there is none") -> Iterator[None]:
    """Turn the system's errors, which show the path, into our own."""
    why, kind = "", LogError
    try:
        yield
    except FileNotFoundError:
        why, kind = not_found, NoLogError
    except BusyError:
        why = "another process does not let go of it: try again"
    except IsADirectoryError:
        why = "it is a directory"
    except OSError as error:
        if error.errno == errno.ELOOP:
            why = "it is a link, and nothing is read or written through one"
        else:
            why = f"it cannot be used: {os.strerror(error.errno or 0)}"
    if why:
        raise kind(why)
