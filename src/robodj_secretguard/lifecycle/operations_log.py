"""The operations log: append-only lines of JSON, each with the hash of the one before (policy section 3)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.checks import EARLIEST_CLOCK
from robodj_secretguard.errors import LogError, NoLogError
from robodj_secretguard.files import (
    append_content,
    content_of,
    is_at,
    locked,
    open_or_make,
    open_unlinked,
    prepared_file,
    put_in_place,
    read_unlinked,
    reason,
    sync_directory,
)
from robodj_secretguard.lifecycle.records import Event, Head, Record, draft, hash_of, parse, parse_head
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.textfile import judge_way

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_LOG_BYTES: Final = 64 << 20
HEAD_FILE: Final = ".head"
"""The ending of the head file's name, beside the log: it keeps the last record that was acknowledged."""

_MAX_HEAD_BYTES: Final = 1024
_ANY_BEGINNING: Final = re.compile(rb'\{"schema":1,"sequence":[0-9]+(?:,|\Z)')

_FULL: Final = f"it is full, with {MAX_LOG_BYTES} bytes: keep it under another name; the next record begins a new one"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in the log.

    Attributes:
        record: the record.
        hash: its own hash, which the next record repeats.
    """

    record: Record
    hash: str

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
        head: the last record that was acknowledged, as the head file says; `None` where there is no such file.
    """

    entries: tuple[Entry, ...] = ()
    damage: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    torn: bytes | None = None
    unended: bool = False
    head: Head | None = None

    @property
    def defects(self) -> tuple[str, ...]:
        """All that is wrong with it."""
        defects = list(self.damage)
        if self.torn is not None:
            defects.append("the last line is torn: a write was cut short; the next record closes it off")
        if self.last is not None and self.last.record.recorded_at > datetime.now(UTC):
            defects.append(f"record {self.last.record.sequence} is ahead of this machine's clock: none can follow it")
        return tuple(defects)

    @property
    def records(self) -> tuple[Record, ...]:
        """Every record that can be read."""
        return tuple(entry.record for entry in self.entries)

    @property
    def last(self) -> Entry | None:
        """The last record."""
        return self.entries[-1] if self.entries else None

    @property
    def continues(self) -> Head | None:
        """The last record of the earlier file that this log continues; `None` where it is a log of its own."""
        if not self.entries:
            return self.head
        first = self.entries[0].record
        if first.event is not Event.CONTINUED or first.previous is None or first.sequence == 1:
            return None
        return Head(sequence=first.sequence - 1, hash=first.previous)


def find(log: Log, expected: str) -> int | None:
    """Return the number of a record that was seen elsewhere; `None` where it is not in the log with all before it.

    Args:
        log: the log.
        expected: the record's hash.
    """
    last: Entry | None = None
    for entry in log.entries:
        if not _follows(entry.record, last):
            return None
        if entry.hash == expected:
            return entry.record.sequence
        last = entry
    return None


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
    last_line = 0
    for number, line in enumerate(lines if unended else lines[:-1], start=1):
        record = parse(line)
        if record is None:
            unreadable.append(line)
            continue
        last = entries[-1] if entries else None
        closes_off = hash_of(b"\n".join(unreadable)) if unreadable else None
        if record.sealed != closes_off and unreadable:
            damage.append(f"{_lines(last_line + 1, number - 1)} cannot be read")
        elif record.sealed != closes_off:
            damage.append(f"line {number}: what it closed off is gone")
        elif unreadable:
            what = _lines(last_line + 1, number - 1)
            sealed.append(f"{what}: a write was cut here; record {record.sequence} closed it off")
        if not _follows(record, last):
            before = f"line {last_line}" if last else "the beginning"
            damage.append(f"line {number} does not follow {before}: one was changed, or one between was taken away")
        elif last is not None and record.recorded_at < last.record.recorded_at:
            damage.append(f"line {number} is of an earlier time than line {last_line}")
        unreadable.clear()
        last_line = number
        entries.append(Entry(record, hash_of(line)))
    last = entries[-1] if entries else None
    if not all(_may_be_cut(line, last) for line in unreadable):
        damage.append(f"{_lines(last_line + 1, last_line + len(unreadable))} cannot be read")
        unreadable.clear()
    torn = b"\n".join(unreadable) if unreadable else None
    return Log(tuple(entries), tuple(damage), tuple(sealed), torn, unended)


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _with_head(log: Log, head: Head | None) -> Log:
    """Return a log with what its head file shows: records that were acknowledged, and are changed or gone."""
    if head is None or log.last is None:
        return replace(log, head=head)
    last, damage = log.last.record.sequence, log.damage
    if head.sequence > last:
        gone = (
            f"record {head.sequence} is" if head.sequence == last + 1 else f"records {last + 1} to {head.sequence} are"
        )
        damage += (f"{gone} missing: the head file names {head.hash} as the last record",)
    elif any(entry.record.sequence == head.sequence and entry.hash != head.hash for entry in log.entries):
        damage += (f"record {head.sequence} was changed: the head file names it as {head.hash}",)
    return replace(log, damage=damage, head=head)


def _next(last: Entry | None, head: Head | None = None) -> tuple[int, str | None]:
    """Return the sequence number, and the hash of the record before it, that the next record has."""
    if last is not None:
        return last.record.sequence + 1, last.hash
    return (head.sequence + 1, head.hash) if head else (1, None)


def _may_be_cut(line: bytes, last: Entry | None) -> bool:
    """Whether a line that cannot be read may be what a cut write has left, or a file system that died during it."""
    written = line.rstrip(b"\0 \t\r")
    begins = b'{"schema":1,"sequence":%d,' % _next(last)[0]
    if last is None and (any_number := _ANY_BEGINNING.match(written)):  # it may continue an earlier file
        begins = any_number[0]
    # A part of a record is no JSON: what is, was changed.
    return (written.startswith(begins) or begins.startswith(written)) and not _is_json(written)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _follows(record: Record, last: Entry | None) -> bool:
    if last is None and record.event is Event.CONTINUED:
        return record.sequence > 1 and record.previous is not None
    return (record.sequence, record.previous) == _next(last)


class OpenLog:
    """A log that no other process appends to meanwhile.

    Args:
        descriptor: the open and locked file.
        path: where it is.
        size: its size, in bytes, as it was read.
        log: what is in it.
    """

    def __init__(self, descriptor: int, path: str, size: int, log: Log) -> None:
        self._descriptor = descriptor
        self._path = path
        self._size = size
        self.log = log

    def append(self, records: Sequence[Record]) -> tuple[Entry, ...]:
        """Append records, and return when they are on the disk.

        What a cut write has left at the end is closed off first, by a record of its own: nothing is joined to it.
        A log without a record whose head file names one begins with a record that continues after that one.

        Args:
            records: what happened, as `draft` makes them.

        Returns:
            All records that were appended.

        Raises:
            LogError: the clock went back, or there is no room. What was in the log is as it was.
            ChangedError: another program truncated the log meanwhile. Nothing was recorded.
        """
        if not records:
            return ()
        log = self.log
        now = datetime.now(UTC).replace(microsecond=0)
        not_before = log.last.record.recorded_at if log.last else EARLIEST_CLOCK
        if now < not_before:
            msg = (
                f"the clock says {iso_utc(now)}, and it cannot be before {iso_utc(not_before)}: set it, or if a record"
                " has a wrong time, keep the log under another name, for --known"
            )
            raise LogError(msg)
        torn = None if log.torn is None else hash_of(log.torn)
        if log.last is None and log.head is not None:
            records = [draft(Event.CONTINUED, sealed=torn), *records]
        elif torn is not None:
            records = [draft(Event.SEALED, sealed=torn), *records]
        entries = list(log.entries)
        lines = [b""] if log.unended else []
        for record in records:
            sequence, previous = _next(entries[-1] if entries else None, log.head)
            chained = replace(record, sequence=sequence, recorded_at=now, previous=previous)
            line = chained.line()
            lines.append(line)
            entries.append(Entry(chained, hash_of(line)))
        content = b"\n".join([*lines, b""])
        if self._size + len(content) > MAX_LOG_BYTES:
            raise LogError(_FULL)
        append_content(self._descriptor, content, size=self._size)
        self._size += len(content)
        _write_head(self._path, self._descriptor, entries[-1])
        self.log = replace(log, entries=tuple(entries), torn=None, unended=False)
        return tuple(entries[len(log.entries) :])


def load(path: str) -> Log:
    """Read a log as it is now.

    Args:
        path: where it is.

    Raises:
        LogError: there is none, or it cannot be read.
    """
    with _errors_in_our_words(may_be_missing=True):
        head = _head(path)  # first: a log that grows meanwhile is ahead of it, and never behind
        descriptor = open_unlinked(path, os.O_RDONLY)
        try:
            log = _with_head(read(_content(descriptor, path)), head)
            if log.torn is not None or log.damage:
                # Or it is being written just now: a file system need not show a write as a whole.
                with locked(descriptor):
                    log = _with_head(read(_content(descriptor, path)), head)
            return log
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
    with _errors_in_our_words():
        if not os.path.lexists(path) and judge_way(os.path.dirname(path) or os.curdir).exposed:
            msg = "others may put it there: a directory on the way to it, or a link, is theirs to change"
            raise LogError(msg)
        descriptor, _ = open_or_make(path, os.O_RDWR | os.O_APPEND)
        try:
            with locked(descriptor):
                if not is_at(descriptor, path):
                    msg = "it was moved away just now: try again"
                    raise LogError(msg)
                content = _content(descriptor, path)
                if not content:
                    sync_directory(os.path.dirname(path))  # it may be new
                log = _with_head(read(content), _head(path))
                if log.damage:
                    msg = (
                        f"it does not verify ({log.damage[0]}): keep it under another name, as evidence and for"
                        " --known; the next record begins a new one"
                    )
                    raise LogError(msg)
                yield OpenLog(descriptor, path, len(content), log)
        finally:
            os.close(descriptor)


def _content(descriptor: int, path: str) -> bytes:
    content = content_of(descriptor, MAX_LOG_BYTES + 1)
    if why := judge_way(path, os.fstat(descriptor)).exposed:
        msg = f"others may have changed it or put it there: {'; '.join(why)}"
        raise LogError(msg)
    if len(content) > MAX_LOG_BYTES:
        raise LogError(_FULL)
    return content


def _head(path: str) -> Head | None:
    """Return what the head file of a log says; `None` where there is none, or others may have written it."""
    path += HEAD_FILE
    try:
        content, status = read_unlinked(path, _MAX_HEAD_BYTES)
        return None if judge_way(path, status).exposed else parse_head(content)
    except OSError:
        return None


def _write_head(path: str, descriptor: int, last: Entry) -> None:
    """Keep the last record in the head file, where that can be written: the record itself is on the disk already."""
    path += HEAD_FILE
    head = Head(sequence=last.record.sequence, hash=last.hash)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    with contextlib.suppress(OSError), prepared_file(path, head.line() + b"\n", mode) as prepared:
        put_in_place(prepared, path, replace=True)


@contextlib.contextmanager
def _errors_in_our_words(*, may_be_missing: bool = False) -> Iterator[None]:
    """Turn the system's errors, which show the path, into our own."""
    why, kind = "", LogError
    try:
        yield
    except FileNotFoundError:
        why, kind = ("there is none", NoLogError) if may_be_missing else ("its directory is not there", LogError)
    except OSError as error:
        why = reason(error)
    if why:
        raise kind(why)
