"""Misspelled variables: they are set and ignored, and their names are similar to one that is read.

A start imports this module only where there is a similar name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from robodj_secretguard.startup.variables import NearMiss

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from robodj_secretguard.startup.variables import VariableRead

_SHOWABLE: Final = r"[A-Za-z0-9_]+"
_SECRET: Final = "ROBODJ_SECRET"  # noqa: S105 - the beginning of a name
# Every word that begins with EXP is one of expiry or a typo of it, such as EXPRIES, but for EXPORT, EXPRESS and so on.
_EXPIRY: Final = (
    r"EXPIR|(?:^|_)(?:EXP(?!O|ER|ECT|EN|L|AND|RESS)"
    r"|(?:VALID_(?:UNTIL|TO|TILL|THRU|THROUGH)|VALIDUNTIL|NOT_?AFTER|GOOD_UNTIL|ROTATE_BY)(?:_|$))"
)
_MARKER: Final = "_EXPIRES_AT"
_KNOWN_WORDS: Final = frozenset(
    (
        "ROBODJ",
        "SECRET",
        "SECRETS",
        "KEY",
        "KEYS",
        "V1",
        "V2",
        "EXP",
        "EXPIRE",
        "EXPIRED",
        "EXPIRES",
        "EXPIRY",
        "EXPIRATION",
        "VALID",
        "VALIDUNTIL",
        "UNTIL",
        "TO",
        "TILL",
        "NOT",
        "AFTER",
        "AT",
        "ON",
        "DATE",
        "TIME",
        "NEXT",
        "NEW",
        "PREVIOUS",
        "PREV",
        "OLD",
        "DEADLINE",
        "PROTECTED",
        "ENV",
        "ENVIRONMENT",
        "MODE",
        "ALLOW",
        "ALLOWED",
        "FILE",
        "FILES",
        "FALLBACK",
        "FALLBACKS",
    )
)
"""A name of only these words is shown: it cannot contain a key."""
# The names that Kubernetes and Docker give to a service's address. Compiled only when a name looks misspelled.
_SERVICE_LINK: Final = (
    r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


def near_misses(
    names: Iterable[str], targets: Collection[VariableRead], *, is_set: Callable[[str], bool], exact_case: bool
) -> tuple[NearMiss, ...]:
    """Return which names are misspelled, in the order of the variables that the operator meant.

    With `exact_case`, names that differ in case are different names (POSIX).
    """
    found = {
        next(filter(None, (_match(name, target, exact_case=exact_case) for target in targets)), None)
        or _match_beginning(name, targets, is_set)
        for name in names
        if is_set(name)
    }
    names_read = [target.name for target in targets]
    misses = sorted(filter(None, found), key=lambda miss: (names_read.index(miss.meant.name), miss.name))
    meant = [miss.meant.name for miss in misses]
    # After the first fix, the variable of a second one is set.
    is_meant_set = [is_set(name) or name in meant[:index] for index, name in enumerate(meant)]
    return tuple([miss._replace(is_meant_set=each) for miss, each in zip(misses, is_meant_set, strict=True)])


def _match(name: str, target: VariableRead, *, exact_case: bool) -> NearMiss | None:
    if exact_case and name.isascii() and name.upper() == target.name:
        return NearMiss(target, name)
    if _is_one_edit_away(name, target.name):
        # All but one of its characters are known, so the name does not contain a key.
        return NearMiss(target, name if re.fullmatch(_SHOWABLE, name) else "")
    is_reordered = name.upper() != target.name and {*name.upper().split("_")} == {*target.name.split("_")}
    return NearMiss(target, name) if is_reordered or name in target.mistaken else None


def _match_beginning(name: str, targets: Collection[VariableRead], is_set: Callable[[str], bool]) -> NearMiss | None:
    """Return a near miss of a switch or an expiry marker by how a name begins; `None` for a service link."""
    folded = name.upper()
    if re.fullmatch(_SERVICE_LINK, folded):
        return None
    shown = name if _KNOWN_WORDS.issuperset(folded.split("_")) else ""
    for target in targets:
        if target.beginning is not None and folded.startswith(target.beginning):
            return NearMiss(target, shown)
    markers = {target.expires: target for target in targets if target.expires is not None}
    beginning = next(filter(folded.startswith, (*markers, _SECRET)), None) or _stem(folded, markers)
    if beginning is None or not re.search(_EXPIRY, folded):
        return None
    if name.endswith(_MARKER) and name.removesuffix(_MARKER) not in markers and is_set(name.removesuffix(_MARKER)):
        return None  # the marker of a secret that another service declares
    words = set(folded.split("_"))
    nearest = min(markers.values(), key=lambda target: len(words.symmetric_difference(target.name.split("_"))))
    return NearMiss(nearest, shown)


def _stem(name: str, variables: Iterable[str]) -> str | None:
    """Return a declared variable without its last word, where a name is that and known words only."""
    stems = (variable.rpartition("_")[0] for variable in variables)
    return next(
        (
            stem
            for stem in stems
            if "_" in stem and name.startswith(f"{stem}_") and _KNOWN_WORDS.issuperset(name[len(stem) + 1 :].split("_"))
        ),
        None,
    )


def _is_one_edit_away(name: str, target: str) -> bool:
    """Check whether one insertion, deletion, replacement or swap, not of a digit, turns a name into `target`."""
    shorter = min(len(name), len(target))
    head = next((index for index in range(shorter) if name[index] != target[index]), shorter)
    tail = next((index for index in range(shorter - head) if name[-1 - index] != target[-1 - index]), shorter - head)
    before, after = name[head : len(name) - tail], target[head : len(target) - tail]
    swapped = len(before) == len(after) == 2 and before == after[::-1]  # noqa: PLR2004 - a swap has two
    return (swapped or max(len(before), len(after)) == 1) and not any(map(str.isdigit, before + after))
