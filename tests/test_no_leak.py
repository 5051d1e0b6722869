"""Contract section 6: the output is byte-identical for any two values with the same verdict, lengths and times."""

from __future__ import annotations

import base64
import json
import re
import secrets
import string
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import TIMEOUT, V1, V2, good_keys, leaks, marker, without_fingerprints

from robodj_secretguard import Check, check
from robodj_secretguard.rules.expiry import EARLIEST_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = {days: marker(timedelta(days=days), now=NOW) for days in (-30, 5, 300)}


class Planted(NamedTuple):
    """What a scenario plants: variables and files, and what of them is secret."""

    environ: dict[str, str]
    files: dict[str, str]
    mode: int = 0o600


def text(length: int) -> str:
    """Make secret text of a length, with letters of both cases first."""
    return "aZ" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length - 2))


def one(value: str) -> Planted:
    """Plant one value beside a good one."""
    return Planted(good_keys() | {V1: value}, {})


def in_file(content: str, mode: int = 0o600, **environ: str) -> Planted:
    """Plant a fallback file instead."""
    return Planted({V2: good_keys()[V2], **environ}, {"secret.key": content}, mode)


def stale(content: str, **environ: str) -> Planted:
    """Plant a file that is not needed."""
    return Planted(good_keys() | environ, {"secret.key": content})


def equal() -> Planted:
    """Plant one key twice."""
    key = secrets.token_hex(64)
    return Planted({V1: key, V2: key}, {})


SCENARIOS: dict[Check, list[Callable[[], Planted]]] = {
    Check.MISSING: [lambda: Planted({V2: good_keys()[V2]}, {})],
    Check.PLACEHOLDER: [lambda: one(f"{text(20)}<{text(9)}>"), lambda: one(f"changeme{text(30)}")],
    Check.FORMAT: [
        lambda: one(text(15)),
        lambda: one(text(30)),
        lambda: one(text(43) + "\n"),
        lambda: one(f'"{text(43)}"'),
        lambda: one(f"{text(50)}\x1b[31m\u202e"),
        lambda: in_file(f"{text(43)}\n{text(43)}\n"),
    ],
    Check.WEAK: [lambda: one(text(9) * 6), lambda: one(text(40).lower() + "-_-_")],
    Check.SHARED: [equal],
    Check.EXPIRED: [lambda: Planted(good_keys() | {f"{V1}_EXPIRES_AT": DAYS[-30]}, {})],
    Check.EXPIRY_MARKER: [lambda: Planted(good_keys() | {f"{V1}_EXPIRES_AT": text(43)}, {})],
    Check.FILE_UNSAFE: [lambda: in_file(text(43), 0o666), lambda: in_file(text(5000))],
    Check.FILE_PRESENT: [lambda: stale(text(43), ROBODJ_PROTECTED_ENV="true")],
    Check.SETTING: [
        lambda: Planted(good_keys() | {"ROBODJ_PROTECTED_ENV": text(43)}, {}),
        lambda: Planted(good_keys() | {"ROBODJ_CONFIG_DIR": text(43)}, {}),
    ],
    Check.NEAR_MISS: [
        lambda: Planted(good_keys() | {f"{V1}_EXP{text(43).upper()}": text(43), f"{V2}S": text(43)}, {}),
        lambda: Planted(good_keys(), {"secret.key.txt": text(43)}),
    ],
    Check.EXPIRING: [lambda: Planted(good_keys() | {f"{V1}_EXPIRES_AT": DAYS[5]}, {})],
    Check.CADENCE: [lambda: Planted(good_keys() | {f"{V1}_EXPIRES_AT": DAYS[300]}, {})],
    Check.FILE_FALLBACK: [lambda: in_file(text(43))],
    Check.FILE_STALE: [lambda: stale(text(43))],
    Check.FILE_PERMISSIONS: [lambda: in_file(text(43), 0o644)],
    Check.INTERNAL: [lambda: Planted(good_keys() | {"REFUSE": "1"}, {})],
}
ALL = [(str(each), make) for each, makers in SCENARIOS.items() for make in makers]

# One process for all scenarios of one side: guard(), check() and the command line, as text and as JSON.
CHILD = """
import json, os, sys
from pydantic import model_validator
from robodj_secretguard import RuntimeSecrets, check, guard
from robodj_secretguard.cli import main

class Model(RuntimeSecrets):
    @model_validator(mode="after")
    def refuse(self):
        if "REFUSE" in os.environ:
            raise ValueError(self.secret_key.get_secret_value())
        return self

for config, environ in json.load(sys.stdin):
    for name in [name for name in os.environ if name.upper().startswith(("ROBODJ_", "REFUSE"))]:
        del os.environ[name]
    os.environ.update({"ROBODJ_CONFIG_DIR": config} | environ)
    print("-- guard", flush=True)
    try:
        print(repr(guard(Model)))
    except SystemExit as refused:
        print("status", refused.code)
    print("-- check", repr(check(Model)))
    print("-- gate", main(["check"]), flush=True)
    print("-- gate", main(["check", "--strict", "--format", "json"]), flush=True)
"""


def observe(side: Path) -> tuple[str, list[str]]:
    """Plant every scenario once, and return all that was written about them, and all that was planted."""
    runs, planted = [], []
    for place, (_, make) in enumerate(ALL):
        environ, files, mode = make()
        config = side / f"{place}"
        config.mkdir(parents=True, mode=0o700)
        for name, content in files.items():
            (config / name).write_text(content)
            (config / name).chmod(mode)
        runs.append([str(config), environ])
        switches = {"true", "1", *DAYS.values()}
        planted += [part for part in (*environ.values(), *files.values()) if part not in switches]
        planted += [name.partition("_EXP")[2] for name in environ if "_EXP" in name and not name.endswith("_AT")]
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    masked = without_fingerprints(done.stdout + done.stderr)
    masked = re.sub(r"checked_at=datetime[^)]*\)", "checked_at", masked)
    return re.sub(r'"checked_at": "[^"]*"', '"checked_at"', masked), planted


def test_the_output_depends_on_no_value(tmp_path: Path) -> None:
    """Over every check: two sets of keys, one output, and nothing of either in it."""
    (first, planted), (second, also_planted) = observe(tmp_path / "a"), observe(tmp_path / "b")
    assert first == second
    assert leaks(first, [re.sub(r"[<>\n]|changeme", "", each) for each in planted + also_planted]) == []
    fired = set(re.findall(r"(?:ALERT|WARNING): (?:\S+: )?([a-z-]+):", first))
    assert fired == {str(each) for each in Check} - {
        "clock"
    }  # that one is below: the clock cannot be set for a process


def test_the_same_with_the_clock_set_back() -> None:
    """`clock` says no more of a value either."""
    now = EARLIEST_CLOCK - timedelta(days=1)
    reports = [
        repr(check(environ=good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(days=1))}, config_dir=".", now=now))
        for _ in range(2)
    ]
    first, second = map(without_fingerprints, reports)
    assert "clock" in first
    assert first == second


@pytest.mark.parametrize("form", ["raw", "upper", "reversed", "part", "hex", "base64"])
def test_the_detector_detects(form: str) -> None:
    """A search that cannot find anything would prove nothing."""
    key = secrets.token_urlsafe(32)
    forms = {
        "raw": key,
        "upper": key.upper(),
        "reversed": key[::-1],
        "part": key[5:11],
        "hex": key.encode().hex(),
        "base64": base64.b64encode(f"x{key}".encode()).decode(),
    }
    assert leaks(f"before {forms[form]} after", [key])
    assert not leaks(f"before {secrets.token_urlsafe(32)} after", [key])
