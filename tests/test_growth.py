"""What a start costs, without the clock: the modules that it imports, and the lines that it runs."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from conftest import V1, clean_environment, good_keys, run

FLOOR = (Path(__file__).parent / "benchmarks" / "programs" / "floor.py").read_text(encoding="utf-8")
GUARD = "from robodj_secretguard import guard\nguard()\n"
REFUSED = f"""
import contextlib, os
del os.environ["{V1}"]
with contextlib.suppress(SystemExit):
    from robodj_secretguard import guard
    guard()
"""
GATE = "from robodj_secretguard.cli import main\nassert main(['check']) == 0\n"
SHOW_MODULES = "import sys\nprint('', *sorted(sys.modules))\n"

OF_A_START = {
    "robodj_secretguard",
    "robodj_secretguard.checks",
    "robodj_secretguard.emit",
    "robodj_secretguard.errors",
    "robodj_secretguard.frozen",
    "robodj_secretguard.guard",
    "robodj_secretguard.material",
    "robodj_secretguard.models",
    "robodj_secretguard.near_miss",
    "robodj_secretguard.placeholders",
    "robodj_secretguard.policy",
    "robodj_secretguard.report",
    "robodj_secretguard.sealed",
    "robodj_secretguard.sources",
    "robodj_secretguard.textfile",
}
"""What a service imports for its guard beside what a bare `BaseSettings` imports: a further one must be worth it."""
HASHING = {"hashlib", "_hashlib", "_blake2"}
"""For fingerprints. Newer versions of pydantic-settings import it as well."""
GENERATING = {"secrets", "hmac"}
"""For the temporary keys of `exec`; as above."""
OF_THE_GATE = {
    "robodj_secretguard.cli",
    "robodj_secretguard.cli.app",
    "robodj_secretguard.cli.output",
    "robodj_secretguard.cli.gate",
    "robodj_secretguard.cli.options",
    "robodj_secretguard.generator",
    "robodj_secretguard.texts",
    "robodj_secretguard.loading",
}


def imported(program: str, cwd: Path) -> set[str]:
    """List the modules of a process that has run a program."""
    ran = run(["-c", program + SHOW_MODULES], env=clean_environment() | good_keys(), cwd=cwd)
    assert (ran.status, ran.err) == (0, "")
    return {*ran.out.splitlines()[-1].split()}


def test_the_modules_of_a_start(tmp_path: Path) -> None:
    """They are these: neither structlog, argparse and difflib, nor what renders, nor the lifecycle."""
    assert imported(GUARD, tmp_path) - imported(FLOOR, tmp_path) - HASHING == OF_A_START


def test_the_modules_of_a_refusal(tmp_path: Path) -> None:
    """They are those of a start, and structlog."""
    assert imported(REFUSED, tmp_path) - imported(f"import structlog\n{FLOOR}", tmp_path) - HASHING == OF_A_START


def test_the_modules_of_the_gate(tmp_path: Path) -> None:
    """No other command's module is imported."""
    assert imported(GATE, tmp_path) - imported(GUARD, tmp_path) - GENERATING == OF_THE_GATE


@pytest.mark.parametrize("argv", [["check", "--strict"], ["check", "--format", "json"], ["exec", "--help"]])
def test_the_commands_beside_the_gate(tmp_path: Path, argv: list[str]) -> None:
    """None is imported where the gate has options, or is `exec`."""
    program = f"from robodj_secretguard.cli import main\nassert main({argv}) == 0\n"
    commands, of_the_gate = (
        {each for each in modules if each.startswith("robodj_secretguard.cli.")}
        for modules in (imported(program, tmp_path), OF_THE_GATE)
    )
    assert commands == of_the_gate


def test_nothing_is_looked_up_about_the_installation(tmp_path: Path) -> None:
    """Neither a version nor an entry point, once pydantic has looked for its own plugins."""
    nobody_may = """
import importlib.metadata
for name in ("version", "metadata", "distribution", "distributions", "entry_points"):
    setattr(importlib.metadata, name, None)
"""
    assert imported(FLOOR + nobody_may + GUARD, tmp_path) >= OF_A_START


def test_the_environment_is_not_copied(tmp_path: Path) -> None:
    """Names are looked over, and single values are read."""
    nobody_may = """
import os
for name in ("copy", "items", "keys", "values", "__or__"):
    setattr(type(os.environ), name, None)
"""
    assert imported(nobody_may + GUARD, tmp_path) >= OF_A_START


COUNT_LINES = """
import sys
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr, create_model
from robodj_secretguard import RuntimeSecrets, SecretPolicy, SecretSettings, guard
def policy(place):
    days = {"cadence": timedelta(days=90), "warn_before": timedelta(days=14)}
    return SecretPolicy(name=f"{place}.key", variable=f"KEY_{place:03}", owner="a", backup_owner="b", **days)
def model_of(number):
    fields = {f"key_{place}": (Annotated[SecretStr, policy(place)], ...) for place in range(number)}
    return create_model("Model", __base__=SecretSettings, **fields)
model = MODEL
guard(model)
lines = 0
def count(frame, event, argument):
    global lines
    lines += event == "line"
    return count
sys.settrace(count)
guard(model)
sys.settrace(None)
print(lines)
"""


NEEDED = {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"}
"""What an interpreter may not start without."""
KEYS = good_keys()
"""The same for every count: how many lines judge a key depends on the key."""


def lines_of(cwd: Path, *, model: str = "RuntimeSecrets", declared: int = 0, others: int = 0) -> int:
    """Count the lines of Python that a second call runs, its own and those of the libraries.

    Args:
        cwd: the working directory.
        model: the model, as it is written in the program.
        declared: how many secrets have a key besides the two of the policy.
        others: how many further variables there are.
    """
    env = {name: value for name, value in clean_environment().items() if name in NEEDED}
    env |= KEYS | {f"KEY_{place:03}": secrets.token_urlsafe(32) for place in range(declared)}
    env |= {f"SERVICE_{place}_SETTING": "1" for place in range(others)}
    ran = run(["-c", COUNT_LINES.replace("MODEL", model)], env=env, cwd=cwd)
    assert (ran.status, ran.err) == (0, "")
    return int(ran.out)


def test_the_lines_of_a_call(tmp_path: Path) -> None:
    """They are bounded: some 800 for the policy's two secrets, and a few more for some keys."""
    assert lines_of(tmp_path) < 1000


def test_the_lines_of_a_variable_that_is_none_of_ours(tmp_path: Path) -> None:
    """They are four, three of which are `os.environ`'s own."""
    more = 3000
    assert lines_of(tmp_path, others=more) - lines_of(tmp_path) <= 4 * more


def test_the_lines_of_a_further_secret(tmp_path: Path) -> None:
    """They do not grow with the number of secrets."""
    few, some, many = (lines_of(tmp_path, model=f"model_of({each})", declared=each) for each in (2, 101, 200))
    assert many - some <= 1.05 * (some - few)
    assert many / 200 < few / 2
