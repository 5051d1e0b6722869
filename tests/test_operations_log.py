"""The operations log: what a record is, what the chain shows, and how a record is appended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from conftest import clean_environment, good_keys, run
from detector import leaks
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from windows import pretend_windows

from robodj_secretguard import files
from robodj_secretguard.checks import EARLIEST_CLOCK
from robodj_secretguard.errors import ChangedError, FileError
from robodj_secretguard.files import locked
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.operations_log import HEAD_FILE, MAX_LOG_BYTES, Log, find, load, opened, read
from robodj_secretguard.shapes import Event, Head, Proof, Record, Validation, draft, hash_of, is_hash, parse_record
from robodj_secretguard.sources import iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes, FIFOs and links are POSIX's")

DONE = Validation(gate=Proof.VERIFIED, startup=Proof.ATTESTED, functions=Proof.ATTESTED, log=Proof.VERIFIED)
FULL = Record(
    sequence=7,
    recorded_at=datetime(2026, 11, 2, 8, 30, tzinfo=UTC),
    event=Event.ROTATED,
    secret="secret.key",  # noqa: S106 - its name
    environment="prod",
    owner="Security Operations",
    operator="Zoë",
    ticket="SEC-1",
    reason="it was due",
    fingerprint=f"sgfp1:{'0a' * 16}",
    expires_at=datetime(2027, 1, 31, tzinfo=UTC),
    validation=DONE,
    sealed=f"sha256:{'0b' * 32}",
    previous=f"sha256:{'0c' * 32}",
)

NO_FIELDS: tuple[tuple[str, object], ...] = (
    ("schema", 2),
    ("sequence", 0),
    ("sequence", "7"),
    ("sequence", 7.0),
    ("sequence", True),
    ("recorded_at", None),
    ("recorded_at", 1793606400),
    ("recorded_at", "2026-11-02"),
    ("recorded_at", "2026-11-02T08:30:00"),
    ("recorded_at", "9999-12-31T23:59:59-23:00"),
    ("recorded_at", "0001-01-01T00:00:00+23:00"),
    ("event", "rotate"),
    ("secret", "secret key"),
    ("environment", "Prod"),
    ("owner", "two\nlines"),
    ("operator", ""),
    ("operator", 7),
    ("ticket", "\x1b[2J"),
    ("reason", "x" * 501),
    ("fingerprint", f"sgfp1:{'0A' * 16}"),
    ("expires_at", "soon"),
    ("validation", {"gate": "verified"}),
    ("validation", dict.fromkeys(("gate", "startup", "functions", "log"), "done")),
    ("sealed", "0b" * 32),
    ("previous", f"sha256:{'0C' * 32}"),
    ("more", None),
)
"""Of which no record has one."""


def some(count: int) -> list[Record]:
    """Make records that can be told from each other."""
    return [draft(Event.ROTATED, operator=f"operator {number}") for number in range(count)]


def chain(*records: Record, second: Callable[[int], int] = int) -> list[bytes]:
    """Write records as the lines of a log, a second after each other where not said otherwise."""
    lines: list[bytes] = []
    for number, record in enumerate(records):
        at = EARLIEST_CLOCK + timedelta(seconds=second(number))
        previous = hash_of(lines[-1]) if lines else None
        lines.append(replace(record, sequence=number + 1, recorded_at=at, previous=previous).line())
    return lines


def seal(torn: bytes) -> Record:
    """Make the record that closes off what a cut write has left."""
    return draft(Event.SEALED, sealed=hash_of(torn))


def joined(lines: Sequence[bytes]) -> bytes:
    """Return the content of a log of these lines."""
    return b"".join(line + b"\n" for line in lines)


def append(path: Path, *records: Record) -> tuple[Record, ...]:
    """Append records as the commands do."""
    with opened(str(path)) as log:
        return log.append(records)


def head_of(path: Path) -> Path:
    """Return where the head file of a log is."""
    return path.with_name(f"{path.name}{HEAD_FILE}")


def acknowledged(entries: Sequence[Record]) -> list[tuple[Record, str]]:
    """Reduce entries to what who appended them was told."""
    return [(entry, entry.hash) for entry in entries]


class TestRecord:
    """One line."""

    def test_the_line(self) -> None:
        """JSON, every field in its place: what it does not have is null, times are in UTC to the second."""
        fields = {
            "schema": 1,
            "sequence": 7,
            "recorded_at": "2026-11-02T08:30:00Z",
            "event": "rotated",
            "secret": "secret.key",
            "environment": "prod",
            "owner": "Security Operations",
            "operator": "Zoë",
            "ticket": "SEC-1",
            "reason": "it was due",
            "fingerprint": f"sgfp1:{'0a' * 16}",
            "expires_at": "2027-01-31T00:00:00Z",
            "validation": {"gate": "verified", "startup": "attested", "functions": "attested", "log": "verified"},
            "sealed": f"sha256:{'0b' * 32}",
            "previous": f"sha256:{'0c' * 32}",
        }
        assert FULL.line() == json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        assert FULL.as_dict() == fields
        least = replace(draft(Event.REVOKED), recorded_at=FULL.recorded_at).as_dict()
        known = {"schema": 1, "sequence": 1, "recorded_at": "2026-11-02T08:30:00Z", "event": "revoked"}
        assert least == dict.fromkeys(fields) | known

    def test_it_is_read_as_it_was_written(self) -> None:
        """Nothing of it is lost."""
        assert parse_record(FULL.line()) == replace(FULL).hashed(FULL.line())

    @pytest.mark.parametrize(("field", "value"), NO_FIELDS, ids=range(len(NO_FIELDS)))
    def test_a_field_that_no_record_has(self, field: str, value: object) -> None:
        """Such a line is none."""
        assert parse_record(json.dumps(FULL.as_dict() | {field: value}).encode()) is None

    @pytest.mark.parametrize("field", ["sequence", "recorded_at", "event"])
    def test_a_field_that_is_missing(self, field: str) -> None:
        """Nor is one without what every record has."""
        fields = FULL.as_dict()
        del fields[field]
        assert parse_record(json.dumps(fields).encode()) is None

    @pytest.mark.parametrize(
        "line",
        [b"", b" ", b"null", b"[]", b"{}", b"\0\0", b"\xff", b"[" * 10_000, FULL.line()[:-1], FULL.line() + b"}"],
        ids=range(10),
    )
    def test_what_is_no_record_at_all(self, line: bytes) -> None:
        """Whatever it is."""
        assert parse_record(line) is None

    @pytest.mark.parametrize("field", ["operator", "ticket", "reason"])
    def test_a_key_is_refused_and_not_repeated(self, field: str) -> None:
        """No record is made of it, and the error does not show it."""
        keys = tuple(good_keys().values())
        for key in keys:
            with pytest.raises(ValidationError) as caught:
                draft(Event.ROTATED, **{field: key})
            assert leaks(f"{caught.value} {caught.value!r}", keys) == []

    @pytest.mark.parametrize("step", ["gate", "startup", "functions", "log"])
    def test_a_validation_is_complete_when_every_step_is_done(self, step: str) -> None:
        """By whomever."""
        assert DONE.open_steps == ()
        assert replace(DONE, **{step: Proof.NOT_DONE}).open_steps == (step,)


class TestHash:
    """What the next record repeats."""

    def test_of_a_line(self) -> None:
        """SHA-256 of its bytes, as anybody can compute it."""
        assert hash_of(b"line") == f"sha256:{sha256(b'line').hexdigest()}"
        assert is_hash(hash_of(b""))

    @pytest.mark.parametrize(
        "text",
        ["", "0a" * 32, f"sha256:{'0A' * 32}", f"sha256:{'0a' * 31}", f"sha256:{'0a' * 32}\n", f"md5:{'0a' * 16}"],
    )
    def test_what_is_none(self, text: str) -> None:
        """It has one spelling."""
        assert not is_hash(text)


LINES = A, B, C, D = chain(*some(4))
TORN = LINES[1][:100]
FIFTH = chain(*some(5))[4]
CLOSED = chain(*some(1), seal(TORN), *some(1))
CLOSED_TWICE = chain(*some(1), seal(TORN + b"\n" + TORN), *some(1))


def breaks(number: int, after: int) -> str:
    """Say that a line, by its record's number or its hash of the one before it, is not the next after another."""
    before = f"line {after}" if after else "the beginning"
    return f"line {number} does not follow {before}: one was changed, or one between was taken away"


DAMAGE: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "changed": (joined([A, B.replace(b"operator 1", b"operator 9"), C, D]), (breaks(3, 2),)),
    "changed by a blank": (joined([A, B + b" ", C, D]), (breaks(3, 2),)),
    "removed": (joined([A, C, D]), (breaks(2, 1),)),
    "removed, the first": (joined([B, C, D]), (breaks(1, 0),)),
    "removed, and the last line's end": (joined([A, C, D])[:-1], (breaks(2, 1),)),
    "removed, the last but one, and the end": (joined([A, C])[:-1], (breaks(2, 1),)),
    "removed, all but the last, and the end": (D, (breaks(1, 0),)),
    "added, the same": (joined([A, B, B, C, D]), (breaks(3, 2),)),
    "added, with the next number": (joined([*LINES, replace(FULL, sequence=5, sealed=None).line()]), (breaks(5, 4),)),
    "added, with the right hash": (
        joined([*LINES, replace(FULL, sealed=None, previous=hash_of(D)).line()]),
        (breaks(5, 4),),
    ),
    "swapped": (joined([A, C, B, D]), (breaks(2, 1), breaks(3, 2), breaks(4, 3))),
    "unreadable": (joined([A, TORN, C, D]), ("line 2 cannot be read", breaks(3, 1))),
    "unreadable, two lines": (joined([A, TORN, TORN, D]), ("lines 2 to 3 cannot be read", breaks(4, 1))),
    "unreadable, added": (joined([A, TORN, B, C]), ("line 2 cannot be read",)),
    "unreadable, added, and no end": (joined([A, TORN, B])[:-1], ("line 2 cannot be read",)),
    "unreadable, the last two": (joined([A, B, C[1:], D[1:]]), ("lines 3 to 4 cannot be read",)),
    "blank": (joined([A, B, b"", C]), ("line 3 cannot be read",)),
    "CRLF": (joined(LINES).replace(b"\n", b"\r\n"), (breaks(2, 1), breaks(3, 2), breaks(4, 3))),
    "sealed, and gone": (joined(CLOSED), ("line 2: what it closed off is gone",)),
    "sealed, and changed": (joined([A, TORN[:-1], *CLOSED[1:]]), ("line 2 cannot be read",)),
    "sealed, and more of it": (joined([A, TORN, TORN, *CLOSED[1:]]), ("lines 2 to 3 cannot be read",)),
    "sealed, and less of it": (joined([A, TORN, *CLOSED_TWICE[1:]]), ("line 2 cannot be read",)),
    "a clock that went back": (
        joined(chain(*some(4), second=[9, 9, 8, 8].__getitem__)),
        ("line 3 is of an earlier time than line 2",),
    ),
}
"""What is in a log, and what is said of it."""


class TestRead:
    """What the chain shows, and what it cannot show."""

    def test_nothing(self) -> None:
        """A log without a record."""
        assert read(b"") == Log()
        assert read(b"").last is None

    def test_every_record(self) -> None:
        """In order, each with its hash."""
        log = read(joined(LINES))
        entries = tuple(record for line in LINES if (record := parse_record(line)))
        assert log == Log(entries)
        assert len(entries) == 4
        assert log.last == entries[-1]
        assert entries[-1].as_dict() == json.loads(LINES[3]) | {"hash": hash_of(LINES[3])}

    @pytest.mark.parametrize(("content", "damage"), DAMAGE.values(), ids=DAMAGE)
    def test_damage(self, content: bytes, damage: tuple[str, ...]) -> None:
        """Each kind of it, alone, is damage, and nothing that a cut write could have left."""
        log = read(content)
        assert (log.damage, log.sealed, log.torn) == (damage, (), None)

    def test_damage_hides_no_record(self) -> None:
        """Whatever can be read is shown."""
        log = read(joined([LINES[0], TORN, *LINES[2:]]))
        assert [entry.hash for entry in log.records] == [hash_of(LINES[line]) for line in (0, 2, 3)]

    def test_the_end_is_not_proved(self) -> None:
        """A log less its last records verifies, as one to which they were not yet appended."""
        assert read(joined(LINES[:2])) == Log(read(joined(LINES)).records[:2])

    def test_records_of_the_same_second(self) -> None:
        """They are not out of order."""
        assert read(joined(chain(*some(3), second=lambda _: 0))).damage == ()

    @pytest.mark.parametrize(
        ("torn", "what"),
        [(TORN, "line 2"), (TORN + b"\n" + TORN, "lines 2 to 3"), (b"", "line 2"), (b"\n\0", "lines 2 to 3")],
    )
    def test_what_was_closed_off(self, torn: bytes, what: str) -> None:
        """It is a note, and no damage."""
        first, *rest = chain(*some(1), seal(torn), *some(1))
        log = read(joined([first, torn, *rest]))
        assert (log.damage, log.torn, len(log.records)) == ((), None, 3)
        assert log.sealed == (f"{what}: a write was cut here; record 2 closed it off",)

    @pytest.mark.parametrize(
        "end",
        [
            b"\n",
            b"\n\n",
            b" ",
            b"\0" * 4096,
            b"{",
            FIFTH[:20],
            FIFTH[:-1],
            FIFTH[:-9] + b"\n",
            b"\r\n",
            FIFTH[:15] + b"\0" * 9,
        ],
        ids=range(10),
    )
    def test_a_torn_end(self, end: bytes) -> None:
        """What a cut write of the next record may have left there is left to be closed off."""
        log = read(joined(LINES) + end)
        assert (log.records, log.damage, log.sealed) == (read(joined(LINES)).records, (), ())
        assert (log.torn, log.unended) == (end.removesuffix(b"\n"), not end.endswith(b"\n"))

    @pytest.mark.parametrize("end", [b"\xff\xfe", b"}", b"null\n", b"[]", LINES[3][:-1], FIFTH[1:]], ids=range(6))
    def test_an_end_that_no_write_has_left(self, end: bytes) -> None:
        """It was changed, and nothing is closed off."""
        log = read(joined(LINES) + end)
        assert (log.damage, log.torn) == (("line 5 cannot be read",), None)

    def test_a_whole_log_that_cannot_be_read(self) -> None:
        """That is no write that was cut: such a log is not gone on with as if it were new."""
        content = joined(LINES).decode().encode("utf-16")
        assert read(content).damage != ()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log is, or is to be."""
    return tmp_path / "log.jsonl"


class TestAppend:
    """What is appended is in the log, and what was in it is as it was."""

    def test_a_new_log(self, path: Path) -> None:
        """The first record begins it."""
        before = datetime.now(UTC).replace(microsecond=0)
        (entry,) = append(path, *some(1))
        assert (entry.sequence, entry.previous) == (1, None)
        assert before <= entry.recorded_at <= datetime.now(UTC)
        assert (entry.recorded_at.microsecond, entry.operator) == (0, "operator 0")
        assert path.read_bytes() == joined([entry.line()])
        assert acknowledged(load(str(path)).records) == acknowledged([entry])

    @posix_only
    @pytest.mark.parametrize(("umask", "mode"), [(0, 0o660), (0o022, 0o640), (0o077, 0o600)])
    def test_whose_a_new_log_is(self, path: Path, umask: int, mode: int) -> None:
        """Its owner's, and the group's where the umask lets it; never others'."""
        before = os.umask(umask)
        try:
            append(path, *some(1))
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_several_records(self, path: Path) -> None:
        """They follow each other, and what was there stands before them, byte by byte."""
        path.write_bytes(joined(LINES))
        told = append(path, *some(2)) + append(path, *some(1))
        log = load(str(path))
        assert acknowledged(log.records) == [*acknowledged(read(joined(LINES)).records), *acknowledged(told)]
        assert [entry.operator for entry in told] == ["operator 0", "operator 1", "operator 0"]
        assert (log.damage, log.sealed, log.torn) == ((), (), None)
        assert path.read_bytes().startswith(joined(LINES))

    def test_no_record(self, path: Path) -> None:
        """Nothing to append is nothing appended."""
        path.write_bytes(joined(LINES))
        assert append(path) == ()
        assert path.read_bytes() == joined(LINES)

    def test_twice_while_it_is_open(self, path: Path) -> None:
        """The second record follows the first."""
        with opened(str(path)) as log:
            told = log.append(some(1)) + log.append(some(1))
        found = load(str(path))
        assert (found.damage, acknowledged(found.records)) == ((), acknowledged(told))

    def test_one_write_and_it_is_on_the_disk(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who is told that a record stands there need not fear for it; the head file follows it."""
        path.write_bytes(joined(LINES))
        done: list[str] = []

        def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any) -> Any:
                done.append(name)
                return real(*given)

            return call

        for name in ("write", "fsync"):
            monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
        monkeypatch.setattr(operations_log, "prepared_file", noting("head", files.prepared_file))
        append(path, *some(3))
        assert done[:3] == ["write", "fsync", "head"]

    @pytest.mark.parametrize(
        "before",
        [joined(LINES[:2]), b"", joined(LINES[:1]) + TORN, joined(LINES[:1]) + TORN + b"\n" + TORN, LINES[0]],
        ids=["whole", "empty", "torn", "torn twice", "without its end"],
    )
    def test_a_write_that_is_cut_anywhere(self, path: Path, before: bytes) -> None:
        """Whatever part of it is there, the next record closes off what is no record, and every whole one stays.

        Of a seal, of a record, and between them; where all but the line's end is there, nothing is missing.
        """
        path.write_bytes(before)
        append(path, *some(2))
        written = path.read_bytes().removeprefix(before)
        for size in range(len(written) + 1):
            cut = before + written[:size]
            path.write_bytes(cut)
            head_of(path).unlink(missing_ok=True)
            left = read(cut)
            assert left.damage == ()
            told = append(path, *some(1))
            log = load(str(path))
            assert path.read_bytes().startswith(cut)
            assert (log.damage, log.torn, log.records[: len(left.records)]) == ((), None, left.records)
            assert acknowledged(log.records[len(left.records) :]) == acknowledged(told)
            assert [entry.event for entry in told] == [Event.SEALED] * (left.torn is not None) + [Event.ROTATED]
            assert len(log.sealed) == len(left.sealed) + (left.torn is not None)

    def test_every_prefix_of_a_line_is_torn(self) -> None:
        """Only a line that is whole is a record, with its end or without."""
        for size in range(1, len(LINES[3])):
            log = read(joined(LINES[:3]) + LINES[3][:size])
            assert (log.torn, log.damage, len(log.records)) == (LINES[3][:size], (), 3)
        log = read(joined(LINES)[:-1])
        assert (log.torn, log.damage, len(log.records), log.unended) == (None, (), 4, True)

    @pytest.mark.parametrize("name", DAMAGE)
    def test_nothing_is_appended_to_a_damaged_log(self, path: Path, name: str) -> None:
        """It is evidence, and stays as it is."""
        content, damage = DAMAGE[name]
        path.write_bytes(content)
        expected = (
            f"it does not verify ({damage[0]}): keep it under another name, as evidence and for --known; the next"
            " record begins a new one"
        )
        with pytest.raises(FileError) as caught:
            append(path, *some(1))
        assert (str(caught.value), path.read_bytes()) == (expected, content)

    def test_a_clock_that_went_back(self, path: Path) -> None:
        """What comes after a record is not earlier: it is said what the clock says, and since when it is wrong."""
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        (line,) = chain(*some(1), second=lambda _: int((later - EARLIEST_CLOCK).total_seconds()))
        path.write_bytes(joined([line]))
        with pytest.raises(
            FileError, match=rf"\Athe clock says \S+Z, and it cannot be before {iso_utc(later)}: set it, or if"
        ):
            append(path, *some(1))
        assert path.read_bytes() == joined([line])

    def test_a_clock_that_was_never_set(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No log begins before there was this library."""
        monkeypatch.setattr(operations_log, "EARLIEST_CLOCK", datetime.max.replace(tzinfo=UTC))
        with pytest.raises(FileError, match="and it cannot be before 9999-12-31T23:59:59Z: set it"):
            append(path, *some(1))
        assert path.read_bytes() == b""


@contextlib.contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file be written beyond a size."""
    import resource  # noqa: PLC0415 - it is POSIX's

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FIFO, OTHERS, LINK, LARGE = (
    "it is not a regular file",
    "others may have changed it or put it there: it is writable by others",
    "it is a link, and nothing is read or written through one",
    f"it is full, with {MAX_LOG_BYTES} bytes: keep it under another name; the next record begins a new one",
)


def _others_may_write(path: Path) -> None:
    path.write_bytes(joined(LINES))
    path.chmod(0o602)


def _is_sparse(path: Path) -> None:
    path.write_bytes(joined(LINES))
    os.truncate(path, operations_log.MAX_LOG_BYTES + 1)


def _is_a_link(path: Path) -> None:
    path.with_name("target").write_bytes(joined(LINES))
    path.symlink_to("target")


UNFIT: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "directory": (os.mkdir, FIFO, FIFO),
    "FIFO": (lambda path: os.mkfifo(path), FIFO, FIFO),  # noqa: PLW0108 - where there is none, only this test fails
    "writable by others": (_others_may_write, OTHERS, OTHERS),
    "link": (_is_a_link, LINK, LINK),
    "dangling link": (lambda path: path.symlink_to("nowhere"), LINK, LINK),
    "too large": (_is_sparse, LARGE, LARGE),
}
"""How it is made, and what is said where it is read and where it is appended to."""


def seen(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return what would show that a file of a directory was written, replaced or made."""
    status = {path.name: path.lstat() for path in directory.iterdir()}
    return {name: (each.st_ino, each.st_mode, each.st_size, each.st_mtime_ns) for name, each in status.items()}


UNPRIVILEGED = """
import atexit, os
from robodj_secretguard.lifecycle.operations_log import FileError, load, opened
from robodj_secretguard.shapes import Event, draft
os.chmod(".", 0o755)
os.mkdir("logs", 0o755)
open("unreadable", "wb").close()
os.chmod("unreadable", 0)
open("read-only", "wb").close()
os.chmod("read-only", 0o444)
os.chmod("logs", 0o555)
if os.geteuid() == 0:
    os.setgroups([])
    os.seteuid(65534)
    atexit.register(os.seteuid, 0)
def append(path):
    with opened(path) as log:
        log.append([draft(Event.ROTATED)])
for action, path in (load, "unreadable"), (append, "unreadable"), (append, "read-only"), (append, "logs/new"):
    try:
        action(path)
    except FileError as error:
        print(error)
print(os.listdir("logs"), os.path.getsize("read-only"))
"""


class TestFile:
    """Where the log is none, or not to be used: that is said in our words, without the path, and nothing changes."""

    def test_there_is_none(self, path: Path) -> None:
        """Reading makes none."""
        with pytest.raises(FileError, match=r"\Athere is none\Z"):
            load(str(path))
        assert not path.exists()

    @posix_only
    @pytest.mark.parametrize("name", UNFIT)
    def test_what_is_no_log(self, path: Path, name: str) -> None:
        """Whatever stands there."""
        make, said_of_reading, said_of_appending = UNFIT[name]
        make(path)
        before = seen(path.parent)
        with pytest.raises(FileError) as reading:
            load(str(path))
        with pytest.raises(FileError) as appending:
            append(path, *some(1))
        assert (str(reading.value), str(appending.value)) == (said_of_reading, said_of_appending)
        assert seen(path.parent) == before

    @posix_only
    def test_a_way_that_others_may_change(self, tmp_path: Path) -> None:
        """Nothing is made there, whatever they have put on the way."""
        (tmp_path / "config").mkdir()
        (tmp_path / "config").chmod(0o777)
        (tmp_path / "theirs").mkdir()
        (tmp_path / "config" / "logs").symlink_to(tmp_path / "theirs")
        with pytest.raises(FileError, match="others may put it there"):
            append(tmp_path / "config" / "logs" / "log.jsonl", *some(1))
        assert os.listdir(tmp_path / "theirs") == []

    @posix_only
    def test_a_directory_that_others_may_write(self, path: Path) -> None:
        """They may have put another log there: nothing is read, and nothing appended."""
        path.write_bytes(joined(LINES))
        path.parent.chmod(0o777)
        why = "others may have changed it or put it there: its directory is writable by others"
        for use in (lambda: load(str(path)), lambda: append(path, *some(1))):
            with pytest.raises(FileError, match=why):
                use()

    @posix_only
    def test_what_this_user_may_not_do(self, tmp_path: Path) -> None:
        """The system's reason is given."""
        ran = run(["-c", UNPRIVILEGED], env=clean_environment(), cwd=tmp_path)
        denied = f"it cannot be used: {os.strerror(errno.EACCES)}\n"
        assert (ran.status, ran.out, ran.err) == (0, f"{denied * 4}[] 0\n", "")

    def test_windows_modes_are_not_judged(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """They mean nothing there."""
        _others_may_write(path)
        pretend_windows(monkeypatch)
        monkeypatch.setattr("robodj_secretguard.textfile.POSIX", False)
        assert load(str(path)) == read(joined(LINES))

    def test_windows(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """There too, one record follows the other, and a second process waits for the first."""
        pretend_windows(monkeypatch)
        told = append(path, *some(1)) + append(path, *some(1))
        log = load(str(path))
        assert (log.damage, acknowledged(log.records)) == ((), acknowledged(told))
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        with opened(str(path)), pytest.raises(FileError, match="another process"):
            append(path, *some(1))

    def test_the_largest(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What may be appended can be read again."""
        path.write_bytes(joined(LINES))
        size = path.stat().st_size
        monkeypatch.setattr(operations_log, "MAX_LOG_BYTES", size)
        assert load(str(path)) == read(joined(LINES))
        with contextlib.suppress(FileError):
            append(path, *some(1))
        assert load(str(path)).damage == ()

    def test_another_process_holds_it(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is waited for, then nothing is appended; reading does not wait."""
        path.write_bytes(joined(LINES))
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        with open(path, "rb") as other, locked(other.fileno()):
            with pytest.raises(FileError, match=r"\Aanother process does not let go of it: try again\Z"):
                append(path, *some(1))
            assert load(str(path)) == read(joined(LINES))
        assert path.read_bytes() == joined(LINES)

    @posix_only
    @pytest.mark.parametrize("new", [None, b"", joined(LINES)], ids=["nothing", "empty", "another"])
    def test_it_is_moved_away_while_it_is_waited_for(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, new: bytes | None
    ) -> None:
        """Nothing is appended to what is no longer the log."""
        path.write_bytes(joined(LINES[:2]))
        away = path.with_name("evidence")
        with contextlib.ExitStack() as other:
            other.enter_context(locked(other.enter_context(open(path, "rb")).fileno()))

            def move(_seconds: float) -> None:
                path.rename(away)
                if new is not None:
                    path.write_bytes(new)
                other.close()

            monkeypatch.setattr(time, "sleep", move)
            with pytest.raises(FileError, match=r"\Ait was moved away just now: try again\Z"):
                append(path, *some(1))
        assert away.read_bytes() == joined(LINES[:2])
        assert (path.read_bytes() if path.exists() else None) == new

    @posix_only
    @pytest.mark.parametrize("size", [1, 100])
    def test_no_room_for_all_of_it(self, path: Path, size: int) -> None:
        """It is said that the record is not there, and the next one closes off what is."""
        path.write_bytes(joined(LINES))
        with room(path.stat().st_size + size), pytest.raises(FileError, match="No space left on device"):
            append(path, *some(1))
        assert load(str(path)).records == read(joined(LINES)).records
        append(path, *some(1))
        log = load(str(path))
        assert (log.damage, log.torn, log.records[:4]) == ((), None, read(joined(LINES)).records)

    @posix_only
    def test_no_room_for_any_of_it(self, path: Path) -> None:
        """The log is as it was."""
        path.write_bytes(joined(LINES))
        with (
            room(path.stat().st_size),
            pytest.raises(FileError, match=rf"\Ait cannot be used: {os.strerror(errno.EFBIG)}\Z"),
        ):
            append(path, *some(1))
        assert path.read_bytes() == joined(LINES)


def continued(*records: Record, after: Head) -> list[bytes]:
    """Write records as the lines of a log that continues an earlier file."""
    lines: list[bytes] = []
    for number, record in enumerate([draft(Event.CONTINUED), *records], start=after.sequence + 1):
        previous = hash_of(lines[-1]) if lines else after.hash
        at = EARLIEST_CLOCK + timedelta(seconds=number)
        lines.append(replace(record, sequence=number, recorded_at=at, previous=previous).line())
    return lines


EARLIER = Head(sequence=4, hash=hash_of(D))
CONTINUED = continued(*some(2), after=EARLIER)


class TestContinued:
    """A log that goes on after the last record of an earlier file."""

    def test_it_is_read(self) -> None:
        """A first record of that event may have any number after the first, and says where it goes on."""
        log = read(joined(CONTINUED))
        assert (log.damage, log.torn, log.continues) == ((), None, EARLIER)
        assert [entry.sequence for entry in log.records] == [5, 6, 7]
        assert find(log, hash_of(CONTINUED[2])) == 7
        assert find(log, EARLIER.hash) is None

    def test_both_files_are_one_log(self) -> None:
        """The earlier file and the later one verify as one."""
        log = read(joined(LINES + CONTINUED))
        assert (log.damage, len(log.records), log.continues) == ((), 7, None)

    @pytest.mark.parametrize(
        "fields",
        [
            {"sequence": 1},
            {"sequence": 1, "previous": None},
            {"previous": None},
            {"event": Event.ROTATED},
            {"event": Event.SEALED},
        ],
        ids=range(5),
    )
    def test_another_first_record(self, fields: dict[str, Any]) -> None:
        """It is damage, and continues nothing."""
        (record,) = read(joined(CONTINUED[:1])).records
        log = read(joined([replace(record, **fields).line()]))
        assert (log.damage, log.continues) == ((breaks(1, 0),), None)

    @pytest.mark.parametrize("size", range(len(CONTINUED[0])))
    def test_a_cut_first_record(self, path: Path, size: int) -> None:
        """The next append closes it off in the record that continues the earlier file."""
        path.write_bytes(CONTINUED[0][:size])
        head_of(path).write_bytes(EARLIER.line())
        told = append(path, *some(1))
        assert [entry.event for entry in told] == [Event.CONTINUED, Event.ROTATED]
        log = load(str(path))
        assert (log.damage, log.torn, log.continues, len(log.sealed)) == ((), None, EARLIER, size > 0)

    @pytest.mark.parametrize("how", ["truncated", "moved", "moved and made anew"])
    def test_numbers_go_on(self, path: Path, how: str) -> None:
        """After a rotation of either kind the chain goes on where the earlier file ends."""
        earlier = append(path, *some(3))
        if how == "truncated":
            os.truncate(path, 0)
        else:
            path.rename(path.with_name("log.jsonl.1"))
        if how == "moved and made anew":
            path.touch(0o600)
        begun, told = append(path, *some(1))
        assert (begun.event, begun.sequence, begun.previous) == (
            Event.CONTINUED,
            4,
            earlier[-1].hash,
        )
        assert (told.event, told.sequence, told.previous) == (Event.ROTATED, 5, begun.hash)
        log = load(str(path))
        assert (log.damage, acknowledged(log.records)) == ((), acknowledged([begun, told]))


class TestHead:
    """The head file: the last record that was acknowledged, beside the log."""

    def head(self, path: Path) -> object:
        return json.loads(head_of(path).read_bytes())

    def test_its_content(self, path: Path) -> None:
        """One line of JSON, of the log's own mode."""
        append(path, *some(2))
        path.chmod(0o640)
        *_, last = append(path, *some(1))
        assert self.head(path) == {"schema": 1, "sequence": 3, "hash": last.hash}
        assert head_of(path).read_bytes().count(b"\n") == 1
        assert stat.S_IMODE(head_of(path).stat().st_mode) == 0o640
        assert sorted(os.listdir(path.parent)) == ["log.jsonl", "log.jsonl.head"]

    @pytest.mark.parametrize(("number", "said"), [(5, "record 5 is"), (9, "records 5 to 9 are")])
    def test_it_is_ahead(self, path: Path, number: int, said: str) -> None:
        """The records that are gone are named, and nothing is appended."""
        path.write_bytes(joined(LINES))
        head_of(path).write_bytes(Head(sequence=number, hash=hash_of(FIFTH)).line())
        assert load(str(path)).damage == (f"{said} missing: the head file names {hash_of(FIFTH)} as the last record",)
        with pytest.raises(FileError, match=rf"\Ait does not verify \({said} missing"):
            append(path, *some(1))
        assert path.read_bytes() == joined(LINES)

    @pytest.mark.parametrize("sequence", [4, 2])
    def test_a_record_was_changed(self, path: Path, sequence: int) -> None:
        """A record of the head's number with another hash is damage, wherever it stands."""
        path.write_bytes(joined(LINES))
        head_of(path).write_bytes(Head(sequence=sequence, hash=hash_of(FIFTH)).line())
        assert load(str(path)).damage == (f"record {sequence} was changed: the head file names it as {hash_of(FIFTH)}",)

    def test_the_last_record_was_changed(self, path: Path) -> None:
        """The chain alone does not show that."""
        append(path, *some(2))
        path.write_bytes(path.read_bytes().replace(b"operator 1", b"operator 9"))
        assert read(path.read_bytes()).damage == ()
        (damage,) = load(str(path)).damage
        assert damage.startswith("record 2 was changed: ")

    def test_it_is_behind(self, path: Path) -> None:
        """A crash between the two writes leaves that."""
        append(path, *some(1))
        head = head_of(path).read_bytes()
        append(path, *some(1))
        head_of(path).write_bytes(head)
        assert load(str(path)).damage == ()
        *_, last = append(path, *some(1))
        assert self.head(path) == {"schema": 1, "sequence": 3, "hash": last.hash}

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"null",
            b"\xff",
            EARLIER.line()[:-1],
            EARLIER.line().replace(b'"schema":1', b'"schema":2'),
            EARLIER.line().replace(b"4", b"0", 1),
            EARLIER.line().replace(b"sha256", b"sha1"),
            EARLIER.line().replace(b"{", b'{"more":1,'),
            EARLIER.line() + b" " * 1024 + b"x",
        ],
        ids=range(9),
    )
    def test_it_is_malformed(self, path: Path, content: bytes) -> None:
        """It is ignored, and replaced by the next append."""
        head_of(path).write_bytes(content)
        if not content.endswith(b"x"):
            assert append(path, *some(1))[0].sequence == 1
            assert self.head(path) == {"schema": 1, "sequence": 1, "hash": load(str(path)).records[0].hash}
        else:  # what follows the line is not read
            assert append(path, *some(1))[0].event is Event.CONTINUED

    @posix_only
    def test_others_may_write_it(self, path: Path) -> None:
        """It is ignored: it could be anybody's."""
        head_of(path).write_bytes(EARLIER.line())
        head_of(path).chmod(0o602)
        assert append(path, *some(1))[0].sequence == 1
        assert stat.S_IMODE(head_of(path).stat().st_mode) == stat.S_IMODE(path.stat().st_mode)

    @posix_only
    def test_a_link(self, path: Path) -> None:
        """It is neither read nor written through: the next append replaces it."""
        target = path.with_name("target")
        target.write_bytes(EARLIER.line())
        head_of(path).symlink_to(target)
        assert append(path, *some(1))[0].sequence == 1
        assert (head_of(path).is_symlink(), target.read_bytes()) == (False, EARLIER.line())

    def test_it_cannot_be_written(self, path: Path) -> None:
        """The record is there all the same."""
        head_of(path).mkdir()
        (told,) = append(path, *some(1))
        assert acknowledged(load(str(path)).records) == acknowledged([told])


class TestCopytruncate:
    """logrotate's copytruncate copies the log and truncates it, without its lock, at any moment of an append."""

    def rotate(self, path: Path) -> Path:
        """Copy and truncate, through another descriptor."""
        copy = path.with_name("log.jsonl.1")
        with open(path, "rb+") as file:
            copy.write_bytes(file.read())
            file.truncate(0)
        return copy

    def refused(self, path: Path) -> None:
        """Append while the log is truncated, which must be refused."""
        with pytest.raises(FileError) as caught:
            append(path, *some(1))
        assert str(caught.value) == (
            "another program truncated or changed it just now (logrotate's copytruncate?): try again"
        )
        assert path.read_bytes() == b""

    def goes_on(self, path: Path, last: Record) -> None:
        """Append again, and make sure that the log goes on after its last record."""
        begun, _ = append(path, *some(1))
        assert (begun.event, begun.previous) == (Event.CONTINUED, last.hash)
        assert load(str(path)).damage == ()

    def test_before_the_size_is_compared(self, path: Path) -> None:
        """Nothing is written to what is not what was read."""
        *_, last = append(path, *some(2))
        with opened(str(path)) as log:
            copy = self.rotate(path)
            with pytest.raises(ChangedError):
                log.append(some(1))
        assert path.read_bytes() == b""
        self.goes_on(path, last)
        assert find(read(copy.read_bytes()), last.hash) == 2

    @pytest.mark.parametrize("call", ["write", "fsync"])
    def test_before_or_after_the_write(self, path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        """What was written at the beginning of an empty file is taken back, and no record is acknowledged."""
        *_, last = append(path, *some(2))
        real = getattr(os, call)

        def truncated(*arguments: Any) -> Any:
            monkeypatch.undo()
            self.rotate(path)
            return real(*arguments)

        monkeypatch.setattr(os, call, truncated)
        self.refused(path)
        self.goes_on(path, last)

    @pytest.mark.parametrize("moment", ["before the head", "after the head"])
    def test_an_acknowledged_record_is_lost(self, path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
        """The next record continues after it, and the earlier file does not have it: that is the gap."""
        append(path, *some(2))
        copy = path.with_name("log.jsonl.1")
        copy.write_bytes(path.read_bytes())
        if moment == "before the head":
            real = files.prepared_file

            def truncated(*arguments: Any) -> Any:
                monkeypatch.undo()
                os.truncate(path, 0)
                return real(*arguments)

            monkeypatch.setattr(operations_log, "prepared_file", truncated)
        (lost,) = append(path, *some(1))
        os.truncate(path, 0)
        assert load(str(path)).continues == Head(sequence=3, hash=lost.hash)
        self.goes_on(path, lost)
        assert find(read(copy.read_bytes()), lost.hash) is None

    def test_a_short_write(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the log is truncated before a failed write is taken back, the file is not made longer again."""
        *_, last = append(path, *some(2))
        real = os.write

        def cut(descriptor: int, content: bytes) -> int:
            monkeypatch.undo()
            written = real(descriptor, content[:9])
            self.rotate(path)
            return written

        monkeypatch.setattr(os, "write", cut)
        with pytest.raises(FileError, match="No space left on device"):
            append(path, *some(1))
        assert path.read_bytes() == b""
        self.goes_on(path, last)

    def test_a_reader_meanwhile(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A record that is about to be taken back is no damage: a reader waits for the writer, and reads again."""
        *_, last = append(path, *some(2))
        (record,) = some(1)
        misplaced = replace(record, sequence=3, recorded_at=last.recorded_at, previous=last.hash).line()
        path.write_bytes(joined([misplaced]))
        with contextlib.ExitStack() as other:
            other.enter_context(locked(other.enter_context(open(path, "rb+")).fileno()))

            def take_back(_seconds: float) -> None:
                os.truncate(path, 0)
                other.close()

            monkeypatch.setattr(time, "sleep", take_back)
            log = load(str(path))
        assert (log.damage, log.records) == ((), ())


SEALED = joined([CLOSED[0], TORN, *CLOSED[1:]])
_pieces = st.one_of(
    st.sampled_from([*LINES, *CLOSED, b"", b"null", b"\0", b"\r"]),
    st.builds(lambda line, size: line[:size], st.sampled_from([*LINES, *CLOSED]), st.integers(0, len(LINES[1]))),
    st.binary(max_size=20),
)
_tails = st.lists(st.tuples(_pieces, st.sampled_from([b"\n", b"", b"\r\n"])), max_size=5).map(
    lambda pieces: b"".join(piece + end for piece, end in pieces)
)
CONTENTS = st.builds(
    lambda begin, tail: begin + tail,
    st.sampled_from([b"", *(joined(LINES[:count]) for count in range(1, 5)), SEALED, SEALED[:-1]]),
    _tails | st.binary(max_size=300),
)


@pytest.fixture(scope="module")
def any_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each content is put in its turn."""
    return tmp_path_factory.mktemp("any") / "log.jsonl"


class TestAnyContent:
    """Whatever stands in the file."""

    @settings(max_examples=300)
    @given(content=CONTENTS)
    def test_a_record_is_refused_or_follows(self, any_path: Path, content: bytes) -> None:
        """Reading never fails, and after an append all is as it was, or every record is there and the log verifies."""
        before = read(content)
        any_path.write_bytes(content)
        head_of(any_path).unlink(missing_ok=True)
        try:
            told = append(any_path, *some(1))
        except FileError:
            assert (any_path.read_bytes(), bool(before.damage)) == (content, True)
            return
        after = load(str(any_path))
        assert any_path.read_bytes().startswith(content)
        assert (before.damage, after.damage, after.torn) == ((), (), None)
        assert after.records[: len(before.records)] == before.records
        assert acknowledged(after.records[len(before.records) :]) == acknowledged(told)
