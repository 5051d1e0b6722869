"""httpx, from version 0.27: requests to one origin have the key in use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Final, TypeVar

import anyio.to_thread
import httpx

from robodj_secretguard.adapters.origins import AUTHORIZATION, FOLLOWS_ALREADY, REFUSED_STATUS, KeyHeader
from robodj_secretguard.running.login import Credentials
from robodj_secretguard.running.store import Secret

_KEY: Final = "robodj_secretguard"
"""In the extensions of a request: the credentials for the hook, which a redirect keeps."""
_SENT: Final = "robodj_secretguard.sent"
"""The same: that the hook has seen it."""

_Flow = Generator[httpx.Request, httpx.Response, None]
_AnyClient = TypeVar("_AnyClient", bound=httpx.Client | httpx.AsyncClient)


def follow(client: _AnyClient, secret: Secret, *, origin: str, header: str = AUTHORIZATION) -> _AnyClient:
    """Let the requests of a client to one origin have the key in use, and return the client (policy section 3).

    `api = follow(httpx.Client(), secrets.weather_key, origin="https://api.example.com")`

    It sets `client.auth`, and event hooks for another header than `Authorization`. A request elsewhere gets no key,
    also after a redirect. If the origin answers 401 soon after a change, the request is sent once more with the other
    key, unless its body is a stream.

    Args:
        client: a client for this API, also an `AsyncClient`.
        secret: the key.
        origin: where the key may go: `https://host` or `https://host:port`, and nothing else.
        header: the header that has the key. `Authorization` has it after `Bearer`, another header has the key alone.

    Raises:
        ValueError: `origin` is something else, or the client follows a secret already.
        TypeError: `secret` is not a `Secret`.
    """
    is_followed = isinstance(client.auth, _Auth)
    if is_followed:
        raise ValueError(FOLLOWS_ALREADY)
    key_header = KeyHeader(secret, origin, header)
    if key_header.is_authorization:  # httpx takes it off a redirect to another origin
        client.auth = _Auth(key_header)
        return client
    hooks = _AsyncHooks(key_header) if isinstance(client, httpx.AsyncClient) else _Hooks(key_header)
    others = client.event_hooks
    client.event_hooks = {
        "request": [*others["request"], hooks.put],  # last: another hook may change the URL
        "response": [hooks.take, *others["response"]],
    }
    client.auth = _HookedAuth(key_header)
    return client


class _Auth(httpx.Auth):
    """Set the header, and send a refused request once more."""

    def __init__(self, header: KeyHeader) -> None:
        self._header = header

    def sync_auth_flow(self, request: httpx.Request) -> _Flow:
        """Send a request with the key in use, and once more where the origin refuses it."""
        if not self._header.is_for(str(request.url)):
            yield request
            return
        sent = self._header.first()
        self._sign(request, sent)
        response = yield request
        if not self._is_refused(response) or not isinstance(response.request.stream, httpx.ByteStream):
            return
        other = self._header.other_than(sent)
        if other is not None:
            self._sign(response.request, other)
            response = yield response.request
            if not self._is_refused(response):
                self._header.keep(other)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same under asyncio or trio."""
        flow = self.sync_auth_flow(request)
        step: httpx.Request | None = next(flow)
        while step is not None:
            response = yield step
            if response.status_code == REFUSED_STATUS:  # it may read files
                step = await anyio.to_thread.run_sync(_next_request, flow, response)
            else:
                step = _next_request(flow, response)

    def _sign(self, request: httpx.Request, credentials: Credentials) -> None:
        request.headers[self._header.name] = self._header.value(credentials)

    def _is_refused(self, response: httpx.Response) -> bool:
        return self._header.is_refused(response)


def _next_request(flow: _Flow, response: httpx.Response) -> httpx.Request | None:
    """Return the next request of a flow, if there is one."""
    try:
        return flow.send(response)
    except StopIteration:
        return None


class FollowingAuth(_Auth):
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


class _HookedAuth(_Auth):
    """Let the hooks of the client set the header: httpx would send it elsewhere after a redirect."""

    def _sign(self, request: httpx.Request, credentials: Credentials) -> None:
        request.extensions = {**request.extensions, _KEY: credentials}

    def _is_refused(self, response: httpx.Response) -> bool:
        if _SENT not in response.request.extensions:
            raise RuntimeError("no key was sent: client.event_hooks has lost the hooks of follow()")
        return response.status_code == REFUSED_STATUS and _KEY in response.request.extensions


class _Hooks:
    """Put the header into a request to the origin, and take it out after the response. Each redirect is a request."""

    def __init__(self, header: KeyHeader) -> None:
        self._header = header

    def put(self, request: httpx.Request) -> object:
        credentials = request.extensions.get(_KEY)
        if credentials is not None:
            request.extensions = {**request.extensions, _SENT: True}
            if self._header.is_for(str(request.url)):
                request.headers[self._header.name] = self._header.value(credentials)
            else:
                del request.extensions[_KEY]  # what comes after another origin gets no key
        return None

    def take(self, response: httpx.Response) -> object:
        if _KEY in response.request.extensions:
            response.request.headers.pop(self._header.name, None)
        return None


class _AsyncHooks(_Hooks):
    """The same for an `AsyncClient`."""

    async def put(self, request: httpx.Request) -> object:
        return super().put(request)

    async def take(self, response: httpx.Response) -> object:
        return super().take(response)
