"""The job with python-decouple: a cast for each variable. Only the first error is reported."""

import by_hand
from decouple import UndefinedValueError, config


def read() -> object:
    """Read both secrets."""
    secrets = config(by_hand.KEY, cast=by_hand.key), config(by_hand.V2_KEY, cast=by_hand.v2_key)
    for variable in by_hand.EXPIRIES:
        config(variable, default=None, cast=by_hand.expiry)
    return secrets


if __name__ == "__main__":
    try:
        read()
    except (UndefinedValueError, ValueError) as error:
        by_hand.refuse(str(error))
