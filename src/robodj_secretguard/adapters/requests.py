"""requests, from version 2.32: requests to one origin have the key in use."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase

from robodj_secretguard.adapters.origins import AUTHORIZATION, KeyHeader
from robodj_secretguard.running.login import Credentials
from robodj_secretguard.running.store import Secret

_Session = TypeVar("_Session", bound=requests.Session)


def follow(session: _Session, secret: Secret, *, origin: str, header: str = AUTHORIZATION) -> _Session:
    """Let the requests of a session to one origin have the key in use, and return the session (policy section 3).

    `api = follow(requests.Session(), secrets.weather_key, origin="https://api.example.com")`

    It sets `session.auth`. A request elsewhere gets no key, also after a redirect. If the origin answers 401 within one
    period of a change, the request is sent once more with the other key, unless its body is a stream.

    Args:
        session: a session. It follows one secret.
        secret: the key.
        origin: where the key may go: `https://host` or `https://host:port`, and nothing else.
        header: the header that has the key. `Authorization` has it after `Bearer`, another header has the key alone.

    Raises:
        ValueError: `origin` is something else.
        TypeError: `secret` is no `Secret`.
    """
    session.auth = FollowingAuth(secret, origin=origin, header=header)
    return session


class FollowingAuth(AuthBase):  # type: ignore[misc, unused-ignore]  # older versions have no types
    """The `auth=` of one request. `follow` sets it for a session.

    Args:
        secret: the key.
        origin: where the key may go, as in `follow`.
        header: the header that has the key.

    Raises:
        ValueError: `origin` is something else.
        TypeError: `secret` is no `Secret`.
    """

    def __init__(self, secret: Secret, *, origin: str, header: str = AUTHORIZATION) -> None:
        self._header = KeyHeader(secret, origin, header)

    def __call__(self, request: Any) -> Any:
        """Set the header, and look at each response. requests calls this once, before redirects."""
        if self._header.is_for(request.url or ""):
            sent = self._header.first()
            request.headers[self._header.name] = self._header.value(sent)
            request.register_hook("response", partial(self._look_at, sent))
        return request

    def _look_at(self, sent: Credentials, response: requests.Response, **arguments: Any) -> requests.Response:
        """Send a refused request once more, and keep the key from a redirect to another origin."""
        if self._is_refused(response, sent) and isinstance(response.request.body, str | bytes | None):
            other = self._header.other_than(sent)
            if other is not None:
                response = self._sent_again(response, other, arguments)
        if response.is_redirect:
            target = urljoin(response.url, response.headers["location"])
            if not self._header.is_for(target):
                response.request.headers.pop(self._header.name, None)  # requests copies it after this
        return response

    def _sent_again(self, refused: requests.Response, other: Credentials, arguments: Any) -> requests.Response:
        request = refused.request
        request.headers[self._header.name] = self._header.value(other)
        refused.content  # noqa: B018 - read it, so that its connection can be used again
        refused.close()
        response: requests.Response = refused.connection.send(request, **arguments)
        response.history.append(refused)
        self._header.keep(other, is_refused=self._is_refused(response, other))
        return response

    def _is_refused(self, response: requests.Response, sent: Credentials) -> bool:
        request: Any = response.request
        return self._header.is_refused(response.status_code, request.url, request.headers, sent)
