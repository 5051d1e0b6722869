"""The adapter for Fernet, with `cryptography`."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from detector import leaks
from rings import Published, Rotation, assert_follows, assert_switches, traceback_of

from robodj_secretguard.adapters.fernet import RingFernet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PURPOSE = b"notes v1"


def reads(decrypt: Callable[..., bytes], token: bytes, **options: Any) -> bool:
    """Return whether a token is decrypted."""
    try:
        return decrypt(token, **options) == b"jazz"
    except InvalidToken:
        return False


def test_tokens() -> None:
    """It encrypts with the current key, and decrypts with each key, with the previous one until its deadline."""
    rotation = Rotation().derive(PURPOSE)
    box = RingFernet(rotation.ring)
    assert_follows(
        rotation,
        sign=lambda: box.encrypt(b"jazz"),
        accepts=lambda token: reads(box.decrypt, token),
        sign_with=lambda key: Fernet(key).encrypt(b"jazz"),
        accepts_with=lambda key, token: reads(Fernet(key).decrypt, token),
    )


def test_it_follows_a_switch(tmp_path: Path) -> None:
    """It encrypts with the current key after each switch, and decrypts with the accepted keys alone."""
    service = Published(tmp_path, PURPOSE)
    box = RingFernet(service.ring)
    assert_switches(
        service,
        sign=lambda: box.encrypt(b"jazz"),
        accepts=lambda token: reads(box.decrypt, token),
        sign_with=lambda key: Fernet(key).encrypt(b"jazz"),
        accepts_with=lambda key, token: reads(Fernet(key).decrypt, token),
    )


def test_the_age() -> None:
    """A token that is older than `ttl` is refused, also for data at rest."""
    rotation = Rotation().derive(PURPOSE)
    box = RingFernet(rotation.ring)
    token_of_1970 = Fernet(rotation.values["current"]).encrypt_at_time(b"jazz", 0)
    assert reads(box.decrypt, token_of_1970)
    assert not reads(box.decrypt, token_of_1970, ttl=60)
    assert reads(box.decrypt, box.encrypt(b"jazz"), ttl=60)
    assert box.decrypt(box.encrypt(b"jazz").decode(), ttl=60) == b"jazz"


@pytest.mark.parametrize(
    "token", [b"", "", b"gAAAA", "none", "\ud800", "gAAAA\xe4", "\N{SNOWMAN}", b"\xff" * 200, "A" * 9999], ids=range(9)
)
def test_an_invalid_token(token: Any) -> None:
    """Any other text or bytes are an `InvalidToken`, whose frames show no key."""
    rotation = Rotation().derive(PURPOSE)
    box = RingFernet(rotation.ring)
    with pytest.raises(InvalidToken) as raised:
        box.decrypt(token)
    assert leaks(traceback_of(raised.value), [*rotation.delivered, *rotation.values.values()]) == []


def test_other_keys() -> None:
    """The keys of the shipped secrets are not Fernet keys. The error says what to do, and shows no key."""
    rotation = Rotation()
    with pytest.raises(ValueError, match=r'not derived keys: pass ring\.derive\(b"\.\.\."\)') as raised:
        RingFernet(rotation.ring)
    assert leaks(traceback_of(raised.value), rotation.delivered) == []


def test_it_keeps_and_shows_no_key() -> None:
    """No attribute has a key, and it is not pickled."""
    rotation = Rotation().derive(PURPOSE)
    box = RingFernet(rotation.ring)
    assert leaks(f"{box!r} {vars(box)}", [*rotation.delivered, *rotation.values.values()]) == []
    with pytest.raises(TypeError, match="secrets are not pickled"):
        pickle.dumps(box)
