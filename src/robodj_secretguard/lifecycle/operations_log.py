"""The operations log: append-only lines of JSON, each with the hash of the line before (policy section 3)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final, Self

from robodj_secretguard.common.files import (
    append_content,
    closing,
    content_of,
    is_at,
    locked,
    make_directory,
    open_or_make,
    open_unlinked,
    raise_file_error,
    read_unlinked,
    reason,
    write_file,
)
from robodj_secretguard.lifecycle.records import Document, Record, Records, draft, parse_record
from robodj_secretguard.secret.texts import PROGRAM, could_hold_key
from robodj_secretguard.startup.file_reader import path_faults
from robodj_secretguard.startup.inputs import OPERATIONS_LOG, iso_utc
from robodj_secretguard.startup.time_rules import EARLIEST_CLOCK

MAX_LOG_BYTES: Final = 64 << 20
HEAD_FILE: Final = ".head"  # the suffix of the head file, which has the line of the last acknowledged record

_FULL: Final = f"it is full (the limit is {MAX_LOG_BYTES} bytes); rename it, and the next record starts a new log"


class OperationsLog:
    """An operations log, and what was read from it last.

    `read` reads it. Within `with log.locked():` no other process writes it, and `append` adds records.

    Args:
        path: the path of the file, which need not exist.
        name: its name in messages, which shows no path from the operator.
        named_by: the option, the variable or the file that names it; `None` for the default.
        new_directories: the directories that are made with it.

    Attributes:
        records: every valid record, in order.
        damage: evidence that records were changed or removed.
        torn: how many bytes at the end are of an interrupted write, which was never acknowledged.
        head: the last acknowledged record; `None` without a head file.
        found: whether there is a log.
        unreadable: why it cannot be read; empty where it was read.
    """

    def __init__(
        self,
        path: str,
        name: str = "the operations log",
        named_by: str | None = None,
        new_directories: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.name = name
        self.named_by = named_by
        self._new_directories = new_directories
        self.parse(b"")
        self.found = False
        self.unreadable = ""
        self._descriptor = -1

    def parse(self, content: bytes, head: Record | None = None) -> None:
        """Parse the content of a log. Verify its hash chain, and compare it with the head file."""
        records: list[Record] = []
        damage: list[str] = []
        *lines, end = content.split(b"\n")
        if end:
            lines.append(end)
        last = None
        last_line = 0
        for number, line in enumerate(lines, start=1):
            record = parse_record(line)
            if record is None:
                continue
            damage += _breaks(number, record, last_line, last)
            last = record
            last_line = number
            records.append(record)
        # Only text after the last line end can be the rest of a cut write, unless it is the record that the head names.
        is_acknowledged = last is None and head is not None and head.sequence == 1
        is_torn = bool(end) and last_line == len(lines) - 1 and not is_acknowledged
        self.torn = len(end) if is_torn else 0
        if last_line < len(lines) and not is_torn:
            damage.append(f"{_lines(last_line + 1, len(lines))} cannot be parsed")
        self.records, self.damage, self.head = tuple(records), (*damage, *_lost(records, head)), head
        self.found = True
        self._size = len(content)
        self._has_end = not end or bool(self.torn)  # whether the last line has a newline

    @property
    def is_missing(self) -> bool:
        """Whether an option or the variable names a file that does not exist."""
        return not self.found and self.named_by in {OPERATIONS_LOG, "--operations-log"}

    @property
    def last(self) -> Record | None:
        """The last record."""
        return self.records[-1] if self.records else None

    @property
    def defects(self) -> tuple[str, ...]:
        """Every defect: why it cannot be read, or why it does not verify."""
        if self.unreadable:
            return (self.unreadable,)
        torn = "the last line is incomplete: a write was interrupted; the next record replaces the line"
        late = "is later than this machine's clock; set the clock before you add a record"
        return (
            *self.damage,
            *([torn] if self.torn else []),
            *(f"record {each.sequence} {late}" for each in self.records[-1:] if each.recorded_at > datetime.now(UTC)),
        )

    @property
    def verdict(self) -> str:
        """Whether the log verifies, in words."""
        if self.defects:
            return f"{'cannot be read' if self.unreadable else 'does not verify'}: {self.defects[0]}"
        if not self.found:
            return "none"
        if self.last:
            return f"verifies, last record {self.last.hash}"
        return f"no record; it continues after record {self.head.sequence}" if self.head else "no record"

    @property
    def complaint(self) -> list[str]:
        """The line for stderr, if the log has a defect."""
        return [f"{PROGRAM}: {self.name} {self.verdict}"] if self.defects else []

    @property
    def continues(self) -> Document | None:
        """The number and the hash of the last record of the earlier file that this log continues, if any."""
        if not self.records:
            return {"sequence": self.head.sequence, "hash": self.head.hash} if self.head else None
        first = self.records[0]
        if first.event != "continued" or first.previous is None or first.sequence == 1:
            return None
        return {"sequence": first.sequence - 1, "hash": first.previous}

    def as_dict(self) -> Document:
        """Return its state in the plain types of JSON."""
        return {"found": self.found, "last_hash": self.last.hash if self.last else None, "defects": [*self.defects]}

    def verify(self, expected: str | None = None) -> Document:
        """Return whether what was read verifies, in the plain types of JSON: it does where `defects` is empty.

        `expected` is the hash of a record that must be there.
        """
        unbroken = takewhile(lambda pair: _follows(*pair), zip(self.records, (None, *self.records), strict=False))
        number = next((record.sequence for record, _ in unbroken if expected and record.hash == expected), None)
        defects = [*self.defects]
        if expected is not None and number is None:
            defects.append("the expected record was not found: it, or a record before it, was changed or removed")
        return {
            "count": len(self.records),
            "last_hash": self.last.hash if self.last else None,
            "defects": defects,
            "expected_sequence": number,
            "continues": self.continues,
        }

    def read(self) -> Self:
        """Read the log. `found` says whether there is one, and `unreadable` why it cannot be read."""
        try:
            with closing(open_unlinked(self.path, os.O_RDONLY)) as descriptor:
                self._load(descriptor)
                if self.torn or self.damage:
                    # Another process may be writing: a file system can show a write in part.
                    with locked(descriptor):
                        self._load(descriptor)
        except FileNotFoundError:
            self.found = False
        except OSError as error:
            self.found = True
            self.unreadable = reason(error)
        return self

    @contextlib.contextmanager
    def locked(self) -> Iterator[Self]:
        """Make or read the log, and lock it against other processes. `FileError` says why it cannot be used."""
        try:
            if not os.path.lexists(self.path):
                self._require_new_place()
            descriptor, _ = open_or_make(self.path, os.O_RDWR | os.O_APPEND)
            with closing(descriptor), locked(descriptor):
                if not is_at(descriptor, self.path):
                    raise_file_error("another process moved it; try again")
                self._load(descriptor)
                if self.damage:
                    raise_file_error(
                        f"it does not verify ({self.damage[0]}); rename it and keep it as evidence, for --known."
                        " The next record starts a new log"
                    )
                self._descriptor = descriptor
                try:
                    yield self
                finally:
                    self._descriptor = -1
        except FileNotFoundError:
            raise_file_error("its directory does not exist; create it, or name another file")
        except OSError as error:
            raise_file_error(reason(error))

    def _load(self, descriptor: int) -> None:
        head = _read_head(self.path)  # first, as the log may grow now and must not be behind its head
        content = content_of(descriptor, MAX_LOG_BYTES + 1)
        if why := path_faults(self.path, os.fstat(descriptor)).exposed:
            raise_file_error(f"it {' and '.join(why)}; correct the permissions, then run log verify --expect")
        if len(content) > MAX_LOG_BYTES:
            raise_file_error(_FULL)
        self.parse(content, head)

    def _require_new_place(self) -> None:
        """Make the directories of a new log. Refuse a place that others can write, or a name that could be a key."""
        if could_hold_key(os.path.basename(self.path)):
            raise_file_error("its file name looks like a key; use another name")
        try:
            for directory in self._new_directories:  # only operators may enter the last one
                make_directory(directory, others=directory is not self._new_directories[-1])
        except OSError:
            raise_file_error("its directory cannot be created; create it, or name another file")
        if path_faults(os.path.dirname(self.path) or os.curdir).exposed:
            raise_file_error("others can write its directory or a directory above it; run chmod go-w on that directory")

    def append(self, records: Records) -> tuple[Record, ...]:
        """Append drafts to the locked log, and return all appended records when they are on the disk.

        The rest of an interrupted write is cut off. Where the log is empty and the head file names a record, a separate
        record first continues that one. `FileError` says why nothing was recorded.
        """
        if not records:
            return ()
        now = datetime.now(UTC).replace(microsecond=0)
        not_before = self.last.recorded_at if self.last else EARLIEST_CLOCK
        if now < not_before:
            raise_file_error(
                f"the clock ({iso_utc(now)}) is earlier than {iso_utc(not_before)}; set the clock (if the last record"
                " has a wrong time, rename the log and pass it with --known)"
            )
        last = self.last or self.head
        if self.last is None and self.head is not None:
            records = [draft("continued"), *records]
        appended: list[Record] = []
        content = b"" if self._has_end else b"\n"
        for record in records:
            sequence, previous = _next(last)
            chained = replace(record, sequence=sequence, recorded_at=now, previous=previous)
            line = chained.line()
            content += line + b"\n"
            appended.append(last := chained.hashed(line))
        if self._size - self.torn + len(content) > MAX_LOG_BYTES:
            raise_file_error(_FULL)
        append_content(self._descriptor, content, size=self._size, torn=self.torn)
        path = self.path + HEAD_FILE
        mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
        with contextlib.suppress(OSError):  # the records are on the disk
            write_file(path, line + b"\n", mode, replace=True)
        self._size += len(content) - self.torn
        self.records = (*self.records, *appended)
        self.torn = 0
        self._has_end = True
        return tuple(appended)


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _lost(records: Records, head: Record | None) -> Iterator[str]:
    """Yield the acknowledged records that were changed or removed."""
    if head is None or not records:
        return
    last = records[-1].sequence
    if head.sequence > last:
        gone = (
            f"records {last + 1} to {head.sequence} are" if head.sequence > last + 1 else f"record {head.sequence} is"
        )
        yield f"{gone} missing: the last record in the head file is {head.hash}"
    elif any(record.sequence == head.sequence and record.hash != head.hash for record in records):
        yield f"record {head.sequence} was changed: its hash in the head file is {head.hash}"


def _next(last: Record | None) -> tuple[int, str | None]:
    """Return the sequence number and the previous hash of the next record."""
    return (last.sequence + 1, last.hash) if last else (1, None)


def _breaks(number: int, record: Record, last_line: int, last: Record | None) -> Iterator[str]:
    """Yield how the record of a line does not continue the last one."""
    if number > last_line + 1:
        yield f"{_lines(last_line + 1, number - 1)} cannot be parsed"
    if not _follows(record, last):
        yield (
            f"line {number} {f'does not continue line {last_line}' if last else 'is not the first record'}: a line was"
            " changed or removed"
        )
    elif last and record.recorded_at < last.recorded_at:
        yield f"line {number} has an earlier time than line {last_line}"


def _follows(record: Record, last: Record | None) -> bool:
    if last is None and record.event == "continued":
        return record.sequence > 1 and record.previous is not None
    return (record.sequence, record.previous) == _next(last)


def _read_head(path: str) -> Record | None:
    """Return the head of a log; `None` without a head file that can be trusted."""
    path += HEAD_FILE
    try:
        content, status = read_unlinked(path, most=1 << 16)
    except OSError:
        return None
    return None if path_faults(path, status).exposed else parse_record(content.strip())
