"""The one thing derived from a key that may be shown."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from robodj_secretguard.material import canonical

if TYPE_CHECKING:
    from robodj_secretguard.sealed import SealedStr

PREFIX: Final = "sgfp1:"
FORM: Final = f"{PREFIX} and 32 hexadecimal digits in lower case"
"""What one looks like, in words."""

_PERSON: Final = b"robodj-sgfp1"
_FINGERPRINT: Final = re.compile(rf"{PREFIX}[0-9a-f]{{32}}")


def is_fingerprint(text: str) -> bool:
    """Whether text is a fingerprint as this library writes it."""
    return _FINGERPRINT.fullmatch(text) is not None


def fingerprint(key: SealedStr) -> str:
    """Return the fingerprint of a key that passed the format and strength rules.

    Equal keys have equal fingerprints, under whatever name. The case of a hexadecimal key and the unused bits of a
    base64url key make no difference. It is safe to publish for a generated key only: a passphrase could be guessed
    from it.

    Args:
        key: the key, ASCII as the format rule demands.

    Returns:
        `sgfp1:` and 32 hexadecimal digits of BLAKE2b-128.
    """
    return PREFIX + digest(canonical(key.get_secret_value()).encode("ascii")).hex()


def digest(text: bytes) -> bytes:
    """Return what a fingerprint has of a key: BLAKE2b-128 with a personalisation of its own.

    Args:
        text: the key, or what may be one, in the form in which keys are compared.
    """
    return blake2b(text, digest_size=16, person=_PERSON).digest()
