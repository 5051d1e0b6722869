"""The recipes of monitoring.md: the events of a real start, in the format of each collector, up to `fleet status`.

Stand-ins print what the programs print, and fail without an option that matters. test_collectors.py has the formats.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from conftest import free_port, put
from pages import ROOT, Block, Workspace, is_output, parsed
from repositories import GIT, program
from test_collectors import AT, OBJECTS, POD, PREFIXES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not GIT, reason="needs git")

HERE: Final = "tests/test_fleet_recipes.py"
PAGE: Final = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
BLOCKS: Final = [each for each in parsed(PAGE).blocks if each.markers.get("tested") == HERE]
ROTATED: Final = next(each.text for each in BLOCKS if "daily" in each.text)
ANSWER: Final = next(each.text for each in BLOCKS if "NOT PROVEN" in each.text)
INCIDENT: Final = next(each for each in BLOCKS if "none-on" in each.text)
RECIPES: Final = {
    word: next(each for each in BLOCKS if word in each.text)
    for word in ("--unit=robodj", "events.jsonl.1", "docker compose", "--unit=docker", "kubectl", "logcli")
}
START: Final = """ROBODJ_SECRET_EVENTS="$PWD/events.jsonl" ROBODJ_SERVICE=robodj ROBODJ_INSTANCE=web-1 \\
    python -c 'import os; from service_secrets import *; from robodj_secretguard import guard; guard(ServiceSecrets)
os._exit(0)'"""
"""A service that is killed, so that it does not say its end."""
BEGINS: Final = {
    "compose": PREFIXES["docker compose logs -t --no-color, in a pipe"][0].replace("backend-12", "backend-1"),
    "kubectl": PREFIXES["kubectl logs --prefix --timestamps"][0].replace(POD["pod_name"], "backend-0"),
}
FORMATS: Final = {
    "robodj": OBJECTS["journalctl -o json"][0],
    "docker": OBJECTS["docker journald, with labels"][0],
    "loki": OBJECTS["Loki, Kubernetes"][0],
}
NEEDED: Final = 'for option in {}; do case " $* " in *"$option"*) ;; *) echo "no $option" >&2; exit 9 ;; esac; done\n'
STAND_INS: Final = {
    "ssh": 'HOST=$1; export HOST; shift; exec sh -c "$*"',
    "hostname": 'echo "$HOST"',
    "journalctl": NEEDED.format("--output=json --all --since=-20min") + 'sed "s/web-1/$HOST/" "$DATA/${4#--unit=}"',
    "docker": 'case "$*" in\n"compose ps"*) echo backend backend-1 ;;\n"compose logs"*) cat "$DATA/compose" ;;\n'
    '"ps --all"*) echo "backend $(hostname)/robodj-backend-1" ;;\nesac',
    "kubectl": f'if [ "$1" = get ]; then echo backend backend-0; exit; fi\n{NEEDED.format("--prefix --tail=-1")}'
    'cat "$DATA/kubectl"',
    "logcli": 'echo backend backend-0 >roster.txt\ncat "$DATA/loki"',
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace in which a service has just started, with its event in the format of each collector."""
    made = Workspace(tmp_path)
    assert made.run(Block(0, "sh", f'{START}\nexport DATA="{tmp_path}"', {}))[0] == 0
    event = (made.root / "events.jsonl").read_text(encoding="utf-8")
    at = json.loads(event)["reported_at"]
    lines = {name: begin + event for name, begin in BEGINS.items()}
    lines |= {name: json.dumps(_now(form(event), at)) + "\n" for name, form in FORMATS.items()}
    for name, line in lines.items():
        put(tmp_path / name, line.replace(AT, at))
    for name, script in STAND_INS.items():
        program(tmp_path / "bin" / name, script)
    return made


def _now(document: dict[str, object], at: str) -> dict[str, object]:
    """Return an object of a collector without the time at which the format was recorded."""
    return {name: at if name == "timestamp" else each for name, each in document.items() if name[:2] != "__"}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each == "--unit=robodj" else pytest.mark.full) for each in RECIPES]
)
def test_recipe_finds_every_instance_of_its_roster(name: str, workspace: Workspace) -> None:
    """Each recipe finds every instance of its roster, and no other one."""
    if name == "events.jsonl.1":
        (workspace.root / "roster.txt").write_text("robodj web-1\n", encoding="utf-8")
    text = RECIPES[name].text.replace("/var/log/robodj", str(workspace.root))
    asked = text.replace("fleet status", "fleet status --require moved")
    status, output = workspace.run(workspace.substituted(RECIPES[name]._replace(text=asked)))
    assert status == 0, output
    assert "moved: proven for every instance." in output
    assert [word for word in ("?", "Not in the roster", "could not be read") if word in output] == []


def test_shown_answer_is_that_of_an_instance_without_an_event(workspace: Workspace) -> None:
    """The answer that the page shows is that of an instance without an event."""
    asked = (
        "robodj-secretguard fleet status --roster roster.txt --events events.jsonl --secret secret.key --require moved"
    )
    (workspace.root / "roster.txt").write_text("robodj web-1\nrobodj web-2\n", encoding="utf-8")
    status, output = workspace.run(Block(0, "sh", asked, {}))
    assert status == 1
    assert is_output(ANSWER, output), output


@pytest.mark.full
def test_instance_on_the_leaked_key_is_named(workspace: Workspace) -> None:
    """The instance that runs on the leaked key is named."""
    (workspace.root / "roster.txt").write_text("robodj web-1\n", encoding="utf-8")
    event = json.loads((workspace.root / "events.jsonl").read_text(encoding="utf-8").splitlines()[0])
    text = INCIDENT.text.replace("FINGERPRINT", event["secrets"][0]["fingerprint"])
    status, output = workspace.run(workspace.substituted(INCIDENT._replace(text=text)))
    assert status == 1, output
    assert "\n  robodj/web-1: secret.key: " in output


@pytest.mark.full
def test_silent_prometheus_has_status_75(workspace: Workspace) -> None:
    """The recipe of Prometheus is valid, and a server that does not answer has status 75."""
    block = next(each for each in BLOCKS if "--prometheus" in each.text)
    text = block.text.replace("127.0.0.1:9090", f"127.0.0.1:{free_port()}")
    assert workspace.run(workspace.substituted(block._replace(text=text)))[0] == 75


def test_every_block_that_says_so_is_tested() -> None:
    """No block of the page is only said to be tested."""
    known = [ROTATED, ANSWER, INCIDENT.text, *(each.text for each in RECIPES.values())]
    assert [each.line for each in BLOCKS if each.text not in known and "--prometheus" not in each.text] == []


@pytest.mark.skipif(not shutil.which("logrotate"), reason="logrotate is not installed")
def test_next_event_after_a_rotation_is_in_a_new_file(workspace: Workspace, tmp_path: Path) -> None:
    """The configuration is valid for logrotate, and the next event is in a new file."""
    events = workspace.root / "events.jsonl"
    config = put(tmp_path / "logrotate.conf", ROTATED.replace("/var/log/robodj", str(workspace.root)))
    logrotate = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(config)]
    subprocess.run(logrotate, check=True, capture_output=True)
    assert not events.exists()
    assert workspace.run(Block(0, "sh", START, {}))[0] == 0
    assert len(events.read_bytes().splitlines()) == len(events.with_suffix(".jsonl.1").read_bytes().splitlines()) == 1
