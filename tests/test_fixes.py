"""The literal operator: a person who does exactly what a `fix:` line says gets the right set-up.

Each fault has its exact two lines. The operator below knows a closed set of instructions, and fails on any other
text. In the end nothing is found, every variable has the secret manager's value, and no key is lost.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from unittest.mock import patch

import pytest
from command_line import OF_ROBODJ, clock, fingerprint_of
from command_line import rotated as rotation_of
from conftest import NOW, V1, V2, good_keys, marker, posix_only, process_environment, put
from pydantic import SecretStr

from robodj_secretguard import Finding, Material, Report, RuntimeSecrets, SecretPolicy, check
from robodj_secretguard.cli import main
from robodj_secretguard.cli.output import EXIT_USAGE
from robodj_secretguard.common.generator import generate
from robodj_secretguard.lifecycle import standing
from robodj_secretguard.lifecycle.records import Record, draft
from robodj_secretguard.lifecycle.standing import recorded_findings
from robodj_secretguard.managers.manager import load_sources
from robodj_secretguard.startup import list_rules, rules, shared, time_rules
from robodj_secretguard.startup.inputs import INSTANCE, SECRET_EVENTS, SECRET_HEARTBEAT, SERVICE
from robodj_secretguard.startup.model_option import LIBRARY_MODEL
from robodj_secretguard.startup.report import with_findings
from robodj_secretguard.startup.rules import Problem

E1, E2 = f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT"
NEXT, PREVIOUS, UNTIL = f"{V2}_NEXT", f"{V2}_PREVIOUS", f"{V2}_PREVIOUS_UNTIL"
PROTECTED, ALLOW = "ROBODJ_PROTECTED_ENV", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"
EPHEMERAL, REVOKED, DIRECTORY = "ROBODJ_SECRETS_EPHEMERAL", "ROBODJ_REVOKED_FINGERPRINTS", "ROBODJ_CONFIG_DIR"
DAY: Final = timedelta(days=1)
STRIPE: Final = "STRIPE_KEY"
DATABASE: Final = "DATABASE"
POLICIES: Final = {policy.variable: policy for policy in RuntimeSecrets.secret_policies.values()}
BY_NAME: Final = {policy.name: policy for policy in POLICIES.values()}
LIST: Final = "revoked.fingerprints"
FILE: Final = f"${DIRECTORY}/secret_v2.key"
TYPO: Final = "ROBODJ_SECRET_EPHEMERAL"
NOT_RANDOM: Final = "Zy" * 60
MOST_WHAT, MOST_FIX = 140, 180
STORED: Final = "json:-"
"""The source of what a secret manager has. The lines must be short enough for `NAMED` too."""
NAMED: Final = "vault:secret/robodj"
LONG_MODEL: Final = "apps.core.service_secrets:ServiceSecrets"


class Vendors(RuntimeSecrets):
    """A service with a secret that a vendor issues."""

    stripe: Annotated[
        SecretStr,
        SecretPolicy(
            name="stripe.key",
            variable=STRIPE,
            owner="Security Operations",
            cadence=90 * DAY,
            warn_before=7 * DAY,
            material=Material.opaque(prefix="sk_"),
            issuer="stripe.example/keys",
        ),
    ]


class Urls(RuntimeSecrets):
    """A service with a database."""

    database: Annotated[SecretStr, SecretPolicy(owner="Security Operations", material=Material.url("postgresql"))]


class Optional(RuntimeSecrets):
    """A service with a secret that switches something on."""

    token: Annotated[
        SecretStr | None,
        SecretPolicy(owner="Security Operations", material=Material.opaque(), required=False),
    ]


class WithList(RuntimeSecrets, require_revocation_list=True):
    """A service that requires a revocation list."""


@dataclass
class Service:
    """A service's set-up, its secret manager and its version control."""

    root: Path
    manager: dict[str, str] = field(default_factory=lambda: good_keys() | {E1: marker(40 * DAY), E2: marker(20 * DAY)})
    environ: dict[str, str] = field(default_factory=dict)
    model: type[RuntimeSecrets] = RuntimeSecrets
    now: datetime = NOW
    kept: list[str] = field(default_factory=list)
    """Keys that the operator has stored as old versions."""
    records: list[Record] = field(default_factory=list)
    """The operations log."""
    shell: dict[str, str] = field(default_factory=dict)
    """The variables of the operator's shell."""
    policy: SecretPolicy = POLICIES[V2]
    """The secret with the fault."""
    dates: dict[str, str] = field(default_factory=dict)
    """The right dates."""
    right: str = ""
    """The key that the service should sign with."""

    def __post_init__(self) -> None:
        self.config = self.root / "config"
        self.config.mkdir(mode=0o700)
        self.committed = f"# ours\nsgfp1:{'0' * 32}\n# theirs\n"
        put(self.config / LIST, self.committed, 0o644)
        self.environ |= self.manager | {DIRECTORY: str(self.config)}

    def report(self) -> Report:
        report = self.check()
        return with_findings(
            report, [*recorded_findings(report, self.records, [*self.model.secret_policies.values()], ())]
        )

    def check(self) -> Report:
        return check(self.model, environ=self.environ, now=self.now)

    def file(self, content: str | bytes | None = None, mode: int = 0o600, name: str = "secret_v2.key") -> Path:
        """Write a fallback file, by default with the manager's key, and leave its variable unset."""
        self.environ.pop(V2, None)
        return put(self.config / name, self.manager[V2] if content is None else content, mode)

    def old_key(self, **environ: str) -> None:
        """Leave another key in a fallback file, next to the key in use."""
        self.file(good_keys()[V2])
        self.environ |= {V2: self.manager[V2], **environ}

    def deploy(self) -> None:
        """Deliver what the secret manager has, as the next deployment does."""
        for name in self.policy.variables:
            self.kept.append(self.environ.pop(name, ""))
        self.environ |= self.manager

    def texts(self, *sources: Iterable[str]) -> set[str]:
        """Return the values of some sources and of each key file, without quotes, blanks and padding."""
        files = [each.read_bytes().decode("latin-1") for each in self.config.rglob("*") if each.is_file()]
        texts = [text for source in (*sources, "\n".join(files).split("\n")) for text in source]
        return {text.strip(" \n\"'=") for text in texts}

    @property
    def serves(self) -> str:
        """The key that signs: that of the variable, or of the file."""
        file = self.config / self.policy.name
        return self.environ.get(self.policy.variable) or file.read_bytes().splitlines()[-1].decode()


@dataclass
class Managed(Service):
    """A service whose secret manager delivers `environ`, exactly as it is stored there, by `--from json:-`."""

    outside: dict[str, str] = field(default_factory=dict)
    """The variables of the environment."""

    def check(self) -> Report:
        stored = {name: value for name, value in self.environ.items() if name != DIRECTORY}
        path = put(self.root / "stored.json", json.dumps(stored))
        with path.open() as stdin, patch("sys.stdin", stdin), process_environment(self.outside), clock(self.now):
            report = load_sources([STORED], self.model).check(self.model, config_dir=str(self.config))
        path.unlink()
        return report

    def deploy(self) -> None:
        """Do nothing: what is deployed is in the manager."""


def corrected(text: str, right: str, numbers: str, separator: str) -> str:
    """Return a text whose parts with these numbers, and no others, are those of another text."""
    parts, wanted = text.split(separator), re.findall(r"\d+", numbers)
    pairs = enumerate(zip(parts, right.split(separator), strict=False), 1)
    return separator.join(other if str(number) in wanted else part for number, (part, other) in pairs)


class Operator:
    """A person who does exactly what a fix says."""

    def __init__(self, service: Service, finding: Finding) -> None:
        self.service, self.environ, self.manager = service, service.environ, service.manager
        self.policy = next((each for each in POLICIES.values() if each.name == finding.secret), None)

    def do(self, fix: str) -> None:
        """Do every instruction of a fix, in order."""
        rest = re.sub(r" \([^()]*(?:\([^()]*\))?[^()]*\)", "", fix)  # explanations are in parentheses
        rest = re.sub(rf"in {STORED}, | from {STORED}", "", rest)  # where `environ` comes from
        rest = rest.replace(f"${{{DIRECTORY}:?}}", f"${DIRECTORY}")
        while rest:
            for pattern, action in INSTRUCTIONS.items():
                if found := re.match(rf"(?:{pattern})(?:, then |; then |; |, and | and |, |\Z)", rest):
                    action(self, *found.groups())
                    rest = rest[found.end() :]
                    break
            else:
                pytest.fail(f"unknown instruction: {rest}")

    def path(self, text: str) -> Path:
        return self.service.root / text.replace(f"${DIRECTORY}", self.environ.get(DIRECTORY, ""))

    def has_other(self, name: str) -> bool:
        """Check whether the manager has another value than the environment."""
        return self.manager.get(name) not in {None, self.environ.get(name)}

    def set_current(self, name: str) -> None:
        self.environ[name] = self.manager[name]

    def set_other(self, name: str, secret: str) -> None:
        """Set the manager's value if it has another one. Otherwise, rotate."""
        if self.has_other(name):
            self.set_current(name)
        else:
            self.rotate(secret)

    def set_or_generate(self, name: str, secret: str) -> None:
        """Set the manager's value. If it has none, or the same one, store a new key."""
        if not self.has_other(name):
            with process_environment(self.service.shell), contextlib.redirect_stdout(io.StringIO()) as printed:
                assert main(["generate", secret, "--show", *OF_ROBODJ]) == 0
            self.service.right = self.manager[name] = printed.getvalue().strip()
        self.set_current(name)

    def complete(self, name: str) -> None:
        """Put the password, which the operator knows, into the URL."""
        for each in (self.environ, self.manager):
            each[name] = self.service.right

    def await_key(self, secret: str) -> None:
        """Deliver the new key of a rotation that has begun. Otherwise, rotate."""
        self.deliver(fingerprint_of(self.service.right), secret)

    def deliver(self, fingerprint: str, secret: str) -> None:
        """Deliver a key with its dates, if the manager has it. Otherwise, rotate."""
        policy = BY_NAME[secret]
        if fingerprint_of(self.manager.get(policy.variable, "")) == fingerprint:
            self.environ |= {name: self.manager[name] for name in policy.variables if name in self.manager}
        else:
            self.rotate(secret)

    def exchange(self, one: str, other: str) -> None:
        """Exchange two values, and do so in the manager if it has the same."""
        before = self.environ[one]
        for each in (self.environ, self.manager):
            if each.get(one) == before:
                each[one], each[other] = each[other], each[one]

    def set_without(self, name: str, what: str) -> None:
        for each in (self.environ, self.manager):
            value = each.get(name, self.environ[name])
            each[name] = value.strip({"newline": "\n", "blank": " ", "quotes": '"', "= padding": "="}[what])

    def unset_outside(self, names: str | None, secret: str | None) -> None:
        """Unset variables of the environment, where a secret manager delivers `environ`."""
        assert isinstance(self.service, Managed)
        policies = {policy.name: policy for policy in self.service.model.secret_policies.values()}
        for name in [names] if names else policies[secret or ""].variables:
            self.service.outside.pop(name, None)

    def the_variable(self, name: str) -> str:
        """Return the variable. If the fix does not name it, search for the unknown name."""
        if name != "that variable":
            return name
        known = {*self.manager, PROTECTED, DIRECTORY}
        (unknown,) = (each for each in self.environ if each not in known)
        return unknown

    def unset(self, name: str) -> None:
        self.environ.pop(self.the_variable(name), None)

    def append(self, name: str, entries: str) -> None:
        self.environ[name] += f",{entries}"

    def unset_slot(self, *names: str | None) -> None:
        """Remove a slot in the secret manager too, and keep its key."""
        for name in filter(None, names):
            self.service.kept += [each.pop(name, "") for each in (self.manager, self.environ)]

    def set_slot(self, name: str, *names: str | None) -> None:
        if name in self.manager and self.manager[name] not in {self.manager[V2], self.environ.get(name)}:
            self.set_current(name)
        else:
            self.unset_slot(name, *names)

    def after_rotation(self, name: str, days: str) -> None:
        (policy,) = (each for each in POLICIES.values() if name in each.variables)
        rotated = datetime.fromisoformat(self.service.dates[policy.expiry_variable]) - policy.cadence
        self.manager[name] = self.environ[name] = marker(timedelta(days=int(days)), now=rotated)

    def set_marker(self, name: str) -> None:
        self.manager[name] = self.environ[name] = self.service.dates[name]

    def unset_alone(self, name: str, other: str) -> None:
        if other in self.manager:
            self.set_current(other)
        else:
            self.unset_slot(name)

    def rename(self, name: str, other: str) -> None:
        assert other not in self.environ
        self.environ[other] = self.environ.pop(self.the_variable(name))

    def remove_from(self, path: str) -> None:
        file = self.path(path)
        file.write_text(file.read_text().replace('"', ""))

    def store(self) -> None:
        """Store the value of the file: as the current one if the manager has none."""
        (path,) = self.service.config.glob("secret*key*")
        values = self.decoded(path).splitlines()
        self.manager.setdefault(V2, values[0])
        self.service.kept += values

    def store_old(self, name: str) -> None:
        """Store the value in use if the manager has none, and that of the file as an old version."""
        self.manager.setdefault(name, self.environ[name])
        self.store()

    def set_earlier(self, name: str) -> None:
        both = [self.environ[name], self.environ[f"{V2}_EXPIRES"]]
        self.environ[name] = min(both, key=datetime.fromisoformat)

    def rotate(self, name: str) -> None:
        """Name the store that the plan asks for, and replace the key as one step. Trials follow the whole plan."""
        plan = ["rotate", "plan", name, *OF_ROBODJ]
        directory = self.service.root / "manager"
        if not directory.exists():
            directory.mkdir(mode=0o700)
            (directory / "..data").symlink_to(".")  # a set of its own, so nobody waits for further files
        for variable, text in self.service.manager.items():
            put(directory / variable, text)
        with process_environment(self.service.shell):
            assert main(plan) == EXIT_USAGE
            assert main([*plan, "--from", f"directory:{directory}", "--environment", "prod"]) == 0
        self.replace(BY_NAME[name], generate(BY_NAME[name]).get_secret_value())

    def replace(self, policy: SecretPolicy, key: str) -> None:
        """Deliver a new key with its date, in the manager as well, and keep the old one."""
        self.service.kept += [each.get(policy.variable, "") for each in (self.manager, self.environ)]
        self.service.right = key
        for each in (self.manager, self.environ):
            each |= {policy.variable: key, policy.expiry_variable: marker(policy.cadence)}

    def separate(self, secret: str) -> None:
        """Set each secret from the manager. If these are equal too, replace one of them."""
        self.environ |= self.manager
        if self.manager[V1] == self.manager[V2]:
            self.rotate(secret)

    def shell(self, command: str) -> None:
        """Run a command, unless an earlier instruction has deleted its file."""
        if self.path(command.rsplit(maxsplit=1)[-1].strip('"')).exists():
            environ = self.environ | os.environ
            subprocess.run(["sh", "-c", command], env=environ, cwd=self.service.root, check=True)  # noqa: S607

    def namei(self, path: str) -> None:
        command = ["namei", "-l", str(self.path(path))]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        open_to_all = re.findall(r"^d......rwx .* (\S+)$", shown.stdout, re.MULTILINE)
        self.open_to_all = [each for each in self.path(path).parents if each.name in open_to_all]

    def close_directories(self) -> None:
        for each in self.open_to_all:
            self.shell(f"chmod o-w {shlex.quote(str(each))}")

    def decoded(self, path: Path) -> str:
        content = path.read_bytes()
        return content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "latin-1")

    def compare(self, with_what: str) -> None:
        for name in ("secret.key", "secret_v2.key"):
            if (file := self.service.config / name).is_file():
                assert file.read_text().strip() in self.manager.values()
        assert with_what == "the secret manager" or (self.service.config / LIST).read_text() == self.service.committed

    def restore(self, path: str) -> None:
        self.path(path).unlink(missing_ok=True)
        put(self.path(path), self.service.committed, 0o644)

    def restore_lines(self, lines: str, _what: str) -> None:
        file = self.service.config / LIST
        file.write_text(corrected(file.read_text(), self.service.committed, lines, "\n"))

    def restore_entries(self, entries: str, _what: str) -> None:
        self.environ[REVOKED] = corrected(self.environ[REVOKED], self.manager[REVOKED], entries, ",")

    def restore_directory(self, *_: str) -> None:
        self.service.config.unlink(missing_ok=True)
        self.service.config.mkdir(mode=0o700)
        put(self.service.config / LIST, self.service.committed, 0o644)

    def correct_directory(self) -> None:
        if self.service.config.exists():
            self.environ[DIRECTORY] = str(self.service.config)
        else:
            self.restore_directory()

    def add_lines(self, path: str) -> None:
        other = self.path(f"{path}.txt")
        self.path(path).write_text(self.path(path).read_text() + other.read_text())

    def add_line(self, entry: str) -> None:
        file = self.service.config / LIST
        file.write_text(f"{file.read_text()}{entry}\n")

    def issue(self) -> None:
        """Issue a new value."""
        self.replace(self.service.policy, self.service.policy.material.temporary())

    def set_or_issue(self, name: str) -> None:
        if not self.has_other(name):
            self.issue()
        self.set_current(name)

    def set_clock(self) -> None:
        self.service.now = NOW

    def nothing(self, *_: str) -> None:
        """Do nothing: the text is a fact, or was done before."""


INSTRUCTIONS: Final[dict[str, Callable[..., None]]] = {
    r"run \S+ revoke --model \S+ --fingerprint (\S+) --reason '[^']+' --yes": lambda operator, entry: operator.add_line(
        entry
    ),
    r"add the line (\S+) to the revocation list, and deploy it": lambda operator, entry: operator.add_line(entry),
    r"set (STRIPE_KEY) from .*; if .*, issue a new one at \S+ and store it there": (Operator.set_or_issue),
    r"issue a new one at \S+, store it in the secret manager": Operator.issue,
    r"set STRIPE_KEY to it": Operator.nothing,
    r"STRIPE_KEY_EXPIRES_AT to its expiry time": Operator.nothing,
    r"make sure that \S+ has the right values, then unset (?:(\w+)|every variable of (\S+)) in the environment": (
        Operator.unset_outside
    ),
    r"set (\w+) from the secret manager; if it has no other value, run \S+ rotate plan (\S+) --model \S+": (
        Operator.set_other
    ),
    r"set (\w+) from the secret manager; if it has none, add one: \S+ generate (\S+) --model \S+ --show": (
        Operator.set_or_generate
    ),
    r"wait for the new key; if no rotation has begun, run \S+ rotate plan (\S+) --model \S+": Operator.await_key,
    r"put the password in place of the template in (\w+), in the manager too": Operator.complete,
    r"set TOKEN from the secret manager; if it has none, unset (TOKEN) and (TOKEN_EXPIRES_AT)": Operator.unset_slot,
    r"deliver the key (\S+); if it is lost, run \S+ rotate plan (\S+) --model \S+": Operator.deliver,
    r"set each from the manager's last version in which they differ; if none, run \S+ rotate plan (\S+) --model \S+": (
        Operator.separate
    ),
    r"exchange the values of (\w+) and (\w+)(?:; if they are swapped in the secret manager, there too)?": (
        Operator.exchange
    ),
    r"set (\w+) to the right (?:next|previous) key; if there is none, delete it( and its deadline)?": (
        lambda operator, name, deadline: operator.set_slot(name, UNTIL if deadline else None)
    ),
    r"set (\w+) from the secret manager": Operator.set_current,
    r"if the URL is right, declare it with Material\.url\(\)": Operator.nothing,
    r"otherwise put the right or a new key into (\w+)(?:, in the manager too)?": (
        lambda operator, name: operator.set_or_generate(name, "secret_v2.key")
    ),
    r"set (\w+) without the (newline|blank|quotes|= padding)(?:, in the manager too)?": (Operator.set_without),
    r"save (\S+) without the quotes": Operator.remove_from,
    r"keep it until its deadline if it signed until now": Operator.nothing,
    r"otherwise (?:in \S+ )?set (\w+) to the (?:secret manager's|right) previous key": Operator.set_slot,
    r"unset \w+_FILE, and set (\w+) to the content of the file that it named": (
        lambda operator, name: operator.environ.update(
            {name: operator.path(operator.environ.pop(f"{name}_FILE")).read_text().strip()}
        )
    ),
    r"set (\w+) to the time of the last rotation plus (\d+) days, as \S+Z(?:, in the manager too)?": (
        Operator.after_rotation
    ),
    r"set (\w+) to the current value there": Operator.set_current,
    r"set (\w+) to the secret manager's (?:next|previous) key; if it has no other, unset it( and .*)?, there too": (
        lambda operator, name, deadline: operator.set_slot(name, UNTIL if deadline else None)
    ),
    r"set (\w+_UNTIL) to the rotation plus \d+ days, as \S+Z": Operator.set_marker,
    r"set (\w+) to the time of the rotation plus (\d+) days, as \S+Z(?:, in the manager too)?": (
        Operator.after_rotation
    ),
    r"write the (?:deadline|expiry time) into (\w+) as YYYY-MM-DDTHH:MM:SSZ(?:, in the manager too)?": (
        Operator.set_marker
    ),
    r"(?:unset|delete) (\w+_UNTIL); only if the previous key must still verify, set that key too": (
        lambda operator, name: operator.unset_alone(name, PREVIOUS)
    ),
    r"first re-encrypt data that needs this key": Operator.nothing,
    r"(?:delete|unset) (ROBODJ_\w+)( and its deadline)?(?:, in the manager too)?": (
        lambda operator, name, deadline: operator.unset_slot(name, UNTIL if deadline else None)
    ),
    r"set (\w+) to the earlier of both": Operator.set_earlier,
    r"set (\w+)=([\w:-]+)": lambda operator, name, value: operator.environ.update({name: value}),
    r"(?:to serve, )?leave out exec --ephemeral": Operator.nothing,
    r"set the keys from the secret manager": lambda operator: operator.environ.update(operator.manager),
    r"set the clock of this machine": Operator.set_clock,
    r"add its fingerprints to (\w+)": lambda operator, name: operator.append(name, operator.environ[f"{name}X"]),
    r"add the fingerprints in the file of (\w+) to (\w+)": (
        lambda operator, other, name: operator.append(name, operator.path(operator.environ[other]).read_text())
    ),
    r"set (\w+) to (?:the \w+'s name, of .*|stderr, stdout or .*|a number of seconds .*), or unset it": Operator.unset,
    r"unset (\w+|that variable)": Operator.unset,
    r"(\w+) is set": Operator.nothing,
    r"rename (\w+|that variable) to (\w+)": Operator.rename,
    r"compare (?:its value|it) with (the secret manager|version control)": Operator.compare,
    r"make sure the secret manager has (ROBODJ_\w+), and this value as an old version": Operator.store_old,
    r"(?:store its value in the secret manager|make sure the secret manager has its value)": Operator.store,
    r"delete (\S+)": lambda operator, path: operator.path(path).unlink(missing_ok=True),
    r"run robodj-secretguard rotate plan (\S+) --model \S+(?: and follow its steps)?": Operator.rotate,
    r"run namei -l \"?([^\s\"]+)\"?": Operator.namei,
    r"chmod o-w where the mode ends in rwx": Operator.close_directories,
    r"if you keep the file": Operator.nothing,
    r"run (chmod [^,;]+)": Operator.shell,
    r"make the service's user its owner": Operator.nothing,
    r"save (\S+) as UTF-8, with mode 600, without changing its value": (
        lambda operator, path: operator.path(path).write_text(operator.decoded(operator.path(path)), encoding="utf-8")
    ),
    r"leave only the value in (\S+)": lambda operator, path: operator.path(path).write_text(operator.manager[V2]),
    r"correct (lines? [\d, ]+) by version control or the log; keep the (\w+), .* as @YYYY\S+": (Operator.restore_lines),
    r"correct (entries [\d, ]+) by an earlier version or the log(?:, in the manager too)?; keep the (\w+), .* @Y\S+": (
        Operator.restore_entries
    ),
    r"correct the path in \w+; if it is right, restore the directory from .*": Operator.correct_directory,
    r"restore that directory from version control": Operator.restore_directory,
    r"restore the directory config from version control": Operator.restore_directory,
    r"restore (\S+) from version control": Operator.restore,
    r"add its lines to (\S+)": Operator.add_lines,
    r"first do what the (?:\S+ (?:alert|warning)|alert about its value) says": Operator.nothing,
    r"start again": Operator.nothing,
}


PLAN: Final = f"run robodj-secretguard rotate plan secret_v2.key --model {LIBRARY_MODEL}"
FOLLOW: Final = f"{PLAN} and follow its steps"
AWAIT: Final = f"wait for the new key; if no rotation has begun, {PLAN}"
SET: Final = f"set {V2} from the secret manager"
SET_OR: Final = (
    f"{SET}; if it has none, add one: robodj-secretguard generate secret_v2.key --model {LIBRARY_MODEL} --show"
)
SET_OTHER: Final = f"{SET}; if it has no other value, {PLAN}"
DELIVER: Final = f"deliver the key FINGERPRINT; if it is lost, {PLAN}"
FIX_FILE: Final = FILE.replace(f"${DIRECTORY}", f"${{{DIRECTORY}:?}}")
TOO: Final = ", in the manager too"
COMPARE: Final = f"set each from the manager's last version in which they differ; if none, {PLAN}"
STORE: Final = "store its value in the secret manager (as an old version if it has another), then delete"
STORE_OLD: Final = f"make sure the secret manager has {V2}, and this value as an old version; then delete"
MOVE: Final = f"make sure the secret manager has its value; set {V2} to the current value there; delete {FIX_FILE}"
K2: Final = "ALERT: secret_v2.key: "
W2: Final = "WARNING: secret_v2.key: "
CLOSE: Final = "chmod o-w where the mode ends in rwx"
KEEP_IT: Final = "keep the fingerprint, and an instant as @YYYY-MM-DDTHH:MM:SSZ"
SPARE: Final = f"sgfp1:{'a' * 32}"


def sets(**variables: str | None) -> Callable[[Service], Any]:
    """Return a fault that sets or unsets variables."""

    def change(service: Service) -> None:
        service.environ |= {name: value for name, value in variables.items() if value is not None}
        for name in [name for name, value in variables.items() if value is None]:
            del service.environ[name]

    return change


def given(change: Callable[[str], str]) -> Callable[[Service], Any]:
    """Return a fault that changes the value of the second key."""
    return lambda service: service.environ.__setitem__(V2, change(service.manager[V2]))


def both(*changes: Callable[[Service], Any]) -> Callable[[Service], Any]:
    """Return a fault that makes several changes."""
    return lambda service: [change(service) for change in changes]


def revoked(service: Service) -> None:
    """Revoke the key in use. The secret manager has its replacement."""
    service.environ[V2] = good_keys()[V2]
    service.environ[REVOKED] = fingerprint_of(service.environ[V2])


def listing(service: Service, content: str | bytes, mode: int = 0o644) -> Path:
    """Write the revocation list."""
    return put(service.config / LIST, content, mode)


def entries(service: Service) -> None:
    """Make two entries of the variable invalid."""
    service.manager[REVOKED] = f"{SPARE},{SPARE},{SPARE}"
    service.environ[REVOKED] = f"{SPARE},sgfp1:0,wrong"


def without_list(service: Service) -> None:
    """Delete the list of a model that requires one."""
    (service.config / LIST).unlink()
    service.model = WithList


def dangling_list(service: Service) -> None:
    """Replace the list with a broken link."""
    (service.config / LIST).unlink()
    (service.config / LIST).symlink_to(service.root / "nowhere")


def open_above(service: Service) -> None:
    """Let others write a directory above the config directory."""
    service.file()
    service.root.chmod(0o777)


# By name: the function that makes a fault, and the two lines of the finding.
VARIABLES: Final[dict[str, tuple[Callable[[Service], Any], str, str]]] = {
    "unset": (sets(**{V2: None}), f"{K2}missing: {V2} is not set, and there is no {FILE}", SET_OR),
    "empty": (sets(**{V2: ""}), f"{K2}missing: {V2} is empty, and there is no {FILE}", SET_OR),
    "unset, protected": (
        sets(**{V2: None, PROTECTED: "1"}),
        f"{K2}missing: {V2} is not set (protected environment: fallback files are not read)",
        SET_OR,
    ),
    "unset, files are off": (
        sets(**{V2: None, ALLOW: "no"}),
        f"{K2}missing: {V2} is not set (fallback files are not read)",
        SET_OR,
    ),
    "a template": (sets(**{V2: "<replace-me>"}), f"{K2}placeholder: {V2} is a placeholder, not a key", SET_OTHER),
    "the letter A, 44 times": (
        sets(**{V2: "A" * 44}),
        f"{K2}placeholder: {V2} is a placeholder, not a key",
        SET_OTHER,
    ),
    "encoded text": (
        given(lambda _: b"the password of the old server!".hex()),
        f"{K2}placeholder: {V2} is readable text in base64 or hexadecimal, not a random key",
        SET_OTHER,
    ),
    "newline": (
        given("{}\n".format),
        f"{K2}format: {V2} has a newline at the end",
        f"set {V2} without the newline (printf %s writes none; echo does){TOO}",
    ),
    "blank": (
        given(" {}".format),
        f"{K2}format: {V2} has a blank at the beginning or end",
        f"set {V2} without the blank{TOO}",
    ),
    "quotes": (
        given('"{}"'.format),
        f"{K2}format: {V2} has quotes around it",
        f"set {V2} without the quotes (docker --env-file keeps them){TOO}",
    ),
    "padding": (
        given("{}==".format),
        f"{K2}format: {V2} has = padding at the end",
        f"set {V2} without the = padding (not if it already signs: see docs/adopting.md){TOO}",
    ),
    "url": (
        given("https://user:{}@example.com".format),
        f"{K2}format: {V2} is a URL, not a generated key",
        f"if the URL is right, declare it with Material.url(); otherwise put the right or a new key into {V2}{TOO}",
    ),
    "truncated": (
        given(lambda key: key[:100]),
        f"{K2}format: {V2} has 100 hexadecimal digits, not exactly 128",
        SET_OTHER,
    ),
    "very short": (
        given(lambda key: key[:15]),
        f"{K2}format: {V2} has fewer than 16 characters",
        SET_OTHER,
    ),
    "several defects": (
        given(lambda key: f"'{key[:60]}+ \n"),
        f"{K2}format: {V2} has a newline at the end, a blank at the beginning or end, and 3 more",
        SET_OTHER,
    ),
    "swapped": (
        lambda service: service.environ.update({V1: service.manager[V2], V2: service.manager[V1]}),
        f"{K2}format: {V2} looks like secret.key, and {V1} like secret_v2.key",
        f"exchange the values of {V2} and {V1}; if they are swapped in the secret manager, there too",
    ),
    "not random": (
        sets(**{V2: NOT_RANDOM}),
        f"{K2}weak: {V2} is clearly not random: it has fewer than 16 distinct characters",
        SET_OTHER,
    ),
    "not random in the secret manager either": (
        lambda service: [each.update({V2: NOT_RANDOM}) for each in (service.manager, service.environ)],
        f"{K2}weak: {V2} is clearly not random: it has fewer than 16 distinct characters",
        SET_OTHER,
    ),
    "shared": (
        lambda service: service.environ.update({V1: service.manager[V2]}),
        f"{K2}shared: {V2} and {V1} are equal, or one contains the other",
        COMPARE,
    ),
    "shared in the secret manager too": (
        lambda service: (service.manager.update({V1: service.manager[V2]}), service.environ.update(service.manager)),
        f"{K2}shared: {V2} and {V1} are equal, or one contains the other",
        COMPARE,
    ),
    "expired": (
        sets(**{V2: good_keys()[V2], E2: marker(-DAY)}),
        f"{K2}expired: {V2} expired at 2026-11-30T12:00:00Z ({E2})",
        FOLLOW,
    ),
    "expires soon": (
        lambda service: [each.update({E2: marker(5 * DAY)}) for each in (service.manager, service.environ)],
        f"{W2}expiring: {V2} expires at 2026-12-06T12:00:00Z, within 5 days ({E2})",
        FOLLOW,
    ),
    "expires too late": (
        sets(**{E2: marker(300 * DAY)}),
        f"{W2}cadence: {E2} is 2027-09-27T12:00:00Z, more than 30 days ahead",
        f"set {E2} to the time of the last rotation plus 30 days, as YYYY-MM-DDTHH:MM:SSZ{TOO}",
    ),
    "marker without a timezone": (
        sets(**{E2: "2026-12-21T12:00:00"}),
        f"{K2}expiry-marker: {E2} has no timezone",
        f"write the expiry time (the last rotation plus 30 days) into {E2} as YYYY-MM-DDTHH:MM:SSZ{TOO}",
    ),
    "marker without a time": (
        sets(**{E2: "2026-12-21"}),
        f"{K2}expiry-marker: {E2} has no time and no timezone",
        f"write the expiry time (the last rotation plus 30 days) into {E2} as YYYY-MM-DDTHH:MM:SSZ{TOO}",
    ),
    "marker in seconds": (
        sets(**{E2: "1797854400"}),
        f"{K2}expiry-marker: {E2} is not a valid instant",
        f"write the expiry time (the last rotation plus 30 days) into {E2} as YYYY-MM-DDTHH:MM:SSZ{TOO}",
    ),
    "clock": (
        lambda service: setattr(service, "now", datetime.fromisoformat("2026-10-01T00:00:00Z")),
        f"ALERT: secret.key: clock: the clock says 2026-10-01T00:00:00Z, before this release: {E1} cannot be checked",
        "set the clock of this machine, then start again",
    ),
    "revoked": (
        revoked,
        f"{K2}revoked: the key is revoked: FINGERPRINT is on the revocation list",
        AWAIT,
    ),
    "entries of the variable": (
        entries,
        f"ALERT: revocation-list: entries 2, 3 of {REVOKED} are not fingerprints",
        f"correct entries 2, 3 by an earlier version or the log, in the manager too; {KEEP_IT}",
    ),
    "two names for the list": (
        lambda service: service.environ.update({REVOKED: SPARE, f"{REVOKED}X": f"sgfp1:{'b' * 32}"}),
        f"ALERT: near-miss: {REVOKED}X is not read; did you mean {REVOKED}?",
        f"add its fingerprints to {REVOKED}, then unset {REVOKED}X",
    ),
    "switch of protection": (
        sets(**{PROTECTED: "ture"}),
        f"ALERT: setting: {PROTECTED} has an invalid value, so fallback files are off until it is corrected",
        f"set {PROTECTED}=true (only a developer's machine may set it to false)",
    ),
    "switch of files": (
        sets(**{ALLOW: "ja"}),
        f"ALERT: setting: {ALLOW} has an invalid value, so fallback files are off until it is corrected",
        f"set {ALLOW}=false (true is for break-glass on a developer's machine only)",
    ),
    **{
        f"invalid {name}": (
            sets(**{name: "?"}),
            f"WARNING: setting: {name} has an invalid value, and is ignored",
            f"set {name} to {what}, or unset it",
        )
        for name, what in {
            SERVICE: "the service's name, of letters, digits and ._:@/-",
            INSTANCE: "the instance's name, of letters, digits and ._:@/-",
            SECRET_EVENTS: "stderr, stdout or the absolute path of a file",
            SECRET_HEARTBEAT: "a number of seconds from 1 to 86400",
        }.items()
    },
    "typo of a switch": (
        sets(ROBODJ_PROTECTED_ENVIRONMENT="true"),
        f"ALERT: near-miss: ROBODJ_PROTECTED_ENVIRONMENT is not read; did you mean {PROTECTED}?",
        f"unset ROBODJ_PROTECTED_ENVIRONMENT and set {PROTECTED}=true",
    ),
    "typo of the other switch": (
        sets(ROBODJ_ALLOW_FILES="false"),
        f"ALERT: near-miss: ROBODJ_ALLOW_FILES is not read; did you mean {ALLOW}?",
        f"unset ROBODJ_ALLOW_FILES and set {ALLOW}=false",
    ),
    "typo of a switch that is set": (
        sets(**{"ROBODJ_PROTECTED_ENVS": "true", PROTECTED: "true"}),
        f"ALERT: near-miss: ROBODJ_PROTECTED_ENVS is not read; did you mean {PROTECTED}?",
        f"unset ROBODJ_PROTECTED_ENVS and set {PROTECTED}=true",
    ),
    "typo of a switch that may hold a key": (
        sets(ROBODJ_PROTECTED_QZX="true"),
        f"ALERT: near-miss: a variable that looks like {PROTECTED} is not read",
        f'unset that variable and set {PROTECTED}=true (list names: python -c "import os; print(*os.environ)")',
    ),
    "typo of a marker": (
        lambda service: service.environ.update({f"{V2}_EXPIRY": service.environ.pop(E2)}),
        f"{K2}near-miss: {V2}_EXPIRY is not read; did you mean {E2}?",
        f"rename {V2}_EXPIRY to {E2}",
    ),
    "typo of a marker that may hold a key": (
        lambda service: service.environ.update({f"{V2}_EXPQZX": service.environ.pop(E2)}),
        f"{K2}near-miss: a variable that looks like {E2} is not read",
        f'rename that variable to {E2} (list names: python -c "import os; print(*os.environ)")',
    ),
    "typo of a marker that is set": (
        sets(**{f"{V2}_EXPIRES": marker(DAY)}),
        f"{K2}near-miss: {V2}_EXPIRES is not read; did you mean {E2}?",
        f"set {E2} to the earlier of both, then unset {V2}_EXPIRES",
    ),
    "typo of a key that is set": (
        sets(**{f"{V2}S": "x"}),
        f"{W2}near-miss: {V2}S is not read; did you mean {V2}?",
        f"unset {V2}S; {V2} is set",
    ),
    "typo of a key": (
        lambda service: service.environ.update({f"{V2}S": service.environ.pop(V2)}),
        f"{K2}missing: {V2} is not set, and there is no {FILE}",
        "first do what the near-miss warning says, then start again",
    ),
    "file of a variable that is set": (
        sets(**{f"{V2}_FILE": "/run/secrets/key"}),
        f"{W2}near-miss: {V2}_FILE is not read; did you mean {V2}?",
        f"unset {V2}_FILE; {V2} is set",
    ),
    "typo of the temporary keys": (
        sets(**{TYPO: "1"}),
        f"ALERT: near-miss: {TYPO} is not read; did you mean {EPHEMERAL}?",
        f"unset {TYPO} (exec --ephemeral makes temporary keys)",
    ),
    "temporary keys": (
        both(sets(**{EPHEMERAL: "1"}), lambda service: service.environ.update(good_keys())),
        f"WARNING: ephemeral: the keys are temporary ({EPHEMERAL} is set)",
        f"to serve, leave out exec --ephemeral, unset {EPHEMERAL}, and set the keys from the secret manager",
    ),
    "temporary keys, protected": (
        both(sets(**{EPHEMERAL: "1", PROTECTED: "1"}), lambda service: service.environ.update(good_keys())),
        f"ALERT: ephemeral: the keys are temporary ({EPHEMERAL} is set), but the environment is protected",
        f"leave out exec --ephemeral, unset {EPHEMERAL}, and set the keys from the secret manager",
    ),
}


def rotated(**faults: str | None) -> Callable[[Service], Any]:
    """Return a fault in the middle of a rotation: the secret manager has a next and a previous key."""

    def change(service: Service) -> None:
        service.manager |= {NEXT: good_keys()[V2], PREVIOUS: good_keys()[V2], UNTIL: marker(3 * DAY)}
        service.environ |= service.manager
        sets(**faults)(service)

    return change


def everywhere(**values: str | None) -> Callable[[Service], Any]:
    """Return a fault that the secret manager has too."""

    def change(service: Service) -> None:
        rotated()(service)
        for name, value in values.items():
            service.manager[name] = service.manager.get(value or "", value or "")
            if not value:
                del service.manager[name]
        service.environ |= service.manager
        sets(**{name: None for name in values if name not in service.manager})(service)

    return change


def revoked_slot(name: str) -> Callable[[Service], Any]:
    """Return a fault in which the key of a slot is revoked, from one second ago."""

    def change(service: Service) -> None:
        rotated()(service)
        service.environ[REVOKED] = f"{fingerprint_of(service.environ[name])}@{marker(timedelta(seconds=-1))}"

    return change


KEEP: Final = "keep it until its deadline if it signed until now; otherwise "
NEW: Final = f"set {NEXT} to the secret manager's next key; if it has no other, unset it, there too"
OLD: Final = (
    f"set {PREVIOUS} to the secret manager's previous key; if it has no other, unset it and its deadline, there too"
)
AFTER: Final = f"set {UNTIL} to the time of the rotation plus 7 days, as YYYY-MM-DDTHH:MM:SSZ"
SLOTS: Final[dict[str, tuple[Callable[[Service], Any], str, str]]] = {
    "next is a template": (
        rotated(**{NEXT: "<replace-me>"}),
        f"{K2}placeholder: {NEXT} is a placeholder, not a key",
        NEW,
    ),
    "previous is a template, also in the secret manager": (
        rotated(**{PREVIOUS: "<replace-me>"}),
        f"{K2}placeholder: {PREVIOUS} is a placeholder",
        OLD,
    ),
    "next with a newline": (
        lambda service: (rotated()(service), service.environ.update({NEXT: f"{service.manager[NEXT]}\n"})),
        f"{K2}format: {NEXT} has a newline at the end",
        f"set {NEXT} without the newline (printf %s writes none; echo does){TOO}",
    ),
    "previous truncated": (
        lambda service: (rotated()(service), service.environ.update({PREVIOUS: service.manager[PREVIOUS][:100]})),
        f"{W2}legacy: {PREVIOUS} is not a key that this policy accepts, so it has no fingerprint",
        f"{KEEP}set {PREVIOUS} to the secret manager's previous key",
    ),
    "next is revoked": (
        revoked_slot(NEXT),
        f"{W2}revoked: {NEXT} is revoked: FINGERPRINT is on the revocation list",
        f"unset {NEXT}, in the manager too",
    ),
    "previous is revoked": (
        revoked_slot(PREVIOUS),
        f"{W2}revoked: {PREVIOUS} is revoked: FINGERPRINT is on the revocation list",
        f"unset {PREVIOUS} and its deadline, in the manager too",
    ),
    "previous without a deadline": (
        everywhere(**{UNTIL: None, E2: marker(25 * DAY)}),
        f"{K2}previous-until: {UNTIL} is not set, so {PREVIOUS} has no deadline",
        f"{AFTER}{TOO}",
    ),
    "deadline without a timezone": (
        rotated(**{UNTIL: "2026-12-04T12:00:00"}),
        f"{K2}previous-until: {UNTIL} has no timezone",
        f"write the deadline (the rotation plus 7 days) into {UNTIL} as YYYY-MM-DDTHH:MM:SSZ{TOO}",
    ),
    "deadline in seconds": (
        rotated(**{UNTIL: "1796385600"}),
        f"{K2}previous-until: {UNTIL} is not a valid instant",
        f"write the deadline (the rotation plus 7 days) into {UNTIL} as YYYY-MM-DDTHH:MM:SSZ{TOO}",
    ),
    "deadline too far ahead": (
        everywhere(**{UNTIL: marker(20 * DAY), E2: marker(25 * DAY)}),
        f"{K2}previous-until: {UNTIL} is 2026-12-21T12:00:00Z, more than 7 days ahead",
        f"{AFTER}{TOO}",
    ),
    "deadline under another name": (
        lambda service: (
            rotated()(service),
            service.environ.update({f"{PREVIOUS}_EXPIRES_AT": service.environ.pop(UNTIL)}),
        ),
        f"{K2}near-miss: {PREVIOUS}_EXPIRES_AT is not read; did you mean {UNTIL}?",
        f"rename {PREVIOUS}_EXPIRES_AT to {UNTIL}",
    ),
    "no deadline, and a misspelled one": (
        lambda service: (rotated()(service), service.environ.update({f"{UNTIL}S": service.environ.pop(UNTIL)})),
        f"{K2}previous-until: {UNTIL} is not set",
        "first do what the near-miss alert says, then start again",
    ),
    "deadline alone": (
        everywhere(**{PREVIOUS: None}),
        f"{W2}previous-until: {UNTIL} is set, but {PREVIOUS} is not",
        f"unset {UNTIL}; only if the previous key must still verify, set that key too",
    ),
    "previous was not delivered": (
        rotated(**{PREVIOUS: None}),
        f"{W2}previous-until: {UNTIL} is set, but {PREVIOUS} is not",
        f"unset {UNTIL}; only if the previous key must still verify, set that key too",
    ),
    "deadline passed": (
        everywhere(**{UNTIL: marker(timedelta(0))}),
        f"{W2}previous-past: {PREVIOUS} has not been accepted since 2026-12-01T12:00:00Z",
        f"first re-encrypt data that needs this key, then unset {PREVIOUS} and its deadline, in the manager too",
    ),
    "next is current": (
        everywhere(**{NEXT: V2}),
        f"{W2}slots-equal: {NEXT} and {V2} have the same value",
        f"unset {NEXT}, in the manager too ({V2} has the key already)",
    ),
    "previous is current": (
        everywhere(**{PREVIOUS: V2}),
        f"{W2}slots-equal: {PREVIOUS} and {V2} have the same value",
        OLD,
    ),
    "next is another secret": (
        both(
            everywhere(**{f"{V1}_NEXT": good_keys()[V1]}), lambda each: sets(**{f"{V1}_NEXT": each.manager[NEXT]})(each)
        ),
        f"{K2}shared: {NEXT} and {V1}_NEXT are equal, or one contains the other",
        NEW,
    ),
    "next looks like another secret": (
        both(
            everywhere(**{f"{V1}_NEXT": good_keys()[V1]}),
            lambda each: sets(**{NEXT: each.manager[f"{V1}_NEXT"], f"{V1}_NEXT": each.manager[NEXT]})(each),
        ),
        f"{K2}format: {NEXT} looks like secret.key, and {V1}_NEXT like secret_v2.key",
        f"exchange the values of {NEXT} and {V1}_NEXT; if they are swapped in the secret manager, there too",
    ),
    "typo of next": (
        lambda service: (rotated()(service), service.environ.update({f"{V2}_NEXTT": service.environ.pop(NEXT)})),
        f"{W2}near-miss: {V2}_NEXTT is not read; did you mean {NEXT}?",
        f"rename {V2}_NEXTT to {NEXT}",
    ),
    "words of previous in another order": (
        lambda service: (
            rotated()(service),
            service.environ.update({"ROBODJ_PREVIOUS_SECRET_V2_KEY": service.environ.pop(PREVIOUS)}),
        ),
        f"{W2}near-miss: ROBODJ_PREVIOUS_SECRET_V2_KEY is not read; did you mean {PREVIOUS}?",
        f"rename ROBODJ_PREVIOUS_SECRET_V2_KEY to {PREVIOUS}",
    ),
    "words of previous in another order, and no deadline": (
        lambda service: (
            rotated(**{UNTIL: None})(service),
            service.environ.update({"ROBODJ_PREVIOUS_SECRET_V2_KEY": service.environ.pop(PREVIOUS)}),
        ),
        f"{W2}near-miss: ROBODJ_PREVIOUS_SECRET_V2_KEY is not read; did you mean {PREVIOUS}?",
        (
            f"rename ROBODJ_PREVIOUS_SECRET_V2_KEY to {PREVIOUS}, and set {UNTIL} to the rotation plus 7 days, as"
            " YYYY-MM-DDTHH:MM:SSZ"
        ),
    ),
    "another name of previous": (
        lambda service: (rotated()(service), service.environ.update({f"{V2}_OLD": service.environ.pop(PREVIOUS)})),
        f"{W2}near-miss: {V2}_OLD is not read; did you mean {PREVIOUS}?",
        f"rename {V2}_OLD to {PREVIOUS}",
    ),
    "previous is not set, and a misspelled one": (
        lambda service: (rotated()(service), service.environ.update({f"{PREVIOUS}S": service.environ.pop(PREVIOUS)})),
        f"{W2}previous-until: {UNTIL} is set, but {PREVIOUS} is not",
        "first do what the near-miss warning says, then start again",
    ),
}


def listed_in_file(service: Service) -> None:
    """Set a variable that should name a file of fingerprints, in addition to the right one."""
    put(service.config / "more", f"sgfp1:{'b' * 32}")
    service.environ.update({REVOKED: SPARE, f"{REVOKED}_FILE": str(service.config / "more")})


def no_default_directory(service: Service) -> None:
    """Put a plain file at the default config directory."""
    shutil.rmtree(service.config)
    put(service.config)
    del service.environ[DIRECTORY]


def no_directory_of_the_model(service: Service) -> None:
    """Let the model name a directory that does not exist."""
    shutil.rmtree(service.config)
    service.environ.pop(DIRECTORY)

    class Declared(RuntimeSecrets, config_dir=service.config):
        pass

    service.model = Declared


FILES: Final[dict[str, tuple[Callable[[Service], Any], str, str]]] = {
    "a broken link": (
        both(sets(**{V2: None}), lambda service: (service.config / "secret_v2.key").symlink_to("nowhere")),
        f"{K2}missing: {V2} is not set, and {FILE} is a broken link",
        SET_OR,
    ),
    "comments alone": (
        lambda service: service.file("# the key\n"),
        f"{K2}missing: {V2} is not set, and {FILE} has no value",
        SET_OR,
    ),
    "a copied template": (
        lambda service: service.file("# the key\n<replace-me>\n"),
        f"{K2}placeholder: {FILE} is a placeholder, not a key",
        SET_OTHER,
    ),
    "quotes in a file": (
        lambda service: service.file(f'"{service.manager[V2]}"\n'),
        f"{K2}format: {FILE} has quotes around it",
        f"save {FIX_FILE} without the quotes (docker --env-file keeps them)",
    ),
    "two lines": (
        lambda service: service.file("one\ntwo\n"),
        f"{K2}format: {FILE} has 2 lines, not 1 (without blank lines and comments)",
        SET_OTHER,
    ),
    "UTF-16": (
        lambda service: service.file(service.manager[V2].encode("utf-16")),
        f"{K2}file-unsafe: {FILE} is not UTF-8",
        f"save {FIX_FILE} as UTF-8, with mode 600, without changing its value",
    ),
    "too large": (
        lambda service: service.file(service.manager[V2] + "\n" * 5000),
        f"{K2}file-unsafe: {FILE} is larger than 4096 bytes",
        f"leave only the value in {FIX_FILE}",
    ),
    "a FIFO": (
        both(sets(**{V2: None}), lambda service: os.mkfifo(service.config / "secret_v2.key")),
        f"{K2}file-unsafe: {FILE} is not a regular file",
        f"{SET}, then delete {FIX_FILE}",
    ),
    "writable by others": (
        lambda service: service.file(mode=0o602),
        f"{K2}file-unsafe: {FILE} can be written by others",
        f'compare its value with the secret manager, then run chmod 600 "{FIX_FILE}"',
    ),
    "in a directory that others can write": (
        both(Service.file, lambda service: service.config.chmod(0o702)),
        f"ALERT: revocation-list: ${DIRECTORY}/{LIST} is in a directory that others can write",
        f'compare it with version control, then run chmod -R go-w "${{{DIRECTORY}:?}}"',
    ),
    "below a directory that others can write": (
        open_above,
        f"ALERT: revocation-list: ${DIRECTORY}/{LIST} is below a directory that others can write",
        f'compare it with version control, then run namei -l "${{{DIRECTORY}:?}}/{LIST}", then {CLOSE}',
    ),
    "two faults": (
        lambda service: service.file(service.manager[V2].encode("utf-16"), 0o602),
        f"{K2}file-unsafe: {FILE} is not UTF-8, and 1 more",
        SET,
    ),
    "in use": (
        lambda service: service.file(),
        f"{W2}file-fallback: {V2} comes from the fallback file {FILE}",
        MOVE,
    ),
    "in use, and not in the secret manager": (
        lambda service: service.file(good_keys()[V2]),
        f"{W2}file-fallback: {V2} comes from the fallback file {FILE}",
        MOVE,
    ),
    "not in use": (
        Service.old_key,
        f"{W2}file-stale: {FILE} has a value, but {V2} is used",
        f"{STORE_OLD} {FIX_FILE}",
    ),
    "in a protected environment": (
        lambda service: service.old_key(**{PROTECTED: "true"}),
        f"{K2}file-present: {FILE} has a value, but fallback files are off",
        f"{STORE_OLD} {FIX_FILE}",
    ),
    "the only key, in a protected environment": (
        both(Service.file, sets(**{PROTECTED: "true"})),
        f"{K2}file-present: {FILE} has a value, but fallback files are off",
        f"{STORE} {FIX_FILE}",
    ),
    "no key but that of a file, in a protected environment": (
        both(Service.file, sets(**{PROTECTED: "true"})),
        f"{K2}missing: {V2} is not set (protected environment: fallback files are not read)",
        "first do what the file-present alert says, then start again",
    ),
    "readable by others": (
        lambda service: service.file(mode=0o664),
        f"{W2}file-fallback: {V2} comes from the fallback file {FILE}",
        MOVE,
    ),
    "another ending": (
        lambda service: (service.file(name="secret_v2.key.txt"), service.environ.update({V2: service.manager[V2]})),
        f"{W2}near-miss: {FILE}.txt is not read; did you mean secret_v2.key?",
        f"{STORE_OLD} {FIX_FILE}.txt",
    ),
    "file of a variable": (
        lambda service: service.environ.update({f"{V2}_FILE": str(service.file(name="mounted"))}),
        f"{W2}near-miss: {V2}_FILE is not read; did you mean {V2}?",
        (
            f"unset {V2}_FILE, and set {V2} to the content of the file that it named"
            " (or ROBODJ_SECRETS_DIR to its directory)"
        ),
    ),
    "line of the list": (
        lambda service: listing(service, "# ours\nsgfp1:0\n# theirs\n"),
        f"ALERT: revocation-list: line 2 of ${DIRECTORY}/{LIST} is not a fingerprint",
        f"correct line 2 by version control or the log; {KEEP_IT}",
    ),
    "list in UTF-16": (
        lambda service: listing(service, service.committed.encode("utf-16")),
        f"ALERT: revocation-list: ${DIRECTORY}/{LIST} is not UTF-8",
        f"restore ${{{DIRECTORY}:?}}/{LIST} from version control",
    ),
    "list that others can write": (
        lambda service: listing(service, service.committed, 0o646),
        f"ALERT: revocation-list: ${DIRECTORY}/{LIST} can be written by others",
        f'compare it with version control, then run chmod go-w "${{{DIRECTORY}:?}}/{LIST}"',
    ),
    "list that is a broken link": (
        dangling_list,
        f"ALERT: revocation-list: ${DIRECTORY}/{LIST} is a broken link",
        f"restore ${{{DIRECTORY}:?}}/{LIST} from version control",
    ),
    "list that is required and missing": (
        without_list,
        f"ALERT: revocation-list: the revocation list ${DIRECTORY}/{LIST} is missing, and the model requires one",
        f"restore ${{{DIRECTORY}:?}}/{LIST} from version control",
    ),
    "list that is required and empty": (
        both(without_list, lambda service: listing(service, "")),
        f"ALERT: revocation-list: the revocation list ${DIRECTORY}/{LIST} is empty, and the model requires one",
        f"restore ${{{DIRECTORY}:?}}/{LIST} from version control",
    ),
    "list with another ending": (
        lambda service: put(service.config / f"{LIST}.txt", f"{SPARE}\n", 0o644),
        f"ALERT: near-miss: ${DIRECTORY}/{LIST}.txt is not read; did you mean {LIST}?",
        f"add its lines to ${{{DIRECTORY}:?}}/{LIST}, then delete ${{{DIRECTORY}:?}}/{LIST}.txt",
    ),
    "a variable for a file of the list": (
        listed_in_file,
        f"ALERT: near-miss: {REVOKED}_FILE is not read; did you mean {REVOKED}?",
        f"add the fingerprints in the file of {REVOKED}_FILE to {REVOKED}, then unset {REVOKED}_FILE",
    ),
    "a plain file as the default directory": (
        no_default_directory,
        "ALERT: setting: the config directory config is not a directory",
        "restore the directory config from version control",
    ),
    "no directory of the model": (
        no_directory_of_the_model,
        "ALERT: setting: the model's config_dir does not exist: PATH",
        "restore that directory from version control",
    ),
    "no config directory": (
        lambda service: (service.environ.pop(V2), service.config.rename(service.root / "elsewhere")),
        f"ALERT: setting: the config directory ${DIRECTORY} does not exist: PATH",
        f"correct the path in {DIRECTORY}; if it is right, restore the directory from version control",
    ),
    "another config directory": (
        lambda service: service.environ.update({DIRECTORY: "/nowhere"}),
        f"ALERT: setting: the config directory ${DIRECTORY} does not exist: PATH",
        f"correct the path in {DIRECTORY}; if it is right, restore the directory from version control",
    ),
}


def outside(*names: str) -> Callable[[Service], Any]:
    """Return a fault: the environment has another value for variables that the secret manager delivers."""

    def change(service: Service) -> None:
        assert isinstance(service, Managed)
        rotated()(service)
        service.outside |= dict.fromkeys(names, "other")

    return change


def returned_unrecorded(service: Service) -> None:
    """Bring back a key that the log names only as the replaced one."""
    service.environ |= {V2: good_keys()[V2], E2: marker(3 * DAY)}
    old = fingerprint_of(service.environ[V2])
    service.records = [
        rotation_of(NOW - 10 * DAY, fingerprint_of(service.manager[V2]), secret=POLICIES[V2].name, replaced=old)
    ]


def returned(service: Service) -> None:
    """Bring back the key from before the last rotation, whose overlap is over."""
    service.environ |= {V2: good_keys()[V2], E2: marker(3 * DAY)}
    keys = [(40 * DAY, service.environ[V2]), (10 * DAY, service.manager[V2])]
    service.records = [rotation_of(NOW - age, fingerprint_of(key), secret=POLICIES[V2].name) for age, key in keys]


LOGGED: Final[dict[str, tuple[Callable[[Service], Any], str, str]]] = {
    "an old key came back": (
        returned,
        f"{W2}superseded: {V2} is an old key; the latest one is FINGERPRINT",
        DELIVER,
    ),
    "an old key came back that was only recorded as replaced": (
        returned_unrecorded,
        f"{W2}superseded: {V2} is an old key; the latest one is FINGERPRINT",
        DELIVER,
    ),
    "a revocation that is not listed": (
        lambda service: service.records.append(
            replace(draft("revoked", fingerprint=SPARE, reason="leaked"), recorded_at=NOW)
        ),
        "ALERT: revocation-list: FINGERPRINT is recorded as revoked, but is not on the revocation list",
        (
            f"run robodj-secretguard revoke --model {LIBRARY_MODEL} --fingerprint FINGERPRINT"
            " --reason 'recorded as revoked' --yes"
        ),
    ),
    "a replaced key that is not listed": (
        lambda service: service.records.append(
            rotation_of(NOW - 9 * DAY, fingerprint_of(service.manager[V1]), replaced=SPARE, replaced_until=NOW)
        ),
        "WARNING: revocation-list: FINGERPRINT was replaced, but is not on the revocation list",
        "add the line FINGERPRINT@2026-12-01T12:00:00Z to the revocation list, and deploy it",
    ),
}


def vendor(**changes: str | None) -> Callable[[Service], Any]:
    """Return a fault of a vendor's secret."""

    def change(service: Service) -> None:
        service.model, service.policy = Vendors, Vendors.secret_policies["stripe"]
        service.manager |= {STRIPE: service.policy.material.temporary(), f"{STRIPE}_EXPIRES_AT": marker(40 * DAY)}
        service.environ |= service.manager
        sets(**changes)(service)

    return change


ISSUE: Final = "issue a new one at stripe.example/keys"
SET_STRIPE: Final = f"set {STRIPE} from the secret manager"
VENDORS: Final[dict[str, tuple[Callable[[Service], Any], str, str]]] = {
    "a vendor's secret is unset": (
        vendor(**{STRIPE: None}),
        f"ALERT: stripe.key: missing: {STRIPE} is not set, and there is no ${DIRECTORY}/stripe.key",
        f"{SET_STRIPE}; if it has none, {ISSUE} and store it there",
    ),
    "a vendor's secret is a template": (
        vendor(**{STRIPE: "sk_your_key_here"}),
        f"ALERT: stripe.key: placeholder: {STRIPE} is a placeholder",
        f"{SET_STRIPE}; if it has no other value, {ISSUE} and store it there",
    ),
    "a vendor's secret is another one": (
        vendor(**{STRIPE: "pk_1Hq8zWv3Lm"}),
        f"ALERT: stripe.key: format: {STRIPE} does not begin with sk_",
        f"{SET_STRIPE}; if it has no other value, {ISSUE} and store it there",
    ),
    "a vendor's secret has expired": (
        vendor(**{f"{STRIPE}_EXPIRES_AT": marker(-DAY)}),
        f"ALERT: stripe.key: expired: {STRIPE} expired at 2026-11-30T12:00:00Z ({STRIPE}_EXPIRES_AT)",
        (
            f"{ISSUE}, store it in the secret manager, then set {STRIPE} to it, and {STRIPE}_EXPIRES_AT to its expiry"
            " time"
        ),
    ),
}


def with_url(service: Service) -> None:
    """Deliver a URL whose password is a template."""
    service.model, service.policy = Urls, Urls.secret_policies["database"]
    service.manager[DATABASE] = service.policy.material.temporary()
    template = re.sub("://temporary:[^@]*@", "://temporary:<password>@", service.manager[DATABASE])
    service.environ |= service.manager | {DATABASE: template}


def half_set(service: Service) -> None:
    """Leave an optional secret empty, with its marker."""
    service.model = Optional
    service.environ |= {"TOKEN": "", "TOKEN_EXPIRES_AT": marker(40 * DAY)}


KINDS: Final[dict[str, tuple[Callable[[Service], Any], str, str]]] = {
    "a template as a password": (
        with_url,
        f"ALERT: database: placeholder: {DATABASE} has a password that is a placeholder",
        f"put the password in place of the template in {DATABASE}{TOO}",
    ),
    "an optional secret that is half set": (
        half_set,
        f"ALERT: token: missing: TOKEN is empty, and there is no ${DIRECTORY}/token",
        "set TOKEN from the secret manager; if it has none, unset TOKEN and TOKEN_EXPIRES_AT",
    ),
}
ROWS: Final = KINDS | VARIABLES | SLOTS | FILES | LOGGED | VENDORS


WITHIN: Final = f"in {STORED}, "
OWN: Final = COMPARE
WRITE: Final = "as YYYY-MM-DDTHH:MM:SSZ"
RIGHT_PREVIOUS: Final = (
    f"{WITHIN}set {PREVIOUS} to the right previous key; if there is none, delete it and its deadline"
)
ALONE: Final = f"{WITHIN}delete {UNTIL}; only if the previous key must still verify, set that key too"
# By the name of a fault above: the fix where a secret manager delivers that value. The first line is the same.
IN_MANAGER: Final = {
    "a template": PLAN,
    "encoded text": PLAN,
    "newline": f"{WITHIN}set {V2} without the newline (printf %s writes none; echo does)",
    "blank": f"{WITHIN}set {V2} without the blank",
    "quotes": f"{WITHIN}set {V2} without the quotes (docker --env-file keeps them)",
    "padding": f"{WITHIN}set {V2} without the = padding (not if it already signs: see docs/adopting.md)",
    "truncated": PLAN,
    "very short": PLAN,
    "several defects": PLAN,
    "swapped": f"{WITHIN}exchange the values of {V2} and {V1}",
    "not random": PLAN,
    "not random in the secret manager either": PLAN,
    "shared": OWN,
    "shared in the secret manager too": OWN,
    "expired": FOLLOW,
    "expires soon": FOLLOW,
    "expires too late": f"{WITHIN}set {E2} to the time of the last rotation plus 30 days, as YYYY-MM-DDTHH:MM:SSZ",
    "marker without a timezone": f"{WITHIN}write the expiry time (the last rotation plus 30 days) into {E2} {WRITE}",
    "marker without a time": f"{WITHIN}write the expiry time (the last rotation plus 30 days) into {E2} {WRITE}",
    "marker in seconds": f"{WITHIN}write the expiry time (the last rotation plus 30 days) into {E2} {WRITE}",
    "clock": "set the clock of this machine, then start again",
    "revoked": AWAIT,
    "two names for the list": f"{WITHIN}add its fingerprints to {REVOKED}, then delete {REVOKED}X",
    "typo of a marker": f"{WITHIN}rename {V2}_EXPIRY to {E2}",
    "typo of a marker that may hold a key": f"{WITHIN}rename that variable to {E2}",
    "typo of a marker that is set": f"{WITHIN}set {E2} to the earlier of both, then delete {V2}_EXPIRES",
    "typo of a key that is set": f"{WITHIN}delete {V2}S; {V2} is set",
    "file of a variable that is set": f"{WITHIN}delete {V2}_FILE; {V2} is set",
    "next is a template": f"{WITHIN}set {NEXT} to the right next key; if there is none, delete it",
    "previous is a template, also in the secret manager": RIGHT_PREVIOUS,
    "next with a newline": f"{WITHIN}set {NEXT} without the newline (printf %s writes none; echo does)",
    "previous truncated": f"{KEEP}{WITHIN}set {PREVIOUS} to the right previous key",
    "next is revoked": f"delete {NEXT} from {STORED}",
    "previous is revoked": f"delete {PREVIOUS} and its deadline from {STORED}",
    "previous without a deadline": f"{WITHIN}{AFTER}",
    "deadline without a timezone": f"{WITHIN}write the deadline (the rotation plus 7 days) into {UNTIL} {WRITE}",
    "deadline in seconds": f"{WITHIN}write the deadline (the rotation plus 7 days) into {UNTIL} {WRITE}",
    "deadline too far ahead": f"{WITHIN}{AFTER}",
    "deadline under another name": f"{WITHIN}rename {PREVIOUS}_EXPIRES_AT to {UNTIL}",
    "no deadline, and a misspelled one": "first do what the near-miss alert says, then start again",
    "deadline alone": ALONE,
    "previous was not delivered": ALONE,
    "deadline passed": (
        f"first re-encrypt data that needs this key, then delete {PREVIOUS} and its deadline from {STORED}"
    ),
    "next is current": f"delete {NEXT} from {STORED} ({V2} has the key already)",
    "previous is current": RIGHT_PREVIOUS,
    "next is another secret": f"{WITHIN}set {NEXT} to the right next key; if there is none, delete it",
    "next looks like another secret": (f"{WITHIN}exchange the values of {NEXT} and {V1}_NEXT"),
    "typo of next": f"{WITHIN}rename {V2}_NEXTT to {NEXT}",
    "words of previous in another order": f"{WITHIN}rename ROBODJ_PREVIOUS_SECRET_V2_KEY to {PREVIOUS}",
    "another name of previous": f"{WITHIN}rename {V2}_OLD to {PREVIOUS}",
    "previous is not set, and a misspelled one": "first do what the near-miss warning says, then start again",
}
MANAGED: Final[dict[str, tuple[Callable[[Service], Any], str, str]]] = {
    **{fault: (*(VARIABLES | SLOTS)[fault][:2], fix) for fault, fix in IN_MANAGER.items()},
    "unset": (
        sets(**{V2: None}),
        f"{K2}missing: {STORED} has no {V2}",
        PLAN,
    ),
    "the marker alone": (
        sets(**{V2: ""}),
        f"{K2}missing: {STORED} has an empty {V2}",
        PLAN,
    ),
    "typo of a key": (
        VARIABLES["typo of a key"][0],
        f"{K2}missing: {STORED} has no {V2}",
        "first do what the near-miss warning says, then start again",
    ),
    "entries of the variable": (
        entries,
        f"ALERT: revocation-list: entries 2, 3 of {REVOKED} in {STORED} are not fingerprints",
        f"correct entries 2, 3 by an earlier version or the log; {KEEP_IT}",
    ),
    "another key in the environment": (
        outside(V2),
        f"{K2}source: {V2} in the environment differs from {STORED}",
        f"make sure that {STORED} has the right values, then unset {V2} in the environment",
    ),
    "another marker and deadline in the environment": (
        outside(E2, UNTIL),
        f"{K2}source: {E2} and 1 more in the environment differ from {STORED}",
        f"make sure that {STORED} has the right values, then unset every variable of secret_v2.key in the environment",
    ),
    "an old key came back": (
        returned,
        f"{W2}superseded: {V2} is an old key; the latest one is FINGERPRINT",
        DELIVER,
    ),
    "several variables in the environment": (
        outside(V2, E2, NEXT, PREVIOUS, UNTIL),
        f"{K2}source: {V2} and 4 more in the environment differ from {STORED}",
        f"make sure that {STORED} has the right values, then unset every variable of secret_v2.key in the environment",
    ),
}


def fingerprints(service: Service) -> set[str]:
    """Return every fingerprint that some variable or file has."""
    files = [each for each in service.root.rglob("*") if each.is_file()]
    texts = [*service.environ.values(), *(each.read_bytes().decode("latin-1") for each in files)]
    return {each for text in texts for each in re.findall("sgfp1:[0-9a-f]{32}", text)}


WORLDS: Final = ("right", "same", "none", "older")
"""What the secret manager has: the right value, the one that is refused, none, or an older one, which is revoked.

Where the manager delivers the value, it is what its earlier version has.
"""


def change_world(service: Service, world: str) -> None:
    """Change what the secret manager has of the second secret."""
    names = service.policy.variables
    if world == "same":
        service.manager |= {name: value for name in names if (value := service.environ.get(name))}
        gone = [name for name in names if not service.environ.get(name)]
    else:
        gone = [name for name in names if world in {"none", "older"}]
    for name in gone:
        service.manager.pop(name, None)
    if world == "older":
        service.manager |= {V2: good_keys()[V2], E2: marker(-40 * DAY)}
        older = f"{fingerprint_of(service.manager[V2])}@{marker(-9 * DAY)}"
        service.environ[REVOKED] = ",".join(filter(None, [service.environ.get(REVOKED), older]))


def shown_lines(report: Report) -> list[tuple[str, str]]:
    """Return the two lines of each finding, within the limits."""
    shown = [each for each in report.findings if each.check != "file-fallback"]
    longer = [each._replace(message=in_long(each.message), remedy=in_long(each.remedy)).lines for each in shown]
    assert [one for one, _ in longer if len(one) > MOST_WHAT] == []
    assert [two for _, two in longer if len(two) > MOST_FIX] == []
    return [each.lines for each in shown]


def in_long(text: str) -> str:
    """Return a text with the longer names of a source and of a model."""
    text = text.replace(STORED, NAMED).replace(LIBRARY_MODEL, LONG_MODEL)
    return re.sub(r"^(run|wait .* run) (\S+ rotate plan \S+) (?!.* --from)", rf"\1 \2 --from {NAMED} ", text)


def assert_fixed(
    service: Service,
    make: Callable[[Service], Any],
    what: str,
    fix: str,
    *,
    world: str = "right",
    has_keys: bool = False,
) -> None:
    """Assert that a fault has two lines, and that obeying them leads to the right set-up, and loses nothing.

    No line comes back. No older, revoked or empty key serves, also after the next deployment, and no date has moved.
    """
    make(service)
    variable, expires = service.policy.variable, service.policy.expiry_variable
    service.right, service.dates = service.manager[variable], {**service.manager}
    dates = {each.get(variable): each.get(expires) for each in (service.environ, service.manager)}
    lines = [each.lines for each in service.report().findings]
    shown = [tuple(re.sub("sgfp1:[0-9a-f]{32}", "FINGERPRINT", line) for line in pair) for pair in lines]
    shown = [(re.sub(": [^ ]*/[^ ]*$", ": PATH", one), two) for one, two in shown]
    owner = ". Owner: Security Operations"  # test_report.py tests when it is left out
    assert (what, f"  fix: {fix}") in [(one, two.removesuffix(owner)) for one, two in shown]
    change_world(service, world)
    service.shell = {**service.environ} if has_keys else {}
    texts = service.texts(service.environ.values(), service.manager.values())
    kept = {service.right, *service.manager.values()} & texts
    kept = {text for text in kept if any(each.material.accepts(text) for each in (*POLICIES.values(), service.policy))}
    listed, seen = fingerprints(service), list[tuple[str, str]]()
    for number in range(6):
        report = service.report()
        lines = shown_lines(report)
        assert not {*lines} & {*seen}, "the same line comes back"
        seen += lines
        for finding in report.findings:
            Operator(service, finding).do(finding.remedy)
        assert not service.check().ok or service.serves == service.right
        if number > 2 and not lines:
            break
        if number == 2:  # an alert may hide another one until the next run
            service.deploy()
    assert shown_lines(service.report()) == []
    if not isinstance(service, Managed) or world == "right":
        expected = {name: value for name, value in service.manager.items() if name != f"{V1}_NEXT"}
        assert {name: service.environ.get(name, value) for name, value in expected.items()} == expected
    assert service.serves == service.right
    assert service.environ.get(expires) in {
        dates.get(service.right),
        marker(service.policy.cadence),
        service.manager.get(expires),
    }
    assert kept <= service.texts(service.environ.values(), service.manager.values(), service.kept)
    assert listed <= fingerprints(service)


def rows_of(table: dict[str, tuple[Callable[[Service], Any], str, str]]) -> list[Any]:
    """Return each row: in each world where its check is one that must hold there, and in each shell for a plan."""
    rows = []
    for name, (_, what, fix) in table.items():
        worlds: Sequence[str] = WORLDS if re.search(f": ({'|'.join(IN_ALL_WORLDS)}): ", what) else WORLDS[:1]
        has_age = re.search("stripe|database", what) is None  # no fingerprint shows the age of an issued value
        worlds = [each for each in worlds if each != "older" or has_age]
        shells = (False, True) if "rotate plan" in fix else (False,)
        rows += [(name, world, has_keys) for world in worlds for has_keys in shells]
    return rows


ELSEWHERE: Final = {"internal", "_check_kind", "check_list_owners"}
"""The functions whose lines test_rules.py and test_list_rules.py have."""
IN_ALL_WORLDS: Final = (
    "missing",
    "placeholder",
    "format",
    "expired",
    "expiry-marker",
    "cadence",
    "revoked",
    "file-present",
    "superseded",
)


@posix_only
class TestLiteralOperator:
    """Each fault is found, and its fix removes it."""

    @pytest.mark.parametrize(("fault", "world", "has_keys"), rows_of(ROWS))
    def test_each_fault(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, world: str, *, has_keys: bool
    ) -> None:
        """A fault has the expected two lines, within the limits. Obeying them leads to the right set-up."""
        monkeypatch.chdir(tmp_path)
        assert_fixed(Service(tmp_path), *ROWS[fault], world=world, has_keys=has_keys)

    @pytest.mark.parametrize(("fault", "world", "has_keys"), rows_of(MANAGED))
    def test_each_fault_in_a_manager(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, world: str, *, has_keys: bool
    ) -> None:
        """The same holds for a value that a secret manager delivers. The fix says where to change it."""
        monkeypatch.chdir(tmp_path)
        assert_fixed(Managed(tmp_path), *MANAGED[fault], world=world, has_keys=has_keys)

    def test_every_line_has_a_row(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each place that makes the two lines of a finding is reached by a row, except those of `ELSEWHERE`."""
        reached, places = set[tuple[str, int]](), dict[tuple[str, int], str]()
        for module in (rules, time_rules, list_rules, shared, standing):
            tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
            for function in [each for each in tree.body if isinstance(each, ast.FunctionDef)]:
                calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
                made = [each.lineno for each in calls if ast.unparse(each.func) == "Problem"]
                places |= {(module.__name__, line): function.name for line in made}

            def recorded(*values: Any, _module: Any = module, **fields: Any) -> Any:
                reached.add((_module.__name__, sys._getframe(1).f_lineno))  # noqa: SLF001 - where it was called
                return Problem(*values, **fields)

            monkeypatch.setattr(module, "Problem", recorded)
        rows = [(name, table) for table in (ROWS, MANAGED) for name in table]
        for number, (name, table) in enumerate(rows):
            root = tmp_path / str(number)
            root.mkdir()
            monkeypatch.chdir(root)
            service = Service(root) if table is ROWS else Managed(root)
            table[name][0](service)
            service.report()
        assert {places[each] for each in {*places} - reached} == ELSEWHERE

    @pytest.mark.parametrize("fault", FILES)
    def test_each_length(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
        """The lines also fit where the model names the directory, as the README advises."""
        service = Service(tmp_path)
        monkeypatch.chdir(tmp_path)
        FILES[fault][0](service)

        class Declared(service.model, config_dir=service.config):  # type: ignore[name-defined, misc, call-arg]
            pass

        environ = {name: value for name, value in service.environ.items() if name != DIRECTORY}
        lines = [each.lines for each in check(Declared, environ=environ, now=service.now).findings]
        assert max((len(one) for one, _ in lines), default=0) <= MOST_WHAT
        assert max((len(two) for _, two in lines), default=0) <= MOST_FIX
