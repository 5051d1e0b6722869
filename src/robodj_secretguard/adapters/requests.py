"""requests, from version 2.32.2: requests to one origin have the key in use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import requests
from requests.auth import AuthBase

from robodj_secretguard.adapters.origins import AUTHORIZATION, FOLLOWS_ALREADY, KeyHeader
from robodj_secretguard.running.login import Credentials
from robodj_secretguard.running.store import Secret

_Session = TypeVar("_Session", bound=requests.Session)


def follow(session: _Session, secret: Secret, *, origin: str, header: str = AUTHORIZATION) -> _Session:
    """Let the requests of a session to one origin have the key in use, and return the session (policy section 3).

    `api = follow(requests.Session(), secrets.weather_key, origin="https://api.example.com")`

    It sets `session.auth` and `session.rebuild_auth`. A request elsewhere gets no key, also after a redirect. If the
    origin answers 401 soon after a change, the request is sent once more with the other key, unless its body is a
    stream.

    Args:
        session: a session for this API.
        secret: the key.
        origin: where the key may go: `https://host` or `https://host:port`, and nothing else.
        header: the header that has the key. `Authorization` has it after `Bearer`, another header has the key alone.

    Raises:
        ValueError: `origin` is something else, or the session follows a secret already.
        TypeError: `secret` is not a `Secret`.
    """
    is_followed = isinstance(session.auth, _SessionAuth)
    if is_followed:
        raise ValueError(FOLLOWS_ALREADY)
    key_header = KeyHeader(secret, origin, header)
    session.auth = _SessionAuth(key_header)
    vars(session)["rebuild_auth"] = partial(_prepare_redirected, session.rebuild_auth, key_header)
    return session


def _prepare_redirected(rebuild: Callable[..., object], header: KeyHeader, request: Any, response: object) -> None:
    """Keep the key at the origin, where requests would use a netrc file, and take it off elsewhere."""
    if header.name not in request.headers or not header.is_for(request.url):
        request.headers.pop(header.name, None)
        rebuild(request, response)


class _SessionAuth(AuthBase):  # type: ignore[misc, unused-ignore]  # older versions have no types
    """Set the header, and send a refused request once more."""

    def __init__(self, header: KeyHeader) -> None:
        self._header = header

    def __call__(self, request: Any) -> Any:
        """Set the header, and look at each response. requests calls this once, before redirects."""
        if self._header.is_for(request.url):
            sent = self._header.first()
            request.headers[self._header.name] = self._header.value(sent)
            request.register_hook("response", partial(self._look_at, sent))
        return request

    def _look_at(self, sent: Credentials, response: requests.Response, **arguments: Any) -> requests.Response:
        """Send a refused request once more."""
        if not self._header.is_refused(response) or not isinstance(response.request.body, str | bytes | None):
            return response
        other = self._header.other_than(sent)
        if other is None:
            return response
        request = response.request
        request.headers[self._header.name] = self._header.value(other)
        response.content  # noqa: B018 - read it, so that its connection can be used again
        response.close()
        again: requests.Response = response.connection.send(request, **arguments)
        again.history.append(response)
        if not self._header.is_refused(again):
            self._header.keep(other)
        return again


class FollowingAuth(_SessionAuth):
    """The `auth=` of one request: `Authorization: Bearer`, to one origin. `follow` sets another header.

    Args:
        secret: the key.
        origin: where the key may go, as in `follow`.

    Raises:
        ValueError: `origin` is something else.
        TypeError: `secret` is not a `Secret`.
    """

    def __init__(self, secret: Secret, *, origin: str) -> None:
        super().__init__(KeyHeader(secret, origin, AUTHORIZATION))
