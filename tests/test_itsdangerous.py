"""The adapter for itsdangerous, with itsdangerous."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from detector import leaks
from itsdangerous import BadSignature, TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer
from rings import Operation, Rotation, assert_no_key, every_change, traceback_of

from robodj_secretguard.adapters.itsdangerous import RingSerializer, RingSigner, RingURLSafeSerializer

SALT = b"invitation v1"
STRONGER: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def reads(read: Callable[..., Any], token: str | bytes) -> bool:
    """Return whether a signature is good."""
    try:
        return bool(read(token, max_age=60) in ("jazz", b"jazz"))
    except BadSignature:
        return False


def operation(made: Any) -> Operation:
    """Sign with a signer or a serializer."""
    if isinstance(made, TimestampSigner):
        return lambda: made.sign("jazz"), lambda token: reads(made.unsign, token)
    return lambda: made.dumps("jazz"), lambda token: reads(made.loads, token)


@every_change
@pytest.mark.parametrize(
    ("kind", "of_library", "options"),
    [
        (RingSigner, TimestampSigner, {}),
        (RingSigner, TimestampSigner, STRONGER),
        (RingSerializer, URLSafeTimedSerializer, {}),
        (RingSerializer, URLSafeTimedSerializer, {"signer_kwargs": STRONGER}),
        (RingURLSafeSerializer, URLSafeSerializer, {}),
    ],
    ids=["signer", "stronger signer", "serializer", "stronger serializer", "untimed serializer"],
)
def test_tokens(
    follows: Callable[..., None], tmp_path: Path, kind: Any, of_library: Any, options: dict[str, Any]
) -> None:
    """It signs with the current key, and reads tokens of each accepted key, also after a switch."""
    follows(
        lambda ring: operation(kind(ring, SALT, **options)),
        lambda key: operation(of_library(key, SALT, **options)),
        tmp_path,
    )


def test_tokens_of_other_options() -> None:
    """`fallback_signers` read tokens of earlier options, with each accepted key."""
    rotation = Rotation()
    stronger = RingSerializer(rotation.ring, SALT, signer_kwargs=STRONGER, fallback_signers=[{}])
    for key in rotation.values.values():
        assert reads(stronger.loads, URLSafeTimedSerializer(key, SALT).dumps("jazz"))
    assert reads(stronger.loads, stronger.dumps("jazz"))
    assert not reads(RingSerializer(rotation.ring, SALT).loads, stronger.dumps("jazz"))


def test_purposes() -> None:
    """A token of another purpose is refused. A purpose must be given."""
    ring: Any = Rotation().ring
    assert not reads(RingSerializer(ring, b"another").loads, RingSerializer(ring, SALT).dumps("jazz"))
    assert not reads(RingSigner(ring, b"another").unsign, RingSigner(ring, SALT).sign("jazz"))
    kinds: list[Any] = [RingSerializer, RingSigner]
    for kind in kinds:
        with pytest.raises(TypeError, match="salt"):
            kind(ring)


@pytest.mark.parametrize("kind", [RingSerializer, RingSigner])
def test_it_keeps_and_shows_no_key(kind: type[RingSerializer | RingSigner]) -> None:
    """No attribute has a key, other keys are refused, and it is not pickled."""
    rotation = Rotation()
    made = kind(rotation.ring, SALT)
    assert_no_key(made, rotation)
    assert leaks(f"{made.secret_keys} {made.secret_key!r}", rotation.delivered) == []
    with pytest.raises(TypeError, match="the keys are those of the ring") as raised:
        made.secret_keys = [rotation.values["next"].encode()]
    assert leaks(traceback_of(raised.value), rotation.delivered) == []
    assert made.secret_key == rotation.values["current"].encode()
