"""A key of 16 bytes, and a secret that a vendor issues, in every rule and every command."""

from __future__ import annotations

import json
import re
import secrets
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from command_line import Machine, fingerprint_of, machine_at
from conftest import NOW, Ran, found, marker, process_environment
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from detector import leaks
from django.core.management.utils import get_random_secret_key
from pydantic import SecretStr
from repositories import made, put
from values import PRIVATE_KEYS, WRITTEN, key_pair, loaded

from robodj_secretguard import Generator, Material, Secret, SecretPolicy, SecretSettings, check, guard

DAY = timedelta(days=1)
KEY, PASSWORD = "RADIO_KEY", "ICECAST_PASSWORD"
ISSUER = "https://radio.example/admin"
ISSUE = f"issue a new one at {ISSUER}, store it in the secret manager, then set {PASSWORD} to it"
declared = partial(SecretPolicy, owner="Integrations", cadence=90 * DAY, warn_before=14 * DAY)
RADIO = declared(name="radio.key", variable=KEY, generator=Generator("token_urlsafe", 16))
ICECAST = declared(name="icecast.password", variable=PASSWORD, material=Material.opaque(), issuer=ISSUER)


class Radio(SecretSettings):
    """A service with a short key, and the password of a streaming server."""

    key: Annotated[SecretStr, RADIO]
    password: Annotated[SecretStr, ICECAST]


class Turned(SecretSettings):
    """The same service, whose secrets are declared in the other order."""

    password: Annotated[SecretStr, ICECAST]
    key: Annotated[SecretStr, RADIO]


class Issued(SecretSettings):
    """A service whose only secret is a vendor's."""

    password: Annotated[SecretStr, ICECAST]


class Rotating(SecretSettings):
    """A service that accepts the previous secret of a vendor for a week."""

    password: Annotated[SecretStr, ICECAST._replace(overlap=7 * DAY)]


class Short(SecretSettings):
    """A service whose only secret may have four characters."""

    password: Annotated[SecretStr, ICECAST._replace(material=Material.opaque(4))]


def keys() -> dict[str, str]:
    """Make a key, and a password with characters that no generated key has."""
    return {KEY: secrets.token_urlsafe(16), PASSWORD: f"{secrets.token_hex(5)}\\'\"{{%=<"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a good value of both secrets."""
    machine_at(tmp_path)
    return Machine(tmp_path, keys())


def call(
    machine: Machine, *words: str, model: tuple[str, ...] = ("--model", "test_vendor:Radio"), **options: Any
) -> Ran:
    """Run a command, which must not show a part of a value."""
    ran = machine.call(*words, *model, **options)
    assert words[0] == "generate" or leaks(ran.out + ran.err, [*machine.environ.values()]) == []
    return ran


class TestChecks:
    """The checks."""

    def test_only_a_generated_key_has_a_fingerprint(self) -> None:
        """A short key has a fingerprint. A vendor's secret has none, whatever it is, and is not revoked."""
        values = keys()
        for password in (values[PASSWORD], "kif8zapp", "0f83c2a9d1b7e604", values[KEY][:8]):
            listed = {"ROBODJ_REVOKED_FINGERPRINTS": fingerprint_of(password)}
            report = check(Radio, environ=values | {PASSWORD: password} | listed, now=NOW)
            assert found(report) == []
            fingerprints = [status.fingerprint is None for status in report.secrets]
            assert ([status.usable for status in report.secrets], fingerprints) == ([True, True], [False, True])

    def test_vendors_secret_is_shared_only_if_equal(self) -> None:
        """A vendor's secret is compared with other secrets by equality alone."""
        key = secrets.token_urlsafe(16)
        report = check(Radio, environ={KEY: key, PASSWORD: key}, now=NOW)
        assert found(report) == [("shared", "icecast.password")]
        assert report.findings[0].remedy.endswith(f" in which they differ; if none, {ISSUE}")
        for model, other in product((Radio, Turned), (key[:10], f"{key}a", key.swapcase())):
            assert found(check(model, environ={KEY: key, PASSWORD: other}, now=NOW)) == []

    def test_password_in_the_variable_of_a_key_is_malformed(self) -> None:
        """A password in the variable of a key is only malformed: a vendor's secret has no shape."""
        values = keys()
        report = check(Radio, environ={KEY: values[PASSWORD], PASSWORD: values[KEY]}, now=NOW)
        assert found(report) == [("format", "radio.key")]
        assert "swapped" not in report.findings[0].message

    def test_fallback_file_may_have_parts_of_a_template(self, machine: Machine) -> None:
        """A fallback file with parts of a template holds a vendor's secret."""
        machine.write("icecast.password", f"{secrets.token_hex(5)}%bc%d<e>\n")
        machine.environ["ROBODJ_PROTECTED_ENV"] = "true"
        assert found(machine.within(lambda: check(Radio, now=NOW))) == [("file-present", "icecast.password")]

    def test_each_slot_is_checked_and_has_no_fingerprint(self, machine: Machine) -> None:
        """Each slot of a vendor's secret is checked by its rules, and none has a fingerprint."""
        environ = machine.environ | {f"{PASSWORD}_NEXT": machine.environ[PASSWORD], f"{PASSWORD}_PREVIOUS": "a b"}
        report = check(Rotating, environ=environ, now=NOW)
        assert [str(each.check) for each in report.findings] == ["format", "previous-until", "slots-equal"]
        assert {report.secrets[0].next_fingerprint, report.secrets[0].previous_fingerprint} == {None}


class TestGenerate:
    """`generate`."""

    @pytest.mark.parametrize(
        ("words", "model"), [(["icecast.password"], "Radio"), (["--format", "env"], "Issued")], ids=["NAME", "no other"]
    )
    def test_vendors_secret_is_not_generated(self, machine: Machine, words: list[str], model: str) -> None:
        """No vendor's secret is generated. The error says where a new one is issued."""
        ran = call(machine, "generate", *words, model=("--model", f"test_vendor:{model}"))
        assert (ran.status, ran.out, ISSUER in ran.err) == (2, "", True)

    @pytest.mark.parametrize("options", [(), ("--format", "env")])
    def test_without_a_name_the_other_keys_are_made(self, machine: Machine, options: tuple[str, ...]) -> None:
        """Without NAME, the other keys are made, and stderr says what was left out."""
        ran = call(machine, "generate", *options)
        assert (ran.status, PASSWORD in ran.out) == (0, False)
        assert ran.err.startswith("robodj-secretguard: left out icecast.password: ")
        assert ISSUER in ran.err


def test_explain_says_where_a_new_one_is_issued(machine: Machine) -> None:
    """For a vendor's secret, a comment says where a new one is issued. No command generates it."""
    out = call(machine, "explain", "missing", "expired").out
    for text in (
        f"# icecast.password: issue a new one at {ISSUER}\n",
        "rotate put radio.key",
        "rotate plan icecast.password",
    ):
        assert text in out
    assert "generate icecast.password" not in out


WHO = ("--environment", "prod", "--operator", "dana")


class TestRotate:
    """`rotate`, `status` and `revoke`."""

    def test_plan_issues_a_new_one(self, machine: Machine) -> None:
        """The plan issues a new one, and ends where it was issued. test_runbook.py has its steps."""
        (machine.root / "keys").mkdir()
        out = call(machine, "rotate", "plan", "icecast.password", "--from", "directory:keys", *WHO).out
        assert f"1. Issue a new one at {ISSUER}. This asks for it, and puts it into the store:" in out
        assert "disable an old value where it was issued" in out

    def test_vendors_secret_is_recorded_by_name_only(self, machine: Machine) -> None:
        """A vendor's secret is recorded only by its name. It is always new, and has no fingerprint."""
        assert "icecast" not in call(machine, "rotate", "record", *WHO).out
        for days in (0, 1):
            assert call(machine, "rotate", "record", "icecast.password", *WHO, now=NOW + days * DAY).status == 0
        records = [record for record in machine.records if record.fingerprint is None]
        assert [(each.event, each.open_steps) for each in records] == [
            ("found", ()),
            ("rotation-incomplete", ("startup", "functions")),
        ]

    def test_completing_command_repeats_every_step(self, machine: Machine) -> None:
        """The command that completes a record repeats every step, as the next record is a new one."""
        out = call(machine, "rotate", "record", "icecast.password", *WHO, "--attest", "startup").out
        (command,) = (line.split()[1:] for line in out.splitlines() if line.startswith("     robodj"))
        assert machine.call(*command).status == 0
        assert machine.records[-1].open_steps == ()

    def test_age_counts_from_the_last_record(self, machine: Machine) -> None:
        """The age of a vendor's secret counts from its last record. Nobody is the backup."""
        for days in (0, 10):
            call(machine, "rotate", "record", "icecast.password", *WHO, now=NOW + days * DAY)
        out = call(machine, "status", now=NOW + 12 * DAY).out
        assert re.search(r"2026-12-11 in prod  2 of \d+ days  -\n", out)

    def test_vendors_secret_cannot_be_revoked(self, machine: Machine) -> None:
        """A vendor's secret cannot be revoked here: the error says where to change it."""
        machine.put("found.txt", secrets.token_urlsafe(32))
        for more in ((), ("--key-from", "found.txt", "--unknown")):
            ran = call(machine, "revoke", "icecast.password", "--reason", "posted", "--yes", *more)
            assert (ran.status, ran.out) == (2, "")
            assert f"cannot be revoked; issue a new one at {ISSUER}" in ran.err


class TestScan:
    """`scan`."""

    def test_issued_secret_is_found(self, machine: Machine) -> None:
        """A live value that others issue is found. It is neither shown nor revoked: a new one is issued."""
        machine.environ[PASSWORD] = f"{secrets.token_urlsafe(12)}.$/ {secrets.token_urlsafe(12)}"
        name = f"a-{machine.environ[PASSWORD][:9]}"
        machine.put("notes.txt", f"password: {quote(machine.environ[PASSWORD], safe='')}\n")
        machine.put(f"{name}.txt", machine.environ[PASSWORD])
        out = call(machine, "scan").out
        assert [line for line in out.splitlines() if line.startswith("ALERT")] == [
            f"ALERT: icecast.password: known-key: {place}: contains the key (form: raw; known by: environment)"
            for place in ("[redacted]:1:1", "notes.txt:1:11")
        ]
        assert f"1. For icecast.password, issue a new one at {ISSUER}, and disable the old one there." in out
        assert "revoke" not in out
        assert call(machine, "scan", "--fingerprints").out.count("ALERT") == 0

    @pytest.mark.parametrize(
        ("text", "rules"),
        [
            ("#zq9!kif!8w2!\n", ["tracked-key-file"]),
            ("# From radio.example\n<password>\n", []),
            (secrets.token_urlsafe(32), ["tracked-key-file", "known-key"]),
        ],
        ids=["like a comment", "template", "like a key"],
    )
    def test_tracked_key_file_is_taken_whole(self, machine: Machine, text: str, rules: list[str]) -> None:
        """A tracked fallback file of an issued secret may have one that begins with `#`, and has no fingerprint."""
        put(made(machine.root), "config/icecast.password", text.encode())
        ran = call(machine, "scan", "--format", "json")
        found = [(each["rule"], each["secret"], each["fingerprint"]) for each in json.loads(ran.out)["findings"]]
        assert found == [(rule, "icecast.password", None) for rule in rules]

    def test_short_issued_secret_is_not_searched_for(self, machine: Machine) -> None:
        """A live key of 16 bytes is found. An issued secret of 18 characters is not, and a note says so."""
        machine.put("notes.txt", f"{machine.environ[KEY]}\n{machine.environ[PASSWORD]}\n")
        ran = call(machine, "scan")
        assert (ran.status, ran.out.count("ALERT"), "ALERT: radio.key: known-key: notes.txt:1:1" in ran.out) == (
            1,
            1,
            True,
        )
        note = "only assignments of ICECAST_PASSWORD were searched for, as no value of 20 characters or more is known"
        assert f"note: icecast.password: {note} here\n" in ran.out
        assert call(machine, "scan", model=("--model", "test_vendor:Issued")).status == 0  # it is complete

    def test_key_of_16_bytes_is_found_by_its_fingerprint(self, machine: Machine) -> None:
        """A recorded key of 16 bytes is found by its fingerprint, also of another model."""
        call(machine, "rotate", "record", *WHO)
        machine.put("notes.txt", f"key={machine.environ[KEY]};")
        assert "radio.key (prod): known-key" in machine.call("scan", "--fingerprints").out

    def test_assigned_secret_is_found_and_not_shown(self, machine: Machine) -> None:
        """An assigned vendor's secret is found, without a fingerprint. The name of a file is not shown with it."""
        machine.put(".env", f"{PASSWORD}='zq9!kif!8w2!'\n")
        machine.put("zq9!kif!8w2!", "")
        ran = call(machine, "scan", "--format", "json")
        (finding,) = json.loads(ran.out)["findings"]
        assert (finding["rule"], finding["secret"], finding["fingerprint"]) == (
            "assigned-key",
            "icecast.password",
            None,
        )
        assert "zq9" not in ran.out


class Signing(SecretSettings):
    """A service that signs with a key of its own, and with one that somebody else issues."""

    django_key: Annotated[Secret, SecretPolicy(material=Material.key(50), overlap=7 * DAY)]
    signing_key: Annotated[Secret, SecretPolicy(material=Material.pem("EC PRIVATE KEY"), overlap=7 * DAY)]


@pytest.mark.parametrize("written", WRITTEN)
def test_what_programs_get_can_be_loaded(written: str) -> None:
    """However PEM is delivered, the value of the secret has newlines. A cut one is refused."""
    pem, django_key = PRIVATE_KEYS["EC"](), get_random_secret_key()
    environ = {"DJANGO_KEY": django_key, "SIGNING_KEY": WRITTEN[written](pem)}
    with process_environment(environ):
        guarded = guard(Signing)
    assert guarded.signing_key.get_secret_value().split() == pem.split()
    assert loaded(guarded.signing_key.get_secret_value())
    assert guarded.django_key.get_secret_value() == django_key
    assert found(check(Signing, environ=environ | {"SIGNING_KEY": "\n".join(pem.splitlines()[:2])})) == [
        ("format", "signing_key")
    ]


def test_public_key_is_no_previous_key() -> None:
    """A public key as the previous key is refused, since anybody could sign with it. A short text is no key either."""
    until = {"DJANGO_KEY_PREVIOUS_UNTIL": marker(DAY)}
    environ = {"DJANGO_KEY": get_random_secret_key(), "SIGNING_KEY": PRIVATE_KEYS["EC"]()} | until
    public = key_pair("RSA").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    for key, expected in ((public, [("format", "django_key")]), (secrets.token_urlsafe(18), [])):
        report = check(Signing, environ=environ | {"DJANGO_KEY_PREVIOUS": key}, now=NOW)
        assert [each for each in found(report) if each[0] == "format"] == expected
