"""A scan finds every planted key at its place, and nothing in files without keys.

Only the full run has every planted key, all that git keeps, thousands of real files, and the measurements.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import Machine, machine_at, rotated
from conftest import NOW, V1, V2, clean_environment, run
from scanning.history import GIT_SETTINGS, PLACES, holding, plant_history
from scanning.plants import PLANTS, key_fingerprint, new_keys, plant_files
from scanning.real import LEAST_FILES, real_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scanning.plants import Place, Plant

TRIALS = Path(__file__).parent
FULL = pytest.mark.full
LIVE, BY_FINGERPRINT = "live", "by fingerprint"
MODES = pytest.mark.parametrize("mode", [LIVE, BY_FINGERPRINT])
PER_GROUP = 3


def machine_that_knows(keys: dict[str, str], root: Path, mode: str) -> Machine:
    """Return a machine with the keys, or one that only knows their fingerprints."""
    root.mkdir()
    machine = machine_at(root)
    machine.environ.clear()
    machine.environ.update(GIT_SETTINGS | {"PATH": os.environ["PATH"]})
    if mode == LIVE:
        machine.environ.update(keys)
    else:
        machine.record(rotated(NOW, key_fingerprint(keys[V1])))
        machine.write("revoked.fingerprints", f"{key_fingerprint(keys[V2])}\n")
    return machine


def scan(machine: Machine, *arguments: str) -> dict[str, Any]:
    """Scan, and return the JSON document."""
    options = () if V1 in machine.environ else ("--fingerprints",)
    ran = machine.call("scan", "--format", "json", *options, *arguments)
    report = ran.document
    missed = [each["place"] for each in report["unread"] if each["matters"]]
    # Other tests run at the same time, and Python writes bytecode for their imports.
    assert [place for place in missed if "/__pycache__/" not in place] == []
    assert ran.status == (2 if missed else 1 if report["findings"] else 0)
    return report


def a_few(root: Path, keys: dict[str, str]) -> list[Place]:
    """Plant a few keys of each group, in small files."""
    groups: dict[str, list[Plant]] = {}
    for each in PLANTS:
        if not each.lead and each.group != "long lines":
            groups.setdefault(each.group, []).append(each)
    return [each.plant(root, keys) for group in groups.values() for each in group[:PER_GROUP]]


def all_of_them(root: Path, keys: dict[str, str]) -> Iterable[Place]:
    """Plant all keys in files, names and links."""
    places = plant_files(root, keys).values()
    assert len(places) >= 300
    assert {each.group for each in places if not each.by_fingerprint} == {"glued with letters"}
    return places


@MODES
@pytest.mark.parametrize("plant", [a_few, pytest.param(all_of_them, marks=FULL)])
def test_each_planted_key_is_found_once_at_its_place(
    tmp_path: Path, mode: str, plant: Callable[[Path, dict[str, str]], Iterable[Place]]
) -> None:
    """Each planted key is found once, with its file, line, column, offset and encodings.

    By its fingerprint, a key is not found among letters, where nothing shows where it begins or ends.
    """
    keys, root = new_keys(), tmp_path / "files"
    places = {each.path: each for each in plant(root, keys) if mode == LIVE or each.by_fingerprint}
    found = {}
    findings = scan(machine_that_knows(keys, tmp_path / "machine", mode), str(root))["findings"]
    for each in findings:
        path = each["path"].removeprefix(f"{root.as_posix()}/")
        if not places[path].column:
            each["column"] = None
        found[path] = each
    fields = ("rule", "where", "form", "fingerprint", "line", "column", "offset", *["secret"] * (mode == LIVE))
    assert len(findings) == len(found)
    assert {path: [each[name] for name in fields] for path, each in found.items()} == {
        path: [getattr(each, name) for name in fields] for path, each in places.items()
    }


@FULL
@MODES
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_each_key_that_git_keeps_is_found_with_its_commits(tmp_path: Path, mode: str) -> None:
    """Each key that git keeps is found once in its object, with its path and every commit that added it."""
    keys, root = new_keys(), tmp_path / "repository"
    kept = {each.object: each for each in plant_history(root, keys).values()}
    assert len(kept) == len(PLACES)
    machine = machine_that_knows(keys, tmp_path / "machine", mode)
    findings = scan(machine, "--git-history", str(root))["findings"]
    objects = [each for each in findings if each["where"] == "history"]
    assert len(objects) == len(kept)
    for found in objects:
        expected = kept[found["object"]]
        assert (found["rule"], found["object_type"], found["form"]) == ("known-key", expected.kind, expected.form)
        assert found["fingerprint"] == expected.fingerprint
        assert expected.line is None or (found["line"], found["column"]) == (expected.line, expected.column)
        assert sorted(map(str, found["carriers"])) == sorted(
            str({"commit": commit, "path": path}) for commit, path in expected.carriers
        )
    # All other keys are in the work tree, or in a file of git's that holds a message.
    files = {each["path"].removeprefix(f"{root.as_posix()}/") for each in findings if each["where"] != "history"}
    own = {each.replace(os.sep, "/") for each in holding(root, keys)}
    assert {each for each in files if not each.startswith(".git/")} == {"here.txt", "now here.txt"}
    assert {each for each in files if each.startswith(".git/")} >= own

    staged = scan(machine, "--staged", str(root))["findings"]
    fields = ("object", "form", "line", "column", "fingerprint")
    expected_staged = [[getattr(each, name) for name in fields] for each in kept.values() if each.is_staged]
    assert sorted([each[name] for name in fields] for each in staged) == sorted(expected_staged)
    assert {(each["rule"], each["where"]) for each in staged} == {("known-key", "index")}


@MODES
@pytest.mark.parametrize("least", [100, pytest.param(LEAST_FILES, marks=FULL)])
def test_nothing_is_found_in_real_files(tmp_path: Path, mode: str, least: int) -> None:
    """Nothing is found in the files of Python and its packages, which hold no key."""
    directories, count = real_directories(least)
    if count < least:
        pytest.skip(f"this Python has only {count} text files")
    report = scan(machine_that_knows(new_keys(), tmp_path / "machine", mode), *directories)
    assert [(each["rule"], each["where"], each["fingerprint"], each["form"]) for each in report["findings"]] == []
    assert report["files"] >= least


@FULL
@pytest.mark.parametrize("part", ["speed", "memory", "history"])
def test_each_measurement_has_a_row_of_the_scan(part: str) -> None:
    """Each part of `python tests/trials/scanning`, which compares scanners, has a row of the scan."""
    program = [str(TRIALS / "scanning"), "--smoke", "--part", part]
    ran = run(program, env=clean_environment(), cwd=TRIALS)
    assert (ran.status, ran.err) == (0, "")
    assert re.search(r"^\| .*`scan`.* \|", ran.out, re.MULTILINE)
    assert "A smoke run: these figures are not measurements." in ran.out
