"""httpx, from version 0.27: requests to one origin have the key in use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TypeVar
from weakref import ref

import anyio.to_thread
import httpx

from robodj_secretguard.adapters.origins import AUTHORIZATION, REFUSED_STATUS, KeyHeader
from robodj_secretguard.running.login import Credentials
from robodj_secretguard.running.store import Secret

_Flow = Generator[httpx.Request, httpx.Response, None]
_AnyClient = TypeVar("_AnyClient", bound=httpx.Client | httpx.AsyncClient)


def follow(client: _AnyClient, secret: Secret, *, origin: str, header: str = AUTHORIZATION) -> _AnyClient:
    """Let the requests of a client to one origin have the key in use, and return the client (policy section 3).

    `api = follow(httpx.Client(), secrets.weather_key, origin="https://api.example.com")`

    It sets `client.auth`, and it adds an event hook. A request elsewhere gets no key, also after a redirect: the hook
    removes the header there, whoever has set it. If the origin answers 401 within one period of a change, the request
    is sent once more with the other key, unless its body is a stream.

    Args:
        client: a client, also an `AsyncClient`. It follows one secret.
        secret: the key.
        origin: where the key may go: `https://host` or `https://host:port`, and nothing else.
        header: the header that has the key. `Authorization` has it after `Bearer`, another header has the key alone.

    Raises:
        ValueError: `origin` is something else.
        TypeError: `secret` is no `Secret`.
    """
    key_header = KeyHeader(secret, origin, header)
    hook = _AsyncHook(key_header) if isinstance(client, httpx.AsyncClient) else _Hook(key_header)
    hooks = client.event_hooks
    others = [each for each in hooks["request"] if not isinstance(each, _Hook)]
    client.event_hooks = {**hooks, "request": [hook, *others]}
    client.auth = _ClientAuth(key_header, client, hook)
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
        response = yield self._signed(request, sent)
        if not self._may_repeat(response, sent):
            return
        other = self._header.other_than(sent)
        if other is not None:
            response = yield self._signed(response.request, other)
            self._header.keep(other, is_refused=self._is_refused(response, other))

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

    def _signed(self, request: httpx.Request, credentials: Credentials) -> httpx.Request:
        request.headers[self._header.name] = self._header.value(credentials)
        return request

    def _may_repeat(self, response: httpx.Response, sent: Credentials) -> bool:
        """Check whether the last request after redirects was refused, and can be sent again."""
        return self._is_refused(response, sent) and isinstance(response.request.stream, httpx.ByteStream)

    def _is_refused(self, response: httpx.Response, sent: Credentials) -> bool:
        request = response.request
        return self._header.is_refused(response.status_code, str(request.url), request.headers, sent)


def _next_request(
    flow: Generator[httpx.Request, httpx.Response, None], response: httpx.Response
) -> httpx.Request | None:
    """Return the next request of a flow, if there is one."""
    try:
        return flow.send(response)
    except StopIteration:
        return None


class FollowingAuth(_Auth):
    """The `auth=` of one request, or of a client without an event hook: `Authorization: Bearer`, to one origin.

    Args:
        secret: the key.
        origin: where the key may go, as in `follow`.
        header: `Authorization`: httpx takes no other header off a redirect to another origin.

    Raises:
        ValueError: `origin` is something else, or the header is another one.
        TypeError: `secret` is no `Secret`.
    """

    def __init__(self, secret: Secret, *, origin: str, header: str = AUTHORIZATION) -> None:
        super().__init__(KeyHeader(secret, origin, header))
        if not self._header.is_authorization:
            raise ValueError(f"httpx sends {header} to other origins after a redirect: call follow() on the client")


class _ClientAuth(FollowingAuth):
    """The auth of a client that has the event hook."""

    def __init__(self, header: KeyHeader, client: httpx.Client | httpx.AsyncClient, hook: _Hook) -> None:
        _Auth.__init__(self, header)
        self._client_of = ref(client)
        self._hook = hook

    def _signed(self, request: httpx.Request, credentials: Credentials) -> httpx.Request:
        client = self._client_of()
        if client is None or self._hook not in client.event_hooks["request"]:
            raise RuntimeError("client.event_hooks has lost the hook of follow(): call follow() after it is set")
        return super()._signed(request, credentials)


class _Hook:
    """Remove the header from a request that does not go to the origin. httpx calls this for each redirect."""

    def __init__(self, header: KeyHeader) -> None:
        self._header = header

    def __call__(self, request: httpx.Request) -> object:
        if not self._header.is_for(str(request.url)):
            request.headers.pop(self._header.name, None)
        return None


class _AsyncHook(_Hook):
    """The same for an `AsyncClient`."""

    async def __call__(self, request: httpx.Request) -> object:
        return super().__call__(request)
