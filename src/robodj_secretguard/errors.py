"""The exceptions. Their texts never contain an argument or the content of a file: it could be a key."""

from robodj_secretguard.secret.frozen import CheckFailedError, RevokedKeyError, SafeError, SecretGuardError

__all__ = [
    "ChangedError",
    "CheckFailedError",
    "FileError",
    "ManagerError",
    "RedactedError",
    "RevokedKeyError",
    "SafeError",
    "SecretGuardError",
    "UnreadError",
    "UsageError",
]


class ManagerError(SafeError):
    """A manager or a directory delivers nothing, or a manager writes nothing. No text has a part of its answer.

    Attributes:
        message: what is wrong, as the end of a sentence that begins with the name of the source.
        remedy: what to do.
        is_temporary: whether a later attempt may succeed.
    """

    def __init__(self, message: str, remedy: str, *, is_temporary: bool = False) -> None:
        super().__init__(message)
        self.message, self.remedy, self.is_temporary = message, remedy, is_temporary


class UsageError(SecretGuardError):
    """A usage error, or work that could not be done."""


class RedactedError(SecretGuardError):
    """Replace an exception that showed a key. Its text is the formatted and redacted original."""


class FileError(SecretGuardError, OSError):
    """A file, a list or a log cannot be used. The text says why, without a path."""


class ChangedError(FileError):
    """Another program truncated or rewrote a file without its lock."""

    def __init__(self) -> None:
        super().__init__("another program truncated or changed it (logrotate's copytruncate?); try again")


class UnreadError(SecretGuardError):
    """Something could not be read completely. The text says why, without a path and without output of git."""
