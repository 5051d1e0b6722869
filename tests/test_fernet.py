"""The adapter for Fernet, with `cryptography`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from detector import leaks
from rings import Operation, Rotation, assert_no_key, derived_of, follows_deadline, follows_switch, traceback_of

from robodj_secretguard.adapters.fernet import RingFernet

PURPOSE = b"notes v1"


def reads(decrypt: Callable[..., bytes], token: bytes, **options: Any) -> bool:
    """Return whether a token is decrypted."""
    try:
        return decrypt(token, **options) == b"jazz"
    except InvalidToken:
        return False


@pytest.mark.parametrize("follows", [follows_deadline, follows_switch])
def test_tokens(follows: Callable[..., None], tmp_path: Path) -> None:
    """It encrypts with the current key, and decrypts with each accepted key, also after a switch."""

    def operation(box: Any) -> Operation:
        return lambda: box.encrypt(b"jazz"), lambda token: reads(box.decrypt, token)

    follows(lambda ring: operation(RingFernet(ring)), lambda key: operation(Fernet(key)), tmp_path, PURPOSE)


def test_an_old_key_is_left_out() -> None:
    """A key of before the adoption decrypts nothing, also where it is a key of Fernet. The others work."""
    rotation = Rotation(Fernet.generate_key().decode()).derive(PURPOSE)
    tokens = {role: Fernet(key).encrypt(b"jazz") for role, key in rotation.values.items()}
    assert [role for role, token in tokens.items() if reads(RingFernet(rotation.ring).decrypt, token)] == [
        "current",
        "next",
    ]


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


def test_undecided_storage() -> None:
    """A secret whose policy leaves `stores_data` undecided is refused. The error says what to declare."""
    for stores_data in (True, False):
        RingFernet(derived_of(stores_data=stores_data))
    with pytest.raises(ValueError, match=r"secret\.key leaves stores_data undecided: declare .*=True\) if "):
        RingFernet(derived_of(stores_data=None))


def test_it_keeps_and_shows_no_key() -> None:
    """No attribute has a key, and it is not pickled."""
    rotation = Rotation().derive(PURPOSE)
    assert_no_key(RingFernet(rotation.ring), rotation)
