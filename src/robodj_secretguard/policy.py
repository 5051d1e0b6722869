"""The declaration of a secret: the policy's tables as data on the settings model."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal, Self

from robodj_secretguard.frozen import Frozen

MIN_KEY_BYTES: Final = 32
"""The fewest random bytes of a key: with fewer, the strength rule would have false alarms."""


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

    Args:
        base64url: the length of a base64url key, in characters.
        hexadecimal: the length of a hexadecimal key, in characters.
    """

    base64url: Length
    hexadecimal: Length


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


LEAST_MATERIAL: Final = Material(base64url=Length(43), hexadecimal=Length(64))
"""The material of `MIN_KEY_BYTES` bytes: every key that a policy accepts is at least this long."""

# No regular expressions: compiling one takes a twentieth of the startup time.
_NO_PUNCTUATION: Final = str.maketrans("", "", "._-")
_SHORTEST_VARIABLE: Final = 5


class SecretPolicy(Frozen, kw_only=True):
    """The policy of one declared secret, next to its type on a settings model.

    `secret_key: Annotated[SecretStr, SecretPolicy(name="secret.key", variable="ROBODJ_SECRET_KEY", ...)]`

    Args:
        name: the secret's name in findings and reports.
        variable: the environment variable that delivers it, in upper case (policy section 2).
        owner: who rotates it (policy section 3).
        backup_owner: who rotates it when the owner cannot.
        cadence: how often it is rotated (policy section 3).
        warn_before: how long before its expiry the warnings begin.
        overlap: how long the previous key verifies after a rotation. Zero: there is no next and no previous key.
        generator: the approved generator (policy section 1).
        material: the accepted key material (policy section 6); it must accept the keys of the generator.
        file: the fallback file, always below `config/`; by default `config/` and the name.
        expiry_variable: the variable of the expiry marker; by default the variable and `_EXPIRES_AT`.

    Raises:
        TypeError: a field is missing, or is not of its type.
        ValueError: a field is invalid, or the material refuses the generator's keys or accepts keys of fewer bytes.
    """

    name: str
    variable: str
    owner: str
    backup_owner: str
    cadence: timedelta
    warn_before: timedelta
    generator: Generator = Generator("token_urlsafe", MIN_KEY_BYTES)
    material: Material = LEAST_MATERIAL
    file: str = ""
    expiry_variable: str = ""
    overlap: timedelta = timedelta(0)

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Return a policy whose fields are valid."""
        fields["file"] = fields.get("file") or f"config/{fields.get('name')}"
        fields["expiry_variable"] = fields.get("expiry_variable") or f"{fields.get('variable')}_EXPIRES_AT"
        policy = super().__new__(cls, *values, **fields)
        policy._validate()
        return policy

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
        generator, material = self.generator, self.material
        texts = (self.name, self.variable, self.expiry_variable, self.file, self.owner, self.backup_owner)
        if not all(isinstance(each, str) for each in texts):
            msg = "SecretPolicy: name, variable, expiry_variable, file, owner and backup_owner are strings"
            raise TypeError(msg)
        needed = material.hexadecimal if generator.function == "token_hex" else material.base64url
        fewest = Material(Length(-(-generator.size * 4 // 3)), Length(generator.size * 2))
        # An object of a subclass could be equal and have other rules.
        are_ours = [type(each) for each in (generator, material, *material)] == [Generator, Material, Length, Length]
        variable = "a letter, then four or more of A-Z, 0-9 and underscore"
        for holds, rule in (
            (is_secret_name(self.name), "name: letters, digits, dot, hyphen and underscore only"),
            (_is_variable(self.variable), f"variable: {variable}"),
            (_is_variable(self.expiry_variable), f"expiry_variable: {variable}"),
            (_is_file(self.file), "file: a path below config/, of letters, digits, dot, hyphen and underscore"),
            (is_plain_text(self.owner) and is_plain_text(self.backup_owner), "owner and backup_owner: printable ASCII"),
            (self.cadence > self.warn_before > timedelta(0), "cadence must be longer than warn_before, both positive"),
            (not self.cadence % timedelta(days=1), "cadence: whole days"),
            (timedelta(0) <= self.overlap < self.cadence, "overlap: shorter than the cadence, and not negative"),
            (are_ours, "generator and material: a Generator, and a Material of two Lengths"),
            (generator.function in {"token_urlsafe", "token_hex"}, "generator: an approved one"),
            (generator.size >= MIN_KEY_BYTES, f"generator: at least {MIN_KEY_BYTES} bytes"),
            (needed.accepts(generator.characters), "material: must accept what the generator makes"),
            (
                all(length.minimum >= least.minimum for length, least in zip(material, fewest, strict=True)),
                "material: a key must carry the bytes that its generator makes",
            ),
        ):
            if not holds:
                msg = f"SecretPolicy {rule}"
                raise ValueError(msg)


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
