"""PyJWT: tokens whose header names the key."""

from __future__ import annotations

from typing import Any, Final

import jwt

from robodj_secretguard.adapters.live import signing
from robodj_secretguard.running.keyset import Key
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import without_frames

_ALGORITHMS: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The accepted algorithms, and the fewest characters of a key for each (RFC 7518, section 3.2)."""


class RingJWT:
    """Sign tokens with the current key of a ring, and verify them with the accepted keys.

    The header of a token has the key id, `kid`. It reads the ring once in each operation. So it follows a switch of
    keys, and the previous key verifies nothing after its deadline. If a switch brings a key that is too short for the
    algorithm, that key signs and verifies nothing.

    Args:
        ring: the keys.
        algorithm: `HS256`, `HS384` or `HS512`. The header of a token never chooses another one. Derived keys are for
            `HS256`.

    Raises:
        ValueError: another algorithm, as only these use a secret, or a key that is too short for it. Or others issue
            the secret.
    """

    def __init__(self, ring: Secret, algorithm: str = "HS256") -> None:
        if algorithm not in _ALGORITHMS:
            raise ValueError(f"the algorithm must be one of {', '.join(_ALGORITHMS)}")
        _require_length(algorithm, *[key for key in signing(ring).accepted() if key.kid])
        self._ring = ring
        self._algorithm = algorithm

    def encode(self, payload: dict[str, Any], headers: dict[str, Any] | None = None) -> str:
        """Sign a token with the current key.

        Args:
            payload: the claims. Without `exp`, a token is valid until its key is not accepted any more.
            headers: more headers. `alg` and `kid` are replaced.

        Returns:
            The token.

        Raises:
            ValueError: since a switch, the current key is too short for the algorithm.
            RevokedKeyError: the current key was revoked, and there is no other one.
        """
        key = self._ring.current
        _require_length(self._algorithm, key)
        pinned = {**(headers or {}), "alg": self._algorithm, "kid": key.kid}  # PyJWT prefers the `alg` of the headers
        try:
            return jwt.encode(payload, key.value.get_secret_value(), self._algorithm, pinned)
        except Exception as error:  # noqa: BLE001 - the frames of PyJWT have the key
            failure = without_frames(error)
        raise failure

    def decode(self, token: str | bytes, **options: Any) -> dict[str, Any]:
        """Verify a token.

        A token with a `kid` of the ring is verified with the accepted key that has this id, a token without one with
        each accepted key. The previous key also verifies a token with another `kid`: it may have signed before the
        adoption. Then it may be short.

        Args:
            token: the token: text or bytes of any content.
            options: arguments of `jwt.decode`, by name: `audience`, `issuer`, `leeway`, `options`. The signature is
                always verified.

        Returns:
            The claims.

        Raises:
            jwt.InvalidTokenError: the token is not valid, or no accepted key has its `kid`.
        """
        options["options"] = {**(options.get("options") or {}), "verify_signature": True}
        failure: Exception = jwt.InvalidTokenError("no accepted key has the key id of the token")
        try:
            kid = jwt.get_unverified_header(token).get("kid")  # nobody has verified it
            keys = self._ring.accepted()
            enough = _ALGORITHMS[self._algorithm]
            is_foreign = kid is not None and kid not in {key.kid for key in keys}  # such as one of before the adoption
            for key in keys:
                is_meant = key.role == "previous" if is_foreign else kid in (None, key.kid)
                if is_meant and (len(key.value) >= enough or not key.kid):
                    try:
                        # HMAC adds such zeros itself. Without them, PyJWT warns about a short key.
                        return jwt.decode(
                            token,
                            key.value.get_secret_value().encode().ljust(enough, b"\0"),
                            [self._algorithm],
                            **options,
                        )
                    except jwt.InvalidSignatureError as error:
                        failure = without_frames(error)
        except (RecursionError, UnicodeError) as error:
            failure = jwt.DecodeError(type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the frames of PyJWT have the key
            failure = without_frames(error)
        raise failure


def _require_length(algorithm: str, *keys: Key) -> None:
    if any(len(key.value) < _ALGORITHMS[algorithm] for key in keys):
        raise ValueError(f"{algorithm} needs keys of {_ALGORITHMS[algorithm]} characters or more")
