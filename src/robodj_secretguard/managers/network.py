"""What the clients of network servers share: TLS is verified always."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from robodj_secretguard.managers.manager import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))


def is_insecure(address: str) -> bool:
    """Check whether a request to an address would not be encrypted. On the loopback interface it need not be."""
    parts = urlsplit(address)
    return parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def failure_of(
    error: Exception, failures: Iterable[tuple[type | tuple[type, ...], Failure]], certificate: str
) -> Failure:
    """Return the failure for an error: the first one with a type of it, with the name of its type.

    Args:
        error: the error of a client.
        failures: types of errors, and their failures.
        certificate: how to fix a certificate that cannot be verified.
    """
    if _is_wrong_certificate(error):
        return Failure("has a certificate that cannot be verified", certificate)
    failure = next(failure for types, failure in failures if isinstance(error, types))
    return failure._replace(what=failure.what.format(type(error).__name__))


def _is_wrong_certificate(error: BaseException) -> bool:
    """Check whether the reason for an error is a certificate that cannot be verified, or a file without one."""
    seen: list[object] = [error]
    for each in seen:
        if isinstance(each, ssl.SSLError) and "CERTIFICATE" in str(getattr(each, "reason", "")):
            return True
        if isinstance(each, BaseException):
            further = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
            seen += [one for one in further if isinstance(one, BaseException) and one not in seen]
    return False
