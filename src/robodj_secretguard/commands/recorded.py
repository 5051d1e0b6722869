"""The operations log as commands find it: where it is, what it is called, and what it is worth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robodj_secretguard.commands.answer import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, UsageError
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.files import make_directory
from robodj_secretguard.lifecycle.operations_log import Log, LogError, NoLogError
from robodj_secretguard.program import PROGRAM
from robodj_secretguard.sources import (
    OPERATIONS_FILE,
    OPERATIONS_LOG,
    Environment,
    config_directory,
    place,
    within_config_dir,
)

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the operations log is.

    Attributes:
        path: its path.
        name: what it is called, without a path that somebody gave.
        is_default: whether nobody named it: its directory is made.
        config_dir: the config directory that is made with it; `None` where somebody named that.
    """

    path: str
    name: str
    is_default: bool = False
    config_dir: str | None = None


def log_place(arguments: argparse.Namespace) -> LogPlace:
    """Return where the operations log is.

    Args:
        arguments: those of the command.
    """
    environment = Environment()
    if arguments.operations_log is not None:
        return LogPlace(arguments.operations_log, "the operations log that --operations-log names")
    if variable := environment.get(OPERATIONS_LOG):
        return LogPlace(variable.get_secret_value(), f"the operations log that {OPERATIONS_LOG} names")
    directory, named_by = config_directory(environment, arguments.config_dir)
    path = os.path.join(directory, within_config_dir(OPERATIONS_FILE))
    made = None if named_by else directory
    return LogPlace(path, f"the operations log {place(OPERATIONS_FILE, named_by)}", is_default=True, config_dir=made)


def prepared(log: LogPlace) -> str:
    """Return the path of the operations log, after making its directory where nobody named the log.

    A config directory that somebody named is not made.

    Raises:
        LogError: the directory is not there, or cannot be made.
    """
    if log.is_default:
        try:
            if log.config_dir is not None:
                make_directory(log.config_dir, others=True)
            make_directory(os.path.dirname(log.path))
        except OSError:
            msg = "its directory is not there, and cannot be made"
            raise LogError(msg) from None
    return log.path


def loaded(log: LogPlace) -> Log:
    """Return a log that there must be.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return operations_log.load(log.path)
    except LogError as error:
        msg = f"{log.name}: {error}"
        raise UsageError(msg) from None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The operations log as it is found by a command that does its work without one too.

    Attributes:
        place: where it is.
        log: what is in it; nothing where it is not there or cannot be read.
        found: whether there is one.
        unreadable: why it cannot be read; `None` where it can, or where there is none.
    """

    place: LogPlace
    log: Log
    found: bool
    unreadable: str | None = None

    @property
    def defects(self) -> tuple[str, ...]:
        """All that is wrong with it."""
        return (self.unreadable,) if self.unreadable else self.log.defects

    @property
    def worth(self) -> str:
        """What it is worth, in words."""
        if self.defects:
            return f"cannot be relied on: {self.defects[0]}"
        if not self.log.last:
            return "no record" if self.found else "none"
        return f"verifies, last record {self.log.last.hash}"

    @property
    def told(self) -> str:
        """What an operator is told of it; nothing where it is in order."""
        return f"{PROGRAM}: {self.place.name} {self.worth}" if self.defects else ""

    @property
    def status(self) -> int:
        """The exit status that it calls for."""
        if self.unreadable:
            return EXIT_USAGE
        return EXIT_ALERTS if self.defects else EXIT_CLEAN

    def as_dict(self) -> dict[str, Any]:
        """Return what it is worth in the plain types of JSON."""
        last = self.log.last
        return {"found": self.found, "last_hash": last and last.hash, "defects": list(self.defects)}


def evidence(arguments: argparse.Namespace) -> Evidence:
    """Return the operations log as it is.

    Args:
        arguments: those of the command.
    """
    where = log_place(arguments)
    try:
        return Evidence(where, operations_log.load(where.path), found=True)
    except NoLogError:
        return Evidence(where, Log(), found=False)
    except LogError as error:
        return Evidence(where, Log(), found=True, unreadable=str(error))
