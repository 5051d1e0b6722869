"""A revocation list that git replaces while keys are revoked: no revocation is lost, and no part of it is relied on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import run
from processes import GOOD, host_env

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform"),
    pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on this machine"),
]

PROGRAM = str(Path(__file__).with_name("list_writers.py"))


@pytest.mark.parametrize(("rounds", "patience"), [(10, 60), pytest.param(1000, 1200, marks=pytest.mark.full)])
def test_git_and_two_that_revoke(tmp_path: Path, rounds: int, patience: int) -> None:
    """An acknowledged revocation is missing only where the checkout came later, and no passing report is of a part."""
    env = {name: value for name, value in host_env(GOOD).items() if not name.startswith("COVERAGE")}
    ran = run([PROGRAM, str(rounds)], env=env, cwd=tmp_path, keys=tuple(GOOD.values()), timeout=patience)
    assert (ran.status, ran.err) == (0, "")
    seen = json.loads(ran.out)
    assert (seen["rounds"], seen["lost"], seen["of a part"]) == (rounds, 0, 0)
    assert seen["acknowledged"] > rounds
