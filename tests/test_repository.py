"""Rules for every file of the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.secret.material import is_well_formed, placeholder, weakness

ROOT = Path(__file__).parent.parent


def tracked() -> list[Path]:
    """List the files that git tracks."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git or its checkout is missing, so the list of files is unknown")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_literal_passes_as_a_key() -> None:
    """No text in any file passes the project's checks as a key."""
    materials = [policy.material for policy in RuntimeSecrets.secret_policies.values()]
    passing = [
        (path.name, text[:4])
        for path in tracked()
        for text in re.findall(r"(?<![A-Za-z0-9_-])(?<!sha256:)[A-Za-z0-9_-]{43,}", path.read_text(encoding="utf-8"))
        if not placeholder(text) and not weakness(text) and any(is_well_formed(text, *each) for each in materials)
    ]
    assert passing == []
    assert len(tracked()) > 40


def test_the_structure_of_the_source() -> None:
    """Nothing imports in a circle, docs/architecture.md lists each module, and the source keeps to its limits."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "house.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_each_module_has_a_test_module() -> None:
    """The tests of a module are in `test_<module>.py`. Exceptions are tested where they are raised."""
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    names = [path.stem for path in (ROOT / "src").rglob("*.py") if not path.stem.startswith("__")]
    assert [name for name in names if f"test_{name}.py" not in tests] == ["errors"]


def test_every_promise_names_its_tests() -> None:
    """Every row of the promises in SECURITY.md names tests that exist."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| promise \| held by \|\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    held_by = [re.findall(r"`(tests/[\w/.]+)`", row.rstrip(" |\n").rpartition(" | ")[2]) for row in table.splitlines()]
    assert all(held_by)
    assert [path for paths in held_by for path in paths if not (ROOT / path).exists()] == []
