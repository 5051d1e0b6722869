"""From a guarded service's `/metrics` to a webhook, for each shipped rule, with a real Prometheus and Alertmanager.

The test replaces the ports, the intervals and each `for:` of the shipped files. It does not wait for days. The history
of `RobodjTwoKeysRunning` is written into Prometheus' data. The last rotation is a record in an operations log. The age
of the stale file is set. The recipe of monitoring.md makes the metric of refused starts.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from command_line import OTHER, Machine, rotated
from conftest import V1, V2, clean_environment, good_keys, marker
from pages import ROOT, parsed
from stack import EXAMPLES, NAME, Inbox, Monitoring, Service, answers, history_of, require, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

require("prometheus", "promtool", "prometheus-alertmanager", "prometheus-node-exporter")

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AHEAD = timedelta(seconds=10)
"""The time for the start of the service whose faults come with time."""
PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
RECIPE = next(each.text for each in parsed(PAGE).blocks if "robodj_fleet.prom" in each.text)
REFUSED: Final[dict[str, Sequence[str]]] = {
    "pod-1": ("-m", "robodj_secretguard", "exec", "--", "true"),
    "pod-2": ("-c", "from robodj_secretguard import guard; guard()"),
}
"""What refuses a start, by the instance."""

Faults = dict[tuple[str, str, str], float]
"""When each fault began, by the rule, the job and the secret."""


def age(service: Service) -> Faults:
    """Let the warn window of one key begin, and the other key expire, soon after the service has started."""
    instant = datetime.now(UTC) + AHEAD
    service.environ |= {f"{V1}_EXPIRES_AT": marker(14 * DAY, now=instant), f"{V2}_EXPIRES_AT": instant.isoformat()}
    faults = (("RobodjSecretExpiresSoon", NAME), ("RobodjSecretExpired", OTHER))
    return {(rule, service.job, secret): instant.timestamp() for rule, secret in faults}


def spoil(service: Service) -> Faults:
    """Revoke a key that runs, and leave a key file in a protected environment."""
    service.write("revoked.fingerprints", f"{service.fingerprints[NAME]}\n")
    revoked_at = time.time()
    service.write("secret_v2.key", service.environ[V2])
    return {
        ("RobodjRevokedKeyRunning", service.job, NAME): revoked_at,
        ("RobodjStartWouldBeRefused", service.job, OTHER): time.time(),
    }


def publish(refused: Service, late: Service, followed: Service) -> Faults:
    """Deliver a bad set to a service, take the directory of another one away, and rotate a key of a third one."""
    refused.deliver(**{V1: "short"})
    late.secrets_dir.rename(late.directory / "gone")
    previous = {f"{V1}_PREVIOUS": followed.environ[V1], f"{V1}_PREVIOUS_UNTIL": marker(DAY, now=datetime.now(UTC))}
    followed.environ[V1] = good_keys()[V1]
    followed.deliver(**previous)
    faults = [
        ("RobodjRefreshRefused", refused, NAME),
        ("RobodjRefreshRefused", late, ""),
        ("RobodjRefreshLate", late, ""),
    ]
    return {(rule, service.job, secret): time.time() for rule, service, secret in faults}


def refuse_starts(host: Service, text_files: Path) -> None:
    """Refuse starts of a service, and write the file of their events as the page says."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    events = {"ROBODJ_SECRET_EVENTS": str(host.directory / "events.jsonl"), "ROBODJ_SERVICE": "playout"}
    env = clean_environment() | host.environ | events | {"PATH": path, "TEXTFILES": str(text_files)}
    for instance, arguments in REFUSED.items():
        bad = env | {V1: "weak", "ROBODJ_INSTANCE": instance}
        refused = subprocess.run(
            [sys.executable, *arguments], cwd=host.directory, env=bad, capture_output=True, check=False
        )
        assert refused.returncode == 3
    (host.directory / "roster.txt").write_text("playout pod-1\nplayout pod-2\n", encoding="utf-8")
    script = RECIPE.replace("/var/log/robodj", str(host.directory))
    subprocess.run(["/bin/sh", "-euc", script], cwd=host.directory, env=env, check=True)


def write_text_files(monitoring: Monitoring, host: Service) -> Faults:
    """Write the files of a host: a late rotation, a refused start, and an old file."""
    now, keys = datetime.now(UTC), host.fingerprints
    records = rotated(now - 91 * DAY, keys[NAME]), rotated(now - DAY, keys[OTHER], secret=OTHER)
    Machine(host.directory, host.environ).record(*records)
    monitoring.text_file("robodj_status.prom", host.command("status", "--format", "openmetrics"))
    refuse_starts(host, monitoring.directory / "textfiles")
    stale = monitoring.text_file("robodj_stale.prom", "# EOF\n")
    os.utime(stale, times=((now - 3 * HOUR).timestamp(),) * 2)
    faults = (("RobodjSecretRotationOverdue", NAME), ("RobodjStartRefused", ""), ("RobodjStatusFileStale", ""))
    return {(rule, host.job, secret): time.time() for rule, secret in faults}


@pytest.mark.full
def test_each_alert_reaches_its_owner(tmp_path: Path) -> None:
    """For each rule, a service with that fault causes a webhook to the owner. Services without a fault cause none."""
    healthy, broken, gone, ageing, host = (
        Service(job, tmp_path / job) for job in ("robodj-backend", "broken", "gone", "ageing", "node")
    )
    stuck, rollout = ([Service(job, tmp_path / job / each) for each in ("old", "new")] for job in ("stuck", "rollout"))
    live = [Service(job, tmp_path / job) for job in ("refused", "late", "followed")]
    for each in live:
        each.deliver()
    broken.environ["ROBODJ_PROTECTED_ENV"] = "true"
    jobs = {each.job: [each.target] for each in (broken, gone, ageing, *live)}
    jobs |= {each[0].job: [one.target for one in each] for each in (stuck, rollout)}
    monitoring = Monitoring(tmp_path / "monitoring", Inbox(), healthy.target, jobs)
    monitoring.history(history_of(stuck, {NAME: 14, OTHER: 7}))
    services = [healthy, broken, gone, *live, *stuck, *rollout]
    with contextlib.ExitStack() as stack:
        processes = {each.job: stack.enter_context(each.started()) for each in services}
        for each in services:
            until(lambda target=each.target: answers(f"http://{target}/metrics"))  # type: ignore[misc]
        stack.enter_context(monitoring.started())
        until(lambda: len(monitoring.query("count by (instance) (robodj_secret_info)")) == len(services))
        faults = {("RobodjTwoKeysRunning", "stuck", name): time.time() for name in (NAME, OTHER)}
        assert {each["job"] for each in monitoring.pending()} <= {"stuck"}

        faults |= age(ageing)
        stack.enter_context(ageing.started())
        faults |= spoil(broken)
        processes["gone"].terminate()
        faults["RobodjServiceNotReporting", "gone", ""] = time.time()
        faults |= write_text_files(monitoring, host)
        faults |= publish(*live)
        new = f'fingerprint="{live[-1].fingerprints[NAME]}"'
        until(lambda: bool(monitoring.query(f'robodj_secret_info{{job="followed", slot="current", {new}}}')))

        found = {}
        for rule, job, secret in faults:
            labels = {"job": job, "owner": "Security Operations"} | ({"secret": secret} if secret else {})
            found[rule, job, secret] = monitoring.inbox.first(rule, labels)
        assert {each.path for each in found.values()} == {"/security-operations"}
        refused = found["RobodjStartRefused", host.job, ""].labels
        assert (refused["service"], refused["checks"]) == ("playout", "format")
        assert refused["exported_instance"] in REFUSED
        shipped = re.findall(r"(?m)^ +- alert: (\w+)$", (EXAMPLES / "rules.yml").read_text(encoding="utf-8"))
        assert {rule for rule, _, _ in faults} == {*shipped}

        # Nothing else fires, or is about to fire. The warn window of the second key began before it expired.
        expected = {*faults, ("RobodjSecretExpiresSoon", "ageing", OTHER)}
        alerts = [each.labels for each in monitoring.inbox.received] + monitoring.pending()
        assert {(each["alertname"], each["job"], each.get("secret", "")) for each in alerts} == expected
        assert monitoring.unhealthy_rules() == []
        assert monitoring.query("node_textfile_scrape_error == 1") == []
        shown = "".join(path.read_text(encoding="utf-8", errors="replace") for path in tmp_path.rglob("*.log"))
        shown += repr(monitoring.inbox.received)
        assert not any(each.environ[name] in shown for each in (*services, ageing, host) for name in (V1, V2))
    for key, alert in found.items():
        print(f"{alert.at - faults[key]:6.1f} s  {' '.join(key)}")  # noqa: T201 - the figures of the session
