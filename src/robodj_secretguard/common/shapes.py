"""The types of JSON documents: no field can contain a key or forge a line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.dataclasses import dataclass

from robodj_secretguard.secret.material import FINGERPRINT, is_plain_text
from robodj_secretguard.secret.policy import is_secret_name
from robodj_secretguard.secret.texts import is_environment, is_free_text
from robodj_secretguard.startup.inputs import iso_utc


def must(holds: Callable[[Any], bool]) -> AfterValidator:
    """Return a validator that accepts the values for which a function returns true."""

    def validate(value: Any) -> Any:
        if not holds(value):
            raise ValueError
        return value

    return AfterValidator(validate)


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError from None


SecretName = Annotated[str, must(is_secret_name)]
PlainText = Annotated[str, must(is_plain_text)]
FreeText = Annotated[str, must(is_free_text)]
EnvironmentName = Annotated[str, must(is_environment)]
Fingerprint = Annotated[str, Field(pattern=FINGERPRINT)]
Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    PlainSerializer(iso_utc),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
SHAPE: Final = ConfigDict(
    extra="forbid", strict=True, hide_input_in_errors=True, json_schema_serialization_defaults_required=True
)


@dataclass(frozen=True, config=SHAPE)
class Slots:
    """The fingerprints of the keys of one secret, by slot, wherever these keys are."""

    current: Fingerprint | None = None
    next: Fingerprint | None = None
    previous: Fingerprint | None = None
    previous_until: Instant | None = None
    """The deadline of the previous key."""
