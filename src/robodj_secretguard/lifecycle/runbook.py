"""The plan of a rotation: in stages with an overlap, or at once (policy sections 1, 3 and 4).

Its commands are for a POSIX shell, and can be pasted from top to bottom. After an interruption, print the plan again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.lifecycle.records import (
    Record,
    Stage,
    environment_of,
    revoked,
    rotations,
    slots_of,
    stage_of,
)
from robodj_secretguard.lifecycle.steps import MIN_AGE
from robodj_secretguard.secret.material import PREFIX
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import MANAGER, command
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, iso_utc
from robodj_secretguard.startup.report import Report, SecretStatus, for_gate
from robodj_secretguard.startup.rules import Check

WORDS_TO_REPLACE: Final = (
    "READ-COMMAND", "WRITE-COMMAND", "REMOVE-COMMAND", "ISSUE-COMMAND", "ENVIRONMENT", "YOUR-NAME", MANAGER, "WHY",
)  # fmt: skip
"""The words in the commands of a plan that the operator replaces."""
LOADED: Final = "SECRETGUARD_LOADED"
"""The variable of the command that prints a plan again, in a shell that has loaded its keys."""

_DEFINITIONS: Final = """\
{}read_secret() {{ {}; }}
write_secret() {{ {}; }}
remove_secret() {{ {}; }}
put_secret() {{ [ -n "$2" ] && printf %s "$2" | write_secret "$1"{}; }}
is_there() {{ [ -n "$(read_secret "$1" 2>/dev/null)" ]; }}
drop_secret() {{ {{ [ -z "$(printenv "$1")" ] && ! is_there "$1" || remove_secret "$1" || ! is_there "$1"; }}{}; }}"""
_IN_SHELL: Final = (' && export "$1=$2"', ' && unset "$1"')
"""In a shell that has the keys, both functions change it too."""
_LOADER: Final = """
load_secret() {{
    [ -n "$(read_secret "$1")" ] || [ -z "$(printenv "$1")" ] || {{ echo "$1: kept as it was here"; return 0; }}
    for name; do
        unset "$name"
        value="$(read_secret "$name" 2>/dev/null)" && [ -n "$value" ] && export "$name=$value"
    done
    unset value
}}
load_secrets() {{
{}
}}"""
"""A variable that is not in the manager is not empty, but unset. A secret that is only in this shell stays."""
_DEFINITIONS_OF_AWS: Final = """\
aws_text() {{ aws secretsmanager get-secret-value --secret-id {place} --version-stage AWSCURRENT\
 --query SecretString --output text; }}
aws_change() {{
    text="$(aws_text)" && printf %s "$text" | NEW_VALUE="$2" jq --arg name "$1"\
 'if env.NEW_VALUE == "" then del(.[$name]) else .[$name] = env.NEW_VALUE end' |
        aws secretsmanager put-secret-value --secret-id {place} --secret-string file:///dev/stdin
}}
"""
_CLIENTS: Final = {
    "vault": (
        "With HashiCorp Vault, write vault in place of bao:",
        "",
        'bao kv get -mount={mount} -field="$1" {path}',
        'bao kv patch -mount={mount} {path} "$1=-"',
        'printf \'{{"%s":null}}\' "$1" | bao kv patch -mount={mount} {path} -',
    ),
    "aws": (
        "They need jq, 1.7 or later:",
        _DEFINITIONS_OF_AWS,
        "aws_text | jq -er --arg name \"$1\" '.[$name] // empty'",
        'aws_change "$1" "$(cat)"',
        'aws_change "$1" ""',
    ),
    "": (
        (
            "READ-COMMAND prints a variable, WRITE-COMMAND stores what it reads from stdin, and REMOVE-COMMAND removes"
            ' a variable. "$1" is the name of the variable:'
        ),
        "",
        'READ-COMMAND "$1"',
        'WRITE-COMMAND "$1"',
        'REMOVE-COMMAND "$1"',
    ),
}
"""How a manager is read and written by hand: a text, definitions, and the three commands."""

_PROMOTION: Final = """\
[ -n {value_of_next} ] && {{
    [ {value} = {value_of_next} ] || {{
        drop_secret {previous} && put_secret {until} {ends} &&
            put_secret {previous} {value}
    }}
}} && put_secret {variable} {value_of_next} &&
    put_secret {marker} {expires} && drop_secret {next}"""
"""In this order, no deadline holds for another key, and no old key gets a new expiry. It is safe to repeat."""
_TEXTS: Final = {
    "functions": "In this shell, define how {manager} is read and written. {hint}",
    "load": "Load the keys of {manager} into this shell. An error about a variable that it does not have is normal. If"
    " this command fails, correct READ-COMMAND. Only if the manager has no key at all yet, go on:",
    "again": "Print the plan again, for the keys that are loaded now, and follow it in this shell:",
    "again after": "After {ends}, print the plan again. Its steps then remove the previous key:",
    "wait": "Wait until {ends}, when {previous} has ended. Then print the plan again:",
    "record old": "Record the current key, which has no record yet:",
    "generate": "Generate a new key for {environment} alone, and store it in {manager} as {next}.{stays}",
    "issue": "{issue} for {environment} alone, and store it in {manager} as {next}. ISSUE-COMMAND prints it."
    " With cat, which reads what you type, paste this command alone.{stays}",
    "set next": "Make sure that every instance gets {next} from {manager}. {variable} stays as it is.",
    "promote": "Promote the next key, only when every instance has it. On a later day, first print the plan"
    " again: its dates count from now.",
    "promote at once": "Promote the next key at once, as no service accepts the current one:",
    "replace": "Generate a new key for {environment} alone, and store it in {manager} as {variable}{kept}",
    "issue at once": "{issue} for {environment} alone, and store it in {manager} as {variable}."
    " ISSUE-COMMAND prints it. With cat, which reads what you type, paste this command alone{kept}",
    "deliver": "In the settings of each deployment, give each of these variables its value in {manager}. Unset those"
    " that {manager} does not have: {variables}.",
    "check": "{When_there}un the check in {environment}:",
    "restart one by one": "Restart the instances one after another. Make sure that each startup check passes.",
    "restart": "Start every service again, also those that run. Make sure that each startup check passes.",
    "test": "Test the functions that depend on authentication or encryption.",
    "record": "Record the rotation in {environment}. Leave out --attest for a step that you did not do:",
    "deploy list": "If the revocation list has changed, commit it. Deploy it with every service.",
    "re-encrypt": "Re-encrypt stored data that the old key{kid} has encrypted.",
    "unset": "{When}emove the previous key from {manager}:",
    "disable": "Disable the old version in the secret manager{last_record}.",
    "disable issued": "Disable the old one where it was issued, and its version in the secret manager.",
    "stop": "Stop every service that runs on the current key and does not refresh its keys.",
    "revoke": "Revoke the old key:",
    "sessions": "Invalidate the sessions and tokens that were signed with the old key.",
    "swapped": "{variable} and {previous} look swapped: the log has the previous key as the later one. Set each"
    " to its own value from the secret manager, or exchange them there. Then print the plan again:",
    "stage": "Store a next key in {manager}.{stays}",
    "promote there": "An hour after the next key was stored, when every instance has it, promote it:",
    "promote there at once": "Promote the next key at once, as no service accepts the current one:",
    "retire there": "{When}emove the previous key from {manager}:",
    "replace there": "Replace the current key in {manager}, and revoke it there, in one write:",
}
_COMMANDS: Final = {
    "functions": "{functions}",
    "load": 'load_secrets && [ -n "{any_key}" ]',
    "again": f"{LOADED}=yes {{again}}",
    "again after": "{again}",
    "wait": "{again}",
    "record old": "{record}",
    "generate": '{unless}put_secret {next} "$({generate})"',
    "issue": '{unless}put_secret {next} "$(ISSUE-COMMAND)"',
    "promote": _PROMOTION,
    "promote at once": _PROMOTION,
    "replace": '{unless_there}{drops}put_secret {variable} "$({generate})" &&\n    put_secret {marker} {expires}{end}',
    "issue at once": '{unless_there}{drops}put_secret {variable} "$(ISSUE-COMMAND)" &&\n'
    "    put_secret {marker} {expires}{end}",
    "check": "{load}{check}",
    "record": "{load}{record}",
    "unset": "drop_secret {previous} && drop_secret {until}",
    "revoke": "{load}{revoke}",
    "swapped": "{again}",
    "stage": "{stage}{another}",
    "promote there": "{promote}",
    "promote there at once": "{promote} --now",
    "retire there": "{retire}",
    "replace there": "{run}",
}
"""The commands of the steps that have any. As in the texts, names are in braces."""
_OF_REFRESH: Final = {
    "restart one by one": "Wait for two periods of the refresh. No restart is needed. Make sure that no instance writes"
    " an alert.",
    "restart": "Wait for two periods of the refresh. If a service then writes the alert discontinuous, restart it.",
}
"""The texts that differ where the services also read that directory again."""

_DISTRIBUTE: Final = ("check", "restart one by one")
_VALIDATE: Final = ("test", "record")
_FINISH: Final = ("deliver", *_DISTRIBUTE, *_VALIDATE, "deploy list")
_AFTER_PROMOTION: Final = (*_FINISH, "re-encrypt", "again after")
_AT_ONCE: Final = ("deliver", "check", "restart", *_VALIDATE, "re-encrypt", "disable")
_AFTER_LEAK: Final = ("disable", "deploy list", "deliver", "check", "restart", *_VALIDATE, "sessions", "re-encrypt")
_RUNBOOKS: Final[dict[str, tuple[str, ...]]] = {
    "not loaded": ("functions", "load", "again"),
    "swapped": ("swapped",),
    "wait": ("wait",),
    "next": ("functions", "record old", "generate", "set next", *_DISTRIBUTE, "promote", *_AFTER_PROMOTION),
    "promote": ("functions", "record old", "promote", *_AFTER_PROMOTION),
    "expired": ("functions", "generate", "promote at once", *_AFTER_PROMOTION),
    "unfinished": ("functions", *_FINISH, "re-encrypt", "unset", "deliver", "disable"),
    "retire": ("functions", "re-encrypt", "unset", "deliver", "disable"),
    "at once": ("functions", "record old", "replace", *_AT_ONCE),
    "emergency": ("functions", "stop", "revoke", "replace", *_AFTER_LEAK),
    "after an emergency": ("functions", *_AFTER_LEAK),
    "stage": ("stage", "restart one by one", "promote there", *_AFTER_PROMOTION),
    "promote there": ("promote there", *_AFTER_PROMOTION),
    "promote there at once": ("stage", "promote there at once", *_AFTER_PROMOTION),
    "replace by stages": ("stage", "promote there at once", *_AT_ONCE),
    "finish there": (*_FINISH, "re-encrypt", "retire there", "disable"),
    "retire there": ("re-encrypt", "retire there", "disable"),
    "replace there": ("stop", "replace there", "revoke", *_AFTER_LEAK),
    "revoke": ("revoke", *_AFTER_LEAK),
}
_IN_STORES: Final = {
    "next": "stage",
    "promote": "promote there",
    "expired": "promote there at once",
    "at once": "replace by stages",
    "unfinished": "finish there",
    "retire": "retire there",
    "emergency": "replace there",
    "after an emergency": "revoke",
}
"""By runbook: what `rotate --to` does instead."""
_OF_VENDORS: Final = {"generate": "issue", "replace": "issue at once", "disable": "disable issued"}


def plan_rotation(
    policy: SecretPolicy,
    report: Report,
    records: Sequence[Record],
    *,
    policies: Sequence[SecretPolicy],
    environment: str | None,
    who: Sequence[str],
    options: Sequence[str],
    model: Sequence[str] = (),
    sources: Sequence[str] = (),
    is_loaded: bool = False,
    is_emergency: bool = False,
    is_strict: bool = False,
    has_directory: bool = False,
    refreshes: bool = False,
) -> tuple[Stage | None, list[tuple[str, str | None]]]:
    """Return the stage of a secret's rotation that comes next, and from there on each step with its commands.

    The stage is `None` for a rotation at once: without an overlap, in an emergency, and for a key that no service would
    accept as the previous one.

    Args:
        policy: the policy of the secret.
        report: the report of a check, which has the status of the secret.
        records: the records of the operations log.
        policies: all declared secrets.
        environment: the environment that the operator named, if any.
        who: the options for the operator and the ticket.
        options: the options for the log, the config directory and the model.
        model: the option for the model, for a command that uses nothing else.
        sources: the sources of `--from`.
        is_loaded: whether the shell has loaded the keys of the manager, as the first steps of a plan say.
        is_emergency: whether the operator wants no overlap.
        is_strict: whether a check fails on warnings. Then no step is a check, as the next step may end a warning.
        has_directory: whether a secrets directory delivers the keys.
        refreshes: whether the services read that directory again.
    """
    status = next(status for status in report.secrets if status.secret == policy.name)
    slots, alerts = slots_of(status), _alerts_about(policy, status, report, records)
    is_shell = not (sources or has_directory)
    is_emergency |= ("current", Check.REVOKED) in alerts
    keys = (slots.previous, slots.current)
    environment = environment or environment_of(keys, policy.name, records, "ENVIRONMENT")
    recorded = rotations(records, policy.name, environment)
    stage, runbook, old = _choose_runbook(
        policy, slots, recorded, records, report.checked_at, alerts=alerts, is_emergency=is_emergency
    )
    source = next((each for each in sources if each == status.source), next(iter(sources), ""))
    if is_shell and not is_loaded:
        runbook = "not loaded"
    elif _can_step(policy, source, alerts, is_emergency=is_emergency):
        runbook = _IN_STORES.get(runbook, runbook)
    is_loaded &= is_shell
    names = {
        **_names(policy, environment, old, recorded, in_files=has_directory or source.startswith("directory:")),
        **_names_in_shell(policy, policies, source, alerts, is_shell=is_shell),
        **_dates(policy, slots, old, report, is_ending=stage == "retire" or runbook == "wait"),
        **_commands(
            policy,
            ("--environment", environment),
            _leaked_keys(old, slots.current, recorded, report, is_in_store=runbook in _IN_STORES.values()),
            who=who,
            options=options,
            model=model,
            sources=sources,
            source=source,
            is_emergency=is_emergency,
            is_fresh=any(report.checked_at - each.recorded_at < MIN_AGE for each in recorded[-1:]),
        ),
    }
    left_out = _unfitting(
        policy,
        slots.current,
        names["revoke"],
        report,
        records,
        has_old=alerts.isdisjoint({("current", Check.MISSING), ("current", Check.PLACEHOLDER)}),
        is_strict=is_strict,
        is_loaded=is_loaded,
    )
    texts = _TEXTS | (_OF_REFRESH if refreshes else {})
    return stage, [
        (texts[step].format_map(names), _COMMANDS.get(step, "").format_map(names) or None)
        for step in (_OF_VENDORS.get(each, each) if policy.is_issued else each for each in _RUNBOOKS[runbook])
        if step not in left_out
    ]


def _alerts_about(
    policy: SecretPolicy, status: SecretStatus, report: Report, records: Sequence[Record]
) -> set[tuple[str | None, Check]]:
    """Return the slot and the check of each alert about a secret."""
    found: set[tuple[str | None, Check]] = {
        (each.slot, each.check) for each in for_gate(report).alerts if each.secret == status.secret
    }
    if status.source == "none":  # also where it is optional
        found.add(("current", Check.MISSING))
    if status.fingerprint and status.fingerprint in revoked(records):  # the list may have been lost
        found.add(("current", Check.REVOKED))
    # The alert may be about the other secret.
    if any(policy.variable in each.message.split() for each in report.alerts if each.check is Check.SHARED):
        found.add(("current", Check.SHARED))
    return found


def _is_unfit(slot: str, alerts: Collection[object]) -> bool:
    """Return whether no slot accepts the key of a slot. Such a current key cannot become the previous one."""
    every_slot = (Check.MISSING, Check.PLACEHOLDER, Check.FORMAT, Check.WEAK, Check.SHARED, Check.REVOKED)
    return any((slot, check) in alerts for check in every_slot)


def _choose_runbook(
    policy: SecretPolicy,
    slots: Slots,
    recorded: Sequence[Record],
    records: Sequence[Record],
    now: datetime,
    *,
    alerts: Collection[object],
    is_emergency: bool,
) -> tuple[Stage | None, str, str | None]:
    """Return the stage that comes next, the name of its steps, and the key that is replaced."""
    if is_emergency:
        leaked = _replaced_at_once(policy, slots, recorded, records, now)
        return (None, "after an emergency", leaked) if leaked else (None, "emergency", slots.current)
    if not policy.overlap or _is_unfit("current", alerts):
        return None, "at once", slots.current
    stage = stage_of(replace(slots, next=None) if _is_unfit("next", alerts) else slots)
    if ("current", Check.EXPIRED) in alerts:  # no instance starts, so none can get the next key first
        return "promote", "expired", slots.current
    if stage == "promote":
        is_over = _is_unfit("previous", alerts) or slots.previous_until is None or slots.previous_until <= now
        return stage, stage if is_over else "wait", slots.current
    if stage == "next" and (slots.previous or slots.previous_until is None):
        return stage, stage, slots.current
    return "retire", _ending(slots, recorded), slots.previous


def _ending(slots: Slots, recorded: Sequence[Record]) -> str:
    """Return the name of the steps after a promotion."""
    keys = [each.fingerprint for each in recorded]
    if slots.previous and keys[-1:] == [slots.previous] and slots.current in keys[:-1]:
        return "swapped"
    is_recorded = any((each.event, each.fingerprint) == ("rotated", slots.current) for each in recorded)
    return "retire" if is_recorded else "unfinished"


def _can_step(policy: SecretPolicy, source: str, alerts: Collection[object], *, is_emergency: bool) -> bool:
    """Return whether `rotate --to` can take the steps of a secret. It keeps or revokes the old key."""
    is_own = not any(("current", check) in alerts for check in (Check.MISSING, Check.SHARED))
    is_generated = not policy.is_issued and bool(policy.overlap or is_emergency)
    return source.startswith(("vault:", "aws:")) and is_own and is_generated


def _unfitting(
    policy: SecretPolicy,
    current: str | None,
    revocations: str,
    report: Report,
    records: Sequence[Record],
    *,
    has_old: bool,
    is_strict: bool,
    is_loaded: bool,
) -> set[str]:
    """Return the steps that a secret does not have, and those that would be refused or are done."""
    is_recordable = for_gate(report).ok and not any(record.fingerprint == current for record in records)
    is_there = {
        "functions": not is_loaded,
        "check": not is_strict,
        "record old": current is not None and is_recordable,
        "revoke": revocations,
        "deploy list": not policy.is_issued,
        "re-encrypt": has_old and policy.overlap and not policy.is_issued,
        "disable": has_old,
        "deliver": is_loaded,  # otherwise each start reads the manager, or the directory
    }
    return {step for step, applies in is_there.items() if not applies}


def _leaked_keys(
    old: str | None, current: str | None, recorded: Sequence[Record], report: Report, *, is_in_store: bool
) -> list[str]:
    """Return the keys that an emergency revokes: also the last recorded one, if it was replaced and not yet revoked.

    One that a manager lists is revoked again, for the list of the repository.
    """
    listed = report.revocation_list.fingerprints if report.revocation_list and not is_in_store else frozenset()
    earlier = {each.fingerprint for each in recorded[-1:]} - {current, old}
    return [key for key in (old, *earlier) if key is not None and key not in listed]


def _replaced_at_once(
    policy: SecretPolicy, slots: Slots, recorded: Sequence[Record], records: Sequence[Record], now: datetime
) -> str | None:
    """Return the key that was revoked in the last day, if the current key has replaced it, and is not recorded yet.

    So a plan that is printed again in an emergency does not replace and revoke the new key.
    """
    ended = [each for each in records if (each.event, each.secret) == ("revoked", policy.name)]
    done = [each.fingerprint for each in (*ended, *recorded) if each.event in {"rotated", "revoked"}]
    is_new = slots.current not in {None, *done}
    recent = [each.fingerprint for each in ended if is_new and now - each.recorded_at <= timedelta(days=1)]
    return recent[-1] if recent else None


def _names(
    policy: SecretPolicy, environment: str, old: str | None, recorded: Sequence[Record], *, in_files: bool
) -> dict[str, str]:
    """Return the names of the secret, its variables and the environment, and what is known about the old key."""
    following, previous, until = policy.slot_variables
    last = [iso_utc(record.recorded_at) for record in recorded if old and record.fingerprint == old][-1:]
    return {
        "environment": environment,
        "When_there": "When the secrets directory has the change, r" if in_files else "R",
        "variable": policy.variable,
        "variables": ", ".join(policy.variables),
        "marker": policy.expiry_variable,
        "next": following,
        "previous": previous,
        "until": until,
        "issue": policy.replacement[0].upper() + policy.replacement[1:],
        "drops": f"drop_secret {following} && drop_secret {previous} &&\n    drop_secret {until} &&\n    "
        if policy.overlap
        else "",
        "kid": f" (key id {old.removeprefix(PREFIX)})" if old else "",
        "last_record": f" ({old}, recorded at {last[0]})" if last else "",
    }


def _names_in_shell(
    policy: SecretPolicy, policies: Sequence[SecretPolicy], source: str, alerts: Collection[object], *, is_shell: bool
) -> dict[str, str]:
    """Return the functions of the operator's shell, and how commands get a value: from there, or from the manager."""
    kind, _, place = source.partition(":")
    mount, _, path = place.partition("/")
    client = [text.format(place=place, mount=mount, path=path) for text in _CLIENTS.get(kind, _CLIENTS[""])]
    groups = [*(each.variables for each in policies), (REVOKED_FINGERPRINTS,)]
    value = '"${{{}-}}"' if is_shell else '"$(read_secret {})"'
    following, has_bad_next = value.format(policy.slot_variables[0]), _is_unfit("next", alerts)
    # A first key never replaces one: the manager may not have answered when the keys were loaded.
    is_first = ("current", Check.MISSING) in alerts
    return {
        "manager": source if kind in _CLIENTS and kind else "the secret manager",
        "hint": client[0],
        "functions": _DEFINITIONS.format(*client[1:], *(_IN_SHELL if is_shell else ("", "")))
        + (_LOADER.format("\n".join(f"    load_secret {' '.join(each)}" for each in groups)) if is_shell else ""),
        "any_key": "".join(f"$(read_secret {each.variable})" for each in policies),
        "load": "load_secrets && " if is_shell else "",
        "value": value.format(policy.variable),
        "value_of_next": following,
        "unless": f"drop_secret {policy.slot_variables[0]} && " if has_bad_next else f"[ -n {following} ] || ",
        "stays": " It replaces the one that is there:" if has_bad_next else " If there is one already, it stays:",
        "another": " --now" if has_bad_next else "",
        "unless_there": f'[ -n "$(read_secret {policy.variable})" ] || {{\n    ' if is_first else "",
        "end": "\n}" if is_first else "",
        "kept": ". If there is one by now, it stays. Then print the plan again:" if is_first else ":",
    }


def _dates(policy: SecretPolicy, slots: Slots, old: str | None, report: Report, *, is_ending: bool) -> dict[str, str]:
    """Return the times of the rotation: the end of the present overlap, or that of the one to come."""
    now = report.checked_at
    listed = report.revocation_list.begin(old or "") if report.revocation_list else None
    ends = (slots.previous_until if is_ending else None) or now + policy.overlap
    if listed and (is_ending or now < listed):  # a key that is promoted again after a rollback keeps its deadline
        ends = min(listed, ends)
    return {
        "ends": iso_utc(max(now, ends)),
        "expires": iso_utc(now + policy.cadence),
        "When": f"After {iso_utc(ends)}, r" if now < ends else "R",
    }


def _commands(
    policy: SecretPolicy,
    environment: Sequence[str],
    leaked: Sequence[str],
    *,
    who: Sequence[str],
    options: Sequence[str],
    model: Sequence[str],
    sources: Sequence[str],
    source: str,
    is_emergency: bool,
    is_fresh: bool,
) -> dict[str, str]:
    """Return the commands of this program."""
    name, where, reason = policy.name, (*environment, *who), ("--reason", "WHY")
    reading = [*(word for each in sources for word in ("--from", each)), *options]
    to = ("--to", source, *where, *options)
    pipe = f"{MANAGER} | " if "json:-" in sources else ""
    return {
        "generate": command("generate", name, *model),
        "check": pipe + command("check", "--require-env-only", *reading),
        "record": pipe
        + command("rotate", "record", name, *where, "--attest", "startup", "--attest", "functions", *reading),
        "again": pipe + command("rotate", "plan", name, *(["--emergency"] if is_emergency else []), *where, *reading),
        "revoke": "\n".join(
            pipe
            + command("revoke", name, "--fingerprint", key, *reason, "--without-replacement", "--yes", *where, *reading)
            for key in leaked
        ),
        "stage": command("rotate", "stage", name, *to),
        "promote": command("rotate", "promote", name, *to),
        "retire": command("rotate", "retire", name, *to),
        "run": command("rotate", "run", name, "--emergency", *reason, *to, *(["--now"] if is_fresh else [])),
    }
