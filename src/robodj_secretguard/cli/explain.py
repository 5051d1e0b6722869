"""`explain`: what a check means, why it refuses, how that happens and how to fix it (policy section 6)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.cli.options import add_command, given, model_of
from robodj_secretguard.cli.output import EXIT_CLEAN, MODEL, Result, columns, wrapped
from robodj_secretguard.secret.texts import PROGRAM, count
from robodj_secretguard.startup.rules import CHECKS, Check, Severity

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.rules import CheckEntry

SECTIONS: Final = {
    1: "Generation",
    2: "Storage and distribution",
    3: "Rotation",
    4: "Revocation",
    5: "Incident response",
    6: "Startup checks and alerts",
    7: "The gate before a release",
}
"""The sections of the policy."""

_GENERATES: Final = ("{generator}", f"{PROGRAM} generate {{name}}")
"""The beginnings of the commands that make a key."""
_VERBS: Final = {Severity.ALERT: "refuses", Severity.WARNING: "warns"}


class _Checks(tuple[str, ...]):
    """The names of the checks. The empty list is also a choice, as Python 3.11 looks it up for no arguments."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return name == [] or super().__contains__(name)


def add(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "explain",
        _explain,
        options=("--model", "--format"),
        own={
            "checks": {
                "nargs": "*",
                "metavar": "CHECK",
                "choices": _Checks(map(str, Check)),
                "help": "a check, such as format (default: list all checks)",
            }
        },
        description="Explain what a check means, how it happens and how to fix it. It reads no secret.",
        examples=("explain", "explain format shared"),
        statuses={"0": "explained", "2": "usage error"},
    )


def _explain(arguments: argparse.Namespace) -> Result:
    policies = tuple(model_of(arguments).secret_policies.values())
    options = "".join(f" {shlex.quote(word)}" for word in given(arguments, "model"))
    entries = {entry.check: entry for entry in CHECKS}
    named = [entries[Check(name)] for name in dict.fromkeys(arguments.checks)]
    lines = _explained(named, policies, options) if named else _listed()

    def document() -> dict[str, Any]:
        return {"kind": "explanation", "checks": [_as_dict(each, policies, options) for each in named or CHECKS]}

    return Result(EXIT_CLEAN, [*lines, MODEL], document)


def _listed() -> Iterator[str]:
    """Yield every check with its severity and its title."""
    yield from columns([(str(entry.check), str(entry.severity), entry.title) for entry in CHECKS]).split("\n")
    yield ""
    yield f"Run {PROGRAM} explain CHECK for its causes and fixes."


def _explained(entries: Iterable[CheckEntry], policies: Collection[SecretPolicy], options: str) -> Iterator[str]:
    for entry in entries:
        yield f"{entry.check}: {entry.title}"
        yield wrapped(f"Severity: {'; '.join(filter(None, (entry.severity, entry.otherwise)))}", "  ")
        yield from _headed("What it means", [entry.meaning])
        yield from _headed(f"Why it {_VERBS[entry.severity]}", [entry.why])
        yield from _headed("How it happens", entry.causes, "- ")
        yield from _headed("How to fix it", entry.fixes, "- ")
        if entry.commands:
            yield from ("", "Commands")
        for purpose, commands in _commands(entry, policies, options):
            yield f"  {purpose}:"
            yield from (f"    {each}" for each in commands)
        yield from _headed("Policy", [f"Section {entry.section}: {SECTIONS[entry.section]}"])
        yield ""
    yield "Declared secrets"
    for policy in policies:
        yield f"  {policy.name}, owner {policy.owner}"
        yield f"    variable {policy.variable}, file {policy.file}"
        yield f"    expiry marker {policy.expiry_variable}"
        if policy.issuer:
            yield f"    issued at {policy.issuer}"
        if policy.overlap:
            yield f"    overlap {policy.overlap.total_seconds() / 86_400:g} days"
            yield from (f"    {variable}" for variable in policy.slot_variables)
        yield f"    cadence {count(policy.cadence.days, 'day')}, warning {count(policy.warn_before.days, 'day')} before"
    yield ""


def _headed(heading: str, texts: Sequence[str], bullet: str = "") -> Iterator[str]:
    yield from ("", heading)
    for text in texts:
        yield wrapped(f"  {bullet}{text}", "  " + " " * len(bullet))


def _commands(entry: CheckEntry, policies: Iterable[SecretPolicy], options: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each purpose with its commands, one for each declared secret if the command names one."""
    for purpose, command in entry.commands:
        filled = dict.fromkeys(_filled(command, policy, options) for policy in policies)
        yield purpose, [*filled]


def _filled(command: str, policy: SecretPolicy, options: str) -> str:
    if policy.is_opaque and command.startswith(_GENERATES):
        return f"# {policy.name}: {policy.replacement}"
    return command.format(
        name=policy.name,
        variable=policy.variable,
        file=policy.file,
        generator=policy.replacement,
        options=options,
    )


def _as_dict(entry: CheckEntry, policies: Iterable[SecretPolicy], options: str) -> dict[str, Any]:
    commands = _commands(entry, policies, options)
    return {
        "check": entry.check,
        "severity": entry.severity,
        "otherwise": entry.otherwise or None,
        "title": entry.title,
        "meaning": entry.meaning,
        "why": entry.why,
        "causes": [*entry.causes],
        "fixes": [*entry.fixes],
        "commands": [{"purpose": purpose, "commands": each} for purpose, each in commands],
        "policy_section": entry.section,
    }
