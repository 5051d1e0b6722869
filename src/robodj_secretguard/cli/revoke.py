"""`revoke`: stop guarded services from starting with a key (policy section 4)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from robodj_secretguard.cli.log import find_log, recorded_line
from robodj_secretguard.cli.options import (
    Commands,
    Request,
    add_command,
    directory_of,
    given,
    judged,
    model_of,
    policy_of,
)
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, MODEL, Result, fail, finding_text
from robodj_secretguard.errors import FileError, UsageError
from robodj_secretguard.lifecycle.records import Record
from robodj_secretguard.lifecycle.revocation import (
    current_key,
    draft_revocation,
    earlier_key,
    known_of,
    revoke,
    steps_after,
)
from robodj_secretguard.lifecycle.rotation import before_key
from robodj_secretguard.secret.material import FORM, is_fingerprint
from robodj_secretguard.secret.texts import COMMAND_INDENT, PROGRAM
from robodj_secretguard.startup.readings import REVOKED_FILE, shown_path
from robodj_secretguard.startup.report import Report
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.settings import SecretSettings
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS, iso_utc


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "revoke",
        _revoke_key,
        required=("--reason",),
        options=(
            "--environment",
            "--operator",
            "--ticket",
            "--operations-log",
            "--config-dir",
            "--model",
            "--format",
        ),
        own={
            "name": {"nargs": "?", "metavar": "NAME", "help": "the secret whose current key, as set here, is revoked"},
            "--fingerprint": {"metavar": "SGFP1", "help": "the fingerprint of the key, instead of NAME"},
            "--last-recorded": {
                "action": "store_true",
                "help": "revoke the key of NAME that was recorded before the current one, in --environment",
            },
            "--yes": {"action": "store_true", "help": "revoke the key (without --yes, only print which key that is)"},
        },
        description="Revoke a key. Guarded services refuse to start on it. The key is added to the revocation list, and"
        " the revocation is recorded in the operations log.",
        examples=("revoke secret.key --reason 'posted in a chat'", "revoke secret.key --reason 'found by scan' --yes"),
        statuses={"0": "revoked", "1": "not revoked: --yes is missing", "2": "usage error, or not revoked or recorded"},
    )


def _revoke_key(
    request: Request,
    *,
    reason: str,
    environment: str | None,
    operator: str | None,
    ticket: str | None,
    name: str | None,
    fingerprint: str | None,
    last_recorded: bool,
    yes: bool,
) -> Result:
    model = model_of(request)
    report = judged(request, model)
    log = find_log(request, model).read_if_any()  # an unreadable log does not prevent a revocation
    meant = _meant(
        model,
        report,
        log.records,
        name=name,
        fingerprint=fingerprint,
        environment=environment,
        last_recorded=last_recorded,
    )
    key = draft_revocation(
        *meant,
        report,
        log.records,
        model.secret_policies.values(),
        operator=operator,
        ticket=ticket,
        reason=reason,
    )
    known = known_of(key, report, log.records)
    if not yes:
        earlier = [] if name is None or last_recorded else _earlier_line(meant[0], key.secret, log.records)
        return Result(
            EXIT_ALERTS,
            [f"Would revoke: {_description(key, known)}", *earlier, MODEL],
            lambda: _document(known, revoked=False, recorded=False),
            [*log.complaint, f"{PROGRAM}: nothing was revoked; to revoke the key, add --yes"],
        )
    directory, named_by = directory_of(request, model)
    name_of_list = f"the revocation list {shown_path(REVOKED_FILE, named_by)}"
    try:
        is_new, appended, problems = revoke(key, log, directory, model=model, name_of_list=name_of_list)
    except FileError as error:
        fail(f"nothing was revoked: {name_of_list}: {error}")
    steps = steps_after(
        key,
        report,
        log.records,
        options=given(request, "config_dir", "model"),
        log_options=given(request, "operations_log"),
    )
    lines = [
        f"{'Revoked' if is_new else 'Already revoked'}: {_description(key, known)}",
        *map(recorded_line, appended),
        (
            f"The fingerprint is on {name_of_list}. Deploy this list with every service, or add the fingerprint to"
            f" {REVOKED_FINGERPRINTS} there."
        ),
        # With other faults in the list, the revocation may not be effective.
        *[
            finding_text(finding)
            for finding in judged(request, model).findings
            if finding.check is Check.REVOCATION_LIST
        ],
        "",
        "What to do next:",
        *_task_list(steps),
        "",
        MODEL,
    ]
    events = [record.as_dict() for record in appended]
    return Result(
        EXIT_USAGE if problems else EXIT_CLEAN,
        lines,
        lambda: _document(known, revoked=True, recorded=not problems, steps=steps, records=events),
        [f"{PROGRAM}: {problem}" for problem in problems],
        events=events,
    )


def _task_list(steps: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield steps as a Markdown task list, with the commands below."""
    for number, step in enumerate(steps, start=1):
        yield f"{number}. [{'x' if step['done'] else ' '}] {step['text']}"
        if step["command"]:
            yield f"{COMMAND_INDENT}  {step['command']}"


def _document(
    known: dict[str, Any],
    *,
    revoked: bool,
    recorded: bool,
    steps: Sequence[dict[str, Any]] = (),
    records: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "kind": "revocation",
        "revoked": revoked,
        "recorded": recorded,
        "key": known,
        "steps": [*steps],
        "records": [*records],
    }


def _description(key: Record, known: dict[str, Any]) -> str:
    of_whom = ", ".join(filter(None, (key.subject, key.environment)))
    since = f"recorded at {known['recorded_at']}" if known["recorded_at"] else "no rotation recorded"
    here = ", ".join(
        each["secret"] if each["slot"] == "current" else f"{each['secret']} ({each['slot']})"
        for each in known["delivered_as"]
    )
    use = f"This key is in use here as {here}: no service starts with it." if here else "This key is not set here."
    return f"{key.fingerprint} ({of_whom}; {since}). {use}"


def _earlier_line(fingerprint: str, secret: str | None, records: Sequence[Record]) -> list[str]:
    """Return a line about the key that was recorded before the current one."""
    with contextlib.suppress(UsageError):
        if earlier := before_key(fingerprint, secret, records):
            return [
                (
                    f"An earlier key is recorded: {earlier.fingerprint} ({earlier.environment}; recorded at"
                    f" {iso_utc(earlier.recorded_at)}). To revoke that key instead, add --last-recorded."
                )
            ]
    return []


def _meant(
    model: type[SecretSettings],
    report: Report,
    records: Sequence[Record],
    *,
    name: str | None,
    fingerprint: str | None,
    environment: str | None,
    last_recorded: bool,
) -> tuple[str, str | None]:
    """Return the fingerprint of the key to revoke, and the name of its secret if NAME was passed."""
    if last_recorded and (name is None or fingerprint is not None):
        fail("--last-recorded needs NAME, without --fingerprint")
    if environment is not None and not last_recorded:
        fail("--environment works only with --last-recorded; add --last-recorded, or leave out --environment")
    if (name is None) == (fingerprint is None):
        fail("revoke needs either NAME, for the current key of a secret, or --fingerprint SGFP1")
    if name is not None:
        policy = policy_of(model, name)
        if last_recorded:
            return earlier_key(policy, report, records, environment), policy.name
        return current_key(policy, report, records), policy.name
    if fingerprint is None or not is_fingerprint(fingerprint):
        fail(f"--fingerprint: invalid fingerprint; use {FORM}")
    return fingerprint, None
