"""What the clients of network servers share: TLS is verified always."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Final, TypeAlias

from robodj_secretguard.errors import ManagerError
from robodj_secretguard.secret.sealed import type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    Failure: TypeAlias = tuple[type[Exception] | tuple[type[Exception], ...], str, str, bool]
    """Errors of a client, what is wrong (`{}` is the type's name), what to do, and whether it is temporary."""

_SECURE: Final = r"https://.+|http://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]+)?(?:/.*)?"


def is_insecure(address: str) -> bool:
    """Check whether a request to an address would not be encrypted. On the loopback interface it need not be."""
    return re.fullmatch(_SECURE, address, re.IGNORECASE) is None


def manager_error(error: Exception, failures: Iterable[Failure], certificate: str) -> ManagerError:
    """Return the error of a manager for an error of its client: the first one of `failures` with its type.

    Args:
        error: the error of a client.
        failures: the failures that its errors can mean.
        certificate: how to fix a certificate that cannot be verified.
    """
    reasons = _reasons_of_tls(error)
    if any("CERTIFICATE" in each.upper() for each in reasons):
        return ManagerError("has a certificate that cannot be verified", certificate)
    if "WRONG_VERSION_NUMBER" in reasons:
        return ManagerError("has no TLS at its address", "correct the address, or turn on TLS in the server")
    _, message, remedy, is_temporary = next(failure for failure in failures if isinstance(error, failure[0]))
    return ManagerError(message.format(type_name(error)), remedy, is_temporary=is_temporary)


def _reasons_of_tls(error: BaseException) -> set[str]:
    """Return the reasons of the TLS errors behind an error, and all types: urllib3 has one for a wrong host name."""
    found: list[BaseException] = [error]
    for each in found:
        further = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        found += [one for one in further if isinstance(one, BaseException) and one not in found]
    return {
        *(str(getattr(each, "reason", "")) for each in found if isinstance(each, ssl.SSLError)),
        *(type(each).__name__ for each in found),
    }
