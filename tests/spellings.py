"""The spellings of a base64url key, found with the standard library's decoder and not with the package."""

from __future__ import annotations

import base64
import string

_ALPHABET = string.ascii_letters + string.digits + "-_"


def _decoded(key: str) -> bytes:
    return base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))


def respelled(key: str) -> list[str]:
    """Return all other texts that decode to the same bytes as a key."""
    return [text for last in _ALPHABET if (text := key[:-1] + last) != key and _decoded(text) == _decoded(key)]
