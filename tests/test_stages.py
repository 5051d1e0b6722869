"""The two stages of a read: each row of the contract's table."""

from __future__ import annotations

import gc
import secrets
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from queue import Queue
from typing import Annotated, Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, good_keys, posix_only, process_environment, raising
from publications import (
    BAD,
    EXPIRES,
    NEXT,
    PREVIOUS,
    REVOKED,
    Files,
    Set,
    ahead,
    back,
    first,
    promoted,
    replaced,
    retired,
    revoking,
    staged,
    text_of,
    volume,
    without,
)
from pydantic import model_validator
from rings import SLOTS
from running_service import Service, slots, slots_of
from test_vendor import KEY, PASSWORD, Radio

from robodj_secretguard import Kind, Material, RuntimeSecrets, Secret, SecretPolicy, SecretSettings
from robodj_secretguard.errors import CheckFailedError, RevokedKeyError
from robodj_secretguard.running import stages as module
from robodj_secretguard.running.store import forget_stores
from robodj_secretguard.secret.material import Fault
from robodj_secretguard.settings import judgement_of, store_of
from robodj_secretguard.startup import directory
from robodj_secretguard.startup.directory import Delivery, delivery_of, names_of
from robodj_secretguard.startup.readings import Environment

pytestmark = posix_only
DERIVED = b"config v1"
ENVIRONMENT = "ROBODJ_ENVIRONMENT"
DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Service:
    """A process with a current and a next key."""
    return Service(tmp_path / "keys", capsys)


class Token(Kind):
    """A kind of a service's own, which raises an error for a value that begins with `raise`."""

    def fault(self, text: str, variable: str = "") -> Fault | None:  # noqa: ARG002 - as documented
        """Accept all but a short value."""
        if text.startswith("raise"):
            raise LookupError(text)
        return None if len(text) > 9 else Fault("format", "is short")

    def temporary(self) -> str:
        """Return a random value."""
        return secrets.token_hex(9)


class Shop(SecretSettings):
    """Ten secrets: a key with slots, a group of two, an optional one, one of a kind of its own, and issued ones."""

    session_key: Annotated[Secret, SecretPolicy(overlap=timedelta(days=14))]
    signing_key: Annotated[Secret, SecretPolicy()]
    db_user: Annotated[Secret, SecretPolicy(material=Material.opaque(4), group="db")]
    db_password: Annotated[Secret, SecretPolicy(material=Material.opaque(), group="db")]
    cache_url: Annotated[Secret, SecretPolicy(material=Material.url("redis"))]
    smtp_password: Annotated[Secret, SecretPolicy(material=Material.opaque())]
    stripe_key: Annotated[Secret | None, SecretPolicy(material=Material.opaque(prefix="sk_live_"), required=False)]
    mail_token: Annotated[Secret, SecretPolicy(material=Token())]
    cloud_json: Annotated[Secret, SecretPolicy(material=Material.json("token"))]
    tls_key: Annotated[Secret, SecretPolicy(material=Material.opaque())]


def shop(**files: str) -> Set:
    """Make a set of the ten secrets, as a rotation from another set where `previous` is its session key."""
    token = secrets.token_hex
    return {
        "SESSION_KEY": secrets.token_urlsafe(32),
        "SIGNING_KEY": secrets.token_urlsafe(32),
        "DB_USER": f"app_{token(6)}",
        "DB_PASSWORD": token(12),
        "CACHE_URL": f"redis://app:{token(12)}@cache/0",
        "SMTP_PASSWORD": token(12),
        "STRIPE_KEY": f"sk_live_{token(12)}",
        "MAIL_TOKEN": token(12),
        "CLOUD_JSON": f'{{"token": "{token(12)}"}}',
        "TLS_KEY": token(12),
        **files,
    }


def rotated(files: Files) -> Set:
    """Make the set that follows one of the ten secrets: each secret has another value."""
    previous = {"SESSION_KEY_PREVIOUS": text_of(files, "SESSION_KEY"), "SESSION_KEY_PREVIOUS_UNTIL": ahead(days=7)}
    return shop(**previous)


def delivered(files: Files) -> Delivery:
    """Return what a directory with these files delivers."""
    return delivery_of("directory:x", files, names_of(RuntimeSecrets.secret_policies.values()))


NAMES = tuple(Shop.secret_policies)
BROKEN: dict[str, Callable[[str], str | None]] = {
    "empty": lambda _: "",
    "template": lambda _: "changeme",
    "half": lambda text: text[:3],
    "gone": lambda _: None,
    "expired": lambda text: text,
    "raising": lambda text: f"raise {text}",
}
PATTERNS = [
    (name, how)
    for name in NAMES
    for how in BROKEN
    if (how != "raising" or name == "mail_token") and (name, how) != ("stripe_key", "half")  # its line has the prefix
]
LESS = [("session_key", "empty"), ("db_user", "template"), ("stripe_key", "gone"), ("mail_token", "raising"),
        ("cloud_json", "half"), ("smtp_password", "expired")]  # fmt: skip


class TestSecretBySecret:
    """One bad secret, while the others change."""

    @pytest.mark.parametrize(
        ("name", "how"), [pytest.param(*each, marks=[] if each in LESS else pytest.mark.full) for each in PATTERNS]
    )
    def test_one_bad_secret(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: str) -> None:
        """It keeps its last good value, and its group with it. The others change, and a revocation holds."""
        service = Service(tmp_path / "keys", capsys, shop(), Shop)
        before = {each: service.value(each) for each in NAMES}
        old = text_of(service.files, "SESSION_KEY")
        good = rotated(service.files)
        variable = name.upper()
        bad: dict[str, Any] = {**good, variable: BROKEN[how](text_of(good, variable))}
        if how == "expired":
            bad[f"{variable}_EXPIRES_AT"] = ahead(days=-1)
        listed = {REVOKED: fingerprint_of(text_of(service.files, "SIGNING_KEY"))} if name != "signing_key" else {}
        report = service.read({each: text for each, text in (bad | listed).items() if text is not None})
        kept = {"db_user", "db_password"} if name.startswith("db_") else {name}
        assert {each.secret for each in report.alerts} == {name}
        assert {each for each in NAMES if service.value(each) == before[each]} == kept
        assert {each: service.value(each) for each in NAMES if each not in kept} == {
            each: text_of(good, each.upper()) for each in NAMES if each not in kept
        }
        assert len(service.said()) == 1
        service.read()
        assert service.said() == []
        assert service.store.secrets["session_key"].verify(old)  # as the current or as the previous key
        service.read(good | listed)
        assert (service.said(), service.notices) == ([], [f"NOTICE: {', '.join(sorted(kept))} follows again"])
        assert {each: service.value(each) for each in NAMES} == {each: text_of(good, each.upper()) for each in NAMES}

    def test_a_revocation_behind_a_kind_that_raises(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """No kind hides a revocation. A current key without a good value is refused at the second read."""
        service = Service(tmp_path / "keys", capsys, shop(), Shop)
        bad = revoking(service.files, "SIGNING_KEY") | {"MAIL_TOKEN": "raise an error", "SIGNING_KEY": "changeme"}
        for is_refused in (False, True):
            assert "signing_key" in {each.secret for each in service.read(bad).alerts if each.check == "revoked"}
            assert (service.store.secrets["signing_key"].accepted() == ()) is is_refused
        service.read(rotated(service.files))

    def test_three_breaks(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A secret that breaks three times gives three alerts, three notices and an event for each."""
        service = Service(tmp_path / "keys", capsys, shop(), Shop)
        for _ in range(3):
            service.read({**service.files, "TLS_KEY": ""})
            assert (service.said(), service.notices) == (["missing"], [])
            service.read(service.files)
            assert (service.said(), service.notices) == ([], ["NOTICE: tls_key follows again"])
        assert service.kinds == ["kept", "following"] * 3

    def test_a_value_that_a_kept_secret_has(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A new value that equals the last good value of a kept secret is not used either."""
        service = Service(tmp_path / "keys", capsys, shop(), Shop)
        before = service.value("tls_key")
        service.read({**service.files, "SMTP_PASSWORD": "", "TLS_KEY": text_of(service.files, "SMTP_PASSWORD")})
        assert service.value("tls_key") == before

    def test_equal_secrets(self, service: Service) -> None:
        """Where two secrets are equal, neither of them changes."""
        before = slots(service.secret)
        key = good_keys()[V2]
        service.read({**service.files, NEXT: key, f"{V2}_NEXT": key})
        assert (service.said(), slots(service.secret)) == (["shared"], before)
        assert service.store.secrets["secret_v2.key"].verify(key) is None

    def test_an_optional_secret_that_comes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """An optional secret that comes turns its field from `None` into a live secret."""
        service = Service(tmp_path / "keys", capsys, without(shop(), "STRIPE_KEY"), Shop)
        assert isinstance(service.secrets, Shop)
        made = service.secrets
        assert made.stripe_key is None
        service.use({**service.files, "STRIPE_KEY": (key := f"sk_live_{secrets.token_hex(9)}")})
        assert made.stripe_key is not None
        assert made.stripe_key.get_secret_value() == key

    def test_an_optional_secret_of_the_environment_that_goes(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An optional secret that the directory has never had is off again once its variable is gone."""
        environ = {"STRIPE_KEY": f"sk_live_{secrets.token_hex(9)}"}
        service = Service(tmp_path / "keys", capsys, without(shop(), "STRIPE_KEY"), Shop, environ)
        assert isinstance(service.secrets, Shop)
        secret = service.secrets.stripe_key
        assert secret is not None
        service.environ.clear()
        assert service.read().ok
        assert service.secrets.stripe_key is None
        with pytest.raises(LookupError, match="stripe_key is optional, and it is not set"):
            secret.get_secret_value()

    def test_an_expiry_of_the_key_in_use(self, service: Service) -> None:
        """It refuses nothing: it is an alert, and another secret's new key is used."""
        files = {**service.files, EXPIRES: ahead(days=-1), f"{V2}_NEXT": good_keys()[V2]}
        report = service.read(files)
        assert [each.check.value for each in report.alerts] == service.said() == ["expired"]
        assert service.changes(2) == {"secret.key", "secret_v2.key"}

    def test_a_marker_that_is_gone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Where the marker of the same key is gone, that is an alert, and the old instant holds. Others change."""
        service = Service(tmp_path / "keys", capsys, {**staged(first()), EXPIRES: ahead(days=9)})
        marked = service.store.keys.readings[0].expires_at
        service.read(without({**service.files, f"{V2}_NEXT": good_keys()[V2]}, EXPIRES))
        assert (service.said(), service.store.keys.readings[0].expires_at) == (["expiry-marker"], marked)
        assert service.changes(1) == {"secret_v2.key"}
        service.use(without(promoted(service.files), EXPIRES))
        assert service.store.keys.readings[0].expires_at is None

    def test_a_key_that_is_given_up_for_a_good_one(self, service: Service) -> None:
        """A revoked current key and a good set: the good set is used, and nothing is refused."""
        service.use(replaced(service.files))
        assert slots(service.secret) == slots_of(service.files)


class TestWholeSet:
    """A set of which nothing is used."""

    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_set(self, service: Service, name: str) -> None:
        """Its bad secret changes nothing, and its alerts are said once. The good set that follows is used."""
        change, check = BAD[name]
        before = slots(service.secret)
        for number in range(3):
            report = service.read(change(service.files) if not number else None)
            assert check in {each.check.value for each in report.alerts}
            assert check in service.said() if not number else service.said() == []
        assert slots(service.secret) == before or name in {"cut", "one file of two", "empty file"}
        assert service.kinds.count("kept") == 1
        assert (service.refresh.state().name, service.refresh.found) == ("kept", report.findings)
        service.use(promoted(service.files))
        assert (slots(service.secret), service.refresh.state().name) == (slots_of(service.files), "following")
        service.said()
        assert len(service.notices) == 1

    def test_a_validator_of_the_host(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A set that the model's own validator refuses is not used. The validator sees the set that would result."""
        refused, seen = list[str](), list[str]()

        class Own(RuntimeSecrets):
            @model_validator(mode="after")
            def _refuse(self) -> Own:
                seen.append(self.secret_v2_key.get_secret_value())
                assert self.secret_key.get_secret_value() not in refused
                return self

        service = Service(tmp_path / "keys", capsys, model=Own)
        before, files = slots(service.secret), promoted(service.files)
        refused.append(text_of(files, V1))
        report = service.read({**files, V2: "changeme"})
        assert {each.check.value for each in report.alerts} == {"internal", "placeholder"}
        assert (slots(service.secret), seen[-1]) == (before, text_of(service.files, V2))

    def test_a_check_that_fails(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error of a check is raised to the caller, and changes nothing. An interrupt passes."""
        before = slots(service.secret)
        for error, raised in ((LookupError, CheckFailedError), (KeyboardInterrupt, KeyboardInterrupt)):
            monkeypatch.setattr(directory, "read_directory", raising(error(text_of(service.files, V1))))
            with pytest.raises(raised):
                service.read()
        assert slots(service.secret) == before


class TestContinuity:
    """A set that is not the next step of this one."""

    @pytest.mark.parametrize(("days", "is_next"), [(1, False), (-1, True), (None, True)])
    def test_a_key_that_is_revoked(self, service: Service, days: int | None, *, is_next: bool) -> None:
        """Any set may follow a key that is revoked, from the instant of its entry on."""
        entry = fingerprint_of(text_of(service.files, V1)) + (f"@{ahead(days=days)}" if days else "")
        other = {V1: good_keys()[V1], V2: service.files[V2], REVOKED: entry}
        assert service.read(other).ok is is_next
        assert (slots(service.secret) == slots_of(other)) is is_next

    def test_a_snapshot_from_before_the_deadline(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key whose time as previous key has passed does not sign again, also where the key that signs is next."""
        before, now = service.files, time.monotonic()
        service.use({**promoted(before, days=1), REVOKED: ""})
        monkeypatch.setattr(time, "monotonic", lambda: now + 2 * DAY)
        assert "previous" not in slots(service.secret)
        service.read(before)
        assert service.said()[-1] == "discontinuous"
        assert "  fix: correct what writes it, so that it delivers this service's own keys, and do not restart" in (
            service.lines
        )
        assert f"the set in directory:{service.directory} would sign" in service.lines
        assert slots(service.secret)["current"] == fingerprint_of(text_of(before, NEXT))

    def test_a_rotation_that_went_back(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """After `rotate back`, each set is used, also when the deadline of the key that signs again has passed."""
        now = time.monotonic()
        service.use({**promoted(service.files, days=1), REVOKED: ""})
        service.use(back(service.files))
        monkeypatch.setattr(time, "monotonic", lambda: now + 2 * DAY)
        service.use({**service.files, f"{V2}_NEXT": good_keys()[V2]})
        service.use(promoted(service.files))
        assert slots(service.secret) == slots_of(service.files)

    @pytest.mark.parametrize(
        ("ours", "theirs", "is_used"), [("prod", "prod", True), ("", "prod", False), ("", "", False)]
    )
    def test_one_secret_that_does_not_continue(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], ours: str, theirs: str, *, is_used: bool
    ) -> None:
        """Where both environments are known and equal, only that secret keeps its value. Otherwise, nothing changes."""
        files: Set = {**first(), **({ENVIRONMENT: theirs} if theirs else {})}
        service = Service(tmp_path / "keys", capsys, files, environ={ENVIRONMENT: ours} if ours else {})
        before = text_of(files, V1)
        service.read({**files, V1: good_keys()[V1], f"{V2}_NEXT": (key := good_keys()[V2])})
        assert "discontinuous" in service.said()
        assert service.value("secret.key") == before
        assert (service.store.secrets["secret_v2.key"].verify(key) is not None) is is_used

    @pytest.mark.parametrize("of_process", ["prod", ""])
    def test_another_environment(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], of_process: str) -> None:
        """A set of another environment than that of the process, or of the start, changes nothing."""
        environ = {ENVIRONMENT: of_process} if of_process else {}
        files = {KEY: secrets.token_urlsafe(16), PASSWORD: secrets.token_hex(8), ENVIRONMENT: "prod"}
        service = Service(tmp_path / "keys", capsys, {**files}, Radio, environ)
        other = {KEY: secrets.token_urlsafe(16), PASSWORD: secrets.token_hex(8), ENVIRONMENT: "staging"}
        revoked = {REVOKED: fingerprint_of(files[KEY])}
        service.read(other | revoked)
        assert "environment" in service.said()
        assert service.value("icecast.password") == files[PASSWORD]
        service.read()
        assert service.store.secrets["radio.key"].accepted() == ()  # a revocation is applied all the same
        service.use({**other, ENVIRONMENT: "prod"})

    def test_a_set_that_loses_its_name(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A set that does not name its environment any more changes nothing: it may be another one's."""
        files = {KEY: secrets.token_urlsafe(16), PASSWORD: secrets.token_hex(8), ENVIRONMENT: "prod"}
        service = Service(tmp_path / "keys", capsys, {**files}, Radio)
        service.read({**without(files, ENVIRONMENT), PASSWORD: secrets.token_hex(8)})
        assert (service.said(), service.value("icecast.password")) == (["environment"], files[PASSWORD])
        assert f"restore {ENVIRONMENT} there, with the value prod" in service.lines

    def test_secrets_without_slots(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Secrets without slots change. Where all of them do, a warning says how to name the environment."""
        sets = [{KEY: secrets.token_urlsafe(16), PASSWORD: secrets.token_hex(8)} for _ in range(3)]
        service = Service(tmp_path / "keys", capsys, {**sets[0]}, Radio)
        service.use({**sets[0], PASSWORD: sets[1][PASSWORD]})
        assert service.said() == []
        service.use({**sets[2]})
        assert service.said() == ["environment"]
        assert f"store {ENVIRONMENT} with the secrets" in service.lines
        assert [service.value(name) for name in ("radio.key", "icecast.password")] == [*sets[2].values()]

    def test_a_field_that_is_gone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What came from the directory never comes from the environment later, which is as old as its process."""
        old = good_keys()
        service = Service(tmp_path / "keys", capsys, environ=old)
        before = slots(service.secret)
        for gone in (without(service.files, V1, NEXT), {}):
            assert "missing" in {each.check.value for each in service.read(gone).alerts}
        assert slots(service.secret) == before

    def test_a_field_that_comes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A secret of the environment may move to the directory, and then it stays there."""
        old = good_keys()
        service = Service(tmp_path / "keys", capsys, files={V1: good_keys()[V1]}, environ={V2: old[V2]})
        service.use({**service.files, V2: old[V2], f"{V2}_NEXT": good_keys()[V2]})
        report = service.read(without(service.files, V2, f"{V2}_NEXT"))
        assert [(each.check.value, each.secret) for each in report.alerts] == [("missing", "secret_v2.key")]

    def test_a_recycled_worker(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A process that starts again with the environment of the first day has today's keys, whatever they are."""
        files, others = first(), first()
        service = Service(tmp_path / "keys", capsys, files=files, environ={V1: text_of(files, V1)})
        assert not service.read(others).ok
        made = service.started()
        assert isinstance(made, RuntimeSecrets)
        assert slots(made.secret_key) == slots_of(others)


class TestRevocation:
    """A revocation that comes while the process runs."""

    @pytest.mark.parametrize("passes", [True, False])
    @pytest.mark.parametrize("role", ["next", "previous"])
    def test_a_key_that_does_not_sign(self, service: Service, role: str, *, passes: bool) -> None:
        """It is not accepted from the first read on, also where the set is refused, and whatever follows."""
        files = service.use(staged(promoted(service.files)))
        bad = {} if passes else {V2: "changeme"}
        variable = SLOTS[role]
        kid = fingerprint_of(text_of(files, variable)).removeprefix("sgfp1:")
        assert service.read({**revoking(files, variable), **bad}).ok is passes
        for _ in range(2):
            assert role not in slots(service.secret)
            assert role not in slots(service.secret.derive(DERIVED))
            assert kid not in {key.kid for key in service.secret.stored()}
            assert service.secret.find(kid) is None
            found = service.secret.find(kid, revoked=True)
            assert found is not None
            assert service.secret.verify(text_of(files, variable)) is None
            service.read(files)

    @pytest.mark.parametrize("at", ["", "@{}"])
    def test_the_key_that_signs(self, service: Service, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
        """At two reads in a row without a good value, nothing uses it any more: from the instant of its entry on."""
        monkeypatch.setattr("robodj_secretguard.running.refresh.start", lambda *_: True)  # it would end the test
        now = time.monotonic()
        derived = service.secret.derive(DERIVED)
        text, kid = text_of(service.files, V1), service.secret.current.kid
        bad = revoking(service.files, V1, at.format(ahead(days=1)))
        if at:
            for _ in range(3):
                assert service.read(bad).ok
            monkeypatch.setattr(time, "monotonic", lambda: now + 2 * DAY)
        service.read(bad)
        assert (service.said(), service.secret.current.kid) == (["revoked"], kid)
        fix = "  fix: wait for the new key; if no rotation has begun, run robodj-secretguard rotate plan secret.key --"
        assert fix in service.lines
        service.read(bad)
        for secret in (service.secret, derived):
            with pytest.raises(RevokedKeyError):
                secret.get_secret_value()
            assert secret.accepted() == ()
            assert secret.find(kid) is None
        assert service.secret.verify(text) is None
        assert kid not in {key.kid for key in service.secret.stored()}
        service.use(replaced(service.files))
        assert slots(service.secret) == slots(derived) == slots_of(service.files)

    def test_a_good_set_between_two_reads(self, service: Service) -> None:
        """Two reads that are not in a row do not stop a key."""
        service.read(revoking(service.files, V1))
        service.read(revoking(service.use(replaced(service.files)), V1))
        assert slots(service.secret) == slots_of(service.files)

    def test_a_list_that_gets_shorter(self, service: Service) -> None:
        """A list that is gone, or shorter, takes nothing back."""
        files = service.use(staged(promoted(service.files)))
        service.use(revoking(files, PREVIOUS))
        service.use(files)
        assert "previous" not in slots(service.secret)


class TestInstances:
    """Several instances of a model in one process."""

    def test_they_share_their_secrets(self, service: Service) -> None:
        """Each instance has the same secrets, which follow every change. A later one is a read itself."""
        assert isinstance(service.secrets, RuntimeSecrets)
        with process_environment({"ROBODJ_SECRETS_DIR": str(service.directory)}):
            other = RuntimeSecrets()
            assert other.secret_key is service.secret
            files = service.use(promoted(service.files))
            assert other.secret_key.get_secret_value() == text_of(files, V1)
            service.read(retired(files))
            assert other == RuntimeSecrets()

    def test_a_later_one_is_a_read(self, service: Service) -> None:
        """A later instance brings the newest keys and revocations to the first one, also where it is refused."""
        files = staged(promoted(service.files))
        with process_environment({"ROBODJ_SECRETS_DIR": str(service.directory)}):
            volume(service.directory, files)
            assert isinstance(service.model(), RuntimeSecrets)
            assert slots(service.secret) == slots_of(files)
            volume(service.directory, {**revoking(files, PREVIOUS), V2: "changeme"})
            with pytest.raises(ValueError, match="is a placeholder"):
                service.model()
        assert "previous" not in slots(service.secret)

    def test_another_source(self) -> None:
        """A model with other values has keys of its own."""
        made = []
        for _ in range(2):
            with process_environment(good_keys()):
                made.append(RuntimeSecrets())
        assert made[0].secret_key is not made[1].secret_key
        assert made[0].secret_key.get_secret_value() != made[1].secret_key.get_secret_value()

    def test_a_revocation_in_the_environment(self) -> None:
        """A second instance that is refused brings its revocations to the first one."""
        with process_environment(keys := good_keys() | {NEXT: good_keys()[V1]}):
            first_one = RuntimeSecrets()
        assert first_one.secret_key.verify(keys[NEXT])
        with process_environment(keys | {REVOKED: fingerprint_of(keys[NEXT])}):
            RuntimeSecrets()
        assert first_one.secret_key.verify(keys[NEXT]) is None

    def test_reads_that_overlap(self, service: Service) -> None:
        """A set that was judged against keys that another read has just replaced is judged again."""
        judged = []
        for files in (promoted(service.files), staged(promoted(service.files))):
            volume(service.directory, files)
            again = judgement_of(RuntimeSecrets, Environment({}), now=None, managers=(delivered(files),))
            judged.append(again)
        numbers = [next(module.read_numbers) for _ in range(2)]
        nested = [lambda: module.take(service.store, judged[0], lambda _: None, numbers[0])]

        def build(_judgement: object) -> None:
            if nested:
                nested.pop()()

        plan, _ = module.take(service.store, judged[1], build, numbers[1])
        assert plan.changed == {"secret.key"}
        assert slots(service.secret) == slots_of(files)

    def test_an_instance_while_the_directory_is_away(self, tmp_path: Path) -> None:
        """While the directory is away, a further instance has the keys in use, and not those of the first day."""

        class Own(RuntimeSecrets, secrets_dir=tmp_path / "keys"):
            pass

        volume(tmp_path / "keys", files := first())
        with process_environment(good_keys()):
            made = Own()
            (tmp_path / "keys").rename(tmp_path / "away")
            assert Own().secret_key is made.secret_key
        assert made.secret_key.get_secret_value() == text_of(files, V1)

    def test_many_instances_in_a_moment(self, service: Service) -> None:
        """Instances that are refused in a moment do not count as reads in a row: a good key may come."""
        volume(service.directory, revoking(service.files, V1))
        with process_environment({"ROBODJ_SECRETS_DIR": str(service.directory)}):
            for _ in range(3):
                with pytest.raises(ValueError, match="is revoked"):
                    service.model()
        assert service.secret.current

    def test_a_function_of_a_validator(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A function that a validator of a later instance registers is called after each change, too."""
        kids = Queue[str]()

        class Own(RuntimeSecrets):
            @model_validator(mode="after")
            def _subscribe(self) -> Own:
                self.secret_key.on_change(lambda secret: kids.put(secret.current.kid))
                return self

        service = Service(tmp_path / "keys", capsys, model=Own)
        with process_environment({"ROBODJ_SECRETS_DIR": str(service.directory)}):
            Own()
        service.use(promoted(service.files))
        assert [kids.get(timeout=TIMEOUT) for _ in range(2)] == [service.secret.current.kid] * 2

    def test_a_store_lives_as_long_as_a_view(self, service: Service) -> None:
        """A store is kept by an instance, by a secret and by a derived one, and goes with the last of them."""
        with process_environment(good_keys()):
            derived = RuntimeSecrets().secret_key.derive(DERIVED)
        store = weakref.ref(derived.store)
        gc.collect()
        assert store() is not None
        del derived
        gc.collect()
        assert store() is None
        assert store_of(service.secrets) is service.store

    def test_tests_get_stores_of_their_own(self) -> None:
        """`forget_stores` lets the next instance have a store of its own, as the pytest plugin does."""
        with process_environment(good_keys()):
            made = RuntimeSecrets()
            forget_stores()
            assert RuntimeSecrets().secret_key is not made.secret_key


class TestOldSets:
    """What a process keeps of the sets that it had."""

    def test_nothing_holds_an_old_set(self, service: Service) -> None:
        """After a change nothing holds the old set, also where a derived secret is idle."""
        derived = service.secret.derive(DERIVED)
        assert derived.accepted()
        service.use(promoted(service.files))
        held = [weakref.ref(key.value) for key in (*service.secret.accepted(), *derived.accepted())]
        service.use(replaced(service.files))
        service.events.clear()
        gc.collect()
        assert [each() for each in held] == [None] * 4

    def test_replaced_values(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """The values of the last 24 hours are kept apart from their set, and at most so many of them."""
        monkeypatch.setattr(module, "MOST_REPLACED", 2)
        old = [text_of(service.files, V1)]
        old += [text_of(service.use(replaced(service.files)), V1) for _ in range(3)]
        assert [each.value.get_secret_value() for each in service.store.replaced] == old[1:3]
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + DAY + 60)
        old.append(text_of(service.use(replaced(service.files)), V1))
        assert [each.value.get_secret_value() for each in service.store.replaced] == old[3:4]


def test_a_signal_handler_in_the_middle(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read inside of another one does not wait forever, and changes nothing."""
    monkeypatch.setattr(module, "LOCK_WAIT", 0.01)
    before = slots(service.secret)
    with module.deciding():
        assert service.read(promoted(service.files)).ok
    assert slots(service.secret) == before
