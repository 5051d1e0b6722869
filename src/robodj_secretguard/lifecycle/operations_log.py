"""The operations log: append-only lines of JSON, each with the hash of the one before (policy section 3)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from robodj_secretguard.checks import EARLIEST_CLOCK
from robodj_secretguard.errors import FileError, NoLogError
from robodj_secretguard.files import (
    append_content,
    content_of,
    is_at,
    locked,
    open_or_make,
    open_unlinked,
    prepared_file,
    put_in_place,
    raise_file_error,
    read_unlinked,
    reason,
    sync_directory,
)
from robodj_secretguard.shapes import HEAD, Event, Head, Record, draft, hash_of, parse_record
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.textfile import path_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_LOG_BYTES: Final = 64 << 20
HEAD_FILE: Final = ".head"
"""The ending of the head file's name, next to the log: it keeps the last record that was acknowledged."""

_MAX_HEAD_BYTES: Final = 1024
_ANY_BEGINNING: Final = re.compile(rb'\{"schema":1,"sequence":[0-9]+(?:,|\Z)')
_FULL: Final = f"it is full, with {MAX_LOG_BYTES} bytes: keep it under another name; the next record begins a new one"


@dataclass(frozen=True, slots=True)
class Log:
    """What was found in a log."""

    records: tuple[Record, ...] = ()
    """Every record that can be read, in order."""
    damage: tuple[str, ...] = ()
    """What shows that a record was changed or taken away."""
    sealed: tuple[str, ...] = ()
    """The lines that a cut write had left, and a later record closed off."""
    torn: bytes | None = None
    """What a cut write has left at the end, and nothing closed off yet."""
    unended: bool = False
    """Whether the last line has no end."""
    head: Head | None = None
    """The last record that was acknowledged, as the head file says; `None` where there is no such file."""

    @property
    def last(self) -> Record | None:
        """The last record."""
        return self.records[-1] if self.records else None

    @property
    def defects(self) -> tuple[str, ...]:
        """All that is wrong with it."""
        defects = list(self.damage)
        if self.torn is not None:
            defects.append("the last line is torn: a write was cut short; the next record closes it off")
        if self.last and self.last.recorded_at > datetime.now(UTC):
            defects.append(f"record {self.last.sequence} is ahead of this machine's clock: none can follow it")
        return tuple(defects)

    @property
    def continues(self) -> Head | None:
        """The last record of the earlier file that this log continues; `None` where there is none."""
        if not self.records:
            return self.head
        first = self.records[0]
        if first.event is not Event.CONTINUED or first.previous is None or first.sequence == 1:
            return None
        return Head(sequence=first.sequence - 1, hash=first.previous)


def find(log: Log, expected: str) -> int | None:
    """Return the number of the record with a hash; `None` where it is not in the log with all before it."""
    for last, record in zip((None, *log.records), log.records, strict=False):
        if not _follows(record, last):
            return None
        if record.hash == expected:
            return record.sequence
    return None


def read(content: bytes, head: Head | None = None) -> Log:
    """Read the whole content of a log, and verify its chain, and that it has the record that its head file names."""
    records: list[Record] = []
    damage: list[str] = []
    sealed: list[str] = []
    unreadable: list[bytes] = []
    *lines, end = content.split(b"\n")
    if end:
        lines.append(end)
    last, last_line = None, 0
    for number, line in enumerate(lines, start=1):
        record = parse_record(line)
        if record is None:
            unreadable.append(line)
            continue
        if unreadable:
            between = _lines(last_line + 1, number - 1)
            if record.sealed == hash_of(b"\n".join(unreadable)):
                sealed.append(f"{between}: a write was cut here; record {record.sequence} closed it off")
            else:
                damage.append(f"{between} cannot be read")
            unreadable.clear()
        elif record.sealed:
            damage.append(f"line {number}: what it closed off is gone")
        if not _follows(record, last):
            before = f"line {last_line}" if last else "the beginning"
            damage.append(f"line {number} does not follow {before}: one was changed, or one between was removed")
        elif last and record.recorded_at < last.recorded_at:
            damage.append(f"line {number} is of an earlier time than line {last_line}")
        last, last_line = record, number
        records.append(record)
    torn = b"\n".join(unreadable) if unreadable else None
    if not all(_may_be_cut(line, last) for line in unreadable):
        damage.append(f"{_lines(last_line + 1, len(lines))} cannot be read")
        torn = None
    damage += _lost(records, head)
    return Log(tuple(records), tuple(damage), tuple(sealed), torn, unended=bool(end), head=head)


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _lost(records: Sequence[Record], head: Head | None) -> Iterator[str]:
    """Say which records were acknowledged, and are changed or gone."""
    if head is None or not records:
        return
    last = records[-1].sequence
    if head.sequence > last:
        one = head.sequence == last + 1
        gone = f"record {head.sequence} is" if one else f"records {last + 1} to {head.sequence} are"
        yield f"{gone} missing: the head file names {head.hash} as the last record"
    elif any(record.sequence == head.sequence and record.hash != head.hash for record in records):
        yield f"record {head.sequence} was changed: the head file names it as {head.hash}"


def _next(last: Record | Head | None) -> tuple[int, str | None]:
    """Return the sequence number, and the hash of the record before it, that the next record has."""
    return (last.sequence + 1, last.hash) if last else (1, None)


def _follows(record: Record, last: Record | None) -> bool:
    if last is None and record.event is Event.CONTINUED:
        return record.sequence > 1 and record.previous is not None
    return (record.sequence, record.previous) == _next(last)


def _may_be_cut(line: bytes, last: Record | None) -> bool:
    """Whether an unreadable line may be what a cut write has left, or a file system that died during it."""
    written = line.rstrip(b"\0 \t\r")
    begins = b'{"schema":1,"sequence":%d,' % _next(last)[0]
    if last is None and (any_number := _ANY_BEGINNING.match(written)):  # it may continue an earlier file
        begins = any_number[0]
    if not (written.startswith(begins) or begins.startswith(written)):
        return False
    try:
        json.loads(written)
    except (ValueError, RecursionError):
        return True
    return False  # a part of a record is not JSON: a line that is was changed


class OpenLog:
    """A log that no other process appends to meanwhile: its locked file, and what is in it."""

    def __init__(self, descriptor: int, path: str, size: int, log: Log) -> None:
        self._descriptor = descriptor
        self._path = path
        self._size = size
        self.log = log

    def append(self, records: Sequence[Record]) -> tuple[Record, ...]:
        """Append drafts, and return all records that were appended, when they are on the disk.

        What a cut write has left at the end is closed off first, by a separate record: nothing is joined to it.
        A log without a record whose head file names one begins with a record that continues after that one.
        `FileError` says why nothing was recorded: the clock, no room, or a program that truncated the log meanwhile.
        """
        if not records:
            return ()
        log = self.log
        now = datetime.now(UTC).replace(microsecond=0)
        not_before = log.last.recorded_at if log.last else EARLIEST_CLOCK
        if now < not_before:
            raise_file_error(
                f"the clock says {iso_utc(now)}, and it cannot be before {iso_utc(not_before)}: set it, or if a record"
                " has a wrong time, keep the log under another name, for --known"
            )
        torn = None if log.torn is None else hash_of(log.torn)
        if log.last is None and log.head is not None:
            records = [draft(Event.CONTINUED, sealed=torn), *records]
        elif torn is not None:
            records = [draft(Event.SEALED, sealed=torn), *records]
        appended: list[Record] = []
        content = b"\n" if log.unended else b""
        last: Record | Head | None = log.last or log.head
        for record in records:
            sequence, previous = _next(last)
            chained = replace(record, sequence=sequence, recorded_at=now, previous=previous)
            line = chained.line()
            content += line + b"\n"
            appended.append(last := chained.hashed(line))
        if self._size + len(content) > MAX_LOG_BYTES:
            raise_file_error(_FULL)
        append_content(self._descriptor, content, size=self._size)
        self._size += len(content)
        _write_head(self._path, self._descriptor, appended[-1])
        self.log = replace(log, records=(*log.records, *appended), torn=None, unended=False)
        return tuple(appended)


def load(path: str) -> Log:
    """Read a log as it is now; `FileError` says why it cannot be read, `NoLogError` that there is none."""
    with _errors_without_paths(missing=NoLogError("there is none")):
        head = _head(path)  # first: a log that grows meanwhile is ahead of it, and never behind
        descriptor = open_unlinked(path, os.O_RDONLY)
        try:
            log = read(_content(descriptor, path), head)
            if log.torn is not None or log.damage:
                # Or it is being written just now: a file system need not show a write as a whole.
                with locked(descriptor):
                    log = read(_content(descriptor, path), head)
            return log
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def opened(path: str) -> Iterator[OpenLog]:
    """Open a log to append to, or begin one, and keep every other process from doing so.

    `FileError` says that it cannot be used, is damaged, or that another process does not let go of it.
    """
    with _errors_without_paths(missing=FileError("its directory is not there")):
        if not os.path.lexists(path) and path_faults(os.path.dirname(path) or os.curdir).exposed:
            raise_file_error("others can write its directory or a directory above it, so they could replace it")
        descriptor, _ = open_or_make(path, os.O_RDWR | os.O_APPEND)
        try:
            with locked(descriptor):
                if not is_at(descriptor, path):
                    raise_file_error("it was moved away just now: try again")
                content = _content(descriptor, path)
                if not content:
                    sync_directory(os.path.dirname(path))  # it may be new
                log = read(content, _head(path))
                if log.damage:
                    raise_file_error(
                        f"it does not verify ({log.damage[0]}): keep it under another name, as evidence and for"
                        " --known; the next record begins a new one"
                    )
                yield OpenLog(descriptor, path, len(content), log)
        finally:
            os.close(descriptor)


def _content(descriptor: int, path: str) -> bytes:
    content = content_of(descriptor, MAX_LOG_BYTES + 1)
    if why := path_faults(path, os.fstat(descriptor)).exposed:
        raise_file_error(f"others may have changed it: it {' and '.join(why)}")
    if len(content) > MAX_LOG_BYTES:
        raise_file_error(_FULL)
    return content


def _head(path: str) -> Head | None:
    """Return what the head file of a log says; `None` where there is none, or others may have written it."""
    path += HEAD_FILE
    try:
        content, status = read_unlinked(path, _MAX_HEAD_BYTES)
        return None if path_faults(path, status).exposed else HEAD.validate_json(content)
    except (OSError, ValidationError):
        return None


def _write_head(path: str, descriptor: int, last: Record) -> None:
    """Keep the last record in the head file, where that can be written: the record itself is on the disk already."""
    path += HEAD_FILE
    head = Head(sequence=last.sequence, hash=last.hash)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    with contextlib.suppress(OSError), prepared_file(path, head.line() + b"\n", mode) as prepared:
        put_in_place(prepared, path, replace=True)


@contextlib.contextmanager
def _errors_without_paths(*, missing: FileError) -> Iterator[None]:
    """Raise why a log cannot be used instead of the system's errors, which show its path."""
    why = None
    try:
        yield
    except FileNotFoundError:
        why = missing
    except OSError as error:
        why = error if isinstance(error, FileError) else FileError(reason(error))
    if why:
        raise why
