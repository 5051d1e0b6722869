"""Read one JSON object: from stdin, which is the way from any other secret manager's client."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from robodj_secretguard.errors import ManagerError, UnreadError
from robodj_secretguard.managers.manager import Manager
from robodj_secretguard.startup.directory import MAX_BYTES
from robodj_secretguard.startup.file_reader import read_most

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_CLIENT: Final = "run the command before the pipe alone, and correct what it reports"


class JsonObject(Manager):
    """The members of one JSON object on stdin, which cannot be read again."""

    is_repeatable = False
    reach = _CLIENT

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:  # noqa: ARG002
        """Return the members."""
        if sys.stdin is None or sys.stdin.isatty():  # a terminal would show a typed key
            raise ManagerError("cannot be read: stdin is not a pipe", "pipe one JSON object into this command")
        return members(read_most(sys.stdin.fileno(), MAX_BYTES + 1), _CLIENT)


def members(text: bytes | str, remedy: str, *, is_whole: bool = False) -> Mapping[str, object]:
    """Return the members of a JSON object. `is_whole`: no part of the text was lost on its way.

    Raises:
        ManagerError: it cannot be used. Where its end may have been lost, that is temporary.
    """
    if len(text) > MAX_BYTES:
        raise ManagerError(f"is larger than {MAX_BYTES} bytes", remedy)
    if not text.strip():
        raise ManagerError("is empty", remedy, is_temporary=not is_whole)
    try:
        found = json.loads(text, object_pairs_hook=_unique_members)
    except UnreadError:
        raise ManagerError("has a member twice", remedy) from None
    except json.JSONDecodeError as error:
        document = error.doc.strip()
        is_at_end = not document.endswith("}") or error.pos >= len(error.doc.rstrip())
        if document.startswith("{") and error.msg != "Extra data" and is_at_end:
            raise ManagerError("is cut off", remedy, is_temporary=not is_whole) from None
        found = None
    except (ValueError, RecursionError):  # not UTF-8, or nested too deeply
        found = None
    if not isinstance(found, dict):
        raise ManagerError("is not a JSON object", remedy)
    return found


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadError
    return found
