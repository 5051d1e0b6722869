"""What to do about a file that is unsafe (policy section 2). A start imports this module only where there is one."""

from __future__ import annotations

import re

from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.startup.inputs import (
    BELOW_WRITABLE,
    CANNOT_BE_READ,
    CHANGED,
    IN_WRITABLE,
    NOT_ALLOWED,
    NOT_REGULAR,
    NOT_UTF_8,
    TextFile,
)
from robodj_secretguard.startup.readings import DEFAULT_CONFIG_DIR, SHOWN_DIRECTORIES, NamedBy, Reading, set_current


def how_to_correct_file(file: TextFile, where: str, named_by: NamedBy | None, policy: SecretPolicy) -> str:
    """Return the fix for the faults of a fallback file, and for nothing else."""
    set_it = set_current(policy)
    if file.unreadable and file.exposed:  # the key may be another one, and cannot be compared
        return set_it
    remedies = {
        NOT_UTF_8: f"save {where} as UTF-8, with mode 600, without changing its value",
        CHANGED: f"start again; if this repeats, stop the program that writes {where}",
        NOT_ALLOWED: f"make the service's user the owner of {where} (mode 600) and let it enter each directory above",
        NOT_REGULAR: f"{set_it}, then delete {where}",
        CANNOT_BE_READ: set_it,
    }
    # The default is for a file that is too large.
    steps = [remedies.get(fault, f"leave only the value in {where}") for fault in file.unreadable]
    if file.exposed:
        steps = ["compare its value with the secret manager", chmod(file, where, named_by, "600")]
    return ", then ".join(steps)


def how_to_switch_off(reading: Reading) -> str:
    """Return the remedy that leaves an optional secret off: it names each variable and file that is there."""
    names = [name for name in reading.policy.variables if reading.variables.get(name) is not None]
    if not names and any(offer.is_empty and offer.file is None for offer in reading.offers):
        names = [reading.variable]
    files = [offer.location for offer in reading.offers if offer.file is not None and offer.file.exists]
    steps = [f"delete {file}" for file in files]
    if names and reading.manager:
        steps.insert(0, f"delete {' and '.join(names)} from {reading.manager}")
    elif names:
        steps.insert(0, f"unset {' and '.join(names)}")
    return " and ".join(steps) or "put it back, or restart the service: it starts without this secret"


def chmod(file: TextFile, where: str, named_by: NamedBy | None, mode: str = "go-w") -> str:
    """Return the command that protects a file, or the directories above it, from others who may write."""
    if BELOW_WRITABLE in file.exposed:
        absolute = {None: f"$PWD/{where}", "environment": where}.get(named_by, "the file")
        return f"run namei -l {in_command(absolute)}, then chmod o-w where the mode ends in rwx"
    if IN_WRITABLE in file.exposed:
        return f"run chmod -R go-w {in_command(SHOWN_DIRECTORIES[named_by])}"
    return f"run chmod {mode} {in_command(where)}"


def in_command(shown: str) -> str:
    """Return a shown path for a shell command, or in words where it is not a path."""
    if shown.startswith("$"):
        return f'"{shown}"'
    return shown if re.match(rf"{DEFAULT_CONFIG_DIR}(/|\Z)", shown) else f"on {shown}"
