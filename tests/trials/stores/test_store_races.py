"""Several operators, and readers that read all the time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2
from stores import COMPARING, SIMPLE, fields_in, helper_at, opened, write

if TYPE_CHECKING:
    from pathlib import Path

    from robodj_secretguard.managers.manager import Store

OPERATORS = 6
STEPS = 5
OPERATOR = """
import sys
from stores import found_in, opened, write
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.manager import CONFLICT
source, variable, steps = sys.argv[1:]
store = opened(source)
while steps != "0":
    found = found_in(store)
    count = int(found.opened()[variable]) + 1
    try:
        write(store, {variable: str(count)}, found)
    except ManagerError as error:
        if error.message != CONFLICT[0]:
            raise
    else:
        steps = str(int(steps) - 1)
"""


def store_of(kind: str, directory: Path) -> Store:
    """Return an empty store of a kind."""
    if kind in {"simple", "comparing"}:
        return helper_at(directory, SIMPLE if kind == "simple" else COMPARING)
    return opened(f"{kind}:{directory}/store")


@pytest.mark.parametrize("kind", ["directory", "envfile", "simple", "comparing"])
def test_six_operators_lose_nothing(tmp_path: Path, kind: str) -> None:
    """Each write of each operator is there at the end: together they count to the number of their writes."""
    store = store_of(kind, tmp_path)
    write(store, {V1: "0"})
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", OPERATOR, store.name, V1, str(STEPS)]
    operators = [subprocess.Popen(command, env=environ) for _ in range(OPERATORS)]
    assert [each.wait(120) for each in operators] == [0] * OPERATORS
    assert fields_in(store) == {V1: str(OPERATORS * STEPS)}


@pytest.mark.parametrize("kind", ["directory", "plain", "envfile"])
def test_a_reader_never_sees_a_mix(tmp_path: Path, kind: str) -> None:  # noqa: C901 - readers and a writer
    """During 200 writes, each read has both variables of one write, and no file is missing."""
    place = tmp_path / "store"
    if kind == "plain":
        place.mkdir()
        for name in (V1, V2):
            (place / name).write_text("0", encoding="utf-8")
    store = opened(f"{'envfile' if kind == 'envfile' else 'directory'}:{place}")
    if kind != "plain":
        write(store, {V1: "0", V2: "0"})
    is_over = threading.Event()
    sets: list[tuple[object, object]] = []
    files: list[str] = []

    def read_sets() -> None:
        while not is_over.is_set():
            found = store.fetch([V1, V2])
            sets.append((found[V1], found[V2]))

    def read_files() -> None:
        while not is_over.is_set():
            files.append((place / V2 if place.is_dir() else place).read_text(encoding="utf-8"))

    readers = [threading.Thread(target=reader) for reader in (read_sets, read_files)]
    for reader in readers:
        reader.start()
    for number in range(200):
        write(store, {V1: str(number), V2: str(number)})
    is_over.set()
    for reader in readers:
        reader.join()
    assert [found for found in sets if found[0] != found[1]] == []
    assert all(files)
    print(kind, "reads of a set:", len(sets), "of a file:", len(files))  # noqa: T201 - the figures of this trial
