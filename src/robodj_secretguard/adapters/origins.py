"""What the adapters of HTTP clients share: where a key may go, how a header has it, and which key is next."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from robodj_secretguard.adapters.live import MaskedStr
from robodj_secretguard.running.login import Credentials, login_of
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import Sealed, contain

AUTHORIZATION: Final = "Authorization"
REFUSED_STATUS: Final = 401
FOLLOWS_ALREADY: Final = "it follows a secret already: use another one for this API"
_ORIGIN: Final = re.compile(r"https://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?", re.ASCII | re.IGNORECASE)
_DEFAULT_PORT: Final = "443"


class KeyHeader(Sealed):
    """The header that has the key of a secret, for one origin.

    Args:
        secret: the key.
        origin: `https://host` or `https://host:port`.
        header: the name of the header.

    Raises:
        ValueError: `origin` is something else.
        TypeError: `secret` is not a `Secret`.
    """

    __slots__ = ("_hosts", "_login", "name")

    def __init__(self, secret: Secret, origin: str, header: str) -> None:
        self._login = login_of(secret)
        self._hosts = _hosts_of(origin)
        self.name = header

    @property
    def is_authorization(self) -> bool:
        """Whether clients take the header off a redirect to another origin themselves."""
        return self.name.lower() == AUTHORIZATION.lower()

    def is_for(self, url: str) -> bool:
        """Check whether a URL is of the origin. One with a user, or with an unusual form of the host, is not."""
        parts = urlsplit(url)
        return parts.scheme == "https" and parts.netloc.lower() in self._hosts

    def first(self) -> Credentials:
        """Return the key to send.

        Raises:
            LookupError: the secret is optional, and it is not set.
            RevokedKeyError: it was revoked, and there is not a other one.
        """
        return self._login.accepted()[0]

    def value(self, credentials: Credentials) -> MaskedStr:
        """Return the value of the header, whose repr is masked.

        Raises:
            ValueError: the key has a character that no header may have.
        """
        if not contain(lambda: credentials.password.get_secret_value().isascii()):
            raise ValueError("the key has a letter that no header may have: issue another one")
        return contain(lambda: self._value(credentials))

    def _value(self, credentials: Credentials) -> MaskedStr:
        key = credentials.password.get_secret_value()
        return MaskedStr(f"Bearer {key}" if self.is_authorization else key)

    def is_refused(self, response: Any) -> bool:
        """Check whether the last request after redirects had the key, and was refused."""
        request = response.request
        is_sent = self.name in request.headers and self.is_for(str(request.url))
        return bool(is_sent and response.status_code == REFUSED_STATUS)

    def other_than(self, refused: Credentials) -> Credentials | None:
        """Return the key to try after a refused one, if there is one.

        Long after a change, the current key is refused for another reason. It may read the sources.
        """
        is_current = refused.role == "current"
        if is_current and not self._login.has_just_changed:
            self._login.read_again()
        other = self._login.other_than([refused])
        if is_current and not self._login.has_just_changed:
            return None
        if other is not None:
            self._login.count_refused(refused)
        return other

    def keep(self, tried: Credentials) -> None:
        """Send this other key from now on, until the next change."""
        self._login.prefer(tried)


def _hosts_of(origin: str) -> frozenset[str]:
    """Return the host of an origin, as URLs write it: with the port, or also without the default one."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        raise ValueError("the origin must be https://host or https://host:port, and nothing else")
    host = found[1].lower()
    port = found[2] or _DEFAULT_PORT
    with_port = f"{host}:{port}"
    return frozenset({host, with_port} if port == _DEFAULT_PORT else {with_port})
