"""A secret manager that `rotate` changes: one write, which fails if somebody else has written in the meantime."""

from __future__ import annotations

import json
from abc import abstractmethod
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.managers.manager import Manager, ManagerError
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

CONFLICT: Final = (
    "was changed by somebody else in the meantime, so nothing was written",
    "run this command again: it reads the new version",
)
"""What is wrong, and what to do, where the version of a write is not the current one any more."""
NO_FIELDS: Final = SealedStr("{}")


class Stored(Frozen):
    """A version of a secret in a manager.

    Attributes:
        fields: all fields, as one JSON object.
        version: the version. A write names the one that it was made from.
        written_at: when the manager made it, if that is known.
        read_at: the manager's time, if that is known.
    """

    fields: SealedStr
    version: str
    written_at: datetime | None = None
    read_at: datetime | None = None

    def opened(self) -> dict[str, Any]:
        """Return the fields. Call it inside `contain()`."""
        return opened(self.fields)


class Store(Manager):
    """A manager that can be written. Its methods raise `ManagerError` or any other error: call them with `within`."""

    @abstractmethod
    def read(self, seconds: float) -> tuple[dict[str, Any], Stored]:
        """Return the fields of the current version, and that version without them."""

    @abstractmethod
    def write(self, fields: SealedStr, current: Stored, seconds: float) -> None:
        """Replace the current version by a new one with these fields.

        Raises:
            ManagerError: nothing was written. Its text is `CONFLICT` where another version is current by now.
        """

    def unfinished(self, seconds: float) -> Stored | None:  # noqa: ARG002
        """Return the version that an interrupted `write` has left; `None` where a write is one step."""
        return None

    def current(self, seconds: float) -> Stored:
        """Return the current version. `seconds` is the time limit."""
        return whole(*self.read(seconds))

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:  # noqa: ARG002
        """Return the fields of the current version."""
        fields, _ = self.read(seconds)
        return fields


def whole(fields: dict[str, Any], version: Stored) -> Stored:
    """Return a version with its fields."""
    try:
        return version._replace(fields=sealed(fields))
    except RecursionError:
        message, remedy = "has a field that is nested too deeply", "store that field elsewhere, or as one text"
        raise ManagerError(message, remedy) from None


def time_of(text: object) -> datetime | None:
    """Return the time of an HTTP header `Date`; `None` where it is missing or invalid."""
    try:
        found = parsedate_to_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def opened(fields: SealedStr) -> dict[str, Any]:
    """Return the fields of a JSON object. Call it inside `contain()`."""
    found: dict[str, Any] = json.loads(fields.get_secret_value())
    return found


def sealed(fields: Mapping[str, Any]) -> SealedStr:
    """Return fields as one JSON object."""
    return SealedStr(json.dumps(fields))
