"""A real journald and the recipe of logs.md: whose an event is, whatever fields a program sets."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from conftest import clean_environment, good_keys, put, run
from detector import leaks
from pages import ROOT

JOURNALD: Final = "/usr/lib/systemd/systemd-journald"
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a journal of its own"
    ),
    pytest.mark.skipif(
        not all(map(shutil.which, (JOURNALD, "unshare", "systemd-cat", "jq"))), reason="needs systemd, unshare and jq"
    ),
    pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs: its units are not for tests"),
]

# The unit of a process is the name of its control group, in whichever hierarchy journald reads.
SCRIPT: Final = f"""
for each in /run/systemd /run/log /var/log/journal; do mkdir -p $each; mount -t tmpfs none $each; done
mkdir -p /run/systemd/journal /run/log/journal
{JOURNALD} & journald=$!
trap 'kill $journald; rmdir $groups' EXIT
until [ -S /run/systemd/journal/stdout ] && [ -S /run/systemd/journal/socket ]; do kill -0 $journald; done
groups=
for each in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [ -f $each/cgroup.procs ] || continue
    group=$each/system.slice/robodj.service
    mkdir -p $group
    groups="$groups $group"
done
sh -euc 'for each in "$@"; do echo $$ >$each/cgroup.procs; done; exec systemd-cat "$PYTHON" -P program.py' - $groups
journalctl --sync
journalctl --output=json --all >whole
journalctl --output=json >cut
"""
# What a service prints, and what a program that was broken into sends by itself.
PROGRAM: Final = """
import json, socket
from robodj_secretguard import check, guard
from robodj_secretguard.running.heartbeat import event_of

guard()
forged = json.dumps(event_of("started", check(), "m:M", 0) | {"service": "other", "instance": "other-1"})
long = json.dumps(json.loads(forged) | {"fill": "x" * 5000})
labels = {"_HOSTNAME": "other", "_SYSTEMD_UNIT": "docker.service", "CONTAINER_NAME": "other-1"}
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
    for message in (forged, long):
        fields = {"MESSAGE": message, "COM_DOCKER_COMPOSE_SERVICE": "other", **labels}
        text = "".join(f"{name}={value}\\n" for name, value in fields.items())
        journal.sendto(text.encode(), "/run/systemd/journal/socket")
"""


def events_in(path: Path) -> list[dict[str, Any]]:
    """Return the events that the filter of the recipe finds."""
    jq = ["jq", "--null-input", "--raw-input", "--compact-output", "-L", str(ROOT / "examples" / "monitoring")]
    ran = run([*jq, 'include "events"; journald', str(path)], env=clean_environment(), cwd=path.parent, python=False)
    assert ran.status == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def test_a_unit(tmp_path: Path) -> None:
    """An event is of its program's unit and host, whatever fields the program sets. A cut one is unreadable."""
    put(tmp_path / "program.py", PROGRAM)
    keys = good_keys()
    env = clean_environment() | keys | {"ROBODJ_SECRET_EVENTS": "stdout", "PYTHON": sys.executable}
    ran = run(["unshare", "--mount", "sh", "-euc", SCRIPT], env=env, cwd=tmp_path, python=False)
    if not (tmp_path / "cut").exists():
        pytest.skip(f"no journald here: {ran.err.splitlines()[-1:]}")
    found = [(each["service"], each["instance"]) for each in events_in(tmp_path / "whole")]
    assert found == [("robodj", socket.gethostname())] * 3
    assert events_in(tmp_path / "cut")[2:] == [{"secret_event": "unreadable"}]
    # Only the messages: the journal's own fields have random hexadecimal digits.
    messages = [json.loads(line)["MESSAGE"] for line in (tmp_path / "whole").read_text(encoding="utf-8").splitlines()]
    assert leaks("\n".join(map(str, messages)), [*keys.values()]) == []
