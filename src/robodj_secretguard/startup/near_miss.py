"""Misspelled variables: they are set and ignored, and their names are similar to one that is read.

A start imports this module only where there is a similar name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeAlias

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.startup.inputs import (
    ALLOW_FILE_SECRET_FALLBACK,
    EPHEMERAL,
    INSTANT_FORM,
    PROTECTED_ENV,
    REVOKED_FINGERPRINTS,
    SHORTEST_SIMILAR,
    VariableRead,
)

IsSet: TypeAlias = Callable[[str], bool]
"""Checks whether a variable is set."""


class NearMiss(Frozen):
    """A variable that is set and ignored.

    Attributes:
        meant: the variable that the operator meant.
        name: the name of the ignored variable; empty where it could contain a key.
        is_meant_set: whether the variable that the operator meant is set too.
        manager: the secret manager that has it; empty for the environment.
        deadline: of a previous key: the variable of its deadline, where that is not set.
    """

    meant: VariableRead
    name: str
    is_meant_set: bool = False
    manager: str = ""
    deadline: str = ""


_MISTAKES: Final = {
    PROTECTED_ENV: r"ROBODJ_PROTECTED.*",
    ALLOW_FILE_SECRET_FALLBACK: r"ROBODJ_ALLOW_FILE.*",
    "{}": r"{}_(?:NEXT|PREVIOUS|PREVIOUS_UNTIL)",  # where these are not read
    "{}_NEXT": r"{}_NEW",
    "{}_PREVIOUS": r"{}_(?:OLD|PREV)",
    "{}_PREVIOUS_UNTIL": r"{}_(?:PREVIOUS_.+|(?:PREV_|OLD_)?UNTIL)",
}
"""The other names that operators use instead of a variable. `{}` is the variable of a secret."""
# Every word that begins with EXP is one of expiry or a typo of it, such as EXPRIES, but for EXPORT, EXPRESS and so on.
_OF_EXPIRY: Final = (
    r"EXPIR|(?:^|_)(?:EXP(?!O|ER|ECT|EN|L|AND|RESS)"
    r"|(?:VALID_(?:UNTIL|TO|TILL|THRU|THROUGH)|VALIDUNTIL|NOT_?AFTER|GOOD_UNTIL|ROTATE_BY)(?:_|$))"
)
_KNOWN_WORDS: Final = frozenset(
    """
    ROBODJ SECRET SECRETS KEY KEYS V1 V2 EXP EXPIRE EXPIRED EXPIRES EXPIRY EXPIRATION VALID VALIDUNTIL UNTIL TO TILL
    NOT AFTER AT ON DATE TIME NEXT NEW PREVIOUS PREV OLD DEADLINE PROTECTED ENV ENVIRONMENT MODE ALLOW ALLOWED FILE
    FILES FALLBACK FALLBACKS
    """.split()
)
"""A name of only these words and those of the right name is shown: it cannot contain a key."""
# The names that Kubernetes and Docker give to a service's address. Compiled only when a name looks misspelled.
_SERVICE_LINK: Final = (
    r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


def near_misses(names: Iterable[str], targets: Collection[VariableRead], *, is_set: IsSet) -> tuple[NearMiss, ...]:
    """Return which names are misspelled, in the order of the variables that the operator meant."""
    found = {_near_miss(name, targets, is_set) for name in names if is_set(name)}
    names_read = [target.name for target in targets]
    misses = sorted(filter(None, found), key=lambda miss: (names_read.index(miss.meant.name), miss.name))
    meant = [miss.meant.name for miss in misses]
    # After the first fix, the variable of a second one is set.
    is_meant_set = [is_set(name) or name in meant[:index] for index, name in enumerate(meant)]
    return tuple(
        [
            miss._replace(is_meant_set=each, deadline=_missing_deadline(miss, meant, is_set))
            for miss, each in zip(misses, is_meant_set, strict=True)
        ]
    )


def _missing_deadline(miss: NearMiss, meant: Collection[str], is_set: IsSet) -> str:
    """Return the variable without which the next start would refuse a previous key; empty where it is there."""
    policy = miss.meant.policy
    if policy is None or miss.meant.name != policy.slot_variables[1]:
        return ""
    deadline = policy.slot_variables[2]
    return "" if is_set(deadline) or deadline in meant else deadline


def _is_mistake(target: VariableRead, folded: str) -> bool:
    """Check whether operators use a name instead of a variable. The names for a secret begin with its variable."""
    variable = target.policy.variable if target.policy else ""
    others = [other.format(variable) for right, other in _MISTAKES.items() if right.format(variable) == target.name]
    # First the beginning: otherwise there would be a pattern for each secret.
    return folded.startswith(variable) and bool(re.fullmatch("|".join([f"{target.name}_FILE", *others]), folded))


def _near_miss(name: str, targets: Collection[VariableRead], is_set: IsSet) -> NearMiss | None:
    folded = name.upper()
    words = {*folded.split("_")}
    # All but one of its characters are known, so such a name does not contain a key.
    similar = (target for target in targets if len(target.name) >= SHORTEST_SIMILAR)
    meant = near = next((target for target in similar if _is_one_edit_away(name, target.name)), None)
    if near is None and not re.fullmatch(_SERVICE_LINK, folded):
        found = (target for target in targets if words == _words(target) or _is_mistake(target, folded))
        meant = next(found, None) or _marker(name, words, [target for target in targets if target.is_marker], is_set)
    if meant is None:
        return None
    is_shown = re.fullmatch(r"[A-Za-z0-9_]+", name) and (near or words <= _KNOWN_WORDS | _words(meant))
    return NearMiss(meant, name if is_shown else "")


def _marker(name: str, words: set[str], markers: Collection[VariableRead], is_set: IsSet) -> VariableRead | None:
    """Return the expiry marker with the most similar name, where a name speaks of the expiry of a secret."""
    folded = name.upper()
    marked = name.removesuffix("_EXPIRES_AT")
    variables = [target.policy.variable for target in markers if target.policy]
    # A variable without its last word, and known words only.
    stems = [{*variable.split("_")[:-1]} for variable in variables]
    is_of_stem = any(len(stem) > 1 and stem <= words <= _KNOWN_WORDS | stem for stem in stems)
    if not re.search(_OF_EXPIRY, folded) or not (is_of_stem or folded.startswith(("ROBODJ_SECRET", *variables))):
        return None
    if marked != name and marked not in variables and is_set(marked):
        return None  # the marker of a secret that another service declares
    return min(markers, key=lambda target: len(words ^ _words(target)), default=None)


def _words(target: VariableRead) -> set[str]:
    return {*target.name.split("_")}


def _is_one_edit_away(name: str, target: str) -> bool:
    """Check whether one insertion, deletion, replacement or swap, not of a digit, turns a name into `target`."""
    shorter = min(len(name), len(target))
    head = next((index for index in range(shorter) if name[index] != target[index]), shorter)
    tail = next((index for index in range(shorter - head) if name[-1 - index] != target[-1 - index]), shorter - head)
    before = name[head : len(name) - tail]
    after = target[head : len(target) - tail]
    swapped = len(before) == len(after) == 2 and before == after[::-1]  # noqa: PLR2004 - a swap has two
    return (swapped or max(len(before), len(after)) == 1) and not any(map(str.isdigit, before + after))


def how_to_rename(miss: NearMiss) -> str:
    """Return the remedy for a misspelled variable."""
    meant = miss.meant.name
    name = miss.name or "that variable"
    unset = "delete" if miss.manager else "unset"
    which = f"the fingerprints in the file of {name}" if name.endswith("_FILE") else "its fingerprints"
    protect, _ = PROTECTIVE.get(meant, ("", ""))
    remedies = (
        (bool(protect), f"unset {name} and {protect}"),  # whatever either of them says
        (meant == REVOKED_FINGERPRINTS, f"add {which} to {meant}, then {unset} {name}"),
        (
            miss.is_meant_set and miss.meant.is_marker,
            f"set {meant} to the earlier of both, then {unset} {name}",
        ),
        (miss.is_meant_set, f"{unset} {name}; {meant} is set"),
        (meant == EPHEMERAL, f"unset {name} (exec --ephemeral makes temporary keys)"),
        (
            name == f"{meant}_FILE",
            (
                f"{unset} {name}, and set {meant} to the content of the file that it named"
                " (or ROBODJ_SECRETS_DIR to its directory)"
            ),
        ),
        (True, f"rename {name} to {meant}"),
    )
    remedy = next(text for is_so, text in remedies if is_so)
    if miss.deadline and not miss.is_meant_set:
        days = miss.meant.policy.overlap.days if miss.meant.policy else 0
        remedy += f", and set {miss.deadline} to the rotation plus {days} days, as {INSTANT_FORM}"
    if miss.manager:
        return f"in {miss.manager}, {remedy}"
    return remedy if miss.name else f'{remedy} (list names: python -c "import os; print(*os.environ)")'


PROTECTIVE: Final = {
    PROTECTED_ENV: (f"set {PROTECTED_ENV}=true", "only a developer's machine may set it to false"),
    ALLOW_FILE_SECRET_FALLBACK: (
        f"set {ALLOW_FILE_SECRET_FALLBACK}=false",
        "true is for break-glass on a developer's machine only",
    ),
}
"""How to set a switch to its protective value, and where it may have the other one."""
