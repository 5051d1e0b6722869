"""A service of the trial: it signs tokens, and checks them, by lines of stdin and stdout."""

from __future__ import annotations

import sys

from itsdangerous import BadSignature
from planned_model import ServiceSecrets

from robodj_secretguard import guard
from robodj_secretguard.adapters.itsdangerous import RingSerializer


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


secrets = guard(ServiceSecrets)
tokens = RingSerializer(secrets.session_key, salt=b"plans v1")
say("ready")
for line in sys.stdin:
    word, _, token = line.strip().partition(" ")
    try:
        answer = tokens.dumps("dana") if word == "sign" else tokens.loads(token)
    except BadSignature:
        answer = "refused"
    say(answer)
