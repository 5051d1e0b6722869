"""The operations log as commands find it: where it is, what it is called, and what it is worth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robodj_secretguard.checks import Check, Problem, Severity
from robodj_secretguard.cli.options import LogPlace, given, judged, log_place
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE
from robodj_secretguard.errors import FileError, NoLogError, UsageError
from robodj_secretguard.files import make_directory
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.operations_log import Log
from robodj_secretguard.lifecycle.standing import recorded_findings
from robodj_secretguard.report import finding, with_findings
from robodj_secretguard.sources import OPERATIONS_LOG
from robodj_secretguard.texts import PROGRAM, could_hold_key

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from robodj_secretguard.models import SecretSettings
    from robodj_secretguard.report import Report
    from robodj_secretguard.shapes import Record


def prepared(log: LogPlace) -> str:
    """Return the path of the operations log, with the directories made that nobody named.

    Raises:
        FileError: they cannot be made, or a key would become the name of a file.
    """
    if not os.path.lexists(log.path) and could_hold_key(os.path.basename(log.path)):
        msg = "its file name looks like a key; use another name"
        raise FileError(msg)
    try:
        for directory in log.makes:
            make_directory(directory, others=directory is not log.makes[-1])
    except OSError:
        msg = "its directory does not exist and cannot be made"
        raise FileError(msg) from None
    return log.path


def loaded(log: LogPlace) -> Log:
    """Return a log that there must be.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return operations_log.load(log.path)
    except FileError as error:
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
            after = f"; it continues after record {self.log.head.sequence}" if self.log.head else ""
            return f"no record{after}" if self.found else "none"
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


def evidence(arguments: argparse.Namespace, model: type[SecretSettings]) -> Evidence:
    """Return the operations log as it is.

    Args:
        arguments: those of the command.
        model: the settings model.
    """
    where = log_place(arguments, model)
    try:
        return Evidence(where, operations_log.load(where.path), found=True)
    except NoLogError:
        return Evidence(where, Log(), found=False)
    except FileError as error:
        return Evidence(where, Log(), found=True, unreadable=str(error))


def checked(arguments: argparse.Namespace, model: type[SecretSettings]) -> tuple[Report, Evidence]:
    """Return the check's report with what the operations log adds to it, and that log.

    Args:
        arguments: those of the command.
        model: the settings model.
    """
    recorded = evidence(arguments, model)
    report = with_recorded(arguments, model, judged(arguments, model), recorded.log.records)
    named = {"environment": OPERATIONS_LOG, "option": "--operations-log"}.get(recorded.place.named_by or "")
    if not recorded.found and named:
        message = f"{named} names a file that is not there."
        remedy = f"Set {named} to the operations log; leave it out only where the first record is still to come."
        source = "environment" if named == OPERATIONS_LOG else "none"
        policies = tuple(model.secret_policies.values())
        problem = Problem(message, remedy, source, Severity.WARNING)
        report = with_findings(report, [finding(policies, Check.SETTING, problem)], policies)
    return report, recorded


def with_recorded(
    arguments: argparse.Namespace, model: type[SecretSettings], report: Report, records: Sequence[Record]
) -> Report:
    """Return a report with what the records of an operations log add to it.

    Args:
        arguments: those of the command.
        model: the settings model.
        report: the check's report.
        records: what is recorded.
    """
    policies = tuple(model.secret_policies.values())
    options = given(arguments, "operations_log", "config_dir", "model")
    return with_findings(report, recorded_findings(report, records, policies, options), policies)
