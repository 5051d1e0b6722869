"""The declaration of a secret: the policy's tables as data on the settings model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import Any, Final, Literal, Self

from robodj_secretguard.secret.frozen import Frozen

MIN_KEY_BYTES: Final = 16
"""The fewest random bytes of a key: with fewer, it could be guessed from its fingerprint."""
MIN_OPAQUE: Final = 4
"""The fewest characters of a secret that a vendor issues."""


class Length(Frozen):
    """How many characters a key may have.

    Args:
        minimum: the fewest characters.
        maximum: the most characters; `None` for no upper limit.
    """

    minimum: int
    maximum: int | None = None

    def accepts(self, length: int) -> bool:
        """Check whether a key may have `length` characters."""
        return self.minimum <= length and (self.maximum is None or length <= self.maximum)

    def __str__(self) -> str:
        if self.maximum is None:
            return f"{self.minimum} or more"
        return f"exactly {self.minimum}" if self.maximum == self.minimum else f"{self.minimum} to {self.maximum}"


class Material(Frozen):
    """The accepted key material (policy section 6, "Invalid key format").

    Text of hexadecimal digits only is judged as hexadecimal, and all other text as unpadded base64url.
    `Material.opaque()` is the material of a secret that a vendor issues.

    Args:
        base64url: the length of a base64url key, in characters.
        hexadecimal: the length of a hexadecimal key, in characters.
        is_opaque: whether any printable ASCII character except the blank is accepted. Then both lengths are the same.
    """

    base64url: Length
    hexadecimal: Length
    is_opaque: bool = False

    @classmethod
    def opaque(cls, minimum: int = 8) -> Self:
        """Return the material of a secret that a vendor issues, such as a password or an API key.

        It accepts printable ASCII without blanks. There is no rule about its strength, and it has no fingerprint: it
        could be guessed from one. So it cannot be revoked, and `scan` finds only assignments of its variable.

        Args:
            minimum: the fewest characters, 4 or more.
        """
        return cls(Length(minimum), Length(minimum), is_opaque=True)


class Generator(Frozen):
    """An approved generator of the standard library's `secrets` module (policy section 1).

    Args:
        function: the function's name.
        size: how many random bytes it draws.
    """

    function: Literal["token_urlsafe", "token_hex"]
    size: int

    @property
    def command(self) -> str:
        """The approved command, which an operator can paste."""
        return f'python -c "import secrets; print(secrets.{self.function}({self.size}))"'

    @property
    def characters(self) -> int:
        """The number of characters of its keys."""
        return self.size * 2 if self.function == "token_hex" else -(-self.size * 4 // 3)


def least_material(size: int) -> Material:
    """Return the material of keys with at least this many bytes."""
    return Material(
        Length(Generator("token_urlsafe", size).characters), Length(Generator("token_hex", size).characters)
    )


LEAST_MATERIAL: Final = least_material(MIN_KEY_BYTES)
"""The material of `MIN_KEY_BYTES` bytes: every generated key that a policy accepts is at least this long."""
_DEFAULT_GENERATOR: Final = Generator("token_urlsafe", 32)

# No regular expressions: compiling one takes a twentieth of the startup time.
_NO_PUNCTUATION: Final = str.maketrans("", "", "._-")
_SHORTEST_VARIABLE: Final = 5


class SecretPolicy(Frozen, kw_only=True):
    """The policy of one declared secret, next to its type on a settings model.

    `secret_key: Annotated[SecretStr, SecretPolicy(name="secret.key", variable="ROBODJ_SECRET_KEY", ...)]`

    There are two kinds. A key of the service's own is made by a generator: `generator=Generator("token_urlsafe", 16)`.
    A vendor issues the other kind: `material=Material.opaque(), issuer="https://vendor.example/keys"`.

    Args:
        name: the secret's name in findings and reports.
        variable: the environment variable that delivers it, in upper case (policy section 2).
        owner: who rotates it (policy section 3).
        cadence: how often it is rotated (policy section 3).
        warn_before: how long before its expiry the warnings begin.
        backup_owner: who rotates it when the owner cannot; empty for nobody.
        overlap: how long the previous key verifies after a rotation. Zero: there is no next and no previous key.
        generator: the approved generator, of 16 bytes or more (policy section 1); by default `token_urlsafe(32)`, and
            `None` for a secret that a vendor issues.
        material: the accepted key material (policy section 6); by default keys with at least the generator's bytes.
        issuer: where a vendor issues a new one, such as an address. Required for a secret that a vendor issues, and
            only for that.
        file: the fallback file, always below `config/`; by default `config/` and the name.
        expiry_variable: the variable of the expiry marker; by default the variable and `_EXPIRES_AT`.

    Raises:
        TypeError: a field is missing, or is not of its type.
        ValueError: a field is invalid, or the material refuses the generator's keys or accepts keys of fewer bytes.
    """

    name: str
    variable: str
    owner: str
    cadence: timedelta
    warn_before: timedelta
    backup_owner: str = ""
    generator: Generator | None = _DEFAULT_GENERATOR
    material: Material = least_material(_DEFAULT_GENERATOR.size)
    issuer: str = ""
    file: str = ""
    expiry_variable: str = ""
    overlap: timedelta = timedelta(0)

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Return a policy whose fields are valid."""
        fields["file"] = fields.get("file") or f"config/{fields.get('name')}"
        fields["expiry_variable"] = fields.get("expiry_variable") or f"{fields.get('variable')}_EXPIRES_AT"
        if getattr(fields.get("material"), "is_opaque", False):
            fields.setdefault("generator", None)
        elif isinstance(generator := fields.get("generator"), Generator):
            fields.setdefault("material", least_material(generator.size))
        policy = super().__new__(cls, *values, **fields)
        policy._validate()
        return policy

    @property
    def is_opaque(self) -> bool:
        """Whether a vendor issues the secret. It has no generator and no fingerprint."""
        return self.generator is None

    @property
    def replacement(self) -> str:
        """The command that makes a new key, or where a new one is issued."""
        return self.generator.command if self.generator else f"issue a new one at {self.issuer}"

    @property
    def slot_variables(self) -> tuple[str, str, str]:
        """The variables of the next key, of the previous key and of the previous key's deadline."""
        return f"{self.variable}_NEXT", f"{self.variable}_PREVIOUS", f"{self.variable}_PREVIOUS_UNTIL"

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The variables that deliver keys."""
        return (self.variable, *(self.slot_variables[:2] if self.overlap else ()))

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable of the secret that is read."""
        return (self.variable, self.expiry_variable, *(self.slot_variables if self.overlap else ()))

    def _validate(self) -> None:
        """Raise an error, without the value, for an invalid field: no text may break or forge a line."""
        texts = (self.name, self.variable, self.expiry_variable, self.file, self.owner, self.backup_owner, self.issuer)
        if not all(isinstance(each, str) for each in texts):
            raise TypeError(
                "SecretPolicy: name, variable, expiry_variable, file, owner, backup_owner and issuer are strings"
            )
        if not all(isinstance(each, timedelta) for each in (self.cadence, self.warn_before, self.overlap)):
            raise TypeError("SecretPolicy: cadence, warn_before and overlap are timedeltas")
        variable = "a letter, then four or more of A-Z, 0-9 and underscore"
        rules = (
            (is_secret_name(self.name), "name: letters, digits, dot, hyphen and underscore only"),
            (_is_variable(self.variable), f"variable: {variable}"),
            (_is_variable(self.expiry_variable), f"expiry_variable: {variable}"),
            (_is_file(self.file), "file: a path below config/, of letters, digits, dot, hyphen and underscore"),
            (
                is_plain_text(self.owner) and all(not each or is_plain_text(each) for each in texts[-2:]),
                "owner, backup_owner and issuer: printable ASCII",
            ),
            (self.cadence > self.warn_before > timedelta(0), "cadence must be longer than warn_before, both positive"),
            (not self.cadence % timedelta(days=1), "cadence: whole days"),
            (timedelta(0) <= self.overlap < self.cadence, "overlap: shorter than the cadence, and not negative"),
        )
        for holds, rule in chain(rules, self._rules_of_material()):
            if not holds:
                raise ValueError(f"SecretPolicy {rule}")

    def _rules_of_material(self) -> Iterator[tuple[bool, str]]:
        """Yield whether each rule holds. A rule needs the earlier ones."""
        generator, material = self.generator, self.material
        # An object of a subclass could be equal and have other rules.
        is_ours = type(material) is Material and type(material.base64url) is type(material.hexadecimal) is Length
        yield is_ours, "material: a Material of two Lengths"
        yield bool(self.issuer) == material.is_opaque, "issuer: for a secret that a vendor issues, and only for that"
        if material.is_opaque:
            yield generator is None, "generator: none, as a vendor issues this secret"
            yield (
                material == Material.opaque(material.base64url.minimum),
                "material: one minimum, as in Material.opaque()",
            )
            yield material.base64url.minimum >= MIN_OPAQUE, f"material: at least {MIN_OPAQUE} characters"
            return
        is_approved = type(generator) is Generator and generator.function in {"token_urlsafe", "token_hex"}
        yield is_approved, "generator: an approved one"
        generator = generator or _DEFAULT_GENERATOR  # for type checkers
        yield generator.size >= MIN_KEY_BYTES, f"generator: at least {MIN_KEY_BYTES} bytes"
        needed = material.hexadecimal if generator.function == "token_hex" else material.base64url
        yield needed.accepts(generator.characters), "material: must accept what the generator makes"
        fewest = least_material(generator.size)
        yield (
            material.base64url.minimum >= fewest.base64url.minimum
            and material.hexadecimal.minimum >= fewest.hexadecimal.minimum,
            "material: a key must carry the bytes that its generator makes",
        )


def is_secret_name(text: str) -> bool:
    """Check whether text may be the name of a secret."""
    return text.isascii() and text[:1].isalnum() and text.translate(_NO_PUNCTUATION).isalnum()


def _is_variable(text: str) -> bool:
    plain = text.isascii() and text.replace("_", "").isalnum()
    return plain and len(text) >= _SHORTEST_VARIABLE and text[:1].isalpha() and text == text.upper()


def _is_file(text: str) -> bool:
    folder, *parts = text.split("/")
    return folder == "config" and bool(parts) and all(map(is_secret_name, parts))


def is_plain_text(text: str) -> bool:
    """Check whether text is printable ASCII, which cannot break or forge a line."""
    return bool(text.strip()) and text.isascii() and text.isprintable()
