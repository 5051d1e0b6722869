"""Django: a database of `DATABASES` whose connections follow a secret, from version 4.2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from robodj_secretguard.adapters.live import MaskedStr
from robodj_secretguard.running.login import login_of
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import SealedStr, contain

FOLLOWED_ENGINE: Final = "FOLLOWED_ENGINE"
"""In the settings of a database: Django's backend for it."""
FOLLOWED_LOGIN: Final = "FOLLOWED_LOGIN"
"""The name of its login in `FOLLOWED`: Django pickles and copies these settings, and a login is not pickled."""
FOLLOWED: Final[dict[str, tuple[Secret, Secret | None]]] = {}
"""The secrets of each login: the URL or password, and the user."""

_PARAMETERS: Final = {"host": "HOST", "port": "PORT", "dbname": "NAME", "database": "NAME", "db": "NAME"}
"""Which parameters of a URL are settings. As options, they would replace the name of a test database."""


def follow(settings: Mapping[str, Any], secret: Secret, *, user: Secret | None = None) -> dict[str, Any]:
    """Let the connections of a database follow a secret, and return its settings (policy section 3).

    `DATABASES = {"default": follow({"ENGINE": "django.db.backends.postgresql"}, secrets.database_url)}`

    Each new connection logs in with the value in use. In an overlap, a login that the server refuses is tried once with
    the other value. When a value has ended, a persistent connection is closed at the beginning or end of a
    request. Django's own pool (`OPTIONS["pool"]`, from Django 5.1) follows as `adapters.psycopg.follow` does it. The
    settings have no password. `manage.py dbshell` logs in with the value in use.

    Args:
        settings: the settings of the database. `ENGINE` is a backend for PostgreSQL, MySQL or MariaDB.
        secret: the URL of the database, or the password. A URL gives `NAME`, `HOST`, `PORT` and its parameters as
            `OPTIONS` once, now: a service starts again if they change.
        user: the secret that has the user; `None` for the user of the URL or of the settings. Declare both with the
            same `group`.
    """
    credentials = login_of(secret, user).accepted()[0]
    address: dict[str, Any] = {}
    if credentials.is_url:
        address = contain(lambda: _address(credentials.rest))
    options = {**settings.get("OPTIONS", {}), **address.pop("OPTIONS", {})}
    followed = {**settings, **address}
    followed["OPTIONS"] = options
    followed["ENGINE"] = __name__
    followed["PASSWORD"] = ""
    followed[FOLLOWED_ENGINE] = settings["ENGINE"]
    followed[FOLLOWED_LOGIN] = _name_of(secret, user)
    return followed


def _name_of(secret: Secret, user: Secret | None) -> str:
    """Return the name of a login. Each process that loads the same settings gives it the same one."""
    names = (f"{secret.name} {number}" for number in count(1))
    return next(name for name in names if FOLLOWED.setdefault(name, (secret, user)) == (secret, user))


def _address(rest: SealedStr) -> dict[str, Any]:
    """Return the settings that a URL has, without its login."""
    parts = urlsplit(f"//{rest.get_secret_value().partition('://')[2]}")
    hosts: list[str] = []
    ports: list[str] = []
    for server in unquote(parts.netloc).split(","):
        host, *port = re.split(r":(\d*)\Z", server)
        hosts.append(host.strip("[]"))
        ports.append("".join(port))
    found = {"HOST": ",".join(hosts), "PORT": ",".join(ports)}
    found["NAME"] = unquote(parts.path[1:])
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query.replace("+", "%2B")):
        if name in _PARAMETERS:
            found[_PARAMETERS[name]] = value
        elif "pass" in name:
            options[name] = MaskedStr(value)
        else:
            options[name] = value
    address: dict[str, Any] = {name: value for name, value in found.items() if value}
    address["OPTIONS"] = options
    return address
