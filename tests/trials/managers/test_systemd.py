"""The unit of the example under a booted systemd: a container of this machine's own `/usr`, with all else in memory."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import sysconfig
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from conftest import TIMEOUT, V1, V2, clean_environment, good_keys, marker, put, run
from detector import leaks

import robodj_secretguard

ROOT: Final = Path(__file__).parents[3]
UNIT: Final = (ROOT / "examples" / "deploy" / "deploy" / "robodj.service").read_text(encoding="utf-8")
PAGE: Final = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
EXPIRES: Final = f"{V1}_EXPIRES_AT"


def block(word: str) -> str:
    """Return the block of the page that has a word."""
    (found,) = (each for each in re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if word in each)
    return str(found)


pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not shutil.which("systemd-nspawn"), reason="systemd-nspawn is not installed"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can boot a container"),
    pytest.mark.skipif(not importlib.util.find_spec("hvac"), reason="needs hvac: nox -s managers"),
]

# It looks at a unit when that serves, or has ended for good. systemd limits its time.
DRIVER: Final = """\
export PATH="/opt/robodj/venv/bin:$PATH"
systemd-sysusers --inline 'u robodj'
{blocks}
systemctl start "$@"
while systemctl is-active --quiet robodj && ! journalctl --unit=robodj | grep -q "startup complete"; do sleep 0.1; done
cp /proc/$(systemctl show --property=MainPID --value robodj)/environ /out/environ
for name in "$@"; do
    while [ $name != robodj ] && systemctl show --property=ActiveState $name | grep -q =activ; do sleep 0.1; done
    {{ systemctl cat $name; systemctl show $name; journalctl --unit=$name; }} >/out/$name.shown
done
echo done
"""
DRIVER_UNIT: Final = f"""\
[Unit]
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
TimeoutStartSec={TIMEOUT // 2}
StandardOutput=file:/out/driver
StandardError=file:/out/driver
ExecStopPost=/bin/sh -c 'journalctl >/out/journal'
ExecStart=/bin/sh -eu /run/systemd/system/driver.sh """
SERVER: Final = "/opt/robodj/venv/bin/uvicorn app.main:app --host=127.0.0.1 --port=8000"
ENTRY: Final = "#!/opt/robodj/venv/bin/python\nimport sys\nfrom {} import main\nsys.exit(main())\n"


class Booted:
    """What each unit did in the container.

    Attributes:
        keys: the keys of the units that start.
        expires: the expiry marker of one.
    """

    def __init__(self, directory: Path) -> None:
        self.keys = good_keys()
        self.expires = marker(timedelta(days=30), now=datetime.now(UTC))
        self._out = directory / "out"
        tree, units, keys = directory / "tree", directory / "units", directory / "keys"
        self._install(tree)
        for each in (units, keys, self._out):
            each.mkdir()
        for name, key in {**self.keys, EXPIRES: self.expires, "placeholder": "changeme"}.items():
            put(keys / name, key)
        names = self._write_units(units)
        mounts = {
            "/opt/robodj": tree,
            "/opt/python": sys.base_prefix,
            "/opt/packages": sysconfig.get_path("purelib"),
            "/opt/source": Path(robodj_secretguard.__file__).parent.parent,
            "/run/systemd/system": units,
            "/run/keys": keys,
        }
        nspawn = [
            *("flock", shutil.which("systemd-nspawn") or "", "systemd-nspawn", "--directory=/", "--volatile=yes"),
            *("--boot", "--private-network", "--console=pipe", "--link-journal=no", "--resolv-conf=off"),
            *("--timezone=off", "--register=no"),
            *([] if Path("/run/systemd/system").exists() else ["--keep-unit"]),
            *(f"--bind-ro={source}:{target}" for target, source in mounts.items()),
            *(f"--bind={self._out}:/out", "systemd.unit=driver.service"),
            "systemd.mask=systemd-networkd-wait-online.service",  # it has the loopback interface alone
        ]
        env = clean_environment() | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        # Processes of pytest wait for each other: two containers would use the same control group.
        ran = run(nspawn, env=env, cwd=directory, python=False, timeout=4 * TIMEOUT)
        log = self._out / "driver"
        if not log.exists():
            pytest.skip(f"systemd does not boot here: {(ran.out + ran.err).splitlines()[-1:]}")
        assert "done" in log.read_text(encoding="utf-8").split(), (self._out / "journal").read_text(encoding="utf-8")
        self.states = {name: self._state(name) for name in names}

    def _install(self, tree: Path) -> None:
        """Write the service and a virtual environment as the page describes them."""
        without = shutil.ignore_patterns("__pycache__", "*.key")
        shutil.copytree(ROOT / "examples" / "robodj_service", tree / "service", ignore=without)
        (tree / "service" / "config").chmod(0o755)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        programs, packages = tree / "venv" / "bin", tree / "venv" / "lib" / version / "site-packages"
        for each in (programs, packages):
            each.mkdir(parents=True)
        put(tree / "venv" / "pyvenv.cfg", "home = /opt/python/bin\n", 0o644)
        put(packages / "here.pth", "/opt/source\n/opt/packages\n", 0o644)
        (programs / "python").symlink_to(f"/opt/python/bin/{version}")
        put(programs / "robodj-secretguard", ENTRY.format("robodj_secretguard.cli"), 0o755)
        put(programs / "uvicorn", ENTRY.format("uvicorn"), 0o755)

    def _write_units(self, units: Path) -> list[str]:
        """Write the unit as it is, four variants of it, and the one that runs them. Return the names of the five."""
        quick = UNIT.replace("RestartSec=5", "RestartSec=0").replace(SERVER, f"/usr/bin/printenv {V1} {V2} {EXPIRES}")
        away = "[Service]\nEnvironment=VAULT_ADDR=http://127.0.0.1:1 VAULT_TOKEN=none\n"
        texts = {
            "robodj": UNIT,
            "dynamic": re.sub("User=robodj\nGroup=robodj", "DynamicUser=yes", quick),
            "encrypted": quick + re.sub(r":20\d\d-.*", f":{self.expires}", block("LoadCredentialEncrypted")),
            "refused": quick.replace(f"/run/robodj/secrets/{V1}\n", "/run/keys/placeholder\n"),
            "away": quick.replace("directory:%d", "vault:secret/robodj --wait 0") + away,
        }
        for name, text in texts.items():
            output = f"[Service]\nStandardOutput=append:/out/{name}.out\nStandardError=journal\n"
            put(units / f"{name}.service", text if text == UNIT else text + output, 0o644)
        # Without a TPM, the key that encrypts is in /var, which is in memory here: systemd takes it only by name.
        encrypt = block("systemd-creds encrypt").replace(" encrypt ", " encrypt --with-key=host ")
        blocks = (block("mkdir -p /run/robodj/secrets") + encrypt).replace("vault:secret/robodj", "directory:/run/keys")
        put(units / "driver.sh", DRIVER.format(blocks=blocks))
        put(units / "driver.service", DRIVER_UNIT + " ".join(texts))
        (units / "service.d").mkdir()
        put(units / "service.d" / "python.conf", "[Service]\nEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n")
        put(units / "service.d" / "events.conf", "[Service]\nEnvironment=ROBODJ_SECRET_EVENTS=stderr\n")
        return [*texts]

    def _state(self, name: str) -> tuple[str, str, str]:
        """Return the state of a unit, the status of its last process, and how often it was restarted."""
        shown = dict(re.findall(r"^(\w+)=(.*)$", self.shown(name), re.MULTILINE))
        return shown["ActiveState"], shown["ExecMainStatus"], shown["NRestarts"]

    def shown(self, name: str) -> str:
        """Return the text of a unit, its properties and its log."""
        return (self._out / f"{name}.shown").read_text(encoding="utf-8")

    def out(self, name: str) -> str:
        """Return the output of a unit's command."""
        return (self._out / f"{name}.out").read_text(encoding="utf-8")

    def alerts(self, name: str) -> list[str]:
        """Return the beginning of each alert of a unit."""
        return re.findall(r"^ALERT: \S+ \S+", self.out(name), re.MULTILINE)

    def environment(self) -> dict[str, str]:
        """Return the environment of the service."""
        text = (self._out / "environ").read_text(encoding="utf-8")
        return dict(each.split("=", 1) for each in text.rstrip("\0").split("\0"))


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Booted:
    """The units in a container that was booted once."""
    return Booted(tmp_path_factory.mktemp("systemd"))


def test_unit_starts_the_service_with_its_credentials(booted: Booted) -> None:
    """The unit of the example, unchanged, starts the service with the keys of the credentials."""
    assert booted.states["robodj"] == ("active", "0", "0")
    assert {name: booted.environment()[name] for name in booted.keys} == booted.keys


def test_event_of_the_start_names_the_unit_and_the_host(booted: Booted) -> None:
    """The event of the start is in the journal. Its service is the unit, and its instance is the host."""
    ((host, line),) = re.findall(r"^\S+ \S+ \S+ (\S+) \S+: (.*secret_event.*)$", booted.shown("robodj"), re.MULTILINE)
    event = json.loads(line)
    assert (event["secret_event"], event["service"], event["instance"]) == ("started", "robodj", host)


@pytest.mark.parametrize("name", ["dynamic", "encrypted"])
def test_dynamic_user_and_encrypted_credentials_deliver_the_keys(name: str, booted: Booted) -> None:
    """A dynamic user, and credentials that are encrypted on the disk, deliver the keys and the marker too."""
    assert booted.states[name] == ("inactive", "0", "0")
    assert booted.out(name).split() == [*booted.keys.values(), booted.expires]


def test_placeholder_is_refused_once(booted: Booted) -> None:
    """A placeholder is refused once, with status 3: systemd does not restart the unit, and no command runs."""
    assert booted.states["refused"] == ("failed", "3", "0")
    assert booted.alerts("refused") == ["ALERT: secret.key: placeholder:"]


def test_silent_manager_is_retried(booted: Booted) -> None:
    """A manager that does not answer is status 75, which is retried until the limit of starts. No command runs."""
    state, status, restarts = booted.states["away"]
    assert (state, status, restarts) == ("failed", "75", "5")
    assert booted.alerts("away") == ["ALERT: unavailable: vault:secret/robodj"] * 5


def test_systemctl_and_the_log_show_no_key(booted: Booted) -> None:
    """`systemctl cat`, `systemctl show`, the log and the alerts have no part of a key."""
    shown = [booted.shown(name) for name in booted.states]
    alerts = [booted.out(name) for name in ("refused", "away")]
    # By chance, a long number or a random id may have six characters of a hexadecimal key.
    text = re.sub(r"\b(?:\d{5,}|[0-9a-f]{32})\b", "", "".join(shown + alerts))
    assert leaks(text, [*booted.keys.values()]) == []
