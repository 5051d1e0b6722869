"""What every command returns: what it has to say, or why it did nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from robodj_secretguard.findings import JSON_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_CLEAN: Final = 0
EXIT_ALERTS: Final = 1
EXIT_USAGE: Final = 2


class UsageError(Exception):
    """A usage error, or work that could not be done. Its text is ours alone: what was passed may be a key."""


@dataclass(frozen=True)
class Answer:
    """What a command has to say.

    Attributes:
        status: the exit status.
        result: what goes to stdout.
        told: what goes to stderr.
        end: what follows the result.
        events: what was recorded, in the plain types of JSON; each goes to the log system, a fleet's shared record.
        then: what is to be done after that, with an answer of its own.
    """

    status: int
    result: str = field(default="", repr=False)
    told: str = ""
    end: str = "\n"
    events: Sequence[dict[str, Any]] = ()
    then: Callable[[], Answer] | None = None


def document(*, ok: bool, **fields: Any) -> str:
    """Return a result as one JSON document, with the version of its shape and its verdict first."""
    return json.dumps({"schema": JSON_SCHEMA, "ok": ok, **fields}, indent=2)
