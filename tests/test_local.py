"""What directories and environment files share: comparison, a lock, and kept versions."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2, Failure, failure_of, posix_only, root_only
from stores import fields_in, found_in, new_text, opened, refusal, versions_of, write

from robodj_secretguard.managers import folder, local
from robodj_secretguard.managers.manager import ABSENT, CONFLICT, Store
from robodj_secretguard.startup import directory

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = posix_only


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_READERS_SECONDS", 0)
    monkeypatch.setattr(directory, "SETTLED_SECONDS", 0)


@pytest.fixture(params=["directory", "envfile"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    return opened(f"{request.param}:{tmp_path}/store")


def put_by_hand(store: Store, text: str) -> None:
    """Write the first key as an operator does, who edits a file in place."""
    path = store.name.partition(":")[2]
    if os.path.isdir(path):
        with open(f"{path}/{V1}", "w", encoding="utf-8") as file:
            file.write(text)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{V1}={text}\n")


def kept_in(store: Store) -> str:
    """Return the directory of the kept versions."""
    return f"{store.name.partition(':')[2]}.versions"


def test_a_first_write_and_the_next(store: Store) -> None:
    """A first write makes the store, and each write replaces all declared fields."""
    assert found_in(store) is ABSENT
    write(store, {V1: "a"})
    write(store, {V1: None, V2: "b"})
    assert fields_in(store) == {V2: "b"}
    assert versions_of(store) == [{V2: "b"}, {V1: "a"}]


def test_an_edit_by_hand_is_another_version(store: Store) -> None:
    """A write from the version before an edit is a conflict, and changes nothing."""
    write(store, {V1: "a"})
    old = found_in(store)
    put_by_hand(store, "by-hand")
    for current in (old, ABSENT):
        assert refusal(store, {V1: "c"}, current) == Failure(*CONFLICT)
    assert fields_in(store) == {V1: "by-hand"}


def test_no_edit_destroys_the_only_copy(store: Store) -> None:
    """What was written is kept, and so is an edit that a write replaces."""
    write(store, {V1: "written"})
    put_by_hand(store, "by-hand")
    write(store, {V1: "c"})
    assert versions_of(store) == [{V1: "c"}, {V1: "by-hand"}, {V1: "written"}]


def test_some_versions_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest versions are removed, of more than twenty. One that is written again is the newest."""
    assert local.MOST_VERSIONS == 20
    monkeypatch.setattr(local, "MOST_VERSIONS", 3)
    for text in "abcdbb":
        write(store, {V1: text})
    assert [each[V1] for each in versions_of(store)] == ["b", "d", "c"]


def test_ended_keys_leave_the_kept_versions(store: Store) -> None:
    """A purge takes a key out of the earlier versions, and never out of the current one."""
    for text in ("leaked", "other", "leaked"):
        write(store, {V1: text, V2: "b"})
    write(store, {V1: "other"})
    store.purge(lambda text: text in {"leaked", "other"})
    assert versions_of(store) == [{V1: "other", V2: "b"}, {V2: "b"}]
    assert fields_in(store) == {V1: "other", V2: "b"}


def test_kept_versions_are_private(store: Store) -> None:
    """Only the owner can enter the directory of versions. One that others can enter is refused."""
    write(store, {V1: "a"})
    assert os.stat(kept_in(store)).st_mode & 0o777 == 0o700
    os.chmod(kept_in(store), 0o740)
    assert refusal(store, {V1: "b"}).fix == f"run chmod 700 {kept_in(store)}"


def test_what_an_interruption_leaves_is_removed(store: Store) -> None:
    """The next write removes what an interrupted one has left, such as the same version twice."""
    write(store, {V1: "a"})
    write(store, {V1: "b"})
    (name, _) = sorted(os.listdir(kept_in(store)))[:2]
    os.link(f"{kept_in(store)}/{name}", f"{kept_in(store)}/00000009{name[8:]}")
    with open(f"{kept_in(store)}/x.new", "w", encoding="utf-8") as file:
        file.write("a")
    write(store, {V1: "c"})
    assert [each[V1] for each in versions_of(store)] == ["c", "b", "a"]
    assert len(os.listdir(kept_in(store))) == 4


def test_a_version_that_is_gone(store: Store) -> None:
    """A version that was removed meanwhile is a failure."""
    write(store, {V1: "a"})
    assert failure_of(lambda: store.version("0" * 32)).what == "has no such version any more"


def test_a_held_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write waits for another process that holds the lock, within a limit."""
    monkeypatch.setattr("robodj_secretguard.common.files.LOCK_SECONDS", 0)
    write(store, {V1: "a"})
    with open(f"{kept_in(store)}/lock", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert refusal(store, {V1: "b"}).what == "was not written: another process holds the lock; try again"


@pytest.mark.parametrize("kind", ["directory", "envfile"])
def test_a_place_that_others_can_write(tmp_path: Path, kind: str) -> None:
    """Nothing is written into a directory of others."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    found = refusal(opened(f"{kind}:{shared}/store"), {V1: "a"})
    assert found.what == "is not written: it is in a directory that others can write"
    assert not any(shared.iterdir())


@root_only
def test_files_have_the_owner_of_the_directory_and_mode_600(tmp_path: Path) -> None:
    """New files belong to the owner of what is there, and nobody else can read them."""
    place = tmp_path / "store"
    place.mkdir()
    file = tmp_path / "app.env"
    file.write_text(f"{V1}=a\n", encoding="utf-8")
    for each in (place, file):
        os.chown(each, 65534, 65534)
    write(opened(f"directory:{place}"), {V1: new_text()})
    write(opened(f"envfile:{file}"), {V1: new_text()})
    for written in (place / V1, file):
        status = written.stat()
        assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o600, 65534, 65534)
    assert time.time() - file.stat().st_mtime < 60
