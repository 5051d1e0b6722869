"""The job with django-environ: a cast for each variable. Only the first error is reported."""

import by_hand
from environ import Env, ImproperlyConfigured


def read() -> object:
    """Read both secrets."""
    env = Env()
    secrets = env(by_hand.KEY, cast=by_hand.key), env(by_hand.V2_KEY, cast=by_hand.v2_key)
    for variable in by_hand.EXPIRIES:
        env(variable, cast=by_hand.expiry, default=None)
    return secrets


if __name__ == "__main__":
    try:
        read()
    except (ImproperlyConfigured, ValueError) as error:
        by_hand.refuse(str(error))
