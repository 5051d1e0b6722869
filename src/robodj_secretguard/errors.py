"""The exceptions. No text of one shows what was passed or read: it could be a key."""


class SecretGuardError(Exception):
    """The base of all of them."""


class CheckFailedError(SecretGuardError):
    """A check failed by itself: only the type of what went wrong is kept, its text may hold anything."""

    def __init__(self, error_type: str) -> None:
        super().__init__(f"the check itself failed: {error_type}")
        self.error_type = error_type


class UsageError(SecretGuardError):
    """A usage error, or work that could not be done. Its text never contains the argument, which may be a key."""


class RedactedError(SecretGuardError):
    """Stands for an exception that showed a key: its text is that exception's, formatted and redacted."""


class FileError(SecretGuardError, OSError):
    """Why a file, a list or a log cannot be used. Its text shows nothing of a path or of the content."""


class ChangedError(FileError):
    """Another program truncated or rewrote a file, without its lock."""

    def __init__(self) -> None:
        super().__init__("another program truncated or changed it (logrotate's copytruncate?); try again")


class NoLogError(FileError):
    """There is no operations log."""


class UnreadError(SecretGuardError):
    """Something could not be read, or not as a whole. Its text says why, and shows no path and no output of git."""
