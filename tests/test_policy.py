"""The policy of a declared secret."""

from __future__ import annotations

import secrets
import shlex
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from robodj_secretguard import Fault, Generator, Length, Material, RuntimeSecrets, SecretPolicy

DECLARED = RuntimeSecrets.secret_policies
POLICY = DECLARED["secret_key"]._replace(overlap=timedelta(0), stores_data=False)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
FIELDS: Any = {"name": "a.key", "variable": "A_KEY", "owner": "Us", "cadence": 90 * DAY, "warn_before": DAY}


class AcceptsAll(Length):
    """A length that equals a declared one and accepts every value."""

    def accepts(self, length: int) -> bool:  # noqa: ARG002
        return True


def test_the_order_of_fields() -> None:
    """The order is the documented one: minimum before maximum, base64url before hexadecimal."""
    named = Material(base64url=Length(minimum=43, maximum=None), hexadecimal=Length(minimum=64, maximum=128))
    assert Material(Length(43), Length(64, 128)) == named


def test_length_in_words() -> None:
    """A length is described in words."""
    assert list(map(str, (Length(43), Length(128, 128), Length(43, 90)))) == ["43 or more", "exactly 128", "43 to 90"]


class TestGenerator:
    """The approved generators of policy section 1."""

    @pytest.mark.parametrize("size", [32, 33, 34, 36, 64])
    def test_how_many_characters_its_keys_have(self, size: int) -> None:
        """The standard library makes keys of that length from that number of bytes."""
        assert Generator("token_urlsafe", size).characters == len(secrets.token_urlsafe(size))
        assert Generator("token_hex", size).characters == len(secrets.token_hex(size))

    @pytest.mark.parametrize(
        ("field", "call"), [("secret_key", "token_urlsafe(32)"), ("secret_v2_key", "token_hex(64)")]
    )
    def test_the_command(self, field: str, call: str) -> None:
        """The command is exactly the policy's, and prints a key of an accepted length."""
        policy = DECLARED[field]
        assert policy.generator
        assert policy.replacement == policy.generator.command == f'python -c "import secrets; print(secrets.{call})"'
        _, option, code = shlex.split(policy.generator.command)
        made = subprocess.run([sys.executable, option, code], capture_output=True, text=True, check=True).stdout
        assert policy.material[call.startswith("token_hex")].accepts(len(made.strip()))


class TestSecretPolicy:
    """A policy that cannot be kept, or whose text would break a report's lines, is refused."""

    def test_format_of_a_key(self) -> None:
        """A URL whose kind was not declared is no placeholder. Two defects of a key are both named."""
        material = SecretPolicy(name="a.key", variable="ROBODJ_A_KEY").material
        fault = material.fault(f"postgresql://app:{secrets.token_hex(16)}@localhost/app")
        assert fault
        assert (fault.check, fault.message) == ("format", "is a URL, not a generated key")
        both = Fault("format", "has a newline at the end and quotes around it")
        assert material.fault(f"'{secrets.token_urlsafe(32)}'\n") == both

    def test_the_defaults(self) -> None:
        """A name and a variable declare a key of 32 bytes for 90 days. Its file and marker follow from them."""
        policy = SecretPolicy(name="a.key", variable="ROBODJ_A_KEY")
        assert (policy.owner, policy.backup_owner, policy.issuer, policy.is_issued) == ("", "", "", False)
        assert (policy.cadence, policy.warn_before) == (90 * DAY, 14 * DAY)
        assert (policy.generator, policy.overlap) == (Generator("token_urlsafe", 32), timedelta(0))
        assert policy.material == Material(base64url=Length(43), hexadecimal=Length(64))
        assert policy.material.has_fingerprint
        assert (policy.file, policy.expiry_variable) == ("config/a.key", "ROBODJ_A_KEY_EXPIRES_AT")
        assert (policy.key_variables, policy.variables) == (("ROBODJ_A_KEY",), ("ROBODJ_A_KEY", policy.expiry_variable))
        with_slots = policy._replace(overlap=DAY)
        assert with_slots.key_variables == ("ROBODJ_A_KEY", *with_slots.slot_variables[:2])
        assert with_slots.variables == (*policy.variables, *with_slots.slot_variables)
        emptied = policy._replace(name="b.key", variable="B_KEY", file="", expiry_variable="")
        assert (emptied.file, emptied.expiry_variable) == ("config/b.key", "B_KEY_EXPIRES_AT")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", "secret key"),
            ("name", "secret.key\n"),
            ("variable", "robodj_secret_key"),
            ("variable", "K"),
            ("group", "a b"),
            ("group", "db\n"),
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
            ("overlap", -SECOND),
            ("overlap", POLICY.cadence),
            ("generator", None),
            ("generator", Generator("token_urlsafe", 31)),
            ("generator", "token_urlsafe"),
            ("issuer", "https://vendor.example"),
            ("expires", None),
            ("stores_data", 0),
            ("generator", Generator("token_bytes", 32)),  # type: ignore[arg-type]
            ("generator", Generator("token_hex", 33)),
            ("generator", Generator("token_urlsafe", 64)),
            ("generator", type("Lax", (Generator,), {})("token_urlsafe", 32)),
            ("material", Material(base64url=Length(42), hexadecimal=Length(64))),
            ("material", Material(base64url=Length(43), hexadecimal=Length(63))),
            ("material", Material(base64url=Length(44), hexadecimal=Length(64))),
            ("material", Material(base64url=AcceptsAll(43), hexadecimal=Length(64))),
            ("material", type("Lax", (Material,), {})(Length(43), Length(64))),
        ],
    )
    def test_refused(self, field: str, value: Any) -> None:
        """The error names the field, and does not show the value."""
        with pytest.raises(ValueError, match=rf"^SecretPolicy .*{field}|^SecretPolicy material") as raised:
            POLICY._replace(**{field: value})
        assert not isinstance(value, str) or len(value) < 4 or value not in str(raised.value)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("cadence", days * DAY) for days in (15, 16, 365)),
            ("warn_before", SECOND),
            ("variable", "DB"),
            ("group", "db"),
            ("overlap", timedelta(0)),
            ("overlap", POLICY.cadence - SECOND),
            ("material", Material(base64url=Length(43, 43), hexadecimal=Length(64, 64))),
            ("material", Material(base64url=Length(43), hexadecimal=Length(65))),
        ],
    )
    def test_accepted(self, field: str, value: Any) -> None:
        """Values just inside each limit are accepted."""
        assert getattr(POLICY._replace(**{field: value}), field) == value

    def test_stored_data_needs_an_overlap(self) -> None:
        """Without a previous key, no stored data could be encrypted again."""
        policy = POLICY._replace(overlap=timedelta(0), stores_data=False)
        with pytest.raises(ValueError, match=r"^SecretPolicy stores_data: needs an overlap"):
            policy._replace(stores_data=True)

    @pytest.mark.parametrize(
        ("generator", "base64url", "hexadecimal"),
        [(Generator("token_urlsafe", 16), 22, 32), (Generator("token_hex", 20), 27, 40)],
    )
    def test_material_of_a_generator(self, generator: Generator, base64url: int, hexadecimal: int) -> None:
        """Without material, keys with at least the generator's bytes are accepted, from 16 bytes on."""
        policy = SecretPolicy(**FIELDS, generator=generator)
        assert policy.material == Material(Length(base64url), Length(hexadecimal))
        with pytest.raises(ValueError, match="at least 16 bytes"):
            SecretPolicy(**FIELDS, generator=Generator(generator.function, 15))

    def test_issued_by_a_vendor(self) -> None:
        """A secret that a vendor issues has no generator, and may have an issuer."""
        policy = SecretPolicy(**FIELDS, material=Material.opaque(4), issuer="https://vendor.example")
        assert (policy.generator, policy.is_issued) == (None, True)
        assert policy.replacement == "issue a new one at https://vendor.example"
        assert policy._replace(issuer="").replacement == "issue a new one"
        assert policy._replace(owner="They").material == Material.opaque(4)
        assert Material.opaque() == Material.opaque(8, prefix="", pattern=None)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("issuer", "https://vendor.example/\nALERT: forged"),
            ("generator", Generator("token_urlsafe", 32)),
            ("material", "opaque"),
            ("required", 1),
        ],
    )
    def test_refused_of_a_vendor(self, field: str, value: Any) -> None:
        """A secret that a vendor issues needs a kind and no generator."""
        policy = SecretPolicy(**FIELDS, material=Material.opaque(), issuer="https://vendor.example")
        with pytest.raises(ValueError, match=rf"^SecretPolicy .*{field}"):
            policy._replace(**{field: value})

    def test_material_that_the_generator_does_not_make(self) -> None:
        """The length is compared in the generator's form, hexadecimal or base64url."""
        longer = Material(base64url=Length(43), hexadecimal=Length(65))
        with pytest.raises(ValueError, match="must accept what the generator makes"):
            POLICY._replace(material=longer, generator=Generator("token_hex", 32))

    def test_every_field_is_named(self) -> None:
        """Fields are keyword-only, so two owners or two timedeltas cannot be swapped."""
        with pytest.raises(TypeError, match="positional"):
            SecretPolicy("a.key", "ROBODJ_A_KEY", "Us", "Them", 90 * DAY, 14 * DAY)  # type: ignore[arg-type, call-arg]

    @pytest.mark.parametrize(
        "field", ["name", "variable", "file", "expiry_variable", "owner", "backup_owner", "issuer"]
    )
    def test_other_types(self, field: str) -> None:
        """A text field accepts no other type."""
        with pytest.raises(TypeError, match="are strings"):
            POLICY._replace(**{field: 5})

    @pytest.mark.parametrize("field", ["cadence", "warn_before", "overlap"])
    def test_other_durations(self, field: str) -> None:
        """A duration is a timedelta, and not a number."""
        with pytest.raises(TypeError, match="are timedeltas"):
            POLICY._replace(**{field: 5})


class TestKeyOfAnyGenerator:
    """A secret that is declared with `Material.key()`."""

    def test_it_has_the_generator_of_its_kind(self) -> None:
        """By default, new keys are made by the generator of the kind, with its prefix."""
        key = SecretPolicy(**FIELDS, material=Material.key(50, "kif-"))
        assert (key.generator, key.is_issued) == (Generator("token_urlsafe", 35, "kif-"), False)
        assert key.replacement.endswith("""print('kif-' + secrets.token_urlsafe(35))\"""")

    def test_issuer_makes_it_issued(self) -> None:
        """With an issuer, somebody else makes it, and it has a fingerprint still."""
        key = SecretPolicy(**FIELDS, material=Material.key(), issuer="https://vendor.example")
        assert (key.generator, key.is_issued, key.material.has_fingerprint) == (None, True, True)
        assert key.replacement == "issue a new one at https://vendor.example"

    @pytest.mark.parametrize("generator", [Generator("token_hex", 32), Generator("token_urlsafe", 64)], ids=repr)
    def test_other_generator_with_keys_of_the_length(self, generator: Generator) -> None:
        """Another generator may be declared, if its keys are long enough."""
        assert SecretPolicy(**FIELDS, material=Material.key(), generator=generator).generator == generator

    @pytest.mark.parametrize(
        ("material", "generator", "message"),
        [
            (Material.key(50), Generator("token_urlsafe", 32), "material: must accept what the generator makes"),
            (Material.key(32, "k-"), Generator("token_urlsafe", 64), "material: must accept what the generator makes"),
            (Material.key(), Generator("token_urlsafe", 64, "k-"), "material: must accept what the generator makes"),
            (Material.opaque(), Generator("token_urlsafe", 32), "generator: none, as others issue this secret"),
            (Material.key(), Generator("token_hex", 15), "generator: at least 16 bytes"),
        ],
        ids=range(5),
    )
    def test_generator_whose_keys_are_refused(self, material: Any, generator: Generator, message: str) -> None:
        """A generator whose keys the material refuses, or of a secret that others issue, is a `ValueError`."""
        with pytest.raises(ValueError, match=f"^SecretPolicy {message}$"):
            SecretPolicy(**FIELDS, material=material, generator=generator)

    def test_generator_of_a_prefix_is_that_of_a_key(self) -> None:
        """A generated key of `Material` has no prefix."""
        with pytest.raises(ValueError, match="material: must accept what the generator makes"):
            SecretPolicy(**FIELDS, generator=Generator("token_urlsafe", 32, "k-"))
