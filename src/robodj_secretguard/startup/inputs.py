"""What a start reads: variables, with the format of a marker and names like theirs; and small text files.

They share a module, because each further module costs a start a hundredth of the guard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr

REVOKED_FINGERPRINTS: Final = "ROBODJ_REVOKED_FINGERPRINTS"
"""The variable that adds entries for a fleet, separated by commas or blanks."""
ROTATION_RECORD: Final = "ROBODJ_ROTATION_RECORD"
"""The field of a secret manager that has the records of each secret's last step. No service reads it."""
PROTECTED_ENV: Final = "ROBODJ_PROTECTED_ENV"
ALLOW_FILE_SECRET_FALLBACK: Final = "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"  # noqa: S105 - a name
CONFIG_DIR: Final = "ROBODJ_CONFIG_DIR"
SECRETS_DIR: Final = "ROBODJ_SECRETS_DIR"
SECRETS_REFRESH: Final = "ROBODJ_SECRETS_REFRESH"
ENVIRONMENT: Final = "ROBODJ_ENVIRONMENT"
"""Whose secrets these are, such as `prod`: of the process, and of a set of secrets."""
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
MOST_REFRESH_SECONDS: Final = 900
INSTANT_FORM: Final = "YYYY-MM-DDTHH:MM:SSZ"
"""How an instant is written, in messages. Nobody can paste it as it is."""
# Not compiled at import: that takes a twentieth of the startup time, and few keys have a marker.
_INSTANT: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)


SHORTEST_SIMILAR: Final = 5
"""A shorter name is one edit away from too many others: nothing is a typo of it."""


class VariableRead(Frozen):
    """A variable that the library reads.

    Attributes:
        name: its name.
        policy: the declared secret that it belongs to, or `None`.
        loosens: whether a check protects less when the variable is ignored.
    """

    name: str
    policy: SecretPolicy | None = None
    loosens: bool = False

    @property
    def is_marker(self) -> bool:
        """Whether it is the expiry marker of a secret."""
        return self.policy is not None and self.name == self.policy.expiry_variable


class VariablesRead:
    """The variables that the library reads, by name."""

    __slots__ = ("_head", "_heads", "_tail", "_tails", "targets")

    def __init__(self, targets: Iterable[VariableRead]) -> None:
        self.targets = {target.name: target for target in targets}
        # One edit keeps the first or the last k characters of a name of 2k + 1 or more. Every other kind of near miss
        # begins like its target. So two look-ups dismiss nearly all names of a large environment.
        long = [name for name in self.targets if len(name) >= SHORTEST_SIMILAR]
        kept = (min(map(len, long)) - 1) // 2
        self._head, self._tail = slice(kept), slice(-kept, None)
        self._heads = {name[self._head] for name in long}
        # Many variables end like this one, such as SENTRY_ENVIRONMENT. A typo in its end keeps the beginning.
        self._tails = {name[self._tail] for name in long if name != ENVIRONMENT}

    def similar(self, names: Iterable[str]) -> list[str]:
        """Return the names that are not read and may be misspelled. `near_miss` looks at them closely."""
        head, heads, tail, tails = self._head, self._heads, self._tail, self._tails
        near = [name for name in names if (folded := name.upper())[head] in heads or folded[tail] in tails]
        return [name for name in near if name not in self.targets]


_LOOSENING: Final = (
    PROTECTED_ENV,
    ALLOW_FILE_SECRET_FALLBACK,
    SECRETS_DIR,
    SECRETS_REFRESH,
    EPHEMERAL,
    ENVIRONMENT,
    REVOKED_FINGERPRINTS,
)
"""Without one of these, a check protects less."""
# A shorter name than those that are read would make near misses of more variables: each one costs time.
_SIMILAR: Final = (*_LOOSENING, CONFIG_DIR, OPERATIONS_LOG, SECRET_EVENTS, SECRET_HEARTBEAT)
SETTINGS: Final = (*_SIMILAR, SERVICE, INSTANCE)


def variables_read(policies: Iterable[SecretPolicy]) -> VariablesRead:
    """Return the variables that are read for some secrets."""
    settings = [VariableRead(name, None, name in _LOOSENING) for name in _SIMILAR]
    of_secrets = [
        VariableRead(name, policy, name not in policy.key_variables) for policy in policies for name in policy.variables
    ]
    return VariablesRead([*settings, *of_secrets])


def parse_marker(marker: SealedStr | None) -> datetime | None:
    """Return the instant of an expiry marker, in UTC; `None` for no marker or an invalid one.

    The format is `YYYY-MM-DDTHH:MM[:SS[.fraction]]` with `Z` or an offset of hours and minutes. The parser of the
    standard library gets no other text: it accepts more formats, and its errors repeat the text.
    """
    match = re.fullmatch(_INSTANT, marker.get_secret_value()) if marker else None
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[0]).astimezone(UTC)
    except (ValueError, OverflowError):  # not in the calendar, or out of range in UTC
        return None


def iso_utc(instant: datetime) -> str:
    """Return an aware datetime as ISO-8601 in UTC, to the second, with `Z`."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# The faults of a file. Each is the end of a sentence that begins with the name of the file.
NOT_REGULAR: Final = "is not a regular file"
CHANGED: Final = "changed while it was read"
NOT_ALLOWED: Final = "cannot be read by this user"
CANNOT_BE_READ: Final = "cannot be read"
TOO_LARGE: Final = "is larger than {} bytes"
NOT_UTF_8: Final = "is not UTF-8"
WRITABLE: Final = "can be written by others"
IN_WRITABLE: Final = "is in a directory that others can write"
BELOW_WRITABLE: Final = "is below a directory that others can write"
OWNED: Final = "is owned by another user"
IN_OWNED: Final = "is in a directory that another user owns"
BELOW_OWNED: Final = "is below a directory that another user owns"
READABLE: Final = "can be read by others"
GROUP_WRITABLE: Final = "can be written by its group"


MAX_CHARACTERS: Final = 1 << 16  # of the longest value, as the systems limit the variables of a command


class TextFile(Frozen):
    """The result of one bounded read of a file: a key file (policy section 2), or the revocation list.

    Attributes:
        exists: whether the file exists.
        dangling: whether its path is a broken link.
        empty: whether it has no line at all, as during a checkout.
        lines: the lines other than blank lines and comments; or the whole text as one line.
        numbers: the number of each of these lines in the file, from 1.
        unreadable: why the lines cannot be read.
        exposed: why others could have written the lines.
        lax: permissions that are wider than those of a key file should be.
        lax_paths: parts of the path that others could write if the file system were not read-only.
        foreign: whether another ordinary user owns the file or a directory above it.
        misnamed: whether a file with the same name and `.txt` is next to it.
    """

    exists: bool = False
    dangling: bool = False
    empty: bool = True
    lines: tuple[SealedStr, ...] = ()
    numbers: tuple[int, ...] = ()
    unreadable: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()
    lax_paths: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    misnamed: bool = False

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Why the file may not be used."""
        return self.unreadable + self.exposed


NO_TEXT: Final = TextFile()


def is_one_line(text: str) -> bool:
    """Check whether text has no other kind of line break, after which an editor shows another line."""
    return len(text.splitlines()) == 1
