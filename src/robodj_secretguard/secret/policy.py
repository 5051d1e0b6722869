"""The declaration of a secret: the policy's tables as data on the settings model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from itertools import chain
from typing import Any, Final, Self

from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.material import (
    MIN_KEY_BYTES,
    Fault,
    Generator,
    Kind,
    Length,
    is_plain_text,
    is_well_formed,
    placeholder,
    weakness,
)


class Material(Kind):
    """Keys that a generator makes (policy section 6, "Invalid key format").

    Text of hexadecimal digits only is judged as hexadecimal, and all other text as unpadded base64url.

    Args:
        base64url: the length of a base64url key, in characters.
        hexadecimal: the length of a hexadecimal key, in characters.
    """

    base64url: Length
    hexadecimal: Length
    has_fingerprint = True
    is_taken_whole = False

    def fault(self, text: str, variable: str = "") -> Fault | None:  # noqa: ARG002 - as documented
        """Return what is wrong with a key; `None` for one that may be used.

        Args:
            text: the key.
            variable: ignored: no key is the name of a variable.
        """
        if "://" in text:
            return Fault(
                "format",
                "is a URL, not a generated key",
                "if the URL is right, declare it with Material.url(); otherwise put the right or a new key into {}",
            )
        if kind := placeholder(text):
            return Fault("placeholder", f"is {kind}")
        if not is_well_formed(text, self.base64url, self.hexadecimal):
            try:
                from robodj_secretguard.secret.defects import format_fault  # noqa: PLC0415 - few keys have a fault
            except OSError:  # no descriptor is left
                return Fault("format", "does not have the format of a key")
            return format_fault(text, self.base64url, self.hexadecimal)
        if pattern := weakness(text):
            return Fault("weak", f"is clearly not random: it has {pattern}")
        return None

    @staticmethod
    def key(minimum: int = 32, prefix: str = "") -> Kind:
        """Return the kind of a key that any generator made, such as a key from before the adoption.

        It accepts printable text of any alphabet with 128 bits or more, by an estimate: each character counts by the
        alphabet of the key, and a word counts 11 bits. New keys are made with `token_urlsafe`, after the prefix.

        Args:
            minimum: the fewest characters, 16 or more.
            prefix: how each value begins.

        Raises:
            ValueError: an argument is invalid.
        """
        from robodj_secretguard.secret.key import AnyKey  # noqa: PLC0415 - the two shipped secrets need none

        return AnyKey(minimum, prefix)

    @staticmethod
    def opaque(minimum: int = 8, prefix: str = "", pattern: str | None = None) -> Kind:
        """Return the kind of a password, an API key or another text on one line that somebody else issues.

        It accepts printable text, also with blanks inside and in other scripts. See `Kind` for what all kinds share.

        Args:
            minimum: the fewest characters, 4 or more.
            prefix: how each value begins: `sk_live_` refuses a test key.
            pattern: a regular expression that the whole value matches; `None` for any. It is of characters and
                classes with lengths, such as `[0-9a-f]{32}`, and cannot hang: docs/kinds.md has the rules.

        Raises:
            ValueError: an argument is invalid.
        """
        from robodj_secretguard.secret.issued import Opaque  # noqa: PLC0415

        return Opaque(minimum, prefix, pattern)

    @staticmethod
    def url(*schemes: str, passwordless: bool = False) -> Kind:
        """Return the kind of a URL with a password, such as that of a database.

        It accepts a URL with a host and a password, or with a user of 16 characters or more. The password may be a
        parameter, as in `jdbc:postgresql://`.

        Args:
            schemes: the accepted schemes, such as `postgresql`; by default each one.
            passwordless: whether a URL of a file, a socket, the loopback or a host without a dot needs no password.

        Raises:
            ValueError: an argument is invalid.
        """
        from robodj_secretguard.secret.url import Url  # noqa: PLC0415

        return Url(schemes, passwordless)

    @staticmethod
    def pem(*labels: str) -> Kind:
        r"""Return the kind of a private key in PEM, also in base64, and with each newline written as `\n`.

        The secret's value is PEM with newlines, however it is delivered. Certificates and parameters may stand beside
        the key.

        Args:
            labels: the accepted labels, such as `RSA PRIVATE KEY`; by default those of each private key, also of PGP
                and OpenSSH, and a key of age.

        Raises:
            ValueError: a label is invalid.
        """
        from robodj_secretguard.secret.pem import Pem  # noqa: PLC0415

        return Pem(labels)

    @staticmethod
    def json(*members: str) -> Kind:
        """Return the kind of credentials as a JSON object, and of keys in JSON (JWK, or a list of them).

        Args:
            members: the names of the secret members, each a text that the object must have. By default, each text in
                the object is judged. Then a member is secret if its name ends with a word such as password or token.

        Raises:
            ValueError: a name is invalid.
        """
        from robodj_secretguard.secret.credentials import Json  # noqa: PLC0415

        return Json(members)


@cache
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
_SHORTEST_VARIABLE: Final = 2


class SecretPolicy(Frozen, kw_only=True):
    """The policy of one declared secret, next to its type on a settings model.

    `session_key: Annotated[Secret, SecretPolicy()]`

    A key of the service's own is made by a generator: `generator=Generator("token_urlsafe", 16)`. Somebody else issues
    the others: `material=Material.url("postgresql")`.

    Args:
        name: the secret's name in findings and reports; by default that of its field. Derived keys depend on it.
        variable: the environment variable that delivers it, in upper case (policy section 2); by default the name of
            the field in upper case.
        owner: who rotates it (policy section 3); empty for nobody in particular.
        cadence: how often it is rotated (policy section 3); by default 90 days.
        warn_before: how long before its expiry the warnings begin; by default 14 days.
        backup_owner: who rotates it when the owner cannot; empty for nobody.
        overlap: how long the previous key verifies after a rotation. Zero: there is no next and no previous key.
        generator: the approved generator, of 16 bytes or more (policy section 1); by default `token_urlsafe(32)`, and
            `None` for a secret that somebody else issues.
        material: the kind of its values (policy section 6); by default keys with at least the generator's bytes.
        issuer: where somebody else issues a new one, such as an address; empty where nobody needs to be told.
        group: the name of a group, such as `db`; empty for none. The secrets of a group, such as a user and its
            password, change together or not at all.
        shared_with: the name of another secret that may have the same value, if each of them names the other; empty
            for none.
        file: the fallback file, always below `config/`; by default `config/` and the name.
        expiry_variable: the variable of the expiry marker; by default the variable and `_EXPIRES_AT`.
        required: whether a service refuses to start without it. If not, the type of the field is `Secret | None`.
        expires: whether a rotation writes the expiry marker. Without it, a late rotation is reported and refuses
            nothing. A marker that is set always counts.
        stores_data: whether stored data is encrypted with it. Then a rotation removes no key before that data is
            encrypted again, so the secret needs an overlap. False: nothing that is stored needs it. `None`: undecided,
            and the adapters that encrypt refuse the secret.

    Raises:
        TypeError: a field is missing, or is not of its type.
        ValueError: a field is invalid, or the material refuses the generator's keys or accepts keys of fewer bytes.
    """

    name: str = ""
    variable: str = ""
    owner: str = ""
    cadence: timedelta = timedelta(days=90)
    warn_before: timedelta = timedelta(days=14)
    backup_owner: str = ""
    generator: Generator | None = _DEFAULT_GENERATOR
    material: Kind = least_material(_DEFAULT_GENERATOR.size)
    issuer: str = ""
    group: str = ""
    shared_with: str = ""
    file: str = ""
    expiry_variable: str = ""
    overlap: timedelta = timedelta(0)
    required: bool = True
    expires: bool = False
    stores_data: bool | None = None

    def __new__(cls, **fields: Any) -> Self:
        """Return a policy whose fields are valid."""
        if name := fields.get("name"):
            fields["file"] = fields.get("file") or f"config/{name}"
        if variable := fields.get("variable"):
            fields["expiry_variable"] = fields.get("expiry_variable") or f"{variable}_EXPIRES_AT"
        if not isinstance(material := fields.get("material", LEAST_MATERIAL), Material):
            is_made = isinstance(material, Kind) and not fields.get("issuer")
            fields.setdefault("generator", material.generator if is_made else None)
        elif isinstance(generator := fields.get("generator"), Generator):
            fields.setdefault("material", least_material(generator.size))
        policy = super().__new__(cls, **fields)
        policy._validate()
        return policy

    def of_field(self, field: str) -> Self:
        """Return the policy with the name and the variable that a field gives by default."""
        if self.name and self.variable:
            return self
        return self._replace(name=self.name or field, variable=self.variable or field.upper())

    @property
    def is_issued(self) -> bool:
        """Whether somebody else issues the secret, so that it has no generator."""
        return self.generator is None

    @property
    def replacement(self) -> str:
        """The command that makes a new key, or where a new one is issued."""
        return self.generator.command if self.generator else " at ".join(filter(None, ("issue a new one", self.issuer)))

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
        declared = (self.name, self.variable, self.expiry_variable, self.file, self.group, self.shared_with)
        texts = (*declared, self.owner, self.backup_owner, self.issuer)
        types = {str: texts, timedelta: (self.cadence, self.warn_before, self.overlap)}
        if not all(isinstance(each, kind) for kind, values in types.items() for each in values):
            raise TypeError(
                "SecretPolicy: cadence, warn_before and overlap are timedeltas; name, variable, expiry_variable, file,"
                " group, shared_with, owner, backup_owner and issuer are strings"
            )
        rules = (
            (not self.name or is_secret_name(self.name), "name: letters, digits, dot, hyphen and underscore only"),
            (
                not self.variable or _is_variable(self.variable),
                "variable: a letter, then one or more of A-Z, 0-9 and underscore",
            ),
            (not self.expiry_variable or _is_variable(self.expiry_variable), "expiry_variable: as variable"),
            (all(not each or is_secret_name(each) for each in declared[4:]), "group and shared_with: as name"),
            (
                not self.file or _is_file(self.file),
                "file: a path below config/, of letters, digits, dot, hyphen and underscore",
            ),
            (
                all(not each or is_plain_text(each) for each in texts[-3:]),
                "owner, backup_owner and issuer: printable ASCII",
            ),
            (self.warn_before > timedelta(0), "warn_before: positive"),
            (self.cadence > self.warn_before, "cadence: longer than warn_before, which is 14 days by default"),
            (not self.cadence % timedelta(days=1), "cadence: whole days"),
            (timedelta(0) <= self.overlap < self.cadence, "overlap: shorter than the cadence, and not negative"),
            (isinstance(self.required, bool), "required: true or false"),
            (isinstance(self.expires, bool), "expires: true or false"),
            (self.stores_data is None or isinstance(self.stores_data, bool), "stores_data: true, false or None"),
            (
                self.overlap or not self.stores_data,
                "stores_data: needs an overlap, such as timedelta(days=14), to encrypt data again",
            ),
        )
        for holds, rule in chain(rules, self._rules_of_material()):
            if not holds:
                raise ValueError(f"SecretPolicy {rule}")

    def _rules_of_material(self) -> Iterator[tuple[bool, str]]:
        """Yield whether each rule holds. A rule needs the earlier ones."""
        generator, material = self.generator, self.material
        yield isinstance(material, Kind), "material: a Kind, such as Material.opaque()"
        if generator is None:
            yield not isinstance(material, Material), "generator: an approved one"
            return
        yield (
            material.generator is not None or isinstance(material, Material),
            "generator: none, as others issue this secret",
        )
        yield not self.issuer, "issuer: only for a secret that somebody else issues"
        yield (
            type(generator) is Generator and generator.function in {"token_urlsafe", "token_hex"},
            "generator: an approved one",
        )
        yield generator.size >= MIN_KEY_BYTES, f"generator: at least {MIN_KEY_BYTES} bytes"
        own = material.generator or generator._replace(prefix="")
        yield (
            generator.prefix == own.prefix and generator.characters >= own.characters,
            "material: must accept what the generator makes",
        )
        if not isinstance(material, Material):
            return
        # An object of a subclass could be equal and have other rules.
        yield (
            type(material) is Material and type(material.base64url) is type(material.hexadecimal) is Length,
            "material: a Material of two Lengths",
        )
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
