"""`explain`: what a check means, why it refuses, how that happens and how to fix it (policy section 6)."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from robodj_secretguard.cli.options import Commands, Request, add_command, given
from robodj_secretguard.cli.output import EXIT_CLEAN, MODEL, Result, wrapped
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import PROGRAM
from robodj_secretguard.startup.rules import Check, Severity

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
                "choices": [*map(str, Check)],
                "help": "a check, such as format (default: list all checks)",
            }
        },
        kind="explanation",
        description="Explain what a check means, how it happens and how to fix it. It reads no secret.",
        examples=("explain", "explain format shared"),
        statuses={"0": "explained", "2": "usage error"},
    )


def explanations(policies: Sequence[SecretPolicy] = (), options: str = "") -> dict[str, dict[str, Any]]:
    """Return the severity and the texts of each check, and its commands for the secrets of some policies."""
    texts = tomllib.loads(files(__package__).joinpath("explanations.toml").read_text(encoding="utf-8"))
    explained = {}
    for check in Check:
        of_check = texts["checks"][check]
        of_check["commands"] = [
            {
                "purpose": command["purpose"],
                # Without a placeholder, it is the same for all secrets.
                "commands": [*dict.fromkeys(_filled(command["command"], policy, options) for policy in policies)],
            }
            for command in map(texts["commands"].get, of_check["commands"])
        ]
        explained[str(check)] = {"check": check, "severity": check.severity, "otherwise": None, **of_check}
    return explained


def _explain(request: Request, *, checks: Sequence[str]) -> Result:
    texts = explanations(request.policies, "".join(f" {shlex.quote(word)}" for word in given(request, "model")))
    explained = [texts[name] for name in dict.fromkeys(checks or texts)]
    lines = [*_explained(explained)]
    table = list[tuple[str, ...]]()
    if not checks:
        table = [(str(each["check"]), str(each["severity"]), each["title"]) for each in explained]
        lines = [f"Run {PROGRAM} explain CHECK for its causes and fixes."]
    return Result(EXIT_CLEAN, [*lines, MODEL], lambda: {"kind": "explanation", "checks": explained}, table=table)


def _filled(command: str, policy: SecretPolicy, options: str) -> str:
    """Return a command without placeholders, for one secret."""
    if policy.is_issued and command.startswith(("{generator}", f"{PROGRAM} generate {{name}}")):
        return f"# {policy.name}: {policy.replacement}"
    return command.format(
        name=policy.name,
        variable=policy.variable,
        file=policy.file,
        generator=policy.replacement,
        options=options,
    )


def _explained(checks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for texts in checks:
        severities = "; ".join(filter(None, (texts["severity"], texts["otherwise"])))
        section = texts["policy_section"]
        verb = "refuses" if texts["severity"] is Severity.ALERT else "warns"
        yield from (f"{texts['check']}: {texts['title']}", wrapped(f"Severity: {severities}", "  "))
        for heading, bullet, paragraphs in (
            ("What it means", "  ", [texts["meaning"]]),
            (f"Why it {verb}", "  ", [texts["why"]]),
            ("How it happens", "  - ", texts["causes"]),
            ("How to fix it", "  - ", texts["fixes"]),
            ("Policy", "  ", [f"Section {section} of RoboDJ's policy: {SECTIONS[section]}"]),
        ):
            yield from ("", heading, *(wrapped(f"{bullet}{text}", " " * len(bullet)) for text in paragraphs))
        if texts["commands"]:
            yield from ("", "Commands")
        for filled in texts["commands"]:
            yield from (f"  {filled['purpose']}:", *(f"    {command}" for command in filled["commands"]))
        yield ""
