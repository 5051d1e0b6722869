"""What the clients of network servers share."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from conftest import Failure, put

from robodj_secretguard.managers.manager import is_insecure, manager_error

UNTRUSTED = Failure("has a certificate that cannot be verified", "fix")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://vault.example:8200", False),
        ("HTTPS://vault.example", False),
        *((f"http://{host}:8200", False) for host in ("127.0.0.1", "localhost", "[::1]", "LOCALHOST")),
        *((f"http://{host}", True) for host in ("vault.example", "127.0.0.1.example", "10.0.0.1", "localhost.example")),
        ("http://127.0.0.1@vault.example", True),
        ("http://192.0.2.2:8200\\@localhost", True),
        ("http://localhost:8200/path", False),
        ("vault.example:8200", True),
        ("", True),
        ("ftp://localhost", True),
        ("https://[::1", False),
    ],
)
def test_without_tls_only_the_loopback_interface_is_asked(address: str, *, expected: bool) -> None:
    """Without TLS, only servers on the loopback interface are asked."""
    assert is_insecure(address) is expected


def test_the_reason_of_a_tls_error_is_found_in_its_text(tmp_path: Path) -> None:
    """The text of a client's error has the reason of TLS. A connection that was cut is temporary."""
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLError) as found:
        context.load_verify_locations(put(tmp_path / "ca.pem", "no certificate"))

    def said(inner: Exception) -> Failure:
        meant = manager_error(OSError(f"request failed: {inner!r}"), [(OSError, "is away ({})", "wait", True)], "fix")
        return Failure(meant.message, meant.remedy, meant.is_temporary)

    assert said(found.value) == UNTRUSTED
    plain = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    assert said(plain) == Failure("has no TLS at its address", "correct the address, or turn on TLS in the server")
    cut = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert said(cut) == Failure("is away (OSError)", "wait", is_temporary=True)
