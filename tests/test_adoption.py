"""What signed before the adoption, as the previous key: in a ring, and in each adapter with its framework."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import jwt
import pytest
from command_line import fingerprint_of
from conftest import process_environment
from cryptography.fernet import Fernet, InvalidToken
from detector import leaks
from django.core import signing
from django.core.management.utils import get_random_secret_key
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature, TimestampSigner, URLSafeTimedSerializer
from pydantic import SecretStr
from rings import Published, Rotation, assert_follows, rotation_keys
from starlette.middleware.sessions import SessionMiddleware

from robodj_secretguard import RuntimeSecrets, SecretPolicy, SecretSettings, check, guard
from robodj_secretguard.adapters.aesgcm import RingAESGCM
from robodj_secretguard.adapters.django import secret_keys
from robodj_secretguard.adapters.fernet import RingFernet
from robodj_secretguard.adapters.flask import sign_sessions
from robodj_secretguard.adapters.itsdangerous import RingSerializer, RingSigner
from robodj_secretguard.adapters.jwt import RingJWT
from robodj_secretguard.adapters.starlette import RingSessionMiddleware
from robodj_secretguard.redact import SecretRedactor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from robodj_secretguard.keyring import Keyring

PURPOSE = b"adopted v1"
OLD: dict[str, Callable[[], str]] = {
    "Django": get_random_secret_key,
    "openssl rand -base64 32": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    "16 characters": partial(secrets.token_hex, 8),
    "passphrase": lambda: " ".join(f"größe{secrets.token_hex(2)}" for _ in range(4)),
}
HMAC: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
every_key = pytest.mark.parametrize("old", OLD.values(), ids=OLD)


def reads(read: Callable[[], Any]) -> bool:
    """Return whether a signature is good."""
    try:
        return bool(read() in ("jazz", b"jazz", {"sub": "jazz"}))
    except (BadSignature, signing.BadSignature, jwt.InvalidTokenError):
        return False


def by_signer(signer: Any) -> Callable[[str], bool]:
    """Return a function that verifies the tokens of a signer."""
    return lambda token: reads(lambda: signer.unsign(token, max_age=60))


@every_key
def test_ring_takes_an_old_key_as_it_is(old: Callable[[], str]) -> None:
    """An old key verifies until its deadline, without an id. It is not derived, and only `stored` has it after that."""
    rotation = Rotation(text := old())
    for ring in (rotation.ring, rotation.ring.derive(PURPOSE)):
        assert [bool(key.kid) for key in ring.accepted()] == [True, True, False]
        match = ring.verify(text)
        assert match is not None
        assert (match.role, match.kid, ring.find("")) == ("previous", "", None)
    rotation.now = rotation.deadline
    assert ring.verify(text) is None
    assert [key.role for key in ring.stored()] == ["next", "current", "previous"]


def test_old_keys_of_two_secrets_have_a_deadline_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two old keys without an id, of two secrets, end at their own deadlines, in a process that is running."""
    now, day = datetime.now(UTC), timedelta(days=1)
    old = secrets.token_hex(8), secrets.token_hex(8)
    variables = rotation_keys(now + day)
    for name, text, ahead in zip(("ROBODJ_SECRET_KEY", "ROBODJ_SECRET_V2_KEY"), old, (day, 2 * day), strict=True):
        variables |= {f"{name}_PREVIOUS": text, f"{name}_PREVIOUS_UNTIL": (now + ahead).isoformat()}
    with process_environment(variables):
        service = RuntimeSecrets()
    rings = [service.keyring(name) for name in ("secret.key", "secret_v2.key")]

    def verified() -> list[bool]:
        return [ring.verify(text) is not None for ring, text in zip(rings, old, strict=True)]

    assert verified() == [True, True]
    started = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: started + day.total_seconds())
    assert verified() == [False, True]


@pytest.mark.parametrize("begin", ["", "@2026-01-31T08:00:00Z"])
def test_old_key_with_padding_is_revoked_like_the_key_without(begin: str) -> None:
    """A key in standard base64 is on the list by the fingerprint of the same key in base64url."""
    old = OLD["openssl rand -base64 32"]()
    variables = rotation_keys(datetime.now(UTC) + timedelta(days=1)) | {"ROBODJ_SECRET_KEY_PREVIOUS": old}
    with process_environment(variables | {"ROBODJ_REVOKED_FINGERPRINTS": f"{fingerprint_of(old)}{begin}"}):
        service, report = RuntimeSecrets(), check()
    assert service.keyring("secret.key").verify(old) is None
    assert ("revoked", "previous") in [(each.check, each.slot) for each in report.findings]


def test_old_key_comes_and_goes_while_the_service_runs(tmp_path: Path) -> None:
    """A running service takes an old key from a directory, also one that begins like a comment, until it is unset."""
    service, old = Published(tmp_path, PURPOSE), f"#{get_random_secret_key()} "
    current = service.current
    for slots, is_accepted in (({}, False), ({"previous": old}, True), ({}, False)):
        assert service.publish(current, **slots)
        assert (service.ring.verify(old) is not None) is is_accepted


@every_key
def test_django_accepts_what_it_signed_before(old: Callable[[], str]) -> None:
    """Django accepts what it signed with an old key, until the deadline, and does not sign with it."""
    rotation = Rotation(old()).derive(PURPOSE)
    keys = dict(zip(("key", "fallback_keys"), secret_keys(rotation.ring), strict=True))

    def signer_of(key: str) -> signing.TimestampSigner:
        return signing.TimestampSigner(key=key, fallback_keys=[])

    assert_follows(
        rotation,
        sign=lambda: signing.TimestampSigner(**keys).sign("jazz"),
        accepts=by_signer(signing.TimestampSigner(**keys)),
        sign_with=lambda key: signer_of(key).sign("jazz"),
        accepts_with=lambda key, token: by_signer(signer_of(key))(token),
    )


@every_key
def test_flask_accepts_what_it_signed_before(old: Callable[[], str]) -> None:
    """Flask accepts the sessions that it signed with an old key, until the deadline, and does not sign with it."""
    rotation, interface = Rotation(old()).derive(PURPOSE), SecureCookieSessionInterface()

    def serializer(key: str = "") -> Any:
        app = Flask("app")
        app.secret_key = key
        if not key:
            sign_sessions(app, rotation.ring)
        return interface.get_signing_serializer(app)

    assert_follows(
        rotation,
        sign=lambda: serializer().dumps("jazz"),
        accepts=lambda token: reads(lambda: serializer().loads(token)),
        sign_with=lambda key: serializer(key).dumps("jazz"),
        accepts_with=lambda key, token: reads(lambda: serializer(key).loads(token)),
    )


def in_starlette(ring: Keyring) -> Any:
    """Return the signer of Starlette's sessions."""
    return RingSessionMiddleware(lambda *_: None, ring).signer  # type: ignore[arg-type]


def in_plain_starlette(key: str) -> Any:
    """Return the signer of Starlette's own sessions."""
    return SessionMiddleware(lambda *_: None, key).signer  # type: ignore[arg-type]


@every_key
@pytest.mark.parametrize(
    ("adapter", "plain"),
    [
        (in_starlette, in_plain_starlette),
        (partial(RingSigner, salt=b"invite"), partial(TimestampSigner, salt=b"invite")),
        (partial(RingSigner, salt=b"invite", **HMAC), partial(TimestampSigner, salt=b"invite", **HMAC)),
    ],
    ids=["Starlette", "itsdangerous", "itsdangerous, other options"],
)
def test_signer_accepts_what_it_signed_before(
    old: Callable[[], str], adapter: Callable[[Keyring], Any], plain: Callable[[str], Any]
) -> None:
    """A signer accepts what the plain signer with its options signed with an old key, until the deadline."""
    rotation = Rotation(old()).derive(PURPOSE)
    signer = adapter(rotation.ring)
    assert_follows(
        rotation,
        sign=lambda: signer.sign("jazz").decode(),
        accepts=by_signer(signer),
        sign_with=lambda key: plain(key).sign("jazz").decode(),
        accepts_with=lambda key, token: by_signer(plain(key))(token),
    )


@every_key
@pytest.mark.parametrize("options", [{}, {"signer_kwargs": HMAC}], ids=["default", "other options"])
def test_serializer_accepts_what_it_signed_before(old: Callable[[], str], options: dict[str, Any]) -> None:
    """A serializer accepts what the plain one with its options signed with an old key, until the deadline."""
    rotation = Rotation(old()).derive(PURPOSE)
    serializer = RingSerializer(rotation.ring, "invite", **options)

    def plain(key: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(key, "invite", **options)

    assert_follows(
        rotation,
        sign=lambda: serializer.dumps("jazz"),
        accepts=lambda token: reads(lambda: serializer.loads(token, max_age=60)),
        sign_with=lambda key: plain(key).dumps("jazz"),
        accepts_with=lambda key, token: reads(lambda: plain(key).loads(token)),
    )


class TestPyJWT:
    """Tokens of before the adoption. PyJWT warns about short keys, and a warning fails a test."""

    def signed(self, key: str, **headers: str) -> str:
        """Sign a token with PyJWT. HMAC adds such zeros itself."""
        return jwt.encode({"sub": "jazz"}, key.encode().ljust(32, b"\0"), "HS256", headers)

    @every_key
    def test_tokens_without_an_id(self, old: Callable[[], str]) -> None:
        """A token of an old key is accepted until the deadline, also of a short one. None is signed with it."""
        rotation = Rotation(old()).derive(PURPOSE)
        tokens = RingJWT(rotation.ring)
        assert_follows(
            rotation,
            sign=lambda: tokens.encode({"sub": "jazz"}),
            accepts=lambda token: reads(lambda: tokens.decode(token)),
            sign_with=self.signed,
            accepts_with=lambda key, token: reads(
                lambda: jwt.decode(token, key.encode().ljust(32, b"\0"), algorithms=["HS256"])
            ),
        )

    @pytest.mark.parametrize("is_legacy", [True, False])
    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_an_old_key_has_the_tokens_of_other_ids(self, algorithm: str, *, is_legacy: bool) -> None:
        """An old key verifies a token with an unknown id, and none with the id of another key or another algorithm."""
        old = secrets.token_hex(8 if is_legacy else 64)
        variables = {f"ROBODJ_SECRET_V2_KEY{slot}": secrets.token_hex(64) for slot in ("", "_NEXT")}
        until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        variables |= {"ROBODJ_SECRET_V2_KEY_PREVIOUS": old, "ROBODJ_SECRET_V2_KEY_PREVIOUS_UNTIL": until}
        with process_environment(rotation_keys(datetime.now(UTC)) | variables):
            ring = RuntimeSecrets().keyring("secret_v2.key")
        tokens = RingJWT(ring, algorithm)
        kids = [*[key.kid for key in ring.accepted() if key.role != "previous"], "2019-01", "0" * 32, None]

        def accepted(key: str, used: str) -> list[str | None]:
            padded = key.encode().ljust(64, b"\0")
            made = {kid: jwt.encode({"sub": "jazz"}, padded, used, {"kid": kid} if kid else None) for kid in kids}
            return [kid for kid, token in made.items() if reads(partial(tokens.decode, token))]

        assert accepted(old, algorithm) == kids[2:]
        assert accepted(variables["ROBODJ_SECRET_V2_KEY"], algorithm) == [kids[0], None]
        assert not any(accepted(old, used) for used in {"HS256", "HS384", "HS512"} - {algorithm})


def test_fernet_and_aes_gcm_leave_an_old_key_out() -> None:
    """Fernet and AES-GCM do not use an old key, also where it is a key of Fernet. The others work."""
    rotation = Rotation(Fernet.generate_key().decode()).derive(PURPOSE)
    box, stored = RingFernet(rotation.ring), RingAESGCM(rotation.ring)
    values = rotation.values
    assert [box.decrypt(Fernet(values[role]).encrypt(b"jazz")) for role in ("current", "next")] == [b"jazz"] * 2
    with pytest.raises(InvalidToken):
        box.decrypt(Fernet(values["previous"]).encrypt(b"jazz"))
    assert stored.decrypt(stored.encrypt(b"jazz")) == b"jazz"


def test_logs_show_no_old_key(capsys: pytest.CaptureFixture[str]) -> None:
    """An old key is redacted in logs, as the other keys are, and a start with it only warns."""
    rotation = Rotation(get_random_secret_key())
    with process_environment(rotation.variables):
        redact = SecretRedactor(guard())
    assert redact(None, "info", f"old={rotation.old}") == "old=[redacted secret.key]"
    shown = capsys.readouterr()
    assert ("legacy: " in (text := shown.out + shown.err), "ALERT" in text) == (True, False)
    assert leaks(text, rotation.delivered) == []


class Optional(SecretSettings):
    """A service with one key, which is optional."""

    key: Annotated[
        SecretStr | None,
        SecretPolicy(
            name="beta.key",
            variable="BETA_KEY",
            owner="Tests",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=14),
            required=False,
        ),
    ]


def test_ring_of_an_optional_secret() -> None:
    """The ring of an optional secret that is absent accepts nothing, and says so where a key is needed."""
    with process_environment({}):
        service = Optional()
    ring = service.keyring("beta.key")
    assert (ring.accepted(), ring.stored(), ring.verify(""), ring.find("0" * 32)) == ((), (), None, None)
    for use in (lambda: ring.current, lambda: ring.derive(PURPOSE), lambda: RingJWT(ring)):
        with pytest.raises(LookupError, match=r"^beta.key is optional, and it is not set$"):
            use()
    assert SecretRedactor(service)(None, "info", "text") == "text"
