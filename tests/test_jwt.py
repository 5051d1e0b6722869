"""The adapter for PyJWT, with PyJWT."""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import jwt
import pytest
from command_line import fingerprint_of
from conftest import V1, V2, good_keys, process_environment
from detector import leaks
from pydantic import SecretStr
from rings import Operation, Published, Rotation, assert_no_key, every_change, traceback_of

from robodj_secretguard import Generator, RuntimeSecrets, Secret, SecretPolicy, SecretSettings
from robodj_secretguard.adapters.jwt import RingJWT

CLAIMS = {"sub": "jazz"}
DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def forged(key: str, header: object, payload: object = CLAIMS, digest: str = "sha256") -> str:
    """Sign a token by hand: PyJWT refuses to make some of them."""
    parts = [header if isinstance(header, bytes) else json.dumps(header).encode(), json.dumps(payload).encode()]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(key.encode(), text, digest)
    return f"{text.decode()}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def accepts(tokens: RingJWT, token: Any) -> bool:
    """Return whether a token is accepted. Any other error than PyJWT's fails the test."""
    try:
        return tokens.decode(token) == CLAIMS
    except jwt.InvalidTokenError:
        return False


@every_change
@pytest.mark.parametrize("names_its_key", [True, False])
def test_tokens(follows: Callable[..., None], tmp_path: Path, *, names_its_key: bool) -> None:
    """It signs with the current key, and accepts tokens of each accepted key, also after a switch.

    PyJWT warns about a short key, and a warning fails a test. HMAC adds such zeros itself.
    """

    def adapter(ring: Secret) -> Operation:
        tokens = RingJWT(ring)
        return lambda: tokens.encode(CLAIMS), lambda token: accepts(tokens, token)

    def plain(key: str) -> Operation:
        padded = key.encode().ljust(32, b"\0")
        header = {"kid": fingerprint_of(key).removeprefix("sgfp1:")} if names_its_key else None
        tokens: Any = SimpleNamespace(decode=lambda token: jwt.decode(token, padded, ["HS256"]))
        return lambda: jwt.encode(CLAIMS, padded, "HS256", header), lambda token: accepts(tokens, token)

    follows(adapter, plain, tmp_path)


def test_the_header() -> None:
    """The header has the key id and the algorithm, whatever headers are passed. Others stay."""
    rotation = Rotation()
    tokens = RingJWT(rotation.ring)
    passed = {"alg": "none", "kid": "mine", "typ": "at+jwt"}
    token = tokens.encode(CLAIMS, passed)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": rotation.ring.current.kid, "typ": "at+jwt"}
    assert passed["kid"] == "mine"
    assert accepts(tokens, token)


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_the_algorithm_is_pinned(algorithm: str) -> None:
    """A token of another algorithm, or of none, is refused, although its key is right."""
    keys = good_keys()
    with process_environment(keys):
        tokens = RingJWT(RuntimeSecrets().secret_v2_key, algorithm)
    secret = keys[V2]
    for each, digest in DIGESTS.items():
        token = forged(secret, {"alg": each, "typ": "JWT"}, digest=digest)
        assert accepts(tokens, token) is (each == algorithm)
    others: list[Any] = ["none", "None", "", None, 0, [algorithm], {}]
    for other in others:
        assert not accepts(tokens, forged(secret, {"alg": other}))
    assert not accepts(tokens, forged(secret, {}))
    assert not accepts(tokens, forged("", {"alg": "none"}).rpartition(".")[0] + ".")


class Short(SecretSettings):
    """A secret whose keys may be too short for each algorithm."""

    secret_key: Annotated[
        SecretStr,
        SecretPolicy(
            name="secret.key",
            variable=V1,
            owner="Tests",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=14),
            overlap=timedelta(days=14),
            generator=Generator("token_urlsafe", 16),
        ),
    ]


@pytest.mark.parametrize(("algorithm", "characters"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_key_that_is_too_short(algorithm: str, characters: int, tmp_path: Path) -> None:
    """Each accepted key is as long as the digest, or longer. Otherwise no `RingJWT` is made. If a switch brings a
    shorter key, that key signs and verifies nothing, and the others do.
    """
    enough, short = (secrets.token_urlsafe(size)[:size] for size in (characters, characters - 1))
    service = Published(tmp_path, model=Short)
    assert service.publish(enough, previous=service.current)
    assert service.publish(enough)
    tokens = RingJWT(service.ring, algorithm)
    token, too_short = tokens.encode(CLAIMS), f"^{algorithm} needs keys of {characters} characters or more$"
    by_short = forged(short, {"alg": algorithm}, digest=DIGESTS[algorithm])
    for current, slots in ((enough, {"next": short}), (enough, {"previous": short}), (short, {"previous": enough})):
        assert service.publish(current, **slots)
        assert [accepts(tokens, each) for each in (token, by_short)] == [True, False]
        with pytest.raises(ValueError, match=too_short):
            RingJWT(service.ring, algorithm)
    with pytest.raises(ValueError, match=too_short) as raised:
        tokens.encode(CLAIMS)
    assert leaks(traceback_of(raised.value), [enough, short]) == []


@pytest.mark.parametrize("algorithm", ["none", "RS256", "", "hs256", "HS1"])
def test_an_algorithm_without_a_secret(algorithm: str) -> None:
    """Only HMAC algorithms are accepted: the others have no shared key, or none at all."""
    with pytest.raises(ValueError, match=r"^the algorithm must be one of HS256, HS384, HS512$"):
        RingJWT(Rotation().ring, algorithm)


def test_the_key_id() -> None:
    """A token is verified with the key that it names alone. An unknown id, or one of a wrong type, is refused."""
    rotation = Rotation()
    tokens, secret = RingJWT(rotation.ring), rotation.values["current"]
    current, following, previous = (key.kid for key in rotation.ring.accepted())
    assert accepts(tokens, forged(secret, {"alg": "HS256", "kid": current}))
    unknown: list[Any] = [following, previous, "0" * 32, "", current.upper(), current[:-1]]
    wrong: list[Any] = [None, 0, 1.5, True, [current], {current: current}]
    for kid in (*unknown, *wrong):
        assert not accepts(tokens, forged(secret, {"alg": "HS256", "kid": kid}))


def test_garbage() -> None:
    """Anything else is PyJWT's `InvalidTokenError`, and no other exception."""
    tokens = RingJWT(Rotation().ring)
    good = tokens.encode(CLAIMS)
    headers: list[Any] = [b"", b"[]", b"null", b'"a"', b"{", b"\xff", b"[" * 99_999, b"9" * 9_999]
    headers += [{"b64": False}, {"crit": 1}, {"alg": "HS256", "crit": ["x"]}]
    others: list[Any] = [
        None,
        0,
        [],
        {},
        "",
        b"",
        ".",
        "..",
        "...",
        "a.b.c",
        "\ud800.a.b",
        "\xe4.\xe4.\xe4",
        b"\xff.\xff.\xff",
    ]
    others += [os.urandom(99), "A" * 99_999, *(f"{good[:length]}A{good[length:]}" for length in range(len(good)))]
    assert [each for each in (*others, *(forged("key", each) for each in headers)) if accepts(tokens, each)] == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"options": {"verify_signature": False}}, jwt.InvalidSignatureError),
        ({"audience": "studio"}, jwt.ExpiredSignatureError),
        ({"audience": "another", "options": {"verify_exp": False}}, jwt.InvalidAudienceError),
        ({"audience": "studio", "options": {"verify_exp": False, "require": ["iss"]}}, jwt.MissingRequiredClaimError),
        ({"audience": "studio", "options": {"verify_exp": False}}, None),
    ],
)
def test_the_options_are_those_of_pyjwt(options: dict[str, Any], error: type[Exception] | None) -> None:
    """The options are PyJWT's, and none turns the verification of the signature off."""
    rotation = Rotation()
    claims = CLAIMS | {"exp": 1, "aud": "studio"}
    key = Rotation() if error is jwt.InvalidSignatureError else rotation
    token = jwt.encode(claims, key.values["current"], "HS256")
    with pytest.raises(error) if error else nullcontext():
        assert RingJWT(rotation.ring).decode(token, **options) == claims


def test_errors_show_no_key() -> None:
    """No error has a key in its text or in any frame, also of PyJWT."""
    rotation = Rotation()
    tokens: Any = RingJWT(rotation.ring)
    current = rotation.ring.current
    actions: list[Callable[[], Any]] = [
        lambda: tokens.decode(forged("key", {"alg": "HS256"})),
        lambda: tokens.decode(forged("key", {"alg": "HS256", "kid": current.kid})),
        lambda: tokens.decode(forged("key", {"alg": "HS256", "kid": "unknown"})),
        lambda: tokens.decode(tokens.encode(CLAIMS | {"exp": 1})),
        lambda: tokens.decode(tokens.encode(CLAIMS | {"exp": "soon"})),
        lambda: tokens.decode(tokens.encode(CLAIMS), audience=1),
        lambda: tokens.encode({"sub": object()}),
        lambda: tokens.encode(CLAIMS, {"also": object()}),
        lambda: tokens.encode([]),
    ]
    for action in actions:
        with pytest.raises((jwt.InvalidTokenError, TypeError)) as raised:
            action()
        assert raised.value.__cause__ is raised.value.__context__ is None
        shown = traceback_of(raised.value).replace(current.kid, "")
        assert leaks(shown, rotation.delivered) == []


@pytest.mark.parametrize("is_legacy", [True, False])
@pytest.mark.parametrize("algorithm", DIGESTS)
def test_an_old_key_has_the_tokens_of_other_ids(algorithm: str, *, is_legacy: bool) -> None:
    """An old key verifies a token with an unknown id, and none with the id of another key or another algorithm."""
    old = secrets.token_hex(8 if is_legacy else 64)
    variables = good_keys() | {f"{V2}_NEXT": secrets.token_hex(64), f"{V2}_PREVIOUS": old}
    variables[f"{V2}_PREVIOUS_UNTIL"] = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    with process_environment(variables):
        ring = RuntimeSecrets().secret_v2_key
    tokens = RingJWT(ring, algorithm)
    kids = [*[key.kid for key in ring.accepted() if key.role != "previous"], "2019-01", "0" * 32, None]

    def accepted(key: str, used: str) -> list[str | None]:
        headers: list[dict[str, Any]] = [{"alg": used} | ({"kid": kid} if kid else {}) for kid in kids]
        made = [forged(key, header, digest=DIGESTS[used]) for header in headers]
        return [kid for kid, token in zip(kids, made, strict=True) if accepts(tokens, token)]

    assert accepted(old, algorithm) == kids[2:]
    assert accepted(variables[V2], algorithm) == [kids[0], None]
    assert not any(accepted(old, used) for used in DIGESTS if used != algorithm)


def test_it_keeps_and_shows_no_key() -> None:
    """No attribute has a key, and it is not pickled."""
    rotation = Rotation()
    assert_no_key(RingJWT(rotation.ring), rotation)
