"""The README's commands and examples are what a new user pastes: they are run, and its tables are complete."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import V1, good_keys, run

from robodj_secretguard.cli.options import find_project
from robodj_secretguard.sources import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


MODEL, EMBED, REPORT, REFUSAL, ADD = blocks("python")
PROJECT, TESTING = blocks("toml")
QUICKSTART, TESTS, GATE, EXEC, BUILD = blocks("sh")


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A repository that has what the README says, and a revocation list."""
    root = tmp_path / "service"
    for name, content in {
        "app/settings.py": MODEL,
        "app/main.py": f"{EMBED}print('served')\n",
        "pyproject.toml": PROJECT,
        "config/revoked.fingerprints": "# nothing is revoked\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


@pytest.mark.parametrize(("code", "with_webhook"), [(EMBED, False), (REPORT, False), (ADD, True)])
def test_the_examples_run(code: str, with_webhook: bool, clean_env: dict[str, str], service: Path) -> None:  # noqa: FBT001
    """Each starts with good keys, and the first and the last are refused without."""
    keys = good_keys() | ({"ROBODJ_WEBHOOK_KEY": good_keys()[V1]} if with_webhook else {})
    started = run(["-c", code], env=clean_env | keys, cwd=service, keys=list(keys.values()))
    assert (started.status, started.err) == (0, "")
    refused = run(["-c", code], env=clean_env, cwd=service)
    assert refused.status == (0 if code == REPORT else 3)
    assert len(refused.alerts) == (0 if code == REPORT else len(keys))


@pytest.mark.parametrize("there", [True, False])
def test_the_set_up_of_the_model(there: bool, clean_env: dict[str, str], service: Path, tmp_path: Path) -> None:  # noqa: FBT001
    """From another working directory the service uses its own revocation list, and does not start without one."""
    if not there:
        (service / "config" / "revoked.fingerprints").unlink()
    env = clean_env | good_keys() | {"PYTHONPATH": str(service)}
    ran = run(["-c", "import app.main"], env=env, cwd=tmp_path)
    assert (ran.status, [line.split()[1] for line in ran.alerts]) == ((0, []) if there else (3, ["revocation-list:"]))


def test_the_project_configuration(clean_env: dict[str, str], service: Path) -> None:
    """It names the model, and every key that there is has a row."""
    ran = run(["-m", "robodj_secretguard", "check"], env=clean_env | good_keys(), cwd=service)
    assert "model: app.settings:ServiceSecrets (pyproject.toml)" in ran.out.splitlines()
    rows = "".join(re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| (?:as `--|true: )", README, re.MULTILINE))
    keys = find_project(str(service))._fields[1:]
    assert sorted(re.findall("`([a-z-]+)`", rows)) == sorted(key.replace("_", "-") for key in keys)


def test_a_secret_is_added_in_ten_lines() -> None:
    """The declaration, imports aside."""
    declaration = ADD[ADD.index("WEBHOOK = ") : ADD.index("secrets = ")]
    assert len([line for line in declaration.splitlines() if line]) <= 10


def test_the_refusal_that_is_shown_is_the_one_that_is_written(clean_env: dict[str, str], service: Path) -> None:
    """To the letter."""
    refused = run(["-c", EMBED], env=clean_env | good_keys() | {V1: "changeme"}, cwd=service)
    assert blocks("text") == [refused.out]


def test_the_two_commands() -> None:
    """They install this project, then run the quickstart and the tests; the second is what CI runs."""
    assert QUICKSTART == "python -m pip install . && python examples/quickstart.py\n"
    assert TESTS == 'python -m pip install ".[test]" && python -m pytest\n'
    steps = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert all(f"- run: {command}\n" in steps for command in TESTS.strip().split(" && "))
    assert (ROOT / shlex.split(QUICKSTART)[-1]).is_file()


def test_the_gates_command() -> None:
    """It is the policy's, and the script is where it says."""
    assert GATE == "python config/check_runtime_secrets.py --require-env-only\n"
    assert (ROOT / "examples" / "robodj_service" / shlex.split(GATE)[1]).is_file()


@pytest.mark.parametrize("command", [EXEC, BUILD])
def test_the_commands_behind_the_gate(command: str, clean_env: dict[str, str], service: Path) -> None:
    """Each gets to its command with good keys or without any, and a bad key keeps the first from it."""
    gate, after = shlex.split(command)[1:], shlex.split(command).index("--")
    argv = ["-m", "robodj_secretguard", *gate[:after], sys.executable, "-c", "import app.main"]
    keys = good_keys() if command == EXEC else {}
    started = run(argv, env=clean_env | keys, cwd=service, keys=list(keys.values()))
    assert (started.status, started.out.splitlines()[-1]) == (0, "served")
    refused = run(argv, env=clean_env | good_keys() | {V1: "changeme"}, cwd=service)
    assert (refused.status, "served" in refused.out) == (3, False)


@pytest.mark.parametrize("protected", [True, False])
def test_temporary_keys_serve_where_nothing_protects(
    protected: bool,  # noqa: FBT001
    clean_env: dict[str, str],
    service: Path,
) -> None:
    """`exec --ephemeral` in a container's command serves, unless `ROBODJ_PROTECTED_ENV=true`."""
    argv = ["-m", "robodj_secretguard", "exec", "--ephemeral", "--", sys.executable, "-c", "import app.main"]
    ran = run(argv, env=clean_env | ({"ROBODJ_PROTECTED_ENV": "true"} if protected else {}), cwd=service)
    assert (ran.status, "served" in ran.out) == ((3, False) if protected else (0, True))


def test_the_tests_of_a_refusal(clean_env: dict[str, str], tmp_path: Path) -> None:
    """They pass, with the configuration that is shown, in a project that has a guarded main."""
    (tmp_path / "pyproject.toml").write_text(TESTING, encoding="utf-8")
    (tmp_path / "main.py").write_text("from robodj_secretguard import guard\nguard()\n", encoding="utf-8")
    (tmp_path / "test_main.py").write_text(f"import main\n{REFUSAL}", encoding="utf-8")
    ran = run(["-m", "pytest", "-q"], env=clean_env, cwd=tmp_path)
    assert (ran.status, "5 passed" in ran.out) == (0, True)


def test_the_json_document(clean_env: dict[str, str], service: Path) -> None:
    """Its shape is what the gate gives."""
    (shown,) = (json.loads(block) for block in blocks("json"))
    argv = ["-m", "robodj_secretguard", "check", "--format", "json"]
    document = json.loads(run(argv, env=clean_env | good_keys() | {V1: "changeme"}, cwd=service).out)
    assert (list(shown), shown["model"]) == (list(document), document["model"])
    for key in ("secrets", "findings"):
        assert list(shown[key][0]) == list(document[key][0])


@pytest.mark.parametrize("name", SETTINGS)
def test_the_table_of_variables(name: str) -> None:
    """Every setting has a row."""
    assert re.search(rf"^\| .*`{name}`", README, re.MULTILINE)


def test_the_table_of_the_policy(clean_env: dict[str, str], tmp_path: Path) -> None:
    """Every section of the policy has a row, in order, and every command of the program is in one."""

    def commands(*group: str) -> Iterator[tuple[str, ...]]:
        shown = run(["-m", "robodj_secretguard", *group, "--help"], env=clean_env, cwd=tmp_path).out
        if "\n  COMMAND\n" not in shown:
            yield group
        for name in re.findall(r"^    ([a-z]+) ", shown, re.MULTILINE) if "\n  COMMAND\n" in shown else ():
            yield from commands(*group, name)

    rows = re.findall(r"^\| (\d? ?\w*?) ?\| `robodj-secretguard ([^`]+)` \|", README, re.MULTILINE)
    assert [section.split()[0] for section, _ in rows if section] == [str(number) for number in range(1, 8)]
    shown = {tuple(itertools.takewhile(str.isalpha, command.split())) for _, command in rows}
    assert shown == set(commands())


def test_links() -> None:
    """What it links to in this repository is there."""
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    headings = re.findall("^## (.*)", README, re.MULTILINE)
    anchors = {"#" + re.sub("[^a-z ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert [target for target in targets if target not in anchors and not (ROOT / target).exists()] == []


@pytest.mark.parametrize("option", ["--require-env-only", "--config-dir", "--model", "--strict", "--format"])
def test_options(option: str, clean_env: dict[str, str], tmp_path: Path) -> None:
    """Every option of the gate is in the README and in its help."""
    shown = run(["-m", "robodj_secretguard", "check", "--help"], env=clean_env, cwd=tmp_path)
    assert shown.status == 0
    assert f"| `{option}" in README
    assert option in shown.out
    assert sys.executable not in shown.out
