"""A directory of files: systemd credentials, Docker and Kubernetes secrets, templates of an agent."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import V1, V2, Failure, posix_only, put, root_only
from processes import fork

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.manager import GRACE_SECONDS, Directory
from robodj_secretguard.startup import directory as module
from robodj_secretguard.startup.directory import MAX_BYTES, _unsettled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
NAMES = [name for policy in POLICIES for name in policy.variables]


def fetched(path: Path | str, seconds: float = 5) -> Mapping[str, Any] | Failure:
    """Return what a directory delivers, or why it delivers nothing."""
    try:
        return Directory("directory:x", str(path), POLICIES).fetch(NAMES, seconds)
    except ManagerError as error:
        return Failure(error.message, error.remedy, error.is_temporary)


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.0)


class TestFiles:
    """The names and the content of files."""

    def test_names(self, tmp_path: Path) -> None:
        """A file has the name of a variable or of a secret. The content of another file is not read."""
        put(tmp_path / V1, "a")
        put(tmp_path / "secret_v2.key", "b\n")
        put(tmp_path / f"{V2}_NEXT", "\ufeff# comment\r\n c \r\n")
        put(tmp_path / "other", "d")
        put(tmp_path / f"{V2}_PREVIOUS", "e\nf\n")
        found = fetched(tmp_path)
        assert isinstance(found, dict)
        assert {name: value for name, value in found.items() if value} == {
            V1: "a",
            V2: "b",
            f"{V2}_NEXT": "c",
            f"{V2}_PREVIOUS": "e\nf",
        }
        assert found["other"] is None

    @posix_only
    def test_a_broken_link(self, tmp_path: Path) -> None:
        """A broken link is no file. Others are read."""
        put(tmp_path / V1, "a")
        (tmp_path / "other").symlink_to("nowhere")
        found = fetched(tmp_path, 0.05)
        assert isinstance(found, dict)
        assert found[V1] == "a"

    def test_both_names(self, tmp_path: Path) -> None:
        """A variable and its secret may both have a file, with the same value."""
        put(tmp_path / V1, "a")
        put(tmp_path / "secret.key", "a\n")
        found = fetched(tmp_path)
        assert isinstance(found, dict)
        assert found[V1] == "a"
        put(tmp_path / "secret.key", "b")
        what = f"has {V1} and secret.key with different values"
        assert fetched(tmp_path) == Failure(what, "delete the file with the wrong one")

    @pytest.mark.parametrize(
        ("content", "why", "fix"),
        [
            (b"\xff", "is not UTF-8", f"write {V1} again, as one line in UTF-8"),
            (b"x" * (MAX_BYTES + 1), f"is larger than {MAX_BYTES} bytes", f"write {V1} again, as one line in UTF-8"),
        ],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, content: bytes, why: str, fix: str) -> None:
        """A file that is not a text of one key is a failure, which names the fault."""
        put(tmp_path / V1, content)
        assert fetched(tmp_path) == Failure(f"has {V1}, which {why}", fix)

    @posix_only
    def test_a_file_of_others(self, tmp_path: Path) -> None:
        """A file that others can write is not used. One that others can read is: Docker's have the mode 444."""
        put(tmp_path / V1, "a", 0o444)
        assert isinstance(fetched(tmp_path), dict)
        put(tmp_path / V1, "a", 0o666)
        fix = f"run chmod o-w on their directory and {V1} (or mount it read-only)"
        fix = f"compare the keys with their origin, then {fix}"
        assert fetched(tmp_path) == Failure(f"has {V1}, which can be written by others", fix)

    @posix_only
    def test_no_directory(self, tmp_path: Path) -> None:
        """A path that leads to no directory is a failure."""
        put(tmp_path / "file")
        (tmp_path / "link").symlink_to("nowhere")
        absent = Failure("does not exist", "correct the path")
        assert fetched(tmp_path / "nowhere") == absent
        assert fetched(tmp_path / "link") == absent
        what = "is not a directory that this user may read"
        assert fetched(tmp_path / "file") == Failure(what, "correct the path, or let this user read it")

    @root_only
    def test_a_directory_of_another_user(self, tmp_path: Path) -> None:
        """A directory that this user may not enter is a failure."""
        tmp_path.chmod(0o700)
        process = fork()
        if not process:
            os.seteuid(65534)
            os._exit(
                fetched(tmp_path)
                != Failure("is not a directory that this user may read", "correct the path, or let this user read it")
            )
        assert os.waitpid(process, 0)[1] == 0


class Swapper(threading.Thread):
    """Replaces the version of a directory, again and again, until it is told to stop."""

    def __init__(self, swap: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self.swap = swap
        self.stopped = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            self.swaps += 1
            self.swap(f"v{self.swaps}")


def write_version(directory: Path, version: str) -> None:
    """Write the files of a version into a new directory."""
    directory.mkdir()
    for name in NAMES:
        put(directory / name, version)


def kubernetes(volume: Path, version: str) -> None:
    """Replace the files of a volume as the kubelet does: by one link, whose old directory is then removed."""
    data = volume / "..data"
    old = data.resolve() if data.exists() else None
    write_version(volume / f"..{version}", version)
    (volume / "..data_tmp").symlink_to(f"..{version}")
    (volume / "..data_tmp").replace(data)
    if old:
        shutil.rmtree(old)
    else:
        for name in NAMES:
            (volume / name).symlink_to(f"..data/{name}")


def renamed(path: Path, version: str) -> None:
    """Replace a directory by another one with its name."""
    write_version(path.with_name(version), version)
    if path.exists():
        path.rename(path.with_name(f"old-{version}"))
    path.with_name(version).rename(path)


def linked(path: Path, version: str) -> None:
    """Replace a link to a directory."""
    write_version(path.with_name(version), version)
    path.with_name("new").symlink_to(version)
    path.with_name("new").replace(path)


@posix_only
class TestVersions:
    """Files of one version of the directory, whoever replaces it at the same time."""

    @pytest.mark.parametrize("reads", [20, pytest.param(1000, marks=pytest.mark.full)])
    @pytest.mark.parametrize("swap", [kubernetes, linked, renamed])
    def test_no_mixture(self, tmp_path: Path, swap: Callable[[Path, str], None], reads: int) -> None:
        """While the directory is replaced as a whole, each read has one version."""
        path = tmp_path / "secrets"
        if swap is kubernetes:
            path.mkdir()
        swap(path, "v0")
        swapper = Swapper(lambda version: swap(path, version))
        swapper.start()
        try:
            found = [fetched(path) for _ in range(reads)]
            while swapper.swaps < 2:  # the reads can be faster
                found.append(fetched(path))
        finally:
            swapper.stopped.set()
            swapper.join()
        versions = [{each.get(name) for name in NAMES} for each in found if isinstance(each, dict)]
        assert [each for each in versions if len(each) != 1 or None in each] == []
        # On a busy machine a directory may be replaced during each attempt of a read.
        assert [each for each in found if isinstance(each, Failure) and not each.is_temporary] == []
        assert len(versions) > reads / 2

    def test_files_that_are_written_one_after_the_other(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """While files are still written, there is no answer, so that they are all of one version. A copy may be old."""
        monkeypatch.setattr(module, "SETTLED_SECONDS", 0.5)
        write_version(tmp_path / "secrets", "old")
        written = threading.Event()

        def write() -> None:
            for name in NAMES:
                os.utime(put(tmp_path / "new", "new"), (0, 0))
                (tmp_path / "new").replace(tmp_path / "secrets" / name)
                written.set()
                time.sleep(0.05)

        writer = threading.Thread(target=write)
        writer.start()
        written.wait()
        found = fetched(tmp_path / "secrets")
        writer.join()
        assert isinstance(found, dict)
        assert {found[name] for name in NAMES} == {"new"}

    def test_an_empty_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty file is read again: while it is written again, its times may still be those from before."""
        monkeypatch.setattr(module, "SETTLED_SECONDS", 1.0)
        empty, other = {"a": (0, 0, 0, 1, 1)}, {"a": (0, 0, 9, 1, 1)}
        assert [_unsettled(empty, before) > 0 for before in ({}, other, empty)] == [True, True, False]
        assert _unsettled(other, {}) <= 0

    def test_credentials_of_systemd(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody writes credentials of systemd any more, so they are read at once."""
        put(tmp_path / V1, "new")
        monkeypatch.setattr(module, "SETTLED_SECONDS", 9.0)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        found = fetched(tmp_path, 0.5)
        assert isinstance(found, dict)
        assert found[V1] == "new"

    @pytest.mark.parametrize("ahead", [0, 3600])
    def test_a_directory_that_does_not_stay_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
    ) -> None:
        """A directory that changes all the time is a temporary failure. A file may have a time in the future."""
        monkeypatch.setattr(module, "SETTLED_SECONDS", 9.0)
        os.utime(put(tmp_path / V1), (0, time.time() + ahead))
        fix, began = "stop what changes its files, then start again", time.monotonic()
        assert fetched(tmp_path, 0.05) == Failure("does not stay the same", fix, is_temporary=True)
        assert time.monotonic() - began < GRACE_SECONDS
