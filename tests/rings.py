"""A ring in the middle of a rotation, one that a test switches, and the rules for everything that uses a ring."""

from __future__ import annotations

import asyncio
import base64
import os
import pickle
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from traceback import TracebackException
from typing import Annotated, Any

import httpx
import pytest
from conftest import V1, good_keys, process_environment
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from detector import leaks

import robodj_secretguard
from robodj_secretguard import RuntimeSecrets, Secret, SecretSettings
from robodj_secretguard.errors import RevokedKeyError
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.testing import set_clock

Operation = tuple[Callable[[], Any], Callable[[Any], bool]]
"""What signs, and what accepts what was signed."""
Adapter = Callable[[Secret], Operation]
Plain = Callable[[str], Operation]
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

    Args:
        old: what signed before the adoption, as the previous key.

    Attributes:
        now: the time that the ring sees.
        deadline: the deadline of the previous key.
        variables: the environment.
        ring: the ring.
    """

    old: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    deadline: datetime = field(init=False)
    variables: dict[str, str] = field(init=False)
    ring: Secret = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = self.now + timedelta(hours=1)
        self.variables = rotation_keys(self.deadline) | ({PREVIOUS: self.old} if self.old else {})
        with process_environment(self.variables):
            made = RuntimeSecrets()
        set_clock(made, lambda: self.now)
        self.ring = made.secret_key

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


def derived_of(*, stores_data: bool | None) -> Secret:
    """Return derived keys of a `secret.key` whose policy declares this about stored data."""
    policy = RuntimeSecrets.secret_policies["secret_key"]._replace(stores_data=stores_data)

    class Service(SecretSettings):
        own: Annotated[Secret, policy]

    with process_environment(good_keys()):
        return Service().own.derive(b"notes v1")


class Published:
    """The keys of `secret.key` in a directory. The test publishes all of its files at once, as Kubernetes does.

    Args:
        directory: an empty directory.
        purpose: derive the ring for this purpose.
        model: declares the secret.

    Attributes:
        secrets: the settings of the service.
        ring: the ring.
        current: the key that was published last as the current key.
    """

    def __init__(self, directory: Path, purpose: bytes = b"", *, model: type[SecretSettings] = RuntimeSecrets) -> None:
        class Service(model, secrets_dir=directory):  # type: ignore[call-arg,misc,valid-type]
            pass

        self._directory, self._purpose, self._others = directory, purpose, good_keys()
        self._write({V1: secrets.token_urlsafe(32)})
        with process_environment({}):
            self.secrets = Service()
        ring: Secret = self.secrets.secret_key
        self.ring = ring.derive(purpose) if purpose else ring

    def publish(self, current: str, *revoked: str, **slots: str) -> bool:
        """Publish a set of keys, and return whether the service accepts it.

        Args:
            current: the current key.
            revoked: the keys on the revocation list.
            slots: the next and the previous key.
        """
        listed = {"ROBODJ_REVOKED_FINGERPRINTS": ",".join(fingerprint(SealedStr(each)) for each in revoked)}
        until = {UNTIL: (datetime.now(UTC) + timedelta(hours=1)).isoformat()} if "previous" in slots else {}
        self._write({V1: current} | {SLOTS[role]: key for role, key in slots.items()} | listed | until)
        with process_environment({}):
            return bool(self.secrets.refresh().ok)

    def text(self, key: str) -> str:
        """Return the text of a key in the ring."""
        return derived(key, self._purpose) if self._purpose else key

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Revoke the only key while the service runs. Publish a good one at the end: otherwise the process ends."""
        key = secrets.token_urlsafe(32)
        assert self.publish(key, previous=self.current)
        try:
            assert [self.publish(key, key) for _ in range(2)] == [False, False]
            yield
        finally:
            assert self.publish(secrets.token_urlsafe(32), key)

    def _write(self, variables: dict[str, str]) -> None:
        self.current = variables[V1]
        version = Path(tempfile.mkdtemp(dir=self._directory))
        for name, text in (self._others | variables).items():
            (version / name).write_text(text, encoding="utf-8")
        (link := self._directory / "..new").symlink_to(version.name)
        os.replace(link, self._directory / "..data")


def follows_deadline(adapter: Adapter, plain: Plain, _directory: Path, purpose: bytes = b"", *, old: str = "") -> None:
    """Assert that an adapter signs with the current key, and accepts each key, the previous one until its deadline.

    Args:
        adapter: makes what signs with a ring, and what accepts with it.
        plain: makes the same of the framework itself and one key.
        purpose: derive the ring for this purpose.
        old: what signed before the adoption, as the previous key.
    """
    rotation = Rotation(old)
    sign, accepts = adapter(rotation.derive(purpose).ring if purpose else rotation.ring)
    values = rotation.values
    tokens = {role: plain(value)[0]() for role, value in values.items()}
    tokens["stranger"] = plain(Rotation().derive(b"stranger").values["current"])[0]()

    def refused() -> list[str]:
        made = sign()
        assert accepts(made)
        assert [role for role, value in values.items() if plain(value)[1](made)] == ["current"]
        return [role for role, token in tokens.items() if not accepts(token)]

    assert refused() == ["stranger"]
    rotation.now = rotation.deadline - timedelta(microseconds=1)
    assert refused() == ["stranger"]
    rotation.now = rotation.deadline
    assert refused() == ["previous", "stranger"]
    rotation.now -= timedelta(days=1)
    assert refused() == ["previous", "stranger"]


def follows_switch(adapter: Adapter, plain: Plain, directory: Path, purpose: bytes = b"") -> None:
    """Assert that an adapter follows each switch: it signs with the current key alone, and accepts each accepted key.

    Once the current key is revoked and there is no other one, it accepts nothing, and signing raises an error.
    """
    service = Published(directory, purpose)
    sign, accepts = adapter(service.ring)
    first, second, third = service.current, *(secrets.token_urlsafe(32) for _ in range(2))
    operations = {key: plain(service.text(key)) for key in (first, second, third)}
    tokens = {key: sign_with() for key, (sign_with, _) in operations.items()}

    def follows(*accepted: str) -> bool:
        made = sign()
        signed_with = [key for key, (_, accepts_with) in operations.items() if accepts_with(made)]
        verified = {key for key, token in tokens.items() if accepts(token)}
        return accepts(made) and signed_with == [*accepted[:1]] and verified == {*accepted}

    assert follows(first)
    assert service.publish(first, next=second)
    assert follows(first, second)
    assert service.publish(second, previous=first)
    assert follows(second, first)
    assert service.publish(second, first, previous=first)
    assert follows(second)
    assert service.publish(third, first, second)
    assert follows(third)
    with service.refused():
        assert not any(accepts(token) for token in tokens.values())
        with pytest.raises(RevokedKeyError) as raised:
            sign()
        assert leaks(traceback_of(raised.value), [service.current, service.text(service.current)]) == []
    operations[service.current] = plain(service.text(service.current))
    tokens[service.current] = operations[service.current][0]()
    assert follows(service.current)


CHANGES = {
    "deadline": follows_deadline,
    "switch": follows_switch,
    "old hexadecimal key": partial(follows_deadline, old=secrets.token_hex(8)),
    "old passphrase": partial(follows_deadline, old=" ".join(f"größe{secrets.token_hex(2)}" for _ in range(4))),
}
"""What each adapter that verifies must follow, also with a key of before the adoption."""
every_change = pytest.mark.parametrize("follows", CHANGES.values(), ids=CHANGES)


def accepts_unless_revoked(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return what accepts, for a framework that takes the key that signs to verify, too."""

    def accepts_if_possible(token: Any) -> bool:
        try:
            return accepts(token)
        except RevokedKeyError:
            return False

    return accepts_if_possible


def ask(app: Any, method: str = "GET", path: str = "/", **options: Any) -> httpx.Response:
    """Send a request over HTTPS to an ASGI app in this process."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://localhost", **options) as client:
            return await client.request(method, path)

    return asyncio.run(send())


def assert_no_key(made: object, rotation: Rotation) -> None:
    """Assert that no attribute of an object shows a key, and that it is not pickled."""
    shown = f"{made!r} {vars(made)}"
    assert leaks(shown, [*rotation.delivered, *rotation.values.values()]) == []
    with pytest.raises(TypeError, match="secrets are not pickled"):
        pickle.dumps(made)


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
