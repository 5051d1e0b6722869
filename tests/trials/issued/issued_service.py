"""The service: each request uses every secret with its real client."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import smtplib
import urllib.request
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import fastapi
import jwt
import psycopg
import redis
from issued_model import ServiceSecrets

from robodj_secretguard import guard

SECRETS = guard(ServiceSecrets)
VENDOR = os.environ["VENDOR"]
"""The address of the server that acts as the vendors."""
app = fastapi.FastAPI()


@app.get("/work")
def work() -> dict[str, object]:
    """Use every secret, and return what came of it."""
    return {
        "database": count_orders(),
        "cache": redis.Redis.from_url(SECRETS.cache.get_secret_value()).incr("visits"),
        "mail": send_mail(),
        "token": jwt.encode({"sub": "order-1"}, as_pem(SECRETS.signing.get_secret_value()), "RS256"),
        "payments": post("payments", SECRETS.payments.get_secret_value()),
        "storage": post("storage", assertion()),
        "webhook": sign_webhook(),
        "session": SECRETS.secret_key.verify(SECRETS.secret_key.get_secret_value()) is not None,
    }


def count_orders() -> object:
    """Count the rows of a table as the database's user."""
    with psycopg.connect(SECRETS.database.get_secret_value()) as connection:
        return connection.execute("SELECT count(*) FROM orders").fetchall()[0][0]


def send_mail() -> str:
    """Log in at the mail server, and send a message."""
    url = urlsplit(SECRETS.mail.get_secret_value())
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@shop.test", "user@shop.test", "Your order"
    with smtplib.SMTP(url.hostname or "", url.port or 587) as server:
        server.login(unquote(url.username or ""), unquote(url.password or ""))
        server.send_message(message)
    return "sent"


def as_pem(text: str) -> str:
    r"""Return a key with real line breaks: an environment file may have them as `\n`."""
    return text.replace("\\n", "\n")


def assertion() -> str:
    """Sign an assertion as the service account does."""
    account = json.loads(SECRETS.storage.get_secret_value())
    return jwt.encode({"iss": account["client_email"]}, account["private_key"], "RS256")


def sign_webhook() -> str | None:
    """Sign a webhook where its secret is set."""
    if SECRETS.webhook is None:
        return None
    return hmac.new(SECRETS.webhook.get_secret_value().encode(), b"order-1", hashlib.sha256).hexdigest()


def post(path: str, token: str) -> int:
    """Send a request to a vendor, and return the status."""
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{VENDOR}/{path}", b"", headers)  # noqa: S310 - the trial's own server
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return int(answer.status)
