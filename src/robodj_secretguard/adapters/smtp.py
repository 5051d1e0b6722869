"""smtplib: a login to a mail server with the password in use."""

from __future__ import annotations

import smtplib
from typing import Final

from robodj_secretguard.running.login import Credentials, login_of
from robodj_secretguard.running.store import Secret

REFUSED_CODE: Final = 535
"""What a server answers to a wrong password (RFC 4954)."""
_MECHANISMS: Final = ("PLAIN", "LOGIN", "CRAM-MD5")


def log_in(mail: smtplib.SMTP, secret: Secret, *, user: Secret | str) -> None:
    """Log in to a mail server, before the messages of a connection are sent (policy section 3).

    `log_in(mail, secrets.smtp_password, user="shop@example.com")`

    It uses the password in use. In an overlap, a login that the server refuses is tried once with the other one.

    Args:
        mail: a connection with `context=ssl.create_default_context()`, of `SMTP_SSL` or in `starttls`.
        secret: the password.
        user: the user, or the secret that has it. Declare both with the same `group`.

    Raises:
        ValueError: the connection does not verify who the server is. smtplib itself verifies nothing.
        smtplib.SMTPException: the server has refused each password, or something else is wrong.
    """
    context = getattr(mail.sock, "context", None)
    if not getattr(context, "check_hostname", False):
        raise ValueError("pass context=ssl.create_default_context() to SMTP_SSL or starttls, before log_in")
    mail.ehlo_or_helo_if_needed()
    offered = mail.esmtp_features.get("auth", "").split()
    supported = [each for each in _MECHANISMS if each in offered]
    mail.esmtp_features["auth"] = " ".join(supported[:1])  # otherwise, each one sends a wrong password
    login = login_of(secret, user) if isinstance(user, Secret) else login_of(secret)

    def log_in_with(credentials: Credentials) -> None:
        name = credentials.user.get_secret_value() or str(user)
        mail.login(name, credentials.password.get_secret_value())

    login.log_in(log_in_with, _is_wrong)


def _is_wrong(error: Exception) -> bool:
    return isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code == REFUSED_CODE
