"""What the clients of network servers share: TLS is verified always."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Final

from robodj_secretguard.managers.manager import Failure
from robodj_secretguard.secret.sealed import type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECURE: Final = r"https://.+|http://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]+)?(?:/.*)?"


def is_insecure(address: str) -> bool:
    """Check whether a request to an address would not be encrypted. On the loopback interface it need not be."""
    return re.fullmatch(_SECURE, address, re.IGNORECASE) is None


def failure_of(
    error: Exception, failures: Iterable[tuple[type | tuple[type, ...], Failure]], certificate: str
) -> Failure:
    """Return the failure for an error: the first one with a type of it, with the name of its type.

    Args:
        error: the error of a client.
        failures: types of errors, and their failures.
        certificate: how to fix a certificate that cannot be verified.
    """
    reasons = _reasons_of_tls(error)
    if any("CERTIFICATE" in each.upper() for each in reasons):
        return Failure("has a certificate that cannot be verified", certificate)
    if "WRONG_VERSION_NUMBER" in reasons:
        return Failure("has no TLS at its address", "correct the address, or turn on TLS in the server")
    failure = next(failure for types, failure in failures if isinstance(error, types))
    return failure._replace(what=failure.what.format(type_name(error)))


def _reasons_of_tls(error: BaseException) -> set[str]:
    """Return the reasons of the TLS errors behind an error, and all types: urllib3 has one for a wrong host name."""
    found: list[BaseException] = [error]
    for each in found:
        further = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        found += [one for one in further if isinstance(one, BaseException) and one not in found]
    reasons = {str(getattr(each, "reason", "")) for each in found if isinstance(each, ssl.SSLError)}
    return reasons | {type(each).__name__ for each in found}
