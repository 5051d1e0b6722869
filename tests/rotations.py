"""A secret's keys after some steps of a rotation, and an operator with a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from command_line import OTHER, clock, fingerprint_of, rotated
from conftest import NOW, good_keys, put

from robodj_secretguard import Material, RuntimeSecrets, SecretPolicy, SecretSettings, check
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.lifecycle import steps
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.lifecycle.records import LastStep, Record, StepName, Who
from robodj_secretguard.lifecycle.rotator import Rotator, StepResult, Wish
from robodj_secretguard.lifecycle.steps import stored_keys
from robodj_secretguard.managers.manager import ABSENT, AbsentError, Store, Stored, sealed
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, iso_utc

Fields = dict[str, Any]
Edit = Callable[[Fields], Fields]
Names = tuple[StepName, ...]

DATA = RuntimeSecrets.secret_policies["secret_key"]
"""Stored data is encrypted with it."""
POLICY = DATA._replace(stores_data=False)
SINGLE = POLICY._replace(overlap=timedelta(0))
VENDOR = SecretPolicy(
    name="vendor.password",
    variable="VENDOR_PASSWORD",
    material=Material.opaque(),
    issuer="https://vendor.example",
    owner="A",
    cadence=timedelta(days=90),
    warn_before=timedelta(days=7),
    overlap=timedelta(days=7),
)
NEXT, PREVIOUS, UNTIL = POLICY.slot_variables
EXPIRES = POLICY.expiry_variable
OVERLAP = POLICY.overlap
MICROSECOND, MINUTE, HOUR, DAY = timedelta(microseconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OTHERS = {"OTHER": "text", "NUMBER": 5, "NESTED": {"A": [1.5, None]}}
SOURCE = "vault:secret/robodj"
EXPIRY, END = iso_utc(NOW + POLICY.cadence), iso_utc(NOW + OVERLAP)
STAGED: Names = ("stage",)
PROMOTED: Names = ("stage", "promote")
AGAIN: Names = ("stage", "promote", "stage")
BACK: Names = ("stage", "promote", "back")
RETIRED: Names = ("stage", "promote", "retire")


def take(step: StepName, fields: Fields, now: datetime = NOW) -> Fields:
    """Return the fields of the new version."""
    keys = stored_keys(POLICY, fields)
    leaked = keys.slots.current if step == "replace" else None
    changes = steps.changes_of(step, POLICY, fields, keys, now)
    new = steps.with_changes(fields, {**changes, **steps.revoked_entry({**fields, **changes}, leaked)})
    environ = {name: value for name, value in new.items() if isinstance(value, str)}
    status = check(environ=environ, now=now, require_env_only=True).secrets[0]
    who = Who(environment="prod", operator="Ada", reason="a test")
    return steps.with_step(new, POLICY.name, steps.step_of(step, keys, status, now, who, leaked=leaked))


def unedited(_: Fields) -> Fields:
    """Change no field."""
    return {}


def rotation(names: Names, edit: Edit = unedited, start: Edit = unedited) -> Fields:
    """Return the fields after some steps, a day apart; the last one is at `NOW`. Then somebody has edited them."""
    fields = {**good_keys(), **OTHERS, **start({})}
    for number, each in enumerate(names, start=1 - len(names)):
        fields = take(each, fields, NOW + number * DAY)
    return {**fields, **edit(fields)}


def records_of(fields: Fields) -> list[Record]:
    """Return the records of the last step."""
    return steps.last_steps(fields)[POLICY.name].records


def of_other(fields: Fields) -> LastStep:
    """Return the last step as one of the other secret."""
    step = steps.last_steps(fields)[POLICY.name]
    return replace(step, records=[replace(step.last, secret=OTHER)])


def is_revoked(variable: str, end: str = "", **others: str) -> Edit:
    """Return an edit that revokes a key, and changes other fields."""
    return lambda fields: {REVOKED_FINGERPRINTS: f"{fingerprint_of(fields[variable])}{end}", **others}


def edited(**fields: str) -> Edit:
    """Return an edit that changes fields."""
    return lambda _: fields


class Memory(Store):
    """A store that keeps its versions.

    Attributes:
        fields: the fields of the current version; none where nothing is there.
        kept: the fields of each version that was written, by its name.
        clock: its time; `None` where it tells none.
        error: what a write raises, before it changes anything.
        writes: how many versions were written.
    """

    purges = True

    def __init__(self) -> None:
        super().__init__("memory:robodj")
        self.fields: Fields = {**good_keys(), **OTHERS}
        self.kept: dict[str, Fields] = {}
        self.clock: datetime | None = None
        self.error: ManagerError | None = None
        self.writes = 0

    def current(self) -> Stored:
        if not self.fields:
            raise AbsentError("does not exist", "correct it")
        self.kept[str(self.writes)] = self.fields
        return Stored(sealed(self.fields), str(self.writes), read_at=self.clock)

    def write(self, fields: SealedStr, current: Stored) -> None:
        if self.error:
            raise self.error
        assert current.version == str(self.writes) or current is ABSENT
        self.fields = Stored(fields, "").opened()
        self.writes += 1
        self.kept[str(self.writes)] = self.fields

    def versions(self) -> Sequence[str]:
        return [*reversed(self.kept)]

    def version(self, name: str) -> Stored:
        return Stored(sealed(self.kept[name]), name)

    def purge(self, is_ended: Callable[[str], bool]) -> None:
        for name, fields in self.kept.items():
            if name != str(self.writes):
                self.kept[name] = {each: text for each, text in fields.items() if not is_ended(str(text))}

    def keeps(self, key: str) -> bool:
        """Check whether a version has a key."""
        return any(key in fields.values() for fields in self.kept.values())


class Desk:
    """An operator with a store and an operations log."""

    def __init__(self, log: Path) -> None:
        self.store = Memory()
        self.log = OperationsLog(str(log))
        self.config = log.parent
        self.model: type[SecretSettings] = RuntimeSecrets

    def rotator(self, environment: str | None = "prod", reason: str | None = "leaked") -> Rotator:
        """Return what takes the steps."""
        return Rotator(
            self.model,
            self.store,
            Who(environment=environment, operator="Ada", reason=reason),
            config_dir=str(self.config),
            options=("--to", self.store.name),
        )

    def take(
        self,
        step: StepName | None,
        now: datetime = NOW,
        *,
        environment: str | None = "prod",
        policy: SecretPolicy = POLICY,
        reason: str | None = "leaked",
        recorded: bool = True,
        **how: Any,
    ) -> StepResult:
        """Take a step at a time, and record it or not."""
        with clock(now):
            wish = Wish(step=step, **how)
            return self.rotator(environment, reason).take([policy], wish, log=self.log if recorded else None)

    def put(
        self, *policies: SecretPolicy, now: datetime = NOW, values: Mapping[str, str] | None = None, **how: Any
    ) -> StepResult:
        """Store new values."""
        sealed_values = {name: SealedStr(text) for name, text in (values or {}).items()}
        with clock(now):
            return self.rotator().take(policies, Wish(step="put", values=sealed_values, **how), log=self.log)

    def restore(self, key: str, now: datetime = NOW, *, policy: SecretPolicy = POLICY, **how: Any) -> StepResult:
        """Put a key back, by its text."""
        with clock(now):
            wish = Wish(step="restore", restored=fingerprint_of(key), **how)
            return self.rotator().take([policy], wish, log=self.log)

    def note(self, key: str, at: datetime = NOW, **fields: Any) -> None:
        """Add a record of a key to the log."""
        with clock(at), self.log.locked():
            self.log.append([rotated(at, fingerprint_of(key), **fields)])

    def revoke(self, variable: str, where: str) -> None:
        """Revoke a key of the manager."""
        key = self.store.fields[variable]
        if where == "the manager":
            entries = self.store.fields.get(REVOKED_FINGERPRINTS, "")
            self.store.fields |= {REVOKED_FINGERPRINTS: f"{entries},{fingerprint_of(key)}"}
        elif where == "this machine":
            put(self.config / "revoked.fingerprints", fingerprint_of(key), 0o644)
        else:
            self.note(key, event="revoked")
