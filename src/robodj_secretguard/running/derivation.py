"""Keys that are derived for one purpose, with HKDF-SHA256 (RFC 5869). It needs the extra `crypto`."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from robodj_secretguard.running.keyset import Held
from robodj_secretguard.secret.material import canonical, decoded
from robodj_secretguard.secret.sealed import SealedStr

_SALT = b"robodj-secretguard keyring v1"


def derived(held: Held, name: str, purpose: bytes) -> Held:
    """Return a key that is derived from another one. It runs inside `contain()`.

    Args:
        held: a key of the secret.
        name: the name of the secret.
        purpose: the name of the purpose.
    """
    if not held.key.kid:  # what signed before the adoption stays as it is
        return held
    info = b"".join(len(part).to_bytes(4, "big") + part for part in (name.encode(), purpose))
    text = canonical(held.key.value.get_secret_value())
    encoded = decoded(text) or text.encode()  # base64 does not have every length: then the text
    made = HKDF(SHA256(), 32, _SALT, info).derive(encoded)
    value = SealedStr(base64.urlsafe_b64encode(made).decode())
    return held._replace(key=held.key._replace(value=value))
