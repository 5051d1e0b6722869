"""Environment files as stores: which lines are refused, and which stay."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from conftest import V1, V2, Failure, failure_of, posix_only
from stores import fields_in, found_in, new_text, opened, refusal, versions_of, write

from robodj_secretguard.startup.file_reader import read_text_file
from robodj_secretguard.startup.inputs import CHANGED, ROTATION_RECORD, TextFile

if TYPE_CHECKING:
    from pathlib import Path

    from robodj_secretguard.managers.manager import Store

pytestmark = posix_only
FORM = f"has {V1} in line {{}} in a form that programs read differently"


def store_with(directory: Path, text: str | bytes) -> Store:
    """Write an environment file, and return its store."""
    path = directory / "app.env"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return opened(f"envfile:{path}")


def test_all_other_lines_stay(tmp_path: Path) -> None:
    """Comments, blank lines and other variables stay byte for byte, also without a newline at the end."""
    before = f"# it's \u00e9\r\n\n export A='x y' # it's\nB=\"1\n2\"\n{V1}=a\n;C\n{V2}=b"
    store = store_with(tmp_path, before)
    assert fields_in(store) == {V1: "a", V2: "b"}
    write(store, {V1: "c"})
    assert (tmp_path / "app.env").read_bytes().decode() == before.replace("=a\n", "=c\n")
    write(store, {V1: None, f"{V1}_NEXT": "d"})
    assert (tmp_path / "app.env").read_bytes().decode() == before.replace(f"{V1}=a\n", "") + f"\n{V1}_NEXT=d\n"
    assert {"A", "B"} <= found_in(store).opened().keys()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"export {V1}=a", 1),
        (f'{V1}="a"', 1),
        (f"{V1}='a'", 1),
        (f"{V1} =a", 1),
        (f"{V1}= a", 1),
        (f"{V1}=a ", 1),
        (f" {V1}=a", 1),
        (f"{V1}=a\r\n", 1),
        (f"{V1}=a\\", 1),
        (f"{V1}=a$b", 1),
        (f"{V1}=a#b", 1),
        (f"{V1}+=a", 1),
        (f"{V1}", 1),
        (f"unset {V1}", 1),
        (f";{V1}=a", 1),
        (f"A=b {V1}=a", 1),
        (f"\ufeff{V1}=a", 1),
        (f"{V1}=a\n\n{V1}=a", 3),
        (f"A=b\\\n{V1}=a", 2),
        (f"# c\\\n{V1}=a", 2),
        (f"A='b\n{V1}=a\n'", 2),
        (f'A="b\\"\n{V1}=a\n"', 2),
        (f"A=it's\n{V1}=a\n", 2),
        (f"{V1}={'a' * 60001}", 1),
    ],
)
def test_a_line_that_programs_read_differently(tmp_path: Path, text: str, line: int) -> None:
    """A declared variable's line that systemd, docker or `sh` reads in another way is refused, with its number."""
    store = store_with(tmp_path, text)
    assert failure_of(lambda: found_in(store)).what == FORM.format(line)
    assert (tmp_path / "app.env").read_bytes() == text.encode()


@pytest.mark.parametrize("text", ["# c\\", "A='b", "A=b\\\n"])
def test_an_end_that_is_not_complete(tmp_path: Path, text: str) -> None:
    """No line is added after one that goes on for some programs."""
    assert refusal(store_with(tmp_path, text), {V1: "a"}).what == "was not written: its last line is not complete"


@pytest.mark.parametrize(
    "text", ["a b", "a\nb", "-----BEGIN X-----\n", '{"a": "b"}', "a$b", "a~", "\u00e9", 1, "x" * 60001]
)
def test_a_value_that_needs_quotes(tmp_path: Path, text: object) -> None:
    """A value that would need quotes is refused before anything is written, and the file and its versions stay."""
    store = store_with(tmp_path, f"{V1}=a\n")
    assert refusal(store, {V2: text}).what.startswith(f"cannot have {V2}: its value needs quotes")
    assert versions_of(store) == []


def test_a_shell_reads_what_was_written(tmp_path: Path) -> None:
    """What the file has is what `sh` reads."""
    store = store_with(tmp_path, "")
    key = new_text() + "/:@,+=%-."
    write(store, {V1: key})
    script = f'. {shlex.quote(str(tmp_path / "app.env"))}; printf %s "${V1}"'
    assert subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout == key


def test_the_record_of_a_rotation(tmp_path: Path) -> None:
    """The record, which is JSON, is one line without quotes. One that was edited is left to the rules of records."""
    store = store_with(tmp_path, "")
    record = json.dumps({"a": "b c", "d": ["\u00e9"]})
    write(store, {ROTATION_RECORD: record})
    assert fields_in(store) == {ROTATION_RECORD: record}
    assert (tmp_path / "app.env").read_text(encoding="utf-8").count("\n") == 1
    assert fields_in(store_with(tmp_path, f"{ROTATION_RECORD}=x-y\n")) == {ROTATION_RECORD: "x-y"}


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    """A file that others can write, or that is no text, is refused."""
    store = store_with(tmp_path, b"\xff")
    assert failure_of(lambda: found_in(store)).what == "is not used: it is not UTF-8"
    store = store_with(tmp_path, f"{V1}=a\n")
    (tmp_path / "app.env").chmod(0o602)
    assert failure_of(lambda: found_in(store)).what == "is not used: it can be written by others"


def test_a_link_is_read_and_never_written(tmp_path: Path) -> None:
    """A write through a link is refused before anything is made, and the fix names the file."""
    store = store_with(tmp_path, f"{V1}=a\n")
    (tmp_path / "link").symlink_to("app.env")
    linked = opened(f"envfile:{tmp_path}/link")
    found = refusal(linked, {V1: "b"})
    assert found == Failure(
        "is not written: it is a symbolic link", f"name what it leads to: envfile:{tmp_path.resolve()}/app.env"
    )
    assert fields_in(linked) == fields_in(store) == {V1: "a"}
    assert sorted(os.listdir(tmp_path)) == ["app.env", "link"]


@pytest.mark.parametrize("text", ["a:b:c\n", "# c\n\n127.0.0.1 localhost\n"])
def test_a_file_of_another_format(tmp_path: Path, text: str) -> None:
    """A file that has lines, and none of a variable, stays as it is, with its mode and alone."""
    store = store_with(tmp_path, text)
    (tmp_path / "app.env").chmod(0o644)
    assert refusal(store, {V1: "a"}).what == "is not written: it has lines, but none of the form NAME=VALUE"
    status = (tmp_path / "app.env").stat()
    assert ((tmp_path / "app.env").read_text(encoding="utf-8"), status.st_mode & 0o777) == (text, 0o644)
    assert os.listdir(tmp_path) == ["app.env"]


@pytest.mark.parametrize("text", ["", "\n", "# keys of the shop\n", "not a variable\nA=b\n"])
def test_a_file_without_a_declared_variable(tmp_path: Path, text: str) -> None:
    """A file that is empty, has comments alone, or has another variable among its lines is written."""
    store = store_with(tmp_path, text)
    write(store, {V1: "a"})
    assert (tmp_path / "app.env").read_text(encoding="utf-8") == f"{text}{V1}=a\n"


def test_a_file_that_is_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read again."""
    store = store_with(tmp_path, f"{V1}=a\n")
    texts = [read_text_file(str(tmp_path / "app.env"), most=100)._replace(unreadable=(CHANGED,))]

    def replaced_once(*arguments: Any, **more: Any) -> TextFile:
        return texts.pop() if texts else read_text_file(*arguments, **more)

    monkeypatch.setattr("robodj_secretguard.managers.envfile.read_text_file", replaced_once)
    assert fields_in(store) == {V1: "a"}
    assert texts == []
