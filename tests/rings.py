"""A ring in the middle of a rotation, and the rules for everything that signs and verifies with one."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from traceback import TracebackException
from typing import TYPE_CHECKING, TypeVar

from conftest import V1, good_keys, process_environment
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import robodj_secretguard
from robodj_secretguard import RuntimeSecrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from robodj_secretguard.keyring import Keyring

Token = TypeVar("Token")
NEXT, PREVIOUS, UNTIL = f"{V1}_NEXT", f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"
LIBRARY, TESTS = (str(Path(each).parent) for each in (robodj_secretguard.__file__, __file__))
SLOTS = {"current": V1, "next": NEXT, "previous": PREVIOUS}


def derived(key: str, purpose: bytes) -> str:
    """Derive a key from a `secret.key` without this library."""
    info = b"".join(len(part).to_bytes(4, "big") + part for part in (b"secret.key", purpose))
    hkdf = HKDF(SHA256(), 32, b"robodj-secretguard keyring v1", info)
    return base64.urlsafe_b64encode(hkdf.derive(base64.urlsafe_b64decode(f"{key}="))).decode()


def rotation_keys(until: datetime) -> dict[str, str]:
    """Make the variables of a rotation: three keys of `secret.key`, and a deadline."""
    keys = {variable: good_keys()[V1] for variable in SLOTS.values()}
    return good_keys() | keys | {UNTIL: until.isoformat()}


@dataclass
class Rotation:
    """The three keys of `secret.key`, and a clock that the test moves.

    Attributes:
        now: the time that the ring sees.
        deadline: the deadline of the previous key.
        variables: the environment.
        ring: the ring.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    deadline: datetime = field(init=False)
    variables: dict[str, str] = field(init=False)
    ring: Keyring = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = self.now + timedelta(hours=1)
        self.variables = rotation_keys(self.deadline)
        with process_environment(self.variables):
            self.ring = RuntimeSecrets().keyring("secret.key", clock=lambda: self.now)

    def derive(self, purpose: bytes) -> Rotation:
        """Replace the ring by a derived one."""
        self.ring = self.ring.derive(purpose)
        return self

    @property
    def values(self) -> dict[str, str]:
        """The text of each accepted key."""
        return {key.role: key.value.get_secret_value() for key in self.ring.accepted()}

    @property
    def delivered(self) -> list[str]:
        """Every key in the environment."""
        return [text for name, text in self.variables.items() if name != UNTIL]


def assert_follows(
    rotation: Rotation,
    *,
    sign: Callable[[], Token],
    accepts: Callable[[Token], bool],
    sign_with: Callable[[str], Token],
    accepts_with: Callable[[str, Token], bool],
) -> None:
    """Assert that an adapter signs with the current key, and accepts each key, the previous one until its deadline.

    Args:
        rotation: the rotation, before the deadline.
        sign: sign with the adapter.
        accepts: verify with the adapter.
        sign_with: sign with the framework itself and one key.
        accepts_with: verify with the framework itself and one key.
    """
    values = rotation.values
    tokens = {role: sign_with(value) for role, value in values.items()}
    stranger = sign_with(Rotation().derive(b"stranger").values["current"])

    def accepted() -> dict[str, bool]:
        return {role: accepts(token) for role, token in tokens.items()} | {"stranger": accepts(stranger)}

    def signs_with() -> list[str]:
        token = sign()
        assert accepts(token)
        return [role for role, value in values.items() if accepts_with(value, token)]

    everyone = {"current": True, "next": True, "previous": True, "stranger": False}
    assert (accepted(), signs_with()) == (everyone, ["current"])
    rotation.now = rotation.deadline - timedelta(microseconds=1)
    assert accepted() == everyone
    rotation.now = rotation.deadline
    assert (accepted(), signs_with()) == (everyone | {"previous": False}, ["current"])
    rotation.now -= timedelta(days=1)
    assert accepted() == everyone | {"previous": False}


def traceback_of(error: BaseException, *, own: bool = False) -> str:
    """Return the traceback of an error with local variables, without the frames of tests.

    Args:
        error: the error.
        own: whether to return the frames of this library alone, and not those of frameworks.
    """
    shown = TracebackException.from_exception(error, capture_locals=True)
    frames = [each for each in shown.stack if each.filename.startswith(LIBRARY)]
    assert frames
    if not own:
        frames = [each for each in shown.stack if not each.filename.startswith(TESTS)]
    return "\n".join([*shown.format_exception_only(), *shown.stack.from_list(frames).format()])
