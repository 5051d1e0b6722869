"""The adapter for itsdangerous, with itsdangerous."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from detector import leaks
from itsdangerous import BadSignature, SignatureExpired, TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer
from rings import Published, Rotation, assert_follows, assert_switches, traceback_of

from robodj_secretguard.adapters.itsdangerous import RingSerializer, RingSigner, RingURLSafeSerializer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SALT = b"invitation v1"
STRONGER: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def reads(read: Callable[..., Any], token: str | bytes) -> bool:
    """Return whether a signature is good."""
    try:
        return bool(read(token, max_age=60) in ("jazz", b"jazz"))
    except BadSignature:
        return False


@pytest.mark.parametrize("options", [{}, STRONGER], ids=["default", "stronger"])
def test_a_signer(options: dict[str, Any]) -> None:
    """A signer signs with the current key. It reads tokens of each key, of the previous one until its deadline."""
    rotation = Rotation()
    signer = RingSigner(rotation.ring, SALT, **options)
    assert_follows(
        rotation,
        sign=lambda: signer.sign("jazz"),
        accepts=lambda token: reads(signer.unsign, token),
        sign_with=lambda key: TimestampSigner(key, SALT, **options).sign("jazz"),
        accepts_with=lambda key, token: reads(TimestampSigner(key, SALT, **options).unsign, token),
    )


def test_a_signer_follows_a_switch(tmp_path: Path) -> None:
    """A signer signs with the current key after each switch, and accepts the accepted keys alone."""
    service = Published(tmp_path)
    signer = RingSigner(service.ring, SALT)
    assert_switches(
        service,
        sign=lambda: signer.sign("jazz"),
        accepts=lambda token: reads(signer.unsign, token),
        sign_with=lambda key: TimestampSigner(key, SALT).sign("jazz"),
        accepts_with=lambda key, token: reads(TimestampSigner(key, SALT).unsign, token),
    )


def test_a_serializer_follows_a_switch(tmp_path: Path) -> None:
    """So does a serializer."""
    service = Published(tmp_path)
    serializer = RingSerializer(service.ring, SALT)
    assert_switches(
        service,
        sign=lambda: serializer.dumps("jazz"),
        accepts=lambda token: reads(serializer.loads, token),
        sign_with=lambda key: URLSafeTimedSerializer(key, SALT).dumps("jazz"),
        accepts_with=lambda key, token: reads(URLSafeTimedSerializer(key, SALT).loads, token),
    )


@pytest.mark.parametrize(
    ("kind", "of_library", "options"),
    [
        (RingSerializer, URLSafeTimedSerializer, {}),
        (RingSerializer, URLSafeTimedSerializer, {"signer_kwargs": STRONGER}),
        (RingURLSafeSerializer, URLSafeSerializer, {}),
    ],
    ids=["default", "stronger", "untimed"],
)
def test_a_serializer(kind: Any, of_library: Any, options: dict[str, Any]) -> None:
    """A serializer signs with the current key. It reads tokens of each key, of the previous one until its deadline."""
    rotation = Rotation()
    serializer = kind(rotation.ring, salt=SALT, **options)

    def only(key: str) -> Any:
        return of_library(key, SALT, **options)

    assert_follows(
        rotation,
        sign=lambda: serializer.dumps("jazz"),
        accepts=lambda token: reads(serializer.loads, token),
        sign_with=lambda key: only(key).dumps("jazz"),
        accepts_with=lambda key, token: reads(only(key).loads, token),
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


def test_an_old_token() -> None:
    """A token that is older than `max_age` is refused."""
    serializer = RingSerializer(Rotation().ring, SALT)
    with pytest.raises(SignatureExpired):
        serializer.loads(serializer.dumps("jazz"), max_age=-1)


@pytest.mark.parametrize("kind", [RingSerializer, RingSigner])
def test_it_keeps_and_shows_no_key(kind: type[RingSerializer | RingSigner]) -> None:
    """No attribute has a key, other keys are refused, and it is not pickled."""
    rotation = Rotation()
    made = kind(rotation.ring, SALT)
    assert leaks(f"{made!r} {vars(made)} {made.secret_keys} {made.secret_key!r}", rotation.delivered) == []
    with pytest.raises(TypeError, match="the keys are those of the ring") as raised:
        made.secret_keys = [rotation.values["next"].encode()]
    assert leaks(traceback_of(raised.value), rotation.delivered) == []
    assert made.secret_key == rotation.values["current"].encode()
    with pytest.raises(TypeError, match="secrets are not pickled"):
        pickle.dumps(made)
