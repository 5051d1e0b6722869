"""A live secret: the keys of it that are in use, and what nothing shows of them."""

from __future__ import annotations

import base64
import copy
import hmac
import json
import os
import pickle
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from command_line import fingerprint_of
from conftest import NOW, V1, V2, good_keys, process_environment
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from detector import leaks
from django.core.management.utils import get_random_secret_key
from pydantic import BaseModel, SecretStr
from rings import NEXT, PREVIOUS, SLOTS, Published, Rotation, rotation_keys, traceback_of
from test_vendor import PASSWORD, Rotating

from robodj_secretguard import RuntimeSecrets, Secret, SecretPolicy, SecretSettings, check
from robodj_secretguard.errors import CheckFailedError, RevokedKeyError
from robodj_secretguard.running.keyset import Clock, KeySet
from robodj_secretguard.running.store import KeyStore
from robodj_secretguard.running.views import report_on
from robodj_secretguard.secret.material import last_characters
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.settings import judgement_of, store_of
from robodj_secretguard.startup.readings import Environment

DERIVED = b"config v1"


def secret_of(variables: dict[str, str], *, clock: Callable[[], datetime] | None = None, name: str = V1) -> Secret:
    """Return a secret that was read at `NOW`."""
    judgement = judgement_of(RuntimeSecrets, Environment(variables), now=NOW)
    store = KeyStore(KeySet(judgement.readings, judgement.report(), judgement.readings[0].setup.revocation))
    store.clock = Clock(clock)
    (secret,) = (store.secrets[each.policy.name] for each in judgement.readings if each.variable == name)
    return secret


def roles(ring: Secret) -> list[str]:
    """Return the roles of the accepted keys."""
    return [key.role for key in ring.accepted()]


def kid_of(text: str) -> str:
    """Return the key id of a key."""
    return fingerprint_of(text).removeprefix("sgfp1:")


class TestAccepted:
    """Which keys verify."""

    def test_the_order(self) -> None:
        """The current key signs. The current, the next and the previous key verify, in this order."""
        rotation = Rotation()
        ring = rotation.ring
        expected = [(role, kid_of(text), text) for role, text in zip(SLOTS, rotation.values.values(), strict=True)]
        assert [(key.role, key.kid, key.value.get_secret_value()) for key in ring.accepted()] == expected
        assert rotation.values == {role: rotation.variables[variable] for role, variable in SLOTS.items()}
        assert ring.current == ring.accepted()[0]

    @pytest.mark.parametrize("passed_in", ["the ring", "its derived ring"])
    def test_the_deadline(self, passed_in: str) -> None:
        """The previous key verifies until its deadline. That stays passed when the clock steps back, in each ring."""
        rotation = Rotation()
        rings = [rotation.ring, rotation.ring.derive(DERIVED)]
        rotation.now = rotation.deadline - timedelta(microseconds=1)
        assert [roles(ring) for ring in rings] == [["current", "next", "previous"]] * 2
        rotation.now = rotation.deadline
        rings[passed_in != "the ring"].verify("any")
        rotation.now -= timedelta(days=1)
        assert [roles(ring) for ring in rings] == [["current", "next"]] * 2

    def test_two_threads(self) -> None:
        """A thread that read the clock before the deadline does not undo what another one saw after it."""
        rotation = Rotation()

        def clock() -> datetime:
            read, rotation.now = rotation.now, rotation.deadline
            if read != rotation.deadline:
                roles(ring)  # as another thread does
            return read

        ring = secret_of(rotation.variables, clock=clock)
        assert roles(ring) == ["current", "next"]

    def test_the_monotonic_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a clock of the caller, the deadline also passes where the system's clock is behind."""
        ahead, now = timedelta(days=3650), time.monotonic()
        secret = secret_of(rotation_keys(datetime.now(UTC) + ahead))
        for seconds, expected in ((-60, ["current", "next", "previous"]), (60, ["current", "next"])):
            monkeypatch.setattr(time, "monotonic", partial(float, now + ahead.total_seconds() + seconds))
            assert roles(secret) == expected

    def test_the_clock_of_the_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a clock of the caller, the system's clock holds, also where the monotonic clock has stood still."""
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now)
        assert roles(secret_of(rotation_keys(datetime.now(UTC) - timedelta(seconds=1)))) == ["current", "next"]

    def test_a_past_key(self) -> None:
        """A previous key that is past at startup is found for data at rest, unless it is invalid or plainly revoked."""
        past = rotation_keys(NOW - timedelta(days=1))
        its_fingerprint = fingerprint_of(past[PREVIOUS])
        revoked = "ROBODJ_REVOKED_FINGERPRINTS"
        for more, is_found in (
            ({}, True),
            ({PREVIOUS: past[PREVIOUS][:20]}, False),
            ({revoked: its_fingerprint}, False),
            ({revoked: f"{its_fingerprint}@2026-11-30T00:00:00Z"}, True),
        ):
            ring = secret_of(past | more)
            assert roles(ring) == ["current", "next"]
            assert (ring.find(kid_of((past | more)[PREVIOUS])) is not None) is is_found

    def test_a_next_key_that_is_revoked(self) -> None:
        """The report on the keys in use has no fingerprint of a key that is revoked by now. Others it has."""
        keys = rotation_keys(datetime.now(UTC) + timedelta(days=1))
        later = f"{fingerprint_of(keys[PREVIOUS])}@2999-01-01T00:00:00Z"
        revoked = {"ROBODJ_REVOKED_FINGERPRINTS": f"{fingerprint_of(keys[NEXT])},{later}"}
        judgement = judgement_of(RuntimeSecrets, Environment(keys | revoked))
        keys_in_use = KeySet(judgement.readings, judgement.report(), judgement.readings[0].setup.revocation)
        status, _ = report_on(keys_in_use).secrets
        assert (status.next_fingerprint, status.previous_fingerprint) == (None, fingerprint_of(keys[PREVIOUS]))

    def test_a_current_key_that_is_revoked(self) -> None:
        """Where the current key is revoked and there is no other one, nothing signs, verifies or is found."""
        judgement = judgement_of(RuntimeSecrets, Environment(keys := good_keys()), now=NOW)
        revocation = judgement.readings[0].setup.revocation
        refused = frozenset({"secret.key"})
        ring = KeyStore(KeySet(judgement.readings, judgement.report(), revocation, refused)).secrets["secret.key"]
        with pytest.raises(RevokedKeyError):
            ring.current  # noqa: B018
        assert (ring.accepted(), ring.stored(), ring.verify(keys[V1]), ring.find(kid_of(keys[V1]))) == (
            (),
            (),
            None,
            None,
        )
        assert ring.find(kid_of(keys[V1]), revoked=True)


class TestVerify:
    """`Secret.verify` on what a request presents."""

    @pytest.mark.parametrize(
        "form", [str, str.encode, lambda text: bytearray(text.encode())], ids=["str", "bytes", "bytearray"]
    )
    def test_each_key(self, form: Callable[[str], Any]) -> None:
        """Text or bytes of an accepted key give that key."""
        rotation = Rotation()
        matches = [rotation.ring.verify(form(text)) for text in rotation.values.values()]
        assert matches == [*rotation.ring.accepted()]

    def test_anything_else(self) -> None:
        """A key that is almost right, and whatever else is presented, is no key, and never an exception."""
        rotation = Rotation()
        text = rotation.values["current"]
        others: list[Any] = [text[:-1], text.swapcase(), text[::-1], text * 2, f" {text}"]
        others += [f"{text}{end}" for end in ("\n", " ", "\0", "\ud800")]
        others += ["", b"", "\ud800", "\udcff" * 43, "\0", "\xe4" * 43, b"\xff" * 43, "a" * (1 << 20), b"a" * (1 << 20)]
        others += [None, 0, 1.5, True, [], {}, (), object(), memoryview(b"a"), SealedStr("a")]
        others += [os.urandom(43).decode(form, "surrogateescape") for form in ("utf-8", "latin-1") for _ in range(100)]
        assert [rotation.ring.verify(each) for each in others] == [None] * len(others)

    @pytest.mark.parametrize("role", [*SLOTS, "none"])
    def test_the_comparison(self, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each accepted key is compared in constant time, also after a match."""
        rotation, compared = Rotation(), []
        texts = rotation.values
        real = hmac.compare_digest

        def compare(one: bytes, other: bytes) -> bool:
            compared.append(one)
            return real(one, other)

        monkeypatch.setattr(hmac, "compare_digest", compare)
        match = rotation.ring.verify(texts.get(role, "another"))
        assert (match.role if match else "none") == role
        assert compared == [text.encode() for text in texts.values()]

    def test_equal_slots(self) -> None:
        """A key in two slots has the role of the first one."""
        keys = rotation_keys(NOW + timedelta(days=1))
        for same, role in ((V1, "current"), (NEXT, "next")):
            ring = secret_of(keys | {PREVIOUS: keys[same]}, clock=lambda: NOW)
            for match in (ring.verify(keys[same]), ring.find(kid_of(keys[same]))):
                assert match is not None
                assert match.role == role


class TestFind:
    """`Secret.find` for data at rest."""

    def test_each_key(self) -> None:
        """Each key is found by its id, and the previous one also after its deadline."""
        rotation = Rotation()
        kids = {role: kid_of(text) for role, text in rotation.values.items()}
        rotation.now = rotation.deadline
        found = {role: rotation.ring.find(kid) for role, kid in kids.items()}
        assert {role: key.role if key else None for role, key in found.items()} == {role: role for role in SLOTS}

    def test_another_id(self) -> None:
        """An unknown id, or something that is no id, finds nothing."""
        others: list[Any] = [None, "", "0" * 32, 0, b"0", [], {}]
        assert [Rotation().ring.find(kid) for kid in others] == [None] * len(others)


def hkdf(key: bytes, name: bytes, purpose: bytes) -> str:
    """Derive a key as RFC 5869 says, with HMAC alone."""
    info = len(name).to_bytes(4, "big") + name + len(purpose).to_bytes(4, "big") + purpose
    pseudorandom = hmac.digest(b"robodj-secretguard keyring v1", key, "sha256")
    return base64.urlsafe_b64encode(hmac.digest(pseudorandom, info + b"\1", "sha256")).decode()


def derived(variables: dict[str, str], purpose: bytes = DERIVED, name: str = V1) -> str:
    """Return the derived current key."""
    return secret_of(variables, name=name).derive(purpose).current.value.get_secret_value()


class TestDerive:
    """`Secret.derive`."""

    def test_the_value(self) -> None:
        """The value is that of RFC 5869 for the decoded key, or for its text where no bytes have that length."""
        key = secrets.token_bytes(32)
        in_base64 = base64.urlsafe_b64encode(key).decode().rstrip("=")
        odd = secrets.token_urlsafe(36)[:45]
        for text, decoded in ((in_base64, key), (key.hex(), key), (odd, odd.encode())):
            assert derived(good_keys() | {V1: text}) == hkdf(decoded, b"secret.key", DERIVED)

    def test_a_key_respelled(self) -> None:
        """Hexadecimal in either case, and base64url with other unused bits, derive the same key."""
        keys = good_keys()
        for text, spelled in (
            (keys[V1], keys[V1][:-1] + last_characters(keys[V1])[-1]),
            (keys[V1], keys[V1][:-1] + last_characters(keys[V1])[0]),
            (secret := secrets.token_hex(32), secret.upper()),
            (odd := f"{secret}a", odd.upper()),
        ):
            assert derived(keys | {V1: text}) == derived(keys | {V1: spelled})

    def test_names_and_purposes(self) -> None:
        """Another purpose, another secret or another key has another value, also where the joined text is the same."""
        key = secrets.token_hex(64)
        ours = [derived(good_keys() | {V1: key}, each) for each in (DERIVED, b"config v2", b"secret.key")]
        other = derived(good_keys() | {V2: key}, name=V2)
        assert len({*ours, other, derived(good_keys())}) == 5
        assert other == hkdf(bytes.fromhex(key), b"secret_v2.key", DERIVED)

    def test_each_key(self) -> None:
        """A derived ring has the same roles and key ids, each with its own derived key, and the deadline."""
        rotation = Rotation()
        ring, delivered = rotation.ring.derive(DERIVED), rotation.ring.accepted()
        assert [(key.role, key.kid) for key in ring.accepted()] == [(key.role, key.kid) for key in delivered]
        texts = [key.value.get_secret_value() for key in ring.accepted()]
        in_bytes = [base64.urlsafe_b64decode(f"{text}=") for text in rotation.values.values()]
        assert texts == [hkdf(each, b"secret.key", DERIVED) for each in in_bytes]
        assert [match.role for text in texts if (match := ring.verify(text))] == [*SLOTS]

    @pytest.mark.parametrize(
        ("purpose", "error", "text"),
        [
            (b"", ValueError, "the purpose must not be empty"),
            *(
                (each, TypeError, "the purpose must be bytes")
                for each in ("text", "a key", None, bytearray(b"text"), 5)
            ),
        ],
    )
    def test_an_invalid_purpose(self, purpose: Any, error: type[Exception], text: str) -> None:
        """A purpose must be bytes and not empty. A key in its place is not shown."""
        rotation = Rotation()
        ring: Any = rotation.ring
        with pytest.raises(error, match=text) as raised:
            ring.derive(rotation.values["next"] if purpose == "a key" else purpose)
        assert leaks(traceback_of(raised.value), rotation.delivered) == []

    @pytest.mark.parametrize(
        ("error", "raises"), [(ValueError, CheckFailedError), (KeyboardInterrupt, KeyboardInterrupt)]
    )
    def test_a_failure_shows_no_key(
        self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], raises: type[BaseException]
    ) -> None:
        """An error of `cryptography`, and an interrupt, have neither a frame nor a text with a key."""
        rotation = Rotation()

        def derive(_self: object, key: bytes) -> None:
            raise error(key) if error is ValueError else error

        monkeypatch.setattr(HKDF, "derive", derive)
        with pytest.raises(raises) as raised:
            rotation.ring.derive(DERIVED)
        assert leaks(traceback_of(raised.value), rotation.delivered) == []

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without `cryptography`, deriving is an `ImportError`. Nothing else of a ring needs it."""
        monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.hashes", None)
        rotation = Rotation()
        with pytest.raises(ImportError, match="cryptography"):
            rotation.ring.derive(DERIVED)
        assert rotation.ring.verify(rotation.values["next"])


def test_it_shows_no_key() -> None:
    """A ring and its keys show no key, and are not pickled. A copy of a ring is the ring."""
    rotation = Rotation()
    ring = rotation.ring
    derived = ring.derive(DERIVED)
    texts = [key.value.get_secret_value() for key in derived.accepted()]
    shown = f"{ring!r} {ring.current} {ring.accepted()} {derived.accepted()}"
    for key in ring.accepted():
        shown = shown.replace(key.kid, "")
    assert leaks(shown, [*rotation.delivered, *texts]) == []
    assert repr(ring) == repr(derived) == "Secret('**********')"
    for each in (ring, ring.current, derived):
        with pytest.raises(TypeError, match="secrets are not pickled"):
            pickle.dumps(each)
    assert copy.copy(ring) is copy.deepcopy(ring) is ring


class TestSecret:
    """What a secret is for Python and for pydantic."""

    def test_it_is_compared_by_identity(self) -> None:
        """A secret equals itself alone. A comparison with text is an error that does not show it."""
        rotation = Rotation()
        secret, text = rotation.ring, rotation.values["current"]
        assert secret == secret  # noqa: PLR0124 - this is what is tested
        assert (secret == SealedStr(text), secret == rotation.derive(DERIVED).ring, [secret].count(secret)) == (
            False,
            False,
            1,
        )
        uses: list[Callable[[], object]] = [
            lambda: secret == text,
            lambda: text.encode() != secret,
            lambda: secret in ["", None],
        ]
        for use in uses:
            with pytest.raises(TypeError, match=r"call verify\(\)") as raised:
                use()
            assert leaks(traceback_of(raised.value), rotation.delivered) == []

    def test_text(self) -> None:
        """`str()` is an error that says what to call. Length and truth are those of a set value."""
        secret = Rotation().ring
        with pytest.raises(TypeError, match=r"call get_secret_value\(\)"):
            str(secret)
        assert (len(secret), bool(secret)) == (43, True)

    def test_a_field_of_a_model(self) -> None:
        """A host's own model takes the secret itself, as its copy too, and masks it. Text is an error without it."""
        secret = Rotation().ring

        class Host(BaseModel):
            key: Secret
            other: SecretStr | None = None

        made = Host(key=secret, other=secret)
        assert made.key is made.other is made.model_copy(deep=True).key is secret
        masked = {"key": "**********", "other": "**********"}
        assert json.loads(made.model_dump_json()) == masked
        assert Host.model_json_schema()["properties"]["key"] == {
            "format": "password", "title": "Key", "type": "string", "writeOnly": True
        }  # fmt: skip
        key = secrets.token_urlsafe(32)
        makers: list[Callable[[], object]] = [
            lambda: Host.model_validate({"key": key}),
            lambda: Host.model_validate_json(json.dumps({"key": key})),
        ]
        for make in makers:
            with pytest.raises(TypeError, match="and no text") as raised:
                make()
            assert leaks(f"{raised.value!r} {traceback_of(raised.value, own=True)}", [key]) == []

    def test_a_field_of_the_settings(self) -> None:
        """A field of the settings is the same object each time. It cannot be set, and the class has no value."""
        with process_environment(good_keys()):
            made = RuntimeSecrets()
        assert made.secret_v2_key is made.secret_v2_key is vars(made)["secret_v2_key"]
        with pytest.raises(AttributeError, match=r"^RuntimeSecrets is frozen$"):
            made.secret_key = made.secret_v2_key  # type: ignore[misc]
        with pytest.raises(AttributeError, match=r"^RuntimeSecrets is frozen$"):
            object.__setattr__(made, "secret_key", made.secret_v2_key)
        with pytest.raises(AttributeError, match=r"^secret_key$"):
            RuntimeSecrets.secret_key  # noqa: B018


OLD: dict[str, Callable[[], str]] = {
    "Django": get_random_secret_key,
    "openssl rand -base64 32": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    "16 characters": partial(secrets.token_hex, 8),
    "passphrase": lambda: " ".join(f"größe{secrets.token_hex(2)}" for _ in range(4)),
}
"""Keys of before the adoption."""


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
def test_ring_takes_an_old_key_as_it_is(old: Callable[[], str]) -> None:
    """An old key verifies until its deadline, without an id. It is not derived, and only `stored` has it after that."""
    rotation = Rotation(text := old())
    for ring in (rotation.ring, rotation.ring.derive(DERIVED)):
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
    for name, text, ahead in zip((V1, V2), old, (day, 2 * day), strict=True):
        variables |= {f"{name}_PREVIOUS": text, f"{name}_PREVIOUS_UNTIL": (now + ahead).isoformat()}
    with process_environment(variables):
        service = RuntimeSecrets()
    rings = [service.secret_key, service.secret_v2_key]

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
    variables = rotation_keys(datetime.now(UTC) + timedelta(days=1)) | {PREVIOUS: old}
    with process_environment(variables | {"ROBODJ_REVOKED_FINGERPRINTS": f"{fingerprint_of(old)}{begin}"}):
        service, report = RuntimeSecrets(), check()
    assert service.secret_key.verify(old) is None
    assert ("revoked", "previous") in [(each.check, each.slot) for each in report.findings]


def test_old_key_comes_and_goes_while_the_service_runs(tmp_path: Path) -> None:
    """A running service takes an old key from a directory, also one that begins like a comment, until it is unset."""
    service, old = Published(tmp_path, DERIVED), f"#{get_random_secret_key()} "
    current = service.current
    for slots, is_accepted in (({}, False), ({"previous": old}, True), ({}, False)):
        assert service.publish(current, **slots)
        assert (service.ring.verify(old) is not None) is is_accepted


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
        ring = store_of(Optional()).secrets["beta.key"]
    assert (ring.accepted(), ring.stored(), ring.verify(""), ring.find("0" * 32)) == ((), (), None, None)
    for use in (lambda: ring.current, lambda: ring.derive(DERIVED)):
        with pytest.raises(LookupError, match=r"^beta.key is optional, and it is not set$"):
            use()


def test_ring_of_an_issued_secret() -> None:
    """The keys of a secret that others issue verify. They have no id, and no key is derived from them."""
    current, previous = f"{secrets.token_hex(5)} \\'%", secrets.token_hex(5)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    slots = {f"{PASSWORD}_PREVIOUS": previous, f"{PASSWORD}_PREVIOUS_UNTIL": until}
    with process_environment({PASSWORD: current} | slots):
        ring = store_of(Rotating()).secrets["icecast.password"]
    assert [(key.role, key.kid) for key in ring.accepted()] == [("current", ""), ("previous", "")]
    assert ring.verify(previous) == ring.accepted()[1]
    assert ring.find("") is None
    with pytest.raises(ValueError, match="no key is derived"):
        ring.derive(DERIVED)
