"""The variables that the library reads: their names, the format of a marker, and how to find misspelled names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from robodj_secretguard.secret.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.secret.sealed import SealedStr

REVOKED_FINGERPRINTS: Final = "ROBODJ_REVOKED_FINGERPRINTS"
"""The variable that adds entries for a fleet, separated by commas or blanks."""
ROTATION_RECORD: Final = "ROBODJ_ROTATION_RECORD"
"""The field of a secret manager that has the records of each secret's last step. No service reads it."""
PROTECTED_ENV: Final = "ROBODJ_PROTECTED_ENV"
ALLOW_FILE_SECRET_FALLBACK: Final = "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"  # noqa: S105 - a name
CONFIG_DIR: Final = "ROBODJ_CONFIG_DIR"
EPHEMERAL: Final = "ROBODJ_SECRETS_EPHEMERAL"
"""Set where the keys are temporary, for an image build or a test."""
ANNOUNCED: Final = "announced"
"""Its value where `exec` already reported that the keys are temporary. The guard does not repeat that."""
OPERATIONS_LOG: Final = "ROBODJ_OPERATIONS_LOG"
SERVICE: Final = "ROBODJ_SERVICE"
INSTANCE: Final = "ROBODJ_INSTANCE"
SECRET_EVENTS: Final = "ROBODJ_SECRET_EVENTS"  # noqa: S105 - a name, as below
SECRET_HEARTBEAT: Final = "ROBODJ_SECRET_HEARTBEAT"  # noqa: S105
EVENT_SETTINGS: Final = (SERVICE, INSTANCE, SECRET_EVENTS, SECRET_HEARTBEAT)
"""How a process says which keys it runs on."""
MOST_HEARTBEAT_SECONDS: Final = 86400
# Not compiled at import: that takes a twentieth of the startup time, and few keys have a marker.
_INSTANT: Final = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)

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
        *("NEXT", "NEW", "PREVIOUS", "PREV", "OLD", "DEADLINE"),
        *("PROTECTED", "ENV", "ENVIRONMENT", "MODE", "ALLOW", "ALLOWED", "FILE", "FILES", "FALLBACK", "FALLBACKS"),
    )
)
"""A name of only these words is shown: it cannot contain a key."""
# The names that Kubernetes and Docker give to a service's address. Compiled only when a name looks misspelled.
_SERVICE_LINK: Final = (
    r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class VariableRead(Frozen):
    """A variable that the library reads.

    Attributes:
        name: its name.
        policy: the declared secret that it belongs to, or `None`.
        loosens: whether a check protects less when the variable is ignored.
        mistaken: other names that operators use instead.
        beginning: the beginning of other names that operators use instead.
        expires: the variable whose expiry marker it is, or `None`.
    """

    name: str
    policy: SecretPolicy | None = None
    loosens: bool = False
    mistaken: tuple[str, ...] = ()
    beginning: str | None = None
    expires: str | None = None


class NearMiss(Frozen):
    """A variable that is set and ignored.

    Attributes:
        meant: the variable that the operator meant.
        name: the name of the ignored variable; empty where it could contain a key.
        is_meant_set: whether the variable that the operator meant is set too.
        manager: the secret manager that has it; empty for the environment.
    """

    meant: VariableRead
    name: str
    is_meant_set: bool = False
    manager: str = ""


class VariablesRead:
    """The variables that the library reads, and how to find misspelled ones."""

    __slots__ = ("_head", "_heads", "_tail", "_tails", "_targets")

    def __init__(self, targets: Iterable[VariableRead]) -> None:
        self._targets = {target.name: target for target in targets}
        # One edit keeps the first or the last k characters of a name of 2k + 1 or more. Every other kind of near miss
        # begins like its target. So two look-ups dismiss nearly all names of a large environment.
        kept = (min(map(len, self._targets)) - 1) // 2
        self._head, self._tail = slice(kept), slice(-kept, None)
        self._heads = {name[self._head] for name in self._targets}
        self._tails = {name[self._tail] for name in self._targets}

    def near_misses(
        self, names: Iterable[str], *, is_set: Callable[[str], bool], any_case: bool
    ) -> tuple[NearMiss, ...]:
        """Return the misspelled variables, in the order of the variables that the operator meant.

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
            or _match_beginning(name, targets.values(), is_set)
            for name in near
        }
        misses = sorted(filter(None, found), key=lambda miss: (names_read.index(miss.meant.name), miss.name))
        meant = [miss.meant.name for miss in misses]
        # After the first fix, the variable of a second one is set.
        is_meant_set = [is_set(name) or name in meant[:index] for index, name in enumerate(meant)]
        return tuple([miss._replace(is_meant_set=each) for miss, each in zip(misses, is_meant_set, strict=True)])


def _match(name: str, target: VariableRead, *, any_case: bool) -> NearMiss | None:
    if any_case and name.isascii() and name.upper() == target.name:
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
    """Return a declared variable without its last word, where a name is that and known words only."""
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
    """Check whether one insertion, deletion, replacement or swap, not of a digit, turns a name into `target`."""
    shorter = min(len(name), len(target))
    head = next((index for index in range(shorter) if name[index] != target[index]), shorter)
    tail = next((index for index in range(shorter - head) if name[-1 - index] != target[-1 - index]), shorter - head)
    before, after = name[head : len(name) - tail], target[head : len(target) - tail]
    swapped = len(before) == len(after) == 2 and before == after[::-1]  # noqa: PLR2004 - a swap has two
    return (swapped or max(len(before), len(after)) == 1) and not any(map(str.isdigit, before + after))


_SETTINGS_READ: Final = (
    VariableRead(PROTECTED_ENV, loosens=True, beginning="ROBODJ_PROTECTED"),
    VariableRead(ALLOW_FILE_SECRET_FALLBACK, loosens=True, beginning="ROBODJ_ALLOW_FILE"),
    VariableRead(CONFIG_DIR),
    VariableRead(EPHEMERAL, loosens=True),
    VariableRead(REVOKED_FINGERPRINTS, loosens=True, mistaken=(f"{REVOKED_FINGERPRINTS}_FILE",)),
    VariableRead(OPERATIONS_LOG),
    VariableRead(SECRET_EVENTS),
    VariableRead(SECRET_HEARTBEAT),
)
# A shorter name than those that are read would make near misses of more variables: each one costs time.
SETTINGS: Final = (*[each.name for each in _SETTINGS_READ], SERVICE, INSTANCE)


def variables_read(policies: Iterable[SecretPolicy]) -> VariablesRead:
    """Return the variables that are read for some secrets."""
    read = [*_SETTINGS_READ]
    for policy in policies:
        ignored = () if policy.overlap else policy.slot_variables
        read.append(VariableRead(policy.variable, policy, mistaken=(f"{policy.variable}_FILE", *ignored)))
        read.append(VariableRead(policy.expiry_variable, policy, loosens=True, expires=policy.variable))
        if policy.overlap:
            coming, previous, until = policy.slot_variables
            new, old = f"{policy.variable}_NEW", (f"{policy.variable}_OLD", f"{policy.variable}_PREV")
            read.append(VariableRead(coming, policy, mistaken=(f"{coming}_FILE", new)))
            read.append(VariableRead(previous, policy, mistaken=(f"{previous}_FILE", *old)))
            untils = (f"{policy.variable}_UNTIL", f"{policy.variable}_PREV_UNTIL", f"{policy.variable}_OLD_UNTIL")
            read.append(VariableRead(until, policy, loosens=True, mistaken=untils, beginning=f"{previous}_"))
    return VariablesRead(read)


def parse_marker(marker: SealedStr | None) -> datetime | None:
    """Return the instant of an expiry marker, in UTC; `None` for no marker or an invalid one.

    The format is `YYYY-MM-DDTHH:MM[:SS[.fraction]]` with `Z` or an offset of hours and minutes. The parsers of the
    standard library get no other text, because their errors repeat it.
    """
    match = re.fullmatch(_INSTANT, marker.get_secret_value()) if marker else None
    if match is None:
        return None
    *date_and_time, fraction, sign, hours, minutes = match.groups("0")
    year, month, day, hour, minute, second = map(int, date_and_time)
    microsecond = int(fraction[:6].ljust(6, "0"))
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    zone = timezone(-offset if sign == "-" else offset)
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):  # not in the calendar, or out of range in UTC
        return None


def iso_utc(instant: datetime) -> str:
    """Return an aware datetime as ISO-8601 in UTC, to the second, with `Z`."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
