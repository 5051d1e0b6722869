"""What a declared secret is, and that the two in the policy's scope are declared as it says."""

from __future__ import annotations

import secrets
import shlex
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from robodj_secretguard import Generator, Length, Material, RuntimeSecrets, SecretPolicy

DECLARED = RuntimeSecrets.secret_policies


class AcceptsAll(Length):
    """A length that equals one that is declared, and refuses none."""

    def accepts(self, length: int) -> bool:  # noqa: ARG002
        return True


class TestRuntimeSecrets:
    """Every cell of the contract's table is data on the model."""

    def test_secret_key(self) -> None:
        """The row of `secret.key`."""
        assert DECLARED["secret_key"] == SecretPolicy(
            name="secret.key",
            variable="ROBODJ_SECRET_KEY",
            file="config/secret.key",
            material=Material(base64url=Length(43), hexadecimal=Length(64)),
            generator=Generator("token_urlsafe", 32),
            expiry_variable="ROBODJ_SECRET_KEY_EXPIRES_AT",
            owner="Security Operations",
            backup_owner="Release Manager",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=14),
            overlap=timedelta(days=14),
        )

    def test_secret_v2_key(self) -> None:
        """The row of `secret_v2.key`."""
        assert DECLARED["secret_v2_key"] == SecretPolicy(
            name="secret_v2.key",
            variable="ROBODJ_SECRET_V2_KEY",
            file="config/secret_v2.key",
            material=Material(base64url=Length(86), hexadecimal=Length(128, 128)),
            generator=Generator("token_hex", 64),
            expiry_variable="ROBODJ_SECRET_V2_KEY_EXPIRES_AT",
            owner="Security Operations",
            backup_owner="Release Manager",
            cadence=timedelta(days=30),
            warn_before=timedelta(days=7),
            overlap=timedelta(days=7),
        )


class TestMaterial:
    """The accepted key material of policy section 6."""

    def test_its_fields_in_their_order(self) -> None:
        """They are given by name or in the documented order: at least so many, at most so many; base64url first."""
        named = Material(base64url=Length(minimum=43, maximum=None), hexadecimal=Length(minimum=64, maximum=128))
        assert Material(Length(43), Length(64, 128)) == named


class TestGenerator:
    """The approved generators of policy section 1."""

    def test_the_approved_commands(self) -> None:
        """They are the policy's, to the letter."""
        assert [policy.generator.command for policy in DECLARED.values()] == [
            'python -c "import secrets; print(secrets.token_urlsafe(32))"',
            'python -c "import secrets; print(secrets.token_hex(64))"',
        ]

    @pytest.mark.parametrize("size", [32, 33, 34, 36, 64])
    def test_how_many_characters_its_keys_have(self, size: int) -> None:
        """As many as the standard library makes of so many bytes."""
        assert Generator("token_urlsafe", size).characters == len(secrets.token_urlsafe(size))
        assert Generator("token_hex", size).characters == len(secrets.token_hex(size))

    def test_the_command_makes_what_is_accepted(self) -> None:
        """What an operator pastes prints a key of the accepted length."""
        for policy in DECLARED.values():
            _, option, code = shlex.split(policy.generator.command)
            made = subprocess.run([sys.executable, option, code], capture_output=True, text=True, check=True).stdout
            kind = policy.material.hexadecimal if policy.name == "secret_v2.key" else policy.material.base64url
            assert kind.accepts(len(made.strip()))


class TestSecretPolicy:
    """A policy that could not be kept, or that would break a report's lines, is refused when it is made."""

    def test_file_and_marker_follow_from_name_and_variable(self) -> None:
        """Most secrets need to say neither."""
        policy = DECLARED["secret_key"]._replace(name="webhook.key", variable="WEBHOOK", file="", expiry_variable="")
        assert (policy.file, policy.expiry_variable) == ("config/webhook.key", "WEBHOOK_EXPIRES_AT")

    def test_the_approved_defaults(self) -> None:
        """A secret that says no more is one of 32 bytes."""
        policy = SecretPolicy(
            name="a.key",
            variable="ROBODJ_A_KEY",
            owner="Us",
            backup_owner="Them",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=14),
        )
        assert policy.generator == Generator("token_urlsafe", 32)
        assert policy.material == Material(base64url=Length(43), hexadecimal=Length(64))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", "secret key"),
            ("name", "secret.key\n"),
            ("variable", "robodj_secret_key"),
            ("variable", "KEY"),
            ("variable", "ROBODJ-KEY"),
            ("expiry_variable", "robodj"),
            ("file", "secret.key"),
            ("file", "config/../secret.key"),
            ("file", "/config/secret.key"),
            ("owner", " "),
            ("owner", "Security\nALERT: forged"),
            ("backup_owner", "Sécurité"),
            ("cadence", timedelta(days=14)),
            ("cadence", timedelta(days=20, hours=12)),
            ("warn_before", timedelta(0)),
            ("generator", Generator("token_urlsafe", 31)),
            ("generator", Generator("token_bytes", 32)),  # type: ignore[arg-type]
            ("generator", Generator("token_hex", 33)),
            ("generator", Generator("token_urlsafe", 64)),
            ("material", Material(base64url=Length(42), hexadecimal=Length(64))),
            ("material", Material(base64url=Length(43), hexadecimal=Length(63))),
            ("material", Material(base64url=Length(44), hexadecimal=Length(64))),
            ("material", Material(base64url=AcceptsAll(43), hexadecimal=Length(64))),
            ("material", type("Lax", (Material,), {})(Length(43), Length(64))),
            ("generator", type("Lax", (Generator,), {})("token_urlsafe", 32)),
        ],
    )
    def test_refused(self, field: str, value: Any) -> None:
        """The error names the field, and repeats nothing of what was given."""
        with pytest.raises(ValueError, match=r"^SecretPolicy ") as raised:
            DECLARED["secret_key"]._replace(**{field: value})
        assert not isinstance(value, str) or len(value) < 4 or value not in str(raised.value)

    def test_every_field_is_named(self) -> None:
        """Two owners and two timedeltas in a row would be mixed up by their places."""
        with pytest.raises(TypeError, match="positional"):
            SecretPolicy("a.key", "ROBODJ_A_KEY", "Us", "Them", timedelta(days=90), timedelta(days=14))  # type: ignore[call-arg]

    @pytest.mark.parametrize("field", ["name", "variable", "file", "expiry_variable", "owner", "backup_owner"])
    def test_what_is_no_text(self, field: str) -> None:
        """A field that is a text is no other thing."""
        with pytest.raises(TypeError, match="are strings"):
            DECLARED["secret_key"]._replace(**{field: 5})

    @pytest.mark.parametrize("days", [15, 16, 365])
    def test_a_cadence_of_whole_days(self, days: int) -> None:
        """Any number of whole days that is longer than the warnings is a cadence."""
        assert DECLARED["secret_key"]._replace(cadence=timedelta(days=days)).cadence.days == days

    def test_warnings_of_less_than_a_day(self) -> None:
        """The warnings may begin whenever they like before the expiry."""
        second = timedelta(seconds=1)
        assert DECLARED["secret_key"]._replace(warn_before=second).warn_before == second

    def test_material_that_the_generator_does_not_make(self) -> None:
        """What is accepted in the generator's own form is looked at, hexadecimal or base64url."""
        longer = Material(base64url=Length(43), hexadecimal=Length(65))
        assert DECLARED["secret_key"]._replace(material=longer).material == longer
        with pytest.raises(ValueError, match="must accept what the generator makes"):
            DECLARED["secret_key"]._replace(material=longer, generator=Generator("token_hex", 32))

    def test_the_smallest_material(self) -> None:
        """What carries exactly the generator's bytes is accepted."""
        fits = Material(base64url=Length(43, 43), hexadecimal=Length(64, 64))
        assert DECLARED["secret_key"]._replace(material=fits).material == fits


def test_length_in_words() -> None:
    """A length reads as an operator would say it."""
    assert [str(Length(43)), str(Length(128, 128)), str(Length(43, 90))] == [
        "at least 43",
        "exactly 128",
        "43 to 90",
    ]
