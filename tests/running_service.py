"""A process whose secrets come from a directory, which it reads whenever the test says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, Ran, process_environment
from detector import leaks
from processes import checks
from publications import UNTIL, Files, Set, first, staged, text_of, volume
from rings import SLOTS

from robodj_secretguard import Report, RuntimeSecrets, Secret, SecretSettings
from robodj_secretguard.running.refresh import Refresh
from robodj_secretguard.running.store import forget_stores
from robodj_secretguard.settings import store_of


@dataclass
class Service:
    """A process that reads a directory whenever the test says so.

    Attributes:
        files: the set that was published last, and passed.
        model: the settings model.
        environ: further variables of the process.
        events: the kind and the report of each event.
        changed: the names of the secrets whose functions were called.
        lines: what was written until the last call of `said`.
    """

    directory: Path
    capture: pytest.CaptureFixture[str]
    files: Set = field(default_factory=lambda: staged(first()), repr=False)
    model: type[SecretSettings] = RuntimeSecrets
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    events: list[tuple[str, Report]] = field(default_factory=list)
    changed: Queue[str] = field(default_factory=Queue)
    lines: str = ""

    def __post_init__(self) -> None:
        volume(self.directory, self.files)
        self.secrets = self.started()
        self.store = store_of(self.secrets)
        self.secret: Secret = next(iter(self.store.secrets.values()))
        self.follow()
        for secret in self.store.secrets.values():
            secret.on_change(self.note)

    def note(self, secret: Secret) -> None:
        """Note the name of a changed secret."""
        self.changed.put(secret.name)

    def follow(self) -> None:
        """Begin to send events and lines, as `guard()` does."""
        self.refresh.follow_directory(None, lambda kind, report, _: self.events.append((kind, report)), None)

    def started(self) -> SecretSettings:
        """Return the secrets of a process that starts now."""
        forget_stores()
        with process_environment(self.environ | {"ROBODJ_SECRETS_DIR": str(self.directory)}):
            return self.model()

    @property
    def refresh(self) -> Refresh:
        """What reads the directory."""
        reader = self.store.reader
        assert isinstance(reader, Refresh)
        return reader

    def read(self, files: Files | None = None) -> Report:
        """Publish a set, and read it."""
        if files is not None:
            volume(self.directory, files)
        with process_environment(self.environ):
            return self.secrets.refresh()

    def use(self, files: Set) -> Set:
        """Publish a set that passes, and read it."""
        report = self.read(files)
        assert report.ok, report.alerts
        self.files = files
        return files

    def said(self) -> list[str]:
        """Return the check of each finding that was written since the last call, and assert that no key was."""
        ran = Ran(0, *self.capture.readouterr())
        self.lines = ran.out + ran.err
        keys = [text for name, text in self.files.items() if name != UNTIL and isinstance(text, str)]
        assert leaks(self.lines, keys) == []
        return checks(ran)

    @property
    def notices(self) -> list[str]:
        """The notices among the lines of the last call of `said`."""
        return [line for line in self.lines.splitlines() if line.startswith("NOTICE: ")]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events."""
        return [kind for kind, _ in self.events]

    def value(self, name: str) -> str:
        """Return the value of a secret in use."""
        return self.store.secrets[name].get_secret_value()

    def changes(self, number: int) -> set[str]:
        """Return the names of so many changed secrets, whose functions another thread calls."""
        return {self.changed.get(timeout=TIMEOUT) for _ in range(number)}


def slots(secret: Secret) -> dict[str, str]:
    """Return the fingerprints of the accepted keys, by their roles."""
    return {key.role: f"sgfp1:{key.kid}" for key in secret.accepted()}


def slots_of(files: Files) -> dict[str, str]:
    """Return the fingerprints of a set's keys, by their roles."""
    return {role: fingerprint_of(text_of(files, name)) for role, name in SLOTS.items() if name in files}


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that has no event."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
