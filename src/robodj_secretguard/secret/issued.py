"""The kinds of secrets that somebody else issues. A start with the two shipped secrets does not import this module."""

from __future__ import annotations

from robodj_secretguard.secret.material import Fault, Kind


class Opaque(Kind):
    """A text on one line, such as a password or an API key."""

    minimum: int = 8
    prefix: str = ""
    pattern: str | None = None

    def fault(self, text: str, variable: str = "") -> Fault | None:  # noqa: ARG002
        """Return what is wrong with a value; `None` for a value that may be used."""
        if not text.isprintable() or len(text) < self.minimum:
            return Fault("format", "has a character that is not printable, or too few of them")
        return Fault("placeholder", "is a placeholder") if text.startswith(("<", "change")) else None

    def temporary(self) -> str:
        """Return a random value that has no fault."""
        from secrets import token_urlsafe  # noqa: PLC0415

        return self.prefix + token_urlsafe(self.minimum)


class Url(Kind):
    """A URL with a password."""

    schemes: tuple[str, ...]


class Pem(Kind):
    """A private key in PEM."""

    labels: tuple[str, ...]


class Json(Kind):
    """A JSON object."""

    members: tuple[str, ...]


LEGACY = Opaque(16)
