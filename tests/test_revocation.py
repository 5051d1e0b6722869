"""The revocation list: where it is, what is an entry of it, and when it cannot be relied on."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest
from command_line import report_json, report_text
from conftest import NOW, V1, Checker, found, good_keys, listed
from detector import leaks
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard import Report, Severity, check
from robodj_secretguard.material import fingerprint, is_fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import MAX_LIST_BYTES, entries_in, entries_of, revocation_list
from robodj_secretguard.textfile import TextFile

if TYPE_CHECKING:
    from pathlib import Path

NAME = "revoked.fingerprints"
SOURCE = f"file:config/{NAME}"
VARIABLE = "ROBODJ_REVOKED_FINGERPRINTS"
PLACE = f"{NAME} in the configured directory"

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes, FIFOs and links are POSIX's")


def revoked() -> str:
    """Make the fingerprint of a key that no other test has."""
    return fingerprint(SealedStr(secrets.token_urlsafe(32)))


def spelt(text: str) -> str:
    """Write a list of two fingerprints, `{a}` and `{b}`, or of the first in upper case, `{A}`."""
    first = revoked()
    return text.format(a=first, b=revoked(), A=first.upper())


def unreadable(report: Report) -> list[str]:
    """Say which entries cannot be read, where that is all that is wrong."""
    beginning, of_the_file = " that are not fingerprints: ", ", comments and blank lines not counted"
    assert {(str(finding.check), finding.secret) for finding in report.findings} <= {("revocation-list", None)}
    said = [finding.message.partition(beginning)[2].removesuffix(".") for finding in report.findings]
    assert [each.endswith(of_the_file) for each in said] == [each.source == SOURCE for each in report.findings]
    return [each.removesuffix(of_the_file) for each in said]


class TestForm:
    """What is a fingerprint."""

    def test_as_the_library_writes_it(self) -> None:
        """That of any key is one."""
        assert all(is_fingerprint(fingerprint(SealedStr(key))) for key in good_keys().values())

    @pytest.mark.parametrize(
        "spoil",
        [
            str.upper,
            str.title,
            lambda text: text[:-1],
            lambda text: f"{text}0",
            lambda text: f"{text[:-1]}g",
            lambda text: f"{text[:-1]}F",
            lambda text: f"{text[:-1]}\N{FULLWIDTH DIGIT ONE}",
            lambda text: f"{text}\n",
            lambda text: f" {text}",
            lambda text: text.removeprefix("sgfp1:"),
            lambda text: text.replace("sgfp1", "sgfp2"),
            lambda text: text.replace(":", ": "),
            lambda text: text * 2,
            lambda _: "",
        ],
        ids=range(14),
    )
    def test_what_is_none(self, spoil: object) -> None:
        """Anything else is none."""
        assert callable(spoil)
        assert not is_fingerprint(spoil(revoked()))


class TestEntriesOfTheFile:
    """What is an entry of the file."""

    @pytest.mark.parametrize(
        ("content", "entries"),
        [
            ("", 0),
            ("\n \t\n\r\n", 0),
            ("# {a}\n  # {b}\r\n#", 0),
            ("\ufeff", 0),
            ("{a}", 1),
            ("{a}\n", 1),
            ("\ufeff{a}\n", 1),
            ("  {a}\t \n", 1),
            ("{a}\n{a}\n", 1),
            ("{a} # leaked\n", 1),
            ("{a}\t#", 1),
            ("{a}# {b} is another one\n", 1),
            ("{a}\n{b}", 2),
            ("# why\r\n{a}\r\n\r\n{b}\t# why\r\n", 2),
        ],
    )
    def test_what_can_be_read(self, checker: Checker, content: str, entries: int) -> None:
        """One to a line; blanks, comments, a byte-order mark and Windows line ends do not matter."""
        checker.write(NAME, spelt(content))
        report = checker(good_keys())
        assert found(report) == []
        assert listed(report) == ((SOURCE,), entries)

    @pytest.mark.parametrize(
        ("content", "said", "entries"),
        [
            ("{A}", "entry 1", 0),
            ("{a} {b}", "entry 1", 0),
            ("{a},{b}", "entry 1", 0),
            ("{a}\r{b}", "entry 1", 0),
            ("{a}\0", "entry 1", 0),
            ("secret.key: {a}", "entry 1", 0),
            ("{a} leaked", "entry 1", 0),
            ("{a}\n\f\n", "entry 2", 1),
            ("# {b}\n\n{a}\nwrong\n\n# {b}\n{b} # why\nwrong # why\n", "entries 2, 4", 2),
        ],
    )
    def test_what_cannot_be_read(self, checker: Checker, content: str, said: str, entries: int) -> None:
        """A line that is anything else is an alert, by its number among the entries; the others count."""
        checker.write(NAME, spelt(content))
        report = checker(good_keys())
        assert unreadable(report) == [said]
        assert report.findings[0].source == SOURCE
        assert listed(report) == ((SOURCE,), entries)

    def test_no_file(self, checker: Checker) -> None:
        """Without one there is no list, and nothing is wrong."""
        report = checker(good_keys())
        assert found(report) == []
        assert listed(report) == ((), 0)


class TestEntriesOfTheVariable:
    """What is an entry of the variable."""

    @pytest.mark.parametrize(
        ("value", "entries"),
        [
            ("{a}", 1),
            ("{a},{a}", 1),
            ("{a},{b}", 2),
            ("{a} {b}", 2),
            ("{a}\n{b}\n", 2),
            (" {a} ,\t{b}\r\n", 2),
            (",,{a}, ,{b},", 2),
            ("\x0b{a}\xa0{b}\u2028", 2),
            (" , \n", 0),
        ],
    )
    def test_what_can_be_read(self, checker: Checker, value: str, entries: int) -> None:
        """Commas and blanks separate entries, as many as there are, and may stand before and after them."""
        report = checker(good_keys() | {VARIABLE: spelt(value)})
        assert found(report) == []
        assert listed(report) == (("environment",), entries)

    @pytest.mark.parametrize(
        ("value", "said", "entries"),
        [
            ("none", "entry 1", 0),
            ("{A}", "entry 1", 0),
            ("{a};{b}", "entry 1", 0),
            ('"{a}"', "entry 1", 0),
            ("{a}#", "entry 1", 0),
            ("{a},wrong,,{b} wrong", "entries 2, 4", 2),
            ("{a} # why", "entries 2, 3", 1),
        ],
    )
    def test_what_cannot_be_read(self, checker: Checker, value: str, said: str, entries: int) -> None:
        """Anything else, comments too, is an alert, by its number; the others count."""
        report = checker(good_keys() | {VARIABLE: spelt(value)})
        assert unreadable(report) == [said]
        assert report.findings[0].source == "environment"
        assert listed(report) == (("environment",), entries)

    def test_an_empty_one_is_unset(self, checker: Checker) -> None:
        """It is no list."""
        report = checker(good_keys() | {VARIABLE: ""})
        assert found(report) == []
        assert listed(report) == ((), 0)


class TestBoth:
    """The variable adds to the file."""

    def test_what_is_in_one_of_them(self, checker: Checker) -> None:
        """An entry is in the list when it is in one of them, and is counted once when it is in both."""
        both, one, other = revoked(), revoked(), revoked()
        checker.write(NAME, f"{both}\n{one}\n")
        report = checker(good_keys() | {VARIABLE: f"{other},{both}"})
        assert found(report) == []
        assert listed(report) == ((SOURCE, "environment"), 3)

    def test_each_is_told_what_cannot_be_read(self, checker: Checker) -> None:
        """The file's first."""
        checker.write(NAME, f"wrong\n{revoked()}\nwrong\n")
        report = checker(good_keys() | {VARIABLE: f"{revoked()},wrong"})
        assert unreadable(report) == ["entries 1, 3", "entry 2"]
        assert [finding.source for finding in report.findings] == [SOURCE, "environment"]
        assert [finding.severity for finding in report.findings] == [Severity.ALERT] * 2

    @pytest.mark.parametrize("place", ["file", "variable"])
    @pytest.mark.parametrize("require_env_only", [False, True])
    def test_environment_only(self, checker: Checker, place: str, require_env_only: bool) -> None:  # noqa: FBT001
        """Where key files are ruled out the list is read as ever."""
        environ = good_keys()
        if place == "file":
            checker.write(NAME, "wrong")
        else:
            environ[VARIABLE] = "wrong"
        assert unreadable(checker(environ, require_env_only=require_env_only)) == ["entry 1"]

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (1, "entry 1"),
            (2, "entries 1, 2"),
            (5, "entries 1, 2, 3, 4, 5"),
            (6, "entries 1, 2, 3, 4, 5 and 1 more"),
            (40, "entries 1, 2, 3, 4, 5 and 35 more"),
        ],
    )
    def test_how_many_are_told(self, checker: Checker, wrong: int, said: str) -> None:
        """The first five, and how many more there are."""
        checker.write(NAME, "wrong\n" * wrong)
        assert unreadable(checker(good_keys() | {VARIABLE: "wrong," * wrong})) == [said, said]

    @pytest.mark.parametrize("shape", ["{}", "{} # {}", "secret.key={}", "sgfp1:{}"])
    def test_a_key_that_was_pasted(self, checker: Checker, shape: str) -> None:
        """Nothing of an entry that cannot be read is shown, nor of a comment: it may be the key itself."""
        key = secrets.token_urlsafe(32)
        checker.write(NAME, shape.replace("{}", key))
        report = checker(good_keys() | {VARIABLE: shape.replace("{}", key)})
        assert found(report) == [("revocation-list", None)] * 2
        texts = (report_text(report, passed=False, model="model: m:M"), report_json(report, passed=False, model={}))
        shown = f"{report!r}{''.join(texts)}"
        assert leaks(shown, [key]) == []

    @pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1e", "\x85", "\u2028", "\u2029"])
    @pytest.mark.parametrize("shape", ["# why{end}{a}", "{b} # why{end}{a}"])
    def test_an_entry_behind_another_kind_of_line_break(self, checker: Checker, end: str, shape: str) -> None:
        """What an editor shows as a line of its own is not passed over as a part of a comment: it cannot be read."""
        checker.write(NAME, shape.format(a=revoked(), b=revoked(), end=end) + "\n#\n")
        assert unreadable(checker(good_keys())) == ["entry 1"]

    def test_a_key_in_a_comment(self, checker: Checker) -> None:
        """It is no entry, and is not shown."""
        key = secrets.token_urlsafe(32)
        checker.write(NAME, f"# {key}\n{revoked()} # {key}\n")
        report = checker(good_keys())
        assert found(report) == []
        assert leaks(f"{report!r}{report_text(report, passed=True, model='model: m:M')}", [key]) == []

    @given(
        kinds=st.lists(st.sampled_from(["fingerprint", "wrong"])),
        between=st.text(" ,\t\r\n", min_size=1, max_size=4),
        around=st.text(" ,\t\r\n", max_size=3),
    )
    def test_every_entry_is_read_or_told(self, kinds: list[str], between: str, around: str) -> None:
        """Each is in the list or among those that cannot be read, however many there are and whatever is between."""
        entries = [revoked() if kind == "fingerprint" else "wrong" for kind in kinds]
        fingerprints = frozenset(entry for entry in entries if entry != "wrong")
        file = TextFile(exists=True, lines=tuple(map(SealedStr, entries)))
        in_file = revocation_list([file], None)
        assert (in_file.fingerprints, in_file.sources, entries_of(file)) == (fingerprints, (SOURCE,), entries)
        if entries:
            variable = SealedStr(f"{around}{between.join(entries)}{around}")
            in_variable = revocation_list([TextFile()], variable)
            assert (in_variable.fingerprints, in_variable.sources) == (fingerprints, ("environment",))
            assert entries_in(variable) == entries


class TestUnsafe:
    """A list that cannot be relied on: a revoked key could pass."""

    REPLACEABLE = "its directory is writable by others"

    @staticmethod
    def refused(checker: Checker, why: str, *, entries: int = 0) -> None:
        report = checker(good_keys())
        assert found(report) == [("revocation-list", None)]
        (finding,) = report.findings
        assert finding.message == f"The revocation list {PLACE} cannot be relied on: {why}."
        assert (finding.severity, finding.source) == (Severity.ALERT, SOURCE)
        assert listed(report) == ((SOURCE,), entries)
        assert all(status.fingerprint for status in report.secrets)

    @staticmethod
    def used(checker: Checker, *, entries: int = 1) -> None:
        report = checker(good_keys())
        assert found(report) == []
        assert listed(report) == ((SOURCE,), entries)

    @pytest.mark.parametrize(("size", "fits"), [(MAX_LIST_BYTES, True), (MAX_LIST_BYTES + 1, False)])
    def test_size(self, checker: Checker, size: int, fits: bool) -> None:  # noqa: FBT001
        """A list of 256 KiB is read, a larger one is not."""
        entry = revoked()
        checker.write(NAME, f"#{'-' * (size - len(entry) - 2)}\n{entry}")
        if fits:
            self.used(checker)
        else:
            self.refused(checker, "it is larger than 262144 bytes")

    @pytest.mark.parametrize("fingerprints", [108, 3000])
    def test_it_may_be_larger_than_a_key_file(self, checker: Checker, fingerprints: int) -> None:
        """4 KiB would be too few: they are a hundred fingerprints."""
        content = "".join(f"{revoked()}\n" for _ in range(fingerprints))
        assert len(content) > 4096
        checker.write(NAME, content)
        self.used(checker, entries=fingerprints)

    def test_utf_16(self, checker: Checker) -> None:
        """What PowerShell's > writes is said to be that."""
        checker.write(NAME, revoked().encode("utf-16"))
        self.refused(checker, "it is UTF-16, which PowerShell's > writes, and not UTF-8")

    def test_not_utf_8(self, checker: Checker) -> None:
        """Other bytes are refused."""
        checker.write(NAME, revoked().encode() + b"\n# \xff")
        self.refused(checker, "it is not UTF-8")

    @posix_only
    def test_not_a_regular_file(self, checker: Checker) -> None:
        """A directory, a FIFO without a writer and an endless device are refused, at once."""
        path = checker.config / NAME
        path.mkdir()
        self.refused(checker, "it is not a regular file")
        path.rmdir()
        os.mkfifo(path, 0o600)
        self.refused(checker, "it is not a regular file")
        path.unlink()
        path.symlink_to("/dev/zero")
        self.refused(checker, "it is not a regular file; it is writable by others")

    @posix_only
    def test_what_cannot_be_opened(self, checker: Checker) -> None:
        """A link to itself is refused."""
        (checker.config / NAME).symlink_to(NAME)
        self.refused(checker, "it cannot be read")

    @posix_only
    def test_a_directory_that_cannot_be_judged(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """What cannot be judged after it was opened is refused too."""
        (checker.config / NAME).symlink_to(checker.write("list", revoked()))

        def fail(_path: object) -> str:
            raise PermissionError

        monkeypatch.setattr("robodj_secretguard.textfile.os.readlink", fail)
        self.refused(checker, "it cannot be read")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_what_may_not_be_read(self, checker: Checker) -> None:
        """A list that this user may not read is refused."""
        checker.write(NAME, revoked(), 0o200)
        self.refused(checker, "it cannot be read")

    @posix_only
    def test_a_link_to_nothing(self, checker: Checker) -> None:
        """A mount whose target is gone is no list that is not there."""
        (checker.config / NAME).symlink_to("..data/revoked.fingerprints")
        self.refused(checker, "it is a link to a file that is not there")

    @posix_only
    def test_a_link_to_a_list(self, checker: Checker) -> None:
        """Kubernetes mounts are links: they are followed."""
        (checker.config / "..data").mkdir(mode=0o755)
        checker.write(f"..data/{NAME}", revoked())
        (checker.config / NAME).symlink_to(f"..data/{NAME}")
        self.used(checker)
        (checker.config / "..data").chmod(0o777)
        self.refused(checker, "a directory on the way to it is writable by others", entries=1)

    @posix_only
    @pytest.mark.parametrize(
        ("mode", "safe"), [(0o602, False), (0o646, False), (0o400, True), (0o644, True), (0o664, True)]
    )
    def test_writable_by_others(self, checker: Checker, mode: int, safe: bool) -> None:  # noqa: FBT001
        """Others could take an entry out of it; who may read it does not matter."""
        checker.write(NAME, revoked(), mode)
        if safe:
            self.used(checker)
        else:
            self.refused(checker, "it is writable by others", entries=1)

    @posix_only
    @pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o1777, True), (0o755, True)])
    def test_directory_writable_by_others(self, checker: Checker, mode: int, safe: bool) -> None:  # noqa: FBT001
        """Others could put another list in its place, unless the directory is sticky."""
        checker.write(NAME, revoked())
        checker.config.chmod(mode)
        if safe:
            self.used(checker)
        else:
            self.refused(checker, self.REPLACEABLE, entries=1)

    @posix_only
    def test_every_reason_is_told(self, checker: Checker) -> None:
        """In one finding."""
        checker.write(NAME, b"\xff", 0o666)
        checker.config.chmod(0o777)
        self.refused(checker, f"it is not UTF-8; it is writable by others; {self.REPLACEABLE}")

    @posix_only
    def test_what_is_in_it_is_told_too(self, checker: Checker) -> None:
        """That others can write it comes first, then what of it cannot be read; the revoked key is one in any case."""
        keys = good_keys()
        checker.write(NAME, f"wrong\n{fingerprint(SealedStr(keys[V1]))}\n", 0o666)
        report = checker(keys)
        assert found(report) == [("revocation-list", None), ("revocation-list", None), ("revoked", "secret.key")]
        assert "cannot be relied on" in report.findings[0].message
        assert "has lines that are not fingerprints: entry 1," in report.findings[1].message

    @posix_only
    def test_the_variable_counts_nevertheless(self, checker: Checker) -> None:
        """What the file would have said is not known, what the variable says is."""
        (checker.config / NAME).mkdir()
        keys = good_keys()
        report = checker(keys | {VARIABLE: fingerprint(SealedStr(keys[V1]))})
        assert found(report) == [("revocation-list", None), ("revoked", "secret.key")]
        assert listed(report) == ((SOURCE, "environment"), 1)

    def test_an_empty_file_that_others_can_write(self, checker: Checker) -> None:
        """It is a list that somebody may have emptied."""
        checker.write(NAME, "", 0o666)
        if os.name == "posix":
            self.refused(checker, "it is writable by others")
        else:
            self.used(checker, entries=0)

    def test_modes_are_not_judged_on_windows(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """POSIX modes mean nothing there."""
        monkeypatch.setattr("robodj_secretguard.textfile.POSIX", False)
        checker.write(NAME, revoked(), 0o666)
        self.used(checker)


class TestPlace:
    """Where it is looked for, and what is said of that."""

    def test_the_default_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is named as it is declared."""
        monkeypatch.chdir(tmp_path)
        assert listed(check(environ=good_keys(), now=NOW)) == ((), 0)
        (tmp_path / "config").mkdir(mode=0o700)
        Checker(tmp_path / "config").write(NAME, "wrong")
        report = check(environ=good_keys(), now=NOW)
        assert unreadable(report) == ["entry 1"]
        assert report.findings[0].message.startswith(f"The revocation list config/{NAME} has ")

    @pytest.mark.parametrize("named_by", ["variable", "argument"])
    def test_a_named_directory(self, tmp_path: Path, named_by: str) -> None:
        """It is the one that is read, and its path, which may be anything, is not shown."""
        named = secrets.token_urlsafe(32)
        (tmp_path / named).mkdir(mode=0o700)
        Checker(tmp_path / named).write(NAME, "wrong", 0o666)
        Checker(tmp_path / named).write(f"{NAME}.txt", "")
        path = str(tmp_path / named)
        environ = good_keys() | ({"ROBODJ_CONFIG_DIR": path} if named_by == "variable" else {})
        report = check(environ=environ, config_dir=path if named_by == "argument" else None, now=NOW)
        unsafe = [("revocation-list", None)] * (os.name == "posix")
        assert found(report) == [*unsafe, ("revocation-list", None), ("near-miss", None)]
        assert all(PLACE in finding.message for finding in report.findings)
        assert leaks(repr(report), [named]) == []

    def test_a_directory_that_does_not_exist(self, tmp_path: Path) -> None:
        """There is no file in it; the variable counts."""
        keys = good_keys()
        environ = keys | {VARIABLE: fingerprint(SealedStr(keys[V1]))}
        report = check(environ=environ, config_dir=tmp_path / "nowhere", now=NOW)
        assert found(report) == [("setting", None), ("revoked", "secret.key")]
        assert listed(report) == (("environment",), 1)
