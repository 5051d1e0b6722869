"""Pictures of a terminal, drawn from the real output. `python tests/trials/pictures/drawing.py` writes them."""

from __future__ import annotations

import contextlib
import html
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

sys.path.append(str(Path(__file__).parents[2]))

from command_line import Machine, rotated  # these modules are not in this directory
from conftest import TIMEOUT, clean_environment, marker
from detector import leaks
from rich.console import Console
from rich.text import Text

PICTURES: Final = Path(__file__).parents[3] / "docs" / "pictures"
COLUMNS: Final = 80
REFUSAL: Final = "robodj-secretguard exec -- uvicorn main:app"
STATUS: Final = "robodj-secretguard status"
KEY: Final = "session_key"
URL: Final = "database_url"
"""The secrets of the service in the README."""

_DAY: Final = timedelta(days=1)
_FONTS: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


def service_at(root: Path) -> Machine:
    """Make a service as the README shows, with good secrets."""
    machine = Machine(root)
    declared = (f"{KEY}=SESSION_KEY", f"{URL}=DATABASE_URL:url")
    assert machine.call("init", "--yes", *(f"--secret={each}" for each in declared)).status == 0
    key, password = token_urlsafe(32), token_urlsafe(12)
    machine.environ.clear()
    machine.environ.update(SESSION_KEY=key, DATABASE_URL=f"postgresql://app:{password}@db/app")
    return machine


def refusal(machine: Machine) -> str:
    """Return the output of a refused start: one secret has expired, and the other one is a placeholder."""
    machine.environ["SESSION_KEY_EXPIRES_AT"] = marker(-3 * _DAY, now=_now())
    machine.environ["DATABASE_URL"] = "postgresql://app:change-me@db/app"
    return shown(REFUSAL, machine)


def status(machine: Machine) -> str:
    """Return the status of two good secrets: one is up to date, and the rotation of the other one is overdue."""
    now = _now()
    machine.environ["SESSION_KEY_EXPIRES_AT"] = marker(74 * _DAY, now=now)
    machine.record(
        rotated(now - 93 * _DAY, None, secret=URL),
        rotated(now - 16 * _DAY, machine.fingerprint("SESSION_KEY"), secret=KEY),
    )
    # A whole hash would look like a key.
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1...", shown(STATUS, machine))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def shown(command: str, machine: Machine) -> str:
    """Run a command on a terminal, and return what it shows, with its colours (POSIX)."""
    import termios  # noqa: PLC0415 - Windows has none

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    env = clean_environment() | machine.environ | {"PATH": path, "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, COLUMNS))
    process = subprocess.Popen(
        shlex.split(command), env=env, cwd=machine.root, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    killer = threading.Timer(TIMEOUT, process.kill)  # a service that is not refused would serve
    killer.start()
    output = b""
    with process, open(controller, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while chunk := screen.read(1 << 16):  # Linux raises EIO when the other end is closed
            output += chunk
    killer.cancel()
    assert leaks(output.decode(), [machine.environ["SESSION_KEY"], machine.environ["DATABASE_URL"]]) == []
    return output.decode().replace("\r\n", "\n")


def drawn(command: str, output: str, name: str) -> str:
    """Return a picture, as SVG, of a terminal with a command and its output."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.assemble(("$ ", "green"), (command, "bold")), Text.from_ansi(output), sep="\n", end="")
    svg = console.export_svg(title="", unique_id=name)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fonts from the internet
    svg = svg.replace("Fira Code, monospace", _FONTS).replace(f' clip-path="url(#{name}-clip-terminal)"', "")
    svg = svg.replace("#cc555a", "#f07178")  # rich's red is too dark on its background
    svg = re.sub(r"<text [^>]*>\s*</text>", "\n", svg)  # ends of lines
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def text_of(svg: str) -> list[str]:
    """Return the lines of text in a picture."""
    lines = dict[str, str]()
    for y, text in re.findall(r'<text [^>]*\by="([^"]+)"[^>]*>([^<]*)</text>', svg):
        lines[y] = lines.get(y, "") + html.unescape(text).replace("\xa0", " ")
    return [*lines.values()]


def pictures() -> dict[str, str]:
    """Return each picture by its name."""
    made = {}
    for name, command, output in (("refusal", REFUSAL, refusal), ("status", STATUS, status)):
        with tempfile.TemporaryDirectory() as root:
            made[name] = drawn(command, output(service_at(Path(root))), name)
    return made


if __name__ == "__main__":
    for name, svg in pictures().items():
        (PICTURES / f"{name}.svg").write_text(svg, encoding="utf-8")
