"""What a start costs, without the clock: the modules that it imports, and the lines that it runs."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from conftest import V1, clean_environment, good_keys, run

FLOOR = (Path(__file__).parent / "benchmarks" / "programs" / "floor.py").read_text(encoding="utf-8")
STEPS = """
import json, sys
steps, seen = {}, set(sys.modules)
def step(name):
    steps[name] = sorted(sys.modules.keys() - seen)
    seen.update(sys.modules)
"""
START = f"""{FLOOR}
import importlib.metadata, os
{STEPS}
class Environ(type(os.environ)):
    copy = items = keys = values = __or__ = None
environ_type, os.environ.__class__ = type(os.environ), Environ
names = ("version", "metadata", "distribution", "distributions", "entry_points")
looks_up = {{name: getattr(importlib.metadata, name) for name in names}}
vars(importlib.metadata).update(dict.fromkeys(names))
from robodj_secretguard import guard
guard()
step("start")
os.environ.__class__ = environ_type
vars(importlib.metadata).update(looks_up)
from robodj_secretguard.cli import main
assert main(["check"]) == 0
step("gate")
for argv in (["check", "--strict"], ["check", "--format", "json"], ["exec", "--help"]):
    assert main(argv) == 0
step("options")
print()
print(json.dumps(steps))
"""
"""A start that may neither copy the environment nor look up the installation; the gate; the gate's options."""
REFUSAL = f"""import structlog
{FLOOR}{STEPS}
import contextlib, os
del os.environ["{V1}"]
with contextlib.suppress(SystemExit):
    from robodj_secretguard import guard
    guard()
step("refusal")
print()
print(json.dumps(steps))
"""

OF_A_START = {
    "robodj_secretguard",
    *(
        f"robodj_secretguard.{name}"
        for name in (
            *("checks", "emit", "errors", "frozen", "guard", "material", "models", "near_miss", "placeholders"),
            *("policy", "report", "sealed", "sources", "textfile"),
        )
    ),
}
"""What a guard imports in addition to a bare `BaseSettings`: another module must be worth it."""
OF_THE_GATE = {
    *("robodj_secretguard.cli", "robodj_secretguard.generator", "robodj_secretguard.texts"),
    *(f"robodj_secretguard.cli.{name}" for name in ("app", "output", "gate", "options")),
    "robodj_secretguard.loading",
}
HASHING = {"hashlib", "_hashlib", "_blake2"}
"""For fingerprints. Newer versions of pydantic-settings import it as well."""
GENERATING = {"secrets", "hmac"}
"""For the temporary keys of `exec`; as above."""


def imported(program: str, cwd: Path) -> dict[str, set[str]]:
    """Return the modules that each step of a program has imported."""
    ran = run(["-c", program], env=clean_environment() | good_keys(), cwd=cwd)
    assert (ran.status, ran.err) == (0, "")
    return {name: {*modules} for name, modules in json.loads(ran.out.splitlines()[-1]).items()}


def test_the_modules_of_a_start_and_of_the_gate(tmp_path: Path) -> None:
    """A start imports neither structlog nor the lifecycle, and the gate no other command, whatever its options are."""
    steps = imported(START, tmp_path)
    assert steps["start"] - HASHING == OF_A_START
    assert steps["gate"] - GENERATING == OF_THE_GATE
    assert not [name for name in steps["options"] if name.startswith("robodj_secretguard.cli")]


def test_the_modules_of_a_refusal(tmp_path: Path) -> None:
    """A refusal imports what a start imports, and structlog."""
    assert imported(REFUSAL, tmp_path)["refusal"] - HASHING == OF_A_START


COUNT_LINES = """
import json, os, sys
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
lines = 0
def count(frame, event, argument):
    global lines
    lines += event == "line"
    return count
def text_of(model):
    global lines
    guard(model)
    lines = 0
    sys.settrace(count)
    guard(model)
    sys.settrace(None)
    return lines
"""
NEEDED = {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"}
"""What an interpreter may not start without."""
OTHERS, SECRETS = 3000, (2, 101, 200)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Count the lines of Python that a second call runs, its own and those of the libraries."""
    env = {name: value for name, value in clean_environment().items() if name in NEEDED}
    keys = [secrets.token_urlsafe(32) for _ in range(SECRETS[-1])]
    pairs = [good_keys() for _ in range(6)]  # the fewest lines count: one key in twelve needs a closer look
    program = f"""{COUNT_LINES}
KEYS = {keys}
calls = {{}}
for pair in {pairs}:
    os.environ |= pair
    calls[text_of(RuntimeSecrets)] = pair
counted = {{"call": min(calls)}}
os.environ |= calls[min(calls)]
os.environ |= {{f"SERVICE_{{place}}_SETTING": "1" for place in range({OTHERS})}}
counted["others"] = text_of(RuntimeSecrets)
for name in [name for name in os.environ if name.startswith("SERVICE_")]:
    del os.environ[name]
for number in {SECRETS}:
    os.environ |= {{f"KEY_{{place:03}}": KEYS[place] for place in range(number)}}
    counted[number] = text_of(model_of(number))
print(json.dumps(counted))
"""
    ran = run(["-c", program], env=env, cwd=tmp_path_factory.mktemp("lines"))
    assert (ran.status, ran.err) == (0, "")
    counted: dict[str, Any] = json.loads(ran.out)
    return counted


def test_the_text_of_a_call(lines: dict[str, int]) -> None:
    """A call runs less than a thousand lines for the policy's two secrets, and a few more for some keys."""
    assert lines["call"] < 1000


def test_the_text_of_a_variable_that_is_none_of_ours(lines: dict[str, int]) -> None:
    """Another variable costs four lines, three of which are `os.environ`'s own."""
    assert lines["others"] - lines["call"] <= 4 * OTHERS


def test_the_text_of_a_further_secret(lines: dict[str, int]) -> None:
    """A further secret costs the same, however many there are."""
    few, some, many = (lines[str(number)] for number in SECRETS)
    assert many - some <= 1.05 * (some - few)
    assert many / 200 < few / 2
