"""A key of 16 bytes, and a secret that a vendor issues, in every rule and every command."""

from __future__ import annotations

import base64
import json
import logging
import re
import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import pytest
from command_line import Machine, fingerprint_of, machine_at
from conftest import NOW, Ran, found, marker
from detector import leaks
from flask import Flask
from pydantic import SecretStr
from repositories import made, put

from robodj_secretguard import Generator, Kind, Material, SecretPolicy, SecretSettings, check
from robodj_secretguard.adapters.django import secret_keys
from robodj_secretguard.adapters.flask import sign_sessions
from robodj_secretguard.adapters.itsdangerous import RingSerializer, RingSigner
from robodj_secretguard.adapters.jwt import RingJWT
from robodj_secretguard.common.generator import ephemeral
from robodj_secretguard.errors import UsageError
from robodj_secretguard.redact import SecretRedactor
from robodj_secretguard.scan.content import assignments
from robodj_secretguard.testing import KINDS, OF_GENERATED, bad_secret

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)
KEY, PASSWORD = "RADIO_KEY", "ICECAST_PASSWORD"
ISSUER = "https://radio.example/admin"
ISSUE = f"issue a new one at {ISSUER}, store it in the secret manager, then set {PASSWORD} to it"
MODEL = ("--model", "test_vendor:Radio")
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


def call(machine: Machine, *words: str, model: tuple[str, ...] = MODEL, **options: Any) -> Ran:
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

    @pytest.mark.parametrize(
        ("password", "what", "fix"),
        [
            ("hackme", "ICECAST_PASSWORD is a placeholder", "set ICECAST_PASSWORD to its current value"),
            ("k9!z", "has fewer than 8 characters", "if it has no other value, issue a new one at"),
            ("k9!zk9!z\n", "has a newline at the end", "set ICECAST_PASSWORD without the newline"),
            ("'k9!zk9!z'", "has quotes around it", "set ICECAST_PASSWORD without the quotes"),
        ],
    )
    def test_malformed_value_is_refused_with_the_usual_fix(self, password: str, what: str, fix: str) -> None:
        """A placeholder and a malformed value are refused, with the usual fixes."""
        (finding,) = check(Radio, environ=keys() | {PASSWORD: password}, now=NOW).findings
        assert (what in finding.message, fix in finding.remedy) == (True, True)

    def test_vendors_secret_is_shared_only_if_equal(self) -> None:
        """A vendor's secret is compared with other secrets by equality alone."""
        key = secrets.token_urlsafe(16)
        report = check(Radio, environ={KEY: key, PASSWORD: key}, now=NOW)
        assert found(report) == [("shared", "icecast.password")]
        plan = "run robodj-secretguard rotate plan radio.key"
        assert report.findings[0].remedy.endswith(f"; if the manager has equal values, {ISSUE}; {plan}")
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

    def test_ring_verifies_without_key_ids(self, machine: Machine) -> None:
        """The ring of a vendor's secret verifies. Its keys have no id, and no key is derived from them."""
        old, now = f"{keys()[PASSWORD]}?", datetime.now(UTC)
        machine.environ.update({f"{PASSWORD}_PREVIOUS": old, f"{PASSWORD}_PREVIOUS_UNTIL": marker(DAY, now=now)})
        ring = machine.within(Rotating, now=now).keyring("icecast.password")
        assert [(key.role, key.kid) for key in ring.accepted()] == [("current", ""), ("previous", "")]
        assert ring.verify(old) == ring.accepted()[1]
        assert ring.verify(f"{old[:-1]}\ud800") is None
        assert (ring.find(""), ring.find(None)) == (None, None)
        with pytest.raises(ValueError, match="no key is derived"):
            ring.derive(b"purpose")

    def test_vendors_secret_signs_nothing(self, machine: Machine) -> None:
        """A vendor's secret may be short: a signature would tell whether a guess is right."""
        ring = machine.within(Radio).keyring("icecast.password")
        signers = (secret_keys, RingJWT, partial(RingSigner, salt=b"a"), partial(RingSerializer, salt=b"a"))
        for make in (*signers, partial(sign_sessions, Flask("a"))):
            with pytest.raises(ValueError, match="does not sign"):
                make(ring)

    def test_each_slot_is_checked_and_has_no_fingerprint(self, machine: Machine) -> None:
        """Each slot of a vendor's secret is checked by its rules, and none has a fingerprint."""
        environ = machine.environ | {f"{PASSWORD}_NEXT": machine.environ[PASSWORD], f"{PASSWORD}_PREVIOUS": "a b"}
        report = check(Rotating, environ=environ, now=NOW)
        assert [str(each.check) for each in report.findings] == ["format", "previous-until", "slots-equal"]
        assert {report.secrets[0].next_fingerprint, report.secrets[0].previous_fingerprint} == {None}


KINDS_OF_ISSUED = {
    "opaque": Material.opaque(),
    "short": Material.opaque(4),
    "long": Material.opaque(100),
    "prefix": Material.opaque(prefix="sk_live_"),
    "url": Material.url("postgresql"),
    "pem": Material.pem(),
    "json": Material.json("private_key", "client_id"),
}


@pytest.mark.parametrize("material", KINDS_OF_ISSUED.values(), ids=KINDS_OF_ISSUED)
@pytest.mark.parametrize("kind", [each for each in KINDS if each not in OF_GENERATED])
def test_every_kind_of_bad_secret_is_found(tmp_path: Path, kind: str, material: Kind) -> None:
    """Every kind of bad secret is found, except those that only a generated key can be."""
    other = declared(name="other", variable="OTHER_SECRET", material=material, issuer=ISSUER)
    policies = (RADIO, ICECAST._replace(material=material, overlap=7 * DAY), other)
    model = type(
        "Own", (SecretSettings,), {"__annotations__": {each.name[0]: Annotated[SecretStr, each] for each in policies}}
    )
    environ = {name: value for name, value in bad_secret(kind, policies[1], policies, str(tmp_path)).items() if value}
    findings = dict(found(check(model, environ=environ)))
    assert findings.pop(kind) in {None, "icecast.password", "other" if kind == "shared" else ""}
    assert findings.keys() <= {"file-fallback"}


@pytest.mark.parametrize("material", KINDS_OF_ISSUED.values(), ids=KINDS_OF_ISSUED)
def test_temporary_value_passes(material: Kind) -> None:
    """A temporary value of an issued secret passes, in each slot."""
    policy = ICECAST._replace(material=material, overlap=7 * DAY)
    model = type("Own", (SecretSettings,), {"__annotations__": {"own": Annotated[SecretStr, policy]}})
    assert found(check(model, environ=ephemeral([policy], with_slots=True))) == [("ephemeral", None)]


@pytest.mark.parametrize(
    "material", [Material.opaque(pattern="AC[0-9a-f]{3}-Z{2}-[0-9]+"), Kind()], ids=["pattern", "own"]
)
def test_kind_without_a_temporary_value(material: Kind) -> None:
    """A kind that makes no temporary value is a usage error, which says what to write."""
    with pytest.raises(UsageError, match=r"icecast.password has no temporary value; give its kind a method temporary"):
        ephemeral([ICECAST._replace(material=material)])


class TestRedactor:
    """Redacted logs."""

    @pytest.mark.parametrize("password", ["zq9!", "zq9'\"\\/<&%="])
    def test_secret_is_redacted_in_every_form(self, machine: Machine, password: str) -> None:
        """A short secret with any character is redacted as text, escaped, in hexadecimal and in base64."""
        machine.environ[PASSWORD] = password
        redact = SecretRedactor(machine.within(Short))
        data = password.encode()
        encoded = (base64.b64encode(data), base64.urlsafe_b64encode(b"user:" + data))
        for form in (
            password,
            json.dumps(password),
            repr(password),
            quote(password),
            data.hex(),
            *map(bytes.decode, encoded),
        ):
            record = logging.LogRecord("name", logging.INFO, "path", 1, form, None, None)
            redact.filter(record)
            assert "[redacted icecast.password]" in record.getMessage()
            assert password not in record.getMessage()


class TestGenerate:
    """`generate`."""

    def test_vendors_secret_is_not_generated(self, machine: Machine) -> None:
        """No vendor's secret is generated. The error says where a new one is issued."""
        ran = call(machine, "generate", "icecast.password")
        assert (ran.status, ran.out, ISSUE in ran.err) == (2, "", True)
        only = call(machine, "generate", "--format", "env", model=("--model", "test_vendor:Issued"))
        assert (only.status, only.out, ISSUE in only.err) == (2, "", True)

    @pytest.mark.parametrize("options", [(), ("--format", "env")])
    def test_without_a_name_the_other_keys_are_made(self, machine: Machine, options: tuple[str, ...]) -> None:
        """Without NAME, the other keys are made, and stderr says what was left out."""
        ran = call(machine, "generate", *options)
        assert (ran.status, PASSWORD in ran.out) == (0, False)
        assert ran.err == "robodj-secretguard: left out the secrets that somebody else issues (icecast.password)\n"


class TestExplain:
    """`explain`."""

    def test_explain_says_where_a_new_one_is_issued(self, machine: Machine) -> None:
        """For a vendor's secret, a comment says where a new one is issued. No command generates it."""
        out = call(machine, "explain", "missing").out
        assert f"# icecast.password: issue a new one at {ISSUER}\n" in out
        assert f"    to replace it: issue a new one at {ISSUER}\n" in out
        assert "    accepts Opaque(minimum=8, prefix='', pattern=None)\n" in out
        assert "generate radio.key" in out
        assert "generate icecast.password" not in out
        assert "rotate plan icecast.password" in call(machine, "explain", "expired").out


WHO = ("--environment", "prod", "--operator", "dana")


class TestRotate:
    """`rotate`, `status` and `revoke`."""

    def test_plan_issues_a_new_one(self, machine: Machine) -> None:
        """The plan issues a new one, and ends where it was issued. It has no fingerprint and no revocation."""
        machine.environ["SECRETGUARD_LOADED"] = "yes"
        out = call(machine, "rotate", "plan", "icecast.password", *WHO).out
        assert f"1. Issue a new one at {ISSUER} for prod alone, and store it in the secret manager" in out
        assert "Disable the old one where it was issued" in out
        assert not re.search("sgfp1|revoke|generate", out)

    def test_plan_with_an_overlap_begins_with_the_next_one(self, machine: Machine) -> None:
        """With an overlap, the new one is the next one first."""
        machine.environ["SECRETGUARD_LOADED"] = "yes"
        out = call(machine, "rotate", "plan", "icecast.password", *WHO, model=("--model", "test_vendor:Rotating")).out
        new = f"Issue a new one at {ISSUER} for prod alone, and store it in the secret manager as {PASSWORD}_NEXT."
        assert f"1. {new} " in out
        assert f'put_secret {PASSWORD}_PREVIOUS "${{{PASSWORD}-}}"' in out
        assert not re.search("sgfp1|revoke|revocation|generate|encrypted", out)

    def test_vendors_secret_is_recorded_by_name_only(self, machine: Machine) -> None:
        """A vendor's secret is recorded only by its name. It is always new, and has no fingerprint."""
        assert "icecast" not in call(machine, "rotate", "record", *WHO).out
        for days in (0, 1):
            assert call(machine, "rotate", "record", "icecast.password", *WHO, now=NOW + days * DAY).status == 0
        records = [record for record in machine.records if record.fingerprint is None]
        assert [(record.fingerprint, record.open_steps) for record in records] == [(None, ("startup", "functions"))] * 2

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
        ("text", "is_found"), [("#zq9!kif!8w2!\n", True), ("# From radio.example\n<password>\n", False)]
    )
    def test_tracked_key_file_is_taken_whole(self, machine: Machine, text: str, *, is_found: bool) -> None:
        """A tracked fallback file of an issued secret may have one that begins with `#`. A template has none."""
        put(made(machine.root), "config/icecast.password", text.encode())
        ran = call(machine, "scan", "--format", "json")
        rules = [(each["rule"], each["secret"], each["path"]) for each in json.loads(ran.out)["findings"]]
        expected = [("tracked-key-file", "icecast.password", "config/icecast.password")]
        assert rules == (expected if is_found else [])

    def test_short_issued_secret_is_not_searched_for(self, machine: Machine) -> None:
        """A live key of 16 bytes is found. An issued secret of 18 characters is not, and a note says so."""
        machine.put("notes.txt", f"{machine.environ[KEY]}\n{machine.environ[PASSWORD]}\n")
        ran = call(machine, "scan")
        assert (ran.status, ran.out.count("ALERT")) == (1, 1)
        assert "ALERT: radio.key: known-key: notes.txt:1:1" in ran.out
        note = "only assignments of ICECAST_PASSWORD were searched for, as no value of 20 characters or more is known"
        assert f"note: icecast.password: {note} here\n" in ran.out

    def test_only_short_issued_secrets_make_a_complete_scan(self, machine: Machine) -> None:
        """A service whose only secret is short is scanned for its assignments, which is complete."""
        assert call(machine, "scan", model=("--model", "test_vendor:Issued")).status == 0

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

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("ICECAST_PASSWORD=zq9!zq9!", "zq9!zq9!"),
            ("export ICECAST_PASSWORD='zq9!{$(zq9'", "zq9!{$(zq9"),
            ('{"ICECAST_PASSWORD": "Hunter-Two"}', "Hunter-Two"),
            ("ICECAST_PASSWORD: enE5IXpxOSE=\n", "zq9!zq9!"),
            ("ENV ICECAST_PASSWORD zq9!zq9!\n", "zq9!zq9!"),
            ('os.getenv("ICECAST_PASSWORD", "zq9-kif-8w2")', "zq9-kif-8w2"),
            ("ICECAST_PASSWORD=zq9", None),
            ("ICECAST_PASSWORD=hackme", None),
            ("ICECAST_PASSWORD='${ICECAST_PASSWORD_2}'", None),
            ("ICECAST_PASSWORD='$ICECAST_PASSWORD_2'", None),
            ("ICECAST_PASSWORD=$(cat password2.txt)", None),
            ("ICECAST_PASSWORD: SecretStr", None),
            ('ICECAST_PASSWORD = os.environ["PASSWORD_2"]', None),
            ("if ICECAST_PASSWORD == other_2:", None),
            ('("ICECAST_PASSWORD", "ROBODJ_SECRET_V2_KEY")', None),
            ("ICECAST_PASSWORD, ROBODJ_SECRET_V2_KEY", None),
            ('("ICECAST_PASSWORD", "config/icecast.password")', None),
        ],
    )
    def test_only_values_are_assignments(self, text: str, value: str | None) -> None:
        """A value is found plain with a digit, or in quotes with a digit or both cases. Code is not."""
        got = [key.get_secret_value() for _, _, key, _ in assignments(text.encode(), [ICECAST])]
        assert got == ([] if value is None else [value])

    def test_tracked_key_file_has_no_fingerprint(self, machine: Machine) -> None:
        """A tracked key file of a vendor's secret has no fingerprint, also with text like a key."""
        from repositories import commit, git, made  # noqa: PLC0415 - needs git

        machine.write("icecast.password", secrets.token_urlsafe(32))
        git(made(machine.root), "add", "--force", ".")
        commit(machine.root)
        ran = call(machine, "scan", "--format", "json")
        findings = [(each["rule"], each["secret"], each["fingerprint"]) for each in json.loads(ran.out)["findings"]]
        assert findings == [(rule, "icecast.password", None) for rule in ("tracked-key-file", "known-key")]
