"""From a guarded service's `/metrics` to a webhook, for each shipped rule, with a real Prometheus and Alertmanager.

The test replaces the ports, the intervals and each `for:` of the shipped files. The last rotation is a record in an
operations log. Timers do not run: the test runs their commands, and their files get the present time in each second.
Only the metrics of kube-state-metrics are a text, as Kubernetes is not here.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from command_line import OTHER, Machine, fingerprint_of, rotated
from conftest import V1, V2, clean_environment, good_keys, marker
from pages import ROOT, parsed
from publications import NEXT, PREVIOUS, REVOKED, UNTIL, volume
from stack import EXAMPLES, NAME, TEXTFILES, Inbox, Monitoring, Service, answers, require, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

require("prometheus", "promtool", "prometheus-alertmanager", "prometheus-node-exporter", "jq")

DAY = timedelta(days=1)
AHEAD = timedelta(seconds=10)
"""The time for the start of the service whose faults come with time."""
REFUSED: Final[dict[str, Sequence[str]]] = {
    "pod-1": ("-m", "robodj_secretguard", "exec", "--", "true"),
    "pod-2": ("-c", "from robodj_secretguard import guard; guard()"),
}
"""What refuses a start, by the instance."""
KUBERNETES: Final = """
kube_pod_container_status_last_terminated_exitcode{namespace="prod",pod="api-1",uid="1",container="api"} 3
kube_pod_container_status_ready{namespace="prod",pod="api-1",uid="1",container="api"} 0
kube_pod_container_status_last_terminated_exitcode{namespace="prod",pod="api-2",uid="2",container="api"} 3
kube_pod_container_status_ready{namespace="prod",pod="api-2",uid="2",container="api"} 1
"""

Faults = dict[tuple[str, str, str], float]
"""When each fault began, by the rule, the job and the secret."""


class Manager:
    """A secret manager as a directory, and the timer that writes what it delivers."""

    def __init__(self, monitoring: Monitoring, service: str, textfiles: str = TEXTFILES[0]) -> None:
        self.keys = good_keys()
        self._monitoring, self._textfiles, self._name = monitoring, textfiles, service
        host = monitoring.directory / f"timer-{service or 'all'}"
        self._source = host / "manager"
        self._host = Service("node", host, environ={"ROBODJ_SERVICE": service} if service else {})

    def write(self, **changes: str) -> None:
        """Change the keys."""
        self.keys |= changes
        volume(self._source, {name: value for name, value in self.keys.items() if value})

    def run_timer(self) -> None:
        """Write the file of `status`."""
        text = self._host.metrics_of_status("--from", f"directory:{self._source}")
        self._monitoring.text_file(f"robodj_{self._name or 'all'}.prom", text, self._textfiles)

    def deliver(self, *services: Service) -> None:
        """Let services get the keys."""
        for each in services:
            slots = {name: self.keys.get(name, "") for name in (NEXT, PREVIOUS, UNTIL, REVOKED)}
            each.environ |= {name: self.keys[name] for name in (V1, V2)}
            each.deliver(**{name: value for name, value in slots.items() if value})


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


def publish(refused: Service, unreadable: Service) -> Faults:
    """Deliver a bad set to a service, and take the directory of another one away."""
    refused.deliver(**{V1: "short"})
    unreadable.secrets_dir.rename(unreadable.directory / "gone")
    faults = (refused.job, NAME), (unreadable.job, "")
    return {("RobodjRefreshFailing", job, secret): time.time() for job, secret in faults}


def rotate(manager: Manager, fleet: Sequence[Service], sees: Callable[[str, str, Service], None]) -> None:
    """Stage, promote and retire a key. Each instance follows at another time, also before the timer has run."""
    old, new = manager.keys[V1], good_keys()[V1]
    until_tomorrow = marker(DAY, now=datetime.now(UTC))
    first, *others = fleet
    for slot, changes in (
        ("next", {NEXT: new}),
        ("current", {NEXT: "", V1: new, PREVIOUS: old, UNTIL: until_tomorrow}),
        ("current", {PREVIOUS: "", UNTIL: ""}),
    ):
        manager.write(**changes)
        manager.deliver(first)
        sees(slot, new, first)
        manager.run_timer()
        for each in others:
            manager.deliver(each)
            sees(slot, new, each)


def replace(manager: Manager, follower: Service) -> None:
    """Replace a key without an overlap, as in an emergency. Only one instance follows."""
    manager.write(**{V1: good_keys()[V1], REVOKED: fingerprint_of(manager.keys[V1])})
    manager.deliver(follower)
    manager.run_timer()


def start_of(host: Service, instance: str, key: str) -> int:
    """Start an instance of the service playout with a key, and return the status."""
    events = {"ROBODJ_SECRET_EVENTS": str(host.directory / "events.jsonl"), "ROBODJ_SERVICE": "playout"}
    env = clean_environment() | host.environ | events | {V1: key, "ROBODJ_INSTANCE": instance}
    argv = [sys.executable, *REFUSED[instance]]
    return subprocess.run(argv, cwd=host.directory, env=env, capture_output=True, check=False).returncode


def write_refused_starts(monitoring: Monitoring, host: Service) -> None:
    """Run the script of the example on the events of a host, and rotate them away."""
    events = host.directory / "events.jsonl"
    metrics = monitoring.directory / TEXTFILES[0] / "robodj_starts.prom"
    argv: list[str | Path] = [
        "/bin/sh",
        EXAMPLES / "refused_starts.sh",
        events,
        host.directory / "refused.jsonl",
        metrics,
    ]
    subprocess.run(argv, check=True)
    events.unlink()


def write_text_files(monitoring: Monitoring, host: Service) -> Faults:
    """Write the files of a host: a late rotation, refused starts, and two files whose timers end."""
    now, keys = datetime.now(UTC), host.fingerprints
    records = rotated(now - 91 * DAY, keys[NAME]), rotated(now - DAY, keys[OTHER], secret=OTHER)
    Machine(host.directory, host.environ).record(*records)
    monitoring.text_file("robodj_status.prom", host.metrics_of_status())
    monitoring.text_file("kubernetes.prom", KUBERNETES)
    assert [start_of(host, instance, "weak") for instance in REFUSED] == [3, 3]
    write_refused_starts(monitoring, host)
    monitoring.stopped.add(monitoring.text_file("robodj_old.prom", "# EOF\n"))
    rules = (
        ("SecretRotationOverdue", NAME),
        ("StartRefused", ""),
        ("StatusFileStale", ""),
        ("ContainerStartRefused", ""),
    )
    return {(f"Robodj{rule}", host.job, secret): time.time() for rule, secret in rules}


def queries() -> list[str]:
    """Return the query of the page, and each query of the dashboard with all values of its variables."""
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    (to_paste,) = (each.text for each in parsed(page).blocks if "(robodj_secret_info)" in each.text)
    dashboard = json.loads((EXAMPLES / "dashboard.json").read_text(encoding="utf-8"))
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [to_paste, *(each.replace("$job", ".*").replace("$secret", ".*") for each in shown)]


class Trial:
    """The services, the managers of their sets of keys, and what watches them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        singles = ("broken", "gone", "refused", "unreadable", "ageing", "node")
        self.broken, self.gone, self.refused, self.unreadable, self.ageing, self.host = (
            Service(job, root / job) for job in singles
        )
        self.fleet, self.stuck, self.emergency = (
            [Service(job, root / job / each, environment) for each in "ab"]
            for job, environment in (("robodj-backend", "prod"), ("stuck", "staging"), ("emergency", "prod"))
        )
        self.shared = [Service(job, root / job, "shared") for job in ("one", "two")]
        self.broken.environ["ROBODJ_PROTECTED_ENV"] = "true"
        self.refused.deliver()
        self.unreadable.deliver()
        misnamed = Service("misnamed", root / "misnamed", "prod")
        mislabelled = Service("mislabelled", root / "mislabelled", "elsewhere")
        groups = (*self.fleet, *self.stuck, *self.emergency, *self.shared)
        self.services = [self.broken, self.gone, self.refused, self.unreadable, misnamed, mislabelled, *groups]
        self.monitoring = Monitoring(root / "monitoring", Inbox(), [*self.services, self.ageing])
        self.managers = [
            Manager(self.monitoring, "robodj-backend"),
            Manager(self.monitoring, "emergency"),
            Manager(self.monitoring, "", TEXTFILES[1]),
            Manager(self.monitoring, "another-name"),
            Manager(self.monitoring, "mislabelled"),
        ]
        users_of_each = (self.fleet, self.emergency, self.shared, [misnamed], [mislabelled])
        for manager, users in zip(self.managers, users_of_each, strict=True):
            manager.write()
            manager.run_timer()
            manager.deliver(*users)
        self.removed = self.monitoring.text_file("robodj_removed.prom", "# EOF\n")

    @contextlib.contextmanager
    def started(self) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
        """Run all of it but the service that is ageing, and wait until Prometheus has each service."""
        with contextlib.ExitStack() as stack:
            processes = {each.target: stack.enter_context(each.started()) for each in self.services}
            for each in self.services:
                until(lambda target=each.target: answers(f"http://{target}/metrics"))  # type: ignore[misc]
            stack.enter_context(self.monitoring.started())
            instances = "count by (instance) (robodj_secret_info)"
            until(lambda: len(self.monitoring.query(instances)) == len(self.services))
            yield processes

    def cause_faults(self) -> Faults:
        """Cause each fault of a service that runs on, and let a healthy fleet rotate a key."""
        faults = spoil(self.broken) | write_text_files(self.monitoring, self.host)
        self.removed.unlink()
        faults |= publish(self.refused, self.unreadable)
        for manager, (follower, straggler) in zip(self.managers[1:3], (self.emergency, self.shared), strict=True):
            replace(manager, follower)
            faults["RobodjKeyNotDelivered", straggler.job, NAME] = time.time()
        faults["RobodjTwoKeysRunning", "emergency", NAME] = time.time()
        rotate(self.managers[0], self.fleet, self.sees)
        return faults

    def sees(self, slot: str, key: str, service: Service) -> None:
        """Wait until Prometheus has a key of an instance."""
        selector = f'slot="{slot}",instance="{service.target}",fingerprint="{fingerprint_of(key)}"'
        until(lambda: bool(self.monitoring.query(f"robodj_secret_info{{{selector}}}")))

    def shows_a_key(self) -> bool:
        """Return whether a log, a file of metrics or an alert shows a key."""
        files = [*self.root.rglob("*.log"), *self.root.rglob("*.prom")]
        shown = "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
        keys = [each.environ[name] for each in (*self.services, self.ageing, self.host) for name in (V1, V2)]
        keys += [each.keys[V1] for each in self.managers]
        return any(key in shown + repr(self.monitoring.inbox.received) for key in keys)


@pytest.mark.full
def test_each_alert_reaches_its_owner(tmp_path: Path) -> None:
    """Each rule's fault in a service causes a webhook to the owner. A rotation and healthy services cause none."""
    trial = Trial(tmp_path)
    monitoring, inbox = trial.monitoring, trial.monitoring.inbox
    with trial.started() as processes:
        faults: Faults = {("RobodjTwoKeysRunning", "stuck", name): time.time() for name in (NAME, OTHER)}
        faults |= {("RobodjStatusFileMissing", job, ""): time.time() for job in ("misnamed", "mislabelled")}
        assert {each["job"] for each in monitoring.pending()} <= {"stuck", "misnamed", "mislabelled"}
        processes[trial.gone.target].terminate()
        faults["RobodjServiceNotReporting", "gone", ""] = time.time()
        faults |= age(trial.ageing)
        with trial.ageing.started():
            faults |= trial.cause_faults()
            found = {}
            for rule, job, secret in faults:
                labels = {"job": job, "owner": "Security Operations"} | ({"secret": secret} if secret else {})
                found[rule, job, secret] = inbox.first(rule, labels)
            assert {each.path for each in found.values()} == {"/security-operations"}
            shipped = re.findall(r"(?m)^ +- alert: (\w+)$", (EXAMPLES / "rules.yml").read_text(encoding="utf-8"))
            assert {rule for rule, _, _ in faults} == {*shipped}

            for _, straggler in (trial.emergency, trial.shared):
                labels = found["RobodjKeyNotDelivered", straggler.job, NAME].labels
                assert (labels["instance"], labels["fingerprint"]) == (straggler.target, straggler.fingerprints[NAME])
            for name in ("robodj_old.prom", "robodj_removed.prom"):
                inbox.first("RobodjStatusFileStale", {"file": f"{TEXTFILES[0]}/{name}"})
            for instance in REFUSED:
                inbox.first("RobodjStartRefused", {"exported_instance": instance, "checks": f"{NAME}: format"})

            # Of several instances, one is down.
            down = trial.stuck[0]
            processes[down.target].terminate()
            faults["RobodjServiceNotReporting", down.job, ""] = time.time()
            inbox.first("RobodjServiceNotReporting", {"job": down.job, "instance": down.target})

            # One of the refused instances starts. The other one is not started any more, and its event is gone.
            assert start_of(trial.host, "pod-2", trial.host.environ[V1]) == 0
            write_refused_starts(monitoring, trial.host)
            refused = 'ALERTS{alertname="RobodjStartRefused"}'
            until(lambda: [each["exported_instance"] for each in monitoring.query(refused)] == ["pod-1"])

            # Nothing else fires, or is about to fire. The warn window of the second key began before it expired.
            alerts = [each.labels for each in inbox.received] + monitoring.pending()
            fired = {(each["alertname"], each["job"], each.get("secret", "")) for each in alerts}
            assert fired - {("RobodjSecretExpiresSoon", "ageing", OTHER)} == {*faults}
            assert monitoring.unhealthy_rules() == []
            assert monitoring.query("node_textfile_scrape_error == 1") == []
            assert [query for query in queries() if not monitoring.query(query)] == []
            assert not trial.shows_a_key()
    for key, alert in found.items():
        print(f"{alert.at - faults[key]:6.1f} s  {' '.join(key)}")  # noqa: T201 - the figures of the session
