"""The part of the job that none of the other libraries does, written once for all of them."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import NoReturn

KEY, V2_KEY = "ROBODJ_SECRET_KEY", "ROBODJ_SECRET_V2_KEY"
EXPIRIES = (f"{KEY}_EXPIRES_AT", f"{V2_KEY}_EXPIRES_AT")

BAD_KEY = f"{KEY} is a placeholder, or not base64url of 43 characters or more"
BAD_V2_KEY = f"{V2_KEY} is a placeholder, or not 128 hexadecimal digits"
BAD_EXPIRY = "an expiry marker is past, or not a time with a timezone"

_PLACEHOLDER = re.compile(r"replace_with|change_?me|example|placeholder|<[^<>]+>|\$\{[^{}]+\}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43,}")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{128}")


def is_key(text: str) -> bool:
    """Check whether text may be the first secret."""
    return _PLACEHOLDER.search(text.lower()) is None and _BASE64URL.fullmatch(text) is not None


def is_v2_key(text: str) -> bool:
    """Check whether text may be the second secret."""
    return _PLACEHOLDER.search(text.lower()) is None and _HEXADECIMAL.fullmatch(text) is not None


def is_ahead(moment: datetime) -> bool:
    """Check whether a time has a timezone and is in the future."""
    return moment.tzinfo is not None and moment > datetime.now(UTC)


def key(text: str) -> str:
    """Return the first secret, or raise a `ValueError`."""
    if not is_key(text):
        raise ValueError(BAD_KEY)
    return text


def v2_key(text: str) -> str:
    """Return the second secret, or raise a `ValueError`."""
    if not is_v2_key(text):
        raise ValueError(BAD_V2_KEY)
    return text


def expiry(text: str | None) -> datetime | None:
    """Return the time of an expiry marker, `None` without one, or raise a `ValueError`."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(BAD_EXPIRY) from None
    if not is_ahead(moment):
        raise ValueError(BAD_EXPIRY)
    return moment


def refuse(*faults: str) -> NoReturn:
    """Write what is wrong, and exit with the status of a refusal."""
    for fault in faults:
        print(f"ALERT: {fault}", file=sys.stderr)
    sys.exit(3)
