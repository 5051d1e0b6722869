"""The drill of monitoring.md, as printed: from a revoked key to an alert in the webhook.

Ports are replaced, in the page and in the files. Programs that install something do nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from conftest import TIMEOUT, clean_environment, free_port
from pages import ROOT, parsed, substituted
from repositories import program
from stack import EXAMPLES, answers, require, until

require("prometheus", "prometheus-alertmanager")

HERE: Final = "tests/trials/monitoring/test_drill.py"
PAGE: Final = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
BLOCKS: Final = [each.text for each in parsed(PAGE).blocks if each.markers.get("tested") == HERE]
PORTS: Final = ("8000", "9090", "9093", "9095")
VENV: Final = """
mkdir -p ../venv/bin
echo : >../venv/bin/activate
"""


def with_ports(text: str, ports: dict[str, str]) -> str:
    """Return text with other ports."""
    for old, new in ports.items():
        text = text.replace(f":{old}", f":{new}").replace(f"port {old}", f"port {new}")
    return text.replace('"127.0.0.1", 9095', f'"127.0.0.1", {ports["9095"]}')


@pytest.mark.full
def test_a_revoked_key_reaches_the_webhook(tmp_path: Path) -> None:
    """The commands of the page, in one shell, end with the alert that the page promises."""
    ports = {each: str(free_port()) for each in PORTS}
    clone = tmp_path / "clone"
    shutil.copytree(EXAMPLES, clone / "examples" / "monitoring")
    for file in (clone / "examples" / "monitoring").glob("*.*"):
        file.write_text(with_ports(file.read_text(encoding="utf-8"), ports), encoding="utf-8")
    for name, script in {"apt-get": "", "systemctl": "", "pip": "", "python3": VENV}.items():
        program(tmp_path / "bin" / name, script)
    setup, revocation = (with_ports(substituted(text), ports) for text in BLOCKS)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    log = tmp_path / "output"
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["/bin/bash"],
            cwd=clone,
            env=clean_environment() | {"PATH": path},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        ) as shell,
    ):
        assert shell.stdin is not None
        try:
            shell.stdin.write(setup)
            shell.stdin.flush()
            until(lambda: answers(f"http://127.0.0.1:{ports['8000']}/ready"))
            until(lambda: answers(f"http://127.0.0.1:{ports['9090']}/-/ready"))
            shell.stdin.write(revocation)
            shell.stdin.flush()
            until(lambda: "firing RobodjRevokedKeyRunning" in log.read_text(encoding="utf-8"), 2 * TIMEOUT)
        finally:
            shell.stdin.write("kill $(jobs -p)\nwait\nexit\n")
            shell.stdin.close()
            shell.wait(TIMEOUT)
