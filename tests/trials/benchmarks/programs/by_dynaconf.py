"""The job with dynaconf: a validator for each variable. All errors are reported. Dynaconf itself parses times."""

from datetime import datetime

import by_hand
from dynaconf import Dynaconf, ValidationError, Validator

PREFIX = "ROBODJ"
KEY, V2_KEY, *EXPIRIES = (name.removeprefix(f"{PREFIX}_") for name in (by_hand.KEY, by_hand.V2_KEY, *by_hand.EXPIRIES))


def is_ahead(value: object) -> bool:
    """Check whether a value was parsed as a time in the future."""
    return isinstance(value, datetime) and by_hand.is_ahead(value)


def read() -> object:
    """Read both secrets."""
    settings = Dynaconf(envvar_prefix=PREFIX)
    settings.validators.register(
        Validator(KEY, must_exist=True, cast=str, condition=by_hand.is_key, messages={"condition": by_hand.BAD_KEY}),
        Validator(
            V2_KEY, must_exist=True, cast=str, condition=by_hand.is_v2_key, messages={"condition": by_hand.BAD_V2_KEY}
        ),
        Validator(*EXPIRIES, condition=is_ahead, messages={"condition": by_hand.BAD_EXPIRY}),
    )
    settings.validators.validate_all()
    return settings[KEY], settings[V2_KEY]


if __name__ == "__main__":
    try:
        read()
    except ValidationError as error:
        by_hand.refuse(*(text for _, text in error.details))
