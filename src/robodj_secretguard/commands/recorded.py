"""The operations log as commands find it: where it is, what it is called, and what it is worth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robodj_secretguard.commands.answer import UsageError
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.operations_log import Log, LogError, NoLogError
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

    from robodj_secretguard.lifecycle.records import Record


def path_of(arguments: argparse.Namespace) -> str:
    """Return where the operations log is.

    Args:
        arguments: those of the command.
    """
    environment = Environment()
    if arguments.operations_log is not None:
        path: str = arguments.operations_log
        return path
    if variable := environment.get(OPERATIONS_LOG):
        return variable.get_secret_value()
    directory, _ = config_directory(environment, arguments.config_dir)
    return os.path.join(directory, within_config_dir(OPERATIONS_FILE))


def the_log(arguments: argparse.Namespace) -> str:
    """Return what the operations log is called, without showing a path that somebody gave.

    Args:
        arguments: those of the command.
    """
    environment = Environment()
    if arguments.operations_log is not None:
        return "the operations log that --operations-log names"
    if environment.is_set(OPERATIONS_LOG):
        return f"the operations log that {OPERATIONS_LOG} names"
    _, named_by = config_directory(environment, arguments.config_dir)
    return f"the operations log {place(OPERATIONS_FILE, named_by)}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The operations log as it is found by a command that does its work without one too.

    Attributes:
        log: what is in it; nothing where it cannot be read.
        worth: what it is worth: that it verifies, that there is none, or what is wrong with it.
        trouble: whether something is wrong with it.
    """

    log: Log
    worth: str
    trouble: bool = False

    @property
    def records(self) -> list[Record]:
        """What is recorded."""
        return [entry.record for entry in self.log.entries]


def evidence(arguments: argparse.Namespace) -> Evidence:
    """Return the operations log as it is.

    Args:
        arguments: those of the command.
    """
    try:
        log = operations_log.load(path_of(arguments))
    except NoLogError:
        return Evidence(Log(), "none")
    except LogError as error:
        return Evidence(Log(), str(error), trouble=True)
    if log.defects:
        return Evidence(log, f"it does not verify ({log.defects[0]})", trouble=True)
    return Evidence(log, f"verifies, last record {log.last.hash}" if log.last else "no record")


def loaded(path: str, what: str) -> Log:
    """Return a log that there must be.

    Args:
        path: where it is.
        what: what it is called.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return operations_log.load(path)
    except LogError as error:
        msg = f"{what}: {error}"
        raise UsageError(msg) from None


def prepared_path(arguments: argparse.Namespace) -> str:
    """Return where the operations log is, with the `logs` directory made where the config directory has none.

    Raises:
        LogError: it cannot be made.
    """
    path = path_of(arguments)
    if arguments.operations_log is None and not Environment().is_set(OPERATIONS_LOG):
        try:
            os.mkdir(os.path.dirname(path), 0o700)
        except FileExistsError:
            pass
        except OSError:
            msg = "its directory is not there, and cannot be made"
            raise LogError(msg) from None
    return path
