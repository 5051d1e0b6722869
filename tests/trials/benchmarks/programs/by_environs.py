"""The job with environs: deferred validation reports all errors at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import by_hand
from environs import Env, EnvValidationError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable


def must(holds: Callable[[Any], bool], fault: str) -> Callable[[Any], None]:
    """Return a validator for environs."""

    def validate(value: Any) -> None:
        if not holds(value):
            raise ValidationError(fault)

    return validate


def read() -> object:
    """Read both secrets."""
    env = Env(eager=False)
    secrets = (
        env.str(by_hand.KEY, validate=must(by_hand.is_key, by_hand.BAD_KEY)),
        env.str(by_hand.V2_KEY, validate=must(by_hand.is_v2_key, by_hand.BAD_V2_KEY)),
    )
    for variable in by_hand.EXPIRIES:
        env.datetime(variable, default=None, validate=must(by_hand.is_ahead, by_hand.BAD_EXPIRY))
    env.seal()
    return secrets


if __name__ == "__main__":
    try:
        read()
    except EnvValidationError as error:
        by_hand.refuse(*(f"{variable}: {', '.join(texts)}" for variable, texts in error.error_messages.items()))
