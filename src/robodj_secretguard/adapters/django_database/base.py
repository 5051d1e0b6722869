"""Django's backend for a database that follows a secret: a subclass of the wrapper of its own backend."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.client import BaseDatabaseClient
from django.db.utils import load_backend

from robodj_secretguard.adapters.databases import follow_pool, is_wrong_password, login_arguments
from robodj_secretguard.adapters.django_database import FOLLOWED, FOLLOWED_ENGINE, FOLLOWED_LOGIN
from robodj_secretguard.running.login import Credentials, Login, login_of
from robodj_secretguard.secret.sealed import without_frames

_pools_lock: Final = threading.Lock()  # a pool must not be opened before it follows


def _followed_login(settings: dict[str, Any]) -> Login:
    return login_of(*FOLLOWED[settings[FOLLOWED_LOGIN]])


class _Following(BaseDatabaseWrapper):  # type: ignore[misc]  # Django has no types
    """What the wrapper of a backend does otherwise."""

    _age = 0  # how many values had ended when the connection logged in

    @property
    def pool(self) -> Any:
        """Django's pool of connections, if it has one."""
        with _pools_lock:
            pool = getattr(super(), "pool", None)
            if pool is not None and not hasattr(pool.connection_class, "is_following"):
                # Only the login: a test runner has set NAME, and the URL has the real database.
                follow_pool(pool, _followed_login(self.settings_dict), login_arguments)
        return pool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Log in with the value in use. The parameters have no password: Django's frames show them."""
        if self.pool is not None:
            return super().get_new_connection(conn_params)
        login = _followed_login(self.settings_dict)

        def connect_with(credentials: Credentials) -> Any:
            self._age = login.count_withdrawn()  # before the login: a value may end during it
            arguments = {**conn_params, **login_arguments(credentials)}
            return super(_Following, self).get_new_connection(arguments)

        return login.log_in(connect_with, is_wrong_password)

    def close_if_unusable_or_obsolete(self) -> None:
        """Close an old connection, too. Django calls this at the beginning and end of a request."""
        is_old = self.connection is not None and self._age != _followed_login(self.settings_dict).count_withdrawn()
        if is_old and not self.in_atomic_block:
            self.close()
        super().close_if_unusable_or_obsolete()


class _FollowingClient(BaseDatabaseClient):  # type: ignore[misc]  # the same
    """What `manage.py dbshell` does otherwise."""

    @classmethod
    def settings_to_cmd_args_env(cls, settings_dict: dict[str, Any], parameters: Sequence[str]) -> Any:
        """Return the command and its environment, which has the password."""
        credentials = _followed_login(settings_dict).accepted()[0]
        login = {name.upper(): value for name, value in login_arguments(credentials).items()}
        return super().settings_to_cmd_args_env({**settings_dict, **login}, parameters)

    def runshell(self, parameters: Sequence[str]) -> None:
        """Run the command."""
        try:
            super().runshell(parameters)
        except Exception as error:  # noqa: BLE001 - of Django
            failure = without_frames(error)
        else:
            return
        raise failure


@cache
def _wrapper_of(engine: str) -> Any:
    """Return a subclass of the wrapper of a backend."""
    base = load_backend(engine).DatabaseWrapper
    client = type("DatabaseClient", (_FollowingClient, base.client_class), {})
    return type("DatabaseWrapper", (_Following, base), {"client_class": client})


def DatabaseWrapper(settings_dict: dict[str, Any], alias: str = DEFAULT_DB_ALIAS) -> Any:  # noqa: N802 - Django's name
    """Return the wrapper of a database whose settings are those of `follow`."""
    return _wrapper_of(settings_dict[FOLLOWED_ENGINE])(settings_dict, alias)
