"""The README: its commands and examples work as shown, and its tables are complete."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from command_line import EVERY_COMMAND
from conftest import V1, good_keys, run

from robodj_secretguard.cli import main
from robodj_secretguard.cli.options import find_project
from robodj_secretguard.sources import SETTINGS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


MODEL, EMBED, REPORT, REFUSAL, ADD = blocks("python")
PROJECT, TESTING = blocks("toml")
QUICKSTART, TESTS, GATE, EXEC, BUILD = blocks("sh")


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A repository with the files of the README, and a revocation list."""
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
    """Each example starts with good keys, and those with a guard are refused without keys."""
    keys = good_keys() | ({"ROBODJ_WEBHOOK_KEY": good_keys()[V1]} if with_webhook else {})
    started = run(["-c", code], env=clean_env | keys, cwd=service, keys=list(keys.values()))
    assert (started.status, started.err) == (0, "")
    refused = run(["-c", code], env=clean_env, cwd=service)
    assert refused.status == (0 if code == REPORT else 3)
    assert len(refused.alerts) == (0 if code == REPORT else len(keys))


@pytest.mark.parametrize("there", [True, False])
def test_the_set_up_of_the_model(there: bool, clean_env: dict[str, str], service: Path, tmp_path: Path) -> None:  # noqa: FBT001
    """From any working directory, the service uses its own revocation list, and does not start without it."""
    if not there:
        (service / "config" / "revoked.fingerprints").unlink()
    env = clean_env | good_keys() | {"PYTHONPATH": str(service)}
    ran = run(["-c", "import app.main"], env=env, cwd=tmp_path)
    assert (ran.status, [line.split()[1] for line in ran.alerts]) == ((0, []) if there else (3, ["revocation-list:"]))


def test_the_project_configuration(clean_env: dict[str, str], service: Path) -> None:
    """The configuration in the README names the model, and every key has a row in the table."""
    ran = run(["-m", "robodj_secretguard", "check"], env=clean_env | good_keys(), cwd=service)
    assert "model: app.settings:ServiceSecrets (pyproject.toml)" in ran.out.splitlines()
    rows = "".join(re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| (?:as `--|true: )", README, re.MULTILINE))
    keys = find_project(str(service))._fields[1:]
    assert sorted(re.findall("`([a-z-]+)`", rows)) == sorted(key.replace("_", "-") for key in keys)


def test_a_secret_is_added_in_ten_lines() -> None:
    """The declaration of another secret has at most ten lines, without its imports."""
    declaration = ADD[ADD.index("WEBHOOK = ") : ADD.index("secrets = ")]
    assert len([line for line in declaration.splitlines() if line]) <= 10


def test_the_refusal_that_is_shown_is_the_one_that_is_written(clean_env: dict[str, str], service: Path) -> None:
    """The text of the refusal is the output of the example."""
    refused = run(["-c", EMBED], env=clean_env | good_keys() | {V1: "changeme"}, cwd=service)
    assert blocks("text") == [refused.out]


def test_the_commands() -> None:
    """The commands install this project and run the quickstart, the tests as in CI, and the gate of the policy."""
    assert QUICKSTART == "python -m pip install . && python examples/quickstart.py\n"
    assert TESTS == 'python -m pip install ".[test]" && python -m pytest\n'
    steps = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert all(f"- run: {command}\n" in steps for command in TESTS.strip().split(" && "))
    assert (ROOT / shlex.split(QUICKSTART)[-1]).is_file()
    assert GATE == "python config/check_runtime_secrets.py --require-env-only\n"
    assert (ROOT / "examples" / "robodj_service" / shlex.split(GATE)[1]).is_file()


@pytest.mark.parametrize("command", [EXEC, BUILD])
def test_the_commands_behind_the_gate(command: str, clean_env: dict[str, str], service: Path) -> None:
    """Each script runs its command with good or temporary keys. A bad key or a protected host prevents that."""
    gate, after = shlex.split(command)[1:], shlex.split(command).index("--")
    argv = ["-m", "robodj_secretguard", *gate[:after], sys.executable, "-c", "import app.main"]
    keys = good_keys() if command == EXEC else {}
    started = run(argv, env=clean_env | keys, cwd=service, keys=list(keys.values()))
    assert (started.status, started.out.splitlines()[-1]) == (0, "served")
    prevents = good_keys() | {V1: "changeme"} if command == EXEC else {"ROBODJ_PROTECTED_ENV": "true"}
    refused = run(argv, env=clean_env | prevents, cwd=service)
    assert (refused.status, "served" in refused.out) == (3, False)


def test_the_tests_of_a_refusal(clean_env: dict[str, str], tmp_path: Path) -> None:
    """The tests in the README pass with its configuration, in a project with a guarded main."""
    (tmp_path / "pyproject.toml").write_text(TESTING, encoding="utf-8")
    (tmp_path / "main.py").write_text("from robodj_secretguard import guard\nguard()\n", encoding="utf-8")
    (tmp_path / "test_main.py").write_text(f"import main\n{REFUSAL}", encoding="utf-8")
    ran = run(["-m", "pytest", "-q"], env=clean_env, cwd=tmp_path)
    assert (ran.status, "5 passed" in ran.out) == (0, True)


def test_the_json_document(clean_env: dict[str, str], service: Path) -> None:
    """The document in the README has the structure of the gate's."""
    (shown,) = (json.loads(block) for block in blocks("json"))
    argv = ["-m", "robodj_secretguard", "check", "--format", "json"]
    document = run(argv, env=clean_env | good_keys() | {V1: "changeme"}, cwd=service).document
    assert (list(shown), shown["model"]) == (list(document), document["model"])
    for key in ("secrets", "findings"):
        assert list(shown[key][0]) == list(document[key][0])


def help_of(*command: str) -> str:
    """Return what a command prints with --help."""
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert main([*command, "--help"]) == 0
    return shown.getvalue()


def test_the_tables() -> None:
    """Every setting, option of the gate, section of the policy in order, and command has a row."""
    assert [name for name in SETTINGS if not re.search(rf"^\| .*`{name}`", README, re.MULTILINE)] == []
    options = {"--require-env-only", "--config-dir", "--model", "--strict", "--format", "--color"}
    assert set(re.findall(r"--[a-z-]+", help_of("check"))) - {"--help", "--operations-log"} == options
    assert [option for option in options if f"| `{option}" not in README] == []
    rows = re.findall(r"^\| (\d? ?\w*?) ?\| `robodj-secretguard ([^`]+)` \|", README, re.MULTILINE)
    assert [section.split()[0] for section, _ in rows if section] == [str(number) for number in range(1, 8)]
    assert {tuple(itertools.takewhile(str.isalpha, command.split())) for _, command in rows} == {*EVERY_COMMAND}


def test_links() -> None:
    """Every link within this repository leads to a file or heading that exists."""
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    headings = re.findall("^## (.*)", README, re.MULTILINE)
    anchors = {"#" + re.sub("[^a-z ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert [target for target in targets if target not in anchors and not (ROOT / target).exists()] == []
