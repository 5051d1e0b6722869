"""Read one JSON object: from stdin, which is the way from any other secret manager's client."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from robodj_secretguard.errors import UnreadError
from robodj_secretguard.managers.manager import MAX_BYTES, Failure, Manager
from robodj_secretguard.startup.textfile import read_most

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_CLIENT: Final = "run the command before the pipe alone, and correct what it reports"


class JsonObject(Manager):
    """The members of one JSON object on stdin, which cannot be read again."""

    is_repeatable = False
    reach = _CLIENT

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object] | Failure:  # noqa: ARG002
        """Return the members."""
        if sys.stdin is None or sys.stdin.isatty():  # a terminal would show a typed key
            return Failure("cannot be read: stdin is not a pipe", "pipe one JSON object into this command")
        return members(read_most(sys.stdin.fileno(), MAX_BYTES + 1), _CLIENT)


def members(text: bytes | str, fix: str) -> Mapping[str, object] | Failure:
    """Return the members of a JSON object, or why it cannot be used. Where its end is missing, that is temporary."""
    if len(text) > MAX_BYTES:
        return Failure(f"is larger than {MAX_BYTES} bytes", fix)
    if not text.strip():
        return Failure("is empty", fix, is_temporary=True)
    try:
        found = json.loads(text, object_pairs_hook=_without_repetition)
    except UnreadError:
        return Failure("has a member twice", fix)
    except json.JSONDecodeError as error:
        document = error.doc.strip()
        is_at_end = not document.endswith("}") or error.pos >= len(error.doc.rstrip())
        is_cut = document.startswith("{") and error.msg != "Extra data" and is_at_end
        return Failure("is cut off", fix, is_temporary=True) if is_cut else Failure("is not a JSON object", fix)
    except (ValueError, RecursionError):  # not UTF-8, or nested too deeply
        return Failure("is not a JSON object", fix)
    return found if isinstance(found, dict) else Failure("is not a JSON object", fix)


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadError
    return found
