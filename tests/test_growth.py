"""The cost of a start, without a clock: the imported modules, and the executed lines."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from command_line import rotated
from conftest import NOW, V1, clean_environment, good_keys, put, run
from fleets import NAME, SEEN, evidence_of
from pydantic import SecretStr, create_model

from robodj_secretguard import Check, SecretPolicy, SecretSettings, check
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.fleet.verdict import Service, Use, judge
from robodj_secretguard.lifecycle.standing import roles_of

FLOOR = (Path(__file__).parent / "trials" / "benchmarks" / "programs" / "floor.py").read_text(encoding="utf-8")
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
"""A start, the gate, and the gate's options. The start cannot copy the environment or read package metadata."""
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
            *("guarding", "running", "running.keyset", "running.store", "secret", "settings", "startup"),
            *(f"secret.{each}" for each in ("frozen", "material", "policy", "sealed")),
            *(f"startup.{each}" for each in ("emit", "inputs", "readings", "report", "rules")),
        )
    ),
}
"""The modules that a guard imports in addition to a bare `BaseSettings`. Each further one must be worth it."""
MODEL_OPTION = {"robodj_secretguard.startup.model_option"}
OF_THE_GATE = {
    *("robodj_secretguard.cli", "robodj_secretguard.common.generator", "robodj_secretguard.secret.texts"),
    *("robodj_secretguard.errors", "robodj_secretguard.version"),
    *(f"robodj_secretguard.cli.{name}" for name in ("app", "output", "gate", "options")),
    *("robodj_secretguard.common", "robodj_secretguard.common.loading"),
}
HASHING = {"hashlib", "_hashlib", "_blake2"}
"""For fingerprints. Newer versions of pydantic-settings import it as well."""
GENERATING = {"secrets", "hmac"}
"""For the temporary keys of `exec`. Newer versions of pydantic-settings import it as well."""

SENDING = {"json", "json.decoder", "json.encoder", "json.scanner", "platform", "shlex"}
"""For an event, where pydantic-settings has not imported them."""
SENDING_MODULES = ("running.heartbeat", "running.state", "secret.texts", "startup.event_settings", "version")


def imported(program: str, cwd: Path) -> dict[str, set[str]]:
    """Return the modules that each step of a program has imported."""
    ran = run(["-c", program], env=clean_environment() | good_keys(), cwd=cwd, fresh=True)
    assert (ran.status, ran.err) == (0, "")
    return {name: {*modules} for name, modules in json.loads(ran.out.splitlines()[-1]).items()}


def test_start_and_gate_import_only_their_modules(tmp_path: Path) -> None:
    """A start imports no structlog and no lifecycle. The gate imports no other command, with any options."""
    steps = imported(START, tmp_path)
    assert steps["start"] - HASHING == OF_A_START
    assert steps["gate"] - GENERATING == OF_THE_GATE | MODEL_OPTION
    assert not [name for name in steps["options"] if name.startswith("robodj_secretguard.cli")]


def test_only_a_start_with_events_imports_heartbeat(tmp_path: Path) -> None:
    """Only a start that sends an event imports `heartbeat`, and what it needs."""
    program = START.replace("guard()\nstep", 'os.environ["ROBODJ_SECRET_EVENTS"] = "stderr"\nguard()\nstep')
    ran = run(["-c", program], env=clean_environment() | good_keys(), cwd=tmp_path, fresh=True)
    modules = {*json.loads(ran.out.splitlines()[-1])["start"]} - HASHING - OF_A_START
    assert modules - SENDING == {f"robodj_secretguard.{each}" for each in SENDING_MODULES}
    assert '"secret_event": "started"' in ran.err


def test_refusal_imports_only_structlog_in_addition(tmp_path: Path) -> None:
    """A refusal imports the modules of a start, structlog, and what names the model in its fixes."""
    assert imported(REFUSAL, tmp_path)["refusal"] - HASHING == OF_A_START | MODEL_OPTION


COUNT_LINES = """
import json, os, sys
from datetime import timedelta
from typing import Annotated
from pydantic import SecretStr, create_model
from robodj_secretguard import RuntimeSecrets, SecretPolicy, SecretSettings, guard
from robodj_secretguard.running.store import forget_stores
def policy(number):
    days = {"cadence": timedelta(days=90), "warn_before": timedelta(days=14)}
    return SecretPolicy(name=f"{number}.key", variable=f"KEY_{number:03}", owner="a", backup_owner="b", **days)
def model_of(size):
    fields = {f"key_{number}": (Annotated[SecretStr, policy(number)], ...) for number in range(size)}
    return create_model("Model", __base__=SecretSettings, **fields)
lines = 0
def count(frame, event, argument):
    global lines
    lines += event == "line"
    return count
def lines_of(model):
    global lines
    guard(model)
    forget_stores()
    lines = 0
    sys.settrace(count)
    guard(model)
    sys.settrace(None)
    return lines
"""
NEEDED = {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"}
"""Variables that an interpreter may need to start."""
OTHERS, SECRETS = 3000, (2, 101, 200)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The number of Python lines that a second call executes, with those of the libraries."""
    env = {name: value for name, value in clean_environment().items() if name in NEEDED}
    keys = [secrets.token_urlsafe(32) for _ in range(SECRETS[-1])]
    pairs = [good_keys() for _ in range(6)]  # the minimum counts, since one key in twelve takes more lines
    program = f"""{COUNT_LINES}
KEYS = {keys}
calls = {{}}
for pair in {pairs}:
    os.environ |= pair
    calls[lines_of(RuntimeSecrets)] = pair
counted = {{"call": min(calls)}}
os.environ |= calls[min(calls)]
os.environ |= {{f"SERVICE_{{number}}_SETTING": "1" for number in range({OTHERS})}}
counted["others"] = lines_of(RuntimeSecrets)
for name in [name for name in os.environ if name.startswith("SERVICE_")]:
    del os.environ[name]
for size in {SECRETS}:
    os.environ |= {{f"KEY_{{number:03}}": KEYS[number] for number in range(size)}}
    counted[size] = lines_of(model_of(size))
print(json.dumps(counted))
"""
    ran = run(["-c", program], env=env, cwd=tmp_path_factory.mktemp("lines"), fresh=True)
    assert (ran.status, ran.err) == (0, "")
    counted: dict[str, Any] = json.loads(ran.out)
    return counted


@pytest.mark.parametrize(("words", "status"), [("--help", 0), ("--version", 0), ("", 2), ("chek", 2), ("--chek", 2)])
def test_help_and_unknown_words_import_no_pydantic(tmp_path: Path, words: str, status: int) -> None:
    """The help, the version and an unknown word do not wait for the imports of the guard."""
    program = "import sys; from robodj_secretguard.cli import main; status = main(sys.argv[1:])"
    ran = run(
        ["-c", f"{program}; sys.exit(status + 90 * ('pydantic' in sys.modules))", *words.split()],
        env=clean_environment(),
        cwd=tmp_path,
        fresh=True,
    )
    assert ran.status == status


@pytest.mark.parametrize(
    ("options", "managers"), [((), []), (("--from", "directory:."), ["folder", "local", "manager"])]
)
def test_command_imports_only_the_managers_of_its_sources(
    tmp_path: Path, options: tuple[str, ...], managers: list[str]
) -> None:
    """A command imports only the secret managers of its sources, and no client of a server without one."""
    for name, key in good_keys().items():
        put(tmp_path / name, key)
    command = ("exec", *options, "--", "./nowhere")
    program = f"import sys\nfrom robodj_secretguard.cli import main\nprint(main({command}))\nprint(*sys.modules)"
    ran = run(["-c", program], env=clean_environment() | ({} if options else good_keys()), cwd=tmp_path, fresh=True)
    status, *imported = ran.out.split()
    assert status == "127"
    prefix = "robodj_secretguard.managers."
    assert sorted(name.removeprefix(prefix) for name in imported if name.startswith(prefix)) == managers
    assert {"hvac", "boto3", "requests", "urllib3", "http.client"}.isdisjoint(imported)


def test_call_runs_few_lines(lines: dict[str, int]) -> None:
    """For the policy's two secrets, a call runs fewer than 1,300 lines."""
    assert lines["call"] < 1300


def test_another_variable_costs_at_most_four_lines(lines: dict[str, int]) -> None:
    """Another variable costs at most four lines, three of them in `os.environ`."""
    assert lines["others"] - lines["call"] <= 4 * OTHERS


def test_cost_of_a_further_secret_does_not_grow(lines: dict[str, int]) -> None:
    """The cost of a further secret does not grow with their number."""
    few, some, many = (lines[str(number)] for number in SECRETS)
    assert many - some <= 1.05 * (some - few)
    assert many / 200 < few / 2


def calls_of(action: Callable[[], object]) -> int:
    """Return how many functions an action calls, those in C included."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def assert_linear(action_of: Callable[[int], Callable[[], object]]) -> None:
    """Require that a doubled size costs at most 2.2 times as many calls."""
    some, many = (calls_of(action_of(size)) for size in (100, 200))
    assert many <= 2.2 * some


def test_cost_of_equal_secrets_grows_with_their_number() -> None:
    """Two equal secrets are found without a comparison of each pair."""

    def action_of(size: int) -> Callable[[], object]:
        fields: dict[str, Any] = {
            f"key_{each}": (Annotated[SecretStr, SecretPolicy(name=f"{each}.key", variable=f"KEY_{each:03}")], ...)
            for each in range(size)
        }
        model = create_model("Model", __base__=SecretSettings, **fields)
        environ = {f"KEY_{each:03}": secrets.token_urlsafe(32) for each in range(size)} | dict.fromkeys(
            ("KEY_001", "KEY_002"), secrets.token_urlsafe(32)
        )
        environ |= dict.fromkeys(("KEY_003", "KEY_004"), secrets.token_urlsafe(32))
        report = check(model, environ=environ)
        assert [each.check for each in report.findings] == [Check.SHARED] * 2
        assert [each.variable for each in report.secrets if not each.usable] == [f"KEY_00{each}" for each in "1234"]
        return lambda: check(model, environ=environ)

    assert_linear(action_of)


def test_cost_of_the_roles_grows_with_the_log() -> None:
    """Each record is looked at once, however many keys are asked about."""
    report = check(environ=good_keys(), now=NOW)

    def action_of(size: int) -> Callable[[], object]:
        keys = [f"sgfp1:{each:032x}" for each in range(size)]
        records = [rotated(NOW, key) for key in keys]

        def judged() -> None:
            role_of = roles_of(report, records, {})
            assert [role_of("secret.key", key) for key in keys] == ["superseded"] * size

        return judged

    assert_linear(action_of)


def test_cost_of_a_verdict_grows_with_the_fleet() -> None:
    """Each process is looked at a fixed number of times, however many services the roster has."""

    def action_of(size: int) -> Callable[[], object]:
        services = [Service(f"prod/{each}", ("web-1",)) for each in range(size)]
        keys = {service: f"sgfp1:{each:032x}" for each, service in enumerate(services)}
        evidence = evidence_of(
            *(Use(of.name, "web-1", {NAME: Slots(key)}, is_fresh=True, seen=SEEN) for of, key in keys.items()),
            unknown={(of.name, "web-1"): "why" for of in services[::2]},
        )

        def judged() -> None:
            holds = [each.holds for each in judge("moved", NAME, keys, evidence)]
            assert holds == [False, True] * (size // 2)

        return judged

    assert_linear(action_of)
