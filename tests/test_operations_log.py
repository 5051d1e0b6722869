"""The operations log: the defects that its chain shows, and how records are appended."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import clock
from conftest import NOW, V1, good_keys, posix_only, put, raising, umask
from races import just_before

from robodj_secretguard.common import files
from robodj_secretguard.common.files import locked
from robodj_secretguard.errors import FileError
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.operations_log import HEAD_FILE, MAX_LOG_BYTES, OperationsLog
from robodj_secretguard.lifecycle.records import Record, draft, hash_of, parse_record
from robodj_secretguard.startup.inputs import IN_WRITABLE, WRITABLE, iso_utc
from robodj_secretguard.startup.time_rules import EARLIEST_CLOCK


def load(path: str) -> OperationsLog:
    """Read a log."""
    return OperationsLog(path).read()


def read(content: bytes, head: Record | None = None) -> OperationsLog:
    """Parse the content of a log."""
    log = OperationsLog("log")
    log.parse(content, head)
    return log


def some(count: int) -> list[Record]:
    """Make records that differ."""
    return [draft("rotated", operator=f"operator {number}") for number in range(count)]


def chain(*records: Record, is_back: bool = False, after: Record | None = None) -> list[bytes]:
    """Return records as the lines of a log, one second apart; each one second earlier with `is_back`."""
    lines: list[bytes] = []
    for number, record in enumerate(records, start=after.sequence if after else 0):
        at = EARLIEST_CLOCK + timedelta(seconds=9 - number if is_back else number)
        previous = hash_of(lines[-1]) if lines else after.hash if after else None
        lines.append(replace(record, sequence=number + 1, recorded_at=at, previous=previous).line())
    return lines


def joined(lines: Sequence[bytes]) -> bytes:
    """Join lines to the content of a log."""
    return b"".join(line + b"\n" for line in lines)


def append(path: Path, *records: Record) -> tuple[Record, ...]:
    """Append records as the commands do."""
    with OperationsLog(str(path)).locked() as log:
        return log.append(records)


def refused(path: Path, *records: Record) -> str:
    """Append records, which must fail, and return the reason."""
    with pytest.raises(FileError) as caught:
        append(path, *(records or some(1)))
    return str(caught.value)


def head_of(path: Path) -> Path:
    """Return the path of a log's head file."""
    return path.with_name(f"{path.name}{HEAD_FILE}")


def breaks(number: int, after: int) -> str:
    """Return the defect of a line that is not the next one after another, or after the beginning."""
    fault = f"does not continue line {after}" if after else "is not the first record"
    return f"line {number} {fault}: a line was changed or removed"


LINES = A, B, C, D = chain(*some(4))
WHOLE = joined(LINES)
TORN = B[:100]
FIFTH = chain(*some(5))[4]
*_, LAST = read(WHOLE).records
ADDED = draft("rotated", fingerprint=f"sgfp1:{'0a' * 16}")
CONTINUED = chain(draft("continued"), *some(2), after=LAST)

DAMAGE: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "changed": (joined([A, B.replace(b"operator 1", b"operator 9"), C, D]), (breaks(3, 2),)),
    "changed by a blank": (joined([A, B + b" ", C, D]), (breaks(3, 2),)),
    "removed": (joined([A, C, D]), (breaks(2, 1),)),
    "removed, the first": (joined([B, C, D]), (breaks(1, 0),)),
    "removed, and the last line's end": (joined([A, C, D])[:-1], (breaks(2, 1),)),
    "removed, all but the last, and the end": (D, (breaks(1, 0),)),
    "added, the same": (joined([A, B, B, C, D]), (breaks(3, 2),)),
    "added, with the next number": (joined([*LINES, replace(ADDED, sequence=5).line()]), (breaks(5, 4),)),
    "added, with the right hash": (joined([*LINES, replace(ADDED, previous=LAST.hash).line()]), (breaks(5, 4),)),
    "swapped": (joined([A, C, B, D]), (breaks(2, 1), breaks(3, 2), breaks(4, 3))),
    "unreadable": (joined([A, TORN, C, D]), ("line 2 cannot be parsed", breaks(3, 1))),
    "unreadable, two lines": (joined([A, TORN, TORN, D]), ("lines 2 to 3 cannot be parsed", breaks(4, 1))),
    "unreadable, added": (joined([A, TORN, B, C]), ("line 2 cannot be parsed",)),
    "unreadable, added, and no end": (joined([A, TORN, B])[:-1], ("line 2 cannot be parsed",)),
    "unreadable, the last two": (joined([A, B, C[1:], D[1:]]), ("lines 3 to 4 cannot be parsed",)),
    "unreadable, all": (WHOLE.decode().encode("utf-16"), ("lines 1 to 5 cannot be parsed",)),
    "blank": (joined([A, B, b"", C]), ("line 3 cannot be parsed",)),
    "CRLF": (WHOLE.replace(b"\n", b"\r\n"), (breaks(2, 1), breaks(3, 2), breaks(4, 3))),
    "a clock that went back": (joined(chain(*some(2), is_back=True)), ("line 2 has an earlier time than line 1",)),
    "a line that is null": (WHOLE + b"null\n", ("line 5 cannot be parsed",)),
    **{
        f"a whole last line that is {line!r}": (WHOLE + line + b"\n", ("line 5 cannot be parsed",))
        for line in (b"", b"\r", b"\0" * 9, FIFTH[:-9], FIFTH.replace(b'"', b"", 1), FIFTH[:100] + FIFTH[101:])
    },
    "a whole last line, and a cut one": (joined([A, TORN]) + TORN, ("lines 2 to 3 cannot be parsed",)),
    "a whole first line": (joined([A[:-20]]), ("line 1 cannot be parsed",)),
}


class TestRead:
    """The defects that the chain shows, and those that it cannot show."""

    def test_every_record(self) -> None:
        """The records are returned in order, each with the hash of its line. An empty log has none, and no defect."""
        empty, log = read(b""), read(WHOLE)
        assert (empty.records, empty.last, empty.defects, empty.continues) == ((), None, (), None)
        assert [*log.records] == [parse_record(line) for line in LINES]
        assert [each.hash for each in log.records] == [*map(hash_of, LINES)]
        assert (log.defects, log.last) == ((), log.records[3])

    @pytest.mark.parametrize(("content", "damage"), DAMAGE.values(), ids=DAMAGE)
    def test_damage(self, content: bytes, damage: tuple[str, ...]) -> None:
        """Each kind of damage is reported, and is not taken for a cut write."""
        log = read(content)
        records = [parse_record(line) for line in content.split(b"\n")]
        assert (log.damage, log.torn, log.defects) == (damage, 0, damage)
        assert [*log.records] == [*filter(None, records)]

    def test_torn_end(self) -> None:
        """What a cut write has left is torn, not damaged. A whole line is a record, with or without its end."""
        three = read(joined(LINES[:3]))
        for end in (*(D[:size] for size in range(1, len(D))), b" ", b"\0" * 4096, D[:15] + b"\0" * 9, b"[" * 9999):
            log = read(joined(LINES[:3]) + end)
            assert (log.torn, log.damage, log.records) == (len(end), (), three.records)
        incomplete = "the last line is incomplete: a write was interrupted; the next record replaces the line"
        assert log.defects == (incomplete,)
        log = read(WHOLE[:-1])
        assert (log.torn, log.damage, log.records) == (0, (), read(WHOLE).records)

    def test_torn_record_that_was_acknowledged_is_damage(self) -> None:
        """A torn first line is damage if the head file names its record: it is evidence, and is not replaced."""
        acknowledged = parse_record(A)
        assert (read(A[:-20], acknowledged).damage, read(A[:-20]).damage) == (("line 1 cannot be parsed",), ())
        assert read(CONTINUED[0][:-20], LAST).damage == ()

    def test_ahead_of_the_clock(self) -> None:
        """A last record that is ahead of the clock is a defect, not damage."""
        log, defects = read(joined([A, B])), list[tuple[str, ...]]()
        for record in log.records:
            with clock(record.recorded_at):
                defects.append(log.defects)
        assert defects == [("record 2 is later than this machine's clock; set the clock before you add a record",), ()]

    @pytest.mark.parametrize(
        ("content", "expected", "number"),
        [
            (WHOLE, hash_of(A), 1),
            (WHOLE, hash_of(D), 4),
            (WHOLE, hash_of(FIFTH), None),
            (joined([A, C, D]), hash_of(A), 1),
            (joined([A, C, D]), hash_of(D), None),
            (joined(CONTINUED), hash_of(CONTINUED[2]), 7),
            (joined(CONTINUED), LAST.hash, None),
            (b"", hash_of(A), None),
        ],
        ids=range(8),
    )
    def test_find(self, content: bytes, expected: str, number: int | None) -> None:
        """A record is found by its hash only where all records before it follow each other."""
        assert read(content).verify(expected)["expected_sequence"] == number

    @pytest.mark.parametrize("number", [1, 4])
    def test_continued(self, number: int) -> None:
        """A log may begin with a record that continues an earlier file, and both files together verify as one log."""
        earlier, last = LINES[:number], read(WHOLE).records[number - 1]
        lines = chain(draft("continued"), *some(2), after=last)
        log, both = read(joined(lines)), read(joined(earlier + lines))
        continued = {"sequence": number, "hash": last.hash}
        assert (log.damage, log.torn, log.continues) == ((), 0, continued)
        assert [record.sequence for record in log.records] == [number + 1, number + 2, number + 3]
        assert (both.damage, len(both.records), both.continues) == ((), number + 3, None)
        assert read(b"", last).continues == continued

    @pytest.mark.parametrize(
        "fields",
        [{"sequence": 1}, {"sequence": 1, "previous": None}, {"previous": None}, {"event": "rotated"}],
        ids=range(4),
    )
    def test_other_first_record(self, fields: dict[str, Any]) -> None:
        """Any other first record is damage, and continues no earlier file."""
        (record,) = read(joined(CONTINUED[:1])).records
        log = read(joined([replace(record, **fields).line()]))
        assert (log.damage, log.continues) == ((breaks(1, 0),), None)

    @pytest.mark.parametrize(
        ("content", "sequence", "damage"),
        [
            (WHOLE, 5, "record 5 is missing: the last record in the head file is {}"),
            (WHOLE, 6, "records 5 to 6 are missing: the last record in the head file is {}"),
            (WHOLE, 4, "record 4 was changed: its hash in the head file is {}"),
            (WHOLE, 2, "record 2 was changed: its hash in the head file is {}"),
            (joined(CONTINUED), 3, None),
            (b"", 3, None),
        ],
        ids=["the next one", "a later one", "the last one", "an earlier one", "one of an earlier file", "an empty log"],
    )
    def test_head_names_another_record(self, content: bytes, sequence: int, damage: str | None) -> None:
        """A record that the head file names, and that is missing or has another hash, is damage."""
        head = replace(ADDED, sequence=sequence).hashed(FIFTH)
        assert read(content, head).damage == ((damage.format(head.hash),) if damage else ())
        for record in read(WHOLE).records:  # a head that is behind, as after a crash between the two writes
            assert read(WHOLE, record).damage == ()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a log that does not exist yet."""
    return tmp_path / "log.jsonl"


class TestAppend:
    """Records are appended, and the content before them stays as it was."""

    def test_new_log(self, path: Path) -> None:
        """The first record begins the log, with the time to the second. The log is never for others."""
        with umask(0), clock(NOW + timedelta(microseconds=999_999)):
            (record,) = append(path, *some(1))
        assert (record.sequence, record.previous, record.operator, record.recorded_at) == (1, None, "operator 0", NOW)
        assert (path.read_bytes(), load(str(path)).records) == (joined([record.line()]), (record,))
        assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o660

    def test_several_records(self, path: Path) -> None:
        """Records follow each other, in one call, in two, and in a log that is opened again."""
        path.write_bytes(WHOLE + FIFTH[:50])
        with OperationsLog(str(path)).locked() as log:
            appended = log.append(some(2)) + log.append(some(1)) + log.append(())
        appended += append(path, *some(1))
        after = load(str(path))
        assert [each.operator for each in appended] == [f"operator {number}" for number in (0, 1, 0, 0)]
        assert (after.records, after.damage, after.torn) == ((*read(WHOLE).records, *appended), (), 0)
        assert path.read_bytes().startswith(WHOLE)

    def test_one_write_that_is_synced(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Records are appended in one write and are on the disk before the head file is written."""
        path.write_bytes(WHOLE)
        done: list[str] = []
        for module, name in ((os, "write"), (os, "fsync"), (operations_log, "write_file")):
            just_before(monkeypatch, module, name, partial(done.append, name))
        append(path, *some(3))
        assert done == ["write", "fsync", "write_file"]

    @pytest.mark.parametrize(
        "every_size",
        [False, pytest.param(True, marks=pytest.mark.full)],
        ids=["around line ends", "at every byte"],
    )
    @pytest.mark.parametrize(
        ("before", "head"),
        [
            (joined([A, B]), b""),
            (b"", b""),
            (b"", LAST.line()),
            (A + b"\n" + TORN, b""),
            (A, b""),
        ],
        ids=["whole", "empty", "continued", "torn", "without its end"],
    )
    def test_cut_write(self, path: Path, before: bytes, head: bytes, *, every_size: bool) -> None:
        """Wherever a write is cut, every whole record stays, and the next append replaces the rest.

        Only the full sessions cut at every byte.
        """
        path.write_bytes(before)
        head_of(path).write_bytes(head)
        append(path, *some(2))
        kept = before[: len(before) - read(before).torn]
        assert path.read_bytes().startswith(kept)
        written = path.read_bytes().removeprefix(kept)
        ends = [index for index, byte in enumerate(written) if byte == ord("\n")]
        sizes = {0, 1, 30, *(end + offset for end in ends for offset in (-1, 0, 1, 2))} - {len(written) + 1}
        for size in range(len(written) + 1) if every_size else sorted(sizes):
            cut = kept + written[:size]
            path.write_bytes(cut)
            head_of(path).write_bytes(head)
            left = load(str(path))
            assert left.damage == ()
            appended = append(path, *some(1))
            log = load(str(path))
            assert path.read_bytes().startswith(cut[: len(cut) - left.torn])
            assert (log.damage, log.torn, log.records) == ((), 0, (*left.records, *appended))
            begun = ["continued"] if head and not left.records else []
            assert [record.event for record in appended] == [*begun, "rotated"]
            assert log.continues == ({"sequence": 4, "hash": LAST.hash} if head else None)

    def test_cut_write_that_cannot_be_removed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where only appending is allowed, as after `chattr +a`, the rest of a cut write stays. A remedy is named."""
        path.write_bytes(joined([A]) + TORN)
        real = os.ftruncate
        for code in (errno.EPERM, errno.EACCES):
            monkeypatch.setattr(os, "ftruncate", raising(OSError(code, os.strerror(code))))
            assert refused(path) == (
                "its incomplete last line cannot be removed, as the file is append-only; remove that attribute"
                " (chattr -a), run the command again, and set it again"
            )
        assert path.read_bytes() == joined([A]) + TORN
        monkeypatch.setattr(os, "ftruncate", real)
        assert append(path, *some(1))[0].sequence == 2

    @pytest.mark.parametrize(
        "kind", ["unreadable", "a whole last line, and a cut one", "a whole first line"], ids=range(3)
    )
    def test_damaged_log(self, path: Path, kind: str) -> None:
        """Nothing is appended to a damaged log: it is evidence."""
        content, (damage, *_) = DAMAGE[kind]
        path.write_bytes(content)
        assert refused(path) == (
            f"it does not verify ({damage}); rename it and keep it as evidence, for --known. The next record starts a"
            " new log"
        )
        assert path.read_bytes() == content

    @pytest.mark.parametrize(
        ("lines", "earliest"), [((), EARLIEST_CLOCK), (LINES, EARLIEST_CLOCK + timedelta(seconds=3))]
    )
    def test_clock_that_went_back(self, path: Path, lines: Sequence[bytes], earliest: datetime) -> None:
        """No record is earlier than the one before it, or than the first version of this library."""
        path.write_bytes(joined(lines))
        wrong = earliest - timedelta(seconds=1)
        with clock(wrong):
            assert refused(path) == (
                f"the clock ({iso_utc(wrong)}) is earlier than {iso_utc(earliest)}; set the clock (if the last record"
                " has a wrong time, rename the log and pass it with --known)"
            )
        assert path.read_bytes() == joined(lines)
        with clock(earliest):
            assert append(path, *some(1))[0].recorded_at == earliest

    @pytest.mark.parametrize("how", ["truncated", "moved", "moved and made again"])
    def test_rotated_log(self, path: Path, how: str) -> None:
        """After a log rotation of either kind, the chain continues where the earlier file ends."""
        earlier = append(path, *some(3))
        if how == "truncated":
            os.truncate(path, 0)
        else:
            path.rename(path.with_name("log.jsonl.1"))
        if how == "moved and made again":
            path.touch(0o600)
        begun, record = appended = append(path, *some(1))
        assert (begun.event, begun.sequence, begun.previous) == ("continued", 4, earlier[-1].hash)
        assert (record.event, record.sequence, record.previous) == ("rotated", 5, begun.hash)
        log = load(str(path))
        assert (log.damage, log.records) == ((), appended)


class TestNewLog:
    """The place of a log that does not exist yet."""

    def test_directories(self, tmp_path: Path) -> None:
        """Default directories are created, unless their parent is missing. Only the owner can write the first one."""
        config, logs = tmp_path / "config", tmp_path / "config" / "logs"
        log = OperationsLog(str(logs / "log.jsonl"), new_directories=(str(config), str(logs)))
        with umask(0o002), log.locked():
            log.append(some(1))
        assert len(log.read().records) == 1
        if os.name == "posix":
            assert [stat.S_IMODE(path.stat().st_mode) for path in (config, logs)] == [0o755, 0o770]
        log = OperationsLog(str(tmp_path / "no/logs/log"), new_directories=(str(tmp_path / "no/logs"),))
        why = r"\Aits directory cannot be created; create it, or name another file\Z"
        with pytest.raises(FileError, match=why), log.locked():
            pass
        assert os.listdir(tmp_path) == ["config"]

    def test_key_as_name(self, tmp_path: Path) -> None:
        """A new log cannot have a name that looks like a key."""
        path = tmp_path / good_keys()[V1]
        assert refused(path) == "its file name looks like a key; use another name"
        path.touch(0o600)
        assert len(append(path, *some(1))) == 1


class TestState:
    """What a log says about itself."""

    @pytest.mark.parametrize(
        ("content", "head", "verdict"),
        [
            (b"", None, "no record"),
            (b"", LAST, "no record; it continues after record 4"),
            (WHOLE, None, f"verifies, last record {LAST.hash}"),
            (DAMAGE["unreadable"][0], None, "does not verify: line 2 cannot be parsed"),
        ],
        ids=range(4),
    )
    def test_verdict_of_a_log(self, content: bytes, head: Record | None, verdict: str) -> None:
        """A log verifies, does not verify, or has no record. Only a defect is a complaint."""
        log = read(content, head)
        assert log.verdict == verdict
        assert log.complaint == ([f"robodj-secretguard: the operations log {verdict}"] if log.damage else [])
        last = log.records[-1].hash if log.records else None
        assert log.as_dict() == {"found": True, "last_hash": last, "defects": [*log.damage]}

    @pytest.mark.parametrize(
        ("named_by", "is_missing"), [(None, False), ("pyproject.toml", False), ("--operations-log", True)]
    )
    def test_log_that_does_not_exist(self, path: Path, named_by: str | None, is_missing: bool) -> None:  # noqa: FBT001
        """A log that does not exist is missing only where an option or the variable names it."""
        log = OperationsLog(str(path), named_by=named_by).read()
        assert (log.verdict, log.records, log.is_missing) == ("none", (), is_missing)
        assert log.as_dict() == {"found": False, "last_hash": None, "defects": []}

    def test_log_that_cannot_be_read(self, path: Path) -> None:
        """A log that cannot be read was found, and has a defect."""
        path.mkdir()
        log, why = OperationsLog(str(path), "the log").read(), "it is not a regular file"
        assert log.complaint == [f"robodj-secretguard: the log cannot be read: {why}"]
        assert log.as_dict() == {"found": True, "last_hash": None, "defects": [why]}


FULL = "it is full (the limit is 67108864 bytes); rename it, and the next record starts a new log"


def log_at(path: Path, mode: int = 0o600, size: int = len(WHOLE)) -> Path:
    """Make a log of this mode and size."""
    path.write_bytes(WHOLE)
    os.truncate(path, size)
    path.chmod(mode)
    return path


LINK = "it is a symbolic link; use the path of the file itself"
VERIFY = "; correct the permissions, then run log verify --expect"
UNUSABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "directory": (os.mkdir, "it is not a regular file"),
    "FIFO": (lambda path: os.mkfifo(path), "it is not a regular file"),  # noqa: PLW0108 - it is POSIX's
    "writable": (lambda path: log_at(path, 0o602), f"it {WRITABLE}{VERIFY}"),
    "writable directory": (
        lambda path: log_at(path).parent.chmod(0o777),
        f"it {IN_WRITABLE}{VERIFY}",
    ),
    "link": (lambda path: path.symlink_to(log_at(path.with_name("target"))), LINK),
    "dangling link": (lambda path: path.symlink_to("nowhere"), LINK),
    "below a file": (
        lambda path: path.parent.rename(path.parent.with_name("away")).with_name("logs").touch(),
        f"it cannot be used: {os.strerror(errno.ENOTDIR)}",
    ),
    "too large": (lambda path: log_at(path, size=MAX_LOG_BYTES + 1), FULL),
}


def seen(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return the state of a directory, which shows whether a file was written, replaced or made."""
    status = {path.name: path.lstat() for path in (directory, *directory.glob("*"))}
    return {name: (each.st_ino, each.st_mode, each.st_size, each.st_mtime_ns) for name, each in status.items()}


class TestFile:
    """A log that cannot be used: the reason shows no path, and nothing changes."""

    def test_missing(self, path: Path) -> None:
        """Reading makes no log, and appending makes no directory."""
        assert not load(str(path)).found
        assert (
            refused(path.parent / "nowhere" / "log.jsonl")
            == "its directory does not exist; create it, or name another file"
        )
        assert os.listdir(path.parent) == []

    @posix_only
    @pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
    def test_unusable(self, path: Path, make: Callable[[Path], Any], reason: str) -> None:
        """A path that is not a log of this user is neither read nor written."""
        path = path.parent / "logs" / path.name
        path.parent.mkdir()
        make(path)
        before = seen(path.parent)
        assert (load(str(path)).unreadable, refused(path)) == (reason, reason)
        assert seen(path.parent) == before

    @posix_only
    def test_path_that_others_may_change(self, tmp_path: Path) -> None:
        """No log is made below a directory or link that others may change."""
        (tmp_path / "config").mkdir()
        (tmp_path / "config").chmod(0o777)
        (tmp_path / "theirs").mkdir()
        (tmp_path / "config" / "logs").symlink_to(tmp_path / "theirs")
        assert refused(tmp_path / "config" / "logs" / "log.jsonl") == (
            "others can write its directory or a directory above it; run chmod go-w on that directory"
        )
        assert os.listdir(tmp_path / "theirs") == []

    def test_largest(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A log may have the largest size and no byte more."""
        append(path, *some(3))
        size = path.stat().st_size
        (record,) = append(path, *some(1))
        content = path.read_bytes()
        monkeypatch.setattr(operations_log, "MAX_LOG_BYTES", len(content))
        assert (len(load(str(path)).records), refused(path), path.read_bytes()) == (4, FULL, content)
        os.truncate(path, size)
        head_of(path).unlink()
        assert append(path, *some(1))[0].sequence == record.sequence
        monkeypatch.setattr(operations_log, "MAX_LOG_BYTES", len(content) - 1)
        assert load(str(path)).unreadable == FULL

    def test_another_process_holds_it(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An append waits for the lock, and is refused in the end. A reader does not wait."""
        path.write_bytes(WHOLE)
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        with open(path, "rb") as other, locked(other.fileno()):
            assert refused(path) == "another process holds the lock; try again"
            assert load(str(path)).records == read(WHOLE).records
        assert path.read_bytes() == WHOLE

    @posix_only
    @pytest.mark.parametrize("new", [None, b"", WHOLE], ids=["nothing", "empty", "another"])
    def test_moved_away_while_waiting(self, path: Path, monkeypatch: pytest.MonkeyPatch, new: bytes | None) -> None:
        """Nothing is appended to a file that is no longer the log."""
        path.write_bytes(joined([A, B]))
        away = path.with_name("evidence")

        def move() -> None:
            path.rename(away)
            if new is not None:
                path.write_bytes(new)

        just_before(monkeypatch, operations_log, "locked", move)
        assert refused(path) == "another process moved it; try again"
        assert away.read_bytes() == joined([A, B])
        assert (path.read_bytes() if path.exists() else None) == new


HEADS: dict[str, tuple[Callable[[Path], Any], int]] = {
    "empty": (lambda head: head.touch(), 1),
    "as long as is read": (lambda head: put(head, LAST.line().rjust(1 << 16)), 6),
    "too long": (lambda head: put(head, LAST.line().rjust((1 << 16) + 1)), 1),
    "more after what is read": (lambda head: put(head, LAST.line().ljust(1 << 16) + b"x"), 6),
    "writable by others": (lambda head: put(head, LAST.line(), 0o602), 1),
    "a link": (lambda head: head.symlink_to(put(head.with_name("target"), LAST.line())), 1),
}


class TestHead:
    """The head file next to the log: it names the last record that was acknowledged."""

    def test_content(self, path: Path) -> None:
        """The head file has the last line and the mode of the log."""
        append(path, *some(2))
        path.chmod(0o640)
        append(path, *some(1))
        assert head_of(path).read_bytes() == path.read_bytes().splitlines(keepends=True)[2]
        assert stat.S_IMODE(head_of(path).stat().st_mode) == 0o640
        assert sorted(os.listdir(path.parent)) == ["log.jsonl", "log.jsonl.head"]

    @posix_only
    @pytest.mark.parametrize(("make", "sequence"), HEADS.values(), ids=HEADS)
    def test_untrusted(self, path: Path, make: Callable[[Path], Any], sequence: int) -> None:
        """A head file that is not this user's head is ignored, and replaced by the next append."""
        make(head_of(path))
        *_, last = append(path, *some(1))
        assert parse_record(head_of(path).read_bytes().rstrip()) == last
        assert last.sequence == sequence
        assert not head_of(path).is_symlink()
        assert stat.S_IMODE(head_of(path).stat().st_mode) == stat.S_IMODE(path.stat().st_mode)

    def test_cannot_be_written(self, path: Path) -> None:
        """A record is acknowledged although the head file cannot be written."""
        head_of(path).mkdir()
        assert append(path, *some(1)) == load(str(path)).records


CHANGED = "another program truncated or changed it (logrotate's copytruncate?); try again"


class TestCopytruncate:
    """logrotate's copytruncate truncates the log at any moment of an append or a read, without its lock."""

    @pytest.mark.parametrize(
        ("module", "call"),
        [(operations_log, "append_content"), (os, "write"), (os, "fsync")],
        ids=["size", "write", "fsync"],
    )
    def test_append_meanwhile(self, path: Path, monkeypatch: pytest.MonkeyPatch, module: object, call: str) -> None:
        """A record that was written into a truncated log is taken back. The next one continues."""
        *_, last = append(path, *some(2))
        just_before(monkeypatch, module, call, lambda: os.truncate(path, 0))
        assert (refused(path), path.read_bytes()) == (CHANGED, b"")
        begun, _ = append(path, *some(1))
        assert (begun.event, begun.previous, load(str(path)).damage) == ("continued", last.hash, ())

    def test_reader_meanwhile(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A reader that sees damage waits for the writer and reads again: a record may be about to be taken back."""
        append(path, *some(2))
        path.write_bytes(joined([C]))
        just_before(monkeypatch, operations_log, "locked", lambda: os.truncate(path, 0))
        log = load(str(path))
        assert (log.damage, log.records) == ((), ())
