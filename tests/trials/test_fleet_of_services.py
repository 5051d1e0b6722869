"""Fifty services of three instances: `fleet` says when a rotation is done, and names what blocks it until then."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pytest
from command_line import Machine, fingerprint_of, machine_at
from conftest import TIMEOUT, V1, clean_environment, free_port, good_keys
from detector import leaks
from fleets import NAME
from publications import BAD, NEXT, promoted, replaced, retired, staged, text_of, volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from publications import Files

if sys.platform != "linux":
    pytest.skip("each process has an address of its own", allow_module_level=True)

from test_fleet_queries import prometheus

PERIOD: Final = 2
"""Of heartbeats, scrapes and reads of the secrets, in seconds."""
AGE: Final = 12
"""The window of proof, in seconds. Clocks may differ by a third of it."""
FULL, LATE, ALONE = ("host-0", "host-1"), "host-8", "alone"
DEAD, AHEAD, KEPT = "s01/web-1", "s26/web-1", "s11/web-2"


def host_of(name: str) -> str:
    """Return where an instance runs: its events have one file there, and its secrets one directory."""
    service, instance = int(name[1:3]), int(name[-1])
    return ALONE if name == KEPT else f"host-{(service + 3 * instance) % 10}"


NAMES: Final = [f"s{service:02}/web-{instance}" for service in range(50) for instance in (1, 2, 3)]
HOSTS: Final = sorted({*map(host_of, NAMES)})
STAGING: Final = "s00/staging-1"


def on(*hosts: str) -> set[str]:
    """Return the instances on these hosts."""
    return {name for name in NAMES if host_of(name) in hosts}


class Fleet:
    """The processes of the instances, and what they said."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.addresses = {name: f"127.0.1.{number}" for number, name in enumerate((*NAMES, STAGING), 1)}
        self._port = str(free_port())
        self.said: list[tuple[float, str]] = []
        for directory in ("service", "events", "secrets"):
            (root / directory).mkdir()
        for host in HOSTS:
            (root / "events" / host).touch()
        command = [sys.executable, str(Path(__file__).with_name("fleet_process.py"))]
        self._process = subprocess.Popen(
            command,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root / "service",
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.said.append((time.monotonic(), line))

    def _send(self, **command: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def heard(self, count: int) -> float:
        """Wait until the processes have said so many lines more, and return the time of the last one."""
        end = time.monotonic() + TIMEOUT
        while len(self.said) < count:
            assert time.monotonic() < end, f"{len(self.said)} of {count} lines"
            time.sleep(0.05)
        return self.said[count - 1][0]

    def start(self, name: str, *, environment: str = "prod", secrets: str = "", **more: str) -> None:
        """Start an instance in place of its process."""
        service, instance = name.split("/")
        host = host_of(name)
        self._send(
            instance=name,
            environ={
                "ROBODJ_SERVICE": service,
                "ROBODJ_INSTANCE": instance,
                "ROBODJ_ENVIRONMENT": environment,
                "ROBODJ_SECRET_EVENTS": str(self._root / "events" / host),
                "ROBODJ_SECRET_HEARTBEAT": str(PERIOD),
                "ROBODJ_SECRETS_DIR": str(self._root / "secrets" / (secrets or host)),
                "ROBODJ_SECRETS_REFRESH": str(PERIOD),
                "METRICS_ADDRESS": self.addresses[name],
                "METRICS_PORT": self._port,
                **more,
            },
        )

    def signal(self, names: Iterable[str], number: int) -> None:
        """Send a signal to the processes of instances."""
        for name in names:
            self._send(instance=name, signal=number)

    def publish(self, files: Files, *hosts: str) -> None:
        """Deliver a set on these hosts."""
        for host in hosts:
            volume(self._root / "secrets" / host, files)

    def scraped(self) -> str:
        """Return the configuration of a Prometheus that scrapes the instances."""
        jobs = {name.split("/")[0]: list[dict[str, Any]]() for name in NAMES}
        for name, address in self.addresses.items():
            service, instance = name.split("/")
            jobs[service].append({"targets": [f"{address}:{self._port}"], "labels": {"instance": instance}})
        every = {"scrape_interval": f"{PERIOD}s", "scrape_timeout": f"{PERIOD}s"}
        configs = [{"job_name": job, "static_configs": targets} for job, targets in jobs.items()]
        return json.dumps({"global": every, "scrape_configs": configs})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(TIMEOUT)
        self._listener.join(TIMEOUT)
        assert self._process.stdout
        self._process.stdout.close()


class Operator:
    """An operator who asks by each channel."""

    def __init__(self, machine: Machine, url: str) -> None:
        self._machine = machine
        machine.put("roster.toml", "".join(f'[s{n:02}]\ninstances = ["web-1", "web-2", "web-3"]\n' for n in range(50)))
        self.channels = {
            "events": [word for host in HOSTS for word in ("--events", f"events/{host}")],
            "metrics": ["--prometheus", url],
        }

    def deliver(self, files: Files) -> None:
        """Let the store have this set."""
        self._machine.environ.clear()
        self._machine.environ.update({name: text_of(files, name) for name in files})

    def not_ready(self, channel: str, *condition: str) -> dict[str, str]:
        """Return why a condition is not proven, by instance."""
        words = ("--roster", "roster.toml", "--environment", "prod", "--secret", NAME, "--max-age", str(AGE))
        ran = self._machine.call(
            "fleet", *words, *self.channels[channel], "--format", "json", "--require", *condition, now=datetime.now(UTC)
        )
        assert ran.status < 2, ran.err
        assert leaks(ran.out + ran.err, [*self._machine.environ.values()]) == []
        verdicts = ran.document["verdicts"]
        assert len(verdicts) == 50
        return {name: why for each in verdicts for name, why in each["not_ready"].items()}

    def waits(self, channel: str, *condition: str, until: Callable[[Mapping[str, str]], bool]) -> Mapping[str, str]:
        """Ask until the answer is this one."""
        end = time.monotonic() + TIMEOUT
        while not until(found := self.not_ready(channel, *condition)):
            assert time.monotonic() < end, (channel, condition, len(found), [*found.items()][:9])
            time.sleep(0.2)
        return found

    def is_done(self, complete: float, *condition: str) -> None:
        """Ask by each channel until the condition is proven, and print how long after its truth that is."""
        for channel in self.channels:
            self.waits(channel, *condition, until=lambda found: not found)
            print(f"{condition[0]}, by {channel}: {time.monotonic() - complete:.1f} s after it is true")  # noqa: T201


@pytest.mark.full
def test_two_rotations_of_fifty_services(tmp_path: Path) -> None:
    """What blocks a rotation is named with its reason, and nothing else is. Then each channel says that it is done."""
    machine, keys = machine_at(tmp_path), {**good_keys()}
    with Fleet(tmp_path) as fleet, prometheus(tmp_path, [], fleet.scraped()) as url:
        operator = Operator(machine, url)

        def deliver(files: Files, *hosts: str) -> None:
            operator.deliver(files)
            fleet.publish(files, *hosts)

        deliver(keys, *HOSTS)
        fleet.publish(good_keys(), "staging")
        for name in NAMES:
            fleet.start(name)
        fleet.start(STAGING, environment="staging", secrets="staging")
        operator.is_done(fleet.heard(heard := len(NAMES) + 1), "moved")

        # The planned rotation, with what can go wrong.
        fleet.signal(on(*FULL), signal.SIGUSR1)
        fleet.signal([DEAD], signal.SIGKILL)
        fleet.start(AHEAD, CLOCK_AHEAD="600")
        fleet.heard(heard := heard + 1)
        deliver(files := staged(keys), *sorted({*HOSTS} - {LATE}))
        blocked = {
            "events": on(*FULL, LATE) | {DEAD, AHEAD},
            "metrics": on(LATE) | {DEAD},
        }
        for channel, names in blocked.items():
            found = operator.waits(channel, "has-next", until=lambda found, names=names: found.keys() == names)  # type: ignore[misc]
            lacks = f"does not have {fingerprint_of(text_of(files, NEXT))}"
            assert all(found[name].startswith(lacks) for name in on(LATE))
            print({name: found[name] for name in (DEAD, AHEAD, min(on(*FULL))) if name in found})  # noqa: T201
        fleet.signal(on(*FULL) | {AHEAD}, signal.SIGUSR2)
        fleet.publish(files, LATE)
        fleet.start(DEAD)
        operator.is_done(fleet.heard(heard := heard + len(NAMES)), "has-next")

        # One instance refuses what it gets.
        deliver(files := promoted(files), *sorted({*HOSTS} - {ALONE}))
        fleet.publish(BAD["placeholder"][0](files), ALONE)
        for channel in operator.channels:
            found = operator.waits(channel, "moved", until=lambda found: found.keys() == {KEPT})
            assert "placeholder" in found[KEPT], found
            print(found)  # noqa: T201 - with -s
        fleet.publish(files, ALONE)
        operator.is_done(fleet.heard(heard := heard + len(NAMES)), "moved")

        # The emergency.
        leaked = fingerprint_of(text_of(files, V1))
        deliver(files := replaced(retired(files)), *HOSTS)
        machine.write("revoked.fingerprints", f"{leaked}\n", 0o644)
        operator.is_done(fleet.heard(heard := heard + len(NAMES)), "none-on", leaked)
