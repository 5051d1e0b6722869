"""The shapes of what is recorded: each field is held to what can be no key and forge no line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, AwareDatetime, ConfigDict, PlainSerializer

from robodj_secretguard.material import is_fingerprint
from robodj_secretguard.policy import is_plain_text, is_secret_name
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import is_environment, is_free_text

if TYPE_CHECKING:
    from collections.abc import Callable


def must(holds: Callable[[str], bool]) -> AfterValidator:
    """Return a validator of texts.

    Args:
        holds: what must hold of the text.
    """

    def judge(text: str) -> str:
        if not holds(text):
            raise ValueError
        return text

    return AfterValidator(judge)


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError from None


SecretName = Annotated[str, must(is_secret_name)]
PlainText = Annotated[str, must(is_plain_text)]
FreeText = Annotated[str, must(is_free_text)]
Environment = Annotated[str, must(is_environment)]
Fingerprint = Annotated[str, must(is_fingerprint)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc), PlainSerializer(iso_utc)]
SHAPE: Final = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
