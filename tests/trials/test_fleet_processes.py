"""Fifty guarded processes, rotated step by step: `fleet` names each one that is not ready, and no other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from command_line import Machine, fingerprint_of, machine_at
from conftest import TIMEOUT, V1, V2, clean_environment, good_keys
from detector import leaks
from fleets import NAME
from publications import promoted, retired, staged, text_of, volume

from robodj_secretguard.startup.inputs import iso_utc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from publications import Files

if sys.platform == "win32":
    pytest.skip("the processes are forked", allow_module_level=True)

GOOD = [f"n{number:02}" for number in range(47)]
LATE, MUTE, LEAKED = "late", "mute", "leaked"
ALL = [*GOOD, LATE, MUTE, LEAKED]
AGE = 6
"""In seconds. Clocks may differ by a third of it."""


class Processes:
    """The processes of the instances, which write their events to one file."""

    def __init__(self, directory: Path) -> None:
        self._events, service = directory / "events", directory / "service"  # without the operator's revocation list
        self._events.touch()
        service.mkdir()
        self._second = {V2: good_keys()[V2]}
        self.sets: dict[str, dict[str, str]] = {}
        command = [sys.executable, str(Path(__file__).with_name("fleet_process.py"))]
        self._process = subprocess.Popen(
            command, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=service
        )

    def _send(self, **command: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def start(self, name: str, keys: str, **more: str) -> None:
        """Start an instance with a set of keys, in place of its process, and wait until its guard has let it start."""
        events = {"ROBODJ_SECRET_EVENTS": str(self._events), "ROBODJ_SECRET_HEARTBEAT": "1"}
        environ = {"ROBODJ_SERVICE": "api", "ROBODJ_INSTANCE": name, **events, **self._second}
        self._send(instance=name, environ=environ | self.sets[keys] | more)
        assert self._process.stdout
        assert self._process.stdout.readline() == "started\n"

    def signal(self, name: str, number: int) -> None:
        """Send a signal to the process of an instance."""
        self._send(instance=name, signal=number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=TIMEOUT)
        assert self._process.returncode == 0


class Operator:
    """An operator who asks for a condition until the answer is the right one."""

    def __init__(self, machine: Machine, age: int = AGE, instances: Sequence[str] = ALL) -> None:
        self.machine, self.answers, self.age = machine, 0, age
        machine.put("roster.toml", f"[api]\ninstances = {json.dumps([*instances])}\n")

    def not_ready(self, *condition: str) -> dict[str, str]:
        """Return why a condition is not proven, by instance."""
        files = ("--roster", "roster.toml", "--events", "events", "--secret", NAME, "--format", "json")
        age = ("--max-age", str(self.age))
        ran = self.machine.call("fleet", *files, *age, "--require", *condition, now=datetime.now(UTC))
        assert ran.status < 2, ran.err
        assert leaks(ran.out + ran.err, [*self.machine.environ.values()]) == []
        self.answers += 1
        (found,) = ran.document["verdicts"]
        assert (ran.status, found["holds"]) == ((1, False) if found["not_ready"] else (0, True))
        return {name.removeprefix("api/"): why for name, why in found["not_ready"].items()}

    def waits(self, *condition: str, until: Mapping[str, str]) -> None:
        """Ask until these instances are named, with the beginnings of the reasons. Until then, they are never ready."""
        end = time.monotonic() + TIMEOUT
        while True:
            found = self.not_ready(*condition)
            # An event of less than six seconds ago proves what it says, until then.
            assert {*until} - {MUTE} <= {*found}
            if found.keys() == until.keys() and all(found[name].startswith(why) for name, why in until.items()):
                return
            assert time.monotonic() < end, found


@pytest.mark.full
def test_a_rotation_of_fifty_processes(tmp_path: Path) -> None:
    """At each step, one left behind, a silent one and one on a revoked key are named, until they are ready."""
    machine = machine_at(tmp_path)
    operator = Operator(machine)
    keys = {name: good_keys()[V1] for name in ("old", "new", "leaked")}
    old, new, leaked = map(fingerprint_of, keys.values())
    machine.write("revoked.fingerprints", f"{leaked}\n", 0o644)
    began = time.monotonic()
    with Processes(tmp_path) as processes:
        processes.sets = {name: {V1: key} for name, key in keys.items()}
        processes.sets["staged"] = {V1: keys["old"], f"{V1}_NEXT": keys["new"]}
        machine.environ.update(processes.sets["old"])
        for name in ALL:
            processes.start(name, "leaked" if name == LEAKED else "old")
        operator.waits("moved", until={LEAKED: f"signs with {leaked}"})
        operator.waits("none-on", leaked, until={LEAKED: f"uses {leaked} as the current key of {NAME}"})

        machine.environ.update(processes.sets["staged"])
        for name in (*GOOD, MUTE):
            processes.start(name, "staged")
        processes.signal(MUTE, signal.SIGSTOP)
        lacks = f"does not have {new}"
        operator.waits("has-next", until={LATE: lacks, LEAKED: lacks, MUTE: "unknown: no recent evidence of its key"})
        processes.signal(MUTE, signal.SIGCONT)
        for name in (LATE, LEAKED):
            processes.start(name, "staged")
        operator.waits("has-next", until={})

        end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=25)
        machine.write("revoked.fingerprints", f"{leaked}\n{old}@{iso_utc(end)}\n", 0o644)
        previous = {f"{V1}_PREVIOUS": keys["old"], f"{V1}_PREVIOUS_UNTIL": iso_utc(end)}
        processes.sets["promoted"] = {V1: keys["new"], **previous}
        del machine.environ[f"{V1}_NEXT"]
        machine.environ.update(processes.sets["promoted"])
        for name in (*GOOD, MUTE):
            processes.start(name, "promoted")
        processes.start(LEAKED, "leaked")
        processes.signal(MUTE, signal.SIGSTOP)
        signs = {LATE: f"signs with {old}", LEAKED: f"signs with {leaked}"}
        operator.waits("moved", until=signs | {MUTE: "unknown: no recent evidence of its key"})
        processes.signal(MUTE, signal.SIGCONT)
        for name in (LATE, LEAKED):
            processes.start(name, "promoted")
        operator.waits("moved", until={})

        while operator.not_ready("none-on", old):
            assert datetime.now(UTC) < end + timedelta(seconds=TIMEOUT)
        assert datetime.now(UTC) >= end + timedelta(seconds=AGE // 3)  # on every clock
        for name in ALL:
            processes.start(name, "new")
        operator.waits("none-on", old, until={})
        operator.waits("none-on", leaked, until={})
    print(f"{operator.answers} answers in {time.monotonic() - began:.1f} s")  # noqa: T201 - with -s


@pytest.mark.full
def test_a_rotation_without_restarts(tmp_path: Path) -> None:
    """A switch and a graceful end are said. So no proof waits until earlier events are old, which takes 11 minutes."""
    machine, keys = machine_at(tmp_path), good_keys()
    operator = Operator(machine, 600, [*GOOD, LATE])
    places = {name: machine.root / name for name in ("secrets", LATE)}
    began = time.monotonic()

    def publish(files: Files, *names: str) -> None:
        for name in names:
            volume(places[name], files)
        machine.environ.clear()
        machine.environ.update({name: text_of(files, name) for name in files})

    with Processes(tmp_path) as processes:
        processes.sets = {
            name: {"ROBODJ_SECRETS_DIR": str(place), "ROBODJ_SECRETS_REFRESH": "1"} for name, place in places.items()
        }
        publish(keys, *places)
        for name in (*GOOD, "gone"):
            processes.start(name, "secrets")
        processes.start(LATE, LATE)
        operator.waits("moved", until={})
        old = fingerprint_of(keys[V1])

        publish(files := staged(keys), "secrets")
        operator.waits("has-next", until={LATE: "does not have "})
        publish(files, LATE)
        operator.waits("has-next", until={})

        processes.signal("gone", signal.SIGSTOP)  # it does not switch any more
        publish(files := promoted(files), "secrets")
        operator.waits("moved", until=dict.fromkeys((LATE, "gone"), f"signs with {old}"))
        publish(files, LATE)
        operator.waits("moved", until={"gone": f"signs with {old}"})
        processes.signal("gone", signal.SIGTERM)
        processes.signal("gone", signal.SIGCONT)
        operator.waits("moved", until={})

        machine.write("revoked.fingerprints", f"{old}@{iso_utc(datetime.now(UTC))}\n", 0o644)
        publish(retired(files), *places)
        operator.waits("none-on", old, until={})
    print(f"{operator.answers} answers in {time.monotonic() - began:.1f} s")  # noqa: T201 - with -s
