"""The adapter for AES-GCM, with `cryptography`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from detector import leaks
from rings import Published, Rotation, assert_no_key, derived_of, traceback_of

from robodj_secretguard.adapters.aesgcm import RingAESGCM
from robodj_secretguard.errors import RevokedKeyError

PURPOSE = b"notes v1"
NAME = b"note 1"


def decrypts(box: RingAESGCM, stored: Any, *associated_data: bytes | None, **options: Any) -> bool:
    """Return whether stored data is decrypted. Any other error than `InvalidTag` fails the test."""
    try:
        return box.decrypt(stored, *associated_data, **options) == b"jazz"
    except InvalidTag:
        return False


@pytest.mark.parametrize(("declared", "message"), [(None, "undecided: declare"), (False, "RingAESGCM encrypts stored")])
def test_undeclared_storage(declared: Any, message: str) -> None:
    """Without `stores_data=True`, a rotation would remove the key of stored data, so the secret is refused."""
    with pytest.raises(ValueError, match=message):
        RingAESGCM(derived_of(stores_data=declared))


def test_the_form_of_encrypted_data() -> None:
    """It is the id of the current key, a new nonce, and AES-256-GCM, which authenticates these and the given data."""
    rotation = Rotation().derive(PURPOSE)
    box, kid = RingAESGCM(rotation.ring), rotation.ring.current.kid
    cipher = AESGCM(base64.urlsafe_b64decode(rotation.values["current"]))
    for associated_data in (None, b"", NAME):
        stored = box.encrypt(b"jazz", associated_data)
        head = stored[:28]
        assert box.kid == box.kid_of(stored) == head[:16].hex() == kid
        assert cipher.decrypt(head[16:], stored[28:], head + (associated_data or b"")) == b"jazz"
        assert decrypts(box, stored, associated_data)
        assert len(stored) == len(b"jazz") + 44
    assert len({box.encrypt(b"jazz")[16:28] for _ in range(100)}) == 100
    assert decrypts(box, memoryview(box.encrypt(b"jazz")))
    assert box.decrypt(box.encrypt(b"")) == b""


def test_data_at_rest_follows_a_switch(tmp_path: Path) -> None:
    """It encrypts with the current key, and decrypts with the key that the data names, unless that key is revoked."""
    service = Published(tmp_path, PURPOSE)
    box, other = RingAESGCM(service.ring), Rotation().values["current"]
    first, by_first = service.current, box.encrypt(b"jazz")
    assert service.publish(other, previous=first)
    by_other = box.encrypt(b"jazz")
    assert box.kid == box.kid_of(by_other) != box.kid_of(by_first)
    assert [decrypts(box, each) for each in (by_first, by_other)] == [True, True]
    assert service.publish(first, next=other)
    assert [decrypts(box, each) for each in (by_first, by_other)] == [True, True]
    assert service.publish(other, first, previous=first)
    assert [decrypts(box, each) for each in (by_first, by_other)] == [False, True]
    assert decrypts(box, by_first, revoked=True)
    assert service.publish(other, first)
    assert not decrypts(box, by_first, revoked=True)
    with service.refused():
        with pytest.raises(RevokedKeyError) as raised:
            box.encrypt(b"jazz")
        assert decrypts(box, by_other)
        assert leaks(traceback_of(raised.value), [service.current, service.text(service.current)]) == []
    assert decrypts(box, box.encrypt(b"jazz"))


def test_a_previous_key_after_its_deadline() -> None:
    """It decrypts, as the deadline is for what comes from outside."""
    rotation = Rotation().derive(PURPOSE)
    key = rotation.ring.accepted()[2]
    head = bytes.fromhex(key.kid) + bytes(12)
    stored = head + AESGCM(base64.urlsafe_b64decode(key.value.get_secret_value())).encrypt(bytes(12), b"jazz", head)
    rotation.now = rotation.deadline
    assert decrypts(RingAESGCM(rotation.ring), stored)


def test_whatever_else_is_an_invalid_tag() -> None:
    """Data that was changed, cut, moved or encrypted for another purpose is an `InvalidTag`, as is anything else."""
    rotation = Rotation()
    ring, other = rotation.ring.derive(PURPOSE), rotation.ring.derive(b"another v1")
    box = RingAESGCM(ring)
    stored, kids = box.encrypt(b"jazz", NAME), [key.kid for key in ring.accepted()]
    for position in range(len(stored)):
        changed = bytearray(stored)
        changed[position] ^= 1
        assert not decrypts(box, bytes(changed), NAME)
        assert not decrypts(box, stored[:position], NAME)
    foreign = [bytes(99), stored + b"\0", *(bytes.fromhex(kid) + stored[16:] for kid in kids[1:])]
    assert not any(decrypts(box, each, NAME) for each in foreign)
    assert not any(decrypts(box, stored, each) for each in (None, NAME[:-1], stored[:28] + NAME))
    boxes = [RingAESGCM(each) for each in (ring, other, Rotation().derive(PURPOSE).ring)]
    assert [decrypts(each, stored, NAME) for each in boxes] == [True, False, False]


@pytest.mark.parametrize(
    "act",
    [
        lambda box: box.encrypt("jazz"),
        lambda box: box.encrypt(b"jazz", "name"),
        lambda box: box.decrypt("jazz"),
        lambda box: box.decrypt(bytes(99)),
        lambda box: box.decrypt(box.encrypt(b"jazz")[:-1]),
        lambda box: box.decrypt(box.encrypt(b"jazz"), "name"),
    ],
    ids=range(6),
)
def test_an_error_shows_no_key(act: Callable[[Any], bytes]) -> None:
    """Data of a wrong type is a `TypeError`. No frame of an error shows a key."""
    rotation = Rotation().derive(PURPOSE)
    with pytest.raises((TypeError, InvalidTag)) as raised:
        act(RingAESGCM(rotation.ring))
    shown = traceback_of(raised.value)
    for key in rotation.ring.accepted():
        shown = shown.replace(key.kid, "")
    assert leaks(shown, [*rotation.delivered, *rotation.values.values()]) == []


def test_other_keys() -> None:
    """The keys of the shipped secrets are refused, as other purposes may use them. The error shows no key."""
    rotation = Rotation()
    with pytest.raises(ValueError, match=r'not derived keys: pass ring\.derive\(b"\.\.\."\)') as raised:
        RingAESGCM(rotation.ring)
    assert leaks(traceback_of(raised.value), rotation.delivered) == []


def test_it_keeps_and_shows_no_key() -> None:
    """No attribute has a key, and it is not pickled."""
    rotation = Rotation().derive(PURPOSE)
    assert_no_key(RingAESGCM(rotation.ring), rotation)
