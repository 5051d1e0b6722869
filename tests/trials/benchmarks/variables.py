"""The environment of every measurement: new keys, among variables like those of a container in a cluster."""

from __future__ import annotations

import itertools
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW, MANY = 35, 3000
"""The number of variables in a small container, and in a pod in a namespace of a few hundred services."""

_NEEDED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Variables that an interpreter needs to start. All other variables are the same on every machine."""
_OF_A_CONTAINER = {
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "HOSTNAME": "service",
    "PORT": "8000",
    "LOG_LEVEL": "info",
    "WEB_CONCURRENCY": "2",
    "DATABASE_URL": "postgresql://database.internal:5432/service",
    "REDIS_URL": "redis://cache.internal:6379/0",
    "OTEL_SERVICE_NAME": "service",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.internal:4317",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
}
_OF_A_SERVICE = {
    "{service}_SERVICE_HOST": "10.0.0.2",
    "{service}_SERVICE_PORT": "443",
    "{service}_PORT": "tcp://10.0.0.2:443",
    "{service}_PORT_443_TCP": "tcp://10.0.0.2:443",
    "{service}_PORT_443_TCP_ADDR": "10.0.0.2",
    "{service}_PORT_443_TCP_PORT": "443",
    "{service}_PORT_443_TCP_PROTO": "tcp",
    "SERVICE_{number}_SETTING": "enabled",
}
_SERVICES = ("CATALOG", "PLAYLIST", "MIXER", "LIBRARY", "SESSIONS", "ACCOUNTS", "BILLING", "SEARCH")


def good_keys() -> dict[str, str]:
    """Make a new key of each kind, as the approved commands do."""
    return {"ROBODJ_SECRET_KEY": secrets.token_urlsafe(32), "ROBODJ_SECRET_V2_KEY": secrets.token_hex(64)}


def environment(count: int, keys: dict[str, str]) -> dict[str, str]:
    """Make an environment.

    Args:
        count: the number of variables, with the keys.
        keys: the variables of the secrets.
    """
    others = dict(itertools.islice(_others(), count - len(keys)))
    return others | keys


def _others() -> Iterator[tuple[str, str]]:
    yield from ((name, os.environ[name]) for name in _NEEDED if name in os.environ)
    yield from _OF_A_CONTAINER.items()
    for number in itertools.count(1):
        service = f"{_SERVICES[number % len(_SERVICES)]}_{number}"
        for name, value in _OF_A_SERVICE.items():
            yield name.format(service=service, number=number), value
