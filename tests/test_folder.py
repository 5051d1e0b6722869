"""Directories as stores: what a reader sees, and which files stay."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from conftest import V1, V2, failure_of, posix_only
from stores import fields_in, opened, refusal, versions_of, write

from robodj_secretguard.managers import folder
from robodj_secretguard.startup import directory

pytestmark = posix_only


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_READERS_SECONDS", 0)
    monkeypatch.setattr(directory, "SETTLED_SECONDS", 0)


def files_at(place: Path) -> dict[str, str]:
    """Return the content of each file, as a program reads it that knows no versions."""
    names = [each.name for each in place.iterdir() if not each.name.startswith("..")]
    return {name: (place / name).read_text(encoding="utf-8") for name in names if (place / name).is_file()}


def directory_at(place: Path, **files: str) -> Path:
    """Make a directory with files."""
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text, encoding="utf-8")
    return place


def test_every_file_of_the_directory_stays(tmp_path: Path) -> None:
    """A file that is not declared keeps its content, its mode and its place. So does a directory."""
    place = directory_at(tmp_path / "keys", **{"other.txt": "x", V1: "# comment\na\n", V2: "b\n"})
    (place / "other.txt").chmod(0o640)
    directory_at(place / "more", file="y")
    (place / "away").symlink_to("/nowhere")
    for text in ("c", "d"):
        write(opened(f"directory:{place}"), {V1: text})
        assert files_at(place) == {"other.txt": "x", V1: text, V2: "b\n"}
    assert (place / "other.txt").stat().st_mode & 0o777 == 0o640
    assert ((place / "more" / "file").read_text(), os.readlink(place / "away")) == ("y", "/nowhere")
    assert versions_of(opened(f"directory:{place}"))[-1] == {V1: "a", V2: "b"}


def test_a_file_that_is_named_after_the_secret(tmp_path: Path) -> None:
    """A variable stays in the file that has it, and in one file."""
    place = directory_at(tmp_path / "keys", **{"secret.key": "a"})
    write(opened(f"directory:{place}"), {V1: "b"})
    assert files_at(place) == {"secret.key": "b"}
    (place / "..data" / V1).write_text("b", encoding="utf-8")
    write(opened(f"directory:{place}"), {V1: "c"})
    assert sorted(files_at(place).values()) == ["c"]


def test_a_version_of_another_program_is_replaced(tmp_path: Path) -> None:
    """A version that an agent has made is copied with its directories, and removed afterwards."""
    place = directory_at(tmp_path / "keys")
    version = directory_at(place / "..2026_12_01", **{V1: "a", V2: "b"})
    directory_at(version / "more", file="y")
    (place / "..data").symlink_to(version.name)
    for name in (V1, "more", "gone"):
        (place / name).symlink_to(f"..data/{name}")
    write(opened(f"directory:{place}"), {V1: "c", V2: None})
    assert files_at(place) == {V1: "c"}
    assert (place / "more" / "file").read_text(encoding="utf-8") == "y"
    assert not version.exists()
    assert not os.path.lexists(place / "gone")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda place: (place / V2).symlink_to("/nowhere"), f"was not written: {V2} is a link to another place"),
        (
            lambda place: (place / V1).unlink() or (place / V1).write_text("c"),
            f"was not written: {V1} is not the same as ..data/{V1}, which services read",
        ),
        (
            lambda place: (place / V2).write_text("c"),
            f"was not written: {V2} is not the same as ..data/{V2}, which services read",
        ),
    ],
    ids=["a link", "a file in place of the link", "a file beside the version"],
)
def test_a_file_that_is_not_where_services_read(tmp_path: Path, make: object, why: str) -> None:
    """A declared file that is elsewhere, or beside its version, is refused before anything is written."""
    place = directory_at(tmp_path / "keys", **{V1: "a"})
    store = opened(f"directory:{place}")
    write(store, {V1: "b"})
    make(place)  # type: ignore[operator]
    assert refusal(store, {V1: "d"}).what == why
    assert fields_in(store) == {V1: "b"}


@pytest.mark.parametrize("end", ["", "/"])
def test_a_link_to_a_directory_is_read_and_never_written(tmp_path: Path, end: str) -> None:
    """A program that changes the link would take the keys away again: the fix names the directory."""
    directory_at(tmp_path / "v3", **{V1: "a"})
    (tmp_path / "current").symlink_to("v3")
    store = opened(f"directory:{tmp_path}/current{end}")
    found = refusal(store, {V1: "b"})
    assert (found.what, found.fix) == (
        "is not written: it is a symbolic link",
        f"name what it leads to: directory:{tmp_path.resolve()}/v3",
    )
    assert fields_in(store) == {V1: "a"}
    assert sorted(os.listdir(tmp_path)) == ["current", "v3"]


def test_a_value_that_is_no_text(tmp_path: Path) -> None:
    """A file has a text."""
    found = refusal(opened(f"directory:{tmp_path}/keys"), {V1: 1})
    assert (found.what, (tmp_path / "keys").exists()) == (f"has {V1}, but it is not a string", False)


def test_an_error_of_the_system_leaves_the_old_version(tmp_path: Path) -> None:
    """Where a write fails, the earlier version is there, and nothing of the new one."""
    place = directory_at(tmp_path / "keys", **{V1: "a"})
    store = opened(f"directory:{place}")
    write(store, {V1: "b"})
    with patch.object(folder, "write_new", side_effect=OSError(28, "full")):
        assert failure_of(lambda: write(store, {V1: "c"})).what.startswith("was not written: it cannot be used")
    assert files_at(place) == {V1: "b"}
    assert len([each for each in place.iterdir() if each.name.startswith("..robodj-")]) == 1


def test_a_link_that_was_removed_comes_back(tmp_path: Path) -> None:
    """A file without its link is written all the same, and gets its link again."""
    place = directory_at(tmp_path / "keys", **{V1: "a", V2: "b"})
    store = opened(f"directory:{place}")
    write(store, {V1: "c"})
    (place / V2).unlink()
    os.symlink("..data", place / "..robodj-0123456789abcdef")
    write(store, {V1: "d"})
    assert files_at(place) == {V1: "d", V2: "b"}
    assert not os.path.lexists(place / "..robodj-0123456789abcdef")
