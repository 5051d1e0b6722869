"""The job with starlette.config: a cast for each variable. Only the first error is reported."""

import by_hand
from starlette.config import Config
from starlette.datastructures import Secret


def key(text: str) -> Secret:
    """Return the first secret."""
    return Secret(by_hand.key(text))


def v2_key(text: str) -> Secret:
    """Return the second secret."""
    return Secret(by_hand.v2_key(text))


def read() -> object:
    """Read both secrets."""
    config = Config()
    secrets = config(by_hand.KEY, cast=key), config(by_hand.V2_KEY, cast=v2_key)
    for variable in by_hand.EXPIRIES:
        config(variable, cast=by_hand.expiry, default=None)
    return secrets


if __name__ == "__main__":
    try:
        read()
    except KeyError as error:
        by_hand.refuse(error.args[0])
    except ValueError as error:
        by_hand.refuse(str(error.__context__))  # the library's own text shows the value
