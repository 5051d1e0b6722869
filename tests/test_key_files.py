"""`write_keys`: write new keys to the fallback files, all of them or none."""

from __future__ import annotations

import errno
import os
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import V1, V2, Checker, clean_environment, found, good_keys, posix_only
from mounts import run_with_mounts

from robodj_secretguard import RuntimeSecrets, SecretPolicy
from robodj_secretguard.common.files import write_file
from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle import key_files
from robodj_secretguard.lifecycle.key_files import write_keys
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import MAX_FILE_BYTES
from robodj_secretguard.startup.textfile import IN_WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIRST, SECOND = RuntimeSecrets.secret_policies.values()
BELOW = SecretPolicy(
    name="own.key",
    variable="ROBODJ_OWN_KEY",
    file="config/keys/own.key",
    owner="Us",
    backup_owner="Them",
    cadence=timedelta(days=9),
    warn_before=timedelta(days=1),
)
TRY_AGAIN = "; correct that, then try again"
HOLDS_A_KEY = "already has a key; to replace it, add --force"
CANNOT_BE_JUDGED = "config/secret.key cannot be read; to replace it, add --force"
UNUSABLE = ["# why\n".encode("utf-16"), b"# \xff\n", b"#" * (MAX_FILE_BYTES + 1)]


def write(checker: Checker, *policies: SecretPolicy, force: bool = False) -> dict[str, str]:
    """Write new keys, and return them by the names of their secrets."""
    keys = {policy: SealedStr(good_keys()[V2 if policy is SECOND else V1]) for policy in policies}
    write_keys(str(checker.config), keys, force=force)
    return {policy.name: key.get_secret_value() for policy, key in keys.items()}


def names(checker: Checker) -> list[str]:
    """Return the names of the files in the config directory."""
    return sorted(path.name for path in checker.config.iterdir())


def snapshot(checker: Checker) -> list[object]:
    """Return the status and the content of each file, to detect changes."""
    paths = [checker.config / name for name in names(checker)]
    status = [(path.name, path.lstat().st_mode, path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths]
    return [*status, *(path.read_bytes() for path in paths if path.is_file() and os.access(path, os.R_OK))]


def refused(checker: Checker, *policies: SecretPolicy, force: bool = False) -> str:
    """Assert that writing keys fails and changes no file, and return the reason."""
    before = snapshot(checker)
    with pytest.raises(UsageError) as raised:
        write(checker, *policies, force=force)
    assert snapshot(checker) == before
    return str(raised.value)


def text_of(checker: Checker, key: str) -> str:
    """Return the text of the first secret's file, with `KEY` instead of the key."""
    text = (checker.config / "secret.key").read_bytes().decode()
    assert text.count(key) == 1
    return text.replace(key, "KEY")


class TestWritten:
    """Each key is written to its file."""

    def test_all(self, checker: Checker) -> None:
        """Each file has its key and one line end, and the check accepts it."""
        keys = write(checker, FIRST, SECOND)
        assert {name: (checker.config / name).read_bytes().decode() for name in names(checker)} == {
            name: f"{key}\n" for name, key in keys.items()
        }
        assert found(checker({})) == [("file-fallback", "secret.key"), ("file-fallback", "secret_v2.key")]

    def test_one(self, checker: Checker) -> None:
        """Only the files of the named secrets are read and written."""
        other = checker.write("secret_v2.key", good_keys()[V2]).stat()
        write(checker, FIRST)
        assert (checker.config / "secret_v2.key").stat() == other

    def test_a_file_in_a_subdirectory(self, checker: Checker) -> None:
        """A policy's file may be in a subdirectory, which must exist."""
        assert refused(checker, BELOW) == "config/keys/own.key: it cannot be used: No such file or directory"
        (checker.config / "keys").mkdir(mode=0o700)
        keys = write(checker, BELOW)
        assert (checker.config / "keys" / "own.key").read_bytes().decode() == f"{keys['own.key']}\n"

    @posix_only
    @pytest.mark.parametrize("mode", [None, 0o666])
    def test_the_mode(self, checker: Checker, mode: int | None) -> None:
        """Only the owner can read a key file, whatever mode the file had before."""
        if mode is not None:
            checker.write("secret.key", "REPLACE_WITH_A_KEY\n", mode)
        write(checker, FIRST)
        assert (checker.config / "secret.key").stat().st_mode == 0o100600

    @pytest.mark.parametrize("text", ["", "# why\nREPLACE_WITH_A_KEY\n# how\n", "changeme\nnull\n"], ids=range(3))
    def test_the_whole_text_is_replaced(self, checker: Checker, text: str) -> None:
        """Only the key is in the file afterwards: comments and placeholders are not kept."""
        checker.write("secret.key", text)
        assert text_of(checker, write(checker, FIRST)["secret.key"]) == "KEY\n"
        assert found(checker({V2: good_keys()[V2]})) == [("file-fallback", "secret.key")]

    def test_a_template_is_not_used(self, checker: Checker) -> None:
        """The template of a key file is neither read nor changed."""
        template = checker.write("secret.key.example", "# theirs\nREPLACE_WITH_A_KEY\n")
        assert text_of(checker, write(checker, FIRST)["secret.key"]) == "KEY\n"
        assert template.read_text(encoding="utf-8") == "# theirs\nREPLACE_WITH_A_KEY\n"

    @pytest.mark.parametrize("content", UNUSABLE, ids=range(3))
    def test_an_unreadable_file(self, checker: Checker, content: bytes) -> None:
        """An unreadable file is only replaced with force."""
        checker.write("secret.key", content)
        assert refused(checker, FIRST, SECOND) == CANNOT_BE_JUDGED
        assert text_of(checker, write(checker, FIRST, force=True)["secret.key"]) == "KEY\n"


class TestForce:
    """A key is only replaced with force."""

    @pytest.mark.parametrize(
        "text",
        [
            "# why\n{key}",
            "{key}\r\n{other}\n",
            "# why\n{key}=\n# how\n{other}\nREPLACE_WITH_A_KEY\n",
            "short\n",
        ],
        ids=range(4),
    )
    def test_a_key(self, checker: Checker, text: str) -> None:
        """Any line except blanks, comments and placeholders counts as a key. No old key stays in the file."""
        keys = good_keys()[V1], good_keys()[V1]
        old = text.format(key=keys[0], other=keys[1])
        path = checker.write("secret.key", old)
        assert refused(checker, FIRST, SECOND) == f"config/secret.key {HOLDS_A_KEY}"
        assert names(checker) == ["secret.key"]
        with path.open(newline="", encoding="utf-8") as opened:
            new = write(checker, FIRST, force=True)["secret.key"]
            assert opened.read() == old  # the file was replaced, not written to
        assert text_of(checker, new) == "KEY\n"

    def test_every_refusal_is_reported(self, checker: Checker) -> None:
        """All refused files are named at once. If one file is refused, no key is written."""
        checker.write("secret_v2.key", good_keys()[V2])
        assert refused(checker, FIRST, SECOND) == f"config/secret_v2.key {HOLDS_A_KEY}"
        assert names(checker) == ["secret_v2.key"]
        checker.write("secret.key", good_keys()[V1])
        both = f"config/secret.key {HOLDS_A_KEY}. config/secret_v2.key {HOLDS_A_KEY}"
        assert refused(checker, FIRST, SECOND) == both


@posix_only
class TestRefused:
    """Faults for which no key is written."""

    @pytest.mark.parametrize("force", [False, True])
    @pytest.mark.parametrize("target", ["elsewhere", "nothing"])
    def test_a_link(self, checker: Checker, target: str, force: bool) -> None:  # noqa: FBT001
        """A link is not followed or replaced, whatever its target is."""
        elsewhere = checker.write("elsewhere", "REPLACE_WITH_A_KEY\n")
        (checker.config / "secret.key").symlink_to(target)
        why = "config/secret.key is a symbolic link; replace it with a regular file"
        assert refused(checker, FIRST, SECOND, force=force) == why
        assert os.readlink(checker.config / "secret.key") == target
        assert elsewhere.read_text(encoding="utf-8") == "REPLACE_WITH_A_KEY\n"
        assert names(checker) == ["elsewhere", "secret.key"]

    @pytest.mark.parametrize("force", [False, True])
    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
    def test_no_regular_file(self, checker: Checker, make: Callable[[Path], None], force: bool) -> None:  # noqa: FBT001
        """A directory and a FIFO are refused, and a FIFO does not block."""
        make(checker.config / "secret.key")
        assert refused(checker, FIRST, SECOND, force=force) == "config/secret.key is not a regular file; move it away"

    def test_a_directory_that_others_can_write_to(self, checker: Checker) -> None:
        """No key is written to a directory that others can write, even with force. No service would accept it."""
        checker.config.chmod(0o777)
        why = f"config/secret.key: would fail the check: it {IN_WRITABLE}{TRY_AGAIN}"
        assert refused(checker, FIRST, force=True) == why
        assert names(checker) == []

    def test_a_file_that_appears_meanwhile(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that appears after the check is not replaced."""

        def write_after_another(*arguments: Any, **more: Any) -> None:
            checker.write("secret.key", "somebody else's")
            write_file(*arguments, **more)

        monkeypatch.setattr(key_files, "write_file", write_after_another)
        with pytest.raises(UsageError, match=r"\Aconfig/secret\.key: it cannot be used: File exists\Z"):
            write(checker, FIRST)
        assert (names(checker), (checker.config / "secret.key").read_bytes()) == (["secret.key"], b"somebody else's")


class TestInPlace:
    """The last step of each file."""

    def test_the_second_one_fails(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """If a later file fails, the message names the files that were written. Nothing of the failed file is left."""

        def write_the_first(path: str, *arguments: Any, **more: Any) -> None:
            if names(checker).count("secret.key"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            write_file(path, *arguments, **more)

        monkeypatch.setattr(key_files, "write_file", write_the_first)
        with pytest.raises(UsageError) as raised:
            write(checker, FIRST, SECOND)
        why = "config/secret_v2.key: it cannot be used: Input/output error"
        assert str(raised.value) == f"{why}. Already written: secret.key"
        assert names(checker) == ["secret.key"]
        assert re.fullmatch(rb"[A-Za-z0-9_-]{43}\n", (checker.config / "secret.key").read_bytes())

    @pytest.mark.parametrize(
        ("policy", "before"),
        [
            pytest.param(FIRST, "", id="full: the first", marks=pytest.mark.full),
            pytest.param(SECOND, ". Already written: secret.key", id="the second"),
        ],
    )
    def test_a_mount_point(self, checker: Checker, policy: SecretPolicy, before: str) -> None:
        """A mounted key file cannot be replaced."""
        mounted = checker.config.parent / "mounted"
        mounted.write_text("# theirs\n", encoding="utf-8")
        checker.write(policy.name, "# ours\n")
        ran = run_with_mounts(
            [f"mount --bind mounted {policy.file}"],
            [sys.executable, "-m", "robodj_secretguard", "generate", "--write"],
            env=clean_environment(),
            cwd=mounted.parent,
        )
        err = (
            f"robodj-secretguard: not every key was written: {policy.file}: it cannot be used:"
            f" {os.strerror(errno.EBUSY)}{before}\n"
        )
        assert (ran.status, ran.out, ran.err) == (2, "", err)
        assert mounted.read_text(encoding="utf-8") == "# theirs\n"
        assert [each for each in names(checker) if each.endswith(".new")] == []
