"""Read a directory of files: systemd credentials, Docker and Kubernetes secrets, templates of an agent."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from robodj_secretguard.managers.manager import MAX_BYTES, Failure, Manager
from robodj_secretguard.textfile import CHANGED, NOT_ALLOWED, POSIX, read_text_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from robodj_secretguard.policy import SecretPolicy

SETTLED_SECONDS: Final = 1.0
"""How long the files must be unchanged, as an agent writes one after the other."""
_KUBERNETES: Final = "..data"
"""In a Kubernetes volume, the link to the directory of all files. Replacing it replaces all of them at once."""
_PAUSE: Final = 0.01
_OTHERS: Final = "mount the directory read-only, or run chmod o-w on it and on {}"
_LINE: Final = "write {} again, as one line in UTF-8"
_FIXES: Final = {
    NOT_ALLOWED: "let the user of this command read {} and enter the directory",
    CHANGED: "stop what writes {} again and again, then start again",
}


class Directory(Manager):
    """The files of one directory that are named after the variables, or after the secrets.

    Args:
        name: the source in messages.
        path: the path of the directory.
        policies: the declared secrets, whose names a file may have.
    """

    def __init__(self, name: str, path: str, policies: Iterable[SecretPolicy]) -> None:
        super().__init__(name)
        self._path = path
        self._aliases = {policy.variable: policy.name for policy in policies}

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object] | Failure:
        """Return the content of each file, all of them of one version of the directory."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            link = os.path.join(self._path, _KUBERNETES)
            is_atomic = os.path.lexists(link)
            directory = os.path.realpath(link if is_atomic else self._path)
            wait = _PAUSE
            try:
                before = _version(directory)
                answer = self._read(directory, names)
                # Files of a directory that stayed the same are of one version.
                if before == _version(directory) and (is_atomic or (wait := _unsettled(directory)) <= 0):
                    return answer
            except (NotADirectoryError, PermissionError):
                return Failure(
                    "is not a directory that this user may read", "correct the path, or let this user read it"
                )
            except OSError:  # perhaps another directory takes its place
                time.sleep(_PAUSE)
                if not os.path.exists(self._path):
                    return Failure("does not exist", "correct the path")
            time.sleep(max(0, min(wait, deadline - time.monotonic())))  # not longer, so that the failure is this one
        return Failure("does not stay the same", "stop what changes its files, then start again", is_temporary=True)

    def _read(self, directory: str, names: Collection[str]) -> Mapping[str, object] | Failure:
        found: dict[str, object] = dict.fromkeys(os.listdir(directory))
        for name in names:
            for file in filter(found.__contains__, dict.fromkeys((name, self._aliases.get(name, name)))):
                text = read_text_file(os.path.join(directory, file), most=MAX_BYTES)
                if why := text.unsafe:
                    fix = _FIXES.get(why[0], _LINE if text.unreadable else _OTHERS)
                    return Failure(f"has {file}, which {why[0]}", fix.format(file), is_temporary=why == (CHANGED,))
                value = "\n".join([line.get_secret_value() for line in text.lines])
                if found.get(name) and found[name] != value:
                    return Failure(f"has {name} and {file} with different values", "delete the file with the wrong one")
                found[name] = value
        return found


def _version(directory: str) -> tuple[int, ...]:
    """Return numbers that change when a file of a directory is added, replaced or removed."""
    status = os.stat(os.path.join(directory, os.curdir))
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _unsettled(directory: str) -> float:
    """Return for how many seconds to wait, as somebody may be writing further files; zero for a read-only mount."""
    if POSIX and os.statvfs(directory).f_flag & os.ST_RDONLY:
        return 0.0
    found = [os.stat(path) for path in (directory, *os.scandir(directory)) if os.path.exists(path)]  # no broken link
    # A copy may have the time of its original: then only the second one tells when it was made.
    ages = [time.time() - changed for each in found for changed in (each.st_mtime, each.st_ctime)]
    return max([SETTLED_SECONDS - age for age in ages if age >= 0], default=0)
