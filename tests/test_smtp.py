"""smtplib: a login follows the password of a real mail server."""

from __future__ import annotations

import secrets
import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiosmtpd")
pytest.importorskip("psycopg")
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from api_servers import loopback_certificate
from conftest import free_port
from detector import leaks
from postgres import Delivery
from rings import traceback_of

from robodj_secretguard.adapters.smtp import log_in


class MailServer:
    """A running server, the passwords that it accepts and was asked for, and the mail that it has."""

    def __init__(self, directory: Path) -> None:
        context, self.certificate = loopback_certificate(directory)
        self.user = secrets.token_hex(8)
        self.accepted: set[str] = set()
        self.asked: list[str] = []
        self.received: list[bytes] = []
        self.port = free_port()
        self._controller = Controller(
            self, "127.0.0.1", self.port, ssl_context=context, auth_require_tls=False, authenticator=self._authenticate
        )
        self._controller.start()

    def connection(self) -> smtplib.SMTP_SSL:
        """Return a connection, which a client has to log in."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return smtplib.SMTP_SSL("127.0.0.1", self.port, context=context)

    def stop(self) -> None:
        """Stop the server."""
        self._controller.stop()

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
        assert isinstance(login, LoginPassword)
        password = login.password.decode()
        self.asked.append(password)
        is_accepted = login.login == self.user.encode() and password in self.accepted
        return AuthResult(success=is_accepted, handled=False)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.received.append(envelope.content)
        return "250 OK"


@pytest.fixture(scope="module")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    """A mail server."""
    server = MailServer(tmp_path_factory.mktemp("mail"))
    yield server
    server.stop()


def message(subject: str) -> EmailMessage:
    """Return a message."""
    made = EmailMessage()
    made["From"] = made["To"] = "shop@example.com"
    made["Subject"] = subject
    return made


def test_a_login_follows_the_password(mail_server: MailServer, delivery: Delivery) -> None:
    """A refused password is tried once with the other one, which is used for the next connections, too."""
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    held = delivery.deliver(
        DB_USER=mail_server.user, DB_USER_NEXT=mail_server.user, DB_PASSWORD=old, DB_PASSWORD_NEXT=new
    )
    mail_server.accepted = {new}
    mail_server.received.clear()
    for number in range(3):
        with mail_server.connection() as mail:
            log_in(mail, held.db_password, user=held.db_user)
            mail.send_message(message(str(number)))
    assert [b"Subject: %d" % number in each for number, each in enumerate(mail_server.received)] == [True] * 3
    assert held.db_password.store.refused_logins == {("db_password", "current"): 1}


def test_a_refused_password_is_not_shown(mail_server: MailServer, delivery: Delivery) -> None:
    """The error is that of smtplib, and its frames do not have the password."""
    wrong = secrets.token_hex(16)
    held = delivery.deliver(DB_USER=mail_server.user, DB_PASSWORD=wrong)
    mail_server.accepted.clear()
    mail_server.asked.clear()
    with mail_server.connection() as mail, pytest.raises(smtplib.SMTPAuthenticationError) as raised:
        log_in(mail, held.db_password, user=mail_server.user)
    assert leaks(traceback_of(raised.value), [wrong]) == []
    assert mail_server.asked == [wrong]


def test_a_server_that_nobody_has_verified_gets_no_password(mail_server: MailServer, delivery: Delivery) -> None:
    """Python verifies no certificate unless a context is passed."""
    held = delivery.deliver(DB_USER=mail_server.user, DB_PASSWORD=secrets.token_hex(16))
    mail_server.asked.clear()
    with (
        smtplib.SMTP_SSL("127.0.0.1", mail_server.port) as mail,
        pytest.raises(ValueError, match="create_default_context"),
    ):
        log_in(mail, held.db_password, user=mail_server.user)
    assert mail_server.asked == []
