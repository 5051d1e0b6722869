"""The collector for Prometheus, with `prometheus_client`."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import pytest
from command_line import Machine, fingerprint_of
from conftest import KEY_VARIABLES, V1, V2, clean_environment, good_keys, marker, posix_only, put, raising
from detector import leaks
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families
from publications import volume
from pydantic import SecretStr
from rings import rotation_keys, traceback_of
from test_metrics import samples

from robodj_secretguard import RuntimeSecrets, SecretSettings, guard
from robodj_secretguard.adapters import prometheus
from robodj_secretguard.adapters.prometheus import SecretCollector, count_processes
from robodj_secretguard.running.store import forget_stores
from robodj_secretguard.settings import store_of
from robodj_secretguard.startup.inputs import SECRETS_DIR, SECRETS_REFRESH

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OWNER = "Security Operations"
NAME, OTHER = "secret.key", "secret_v2.key"
READ_AT, STATE = "robodj_secret_refresh_timestamp_seconds", "robodj_secret_state_timestamp_seconds"
STARTED_AT = "robodj_secret_start_timestamp_seconds"
Service: TypeAlias = tuple[RuntimeSecrets, SecretCollector]


@pytest.fixture
def now() -> datetime:
    """The time of the start."""
    return datetime.now(UTC).replace(microsecond=0)


def collector_on(machine: Machine, now: datetime, **options: Any) -> SecretCollector:
    """Let a process start on a machine, and return its collector."""
    return machine.within(lambda: SecretCollector(guard(**options), **options), now=now)


def scraped(machine: Machine, collector: SecretCollector, now: datetime) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the values of a scrape, which goes through a registry and both formats. No key has its process."""

    def scrape() -> dict[str, dict[tuple[str, ...], float]]:
        registry = CollectorRegistry(auto_describe=True)
        registry.register(collector)
        as_openmetrics, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
        text = generate_latest(registry).decode()
        # Without the values and names of processes: by chance, a hexadecimal key may have six of their digits.
        shown = re.sub(r'(?m) [0-9.e+]+$|process="[^"]+"', "", text + as_openmetrics(registry).decode())
        assert leaks(shown, [machine.environ[name] for name in KEY_VARIABLES if name in machine.environ]) == []
        values = samples(text_string_to_metric_families(text))
        return values | {
            "robodj_secret_info": {tuple(labels): value for (*labels, _), value in values["robodj_secret_info"].items()}
        }

    return machine.within(scrape, now=now)


def found(values: dict[str, dict[tuple[str, ...], float]]) -> dict[tuple[str, str], float]:
    """Return the checks and secrets of the findings that are not 0."""
    return {
        (check_id, secret): value
        for (check_id, _, secret, _), value in values["robodj_secret_findings"].items()
        if value
    }


class TestKeys:
    """The keys are those of the instance."""

    def test_all_of_it(self, machine: Machine, now: datetime) -> None:
        """The keys of each slot, the instants, the start, and no finding."""
        keys = rotation_keys(now + HOUR)
        machine.environ.update(keys | {f"{V1}_EXPIRES_AT": marker(30 * DAY, now=now)})
        values = scraped(machine, collector_on(machine, now), now + timedelta(minutes=5))
        assert values["robodj_secret_info"] == {
            (NAME, OWNER, "current", fingerprint_of(keys[V1])): 1,
            (NAME, OWNER, "next", fingerprint_of(keys[f"{V1}_NEXT"])): 1,
            (NAME, OWNER, "previous", fingerprint_of(keys[f"{V1}_PREVIOUS"])): 1,
            (OTHER, OWNER, "current", fingerprint_of(keys[V2])): 1,
        }
        assert values["robodj_secret_expiry_timestamp_seconds"] == {(NAME, OWNER): (now + 30 * DAY).timestamp()}
        assert values["robodj_secret_previous_until_timestamp_seconds"] == {(NAME, OWNER): (now + HOUR).timestamp()}
        assert values["robodj_secret_start_timestamp_seconds"] == {(): now.timestamp()}
        assert found(values) == {}

    def test_a_replaced_key(self, machine: Machine, now: datetime) -> None:
        """A key file that is replaced does not change which key runs. That key counts once it is revoked."""
        running = fingerprint_of(machine.environ[V1])
        machine.write("secret.key", machine.environ.pop(V1))
        machine.write("revoked.fingerprints", f"{running}@{marker(HOUR, now=now)}\n")
        collector = collector_on(machine, now)
        machine.write("secret.key", good_keys()[V1])
        values = scraped(machine, collector, now)
        assert (NAME, OWNER, "current", running) in values["robodj_secret_info"]
        assert found(values) == {("file-fallback", NAME): 1}
        assert found(scraped(machine, collector, now + HOUR))["revoked", NAME] == 1


_WORKER = """
import os
if "COUNT" in os.environ:
    from robodj_secretguard.adapters.prometheus import count_processes
    print(count_processes())
else:
    print(flush=True)
    input()
"""
_SERVER = """
import os, subprocess, sys
from subprocess import PIPE
other = subprocess.Popen(sys.argv[2:], executable=sys.argv[1], stdin=PIPE, stdout=PIPE)
other.stdout.readline()
subprocess.run(sys.argv[2:], executable=sys.argv[1], env=os.environ | {"COUNT": "1"})
other.communicate(b"x")
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the processes of a server")


def processes_in(collector: SecretCollector) -> str:
    """Return the identity of the process in a scrape."""
    (info,) = (each for each in collector.collect() if each.name == "robodj_secret_info")
    (identity,) = {sample.labels["process"] for sample in info.samples}
    return identity


def in_fork(function: Callable[[], object]) -> str:
    """Return the result of a function as text, from a fork that has ended."""
    source, sink = os.pipe()
    if not (child := os.fork()):
        os.write(sink, str(function()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(sink)
    with os.fdopen(source) as file:
        return file.read()


class TestProcess:
    """The identity of a process, and the number of those that may answer in its place."""

    def test_each_start(self, machine: Machine, now: datetime) -> None:
        """A process has one identity for all its keys, and a later start has another one."""
        first = collector_on(machine, now)
        forget_stores()
        second = collector_on(machine, now + timedelta(microseconds=1))
        identities = machine.within(lambda: [processes_in(each) for each in (first, first, second)])
        assert identities[0] == identities[1] != identities[2]

    @posix_only
    def test_each_fork(self, machine: Machine, now: datetime) -> None:
        """A fork inherits no identity, as the workers of a server with `--preload` would."""
        collector = collector_on(machine, now)
        own = machine.within(lambda: processes_in(collector))
        forks = [machine.within(lambda: in_fork(lambda: processes_in(collector))) for _ in range(2)]
        assert len({own, *forks}) == 3

    @linux_only
    def test_titles(self) -> None:
        """The titles of a server and its workers differ after their colon."""
        argv = ["gunicorn: master [app]", "-c", _SERVER, sys.executable, "gunicorn: worker [app]", "-c", _WORKER]
        environ = clean_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(argv, executable=sys.executable, env=environ, stdout=subprocess.PIPE, check=True)
        assert done.stdout == b"2\n"

    @pytest.mark.parametrize(
        ("own", "server", "parent", "number"),
        [
            ("python\0app.py\0", "python\0app.py\0", 7, 2),  # a fork
            ("python\0--multiprocessing-fork\0", "uvicorn\0", 7, 2),  # spawned by a server
            ("python\0app.py\0", "supervisord\0", 7, 1),
            ("python\0app.py\0", "", 7, 0),  # the server is invisible
            ("python\0app.py\0", "", 1, 1),  # init may be
            ("python\0app.py\0", "", 0, 1),  # in a container
            ("", "supervisord\0", 7, 0),
        ],
    )
    def test_other_command_lines(
        self, monkeypatch: pytest.MonkeyPatch, own: str, server: str, parent: int, number: int
    ) -> None:
        """A fork has the line of its server, and a spawned worker says so. Services of a supervisor are not workers."""
        lines = {"/proc/self/cmdline": own, f"/proc/{parent}/cmdline": server, "/proc/8/cmdline": own}
        lines |= {f"/proc/{parent}/task/{parent}/children": "8 9 10", "/proc/10/cmdline": own}
        monkeypatch.setattr("os.getppid", lambda: parent)
        monkeypatch.setattr(prometheus, "_content", lambda path: lines.get(path, "").encode())
        assert count_processes() == number

    def test_another_platform(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the processes cannot be seen, their number is unknown."""
        monkeypatch.setattr(prometheus, "open", raising(FileNotFoundError()), raising=False)
        assert count_processes() == 0


class TestFindings:
    """The findings are those of a check at the scrape."""

    def test_an_expiry(self, machine: Machine, now: datetime) -> None:
        """A key that expires shows without a restart."""
        machine.environ[f"{V1}_EXPIRES_AT"] = marker(HOUR, now=now)
        collector = collector_on(machine, now)
        assert found(scraped(machine, collector, now)) == {("expiring", NAME): 1}
        assert found(scraped(machine, collector, now + HOUR)) == {("expired", NAME): 1}

    @pytest.mark.parametrize(("slot", "ahead"), [("_NEXT", 0), ("_PREVIOUS", 0), ("_PREVIOUS", 1)])
    def test_a_revoked_slot(self, machine: Machine, now: datetime, slot: str, ahead: int) -> None:
        """A next or a previous key on the list counts while it is accepted."""
        machine.environ.update(rotation_keys(now + HOUR))
        collector = collector_on(machine, now)
        machine.write("revoked.fingerprints", f"{machine.fingerprint(f'{V1}{slot}')}\n")
        del machine.environ[f"{V1}{slot}"]  # so the check does not read it
        values = found(scraped(machine, collector, now + ahead * HOUR))
        assert values.get(("revoked", NAME)) == (None if ahead else 1)

    def test_options(self, machine: Machine, now: datetime) -> None:
        """The check uses the directory and the switch that `guard()` got."""
        elsewhere = machine.root / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        collector = collector_on(machine, now, config_dir=elsewhere, require_env_only=True)
        (elsewhere / "secret.key").write_text(good_keys()[V1], encoding="utf-8")
        assert found(scraped(machine, collector, now)) == {("file-present", NAME): 1}

    @pytest.mark.parametrize("how", ["default", "variable", "argument"])
    def test_another_working_directory(self, machine: Machine, now: datetime, how: str) -> None:
        """The list of the start is read after the working directory has changed."""
        if how == "variable":
            machine.environ["ROBODJ_CONFIG_DIR"] = "config"
        collector = collector_on(machine, now, **({"config_dir": "config"} if how == "argument" else {}))
        machine.write("revoked.fingerprints", f"{machine.fingerprint()}\n")
        elsewhere = replace(machine, root=machine.root / "elsewhere")
        elsewhere.root.mkdir()
        assert found(scraped(elsewhere, collector, now)) == {("revoked", NAME): 1}

    def test_no_directory_and_that_of_the_model(self, tmp_path: Path, now: datetime) -> None:
        """No directory, and that of the model, are as in `guard()`."""
        machine, directory = Machine(tmp_path), tmp_path / "own"
        assert found(scraped(machine, collector_on(machine, now), now)) == {}
        directory.mkdir(mode=0o700)

        class Own(RuntimeSecrets, config_dir=directory):
            pass

        collector = machine.within(lambda: SecretCollector(guard(Own)))
        put(directory / "revoked.fingerprints", f"{machine.fingerprint()}\n")
        assert found(scraped(machine, collector, now)) == {("revoked", NAME): 1}


@posix_only
class TestRefresh:
    """A process that reads a secrets directory in each period."""

    @pytest.fixture
    def keys(self) -> dict[str, str]:
        """The keys of the start."""
        return good_keys()

    @pytest.fixture
    def place(self, machine: Machine, keys: dict[str, str]) -> Path:
        """The path of the secrets directory. No period ends in a test."""
        place = machine.root / "secrets"
        volume(place, keys)
        machine.environ.clear()
        machine.environ.update({SECRETS_DIR: str(place), SECRETS_REFRESH: "900"})
        return place

    @pytest.fixture
    def service(self, machine: Machine, now: datetime, place: Path) -> Service:  # noqa: ARG002
        """A process that has started on these keys, and its collector."""
        secrets = machine.within(guard, now=now)
        return secrets, machine.within(lambda: SecretCollector(secrets), now=now)

    def test_a_switch(
        self, machine: Machine, now: datetime, place: Path, keys: dict[str, str], service: Service
    ) -> None:
        """All of it follows a switch: the keys, the instants, and the time of the read."""
        (secrets, collector), later, start = service, now + timedelta(minutes=5), {(): now.timestamp()}
        secrets.secret_key.store.refused_logins[("secret.key", "current")] = 2
        values = scraped(machine, collector, now)
        assert values["robodj_secret_refused_logins"] == {("secret.key", "current"): 2}
        assert (values[READ_AT], [*values[STATE]], values[STARTED_AT]) == (start, [("following",)], start)
        keys |= {V1: good_keys()[V1], f"{V1}_PREVIOUS": keys[V1], f"{V1}_PREVIOUS_UNTIL": marker(HOUR, now=now)}
        volume(place, keys | {f"{V1}_EXPIRES_AT": marker(2 * DAY, now=now)})
        machine.within(secrets.refresh, now=later)
        values = scraped(machine, collector, later + HOUR)
        assert {labels[2:] for labels in values["robodj_secret_info"] if labels[0] == NAME} == {
            ("current", fingerprint_of(keys[V1])),
            ("previous", fingerprint_of(keys[f"{V1}_PREVIOUS"])),  # which still decrypts stored data
        }
        assert values["robodj_secret_expiry_timestamp_seconds"] == {(NAME, OWNER): (now + 2 * DAY).timestamp()}
        assert values["robodj_secret_previous_until_timestamp_seconds"] == {(NAME, OWNER): (now + HOUR).timestamp()}
        assert (values[READ_AT], [*values[STATE]], values[STARTED_AT]) == (
            {(): later.timestamp()},
            [("following",)],
            start,
        )
        assert found(values) == {("expiring", NAME): 1}

    def test_a_refused_set(
        self, machine: Machine, now: datetime, place: Path, keys: dict[str, str], service: Service
    ) -> None:
        """A refused set has its findings, and changes no key. A directory that is gone was not read.

        Then what was wrong with a secret may still be wrong.
        """
        secrets, collector = service
        before = scraped(machine, collector, now)["robodj_secret_info"]
        volume(place, keys | {V1: "short"})
        bad, gone = ("format", NAME), ("source", "")
        for hours, findings in ((1, {bad: 1}), (2, {gone: 1, bad: 1})):
            machine.within(secrets.refresh, now=now + hours * HOUR)
            values = scraped(machine, collector, now + hours * HOUR)
            assert (values[READ_AT], [*values[STATE]]) == ({(): (now + HOUR).timestamp()}, [("kept",)])
            assert (found(values), values["robodj_secret_info"]) == (findings, before)
            place = place.rename(place.with_name(f"gone {hours}"))

    def test_a_late_read(self, machine: Machine, now: datetime, service: Service) -> None:
        """Where no read has ended for three periods, the last one does not count as good."""
        secrets, collector = service
        store_of(secrets).late_at = time.monotonic()
        assert [*scraped(machine, collector, now)[STATE]] == [("late",)]

    def test_a_scrape(self, machine: Machine, now: datetime, place: Path, service: Service) -> None:
        """A scrape reads nothing, and runs no check."""
        place.rename(place.with_name("gone"))
        machine.environ.clear()
        assert found(scraped(machine, service[1], now)) == {}

    def test_without_a_period(self, machine: Machine, now: datetime, place: Path, keys: dict[str, str]) -> None:
        """Without a period, the keys follow a refresh by the service, and each scrape runs a check."""
        del machine.environ[SECRETS_REFRESH]
        secrets = machine.within(guard, now=now)
        collector = machine.within(lambda: SecretCollector(secrets), now=now)
        volume(place, keys | {V1: "short"})
        values = scraped(machine, collector, now)
        assert (found(values), READ_AT in values) == ({("format", NAME): 1}, False)
        volume(place, keys | {f"{V1}_NEXT": good_keys()[V1]})
        machine.within(secrets.refresh, now=now)
        assert len(scraped(machine, collector, now)["robodj_secret_info"]) == 3


class TestFailures:
    """A scrape does not fail, and shows no key."""

    def test_any_error(self, machine: Machine, now: datetime) -> None:
        """An error of the check is the finding `internal`, and its text is lost."""
        collector = collector_on(machine, now)
        with patch("robodj_secretguard.adapters.prometheus.check", raising(MemoryError(machine.environ[V1]))):
            values = scraped(machine, collector, now)
        assert found(values) == {("internal", ""): 1}
        assert found(scraped(machine, collector, now)) == {}

    @pytest.mark.parametrize("make", [str, SecretStr, lambda key: {V1: key}])
    def test_anything_else(self, machine: Machine, make: Any) -> None:
        """Something else than an instance, or than a path of a directory, is refused, and not shown."""
        key: Any = good_keys()[V1]
        for refused in (
            lambda: SecretCollector(make(key), config_dir=key),
            lambda: SecretCollector(guard(), config_dir=[make(key)]),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match="pass what guard") as raised:
                machine.within(refused)
            assert leaks(traceback_of(raised.value), [key]) == []


def test_a_registration(machine: Machine, now: datetime) -> None:
    """A registration runs no check, and gives the registry every name."""
    collector = collector_on(machine, now)
    registry = CollectorRegistry(auto_describe=True)
    with patch("robodj_secretguard.adapters.prometheus.check", None):
        registry.register(collector)
        described = [*collector.describe()]
    assert [each.name for each in described] == [
        "robodj_secret_info",
        "robodj_secret_expiry_timestamp_seconds",
        "robodj_secret_previous_until_timestamp_seconds",
        "robodj_secret_start_timestamp_seconds",
        "robodj_secret_processes",
        READ_AT,
        STATE,
        "robodj_secret_refused_logins",
        "robodj_secret_findings",
    ]
    assert [each.samples for each in described] == [[]] * 9


def test_it_keeps_no_key(machine: Machine, now: datetime) -> None:
    """Neither the settings nor the text of the directory are kept, and it cannot be pickled."""
    key = good_keys()[V1]
    (machine.root / key).mkdir(mode=0o700)
    collector = collector_on(machine, now, config_dir=key)
    assert leaks(repr(vars(collector)), [*machine.environ.values(), key]) == []
    assert not any(isinstance(each, SecretSettings) for each in vars(collector).values())
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(collector)
