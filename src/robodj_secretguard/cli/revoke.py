"""`revoke`: no guarded service starts on a key any more (policy section 4)."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.checks import Check
from robodj_secretguard.cli.options import (
    LogPlace,
    add_command,
    directory_of,
    given,
    judged,
    model_line,
    model_of,
    model_used,
    policy_of,
)
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE, Answer, document
from robodj_secretguard.cli.recorded import evidence, prepared
from robodj_secretguard.errors import FileError, UsageError
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle.revocation import add_to_list, draft_revocation, known_of, steps
from robodj_secretguard.lifecycle.rotation import before_key, boxes, recorded_keys, revoked
from robodj_secretguard.material import FORM, is_fingerprint
from robodj_secretguard.models import setup_of
from robodj_secretguard.sources import (
    MAX_LIST_BYTES,
    REVOKED_FILE,
    REVOKED_FINGERPRINTS,
    iso_utc,
    place,
    revocation_list,
    within_config_dir,
)
from robodj_secretguard.textfile import look
from robodj_secretguard.texts import PROGRAM

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.models import SecretSettings
    from robodj_secretguard.report import Finding, Report
    from robodj_secretguard.shapes import Record

_WHERE: Final = (
    "which holds where it is: commit it and deliver it with every service, or add the fingerprint to"
    f" {REVOKED_FINGERPRINTS}."
)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "revoke",
        _revoke,
        required=("--reason",),
        options=(
            *("--environment", "--operator", "--ticket"),
            *("--operations-log", "--config-dir", "--model", "--format"),
        ),
        description="Revoke a key, so that no guarded service starts on it. It is put on the revocation list first,"
        " then recorded.",
        epilog="exit status: 0 revoked, 1 without --yes: nothing was revoked, 2 wrong usage, or it could not be revoked"
        " or recorded",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the secret whose key, as delivered here, is revoked")
    parser.add_argument("--fingerprint", metavar="SGFP1", help="the key's fingerprint, instead of NAME")
    parser.add_argument(
        "--last-recorded",
        action="store_true",
        help="revoke the key of NAME that was recorded before the one that is delivered here, in --environment",
    )
    parser.add_argument("--yes", action="store_true", help="do it")


def _revoke(arguments: argparse.Namespace) -> Answer:
    model = model_of(arguments)
    report = judged(arguments, model)
    recorded = evidence(arguments, model)  # a revocation does not wait for a log that cannot be read
    records = recorded.log.records
    key = draft_revocation(
        *_meant(arguments, model, report, records),
        report,
        records,
        model.secret_policies.values(),
        operator=arguments.operator,
        ticket=arguments.ticket,
        reason=arguments.reason,
    )
    known = known_of(key, report, records)
    if not arguments.yes:
        told = "\n".join(filter(None, (recorded.told, f"{PROGRAM}: nothing was revoked: pass --yes to do it")))
        text = "\n".join([f"To be revoked: {_described(key, known)}.", *_earlier_line(arguments, key, records)])
        return Answer(EXIT_ALERTS, _shown(arguments, known, text, revoked=False, recorded=False, steps=[]), told)
    directory, named_by = directory_of(arguments, model)
    the_list = f"the revocation list {place(REVOKED_FILE, named_by)}"
    list_file = look(os.path.join(directory, within_config_dir(REVOKED_FILE)), most=MAX_LIST_BYTES)
    if setup_of(model).require_revocation_list and revocation_list([list_file]).absent:
        msg = (
            f"nothing was revoked: {the_list} is missing or empty, and the model requires one, so nothing starts:"
            " restore it from version control, then run this again; a new project begins one with a comment"
        )
        raise UsageError(msg)
    is_new = _listed(directory, the_list, key)
    told, events = recorded.told, []
    if key.fingerprint not in revoked(records):
        told = ""
        try:
            events = _record(recorded.place, key)
        except (FileError, KeyboardInterrupt) as error:
            why = str(error) or "interrupted"
            told = f"{PROGRAM}: the key IS revoked, but that was not recorded: {recorded.place.name}: {why}"
        try:  # once more: git may have replaced the list while the log was waited for
            is_new |= add_to_list(directory, key, now=datetime.now(UTC))
        except FileError as error:
            why = f"the key was revoked, but {the_list} cannot be read any more: {error}; {_instead(key)}"
            told = "\n".join(filter(None, (told, f"{PROGRAM}: {why}")))
    options, log_options = given(arguments, "config_dir", "model"), given(arguments, "operations_log")
    done = steps(key, report, records, options=options, log_options=log_options)
    lines = [f"Revoked{'' if is_new else ' already'}: {_described(key, known)}.", f"It is on {the_list}, {_WHERE}"]
    # What else is wrong with the list: it may hold nothing back.
    lines += [finding.line for finding in judged(arguments, model).findings if _is_of_the_list(finding)]
    text = "\n".join([*lines, *boxes(done, numbered=True)])
    listed = [item.as_dict() for item in done]
    result = _shown(arguments, known, text, revoked=True, recorded=not told, steps=listed)
    return Answer(EXIT_USAGE if told else EXIT_CLEAN, result, told, events=events)


def _listed(directory: str, the_list: str, key: Record) -> bool:
    """Add a key to the revocation list, and return whether it was not there.

    Raises:
        UsageError: it could not be added.
    """
    try:
        return add_to_list(directory, key, now=datetime.now(UTC))
    except FileError as error:
        msg = f"nothing was revoked: {the_list}: {error}; {_instead(key)}"
        raise UsageError(msg) from None


def _instead(key: Record) -> str:
    return f"until that is fixed, add {key.fingerprint} to {REVOKED_FINGERPRINTS}"


def _is_of_the_list(finding: Finding) -> bool:
    return finding.check is Check.REVOCATION_LIST


def _shown(arguments: argparse.Namespace, known: Mapping[str, Any], text: str, *, recorded: bool, **fields: Any) -> str:
    if arguments.format == "text":
        return f"{text}\n{model_line(arguments)}"
    return document(ok=recorded, recorded=recorded, model=model_used(arguments), key=known, **fields)


def _described(key: Record, known: Mapping[str, Any]) -> str:
    of_whom = ", ".join(filter(None, (key.subject, key.environment)))
    since = f"recorded {known['recorded_at']}" if known["recorded_at"] else "not recorded as rotated"
    delivered_as = ", ".join(known["delivered_as"])
    here = f"the key that is delivered here as {delivered_as}" if delivered_as else "not delivered here"
    return f"{key.fingerprint} ({of_whom}; {since}); it is {here}"


def _earlier_line(arguments: argparse.Namespace, key: Record, records: Sequence[Record]) -> list[str]:
    """Name the key that was recorded before the one in force, where the latter is meant by its name."""
    if arguments.name is None or arguments.last_recorded or key.secret is None or key.fingerprint is None:
        return []
    with contextlib.suppress(UsageError):
        if earlier := before_key(key.fingerprint, key.secret, records):
            which = f"{earlier.fingerprint} ({earlier.environment}; recorded {iso_utc(earlier.recorded_at)})"
            return [f"An earlier key is recorded: {which}. To revoke that one instead, pass --last-recorded."]
    return []


def _record(log_place: LogPlace, key: Record) -> list[dict[str, Any]]:
    """Record the revocation, and return what was recorded.

    Raises:
        FileError: it was not.
    """
    with operations_log.opened(prepared(log_place)) as log:
        if key.fingerprint in revoked(log.log.records):
            return []  # somebody else has just recorded it
        return [record.as_dict() for record in log.append([key])]


def _meant(
    arguments: argparse.Namespace, model: type[SecretSettings], report: Report, records: Sequence[Record]
) -> tuple[str, str | None]:
    """Return the fingerprint that is meant, and the name of the secret where one was given."""
    if arguments.last_recorded and (arguments.name is None or arguments.fingerprint is not None):
        msg = "--last-recorded goes with NAME, and not with --fingerprint"
        raise UsageError(msg)
    if arguments.environment is not None and not arguments.last_recorded:
        msg = "--environment goes with --last-recorded"
        raise UsageError(msg)
    if (arguments.name is None) == (arguments.fingerprint is None):
        msg = "name either a secret, whose key as it is delivered here is meant, or a --fingerprint"
        raise UsageError(msg)
    if arguments.fingerprint is not None:
        if not is_fingerprint(arguments.fingerprint):
            msg = f"--fingerprint must be {FORM}"
            raise UsageError(msg)
        return arguments.fingerprint, None
    name = policy_of(model, arguments.name).name
    fingerprint = next((status.fingerprint for status in report.secrets if status.secret == name), None)
    if fingerprint is None:
        msg = f"no sound key of {name} is delivered here: pass --fingerprint ({recorded_keys(records, name)})"
        raise UsageError(msg)
    if not arguments.last_recorded:
        return fingerprint, name
    earlier = before_key(fingerprint, name, records, arguments.environment)
    if earlier is None or earlier.fingerprint is None:
        msg = f"no key of {name} is recorded before the one that is delivered here ({recorded_keys(records, name)})"
        raise UsageError(msg)
    return earlier.fingerprint, name
