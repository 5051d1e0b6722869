"""Keys that are derived from the keys of a secret. tests/test_store.py has the rules of their values."""

from __future__ import annotations

from conftest import NOW
from rings import Rotation, derived

from robodj_secretguard.running.derivation import derived as derived_key
from robodj_secretguard.running.keyset import Held, Key
from robodj_secretguard.secret.sealed import SealedStr


def test_a_derived_key() -> None:
    """A derived key has the role, the id and the deadline of its key, and another value for each purpose."""
    text = Rotation().values["next"]
    held = Held(Key("next", "a" * 32, SealedStr(text)), NOW, is_revoked=False)
    made = derived_key(held, "secret.key", b"one")
    assert (made.key.role, made.key.kid, made.ends, made.is_revoked) == ("next", "a" * 32, NOW, False)
    assert made.key.value.get_secret_value() == derived(text, b"one")
    assert made.key.value != derived_key(held, "secret.key", b"two").key.value


def test_what_signed_before_the_adoption() -> None:
    """A key without an id stays as it is."""
    held = Held(Key("previous", "", SealedStr("a passphrase of before")), NOW, is_revoked=False)
    assert derived_key(held, "secret.key", b"one") is held
