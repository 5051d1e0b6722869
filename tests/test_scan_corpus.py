"""A scan finds every planted key, where it is, and nothing in files that hold none."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import Machine, machine_at, rotated
from conftest import NOW, V1, V2, clean_environment, run
from scanning.history import GIT_SETTINGS, PLACES, holding, plant_history
from scanning.plants import NAMED, PLANTS, key_fingerprint, new_keys, plant_files
from scanning.real import LEAST_FILES, real_directories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scanning.history import Kept
    from scanning.plants import Place

LIVE, BY_FINGERPRINT = "live", "fingerprints"
MODES = (LIVE, BY_FINGERPRINT)
FILES = [f"{each.group}: {each.name}" for each in PLANTS] + [
    f"{'links' if ' link ' in each else 'names'}: {each}" for each in (NAMED if os.name != "nt" else ())
]
STAGED = [each for each in PLACES if each.startswith("staged")]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

Report = dict[str, Any]


def _keyed(report: Report) -> list[tuple[Any, ...]]:
    """Return what is said of each finding, without where it is."""
    return [(each["rule"], each["where"], each["fingerprint"], each["form"]) for each in report["findings"]]


@dataclass(frozen=True)
class Corpus:
    """Planted keys, and a machine to which they are delivered, and one that knows their fingerprints alone."""

    root: Path
    keys: dict[str, str]
    machines: dict[str, Machine]

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @cached_property
    def places(self) -> dict[str, Place]:
        return plant_files(self.files, self.keys)

    @cached_property
    def kept(self) -> dict[str, Kept]:
        return plant_history(self.repository, self.keys)

    def scan(self, mode: str, *arguments: str) -> Report:
        """Scan, and return the result, less the part of the paths that is not the corpus's."""
        options = ("--fingerprints",) if mode == BY_FINGERPRINT else ()
        ran = self.machines[mode].call("scan", "--format", "json", *options, *arguments)
        report: Report = json.loads(ran.out)
        # Beside this test others run, and compile what they import.
        missed = [each["place"] for each in report["unread"] if each["matters"]]
        assert [place for place in missed if "/__pycache__/" not in place] == []
        assert ran.status == (2 if not report["complete"] else 1 if report["findings"] else 0)
        for each in report["findings"]:
            each["path"] = each["path"] and each["path"].removeprefix(f"{self.root.as_posix()}/")
        return report


@pytest.fixture(scope="module")
def corpus() -> Iterator[Corpus]:
    """The planted keys. They are made anew for each run, and taken away after it."""
    keys = new_keys()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        machines = {}
        for mode in MODES:
            (root / mode).mkdir()
            machines[mode] = machine_at(root / mode)
            machines[mode].environ.clear()
            machines[mode].environ.update(GIT_SETTINGS | {"PATH": os.environ["PATH"]})
        machines[LIVE].environ.update(keys)
        machines[BY_FINGERPRINT].record(rotated(NOW, key_fingerprint(keys[V1])))
        machines[BY_FINGERPRINT].write("revoked.fingerprints", f"{key_fingerprint(keys[V2])}\n")
        yield Corpus(root, keys, machines)


@pytest.fixture(scope="module")
def in_files(corpus: Corpus) -> dict[str, Report]:
    """One scan in each mode."""
    assert len(corpus.places) >= 300
    return {mode: corpus.scan(mode, str(corpus.files)) for mode in MODES}


@pytest.fixture(scope="module")
def in_history(corpus: Corpus) -> dict[str, Report]:
    """One scan of the history in each mode."""
    assert set(corpus.kept) == set(PLACES)
    return {mode: corpus.scan(mode, "--git-history", str(corpus.repository)) for mode in MODES}


@pytest.fixture(scope="module")
def in_index(corpus: Corpus) -> dict[str, Report]:
    """One scan of what is staged in each mode."""
    assert corpus.kept
    return {mode: corpus.scan(mode, "--staged", str(corpus.repository)) for mode in MODES}


class TestFiles:
    """Keys in files, in their names and in links."""

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("name", FILES)
    def test_a_planted_key_is_found(self, name: str, mode: str, corpus: Corpus, in_files: dict[str, Report]) -> None:
        """Once, at its file, line, column and offset, and as what it is encoded."""
        place = corpus.places[name]
        found = [each for each in in_files[mode]["findings"] if each["path"].startswith(f"files/{place.path}")]
        if mode == BY_FINGERPRINT and not place.by_fingerprint:
            assert len(found) == 0, "a form that is said not to be found by its fingerprint is found"
            return
        (only,) = found
        assert only["path"] == f"files/{place.path}"
        assert (only["rule"], only["where"], only["form"]) == (place.rule, place.where, place.form)
        assert (only["fingerprint"] == place.fingerprint) is True
        at = (only["line"], only["column"] if place.column else None, only["offset"])
        assert at == (place.line, place.column, place.offset)
        if mode == LIVE:
            assert only["secret"] == place.secret

    @pytest.mark.parametrize("mode", MODES)
    def test_nothing_else_is_found(self, mode: str, corpus: Corpus, in_files: dict[str, Report]) -> None:
        """Nothing is reported in a file where nothing is planted, and nothing twice."""
        planted = Counter(
            f"files/{each.path}" for each in corpus.places.values() if mode == LIVE or each.by_fingerprint
        )
        assert Counter(each["path"] for each in in_files[mode]["findings"]) == planted

    def test_what_a_fingerprint_cannot_find_is_one_group(self, corpus: Corpus) -> None:
        """All that needs the key itself is one that is glued with letters: nothing shows where it begins or ends."""
        assert {each.group for each in corpus.places.values() if not each.by_fingerprint} == {"glued with letters"}


@needs_git
class TestHistory:
    """Keys that git keeps."""

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("name", PLACES)
    def test_a_key_that_git_keeps_is_found(
        self, name: str, mode: str, corpus: Corpus, in_history: dict[str, Report]
    ) -> None:
        """Once in its object, with every commit that put it there, and under which path."""
        kept = corpus.kept[name]
        (found,) = (each for each in in_history[mode]["findings"] if each["object"] == kept.object)
        assert (found["rule"], found["where"], found["kind"]) == ("known-key", "history", kept.kind)
        assert found["form"] == kept.form
        assert (found["fingerprint"] == kept.fingerprint) is True
        if kept.line:
            assert (found["line"], found["column"]) == (kept.line, kept.column)
        assert {(each["commit"], each["path"]) for each in found["carriers"]} == kept.carriers
        assert len(found["carriers"]) == len(kept.carriers)

    @pytest.mark.parametrize("mode", MODES)
    def test_nothing_else_is_found(self, mode: str, corpus: Corpus, in_history: dict[str, Report]) -> None:
        """What is not in an object is in the work tree, or in a file of git's own in which git wrote a message."""
        findings = in_history[mode]["findings"]
        objects = {each.object for each in corpus.kept.values()}
        assert {each["object"] for each in findings if each["where"] == "history"} == objects
        files = {each["path"].removeprefix("repository/") for each in findings if each["where"] != "history"}
        own = {each.replace(os.sep, "/") for each in holding(corpus.repository, corpus.keys)}
        assert {each for each in files if not each.startswith(".git/")} == {"here.txt", "now here.txt"}
        assert {each for each in files if each.startswith(".git/")} >= own

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("name", STAGED)
    def test_a_staged_key_is_found(self, name: str, mode: str, corpus: Corpus, in_index: dict[str, Report]) -> None:
        """It is in the index, and no longer in the work tree."""
        kept = corpus.kept[name]
        ((_, path),) = kept.carriers
        (found,) = (each for each in in_index[mode]["findings"] if each["path"] == path)
        assert (found["rule"], found["where"], found["object"]) == ("known-key", "index", kept.object)
        assert (found["form"], found["line"], found["column"]) == (kept.form, kept.line, kept.column)
        assert (found["fingerprint"] == kept.fingerprint) is True

    @pytest.mark.parametrize("mode", MODES)
    def test_nothing_that_is_not_staged_is_found(self, mode: str, in_index: dict[str, Report]) -> None:
        """A scan for a hook looks at what the next commit adds, and not at what was there before."""
        assert len(in_index[mode]["findings"]) == len(STAGED)


class TestNoFalseAlarm:
    """Real text and code."""

    @pytest.mark.parametrize("mode", MODES)
    def test_files_without_a_key(self, mode: str, corpus: Corpus) -> None:
        """Thousands of files of Python and its packages hold no key, and none is reported."""
        directories, count = real_directories()
        if count < LEAST_FILES:
            pytest.skip(f"this Python comes with {count} files of text alone")
        report = corpus.scan(mode, *directories)
        assert _keyed(report) == []
        assert report["files"] >= LEAST_FILES


class TestProgram:
    """`python tests/scanning`, which makes the tables of `docs/scan.md`."""

    @pytest.mark.parametrize("part", ["speed", "memory", "history"])
    def test_a_little_of_it(self, part: str) -> None:
        """Every part ends, and has a row of the scan; where other scanners are missing it says so."""
        program = [str(Path(__file__).parent / "scanning"), "--smoke", "--part", part]
        ran = run(program, env=clean_environment(), cwd=Path(__file__).parent)
        assert (ran.status, ran.err) == (0, "")
        assert re.search(r"^\| .*`scan`.* \|", ran.out, re.MULTILINE)
        assert "A smoke run: no figure here is a measurement." in ran.out
