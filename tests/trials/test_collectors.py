"""The recipes of logs.md with a real rsyslog and a real logrotate."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from conftest import TIMEOUT, free_port, put
from openbao import until
from pages import ROOT, Workspace, parsed
from repositories import program
from test_fleet_recipes import COLLECTORS, collected, event_of_start

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM: Final = f"{os.environ.get('PATH', '')}:/usr/sbin"
RSYSLOGD, LOGROTATE = (shutil.which(name, path=SYSTEM) or "" for name in ("rsyslogd", "logrotate"))
HERE: Final = "tests/trials/test_collectors.py"
PAGE: Final = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
BLOCKS: Final = [each for each in parsed(PAGE).blocks if each.markers.get("tested") == HERE]


@pytest.mark.full
@pytest.mark.skipif(not RSYSLOGD, reason="rsyslog is not installed")
def test_rsyslog_sends_events_to_the_server(tmp_path: Path) -> None:
    """With the configuration of the page, a host sends the events of its file, and the server keeps their labels."""
    event = event_of_start(Workspace(tmp_path))
    port, kept = free_port(), tmp_path / "robodj.jsonl"
    at = str(tmp_path / "robodj")
    host, server = (each.text.replace("/var/log/robodj", at) for each in BLOCKS if "(type=" in each.text)
    (tmp_path / "robodj").mkdir()
    put(tmp_path / "robodj" / "events.jsonl", f"{event}\n")
    forward = f'*.* action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp")'
    configurations = {
        "server": f'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{port}")\n{server}',
        "host": f'global(workDirectory="{tmp_path}")\n{host}{forward}',
    }
    with contextlib.ExitStack() as stack:
        for name, text in configurations.items():
            config, pid = put(tmp_path / name, text), tmp_path / f"{name}.pid"
            process = subprocess.Popen([RSYSLOGD, "-n", "-f", config, "-i", pid], stderr=subprocess.DEVNULL)
            stack.callback(process.wait, TIMEOUT)
            stack.callback(process.kill)
            until(pid.exists)
        until(lambda: kept.exists() and kept.read_bytes().endswith(b"\n"))
    found = collected(tmp_path, COLLECTORS["rsyslog"], kept.read_text(encoding="utf-8").splitlines())
    assert found == [json.loads(event) | {"service": "api", "instance": "localhost"}]


@pytest.mark.full
@pytest.mark.skipif(not LOGROTATE, reason="logrotate is not installed")
def test_recipe_reads_what_logrotate_moved(tmp_path: Path) -> None:
    """The recipe also reads the file that logrotate has moved by the configuration of the page, and no older one."""
    event = event_of_start(Workspace(tmp_path))
    events = put(tmp_path / "events.jsonl", f"{event}\n")
    block = next(each for each in BLOCKS if "daily" in each.text)
    config = put(tmp_path / "config", block.text.replace("/var/log/robodj", str(tmp_path)))
    logrotate = [LOGROTATE, "--force", "--state", str(tmp_path / "state"), str(config)]
    subprocess.run(logrotate, check=True, capture_output=True)
    assert not events.exists()
    put(events, f"{event}\n")
    old = put(tmp_path / "events.jsonl.7", "not read\n")
    os.utime(old, (0, 0))
    program(tmp_path / "bin" / "ssh", '[ "$1" = web-2 ] || sh -c "$2"')
    recipe = COLLECTORS["file"].block.text.replace("/var/log/robodj", str(tmp_path)).replace(">events.jsonl", "")
    environ = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    ran = subprocess.run(["/bin/sh", "-euc", recipe], env=environ, check=True, capture_output=True, timeout=60)
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [json.loads(event)] * 2
