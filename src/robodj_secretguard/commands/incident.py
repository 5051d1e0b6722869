"""`incident`: the report of an incident (policy section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robodj_secretguard.commands.answer import (
    EXIT_CLEAN,
    Answer,
    UsageError,
    add_command,
    add_group,
    document,
    judged,
    model_of,
    span_of,
)
from robodj_secretguard.commands.recorded import evidence
from robodj_secretguard.lifecycle.incident import Incident

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    group = add_group(commands, "incident", "Report an incident")
    add_command(
        group,
        "report",
        _report,
        options=("--since", "--until", "--operations-log", "--require-env-only", "--config-dir", "--model", "--format"),
        description="Print a Markdown document on the five steps of the incident response, filled from the operations"
        " log and a check of this moment.",
        epilog="exit status: 0 printed, 2 wrong usage",
    )


def _report(arguments: argparse.Namespace) -> Answer:
    if arguments.since is None:
        msg = "incident report needs --since"
        raise UsageError(msg)
    since, until = span_of(arguments)
    report = judged(arguments, model_of(arguments))
    if since > report.checked_at:
        msg = "--since must not lie ahead"
        raise UsageError(msg)
    recorded = evidence(arguments)
    entries = [entry for entry in recorded.log.entries if since <= entry.record.recorded_at < until]
    incident = Incident(since, min(until, report.checked_at), entries, recorded.worth, report)
    return Answer(EXIT_CLEAN, document(**incident.as_dict()) if arguments.format == "json" else incident.markdown())
