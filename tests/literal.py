"""The literal operator of a store: somebody who does exactly what a `fix:` line says, and what its plan says.

The tests of the stores on this machine, and the trial of the secret managers, make the same faults with it.
"""

from __future__ import annotations

import contextlib
import io
import re
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from unittest.mock import patch

import pytest
from command_line import Machine, fingerprint_of, name_model, rotated
from conftest import NOW, Ran, marker, put
from detector import leaks

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings
from robodj_secretguard.lifecycle.records import Record
from robodj_secretguard.managers.manager import ABSENT, AbsentError, Store, Stored, open_store, sealed
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, iso_utc

DAY: Final = timedelta(days=1)
SECONDS: Final = 30.0
MOST_FIX: Final = 180
NAMED: Final = "vault:secret/my-service"
"""The store for which the lines must be short enough."""
MOST_LOOKS: Final = 8
"""How often the operator looks at the check, until it must pass."""
KEY, NEXT, PREVIOUS, UNTIL, EXPIRES = (
    f"SESSION_KEY{each}" for each in ("", "_NEXT", "_PREVIOUS", "_PREVIOUS_UNTIL", "_EXPIRES_AT")
)
OTHER, STRIPE, PROXY = "API_KEY", "STRIPE", "PROXY_KEY"
KEYS: Final = {KEY, NEXT, PREVIOUS, OTHER, STRIPE}
FORMER_DATE: Final = 100 * DAY
"""How long ago the older key was recorded, which came back in one world."""
RIGHT_DATE: Final = 30 * DAY
"""How long ago the right key was recorded."""


class Literal(SecretSettings):
    """A service with a key, another key, a vendor's value and an optional secret."""

    session_key: Annotated[Secret, SecretPolicy(overlap=14 * DAY, stores_data=False)]
    api_key: Annotated[Secret, SecretPolicy(overlap=14 * DAY, stores_data=False)]
    stripe: Annotated[Secret, SecretPolicy(material=Material.opaque(prefix="sk_live_"), issuer="stripe.example/keys")]
    proxy_key: Annotated[Secret | None, SecretPolicy(required=False)]


POLICIES: Final = tuple(Literal.secret_policies.values())
HELPER: Final = f"""#!{sys.executable} -IS
import json, os, sys

kept = sys.argv[0] + ".kept"
try:
    with open(kept) as file:
        versions = json.load(file)
except FileNotFoundError:
    versions = []
if sys.argv[1] == "get":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else len(versions)
    if not versions:
        sys.exit(66)
    names = [str(each) for each in range(len(versions), 0, -1)]
    answer = {{"fields": versions[number - 1], "version": str(number), "versions": names}}
    print(json.dumps(answer))
else:
    given = json.load(sys.stdin)
    if (given.get("version") or "0") != str(len(versions)):
        sys.exit(73)
    with open(kept + ".new", "w") as file:
        json.dump([*versions, given["fields"]], file)
    os.replace(kept + ".new", kept)
"""
"""A helper program of `exec:` that compares and keeps versions."""


def new_key() -> str:
    """Make a key."""
    return secrets.token_urlsafe(32)


def vendor_value() -> str:
    """Make a value as the vendor issues it."""
    return f"sk_live_{secrets.token_hex(12)}"


def fields_of(key: str) -> dict[str, str]:
    """Return good fields, with this current key."""
    return {KEY: key, OTHER: new_key(), STRIPE: vendor_value()}


@dataclass
class Site:
    """A service's store, its operations log, and the operator's machine.

    Attributes:
        machine: the operator's machine.
        source: the store.
        now: the time.
        seen: what the operator has read in the check, which must not come again.
        output: everything that was printed.
        ran: the commands that were run.
        keys: every value that was ever in the store.
    """

    machine: Machine
    source: str
    now: datetime = NOW
    seen: list[str] = field(default_factory=list)
    output: str = ""
    ran: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set, repr=False)
    records: list[Record] = field(default_factory=list)

    def store(self) -> Store:
        """Open the store, as its administrator."""
        return open_store(self.source, POLICIES)

    def stored(self) -> Stored:
        """Return what the store has."""
        store = self.store()
        try:
            return self.machine.within(lambda: store.within(SECONDS, store.current), now=self.now)
        except AbsentError:
            return ABSENT

    def fields(self) -> dict[str, str]:
        """Return the fields that the store has."""
        found = self.stored().opened()
        self.note(found)
        return {name: text for name, text in found.items() if isinstance(text, str)}

    def note(self, fields: Mapping[str, Any]) -> None:
        """Note the keys in fields."""
        self.keys |= {text for name, text in fields.items() if name in KEYS and text and len(text) > len("changeme")}

    def write(self, fields: Mapping[str, str]) -> None:
        """Write a version."""
        store, before = self.store(), self.stored()
        new = sealed(dict(fields), is_new=True)
        self.machine.within(lambda: store.within(SECONDS, lambda: store.write(new, before)), now=self.now)
        self.note(fields)

    def edit(self, changes: Mapping[str, str | None]) -> None:
        """Change fields by hand: in the files, or as a new version of a secret manager."""
        kind, _, place = self.source.partition(":")
        self.note(changes)
        path = Path(place)
        if kind == "directory":
            for name, text in changes.items():
                edit_file(path, name, text)
        elif kind == "envfile":
            edit_lines(path, changes)
        else:
            fields = {**self.stored().opened(), **changes}
            self.write({name: text for name, text in fields.items() if text is not None})

    def record(self, key: str, ago: timedelta, **more: Any) -> None:
        """Record a rotation some time ago."""
        record = rotated(self.now - ago, fingerprint_of(key), **{"secret": "session_key", **more})
        self.records.append(record)
        self.machine.record(*self.records)

    def call(self, *argv: str, stdin: str = "") -> Ran:
        """Run a command of the operator."""
        with patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))):
            ran = self.machine.call(*argv, now=self.now)
        self.ran.append(shlex.join(argv))
        self.output += f"$ {shlex.join(argv)}\n{ran.out}{ran.err}"
        self.now += timedelta(seconds=1)
        return ran


def edit_file(path: Path, name: str, text: str | None) -> None:
    """Change a file of a directory in place, or delete it."""
    files = [path / "..data" / name] if (path / "..data").exists() else [path / name]
    if text is not None:
        path.mkdir(mode=0o700, exist_ok=True)
        put(files[0], text)
        if not (path / name).exists():
            (path / name).symlink_to(f"..data/{name}")
        return
    for file in {*files, path / name}:
        file.unlink(missing_ok=True)


def edit_lines(path: Path, changes: Mapping[str, str | None]) -> None:
    """Change the lines of an environment file."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0] not in changes]
    kept += [f"{name}={text}" for name, text in changes.items() if text is not None]
    put(path, "".join(f"{line}\n" for line in kept))


def findings_of(output: str) -> list[tuple[str, str]]:
    """Return the two lines of each finding."""
    return re.findall(r"(?m)^((?:ALERT|WARNING): .*)\n(  fix: .*)$", output)


class Operator:
    """Somebody who does what a line says, and nothing else."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def correct(self) -> None:
        """Obey the first fix of the check again and again, until nothing is wrong."""
        for _ in range(MOST_LOOKS):
            ran = self.site.call("check", "--from", self.site.source)
            found = findings_of(ran.out + ran.err)
            found.sort(key=lambda lines: not lines[0].startswith("ALERT"))
            if not found:
                assert ran.status == 0, ran.out + ran.err
                return
            first, fix = found[0]
            assert len(fix.replace(self.site.source, NAMED)) <= MOST_FIX, fix
            line = f"{first}\n{fix}"
            assert line not in self.site.seen, f"the same line comes back: {line}"
            self.site.seen.append(line)
            self.obey(fix.removeprefix("  fix: "))
        pytest.fail(f"the check still fails:\n{self.site.output}")

    def obey(self, fix: str) -> None:
        """Do what a fix says."""
        fix = re.sub(r"\. Owner: .*", "", fix)
        rest = re.sub(r" \([^()]*\)", "", fix)
        found = re.search(r"robodj-secretguard (.*?)(?:; |, then |, which | and follow |, and run |: it | if |$)", rest)
        if found:
            self.run(found[1])
            return
        for pattern, action in INSTRUCTIONS.items():
            if found := re.fullmatch(pattern, rest.replace(self.site.source, "STORE")):
                action(self, *found.groups())
                return
        pytest.fail(f"unknown instruction: {fix}")

    def run(self, text: str, depth: int = 0, added: tuple[str, ...] = ()) -> None:
        """Run a command. Follow the plan that it prints, or the fix that it asks for."""
        words = [*shlex.split(text), *added]
        guessed = [each for each in words if re.fullmatch("[A-Z]{3,}", each) and each != "WHY"]
        assert not guessed, f"{text} needs a guess"
        words = ["posted in a chat" if each == "WHY" else each for each in words]
        is_put = words[:2] == ["rotate", "put"]
        ran = self.site.call(*words, stdin=f"{vendor_value()}\n" if is_put and words[2] == "stripe" else "")
        shown = ran.out + ran.err
        if ran.status == 0:
            if words[:2] == ["rotate", "plan"]:
                self.follow(ran.out)
            return
        assert depth < 3, f"no command works:\n{self.site.output}"
        if "pass it once, such as --environment prod" in shown:
            self.run(text, depth + 1, ("--environment", "prod"))
            return
        fixes = [line for line in shown.splitlines() if line.startswith("  fix: ")]
        assert fixes, f"the command says no fix:\n{self.site.output}"
        fix = fixes[0]
        assert len(fix.replace(self.site.source, NAMED)) <= MOST_FIX, fix
        found = re.search(r"run robodj-secretguard (.*?)(?:, which .*)?$", fix)
        assert found, f"no command in the fix:\n{self.site.output}"
        self.run(found[1], depth + 1)

    def follow(self, plan: str) -> None:
        """Do the steps of a plan."""
        for text, commands in steps_of(plan):
            self.wait(text)
            for command in commands:
                words = shlex.split(command)[1:]
                if words[:2] == ["rotate", "plan"]:
                    self.run(shlex.join(words))
                    return
                ran = self.run_in_plan(words)
                found = [fix for line, fix in findings_of(ran.out) if line.startswith("ALERT")]
                if ran.status and found:
                    self.obey(found[0].removeprefix("  fix: "))
                    ran = self.run_in_plan(words)
                assert ran.status == 0, f"a command of the plan failed: {command}\n{self.site.output}"

    def run_in_plan(self, words: list[str]) -> Ran:
        """Run a command of a plan."""
        guessed = [each for each in words if re.fullmatch("[A-Z]{3,}", each) and each != "WHY"]
        assert not guessed, f"{words} needs a guess"
        words = ["posted in a chat" if each == "WHY" else each for each in words]
        is_issued = words[:3] == ["rotate", "put", "stripe"]
        return self.site.call(*words, stdin=f"{vendor_value()}\n" if is_issued else "")

    def wait(self, text: str) -> None:
        """Wait as long as a step says."""
        site = self.site
        if found := re.search(r"After (20[0-9TZ:-]+)", text):
            site.now = max(site.now, datetime.fromisoformat(found[1]) + timedelta(seconds=1))
        if "An hour later" in text:
            site.now += timedelta(hours=1, seconds=1)
        if found := re.search(r"([0-9]+) days (?:after the promotion|later)", text):
            site.now += int(found[1]) * DAY

    def delete(self, *names: str | None) -> None:
        """Delete fields of the store."""
        self.site.edit(dict.fromkeys(filter(None, names)))

    def delete_previous(self, name: str) -> None:
        """Delete a previous key and its deadline."""
        self.delete(name, f"{name}_UNTIL")

    def set_date(self, name: str, days: str) -> None:
        """Set a date that the last rotation gives, which was five days ago."""
        self.site.edit({name: iso_utc(self.site.now + (int(days) - 5) * DAY)})

    def add_line(self, entry: str) -> None:
        """Add a line to the revocation list."""
        path = self.site.machine.config / "revoked.fingerprints"
        before = path.read_text() if path.exists() else ""
        put(path, f"{before}{entry}\n", 0o644)

    def unset_in_shell(self, names: str) -> None:
        """Unset variables of the operator's shell."""
        for name in [each for each in self.site.machine.environ if re.match(names, each)]:
            del self.site.machine.environ[name]


INSTRUCTIONS: Final[dict[str, Callable[..., None]]] = {
    r"add the line (\S+) to the revocation list, and deploy it": Operator.add_line,
    r"in STORE, set (\w+) to the time of the rotation plus (\d+) days, as YYYY-MM-DDTHH:MM:SSZ": Operator.set_date,
    r"delete (\w+) from STORE": Operator.delete,
    r"delete (\w+) and (\w+) from STORE": Operator.delete,
    r"delete (\w+) and its deadline from STORE": Operator.delete_previous,
    r"make sure that STORE has the right values, then unset (\w+) in the environment": Operator.unset_in_shell,
    r"make sure that STORE has the right values, then unset every variable of session_key in the environment": (
        lambda operator: operator.unset_in_shell("SESSION_KEY")
    ),
}


def steps_of(plan: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the text and the commands of each step of a printed plan."""
    found: list[tuple[str, list[str]]] = []
    for line in plan.splitlines():
        if re.match(r"[0-9]+\. ", line):
            found.append((line, []))
        elif found and line.startswith("     "):
            found[-1][1].append(line.strip())
    yield from found


WORLDS: Final = ("earlier", "faulty", "nothing", "older")
"""What the store has besides the fault, and what is recorded.

An earlier version with the right key; no other version; no other version and no record; an earlier version with an
older key.
"""


@dataclass
class Case:
    """What is in the store with a fault.

    Attributes:
        right: the right key.
        older: the older key, which the right one has replaced.
        fields: the right fields.
    """

    right: str
    older: str
    fields: dict[str, str]
    now: datetime


def with_previous(case: Case, **more: str | None) -> dict[str, str | None]:
    """Return the changes for an overlap."""
    return {PREVIOUS: new_key(), UNTIL: marker(5 * DAY, now=case.now), **more}


def revoking(changes: dict[str, str | None], name: str) -> dict[str, str | None]:
    """Return changes that revoke the key of a field too."""
    return {**changes, REVOKED_FINGERPRINTS: fingerprint_of(changes[name] or "")}


FAULTS: Final[dict[str, Callable[[Case], dict[str, str | None]]]] = {
    "missing": lambda _: {KEY: None},
    "placeholder": lambda _: {KEY: "changeme"},
    "cut": lambda case: {KEY: case.right[:30]},
    "weak": lambda _: {KEY: "Zy" * 30},
    "shared": lambda case: {KEY: case.fields[OTHER]},
    "expired": lambda case: {EXPIRES: marker(-DAY, now=case.now)},
    "revoked": lambda case: {REVOKED_FINGERPRINTS: fingerprint_of(case.right)},
    "superseded": lambda case: {KEY: case.older},
    "drift": lambda _: {KEY: new_key()},
    "revoked next": lambda _: revoking({NEXT: new_key()}, NEXT),
    "revoked previous": lambda case: revoking(with_previous(case), PREVIOUS),
    "previous without a deadline": lambda case: with_previous(case, **{UNTIL: None}),
    "invalid vendor value": lambda _: {STRIPE: "sk_test_abcdefgh1234"},
    "half set optional": lambda case: {f"{PROXY}_EXPIRES_AT": marker(DAY, now=case.now)},
}
OF_CURRENT: Final = ("missing", "placeholder", "cut", "weak", "shared", "superseded", "drift")
"""The faults for which an earlier version with the recorded key is right."""


def site_at(root: Path, source: str, *, environ: Mapping[str, str] | None = None, now: datetime = NOW) -> Site:
    """Make a site, whose project names the model."""
    (root / "config").mkdir(mode=0o700)
    name_model(root, "literal:Literal")
    return Site(Machine(root, dict(environ or {})), source, now)


def make(site: Site, fault: str, world: str) -> Case:
    """Make a fault in a world."""
    case = Case(new_key(), new_key(), {}, site.now)
    case.fields = fields_of(case.right)
    changes = FAULTS[fault](case)
    if world in {"faulty", "nothing"}:
        with contextlib.suppress(KeyError):
            del case.fields[PROXY]
        first = {name: text for name, text in {**case.fields, **changes}.items() if text is not None}
        if site.source.startswith(("directory:", "envfile:")):
            site.edit(first)
        else:
            site.write(first)
    elif world == "older":
        site.write({**case.fields, KEY: case.older})
        site.edit({KEY: case.right, **changes})
    else:
        site.write(case.fields)
        site.edit(changes)
    if world != "nothing":
        replaced = {"replaced": fingerprint_of(case.older), "replaced_until": site.now - RIGHT_DATE + 14 * DAY}
        site.record(case.older, FORMER_DATE)
        site.record(case.right, RIGHT_DATE, **replaced)
        entry = f"{fingerprint_of(case.older)}@{iso_utc(site.now - RIGHT_DATE + 14 * DAY)}"
        site.machine.write("revoked.fingerprints", f"{entry}\n", 0o644)
    return case


def judge(site: Site, case: Case, fault: str, world: str, before: Mapping[str, str]) -> None:
    """Assert that the end is right: no older, revoked or empty value, and no date moved later."""
    after = site.fields()
    current = after[KEY]
    listed = after.get(REVOKED_FINGERPRINTS, "") + site.machine.environ.get(REVOKED_FINGERPRINTS, "")
    assert all(after.values()), "a value is empty"
    assert current != case.older or (fault, world) == ("superseded", "nothing")
    assert f"{fingerprint_of(current)}" not in {each for each in listed.split(",") if "@" not in each}
    if fault in OF_CURRENT and world == "earlier":
        assert current == case.right, "the recorded key is not back"
    elif fault in {"expired", "revoked"}:
        assert current not in {case.right, case.older}
    elif fault not in OF_CURRENT:
        assert current == case.right, "the good key was replaced"
    elif (fault, world) == ("shared", "nothing"):
        assert current != after[OTHER]
    elif fault != "drift" and (fault, world) != ("superseded", "nothing"):
        assert current not in {before.get(KEY), case.older}
    for date in (EXPIRES, UNTIL):
        if before.get(KEY) == current and before.get(date) and after.get(date):
            assert after[date] <= before[date], "a date was moved later"
    if fault != "invalid vendor value":
        assert after[STRIPE] == case.fields[STRIPE]
    if (fault, world) != ("shared", "nothing"):
        assert after[OTHER] == case.fields[OTHER]
    assert leaks(re.sub("sgfp1:[0-9a-f]{32}|[0-9a-f]{32}", "", site.output), sorted(site.keys)) == []


def assert_corrected(site: Site, fault: str, world: str, *, has_keys: bool) -> None:
    """Assert that the literal operator corrects a fault in a world."""
    case = make(site, fault, world)
    before = site.fields()
    if has_keys:
        site.machine.environ.update({name: text for name, text in before.items() if name.startswith("SESSION")})
    Operator(site).correct()
    judge(site, case, fault, world, before)
