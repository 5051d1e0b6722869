"""The exceptions. No text of one shows what was passed or read: it could be a key."""


class SecretGuardError(Exception):
    """The base of all of them."""


class CheckFailedError(SecretGuardError):
    """A check failed by itself: only the type of what went wrong is kept, its text may hold anything."""

    def __init__(self, error_type: str) -> None:
        super().__init__(f"the check itself failed: {error_type}")
        self.error_type = error_type


class ModelError(SecretGuardError):
    """There is no such model. The text shows nothing of the name: a key may have been put there."""


class UsageError(SecretGuardError):
    """A usage error, or work that could not be done. Its text is ours alone: what was passed may be a key."""


class RedactedError(SecretGuardError):
    """Stands for an exception that showed a key: its text is that exception's, formatted and redacted."""


class BusyError(SecretGuardError, OSError):
    """Another process holds the lock."""


class NotRegularError(SecretGuardError, OSError):
    """A directory, a pipe or a device is where a file should be."""


class ChangedError(SecretGuardError, OSError):
    """Another program truncated or rewrote a file, without its lock."""


class LockFileError(SecretGuardError, OSError):
    """The lock file of a directory cannot be opened."""


class KeyFileError(SecretGuardError):
    """Why keys could not be written. Its text shows no path that somebody gave."""


class LogError(SecretGuardError):
    """The log cannot be used. Its text shows nothing of a path or of the content."""


class NoLogError(LogError):
    """There is none."""


class RevocationListError(SecretGuardError):
    """Why the list could not be added to. Its text shows no path that somebody gave."""


class SeveralEnvironmentsError(SecretGuardError):
    """Several environments have records of a secret, and none of them is known to be meant."""


class UnreadError(SecretGuardError):
    """Something could not be read, or not as a whole. Its text says why, and shows nothing of a path."""


class GitError(UnreadError):
    """Git could not do its part. The text shows nothing of what it said."""
