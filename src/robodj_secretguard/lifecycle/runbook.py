"""The plan of a rotation: in three stages with an overlap, or at once (policy sections 1 and 3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle.records import Record
from robodj_secretguard.lifecycle.rotation import (
    Stage,
    recorded_environments,
    revoked,
    rotations,
    slots_of,
    stage_of,
)
from robodj_secretguard.secret.material import PREFIX
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import MANAGER, command, count
from robodj_secretguard.startup.report import Report
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import iso_utc

PLACEHOLDERS: Final = ("ENVIRONMENT", "YOUR-NAME", MANAGER, "WHY")
"""The words in the commands of a plan that the operator replaces."""

_TEXTS: Final = {
    "record old": "Record the current key, where {variable} is set. Only a recorded key can be revoked by name:",
    "old is recorded": "The {which} key is already recorded ({old}, since {since}). Continue.",
    "old is refused": "The current key fails the check, so it cannot be recorded. Go to step 2.",
    "generate": "Generate a new key for {environment} alone, and store it in the secret manager as {stored_as}. Skip"
    " this if the manager already has a newer key:",
    "issue": "{issue} for {environment} alone, and store it in the secret manager as {stored_as}. Skip this if the"
    " manager already has a newer one.",
    "set next": "Set {next} on every instance to this key from the secret manager. {variable} stays as it is.",
    "promote": "Promote the next key, only when every instance has it{after}.{again} {change}, with the values from"
    " before it:",
    "promote at once": "Promote the next key, at once{after}.{again} {change}, with the values from before it:",
    "set current": "Set {variable} in {environment} to the new key from the secret manager.{unset_slots}",
    "set marker": "Set the expiry marker ({cadence} from now), here and in the settings of the deployment:",
    "check": "Run the check in {environment}:",
    "restart one by one": "Restart the instances one after another. Make sure that each startup check passes.",
    "restart": "Restart the services. Make sure that each startup check passes.",
    "test": "Test the functions that depend on authentication or encryption.",
    "record": "Record the rotation in {environment}{where}. Leave out --attest for a step that you did not do:",
    "deploy list": "Commit the revocation list, and deploy it with every service. The record has added the old key.",
    "re-encrypt": "Re-encrypt stored data that the old key{kid} has encrypted.",
    "unset": "After {ends}, unset the previous key:",
    "disable": "If the test passed, disable the old version in the secret manager{last_record}.",
    "disable issued": "If the test passed, disable the old one where it was issued, and its version in the secret"
    " manager.",
    "revoke": "Revoke the old key (add --yes to do it):",
    "revoke if leaked": "Only if others may know the old key, revoke it (add --yes to do it):",
    "swapped": "{variable} and {previous} look swapped: the log has the previous key as the later one. Set each to its"
    " own value from the secret manager, then print this plan again.",
}
_OF_DIRECTORIES: Final = {
    "record old": "Record the current key, where the secrets directory is. Only a recorded key can be revoked by name:",
    "set next": "Make sure that the secrets directory of each instance gets this key as {next}. {variable} stays as it"
    " is.",
    "set current": "In what writes the secrets directory, set {variable} to the new key, in one write with the next"
    " step.{unset_slots}",
    "set marker": "Set the expiry marker there ({cadence} from now):",
    "check": "Run the check in {environment}, where the secrets directory is:",
    "record": "Record the rotation in {environment}, where the secrets directory is. Leave out --attest for a step that"
    " you did not do:",
    "unset": "After {ends}, unset the previous key in what writes the secrets directory:",
}
"""The texts that differ where files of a directory deliver the keys: they win over the environment."""
_OF_REFRESH: Final = {
    "restart one by one": "Wait for two periods of the refresh. No restart is needed. Make sure that no instance writes"
    " an alert.",
    "restart": "Wait for two periods of the refresh. If a service then writes the alert discontinuous, restart it.",
}
"""The texts that differ where the services also read that directory again."""
_PROMOTION: Final = """\
{export}{previous}="${variable}"
{export}{until}={ends}
{export}{variable}="${next}"
{export}{marker}={expires}
unset {next}"""
_COMMANDS: Final = {
    "record old": "{record}",
    "generate": "{generate}",
    "promote": _PROMOTION,
    "promote at once": _PROMOTION,
    "set marker": "{export}{marker}={expires}",
    "check": "{check}",
    "record": "{record}",
    "unset": "unset {previous} {until}",
    "revoke": "{revoke}",
    "revoke if leaked": "{revoke}",
}
"""The commands of the steps that have any. As in the texts, names are in braces."""

_DISTRIBUTE: Final = ("check", "restart one by one")
_AFTER_PROMOTION: Final = (
    *_DISTRIBUTE,
    "test",
    "record",
    "deploy list",
    "re-encrypt",
    "unset",
    "disable",
)
_REPLACE: Final = (
    "generate",
    "set current",
    "set marker",
    "check",
    "restart",
    "test",
    "record",
    "re-encrypt",
    "disable",
)
_RUNBOOKS: Final[dict[str, tuple[str, ...]]] = {
    "next": ("record old", "generate", "set next", *_DISTRIBUTE, "promote", *_AFTER_PROMOTION),
    "promote": ("record old", *_DISTRIBUTE, "promote", *_AFTER_PROMOTION),
    "retire": _AFTER_PROMOTION,
    "at once": ("record old", *_REPLACE, "revoke if leaked"),
    "in an emergency": ("record old", "revoke", *_REPLACE),
}
_OF_EXPIRED: Final[dict[str, tuple[str, ...]]] = {
    "next": ("record old", "generate", "promote at once", *_AFTER_PROMOTION),
    "promote": ("record old", "promote at once", *_AFTER_PROMOTION),
}
"""No instance starts on an expired key, so none can get the next key first."""
_OF_VENDORS: Final = {"generate": "issue", "disable": "disable issued"}
_NOT_OF_VENDORS: Final = {"record old", "deploy list", "re-encrypt", "revoke", "revoke if leaked"}
"""A vendor's secret has no fingerprint."""
_UNFIT: Final = {Check.PLACEHOLDER, Check.FORMAT, Check.WEAK, Check.SHARED, Check.REVOKED}
"""The checks that refuse a key in every slot. A current key with such an alert cannot become the previous one."""


def plan_rotation(
    policy: SecretPolicy,
    report: Report,
    records: Sequence[Record],
    *,
    environment: str | None,
    who: Sequence[str],
    options: Sequence[str],
    log_options: Sequence[str],
    is_emergency: bool = False,
    has_directory: bool = False,
    refreshes: bool = False,
) -> tuple[Stage | None, list[tuple[str, str | None]]]:
    """Return the stage of a secret's rotation that comes next, and from there on each step with its commands.

    The stage is `None` for a rotation at once: without an overlap, in an emergency, and for a key that no service would
    accept as the previous one.

    Args:
        policy: the policy of the secret.
        report: the report of a check, whose keys may be missing, as on an operator's machine.
        records: the records of the operations log.
        environment: the environment that the operator named, if any.
        who: the options for the operator and the ticket.
        options: the options for every command.
        log_options: the options for commands that use the log.
        is_emergency: whether the operator wants no overlap.
        has_directory: whether a secrets directory delivers the keys.
        refreshes: whether the services read that directory again.
    """
    environment, slots, checks = _keys_here(policy, report, records, environment)
    recorded = rotations(records, policy.name, environment)
    keys = [record.fingerprint for record in recorded]
    stage = None if is_emergency else _stage(policy, slots, checks)
    old = slots.previous if stage == "retire" else slots.current
    if stage is None:
        old = _replaced_at_once(policy, slots, recorded, revoked(records), report.checked_at) or old
        runbook = _RUNBOOKS["in an emergency" if is_emergency else "at once"]
    elif slots.previous and slots.previous in keys[-1:] and slots.current in keys[:-1]:
        runbook = ("swapped",)
    else:
        runbook = _OF_EXPIRED[stage] if Check.EXPIRED in checks else _RUNBOOKS[stage]
    names = {
        **_names(policy, environment, who, options, log_options, is_staged=stage is not None),
        **_names_of_old(policy, old, slots, recorded, (*who, *log_options, *options)),
        **_dates(policy, stage, slots, old, report),
        "change": "Change these in one write",
        "export": "export ",
    }
    texts = {**_TEXTS}
    if has_directory:
        names |= {"change": "Change these in what writes the secrets directory, in one write", "export": ""}
        texts |= _OF_DIRECTORIES | (_OF_REFRESH if refreshes else {})
    steps = _fitting_steps(
        policy,
        runbook,
        is_recorded=old is not None and old in keys,
        is_refused=bool(checks & {*_UNFIT, Check.EXPIRED}),
    )
    return stage, [(texts[step].format_map(names), _COMMANDS.get(step, "").format_map(names) or None) for step in steps]


def _stage(policy: SecretPolicy, slots: Slots, checks: set[Check]) -> Stage | None:
    """Return the stage that comes next; `None` where the current key is replaced at once."""
    if not policy.overlap or checks & _UNFIT:
        return None
    stage = stage_of(slots)
    return "next" if stage == "retire" and Check.EXPIRED in checks else stage


def _fitting_steps(policy: SecretPolicy, runbook: Sequence[str], *, is_recorded: bool, is_refused: bool) -> list[str]:
    """Return the names of the steps that there are for a secret, and for its old key."""
    if policy.is_issued:
        return [_OF_VENDORS.get(name, name) for name in runbook if name not in _NOT_OF_VENDORS]
    unrecorded = "old is refused" if is_refused else "record old"
    first = "old is recorded" if is_recorded else unrecorded
    return [first if name == "record old" else name for name in runbook if policy.overlap or name != "re-encrypt"]


def _keys_here(
    policy: SecretPolicy, report: Report, records: Sequence[Record], environment: str | None
) -> tuple[str, Slots, set[Check]]:
    """Return the environment, its keys that are set here, and the checks with an alert about the current one.

    The environment is the one that the operator named, otherwise that of the last record of a key that is set here.
    """
    status = next((status for status in report.secrets if status.secret == policy.name), None)
    slots = slots_of(status) if status else Slots()
    own = [
        recorded
        for key in (slots.previous, slots.current)
        if key
        for recorded in recorded_environments(key, policy.name, records)
    ]
    environment = environment or next(reversed(own), None) or "ENVIRONMENT"
    if own and environment not in own:  # these are the keys of another environment
        return environment, Slots(), set()
    return (
        environment,
        slots,
        {alert.check for alert in report.alerts if (alert.secret, alert.slot) == (policy.name, "current")},
    )


def _replaced_at_once(
    policy: SecretPolicy, slots: Slots, recorded: Sequence[Record], revoked: Collection[str | None], now: datetime
) -> str | None:
    """Return the revoked key that the current key replaces, while that rotation may not be finished.

    So a plan that is printed again in an emergency never asks to revoke the new key.
    """
    others = [record.fingerprint for record in recorded if record.fingerprint != slots.current]
    if slots.current is None or slots.current in revoked or not others or others[-1] not in revoked:
        return None
    last = recorded[-1]
    since = last.recorded_at if last.fingerprint == slots.current else now
    return others[-1] if now <= since + (policy.overlap or policy.warn_before) else None


def _names(
    policy: SecretPolicy,
    environment: str,
    who: Sequence[str],
    options: Sequence[str],
    log_options: Sequence[str],
    *,
    is_staged: bool,
) -> dict[str, str]:
    """Return the names of the secret, its variables and the environment, and the commands that name no key."""
    following, previous, until = policy.slot_variables
    slot = ("--next",) if is_staged else ()
    return {
        "environment": environment,
        "variable": policy.variable,
        "marker": policy.expiry_variable,
        "next": following,
        "previous": previous,
        "until": until,
        "cadence": count(policy.cadence.days, "day"),
        "issue": policy.replacement[0].upper() + policy.replacement[1:],
        "stored_as": following if is_staged else "a new version",
        "where": f", where {previous} is set" if is_staged else "",
        "unset_slots": f" Unset {following}, {previous} and {until}." if policy.overlap else "",
        "generate": f"{command('generate', policy.name, *slot, *options)} | {MANAGER}",
        "check": command("check", "--require-env-only", *options),
        "record": command(
            "rotate",
            "record",
            policy.name,
            "--environment",
            environment,
            *who,
            "--attest",
            "startup",
            "--attest",
            "functions",
            *log_options,
            *options,
        ),
    }


def _names_of_old(
    policy: SecretPolicy, old: str | None, slots: Slots, recorded: Sequence[Record], options: Sequence[str]
) -> dict[str, str]:
    """Return what is known about the key that is replaced. Where none is set here, it is the last recorded one."""
    key = old or (recorded[-1].fingerprint if recorded else None)
    of_key = [record for record in recorded if key and record.fingerprint == key]
    since, last = (iso_utc(of_key[0].recorded_at), iso_utc(of_key[-1].recorded_at)) if of_key else ("", "")
    which = ("--fingerprint", key) if key else (policy.name, "--last-recorded")
    return {
        "old": key or "",
        "which": "current" if key == slots.current else "old",
        "since": since,
        "kid": f" (key id {key.removeprefix(PREFIX)})" if key else "",
        "last_record": f" ({key}, recorded at {last})" if of_key else "",
        "revoke": command("revoke", *which, "--reason", "WHY", *options),
    }


def _dates(policy: SecretPolicy, stage: Stage | None, slots: Slots, old: str | None, report: Report) -> dict[str, str]:
    """Return the times of the rotation. A promotion waits for the end of an overlap, and moves no deadline."""
    start, until = report.checked_at, slots.previous_until
    after, again = "", " First print this plan again: its dates count from now."
    if stage == "retire":
        return {"ends": iso_utc(until or start + policy.overlap)}
    if stage and until and start < until:  # also of a key of before the adoption, which has no fingerprint
        start = until
        after = f", and after {iso_utc(start)}, when {policy.slot_variables[1]} has ended"
    elif stage == "promote":
        again = ""
    ends = start + policy.overlap
    listed = report.revocation_list.begin(old or "") if report.revocation_list else None
    if listed and report.checked_at < listed < ends:
        ends = listed  # a key that is promoted again after a rollback keeps its deadline
    return {"after": after, "again": again, "ends": iso_utc(ends), "expires": iso_utc(start + policy.cadence)}
