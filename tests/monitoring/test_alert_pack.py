"""The files of examples/monitoring, as Prometheus' and Alertmanager's own tools read them."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from command_line import machine_at, rotated
from conftest import NOW, V1, marker, posix_only
from stack import EXAMPLES, require

from robodj_secretguard.fleet.metrics import (
    DELIVERED,
    EXPIRY,
    FINDINGS,
    INFO,
    PREVIOUS_UNTIL,
    REFRESH_OK,
    REFRESHED,
    ROTATED,
    ROTATION_DUE,
    START,
)

if TYPE_CHECKING:
    from pathlib import Path

require("promtool", "amtool")
pytestmark = posix_only

OWNER = "Security Operations"
RULES = (EXAMPLES / "rules.yml").read_text(encoding="utf-8")
CASES = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in ("rules_test.yml", "rules_days_test.yml")}
NAMES = re.findall(r"(?m)^ +- alert: (\w+)$", RULES)
PAGE = (EXAMPLES.parent.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")


def tool(*command: str, cwd: Path = EXAMPLES, given: str = "") -> tuple[int, str]:
    """Return the status and the output of a tool."""
    done = subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "config", "prometheus.yml"),
        ("promtool", "check", "rules", "--lint-fatal", "rules.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ],
    ids=" ".join,
)
def test_each_file_is_valid(command: tuple[str, ...]) -> None:
    """The tools accept each file."""
    status, output = tool(*command)
    assert status == 0, output


def test_rules_pass_their_cases() -> None:
    """The cases of both files pass."""
    status, output = tool("promtool", "test", "rules", *CASES)
    assert status == 0, output


@pytest.mark.full
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" offset 14d", " offset 15d"),
        (" offset 14d", " offset 13d"),
        (" offset 7d", " offset 8d"),
        (" offset 7d", " offset 6d"),
        ("[1d]", "[2d]"),
        ("[1d]", "[5m]"),
        ("7200", "9000"),
        ("<= time()", "> time()"),
        ("< time()", "> time()"),
        ('check="expiring"', 'check="expired"'),
        ('check="revoked"', 'check="expired"'),
        ('check="revoked", severity="alert"', 'check="revoked"'),
        (" and on (job, instance) robodj_secret_refresh_ok == 0", ""),
        ("            unless on (job, instance) robodj_secret_refresh_ok == 0\n", ""),
        ("> 300", "> 1200"),
        ("> 300", "> 0"),
        ('check!~"expired|revoked"', 'check!~"expired"'),
        ('slot="current"} and', 'slot=~".+"} and'),
        (" and on (job, instance) robodj_secret_start_timestamp_seconds", ""),
        ("environment, ", ""),
        ("job, env", "env"),
        ("for: 5m", "for: 2h"),
        ("for: 1h", "for: 3h"),
        ("owner: Security Operations", "owner: nobody"),
    ],
)
def test_the_cases_find_a_change(old: str, new: str, tmp_path: Path) -> None:
    """A rule with another threshold, label or window fails a case."""
    assert old in RULES
    (tmp_path / "rules.yml").write_text(RULES.replace(old, new), encoding="utf-8")
    for name, text in CASES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert tool("promtool", "test", "rules", *CASES, cwd=tmp_path)[0] == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_rule_has_both_cases_and_a_section(name: str) -> None:
    """Each rule fires in a case and is silent in another one. Its runbook is a section of the page."""
    cases = re.findall(rf"(?m)^ +alertname: {name}\n +exp_alerts:(.*)$", "".join(CASES.values()))
    assert {bool(each.strip()) for each in cases} == {True, False}
    assert f"docs/monitoring.md#{name.lower()}\n" in RULES
    assert f"\n### {name}\n" in PAGE


@pytest.mark.parametrize(
    ("owner", "receiver"),
    [
        (OWNER, "security-operations"),
        (f"{OWNER}, Integrations", "security-operations"),
        (f"Integrations, {OWNER}", "security-operations"),
        ("Integrations", "operators"),
        (f"No {OWNER}", "operators"),
    ],
)
def test_alert_goes_to_its_owner(owner: str, receiver: str) -> None:
    """An alert goes to its owner, also where it has several, and otherwise to the operators."""
    command = ("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", f'owner="{owner}"')
    status, output = tool(*command)
    assert (status, output.splitlines()[0]) == (0, receiver)


def test_the_page_has_the_metrics() -> None:
    """The page has the name of each metric."""
    of_service = (INFO, DELIVERED, EXPIRY, PREVIOUS_UNTIL, START, REFRESHED, REFRESH_OK, FINDINGS)
    names = (*of_service, ROTATED, ROTATION_DUE)
    assert [name for name in names if f"| `{name}` |" not in PAGE] == []


def test_the_metrics_of_status(tmp_path: Path) -> None:
    """`promtool check metrics` has no remark about the output of `status`."""
    machine = machine_at(tmp_path)
    machine.environ[f"{V1}_EXPIRES_AT"] = marker(timedelta(days=2))
    machine.record(rotated(NOW - timedelta(days=1), machine.fingerprint()))
    text = machine.call("status", "--format", "openmetrics").out
    assert "robodj_secret_rotation_due_timestamp_seconds{" in text
    assert tool("promtool", "check", "metrics", given=text) == (0, "")
