"""The files of examples/monitoring, as Prometheus' and Alertmanager's own tools read them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from command_line import machine_at, rotated
from conftest import NOW, V1, marker, posix_only
from prometheus_client.parser import text_string_to_metric_families
from stack import EXAMPLES, require

if TYPE_CHECKING:
    from pathlib import Path

DELIVERED = "robodj_secret_delivered_info"
EXPIRY = "robodj_secret_expiry_timestamp_seconds"
FINDINGS = "robodj_secret_findings"
INFO = "robodj_secret_info"
PREVIOUS_UNTIL = "robodj_secret_previous_until_timestamp_seconds"
STATE = "robodj_secret_state_timestamp_seconds"
REFRESHED = "robodj_secret_refresh_timestamp_seconds"
ROTATED = "robodj_secret_rotated_timestamp_seconds"
ROTATION_DUE = "robodj_secret_rotation_due_timestamp_seconds"
START = "robodj_secret_start_timestamp_seconds"

require("promtool", "amtool", "jq")
pytestmark = posix_only

OWNER = "Security Operations"
FOUR = "env, environment, stage, cluster"
EVERY = "env, environment, stage, namespace, cluster"
RULES = (EXAMPLES / "rules.yml").read_text(encoding="utf-8")
CASES = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in ("rules_test.yml", "keys_test.yml")}
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
        ("promtool", "check", "rules", "--lint-fatal", "rules.yml", "recording.yml"),
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


CHANGES = {
    "keys_test.yml": [
        ('fingerprint!=""}[3m])', 'fingerprint!=""})'),
        ('slot="current", fingerprint!=""}[3m]', 'fingerprint!=""}[3m]'),
        ("unless on (secret, service, env", "unless on (secret, job, env"),
        ("unless on (secret, fingerprint, service, env", "unless on (secret, fingerprint, env"),
        ("and on (secret, service, env", "and on (secret, env"),
        ('"service", "/", "namespace", "job"', '"service", "/", "cluster", "job"'),
        ('"service", "$1", "job", "(.+/.+)"', '"service", "$1", "job", "(.+//.+)"'),
        ('"exported_service", "(.+)"', '"exported_job", "(.+)"'),
        ("unless on (service, env", "unless on (job, env"),
        (f'unless on ({FOUR}) robodj_secret_delivered_info{{service="all', f'unless on ({FOUR}) up{{service="all'),
        (f"unless on ({FOUR}) robodj_secret_delivered_info{{exported", f"unless on ({FOUR}) up{{exported"),
        (f"and on ({FOUR}) last_over", "and on () last_over"),
        ("last_over_time(robodj_secret_delivered_info[1d])", "robodj_secret_delivered_info"),
        ("              and on (secret, fingerprint) robodj_secret_delivered_info\n", ""),
        (f"unless on ({FOUR}) robodj_secret_delivered_info\n", "\n"),
        ("previous_until_timestamp_seconds > time()", "previous_until_timestamp_seconds > 0"),
        ("and on (secret, fingerprint, job, env", "and on (secret, job, env"),
        ('{slot="current"}[3m]', '{slot=~".+"}[3m]'),
        ('{slot="current"}[3m]', '{slot="current"}[1s]'),
    ],
    "rules_test.yml": [
        ("[1d]", "[5m]"),
        ("> 900", "> 1200"),
        (f"and on (job, instance, {EVERY}) up\n", "\n"),
        (f"and on (job, instance, {EVERY}) up == 0", "and on (job, instance) up == 0"),
        (f"and on (job, instance, {EVERY}) up == 0\n", "\n"),
        (f"and on (job, {EVERY}) robodj_secret_info\n", "\n"),
        ("<= time()", "> time()"),
        ("< time()", "> time()"),
        ('check="expiring"', 'check="expired"'),
        ('check="revoked", severity="alert"', 'check="revoked"'),
        ("robodj_secret_start_refused == 1", "robodj_secret_start_refused >= 0"),
        ("exitcode == 3", "exitcode > 0"),
        ("          and on (uid, container, exported_container) kube_pod_container_status_ready == 0\n", ""),
        ("on (uid, ", "on ("),
        (f'and on (job, instance, {EVERY}) robodj_secret_state_timestamp_seconds{{state=~"kept|late"}}\n', "\n"),
        (
            "            unless on (job, instance, env, environment, stage, namespace, cluster)\n",
            "            unless on ()\n",
        ),
        (
            "unless on (job, instance, env, environment, stage, namespace, cluster) robodj",
            "unless on (job, instance) robodj",
        ),
        (f"and on (job, instance, {EVERY}) robodj", "and on (job, instance) robodj"),
        ('check!~"expired|revoked"', 'check!~"expired"'),
        ("service, exported_service, ", ""),
        ("environment, ", ""),
        ("job, env", "env"),
        ("for: 5m", "for: 2h"),
        ("for: 5m", "for: 0s"),
        ("for: 15m", "for: 0s"),
        ("for: 1h", "for: 3h"),
        ("owner: Security Operations", "owner: nobody"),
    ],
}
"""Other thresholds, labels and windows of rules, by the file with the case that finds them."""


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "old", "new"), [(name, *change) for name, changes in CHANGES.items() for change in changes]
)
def test_the_cases_find_a_change(name: str, old: str, new: str, tmp_path: Path) -> None:
    """A rule with another threshold, label or window fails a case."""
    assert old in RULES
    (tmp_path / "rules.yml").write_text(RULES.replace(old, new), encoding="utf-8")
    (tmp_path / name).write_text(CASES[name], encoding="utf-8")
    assert tool("promtool", "test", "rules", name, cwd=tmp_path)[0] == 1


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
    of_service = (INFO, DELIVERED, EXPIRY, PREVIOUS_UNTIL, START, REFRESHED, STATE, FINDINGS)
    names = (*of_service, ROTATED, ROTATION_DUE, "robodj_secret_start_refused")
    assert [name for name in names if f"| `{name}` |" not in PAGE] == []


def test_the_metrics_of_status(tmp_path: Path) -> None:
    """`promtool check metrics` has no remark about the output of `status`."""
    machine = machine_at(tmp_path)
    machine.environ[f"{V1}_EXPIRES_AT"] = marker(timedelta(days=2))
    machine.record(rotated(NOW - timedelta(days=1), machine.fingerprint()))
    text = machine.call("status", "--format", "openmetrics").out
    assert "robodj_secret_rotation_due_timestamp_seconds{" in text
    assert tool("promtool", "check", "metrics", given=text) == (0, "")


def test_the_objects_of_kubernetes_have_the_same_groups() -> None:
    """The groups of the PrometheusRule are those of both files. Without the indent, promtool accepts them."""
    names = ("rules.yml", "recording.yml")
    groups = "".join((EXAMPLES / name).read_text(encoding="utf-8").partition("groups:\n")[2] for name in names)
    content = (EXAMPLES / "kubernetes" / "prometheusrule.yaml").read_text(encoding="utf-8")
    head, _, spec = content.partition("\nspec:\n")
    assert re.search(r"(?m)^kind: PrometheusRule$", head)
    assert textwrap.dedent(spec) == f"groups:\n{groups}"


def test_the_dashboard_can_be_imported() -> None:
    """Each panel and variable has the chosen datasource. No two panels have the same id, or the same place."""
    dashboard = json.loads((EXAMPLES / "dashboard.json").read_text(encoding="utf-8"))
    datasource, *variables = dashboard["templating"]["list"]
    assert (datasource["name"], datasource["type"], datasource["query"]) == ("datasource", "datasource", "prometheus")
    panels = dashboard["panels"]
    users = [*variables, *panels, *(target for panel in panels for target in panel["targets"])]
    assert all(each["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for each in users)
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len({*places})
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    recorded = {*re.findall(r"record: (\S+)", (EXAMPLES / "recording.yml").read_text(encoding="utf-8"))}
    assert {name for name in recorded if name not in str(panels)} == set()


def started(instance: str, kind: str = "started", **fields: object) -> str:
    """Return the line of an event, by default of a start of the process 7 of the service api."""
    event = {"secret_event": kind, "service": "api", "instance": instance, "process": "7.0@now"} | fields
    return f"{json.dumps(event)}\n"


refused = partial(started, kind="refused", checks=["secret.key: expired", "secret.key: format"])


@pytest.mark.parametrize(
    ("runs", "samples"),
    [
        ([refused("a")], {("api", "a"): 1}),
        ([refused("a"), ""], {("api", "a"): 1}),
        ([refused("a") + started("a")], {("api", "a"): 0}),
        ([refused("a"), started("a")], {("api", "a"): 0}),
        ([refused("a"), started("a"), ""], {}),
        ([started("a") + refused("a"), started("b")], {("api", "a"): 1, ("api", "b"): 0}),
        ([refused("a"), started("a", "running") + started("a", "ended")], {("api", "a"): 1}),
        ([refused("host:6", process="6.0@now") + started("host:7")], {("api", "host"): 0}),
        ([started("host:7") + refused("host:8", process="8.0@now")], {("api", "host"): 1}),
        ([refused("host:8000") + started("host:8001")], {("api", "host:8000"): 1, ("api", "host:8001"): 0}),
        ([refused("a") + started("a", service="web")], {("api", "a"): 1, ("web", "a"): 0}),
        (
            [refused("a", namespace="prod"), started("a", namespace="dev")],
            {("prod/api", "a"): 1, ("dev/api", "a"): 0},
        ),
        (['null\n{"secret_event":"star\n7\n' + refused('"\n\\')], {("api", "???"): 1}),
        (['{"secret_event":"refused","service":[],"instance":7,"process":{},"checks":5}\n'], {("", ""): 1}),
    ],
)
def test_refused_starts(runs: list[str], samples: dict[tuple[str, str], int], tmp_path: Path) -> None:
    """The last start of each instance counts. A refused one is kept until a start passes, without its event as well."""
    script = ("sh", str(EXAMPLES / "refused_starts.sh"), "events", "kept", "metrics")
    for events in runs:
        (tmp_path / "events").write_text(events, encoding="utf-8")
        assert tool(*script, cwd=tmp_path) == (0, "")
    (tmp_path / "events").rename(tmp_path / "events.1")  # after a rotation, until the next event
    assert tool(*script, cwd=tmp_path) == (0, "")
    (tmp_path / "events.1").unlink()
    (tmp_path / "metrics.tmp").write_text("")  # a write that was interrupted
    assert tool(*script, cwd=tmp_path)[0] != 0, "without events, the metric must become old"
    text = (tmp_path / "metrics").read_text(encoding="utf-8")
    assert tool("promtool", "check", "metrics", given=text) == (0, "")
    (family,) = text_string_to_metric_families(text)
    found = {(each.labels["service"], each.labels["instance"]): each.value for each in family.samples}
    assert (family.name, found) == ("robodj_secret_start_refused", samples)
    assert {*os.listdir(tmp_path)} == {"kept", "metrics", "metrics.tmp"}
