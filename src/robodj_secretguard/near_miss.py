"""Typos of variables: set, close to a name that is read, and so silently ignored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from robodj_secretguard.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from robodj_secretguard.policy import SecretPolicy

_SHOWABLE: Final = r"[A-Za-z0-9_]+"
_SECRET: Final = "ROBODJ_SECRET"  # noqa: S105 - the beginning of a name
_OF_EXPIRY: Final = tuple(
    f"_{words}_"
    for words in (
        *("VALID_UNTIL", "VALIDUNTIL", "VALID_TO", "VALID_TILL", "VALID_THRU", "VALID_THROUGH", "NOT_AFTER"),
        *("NOTAFTER", "GOOD_UNTIL", "ROTATE_BY"),
    )
)
_NOT_OF_EXPIRY: Final = ("EXPO", "EXPER", "EXPECT", "EXPEN", "EXPL", "EXPAND", "EXPRESS")
"""Every other word that begins with EXP is a typo of expiry, such as EXPRIES."""
_MARKER: Final = "_EXPIRES_AT"
_WORDS: Final = frozenset(
    (
        *("ROBODJ", "SECRET", "SECRETS", "KEY", "KEYS", "V1", "V2", "EXP", "EXPIRE", "EXPIRED", "EXPIRES", "EXPIRY"),
        *("EXPIRATION", "VALID", "VALIDUNTIL", "UNTIL", "TO", "TILL", "NOT", "AFTER", "AT", "ON", "DATE", "TIME"),
        *("PROTECTED", "ENV", "ENVIRONMENT", "MODE", "ALLOW", "ALLOWED", "FILE", "FILES", "FALLBACK", "FALLBACKS"),
    )
)
"""A name of these words alone is shown: no key can have been put in it."""
# As Kubernetes and Docker name a service's address; compiled only where a name is suspect.
_SERVICE_LINK: Final = (
    r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class VariableRead(Frozen):
    """A variable that the library reads.

    Attributes:
        name: its name.
        policy: the declared secret that it belongs to, or `None`.
        loosens: whether a check is looser when it is ignored.
        mistaken: another name that is mistaken for it.
        beginning: the beginning of names that are mistaken for it.
        expires: the variable of which it is the expiry marker, or `None`.
    """

    name: str
    policy: SecretPolicy | None = None
    loosens: bool = False
    mistaken: str | None = None
    beginning: str | None = None
    expires: str | None = None


class NearMiss(Frozen):
    """A set variable that is ignored.

    Attributes:
        meant: the variable that is meant.
        name: its own name; empty where a key may have been put in it.
        is_meant_set: whether the variable that is meant is set too.
    """

    meant: VariableRead
    name: str
    is_meant_set: bool = False


class VariablesRead:
    """The variables that the library reads, and all that is a typo of one."""

    __slots__ = ("_head", "_heads", "_tail", "_tails", "_targets")

    def __init__(self, targets: Iterable[VariableRead]) -> None:
        self._targets = {target.name: target for target in targets}
        # One edit leaves the first or the last k characters of a name of 2k + 1 or more as they were, and every other
        # kind of near-miss begins like its target: two look-ups dismiss nearly all of a large environment.
        kept = (min(map(len, self._targets)) - 1) // 2
        self._head, self._tail = slice(kept), slice(-kept, None)
        self._heads = {name[self._head] for name in self._targets}
        self._tails = {name[self._tail] for name in self._targets}

    def near_misses(
        self, names: Iterable[str], *, is_set: Callable[[str], bool], any_case: bool
    ) -> tuple[NearMiss, ...]:
        """Return the set variables that are typos, in the order of what is meant.

        With `any_case`, names that differ in case are different names (POSIX).
        """
        head, heads, tail, tails, targets = self._head, self._heads, self._tail, self._tails, self._targets
        near = [name for name in names if (folded := name.upper())[head] in heads or folded[tail] in tails]
        near = [name for name in near if name not in targets and is_set(name)]
        if not near:
            return ()
        names_read = [*targets]
        found = {
            next(filter(None, (_match(name, target, any_case=any_case) for target in targets.values())), None)
            or _of_a_family(name, targets.values(), is_set)
            for name in near
        }
        misses = sorted(filter(None, found), key=lambda miss: (names_read.index(miss.meant.name), miss.name))
        return tuple([miss._replace(is_meant_set=is_set(miss.meant.name)) for miss in misses])


def _match(name: str, target: VariableRead, *, any_case: bool) -> NearMiss | None:
    if any_case and name.isascii() and name.upper() == target.name:
        return NearMiss(target, name)
    if _is_one_edit_away(name, target.name):
        # A name is shown only where all but one of its characters are known: a key may have been put in a name.
        return NearMiss(target, name if re.fullmatch(_SHOWABLE, name) else "")
    return NearMiss(target, name) if name == target.mistaken else None


def _of_a_family(name: str, targets: Collection[VariableRead], is_set: Callable[[str], bool]) -> NearMiss | None:
    """Return a near miss by what a name begins with: a switch, or an expiry marker; not a Kubernetes service link."""
    folded = name.upper()
    if re.fullmatch(_SERVICE_LINK, folded):
        return None
    shown = name if _WORDS.issuperset(folded.split("_")) else ""
    for target in targets:
        if target.beginning is not None and folded.startswith(target.beginning):
            return NearMiss(target, shown)
    markers = {target.expires: target for target in targets if target.expires is not None}
    beginning = next(filter(folded.startswith, (*markers, _SECRET)), None) or _stem(folded, markers)
    if beginning is None or not _speaks_of_expiry(folded):
        return None
    if name.endswith(_MARKER) and name.removesuffix(_MARKER) not in markers and is_set(name.removesuffix(_MARKER)):
        return None  # the marker of a secret that another service declares
    words = set(folded.split("_"))
    nearest = min(markers.values(), key=lambda target: len(words.symmetric_difference(target.name.split("_"))))
    return NearMiss(nearest, shown)


def _stem(name: str, variables: Iterable[str]) -> str | None:
    """Return a declared variable without its last word, where a name is that and words of expiry alone."""
    stems = (variable.rpartition("_")[0] for variable in variables)
    return next(
        (
            stem
            for stem in stems
            if "_" in stem and name.startswith(f"{stem}_") and _WORDS.issuperset(name[len(stem) + 1 :].split("_"))
        ),
        None,
    )


def _speaks_of_expiry(name: str) -> bool:
    if "EXPIR" in name or any(words in f"_{name}_" for words in _OF_EXPIRY):
        return True
    return any(word.startswith("EXP") and not word.startswith(_NOT_OF_EXPIRY) for word in name.split("_"))


def _is_one_edit_away(name: str, target: str) -> bool:
    """Whether one insertion, deletion, replacement or swap makes `target` of another name, none of them on a digit."""
    shorter = min(len(name), len(target))
    head = next((place for place in range(shorter) if name[place] != target[place]), shorter)
    tail = next((place for place in range(shorter - head) if name[-1 - place] != target[-1 - place]), shorter - head)
    before, after = name[head : len(name) - tail], target[head : len(target) - tail]
    swapped = len(before) == len(after) == 2 and before == after[::-1]  # noqa: PLR2004 - a swap has two
    return (swapped or max(len(before), len(after)) == 1) and not any(map(str.isdigit, before + after))
