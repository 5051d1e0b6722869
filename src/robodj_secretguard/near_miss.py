"""Typos of variables: set, close to a name that is read, and so silently ignored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from robodj_secretguard.policy import SecretPolicy

_SHOWABLE: Final = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class ReadName:
    """A variable that the library reads.

    Args:
        name: its name.
        policy: the declared secret that it belongs to, or `None`.
        loosens: whether a check is looser when it is ignored.
        mistaken: another name that is mistaken for it.
        beginning: the beginning of names that are mistaken for it.
    """

    name: str
    policy: SecretPolicy | None = None
    loosens: bool = False
    mistaken: str | None = None
    beginning: str | None = None


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A set variable that is a typo of one that is read.

    Args:
        meant: the variable that it is a typo of.
        found: how an operator may know it; a constant, or a name that differs from `meant` by one character.
    """

    meant: ReadName
    found: str


def near_misses(
    names: Iterable[str],
    read: Iterable[ReadName],
    *,
    is_set: Callable[[str], bool],
    any_case: bool,
) -> tuple[NearMiss, ...]:
    """Return the set variables that are typos of one that is read.

    Args:
        names: the names in the environment.
        read: the variables that are read.
        is_set: whether a name has a value; an empty one is unset.
        any_case: whether names that differ in case are different names (POSIX).
    """
    targets = tuple(read)
    known = {target.name for target in targets}
    # One edit leaves the first or the last k characters of a name of 2k + 1 or more as they were, and every other
    # kind of near-miss begins like its target: two look-ups dismiss nearly all of a large environment.
    kept = (min(len(name) for name in known) - 1) // 2
    heads = {name[:kept] for name in known}
    tails = {name[-kept:] for name in known}

    def found() -> Iterator[NearMiss]:
        for name in names:
            folded = name.upper()
            if name in known or not (folded[:kept] in heads or folded[-kept:] in tails) or not is_set(name):
                continue
            match = next((miss for target in targets if (miss := _match(name, target, any_case=any_case))), None)
            if match is not None:
                yield match

    order = {target.name: place for place, target in enumerate(targets)}
    return tuple(sorted(set(found()), key=lambda miss: (order[miss.meant.name], miss.found)))


def _match(name: str, target: ReadName, *, any_case: bool) -> NearMiss | None:
    if any_case and name.isascii() and name.upper() == target.name:
        return NearMiss(target, name)
    if _is_one_edit_away(name, target.name):
        # A name is shown only where all but one of its characters are known: a key may have been put in a name.
        return NearMiss(target, name if _SHOWABLE.fullmatch(name) else "A name that is one character away")
    if name == target.mistaken:
        return NearMiss(target, name)
    if target.beginning is not None and name.startswith(target.beginning):
        return NearMiss(target, f"A name that begins with {target.beginning}")
    return None


def _is_one_edit_away(name: str, target: str) -> bool:
    """Whether one insertion, deletion, replacement or swap makes `target` of another name, none of them on a digit."""
    shorter = min(len(name), len(target))
    head = next((place for place in range(shorter) if name[place] != target[place]), shorter)
    tail = next((place for place in range(shorter - head) if name[-1 - place] != target[-1 - place]), shorter - head)
    before, after = name[head : len(name) - tail], target[head : len(target) - tail]
    swapped = len(before) == len(after) == 2 and before == after[::-1]  # noqa: PLR2004 - a swap has two
    return (swapped or max(len(before), len(after)) == 1) and not any(map(str.isdigit, before + after))
